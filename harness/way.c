/*
 * way.c - see way.h.
 */
#include "harness/way.h"

bool way_open(struct way *way, const struct cell_setup *setup, struct heap *heap)
{
    struct outcome *o = setup->outcome;
    const struct allocator *design = setup->spec->design;
    struct error err;
    way->parallel = NULL;
    way->around = NULL;
    if (setup->parallel.copies) {
        way->parallel =
            parallel_open(setup->plan, design, heap, setup->touch, &setup->parallel, &err);
        if (!way->parallel)
            outcome_fail(o, OUTCOME_NOT_APPLICABLE, "%s", err.text);
        return way->parallel;
    }
    if (!replay_open(&way->replay, setup->plan, design, heap, setup->touch, &err)) {
        way->replay.ring = setup->ring;
        return true;
    }
    outcome_fail(o, OUTCOME_OOM, "%s", err.text);
    return false;
}

void way_close(struct way *way)
{
    if (way->parallel)
        parallel_close(way->parallel);
    else
        replay_close(&way->replay);
}

void way_around(struct way *way, parallel_around *around, void *ctx)
{
    way->around = around;
    way->around_ctx = ctx;
    if (way->parallel)
        parallel_around_set(way->parallel, around, ctx);
}

bool way_begin(struct way *way)
{
    if (way->parallel)
        return parallel_begin(way->parallel);
    replay_layout_next(&way->replay);
    return replay_pass_begin(&way->replay) && replay_part(&way->replay, PLAN_PART_START);
}

static uint64_t ring_run(struct way *way)
{
    struct replay *r = &way->replay;
    uint64_t chunks_ns = r->chunks_ns, warm_ns = r->warm_ns, warm_ops = r->warm_ops;
    if (!replay_part(r, PLAN_PART_TRACE))
        return 0;
    way->counted_ops = r->warm_ops - warm_ops;
    double warm = way->counted_ops ? (double)(r->warm_ns - warm_ns) / (double)way->counted_ops : 0;
    uint64_t took = warm > 0 ? (uint64_t)(warm * (double)r->plan->ops) : r->chunks_ns - chunks_ns;
    return took ? took : 1;
}

uint64_t way_run(struct way *way)
{
    struct replay *r = &way->replay;
    if (way->parallel)
        return parallel_run(way->parallel);
    if (r->ring)
        return ring_run(way);
    uint64_t start = clock_now_ns();
    if (way->around)
        way->around(way->around_ctx, 0, true);
    bool done = replay_part(r, PLAN_PART_TRACE);
    if (way->around)
        way->around(way->around_ctx, 0, false);
    uint64_t took = clock_now_ns() - start;
    return !done ? 0 : took ? took : 1;
}

bool way_end(struct way *way)
{
    if (way->parallel)
        return parallel_end(way->parallel);
    if (!replay_part(&way->replay, PLAN_PART_END))
        return false;
    replay_pass_end(&way->replay);
    return true;
}

unsigned way_lanes(const struct way *way)
{
    return way->parallel ? parallel_lanes(way->parallel) : 1;
}

pid_t way_thread(const struct way *way, unsigned lane)
{
    return way->parallel ? parallel_thread(way->parallel, lane) : 0;
}

size_t way_tables_bytes(const struct way *way)
{
    return way->parallel ? parallel_tables_bytes(way->parallel) : way->replay.tables_bytes;
}
