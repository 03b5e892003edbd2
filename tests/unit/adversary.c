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

/* What the live objects of each size must be after `round` thinnings. */
static void check_teeth(const uint64_t *live, const uint64_t *made, unsigned round)
{
    for (unsigned i = 0; i < round; i++)
        assert_int_equal(live[i], made[i] >> (round - i));
}

static void comb_frees_every_other_object(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {64, 80, 100, 125, 156, 195};
    struct record r = record_of("comb:pages=8,size=64,growth=1.25,rounds=5");
    uint64_t live[6] = {0}, made[6] = {0}, bytes = 0, full = 0, room = 8 * PAGE;
    unsigned round = 0;
    for (size_t i = 0; i < r.n; i++) {
        const struct trace_op *op = &r.ops[i];
        unsigned k = (unsigned)r.makers[op->object]->site - 1;
        assert_int_equal(r.makers[op->object]->size, sizes[k]);
        if (is_alloc(op) && k != round) { /* the thinning is done, the filling begins */
            assert_int_equal(k, round + 1);
            assert_int_equal(made[round], room / sizes[round]);
            check_teeth(live, made, k);
            room = full - bytes;
            round = k;
        }
        if (is_free(op) && round == 0)
            assert_int_equal(op->object % 2, 0); /* the first of each pair dies first */
        made[k] += is_alloc(op);
        live[k] += is_alloc(op) ? 1 : UINT64_MAX;
        bytes += is_alloc(op) ? sizes[k] : -sizes[k];
        full = is_alloc(op) ? bytes : full;
        assert_true(bytes <= 8 * PAGE);
    }
    assert_int_equal(round, 5);
    assert_int_equal(bytes, 0);
    record_free(&r);
}

static void purgethrash_comes_back_to_its_base(void **state)
{
    (void)state;
    enum { CYCLES = 200, MOST = 512, PAUSE_NS = 7 * 1000000 };
    struct record r = record_of("purgethrash:base=10,swing=64,cycles=200,pause=7,max=512");
    uint64_t base = 0, swing = 0, tops = 0, small = 0, bottoms = 0;
    for (size_t i = 1; i < r.n && tops < CYCLES; i++) {
        const struct trace_op *op = &r.ops[i], *before = op - 1;
        uint64_t size = r.makers[before->object]->size;
        base += is_alloc(before) && before->site == 1 ? size : 0;
        if (before->site == 2 || is_free(before))
            swing += is_alloc(before) ? size : -size;
        if (is_alloc(before) == is_alloc(op))
            continue;
        assert_true(op->clock_ns - before->clock_ns >= PAUSE_NS);
        if (is_alloc(op)) {
            assert_int_equal(swing, 0);
            bottoms++;
            continue;
        }
        assert_in_range(swing, PAGE, 64 * PAGE + MOST);
        tops++;
        small += swing <= 8 * PAGE + MOST / 2;
    }
    assert_in_range(base, 10 * PAGE, 10 * PAGE + MOST);
    assert_int_equal(bottoms, CYCLES - 1);
    assert_in_range(small, CYCLES * 4 / 10, CYCLES * 6 / 10); /* half of the octaves of 1 .. 64 */
    record_free(&r);
}

static void phases_change_their_sizes_and_leave_survivors(void **state)
{
    (void)state;
    enum { PHASES = 12, ALLOCS = 2000, LIVE = 500, STAY = 3, MIX = 4 };
    struct record r = record_of("phasechange:phases=12,allocs=2k,live=500,stay=3,survive=0.1");
    uint64_t made = 0, stayed = 0, sizes[PHASES][MIX] = {{0}};
    for (size_t i = 0; i < r.n; i++) {
        const struct trace_op *op = &r.ops[i];
        if (is_alloc(op)) {
            uint64_t *size = &sizes[made++ / ALLOCS][op->site - 1];
            assert_true(*size == 0 || *size == op->size);
            *size = op->size;
            continue;
        }
        uint64_t born = op->object / ALLOCS, now = (made - 1) / ALLOCS;
        stayed += now == born + STAY;
        if (born + STAY < PHASES) /* those of the last phases die when the program ends */
            assert_true(now == born || now == born + STAY);
    }
    assert_int_equal(made, PHASES * ALLOCS);
    for (unsigned phase = 1; phase < PHASES; phase++)
        assert_memory_not_equal(sizes[phase], sizes[phase - 1], sizeof sizes[0]);
    assert_in_range(stayed, (PHASES - STAY) * LIVE * 8 / 100, (PHASES - STAY) * LIVE * 12 / 100);
    record_free(&r);
}

static void bleed_frees_elsewhere(void **state)
{
    (void)state;
    struct record r = record_of("bleed:ops=20k,threads=4,batch=20,lag=3");
    for (size_t i = 0; i < r.n; i++)
        if (trace_is_call(r.ops[i].kind))
            assert_true(is_alloc(&r.ops[i]) == (r.ops[i].thread == 0));
    record_free(&r);
    struct survey s = survey_of("bleed:ops=20k,threads=4,batch=20,lag=3", 0);
    assert_int_equal(s.totals.ops, 20000);
    assert_int_equal(s.totals.peak_live_objects, 4 * 20);
    assert_int_equal(s.crossed_threads, s.totals.objects);
}

static void bleed_moves_the_roles_on(void **state)
{
    (void)state;
    struct record r = record_of("bleed:ops=20k,threads=4,batch=20,lag=3,shift=10");
    uint64_t live = 0, objects = 0;
    for (size_t i = 0; i < r.n; i++) {
        const struct trace_op *op = &r.ops[i];
        if (!trace_is_call(op->kind))
            continue;
        if (is_alloc(op)) {
            if (objects % 200 == 0)
                assert_int_equal(live, 0);
            assert_int_equal(op->thread, objects++ / 200 % 4);
        } else {
            assert_int_not_equal(op->thread, r.makers[op->object]->thread);
        }
        live = is_alloc(op) ? live + 1 : live - 1;
    }
    assert_int_equal(objects, 10000);
    record_free(&r);
}

/* ---- classics ---- */

struct larson {
    unsigned array[MOST_THREADS]; /* by thread */
    uint64_t allocs[MOST_THREADS], frees[MOST_THREADS];
    unsigned *home; /* by object: its array */
};

static void check_larson_step(struct larson *l, const struct trace_op *op)
{
    if (op->thread == 0)
        return;
    unsigned array = l->array[op->thread];
    if (is_free(op)) {
        assert_int_equal(l->home[op->object], array);
        l->frees[op->thread]++;
    } else {
        l->home[op->object] = array;
        l->allocs[op->thread]++;
    }
}

static void larson_hands_over_at_thread_end(void **state)
{
    (void)state;
    enum { SLOTS = 50, THREADS = 3, LIFE = 100 };
    struct record r = record_of("larson:ops=20k,threads=3,slots=50,life=100");
    struct larson l = {.home = calloc(r.objects, sizeof *l.home)};
    assert_non_null(l.home);
    for (unsigned i = 0; i < THREADS * SLOTS; i++)
        l.home[i] = i / SLOTS;
    unsigned handovers = 0;
    for (size_t i = 0; i < r.n; i++) {
        const struct trace_op *op = &r.ops[i];
        if (trace_is_call(op->kind))
            check_larson_step(&l, op);
        if (op->kind == TRACE_THREAD_BEGIN && op->thread && op->thread <= THREADS)
            l.array[op->thread] = op->thread - 1;
        if (op->kind != TRACE_THREAD_END || i + 1 == r.n || op[1].kind != TRACE_THREAD_BEGIN)
            continue;
        assert_int_equal(l.allocs[op->thread], LIFE);
        assert_int_equal(l.frees[op->thread], LIFE);
        l.array[op[1].thread] = l.array[op->thread];
        handovers++;
    }
    assert_true(handovers > 90); /* of (20,000 - 300) / 2 steps, 100 each */
    struct survey s = survey_of("larson:ops=20k,threads=3,slots=50,life=100", THREADS * SLOTS);
    assert_int_equal(s.totals.threads, 1 + THREADS + handovers);
    assert_int_equal(s.most_live, THREADS * SLOTS);
    assert_true(s.crossed_ends > 1000);
    free(l.home);
    record_free(&r);
}

static void xmalloc_frees_whole_batches_elsewhere(void **state)
{
    (void)state;
    enum { ALLOCATORS = 3, FREERS = 2, BATCH = 20, WAITING = 5 };
    const char *text = "xmalloc:ops=20k,allocators=3,freers=2,batch=20,waiting=5";
    struct record r = record_of(text);
    uint64_t freed[FREERS] = {0}, sources[FREERS] = {0}, mixed = 0;
    bool ended = false;
    for (size_t i = 0; i < r.n; i++) {
        const struct trace_op *op = &r.ops[i];
        ended |= op->kind == TRACE_THREAD_END;
        if (!trace_is_call(op->kind))
            continue;
        assert_true(is_alloc(op) == (op->thread < ALLOCATORS));
        if (is_alloc(op) || ended)
            continue;
        unsigned freer = op->thread - ALLOCATORS;
        uint64_t source = r.makers[op->object]->thread;
        mixed += freed[freer] % BATCH && source != sources[freer];
        sources[freer] = source;
        freed[freer]++;
    }
    assert_int_equal(mixed, 0); /* a batch is of one allocator, and freed by one freer */
    assert_true(freed[0] > 1000 && freed[1] > 1000);
    record_free(&r);
    struct survey s = survey_of(text, 0);
    assert_int_equal(s.totals.ops, 20000);
    assert_int_equal(s.crossed_threads, s.totals.objects);
    assert_in_range(s.totals.peak_live_objects, BATCH * WAITING,
                    BATCH * (WAITING + ALLOCATORS + FREERS));
}

static void cachescratch_workers_free_what_main_gave_them(void **state)
{
    (void)state;
    struct record r = record_of("cachescratch:ops=5k,threads=6");
    bool started[MOST_THREADS] = {false}, holds[MOST_THREADS] = {false};
    for (size_t i = 0; i < r.n; i++) {
        const struct trace_op *op = &r.ops[i];
        if (!trace_is_call(op->kind) || op->thread == 0)
            continue;
        if (!started[op->thread])
            assert_true(is_free(op) && r.makers[op->object]->thread == 0);
        else
            assert_true(is_alloc(op) == !holds[op->thread]);
        started[op->thread] = true;
        holds[op->thread] = is_alloc(op);
    }
    for (unsigned t = 1; t <= 6; t++)
        assert_true(started[t]);
    record_free(&r);
    assert_int_equal(survey_of("cachescratch:ops=5k,threads=6", 0).crossed_threads, 6);
}

static void cachethrash_workers_share_nothing(void **state)
{
    (void)state;
    struct survey s = survey_of("cachethrash:ops=5k,threads=6", 0);
    assert_int_equal(s.crossed_threads, 0);
    assert_int_equal(s.totals.peak_live_objects, 6);
    assert_int_equal(s.totals.ops, 5000);
    assert_true(s.smallest == 8 && s.largest == 8);
}

static void mstress_objects_wander_past_their_threads(void **state)
{
    (void)state;
    const char *text = "mstress:generations=4,threads=5,steps=500,min=16,max=2000";
    struct record r = record_of(text);
    uint64_t passing = 0, retained = 0;
    for (size_t i = 0; i < r.n; i++) {
        const struct trace_op *op = &r.ops[i];
        if (!is_free(op)) {
            passing += op->site == 1;
            retained += op->site == 2;
            continue;
        }
        const struct trace_op *made = r.makers[op->object];
        assert_true((made->size & (made->size - 1)) == 0 && made->size <= 1024);
        if (made->site == 2)
            assert_int_equal(op->thread, made->thread);
    }
    assert_in_range(retained, (passing + retained) * 3 / 100, (passing + retained) * 7 / 100);
    record_free(&r);
    struct survey s = survey_of(text, 0);
    assert_int_equal(s.totals.threads, 1 + 4 * 5);
    assert_true(s.smallest == 16 && s.largest == 1024);
    assert_true(s.crossed_ends > 300 && s.crossed_ends <= s.crossed_threads);
    s = survey_of("mstress:generations=4,threads=5,steps=500,transfer=0", 0);
    assert_int_equal(s.crossed_threads, 0);
}

enum { BLOCKS = 100, CHUNK = 10, KEPT = BLOCKS / 2 };

/* Position of the order in which KEPT objects are freed: first to last, last to first, in chunks,
 * or otherwise, by how often the next one is younger. */
static unsigned order_of(const struct trace_op *frees)
{
    unsigned up = 0;
    for (unsigned i = 1; i < KEPT; i++)
        up += frees[i].object > frees[i - 1].object;
    return up == KEPT - 1 ? 0 : up == 0 ? 1 : up == KEPT - KEPT / CHUNK ? 2 : 3;
}

static void sh8bench_keeps_half_and_frees_in_four_orders(void **state)
{
    (void)state;
    const char *text = "sh8bench:ops=60k,threads=3,blocks=100,chunk=10,min=8,max=1000";
    struct record r = record_of(text);
    uint64_t live[3] = {0}, smallest = 0, orders[4] = {0}, total = 0, row = 0;
    for (size_t i = 1; i < r.n; i++) {
        const struct trace_op *op = &r.ops[i];
        row = is_free(op) ? row + 1 : 0;
        if (row && row % KEPT == 0) {
            orders[order_of(op - (KEPT - 1))]++;
            total++;
        }
        if (!trace_is_call(op->kind))
            continue;
        uint64_t *mine = &live[op->thread];
        if (is_alloc(op) && !is_alloc(op - 1)) /* a turn begins */
            assert_true(*mine == 0 || *mine == KEPT);
        *mine = is_alloc(op) ? *mine + 1 : *mine - 1;
        smallest += is_alloc(op) && op->size == 8;
    }
    assert_int_equal(total, r.objects / KEPT);
    for (unsigned i = 0; i < 4; i++)
        assert_in_range(orders[i], total * 20 / 100, total * 30 / 100);
    assert_in_range(smallest, r.objects * 22 / 100, r.objects * 28 / 100); /* 1 / (1 + skew) */
    record_free(&r);
    struct survey s = survey_of(text, 0);
    assert_int_equal(s.crossed_threads, 0);
    assert_int_equal(s.totals.threads, 3);
}

static void check_mean(const char *text, double expected)
{
    struct survey s = survey_of(text, 0);
    double mean = (double)s.totals.allocated_bytes / (double)s.totals.objects;
    if (mean < 0.97 * expected || mean > 1.03 * expected)
        fail_msg("%s: mean size %g, should be %g", text, mean, expected);
}

static void rptest_passes_batches_on(void **state)
{
    (void)state;
    struct record r = record_of("rptest:ops=40k,threads=4,blocks=200,replace=20,cross=3");
    uint64_t passed = 0;
    for (size_t i = 0; i < r.n; i++) {
        const struct trace_op *op = &r.ops[i];
        passed += is_alloc(op) && op->site == 2;
        if (is_free(op)) {
            const struct trace_op *made = r.makers[op->object];
            assert_true((op->thread != made->thread) == (made->site == 2));
        }
    }
    assert_in_range(passed, r.objects * 24 / 100, r.objects * 26 / 100);
    record_free(&r);
    struct survey s = survey_of("rptest:ops=40k,threads=4,blocks=200,replace=20,cross=0", 0);
    assert_int_equal(s.crossed_threads, 0);
    check_mean("rptest:ops=40k,blocks=200,min=100,max=8100,sizes=even", 4100);
    check_mean("rptest:ops=40k,blocks=200,min=100,max=8100,sizes=linear", 100 + 8000 / 3.0);
    check_mean("rptest:ops=40k,blocks=200,min=100,max=8100,sizes=exp", 1100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pagepin_leaves_one_object_a_page),
        cmocka_unit_test(classwalk_empties_each_class_before_the_next),
        cmocka_unit_test(comb_frees_every_other_object),
        cmocka_unit_test(purgethrash_comes_back_to_its_base),
        cmocka_unit_test(phases_change_their_sizes_and_leave_survivors),
        cmocka_unit_test(bleed_frees_elsewhere),
        cmocka_unit_test(bleed_moves_the_roles_on),
        cmocka_unit_test(larson_hands_over_at_thread_end),
        cmocka_unit_test(xmalloc_frees_whole_batches_elsewhere),
        cmocka_unit_test(cachescratch_workers_free_what_main_gave_them),
        cmocka_unit_test(cachethrash_workers_share_nothing),
        cmocka_unit_test(mstress_objects_wander_past_their_threads),
        cmocka_unit_test(sh8bench_keeps_half_and_frees_in_four_orders),
        cmocka_unit_test(rptest_passes_batches_on),
    };
    return cmocka_run_group_tests_name("adversary", tests, NULL, NULL);
}
