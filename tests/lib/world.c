/*
 * world.c - the random program. See world.h.
 */
#include "tests/lib/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/lib/bits.h"

/* ---- contents ---- */

static uint64_t word_of(uint64_t tag, size_t position)
{
    uint64_t state = tag * UINT64_C(0x100000001b3) + position;
    return rng_splitmix(&state);
}

void object_fill(struct object *o, uint64_t tag)
{
    o->tag = tag;
    for (size_t at = 0; at < o->size; at += 8) {
        uint64_t word = word_of(tag, at);
        memcpy(o->p + at, &word, size_min(8, o->size - at));
    }
}

void object_verify(const struct object *o, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 8) {
        uint64_t word = word_of(o->tag, at);
        if (memcmp(o->p + at, &word, size_min(8, bytes - at)))
            fail_msg("object of %zu bytes at %p has changed near byte %zu", o->size, (void *)o->p,
                     at);
    }
}

static void object_place(struct world *w, struct object *o, void *p)
{
    o->p = p;
    w->addresses = word_of(w->addresses, (uintptr_t)p);
    if (!is_aligned((uintptr_t)p, size_max(o->align, ALLOCATOR_ALIGN)))
        fail_msg("object of %zu bytes at %p is not aligned to %zu", o->size, p, o->align);
    object_fill(o, ++w->tags);
}

/* ---- steps ---- */

static size_t size_draw(struct world *w)
{
    unsigned bits = (unsigned)rng_below(&w->rng, log2_floor(w->mix.max_size) + 1);
    return size_min(((size_t)1 << bits) + rng_below(&w->rng, (size_t)1 << bits), w->mix.max_size);
}

static size_t align_draw(struct world *w)
{
    if (w->mix.aligned && rig_has(w->rig, ALLOCATOR_ANY_ALIGN) && rng_chance(&w->rng, 0.1))
        return (size_t)1 << rng_below(&w->rng, 14);
    return (size_t)1 << rng_below(&w->rng, 5);
}

static void object_make(struct world *w, struct object *o)
{
    o->size = size_draw(w);
    o->align = align_draw(w);
    o->scope =
        w->open[rng_chance(&w->rng, 0.8) ? w->open_count - 1 : rng_below(&w->rng, w->open_count)];
    struct heap *place = w->scopes[o->scope];
    bool zeroed = rng_chance(&w->rng, 0.2);
    char *p = zeroed ? rig_zalloc(w->rig, place, o->size, o->align)
                     : w->rig->design->alloc(place, o->size, o->align);
    if (!p) {
        w->refusals++;
        return;
    }
    for (size_t i = 0; zeroed && i < o->size; i++)
        if (p[i])
            fail_msg("byte %zu of a zeroed object of %zu bytes is not zero", i, o->size);
    object_place(w, o, p);
}

static void object_move(struct world *w, struct object *o)
{
    size_t size = size_draw(w), kept = size_min(size, o->size);
    void *p = rig_realloc(w->rig, w->scopes[o->scope], o->p, o->size, size, o->align);
    if (!p) {
        w->refusals++;
        object_verify(o, o->size);
        return;
    }
    o->p = p;
    object_verify(o, kept);
    o->size = size;
    object_place(w, o, p);
}

static void object_end(struct world *w, struct object *o)
{
    object_verify(o, o->size);
    rig_free(w->rig, w->scopes[o->scope], o->p, o->size, rng_chance(&w->rng, 0.5));
    o->p = NULL;
}

static void scope_open(struct world *w)
{
    unsigned slot = 1;
    while (w->scopes[slot])
        slot++;
    w->scopes[slot] = w->rig->design->scope_enter(w->scopes[w->open[w->open_count - 1]]);
    if (w->scopes[slot])
        w->open[w->open_count++] = slot;
    else
        w->refusals++;
}

static void scope_close(struct world *w, unsigned position)
{
    unsigned slot = w->open[position];
    for (unsigned i = 0; i < WORLD_OBJECTS; i++) {
        struct object *o = &w->objects[i];
        if (!o->p || o->scope != slot)
            continue;
        object_verify(o, o->size);
        o->p = NULL;
    }
    w->rig->design->scope_exit(w->scopes[slot]);
    w->scopes[slot] = NULL;
    w->open_count--;
    memmove(&w->open[position], &w->open[position + 1],
            (w->open_count - position) * sizeof w->open[0]);
}

static void scope_step(struct world *w)
{
    bool enter = w->open_count < WORLD_SCOPES && rng_chance(&w->rng, 0.5);
    if (enter)
        scope_open(w);
    else if (w->open_count > 1 && w->mix.scopes == WORLD_NESTED)
        scope_close(w, w->open_count - 1);
    else if (w->open_count > 1)
        scope_close(w, 1 + (unsigned)rng_below(&w->rng, w->open_count - 1));
}

static void upkeep_step(struct world *w)
{
    w->rig->clock_ns += 1000000;
    if (w->rig->design->trim && rng_chance(&w->rng, 0.5))
        w->rig->design->trim(w->rig->heap);
    if (w->rig->design->tick)
        w->rig->design->tick(w->rig->heap, w->rig->clock_ns);
}

/* ---- the program ---- */

void world_start(struct world *w, struct rig *rig, const struct world_mix *mix, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->rig = rig;
    w->mix = *mix;
    if (!rig->design->scope_enter)
        w->mix.scopes = WORLD_FLAT;
    w->rng = rng_stream(seed, 0);
    w->scopes[0] = rig->view;
    w->open_count = 1;
}

void world_run(struct world *w, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        if (w->mix.scopes != WORLD_FLAT && rng_chance(&w->rng, 0.03))
            scope_step(w);
        if (w->mix.upkeep && rng_chance(&w->rng, 0.01))
            upkeep_step(w);
        struct object *o = &w->objects[rng_below(&w->rng, WORLD_OBJECTS)];
        if (!o->p)
            object_make(w, o);
        else if (rng_chance(&w->rng, 0.25))
            object_move(w, o);
        else
            object_end(w, o);
    }
}

void world_verify(struct world *w)
{
    for (unsigned i = 0; i < WORLD_OBJECTS; i++)
        if (w->objects[i].p)
            object_verify(&w->objects[i], w->objects[i].size);
}

void world_free(struct world *w)
{
    for (unsigned i = 0; i < WORLD_OBJECTS; i++)
        if (w->objects[i].p)
            object_end(w, &w->objects[i]);
}

void world_stop(struct world *w)
{
    while (w->open_count > 1)
        scope_close(w, w->mix.scopes == WORLD_NESTED
                           ? w->open_count - 1
                           : 1 + (unsigned)rng_below(&w->rng, w->open_count - 1));
    world_verify(w);
    for (unsigned i = 0; i < WORLD_OBJECTS; i++)
        if (w->objects[i].p)
            rig_keep(w->rig, w->objects[i].p);
}

/* The item around the address; NULL = none. */
static const struct walk_item *item_find(const struct rig_items *items, uintptr_t address)
{
    size_t low = 0, high = items->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct walk_item *item = &items->item[middle];
        if (address - item->address < item->bytes)
            return item;
        if (address < item->address)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

void world_check(struct world *w)
{
    rig_check(w->rig);
    if (w->rig->design->traits & (ALLOCATOR_FAKE | ALLOCATOR_FOREIGN))
        return;
    struct rig_items items = rig_walk(w->rig);
    for (unsigned i = 0; i < WORLD_OBJECTS; i++) {
        const struct object *o = &w->objects[i];
        uintptr_t at = (uintptr_t)o->p, end = at + o->size;
        while (o->p && at < end) {
            const struct walk_item *item = item_find(&items, at);
            if (!item || item->kind != WALK_LIVE)
                fail_msg("walk() does not call byte %#lx live, which the program holds", (long)at);
            at = item->address + item->bytes;
        }
    }
    free(items.item);
}
