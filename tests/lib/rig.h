/*
 * rig.h - a heap of any registered design on a door of its own, for tests: made from the design's
 * option text, with a virtual clock, the design's own traits deciding which view an object takes.
 * Everything that goes wrong is a failed cmocka assertion.
 */
#ifndef ALLOCLAB_TEST_RIG_H
#define ALLOCLAB_TEST_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "allocators/lib/allocator.h"
#include "allocators/lib/os.h"

struct rig {
    const struct allocator *design;
    struct os *os;
    struct heap *heap, *view; /* the root, and the thread's view of it */
    uint64_t clock_ns;
    struct alloc_env env, inner_env; /* the inner design's, where this one wraps another */
    void *kept[256];                 /* see rig_keep() */
    unsigned kept_count;
    _Alignas(16) unsigned char options[512], inner_options[512];
};

struct rig_setup {
    const char *options; /* text; NULL = the defaults */
    bool observe;
    size_t commit_limit_bytes; /* 0 = none */
};

/* False if the design has no memory for a heap; the door is then empty and closed. */
bool rig_try_open(struct rig *rig, const struct allocator *design, const struct rig_setup *setup);
void rig_open(struct rig *rig, const struct allocator *design, const struct rig_setup *setup);

/* Destroys the heap, asserts that everything went back to the door, and closes that. */
void rig_close(struct rig *rig);

bool rig_has(const struct rig *rig, unsigned trait);

/* `place` is the view that the object lives in; the design's traits say which view it is given. */
struct heap *rig_owner_view(const struct rig *rig, struct heap *place);
void *rig_zalloc(struct rig *rig, struct heap *place, size_t size, size_t align);
void *rig_realloc(struct rig *rig, struct heap *place, void *p, size_t old, size_t size,
                  size_t align);
void rig_free(struct rig *rig, struct heap *place, void *p, size_t size, bool say_size);

/*
 * For an object that is still live when the heap is destroyed: asserts that there is one. Where the
 * memory is not the door's, destroying the heap cannot return it, and rig_close() frees the object.
 */
void rig_keep(struct rig *rig, void *p);

size_t rig_committed(struct rig *rig);

struct rig_items {
    struct walk_item *item; /* by address; the caller's to free() */
    size_t count, room;
};

struct rig_items rig_walk(struct rig *rig);
size_t rig_bytes(struct rig *rig, enum walk_kind kind);

/* A counter of the design's; asserts that there is one of that name. */
uint64_t rig_stat(struct rig *rig, const char *name);

/* An object of the view, or a scope in it: asserted not to be NULL; take checks the heap after it.
 */
char *rig_take(struct rig *rig, struct heap *view, size_t size);
struct heap *rig_enter(struct rig *rig);

/* Asserts that check() finds nothing and that walk() tells every committed byte once. */
void rig_check(struct rig *rig);

#endif
