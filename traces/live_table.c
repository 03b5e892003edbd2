/*
 * live_table.c - see live_table.h. The hash table probes linearly and closes gaps when something is
 * removed, so that it holds live objects alone.
 */
#include "traces/live_table.h"

#include <stdlib.h>

#include "traces/table_grow.h"

#define SPARSE (LIVE_PAGE / 8) /* a page with fewer live objects is given up */

void live_table_free(struct live_table *t)
{
    for (uint64_t i = 0; i < t->held_count; i++)
        free(t->pages[t->held[i]].values);
    for (uint64_t *spare = t->spare, *next; spare; spare = next) {
        next = (uint64_t *)(uintptr_t)spare[0];
        free(spare);
    }
    free(t->held);
    free(t->pages);
    free(t->elders);
    *t = (struct live_table){0};
}

/* Where the key stands, or the free place where it would. */
static struct live_elder *elder_place(const struct live_table *t, uint64_t key)
{
    uint64_t i = live_table_home(t, key);
    while (t->elders[i].key && t->elders[i].key != key)
        i = (i + 1) & (t->elder_room - 1);
    return &t->elders[i];
}

/* Makes room for `more` elders, so that half of all places stay free. */
static bool elders_reserve(struct live_table *t, uint64_t more)
{
    uint64_t room = t->elder_room ? t->elder_room : 64;
    while (room < 2 * (t->elder_count + more))
        room *= 2;
    if (room == t->elder_room)
        return true;
    struct live_table grown = {.elders = calloc(room, sizeof *grown.elders), .elder_room = room};
    if (!grown.elders)
        return false;
    for (uint64_t i = 0; i < t->elder_room; i++)
        if (t->elders[i].key)
            *elder_place(&grown, t->elders[i].key) = t->elders[i];
    free(t->elders);
    t->elders = grown.elders;
    t->elder_room = room;
    return true;
}

uint64_t *live_table_elder(const struct live_table *t, uint64_t id)
{
    if (!t->elder_count)
        return NULL;
    struct live_elder *e = elder_place(t, id + 1);
    return e->key ? &e->value : NULL;
}

/* What stands behind the gap moves into it, unless that would put it before its home. */
void live_table_elder_remove(struct live_table *t, uint64_t *value)
{
    uint64_t mask = t->elder_room - 1;
    uint64_t gap =
        (uint64_t)((struct live_elder *)((char *)value - offsetof(struct live_elder, value)) -
                   t->elders);
    for (uint64_t i = (gap + 1) & mask; t->elders[i].key; i = (i + 1) & mask) {
        uint64_t home = live_table_home(t, t->elders[i].key);
        if (((i - home) & mask) < ((i - gap) & mask))
            continue;
        t->elders[gap] = t->elders[i];
        gap = i;
    }
    t->elders[gap].key = 0;
    t->elder_count--;
}

/* Moves what lives of a page to the hash table; false: no memory, the page stays. */
static bool page_give_up(struct live_table *t, uint64_t number)
{
    struct live_page *page = &t->pages[number];
    if (!elders_reserve(t, page->live))
        return false;
    for (uint64_t i = 0, left = page->live; left; i++) {
        if (!page->values[i])
            continue;
        uint64_t key = (number << LIVE_PAGE_BITS) + i + 1;
        *elder_place(t, key) = (struct live_elder){.key = key, .value = page->values[i]};
        t->elder_count++;
        left--;
    }
    page->values[0] = (uintptr_t)t->spare; /* memory that comes and goes is faulted in anew */
    t->spare = page->values;
    page->values = NULL;
    return true;
}

/* Gives up all sparse pages. */
static void pages_sweep(struct live_table *t)
{
    uint64_t kept = 0;
    for (uint64_t i = 0; i < t->held_count; i++)
        if (t->pages[t->held[i]].live >= SPARSE || !page_give_up(t, t->held[i]))
            t->held[kept++] = t->held[i];
    t->held_count = kept;
    t->sweep_at = 2 * kept + 16;
}

bool live_table_grow(struct live_table *t)
{
    uint64_t number = t->ids >> LIVE_PAGE_BITS;
    if (number && t->held_count >= t->sweep_at)
        pages_sweep(t);
    if (t->held_count && t->held[t->held_count - 1] == number) /* made for an op that was refused */
        return true;
    void *pages =
        number < t->pages_room ? t->pages : table_grow(t->pages, &t->pages_room, sizeof *t->pages);
    t->pages = pages ? pages : t->pages;
    void *held = t->held_count < t->held_room ? t->held
                                              : table_grow(t->held, &t->held_room, sizeof *t->held);
    t->held = held ? held : t->held;
    uint64_t *values = t->spare;
    if (pages && held && !values)
        values = malloc(LIVE_PAGE * sizeof *values);
    if (!pages || !held || !values)
        return false;
    if (t->spare)
        t->spare = (uint64_t *)(uintptr_t)values[0];
    t->pages[number] = (struct live_page){.values = values};
    t->held[t->held_count++] = number;
    return true;
}

static int id_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

uint64_t *live_table_ids(const struct live_table *t)
{
    uint64_t *ids = malloc((t->live + 1) * sizeof *ids), count = 0;
    if (!ids)
        return NULL;
    for (uint64_t i = 0; i < t->elder_room; i++)
        if (t->elders[i].key)
            ids[count++] = t->elders[i].key - 1;
    for (uint64_t i = 0; i < t->held_count; i++) {
        uint64_t id = t->held[i] << LIVE_PAGE_BITS;
        const uint64_t *value = t->pages[t->held[i]].values;
        for (uint64_t left = LIVE_PAGE; left-- && id < t->ids; id++, value++)
            if (*value)
                ids[count++] = id;
    }
    qsort(ids, count, sizeof *ids, id_order);
    return ids;
}
