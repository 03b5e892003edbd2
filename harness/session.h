/*
 * session.h - a run: every allocator on every target in randomised complete blocks, one cell at a
 * time, results written as they come.
 */
#ifndef ALLOCLAB_SESSION_H
#define ALLOCLAB_SESSION_H

#include "harness/cell.h"
#include "harness/results.h"
#include "harness/target.h"
#include "harness/thp.h"

#define COPIES_MAX 32 /* numbers of copies in a session */

enum release_choice { RELEASE_AUTO, RELEASE_FREE, RELEASE_SCOPE, RELEASE_BOTH };

enum stream_choice { STREAM_NEVER, STREAM_ALWAYS, STREAM_AUTO }; /* auto: what is too large */

enum via { VIA_AUTO, VIA_VTABLE, VIA_MALLOC }; /* auto: vtable, unless rivals take part */

extern const char *const release_names[]; /* by enum plan_release */

struct contender {
    struct spec spec;             /* what its rows are called */
    const char *text;             /* as the user gave it */
    const struct allocator *runs; /* in its cells: the spec's design, or libc on a library */
    struct preload preload;       /* that library; an empty path = none */
    bool rival;
};

struct kept { /* what the summary needs of a row */
    unsigned contender, target, block, release, threads;
    enum pass pass;
    unsigned copies; /* of a parallel replay; else 0 */
    bool streamed;   /* its ops were decoded beside it */
    uint32_t status;
    const char *group;
    char detail[160];
    double value[METRIC_COUNT];
    bool known[METRIC_COUNT];
};

struct session {
    struct contender *contenders;
    unsigned contender_count;
    struct target *targets;
    unsigned target_count;
    struct target *prefixes; /* of long targets, for the locality pass; NULL until there is one */
    struct target *played; /* of live targets, by target and contender; NULL until one is played */
    unsigned repeats;
    bool passes[PASS_COUNT];
    enum touch touch;
    enum release_choice release;
    enum via via;              /* how ranked designs are called */
    bool parallel;             /* timed passes replay the recorded threads at once */
    enum stream_choice stream; /* targets whose ops are decoded while cells replay them */
    uint64_t plan_bytes; /* that a plan may take before STREAM_AUTO streams; 0 = a share of all */
    unsigned copies[COPIES_MAX]; /* rising; how often, side by side on one heap */
    unsigned copies_count;
    enum affinity affinity;
    uint64_t seed;
    struct cell_limits limits;
    struct pass_config config;
    enum thp thp;               /* transparent huge pages of all cells */
    char door[256];             /* what the cells' doors are told, every row of os_options */
    struct counter_place place; /* of the counters: what they find here */
    struct results *results;    /* NULL: nothing is written (alloclab check) */
    bool quiet;                 /* no progress line */
    struct kept *kept;
    unsigned kept_count;
    uint64_t kept_room;
    unsigned order, failed; /* cells so far; those neither ok nor not applicable */
    unsigned cells_total;
};

/* Its cells call malloc and free, whoever serves them. */
static inline bool via_malloc(const struct contender *c)
{
    return c->runs->traits & ALLOCATOR_FOREIGN;
}

/* Builds all plans that the session needs, so that bad input is found before anything is measured
 * or written. 0, or -1 with a message. */
int session_plan(struct session *s, struct error *err);
/* Runs all cells. 0, or -1 if a target is no valid trace or results cannot be written. */
int session_run(struct session *s, struct error *err);
void session_free(struct session *s); /* contenders, targets, kept rows */

/* Keeps a row and writes it: `as` says of what it is, the outcome what came of it. 0, or -1 if that
 * cannot be done. */
int session_keep(struct session *s, const struct kept *as, const struct outcome *o,
                 struct error *err);

/* The id columns of a kept row, but for `order`. */
struct row_ids session_ids(const struct session *s, const struct kept *k);

struct comparisons;
/* The table on the terminal: medians with their intervals, ratios to the base allocator. */
void summary_print(const struct session *s, const struct comparisons *comparisons, FILE *stream);
/* The table of what the locality pass counted; nothing if it did not run. */
void locality_summary_print(const struct session *s, FILE *stream);
/* The same of the counters pass, as medians over the blocks. */
void counters_summary_print(const struct session *s, FILE *stream);
int summary_name_width(const struct session *s); /* of the column of names: the longest's */

/* The open loop's, where it was measured. */
void summary_open_print(const struct session *s, FILE *stream);

#endif
