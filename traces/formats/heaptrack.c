/*
 * heaptrack.c - heaptrack's data, raw (`heaptrack --raw`) or interpreted (as it leaves them by
 * default), plain or as the .gz or .zst that they are. A line is a letter and numbers in hex:
 *
 *     v VERSION FORMAT       the first line; FORMAT is 1 to 3
 *     t IP PARENT            the next backtrace, from 1: one more frame than its parent
 *     + SIZE TRACE PTR       raw: an allocation       - PTR     raw: a free
 *     a SIZE TRACE           interpreted: the next kind of allocation, from 0
 *     + KIND                 interpreted              - KIND
 *     c MS                   time since the start
 *
 * What else there is (x X I m R A s i S #) says nothing about calls.
 *
 * Rules of the import, beside those of traces/import.h. A call's site is the number of its
 * backtrace. heaptrack says a realloc afterwards, as a free and an allocation, and it is imported
 * as these two; so one may seem to come too late, and an address be live twice. It cannot say
 * threads, alignments, calloc, failed calls, free(NULL). An interpreted free does not say which
 * object of its kind it was: the youngest one is freed.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "traces/import.h"
#include "traces/table_grow.h"

enum { NEWEST_FORMAT = 3, NS_PER_MS = 1000000 };

#define MAX_KINDS ((uint64_t)1 << 32)

struct kind { /* of an interpreted file */
    uint64_t size, site;
    uint64_t live; /* objects */
};

struct heaptrack {
    struct import im; /* the first member: what gets one gets the other */
    bool headed;      /* the first line was there */
    struct kind *kinds;
    size_t kind_count, kinds_room;
    uint64_t traces;
};

static int hex_next(struct import *im, const char *what, uint64_t *value)
{
    return lines_hex(&im->lines, lines_word(&im->lines), what, value);
}

static int head_import(struct heaptrack *h, const char *word)
{
    struct import *im = &h->im;
    uint64_t version, format;
    h->headed = true;
    if (strcmp(word, "v"))
        return lines_refuse(&im->lines, "heaptrack's data begin with a line 'v VERSION FORMAT'");
    if (hex_next(im, "version", &version) || hex_next(im, "format", &format))
        return -1;
    if (format < 1 || format > NEWEST_FORMAT)
        return lines_refuse(&im->lines, "format %" PRIu64 " is not known: 1 to %d are", format,
                            NEWEST_FORMAT);
    return 0;
}

/* A backtrace's number, that of one that has been given, or 0. */
static int backtrace_next(struct heaptrack *h, uint64_t *site)
{
    if (hex_next(&h->im, "backtrace", site))
        return -1;
    return *site > h->traces
               ? lines_refuse(&h->im.lines,
                              "backtrace %" PRIx64 ": only %" PRIx64 " have been given", *site,
                              h->traces)
               : 0;
}

static int kind_import(struct heaptrack *h)
{
    struct kind kind = {0};
    if (hex_next(&h->im, "size", &kind.size) || backtrace_next(h, &kind.site))
        return -1;
    if (h->kind_count == h->kinds_room) {
        void *grown = table_grow(h->kinds, &h->kinds_room, sizeof *h->kinds);
        if (!grown || h->kind_count == MAX_KINDS)
            return lines_refuse(&h->im.lines, "no memory for so many kinds of allocations");
        h->kinds = grown;
    }
    h->kinds[h->kind_count++] = kind;
    return 0;
}

/* An address for the youngest object of a kind; its objects are numbered from 1. */
static uint64_t address_of(const struct heaptrack *h, const struct kind *kind)
{
    return (uint64_t)(kind - h->kinds) << 32 | (kind->live & UINT32_MAX);
}

static int kind_next(struct heaptrack *h, struct kind **kind)
{
    uint64_t number;
    if (hex_next(&h->im, "kind of allocation", &number))
        return -1;
    if (number >= h->kind_count)
        return lines_refuse(&h->im.lines,
                            "kind of allocation %" PRIx64 ": only %zu have been given", number,
                            h->kind_count);
    *kind = &h->kinds[number];
    return 0;
}

static int alloc_import(struct heaptrack *h)
{
    struct trace_op op = import_op(TRACE_ALLOC, 0);
    uint64_t address;
    if (h->kind_count) {
        struct kind *kind;
        if (kind_next(h, &kind))
            return -1;
        kind->live++;
        op.size = kind->size;
        op.site = kind->site;
        address = address_of(h, kind);
    } else if (hex_next(&h->im, "size", &op.size) || backtrace_next(h, &op.site) ||
               hex_next(&h->im, "address", &address)) {
        return -1;
    }
    return lines_end(&h->im.lines) ? -1 : import_whole(&h->im, &op, 0, address);
}

static int free_import(struct heaptrack *h)
{
    uint64_t address;
    if (h->kind_count) {
        struct kind *kind;
        if (kind_next(h, &kind))
            return -1;
        address = address_of(h, kind);
        kind->live -= kind->live > 0;
    } else if (hex_next(&h->im, "address", &address)) {
        return -1;
    }
    return lines_end(&h->im.lines) ? -1 : import_free(&h->im, address);
}

static int clock_import(struct heaptrack *h)
{
    uint64_t ms;
    if (hex_next(&h->im, "time", &ms))
        return -1;
    if (ms > UINT64_MAX / NS_PER_MS)
        return lines_refuse(&h->im.lines, "a time of %" PRIu64 " ms does not fit into 64 bits", ms);
    import_clock(&h->im, ms * NS_PER_MS);
    return 0;
}

static int line_import(struct import *im)
{
    struct heaptrack *h = (struct heaptrack *)im;
    const char *word = lines_word(&im->lines);
    if (!h->headed)
        return head_import(h, word);
    switch (word[1] ? 0 : word[0]) {
    case '+':
        return alloc_import(h);
    case '-':
        return free_import(h);
    case 'a':
        return kind_import(h);
    case 't':
        h->traces++;
        return 0;
    case 'c':
        return clock_import(h);
    default:
        if (strchr("xXImRAsiS#", word[0]))
            return 0;
        return lines_refuse(&im->lines, "'%.40s' begins no line of heaptrack's data", word);
    }
}

static int heaptrack_import(const char *path, struct trace_writer *out,
                            struct import_report *report, struct error *err)
{
    struct heaptrack h = {.traces = 0};
    if (import_open(&h.im, path, "heaptrack", out, report, err))
        return -1;
    import_clock(&h.im, 0);
    int failed = import_lines(&h.im, line_import);
    free(h.kinds);
    return failed;
}

TRACE_FORMAT(heaptrack) = {
    .name = "heaptrack",
    .summary = "heaptrack's data, raw or interpreted",
    .import = heaptrack_import,
};
