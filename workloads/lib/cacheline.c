/*
 * cacheline.c - see cacheline.h, and the header comments of its two users.
 */
#include "workloads/lib/cacheline.h"

#include "workloads/lib/emit.h"
#include "workloads/lib/turns.h"

#define OP_NS       100
#define MAX_THREADS 256

enum { SITE_WORKER = 1, SITE_HANDED };

#define FIELD(name) offsetof(struct cacheline_options, name)
const struct option cacheline_rows[] = {
    {"ops", OPTION_COUNT, FIELD(ops), "500k", 1, 1e9, NULL, "calls in the trace, about"},
    {"threads", OPTION_COUNT, FIELD(threads), "8", 1, MAX_THREADS, NULL, "working threads"},
    {"size", OPTION_SIZE, FIELD(size), "8", 1, 65536, NULL,
     "objects, bytes; more than a cache line is pointless"},
    {"burst", OPTION_REAL, FIELD(burst), "1", 1, 10000, NULL,
     "mean steps that a thread does before another one runs"},
    {0},
};
#undef FIELD

int cacheline_emit(const struct cacheline_options *options, uint64_t seed, bool handed,
                   struct trace_writer *out, struct error *err)
{
    struct emit e = {.out = out, .err = err, .step_ns = OP_NS};
    struct turns turns = turns_init(seed, 0, options->burst);
    unsigned threads = (unsigned)options->threads;
    uint64_t held[MAX_THREADS]; /* by worker; thread 0 is main */
    uint64_t live = handed ? threads : 0;
    bool holds[MAX_THREADS] = {false};
    static const char *const sites[] = {"worker", "handed"};
    emit_site_names(&e, sites, handed ? 2 : 1);
    emit_thread_name(&e, 0, "main");
    emit_thread_begin(&e, 0);
    for (unsigned i = 0; i < live; i++) {
        held[i] = emit_alloc(&e, 0, options->size, SITE_HANDED);
        holds[i] = true;
    }
    emit_threads_begin(&e, 1, threads, "worker");
    while (e.calls + live < options->ops && !e.failed) {
        uint64_t steps;
        unsigned i = turns_next(&turns, threads, &steps);
        for (; steps > 0 && e.calls + live < options->ops; steps--) {
            holds[i] = !holds[i];
            live += holds[i] ? 1 : UINT64_MAX;
            if (holds[i])
                held[i] = emit_alloc(&e, 1 + i, options->size, SITE_WORKER);
            else
                emit_free(&e, 1 + i, held[i]);
        }
    }
    for (unsigned i = 0; i < threads; i++)
        if (holds[i])
            emit_free(&e, 1 + i, held[i]);
    emit_threads_end(&e, 1, threads);
    emit_thread_end(&e, 0);
    return e.failed ? -1 : 0;
}
