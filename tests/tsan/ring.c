/*
 * ring.c - the ring between decoder and replay under ThreadSanitizer: what one side writes into a
 * chunk must be visible to the other before it reads, and read before it is written again. Chunks
 * are tiny and few, so that both sides wait for each other all the time.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/ring.h"

#define CHUNKS 20000

static void *chunks_make(void *arg)
{
    struct ring *ring = arg;
    for (uint32_t i = 0; i < CHUNKS; i++) {
        struct ring_chunk *chunk = ring_claim(ring);
        chunk->words = 1 + i % ring->shape.words;
        chunk->last = i + 1 == CHUNKS;
        for (uint32_t k = 0; k < chunk->words; k++)
            ring_words(ring, chunk)[k] = (uint64_t)i << 32 | k;
        ring_publish(ring);
    }
    ring_fail(ring, "that was all");
    return NULL;
}

static void chunks_arrive_whole(void **state)
{
    (void)state;
    for (uint32_t chunks = 1; chunks <= 3; chunks++) {
        struct ring_shape shape = {.chunks = chunks, .words = 5};
        struct ring producer, consumer;
        struct error err;
        pthread_t thread;
        int fd;
        uint32_t seen = 0, wrong = 0;
        assert_int_equal(ring_create(&shape, &fd, &err), 0);
        assert_int_equal(ring_map(&producer, fd, RING_PRODUCER, &err), 0);
        assert_int_equal(ring_map(&consumer, fd, RING_CONSUMER, &err), 0);
        struct ring own = consumer;
        consumer.shared = producer.shared; /* or the sanitizer would not see both sides meet */
        consumer.chunks = producer.chunks;
        assert_int_equal(pthread_create(&thread, NULL, chunks_make, &producer), 0);
        for (const struct ring_chunk *chunk; (chunk = ring_take(&consumer)); seen++) {
            for (uint32_t k = 0; k < chunk->words; k++)
                wrong += ring_words(&consumer, chunk)[k] != ((uint64_t)seen << 32 | k);
            wrong += chunk->words != 1 + seen % 5;
        }
        pthread_join(thread, NULL);
        assert_int_equal(seen, CHUNKS);
        assert_int_equal(wrong, 0);
        assert_string_equal(ring_failure(&consumer), "that was all");
        ring_unmap(&own);
        ring_unmap(&producer);
        close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(chunks_arrive_whole)};
    return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
