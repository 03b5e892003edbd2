/*
 * segfit.c - segregated fit over spans, with a cache for each thread: the design of the fast
 * general allocators. Small objects of one size class share a span, a run of pages; every thread
 * keeps free objects of every class in lists of its own, and trades them in batches with central
 * lists.
 *
 *     view (thread)            central list of the class           pages
 *     bin of class c           depot    |batch|batch| ..
 *     -> b -> b -> b  <=batch=>                              <=>   free runs, aged
 *        at most `limit`       partial  span -> span -> ..           |
 *                                       | obj | obj | .. | rest |    age, limit: to the kernel
 *
 * Objects have no header. Free finds an object's class by masking its address: the segment's start
 * has four bytes for each unit of 8 KiB, the class and where the span begins (lib/pages.h). Sizes
 * up to 64 KiB have classes, eight a doubling (lib/size_class.h); larger objects are runs of units,
 * and what no segment can hold has a reservation of its own. Spans are lib/central.h's.
 *
 * A freed object goes to the cache of the thread that frees it, whoever allocated it. A bin that is
 * longer than its limit gives a batch to the central list; an empty bin takes one, or less when it
 * is new. The depot keeps a few batches as they are, so that a producer and a consumer trade them
 * whole; all others are sorted back into their spans. A bin's limit starts at a batch, and doubles
 * when a bin that had to give must take again, as long as the view's budget (`cache`) lasts. The
 * caches, and the code that this file includes for them, are lib/front.h's.
 *
 * Free memory goes back in steps. Between a thread's refills and flushes, a sweep sorts bins and
 * depots that nobody has used for a while into their spans; a span that becomes empty goes to the
 * pages, where any class can have it. tick does the same to whatever was idle for age_ms, and gives
 * pages that were free for so long back to the kernel (`return`: at once, lazily, or not). More
 * free pages than `limit` go back without a tick, the oldest first. trim does all of it at once.
 *
 * Invariants: those of lib/pages.h, lib/central.h and lib/front.h: spans and free runs tile each
 * segment, no two neighbours are free; a span's free, live and not carved objects sum up; a bin is
 * no longer than its limit; the sealed objects are those in bins, depots and spans.
 *
 * Cost. alloc and free of small objects on the same thread: some 25 and 40 instructions without an
 * atomic read-modify-write, fence, division or call. Refill and flush: O(batch) under the class's
 * lock, spans O(1) under the pages' lock. Large: O(1) and that lock, but for runs of the same bin.
 *   Space: a class wastes less than 1/9 of an object from 128 bytes on, 15 bytes below, and a
 * span's end less than 1/8 of it; 1 % for segments' headers. Free memory beside that in spans in
 * use, in bytes: views * (cache + classes used * batch) + classes used * 8 batches + limit, where a
 * batch is at most 8 KiB, or one object. Producer to consumer stays within that bound, however many
 * objects pass: the batches that the consumer gives are those that the producer takes.
 *
 * Source: Bonwick and Adams, Magazines and Vmem (2001), for caches in front of a depot of batches;
 * Ghemawat and Menage, TCMalloc (2005), for spans and central lists; Evans, jemalloc (2006), for
 * classes and delayed return; Leijen, Zorn, de Moura, Mimalloc (2019), for masks.
 *
 * Trade-off: speed for some memory in caches; a span is held by a single object that stays. Threads
 * take their objects from spans of their own side, of four (lib/central.h): for that a class may
 * have a quarter of its objects, or 16 KiB, free in spans and depot before one side takes what is
 * another's. Two copies of `requests` (--replay parallel --copies 1,2) reach 0.82 of the ideal
 * throughput so, and 0.52 where all threads share spans; the serial replay of `redis` takes 4 %
 * longer, that of `sqlite` as long. With more than four threads, those of one side share cache
 * lines.
 *
 * Detected, in exact words, at the free: an object that is free already, "double free"; an address
 * that is no object's, "invalid free"; a size that the object is too small for, or that a large
 * object cannot have had, "wrong size". A free object that was written over in its first 16 bytes:
 * "corrupted free block", when it is next taken. Not seen: the free of an address where an object
 * would begin that was never handed out, or one more than the span holds.
 *
 * Threads. Each view belongs to one thread: its bins are written by the owner, inside the view's
 * gate (lib/gate.h, whose memory orders are argued there), and by tick and trim while they have
 * closed it and found nobody inside. The rest has locks: tick and trim, the list of views, each
 * class's central list, the pages (whose lock-free reads lib/pages.h argues), in this order; a
 * thread inside its gate may take the latter two. fork closes all gates and takes all locks, so the
 * child's heap is whole: lib/front.h says what it may lose.
 */
#include "allocators/lib/allocator.h"
#include "allocators/lib/front.h"
#include "allocators/lib/option.h"

/* ---- options ---- */

static const struct option segfit_options[] = {FRONT_ROWS, {.name = NULL}};

/* ---- alloc, free: lib/front.h's, compiled in here ---- */

static void *segfit_alloc(struct heap *v, size_t size, size_t align)
{
    return front_alloc(v, size, align);
}

static void *segfit_zalloc(struct heap *v, size_t size, size_t align)
{
    return front_zalloc(v, size, align);
}

static void segfit_free(struct heap *v, void *p, size_t size)
{
    front_free(v, p, size);
}

/* ---- create ---- */

static struct heap *segfit_create(const struct alloc_env *env)
{
    return front_create(env, env->options, &(struct front_kind){.design = "segfit"});
}

ALLOCATOR(segfit) = {
    .name = "segfit",
    .summary = "size classes in spans, a cache for each thread, pages returned by age and limit",
    .source = "Bonwick and Adams 2001; TCMalloc 2005; jemalloc 2006; mimalloc 2019",
    .traits = ALLOCATOR_SHARED | ALLOCATOR_REMOTE_FREE | ALLOCATOR_REUSES | ALLOCATOR_ANY_ALIGN |
              ALLOCATOR_FINDS_OWNER,
    .options_size = sizeof(struct front_options),
    .options = segfit_options,
    .create = segfit_create,
    .destroy = front_destroy,
    .alloc = segfit_alloc,
    .free = segfit_free,
    .zalloc = segfit_zalloc,
    .realloc = front_realloc,
    .usable = front_usable,
    .thread_enter = front_thread_enter,
    .thread_exit = front_thread_exit,
    .tick = front_tick,
    .trim = front_trim,
    .fork = front_fork,
    .walk = front_walk,
    .check = front_check,
    .mode = front_mode,
    .stats = front_stats,
};
