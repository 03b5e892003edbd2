/*
 * object_cache.c - a server's connections: each needs a lock, two buffers and a table that are set
 * up once. A cache keeps them set up while no client uses them.
 *
 * Shows: how many connections were constructed for how many uses, and what a use costs beside
 * setting each connection up anew.
 *
 *     cc object_cache.c $(pkg-config --cflags --libs alloclab) && ./a.out
 */
#include <alloclab.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { USES = 200000, OPEN = 50, BUFFER = 2048, SLOTS = 64 };

struct connection {
    pthread_mutex_t lock;
    char *in, *out;
    struct slot {
        struct slot *next;
        unsigned key;
    } slots[SLOTS], *free_slots;
    unsigned requests;
};

static unsigned constructed;

static void connection_construct(void *object, void *arg)
{
    struct connection *c = object;
    (void)arg;
    pthread_mutex_init(&c->lock, NULL);
    c->in = calloc(1, BUFFER);
    c->out = calloc(1, BUFFER);
    c->free_slots = NULL;
    for (unsigned i = 0; i < SLOTS; i++) {
        c->slots[i] = (struct slot){c->free_slots, i};
        c->free_slots = &c->slots[i];
    }
    c->requests = 0;
    constructed++;
}

static void connection_destruct(void *object, void *arg)
{
    struct connection *c = object;
    (void)arg;
    pthread_mutex_destroy(&c->lock);
    free(c->in);
    free(c->out);
}

static void fail(void)
{
    perror("object_cache");
    exit(1);
}

/* A constructor cannot fail, so who takes a connection looks. It is left as it was found. */
static void connection_use(struct connection *c)
{
    if (!c->in || !c->out)
        fail();
    pthread_mutex_lock(&c->lock);
    struct slot *slot = c->free_slots;
    c->free_slots = slot->next;
    memcpy(c->in, "request", 8);
    memcpy(c->out, c->in, 8);
    slot->next = c->free_slots;
    c->free_slots = slot;
    c->requests++;
    pthread_mutex_unlock(&c->lock);
}

static double seconds(void)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(void)
{
    struct alloclab_cache *cache =
        alloclab_cache_create("connections", sizeof(struct connection), 0, connection_construct,
                              connection_destruct, NULL, NULL);
    if (!cache)
        fail();
    struct connection *open[OPEN] = {NULL};
    double begin = seconds();
    for (unsigned use = 0; use < USES; use++) {
        struct connection **place = &open[use * 7 % OPEN];
        alloclab_cache_put(cache, *place);
        *place = alloclab_cache_get(cache);
        if (!*place)
            fail();
        connection_use(*place);
    }
    double cached = (seconds() - begin) / USES;
    unsigned first = constructed;
    for (unsigned i = 0; i < OPEN; i++)
        alloclab_cache_put(cache, open[i]);
    begin = seconds();
    for (unsigned use = 0; use < USES; use++) {
        struct connection *c = malloc(sizeof *c);
        if (!c)
            fail();
        connection_construct(c, NULL);
        connection_use(c);
        connection_destruct(c, NULL);
        free(c);
    }
    double anew = (seconds() - begin) / USES;
    printf("%d uses of %d connections at once: %u constructed\n", USES, OPEN, first);
    printf("a use: %.0f ns from the cache, %.0f ns set up anew\n", cached * 1e9, anew * 1e9);
    return alloclab_cache_destroy(cache) != 0;
}
