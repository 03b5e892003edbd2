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
 * A replay that is to cost what it costs with the plan in memory must find its words where it would
 * find them then, and its own caches as it left them. So the consumer copies a chunk, before its
 * time is taken, to a place that is always the same and fits a cache; and who waits, waits long: who
 * found the ring empty, until it is full; who found it full, until half of it is free. A replay that
 * slept after every chunk would start each with cold caches, beside a decoder that always runs; and
 * it takes millions of ops until a large heap is in the caches again (way.c says what is counted).
 *
 * Threads: one producer, one consumer. `filled` counts the chunks that were made and is the
 * producer's to write; its release makes the chunk visible to the consumer's acquire. `taken`
 * counts those that were copied and is the consumer's; its release tells that nothing of the chunk
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

#define RING_CHUNKS 8192
#define RING_WORDS  (UINT32_C(1) << 11)
#define RING_RUNS   (UINT32_C(1) << 8) /* most runs of a chunk */

struct ring_chunk {
    _Alignas(64) uint32_t part; /* enum plan_part */
    uint32_t last;              /* of its part */
    uint32_t runs, words;
    uint32_t ops; /* calls of the trace */
};

struct ring { /* one side's view */
    struct ring_shared *shared;
    char *chunks;
    uint64_t chunk_bytes, bytes; /* bytes: of all, in the memfd */
    struct ring_shape shape;
    struct ring_chunk *copy; /* the consumer's, of the chunk at hand */
    uint32_t mine;           /* chunks that this side has made or copied */
    uint64_t waits;          /* of the consumer, that for the first chunk apart */
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

/* Producer: waits for a chunk to fill, and hands it over. NULL: the ring was written over. Who makes
   no more says so by ring_fail(), or the rest would be waited for. */
struct ring_chunk *ring_claim(struct ring *ring);
void ring_publish(struct ring *ring);

/* Consumer: waits for the next chunk and copies it; the copy lasts until the next call. NULL: the
   ring has failed, and all chunks made before have been taken. */
const struct ring_chunk *ring_take(struct ring *ring);

/* Anybody: there will be no more chunks, for this reason; the first one stays. */
void ring_fail(struct ring *ring, const char *why);
const char *ring_failure(const struct ring *ring); /* NULL = none */

#endif
