/*
 * conformance.c - every registered design against every promise of the contract (allocator.h). A
 * case is one design and one promise, named "DESIGN: PROMISE". No design is known here by name: the
 * traits that it claims and the functions that it has decide what it is held to, and a promise that
 * makes no sense for it is a skip. ALLOCLAB_SEED=N repeats a run with the seed that it printed.
 *
 * run.py: timeout=400
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/lib/bits.h"
#include "allocators/lib/option.h"
#include "harness/registry.h"
#include "tests/lib/forking.h"
#include "tests/lib/rig.h"
#include "tests/lib/steps.h"
#include "tests/lib/world.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static uint64_t seed = 20240229;

static const struct rig_setup observing = {.observe = true}, timed = {.observe = false};
static const struct world_mix flat = {WORLD_FLAT, 16 * KIB, true, false};
static const struct world_mix busy = {WORLD_INTERLEAVED, 16 * KIB, true, true};

static const struct allocator *design_of(void **state)
{
    return *state;
}

/* Memory that is nobody's, or that the door does not see, cannot be held to most promises. */
static void skip_if(bool senseless)
{
    if (senseless)
        skip();
}

static void skip_traits(void **state, unsigned traits)
{
    skip_if(design_of(state)->traits & traits);
}

/* ---- create, destroy, options ---- */

static void test_returns_everything(void **state)
{
    for (unsigned observe = 0; observe < 2; observe++) {
        struct rig rig;
        rig_open(&rig, design_of(state), observe ? &observing : &timed);
        for (size_t size = 1; size <= 4 * MIB; size *= 4)
            rig_keep(&rig, rig.design->alloc(rig.view, size, ALLOCATOR_ALIGN));
        rig_close(&rig); /* asserts it, with the objects still live */
    }
}

static void test_creates_or_refuses(void **state)
{
    skip_traits(state, ALLOCATOR_FOREIGN);
    for (size_t pages = 1; pages <= 512; pages *= 2) {
        struct rig_setup setup = {.observe = true, .commit_limit_bytes = pages * os_page_bytes()};
        struct rig rig;
        bool created = rig_try_open(&rig, design_of(state), &setup);
        if (created)
            rig_close(&rig);
    }
    struct rig_setup wide = {.observe = true, .commit_limit_bytes = 64 * MIB};
    struct rig rig;
    rig_open(&rig, design_of(state), &wide);
    rig_close(&rig);
}

/* One heap with the option text, and a little work in it. */
static void option_try(const struct allocator *design, const char *name, const char *value)
{
    char text[128];
    struct rig rig;
    struct world *w = test_malloc(sizeof *w);
    snprintf(text, sizeof text, "%s=%s", name, value);
    struct rig_setup setup = {.options = text, .observe = true};
    rig_open(&rig, design, &setup);
    if (design->traits & ALLOCATOR_FAKE) {
        assert_non_null(design->alloc(rig.view, 1, 1));
    } else {
        world_start(w, &rig, &busy, seed);
        world_run(w, 400);
        world_check(w);
        world_stop(w);
        world_check(w);
    }
    rig_close(&rig);
    test_free(w);
}

static void option_try_number(const struct allocator *design, const struct option *row,
                              double value)
{
    char text[64];
    snprintf(text, sizeof text, row->type == OPTION_REAL ? "%.17g" : "%.0f", value);
    option_try(design, row->name, text);
}

static void option_try_choices(const struct allocator *design, const struct option *row)
{
    for (const char *at = row->choices; *at; at += *at == '|') {
        char text[64];
        size_t length = strcspn(at, "|");
        snprintf(text, sizeof text, "%.*s", (int)length, at);
        option_try(design, row->name, text);
        at += length;
    }
}

static void test_options(void **state)
{
    const struct allocator *design = design_of(state);
    skip_if(!design->options);
    for (const struct option *row = design->options; row->name; row++) {
        assert_non_null(row->summary);
        option_try(design, row->name, row->fallback);
        if (row->type == OPTION_CHOICE) {
            option_try_choices(design, row);
        } else if (row->type == OPTION_BOOL) {
            option_try(design, row->name, "yes");
            option_try(design, row->name, "no");
        } else if (row->min != 0 || row->max != 0) {
            option_try_number(design, row, row->min);
            option_try_number(design, row, row->max);
        }
    }
}

static void test_describes_itself(void **state)
{
    const struct allocator *design = design_of(state);
    assert_non_null(design->name);
    assert_non_null(design->summary);
    assert_non_null(design->source);
    assert_ptr_equal(allocator_find(design->name), design);
    assert_int_equal(!design->options, !design->options_size);
    assert_int_equal(!design->scope_enter, !design->scope_exit);
    assert_int_equal(!design->thread_enter, !design->thread_exit);
}

/* ---- objects ---- */

static void test_aligns(void **state)
{
    struct rig rig;
    rig_open(&rig, design_of(state), &observing);
    size_t most = rig_has(&rig, ALLOCATOR_ANY_ALIGN) ? MIB : ALLOCATOR_ALIGN;
    for (size_t align = 1; align <= most; align *= 2)
        for (size_t size = 1; size <= 64 * KIB; size = size * 3 + 1) {
            char *p = rig.design->alloc(rig.view, size, align);
            char *q = rig_zalloc(&rig, rig.view, size, align);
            assert_non_null(p);
            assert_non_null(q);
            assert_true(is_aligned((uintptr_t)p, size_max(align, ALLOCATOR_ALIGN)));
            assert_true(is_aligned((uintptr_t)q, size_max(align, ALLOCATOR_ALIGN)));
            memset(p, 1, size);
            memset(q, 2, size);
            rig_free(&rig, rig.view, p, size, false);
            rig_free(&rig, rig.view, q, size, true);
        }
    rig_close(&rig);
}

/* A random program, checked `checks` times on the way. */
static void world_try(const struct allocator *design, const struct rig_setup *setup,
                      const struct world_mix *mix, unsigned checks)
{
    struct rig rig;
    struct world *w = test_malloc(sizeof *w);
    rig_open(&rig, design, setup);
    world_start(w, &rig, mix, seed);
    for (unsigned i = 0; i < checks; i++) {
        world_run(w, 6000 / checks);
        world_check(w);
    }
    assert_int_equal(w->refusals, 0);
    world_stop(w);
    world_check(w);
    rig_close(&rig);
    test_free(w);
}

static void test_keeps_objects_apart(void **state)
{
    skip_traits(state, ALLOCATOR_FAKE);
    world_try(design_of(state), &observing, &flat, 1);
    struct world_mix small = {WORLD_FLAT, 64, false, false};
    world_try(design_of(state), &observing, &small, 1);
    struct world_mix large = {WORLD_FLAT, 512 * KIB, false, false};
    struct rig rig;
    struct world *w = test_malloc(sizeof *w);
    rig_open(&rig, design_of(state), &observing);
    world_start(w, &rig, &large, seed);
    world_run(w, 600);
    world_stop(w);
    rig_close(&rig);
    test_free(w);
}

static void test_zeroes_recycled(void **state)
{
    skip_traits(state, ALLOCATOR_FAKE);
    struct rig rig;
    rig_open(&rig, design_of(state), &observing);
    bool scopes = rig.design->scope_enter;
    for (size_t size = 1; size <= 256 * KIB; size = size * 5 / 3 + 1)
        for (unsigned turn = 0; turn < 3; turn++) {
            struct heap *place = scopes ? rig.design->scope_enter(rig.view) : rig.view;
            assert_non_null(place);
            char *p = rig_zalloc(&rig, place, size, ALLOCATOR_ALIGN);
            assert_non_null(p);
            for (size_t i = 0; i < size; i++)
                assert_int_equal(p[i], 0);
            memset(p, 0xa5, size);
            rig_free(&rig, place, p, size, false);
            if (scopes)
                rig.design->scope_exit(place);
        }
    rig_close(&rig);
}

static void test_realloc_keeps(void **state)
{
    skip_traits(state, ALLOCATOR_FAKE);
    static const size_t sizes[] = {1,     17,     16,     4000, 4097,    100,
                                   70000, 300000, 299999, 5,    2 * MIB, 1};
    struct rig rig;
    rig_open(&rig, design_of(state), &observing);
    size_t most = rig_has(&rig, ALLOCATOR_ANY_ALIGN) ? 64 * KIB : ALLOCATOR_ALIGN;
    for (size_t align = 1; align <= most; align *= 4)
        for (unsigned between = 0; between < 2; between++) {
            struct object o = {.size = sizes[0], .align = align};
            o.p = rig.design->alloc(rig.view, o.size, align);
            assert_non_null(o.p);
            for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
                object_fill(&o, i);
                if (between) /* so that it is not the last object */
                    rig_keep(&rig, rig.design->alloc(rig.view, 48, 1));
                o.p = rig_realloc(&rig, rig.view, o.p, o.size, sizes[i], align);
                assert_non_null(o.p);
                assert_true(is_aligned((uintptr_t)o.p, size_max(align, ALLOCATOR_ALIGN)));
                object_verify(&o, size_min(o.size, sizes[i]));
                o.size = sizes[i];
            }
            rig_free(&rig, rig.view, o.p, o.size, true);
            rig_check(&rig);
        }
    rig_close(&rig);
}

static void test_realloc_aligns(void **state)
{
    skip_if(!(design_of(state)->traits & ALLOCATOR_ANY_ALIGN));
    struct rig rig;
    rig_open(&rig, design_of(state), &observing);
    for (size_t align = 32; align <= 64 * KIB; align *= 4)
        for (size_t size = 10; size < 5000; size *= 4) {
            rig_keep(&rig, rig.design->alloc(rig.view, 24, 1)); /* not aligned by luck */
            char *p = rig.design->alloc(rig.view, 500, 1);
            assert_non_null(p);
            p = rig_realloc(&rig, rig.view, p, 500, size, align);
            rig_keep(&rig, p);
            assert_true(is_aligned((uintptr_t)p, align));
        }
    rig_check(&rig);
    rig_close(&rig);
}

static void test_refused_realloc_keeps(void **state)
{
    skip_traits(state, ALLOCATOR_FAKE | ALLOCATOR_FOREIGN);
    static const size_t too_large[] = {64 * MIB, (size_t)1 << 45, SIZE_MAX / 4, SIZE_MAX - 4096,
                                       SIZE_MAX - 100};
    struct rig_setup setup = {.observe = true, .commit_limit_bytes = 16 * MIB};
    struct rig rig;
    rig_open(&rig, design_of(state), &setup);
    for (size_t size = 1; size < 300000; size = size * 7 + 1) {
        struct object o = {.size = size, .align = ALLOCATOR_ALIGN};
        o.p = rig.design->alloc(rig.view, size, o.align);
        assert_non_null(o.p);
        object_fill(&o, size);
        for (unsigned i = 0; i < sizeof too_large / sizeof *too_large; i++) {
            assert_null(rig_realloc(&rig, rig.view, o.p, o.size, too_large[i], o.align));
            assert_null(rig.design->alloc(rig.view, too_large[i], o.align));
            object_verify(&o, o.size);
        }
        rig_check(&rig);
        rig_free(&rig, rig.view, o.p, o.size, false);
    }
    rig_close(&rig);
}

/* An object of its own reservation, where the design has such. */
static void test_refused_realloc_keeps_large(void **state)
{
    skip_traits(state, ALLOCATOR_FAKE | ALLOCATOR_FOREIGN);
    struct rig rig;
    rig_open(&rig, design_of(state), &observing);
    char *p = rig.design->alloc(rig.view, 40 * MIB, ALLOCATOR_ALIGN);
    if (p) {
        p[0] = p[40 * MIB - 1] = 7;
        assert_null(rig_realloc(&rig, rig.view, p, 40 * MIB, SIZE_MAX - 100, ALLOCATOR_ALIGN));
        assert_int_equal(p[0] + p[40 * MIB - 1], 14);
        rig_check(&rig);
        rig_free(&rig, rig.view, p, 40 * MIB, false);
    }
    rig_check(&rig);
    rig_close(&rig);
}

static void test_usable_is_usable(void **state)
{
    skip_if(!design_of(state)->usable);
    struct rig rig;
    rig_open(&rig, design_of(state), &observing);
    struct object objects[128];
    for (unsigned i = 0; i < 128; i++) {
        struct object *o = &objects[i];
        size_t size = 1 + i * i * 3;
        *o = (struct object){.size = size, .align = ALLOCATOR_ALIGN};
        o->p = rig.design->alloc(rig.view, size, o->align);
        assert_non_null(o->p);
        o->size = rig.design->usable(rig_owner_view(&rig, rig.view), o->p);
        assert_true(o->size >= size);
        object_fill(o, i);
    }
    rig_check(&rig);
    for (unsigned i = 0; i < 128; i++) {
        object_verify(&objects[i], objects[i].size);
        rig_free(&rig, rig.view, objects[i].p, 1 + i * i * 3, false);
    }
    rig_check(&rig);
    rig_close(&rig);
}

/* ---- reuse ---- */

/* Committed bytes after so many objects through a window of 64, the oldest freed first. */
static size_t window_run(struct rig *rig, unsigned objects, struct rng *rng)
{
    static void *window[64];
    static size_t sizes[64];
    memset(window, 0, sizeof window);
    for (unsigned i = 0; i < objects + 64; i++) {
        unsigned slot = i % 64;
        if (window[slot])
            rig_free(rig, rig->view, window[slot], sizes[slot], false);
        window[slot] = NULL;
        if (i >= objects)
            continue;
        sizes[slot] = 1 + rng_below(rng, 2000);
        window[slot] = rig->design->alloc(rig->view, sizes[slot], ALLOCATOR_ALIGN);
        assert_non_null(window[slot]);
    }
    return rig_committed(rig);
}

/* Both ways: who reuses must stay where it was, and who does not claim to must have grown. */
static void test_reuses(void **state)
{
    skip_traits(state, ALLOCATOR_FAKE | ALLOCATOR_FOREIGN);
    struct rig rig;
    struct rng rng = rng_stream(seed, 1);
    rig_open(&rig, design_of(state), &observing);
    size_t early = window_run(&rig, 1000, &rng), late = window_run(&rig, 40000, &rng);
    if (rig_has(&rig, ALLOCATOR_REUSES))
        assert_true(late <= 2 * early + MIB);
    else
        assert_true(late > 20 * MIB);
    rig_check(&rig);
    rig_close(&rig);
}

/* ---- bounded ---- */

enum { CROWD = 8000 };

struct crowd { /* a heap with many holes, and one call to be counted */
    struct rig rig;
    void *p[CROWD];
    size_t size;
    void *to_free; /* NULL = allocate `size` */
};

static void crowd_call(void *arg)
{
    struct crowd *c = arg;
    if (c->to_free)
        rig_free(&c->rig, c->rig.view, c->to_free, c->size, false);
    else
        c->rig.design->alloc(c->rig.view, c->size, ALLOCATOR_ALIGN);
}

/* The most instructions that any of some calls takes in a heap with so many objects and holes. */
static long crowd_worst(const struct allocator *design, unsigned objects)
{
    struct crowd *c = test_calloc(1, sizeof *c);
    struct rng rng = rng_stream(seed, 2);
    long worst = 0;
    rig_open(&c->rig, design, &observing);
    for (unsigned i = 0; i < objects; i++) {
        c->p[i] = design->alloc(c->rig.view, 16 + 16 * (i % 5), ALLOCATOR_ALIGN);
        assert_non_null(c->p[i]);
    }
    for (unsigned i = 0; i < objects; i += 2)
        rig_free(&c->rig, c->rig.view, c->p[i], 16 + 16 * (i % 5), false);
    for (unsigned i = 0; i < 20 && worst >= 0; i++) {
        unsigned which = 1 + 2 * (unsigned)rng_below(&rng, objects / 2);
        c->to_free = i % 2 ? c->p[which] : NULL;
        c->size = i % 2 ? 16 + 16 * (which % 5) : (size_t)16 << (i / 2);
        long steps = steps_count(crowd_call, c);
        worst = steps < 0 ? steps : steps > worst ? steps : worst;
    }
    rig_close(&c->rig);
    test_free(c);
    return worst;
}

static void test_bounded(void **state)
{
    skip_if(!(design_of(state)->traits & ALLOCATOR_BOUNDED));
    long few = crowd_worst(design_of(state), 40), many = crowd_worst(design_of(state), CROWD);
    skip_if(few < 0 || many < 0); /* no right to trace */
    if (many > 2 * few)
        fail_msg("at worst %ld instructions with 40 objects, %ld with %d", few, many, CROWD);
}

/* ---- scopes ---- */

static void test_scopes_nest(void **state)
{
    skip_traits(state, ALLOCATOR_FAKE);
    skip_if(!design_of(state)->scope_enter);
    struct world_mix mix = {WORLD_NESTED, 16 * KIB, true, false};
    world_try(design_of(state), &observing, &mix, 20);
}

static void test_scopes_interleave(void **state)
{
    skip_traits(state, ALLOCATOR_FAKE);
    skip_if(!design_of(state)->scope_enter);
    world_try(design_of(state), &observing, &busy, 20);
    struct world_mix plain = {WORLD_INTERLEAVED, 2 * KIB, false, false};
    world_try(design_of(state), &observing, &plain, 20);
}

/* Three scopes, objects in the outer two from inside the innermost, left in the given order. */
static void scopes_cycle(struct rig *rig, const unsigned *order, struct object *outer)
{
    struct heap *view[3] = {rig->view, NULL, NULL};
    for (unsigned i = 0; i < 3; i++) {
        view[i] = rig->design->scope_enter(i ? view[i - 1] : rig->view);
        assert_non_null(view[i]);
        for (unsigned n = 0; n < 50; n++)
            assert_non_null(rig->design->alloc(view[(n + i) % (i + 1)], 100 + 40 * n, 16));
    }
    for (unsigned i = 0; i < 3; i++) {
        rig->design->scope_exit(view[order[i]]);
        object_verify(outer, outer->size);
    }
}

static void test_scopes_hand_back(void **state)
{
    skip_traits(state, ALLOCATOR_FAKE | ALLOCATOR_FOREIGN);
    skip_if(!design_of(state)->scope_enter);
    static const unsigned orders[][3] = {{2, 1, 0}, {0, 1, 2}, {1, 0, 2}, {1, 2, 0}, {0, 2, 1}};
    struct rig rig;
    rig_open(&rig, design_of(state), &observing);
    struct object outer = {.size = 1000, .align = 16};
    outer.p = rig.design->alloc(rig.view, outer.size, outer.align);
    assert_non_null(outer.p);
    object_fill(&outer, 1);
    size_t early = 0;
    for (unsigned i = 0; i < 400; i++) {
        scopes_cycle(&rig, orders[i % 5], &outer);
        if (i == 20)
            early = rig_committed(&rig);
    }
    assert_true(rig_committed(&rig) <= early + 64 * KIB);
    rig_check(&rig);
    rig_close(&rig);
}

/* An object that moves inside its scope is gone with it, whichever view the design is given. */
static void test_realloc_stays(void **state)
{
    skip_traits(state, ALLOCATOR_FAKE | ALLOCATOR_FOREIGN);
    skip_if(!design_of(state)->scope_enter);
    struct rig rig;
    rig_open(&rig, design_of(state), &observing);
    size_t early = 0;
    for (unsigned i = 0; i < 300; i++) {
        struct heap *scope = rig.design->scope_enter(rig.view);
        assert_non_null(scope);
        char *p = rig.design->alloc(scope, 1000, 16);
        assert_non_null(p);
        assert_non_null(rig.design->alloc(scope, 1000, 16));
        assert_non_null(rig_realloc(&rig, scope, p, 1000, 5000, 16));
        rig.design->scope_exit(scope);
        if (i == 20)
            early = rig_committed(&rig);
    }
    assert_true(rig_committed(&rig) <= early + 64 * KIB);
    rig_check(&rig);
    rig_close(&rig);
}

/* ---- observation ---- */

static void test_walk_observing(void **state)
{
    skip_traits(state, ALLOCATOR_FAKE);
    world_try(design_of(state), &observing, &busy, 60);
}

static void test_walk_timed(void **state)
{
    skip_traits(state, ALLOCATOR_FAKE);
    world_try(design_of(state), &timed, &busy, 60);
}

static void test_walk_law_fresh(void **state)
{
    struct rig rig;
    rig_open(&rig, design_of(state), &observing);
    rig_check(&rig);
    for (size_t size = 1; size <= 32 * MIB; size = 7 * size + 3) {
        void *p = rig.design->alloc(rig.view, size, 1);
        rig_keep(&rig, p);
        memset(p, 1, size); /* an observing door lets only committed bytes be touched */
        rig_check(&rig);
    }
    rig_close(&rig);
}

static void stat_seen(void *arg, const char *name, uint64_t value)
{
    (void)value;
    assert_non_null(name);
    assert_true(name[0] != 0);
    ++*(unsigned *)arg;
}

static void test_stats(void **state)
{
    skip_if(!design_of(state)->stats);
    struct rig rig;
    unsigned seen = 0;
    rig_open(&rig, design_of(state), &observing);
    rig_keep(&rig, rig.design->alloc(rig.view, 100, 1));
    rig.design->stats(rig.heap, stat_seen, &seen);
    assert_true(seen > 0);
    rig_close(&rig);
}

static void test_repeats(void **state)
{
    skip_traits(state, ALLOCATOR_FOREIGN);
    uint64_t addresses[2];
    for (unsigned run = 0; run < 2; run++) {
        struct rig rig;
        struct world *w = test_malloc(sizeof *w);
        rig_open(&rig, design_of(state), &observing);
        w->addresses = 0;
        if (rig_has(&rig, ALLOCATOR_FAKE)) {
            addresses[run] = (uintptr_t)rig.design->alloc(rig.view, 100, 1);
        } else {
            world_start(w, &rig, &busy, seed);
            world_run(w, 6000);
            world_stop(w);
            addresses[run] = w->addresses;
        }
        rig_close(&rig);
        test_free(w);
    }
    assert_true(addresses[0] == addresses[1]);
}

/* ---- memory runs out ---- */

static void test_survives_limit(void **state)
{
    skip_traits(state, ALLOCATOR_FAKE | ALLOCATOR_FOREIGN);
    for (size_t limit = MIB; limit <= 2 * MIB; limit += 123 * KIB) {
        struct rig_setup setup = {.observe = true, .commit_limit_bytes = limit};
        struct rig rig;
        struct world *w = test_malloc(sizeof *w);
        if (rig_try_open(&rig, design_of(state), &setup)) {
            world_start(w, &rig, &busy, seed + limit);
            world_run(w, 3000);
            world_check(w);
            world_stop(w);
            world_check(w);
            rig_close(&rig);
        }
        test_free(w);
    }
}

static void test_refuses_then_serves(void **state)
{
    skip_traits(state, ALLOCATOR_FAKE | ALLOCATOR_FOREIGN);
    struct rig_setup setup = {.observe = true, .commit_limit_bytes = 8 * MIB};
    static struct object objects[4096];
    struct rig rig;
    unsigned count = 0;
    rig_open(&rig, design_of(state), &setup);
    for (; count < 4096; count++) {
        objects[count] = (struct object){.size = 5000, .align = 16};
        objects[count].p = rig.design->alloc(rig.view, 5000, 16);
        if (!objects[count].p)
            break;
        object_fill(&objects[count], count);
    }
    assert_in_range(count, 100, 4095); /* it was refused in the end */
    rig_check(&rig);
    for (unsigned i = 0; i < count; i++) {
        object_verify(&objects[i], objects[i].size);
        rig_free(&rig, rig.view, objects[i].p, objects[i].size, false);
    }
    rig_check(&rig);
    if (rig_has(&rig, ALLOCATOR_REUSES))
        assert_non_null(rig.design->alloc(rig.view, 5000, 16));
    rig_close(&rig);
}

/* ---- upkeep ---- */

static void test_trim_keeps(void **state)
{
    skip_traits(state, ALLOCATOR_FAKE);
    skip_if(!design_of(state)->trim);
    struct rig rig;
    struct world *w = test_malloc(sizeof *w);
    rig_open(&rig, design_of(state), &observing);
    world_start(w, &rig, &busy, seed);
    for (unsigned i = 0; i < 20; i++) {
        world_run(w, 200);
        size_t before = rig_committed(&rig);
        rig.design->trim(rig.heap);
        assert_true(rig_committed(&rig) <= before);
        world_verify(w);
        world_check(w);
    }
    world_stop(w);
    rig_close(&rig);
    test_free(w);
}

/* What a scope leaves behind can be trimmed, and reads as zero where zeroed memory is asked for. */
static void test_trim_after_scope(void **state)
{
    skip_traits(state, ALLOCATOR_FAKE);
    skip_if(!design_of(state)->trim || !design_of(state)->scope_enter);
    struct rig rig;
    rig_open(&rig, design_of(state), &observing);
    for (unsigned round = 0; round < 4; round++) {
        struct heap *scope = rig.design->scope_enter(rig.view);
        assert_non_null(scope);
        for (unsigned i = 0; i < 100; i++) {
            char *p = rig_zalloc(&rig, scope, 10000, 16);
            assert_non_null(p);
            for (unsigned n = 0; n < 10000; n++)
                assert_int_equal(p[n], 0);
            memset(p, 1, 10000);
        }
        rig.design->scope_exit(scope);
        rig.design->trim(rig.heap);
        rig_check(&rig);
    }
    rig_close(&rig);
}

/* ---- threads ---- */

struct worker {
    struct rig rig; /* the shared heap, this thread's view */
    struct world *world;
    pthread_barrier_t *start;
};

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    pthread_barrier_wait(worker->start);
    world_run(worker->world, 3000);
    world_stop(worker->world);
    return NULL;
}

static void worker_open(struct worker *worker, const struct rig *rig, unsigned number)
{
    worker->rig = *rig;
    if (number && rig->design->thread_enter)
        worker->rig.view = rig->design->thread_enter(rig->heap);
    assert_non_null(worker->rig.view);
    worker->world = test_malloc(sizeof *worker->world);
    world_start(worker->world, &worker->rig, &flat, seed + number);
}

static void test_threads_share(void **state)
{
    skip_if(!(design_of(state)->traits & ALLOCATOR_SHARED));
    enum { WORKERS = 3 };
    struct rig rig;
    struct worker workers[WORKERS];
    pthread_t threads[WORKERS];
    pthread_barrier_t start;
    rig_open(&rig, design_of(state), &timed);
    pthread_barrier_init(&start, NULL, WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        worker_open(&workers[i], &rig, i);
        workers[i].start = &start;
    }
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, worker_main, &workers[i]), 0);
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    pthread_barrier_destroy(&start);
    rig_check(&rig);
    for (unsigned i = 0; i < WORKERS; i++) {
        world_check(workers[i].world);
        world_free(workers[i].world);
        if (i && rig.design->thread_exit)
            rig.design->thread_exit(workers[i].rig.view);
        test_free(workers[i].world);
    }
    rig_close(&rig);
}

/* Objects from one view, freed through another; the views take turns. */
static void test_remote_free(void **state)
{
    skip_if(!(design_of(state)->traits & ALLOCATOR_REMOTE_FREE));
    struct rig rig;
    rig_open(&rig, design_of(state), &observing);
    bool views = rig.design->thread_enter;
    struct heap *other = views ? rig.design->thread_enter(rig.heap) : rig.view;
    assert_non_null(other);
    for (unsigned round = 0; round < 50; round++) {
        struct object objects[64];
        for (unsigned i = 0; i < 64; i++) {
            struct object *o = &objects[i];
            *o = (struct object){.size = 1 + 37 * i, .align = 16};
            o->p = rig.design->alloc(i % 2 ? rig.view : other, o->size, o->align);
            assert_non_null(o->p);
            object_fill(o, i);
        }
        for (unsigned i = 0; i < 64; i++) {
            object_verify(&objects[i], objects[i].size);
            rig.design->free(i % 2 ? other : rig.view, objects[i].p, objects[i].size);
        }
        rig_check(&rig);
    }
    if (views)
        rig.design->thread_exit(other);
    rig_close(&rig);
}

enum { TOGETHER = 4, LEFT = 64 };

/* Committed bytes after so many generations of threads, all of them views of this one. Each thread
 * frees what others before it left, leaves as much, and allocates and frees objects of its own. */
static size_t generations_run(struct rig *rig, unsigned generations, struct rng *rng)
{
    void *left[LEFT] = {NULL};
    size_t sizes[LEFT] = {0};
    struct heap *views[TOGETHER];
    for (unsigned g = 0; g <= generations; g++) {
        for (unsigned t = 0; t < TOGETHER; t++)
            assert_non_null(views[t] = rig->design->thread_enter(rig->heap));
        for (unsigned i = 0; i < LEFT; i++) {
            struct heap *view = views[(g + i) % TOGETHER];
            size_t size = 1 + rng_below(rng, i % 16 ? 500 : 20 * KIB);
            void *own = rig->design->alloc(view, size, ALLOCATOR_ALIGN);
            assert_non_null(own);
            if (left[i])
                rig->design->free(view, left[i], sizes[i]);
            left[i] = g < generations ? rig->design->alloc(view, size, ALLOCATOR_ALIGN) : NULL;
            assert_true(left[i] || g == generations);
            sizes[i] = size;
            rig->design->free(view, own, size);
        }
        for (unsigned t = 0; t < TOGETHER; t++)
            rig->design->thread_exit(views[t]);
    }
    return rig_committed(rig);
}

/* What the first left, their views among it, is what all others take. */
static void test_threads_come_and_go(void **state)
{
    skip_if(!design_of(state)->thread_enter || !(design_of(state)->traits & ALLOCATOR_REUSES));
    skip_if(!(design_of(state)->traits & ALLOCATOR_REMOTE_FREE));
    struct rig rig;
    struct rng rng = rng_stream(seed, 5);
    rig_open(&rig, design_of(state), &observing);
    size_t early = generations_run(&rig, 20, &rng), late = generations_run(&rig, 1000, &rng);
    assert_true(late <= 2 * early + MIB);
    rig_check(&rig);
    rig_close(&rig);
}

static void test_survives_fork(void **state)
{
    skip_if(!(design_of(state)->traits & ALLOCATOR_SHARED));
    skip_traits(state, ALLOCATOR_FAKE | ALLOCATOR_FOREIGN);
    forking_try(design_of(state), seed);
}

/* ---- the table ---- */

static const struct promise {
    const char *name;
    CMUnitTestFunction test;
} promises[] = {
    {"describes itself", test_describes_itself},
    {"gives everything back to the door", test_returns_everything},
    {"is created, or refuses without a trace", test_creates_or_refuses},
    {"works with every option", test_options},
    {"aligns", test_aligns},
    {"keeps objects apart", test_keeps_objects_apart},
    {"zeroes recycled memory", test_zeroes_recycled},
    {"keeps contents and alignment in realloc", test_realloc_keeps},
    {"gives realloc the alignment asked for", test_realloc_aligns},
    {"keeps the object when realloc is refused", test_refused_realloc_keeps},
    {"keeps a large object when realloc is refused", test_refused_realloc_keeps_large},
    {"lets usable bytes be used", test_usable_is_usable},
    {"reuses memory if and only if it says so", test_reuses},
    {"takes no more steps in a crowded heap", test_bounded},
    {"nests scopes", test_scopes_nest},
    {"interleaves scopes", test_scopes_interleave},
    {"hands back a scope's memory", test_scopes_hand_back},
    {"keeps realloc in the object's scope", test_realloc_stays},
    {"tells every committed byte once", test_walk_law_fresh},
    {"tells every committed byte once, at work", test_walk_observing},
    {"tells every committed byte once, timed", test_walk_timed},
    {"names its counters", test_stats},
    {"repeats its addresses", test_repeats},
    {"survives the commit limit", test_survives_limit},
    {"refuses, and serves again", test_refuses_then_serves},
    {"keeps objects in trim", test_trim_keeps},
    {"trims what a scope left", test_trim_after_scope},
    {"is shared by threads", test_threads_share},
    {"frees through another thread's view", test_remote_free},
    {"keeps nothing for threads that ended", test_threads_come_and_go},
    {"survives fork", test_survives_fork},
};

enum { PROMISES = sizeof promises / sizeof *promises };

int main(void)
{
    size_t designs = 0;
    while (allocators[designs])
        designs++;
    struct CMUnitTest *tests = calloc(designs * PROMISES, sizeof *tests);
    char(*names)[128] = calloc(designs * PROMISES, sizeof *names);
    const char *text = getenv("ALLOCLAB_SEED");
    if (text)
        seed = strtoull(text, NULL, 10);
    printf("# ALLOCLAB_SEED=%llu\n", (unsigned long long)seed);
    if (!tests || !names)
        return 2;
    for (size_t i = 0; i < designs * PROMISES; i++) {
        const struct allocator *design = allocators[i / PROMISES];
        const struct promise *promise = &promises[i % PROMISES];
        snprintf(names[i], sizeof names[i], "%s: %s", design->name, promise->name);
        tests[i] = (struct CMUnitTest){
            .name = names[i], .test_func = promise->test, .initial_state = (void *)design};
    }
    int failed = _cmocka_run_group_tests("conformance", tests, designs * PROMISES, NULL, NULL);
    free(tests);
    free(names);
    return failed;
}
