/*
 * lockfree.c - small objects without locks: every span has one owner, which takes and frees its
 * objects by plain loads and stores; a free by any other thread is one compare-and-swap; and spans
 * that nobody owns wait in stacks that all threads share. Wherever a thread is stopped, the others
 * go on; only the pages below have a lock (see Cost).
 *
 *     span of class c    | obj | obj | obj | ... | not carved yet | rest |
 *     its struct span    free    free objects that the owner has; live, carved       owner only
 *                        remote  state | count | first of those others have freed    one word
 *
 *                    owner leaves, all in use              an eighth freed by others
 *       OWNED  ---------------------------------->  FULL  ----------------------->  LISTED
 *         ^ ^----------------------------------------'                                 |
 *         |      its last owner frees one: takes it back                               |
 *         '--- adopted by the next thread that needs a span of c  <--- stack of c -----'
 *
 * Objects have no header: the class and the span of an address come from a mask (lib/pages.h), and
 * sizes up to 64 KiB have classes (lib/size_class.h). A view (thread) has a list of the spans it
 * owns for each class; it takes objects from the first, until that has none, nothing was freed into
 * it by others, and nothing is left to carve. Then it leaves the span: FULL, nobody's, in no list.
 * Who frees an eighth of its objects makes it LISTED and pushes it on the class's stack. A view
 * without a span of a class adopts the top of the stack, with all that was freed into it, and only
 * if the stack is empty takes a new span from the pages. So frees by others find their way back to
 * whoever allocates, and one's own never leave. A span that becomes empty goes back to the pages,
 * unless it is the first of its list or within `keep`.
 *
 * Limbo. A span popped from a stack may still be looked at by a slow popper, and were it pushed
 * again meanwhile, that one's compare-and-swap would succeed and put a wrong span on top (ABA).
 * So who adopts a span retires it, under hazard pointers (lib/hazard.h) or epochs (lib/epoch.h), by
 * the option `reclaim`; until it is reclaimed its owner uses it, but does not leave it
 * (lib/span_owner.h). There is no ABA in `remote`: a push replaces exactly the word that it linked
 * its object to, so a word that came back serves as well, and all others take the whole list.
 *
 * Invariants: those of lib/pages.h, lib/span_share.h, lib/span_owner.h, and
 *   1. The owned spans are exactly those in the views' lists.
 *   2. The listed spans are exactly those in the stack of their class.
 *   3. The spans in limbo are exactly those that the views have retired, at most `limbo` each.
 *
 * Cost. alloc and free of one's own objects: some 30 and 55 instructions, no atomic
 * read-modify-write, fence, lock, division or call. Free of another's: one compare-and-swap, and
 * once in an eighth of a span's objects a second one. Adoption: one exchange and one
 * compare-and-swap, and once in `limbo` of them a look at all views' announcements.
 *   Not lock-free, as the pages have a lock: taking a new span and giving an empty one back, a
 * thread's first entry when there is no record to reuse, and objects above 64 KiB. tick and trim
 * exclude each other; when memory is short, alloc sweeps as trim does.
 *   Space: classes waste less than 1/9 of an object from 128 bytes on, 15 bytes below. A span is
 * taken only when the class's stack was empty and no own span has room. So if at most L bytes of a
 * class are alive at once, and die by others' hands, it takes at most 8/7 L, and for each view one
 * span in use and one about to be listed; beside that each view has `limbo` spans, `keep` bytes,
 * and an empty span of each class. That is the bound from producer to consumer, however many
 * objects pass; a tick has up to 1024 listed spans of each class in hand for a moment. What a
 * view's own frees leave in its spans is that view's until it exits.
 *   Garbage: views * limbo spans are retired at most (limbo_bound_spans). A reader that stands
 * still keeps one of them waiting under hazard pointers, all of them under epochs. What is adopted
 * beyond is owed: it stays with its view in the same way, and in use. So nobody waits, but L counts
 * once for each view that allocates, as long as the reader stands.
 *
 * Source: Michael, Scalable Lock-Free Dynamic Memory Allocation (2004), for spans that change
 * state by compare-and-swap; Michael, Hazard Pointers (2004); Fraser, Practical Lock-Freedom
 * (2004), for epochs; Leijen, Zorn, de Moura, Mimalloc (2019), for the remote list of a page.
 *
 * Trade-off: frees of others' objects cost an atomic operation on a shared line each, where thread
 * caches batch them; memory freed by an idle thread stays with it. In return nobody waits for a
 * thread that is stopped.
 *
 * Detected, in exact words, at the free: an object that is free already, "double free", if not two
 * threads free it at the same moment; an address that is no object's, "invalid free"; a size that
 * the object is too small for, or that a large object cannot have had, "wrong size". A free object
 * that was written over in its first 16 bytes: "corrupted free block", when it is next taken.
 * Not seen: the free of an address where an object would begin that was never handed out, or one
 * more than the span holds.
 *
 * Threads. A view and the plain fields of its spans are written by its thread alone. The words that
 * others write are `remote`, `owner` and `home` of a span (orders in lib/span_share.h), the stacks'
 * heads (lib/shared_stack.h), announcements (lib/hazard.h, lib/epoch.h) and records (lib/record.h,
 * by which a view passes from a thread that exits to the next that enters, with the spans that are
 * still in limbo). Lock order: sweep, pages.
 *   fork: BEFORE takes both locks; other threads may be stopped anywhere else. In the child their
 * views are never used again: what they own, the free objects of their spans, the spans in their
 * hands, and an object each, is lost to the child. Objects in those spans stay valid and can be
 * freed. Their announcements are cleared, so that reclamation goes on.
 */
#include <string.h>

#include "allocators/lib/allocator.h"
#include "allocators/lib/bulk.h"
#include "allocators/lib/misuse.h"
#include "allocators/lib/option.h"
#include "allocators/lib/os.h"
#include "allocators/lib/size_class.h"
#include "allocators/lib/span_owner.h"

/* ---- options ---- */

struct lockfree_options {
    unsigned reclaim, policy;
    uint64_t limbo, keep, age_ms, limit;
};

#define OPTION(...) OPTION_ROW(struct lockfree_options, __VA_ARGS__)

static const struct option lockfree_options[] = {
    OPTION("reclaim", reclaim, CHOICE, "hazard", 0, 0, "hazard|epoch",
           "how a span popped from a shared stack is kept until no other thread looks at it"),
    OPTION("limbo", limbo, COUNT, "16", 1, HAZARD_LIMIT_MAX, NULL,
           "spans of a view that wait for that at most"),
    OPTION("keep", keep, SIZE, "256k", 0, 1 << 30, NULL,
           "bytes of its empty spans that a view keeps beside one of each class"),
    OPTION("age_ms", age_ms, COUNT, "1000", 0, 1e9, NULL,
           "milliseconds between sweeps by tick, and of disuse after which it returns pages"),
    OPTION("return", policy, CHOICE, "decommit", 0, 0, "decommit|lazy|never",
           "whether pages without objects go back to the kernel before trim"),
    OPTION("limit", limit, SIZE, "128m", 0, 1ull << 40, NULL,
           "bytes of free pages beyond which the oldest go back at once"),
    {.name = NULL},
};

/* ---- types ---- */

enum {
    SWEEP_MAX = 1024, /* spans of a class */
    VIEWS_MAX = 60000,
};

#define SMALL_MAX ((size_t)64 * 1024)

struct heap {              /* a view */
    struct span_owner own; /* first: the record, by which a view is found */
    uintptr_t secret;
    struct pages *pages;
    struct lockfree *shared;
};
_Static_assert(sizeof(struct heap) <= UNIT_BYTES, "a view takes one unit");

struct lockfree {
    struct heap root, keeper; /* keeper: owns what a sweep has in hand */
    struct lockfree_options opt;
    _Atomic uint32_t views;
    struct lock sweep;
    uint64_t swept_ns; /* guarded by it */
    bool forked;       /* this is a child's copy: other threads' views have stopped anywhere */
    struct pages pages;
    struct span_domain domain;
};

static struct records *views_of(struct lockfree *s)
{
    return reclaim_records(&s->domain.reclaim);
}

/* ---- alloc ---- */

static inline void *span_pop(struct heap *v, struct span *span)
{
    struct block *b = span->free;
    span->free = block_next("lockfree", v->secret, b);
    span->live++;
    b->seal = 0; /* no more a free object's */
    return b;
}

static void heap_sweep(struct lockfree *s);

static __attribute__((noinline)) void *alloc_slow(struct heap *v, unsigned tag)
{
    struct span *span = span_owner_find(&v->own, tag);
    span = span ? span : span_owner_grow(&v->own, tag);
    if (!span) { /* what waits in stacks may be what is missing */
        heap_sweep(v->shared);
        span = span_owner_grow(&v->own, tag);
    }
    return span ? span_pop(v, span) : NULL;
}

static inline void *alloc_small(struct heap *v, unsigned tag)
{
    struct span *span = v->own.bins[tag].current;
    if (__builtin_expect(!span->free, 0))
        return alloc_slow(v, tag);
    return span_pop(v, span);
}

static bool is_small(size_t size, size_t align)
{
    return size <= SMALL_MAX && align <= UNIT_BYTES;
}

/* Aligned beyond 16 bytes, or large: objects of a class whose size is a multiple of the alignment
 * are aligned, as spans are. */
static __attribute__((noinline)) void *alloc_rare(struct heap *v, size_t size, size_t align)
{
    return is_small(size, align) ? alloc_small(v, size_class_aligned(size, align) + 1)
                                 : bulk_alloc(v->pages, size, align);
}

static void *lockfree_alloc(struct heap *v, size_t size, size_t align)
{
    if (__builtin_expect(size <= SMALL_MAX && align <= ALLOCATOR_ALIGN, 1))
        return alloc_small(v, size_class_of(size) + 1);
    return alloc_rare(v, size, align);
}

static void *lockfree_zalloc(struct heap *v, size_t size, size_t align)
{
    void *p = lockfree_alloc(v, size, align);
    if (p && !is_small(size, align)) {
        struct found f = bulk_find(v->pages, "lockfree", p);
        if (!f.span || f.span->fresh)
            return p;
    }
    return p ? memset(p, 0, size) : NULL;
}

/* ---- free ---- */

/* What begins at `p`; ends the program if nothing in use does. */
static struct found object_at(struct heap *v, const void *p)
{
    struct found f = bulk_find(v->pages, "lockfree", p);
    if (found_bulk(&f))
        return f;
    const struct bin *bin = &v->own.bins[f.tag];
    if (!bin_offset_ok(bin, f.offset))
        misuse_abort("lockfree", "invalid free", p);
    if (block_is_sealed(v->secret, p))
        misuse_abort("lockfree", "double free", p);
    f.bytes = bin->bytes;
    return f;
}

static inline void free_own(struct heap *v, struct span *span, struct block *b)
{
    block_link(v->secret, b, span->free);
    span->free = b;
    if (__builtin_expect(!--span->live, 0))
        span_owner_emptied(&v->own, span);
}

/* Into a span that is not one's own, unless the free makes it so. */
static __attribute__((noinline)) void free_other(struct heap *v, struct span *span, struct block *b)
{
    if (span_owner_push(&v->own, span, b))
        free_own(v, span, b);
}

static inline void free_small(struct heap *v, struct span *span, struct block *b)
{
    if (__builtin_expect(span_owner(span) == v->own.id, 1))
        free_own(v, span, b);
    else
        free_other(v, span, b);
}

/* Whatever the fast path does not take: large objects, misuse, segments far apart. */
static __attribute__((noinline)) void free_slow(struct heap *v, void *p, size_t size)
{
    struct found f = object_at(v, p);
    if (found_bulk(&f))
        return bulk_free(v->pages, "lockfree", &f, p, size);
    if (size > f.bytes)
        misuse_abort("lockfree", "wrong size", p);
    free_small(v, f.span, p);
}

static void lockfree_free(struct heap *v, void *p, size_t size)
{
    if (__builtin_expect(!pages_number_ok(v->pages, p), 0))
        return free_slow(v, p, size);
    struct segment *segment = segment_of(p);
    uint32_t info = segment_info(segment, segment_unit(p));
    unsigned tag = info_tag(info);
    if (__builtin_expect(tag - 1 >= SPAN_TAGS - 1, 0))
        return free_slow(v, p, size);
    const struct bin *bin = &v->own.bins[tag];
    if (__builtin_expect(!bin_offset_ok(bin, info_offset(info, p)) || size > bin->bytes ||
                             block_is_sealed(v->secret, p),
                         0))
        return free_slow(v, p, size);
    free_small(v, &segment->spans[info_first(info)], p);
}

/* ---- realloc, usable ---- */

static bool object_resize(struct heap *v, void *p, const struct found *f, size_t size)
{
    if (found_bulk(f))
        return bulk_resize(v->pages, f, p, size, SMALL_MAX);
    return size <= f->bytes && size + 4 * ALLOCATOR_ALIGN > f->bytes / 2;
}

static void *lockfree_realloc(struct heap *v, void *p, size_t old, size_t size, size_t align)
{
    struct found f = object_at(v, p);
    if (is_aligned((uintptr_t)p, align) && object_resize(v, p, &f, size))
        return p;
    void *moved = lockfree_alloc(v, size, align);
    if (moved) {
        memcpy(moved, p, size_min(size, size_min(old, f.bytes)));
        lockfree_free(v, p, 0);
    }
    return moved;
}

static size_t lockfree_usable(struct heap *v, const void *p)
{
    return object_at(v, p).bytes;
}

/* ---- threads, tick, trim, fork ---- */

static void view_open(struct lockfree *s, struct heap *v)
{
    v->secret = s->root.secret;
    v->pages = &s->pages;
    v->shared = s;
    span_owner_open(&v->own, &s->domain,
                    (uint16_t)(1 + atomic_fetch_add_explicit(&s->views, 1, memory_order_relaxed)));
}

static struct heap *lockfree_thread_enter(struct heap *root)
{
    struct lockfree *s = root->shared;
    struct record *free = records_take(views_of(s));
    if (free)
        return (struct heap *)free;
    if (atomic_load_explicit(&s->views, memory_order_relaxed) >= VIEWS_MAX)
        return NULL;
    struct span *span = pages_take(root->pages, 1, 1, TAG_META);
    if (!span)
        return NULL;
    struct heap *v = memset(span_start(span), 0, sizeof *v);
    view_open(s, v);
    return v;
}

static void lockfree_thread_exit(struct heap *v)
{
    span_owner_leave(&v->own);
    record_give(&v->own.reclaimer.record);
}

/* Takes spans out of the stacks and leaves them again, all at the end: the empty ones go. So do
 * those that are still with records that no thread uses. The caller has the sweep lock. */
static void stacks_sweep(struct lockfree *s, unsigned most)
{
    struct span_owner *keeper = &s->keeper.own;
    for (unsigned tag = 1; tag < SPAN_TAGS; tag++)
        for (unsigned i = 0; i < most && reclaimer_room(&s->domain.reclaim, &keeper->reclaimer) &&
                             span_owner_adopt(keeper, tag);)
            i++;
    for (struct record *r = records_first(views_of(s)); r; r = r->next)
        if (record_take(r))
            lockfree_thread_exit((struct heap *)r);
    span_owner_leave(keeper);
}

static void heap_sweep(struct lockfree *s)
{
    lock_take(&s->sweep);
    stacks_sweep(s, UINT32_MAX);
    lock_give(&s->sweep);
}

static void lockfree_tick(struct heap *root, uint64_t now_ns)
{
    struct lockfree *s = root->shared;
    lock_take(&s->sweep);
    if (now_ns - s->swept_ns >= s->pages.age_ns) {
        s->swept_ns = now_ns;
        stacks_sweep(s, SWEEP_MAX);
    }
    pages_tick(&s->pages, now_ns);
    lock_give(&s->sweep);
}

static void lockfree_trim(struct heap *root)
{
    struct lockfree *s = root->shared;
    lock_take(&s->sweep);
    stacks_sweep(s, UINT32_MAX);
    pages_trim(root->pages);
    lock_give(&s->sweep);
}

static void lockfree_fork(struct heap *root, enum allocator_fork when)
{
    struct lockfree *s = root->shared;
    if (when == ALLOCATOR_FORK_BEFORE) {
        lock_take(&s->sweep);
        pages_fork_before(&s->pages);
        return;
    }
    if (when == ALLOCATOR_FORK_CHILD) {
        s->forked = true;
        for (struct record *r = records_first(views_of(s)); r; r = r->next)
            reclaimer_forget(&s->domain.reclaim, (struct reclaimer *)r);
    }
    pages_fork_after(&s->pages);
    lock_give(&s->sweep);
}

/* ---- create, destroy ---- */

static void class_open(struct lockfree *s, unsigned tag)
{
    struct span_class *c = &s->domain.classes[tag];
    c->pages = &s->pages;
    c->design = "lockfree";
    c->secret = s->root.secret;
    c->bytes = (uint32_t)size_class_bytes(tag - 1);
    c->tag = tag;
    span_class_open(c);
}

static struct heap *lockfree_create(const struct alloc_env *env)
{
    const struct lockfree_options *opt = env->options;
    struct lockfree *s = os_map(env->os, sizeof *s, 1);
    if (!s)
        return NULL;
    s->opt = *opt;
    s->pages.os = env->os;
    s->pages.policy = (enum return_policy)opt->policy;
    s->pages.age_ns = opt->age_ms * 1000000;
    s->pages.limit_units = opt->limit >> UNIT_SHIFT;
    s->pages.now_ns = s->swept_ns = env->now_ns(env->ctx);
    if (!pages_open(&s->pages)) {
        os_release(env->os, s, sizeof *s);
        return NULL;
    }
    s->root.secret = (env->seed + 1) * UINT64_C(0x9E3779B97F4A7C15);
    s->domain.keep = opt->keep;
    span_domain_open(&s->domain, (enum reclaim_method)opt->reclaim, (uint32_t)opt->limbo);
    for (unsigned tag = 1; tag < SPAN_TAGS; tag++)
        class_open(s, tag);
    view_open(s, &s->root);
    view_open(s, &s->keeper);
    return &s->root;
}

static void lockfree_destroy(struct heap *root)
{
    struct lockfree *s = root->shared;
    struct os *os = s->pages.os;
    pages_close(&s->pages);
    os_release(os, s, sizeof *s);
}

/* ---- walk, check, stats ---- */

static void lockfree_walk(struct heap *root, walk_fn *fn, void *arg)
{
    struct lockfree *s = root->shared;
    fn(arg, &(struct walk_item){.address = (uintptr_t)s,
                                .bytes = align_up(sizeof *s, os_page_bytes()),
                                .kind = WALK_META});
    bulk_walk(root->pages, root->secret, fn, arg);
}

struct check_state {
    struct lockfree *s;
    const char *broken;
    size_t owned, retired, listed[SPAN_TAGS]; /* spans that say so */
};

static void span_check(void *arg, struct span *span)
{
    struct check_state *state = arg;
    if (span->tag >= SPAN_TAGS || state->broken)
        return;
    enum span_state now = word_state(span_remote(span));
    state->broken = span_share_check(&state->s->domain.classes[span->tag], span, state->s->forked);
    state->owned += now == SPAN_OWNED;
    state->listed[span->tag] += now == SPAN_LISTED;
    state->retired += span->share.held == HELD_LIMBO;
}

/* In a child of fork, only what other threads cannot have been at when they were lost. */
static const char *lockfree_check(struct heap *root)
{
    struct lockfree *s = root->shared;
    struct check_state state = {.s = s, .broken = pages_check(root->pages)};
    size_t owned = 0, retired = 0;
    if (!state.broken)
        pages_each(root->pages, span_check, &state);
    for (unsigned tag = 1; tag < SPAN_TAGS && !state.broken; tag++) {
        size_t listed = stack_length(&s->domain.classes[tag].listed);
        if (s->forked ? state.listed[tag] < listed : state.listed[tag] != listed)
            state.broken = "stacks: they do not hold exactly the listed spans";
    }
    if (state.broken || s->forked)
        return state.broken;
    for (struct record *r = records_first(views_of(s)); r && !state.broken; r = r->next)
        state.broken = span_owner_check((const struct span_owner *)r, &owned, &retired);
    if (!state.broken && state.owned != owned)
        state.broken = "owners: their lists do not hold exactly the owned spans";
    if (!state.broken && state.retired != retired)
        state.broken = "limbo: it does not hold exactly the retired spans";
    return state.broken;
}

static void lockfree_stats(struct heap *root, stats_fn *fn, void *arg)
{
    struct lockfree *s = root->shared;
    struct span_owner sum = {.adopted = 0};
    uint64_t limbo = 0, peak = 0;
    for (struct record *r = records_first(views_of(s)); r; r = r->next) {
        const struct span_owner *o = (const struct span_owner *)r;
        sum.adopted += o->adopted;
        sum.listed += o->listed;
        sum.taken_back += o->taken_back;
        sum.taken += o->taken;
        sum.given += o->given;
        limbo += reclaimer_count(&s->domain.reclaim, &o->reclaimer);
        peak = size_max(peak, reclaimer_peak(&s->domain.reclaim, &o->reclaimer));
    }
    uint32_t views = atomic_load_explicit(&s->views, memory_order_relaxed);
    fn(arg, "spans_adopted", sum.adopted);
    fn(arg, "spans_listed", sum.listed);
    fn(arg, "spans_taken_back", sum.taken_back);
    fn(arg, "spans_taken", sum.taken);
    fn(arg, "spans_given", sum.given);
    fn(arg, "limbo_spans", limbo);
    fn(arg, "limbo_peak_spans_of_a_view", peak);
    fn(arg, "limbo_bound_spans", views * s->opt.limbo);
    fn(arg, "views", views);
    fn(arg, "pages_lock_waits", s->pages.lock.waits);
    fn(arg, "segments", s->pages.segment_count);
    fn(arg, "commits", s->pages.commits);
    fn(arg, "returned_bytes", s->pages.returned_units * UNIT_BYTES);
}

ALLOCATOR(lockfree) = {
    .name = "lockfree",
    .summary = "spans with one owner, others' frees by one compare-and-swap, no lock for objects",
    .source = "Michael 2004; Michael 2004 (hazard pointers); Fraser 2004; mimalloc 2019",
    .traits = ALLOCATOR_SHARED | ALLOCATOR_REMOTE_FREE | ALLOCATOR_REUSES | ALLOCATOR_ANY_ALIGN |
              ALLOCATOR_FINDS_OWNER,
    .options_size = sizeof(struct lockfree_options),
    .options = lockfree_options,
    .create = lockfree_create,
    .destroy = lockfree_destroy,
    .alloc = lockfree_alloc,
    .free = lockfree_free,
    .zalloc = lockfree_zalloc,
    .realloc = lockfree_realloc,
    .usable = lockfree_usable,
    .thread_enter = lockfree_thread_enter,
    .thread_exit = lockfree_thread_exit,
    .tick = lockfree_tick,
    .trim = lockfree_trim,
    .fork = lockfree_fork,
    .walk = lockfree_walk,
    .check = lockfree_check,
    .stats = lockfree_stats,
};
