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
 * decommit, read as zero. All functions may be called from several threads at once, on ranges that
 * do not overlap. Cost: a lock, a search over the reservations (O(log n); O(n) to reserve in
 * observing mode), at most one system call, which timed doors make outside the lock where it is
 * one of reserve, decommit or release. Nothing here calls malloc, and errno stays as it was.
 *
 * Errors: NULL or -errno when memory is short; a call that breaks the rules above (a range that is
 * not inside one reservation, a release of a part) ends in misuse_abort(). docs/memory-os.md says
 * what each call is to the kernel.
 */
#ifndef ALLOCLAB_OS_H
#define ALLOCLAB_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OS_HUGE_BYTES ((size_t)2 << 20) /* a huge page, transparent or explicit */

struct os;

enum os_thp { OS_THP_DEFAULT, OS_THP_ON, OS_THP_OFF };
enum os_numa { OS_NUMA_DEFAULT, OS_NUMA_INTERLEAVE, OS_NUMA_BIND };

/*
 * What follows commit_limit_bytes holds for every reservation of the door, whatever the design
 * asks for. os_options (os_policy.h) are the rows that read it from text.
 */
struct os_config {
    bool observe;                /* observing mode, see above */
    uintptr_t base;              /* where an observing door starts; 0 = the usual place */
    uint64_t commit_limit_bytes; /* commits beyond this fail with -ENOMEM; 0 = no limit */
    unsigned thp;                /* enum os_thp: advice about transparent huge pages */
    unsigned numa;               /* enum os_numa: where pages come from */
    uint64_t node;               /* of OS_NUMA_BIND */
    unsigned hugetlb;            /* 1: every reservation is one of explicit huge pages */
    void *pool;        /* a timed door on memory that is its caller's: see below; else NULL */
    size_t pool_bytes; /* whole pages */
};

/*
 * A door on a pool places its reservations in a range that the caller has mapped for it, readable,
 * writable and zero, lowest gap first: the same calls give the same addresses. When it closes it
 * clears what was committed and leaves the pages where they are, so that the next door on the pool
 * finds it zero, and causes no page fault where this one was. That is how a heap is made again in
 * the state that it once had: without destroy(), which would give the pages back. Such a door has
 * no explicit huge pages.
 */

enum os_call { /* the door's calls by kind; os_map is a reserve */
               OS_RESERVE,
               OS_COMMIT,
               OS_DECOMMIT,
               OS_LAZY,
               OS_GUARD,
               OS_HUGE,
               OS_PLACE,
               OS_RELEASE,
               OS_CALLS
};

struct os_counts {
    size_t reserved_bytes, committed_bytes;           /* now */
    size_t peak_reserved_bytes, peak_committed_bytes; /* highest so far */
    size_t lazy_bytes, peak_lazy_bytes; /* returned lazily and not yet committed or returned */
    size_t guard_bytes;                 /* inaccessible now, by os_guard */
    uint64_t calls_count;               /* door calls of any kind */
    uint64_t calls[OS_CALLS];           /* by enum os_call */
};

struct os *os_open(const struct os_config *config); /* NULL: errno says why */
void os_close(struct os *os);                       /* also unmaps what was never released */
struct os_counts os_counts(struct os *os);
size_t os_page_bytes(void);

/* Why the door last refused a reservation, a placement or a commit, in words; "" = it never did.
 * The text stays until the next refusal. */
const char *os_refusal(const struct os *os);

/* `align` is a power of two; the result is aligned to at least a page. NULL = no address space. */
void *os_reserve(struct os *os, size_t bytes, size_t align);

/* As much of `bytes` as there is: where a process may not have so many addresses (a limit, valgrind)
 * half of it, and so on, but not less than `least`. `bytes` becomes what it is. `align` 0: that. */
static inline void *os_reserve_most(struct os *os, size_t *bytes, size_t align, size_t least)
{
    void *p = os_reserve(os, *bytes, align ? align : *bytes);
    while (!p && *bytes / 2 >= least) {
        *bytes = *bytes / 2 / os_page_bytes() * os_page_bytes();
        p = os_reserve(os, *bytes, align ? align : *bytes);
    }
    return p;
}
int os_commit(struct os *os, void *p, size_t bytes);   /* 0, or -ENOMEM and nothing has changed */
int os_decommit(struct os *os, void *p, size_t bytes); /* 0 or -errno */
void os_release(struct os *os, void *p, size_t bytes); /* p and bytes as reserved */

/* Reserves and commits all; NULL = no memory. */
void *os_map(struct os *os, size_t bytes, size_t align);

/*
 * Decommits without hurry: `committed` falls at once, but the kernel takes the pages only when it
 * wants them (MADV_FREE), so that committing them again soon costs no fault. What they hold then is
 * undefined, and NOT zero, until each is written. An observing door keeps the old contents, as
 * inaccessible as after a decommit. A decommit of such pages returns them for good. 0 or -errno.
 */
int os_decommit_lazy(struct os *os, void *p, size_t bytes);

/*
 * Guard pages: uncommitted ones become inaccessible in timed mode as well, until they are committed
 * (lazily returned ones are returned for good). Committed ones in the range are a misuse. 0 or
 * -errno (-ENOMEM: the process has too many mappings).
 */
int os_guard(struct os *os, void *p, size_t bytes);

/* Advice about transparent huge pages in a part of a reservation. 0 or -errno (-EINVAL: the kernel
 * has none). */
int os_huge(struct os *os, void *p, size_t bytes, bool on);

/*
 * A reservation of explicit huge pages (hugetlb), rounded up to whole ones, which are the door's
 * from here to the release: so nothing can be short later. Commit and decommit work as ever and
 * count by the small page; a decommit clears what was committed and gives nothing back. Observing
 * doors and guards protect by the huge page. NULL: os_refusal() says what the machine lacks.
 */
void *os_reserve_hugetlb(struct os *os, size_t bytes, size_t align);

/* Where pages of the range come from when first touched: the node of the thread that does
 * (DEFAULT), all nodes in turn, or one. 0 or -errno, and os_refusal(). On a machine of one node it
 * has no effect. */
int os_place(struct os *os, void *p, size_t bytes, enum os_numa where, unsigned node);

/* How much of what is committed could be huge pages: bytes in ranges of OS_HUGE_BYTES, so aligned,
 * that are committed wholly; and all. O(committed). */
struct os_coverage {
    size_t huge_bytes, committed_bytes;
};
struct os_coverage os_coverage(struct os *os);

/* Around fork(2), by the thread that forks: nobody else is inside the door in between. */
void os_fork_before(struct os *os);
void os_fork_after(struct os *os); /* in the parent and in the child */

#endif
