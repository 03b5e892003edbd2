/*
 * object_cache.c - object caches and their magazines: each object constructed once however often it
 * is used, slabs that move between their lists, colours, reaping by age, and magazines under
 * threads that move between CPUs while a visitor drains them, by rseq and under locks.
 *
 * Called with an argument ("mode"), the program prints how magazines are kept here, and ends: the
 * test of what happens under valgrind calls it so.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "allocators/lib/object_cache.h"
#include "workloads/lib/rng.h"

#define SECOND UINT64_C(1000000000)

static const char *program; /* argv[0] */

static const enum percpu_choice choices[] = {PERCPU_AUTO, PERCPU_LOCKS, PERCPU_OFF};

struct counts {
    _Atomic unsigned made, ended;
};

struct object {
    uint64_t magic; /* of a constructed object */
    uint64_t owner; /* 0 while it is free */
    char rest[84];
};

#define MAGIC UINT64_C(0xC0257C7ED0B7EC70)

static void object_make(void *p, void *arg)
{
    struct object *o = p;
    assert_true(o->magic != MAGIC); /* constructed once */
    memset(o, 0, sizeof *o);
    o->magic = MAGIC;
    atomic_fetch_add(&((struct counts *)arg)->made, 1);
}

static void object_end(void *p, void *arg)
{
    struct object *o = p;
    assert_true(o->magic == MAGIC);
    assert_int_equal(o->owner, 0);
    o->magic = 0;
    atomic_fetch_add(&((struct counts *)arg)->ended, 1);
}

struct lab {
    struct os *os;
    struct object_cache *cache;
    struct counts counts;
};

static void lab_open(struct lab *lab, const struct object_caches_config *config, size_t bytes,
                     size_t align, bool constructed)
{
    const struct os_config door = {.observe = false};
    memset(lab, 0, sizeof *lab);
    lab->os = os_open(&door);
    assert_non_null(lab->os);
    lab->cache =
        object_cache_open_as(lab->os, config, "lab", bytes, align, constructed ? object_make : NULL,
                             constructed ? object_end : NULL, &lab->counts);
    assert_non_null(lab->cache);
}

static void item_add(void *arg, const struct walk_item *item)
{
    *(size_t *)arg += item->bytes;
}

static void lab_check(struct lab *lab)
{
    size_t sum = 0;
    const char *broken = object_cache_check(lab->cache);
    if (broken)
        fail_msg("%s", broken);
    object_cache_walk(lab->cache, item_add, &sum);
    assert_int_equal(sum, os_counts(lab->os).committed_bytes);
}

static void lab_close(struct lab *lab)
{
    lab_check(lab);
    assert_int_equal(object_cache_close(lab->cache), 0);
    assert_int_equal(lab->counts.made, lab->counts.ended);
    assert_int_equal(os_counts(lab->os).reserved_bytes, 0);
    os_close(lab->os);
}

static struct object_caches_config config_of(enum percpu_choice percpu)
{
    return (struct object_caches_config){.percpu = percpu,
                                         .colour = true,
                                         .rounds = 16,
                                         .objects = 8,
                                         .empties = 4,
                                         .age_ns = SECOND,
                                         .limit_bytes = 1 << 20};
}

static void *take(struct lab *lab)
{
    void *p = object_cache_take(lab->cache);
    assert_non_null(p);
    return p;
}

static size_t length(const struct list *list)
{
    size_t n = 0;
    for (const struct list *l = list->next; l != list; l = l->next)
        n++;
    return n;
}

static void assert_lists(const struct object_cache *c, size_t partial, size_t full, size_t empty)
{
    assert_int_equal(length(&c->partial), partial);
    assert_int_equal(length(&c->full), full);
    assert_int_equal(length(&c->empty), empty);
}

/* ---- construction ---- */

/* To the CPU that the thread is on, as what lies in the magazine of another is not found. */
static cpu_set_t cpu_pin(void)
{
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    CPU_SET((unsigned)sched_getcpu(), &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    return before;
}

static void cpu_unpin(const cpu_set_t *before)
{
    assert_int_equal(sched_setaffinity(0, sizeof *before, before), 0);
}

static void test_constructed_once(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    static struct object *p[COUNT];
    const cpu_set_t before = cpu_pin();
    for (unsigned mode = 0; mode < 3; mode++) {
        struct lab lab;
        struct object_caches_config config = config_of(choices[mode]);
        config.empties = 1000;
        lab_open(&lab, &config, sizeof(struct object), 8, true);
        uint64_t slabs = 0;
        for (unsigned round = 0; round < 20; round++) {
            for (unsigned i = 0; i < COUNT; i++) {
                p[i] = take(&lab);
                assert_true(p[i]->magic == MAGIC);
                assert_int_equal(p[i]->owner, 0);
                p[i]->owner = i + 1;
            }
            if (!round)
                slabs = lab.cache->slabs_made;
            lab_check(&lab);
            for (unsigned i = 0; i < COUNT; i++) {
                assert_int_equal(p[i]->owner, i + 1);
                p[i]->owner = 0;
                object_cache_give(lab.cache, p[i]);
            }
            lab_check(&lab);
        }
        unsigned made = lab.counts.made; /* 20 * COUNT were taken */
        assert_in_range(made, COUNT, slabs * lab.cache->objects);
        assert_int_equal(lab.cache->slabs_made, slabs);
        assert_int_equal(lab.cache->constructed, made);
        assert_int_equal(lab.counts.ended, 0);
        object_cache_reap(lab.cache);
        assert_int_equal(lab.counts.ended, made);
        lab_check(&lab);
        p[0] = take(&lab); /* of a new slab */
        assert_true(p[0]->magic == MAGIC);
        object_cache_give(lab.cache, p[0]);
        lab_close(&lab);
    }
    cpu_unpin(&before);
}

static void test_close_counts_live(void **state)
{
    (void)state;
    struct lab lab;
    struct object_caches_config config = config_of(PERCPU_AUTO);
    lab_open(&lab, &config, sizeof(struct object), 8, true);
    for (unsigned i = 0; i < 5; i++)
        take(&lab);
    assert_int_equal(object_cache_close(lab.cache), 5);
    assert_int_equal(lab.counts.ended, lab.counts.made - 5);
    os_close(lab.os);
}

/* ---- slabs ---- */

static void test_lists(void **state)
{
    (void)state;
    static void *p[300];
    struct lab lab;
    struct object_caches_config config = config_of(PERCPU_OFF);
    lab_open(&lab, &config, 256, 16, false);
    const struct object_cache *c = lab.cache;
    unsigned each = c->objects;
    assert_in_range(each, 16, 32);
    assert_lists(c, 0, 0, 0);
    p[0] = take(&lab);
    assert_lists(c, 1, 0, 0);
    for (unsigned i = 1; i < each; i++)
        p[i] = take(&lab);
    assert_lists(c, 0, 1, 0);
    for (unsigned i = each; i < 3 * each; i++)
        p[i] = take(&lab);
    assert_lists(c, 0, 3, 0);
    lab_check(&lab);
    object_cache_give(lab.cache, p[0]);
    object_cache_give(lab.cache, p[each]);
    assert_lists(c, 2, 1, 0);
    for (unsigned i = 1; i < each; i++)
        object_cache_give(lab.cache, p[i]);
    assert_lists(c, 1, 1, 1);
    assert_ptr_equal(take(&lab), p[each]); /* of the partial slab, not of the empty one */
    assert_lists(c, 0, 2, 1);
    assert_ptr_equal(take(&lab), p[each - 1]); /* now of the empty one, the last given first */
    assert_lists(c, 1, 2, 0);
    object_cache_give(lab.cache, p[each - 1]);
    for (unsigned i = each; i < 3 * each; i++)
        object_cache_give(lab.cache, p[i]);
    assert_lists(c, 0, 0, 3);
    assert_int_equal(c->slabs_made, 3);
    assert_int_equal(c->slabs_reaped, 0);
    lab_close(&lab);
}

/* Where in its slab the first object of each of `count` new slabs lies. */
static void colours_read(struct lab *lab, unsigned count, size_t *offset)
{
    const struct object_cache *c = lab->cache;
    for (unsigned i = 0; i < count; i++) {
        char *first = take(lab);
        offset[i] = (size_t)(first - span_start(object_span(first)));
        for (unsigned k = 1; k < c->objects; k++)
            assert_ptr_equal(take(lab), first + k * (size_t)c->bytes);
    }
}

static void test_colours(void **state)
{
    (void)state;
    size_t offset[10];
    for (unsigned coloured = 0; coloured < 2; coloured++) {
        struct lab lab;
        struct object_caches_config config = config_of(PERCPU_OFF);
        config.colour = coloured;
        lab_open(&lab, &config, 256, 16, false);
        assert_int_equal(lab.cache->colour_max, coloured ? 192 : 0); /* 8192 - 31 * 258 = 194 */
        colours_read(&lab, 10, offset);
        for (unsigned i = 0; i < 10; i++)
            assert_int_equal(offset[i], coloured ? i % 4 * 64 : 0);
        lab_check(&lab);
        object_cache_close(lab.cache);
        os_close(lab.os);
    }
    struct lab lab;
    struct object_caches_config config = config_of(PERCPU_OFF);
    lab_open(&lab, &config, 700, 128, false); /* steps keep the alignment */
    colours_read(&lab, 10, offset);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(offset[i], i * 128 % (lab.cache->colour_max + 128));
    assert_true(lab.cache->colour_max > 0);
    object_cache_close(lab.cache);
    os_close(lab.os);
}

/* Powers of two from 1 KiB on fill their slabs: nothing beside the objects lies in them. */
static void test_off_slab(void **state)
{
    (void)state;
    static const size_t sizes[] = {1024, 4096, 8192, 65536, 1 << 20, 100, 1000, 3000, 20000};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct lab lab;
        struct object_caches_config config = config_of(PERCPU_AUTO);
        lab_open(&lab, &config, sizes[i], 8, false);
        const struct object_cache *c = lab.cache;
        assert_int_equal(c->marks == 0, sizes[i] >= 1024);
        if (is_pow2(sizes[i]))
            assert_int_equal(c->objects * sizes[i], c->units * UNIT_BYTES);
        assert_true(8 * (c->units * UNIT_BYTES - c->objects * sizes[i]) <= c->units * UNIT_BYTES);
        char *p[40];
        for (unsigned k = 0; k < 40; k++)
            memset(p[k] = take(&lab), (int)k, sizes[i]);
        lab_check(&lab);
        for (unsigned k = 0; k < 40; k++) {
            assert_int_equal(p[k][0], (int)k);
            assert_int_equal(p[k][sizes[i] - 1], (int)k);
            object_cache_give(lab.cache, p[k]);
        }
        lab_close(&lab);
    }
    struct os *os = os_open(&(const struct os_config){.observe = false});
    assert_null(object_cache_open(os, "large", (1 << 20) + 1, 8, NULL, NULL, NULL));
    assert_null(object_cache_open(os, "aligned", 100, 16384, NULL, NULL, NULL));
    assert_int_equal(os_counts(os).reserved_bytes, 0);
    os_close(os);
}

/* ---- reaping ---- */

static void test_reaped_by_age(void **state)
{
    (void)state;
    static struct object *p[400];
    struct lab lab;
    struct object_caches_config config = config_of(PERCPU_LOCKS);
    const cpu_set_t before = cpu_pin();
    config.empties = 1000;
    lab_open(&lab, &config, sizeof(struct object), 8, true);
    for (unsigned i = 0; i < 400; i++)
        p[i] = take(&lab);
    object_cache_tick(lab.cache, SECOND); /* visits: all magazines as they were at the start */
    for (unsigned i = 0; i < 400; i++)
        object_cache_give(lab.cache, p[i]);
    object_cache_tick(lab.cache, SECOND + SECOND / 2);
    assert_int_equal(lab.counts.ended, 0);
    object_cache_tick(lab.cache, 2 * SECOND); /* the magazine has changed: it stays */
    unsigned early = lab.counts.ended;
    assert_true(early > 0 && early < lab.counts.made);
    object_cache_tick(lab.cache, 3 * SECOND); /* it has not: it is drained */
    object_cache_tick(lab.cache, 4 * SECOND); /* what was empty then is old now */
    assert_int_equal(lab.counts.ended, lab.counts.made);
    lab_check(&lab);
    lab_close(&lab);
    cpu_unpin(&before);
}

static void test_empties_limited(void **state)
{
    (void)state;
    static void *p[1000];
    struct lab lab;
    struct object_caches_config config = config_of(PERCPU_OFF);
    lab_open(&lab, &config, 256, 16, false);
    for (unsigned i = 0; i < 1000; i++)
        p[i] = take(&lab);
    for (unsigned i = 0; i < 1000; i++)
        object_cache_give(lab.cache, p[i]);
    assert_lists(lab.cache, 0, 0, config.empties);
    object_cache_reap(lab.cache);
    assert_lists(lab.cache, 0, 0, 0);
    assert_int_equal(lab.cache->slabs_made, lab.cache->slabs_reaped);
    lab_close(&lab);
}

static void test_no_memory(void **state)
{
    (void)state;
    static void *p[100000];
    struct lab lab;
    const struct os_config door = {.commit_limit_bytes = 1 << 20};
    memset(&lab, 0, sizeof lab);
    lab.os = os_open(&door);
    lab.cache = object_cache_open(lab.os, "small", 64, 8, NULL, NULL, NULL);
    assert_non_null(lab.cache);
    unsigned n = 0;
    while ((p[n] = object_cache_take(lab.cache)) != NULL)
        n++;
    assert_in_range(n, 8000, 16384);
    lab_check(&lab);
    while (n)
        object_cache_give(lab.cache, p[--n]);
    assert_non_null(p[0] = object_cache_take(lab.cache));
    object_cache_give(lab.cache, p[0]);
    lab_close(&lab);
}

/* ---- threads ---- */

enum { WORKERS = 8, HELD = 64 };

struct crowd {
    struct lab *lab;
    cpu_set_t cpus; /* that may be used */
    unsigned steps;
    _Atomic unsigned running;
    _Atomic(const char *) failure;
    _Atomic(struct object *) places[64]; /* objects for whoever picks them up */
};

struct worker {
    struct crowd *crowd;
    uint64_t number; /* from 1 */
    struct rng rng;
    struct object *held[HELD];
};

/* To a CPU drawn from those that may be used. */
static void worker_migrate(struct worker *w)
{
    unsigned nth = (unsigned)rng_below(&w->rng, (uint64_t)CPU_COUNT(&w->crowd->cpus));
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &w->crowd->cpus) && !nth--) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof one, &one);
            return;
        }
}

static void worker_give(struct worker *w, struct object *o, uint64_t owner)
{
    if (o->magic != MAGIC || o->owner != owner || o->rest[83] != (char)owner)
        atomic_store(&w->crowd->failure, "an object changed while it was in use");
    o->owner = 0;
    object_cache_give(w->crowd->lab->cache, o);
}

static struct object *worker_take(struct worker *w)
{
    struct object *o = object_cache_take(w->crowd->lab->cache);
    if (!o || o->magic != MAGIC || o->owner) {
        atomic_store(&w->crowd->failure,
                     o ? "an object was handed out twice, or unconstructed" : "no memory");
        return NULL;
    }
    o->owner = w->number;
    o->rest[83] = (char)w->number;
    return o;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    for (unsigned i = 0; i < w->crowd->steps && !atomic_load(&w->crowd->failure); i++) {
        struct object **place = &w->held[rng_below(&w->rng, HELD)];
        if (i % 512 == 0)
            worker_migrate(w);
        if (*place && i % 8 == 0) { /* a stranger's for the own one */
            (*place)->rest[82] = (char)w->number;
            struct object *o = atomic_exchange(&w->crowd->places[i / 8 % 64], *place);
            if (o) {
                o->owner = w->number;
                o->rest[83] = (char)w->number;
            }
            *place = o;
        } else if (*place) {
            worker_give(w, *place, w->number);
            *place = NULL;
        } else {
            *place = worker_take(w);
        }
    }
    for (unsigned i = 0; i < HELD; i++)
        if (w->held[i])
            worker_give(w, w->held[i], w->number);
    atomic_fetch_sub(&w->crowd->running, 1);
    return NULL;
}

static void crowd_run(enum percpu_choice choice, unsigned steps, bool visits)
{
    struct lab lab;
    struct crowd crowd = {.lab = &lab, .steps = steps};
    struct worker *workers = test_calloc(WORKERS, sizeof *workers);
    pthread_t threads[WORKERS];
    struct object_caches_config config = config_of(choice);
    lab_open(&lab, &config, sizeof(struct object), 8, true);
    assert_int_equal(sched_getaffinity(0, sizeof crowd.cpus, &crowd.cpus), 0);
    atomic_store(&crowd.running, WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] =
            (struct worker){.crowd = &crowd, .number = i + 1, .rng = rng_stream(20240607, i)};
        assert_int_equal(pthread_create(&threads[i], NULL, worker_main, &workers[i]), 0);
    }
    for (uint64_t now_ns = 0; visits && atomic_load(&crowd.running); now_ns += SECOND) {
        object_cache_tick(lab.cache, now_ns);
        if (now_ns / SECOND % 8 == 0)
            object_cache_reap(lab.cache);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    if (atomic_load(&crowd.failure))
        fail_msg("%s: %s", object_cache_mode(lab.cache), atomic_load(&crowd.failure));
    lab_check(&lab);
    for (unsigned i = 0; i < 64; i++) {
        struct object *o = atomic_load(&crowd.places[i]);
        if (o) {
            o->owner = 0;
            object_cache_give(lab.cache, o);
        }
    }
    object_cache_reap(lab.cache);
    assert_lists(lab.cache, 0, 0, 0);
    test_free(workers);
    lab_close(&lab);
}

static void test_threads_migrate(void **state)
{
    (void)state;
    for (unsigned mode = 0; mode < 3; mode++)
        crowd_run(choices[mode], mode ? 20000 : 100000, false);
}

static void test_threads_visited(void **state)
{
    (void)state;
    for (unsigned mode = 0; mode < 3; mode++)
        crowd_run(choices[mode], mode ? 20000 : 100000, true);
}

/* A fork while others are at work: the child's heap is whole, and serves it. */
static void *spin_main(void *arg)
{
    struct crowd *crowd = arg;
    while (atomic_load(&crowd->running)) {
        void *p[40];
        for (unsigned i = 0; i < 40; i++)
            p[i] = object_cache_take(crowd->lab->cache);
        for (unsigned i = 0; i < 40; i++)
            object_cache_give(crowd->lab->cache, p[i]);
    }
    return NULL;
}

static int child_main(struct lab *lab)
{
    void *p[200];
    if (object_cache_check(lab->cache))
        return 1;
    for (unsigned i = 0; i < 200; i++)
        if (!(p[i] = object_cache_take(lab->cache)))
            return 2;
    for (unsigned i = 0; i < 200; i++)
        object_cache_give(lab->cache, p[i]);
    object_cache_reap(lab->cache);
    return object_cache_check(lab->cache) ? 3 : 0;
}

static void test_forks(void **state)
{
    (void)state;
    for (unsigned mode = 0; mode < 3; mode++) {
        struct lab lab;
        struct crowd crowd = {.lab = &lab};
        pthread_t threads[3];
        struct object_caches_config config = config_of(choices[mode]);
        lab_open(&lab, &config, 64, 8, false);
        atomic_store(&crowd.running, 1);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, spin_main, &crowd), 0);
        for (unsigned i = 0; i < 30; i++) {
            int status = -1;
            usleep(500);
            object_caches_fork(lab.cache->shared, ALLOCATOR_FORK_BEFORE);
            os_fork_before(lab.os);
            pid_t child = fork();
            os_fork_after(lab.os);
            object_caches_fork(lab.cache->shared,
                               child ? ALLOCATOR_FORK_PARENT : ALLOCATOR_FORK_CHILD);
            if (!child)
                _exit(child_main(&lab));
            assert_int_equal(waitpid(child, &status, 0), child);
            assert_int_equal(status, 0);
        }
        atomic_store(&crowd.running, 0);
        for (unsigned i = 0; i < 3; i++)
            pthread_join(threads[i], NULL);
        lab_close(&lab);
    }
}

/* A sequence for a CPU that the thread is not on ends before it has touched anything. */
static void test_wrong_cpu(void **state)
{
    (void)state;
#ifdef PERCPU_RSEQ
    struct lab lab;
    struct object_caches_config config = config_of(PERCPU_AUTO);
    lab_open(&lab, &config, 64, 8, false);
    struct percpu *p = &lab.cache->shared->percpu;
    void *object = NULL, *held[40];
    const cpu_set_t before = cpu_pin();
    for (unsigned i = 0; i < 40; i++)
        held[i] = take(&lab);
    for (unsigned i = 0; p->way == PERCPU_BY_RSEQ && i < PERCPU_CPUS; i++) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(i, &one);
        if (sched_setaffinity(0, sizeof one, &one)) /* no such CPU, or not for us */
            continue;
        object_cache_give(lab.cache, take(&lab));
        unsigned other = i ^ 1;
        size_t where = lab.cache->magazine;
        assert_int_equal(sequence_pop(p, other, where, &object), SEQUENCE_MOVED);
        assert_int_equal(sequence_push(p, other, where, 32, &one), SEQUENCE_MOVED);
        assert_int_equal(sequence_pop(p, i, where, &object), SEQUENCE_DONE);
        assert_int_equal(sequence_push(p, i, where, 0, object), SEQUENCE_FAILED);
        assert_int_equal(sequence_push(p, i, where, 32, object), SEQUENCE_DONE);
        sequence_clear(p);
    }
    cpu_unpin(&before);
    for (unsigned i = 0; i < 40; i++)
        object_cache_give(lab.cache, held[i]);
    lab_close(&lab);
#else
    skip();
#endif
}

/* ---- which way ---- */

static void test_modes(void **state)
{
    (void)state;
    static const char *const expected[] = {"per-cpu magazines by rseq",
                                           "per-cpu magazines under locks: as asked for",
                                           "no per-cpu magazines"};
    for (unsigned mode = 0; mode < 3; mode++) {
        struct lab lab;
        struct object_caches_config config = config_of(choices[mode]);
        lab_open(&lab, &config, 64, 8, false);
        const char *said = object_cache_mode(lab.cache);
        if (mode || lab.cache->shared->percpu.way == PERCPU_BY_RSEQ)
            assert_string_equal(said, expected[mode]);
        else
            assert_string_equal(said, "per-cpu magazines under locks: no rseq here");
        lab_close(&lab);
    }
}

/* What this program says when it is started so. */
static void assert_mode(const char *start, const char *expected)
{
    char command[4200], said[100] = "";
    snprintf(command, sizeof command, "%s '%s' mode", start, program);
    FILE *out = popen(command, "r");
    assert_non_null(out);
    assert_non_null(fgets(said, sizeof said, out));
    assert_int_equal(pclose(out), 0);
    said[strcspn(said, "\n")] = 0;
    assert_string_equal(said, expected);
}

static void test_valgrind(void **state)
{
    (void)state;
    if (system("valgrind --version > /dev/null 2>&1") || strcmp(BUILD_MODE, "release") != 0)
        skip();
    assert_mode("valgrind -q --error-exitcode=9", "per-cpu magazines under locks: no rseq here");
}

/* A C library that is told not to register threads. */
static void test_unregistered(void **state)
{
    (void)state;
    assert_mode("GLIBC_TUNABLES=glibc.pthread.rseq=0",
                "per-cpu magazines under locks: no rseq here");
}

/* What the machine makes of a cache, after it has worked. */
static int mode_print(void)
{
    struct os *os = os_open(&(const struct os_config){.observe = false});
    struct object_cache *c = os ? object_cache_open(os, "mode", 64, 8, NULL, NULL, NULL) : NULL;
    void *p[100];
    if (!c)
        return 1;
    for (unsigned i = 0; i < 100; i++)
        if (!(p[i] = object_cache_take(c)))
            return 1;
    for (unsigned i = 0; i < 100; i++)
        object_cache_give(c, p[i]);
    printf("%s\n", object_cache_check(c) ? "damaged" : object_cache_mode(c));
    object_cache_close(c);
    os_close(os);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constructed_once),
        cmocka_unit_test(test_close_counts_live),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_colours),
        cmocka_unit_test(test_off_slab),
        cmocka_unit_test(test_reaped_by_age),
        cmocka_unit_test(test_empties_limited),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_threads_migrate),
        cmocka_unit_test(test_threads_visited),
        cmocka_unit_test(test_wrong_cpu),
        cmocka_unit_test(test_forks),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_valgrind),
        cmocka_unit_test(test_unregistered),
    };
    program = argv[0];
    if (argc > 1)
        return mode_print();
    return cmocka_run_group_tests_name("object_cache", tests, NULL, NULL);
}
