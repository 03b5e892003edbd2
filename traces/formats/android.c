/*
 * android.c - Android's memory_replay text: one call a line,
 *
 *     TID: malloc PTR SIZE                TID: calloc PTR COUNT SIZE
 *     TID: memalign PTR ALIGNMENT SIZE    TID: realloc NEW OLD SIZE
 *     TID: free PTR                       TID: thread_done 0x0
 *
 * PTR is what the call returned. A line may end with two times, the call's begin and end in ns: the
 * clock is the begin, counted from the first that is given. thread_done may have one, of its end.
 * Newer recorders say last of free and realloc how many of the old object's bytes were present in memory,
 * with or without the times: this is passed over.
 *
 * Rules of the import, beside those of traces/import.h. A TID that comes again after its thread_done
 * is a new thread. A result of 0x0 is a call that failed, except realloc(OLD, 0) = 0x0, which frees
 * OLD. realloc of 0x0 makes an object. An alignment is rounded up to a power of two, as memalign
 * does. A time before the first one counts as the first.
 *
 * The export invents addresses. It cannot say scopes, begins of threads and sites, which are
 * dropped; objects live at the start become malloc, sized frees plain ones, aligned reallocs plain
 * ones. All of these are counted.
 */
#include <inttypes.h>
#include <string.h>

#include "traces/import.h"

/* ---- reading: the line's parts ---- */

static int thread_parse(struct import *im)
{
    char *word = im->lines.next + strspn(im->lines.next, " \t");
    size_t digits = strspn(word, "0123456789");
    uint64_t tid;
    if (!digits || word[digits] != ':')
        return lines_refuse(&im->lines, "'%.40s' is not a thread: TID: is expected",
                            lines_word(&im->lines));
    word[digits] = 0;
    im->lines.next = word + digits + 1; /* a space need not follow */
    return lines_number(&im->lines, word, "thread", &tid) ? -1 : import_thread(im, tid);
}

/* The two times, if there are any, and if the call ended an object perhaps the bytes of it that were present;
 * nothing may follow. */
static int clock_parse(struct import *im, bool ends_object)
{
    uint64_t begin_ns = 0, end_ns, present;
    char *word = lines_word(&im->lines), *second = word ? lines_word(&im->lines) : NULL, *third;
    im->clock_ns = 0;
    if (!word)
        return 0;
    if (ends_object && !second)
        return lines_number(&im->lines, word, "count of present bytes", &present);
    if (lines_number(&im->lines, word, "begin time", &begin_ns) ||
        lines_number(&im->lines, second, "end time", &end_ns))
        return -1;
    third = ends_object ? lines_word(&im->lines) : NULL;
    if ((third && lines_number(&im->lines, third, "count of present bytes", &present)) ||
        lines_end(&im->lines))
        return -1;
    import_clock(im, begin_ns);
    return 0;
}

static int number_next(struct import *im, const char *what, uint64_t *value)
{
    return lines_number(&im->lines, lines_word(&im->lines), what, value);
}

/* ---- reading: the calls ---- */

static int malloc_import(struct import *im, uint64_t address)
{
    uint64_t size;
    if (number_next(im, "size", &size) || clock_parse(im, false))
        return -1;
    const struct trace_op op = import_op(TRACE_ALLOC, size);
    return import_whole(im, &op, 0, address);
}

static int calloc_import(struct import *im, uint64_t address)
{
    uint64_t count, size;
    if (number_next(im, "count", &count) || number_next(im, "size", &size) ||
        clock_parse(im, false))
        return -1;
    const struct trace_op op = import_calloc(count, size);
    return import_whole(im, &op, 0, address);
}

static int memalign_import(struct import *im, uint64_t address)
{
    uint64_t align, size;
    if (number_next(im, "alignment", &align) || number_next(im, "size", &size) ||
        clock_parse(im, false))
        return -1;
    struct trace_op op = import_op(TRACE_ALIGNED, size);
    import_align(&op, align);
    return import_whole(im, &op, 0, address);
}

static int realloc_import(struct import *im, uint64_t address)
{
    uint64_t old, size;
    if (lines_address(&im->lines, lines_word(&im->lines), "old address", &old) ||
        number_next(im, "size", &size) || clock_parse(im, true))
        return -1;
    const struct trace_op op = import_op(TRACE_REALLOC, size);
    return import_whole(im, &op, old, address);
}

static int free_import(struct import *im, uint64_t address)
{
    return clock_parse(im, true) ? -1 : import_free(im, address);
}

static int done_import(struct import *im, uint64_t address)
{
    uint64_t end_ns;
    char *word = lines_word(&im->lines);
    (void)address;
    im->clock_ns = 0;
    if (word) {
        if (lines_number(&im->lines, word, "end time", &end_ns))
            return -1;
        word = lines_word(&im->lines); /* some have two, as calls do */
        if (word &&
            (lines_number(&im->lines, word, "second time", &end_ns) || lines_end(&im->lines)))
            return -1;
        import_clock(im, end_ns);
    }
    return import_thread_end(im);
}

static const struct {
    const char *name;
    int (*import)(struct import *im, uint64_t address);
} calls[] = {
    {"malloc", malloc_import},   {"free", free_import},         {"calloc", calloc_import},
    {"realloc", realloc_import}, {"memalign", memalign_import}, {"thread_done", done_import},
};

static int line_import(struct import *im)
{
    uint64_t address;
    if (thread_parse(im))
        return -1;
    const char *name = lines_word(&im->lines);
    for (size_t i = 0; name && i < sizeof calls / sizeof *calls; i++)
        if (strcmp(name, calls[i].name) == 0)
            return lines_address(&im->lines, lines_word(&im->lines), "address", &address)
                       ? -1
                       : calls[i].import(im, address);
    return lines_refuse(&im->lines,
                        "'%.40s' is not a call: malloc, calloc, memalign, realloc, free or "
                        "thread_done is expected",
                        name ? name : "");
}

static int android_import(const char *path, struct trace_writer *out, struct import_report *report,
                          struct error *err)
{
    struct import im;
    return import_open(&im, path, "android", out, report, err) ? -1
                                                               : import_lines(&im, line_import);
}

/* ---- writing ---- */

/* The address of an object is invented from its number, so that it is unique and 16-byte aligned.
 */
static uint64_t address_of(uint64_t object)
{
    return object == TRACE_NO_OBJECT ? 0 : (object + 1) << 4;
}

/* False if the form has no line for the op. */
static bool op_print(FILE *stream, const struct trace_op *op)
{
    unsigned tid = op->thread + 1;
    bool failed = op->flags & TRACE_FAILED;
    uint64_t address = address_of(op->object);
    switch (op->kind) {
    case TRACE_ALLOC:
    case TRACE_LIVE:
        fprintf(stream, "%u: malloc 0x%" PRIx64 " %" PRIu64, tid, address, op->size);
        return true;
    case TRACE_CALLOC:
        fprintf(stream, "%u: calloc 0x%" PRIx64 " 1 %" PRIu64, tid, address, op->size);
        return true;
    case TRACE_ALIGNED:
        fprintf(stream, "%u: memalign 0x%" PRIx64 " %" PRIu64 " %" PRIu64, tid, address,
                UINT64_C(1) << op->align_log2, op->size);
        return true;
    case TRACE_REALLOC:
        if (failed && op->size == 0 && op->object != TRACE_NO_OBJECT)
            return false;
        fprintf(stream, "%u: realloc 0x%" PRIx64 " 0x%" PRIx64 " %" PRIu64, tid,
                failed || op->flags & TRACE_ENDS ? 0 : address,
                op->flags & TRACE_NULL ? 0 : address, op->size);
        return true;
    case TRACE_FREE:
        fprintf(stream, "%u: free 0x%" PRIx64, tid, address);
        return true;
    case TRACE_THREAD_END:
        fprintf(stream, "%u: thread_done 0x0", tid);
        return true;
    default:
        return false;
    }
}

static int android_export(struct trace_reader *in, FILE *stream, uint64_t *dropped,
                          struct error *err)
{
    struct trace_op op;
    bool clock = trace_has_clock(in);
    int got;
    *dropped = 0;
    while ((got = trace_next(in, &op, err)) > 0) {
        bool printed = op_print(stream, &op);
        *dropped += !printed || op.kind == TRACE_LIVE || op.flags & TRACE_SIZED || op.site ||
                    (op.kind == TRACE_REALLOC && op.align_log2);
        if (printed && clock)
            fprintf(stream, " %" PRIu64 " %" PRIu64, op.clock_ns, op.clock_ns);
        if (printed)
            putc('\n', stream);
    }
    return got;
}

TRACE_FORMAT(android) = {
    .name = "android",
    .summary = "Android's memory_replay text",
    .import = android_import,
    .export = android_export,
};
