/*
 * meta.h - the key=value pairs of a trace, in the order in which the keys first came; private to
 * traces/. Zeroed memory is an empty one. Keys and values are copied; what meta_get() gives is good
 * until its key is set again. Of one thread at a time. Each call looks at all pairs, at most 32768.
 */
#ifndef ALLOCLAB_META_H
#define ALLOCLAB_META_H

#include <stddef.h>

#include "allocators/lib/error.h"

struct meta {
    struct meta_pair {
        char *key, *value;
    } * pairs;
    size_t count, room;
    size_t bytes; /* of all lines "key=value\n" */
};

/* Length of the UTF-8 sequence at p, or 0 if there is none that is well-formed and printable on one
 * line. */
size_t meta_utf8(const unsigned char *p, size_t left);

/* 0, or -1 with what is wrong with the pair. A key that is there gets the new value. */
int meta_set(struct meta *meta, const char *key, size_t key_bytes, const char *value,
             size_t value_bytes, struct error *err);
const char *meta_get(const struct meta *meta, const char *key); /* NULL if absent */
void meta_free(struct meta *meta);

#endif
