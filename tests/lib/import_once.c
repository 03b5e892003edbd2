/*
 * import_once.c - everything happens in memory files, which are read back by their /proc names.
 */
#include "tests/lib/import_once.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "traces/check.h"

#define FOLDER "/proc/self/fd/"

int import_memory_file(void)
{
    int fd = memfd_create("import", MFD_CLOEXEC);
    if (fd < 0)
        abort();
    return fd;
}

static void path_of(int fd, char path[32])
{
    snprintf(path, 32, FOLDER "%d", fd);
}

/* A trace of what is in `in`; NULL: refused. */
static struct trace_reader *trace_of(const struct trace_format *format, int in, unsigned options,
                                     struct error *err)
{
    char path[32];
    struct import_report report = {.strict = options & IMPORT_STRICT};
    struct trace_reader *r = NULL;
    int out = import_memory_file();
    struct trace_writer *w = trace_create_fd(out, err);
    if (!w)
        abort();
    path_of(in, path);
    if (format->import(path, w, &report, err))
        trace_abandon(w);
    else if (trace_finish(w, err) || !(r = trace_open_fd(out, "imported", 0, err)))
        abort();
    close(out);
    return r;
}

static int exported(const struct trace_format *format, struct trace_reader *r, struct error *err)
{
    uint64_t dropped;
    int fd = import_memory_file();
    FILE *stream = fdopen(dup(fd), "w");
    if (!stream)
        abort();
    int failed = trace_rewind(r, err) || format->export(r, stream, &dropped, err);
    fclose(stream);
    if (!failed)
        return fd;
    close(fd);
    return -1;
}

static bool is_text(const struct trace_format *format)
{
    return !strcmp(format->name, "text");
}

static bool same_bytes(int a, int b)
{
    char here[4096], there[4096];
    ssize_t got;
    off_t at = 0;
    while ((got = pread(a, here, sizeof here, at)) > 0) {
        if (pread(b, there, sizeof there, at) != got || memcmp(here, there, (size_t)got) != 0)
            return false;
        at += got;
    }
    return pread(b, there, sizeof there, at) == 0;
}

/* The text form of a trace makes a trace whose text form is the same. */
static int text_survives(const struct trace_format *text, int fd, const struct trace_totals *totals,
                         struct error *err)
{
    struct trace_totals again;
    struct trace_reader *copy = trace_of(text, fd, IMPORT_STRICT, err);
    if (!copy)
        return -1;
    int failed = trace_check(copy, &again, err), other = failed ? -1 : exported(text, copy, err);
    trace_close(copy);
    if (other < 0)
        return -1;
    if (memcmp(totals, &again, sizeof again) != 0 || !same_bytes(fd, other))
        failed = error_set(err, "the text form of the trace is of another one");
    close(other);
    return failed;
}

static enum import_outcome forms_try(struct trace_reader *r, struct error *err)
{
    struct trace_totals totals;
    if (trace_check(r, &totals, err))
        return IMPORT_WRONG;
    for (size_t i = 0; trace_formats[i]; i++) {
        if (!trace_formats[i]->export)
            continue;
        int fd = exported(trace_formats[i], r, err);
        if (fd < 0)
            return IMPORT_WRONG;
        int failed = is_text(trace_formats[i]) && text_survives(trace_formats[i], fd, &totals, err);
        close(fd);
        if (failed)
            return IMPORT_WRONG;
    }
    return IMPORT_FINE;
}

/* A message says where: in the file, or in the other one that it needs, which lies beside it. */
static bool names_place(const char *text)
{
    return !strncmp(text, FOLDER, strlen(FOLDER)) &&
           (strstr(text, ": line ") || strstr(text, ": record ") || strstr(text, ": offset ") ||
            strstr(text, ": cannot read: "));
}

enum import_outcome import_once(const struct trace_format *format, const void *data, size_t bytes,
                                unsigned options, struct error *err)
{
    int in = import_memory_file();
    if (write(in, data, bytes) != (ssize_t)bytes)
        abort();
    enum import_outcome outcome = import_once_from(format, in, options, err);
    close(in);
    return outcome;
}

enum import_outcome import_once_from(const struct trace_format *format, int in, unsigned options,
                                     struct error *err)
{
    enum import_outcome outcome = IMPORT_REFUSED;
    struct trace_reader *r = trace_of(format, in, options, err);
    if (r) {
        outcome = forms_try(r, err);
        trace_close(r);
    } else if (!names_place(err->text)) {
        struct error named = *err;
        error_set(err, "a message without file and line: %.400s", named.text);
        outcome = IMPORT_WRONG;
    }
    return outcome;
}
