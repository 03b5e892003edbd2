/*
 * segfit.c - segregated fit over spans, with a cache for each thread: the design of the fast
 * general allocators. Small objects of one size class share a span, a run of pages; every thread
 * keeps free objects of every class in lists of its own, and trades them in batches with central
 * lists.
 *
 *     view (thread)            central list of the class           pages
 *     bin of class c           depot    |batch|batch| ..
 *     -> b -> b -> b  <=batch=>                              <=>   free runs, aged
 *        at most `limit`       partial  span -> span -> ..           |
 *                                       | obj | obj | .. | rest |    age, limit: to the kernel
 *
 * Objects have no header. Free finds an object's class by masking its address: the segment's start
 * has four bytes for each unit of 8 KiB, the class and where the span begins (lib/pages.h). Sizes
 * up to 64 KiB have classes, eight a doubling (lib/size_class.h); larger objects are runs of units,
 * and what no segment can hold has a reservation of its own. Spans are lib/central.h's.
 *
 * A freed object goes to the cache of the thread that frees it, whoever allocated it. A bin that is
 * longer than its limit gives a batch to the central list; an empty bin takes one. The depot keeps
 * a few batches as they are, so that a producer and a consumer trade them whole; all others are
 * sorted back into their spans. Limits start at a batch, and double when a bin that had to give
 * must take again, as long as the view's budget (`cache`) lasts; when it is spent, all limits start
 * anew.
 *
 * tick: a view that nobody used for age_ms is drained, depots unused for so long are sorted into
 * their spans, and free pages that old go back to the kernel. More free pages than `limit` go back
 * without a tick, the oldest first. trim does all of it at once.
 *
 * Invariants: those of lib/pages.h and lib/central.h, and
 *   1. A bin is no longer than its limit.
 *   2. The sealed objects of a class are those in bins, depot and spans, by number.
 *
 * Cost. alloc and free of small objects on the same thread: some 30 and 50 instructions without an
 * atomic read-modify-write, fence, division or call. Refill and flush: O(batch) under the class's
 * lock, spans O(1) under the pages' lock. Large: O(1) and that lock, but for runs of the same bin.
 *   Space: a class wastes less than 1/9 of an object from 128 bytes on, 15 bytes below, and a
 * span's end less than 1/8 of it; 1 % for segments' headers. Free memory beside that in spans in
 * use, in bytes: views * (cache + classes used * batch) + classes used * 8 batches + limit, where a
 * batch is at most 8 KiB, or one object. Producer to consumer stays within that bound, however many
 * objects pass: the batches that the consumer gives are those that the producer takes.
 *
 * Source: Bonwick and Adams, Magazines and Vmem (2001), for caches in front of a depot of batches;
 * Ghemawat and Menage, TCMalloc (2005), for spans and central lists; Evans, jemalloc (2006), for
 * classes and delayed return; Leijen, Zorn, de Moura, Mimalloc (2019), for masks.
 *
 * Trade-off: speed for some memory in caches; a span is held by a single object that stays.
 *
 * Detected, in exact words, at the free: an object that is free already, "double free"; an address
 * that is no object's, "invalid free"; a size that the object is too small for, or that a large
 * object cannot have had, "wrong size". A free object that was written over in its first 16 bytes:
 * "corrupted free block", when it is next taken.
 *
 * Threads. Each view belongs to one thread: its bins are written by the owner, inside the view's
 * gate (lib/gate.h, whose memory orders are argued there), and by tick and trim while they have
 * closed it and found nobody inside. The rest has locks: each class's central list, the pages
 * (whose lock-free reads lib/pages.h argues), the list of views. Lock order: views, class, pages; a
 * thread inside its gate may take the latter two. Where the kernel has no membarrier, only the
 * owner drains a view, at thread_exit.
 */
#include <string.h>

#include "allocators/lib/allocator.h"
#include "allocators/lib/central.h"
#include "allocators/lib/gate.h"
#include "allocators/lib/misuse.h"
#include "allocators/lib/option.h"
#include "allocators/lib/os.h"
#include "allocators/lib/pages.h"
#include "allocators/lib/size_class.h"

/* ---- options ---- */

struct segfit_options {
    uint64_t cache, batch, age_ms, limit;
    unsigned policy;
};

#define OPTION(name_text, field_name, kind, fallback_text, low, high, choice_text, text)           \
    {                                                                                              \
        .name = name_text, .type = OPTION_##kind,                                                  \
        .offset = offsetof(struct segfit_options, field_name), .fallback = fallback_text,          \
        .min = low, .max = high, .choices = choice_text, .summary = text                           \
    }

static const struct option segfit_options[] = {
    OPTION("cache", cache, SIZE, "1m", 0, 1 << 30, NULL,
           "bytes by which a thread's bins may grow beyond one batch each"),
    OPTION("batch", batch, COUNT, "64", 1, 1024, NULL,
           "objects that a bin and the central list trade at once; at most 8 KiB of them"),
    OPTION("age_ms", age_ms, COUNT, "1000", 0, 1e9, NULL,
           "milliseconds of disuse after which tick drains caches and returns pages"),
    OPTION("return", policy, CHOICE, "decommit", 0, 0, "decommit|never",
           "whether pages without objects go back to the kernel before trim"),
    OPTION("limit", limit, SIZE, "128m", 0, 1e12, NULL,
           "bytes of free pages beyond which the oldest go back at once"),
    {.name = NULL},
};

/* ---- types ---- */

enum {
    CLASSES = 80,
    TAGS = CLASSES + 1, /* a span's tag is its class + 1; 0 is TAG_NONE */
    BATCH_BYTES = 8192,
};

#define SMALL_MAX ((size_t)64 * 1024)
/* Larger requests cannot be had, and sums with these do not overflow. */
#define OBJECT_MAX ((size_t)1 << 46)

struct bin {
    struct block *head;
    uint32_t count, limit;
    uint32_t magic; /* multiples of the class's granules, times this, are small modulo 2^32 */
    uint32_t bytes, batch;
    bool gave; /* since it was last refilled */
};
_Static_assert(sizeof(struct bin) == 32, "two bins a cache line");

struct heap { /* a view */
    struct gate gate;
    uintptr_t secret;
    struct pages *pages;
    struct segfit *shared;
    struct bin bins[TAGS]; /* by tag */
    size_t budget;         /* bytes by which limits may still grow */
    uint64_t used_ns;      /* the last tick that found it used; guarded by the views' lock */
    struct list link;
};
_Static_assert(sizeof(struct heap) <= UNIT_BYTES, "a view takes one unit");

struct segfit {
    struct heap root;
    struct lock views_lock;
    struct list views;
    struct segfit_options opt;
    bool visits; /* gates work here */
    uint64_t drained;
    struct pages pages;
    struct central classes[TAGS]; /* by tag */
};

_Static_assert((size_t)(CLASSES) == (16 - 7) * 8 + 8, "eight classes a doubling, from 128 to 64 K");

/* ---- block geometry ---- */

/* Whether an offset in a span is where an object begins: a multiplication in place of a division.
 * With g granules of 16 bytes a class and magic = ceil(2^32 / g), n is a multiple of g exactly if
 * n * magic modulo 2^32 is below magic, for all n below 2^32 / g (Lemire, Kaser, Kurz 2019). */
static inline bool bin_offset_ok(const struct bin *bin, uint32_t offset)
{
    return !(offset & 15) & ((offset >> SIZE_CLASS_SHIFT) * bin->magic <= bin->magic - 1);
}

static uint32_t magic_of(size_t bytes) /* 0 stands for 2^32, when each granule will do */
{
    return UINT32_MAX / (uint32_t)(bytes >> SIZE_CLASS_SHIFT) + 1;
}

/* ---- caches ---- */

static struct block *next_of(const struct heap *v, const struct block *b)
{
    return block_next("segfit", v->secret, b);
}

/* The first `count` objects of a bin go to the central list. */
static void bin_give(struct heap *v, unsigned tag, uint32_t count, bool sort)
{
    struct bin *bin = &v->bins[tag];
    struct chain chain = {bin->head, count};
    struct block *last = bin->head;
    for (uint32_t i = 1; i < count; i++)
        last = next_of(v, last);
    bin->head = next_of(v, last);
    bin->count -= count;
    bin->gave = true;
    block_link(v->secret, last, NULL);
    central_give(&v->shared->classes[tag], chain, sort);
}

/* All limits start anew; bins are cut down to them, or emptied. Whether there was anything to do.
 */
static bool view_reset(struct heap *v, bool drain)
{
    bool gave = false;
    for (unsigned tag = 1; tag < TAGS; tag++) {
        struct bin *bin = &v->bins[tag];
        uint32_t keep = drain ? 0 : bin->batch;
        bin->limit = bin->batch;
        if (bin->count > keep) {
            bin_give(v, tag, bin->count - keep, drain);
            gave = true;
        }
        bin->gave = false;
    }
    v->budget = v->shared->opt.cache;
    return gave;
}

static void bin_grow(struct heap *v, struct bin *bin)
{
    size_t more = (size_t)bin->limit * bin->bytes;
    if (more > v->budget && more <= v->shared->opt.cache)
        view_reset(v, false);
    more = (size_t)bin->limit * bin->bytes;
    if (more <= v->budget) {
        v->budget -= more;
        bin->limit *= 2;
    }
    bin->gave = false;
}

static bool bin_refill(struct heap *v, unsigned tag)
{
    struct bin *bin = &v->bins[tag];
    if (bin->gave)
        bin_grow(v, bin);
    struct chain chain = central_take(&v->shared->classes[tag]);
    bin->head = chain.head;
    bin->count = chain.count;
    return chain.count;
}

/* Enters, after the visitor if there is one. */
static void view_enter(struct heap *v)
{
    while (!gate_enter(&v->gate)) {
        gate_leave(&v->gate);
        lock_take(&v->shared->views_lock);
        lock_give(&v->shared->views_lock);
    }
}

/* ---- alloc ---- */

static inline void *bin_pop(struct heap *v, struct bin *bin)
{
    struct block *b = bin->head;
    bin->head = next_of(v, b);
    bin->count--;
    b->seal = 0; /* no more a free object's */
    return b;
}

static __attribute__((noinline)) void *alloc_slow(struct heap *v, unsigned tag)
{
    void *p = NULL;
    view_enter(v);
    if (v->bins[tag].head || bin_refill(v, tag))
        p = bin_pop(v, &v->bins[tag]);
    gate_leave(&v->gate);
    return p;
}

static inline void *alloc_small(struct heap *v, unsigned tag)
{
    struct bin *bin = &v->bins[tag];
    if (__builtin_expect(!gate_enter(&v->gate) || !bin->head, 0))
        return alloc_slow(v, tag);
    void *p = bin_pop(v, bin);
    gate_leave(&v->gate);
    return p;
}

/* *fresh: reads as zero. */
static void *alloc_large(struct heap *v, size_t size, size_t align, bool *fresh)
{
    *fresh = true;
    if (size > OBJECT_MAX || align > OBJECT_MAX)
        return NULL;
    size_t units = align_up(size, UNIT_BYTES) >> UNIT_SHIFT;
    size_t align_units = size_max(align >> UNIT_SHIFT, 1);
    if (units + align_units - 1 > RUN_UNITS_MAX)
        return pages_large_alloc(v->pages, size, align);
    struct span *span = pages_take(v->pages, units, align_units, TAG_LARGE);
    if (!span)
        return NULL;
    *fresh = span->fresh;
    return span_start(span);
}

static bool is_small(size_t size, size_t align)
{
    return size <= SMALL_MAX && align <= UNIT_BYTES;
}

/* The first class whose size is a multiple of the alignment: its objects are aligned, as spans are.
 */
static unsigned tag_of(size_t size, size_t align)
{
    unsigned index = size_class_of(size);
    while (!is_aligned(size_class_bytes(index), align))
        index++;
    return index + 1;
}

static __attribute__((noinline)) void *alloc_rare(struct heap *v, size_t size, size_t align)
{
    bool fresh;
    return is_small(size, align) ? alloc_small(v, tag_of(size, align))
                                 : alloc_large(v, size, align, &fresh);
}

static void *segfit_alloc(struct heap *v, size_t size, size_t align)
{
    if (__builtin_expect(size <= SMALL_MAX && align <= ALLOCATOR_ALIGN, 1))
        return alloc_small(v, size_class_of(size) + 1);
    return alloc_rare(v, size, align);
}

static void *segfit_zalloc(struct heap *v, size_t size, size_t align)
{
    bool fresh = false;
    void *p = is_small(size, align) ? alloc_small(v, tag_of(size, align))
                                    : alloc_large(v, size, align, &fresh);
    return p && !fresh ? memset(p, 0, size) : p;
}

/* ---- free ---- */

struct object {
    unsigned tag;      /* TAG_NONE: a reservation of its own */
    size_t bytes;      /* usable */
    struct span *span; /* TAG_LARGE */
};

/* What begins at `p`; ends the program if nothing in use does. */
static struct object object_find(struct heap *v, const void *p)
{
    struct object o = {TAG_NONE, 0, NULL};
    struct segment *segment =
        pages_number_ok(v->pages, p) ? segment_of(p) : pages_search(v->pages, p);
    if (!segment) {
        o.bytes = pages_large_find(v->pages, p);
        if (!o.bytes)
            misuse_abort("segfit", "invalid free", p);
        return o;
    }
    uint32_t info = segment_info(segment, segment_unit(p));
    uint32_t offset = info_offset(info, p);
    o.tag = info_tag(info);
    if (o.tag == TAG_LARGE && !offset) {
        o.span = &segment->spans[info_first(info)];
        o.bytes = o.span->units * UNIT_BYTES;
    } else if (o.tag - 1 < CLASSES && bin_offset_ok(&v->bins[o.tag], offset)) {
        o.bytes = v->bins[o.tag].bytes;
        if (block_is_sealed(v->secret, p))
            misuse_abort("segfit", "double free", p);
    } else {
        misuse_abort("segfit", o.tag == TAG_FREE ? "double free" : "invalid free", p);
    }
    return o;
}

static inline void bin_push(struct heap *v, struct bin *bin, struct block *b)
{
    block_link(v->secret, b, bin->head);
    bin->head = b;
    bin->count++;
}

/* Whatever the fast path does not take: a closed gate, a full bin, large objects, misuse. */
static __attribute__((noinline)) void free_slow(struct heap *v, void *p, size_t size)
{
    struct object o = object_find(v, p);
    bool small = o.tag - 1 < CLASSES;
    size_t unit = o.tag == TAG_NONE ? os_page_bytes() : UNIT_BYTES;
    if (size && (small ? size > o.bytes : align_up(size, unit) != o.bytes))
        misuse_abort("segfit", "wrong size", p);
    if (o.tag == TAG_NONE) {
        pages_large_free(v->pages, p);
    } else if (o.tag == TAG_LARGE) {
        pages_give(v->pages, o.span);
    } else {
        struct bin *bin = &v->bins[o.tag];
        view_enter(v);
        bin_push(v, bin, p);
        if (bin->count > bin->limit)
            bin_give(v, o.tag, bin->batch, false);
        gate_leave(&v->gate);
    }
}

static void segfit_free(struct heap *v, void *p, size_t size)
{
    if (__builtin_expect(!pages_number_ok(v->pages, p), 0))
        return free_slow(v, p, size);
    uint32_t info = segment_info(segment_of(p), segment_unit(p));
    unsigned tag = info_tag(info);
    if (__builtin_expect(tag - 1 >= CLASSES, 0))
        return free_slow(v, p, size);
    struct bin *bin = &v->bins[tag];
    if (__builtin_expect(!bin_offset_ok(bin, info_offset(info, p)) || size > bin->bytes ||
                             block_is_sealed(v->secret, p) || !gate_enter(&v->gate) ||
                             bin->count >= bin->limit,
                         0))
        return free_slow(v, p, size);
    bin_push(v, bin, p);
    gate_leave(&v->gate);
}

/* ---- realloc, usable ---- */

static bool object_resize(struct heap *v, void *p, const struct object *o, size_t size)
{
    if (o->tag == TAG_LARGE)
        return size > SMALL_MAX && size <= OBJECT_MAX &&
               pages_resize(v->pages, o->span, align_up(size, UNIT_BYTES) >> UNIT_SHIFT);
    if (o->tag == TAG_NONE)
        return size > o->bytes / 2 && pages_large_resize(v->pages, p, size);
    return size <= o->bytes && size + 4 * ALLOCATOR_ALIGN > o->bytes / 2;
}

static void *segfit_realloc(struct heap *v, void *p, size_t old, size_t size, size_t align)
{
    struct object o = object_find(v, p);
    if (is_aligned((uintptr_t)p, align) && object_resize(v, p, &o, size))
        return p;
    void *moved = segfit_alloc(v, size, align);
    if (moved) {
        memcpy(moved, p, size_min(size, size_min(old, o.bytes)));
        segfit_free(v, p, 0);
    }
    return moved;
}

static size_t segfit_usable(struct heap *v, const void *p)
{
    return object_find(v, p).bytes;
}

/* ---- threads, tick, trim ---- */

static void view_open(struct segfit *s, struct heap *v)
{
    v->secret = s->root.secret;
    v->pages = &s->pages;
    v->shared = s;
    v->budget = s->opt.cache;
    for (unsigned tag = 1; tag < TAGS; tag++) {
        const struct central *c = &s->classes[tag];
        v->bins[tag] = (struct bin){
            .limit = c->batch, .magic = magic_of(c->bytes), .bytes = c->bytes, .batch = c->batch};
    }
    lock_take(&s->views_lock);
    list_insert_before(&s->views, &v->link);
    lock_give(&s->views_lock);
}

static struct heap *segfit_thread_enter(struct heap *root)
{
    struct span *span = pages_take(root->pages, 1, 1, TAG_META);
    if (!span)
        return NULL;
    struct heap *v = memset(span_start(span), 0, sizeof *v);
    view_open(root->shared, v);
    return v;
}

static void segfit_thread_exit(struct heap *v)
{
    struct segfit *s = v->shared;
    lock_take(&s->views_lock);
    list_remove(&v->link);
    lock_give(&s->views_lock);
    view_reset(v, true);
    struct segment *segment = segment_of(v);
    pages_give(&s->pages, &segment->spans[segment_unit(v)]);
}

/* Drains the views in which nobody is and which nobody used for `age_ns`; 0 = all of the former. */
static void views_drain(struct segfit *s, uint64_t now_ns, uint64_t age_ns)
{
    lock_take(&s->views_lock);
    for (struct list *l = s->views.next; l != &s->views && s->visits; l = l->next)
        gate_close(&LIST_ENTRY(l, struct heap, link)->gate);
    if (s->visits)
        gates_fence();
    for (struct list *l = s->views.next; l != &s->views && s->visits; l = l->next) {
        struct heap *v = LIST_ENTRY(l, struct heap, link);
        enum gate_state state = gate_look(&v->gate);
        if (state == GATE_USED && age_ns) {
            atomic_store_explicit(&v->gate.state, GATE_IDLE, memory_order_relaxed);
            v->used_ns = now_ns;
        } else if (state != GATE_INSIDE && now_ns - v->used_ns >= age_ns) {
            s->drained += view_reset(v, true);
        } else if (state == GATE_INSIDE) {
            v->used_ns = now_ns;
        }
        gate_reopen(&v->gate);
    }
    lock_give(&s->views_lock);
}

static void centrals_tick(struct segfit *s, uint64_t now_ns, uint64_t age_ns)
{
    for (unsigned tag = 1; tag < TAGS; tag++)
        central_tick(&s->classes[tag], now_ns, age_ns);
}

static void segfit_tick(struct heap *root, uint64_t now_ns)
{
    struct segfit *s = root->shared;
    views_drain(s, now_ns, s->pages.age_ns);
    centrals_tick(s, now_ns, s->pages.age_ns);
    pages_tick(&s->pages, now_ns);
}

static void segfit_trim(struct heap *root)
{
    views_drain(root->shared, root->used_ns, 0);
    centrals_tick(root->shared, root->used_ns, 0);
    pages_trim(root->pages);
}

/* ---- create, destroy ---- */

static void class_open(struct segfit *s, unsigned tag)
{
    uint32_t bytes = (uint32_t)size_class_bytes(tag - 1);
    struct central *c = &s->classes[tag];
    c->pages = &s->pages;
    c->design = "segfit";
    c->secret = s->root.secret;
    c->bytes = bytes;
    c->batch = (uint32_t)size_max(size_min(s->opt.batch, BATCH_BYTES / bytes), 1);
    c->tag = tag;
    c->used_ns = s->pages.now_ns;
    central_open(c);
}

static struct heap *segfit_create(const struct alloc_env *env)
{
    const struct segfit_options *opt = env->options;
    struct segfit *s = os_map(env->os, sizeof *s, 1);
    if (!s)
        return NULL;
    s->opt = *opt;
    s->pages.os = env->os;
    s->pages.policy = opt->policy == 0 ? RETURN_DECOMMIT : RETURN_NEVER;
    s->pages.age_ns = opt->age_ms * 1000000;
    s->pages.limit_units = opt->limit >> UNIT_SHIFT;
    s->pages.now_ns = env->now_ns(env->ctx);
    if (!pages_open(&s->pages)) {
        os_release(env->os, s, sizeof *s);
        return NULL;
    }
    s->visits = gates_open();
    s->root.secret = (env->seed + 1) * UINT64_C(0x9E3779B97F4A7C15);
    s->root.used_ns = s->pages.now_ns;
    list_init(&s->views);
    for (unsigned tag = 1; tag < TAGS; tag++)
        class_open(s, tag);
    view_open(s, &s->root);
    return &s->root;
}

static void segfit_destroy(struct heap *root)
{
    struct segfit *s = root->shared;
    struct os *os = s->pages.os;
    pages_close(&s->pages);
    os_release(os, s, sizeof *s);
}

/* ---- walk, check, stats ---- */

struct walk_state {
    struct segfit *s;
    walk_fn *fn;
    void *arg;
};

static void span_walk(void *arg, struct span *span)
{
    const struct walk_state *w = arg;
    if (span->tag <= CLASSES)
        central_span_walk(&w->s->classes[span->tag], span, w->fn, w->arg);
    else
        w->fn(w->arg, &(struct walk_item){.address = (uintptr_t)span_start(span),
                                          .bytes = span->units * UNIT_BYTES,
                                          .kind = span->tag == TAG_META ? WALK_META : WALK_LIVE});
}

static void segfit_walk(struct heap *root, walk_fn *fn, void *arg)
{
    struct walk_state w = {root->shared, fn, arg};
    fn(arg, &(struct walk_item){.address = (uintptr_t)w.s,
                                .bytes = align_up(sizeof *w.s, os_page_bytes()),
                                .kind = WALK_META});
    pages_walk(root->pages, fn, arg);
    pages_each(root->pages, span_walk, &w);
}

struct check_state {
    struct segfit *s;
    const char *broken;
    size_t sealed[TAGS]; /* objects that no list has told of yet */
};

static void span_check(void *arg, struct span *span)
{
    struct check_state *state = arg;
    if (span->tag > CLASSES || state->broken)
        return;
    state->broken =
        central_span_check(&state->s->classes[span->tag], span, &state->sealed[span->tag]);
}

static size_t chain_length(const struct block *b)
{
    size_t n = 0;
    for (; b; b = b->next)
        n++;
    return n;
}

static const char *class_check(struct segfit *s, unsigned tag, size_t sealed)
{
    const struct central *c = &s->classes[tag];
    size_t listed = 0;
    for (uint32_t i = 0; i < c->chain_count; i++)
        listed += chain_length(c->chains[i].head);
    for (struct list *l = s->views.next; l != &s->views; l = l->next) {
        const struct bin *bin = &LIST_ENTRY(l, struct heap, link)->bins[tag];
        if (bin->count > bin->limit)
            return "bins: one is longer than its limit";
        if (bin->count != chain_length(bin->head))
            return "bins: a count is wrong";
        listed += bin->count;
    }
    return listed == sealed ? NULL : "lists: they do not hold exactly the free objects";
}

static const char *segfit_check(struct heap *root)
{
    struct check_state state = {.s = root->shared, .broken = pages_check(root->pages)};
    if (!state.broken)
        pages_each(root->pages, span_check, &state);
    for (unsigned tag = 1; tag < TAGS && !state.broken; tag++)
        state.broken = class_check(root->shared, tag, state.sealed[tag]);
    return state.broken;
}

static void segfit_stats(struct heap *root, stats_fn *fn, void *arg)
{
    struct segfit *s = root->shared;
    struct central sum = {.lock = {.waits = 0}};
    size_t cached = 0, depot = 0;
    for (unsigned tag = 1; tag < TAGS; tag++) {
        const struct central *c = &s->classes[tag];
        sum.refills += c->refills;
        sum.flushes += c->flushes;
        sum.spans_taken += c->spans_taken;
        sum.spans_given += c->spans_given;
        sum.lock.waits += c->lock.waits;
        depot += (size_t)c->chain_count * c->batch * c->bytes;
        for (struct list *l = s->views.next; l != &s->views; l = l->next)
            cached += (size_t)LIST_ENTRY(l, struct heap, link)->bins[tag].count * c->bytes;
    }
    fn(arg, "refills", sum.refills);
    fn(arg, "flushes", sum.flushes);
    fn(arg, "spans_taken", sum.spans_taken);
    fn(arg, "spans_given", sum.spans_given);
    fn(arg, "cached_bytes", cached);
    fn(arg, "depot_bytes", depot);
    fn(arg, "class_lock_waits", sum.lock.waits);
    fn(arg, "pages_lock_waits", s->pages.lock.waits);
    fn(arg, "views_drained", s->drained);
    fn(arg, "views_can_be_drained", s->visits);
    fn(arg, "segments", s->pages.segment_count);
    fn(arg, "commits", s->pages.commits);
    fn(arg, "returned_bytes", s->pages.returned_units * UNIT_BYTES);
}

ALLOCATOR(segfit) = {
    .name = "segfit",
    .summary = "size classes in spans, a cache for each thread, pages returned by age and limit",
    .source = "Bonwick and Adams 2001; TCMalloc 2005; jemalloc 2006; mimalloc 2019",
    .traits = ALLOCATOR_SHARED | ALLOCATOR_REMOTE_FREE | ALLOCATOR_REUSES | ALLOCATOR_ANY_ALIGN |
              ALLOCATOR_FINDS_OWNER,
    .options_size = sizeof(struct segfit_options),
    .options = segfit_options,
    .create = segfit_create,
    .destroy = segfit_destroy,
    .alloc = segfit_alloc,
    .free = segfit_free,
    .zalloc = segfit_zalloc,
    .realloc = segfit_realloc,
    .usable = segfit_usable,
    .thread_enter = segfit_thread_enter,
    .thread_exit = segfit_thread_exit,
    .tick = segfit_tick,
    .trim = segfit_trim,
    .walk = segfit_walk,
    .check = segfit_check,
    .stats = segfit_stats,
};
