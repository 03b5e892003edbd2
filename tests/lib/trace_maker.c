/*
 * trace_maker.c - keeps a model of its own of what is live, open and running, and draws from it.
 * The model is deliberately plain (lists that are searched): it shares no code with the rules that
 * it tests.
 */
#include "tests/lib/trace_maker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "workloads/lib/rng.h"

enum { MAX_THREADS = 40, MAX_OPEN = 30 };

struct maker {
    struct rng rng;
    unsigned features;
    uint64_t *live, live_count, objects;
    uint64_t open[MAX_OPEN], open_count, scopes;
    uint32_t threads;
    bool ended[MAX_THREADS];
    uint64_t clock_ns;
    bool called; /* an alloc, realloc or free has been made */
};

static uint64_t draw(struct maker *m, uint64_t below)
{
    return rng_next(&m->rng) % below;
}

static uint64_t draw_size(struct maker *m)
{
    if (m->features & MAKER_RARE && draw(m, 50) == 0)
        return draw(m, 2) ? TRACE_MAX_SIZE - draw(m, 3) : 0;
    return draw(m, UINT64_C(1) << (1 + draw(m, 20)));
}

static void make_alloc(struct maker *m, struct trace_op *op)
{
    bool rare = m->features & MAKER_RARE;
    op->kind = (uint8_t)(rare ? draw(m, 3) : TRACE_ALLOC);
    op->size = draw_size(m);
    if (rare && draw(m, 10) == 0)
        op->kind = TRACE_REALLOC, op->flags = TRACE_NULL;
    if (rare && !m->called && draw(m, 2))
        op->kind = TRACE_LIVE, op->flags = 0;
    if (op->kind == TRACE_ALIGNED)
        op->align_log2 = (uint8_t)draw(m, 22);
    if (rare && op->kind != TRACE_LIVE && draw(m, 20) == 0) {
        op->flags |= TRACE_FAILED;
        op->size = rng_next(&m->rng);
        return;
    }
    op->object = m->objects++;
    m->live[m->live_count++] = op->object;
}

static void make_release(struct maker *m, struct trace_op *op)
{
    bool rare = m->features & MAKER_RARE;
    op->kind = TRACE_FREE;
    if (rare && draw(m, 12) == 0) {
        op->flags = TRACE_NULL;
    } else {
        uint64_t i = draw(m, 4) ? m->live_count - 1 - draw(m, m->live_count < 8 ? m->live_count : 8)
                                : draw(m, m->live_count);
        op->object = m->live[i];
        if (rare && draw(m, 6) == 0) {
            op->kind = TRACE_REALLOC;
            op->flags = draw(m, 8) ? 0 : draw(m, 2) ? TRACE_FAILED : TRACE_ENDS;
            op->size = op->flags & TRACE_ENDS ? 0 : draw_size(m);
            op->align_log2 = (uint8_t)(draw(m, 30) ? 0 : draw(m, 8));
        }
        if (trace_ends_object(op))
            m->live[i] = m->live[--m->live_count];
    }
    if (rare && op->kind == TRACE_FREE && draw(m, 3) == 0) {
        op->flags |= TRACE_SIZED;
        op->size = draw_size(m);
    }
}

static void make_scope(struct maker *m, struct trace_op *op)
{
    uint64_t i = m->open_count ? draw(m, m->open_count) : 0;
    if (m->open_count == 0 || (m->open_count < MAX_OPEN && draw(m, 3) == 0)) {
        op->kind = TRACE_SCOPE_BEGIN;
        op->scope = m->scopes++;
        m->open[m->open_count++] = op->scope;
    } else if (draw(m, 2)) {
        op->kind = TRACE_SCOPE_SWITCH;
        op->scope = draw(m, 5) ? m->open[i] : TRACE_NO_SCOPE;
    } else {
        op->kind = TRACE_SCOPE_END;
        op->scope = m->open[i];
        m->open[i] = m->open[--m->open_count];
    }
}

static void make_thread(struct maker *m, struct trace_op *op)
{
    if (m->threads < MAX_THREADS && draw(m, 40) == 0) {
        op->thread = m->threads++;
        op->kind = draw(m, 2) ? TRACE_THREAD_BEGIN : TRACE_KINDS;
        return;
    }
    do
        op->thread = (uint32_t)draw(m, m->threads);
    while (m->ended[op->thread]);
    if (op->thread && draw(m, 200) == 0) {
        op->kind = TRACE_THREAD_END;
        m->ended[op->thread] = true;
    }
}

static void make_op(struct maker *m, struct trace_op *op)
{
    *op =
        (struct trace_op){.kind = TRACE_KINDS, .object = TRACE_NO_OBJECT, .scope = TRACE_NO_SCOPE};
    if (m->features & MAKER_CLOCK) {
        m->clock_ns += draw(m, 20) ? draw(m, 300) : 0 - draw(m, m->clock_ns / 2 + 1);
        op->clock_ns = m->clock_ns;
    }
    if (m->features & MAKER_SITES && draw(m, 3))
        op->site = draw(m, 100);
    if (m->threads == 0)
        m->threads = 1;
    else if (m->features & MAKER_THREADS)
        make_thread(m, op);
    if (op->kind != TRACE_KINDS)
        return;
    if (m->features & MAKER_SCOPES && draw(m, 15) == 0)
        make_scope(m, op);
    else if (m->live_count == 0 || draw(m, 100) < 52)
        make_alloc(m, op);
    else
        make_release(m, op);
    m->called |= trace_is_call(op->kind);
}

struct trace_op *trace_maker_ops(uint64_t seed, size_t count, unsigned features)
{
    struct maker m = {.rng = rng_stream(seed, 0), .features = features};
    struct trace_op *ops = malloc((count + 1) * sizeof *ops);
    m.live = malloc((count + 1) * sizeof *m.live);
    assert_true(ops && m.live);
    for (size_t i = 0; i < count; i++)
        make_op(&m, &ops[i]);
    free(m.live);
    return ops;
}

int trace_maker_file(const struct trace_op *ops, size_t count)
{
    struct error err;
    int fd = memfd_create("trace", MFD_CLOEXEC);
    assert_true(fd >= 0);
    struct trace_writer *w = trace_create_fd(fd, &err);
    assert_non_null(w);
    assert_int_equal(trace_set_meta(w, "program", "maker", &err), 0);
    assert_int_equal(trace_set_meta(w, "command", "a=b c", &err), 0);
    for (size_t i = 0; i < count; i++)
        if (trace_put(w, &ops[i], &err))
            fail_msg("op %zu: %s", i, err.text);
    if (trace_finish(w, &err))
        fail_msg("%s", err.text);
    return fd;
}
