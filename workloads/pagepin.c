/*
 * pagepin.c - fills pages with small objects and frees all but one a page: nearly everything is
 * free, and no page is.
 *
 * Models the worst day of a cache, or of anything that allocates in bulk and keeps a straggler of
 * each bulk: a long-lived log entry among thousands of temporary ones.
 *
 *   a round   n = pages * g objects of `size` bytes are allocated, one after the other, with
 *             g = floor(4096 / size). In the same order they are cut into groups of g: of each
 *             group one object, picked at random, is kept, and the others are freed in order
 *   rounds    the next round has twice the size, so that a design that gives each size pages of
 *             its own cannot use the holes of the rounds before. They end with 2048 bytes
 *   the end   what was kept is freed, the oldest first
 *
 * After r rounds exactly r * pages objects are live, and pages * (s_1 + .. + s_r) bytes, s_i the
 * size of round i. Whatever holds a group together on a page has as many pages committed:
 * committed / live goes to 4096 r / (s_1 + .. + s_r), with the defaults after one round 64.
 *
 * Which design it hurts: every design that cannot move objects, in the first round. In the later
 * ones those with pages or spans for one size each: slabs and size classes. One that coalesces
 * neighbours has holes of (g - 1) * size bytes on average, and fills most of them.
 *
 * One thread, no scopes. Clock: an op takes 100 ns. Sites: 1 the first round, 2 the second, ..
 *
 * Source: Powers, Tench, Berger & McGregor, "Mesh: Compacting Memory Management for C/C++
 * Applications" (PLDI 2019), on nearly empty spans that cannot be given back; the bound that no
 * design without moving escapes: Robson, "Bounds for Some Functions Concerning Dynamic Storage
 * Allocation" (JACM 21(3), 1974).
 *
 * What it cannot tell: how likely such stragglers are. It also knows no addresses: a design that
 * puts a header before each object, or scatters them, has other groups on its pages than these, and
 * some of its pages come free.
 */
#include "workloads/lib/batch.h"
#include "workloads/lib/workload.h"

#define OP_NS   100
#define LARGEST 2048
#define ROUNDS  8

struct pagepin_options {
    uint64_t pages, size, rounds;
};

#define FIELD(name) offsetof(struct pagepin_options, name)
static const struct option pagepin_rows[] = {
    {"pages", OPTION_COUNT, FIELD(pages), "4k", 1, 1e7, NULL, "groups of 4096 bytes in a round"},
    {"size", OPTION_SIZE, FIELD(size), "64", 16, LARGEST, NULL,
     "objects of the first round, bytes; doubled from round to round"},
    {"rounds", OPTION_COUNT, FIELD(rounds), "4", 1, ROUNDS, NULL,
     "rounds, as far as the size stays within 2048"},
    {0},
};
#undef FIELD

/* Frees all but one of each `group` objects, and moves these to `kept`. */
static void thin_out(struct emit *e, struct rng *rng, struct ids *objects, uint64_t group,
                     struct ids *kept)
{
    uint64_t keep = 0;
    for (uint64_t i = 0; i < objects->n && !e->failed; i++) {
        if (i % group == 0)
            keep = i + rng_below(rng, group);
        if (i == keep)
            ids_push(e, kept, objects->items[i]);
        else
            emit_free(e, 0, objects->items[i]);
    }
    objects->n = 0;
}

static int pagepin_emit(const void *options, uint64_t seed, struct trace_writer *out,
                        struct error *err)
{
    const struct pagepin_options *o = options;
    struct emit e = {.out = out, .err = err, .step_ns = OP_NS};
    struct rng rng = rng_stream(seed, 0);
    struct ids objects = {0}, kept = {0};
    uint64_t size = o->size;
    for (unsigned round = 0; round < o->rounds && size <= LARGEST && !e.failed; round++) {
        uint64_t group = BATCH_PAGE_BYTES / size;
        batch_alloc(&e, &objects, o->pages * group, size, 1 + round);
        thin_out(&e, &rng, &objects, group, &kept);
        size *= 2;
    }
    emit_free_all(&e, 0, &kept);
    ids_free(&objects);
    ids_free(&kept);
    return e.failed ? -1 : 0;
}

WORKLOAD(pagepin) = {
    .name = "pagepin",
    .summary = "fills pages and frees all but one object of each: pins what is nearly free",
    .source = "Powers, Tench, Berger & McGregor, Mesh, PLDI 2019; Robson, JACM 21(3), 1974",
    .options_size = sizeof(struct pagepin_options),
    .options = pagepin_rows,
    .emit = pagepin_emit,
};
