/*
 * bpftrace.c - what traces/samples/src/malloc.bt prints under bpftrace(8), sorted by time: one event
 * a line,
 *
 *     NS TID malloc SIZE -> PTR              has returned
 *     NS TID calloc COUNT SIZE -> PTR        has returned
 *     NS TID memalign ALIGNMENT SIZE -> PTR  has returned; aligned_alloc and posix_memalign too
 *     NS TID realloc OLD SIZE                begins
 *     NS TID realloc -> PTR                  has returned
 *     NS TID free PTR                        begins
 *     Attaching N probes...                  bpftrace's own words, ignored; newer ones say "Attached"
 *     @MAP[KEY]: VALUE                       the same, at the end of a script that does not clear its maps
 *     Lost N events                          the same, counted, and put into the meta key lost_ops
 *
 * Rules of the import: those of traces/import.h. An event that is older than the one before it, in a file that was
 * not sorted, is counted, and left where it stands. PTR 0x0 is a call that failed; realloc(p, 0) that
 * returns 0x0 frees.
 */
#include <inttypes.h>
#include <string.h>

#include "traces/import.h"

enum { MOST_THREADS = 1 << 22 };

static int arrow_next(struct import *im, uint64_t *address)
{
    const char *word = lines_word(&im->lines);
    if (!word || strcmp(word, "->"))
        return lines_refuse(&im->lines, "'%.40s': -> and a result are expected", word ? word : "");
    return lines_address(&im->lines, lines_word(&im->lines), "result", address) ||
                   lines_end(&im->lines)
               ? -1
               : 0;
}

static int number_next(struct import *im, const char *what, uint64_t *value)
{
    return lines_number(&im->lines, lines_word(&im->lines), what, value);
}

static int malloc_import(struct import *im)
{
    struct trace_op op = import_op(TRACE_ALLOC, 0);
    uint64_t address;
    if (number_next(im, "size", &op.size) || arrow_next(im, &address))
        return -1;
    return import_whole(im, &op, 0, address);
}

static int calloc_import(struct import *im)
{
    uint64_t count, size, address;
    if (number_next(im, "count", &count) || number_next(im, "size", &size) ||
        arrow_next(im, &address))
        return -1;
    const struct trace_op op = import_calloc(count, size);
    return import_whole(im, &op, 0, address);
}

static int memalign_import(struct import *im)
{
    struct trace_op op = import_op(TRACE_ALIGNED, 0);
    uint64_t align, address;
    if (number_next(im, "alignment", &align) || number_next(im, "size", &op.size) ||
        arrow_next(im, &address))
        return -1;
    import_align(&op, align);
    return import_whole(im, &op, 0, address);
}

static int realloc_import(struct import *im)
{
    struct trace_op op = import_op(TRACE_REALLOC, 0);
    uint64_t address;
    const char *rest = im->lines.next + strspn(im->lines.next, " ");
    if (!strncmp(rest, "->", 2))
        return arrow_next(im, &address) ? -1 : import_end(im, TRACE_REALLOC, address);
    if (lines_address(&im->lines, lines_word(&im->lines), "old address", &address) ||
        number_next(im, "size", &op.size) || lines_end(&im->lines))
        return -1;
    return import_begin(im, &op, address);
}

static int free_import(struct import *im)
{
    uint64_t address;
    if (lines_address(&im->lines, lines_word(&im->lines), "address", &address) ||
        lines_end(&im->lines))
        return -1;
    return import_free(im, address);
}

static const struct {
    const char *name;
    int (*import)(struct import *im);
} calls[] = {
    {"malloc", malloc_import},     {"free", free_import},       {"calloc", calloc_import},
    {"memalign", memalign_import}, {"realloc", realloc_import},
};

/* "N events": bpftrace's buffers were full. */
static int lost_import(struct import *im)
{
    uint64_t count, *sum = &im->report->lost_events;
    char text[24];
    struct error why;
    if (number_next(im, "count of lost events", &count) ||
        (count && lines_odd(&im->lines, im->report, sum, "lost events:", "bpftrace had no room")))
        return -1;
    if (count && __builtin_add_overflow(*sum, count - 1, sum))
        return lines_refuse(&im->lines, "so many events cannot be lost");
    snprintf(text, sizeof text, "%" PRIu64, *sum);
    return trace_set_meta(im->out, "lost_ops", text, &why)
               ? lines_refuse(&im->lines, "%.400s", why.text)
               : 0;
}

static int line_import(struct import *im)
{
    uint64_t ns, tid;
    const char *word = lines_word(&im->lines), *stamp = word;
    if (!strcmp(word, "Attaching") || !strcmp(word, "Attached") || word[0] == '@')
        return 0;
    if (!strcmp(word, "Lost"))
        return lost_import(im);
    if (*word < '0' || *word > '9')
        return lines_refuse(&im->lines,
                            "'%.40s' begins no event: NS TID CALL .. is expected, as "
                            "traces/samples/src/malloc.bt prints it; let bpftrace write to a file "
                            "of its own, with -o",
                            word);
    if (lines_number(&im->lines, word, "time in ns", &ns) || number_next(im, "thread", &tid))
        return -1;
    if (tid > MOST_THREADS)
        return lines_refuse(&im->lines,
                            "thread %" PRIu64 ": Linux has numbers up to %d: the time comes first, "
                            "then the thread",
                            tid, MOST_THREADS);
    if (import_thread(im, tid))
        return -1;
    if (im->has_clock && ns < im->first_ns + im->clock_ns &&
        lines_odd(&im->lines, im->report, &im->report->late_events,
                  "the event before is a later one, sort the file by time:", stamp))
        return -1;
    import_clock(im, ns);
    word = lines_word(&im->lines);
    for (size_t i = 0; word && i < sizeof calls / sizeof *calls; i++)
        if (!strcmp(word, calls[i].name))
            return calls[i].import(im);
    return lines_refuse(&im->lines,
                        "'%.40s' is not a call: malloc, calloc, memalign, realloc or free is "
                        "expected, as traces/samples/src/malloc.bt prints them",
                        word ? word : "");
}

static int bpftrace_import(const char *path, struct trace_writer *out, struct import_report *report,
                           struct error *err)
{
    struct import im;
    return import_open(&im, path, "bpftrace", out, report, err) ? -1
                                                                : import_lines(&im, line_import);
}

TRACE_FORMAT(bpftrace) = {
    .name = "bpftrace",
    .summary = "what traces/samples/src/malloc.bt prints under bpftrace",
    .import = bpftrace_import,
};
