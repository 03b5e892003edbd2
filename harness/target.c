/*
 * target.c - opens what is to be replayed. A workload is generated into a memfd with the same
 * writer as a file, so that nothing downstream knows the difference.
 */
#include "harness/target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness/spec.h"

static void name_from_path(struct target *t, const char *path)
{
    const char *slash = strrchr(path, '/');
    snprintf(t->name, sizeof t->name, "%s", slash ? slash + 1 : path);
    char *dot = strrchr(t->name, '.');
    if (dot && dot != t->name && !strcmp(dot, ".trace"))
        *dot = 0;
}

static int workload_emit(const struct workload_spec *spec, uint64_t seed, int fd, struct error *err)
{
    struct trace_writer *writer = trace_create_fd(fd, err);
    if (!writer)
        return -1;
    if (workload_write(spec->workload, spec->options, seed, writer, err)) {
        trace_abandon(writer);
        return -1;
    }
    return trace_finish(writer, err);
}

static int workload_open(struct target *t, const char *text, uint64_t seed, struct error *err)
{
    struct workload_spec spec;
    if (workload_spec_parse(text, &spec, err)) {
        if (strchr(text, '/') || strstr(text, ".trace"))
            error_set(err, "%s: no such trace file, and no workload: %s", text, strerror(ENOENT));
        return -1;
    }
    snprintf(t->name, sizeof t->name, "%s", text);
    t->trace_fd = memfd_create("alloclab-trace", MFD_CLOEXEC);
    int result = t->trace_fd < 0
                     ? error_set(err, "no memory for a generated trace: %s", strerror(errno))
                     : workload_emit(&spec, seed, t->trace_fd, err);
    workload_spec_free(&spec);
    if (!result)
        t->trace = trace_open_fd(t->trace_fd, t->name, TRACE_SKIP_CLOCK, err);
    return t->trace ? 0 : -1;
}

int target_open(struct target *t, const char *text, uint64_t seed, struct error *err)
{
    *t = (struct target){.trace_fd = -1, .plans = {{-1, -1}, {-1, -1}}};
    if (access(text, F_OK) == 0) {
        name_from_path(t, text);
        t->trace = trace_open(text, TRACE_SKIP_CLOCK, err);
    } else if (workload_open(t, text, seed, err)) {
        target_close(t);
        return -1;
    }
    if (!t->trace)
        return -1;
    t->scoped = trace_reader_totals(t->trace)->scopes > 0;
    return 0;
}

int target_plan(struct target *t, enum plan_release release, bool observing, struct error *err)
{
    int *fd = &t->plans[release][observing];
    if (*fd < 0 && plan_build(t->trace, release, observing ? PLAN_OBSERVE : 0, fd, err))
        return -1;
    return *fd;
}

void target_close(struct target *t)
{
    if (t->trace)
        trace_close(t->trace);
    if (t->trace_fd >= 0)
        close(t->trace_fd);
    for (int i = 0; i < 4; i++)
        if (t->plans[i / 2][i % 2] >= 0)
            close(t->plans[i / 2][i % 2]);
}
