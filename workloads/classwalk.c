/*
 * classwalk.c - fills one size, frees all of it, and goes on to the next size: the live set stays
 * small, but every size class has been large once.
 *
 * Models a program whose phases each have their own favourite size: a parser's tokens, then a
 * graph's nodes, then an encoder's buffers.
 *
 *   a class   n = max(1, floor(pages * 4096 / size)) objects of one size are allocated, and all
 *             of them are freed, in the order `order`
 *   a walk    the sizes floor(min * (max / min)^(i / (classes - 1))), i = 0 .. classes - 1, in
 *             this order; with sizes a factor of 1.2 apart, as by default, each is a class of its
 *             own in most designs
 *   walks     the next walk begins again with the smallest size
 *
 * Between two classes nothing is live. The most that is live at once is `pages` pages of one class
 * (or one object larger than that); a design that never gives a span back to another class keeps
 * the spans of all: its committed bytes go to classes * pages * 4096 in the first walk.
 *
 * Which design it hurts: segregated fits whose spans belong to one class for ever, as with the
 * simple segregated storage of the survey below; and thread caches or central lists that keep a
 * few objects of each span, so that no span is ever empty.
 *
 * One thread, no scopes. Clock: an op takes 100 ns. Site: 1 + i for the i-th size.
 *
 * Source: Wilson, Johnstone, Neely & Boles, "Dynamic Storage Allocation: A Survey and Critical
 * Review", section 3.6 (IWMM 1995), on simple segregated storage and its missing coalescing.
 *
 * What it cannot tell: what a span costs that is partly full, since all of a class is freed
 * (pagepin does that), nor how often programs change their sizes so thoroughly.
 */
#include "workloads/lib/batch.h"
#include "workloads/lib/dist.h"
#include "workloads/lib/workload.h"

#define OP_NS       100
#define MAX_CLASSES 256

struct classwalk_options {
    uint64_t pages, classes, walks, min, max;
    unsigned order;
};

#define FIELD(name) offsetof(struct classwalk_options, name)
static const struct option classwalk_rows[] = {
    {"pages", OPTION_COUNT, FIELD(pages), "256", 1, 1e6, NULL,
     "objects of a class, pages of 4096 bytes"},
    {"classes", OPTION_COUNT, FIELD(classes), "32", 2, MAX_CLASSES, NULL, "sizes in a walk"},
    {"walks", OPTION_COUNT, FIELD(walks), "2", 1, 1000, NULL, "walks through all sizes"},
    {"min", OPTION_SIZE, FIELD(min), "32", 1, 1 << 30, NULL, "first size, bytes"},
    {"max", OPTION_SIZE, FIELD(max), "8k", 1, 1 << 30, NULL, "last size, bytes"},
    {"order", OPTION_CHOICE, FIELD(order), "random", 0, 0, BATCH_ORDERS,
     "in which a class is freed"},
    {0},
};
#undef FIELD

static int classwalk_emit(const void *options, uint64_t seed, struct trace_writer *out,
                          struct error *err)
{
    const struct classwalk_options *o = options;
    if (o->min > o->max)
        return error_set(err, "classwalk: min is greater than max: swap them");
    struct emit e = {.out = out, .err = err, .step_ns = OP_NS};
    struct rng rng = rng_stream(seed, 0);
    struct ids objects = {0};
    for (uint64_t i = 0; i < o->walks * o->classes && !e.failed; i++) {
        unsigned class = (unsigned)(i % o->classes);
        uint64_t size = dist_log_point(o->min, o->max, class, o->classes - 1);
        batch_alloc(&e, &objects, batch_count(o->pages, size), size, 1 + class);
        batch_free(&e, 0, &objects, o->order, &rng);
    }
    ids_free(&objects);
    return e.failed ? -1 : 0;
}

WORKLOAD(classwalk) = {
    .name = "classwalk",
    .summary = "fills and frees one size after the other: spans must change their class",
    .source = "Wilson, Johnstone, Neely & Boles, section 3.6, IWMM 1995",
    .options_size = sizeof(struct classwalk_options),
    .options = classwalk_rows,
    .emit = classwalk_emit,
};
