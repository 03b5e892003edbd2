/*
 * capture.c - a recorder's capture as a trace: addresses become objects, process-wide thread
 * numbers become numbers by first appearance, and the two records of a realloc one op.
 *
 * The order of the capture, which is that of its stamps, is the order of the trace; a realloc
 * stands where it returned. Events of several lanes with the same stamp get an order in which the
 * events of each address alternate (traces/capture_order.h). Where even so an address is given out
 * while it is live, the old object is freed first; a release of one that is not live is dropped; a
 * realloc of one is an allocation. All are counted, and the counts go into the trace. They come from
 * calls that the recorder cannot see, such as those of an allocator reached by another name.
 *
 * Recording may stop and go on. What was freed in between shows when its address is given out again:
 * the old object is freed there, and counted as unseen.
 *
 * A process that was forked begins with what its parent had live at that moment, as `live` ops in
 * the order of allocation: the parent's capture is followed as far as its lanes had got, and so on
 * to the first ancestor.
 *
 * THREAD_BEGIN stands before a thread's first op. THREAD_END stands after its last one, if it was
 * seen to end: destructors may free memory after the recorder was told.
 */
#include "traces/formats/capture.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "traces/address_map.h"
#include "traces/capture_order.h"
#include "traces/capture_read.h"
#include "traces/feed.h"
#include "traces/heap_map.h"
#include "traces/sites.h"

enum {
    MAX_ANCESTORS = 1000,
    MAX_OPEN = 64,    /* reallocs of a thread that have begun and not ended */
    MAX_NAMES = 8000, /* of threads: a trace takes 10000 pairs */
    AHEAD = 16,       /* events whose addresses are asked for before their turn */
    NO_NUMBER = -1,
    SHOW_MS = 300,
    LOOK_EVENTS = 1 << 16,
    CLOCK_STEP_NS = 100, /* the trace's clock has this resolution */
};

struct pending { /* a realloc between its two records */
    bool unknown;
    uint64_t address, id, size; /* of the old block; address 0: realloc(NULL) */
    uint64_t asked;             /* the new size */
};

struct thread {
    int64_t number; /* in the trace; NO_NUMBER before its first op */
    bool ended, gone;
    struct pending
        *open; /* reallocs, innermost last: a signal handler may make one inside another */
    uint32_t open_count, open_room;
    char name[17];
};

struct conversion {
    struct capture_reader in;
    struct trace_writer *out; /* NULL: only the live set is wanted */
    struct trace_feed feed;   /* the ops go through it */
    const struct capture_options *options;
    struct capture_report *report;
    struct heap_map live;       /* address -> id, size */
    struct address_map scopes;  /* id of an open scope in the capture -> its number */
    struct capture_group group; /* events with the same stamp */
    struct thread *threads;     /* by their number in the reader; 0: one that has no events */
    uint32_t thread_room;
    uint64_t objects, scope_count;
    uint64_t objects_at_gap; /* when the recording started again */
    bool stopped;
    int64_t trace_threads;
    uint64_t position; /* of the event at hand, from 1 */
    uint64_t clock, clock_start;
    uint64_t site;       /* of the event at hand */
    struct sites *sites; /* what the reader finds; NULL: the capture has none */
    bool clock_started;
    uint64_t look_at, show_at; /* position, and ms, of the next progress; show_at 0: none */
    bool shown;
    struct error *err;
};

/* ---- threads ---- */

static int no_memory(struct conversion *c)
{
    return error_set(c->err, "%s: no memory for the tables of a capture of this size", c->in.path);
}

static int threads_make(struct conversion *c)
{
    c->threads = calloc((size_t)c->in.threads + 1, sizeof *c->threads);
    if (!c->threads)
        return no_memory(c);
    c->thread_room = c->in.threads + 1;
    for (uint32_t i = 0; i < c->thread_room; i++)
        c->threads[i].number = NO_NUMBER;
    return 0;
}

/* ---- ops ---- */

/* The writer has refused an op of this event, or of one before it. */
static int put_refused(struct conversion *c, const struct error *why)
{
    return error_set(c->err, "%s: record %" PRIu64 " or before: %.400s", c->in.path, c->position,
                     why->text);
}

static inline int put_slot(struct conversion *c)
{
    struct error why;
    return trace_feed_put(&c->feed, &why) ? put_refused(c, &why) : 0;
}

static int put_plain(struct conversion *c, uint8_t kind, int64_t thread)
{
    *trace_feed_slot(&c->feed) = (struct trace_op){.kind = kind,
                                                   .thread = (uint32_t)thread,
                                                   .object = TRACE_NO_OBJECT,
                                                   .scope = TRACE_NO_SCOPE,
                                                   .clock_ns = c->clock};
    return put_slot(c);
}

/* What is in every op comes from the event at hand; `op` is told what it is besides. */
static inline __attribute__((always_inline)) int put(struct conversion *c, struct thread *t,
                                                     struct trace_op op)
{
    if (!c->out)
        return 0;
    if (__builtin_expect(t->number == NO_NUMBER, 0)) {
        t->number = c->trace_threads++;
        if (put_plain(c, TRACE_THREAD_BEGIN, t->number))
            return -1;
    }
    if (op.kind < TRACE_SCOPE_BEGIN || op.kind > TRACE_SCOPE_SWITCH)
        op.scope = TRACE_NO_SCOPE;
    if (op.size > TRACE_MAX_SIZE && !(op.flags & TRACE_FAILED)) {
        op.size = TRACE_MAX_SIZE;
        c->report->clamped_sizes++;
    }
    struct trace_op *to = trace_feed_slot(&c->feed);
    to->kind = op.kind;
    to->flags = op.flags;
    to->align_log2 = op.align_log2;
    to->thread = (uint32_t)t->number;
    to->object = op.object;
    to->size = op.size;
    to->scope = op.scope;
    to->clock_ns = c->clock;
    to->site = op.kind <= TRACE_REALLOC ? c->site : 0;
    return put_slot(c);
}

/* Counts an oddity; -1 if they are not wanted. */
static int odd(struct conversion *c, uint64_t *count, const char *what, uint64_t address)
{
    struct import_report *report = &c->report->odd;
    if (!c->out)
        return 0; /* counted in the ancestor's own trace */
    ++*count;
    if (!report->first_odd_line)
        report->first_odd_line = c->position;
    if (report->strict)
        return error_set(c->err, "%s: record %" PRIu64 ": %s 0x%" PRIx64, c->in.path, c->position,
                         what, address);
    return 0;
}

/* ---- addresses ---- */

/* Something lives at the event's address, that is in that slot, from here on. */
static inline int address_given(struct conversion *c, struct thread *t, uint64_t address,
                                uint64_t *slot, uint64_t id, uint64_t size)
{
    if (__builtin_expect(*slot != 0, 0)) {
        struct trace_op op = {.kind = TRACE_FREE, .object = *slot - 1};
        bool unseen = c->stopped || op.object < c->objects_at_gap;
        c->report->unseen_frees += unseen;
        if (!unseen && odd(c, &c->report->odd.double_allocs, "given out while live:", address))
            return -1;
        if (put(c, t, op))
            return -1;
    }
    *slot = id + 1;
    if (c->live.sized)
        *heap_slot_size(slot) = size;
    return 0;
}

/* Puts an op that yields memory at the event's address. */
static inline __attribute__((always_inline)) int put_given(struct conversion *c, struct thread *t,
                                                           struct trace_op op,
                                                           const struct capture_event *e,
                                                           uint64_t *slot)
{
    return address_given(c, t, e->address, slot, op.object, op.size) || put(c, t, op) ? -1 : 0;
}

/* True if there was an object in the slot: it is there no more. */
static inline bool address_released(uint64_t *slot, uint64_t *id)
{
    if (*slot == 0)
        return false;
    *id = *slot - 1;
    *slot = 0;
    return true;
}

static int convert_alloc(struct conversion *c, struct thread *t, const struct capture_event *e,
                         uint64_t *slot)
{
    struct trace_op op = {.kind = TRACE_ALLOC, .align_log2 = e->align_log2, .size = e->size};
    if (e->kind != CAPTURE_ALLOC)
        op.kind = e->kind == CAPTURE_CALLOC ? TRACE_CALLOC : TRACE_ALIGNED;
    if (e->flags & CAPTURE_FAILED) {
        op.flags = TRACE_FAILED;
        op.object = TRACE_NO_OBJECT;
        return put(c, t, op);
    }
    op.object = c->objects++;
    return put_given(c, t, op, e, slot);
}

static int convert_free(struct conversion *c, struct thread *t, const struct capture_event *e,
                        uint64_t *slot)
{
    struct trace_op op = {.kind = TRACE_FREE, .object = TRACE_NO_OBJECT};
    if (e->kind == CAPTURE_FREE_SIZED) {
        op.flags = TRACE_SIZED;
        op.size = e->size;
    }
    if (e->address == 0) {
        op.flags |= TRACE_NULL;
        return put(c, t, op);
    }
    if (address_released(slot, &op.object))
        return put(c, t, op);
    return odd(c, &c->report->odd.unknown_frees,
               "free of an address that is not live:", e->address);
}

static int convert_realloc_begin(struct conversion *c, struct thread *t,
                                 const struct capture_event *e, uint64_t *slot)
{
    struct pending p = {.address = e->address, .asked = e->size};
    if (t->open_count == MAX_OPEN) { /* the outermost will never end: its object stays as it was */
        memmove(t->open, t->open + 1, (MAX_OPEN - 1) * sizeof *t->open);
        t->open_count--;
        if (odd(c, &c->report->odd.unreturned_calls, "a realloc that never ends, before",
                e->address))
            return -1;
    }
    if (t->open_count == t->open_room) {
        uint32_t room = 2 * t->open_room + 1;
        struct pending *grown = realloc(t->open, room * sizeof *grown);
        if (!grown)
            return no_memory(c);
        t->open = grown;
        t->open_room = room;
    }
    p.size = c->live.sized ? *heap_slot_size(slot) : 0;
    p.unknown = e->address && !address_released(slot, &p.id);
    t->open[t->open_count++] = p;
    if (!p.unknown)
        return 0;
    return odd(c, &c->report->odd.unknown_reallocs,
               "realloc of an address that is not live:", e->address);
}

/* The end of a realloc that made an object. */
static int put_realloc_new(struct conversion *c, struct thread *t, const struct capture_event *e,
                           const struct pending *old, uint64_t *slot)
{
    struct trace_op op = {.kind = TRACE_REALLOC, .flags = TRACE_NULL, .size = old->asked};
    bool failed = e->flags & CAPTURE_FAILED;
    if (failed && old->asked == 0 && old->unknown)
        return 0; /* it freed what we do not know */
    if (e->flags & CAPTURE_LEFT)
        return 0;
    if (failed) {
        op.flags |= TRACE_FAILED;
        op.object = TRACE_NO_OBJECT;
        return put(c, t, op);
    }
    op.object = c->objects++;
    return put_given(c, t, op, e, slot);
}

static int convert_realloc_end(struct conversion *c, struct thread *t,
                               const struct capture_event *e, uint64_t *slot)
{
    bool failed = e->flags & CAPTURE_FAILED, begun = t->open_count > 0;
    struct pending old = {.unknown = true};
    if (begun)
        old = t->open[--t->open_count];
    else if (odd(c, &c->report->odd.unknown_reallocs, "realloc without its begin:", e->address))
        return -1;
    if (old.unknown || old.address == 0)
        return put_realloc_new(c, t, e, &old, slot);
    struct trace_op op = {.kind = TRACE_REALLOC, .object = old.id, .size = old.asked};
    if (e->flags & CAPTURE_LEFT)
        return put(c, t, (struct trace_op){.kind = TRACE_FREE, .object = old.id});
    if (!failed)
        return put_given(c, t, op, e, slot);
    op.flags = old.asked == 0 ? TRACE_ENDS : TRACE_FAILED;
    uint64_t *back = old.asked != 0 ? heap_map_slot(&c->live, old.address) : NULL;
    if (old.asked != 0 && !back)
        return no_memory(c);
    if (back && address_given(c, t, old.address, back, old.id, old.size))
        return -1;
    return put(c, t, op);
}

/* ---- marks ---- */

static int convert_scope(struct conversion *c, struct thread *t, const struct capture_event *e)
{
    struct trace_op op = {.object = TRACE_NO_OBJECT};
    struct address_entry *entry = address_map_find(&c->scopes, e->address);
    if (e->kind == CAPTURE_SCOPE_BEGIN) {
        if (entry)
            return odd(c, &c->report->odd_marks, "a scope begins that is open:", e->address);
        op.kind = TRACE_SCOPE_BEGIN;
        op.scope = c->scope_count++;
        return address_map_add(&c->scopes, e->address, op.scope, 0) ? put(c, t, op) : no_memory(c);
    }
    op.kind = e->kind == CAPTURE_SCOPE_END ? TRACE_SCOPE_END : TRACE_SCOPE_SWITCH;
    if (e->address == 0 && op.kind == TRACE_SCOPE_SWITCH) {
        op.scope = TRACE_NO_SCOPE;
        return put(c, t, op);
    }
    if (!entry)
        return odd(c, &c->report->odd_marks, "a mark of a scope that is not open:", e->address);
    op.scope = address_entry_id(entry);
    if (op.kind == TRACE_SCOPE_END)
        address_map_remove(&c->scopes, entry);
    return put(c, t, op);
}

static void keep_name(struct thread *t, const struct capture_event *e)
{
    memcpy(t->name, &e->address, 8);
    memcpy(t->name + 8, &e->size, 8);
    for (char *p = t->name; *p; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
}

/* ---- a whole capture ---- */

static void clock_follow(struct conversion *c, const struct capture_event *e)
{
    if (!c->options->clock)
        return;
    uint64_t now = capture_ns(&c->in, e->clock);
    if (!c->clock_started)
        c->clock_start = now;
    c->clock_started = true;
    now = now > c->clock_start ? (now - c->clock_start) / CLOCK_STEP_NS * CLOCK_STEP_NS : 0;
    c->clock = now > c->clock ? now : c->clock;
}

/* The number of the event's site; 0 also where the trace's table has no room for it. */
static void site_follow(struct conversion *c, const struct capture_event *e)
{
    struct error ignored;
    c->site = e->site ? sites_of_frame(c->in.sites, e->site, &ignored) : 0;
}

static int convert_event(struct conversion *c, struct thread *t, const struct capture_event *e,
                         uint64_t *slot)
{
    site_follow(c, e);
    switch (e->kind) {
    case CAPTURE_ALLOC:
    case CAPTURE_CALLOC:
    case CAPTURE_ALIGNED:
        return convert_alloc(c, t, e, slot);
    case CAPTURE_FREE:
    case CAPTURE_FREE_SIZED:
        return convert_free(c, t, e, slot);
    case CAPTURE_REALLOC_BEGIN:
        return convert_realloc_begin(c, t, e, slot);
    case CAPTURE_REALLOC_END:
        return convert_realloc_end(c, t, e, slot);
    case CAPTURE_SCOPE_BEGIN:
    case CAPTURE_SCOPE_END:
    case CAPTURE_SCOPE_SWITCH:
        return convert_scope(c, t, e);
    case CAPTURE_THREAD_NAME:
        keep_name(t, e);
        break;
    case CAPTURE_THREAD_END:
        t->ended = true;
        break;
    case CAPTURE_STOP: /* calls that were under way still come, and others do not */
        c->report->stops++;
        c->stopped = true;
        break;
    case CAPTURE_START:
        c->stopped = false;
        c->objects_at_gap = c->objects;
        break;
    }
    return 0;
}

/* The end of a thread that was seen to end, after the last event of its lanes. */
static int thread_end(struct conversion *c, uint32_t number)
{
    struct thread *t = &c->threads[number];
    if (!t->ended || t->gone || c->in.lanes_left[number] != 0)
        return 0;
    t->gone = true;
    return c->out && t->number != NO_NUMBER ? put_plain(c, TRACE_THREAD_END, t->number) : 0;
}

static bool is_live(void *conversion, uint64_t address)
{
    return heap_map_has(&((struct conversion *)conversion)->live, address);
}

/* Where the next op is written, with what all of this event's thread have. */
static inline struct trace_op *plain_slot(struct conversion *c, const struct thread *t,
                                          unsigned kind)
{
    struct trace_op *to = trace_feed_slot(&c->feed);
    to->kind = (uint8_t)kind;
    to->flags = to->align_log2 = 0;
    to->thread = (uint32_t)t->number;
    to->scope = TRACE_NO_SCOPE;
    to->clock_ns = c->clock;
    return to;
}

/* What nearly all events are, in short: an alloc where nothing lives, or a free of what does. False:
 * nothing has been done, it is an event for convert_event(). */
static inline bool plain_convert(struct conversion *c, const struct thread *t,
                                 const struct capture_event *e, uint64_t *slot)
{
    struct trace_op *to;
    if (!c->out || t->number == NO_NUMBER || c->live.sized || e->flags)
        return false;
    if (e->kind <= CAPTURE_CALLOC && *slot == 0 && e->size <= TRACE_MAX_SIZE) {
        to = plain_slot(c, t, e->kind == CAPTURE_ALLOC ? TRACE_ALLOC : TRACE_CALLOC);
        site_follow(c, e);
        to->object = c->objects++;
        to->size = e->size;
        to->site = c->site;
        *slot = c->objects;
        return true;
    }
    if (e->kind != CAPTURE_FREE || *slot == 0)
        return false;
    to = plain_slot(c, t, TRACE_FREE);
    to->object = *slot - 1;
    to->size = to->site = 0;
    *slot = 0;
    return true;
}

/* Converts at most CAPTURE_RUN events. Their slots are looked for beforehand, and asked for from
 * memory. */
static int convert_some(struct conversion *c, const struct capture_event *events, size_t count)
{
    uint64_t *slots[CAPTURE_RUN];
    for (size_t i = 0; i < count; i++) {
        slots[i] = heap_map_slot(&c->live, events[i].address);
        if (!slots[i])
            return no_memory(c);
        __builtin_prefetch(slots[i], 1);
    }
    for (size_t i = 0; i < count; i++) {
        const struct capture_event *e = &events[i];
        c->position++;
        clock_follow(c, e);
        struct thread *t = &c->threads[e->thread];
        if (plain_convert(c, t, e, slots[i]) ? put_slot(c) : convert_event(c, t, e, slots[i]))
            return -1;
    }
    return 0;
}

/* The block that stays as it was at the end of a realloc that failed; 0: there is none that we know. Its begin is in
 * the same lane, or came before. */
static uint64_t block_kept(const struct conversion *c, const struct capture_event *events,
                           size_t at)
{
    const struct thread *t = &c->threads[events[at].thread];
    uint32_t inner = 0;
    for (size_t i = at; i > 0 && events[i - 1].lane == events[at].lane; i--) {
        const struct capture_event *e = &events[i - 1];
        if (e->kind == CAPTURE_REALLOC_BEGIN && inner-- == 0)
            return e->size ? e->address : 0;
        inner += e->kind == CAPTURE_REALLOC_END;
    }
    if (inner >= t->open_count)
        return 0;
    const struct pending *p = &t->open[t->open_count - 1 - inner];
    return p->unknown || p->asked == 0 ? 0 : p->address;
}

/* Puts events of one stamp into an order. */
static int convert_order(struct conversion *c, struct capture_event *events, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (events[i].kind == CAPTURE_REALLOC_END && (events[i].flags & CAPTURE_FAILED))
            events[i].address = block_kept(c, events, i);
    return capture_group_order(&c->group, events, count, is_live, c) ? 0 : no_memory(c);
}

/* Converts what has been read, which may be of several lanes if it is of one stamp. */
static int convert_read(struct conversion *c)
{
    struct capture_event *events = c->in.events;
    size_t count = c->in.event_count;
    if (c->in.tied && convert_order(c, events, count))
        return -1;
    heap_map_trim(&c->live);
    for (size_t at = 0; at < count; at += CAPTURE_RUN)
        if (convert_some(c, events + at, count - at < CAPTURE_RUN ? count - at : CAPTURE_RUN))
            return -1;
    for (size_t i = 0; i < count; i = c->in.tied ? i + 1 : count)
        if (thread_end(c, events[i].thread))
            return -1;
    return 0;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* On a terminal, how far a conversion is that takes long. */
static void progress_show(struct conversion *c)
{
    uint64_t now = c->out && c->show_at ? now_ms() : 0;
    if (now < c->show_at || now == 0)
        return;
    fprintf(stderr, "\r%s: %.0f %% converted", c->report->program, 100 * capture_share(&c->in));
    c->shown = true;
    c->show_at = now + SHOW_MS;
}

static int convert_events(struct conversion *c)
{
    int more;
    while ((more = capture_read(&c->in, c->err)) > 0) {
        if (convert_read(c))
            return -1;
        if (c->position >= c->look_at) {
            progress_show(c);
            c->look_at = c->position + LOOK_EVENTS;
        }
    }
    for (uint32_t i = 0; more == 0 && i < c->thread_room; i++) /* their last events were cut */
        if (thread_end(c, i))
            return -1;
    return more;
}

static void conversion_free(struct conversion *c)
{
    capture_close(&c->in);
    heap_map_free(&c->live);
    sites_free(c->sites);
    address_map_free(&c->scopes);
    capture_group_free(&c->group);
    for (uint32_t i = 0; i < c->thread_room; i++)
        free(c->threads[i].open);
    free(c->threads);
}

/* ---- what a child inherits ---- */

/* How far the parent's lanes had got, as the child's first events say. The caller frees *cuts. */
static int cuts_read(const char *child, bool running, struct capture_cut **cuts, size_t *count,
                     struct error *err)
{
    struct capture_reader r;
    *cuts = NULL;
    *count = 0;
    if (capture_open(&r, child, running, err))
        return -1;
    int more;
    while ((more = capture_read(&r, err)) > 0) {
        size_t n = 0;
        while (n < r.event_count && r.events[n].kind == CAPTURE_CUT)
            n++;
        struct capture_cut *grown = realloc(*cuts, (*count + n + 1) * sizeof *grown);
        if (!grown) {
            more = error_set(err, "%s: no memory", child);
            break;
        }
        *cuts = grown;
        for (size_t i = 0; i < n; i++)
            grown[(*count)++] =
                (struct capture_cut){.lane = r.events[i].address,
                                     .words = r.events[i].size & UINT32_MAX,
                                     .sequence = (uint32_t)(r.events[i].size >> 32)};
        if (n < r.event_count)
            break;
    }
    capture_close(&r);
    return more < 0 ? -1 : 0;
}

struct family { /* a capture, and those of the processes that were forked from it */
    const struct capture_reader *capture;
    const struct family *child;
    unsigned depth;
};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Damage, or malice, may make a capture its own ancestor. */
static int family_check(const struct family *f, struct error *err)
{
    const char *path = f->capture->path, *parent = f->capture->header->parent;
    if (f->depth > MAX_ANCESTORS)
        return error_set(err, "%s: more than %d ancestors", path, MAX_ANCESTORS);
    for (; f; f = f->child)
        if (!strcmp(base_name(f->capture->path), parent))
            return error_set(err, "%s: offset 16: %s is its own ancestor", path, parent);
    return 0;
}

/* The live set that the process of `f` was forked with, into `live`; ids are in the order of
 * allocation. */
static int inherit(const struct family *f, const struct capture_options *options,
                   struct heap_map *live, uint64_t *objects, struct error *err)
{
    const struct capture_reader *child = f->capture;
    char path[PATH_MAX];
    struct capture_report ignored = {0};
    struct conversion c = {.options = options, .report = &ignored, .err = err, .live.sized = true};
    struct capture_cut *cuts;
    size_t count;
    const struct family parent = {&c.in, f, f->depth + 1};
    int dir = (int)(base_name(child->path) - child->path);
    if (family_check(f, err))
        return -1;
    if (snprintf(path, sizeof path, "%.*s%s", dir, child->path, child->header->parent) >= PATH_MAX)
        return error_set(err, "%s: the path of its parent's capture is too long", child->path);
    int status = cuts_read(child->path, options->running, &cuts, &count, err);
    if (status == 0)
        status = capture_open(&c.in, path, options->running, err);
    if (status == 0)
        status = capture_limit(&c.in, cuts, count, child->header->lanes_at_fork, err);
    free(cuts);
    if (status == 0 && c.in.header->parent[0])
        status = inherit(&parent, options, &c.live, &c.objects, err);
    if (status == 0)
        status = threads_make(&c) || convert_events(&c) ? -1 : 0;
    if (status == 0) {
        *live = c.live;
        *objects = c.objects;
        c.live = (struct heap_map){0};
    }
    conversion_free(&c);
    return status;
}

/* Emits the inherited objects, oldest first, and gives them the ids they have in this trace. */
static int put_inherited(struct conversion *c)
{
    struct thread *t = &c->threads[capture_thread(&c->in, c->in.header->fork_thread)];
    size_t n;
    uint64_t **sorted = heap_map_live(&c->live, &n);
    if (!sorted)
        return no_memory(c);
    c->objects = 0;
    int status = 0;
    for (size_t i = 0; i < n && status == 0; i++) {
        struct trace_op op = {
            .kind = TRACE_LIVE, .object = c->objects++, .size = *heap_slot_size(sorted[i])};
        *sorted[i] = op.object + 1;
        status = put(c, t, op);
    }
    c->report->inherited_objects = n;
    free(sorted);
    return status;
}

/* ---- meta data ---- */

static int set_count(struct conversion *c, const char *key, uint64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return trace_set_meta(c->out, key, text, c->err);
}

/* What a trace may carry as text: printable, one line. */
static void make_printable(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || (unsigned char)*text > '~')
            *text = '?';
}

/* The command as the user said it, or only the name of its first word. */
static void command_text(const struct capture_header *h, bool whole, char *text, size_t room)
{
    size_t bytes = h->command_bytes;
    while (bytes && h->command[bytes - 1] == 0)
        bytes--;
    bytes = bytes < room ? bytes : room - 1;
    memcpy(text, h->command, bytes);
    text[bytes] = 0;
    if (whole) {
        for (size_t i = 0; i < bytes; i++)
            text[i] = text[i] ? text[i] : ' ';
    } else {
        const char *slash = strrchr(text, '/');
        if (slash)
            memmove(text, slash + 1, strlen(slash));
    }
    make_printable(text);
}

/* Where the clock is from, and how many calls of a thread may be between two readings. */
static const char *clock_source(const struct conversion *c)
{
    const struct capture_header *h = c->in.header;
    if (!c->options->clock)
        return "none";
    if (h->each)
        return h->by_counter ? "tsc, each call" : "monotonic, each call";
    return h->by_counter ? "tsc, each 32nd call or microsecond"
                         : "monotonic, each 32nd call or microsecond";
}

/* Those of the first threads, if there are too many for a trace. */
static int put_names(struct conversion *c)
{
    uint64_t unnamed = 0, named = 0;
    for (uint32_t i = 0; i < c->thread_room; i++) {
        const struct thread *t = &c->threads[i];
        char key[40];
        if (!t->name[0] || t->number == NO_NUMBER)
            continue;
        unnamed += named == MAX_NAMES;
        if (named == MAX_NAMES)
            continue;
        named++;
        snprintf(key, sizeof key, "thread.%" PRId64 ".name", t->number);
        if (trace_set_meta(c->out, key, t->name, c->err))
            return -1;
    }
    return unnamed ? set_count(c, "unnamed_threads", unnamed) : 0;
}

static int put_meta(struct conversion *c)
{
    const struct capture_header *h = c->in.header;
    const struct capture_report *r = c->report;
    char command[CAPTURE_COMMAND_BYTES + 1], date[32], recorder[sizeof h->recorder];
    time_t started = (time_t)h->started_s;
    struct tm tm;
    command_text(h, c->options->whole_command, command, sizeof command);
    memcpy(recorder, h->recorder, sizeof recorder);
    make_printable(recorder);
    if (!gmtime_r(&started, &tm) || strftime(date, sizeof date, "%Y-%m-%d", &tm) == 0)
        strcpy(date, "unknown");
    if (trace_set_meta(c->out, "program", r->program, c->err) ||
        trace_set_meta(c->out, "command", command, c->err) ||
        trace_set_meta(c->out, "date", date, c->err) ||
        trace_set_meta(c->out, "recorder", recorder, c->err) ||
        trace_set_meta(c->out, "clock_source", clock_source(c), c->err))
        return -1;
    const struct {
        const char *key;
        uint64_t value;
        bool always;
    } counts[] = {
        {"lost_ops", r->lost_records, true},
        {"lost_from_ns", r->lost_at_ns, false},
        {"inversions_repaired", r->repaired, true},
        {"inversions", r->odd.double_allocs, true},
        {"unknown_frees", r->odd.unknown_frees, true},
        {"unknown_reallocs", r->odd.unknown_reallocs, true},
        {"unreturned_calls", r->odd.unreturned_calls, false},
        {"recorder_ps_per_op", h->record_ps, false},
        {"nested_calls", r->nested_calls, false},
        {"stops", r->stops, false},
        {"unseen_frees", r->unseen_frees, false},
        {"sample", h->sample > 1 ? h->sample : 0, false},
        {"skipped_calls", r->skipped_calls, false},
        {"siteless_calls", r->siteless_calls, false},
        {"unseen_children", h->unseen_children, false},
        {"odd_marks", r->odd_marks, false},
        {"clamped_sizes", r->clamped_sizes, false},
        {"inherited_objects", r->inherited_objects, r->forked},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if ((counts[i].value || counts[i].always) && set_count(c, counts[i].key, counts[i].value))
            return -1;
    return put_names(c);
}

static void report_losses(struct conversion *c)
{
    const struct capture_header *h = c->in.header;
    struct capture_report *r = c->report;
    r->lost_records = h->lost_records + c->in.cut_records;
    if (h->lost.ns > h->started.ns)
        r->lost_at_ns = h->lost.ns - h->started.ns;
}

/* All ops, of which the writer takes care apart. */
static int convert_all(struct conversion *c)
{
    const struct family family = {.capture = &c->in};
    struct error why;
    int status = 0;
    trace_feed_open(&c->feed, c->out, c->in.sites, true);
    if (c->report->forked &&
        (inherit(&family, c->options, &c->live, &c->objects, c->err) || put_inherited(c)))
        status = -1;
    if (status == 0)
        status = convert_events(c);
    if (trace_feed_close(&c->feed, &why) && status == 0)
        status = put_refused(c, &why);
    return status;
}

static int convert_open(struct conversion *c)
{
    const struct capture_header *h = c->in.header;
    struct capture_report *r = c->report;
    snprintf(r->program, sizeof r->program, "%s", h->program);
    make_printable(r->program);
    r->pid = h->pid;
    r->forked = h->parent[0] != 0;
    r->nested_calls = h->nested_calls;
    r->skipped_calls = h->skipped_calls;
    r->unseen_children = h->unseen_children;
    r->siteless_calls = h->siteless_calls;
    if (h->sites && !(c->in.sites = c->sites = sites_new()))
        return no_memory(c);
    c->in.site_paths = c->options->paths;
    if (threads_make(c) || convert_all(c))
        return -1;
    r->odd.lines = c->position;
    r->repaired = c->group.repaired;
    report_losses(c);
    return put_meta(c);
}

int capture_convert(const char *path, struct trace_writer *out,
                    const struct capture_options *options, struct capture_report *report,
                    struct error *err)
{
    bool strict = report->odd.strict;
    *report = (struct capture_report){.odd.strict = strict};
    struct conversion c = {.out = out, .options = options, .report = report, .err = err};
    int status = capture_open(&c.in, path, options->running, err);
    if (isatty(STDERR_FILENO))
        c.show_at = now_ms() + 2 * SHOW_MS;
    if (status == 0)
        status = convert_open(&c);
    if (c.shown)
        fputs("\r\033[K", stderr);
    conversion_free(&c);
    return status;
}

static int capture_import(const char *path, struct trace_writer *out, struct import_report *report,
                          struct error *err)
{
    struct capture_options options = {.clock = true};
    struct capture_report whole = {.odd.strict = report->strict};
    int status = capture_convert(path, out, &options, &whole, err);
    *report = whole.odd;
    return status;
}

TRACE_FORMAT(capture) = {
    .name = "capture",
    .summary = "what the recorder leaves while a program runs (alloclab record --keep-capture)",
    .import = capture_import,
};
