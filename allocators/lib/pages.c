/*
 * pages.c - see pages.h. Functions named run_ work on free runs under the lock.
 */
#include "allocators/lib/pages.h"

#include <sched.h>
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

/* Whether it is a number of whole huge pages. */
static bool run_is_whole(const struct span *run)
{
    return !(span_first(run) % HUGE_UNITS) && !(run->units % HUGE_UNITS);
}

/* A run that is kept by the huge page that it lies in. */
static bool run_is_inner(const struct pages *pages, const struct span *run)
{
    return pages->huge && !run_is_whole(run);
}

static struct huge_page *huge_of(const struct span *run)
{
    return &segment_of(run)->huge[span_first(run) / HUGE_UNITS];
}

/* How many of its units are committed and may go back. */
static size_t run_kept(const struct pages *pages, const struct span *run)
{
    if (run_is_inner(pages, run) && !pages->subrelease)
        return 0;
    return bitmap_range(segment_of(run)->committed, span_first(run), run->units, BITMAP_LOOK);
}

static void run_insert(struct pages *pages, struct span *run)
{
    struct segment *segment = segment_of(run);
    size_t first = span_first(run), last = first + run->units - 1;
    unsigned bin = bin_of(run->units);
    size_t kept = run_kept(pages, run);
    run->tag = TAG_FREE;
    info_set(segment, first, TAG_FREE, first);
    info_set(segment, last, TAG_FREE, first);
    if (run_is_inner(pages, run)) {
        huge_insert(&pages->index, huge_of(run), run);
    } else {
        list_insert_after(&pages->bins[bin], &run->link);
        pages->bin_bits[bin / 64] |= UINT64_C(1) << (bin % 64);
    }
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
    if (run_is_inner(pages, run)) {
        huge_remove(&pages->index, huge_of(run), run);
    } else {
        list_remove(&run->link);
        if (list_empty(&pages->bins[bin]))
            pages->bin_bits[bin / 64] &= ~(UINT64_C(1) << (bin % 64));
    }
    list_remove(&run->kept);
    pages->kept_units -= run_kept(pages, run);
    info_set(segment, first, TAG_NONE, 0);
    info_set(segment, first + run->units - 1, TAG_NONE, 0);
}

static struct span *run_of(struct list *link)
{
    return LIST_ENTRY(link, struct span, link);
}

/* A run of at least so many units, still in its lists: that of a huge page in use, the best of the
 * own bin, or any of the next. */
static struct span *run_find(struct pages *pages, size_t units)
{
    unsigned bin = bin_of(units), word = bin / 64;
    struct span *best = pages->huge ? huge_find(&pages->index, units) : NULL;
    if (best)
        return best;
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

/* Whether two free neighbours become one. */
static bool runs_merge(const struct pages *pages, const struct span *a, const struct span *b)
{
    if (!pages->huge)
        return true;
    if (run_is_inner(pages, a) || run_is_inner(pages, b))
        return run_is_inner(pages, a) && run_is_inner(pages, b) && huge_of(a) == huge_of(b);
    return true;
}

/* A run that is in no list, with those neighbours that merge with it: these leave their lists. */
static struct span *run_absorb(struct pages *pages, struct span *run)
{
    struct segment *segment = segment_of(run);
    size_t first = span_first(run), next = first + run->units;
    uint32_t before = segment_info(segment, (unsigned)first - 1);
    if (info_tag(segment_info(segment, (unsigned)next)) == TAG_FREE &&
        runs_merge(pages, run, &segment->spans[next])) {
        run_remove(pages, &segment->spans[next]);
        run->units += segment->spans[next].units;
    }
    if (info_tag(before) == TAG_FREE &&
        runs_merge(pages, &segment->spans[info_first(before)], run)) {
        struct span *previous = &segment->spans[info_first(before)];
        run_remove(pages, previous);
        previous->units += run->units;
        run = previous;
    }
    return run;
}

/* How many of the units from `first` on can be one run: not across the bounds of a huge page, but
 * for whole ones. */
static size_t piece_units(const struct pages *pages, size_t first, size_t units)
{
    if (!pages->huge)
        return units;
    if (first % HUGE_UNITS)
        return size_min(units, HUGE_UNITS - first % HUGE_UNITS);
    return units < HUGE_UNITS ? units : align_down(units, HUGE_UNITS);
}

/* Units that are in no list become free runs, with their free neighbours. Their struct spans, at
 * the start and where pieces begin, are committed. */
static void runs_put(struct pages *pages, struct segment *segment, size_t first, size_t units)
{
    while (units) {
        size_t piece = piece_units(pages, first, units);
        struct span *run = &segment->spans[first];
        run->units = (uint32_t)piece;
        run = run_absorb(pages, run);
        if (pages->huge && run_is_whole(run)) /* perhaps by what it has just merged with */
            run = run_absorb(pages, run);
        run_insert(pages, run);
        first += piece;
        units -= piece;
    }
}

/* ---- giving back: each of these opens the lock for a while ---- */

/* The memory of a free run goes back; the run stays. False = the kernel refused. */
static bool run_return(struct pages *pages, struct span *run, bool lazily)
{
    struct segment *segment = segment_of(run);
    size_t first = span_first(run), units = run->units;
    run_remove(pages, run);
    run->tag = TAG_META; /* nobody's, in no list */
    pages->returning++;
    lock_give(&pages->lock);
    bool done =
        !(lazily ? os_decommit_lazy : os_decommit)(pages->os, span_start(run), units * UNIT_BYTES);
    lock_take(&pages->lock);
    pages->returning--;
    if (done) {
        pages->returned_units += bitmap_range(segment->committed, first, units, BITMAP_CLEAR);
        if (!lazily)
            bitmap_range(segment->touched, first, units, BITMAP_CLEAR);
    }
    runs_put(pages, segment, first, units);
    return done;
}

static struct span *kept_oldest(struct pages *pages)
{
    struct list *last = pages->kept.prev;
    return last == &pages->kept ? NULL : LIST_ENTRY(last, struct span, kept);
}

/* Beyond the limit the oldest go first. */
static void kept_limit(struct pages *pages)
{
    if (pages->policy == RETURN_NEVER)
        return;
    while (pages->kept_units > pages->limit_units)
        if (!run_return(pages, kept_oldest(pages), pages->policy == RETURN_LAZY))
            return; /* later, perhaps */
}

/* All that are kept now; one that the kernel refuses comes back as the youngest. */
static void kept_return(struct pages *pages)
{
    size_t runs = 0;
    for (struct list *l = pages->kept.next; l != &pages->kept; l = l->next)
        runs++;
    for (struct span *run; runs && (run = kept_oldest(pages)) != NULL; runs--)
        run_return(pages, run, false);
}

/* The lock is taken, and nothing is on its way to the kernel. */
static void pages_settle(struct pages *pages)
{
    lock_take(&pages->lock);
    while (pages->returning) {
        lock_give(&pages->lock);
        sched_yield();
        lock_take(&pages->lock);
    }
}

/* Memory is short, and what is free elsewhere may be what is missing: it goes back. False = there
 * is none. The lock, which is taken, is open meanwhile. */
static bool pages_relieve(struct pages *pages)
{
    if (!pages->kept_units && !pages->returning)
        return false;
    kept_return(pages);
    lock_give(&pages->lock);
    pages_settle(pages);
    return true;
}

void pages_fork_before(struct pages *pages)
{
    pages_settle(pages);
}

void pages_fork_after(struct pages *pages)
{
    lock_give(&pages->lock);
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

/* The units of the first huge page, which the header begins, are committed at once. */
static void first_huge_commit(struct pages *pages, struct segment *segment)
{
    if (os_commit(pages->os, segment, HUGE_UNITS * UNIT_BYTES))
        return;
    segment->header_bytes = offsetof(struct segment, spans);
    segment->span_groups = UINT32_MAX;
    bitmap_range(segment->committed, HEADER_UNITS, HUGE_UNITS - HEADER_UNITS, BITMAP_SET);
    pages->commits++;
}

/* A new one, free; false = no memory. */
static bool segment_add(struct pages *pages)
{
    struct segment *segment = os_reserve(pages->os, SEGMENT_BYTES, SEGMENT_BYTES);
    if (!segment)
        return false;
    if (pages->thp)
        os_huge(pages->os, segment, SEGMENT_BYTES, true);
    if (os_commit(pages->os, segment, header_bytes()) ||
        !spans_commit(pages, segment, HEADER_UNITS) ||
        (pages->huge && !spans_commit(pages, segment, HUGE_UNITS))) {
        os_release(pages->os, segment, SEGMENT_BYTES);
        return false;
    }
    segment->header_bytes = (uint32_t)header_bytes();
    if (pages->thp)
        first_huge_commit(pages, segment); /* else bit by bit, as it is used */
    list_insert_after(&pages->segments, &segment->link);
    pages->segment_count++;
    _Atomic uint32_t *place = number_place(pages, segment);
    if (!atomic_load_explicit(place, memory_order_relaxed))
        atomic_store_explicit(place, (uint32_t)((uintptr_t)segment >> SEGMENT_SHIFT),
                              memory_order_relaxed);
    for (unsigned i = 0; i < SEGMENT_HUGES && pages->huge; i++)
        huge_page_open(&segment->huge[i]);
    runs_put(pages, segment, HEADER_UNITS, RUN_UNITS_MAX);
    return true;
}

/* All free, and without memory that may go back. */
static bool segment_is_empty(const struct pages *pages, const struct segment *segment)
{
    const struct span *run = &segment->spans[HEADER_UNITS];
    size_t next = HEADER_UNITS + run->units;
    if (run->tag == TAG_FREE && pages->huge && next == HUGE_UNITS) {
        run = &segment->spans[next];
        next += run->units;
    }
    return run->tag == TAG_FREE && next == SEGMENT_UNITS && !run_kept(pages, run);
}

/* Out of all lists: what is left to do is os_release(). */
static void segment_remove(struct pages *pages, struct segment *segment)
{
    _Atomic uint32_t *place = number_place(pages, segment);
    for (size_t i = HEADER_UNITS; i < SEGMENT_UNITS; i += segment->spans[i].units)
        run_remove(pages, &segment->spans[i]);
    if (atomic_load_explicit(place, memory_order_relaxed) ==
        (uint32_t)((uintptr_t)segment >> SEGMENT_SHIFT))
        atomic_store_explicit(place, 0, memory_order_relaxed);
    list_remove(&segment->link);
    pages->segment_count--;
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
        size_t step = pages->thp ? HUGE_UNITS : AHEAD_UNITS;
        size_t ahead = size_min(align_up(first + units, step), end) - first;
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

/* The struct spans for a span of these units, for what follows it, and for the pieces that it will
 * be free in. */
static bool spans_ready(struct pages *pages, struct segment *segment, size_t first, size_t units)
{
    size_t end = first + units;
    if (pages->huge && (!spans_commit(pages, segment, size_min(align_up(first, HUGE_UNITS), end)) ||
                        !spans_commit(pages, segment, align_down(end, HUGE_UNITS)) ||
                        !spans_commit(pages, segment, align_up(end, HUGE_UNITS))))
        return false;
    return spans_commit(pages, segment, first) && spans_commit(pages, segment, end);
}

/* Makes a span out of a run: what is left before and behind it is free again. */
static struct span *run_cut(struct pages *pages, struct span *run, size_t units, size_t align_units,
                            unsigned tag)
{
    struct segment *segment = segment_of(run);
    size_t start = span_first(run), end = start + run->units;
    size_t first = align_up(start, align_units);
    struct span *span = &segment->spans[first];
    bool fresh;
    run_remove(pages, run);
    if (!spans_ready(pages, segment, first, units) ||
        !units_commit(pages, segment, first, units, end, &fresh)) {
        runs_put(pages, segment, start, end - start);
        return NULL;
    }
    span->units = (uint32_t)units;
    span->tag = (uint8_t)tag;
    span->fresh = fresh;
    span->free = NULL;
    span->live = span->carved = 0;
    memset(&span->share, 0, sizeof span->share);
    info_set(segment, first, tag, first);
    runs_put(pages, segment, start, first - start);
    runs_put(pages, segment, first + units, end - first - units);
    return span;
}

static struct span *span_cut(struct pages *pages, size_t units, size_t align_units, unsigned tag)
{
    size_t room = units + align_units - 1;
    struct span *run = run_find(pages, room);
    if (!run && segment_add(pages))
        run = run_find(pages, room);
    return run ? run_cut(pages, run, units, align_units, tag) : NULL;
}

struct span *pages_take(struct pages *pages, size_t units, size_t align_units, unsigned tag)
{
    if (units + align_units - 1 > pages_run_max(pages))
        return NULL;
    lock_take(&pages->lock);
    struct span *span = span_cut(pages, units, align_units, tag);
    if (!span && pages_relieve(pages))
        span = span_cut(pages, units, align_units, tag);
    lock_give(&pages->lock);
    return span;
}

void pages_give(struct pages *pages, struct span *span)
{
    lock_take(&pages->lock);
    info_clear(segment_of(span), span_first(span), span->units);
    runs_put(pages, segment_of(span), span_first(span), span->units);
    kept_limit(pages);
    lock_give(&pages->lock);
}

/* More units, out of the free run behind the span. */
static bool span_grow(struct pages *pages, struct span *span, size_t units)
{
    struct segment *segment = segment_of(span);
    size_t first = span_first(span), next = first + span->units, end = next;
    struct span *run = &segment->spans[next];
    if (info_tag(segment_info(segment, (unsigned)next)) == TAG_FREE)
        end += run->units;
    if (first + units > end)
        return false;
    run_remove(pages, run);
    bool fresh, done = spans_ready(pages, segment, first, units) &&
                       units_commit(pages, segment, next, first + units - next, end, &fresh);
    size_t from = done ? first + units : next;
    runs_put(pages, segment, from, end - from);
    return done;
}

static bool span_shrink(struct pages *pages, struct span *span, size_t units)
{
    struct segment *segment = segment_of(span);
    size_t first = span_first(span);
    if (!spans_ready(pages, segment, first, units))
        return false;
    size_t gone = span->units - units;
    span->units = (uint32_t)units;
    runs_put(pages, segment, first + units, gone);
    return true;
}

bool pages_resize(struct pages *pages, struct span *span, size_t units)
{
    bool done = true;
    lock_take(&pages->lock);
    if (units > span->units)
        done = span_grow(pages, span, units);
    else if (units < span->units)
        done = span_shrink(pages, span, units);
    if (done) {
        span->units = (uint32_t)units;
        kept_limit(pages);
    }
    lock_give(&pages->lock);
    return done;
}

/* ---- objects larger than a segment ---- */

void *pages_large_alloc(struct pages *pages, size_t size, size_t align)
{
    lock_take(&pages->lock);
    void *p = large_alloc(&pages->large, pages->os, size, align);
    if (!p && pages_relieve(pages))
        p = large_alloc(&pages->large, pages->os, size, align);
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

/* ---- upkeep ---- */

/* Empty segments, all of them; the lock is given back. A fork waits until the door has them. */
static void segments_release(struct pages *pages)
{
    struct list gone;
    list_init(&gone);
    for (struct list *l = pages->segments.next, *next; l != &pages->segments; l = next) {
        struct segment *segment = LIST_ENTRY(l, struct segment, link);
        next = l->next;
        if (segment_is_empty(pages, segment)) {
            segment_remove(pages, segment);
            list_insert_after(&gone, &segment->link);
        }
    }
    pages->returning++;
    lock_give(&pages->lock);
    while (!list_empty(&gone)) {
        struct list *link = gone.next;
        list_remove(link);
        os_release(pages->os, LIST_ENTRY(link, struct segment, link), SEGMENT_BYTES);
    }
    lock_take(&pages->lock);
    pages->returning--;
    lock_give(&pages->lock);
}

void pages_tick(struct pages *pages, uint64_t now_ns)
{
    lock_take(&pages->lock);
    pages->now_ns = size_max(now_ns, pages->now_ns);
    if (pages->policy == RETURN_NEVER) {
        lock_give(&pages->lock);
        return;
    }
    struct span *oldest;
    while ((oldest = kept_oldest(pages)) != NULL && oldest->freed_ns < pages->now_ns &&
           pages->now_ns - oldest->freed_ns >= pages->age_ns)
        run_return(pages, oldest, pages->policy == RETURN_LAZY);
    segments_release(pages);
}

/* What went back lazily from a segment goes back for good; the lock stays taken. */
static void lazy_return(struct pages *pages, struct segment *segment)
{
    for (size_t i = HEADER_UNITS, to; i < SEGMENT_UNITS; i = to) {
        for (to = i; to < SEGMENT_UNITS && !bitmap_get(segment->committed, to);)
            to++;
        if (to > i && !os_decommit(pages->os, unit_address(segment, i), (to - i) * UNIT_BYTES))
            bitmap_range(segment->touched, i, to - i, BITMAP_CLEAR);
        to = size_max(to, i + 1);
    }
}

void pages_trim(struct pages *pages)
{
    lock_take(&pages->lock);
    kept_return(pages);
    for (struct list *l = pages->segments.next;
         l != &pages->segments && pages->policy == RETURN_LAZY; l = l->next)
        lazy_return(pages, LIST_ENTRY(l, struct segment, link));
    segments_release(pages);
}

/* ---- open, close ---- */

bool pages_open(struct pages *pages)
{
    list_init(&pages->segments);
    list_init(&pages->kept);
    for (unsigned i = 0; i < RUN_BINS; i++)
        list_init(&pages->bins[i]);
    huge_open(&pages->index);
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

void pages_span_walk(const struct span *span, walk_fn *fn, void *arg)
{
    size_t bytes = span->units * UNIT_BYTES;
    struct walk_item item = {
        .address = (uintptr_t)span_start(span), .bytes = bytes, .kind = WALK_META};
    if (span->tag != TAG_META) {
        item.kind = WALK_LIVE;
        item.class_bytes = bytes;
    }
    fn(arg, &item);
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
        walk_tell(&call, segment, segment->header_bytes, WALK_META);
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
    bool inner = run_is_inner(pages, run), found = false;
    const struct list *list = inner ? &huge_of(run)->runs : &pages->bins[bin];
    for (struct list *l = list->next; l != list && !found; l = l->next)
        found = run_of(l) == run;
    if (!found)
        return inner ? "pages: a free run is not in its huge page"
                     : "pages: a free run is not in its bin";
    if (inner && piece_units(pages, first, run->units) != run->units)
        return "pages: a free run goes beyond its huge page";
    if (segment_info(segment, first) != info || segment_info(segment, last) != info)
        return "pages: a free run's info is wrong";
    if (info_tag(segment_info(segment, last + 1)) == TAG_FREE &&
        runs_merge(pages, run, &segment->spans[last + 1]))
        return "pages: two neighbours are free";
    bool kept = run_kept(pages, run);
    if (kept == list_empty(&run->kept))
        return "pages: the list of kept runs is wrong";
    return NULL;
}

static const char *segment_check(const struct pages *pages, struct segment *segment, size_t *runs,
                                 size_t *kept)
{
    for (unsigned i = 0; i < SEGMENT_UNITS / 64; i++)
        if (segment->touched[i] & ~segment->committed[i] && pages->policy != RETURN_LAZY)
            return "pages: a touched unit is not committed";
    for (unsigned i = 0; i < SEGMENT_HUGES && pages->huge; i++) {
        const char *broken = huge_check(&pages->index, &segment->huge[i]);
        if (broken)
            return broken;
    }
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
        *runs += !run_is_inner(pages, span);
        *kept += run_kept(pages, span);
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
