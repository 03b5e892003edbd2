/*
 * pass.h - the passes of a cell: each replays the same plan for one purpose, and writes what it
 * found into the outcome. A pass runs in a process of its own.
 */
#ifndef ALLOCLAB_PASS_H
#define ALLOCLAB_PASS_H

#include "allocators/lib/error.h"
#include "allocators/lib/os.h"
#include "harness/open.h"
#include "harness/outcome.h"
#include "harness/parallel.h"
#include "harness/replay.h"
#include "harness/spec.h"

struct pass_config {              /* how the passes of a session measure */
    double min_seconds;           /* throughput: least time of the steady part */
    unsigned latency_every;       /* latency: one op in so many is timed */
    struct counter_list counters; /* counters: what is counted */
    uint64_t locality_ops;        /* locality: at most so many ops, the trace's first ones */
    unsigned latency_replays;     /* and so many replays for the minimum at most */
    struct open_config open;      /* open: when what arrives */
};

struct cell_setup {
    const struct plan *plan;
    struct ring *ring; /* that the plan's words come through; NULL: it has them */
    const struct spec *spec;
    enum touch touch;      /* of the timed passes */
    struct os_config door; /* what holds for the cell's door, whatever the mode */
    struct pass_config config;
    struct parallel_config parallel; /* no copies: serial */
    uint64_t seed;
    bool repeats; /* the clock and the CPU are virtual though the door does not observe */
    struct outcome *outcome;
};

void throughput_pass(const struct cell_setup *setup);
void latency_pass(const struct cell_setup *setup);
void counters_pass(const struct cell_setup *setup);
void open_pass(const struct cell_setup *setup);
void locality_pass(const struct cell_setup *setup);
void memory_pass(const struct cell_setup *setup);
void verify_pass(const struct cell_setup *setup);
void drain_pass(const struct cell_setup *setup);

/* A heap of the cell's design on a door of its own. */
struct cell_heap {
    struct os *os;
    struct heap *heap;
    struct alloc_env env[SPEC_MAX_DEPTH]; /* of the design, of the one it wraps, and so on */
    uint64_t clock_ns;                    /* the virtual clock; unused in timed passes */
};

/* What a door is told, from "opt=v,opt=v" by the rows of os_options ("" = the defaults). 0, or -1
 * with a message. */
int door_parse(const char *text, struct os_config *config, struct error *err);

/* Opens the door (observing or timed) and the heap; false: the outcome says why, also where the
 * machine cannot do what the door is told. */
bool cell_heap_open(struct cell_heap *h, const struct cell_setup *setup, bool observe);
void cell_heap_close(struct cell_heap *h, const struct cell_setup *setup);

/* The same with a serial replay of the cell's plan over the heap. */
bool cell_replay_open(struct cell_heap *h, struct replay *replay, const struct cell_setup *setup,
                      bool observe, enum touch touch);

/* Moves the virtual clock to the op, and lets the design do its background work when a tick is due.
 */
void cell_heap_tick(struct cell_heap *h, const struct cell_setup *setup, uint64_t op);

/* A replay could go no further: the ring that its words come through has failed, or else the
 * allocator returned NULL: the cell is out of memory, and if the door refused something, it says
 * what. A printf-style text says where. */
__attribute__((format(printf, 3, 4))) void cell_heap_exhausted(const struct cell_heap *h,
                                                               const struct cell_setup *setup,
                                                               const char *format, ...);

/* Ends the cell's account: status and a printf-style detail. */
__attribute__((format(printf, 3, 4))) void
outcome_fail(struct outcome *o, enum outcome_status status, const char *format, ...);

/* The process stays on the CPU that it is on: the counters of two may differ, and a design with
 * caches for each CPU must find its own. */
void cpu_keep(void);

uint64_t clock_now_ns(void);
uint64_t faults_now(void); /* page faults without I/O of this process so far */
/* Bytes resident and private to the process whose /proc/PID/statm is named: resident minus shared;
   0 if it cannot be read. */
uint64_t resident_read(const char *statm);
uint64_t resident_now(void); /* of this process */
/* And with the explicit huge pages of the cell's door. */
uint64_t resident_of(const struct cell_setup *setup);
/* The kernel's own account, shared pages included: makes the present bytes the most so far, and
   tells them; the most since then. False: the kernel does not tell. */
bool resident_mark(uint64_t *bytes);
bool resident_most(uint64_t *bytes);
/* Writes a byte of every page of an object, so that all of it is resident. */
void pages_touch(void *p, size_t size);
/* Bytes of this process that lie in transparent huge pages; false: the kernel does not tell. It
   looks at every page: for rare use. */
bool huge_read(uint64_t *bytes);

#define VIRTUAL_NS_PER_OP 100   /* the virtual clock's speed */
#define TICK_OPS          10000 /* ops between two ticks: a millisecond of the virtual clock */

#endif
