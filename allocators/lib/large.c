/*
 * large.c - see large.h. The table's address space is reserved for LARGE_MAX rows when the first
 * object comes, and committed page by page, so that it grows without moving.
 */
#include "allocators/lib/large.h"

#include <string.h>

#include "allocators/lib/bits.h"
#include "allocators/lib/os.h"

#define LARGE_MAX   ((size_t)1 << 20)
#define TABLE_BYTES (LARGE_MAX * sizeof(struct large))

/* The first row at or above `address`. */
static size_t row_index(const struct large_table *table, uintptr_t address)
{
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (table->rows[middle].address < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool table_has_room(struct large_table *table, struct os *os)
{
    size_t need = (table->count + 1) * sizeof *table->rows;
    if (!table->rows)
        table->rows = os_reserve(os, TABLE_BYTES, sizeof(max_align_t));
    if (!table->rows || table->count == LARGE_MAX)
        return false;
    if (need > table->committed) {
        if (os_commit(os, (char *)table->rows + table->committed, os_page_bytes()))
            return false;
        table->committed += os_page_bytes();
    }
    return true;
}

void *large_alloc(struct large_table *table, struct os *os, size_t size, size_t align)
{
    size_t bytes = align_up(size, os_page_bytes());
    if (!table_has_room(table, os))
        return NULL;
    void *p = os_map(os, bytes, size_max(align, os_page_bytes()));
    if (!p)
        return NULL;
    size_t i = row_index(table, (uintptr_t)p);
    memmove(&table->rows[i + 1], &table->rows[i], (table->count - i) * sizeof *table->rows);
    table->rows[i] = (struct large){.address = (uintptr_t)p, .committed = bytes, .reserved = bytes};
    table->count++;
    return p;
}

struct large *large_find(const struct large_table *table, const void *p)
{
    size_t i = row_index(table, (uintptr_t)p);
    return i < table->count && table->rows[i].address == (uintptr_t)p ? &table->rows[i] : NULL;
}

void large_free(struct large_table *table, struct os *os, struct large *large)
{
    os_release(os, (void *)large->address, large->reserved);
    size_t i = (size_t)(large - table->rows);
    memmove(large, large + 1, (--table->count - i) * sizeof *large);
}

bool large_resize(struct large *large, struct os *os, size_t size)
{
    size_t bytes = align_up(size, os_page_bytes());
    char *start = (char *)large->address;
    if (size > large->reserved)
        return false;
    if (bytes > large->committed &&
        os_commit(os, start + large->committed, bytes - large->committed))
        return false;
    if (bytes < large->committed && os_decommit(os, start + bytes, large->committed - bytes))
        return false;
    large->committed = bytes;
    return true;
}

void large_release(struct large_table *table, struct os *os)
{
    for (size_t i = 0; i < table->count; i++)
        os_release(os, (void *)table->rows[i].address, table->rows[i].reserved);
    if (table->rows)
        os_release(os, table->rows, TABLE_BYTES);
    *table = (struct large_table){0};
}

void large_walk(const struct large_table *table, walk_fn *fn, void *arg)
{
    if (table->committed)
        fn(arg, &(struct walk_item){.address = (uintptr_t)table->rows,
                                    .bytes = table->committed,
                                    .kind = WALK_META});
    for (size_t i = 0; i < table->count; i++)
        fn(arg, &(struct walk_item){.address = table->rows[i].address,
                                    .bytes = table->rows[i].committed,
                                    .kind = WALK_LIVE,
                                    .class_bytes = table->rows[i].committed});
}

const char *large_check(const struct large_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct large *row = &table->rows[i];
        if (!row->committed || row->committed > row->reserved)
            return "large: an object's size is not possible";
        if (i && row[-1].address + row[-1].reserved > row->address)
            return "large: objects are not sorted, or overlap";
    }
    return NULL;
}
