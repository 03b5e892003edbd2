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

// NOLINTBEGIN(bugprone-suspicious-include): compiled here, so that their steps can be scheduled
#include "allocators/lib/epoch.c"
#include "allocators/lib/hazard.c"
#include "allocators/lib/span_owner.c"
#include "allocators/lib/span_share.c"
#include "allocators/lockfree.c"
// NOLINTEND(bugprone-suspicious-include)

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
            t == self && interleave_last_write() == address)
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
    {"p", "p"}, {"p", "ppu"}, {"pp", "pp"}, {"ppu", "ppu"}, {"p", "p", "p"},
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

/* A slow pop against pops that retire, and a push of what was reclaimed. */
static void planted(enum reclaim_method method, const char *fault)
{
    static const char *const scripts[THREADS] = {"p", "pppu"};
    assert_null(pile_explore(method, scripts, NULL).failure);
    assert_non_null(pile_explore(method, scripts, fault).failure);
}

static void test_planted_no_second_look(void **state)
{
    (void)state;
    planted(RECLAIM_HAZARD, "no second look");
}

static void test_planted_slots_ignored(void **state)
{
    (void)state;
    planted(RECLAIM_HAZARD, "announcements ignored");
}

static void test_planted_readers_ignored(void **state)
{
    (void)state;
    planted(RECLAIM_EPOCH, "announcements ignored");
}

static void test_planted_early(void **state)
{
    (void)state;
    planted(RECLAIM_EPOCH, "one epoch too early");
}

/* ---- lockfree ---- */

/*
 * Objects of a class with four in a span. The first view allocates `objects` of them before, and
 * `freed` is then freed by the second. Scripts: a = alloc, 0..9 = free that object, t = trim,
 * x = leave the heap, and go on with the first view.
 */
enum { BYTES = 4096, OBJECTS = 10 };

struct spans_case {
    const char *options;
    unsigned objects;
    const char *freed;
    const char *scripts[THREADS];
};

static struct {
    const struct spans_case *c;
    struct os *os;
    struct heap *heap, *views[THREADS];
    void *objects[OBJECTS], *more[THREADS][4];
    unsigned live, mores[THREADS];
    size_t walked;
} spans;

static uint64_t spans_now(void *ctx)
{
    (void)ctx;
    return 0;
}

static void spans_op(struct heap *view, unsigned self, char op)
{
    if (op == 'a') {
        void *p = lockfree_alloc(view, BYTES, 16);
        if (!p)
            interleave_fail("no memory");
        spans.more[self][spans.mores[self]++] = p;
        memset(p, 1, 64);
        spans.live++;
    } else if (op == 't') {
        lockfree_trim(spans.heap);
    } else if (op == 'x') {
        lockfree_thread_exit(view);
        spans.views[self] = NULL;
    } else {
        lockfree_free(view, spans.objects[op - '0'], 0);
        spans.live--;
    }
}

static void spans_setup(void)
{
    static struct lockfree_options options;
    struct error err;
    assert_int_equal(option_parse("lockfree", lockfree_options, sizeof options, spans.c->options,
                                  &options, &err),
                     0);
    const struct alloc_env env = {
        .os = spans.os, .options = &options, .seed = 1, .now_ns = spans_now};
    if (spans.heap)
        lockfree_destroy(spans.heap);
    spans.heap = lockfree_create(&env);
    assert_non_null(spans.heap);
    memset(spans.mores, 0, sizeof spans.mores);
    for (unsigned t = 0; t < THREADS; t++)
        assert_non_null(spans.views[t] = lockfree_thread_enter(spans.heap));
    spans.live = spans.c->objects;
    for (unsigned i = 0; i < spans.c->objects; i++) {
        spans.objects[i] = lockfree_alloc(spans.views[0], BYTES, 16);
        memset(spans.objects[i], 1, 64);
    }
    for (const char *op = spans.c->freed; *op; op++)
        spans_op(spans.views[1], 1, *op);
}

static void spans_thread(unsigned self)
{
    for (const char *op = spans.c->scripts[self]; *op; op++)
        spans_op(spans.views[self] ? spans.views[self] : spans.views[0], self, *op);
}

static void spans_count(void *arg, const struct walk_item *item)
{
    (void)arg;
    spans.walked += item->kind == WALK_LIVE;
}

/* The heap is whole, every object that should be live is, and none was handed out twice. */
static void spans_finish(void)
{
    const char *broken = lockfree_check(spans.heap);
    if (broken)
        interleave_fail(broken);
    spans.walked = 0;
    lockfree_walk(spans.heap, spans_count, NULL);
    if (spans.walked != spans.live)
        interleave_fail("not exactly the objects in use are live");
    for (unsigned t = 0; t < THREADS; t++)
        for (unsigned i = 0; i < spans.mores[t]; i++)
            for (unsigned u = 0; u < THREADS; u++)
                for (unsigned k = 0; k < spans.mores[u]; k++)
                    if ((t != u || i != k) && spans.more[t][i] == spans.more[u][k])
                        interleave_fail("an object was handed out twice");
}

/* Scans see no announcement. */
static void spans_seen(const volatile void *address, void *value, size_t bytes)
{
    for (struct record *r = views_of(spans.heap->shared)->head; r; r = r->next)
        if (address == &((struct hazard_record *)r)->slot)
            memset(value, 0, bytes);
}

static struct interleave_result spans_explore(const struct spans_case *c, bool planted_fault)
{
    struct interleave model = {.setup = spans_setup,
                               .thread = spans_thread,
                               .finish = spans_finish,
                               .fault = planted_fault ? spans_seen : NULL};
    const struct os_config config = {.observe = false};
    spans.c = c;
    spans.heap = NULL;
    assert_non_null(spans.os = os_open(&config));
    while (model.threads < THREADS && c->scripts[model.threads])
        model.threads++;
    struct interleave_result result = interleave_run(&model);
    printf("# lockfree:%s, %u objects, free %s; %s %s %s: %llu runs, %llu cut, %s\n", c->options,
           c->objects, c->freed, c->scripts[0], c->scripts[1], c->scripts[2] ? c->scripts[2] : "",
           (unsigned long long)result.runs, (unsigned long long)result.cut,
           result.failure ? result.failure : "all well");
    lockfree_destroy(spans.heap);
    os_close(spans.os);
    return result;
}

static const struct spans_case spans_cases[] = {
    /* The owner of an exhausted span looks, leaves it, or finds what two others free. */
    {"", 4, "", {"a", "0", "1"}},
    {"", 4, "", {"aa", "01"}},
    /* A full span: taken back by its last owner, or listed by another's free. */
    {"", 5, "", {"0", "1", "2"}},
    {"", 5, "", {"01", "23"}},
    {"", 5, "", {"0a", "12"}},
    /* A listed span: two adopt, one frees. */
    {"", 5, "0", {"2", "a", "a"}},
    {"reclaim=epoch", 5, "0", {"2", "a", "a"}},
    /* The owner leaves the heap while others free; a sweep while others free and adopt. */
    {"", 4, "", {"x", "0", "1"}},
    {"", 5, "0", {"x", "12", "a"}},
    {"", 5, "0", {"t", "12"}},
    {"", 5, "0", {"t", "1", "a"}},
    {"reclaim=epoch", 5, "0", {"t", "1", "a"}},
};

static void test_spans(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof spans_cases / sizeof *spans_cases; i++) {
        struct interleave_result result = spans_explore(&spans_cases[i], false);
        if (result.failure)
            fail_msg("case %zu: %s", i, result.failure);
        assert_true(result.complete);
    }
}

/* ABA in the heap: a slow adoption of a span with another below it, while a second thread adopts
 * both, leaves, and frees into the upper one, so that it is on top again. */
static void test_planted_aba(void **state)
{
    (void)state;
    static const struct spans_case c = {"", 9, "04", {"", "aax5", "a"}};
    struct interleave_result result = spans_explore(&c, false);
    assert_null(result.failure);
    assert_true(result.complete);
    assert_non_null(spans_explore(&c, true).failure);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hazard),
        cmocka_unit_test(test_epoch),
        cmocka_unit_test(test_planted_no_second_look),
        cmocka_unit_test(test_planted_slots_ignored),
        cmocka_unit_test(test_planted_readers_ignored),
        cmocka_unit_test(test_planted_early),
        cmocka_unit_test(test_spans),
        cmocka_unit_test(test_planted_aba),
    };
    return cmocka_run_group_tests_name("interleavings", tests, NULL, NULL);
}
