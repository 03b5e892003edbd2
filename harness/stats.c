/*
 * stats.c - see stats.h.
 *
 * Ranks are kept doubled, so that midranks are whole numbers. An exact distribution is built value
 * by value: each either is among those whose ranks are added up, or is not.
 *
 * Order statistics of all pairs' means or differences are found without making the pairs: with the
 * values sorted, one walk counts the pairs up to a bound, and bisection over the bit patterns of
 * doubles, which sort as the numbers do, ends at the pair itself.
 */
#include "harness/stats.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define Z_95 1.959963984540054 /* normal quantile of 0.975 */

/* Doubled ranks of N values add up to N(N+1); a table of rank sums has a row for each number of
   values up to N/2, and a sum of that many of the greatest ranks in it. */
#define SIGNED_RANK_SUMS (STATS_SIGNED_RANK_EXACT * (STATS_SIGNED_RANK_EXACT + 1) + 1)
#define RANK_SUM_HALF    (STATS_RANK_SUM_EXACT / 2)
#define RANK_SUM_TABLE                                                                             \
    ((RANK_SUM_HALF + 1) * (RANK_SUM_HALF * (2 * STATS_RANK_SUM_EXACT - RANK_SUM_HALF + 1) + 1))

static double table[RANK_SUM_TABLE > SIGNED_RANK_SUMS ? RANK_SUM_TABLE : SIGNED_RANK_SUMS];

static int double_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int size_order(const void *a, const void *b) /* by distance from 0 */
{
    double x = fabs(*(const double *)a), y = fabs(*(const double *)b);
    return x < y ? -1 : x > y;
}

/* Ascending, NaN nowhere. */
static void stats_sort(double *values, unsigned count)
{
    qsort(values, count, sizeof *values, double_order);
}

/* Both tails of a normal variable that lies `distance` from its mean, less the half step by which
   a discrete one is wider. */
static double normal_p(double distance, double variance)
{
    double beyond = fabs(distance) - 0.5;
    return variance > 0 && beyond > 0 ? erfc(beyond / sqrt(2 * variance)) : 1;
}

/* The greatest k for which a value below k has at most half of alpha; 0 = there is none. */
static unsigned long normal_cut(double mean, double variance)
{
    double k = floor(mean - Z_95 * sqrt(variance) + 0.5);
    return k > 0 ? (unsigned long)k : 0;
}

/* ---- order statistics of pairs ---- */

struct pairs { /* sorted values; with `b` the differences b - a, without the means within a */
    const double *a, *b;
    unsigned a_count, b_count;
};

static uint64_t pairs_total(const struct pairs *p)
{
    return p->b ? (uint64_t)p->a_count * p->b_count : (uint64_t)p->a_count * (p->a_count + 1) / 2;
}

/* How many pairs are at most `bound`. */
static uint64_t pairs_count(const struct pairs *p, double bound)
{
    uint64_t count = 0;
    if (p->b) {
        for (unsigned i = 0, j = 0; i < p->a_count; i++) { /* a greater a leaves room for more b */
            while (j < p->b_count && p->b[j] - p->a[i] <= bound)
                j++;
            count += j;
        }
        return count;
    }
    for (unsigned i = 0, end = p->a_count; i < p->a_count; i++) { /* a greater one for fewer */
        while (end > 0 && (p->a[i] + p->a[end - 1]) / 2 > bound)
            end--;
        if (end <= i)
            break;
        count += end - i;
    }
    return count;
}

static double double_of(uint64_t rank) /* the doubles by rising rank */
{
    uint64_t bits = rank >> 63 ? rank ^ (UINT64_C(1) << 63) : ~rank;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t rank_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits >> 63 ? ~bits : bits ^ (UINT64_C(1) << 63);
}

/* The pair of the given rank, from 1: the least double up to which there are so many. */
static double pairs_at(const struct pairs *p, uint64_t rank)
{
    uint64_t low = rank_of(-INFINITY), high = rank_of(INFINITY);
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (pairs_count(p, double_of(middle)) >= rank)
            high = middle;
        else
            low = middle + 1;
    }
    return double_of(low) + 0.0; /* not -0 */
}

static struct stats_interval pairs_interval(const struct pairs *p, unsigned long cut, bool exact)
{
    uint64_t total = pairs_total(p);
    struct stats_interval interval = {.bounded = total && cut, .exact = exact};
    if (!total)
        return interval;
    interval.estimate = (pairs_at(p, (total + 1) / 2) + pairs_at(p, (total + 2) / 2)) / 2;
    if (cut) {
        interval.low = pairs_at(p, cut);
        interval.high = pairs_at(p, total + 1 - cut);
    }
    return interval;
}

/* ---- one sample ---- */

static double binomial_half(unsigned n, unsigned k) /* P(k of n fair coins) */
{
    return exp(lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0) - n * log(2));
}

static double middle_of(const double *sorted, unsigned count)
{
    return count ? (sorted[(count - 1) / 2] + sorted[count / 2]) / 2 : 0;
}

struct stats_interval stats_median(double *values, unsigned count)
{
    stats_sort(values, count);
    struct stats_interval interval = {.estimate = middle_of(values, count), .exact = true};
    unsigned cut = 0;
    double below = 0; /* P(fewer than `cut` lie below the median) */
    while (count && below + binomial_half(count, cut) <= STATS_ALPHA / 2)
        below += binomial_half(count, cut++);
    if (cut) {
        interval.low = values[cut - 1];
        interval.high = values[count - cut];
        interval.bounded = true;
    }
    return interval;
}

double stats_spread(double *values, unsigned count)
{
    stats_sort(values, count);
    double middle = middle_of(values, count);
    for (unsigned i = 0; i < count; i++)
        values[i] = fabs(values[i] - middle);
    stats_sort(values, count);
    return 1.4826 * middle_of(values, count);
}

/* ---- signed ranks ---- */

/* Adds a value of this rank to the distribution of the sum of the ranks of those above 0. */
static void signed_rank_step(unsigned rank, unsigned sum)
{
    for (unsigned s = sum + rank;; s--) {
        double without = s <= sum ? table[s] : 0, with = s >= rank ? table[s - rank] : 0;
        table[s] = (without + with) / 2;
        if (s == 0)
            return;
    }
}

/* With untied ranks: the greatest k for which a sum below k has at most half of alpha. */
static unsigned long signed_rank_cut(unsigned count)
{
    double n = count, below = 0;
    unsigned sum = 0;
    if (count > STATS_SIGNED_RANK_EXACT)
        return normal_cut(n * (n + 1) / 4, n * (n + 1) * (2 * n + 1) / 24);
    table[0] = 1;
    for (unsigned rank = 1; rank <= count; sum += rank++)
        signed_rank_step(rank, sum);
    unsigned long cut = 0;
    while (cut <= sum && below + table[cut] <= STATS_ALPHA / 2)
        below += table[cut++];
    return cut;
}

/* How many of the values from `first` on, which rise in size, are tied with it. */
static unsigned tie_length(const double *values, unsigned count, unsigned first)
{
    unsigned last = first;
    while (last + 1 < count && fabs(values[last + 1]) - fabs(values[first]) <= STATS_TIE)
        last++;
    return last + 1 - first;
}

struct stats_test stats_signed_rank(double *differences, unsigned count)
{
    unsigned zeros = 0, sum = 0;
    double above = 0, squares = 0; /* doubled ranks of those above 0; their squares, of all */
    qsort(differences, count, sizeof *differences, size_order);
    while (zeros < count && fabs(differences[zeros]) <= STATS_TIE)
        zeros++;
    double *d = differences + zeros;
    unsigned n = count - zeros;
    bool exact = n <= STATS_SIGNED_RANK_EXACT;
    table[0] = 1;
    for (unsigned i = 0, ties; i < n; i += ties) {
        ties = tie_length(d, n, i);
        unsigned rank = 2 * i + ties + 1; /* doubled: (i+1) + (i+ties) */
        for (unsigned k = i; k < i + ties; k++) {
            above += d[k] > 0 ? rank : 0;
            squares += (double)rank * rank;
            if (exact)
                signed_rank_step(rank, sum);
            sum += rank;
        }
    }
    if (!exact)
        return (struct stats_test){.p = normal_p(above / 2 - sum / 4.0, squares / 16)};
    unsigned tail = (unsigned)(above < sum - above ? above : sum - above);
    double p = 0;
    for (unsigned s = 0; s <= tail; s++)
        p += table[s];
    return (struct stats_test){.p = fmin(2 * p, 1), .exact = true};
}

struct stats_interval stats_shift(double *differences, unsigned count)
{
    stats_sort(differences, count);
    struct pairs p = {.a = differences, .a_count = count};
    return pairs_interval(&p, count ? signed_rank_cut(count) : 0, count <= STATS_SIGNED_RANK_EXACT);
}

/* ---- rank sums ---- */

struct
    rank_table { /* ways to choose up to `most` of the values so far, by number and sum of ranks */
    unsigned most, sums;
};

static struct rank_table rank_table_begin(unsigned most, unsigned sums)
{
    memset(table, 0, sizeof *table * (most + 1) * (sums + 1));
    table[0] = 1;
    return (struct rank_table){.most = most, .sums = sums};
}

static double *rank_table_row(const struct rank_table *t, unsigned chosen)
{
    return table + (size_t)chosen * (t->sums + 1);
}

static void rank_table_step(const struct rank_table *t, unsigned rank)
{
    for (unsigned chosen = t->most; chosen > 0; chosen--) {
        double *row = rank_table_row(t, chosen);
        const double *fewer = rank_table_row(t, chosen - 1);
        for (unsigned s = rank; s <= t->sums; s++)
            row[s] += fewer[s - rank];
    }
}

/* With untied ranks: the greatest k for which a U (the pairs in which a value of the one sample lies
 * above one of the other) below k has at most half of alpha. */
static unsigned long rank_sum_cut(unsigned a_count, unsigned b_count)
{
    unsigned few = a_count < b_count ? a_count : b_count, all = a_count + b_count;
    double pairs = (double)a_count * b_count;
    if (all > STATS_RANK_SUM_EXACT)
        return normal_cut(pairs / 2, pairs * (all + 1) / 12);
    struct rank_table t = rank_table_begin(few, few * (2 * all - few + 1) / 2);
    for (unsigned rank = 1; rank <= all; rank++)
        rank_table_step(&t, rank);
    const double *ways = rank_table_row(&t, few);
    double total = 0, below = 0;
    for (unsigned s = 0; s <= t.sums; s++)
        total += ways[s];
    unsigned least = few * (few + 1) / 2;
    unsigned long cut = 0;
    while (least + cut <= t.sums && below + ways[least + cut] <= total * STATS_ALPHA / 2)
        below += ways[least + cut++];
    return cut;
}

struct midrank_walk { /* two sorted samples, merged tie by tie */
    const double *few, *many;
    unsigned few_count, many_count;
    unsigned i, j; /* the next of each */
    unsigned rank, ties,
        of_few; /* of the last tie: its doubled midrank, its values, those of few */
};

static bool midrank_next(struct midrank_walk *w)
{
    if (w->i == w->few_count && w->j == w->many_count)
        return false;
    unsigned before = w->i + w->j, first = w->i;
    double value = w->i == w->few_count                                    ? w->many[w->j]
                   : w->j == w->many_count || w->few[w->i] < w->many[w->j] ? w->few[w->i]
                                                                           : w->many[w->j];
    while (w->i < w->few_count && w->few[w->i] == value)
        w->i++;
    while (w->j < w->many_count && w->many[w->j] == value)
        w->j++;
    w->ties = w->i + w->j - before;
    w->of_few = w->i - first;
    w->rank = 2 * before + w->ties + 1;
    return true;
}

/* Twice the smaller tail of the finished table at this sum. */
static double rank_table_p(const struct rank_table *t, double sum)
{
    const double *ways = rank_table_row(t, t->most);
    double below = 0, above = 0, total = 0;
    for (unsigned s = 0; s <= t->sums; s++) {
        total += ways[s];
        below += s <= sum ? ways[s] : 0;
        above += s >= sum ? ways[s] : 0;
    }
    return fmin(2 * fmin(below, above) / total, 1);
}

struct stats_test stats_rank_sum(double *a, unsigned a_count, double *b, unsigned b_count)
{
    stats_sort(a, a_count);
    stats_sort(b, b_count);
    bool swapped = a_count > b_count;
    struct midrank_walk w = {.few = swapped ? b : a,
                             .many = swapped ? a : b,
                             .few_count = swapped ? b_count : a_count,
                             .many_count = swapped ? a_count : b_count};
    unsigned few = w.few_count, all = a_count + b_count;
    struct rank_table t = {0};
    bool exact = all <= STATS_RANK_SUM_EXACT;
    double sum = 0, tied = 0;
    if (!few)
        return (struct stats_test){.p = 1, .exact = true};
    if (exact)
        t = rank_table_begin(few, few * (2 * all - few + 1));
    while (midrank_next(&w)) {
        double ties = w.ties;
        sum += (double)w.rank * w.of_few;
        tied += ties * ties * ties - ties;
        for (unsigned k = 0; exact && k < w.ties; k++)
            rank_table_step(&t, w.rank);
    }
    if (exact)
        return (struct stats_test){.p = rank_table_p(&t, sum), .exact = true};
    double n = all, pairs = (double)a_count * b_count;
    return (struct stats_test){
        .p = normal_p((sum - few * (n + 1)) / 2, pairs / 12 * (n + 1 - tied / (n * (n - 1))))};
}

struct stats_interval stats_shift_between(double *a, unsigned a_count, double *b, unsigned b_count)
{
    stats_sort(a, a_count);
    stats_sort(b, b_count);
    struct pairs p = {.a = a, .b = b, .a_count = a_count, .b_count = b_count};
    return pairs_interval(&p, a_count && b_count ? rank_sum_cut(a_count, b_count) : 0,
                          a_count + b_count <= STATS_RANK_SUM_EXACT);
}

/* ---- families ---- */

static int hypothesis_order(const void *a, const void *b)
{
    double x = (*(struct stats_hypothesis *const *)a)->p,
           y = (*(struct stats_hypothesis *const *)b)->p;
    return x < y ? -1 : x > y;
}

void stats_discoveries(struct stats_hypothesis **family, unsigned count)
{
    double least = 1;
    qsort(family, count, sizeof *family, hypothesis_order);
    for (unsigned rank = count; rank > 0; rank--) {
        least = fmin(least, family[rank - 1]->p * count / rank);
        family[rank - 1]->q = least;
    }
}
