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
 *     m LENGTH PATH BASE START SIZE ..  raw: a module; - forgets all, x is the program
 *     s LENGTH TEXT                     interpreted: the next string, from 1
 *     i IP MODULE [FUNCTION FILE LINE ..]  interpreted: the next frame, from 1, which t names as IP;
 *                                       the innermost of functions that are inlined comes first
 *     x LENGTH PATH                     the program
 *
 * What else there is (X I R A S #) says nothing of use. X is the command, and goes on to the line I if an
 * argument has lines of its own.
 *
 * Rules of the import, beside those of traces/import.h. A call's site is its backtrace, under the number
 * that heaptrack gave it. Its frames are: in a raw file, module and offset, that of the address less 1,
 * since it is where a call returns to (from 1.3 on heaptrack writes it so itself); in an interpreted one, function, file and line, an inlined
 * function being a frame of its own; and without them the module and the place in a page, which is the
 * same in each run wherever the module lies. Modules and files are named without their paths. heaptrack
 * says a realloc afterwards, as a free and an allocation, and it is imported as these two; so one may
 * seem to come too late, and an address be live twice. It cannot say threads, alignments, calloc, failed
 * calls, free(NULL). An interpreted free does not say which object of its kind it was: the youngest one
 * is freed.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "traces/import.h"
#include "traces/table_grow.h"

enum { NEWEST_FORMAT = 3, COMMAND_FORMAT = 2 /* a line I follows X */, NS_PER_MS = 1000000 };

#define FORMAT_1_VERSION 0x10200 /* before 1.0.0 its line v had no format yet */
#define CALL_VERSION     0x10300 /* a raw file has addresses of calls; before this: of returns */
#define MAX_KINDS        ((uint64_t)1 << 32)

struct kind { /* of an interpreted file */
    uint64_t size, site;
    uint64_t live; /* objects */
};

struct list {
    uint64_t *items; /* numbered from 1 */
    size_t count, room;
};

struct segment { /* of a module, where it lies */
    uint64_t name, base, start, end;
};

struct heaptrack {
    struct import im; /* the first member: what gets one gets the other */
    uint64_t format;  /* 0: the first line has not been read */
    uint64_t past;    /* by how much an address of a raw file lies behind the call's last byte */
    bool in_command;  /* its line X may be many: arguments have line feeds of their own */
    char *text; /* of all strings, each ended by a zero byte; where they start is what names them */
    size_t text_bytes, text_room;
    uint64_t program; /* its name; the first text is "" */
    struct list strings;
    struct list
        frames; /* of an interpreted file: where its places end in `places`, innermost first */
    struct list places;
    struct list traces; /* frame << 1, and 1 if the site is known to stand for it */
    struct segment *segments;
    size_t segment_count, segments_room;
    struct kind *kinds;
    size_t kind_count, kinds_room;
};

static int hex_next(struct import *im, const char *what, uint64_t *value)
{
    return lines_hex(&im->lines, lines_word(&im->lines), what, value);
}

static int no_memory(struct heaptrack *h)
{
    return lines_refuse(&h->im.lines, "no memory for the tables of what was called");
}

static int text_keep(struct heaptrack *h, const char *text, size_t bytes, uint64_t *where)
{
    while (h->text_bytes + bytes + 1 > h->text_room) {
        void *grown = table_grow(h->text, &h->text_room, 1);
        if (!grown)
            return no_memory(h);
        h->text = grown;
    }
    *where = h->text_bytes;
    memcpy(h->text + h->text_bytes, text, bytes);
    h->text_bytes += bytes;
    h->text[h->text_bytes++] = 0;
    return 0;
}

static int head_import(struct heaptrack *h, const char *word)
{
    struct import *im = &h->im;
    uint64_t version, format, none;
    if (strcmp(word, "v"))
        return lines_refuse(&im->lines, "heaptrack's data begin with a line 'v VERSION FORMAT'");
    if (hex_next(im, "version", &version))
        return -1;
    word = lines_word(&im->lines);
    if (!word && version == FORMAT_1_VERSION)
        word = "1";
    if (lines_hex(&im->lines, word, "format", &format))
        return -1;
    if (format < 1 || format > NEWEST_FORMAT)
        return lines_refuse(&im->lines, "format %" PRIu64 " is not known: 1 to %d are", format,
                            NEWEST_FORMAT);
    h->format = format;
    h->past = version < CALL_VERSION;
    return text_keep(h, "", 0, &none);
}

/* ---- backtraces ---- */

static int list_add(struct heaptrack *h, struct list *list, uint64_t item)
{
    if (list->count == list->room) {
        void *grown = table_grow(list->items, &list->room, sizeof *list->items);
        if (!grown)
            return no_memory(h);
        list->items = grown;
    }
    list->items[list->count++] = item;
    return 0;
}

/* "LENGTH TEXT", or in files of older formats what ends with one of `ends` or the line; NULL if it is not there. */
static char *text_next(struct heaptrack *h, const char *ends, size_t *bytes)
{
    struct lines *lines = &h->im.lines;
    uint64_t length;
    if (h->format >= 3 && lines_hex(lines, lines_word(lines), "length", &length))
        return NULL;
    char *text = lines->next;
    *bytes = h->format >= 3 ? length : strcspn(text, ends);
    if (*bytes > strlen(text)) {
        lines_refuse(lines, "a text of %" PRIx64 " bytes is longer than the line", length);
        return NULL;
    }
    lines->next += *bytes;
    return text;
}

/* A string by its number; "": there is none. */
static const char *string_get(const struct heaptrack *h, uint64_t number)
{
    return number && number <= h->strings.count ? h->text + h->strings.items[number - 1] : "";
}

static int program_import(struct heaptrack *h)
{
    size_t bytes;
    const char *text = text_next(h, " ", &bytes);
    return text ? text_keep(h, text, bytes, &h->program) : -1;
}

static int module_import(struct heaptrack *h)
{
    size_t bytes;
    const char *text = text_next(h, " ", &bytes), *word;
    struct segment s;
    if (!text)
        return -1;
    if (bytes == 1 && *text == '-') {
        h->segment_count = 0;
        return 0;
    }
    s.name = h->program;
    if ((bytes != 1 || *text != 'x') && text_keep(h, text, bytes, &s.name))
        return -1;
    if (hex_next(&h->im, "base", &s.base))
        return -1;
    while ((word = lines_word(&h->im.lines))) {
        uint64_t size;
        if (lines_hex(&h->im.lines, word, "start of a segment", &s.start) ||
            hex_next(&h->im, "size of a segment", &size))
            return -1;
        s.start += s.base;
        s.end = s.start + size;
        if (h->segment_count == h->segments_room) {
            void *grown = table_grow(h->segments, &h->segments_room, sizeof s);
            if (!grown)
                return no_memory(h);
            h->segments = grown;
        }
        h->segments[h->segment_count++] = s;
    }
    return 0;
}

static int string_import(struct heaptrack *h)
{
    size_t bytes;
    uint64_t where;
    const char *text = text_next(h, "", &bytes);
    return !text || text_keep(h, text, bytes, &where) ? -1 : list_add(h, &h->strings, where);
}

/* A place in a module of that path, "": unknown. Its number, or 0. */
static uint32_t place_add(struct heaptrack *h, struct site_place place, const char *path)
{
    struct sites *sites = trace_writer_sites(h->im.out);
    const struct site_module module = {.name = import_base_name(path)};
    struct error why;
    uint32_t number = 1;
    if (*path)
        number = place.module = sites_module(sites, &module, &why);
    if (number)
        number = sites_place(sites, &place, &why);
    if (!number)
        lines_refuse(&h->im.lines, "%.400s", why.text);
    return number;
}

/* The call that an address of a raw file is of. */
static uint32_t address_place(struct heaptrack *h, uint64_t address)
{
    struct site_place place = {.offset = SITE_NO_OFFSET};
    address -= h->past;
    for (size_t i = 0; i < h->segment_count; i++)
        if (address >= h->segments[i].start && address < h->segments[i].end) {
            place.offset = address - h->segments[i].base;
            return place_add(h, place, h->text + h->segments[i].name);
        }
    return place_add(h, place, "");
}

/* The next number of the line into *value, which stays as it is at its end: 1; 0: the end; -1. */
static int part_next(struct heaptrack *h, uint64_t *value)
{
    const char *word = lines_word(&h->im.lines);
    return !word ? 0 : lines_hex(&h->im.lines, word, "number", value) ? -1 : 1;
}

static int frame_import(struct heaptrack *h)
{
    uint64_t address, module;
    char page[8];
    int got;
    if (hex_next(&h->im, "address", &address) || hex_next(&h->im, "module", &module))
        return -1;
    import_page_place(address, page);
    for (bool first = true;; first = false) {
        uint64_t function = 0, file = 0, line = 0;
        if ((got = part_next(h, &function)) < 0 || (got == 0 && !first))
            break;
        if (got && ((got = part_next(h, &file)) < 0 || (got = part_next(h, &line)) < 0))
            break;
        const char *name = string_get(h, function);
        const struct site_place place = {.offset = SITE_NO_OFFSET,
                                         .function = *name ? name : page,
                                         .file = import_base_name(string_get(h, file)),
                                         .line = line <= UINT32_MAX ? (uint32_t)line : 0};
        uint32_t number = place_add(h, place, string_get(h, module));
        if (!number || list_add(h, &h->places, number))
            return -1;
    }
    return got < 0 ? -1 : list_add(h, &h->frames, h->places.count);
}

/* The frames of a backtrace's innermost call, one for each function that is inlined there: the number
 * of the innermost of them, or 0. */
static uint32_t frames_add(struct heaptrack *h, uint64_t frame, uint32_t caller)
{
    struct sites *sites = trace_writer_sites(h->im.out);
    struct error why;
    uint64_t lone = 0;
    const uint64_t *first = &lone, *end = &lone + 1;
    if (frame && frame <= h->frames.count) {
        first = h->places.items + (frame > 1 ? h->frames.items[frame - 2] : 0);
        end = h->places.items + h->frames.items[frame - 1];
    } else if (!(lone = address_place(h, h->frames.count ? 0 : frame))) {
        return 0;
    }
    while (end > first) {
        caller = sites_frame(sites, caller, (uint32_t) * --end, &why);
        if (!caller) {
            lines_refuse(&h->im.lines, "%.400s", why.text);
            return 0;
        }
    }
    return caller;
}

static int backtrace_import(struct heaptrack *h)
{
    uint64_t frame, parent;
    if (hex_next(&h->im, "frame", &frame) || hex_next(&h->im, "parent", &parent))
        return -1;
    if (parent > h->traces.count)
        return lines_refuse(&h->im.lines, "parent %" PRIx64 ": only %zx backtraces have been given",
                            parent, h->traces.count);
    uint32_t caller = parent ? (uint32_t)(h->traces.items[parent - 1] >> 1) : 0;
    uint32_t number = frames_add(h, frame, caller);
    return number ? list_add(h, &h->traces, (uint64_t)number << 1) : -1;
}

/* ---- calls ---- */

/* A backtrace's number, that of one that has been given, or 0. */
static int backtrace_next(struct heaptrack *h, uint64_t *site)
{
    struct error why;
    if (hex_next(&h->im, "backtrace", site))
        return -1;
    if (*site > h->traces.count)
        return lines_refuse(&h->im.lines, "backtrace %" PRIx64 ": only %zx have been given", *site,
                            h->traces.count);
    uint64_t *trace = *site ? &h->traces.items[*site - 1] : NULL;
    if (!trace || *trace & 1)
        return 0;
    if (sites_set(trace_writer_sites(h->im.out), *site, (uint32_t)(*trace >> 1), &why))
        return lines_refuse(&h->im.lines, "%.400s", why.text);
    *trace |= 1;
    return 0;
}

static int kind_import(struct heaptrack *h)
{
    struct kind kind = {0};
    if (hex_next(&h->im, "size", &kind.size) || backtrace_next(h, &kind.site))
        return -1;
    if (h->kind_count == h->kinds_room) {
        void *grown = h->kind_count < MAX_KINDS
                          ? table_grow(h->kinds, &h->kinds_room, sizeof *h->kinds)
                          : NULL;
        if (!grown)
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

/* "PAGE PAGES", which a line of the command is not. */
static bool is_pages(const char *text)
{
    unsigned long page, pages;
    char more;
    return sscanf(text, "%lx %lx %c", &page, &pages, &more) == 2;
}

static int line_import(struct import *im)
{
    struct heaptrack *h = (struct heaptrack *)im;
    const char *word = lines_word(&im->lines);
    if (h->format == 0)
        return head_import(h, word);
    char letter = word[1] ? 0 : word[0];
    if (h->in_command && letter == 'I' && is_pages(im->lines.next))
        h->in_command = false;
    if (h->in_command)
        return 0;
    h->in_command = letter == 'X' && h->format >= COMMAND_FORMAT;
    switch (letter) {
    case '+':
        return alloc_import(h);
    case '-':
        return free_import(h);
    case 'a':
        return kind_import(h);
    case 't':
        return backtrace_import(h);
    case 'c':
        return clock_import(h);
    case 'x':
        return program_import(h);
    case 'm':
        return module_import(h);
    case 's':
        return string_import(h);
    case 'i':
        return frame_import(h);
    default:
        if (strchr("XIRAS#", word[0]))
            return 0;
        return lines_refuse(&im->lines, "'%.40s' begins no line of heaptrack's data", word);
    }
}

static int heaptrack_import(const char *path, struct trace_writer *out,
                            struct import_report *report, struct error *err)
{
    struct heaptrack h = {.format = 0};
    if (import_open(&h.im, path, "heaptrack", out, report, err))
        return -1;
    import_clock(&h.im, 0);
    int failed = import_lines(&h.im, line_import);
    if (!failed && h.in_command)
        failed = error_set(err,
                           "%s: line %" PRIu64
                           ": the command of line X goes on up to here: a line 'I PAGE PAGES' is "
                           "expected after it",
                           path, report->lines);
    free(h.text);
    free(h.traces.items);
    free(h.kinds);
    free(h.segments);
    free(h.strings.items);
    free(h.frames.items);
    free(h.places.items);
    return failed;
}

TRACE_FORMAT(heaptrack) = {
    .name = "heaptrack",
    .summary = "heaptrack's data, raw or interpreted",
    .import = heaptrack_import,
};
