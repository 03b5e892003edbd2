/*
 * cell_heap.c - what all passes of a cell need: a heap on a door of its own, clocks, resident
 * memory, and how to end with a reason. In observing passes time is virtual (it moves with the
 * ops), so that runs repeat exactly.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "allocators/lib/os_policy.h"
#include "api/env.h"
#include "harness/pass.h"

uint64_t clock_now_ns(void)
{
    return env_now_ns(NULL);
}

uint64_t faults_now(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)usage.ru_minflt;
}

static uint64_t env_virtual_now(void *ctx)
{
    return *(const uint64_t *)ctx;
}

static unsigned env_virtual_cpu(void *ctx)
{
    (void)ctx;
    return 0;
}

void outcome_fail(struct outcome *o, enum outcome_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(o->detail, sizeof o->detail, format, args);
    va_end(args);
    o->status = status;
}

/* Without stdio: the heap under test may be the C library's. */
uint64_t resident_read(const char *statm)
{
    char text[128];
    int fd = open(statm, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (got <= 0)
        return 0;
    text[got] = 0;
    char *at = text;
    strtoull(at, &at, 10); /* total size */
    uint64_t resident = strtoull(at, &at, 10), shared = strtoull(at, &at, 10);
    return (resident - shared) * os_page_bytes();
}

/* A line "key:  N kB" of a file under /proc/self, as bytes; false: there is none. */
static bool proc_read(const char *path, const char *key, uint64_t *bytes)
{
    char text[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = 0;
    const char *line = strstr(text, key);
    if (line)
        *bytes = strtoull(line + strlen(key), NULL, 10) << 10;
    return line;
}

uint64_t resident_now(void)
{
    return resident_read("/proc/self/statm");
}

/* statm leaves explicit huge pages out. */
uint64_t resident_of(const struct cell_setup *setup)
{
    uint64_t huge = 0;
    if (setup->door.hugetlb)
        proc_read("/proc/self/status", "HugetlbPages:", &huge);
    return resident_now() + huge;
}

bool resident_mark(uint64_t *bytes)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    bool reset = fd >= 0 && write(fd, "5", 1) == 1;
    if (fd >= 0)
        close(fd);
    return reset && proc_read("/proc/self/status", "VmRSS:", bytes);
}

bool resident_most(uint64_t *bytes)
{
    return proc_read("/proc/self/status", "VmHWM:", bytes);
}

void pages_touch(void *p, size_t size)
{
    volatile unsigned char *byte = p;
    for (size_t i = 0; i < size; i += 4096)
        byte[i] = 1;
    byte[size - 1] = 1;
}

int door_parse(const char *text, struct os_config *config, struct error *err)
{
    return option_parse("--door", os_options, sizeof *config, text, config, err);
}

void cpu_keep(void)
{
    cpu_set_t set;
    int cpu = sched_getcpu();
    CPU_ZERO(&set);
    if (cpu >= 0) {
        CPU_SET((unsigned)cpu, &set);
        sched_setaffinity(0, sizeof set, &set); /* where that is not allowed it stays most often */
    }
}

bool huge_read(uint64_t *bytes)
{
    return proc_read("/proc/self/smaps_rollup", "AnonHugePages:", bytes);
}

void cell_heap_exhausted(const struct cell_heap *h, const struct cell_setup *setup,
                         const char *format, ...)
{
    char where[128];
    const char *refusal = os_refusal(h->os), *cut = setup->ring ? ring_failure(setup->ring) : NULL;
    va_list args;
    if (cut) {
        outcome_fail(setup->outcome, OUTCOME_FAILED, "%s", cut);
        return;
    }
    va_start(args, format);
    vsnprintf(where, sizeof where, format, args);
    va_end(args);
    outcome_fail(setup->outcome, OUTCOME_OOM, "%s%s%s", where, refusal[0] ? ": " : "", refusal);
}

static void mode_note(const struct cell_heap *h, const struct cell_setup *setup)
{
    const struct allocator *design = setup->spec->design;
    const char *mode = design->mode ? design->mode(h->heap) : NULL;
    struct outcome *o = setup->outcome;
    snprintf(o->mode, sizeof o->mode, "%s", mode ? mode : "");
}

bool cell_heap_open(struct cell_heap *h, const struct cell_setup *setup, bool observe)
{
    struct os_config config = setup->door;
    struct error err;
    bool virtual = observe || setup->repeats;
    config.observe = observe;
    h->clock_ns = 0;
    h->heap = NULL;
    if (os_config_check(&config, &err)) {
        outcome_fail(setup->outcome, OUTCOME_FAILED, "door: %s", err.text);
        return false;
    }
    h->os = os_open(&config);
    if (!h->os) {
        outcome_fail(setup->outcome, OUTCOME_OOM, "the door cannot open: %s", strerror(errno));
        return false;
    }
    struct alloc_env common = {.os = h->os,
                               .seed = setup->seed,
                               .now_ns = virtual ? env_virtual_now : env_now_ns,
                               .cpu = virtual ? env_virtual_cpu : env_cpu,
                               .ctx = &h->clock_ns,
                               .observed = virtual};
    if (!spec_envs(setup->spec, &common, h->env)) {
        outcome_fail(setup->outcome, OUTCOME_FAILED, "more than %d designs in one composition",
                     SPEC_MAX_DEPTH);
    } else {
        h->heap = setup->spec->design->create(&h->env[0]);
        if (h->heap) {
            mode_note(h, setup);
            return true;
        }
        cell_heap_exhausted(h, setup, "create() returned no heap");
    }
    os_close(h->os);
    return false;
}

bool cell_replay_open(struct cell_heap *h, struct replay *replay, const struct cell_setup *setup,
                      bool observe, enum touch touch)
{
    struct error err;
    if (!cell_heap_open(h, setup, observe))
        return false;
    if (!replay_open(replay, setup->plan, setup->spec->design, h->heap, touch, &err))
        return true;
    outcome_fail(setup->outcome, OUTCOME_OOM, "%s", err.text);
    return false;
}

void cell_heap_tick(struct cell_heap *h, const struct cell_setup *setup, uint64_t op)
{
    h->clock_ns = op * VIRTUAL_NS_PER_OP;
    if (op % TICK_OPS == 0 && setup->spec->design->tick)
        setup->spec->design->tick(h->heap, h->clock_ns);
}

void cell_heap_close(struct cell_heap *h, const struct cell_setup *setup)
{
    setup->spec->design->destroy(h->heap);
    os_close(h->os);
}
