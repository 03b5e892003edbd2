/*
 * freelist.c (test) - what each option of the free list does, seen from its addresses: which hole a
 * request gets, what a split leaves, when neighbours merge, what goes back to the door; Robson's
 * program, whose bound every fit meets exactly; and a random torture of every combination of
 * options with check() after each op.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/lib/bits.h"
#include "harness/registry.h"
#include "tests/lib/world.h"

#define countof(a) (sizeof(a) / sizeof *(a))

struct lab {
    struct rig rig;
    const struct allocator *design;
    struct heap *heap;
    size_t overhead; /* a request of n - overhead bytes makes a block of n */
};

static void lab_open(struct lab *lab, const char *options, size_t commit_limit)
{
    struct rig_setup setup = {
        .options = options, .observe = true, .commit_limit_bytes = commit_limit};
    lab->design = allocator_find("freelist");
    assert_non_null(lab->design);
    rig_open(&lab->rig, lab->design, &setup);
    lab->heap = lab->rig.heap;
    lab->overhead = strstr(options, "header=side") ? 0 : 8;
}

static void lab_close(struct lab *lab)
{
    rig_check(&lab->rig);
    rig_close(&lab->rig);
}

/* An object whose block has `block` bytes. */
static char *make(struct lab *lab, size_t block)
{
    char *p = lab->design->alloc(lab->heap, block - lab->overhead, 1);
    assert_non_null(p);
    memset(p, 0x5a, block - lab->overhead);
    return p;
}

static void drop(struct lab *lab, void *p)
{
    lab->design->free(lab->heap, p, 0);
    rig_check(&lab->rig);
}

struct stat_query {
    const char *name;
    uint64_t value;
};

static void stat_read(void *arg, const char *name, uint64_t value)
{
    struct stat_query *query = arg;
    if (!strcmp(name, query->name))
        query->value = value;
}

static uint64_t stat_of(struct lab *lab, const char *name)
{
    struct stat_query query = {.name = name, .value = UINT64_MAX};
    lab->design->stats(lab->heap, stat_read, &query);
    assert_int_not_equal(query.value, UINT64_MAX);
    return query.value;
}

/* Holes of 256, 64, 128, 96 and 512 bytes in this order of addresses, freed in this order. */
static const size_t hole_bytes[] = {256, 64, 128, 96, 512};

static void make_holes(struct lab *lab, char *holes[countof(hole_bytes)])
{
    for (size_t i = 0; i < countof(hole_bytes); i++) {
        holes[i] = make(lab, hole_bytes[i]);
        make(lab, 32);
    }
    for (size_t i = 0; i < countof(hole_bytes); i++)
        drop(lab, holes[i]);
}

static void fits_choose(void **state)
{
    (void)state;
    static const char *const headers[] = {"inband", "side"};
    for (size_t i = 0; i < countof(headers); i++) {
        char options[128], *hole[countof(hole_bytes)];
        struct lab lab;

        snprintf(options, sizeof options, "fit=first,order=address,bins=no,header=%s", headers[i]);
        lab_open(&lab, options, 0);
        make_holes(&lab, hole);
        assert_ptr_equal(make(&lab, 96), hole[0]);
        assert_ptr_equal(make(&lab, 320), hole[4]);
        assert_ptr_equal(make(&lab, 128), hole[0] + 96);
        assert_ptr_equal(make(&lab, 64), hole[1]); /* 32 bytes are left of the first */
        assert_ptr_equal(make(&lab, 32), hole[0] + 224);
        lab_close(&lab);

        snprintf(options, sizeof options, "fit=best,order=address,bins=no,header=%s", headers[i]);
        lab_open(&lab, options, 0);
        make_holes(&lab, hole);
        assert_ptr_equal(make(&lab, 96), hole[3]);
        assert_ptr_equal(make(&lab, 96), hole[2]);
        assert_ptr_equal(make(&lab, 32), hole[2] + 96);
        assert_ptr_equal(make(&lab, 160), hole[0]);
        assert_ptr_equal(make(&lab, 80), hole[0] + 160);
        lab_close(&lab);

        snprintf(options, sizeof options, "fit=next,order=address,bins=no,header=%s", headers[i]);
        lab_open(&lab, options, 0);
        make_holes(&lab, hole);
        assert_ptr_equal(make(&lab, 64), hole[0]);
        assert_ptr_equal(make(&lab, 128), hole[0] + 64);
        assert_ptr_equal(make(&lab, 96), hole[2]);
        assert_ptr_equal(make(&lab, 64), hole[3]);       /* first fit would go back */
        assert_ptr_equal(make(&lab, 512), hole[4]);      /* the list's end */
        assert_ptr_equal(make(&lab, 64), hole[0] + 192); /* and round to its beginning */
        rig_check(&lab.rig);
        lab_close(&lab);
    }
}

static void order_decides(void **state)
{
    (void)state;
    struct lab lab;
    char *hole[countof(hole_bytes)];
    lab_open(&lab, "fit=first,order=lifo,bins=no", 0);
    make_holes(&lab, hole);
    assert_ptr_equal(make(&lab, 64), hole[4]); /* freed last */
    drop(&lab, hole[4]);
    assert_ptr_equal(make(&lab, 512), hole[4]);
    assert_ptr_equal(make(&lab, 64), hole[3]);
    lab_close(&lab);

    lab_open(&lab, "fit=first,order=lifo,bins=16", 0);
    make_holes(&lab, hole);
    assert_ptr_equal(make(&lab, 64), hole[1]); /* bins of one size each: an exact fit */
    assert_ptr_equal(make(&lab, 112), hole[2]);
    lab_close(&lab);
}

static void split_leaves(void **state)
{
    (void)state;
    struct lab lab;
    lab_open(&lab, "split=64,bins=no,order=address", 0);
    char *a = make(&lab, 160);
    make(&lab, 32);
    drop(&lab, a);
    assert_ptr_equal(make(&lab, 112), a); /* 48 bytes would be left: they stay inside */
    assert_int_equal(lab.design->usable(lab.heap, a), 160 - 8);
    drop(&lab, a);
    assert_ptr_equal(make(&lab, 96), a);
    assert_int_equal(lab.design->usable(lab.heap, a), 96 - 8);
    assert_ptr_equal(make(&lab, 64), a + 96);
    lab_close(&lab);
}

static void merging_waits(void **state)
{
    (void)state;
    static const char *const forms[] = {"inband,footer=yes", "inband,footer=no", "side,footer=yes",
                                        "side,footer=no"};
    for (size_t i = 0; i < countof(forms); i++) {
        struct lab lab;
        char options[128], *block[3];
        for (int deferred = 0; deferred < 2; deferred++) {
            snprintf(options, sizeof options, "coalesce=%s,header=%s",
                     deferred ? "deferred" : "immediate", forms[i]);
            lab_open(&lab, options, 0);
            for (size_t n = 0; n < 3; n++)
                block[n] = make(&lab, 64);
            make(&lab, 8192);
            drop(&lab, block[0]);
            drop(&lab, block[2]);
            drop(&lab, block[1]); /* merges with both sides, or with none */
            char *p = make(&lab, 192);
            if (deferred) {
                assert_true(p > block[2]); /* too little freed for a sweep: from the top */
                assert_int_equal(stat_of(&lab, "sweeps"), 0);
                lab.design->trim(lab.heap);
                rig_check(&lab.rig);
                assert_int_equal(stat_of(&lab, "sweeps"), 1);
                p = make(&lab, 192);
            }
            assert_ptr_equal(p, block[0]);
            lab_close(&lab);
        }
    }
}

static void sweep_when_paid_for(void **state)
{
    (void)state;
    struct lab lab;
    char *block[64];
    lab_open(&lab, "coalesce=deferred", 0);
    for (size_t i = 0; i < countof(block); i++)
        block[i] = make(&lab, 64);
    for (size_t i = 0; i < 16; i++)
        drop(&lab, block[i]);
    assert_ptr_equal(make(&lab, 512), block[0]);
    assert_int_equal(stat_of(&lab, "sweeps"), 1);
    drop(&lab, block[20]); /* too little for another */
    make(&lab, 4096);
    assert_int_equal(stat_of(&lab, "sweeps"), 1);
    lab_close(&lab);
}

static void realloc_in_place(void **state)
{
    (void)state;
    static const char *const forms[] = {"header=inband,footer=yes", "header=inband,footer=no",
                                        "header=side", "header=side,coalesce=deferred",
                                        "header=inband,coalesce=deferred"};
    for (size_t i = 0; i < countof(forms); i++) {
        struct lab lab;
        lab_open(&lab, forms[i], 0);
        size_t over = lab.overhead;
        char *a = make(&lab, 256), *b = make(&lab, 128), *c = make(&lab, 64);
        assert_ptr_equal(lab.design->realloc(lab.heap, a, 256 - over, 128 - over, 1), a);
        rig_check(&lab.rig);
        assert_int_equal(lab.design->usable(lab.heap, a), 128 - over);
        assert_ptr_equal(lab.design->realloc(lab.heap, a, 128 - over, 192 - over, 1), a);
        rig_check(&lab.rig);
        assert_ptr_equal(make(&lab, 64), a + 192);
        assert_ptr_equal(lab.design->realloc(lab.heap, c, 64 - over, 8192, 1), c); /* the top */
        rig_check(&lab.rig);
        char *moved = lab.design->realloc(lab.heap, b, 128 - over, 512, 1);
        assert_true(moved && moved != b);
        for (size_t n = 0; n < 128 - over; n++)
            assert_int_equal(moved[n], 0x5a);
        assert_int_equal(stat_of(&lab, "moves"), 1);
        rig_check(&lab.rig);
        assert_ptr_equal(make(&lab, 128), b);
        char *aligned = lab.design->realloc(lab.heap, moved, 512, 400, 4096);
        assert_true(aligned && is_aligned((uintptr_t)aligned, 4096));
        rig_check(&lab.rig);
        lab_close(&lab);
    }
}

static void trim_returns(void **state)
{
    (void)state;
    static const char *const forms[] = {"header=inband", "header=side", "coalesce=deferred"};
    for (size_t i = 0; i < countof(forms); i++) {
        struct lab lab;
        lab_open(&lab, forms[i], 0);
        size_t empty = rig_committed(&lab.rig);
        char *low = make(&lab, 200000), *middle = make(&lab, 200000), *high = make(&lab, 600000);
        size_t full = rig_committed(&lab.rig);
        assert_true(full >= empty + 1000000 - 65536);
        drop(&lab, high);
        drop(&lab, low); /* a hole: stays */
        assert_int_equal(rig_committed(&lab.rig), full);
        lab.design->trim(lab.heap);
        rig_check(&lab.rig);
        assert_in_range(rig_committed(&lab.rig), full - 600000 - 65536, full - 590000);
        drop(&lab, middle);
        lab.design->trim(lab.heap);
        rig_check(&lab.rig);
        assert_true(rig_committed(&lab.rig) <= empty + 65536);
        make(&lab, 300000);
        rig_check(&lab.rig);
        lab_close(&lab);
    }
}

static void large_alone(void **state)
{
    (void)state;
    struct lab lab;
    lab_open(&lab, "large=64k", 0);
    char *small = make(&lab, 64);
    size_t before = rig_committed(&lab.rig);
    char *a = lab.design->alloc(lab.heap, 100000, 1),
         *b = lab.design->alloc(lab.heap, 65536, 1 << 20);
    assert_true(a && b && is_aligned((uintptr_t)b, 1 << 20));
    rig_check(&lab.rig);
    assert_int_equal(stat_of(&lab, "large_objects"), 2);
    assert_int_equal(lab.design->usable(lab.heap, b), 65536);
    memset(a, 1, 100000);
    assert_ptr_equal(lab.design->realloc(lab.heap, a, 100000, 70000, 1), a);
    rig_check(&lab.rig);
    char *c = lab.design->realloc(lab.heap, a, 70000, 300000, 1);
    assert_true(c && c != a && c[0] == 1 && c[69999] == 1);
    rig_check(&lab.rig);
    char *d = lab.design->realloc(lab.heap, c, 300000, 1000, 1);
    assert_true(d && d[999] == 1);
    lab.design->free(lab.heap, b, 65536);
    rig_check(&lab.rig);
    assert_int_equal(stat_of(&lab, "large_objects"), 0);
    assert_true(rig_committed(&lab.rig) <= before + os_page_bytes());
    drop(&lab, small);
    lab_close(&lab);

    lab_open(&lab, "large=0", 0);
    assert_non_null(lab.design->alloc(lab.heap, 10 << 20, 1));
    assert_int_equal(stat_of(&lab, "large_objects"), 0);
    rig_check(&lab.rig);
    lab_close(&lab);
}

static void regions_follow(void **state)
{
    (void)state;
    struct lab lab;
    char *block[100];
    lab_open(&lab, "region=64k,commit=4k", 0);
    for (size_t i = 0; i < countof(block); i++)
        block[i] = make(&lab, 8192);
    rig_check(&lab.rig);
    assert_true(stat_of(&lab, "regions") >= 3);
    for (size_t i = 0; i < countof(block); i++)
        drop(&lab, block[i]);
    lab.design->trim(lab.heap);
    rig_check(&lab.rig);
    assert_int_equal(stat_of(&lab, "regions"), 1);
    lab_close(&lab);
}

/* A region that comes later may lie below another: lists ascend all the same. */
static void regions_in_order(void **state)
{
    (void)state;
    struct lab lab;
    char *block[60];
    size_t i = 0, gap = 1 << 20;
    lab_open(&lab, "region=64k,commit=4k,coalesce=deferred,order=address,bins=no", 0);
    void *reserved = os_reserve(lab.rig.os, gap, 1);
    assert_non_null(reserved);
    while (stat_of(&lab, "regions") < 2)
        block[i++] = make(&lab, 8192);
    os_release(lab.rig.os, reserved, gap);
    while (stat_of(&lab, "regions") < 3)
        block[i++] = make(&lab, 8192);
    assert_true(block[i - 1] < block[i - 2]);
    for (int n = 0; n < 6; n++)
        block[i++] = make(&lab, 8192);
    while (i > 1) { /* every second, so that blocks stay free in each region */
        drop(&lab, block[i - 2]);
        i -= 2;
    }
    lab.design->trim(lab.heap);
    assert_int_equal(stat_of(&lab, "sweeps"), 1);
    lab_close(&lab);
}

static void memory_runs_out(void **state)
{
    (void)state;
    static const char *const forms[] = {"header=inband", "header=side",
                                        "coalesce=deferred,order=address,bins=no"};
    for (size_t i = 0; i < countof(forms); i++) {
        struct lab lab;
        char *block[2048];
        size_t n = 0;
        lab_open(&lab, forms[i], 1 << 20);
        while (n < countof(block) && (block[n] = lab.design->alloc(lab.heap, 1000, 1)))
            n++;
        assert_in_range(n, 900, 1048);
        rig_check(&lab.rig);
        assert_null(lab.design->realloc(lab.heap, block[n - 1], 1000, 100000, 1));
        assert_null(lab.design->alloc(lab.heap, (size_t)1 << 45, 1));
        assert_null(lab.design->alloc(lab.heap, SIZE_MAX / 2, 1));
        rig_check(&lab.rig);
        for (size_t k = 0; k < n; k++)
            drop(&lab, block[k]);
        assert_non_null(lab.design->alloc(lab.heap, 500000, 1)); /* merged again */
        lab_close(&lab);
    }
}

/* Requests of 2^i less the header lie side by side with nothing between them. */
static void powers_pack(void **state)
{
    (void)state;
    static const char *const forms[] = {"header=inband,bins=no", "header=side,bins=no"};
    for (size_t i = 0; i < countof(forms); i++) {
        struct lab lab;
        lab_open(&lab, forms[i], 0);
        for (size_t bytes = 32; bytes <= 4096; bytes *= 2) {
            char *first = make(&lab, bytes);
            for (size_t n = 1; n < 20; n++)
                assert_ptr_equal(make(&lab, bytes), first + n * bytes);
        }
        lab_close(&lab);
    }
}

/*
 * Robson's program (1971) against a heap of at most `live` units of 32 bytes: objects of 2^i units
 * are kept only where they cover an address that is f mod 2^i, so that no gap serves the next size.
 */
enum { UNIT = 32, ROBSON_OBJECTS = 4096 };

struct robson {
    struct lab lab;
    char *base, *object[ROBSON_OBJECTS];
    size_t units[ROBSON_OBJECTS], count, live, extent;
};

static bool robson_covers(const struct robson *s, size_t i, size_t f, size_t modulus)
{
    size_t start = (size_t)(s->object[i] - s->base) / UNIT;
    return (f + modulus - start % modulus) % modulus < s->units[i];
}

static size_t robson_waste(const struct robson *s, size_t f, size_t modulus)
{
    size_t sum = 0;
    for (size_t i = 0; i < s->count; i++)
        if (robson_covers(s, i, f, modulus))
            sum += modulus - s->units[i];
    return sum;
}

static void robson_add(struct robson *s, size_t units)
{
    char *p = make(&s->lab, units * UNIT);
    assert_true(s->count < ROBSON_OBJECTS);
    s->base = s->base ? s->base : p;
    s->object[s->count] = p;
    s->units[s->count++] = units;
    s->live += units;
    s->extent = size_max(s->extent, (size_t)(p - s->base) / UNIT + units);
}

static size_t robson_extent(const char *options, size_t live, unsigned largest_log2)
{
    static struct robson s;
    s = (struct robson){0};
    lab_open(&s.lab, options, 0);
    for (size_t i = 0; i < live; i++)
        robson_add(&s, 1);
    for (size_t i = 1, f = 0; i <= largest_log2; i++) {
        size_t modulus = (size_t)1 << i, kept = 0, other = f + modulus / 2;
        if (robson_waste(&s, other, modulus) > robson_waste(&s, f, modulus))
            f = other;
        for (size_t k = 0; k < s.count; k++) {
            if (robson_covers(&s, k, f, modulus)) {
                s.object[kept] = s.object[k];
                s.units[kept++] = s.units[k];
            } else {
                s.lab.design->free(s.lab.heap, s.object[k], 0);
                s.live -= s.units[k];
            }
        }
        s.count = kept;
        for (size_t n = (live - s.live) / modulus; n > 0; n--)
            robson_add(&s, modulus);
        rig_check(&s.lab.rig);
    }
    lab_close(&s.lab);
    return s.extent;
}

static void robson_bound(void **state)
{
    (void)state;
    static const char *const fits[] = {"first", "next", "best"};
    for (size_t i = 0; i < countof(fits); i++) {
        for (int side = 0; side < 2; side++) {
            char options[128];
            snprintf(options, sizeof options, "fit=%s,order=address,bins=no,large=0,header=%s",
                     fits[i], side ? "side" : "inband");
            assert_int_equal(robson_extent(options, 1024, 4), 3057);
            assert_int_equal(robson_extent(options, 2048, 6), 8129);
        }
    }
}

/* ---- torture ---- */

enum { STEPS = 500 };

/* A random program, checked after each op; returns a hash of its addresses. */
static uint64_t torture_run(const char *options, uint64_t seed)
{
    struct lab lab;
    struct world world;
    struct world_mix mix = {.max_size = 6000, .aligned = true, .upkeep = true};
    lab_open(&lab, options, 0);
    world_start(&world, &lab.rig, &mix, seed);
    for (unsigned step = 0; step < STEPS; step++) {
        world_run(&world, 1);
        const char *broken = lab.design->check(lab.heap);
        if (broken)
            fail_msg("%s, seed %llu, step %u: %s", options, (unsigned long long)seed, step, broken);
        if (step % 32 == 0)
            rig_check(&lab.rig);
    }
    world_check(&world);
    world_free(&world);
    lab.design->trim(lab.heap);
    lab_close(&lab);
    return world.addresses;
}

static const char *const fit_names[] = {"first", "next", "best"};
static const char *const coalesce_names[] = {"immediate", "deferred"};
static const char *const order_names[] = {"address", "lifo"};
static const char *const header_names[] = {"inband", "side"};
static const char *const footer_names[] = {"yes", "no"};
static const char *const bins_names[] = {"no", "1", "16"};

/* Every combination; where the block before is found must not change where anything is placed. */
static void torture_all(void **state)
{
    (void)state;
    const char *text = getenv("ALLOCLAB_SEED");
    const uint64_t seed = text ? strtoull(text, NULL, 10) : 20240607;
    size_t combinations = countof(fit_names) * countof(coalesce_names) * countof(order_names) *
                          countof(header_names) * countof(bins_names);
    print_message("# ALLOCLAB_SEED=%llu\n", (unsigned long long)seed);
    for (size_t n = 0; n < combinations; n++) {
        size_t rest = n;
        uint64_t trail[countof(footer_names)];
        const char *fit = fit_names[rest % 3], *coalesce = coalesce_names[(rest /= 3) % 2];
        const char *order = order_names[(rest /= 2) % 2], *header = header_names[(rest /= 2) % 2];
        const char *bins = bins_names[(rest /= 2) % 3];
        for (size_t f = 0; f < countof(footer_names); f++) {
            char options[256];
            snprintf(options, sizeof options,
                     "fit=%s,coalesce=%s,order=%s,header=%s,bins=%s,footer=%s,split=%d,"
                     "region=256k,commit=4k,large=4k",
                     fit, coalesce, order, header, bins, footer_names[f], n % 2 ? 32 : 100);
            trail[f] = torture_run(options, seed + n);
        }
        assert_int_equal(trail[0], trail[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fits_choose),         cmocka_unit_test(order_decides),
        cmocka_unit_test(split_leaves),        cmocka_unit_test(merging_waits),
        cmocka_unit_test(sweep_when_paid_for), cmocka_unit_test(realloc_in_place),
        cmocka_unit_test(trim_returns),        cmocka_unit_test(large_alone),
        cmocka_unit_test(regions_follow),      cmocka_unit_test(regions_in_order),
        cmocka_unit_test(memory_runs_out),     cmocka_unit_test(powers_pack),
        cmocka_unit_test(robson_bound),        cmocka_unit_test(torture_all),
    };
    return cmocka_run_group_tests_name("freelist", tests, NULL, NULL);
}
