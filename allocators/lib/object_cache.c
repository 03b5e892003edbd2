/*
 * object_cache.c - see object_cache.h. Functions named slab_ work on one slab under the cache's
 * lock.
 */
#include "allocators/lib/object_cache.h"

#include <string.h>

#include "allocators/lib/bulk.h"

_Static_assert(sizeof((struct span *)0)->kept >= OFF_SLAB_OBJECTS * sizeof(object_mark),
               "marks off the slab");
_Static_assert(MARK_END <= UINT16_MAX, "in a mark, and in a span's `unused`");

enum { CACHES_MAX = 128 };

/* ---- geometry ---- */

/* The fewest units that hold `least` objects and leave at most 1/8 of the slab over. */
static void cache_measure(struct object_cache *c, size_t least, bool colour, size_t align)
{
    bool off = c->bytes >= OFF_SLAB_BYTES;
    size_t each = c->bytes + (off ? 0 : sizeof(object_mark)), units, objects;
    if (off)
        least = size_min(least, c->bytes <= 1024 ? OFF_SLAB_OBJECTS : c->bytes <= 8192 ? 4 : 1);
    units = align_up(least * each, UNIT_BYTES) >> UNIT_SHIFT;
    for (objects = units * UNIT_BYTES / each; units * UNIT_BYTES - objects * each > units * 1024;)
        objects = ++units * UNIT_BYTES / each;
    objects = size_min(objects, off ? OFF_SLAB_OBJECTS : MARK_OBJECTS_MAX);
    size_t end = units * UNIT_BYTES - (off ? 0 : objects * sizeof(object_mark));
    c->units = (uint32_t)units;
    c->objects = (uint32_t)objects;
    c->marks = off ? 0 : (uint32_t)end;
    c->colour_step = (uint32_t)size_max(align, COLOUR_BYTES);
    c->colour_max = colour ? (uint32_t)align_down(end - objects * c->bytes, c->colour_step) : 0;
}

struct object_cache *object_cache_add(struct object_caches *s, size_t bytes, size_t align)
{
    if (bytes > OBJECT_CACHE_BYTES_MAX || align > UNIT_BYTES || s->count == CACHES_MAX)
        return NULL;
    struct object_cache *c = &s->cache[s->count];
    align = size_max(align, sizeof(void *));
    c->shared = s;
    c->tag = ++s->count;
    c->bytes = (uint32_t)align_up(size_max(bytes, 1), align);
    c->reciprocal = (UINT64_C(1) << 40) / c->bytes + 1;
    cache_measure(c, s->config.objects, s->config.colour, align);
    if (s->percpu.way != PERCPU_BY_NONE)
        c->rounds = (uint32_t)size_min(s->config.rounds, size_max(16384 / c->bytes, 1));
    c->magazine = percpu_add(&s->percpu, 2 * (size_t)c->rounds);
    list_init(&c->partial);
    list_init(&c->full);
    list_init(&c->empty);
    return c;
}

/* ---- slabs ---- */

static bool slab_has_room(const struct object_cache *c, const struct span *slab)
{
    return slab->unused != MARK_END || slab->carved < c->objects;
}

static void slab_move(struct span *slab, struct list *before)
{
    list_remove(&slab->link);
    list_insert_before(before, &slab->link);
}

static struct span *slab_new(struct object_cache *c)
{
    struct span *slab = pages_take(&c->shared->pages, c->units, 1, c->tag);
    if (!slab)
        return NULL;
    object_mark *marks = object_marks(c, slab);
    slab->free = span_start(slab) + c->colour;
    slab->unused = MARK_END;
    slab->live = slab->carved = 0;
    for (uint32_t i = 0; i < c->objects; i++)
        marks[i] = MARK_UNUSED;
    c->colour = c->colour < c->colour_max ? c->colour + c->colour_step : 0;
    span_publish(slab, 0, c->units);
    list_insert_after(&c->partial, &slab->link);
    c->slabs_made++;
    return slab;
}

/* A slab with room, now among the partial ones: of those that have one already, the first; of
 * the empty ones, that emptied last. */
static struct span *slab_pick(struct object_cache *c, bool make)
{
    if (!list_empty(&c->partial))
        return LIST_ENTRY(c->partial.next, struct span, link);
    if (list_empty(&c->empty))
        return make ? slab_new(c) : NULL;
    struct span *slab = LIST_ENTRY(c->empty.prev, struct span, link);
    slab_move(slab, &c->partial);
    c->empties--;
    return slab;
}

/* So many objects, or what there are. Those never handed out keep the mark UNUSED. */
static uint32_t slab_take(struct object_cache *c, struct span *slab, void **round, uint32_t want)
{
    object_mark *marks = object_marks(c, slab);
    uint32_t n = 0, fresh = slab->carved;
    while (n < want && slab->unused != MARK_END) {
        uint32_t index = slab->unused;
        if (index >= slab->carved)
            misuse_abort(c->shared->config.design, "corrupted free block", slab->free);
        round[n++] = object_at(c, slab, index);
        slab->unused = marks[index];
        marks[index] = MARK_CACHED;
    }
    while (n < want && slab->carved < c->objects)
        round[n++] = object_at(c, slab, slab->carved++);
    slab->live += n;
    c->constructed += slab->carved - fresh;
    if (!slab_has_room(c, slab))
        slab_move(slab, &c->full);
    return n;
}

static void slab_give(struct object_cache *c, void *p)
{
    struct span *slab = object_span(p);
    uint32_t index = object_index(c, slab, p);
    object_mark *mark = &object_marks(c, slab)[index];
    bool room = slab_has_room(c, slab);
    if (*mark != MARK_CACHED)
        misuse_abort(c->shared->config.design, "corrupted header", p);
    *mark = slab->unused;
    slab->unused = (uint16_t)index;
    if (!--slab->live) {
        slab_move(slab, &c->empty);
        c->empties++;
        slab->freed_ns = atomic_load_explicit(&c->shared->now_ns, memory_order_relaxed);
    } else if (!room) {
        slab_move(slab, &c->partial);
    }
}

/* The empty slab that emptied first leaves the cache. */
static void slab_detach(struct object_cache *c, struct list *to)
{
    struct span *slab = LIST_ENTRY(c->empty.next, struct span, link);
    slab_move(slab, to);
    c->empties--;
    c->slabs_reaped++;
    c->destructed += slab->carved;
}

/* Destructs the objects of detached slabs, and gives the slabs back. No lock. */
static void slabs_destroy(struct object_cache *c, struct list *slabs)
{
    for (struct list *l = slabs->next, *next; l != slabs; l = next) {
        struct span *slab = LIST_ENTRY(l, struct span, link);
        next = l->next;
        for (uint32_t i = 0; c->dtor && i < slab->carved; i++)
            c->dtor(object_at(c, slab, i), c->arg);
        pages_give(&c->shared->pages, slab);
    }
}

/* Reaps the slabs that have been empty for age_ns; 0 = all. */
static void cache_reap(struct object_cache *c, uint64_t now_ns, uint64_t age_ns)
{
    struct list reaped;
    list_init(&reaped);
    lock_take(&c->lock);
    while (!list_empty(&c->empty)) {
        const struct span *oldest = LIST_ENTRY(c->empty.next, struct span, link);
        if (age_ns && (oldest->freed_ns > now_ns || now_ns - oldest->freed_ns < age_ns))
            break;
        slab_detach(c, &reaped);
    }
    lock_give(&c->lock);
    slabs_destroy(c, &reaped);
}

/* ---- between slabs and magazines ---- */

/* Takes up to `want` objects out of the slabs, all constructed and marked CACHED. */
static uint32_t cache_obtain(struct object_cache *c, void **round, uint32_t want)
{
    uint32_t n = 0;
    lock_take(&c->lock);
    c->refills++;
    for (struct span *slab; n < want && (slab = slab_pick(c, !n)) != NULL;)
        n += slab_take(c, slab, round + n, want - n);
    lock_give(&c->lock);
    for (uint32_t i = 0; i < n; i++) {
        struct span *slab = object_span(round[i]);
        object_mark *mark = &object_marks(c, slab)[object_index(c, slab, round[i])];
        if (*mark == MARK_UNUSED && c->ctor)
            c->ctor(round[i], c->arg);
        *mark = MARK_CACHED;
    }
    return n;
}

/* Back into the slabs. The oldest empty slabs beyond what a cache keeps come out, if there is a
 * list for them. */
static void cache_return(struct object_cache *c, void **round, uint64_t n, struct list *over)
{
    lock_take(&c->lock);
    c->flushes++;
    for (uint64_t i = 0; i < n; i++)
        slab_give(c, round[i]);
    while (over && c->empties > c->shared->config.empties)
        slab_detach(c, over);
    lock_give(&c->lock);
}

static void cache_return_all(struct object_cache *c, void **round, uint64_t n)
{
    struct list over;
    list_init(&over);
    cache_return(c, round, n, &over);
    slabs_destroy(c, &over);
}

static void *object_hand_out(struct object_cache *c, void *p)
{
    struct span *slab = object_span(p);
    object_marks(c, slab)[object_index(c, slab, p)] = MARK_LIVE;
    return p;
}

void *object_cache_refill(struct object_cache *c)
{
    struct percpu *percpu = &c->shared->percpu;
    void *round[MAGAZINE_MAX + 1];
    void *p = percpu_ready(percpu) ? percpu_pop(percpu, c->magazine) : NULL;
    if (p)
        return object_hand_out(c, p);
    uint32_t n = cache_obtain(c, round, c->rounds + 1);
    if (!n)
        return NULL;
    while (n > 1 && percpu_push(percpu, c->magazine, 2 * (size_t)c->rounds, round[n - 1]))
        n--;
    if (n > 1)
        cache_return_all(c, round + 1, n - 1);
    return object_hand_out(c, round[0]);
}

void object_cache_flush(struct object_cache *c, void *p)
{
    struct percpu *percpu = &c->shared->percpu;
    void *round[MAGAZINE_MAX + 1];
    uint32_t n = 1;
    if (percpu_ready(percpu) && percpu_push(percpu, c->magazine, 2 * (size_t)c->rounds, p))
        return;
    round[0] = p;
    while (n <= c->rounds && (round[n] = percpu_pop(percpu, c->magazine)) != NULL)
        n++;
    cache_return_all(c, round, n);
}

void object_misuse(const struct object_cache *c, const struct span *span, const void *p)
{
    const char *what = "invalid free";
    uint32_t index = object_index(c, span, p);
    if (index < c->objects && object_at(c, span, index) == p) {
        uint32_t mark = object_marks(c, (struct span *)span)[index];
        if (mark < c->objects || mark == MARK_CACHED || mark == MARK_END)
            what = "double free";
        else if (mark != MARK_UNUSED)
            what = "corrupted header";
    }
    misuse_abort(c->shared->config.design, what, p);
}

/* ---- upkeep ---- */

static void magazine_drain(struct object_cache *c, struct magazine *m)
{
    if (m->count)
        cache_return(c, m->round, m->count, NULL); /* destructors must not run in a visit */
    m->count = 0;
}

/* Empties all magazines, or those that are as they were at the last visit. */
static void magazines_visit(struct object_caches *s, bool all)
{
    if (!percpu_visit(&s->percpu))
        return;
    for (unsigned cpu = 0; cpu < PERCPU_CPUS; cpu++)
        for (unsigned i = 0; i < s->count; i++) {
            struct object_cache *c = &s->cache[i];
            struct magazine *m = percpu_magazine(&s->percpu, cpu, c->magazine);
            if (!m)
                break;
            if (all || m->count == m->seen)
                magazine_drain(c, m);
            m->seen = m->count;
        }
    percpu_leave(&s->percpu);
}

void object_caches_tick(struct object_caches *s, uint64_t now_ns)
{
    uint64_t visited_ns = atomic_load_explicit(&s->visited_ns, memory_order_relaxed);
    atomic_store_explicit(&s->now_ns, now_ns, memory_order_relaxed);
    if (now_ns - visited_ns >= s->config.age_ns) {
        atomic_store_explicit(&s->visited_ns, now_ns, memory_order_relaxed);
        magazines_visit(s, false);
    }
    for (unsigned i = 0; i < s->count; i++)
        cache_reap(&s->cache[i], now_ns, s->config.age_ns);
    lock_take(&s->upkeep);
    pages_tick(&s->pages, now_ns);
    lock_give(&s->upkeep);
}

void object_caches_trim(struct object_caches *s)
{
    magazines_visit(s, true);
    for (unsigned i = 0; i < s->count; i++)
        cache_reap(&s->cache[i], 0, 0);
    lock_take(&s->upkeep);
    pages_trim(&s->pages);
    lock_give(&s->upkeep);
}

/* Magazines need no closing here, as a fork copies them whole; but who finds one closed waits for
 * the visitors' lock, and the rest for the others. */
void object_caches_fork(struct object_caches *s, enum allocator_fork when)
{
    if (when == ALLOCATOR_FORK_BEFORE) {
        lock_take(&s->upkeep);
        if (!percpu_visit(&s->percpu))
            lock_take(&s->percpu.lock);
        for (unsigned i = 0; i < s->count; i++)
            lock_take(&s->cache[i].lock);
        pages_fork_before(&s->pages);
        return;
    }
    pages_fork_after(&s->pages);
    for (unsigned i = s->count; i-- > 0;)
        lock_give(&s->cache[i].lock);
    if (when == ALLOCATOR_FORK_CHILD) {
        percpu_forked(&s->percpu);
        s->forked = true;
    }
    percpu_leave(&s->percpu);
    lock_give(&s->upkeep);
}

/* ---- open, close ---- */

bool object_caches_open(struct object_caches *s, struct os *os, struct object_cache *cache,
                        const struct object_caches_config *config)
{
    s->config = *config;
    s->cache = cache;
    atomic_store_explicit(&s->now_ns, config->now_ns, memory_order_relaxed);
    atomic_store_explicit(&s->visited_ns, config->now_ns, memory_order_relaxed);
    s->pages.os = os;
    s->pages.policy = RETURN_DECOMMIT;
    s->pages.age_ns = config->age_ns;
    s->pages.now_ns = config->now_ns;
    s->pages.limit_units = config->limit_bytes >> UNIT_SHIFT;
    percpu_open(&s->percpu, os, config->percpu, config->env);
    return pages_open(&s->pages);
}

/* What is constructed and free of one slab is destructed; the others are counted. */
static size_t slab_close(struct object_cache *c, struct span *slab)
{
    const object_mark *marks = object_marks(c, slab);
    size_t live = 0;
    for (uint32_t i = 0; i < slab->carved; i++) {
        live += marks[i] == MARK_LIVE;
        if (c->dtor && marks[i] != MARK_LIVE && marks[i] != MARK_UNUSED)
            c->dtor(object_at(c, slab, i), c->arg);
    }
    return live;
}

size_t object_caches_close(struct object_caches *s)
{
    size_t live = 0;
    for (unsigned i = 0; i < s->count; i++) {
        struct object_cache *c = &s->cache[i];
        struct list *lists[] = {&c->partial, &c->full, &c->empty};
        for (unsigned k = 0; k < 3; k++)
            for (struct list *l = lists[k]->next; l != lists[k]; l = l->next)
                live += slab_close(c, LIST_ENTRY(l, struct span, link));
    }
    percpu_close(&s->percpu);
    pages_close(&s->pages);
    return live;
}

/* ---- observation ---- */

struct walk_state {
    struct object_caches *s;
    walk_fn *fn;
    void *arg;
};

static void bytes_tell(const struct walk_state *w, const struct object_cache *c, const void *from,
                       const void *to, enum walk_kind kind)
{
    if (from < to)
        w->fn(w->arg, &(struct walk_item){.address = (uintptr_t)from,
                                          .bytes = (size_t)((const char *)to - (const char *)from),
                                          .kind = kind,
                                          .class_bytes = c->bytes});
}

static void slab_walk(const struct walk_state *w, const struct object_cache *c, struct span *slab)
{
    const object_mark *marks = object_marks(c, slab);
    char *start = span_start(slab), *end = start + c->units * UNIT_BYTES;
    char *slack = object_at(c, slab, c->objects), *array = c->marks ? start + c->marks : end;
    bytes_tell(w, c, start, slab->free, WALK_UNUSED);
    for (uint32_t i = 0; i < c->objects; i++) {
        enum walk_kind kind = marks[i] == MARK_LIVE     ? WALK_LIVE
                              : marks[i] == MARK_UNUSED ? WALK_UNUSED
                                                        : WALK_FREE;
        bytes_tell(w, c, object_at(c, slab, i), object_at(c, slab, i + 1), kind);
    }
    bytes_tell(w, c, slack, array, WALK_UNUSED);
    bytes_tell(w, c, array, end, WALK_META);
}

static void span_walk(void *arg, struct span *span)
{
    const struct walk_state *w = arg;
    if (span->tag <= w->s->count)
        slab_walk(w, &w->s->cache[span->tag - 1], span);
    else
        pages_span_walk(span, w->fn, w->arg);
}

void object_caches_walk(struct object_caches *s, walk_fn *fn, void *arg)
{
    struct walk_state w = {s, fn, arg};
    percpu_walk(&s->percpu, fn, arg);
    pages_walk(&s->pages, fn, arg);
    pages_each(&s->pages, span_walk, &w);
}

static void span_count(void *arg, struct span *span)
{
    ++((size_t *)arg)[span->tag];
}

static const char *slab_check(const struct object_cache *c, struct span *slab, size_t *cached)
{
    const object_mark *marks = object_marks(c, slab);
    size_t listed = 0, live = 0, unused = 0, waiting = 0;
    for (uint32_t i = slab->unused; i != MARK_END; i = marks[i], listed++)
        if (i >= slab->carved || listed > slab->carved)
            return "slabs: a list of free objects is damaged";
    for (uint32_t i = 0; i < c->objects; i++) {
        live += marks[i] == MARK_LIVE;
        waiting += marks[i] == MARK_CACHED;
        unused += marks[i] == MARK_UNUSED;
    }
    size_t colour = (size_t)((char *)slab->free - span_start(slab));
    if (slab->units != c->units || slab->carved > c->objects)
        return "slabs: one is not as large as its cache says";
    if (colour % c->colour_step || colour > c->colour_max)
        return "slabs: a colour does not fit";
    if (listed + live + waiting + unused != c->objects || listed + slab->live != slab->carved)
        return "slabs: free, cached and live objects do not sum up";
    if (!c->shared->forked && live + waiting != slab->live)
        return "slabs: the count of objects that are out is wrong";
    *cached += waiting;
    return NULL;
}

/* The slabs of one list: `live` and `room` say what they must have. */
static const char *slabs_check(const struct object_cache *c, const struct list *list, bool live,
                               bool room, size_t *slabs, size_t *cached)
{
    for (struct list *l = list->next; l != list; l = l->next, ++*slabs) {
        struct span *slab = LIST_ENTRY(l, struct span, link);
        const char *broken = slab_check(c, slab, cached);
        if (broken)
            return broken;
        if (slab->tag != c->tag || (slab->live > 0) != live || slab_has_room(c, slab) != room)
            return "slabs: one is in the wrong list";
    }
    return NULL;
}

static const char *magazines_check(const struct object_cache *c, size_t cached)
{
    size_t rounds = 0;
    for (unsigned cpu = 0; cpu < PERCPU_CPUS; cpu++) {
        const struct magazine *m = percpu_magazine(&c->shared->percpu, cpu, c->magazine);
        if (m && m->count > 2 * c->rounds)
            return "magazines: one holds more than its rounds";
        for (size_t i = 0; m && i < m->count; i++, rounds++) {
            struct span *slab = object_span(m->round[i]);
            if (object_marks(c, slab)[object_index(c, slab, m->round[i])] != MARK_CACHED)
                return "magazines: a round is not marked as free";
        }
    }
    if (rounds > cached || (rounds < cached && !c->shared->forked))
        return "magazines: they do not hold exactly the objects marked so";
    return NULL;
}

const char *object_caches_check(struct object_caches *s)
{
    size_t spans[256] = {0};
    const char *broken = pages_check(&s->pages);
    if (!broken)
        pages_each(&s->pages, span_count, spans);
    for (unsigned i = 0; i < s->count && !broken; i++) {
        const struct object_cache *c = &s->cache[i];
        size_t slabs = 0, empties = 0, cached = 0;
        broken = slabs_check(c, &c->partial, true, true, &slabs, &cached);
        broken = broken ? broken : slabs_check(c, &c->full, true, false, &slabs, &cached);
        broken = broken ? broken : slabs_check(c, &c->empty, false, true, &empties, &cached);
        broken = broken ? broken : magazines_check(c, cached);
        size_t listed = slabs + empties, lost = spans[c->tag] - listed;
        if (!broken && (listed > spans[c->tag] || empties != c->empties || (lost && !s->forked)))
            broken = "slabs: the lists do not hold all of them";
    }
    return broken;
}

void object_caches_stats(struct object_caches *s, stats_fn *fn, void *arg)
{
    struct object_cache sum = {.lock = {.waits = 0}};
    size_t cached = 0, cpus = 0;
    for (unsigned cpu = 0; cpu < PERCPU_CPUS; cpu++)
        cpus += s->percpu.blocks[cpu] != NULL;
    for (unsigned i = 0; i < s->count; i++) {
        const struct object_cache *c = &s->cache[i];
        sum.refills += c->refills;
        sum.flushes += c->flushes;
        sum.slabs_made += c->slabs_made;
        sum.slabs_reaped += c->slabs_reaped;
        sum.constructed += c->constructed;
        sum.destructed += c->destructed;
        sum.empties += c->empties;
        sum.lock.waits += c->lock.waits;
        for (unsigned cpu = 0; cpu < PERCPU_CPUS && s->percpu.blocks[cpu]; cpu++)
            cached += percpu_magazine(&s->percpu, cpu, c->magazine)->count * c->bytes;
    }
    fn(arg, "refills", sum.refills);
    fn(arg, "flushes", sum.flushes);
    fn(arg, "slabs_made", sum.slabs_made);
    fn(arg, "slabs_reaped", sum.slabs_reaped);
    fn(arg, "slabs_empty", sum.empties);
    fn(arg, "objects_constructed", sum.constructed);
    fn(arg, "objects_destructed", sum.destructed);
    fn(arg, "magazine_bytes", cached);
    fn(arg, "cpus", cpus);
    fn(arg, "cache_lock_waits", sum.lock.waits);
    fn(arg, "pages_lock_waits", s->pages.lock.waits);
    fn(arg, "segments", s->pages.segment_count);
    fn(arg, "commits", s->pages.commits);
    fn(arg, "returned_bytes", s->pages.returned_units * UNIT_BYTES);
}

/* ---- a cache that stands alone ---- */

struct alone {
    struct object_caches shared;
    struct object_cache cache;
    char name[32];
};

struct object_cache *object_cache_open_as(struct os *os, const struct object_caches_config *config,
                                          const char *name, size_t bytes, size_t align,
                                          object_fn *ctor, object_fn *dtor, void *arg)
{
    struct alone *alone = os_map(os, sizeof *alone, 1);
    if (!alone)
        return NULL;
    struct object_caches_config own = *config;
    own.design = memcpy(alone->name, name, size_min(strlen(name), sizeof alone->name - 1));
    struct object_cache *c = NULL;
    if (object_caches_open(&alone->shared, os, &alone->cache, &own))
        c = object_cache_add(&alone->shared, bytes, align);
    if (!c) {
        os_release(os, alone, sizeof *alone);
        return NULL;
    }
    c->ctor = ctor;
    c->dtor = dtor;
    c->arg = arg;
    return c;
}

struct object_cache *object_cache_open(struct os *os, const char *name, size_t bytes, size_t align,
                                       object_fn *ctor, object_fn *dtor, void *arg)
{
    const struct object_caches_config usual = {.colour = true,
                                               .rounds = 32,
                                               .objects = 8,
                                               .empties = 8,
                                               .age_ns = 1000000000,
                                               .limit_bytes = 128 << 20};
    return object_cache_open_as(os, &usual, name, bytes, align, ctor, dtor, arg);
}

size_t object_cache_close(struct object_cache *c)
{
    struct alone *alone = (struct alone *)c->shared;
    struct os *os = alone->shared.pages.os;
    size_t live = object_caches_close(&alone->shared);
    os_release(os, alone, sizeof *alone);
    return live;
}

void *object_cache_take(struct object_cache *c)
{
    return object_take(c);
}

void object_cache_give(struct object_cache *c, void *p)
{
    struct found f = bulk_find(&c->shared->pages, c->shared->config.design, p);
    object_give(c, f.span, p);
}

void object_cache_reap(struct object_cache *c)
{
    object_caches_trim(c->shared);
}

void object_cache_tick(struct object_cache *c, uint64_t now_ns)
{
    object_caches_tick(c->shared, now_ns);
}

void object_cache_walk(struct object_cache *c, walk_fn *fn, void *arg)
{
    fn(arg, &(struct walk_item){.address = (uintptr_t)c->shared,
                                .bytes = align_up(sizeof(struct alone), os_page_bytes()),
                                .kind = WALK_META});
    object_caches_walk(c->shared, fn, arg);
}

const char *object_cache_check(struct object_cache *c)
{
    return object_caches_check(c->shared);
}

const char *object_cache_mode(const struct object_cache *c)
{
    return c->shared->percpu.mode;
}
