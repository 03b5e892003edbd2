/*
 * capture_order.c - orders a group by trying: of the lanes' next events whose address is in the state
 * that it needs, the one that the clock has first, as long as there is one; else back to the last
 * choice. A true order exists
 * for what a correct program did, so that trying ends soon: nearly always no choice is taken back.
 *
 * An event whose address is in the wrong state, and that no other lane's events of this group could
 * put right, is let through: it is odd (the recorder cannot see all calls), and waiting would not
 * help. A limit on the number of steps bounds what odd captures can cost.
 */
#include "traces/capture_order.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS_AN_EVENT = 256 };

struct capture_place {
    uint64_t address;
    uint32_t event;       /* while sorting */
    uint32_t slot;        /* of the event's address; events of one address share it */
    uint32_t lane;        /* the lane chosen at this depth, by its index */
    uint32_t begin, next; /* by a lane's index: its first event, and the one at hand */
    bool live;            /* by slot */
    bool before;          /* by depth: `live` of the slot before the step */
};

enum effect { NEITHER, GIVES, RELEASES };

static enum effect effect_of(const struct capture_event *e)
{
    if (e->address == 0 || (e->flags & (CAPTURE_FAILED | CAPTURE_LEFT)))
        return NEITHER;
    switch (e->kind) {
    case CAPTURE_ALLOC:
    case CAPTURE_CALLOC:
    case CAPTURE_ALIGNED:
    case CAPTURE_REALLOC_END:
        return GIVES;
    case CAPTURE_FREE:
    case CAPTURE_FREE_SIZED:
    case CAPTURE_REALLOC_BEGIN:
        return RELEASES;
    }
    return NEITHER;
}

bool capture_group_add(struct capture_group *g, const struct capture_event *e)
{
    if (g->count == g->room) {
        size_t room = g->room ? 2 * g->room : 64;
        void *events = realloc(g->events, room * sizeof *g->events);
        if (events)
            g->events = events;
        void *sorted = realloc(g->sorted, room * sizeof *g->sorted);
        if (sorted)
            g->sorted = sorted;
        void *places = realloc(g->places, (room + 1) * sizeof *g->places);
        if (places)
            g->places = places;
        if (!events || !sorted || !places)
            return false;
        g->room = room;
    }
    g->events[g->count++] = *e;
    return true;
}

void capture_group_free(struct capture_group *g)
{
    free(g->events);
    free(g->sorted);
    free(g->places);
    *g = (struct capture_group){0};
}

static int address_compare(const void *a, const void *b)
{
    const struct capture_place *x = a, *y = b;
    return (x->address > y->address) - (x->address < y->address);
}

/* Gives each address a slot, and looks up whether it is live. */
static bool slots_make(struct capture_group *g, bool (*is_live)(void *arg, uint64_t address),
                       void *arg)
{
    struct capture_place *p = g->places;
    uint32_t *slots = malloc(g->count * sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < g->count; i++)
        p[i] = (struct capture_place){.address = g->events[i].address, .event = (uint32_t)i};
    qsort(p, g->count, sizeof *p, address_compare);
    uint32_t slot = 0;
    for (size_t i = 0; i < g->count; i++) {
        if (i == 0 || p[i].address != p[i - 1].address)
            slot = (uint32_t)i;
        slots[p[i].event] = slot;
    }
    for (size_t i = 0; i < g->count; i++) {
        if (slots[p[i].event] == i)
            p[i].live = p[i].address && is_live(arg, p[i].address);
    }
    for (size_t i = 0; i < g->count; i++)
        p[i].slot = slots[i];
    free(slots);
    return true;
}

/* Where each lane's events begin; the number of lanes. */
static uint32_t lanes_make(struct capture_group *g)
{
    uint32_t lanes = 0;
    for (size_t i = 0; i < g->count; i++)
        if (i == 0 || g->events[i].lane != g->events[i - 1].lane) {
            g->places[lanes].begin = g->places[lanes].next = (uint32_t)i;
            lanes++;
        }
    g->places[lanes].begin = (uint32_t)g->count;
    return lanes;
}

/* True if another lane has an event to come that does this to the slot. */
static bool others_will(const struct capture_group *g, uint32_t lanes, uint32_t me, uint32_t slot,
                        enum effect effect)
{
    for (uint32_t l = 0; l < lanes; l++)
        for (uint32_t i = g->places[l].next; l != me && i < g->places[l + 1].begin; i++)
            if (g->places[i].slot == slot && effect_of(&g->events[i]) == effect)
                return true;
    return false;
}

/* True if the lane's next event may come now. */
static bool may_come(const struct capture_group *g, uint32_t lanes, uint32_t lane)
{
    uint32_t i = g->places[lane].next;
    if (i == g->places[lane + 1].begin)
        return false;
    enum effect effect = effect_of(&g->events[i]);
    uint32_t slot = g->places[i].slot;
    if (effect == NEITHER || g->places[slot].live == (effect == RELEASES))
        return true;
    return !others_will(g, lanes, lane, slot, effect == GIVES ? RELEASES : GIVES);
}

/* Takes the lane's next event as number `depth`. */
static void step(struct capture_group *g, size_t depth, uint32_t lane)
{
    struct capture_place *p = g->places;
    uint32_t i = p[lane].next++;
    enum effect effect = effect_of(&g->events[i]);
    p[depth].lane = lane;
    p[depth].before = p[p[i].slot].live;
    if (effect != NEITHER)
        p[p[i].slot].live = effect == GIVES;
    g->sorted[depth] = g->events[i];
}

static uint32_t step_back(struct capture_group *g, size_t depth)
{
    struct capture_place *p = g->places;
    uint32_t lane = p[depth].lane, i = --p[lane].next;
    p[p[i].slot].live = p[depth].before;
    return lane;
}

/* The lane whose event may come now and is the next one after `than` by the clock; or `lanes`. */
static uint32_t lane_choose(const struct capture_group *g, uint32_t lanes, uint64_t than_clock,
                            uint32_t than_lane)
{
    uint32_t best = lanes;
    uint64_t best_clock = UINT64_MAX;
    for (uint32_t l = 0; l < lanes; l++) {
        if (g->places[l].next == g->places[l + 1].begin)
            continue;
        uint64_t clock = g->events[g->places[l].next].clock;
        bool later = clock > than_clock || (clock == than_clock && l >= than_lane);
        if (later && clock < best_clock && may_come(g, lanes, l)) {
            best = l;
            best_clock = clock;
        }
    }
    return best;
}

bool capture_group_order(struct capture_group *g, bool (*is_live)(void *arg, uint64_t address),
                         void *arg)
{
    if (g->count < 2 || g->events[0].lane == g->events[g->count - 1].lane)
        return true;
    if (!slots_make(g, is_live, arg))
        return false;
    uint32_t lanes = lanes_make(g), after = 0;
    uint64_t steps = g->count * STEPS_AN_EVENT, clock = 0;
    size_t depth = 0;
    while (depth < g->count && steps--) {
        uint32_t lane = lane_choose(g, lanes, clock, after);
        if (lane < lanes) {
            step(g, depth++, lane);
            clock = after = 0;
        } else if (depth == 0) {
            return true; /* no order is possible */
        } else {
            lane = step_back(g, --depth);
            clock = g->sorted[depth].clock;
            after = lane + 1;
        }
    }
    if (depth == g->count)
        memcpy(g->events, g->sorted, g->count * sizeof *g->events);
    return true;
}
