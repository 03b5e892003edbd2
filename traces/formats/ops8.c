/*
 * ops8.c - a trace as a flat file of 8-byte ops, for replay loops that are not alloclab's: a dozen
 * lines of C read it, with no library. `make bench-agreement` is such a loop, and holds the
 * harness's figures to it.
 *
 *     header: six 8-byte numbers   "OPS8 v1\n", ops, slots, start, main, end
 *     then start + main + end words of 8 bytes   kind << 60 | slot << 32 | size
 *
 * All in the machine's own byte order (little-endian wherever alloclab runs). A slot is the place
 * of an object in a table of `slots` pointers; slots are reused, last freed first. Kinds: 0 malloc,
 * 1 free, 2 calloc(1, size), 3 realloc, 4 a call that reached no allocator (free(NULL), one that
 * failed), 5 to 15 aligned to 2^kind bytes. `start` words make what was live when the recording
 * started, `main` words are the trace, and `end` words free what it left, so that a loop may start
 * again. `ops` is what alloclab divides times by: the calls, each once; here it is `main`.
 *
 * Threads, scopes, sites, clocks, sizes of frees are not said. A call of 0 bytes asks for 1.
 * Counted as lost: threads, scopes, alignments above 32768 and of reallocs, sizes from 4 GiB on,
 * which become 4 GiB - 1. Up to 2^28 objects may be live at once.
 */
#include <stdlib.h>
#include <string.h>

#include "traces/formats/format.h"

enum { OPS8_ALLOC, OPS8_FREE, OPS8_CALLOC, OPS8_REALLOC, OPS8_NONE, OPS8_ALIGN_MIN };

#define ALIGN_MAX_LOG2 15
#define SLOTS_MAX      (UINT64_C(1) << 28)

struct ops8_header {
    char magic[8];
    uint64_t ops, slots, start, main, end;
};

struct slots {
    uint32_t *of_object; /* by id */
    uint32_t *unused;    /* a stack */
    uint64_t unused_count;
};

static uint64_t word_of(unsigned kind, uint32_t slot, uint64_t size)
{
    return (uint64_t)kind << 60 | (uint64_t)slot << 32 | (size < UINT32_MAX ? size : UINT32_MAX);
}

static void word_put(FILE *stream, uint64_t word)
{
    fwrite(&word, sizeof word, 1, stream);
}

static unsigned make_kind(const struct trace_op *op)
{
    unsigned align = op->align_log2 < ALIGN_MAX_LOG2 ? op->align_log2 : ALIGN_MAX_LOG2;
    if (align >= OPS8_ALIGN_MIN)
        return align;
    return op->kind == TRACE_CALLOC ? OPS8_CALLOC : OPS8_ALLOC;
}

/* The op as a word; false: it is none. */
static bool op_word(const struct trace_op *op, struct slots *slots, uint64_t *word)
{
    if (!trace_is_call(op->kind) && op->kind != TRACE_LIVE)
        return false;
    uint64_t size = op->size ? op->size : 1;
    if (trace_makes_object(op)) {
        uint32_t slot = slots->unused[--slots->unused_count];
        slots->of_object[op->object] = slot;
        *word = word_of(make_kind(op), slot, size);
    } else if (trace_ends_object(op)) {
        uint32_t slot = slots->of_object[op->object];
        slots->unused[slots->unused_count++] = slot;
        *word = word_of(OPS8_FREE, slot, 0);
        slots->of_object[op->object] = UINT32_MAX;
    } else if (op->kind == TRACE_REALLOC && !(op->flags & TRACE_FAILED)) {
        *word = word_of(OPS8_REALLOC, slots->of_object[op->object], size);
    } else {
        *word = word_of(OPS8_NONE, 0, 0);
    }
    return true;
}

static bool op_loses(const struct trace_op *op)
{
    bool call = trace_is_call(op->kind) && !(op->flags & TRACE_FAILED);
    return op->kind >= TRACE_SCOPE_BEGIN
               ? op->kind != TRACE_LIVE
               : op->thread || (call && (op->size > UINT32_MAX || op->align_log2 > ALIGN_MAX_LOG2 ||
                                         (op->kind == TRACE_REALLOC && op->align_log2 > 4)));
}

/* The header, and how many objects there are. */
static int trace_count(struct trace_reader *in, struct ops8_header *header, uint64_t *objects,
                       uint64_t *dropped, struct error *err)
{
    struct trace_op op;
    uint64_t live = 0;
    int got;
    *header = (struct ops8_header){.ops = 0};
    memcpy(header->magic, "OPS8 v1\n", sizeof header->magic);
    while ((got = trace_next(in, &op, err)) > 0) {
        header->start += op.kind == TRACE_LIVE;
        header->main += trace_is_call(op.kind);
        *objects += trace_makes_object(&op);
        live += trace_makes_object(&op);
        live -= trace_ends_object(&op);
        header->slots = live > header->slots ? live : header->slots;
        *dropped += op_loses(&op);
    }
    header->ops = header->main;
    header->end = live;
    if (!got && header->slots > SLOTS_MAX)
        return error_set(err, "%s: %llu objects live at once: ops8 has room for %llu",
                         trace_name(in), (unsigned long long)header->slots,
                         (unsigned long long)SLOTS_MAX);
    return got;
}

static int words_export(struct trace_reader *in, FILE *stream, struct slots *slots,
                        uint64_t objects, struct error *err)
{
    struct trace_op op;
    uint64_t word;
    int got;
    while ((got = trace_next(in, &op, err)) > 0)
        if (op_word(&op, slots, &word))
            word_put(stream, word);
    for (uint64_t i = 0; got == 0 && i < objects; i++)
        if (slots->of_object[i] != UINT32_MAX)
            word_put(stream, word_of(OPS8_FREE, slots->of_object[i], 0));
    return got;
}

static int ops8_export(struct trace_reader *in, FILE *stream, uint64_t *dropped, struct error *err)
{
    struct ops8_header header;
    uint64_t objects = 0;
    *dropped = 0;
    if (trace_count(in, &header, &objects, dropped, err) || trace_rewind(in, err))
        return -1;
    struct slots slots = {.of_object = malloc((objects + 1) * sizeof(uint32_t)),
                          .unused = malloc((header.slots + 1) * sizeof(uint32_t))};
    int got = -1;
    if (slots.of_object && slots.unused) {
        while (slots.unused_count < header.slots) { /* slot 0 is taken first */
            slots.unused[slots.unused_count] = (uint32_t)(header.slots - 1 - slots.unused_count);
            slots.unused_count++;
        }
        fwrite(&header, sizeof header, 1, stream);
        got = words_export(in, stream, &slots, objects, err);
    } else {
        error_set(err, "%s: no memory for the slots of %llu objects", trace_name(in),
                  (unsigned long long)objects);
    }
    free(slots.of_object);
    free(slots.unused);
    return got;
}

TRACE_FORMAT(ops8) = {
    .name = "ops8",
    .summary = "flat file of 8-byte ops with reused slots, for replay loops of one's own",
    .export = ops8_export,
};
