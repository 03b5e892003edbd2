/*
 * hoard.c - a heap for each thread, and a global one that takes in what threads no longer fill:
 * memory is owned, freed objects go home, and so blowup is bounded.
 *
 *     heap of thread 1        heap of thread 2    ..   global heap                 pages
 *     class c                 class c                  class c
 *       full      [####]        [####][####]             -                         free runs,
 *       3/4 ..    [###.]        -                        -                         aged
 *       2/4 ..    -             [##..]         -->       [##..]
 *       1/4 ..    -             -              <--       [#...][#...]
 *       below     [....]        [#...]                   -             empty -->
 *
 * A superblock is `superblock` bytes cut into objects of one size class; a heap keeps those of a
 * class in groups by fullness. alloc takes from the fullest superblock with room, so that the
 * others may run empty; if the heap has none, it takes the global heap's fullest, else a new one.
 * free gives the object back to its superblock, in whatever heap that is. Compare `private`, where
 * the object goes to the heap of the thread that frees it, and is lost to its producer.
 *
 * The emptiness invariant. Let u be the objects in use in a class of a thread's heap and a those
 * that its superblocks have room for, n in each; then
 *
 *     u >= a - slack * n   or   u >= (1 - empty) * a
 *
 * When a free breaks it, one of the emptiest superblocks moves to the global heap, from where any
 * thread can take it, or to the pages if nothing in it is in use; and so on until it holds. A heap
 * takes a superblock only when its own are full, so no alloc can break it; and as at most n objects
 * of room are free then, at least (slack - 1) * n frees pass before it has to move one out again.
 *
 * The bound. Memory grows only at an instant when the caller's heap and the global heap have no
 * room in the class; what the others of P heaps hold then is bounded by the invariant. So for each
 * class the most bytes that superblocks ever had room for, A, and the most ever in use at once, U,
 * obey
 *
 *     A <= U / (1 - empty) + (P * slack + 1) * superblock
 *
 * whatever the program does: A = O(U + P), with the defaults A <= 4/3 U + (128 P + 32) KiB. The
 * paper proves it for one class; with several, the invariant is kept for each, since otherwise a
 * heap that takes a first superblock of a class could break it, and the bounds add up. Beside that
 * stand the rest at a superblock's end, at most 1/3 of it, 1 % for segments' headers, and free
 * runs, which stay for age_ms or up to `limit` bytes (lib/pages.h).
 *
 * A thread that leaves gives its heap to the next one that enters, superblocks moved to the global
 * heap. There are at most `heaps` of them; further threads share those of others, as all do in the
 * paper, where a hash of the thread picks the heap. The root is one more heap. tick empties heaps
 * that nobody used for age_ms, and trim all, into the global heap and the pages.
 *
 * Invariants: those of lib/pages.h, and for each heap and class
 *   1. a superblock is in the group of its fullness, and names this heap as its owner.
 *   2. its free, live and not yet carved objects sum up to n.
 *   3. used and room are the sums over the superblocks.
 *   4. a thread's heap meets the emptiness invariant; the global heap has no empty superblock.
 *   5. the heaps hold all superblocks.
 *
 * Cost. alloc and free: a lock that is rarely contended and O(1) steps, in free a division by the
 * class's size. A superblock's move: the global lock. Objects larger than half a superblock are
 * runs of 8-KiB units: the pages' lock.
 *
 * Source: Berger, McKinley, Blumofe, Wilson, Hoard: A Scalable Memory Allocator for Multithreaded
 * Applications (ASPLOS 2000).
 *
 * Trade-off: a bound on memory, and hardly any false sharing, as threads fill superblocks of their
 * own, for an atomic operation in every call; objects that travel go home under their owner's lock.
 *
 * Detected, in exact words, at the free: an object that is free already, "double free"; an address
 * that is no object's, "invalid free"; a size that the object is too small for, or that a large
 * object cannot have had, "wrong size". A free object that was written over in its first 16 bytes:
 * "corrupted free block", when it is next taken.
 *
 * Threads. A heap's lock guards its groups, its sums, and its superblocks. A superblock's owner is
 * written by who holds both locks, of the heap that had it and of the one that gets it (a new one
 * is nobody else's). Who frees reads the owner, takes its lock, and looks again: if the owner has
 * changed meanwhile, the superblock has moved, and the turn was in vain; if not, it cannot change
 * until the lock is given back. The owner is stored with release and loaded with acquire, so that
 * who reads a heap's number finds the heap; heaps are never taken down, so a lock can be waited for
 * that guards the superblock no more. Lock order: list of heaps, a thread's heap, global heap,
 * pages; never two threads' heaps at once, but for fork, which takes all by number.
 */
#include <string.h>

#include "allocators/lib/allocator.h"
#include "allocators/lib/bulk.h"
#include "allocators/lib/central.h"
#include "allocators/lib/misuse.h"
#include "allocators/lib/option.h"
#include "allocators/lib/os.h"
#include "allocators/lib/pages.h"
#include "allocators/lib/size_class.h"

/* ---- options ---- */

struct hoard_options {
    uint64_t superblock, slack, heaps, age_ms, limit;
    double empty;
    unsigned policy;
};

#define OPTION(...) OPTION_ROW(struct hoard_options, __VA_ARGS__)

static const struct option hoard_options[] = {
    OPTION("superblock", superblock, SIZE, "32k", 8192, 65536, NULL,
           "bytes of a superblock, rounded up to 8 KiB; objects up to half of it are small"),
    OPTION("empty", empty, REAL, "0.25", 0.01, 0.99, NULL,
           "share of a heap's room that may be free, f in the paper; counted in 1024ths"),
    OPTION("slack", slack, COUNT, "4", 1, 1024, NULL,
           "superblocks' worth of room that may be free in any case, K in the paper"),
    OPTION("heaps", heaps, COUNT, "64", 1, 1024, NULL, "most heaps of threads; more threads share"),
    OPTION("age_ms", age_ms, COUNT, "1000", 0, 1e9, NULL,
           "milliseconds of disuse after which tick empties heaps and returns pages"),
    OPTION("return", policy, CHOICE, "decommit", 0, 0, "decommit|never",
           "whether pages without objects go back to the kernel before trim"),
    OPTION("limit", limit, SIZE, "128m", 0, 1ull << 40, NULL,
           "bytes of free pages beyond which the oldest go back at once"),
    {.name = NULL},
};

/* ---- types ---- */

enum {
    CLASSES = 72,
    TAGS = CLASSES + 1, /* a superblock's tag is its class + 1; 0 is TAG_NONE */
    GROUPS = 5,         /* by quarters in use; the last are full */
    FULL = GROUPS - 1,
    HEAPS_MAX = 1024 + 2,
    GLOBAL = 0, /* the number of the global heap */
    ROOT = 1,
    SHARE_ONE = 1024, /* of which `empty` is a share */
};
_Static_assert((size_t)(CLASSES) == (15 - 7) * 8 + 8, "eight classes a doubling, up to 32 K");

struct class
{
    struct list groups[GROUPS];
    size_t used, room; /* objects */
};

struct heap {
    struct lock lock;
    bool used; /* since the last tick */
    uint64_t used_ns;
    struct hoard *shared;
    uint16_t number;
    uint32_t threads;           /* guarded by the list's lock */
    uint64_t retries;           /* locks taken in vain */
    struct class classes[TAGS]; /* by tag */
};
_Static_assert(sizeof(struct heap) <= UNIT_BYTES, "a heap takes one unit");

struct hoard {
    struct heap global, root;
    struct hoard_options opt;
    uintptr_t secret;
    size_t small_max, units, kept_share; /* 1 - empty, in 1024ths */
    uint32_t objects[TAGS];              /* of a superblock */
    uint64_t moved_out, moved_in;        /* to and from the global heap; guarded by its lock */
    struct lock heaps_lock;
    unsigned heap_count;
    struct heap *heaps[HEAPS_MAX]; /* by number */
    struct pages pages;
};

/* ---- block geometry ---- */

static size_t bytes_of(unsigned tag)
{
    return size_class_bytes(tag - 1);
}

static bool is_small(const struct hoard *s, size_t size, size_t align)
{
    return size <= s->small_max && align <= size_min(s->small_max, UNIT_BYTES);
}

static unsigned superblock_owner(const struct span *sb)
{
    return atomic_load_explicit(&sb->share.owner, memory_order_acquire);
}

static unsigned group_of(uint32_t live, uint32_t objects)
{
    return (4 * live >= objects) + (4 * live >= 2 * objects) + (4 * live >= 3 * objects) +
           (live == objects);
}

/* ---- free structure ---- */

static void superblock_link(struct heap *h, struct span *sb)
{
    struct class *class = &h->classes[sb->tag];
    uint32_t objects = h->shared->objects[sb->tag];
    list_insert_after(&class->groups[group_of(sb->live, objects)], &sb->link);
    class->used += sb->live;
    class->room += objects;
    atomic_store_explicit(&sb->share.owner, h->number, memory_order_release);
}

static void superblock_unlink(struct heap *h, struct span *sb)
{
    struct class *class = &h->classes[sb->tag];
    list_remove(&sb->link);
    class->used -= sb->live;
    class->room -= h->shared->objects[sb->tag];
}

/* One object more, or less, in use. */
static void superblock_count(struct heap *h, struct span *sb, int change)
{
    struct class *class = &h->classes[sb->tag];
    uint32_t objects = h->shared->objects[sb->tag], live = sb->live + (uint32_t)change;
    unsigned group = group_of(live, objects);
    if (group != group_of(sb->live, objects)) {
        list_remove(&sb->link);
        list_insert_after(&class->groups[group], &sb->link);
    }
    sb->live = live;
    class->used += (size_t)change;
}

static void *superblock_pop(struct heap *h, struct span *sb)
{
    struct block *b = sb->free;
    if (b)
        sb->free = block_next("hoard", h->shared->secret, b);
    else
        b = (struct block *)(void *)(span_start(sb) + sb->carved++ * bytes_of(sb->tag));
    b->seal = 0; /* not a free object's */
    superblock_count(h, sb, 1);
    return b;
}

static struct span *class_fullest(struct class *class)
{
    for (unsigned group = FULL; group-- > 0;)
        if (!list_empty(&class->groups[group]))
            return LIST_ENTRY(class->groups[group].next, struct span, link);
    return NULL;
}

static struct span *class_emptiest(struct class *class)
{
    unsigned group = 0;
    while (list_empty(&class->groups[group]))
        group++;
    return LIST_ENTRY(class->groups[group].next, struct span, link);
}

/* ---- growth: between heaps, global heap and pages ---- */

/* Out of a thread's heap, whose lock the caller has. */
static void superblock_move_out(struct heap *h, struct span *sb)
{
    struct hoard *s = h->shared;
    superblock_unlink(h, sb);
    if (!sb->live) {
        pages_give(&s->pages, sb);
        return;
    }
    lock_take(&s->global.lock);
    superblock_link(&s->global, sb);
    s->moved_out++;
    lock_give(&s->global.lock);
}

static struct span *superblock_move_in(struct heap *h, unsigned tag)
{
    struct hoard *s = h->shared;
    lock_take(&s->global.lock);
    struct span *sb = class_fullest(&s->global.classes[tag]);
    if (sb) {
        superblock_unlink(&s->global, sb);
        superblock_link(h, sb);
        s->moved_in++;
    }
    lock_give(&s->global.lock);
    return sb;
}

static struct span *superblock_new(struct heap *h, unsigned tag)
{
    struct span *sb = pages_take(&h->shared->pages, h->shared->units, 1, tag);
    if (!sb)
        return NULL;
    sb->free = NULL;
    sb->live = sb->carved = 0;
    superblock_link(h, sb);
    span_publish(sb, 0, sb->units);
    return sb;
}

static bool is_too_empty(const struct hoard *s, const struct class *class, unsigned tag)
{
    return class->used + s->opt.slack * s->objects[tag] < class->room &&
           class->used * SHARE_ONE < class->room * s->kept_share;
}

/* One move is enough as a rule: the emptiest group has a superblock below the average. */
static void class_restore(struct heap *h, unsigned tag)
{
    struct class *class = &h->classes[tag];
    while (is_too_empty(h->shared, class, tag))
        superblock_move_out(h, class_emptiest(class));
}

/* Everything leaves the heap; the caller has its lock. */
static void heap_drain(struct heap *h)
{
    for (unsigned tag = 1; tag < TAGS; tag++)
        while (h->classes[tag].room)
            superblock_move_out(h, class_emptiest(&h->classes[tag]));
}

/* ---- alloc, free, realloc ---- */

static void *hoard_alloc(struct heap *h, size_t size, size_t align)
{
    struct hoard *s = h->shared;
    if (!is_small(s, size, align))
        return bulk_alloc(&s->pages, size, align);
    unsigned tag = size_class_aligned(size, align) + 1;
    void *p = NULL;
    lock_take(&h->lock);
    h->used = true;
    struct span *sb = class_fullest(&h->classes[tag]);
    if (!sb)
        sb = superblock_move_in(h, tag);
    if (!sb)
        sb = superblock_new(h, tag);
    if (sb)
        p = superblock_pop(h, sb);
    lock_give(&h->lock);
    return p;
}

/* The owner, locked. */
static struct heap *owner_lock(struct hoard *s, const struct span *sb)
{
    for (uint64_t retries = 0;; retries++) {
        struct heap *h = s->heaps[superblock_owner(sb)];
        lock_take(&h->lock);
        if (superblock_owner(sb) == h->number) {
            h->retries += retries;
            return h;
        }
        lock_give(&h->lock);
    }
}

/* Whether an object in use begins there; ends the program if not. The caller has the owner's lock.
 */
static void object_prove(const struct hoard *s, const struct found *f, const void *p)
{
    uint32_t bytes = (uint32_t)f->bytes, index = f->offset / bytes;
    if (f->offset % bytes || index >= f->span->carved)
        misuse_abort("hoard", "invalid free", p);
    if (block_is_sealed(s->secret, p))
        misuse_abort("hoard", "double free", p);
}

static struct found object_find(struct hoard *s, const void *p)
{
    struct found f = bulk_find(&s->pages, "hoard", p);
    if (!found_bulk(&f))
        f.bytes = bytes_of(f.tag);
    return f;
}

/* The same for realloc and usable, which change nothing. */
static struct found object_look(struct hoard *s, const void *p)
{
    struct found f = object_find(s, p);
    if (!found_bulk(&f)) {
        struct heap *h = owner_lock(s, f.span);
        object_prove(s, &f, p);
        lock_give(&h->lock);
    }
    return f;
}

static void small_free(struct hoard *s, const struct found *f, void *p)
{
    struct span *sb = f->span;
    struct heap *h = owner_lock(s, sb);
    object_prove(s, f, p);
    block_link(s->secret, p, sb->free);
    sb->free = p;
    superblock_count(h, sb, -1);
    h->used = true;
    if (h != &s->global) {
        class_restore(h, f->tag);
    } else if (!sb->live) {
        superblock_unlink(h, sb);
        pages_give(&s->pages, sb);
    }
    lock_give(&h->lock);
}

static void hoard_free(struct heap *view, void *p, size_t size)
{
    struct hoard *s = view->shared;
    struct found f = object_find(s, p);
    if (found_bulk(&f)) {
        bulk_free(&s->pages, "hoard", &f, p, size);
        return;
    }
    if (size > f.bytes)
        misuse_abort("hoard", "wrong size", p);
    small_free(s, &f, p);
}

static void *hoard_realloc(struct heap *view, void *p, size_t old, size_t size, size_t align)
{
    struct hoard *s = view->shared;
    struct found f = object_look(s, p);
    bool stays = found_bulk(&f) ? bulk_resize(&s->pages, &f, p, size, s->small_max)
                                : size <= f.bytes && size > f.bytes / 2;
    if (stays && is_aligned((uintptr_t)p, align))
        return p;
    void *moved = hoard_alloc(view, size, align);
    if (moved) {
        memcpy(moved, p, size_min(size, size_min(old, f.bytes)));
        hoard_free(view, p, 0);
    }
    return moved;
}

static size_t hoard_usable(struct heap *view, const void *p)
{
    return object_look(view->shared, p).bytes;
}

/* ---- threads, tick, trim, fork ---- */

/* The caller has the list's lock, or is alone. */
static void heap_add(struct hoard *s, struct heap *h)
{
    h->shared = s;
    h->number = (uint16_t)s->heap_count;
    h->used = true;
    for (unsigned tag = 0; tag < TAGS; tag++)
        for (unsigned group = 0; group < GROUPS; group++)
            list_init(&h->classes[tag].groups[group]);
    s->heaps[s->heap_count++] = h;
}

static struct heap *heap_new(struct hoard *s)
{
    struct span *span = pages_take(&s->pages, 1, 1, TAG_META);
    if (!span)
        return NULL;
    struct heap *h = memset(span_start(span), 0, sizeof *h);
    heap_add(s, h);
    return h;
}

/* A heap without threads, a new one, or the one with the fewest. */
static struct heap *hoard_thread_enter(struct heap *root)
{
    struct hoard *s = root->shared;
    struct heap *best = NULL;
    lock_take(&s->heaps_lock);
    for (unsigned i = ROOT + 1; i < s->heap_count; i++)
        if (!best || s->heaps[i]->threads < best->threads)
            best = s->heaps[i];
    if ((!best || best->threads) && s->heap_count < ROOT + 1 + s->opt.heaps) {
        struct heap *added = heap_new(s);
        best = added ? added : best;
    }
    if (best)
        best->threads++;
    lock_give(&s->heaps_lock);
    return best;
}

static void hoard_thread_exit(struct heap *h)
{
    struct hoard *s = h->shared;
    lock_take(&s->heaps_lock);
    if (!--h->threads) {
        lock_take(&h->lock);
        heap_drain(h);
        lock_give(&h->lock);
    }
    lock_give(&s->heaps_lock);
}

/* Empties the heaps that nobody used for `age_ns`; 0 = all. */
static void heaps_drain(struct hoard *s, uint64_t now_ns, uint64_t age_ns)
{
    lock_take(&s->heaps_lock);
    for (unsigned i = ROOT; i < s->heap_count; i++) {
        struct heap *h = s->heaps[i];
        lock_take(&h->lock);
        if (h->used)
            h->used_ns = now_ns;
        h->used = false;
        if (now_ns - h->used_ns >= age_ns)
            heap_drain(h);
        lock_give(&h->lock);
    }
    lock_give(&s->heaps_lock);
}

static void hoard_tick(struct heap *root, uint64_t now_ns)
{
    heaps_drain(root->shared, now_ns, root->shared->pages.age_ns);
    pages_tick(&root->shared->pages, now_ns);
}

static void hoard_trim(struct heap *root)
{
    heaps_drain(root->shared, 0, 0);
    pages_trim(&root->shared->pages);
}

/* All locks, in their order; the global heap's number is 0, but its turn comes last. */
static void hoard_fork(struct heap *root, enum allocator_fork when)
{
    struct hoard *s = root->shared;
    if (when == ALLOCATOR_FORK_BEFORE) {
        lock_take(&s->heaps_lock);
        for (unsigned i = ROOT; i < s->heap_count; i++)
            lock_take(&s->heaps[i]->lock);
        lock_take(&s->global.lock);
        pages_fork_before(&s->pages);
        return;
    }
    pages_fork_after(&s->pages);
    for (unsigned i = GLOBAL; i < s->heap_count; i++)
        lock_give(&s->heaps[i]->lock);
    lock_give(&s->heaps_lock);
}

/* ---- create, destroy ---- */

static void classes_open(struct hoard *s)
{
    size_t bytes = align_up(s->opt.superblock, UNIT_BYTES);
    s->units = bytes >> UNIT_SHIFT;
    s->small_max = bytes / 2;
    for (unsigned tag = 1; tag < TAGS; tag++)
        s->objects[tag] = (uint32_t)(bytes / bytes_of(tag));
    s->kept_share = SHARE_ONE - (size_t)(s->opt.empty * SHARE_ONE);
}

static struct heap *hoard_create(const struct alloc_env *env)
{
    const struct hoard_options *opt = env->options;
    struct hoard *s = os_map(env->os, sizeof *s, 1);
    if (!s)
        return NULL;
    s->opt = *opt;
    s->secret = (env->seed + 1) * UINT64_C(0x9E3779B97F4A7C15);
    s->pages.os = env->os;
    s->pages.policy = opt->policy == 0 ? RETURN_DECOMMIT : RETURN_NEVER;
    s->pages.age_ns = opt->age_ms * 1000000;
    s->pages.limit_units = opt->limit >> UNIT_SHIFT;
    s->pages.now_ns = env->now_ns(env->ctx);
    if (!pages_open(&s->pages)) {
        os_release(env->os, s, sizeof *s);
        return NULL;
    }
    classes_open(s);
    heap_add(s, &s->global);
    heap_add(s, &s->root);
    return &s->root;
}

static void hoard_destroy(struct heap *root)
{
    struct hoard *s = root->shared;
    struct os *os = s->pages.os;
    pages_close(&s->pages);
    os_release(os, s, sizeof *s);
}

/* ---- walk, check, stats ---- */

static void hoard_walk(struct heap *root, walk_fn *fn, void *arg)
{
    const struct hoard *s = root->shared;
    fn(arg, &(struct walk_item){.address = (uintptr_t)s,
                                .bytes = align_up(sizeof *s, os_page_bytes()),
                                .kind = WALK_META});
    bulk_walk(&s->pages, s->secret, fn, arg);
}

static const char *superblock_check(const struct heap *h, const struct span *sb, unsigned group)
{
    uint32_t objects = h->shared->objects[sb->tag], listed = 0;
    if (superblock_owner(sb) != h->number)
        return "superblocks: one names another owner";
    if (group_of(sb->live, objects) != group)
        return "superblocks: one is in the wrong group";
    for (const struct block *b = sb->free; b && listed <= objects; b = b->next, listed++)
        if (!block_is_sealed(h->shared->secret, b))
            return "superblocks: a free object is not sealed";
    if (sb->carved > objects || listed + sb->live != sb->carved)
        return "superblocks: free and live objects do not sum up";
    if (h->number == GLOBAL && !sb->live)
        return "superblocks: the global heap has an empty one";
    return NULL;
}

static const char *class_check(const struct heap *h, unsigned tag, size_t *superblocks)
{
    const struct class *class = &h->classes[tag];
    size_t used = 0, room = 0;
    for (unsigned group = 0; group < GROUPS; group++)
        for (struct list *l = class->groups[group].next; l != &class->groups[group]; l = l->next) {
            const struct span *sb = LIST_ENTRY(l, struct span, link);
            const char *broken = sb->tag == tag ? superblock_check(h, sb, group)
                                                : "superblocks: one is in another class's list";
            if (broken)
                return broken;
            used += sb->live;
            room += h->shared->objects[tag];
            *superblocks += 1;
        }
    if (used != class->used || room != class->room)
        return "heaps: used and room do not sum up";
    if (h->number != GLOBAL && is_too_empty(h->shared, class, tag))
        return "heaps: the emptiness invariant is broken";
    return NULL;
}

static void superblock_tally(void *arg, struct span *span)
{
    *(size_t *)arg += span->tag <= CLASSES;
}

static const char *hoard_check(struct heap *root)
{
    const struct hoard *s = root->shared;
    const char *broken = pages_check(&s->pages);
    size_t listed = 0, all = 0;
    for (unsigned i = GLOBAL; i < s->heap_count && !broken; i++)
        for (unsigned tag = 1; tag < TAGS && !broken; tag++)
            broken = class_check(s->heaps[i], tag, &listed);
    if (!broken)
        pages_each(&s->pages, superblock_tally, &all);
    return broken || listed == all ? broken : "heaps: a superblock is in none";
}

static void hoard_stats(struct heap *root, stats_fn *fn, void *arg)
{
    const struct hoard *s = root->shared;
    uint64_t waits = 0, retries = 0;
    size_t used = 0, room = 0, global_room = 0;
    for (unsigned i = GLOBAL; i < s->heap_count; i++) {
        waits += i == GLOBAL ? 0 : s->heaps[i]->lock.waits;
        retries += s->heaps[i]->retries;
        for (unsigned tag = 1; tag < TAGS; tag++) {
            size_t bytes = bytes_of(tag);
            used += s->heaps[i]->classes[tag].used * bytes;
            room += s->heaps[i]->classes[tag].room * bytes;
            global_room += i == GLOBAL ? s->heaps[i]->classes[tag].room * bytes : 0;
        }
    }
    fn(arg, "heaps", s->heap_count);
    fn(arg, "used_bytes", used);
    fn(arg, "room_bytes", room);
    fn(arg, "global_room_bytes", global_room);
    fn(arg, "moved_to_global", s->moved_out);
    fn(arg, "moved_from_global", s->moved_in);
    fn(arg, "heap_lock_waits", waits);
    fn(arg, "global_lock_waits", s->global.lock.waits);
    fn(arg, "pages_lock_waits", s->pages.lock.waits);
    fn(arg, "owner_changed", retries);
    fn(arg, "returned_bytes", s->pages.returned_units * UNIT_BYTES);
}

ALLOCATOR(hoard) = {
    .name = "hoard",
    .summary = "a heap for each thread, superblocks with owners, a global heap: bounded blowup",
    .source = "Berger, McKinley, Blumofe, Wilson 2000",
    .traits = ALLOCATOR_SHARED | ALLOCATOR_REMOTE_FREE | ALLOCATOR_REUSES | ALLOCATOR_ANY_ALIGN |
              ALLOCATOR_FINDS_OWNER,
    .options_size = sizeof(struct hoard_options),
    .options = hoard_options,
    .create = hoard_create,
    .destroy = hoard_destroy,
    .alloc = hoard_alloc,
    .free = hoard_free,
    .realloc = hoard_realloc,
    .usable = hoard_usable,
    .thread_enter = hoard_thread_enter,
    .thread_exit = hoard_thread_exit,
    .tick = hoard_tick,
    .trim = hoard_trim,
    .fork = hoard_fork,
    .walk = hoard_walk,
    .check = hoard_check,
    .stats = hoard_stats,
};
