/*
 * capture_sites.h - reads what a capture says of sites (traces/recorder/capture.h): the words of a
 * lane that are no events. Each lane counts modules and nodes of its own; here they become modules,
 * places and frames of one table (traces/sites.h), where those of all lanes meet.
 */
#ifndef ALLOCLAB_CAPTURE_SITES_H
#define ALLOCLAB_CAPTURE_SITES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "traces/recorder/capture.h"
#include "traces/sites.h"

struct capture_lane_sites {    /* of a lane; zeroed memory is an empty one */
    uint32_t *modules, *nodes; /* their numbers in the table, 0: it has no room for them */
    uint32_t module_count, node_count;
};

static inline bool capture_is_site(uint64_t word)
{
    unsigned kind = word & ((1u << CAPTURE_KIND_BITS) - 1);
    return kind >= CAPTURE_SITE && kind <= CAPTURE_FORGET;
}

/* How many words such a record has; `left` are there. 0: more than those. */
size_t capture_site_words(const uint64_t *word, size_t left);

/* Reads one; `site` becomes the frame that a CAPTURE_SITE names. False: it is damaged, or there is no
 * memory. */
bool capture_site_read(struct capture_lane_sites *l, struct sites *sites, bool paths,
                       const uint64_t *word, uint32_t *site);

void capture_lane_sites_free(struct capture_lane_sites *l);

#endif
