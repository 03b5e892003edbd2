/*
 * front.c - see front.h: refill, flush and sweep, large objects, upkeep, fork and observation.
 */
#include "allocators/lib/front.h"

#include <string.h>

#include "allocators/lib/misuse.h"

/* ---- bins ---- */

static struct block *next_of(const struct heap *v, const struct block *b)
{
    return block_next(v->shared->design, v->secret, b);
}

static uint64_t magic_of(uint64_t bytes)
{
    return UINT64_MAX / bytes + 1;
}

static uint16_t start_of(const struct central *c)
{
    return (uint16_t)size_min(size_max(START_BYTES / c->bytes, 1), c->batch);
}

/* Large objects are not cached before they have gone and come again. */
static uint32_t limit_of(const struct central *c)
{
    return c->bytes > BATCH_BYTES ? 0 : c->batch;
}

/* The first `count` objects of a bin go to the central list. */
static void bin_give(struct heap *v, unsigned tag, uint32_t count, bool sort)
{
    struct bin *bin = &v->bins[tag];
    struct chain chain = {bin->head, count, 0};
    struct block *last = bin->head;
    for (uint32_t i = 1; i < count; i++)
        last = next_of(v, last);
    bin->head = next_of(v, last);
    bin->count -= count;
    bin->gave = bin->active = true;
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
        const struct central *c = &v->shared->classes[tag];
        bin->limit = limit_of(c);
        uint32_t keep = drain ? 0 : bin->limit;
        if (drain)
            bin->take = start_of(c);
        if (bin->count > keep) {
            bin_give(v, tag, bin->count - keep, drain);
            gave = true;
        }
        bin->gave = false;
    }
    v->grown = 0;
    return gave;
}

/* How far limits may grow by now. */
static size_t view_budget(const struct heap *v)
{
    size_t cache = v->shared->opt.cache;
    return size_min(size_max(cache / BUDGET_START, v->moved / BUDGET_PACE), cache);
}

static void bin_grow(struct heap *v, struct bin *bin)
{
    size_t more = size_max(bin->limit, 1), cache = v->shared->opt.cache;
    if (v->grown + more * bin->bytes > view_budget(v) && view_budget(v) == cache &&
        more * bin->bytes <= cache) {
        view_reset(v, false);
        more = size_max(bin->limit, 1);
    }
    if (v->grown + more * bin->bytes <= view_budget(v)) {
        v->grown += more * bin->bytes;
        bin->limit += (uint32_t)more;
    }
    bin->gave = false;
}

static bool bin_refill(struct heap *v, unsigned tag)
{
    struct bin *bin = &v->bins[tag];
    struct central *c = &v->shared->classes[tag];
    if (bin->gave)
        bin_grow(v, bin);
    struct chain chain = central_take(c, bin->take, v->side);
    bin->take = (uint16_t)size_min(2 * (size_t)bin->take, c->batch);
    bin->active = true;
    bin->head = chain.head;
    bin->count = chain.count;
    return chain.count;
}

/* ---- the sweep ---- */

/* The next tag after the last one that is in `classes`, around the end; 0 = none is. */
static unsigned classes_next(const struct heap *v)
{
    for (unsigned i = 1; i <= TAGS; i++) {
        unsigned tag = (v->swept + i) % TAGS;
        if (v->classes[tag / 64] >> (tag % 64) & 1)
            return tag;
    }
    return 0;
}

/* Looks at one class; inside the gate. */
static void view_sweep(struct heap *v)
{
    unsigned tag = classes_next(v);
    struct bin *bin = &v->bins[tag];
    struct central *c = &v->shared->classes[tag];
    v->swept = tag;
    if (!tag)
        return;
    if (bin->active) {
        bin->active = false;
        return;
    }
    v->grown -= (size_t)(bin->limit - limit_of(c)) * bin->bytes;
    bin->limit = limit_of(c);
    bin->take = start_of(c);
    if (bin->count)
        bin_give(v, tag, bin->count - size_min(bin->count / 2, bin->limit), true);
    bin->gave = bin->active = false;
    if (central_sweep(c) && !bin->count)
        v->classes[tag / 64] &= ~(UINT64_C(1) << (tag % 64));
}

/* After a refill or flush of so many objects, inside the gate. */
static void view_worked(struct heap *v, unsigned tag, uint32_t count)
{
    size_t bytes = (size_t)count * v->bins[tag].bytes;
    v->classes[tag / 64] |= UINT64_C(1) << (tag % 64);
    size_t looks = (v->moved % SWEEP_BYTES + bytes) / SWEEP_BYTES;
    for (v->moved += bytes; looks; looks--)
        view_sweep(v);
}

/* ---- alloc ---- */

/* Enters, after the visitor if there is one. */
static void view_enter(struct heap *v)
{
    while (!gate_enter(&v->gate)) {
        gate_leave(&v->gate);
        lock_take(&v->shared->views_lock);
        lock_give(&v->shared->views_lock);
    }
}

void *front_alloc_slow(struct heap *v, struct bin *bin)
{
    unsigned tag = (unsigned)(bin - v->bins);
    void *p = NULL;
    view_enter(v);
    if (bin->head) {
        p = bin_pop(v, bin);
    } else if (bin_refill(v, tag)) {
        uint32_t count = bin->count;
        p = bin_pop(v, bin);
        view_worked(v, tag, count);
    }
    gate_leave(&v->gate);
    return p;
}

/* *fresh: reads as zero. */
static void *large_take(struct heap *v, size_t size, size_t align, bool *fresh)
{
    *fresh = true;
    if (size > OBJECT_MAX || align > OBJECT_MAX)
        return NULL;
    size_t units = align_up(size, UNIT_BYTES) >> UNIT_SHIFT;
    size_t align_units = size_max(align >> UNIT_SHIFT, 1);
    if (units + align_units - 1 > pages_run_max(v->pages))
        return pages_large_alloc(v->pages, size, align);
    struct span *span = pages_take(v->pages, units, align_units, TAG_LARGE);
    if (!span)
        return NULL;
    *fresh = span->fresh;
    return span_start(span);
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

static void *alloc_any(struct heap *v, size_t size, size_t align, bool *fresh)
{
    *fresh = false;
    if (size > SMALL_MAX || align > UNIT_BYTES)
        return large_take(v, size, align, fresh);
    return bin_alloc(v, tag_of(size, align));
}

void *front_alloc_rare(struct heap *v, size_t size, size_t align)
{
    bool fresh;
    if (size <= SMALL_MAX && align <= ALLOCATOR_ALIGN)
        return bin_alloc(v, size_class_of(size) + 1);
    return alloc_any(v, size, align, &fresh);
}

void *front_zalloc_rare(struct heap *v, size_t size, size_t align)
{
    bool fresh;
    void *p = alloc_any(v, size, align, &fresh);
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
    const char *design = v->shared->design;
    struct object o = {TAG_NONE, 0, NULL};
    struct segment *segment =
        pages_number_ok(v->pages, p) ? segment_of(p) : pages_search(v->pages, p);
    if (!segment) {
        o.bytes = pages_large_find(v->pages, p);
        if (!o.bytes)
            misuse_abort(design, "invalid free", p);
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
            misuse_abort(design, "double free", p);
    } else {
        misuse_abort(design, o.tag == TAG_FREE ? "double free" : "invalid free", p);
    }
    return o;
}

/* Whatever the fast path does not take: a closed gate, a full bin, large objects, misuse. */
void front_free_slow(struct heap *v, void *p, size_t size)
{
    struct object o = object_find(v, p);
    bool small = o.tag - 1 < CLASSES;
    size_t unit = o.tag == TAG_NONE ? os_page_bytes() : UNIT_BYTES;
    if (size && (small ? size > o.bytes : align_up(size, unit) != o.bytes))
        misuse_abort(v->shared->design, "wrong size", p);
    if (o.tag == TAG_NONE) {
        pages_large_free(v->pages, p);
    } else if (o.tag == TAG_LARGE) {
        pages_give(v->pages, o.span);
    } else {
        struct bin *bin = &v->bins[o.tag];
        view_enter(v);
        bin_push(v->secret, bin, p);
        if (bin->count > bin->limit) {
            uint32_t batch = v->shared->classes[o.tag].batch;
            bin_give(v, o.tag, batch, false);
            view_worked(v, o.tag, batch);
        }
        gate_leave(&v->gate);
    }
}

/* In place, if that is possible and sensible. */
static bool object_resize(struct heap *v, void *p, const struct object *o, size_t size)
{
    if (o->tag == TAG_LARGE)
        return size > SMALL_MAX && size <= OBJECT_MAX &&
               pages_resize(v->pages, o->span, align_up(size, UNIT_BYTES) >> UNIT_SHIFT);
    if (o->tag == TAG_NONE)
        return size > o->bytes / 2 && pages_large_resize(v->pages, p, size);
    return size <= o->bytes && size + 4 * ALLOCATOR_ALIGN > o->bytes / 2;
}

void *front_realloc(struct heap *v, void *p, size_t old, size_t size, size_t align)
{
    struct object o = object_find(v, p);
    if (is_aligned((uintptr_t)p, align) && object_resize(v, p, &o, size))
        return p;
    void *moved = front_alloc(v, size, align);
    if (moved) {
        memcpy(moved, p, size_min(size, size_min(old, o.bytes)));
        front_free(v, p, 0);
    }
    return moved;
}

size_t front_usable(struct heap *v, const void *p)
{
    return object_find(v, p).bytes;
}

/* ---- threads, tick, trim ---- */

static void view_open(struct front *s, struct heap *v)
{
    v->secret = s->root.secret;
    v->pages = &s->pages;
    v->shared = s;
    for (size_t i = 0; i < sizeof v->table; i++)
        v->table[i] = (uint8_t)(size_class_of(size_max(i * 16, 1)) + 1);
    for (unsigned tag = 1; tag < TAGS; tag++) {
        const struct central *c = &s->classes[tag];
        v->bins[tag] = (struct bin){.limit = limit_of(c),
                                    .magic = magic_of(c->bytes),
                                    .bytes = c->bytes,
                                    .take = start_of(c)};
    }
    lock_take(&s->views_lock);
    for (unsigned side = 0; side < SIDES; side++)
        if (s->side_views[side] < s->side_views[v->side])
            v->side = side;
    s->side_views[v->side]++;
    list_insert_before(&s->views, &v->link);
    lock_give(&s->views_lock);
}

struct heap *front_thread_enter(struct heap *root)
{
    struct span *span = pages_take(root->pages, 1, 1, TAG_META);
    if (!span)
        return NULL;
    struct heap *v = memset(span_start(span), 0, sizeof *v);
    view_open(root->shared, v);
    return v;
}

void front_thread_exit(struct heap *v)
{
    struct front *s = v->shared;
    view_enter(v);
    view_reset(v, true);
    gate_leave(&v->gate);
    lock_take(&s->views_lock);
    s->side_views[v->side]--;
    list_remove(&v->link);
    lock_give(&s->views_lock);
    struct segment *segment = segment_of(v);
    pages_give(&s->pages, &segment->spans[segment_unit(v)]);
}

static struct heap *view_of(struct list *link)
{
    return LIST_ENTRY(link, struct heap, link);
}

static void views_reopen(struct front *s)
{
    for (struct list *l = s->views.next; l != &s->views; l = l->next)
        gate_reopen(&view_of(l)->gate);
}

/* Under the views' lock: from here on no owner gets in, and gates tell who is inside. False = that
 * is not possible any more, and all are open. */
static bool views_close(struct front *s)
{
    for (struct list *l = s->views.next; l != &s->views; l = l->next)
        gate_close(&view_of(l)->gate);
    s->visits = gates_fence();
    if (!s->visits)
        views_reopen(s);
    return s->visits;
}

/* Drains the views in which nobody is and which nobody used for `age_ns`; 0 = all of the former. */
static void views_drain(struct front *s, uint64_t now_ns, uint64_t age_ns)
{
    if (!s->visits)
        return;
    lock_take(&s->views_lock);
    bool closed = views_close(s);
    for (struct list *l = s->views.next; l != &s->views && closed; l = l->next) {
        struct heap *v = view_of(l);
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

static void centrals_tick(struct front *s, uint64_t now_ns, uint64_t age_ns)
{
    for (unsigned tag = 1; tag < TAGS; tag++)
        central_tick(&s->classes[tag], now_ns, age_ns);
}

void front_tick(struct heap *root, uint64_t now_ns)
{
    struct front *s = root->shared;
    lock_take(&s->upkeep_lock);
    views_drain(s, now_ns, s->pages.age_ns);
    centrals_tick(s, now_ns, s->pages.age_ns);
    pages_tick(&s->pages, now_ns);
    lock_give(&s->upkeep_lock);
}

void front_trim(struct heap *root)
{
    struct front *s = root->shared;
    lock_take(&s->upkeep_lock);
    views_drain(s, root->used_ns, 0);
    centrals_tick(s, root->used_ns, 0);
    pages_trim(&s->pages);
    lock_give(&s->upkeep_lock);
}

/* ---- fork ---- */

static void fork_before(struct front *s)
{
    lock_take(&s->upkeep_lock);
    lock_take(&s->views_lock);
    if (s->visits)
        views_close(s);
    for (struct list *l = s->views.next; l != &s->views && s->visits; l = l->next)
        gate_wait(&view_of(l)->gate);
    for (unsigned tag = 1; tag < TAGS; tag++)
        lock_take(&s->classes[tag].lock);
    pages_fork_before(&s->pages);
}

static void fork_after(struct front *s)
{
    pages_fork_after(&s->pages);
    for (unsigned tag = TAGS - 1; tag; tag--)
        lock_give(&s->classes[tag].lock);
    views_reopen(s);
    lock_give(&s->views_lock);
    lock_give(&s->upkeep_lock);
}

/* In the child: where a gate could not be closed, what a thread was doing in its view will never be
 * finished. */
static void views_adopt(struct front *s)
{
    for (struct list *l = s->views.next; l != &s->views; l = l->next) {
        struct heap *v = view_of(l);
        bool torn = !s->visits && gate_look(&v->gate) == GATE_INSIDE;
        s->lost |= torn;
        for (unsigned tag = 1; tag < TAGS && torn; tag++) {
            v->bins[tag].head = NULL;
            v->bins[tag].count = 0;
        }
        atomic_store_explicit(&v->gate.state, GATE_USED, memory_order_relaxed);
    }
}

void front_fork(struct heap *root, enum allocator_fork when)
{
    struct front *s = root->shared;
    if (when == ALLOCATOR_FORK_BEFORE) {
        fork_before(s);
        return;
    }
    if (when == ALLOCATOR_FORK_CHILD) {
        views_adopt(s);
        s->visits = gates_open();
    }
    fork_after(s);
}

/* ---- create, destroy ---- */

static void class_open(struct front *s, unsigned tag)
{
    uint32_t bytes = (uint32_t)size_class_bytes(tag - 1);
    struct central *c = &s->classes[tag];
    c->pages = &s->pages;
    c->design = s->design;
    c->secret = s->root.secret;
    c->bytes = bytes;
    c->batch = (uint32_t)size_max(size_min(s->opt.batch, BATCH_BYTES / bytes), 1);
    c->tag = tag;
    c->used_ns = s->pages.now_ns;
    central_open(c);
}

struct heap *front_create(const struct alloc_env *env, const struct front_options *opt,
                          const struct front_kind *kind)
{
    struct front *s = os_map(env->os, sizeof *s, 1);
    if (!s)
        return NULL;
    s->design = kind->design;
    s->opt = *opt;
    s->pages.os = env->os;
    s->pages.policy = (enum return_policy)opt->policy;
    s->pages.huge = kind->huge;
    s->pages.thp = kind->thp;
    s->pages.subrelease = kind->subrelease;
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

void front_destroy(struct heap *root)
{
    struct front *s = root->shared;
    struct os *os = s->pages.os;
    pages_close(&s->pages);
    os_release(os, s, sizeof *s);
}

/* ---- walk, check, stats ---- */

struct walk_state {
    struct front *s;
    walk_fn *fn;
    void *arg;
};

static void span_walk(void *arg, struct span *span)
{
    const struct walk_state *w = arg;
    if (span->tag <= CLASSES)
        central_span_walk(&w->s->classes[span->tag], span, w->fn, w->arg);
    else
        pages_span_walk(span, w->fn, w->arg);
}

void front_walk(struct heap *root, walk_fn *fn, void *arg)
{
    struct walk_state w = {root->shared, fn, arg};
    fn(arg, &(struct walk_item){.address = (uintptr_t)w.s,
                                .bytes = align_up(sizeof *w.s, os_page_bytes()),
                                .kind = WALK_META});
    pages_walk(root->pages, fn, arg);
    pages_each(root->pages, span_walk, &w);
}

struct check_state {
    struct front *s;
    const char *broken;
    size_t sealed[TAGS]; /* objects that no list has told of yet */
    uint64_t room[TAGS]; /* in spans */
};

static void span_check(void *arg, struct span *span)
{
    struct check_state *state = arg;
    if (span->tag > CLASSES || state->broken)
        return;
    state->room[span->tag] += state->s->classes[span->tag].objects - span->live;
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

static const char *class_check(struct front *s, unsigned tag, size_t sealed)
{
    const struct central *c = &s->classes[tag];
    size_t listed = 0;
    for (uint32_t i = 0; i < c->chain_count; i++)
        listed += chain_length(c->chains[i].head);
    for (struct list *l = s->views.next; l != &s->views; l = l->next) {
        const struct bin *bin = &view_of(l)->bins[tag];
        if (bin->count > bin->limit)
            return "bins: one is longer than its limit";
        if (bin->count != chain_length(bin->head))
            return "bins: a count is wrong";
        listed += bin->count;
    }
    if (listed == sealed || (s->lost && listed < sealed))
        return NULL;
    return "lists: they do not hold exactly the free objects";
}

const char *front_check(struct heap *root)
{
    struct check_state state = {.s = root->shared, .broken = pages_check(root->pages)};
    if (!state.broken)
        pages_each(root->pages, span_check, &state);
    for (unsigned tag = 1; tag < TAGS && !state.broken; tag++)
        state.broken = state.room[tag] != root->shared->classes[tag].room
                           ? "spans: the class counts their room wrongly"
                           : class_check(root->shared, tag, state.sealed[tag]);
    return state.broken;
}

const char *front_mode(struct heap *root)
{
    return root->shared->visits ? NULL : "caches drained by their owners only: no membarrier";
}

void front_stats(struct heap *root, stats_fn *fn, void *arg)
{
    struct front *s = root->shared;
    struct central sum = {.lock = {.waits = 0}};
    size_t cached = 0, depot = 0;
    for (unsigned tag = 1; tag < TAGS; tag++) {
        const struct central *c = &s->classes[tag];
        sum.refills += c->refills;
        sum.flushes += c->flushes;
        sum.swept += c->swept;
        sum.spans_taken += c->spans_taken;
        sum.spans_given += c->spans_given;
        sum.lock.waits += c->lock.waits;
        depot += (size_t)c->chain_count * c->batch * c->bytes;
        for (struct list *l = s->views.next; l != &s->views; l = l->next)
            cached += (size_t)view_of(l)->bins[tag].count * c->bytes;
    }
    fn(arg, "refills", sum.refills);
    fn(arg, "flushes", sum.flushes);
    fn(arg, "depots_swept", sum.swept);
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
