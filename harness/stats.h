/*
 * stats.h - the statistics of timings, distribution-free: nothing is assumed of how noise is
 * distributed but that blocks (or runs) are independent of each other.
 *
 * Null distributions are exact, also with ties: of the ranks as they are, tied values sharing the
 * mean of theirs (midranks). Above the stated sizes the normal approximation with the correction
 * for ties takes over, and the result says so. All levels are two-sided, intervals hold 95 % or
 * more; where the sample is too small for that at any width, `bounded` is false.
 *
 * Sources: Wilcoxon 1945; Mann & Whitney 1947; Hodges & Lehmann 1963; Hollander, Wolfe & Chicken,
 * "Nonparametric Statistical Methods", 3.1 to 3.4 and 4.1 to 4.3; Benjamini & Hochberg 1995.
 *
 * Nothing is allocated and nothing is kept. The functions sort what they are given, and the exact
 * distributions are worked out in one table of this module: for one thread at a time.
 */
#ifndef ALLOCLAB_STATS_H
#define ALLOCLAB_STATS_H

#include <stdbool.h>

#define STATS_ALPHA             0.05
#define STATS_SIGNED_RANK_EXACT 200 /* differences that are not 0: exact up to so many */
#define STATS_RANK_SUM_EXACT    100 /* values of both samples together: exact up to so many */
#define STATS_TIE               1e-6
/* Paired differences whose sizes are not further apart are tied, and such of no greater size are 0.
 * They are logarithms of ratios of times, which are whole ticks of a clock: 30/20 and 60/40 are one
 * ratio, and their logarithms differ, by what each process found a tick to last. */

struct stats_interval {
    double estimate;
    double low, high; /* where bounded */
    bool bounded;     /* the sample is large enough for 95 %: else there is no interval */
    bool exact;       /* its ends were chosen by the exact distribution */
};

struct stats_test {
    double p;
    bool exact;
};

/* The median of `count` values (0 of none), and between which order statistics it lies: those
 * outside which, on either side, a fair coin falls in at most 2.5 %. From 6 values on. */
struct stats_interval stats_median(double *values, unsigned count);

/* 1.4826 times the median distance from the median: of normal noise its standard deviation. */
double stats_spread(double *values, unsigned count);

/*
 * Signed ranks (Wilcoxon): are paired differences as likely above as below 0? Differences of 0 are
 * left out, as Wilcoxon did; without any other p is 1. With n differences p is at least 2^(1-n): 6
 * are the fewest that can fall below 0.05.
 */
struct stats_test stats_signed_rank(double *differences, unsigned count);

/* Hodges-Lehmann: the median of the means of all pairs of values (each with itself, too), and the
 * interval of shifts that the signed-rank test does not reject. From 6 values on. */
struct stats_interval stats_shift(double *differences, unsigned count);

/*
 * Rank sums (Mann-Whitney), for samples that are not paired: are values of one as likely above as
 * below those of the other? The distribution is that over all ways to divide the values among the
 * two; p is twice the smaller tail. 4 against 4 are the fewest that can fall below 0.05.
 */
struct stats_test stats_rank_sum(double *a, unsigned a_count, double *b, unsigned b_count);

/* Hodges-Lehmann for two samples: the median of all differences b - a, and the interval of shifts
 * that the rank-sum test does not reject. */
struct stats_interval stats_shift_between(double *a, unsigned a_count, double *b, unsigned b_count);

struct stats_hypothesis {
    double p, q;
};

/* Benjamini-Hochberg over a family of tests: q is the least rate of false discoveries at which the
 * test is one. Sorts the pointers. */
void stats_discoveries(struct stats_hypothesis **family, unsigned count);

#endif
