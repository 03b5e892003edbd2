/*
 * parallel.c - parallel and serial replay of the same plan do the same: held against a design that
 * fills each object with a pattern of its own address and size, finds it whole when it ends, and
 * spoils it then. So an object that is freed before it is made, twice, or by a stale pointer is
 * found; and what is live when the trace ends is summed up and compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/parallel.h"
#include "harness/registry.h"
#include "harness/target.h"

/* ---- the design: libc's malloc, and the account of what it gave ---- */

static _Atomic uint64_t live_objects, live_bytes, live_mix, spoilt, made;

static unsigned char pattern_byte(const void *p, size_t size)
{
    return (unsigned char)(((uintptr_t)p >> 4) * 31 + size * 7 + 1);
}

static void live_count(size_t size, uint64_t sign)
{
    live_objects += sign;
    live_bytes += sign * size;
    live_mix += sign * (size * size * UINT64_C(0x9e3779b97f4a7c15));
}

static void *object_fill(void *p, size_t size)
{
    assert_non_null(p);
    memset(p, pattern_byte(p, size), size);
    live_count(size, 1);
    made++;
    return p;
}

static void object_end(void *p, size_t size)
{
    unsigned char *bytes = p, wanted = pattern_byte(p, size);
    for (size_t i = 0; i < size; i++)
        spoilt += bytes[i] != wanted;
    memset(p, (unsigned char)~wanted, size);
    live_count(size, (uint64_t)-1);
}

static void *filled_alloc(struct heap *view, size_t size, size_t align)
{
    return object_fill(allocator_find("libc")->alloc(view, size, align), size);
}

static void checked_free(struct heap *view, void *p, size_t size)
{
    object_end(p, size);
    allocator_find("libc")->free(view, p, size);
}

static void *checked_realloc(struct heap *view, void *p, size_t old, size_t size, size_t align)
{
    void *moved = allocator_find("libc")->alloc(view, size, align);
    checked_free(view, p, old);
    return object_fill(moved, size);
}

struct account {
    uint64_t objects, bytes, mix, made;
};

static struct account account_take(void)
{
    return (struct account){live_objects, live_bytes, live_mix, made};
}

/* ---- both replays ---- */

static struct allocator checked_design(void)
{
    struct allocator checked = *allocator_find("libc");
    checked.traits |= ALLOCATOR_NEEDS_SIZE; /* so that every free says the size */
    checked.alloc = checked.zalloc = filled_alloc;
    checked.free = checked_free;
    checked.realloc = checked_realloc;
    live_objects = live_bytes = live_mix = spoilt = made = 0;
    return checked;
}

static struct account serial_account(const struct plan *plan, struct heap *heap)
{
    struct error err;
    struct replay replay;
    const struct allocator checked = checked_design();
    assert_int_equal(replay_open(&replay, plan, &checked, heap, TOUCH_NONE, &err), 0);
    assert_true(replay_pass_begin(&replay));
    assert_true(replay_runs(&replay, 0, plan->main_runs));
    struct account found = account_take();
    assert_true(replay_runs(&replay, plan->main_runs, plan->runs));
    replay_pass_end(&replay);
    replay_close(&replay);
    assert_int_equal(spoilt, 0);
    assert_int_equal(live_objects, 0);
    return found;
}

static void parallel_agrees(const struct plan *plan, struct heap *heap, unsigned copies,
                            const struct account *serial)
{
    struct error err;
    const struct allocator checked = checked_design();
    const struct parallel_config config = {.copies = copies};
    struct parallel *p = parallel_open(plan, &checked, heap, TOUCH_NONE, &config, &err);
    assert_non_null(p);
    for (unsigned pass = 1; pass <= 3; pass++) {
        assert_true(parallel_begin(p));
        assert_true(parallel_run(p) > 0);
        struct account found = account_take();
        assert_int_equal(found.objects, copies * serial->objects);
        assert_int_equal(found.bytes, copies * serial->bytes);
        assert_int_equal(found.mix, copies * serial->mix);
        assert_true(parallel_end(p));
        assert_int_equal(live_objects, 0);
        assert_int_equal(spoilt, 0);
    }
    parallel_close(p);
}

static void workload_agrees(const char *name)
{
    struct error err;
    struct target target;
    const struct allocator *libc = allocator_find("libc");
    const struct alloc_env env = {.design = libc};
    struct heap *heap = libc->create(&env);
    assert_int_equal(target_open(&target, name, 11, &err), 0);
    const struct plan *plain = plan_map(target_plan(&target, PLAN_RELEASE_FREE, 0, &err), &err);
    const struct plan *plan =
        plan_map(target_plan(&target, PLAN_RELEASE_FREE, PLAN_PARALLEL, &err), &err);
    assert_non_null(plain);
    assert_non_null(plan);
    struct account usual = serial_account(plain, heap), serial = serial_account(plan, heap);
    assert_memory_equal(&usual, &serial, sizeof serial);
    parallel_agrees(plan, heap, 1, &serial);
    parallel_agrees(plan, heap, 2, &serial);
    plan_unmap(plain);
    plan_unmap(plan);
    target_close(&target);
    libc->destroy(heap);
}

static void workloads_agree(void **state)
{
    (void)state;
    workload_agrees("prodcons:ops=20k,producers=2,consumers=1");
    workload_agrees("larson:ops=20k,threads=3,life=1000");
    workload_agrees("xmalloc:ops=20k");
    workload_agrees("mstress:generations=4,threads=3,steps=300");
    workload_agrees("random:ops=20k,live=1k");
}

static void recording_agrees(void **state)
{
    (void)state;
    workload_agrees("traces/samples/redis.trace");
}

/* ---- the layout ---- */

/* No line of the table holds slots of objects that different threads made. */
static void lines_have_one_owner(void **state)
{
    (void)state;
    struct error err;
    struct target target;
    assert_int_equal(target_open(&target, "prodcons:ops=20k,producers=2,consumers=2", 3, &err), 0);
    const struct plan *plan =
        plan_map(target_plan(&target, PLAN_RELEASE_FREE, PLAN_PARALLEL, &err), &err);
    assert_non_null(plan);
    uint32_t *owner = calloc(plan->slots / 16 + 1, sizeof *owner);
    const struct plan_thread *threads = (const void *)((const char *)plan + plan->threads_offset);
    for (uint32_t t = 0; t < plan->threads; t++) {
        const uint64_t *words = (const void *)((const char *)plan + threads[t].words_offset);
        for (uint64_t i = 0; i < threads[t].words; i++) {
            unsigned kind = PLAN_KIND(words[i]);
            i += kind == PLAN_RARE;
            if (kind != PLAN_ALLOC)
                continue;
            uint32_t *line = &owner[PLAN_SLOT(words[i]) / 16];
            assert_true(*line == 0 || *line == t + 1);
            *line = t + 1;
        }
    }
    free(owner);
    plan_unmap(plan);
    target_close(&target);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(workloads_agree),
                                       cmocka_unit_test(recording_agrees),
                                       cmocka_unit_test(lines_have_one_owner)};
    return cmocka_run_group_tests_name("parallel", tests, NULL, NULL);
}
