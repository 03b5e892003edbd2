/*
 * trace_profile.c - follows the live objects of a trace, op by op. An object that dies is counted
 * and forgotten.
 *
 * Whether a free ends the youngest object of its thread is asked of a row of bits for each thread,
 * one for each object that it made, oldest first. The dead are taken off its end at once, so that
 * the last one lives; elsewhere they stay as zeros, until there are many times more of them than
 * objects, and serials are given anew: so it costs no look at a neighbour, and bits of objects that
 * live at once lie side by side. What few objects need (how they were resized) stands apart, so that
 * what all need is one cache line.
 *
 * Ops are followed some hundred at a time, so that what they will look at is on its way from memory
 * meanwhile. To the processor an alloc or a free is a coin toss: only one branch is made of it.
 */
#include "harness/trace_profile.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "harness/array.h"

const char *const profile_units[LIFE_UNITS] = {"ops", "bytes", "ns"};

#define AT_START   UINT64_MAX /* born_call of what was live when the recording began */
#define NOBODY     UINT32_MAX /* thread of a free place */
#define CHUNK_BITS 10
#define CHUNK      (UINT64_C(1) << CHUNK_BITS) /* objects */
#define MOST       (UINT64_C(1) << 31)         /* live objects, so that serials fit */
#define SERIALS    16                          /* a live object, before they are given anew */
#define AHEAD      16                          /* free places */

struct profile_object {
    _Alignas(64) uint64_t born_call;
    uint64_t born_bytes, born_ns, size, scope;
    uint32_t thread, site, resized; /* site, resized: place + 1; 0 = none */
    uint32_t serial;                /* its bit in what its thread made */
};

struct profile_resized { /* a free place: reallocs = the next one + 1 */
    uint64_t first_bytes, copied_bytes, reallocs;
};

/* The row of `sizes` that a size belongs to. */
static unsigned profile_size_row(uint64_t size)
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

static struct profile_object *object_at(const struct trace_profile *p, uint64_t place)
{
    return &p->objects[place >> CHUNK_BITS][place & (CHUNK - 1)];
}

/* A place for one more object: the one given back last, or a new one; false: no memory. There is
 * always room to give it back. Places that were given back long ago are in no cache any more. */
static bool object_take(struct trace_profile *p, uint64_t *place)
{
    if (p->vacant_count) {
        if (p->vacant_count > AHEAD)
            __builtin_prefetch(object_at(p, p->vacant[p->vacant_count - 1 - AHEAD]), 1);
        *place = p->vacant[--p->vacant_count];
        return true;
    }
    void *vacant = array_room(p->vacant, p->object_count, &p->vacant_room, sizeof *p->vacant);
    if (!vacant || p->object_count == MOST)
        return false;
    p->vacant = vacant;
    if (p->object_count % CHUNK == 0) {
        uint64_t chunk = p->object_count / CHUNK;
        void *chunks = array_room(p->objects, chunk, &p->chunk_room, sizeof *p->objects);
        if (!chunks)
            return false;
        p->objects = chunks;
        p->objects[chunk] = aligned_alloc(64, CHUNK * sizeof **p->objects);
        if (!p->objects[chunk])
            return false;
    }
    *place = p->object_count++;
    return true;
}

/* The same for what is known of a resized object. */
static bool resized_take(struct trace_profile *p, uint64_t *place)
{
    if (p->resized_free) {
        *place = p->resized_free - 1;
        p->resized_free = p->resized[*place].reallocs;
        return true;
    }
    void *grown = array_room(p->resized, p->resized_count, &p->resized_room, sizeof *p->resized);
    if (!grown)
        return false;
    p->resized = grown;
    *place = p->resized_count++;
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
static int thread_add(struct trace_profile *p, uint32_t thread, struct error *err)
{
    struct trace_op nothing = {.kind = TRACE_SCOPE_SWITCH,
                               .thread = thread,
                               .object = TRACE_NO_OBJECT,
                               .scope = TRACE_NO_SCOPE};
    void *grown = array_room(p->threads, p->thread_count, &p->thread_room, sizeof *p->threads);
    if (!grown)
        return no_memory(err);
    p->threads = grown;
    p->threads[p->thread_count++] = (struct profile_thread){0};
    return trace_rules_put(&p->scopes, &nothing, err);
}

/* A scope is one deeper than the one it begins in: no walk outwards, since scopes may nest as deep
 * as the trace is long. */
static int scope_open(struct trace_profile *p, uint64_t scope, struct error *err)
{
    uint64_t around = (p->scopes.scopes[scope] >> 1) - 1;
    void *grown = array_room(p->depths, scope, &p->depths_room, sizeof *p->depths);
    if (!grown)
        return no_memory(err);
    p->depths = grown;
    p->depths[scope] = 1 + (around == TRACE_NO_SCOPE ? 0 : p->depths[around]);
    if (p->depths[scope] > p->scope_depth_max)
        p->scope_depth_max = p->depths[scope];
    if (++p->scopes_open > p->scopes_open_max)
        p->scopes_open_max = p->scopes_open;
    return 0;
}

static int scope_follow(struct trace_profile *p, const struct trace_reader *r,
                        const struct trace_op *op, struct error *err)
{
    struct error why;
    if (trace_rules_put(&p->scopes, op, &why)) /* "record N: ", where N counts scope ops alone */
        return error_set(err, "%.500s: offset %" PRIu64 ": %.300s: see `alloclab trace check`",
                         trace_name(r), trace_offset(r), strstr(why.text, ": ") + 2);
    p->has_scopes = true;
    p->scopes_open -= op->kind == TRACE_SCOPE_END;
    return op->kind == TRACE_SCOPE_BEGIN ? scope_open(p, op->scope, err) : 0;
}

/* ---- which object of a thread is the youngest ---- */

/* Makes room for a bit more. */
static bool serial_room(struct profile_thread *t)
{
    uint64_t words = t->words;
    if (t->serials >> 6 < words)
        return true;
    void *grown = array_room(t->born, words, &t->words, sizeof *t->born);
    if (!grown)
        return false;
    t->born = grown;
    memset(t->born + words, 0, (t->words - words) * sizeof *t->born);
    return true;
}

/* Room has been made. */
static uint32_t serial_give(struct profile_thread *t)
{
    uint64_t serial = t->serials++;
    t->born[serial >> 6] |= UINT64_C(1) << (serial & 63);
    t->live++;
    return (uint32_t)serial;
}

/* The object dies. If it was the youngest, another one is now: the last bit that is set. */
static void serial_end(struct profile_thread *t, uint32_t serial)
{
    uint64_t word = serial >> 6;
    t->born[word] &= ~(UINT64_C(1) << (serial & 63));
    t->live--;
    if (serial + UINT64_C(1) != t->serials)
        return;
    while (word && !t->born[word])
        word--;
    t->serials = t->born[word] ? 64 * word + 64 - (unsigned)__builtin_clzll(t->born[word]) : 0;
}

/* How many objects may be made until serials are given anew, which takes a look at each of them. */
static uint64_t serials_most(const struct trace_profile *p)
{
    uint64_t most = SERIALS * (p->object_count + p->thread_count) + 4096;
    return most < MOST ? most : MOST;
}

/* Gives the objects of each thread new serials, in the same order and without gaps. */
static bool serials_renew(struct trace_profile *p)
{
    uint64_t words = 0, at = 0;
    for (uint64_t i = 0; i < p->thread_count; i++)
        words += p->threads[i].serials / 64 + 1;
    uint32_t *before = malloc(words * sizeof *before);         /* objects before those of a word */
    uint64_t *first = malloc(p->thread_count * sizeof *first); /* word of each thread */
    for (uint64_t i = 0; before && first && i < p->thread_count; i++) {
        const struct profile_thread *t = &p->threads[i];
        first[i] = at;
        for (uint64_t word = 0, sum = 0; word < (t->serials + 63) / 64; word++) {
            before[at++] = (uint32_t)sum;
            sum += (unsigned)__builtin_popcountll(t->born[word]);
        }
    }
    for (uint64_t place = 0; before && first && place < p->object_count; place++) {
        struct profile_object *o = object_at(p, place);
        if (o->thread == NOBODY)
            continue;
        uint64_t word = o->serial >> 6, older = (UINT64_C(1) << (o->serial & 63)) - 1;
        o->serial = before[first[o->thread] + word] +
                    (unsigned)__builtin_popcountll(p->threads[o->thread].born[word] & older);
    }
    for (uint64_t i = 0; before && first && i < p->thread_count; i++) {
        struct profile_thread *t = &p->threads[i];
        memset(t->born, 0, (t->serials + 63) / 64 * sizeof *t->born);
        memset(t->born, 0xff, t->live / 64 * sizeof *t->born);
        if (t->live % 64)
            t->born[t->live / 64] = (UINT64_C(1) << t->live % 64) - 1;
        t->serials = t->live;
    }
    p->serials_left = serials_most(p);
    bool done = before && first;
    free(before);
    free(first);
    return done;
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

/* An object of this size and alignment is asked for, at a site. What can be told from other counts
 * is not counted here: see rest_count(). */
static void call_count(struct trace_profile *p, const struct trace_op *op, uint64_t grown,
                       bool resizes, struct profile_site *site)
{
    struct profile_size *size = &p->sizes[profile_size_row(op->size)];
    if (resizes)
        size->reallocs++;
    else
        size->allocs++;
    if (op->size >= PROFILE_EXACT)
        size->bytes += resizes ? 0 : op->size;
    if (!resizes && op->size > p->size_max)
        p->size_max = op->size;
    if (op->align_log2)
        p->aligns[op->align_log2]++;
    p->allocated_bytes += grown;
    if (site) {
        site->reallocs += resizes;
        site->allocs += !resizes;
        site->allocated_bytes += grown;
    }
}

static int object_make(struct trace_profile *p, const struct trace_op *op, bool start,
                       struct error *err)
{
    uint64_t place, site = 0;
    struct profile_thread *t = &p->threads[op->thread];
    if (p->serials_left-- == 0 && !serials_renew(p))
        return no_memory(err);
    if (!serial_room(t) || (op->site && !site_place(p, op->site, &site)) ||
        !live_table_room(&p->live) || !object_take(p, &place))
        return no_memory(err);
    t->allocs += !start;
    if (!start)
        call_count(p, op, op->size, false, op->site ? &p->sites[site] : NULL);
    uint64_t scope = p->has_scopes ? trace_rules_scope(&p->scopes, op->thread) : TRACE_NO_SCOPE;
    p->scoped_objects += scope != TRACE_NO_SCOPE && !start;
    *object_at(p, place) = (struct profile_object){.born_call = start ? AT_START : p->calls,
                                                   .born_bytes = p->allocated_bytes,
                                                   .born_ns = op->clock_ns,
                                                   .size = op->size,
                                                   .scope = scope,
                                                   .thread = op->thread,
                                                   .site = op->site ? (uint32_t)site + 1 : 0,
                                                   .serial = serial_give(t)};
    live_table_add(&p->live, place + 1);
    p->live_objects++;
    p->live_bytes += op->size;
    if (op->site) {
        p->sites[site].live_objects++;
        site_grow(&p->sites[site], op->size);
    }
    level_raise(p);
    return 0;
}

/* How an object that was resized was is counted, at its end or at that of the trace. */
__attribute__((noinline)) static void chain_end(struct trace_profile *p,
                                                const struct profile_object *o)
{
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

/* A death is put down, to be counted with others. */
static void life_end(struct trace_profile *p, const struct profile_object *o,
                     const struct trace_op *op)
{
    uint64_t calls = p->calls - o->born_call;
    unsigned i = p->deaths++;
    p->dead_sizes[i] = o->size;
    p->dead_lives[LIFE_OPS][i] = calls;
    p->dead_lives[LIFE_BYTES][i] = p->allocated_bytes - o->born_bytes;
    p->dead_lives[LIFE_NS][i] = op->clock_ns > o->born_ns ? op->clock_ns - o->born_ns : 0;
    if (o->site) {
        p->sites[o->site - 1].life_ops += calls;
        p->sites[o->site - 1].frees++;
    }
}

/* Counts those that were put down: one unit after another, and no branch is hard to foresee. */
static void lives_count(struct trace_profile *p)
{
    for (unsigned unit = 0; unit < (p->has_clock ? LIFE_UNITS : LIFE_NS); unit++) {
        struct profile_life *lives = p->lives[unit];
        uint64_t max = p->life_max[unit];
        double sum = p->life_sum[unit];
        for (unsigned i = 0; i < p->deaths; i++) {
            uint64_t life = p->dead_lives[unit][i], size = p->dead_sizes[i];
            struct profile_life *at = &lives[histogram_bucket(life)];
            at->objects++;
            at->bytes += size;
            p->heat[unit][loglinear_cell(size, PROFILE_SIZE_BITS)]
                   [loglinear_cell(life, PROFILE_LIFE_BITS)]++;
            max = life > max ? life : max;
            sum += (double)life;
        }
        p->life_max[unit] = max;
        p->life_sum[unit] = sum;
    }
    p->freed_objects += p->deaths;
    p->deaths = 0;
}

/* A free of an object that was made in the recording. */
static int free_count(struct trace_profile *p, const struct profile_object *o,
                      const struct trace_op *op, struct error *err)
{
    struct profile_thread *t = &p->threads[op->thread];
    life_end(p, o, op);
    t->frees++;
    t->lifo_frees += o->thread == op->thread && o->serial + UINT64_C(1) == t->serials;
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
    struct profile_object *o = object_at(p, place);
    if (o->born_call == AT_START)
        p->freed_start_objects++;
    else if (free_count(p, o, op, err))
        return -1;
    if (o->resized)
        chain_end(p, o);
    p->live_objects--;
    p->live_bytes -= o->size;
    if (o->site) {
        struct profile_site *site = &p->sites[o->site - 1];
        site->live_objects--;
        site->live_bytes -= o->size;
    }
    live_table_remove(&p->live, op->object, value);
    serial_end(&p->threads[o->thread], o->serial);
    o->thread = NOBODY;
    p->vacant[p->vacant_count++] = (uint32_t)place;
    return 0;
}

static int object_resize(struct trace_profile *p, const struct trace_op *op,
                         struct profile_object *o, struct error *err)
{
    uint64_t place, site = 0, grown = op->size > o->size ? op->size - o->size : 0;
    if (op->site && !site_place(p, op->site, &site))
        return no_memory(err);
    if (!o->resized) {
        if (!resized_take(p, &place))
            return no_memory(err);
        p->resized[place] = (struct profile_resized){.first_bytes = o->size};
        o->resized = (uint32_t)place + 1;
    }
    call_count(p, op, grown, true, op->site ? &p->sites[site] : NULL);
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
    if (p->calls & (p->sample_calls - 1))
        return;
    sample_end(p);
    if (p->sample_count == PROFILE_SAMPLES)
        samples_merge(p);
}

/* ---- the whole ---- */

/* Where the place of a live object stands; NULL: it is not live. */
static uint64_t *object_find(const struct trace_profile *p, const struct trace_reader *r,
                             const struct trace_op *op, struct error *err)
{
    uint64_t *value = live_table_find(&p->live, op->object);
    if (!value)
        error_set(err,
                  "%.500s: offset %" PRIu64 ": object %" PRIu64
                  " is not live any more: see `alloclab trace check`",
                  trace_name(r), trace_offset(r), op->object);
    return value;
}

/* Anything but a plain alloc or free. */
__attribute__((noinline)) static int rare_follow(struct trace_profile *p,
                                                 const struct trace_reader *r,
                                                 const struct trace_op *op, struct error *err)
{
    if (op->kind >= TRACE_SCOPE_BEGIN && op->kind <= TRACE_SCOPE_SWITCH)
        return scope_follow(p, r, op, err);
    if (trace_makes_object(op))
        return object_make(p, op, op->kind == TRACE_LIVE, err);
    if (op->object == TRACE_NO_OBJECT)
        return 0;
    uint64_t *value = object_find(p, r, op, err);
    if (!value)
        return -1;
    if (trace_ends_object(op))
        return object_end(p, op, value, err);
    return op->flags & TRACE_FAILED ? 0 : object_resize(p, op, object_at(p, *value - 1), err);
}

static int op_follow(struct trace_profile *p, const struct trace_reader *r,
                     const struct trace_op *op, struct error *err)
{
    int failed;
    if (op->size > TRACE_MAX_SIZE && !(op->flags & TRACE_FAILED))
        return error_set(err,
                         "%.500s: offset %" PRIu64 ": size %" PRIu64
                         " of a call that did not fail: see `alloclab trace check`",
                         trace_name(r), trace_offset(r), op->size);
    if (op->thread >= p->thread_count && thread_add(p, op->thread, err))
        return -1;
    if (op->kind <= TRACE_ALIGNED && !op->flags) {
        failed = object_make(p, op, false, err);
    } else if (op->kind == TRACE_FREE && !(op->flags & TRACE_NULL)) {
        uint64_t *value = object_find(p, r, op, err);
        failed = value ? object_end(p, op, value, err) : -1;
    } else {
        failed = rare_follow(p, r, op, err);
    }
    if (trace_is_call(op->kind))
        call_done(p, op);
    return failed;
}

/* Asks for the memory that the ops will look at. Those that make an object, or have none, have
 * numbers that the table does not know yet. */
static void batch_prefetch(const struct trace_profile *p, const struct trace_batch *b)
{
    uint64_t known[PROFILE_BATCH];
    unsigned found = 0;
    for (unsigned i = 0; i < b->count; i++) {
        known[found] = b->objects[i];
        found += b->objects[i] < p->live.ids;
    }
    for (unsigned i = 0; i < found; i++)
        live_table_prefetch(&p->live, known[i]);
    for (unsigned i = 0; i < found; i++) {
        const uint64_t *value = live_table_find(&p->live, known[i]);
        if (value)
            __builtin_prefetch(object_at(p, *value - 1), 1);
    }
}

static int ops_follow(struct trace_profile *p, struct trace_reader *r, struct error *err)
{
    struct trace_batch batch;
    int got;
    while ((got = trace_next_batch(r, PROFILE_BATCH, &batch, err)) > 0) {
        batch_prefetch(p, &batch);
        for (unsigned i = 0; i < batch.count; i++) {
            const struct trace_op op = trace_batch_op(&batch, i);
            if (op_follow(p, r, &op, err))
                return -1;
        }
        lives_count(p);
    }
    return got;
}

/* What is live at the end, and what follows from other counts. */
static void rest_count(struct trace_profile *p)
{
    uint64_t calls = 0, aligned = 0;
    for (unsigned row = 0; row < PROFILE_SIZES; row++) {
        calls += p->sizes[row].allocs + p->sizes[row].reallocs;
        if (row < PROFILE_EXACT)
            p->sizes[row].bytes = p->sizes[row].allocs * row;
    }
    for (unsigned i = 1; i < sizeof p->aligns / sizeof *p->aligns; i++)
        aligned += p->aligns[i];
    p->aligns[0] = calls - aligned;

    for (uint64_t place = 0; place < p->object_count; place++)
        if (object_at(p, place)->thread != NOBODY && object_at(p, place)->resized)
            chain_end(p, object_at(p, place));
    if (p->sample_count == 0 || p->samples[p->sample_count - 1].calls < p->calls)
        sample_end(p);
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
    p->serials_left = serials_most(p);
    if (trace_rewind(r, err) || ops_follow(p, r, err)) {
        trace_profile_free(p);
        return NULL;
    }
    rest_count(p);
    return p;
}

void trace_profile_free(struct trace_profile *p)
{
    for (uint64_t i = 0; i < p->thread_count; i++)
        free(p->threads[i].born);
    free(p->threads);
    free(p->pairs);
    free(p->pair_index.places);
    free(p->sites);
    free(p->site_index.places);
    for (uint64_t i = 0; i * CHUNK < p->object_count; i++)
        free(p->objects[i]);
    free(p->objects);
    free(p->vacant);
    free(p->resized);
    free(p->depths);
    live_table_free(&p->live);
    trace_rules_free(&p->scopes);
    free(p);
}
