/*
 * trace_profile.h - what the objects of a trace are like: sizes, lifetimes, the order in which they
 * die, who frees them, how they grow, where they were made, and how many live at a time.
 *
 * Everything is counted in one pass. Memory grows with the live set (about 120 bytes an object that
 * is live at once), with threads, pairs of threads that hand over, sites, and scopes; not with the
 * length of the trace. docs/traces.md defines each figure.
 */
#ifndef ALLOCLAB_TRACE_PROFILE_H
#define ALLOCLAB_TRACE_PROFILE_H

#include "harness/histogram.h"
#include "traces/live_table.h"
#include "traces/rules.h"

enum {
    PROFILE_EXACT = 1 << 16, /* sizes below it are counted each by itself */
    PROFILE_SIZES = PROFILE_EXACT + HISTOGRAM_BUCKETS,
    PROFILE_SIZE_BITS = 2, /* the heat map: 4 parts of a doubling of sizes, 2 of lifetimes */
    PROFILE_LIFE_BITS = 1,
    PROFILE_SIZE_CELLS = (41 - PROFILE_SIZE_BITS) << PROFILE_SIZE_BITS,
    PROFILE_LIFE_CELLS = (65 - PROFILE_LIFE_BITS) << PROFILE_LIFE_BITS,
    PROFILE_CHAIN_BITS = 2,
    PROFILE_CHAIN_CELLS = (65 - PROFILE_CHAIN_BITS) << PROFILE_CHAIN_BITS,
    PROFILE_SAMPLES = 2048, /* of the live set; at the most half as many are merged */
    PROFILE_BATCH = 256,    /* ops that are read, and then followed */
};

enum profile_unit { LIFE_OPS, LIFE_BYTES, LIFE_NS, LIFE_UNITS };

extern const char *const profile_units[LIFE_UNITS]; /* "ops", .. */

struct profile_size { /* calls that asked for it; bytes: by allocs */
    uint64_t allocs, reallocs, bytes;
};

struct profile_chain { /* objects with so many reallocs */
    uint64_t objects, reallocs, first_bytes, last_bytes, copied_bytes;
};

struct profile_life { /* freed objects of a lifetime; bytes: their last sizes */
    uint64_t objects, bytes;
};

struct profile_thread {
    uint64_t allocs, frees, lifo_frees; /* frees: of objects made in the recording */
    uint64_t own_frees, own_bytes;      /* of those that it made itself */
    uint64_t live;                      /* made by it */
    uint64_t *born;                     /* a bit for each object that it made; set: it lives */
    uint64_t serials;                   /* bits; the last one is set */
    uint64_t words;                     /* room, in words of bits */
};

struct profile_pair { /* made by one thread, freed by another */
    uint64_t threads; /* maker << 32 | freer */
    uint64_t frees, bytes;
};

struct profile_site {
    uint64_t site, allocs, reallocs, allocated_bytes;
    uint64_t frees, live_objects, live_bytes, peak_live_bytes;
    uint64_t life_ops; /* sum over the frees */
};

struct profile_sample {
    uint64_t calls, clock_ns; /* at its end */
    uint64_t live_objects, live_bytes, allocated_bytes;
    uint64_t peak_objects, peak_bytes; /* within it */
};

struct profile_index { /* a key's place in a list, by hash */
    uint64_t *places;  /* + 1; 0 = free */
    uint64_t room;
};

struct trace_profile {
    bool has_clock, has_scopes;
    uint64_t calls, clock_ns, allocated_bytes, live_bytes, live_objects;
    uint64_t peak_bytes, peak_call;

    struct profile_size sizes[PROFILE_SIZES];
    uint64_t size_max;
    struct profile_life lives[LIFE_UNITS][HISTOGRAM_BUCKETS]; /* of objects the recording made */
    uint64_t life_max[LIFE_UNITS];
    uint64_t heat[LIFE_UNITS][PROFILE_SIZE_CELLS][PROFILE_LIFE_CELLS]; /* objects */
    uint64_t freed_objects, freed_start_objects; /* made in the recording; live at its start */
    double life_sum[LIFE_UNITS];
    unsigned deaths; /* not counted yet, at most one an op of the batch */
    uint64_t dead_sizes[PROFILE_BATCH], dead_lives[LIFE_UNITS][PROFILE_BATCH];
    uint64_t aligns[64]; /* calls that made or resized an object, by log2 */

    struct profile_thread *threads;
    uint64_t thread_count, thread_room;
    struct profile_pair *pairs;
    struct profile_index pair_index;
    uint64_t pair_count, pair_room;
    struct profile_site *sites;
    struct profile_index site_index;
    uint64_t site_count, site_room;

    struct profile_chain chains[PROFILE_CHAIN_CELLS];
    uint64_t reallocs_grown, reallocs_shrunk, reallocs_same, remote_reallocs, chain_max;

    uint64_t scoped_objects, scope_deaths, scope_depth_max, scopes_open, scopes_open_max;
    uint64_t *depths, depths_room; /* of each scope */

    struct profile_sample samples[PROFILE_SAMPLES], sample; /* sample: the one being taken */
    unsigned sample_count;
    uint64_t sample_calls; /* calls of each, a power of two */

    struct live_table live;          /* place in objects + 1 */
    struct profile_object **objects; /* in chunks */
    uint64_t object_count, chunk_room;
    uint32_t *vacant; /* places that are free, the one given back last at the end */
    uint64_t vacant_count, vacant_room;
    uint64_t serials_left; /* objects until serials are given anew */
    struct profile_resized *resized;
    uint64_t resized_count, resized_room, resized_free;
    struct trace_rules scopes; /* knows threads and scopes alone */
};

/* Reads the whole trace. NULL: damaged, or no memory. */
struct trace_profile *trace_profile_read(struct trace_reader *r, struct error *err);
void trace_profile_free(struct trace_profile *p);

/* The sizes that a row of `sizes` stands for. */
uint64_t profile_size_low(unsigned row);
uint64_t profile_size_high(unsigned row);

#endif
