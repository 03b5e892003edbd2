/*
 * span_owner.c - see span_owner.h.
 */
#include "allocators/lib/span_owner.h"

/* ---- bins ---- */

static void bin_insert(struct span_owner *o, struct span *span)
{
    struct bin *bin = &o->bins[span->tag];
    bool first = list_empty(&bin->spans);
    list_insert_after(first ? &bin->spans : &bin->current->link, &span->link);
    if (first)
        bin->current = span;
}

static void span_keep(struct span_owner *o, struct span *span, bool keep)
{
    if (span->share.kept != keep)
        o->kept += keep ? span->units * UNIT_BYTES : 0 - span->units * UNIT_BYTES;
    span->share.kept = keep;
}

static void bin_remove(struct span_owner *o, struct span *span)
{
    struct bin *bin = &o->bins[span->tag];
    list_remove(&span->link);
    span_keep(o, span, false);
    if (bin->current != span)
        return;
    bin->current = &o->domain->none;
    if (!list_empty(&bin->spans)) {
        bin->current = LIST_ENTRY(bin->spans.next, struct span, link);
        span_keep(o, bin->current, false);
    }
}

/* It is in no list, and not held. */
static void span_leave(struct span_owner *o, struct span *span)
{
    enum span_state next = span_share_leave(span_owner_class(o, span), span);
    o->listed += next == SPAN_LISTED;
    o->given += next == SPAN_OWNED;
}

/* ---- limbo ---- */

static uint32_t limbo_limit(const struct reclaim *reclaim)
{
    return reclaim->method == RECLAIM_HAZARD ? reclaim->hazard.limit : reclaim->epoch.limit;
}

/* If it is owed and there is room. */
static void span_retire(struct span_owner *o, struct span *span)
{
    struct reclaim *reclaim = &o->domain->reclaim;
    if (span->share.held != HELD_OWED ||
        reclaimer_count(reclaim, &o->reclaimer) == limbo_limit(reclaim))
        return;
    reclaimer_retire(reclaim, &o->reclaimer, &span->share.below);
    span->share.held = HELD_LIMBO;
}

/* Called by scans: no other thread looks at the span's link any more. */
static void span_reclaimed(void *owner, void *link)
{
    struct span *span = LIST_ENTRY(link, struct span, share.below);
    span->share.held = HELD_NO;
    if (span->share.waiting) {
        span->share.waiting = false;
        list_remove(&span->link);
        span_leave(owner, span);
    }
}

/* An exhausted span is left, or waits until it can be. */
static void span_exhausted(struct span_owner *o, struct span *span)
{
    bin_remove(o, span);
    if (span->share.held == HELD_NO) {
        span_leave(o, span);
        return;
    }
    span_owner_set(span, 0);
    span->share.waiting = true;
    list_insert_before(&o->waiting, &span->link);
}

/* Of those that wait, one with an eighth of its objects free, into its bin; the owed are retired on
 * the way. */
static bool waiting_find(struct span_owner *o, unsigned tag)
{
    for (struct list *l = o->waiting.next; l != &o->waiting; l = l->next) {
        struct span *span = LIST_ENTRY(l, struct span, link);
        span_retire(o, span);
        if (span->tag == tag && word_count(span_remote(span)) >= span_owner_class(o, span)->share) {
            list_remove(&span->link);
            span->share.waiting = false;
            span_share_resume(span, o->id);
            bin_insert(o, span);
            return true;
        }
    }
    return false;
}

/* ---- getting and leaving ---- */

bool span_owner_adopt(struct span_owner *o, unsigned tag)
{
    struct reclaim *reclaim = &o->domain->reclaim;
    struct span *span = span_share_adopt(&o->domain->classes[tag], o->id, reclaim, &o->reclaimer);
    if (!span)
        return false;
    o->adopted++;
    if (reclaimer_room(reclaim, &o->reclaimer))
        span_retire(o, span);
    bin_insert(o, span);
    return true;
}

struct span *span_owner_find(struct span_owner *o, unsigned tag)
{
    const struct bin *bin = &o->bins[tag];
    do
        while (bin->current != &o->domain->none) {
            if (span_share_fill(span_owner_class(o, bin->current), bin->current))
                return bin->current;
            span_exhausted(o, bin->current);
        }
    while (span_owner_adopt(o, tag) || waiting_find(o, tag));
    return NULL;
}

struct span *span_owner_grow(struct span_owner *o, unsigned tag)
{
    struct span_class *c = &o->domain->classes[tag];
    struct span *span = span_share_new(c, o->id);
    if (!span)
        return NULL;
    o->taken++;
    bin_insert(o, span);
    span_share_fill(c, span);
    return span;
}

void span_owner_emptied(struct span_owner *o, struct span *span)
{
    size_t bytes = span->units * UNIT_BYTES;
    if (span->share.held != HELD_NO || span == o->bins[span->tag].current)
        return;
    if (o->kept + bytes <= o->domain->keep) {
        span_keep(o, span, true);
        return;
    }
    bin_remove(o, span);
    span_leave(o, span);
}

bool span_owner_push(struct span_owner *o, struct span *span, struct block *b)
{
    struct span_class *c = span_owner_class(o, span);
    if (!span_share_take_back(c, span, o->id)) {
        o->listed += span_share_push(c, span, b);
        return false;
    }
    o->taken_back++;
    bin_insert(o, span);
    return true;
}

static void bins_leave(struct span_owner *o)
{
    for (unsigned tag = 1; tag < SPAN_TAGS; tag++)
        for (struct list *l = o->bins[tag].spans.next, *next; l != &o->bins[tag].spans; l = next) {
            struct span *span = LIST_ENTRY(l, struct span, link);
            next = l->next;
            span_retire(o, span);
            if (span->share.held == HELD_NO) {
                bin_remove(o, span);
                span_leave(o, span);
            }
        }
}

/* Again while spans that were owed have come into limbo, which may be gone by the next scan. */
void span_owner_leave(struct span_owner *o)
{
    const struct reclaim *reclaim = &o->domain->reclaim;
    uint32_t count;
    do {
        reclaimer_scan(&o->domain->reclaim, &o->reclaimer);
        count = reclaimer_count(reclaim, &o->reclaimer);
        waiting_find(o, TAG_NONE); /* retires the owed */
        bins_leave(o);
    } while (reclaimer_count(reclaim, &o->reclaimer) > count);
}

/* ---- open ---- */

void span_domain_open(struct span_domain *domain, enum reclaim_method method, uint32_t limit)
{
    reclaim_open(&domain->reclaim, method, limit, span_reclaimed);
}

void span_owner_open(struct span_owner *o, struct span_domain *domain, uint16_t id)
{
    o->domain = domain;
    o->id = id;
    list_init(&o->waiting);
    for (unsigned tag = 1; tag < SPAN_TAGS; tag++) {
        uint32_t bytes = domain->classes[tag].bytes;
        struct bin *bin = &o->bins[tag];
        *bin = (struct bin){
            .current = &domain->none, .bytes = bytes, .magic = UINT32_MAX / (bytes / 16) + 1};
        list_init(&bin->spans);
    }
    reclaimer_add(&domain->reclaim, &o->reclaimer, o);
}

/* ---- observation ---- */

static const char *list_check(const struct span_owner *o, const struct list *head, size_t *owned,
                              size_t *kept)
{
    bool waiting = head == &o->waiting;
    for (struct list *l = head->next; l != head; l = l->next) {
        const struct span *span = LIST_ENTRY(l, struct span, link);
        if (span->share.waiting != waiting || span_owner(span) != (waiting ? 0 : o->id))
            return "owners: a list has a span of another list or owner";
        if (waiting && span->share.held == HELD_NO)
            return "owners: a span waits for nothing";
        if (span->share.kept && (waiting || span->live || span == o->bins[span->tag].current))
            return "owners: a span is kept that is not empty, or current";
        *kept += span->share.kept ? span->units * UNIT_BYTES : 0;
        *owned += 1;
    }
    return NULL;
}

const char *span_owner_check(const struct span_owner *o, size_t *owned, size_t *retired)
{
    const struct reclaim *reclaim = &o->domain->reclaim;
    uint32_t count = reclaimer_count(reclaim, &o->reclaimer);
    size_t kept = 0;
    const char *broken = list_check(o, &o->waiting, owned, &kept);
    for (unsigned tag = 1; tag < SPAN_TAGS && !broken; tag++)
        broken = list_check(o, &o->bins[tag].spans, owned, &kept);
    if (!broken && (kept != o->kept || kept > o->domain->keep))
        return "owners: the kept spans do not sum up";
    if (count > limbo_limit(reclaim))
        return "limbo: a thread has retired more than it may";
    for (uint32_t i = 0; i < count && !broken; i++) {
        const void *link = reclaimer_node(reclaim, &o->reclaimer, i);
        const struct span *span = LIST_ENTRY(link, struct span, share.below);
        if (!span->share.waiting && span_owner(span) != o->id)
            broken = "limbo: a span is another thread's";
    }
    *retired += count;
    return broken;
}
