/*
 * lab.c - see lab.h.
 */
#include "tests/lib/lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/registry.h"
#include "tests/lib/world.h"

void lab_open(struct lab *lab, const char *design, const char *options, size_t commit_limit)
{
    struct rig_setup setup = {
        .options = options, .observe = true, .commit_limit_bytes = commit_limit};
    lab->design = allocator_find(design);
    assert_non_null(lab->design);
    rig_open(&lab->rig, lab->design, &setup);
    lab->heap = lab->rig.heap;
}

void lab_close(struct lab *lab)
{
    rig_check(&lab->rig);
    rig_close(&lab->rig);
}

char *lab_make(struct lab *lab, size_t size)
{
    char *p = lab->design->alloc(lab->heap, size, 1);
    assert_non_null(p);
    memset(p, 0x5a, size);
    rig_check(&lab->rig);
    return p;
}

void lab_drop(struct lab *lab, void *p)
{
    lab->design->free(lab->heap, p, 0);
    rig_check(&lab->rig);
}

char *lab_resize(struct lab *lab, void *p, size_t old, size_t size)
{
    char *q = lab->design->realloc(lab->heap, p, old, size, 1);
    rig_check(&lab->rig);
    return q;
}

size_t lab_usable(struct lab *lab, const void *p)
{
    return lab->design->usable(lab->heap, p);
}

struct lab_sum lab_free_sum(struct lab *lab)
{
    struct lab_sum sum = {0, 0};
    struct rig_items items = rig_walk(&lab->rig);
    for (size_t i = 0; i < items.count; i++)
        if (items.item[i].kind == WALK_FREE && items.item[i].class_bytes) {
            sum.blocks++;
            sum.bytes += items.item[i].bytes;
        }
    free(items.item);
    return sum;
}

void lab_torture(const struct lab_torture *torture)
{
    struct lab lab;
    struct world world;
    struct world_mix mix = {.max_size = torture->max_size, .aligned = true, .upkeep = true};
    lab_open(&lab, torture->design, torture->options, torture->commit_limit);
    world_start(&world, &lab.rig, &mix, torture->seed);
    for (unsigned step = 0; step < torture->steps; step++) {
        world_run(&world, 1);
        const char *broken = lab.design->check(lab.heap);
        if (broken)
            fail_msg("%s:%s, seed %llu, step %u: %s", torture->design, torture->options,
                     (unsigned long long)torture->seed, step, broken);
        if (step % 32 == 0)
            rig_check(&lab.rig);
    }
    world_check(&world);
    world_free(&world);
    lab.design->trim(lab.heap);
    lab_close(&lab);
}

uint64_t lab_seed(void)
{
    const char *text = getenv("ALLOCLAB_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : 20240607;
    print_message("# ALLOCLAB_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}
