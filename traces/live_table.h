/*
 * live_table.h - a number for each live object, by its id, in memory that follows the live set and
 * not the length of the trace.
 *
 * Ids are given in order, and most objects die young. So the numbers stand in pages of LIVE_PAGE
 * ids, found by a directory, and a page in which few objects still live is given up: those few move
 * to a hash table, where an object that is there stays until it dies. Each object moves at most
 * once, and pages are looked through when they have doubled since the last time, so all is O(1)
 * amortised. Memory: at most about 160 bytes for each object that is live at once, in practice 20
 * to 40, and 16 bytes for every 4096 ids that were ever given.
 */
#ifndef ALLOCLAB_LIVE_TABLE_H
#define ALLOCLAB_LIVE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIVE_PAGE_BITS 12
#define LIVE_PAGE      (UINT64_C(1) << LIVE_PAGE_BITS)

struct live_page {    /* of the directory */
    uint64_t *values; /* NULL: whatever lives of it is in the hash table */
    uint64_t live;
};

struct live_elder {
    uint64_t key; /* id + 1; 0 = the place is free */
    uint64_t value;
};

struct live_table { /* zeroed memory is an empty one */
    struct live_page *pages;
    uint64_t ids; /* given so far */
    size_t pages_room;
    uint64_t *held; /* the pages with values, rising */
    size_t held_count, held_room;
    uint64_t
        *spare; /* values of pages that were given up, each with the next one's address in front */
    uint64_t sweep_at; /* look for pages to give up when so many are held */
    struct live_elder *elders;
    uint64_t elder_count, elder_room; /* room: 0 or a power of two */
    uint64_t live;
};

void live_table_free(struct live_table *t);

/* Makes room for one more id; false: no memory, and nothing has changed. */
__attribute__((noinline)) bool live_table_grow(struct live_table *t);

static inline bool live_table_room(struct live_table *t)
{
    return t->ids & (LIVE_PAGE - 1) || live_table_grow(t);
}

/* Gives the next id to `value`, which is not 0. Room has been made. */
static inline uint64_t live_table_add(struct live_table *t, uint64_t value)
{
    struct live_page *page = &t->pages[t->ids >> LIVE_PAGE_BITS];
    page->values[t->ids & (LIVE_PAGE - 1)] = value;
    page->live++;
    t->live++;
    return t->ids++;
}

/* Where the value of an id stands until the table is next changed; NULL: it was never given, or is
 * not live any more. */
uint64_t *live_table_elder(const struct live_table *t, uint64_t id);

static inline uint64_t *live_table_find(const struct live_table *t, uint64_t id)
{
    if (id >= t->ids)
        return NULL;
    uint64_t *values = t->pages[id >> LIVE_PAGE_BITS].values;
    if (__builtin_expect(!values, 0))
        return live_table_elder(t, id);
    uint64_t *value = &values[id & (LIVE_PAGE - 1)];
    return *value ? value : NULL;
}

static inline uint64_t live_table_home(const struct live_table *t, uint64_t key)
{
    uint64_t mixed = key * UINT64_C(0x9e3779b97f4a7c15);
    return (mixed ^ mixed >> 32) & (t->elder_room - 1);
}

/* Asks for the memory that live_table_find() will look at. */
static inline void live_table_prefetch(const struct live_table *t, uint64_t id)
{
    if (id >= t->ids)
        return;
    const uint64_t *values = t->pages[id >> LIVE_PAGE_BITS].values;
    if (__builtin_expect(values != NULL, 1))
        __builtin_prefetch(&values[id & (LIVE_PAGE - 1)], 1);
    else if (t->elder_room)
        __builtin_prefetch(&t->elders[live_table_home(t, id + 1)], 1);
}

void live_table_elder_remove(struct live_table *t, uint64_t *value);

/* The object of a value that was found dies. */
static inline void live_table_remove(struct live_table *t, uint64_t id, uint64_t *value)
{
    struct live_page *page = &t->pages[id >> LIVE_PAGE_BITS];
    page->live--;
    t->live--;
    if (__builtin_expect(page->values != NULL, 1))
        *value = 0;
    else
        live_table_elder_remove(t, value);
}

/* The ids of all live objects, rising, `t->live` of them, for free(); NULL if there is no memory. */
uint64_t *live_table_ids(const struct live_table *t);

#endif
