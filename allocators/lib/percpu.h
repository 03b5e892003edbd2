/*
 * percpu.h - magazines of free objects, one for each CPU and each cache: a thread takes from and
 * gives to the magazine of the CPU it runs on, so that threads on different CPUs share nothing,
 * and however many threads there are, there is no more in magazines than the CPUs hold.
 *
 *     open[cpu] -> block of the CPU    | lock | magazine of cache 0 | magazine of cache 1 | ..
 *                  (made when first      magazine: count | round 0 | round 1 | .. | capacity
 *                  needed; NULL: closed)
 *
 * By restartable sequences (rseq, Linux 4.18, registered by glibc 2.35 for every thread; x86-64
 * here). A sequence is a few instructions between two marks that end with one store, the commit.
 * When the thread is preempted, moved to another CPU or sent a signal between the marks, the kernel
 * sends it to an abort address, and it begins anew. So within a sequence nobody else runs on this
 * CPU, and no atomic instruction, lock or fence is needed:
 *
 *     pop                                      push
 *     rseq_cs = this sequence                  rseq_cs = this sequence
 *     still on the CPU that was read?          still on the CPU that was read?
 *     block = open[cpu]; NULL: fail            block = open[cpu]; NULL: fail
 *     count is 0: fail                         count is the capacity: fail
 *     result = round[count - 1]                round[count] = object
 *     count = count - 1         (commit)       count = count + 1         (commit)
 *
 * Why it is right. (1) Before its commit a sequence changes nothing that another looks at: `result`
 * is the thread's own, and round[count] lies above the count. (2) A commit is one aligned store,
 * done or not done. (3) Between its read of `count` and its commit no other sequence of the CPU
 * ran, or this one was aborted: sequences of a CPU follow one another. (4) Two threads on one CPU
 * are ordered by the switch between them, which is a full fence of the kernel; so who pops an
 * object sees all that its giver wrote. (5) A fork copies a magazine before or after a commit,
 * never between, so the child's is whole.
 *
 * A visitor (tick, trim, fork) works on the magazines of all CPUs, its own included:
 *
 *     open[*] = NULL; membarrier(PRIVATE_EXPEDITED_RSEQ); ... works ...; open[*] = block
 *
 * The membarrier makes every running thread of the process execute a full fence and restarts the
 * sequence it is in. (6) A sequence that read its open[cpu] before the fence has either committed,
 * and the fence shows the visitor its stores, or is aborted before it can: running threads by the
 * fence, threads that do not run by the preemption that stopped them. One that reads open[cpu]
 * after the fence finds NULL. So after the fence no commit happens until the visitor opens again,
 * with a release store of the pointer; on x86-64 every load acquires. Whoever finds a CPU closed
 * does not wait here: the caller goes to percpu_ready(), which takes the visitors' lock.
 *
 * Under locks (no rseq registered, another architecture, valgrind, ThreadSanitizer, a kernel before
 * 5.10 without that membarrier, or as the option says): the same blocks, each guarded by its lock,
 * which a visitor takes. The CPU is env->cpu() where runs must repeat, else what the machine says;
 * a thread that is moved between asking and locking finds a CPU's lock contended, nothing worse.
 *
 * A debugger that steps through a sequence aborts it at each step; after TRIES aborts in a row an
 * operation fails as if the magazine could not serve it. So does one on a CPU beyond PERCPU_CPUS.
 *
 * Invariant: no count is above the capacity that the caller gave to percpu_add() and percpu_push().
 */
#ifndef ALLOCLAB_PERCPU_H
#define ALLOCLAB_PERCPU_H

#include <stdatomic.h>

#include "allocators/lib/allocator.h"
#include "allocators/lib/lock.h"
#include "allocators/lib/os.h"

/* ThreadSanitizer sees no accesses in assembly code, so it would miss the order between them. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif
#if defined(__x86_64__) && defined(__has_include) && !defined(__SANITIZE_THREAD__)
#if __has_include(<sys/rseq.h>)
#define PERCPU_RSEQ 1
#endif
#endif

enum { PERCPU_CPUS = 256, PERCPU_TRIES = 64 };

enum percpu_choice { PERCPU_AUTO, PERCPU_LOCKS, PERCPU_OFF };
#define PERCPU_CHOICES "auto|locks|off"

enum percpu_way { PERCPU_BY_RSEQ, PERCPU_BY_LOCKS, PERCPU_BY_NONE };

struct magazine {
    uint64_t count;
    uint64_t seen; /* the visitors': count at the last visit */
    void *round[];
};
_Static_assert(offsetof(struct magazine, round) == 16, "the sequences count on it");

struct percpu_block {
    _Alignas(64) struct lock lock; /* under locks: guards the magazines behind it */
};

struct percpu {
    _Atomic(struct percpu_block *) open[PERCPU_CPUS];
    struct percpu_block *blocks[PERCPU_CPUS]; /* guarded by the lock */
    struct lock lock;                         /* the visitors' */
    enum percpu_way way;
    const char *mode;
    ptrdiff_t area;          /* of the thread's struct rseq, from its thread pointer */
    size_t block_bytes;      /* grows by percpu_add() */
    unsigned (*cpu)(void *); /* NULL: ask the machine */
    void *ctx;
    struct os *os;
};

/* In zeroed memory. `env` NULL, or not observed: the machine's CPUs. */
void percpu_open(struct percpu *p, struct os *os, enum percpu_choice choice,
                 const struct alloc_env *env);
void percpu_close(struct percpu *p);
/* A magazine of so many rounds on each CPU, before the first is used: where in a block it lies. */
size_t percpu_add(struct percpu *p, size_t capacity);

/* Whether a pop or push that failed is worth a second try: the CPU had no block, or was closed, and
 * is so no longer. */
bool percpu_ready(struct percpu *p);

/* Nobody else is in any magazine until percpu_leave(). false = that cannot be had, and nothing was
 * closed. */
bool percpu_visit(struct percpu *p);
void percpu_leave(struct percpu *p);
void percpu_forked(struct percpu *p); /* in the child, while visiting */

/* The CPU's magazine at `where`; NULL = none yet. For visitors and observers. */
struct magazine *percpu_magazine(const struct percpu *p, unsigned cpu, size_t where);
void percpu_walk(const struct percpu *p, walk_fn *fn, void *arg);

void *percpu_locked_pop(struct percpu *p, size_t where);
bool percpu_locked_push(struct percpu *p, size_t where, size_t capacity, void *object);

#ifdef PERCPU_RSEQ

/* offsetof(struct rseq, ..): cpu_id_start, cpu_id, rseq_cs. */
#define SEQUENCE_CPU "%%fs:4(%[area])"
#define SEQUENCE_CS  "%%fs:8(%[area])"

/* The descriptor of the sequence (3), its start (1), and the address of the commit's end (2). */
#define SEQUENCE_BEGIN                                                                             \
    ".pushsection .data.rel.ro.percpu, \"aw\"\n\t"                                                 \
    ".balign 32\n"                                                                                 \
    "3:\t.long 0, 0\n\t"                                                                           \
    ".quad 1f, 2f - 1f, 4f\n\t"                                                                    \
    ".popsection\n\t"                                                                              \
    "leaq 3b(%%rip), %%rax\n\t"                                                                    \
    "movq %%rax, " SEQUENCE_CS "\n"                                                                \
    "1:\tcmpl %[cpu], " SEQUENCE_CPU "\n\t"                                                        \
    "jne %l[moved]\n\t"                                                                            \
    "movq (%[open]), %%rax\n\t"                                                                    \
    "testq %%rax, %%rax\n\t"                                                                       \
    "jz %l[fail]\n\t"                                                                              \
    "addq %[where], %%rax\n\t"                                                                     \
    "movq (%%rax), %%rcx\n\t"

/* Before the abort address stands the signature that glibc registered, as part of an instruction
 * that is never run. */
#define SEQUENCE_END                                                                               \
    "2:\n\t"                                                                                       \
    ".pushsection .text.unlikely, \"ax\", @progbits\n\t"                                           \
    ".byte 0x0f, 0xb9, 0x3d\n\t"                                                                   \
    ".long 0x53053053\n"                                                                           \
    "4:\tjmp %l[moved]\n\t"                                                                        \
    ".popsection\n\t"

enum sequence { SEQUENCE_DONE, SEQUENCE_FAILED, SEQUENCE_MOVED };

static inline uint32_t sequence_cpu(const struct percpu *p)
{
    uint32_t cpu;
    __asm__ volatile("movl %%fs:(%1), %0" : "=r"(cpu) : "r"(p->area));
    return cpu;
}

/* The kernel clears it by itself, but reads what it points to before, which an unloaded library
 * takes away. */
static inline void sequence_clear(const struct percpu *p)
{
    __asm__ volatile("movq $0, " SEQUENCE_CS : : [area] "r"(p->area) : "memory");
}

static inline enum sequence sequence_pop(struct percpu *p, uint32_t cpu, size_t where, void **out)
{
    __asm__ goto(SEQUENCE_BEGIN "testq %%rcx, %%rcx\n\t"
                                "jz %l[fail]\n\t"
                                "movq 8(%%rax, %%rcx, 8), %%rdx\n\t"
                                "movq %%rdx, (%[out])\n\t"
                                "decq %%rcx\n\t"
                                "movq %%rcx, (%%rax)\n" SEQUENCE_END
                 :
                 : [area] "r"(p->area), [cpu] "r"(cpu), [open] "r"(&p->open[cpu]),
                   [where] "r"(where), [out] "r"(out)
                 : "rax", "rcx", "rdx", "memory", "cc"
                 : moved, fail);
    return SEQUENCE_DONE;
moved:
    return SEQUENCE_MOVED;
fail:
    return SEQUENCE_FAILED;
}

static inline enum sequence sequence_push(struct percpu *p, uint32_t cpu, size_t where,
                                          size_t capacity, void *object)
{
    __asm__ goto(SEQUENCE_BEGIN "cmpq %[capacity], %%rcx\n\t"
                                "jae %l[fail]\n\t"
                                "movq %[object], 16(%%rax, %%rcx, 8)\n\t"
                                "incq %%rcx\n\t"
                                "movq %%rcx, (%%rax)\n" SEQUENCE_END
                 :
                 : [area] "r"(p->area), [cpu] "r"(cpu), [open] "r"(&p->open[cpu]),
                   [where] "r"(where), [capacity] "r"(capacity), [object] "r"(object)
                 : "rax", "rcx", "memory", "cc"
                 : moved, fail);
    return SEQUENCE_DONE;
moved:
    return SEQUENCE_MOVED;
fail:
    return SEQUENCE_FAILED;
}

#endif

/* An object, or NULL: there is none, or the magazine is not to be had. */
static inline void *percpu_pop(struct percpu *p, size_t where)
{
#ifdef PERCPU_RSEQ
    if (__builtin_expect(p->way == PERCPU_BY_RSEQ, 1)) {
        void *object = NULL;
        for (unsigned i = 0; i < PERCPU_TRIES; i++) {
            uint32_t cpu = sequence_cpu(p);
            if (cpu >= PERCPU_CPUS)
                break;
            enum sequence end = sequence_pop(p, cpu, where, &object);
            sequence_clear(p);
            if (__builtin_expect(end == SEQUENCE_DONE, 1))
                return object;
            if (end == SEQUENCE_FAILED)
                break;
        }
        return NULL;
    }
#endif
    return percpu_locked_pop(p, where);
}

/* false: the magazine is full, or not to be had. */
static inline bool percpu_push(struct percpu *p, size_t where, size_t capacity, void *object)
{
#ifdef PERCPU_RSEQ
    if (__builtin_expect(p->way == PERCPU_BY_RSEQ, 1)) {
        for (unsigned i = 0; i < PERCPU_TRIES; i++) {
            uint32_t cpu = sequence_cpu(p);
            if (cpu >= PERCPU_CPUS)
                return false;
            enum sequence end = sequence_push(p, cpu, where, capacity, object);
            sequence_clear(p);
            if (__builtin_expect(end == SEQUENCE_DONE, 1))
                return true;
            if (end == SEQUENCE_FAILED)
                return false;
        }
        return false;
    }
#endif
    return percpu_locked_push(p, where, capacity, object);
}

#endif
