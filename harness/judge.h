/*
 * judge.h - is the second of two results folders worse than the first?
 *
 * Figures that repeat exactly are held to a small threshold each (tier 1). Times are compared by
 * the exact rank-sum test, since the runs of two sessions are not paired, corrected by
 * Benjamini-Hochberg over all of them, and a difference counts only if it is also larger than
 * noise can be: 5 %, or three times the spread of the single runs (tier 2).
 */
#ifndef ALLOCLAB_JUDGE_H
#define ALLOCLAB_JUDGE_H

#include "harness/stats.h"
#include "harness/stored.h"

struct judge_limits {
    double exact, timed; /* the least changes that count, as ratios: 0.005 is half a percent */
};

enum finding_kind {
    FINDING_SAME,
    FINDING_REGRESSED,
    FINDING_IMPROVED,
    FINDING_UNDECIDED /* times: a regression that would count cannot be excluded */
};

struct finding { /* one figure of a cell that both folders have */
    const struct stored_cell *base, *other;
    enum metric metric;
    enum finding_kind kind;
    bool timed;
    double base_value, other_value; /* medians */
    struct stats_interval ratio;    /* of times: other / base */
    struct stats_hypothesis test;
    double least; /* of times: the change from which on it counts */
};

enum match_kind {
    MATCH_COMPARED,
    MATCH_BASE_ONLY,
    MATCH_OTHER_ONLY,
    MATCH_FAILED,       /* was ok, and now is not: a regression */
    MATCH_MENDED,       /* was not ok, and now is */
    MATCH_NOT_MEASURED, /* not ok, now or in neither */
    MATCH_DIFFERENT     /* not the same workload, though of the same name */
};

struct match {
    const struct stored_cell *base, *other; /* NULL: the folder has none */
    enum match_kind kind;
};

struct judgement {
    struct match *matches;
    unsigned match_count;
    struct finding *findings;
    unsigned finding_count;
    uint64_t match_room, finding_room;
    unsigned kinds[2][FINDING_UNDECIDED + 1]; /* findings: exact ones, times */
    unsigned match_kinds[MATCH_DIFFERENT + 1];
};

/* 0, or -1: no memory. Points into both folders. */
int judge(struct judgement *j, const struct stored *base, const struct stored *other,
          const struct judge_limits *limits, struct error *err);
void judgement_free(struct judgement *j);

/* As the exit status of `alloclab compare`: 0 fine, 1 something is worse, 3 that cannot be excluded. */
int judgement_status(const struct judgement *j);

#endif
