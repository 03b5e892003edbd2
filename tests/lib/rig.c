/*
 * rig.c - heaps for tests. See rig.h.
 */
#include "tests/lib/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/lib/generic.h"
#include "allocators/lib/option.h"
#include "harness/registry.h"

/* ---- opening and closing ---- */

static uint64_t rig_now(void *ctx)
{
    return *(uint64_t *)ctx;
}

static unsigned rig_cpu(void *ctx)
{
    (void)ctx;
    return 0;
}

/* What a design that wraps another is tested on: the first that frees and reuses by itself. */
static const struct allocator *inner_choose(void)
{
    unsigned unfit = ALLOCATOR_WRAPS | ALLOCATOR_FAKE | ALLOCATOR_FOREIGN;
    for (size_t i = 0; allocators[i]; i++)
        if (!(allocators[i]->traits & unfit) && allocators[i]->traits & ALLOCATOR_REUSES)
            return allocators[i];
    fail_msg("no design to wrap");
    return NULL;
}

static void env_fill(struct rig *rig, struct alloc_env *env, const struct allocator *design,
                     unsigned char *options, size_t room, const char *text)
{
    struct error err;
    assert_true(design->options_size <= room);
    if (option_parse(design->name, design->options, design->options_size, text, options, &err))
        fail_msg("%s", err.text);
    *env = (struct alloc_env){.os = rig->os,
                              .options = options,
                              .seed = 1,
                              .now_ns = rig_now,
                              .cpu = rig_cpu,
                              .ctx = &rig->clock_ns,
                              .design = design};
}

static void door_check_empty(struct rig *rig)
{
    struct os_counts counts = os_counts(rig->os);
    assert_int_equal(counts.reserved_bytes, 0);
    assert_int_equal(counts.committed_bytes, 0);
    os_close(rig->os);
}

bool rig_try_open(struct rig *rig, const struct allocator *design, const struct rig_setup *setup)
{
    struct os_config config = {.observe = setup->observe,
                               .commit_limit_bytes = setup->commit_limit_bytes};
    memset(rig, 0, sizeof *rig);
    rig->design = design;
    rig->os = os_open(&config);
    assert_non_null(rig->os);
    env_fill(rig, &rig->env, design, rig->options, sizeof rig->options, setup->options);
    if (design->traits & ALLOCATOR_WRAPS) {
        env_fill(rig, &rig->inner_env, inner_choose(), rig->inner_options,
                 sizeof rig->inner_options, NULL);
        rig->env.inner = &rig->inner_env;
    }
    rig->env.observed = rig->inner_env.observed = setup->observe;
    rig->heap = design->create(&rig->env);
    rig->view = rig->heap;
    if (rig->heap && design->thread_enter) {
        rig->view = design->thread_enter(rig->heap);
        if (!rig->view)
            design->destroy(rig->heap);
    }
    if (!rig->view)
        door_check_empty(rig);
    return rig->view != NULL;
}

void rig_open(struct rig *rig, const struct allocator *design, const struct rig_setup *setup)
{
    if (!rig_try_open(rig, design, setup))
        fail_msg("%s:%s: create() returned no heap", design->name,
                 setup->options ? setup->options : "");
}

void rig_keep(struct rig *rig, void *p)
{
    assert_non_null(p);
    if (!rig_has(rig, ALLOCATOR_FOREIGN))
        return;
    assert_true(rig->kept_count < sizeof rig->kept / sizeof *rig->kept);
    rig->kept[rig->kept_count++] = p;
}

void rig_close(struct rig *rig)
{
    while (rig->kept_count)
        rig->design->free(rig->view, rig->kept[--rig->kept_count], 0);
    if (rig->design->thread_exit)
        rig->design->thread_exit(rig->view);
    rig->design->destroy(rig->heap);
    door_check_empty(rig);
}

/* ---- calls as the contract wants them ---- */

bool rig_has(const struct rig *rig, unsigned trait)
{
    return rig->design->traits & trait;
}

struct heap *rig_owner_view(const struct rig *rig, struct heap *place)
{
    return rig_has(rig, ALLOCATOR_FINDS_OWNER) ? rig->view : place;
}

void *rig_zalloc(struct rig *rig, struct heap *place, size_t size, size_t align)
{
    return generic_zalloc(rig->design, place, size, align);
}

void *rig_realloc(struct rig *rig, struct heap *place, void *p, size_t old, size_t size,
                  size_t align)
{
    return generic_realloc(rig->design, rig_owner_view(rig, place), place, p, old, size, align);
}

void rig_free(struct rig *rig, struct heap *place, void *p, size_t size, bool say_size)
{
    bool say = say_size || rig_has(rig, ALLOCATOR_NEEDS_SIZE);
    rig->design->free(rig_owner_view(rig, place), p, say ? size : 0);
}

size_t rig_committed(struct rig *rig)
{
    return os_counts(rig->os).committed_bytes;
}

/* ---- the law of walk() ---- */

static void item_collect(void *arg, const struct walk_item *item)
{
    struct rig_items *items = arg;
    assert_true(item->bytes > 0);
    assert_in_range(item->kind, WALK_META, WALK_UNUSED);
    if (item->kind == WALK_LIVE && item->class_bytes) /* bytes, and not the number of a class */
        assert_in_range(item->class_bytes, item->bytes, SIZE_MAX);
    if (items->count == items->room) {
        items->room = items->room ? 2 * items->room : 1024;
        items->item = realloc(items->item, items->room * sizeof *item);
        assert_non_null(items->item);
    }
    items->item[items->count++] = *item;
}

static int item_order(const void *a, const void *b)
{
    uintptr_t x = ((const struct walk_item *)a)->address;
    uintptr_t y = ((const struct walk_item *)b)->address;
    return (x > y) - (x < y);
}

struct rig_items rig_walk(struct rig *rig)
{
    struct rig_items items = {NULL, 0, 0};
    assert_non_null(rig->design->walk);
    rig->design->walk(rig->heap, item_collect, &items);
    if (items.count)
        qsort(items.item, items.count, sizeof *items.item, item_order);
    return items;
}

void rig_check(struct rig *rig)
{
    const char *broken = rig->design->check ? rig->design->check(rig->heap) : NULL;
    if (broken)
        fail_msg("%s: check(): %s", rig->design->name, broken);
    struct rig_items items = rig_walk(rig);
    size_t sum = 0;
    for (size_t i = 0; i < items.count; i++) {
        const struct walk_item *next = &items.item[i + 1];
        if (i + 1 < items.count && items.item[i].address + items.item[i].bytes > next->address)
            fail_msg("%s: walk() told %#lx twice", rig->design->name, (long)next->address);
        sum += items.item[i].bytes;
    }
    free(items.item);
    assert_int_equal(sum, rig_committed(rig));
}

size_t rig_bytes(struct rig *rig, enum walk_kind kind)
{
    struct rig_items items = rig_walk(rig);
    size_t sum = 0;
    for (size_t i = 0; i < items.count; i++)
        sum += items.item[i].kind == kind ? items.item[i].bytes : 0;
    free(items.item);
    return sum;
}

struct stat_search {
    const char *name;
    uint64_t value;
};

static void stat_match(void *arg, const char *name, uint64_t value)
{
    struct stat_search *search = arg;
    if (!strcmp(name, search->name))
        search->value = value;
}

uint64_t rig_stat(struct rig *rig, const char *name)
{
    struct stat_search search = {name, UINT64_MAX};
    rig->design->stats(rig->heap, stat_match, &search);
    if (search.value == UINT64_MAX)
        fail_msg("%s has no counter %s", rig->design->name, name);
    return search.value;
}

char *rig_take(struct rig *rig, struct heap *view, size_t size)
{
    char *p = rig->design->alloc(view, size, 16);
    assert_non_null(p);
    rig_check(rig);
    return p;
}

struct heap *rig_enter(struct rig *rig)
{
    struct heap *scope = rig->design->scope_enter(rig->view);
    assert_non_null(scope);
    return scope;
}
