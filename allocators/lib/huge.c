/*
 * huge.c - see huge.h.
 */
#include "allocators/lib/huge.h"

#include "allocators/lib/pages.h"

static struct span *run_of(struct list *link)
{
    return LIST_ENTRY(link, struct span, link);
}

void huge_open(struct huge_index *index)
{
    for (unsigned i = 0; i < HUGE_UNITS; i++)
        list_init(&index->places[i]);
}

void huge_page_open(struct huge_page *huge)
{
    list_init(&huge->link);
    list_init(&huge->runs);
}

static uint32_t runs_longest(const struct huge_page *huge)
{
    uint32_t longest = 0;
    for (struct list *l = huge->runs.next; l != &huge->runs; l = l->next)
        longest = run_of(l)->units > longest ? run_of(l)->units : longest;
    return longest;
}

/* Into the place of its longest run. */
static void huge_place(struct huge_index *index, struct huge_page *huge, uint32_t longest)
{
    uint32_t old = huge->longest;
    if (longest == old)
        return;
    list_remove(&huge->link);
    list_init(&huge->link);
    if (list_empty(&index->places[old]))
        index->bits[old / 64] &= ~(UINT64_C(1) << (old % 64));
    if (longest) {
        list_insert_after(&index->places[longest], &huge->link);
        index->bits[longest / 64] |= UINT64_C(1) << (longest % 64);
    }
    huge->longest = longest;
}

void huge_insert(struct huge_index *index, struct huge_page *huge, struct span *run)
{
    list_insert_after(&huge->runs, &run->link);
    huge->free += run->units;
    huge_place(index, huge, run->units > huge->longest ? run->units : huge->longest);
}

void huge_remove(struct huge_index *index, struct huge_page *huge, struct span *run)
{
    list_remove(&run->link);
    huge->free -= run->units;
    if (run->units == huge->longest)
        huge_place(index, huge, runs_longest(huge));
}

struct span *huge_find(const struct huge_index *index, size_t units)
{
    if (units >= HUGE_UNITS)
        return NULL;
    size_t word = units / 64;
    uint64_t bits = index->bits[word] & ~UINT64_C(0) << (units % 64);
    while (!bits && ++word < HUGE_UNITS / 64)
        bits = index->bits[word];
    if (!bits)
        return NULL;
    const struct list *place = &index->places[word * 64 + (unsigned)__builtin_ctzll(bits)];
    const struct list *link = place->next;
    const struct huge_page *fullest = LIST_ENTRY(link, const struct huge_page, link);
    for (unsigned looks = 0; link != place && looks < HUGE_LOOK; link = link->next, looks++) {
        const struct huge_page *huge = LIST_ENTRY(link, const struct huge_page, link);
        if (huge->free < fullest->free)
            fullest = huge;
    }
    struct span *best = NULL;
    for (struct list *l = fullest->runs.next; l != &fullest->runs; l = l->next)
        if (run_of(l)->units >= units && (!best || run_of(l)->units < best->units))
            best = run_of(l);
    return best;
}

const char *huge_check(const struct huge_index *index, const struct huge_page *huge)
{
    uint32_t free = 0;
    for (struct list *l = huge->runs.next; l != &huge->runs; l = l->next)
        free += run_of(l)->units;
    if (free != huge->free || runs_longest(huge) != huge->longest || free >= HUGE_UNITS)
        return "huge pages: the free runs of one do not sum up";
    if (list_empty(&huge->link) != !free)
        return "huge pages: one is not in its place";
    if (free && !(index->bits[huge->longest / 64] >> (huge->longest % 64) & 1))
        return "huge pages: a place's bit is wrong";
    return NULL;
}
