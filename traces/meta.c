/*
 * meta.c - a small ordered list; the number of pairs is limited, so a search through all is good
 * enough.
 */
#include "traces/meta.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "traces/layout.h"

size_t meta_utf8(const unsigned char *p, size_t left)
{
    unsigned char c = p[0];
    if (c < 0x80)
        return (c >= 0x20 && c != 0x7f) || c == '\t' ? 1 : 0;
    size_t bytes = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || bytes > left)
        return 0;
    for (size_t i = 1; i < bytes; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f) || (c == 0xf0 && p[1] < 0x90) ||
        (c == 0xf4 && p[1] > 0x8f))
        return 0;
    return bytes;
}

static int pair_check(const char *key, size_t key_bytes, const char *value, size_t value_bytes,
                      struct error *err)
{
    if (key_bytes == 0 || key_bytes > 255)
        return error_set(err, "meta key of %zu characters: 1 to 255 are allowed", key_bytes);
    for (size_t i = 0; i < key_bytes; i++) {
        char c = key[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.'))
            return error_set(err, "meta key has byte 0x%02x: a-z, 0-9, _ and . are allowed",
                             (unsigned char)c);
    }
    for (size_t i = 0; i < value_bytes;) {
        size_t bytes = meta_utf8((const unsigned char *)value + i, value_bytes - i);
        if (bytes == 0)
            return error_set(err,
                             "meta %.*s: byte 0x%02x at %zu is not text: the value must be UTF-8 "
                             "without control characters",
                             (int)key_bytes, key, (unsigned char)value[i], i);
        i += bytes;
    }
    return 0;
}

static struct meta_pair *pair_find(const struct meta *meta, const char *key, size_t key_bytes)
{
    for (size_t i = 0; i < meta->count; i++)
        if (strncmp(meta->pairs[i].key, key, key_bytes) == 0 &&
            meta->pairs[i].key[key_bytes] == '\0')
            return &meta->pairs[i];
    return NULL;
}

static struct meta_pair *pair_add(struct meta *meta, const char *key, size_t key_bytes)
{
    if (meta->count == meta->room) {
        size_t room = meta->room ? 2 * meta->room : 16;
        struct meta_pair *pairs = realloc(meta->pairs, room * sizeof *pairs);
        if (!pairs)
            return NULL;
        meta->pairs = pairs;
        meta->room = room;
    }
    char *copy = strndup(key, key_bytes);
    if (!copy)
        return NULL;
    meta->pairs[meta->count] = (struct meta_pair){.key = copy};
    return &meta->pairs[meta->count++];
}

int meta_set(struct meta *meta, const char *key, size_t key_bytes, const char *value,
             size_t value_bytes, struct error *err)
{
    if (pair_check(key, key_bytes, value, value_bytes, err))
        return -1;
    struct meta_pair *pair = pair_find(meta, key, key_bytes);
    size_t old = pair ? key_bytes + strlen(pair->value) + 2 : 0;
    if (meta->bytes - old + key_bytes + value_bytes + 2 > LAYOUT_META_BYTES)
        return error_set(err, "meta %.*s: all pairs together exceed %d bytes", (int)key_bytes, key,
                         LAYOUT_META_BYTES);
    if (!pair && meta->count >= LAYOUT_META_PAIRS)
        return error_set(err, "meta %.*s: more than %d pairs", (int)key_bytes, key,
                         LAYOUT_META_PAIRS);
    char *copy = strndup(value, value_bytes);
    if (!copy || (!pair && !(pair = pair_add(meta, key, key_bytes)))) {
        free(copy);
        return error_set(err, "meta %.*s: no memory", (int)key_bytes, key);
    }
    free(pair->value);
    pair->value = copy;
    meta->bytes += key_bytes + value_bytes + 2 - old;
    return 0;
}

const char *meta_get(const struct meta *meta, const char *key)
{
    struct meta_pair *pair = pair_find(meta, key, strlen(key));
    return pair ? pair->value : NULL;
}

void meta_free(struct meta *meta)
{
    for (size_t i = 0; i < meta->count; i++) {
        free(meta->pairs[i].key);
        free(meta->pairs[i].value);
    }
    free(meta->pairs);
    *meta = (struct meta){0};
}
