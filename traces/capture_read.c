/*
 * capture_read.c - finds the chunks of a capture, strings them together by lane and sequence, and
 * merges the lanes by their stamps with a heap.
 */
#include "traces/capture_read.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "traces/capture_lane.h"

/* ---- the file ---- */

static bool string_ends(const char *text, size_t room)
{
    return memchr(text, 0, room) != NULL;
}

static int header_check(const struct capture_reader *r, struct error *err)
{
    const struct capture_header *h = r->header;
    if (h->magic != CAPTURE_MAGIC)
        return error_set(err, "%s: offset 0: not a capture, or its process ended before it began",
                         r->path);
    if (h->header_bytes != CAPTURE_HEADER_BYTES || h->room_bytes != CAPTURE_ROOM_BYTES)
        return error_set(err, "%s: offset 8: a capture of another version of the recorder",
                         r->path);
    if (!string_ends(h->program, sizeof h->program) || !string_ends(h->parent, sizeof h->parent) ||
        !string_ends(h->recorder, sizeof h->recorder) || h->command_bytes > CAPTURE_COMMAND_BYTES ||
        strchr(h->parent, '/') || h->ticks_per_s == 0)
        return error_set(err, "%s: offset 16: the header is damaged", r->path);
    return 0;
}

/* Maps the file; the descriptor, or -1. */
static int map(struct capture_reader *r, struct error *err)
{
    struct stat status;
    int fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &status) != 0) {
        if (fd >= 0)
            close(fd);
        return error_set(err, "%s: cannot read: %s", r->path, strerror(errno));
    }
    if (!S_ISREG(status.st_mode) || status.st_size < (off_t)CAPTURE_HEADER_BYTES) {
        close(fd);
        return error_set(err,
                         S_ISREG(status.st_mode)
                             ? "%s: offset 0: too short for a capture"
                             : "%s: cannot read: it is not a regular file: give a capture",
                         r->path);
    }
    r->bytes = (size_t)status.st_size;
    void *p = mmap(NULL, r->bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        error_set(err, "%s: cannot map: %s", r->path, strerror(errno));
        close(fd);
        return -1;
    }
    r->header = p;
    return fd;
}

/* ---- the chunks ---- */

static int no_memory(const struct capture_reader *r, struct error *err)
{
    return error_set(err, "%s: no memory for the tables of a capture of this size", r->path);
}

static int piece_add(struct capture_reader *r, uint64_t offset, const struct capture_chunk *c,
                     struct error *err)
{
    if ((r->piece_count & (r->piece_count - 1)) == 0) {
        size_t room = r->piece_count ? 2 * r->piece_count : 1;
        struct capture_piece *grown = realloc(r->pieces, room * sizeof *grown);
        if (!grown)
            return no_memory(r, err);
        r->pieces = grown;
    }
    r->pieces[r->piece_count++] = (struct capture_piece){.offset = offset,
                                                         .lane = c->lane,
                                                         .sequence = c->sequence,
                                                         .thread = c->thread,
                                                         .words = (uint32_t)c->words,
                                                         .is_room = c->type == CAPTURE_ROOM};
    if (c->written.stamp > r->latest.stamp)
        r->latest = c->written;
    return 0;
}

/* Reads the heads of chunks: who looks at them in the mapping has all pages around them mapped. */
static int pieces_find(struct capture_reader *r, int fd, struct error *err)
{
    uint64_t step;
    for (uint64_t at = CAPTURE_HEADER_BYTES; at + CAPTURE_CELL_BYTES <= r->bytes; at += step) {
        struct capture_chunk c;
        step = CAPTURE_CELL_BYTES;
        if (pread(fd, &c, sizeof c, (off_t)at) != (ssize_t)sizeof c)
            return error_set(err, "%s: offset %" PRIu64 ": cannot read: %s", r->path, at,
                             strerror(errno));
        if (c.magic != CAPTURE_CHUNK_MAGIC + at)
            continue;
        uint64_t bytes = sizeof c + c.words * sizeof(uint64_t);
        if (c.words > CAPTURE_CHUNK_WORDS || at + bytes > r->bytes || c.lane == 0 ||
            c.thread == 0 || c.type > CAPTURE_ROOM)
            return error_set(err, "%s: offset %" PRIu64 ": a damaged chunk", r->path, at);
        step = (bytes + CAPTURE_CELL_BYTES - 1) / CAPTURE_CELL_BYTES * CAPTURE_CELL_BYTES;
        if (c.type == CAPTURE_ROOM)
            step = CAPTURE_ROOM_BYTES;
        if (c.words && piece_add(r, at, &c, err))
            return -1;
    }
    return 0;
}

/* By lane and sequence; a room before a chunk of the same sequence. */
static int piece_compare(const void *a, const void *b)
{
    const struct capture_piece *x = a, *y = b;
    if (x->lane != y->lane)
        return x->lane < y->lane ? -1 : 1;
    if (x->sequence != y->sequence)
        return x->sequence < y->sequence ? -1 : 1;
    return (int)y->is_room - (int)x->is_room;
}

static int piece_refuse(const struct capture_reader *r, const struct capture_piece *p,
                        const char *what, struct error *err)
{
    return error_set(err, "%s: offset %" PRIu64 ": chunk %" PRIu32 " of lane %" PRIu32 " %s",
                     r->path, p->offset, p->sequence, p->lane, what);
}

/* Sorts them, leaves out those that a room stands for, and refuses gaps and lanes of two threads; of a
 * process that runs, it leaves out what follows a gap: that was filled while we looked. */
static int pieces_order(struct capture_reader *r, struct error *err)
{
    size_t n = 0;
    if (r->piece_count)
        qsort(r->pieces, r->piece_count, sizeof *r->pieces, piece_compare);
    for (size_t i = 0; i < r->piece_count; i++) {
        const struct capture_piece *p = &r->pieces[i], *before = n ? &r->pieces[n - 1] : NULL;
        bool goes_on = before && before->lane == p->lane;
        if (goes_on && before->sequence == p->sequence)
            continue;
        if (p->sequence != (goes_on ? before->sequence + 1 : 0)) {
            if (r->running)
                continue;
            return piece_refuse(r, p, "follows a gap", err);
        }
        if (goes_on && before->thread != p->thread)
            return piece_refuse(r, p, "is of another thread", err);
        r->lane_count += !goes_on;
        r->pieces[n++] = *p;
    }
    r->piece_count = n;
    return 0;
}

/* ---- threads ---- */

static int compare_numbers(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The numbers that occur, sorted: so tables of threads are as large as the file makes them, whatever
 * the numbers are. */
static int threads_find(struct capture_reader *r, struct error *err)
{
    size_t n = 0;
    r->numbers = malloc((r->lane_count + 1) * sizeof *r->numbers);
    if (!r->numbers)
        return no_memory(r, err);
    for (size_t i = 0; i < r->piece_count; i++)
        if (r->pieces[i].sequence == 0)
            r->numbers[n++] = r->pieces[i].thread;
    if (n)
        qsort(r->numbers, n, sizeof *r->numbers, compare_numbers);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || r->numbers[i] != r->numbers[i - 1])
            r->numbers[r->threads++] = r->numbers[i];
    return 0;
}

uint32_t capture_thread(const struct capture_reader *r, uint32_t number)
{
    const uint32_t *at =
        r->threads ? bsearch(&number, r->numbers, r->threads, sizeof *r->numbers, compare_numbers)
                   : NULL;
    return at ? (uint32_t)(at - r->numbers) + 1 : 0;
}

/* ---- the merge ---- */

static bool comes_before(const struct capture_event *a, const struct capture_event *b)
{
    return a->stamp != b->stamp ? a->stamp < b->stamp : a->lane < b->lane;
}

/* Moves what is at the top of the heap to its place. */
static void heap_sink(struct capture_reader *r)
{
    struct capture_lane *moving = r->heap[0];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < r->heap_count) {
        if (child + 1 < r->heap_count &&
            comes_before(&r->heap[child + 1]->next, &r->heap[child]->next))
            child++;
        if (!comes_before(&r->heap[child]->next, &moving->next))
            break;
        r->heap[at] = r->heap[child];
        at = child;
    }
    r->heap[at] = moving;
}

static void heap_rise(struct capture_reader *r, struct capture_lane *lane)
{
    size_t at = r->heap_count++;
    while (at && comes_before(&lane->next, &r->heap[(at - 1) / 2]->next)) {
        r->heap[at] = r->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    r->heap[at] = lane;
}

/* Lanes of what pieces there are, each at its first event, and in the heap. */
static int lanes_start(struct capture_reader *r, struct error *err)
{
    r->lanes = calloc(r->lane_count + 1, sizeof *r->lanes);
    r->heap = calloc(r->lane_count + 1, sizeof *r->heap);
    r->lanes_left = calloc((size_t)r->threads + 1, sizeof *r->lanes_left);
    if (!r->lanes || !r->heap || !r->lanes_left)
        return no_memory(r, err);
    size_t n = 0;
    for (size_t i = 0; i < r->piece_count; n++) {
        struct capture_lane *l = &r->lanes[n];
        size_t end = i;
        while (end < r->piece_count && r->pieces[end].lane == r->pieces[i].lane)
            end++;
        l->piece = r->pieces + i;
        l->last = r->pieces + end;
        int more = capture_lane_start(r, l, err);
        if (more < 0)
            return -1;
        if (more > 0) {
            r->lanes_left[l->next.thread]++;
            heap_rise(r, l);
        }
        i = end;
    }
    return 0;
}

/* Room for `more` events after those that are there. */
static int events_reserve(struct capture_reader *r, size_t more, struct error *err)
{
    size_t room = r->event_room ? r->event_room : CAPTURE_RUN;
    while (room < r->event_count + more)
        room *= 2;
    struct capture_event *grown =
        room == r->event_room ? r->events : realloc(r->events, room * sizeof *grown);
    if (!grown)
        return no_memory(r, err);
    r->events = grown;
    r->event_room = room;
    return 0;
}

/* Leaves out what came after the first loss, of events from `from` on. */
static void events_cut(struct capture_reader *r, size_t from)
{
    uint64_t last = r->header->lost.stamp;
    size_t kept = from;
    for (size_t i = from; last && i < r->event_count; i++) {
        if (r->events[i].stamp <= last)
            r->events[kept++] = r->events[i];
        else
            r->cut_records += capture_is_call(r->events[i].kind);
    }
    r->event_count = last ? kept : r->event_count;
}

/* Appends events of the lane that comes next, of stamps less than `limit`, and puts it where it then
 * belongs. */
static int lane_append(struct capture_reader *r, uint64_t limit, struct error *err)
{
    struct capture_lane *l = r->heap[0];
    uint32_t thread = l->next.thread;
    size_t count, before = r->event_count;
    if (events_reserve(r, CAPTURE_RUN, err))
        return -1;
    int more = capture_lane_take(r, l, limit, r->events + before, CAPTURE_RUN, &count, err);
    if (more < 0)
        return -1;
    r->event_count += count;
    events_cut(r, before);
    if (more == 0) {
        r->lanes_left[thread]--;
        r->heap[0] = r->heap[--r->heap_count];
    }
    if (r->heap_count > 1)
        heap_sink(r);
    return 0;
}

/* The stamp of the lane that comes after the next one; UINT64_MAX: there is none. */
static uint64_t second_stamp(const struct capture_reader *r)
{
    uint64_t left = r->heap_count > 1 ? r->heap[1]->next.stamp : UINT64_MAX;
    uint64_t right = r->heap_count > 2 ? r->heap[2]->next.stamp : UINT64_MAX;
    return left < right ? left : right;
}

int capture_read(struct capture_reader *r, struct error *err)
{
    if (!r->lanes && lanes_start(r, err))
        return -1;
    r->event_count = 0;
    while (r->heap_count && r->event_count == 0) {
        uint64_t stamp = r->heap[0]->next.stamp, second = second_stamp(r);
        r->tied = stamp == second;
        if (lane_append(r, r->tied ? stamp + 1 : second, err))
            return -1;
        while (r->tied && r->heap_count && r->heap[0]->next.stamp == stamp &&
               r->event_count < CAPTURE_TIED)
            if (lane_append(r, stamp + 1, err))
                return -1;
    }
    return r->event_count != 0;
}

/* ---- time ---- */

/*
 * How long a tick is: as the capture itself shows, if it is long enough, because the start and the
 * last chunk are told in both units; else as it was measured before.
 */
static void clock_set(struct capture_reader *r)
{
    const struct capture_header *h = r->header;
    uint64_t long_enough = h->ticks_per_s / 20;
    r->ns_per_tick = 1e9 / (double)h->ticks_per_s;
    if (r->latest.stamp > h->started.stamp + long_enough && r->latest.ns > h->started.ns)
        r->ns_per_tick =
            (double)(r->latest.ns - h->started.ns) / (double)(r->latest.stamp - h->started.stamp);
}

double capture_share(const struct capture_reader *r)
{
    return r->piece_count ? (double)r->pieces_read / (double)r->piece_count : 1;
}

/* ---- from the start to the end ---- */

int capture_open(struct capture_reader *r, const char *path, bool running, struct error *err)
{
    *r = (struct capture_reader){.path = path, .running = running};
    int fd = map(r, err);
    if (fd < 0)
        return -1;
    int failed = header_check(r, err) || pieces_find(r, fd, err);
    close(fd);
    if (failed || pieces_order(r, err) || threads_find(r, err)) {
        capture_close(r);
        return -1;
    }
    clock_set(r);
    return 0;
}

static int compare_lanes(const void *a, const void *b)
{
    const struct capture_cut *x = a, *y = b;
    return (x->lane > y->lane) - (x->lane < y->lane);
}

/* How much of a piece is to be read; `cuts` are sorted. */
static uint32_t words_before(const struct capture_piece *p, const struct capture_cut *cuts,
                             size_t count, uint32_t lanes_begun)
{
    const struct capture_cut key = {.lane = p->lane};
    const struct capture_cut *cut =
        count ? bsearch(&key, cuts, count, sizeof *cuts, compare_lanes) : NULL;
    if (p->lane > lanes_begun || (cut && p->sequence > cut->sequence))
        return 0;
    if (!cut || p->sequence < cut->sequence || cut->words >= p->words)
        return p->words;
    return (uint32_t)cut->words;
}

int capture_limit(struct capture_reader *r, struct capture_cut *cuts, size_t count,
                  uint32_t lanes_begun, struct error *err)
{
    size_t n = 0;
    uint32_t lane = 0;
    if (count)
        qsort(cuts, count, sizeof *cuts, compare_lanes);
    r->lane_count = 0;
    for (size_t i = 0; i < r->piece_count; i++) {
        struct capture_piece p = r->pieces[i];
        p.words = words_before(&p, cuts, count, lanes_begun);
        if (p.words == 0)
            continue;
        r->lane_count += p.lane != lane;
        lane = p.lane;
        r->pieces[n++] = p;
    }
    r->piece_count = n;
    return r->lanes ? error_set(err, "%s: limited too late", r->path) : 0;
}

void capture_close(struct capture_reader *r)
{
    if (r->header)
        munmap((void *)(uintptr_t)r->header, r->bytes);
    free(r->pieces);
    for (size_t i = 0; r->lanes && i < r->lane_count; i++)
        capture_lane_sites_free(&r->lanes[i].sites);
    free(r->lanes);
    free(r->heap);
    free(r->events);
    free(r->lanes_left);
    free(r->numbers);
    *r = (struct capture_reader){0};
}
