/*
 * spec.c - parsing of specs and lists of them, with exact messages. The tables of registered things
 * are this file's own, so that the messages do not change with the designs, and compositions have
 * something to wrap.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/registry.h"
#include "harness/spec.h"

struct pool_options {
    uint64_t count, bytes;
};

static const struct option pool_rows[] = {
    {"count", OPTION_COUNT, offsetof(struct pool_options, count), "4", 1, 100, NULL, "how many"},
    {"bytes", OPTION_SIZE, offsetof(struct pool_options, bytes), "64k", 1, 1 << 20, NULL, "bytes"},
    {0},
};

static const struct allocator guard = {.name = "guard",
                                       .traits = ALLOCATOR_WRAPS,
                                       .options_size = sizeof(struct pool_options),
                                       .options = pool_rows};
static const struct allocator plain = {.name = "plain"};
static const struct allocator pool = {
    .name = "pool", .options_size = sizeof(struct pool_options), .options = pool_rows};
static const struct workload loop = {
    .name = "loop", .options_size = sizeof(struct pool_options), .options = pool_rows};

const struct allocator *const allocators[] = {&guard, &plain, &pool, NULL};
const struct workload *const workloads[] = {&loop, NULL};
const struct trace_format *const trace_formats[] = {NULL};
const struct command *const commands[] = {NULL};

static void assert_refused(const char *text, const char *message)
{
    struct spec spec;
    struct error err = {""};
    assert_int_equal(spec_parse(text, &spec, &err), -1);
    assert_string_equal(err.text, message);
    assert_null(spec.options); /* nothing to free */
    assert_null(spec.inner);
}

static void a_name_alone_has_default_options(void **state)
{
    (void)state;
    struct spec spec;
    struct error err;
    assert_int_equal(spec_parse("pool", &spec, &err), 0);
    assert_ptr_equal(spec.design, &pool);
    assert_string_equal(spec.name, "pool");
    assert_string_equal(spec.options_text, "count=4,bytes=64k");
    const struct pool_options *options = spec.options;
    assert_int_equal(options->count, 4);
    assert_int_equal(options->bytes, 65536);
    assert_null(spec.inner);
    spec_free(&spec);
    assert_null(spec.options);
}

static void options_replace_defaults(void **state)
{
    (void)state;
    struct spec spec;
    struct error err;
    assert_int_equal(spec_parse("pool:bytes=1024", &spec, &err), 0);
    assert_string_equal(spec.options_text, "count=4,bytes=1k");
    spec_free(&spec);
    assert_int_equal(spec_parse("plain", &spec, &err), 0);
    assert_string_equal(spec.options_text, "");
    assert_null(spec.options);
    spec_free(&spec);
}

static void counts_take_decimal_suffixes(void **state)
{
    (void)state;
    const struct option rows[] = {{"n", OPTION_COUNT, 0, "2k", 0, 0, NULL, "number"}, {0}};
    uint64_t n;
    struct error err;
    assert_int_equal(option_parse("x", rows, sizeof n, NULL, &n, &err), 0);
    assert_int_equal(n, 2000);
    assert_int_equal(option_parse("x", rows, sizeof n, "n=10m", &n, &err), 0);
    assert_int_equal(n, 10000000);
    assert_int_equal(option_parse("x", rows, sizeof n, "n=18446744073709551616", &n, &err), -1);
    assert_int_equal(option_parse("x", rows, sizeof n, "n=18446744074g", &n, &err), -1);
    assert_int_equal(option_parse("x", rows, sizeof n, "n=1kk", &n, &err), -1);
}

static void compositions_nest_to_the_right(void **state)
{
    (void)state;
    struct spec spec;
    struct error err;
    assert_int_equal(spec_parse("guard:count=9/guard/pool:bytes=2k", &spec, &err), 0);
    assert_string_equal(spec.name, "guard/guard/pool");
    assert_string_equal(spec.options_text, "count=9,bytes=64k/count=4,bytes=64k/count=4,bytes=2k");
    assert_ptr_equal(spec.inner->design, &guard);
    assert_string_equal(spec.inner->name, "guard/pool");
    assert_ptr_equal(spec.inner->inner->design, &pool);
    assert_null(spec.inner->inner->inner);
    spec_free(&spec);
}

static void compositions_that_cannot_work_are_refused(void **state)
{
    (void)state;
    assert_refused("plain/pool",
                   "plain does not wrap another allocator: it cannot stand before '/pool'");
    assert_refused("guard/plain/pool",
                   "plain does not wrap another allocator: it cannot stand before '/pool'");
    assert_refused("guard", "guard wraps another allocator: say which, as in guard/freelist");
    assert_refused("guard/", "the allocator's name is missing in ''");
    assert_refused("guard/guard/guard/guard/guard/guard/guard/guard/guard/guard/guard/guard/guard/"
                   "guard/guard/guard/guard/guard/guard/guard/guard/guard/guard/pool",
                   "the composition guard/.. is too long: wrap fewer allocators");
}

static void a_spec_of_any_length_is_refused_not_cut(void **state)
{
    (void)state;
    char text[SPEC_TEXT_BYTES + 1], message[200];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    snprintf(message, sizeof message, "the spec '%.64s..' has more than %d characters", text,
             SPEC_TEXT_BYTES - 1);
    assert_refused(text, message);
}

static void unknown_names_list_what_exists(void **state)
{
    (void)state;
    assert_refused("poool",
                   "no allocator 'poool': there are guard, plain, pool; did you mean 'pool'?");
    assert_refused("lpain:x=1",
                   "no allocator 'lpain': there are guard, plain, pool; did you mean 'plain'?");
    assert_refused("jemalloc", "no allocator 'jemalloc': there are guard, plain, pool");
    assert_refused("guard/pol",
                   "no allocator 'pol': there are guard, plain, pool; did you mean 'pool'?");
    assert_refused("", "the allocator's name is missing in ''");
    assert_refused(":count=1", "the allocator's name is missing in ':count=1'");
    char text[2001], expected[256];
    memset(text, 'x', 2000);
    text[2000] = '\0';
    snprintf(expected, sizeof expected, "no allocator '%.64s': there are guard, plain, pool", text);
    assert_refused(text, expected);
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    assert_refused("pool:count=0", "pool: option count=0: give a whole number from 1 to 100");
    assert_refused("pool:size=1", "pool: unknown option \"size\": it has count, bytes");
    assert_refused("plain:count=1", "plain: option \"count\": plain takes no options");
}

static void workloads_are_parsed_alike(void **state)
{
    (void)state;
    struct workload_spec spec;
    struct error err;
    assert_int_equal(workload_spec_parse("loop:count=7", &spec, &err), 0);
    assert_ptr_equal(spec.workload, &loop);
    assert_string_equal(spec.options_text, "count=7,bytes=64k");
    workload_spec_free(&spec);
    assert_int_equal(workload_spec_parse("lop", &spec, &err), -1);
    assert_string_equal(err.text, "no workload 'lop': there is loop; did you mean 'loop'?");
    assert_int_equal(workload_spec_parse("", &spec, &err), -1);
    assert_string_equal(err.text, "the workload's name is missing in ''");
}

/* The pieces joined by '|', or the message. */
static void assert_split(const char *text, const char *expected)
{
    struct error err = {""};
    char joined[512] = "", **items = spec_list_split(text, &err);
    for (size_t i = 0; items && items[i]; i++) {
        strcat(joined, i ? "|" : "");
        strcat(joined, items[i]);
    }
    assert_string_equal(items ? joined : err.text, expected);
    free(items);
}

static void lists_keep_options_with_their_spec(void **state)
{
    (void)state;
    assert_split("null", "null");
    assert_split("null,freelist:fit=best,order=lifo,bump",
                 "null|freelist:fit=best,order=lifo|bump");
    assert_split("a:x=1,y=2,z=3", "a:x=1,y=2,z=3");
    assert_split("a:x=1,b:y=2", "a:x=1|b:y=2");
    assert_split("guard:a=1,sample=100/freelist:fit=best,order=lifo,null",
                 "guard:a=1,sample=100/freelist:fit=best,order=lifo|null");
    assert_split("dir/odd=name.trace,b", "dir/odd=name.trace|b");
}

static void lists_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    assert_split("a,,b", "an entry of the list 'a,,b' is empty: remove the extra comma");
    assert_split("", "an entry of the list '' is empty: remove the extra comma");
    assert_split("a,", "an entry of the list 'a,' is empty: remove the extra comma");
    assert_split("fit=best",
                 "'fit=best' is an option without a name before it: write NAME:fit=best");
    assert_split("a,null,fit=best",
                 "'fit=best' is an option, but 'null' before it has no ':': write null:fit=best");
}

static void lookups_find_exact_names(void **state)
{
    (void)state;
    assert_ptr_equal(allocator_find("pool"), &pool);
    assert_null(allocator_find("poo"));
    assert_null(allocator_find("pools"));
    assert_ptr_equal(workload_find("loop"), &loop);
    assert_null(workload_find(""));
    assert_null(trace_format_find("text"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_alone_has_default_options),
        cmocka_unit_test(options_replace_defaults),
        cmocka_unit_test(counts_take_decimal_suffixes),
        cmocka_unit_test(compositions_nest_to_the_right),
        cmocka_unit_test(compositions_that_cannot_work_are_refused),
        cmocka_unit_test(a_spec_of_any_length_is_refused_not_cut),
        cmocka_unit_test(unknown_names_list_what_exists),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(workloads_are_parsed_alike),
        cmocka_unit_test(lists_keep_options_with_their_spec),
        cmocka_unit_test(lists_that_make_no_sense_are_refused),
        cmocka_unit_test(lookups_find_exact_names),
    };
    return cmocka_run_group_tests_name("spec", tests, NULL, NULL);
}
