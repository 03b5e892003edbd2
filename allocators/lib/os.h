/*
 * os.h - the door: the only way from an allocator to the kernel's memory. It counts by
 * construction.
 *
 * A reservation is a range of addresses; committing makes pages of it usable; decommitting gives
 * the pages' contents back to the kernel; releasing ends the whole reservation. The door keeps one
 * bit a page, so that `committed` is exact even if a caller commits a page twice.
 *
 * Two modes, one set of counts. Observing: reservations are PROT_NONE at a fixed base, lowest gap
 * first, and commit is an mprotect, so that a design that uses a page it has not committed dies at
 * once, and addresses repeat from run to run. Timed: pages are mapped readable and writable by the
 * reservation, wherever the kernel likes, and commit only counts.
 *
 * All sizes are bytes, rounded up to whole pages. Fresh pages, and pages committed again after a
 * decommit, read as zero. All functions may be called from several threads at once. Cost: a lock, a
 * search over the reservations (O(log n); O(n) to reserve in observing mode), at most one system
 * call.
 *
 * Errors: NULL or -errno when memory is short; a call that breaks the rules above (a range that is
 * not inside one reservation, a release of a part) ends in misuse_abort().
 */
#ifndef ALLOCLAB_OS_H
#define ALLOCLAB_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct os;

struct os_config {
    bool observe;              /* observing mode, see above */
    uintptr_t base;            /* where an observing door starts; 0 = the usual place */
    size_t commit_limit_bytes; /* commits beyond this fail with -ENOMEM; 0 = no limit */
};

struct os_counts {
    size_t reserved_bytes, committed_bytes;           /* now */
    size_t peak_reserved_bytes, peak_committed_bytes; /* highest so far */
    uint64_t calls_count;                             /* door calls of any kind */
};

struct os *os_open(const struct os_config *config); /* NULL: errno says why */
void os_close(struct os *os);                       /* also unmaps what was never released */
struct os_counts os_counts(struct os *os);
size_t os_page_bytes(void);

/* `align` is a power of two; the result is aligned to at least a page. NULL = no address space. */
void *os_reserve(struct os *os, size_t bytes, size_t align);
int os_commit(struct os *os, void *p, size_t bytes);   /* 0, or -ENOMEM and nothing has changed */
int os_decommit(struct os *os, void *p, size_t bytes); /* 0 or -errno */
void os_release(struct os *os, void *p, size_t bytes); /* p and bytes as reserved */

/* Reserves and commits all; NULL = no memory. */
void *os_map(struct os *os, size_t bytes, size_t align);

/* Around fork(2), by the thread that forks: nobody else is inside the door in between. */
void os_fork_before(struct os *os);
void os_fork_after(struct os *os); /* in the parent and in the child */

#endif
