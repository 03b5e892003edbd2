/*
 * bulk.h - for designs over lib/pages.h: what begins at an address, and objects that are larger
 * than the design's classes. Those are runs of units (TAG_LARGE); what no segment can hold has a
 * reservation of its own.
 *
 * Threads: as lib/pages.h. Misuse ends the program here where the address alone tells it: "invalid
 * free" of what begins no object, "double free" of a free run; the design judges the rest.
 */
#ifndef ALLOCLAB_BULK_H
#define ALLOCLAB_BULK_H

#include "allocators/lib/pages.h"

struct found {
    unsigned tag;      /* of the span; TAG_NONE: a reservation of its own begins there */
    uint32_t offset;   /* in the span, for the owner's own tags; else an object begins there */
    size_t bytes;      /* usable; 0 for the owner's own tags, whose business it is */
    struct span *span; /* NULL for TAG_NONE */
};

struct found bulk_find(struct pages *pages, const char *design, const void *p);

/* NULL = no memory. */
void *bulk_alloc(struct pages *pages, size_t size, size_t align);

/* For what bulk_find() told of, if its tag is not the owner's own. */
static inline bool found_bulk(const struct found *f)
{
    return f->tag == TAG_NONE || f->tag == TAG_LARGE;
}
/* size 0 = unknown; "wrong size" if the object cannot have had it. */
void bulk_free(struct pages *pages, const char *design, const struct found *f, void *p,
               size_t size);
/* In place, if it still is larger than `small` bytes; false = no, and nothing has changed. */
bool bulk_resize(struct pages *pages, const struct found *f, void *p, size_t size, size_t small);

/* Observation, no lock: every committed byte of the pages, where spans with the owner's own tags
 * hold objects of size class tag - 1, sealed when they are free (central.h), `carved` of them so
 * far. */
void bulk_walk(const struct pages *pages, uintptr_t secret, walk_fn *fn, void *arg);

#endif
