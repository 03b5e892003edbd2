/*
 * hoard.c - what hoard promises in numbers: memory stays within the header's bound under patterns
 * that blow up other designs, the emptiness invariant (which check() tests after each step here)
 * moves superblocks when it must and not before, freed objects go home, and heaps that threads
 * leave or forget give everything back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "harness/registry.h"
#include "tests/lib/rig.h"
#include "workloads/lib/rng.h"

#define KIB    ((size_t)1 << 10)
#define MIB    ((size_t)1 << 20)
#define SECOND UINT64_C(1000000000)

enum { VIEWS = 16, SIZE = 64, SUPERBLOCK = 32 * 1024, EACH = SUPERBLOCK / SIZE, SLACK = 4 };

static struct rig rig;
static struct heap *views[VIEWS];

static void start(const char *options)
{
    const struct rig_setup setup = {.options = options, .observe = true};
    rig_open(&rig, allocator_find("hoard"), &setup);
    views[0] = rig.view;
    for (unsigned i = 1; i < VIEWS; i++) {
        views[i] = rig.design->thread_enter(rig.heap);
        assert_non_null(views[i]);
    }
}

static void stop(void)
{
    rig_check(&rig);
    for (unsigned i = 1; i < VIEWS; i++)
        rig.design->thread_exit(views[i]);
    rig_close(&rig);
}

static char *take(unsigned view, size_t size)
{
    char *p = rig.design->alloc(views[view], size, 16);
    assert_non_null(p);
    return p;
}

static void give(unsigned view, void *p)
{
    rig.design->free(views[view], p, 0);
}

/* The header's bound on the room in superblocks, for so many bytes of one class in use at most. */
static size_t bound(size_t used)
{
    return used * 4 / 3 + ((size_t)VIEWS * SLACK + 1) * SUPERBLOCK;
}

/* What the door has given: beside the superblocks there are headers, and each view's own unit. */
static size_t bound_committed(size_t used)
{
    return bound(used) * 101 / 100 + VIEWS * 8 * KIB + 256 * KIB;
}

/* ---- blowup ---- */

/* Threads take turns: each allocates as much as the one before; in the first game it frees that
 * itself, in the second the next one does. */
static void test_turns(void **state)
{
    (void)state;
    enum { COUNT = 2 * 1024 * 1024 / SIZE };
    static char *p[COUNT];
    start(NULL);
    for (unsigned turn = 0; turn < 2 * VIEWS; turn++) {
        for (unsigned i = 0; i < COUNT; i++)
            p[i] = take(turn % VIEWS, SIZE);
        rig_check(&rig);
        for (unsigned i = 0; i < COUNT; i++)
            give((turn + turn / VIEWS) % VIEWS, p[i]);
        rig_check(&rig);
        assert_true(rig_stat(&rig, "room_bytes") <= bound(COUNT * SIZE));
        assert_true(rig_committed(&rig) <= bound_committed(COUNT * SIZE));
    }
    stop();
}

/* Each thread in turn fills much memory and keeps one object of each superblock: hardly anything is
 * in use, all of it in superblocks that the next thread must find. */
static void test_leftovers(void **state)
{
    (void)state;
    enum { COUNT = 1024 * 1024 / SIZE };
    static char *p[VIEWS][COUNT];
    size_t live = 0, most = 0;
    start(NULL);
    for (unsigned v = 0; v < VIEWS; v++) {
        for (unsigned i = 0; i < COUNT; i++)
            p[v][i] = take(v, SIZE);
        live += COUNT * SIZE;
        most = live > most ? live : most;
        assert_true(rig_stat(&rig, "room_bytes") <= bound(most));
        for (unsigned i = 0; i < COUNT; i++)
            if (i % EACH) {
                give(v, p[v][i]);
                live -= SIZE;
            }
        rig_check(&rig);
    }
    assert_true(most <= MIB + VIEWS * MIB / EACH);
    assert_true(rig_stat(&rig, "moved_from_global") >= VIEWS / 2);
    assert_true(rig_committed(&rig) <= bound_committed(most));
    stop();
}

/* One allocates, another frees, a window between them. */
static void test_flow(void **state)
{
    (void)state;
    static char *window[512];
    start(NULL);
    for (unsigned i = 0; i < 400000; i++) {
        char **slot = &window[i % 512];
        if (*slot)
            give(1, *slot);
        *slot = take(0, SIZE);
    }
    assert_true(rig_stat(&rig, "room_bytes") <= bound(512 * SIZE));
    assert_int_equal(rig_stat(&rig, "moved_to_global"), 0); /* it all goes home */
    stop();
}

/* At random, with check(), and so the invariant, and the bound, at every eighth step. */
static void test_random(void **state)
{
    (void)state;
    enum { PLACES = 6000 };
    static char *p[PLACES];
    struct rng rng = rng_stream(7, 0);
    size_t live = 0, most = 0;
    start("slack=1,superblock=8k");
    for (unsigned step = 0; step < 30000; step++) {
        unsigned at = (unsigned)rng_below(&rng, PLACES), v = (unsigned)rng_below(&rng, VIEWS);
        bool fill = step / 3000 % 2 == 0 || rng_chance(&rng, 0.1);
        if (p[at] && !fill) {
            give(v, p[at]);
            p[at] = NULL;
            live -= SIZE;
        } else if (!p[at] && fill) {
            p[at] = take(v, SIZE);
            live += SIZE;
        }
        most = live > most ? live : most;
        if (step % 8)
            continue;
        const char *broken = rig.design->check(rig.heap);
        if (broken)
            fail_msg("step %u: %s", step, broken);
        assert_true(rig_stat(&rig, "room_bytes") <= most * 4 / 3 + (VIEWS + 1) * 8 * KIB);
    }
    assert_true(rig_stat(&rig, "moved_from_global") > 0);
    stop();
}

/* ---- the invariant ---- */

static void test_moves_when_it_must(void **state)
{
    (void)state;
    enum { COUNT = 8 * EACH };
    static char *p[COUNT];
    start(NULL);
    for (unsigned i = 0; i < COUNT; i++)
        p[i] = take(0, SIZE);
    assert_int_equal(rig_stat(&rig, "room_bytes"), 8 * SUPERBLOCK);
    /* Half of each superblock: exactly `slack` superblocks' worth of room is free. */
    for (unsigned i = 0; i < COUNT; i += 2)
        give(0, p[i]);
    assert_int_equal(rig_stat(&rig, "moved_to_global"), 0);
    rig_check(&rig);
    give(0, p[1]); /* one more, and half a superblock of objects leaves */
    assert_int_equal(rig_stat(&rig, "moved_to_global"), 1);
    assert_int_equal(rig_stat(&rig, "global_room_bytes"), SUPERBLOCK);
    rig_check(&rig);
    p[1] = take(1, SIZE); /* another thread's first is in it */
    assert_int_equal(rig_stat(&rig, "moved_from_global"), 1);
    assert_int_equal(rig_stat(&rig, "global_room_bytes"), 0);
    assert_int_equal(rig_stat(&rig, "room_bytes"), 8 * SUPERBLOCK);
    stop();
}

/* Either half of the invariant is enough for nothing to move; without both, nearly all does. */
static void test_options(void **state)
{
    (void)state;
    enum { COUNT = 64 * EACH };
    static char *p[COUNT];
    static const char *const options[] = {"empty=0.01,slack=1024", "empty=0.99,slack=1",
                                          "empty=0.01,slack=1"};
    static const size_t least[] = {64, 64, 1}, most[] = {64, 64, 2};
    for (unsigned k = 0; k < 3; k++) {
        start(options[k]);
        for (unsigned i = 0; i < COUNT; i++)
            p[i] = take(0, SIZE);
        for (unsigned i = 0; i < COUNT; i++)
            if (i % EACH > 9)
                give(0, p[i]);
        size_t room =
            (rig_stat(&rig, "room_bytes") - rig_stat(&rig, "global_room_bytes")) / SUPERBLOCK;
        assert_in_range(room, least[k], most[k]);
        rig_check(&rig);
        stop();
    }
}

static void test_fullest_first(void **state)
{
    (void)state;
    static char *p[3 * EACH];
    start(NULL);
    for (unsigned i = 0; i < 3 * EACH; i++)
        p[i] = take(0, SIZE);
    for (unsigned i = 0; i < EACH; i++) {
        if (i % 2)
            give(0, p[i]);
        if (i % 8 == 0)
            give(0, p[EACH + i]);
        if (i % 8)
            give(0, p[2 * EACH + i]);
    }
    for (unsigned i = 0; i < EACH / 8; i++) { /* of the second superblock first, then the first */
        char *q = take(0, SIZE);
        assert_true(q >= p[EACH] && q < p[EACH] + SUPERBLOCK);
    }
    char *q = take(0, SIZE);
    assert_true(q >= p[0] && q < p[0] + SUPERBLOCK);
    stop();
}

/* ---- threads ---- */

static void test_objects_go_home(void **state)
{
    (void)state;
    start(NULL);
    char *p = take(0, SIZE), *fence = take(0, SIZE);
    give(1, p);
    assert_ptr_not_equal(take(1, SIZE), p);
    assert_ptr_equal(take(0, SIZE), p);
    give(1, fence);
    stop();
}

static void test_exit_shares(void **state)
{
    (void)state;
    start(NULL);
    char *p = take(1, SIZE), *q = take(1, SIZE);
    give(0, q);
    rig.design->thread_exit(views[1]);
    assert_int_equal(rig_stat(&rig, "global_room_bytes"), SUPERBLOCK);
    assert_ptr_equal(take(2, SIZE), q);
    assert_int_equal(rig_stat(&rig, "global_room_bytes"), 0);
    give(0, p);
    views[1] = rig.design->thread_enter(rig.heap);
    assert_int_equal(rig_stat(&rig, "heaps"), VIEWS + 2); /* the heap that was left */
    stop();
}

/* More threads than heaps share them, and the bound counts heaps. */
static void test_heaps_limit(void **state)
{
    (void)state;
    start("heaps=2");
    assert_int_equal(rig_stat(&rig, "heaps"), 4);
    for (unsigned v = 0; v < VIEWS; v++)
        give(v, take(v, SIZE));
    assert_true(rig_stat(&rig, "room_bytes") <= 2 * SUPERBLOCK);
    stop();
}

static void test_no_heap_for_a_thread(void **state)
{
    (void)state;
    unsigned opened = 0, steps = 0;
    for (; opened < 2; steps++) {
        const struct rig_setup setup = {.observe = true,
                                        .commit_limit_bytes = (steps + 1) * 4 * KIB};
        if (rig_try_open(&rig, allocator_find("hoard"), &setup)) {
            rig_close(&rig);
            opened++;
        }
    }
    assert_in_range(steps, 8, 32); /* it failed at each door call before */
}

/* ---- tick, trim ---- */

static void test_idle_heaps_return(void **state)
{
    (void)state;
    start("age_ms=1000");
    static char *p[20000];
    size_t before = rig_committed(&rig);
    for (unsigned i = 0; i < 20000; i++)
        p[i] = take(i % VIEWS, 200);
    char *kept = take(3, 200);
    for (unsigned i = 0; i < 20000; i++)
        give(i % VIEWS, p[i]);
    for (unsigned i = 1; i <= 4; i++) {
        rig.clock_ns += SECOND;
        rig.design->tick(rig.heap, rig.clock_ns);
        rig_check(&rig);
        if (i == 1) /* was used */
            assert_true(rig_stat(&rig, "room_bytes") > SUPERBLOCK);
    }
    assert_in_range(rig_stat(&rig, "room_bytes"), 1, SUPERBLOCK);
    assert_int_equal(rig_stat(&rig, "room_bytes"), rig_stat(&rig, "global_room_bytes"));
    assert_true(rig_committed(&rig) <= before + SUPERBLOCK + 64 * KIB);
    give(5, kept); /* the last object of a superblock in the global heap */
    assert_int_equal(rig_stat(&rig, "room_bytes"), 0);
    stop();
}

static void test_trim(void **state)
{
    (void)state;
    start("return=never");
    size_t before = rig_committed(&rig);
    for (unsigned v = 0; v < VIEWS; v++)
        give(v, take(v, SIZE));
    rig.clock_ns += 100 * SECOND;
    rig.design->tick(rig.heap, rig.clock_ns);
    assert_true(rig_committed(&rig) >= before + VIEWS * SUPERBLOCK);
    rig.design->trim(rig.heap);
    assert_true(rig_committed(&rig) <= before);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_leftovers),
        cmocka_unit_test(test_flow),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_moves_when_it_must),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_fullest_first),
        cmocka_unit_test(test_objects_go_home),
        cmocka_unit_test(test_exit_shares),
        cmocka_unit_test(test_heaps_limit),
        cmocka_unit_test(test_no_heap_for_a_thread),
        cmocka_unit_test(test_idle_heaps_return),
        cmocka_unit_test(test_trim),
    };
    return cmocka_run_group_tests_name("hoard", tests, NULL, NULL);
}
