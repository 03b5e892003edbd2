/*
 * lane.c - lanes: who has which, their rooms, and what a put does when it cannot simply write.
 *
 * Lanes lie in blocks that are never given back; a lane is claimed by an exchange, without a lock,
 * so that nothing can be held across a fork or by a thread that is interrupted. A thread that ends
 * still frees a little after its last destructor, so its lane is free once the kernel knows the
 * thread no more; who claims it then writes out what it still holds.
 *
 * The slow ways run with all signals blocked: so what they change is never seen half done.
 *
 * In a forked child the parent's rooms are covered by empty memory, and its lanes are not used
 * again: the fork may have happened in a signal handler in the middle of a put, which then ends
 * where nobody looks, and still counts as the parent's, who ends it as well. The rooms of the thread that
 * forked are covered at once, because the put may go on before the child has an event of its own; where a
 * child is made past all functions of the C library, syscall() included, only then.
 */
#include "traces/recorder/lane.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include "traces/recorder/file.h"
#include "traces/recorder/flush.h"
#include "traces/recorder/sandbox.h"
#include "traces/recorder/sink.h"

enum { BLOCK_LANES = 64, MAX_BLOCKS = 1024, PREPARED_BLOCKS = 4 };

struct block {
    struct lane lanes[BLOCK_LANES];
};

static struct guard no_guard;
static struct lane no_lane = {.guard = &no_guard};
static struct block *_Atomic blocks[MAX_BLOCKS];
static struct block *parents[MAX_BLOCKS + 1]; /* of the process that this one was forked from */
static _Atomic uint32_t begun;
_Thread_local struct self self = {.lane = &no_lane};
struct hot hot = {.aside = SINK_NOT_STARTED | SINK_UNRESOLVED,
                  .aside_frees = SINK_NOT_STARTED | SINK_UNRESOLVED};

/* ---- stamps ---- */

static _Atomic uint64_t stopped_ns; /* when time stopped; 0: it runs */

uint64_t lane_ns(void)
{
    struct timespec now;
    uint64_t stopped = atomic_load_explicit(&stopped_ns, memory_order_relaxed);
    if (UNLIKELY(stopped))
        return stopped;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void lane_time_stop(bool stop)
{
    uint64_t now = lane_ns();
    atomic_store(&stopped_ns, stop ? now : 0);
}

/* While time stands still each move is a tick: stamps have to differ. */
static uint64_t ticks_now(void)
{
    if (UNLIKELY(atomic_load_explicit(&stopped_ns, memory_order_relaxed)))
        return atomic_load(&hot.clock) + 1;
#if defined(__x86_64__)
    if (sink_settings.ticks_per_s)
        return __rdtsc();
#endif
    return lane_ns();
}

/* The clock never runs back, even if processors' counters differ. */
static uint64_t clock_raise(uint64_t now)
{
    uint64_t seen = atomic_load(&hot.clock);
    while (seen < now && !atomic_compare_exchange_weak(&hot.clock, &seen, now))
        continue;
    return seen < now ? now : seen;
}

/* Sets the clock to the time; the stamp is that. The next move comes after a group of records that
 * takes about CAPTURE_GROUP us: a thread that makes few pays for the time of each, one that makes
 * many for that of every CAPTURE_GROUPth. */
static uint64_t clock_move(struct lane *l)
{
    uint64_t now = clock_raise(ticks_now()), since = now - l->moved;
    l->moved = now;
    if (sink_settings.each || since > l->group * sink_settings.slow)
        l->group = 1;
    else if (l->group < CAPTURE_GROUP)
        l->group *= 2;
    return now;
}

struct capture_time lane_time(void)
{
    struct capture_time t = {.ns = lane_ns()};
    t.stamp = clock_raise(ticks_now());
    return t;
}

/* ---- records ---- */

__attribute__((noinline, cold)) static void lane_write_long(struct lane *l, const struct record *r,
                                                            uint64_t since, uint32_t at)
{
    uint64_t *words = (uint64_t *)(l->chunk + 1);
    bool soon = since >> CAPTURE_STAMP_BITS == 0 && r->address == 0 && r->flags == 0;
    if (soon && r->kind == CAPTURE_FREE) {
        lane_commit(l, at, CAPTURE_FREE_NULL | since << CAPTURE_KIND_BITS);
        return;
    }
    if (soon && r->kind == CAPTURE_REALLOC_BEGIN && r->size >> (64 - CAPTURE_NULL_AT) == 0) {
        lane_commit(l, at,
                    CAPTURE_REALLOC_NULL | since << CAPTURE_KIND_BITS | r->size << CAPTURE_NULL_AT);
        return;
    }
    words[at] = CAPTURE_LONG | (uint64_t)r->kind << 4 | (uint64_t)r->flags << 12 |
                (uint64_t)r->align_log2 << 20;
    words[at + 1] = l->stamp;
    words[at + 2] = r->address;
    if (capture_is_memory(r->kind) && r->address)
        l->address[r->address >> 45 & 1] = r->address & ~UINT64_C(15);
    lane_commit(l, at + 3, r->size);
}

/* So many records fit into the lane before one has to move the clock on. */
static void lane_due(struct lane *l, uint32_t records)
{
    l->due = l->used + records;
    l->stop = l->due < LANE_LIMIT ? l->due : LANE_LIMIT;
}

/* One record into a lane that is ours and has room. Marks have a time of their own. */
static void lane_write(struct lane *l, const struct record *r, const struct frame *frame)
{
    uint32_t ahead = capture_is_memory(r->kind) ? l->due - l->used : 0;
    uint32_t at = frame ? site_put(l, frame) : 0;
    uint64_t word, stamp = ahead ? stamp_read() : clock_move(l), since = stamp - l->stamp;
    at += l->used;
    l->stamp = stamp;
    if (lane_short(l, *r, &word) && since >> CAPTURE_STAMP_BITS == 0) {
        l->address[r->address >> 45 & 1] = r->address;
        lane_commit(l, at, word | since << CAPTURE_KIND_BITS);
    } else {
        lane_write_long(l, r, since, at);
    }
    lane_due(l, (ahead ? ahead : l->group) - 1);
}

/* ---- rooms ---- */

/* An empty room of the lane on a new place in the file; NULL: there is none. */
static struct capture_chunk *room_make(const struct lane *l)
{
    uint64_t offset;
    struct capture_chunk *room = file_map(CAPTURE_ROOM_BYTES, &offset);
    if (!room)
        return NULL;
    room->type = CAPTURE_ROOM;
    room->lane = l->id;
    room->thread = l->thread;
    /* Last: what has it is read. */
    __atomic_store_n(&room->magic, CAPTURE_CHUNK_MAGIC + offset, __ATOMIC_RELEASE);
    return room;
}

/* Rooms enough to go on while others are written, for a lane that fills many. */
static bool spares_make(struct lane *l)
{
    if (l->alone || l->sequence < LANE_SPARES_AFTER)
        return false;
    l->alone = true;
    struct flush_entry *entries = flush_take(sink_capture_name(), LANE_ROOMS);
    for (int i = 1; entries && i < LANE_ROOMS; i++)
        if (!(l->rooms[i] = room_make(l)))
            return false;
    l->entries = entries;
    l->alone = !entries;
    return entries != NULL;
}

/* Hands the full room over to who writes it, and goes on in the next one. False: that is still being
 * written, or nobody is there. */
static bool lane_hand_over(struct lane *l)
{
    uint64_t offset;
    if (atomic_load(&sandbox_closed) || (!l->entries && !spares_make(l)))
        return false;
    uint32_t next = (l->room + 1) % LANE_ROOMS;
    if (flush_is_closed() || !flush_is_clear(&l->entries[next]) || !file_place(l->chunk, &offset))
        return false;
    l->chunk->written = lane_time();
    flush_hand(&l->entries[l->room], l->chunk->magic - CAPTURE_CHUNK_MAGIC, offset);
    l->room = next;
    l->chunk = l->rooms[next];
    return true;
}

/* Writes out what the room holds. False: there is no room on disk. */
static bool lane_write_out(const struct lane *l)
{
    struct capture_chunk head = *l->chunk;
    head.type = CAPTURE_FULL_CHUNK;
    head.written = lane_time();
    return file_append(&head, (uint64_t *)(l->chunk + 1));
}

/* Gets rid of what the room holds, and begins it or the next one anew. False: it found no place. */
static bool lane_empty(struct lane *l)
{
    if (l->used == 0)
        return true;
    if (l->chunk->magic == 0) /* of a parent's lane: covered */
        return false;
    if (!lane_hand_over(l) && !lane_write_out(l))
        return false;
    /* In this order: a room without words says nothing. */
    __atomic_store_n(&l->chunk->words, 0, __ATOMIC_RELEASE);
    l->chunk->lane = l->id;
    l->chunk->thread = l->thread;
    l->chunk->sequence = ++l->sequence;
    l->chunk->stamp = l->stamp;
    l->chunk->address[0] = l->address[0];
    l->chunk->address[1] = l->address[1];
    uint32_t ahead = l->due - l->used;
    l->used = 0;
    lane_due(l, ahead);
    return true;
}

bool lane_reserve(struct lane *l, uint32_t words)
{
    sigset_t before;
    if (l->used + words + LANE_MOST_WORDS <= CAPTURE_CHUNK_WORDS)
        return true;
    int error = errno;
    signals_block(&before);
    bool emptied = lane_empty(l);
    signals_restore(&before);
    errno = error;
    return emptied;
}

/* Gives the lane, whose room is empty, to the calling thread. */
static bool lane_begin(struct lane *l)
{
    /* Before the number: a child that is forked meanwhile tells how far that one had got. */
    l->sequence = 0;
    l->used = 0;
    l->id = atomic_fetch_add(&begun, 1) + 1;
    l->thread = self.number;
    if (!l->chunk && !(l->chunk = l->rooms[0] = room_make(l)))
        return false;
    l->inner = NULL;
    l->address[0] = l->address[1] = 0;
    struct capture_time now = lane_time();
    l->stamp = l->moved = now.stamp;
    l->group = 1;
    lane_due(l, 0);
    l->chunk->lane = l->id;
    l->chunk->thread = l->thread;
    l->chunk->sequence = 0;
    l->chunk->stamp = l->stamp;
    l->chunk->address[0] = l->chunk->address[1] = 0;
    site_lane_begins(l);
    atomic_store(&l->guard->open, UINT32_MAX);
    return true;
}

/* ---- claiming ---- */

static struct block *block_make(void)
{
    struct block *b =
        mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b == MAP_FAILED)
        return NULL;
    struct guard *guards = sink_wiped_map(BLOCK_LANES * sizeof *guards);
    if (!guards) {
        munmap(b, sizeof *b);
        return NULL;
    }
    for (int i = 0; i < BLOCK_LANES; i++)
        b->lanes[i].guard = &guards[i];
    return b;
}

/* Block i, which is made if need be; NULL: no memory. */
static struct block *block_get(int i)
{
    struct block *b = atomic_load(&blocks[i]), *there = NULL;
    if (b)
        return b;
    b = atomic_load(&sandbox_closed) ? NULL : block_make();
    if (b && !atomic_compare_exchange_strong(&blocks[i], &there, b)) {
        munmap(b->lanes[0].guard, BLOCK_LANES * sizeof(struct guard));
        munmap(b, sizeof *b);
        b = there;
    }
    return b;
}

void lanes_prepare(void)
{
    for (int i = 0; i < PREPARED_BLOCKS; i++)
        block_get(i);
}

static bool thread_is_gone(int tid)
{
    return tid != 0 && !atomic_load(&sandbox_closed) &&
           syscall(SYS_tgkill, getpid(), tid, 0) != 0 && errno == ESRCH;
}

/* True if the lane was free, or that of a thread that is gone; it is the caller's then. */
static bool lane_claim(struct lane *l)
{
    bool taken = false;
    if (atomic_compare_exchange_strong(&l->claimed, &taken, true))
        return true;
    int tid = atomic_load(&l->ending);
    return thread_is_gone(tid) && atomic_compare_exchange_strong(&l->ending, &tid, 0);
}

/* The inner lanes of a thread that is gone are free too. */
static bool lane_inherit(struct lane *l)
{
    struct lane *inner = l->inner;
    l->inner = NULL; /* it may soon be another one's */
    if (inner && lane_inherit(inner))
        atomic_store(&inner->claimed, false);
    return !l->chunk || lane_empty(l);
}

struct lane *lane_acquire(void)
{
    if (self.number == 0)
        sink_thread_begins();
    for (int i = 0; i < MAX_BLOCKS; i++) {
        struct block *b = block_get(i);
        for (int k = 0; b && k < BLOCK_LANES; k++) {
            struct lane *l = &b->lanes[k];
            if (lane_claim(l))
                return lane_inherit(l) && lane_begin(l) ? l : NULL;
        }
        if (!b)
            return NULL;
    }
    return NULL;
}

void lane_ends(void)
{
    if (self.lane != &no_lane && !atomic_load(&sandbox_closed))
        atomic_store(&self.lane->ending, (int)syscall(SYS_gettid));
}

/* ---- fork ---- */

void lanes_cut(void (*cut)(const struct lane *lane))
{
    for (int i = 0; i < MAX_BLOCKS && parents[i]; i++)
        for (int k = 0; k < BLOCK_LANES; k++)
            if (parents[i]->lanes[k].id)
                cut(&parents[i]->lanes[k]);
}

uint32_t lanes_begun(void)
{
    return atomic_load(&begun);
}

static void room_cover(struct capture_chunk *room)
{
    if (!room)
        return;
    const void *covered = mmap(room, CAPTURE_ROOM_BYTES, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    (void)covered; /* else it stays as it is */
}

void lanes_leave(void)
{
    struct lane *l = self.lane;
    self.lane = &no_lane;
    for (; l; l = l->inner)
        room_cover(l->chunk);
}

void lanes_forget(void)
{
    self.lane = &no_lane;
    for (int i = 0; i < MAX_BLOCKS && blocks[i]; i++) {
        for (int k = 0; k < BLOCK_LANES * LANE_ROOMS; k++)
            room_cover(blocks[i]->lanes[k / LANE_ROOMS].rooms[k % LANE_ROOMS]);
        parents[i] = blocks[i];
        parents[i + 1] = NULL;
        blocks[i] = NULL;
    }
    atomic_store(&begun, 0);
    flush_forget();
}

/* ---- the slow ways ---- */

/* Into this lane, or where a put into it was interrupted, into an inner one. */
static void put_somewhere(struct lane *l, const struct record *r, const struct frame *frame)
{
    while (atomic_load(&l->guard->open) == 0) {
        if (!l->inner)
            l->inner = lane_acquire();
        if (!l->inner) {
            sink_lost(r->kind, lane_time().stamp);
            return;
        }
        l = l->inner;
    }
    atomic_store(&l->guard->open, 0);
    if (l->used >= LANE_LIMIT && !lane_empty(l)) {
        sink_lost(r->kind, l->stamp);
        return;
    }
    lane_write(l, r, frame);
    atomic_store(&l->guard->open, UINT32_MAX);
}

static void put_blocked(uint32_t open, const struct record *r, const struct frame *frame)
{
    if (open != 0 && self.lane != &no_lane) /* it is that if we have become a child since */
        atomic_store(&self.lane->guard->open, open); /* nobody comes between */
    else if (!sink_ready())
        return;
    if (self.lane == &no_lane) {
        struct lane *l = lane_acquire();
        if (!l) {
            sink_lost(r->kind, lane_time().stamp);
            return;
        }
        self.lane = l;
    }
    put_somewhere(self.lane, r, frame);
}

__attribute__((noinline, cold)) static void put_slow(uint32_t open, const struct record *r,
                                                     const struct frame *frame)
{
    int error = errno;
    sigset_t before;
    if (sink_is_full()) {
        sink_lost(r->kind, 0);
    } else {
        signals_block(&before);
        put_blocked(open, r, frame);
        signals_restore(&before);
    }
    errno = error;
}

uint64_t lane_put_rest(uint32_t packed, uint64_t address, uint64_t size, const struct frame *frame)
{
    struct record r = {.kind = packed & UINT8_MAX,
                       .flags = packed >> 8 & UINT8_MAX,
                       .align_log2 = (uint8_t)(packed >> 16),
                       .address = address,
                       .size = size};
    struct lane *l = self.lane;
    uint32_t open = atomic_load_explicit(&l->guard->open, memory_order_relaxed);
    atomic_store_explicit(&l->guard->open, 0, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    if (UNLIKELY(l->used >= (LANE_LIMIT & open))) {
        put_slow(open, &r, frame);
        return address;
    }
    lane_write(l, &r, frame);
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&l->guard->open, open, memory_order_relaxed);
    return address;
}

uint64_t lane_cost(void)
{
    enum { RECORDS = 128, ROUNDS = 5 };
    struct {
        struct capture_chunk head;
        uint64_t words[RECORDS * CAPTURE_LONG_WORDS];
    } room = {0};
    struct guard guard = {.open = UINT32_MAX};
    struct lane l = {.guard = &guard, .chunk = &room.head, .group = 1};
    uint64_t least = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        l.used = 0;
        lane_due(&l, 0);
        uint64_t before = lane_ns();
        for (uint64_t i = 0; i < RECORDS; i++) {
            struct record r = {.kind = CAPTURE_ALLOC, .address = 4096 + i * 32, .size = i};
            if (!lane_put_short(&l, r))
                lane_write(&l, &r, NULL);
        }
        uint64_t ns = lane_ns() - before;
        least = ns < least ? ns : least;
    }
    return least * 1000 / RECORDS;
}
