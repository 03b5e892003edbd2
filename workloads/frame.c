/*
 * frame.c - a game or simulation loop: most objects live for one frame, a few for several, assets
 * for a level.
 *
 * Models the main thread of an engine that keeps its temporaries in a frame allocator, which is
 * reset when the frame is over, and everything else on a general heap.
 *
 *   a frame   1. survivors of earlier frames whose time has come are freed
 *             2. each subsystem (animation, physics, ..) in turn allocates its objects and then
 *                frees its scratch objects, last one first
 *             3. the frame's other objects are freed, first one first, and its scope ends
 *   a level   every `level` frames, outside any frame: each asset is unloaded unless it is kept,
 *             with probability `kept`; then assets are loaded until there are `assets` again. The
 *             first level loads all of them
 *   the end   survivors and assets are freed, and all scopes are closed
 *
 *   quantity              distribution
 *   objects in a turn     uniform on c +- floor(c / 2), c = objects / subsystems
 *   fate of an object     survives the frame with probability `survivors`; of the others, scratch
 *                         with probability `scratch`, else it lives to the end of the frame
 *   life of a survivor    geometric, at least 1 frame, mean `lifetime`; clipped at 4095
 *   size of an object     log-uniform. [min, max] is cut into subsystems + 1 parts of equal ratio,
 *                         and subsystem i has parts i and i + 1: neighbours overlap, and the first
 *                         subsystem has the smallest objects
 *   size of an asset      bounded Pareto of shape 1.1 on [1k, asset_max]
 *
 * Scopes: scopes=frame opens one for each frame; level also one for each level, around its frames;
 * subsystem also one for each subsystem's turn, inside the frame. A survivor is allocated inside
 * the frame and outlives it: it crosses its scope by design, as do assets that are kept and, with
 * scopes=subsystem, everything that lives to the end of the frame.
 *
 * Clock: frames start every 1/60 s, an op takes 1 us, and a frame with more ops than fit makes the
 * next one late. Sites: 1 assets, 2 + i subsystem i.
 *
 * Source: the single-frame and double-buffered allocators of Gregory, Game Engine Architecture
 * (3rd ed., 2018), memory management; regions in general: Berger, Zorn & McKinley, "Reconsidering
 * Custom Memory Allocation" (OOPSLA 2002). Assets with the heavy tail of file sizes: Crovella &
 * Bestavros, "Self-Similarity in World Wide Web Traffic" (IEEE/ACM ToN 5(6), 1997).
 *
 * What it cannot tell: contention (real engines have worker threads), and how the layout of the
 * objects affects the frame's own work. The default numbers are plausible, not measured in a game.
 */
#include <stdlib.h>

#include "workloads/lib/dist.h"
#include "workloads/lib/emit.h"
#include "workloads/lib/workload.h"

#define CALENDAR    4096 /* frames ahead that a survivor can die */
#define MAX_SYSTEMS 64
#define FRAME_NS    UINT64_C(16666667)
#define OP_NS       1000
#define SITE_ASSET  1
#define SITE_SYSTEM 2
#define ASSET_MIN   1024
#define ASSET_SHAPE 1.1

enum { SCOPES_FRAME, SCOPES_LEVEL, SCOPES_SUBSYSTEM };

struct frame_options {
    uint64_t frames, objects, subsystems, level, assets;
    double survivors, scratch, lifetime, kept;
    uint64_t min, max, asset_max;
    unsigned scopes;
};

#define FIELD(name) offsetof(struct frame_options, name)
static const struct option frame_rows[] = {
    {"frames", OPTION_COUNT, FIELD(frames), "600", 1, 1e7, NULL, "frames"},
    {"objects", OPTION_COUNT, FIELD(objects), "800", 1, 1e6, NULL, "mean objects a frame"},
    {"survivors", OPTION_REAL, FIELD(survivors), "0.05", 0, 1, NULL,
     "part of the objects that outlives the frame"},
    {"lifetime", OPTION_REAL, FIELD(lifetime), "30", 1, 1000, NULL,
     "mean life of a survivor, frames"},
    {"scratch", OPTION_REAL, FIELD(scratch), "0.5", 0, 1, NULL,
     "part of the others that dies with its subsystem's turn"},
    {"min", OPTION_SIZE, FIELD(min), "16", 1, 1 << 30, NULL, "smallest object, bytes"},
    {"max", OPTION_SIZE, FIELD(max), "4k", 1, 1 << 30, NULL, "largest object, bytes"},
    {"subsystems", OPTION_COUNT, FIELD(subsystems), "4", 1, MAX_SYSTEMS, NULL,
     "subsystems that take turns in a frame"},
    {"level", OPTION_COUNT, FIELD(level), "200", 1, 1e7, NULL, "frames in a level"},
    {"assets", OPTION_COUNT, FIELD(assets), "400", 0, 1e6, NULL, "assets loaded at a time"},
    {"asset_max", OPTION_SIZE, FIELD(asset_max), "1m", ASSET_MIN, 1 << 30, NULL,
     "largest asset, bytes"},
    {"kept", OPTION_REAL, FIELD(kept), "0.3", 0, 1, NULL,
     "part of the assets that stays for the next level"},
    {"scopes", OPTION_CHOICE, FIELD(scopes), "frame", 0, 0, "frame|level|subsystem",
     "the innermost scopes; those around them are there too, down to level"},
    {0},
};
#undef FIELD

struct state {
    struct emit e;
    const struct frame_options *o;
    struct rng count, fate, life, size, asset;
    struct dist lives, asset_sizes, counts[MAX_SYSTEMS], sizes[MAX_SYSTEMS];
    struct ids due[CALENDAR]; /* survivors by the frame that frees them */
    struct ids scratch, frame, assets;
    uint64_t level_scope;
};

static void run_subsystem(struct state *s, unsigned system, uint64_t frame)
{
    const struct frame_options *o = s->o;
    uint64_t scope = 0;
    if (o->scopes == SCOPES_SUBSYSTEM)
        scope = emit_scope_begin(&s->e, 0);
    uint64_t n = dist_draw(&s->counts[system], &s->count);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t size = dist_draw(&s->sizes[system], &s->size);
        uint64_t object = emit_alloc(&s->e, 0, size, SITE_SYSTEM + system);
        struct ids *list = &s->frame;
        if (rng_chance(&s->fate, o->survivors))
            list = &s->due[(frame + dist_draw(&s->lives, &s->life)) % CALENDAR];
        else if (rng_chance(&s->fate, o->scratch))
            list = &s->scratch;
        ids_push(&s->e, list, object);
    }
    while (s->scratch.n)
        emit_free(&s->e, 0, ids_take(&s->scratch, s->scratch.n - 1));
    if (o->scopes == SCOPES_SUBSYSTEM)
        emit_scope_end(&s->e, 0, scope);
}

static void run_frame(struct state *s, uint64_t frame)
{
    if (s->e.clock_ns < frame * FRAME_NS)
        s->e.clock_ns = frame * FRAME_NS;
    uint64_t scope = emit_scope_begin(&s->e, 0);
    emit_free_all(&s->e, 0, &s->due[frame % CALENDAR]);
    for (unsigned i = 0; i < s->o->subsystems; i++)
        run_subsystem(s, i, frame);
    emit_free_all(&s->e, 0, &s->frame);
    emit_scope_end(&s->e, 0, scope);
}

static void unload_level(struct state *s)
{
    for (uint64_t i = s->assets.n; i-- > 0;)
        if (!rng_chance(&s->asset, s->o->kept))
            emit_free(&s->e, 0, ids_take(&s->assets, i));
    if (s->o->scopes >= SCOPES_LEVEL)
        emit_scope_end(&s->e, 0, s->level_scope);
}

static void load_level(struct state *s)
{
    if (s->o->scopes >= SCOPES_LEVEL)
        s->level_scope = emit_scope_begin(&s->e, 0);
    while (s->assets.n < s->o->assets && !s->e.failed) {
        uint64_t size = dist_draw(&s->asset_sizes, &s->asset);
        ids_push(&s->e, &s->assets, emit_alloc(&s->e, 0, size, SITE_ASSET));
    }
}

static void run(struct state *s)
{
    uint64_t frame = 0;
    for (; frame < s->o->frames && !s->e.failed; frame++) {
        if (frame % s->o->level == 0) {
            if (frame)
                unload_level(s);
            load_level(s);
        }
        run_frame(s, frame);
    }
    for (uint64_t i = 0; i < CALENDAR; i++)
        emit_free_all(&s->e, 0, &s->due[(frame + i) % CALENDAR]);
    emit_free_all(&s->e, 0, &s->assets);
    if (s->o->scopes >= SCOPES_LEVEL)
        emit_scope_end(&s->e, 0, s->level_scope);
}

static void prepare(struct state *s, uint64_t seed)
{
    const struct frame_options *o = s->o;
    s->count = rng_stream(seed, 0);
    s->fate = rng_stream(seed, 1);
    s->life = rng_stream(seed, 2);
    s->size = rng_stream(seed, 3);
    s->asset = rng_stream(seed, 4);
    s->lives = dist_geometric(o->lifetime, 1, CALENDAR - 1);
    s->asset_sizes = dist_pareto(ASSET_SHAPE, ASSET_MIN, o->asset_max);
    emit_thread_name(&s->e, 0, "main");
    emit_site_name(&s->e, SITE_ASSET, "asset");
    for (unsigned i = 0; i < o->subsystems; i++) {
        uint64_t count = o->objects / o->subsystems + (i < o->objects % o->subsystems);
        s->counts[i] = dist_uniform(count - count / 2, count + count / 2);
        s->sizes[i] = dist_log_uniform(dist_log_point(o->min, o->max, i, o->subsystems + 1),
                                       dist_log_point(o->min, o->max, i + 2, o->subsystems + 1));
        char name[32];
        snprintf(name, sizeof name, "subsystem-%u", i);
        emit_site_name(&s->e, SITE_SYSTEM + i, name);
    }
}

static int frame_emit(const void *options, uint64_t seed, struct trace_writer *out,
                      struct error *err)
{
    const struct frame_options *o = options;
    if (o->min > o->max)
        return error_set(err, "frame: min is greater than max: swap them");
    struct state *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, "frame: no memory for the workload's own state");
    s->o = o;
    s->e = (struct emit){.out = out, .err = err, .step_ns = OP_NS};
    prepare(s, seed);
    run(s);
    for (uint64_t i = 0; i < CALENDAR; i++)
        ids_free(&s->due[i]);
    ids_free(&s->scratch);
    ids_free(&s->frame);
    ids_free(&s->assets);
    int result = s->e.failed ? -1 : 0;
    free(s);
    return result;
}

WORKLOAD(frame) = {
    .name = "frame",
    .summary = "a game loop: frame scopes, survivors into later frames, assets by level",
    .source = "Gregory, Game Engine Architecture, section 6.2 (2018)",
    .options_size = sizeof(struct frame_options),
    .options = frame_rows,
    .emit = frame_emit,
};
