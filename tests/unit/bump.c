/*
 * bump.c - what bump does with its position, to the byte: the conformance test knows that nothing
 * open is given back, this one that everything else is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "harness/registry.h"
#include "tests/lib/rig.h"

static struct rig rig;

static int rig_start(void **state)
{
    (void)state;
    const struct rig_setup setup = {.options = "commit=4k,above=return", .observe = true};
    rig_open(&rig, allocator_find("bump"), &setup);
    return 0;
}

static int rig_stop(void **state)
{
    (void)state;
    rig_check(&rig);
    rig_close(&rig);
    return 0;
}

static void leave(struct heap *scope)
{
    rig.design->scope_exit(scope);
    rig_check(&rig);
}

static void test_last_object(void **state)
{
    (void)state;
    char *p = rig_take(&rig, rig.view, 100);
    rig.design->free(rig.view, p, 0);
    assert_ptr_equal(rig_take(&rig, rig.view, 50), p);
    assert_ptr_equal(rig.design->realloc(rig.view, p, 50, 3000, 16), p);
    assert_ptr_equal(rig.design->realloc(rig.view, p, 3000, 32, 16), p);
    char *q = rig_take(&rig, rig.view, 16);
    assert_ptr_equal(q, p + 32);
    rig.design->free(rig.view, p, 0); /* not the last: no effect */
    assert_ptr_equal(rig_take(&rig, rig.view, 16), q + 16);
}

static void test_reset(void **state)
{
    (void)state;
    struct heap *scope = rig_enter(&rig);
    char *first = rig_take(&rig, scope, 5000);
    rig_take(&rig, scope, 100000);
    size_t committed = rig_committed(&rig);
    leave(scope);
    assert_true(rig_committed(&rig) <= committed - 100000);
    scope = rig_enter(&rig);
    assert_ptr_equal(rig_take(&rig, scope, 1), first);
    leave(scope);
}

static void test_left_below_waits(void **state)
{
    (void)state;
    char *base = rig_take(&rig, rig.view, 16);
    struct heap *a = rig_enter(&rig), *b = rig_enter(&rig);
    rig_take(&rig, b, 100);
    leave(a);
    assert_true(rig_take(&rig, b, 16) > base + 100); /* a waits for b */
    leave(b);
    assert_ptr_equal(rig_take(&rig, rig.view, 16), base + 16);
}

static void test_floor_holds(void **state)
{
    (void)state;
    struct heap *a = rig_enter(&rig), *b = rig_enter(&rig);
    rig_take(&rig, b, 100);
    char *of_a = rig_take(&rig, a, 16);
    rig_take(&rig, b, 100);
    leave(b);
    assert_ptr_equal(rig_take(&rig, a, 16), of_a + 16);
    leave(a);
}

static void test_floor_falls_with_its_object(void **state)
{
    (void)state;
    struct heap *a = rig_enter(&rig);
    char *base = rig_take(&rig, a, 16);
    struct heap *b = rig_enter(&rig);
    rig_take(&rig, b, 100);
    rig.design->free(a, rig_take(&rig, a, 16), 0);
    leave(b);
    assert_ptr_equal(rig_take(&rig, a, 16), base + 16);
    leave(a);
}

/* The floor of a scope that was left holds nothing, though the scope still waits. */
static void test_floor_ends_with_its_scope(void **state)
{
    (void)state;
    struct heap *a = rig_enter(&rig), *b = rig_enter(&rig);
    char *base = rig_take(&rig, b, 16);
    struct heap *c = rig_enter(&rig);
    rig_take(&rig, c, 100);
    rig_take(&rig, a, 16);
    leave(a);
    leave(c);
    assert_ptr_equal(rig_take(&rig, b, 16), base + 16);
    leave(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_last_object, rig_start, rig_stop),
        cmocka_unit_test_setup_teardown(test_reset, rig_start, rig_stop),
        cmocka_unit_test_setup_teardown(test_left_below_waits, rig_start, rig_stop),
        cmocka_unit_test_setup_teardown(test_floor_holds, rig_start, rig_stop),
        cmocka_unit_test_setup_teardown(test_floor_falls_with_its_object, rig_start, rig_stop),
        cmocka_unit_test_setup_teardown(test_floor_ends_with_its_scope, rig_start, rig_stop),
    };
    return cmocka_run_group_tests_name("bump", tests, NULL, NULL);
}
