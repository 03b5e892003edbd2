/*
 * empirical.c - a recorded program, for as long as wanted: objects are drawn from a recording, each
 * with its sizes and its lifetime, and allocated and freed at the recording's level of live memory.
 *
 *     recording        objects with (size, lifetime, reallocs, alignment, zeroed, threads, site)
 *        | fit         those that it freed, and those that stayed
 *        v
 *     start            the stayers, once; then as many drawn objects as are live on average, in the
 *        |             middle of their lives
 *        v
 *     every birth      frees and resizes what is due, draws an object, allocates it, and notes when
 *                      it is due: its lifetime is counted in births
 *
 *   quantity             distribution
 *   object               the recording's own, all alike: so sizes, lifetimes, and how they depend
 *                        on each other, are the recording's, and no shape is assumed
 *   runs                 with run > 1, a drawn object is followed by its neighbours in the
 *                        recording, geometrically many, `run` on average: this keeps what belongs
 *                        together (the stationary bootstrap), and each object is still drawn alike
 *   live at the start    births before the start are drawn as all others; who outlives it is there
 *
 * Lifetimes are counted in births of objects that the recording freed, so the mean of live bytes is
 * the recording's own mean of them, plus all that stayed, from the first op to the last: there is
 * no ramp to wait for. `ops` are the calls between the start and the end; at the end all is freed.
 *
 * Threads: an op is done by the thread that did it in the recording; those from 64 on share the
 * numbers of the first 64. All live from the start to the end. No scopes. Clock: an op takes 100
 * ns. Sites are the recording's numbers.
 *
 * `hash` is that of the recording's bytes. It is filled in, and stands in the results and in the
 * trace; if it is given, another file under the same name is refused.
 *
 * Source: drawing from observed sizes and lifetimes, and what it loses: Zorn & Grunwald,
 * "Evaluating Models of Memory Allocation" (ACM TOMACS 4(1), 1994); runs: Politis & Romano, "The
 * Stationary Bootstrap" (JASA 89, 1994).
 *
 * What it cannot tell: objects are independent of each other but for `run`, while in programs those
 * that are born together die together. So fragmentation comes out otherwise than in the recording
 * (Johnstone & Wilson, ISMM 1998, found random lifetimes harder); phases are mixed; a peak is that
 * of a steady state. For the program's own pattern, replay the recording.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "workloads/lib/dist.h"
#include "workloads/lib/emit.h"
#include "workloads/lib/fit.h"
#include "workloads/lib/workload.h"

#define OP_NS       100
#define MAX_THREADS 64
#define NONE        UINT32_MAX

struct empirical_options {
    char from[240], hash[17];
    uint64_t ops;
    double run;
};

#define FIELD(name) offsetof(struct empirical_options, name)
static const struct option empirical_rows[] = {
    {"from", OPTION_TEXT, FIELD(from), "", 0, 240, NULL, "the recording, FILE.trace"},
    {"hash", OPTION_TEXT, FIELD(hash), "", 0, 17, NULL, "of the recording; filled in"},
    {"ops", OPTION_COUNT, FIELD(ops), "1m", 1, 1e9, NULL, "calls between the start and the end"},
    {"run", OPTION_REAL, FIELD(run), "1", 1, 1e5, NULL, "objects drawn together, on average"},
    {0},
};
#undef FIELD

struct live {
    const struct fit_object *from;
    uint64_t id, size, born; /* born: birth number */
    uint32_t step;           /* reallocs done */
    uint32_t next;           /* due at the same time, or free places; NONE */
};

struct state {
    struct emit e;
    struct fit fit;
    struct rng pick, run;
    struct dist runs;
    uint64_t at, run_left; /* in fit.objects */
    struct ids stays;
    struct live *live;
    uint32_t live_count, live_room, free_places;
    uint32_t *wheel; /* by birth number mod its length: who is due before that birth */
    uint64_t wheel_length, birth;
};

/* ---- the recording's hash ---- */

static int file_hash(const char *path, char *text, size_t bytes, struct error *err)
{
    char block[1 << 16];
    size_t n;
    FILE *file = fopen(path, "rb");
    XXH64_state_t *hash = XXH64_createState();
    int status = 0;
    if (hash && file) {
        XXH64_reset(hash, 0);
        while ((n = fread(block, 1, sizeof block, file)) > 0)
            XXH64_update(hash, block, n);
        snprintf(text, bytes, "%016llx", (unsigned long long)XXH64_digest(hash));
    }
    if (!file || !hash || ferror(file))
        status = error_set(err, "empirical: from=%s: cannot read it: %s", path, strerror(errno));
    XXH64_freeState(hash);
    if (file)
        fclose(file);
    return status;
}

static int empirical_settle(void *options, struct error *err)
{
    struct empirical_options *o = options;
    char hash[sizeof o->hash];
    if (!o->from[0])
        return error_set(err, "empirical: which recording? give from=FILE.trace");
    if (file_hash(o->from, hash, sizeof hash, err))
        return -1;
    if (o->hash[0] && strcmp(o->hash, hash))
        return error_set(err,
                         "empirical: from=%s: its hash is %s, not %s: give the "
                         "recording that had "
                         "it, or leave the hash out",
                         o->from, hash, o->hash);
    memcpy(o->hash, hash, sizeof hash);
    return 0;
}

/* ---- drawing ---- */

static const struct fit_object *draw(struct state *s)
{
    if (s->run_left == 0) {
        s->at = rng_below(&s->pick, s->fit.count);
        s->run_left = dist_draw(&s->runs, &s->run);
    }
    s->run_left--;
    const struct fit_object *from = &s->fit.objects[s->at++];
    s->at %= s->fit.count;
    return from;
}

static uint64_t object_make(struct state *s, const struct fit_object *from, uint64_t size)
{
    unsigned thread = from->thread % MAX_THREADS;
    if (from->kind == TRACE_ALIGNED)
        return emit_aligned(&s->e, thread, size, from->align_log2, from->site);
    if (from->kind == TRACE_CALLOC)
        return emit_calloc(&s->e, thread, size, from->site);
    return emit_alloc(&s->e, thread, size, from->site);
}

static void object_free(struct state *s, const struct live *l)
{
    unsigned thread = l->from->freer % MAX_THREADS;
    if (l->from->sized)
        emit_free_sized(&s->e, thread, l->id, l->size);
    else
        emit_free(&s->e, thread, l->id);
}

/* ---- what is live, and when it is due ---- */

static const struct fit_step *step_next(const struct state *s, const struct live *l)
{
    return l->step < l->from->steps ? &s->fit.steps[l->from->step + l->step] : NULL;
}

/* The birth before which the next thing happens to it. */
static uint64_t due_at(const struct state *s, const struct live *l)
{
    const struct fit_step *step = step_next(s, l);
    return l->born + 1 + (step ? step->age : l->from->life);
}

static void wheel_add(struct state *s, uint32_t place)
{
    uint32_t *head = &s->wheel[due_at(s, &s->live[place]) % s->wheel_length];
    s->live[place].next = *head;
    *head = place;
}

static uint32_t place_take(struct state *s)
{
    uint32_t place = s->free_places;
    if (place != NONE) {
        s->free_places = s->live[place].next;
        return place;
    }
    if (s->live_count == s->live_room) {
        uint32_t room = s->live_room ? 2 * s->live_room : 1024;
        struct live *grown = realloc(s->live, room * sizeof *grown);
        if (!grown) {
            emit_no_memory(&s->e);
            return NONE;
        }
        s->live = grown;
        s->live_room = room;
    }
    return s->live_count++;
}

static void born_now(struct state *s, const struct fit_object *from)
{
    uint32_t place = place_take(s);
    if (place == NONE)
        return;
    s->live[place] = (struct live){
        .from = from, .id = object_make(s, from, from->size), .size = from->size, .born = s->birth};
    wheel_add(s, place);
}

/* Does what is due to it before this birth: resizes, perhaps its end. */
static void live_advance(struct state *s, uint32_t place)
{
    struct live *l = &s->live[place];
    const struct fit_step *step;
    while (due_at(s, l) == s->birth && (step = step_next(s, l))) {
        l->size = step->size;
        l->step++;
        emit_realloc(&s->e, l->from->thread % MAX_THREADS, l->id, step->size, l->from->site);
    }
    if (due_at(s, l) != s->birth) {
        wheel_add(s, place);
        return;
    }
    object_free(s, l);
    l->from = NULL;
    l->next = s->free_places;
    s->free_places = place;
}

/* ---- start, middle, end ---- */

/* One of the births before the start that is live there, at the size that it has by then. */
static void born_before(struct state *s, const struct fit_object *from, uint64_t birth)
{
    uint32_t place = place_take(s);
    if (place == NONE)
        return;
    struct live *l = &s->live[place];
    *l = (struct live){.from = from, .size = from->size, .born = birth};
    for (const struct fit_step *step; (step = step_next(s, l)) && due_at(s, l) < s->birth;) {
        l->size = step->size;
        l->step++;
    }
    l->id = object_make(s, from, l->size);
    wheel_add(s, place);
}

static void start(struct state *s)
{
    emit_threads_begin(&s->e, 0, s->fit.threads < MAX_THREADS ? s->fit.threads : MAX_THREADS,
                       "recorded");
    for (uint64_t i = 0; i < s->fit.stay_count && !s->e.failed; i++)
        ids_push(&s->e, &s->stays, object_make(s, &s->fit.stays[i], s->fit.stays[i].size));
    s->birth = s->fit.longest;
    for (uint64_t birth = 0; birth < s->birth && !s->e.failed; birth++) {
        const struct fit_object *from = draw(s);
        if (birth + 1 + from->life > s->birth)
            born_before(s, from, birth);
    }
}

static void birth(struct state *s)
{
    uint32_t *head = &s->wheel[s->birth % s->wheel_length], place = *head;
    *head = NONE;
    while (place != NONE) {
        uint32_t next = s->live[place].next;
        live_advance(s, place);
        place = next;
    }
    born_now(s, draw(s));
    s->birth++;
}

static void end(struct state *s)
{
    unsigned threads = s->fit.threads < MAX_THREADS ? s->fit.threads : MAX_THREADS;
    for (uint32_t i = 0; i < s->live_count; i++)
        if (s->live[i].from)
            object_free(s, &s->live[i]);
    emit_free_all(&s->e, 0, &s->stays);
    emit_threads_end(&s->e, 0, threads);
}

static void state_free(struct state *s)
{
    fit_free(&s->fit);
    ids_free(&s->stays);
    free(s->live);
    free(s->wheel);
}

static int empirical_emit(const void *options, uint64_t seed, struct trace_writer *out,
                          struct error *err)
{
    const struct empirical_options *o = options;
    struct state s = {
        .e = {.out = out, .err = err, .step_ns = OP_NS},
        .pick = rng_stream(seed, 0),
        .run = rng_stream(seed, 1),
        .runs = dist_geometric(o->run, 1, 1u << 30),
        .free_places = NONE,
    };
    if (fit_read(&s.fit, o->from, err))
        return -1;
    if (!s.fit.count) {
        state_free(&s);
        return error_set(err, "empirical: from=%s: nothing in it is freed: there are no lifetimes",
                         o->from);
    }
    s.wheel_length = (uint64_t)s.fit.longest + 2;
    s.wheel = malloc(s.wheel_length * sizeof *s.wheel);
    if (s.wheel)
        memset(s.wheel, 0xff, s.wheel_length * sizeof *s.wheel); /* NONE */
    else
        emit_no_memory(&s.e);
    if (!s.e.failed)
        start(&s);
    for (uint64_t first = s.e.calls; s.e.calls - first < o->ops && !s.e.failed;)
        birth(&s);
    end(&s);
    state_free(&s);
    return s.e.failed ? -1 : 0;
}

WORKLOAD(empirical) = {
    .name = "empirical",
    .summary = "objects drawn from a recording, with their sizes and "
               "lifetimes, for any length",
    .source = "Zorn & Grunwald, TOMACS 1994; Politis & Romano, JASA 1994",
    .options_size = sizeof(struct empirical_options),
    .options = empirical_rows,
    .settle = empirical_settle,
    .emit = empirical_emit,
};
