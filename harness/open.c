/*
 * open.c - schedules, and the server's account. See open.h. Nothing here knows a real clock, so
 * that a test can play with one of its own.
 */
#include "harness/open.h"

#include <math.h>
#include <stddef.h>

#include "workloads/lib/rng.h"

#define STREAM 0x6f70656e /* of random numbers, apart from those of workloads */

const char *const open_schedule_names[] = {"auto", "uniform", "poisson", "recorded", NULL};

/* Gaps are exponential: at any moment the next arrival is as likely as at any other. */
static void poisson_due(uint64_t *due, uint64_t count, double gap_ns, uint64_t seed)
{
    struct rng rng = rng_stream(seed, STREAM);
    double at = 0;
    for (uint64_t i = 0; i < count; i++) {
        due[i] = (uint64_t)at;
        at -= log(1 - (double)(rng_next(&rng) >> 11) * 0x1p-53) * gap_ns;
    }
}

static void recorded_due(uint64_t *due, uint64_t count, double gap_ns)
{
    uint64_t first = due[0], latest = first;
    for (uint64_t i = 0; i < count; i++) /* threads' clocks may be a little apart */
        latest = due[i] = due[i] > latest ? due[i] : latest;
    double stretch = gap_ns * (double)(count - 1) / (double)(latest - first);
    for (uint64_t i = 0; i < count; i++)
        due[i] = (uint64_t)((double)(due[i] - first) * stretch);
}

void open_due(uint64_t *due, uint64_t count, enum open_schedule schedule, double rate,
              uint64_t seed)
{
    double gap_ns = 1e9 / rate;
    bool flat = true;
    for (uint64_t i = 0; i < count; i++)
        flat &= due[i] <= due[0];
    if (schedule == OPEN_POISSON)
        poisson_due(due, count, gap_ns, seed);
    else if (schedule == OPEN_RECORDED && !flat)
        recorded_due(due, count, gap_ns);
    else
        for (uint64_t i = 0; i < count; i++)
            due[i] = (uint64_t)((double)i * gap_ns);
}

static uint64_t now(const struct open_server *s)
{
    return s->clock.now(s->clock.ctx);
}

static void served(struct open_server *s)
{
    s->done = now(s);
    s->busy_ns += s->done - s->started;
    histogram_add(&s->times->service, s->done - s->started);
    histogram_add(&s->times->response, s->done - s->intended);
}

void open_end(struct open_server *s)
{
    if (!s->at)
        return;
    served(s);
    s->span_ns += s->done - s->origin;
    s->at = 0;
}

void open_arrive(void *server)
{
    struct open_server *s = server;
    if (s->at)
        served(s);
    else
        s->origin = s->done = now(s);
    s->started = s->done;
    s->intended = s->due ? s->origin + s->due[s->at] : s->done;
    if (s->intended > s->done) {
        s->clock.wait(s->clock.ctx, s->intended);
        s->started = now(s);
    } else if (s->intended < s->done) {
        s->late++;
    }
    s->at++;
    s->arrivals++;
}
