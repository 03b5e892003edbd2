/*
 * malloc.c - the template of the drop-in libraries: the C library's malloc family and the C++
 * operators on one design, for a program that knows nothing of it. The Makefile compiles it once
 * for each design that dropin.h allows, into liballoclab-NAME.so.
 *
 * The design's own file is included as text and its functions are called through a const table that
 * is visible here, so that the compiler sees through it: malloc is a load of the thread's view and
 * the design's fast path, with no call between. What a design does not have (threads, zeroing) is
 * known at compile time as well, and costs nothing where it is there.
 *
 *     malloc.c           this file: the family, and what the library says at the end
 *     malloc_view.h      the heap, threads, fork, ticks
 *     malloc_new.h       C++ operators
 *     malloc_setting.c   the environment
 *
 * Edge cases are decided here, as glibc does: size 0 is an object, more than PTRDIFF_MAX is ENOMEM,
 * realloc(p, 0) frees. free keeps errno, because nothing under allocators/lib changes it. Only the
 * names below are visible outside; calls between them go to static functions, never through names
 * that a program may have replaced.
 */
#ifndef DESIGN /* a tool that looks at this file alone */
#define DESIGN      segfit
#define DESIGN_FILE "allocators/segfit.c"
#endif

#include DESIGN_FILE /* NOLINT(bugprone-suspicious-include): a template */

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include "allocators/lib/bits.h"
#include "allocators/lib/generic.h"
#include "api/dropin.h"

#define JOINED(a, b) a##b
#define TABLE(name)  JOINED(allocator_, name)
static const struct allocator *const design = &TABLE(DESIGN);

#include "api/malloc_view.h"

#define EXPORT      __attribute__((visibility("default")))
#define FLATTENED   __attribute__((flatten))
#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* ---- what all entries are made of ---- */

static __attribute__((noinline, cold)) void *dropin_no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

/* What a call returns that may say ENOMEM. */
static inline void *dropin_or_errno(void *p)
{
    return LIKELY(p) ? p : dropin_no_memory();
}

/* size 0 is one byte; true if the design may be asked for it. */
static bool dropin_size_ok(size_t *size)
{
    *size += !*size;
    return *size <= PTRDIFF_MAX;
}

/* By a thread that has entered: what is free may be in the way of what is wanted, under a limit of
 * addresses or of memory. True if anything went back to the kernel, so that trying again is worth
 * it. */
static __attribute__((noinline, cold)) bool dropin_trim(void)
{
    if (!design->trim)
        return false;
    struct os_counts before = os_counts(dropin.os);
    design->trim(atomic_load(&dropin.root));
    struct os_counts after = os_counts(dropin.os);
    return after.committed_bytes < before.committed_bytes ||
           after.reserved_bytes < before.reserved_bytes;
}

/* Every case; NULL without errno. */
static __attribute__((noinline)) void *dropin_alloc_rest(size_t size, size_t align)
{
    if (!dropin_size_ok(&size) || align > DROPIN_ALIGN_MAX)
        return NULL;
    struct heap *view = dropin_enter();
    void *p = view ? design->alloc(view, size, align) : NULL;
    if (UNLIKELY(view && !p) && dropin_trim())
        p = design->alloc(view, size, align);
    dropin_leave(view);
    return p;
}

/* The usual case inlined. */
static inline void *dropin_alloc(size_t size)
{
    struct heap *view = dropin_thread.view;
    if (UNLIKELY(!view || (ptrdiff_t)size <= 0))
        return dropin_alloc_rest(size, ALLOCATOR_ALIGN);
    bool guarded = !dropin_is_shared(design);
    if (guarded)
        lock_take(&dropin.lock);
    void *p = design->alloc(view, size, ALLOCATOR_ALIGN);
    if (guarded)
        lock_give(&dropin.lock);
    return LIKELY(p) ? p : dropin_alloc_rest(size, ALLOCATOR_ALIGN);
}

static __attribute__((noinline)) void dropin_free_rest(void *p, size_t size)
{
    struct heap *view = p ? dropin_enter_to_free() : NULL;
    if (view)
        design->free(view, p, size);
    dropin_leave(view);
}

static inline void dropin_free(void *p, size_t size)
{
    struct heap *view = dropin_thread.view;
    if (UNLIKELY(!view || !p)) {
        dropin_free_rest(p, size);
    } else if (dropin_is_shared(design)) {
        design->free(view, p, size);
    } else {
        lock_take(&dropin.lock);
        design->free(view, p, size);
        lock_give(&dropin.lock);
    }
}

static void *dropin_realloc(void *p, size_t size)
{
    if (!p)
        return dropin_or_errno(dropin_alloc(size));
    if (!size) {
        dropin_free(p, 0);
        return NULL;
    }
    struct heap *view = size <= PTRDIFF_MAX ? dropin_enter() : NULL;
    void *moved = NULL;
    if (view) {
        size_t old = design->usable(view, p);
        moved = generic_realloc(design, view, view, p, old, size, ALLOCATOR_ALIGN);
        if (UNLIKELY(!moved) && dropin_trim())
            moved = generic_realloc(design, view, view, p, old, size, ALLOCATOR_ALIGN);
    }
    dropin_leave(view);
    return dropin_or_errno(moved);
}

static bool is_power_of_two(size_t n)
{
    return n && !(n & (n - 1));
}

/* ---- the C family ---- */

EXPORT FLATTENED void *malloc(size_t size)
{
    return dropin_or_errno(dropin_alloc(size));
}

EXPORT FLATTENED void free(void *p)
{
    dropin_free(p, 0);
}

EXPORT void *calloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || !dropin_size_ok(&bytes))
        return dropin_no_memory();
    struct heap *view = dropin_enter();
    void *p = view ? generic_zalloc(design, view, bytes, ALLOCATOR_ALIGN) : NULL;
    if (UNLIKELY(view && !p) && dropin_trim())
        p = generic_zalloc(design, view, bytes, ALLOCATOR_ALIGN);
    dropin_leave(view);
    return dropin_or_errno(p);
}

EXPORT void *realloc(void *p, size_t size)
{
    return dropin_realloc(p, size);
}

EXPORT void *reallocarray(void *p, size_t count, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? dropin_no_memory()
                                                       : dropin_realloc(p, bytes);
}

EXPORT int posix_memalign(void **out, size_t align, size_t size)
{
    if (!is_power_of_two(align) || align % sizeof(void *))
        return EINVAL;
    void *p = dropin_alloc_rest(size, align);
    if (!p)
        return ENOMEM;
    *out = p;
    return 0;
}

EXPORT void *aligned_alloc(size_t align, size_t size)
{
    if (is_power_of_two(align))
        return dropin_or_errno(dropin_alloc_rest(size, align));
    errno = EINVAL;
    return NULL;
}

/* Any alignment: the next power of two. */
EXPORT void *memalign(size_t align, size_t size)
{
    if (align > DROPIN_ALIGN_MAX)
        return dropin_no_memory();
    return dropin_or_errno(dropin_alloc_rest(size, (size_t)1 << log2_ceil(size_max(align, 1))));
}

EXPORT void *valloc(size_t size)
{
    return dropin_or_errno(dropin_alloc_rest(size, os_page_bytes()));
}

EXPORT void *pvalloc(size_t size)
{
    size_t page = os_page_bytes();
    if (size > PTRDIFF_MAX)
        return dropin_no_memory();
    return dropin_or_errno(dropin_alloc_rest(align_up(size_max(size, 1), page), page));
}

EXPORT size_t malloc_usable_size(void *p)
{
    struct heap *view = p ? dropin_enter() : NULL;
    size_t bytes = view ? design->usable(view, p) : 0;
    dropin_leave(view);
    return bytes;
}

/* C23; not in the headers of all C libraries. */
EXPORT void free_sized(void *p, size_t size);
EXPORT void free_aligned_sized(void *p, size_t align, size_t size);

EXPORT void free_sized(void *p, size_t size)
{
    dropin_free(p, size);
}

EXPORT void free_aligned_sized(void *p, size_t align, size_t size)
{
    (void)align;
    dropin_free(p, size);
}

/* 1 if memory went back to the kernel. What was to stay (`pad`) is the design's own decision. */
EXPORT int malloc_trim(size_t pad)
{
    (void)pad;
    struct heap *view = design->trim ? dropin_enter() : NULL;
    bool gave = view && dropin_trim();
    dropin_leave(view);
    return gave;
}

#include "api/malloc_new.h"

/* ---- start and end of the process ---- */

static uint64_t dropin_tick_read(void)
{
    char text[32], *end;
    if (!setting_read(DROPIN_ENV_TICK, text, sizeof text))
        return 0;
    errno = 0;
    unsigned long ms = strtoul(text, &end, 10);
    if (errno || *end || *text < '0' || *text > '9' || ms > DROPIN_TICK_MAX_MS)
        setting_refuse(DROPIN_ENV_TICK, "give milliseconds from 1 to 86400000, or 0 for no ticks");
    if (ms && !design->tick)
        setting_refuse(DROPIN_ENV_TICK, "this design has nothing to do in ticks: leave it out");
    return ms;
}

/* The heap is opened here at the latest, so that bad settings are refused before main. */
__attribute__((constructor)) static void dropin_start(void)
{
    dropin_leave(dropin_enter());
    if (!atomic_load(&dropin.root))
        setting_refuse(design->name, "no memory for a heap");
    setting_read(DROPIN_ENV_STATS, dropin.stats, sizeof dropin.stats);
    dropin.tick_ms = dropin_tick_read();
    if (dropin.tick_ms)
        dropin_ticker_start();
}

struct report {
    char text[4096];
    size_t used;
};

static void report_add(void *arg, const char *name, uint64_t value)
{
    struct report *r = arg;
    size_t room = sizeof r->text - r->used;
    int n = snprintf(r->text + r->used, room, "%s %llu\n", name, (unsigned long long)value);
    r->used += n > 0 && (size_t)n < room ? (size_t)n : 0;
}

/* Whether no other thread is left but the one that ticks. Threads that have just been joined may
 * still be on their way out of the kernel: they are given a while. Each is a link of the folder. */
static bool dropin_is_alone(void)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    nlink_t alone = 3u + (dropin.tick_ms && !atomic_load(&dropin.tick_missing));
    struct stat tasks;
    for (unsigned i = 0; i < 100 && !stat("/proc/self/task", &tasks); i++) {
        if (tasks.st_nlink <= alone)
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

/* The design's own counters, and whether its invariants hold. The latter only if nobody is inside:
 * fork() may let threads run on whose work the child can do without. */
static void report_add_design(struct report *r)
{
    struct heap *root = atomic_load(&dropin.root);
    bool shared = dropin_is_shared(design), checked = design->check;
    if (shared && !design->fork)
        return;
    checked = checked && (!shared || dropin_is_alone());
    lock_take(&dropin.tick_lock);
    lock_take(&dropin.lock);
    if (shared)
        design->fork(root, ALLOCATOR_FORK_BEFORE);
    if (design->stats)
        design->stats(root, report_add, r);
    const char *broken = checked ? design->check(root) : NULL;
    if (shared)
        design->fork(root, ALLOCATOR_FORK_PARENT);
    lock_give(&dropin.lock);
    lock_give(&dropin.tick_lock);
    if (broken)
        setting_warn(design->name, broken);
    if (checked)
        report_add(r, "broken", broken != NULL);
}

/* One write at the end of the file, so that the reports of several processes do not mix. */
__attribute__((destructor)) static void dropin_finish(void)
{
    if (!dropin.stats[0])
        return;
    struct report r = {.used = 0};
    struct os_counts counts = os_counts(dropin.os);
    int n = snprintf(r.text, sizeof r.text, "# %s, %s, pid %d\n", design->name,
                     program_invocation_short_name, (int)getpid());
    r.used = size_min((size_t)n, sizeof r.text - 1);
    report_add(&r, "committed_bytes", counts.committed_bytes);
    report_add(&r, "peak_committed_bytes", counts.peak_committed_bytes);
    report_add(&r, "reserved_bytes", counts.reserved_bytes);
    report_add(&r, "peak_reserved_bytes", counts.peak_reserved_bytes);
    report_add(&r, "door_calls", counts.calls_count);
    report_add_design(&r);
    bool shown = !strcmp(dropin.stats, "stderr");
    int fd =
        shown ? STDERR_FILENO : open(dropin.stats, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0 || write(fd, r.text, r.used) != (ssize_t)r.used)
        setting_warn(dropin.stats, "the report (" DROPIN_ENV_STATS ") cannot be written there");
    if (!shown && fd >= 0)
        close(fd);
}
