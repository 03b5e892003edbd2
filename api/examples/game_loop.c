/*
 * game_loop.c - a game's frames: what a frame needs, it allocates from a scope of its own, and
 * leaving the scope at the frame's end frees all of it at once. The world outlives the frames and
 * is in the heap itself.
 *
 * Shows: committed memory is the same after every frame, and what a frame costs beside malloc and
 * free of the same objects.
 *
 *     cc game_loop.c $(pkg-config --cflags --libs alloclab) && ./a.out
 */
#include <alloclab.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ENTITIES = 500, FRAMES = 400, VISIBLE = 3000 };

struct entity {
    float x, y, dx, dy;
};

struct draw_call { /* lives for a frame */
    struct draw_call *next;
    const struct entity *entity;
    float depth, vertices[];
};

typedef void *take_fn(void *from, size_t size);

static void *take_from_scope(void *from, size_t size)
{
    return alloclab_alloc(from, size, 0);
}

static void *take_from_malloc(void *from, size_t size)
{
    (void)from;
    return malloc(size);
}

static void fail(const char *what)
{
    fprintf(stderr, "game_loop: %s\n", what);
    exit(1);
}

/* The list of what this frame draws; each call has as many vertices as its distance asks for. */
static struct draw_call *frame_draw(struct entity *world, unsigned frame, take_fn *take, void *from)
{
    struct draw_call *list = NULL;
    for (unsigned i = 0; i < VISIBLE; i++) {
        struct entity *e = &world[(i * 7 + frame) % ENTITIES];
        unsigned vertices = 4 + (i * 31 + frame) % 60;
        struct draw_call *call = take(from, sizeof *call + vertices * sizeof *call->vertices);
        if (!call)
            fail("no memory for a draw call");
        e->x += e->dx;
        e->y += e->dy;
        call->next = list;
        call->entity = e;
        call->depth = e->y;
        for (unsigned v = 0; v < vertices; v++)
            call->vertices[v] = e->x + (float)v;
        list = call;
    }
    return list;
}

static double seconds(void)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double run_with_malloc(struct entity *world)
{
    double begin = seconds();
    for (unsigned frame = 0; frame < FRAMES; frame++) {
        struct draw_call *call = frame_draw(world, frame, take_from_malloc, NULL);
        while (call) {
            struct draw_call *next = call->next;
            free(call);
            call = next;
        }
    }
    return (seconds() - begin) / FRAMES;
}

static double run_with_scopes(struct alloclab_heap *heap, struct entity *world)
{
    size_t most = 0, least = SIZE_MAX;
    double begin = seconds();
    for (unsigned frame = 0; frame < FRAMES; frame++) {
        struct alloclab_heap *scope = alloclab_scope_enter(heap);
        if (!scope)
            fail("no memory for a frame");
        frame_draw(world, frame, take_from_scope, scope);
        alloclab_scope_leave(scope);
        size_t committed = alloclab_usage(heap).committed_bytes;
        most = committed > most ? committed : most;
        least = committed < least ? committed : least;
    }
    double spent = (seconds() - begin) / FRAMES;
    printf("committed after each of %d frames: %zu to %zu KiB\n", FRAMES, least >> 10, most >> 10);
    if (most - least > most / 4) /* the first frames may need a chunk less */
        fail("memory grew from frame to frame");
    return spent;
}

int main(void)
{
    char why[200];
    struct alloclab_heap *heap = alloclab_open("arena:first=256k", NULL, why, sizeof why);
    if (!heap)
        fail(why);
    struct entity *world = alloclab_calloc(heap, ENTITIES, sizeof *world);
    if (!world)
        fail("no memory for the world");
    for (unsigned i = 0; i < ENTITIES; i++)
        world[i] = (struct entity){(float)i, (float)i / 2, 0.25f, -0.125f};
    double scoped = run_with_scopes(heap, world), plain = run_with_malloc(world);
    printf("a frame of %d draw calls: %.0f us from a scope, %.0f us from malloc and free\n",
           VISIBLE, scoped * 1e6, plain * 1e6);
    alloclab_destroy(heap);
    return 0;
}
