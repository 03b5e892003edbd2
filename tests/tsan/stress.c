/*
 * stress.c - every design that threads may share, under ThreadSanitizer: a data race is a report,
 * and so is an object that reaches another thread without a release and an acquire. First with the
 * defaults, for whatever is registered; then with options so tight that what is rare happens all
 * the time, and with tick and trim at work.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "harness/registry.h"
#include "tests/lib/stress.h"

static const struct stress tight[] = {
    /* Superblocks change owners while others free their objects. */
    {"hoard", "superblock=8k,slack=1,empty=0.02,heaps=2,age_ms=0", 3, 8000, 2, true},
    /* Pages fill and empty huge pages while tick returns them. */
    {"hugepack", "age_ms=0,batch=8,cache=4k,limit=2m,subrelease=yes", 3, 8000, 2, true},
    /* Views are taken over with their lists; small chunks, so that threads meet at the pages. */
    {"private", "chunk=8k,small=4k", 3, 8000, 2, true},
    /* Tick drains other threads' caches. */
    {"segfit", "age_ms=0,batch=8,cache=4k", 3, 8000, 2, true},
    /* The sanitizer does not understand restartable sequences: here the magazines have locks. What
     * objects contain tells of the sequences, in unit/object_cache.c and unit/slab.c. */
    {"slab", "age_ms=0,magazine=4,empty=0", 3, 8000, 2, true},
    {"slab", "percpu=off", 3, 4000, 3, false},
};

enum { TIGHT = sizeof tight / sizeof *tight };

static void test_defaults(void **state)
{
    const struct allocator *design = *state;
    stress_run(&(struct stress){.design = design->name, .threads = 4, .steps = 8000, .seed = 1});
}

static void test_tight(void **state)
{
    stress_run(*state);
}

int main(void)
{
    static struct CMUnitTest tests[64 + TIGHT];
    static char names[TIGHT][128];
    unsigned count = 0;
    for (size_t i = 0; allocators[i] && count < 64; i++)
        if (stress_applies(allocators[i]))
            tests[count++] = (struct CMUnitTest){.name = allocators[i]->name,
                                                 .test_func = test_defaults,
                                                 .initial_state = (void *)allocators[i]};
    for (size_t i = 0; i < TIGHT; i++) {
        snprintf(names[i], sizeof names[i], "%s:%s", tight[i].design, tight[i].options);
        tests[count++] = (struct CMUnitTest){
            .name = names[i], .test_func = test_tight, .initial_state = (void *)&tight[i]};
    }
    return _cmocka_run_group_tests("stress", tests, count, NULL, NULL);
}
