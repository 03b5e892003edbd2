/*
 * verify.c - the oracle: replays a plan and holds the design to what a program relies on.
 *
 *   alignment    what was asked for, and at least 16 bytes
 *   overlap      no block shares a granule with a live one, nor lies inside one or around one
 * (shadow.h) content      every byte of a block is a pattern of its own until the free; realloc
 * keeps what fits zeroed       calloc's bytes are zero usable       at least what was asked for,
 * and the program may use all of it walk         sum(walk) == committed, and no live byte is called
 * META, FREE or UNUSED check()      the design's own invariants, at the start, the end and some 200
 * instants between returned     after destroy() the door has nothing committed or reserved
 *
 * Cost O(bytes) for the pattern and O(bytes / 1024) for the overlap, so it scales with the trace
 * and not with what is live. Its tables are mapped, never malloc'd.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "harness/observe.h"
#include "harness/pass.h"
#include "harness/shadow.h"

#define CHECKS_WANTED 200

struct block {
    uint64_t key;    /* of the pattern */
    uint64_t extent; /* bytes taken in the shadow */
};

struct verify {
    const struct cell_setup *setup;
    const struct allocator *design;
    struct cell_heap h;
    struct observe o;
    struct shadow *shadow;
    struct block *blocks; /* by slot */
    uint64_t objects;     /* made so far */
    uint64_t check_every, walks, walk_sum;
    struct walk_item wrong; /* the first item that holds a live byte it must not */
    uintptr_t wrong_at;
};

__attribute__((format(printf, 3, 4))) static bool refuse(struct verify *v, const void *p,
                                                         const char *format, ...)
{
    char why[256];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    outcome_fail(v->setup->outcome, OUTCOME_FAILED, "op %llu, object at %p: %s",
                 (unsigned long long)v->o.op, p, why);
    return false;
}

/* ---- content: byte i of a block is a mix of its object's number and i / 8, so that what an
   earlier object left behind is never taken for it ---- */

static uint64_t pattern_word(uint64_t key, size_t i)
{
    return (key + UINT64_C(0x9e3779b97f4a7c15)) * (2 * (uint64_t)i + 1);
}

static void pattern_fill(unsigned char *p, uint64_t key, size_t from, size_t to)
{
    for (size_t i = from; i < to;) {
        uint64_t word = pattern_word(key, i / 8);
        size_t count = 8 - i % 8 < to - i ? 8 - i % 8 : to - i;
        memcpy(p + i, (unsigned char *)&word + i % 8, count);
        i += count;
    }
}

/* The first byte that differs, or `bytes`. */
static size_t pattern_compare(const unsigned char *p, uint64_t key, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word = pattern_word(key, i / 8);
        size_t count = bytes - i < 8 ? bytes - i : 8;
        if (memcmp(p + i, &word, count) == 0)
            continue;
        while (p[i] == ((unsigned char *)&word)[i % 8])
            i++;
        return i;
    }
    return bytes;
}

static bool content_check(struct verify *v, const struct object_at *object, size_t bytes)
{
    size_t at = pattern_compare(object->p, v->blocks[object->slot].key, bytes);
    if (at == bytes)
        return true;
    return refuse(v, object->p, "byte %zu of %zu is not what the program wrote", at, object->size);
}

/* ---- the object's hooks ---- */

/*
 * The alignment that the object must have. Whatever malloc a process has promises less than the
 * contract: fewer than 16 bytes need hold only objects that fit into them.
 */
static size_t align_due(const struct verify *v, const struct object_at *object)
{
    bool fits_less = v->design->traits & ALLOCATOR_FOREIGN && object->size < ALLOCATOR_ALIGN &&
                     object->align == ALLOCATOR_ALIGN;
    return fits_less ? ALLOCATOR_ALIGN / 2 : object->align;
}

static bool block_take(struct verify *v, const struct object_at *object)
{
    uintptr_t address = (uintptr_t)object->p;
    size_t usable = v->design->usable ? v->design->usable(object->view, object->p) : object->size;
    size_t align = align_due(v, object);
    if (address % align)
        return refuse(v, object->p, "not aligned to %zu bytes", align);
    if (usable < object->size)
        return refuse(v, object->p, "usable() is %zu bytes, %zu were asked for", usable,
                      object->size);
    uintptr_t taken = shadow_take(v->shadow, address, usable);
    if (taken == UINTPTR_MAX)
        return refuse(v, object->p, "no memory for the oracle's map of %zu bytes", usable);
    if (taken)
        return refuse(v, object->p, "%zu bytes overlap a live object at %#zx", usable,
                      (size_t)taken);
    v->blocks[object->slot].extent = usable;
    return true;
}

static bool verify_made(void *ctx, const struct object_at *object)
{
    struct verify *v = ctx;
    const unsigned char *p = object->p;
    if (!block_take(v, object))
        return false;
    for (size_t i = 0; object->zeroed && i < object->size; i++)
        if (p[i])
            return refuse(v, p, "byte %zu of %zu zeroed ones is %u", i, object->size, p[i]);
    v->blocks[object->slot].key = ++v->objects;
    pattern_fill(object->p, v->blocks[object->slot].key, 0, v->blocks[object->slot].extent);
    return true;
}

static bool verify_ending(void *ctx, const struct object_at *object)
{
    struct verify *v = ctx;
    if (!content_check(v, object, v->blocks[object->slot].extent))
        return false;
    shadow_give(v->shadow, (uintptr_t)object->p, v->blocks[object->slot].extent);
    return true;
}

static bool verify_moved(void *ctx, const struct object_at *object, size_t old)
{
    struct verify *v = ctx;
    if (!block_take(v, object))
        return false;
    size_t kept = old < object->size ? old : object->size;
    if (!content_check(v, object, kept))
        return false;
    pattern_fill(object->p, v->blocks[object->slot].key, kept, v->blocks[object->slot].extent);
    return true;
}

/* ---- the heap's own account ---- */

static void verify_walk(void *ctx, const struct walk_item *item)
{
    struct verify *v = ctx;
    v->walk_sum += item->bytes;
    if (item->kind == WALK_LIVE || v->wrong_at)
        return;
    v->wrong_at = item->kind > WALK_UNUSED ? item->address
                                           : shadow_find(v->shadow, item->address, item->bytes);
    if (v->wrong_at)
        v->wrong = *item;
}

static bool heap_check(struct verify *v)
{
    const struct allocator *a = v->design;
    const char *broken = a->check ? a->check(v->h.heap) : NULL;
    if (broken)
        return refuse(v, NULL, "check(): %s", broken);
    if (!a->walk || a->traits & ALLOCATOR_FOREIGN)
        return true;
    v->walk_sum = 0;
    v->wrong_at = 0;
    a->walk(v->h.heap, verify_walk, v);
    v->walks++;
    uint64_t committed = os_counts(v->h.os).committed_bytes;
    if (v->walk_sum != committed)
        return refuse(v, NULL, "sum(walk) is %llu bytes, committed %llu",
                      (unsigned long long)v->walk_sum, (unsigned long long)committed);
    if (v->wrong_at)
        return refuse(v, (void *)v->wrong_at, "live, but walk() calls [%#zx, +%zu) kind %d",
                      (size_t)v->wrong.address, v->wrong.bytes, (int)v->wrong.kind);
    return true;
}

static bool verify_step(void *ctx, uint64_t op)
{
    struct verify *v = ctx;
    cell_heap_tick(&v->h, v->setup, op);
    return op % v->check_every ? true : heap_check(v);
}

static const struct observe_hooks verify_hooks = {.made = verify_made,
                                                  .ending = verify_ending,
                                                  .moving = verify_ending,
                                                  .moved = verify_moved,
                                                  .step = verify_step};

/* ---- the pass ---- */

static bool verify_replay(struct verify *v)
{
    const struct plan *plan = v->setup->plan;
    enum observe_result result = OBSERVE_NO_MEMORY;
    if (replay_pass_begin(&v->o.replay) && heap_check(v))
        result = observe_runs(&v->o, 0, plan->runs);
    if (result == OBSERVE_NO_MEMORY && !v->setup->outcome->status)
        cell_heap_exhausted(&v->h, v->setup, "op %llu: the allocator returned NULL",
                            (unsigned long long)v->o.op);
    if (result != OBSERVE_DONE || !heap_check(v))
        return false;
    replay_pass_end(&v->o.replay);
    return heap_check(v);
}

static void verify_end(struct verify *v)
{
    struct outcome *outcome = v->setup->outcome;
    v->design->destroy(v->h.heap);
    struct os_counts counts = os_counts(v->h.os);
    if (counts.committed_bytes || counts.reserved_bytes) {
        outcome_fail(outcome, OUTCOME_FAILED,
                     "after destroy() %zu bytes are committed and %zu reserved",
                     counts.committed_bytes, counts.reserved_bytes);
        return;
    }
    os_close(v->h.os);
    if (!(v->design->traits & ALLOCATOR_FOREIGN))
        outcome_set(outcome, METRIC_walks_count, (double)v->walks);
    outcome->status = OUTCOME_OK;
}

static void verify_run(struct verify *v)
{
    struct error err;
    if (!cell_heap_open(&v->h, v->setup, true))
        return;
    v->o = (struct observe){.hooks = &verify_hooks, .ctx = v};
    if (replay_open(&v->o.replay, v->setup->plan, v->design, v->h.heap, TOUCH_NONE, &err)) {
        outcome_fail(v->setup->outcome, OUTCOME_OOM, "%s", err.text);
        return;
    }
    if (verify_replay(v))
        verify_end(v);
    replay_close(&v->o.replay);
}

void verify_pass(const struct cell_setup *setup)
{
    struct verify v = {.setup = setup, .design = setup->spec->design};
    size_t bytes = (setup->plan->slots + 1) * sizeof *v.blocks;
    if (v.design->traits & ALLOCATOR_FAKE) {
        outcome_fail(setup->outcome, OUTCOME_NOT_APPLICABLE,
                     "hands out memory that it does not manage");
        return;
    }
    v.shadow = shadow_new();
    v.blocks = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    v.check_every = setup->plan->ops / CHECKS_WANTED + 1;
    if (!v.shadow || v.blocks == MAP_FAILED) {
        outcome_fail(setup->outcome, OUTCOME_OOM, "no memory for the oracle's tables: %s",
                     strerror(errno));
        return;
    }
    verify_run(&v);
    munmap(v.blocks, bytes);
    shadow_free(v.shadow);
}
