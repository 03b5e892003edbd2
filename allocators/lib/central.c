/*
 * central.c - see central.h.
 */
#include "allocators/lib/central.h"

static struct span *span_of(const struct block *b)
{
    struct segment *segment = segment_of(b);
    return &segment->spans[info_first(segment_info(segment, segment_unit(b)))];
}

static bool span_has_room(const struct central *c, const struct span *span)
{
    return span->free || span->carved < c->objects;
}

static struct list *place_of(struct central *c, const struct span *span)
{
    uint32_t quarter = (c->objects + QUARTERS - 1) / QUARTERS, live = span->live;
    unsigned i = (live > quarter) + (live > 2 * quarter) + (live > 3 * quarter);
    return &c->partial[span->unused][i];
}

static struct block *next_of(const struct central *c, const struct block *b)
{
    return block_next(c->design, c->secret, b);
}

static struct span *span_new(struct central *c, unsigned side)
{
    struct span *span = pages_take(c->pages, c->span_units, 1, c->tag);
    if (!span)
        return NULL;
    span->free = NULL;
    span->live = span->carved = 0;
    span->unused = (uint16_t)side;
    list_insert_after(place_of(c, span), &span->link);
    c->room += c->objects;
    c->spans_taken++;
    return span;
}

struct block *span_carve(struct span *span, size_t bytes, uintptr_t secret, uint32_t count,
                         struct block *list)
{
    size_t from = span->carved * bytes, to = from + count * bytes;
    char *start = span_start(span);
    span_publish(span, align_up(from, UNIT_BYTES) >> UNIT_SHIFT,
                 align_up(to, UNIT_BYTES) >> UNIT_SHIFT);
    for (size_t at = to; at > from; at -= bytes) {
        struct block *b = (struct block *)(void *)(start + at - bytes);
        block_link(secret, b, list);
        list = b;
    }
    span->carved += count;
    return list;
}

/* Takes what the chain lacks to `wanted` out of one span. */
static void span_take(struct central *c, struct span *span, struct chain *chain, uint32_t wanted)
{
    struct block *b = span->free;
    while (b && chain->count < wanted) {
        struct block *next = next_of(c, b);
        block_link(c->secret, b, chain->head);
        chain->head = b;
        chain->count++;
        span->live++;
        c->room--;
        b = next;
    }
    span->free = b;
    uint32_t fresh = (uint32_t)size_min(wanted - chain->count, c->objects - span->carved);
    if (fresh) {
        chain->head = span_carve(span, c->bytes, c->secret, fresh, chain->head);
        chain->count += fresh;
        span->live += fresh;
        c->room -= fresh;
    }
    list_remove(&span->link);
    list_init(&span->link);
    if (span_has_room(c, span))
        list_insert_after(place_of(c, span), &span->link);
}

/* The side's first of its fullest quarter that has one; NULL = none has room. */
static struct span *span_fullest(struct central *c, unsigned side)
{
    for (unsigned i = QUARTERS; i-- > 0;)
        if (!list_empty(&c->partial[side][i]))
            return LIST_ENTRY(c->partial[side][i].next, struct span, link);
    return NULL;
}

/* A span of another side, from now on of this one: of the emptiest, where the fewest neighbours
 * are the other's. NULL = none has room. */
static struct span *span_crossing(struct central *c, unsigned side)
{
    for (unsigned i = 0; i < QUARTERS; i++)
        for (unsigned other = (side + 1) % SIDES; other != side; other = (other + 1) % SIDES) {
            if (list_empty(&c->partial[other][i]))
                continue;
            struct span *span = LIST_ENTRY(c->partial[other][i].next, struct span, link);
            span->unused = (uint16_t)side;
            return span;
        }
    return NULL;
}

/* Whether other sides have so much that a new span would be a waste. */
static bool central_has_plenty(const struct central *c)
{
    uint64_t all = (c->spans_taken - c->spans_given) * c->objects;
    uint64_t idle = c->room + (uint64_t)c->chain_count * c->batch;
    return idle > all / ROOM_PART && idle * c->bytes > ROOM_BYTES;
}

/* The newest batch in the depot that is the side's, or if `any`, anyone's. */
static void chain_pick(struct central *c, unsigned side, bool any, struct chain *chain)
{
    for (uint32_t i = c->chain_count; i-- > 0;)
        if (any || c->chains[i].side == side) {
            *chain = c->chains[i];
            c->chains[i] = c->chains[--c->chain_count];
            return;
        }
}

/* For a side that has nothing: another's batch or span, or a new span, in the order that
 * central_has_plenty() says. NULL and an empty chain = no memory. */
static struct span *span_more(struct central *c, unsigned side, struct chain *chain)
{
    struct span *span = central_has_plenty(c) ? NULL : span_new(c, side);
    if (!span)
        chain_pick(c, side, true, chain);
    if (!span && !chain->count)
        span = span_crossing(c, side);
    return span || chain->count ? span : span_new(c, side);
}

struct chain central_take(struct central *c, uint32_t count, unsigned side)
{
    struct chain chain = {NULL, 0, side};
    lock_take(&c->lock);
    c->used = c->stirred = true;
    c->refills++;
    chain_pick(c, side, false, &chain);
    if (!chain.count && c->chain_count == c->chains_max) /* of others; own ones need room, too */
        chain_pick(c, side, true, &chain);
    while (chain.count < count) {
        struct span *span = span_fullest(c, side);
        if (!span && !chain.count)
            span = span_more(c, side, &chain);
        if (!span)
            break;
        span_take(c, span, &chain, count);
    }
    lock_give(&c->lock);
    return chain;
}

/* Back into the spans; those that are empty then leave for `empty`. The caller has the lock. */
static void chain_sort(struct central *c, struct block *b, struct list *empty)
{
    while (b) {
        struct block *next = next_of(c, b);
        struct span *span = span_of(b);
        struct list *from = span_has_room(c, span) ? place_of(c, span) : NULL;
        block_link(c->secret, b, span->free);
        span->free = b;
        c->room++;
        struct list *to = --span->live ? place_of(c, span) : empty;
        if (to != from) {
            list_remove(&span->link);
            list_insert_after(to, &span->link);
        }
        if (to == empty) {
            span->tag = TAG_META;
            c->room -= c->objects;
            c->spans_given++;
        }
        b = next;
    }
}

/* To the pages; the lock was given back. */
static void spans_give(struct central *c, struct list *empty)
{
    while (!list_empty(empty)) {
        struct span *span = LIST_ENTRY(empty->next, struct span, link);
        list_remove(&span->link);
        pages_give(c->pages, span);
    }
}

void central_give(struct central *c, struct chain chain, bool sort)
{
    struct list empty;
    list_init(&empty);
    lock_take(&c->lock);
    c->flushes++;
    if (!sort)
        c->stirred = true;
    if (!sort && c->chain_count < c->chains_max && chain.count == c->batch) {
        c->used = true;
        chain.side = span_of(chain.head)->unused;
        c->chains[c->chain_count++] = chain;
    } else {
        chain_sort(c, chain.head, &empty);
    }
    lock_give(&c->lock);
    spans_give(c, &empty);
}

void central_tick(struct central *c, uint64_t now_ns, uint64_t age_ns)
{
    struct list empty;
    list_init(&empty);
    lock_take(&c->lock);
    if (c->used)
        c->used_ns = now_ns;
    c->used = false;
    while (c->chain_count && now_ns - c->used_ns >= age_ns)
        chain_sort(c, c->chains[--c->chain_count].head, &empty);
    lock_give(&c->lock);
    spans_give(c, &empty);
}

bool central_sweep(struct central *c)
{
    struct list empty;
    list_init(&empty);
    lock_take(&c->lock);
    bool idle = !c->stirred;
    c->stirred = false;
    c->swept += idle && c->chain_count;
    while (idle && c->chain_count)
        chain_sort(c, c->chains[--c->chain_count].head, &empty);
    lock_give(&c->lock);
    spans_give(c, &empty);
    return idle;
}

/* The fewest units with room for at least eight objects up to 1 KiB, four up to 8 KiB, one beyond,
 * and with at most 1/8 left over: short spans become empty sooner. */
void central_open(struct central *c)
{
    size_t bytes = c->bytes, least = bytes <= 1024 ? 8 : bytes <= 8192 ? 4 : 1;
    size_t units = align_up(least * bytes, UNIT_BYTES) >> UNIT_SHIFT;
    while (units * UNIT_BYTES % bytes > units * UNIT_BYTES / 8)
        units++;
    for (unsigned side = 0; side < SIDES; side++)
        for (unsigned i = 0; i < QUARTERS; i++)
            list_init(&c->partial[side][i]);
    c->chains_max = bytes > BATCH_BYTES ? 0 : CHAINS;
    c->span_units = (uint32_t)units;
    c->objects = (uint32_t)(units * UNIT_BYTES / bytes);
}

/* ---- observation ---- */

static const struct block *object_at(const struct central *c, const struct span *span, size_t i)
{
    return (const struct block *)(const void *)(span_start(span) + i * c->bytes);
}

void central_span_walk(const struct central *c, const struct span *span, walk_fn *fn, void *arg)
{
    struct walk_item item = {.bytes = c->bytes, .class_bytes = c->bytes};
    for (size_t i = 0; i < span->carved; i++) {
        item.address = (uintptr_t)object_at(c, span, i);
        item.kind = block_is_sealed(c->secret, object_at(c, span, i)) ? WALK_FREE : WALK_LIVE;
        fn(arg, &item);
    }
    size_t used = (size_t)span->carved * c->bytes;
    item = (struct walk_item){.address = (uintptr_t)span_start(span) + used,
                              .bytes = span->units * UNIT_BYTES - used,
                              .kind = WALK_UNUSED,
                              .class_bytes = c->bytes};
    if (item.bytes)
        fn(arg, &item);
}

const char *central_span_check(const struct central *c, const struct span *span, size_t *sealed)
{
    size_t listed = 0;
    for (const struct block *b = span->free; b && listed <= c->objects; b = b->next, listed++)
        if (!block_is_sealed(c->secret, b))
            return "spans: a free object is not sealed";
    if (span->units != c->span_units || span->carved > c->objects)
        return "spans: one is not as large as its class says";
    if (listed + span->live != span->carved)
        return "spans: free and live objects do not sum up";
    if (span->unused >= SIDES)
        return "spans: one is of no side";
    if (list_empty(&span->link) == span_has_room(c, span))
        return "spans: the list of those with room is wrong";
    if (!span->live)
        return "spans: one without objects in use was kept";
    for (size_t i = 0; i < span->carved; i++)
        *sealed += block_is_sealed(c->secret, object_at(c, span, i));
    *sealed -= listed;
    return NULL;
}
