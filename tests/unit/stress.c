/*
 * stress.c - every design that threads may share, in the randomised program of tests/lib/stress.h:
 * with the defaults, and with tick and trim at work and every choice among its options drawn. A
 * seed is drawn and printed; ALLOCLAB_SEED=N repeats it. ALLOCLAB_STRESS_SECONDS=N goes on with
 * further seeds for so long with each design; ALLOCLAB_STRESS_DESIGN=NAME is for one alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "allocators/lib/option.h"
#include "harness/registry.h"
#include "tests/lib/stress.h"
#include "workloads/lib/rng.h"

static uint64_t seed;
static time_t seconds;

/* One of "a|b|c" and its length. */
static const char *choice_draw(const char *choices, struct rng *rng, size_t *length)
{
    size_t count = 1;
    for (const char *at = choices; *at; at++)
        count += *at == '|';
    for (uint64_t skip = rng_below(rng, count); skip; skip--)
        choices = strchr(choices, '|') + 1;
    *length = strcspn(choices, "|");
    return choices;
}

/* "opt=value,.." for every option that is a choice; the others keep their defaults. */
static void options_draw(const struct allocator *design, uint64_t number, char *text, size_t bytes)
{
    struct rng rng = rng_stream(number, 99);
    size_t used = 0, length;
    text[0] = '\0';
    for (const struct option *row = design->options; row && row->name; row++) {
        const char *choices = row->type == OPTION_BOOL     ? "yes|no"
                              : row->type == OPTION_CHOICE ? row->choices
                                                           : NULL;
        if (!choices)
            continue;
        const char *choice = choice_draw(choices, &rng, &length);
        used += (size_t)snprintf(text + used, bytes - used, "%s%s=%.*s", used ? "," : "", row->name,
                                 (int)length, choice);
        assert_true(used < bytes);
    }
}

static void test_design(void **state)
{
    const struct allocator *design = *state;
    time_t end = time(NULL) + seconds;
    for (uint64_t i = 0; i < 2 || time(NULL) < end; i++) {
        char options[512] = "";
        if (i % 2)
            options_draw(design, seed + i, options, sizeof options);
        struct stress stress = {.design = design->name,
                                .options = options[0] ? options : NULL,
                                .threads = 2 + (unsigned)(i % 3),
                                .steps = 150000,
                                .seed = seed + i,
                                .upkeep = i % 2};
        stress_run(&stress);
    }
}

int main(void)
{
    const char *text = getenv("ALLOCLAB_SEED"), *duration = getenv("ALLOCLAB_STRESS_SECONDS");
    const char *only = getenv("ALLOCLAB_STRESS_DESIGN");
    unsigned count = 0;
    struct CMUnitTest tests[64];
    seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    seconds = duration ? (time_t)strtoull(duration, NULL, 10) : 0;
    printf("# ALLOCLAB_SEED=%llu\n", (unsigned long long)seed);
    for (size_t i = 0; allocators[i] && count < sizeof tests / sizeof *tests; i++)
        if ((!only || !strcmp(only, allocators[i]->name)) && stress_applies(allocators[i]))
            tests[count++] = (struct CMUnitTest){.name = allocators[i]->name,
                                                 .test_func = test_design,
                                                 .initial_state = (void *)allocators[i]};
    if (!count) {
        fprintf(stderr, "stress: ALLOCLAB_STRESS_DESIGN: no design '%s' that threads share\n",
                only);
        return 2;
    }
    return _cmocka_run_group_tests("stress", tests, count, NULL, NULL);
}
