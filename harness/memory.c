/*
 * memory.c - the memory pass: exact requested, usable and committed bytes after every op, resident
 * memory sampled, walks by kind over time, and a table by size class at the peak.
 *
 * The plan is replayed twice on heaps at the same addresses under a virtual clock, so the second
 * replay repeats the first: one to find the exact instants of the peaks and the address ranges, one
 * to walk there and at some 400 instants between. Each walk is held against the door: sum(walk) ==
 * committed, or the cell fails. A design whose memory does not come through the door (libc, rivals)
 * has no committed bytes and is replayed once; its resident bytes are looked at when the program
 * holds most, too, as those of the others are.
 *
 * Where the trace has several threads, the first replay also counts the cache lines that they share
 * (sharing.h; its table must not be among the resident bytes), and a design with thread views is
 * replayed once more between the two, with all threads on one view: for its blowup.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "harness/heapmap.h"
#include "harness/observe.h"
#include "harness/pass.h"
#include "harness/sharing.h"

#define SAMPLES_WANTED 400
#define RATIO_FLOOR    ((uint64_t)1 << 20) /* a ratio over less than 1 MiB live means nothing */

struct peak {
    uint64_t bytes, op;
};

enum stage { STAGE_FIND, STAGE_ALONE, STAGE_WALK }; /* the replays; ALONE: through one view */

struct slot_note { /* of the object in the slot */
    uint64_t usable;
    uint32_t owner; /* the thread that asked for its memory */
};

struct shared_lines {
    struct sharing table;
    uint64_t most, used_then, at_peak; /* of shared lines, after any op; when L is at its maximum */
    double sum;                        /* over all ops */
};

struct memory {
    const struct cell_setup *setup;
    const struct allocator *design;
    struct cell_heap h;
    struct observe o;
    bool door; /* memory comes through the door */
    enum stage stage;
    struct slot_note *slots;
    struct shared_lines lines; /* no table: not counted */
    uint64_t requested_now, usable_now, committed_now;
    uintptr_t lowest, highest; /* addresses of all blocks so far: first byte, and after the last */
    uint64_t handed_out;       /* requested bytes of all blocks so far */
    const void *moving;        /* where the object being resized was */
    struct peak requested, usable_peak, committed, alone;
    uint64_t baseline, resident_peak;
    uint64_t marked, kernel_peak; /* the kernel's account of resident bytes; 0 = none */
    double jw1_sum, jw1_weight;   /* over allocation time */
    double net_sum, net_weight;   /* the same without metadata and rounding, from walk to walk */
    uint64_t walked_out;          /* handed_out at the last walk */
    uint64_t fresh_bytes;         /* allocated by the op just made */
    uint64_t calls;               /* that the replay makes, what is live at the start included */
    uint64_t sample_every, next_sample, next_map, walks;
    struct heapmap map;
    struct heapmap_sample *map_sample; /* being filled, or NULL */
    struct sample now;                 /* being filled by the walk */
    struct class_share classes[CLASS_ROWS];
    bool classing; /* the walk fills the outcome's table by class */
};

static void object_add(struct memory *m, const struct object_at *object)
{
    uint64_t usable = m->design->usable ? m->design->usable(object->view, object->p) : object->size;
    struct class_share *class = &m->classes[class_row(usable)];
    m->slots[object->slot].usable = usable;
    m->usable_now += usable;
    m->requested_now += object->size;
    class->live++;
    class->usable += usable;
    class->requested += object->size;
    m->fresh_bytes = object->size;
    m->handed_out += object->size;
    uintptr_t start = (uintptr_t)object->p, end = start + object->size;
    m->lowest = start < m->lowest ? start : m->lowest;
    m->highest = end > m->highest ? end : m->highest;
    pages_touch(object->p, object->size);
}

static void object_remove(struct memory *m, uint32_t slot, size_t size)
{
    uint64_t usable = m->slots[slot].usable;
    struct class_share *class = &m->classes[class_row(usable)];
    m->usable_now -= usable;
    m->requested_now -= size;
    class->live--;
    class->usable -= usable;
    class->requested -= size;
}

static void request_count(struct memory *m, const struct object_at *object)
{
    m->classes[class_row(m->slots[object->slot].usable)].requests++;
}

static void lines_take(struct memory *m, const struct object_at *object, uint32_t owner)
{
    m->slots[object->slot].owner = owner;
    if (m->lines.table.entries)
        sharing_add(&m->lines.table, (uintptr_t)object->p, object->size, owner);
}

static void lines_give(struct memory *m, uint32_t slot, const void *p, size_t size)
{
    if (m->lines.table.entries)
        sharing_remove(&m->lines.table, (uintptr_t)p, size, m->slots[slot].owner);
}

static bool memory_made(void *ctx, const struct object_at *object)
{
    object_add(ctx, object);
    request_count(ctx, object);
    lines_take(ctx, object, object->thread);
    return true;
}

static bool memory_ending(void *ctx, const struct object_at *object)
{
    lines_give(ctx, object->slot, object->p, object->size);
    object_remove(ctx, object->slot, object->size);
    return true;
}

static bool memory_moving(void *ctx, const struct object_at *object)
{
    struct memory *m = ctx;
    m->moving = object->p;
    return true;
}

static bool memory_moved(void *ctx, const struct object_at *object, size_t old)
{
    struct memory *m = ctx;
    bool in_place = object->p == m->moving;
    lines_give(m, object->slot, m->moving, old);
    object_remove(ctx, object->slot, old);
    object_add(ctx, object);
    request_count(m, object);
    lines_take(m, object, in_place ? m->slots[object->slot].owner : object->thread);
    if (in_place) { /* only the growth is handed out */
        size_t kept = old < object->size ? old : object->size;
        m->handed_out -= kept;
        m->fresh_bytes -= kept;
    }
    return true;
}

/* ---- sampling ---- */

static bool ratio_counts(const struct memory *m, uint64_t live)
{
    return live >= RATIO_FLOOR && live >= m->setup->plan->peak_requested_bytes / 100;
}

static void sample_walk(void *ctx, const struct walk_item *item)
{
    struct memory *m = ctx;
    if (item->kind > WALK_UNUSED) /* then the law does not hold */
        return;
    m->now.walk[item->kind] += item->bytes;
    if (m->classing)
        m->setup->outcome->classes.row[class_row(item->class_bytes)].walk[item->kind] +=
            item->bytes;
    if (m->stage == STAGE_FIND)
        heapmap_cover(&m->map, item->address, item->bytes);
    else if (m->map_sample)
        heapmap_add(&m->map, m->map_sample, item->address, item->bytes, item->kind);
}

/* Walks the heap into m->now; false if the law does not hold, and the outcome says so. */
static bool walk_take(struct memory *m)
{
    struct outcome *outcome = m->setup->outcome;
    memset(m->now.walk, 0, sizeof m->now.walk);
    m->design->walk(m->h.heap, sample_walk, m);
    uint64_t sum = m->now.walk[0] + m->now.walk[1] + m->now.walk[2] + m->now.walk[3];
    uint64_t committed = os_counts(m->h.os).committed_bytes;
    m->walks++;
    if (sum == committed)
        return true;
    outcome_fail(outcome, OUTCOME_FAILED, "op %llu: sum(walk) is %llu bytes, committed %llu",
                 (unsigned long long)m->o.op, (unsigned long long)sum,
                 (unsigned long long)committed);
    return false;
}

static void map_begin(struct memory *m, uint64_t op)
{
    struct outcome *outcome = m->setup->outcome;
    m->map_sample = NULL;
    if (m->map.failed || op < m->next_map || outcome->heapmap_samples == HEAPMAP_SAMPLES)
        return;
    m->next_map = op + m->calls / (HEAPMAP_SAMPLES - 10) + 1;
    m->map_sample = &outcome->heapmap[outcome->heapmap_samples++];
    m->map_sample->op_index = op;
}

/* What C is without metadata and rounding: requested bytes, and free ones. */
static double net_committed(const struct memory *m)
{
    return (double)m->committed_now - (double)m->now.walk[WALK_META] -
           ((double)m->usable_now - (double)m->requested_now);
}

static bool net_known(const struct memory *m)
{
    return m->door && m->design->walk && m->design->usable;
}

/* J&W #1 without metadata and rounding: what was handed out since the last walk counts as handed
   out at this one. */
static void net_note(struct memory *m)
{
    double weight = (double)(m->handed_out - m->walked_out);
    m->walked_out = m->handed_out;
    if (!net_known(m) || !ratio_counts(m, m->requested_now))
        return;
    m->net_sum += weight * (net_committed(m) / (double)m->requested_now - 1);
    m->net_weight += weight;
}

static bool sample_take(struct memory *m, uint64_t op)
{
    struct outcome *outcome = m->setup->outcome;
    bool walks = m->door && m->design->walk;
    if (m->stage == STAGE_ALONE)
        return true;
    if (m->stage == STAGE_WALK)
        map_begin(m, op);
    if (walks && !walk_take(m))
        return false;
    m->map_sample = NULL; /* walks of peaks between samples are not part of the map */
    if (m->stage == STAGE_FIND)
        return true;
    net_note(m);
    uint64_t resident = resident_of(m->setup);
    resident = resident > m->baseline ? resident - m->baseline : 0;
    if (resident > m->resident_peak)
        m->resident_peak = resident;
    struct sample *s = &m->now;
    s->op_index = op;
    s->virtual_ns = m->h.clock_ns;
    s->requested = m->requested_now;
    s->usable = m->design->usable ? m->usable_now : SAMPLE_UNKNOWN;
    struct os_counts counts = os_counts(m->h.os);
    s->committed = m->door ? counts.committed_bytes : SAMPLE_UNKNOWN;
    s->reserved = m->door ? counts.reserved_bytes : SAMPLE_UNKNOWN;
    s->resident = resident;
    s->huge = m->door ? os_coverage(m->h.os).huge_bytes : SAMPLE_UNKNOWN;
    for (int i = 0; i < 4 && !walks; i++)
        s->walk[i] = SAMPLE_UNKNOWN;
    if (outcome->samples < OUTCOME_SAMPLES)
        outcome->sample[outcome->samples++] = *s;
    return true;
}

static bool peak_note(struct peak *peak, uint64_t bytes, uint64_t op)
{
    if (bytes <= peak->bytes)
        return false;
    *peak = (struct peak){.bytes = bytes, .op = op};
    return true;
}

static void ratio(struct memory *m, enum metric metric, uint64_t live, double value)
{
    if (ratio_counts(m, live) && !(m->design->traits & ALLOCATOR_FAKE))
        outcome_set(m->setup->outcome, metric, value);
}

/* How much could be huge pages when most is committed. */
static void coverage_report(struct memory *m)
{
    struct os_coverage all = os_coverage(m->h.os);
    if (all.committed_bytes)
        outcome_set(m->setup->outcome, METRIC_huge_coverage_at_peak_ratio,
                    (double)all.huge_bytes / (double)all.committed_bytes);
}

/* The figures of one instant, from a walk there. */
static bool peak_report(struct memory *m, uint64_t op)
{
    struct outcome *outcome = m->setup->outcome;
    double live = (double)m->requested_now, committed = (double)m->committed_now;
    double net = net_committed(m), most_live = (double)m->requested.bytes;
    if (op == m->requested.op) {
        ratio(m, METRIC_frag_jw2_ratio, m->requested_now, committed / live - 1);
        if (net_known(m))
            ratio(m, METRIC_frag_jw2_net_ratio, m->requested_now, net / live - 1);
    }
    if (op != m->committed.op)
        return true;
    if (m->committed_now != m->committed.bytes) {
        outcome_fail(outcome, OUTCOME_FAILED,
                     "op %llu: %llu bytes are committed, but %llu were in the same replay before: "
                     "the design does not repeat itself",
                     (unsigned long long)op, (unsigned long long)m->committed_now,
                     (unsigned long long)m->committed.bytes);
        return false;
    }
    ratio(m, METRIC_frag_jw3_ratio, m->requested_now, committed / live - 1);
    coverage_report(m);
    if (!m->design->walk)
        return true;
    if (net_known(m)) {
        ratio(m, METRIC_frag_jw3_net_ratio, m->requested_now, net / live - 1);
        ratio(m, METRIC_frag_jw4_net_ratio, m->requested.bytes, net / most_live - 1);
    }
    double meta = (double)m->now.walk[WALK_META], usable = (double)m->usable_now;
    outcome_set(outcome, METRIC_metadata_at_peak_committed_bytes, meta);
    if (m->design->usable && usable > 0 && committed > meta) {
        ratio(m, METRIC_frag_internal_ratio, m->requested_now, (usable - live) / usable);
        ratio(m, METRIC_frag_external_ratio, m->requested_now,
              (committed - usable - meta) / (committed - meta));
    }
    return true;
}

static void lines_note(struct shared_lines *lines, bool peak)
{
    uint64_t shared = lines->table.shared;
    lines->sum += (double)shared;
    if (peak)
        lines->at_peak = shared;
    if (shared > lines->most) {
        lines->most = shared;
        lines->used_then = lines->table.used;
    }
}

/* What the first replay looks for, after each op. */
static void peaks_find(struct memory *m, uint64_t op)
{
    bool most = peak_note(&m->requested, m->requested_now, op);
    peak_note(&m->usable_peak, m->usable_now, op);
    peak_note(&m->committed, m->committed_now, op);
    lines_note(&m->lines, most);
    if (m->fresh_bytes && ratio_counts(m, m->requested_now)) {
        m->jw1_sum +=
            (double)m->fresh_bytes * ((double)m->committed_now / (double)m->requested_now - 1);
        m->jw1_weight += (double)m->fresh_bytes;
    }
    m->fresh_bytes = 0;
}

/* The table by class, of this instant; what a walk finds is added to it there. */
static void classes_take(struct memory *m, uint64_t op)
{
    struct class_table *table = &m->setup->outcome->classes;
    table->taken = true;
    table->usable = m->design->usable != NULL;
    table->walked = m->door && m->design->walk;
    table->op_index = op;
    memcpy(table->row, m->classes, sizeof table->row);
    m->classing = table->walked;
}

static bool memory_step(void *ctx, uint64_t op)
{
    struct memory *m = ctx;
    cell_heap_tick(&m->h, m->setup, op);
    if (m->door)
        m->committed_now = os_counts(m->h.os).committed_bytes;
    if (m->stage == STAGE_ALONE) {
        peak_note(&m->alone, m->committed_now, op);
        return true;
    }
    if (m->stage == STAGE_FIND || !m->door)
        peaks_find(m, op);
    bool walking = m->stage == STAGE_WALK;
    bool most_live = walking && op == m->requested.op &&
                     (m->door || m->requested_now == m->setup->plan->peak_requested_bytes);
    bool most_committed = walking && m->door && op == m->committed.op;
    if (op < m->next_sample && !most_live && !most_committed)
        return true;
    if (op >= m->next_sample)
        m->next_sample = op + m->sample_every;
    if (m->door ? most_committed : most_live)
        classes_take(m, op);
    bool done = sample_take(m, op);
    m->classing = false;
    return done && (!m->door || !(most_live || most_committed) || peak_report(m, op));
}

static const struct observe_hooks memory_hooks = {.made = memory_made,
                                                  .ending = memory_ending,
                                                  .moving = memory_moving,
                                                  .moved = memory_moved,
                                                  .step = memory_step};

/* ---- the replays ---- */

static bool stopped_report(struct memory *m, enum observe_result result)
{
    if (result == OBSERVE_NO_MEMORY)
        cell_heap_exhausted(&m->h, m->setup, "op %llu: the allocator returned NULL",
                            (unsigned long long)m->o.op);
    return result == OBSERVE_DONE;
}

static bool replay_main(struct memory *m)
{
    if (!replay_pass_begin(&m->o.replay))
        return stopped_report(m, OBSERVE_NO_MEMORY);
    if (!sample_take(m, 0) ||
        !stopped_report(m, observe_parts(&m->o, PLAN_PART_START, PLAN_PART_TRACE)))
        return false;
    if (!sample_take(m, m->o.op))
        return false;
    struct os_counts counts = os_counts(m->h.os);
    if (m->stage == STAGE_WALK && !resident_most(&m->kernel_peak))
        m->marked = 0;
    if (m->stage == STAGE_WALK && m->door) {
        outcome_set(m->setup->outcome, METRIC_peak_reserved_bytes,
                    (double)counts.peak_reserved_bytes);
        outcome_set(m->setup->outcome, METRIC_door_calls_count, (double)counts.calls_count);
        outcome_set(m->setup->outcome, METRIC_peak_lazy_bytes, (double)counts.peak_lazy_bytes);
    }
    m->o.hooks = &(const struct observe_hooks){.ending = NULL};
    if (!stopped_report(m, observe_parts(&m->o, PLAN_PART_END, PLAN_PART_END)))
        return false;
    replay_pass_end(&m->o.replay);
    return true;
}

static bool replay_once(struct memory *m, enum stage stage)
{
    m->stage = stage;
    m->requested_now = m->usable_now = m->committed_now = m->handed_out = m->highest = 0;
    m->lowest = UINTPTR_MAX;
    m->next_sample = m->sample_every;
    m->next_map = m->walked_out = 0;
    memset(m->classes, 0, sizeof m->classes);
    if (!resident_mark(&m->marked))
        m->marked = 0;
    m->baseline = resident_of(m->setup);
    m->o = (struct observe){.hooks = &memory_hooks, .ctx = m};
    if (!cell_replay_open(&m->h, &m->o.replay, m->setup, true, TOUCH_NONE))
        return false;
    m->o.replay.one_view = stage == STAGE_ALONE;
    m->o.replay.ring = m->setup->ring;
    m->baseline += m->o.replay.tables_bytes;
    m->marked += m->marked ? m->o.replay.tables_bytes : 0;
    bool done = replay_main(m);
    if (done)
        cell_heap_close(&m->h, m->setup);
    replay_close(&m->o.replay);
    return done;
}

static void lines_report(const struct memory *m)
{
    struct outcome *o = m->setup->outcome;
    const struct shared_lines *lines = &m->lines;
    outcome_set(o, METRIC_shared_lines_peak_count, (double)lines->most);
    outcome_set(o, METRIC_shared_lines_at_peak_count, (double)lines->at_peak);
    if (m->calls)
        outcome_set(o, METRIC_shared_lines_mean_count, lines->sum / (double)m->calls);
    if (lines->most)
        outcome_set(o, METRIC_shared_lines_ratio, (double)lines->most / (double)lines->used_then);
}

/* All threads on one view took so much at most; both sides tiny says nothing. */
static void blowup_report(const struct memory *m)
{
    uint64_t all = m->committed.bytes, alone = m->alone.bytes;
    if (alone && (all >= RATIO_FLOOR || alone >= RATIO_FLOOR))
        outcome_set(m->setup->outcome, METRIC_blowup_ratio, (double)all / (double)alone);
}

static void committed_report(struct memory *m)
{
    struct outcome *o = m->setup->outcome;
    uint64_t live = m->requested.bytes, committed = m->committed.bytes;
    outcome_set(o, METRIC_peak_committed_bytes, (double)committed);
    ratio(m, METRIC_frag_jw4_ratio, live, (double)committed / (double)live - 1);
    ratio(m, METRIC_peak_utilisation_ratio, live, (double)live / (double)committed);
    if (m->jw1_weight > 0)
        ratio(m, METRIC_frag_jw1_ratio, live, m->jw1_sum / m->jw1_weight);
    if (m->net_weight > 0)
        ratio(m, METRIC_frag_jw1_net_ratio, live, m->net_sum / m->net_weight);
    outcome_set(o, METRIC_walks_count, (double)m->walks);
    if (m->highest)
        outcome_set(o, METRIC_peak_extent_bytes, (double)(m->highest - m->lowest));
    blowup_report(m);
}

static void memory_report(struct memory *m)
{
    struct outcome *o = m->setup->outcome;
    uint64_t live = m->requested.bytes;
    outcome_set(o, METRIC_peak_requested_bytes, (double)live);
    outcome_set(o, METRIC_handed_out_bytes, (double)m->handed_out);
    if (m->design->usable)
        outcome_set(o, METRIC_peak_usable_bytes, (double)m->usable_peak.bytes);
    outcome_set(o, METRIC_peak_resident_bytes, (double)m->resident_peak);
    if (m->marked)
        outcome_set(o, METRIC_peak_resident_kernel_bytes,
                    m->kernel_peak > m->marked ? (double)(m->kernel_peak - m->marked) : 0);
    ratio(m, METRIC_frag_resident_jw4_ratio, live, (double)m->resident_peak / (double)live - 1);
    if (m->door)
        committed_report(m);
    for (unsigned i = 0; i < CLASS_ROWS; i++)
        o->classes.row[i].requests = m->classes[i].requests;
    o->heapmap_bucket_bytes = m->map.bucket_bytes;
    o->heapmap_buckets = m->map.failed ? 0 : (uint32_t)m->map.buckets;
    o->status = OUTCOME_OK;
}

/* Pages of the outcome that the replay writes: there before it begins, so that the kernel's peak
   does not hold them. */
static void outcome_touch(struct outcome *o)
{
    memset(o->sample, 0, sizeof o->sample);
    memset(o->heapmap, 0, sizeof o->heapmap);
    memset(&o->classes, 0, sizeof o->classes);
}

/* The replays before the one that walks, of a design whose memory comes through the door. */
static bool replays_before(struct memory *m)
{
    const struct plan *plan = m->setup->plan;
    bool fake = m->design->traits & ALLOCATOR_FAKE, threads = plan->threads > 1 && !fake;
    if (threads && !sharing_open(&m->lines.table, plan->peak_live_objects)) {
        outcome_fail(m->setup->outcome, OUTCOME_OOM, "no memory for a table of cache lines: %s",
                     strerror(errno));
        return false;
    }
    bool done = replay_once(m, STAGE_FIND);
    heapmap_finish(&m->map);
    sharing_close(&m->lines.table);
    if (done && threads)
        lines_report(m);
    if (done && threads && m->design->thread_enter)
        done = replay_once(m, STAGE_ALONE);
    return done;
}

void memory_pass(const struct cell_setup *setup)
{
    struct memory m = {.setup = setup, .design = setup->spec->design};
    size_t bytes = (setup->plan->slots + 1) * sizeof *m.slots;
    m.slots = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                   -1, 0);
    if (m.slots == MAP_FAILED) {
        outcome_fail(setup->outcome, OUTCOME_OOM, "no memory for tables: %s", strerror(errno));
        return;
    }
    m.door = !(m.design->traits & ALLOCATOR_FOREIGN);
    m.map.failed = !m.door;
    m.calls = setup->plan->ops + setup->plan->start_objects;
    m.sample_every = m.calls / SAMPLES_WANTED + 1;
    outcome_touch(setup->outcome);
    bool done = !m.door || replays_before(&m);
    if (done && replay_once(&m, STAGE_WALK))
        memory_report(&m);
    heapmap_free(&m.map);
    munmap(m.slots, bytes);
}
