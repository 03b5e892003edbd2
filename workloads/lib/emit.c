/*
 * emit.c - see emit.h. Every op of every workload goes through put(), which is the only caller of
 * trace_put.
 */
#include "workloads/lib/emit.h"

#include <stdlib.h>

static void put(struct emit *e, struct trace_op op)
{
    if (e->failed)
        return;
    op.clock_ns = e->clock_ns;
    e->clock_ns += e->step_ns;
    e->calls += trace_is_call(op.kind);
    e->failed = trace_put(e->out, &op, e->err) != 0;
}

static uint64_t put_new(struct emit *e, uint8_t kind, unsigned thread, uint64_t size, unsigned site,
                        unsigned align_log2)
{
    put(e, (struct trace_op){.kind = kind,
                             .align_log2 = (uint8_t)align_log2,
                             .thread = thread,
                             .object = e->objects,
                             .size = size,
                             .scope = TRACE_NO_SCOPE,
                             .site = site});
    return e->objects++;
}

static void put_scope(struct emit *e, uint8_t kind, unsigned thread, uint64_t scope)
{
    put(e, (struct trace_op){
               .kind = kind, .thread = thread, .object = TRACE_NO_OBJECT, .scope = scope});
}

uint64_t emit_alloc(struct emit *e, unsigned thread, uint64_t size, unsigned site)
{
    return put_new(e, TRACE_ALLOC, thread, size, site, 0);
}

uint64_t emit_calloc(struct emit *e, unsigned thread, uint64_t size, unsigned site)
{
    return put_new(e, TRACE_CALLOC, thread, size, site, 0);
}

uint64_t emit_aligned(struct emit *e, unsigned thread, uint64_t size, unsigned align_log2,
                      unsigned site)
{
    return put_new(e, TRACE_ALIGNED, thread, size, site, align_log2);
}

uint64_t emit_scope_begin(struct emit *e, unsigned thread)
{
    put_scope(e, TRACE_SCOPE_BEGIN, thread, e->scopes);
    return e->scopes++;
}

void emit_realloc(struct emit *e, unsigned thread, uint64_t object, uint64_t size, unsigned site)
{
    put(e, (struct trace_op){.kind = TRACE_REALLOC,
                             .thread = thread,
                             .object = object,
                             .size = size,
                             .scope = TRACE_NO_SCOPE,
                             .site = site});
}

void emit_free(struct emit *e, unsigned thread, uint64_t object)
{
    put(e, (struct trace_op){
               .kind = TRACE_FREE, .thread = thread, .object = object, .scope = TRACE_NO_SCOPE});
}

void emit_free_sized(struct emit *e, unsigned thread, uint64_t object, uint64_t size)
{
    put(e, (struct trace_op){.kind = TRACE_FREE,
                             .flags = TRACE_SIZED,
                             .thread = thread,
                             .object = object,
                             .size = size,
                             .scope = TRACE_NO_SCOPE});
}

void emit_scope_end(struct emit *e, unsigned thread, uint64_t scope)
{
    put_scope(e, TRACE_SCOPE_END, thread, scope);
}

void emit_scope_switch(struct emit *e, unsigned thread, uint64_t scope)
{
    put_scope(e, TRACE_SCOPE_SWITCH, thread, scope);
}

void emit_thread_begin(struct emit *e, unsigned thread)
{
    put_scope(e, TRACE_THREAD_BEGIN, thread, TRACE_NO_SCOPE);
}

void emit_thread_end(struct emit *e, unsigned thread)
{
    put_scope(e, TRACE_THREAD_END, thread, TRACE_NO_SCOPE);
}

static void put_name(struct emit *e, const char *kind, unsigned number, const char *name)
{
    char key[64];
    snprintf(key, sizeof key, "%s.%u.name", kind, number);
    if (!e->failed)
        e->failed = trace_set_meta(e->out, key, name, e->err) != 0;
}

void emit_thread_name(struct emit *e, unsigned thread, const char *name)
{
    put_name(e, "thread", thread, name);
}

void emit_site_name(struct emit *e, unsigned site, const char *name)
{
    put_name(e, "site", site, name);
}

void emit_site_names(struct emit *e, const char *const *names, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        emit_site_name(e, 1 + i, names[i]);
}

void emit_threads_begin(struct emit *e, unsigned first, unsigned n, const char *kind)
{
    for (unsigned i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s-%u", kind, i);
        emit_thread_name(e, first + i, name);
        emit_thread_begin(e, first + i);
    }
}

void emit_threads_end(struct emit *e, unsigned first, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        emit_thread_end(e, first + i);
}

int emit_no_memory(struct emit *e)
{
    if (e->failed)
        return -1;
    e->failed = true;
    return error_set(e->err, "no memory for the workload's own state: ask for fewer live objects");
}

void ids_push(struct emit *e, struct ids *ids, uint64_t id)
{
    if (ids->n == ids->room) {
        uint64_t room = ids->room ? 2 * ids->room : 64;
        uint64_t *items = realloc(ids->items, room * sizeof *items);
        if (!items) {
            emit_no_memory(e);
            return;
        }
        ids->items = items;
        ids->room = room;
    }
    ids->items[ids->n++] = id;
}

uint64_t ids_take(struct ids *ids, uint64_t i)
{
    uint64_t id = ids->items[i];
    ids->items[i] = ids->items[--ids->n];
    return id;
}

void ids_free(struct ids *ids)
{
    free(ids->items);
    *ids = (struct ids){0};
}

void emit_free_all(struct emit *e, unsigned thread, struct ids *ids)
{
    for (uint64_t i = 0; i < ids->n; i++)
        emit_free(e, thread, ids->items[i]);
    ids->n = 0;
}
