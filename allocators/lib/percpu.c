/*
 * percpu.c - see percpu.h: which way is possible here, blocks, visits, and the way under locks.
 */
#include "allocators/lib/percpu.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "allocators/lib/bits.h"

#ifdef PERCPU_RSEQ
#include <sys/rseq.h>
_Static_assert(offsetof(struct rseq, cpu_id_start) == 0 && offsetof(struct rseq, cpu_id) == 4 &&
                   offsetof(struct rseq, rseq_cs) == 8,
               "the sequences count on it");
_Static_assert(RSEQ_SIG == 0x53053053, "the signature before the abort address");
#endif

/* ---- which way ---- */

/* errno stays as it is: this may be inside a program's free. */
static bool membarrier_do(int command)
{
    int kept = errno;
    bool done = !syscall(SYS_membarrier, command, 0, 0);
    errno = kept;
    return done;
}

static bool fence_register(void)
{
    return membarrier_do(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ);
}

static bool fence(void)
{
    return membarrier_do(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ);
}

/* Where glibc has registered the thread's area; false: nowhere. */
static bool rseq_find(ptrdiff_t *area)
{
#ifdef PERCPU_RSEQ
    *area = __rseq_offset;
    return __rseq_size > 0 && fence_register();
#else
    *area = 0;
    return false;
#endif
}

void percpu_open(struct percpu *p, struct os *os, enum percpu_choice choice,
                 const struct alloc_env *env)
{
    p->os = os;
    p->block_bytes = sizeof(struct percpu_block);
    p->way = PERCPU_BY_LOCKS;
    if (choice == PERCPU_OFF) {
        p->way = PERCPU_BY_NONE;
        p->mode = "no per-cpu magazines";
    } else if (env && env->observed) {
        p->cpu = env->cpu;
        p->ctx = env->ctx;
        p->mode = "per-cpu magazines under locks: cpus are virtual here";
    } else if (choice == PERCPU_LOCKS) {
        p->mode = "per-cpu magazines under locks: as asked for";
    } else if (rseq_find(&p->area)) {
        p->way = PERCPU_BY_RSEQ;
        p->mode = "per-cpu magazines by rseq";
    } else {
        p->mode = "per-cpu magazines under locks: no rseq here";
    }
}

static unsigned cpu_now(const struct percpu *p)
{
    if (p->cpu)
        return p->cpu(p->ctx) % PERCPU_CPUS;
    int kept = errno, cpu = sched_getcpu();
    errno = kept;
    return cpu < 0 ? 0 : (unsigned)cpu % PERCPU_CPUS;
}

/* ---- blocks ---- */

size_t percpu_add(struct percpu *p, size_t capacity)
{
    size_t where = p->block_bytes;
    p->block_bytes += align_up(sizeof(struct magazine) + capacity * sizeof(void *), 16);
    return where;
}

void percpu_close(struct percpu *p)
{
    for (unsigned cpu = 0; cpu < PERCPU_CPUS; cpu++)
        if (p->blocks[cpu])
            os_release(p->os, p->blocks[cpu], p->block_bytes);
}

bool percpu_ready(struct percpu *p)
{
    if (p->way == PERCPU_BY_NONE)
        return false;
    unsigned cpu = cpu_now(p);
    if (atomic_load_explicit(&p->open[cpu], memory_order_acquire))
        return false;
    lock_take(&p->lock);
    if (!p->blocks[cpu])
        p->blocks[cpu] = os_map(p->os, p->block_bytes, 1);
    atomic_store_explicit(&p->open[cpu], p->blocks[cpu], memory_order_release);
    lock_give(&p->lock);
    return p->blocks[cpu];
}

/* ---- visits ---- */

static void blocks_open(struct percpu *p)
{
    for (unsigned cpu = 0; cpu < PERCPU_CPUS; cpu++)
        if (p->blocks[cpu])
            atomic_store_explicit(&p->open[cpu], p->blocks[cpu], memory_order_release);
}

bool percpu_visit(struct percpu *p)
{
    lock_take(&p->lock);
    if (p->way == PERCPU_BY_LOCKS) {
        for (unsigned cpu = 0; cpu < PERCPU_CPUS; cpu++)
            if (p->blocks[cpu])
                lock_take(&p->blocks[cpu]->lock);
    } else if (p->way == PERCPU_BY_RSEQ) {
        for (unsigned cpu = 0; cpu < PERCPU_CPUS; cpu++)
            atomic_store_explicit(&p->open[cpu], NULL, memory_order_relaxed);
        if (!fence()) {
            blocks_open(p);
            lock_give(&p->lock);
            return false;
        }
    }
    return true;
}

void percpu_leave(struct percpu *p)
{
    if (p->way == PERCPU_BY_LOCKS) {
        for (unsigned cpu = 0; cpu < PERCPU_CPUS; cpu++)
            if (p->blocks[cpu])
                lock_give(&p->blocks[cpu]->lock);
    } else {
        blocks_open(p);
    }
    lock_give(&p->lock);
}

void percpu_forked(struct percpu *p)
{
    if (p->way == PERCPU_BY_RSEQ)
        fence_register();
}

/* ---- under locks ---- */

/* The block of the CPU, with its lock taken; NULL = none. */
static struct percpu_block *block_take(struct percpu *p)
{
    if (p->way != PERCPU_BY_LOCKS)
        return NULL;
    struct percpu_block *block = atomic_load_explicit(&p->open[cpu_now(p)], memory_order_acquire);
    if (block)
        lock_take(&block->lock);
    return block;
}

static struct magazine *magazine_at(struct percpu_block *block, size_t where)
{
    return (struct magazine *)(void *)((char *)block + where);
}

void *percpu_locked_pop(struct percpu *p, size_t where)
{
    struct percpu_block *block = block_take(p);
    if (!block)
        return NULL;
    struct magazine *m = magazine_at(block, where);
    void *object = m->count ? m->round[--m->count] : NULL;
    lock_give(&block->lock);
    return object;
}

bool percpu_locked_push(struct percpu *p, size_t where, size_t capacity, void *object)
{
    struct percpu_block *block = block_take(p);
    if (!block)
        return false;
    struct magazine *m = magazine_at(block, where);
    bool room = m->count < capacity;
    if (room)
        m->round[m->count++] = object;
    lock_give(&block->lock);
    return room;
}

/* ---- observation ---- */

struct magazine *percpu_magazine(const struct percpu *p, unsigned cpu, size_t where)
{
    return p->blocks[cpu] ? magazine_at(p->blocks[cpu], where) : NULL;
}

void percpu_walk(const struct percpu *p, walk_fn *fn, void *arg)
{
    struct walk_item item = {.bytes = align_up(p->block_bytes, os_page_bytes()), .kind = WALK_META};
    for (unsigned cpu = 0; cpu < PERCPU_CPUS; cpu++) {
        item.address = (uintptr_t)p->blocks[cpu];
        if (item.address)
            fn(arg, &item);
    }
}
