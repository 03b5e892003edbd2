/*
 * os.c - the door. Every reservation is a node with one bit a page; the nodes hang in a splay tree
 * by address (the reservation used last is at the root, which is the usual case) and in a list in
 * address order (where the gaps are found). What the door keeps for itself is mapped from the
 * kernel directly, never taken from malloc, which may be the heap under test, and is not counted.
 *
 * A page that the design commits twice is counted once; a decommit drops the pages in both modes,
 * so that the kernel's own figures (resident memory, faults) agree between them. Two more bits a
 * page, made when first needed, say what was returned lazily and what is guarded; no page has two.
 *
 * Threads. One mutex guards all. A timed door leaves it for mmap, munmap and madvise: the caller
 * owns the range, so that no one else reads or changes its bits meanwhile, and the node stays; the
 * bits change after the kernel has done its part, and before a release does, so that the counts are
 * exact whenever the lock is free. `outside` counts those who have left: fork waits for them.
 */
#include "allocators/lib/os.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "allocators/lib/bitmap.h"
#include "allocators/lib/bits.h"
#include "allocators/lib/list.h"
#include "allocators/lib/misuse.h"
#include "allocators/lib/os_policy.h"

#if defined(__has_feature)
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif

/*
 * Where observing doors start, and how far a door moves when something that is not the door's lies
 * there. Low enough for the smallest user address space of the platform, and outside of the
 * sanitizers' shadow memory.
 */
#if defined(__SANITIZE_THREAD__) || HAS_FEATURE(thread_sanitizer) || defined(__riscv)
#define OBSERVE_BASE   ((uintptr_t)1 << 36)
#define OBSERVE_STRIDE ((uintptr_t)1 << 36)
#define OBSERVE_END    ((uintptr_t)1 << 38)
#else
#define OBSERVE_BASE   ((uintptr_t)1 << 45)
#define OBSERVE_STRIDE ((uintptr_t)1 << 40)
#define OBSERVE_END    ((uintptr_t)1 << 46)
#endif

#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB (21 << 26) /* log2 of the page's size, above the other flags */
#endif

enum {
    META_CLASSES = 64,       /* power-of-two pieces of the door's own memory */
    META_BLOCK = 256 * 1024, /* cut from blocks of this size; larger pieces are mapped alone */
    META_PIECE_MIN = 16,
    META_PIECE_MAX = META_BLOCK / 4,
};

struct reservation {
    uintptr_t start, end;
    struct reservation *left, *right; /* splay tree by start */
    struct list order;                /* neighbours by start */
    uint64_t *bitmap;                 /* a page's bit is set while it is committed */
    uint64_t *lazy, *guard;           /* likewise: returned lazily, guarded; NULL = none ever was */
    bool hugetlb;
};

struct range { /* whole pages inside a reservation */
    uintptr_t start;
    size_t bytes;
};

struct piece { /* a free piece of the door's own memory, or the head of a block */
    struct piece *next;
};

struct os {
    pthread_mutex_t lock;
    struct os_config config;
    uintptr_t base; /* of what an observing door places */
    size_t page;
    unsigned outside; /* threads that are in the kernel without the lock */
    bool closing;
    struct os_counts counts;
    struct error refusal;
    struct reservation *root;
    struct list order;
    struct piece *free_pieces[META_CLASSES];
    struct piece *blocks;
    char *block_at, *block_end;
};

/* ---- the door's own memory ---- */

static void *meta_map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static size_t meta_size(size_t bytes)
{
    return (size_t)1 << log2_ceil(size_max(bytes, META_PIECE_MIN));
}

/* Zeroed. */
static void *meta_take(struct os *os, size_t bytes)
{
    size_t size = meta_size(bytes);
    if (size > META_PIECE_MAX)
        return meta_map(size);
    struct piece **list = &os->free_pieces[log2_floor(size)];
    if (*list) {
        struct piece *piece = *list;
        *list = piece->next;
        return memset(piece, 0, size);
    }
    if ((size_t)(os->block_end - os->block_at) < size) {
        struct piece *block = meta_map(META_BLOCK);
        if (!block)
            return NULL;
        block->next = os->blocks;
        os->blocks = block;
        os->block_at = (char *)block + META_PIECE_MIN;
        os->block_end = (char *)block + META_BLOCK;
    }
    os->block_at += size;
    return os->block_at - size;
}

static void meta_give(struct os *os, void *p, size_t bytes)
{
    size_t size = meta_size(bytes);
    if (size > META_PIECE_MAX) {
        munmap(p, size);
        return;
    }
    struct piece *piece = p;
    piece->next = os->free_pieces[log2_floor(size)];
    os->free_pieces[log2_floor(size)] = piece;
}

/* ---- pages of a reservation ---- */

static size_t bitmap_bytes(const struct os *os, size_t bytes)
{
    return align_up(bytes / os->page, 64) / 8;
}

static void bitmap_give(struct os *os, const struct reservation *node, uint64_t *bitmap)
{
    if (bitmap)
        meta_give(os, bitmap, bitmap_bytes(os, node->end - node->start));
}

/* The bitmap is there afterwards; false = no memory. */
static bool bitmap_make(struct os *os, const struct reservation *node, uint64_t **bitmap)
{
    if (!*bitmap)
        *bitmap = meta_take(os, bitmap_bytes(os, node->end - node->start));
    return *bitmap;
}

/* Bytes of the range whose bits were set before the change. */
static size_t range_change(const struct os *os, const struct reservation *node, uint64_t *bitmap,
                           struct range range, enum bitmap_change change)
{
    size_t first = (range.start - node->start) / os->page, count = range.bytes / os->page;
    return bitmap ? bitmap_range(bitmap, first, count, change) * os->page : 0;
}

static size_t range_look(const struct os *os, const struct reservation *node, uint64_t *bitmap,
                         struct range range)
{
    return range_change(os, node, bitmap, range, BITMAP_LOOK);
}

/* The pages that the kernel can only protect together with those of the range. */
static struct range range_reach(const struct reservation *node, struct range range)
{
    if (!node->hugetlb)
        return range;
    uintptr_t start = align_down(range.start, OS_HUGE_BYTES);
    uintptr_t end = align_up(range.start + range.bytes, OS_HUGE_BYTES);
    return (struct range){start, end - start};
}

/* ---- the tree ---- */

/* Top-down splay: afterwards the root is the node with the given start, or the last one met on the
 * way to it. */
static struct reservation *splay(struct reservation *root, uintptr_t start)
{
    if (!root)
        return NULL;
    struct reservation sides = {.left = NULL, .right = NULL};
    struct reservation *below = &sides, *above = &sides;
    while (start != root->start) {
        bool to_left = start < root->start;
        struct reservation *child = to_left ? root->left : root->right;
        if (!child)
            break;
        if (to_left && start < child->start) {
            root->left = child->right;
            child->right = root;
            root = child;
        } else if (!to_left && start > child->start) {
            root->right = child->left;
            child->left = root;
            root = child;
        }
        if (to_left ? !root->left : !root->right)
            break;
        if (to_left) {
            above->left = root;
            above = root;
            root = root->left;
        } else {
            below->right = root;
            below = root;
            root = root->right;
        }
    }
    below->right = root->left;
    above->left = root->right;
    root->left = sides.right;
    root->right = sides.left;
    return root;
}

static void tree_insert(struct os *os, struct reservation *node)
{
    struct reservation *root = splay(os->root, node->start);
    if (!root) {
        list_insert_after(&os->order, &node->order);
    } else if (node->start < root->start) {
        node->left = root->left;
        node->right = root;
        root->left = NULL;
        list_insert_before(&root->order, &node->order);
    } else {
        node->right = root->right;
        node->left = root;
        root->right = NULL;
        list_insert_after(&root->order, &node->order);
    }
    os->root = node;
}

static void tree_remove(struct os *os, struct reservation *node)
{
    os->root = splay(os->root, node->start);
    struct reservation *right = node->right;
    os->root = splay(node->left, node->start);
    if (os->root)
        os->root->right = right;
    else
        os->root = right;
    list_remove(&node->order);
}

/* The reservation that holds [p, p + bytes), or the end of the program. */
static struct reservation *tree_find(struct os *os, const void *p, size_t bytes, const char *what)
{
    uintptr_t start = (uintptr_t)p;
    os->root = splay(os->root, start);
    struct reservation *node = os->root;
    if (node && start < node->start) {
        struct list *before = node->order.prev;
        node = before == &os->order ? NULL : LIST_ENTRY(before, struct reservation, order);
    }
    if (!node || !is_aligned(start, os->page) || start >= node->end || bytes > node->end - start)
        misuse_abort("os", what, p);
    return node;
}

/* ---- placing and mapping ---- */

/* The lowest address >= the door's base where `bytes` are not reserved by this door. 0 = none. */
static uintptr_t gap_find(const struct os *os, size_t bytes, size_t align)
{
    const struct os_config *config = &os->config;
    uintptr_t limit = config->pool ? (uintptr_t)config->pool + config->pool_bytes : OBSERVE_END;
    uintptr_t at = align_up(os->base, align);
    for (const struct list *l = os->order.next; l != &os->order; l = l->next) {
        const struct reservation *node = LIST_ENTRY(l, const struct reservation, order);
        if (node->end <= at)
            continue;
        if (node->start >= at && node->start - at >= bytes)
            break;
        at = align_up(node->end, align);
    }
    return at < limit && bytes <= limit - at ? at : 0;
}

static void *place_in_pool(const struct os *os, size_t bytes, size_t align, bool hugetlb)
{
    uintptr_t at = hugetlb ? 0 : gap_find(os, bytes, align);
    errno = at ? errno : ENOMEM;
    return (void *)at;
}

static int flags_of(bool hugetlb)
{
    return MAP_PRIVATE | MAP_ANONYMOUS | (hugetlb ? MAP_HUGETLB | MAP_HUGE_2MB : MAP_NORESERVE);
}

static void *place_observing(struct os *os, size_t bytes, size_t align, bool hugetlb)
{
    for (;;) {
        uintptr_t at = gap_find(os, bytes, align);
        if (!at) {
            errno = ENOMEM;
            return NULL;
        }
        void *p =
            mmap((void *)at, bytes, PROT_NONE, flags_of(hugetlb) | MAP_FIXED_NOREPLACE, -1, 0);
        if (p == (void *)at)
            return p;
        if (p != MAP_FAILED) /* a kernel that does not know the flag took the address as a hint */
            munmap(p, bytes);
        else if (errno != EEXIST)
            return NULL;
        os->base = at + OBSERVE_STRIDE; /* another door lies here: this one moves on for good */
    }
}

static void *map_anywhere(size_t bytes, bool hugetlb)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags_of(hugetlb), -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* The kernel stacks mappings densely, so that a row of equal ones is usually aligned without
 * cutting. */
static void *place_timed(size_t bytes, size_t align, size_t page, bool hugetlb)
{
    char *p = map_anywhere(bytes, hugetlb);
    if (!p || is_aligned((uintptr_t)p, align))
        return p;
    munmap(p, bytes);
    size_t room = bytes + align - page;
    errno = ENOMEM;
    p = room < bytes ? NULL : map_anywhere(room, hugetlb);
    if (!p)
        return NULL;
    size_t before = align_up((uintptr_t)p, align) - (uintptr_t)p;
    size_t after = room - before - bytes;
    if (before)
        munmap(p, before);
    if (after)
        munmap(p + before + bytes, after);
    return p + before;
}

/* ---- advice and placement ---- */

static int place_range(void *p, size_t bytes, unsigned where, uint64_t node)
{
    struct os_nodes nodes = {.count = 0};
    int mode = MPOL_DEFAULT;
    if (where == OS_NUMA_INTERLEAVE) {
        mode = MPOL_INTERLEAVE;
        nodes = os_nodes();
    } else if (where == OS_NUMA_BIND) {
        mode = MPOL_BIND;
        nodes.mask[node / 64] = 1ul << (node % 64);
    }
    unsigned long *mask = mode == MPOL_DEFAULT ? NULL : nodes.mask;
    return syscall(SYS_mbind, p, bytes, mode, mask, mask ? OS_NODES_MAX + 1 : 0, 0) ? -errno : 0;
}

/* What holds for every reservation. 0, or -1 with errno. */
static int policy_apply(const struct os_config *config, void *p, size_t bytes)
{
    if (config->thp != OS_THP_DEFAULT &&
        madvise(p, bytes, config->thp == OS_THP_ON ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
        return -1;
    int placed = config->numa ? place_range(p, bytes, config->numa, config->node) : 0;
    errno = -placed;
    return placed ? -1 : 0;
}

/* ---- leaving the lock for the kernel: timed doors that the kernel places ---- */

static bool kernel_places(const struct os *os)
{
    return !os->config.observe && !os->config.pool;
}

static void kernel_enter(struct os *os)
{
    if (!kernel_places(os))
        return;
    os->outside++;
    pthread_mutex_unlock(&os->lock);
}

static void kernel_leave(struct os *os)
{
    if (!kernel_places(os))
        return;
    pthread_mutex_lock(&os->lock);
    os->outside--;
}

/* ---- what the calls do, under the lock; bytes are whole pages ---- */

static void reserve_refused(struct os *os, size_t bytes, bool hugetlb, int why)
{
    if (hugetlb && why == ENOMEM)
        os_hugetlb_shortage(bytes, &os->refusal);
    else
        error_set(&os->refusal, "a reservation of %zu bytes was refused: errno %d (%s)", bytes, why,
                  strerrordesc_np(why));
}

/* Ends a mapping. A pool's pages become fresh ones. */
static void range_unmap(const struct os *os, struct range range)
{
    void *p = (void *)range.start;
    if (os->config.pool && os->closing)
        return; /* they are the next door's */
    if (os->config.pool) {
        mprotect(p, range.bytes, PROT_READ | PROT_WRITE); /* where guards were */
        madvise(p, range.bytes, MADV_DONTNEED);
    } else {
        munmap(p, range.bytes);
    }
}

/* Placed, and as the door's policies want it; NULL with errno. */
static void *range_map(struct os *os, size_t bytes, size_t align, bool hugetlb)
{
    size_t page = hugetlb ? OS_HUGE_BYTES : os->page;
    align = size_max(align, page);
    void *p = os->config.pool      ? place_in_pool(os, bytes, align, hugetlb)
              : os->config.observe ? place_observing(os, bytes, align, hugetlb)
                                   : place_timed(bytes, align, page, hugetlb);
    if (!p || !policy_apply(&os->config, p, bytes))
        return p;
    int why = errno;
    range_unmap(os, (struct range){(uintptr_t)p, bytes});
    errno = why;
    return NULL;
}

static struct reservation *reserve(struct os *os, size_t bytes, size_t align, bool hugetlb)
{
    kernel_enter(os);
    void *p = range_map(os, bytes, align, hugetlb);
    int why = errno;
    kernel_leave(os);
    if (!p) {
        reserve_refused(os, bytes, hugetlb, why);
        return NULL;
    }
    struct reservation *node = meta_take(os, sizeof *node);
    if (node) {
        node->start = (uintptr_t)p;
        node->end = node->start + bytes;
        node->hugetlb = hugetlb;
    }
    if (!node || !bitmap_make(os, node, &node->bitmap)) {
        if (node)
            meta_give(os, node, sizeof *node);
        range_unmap(os, (struct range){(uintptr_t)p, bytes});
        reserve_refused(os, bytes, false, ENOMEM);
        return NULL;
    }
    tree_insert(os, node);
    struct os_counts *c = &os->counts;
    c->reserved_bytes += bytes;
    c->peak_reserved_bytes = size_max(c->peak_reserved_bytes, c->reserved_bytes);
    return node;
}

static void release(struct os *os, struct reservation *node)
{
    struct range all = {node->start, node->end - node->start};
    os->counts.reserved_bytes -= all.bytes;
    os->counts.committed_bytes -= range_look(os, node, node->bitmap, all);
    os->counts.lazy_bytes -= range_look(os, node, node->lazy, all);
    os->counts.guard_bytes -= range_look(os, node, node->guard, all);
    tree_remove(os, node);
    bitmap_give(os, node, node->bitmap);
    bitmap_give(os, node, node->lazy);
    bitmap_give(os, node, node->guard);
    meta_give(os, node, sizeof *node);
    kernel_enter(os);
    range_unmap(os, all);
    kernel_leave(os);
}

static int commit(struct os *os, struct reservation *node, struct range range)
{
    struct os_counts *c = &os->counts;
    struct range reach = range_reach(node, range);
    size_t fresh = range.bytes - range_look(os, node, node->bitmap, range);
    uint64_t limit = os->config.commit_limit_bytes;
    if (!fresh)
        return 0;
    if (limit && fresh > limit - c->committed_bytes) {
        error_set(&os->refusal, "the commit limit of %zu bytes is reached", (size_t)limit);
        return -ENOMEM;
    }
    if ((os->config.observe || range_look(os, node, node->guard, reach)) &&
        mprotect((void *)reach.start, reach.bytes, PROT_READ | PROT_WRITE))
        return -ENOMEM;
    range_change(os, node, node->bitmap, range, BITMAP_SET);
    c->lazy_bytes -= range_change(os, node, node->lazy, range, BITMAP_CLEAR);
    c->guard_bytes -= range_change(os, node, node->guard, reach, BITMAP_CLEAR);
    c->committed_bytes += fresh;
    c->peak_committed_bytes = size_max(c->peak_committed_bytes, c->committed_bytes);
    return 0;
}

/* What the kernel has to do about a decommit. 0, or -errno and nothing has changed. */
static int pages_drop(const struct os *os, struct range range, bool lazy)
{
    void *p = (void *)range.start;
    if (!lazy && madvise(p, range.bytes, MADV_DONTNEED))
        return -errno;
    if (lazy && !os->config.observe && madvise(p, range.bytes, MADV_FREE))
        return -errno;
    return os->config.observe && mprotect(p, range.bytes, PROT_NONE) ? -errno : 0;
}

/* The same for explicit huge pages, which stay: what is to read as zero is cleared. */
static int huge_pages_clear(const struct os *os, const struct reservation *node, struct range range)
{
    struct range reach = range_reach(node, range);
    if (os->config.observe && mprotect((void *)reach.start, reach.bytes, PROT_READ | PROT_WRITE))
        return -errno;
    for (uintptr_t p = range.start; p < range.start + range.bytes; p += os->page) {
        size_t i = (p - node->start) / os->page;
        if (bitmap_get(node->bitmap, i) || (node->lazy && bitmap_get(node->lazy, i)))
            memset((void *)p, 0, os->page);
    }
    return 0;
}

/* Observing doors: huge pages of which nothing is committed become inaccessible. */
static int huge_pages_protect(const struct os *os, const struct reservation *node,
                              struct range range)
{
    struct range reach = range_reach(node, range), page = {reach.start, OS_HUGE_BYTES};
    for (; page.start < reach.start + reach.bytes; page.start += OS_HUGE_BYTES)
        if (!range_look(os, node, node->bitmap, page) &&
            mprotect((void *)page.start, OS_HUGE_BYTES, PROT_NONE))
            return -errno;
    return 0;
}

static int give_back(struct os *os, struct reservation *node, struct range range, bool lazy)
{
    struct os_counts *c = &os->counts;
    size_t committed = range_look(os, node, node->bitmap, range);
    if (!committed && (lazy || !range_look(os, node, node->lazy, range)))
        return 0;
    if (lazy && !bitmap_make(os, node, &node->lazy))
        return -ENOMEM;
    int result = 0;
    if (!node->hugetlb) {
        kernel_enter(os);
        result = pages_drop(os, range, lazy);
        kernel_leave(os);
    } else if (!lazy) {
        result = huge_pages_clear(os, node, range);
    }
    if (result)
        return result;
    if (lazy) {
        bitmap_range_or(node->lazy, node->bitmap, (range.start - node->start) / os->page,
                        range.bytes / os->page);
        c->lazy_bytes += committed;
        c->peak_lazy_bytes = size_max(c->peak_lazy_bytes, c->lazy_bytes);
    } else {
        c->lazy_bytes -= range_change(os, node, node->lazy, range, BITMAP_CLEAR);
    }
    c->committed_bytes -= range_change(os, node, node->bitmap, range, BITMAP_CLEAR);
    return node->hugetlb && os->config.observe ? huge_pages_protect(os, node, range) : 0;
}

static int guard(struct os *os, struct reservation *node, struct range range)
{
    if (range_look(os, node, node->bitmap, range))
        misuse_abort("os", "guard over committed pages", (void *)range.start);
    if (!bitmap_make(os, node, &node->guard))
        return -ENOMEM;
    int result = give_back(os, node, range, false);
    bool open = !os->config.observe || node->hugetlb;
    if (!result && open && mprotect((void *)range.start, range.bytes, PROT_NONE))
        result = -errno;
    if (!result)
        os->counts.guard_bytes +=
            range.bytes - range_change(os, node, node->guard, range, BITMAP_SET);
    return result;
}

static struct os_coverage coverage(const struct os *os)
{
    struct os_coverage all = {.committed_bytes = os->counts.committed_bytes};
    uintptr_t huge_page = 0; /* the one being added up; neighbours may share it */
    size_t committed = 0;
    for (const struct list *l = os->order.next; l != &os->order; l = l->next) {
        const struct reservation *node = LIST_ENTRY(l, const struct reservation, order);
        for (uintptr_t p = node->start, next; p < node->end; p = next) {
            uintptr_t start = align_down(p, OS_HUGE_BYTES);
            next = start + OS_HUGE_BYTES < node->end ? start + OS_HUGE_BYTES : node->end;
            committed = start == huge_page ? committed : 0;
            huge_page = start;
            committed += range_look(os, node, node->bitmap, (struct range){p, next - p});
            if (committed == OS_HUGE_BYTES)
                all.huge_bytes += OS_HUGE_BYTES;
        }
    }
    return all;
}

/* errno, which leave() puts back: a program's free must keep it. */
static int enter(struct os *os, enum os_call call)
{
    int error = errno;
    pthread_mutex_lock(&os->lock);
    os->counts.calls_count++;
    os->counts.calls[call]++;
    return error;
}

static void leave(struct os *os, int error)
{
    pthread_mutex_unlock(&os->lock);
    errno = error;
}

/* Whole pages; a size that cannot be rounded up stays too large for anything. */
static size_t page_round(size_t bytes, size_t page)
{
    return bytes > SIZE_MAX - page ? align_down(SIZE_MAX, page) : align_up(bytes, page);
}

struct entry { /* a call on a part of a reservation */
    struct reservation *node;
    struct range range; /* whole pages */
    int error;
};

static struct entry enter_range(struct os *os, enum os_call call, const void *p, size_t bytes,
                                const char *what)
{
    struct entry entry = {.error = enter(os, call)};
    entry.range = (struct range){(uintptr_t)p, page_round(bytes, os->page)};
    entry.node = tree_find(os, p, entry.range.bytes, what);
    return entry;
}

/* NULL: os->refusal says why, unless nothing was asked for. */
static struct reservation *reserve_call(struct os *os, size_t bytes, size_t align, bool hugetlb)
{
    hugetlb |= os->config.hugetlb;
    bytes = page_round(bytes, hugetlb ? OS_HUGE_BYTES : os->page);
    return bytes ? reserve(os, bytes, align, hugetlb) : NULL;
}

static void *reserve_and_leave(struct os *os, size_t bytes, size_t align, bool hugetlb)
{
    int error = enter(os, OS_RESERVE);
    struct reservation *node = reserve_call(os, bytes, align, hugetlb);
    void *p = node ? (void *)node->start : NULL;
    leave(os, error);
    return p;
}

/* ---- the interface ---- */

size_t os_page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

struct os *os_open(const struct os_config *config)
{
    struct os *os = meta_map(sizeof *os);
    if (!os)
        return NULL;
    pthread_mutex_init(&os->lock, NULL);
    os->config = *config;
    os->page = os_page_bytes();
    uintptr_t base = config->pool ? (uintptr_t)config->pool : config->base;
    os->base = align_up(base ? base : OBSERVE_BASE, os->page);
    list_init(&os->order);
    return os;
}

/* What a door on a pool leaves for the next one. */
static void pool_clear(const struct os *os, const struct reservation *node)
{
    size_t pages = (node->end - node->start) / os->page;
    mprotect((void *)node->start, node->end - node->start, PROT_READ | PROT_WRITE);
    for (size_t word = 0; word < (pages + 63) / 64; word++) {
        uint64_t dirty = node->bitmap[word] | (node->lazy ? node->lazy[word] : 0);
        for (; dirty; dirty &= dirty - 1) {
            size_t i = word * 64 + (size_t)__builtin_ctzll(dirty);
            memset((char *)node->start + i * os->page, 0, os->page);
        }
    }
}

void os_close(struct os *os)
{
    pthread_mutex_lock(&os->lock);
    os->closing = true;
    while (!list_empty(&os->order)) {
        struct reservation *node = LIST_ENTRY(os->order.next, struct reservation, order);
        if (os->config.pool)
            pool_clear(os, node);
        release(os, node);
    }
    pthread_mutex_unlock(&os->lock);
    while (os->blocks) {
        struct piece *next = os->blocks->next;
        munmap(os->blocks, META_BLOCK);
        os->blocks = next;
    }
    pthread_mutex_destroy(&os->lock);
    munmap(os, sizeof *os);
}

struct os_counts os_counts(struct os *os)
{
    pthread_mutex_lock(&os->lock);
    struct os_counts counts = os->counts;
    pthread_mutex_unlock(&os->lock);
    return counts;
}

struct os_coverage os_coverage(struct os *os)
{
    pthread_mutex_lock(&os->lock);
    struct os_coverage all = coverage(os);
    pthread_mutex_unlock(&os->lock);
    return all;
}

const char *os_refusal(const struct os *os)
{
    return os->refusal.text;
}

void *os_reserve(struct os *os, size_t bytes, size_t align)
{
    return reserve_and_leave(os, bytes, align, false);
}

void *os_reserve_hugetlb(struct os *os, size_t bytes, size_t align)
{
    return reserve_and_leave(os, bytes, align, true);
}

void *os_map(struct os *os, size_t bytes, size_t align)
{
    int error = enter(os, OS_RESERVE);
    struct reservation *node = reserve_call(os, bytes, align, false);
    if (node && commit(os, node, (struct range){node->start, page_round(bytes, os->page)})) {
        release(os, node);
        node = NULL;
    }
    void *p = node ? (void *)node->start : NULL;
    leave(os, error);
    return p;
}

int os_commit(struct os *os, void *p, size_t bytes)
{
    struct entry e = enter_range(os, OS_COMMIT, p, bytes, "commit outside a reservation");
    int result = commit(os, e.node, e.range);
    leave(os, e.error);
    return result;
}

int os_decommit(struct os *os, void *p, size_t bytes)
{
    struct entry e = enter_range(os, OS_DECOMMIT, p, bytes, "decommit outside a reservation");
    int result = give_back(os, e.node, e.range, false);
    leave(os, e.error);
    return result;
}

int os_decommit_lazy(struct os *os, void *p, size_t bytes)
{
    struct entry e = enter_range(os, OS_LAZY, p, bytes, "lazy decommit outside a reservation");
    int result = give_back(os, e.node, e.range, true);
    leave(os, e.error);
    return result;
}

int os_guard(struct os *os, void *p, size_t bytes)
{
    struct entry e = enter_range(os, OS_GUARD, p, bytes, "guard outside a reservation");
    int result = guard(os, e.node, e.range);
    leave(os, e.error);
    return result;
}

int os_huge(struct os *os, void *p, size_t bytes, bool on)
{
    struct entry e = enter_range(os, OS_HUGE, p, bytes, "huge-page advice outside a reservation");
    int result = madvise(p, e.range.bytes, on ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) ? -errno : 0;
    leave(os, e.error);
    return result;
}

int os_place(struct os *os, void *p, size_t bytes, enum os_numa where, unsigned node)
{
    struct entry e = enter_range(os, OS_PLACE, p, bytes, "placement outside a reservation");
    bool there = where != OS_NUMA_BIND || !os_node_check(node, &os->refusal);
    int result = there ? place_range(p, e.range.bytes, where, node) : -EINVAL;
    if (there && result)
        error_set(&os->refusal, "the kernel refused a placement: errno %d (%s)", -result,
                  strerrordesc_np(-result));
    leave(os, e.error);
    return result;
}

void os_release(struct os *os, void *p, size_t bytes)
{
    struct entry e = enter_range(os, OS_RELEASE, p, bytes, "release outside a reservation");
    if (e.node->hugetlb)
        e.range.bytes = page_round(e.range.bytes, OS_HUGE_BYTES);
    if (e.node->start != (uintptr_t)p || e.node->end - e.node->start != e.range.bytes)
        misuse_abort("os", "release of a part of a reservation", p);
    release(os, e.node);
    leave(os, e.error);
}

void os_fork_before(struct os *os)
{
    pthread_mutex_lock(&os->lock);
    while (os->outside) {
        pthread_mutex_unlock(&os->lock);
        sched_yield();
        pthread_mutex_lock(&os->lock);
    }
}

void os_fork_after(struct os *os)
{
    pthread_mutex_unlock(&os->lock);
}
