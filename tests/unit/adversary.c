/*
 * adversary.c - the workloads that are made to hurt, and the classics: each one's trace is held
 * against what its header comment promises, op by op. The seed is SURVEY_SEED.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/survey.h"

#define PAGE 4096

enum { MOST_THREADS = 256 };

/* A whole trace, and which op made each object. */
struct record {
    struct trace_op *ops;
    const struct trace_op **makers; /* by object */
    size_t n, objects;
};

static struct record record_of(const char *text)
{
    struct record r = {.n = 0};
    r.ops = survey_ops(text, &r.n);
    r.makers = calloc(r.n, sizeof *r.makers);
    assert_non_null(r.makers);
    for (size_t i = 0; i < r.n; i++)
        if (trace_makes_object(&r.ops[i]))
            r.makers[r.objects++] = &r.ops[i];
    return r;
}

static void record_free(struct record *r)
{
    free(r->ops);
    free(r->makers);
}

static bool is_alloc(const struct trace_op *op)
{
    return op->kind == TRACE_ALLOC;
}

static bool is_free(const struct trace_op *op)
{
    return op->kind == TRACE_FREE;
}

/* ---- static killers ---- */

static void check_one_a_group(const bool *alive, size_t first, size_t group, size_t groups)
{
    for (size_t i = 0; i < groups; i++) {
        unsigned live = 0;
        for (size_t k = 0; k < group; k++)
            live += alive[first + i * group + k];
        assert_int_equal(live, 1);
    }
}

static void pagepin_leaves_one_object_a_page(void **state)
{
    (void)state;
    enum { PAGES = 50, ROUNDS = 3, SIZE = 64 };
    struct record r = record_of("pagepin:pages=50,size=64,rounds=3");
    assert_int_equal(r.objects, PAGES * (64 + 32 + 16));
    bool *alive = calloc(r.objects, sizeof *alive);
    assert_non_null(alive);
    size_t frees = 0;
    unsigned round = 0, firsts = 0;
    size_t begins[ROUNDS + 1] = {0}; /* first object of each round */
    for (unsigned i = 0; i < ROUNDS; i++)
        begins[i + 1] = begins[i] + PAGES * (PAGE / (SIZE << i));
    for (size_t i = 0; i < r.n; i++) {
        const struct trace_op *op = &r.ops[i];
        alive[op->object] = is_alloc(op);
        frees += is_free(op);
        if (is_alloc(op))
            assert_int_equal(op->size, SIZE << (op->site - 1));
        if (frees != begins[round + 1] - (round + 1) * PAGES || !is_free(op) || round == ROUNDS)
            continue;
        for (unsigned past = 0; past <= round; past++)
            check_one_a_group(alive, begins[past], PAGE / (SIZE << past), PAGES);
        firsts += alive[0] + alive[64] + alive[128];
        if (++round == ROUNDS)
            break;
    }
    assert_int_equal(round, ROUNDS);
    assert_true(firsts < 3 * ROUNDS); /* it is not always the first one of a group that stays */
    free(alive);
    record_free(&r);
    struct survey s = survey_of("pagepin:pages=20,size=1024,rounds=8", 0);
    assert_int_equal(s.totals.objects, 20 * (4 + 2)); /* the sizes end with 2048 */
}

static void classwalk_empties_each_class_before_the_next(void **state)
{
    (void)state;
    struct record r = record_of("classwalk:pages=4,classes=9,walks=2,min=32,max=8k");
    uint64_t live = 0, most = 0, class = 0;
    for (size_t i = 0; i < r.n; i++) {
        const struct trace_op *op = &r.ops[i];
        assert_true(is_alloc(op) || is_free(op));
        if (is_alloc(op)) {
            assert_int_equal(op->size, UINT64_C(32) << class % 9);
            assert_int_equal(op->site, 1 + class % 9);
        }
        live = is_alloc(op) ? live + 1 : live - 1;
        most = live > most ? live : most;
        if (live)
            continue;
        assert_int_equal(most, 4 * PAGE / (UINT64_C(32) << class % 9));
        most = 0;
        class ++;
    }
    assert_int_equal(class, 2 * 9);
    record_free(&r);
    assert_int_equal(survey_of("classwalk:pages=1,min=4097,max=8k", 0).totals.peak_live_objects, 1);
}

/* ---- classics ---- */

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pagepin_leaves_one_object_a_page),
        cmocka_unit_test(classwalk_empties_each_class_before_the_next),
    };
    return cmocka_run_group_tests_name("adversary", tests, NULL, NULL);
}
