/*
 * ring.h - plan words on their way from the process that decodes a trace to the cell that replays
 * it: a few chunks in a memfd that both map, filled and taken in turns. So a trace of any length is
 * replayed in bounded memory, and of the decoder nothing lies in the cell: neither on its heap nor
 * in its resident numbers.
 *
 * A chunk is a piece of one part of a pass (before the trace's first call, the trace, the
 * epilogue): runs, as in a plan, and the words of these runs one after another, whatever their
 * thread. An op and what belongs to it are never parted. The last chunk of each part says so, so a
 * part that is empty is one empty chunk.
 *
 * Threads: one producer, one consumer. `filled` counts the chunks that were made and is the
 * producer's to write; its release makes the chunk visible to the consumer's acquire. `taken`
 * counts those that were used up and is the consumer's; its release tells that nothing of the chunk
 * will be read any more. Whoever waits sleeps on the other's counter (futex). The consumer lies in
 * the reach of the design under test: it has the chunks read-only, and a `taken` that cannot be is
 * refused by the producer.
 */
#ifndef ALLOCLAB_RING_H
#define ALLOCLAB_RING_H

#include <stdatomic.h>

#include "harness/plan.h"

struct ring_shape {
    uint32_t chunks, words;  /* words of a chunk: at least 2; it has as many runs, at most RUNS */
    uint64_t slots, threads; /* what the words may name: the producer refuses more */
};

#define RING_CHUNKS 16
#define RING_WORDS  (UINT32_C(1) << 16)
#define RING_RUNS   (UINT32_C(1) << 14) /* most runs of a chunk */

struct ring_chunk {
    uint32_t part; /* enum plan_part */
    uint32_t last; /* of its part */
    uint32_t runs, words;
};

struct ring { /* one side's view */
    struct ring_shared *shared;
    char *chunks;
    uint64_t chunk_bytes, bytes; /* bytes: of all, in the memfd */
    struct ring_shape shape;
    uint32_t mine; /* chunks that this side has made or used up */
};

/* Makes the memfd, which exec inherits; 0 or -1 with a message. */
int ring_create(const struct ring_shape *shape, int *fd, struct error *err);

enum ring_side { RING_PRODUCER, RING_CONSUMER, RING_WATCHER }; /* a watcher may only fail it */
int ring_map(struct ring *ring, int fd, enum ring_side side, struct error *err);
void ring_unmap(struct ring *ring);

static inline struct plan_run *ring_runs(const struct ring_chunk *chunk)
{
    return (struct plan_run *)(chunk + 1);
}

/* PLAN_PREFETCH words may be read past the last. */
uint64_t *ring_words(const struct ring *ring, const struct ring_chunk *chunk);
uint32_t ring_runs_max(const struct ring *ring);

/* Producer: waits for a chunk to fill, and hands it over. NULL: the ring was written over. */
struct ring_chunk *ring_claim(struct ring *ring);
void ring_publish(struct ring *ring);

/* Consumer: waits for the next chunk, and gives it back. NULL: the ring has failed, and all chunks
 * made before have been used up. */
const struct ring_chunk *ring_next(struct ring *ring);
void ring_release(struct ring *ring);

/* Anybody: there will be no more chunks, for this reason; the first one stays. */
void ring_fail(struct ring *ring, const char *why);
const char *ring_failure(const struct ring *ring); /* NULL = none */

#endif
