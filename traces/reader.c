/*
 * reader.c - hands out the ops of a trace, from blocks that were decoded here (reader_decode.c) or,
 * ahead of the reader, on a thread of its own. That thread fills a ring of a few blocks and sleeps
 * while it is full; it ends at the end, and at whatever damage it finds, which is told only when the
 * reader comes to it.
 *
 * trace_next is on the way of every trace into a plan: it copies, and has no branch but on rare
 * things.
 */
#include "traces/reader.h"

#define RARELY(condition) __builtin_expect(!!(condition), 0)

/* ---- blocks, decoded ahead ---- */

static void *ahead_run(void *arg)
{
    struct trace_reader *r = arg;
    struct ahead *a = &r->ahead;
    pthread_mutex_lock(&a->lock);
    while (!a->stop && !r->decoder.over) {
        if (a->filled - a->taken == AHEAD_BLOCKS) {
            pthread_cond_wait(&a->changed, &a->lock);
            continue;
        }
        struct decoded *to = &r->decoded[a->filled % AHEAD_BLOCKS];
        pthread_mutex_unlock(&a->lock);
        block_decoder_next(r, &r->decoder, to);
        pthread_mutex_lock(&a->lock);
        a->filled++;
        pthread_cond_signal(&a->changed);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

/* Without a thread, should there be none, blocks are decoded as they are asked for. */
static void ahead_start(struct trace_reader *r)
{
    struct ahead *a = &r->ahead;
    *a = (struct ahead){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    a->runs = pthread_create(&a->thread, NULL, ahead_run, r) == 0;
}

void ahead_end(struct trace_reader *r)
{
    struct ahead *a = &r->ahead;
    if (!a->runs)
        return;
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    a->runs = false;
}

/* Gives back the block that was taken before, and waits for the next one. */
static const struct decoded *ahead_take(struct trace_reader *r)
{
    struct ahead *a = &r->ahead;
    pthread_mutex_lock(&a->lock);
    if (r->now) {
        a->taken++;
        pthread_cond_signal(&a->changed);
    }
    while (a->filled == a->taken)
        pthread_cond_wait(&a->changed, &a->lock);
    const struct decoded *next = &r->decoded[a->taken % AHEAD_BLOCKS];
    pthread_mutex_unlock(&a->lock);
    return next;
}

/* ---- ops ---- */

/* Whatever was wrong with the block being read, after its sound records. */
static int block_fail(struct trace_reader *r, struct error *err)
{
    *err = r->now->err;
    r->failed = true;
    return -1;
}

static const struct decoded *block_next(struct trace_reader *r)
{
    if (!r->ahead.runs && r->flags & TRACE_AHEAD && r->count - r->decoder.at >= AHEAD_BLOCKS) {
        r->now = NULL;
        ahead_start(r);
    }
    if (r->ahead.runs)
        return ahead_take(r);
    block_decoder_next(r, &r->decoder, r->decoded);
    return r->decoded;
}

/* Goes to the next run of records. 1, 0 at the end, -1. */
__attribute__((noinline)) static int run_next(struct trace_reader *r, struct error *err)
{
    if (r->failed)
        return reader_refuse(r, r->offset, err, "reading has already failed here");
    while (!r->now || r->record == r->now->records) {
        if (r->now && r->now->failed)
            return block_fail(r, err);
        if (r->now && r->now->ended)
            return 0;
        r->now = block_next(r);
        if (!r->now->ended)
            r->offset = r->now->offset;
        r->record = r->run = r->run_end = 0;
        r->extras =
            r->now->has_clocks || r->now->has_sites || r->now->has_aligns || r->now->has_scopes;
    }
    const struct decoded_run *run = &r->now->run[r->run++];
    r->thread = run->thread;
    r->run_end += run->records;
    if (r->run_end > r->now->records)
        r->run_end = r->now->records;
    return 1;
}

/* What few records have. */
static void op_extras(const struct decoded *b, uint32_t i, struct trace_op *op)
{
    if (b->has_clocks)
        op->clock_ns = b->clocks[i];
    if (b->has_sites)
        op->site = b->sites[i];
    if (b->has_aligns)
        op->align_log2 = b->aligns[i];
    if (b->has_scopes)
        op->scope = b->scopes[i];
}

int trace_next(struct trace_reader *r, struct trace_op *op, struct error *err)
{
    if (RARELY(r->record == r->run_end)) {
        int got = run_next(r, err);
        if (got <= 0)
            return got;
    }
    const struct decoded *b = r->now;
    uint32_t i = r->record++;
    unsigned code = b->codes[i];
    *op = (struct trace_op){.kind = code & 15,
                            .flags = (uint8_t)(code >> 4),
                            .thread = r->thread,
                            .object = b->objects[i],
                            .size = b->sizes[i],
                            .scope = TRACE_NO_SCOPE};
    if (r->extras)
        op_extras(b, i, op);
    return 1;
}

int trace_next_batch(struct trace_reader *r, uint32_t most, struct trace_batch *batch,
                     struct error *err)
{
    int got = r->record == r->run_end ? run_next(r, err) : 1;
    if (got <= 0)
        return got;
    const struct decoded *b = r->now;
    uint32_t i = r->record, left = r->run_end - i;
    *batch = (struct trace_batch){.count = left < most ? left : most,
                                  .thread = r->thread,
                                  .codes = b->codes + i,
                                  .objects = b->objects + i,
                                  .sizes = b->sizes + i,
                                  .clocks = b->has_clocks ? b->clocks + i : NULL,
                                  .sites = b->has_sites ? b->sites + i : NULL,
                                  .scopes = b->has_scopes ? b->scopes + i : NULL,
                                  .aligns = b->has_aligns ? b->aligns + i : NULL};
    r->record += batch->count;
    return 1;
}

/* ---- to another place ---- */

/* What follows is decoded from this block on. */
static void reader_move(struct trace_reader *r, size_t block, const struct trace_place *place)
{
    struct block_decoder *d = &r->decoder;
    ahead_end(r);
    d->at = block;
    d->records = place->records;
    d->objects = place->objects;
    d->scopes = place->scopes;
    d->threads = place->threads;
    d->clock = place->clock_ns;
    d->over = false;
    d->skip_clock = r->flags & TRACE_SKIP_CLOCK;
    r->now = NULL;
    r->record = r->run_end = 0;
    r->failed = false;
}

int trace_rewind(struct trace_reader *r, struct error *err)
{
    (void)err;
    reader_move(r, 0, &(struct trace_place){0});
    reader_advise(r, false);
    r->trimmed = 0;
    r->offset = LAYOUT_HEADER_BYTES;
    return 0;
}

bool trace_place_at(const struct trace_reader *r, uint64_t block, struct trace_place *place)
{
    if (r->torn || block >= r->count)
        return false;
    const uint8_t *base = r->table.next + 8 * (ROW_FIELDS * block + ROW_BASE);
    *place = (struct trace_place){.records = load64(base + 8 * BASE_RECORD),
                                  .objects = load64(base + 8 * BASE_OBJECT),
                                  .scopes = load64(base + 8 * BASE_SCOPE),
                                  .threads = load64(base + 8 * BASE_THREAD),
                                  .clock_ns = load64(base + 8 * BASE_CLOCK)};
    return true;
}

void trace_seek(struct trace_reader *r, uint64_t block)
{
    struct trace_place place;
    if (!trace_place_at(r, block, &place))
        return;
    reader_move(r, block, &place);
    reader_advise(r, true);
}
