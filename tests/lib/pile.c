/*
 * pile.c - see pile.h. Only the main thread asserts; the others note what they saw first.
 */
#include "tests/lib/pile.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "allocators/lib/list.h"
#include "workloads/lib/rng.h"

enum { NODES = 64, THREADS_MAX = 8 };

#define ALIVE  UINT64_C(0xA11CE0A11CE0A11C)
#define POISON UINT64_C(0xDEAD0DEAD0DEAD0D)

struct node {
    _Atomic(void *) link;
    uint64_t mark;
    struct node *next; /* in a thread's own list */
};

struct worker {
    struct reclaimer reclaimer;
    struct ground *ground;
    struct rng rng;
    struct node *spare, *owed; /* to be pushed; popped and still to be retired */
};

struct ground {
    const struct pile *pile;
    struct shared_stack stack;
    struct reclaim reclaim;
    _Atomic(const char *) failure;
    struct node nodes[NODES];
    struct worker workers[THREADS_MAX + 1];
};

static void ground_fail(struct ground *g, const char *what)
{
    const char *none = NULL;
    atomic_compare_exchange_strong(&g->failure, &none, what);
}

static struct node *node_of(void *link)
{
    return link ? LIST_ENTRY(link, struct node, link) : NULL;
}

static void node_expect(struct ground *g, const struct node *node, const char *what)
{
    if (node->mark != ALIVE)
        ground_fail(g, what);
}

static void node_reclaimed(void *worker, void *link)
{
    struct worker *w = worker;
    struct node *node = node_of(link);
    node_expect(w->ground, node, "a node was reclaimed twice");
    node->mark = POISON;
    node->next = w->spare;
    w->spare = node;
}

static void worker_push(struct worker *w)
{
    struct node *node = w->spare;
    if (!node)
        return;
    w->spare = node->next;
    node->mark = ALIVE;
    stack_push(&w->ground->stack, &node->link);
}

static void worker_retire(struct worker *w)
{
    struct reclaim *reclaim = &w->ground->reclaim;
    while (w->owed && reclaimer_room(reclaim, &w->reclaimer)) {
        struct node *node = w->owed;
        w->owed = node->next;
        reclaimer_retire(reclaim, &w->reclaimer, &node->link);
    }
}

static void worker_pop(struct worker *w)
{
    struct ground *g = w->ground;
    struct node *node = node_of(stack_pop(&g->stack, &g->reclaim, &w->reclaimer));
    if (!node)
        return;
    node_expect(g, node, "a node was popped that was not in the stack");
    node->next = w->owed;
    w->owed = node;
    worker_retire(w);
}

/* Protects the top of the stack, if there is one. */
static struct node *look_begin(struct worker *w)
{
    struct ground *g = w->ground;
    if (g->reclaim.method == RECLAIM_HAZARD)
        return node_of(hazard_protect(&w->reclaimer.hazard, &g->stack.head));
    epoch_enter(&g->reclaim.epoch, &w->reclaimer.epoch);
    return node_of(step_load(&g->stack.head, memory_order_seq_cst));
}

static void look_end(struct worker *w)
{
    reclaimer_forget(&w->ground->reclaim, &w->reclaimer);
}

static void worker_look(struct worker *w)
{
    struct node *node = look_begin(w);
    bool slow = rng_below(&w->rng, 16) == 0;
    for (unsigned i = 0; node && i < 4; i++) {
        node_expect(w->ground, node, "a node was reclaimed while a reader looked at it");
        if (slow)
            sched_yield();
    }
    look_end(w);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    for (unsigned i = 0; i < w->ground->pile->steps && !atomic_load(&w->ground->failure); i++) {
        uint64_t choice = rng_below(&w->rng, 8);
        if (choice < 3)
            worker_push(w);
        else if (choice < 6)
            worker_pop(w);
        else
            worker_look(w);
    }
    return NULL;
}

static size_t list_count(const struct node *node)
{
    size_t n = 0;
    for (; node; node = node->next)
        n++;
    return n;
}

/* Every node is in exactly one place: a list that has one twice does not end, or sums up wrongly.
 */
static void ground_check(struct ground *g)
{
    size_t count = stack_length(&g->stack);
    if (atomic_load(&g->failure))
        fail_msg("seed %llu: %s", (unsigned long long)g->pile->seed, atomic_load(&g->failure));
    for (unsigned t = 0; t <= g->pile->threads; t++) {
        struct worker *w = &g->workers[t];
        count += list_count(w->spare) + list_count(w->owed);
        count += reclaimer_count(&g->reclaim, &w->reclaimer);
        assert_true(reclaimer_peak(&g->reclaim, &w->reclaimer) <= g->pile->limit);
    }
    assert_int_equal(count, NODES);
}

/* With nobody inside, everything is reclaimed. */
static void ground_finish(struct ground *g)
{
    unsigned threads = g->pile->threads;
    size_t waiting = 0;
    for (unsigned t = 0; t < threads; t++) {
        waiting += reclaimer_count(&g->reclaim, &g->workers[t].reclaimer);
        waiting += list_count(g->workers[t].owed);
    }
    if (g->pile->stalls)
        assert_true(waiting > 0);
    look_end(&g->workers[threads]);
    for (unsigned t = 0; t < threads; t++) {
        struct worker *w = &g->workers[t];
        while (w->owed)
            worker_retire(w);
        reclaimer_scan(&g->reclaim, &w->reclaimer);
        assert_int_equal(reclaimer_count(&g->reclaim, &w->reclaimer), 0);
    }
    ground_check(g);
}

/* A reader that stands still does not keep the others from going on, and keeps one node under
 * hazard pointers, but all that are retired under epochs. */
static void stalled_check(struct ground *g)
{
    struct worker *last = &g->workers[g->pile->threads];
    struct node *node = look_begin(last);
    struct worker *w = &g->workers[0];
    for (unsigned i = 0; i < 8 * g->pile->limit; i++) {
        worker_pop(w);
        worker_push(w);
    }
    uint32_t waiting = reclaimer_count(&g->reclaim, &w->reclaimer);
    assert_true(waiting <= g->pile->limit);
    if (g->reclaim.method == RECLAIM_HAZARD) {
        reclaimer_scan(&g->reclaim, &w->reclaimer);
        assert_int_equal(reclaimer_count(&g->reclaim, &w->reclaimer), 1);
        assert_null(w->owed);
    } else {
        assert_int_equal(waiting, g->pile->limit);
        assert_non_null(w->owed);
    }
    assert_non_null(node);
    assert_true(node->mark == ALIVE);
}

void pile_run(const struct pile *pile)
{
    struct ground *g = test_calloc(1, sizeof *g);
    pthread_t threads[THREADS_MAX];
    assert_in_range(pile->threads, 1, THREADS_MAX);
    g->pile = pile;
    reclaim_open(&g->reclaim, pile->method, pile->limit, node_reclaimed);
    for (unsigned t = 0; t <= pile->threads; t++) {
        struct worker *w = &g->workers[t];
        w->ground = g;
        w->rng = rng_stream(pile->seed, t);
        reclaimer_add(&g->reclaim, &w->reclaimer, w);
    }
    for (unsigned i = 0; i < NODES; i++) {
        g->nodes[i].mark = ALIVE;
        stack_push(&g->stack, &g->nodes[i].link);
    }
    if (pile->stalls)
        stalled_check(g);
    for (unsigned t = 0; t < pile->threads; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, worker_main, &g->workers[t]), 0);
    for (unsigned t = 0; t < pile->threads; t++)
        assert_int_equal(pthread_join(threads[t], NULL), 0);
    ground_check(g);
    ground_finish(g);
    test_free(g);
}
