/*
 * capture_lane.c - see capture_lane.h. What is damaged is refused with the offset of the word.
 */
#include "traces/capture_lane.h"

#include <inttypes.h>
#include <sys/mman.h>

enum { LEAVE_PIECES = 128 }; /* 8 MiB, if they are full */

/* ---- pieces ---- */

static void piece_enter(const struct capture_reader *r, struct capture_lane *l)
{
    const struct capture_chunk *c = (const void *)((const char *)r->header + l->piece->offset);
    l->word = (const uint64_t *)(c + 1);
    l->end = l->word + l->piece->words;
    l->stamp = c->stamp;
    l->address[0] = c->address[0];
    l->address[1] = c->address[1];
    l->next.thread = capture_thread(r, c->thread);
    l->next.lane = c->lane;
}

/* A piece has been read. Pages are let go many at a time, because all cores that run the process must be
 * told; those of other lanes in between come back when they are read. */
static void piece_leave(struct capture_reader *r, const struct capture_piece *p)
{
    uint64_t end = p->offset + sizeof(struct capture_chunk) + p->words * sizeof(uint64_t);
    end = (end + CAPTURE_CELL_BYTES - 1) / CAPTURE_CELL_BYTES * CAPTURE_CELL_BYTES;
    if (r->leave_end == 0 || p->offset < r->leave_from)
        r->leave_from = p->offset;
    if (end > r->leave_end)
        r->leave_end = end;
    if (++r->pieces_read % LEAVE_PIECES)
        return;
    madvise((char *)(uintptr_t)r->header + r->leave_from, r->leave_end - r->leave_from,
            MADV_DONTNEED);
    r->leave_end = 0;
}

/* ---- words ---- */

static int word_refuse(const struct capture_reader *r, const uint64_t *word, const char *what,
                       struct error *err)
{
    return error_set(err, "%s: offset %" PRIu64 ": %s", r->path,
                     (uint64_t)((const char *)word - (const char *)r->header), what);
}

static int word_bad(const struct capture_reader *r, const uint64_t *word, unsigned kind,
                    struct error *err)
{
    char what[64];
    snprintf(what, sizeof what, "a record of unknown kind %u, or cut short", kind);
    return word_refuse(r, word, what, err);
}

static inline uint64_t bits(uint64_t word, unsigned at, unsigned count)
{
    return word >> at & ((UINT64_C(1) << count) - 1);
}

static inline unsigned kind_of(uint64_t word)
{
    return word & ((1u << CAPTURE_KIND_BITS) - 1);
}

static inline uint64_t since_of(uint64_t word)
{
    return bits(word, CAPTURE_KIND_BITS, CAPTURE_STAMP_BITS);
}

static inline bool is_short(uint64_t word)
{
    return kind_of(word) - CAPTURE_ALLOC <= CAPTURE_REALLOC_NULL - CAPTURE_ALLOC;
}

/* Kinds whose short form has a size beside the address. */
#define SIZED                                                                                      \
    (1u << CAPTURE_ALLOC | 1u << CAPTURE_CALLOC | 1u << CAPTURE_REALLOC_BEGIN |                    \
     1u << CAPTURE_FREE_SIZED)

/* Kind, address and size of a short record. */
static inline void short_decode(uint64_t w, uint64_t *bases, struct capture_event *e)
{
    unsigned kind = kind_of(w);
    if (__builtin_expect(kind >= CAPTURE_FREE_NULL, 0)) {
        e->kind = kind == CAPTURE_FREE_NULL ? CAPTURE_FREE : CAPTURE_REALLOC_BEGIN;
        e->size = kind == CAPTURE_FREE_NULL ? 0 : w >> CAPTURE_NULL_AT;
        e->address = 0;
        return;
    }
    bool sized = SIZED >> kind & 1;
    uint64_t *base = &bases[bits(w, CAPTURE_REGION_AT, 1)];
    *base += (uint64_t)((int64_t)w >> (sized ? CAPTURE_NEAR_AT : CAPTURE_FAR_AT)) << CAPTURE_GRAIN;
    e->kind = (uint8_t)kind;
    e->size = sized ? bits(w, CAPTURE_SIZE_AT, CAPTURE_SIZE_BITS) : 0;
    e->address = *base;
}

static int long_decode(const struct capture_reader *r, struct capture_lane *l,
                       struct capture_event *e, struct error *err)
{
    uint64_t w = l->word[0];
    e->kind = w >> 4 & 0xff;
    e->flags = w >> 12 & 0xff;
    e->align_log2 = w >> 20 & 0xff;
    if (l->end - l->word < CAPTURE_LONG_WORDS || e->kind == CAPTURE_NONE ||
        (e->kind > CAPTURE_FREE_SIZED && e->kind <= CAPTURE_LONG) || e->kind >= CAPTURE_KINDS)
        return word_bad(r, l->word, e->kind, err);
    l->stamp = l->word[1];
    e->address = l->word[2];
    e->size = l->word[3];
    if (capture_is_memory(e->kind) && e->address)
        l->address[e->address >> 45 & 1] = e->address & ~UINT64_C(15);
    l->word += CAPTURE_LONG_WORDS;
    return 0;
}

/* ---- clocks ---- */

/*
 * How far it is from `w` to the next stamp that differs, in this chunk: so many events share the time
 * until then. At a chunk's end the rest have the last stamp.
 */
static void spread_find(struct capture_lane *l, const uint64_t *w, uint64_t stamp)
{
    uint32_t spread = 0;
    l->spread_to = stamp;
    while (w < l->end) {
        uint64_t since = since_of(*w);
        size_t words = 1;
        if (!is_short(*w)) {
            words = capture_is_site(*w) ? capture_site_words(w, (size_t)(l->end - w)) : 0;
            if (words) {
                w += words;
                continue;
            }
            words = 1;
            if (kind_of(*w) == CAPTURE_LONG) {
                since = l->end - w > 1 && w[1] > stamp ? w[1] - stamp : 0;
                words = CAPTURE_LONG_WORDS;
            }
        }
        spread++;
        if (since) {
            l->spread_to = stamp + since;
            break;
        }
        w += words;
    }
    l->spread = spread;
}

/* The clock of the event at `word`, whose share of the time to the next stamp is taken; the last one before that takes the rest.
 * `stamp` is the one before it. */
static inline uint64_t clock_next(struct capture_lane *l, const uint64_t *word, uint64_t stamp)
{
    uint64_t clock = l->clock < stamp ? stamp : l->clock;
    if (l->spread == 0) {
        spread_find(l, word, stamp);
        uint64_t time = l->spread_to > clock ? l->spread_to - clock : 0;
        l->step = l->spread > 1 ? time / l->spread : l->spread ? time : 0;
    }
    l->spread -= l->spread > 0;
    clock += l->step;
    if (l->spread == 0 && l->spread_to > clock)
        clock = l->spread_to;
    return l->clock = clock;
}

/* ---- events ---- */

/* Reads the records before the next event, in its chunk. */
static int sites_next(const struct capture_reader *r, struct capture_lane *l, uint32_t *site,
                      struct error *err)
{
    bool expected = false; /* an event */
    while (l->word < l->end && capture_is_site(*l->word) && !expected) {
        size_t words = capture_site_words(l->word, (size_t)(l->end - l->word));
        expected = kind_of(*l->word) == CAPTURE_SITE;
        if (words == 0 ||
            (r->sites && !capture_site_read(&l->sites, r->sites, r->site_paths, l->word, site)))
            return word_refuse(r, l->word, "a damaged record of a site", err);
        l->word += words;
    }
    if (expected && (l->word == l->end || capture_is_site(*l->word)))
        return word_refuse(r, l->word, "a site without its record", err);
    return 0;
}

/* The lane's next event, whatever it is: 1, 0 at its end, -1 damaged. */
static int event_next(struct capture_reader *r, struct capture_lane *l, struct capture_event *e,
                      struct error *err)
{
    uint32_t site = 0;
    while (l->word == l->end || capture_is_site(*l->word)) {
        if (l->word < l->end) {
            if (sites_next(r, l, &site, err))
                return -1;
            continue;
        }
        if (l->piece != l->last)
            piece_leave(r, l->piece++);
        if (l->piece == l->last)
            return 0;
        piece_enter(r, l);
    }
    *e = (struct capture_event){.thread = l->next.thread, .lane = l->next.lane, .site = site};
    e->clock = clock_next(l, l->word, l->stamp);
    if (is_short(*l->word)) {
        l->stamp += since_of(*l->word);
        short_decode(*l->word++, l->address, e);
    } else if (kind_of(*l->word) != CAPTURE_LONG) {
        return word_bad(r, l->word, kind_of(*l->word), err);
    } else if (long_decode(r, l, e, err)) {
        return -1;
    }
    e->stamp = l->stamp;
    return 1;
}

/* Takes short records of stamps less than `limit` up to the first word that is anything else; how
 * many. A site is only taken together with its record. */
static size_t short_take(const struct capture_reader *r, struct capture_lane *l, uint64_t limit,
                         struct capture_event *to, size_t room)
{
    const uint64_t *word = l->word, *end = l->end;
    const uint32_t *nodes = l->sites.nodes, thread = l->next.thread, lane = l->next.lane;
    uint64_t stamp = l->stamp, bases[2] = {l->address[0], l->address[1]};
    size_t n = 0;
    for (; n < room && word < end; n++) {
        struct capture_event *e = &to[n];
        const uint64_t *record = word;
        uint32_t site = 0;
        if (kind_of(*word) == CAPTURE_SITE) {
            uint64_t number = bits(*word, CAPTURE_CALLER_AT, CAPTURE_CALLER_BITS);
            if (++record == end || (r->sites && number - 1 >= l->sites.node_count))
                break;
            site = r->sites ? nodes[number - 1] : 0;
        }
        uint64_t now = stamp + since_of(*record);
        if (!is_short(*record) || now >= limit)
            break;
        e->clock = clock_next(l, record, stamp);
        e->stamp = stamp = now;
        short_decode(*record, bases, e);
        e->thread = thread;
        e->lane = lane;
        e->site = site;
        e->flags = e->align_log2 = 0;
        word = record + 1;
    }
    l->word = word;
    l->stamp = stamp;
    l->address[0] = bases[0];
    l->address[1] = bases[1];
    return n;
}

int capture_lane_start(struct capture_reader *r, struct capture_lane *l, struct error *err)
{
    piece_enter(r, l);
    return event_next(r, l, &l->next, err);
}

int capture_lane_take(struct capture_reader *r, struct capture_lane *l, uint64_t limit,
                      struct capture_event *to, size_t room, size_t *count, struct error *err)
{
    size_t n = 0;
    int more = 1;
    do {
        to[n++] = l->next;
        n += short_take(r, l, limit, to + n, room - n);
        more = event_next(r, l, &l->next, err);
    } while (more > 0 && n < room && l->next.stamp < limit);
    *count = n;
    return more;
}
