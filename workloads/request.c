/*
 * request.c - a server: many requests open at once, each with its own scope, and a cache that
 * outlives them.
 *
 * Models an event-driven server with a region for each request, like the pools of Apache and nginx:
 * whatever a request allocates is meant to go with it, but sessions, cached under a key, stay until
 * they are evicted.
 *
 *   server      has `open` places. While requests remain, an empty place takes the next one. Until
 *               all are done, a place is picked at random and does a burst of steps. Place p is
 *               served by thread p mod `threads`; with probability `migrate` a burst first moves
 *               its request to another thread
 *   first step  the scope begins; the request's state (calloc) and a response buffer of 512 bytes
 *               are allocated; the session of its key is looked up, and made if it is missing. If
 *               the cache is full, the least recently used session is freed first. A session is a
 *               head (calloc) and a body
 *   a step      one object is allocated; with probability `early` one of the request's objects,
 *               picked at random, is freed; a share of the response is written, and the buffer
 *               doubles by realloc when it is full
 *   last step   the objects are freed in the reverse of their order, as far as early frees left
 *               one; then response and state; the scope ends
 *   the end     the sessions are freed, the least recently used one first
 *
 *   quantity               distribution
 *   steps of a burst       geometric, at least 1, mean 8
 *   steps of a request     geometric, at least 1, mean `objects`; clipped at 100 times the mean
 *   size of an object      bounded Pareto of shape `shape` on [min, max]: heavy-tailed
 *   response, bytes        lognormal with median `response` and sigma 1.3, on [512, 16m]
 *   key of a session       log-uniform on [1, 4 * sessions]: Zipf's law with exponent 1
 *   session                head 192 bytes; body lognormal, median 1k, sigma 1, on [64, 1m]
 *   state of a request     480 bytes
 *
 * Scopes: one a request, interleaved through scope switches. A session is made inside a request and
 * outlives it: it crosses its scope by design. With several threads, a session is freed by the
 * thread that evicts it. Clock: an op takes 1 us. Sites: 1 state, 2 response, 3 object, 4 session
 * head, 5 session body.
 *
 * Source: regions for requests: Berger, Zorn & McKinley, "Reconsidering Custom Memory Allocation"
 * (OOPSLA 2002), which measures Apache. Lognormal bodies and Pareto tails: Barford & Crovella,
 * "Generating Representative Web Workloads" (SIGMETRICS 1998). Zipf's law of keys: Breslau, Cao,
 * Fan, Phillips & Shenker, "Web Caching and Zipf-like Distributions" (INFOCOM 1999).
 *
 * What it cannot tell: latency under load, since requests come as fast as they are served, and
 * contention, as long as the trace is replayed serially. Sizes are independent of each other; in a
 * real server they repeat, by call site.
 */
#include <stdlib.h>

#include "workloads/lib/dist.h"
#include "workloads/lib/emit.h"
#include "workloads/lib/lru.h"
#include "workloads/lib/workload.h"

#define MAX_THREADS    64
#define OP_NS          1000
#define BURST_MEAN     8
#define BURST_MAX      1000
#define STATE_BYTES    480
#define BUFFER_BYTES   512
#define RESPONSE_MAX   (16 << 20)
#define RESPONSE_SIGMA 1.3
#define HEAD_BYTES     192
#define BODY_MEDIAN    1024
#define BODY_SIGMA     1.0
#define BODY_MIN       64
#define BODY_MAX       (1 << 20)

enum { SITE_STATE = 1, SITE_RESPONSE, SITE_OBJECT, SITE_HEAD, SITE_BODY };

struct request_options {
    uint64_t requests, open, threads, sessions, min, max, response;
    double objects, shape, early, migrate;
};

#define FIELD(name) offsetof(struct request_options, name)
static const struct option request_rows[] = {
    {"requests", OPTION_COUNT, FIELD(requests), "20k", 1, 1e8, NULL, "requests"},
    {"open", OPTION_COUNT, FIELD(open), "64", 1, 100000, NULL, "requests open at once, at most"},
    {"threads", OPTION_COUNT, FIELD(threads), "1", 1, MAX_THREADS, NULL, "serving threads"},
    {"migrate", OPTION_REAL, FIELD(migrate), "0", 0, 1, NULL,
     "probability that a burst moves its request to another thread"},
    {"objects", OPTION_REAL, FIELD(objects), "20", 1, 10000, NULL, "mean objects a request"},
    {"early", OPTION_REAL, FIELD(early), "0.4", 0, 1, NULL,
     "frees during the request, for each alloc"},
    {"min", OPTION_SIZE, FIELD(min), "16", 1, 1 << 30, NULL, "smallest object, bytes"},
    {"max", OPTION_SIZE, FIELD(max), "256k", 1, 1 << 30, NULL, "largest object, bytes"},
    {"shape", OPTION_REAL, FIELD(shape), "1.1", 0.1, 10, NULL,
     "Pareto shape of the objects' sizes; smaller is heavier"},
    {"response", OPTION_SIZE, FIELD(response), "4k", 1, RESPONSE_MAX, NULL,
     "median response, bytes"},
    {"sessions", OPTION_COUNT, FIELD(sessions), "1k", 0, 1e7, NULL,
     "sessions that the cache holds"},
    {0},
};
#undef FIELD

struct request {
    uint64_t scope, state, response, capacity, used,
        share;      /* buffer: capacity, used; bytes a step */
    uint64_t steps; /* to do; 0 = the place is empty */
    unsigned thread;
    struct ids objects;
};

struct session {
    uint64_t head, body;
};

struct state {
    struct emit e;
    const struct request_options *o;
    struct rng schedule, count, fate, size, response, key, body;
    struct dist bursts, counts, sizes, responses, keys, bodies;
    struct request *places; /* the first `n_places` are in use */
    uint64_t n_places, begun;
    uint64_t current[MAX_THREADS]; /* scope of each thread */
    struct lru lru;
    struct session *sessions; /* by key */
};

static void switch_to(struct state *s, unsigned thread, uint64_t scope)
{
    if (s->current[thread] == scope)
        return;
    emit_scope_switch(&s->e, thread, scope);
    s->current[thread] = scope;
}

static void evict_session(struct state *s, unsigned thread)
{
    uint32_t key = lru_oldest(&s->lru);
    emit_free(&s->e, thread, s->sessions[key].body);
    emit_free(&s->e, thread, s->sessions[key].head);
    lru_remove(&s->lru, key);
}

static void use_session(struct state *s, unsigned thread)
{
    uint32_t key = (uint32_t)dist_draw(&s->keys, &s->key);
    if (s->lru.nodes[key].present) {
        lru_remove(&s->lru, key);
    } else {
        if (s->lru.n == s->o->sessions)
            evict_session(s, thread);
        s->sessions[key].head = emit_calloc(&s->e, thread, HEAD_BYTES, SITE_HEAD);
        s->sessions[key].body =
            emit_alloc(&s->e, thread, dist_draw(&s->bodies, &s->body), SITE_BODY);
    }
    lru_insert(&s->lru, key);
}

static void begin_request(struct state *s, struct request *r)
{
    s->begun++;
    switch_to(s, r->thread, TRACE_NO_SCOPE); /* scopes of requests do not nest */
    r->scope = s->current[r->thread] = emit_scope_begin(&s->e, r->thread);
    r->steps = dist_draw(&s->counts, &s->count);
    r->share = dist_draw(&s->responses, &s->response) / r->steps;
    r->capacity = BUFFER_BYTES;
    r->used = 0;
    r->state = emit_calloc(&s->e, r->thread, STATE_BYTES, SITE_STATE);
    r->response = emit_alloc(&s->e, r->thread, BUFFER_BYTES, SITE_RESPONSE);
    if (s->o->sessions)
        use_session(s, r->thread);
}

static void step_request(struct state *s, struct request *r)
{
    uint64_t size = dist_draw(&s->sizes, &s->size);
    ids_push(&s->e, &r->objects, emit_alloc(&s->e, r->thread, size, SITE_OBJECT));
    if (rng_chance(&s->fate, s->o->early) && r->objects.n)
        emit_free(&s->e, r->thread, ids_take(&r->objects, rng_below(&s->fate, r->objects.n)));
    r->used += r->share;
    if (r->used > r->capacity) {
        r->capacity = r->used > 2 * r->capacity ? r->used : 2 * r->capacity;
        emit_realloc(&s->e, r->thread, r->response, r->capacity, SITE_RESPONSE);
    }
    r->steps--;
}

static void end_request(struct state *s, struct request *r)
{
    while (r->objects.n)
        emit_free(&s->e, r->thread, ids_take(&r->objects, r->objects.n - 1));
    emit_free(&s->e, r->thread, r->response);
    emit_free(&s->e, r->thread, r->state);
    emit_scope_end(&s->e, r->thread, r->scope);
    s->current[r->thread] = TRACE_NO_SCOPE;
}

static void migrate(struct state *s, struct request *r)
{
    if (s->o->threads == 1 || !rng_chance(&s->schedule, s->o->migrate))
        return;
    uint64_t other = rng_below(&s->schedule, s->o->threads - 1);
    if (s->current[r->thread] == r->scope)
        switch_to(s, r->thread, TRACE_NO_SCOPE);
    r->thread = (unsigned)((r->thread + 1 + other) % s->o->threads);
}

/* The last place in use moves to the place that is given up. */
static void drop_place(struct state *s, struct request *r)
{
    ids_free(&r->objects);
    *r = s->places[--s->n_places];
    s->places[s->n_places] = (struct request){0};
}

static void run_burst(struct state *s, struct request *r)
{
    if (r->steps == 0) {
        if (s->begun == s->o->requests) {
            drop_place(s, r);
            return;
        }
        begin_request(s, r);
    } else {
        migrate(s, r);
        switch_to(s, r->thread, r->scope);
    }
    uint64_t steps = dist_draw(&s->bursts, &s->schedule);
    for (; steps > 0 && r->steps > 0; steps--)
        step_request(s, r);
    if (r->steps == 0)
        end_request(s, r);
}

static void run(struct state *s)
{
    emit_threads_begin(&s->e, 0, (unsigned)s->o->threads, "worker");
    for (unsigned t = 0; t < s->o->threads; t++)
        s->current[t] = TRACE_NO_SCOPE;
    for (uint64_t i = 0; i < s->n_places; i++)
        s->places[i].thread = (unsigned)(i % s->o->threads);
    while (s->n_places && !s->e.failed)
        run_burst(s, &s->places[rng_below(&s->schedule, s->n_places)]);
    while (s->o->sessions && s->lru.n && !s->e.failed)
        evict_session(s, 0);
    emit_threads_end(&s->e, 0, (unsigned)s->o->threads);
}

static void prepare(struct state *s, uint64_t seed)
{
    const struct request_options *o = s->o;
    struct rng *streams[] = {&s->schedule, &s->count, &s->fate, &s->size,
                             &s->response, &s->key,   &s->body};
    for (uint64_t i = 0; i < sizeof streams / sizeof *streams; i++)
        *streams[i] = rng_stream(seed, i);
    s->bursts = dist_geometric(BURST_MEAN, 1, BURST_MAX);
    s->counts = dist_geometric(o->objects, 1, 100 * (uint64_t)o->objects);
    s->sizes = dist_pareto(o->shape, o->min, o->max);
    s->responses = dist_lognormal(o->response, RESPONSE_SIGMA, BUFFER_BYTES, RESPONSE_MAX);
    s->keys = dist_log_uniform(1, o->sessions ? 4 * o->sessions : 1);
    s->bodies = dist_lognormal(BODY_MEDIAN, BODY_SIGMA, BODY_MIN, BODY_MAX);
    static const char *const sites[] = {"state", "response", "object", "session head",
                                        "session body"};
    emit_site_names(&s->e, sites, sizeof sites / sizeof *sites);
}

static int request_emit(const void *options, uint64_t seed, struct trace_writer *out,
                        struct error *err)
{
    const struct request_options *o = options;
    if (o->min > o->max)
        return error_set(err, "request: min is greater than max: swap them");
    struct state s = {.e = {.out = out, .err = err, .step_ns = OP_NS}, .o = o, .n_places = o->open};
    s.places = calloc(o->open, sizeof *s.places);
    s.sessions = calloc(4 * o->sessions + 1, sizeof *s.sessions);
    bool ready = lru_init(&s.lru, (uint32_t)(4 * o->sessions)) && s.places && s.sessions;
    if (ready) {
        prepare(&s, seed);
        run(&s);
    } else {
        emit_no_memory(&s.e);
    }
    for (uint64_t i = 0; s.places && i < o->open; i++)
        ids_free(&s.places[i].objects);
    free(s.places);
    free(s.sessions);
    lru_free(&s.lru);
    return s.e.failed ? -1 : 0;
}

WORKLOAD(request) = {
    .name = "request",
    .summary = "a server: interleaved request scopes, heavy-tailed sizes, a session cache",
    .source = "Berger, Zorn & McKinley, OOPSLA 2002; Barford & Crovella, SIGMETRICS 1998",
    .options_size = sizeof(struct request_options),
    .options = request_rows,
    .emit = request_emit,
};
