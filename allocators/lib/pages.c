/*
 * pages.c - see pages.h. Functions named run_ work on free runs under the lock.
 */
#include "allocators/lib/pages.h"

#include <string.h>

#include "allocators/lib/bitmap.h"
#include "allocators/lib/os.h"

/* Units committed at once where they lie in the same free run: fewer door calls. */
enum { AHEAD_UNITS = 8 };

/* ---- info and struct spans ---- */

static void info_set(struct segment *segment, size_t unit, unsigned tag, size_t first)
{
    atomic_store_explicit(&segment->info[unit], (uint32_t)first << UNIT_SHIFT | tag,
                          memory_order_relaxed);
}

static void info_clear(struct segment *segment, size_t first, size_t units)
{
    for (size_t i = first; i < first + units; i++)
        atomic_store_explicit(&segment->info[i], TAG_NONE, memory_order_relaxed);
}

static bool spans_commit(struct pages *pages, struct segment *segment, size_t unit)
{
    size_t group = unit / SPAN_GROUP;
    if (unit == SEGMENT_UNITS || segment->span_groups >> group & 1)
        return true;
    if (os_commit(pages->os, &segment->spans[group * SPAN_GROUP], SPAN_GROUP * sizeof(struct span)))
        return false;
    segment->span_groups |= UINT32_C(1) << group;
    return true;
}

static char *unit_address(struct segment *segment, size_t unit)
{
    return (char *)segment + (unit << UNIT_SHIFT);
}

/* ---- free runs ---- */

static unsigned bin_of(size_t units)
{
    unsigned shift = log2_floor(units | 8) - 3;
    return (shift << 3) + (unsigned)(units >> shift);
}
_Static_assert(((12 - 3) << 3) + 15 < RUN_BINS, "a bin for each length");

static void run_insert(struct pages *pages, struct span *run)
{
    struct segment *segment = segment_of(run);
    size_t first = span_first(run), last = first + run->units - 1;
    unsigned bin = bin_of(run->units);
    size_t kept = bitmap_range(segment->committed, first, run->units, BITMAP_LOOK);
    run->tag = TAG_FREE;
    info_set(segment, first, TAG_FREE, first);
    info_set(segment, last, TAG_FREE, first);
    list_insert_after(&pages->bins[bin], &run->link);
    pages->bin_bits[bin / 64] |= UINT64_C(1) << (bin % 64);
    run->freed_ns = pages->now_ns;
    list_init(&run->kept);
    if (kept)
        list_insert_after(&pages->kept, &run->kept);
    pages->kept_units += kept;
}

/* Out of its lists; info at its ends becomes none. */
static void run_remove(struct pages *pages, struct span *run)
{
    struct segment *segment = segment_of(run);
    size_t first = span_first(run);
    unsigned bin = bin_of(run->units);
    list_remove(&run->link);
    if (list_empty(&pages->bins[bin]))
        pages->bin_bits[bin / 64] &= ~(UINT64_C(1) << (bin % 64));
    list_remove(&run->kept);
    pages->kept_units -= bitmap_range(segment->committed, first, run->units, BITMAP_LOOK);
    info_set(segment, first, TAG_NONE, 0);
    info_set(segment, first + run->units - 1, TAG_NONE, 0);
}

static struct span *run_of(struct list *link)
{
    return LIST_ENTRY(link, struct span, link);
}

/* A run of at least so many units, still in its lists: the best of the own bin, or any of the next.
 */
static struct span *run_find(struct pages *pages, size_t units)
{
    unsigned bin = bin_of(units), word = bin / 64;
    struct span *best = NULL;
    for (struct list *l = pages->bins[bin].next; l != &pages->bins[bin]; l = l->next)
        if (run_of(l)->units >= units && (!best || run_of(l)->units < best->units))
            best = run_of(l);
    if (best)
        return best;
    bin++;
    uint64_t bits = bin / 64 > word ? 0 : pages->bin_bits[word] & ~UINT64_C(0) << (bin % 64);
    while (!bits && ++word < sizeof pages->bin_bits / sizeof *pages->bin_bits)
        bits = pages->bin_bits[word];
    return bits ? run_of(pages->bins[word * 64 + (unsigned)__builtin_ctzll(bits)].next) : NULL;
}

/* The memory of a free run goes back; the run stays. */
static void run_return(struct pages *pages, struct span *run)
{
    struct segment *segment = segment_of(run);
    size_t first = span_first(run);
    list_remove(&run->kept);
    list_init(&run->kept);
    if (os_decommit(pages->os, span_start(run), run->units * UNIT_BYTES)) {
        list_insert_after(&pages->kept, &run->kept); /* the kernel refused: later, perhaps */
        run->freed_ns = pages->now_ns;
        return;
    }
    size_t count = bitmap_range(segment->committed, first, run->units, BITMAP_CLEAR);
    bitmap_range(segment->touched, first, run->units, BITMAP_CLEAR);
    pages->kept_units -= count;
    pages->returned_units += count;
}

static struct span *kept_oldest(struct pages *pages)
{
    struct list *last = pages->kept.prev;
    return last == &pages->kept ? NULL : LIST_ENTRY(last, struct span, kept);
}

/* Beyond the limit the oldest go first. As many turns as there are runs, should all be refused. */
static void kept_limit(struct pages *pages)
{
    if (pages->policy == RETURN_NEVER)
        return;
    for (size_t before = SIZE_MAX;
         pages->kept_units > pages->limit_units && pages->kept_units < before;) {
        before = pages->kept_units;
        run_return(pages, kept_oldest(pages));
    }
}

/* All of them. */
static void kept_return(struct pages *pages)
{
    for (struct list *l = pages->kept.prev, *next; l != &pages->kept; l = next) {
        next = l->prev;
        run_return(pages, LIST_ENTRY(l, struct span, kept));
    }
}

/* ---- segments ---- */

static size_t header_bytes(void)
{
    return align_up(offsetof(struct segment, info) + sizeof(((struct segment *)0)->info),
                    os_page_bytes());
}

static _Atomic uint32_t *number_place(struct pages *pages, const struct segment *segment)
{
    return &pages->numbers[((uintptr_t)segment >> SEGMENT_SHIFT) % NUMBERS];
}

/* A new one, as one free run; NULL = no memory. */
static struct span *segment_add(struct pages *pages)
{
    struct segment *segment = os_reserve(pages->os, SEGMENT_BYTES, SEGMENT_BYTES);
    if (!segment)
        return NULL;
    if (os_commit(pages->os, segment, header_bytes()) ||
        !spans_commit(pages, segment, HEADER_UNITS)) {
        os_release(pages->os, segment, SEGMENT_BYTES);
        return NULL;
    }
    list_insert_after(&pages->segments, &segment->link);
    pages->segment_count++;
    _Atomic uint32_t *place = number_place(pages, segment);
    if (!atomic_load_explicit(place, memory_order_relaxed))
        atomic_store_explicit(place, (uint32_t)((uintptr_t)segment >> SEGMENT_SHIFT),
                              memory_order_relaxed);
    struct span *run = &segment->spans[HEADER_UNITS];
    run->units = RUN_UNITS_MAX;
    run_insert(pages, run);
    return run;
}

/* The segment is one free run. */
static void segment_remove(struct pages *pages, struct segment *segment)
{
    _Atomic uint32_t *place = number_place(pages, segment);
    run_remove(pages, &segment->spans[HEADER_UNITS]);
    if (atomic_load_explicit(place, memory_order_relaxed) ==
        (uint32_t)((uintptr_t)segment >> SEGMENT_SHIFT))
        atomic_store_explicit(place, 0, memory_order_relaxed);
    list_remove(&segment->link);
    pages->segment_count--;
    os_release(pages->os, segment, SEGMENT_BYTES);
}

struct segment *pages_search(struct pages *pages, const void *p)
{
    struct segment *found = NULL;
    lock_take(&pages->lock);
    for (struct list *l = pages->segments.next; l != &pages->segments; l = l->next)
        if (LIST_ENTRY(l, struct segment, link) == segment_of(p))
            found = segment_of(p);
    lock_give(&pages->lock);
    return found;
}

/* ---- spans ---- */

/* Commits units [first, first + units) and marks them as touched; some of the free units behind
 * them, up to `end`, are committed with them. Sets *fresh if none had been touched. */
static bool units_commit(struct pages *pages, struct segment *segment, size_t first, size_t units,
                         size_t end, bool *fresh)
{
    size_t there = bitmap_range(segment->committed, first, units, BITMAP_LOOK);
    if (there < units) {
        size_t ahead = size_min(align_up(first + units, AHEAD_UNITS), end) - first;
        char *start = unit_address(segment, first);
        if (ahead == units || os_commit(pages->os, start, ahead * UNIT_BYTES)) {
            ahead = units;
            if (os_commit(pages->os, start, ahead * UNIT_BYTES))
                return false;
        }
        bitmap_range(segment->committed, first, ahead, BITMAP_SET);
        pages->commits++;
    }
    *fresh = !bitmap_range(segment->touched, first, units, BITMAP_SET);
    return true;
}

/* Makes a span out of a run: what is left before and behind it goes back into the bins. */
static struct span *run_cut(struct pages *pages, struct span *run, size_t units, size_t align_units,
                            unsigned tag)
{
    struct segment *segment = segment_of(run);
    size_t start = span_first(run), end = start + run->units;
    size_t first = align_up(start, align_units);
    struct span *span = &segment->spans[first], *rest = span + units;
    bool fresh;
    run_remove(pages, run);
    if (!spans_commit(pages, segment, first) || !spans_commit(pages, segment, first + units) ||
        !units_commit(pages, segment, first, units, end, &fresh)) {
        run_insert(pages, run);
        return NULL;
    }
    if (first > start) {
        run->units = (uint32_t)(first - start);
        run_insert(pages, run);
    }
    if (first + units < end) {
        rest->units = (uint32_t)(end - first - units);
        run_insert(pages, rest);
    }
    span->units = (uint32_t)units;
    span->tag = (uint8_t)tag;
    span->fresh = fresh;
    info_set(segment, first, tag, first);
    return span;
}

struct span *pages_take(struct pages *pages, size_t units, size_t align_units, unsigned tag)
{
    size_t room = units + align_units - 1;
    struct span *span = NULL;
    if (room > RUN_UNITS_MAX)
        return NULL;
    lock_take(&pages->lock);
    struct span *run = run_find(pages, room);
    run = run ? run : segment_add(pages);
    if (run)
        span = run_cut(pages, run, units, align_units, tag);
    if (!span && pages->kept_units) { /* what is free elsewhere may be what is missing */
        kept_return(pages);
        run = run_find(pages, room);
        run = run ? run : segment_add(pages);
        span = run ? run_cut(pages, run, units, align_units, tag) : NULL;
    }
    lock_give(&pages->lock);
    return span;
}

/* Units that are in no list become a free run, with their free neighbours. */
static void run_merge(struct pages *pages, struct span *run)
{
    struct segment *segment = segment_of(run);
    size_t first = span_first(run), next = first + run->units;
    uint32_t before = segment_info(segment, (unsigned)first - 1);
    if (info_tag(segment_info(segment, (unsigned)next)) == TAG_FREE) {
        run_remove(pages, &segment->spans[next]);
        run->units += segment->spans[next].units;
    }
    if (info_tag(before) == TAG_FREE) {
        struct span *previous = &segment->spans[info_first(before)];
        run_remove(pages, previous);
        previous->units += run->units;
        run = previous;
    }
    run_insert(pages, run);
}

void pages_give(struct pages *pages, struct span *span)
{
    lock_take(&pages->lock);
    info_clear(segment_of(span), span_first(span), span->units);
    run_merge(pages, span);
    kept_limit(pages);
    lock_give(&pages->lock);
}

bool pages_resize(struct pages *pages, struct span *span, size_t units)
{
    struct segment *segment = segment_of(span);
    size_t first = span_first(span), next = first + span->units, now = span->units;
    bool done = true, fresh;
    lock_take(&pages->lock);
    if (units > now) {
        struct span *run = &segment->spans[next];
        size_t total = now;
        if (info_tag(segment_info(segment, (unsigned)next)) == TAG_FREE)
            total += run->units;
        done = units <= total;
        if (done) {
            run_remove(pages, run);
            done = spans_commit(pages, segment, first + units) &&
                   units_commit(pages, segment, next, units - now, first + total, &fresh);
            size_t from = done ? first + units : next;
            if (from < first + total) {
                segment->spans[from].units = (uint32_t)(first + total - from);
                run_insert(pages, &segment->spans[from]);
            }
        }
    } else if (units < now) {
        done = spans_commit(pages, segment, first + units);
        if (done) {
            segment->spans[first + units].units = (uint32_t)(now - units);
            run_merge(pages, &segment->spans[first + units]);
            kept_limit(pages);
        }
    }
    if (done)
        span->units = (uint32_t)units;
    lock_give(&pages->lock);
    return done;
}

/* ---- objects larger than a segment ---- */

void *pages_large_alloc(struct pages *pages, size_t size, size_t align)
{
    lock_take(&pages->lock);
    void *p = large_alloc(&pages->large, pages->os, size, align);
    lock_give(&pages->lock);
    return p;
}

size_t pages_large_find(struct pages *pages, const void *p)
{
    lock_take(&pages->lock);
    const struct large *large = large_find(&pages->large, p);
    size_t bytes = large ? large->committed : 0;
    lock_give(&pages->lock);
    return bytes;
}

bool pages_large_free(struct pages *pages, const void *p)
{
    lock_take(&pages->lock);
    struct large *large = large_find(&pages->large, p);
    if (large)
        large_free(&pages->large, pages->os, large);
    lock_give(&pages->lock);
    return large;
}

bool pages_large_resize(struct pages *pages, const void *p, size_t size)
{
    lock_take(&pages->lock);
    struct large *large = large_find(&pages->large, p);
    bool done = large && large_resize(large, pages->os, size);
    lock_give(&pages->lock);
    return done;
}

/* ---- giving back ---- */

/* Segments that are one free run without memory, all of them. */
static void segments_release(struct pages *pages)
{
    for (struct list *l = pages->segments.next, *next; l != &pages->segments; l = next) {
        struct segment *segment = LIST_ENTRY(l, struct segment, link);
        const struct span *run = &segment->spans[HEADER_UNITS];
        next = l->next;
        if (run->tag == TAG_FREE && run->units == RUN_UNITS_MAX && list_empty(&run->kept))
            segment_remove(pages, segment);
    }
}

void pages_tick(struct pages *pages, uint64_t now_ns)
{
    lock_take(&pages->lock);
    pages->now_ns = size_max(now_ns, pages->now_ns);
    struct span *oldest;
    while (pages->policy != RETURN_NEVER && (oldest = kept_oldest(pages)) != NULL &&
           oldest->freed_ns < pages->now_ns && pages->now_ns - oldest->freed_ns >= pages->age_ns)
        run_return(pages, oldest);
    if (pages->policy != RETURN_NEVER)
        segments_release(pages);
    lock_give(&pages->lock);
}

void pages_trim(struct pages *pages)
{
    lock_take(&pages->lock);
    kept_return(pages);
    segments_release(pages);
    lock_give(&pages->lock);
}

/* ---- open, close ---- */

bool pages_open(struct pages *pages)
{
    list_init(&pages->segments);
    list_init(&pages->kept);
    for (unsigned i = 0; i < RUN_BINS; i++)
        list_init(&pages->bins[i]);
    return os_page_bytes() <= UNIT_BYTES;
}

void pages_close(struct pages *pages)
{
    large_release(&pages->large, pages->os);
    while (!list_empty(&pages->segments)) {
        struct list *link = pages->segments.next;
        list_remove(link);
        os_release(pages->os, LIST_ENTRY(link, struct segment, link), SEGMENT_BYTES);
    }
}

/* ---- observation ---- */

void pages_each(const struct pages *pages, pages_span_fn *fn, void *arg)
{
    for (struct list *l = pages->segments.next; l != &pages->segments; l = l->next) {
        struct segment *segment = LIST_ENTRY(l, struct segment, link);
        for (size_t i = HEADER_UNITS; i < SEGMENT_UNITS; i += segment->spans[i].units)
            if (segment->spans[i].tag != TAG_FREE)
                fn(arg, &segment->spans[i]);
    }
}

struct walk_call {
    walk_fn *fn;
    void *arg;
};

static void walk_tell(const struct walk_call *call, const void *start, size_t bytes,
                      enum walk_kind kind)
{
    if (bytes)
        call->fn(call->arg,
                 &(struct walk_item){.address = (uintptr_t)start, .bytes = bytes, .kind = kind});
}

/* A free run: its units of one kind in a row are one item. */
static void run_walk(const struct walk_call *call, struct segment *segment, const struct span *run)
{
    size_t first = span_first(run), end = first + run->units;
    for (size_t from = first, to; from < end; from = to) {
        bool committed = bitmap_get(segment->committed, from);
        bool touched = bitmap_get(segment->touched, from);
        for (to = from + 1; to < end && bitmap_get(segment->committed, to) == committed &&
                            bitmap_get(segment->touched, to) == touched;)
            to++;
        if (committed)
            walk_tell(call, unit_address(segment, from), (to - from) * UNIT_BYTES,
                      touched ? WALK_FREE : WALK_UNUSED);
    }
}

void pages_walk(const struct pages *pages, walk_fn *fn, void *arg)
{
    struct walk_call call = {fn, arg};
    for (struct list *l = pages->segments.next; l != &pages->segments; l = l->next) {
        struct segment *segment = LIST_ENTRY(l, struct segment, link);
        walk_tell(&call, segment, header_bytes(), WALK_META);
        for (unsigned i = 0; i < SEGMENT_UNITS / SPAN_GROUP; i++)
            if (segment->span_groups >> i & 1)
                walk_tell(&call, &segment->spans[i * SPAN_GROUP], SPAN_GROUP * sizeof(struct span),
                          WALK_META);
        for (size_t i = HEADER_UNITS; i < SEGMENT_UNITS; i += segment->spans[i].units)
            if (segment->spans[i].tag == TAG_FREE)
                run_walk(&call, segment, &segment->spans[i]);
    }
    large_walk(&pages->large, fn, arg);
}

static const char *run_check(const struct pages *pages, struct segment *segment,
                             const struct span *run)
{
    unsigned first = span_first(run), last = first + run->units - 1, bin = bin_of(run->units);
    uint32_t info = first << UNIT_SHIFT | TAG_FREE;
    bool in_bin = false;
    for (struct list *l = pages->bins[bin].next; l != &pages->bins[bin] && !in_bin; l = l->next)
        in_bin = run_of(l) == run;
    if (!in_bin)
        return "pages: a free run is not in its bin";
    if (segment_info(segment, first) != info || segment_info(segment, last) != info)
        return "pages: a free run's info is wrong";
    if (info_tag(segment_info(segment, last + 1)) == TAG_FREE)
        return "pages: two neighbours are free";
    bool kept = bitmap_range(segment->committed, first, run->units, BITMAP_LOOK);
    if (kept == list_empty(&run->kept))
        return "pages: the list of kept runs is wrong";
    return NULL;
}

static const char *segment_check(const struct pages *pages, struct segment *segment, size_t *runs,
                                 size_t *kept)
{
    for (unsigned i = 0; i < SEGMENT_UNITS / 64; i++)
        if (segment->touched[i] & ~segment->committed[i])
            return "pages: a touched unit is not committed";
    for (size_t i = HEADER_UNITS; i < SEGMENT_UNITS; i += segment->spans[i].units) {
        const struct span *span = &segment->spans[i];
        if (!span->units || i + span->units > SEGMENT_UNITS)
            return "pages: spans do not tile a segment";
        size_t count = bitmap_range(segment->committed, i, span->units, BITMAP_LOOK);
        if (span->tag != TAG_FREE && count < span->units)
            return "pages: a span is not committed";
        if (span->tag != TAG_FREE)
            continue;
        const char *broken = run_check(pages, segment, span);
        if (broken)
            return broken;
        *runs += 1;
        *kept += count;
    }
    return NULL;
}

const char *pages_check(const struct pages *pages)
{
    size_t runs = 0, kept = 0, binned = 0;
    for (struct list *l = pages->segments.next; l != &pages->segments; l = l->next) {
        const char *broken =
            segment_check(pages, LIST_ENTRY(l, struct segment, link), &runs, &kept);
        if (broken)
            return broken;
    }
    for (unsigned i = 0; i < RUN_BINS; i++) {
        if ((pages->bin_bits[i / 64] >> (i % 64) & 1) == list_empty(&pages->bins[i]))
            return "pages: a bin's bit is wrong";
        for (struct list *l = pages->bins[i].next; l != &pages->bins[i]; l = l->next)
            binned++;
    }
    if (binned != runs)
        return "pages: the bins do not hold exactly the free runs";
    if (kept != pages->kept_units)
        return "pages: the kept units do not sum up";
    return large_check(&pages->large);
}
