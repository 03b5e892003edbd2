/*
 * interleavings.c - the lock-free parts, in every interleaving of a few operations of two or three
 * threads (tests/lib/interleave.h): the real code of hazard pointers, epochs, the shared stack and
 * lockfree's spans. Asserted is that no node is looked into after it was reclaimed, that none is
 * lost and none is in two places. Then the same with mistakes planted, each of which must be found:
 * a check that finds none of them would find nothing else.
 *
 * Sequential consistency is explored, and no more: what weaker orders add is argued in the headers
 * and left to ThreadSanitizer.
 */
#include "tests/lib/interleave.h"

#include "allocators/lib/epoch.c"
#include "allocators/lib/hazard.c"
#include "allocators/lib/span_owner.c"
#include "allocators/lib/span_share.c"
#include "allocators/lockfree.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- a stack of nodes, and what each is right now ---- */

enum { NODES = 3, THREADS = INTERLEAVE_THREADS };

enum place { STACKED, POPPED, RETIRED, SPARE };

struct node {
    _Atomic(void *) link;
    enum place place;
};

static struct {
    struct shared_stack stack;
    struct reclaim reclaim;
    struct reclaimer reclaimers[THREADS];
    struct node nodes[NODES];
    struct node *spare[THREADS][NODES];
    unsigned spares[THREADS];
    enum reclaim_method method;
    const char *scripts[THREADS]; /* p = pop and retire, u = push a spare one */
    const char *fault;            /* NULL = none */
} pile;

static struct node *node_of(void *link)
{
    return link ? LIST_ENTRY(link, struct node, link) : NULL;
}

static void node_reclaimed(void *arg, void *link)
{
    unsigned self = (unsigned)(uintptr_t)arg;
    struct node *node = node_of(link);
    if (node->place != RETIRED)
        interleave_fail("a node was reclaimed that was not retired");
    node->place = SPARE;
    pile.spare[self][pile.spares[self]++] = node;
}

static void pile_setup(void)
{
    memset(&pile.stack, 0, sizeof pile.stack);
    memset(&pile.reclaim, 0, sizeof pile.reclaim);
    memset(&pile.reclaimers, 0, sizeof pile.reclaimers);
    memset(&pile.spares, 0, sizeof pile.spares);
    reclaim_open(&pile.reclaim, pile.method, 1, node_reclaimed);
    for (unsigned t = 0; t < THREADS && pile.scripts[t]; t++)
        reclaimer_add(&pile.reclaim, &pile.reclaimers[t], (void *)(uintptr_t)t);
    for (unsigned i = 0; i < NODES; i++) {
        pile.nodes[i].place = STACKED;
        stack_push(&pile.stack, &pile.nodes[i].link);
    }
}

static void pile_pop(unsigned self)
{
    struct reclaimer *r = &pile.reclaimers[self];
    struct node *node = node_of(stack_pop(&pile.stack, &pile.reclaim, r));
    if (!node)
        return;
    if (node->place != STACKED)
        interleave_fail("a node was popped that was not in the stack");
    node->place = POPPED;
    if (reclaimer_room(&pile.reclaim, r)) {
        node->place = RETIRED;
        reclaimer_retire(&pile.reclaim, r, &node->link);
    }
}

static void pile_push(unsigned self)
{
    if (!pile.spares[self])
        return;
    struct node *node = pile.spare[self][--pile.spares[self]];
    node->place = STACKED;
    stack_push(&pile.stack, &node->link);
}

static void pile_thread(unsigned self)
{
    for (const char *op = pile.scripts[self]; *op; op++)
        if (*op == 'p')
            pile_pop(self);
        else
            pile_push(self);
}

static void pile_finish(void)
{
    unsigned stacked = 0, found = 0;
    for (unsigned i = 0; i < NODES; i++)
        stacked += pile.nodes[i].place == STACKED;
    for (struct node *n = node_of(pile.stack.head); n && found <= NODES; n = node_of(n->link)) {
        found++;
        if (n->place != STACKED)
            interleave_fail("the stack holds a node that was popped");
    }
    if (found != stacked)
        interleave_fail("a node is lost, or in the stack twice");
}

/* What a thread reads: a link of a node that was reclaimed is a failure, whatever comes of it. */
static void pile_seen(const volatile void *address, void *value, size_t bytes)
{
    unsigned self = interleave_self();
    for (unsigned i = 0; i < NODES; i++)
        if (address == &pile.nodes[i].link && pile.nodes[i].place == SPARE)
            interleave_fail("a thread looked into a node that was reclaimed");
    if (!pile.fault)
        return;
    for (unsigned t = 0; t < THREADS; t++) {
        struct reclaimer *r = &pile.reclaimers[t];
        if (!strcmp(pile.fault, "no second look") && t == self && address == &pile.stack.head &&
            interleave_last_write() == &r->hazard.slot && r->hazard.slot)
            *(void **)value = r->hazard.slot;
        if (!strcmp(pile.fault, "announcements ignored") &&
            (address == &r->hazard.slot || address == &r->epoch.announced))
            memset(value, 0, bytes);
        if (!strcmp(pile.fault, "one epoch too early") && address == &pile.reclaim.epoch.epoch &&
            t == self && r->epoch.count)
            *(uint64_t *)value += 1;
    }
}

static struct interleave_result pile_explore(enum reclaim_method method, const char *const *scripts,
                                             const char *fault)
{
    struct interleave model = {
        .setup = pile_setup, .thread = pile_thread, .finish = pile_finish, .fault = pile_seen};
    pile.method = method;
    pile.fault = fault;
    for (unsigned t = 0; t < THREADS; t++) {
        pile.scripts[t] = scripts[t];
        model.threads += scripts[t] != NULL;
    }
    struct interleave_result result = interleave_run(&model);
    printf("# %s, %s %s %s: %llu runs, %llu cut, %s\n",
           method == RECLAIM_HAZARD ? "hazard" : "epoch", scripts[0], scripts[1],
           scripts[2] ? scripts[2] : "", (unsigned long long)result.runs,
           (unsigned long long)result.cut, result.failure ? result.failure : "all well");
    return result;
}

static const char *const cases[][THREADS] = {
    {"p", "p"}, {"p", "ppu"}, {"pp", "pp"}, {"pu", "ppu"}, {"p", "p", "p"},
};

static void pile_test(enum reclaim_method method)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct interleave_result result = pile_explore(method, cases[i], NULL);
        if (result.failure)
            fail_msg("case %zu: %s", i, result.failure);
        assert_true(result.complete);
        assert_true(result.runs > 1);
    }
}

static void test_hazard(void **state)
{
    (void)state;
    pile_test(RECLAIM_HAZARD);
}

static void test_epoch(void **state)
{
    (void)state;
    pile_test(RECLAIM_EPOCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hazard),
        cmocka_unit_test(test_epoch),
    };
    return cmocka_run_group_tests_name("interleavings", tests, NULL, NULL);
}
