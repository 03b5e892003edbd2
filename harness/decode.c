/*
 * decode.c - see decode.h. Of a live object its slot and size are known, by its id, in a table that
 * forgets the dead (traces/live_table.h). Ops are read some ahead, so that the table answers in
 * time; what most traces consist of, plain allocs and frees, is one short loop.
 */
#include "harness/decode.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness/plan_build.h"
#include "traces/live_table.h"

#define BATCH     64 /* ops read ahead */
#define ALIVE     (UINT64_C(1) << 63)
#define LARGE     UINT32_MAX /* the size stands in `large` */
#define UNIT      2          /* most words that belong together */
#define NO_SLOT   UINT32_MAX
#define NO_THREAD UINT32_MAX

#define OUT_OF_MEMORY "out of memory while decoding"
#define CHANGED       "the trace is not what it was when the session began"

enum thread_state { THREAD_NEW, THREAD_RUNS, THREAD_ENDED };

struct decoder {
    struct trace_reader *trace;
    struct plan plan;          /* what has been seen in this pass */
    struct live_table objects; /* ALIVE | slot << 32 | size, or LARGE */
    uint64_t *large;           /* by slot */
    uint64_t large_room;
    uint32_t *free_slots;
    uint64_t free_count, free_room;
    uint8_t *threads; /* enum thread_state */
    uint64_t thread_room;
    uint64_t live_bytes, record;
    const char *refusal; /* why the trace is refused; NULL = it is fine so far */

    struct ring *ring;        /* NULL: a scan, whose chunks go nowhere */
    struct ring_shape shape;  /* what its words may name */
    struct ring_chunk *chunk; /* being filled */
    uint64_t *words;
    struct plan_run *runs;
    uint64_t word_count, ops_before;          /* of the chunk; in the pass before it */
    uint32_t run_count, run_room, run_thread; /* run_thread: of the last run */
    unsigned part;                            /* enum plan_part, or past the last */
    bool made_start;                          /* the part before the first call is not empty */
};

/* ---- chunks ---- */

static bool chunk_claim(struct decoder *d)
{
    d->word_count = d->run_count = 0;
    d->ops_before = d->plan.ops;
    d->run_thread = NO_THREAD;
    if (!d->ring)
        return true;
    d->chunk = ring_claim(d->ring);
    if (!d->chunk) {
        d->refusal = "the ring to the cell was written over";
        return false;
    }
    d->words = ring_words(d->ring, d->chunk);
    d->runs = ring_runs(d->chunk);
    return true;
}

static void chunk_publish(struct decoder *d, bool last)
{
    if (!d->ring)
        return;
    memset(d->words + d->word_count, 0, PLAN_PREFETCH * sizeof *d->words);
    d->chunk->part = d->part;
    d->chunk->last = last;
    d->chunk->runs = d->run_count;
    d->chunk->words = (uint32_t)d->word_count;
    d->chunk->ops = (uint32_t)(d->plan.ops - d->ops_before);
    ring_publish(d->ring);
}

static bool part_end(struct decoder *d)
{
    chunk_publish(d, true);
    return d->part++ == PLAN_PART_END || chunk_claim(d);
}

/* A run of the thread with room for words that belong together. */
static __attribute__((noinline)) bool run_begin(struct decoder *d, uint32_t thread)
{
    if (d->word_count + UNIT > d->shape.words || d->run_count == d->run_room) {
        chunk_publish(d, false);
        if (!chunk_claim(d))
            return false;
    }
    d->runs[d->run_count++] = (struct plan_run){.thread = thread};
    d->run_thread = thread;
    return true;
}

static inline bool unit_begin(struct decoder *d, uint32_t thread)
{
    return (thread == d->run_thread && d->word_count + UNIT <= d->shape.words) ||
           run_begin(d, thread);
}

static inline void words_put(struct decoder *d, const uint64_t *words, unsigned count)
{
    memcpy(d->words + d->word_count, words, count * sizeof *words);
    d->word_count += count;
    d->runs[d->run_count - 1].words += count;
}

static void word_put(struct decoder *d, uint32_t thread, uint64_t word)
{
    if (unit_begin(d, thread))
        words_put(d, &word, 1);
}

static void rare_put(struct decoder *d, uint32_t thread, uint64_t first, uint64_t second)
{
    const uint64_t words[UNIT] = {first, second};
    if (unit_begin(d, thread))
        words_put(d, words, UNIT);
}

/* ---- objects ---- */

static bool room_make(struct decoder *d, void *array_address, uint64_t count, uint64_t *room,
                      size_t size)
{
    void **array = array_address, *grown = array_room(*array, count, room, size);
    if (grown)
        *array = grown;
    else
        d->refusal = OUT_OF_MEMORY;
    return grown;
}

static uint32_t slot_take(struct decoder *d)
{
    if (d->free_count)
        return d->free_slots[--d->free_count];
    if (d->plan.slots < d->shape.slots)
        return (uint32_t)d->plan.slots++;
    d->refusal = d->ring ? CHANGED : PLAN_TOO_MANY_OBJECTS;
    return NO_SLOT;
}

static inline uint32_t slot_of(uint64_t value)
{
    return (uint32_t)(value >> 32) & (uint32_t)(PLAN_MAX_SLOTS - 1);
}

static uint64_t size_of(const struct decoder *d, uint64_t value)
{
    return (uint32_t)value == LARGE ? d->large[slot_of(value)] : (uint32_t)value;
}

/* What the table says of an object. 0: no memory. */
static uint64_t value_make(struct decoder *d, uint32_t slot, uint64_t size)
{
    uint32_t low = size < LARGE ? (uint32_t)size : LARGE;
    while (low == LARGE && d->large_room <= slot)
        if (!room_make(d, &d->large, d->large_room, &d->large_room, sizeof *d->large))
            return 0;
    if (low == LARGE)
        d->large[slot] = size;
    return ALIVE | (uint64_t)slot << 32 | low;
}

static void live_grow(struct decoder *d, uint64_t bytes)
{
    d->live_bytes += bytes;
    if (d->live_bytes > d->plan.peak_requested_bytes)
        d->plan.peak_requested_bytes = d->live_bytes;
}

/* The size that is replayed; refuses one over the limit. */
static uint64_t size_take(struct decoder *d, const struct trace_op *op)
{
    if (op->size > TRACE_MAX_SIZE)
        d->refusal = PLAN_TOO_LARGE;
    if (op->align_log2 > d->plan.max_align_log2)
        d->plan.max_align_log2 = op->align_log2;
    return op->size ? op->size : 1;
}

static void object_make(struct decoder *d, const struct trace_op *op)
{
    uint64_t size = size_take(d, op);
    if (d->refusal)
        return;
    uint32_t slot = slot_take(d);
    uint64_t value = slot == NO_SLOT ? 0 : value_make(d, slot, size);
    if (!value)
        return;
    if (!live_table_room(&d->objects)) {
        d->refusal = OUT_OF_MEMORY;
        return;
    }
    live_table_add(&d->objects, value);
    d->plan.objects++;
    unsigned kind = op->kind == TRACE_CALLOC ? PLAN_CALLOC : PLAN_ALLOC;
    if (op->align_log2 > 4 || size > UINT32_MAX)
        rare_put(d, op->thread, plan_word(PLAN_RARE, slot, (uint32_t)size),
                 plan_rare_word(kind, op->align_log2, size, 0));
    else
        word_put(d, op->thread, plan_word(kind, slot, (uint32_t)size));
    live_grow(d, size);
    if (d->objects.live > d->plan.peak_live_objects)
        d->plan.peak_live_objects = d->objects.live;
}

static void object_end(struct decoder *d, uint32_t thread, uint64_t id, uint64_t *value,
                       unsigned kind)
{
    uint32_t slot = slot_of(*value);
    uint64_t size = size_of(d, *value);
    if (!room_make(d, &d->free_slots, d->free_count, &d->free_room, sizeof *d->free_slots))
        return;
    live_table_remove(&d->objects, id, value);
    d->free_slots[d->free_count++] = slot;
    d->live_bytes -= size;
    if (size > UINT32_MAX)
        rare_put(d, thread, plan_word(PLAN_RARE, slot, (uint32_t)size),
                 plan_rare_word(kind, 0, size, 0));
    else
        word_put(d, thread, plan_word(kind, slot, (uint32_t)size));
}

static void object_resize(struct decoder *d, const struct trace_op *op, uint64_t *value)
{
    uint32_t slot = slot_of(*value);
    uint64_t old = size_of(d, *value), size = size_take(d, op);
    uint64_t changed = d->refusal ? 0 : value_make(d, slot, size);
    if (!changed)
        return;
    *value = changed;
    rare_put(d, op->thread, plan_word(PLAN_RARE, slot, (uint32_t)size),
             plan_rare_word(PLAN_RARE_REALLOC, op->align_log2, size, old));
    d->live_bytes -= old;
    live_grow(d, size);
}

static void call_decode(struct decoder *d, const struct trace_op *op)
{
    uint64_t *value = NULL;
    if (trace_makes_object(op))
        object_make(d, op);
    else if (op->flags & (TRACE_FAILED | TRACE_NULL))
        word_put(d, op->thread, plan_word(PLAN_NOP, 0, 0));
    else if (!(value = live_table_find(&d->objects, op->object)))
        d->refusal = PLAN_NOT_LIVE;
    else if (trace_ends_object(op))
        object_end(d, op->thread, op->object, value,
                   op->flags & TRACE_SIZED ? PLAN_SIZED : PLAN_FREE);
    else
        object_resize(d, op, value);
}

/* ---- threads and the parts of a pass ---- */

static __attribute__((noinline)) bool thread_begin(struct decoder *d, uint32_t thread)
{
    if (thread >= d->shape.threads) {
        d->refusal = CHANGED;
        return false;
    }
    for (; d->plan.threads <= thread; d->plan.threads++) {
        if (!room_make(d, &d->threads, d->plan.threads, &d->thread_room, sizeof *d->threads))
            return false;
        d->threads[d->plan.threads] = THREAD_NEW;
    }
    if (d->threads[thread] == THREAD_ENDED) {
        d->refusal = PLAN_THREAD_ENDED;
        return false;
    }
    d->threads[thread] = THREAD_RUNS;
    word_put(d, thread, plan_word(PLAN_START, 0, 0));
    return !d->refusal;
}

static inline bool thread_ready(struct decoder *d, uint32_t thread)
{
    return (thread < d->plan.threads && d->threads[thread] == THREAD_RUNS) ||
           thread_begin(d, thread);
}

static void op_decode(struct decoder *d, const struct trace_op *op)
{
    if (!thread_ready(d, op->thread))
        return;
    if (trace_is_call(op->kind)) {
        if (d->part == PLAN_PART_START && !part_end(d))
            return;
        d->plan.start_objects = d->plan.ops++ ? d->plan.start_objects : d->plan.objects;
    }
    if (op->kind <= TRACE_FREE || op->kind == TRACE_LIVE) {
        call_decode(d, op);
    } else if (op->kind == TRACE_THREAD_END) {
        d->threads[op->thread] = THREAD_ENDED;
        word_put(d, op->thread, plan_word(PLAN_STOP, 0, 0));
    }
}

/* Frees what is left on the first thread that still runs, or else the first, started again; and
   ends the threads. */
static void epilogue_decode(struct decoder *d)
{
    uint32_t thread = 0;
    if (!d->plan.threads)
        return;
    while (thread < d->plan.threads && d->threads[thread] != THREAD_RUNS)
        thread++;
    if (thread == d->plan.threads) {
        thread = 0;
        d->threads[0] = THREAD_NEW;
        thread_ready(d, 0);
    }
    uint64_t count = d->objects.live, *ids = live_table_ids(&d->objects);
    if (!ids)
        d->refusal = OUT_OF_MEMORY;
    for (uint64_t i = 0; i < count && !d->refusal; i++)
        object_end(d, thread, ids[i], live_table_find(&d->objects, ids[i]), PLAN_FREE);
    free(ids);
    for (uint32_t i = 0; i < d->plan.threads && !d->refusal; i++)
        if (d->threads[i] == THREAD_RUNS)
            word_put(d, i, plan_word(PLAN_STOP, 0, 0));
}

/*
 * The fast way for plain allocs and frees of the thread that the last run is of. It does what
 * object_make() and object_end() do there, and stops at the first op that is anything else or needs
 * something to grow; returns how many ops it took.
 */
static unsigned plain_ops(struct decoder *d, const struct trace_op *ops, unsigned count)
{
    uint64_t *words = d->words + d->word_count, live = d->live_bytes;
    uint64_t peak = d->plan.peak_requested_bytes, free_count = d->free_count;
    uint64_t room = d->shape.words - d->word_count;
    const uint32_t thread = d->run_thread;
    unsigned i = 0;
    if (d->part != PLAN_PART_TRACE || !d->plan.ops || thread == NO_THREAD ||
        d->threads[thread] != THREAD_RUNS)
        return 0;
    count = count < room ? count : (unsigned)room;
    for (; i < count; i++) {
        const struct trace_op *op = &ops[i];
        uint64_t *value;
        if (op->flags || op->align_log2 > 4 || op->thread != thread)
            break;
        if (op->kind == TRACE_ALLOC && op->size - 1 < LARGE - 1 && free_count &&
            d->objects.ids & (LIVE_PAGE - 1)) {
            uint32_t slot = d->free_slots[--free_count];
            live_table_add(&d->objects, ALIVE | (uint64_t)slot << 32 | op->size);
            words[i] = plan_word(PLAN_ALLOC, slot, (uint32_t)op->size);
            live += op->size;
            peak = live > peak ? live : peak;
        } else if (op->kind == TRACE_FREE && free_count < d->free_room &&
                   (value = live_table_find(&d->objects, op->object)) &&
                   (uint32_t)*value != LARGE) {
            uint64_t word = *value;
            live_table_remove(&d->objects, op->object, value);
            d->free_slots[free_count++] = slot_of(word);
            words[i] = plan_word(PLAN_FREE, slot_of(word), (uint32_t)word);
            live -= (uint32_t)word;
        } else {
            break;
        }
    }
    d->runs[d->run_count - 1].words += i;
    d->word_count += i;
    d->free_count = free_count;
    d->live_bytes = live;
    d->plan.peak_requested_bytes = peak;
    d->plan.objects = d->objects.ids;
    d->plan.ops += i;
    return i;
}

static int batch_read(struct decoder *d, struct trace_op *ops, unsigned *count, struct error *err)
{
    int more = 1;
    for (*count = 0; *count < BATCH && (more = trace_next(d->trace, &ops[*count], err)) == 1;
         ++*count)
        live_table_prefetch(&d->objects, ops[*count].object);
    return more;
}

static int ops_decode(struct decoder *d, struct error *err)
{
    struct trace_op ops[BATCH];
    unsigned count;
    int more = 1;
    while (more == 1) {
        more = batch_read(d, ops, &count, err);
        for (unsigned i = 0; i < count; i++, d->record++) {
            unsigned plain = plain_ops(d, ops + i, count - i);
            i += plain;
            d->record += plain;
            if (i == count)
                break;
            op_decode(d, &ops[i]);
            if (d->refusal)
                return plan_refuse_ahead(err, d->trace, d->record, d->refusal);
        }
    }
    return more;
}

static void decoder_forget(struct decoder *d)
{
    live_table_free(&d->objects);
    d->plan = (struct plan){.magic = PLAN_MAGIC, .scope_slots = 1, .flags = PLAN_STREAM};
    d->free_count = d->live_bytes = d->record = 0;
    d->part = PLAN_PART_START;
}

static void decoder_free(struct decoder *d)
{
    live_table_free(&d->objects);
    free(d->large);
    free(d->free_slots);
    free(d->threads);
}

static int pass_decode(struct decoder *d, struct error *err)
{
    decoder_forget(d);
    if (trace_rewind(d->trace, err))
        return -1;
    if (chunk_claim(d) && !d->made_start)
        part_end(d);
    if (!d->refusal && ops_decode(d, err))
        return -1;
    if (!d->refusal && d->part == PLAN_PART_START) /* no call came */
        d->refusal = CHANGED;
    if (!d->refusal && part_end(d))
        epilogue_decode(d);
    if (!d->refusal)
        part_end(d);
    return d->refusal ? plan_refuse(err, d->trace, d->record, d->refusal) : 0;
}

static void decoder_open(struct decoder *d, struct trace_reader *trace,
                         const struct ring_shape *shape, struct ring *ring)
{
    const struct trace_totals *totals = trace_reader_totals(trace);
    *d = (struct decoder){.trace = trace, .ring = ring, .shape = *shape};
    d->run_room = shape->words < RING_RUNS ? shape->words : RING_RUNS;
    d->made_start = totals->kinds[TRACE_LIVE] && totals->ops;
}

int decode_scan(struct trace_reader *trace, struct plan *header, struct error *err)
{
    struct ring_shape shape = {.words = RING_WORDS, .slots = PLAN_MAX_SLOTS, .threads = UINT32_MAX};
    const struct trace_totals *totals = trace_reader_totals(trace);
    struct decoder d;
    decoder_open(&d, trace, &shape, NULL);
    d.words = malloc(RING_WORDS * sizeof *d.words); /* written, and not read */
    d.runs = malloc(RING_RUNS * sizeof *d.runs);
    int result = d.words && d.runs ? pass_decode(&d, err)
                                   : error_set(err, "%s: %s", trace_name(trace), OUT_OF_MEMORY);
    if (!result &&
        (d.plan.ops != totals->ops || (d.plan.start_objects && !totals->kinds[TRACE_LIVE])))
        result =
            error_set(err,
                      "%s: the index says %llu calls and %llu objects live at the start, but "
                      "here are %llu and %llu; the index is wrong",
                      trace_name(trace), (unsigned long long)totals->ops,
                      (unsigned long long)totals->kinds[TRACE_LIVE], (unsigned long long)d.plan.ops,
                      (unsigned long long)d.plan.start_objects);
    *header = d.plan;
    free(d.words);
    free(d.runs);
    decoder_free(&d);
    return result;
}

int decode_header(const struct plan *header, int *fd, struct error *err)
{
    struct plan plan = *header;
    plan.bytes = sizeof plan;
    *fd = memfd_create("alloclab-header", MFD_ALLOW_SEALING);
    if (*fd >= 0 && write(*fd, &plan, sizeof plan) == (ssize_t)sizeof plan) {
        fcntl(*fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW);
        return 0;
    }
    error_set(err, "plan: cannot write its header: %s", strerror(errno));
    if (*fd >= 0)
        close(*fd);
    return -1;
}

struct ring_shape decode_shape(const struct plan *header)
{
    return (struct ring_shape){.chunks = RING_CHUNKS,
                               .words = RING_WORDS,
                               .slots = header->slots,
                               .threads = header->threads};
}

int decode_passes(struct trace_reader *trace, struct ring *ring, uint64_t passes, struct error *err)
{
    struct decoder d;
    int result = 0;
    decoder_open(&d, trace, &ring->shape, ring);
    for (uint64_t pass = 0; !result && (!passes || pass < passes); pass++)
        result = pass_decode(&d, err);
    decoder_free(&d);
    return result;
}
