/*
 * locality.c - callgrind's output made into counts: by the events' names, whatever their order, with the zeros that
 * callgrind leaves out at the end of the line; and what is refused. The pass itself: tests/test_locality.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "harness/locality.h"

static uint64_t count[LOCALITY_EVENT_COUNT];
static char source[32];
static struct error err;

static int read_text(const char *text)
{
    FILE *file = fmemopen((void *)text, strlen(text), "r");
    memset(count, 0xff, sizeof count);
    int result = locality_totals(file, count, source, sizeof source, &err);
    fclose(file);
    return result;
}

static void test_totals(void **state)
{
    (void)state;
    assert_int_equal(read_text("# callgrind format\nversion: 1\ncreator: callgrind-3.19.0\n"
                               "events: Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw\n"
                               "fn=(1) f\n0 1 1\nsummary: 9 9 9\n\n"
                               "totals: 18446744073709551615 2 3 4 5 6 7 8 9\n"),
                     0);
    assert_string_equal(source, "callgrind-3.19.0");
    assert_true(count[LOCALITY_Ir] == UINT64_MAX);
    assert_true(count[LOCALITY_D1mr] == 5 && count[LOCALITY_DLmw] == 9);
}

static void test_zeros_left_out(void **state)
{
    (void)state;
    assert_int_equal(
        read_text("events: Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw\ntotals: 70 20 10\n"), 0);
    assert_true(count[LOCALITY_Ir] == 70 && count[LOCALITY_Dr] == 20 && count[LOCALITY_Dw] == 10);
    for (unsigned i = LOCALITY_I1mr; i < LOCALITY_EVENT_COUNT; i++)
        assert_true(count[i] == 0);
}

static void test_by_name(void **state)
{
    (void)state;
    assert_int_equal(
        read_text(
            "events: DLmw Ge DLmr ILmr D1mw D1mr I1mr Dw Dr Ir\ntotals: 1 99 2 3 4 5 6 7 8 9\n"),
        0);
    for (unsigned i = 0; i < LOCALITY_EVENT_COUNT; i++)
        assert_true(count[i] == 9 - i);
    assert_string_equal(source, "");
}

static void refused(const char *text, const char *why)
{
    assert_int_equal(read_text(text), -1);
    assert_non_null(strstr(err.text, why));
}

static void test_refused(void **state)
{
    (void)state;
    refused("events: Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw\n", "left no totals");
    refused("", "left no totals");
    refused("events: Ir Dr Dw\ntotals: 1 2 3\n", "did not count I1mr");
    refused("totals: 1 2 3\n", "not numbers, one an event: 1 2 3");
    refused("events: Ir Dr\ntotals: 1 2 3\n", "not numbers, one an event: 3");
    refused("events: Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw\ntotals: 1 2 x\n", "one an event: x");
    refused("events: Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw\ntotals: 0\n", "counted nothing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_totals),
        cmocka_unit_test(test_zeros_left_out),
        cmocka_unit_test(test_by_name),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
