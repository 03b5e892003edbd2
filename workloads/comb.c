/*
 * comb.c - frees every other object and then asks for slightly larger ones: half of the memory is
 * free, and no hole fits.
 *
 * Models a program whose objects grow with its life (longer strings, wider rows) while old ones die
 * here and there.
 *
 *   first     n = max(1, floor(pages * 4096 / size)) objects of s_0 = `size` bytes are allocated
 *   a round   of each size separately, in the order of their allocation, every other live object is
 *             freed, the first one included (all of them in the order `order`). Then objects of
 *             s_r = max(s_(r-1) + 1, floor(s_(r-1) * growth)) bytes are allocated, as many as fit
 *             into the F bytes just freed: floor(F / s_r)
 *   rounds    end early when not one object fits
 *   the end   what is live is freed, the smallest size first
 *
 * Live bytes never exceed pages * 4096 (or one object, if that is larger). Let objects lie one
 * behind the other as they were allocated. A size that has been thinned j times leaves holes of
 * (2^j - 1) s, and the next request is for growth^j s. With 1 < growth <= sqrt(3) a hole is of use
 * from its second thinning on. With growth = 2 it never is: each round takes half of the live bytes
 * anew, and committed / live goes to 1 + rounds / 2. (A header of h bytes before each object helps:
 * a hole then is of use once (2^j - 2) h >= s, so a long comb needs a large `size`.) That is how
 * far one gets without looking at addresses; Robson's adversary looks.
 *
 * Which design it hurts: size classes, whatever the growth, since a class keeps its holes for a
 * size that is never asked for again, and the teeth pin the spans; with growth=2 also first, next
 * and best fit, and whatever else coalesces.
 *
 * One thread, no scopes. Clock: an op takes 100 ns. Site: 1 + r for the sizes s_r.
 *
 * Source: Robson, "An Estimate of the Store Size Necessary for Dynamic Storage Allocation" (JACM
 * 18(3), 1971), whose adversary doubles the size from round to round.
 *
 * What it cannot tell: the worst case of a given design, since the comb does not see which of its
 * neighbours an object really has.
 */
#include "workloads/lib/batch.h"
#include "workloads/lib/workload.h"

#define OP_NS  100
#define ROUNDS 64

struct comb_options {
    uint64_t pages, size, rounds;
    double growth;
    unsigned order;
};

#define FIELD(name) offsetof(struct comb_options, name)
static const struct option comb_rows[] = {
    {"pages", OPTION_COUNT, FIELD(pages), "2k", 1, 1e6, NULL, "live bytes, pages of 4096 bytes"},
    {"size", OPTION_SIZE, FIELD(size), "64", 1, 65536, NULL, "first size, bytes"},
    {"growth", OPTION_REAL, FIELD(growth), "1.25", 1, 2, NULL,
     "size of a round to the size of the one before; at least one byte is added"},
    {"rounds", OPTION_COUNT, FIELD(rounds), "16", 1, ROUNDS, NULL,
     "times that the comb is thinned and filled"},
    {"order", OPTION_CHOICE, FIELD(order), "random", 0, 0, BATCH_ORDERS,
     "in which the objects of a thinning are freed"},
    {0},
};
#undef FIELD

struct state {
    struct emit e;
    struct rng rng;
    struct ids teeth[ROUNDS + 1]; /* live objects by round */
    uint64_t sizes[ROUNDS + 1];
    struct ids victims;
};

/* Moves every other of the objects, from the first on, to the victims; returns their bytes. */
static uint64_t thin_out(struct state *s, unsigned round)
{
    struct ids *teeth = &s->teeth[round];
    uint64_t kept = 0;
    for (uint64_t i = 0; i < teeth->n; i++) {
        if (i % 2)
            teeth->items[kept++] = teeth->items[i];
        else
            ids_push(&s->e, &s->victims, teeth->items[i]);
    }
    uint64_t freed = teeth->n - kept;
    teeth->n = kept;
    return freed * s->sizes[round];
}

static void run(struct state *s, const struct comb_options *o)
{
    s->sizes[0] = o->size;
    batch_alloc(&s->e, &s->teeth[0], batch_count(o->pages, o->size), o->size, 1);
    for (unsigned round = 1; round <= o->rounds && !s->e.failed; round++) {
        uint64_t last = s->sizes[round - 1], freed = 0;
        uint64_t size = (uint64_t)((double)last * o->growth);
        s->sizes[round] = size > last ? size : last + 1;
        for (unsigned i = 0; i < round; i++)
            freed += thin_out(s, i);
        batch_free(&s->e, 0, &s->victims, o->order, &s->rng);
        if (freed < s->sizes[round])
            break;
        batch_alloc(&s->e, &s->teeth[round], freed / s->sizes[round], s->sizes[round], 1 + round);
    }
    for (unsigned round = 0; round <= o->rounds; round++)
        emit_free_all(&s->e, 0, &s->teeth[round]);
}

static int comb_emit(const void *options, uint64_t seed, struct trace_writer *out,
                     struct error *err)
{
    const struct comb_options *o = options;
    struct state s = {.e = {.out = out, .err = err, .step_ns = OP_NS}, .rng = rng_stream(seed, 0)};
    run(&s, o);
    for (unsigned round = 0; round <= ROUNDS; round++)
        ids_free(&s.teeth[round]);
    ids_free(&s.victims);
    return s.e.failed ? -1 : 0;
}

WORKLOAD(comb) = {
    .name = "comb",
    .summary = "frees every other object, then asks for slightly larger ones: no hole fits",
    .source = "Robson, JACM 18(3), 1971",
    .options_size = sizeof(struct comb_options),
    .options = comb_rows,
    .emit = comb_emit,
};
