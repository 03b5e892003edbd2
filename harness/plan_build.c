/*
 * plan_build.c - from a trace to a plan (plan.h says what a plan is).
 *
 * One pass writes the words; a look ahead (plan_fate.c) comes first if there are scopes or several
 * threads. The builder also is the judge of a trace: whatever a replay could trip over (a free of a
 * dead object, a closed scope, an op of an ended thread) is refused here, with the record's number,
 * so the replay needs no checks.
 *
 * Views are kept lazily: the builder knows which scope each thread's replay state has, and writes a
 * SWITCH only when the next op needs another one. That is also how an object that outlives its
 * scope gets into the innermost scope that outlives it: a SWITCH out, the alloc, and a SWITCH back
 * when it matters.
 */
#include "harness/plan_build.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NO_SLOT UINT32_MAX
#define WORDS_BUFFER                                                                               \
    ((uint64_t)1 << 17)  /* words of the only thread that are written at once; a power of two */
#define OWN_SLOTS   16   /* PLAN_PARALLEL: slots that a thread takes at once: two cache lines */
#define PAIRS_SPARE 4096 /* PLAN_PARALLEL: a thread's free slots of shared objects, at least */
#define BATCH       64   /* ops read ahead, so that the table of objects answers in time */

struct object { /* what is known of a live object, by its slot: as compact as what is live */
    uint32_t scope_slot; /* where it was placed */
    uint32_t thread;     /* that made it */
    uint64_t size : 40;  /* requested, as replayed: at least 1 */
    uint64_t shared : 1;
    uint64_t dropped : 1; /* its scope's exit releases it */
    uint64_t unused : 22;
};

struct scope {
    uint64_t parent; /* id, or TRACE_NO_SCOPE */
    uint64_t end;    /* record */
    uint32_t slot;   /* 0 in plans without scopes (release=free) */
    uint32_t open;
};

struct thread {
    uint64_t *words;
    uint64_t count, room;
    uint64_t scope;        /* current: id, or TRACE_NO_SCOPE */
    uint32_t emitted_slot; /* scope slot that the replay's thread state has */
    uint32_t state;        /* 0 not started, 1 running, 2 ended */
    uint32_t *free_slots;  /* private slots */
    uint64_t free_count, free_room;
    uint32_t *free_pairs; /* slots of shared objects */
    uint64_t pair_count, pair_room;
    uint64_t pair_first;         /* PLAN_PARALLEL: those before it are taken again */
    uint32_t own[2], own_end[2]; /* PLAN_PARALLEL: new slots, by shared or not */
};

struct stack { /* of free scope slots */
    uint32_t *items;
    uint64_t count, room;
};

struct builder {
    struct plan plan; /* the header being filled */
    struct fates fates;
    bool looked_ahead;
    int fd;            /* the plan's memfd */
    uint64_t streamed; /* words of the only thread that are in the memfd already */
    uint32_t *slot_of; /* by object id; NO_SLOT = it is dead */
    uint64_t object_room;
    struct object *objects; /* by slot */
    uint64_t slot_room;
    struct scope *scopes;
    uint64_t scope_count, scope_room, open_scopes;
    struct thread *threads;
    uint64_t thread_room;
    struct plan_run *runs;
    uint64_t run_room;
    struct stack free_scope_slots;
    uint32_t *turns; /* touches so far, by slot of a shared object */
    uint64_t turn_room;
    uint64_t record, live_bytes, live_objects;
    const char *refusal; /* why the trace is refused; NULL = it is fine so far */
};

#define OUT_OF_MEMORY "out of memory while planning; replay a part of the trace"

int plan_refuse(struct error *err, const struct trace_reader *trace, uint64_t record,
                const char *why)
{
    const char *name = trace_name(trace);
    return error_set(err, "%s: record %llu (block at offset %llu): %s", name,
                     (unsigned long long)record, (unsigned long long)trace_offset(trace), why);
}

int plan_refuse_ahead(struct error *err, struct trace_reader *trace, uint64_t record,
                      const char *why)
{
    struct trace_op op;
    bool there = trace_rewind(trace, err) == 0;
    for (uint64_t i = 0; there && i <= record; i++)
        there = trace_next(trace, &op, err) == 1;
    return there ? plan_refuse(err, trace, record, why) : -1;
}

/* ---- growing arrays: every failure sets b->refusal ---- */

static __attribute__((noinline, cold)) bool grow_more(struct builder *b, void **array,
                                                      uint64_t count, uint64_t *room, size_t size)
{
    void *grown = array_room(*array, count, room, size);
    if (!grown) {
        b->refusal = OUT_OF_MEMORY;
        return false;
    }
    *array = grown;
    return true;
}

static inline bool grow(struct builder *b, void *array_address, uint64_t count, uint64_t *room,
                        size_t size)
{
    return count < *room || grow_more(b, array_address, count, room, size);
}

/* A large array at its full size from the start, in huge pages where the kernel gives them, since
   it is read at random or filled once: `*room` elements, of which only those used cost memory.
   Small ones are left to grow. */
static bool array_reserve(void *array_address, uint64_t *room, uint64_t elements, size_t size)
{
    void **array = array_address;
    size_t huge = (size_t)2 << 20;
    if (elements > SIZE_MAX / size)
        return false;
    if (elements * size < huge)
        return true;
    if (posix_memalign(array, huge, elements * size))
        return false;
    madvise(*array, elements * size, MADV_HUGEPAGE);
    *room = elements;
    return true;
}

static void slot_push(struct builder *b, uint32_t **items, uint64_t *count, uint64_t *room,
                      uint32_t slot)
{
    if (grow(b, items, *count, room, sizeof **items))
        (*items)[(*count)++] = slot;
}

static uint64_t offset_align(uint64_t offset)
{
    return (offset + 63) & ~UINT64_C(63);
}

/* Writes a piece at its offset. By pwrite and not through a mapping: no page is faulted in or
 * cleared first. */
static bool piece_write(int fd, const void *piece, uint64_t bytes, uint64_t offset)
{
    const char *from = piece;
    while (bytes) {
        ssize_t wrote = pwrite(fd, from, bytes, (off_t)offset);
        if (wrote <= 0)
            return false;
        from += wrote;
        offset += (uint64_t)wrote;
        bytes -= (uint64_t)wrote;
    }
    return true;
}

/* Where the words of a plan's first thread begin. */
static uint64_t words_start(void)
{
    return offset_align(sizeof(struct plan));
}

/*
 * Room for one more word. With one thread the words go to the memfd a MiB at a time, from a buffer
 * that stays in the cache; the words of several threads are collected apart first.
 */
static __attribute__((noinline)) bool words_room(struct builder *b, struct thread *t)
{
    if (b->looked_ahead || t->count < WORDS_BUFFER)
        return grow_more(b, (void **)&t->words, t->count, &t->room, sizeof *t->words);
    if (!piece_write(b->fd, t->words, t->count * sizeof *t->words,
                     words_start() + b->streamed * sizeof *t->words)) {
        b->refusal = OUT_OF_MEMORY;
        return false;
    }
    b->streamed += t->count;
    t->count = 0;
    return true;
}

/* The thread whose words those of `thread` stand among. */
static inline uint32_t words_owner(const struct builder *b, uint32_t thread)
{
    return b->plan.flags & PLAN_MERGED ? 0 : thread;
}

static __attribute__((noinline)) bool run_begin(struct builder *b, uint32_t thread)
{
    if (b->plan.runs && b->runs[b->plan.runs - 1].words == UINT32_MAX)
        b->refusal =
            "more than 4,294,967,295 words without a change of thread; replay a part of the trace";
    if (!grow(b, &b->runs, b->plan.runs, &b->run_room, sizeof *b->runs))
        return false;
    b->runs[b->plan.runs++] = (struct plan_run){.thread = words_owner(b, thread), .words = 0};
    return true;
}

static inline void word_put(struct builder *b, uint32_t thread, uint64_t word)
{
    uint32_t owner = words_owner(b, thread);
    struct thread *t = &b->threads[owner];
    const struct plan_run *last = b->plan.runs ? &b->runs[b->plan.runs - 1] : NULL;
    if (!last || last->thread != owner || last->words == UINT32_MAX) {
        if (!run_begin(b, thread))
            return;
    }
    if (t->count == t->room && !words_room(b, t))
        return;
    t->words[t->count++] = word;
    b->runs[b->plan.runs - 1].words++;
}

static void context_put(struct builder *b, uint32_t thread, unsigned kind, uint32_t slot,
                        uint32_t low)
{
    word_put(b, thread, plan_word(kind, slot, low));
}

static void thread_put(struct builder *b, uint32_t thread, enum plan_kind kind)
{
    if (!(b->plan.flags & PLAN_MERGED))
        context_put(b, thread, kind, 0, 0);
}

static void rare_put(struct builder *b, uint32_t thread, unsigned kind, uint32_t slot,
                     uint64_t size, uint64_t old, unsigned align_log2)
{
    word_put(b, thread, plan_word(PLAN_RARE, slot, (uint32_t)size));
    word_put(b, thread, plan_rare_word(kind, align_log2, size, old));
}

/* ---- slots ---- */

static uint32_t slot_new(struct builder *b, uint32_t count)
{
    if (b->plan.slots + count > PLAN_MAX_SLOTS) {
        b->refusal = PLAN_TOO_MANY_OBJECTS;
        return NO_SLOT;
    }
    while (b->slot_room < b->plan.slots + count)
        if (!grow(b, &b->objects, b->slot_room, &b->slot_room, sizeof *b->objects))
            return NO_SLOT;
    b->plan.slots += count;
    return (uint32_t)(b->plan.slots - count);
}

/* New slots for an object of the thread; with PLAN_PARALLEL, out of lines of its own. */
static uint32_t slot_of_thread(struct builder *b, struct thread *t, bool shared)
{
    uint32_t count = shared ? 2 : 1;
    if (!(b->plan.flags & PLAN_PARALLEL))
        return slot_new(b, count);
    if (t->own[shared] == t->own_end[shared]) {
        uint32_t slot = slot_new(b, OWN_SLOTS);
        if (slot == NO_SLOT)
            return slot;
        t->own[shared] = slot;
        t->own_end[shared] = slot + OWN_SLOTS;
    }
    uint32_t slot = t->own[shared];
    t->own[shared] += count;
    return slot;
}

/* Free slots of a shared object, NO_SLOT if there are none: the last that came back, or for a
   parallel replay the first, and only when PAIRS_SPARE more have. */
static uint32_t pair_take(struct builder *b, struct thread *t)
{
    if (!(b->plan.flags & PLAN_PARALLEL))
        return t->pair_count ? t->free_pairs[--t->pair_count] : NO_SLOT;
    if (t->pair_count - t->pair_first <= PAIRS_SPARE)
        return NO_SLOT;
    uint32_t slot = t->free_pairs[t->pair_first++];
    if (t->pair_first == PAIRS_SPARE) {
        t->pair_count -= t->pair_first;
        memmove(t->free_pairs, t->free_pairs + t->pair_first, t->pair_count * sizeof slot);
        t->pair_first = 0;
    }
    return slot;
}

static uint32_t slot_take(struct builder *b, uint32_t thread, bool shared)
{
    struct thread *t = &b->threads[thread];
    if (!shared)
        return t->free_count ? t->free_slots[--t->free_count] : slot_of_thread(b, t, false);
    uint32_t slot = pair_take(b, t);
    if (slot != NO_SLOT)
        return slot;
    slot = slot_of_thread(b, t, true);
    while (slot != NO_SLOT && b->turn_room <= slot) {
        uint64_t before = b->turn_room;
        if (!grow(b, &b->turns, b->turn_room, &b->turn_room, sizeof *b->turns))
            return NO_SLOT;
        memset(b->turns + before, 0, (b->turn_room - before) * sizeof *b->turns);
    }
    return slot;
}

/* A slot goes back to the thread that took it, so that a private slot never changes hands. */
static void slot_give(struct builder *b, uint32_t slot)
{
    const struct object *o = &b->objects[slot];
    struct thread *t = &b->threads[o->thread];
    if (o->shared)
        slot_push(b, &t->free_pairs, &t->pair_count, &t->pair_room, slot);
    else
        slot_push(b, &t->free_slots, &t->free_count, &t->free_room, slot);
}

static void shared_put(struct builder *b, uint32_t thread, uint32_t slot)
{
    if (b->objects[slot].shared)
        context_put(b, thread, PLAN_SHARED, slot, b->turns[slot]++);
}

/* ---- threads and scopes ---- */

static __attribute__((noinline)) bool thread_begin(struct builder *b, uint32_t thread)
{
    while (b->plan.threads <= thread) {
        if (!grow(b, &b->threads, b->plan.threads, &b->thread_room, sizeof *b->threads))
            return false;
        memset(&b->threads[b->plan.threads], 0, sizeof *b->threads);
        b->threads[b->plan.threads++].scope = TRACE_NO_SCOPE;
    }
    struct thread *t = &b->threads[thread];
    if (t->state == 2) {
        b->refusal = PLAN_THREAD_ENDED;
        return false;
    }
    if (t->state == 0) {
        t->state = 1;
        thread_put(b, thread, PLAN_START);
    }
    return !b->refusal;
}

static inline bool thread_ready(struct builder *b, uint32_t thread)
{
    return (thread < b->plan.threads && b->threads[thread].state == 1) || thread_begin(b, thread);
}

/* The thread's current scope, with closed ones replaced by the nearest open one around them. */
static uint64_t scope_current(struct builder *b, struct thread *t)
{
    while (t->scope != TRACE_NO_SCOPE && !b->scopes[t->scope].open)
        t->scope = b->scopes[t->scope].parent;
    return t->scope;
}

static uint32_t scope_slot(const struct builder *b, uint64_t id)
{
    return id == TRACE_NO_SCOPE ? 0 : b->scopes[id].slot;
}

static void scope_use(struct builder *b, uint32_t thread, uint64_t id)
{
    uint32_t slot = scope_slot(b, id);
    if (b->threads[thread].emitted_slot == slot)
        return;
    b->threads[thread].emitted_slot = slot;
    context_put(b, thread, PLAN_SWITCH, slot, 0);
}

static uint32_t scope_slot_take(struct builder *b)
{
    struct stack *s = &b->free_scope_slots;
    if (s->count)
        return s->items[--s->count];
    if (b->plan.scope_slots >= PLAN_MAX_SLOTS) {
        b->refusal = "more than 268,435,456 scopes open at once: too many for a plan";
        return 0;
    }
    return (uint32_t)b->plan.scope_slots++;
}

static void scope_begin(struct builder *b, const struct trace_op *op)
{
    struct thread *t = &b->threads[op->thread];
    uint64_t parent = scope_current(b, t);
    scope_use(b, op->thread, parent);
    if (parent == TRACE_NO_SCOPE && b->plan.flags & PLAN_ARRIVALS) {
        context_put(b, op->thread, PLAN_ARRIVE,
                    (uint32_t)(op->clock_ns >> 32) & (PLAN_MAX_SLOTS - 1), (uint32_t)op->clock_ns);
        b->plan.arrivals++;
    }
    if (!grow(b, &b->scopes, b->scope_count, &b->scope_room, sizeof *b->scopes))
        return;
    uint64_t id = b->scope_count++;
    uint32_t slot = b->plan.release == PLAN_RELEASE_SCOPE ? scope_slot_take(b) : 0;
    b->scopes[id] =
        (struct scope){.parent = parent, .end = b->fates.scope_ends[id], .slot = slot, .open = 1};
    b->open_scopes++;
    t->scope = id;
    t->emitted_slot = slot;
    if (slot)
        context_put(b, op->thread, PLAN_BEGIN, slot, 0);
}

static void scope_close(struct builder *b, uint32_t thread, uint64_t id)
{
    struct thread *t = &b->threads[thread];
    struct scope *s = &b->scopes[id];
    s->open = 0;
    b->open_scopes--;
    if (!s->slot)
        return;
    if (t->emitted_slot == s->slot)
        t->emitted_slot = scope_slot(b, scope_current(b, t));
    context_put(b, thread, PLAN_END, s->slot, t->emitted_slot);
    struct stack *free = &b->free_scope_slots;
    slot_push(b, &free->items, &free->count, &free->room, s->slot);
}

static void scope_op(struct builder *b, const struct trace_op *op)
{
    bool none = op->kind == TRACE_SCOPE_SWITCH && op->scope == TRACE_NO_SCOPE;
    if (op->kind == TRACE_SCOPE_BEGIN) {
        scope_begin(b, op);
    } else if (!none && (op->scope >= b->scope_count || !b->scopes[op->scope].open)) {
        b->refusal = "a scope is ended or switched to that is not open";
    } else if (op->kind == TRACE_SCOPE_END) {
        scope_close(b, op->thread, op->scope);
    } else {
        b->threads[op->thread].scope = op->scope;
    }
}

/* ---- objects ---- */

/* The innermost open scope, from the thread's current one outwards, that lives as long as the
 * object. */
static uint64_t scope_place(struct builder *b, const struct trace_op *op, uint64_t id,
                            uint64_t size)
{
    uint64_t scope = scope_current(b, &b->threads[op->thread]);
    if (scope == TRACE_NO_SCOPE)
        return scope;
    uint64_t end = b->fates.objects[id].end;
    if (end == (UINT64_C(1) << 40) - 1)
        end = FATE_NEVER;
    uint64_t place = scope;
    while (place != TRACE_NO_SCOPE && (!b->scopes[place].open || b->scopes[place].end < end))
        place = b->scopes[place].parent;
    if (place != scope) {
        b->plan.escaped_objects++;
        b->plan.escaped_bytes += size;
    }
    return place;
}

static void align_note(struct builder *b, const struct trace_op *op)
{
    if (op->align_log2 > b->plan.max_align_log2)
        b->plan.max_align_log2 = op->align_log2;
}

static void live_grow(struct builder *b, uint64_t bytes)
{
    b->live_bytes += bytes;
    if (b->live_bytes > b->plan.peak_requested_bytes)
        b->plan.peak_requested_bytes = b->live_bytes;
}

static void object_make(struct builder *b, const struct trace_op *op)
{
    uint64_t id = b->plan.objects, size = op->size ? op->size : 1;
    if (size > TRACE_MAX_SIZE) {
        b->refusal = PLAN_TOO_LARGE;
        return;
    }
    if (!grow(b, &b->slot_of, id, &b->object_room, sizeof *b->slot_of))
        return;
    bool shared = b->looked_ahead && b->plan.flags & (PLAN_PARALLEL | PLAN_OBSERVE) &&
                  b->fates.objects[id].shared;
    uint32_t slot = slot_take(b, op->thread, shared);
    if (slot == NO_SLOT)
        return;
    b->slot_of[b->plan.objects++] = slot;
    b->plan.shared_objects += shared;
    uint64_t place = b->open_scopes ? scope_place(b, op, id, size) : TRACE_NO_SCOPE;
    bool dropped = place != TRACE_NO_SCOPE && b->plan.release == PLAN_RELEASE_SCOPE;
    b->objects[slot] = (struct object){.scope_slot = scope_slot(b, place),
                                       .thread = op->thread,
                                       .size = size,
                                       .shared = shared,
                                       .dropped = dropped};
    scope_use(b, op->thread, place);
    shared_put(b, op->thread, slot);
    align_note(b, op);
    unsigned kind = op->kind == TRACE_CALLOC ? PLAN_CALLOC : PLAN_ALLOC;
    if (op->align_log2 > 4 || size > UINT32_MAX)
        rare_put(b, op->thread, kind, slot, size, 0, op->align_log2);
    else
        word_put(b, op->thread, plan_word(kind, slot, (uint32_t)size));
    live_grow(b, size);
    if (++b->live_objects > b->plan.peak_live_objects)
        b->plan.peak_live_objects = b->live_objects;
}

static void owner_put(struct builder *b, uint32_t thread, const struct object *o)
{
    if (o->scope_slot != b->threads[thread].emitted_slot)
        context_put(b, thread, PLAN_OWNER, o->scope_slot, 0);
}

static void object_end(struct builder *b, uint32_t thread, uint64_t id, bool sized)
{
    uint32_t slot = b->slot_of[id];
    const struct object *o = &b->objects[slot];
    unsigned kind = o->dropped ? PLAN_DROP : sized ? PLAN_SIZED : PLAN_FREE;
    b->plan.dropped_frees += o->dropped;
    if (!o->dropped || b->plan.flags & PLAN_OBSERVE) {
        if (!o->dropped)
            owner_put(b, thread, o);
        shared_put(b, thread, slot);
        if (o->size > UINT32_MAX)
            rare_put(b, thread, kind, slot, o->size, 0, 0);
        else
            word_put(b, thread, plan_word(kind, slot, (uint32_t)o->size));
    }
    b->slot_of[id] = NO_SLOT;
    b->live_bytes -= o->size;
    b->live_objects--;
    slot_give(b, slot);
}

static void object_resize(struct builder *b, const struct trace_op *op)
{
    uint32_t slot = b->slot_of[op->object];
    struct object *o = &b->objects[slot];
    uint64_t size = op->size ? op->size : 1;
    if (size > TRACE_MAX_SIZE) {
        b->refusal = PLAN_TOO_LARGE;
        return;
    }
    owner_put(b, op->thread, o);
    shared_put(b, op->thread, slot);
    align_note(b, op);
    rare_put(b, op->thread, PLAN_RARE_REALLOC, slot, size, o->size, op->align_log2);
    b->live_bytes -= o->size;
    live_grow(b, size);
    o->size = size;
}

static void call_op(struct builder *b, const struct trace_op *op)
{
    if (trace_makes_object(op)) {
        object_make(b, op);
    } else if (op->flags & (TRACE_FAILED | TRACE_NULL)) {
        word_put(b, op->thread, plan_word(PLAN_NOP, 0, 0));
    } else if (op->object >= b->plan.objects || b->slot_of[op->object] == NO_SLOT) {
        b->refusal = PLAN_NOT_LIVE;
    } else if (trace_ends_object(op)) {
        object_end(b, op->thread, op->object, op->flags & TRACE_SIZED);
    } else {
        object_resize(b, op);
    }
}

/* What was live at the start has been made; the calls begin in a run of their own. */
static bool start_end(struct builder *b, uint32_t thread)
{
    b->plan.start_objects = b->plan.objects;
    b->plan.start_runs = b->plan.runs;
    return run_begin(b, thread);
}

static void op_add(struct builder *b, const struct trace_op *op)
{
    bool scoped = op->kind >= TRACE_SCOPE_BEGIN && op->kind <= TRACE_SCOPE_SWITCH;
    if (!b->looked_ahead && (op->thread || scoped)) {
        b->refusal =
            "the index says one thread and no scopes, but here is another; the index is wrong";
        return;
    }
    if (!thread_ready(b, op->thread))
        return;
    if (trace_is_call(op->kind) && !b->plan.ops++ && b->plan.objects && !start_end(b, op->thread))
        return;
    if (op->kind <= TRACE_FREE || op->kind == TRACE_LIVE) {
        call_op(b, op);
    } else if (op->kind <= TRACE_SCOPE_SWITCH) {
        scope_op(b, op);
    } else if (op->kind == TRACE_THREAD_END) {
        b->threads[op->thread].state = 2;
        thread_put(b, op->thread, PLAN_STOP);
    }
}

/* ---- the epilogue ---- */

/* The first thread that still runs, or else the first, started again; in a run of its own. */
static uint32_t epilogue_thread(struct builder *b)
{
    uint32_t thread = 0;
    while (thread < b->plan.threads && b->threads[thread].state != 1)
        thread++;
    if (thread == b->plan.threads)
        thread = 0;
    if (run_begin(b, thread) && b->threads[thread].state != 1) {
        b->threads[thread].state = 0;
        thread_ready(b, thread);
    }
    return thread;
}

/* Frees and closes all that is left, on one thread, so that the plan can run again from its
 * beginning. */
static void epilogue_add(struct builder *b)
{
    uint64_t dropped = b->plan.dropped_frees; /* the epilogue's are not counted */
    b->plan.main_runs = b->plan.runs;
    if (!b->plan.threads)
        return;
    uint32_t thread = epilogue_thread(b);
    b->threads[thread].scope = TRACE_NO_SCOPE;
    scope_use(b, thread, TRACE_NO_SCOPE);
    for (uint64_t id = 0; id < b->plan.objects && !b->refusal; id++)
        if (b->slot_of[id] != NO_SLOT)
            object_end(b, thread, id, false);
    for (uint64_t id = b->scope_count; id-- > 0 && !b->refusal;)
        if (b->scopes[id].open)
            scope_close(b, thread, id);
    for (uint32_t i = 0; i < b->plan.threads; i++)
        if (b->threads[i].state == 1)
            thread_put(b, i, PLAN_STOP);
    b->plan.dropped_frees = dropped;
}

/* ---- laying it out ---- */

/* Header, words of the first thread, runs, table of threads, words of the other threads. */
static void layout_make(struct builder *b)
{
    struct plan *p = &b->plan;
    uint64_t first = p->threads ? b->streamed + b->threads[0].count + PLAN_PREFETCH : 0;
    p->runs_offset = offset_align(words_start() + first * sizeof(uint64_t));
    p->threads_offset = offset_align(p->runs_offset + p->runs * sizeof(struct plan_run));
    p->bytes = offset_align(p->threads_offset + p->threads * sizeof(struct plan_thread));
    for (uint64_t i = 1; i < p->threads; i++)
        p->bytes =
            offset_align(p->bytes + (b->threads[i].count + PLAN_PREFETCH) * sizeof(uint64_t));
}

static bool layout_write(const struct builder *b)
{
    const struct plan *p = &b->plan;
    bool done = ftruncate(b->fd, (off_t)p->bytes) == 0 && piece_write(b->fd, p, sizeof *p, 0) &&
                piece_write(b->fd, b->runs, p->runs * sizeof *b->runs, p->runs_offset);
    uint64_t at = offset_align(p->threads_offset + p->threads * sizeof(struct plan_thread));
    for (uint64_t i = 0; i < p->threads && done; i++) {
        const struct thread *t = &b->threads[i];
        uint64_t before = i ? 0 : b->streamed;
        struct plan_thread row = {.words_offset = i ? at : words_start(),
                                  .words = before + t->count};
        done = piece_write(b->fd, &row, sizeof row, p->threads_offset + i * sizeof row) &&
               piece_write(b->fd, t->words, t->count * sizeof *t->words,
                           row.words_offset + before * sizeof *t->words);
        if (i)
            at = offset_align(at + (t->count + PLAN_PREFETCH) * sizeof *t->words);
    }
    return done;
}

static int plan_seal(struct builder *b, struct error *err)
{
    layout_make(b);
    if (!layout_write(b))
        return error_set(err, "plan: cannot write a memfd of %llu bytes: %s",
                         (unsigned long long)b->plan.bytes, strerror(errno));
    fcntl(b->fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW);
    return 0;
}

static void builder_free(struct builder *b)
{
    for (uint64_t i = 0; i < b->plan.threads; i++) {
        free(b->threads[i].words);
        free(b->threads[i].free_slots);
        free(b->threads[i].free_pairs);
    }
    free(b->threads);
    free(b->slot_of);
    free(b->objects);
    free(b->scopes);
    free(b->runs);
    free(b->turns);
    free(b->free_scope_slots.items);
    fates_free(&b->fates);
}

/*
 * The fast way for what most traces are nearly all of: plain allocs and frees of one thread outside
 * scopes, below 4 GiB. It does what object_make() and object_end() do there, with the state in
 * registers, and stops at the first op that is anything else or needs an array to grow; returns how
 * many ops it took.
 */
static unsigned plain_ops(struct builder *b, const struct trace_op *ops, unsigned count)
{
    struct thread *t = b->threads;
    struct object *objects = b->objects;
    uint32_t *slot_of = b->slot_of;
    struct plan_run *run = b->plan.runs ? &b->runs[b->plan.runs - 1] : NULL;
    uint64_t made = b->plan.objects, words = t ? t->count : 0, live = b->live_bytes;
    uint64_t live_objects = b->live_objects, free_count = t ? t->free_count : 0;
    unsigned i = 0;
    if (b->looked_ahead || !b->plan.ops || t->state != 1 || UINT32_MAX - run->words < BATCH)
        return 0;
    for (; i < count && words < t->room; i++) {
        const struct trace_op *op = &ops[i];
        if (op->flags || op->align_log2 > 4 || op->thread)
            break;
        if (op->kind == TRACE_ALLOC && op->size - 1 < UINT32_MAX && made < b->object_room &&
            free_count) {
            uint32_t slot = t->free_slots[--free_count];
            slot_of[made++] = slot;
            objects[slot] = (struct object){.size = op->size};
            t->words[words++] = plan_word(PLAN_ALLOC, slot, (uint32_t)op->size);
            live += op->size;
            if (live > b->plan.peak_requested_bytes)
                b->plan.peak_requested_bytes = live;
            if (++live_objects > b->plan.peak_live_objects)
                b->plan.peak_live_objects = live_objects;
        } else if (op->kind == TRACE_FREE && op->object < made && slot_of[op->object] != NO_SLOT &&
                   objects[slot_of[op->object]].size <= UINT32_MAX && free_count < t->free_room) {
            uint32_t slot = slot_of[op->object];
            uint64_t size = objects[slot].size;
            t->words[words++] = plan_word(PLAN_FREE, slot, (uint32_t)size);
            t->free_slots[free_count++] = slot;
            slot_of[op->object] = NO_SLOT;
            live -= size;
            live_objects--;
        } else {
            break;
        }
    }
    run->words += i;
    t->count = words;
    t->free_count = free_count;
    b->plan.objects = made;
    b->plan.ops += i;
    b->live_bytes = live;
    b->live_objects = live_objects;
    return i;
}

/* Reads up to BATCH ops and prefetches the slots of their objects, which lie all over a large
   table; returns what trace_next said last. */
static int batch_read(struct builder *b, struct trace_reader *trace, struct trace_op *ops,
                      unsigned *count, struct error *err)
{
    int more = 1;
    for (*count = 0; *count < BATCH && (more = trace_next(trace, &ops[*count], err)) == 1; ++*count)
        if (ops[*count].object < b->object_room)
            __builtin_prefetch(&b->slot_of[ops[*count].object], 1);
    return more;
}

static int words_build(struct builder *b, struct trace_reader *trace, struct error *err)
{
    struct trace_op ops[BATCH];
    unsigned count;
    int more = 1;
    while (more == 1) {
        more = batch_read(b, trace, ops, &count, err);
        for (unsigned i = 0; i < count; i++, b->record++) {
            unsigned plain = plain_ops(b, ops + i, count - i);
            i += plain;
            b->record += plain;
            if (i == count)
                break;
            op_add(b, &ops[i]);
            if (b->refusal)
                return plan_refuse_ahead(err, trace, b->record, b->refusal);
        }
    }
    if (more)
        return -1;
    epilogue_add(b);
    return b->refusal ? plan_refuse(err, trace, b->record, b->refusal) : 0;
}

int plan_build(struct trace_reader *trace, enum plan_release release, unsigned flags, int *fd,
               struct error *err)
{
    struct builder b = {
        .plan = {.magic = PLAN_MAGIC, .scope_slots = 1, .release = release, .flags = flags}};
    const struct trace_totals *totals = trace_reader_totals(trace);
    b.plan.clocked = trace_has_clock(trace);
    b.looked_ahead = !totals->records || totals->threads > 1 || totals->scopes;
    b.fd = memfd_create("alloclab-plan", MFD_ALLOW_SEALING);
    int result =
        b.fd < 0 ? error_set(err, "plan: no memfd: %s", strerror(errno)) : trace_rewind(trace, err);
    if (!result && !array_reserve(&b.slot_of, &b.object_room, totals->objects, sizeof *b.slot_of))
        result = error_set(err, "%s: %llu objects: %s", trace_name(trace),
                           (unsigned long long)totals->objects, OUT_OF_MEMORY);
    if (!result && b.looked_ahead)
        result = fates_read(&b.fates, trace, err);
    if (!result)
        result = words_build(&b, trace, err);
    if (!result)
        result = plan_seal(&b, err);
    if (result && b.fd >= 0)
        close(b.fd);
    *fd = b.fd;
    builder_free(&b);
    return result;
}
