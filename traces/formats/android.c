/*
 * android.c - Android's memory_replay text: one call a line,
 *
 *     TID: malloc PTR SIZE                TID: calloc PTR COUNT SIZE
 *     TID: memalign PTR ALIGNMENT SIZE    TID: realloc NEW OLD SIZE
 *     TID: free PTR                       TID: thread_done 0x0
 *
 * PTR is what the call returned. A line may end with two times, the call's begin and end in ns: the
 * clock is the begin, counted from the first that is given.
 *
 * Rules of the import. Threads are numbered by first appearance; a TID that comes again after its
 * thread_done is a new thread. A result of 0x0 is a call that failed, except realloc(OLD, 0) = 0x0,
 * which frees OLD. realloc of 0x0 makes an object. An alignment is rounded up to a power of two, as
 * memalign does. A time before the first one counts as the first. Oddities, counted, or refused
 * with --strict: a free of an address that is not live is dropped; a realloc of one is taken as
 * realloc of 0x0; an address given out while it is live: the old object is freed first.
 *
 * The export invents addresses. It cannot say scopes, begins of threads and sites, which are
 * dropped; objects live at the start become malloc, sized frees plain ones, aligned reallocs plain
 * ones. All of these are counted.
 */
#include <inttypes.h>
#include <string.h>

#include "traces/address_map.h"
#include "traces/lines.h"

struct android {
    struct lines lines;
    struct trace_writer *out;
    struct import_report *report;
    struct address_map live;    /* address -> object */
    struct address_map threads; /* TID -> thread */
    uint32_t thread_count;
    uint64_t tid; /* of the line */
    uint64_t objects, first_ns;
    bool clock; /* first_ns is set */
};

static int no_memory(struct android *a)
{
    return lines_refuse(&a->lines, "no memory for the tables");
}

/* A thread gets its number with the first op that is put, for lines may be dropped. */
static int put(struct android *a, const struct trace_op *op)
{
    if (op->thread == a->thread_count &&
        !address_map_add(&a->threads, a->tid, a->thread_count++, 0))
        return no_memory(a);
    return lines_put(&a->lines, a->out, op);
}

/* ---- the line's parts ---- */

static int thread_parse(struct android *a, struct trace_op *op)
{
    char *word = lines_word(&a->lines);
    size_t length = word ? strlen(word) : 0;
    if (length < 2 || word[length - 1] != ':')
        return lines_refuse(&a->lines, "'%.40s' is not a thread: TID: is expected",
                            word ? word : "");
    word[length - 1] = 0;
    if (lines_number(&a->lines, word, "thread", &a->tid))
        return -1;
    const struct address_entry *known = address_map_find(&a->threads, a->tid);
    op->thread = known ? (uint32_t)address_entry_id(known) : a->thread_count;
    return 0;
}

/* The two times, if there are any; nothing may follow. */
static int clock_parse(struct android *a, struct trace_op *op)
{
    uint64_t begin_ns = 0, end_ns;
    char *word = lines_word(&a->lines);
    if (!word)
        return 0;
    if (lines_number(&a->lines, word, "begin time", &begin_ns) ||
        lines_number(&a->lines, lines_word(&a->lines), "end time", &end_ns))
        return -1;
    word = lines_word(&a->lines);
    if (word)
        return lines_refuse(&a->lines, "'%.40s' is not expected here", word);
    if (!a->clock)
        a->first_ns = begin_ns;
    a->clock = true;
    op->clock_ns = begin_ns > a->first_ns ? begin_ns - a->first_ns : 0;
    return 0;
}

static int number_next(struct android *a, const char *what, uint64_t *value)
{
    return lines_number(&a->lines, lines_word(&a->lines), what, value);
}

static int address_next(struct android *a, const char *what, uint64_t *value)
{
    return lines_address(&a->lines, lines_word(&a->lines), what, value);
}

/* ---- the calls ---- */

/* The address becomes live; an object that is still there is freed first. */
static int address_take(struct android *a, const struct trace_op *op, uint64_t address, uint64_t id)
{
    struct address_entry *old = address_map_find(&a->live, address);
    if (old) {
        char word[24];
        snprintf(word, sizeof word, "0x%" PRIx64, address);
        struct trace_op gone = {.kind = TRACE_FREE,
                                .thread = op->thread,
                                .object = address_entry_id(old),
                                .scope = TRACE_NO_SCOPE,
                                .clock_ns = op->clock_ns};
        address_map_remove(&a->live, old);
        if (lines_odd(&a->lines, a->report, &a->report->double_allocs,
                      "the call returns an address that is live:", word) ||
            put(a, &gone))
            return -1;
    }
    return address_map_add(&a->live, address, id, 0) ? 0 : no_memory(a);
}

/* malloc, calloc, memalign, and realloc of nothing: a new object at `address`, or a failed call. */
static int object_make(struct android *a, struct trace_op *op, uint64_t address)
{
    if (address == 0) {
        op->flags |= TRACE_FAILED;
        return put(a, op);
    }
    op->object = a->objects++;
    return address_take(a, op, address, op->object) ? -1 : put(a, op);
}

static int malloc_import(struct android *a, struct trace_op *op, uint64_t address)
{
    op->kind = TRACE_ALLOC;
    return number_next(a, "size", &op->size) || clock_parse(a, op) ? -1
                                                                   : object_make(a, op, address);
}

static int calloc_import(struct android *a, struct trace_op *op, uint64_t address)
{
    uint64_t count;
    op->kind = TRACE_CALLOC;
    if (number_next(a, "count", &count) || number_next(a, "size", &op->size) || clock_parse(a, op))
        return -1;
    if (__builtin_mul_overflow(count, op->size, &op->size)) {
        if (address)
            return lines_refuse(&a->lines,
                                "the product overflows, and yet the call returned memory");
        op->size = UINT64_MAX;
    }
    return object_make(a, op, address);
}

static int memalign_import(struct android *a, struct trace_op *op, uint64_t address)
{
    uint64_t align;
    op->kind = TRACE_ALIGNED;
    if (number_next(a, "alignment", &align) || number_next(a, "size", &op->size) ||
        clock_parse(a, op))
        return -1;
    while (op->align_log2 < 63 && UINT64_C(1) << op->align_log2 < align)
        op->align_log2++;
    return object_make(a, op, address);
}

static int realloc_import(struct android *a, struct trace_op *op, uint64_t address)
{
    uint64_t old;
    op->kind = TRACE_REALLOC;
    if (address_next(a, "old address", &old) || number_next(a, "size", &op->size) ||
        clock_parse(a, op))
        return -1;
    struct address_entry *entry = old ? address_map_find(&a->live, old) : NULL;
    if (!entry) {
        char word[24];
        snprintf(word, sizeof word, "0x%" PRIx64, old);
        if (old && lines_odd(&a->lines, a->report, &a->report->unknown_reallocs,
                             "realloc of an address that is not live:", word))
            return -1;
        op->flags = TRACE_NULL;
        return object_make(a, op, address);
    }
    op->object = address_entry_id(entry);
    if (address == 0 && op->size) {
        op->flags = TRACE_FAILED;
        return put(a, op);
    }
    address_map_remove(&a->live, entry);
    if (address == 0)
        op->flags = TRACE_ENDS;
    else if (address_take(a, op, address, op->object))
        return -1;
    return put(a, op);
}

static int free_import(struct android *a, struct trace_op *op, uint64_t address)
{
    op->kind = TRACE_FREE;
    if (clock_parse(a, op))
        return -1;
    if (address == 0) {
        op->flags = TRACE_NULL;
        return put(a, op);
    }
    struct address_entry *entry = address_map_find(&a->live, address);
    if (!entry) {
        char word[24];
        snprintf(word, sizeof word, "0x%" PRIx64, address);
        return lines_odd(&a->lines, a->report, &a->report->unknown_frees,
                         "free of an address that is not live:", word);
    }
    op->object = address_entry_id(entry);
    address_map_remove(&a->live, entry);
    return put(a, op);
}

static int done_import(struct android *a, struct trace_op *op, uint64_t address)
{
    (void)address;
    op->kind = TRACE_THREAD_END;
    if (clock_parse(a, op) || put(a, op))
        return -1;
    address_map_remove(&a->threads, address_map_find(&a->threads, a->tid));
    return 0;
}

static const struct {
    const char *name;
    int (*import)(struct android *a, struct trace_op *op, uint64_t address);
} calls[] = {
    {"malloc", malloc_import},   {"free", free_import},         {"calloc", calloc_import},
    {"realloc", realloc_import}, {"memalign", memalign_import}, {"thread_done", done_import},
};

static int line_import(struct android *a)
{
    struct trace_op op = {.object = TRACE_NO_OBJECT, .scope = TRACE_NO_SCOPE};
    uint64_t address;
    if (a->lines.text[strspn(a->lines.text, " \t")] == 0)
        return 0;
    if (thread_parse(a, &op))
        return -1;
    const char *name = lines_word(&a->lines);
    for (size_t i = 0; name && i < sizeof calls / sizeof *calls; i++)
        if (strcmp(name, calls[i].name) == 0)
            return address_next(a, "address", &address) ? -1 : calls[i].import(a, &op, address);
    return lines_refuse(&a->lines,
                        "'%.40s' is not a call: malloc, calloc, memalign, realloc, free or "
                        "thread_done is expected",
                        name ? name : "");
}

static int android_import(const char *path, struct trace_writer *out, struct import_report *report,
                          struct error *err)
{
    struct android a = {.out = out, .report = report};
    if (trace_set_meta(out, "source", "android", err) || lines_open(&a.lines, path, err))
        return -1;
    int got;
    while ((got = lines_next(&a.lines)) > 0)
        if (line_import(&a))
            break;
    report->lines = a.lines.number;
    lines_close(&a.lines);
    address_map_free(&a.live);
    address_map_free(&a.threads);
    return got ? -1 : 0;
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
    .summary = "Android's memory_replay text, plain or gzip",
    .import = android_import,
    .export = android_export,
};
