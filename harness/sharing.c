/*
 * sharing.c - the table of cache lines at the ends of objects. See sharing.h.
 */
#include "harness/sharing.h"

#include <string.h>
#include <sys/mman.h>

#define THREAD_BITS     24
#define ENTRIES_FOR_ONE 4 /* of an object: two lines, for each the thread's entry and the line's */

/* A power of two at least twice as large as what can be in it. */
bool sharing_open(struct sharing *sharing, uint64_t objects)
{
    size_t entries = 64;
    while (entries < 2 * ENTRIES_FOR_ONE * objects)
        entries *= 2;
    size_t bytes = entries * sizeof *sharing->entries;
    void *table = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    *sharing = (struct sharing){.mask = entries - 1, .bytes = bytes};
    if (table == MAP_FAILED)
        return false;
    sharing->entries = table;
    return true;
}

void sharing_clear(struct sharing *sharing)
{
    memset(sharing->entries, 0, sharing->bytes);
    sharing->used = sharing->shared = 0;
}

void sharing_close(struct sharing *sharing)
{
    if (sharing->entries)
        munmap(sharing->entries, sharing->bytes);
    sharing->entries = NULL;
}

static size_t home_of(const struct sharing *sharing, uint64_t key)
{
    return (size_t)(key * UINT64_C(0x9E3779B97F4A7C15) >> 20) & sharing->mask;
}

/* Where the key is, or the empty place where it belongs. */
static struct sharing_entry *entry_find(struct sharing *sharing, uint64_t key)
{
    size_t i = home_of(sharing, key);
    while (sharing->entries[i].key && sharing->entries[i].key != key)
        i = (i + 1) & sharing->mask;
    return &sharing->entries[i];
}

/* Empties an entry and moves up those behind it that a search would no longer find. */
static void entry_remove(struct sharing *sharing, struct sharing_entry *entry)
{
    size_t hole = (size_t)(entry - sharing->entries);
    for (size_t i = hole;;) {
        i = (i + 1) & sharing->mask;
        struct sharing_entry *next = &sharing->entries[i];
        if (!next->key)
            break;
        size_t away = (i - home_of(sharing, next->key)) & sharing->mask;
        if (away < ((i - hole) & sharing->mask)) /* its home lies after the hole */
            continue;
        sharing->entries[hole] = *next;
        hole = i;
    }
    sharing->entries[hole] = (struct sharing_entry){0};
}

/* The number that the entry of this key counts, one up; what it is then. */
static uint64_t entry_up(struct sharing *sharing, uint64_t key)
{
    struct sharing_entry *entry = entry_find(sharing, key);
    entry->key = key;
    return ++entry->count;
}

static uint64_t entry_down(struct sharing *sharing, uint64_t key)
{
    struct sharing_entry *entry = entry_find(sharing, key);
    uint64_t left = --entry->count;
    if (!left)
        entry_remove(sharing, entry);
    return left;
}

static void end_add(struct sharing *sharing, uintptr_t line, uint32_t thread)
{
    uint64_t key = (uint64_t)line << THREAD_BITS;
    if (entry_up(sharing, key | (thread + 1)) > 1)
        return;
    uint64_t threads = entry_up(sharing, key);
    sharing->used += threads == 1;
    sharing->shared += threads == 2;
}

static void end_remove(struct sharing *sharing, uintptr_t line, uint32_t thread)
{
    uint64_t key = (uint64_t)line << THREAD_BITS;
    if (entry_down(sharing, key | (thread + 1)))
        return;
    uint64_t threads = entry_down(sharing, key);
    sharing->used -= threads == 0;
    sharing->shared -= threads == 1;
}

/* Lines between the first and the last are the object's alone. */
void sharing_add(struct sharing *sharing, uintptr_t address, size_t size, uint32_t thread)
{
    uintptr_t first = address / LINE_BYTES, last = (address + size - 1) / LINE_BYTES;
    end_add(sharing, first, thread);
    if (last == first)
        return;
    end_add(sharing, last, thread);
    sharing->used += last - first - 1;
}

void sharing_remove(struct sharing *sharing, uintptr_t address, size_t size, uint32_t thread)
{
    uintptr_t first = address / LINE_BYTES, last = (address + size - 1) / LINE_BYTES;
    end_remove(sharing, first, thread);
    if (last == first)
        return;
    end_remove(sharing, last, thread);
    sharing->used -= last - first - 1;
}
