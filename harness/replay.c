/*
 * replay.c - the loop. Its cost is measured with the null design and shown beside every figure, so
 * it is kept to: read a word, prefetch the slot of a later one (the slot, never the object: that
 * would do the allocator's work), one branch between alloc and free, one call. A realloc of an object
 * of the current scope is the third form, since recordings hold many. Everything else is in
 * rare_word(), out of line.
 *
 * The touch policy and the way of calling are compile-time constants of an inlined body, so no
 * variant pays for another; and all of it is there several times (layouts.h). The test of the result
 * for NULL stands for the one that any program makes.
 */
#include "harness/replay.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "allocators/lib/generic.h"
#include "harness/layouts.h"
#include "harness/pass.h"
#include "harness/views.h"

#define TURN_LOOKS   200    /* for a turn, before the CPU is given to others */
#define SLEEP_MIN_NS 100000 /* a shorter sleep would last about as long */
#define SLEEP_MAX_NS 1000000

static void turn_rest(uint64_t waited_ns)
{
    uint64_t sleep_ns = waited_ns / 8 < SLEEP_MAX_NS ? waited_ns / 8 : SLEEP_MAX_NS;
    struct timespec rest = {.tv_nsec = (long)sleep_ns};
    if (sleep_ns < SLEEP_MIN_NS)
        sched_yield();
    else
        nanosleep(&rest, NULL);
}

static inline bool turn_came(void **slot, uint32_t turn)
{
    _Atomic uint64_t *counter = (_Atomic uint64_t *)(slot + 1);
    return (uint32_t)atomic_load_explicit(counter, memory_order_acquire) == turn;
}

/*
 * The wait proper, timed: a few looks, then the CPU goes to others between two, as the thread whose
 * turn it is may need it. Who has waited long sleeps, each time for an eighth of what it waited so
 * far: a thread that only waits for the end of the others takes no CPU from them.
 */
static __attribute__((noinline, cold)) bool
turn_await(const struct replay *r, struct replay_thread *t, void **slot, uint32_t turn)
{
    uint64_t start = clock_now_ns();
    bool came = false;
    for (unsigned looks = 0; !(came = turn_came(slot, turn)); looks++) {
        if (replay_failed(r)) /* the thread whose turn it is may never come */
            break;
        if (looks >= TURN_LOOKS)
            turn_rest(clock_now_ns() - start);
    }
    t->wait_ns += clock_now_ns() - start;
    return came;
}

/* The acquire makes the earlier touches (the pointer, and what was written to the object) visible
   here; the release of replay_turn_pass() makes this one visible to the next. */
bool replay_turn_wait(const struct replay *r, struct replay_thread *t, void **slot, uint32_t turn)
{
    return turn_came(slot, turn) || turn_await(r, t, slot, turn);
}

void replay_turn_pass(void **slot, uint32_t turn)
{
    atomic_store_explicit((_Atomic uint64_t *)(slot + 1), (uint64_t)turn + 1, memory_order_release);
}

static inline void *realloc_call(struct replay *r, struct heap *view, struct heap *place, void *p,
                                 uint32_t low, uint64_t more)
{
    size_t align = PLAN_RARE_ALIGN(more);
    return generic_realloc(r->design, view, place, p, PLAN_RARE_OLD(more),
                           PLAN_RARE_SIZE(low, more),
                           align < ALLOCATOR_ALIGN ? ALLOCATOR_ALIGN : align);
}

static void *rare_call(struct replay *r, const struct cursor *c, struct heap *place, void *p,
                       uint32_t low, uint64_t more)
{
    const struct allocator *a = r->design;
    size_t size = PLAN_RARE_SIZE(low, more), align = PLAN_RARE_ALIGN(more);
    if (align < ALLOCATOR_ALIGN)
        align = ALLOCATOR_ALIGN;
    void *result = p;
    switch (PLAN_RARE_KIND(more)) {
    case PLAN_ALLOC:
        result = a->alloc(c->alloc_view, size, align);
        break;
    case PLAN_CALLOC:
        result = generic_zalloc(a, c->alloc_view, size, align);
        break;
    case PLAN_FREE:
        a->free(c->free_view, p, r->size_mask ? size : 0);
        return p;
    case PLAN_SIZED:
        a->free(c->free_view, p, size);
        return p;
    default:
        return realloc_call(r, c->free_view, place, p, low, more);
    }
    if (result)
        touch_write(result, size, r->touch);
    return result;
}

/* Executes the op at `p` (any kind), after the prefix words that led to it; returns the word after
 * it. */
static const uint64_t *op_word(struct replay *r, struct cursor *c, struct heap *place,
                               const uint64_t *p)
{
    uint64_t word = *p++;
    void **slot = &r->slots[PLAN_SLOT(word)];
    size_t low = PLAN_LOW(word);
    switch (PLAN_KIND(word)) {
    case PLAN_ALLOC:
        *slot = r->design->alloc(c->alloc_view, low, ALLOCATOR_ALIGN);
        if (*slot)
            touch_write(*slot, low, r->touch);
        break;
    case PLAN_CALLOC:
        *slot = generic_zalloc(r->design, c->alloc_view, low, ALLOCATOR_ALIGN);
        if (*slot)
            touch_write(*slot, low, r->touch);
        break;
    case PLAN_FREE:
        r->design->free(c->free_view, *slot, low & r->size_mask);
        return p;
    case PLAN_SIZED:
        r->design->free(c->free_view, *slot, low);
        return p;
    default: { /* RARE: nothing else follows a prefix or comes here */
        void *made = rare_call(r, c, place, *slot, (uint32_t)low, *p);
        replay_note(r, made);
        if (made)
            *slot = made;
        return p + 1;
    }
    }
    replay_note(r, *slot);
    return p;
}

/* All that is neither a plain alloc nor a plain free, nor a realloc without a prefix. */
static __attribute__((noinline)) const uint64_t *rare_word(struct replay *r,
                                                           struct replay_thread *t,
                                                           struct cursor *c, const uint64_t *p,
                                                           bool parallel)
{
    struct prefix prefix;
    unsigned kind = PLAN_KIND(*p);
    if (kind == PLAN_NOP || kind == PLAN_DROP)
        return p + 1;
    if (kind <= PLAN_RARE)
        return op_word(r, c, c->alloc_view, p);
    p = prefix_read(r, t, c, p, &prefix);
    kind = PLAN_KIND(*p);
    if (kind == PLAN_NOP || kind == PLAN_DROP)
        return p + 1;
    if (kind >= PLAN_BEGIN) {
        context_word(r, t, c, *p);
        return p + 1;
    }
    if (parallel && prefix.shared && !replay_turn_wait(r, t, prefix.shared, prefix.turn))
        return p;
    struct cursor own = {.alloc_view = c->alloc_view, .free_view = prefix.free_view};
    p = op_word(r, &own, prefix.place, p);
    if (parallel && prefix.shared && !replay_failed(r)) /* no object, no turn: nobody frees NULL */
        replay_turn_pass(prefix.shared, prefix.turn);
    return p;
}

static inline __attribute__((always_inline)) bool words_run(struct replay *r,
                                                            struct replay_thread *t, uint64_t words,
                                                            const enum touch touch,
                                                            const enum calling calling)
{
    void *(*const alloc)(struct heap *, size_t, size_t) = r->design->alloc;
    void (*const release)(struct heap *, void *, size_t) = r->design->free;
    void **const slots = r->slots;
    const uint32_t size_mask = r->size_mask;
    const uint64_t *p = t->next, *const end = p + words;
    struct cursor c;
    cursor_load(r, t, &c);
    while (p < end) {
        uint64_t word = *p;
        void **slot = &slots[PLAN_SLOT(word)];
        __builtin_prefetch(&slots[PLAN_SLOT(p[PLAN_PREFETCH])], 1);
        if (PLAN_KIND(word) == PLAN_ALLOC) {
            void *made = calling == CALLING_MALLOC
                             ? malloc(PLAN_LOW(word))
                             : alloc(c.alloc_view, PLAN_LOW(word), ALLOCATOR_ALIGN);
            if (__builtin_expect(!made, 0)) {
                replay_note(r, made);
                return false;
            }
            *slot = made;
            touch_write(made, PLAN_LOW(word), touch);
            p++;
        } else if (__builtin_expect(PLAN_KIND(word) <= PLAN_SIZED, 1)) {
            uint32_t known = size_mask | -(PLAN_KIND(word) - PLAN_FREE);
            if (calling == CALLING_MALLOC)
                free(*slot);
            else
                release(c.free_view, *slot, PLAN_LOW(word) & known);
            p++;
        } else if (PLAN_KIND(word) == PLAN_RARE && PLAN_RARE_KIND(p[1]) == PLAN_RARE_REALLOC) {
            void *made = realloc_call(r, c.free_view, c.alloc_view, *slot, PLAN_LOW(word), p[1]);
            if (__builtin_expect(!made, 0)) {
                replay_note(r, made);
                return false;
            }
            *slot = made;
            p += 2;
        } else {
            p = rare_word(r, t, &c, p, calling == CALLING_PARALLEL);
            if (__builtin_expect(replay_failed(r), 0))
                return false;
        }
    }
    t->next = p;
    return true;
}

/* The loop for the replay's touch policy. */
static inline __attribute__((always_inline)) bool
words_touch(struct replay *r, struct replay_thread *t, uint64_t words, const enum calling calling)
{
    switch (r->touch) {
    case TOUCH_NONE:
        return words_run(r, t, words, TOUCH_NONE, calling);
    case TOUCH_FIRST:
        return words_run(r, t, words, TOUCH_FIRST, calling);
    default:
        return words_run(r, t, words, TOUCH_LINE, calling);
    }
}

static inline __attribute__((always_inline)) bool
words_call(struct replay *r, struct replay_thread *t, uint64_t words, enum calling calling)
{
    switch (calling) {
    case CALLING_PARALLEL:
        return words_touch(r, t, words, CALLING_PARALLEL);
    case CALLING_MALLOC:
        return words_touch(r, t, words, CALLING_MALLOC);
    default:
        return words_touch(r, t, words, CALLING_CONTRACT);
    }
}

#define LAYOUT_DEFINE(copy, bytes)                                                                 \
    static LAYOUT_AT(bytes) bool words_##copy(struct replay *r, struct replay_thread *t,           \
                                              uint64_t words, enum calling calling)                \
    {                                                                                              \
        LAYOUT_COPY(copy);                                                                         \
        return words_call(r, t, words, calling);                                                   \
    }
LAYOUTS_EACH(LAYOUT_DEFINE)

#define LAYOUT_ENTRY(copy, bytes) words_##copy,
static bool (*const words_copies[LAYOUTS])(struct replay *, struct replay_thread *, uint64_t,
                                           enum calling) = {LAYOUTS_EACH(LAYOUT_ENTRY)};

void replay_layout_next(struct replay *r)
{
    r->layout = (r->layout + 1) % LAYOUTS;
}

static bool words_serial(struct replay *r, struct replay_thread *t, uint64_t words)
{
    return words_copies[r->layout](r, t, words, r->calling);
}

bool replay_runs(struct replay *r, uint64_t from, uint64_t to)
{
    const struct plan_run *runs = (const void *)((const char *)r->plan + r->plan->runs_offset);
    for (uint64_t i = from; i < to; i++)
        if (!words_serial(r, &r->threads[runs[i].thread], runs[i].words))
            return false;
    return true;
}

const struct ring_chunk *replay_chunk(struct replay *r, enum plan_part part)
{
    uint64_t start = clock_now_ns();
    uint64_t waits = r->ring->waits;
    const struct ring_chunk *chunk = ring_take(r->ring);
    r->decode_wait_ns += clock_now_ns() - start;
    r->since_wait = waits == r->ring->waits ? r->since_wait + 1 : 0;
    if (!chunk || chunk->part == part)
        return chunk;
    ring_fail(r->ring, "the decoder and the cell are at different parts of the pass");
    return NULL;
}

static bool chunk_replay(struct replay *r, const struct ring_chunk *chunk)
{
    const struct plan_run *runs = ring_runs(chunk);
    const uint64_t *words = ring_words(r->ring, chunk);
    for (uint32_t i = 0; i < chunk->runs; words += runs[i++].words) {
        r->threads[runs[i].thread].next = words;
        if (!words_serial(r, &r->threads[runs[i].thread], runs[i].words))
            return false;
    }
    return true;
}

static bool part_stream(struct replay *r, enum plan_part part)
{
    bool done = true, last = false;
    while (done && !last) {
        const struct ring_chunk *chunk = replay_chunk(r, part);
        if (!chunk)
            return false;
        uint64_t start = clock_now_ns();
        done = chunk_replay(r, chunk);
        uint64_t took = clock_now_ns() - start;
        bool warm = !r->ring->waits || r->since_wait >= r->ring->shape.chunks / 2;
        r->chunks_ns += took;
        r->warm_ns += warm ? took : 0;
        r->warm_ops += warm ? chunk->ops : 0;
        last = chunk->last;
    }
    return done;
}

bool replay_part(struct replay *r, enum plan_part part)
{
    uint64_t from, to;
    if (r->ring)
        return part_stream(r, part);
    plan_part_runs(r->plan, part, &from, &to);
    return replay_runs(r, from, to);
}

bool replay_thread(struct replay *r, uint32_t thread, const uint64_t *end)
{
    struct replay_thread *t = &r->threads[thread];
    uint64_t words = (uint64_t)(end - t->next);
    return words_copies[r->layout](r, t, words, CALLING_PARALLEL);
}

bool replay_pass_begin(struct replay *r)
{
    const struct plan *plan = r->plan;
    const struct plan_thread *threads = (const void *)((const char *)plan + plan->threads_offset);
    for (uint64_t i = 0; i < plan->threads; i++) {
        const void *words = (const char *)plan + (r->ring ? 0 : threads[i].words_offset);
        r->threads[i] = (struct replay_thread){.view = r->base, .next = words};
    }
    if (plan->shared_objects) /* the turns of the pass before */
        memset(r->slots, 0, plan->slots * sizeof *r->slots);
    r->base = r->heap;
    if (r->design->scope_enter && !(r->design->traits & ALLOCATOR_REUSES))
        r->base = r->design->scope_enter(r->heap);
    return r->base != NULL;
}

void replay_pass_end(struct replay *r)
{
    if (r->only)
        r->design->thread_exit(r->only);
    r->only = NULL;
    if (r->base != r->heap)
        r->design->scope_exit(r->base);
    r->base = r->heap;
}

int replay_open(struct replay *r, const struct plan *plan, const struct allocator *design,
                struct heap *heap, enum touch touch, struct error *err)
{
    size_t slots = plan->slots * sizeof(void *), views = plan->scope_slots * sizeof(struct heap *);
    size_t threads = (plan->threads + 1) * sizeof(struct replay_thread);
    size_t bytes = threads + slots + views;
    *r =
        (struct replay){.plan = plan, .design = design, .heap = heap, .base = heap, .touch = touch};
    char *tables = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (tables == MAP_FAILED)
        return error_set(err, "replay: cannot map tables of %zu bytes: %s", bytes, strerror(errno));
    r->threads = (struct replay_thread *)tables;
    r->slots = (void **)(tables + threads);
    r->scope_views = (struct heap **)(tables + threads + slots);
    r->size_mask = design->traits & ALLOCATOR_NEEDS_SIZE ? UINT32_MAX : 0;
    if (plan->flags & PLAN_MERGED && design->traits & ALLOCATOR_FOREIGN)
        r->calling = CALLING_MALLOC;
    r->finds_owner = design->traits & ALLOCATOR_FINDS_OWNER;
    r->tables_bytes = bytes;
    return 0;
}

void replay_close(struct replay *r)
{
    munmap(r->threads, r->tables_bytes);
}
