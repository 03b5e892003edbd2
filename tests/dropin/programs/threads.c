/*
 * threads.c - threads that come and go, and leave objects to others: through a table of slots that
 * all of them exchange objects in, and by ending while theirs are live. `threads COUNT` starts so
 * many short ones, four at a time.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/dropin/programs/check.h"

enum { SLOTS = 64, OPS = 300, AT_ONCE = 4 };

struct object {
    size_t bytes; /* of the whole; what follows is filled by it */
    char rest[];
};

static struct object *_Atomic slots[SLOTS];

/* The slot says the size, so that all slots together hold as much at any time: what a heap holds
 * beyond that is its own. */
static struct object *object_new(unsigned slot)
{
    size_t bytes = sizeof(struct object) + (slot ? slot * 8 : 50000);
    struct object *o = malloc(bytes);
    CHECK(o);
    o->bytes = bytes;
    object_fill(o->rest, bytes - sizeof *o);
    return o;
}

static void object_drop(struct object *o)
{
    if (!o)
        return;
    CHECK(object_holds(o->rest, o->bytes - sizeof *o));
    free(o);
}

static void *work(void *arg)
{
    unsigned random = (unsigned)(uintptr_t)arg;
    struct object *left = object_new(random % SLOTS); /* for whoever comes after this thread */
    for (int i = 0; i < OPS; i++) {
        random = random * 1103515245 + 12345;
        unsigned slot = random >> 16 & (SLOTS - 1);
        object_drop(atomic_exchange(&slots[slot], object_new(slot)));
    }
    return left;
}

int main(int argc, char **argv)
{
    unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : 100;
    pthread_t thread[AT_ONCE];
    for (unsigned long n = 0; n < count; n += AT_ONCE) {
        void *left[AT_ONCE];
        for (unsigned long i = 0; i < AT_ONCE; i++)
            CHECK(!pthread_create(&thread[i], NULL, work, (void *)(n + i)));
        for (int i = 0; i < AT_ONCE; i++)
            CHECK(!pthread_join(thread[i], &left[i]));
        for (int i = 0; i < AT_ONCE; i++)
            object_drop(left[i]);
    }
    for (int i = 0; i < SLOTS; i++)
        object_drop(slots[i]);
    puts("ok");
    return 0;
}
