/*
 * slab.c - what the size-cache front promises beyond the contract: which cache serves which
 * request, the bound on what magazines hold, what mode() says, and the randomised program of
 * tests/lib/stress.h with more threads than CPUs in each way of keeping magazines.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/lib/object_cache.h"
#include "allocators/lib/size_class.h"
#include "harness/registry.h"
#include "tests/lib/lab.h"
#include "tests/lib/stress.h"

struct stat {
    const char *name;
    uint64_t value;
};

static void stat_match(void *arg, const char *name, uint64_t value)
{
    struct stat *stat = arg;
    if (!strcmp(name, stat->name))
        stat->value = value;
}

static uint64_t stat_of(struct lab *lab, const char *name)
{
    struct stat stat = {name, UINT64_MAX};
    lab->design->stats(lab->heap, stat_match, &stat);
    assert_true(stat.value != UINT64_MAX);
    return stat.value;
}

static void test_classes(void **state)
{
    (void)state;
    struct lab lab;
    lab_open(&lab, "slab", NULL, 0);
    for (size_t size = 1; size <= 64 * 1024; size += size / 16 + 1) {
        char *p = lab_make(&lab, size);
        assert_int_equal(lab_usable(&lab, p), size_class_bytes(size_class_of(size)));
        lab_drop(&lab, p);
    }
    lab_close(&lab);
}

/* Alignments up to a colour's are the classes'; above, a power of two; above a unit, a run. */
static void test_alignments(void **state)
{
    (void)state;
    struct lab lab;
    lab_open(&lab, "slab", NULL, 0);
    for (unsigned round = 0; round < 200; round++)
        for (size_t align = 32; align <= 32768; align *= 2) {
            size_t size = 100 * (round % 20) + 1;
            char *p = lab.design->alloc(lab.heap, size, align);
            assert_non_null(p);
            assert_true(is_aligned((uintptr_t)p, align));
            size_t usable = lab_usable(&lab, p), most = size_max(size, align);
            if (align <= COLOUR_BYTES)
                assert_true(usable <= align_up(most, align) * 9 / 8 + align);
            else if (align <= UNIT_BYTES)
                assert_int_equal(usable, (size_t)1 << log2_ceil(size_max(most, 128)));
            else
                assert_int_equal(usable, align_up(size, UNIT_BYTES));
        }
    rig_check(&lab.rig);
    lab_close(&lab);
}

/* Where marks are off the slab, there is room for eight: a slab is not made for more. */
static void test_slabs_are_full(void **state)
{
    (void)state;
    struct lab lab;
    lab_open(&lab, "slab", "objects=512,percpu=off", 0);
    for (size_t size = 512; size <= 8192; size *= 2) {
        size_t before = rig_committed(&lab.rig), count = (2 << 20) / size;
        for (size_t i = 0; i < count; i++)
            assert_non_null(lab.design->alloc(lab.heap, size, 16));
        assert_in_range(rig_committed(&lab.rig) - before, 2 << 20, 4 << 20);
    }
    rig_check(&lab.rig);
    lab_close(&lab);
}

/* Two magazines' worth of each cache on each CPU, of at most 16 KiB each, or of one object. */
static void test_magazines_bounded(void **state)
{
    (void)state;
    static void *p[4000];
    struct lab lab;
    lab_open(&lab, "slab", NULL, 0);
    for (size_t size = 16; size <= 65536; size *= 2) {
        unsigned count = (unsigned)size_min(4000, (4 << 20) / size);
        uint64_t before = stat_of(&lab, "magazine_bytes");
        for (unsigned i = 0; i < count; i++)
            p[i] = lab.design->alloc(lab.heap, size, 16);
        for (unsigned i = 0; i < count; i++)
            lab.design->free(lab.heap, p[i], size);
        uint64_t held = stat_of(&lab, "magazine_bytes") - before;
        assert_in_range(held, size, 2 * size_max(16384, size));
        rig_check(&lab.rig);
    }
    assert_int_equal(stat_of(&lab, "cpus"), 1); /* the virtual one */
    lab.design->trim(lab.heap);
    assert_int_equal(stat_of(&lab, "magazine_bytes"), 0);
    assert_int_equal(stat_of(&lab, "slabs_made"), stat_of(&lab, "slabs_reaped"));
    lab_close(&lab);
}

static void test_mode(void **state)
{
    (void)state;
    for (unsigned observe = 0; observe < 2; observe++) {
        struct rig rig;
        const struct rig_setup setup = {.observe = observe};
        rig_open(&rig, allocator_find("slab"), &setup);
        const char *mode = rig.design->mode(rig.heap);
        if (observe)
            assert_string_equal(mode, "per-cpu magazines under locks: cpus are virtual here");
        else
            assert_true(!strcmp(mode, "per-cpu magazines by rseq") ||
                        !strcmp(mode, "per-cpu magazines under locks: no rseq here"));
        rig_close(&rig);
    }
}

static void test_torture(void **state)
{
    (void)state;
    static const char *const options[] = {"magazine=1,objects=1,empty=0,age_ms=0", "percpu=off",
                                          "colour=no,objects=40,age_ms=0"};
    for (unsigned i = 0; i < sizeof options / sizeof *options; i++)
        lab_torture(&(struct lab_torture){.design = "slab",
                                          .options = options[i],
                                          .seed = lab_seed() + i,
                                          .max_size = 100000,
                                          .steps = 600});
}

static void test_more_threads_than_cpus(void **state)
{
    (void)state;
    static const char *const options[] = {"percpu=auto", "percpu=auto,magazine=1,empty=0,age_ms=0",
                                          "percpu=locks,magazine=2,age_ms=0", "percpu=off"};
    uint64_t seed = lab_seed();
    for (unsigned i = 0; i < 8; i++)
        stress_run(&(struct stress){.design = "slab",
                                    .options = options[i / 2],
                                    .threads = 12,
                                    .steps = 20000,
                                    .seed = seed + i,
                                    .upkeep = i % 2});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_alignments),
        cmocka_unit_test(test_magazines_bounded),
        cmocka_unit_test(test_mode),
        cmocka_unit_test(test_slabs_are_full),
        cmocka_unit_test(test_torture),
        cmocka_unit_test(test_more_threads_than_cpus),
    };
    return cmocka_run_group_tests_name("slab", tests, NULL, NULL);
}
