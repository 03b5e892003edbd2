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
#include "harness/verify.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define CHECKS_WANTED 200

/* True for the first that asks: what is found after it may be its consequence. */
static bool first_found(struct verify *v)
{
    return !__atomic_exchange_n(&v->refused, 1, __ATOMIC_RELAXED);
}

bool verify_refuse(struct verify_thread *t, const void *p, const char *format, ...)
{
    char why[256];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    if (first_found(t->v))
        outcome_fail(t->v->setup->outcome, OUTCOME_FAILED, "%sop %llu, object at %p: %s", t->where,
                     (unsigned long long)t->o.op, p, why);
    return false;
}

void verify_exhausted(struct verify_thread *t)
{
    if (first_found(t->v))
        cell_heap_exhausted(&t->v->h, t->v->setup, "%sop %llu: the allocator returned NULL",
                            t->where, (unsigned long long)t->o.op);
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

static bool content_check(struct verify_thread *t, const struct object_at *object, size_t bytes)
{
    size_t at = pattern_compare(object->p, t->blocks[object->slot].key, bytes);
    if (at == bytes)
        return true;
    return verify_refuse(t, object->p, "byte %zu of %zu is not what the program wrote", at,
                         object->size);
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

static bool block_take(struct verify_thread *t, const struct object_at *object)
{
    struct verify *v = t->v;
    uintptr_t address = (uintptr_t)object->p;
    size_t usable = v->design->usable ? v->design->usable(object->view, object->p) : object->size;
    size_t align = align_due(v, object);
    if (address % align)
        return verify_refuse(t, object->p, "not aligned to %zu bytes", align);
    if (usable < object->size)
        return verify_refuse(t, object->p, "usable() is %zu bytes, %zu were asked for", usable,
                             object->size);
    uintptr_t taken = shadow_take(v->shadow, address, usable);
    if (taken == UINTPTR_MAX)
        return verify_refuse(t, object->p, "no memory for the oracle's map of %zu bytes", usable);
    if (taken)
        return verify_refuse(t, object->p, "%zu bytes overlap a live object at %#zx", usable,
                             (size_t)taken);
    t->blocks[object->slot].size = object->size;
    t->blocks[object->slot].extent = usable;
    return true;
}

bool verify_made(void *ctx, const struct object_at *object)
{
    struct verify_thread *t = ctx;
    struct block *block = &t->blocks[object->slot];
    const unsigned char *p = object->p;
    if (!block_take(t, object))
        return false;
    for (size_t i = 0; object->zeroed && i < object->size; i++)
        if (p[i])
            return verify_refuse(t, p, "byte %zu of %zu zeroed ones is %u", i, object->size, p[i]);
    block->key = __atomic_add_fetch(&t->v->objects, 1, __ATOMIC_RELAXED);
    pattern_fill(object->p, block->key, 0, block->extent);
    return true;
}

bool verify_ending(void *ctx, const struct object_at *object)
{
    struct verify_thread *t = ctx;
    struct block *block = &t->blocks[object->slot];
    if (!block->extent || !object->p)
        return verify_refuse(t, object->p, "it is not live: not made yet, or freed before");
    if (!content_check(t, object, block->extent))
        return false;
    shadow_give(t->v->shadow, (uintptr_t)object->p, block->extent);
    block->extent = 0;
    return true;
}

bool verify_moved(void *ctx, const struct object_at *object, size_t old)
{
    struct verify_thread *t = ctx;
    struct block *block = &t->blocks[object->slot];
    if (!block_take(t, object))
        return false;
    size_t kept = old < object->size ? old : object->size;
    if (!content_check(t, object, kept))
        return false;
    pattern_fill(object->p, block->key, kept, block->extent);
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

bool verify_heap(struct verify_thread *t)
{
    struct verify *v = t->v;
    const struct allocator *a = v->design;
    const char *broken = a->check ? a->check(v->h.heap) : NULL;
    if (broken)
        return verify_refuse(t, NULL, "check(): %s", broken);
    if (!a->walk || a->traits & ALLOCATOR_FOREIGN)
        return true;
    v->walk_sum = 0;
    v->wrong_at = 0;
    a->walk(v->h.heap, verify_walk, v);
    v->walks++;
    uint64_t committed = os_counts(v->h.os).committed_bytes;
    if (v->walk_sum != committed)
        return verify_refuse(t, NULL, "sum(walk) is %llu bytes, committed %llu",
                             (unsigned long long)v->walk_sum, (unsigned long long)committed);
    if (v->wrong_at)
        return verify_refuse(t, (void *)v->wrong_at, "live, but walk() calls [%#zx, +%zu) kind %d",
                             (size_t)v->wrong.address, v->wrong.bytes, (int)v->wrong.kind);
    return true;
}

static bool verify_step(void *ctx, uint64_t op)
{
    struct verify_thread *t = ctx;
    cell_heap_tick(&t->v->h, t->v->setup, op);
    return op % t->v->check_every ? true : verify_heap(t);
}

static const struct observe_hooks verify_hooks = {.made = verify_made,
                                                  .ending = verify_ending,
                                                  .moving = verify_ending,
                                                  .moved = verify_moved,
                                                  .step = verify_step};

/* ---- the pass ---- */

static bool verify_replay(struct verify_thread *t)
{
    enum observe_result result = OBSERVE_NO_MEMORY;
    if (replay_pass_begin(&t->o.replay) && verify_heap(t))
        result = observe_parts(&t->o, PLAN_PART_START, PLAN_PART_END);
    if (result == OBSERVE_NO_MEMORY)
        verify_exhausted(t);
    if (result != OBSERVE_DONE || !verify_heap(t))
        return false;
    replay_pass_end(&t->o.replay);
    return verify_heap(t);
}

void verify_end(struct verify *v)
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

static void verify_serial(struct verify *v)
{
    struct verify_thread t = {
        .v = v, .blocks = v->blocks, .o = {.hooks = &verify_hooks, .ctx = &t}, .where = ""};
    if (!cell_replay_open(&v->h, &t.o.replay, v->setup, true, TOUCH_NONE))
        return;
    t.o.replay.ring = v->setup->ring;
    if (verify_replay(&t))
        verify_end(v);
    replay_close(&t.o.replay);
}

void verify_pass(const struct cell_setup *setup)
{
    struct verify v = {.setup = setup, .design = setup->spec->design};
    unsigned copies = setup->parallel.copies ? setup->parallel.copies : 1;
    v.blocks_bytes = (setup->plan->slots * copies + 1) * sizeof *v.blocks;
    if (v.design->traits & ALLOCATOR_FAKE) {
        outcome_fail(setup->outcome, OUTCOME_NOT_APPLICABLE,
                     "hands out memory that it does not manage");
        return;
    }
    v.shadow = shadow_new();
    v.blocks =
        mmap(NULL, v.blocks_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    v.check_every = setup->plan->ops / CHECKS_WANTED + 1;
    if (!v.shadow || v.blocks == MAP_FAILED) {
        outcome_fail(setup->outcome, OUTCOME_OOM, "no memory for the oracle's tables: %s",
                     strerror(errno));
        return;
    }
    if (setup->parallel.copies)
        verify_parallel(&v);
    else
        verify_serial(&v);
    munmap(v.blocks, v.blocks_bytes);
    shadow_free(v.shadow);
}
