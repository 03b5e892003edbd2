/*
 * hugepack.c - segfit's caches and central lists over pages that are packed into huge pages: spans
 * go where huge pages are fullest already, so that others become empty, and only whole ones are
 * given back to the kernel.
 *
 *     a segment of 32 MiB, aligned:  16 huge pages of 2 MiB, 256 units of 8 KiB each
 *
 *     | header, spans | spans spans   . | spans . . . . . . | whole, free | whole, free | ...
 *       used by itself  nearly full       filled last         taken when no other has room, and
 *                       filled first                          what goes back to the kernel
 *
 * A processor finds an address by its translation buffer, which has some 1500 entries: 6 MiB in
 * pages of 4 KiB, 3 GiB in pages of 2 MiB. The kernel backs memory with huge pages by itself
 * (transparent huge pages) as long as a whole aligned 2 MiB is there. An allocator that returns any
 * free run breaks them up: the run's neighbours are then small pages for good. This one does not;
 * what it pays is that memory in a huge page goes back only when the last span in it is empty. So
 * all depends on spans leaving some huge pages altogether, and that is what packing is for.
 *
 * Caches, classes, central lists: those of segfit, from lib/front.h; its file explains them. Here a
 * span of up to 255 units is taken from the huge page whose longest free run is the shortest that
 * is enough, and of those from the fullest (lib/huge.h). Long spans take whole huge pages, and what
 * they leave of the last one is filled with others. With thp=on every segment is advised to the
 * kernel (os_huge) and a huge page is committed as a whole when its first unit is: what the kernel
 * does anyway when it backs one, so that committed says what is resident.
 *
 * tick, trim and the limit return what is free as a whole, as segfit's do: idle caches first, then
 * huge pages that were free for age_ms. subrelease=yes returns other free runs as well, each of
 * which breaks a huge page up: less memory, lower coverage.
 *
 * Invariants: those of segfit (lib/front.h, lib/central.h, lib/pages.h), and lib/huge.h's: a free
 * run is either whole huge pages or lies within one, whose free units and longest run are known; a
 * huge page is indexed by the latter. Two free runs of one huge page do not touch.
 *
 * Cost. Objects: segfit's. A span: O(16) huge pages looked at and O(128) runs, all of one huge
 * page. A heap's first huge page has 280 KiB of header.
 *   Space: segfit's, and the free runs of huge pages in use. There is no bound on those but the
 * peak: one object that stays in each huge page keeps all.
 *
 * Source: Hunter, Kennelly, Turner, Gove, Moseley, Ranganathan, Beyond malloc efficiency to fleet
 * efficiency: a hugepage-aware memory allocator, OSDI 2021 (Temeraire in TCMalloc): the packing of
 * section 4.4, without its separate regions for requests that fit huge pages badly.
 *
 * Trade-off: fewer translation misses and system calls for more memory held; small heaps take 2 MiB
 * at least.
 *
 * Detected: as segfit.
 *
 * Threads: as segfit; huge pages are under the pages' lock.
 */
#include "allocators/lib/allocator.h"
#include "allocators/lib/front.h"
#include "allocators/lib/option.h"

/* ---- options ---- */

struct hugepack_options {
    struct front_options front;
    unsigned thp;
    unsigned subrelease;
};
_Static_assert(!offsetof(struct hugepack_options, front), "FRONT_ROWS count from its start");

static const struct option hugepack_options[] = {
    FRONT_ROWS,
    {.name = "thp",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct hugepack_options, thp),
     .fallback = "on",
     .choices = "on|off",
     .summary = "whether the kernel is asked for transparent huge pages"},
    {.name = "subrelease",
     .type = OPTION_BOOL,
     .offset = offsetof(struct hugepack_options, subrelease),
     .fallback = "no",
     .summary = "whether parts of huge pages go back to the kernel"},
    {.name = NULL},
};

/* ---- alloc, free: lib/front.h's, compiled in here ---- */

static void *hugepack_alloc(struct heap *v, size_t size, size_t align)
{
    return front_alloc(v, size, align);
}

static void *hugepack_zalloc(struct heap *v, size_t size, size_t align)
{
    return front_zalloc(v, size, align);
}

static void hugepack_free(struct heap *v, void *p, size_t size)
{
    front_free(v, p, size);
}

/* ---- create ---- */

static struct heap *hugepack_create(const struct alloc_env *env)
{
    const struct hugepack_options *opt = env->options;
    const struct front_kind kind = {
        .design = "hugepack", .huge = true, .thp = opt->thp == 0, .subrelease = opt->subrelease};
    return front_create(env, &opt->front, &kind);
}

ALLOCATOR(hugepack) = {
    .name = "hugepack",
    .summary = "segfit's caches over spans packed into huge pages, which go back whole",
    .source = "Hunter, Kennelly, et al., OSDI 2021 (Temeraire)",
    .traits = ALLOCATOR_SHARED | ALLOCATOR_REMOTE_FREE | ALLOCATOR_REUSES | ALLOCATOR_ANY_ALIGN |
              ALLOCATOR_FINDS_OWNER,
    .options_size = sizeof(struct hugepack_options),
    .options = hugepack_options,
    .create = hugepack_create,
    .destroy = front_destroy,
    .alloc = hugepack_alloc,
    .free = hugepack_free,
    .zalloc = hugepack_zalloc,
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
