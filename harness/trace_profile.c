/*
 * trace_profile.c - follows the live objects of a trace, op by op. An object that dies is counted
 * and forgotten.
 *
 * Whether a free ends the youngest object of its thread is asked of a list for each thread of what
 * it made, oldest first, of which the dead are taken off the end at once, and elsewhere when they
 * are half of it: so it costs no look at a neighbour. What few objects need (how they were resized)
 * stands apart, so that what all need is one cache line.
 */
#include "harness/trace_profile.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "harness/array.h"

const char *const profile_units[LIFE_UNITS] = {"ops", "bytes", "ns"};

#define AT_START UINT64_MAX /* born_call of what was live when the recording began */
#define AHEAD    32         /* ops that are read before they are followed, a power of two */

struct profile_object { /* live; a free place: born_call = the next one + 1 */
    uint64_t born_call, born_bytes, born_ns, size, scope;
    uint32_t thread, site, resized; /* site, resized: place + 1; 0 = none */
};

struct profile_resized { /* a free place: reallocs = the next one + 1 */
    uint64_t first_bytes, copied_bytes, reallocs;
};

unsigned profile_size_row(uint64_t size)
{
    return size < PROFILE_EXACT ? (unsigned)size : PROFILE_EXACT + histogram_bucket(size);
}

uint64_t profile_size_low(unsigned row)
{
    return row < PROFILE_EXACT ? row : histogram_low(row - PROFILE_EXACT);
}

uint64_t profile_size_high(unsigned row)
{
    return row < PROFILE_EXACT ? row : histogram_high(row - PROFILE_EXACT);
}

static int no_memory(struct error *err)
{
    return error_set(err, "no memory for what is known of a trace's objects");
}

/* A free place of a table: the one given back last, or a new one; false: no memory. `link` is the
 * place of the number that links free places. */
static bool place_take(void **table, uint64_t *count, uint64_t *room, uint64_t *free_place,
                       size_t size, size_t link, uint64_t *place)
{
    if (*free_place) {
        *place = *free_place - 1;
        memcpy(free_place, (char *)*table + *place * size + link, sizeof *free_place);
        return true;
    }
    void *grown = *count < UINT32_MAX ? array_room(*table, *count, room, size) : NULL;
    if (!grown)
        return false;
    *table = grown;
    *place = (*count)++;
    return true;
}

/* ---- lists by key ---- */

static uint64_t key_home(uint64_t key, uint64_t room)
{
    uint64_t mixed = key * UINT64_C(0x9e3779b97f4a7c15);
    return (mixed ^ mixed >> 32) & (room - 1);
}

/*
 * The place of the item that begins with `key`, a new one at the end if there is none; false: no
 * memory. Items are `size` bytes and begin with their key.
 */
static bool key_place(struct profile_index *index, void **items, uint64_t *count, uint64_t *room,
                      size_t size, uint64_t key, uint64_t *place)
{
    uint64_t at = 0;
    if (2 * *count >= index->room) {
        struct profile_index grown = {.room = index->room ? 2 * index->room : 64};
        if (!(grown.places = calloc(grown.room, sizeof *grown.places)))
            return false;
        for (uint64_t i = 0; i < *count; i++) {
            memcpy(&at, (char *)*items + i * size, sizeof at);
            for (at = key_home(at, grown.room); grown.places[at]; at = (at + 1) & (grown.room - 1))
                continue;
            grown.places[at] = i + 1;
        }
        free(index->places);
        *index = grown;
    }
    for (at = key_home(key, index->room); index->places[at]; at = (at + 1) & (index->room - 1)) {
        *place = index->places[at] - 1;
        if (!memcmp((char *)*items + *place * size, &key, sizeof key))
            return true;
    }
    void *grown = *count < UINT32_MAX ? array_room(*items, *count, room, size) : NULL;
    if (!grown)
        return false;
    *items = grown;
    *place = (*count)++;
    index->places[at] = *place + 1;
    memset((char *)grown + *place * size, 0, size);
    memcpy((char *)grown + *place * size, &key, sizeof key);
    return true;
}

static bool site_place(struct trace_profile *p, uint64_t site, uint64_t *place)
{
    void *sites = p->sites;
    bool found = key_place(&p->site_index, &sites, &p->site_count, &p->site_room, sizeof *p->sites,
                           site, place);
    p->sites = sites;
    return found;
}

static struct profile_pair *pair_find(struct trace_profile *p, uint32_t maker, uint32_t freer)
{
    void *pairs = p->pairs;
    uint64_t place;
    bool found = key_place(&p->pair_index, &pairs, &p->pair_count, &p->pair_room, sizeof *p->pairs,
                           (uint64_t)maker << 32 | freer, &place);
    p->pairs = pairs;
    return found ? &p->pairs[place] : NULL;
}

/* ---- threads and scopes ---- */

/* The rules are told of threads and scopes, and of nothing else. */
static int thread_follow(struct trace_profile *p, uint32_t thread, struct error *err)
{
    struct trace_op nothing = {.kind = TRACE_SCOPE_SWITCH,
                               .thread = thread,
                               .object = TRACE_NO_OBJECT,
                               .scope = TRACE_NO_SCOPE};
    if (thread < p->thread_count)
        return 0;
    void *grown = array_room(p->threads, p->thread_count, &p->thread_room, sizeof *p->threads);
    if (!grown)
        return no_memory(err);
    p->threads = grown;
    p->threads[p->thread_count++] = (struct profile_thread){0};
    return trace_rules_put(&p->scopes, &nothing, err);
}

static int scope_follow(struct trace_profile *p, const struct trace_op *op, struct error *err)
{
    if (trace_rules_put(&p->scopes, op, err))
        return -1;
    p->has_scopes = true;
    if (op->kind == TRACE_SCOPE_END) {
        p->scopes_open--;
    } else if (op->kind == TRACE_SCOPE_BEGIN) {
        uint64_t depth = 0;
        if (++p->scopes_open > p->scopes_open_max)
            p->scopes_open_max = p->scopes_open;
        for (uint64_t s = op->scope; s != TRACE_NO_SCOPE; s = (p->scopes.scopes[s] >> 1) - 1)
            depth += p->scopes.scopes[s] & 1;
        if (depth > p->scope_depth_max)
            p->scope_depth_max = depth;
    }
    return 0;
}

/* ---- objects ---- */

static void level_raise(struct trace_profile *p)
{
    if (p->live_bytes > p->peak_bytes) {
        p->peak_bytes = p->live_bytes;
        p->peak_call = p->calls;
    }
    if (p->live_bytes > p->sample.peak_bytes)
        p->sample.peak_bytes = p->live_bytes;
    if (p->live_objects > p->sample.peak_objects)
        p->sample.peak_objects = p->live_objects;
}

static void site_grow(struct profile_site *site, uint64_t bytes)
{
    site->live_bytes += bytes;
    if (site->live_bytes > site->peak_live_bytes)
        site->peak_live_bytes = site->live_bytes;
}

/* Takes the dead from the end of what a thread made; when half of all are dead, all of them. */
static void youngest_trim(const struct trace_profile *p, struct profile_thread *t)
{
    while (t->count && !live_table_find(&p->live, t->youngest[t->count - 1]))
        t->count--;
    if (t->count < 2 * t->live + 256)
        return;
    uint64_t kept = 0;
    for (uint64_t i = 0; i < t->count; i++)
        if (live_table_find(&p->live, t->youngest[i]))
            t->youngest[kept++] = t->youngest[i];
    t->count = kept;
}

/* An object of this size and alignment is asked for, at a site. */
static void call_count(struct trace_profile *p, const struct trace_op *op, uint64_t grown,
                       struct profile_site *site)
{
    bool resizes = op->kind == TRACE_REALLOC && !(op->flags & TRACE_NULL);
    struct profile_size *size = &p->sizes[profile_size_row(op->size)];
    size->reallocs += resizes;
    size->allocs += !resizes;
    size->bytes += resizes ? 0 : op->size;
    if (op->size > p->size_max)
        p->size_max = op->size;
    p->aligns[op->align_log2]++;
    p->allocated_bytes += grown;
    if (site) {
        site->reallocs += resizes;
        site->allocs += !resizes;
        site->allocated_bytes += grown;
    }
}

static int object_make(struct trace_profile *p, const struct trace_op *op, struct error *err)
{
    uint64_t place, site = 0;
    void *objects = p->objects;
    struct profile_thread *t = &p->threads[op->thread];
    void *youngest = array_room(t->youngest, t->count, &t->room, sizeof *t->youngest);
    if (!youngest || (op->site && !site_place(p, op->site, &site)) || !live_table_room(&p->live) ||
        !place_take(&objects, &p->object_count, &p->object_room, &p->object_free,
                    sizeof *p->objects, offsetof(struct profile_object, born_call), &place))
        return no_memory(err);
    p->objects = objects;
    t->youngest = youngest;
    bool start = op->kind == TRACE_LIVE;
    t->allocs += !start;
    if (!start)
        call_count(p, op, op->size, op->site ? &p->sites[site] : NULL);
    uint64_t scope = p->has_scopes ? trace_rules_scope(&p->scopes, op->thread) : TRACE_NO_SCOPE;
    p->scoped_objects += scope != TRACE_NO_SCOPE && !start;
    p->objects[place] = (struct profile_object){.born_call = start ? AT_START : p->calls,
                                                .born_bytes = p->allocated_bytes,
                                                .born_ns = op->clock_ns,
                                                .size = op->size,
                                                .scope = scope,
                                                .thread = op->thread,
                                                .site = op->site ? (uint32_t)site + 1 : 0};
    t->live++;
    t->youngest[t->count++] = live_table_add(&p->live, place + 1);
    p->live_objects++;
    p->live_bytes += op->size;
    if (op->site) {
        p->sites[site].live_objects++;
        site_grow(&p->sites[site], op->size);
    }
    level_raise(p);
    return 0;
}

/* How the object was resized is counted, at its end or at that of the trace. */
static void chain_end(struct trace_profile *p, const struct profile_object *o)
{
    if (!o->resized)
        return;
    struct profile_resized *resized = &p->resized[o->resized - 1];
    struct profile_chain *chain = &p->chains[loglinear_cell(resized->reallocs, PROFILE_CHAIN_BITS)];
    chain->objects++;
    chain->reallocs += resized->reallocs;
    chain->first_bytes += resized->first_bytes;
    chain->last_bytes += o->size;
    chain->copied_bytes += resized->copied_bytes;
    if (resized->reallocs > p->chain_max)
        p->chain_max = resized->reallocs;
    resized->reallocs = p->resized_free;
    p->resized_free = o->resized;
}

static void life_count(struct trace_profile *p, const struct profile_object *o,
                       const struct trace_op *op)
{
    const uint64_t life[LIFE_UNITS] = {p->calls - o->born_call, p->allocated_bytes - o->born_bytes,
                                       op->clock_ns > o->born_ns ? op->clock_ns - o->born_ns : 0};
    unsigned size = loglinear_cell(o->size, PROFILE_SIZE_BITS);
    for (unsigned unit = 0; unit < (p->has_clock ? LIFE_UNITS : LIFE_NS); unit++) {
        histogram_add(&p->lives[unit], life[unit]);
        p->life_bytes[unit][histogram_bucket(life[unit])] += o->size;
        p->heat[unit][size][loglinear_cell(life[unit], PROFILE_LIFE_BITS)]++;
        p->life_sum[unit] += (double)life[unit];
    }
    if (o->site)
        p->sites[o->site - 1].life_ops += life[LIFE_OPS];
}

/* A free of an object that was made in the recording. */
static int free_count(struct trace_profile *p, const struct profile_object *o,
                      const struct trace_op *op, struct error *err)
{
    struct profile_thread *t = &p->threads[op->thread];
    p->freed_objects++;
    life_count(p, o, op);
    t->frees++;
    t->lifo_frees += t->count && t->youngest[t->count - 1] == op->object;
    if (o->scope != TRACE_NO_SCOPE)
        p->scope_deaths += p->scopes.scopes[o->scope] & 1;
    if (o->thread == op->thread) {
        t->own_frees++;
        t->own_bytes += o->size;
        return 0;
    }
    struct profile_pair *pair = pair_find(p, o->thread, op->thread);
    if (!pair)
        return no_memory(err);
    pair->frees++;
    pair->bytes += o->size;
    return 0;
}

static int object_end(struct trace_profile *p, const struct trace_op *op, uint64_t *value,
                      struct error *err)
{
    uint64_t place = *value - 1;
    struct profile_object *o = &p->objects[place];
    if (o->born_call == AT_START)
        p->freed_start_objects++;
    else if (free_count(p, o, op, err))
        return -1;
    chain_end(p, o);
    p->live_objects--;
    p->live_bytes -= o->size;
    if (o->site) {
        struct profile_site *site = &p->sites[o->site - 1];
        site->frees++;
        site->live_objects--;
        site->live_bytes -= o->size;
    }
    struct profile_thread *maker = &p->threads[o->thread];
    live_table_remove(&p->live, op->object, value);
    o->born_call = p->object_free;
    p->object_free = place + 1;
    maker->live--;
    youngest_trim(p, maker);
    return 0;
}

static int object_resize(struct trace_profile *p, const struct trace_op *op,
                         struct profile_object *o, struct error *err)
{
    uint64_t place, site = 0, grown = op->size > o->size ? op->size - o->size : 0;
    if (op->site && !site_place(p, op->site, &site))
        return no_memory(err);
    if (!o->resized) {
        void *resized = p->resized;
        if (!place_take(&resized, &p->resized_count, &p->resized_room, &p->resized_free,
                        sizeof *p->resized, offsetof(struct profile_resized, reallocs), &place))
            return no_memory(err);
        p->resized = resized;
        p->resized[place] = (struct profile_resized){.first_bytes = o->size};
        o->resized = (uint32_t)place + 1;
    }
    call_count(p, op, grown, op->site ? &p->sites[site] : NULL);
    struct profile_resized *resized = &p->resized[o->resized - 1];
    resized->reallocs++;
    resized->copied_bytes += op->size < o->size ? op->size : o->size;
    p->reallocs_grown += op->size > o->size;
    p->reallocs_shrunk += op->size < o->size;
    p->reallocs_same += op->size == o->size;
    p->remote_reallocs += op->thread != o->thread;
    p->live_bytes += op->size - o->size;
    if (o->site)
        site_grow(&p->sites[o->site - 1], op->size - o->size);
    o->size = op->size;
    level_raise(p);
    return 0;
}

/* ---- samples ---- */

/* Two by two: what was sampled so far, in half as many. */
static void samples_merge(struct trace_profile *p)
{
    for (unsigned i = 0; i < p->sample_count / 2; i++) {
        struct profile_sample *a = &p->samples[2 * i], *both = &p->samples[2 * i + 1];
        if (a->peak_objects > both->peak_objects)
            both->peak_objects = a->peak_objects;
        if (a->peak_bytes > both->peak_bytes)
            both->peak_bytes = a->peak_bytes;
        p->samples[i] = *both;
    }
    p->sample_count /= 2;
    p->sample_calls *= 2;
}

static void sample_end(struct trace_profile *p)
{
    p->sample.calls = p->calls;
    p->sample.clock_ns = p->clock_ns;
    p->sample.live_objects = p->live_objects;
    p->sample.live_bytes = p->live_bytes;
    p->sample.allocated_bytes = p->allocated_bytes;
    p->samples[p->sample_count++] = p->sample;
    p->sample =
        (struct profile_sample){.peak_objects = p->live_objects, .peak_bytes = p->live_bytes};
}

static void call_done(struct trace_profile *p, const struct trace_op *op)
{
    p->calls++;
    p->clock_ns = op->clock_ns > p->clock_ns ? op->clock_ns : p->clock_ns;
    if (p->calls % p->sample_calls)
        return;
    sample_end(p);
    if (p->sample_count == PROFILE_SAMPLES)
        samples_merge(p);
}

/* ---- the whole ---- */

static int op_follow(struct trace_profile *p, const struct trace_reader *r,
                     const struct trace_op *op, struct error *err)
{
    bool refers = !trace_makes_object(op) && op->object != TRACE_NO_OBJECT;
    uint64_t *value = refers ? live_table_find(&p->live, op->object) : NULL;
    if (refers && !value)
        return error_set(err,
                         "%.500s: offset %" PRIu64 ": object %" PRIu64
                         " is not live any more: see `alloclab trace check`",
                         trace_name(r), trace_offset(r), op->object);
    int failed = thread_follow(p, op->thread, err);
    if (!failed && op->kind >= TRACE_SCOPE_BEGIN && op->kind <= TRACE_SCOPE_SWITCH)
        failed = scope_follow(p, op, err);
    else if (!failed && trace_makes_object(op))
        failed = object_make(p, op, err);
    else if (!failed && trace_ends_object(op))
        failed = object_end(p, op, value, err);
    else if (!failed && value && !(op->flags & TRACE_FAILED))
        failed = object_resize(p, op, &p->objects[*value - 1], err);
    if (trace_is_call(op->kind))
        call_done(p, op);
    return failed;
}

/* Ops are read some ahead, and the memory that they will look at is asked for meanwhile. */
static int ops_follow(struct trace_profile *p, struct trace_reader *r, struct error *err)
{
    struct trace_op ops[AHEAD];
    uint64_t read = 0, done = 0;
    int got = 1;
    while (got >= 0 && (got || done < read)) {
        if (got && (got = trace_next(r, &ops[read % AHEAD], err)) > 0) {
            live_table_prefetch(&p->live, ops[read++ % AHEAD].object);
            if (read - done < AHEAD)
                continue;
        }
        const uint64_t *value = NULL;
        if (done + AHEAD / 2 < read)
            value = live_table_find(&p->live, ops[(done + AHEAD / 2) % AHEAD].object);
        if (value)
            __builtin_prefetch(&p->objects[*value - 1], 1);
        if (got >= 0 && done < read && op_follow(p, r, &ops[done++ % AHEAD], err))
            got = -1;
    }
    return got;
}

/* What is live at the end. */
static int rest_count(struct trace_profile *p, struct error *err)
{
    uint64_t *ids = live_table_ids(&p->live);
    if (!ids)
        return no_memory(err);
    for (uint64_t i = 0; i < p->live.live; i++)
        chain_end(p, &p->objects[*live_table_find(&p->live, ids[i]) - 1]);
    free(ids);
    if (p->sample_count == 0 || p->samples[p->sample_count - 1].calls < p->calls)
        sample_end(p);
    return 0;
}

struct trace_profile *trace_profile_read(struct trace_reader *r, struct error *err)
{
    struct trace_profile *p = calloc(1, sizeof *p);
    if (!p) {
        no_memory(err);
        return NULL;
    }
    p->has_clock = trace_has_clock(r);
    p->sample_calls = 1;
    if (trace_rewind(r, err) || ops_follow(p, r, err) || rest_count(p, err)) {
        trace_profile_free(p);
        return NULL;
    }
    return p;
}

void trace_profile_free(struct trace_profile *p)
{
    for (uint64_t i = 0; i < p->thread_count; i++)
        free(p->threads[i].youngest);
    free(p->threads);
    free(p->pairs);
    free(p->pair_index.places);
    free(p->sites);
    free(p->site_index.places);
    free(p->objects);
    free(p->resized);
    live_table_free(&p->live);
    trace_rules_free(&p->scopes);
    free(p);
}
