/*
 * ring.c - see ring.h. Waiting is bounded to 100 ms at a time, so that a failure which nobody could
 * announce to a sleeper is seen all the same.
 */
#include "harness/ring.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RING_MAGIC UINT64_C(0x3130474e4952414c) /* "LARING01" */
#define HEAD_BYTES 4096
#define LOOK_NS    100000000 /* longest sleep */

enum { RING_RUNS_ON, RING_FAILING, RING_FAILED };

struct ring_shared { /* the first page */
    uint64_t magic;
    struct ring_shape shape;
    _Alignas(64) _Atomic uint32_t filled;
    _Alignas(64) _Atomic uint32_t taken;
    _Alignas(64) _Atomic uint32_t state;
    char why[1024];
};
_Static_assert(sizeof(struct ring_shared) <= HEAD_BYTES, "the head is one page");

static uint32_t ring_runs_max(const struct ring *ring)
{
    return ring->shape.words < RING_RUNS ? ring->shape.words : RING_RUNS;
}

uint64_t *ring_words(const struct ring *ring, const struct ring_chunk *chunk)
{
    return (uint64_t *)(ring_runs(chunk) + ring_runs_max(ring));
}

static void shape_take(struct ring *ring, const struct ring_shape *shape)
{
    ring->shape = *shape;
    uint64_t bytes = sizeof(struct ring_chunk) + ring_runs_max(ring) * sizeof(struct plan_run) +
                     (shape->words + PLAN_PREFETCH) * sizeof(uint64_t);
    ring->chunk_bytes = (bytes + HEAD_BYTES - 1) / HEAD_BYTES * HEAD_BYTES;
    ring->bytes = HEAD_BYTES + shape->chunks * ring->chunk_bytes;
}

int ring_create(const struct ring_shape *shape, int *fd, struct error *err)
{
    struct ring ring;
    struct ring_shared head = {.magic = RING_MAGIC, .shape = *shape};
    shape_take(&ring, shape);
    *fd = memfd_create("alloclab-ring", 0);
    if (*fd >= 0 && ftruncate(*fd, (off_t)ring.bytes) == 0 &&
        pwrite(*fd, &head, sizeof head, 0) == (ssize_t)sizeof head)
        return 0;
    error_set(err, "ring: cannot make a memfd of %llu bytes: %s", (unsigned long long)ring.bytes,
              strerror(errno));
    if (*fd >= 0)
        close(*fd);
    return -1;
}

int ring_map(struct ring *ring, int fd, enum ring_side side, struct error *err)
{
    struct stat st;
    struct ring_shared *head =
        mmap(NULL, HEAD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (head == MAP_FAILED)
        return error_set(err, "ring: cannot map descriptor %d: %s", fd, strerror(errno));
    *ring = (struct ring){.shared = head};
    shape_take(ring, &head->shape);
    if (head->magic != RING_MAGIC || fstat(fd, &st) || ring->bytes != (uint64_t)st.st_size) {
        munmap(head, HEAD_BYTES);
        return error_set(err, "ring: descriptor %d: wrong magic or size", fd);
    }
    if (side == RING_WATCHER)
        return 0;
    int rights = side == RING_PRODUCER ? PROT_READ | PROT_WRITE : PROT_READ;
    ring->chunks = mmap(NULL, ring->bytes - HEAD_BYTES, rights, MAP_SHARED, fd, HEAD_BYTES);
    void *copy = side == RING_CONSUMER ? mmap(NULL, ring->chunk_bytes, PROT_READ | PROT_WRITE,
                                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0)
                                       : NULL;
    ring->copy = copy;
    if (ring->chunks != MAP_FAILED && copy != MAP_FAILED)
        return 0;
    error_set(err, "ring: cannot map %llu bytes: %s", (unsigned long long)ring->bytes,
              strerror(errno));
    munmap(head, HEAD_BYTES);
    return -1;
}

void ring_unmap(struct ring *ring)
{
    if (ring->chunks)
        munmap(ring->chunks, ring->bytes - HEAD_BYTES);
    if (ring->copy)
        munmap(ring->copy, ring->chunk_bytes);
    munmap(ring->shared, HEAD_BYTES);
}

static void word_sleep(_Atomic uint32_t *word, uint32_t seen)
{
    struct timespec look = {.tv_nsec = LOOK_NS};
    syscall(SYS_futex, word, FUTEX_WAIT, seen, &look, NULL, 0);
}

static void word_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static struct ring_chunk *chunk_at(const struct ring *ring, uint32_t number)
{
    return (struct ring_chunk *)(ring->chunks + number % ring->shape.chunks * ring->chunk_bytes);
}

struct ring_chunk *ring_claim(struct ring *ring)
{
    for (uint32_t most = ring->shape.chunks - 1;; most = ring->shape.chunks / 2) {
        uint32_t taken = atomic_load_explicit(&ring->shared->taken, memory_order_acquire);
        uint32_t full = ring->mine - taken;
        if (full > ring->shape.chunks)
            return NULL;
        if (full <= most)
            return chunk_at(ring, ring->mine);
        word_wake(&ring->shared->filled);
        word_sleep(&ring->shared->taken, taken);
    }
}

void ring_publish(struct ring *ring)
{
    atomic_store_explicit(&ring->shared->filled, ++ring->mine, memory_order_release);
}

/* Waits for a chunk that is ready; NULL: there will be none. */
static const struct ring_chunk *chunk_await(struct ring *ring)
{
    for (uint32_t least = 1;; least = ring->shape.chunks) {
        const char *failed = ring_failure(ring); /* looked for before: what was made first counts */
        uint32_t filled = atomic_load_explicit(&ring->shared->filled, memory_order_acquire);
        uint32_t ready = filled - ring->mine;
        if (ready >= least || (failed && ready))
            return chunk_at(ring, ring->mine);
        if (failed)
            return NULL;
        ring->waits += least == 1 && ring->mine;
        word_sleep(&ring->shared->filled, filled);
    }
}

static void chunk_give_back(struct ring *ring)
{
    uint32_t filled = atomic_load_explicit(&ring->shared->filled, memory_order_relaxed);
    atomic_store_explicit(&ring->shared->taken, ++ring->mine, memory_order_release);
    if (filled - ring->mine == ring->shape.chunks / 2)
        word_wake(&ring->shared->taken);
}

const struct ring_chunk *ring_take(struct ring *ring)
{
    const struct ring_chunk *chunk = chunk_await(ring);
    struct ring_chunk *copy = ring->copy;
    if (!chunk)
        return NULL;
    *copy = *chunk;
    memcpy(ring_runs(copy), ring_runs(chunk), chunk->runs * sizeof(struct plan_run));
    memcpy(ring_words(ring, copy), ring_words(ring, chunk),
           (chunk->words + PLAN_PREFETCH) * sizeof(uint64_t));
    chunk_give_back(ring);
    return copy;
}

void ring_fail(struct ring *ring, const char *why)
{
    struct ring_shared *s = ring->shared;
    uint32_t state = RING_RUNS_ON;
    if (!atomic_compare_exchange_strong(&s->state, &state, RING_FAILING))
        return;
    size_t length = strnlen(why, sizeof s->why - 1);
    memcpy(s->why, why, length);
    s->why[length] = 0;
    atomic_store_explicit(&s->state, RING_FAILED, memory_order_release);
    word_wake(&s->filled);
}

const char *ring_failure(const struct ring *ring)
{
    uint32_t state = atomic_load_explicit(&ring->shared->state, memory_order_acquire);
    return state == RING_FAILED ? ring->shared->why : NULL;
}
