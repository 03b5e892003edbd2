/*
 * noise.c - see noise.h. Without stdio: the heap under test may be the C library's.
 */
#include "harness/noise.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "harness/pass.h"

/* "cpu  user nice system idle iowait irq softirq steal guest guest_nice": guests' time is part of
 * the user's, so the first eight are all there is. */
enum { STAT_STEAL = 7, STAT_FIELDS };

static void stat_read(struct noise *n)
{
    char text[256];
    int fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (got <= 0)
        return;
    text[got] = 0;
    if (strncmp(text, "cpu ", 4))
        return;
    char *at = text + 4;
    for (int i = 0; i < STAT_FIELDS; i++) {
        uint64_t ticks = strtoull(at, &at, 10);
        n->total += ticks;
        n->steal = i == STAT_STEAL ? ticks : n->steal;
    }
}

static uint64_t switches_now(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)usage.ru_nivcsw;
}

struct noise noise_begin(void)
{
    struct noise n = {.switches = switches_now()};
    stat_read(&n);
    n.start_ns = clock_now_ns();
    return n;
}

void noise_report(const struct noise *begin, struct outcome *o)
{
    uint64_t took = clock_now_ns() - begin->start_ns;
    struct noise end = {.switches = switches_now()};
    stat_read(&end);
    outcome_set(o, METRIC_timed_ns, (double)took);
    outcome_set(o, METRIC_involuntary_switches_count, (double)(end.switches - begin->switches));
    if (begin->total && end.total > begin->total && end.steal >= begin->steal)
        outcome_set(o, METRIC_steal_ratio,
                    (double)(end.steal - begin->steal) / (double)(end.total - begin->total));
}

bool noise_disturbed(const double *value, const bool *known, unsigned copies)
{
    bool stolen = known[METRIC_steal_ratio] && value[METRIC_steal_ratio] >= NOISE_STEAL_RATIO;
    double seconds = known[METRIC_timed_ns] ? value[METRIC_timed_ns] / 1e9 : 0;
    double switches = value[METRIC_involuntary_switches_count];
    return stolen || (!copies && known[METRIC_involuntary_switches_count] && switches > 0 &&
                      switches >= NOISE_SWITCHES_PER_S * seconds);
}
