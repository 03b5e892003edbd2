/*
 * comparison.h - a session's allocators against its base: for each workload, release and time
 * metric the Hodges-Lehmann estimate of the ratio, from the logarithms of the ratios within blocks,
 * with its 95 % interval, and the signed-rank test of "no difference". The tests of a session are
 * one family: a difference counts if its q by Benjamini-Hochberg is at most 5 %.
 */
#ifndef ALLOCLAB_COMPARISON_H
#define ALLOCLAB_COMPARISON_H

#include "harness/session.h"
#include "harness/stats.h"

#define BLOCKS_ENOUGH 6 /* fewer cannot show a difference, whatever it is: see stats_signed_rank */

enum verdict {
    VERDICT_UNDECIDED,
    VERDICT_FASTER,
    VERDICT_SLOWER,
    VERDICT_FLOOR /* null is no rival of the base: no test */
};

extern const char *const verdict_names[]; /* as in comparisons.csv */

struct comparison {
    const struct kept *of, *base; /* a row of each: which cells they are */
    enum metric metric;
    unsigned blocks;             /* in which both were measured */
    struct stats_interval ratio; /* of / base */
    struct stats_hypothesis test;
    enum verdict verdict;
    char *tied; /* the others whose difference from this one does not count, among each other one
                   family for each workload and metric; NULL: none, or too few blocks to tell */
};

struct comparisons {
    struct comparison *list;
    unsigned count;
    uint64_t room;
    unsigned tests;      /* in the family */
    unsigned *base;      /* by target: the contender, or contender_count if nothing can be one */
    bool too_few, tilde; /* there are comparisons of few blocks; undecided ones */
};

/* `base`: the text of a contender, "" = of each target the first that is ranked. 0, or -1 with a
 * message. Points into the session. */
int comparisons_make(const struct session *s, const char *base, struct comparisons *out,
                     struct error *err);
void comparisons_free(struct comparisons *c);

/* Of the cells of a line of the table; NULL = there is none. */
const struct comparison *comparisons_find(const struct comparisons *c, const struct kept *of,
                                          enum metric metric);

/* comparisons.csv, if there is anything to compare. */
int comparisons_write(const struct session *s, const struct comparisons *c, struct error *err);

#endif
