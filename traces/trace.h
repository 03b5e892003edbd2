/*
 * trace.h - what a trace is: a sequence of ops in one total order, with the meta data that says
 * where it is from; and how to write and read one. The bytes are specified in docs/traces.md.
 *
 * Objects have ids, never addresses: the n-th object of a trace (alloc, calloc, aligned or live op
 * that did not fail, in trace order) has id n, from 0. A realloc that succeeds keeps the object's
 * id. Threads and scopes are numbered the same way: scopes by their begin ops, threads by their
 * first appearance in any op.
 *
 * `ops` counts calls, once each: every alloc, calloc, aligned, realloc and free op, failed calls
 * and free(NULL) included, because each of them reached the allocator of the recorded program.
 * Scope, thread and live ops are not calls. This is the number that every ns_per_op divides by.
 *
 * Scopes: begin opens a scope inside the thread's current scope and makes it current; end closes
 * one, whichever thread does it, and a thread whose current scope is closed falls back to the
 * nearest open scope around it; switch makes any open scope, or none (TRACE_NO_SCOPE), the thread's
 * current one. So scopes nest, interleave and are handed over between threads.
 *
 * Thread rules: a reader or writer belongs to one thread at a time. Ownership: strings passed in
 * are copied.
 */
#ifndef ALLOCLAB_TRACE_H
#define ALLOCLAB_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocators/lib/error.h"

enum trace_kind {
    TRACE_ALLOC,   /* malloc and the like, operator new */
    TRACE_CALLOC,  /* zeroed; size = the product */
    TRACE_ALIGNED, /* aligned_alloc, posix_memalign, memalign, valloc, pvalloc, aligned new */
    TRACE_REALLOC, /* object: the old one; size: new bytes. See the flags NULL, FAILED, ENDS */
    TRACE_FREE,    /* object; with SIZED size = what the program said */
    TRACE_SCOPE_BEGIN,
    TRACE_SCOPE_END,
    TRACE_SCOPE_SWITCH,
    TRACE_THREAD_BEGIN, /* optional: a thread also starts by its first op */
    TRACE_THREAD_END,   /* no op of that thread follows */
    TRACE_LIVE,         /* object already live when the recording starts; size 0 = unknown */
    TRACE_KINDS
};

enum trace_flag {
    /* The call returned NULL for want of memory (or overflow): no object; a realloc changes none.
     */
    TRACE_FAILED = 1,
    TRACE_NULL = 2,  /* free(NULL); or realloc(NULL, size): makes a new object, like alloc */
    TRACE_SIZED = 4, /* free with a size (sized operator delete, free_sized) */
    TRACE_ENDS = 8,  /* realloc(p, 0) that freed p: the object ends */
};

#define TRACE_NO_SCOPE  UINT64_MAX
#define TRACE_NO_OBJECT UINT64_MAX
#define TRACE_MAX_SIZE  ((UINT64_C(1) << 40) - 1) /* bytes; of an op that did not fail */

struct trace_op {
    uint8_t kind;       /* enum trace_kind */
    uint8_t flags;      /* enum trace_flag */
    uint8_t align_log2; /* ALIGNED (and aligned realloc): log2 of the alignment asked for; else 0 */
    uint32_t thread;
    uint64_t object;   /* id, also on ops that make one; TRACE_NO_OBJECT if the op has none */
    uint64_t size;     /* requested bytes, as the program said it: may be 0 */
    uint64_t scope;    /* scope ops: the id; else TRACE_NO_SCOPE */
    uint64_t clock_ns; /* since the first op; 0 throughout if the trace has no clock column */
    uint64_t site;     /* allocation site, numbered by the recorder; 0 = not recorded */
};

struct trace_totals { /* kept by the writer, stored in the index */
    uint64_t records; /* ops of any kind */
    uint64_t ops;     /* calls, see above */
    uint64_t kinds[TRACE_KINDS];
    uint64_t failed, null_frees, null_reallocs, sized_frees; /* among the calls */
    uint64_t objects, threads, scopes;
    uint64_t peak_live_objects, peak_live_bytes; /* requested */
    uint64_t end_live_objects, end_live_bytes;
    uint64_t allocated_bytes; /* sum of requested sizes of all ops that got memory (realloc: the
                                 growth) */
};

/* ---- writing ---- */

struct trace_writer;
struct trace_reader;

/* Refuses a path of which PATH.part, which is written first, is one of the inputs: what a writer left
 * that was killed is salvaged by that name. */
int trace_output_apart(const char *path, char *const *inputs, int count, struct error *err);

/* Writes to PATH.part, and renames at trace_finish, so that nothing that existed is lost. NULL on
 * error. */
struct trace_writer *trace_create(const char *path, struct error *err);
struct trace_writer *trace_create_fd(int fd, struct error *err); /* fd stays the caller's */

/* Keys are [a-z0-9_.]+, values UTF-8 without newline. Usual keys: program, command, date, recorder,
   workload, seed, lost_ops, source, thread.N.name. Any time before trace_finish; a key set twice
   keeps the last value. */
int trace_set_meta(struct trace_writer *w, const char *key, const char *value, struct error *err);

/*
 * Appends one op. Objects, scopes and threads must be numbered as said above; whatever does not fit
 * (an unknown object, a dead scope, an op of an ended thread, a size over the limit) is refused
 * with -1 and leaves the writer usable. O(1) amortised; memory grows with the live set and the
 * number of scopes, not with the ops.
 */
int trace_put(struct trace_writer *w, const struct trace_op *op, struct error *err);
/* The same with many ops, one after another up to one that is refused; quicker. */
int trace_put_all(struct trace_writer *w, const struct trace_op *ops, size_t count,
                  struct error *err);
/* All pairs of a trace that is being read. */
int trace_copy_meta(const struct trace_reader *in, struct trace_writer *w, struct error *err);
const struct trace_totals *trace_writer_totals(const struct trace_writer *w);
/* Index, flush, rename; frees w in any case. */
int trace_finish(struct trace_writer *w, struct error *err);
void trace_abandon(struct trace_writer *w); /* removes the unfinished file, frees w */

/* ---- reading ---- */

enum trace_open_flag {
    TRACE_SALVAGE = 1,    /* accept a torn tail: read the blocks that are whole */
    TRACE_SKIP_CLOCK = 2, /* leave clock_ns 0: faster */
    TRACE_AHEAD = 4       /* decode the next blocks on a thread of the reader's own meanwhile */
};

struct trace_reader *trace_open(const char *path, unsigned flags, struct error *err);
struct trace_reader *trace_open_fd(int fd, const char *name, unsigned flags, struct error *err);
/* 1: *op is the next op; 0: the end; -1: the file is damaged, err says file, offset and what. */
int trace_next(struct trace_reader *r, struct trace_op *op, struct error *err);
int trace_rewind(struct trace_reader *r, struct error *err);

/*
 * The same ops by the hundred, as they lie in the reader: records of one thread, an array for each
 * field, for who needs only some of them. NULL: the field is what it is in an op without one.
 */
struct trace_batch {
    uint32_t count, thread;
    const uint8_t *codes; /* kind | flags << 4 */
    const uint64_t *objects, *sizes;
    const uint64_t *clocks, *sites, *scopes;
    const uint8_t *aligns; /* log2 */
};
/* 1: at least one op and at most so many; they last until the next call. 0, -1: as trace_next. */
int trace_next_batch(struct trace_reader *r, uint32_t most, struct trace_batch *batch,
                     struct error *err);
const struct trace_totals *trace_reader_totals(const struct trace_reader *r); /* zeros if torn */
/* The path or name given to open, for messages. */
const char *trace_name(const struct trace_reader *r);
bool trace_is_torn(const struct trace_reader *r);
/* From the next rewind on: ops carry their clock, though the reader was opened with SKIP_CLOCK. */
void trace_keep_clock(struct trace_reader *r);
bool trace_has_clock(const struct trace_reader *r); /* some block has a clock column */
bool trace_has_sites(const struct trace_reader *r); /* some block has a site column */
uint64_t trace_bytes(const struct trace_reader *r); /* of the file */
/* Of blocks and columns that are not known here, and skipped: nobody can say what is in them. */
uint64_t trace_unknown_bytes(const struct trace_reader *r);
uint64_t trace_offset(const struct trace_reader *r); /* of the block being read, for messages */
uint64_t trace_index_offset(const struct trace_reader *r); /* 0 if torn */
/* The i-th meta pair, false past the end; strings live as long as the reader. */
bool trace_meta_at(const struct trace_reader *r, unsigned i, const char **key, const char **value);
const char *trace_meta(const struct trace_reader *r, const char *key); /* NULL if absent */

/*
 * What the index says of the i-th block: how many records, objects, scopes and threads come before
 * it, and the clock of the record before it. False past the last block, and of a torn file.
 */
struct trace_place {
    uint64_t records, objects, scopes, threads, clock_ns;
};
bool trace_place_at(const struct trace_reader *r, uint64_t block, struct trace_place *place);
/* The next op is the first of that block, which trace_place_at() knows. Nothing before it is read. */
void trace_seek(struct trace_reader *r, uint64_t block);
void trace_close(struct trace_reader *r);

/* ---- small helpers ---- */

static inline bool trace_is_call(uint8_t kind)
{
    return kind <= TRACE_FREE;
}

/* The i-th op of a batch. */
static inline struct trace_op trace_batch_op(const struct trace_batch *b, uint32_t i)
{
    return (struct trace_op){.kind = b->codes[i] & 15,
                             .flags = (uint8_t)(b->codes[i] >> 4),
                             .align_log2 = b->aligns ? b->aligns[i] : 0,
                             .thread = b->thread,
                             .object = b->objects[i],
                             .size = b->sizes[i],
                             .scope = b->scopes ? b->scopes[i] : TRACE_NO_SCOPE,
                             .clock_ns = b->clocks ? b->clocks[i] : 0,
                             .site = b->sites ? b->sites[i] : 0};
}

/* True if the op makes a new object. */
static inline bool trace_makes_object(const struct trace_op *op)
{
    if (op->flags & TRACE_FAILED)
        return false;
    return op->kind <= TRACE_ALIGNED || op->kind == TRACE_LIVE ||
           (op->kind == TRACE_REALLOC && (op->flags & TRACE_NULL));
}

/* True if the op ends its object. */
static inline bool trace_ends_object(const struct trace_op *op)
{
    return (op->kind == TRACE_FREE && !(op->flags & TRACE_NULL)) ||
           (op->kind == TRACE_REALLOC && (op->flags & TRACE_ENDS));
}

#endif
