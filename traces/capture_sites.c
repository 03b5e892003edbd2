/*
 * capture_sites.c - the records of sites in a capture. A table that is full, or has no memory, leaves
 * places unknown; a number that a lane has not given is damage.
 */
#include "traces/capture_sites.h"

#include <stdlib.h>
#include <string.h>

#include "traces/build_id.h"

static uint64_t bits(uint64_t word, unsigned at, unsigned count)
{
    return word >> at & ((UINT64_C(1) << count) - 1);
}

static size_t words_of(uint64_t bytes)
{
    return (size_t)(bytes + 7) / 8;
}

size_t capture_site_words(const uint64_t *word, size_t left)
{
    size_t words = 1;
    if (bits(*word, 0, CAPTURE_KIND_BITS) == CAPTURE_NODE)
        words = 2;
    else if (bits(*word, 0, CAPTURE_KIND_BITS) == CAPTURE_MODULE)
        words = 1 + words_of(bits(*word, CAPTURE_BUILD_AT, CAPTURE_BUILD_BITS)) +
                words_of(bits(*word, CAPTURE_NAME_AT, CAPTURE_NAME_BITS));
    return words <= left ? words : 0;
}

/* Appends a number to an array whose room is a power of two. */
static bool number_add(uint32_t **numbers, uint32_t *count, uint32_t number)
{
    if ((*count & (*count - 1)) == 0) {
        uint32_t *grown = realloc(*numbers, (*count ? 2 * (size_t)*count : 1) * sizeof *grown);
        if (!grown)
            return false;
        *numbers = grown;
    }
    (*numbers)[(*count)++] = number;
    return true;
}

static bool module_read(struct capture_lane_sites *l, struct sites *sites, bool paths,
                        const uint64_t *word)
{
    char build[2 * 255 + 1], path[(1 << CAPTURE_NAME_BITS) + 1];
    size_t build_bytes = bits(*word, CAPTURE_BUILD_AT, CAPTURE_BUILD_BITS),
           name_bytes = bits(*word, CAPTURE_NAME_AT, CAPTURE_NAME_BITS);
    build_id_hex((const void *)(word + 1), build_bytes, build);
    memcpy(path, word + 1 + words_of(build_bytes), name_bytes);
    path[name_bytes] = 0;
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    struct site_module m = {.name = *base ? base : "unknown",
                            .build = build_bytes <= SITES_BUILD_BYTES ? build : "",
                            .path = paths && slash ? path : ""};
    struct error ignored;
    return number_add(&l->modules, &l->module_count, sites_module(sites, &m, &ignored));
}

static bool node_read(struct capture_lane_sites *l, struct sites *sites, const uint64_t *word)
{
    uint64_t caller = bits(*word, CAPTURE_CALLER_AT, CAPTURE_CALLER_BITS),
             module = bits(*word, CAPTURE_MODULE_AT, CAPTURE_MODULE_BITS);
    struct site_place p = {.offset = SITE_NO_OFFSET};
    struct error ignored;
    if (caller > l->node_count || module > l->module_count)
        return false;
    if (module && l->modules[module - 1]) {
        p.module = l->modules[module - 1];
        p.offset = word[1];
    }
    uint32_t place = sites_place(sites, &p, &ignored), frame = 0;
    if (place && (caller == 0 || l->nodes[caller - 1]))
        frame = sites_frame(sites, caller ? l->nodes[caller - 1] : 0, place, &ignored);
    return number_add(&l->nodes, &l->node_count, frame);
}

bool capture_site_read(struct capture_lane_sites *l, struct sites *sites, bool paths,
                       const uint64_t *word, uint32_t *site)
{
    uint64_t number = bits(*word, CAPTURE_CALLER_AT, CAPTURE_CALLER_BITS);
    switch (bits(*word, 0, CAPTURE_KIND_BITS)) {
    case CAPTURE_SITE:
        if (number == 0 || number > l->node_count)
            return false;
        *site = l->nodes[number - 1];
        return true;
    case CAPTURE_NODE:
        return node_read(l, sites, word);
    case CAPTURE_MODULE:
        return module_read(l, sites, paths, word);
    }
    l->module_count = l->node_count = 0;
    return true;
}

void capture_lane_sites_free(struct capture_lane_sites *l)
{
    free(l->modules);
    free(l->nodes);
}
