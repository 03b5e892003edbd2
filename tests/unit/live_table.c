/*
 * live_table.c - the table of live objects against a plain array of all ids, on lifetimes of every
 * kind; and what it promises of its memory: it follows the live set, whatever the number of ids.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "traces/live_table.h"
#include "workloads/lib/rng.h"

#define SEED UINT64_C(20240917)
#define IDS  400000

static uint64_t model[IDS]; /* the value, or 0: not live */
static uint64_t live_ids[IDS], live_count;

static void add(struct live_table *t, uint64_t value)
{
    assert_true(live_table_room(t));
    uint64_t id = live_table_add(t, value);
    model[id] = value;
    live_ids[live_count++] = id;
}

static void remove_at(struct live_table *t, uint64_t at)
{
    uint64_t id = live_ids[at], *value = live_table_find(t, id);
    assert_non_null(value);
    assert_true(*value == model[id]);
    live_table_remove(t, id, value);
    model[id] = 0;
    live_ids[at] = live_ids[--live_count];
}

static void same_as_model(const struct live_table *t)
{
    uint64_t *ids = live_table_ids(t), at = 0;
    assert_non_null(ids);
    assert_true(t->live == live_count);
    for (uint64_t id = 0; id < t->ids; id++) {
        const uint64_t *value = live_table_find(t, id);
        assert_true(value ? *value == model[id] : model[id] == 0);
        if (value)
            assert_true(ids[at++] == id);
    }
    assert_true(at == t->live);
    assert_null(live_table_find(t, t->ids));
    assert_null(live_table_find(t, UINT64_MAX));
    free(ids);
}

/* Which of the live objects dies next: any, the youngest, the oldest that the list happens to hold,
 * or any, but seldom every 997th. */
enum fate { FATE_ANY, FATE_YOUNGEST, FATE_FIRST, FATE_MOST };

static uint64_t victim(struct rng *rng, enum fate fate)
{
    if (fate == FATE_YOUNGEST)
        return live_count - 1;
    if (fate == FATE_FIRST)
        return 0;
    uint64_t at = rng_below(rng, live_count);
    if (fate == FATE_MOST && live_ids[at] % 997 == 0)
        at = rng_below(rng, live_count);
    return at;
}

static void follows_the_model(enum fate fate, uint64_t live)
{
    struct live_table t = {0};
    struct rng rng = rng_stream(SEED, fate);
    live_count = 0;
    while (t.ids < IDS) {
        bool grow = live_count < live / 2 || (live_count < live && rng_next(&rng) >> 63);
        if (grow)
            add(&t, t.ids << 1 | 1);
        else
            remove_at(&t, victim(&rng, fate));
        if (live_count && rng_below(&rng, 16) == 0) { /* a value that changes */
            uint64_t id = live_ids[rng_below(&rng, live_count)];
            model[id] += UINT64_C(1) << 40;
            *live_table_find(&t, id) = model[id];
        }
    }
    same_as_model(&t);
    while (live_count)
        remove_at(&t, rng_below(&rng, live_count));
    same_as_model(&t);
    live_table_free(&t);
    assert_true(t.ids == 0 && t.held_count == 0);
}

static void every_lifetime(void **state)
{
    (void)state;
    for (enum fate fate = FATE_ANY; fate <= FATE_MOST; fate++) {
        follows_the_model(fate, 3);
        follows_the_model(fate, 5000);
        follows_the_model(fate, 60000);
    }
}

static uint64_t bytes_of(const struct live_table *t)
{
    return t->held_count * LIVE_PAGE * 8 + t->elder_room * sizeof *t->elders;
}

/* 50 million ids, of which one in 5000 stays for good and the others die at once. */
static void memory_follows_the_live_set(void **state)
{
    (void)state;
    struct live_table t = {0};
    uint64_t most = 0;
    for (uint64_t i = 0; i < 50000000; i++) {
        assert_true(live_table_room(&t));
        uint64_t id = live_table_add(&t, 1);
        if (id % 5000)
            live_table_remove(&t, id, live_table_find(&t, id));
        most = bytes_of(&t) > most ? bytes_of(&t) : most;
    }
    assert_true(t.live == 10000);
    assert_true(most < t.live * 160 + 40 * LIVE_PAGE * 8);
    live_table_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_lifetime),
        cmocka_unit_test(memory_follows_the_live_set),
    };
    printf("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests_name("live table", tests, NULL, NULL);
}
