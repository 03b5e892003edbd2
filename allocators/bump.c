/*
 * bump.c - one region and one position in it: alloc moves the position up, leaving a scope moves it
 * back down.
 *
 *     start                   position         high             committed            end
 *       +------+-----+---+-----+----------------+----------------+--------------------+
 *       | bump | obj |[S]| obj | cut back: FREE | UNUSED         | reserved           |
 *       +------+-----+---+-----+----------------+----------------+--------------------+
 *                     ^ record of an open scope (META), where the position was on entering
 *
 * Scopes are a stack of such records. Leaving the top one cuts the position back to its checkpoint.
 * They may interleave all the same: a scope that is left while it is not the top hands its
 * checkpoint to the one above it, which will cut that much deeper; and an object allocated through
 * a view that is not the top raises that view's `floor` to the object's end, below which no cut
 * goes while that view is open. A scope that is entered on the empty heap is therefore a reset. The
 * position before the last object is known, so that the last object can be freed, and resized in
 * place.
 *
 * Invariants (check):
 *  - start < position <= committed <= end, and the committed part is whole pages
 *  - the records lie in the order of the stack, each at or above its checkpoint, in the used part
 *  - no floor is above the position, and none above `floors_max`
 *  - the last object, if known, lies between the position before it and the position
 *
 * Cost: alloc O(1), a dozen instructions; free O(1); entering O(1); leaving O(1), and O(open
 * scopes) for the top one after floors have been raised. Memory: no header on an object, 48 bytes a
 * scope. Dead objects stay until the cut.
 *
 * Source: Hanson, "Fast allocation and deallocation of memory based on object lifetimes", 1990;
 * GNU obstacks.
 *
 * Trade-off: the fastest and densest there is while lifetimes nest; one long-lived object that is
 * allocated late through an outer scope keeps everything below it.
 *
 * Detected: nothing. There is no word for an object, so a free that is not the last object's, an
 * object freed twice and an address that is no object's are all the same: nothing happens.
 *
 * Threads: none; a heap belongs to one thread at a time.
 */
#include <string.h>

#include "allocators/lib/allocator.h"
#include "allocators/lib/bits.h"
#include "allocators/lib/option.h"
#include "allocators/lib/os.h"

/* ---- options ---- */

enum above_policy { ABOVE_KEEP, ABOVE_RETURN };

struct bump_options {
    uint64_t reserve, commit;
    unsigned above;
};

static const struct option bump_options[] = {
    {.name = "reserve",
     .type = OPTION_SIZE,
     .offset = offsetof(struct bump_options, reserve),
     .fallback = "64g",
     .min = 1 << 20,
     .max = (double)((uint64_t)128 << 30),
     .summary =
         "bytes of address space, or half of it, and so on, where there are not so many; what "
         "does not fit is out of memory"},
    {.name = "commit",
     .type = OPTION_SIZE,
     .offset = offsetof(struct bump_options, commit),
     .fallback = "64k",
     .min = 4096,
     .max = 1 << 30,
     .summary = "bytes that are committed at a time"},
    {.name = "above",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct bump_options, above),
     .fallback = "keep",
     .choices = "keep|return",
     .summary = "what leaving a scope does with whole commit steps above the cut"},
    {.name = NULL},
};

/* ---- types ---- */

struct heap { /* a view: the root's, or the record of an open scope */
    struct bump *bump;
    struct heap *below, *above; /* in the stack of open scopes; NULL at its ends */
    uintptr_t checkpoint;
    uintptr_t floor; /* end of the highest object allocated while this was not the top; 0 = none */
};

struct bump { /* at the start of the region */
    uintptr_t position, committed;
    struct heap *top;
    uintptr_t last, before_last; /* the last object and the position before it; 0 = not known */
    uintptr_t floor_before_last; /* floor of its view before it, if that view is not the top */
    uintptr_t floors_max;        /* no floor is higher */
    uintptr_t high;              /* no byte from here on was ever handed out since its commit */
    uintptr_t start, end;
    size_t step, page;
    bool cut; /* the reservation is smaller than was asked for */
    enum above_policy above;
    struct os *os;
    struct heap root;
};

_Static_assert(sizeof(struct heap) <= 48, "the header comment states a record's size");

/* ---- growth ---- */

/* Commits up to `need`, in whole steps if the door allows as much. */
__attribute__((noinline, cold)) static bool region_grow(struct bump *b, uintptr_t need)
{
    uintptr_t target = size_min(b->start + align_up(need - b->start, b->step), b->end);
    if (os_commit(b->os, (void *)b->committed, target - b->committed)) {
        target = align_up(need, b->page);
        if (os_commit(b->os, (void *)b->committed, target - b->committed))
            return false;
    }
    b->committed = target;
    return true;
}

static void region_shrink(struct bump *b)
{
    uintptr_t keep = b->start + align_up(b->position - b->start, b->step);
    if (keep >= b->committed || os_decommit(b->os, (void *)keep, b->committed - keep))
        return;
    b->committed = keep;
    b->high = size_min(b->high, keep);
}

/* ---- alloc, free, realloc ---- */

/* False when [at, at + size) cannot be had. */
static inline bool range_ready(struct bump *b, uintptr_t at, size_t size)
{
    if (__builtin_expect(at <= b->committed && size <= b->committed - at, 1))
        return true;
    return at <= b->end && size <= b->end - at && region_grow(b, at + size);
}

static void floor_raise(struct heap *view, uintptr_t end)
{
    struct bump *b = view->bump;
    view->floor = end;
    b->floors_max = size_max(b->floors_max, end);
}

static void *bump_alloc(struct heap *view, size_t size, size_t align)
{
    struct bump *b = view->bump;
    uintptr_t at = align_up(b->position, size_max(align, ALLOCATOR_ALIGN));
    if (!range_ready(b, at, size))
        return NULL;
    b->last = at;
    b->before_last = b->position;
    b->position = at + size;
    if (__builtin_expect(view != b->top, 0)) {
        b->floor_before_last = view->floor;
        floor_raise(view, at + size);
    }
    return (void *)at;
}

/* Only what lies below `high` can be anything but zero. */
static void *bump_zalloc(struct heap *view, size_t size, size_t align)
{
    char *p = bump_alloc(view, size, align);
    uintptr_t high = view->bump->high;
    if (p && (uintptr_t)p < high)
        memset(p, 0, size_min(size, high - (uintptr_t)p));
    return p;
}

static void position_cut(struct bump *b, uintptr_t position)
{
    b->high = size_max(b->high, b->position);
    b->position = position;
}

static void bump_free(struct heap *view, void *p, size_t size)
{
    (void)size;
    struct bump *b = view->bump;
    if ((uintptr_t)p != b->last)
        return;
    position_cut(b, b->before_last);
    b->last = 0;
    if (view != b->top)
        view->floor = b->floor_before_last;
}

static void *bump_realloc(struct heap *view, void *p, size_t old, size_t size, size_t align)
{
    struct bump *b = view->bump;
    uintptr_t at = (uintptr_t)p;
    if (at == b->last && is_aligned(at, align)) {
        if (!range_ready(b, at, size))
            return NULL;
        position_cut(b, at + size);
        if (view != b->top)
            floor_raise(view, at + size);
        return p;
    }
    if (size <= old && is_aligned(at, align))
        return p;
    void *moved = bump_alloc(view, size, align);
    return moved ? memcpy(moved, p, size_min(old, size)) : NULL;
}

/* ---- scopes, trim ---- */

static struct heap *bump_scope_enter(struct heap *parent)
{
    struct bump *b = parent->bump;
    uintptr_t at = align_up(b->position, _Alignof(struct heap));
    if (!range_ready(b, at, sizeof(struct heap)))
        return NULL;
    struct heap *scope = (struct heap *)at;
    *scope = (struct heap){.bump = b, .below = b->top, .checkpoint = b->position};
    b->top->above = scope;
    b->top = scope;
    b->position = at + sizeof *scope;
    b->last = 0;
    return scope;
}

/* The lowest position from the checkpoint up that keeps the objects of all open scopes. */
static uintptr_t floors_above(struct bump *b, uintptr_t checkpoint)
{
    if (b->floors_max <= checkpoint)
        return checkpoint;
    uintptr_t highest = 0;
    for (const struct heap *scope = b->top; scope; scope = scope->below)
        highest = size_max(highest, scope->floor);
    b->floors_max = highest;
    return size_max(highest, checkpoint);
}

static void bump_scope_exit(struct heap *view)
{
    struct bump *b = view->bump;
    view->below->above = view->above;
    if (view != b->top) {
        view->above->below = view->below;
        view->above->checkpoint = view->checkpoint;
        return;
    }
    b->top = view->below;
    position_cut(b, floors_above(b, view->checkpoint));
    b->last = 0;
    if (b->above == ABOVE_RETURN)
        region_shrink(b);
}

static void bump_trim(struct heap *root)
{
    region_shrink(root->bump);
}

/* ---- create, destroy ---- */

static struct heap *bump_create(const struct alloc_env *env)
{
    const struct bump_options *options = env->options;
    size_t page = os_page_bytes();
    size_t bytes = align_up(options->reserve, page);
    size_t step = align_up(options->commit, page);
    size_t first = size_min(step, bytes);
    struct bump *b = os_reserve_most(env->os, &bytes, page, first);
    if (!b)
        return NULL;
    if (os_commit(env->os, b, first)) {
        os_release(env->os, b, bytes);
        return NULL;
    }
    uintptr_t start = (uintptr_t)b;
    *b = (struct bump){.position = start + sizeof *b,
                       .committed = start + first,
                       .top = &b->root,
                       .high = start + sizeof *b,
                       .start = start,
                       .end = start + bytes,
                       .step = step,
                       .page = page,
                       .cut = bytes < options->reserve,
                       .above = options->above,
                       .os = env->os,
                       .root = {.bump = b, .checkpoint = start + sizeof *b}};
    return &b->root;
}

static void bump_destroy(struct heap *heap)
{
    struct bump *b = heap->bump;
    os_release(b->os, b, b->end - b->start);
}

/* ---- observation ---- */

struct walker {
    walk_fn *fn;
    void *arg;
};

static void range_walk(const struct walker *w, uintptr_t from, uintptr_t to, enum walk_kind kind)
{
    struct walk_item item = {.address = from, .bytes = to - from, .kind = kind};
    if (to > from)
        w->fn(w->arg, &item);
}

/* From the top down, because the records are linked that way. */
static void bump_walk(struct heap *root, walk_fn *fn, void *arg)
{
    struct bump *b = root->bump;
    struct walker w = {fn, arg};
    uintptr_t high = size_max(b->high, b->position), above = b->position;
    range_walk(&w, high, b->committed, WALK_UNUSED);
    range_walk(&w, b->position, high, WALK_FREE);
    for (const struct heap *scope = b->top; scope != root; scope = scope->below) {
        range_walk(&w, (uintptr_t)(scope + 1), above, WALK_LIVE);
        range_walk(&w, (uintptr_t)scope, (uintptr_t)(scope + 1), WALK_META);
        above = (uintptr_t)scope;
    }
    range_walk(&w, root->checkpoint, above, WALK_LIVE);
    range_walk(&w, b->start, root->checkpoint, WALK_META);
}

static const char *scope_check(const struct bump *b, const struct heap *scope)
{
    uintptr_t from = (uintptr_t)scope,
              end = scope == b->top ? b->position : (uintptr_t)scope->above;
    if (scope->checkpoint > (scope->below ? from : b->position) || end < from + sizeof *scope ||
        (scope == b->top ? scope->above != NULL : scope->above->below != scope))
        return "a scope's record lies out of the stack's order";
    if (scope->floor > b->position || scope->floor > b->floors_max)
        return "a scope's floor is above the position, or above floors_max";
    return NULL;
}

static const char *bump_check(struct heap *root)
{
    struct bump *b = root->bump;
    if (b->position <= b->start || b->position > b->committed || b->committed > b->end ||
        !is_aligned(b->committed, b->page))
        return "start < position <= committed <= end does not hold in whole pages";
    if (b->last && (b->last > b->position || b->before_last > b->last))
        return "the last object lies outside of its place";
    for (const struct heap *scope = b->top; scope; scope = scope->below) {
        const char *broken = scope_check(b, scope);
        if (broken)
            return broken;
    }
    return NULL;
}

static const char *bump_mode(struct heap *root)
{
    return root->bump->cut ? "fewer addresses could be reserved than asked for" : NULL;
}

ALLOCATOR(bump) = {
    .name = "bump",
    .summary = "one region, one position; scopes are checkpoints that cut it back",
    .source = "Hanson 1990; GNU obstacks",
    .traits = ALLOCATOR_ANY_ALIGN,
    .options_size = sizeof(struct bump_options),
    .options = bump_options,
    .create = bump_create,
    .destroy = bump_destroy,
    .alloc = bump_alloc,
    .free = bump_free,
    .zalloc = bump_zalloc,
    .realloc = bump_realloc,
    .scope_enter = bump_scope_enter,
    .scope_exit = bump_scope_exit,
    .trim = bump_trim,
    .walk = bump_walk,
    .check = bump_check,
    .mode = bump_mode,
};
