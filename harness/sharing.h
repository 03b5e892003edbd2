/*
 * sharing.h - which cache lines hold live objects of two or more threads: false sharing, counted from
 * addresses alone, without a processor's counters.
 *
 * An object belongs to the thread that asked for it. A line that lies within one object is that
 * object's; only the lines of its two ends can hold others too. For these there is a table of (line,
 * thread) with the number of the thread's objects on the line, and of (line, nobody) with the number
 * of its threads: a few lookups for each op, so that the count is exact after every op. The table
 * has its full size from the start, since the process's resident memory is being watched.
 */
#ifndef ALLOCLAB_SHARING_H
#define ALLOCLAB_SHARING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINE_BYTES ((uintptr_t)64)

struct sharing_entry {
    uint64_t key;   /* line number << 24 | thread + 1, or 0 in place of it; all 0 = no entry */
    uint64_t count; /* of the thread's objects there; of the line's threads */
};

struct sharing {
    struct sharing_entry *entries; /* open addressing, linear probing */
    size_t mask, bytes;
    uint64_t used, shared; /* lines with live bytes; of these, with those of several threads */
};

/* Room for so many live objects at once. False: no memory. */
bool sharing_open(struct sharing *sharing, uint64_t objects);
void sharing_clear(struct sharing *sharing);
void sharing_close(struct sharing *sharing);

/* The bytes [address, address + size) become live, or are no longer, as thread's. Each object that
   is removed was added so. */
void sharing_add(struct sharing *sharing, uintptr_t address, size_t size, uint32_t thread);
void sharing_remove(struct sharing *sharing, uintptr_t address, size_t size, uint32_t thread);

#endif
