/*
 * oracle.c - the oracle itself, and the shadow map under it: a correct design passes, and each
 * of its faults, one at a time, is found and called by its name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/pass.h"
#include "harness/shadow.h"
#include "tests/lib/faulty.h"

/* ---- a plan: 1000 allocs of 1000 bytes, every other calloc; reallocs; the first object stays to
 * the end ---- */

static void op_put(struct trace_writer *writer, unsigned kind, uint64_t object, uint64_t size)
{
    struct error err;
    struct trace_op op = {
        .kind = (uint8_t)kind, .object = object, .size = size, .scope = TRACE_NO_SCOPE};
    if (trace_put(writer, &op, &err))
        fail_msg("%s", err.text);
}

static const struct plan *plan_make(void)
{
    struct error err;
    int trace_fd = memfd_create("test", 0), plan_fd;
    struct trace_writer *writer = trace_create_fd(trace_fd, &err);
    for (uint64_t i = 0; i < 1000; i++) {
        op_put(writer, i % 2 ? TRACE_CALLOC : TRACE_ALLOC, i, 1000);
        if (i % 10 == 3)
            op_put(writer, TRACE_REALLOC, i, 900);
        if (i % 3 == 2)
            op_put(writer, TRACE_FREE, i, 0);
    }
    assert_int_equal(trace_finish(writer, &err), 0);
    struct trace_reader *reader = trace_open_fd(trace_fd, "test", 0, &err);
    assert_int_equal(plan_build(reader, PLAN_RELEASE_FREE, PLAN_OBSERVE, &plan_fd, &err), 0);
    const struct plan *plan = plan_map(plan_fd, &err);
    trace_close(reader);
    close(trace_fd);
    close(plan_fd);
    return plan;
}

static struct outcome outcome;

static void verify(enum fault wanted)
{
    const struct spec spec = {.design = &faulty, .name = "faulty"};
    const struct cell_setup setup = {.plan = plan_make(), .spec = &spec, .outcome = &outcome};
    memset(&outcome, 0, sizeof outcome);
    faulty_fault = wanted;
    verify_pass(&setup);
    faulty_fault = FAULT_NONE;
    plan_unmap(setup.plan);
}

static void expect_found(enum fault wanted, enum outcome_status status, const char *said)
{
    verify(wanted);
    if (!strstr(outcome.detail, said))
        fail_msg("fault %d: '%s' does not say '%s'", (int)wanted, outcome.detail, said);
    assert_int_equal(outcome.status, status);
}

static void a_correct_design_passes(void **state)
{
    (void)state;
    verify(FAULT_NONE);
    assert_string_equal(outcome.detail, "");
    assert_int_equal(outcome.status, OUTCOME_OK);
    assert_true(outcome.value[METRIC_walks_count] > 100);
}

static void every_fault_is_found(void **state)
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
    expect_found(FAULT_FORGET, OUTCOME_FAILED, "byte 0 of 900 is not what the program wrote");
    expect_found(FAULT_LAW, OUTCOME_FAILED, "sum(walk) is ");
    expect_found(FAULT_KIND, OUTCOME_FAILED, "live, but walk() calls");
    expect_found(FAULT_NO_KIND, OUTCOME_FAILED, "kind 77");
    expect_found(FAULT_CHECK, OUTCOME_FAILED, "check(): the design is broken");
    expect_found(FAULT_LEAK, OUTCOME_FAILED, "after destroy() 4194304 bytes are committed");
    expect_found(FAULT_OOM, OUTCOME_OOM, "the allocator returned NULL");
}

/* ---- the shadow map against a plain array ---- */

static void shadow_agrees_with_an_array(void **state)
{
    enum { GRANULES = 512 };
    (void)state;
    struct shadow *shadow = shadow_new();
    unsigned char used[GRANULES] = {0};
    const uintptr_t base =
        ((uintptr_t)1 << 27) * 5 - SHADOW_GRANULE * GRANULES / 2; /* across two maps */
    uint64_t seed = 42;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int step = 0; step < 20000; step++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t first = seed >> 33 & (GRANULES - 1), count = 1 + (seed >> 20 & 127);
        if (first + count > GRANULES)
            count = GRANULES - first;
        bool any = false;
        for (size_t i = first; i < first + count; i++)
            any |= used[i];
        size_t bytes = count * SHADOW_GRANULE - (seed >> 50 & (SHADOW_GRANULE - 1));
        if (seed >> 62 && !any) {
            assert_int_equal(shadow_take(shadow, base + SHADOW_GRANULE * first, bytes), 0);
            memset(used + first, 1, count);
        } else if (seed >> 62) {
            uintptr_t found = shadow_take(shadow, base + SHADOW_GRANULE * first, bytes);
            assert_in_range(found, base + SHADOW_GRANULE * first,
                            base + SHADOW_GRANULE * (first + count) - 1);
            assert_true(used[(found - base) / SHADOW_GRANULE]);
        } else {
            shadow_give(shadow, base + SHADOW_GRANULE * first, bytes);
            memset(used + first, 0, count);
        }
    }
    /* What a broken walk may ask for is no address at all. */
    assert_int_equal(shadow_find(shadow, UINTPTR_MAX - 8192, 4096), 0);
    assert_int_equal(shadow_find(shadow, UINTPTR_MAX - 8192, SIZE_MAX), 0);
    shadow_free(shadow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_correct_design_passes),
                                       cmocka_unit_test(every_fault_is_found),
                                       cmocka_unit_test(shadow_agrees_with_an_array)};
    return cmocka_run_group_tests_name("oracle", tests, NULL, NULL);
}
