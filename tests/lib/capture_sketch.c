/*
 * capture_sketch.c - a small simulated process writes sketches: what it does to its addresses is
 * possible, so that a sketch as it was made is imported in strict mode, without an oddity.
 */
#include "tests/lib/capture_sketch.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "traces/recorder/capture.h"
#include "workloads/lib/rng.h"

enum {
    HEADER_BYTES = (offsetof(struct capture_header, command) + 7) / 8 * 8, /* magics lie at words */
    LANES = 4,
    ADDRESSES = 48,
    SCOPES = 4,
    PARTS = 3,
    ROOM_WORDS = 200,
};

/* ---- from a sketch to files ---- */

static uint64_t word_at(const struct image *sketch, size_t at)
{
    uint64_t word;
    memcpy(&word, sketch->data + at, sizeof word);
    return word;
}

/* Where the next part of the sketch begins. */
static size_t part_end(const struct image *sketch, size_t at)
{
    for (at += sizeof(uint64_t); at + sizeof(uint64_t) <= sketch->bytes; at += sizeof(uint64_t)) {
        uint64_t word = word_at(sketch, at);
        if (word == CAPTURE_MAGIC || word == CAPTURE_CHUNK_MAGIC)
            return at;
    }
    return sketch->bytes;
}

static bool is_header(const struct image *sketch, size_t at)
{
    return at + sizeof(uint64_t) <= sketch->bytes && word_at(sketch, at) == CAPTURE_MAGIC;
}

static void put_at(int fd, const void *data, size_t bytes, uint64_t offset)
{
    if (pwrite(fd, data, bytes, (off_t)offset) != (ssize_t)bytes)
        abort();
}

/* A chunk at its place in the file; returns the place behind it. */
static uint64_t chunk_put(int fd, const struct image *sketch, size_t at, size_t end, uint64_t place)
{
    struct capture_chunk head = {.words = 0};
    size_t bytes = end - at;
    memcpy(&head, sketch->data + at, bytes < sizeof head ? bytes : sizeof head);
    uint64_t magic = head.magic + place;
    put_at(fd, sketch->data + at, bytes, place);
    put_at(fd, &magic, sizeof magic, place);
    uint64_t step =
        head.type == CAPTURE_ROOM && bytes < CAPTURE_ROOM_BYTES
            ? CAPTURE_ROOM_BYTES
            : (bytes + CAPTURE_CELL_BYTES - 1) / CAPTURE_CELL_BYTES * CAPTURE_CELL_BYTES;
    return place + step;
}

/* The file that begins at `at`; returns where the next one does. */
static size_t file_put(int fd, const struct image *sketch, size_t at)
{
    size_t end = part_end(sketch, at);
    uint64_t place = CAPTURE_HEADER_BYTES;
    put_at(fd, sketch->data + at, end - at < HEADER_BYTES ? end - at : HEADER_BYTES, 0);
    for (at = end; at < sketch->bytes && !is_header(sketch, at); at = end) {
        end = part_end(sketch, at);
        place = chunk_put(fd, sketch, at, end, place);
    }
    if (ftruncate(fd, (off_t)place))
        abort();
    return at;
}

enum import_outcome capture_sketch_import(const struct trace_format *format,
                                          const struct image *sketch, unsigned options,
                                          struct error *err)
{
    int first = import_memory_file(), parents = 0;
    size_t at = file_put(first, sketch, 0);
    for (; parents < PARTS && is_header(sketch, at); parents++) {
        int fd = import_memory_file();
        at = file_put(fd, sketch, at);
        if (dup2(fd, CAPTURE_SKETCH_FD + parents) < 0)
            abort();
        close(fd);
    }
    enum import_outcome outcome = import_once_from(format, first, options, err);
    while (parents)
        close(CAPTURE_SKETCH_FD + --parents);
    close(first);
    return outcome;
}

/* ---- a process that makes one ---- */

struct writer { /* of a lane */
    struct capture_chunk head;
    uint64_t words[CAPTURE_CHUNK_WORDS];
    uint64_t stamp, address[2];
    uint64_t old; /* of a realloc that has begun; 0: none */
    bool in_realloc, ended;
};

struct process {
    struct capture_header header;
    struct image file;
    struct writer lanes[LANES];
    uint64_t stamp;
    uint64_t scopes[SCOPES]; /* ids of open ones, 0: none */
    uint64_t scopes_begun;
    bool live[ADDRESSES];
    bool stopped;
};

static void sketch_add(struct image *sketch, const void *data, size_t bytes)
{
    image_insert(sketch, sketch->bytes, data, bytes);
}

static uint64_t draw(struct rng *rng, uint64_t below)
{
    return rng_next(rng) % below;
}

/* Two regions, and some that are not at a multiple of 16. */
static uint64_t address_of(unsigned i)
{
    return (i & 1 ? UINT64_C(0x555500000000) : UINT64_C(0x7f0000000000)) + (uint64_t)i * 208 +
           (i % 7 == 0 ? 8 : 0);
}

/* What the lane has written as a chunk, or as its room, which then begins anew. */
static void lane_write_out(struct process *p, struct writer *w, unsigned type)
{
    w->head.type = type;
    w->head.written = (struct capture_time){p->stamp, p->stamp};
    sketch_add(&p->file, &w->head, sizeof w->head);
    sketch_add(&p->file, w->words, w->head.words * sizeof *w->words);
    w->head.words = 0;
    w->head.sequence++;
    w->head.stamp = w->stamp;
    memcpy(w->head.address, w->address, sizeof w->address);
}

/* A chunk that the room still stands for: only half of it was written. */
static void lane_tear(struct process *p, const struct writer *w)
{
    struct capture_chunk head = w->head;
    const uint64_t garbage[3] = {0, UINT64_MAX, CAPTURE_LONG};
    head.type = CAPTURE_FULL_CHUNK;
    head.words = 3;
    sketch_add(&p->file, &head, sizeof head);
    sketch_add(&p->file, garbage, sizeof garbage);
}

static void put_long(struct process *p, struct writer *w, unsigned kind, uint64_t more,
                     uint64_t address, uint64_t size)
{
    const uint64_t words[4] = {CAPTURE_LONG | (uint64_t)kind << 4 | more << 12, p->stamp, address,
                               size};
    memcpy(w->words + w->head.words, words, sizeof words);
    w->head.words += CAPTURE_LONG_WORDS;
    w->stamp = p->stamp;
    if (capture_is_memory(kind) && address)
        w->address[address >> 45 & 1] = address & ~UINT64_C(15);
}

/* In the short form where that is possible. */
static void put(struct process *p, struct writer *w, unsigned kind, uint64_t address, uint64_t size)
{
    uint64_t since = p->stamp - w->stamp, region = address >> 45 & 1;
    int64_t apart = (int64_t)(address - w->address[region]) >> CAPTURE_GRAIN;
    bool far = kind == CAPTURE_FREE || kind == CAPTURE_REALLOC_END;
    int64_t reach = INT64_C(1) << (far ? 41 : 25);
    uint64_t word = kind | since << CAPTURE_KIND_BITS;
    if (since >> CAPTURE_STAMP_BITS || (address & 15) || size >> CAPTURE_SIZE_BITS ||
        apart >= reach || apart < -reach || kind > CAPTURE_FREE_SIZED ||
        (address == 0 && kind != CAPTURE_FREE && kind != CAPTURE_REALLOC_BEGIN)) {
        put_long(p, w, kind, 0, address, size);
        return;
    }
    if (address == 0)
        word += (kind == CAPTURE_FREE ? CAPTURE_FREE_NULL : CAPTURE_REALLOC_NULL) - kind +
                (size << CAPTURE_NULL_AT);
    else if (far)
        word |= region << CAPTURE_REGION_AT | (uint64_t)apart << CAPTURE_FAR_AT;
    else
        word |= region << CAPTURE_REGION_AT | size << CAPTURE_SIZE_AT |
                (uint64_t)apart << CAPTURE_NEAR_AT;
    w->words[w->head.words++] = word;
    w->stamp = p->stamp;
    if (address)
        w->address[region] = address;
}

static uint64_t size_draw(struct rng *rng)
{
    return draw(rng, UINT64_C(1) << draw(rng, 24));
}

/* Makes what address i is into the opposite. */
static void address_event(struct process *p, struct writer *w, unsigned i, struct rng *rng)
{
    static const unsigned allocs[] = {CAPTURE_ALLOC, CAPTURE_ALLOC, CAPTURE_CALLOC, CAPTURE_ALIGNED,
                                      CAPTURE_REALLOC_END};
    uint64_t address = address_of(i), size = size_draw(rng);
    if (!p->live[i]) {
        unsigned kind = allocs[draw(rng, w->in_realloc ? 5 : 4)];
        if (kind == CAPTURE_ALIGNED)
            put_long(p, w, kind, draw(rng, 20) << 8, address, size);
        else
            put(p, w, kind, address, kind == CAPTURE_REALLOC_END ? 0 : size);
        w->in_realloc &= kind != CAPTURE_REALLOC_END;
    } else if (!w->in_realloc && draw(rng, 3) == 0) {
        put(p, w, CAPTURE_REALLOC_BEGIN, address, size + 1);
        w->in_realloc = true;
    } else {
        bool sized = draw(rng, 4) == 0;
        put(p, w, sized ? CAPTURE_FREE_SIZED : CAPTURE_FREE, address, sized ? size : 0);
    }
    p->live[i] = !p->live[i];
}

static void scope_event(struct process *p, struct writer *w, struct rng *rng)
{
    uint64_t *scope = &p->scopes[draw(rng, SCOPES)];
    if (*scope == 0) {
        *scope = ++p->scopes_begun;
        put_long(p, w, CAPTURE_SCOPE_BEGIN, 0, *scope, 0);
    } else if (draw(rng, 2)) {
        put_long(p, w, CAPTURE_SCOPE_SWITCH, 0, draw(rng, 2) ? *scope : 0, 0);
    } else {
        put_long(p, w, CAPTURE_SCOPE_END, 0, *scope, 0);
        *scope = 0;
    }
}

static void rare_event(struct process *p, struct writer *w, struct rng *rng)
{
    p->stamp++; /* marks have one of their own */
    switch (draw(rng, 8)) {
    case 0:
        put(p, w, CAPTURE_FREE, 0, 0);
        break;
    case 1:
        put_long(p, w, draw(rng, 2) ? CAPTURE_ALLOC : CAPTURE_CALLOC, CAPTURE_FAILED, 0,
                 UINT64_MAX - draw(rng, 99));
        break;
    case 2:
        put_long(p, w, CAPTURE_THREAD_NAME, 0, UINT64_C(0x0a21656d616e2061), draw(rng, 3) - 1);
        break;
    case 3:
        p->stopped = !p->stopped;
        put_long(p, w, p->stopped ? CAPTURE_STOP : CAPTURE_START, 0, 0, 0);
        break;
    case 4:
        if (!w->in_realloc)
            put(p, w, CAPTURE_REALLOC_BEGIN, 0, size_draw(rng));
        w->in_realloc = true;
        break;
    case 5:
        put_long(p, w, CAPTURE_THREAD_END, 0, 0, 0);
        break;
    default:
        scope_event(p, w, rng);
    }
    p->stamp++;
}

static void process_run(struct process *p, size_t events, struct rng *rng)
{
    for (size_t i = 0; i < events; i++) {
        struct writer *w = &p->lanes[draw(rng, LANES)];
        if (draw(rng, 3) == 0)
            p->stamp += draw(rng, UINT64_C(1) << draw(rng, 20)) + 1;
        if (draw(rng, 16) == 0)
            rare_event(p, w, rng);
        else
            address_event(p, w, (unsigned)draw(rng, ADDRESSES), rng);
        if (w->head.words > ROOM_WORDS || (w->head.words && draw(rng, 40) == 0))
            lane_write_out(p, w, CAPTURE_FULL_CHUNK);
    }
}

/* Its rooms, and all of it, to the sketch. */
static void process_end(struct process *p, struct image *sketch, struct rng *rng)
{
    for (unsigned i = 0; i < LANES; i++) {
        if (p->lanes[i].head.words && draw(rng, 3) == 0)
            lane_tear(p, &p->lanes[i]);
        lane_write_out(p, &p->lanes[i], CAPTURE_ROOM);
    }
    sketch_add(sketch, &p->header, HEADER_BYTES);
    sketch_add(sketch, p->file.data, p->file.bytes);
    free(p->file.data);
}

static void lanes_begin(struct process *p, uint32_t first_thread)
{
    for (uint32_t i = 0; i < LANES; i++) {
        struct writer *w = &p->lanes[i];
        *w = (struct writer){.stamp = p->stamp, .head.stamp = p->stamp};
        w->head.magic = CAPTURE_CHUNK_MAGIC;
        w->head.lane = i + 1;
        w->head.thread = first_thread + i / 2; /* two lanes each */
    }
}

/* A child of the process: what it inherits is what its parent's lanes hold now. */
static void child_begin(struct process *child, const struct process *parent)
{
    *child = *parent;
    child->file = (struct image){NULL, 0};
    child->header.lanes_at_fork = LANES;
    child->header.fork_thread = parent->lanes[0].head.thread;
    memcpy(child->header.parent, "700", 4); /* CAPTURE_SKETCH_FD */
    memset(child->scopes, 0, sizeof child->scopes);
    lanes_begin(child, child->header.fork_thread);
    for (uint32_t i = 0; i < LANES; i++) {
        const struct capture_chunk *head = &parent->lanes[i].head;
        put_long(child, &child->lanes[0], CAPTURE_CUT, 0, head->lane,
                 (uint64_t)head->sequence << 32 | head->words);
    }
    child->stamp++;
}

struct image capture_sketch_make(uint64_t seed, size_t events)
{
    struct rng rng = rng_stream(seed, 3);
    struct process *p = calloc(2, sizeof *p), *child = p + 1;
    struct image sketch = {NULL, 0};
    if (!p)
        abort();
    p->header = (struct capture_header){.magic = CAPTURE_MAGIC,
                                        .header_bytes = CAPTURE_HEADER_BYTES,
                                        .room_bytes = CAPTURE_ROOM_BYTES,
                                        .started_s = 1700000000,
                                        .started = {1000, 1000},
                                        .ticks_per_s = 1000000000,
                                        .by_counter = 1,
                                        .sample = seed % 5 ? 1 : 4,
                                        .each = seed % 2 == 0,
                                        .recorder = CAPTURE_RECORDER,
                                        .program = "sketched"};
    p->stamp = 1000;
    lanes_begin(p, 1);
    process_run(p, events, &rng);
    if (seed % 3 == 0) {
        child_begin(child, p);
        process_run(child, events / 2, &rng);
        process_end(child, &sketch, &rng);
        process_run(p, events / 2, &rng);
    }
    process_end(p, &sketch, &rng);
    free(p);
    return sketch;
}
