/*
 * option.c - the option parser: what it reads, what it refuses and with which words, and that the
 * text that it writes reads back as the same values.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/lib/option.h"

struct values {
    uint64_t size, count;
    double share;
    unsigned deferred, fit;
    char path[8];
};

static const struct option rows[] = {
    {"size", OPTION_SIZE, offsetof(struct values, size), "64k", 16, 1 << 30, NULL, "bytes"},
    {"count", OPTION_COUNT, offsetof(struct values, count), "3", 0, 0, NULL, "objects"},
    {"share", OPTION_REAL, offsetof(struct values, share), "0.25", -1, 1, NULL, "of all"},
    {"deferred", OPTION_BOOL, offsetof(struct values, deferred), "no", 0, 0, NULL, "later"},
    {"fit", OPTION_CHOICE, offsetof(struct values, fit), "best", 0, 0, "first|next|best", "which"},
    {"path", OPTION_TEXT, offsetof(struct values, path), "", 0, 8, NULL, "where"},
    {.name = NULL},
};

static struct values parse(const char *text)
{
    struct values values;
    struct error err = {""};
    if (option_parse("demo", rows, sizeof values, text, &values, &err))
        fail_msg("%s: %s", text, err.text);
    return values;
}

static void test_defaults(void **state)
{
    (void)state;
    static const char *const nothing[] = {NULL, ""};
    for (unsigned i = 0; i < 2; i++) {
        struct values v = parse(nothing[i]);
        assert_int_equal(v.size, 65536);
        assert_int_equal(v.count, 3);
        assert_true(v.share == 0.25);
        assert_int_equal(v.deferred, 0);
        assert_int_equal(v.fit, 2);
        assert_string_equal(v.path, "");
    }
}

static void test_values(void **state)
{
    (void)state;
    struct values v = parse("fit=next,deferred=yes,share=-0.5,count=0,size=16");
    assert_int_equal(v.size, 16);
    assert_int_equal(v.count, 0);
    assert_true(v.share == -0.5);
    assert_int_equal(v.deferred, 1);
    assert_int_equal(v.fit, 1);
    assert_int_equal(parse("size=1g").size, 1 << 30);
    assert_int_equal(parse("size=3m").size, 3 << 20);
    assert_int_equal(parse("count=10m").count, 10000000);
    assert_int_equal(parse("count=2k").count, 2000);
    assert_int_equal(parse("count=18446744073709551615").count, UINT64_MAX);
    assert_int_equal(parse("fit=first").fit, 0);
    assert_true(parse("share=1e-3").share == 0.001);
    assert_string_equal(parse("path=a:b/c=d").path, "a:b/c=d");
    assert_string_equal(parse("path=x,count=5").path, "x"); /* a comma ends it */
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says; /* a part of the message */
    } cases[] = {
        {"size=15", "demo: option size=15: give a number of bytes"},
        {"size=15", "from 16 to 1g"},
        {"size=2g", "from 16 to 1g"},
        {"size=", "option size="},
        {"size=k", "option size=k"},
        {"size=1kk", "option size=1kk"},
        {"size=1K", "option size=1K"},
        {"size=-64", "option size=-64"},
        {"size=+64", "option size=+64"},
        {"size= 64", "option size= 64"},
        {"size=0x40", "option size=0x40"},
        {"size=64b", "option size=64b"},
        {"count=18446744073709551616", "option count="},
        {"count=18446744073709551615k", "option count="},
        {"count=1.5", "option count=1.5"},
        {"share=1.1", "from -1 to 1"},
        {"share=nan", "option share=nan: give a number"},
        {"share=inf", "option share=inf: give a number"},
        {"share=0.1x", "option share=0.1x"},
        {"share=-", "option share=-"},
        {"deferred=true", "give yes or no"},
        {"fit=worst", "option fit=worst: give one of first|next|best"},
        {"fit=firs", "give one of first|next|best"},
        {"fit=first|next", "give one of first|next|best"},
        {"fit=", "give one of first|next|best"},
        {"fits=best", "unknown option \"fits\": it has size, count, share, deferred, fit, path"},
        {"path=12345678", "demo: option path: give at most 7 bytes of text"},
        {"path=a\nb", "without control characters"},
        {"=3", "unknown option \"\""},
        {"size", "demo: option size has no value: write size=VALUE"},
        {"size=64,size=64", "demo: option size is given twice"},
        {"size=64,", "options end with a comma"},
        {"size=64,,count=1", "unknown option \"\""},
        {"share=0.00000000000000000000000000000000000000000000000000000000000000001",
         "option share="},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct values values;
        struct error err = {""};
        assert_int_equal(option_parse("demo", rows, sizeof values, cases[i].text, &values, &err),
                         -1);
        if (!strstr(err.text, cases[i].says))
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].text, err.text, cases[i].says);
    }
}

static void test_no_options(void **state)
{
    (void)state;
    struct error err = {""};
    assert_int_equal(option_parse("libc", NULL, 0, NULL, NULL, &err), 0);
    assert_int_equal(option_parse("libc", NULL, 0, "x=1", NULL, &err), -1);
    assert_non_null(strstr(err.text, "libc takes no options"));
}

/* A default that the parser refuses is a fault of the table, and is found when it is used. */
static void test_bad_default(void **state)
{
    (void)state;
    const struct option bad[] = {
        {"size", OPTION_SIZE, 0, "8", 16, 64, NULL, "bytes"},
        {.name = NULL},
    };
    uint64_t size;
    struct error err = {""};
    assert_int_equal(option_parse("demo", bad, sizeof size, "", &size, &err), -1);
    assert_non_null(strstr(err.text, "option size=8"));
}

static void test_format(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"", "size=64k,count=3,share=0.25,deferred=no,fit=best,path="},
        {"size=1000,share=0.1,deferred=yes",
         "size=1000,count=3,share=0.1,deferred=yes,fit=best,path="},
        {"size=1536k,share=1,fit=first", "size=1536k,count=3,share=1,deferred=no,fit=first,path="},
        {"size=1g,share=-0.3333333333333333",
         "size=1g,count=3,share=-0.3333333333333333,deferred=no,fit=best,path="},
        {"fit=next,share=0,path=a/b", "size=64k,count=3,share=0,deferred=no,fit=next,path=a/b"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        struct values first = parse(cases[i].in);
        option_format(rows, &first, text, sizeof text);
        assert_string_equal(text, cases[i].out);
        struct values again = parse(text);
        assert_memory_equal(&first, &again, sizeof first);
    }
}

static void test_format_truncates(void **state)
{
    (void)state;
    struct values v = parse("");
    char text[12];
    memset(text, 'x', sizeof text);
    option_format(rows, &v, text, 9);
    assert_string_equal(text, "size=64k");
    assert_int_equal(text[9], 'x');
    option_format(rows, &v, text, 0);
    assert_int_equal(text[0], 's');
    option_format(NULL, NULL, text, sizeof text);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),         cmocka_unit_test(test_values),
        cmocka_unit_test(test_refusals),         cmocka_unit_test(test_no_options),
        cmocka_unit_test(test_bad_default),      cmocka_unit_test(test_format),
        cmocka_unit_test(test_format_truncates),
    };
    return cmocka_run_group_tests_name("option", tests, NULL, NULL);
}
