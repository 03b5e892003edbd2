/*
 * span_share.c - see span_share.h.
 */
#include "allocators/lib/span_share.h"

enum { CARVE_BYTES = 4096 };

static uint64_t word_of(const struct span *span, enum span_state state, uint32_t count,
                        const struct block *first)
{
    uint64_t place = first ? (size_t)((const char *)first - span_start(span)) / 16 + 1 : 0;
    return place << 32 | count << 16 | state;
}

/* Also what the pages give a new span. */
static const uint64_t owned_empty = 0;
_Static_assert(SPAN_OWNED == 0 && HELD_NO == 0, "a zeroed span is owned, empty and not held");

static struct block *word_first(const struct span *span, uint64_t word)
{
    return word >> 32 ? (struct block *)(void *)(span_start(span) + ((word >> 32) - 1) * 16) : NULL;
}

static struct block *next_of(const struct span_class *c, const struct block *b)
{
    return block_next(c->design, c->secret, b);
}

void span_class_open(struct span_class *c)
{
    struct central shape = {.bytes = c->bytes};
    central_open(&shape);
    c->objects = shape.objects;
    c->units = shape.span_units;
    c->share = (uint32_t)size_max(c->objects / 8, 1);
    c->carve = (uint32_t)size_max(CARVE_BYTES / c->bytes, 1);
}

/* ---- the owner's ---- */

/* What the word tells of goes to the owner's list. */
static void span_splice(const struct span_class *c, struct span *span, uint64_t word)
{
    uint32_t count = word_count(word);
    struct block *first = word_first(span, word), *last = first;
    if (!count)
        return;
    if (span->free) {
        for (uint32_t i = 1; i < count; i++)
            last = next_of(c, last);
        block_link(c->secret, last, span->free);
    }
    span->free = first;
    span->live -= count;
}

static void span_collect(const struct span_class *c, struct span *span)
{
    if (word_count(span_remote(span)))
        span_splice(c, span, step_exchange(&span->share.remote, owned_empty, memory_order_acquire));
}

bool span_share_fill(const struct span_class *c, struct span *span)
{
    if (!span->free)
        span_collect(c, span);
    if (!span->free) {
        uint32_t count = (uint32_t)size_min(c->carve, c->objects - span->carved);
        span->free = span_carve(span, c->bytes, c->secret, count, NULL);
    }
    return span->free;
}

enum span_state span_share_leave(struct span_class *c, struct span *span)
{
    enum span_state next;
    uint64_t old;
    span_owner_set(span, 0);
    do {
        span_collect(c, span);
        if (!span->live) {
            pages_give(c->pages, span);
            return SPAN_OWNED;
        }
        next = span->free || span->carved < c->objects ? SPAN_LISTED : SPAN_FULL;
        old = owned_empty;
    } while (!step_cas(&span->share.remote, &old, word_of(span, next, 0, NULL),
                       memory_order_release, memory_order_relaxed));
    if (next == SPAN_LISTED)
        stack_push(&c->listed, &span->share.below);
    return next;
}

/* ---- becoming the owner ---- */

void span_share_resume(struct span *span, uint16_t id)
{
    span_owner_set(span, id);
    atomic_store_explicit(&span->share.home, id, memory_order_relaxed);
}

struct span *span_share_new(struct span_class *c, uint16_t id)
{
    struct span *span = pages_take(c->pages, c->units, 1, c->tag);
    if (!span)
        return NULL;
    span_share_resume(span, id);
    return span;
}

struct span *span_share_adopt(struct span_class *c, uint16_t id, struct reclaim *reclaim,
                              struct reclaimer *r)
{
    void *link = stack_pop(&c->listed, reclaim, r);
    if (!link)
        return NULL;
    struct span *span = LIST_ENTRY(link, struct span, share.below);
    uint64_t word = step_exchange(&span->share.remote, owned_empty, memory_order_acquire);
    span_share_resume(span, id);
    span_splice(c, span, word);
    span->share.held = HELD_OWED;
    return span;
}

bool span_share_take_back(const struct span_class *c, struct span *span, uint16_t id)
{
    uint64_t word = span_remote(span);
    if (atomic_load_explicit(&span->share.home, memory_order_relaxed) != id)
        return false;
    do
        if (word_state(word) != SPAN_FULL)
            return false;
    while (!step_cas(&span->share.remote, &word, owned_empty, memory_order_acquire,
                     memory_order_relaxed));
    span_share_resume(span, id);
    span_splice(c, span, word);
    return true;
}

/* ---- everybody else's ---- */

bool span_share_push(struct span_class *c, struct span *span, struct block *b)
{
    uint64_t word = span_remote(span), next;
    bool lists;
    do {
        uint32_t count = word_count(word) + 1;
        lists = word_state(word) == SPAN_FULL && count >= c->share;
        block_link(c->secret, b, word_first(span, word));
        next = word_of(span, lists ? SPAN_LISTED : word_state(word), count, b);
    } while (
        !step_cas(&span->share.remote, &word, next, memory_order_release, memory_order_relaxed));
    if (lists)
        stack_push(&c->listed, &span->share.below);
    return lists;
}

/* ---- observation ---- */

/* Sealed objects; more than there can be if it does not end. */
static size_t list_length(const struct span_class *c, const struct block *b)
{
    size_t n = 0;
    for (; b && n <= c->objects && block_is_sealed(c->secret, b); b = b->next)
        n++;
    return b ? SIZE_MAX / 2 : n;
}

const char *span_share_check(const struct span_class *c, const struct span *span, bool lossy)
{
    uint64_t word = atomic_load_explicit(&span->share.remote, memory_order_relaxed);
    enum span_state state = word_state(word);
    if (lossy && state == SPAN_OWNED)
        return NULL;
    size_t mine = list_length(c, span->free), others = list_length(c, word_first(span, word));
    size_t sealed = 0;
    for (size_t i = 0; i < span->carved; i++)
        sealed += block_is_sealed(
            c->secret, (const struct block *)(const void *)(span_start(span) + i * c->bytes));
    if (span->carved != span->live + mine || others != word_count(word) || others > span->live)
        return "spans: live and free objects do not sum up";
    if (lossy ? sealed < mine + others : sealed != mine + others)
        return "spans: the lists do not hold exactly the free objects";
    if (state == SPAN_FULL && (mine || span->carved < c->objects || others >= c->share))
        return "spans: a full one has room";
    if (state != SPAN_OWNED && (span_owner(span) || span->share.held != HELD_NO))
        return "spans: one that nobody owns has an owner, or is held";
    return NULL;
}
