/*
 * robson.c - Robson's adversary: the program that makes any allocator that does not move objects
 * need the most memory for what it holds. It looks at the addresses it is given, so it is played
 * live against each design; what it did there becomes that design's trace.
 *
 * With at most M units live and objects of 1, 2, 4 .. n units (n a power of two):
 *
 *     make M objects of 1 unit; f := 0
 *     for i = 1 .. log2 n
 *         an object occupies f if it covers a unit whose address is f modulo 2^i
 *         f := f or f + 2^(i-1), whichever has the larger sum of 2^i - size over the objects that
 *              occupy it
 *         free every object that does not occupy f
 *         make floor((M - live) / 2^i) objects of 2^i units
 *
 * Every object that stays spoils a stretch of 2^i units for the next round, with as few units as
 * can be. No allocator can do with less than M (log2(n) / 2 + 1) - n + 1 units; first, best and
 * next fit need exactly that, a binary buddy system M (1 + log2(n) / 2).
 *
 * Units are `unit` bytes, and addresses count from the first object. A design that puts a header
 * before each object packs exactly if requests leave room for it: 2^i units less `header` bytes.
 * The extent, peak_extent_bytes plus `header`, over `unit` is then the number of units that the
 * design needed.
 *
 * Source: Robson, "An estimate of the store size necessary for dynamic storage allocation", JACM
 * 18(3), 1971; Robson, "Bounds for some functions concerning dynamic storage allocation", JACM
 * 21(3), 1974.
 *
 * It cannot tell how a real program would fare: nobody's program frees by address modulo a power of
 * two.
 */
#include <stdbool.h>
#include <stdlib.h>

#include "workloads/lib/workload.h"

struct robson_options {
    uint64_t live, largest, unit, header;
};

static const struct option robson_options[] = {
    {.name = "live",
     .type = OPTION_COUNT,
     .offset = offsetof(struct robson_options, live),
     .fallback = "16384",
     .min = 1,
     .max = 1 << 22,
     .summary = "M: most units live at once"},
    {.name = "largest",
     .type = OPTION_COUNT,
     .offset = offsetof(struct robson_options, largest),
     .fallback = "256",
     .min = 1,
     .max = 1 << 20,
     .summary = "n: units of the largest object; a power of two, at most M"},
    {.name = "unit",
     .type = OPTION_SIZE,
     .offset = offsetof(struct robson_options, unit),
     .fallback = "64",
     .min = 16,
     .max = 1 << 20,
     .summary = "bytes of a unit; a multiple of 16"},
    {.name = "header",
     .type = OPTION_SIZE,
     .offset = offsetof(struct robson_options, header),
     .fallback = "0",
     .max = 1024,
     .summary =
         "bytes that the design adds to each object: requests are smaller by them; below a unit"},
    {.name = NULL},
};

struct piece {                     /* a live object */
    uint64_t object, start, units; /* start: first unit, from the first object's */
};

struct game {
    const struct robson_options *options;
    struct player *player;
    struct piece *pieces;
    uint64_t count, live; /* pieces; units live */
    uintptr_t base;       /* address of the first object */
    uint64_t f;
};

/* Makes one object; an address below the first one's counts as far up, as unsigned numbers do. */
static int piece_make(struct game *g, uint64_t units, struct error *err)
{
    struct piece *p = &g->pieces[g->count];
    size_t size = units * g->options->unit - g->options->header;
    if (g->player->alloc(g->player, size, &p->object, err))
        return -1;
    uintptr_t address = g->player->address(g->player, p->object);
    if (!g->count && !g->base)
        g->base = address;
    p->start = (uint64_t)(address - g->base) / g->options->unit;
    p->units = units;
    g->count++;
    g->live += units;
    return 0;
}

/* True if the piece covers a unit whose number is f modulo 2^i. */
static bool piece_occupies(const struct piece *p, uint64_t f, unsigned i)
{
    uint64_t modulus = UINT64_C(1) << i;
    return ((f - p->start) & (modulus - 1)) < p->units;
}

static uint64_t residue_gain(const struct game *g, uint64_t f, unsigned i)
{
    uint64_t gain = 0;
    for (uint64_t k = 0; k < g->count; k++)
        if (piece_occupies(&g->pieces[k], f, i))
            gain += (UINT64_C(1) << i) - g->pieces[k].units;
    return gain;
}

static int round_play(struct game *g, unsigned i, struct error *err)
{
    uint64_t other = g->f + (UINT64_C(1) << (i - 1)), kept = 0;
    if (residue_gain(g, other, i) > residue_gain(g, g->f, i))
        g->f = other;
    for (uint64_t k = 0; k < g->count; k++) {
        struct piece p = g->pieces[k];
        if (piece_occupies(&p, g->f, i)) {
            g->pieces[kept++] = p;
        } else if (g->player->free(g->player, p.object, err)) {
            return -1;
        } else {
            g->live -= p.units;
        }
    }
    g->count = kept;
    for (uint64_t wanted = (g->options->live - g->live) >> i; wanted > 0; wanted--)
        if (piece_make(g, UINT64_C(1) << i, err))
            return -1;
    return 0;
}

static int robson_check(const struct robson_options *o, struct error *err)
{
    if (o->largest & (o->largest - 1))
        return error_set(err, "robson: largest=%llu is not a power of two",
                         (unsigned long long)o->largest);
    if (o->largest > o->live)
        return error_set(err, "robson: largest=%llu is more than live=%llu",
                         (unsigned long long)o->largest, (unsigned long long)o->live);
    if (o->unit % 16 || o->header >= o->unit)
        return error_set(err,
                         "robson: unit=%llu has to be a multiple of 16 and more than header=%llu",
                         (unsigned long long)o->unit, (unsigned long long)o->header);
    return 0;
}

static int robson_drive(const void *options, uint64_t seed, struct player *player,
                        struct error *err)
{
    const struct robson_options *o = options;
    struct game g = {.options = o, .player = player};
    (void)seed; /* the adversary draws nothing */
    if (robson_check(o, err))
        return -1;
    g.pieces = malloc(o->live * sizeof *g.pieces);
    if (!g.pieces)
        return error_set(err, "robson: out of memory for %llu objects",
                         (unsigned long long)o->live);
    int result = 0;
    while (!result && g.live < o->live)
        result = piece_make(&g, 1, err);
    for (unsigned i = 1; !result && UINT64_C(1) << i <= o->largest; i++)
        result = round_play(&g, i, err);
    free(g.pieces);
    return result;
}

WORKLOAD(robson) = {
    .name = "robson",
    .summary = "Robson's adversary, live: frees by address so that nothing larger fits",
    .source = "Robson, JACM 18(3), 1971",
    .options_size = sizeof(struct robson_options),
    .options = robson_options,
    .drive = robson_drive};
