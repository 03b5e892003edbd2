/*
 * target.c - opens what is to be replayed. A workload is generated into a memfd with the same
 * writer as a file, so that nothing downstream knows the difference.
 */
#include "harness/target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/decode.h"
#include "harness/spec.h"

#define READER_FLAGS (TRACE_SKIP_CLOCK | TRACE_AHEAD)

static void target_clear(struct target *t, int trace_fd)
{
    *t = (struct target){.trace_fd = trace_fd, .header = -1};
    for (int i = 0; i < 2 * PLAN_VARIANTS; i++)
        t->plans[i / PLAN_VARIANTS][i % PLAN_VARIANTS] = -1;
}

static int name_take(struct target *t, const char *name, struct error *err)
{
    if ((size_t)snprintf(t->name, sizeof t->name, "%s", name) >= sizeof t->name)
        return error_set(err, "%s: a workload's name has at most %zu bytes", name,
                         sizeof t->name - 1);
    return 0;
}

static int file_open(struct target *t, const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/');
    if (name_take(t, slash ? slash + 1 : path, err))
        return -1;
    char *dot = strrchr(t->name, '.');
    if (dot && dot != t->name && !strcmp(dot, ".trace"))
        *dot = 0;
    t->trace_fd =
        open(path, O_RDONLY | O_CLOEXEC); /* kept: the same file is decoded in all cells */
    if (t->trace_fd < 0)
        return error_set(err, "%s: cannot open: %s", path, strerror(errno));
    t->trace = trace_open_fd(t->trace_fd, path, READER_FLAGS, err);
    if (t->trace)
        return 0;
    struct error why = *err, other;
    struct trace_reader *torn = trace_open(path, TRACE_SALVAGE, &other);
    if (torn) {
        trace_close(torn);
        error_set(err, "%s: `alloclab trace convert --salvage %s -o NEW.trace`", why.text, path);
    }
    return -1;
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

/* The name says what the options were settled to, as what they name may change. */
static int settled_name_take(struct target *t, const struct workload_spec *spec, struct error *err)
{
    char text[sizeof spec->options_text + 64];
    snprintf(text, sizeof text, "%s:%s", spec->workload->name, spec->options_text);
    return name_take(t, text, err);
}

static int workload_open(struct target *t, const char *text, uint64_t seed, struct error *err)
{
    struct workload_spec spec;
    if (name_take(t, text, err))
        return -1;
    if (workload_spec_parse(text, &spec, err)) {
        if (!spec.workload && (strchr(text, '/') || strstr(text, ".trace")))
            error_set(err,
                      access(text, F_OK) ? "%s: no such trace file, and no workload: %s"
                                         : "%s: is a folder, not a trace file, and no workload",
                      text, strerror(ENOENT));
        return -1;
    }
    if (spec.workload->settle && settled_name_take(t, &spec, err)) {
        workload_spec_free(&spec);
        return -1;
    }
    t->live = !spec.workload->emit;
    if (t->live) { /* its options are checked here, its game is played in cells */
        workload_spec_free(&spec);
        return 0;
    }
    t->generated = true;
    t->trace_fd = memfd_create("alloclab-trace", MFD_CLOEXEC);
    int result = t->trace_fd < 0
                     ? error_set(err, "no memory for a generated trace: %s", strerror(errno))
                     : workload_emit(&spec, seed, t->trace_fd, err);
    workload_spec_free(&spec);
    if (!result)
        t->trace = trace_open_fd(t->trace_fd, t->name, READER_FLAGS, err);
    return t->trace ? 0 : -1;
}

int target_open(struct target *t, const char *text, uint64_t seed, struct error *err)
{
    target_clear(t, -1);
    struct stat st;
    bool file = stat(text, &st) == 0 && !S_ISDIR(st.st_mode); /* a folder may be called as one */
    if (file ? file_open(t, text, err) : workload_open(t, text, seed, err)) {
        target_close(t);
        return -1;
    }
    t->scoped = t->trace && trace_reader_totals(t->trace)->scopes > 0;
    return 0;
}

int target_open_played(struct target *t, const char *name, int trace_fd, struct error *err)
{
    target_clear(t, trace_fd);
    snprintf(t->name, sizeof t->name, "%s", name);
    t->trace = trace_open_fd(trace_fd, t->name, READER_FLAGS, err);
    return t->trace ? 0 : -1;
}

/* Copies ops until so many of them were calls. */
static int prefix_write(struct trace_reader *from, uint64_t ops, int fd, struct error *err)
{
    struct trace_writer *writer = trace_create_fd(fd, err);
    struct trace_op op = {.kind = TRACE_KINDS};
    int more = writer ? 1 : -1;
    if (writer && trace_rewind(from, err))
        more = -1;
    for (uint64_t calls = 0; more > 0 && calls < ops; calls += trace_is_call(op.kind)) {
        more = trace_next(from, &op, err);
        if (more > 0 && trace_put(writer, &op, err))
            more = -1;
    }
    if (more >= 0)
        return trace_finish(writer, err);
    if (writer)
        trace_abandon(writer);
    return -1;
}

int target_open_prefix(struct target *t, const struct target *whole, uint64_t ops,
                       struct error *err)
{
    int fd = memfd_create("alloclab-prefix", MFD_CLOEXEC);
    if (fd < 0)
        return error_set(err, "%s: no memory for its first ops: %s", whole->name, strerror(errno));
    if (prefix_write(whole->trace, ops, fd, err)) {
        close(fd);
        return -1;
    }
    return target_open_played(t, whole->name, fd, err);
}

uint64_t target_plan_bytes(const struct target *t)
{
    const struct trace_totals *totals = t->trace ? trace_reader_totals(t->trace) : NULL;
    return totals ? totals->records * sizeof(uint64_t) + totals->objects * PLAN_BUILD_BYTES : 0;
}

static int target_header(struct target *t, struct error *err)
{
    struct plan header;
    if (t->header < 0 &&
        (decode_scan(t->trace, &header, err) || decode_header(&header, &t->header, err)))
        return -1;
    return t->header;
}

int target_plan(struct target *t, enum plan_release release, unsigned flags, struct error *err)
{
    if (t->streamed)
        return target_header(t, err);
    int *fd = &t->plans[release][flags];
    if (flags & PLAN_ARRIVALS)
        trace_keep_clock(t->trace);
    if (*fd < 0 && plan_build(t->trace, release, flags, fd, err))
        return -1;
    return *fd;
}

void target_close(struct target *t)
{
    if (t->trace)
        trace_close(t->trace);
    if (t->trace_fd >= 0)
        close(t->trace_fd);
    if (t->header >= 0)
        close(t->header);
    for (int i = 0; i < 2 * PLAN_VARIANTS; i++)
        if (t->plans[i / PLAN_VARIANTS][i % PLAN_VARIANTS] >= 0)
            close(t->plans[i / PLAN_VARIANTS][i % PLAN_VARIANTS]);
}
