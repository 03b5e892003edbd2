/*
 * os.c - the door. Every reservation is a node with one bit a page; the nodes hang in a splay tree
 * by address (the reservation used last is at the root, which is the usual case) and in a list in
 * address order (where the gaps are found). What the door keeps for itself is mapped from the
 * kernel directly, never taken from malloc, which may be the heap under test, and is not counted.
 *
 * A page that the design commits twice is counted once; a decommit drops the pages in both modes,
 * so that the kernel's own figures (resident memory, faults) agree between them.
 */
#include "allocators/lib/os.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "allocators/lib/bitmap.h"
#include "allocators/lib/bits.h"
#include "allocators/lib/list.h"
#include "allocators/lib/misuse.h"

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
    size_t committed;
};

struct piece { /* a free piece of the door's own memory, or the head of a block */
    struct piece *next;
};

struct os {
    pthread_mutex_t lock;
    bool observe;
    uintptr_t base;
    size_t page, commit_limit;
    struct os_counts counts;
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
    uintptr_t at = align_up(os->base, align);
    for (const struct list *l = os->order.next; l != &os->order; l = l->next) {
        const struct reservation *node = LIST_ENTRY(l, const struct reservation, order);
        if (node->end <= at)
            continue;
        if (node->start >= at && node->start - at >= bytes)
            break;
        at = align_up(node->end, align);
    }
    return at < OBSERVE_END && bytes <= OBSERVE_END - at ? at : 0;
}

static void *place_observing(struct os *os, size_t bytes, size_t align)
{
    for (;;) {
        uintptr_t at = gap_find(os, bytes, align);
        if (!at)
            return NULL;
        void *p = mmap((void *)at, bytes, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
        if (p == (void *)at)
            return p;
        if (p != MAP_FAILED) /* a kernel that does not know the flag took the address as a hint */
            munmap(p, bytes);
        else if (errno != EEXIST)
            return NULL;
        os->base = at + OBSERVE_STRIDE; /* another door lies here: this one moves on for good */
    }
}

static void *map_anywhere(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* The kernel stacks mappings densely, so that a row of equal ones is usually aligned without
 * cutting. */
static void *place_timed(const struct os *os, size_t bytes, size_t align)
{
    char *p = map_anywhere(bytes);
    if (!p || is_aligned((uintptr_t)p, align))
        return p;
    munmap(p, bytes);
    size_t room = bytes + align - os->page;
    p = room < bytes ? NULL : map_anywhere(room);
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

/* ---- what the calls do, under the lock; bytes are whole pages ---- */

static struct reservation *reserve(struct os *os, size_t bytes, size_t align)
{
    struct reservation *node = meta_take(os, sizeof *node);
    if (!node)
        return NULL;
    node->bitmap = meta_take(os, bitmap_bytes(os, bytes));
    void *p = NULL;
    if (node->bitmap) {
        align = size_max(align, os->page);
        p = os->observe ? place_observing(os, bytes, align) : place_timed(os, bytes, align);
        if (!p)
            meta_give(os, node->bitmap, bitmap_bytes(os, bytes));
    }
    if (!p) {
        meta_give(os, node, sizeof *node);
        return NULL;
    }
    node->start = (uintptr_t)p;
    node->end = node->start + bytes;
    tree_insert(os, node);
    os->counts.reserved_bytes += bytes;
    os->counts.peak_reserved_bytes =
        size_max(os->counts.peak_reserved_bytes, os->counts.reserved_bytes);
    return node;
}

static void release(struct os *os, struct reservation *node)
{
    size_t bytes = node->end - node->start;
    munmap((void *)node->start, bytes);
    os->counts.reserved_bytes -= bytes;
    os->counts.committed_bytes -= node->committed;
    tree_remove(os, node);
    meta_give(os, node->bitmap, bitmap_bytes(os, bytes));
    meta_give(os, node, sizeof *node);
}

static int commit(struct os *os, struct reservation *node, uintptr_t start, size_t bytes)
{
    size_t first = (start - node->start) / os->page, count = bytes / os->page;
    size_t before = bitmap_range(node->bitmap, first, count, BITMAP_LOOK);
    size_t fresh = (count - before) * os->page;
    if (!fresh)
        return 0;
    if (os->commit_limit && fresh > os->commit_limit - os->counts.committed_bytes)
        return -ENOMEM;
    if (os->observe && mprotect((void *)start, bytes, PROT_READ | PROT_WRITE))
        return -ENOMEM;
    bitmap_range(node->bitmap, first, count, BITMAP_SET);
    node->committed += fresh;
    os->counts.committed_bytes += fresh;
    os->counts.peak_committed_bytes =
        size_max(os->counts.peak_committed_bytes, os->counts.committed_bytes);
    return 0;
}

static int decommit(struct os *os, struct reservation *node, uintptr_t start, size_t bytes)
{
    size_t first = (start - node->start) / os->page, count = bytes / os->page;
    if (!bitmap_range(node->bitmap, first, count, BITMAP_LOOK))
        return 0;
    if (madvise((void *)start, bytes, MADV_DONTNEED))
        return -errno;
    if (os->observe && mprotect((void *)start, bytes, PROT_NONE))
        return -errno;
    size_t gone = bitmap_range(node->bitmap, first, count, BITMAP_CLEAR) * os->page;
    node->committed -= gone;
    os->counts.committed_bytes -= gone;
    return 0;
}

static void enter(struct os *os)
{
    pthread_mutex_lock(&os->lock);
    os->counts.calls_count++;
}

static void leave(struct os *os)
{
    pthread_mutex_unlock(&os->lock);
}

/* Whole pages; a size that cannot be rounded up stays too large for anything. */
static size_t page_round(const struct os *os, size_t bytes)
{
    return bytes > SIZE_MAX - os->page ? align_down(SIZE_MAX, os->page) : align_up(bytes, os->page);
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
    os->observe = config->observe;
    os->page = os_page_bytes();
    os->base = align_up(config->base ? config->base : OBSERVE_BASE, os->page);
    os->commit_limit = config->commit_limit_bytes;
    list_init(&os->order);
    return os;
}

void os_close(struct os *os)
{
    while (!list_empty(&os->order))
        release(os, LIST_ENTRY(os->order.next, struct reservation, order));
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

void *os_reserve(struct os *os, size_t bytes, size_t align)
{
    enter(os);
    bytes = page_round(os, bytes);
    struct reservation *node = bytes ? reserve(os, bytes, align) : NULL;
    void *p = node ? (void *)node->start : NULL;
    leave(os);
    return p;
}

void *os_map(struct os *os, size_t bytes, size_t align)
{
    enter(os);
    bytes = page_round(os, bytes);
    struct reservation *node = bytes ? reserve(os, bytes, align) : NULL;
    if (node && commit(os, node, node->start, bytes)) {
        release(os, node);
        node = NULL;
    }
    void *p = node ? (void *)node->start : NULL;
    leave(os);
    return p;
}

int os_commit(struct os *os, void *p, size_t bytes)
{
    enter(os);
    bytes = page_round(os, bytes);
    struct reservation *node = tree_find(os, p, bytes, "commit outside a reservation");
    int result = commit(os, node, (uintptr_t)p, bytes);
    leave(os);
    return result;
}

int os_decommit(struct os *os, void *p, size_t bytes)
{
    enter(os);
    bytes = page_round(os, bytes);
    struct reservation *node = tree_find(os, p, bytes, "decommit outside a reservation");
    int result = decommit(os, node, (uintptr_t)p, bytes);
    leave(os);
    return result;
}

void os_release(struct os *os, void *p, size_t bytes)
{
    enter(os);
    bytes = page_round(os, bytes);
    struct reservation *node = tree_find(os, p, bytes, "release outside a reservation");
    if (node->start != (uintptr_t)p || node->end - node->start != bytes)
        misuse_abort("os", "release of a part of a reservation", p);
    release(os, node);
    leave(os);
}

void os_fork_before(struct os *os)
{
    pthread_mutex_lock(&os->lock);
}

void os_fork_after(struct os *os)
{
    pthread_mutex_unlock(&os->lock);
}
