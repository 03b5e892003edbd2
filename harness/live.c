/*
 * live.c - the player of live workloads: each call goes to the design and into the trace.
 */
#include "harness/live.h"

#include "harness/array.h"
#include "traces/trace.h"

struct live { /* a player whose calls are written down */
    struct player player;
    const struct cell_setup *setup;
    struct cell_heap h;
    struct trace_writer *writer;
    void **objects; /* by number */
    uint64_t count, room;
    bool out_of_memory; /* the design's */
};

static int op_write(struct live *l, unsigned kind, uint64_t object, size_t size, struct error *err)
{
    struct trace_op op = {
        .kind = (uint8_t)kind, .object = object, .size = size, .scope = TRACE_NO_SCOPE};
    l->h.clock_ns += VIRTUAL_NS_PER_OP;
    return trace_put(l->writer, &op, err);
}

static int live_alloc(struct player *player, size_t size, uint64_t *object, struct error *err)
{
    struct live *l = (struct live *)player;
    void **grown = array_room(l->objects, l->count, &l->room, sizeof *grown);
    if (!grown)
        return error_set(err, "out of memory for %llu objects", (unsigned long long)l->count + 1);
    l->objects = grown;
    void *p = l->setup->spec->design->alloc(l->h.heap, size, ALLOCATOR_ALIGN);
    if (!p) {
        l->out_of_memory = true;
        return error_set(err, "object %llu of %zu bytes: the allocator returned NULL",
                         (unsigned long long)l->count, size);
    }
    l->objects[l->count] = p;
    *object = l->count++;
    return op_write(l, TRACE_ALLOC, *object, size, err);
}

static int live_free(struct player *player, uint64_t object, struct error *err)
{
    struct live *l = (struct live *)player;
    const struct allocator *a = l->setup->spec->design;
    a->free(l->h.heap, l->objects[object], 0);
    return op_write(l, TRACE_FREE, object, 0, err);
}

static uintptr_t live_address(const struct player *player, uint64_t object)
{
    return (uintptr_t)((const struct live *)player)->objects[object];
}

static int game_play(struct live *l, const struct workload_spec *w, struct error *err)
{
    if (workload_meta(w->workload, w->options, l->setup->seed, l->writer, err) ||
        w->workload->drive(w->options, l->setup->seed, &l->player, err)) {
        trace_abandon(l->writer);
        return -1;
    }
    return trace_finish(l->writer, err);
}

void live_play(const struct cell_setup *setup, const char *text, int trace_fd)
{
    struct error err;
    struct workload_spec w;
    struct live l = {.player = {.alloc = live_alloc, .free = live_free, .address = live_address},
                     .setup = setup};
    if (workload_spec_parse(text, &w, &err) || !(l.writer = trace_create_fd(trace_fd, &err))) {
        outcome_fail(setup->outcome, OUTCOME_FAILED, "%s", err.text);
        return;
    }
    if (!cell_heap_open(&l.h, setup, true))
        return;
    if (game_play(&l, &w, &err)) {
        outcome_fail(setup->outcome, l.out_of_memory ? OUTCOME_OOM : OUTCOME_FAILED, "%s",
                     err.text);
        return;
    }
    setup->outcome->status = OUTCOME_OK;
}
