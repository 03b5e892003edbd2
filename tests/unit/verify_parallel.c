/*
 * verify_parallel.c - the oracle of a parallel replay: designs that keep their promises pass on
 * generated and recorded threads; each fault of a design is found and called by its name; and
 * so is each fault of the order itself, planted in a copy of the plan: a turn that is not waited
 * for, and an order of threads that is not the recorded one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/pass.h"
#include "tests/lib/faulty.h"
#include "tests/lib/verified.h"

static struct outcome outcome;

/* Until something was found, but not for ever. */
static void found_await(void)
{
    for (int i = 0; i < 10000 && !__atomic_load_n(&outcome.status, __ATOMIC_RELAXED); i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* ---- plans of two threads ---- */

static struct trace_writer *writer;
static int trace_fd;

static void trace_begin(void)
{
    struct error err;
    trace_fd = memfd_create("test", 0);
    writer = trace_create_fd(trace_fd, &err);
    assert_non_null(writer);
}

static void op_put(unsigned kind, unsigned thread, uint64_t object, uint64_t size)
{
    struct error err;
    struct trace_op op = {.kind = (uint8_t)kind,
                          .thread = thread,
                          .object = object,
                          .size = size,
                          .scope = TRACE_NO_SCOPE};
    if (trace_put(writer, &op, &err))
        fail_msg("%s", err.text);
}

/* A plan that may be written to. */
static struct plan *trace_plan(void)
{
    struct error err;
    int plan_fd;
    assert_int_equal(trace_finish(writer, &err), 0);
    struct trace_reader *reader = trace_open_fd(trace_fd, "test", 0, &err);
    assert_int_equal(plan_build(reader, PLAN_RELEASE_FREE, PLAN_PARALLEL, &plan_fd, &err), 0);
    const struct plan *plan = plan_map(plan_fd, &err);
    struct plan *copy = aligned_alloc(64, plan->bytes);
    memcpy(copy, plan, plan->bytes);
    plan_unmap(plan);
    trace_close(reader);
    close(trace_fd);
    close(plan_fd);
    return copy;
}

/* Thread 0 makes objects, thread 1 resizes and frees them; the first stays to the end. */
static struct plan *plan_make(void)
{
    trace_begin();
    for (uint64_t i = 0; i < 1000; i++) {
        op_put(i % 2 ? TRACE_CALLOC : TRACE_ALLOC, 0, i, 1000);
        if (i % 10 == 3)
            op_put(TRACE_REALLOC, 1, i, 900);
        if (i % 3 == 2)
            op_put(TRACE_FREE, 1, i, 0);
    }
    return trace_plan();
}

static void verify_plan(enum fault wanted, struct plan *plan, unsigned copies)
{
    const struct spec spec = {.design = &faulty, .name = "faulty"};
    const struct cell_setup setup = {
        .plan = plan, .spec = &spec, .parallel = {.copies = copies}, .outcome = &outcome};
    memset(&outcome, 0, sizeof outcome);
    faulty_fault = wanted;
    faulty_late = found_await;
    verify_pass(&setup);
    faulty_fault = FAULT_NONE;
    free(plan);
}

static void expect_said(enum outcome_status status, const char *said)
{
    if (!strstr(outcome.detail, said))
        fail_msg("'%s' does not say '%s'", outcome.detail, said);
    assert_int_equal(outcome.status, status);
}

static void expect_found(enum fault wanted, enum outcome_status status, const char *said)
{
    for (unsigned copies = 1; copies <= 2; copies++) {
        verify_plan(wanted, plan_make(), copies);
        expect_said(status, said);
    }
}

static void a_correct_design_passes(void **state)
{
    (void)state;
    expect_found(FAULT_NONE, OUTCOME_OK, "");
    assert_string_equal(outcome.detail, "");
}

static void faults_of_a_design_are_found(void **state)
{
    (void)state;
    expect_found(FAULT_ALIGN, OUTCOME_FAILED, "not aligned to 16 bytes");
    expect_found(FAULT_OVERLAP, OUTCOME_FAILED, "overlap a live object");
    expect_found(FAULT_INSIDE, OUTCOME_FAILED, "overlap a live object");
    expect_found(FAULT_AROUND, OUTCOME_FAILED, "overlap a live object");
    expect_found(FAULT_CONTENT, OUTCOME_FAILED, "byte 5 of 1000 is not what the program wrote");
    expect_found(FAULT_DIRTY, OUTCOME_FAILED, "byte 999 of 1000 zeroed ones is");
    expect_found(FAULT_USABLE, OUTCOME_FAILED, "usable() is 8 bytes, 1000 were asked for");
    expect_found(FAULT_REALLOC, OUTCOME_FAILED, "byte 899 of 900 is not what the program wrote");
    expect_found(FAULT_FORGET, OUTCOME_FAILED, "of 900 is not what the program wrote");
    expect_found(FAULT_LAW, OUTCOME_FAILED, "sum(walk) is ");
    expect_found(FAULT_CHECK, OUTCOME_FAILED, "check(): the design is broken");
    expect_found(FAULT_LEAK, OUTCOME_FAILED, "after destroy() 4194304 bytes are committed");
    expect_found(FAULT_OOM, OUTCOME_OOM, "the allocator returned NULL");
}

/* ---- faults of the order ---- */

static uint64_t *words_of(struct plan *plan, unsigned thread, uint64_t *count)
{
    const struct plan_thread *t = (const void *)((char *)plan + plan->threads_offset);
    *count = t[thread].words;
    return (void *)((char *)plan + t[thread].words_offset);
}

/* Thread 1 frees what thread 0 is still making. With its turn it waits; without, it is found. */
static struct plan *late_plan(bool turn)
{
    trace_begin();
    op_put(TRACE_ALLOC, 0, 0, turn ? 776 : FAULTY_LATE_SIZE);
    op_put(TRACE_FREE, 1, 0, 0);
    struct plan *plan = trace_plan();
    uint64_t count, *words = words_of(plan, 1, &count), turns = 0;
    for (uint64_t i = 0; i < count && !turn; i++)
        if (PLAN_KIND(words[i]) == PLAN_SHARED) {
            words[i] = (uint64_t)PLAN_OWNER << 60; /* a prefix without effect */
            turns++;
        }
    assert_int_equal(turns, !turn);
    return plan;
}

static void a_free_before_its_alloc_is_found(void **state)
{
    (void)state;
    verify_plan(FAULT_NONE, late_plan(true), 1);
    expect_said(OUTCOME_OK, "");
    verify_plan(FAULT_NONE, late_plan(false), 1);
    expect_said(OUTCOME_FAILED, "thread 1, op 0, object at");
    expect_said(OUTCOME_FAILED, "it is not live: not made yet, or freed before");
}

/* Both threads resize an object; the plan's runs say the other order than its turns. */
static void another_final_live_set_is_found(void **state)
{
    (void)state;
    for (int swapped = 0; swapped < 2; swapped++) {
        trace_begin();
        op_put(TRACE_ALLOC, 0, 0, 100);
        op_put(TRACE_ALLOC, 1, 1, 50);
        op_put(TRACE_REALLOC, 0, 0, 300);
        op_put(TRACE_REALLOC, 1, 0, 200);
        struct plan *plan = trace_plan();
        struct plan_run *runs = (void *)((char *)plan + plan->runs_offset);
        assert_true(plan->main_runs >= 4);
        struct plan_run *a = &runs[plan->main_runs - 2], *b = a + 1, keep = *a;
        if (swapped) {
            *a = *b;
            *b = keep;
        }
        verify_plan(FAULT_NONE, plan, 1);
        expect_said(swapped ? OUTCOME_FAILED : OUTCOME_OK,
                    swapped ? "holds 200 bytes (0: nothing) when all threads are done, in the "
                              "recorded order 300"
                            : "");
    }
}

/* ---- the designs ---- */

static void designs_keep_their_promises(void **state)
{
    (void)state;
    verified_designs("prodcons:ops=20k,producers=2,consumers=2,queue=200", 1);
    verified_designs("xmalloc:ops=20k", 1);
    verified_designs("larson:ops=20k,threads=3,life=1000", 1);
    verified_designs("prodcons:ops=10k,producers=1,consumers=1", 3);
}

static void designs_keep_their_promises_on_a_recording(void **state)
{
    (void)state;
    verified_designs("traces/samples/redis.trace", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_correct_design_passes),
        cmocka_unit_test(faults_of_a_design_are_found),
        cmocka_unit_test(a_free_before_its_alloc_is_found),
        cmocka_unit_test(another_final_live_set_is_found),
        cmocka_unit_test(designs_keep_their_promises),
        cmocka_unit_test(designs_keep_their_promises_on_a_recording),
    };
    return cmocka_run_group_tests_name("verify_parallel", tests, NULL, NULL);
}
