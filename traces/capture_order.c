/*
 * capture_order.c - orders a group by trying: of the lanes' next events whose address is in the state
 * that it needs, the one that the clock has first, as long as there is one; else back to the last
 * choice. How far the lanes have got says what is live, so where no order goes on from there is
 * remembered, and not tried again on another way. A true order exists for what a correct program did, so
 * it is found if trying does not cost too much: nearly always no choice is taken back.
 *
 * Events of some addresses cannot alternate, as the recorder cannot see all calls, or did not see those before its
 * start: there are too many of one kind, or all lanes begin with the wrong one. So many may then come out of turn. Where
 * that is too few, or trying costs too much, the one that the clock has first comes out of turn wherever none
 * may come. What odd captures can cost is bounded over all groups together: a lot to begin with, and a
 * little more with each event.
 */
#include "traces/capture_order.h"

#include <stdlib.h>
#include <string.h>

enum { EFFORT_AN_EVENT = 256, EFFORT_AT_FIRST = 1 << 28, MOST_DEAD = 1 << 20 };

struct capture_place {
    uint32_t slot;        /* of the event's address; events of one address share it */
    uint32_t lane;        /* the lane chosen at this depth, by its index */
    uint32_t begin, next; /* by a lane's index: its first event, and the one at hand */
    uint32_t spare[2];    /* by slot: how many may come out of turn; of releases, of gives */
    int32_t given;        /* by slot: how many more gives than releases */
    uint32_t of_lane;     /* by slot: the last lane that was seen to have an event of it */
    bool lanes;           /* by slot: several have */
    bool begins,
        ends[2];  /* by slot: a lane begins as it has to; and ends by a release, by a give */
    uint8_t last; /* by slot: effect of the last event that was seen */
    bool live;    /* by slot */
    bool before;  /* by depth: `live` of the slot before the step */
    bool spent;   /* by depth: it came out of turn */
};

enum effect { NEITHER, GIVES, RELEASES };
enum order { IN_TURN, OUT_OF_TURN /* if it is spare */, AT_ANY_RATE };

static enum effect effect_of(const struct capture_event *e)
{
    if (e->address == 0 || (e->flags & CAPTURE_LEFT) ||
        ((e->flags & CAPTURE_FAILED) && e->kind != CAPTURE_REALLOC_END))
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

static bool group_reserve(struct capture_group *g, size_t count)
{
    size_t room = g->room ? g->room : 64;
    while (room < count)
        room *= 2;
    if (room == g->room)
        return true;
    void *sorted = realloc(g->sorted, room * sizeof *g->sorted);
    if (sorted)
        g->sorted = sorted;
    void *places = realloc(g->places, (room + 1) * sizeof *g->places);
    if (places)
        g->places = places;
    void *table = realloc(g->table, 4 * room * sizeof *g->table);
    if (table)
        g->table = table;
    if (sorted && places && table)
        g->room = room;
    return sorted && places && table;
}

void capture_group_free(struct capture_group *g)
{
    free(g->sorted);
    free(g->places);
    free(g->table);
    free(g->dead);
    *g = (struct capture_group){0};
}

/* Where the address stands in the table, or the free place where it would. */
static uint32_t *table_place(const struct capture_group *g, size_t mask, uint64_t address)
{
    size_t i = (size_t)((address >> CAPTURE_GRAIN) * UINT64_C(0x9e3779b97f4a7c15) >> 32) & mask;
    while (g->table[i] && g->events[g->table[i] - 1].address != address)
        i = (i + 1) & mask;
    return &g->table[i];
}

/* Of a slot: this event is the next one that is seen. */
static void slot_see(struct capture_place *slot, enum effect effect, uint32_t lane)
{
    if (slot->last == NEITHER || slot->of_lane != lane) {
        slot->begins |= slot->live == (effect == RELEASES);
        slot->lanes |= slot->last != NEITHER;
        if (slot->last != NEITHER)
            slot->ends[slot->last == GIVES] = true;
    }
    slot->of_lane = lane;
    slot->last = (uint8_t)effect;
    slot->given += effect == GIVES ? 1 : -1;
}

/* Gives each address a slot, that of its first event, and looks up whether it is live. */
static void slots_make(struct capture_group *g, bool (*is_live)(void *arg, uint64_t address),
                       void *arg)
{
    struct capture_place *p = g->places;
    size_t mask = 1;
    while (mask < 2 * g->count)
        mask = 2 * mask + 1;
    memset(g->table, 0, (mask + 1) * sizeof *g->table);
    for (uint32_t i = 0; i < g->count; i++) {
        const struct capture_event *e = &g->events[i];
        uint32_t *first = table_place(g, mask, e->address);
        bool is_first = *first == 0;
        p[i] = (struct capture_place){.live = is_first && e->address && is_live(arg, e->address)};
        *first = is_first ? i + 1 : *first;
        p[i].slot = *first - 1;
        enum effect effect = effect_of(e);
        if (effect != NEITHER)
            slot_see(&p[p[i].slot], effect, e->lane);
    }
}

/* How many events of an address must come out of turn, whatever the order is, if several lanes have them. */
static void slot_spare(struct capture_place *slot)
{
    int32_t after = slot->given + slot->live;
    slot->ends[slot->last == GIVES] = true;
    if (after < 0)
        slot->spare[0] = (uint32_t)-after;
    else if (after > 1)
        slot->spare[1] = (uint32_t)(after - 1);
    else if (!slot->begins)
        slot->spare[slot->live] = 1;
    else if (!slot->ends[after])
        slot->spare[after] = 1;
}

/* Sets what may come out of turn. How many events cannot come as they lie. */
static size_t misplaced(struct capture_group *g)
{
    struct capture_place *p = g->places;
    size_t count = 0;
    for (size_t i = 0; i < g->count; i++) {
        p[i].before = p[i].live;
        if (p[i].lanes)
            slot_spare(&p[i]);
    }
    for (size_t i = 0; i < g->count; i++) {
        enum effect effect = effect_of(&g->events[i]);
        struct capture_place *slot = &p[p[i].slot];
        if (effect == NEITHER)
            continue;
        bool out_of_turn = slot->before != (effect == RELEASES);
        if (!slot->lanes)
            slot->spare[effect == GIVES] += out_of_turn;
        count += out_of_turn;
        slot->before = effect == GIVES;
    }
    return count;
}

static bool may_try(const struct capture_group *g)
{
    return g->spent < g->allowed + EFFORT_AT_FIRST;
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

/* What a number of something, of a lane's next event for one, adds to the number of a state. */
static uint64_t part_key(uint32_t what, uint32_t number)
{
    uint64_t x = ((uint64_t)what << 32 | number) + 1;
    x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
    x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return x ^ x >> 32;
}

/* True if it is the event's turn: its address is in the state that it needs. */
static bool in_turn(const struct capture_group *g, uint32_t i)
{
    enum effect effect = effect_of(&g->events[i]);
    return effect == NEITHER || g->places[g->places[i].slot].live == (effect == RELEASES);
}

/* True if the lane's next event may come now, out of turn or not. */
static bool may_come(const struct capture_group *g, uint32_t lane, enum order order)
{
    uint32_t i = g->places[lane].next;
    if (order == AT_ANY_RATE || in_turn(g, i))
        return true;
    return order == OUT_OF_TURN &&
           g->places[g->places[i].slot].spare[effect_of(&g->events[i]) == GIVES] > 0;
}

/* So many of the slot's events may come out of turn from here on. */
static void spare_set(struct capture_group *g, uint32_t slot, bool gives, uint32_t count)
{
    uint32_t what = 1u << 31 | (uint32_t)gives << 30 | slot, *spare = &g->places[slot].spare[gives];
    g->spare_key ^= part_key(what, *spare) ^ part_key(what, count);
    *spare = count;
}

/* Takes the lane's next event as number `depth`. */
static void step(struct capture_group *g, size_t depth, uint32_t lane)
{
    struct capture_place *p = g->places;
    uint32_t i = p[lane].next++;
    enum effect effect = effect_of(&g->events[i]);
    p[depth].lane = lane;
    p[depth].before = p[p[i].slot].live;
    p[depth].spent = !in_turn(g, i);
    uint32_t spare = p[p[i].slot].spare[effect == GIVES];
    if (p[depth].spent && spare)
        spare_set(g, p[i].slot, effect == GIVES, spare - 1);
    if (effect != NEITHER)
        p[p[i].slot].live = effect == GIVES;
    g->out_of_turn += p[depth].spent;
    g->sorted[depth] = g->events[i];
}

static uint32_t step_back(struct capture_group *g, size_t depth)
{
    struct capture_place *p = g->places;
    uint32_t lane = p[depth].lane, i = --p[lane].next;
    p[p[i].slot].live = p[depth].before;
    bool gives = effect_of(&g->events[i]) == GIVES;
    if (p[depth].spent)
        spare_set(g, p[i].slot, gives, p[p[i].slot].spare[gives] + 1);
    g->out_of_turn -= p[depth].spent;
    return lane;
}

/* ---- where no order goes on ---- */

/* The number of how far they have got, and what is live; two such states have the same one by a chance
 * of 2^-64. */
static uint64_t state_key(const struct capture_group *g, uint32_t lanes)
{
    uint64_t key = g->spare_key;
    for (uint32_t l = 0; l < lanes; l++)
        key ^= part_key(l, g->places[l].next);
    return key | 1;
}

static uint64_t *dead_place(const struct capture_group *g, uint64_t key)
{
    size_t i = (size_t)(key >> 32) & (g->dead_room - 1);
    while (g->dead[i] && g->dead[i] != key)
        i = (i + 1) & (g->dead_room - 1);
    return &g->dead[i];
}

static bool is_dead(const struct capture_group *g, uint32_t lanes)
{
    if (g->dead_count == 0)
        return false;
    uint64_t key = state_key(g, lanes);
    return *dead_place(g, key) == key;
}

/* Remembers how far they have got, if there is memory: without, the same is tried again. */
static void dead_add(struct capture_group *g, uint32_t lanes)
{
    uint64_t key = state_key(g, lanes);
    if (2 * g->dead_count >= g->dead_room) {
        struct capture_group grown = {.dead_room = g->dead_room ? 2 * g->dead_room : 1024};
        if (g->dead_count >= MOST_DEAD ||
            !(grown.dead = calloc(grown.dead_room, sizeof *grown.dead)))
            return;
        for (size_t i = 0; i < g->dead_room; i++)
            if (g->dead[i])
                *dead_place(&grown, g->dead[i]) = g->dead[i];
        free(g->dead);
        g->dead = grown.dead;
        g->dead_room = grown.dead_room;
    }
    *dead_place(g, key) = key;
    g->dead_count++;
}

/* A table that was large once is not emptied for each group. */
static void dead_forget(struct capture_group *g)
{
    if (g->dead_room / 16 > g->dead_count) {
        free(g->dead);
        g->dead = NULL;
        g->dead_room = 0;
    } else if (g->dead_count) {
        memset(g->dead, 0, g->dead_room * sizeof *g->dead);
    }
    g->dead_count = 0;
}

/* ---- trying ---- */

/* The lane whose event may come now and is the next one after `than` by the clock; or `lanes`. */
static uint32_t lane_choose(const struct capture_group *g, uint32_t lanes, uint64_t than_clock,
                            uint32_t than_lane, enum order order)
{
    uint32_t best = lanes;
    uint64_t best_clock = UINT64_MAX;
    for (uint32_t l = 0; l < lanes; l++) {
        if (g->places[l].next == g->places[l + 1].begin)
            continue;
        uint64_t clock = g->events[g->places[l].next].clock;
        bool later = clock > than_clock || (clock == than_clock && l >= than_lane);
        if (later && clock < best_clock && may_come(g, l, order)) {
            best = l;
            best_clock = clock;
        }
    }
    return best;
}

/* False: there is no order with what may come out of turn, or trying has cost too much. */
static bool order_find(struct capture_group *g, uint32_t lanes)
{
    uint64_t clock = 0;
    uint32_t after = 0;
    size_t depth = 0;
    dead_forget(g);
    while (depth < g->count && may_try(g)) {
        uint32_t lane = lane_choose(g, lanes, clock, after, OUT_OF_TURN);
        g->spent += lanes;
        if (lane < lanes) {
            step(g, depth++, lane);
            clock = after = 0;
            if (!is_dead(g, lanes))
                continue;
        } else {
            dead_add(g, lanes);
            if (depth == 0)
                return false;
        }
        lane = step_back(g, --depth);
        clock = g->sorted[depth].clock;
        after = lane + 1;
    }
    if (depth == g->count)
        return true;
    while (depth)
        step_back(g, --depth);
    return false;
}

/* An order in which as few come out of turn as shows from step to step. */
static void order_make(struct capture_group *g, uint32_t lanes)
{
    for (size_t depth = 0; depth < g->count; depth++) {
        uint32_t lane = lanes;
        for (enum order order = IN_TURN; lane == lanes; order++)
            lane = lane_choose(g, lanes, 0, 0, order);
        step(g, depth, lane);
    }
}

bool capture_group_order(struct capture_group *g, struct capture_event *events, size_t count,
                         bool (*is_live)(void *arg, uint64_t address), void *arg)
{
    if (count < 2 || events[0].lane == events[count - 1].lane)
        return true;
    g->events = events;
    g->count = count;
    if (!group_reserve(g, count))
        return false;
    slots_make(g, is_live, arg);
    size_t impossible = misplaced(g);
    uint32_t lanes = lanes_make(g);
    g->allowed += count * (EFFORT_AN_EVENT + 2 * (uint64_t)lanes);
    g->spare_key = g->out_of_turn = 0;
    if (!order_find(g, lanes))
        order_make(g, lanes);
    if (g->out_of_turn > impossible)
        return true;
    memcpy(g->events, g->sorted, g->count * sizeof *g->events);
    g->repaired += impossible - g->out_of_turn;
    return true;
}
