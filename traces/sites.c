/*
 * sites.c - five tables of rows that refer to each other by number, each with a hash index over what
 * the rows are. A row never changes and none goes, so numbers are for good, and what a row refers to
 * is always older than it is: callers cannot go in a circle.
 */
#include "traces/sites.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "traces/layout.h"
#include "traces/meta.h"
#include "traces/sites_rows.h"
#include "traces/table_grow.h"

static const size_t row_bytes[SITES_KINDS] = {
    [SITES_STRING] = sizeof(struct string_row), [SITES_MODULE] = sizeof(struct module_row),
    [SITES_PLACE] = sizeof(struct place_row),   [SITES_FRAME] = sizeof(struct frame_row),
    [SITES_SITE] = sizeof(struct site_row),
};

static const uint32_t most_rows[SITES_KINDS] = {
    [SITES_STRING] = SITES_STRINGS, [SITES_MODULE] = SITES_MODULES, [SITES_PLACE] = SITES_PLACES,
    [SITES_FRAME] = SITES_FRAMES,   [SITES_SITE] = SITES_SITES,
};

static const char *const kind_names[SITES_KINDS] = {
    [SITES_STRING] = "strings", [SITES_MODULE] = "modules", [SITES_PLACE] = "places",
    [SITES_FRAME] = "frames",   [SITES_SITE] = "sites",
};

#define FIELD(tag, kind, coding, row, member)                                                      \
    {                                                                                              \
        tag, kind, coding, offsetof(struct row, member), sizeof(((struct row *)0)->member)         \
    }

const struct sites_field sites_fields[SITES_FIELDS] = {
    FIELD(LAYOUT_MODULE_NAME, SITES_MODULE, CODING_PLAIN, module_row, name),
    FIELD(LAYOUT_MODULE_BUILD, SITES_MODULE, CODING_PLAIN, module_row, build),
    FIELD(LAYOUT_MODULE_PATH, SITES_MODULE, CODING_PLAIN, module_row, path),
    FIELD(LAYOUT_PLACE_MODULE, SITES_PLACE, CODING_PLAIN, place_row, module),
    FIELD(LAYOUT_PLACE_OFFSET, SITES_PLACE, CODING_PLAIN, place_row, offset_and_one),
    FIELD(LAYOUT_PLACE_FUNCTION, SITES_PLACE, CODING_PLAIN, place_row, function),
    FIELD(LAYOUT_PLACE_FILE, SITES_PLACE, CODING_PLAIN, place_row, file),
    FIELD(LAYOUT_PLACE_LINE, SITES_PLACE, CODING_PLAIN, place_row, line),
    FIELD(LAYOUT_FRAME_CALLER, SITES_FRAME, CODING_BACK, frame_row, caller),
    FIELD(LAYOUT_FRAME_PLACE, SITES_FRAME, CODING_PLAIN, frame_row, place),
    FIELD(LAYOUT_SITE_NUMBER, SITES_SITE, CODING_STEP, site_row, number),
    FIELD(LAYOUT_SITE_FRAME, SITES_SITE, CODING_STEP, site_row, frame),
};

struct sites *sites_new(void)
{
    return calloc(1, sizeof(struct sites));
}

void sites_free(struct sites *s)
{
    if (!s)
        return;
    for (unsigned kind = 0; kind < SITES_KINDS; kind++) {
        free(s->tables[kind].rows);
        free(s->tables[kind].slots);
    }
    free(s->text);
    free(s->of_frame);
    free(s);
}

/* ---- tables ---- */

uint32_t sites_count(const struct sites *s, enum sites_kind kind)
{
    return s->tables[kind].count;
}

const void *sites_row_at(const struct sites *s, enum sites_kind kind, uint32_t n)
{
    return (const char *)s->tables[kind].rows + row_bytes[kind] * (n - 1);
}

/* String number n; 0: "" */
static const char *sites_string_at(const struct sites *s, uint32_t n)
{
    return n ? s->text + ((const struct string_row *)sites_row_at(s, SITES_STRING, n))->at : "";
}

/* What makes a row that row: text, a site's number, or all of it. */
static const void *row_key(const struct sites *s, enum sites_kind kind, uint32_t n, size_t *bytes)
{
    const void *row = sites_row_at(s, kind, n);
    *bytes = kind == SITES_SITE ? sizeof(uint64_t) : row_bytes[kind];
    if (kind != SITES_STRING)
        return row;
    const struct string_row *string = row;
    *bytes = string->bytes;
    return s->text + string->at;
}

/* The slot of what has this key, or the empty one where it would be. The table has slots. */
static uint32_t *slot_find(const struct sites *s, enum sites_kind kind, const void *key,
                           size_t bytes)
{
    const struct sites_table *t = &s->tables[kind];
    for (size_t i = XXH64(key, bytes, kind);; i++) {
        uint32_t *slot = &t->slots[i & (t->slot_room - 1)];
        size_t there_bytes = 0;
        const void *there = *slot ? row_key(s, kind, *slot, &there_bytes) : NULL;
        if (!there || (there_bytes == bytes && memcmp(there, key, bytes) == 0))
            return slot;
    }
}

static uint32_t row_find(const struct sites *s, enum sites_kind kind, const void *key, size_t bytes)
{
    return s->tables[kind].count ? *slot_find(s, kind, key, bytes) : 0;
}

static bool slots_grow(struct sites *s, enum sites_kind kind)
{
    struct sites_table *t = &s->tables[kind];
    size_t room = t->slot_room ? 2 * t->slot_room : 64, bytes;
    uint32_t *slots = calloc(room, sizeof *slots);
    if (!slots)
        return false;
    free(t->slots);
    t->slots = slots;
    t->slot_room = room;
    for (uint32_t n = 1; n <= t->count; n++) {
        const void *key = row_key(s, kind, n, &bytes);
        *slot_find(s, kind, key, bytes) = n;
    }
    return true;
}

/* Adds a row that is not there; 0: no memory, or the limit. */
static uint32_t row_append(struct sites *s, enum sites_kind kind, const void *row,
                           struct error *err)
{
    struct sites_table *t = &s->tables[kind];
    size_t bytes;
    if (t->count >= most_rows[kind]) {
        error_set(err, "more than %" PRIu32 " %s of call sites: no trace holds so many",
                  most_rows[kind], kind_names[kind]);
        return 0;
    }
    void *rows = t->count == t->room ? table_grow(t->rows, &t->room, row_bytes[kind]) : t->rows;
    if (rows)
        t->rows = rows;
    if (!rows || (2 * (t->count + (size_t)1) > t->slot_room && !slots_grow(s, kind))) {
        error_set(err, "no memory for the %s of call sites", kind_names[kind]);
        return 0;
    }
    memcpy((char *)t->rows + row_bytes[kind] * t->count++, row, row_bytes[kind]);
    const void *key = row_key(s, kind, t->count, &bytes);
    *slot_find(s, kind, key, bytes) = t->count;
    return t->count;
}

/* ---- strings ---- */

/* Copies text that may be anything as one that a trace may hold; its length. */
static size_t text_clean(char *to, const char *text, size_t bytes)
{
    size_t used = 0;
    for (size_t i = 0; i < bytes;) {
        size_t step = meta_utf8((const unsigned char *)text + i, bytes - i);
        if (used + (step ? step : 1) > SITES_STRING_BYTES)
            break;
        if (step)
            memcpy(to + used, text + i, step);
        else
            to[used] = '?';
        used += step ? step : 1;
        i += step ? step : 1;
    }
    return used;
}

static int text_append(struct sites *s, const char *text, size_t bytes, struct error *err)
{
    if (s->text_bytes + bytes + 1 > SITES_TEXT_BYTES)
        return error_set(err, "more than %" PRIu32 " bytes of names of call sites",
                         SITES_TEXT_BYTES);
    while (s->text_bytes + bytes + 1 > s->text_room) {
        char *grown = table_grow(s->text, &s->text_room, 1);
        if (!grown)
            return error_set(err, "no memory for the names of call sites");
        s->text = grown;
    }
    memcpy(s->text + s->text_bytes, text, bytes);
    s->text[s->text_bytes + bytes] = 0;
    s->text_bytes += bytes + 1;
    return 0;
}

int sites_string_add(struct sites *s, const char *text, size_t bytes, uint32_t *number,
                     struct error *err)
{
    char clean[SITES_STRING_BYTES];
    size_t length = text_clean(clean, text, bytes);
    *number = length ? row_find(s, SITES_STRING, clean, length) : 0;
    if (*number || length == 0)
        return 0;
    const struct string_row row = {.at = (uint32_t)s->text_bytes, .bytes = (uint32_t)length};
    if (text_append(s, clean, length, err))
        return -1;
    *number = row_append(s, SITES_STRING, &row, err);
    return *number ? 0 : -1;
}

static int string_of(struct sites *s, const char *text, uint32_t *number, struct error *err)
{
    return sites_string_add(s, text ? text : "", text ? strlen(text) : 0, number, err);
}

/* ---- rows ---- */

static int reference_check(const struct sites *s, enum sites_kind kind, uint32_t number, bool must,
                           struct error *err)
{
    if (number <= s->tables[kind].count && (number || !must))
        return 0;
    return error_set(err, "number %" PRIu32 " of the %s of call sites: there are %" PRIu32, number,
                     kind_names[kind], s->tables[kind].count);
}

static int build_check(const char *build, struct error *err)
{
    size_t digits = strspn(build, "0123456789abcdef");
    if (build[digits] || digits % 2 || digits > 2 * SITES_BUILD_BYTES)
        return error_set(
            err,
            "build id '%.140s': an even number of lower-case hex digits is expected, at "
            "most %d",
            build, 2 * SITES_BUILD_BYTES);
    return 0;
}

static int row_check(const struct sites *s, enum sites_kind kind, const union sites_row *row,
                     struct error *err)
{
    switch (kind) {
    case SITES_MODULE:
        return reference_check(s, SITES_STRING, row->module.name, true, err) ||
               reference_check(s, SITES_STRING, row->module.build, false, err) ||
               reference_check(s, SITES_STRING, row->module.path, false, err) ||
               build_check(sites_string_at(s, row->module.build), err);
    case SITES_PLACE:
        return reference_check(s, SITES_MODULE, row->place.module, false, err) ||
               reference_check(s, SITES_STRING, row->place.function, false, err) ||
               reference_check(s, SITES_STRING, row->place.file, false, err);
    case SITES_FRAME:
        return reference_check(s, SITES_FRAME, row->frame.caller, false, err) ||
               reference_check(s, SITES_PLACE, row->frame.place, true, err);
    default:
        return reference_check(s, SITES_FRAME, row->site.frame, true, err) ||
               (row->site.number ? 0 : error_set(err, "site 0 stands for none"));
    }
}

uint32_t sites_row_add(struct sites *s, enum sites_kind kind, const union sites_row *row,
                       struct error *err)
{
    size_t bytes = kind == SITES_SITE ? sizeof(uint64_t) : row_bytes[kind];
    if (row_check(s, kind, row, err))
        return 0;
    uint32_t number = row_find(s, kind, row, bytes);
    return number ? number : row_append(s, kind, row, err);
}

uint32_t sites_module(struct sites *s, const struct site_module *module, struct error *err)
{
    union sites_row row = {.module = {.name = 0}};
    if (string_of(s, module->name, &row.module.name, err) ||
        string_of(s, module->build, &row.module.build, err) ||
        string_of(s, module->path, &row.module.path, err))
        return 0;
    if (!row.module.name) {
        error_set(err, "a module without a name");
        return 0;
    }
    return sites_row_add(s, SITES_MODULE, &row, err);
}

uint32_t sites_place(struct sites *s, const struct site_place *place, struct error *err)
{
    union sites_row row = {.place = {.offset_and_one = place->offset + 1,
                                     .module = place->module,
                                     .line = place->line}};
    if (string_of(s, place->function, &row.place.function, err) ||
        string_of(s, place->file, &row.place.file, err))
        return 0;
    return sites_row_add(s, SITES_PLACE, &row, err);
}

uint32_t sites_frame(struct sites *s, uint32_t caller, uint32_t place, struct error *err)
{
    const union sites_row row = {.frame = {.caller = caller, .place = place}};
    return sites_row_add(s, SITES_FRAME, &row, err);
}

int sites_set(struct sites *s, uint64_t site, uint32_t frame, struct error *err)
{
    const union sites_row row = {.site = {.number = site, .frame = frame}};
    uint32_t number = sites_row_add(s, SITES_SITE, &row, err);
    if (number == 0)
        return -1;
    const struct site_row *there = sites_row_at(s, SITES_SITE, number);
    if (there->frame != frame)
        return error_set(err,
                         "site %" PRIu64 " stands for frame %" PRIu32
                         " already, and cannot for %" PRIu32 " too",
                         site, there->frame, frame);
    return 0;
}

uint64_t sites_of_frame(struct sites *s, uint32_t frame, struct error *err)
{
    if (reference_check(s, SITES_FRAME, frame, true, err))
        return 0;
    while (frame >= s->of_frame_room) {
        size_t old = s->of_frame_room;
        uint64_t *grown = table_grow(s->of_frame, &s->of_frame_room, sizeof *grown);
        if (!grown) {
            error_set(err, "no memory for the sites of frames");
            return 0;
        }
        memset(grown + old, 0, (s->of_frame_room - old) * sizeof *grown);
        s->of_frame = grown;
    }
    if (!s->of_frame[frame]) {
        if (sites_set(s, s->given + 1, frame, err))
            return 0;
        s->of_frame[frame] = ++s->given;
    }
    return s->of_frame[frame];
}

/* ---- looking ---- */

struct site_module sites_module_at(const struct sites *s, uint32_t module)
{
    const struct module_row *row = sites_row_at(s, SITES_MODULE, module);
    return (struct site_module){.name = sites_string_at(s, row->name),
                                .build = sites_string_at(s, row->build),
                                .path = sites_string_at(s, row->path)};
}

struct site_place sites_place_at(const struct sites *s, uint32_t place)
{
    const struct place_row *row = sites_row_at(s, SITES_PLACE, place);
    return (struct site_place){.offset = row->offset_and_one - 1,
                               .module = row->module,
                               .line = row->line,
                               .function = sites_string_at(s, row->function),
                               .file = sites_string_at(s, row->file)};
}

uint32_t sites_frame_caller(const struct sites *s, uint32_t frame)
{
    return ((const struct frame_row *)sites_row_at(s, SITES_FRAME, frame))->caller;
}

uint32_t sites_frame_place(const struct sites *s, uint32_t frame)
{
    return ((const struct frame_row *)sites_row_at(s, SITES_FRAME, frame))->place;
}

uint64_t sites_site_at(const struct sites *s, uint32_t n, uint32_t *frame)
{
    const struct site_row *row = sites_row_at(s, SITES_SITE, n);
    *frame = row->frame;
    return row->number;
}

uint32_t sites_find(const struct sites *s, uint64_t site)
{
    uint32_t frame = 0, number = row_find(s, SITES_SITE, &site, sizeof site);
    if (number)
        sites_site_at(s, number, &frame);
    return frame;
}

static uint64_t text_hash(const char *text, uint64_t seed)
{
    return XXH64(text, strlen(text), seed);
}

static uint64_t place_identity(const struct sites *s, uint32_t number)
{
    const struct site_place p = sites_place_at(s, number);
    uint64_t hash = text_hash(p.file, text_hash(p.function, 0));
    const uint64_t parts[2] = {p.line, p.line ? 0 : p.offset};
    if (!p.line && p.module)
        hash = text_hash(sites_module_at(s, p.module).name, hash);
    return XXH64(parts, sizeof parts, hash);
}

uint64_t *sites_identities(const struct sites *s)
{
    uint32_t places = sites_count(s, SITES_PLACE), frames = sites_count(s, SITES_FRAME);
    uint64_t *of_place = malloc((places + (size_t)1) * sizeof *of_place);
    uint64_t *of_frame = malloc((frames + (size_t)1) * sizeof *of_frame);
    if (!of_place || !of_frame) {
        free(of_place);
        free(of_frame);
        return NULL;
    }
    for (uint32_t n = 1; n <= places; n++)
        of_place[n] = place_identity(s, n);
    of_frame[0] = 0;
    for (uint32_t n = 1; n <= frames; n++) {
        const struct frame_row *row = sites_row_at(s, SITES_FRAME, n);
        of_frame[n] = XXH64(&of_place[row->place], sizeof *of_place, of_frame[row->caller]);
    }
    free(of_place);
    return of_frame;
}

/* ---- from table to table ---- */

static uint32_t place_copy(struct sites *s, const struct sites *from, uint32_t number,
                           struct error *err)
{
    struct site_place place = sites_place_at(from, number);
    if (place.module) {
        const struct site_module module = sites_module_at(from, place.module);
        place.module = sites_module(s, &module, err);
        if (!place.module)
            return 0;
    }
    return sites_place(s, &place, err);
}

/* Callers first, and without recursion: stacks may be deep. */
uint32_t sites_copy_frame(struct sites *s, const struct sites *from, uint32_t frame,
                          struct error *err)
{
    uint32_t depth = 0, *stack, copy = 0;
    for (uint32_t f = frame; f; f = sites_frame_caller(from, f))
        depth++;
    stack = malloc((depth + (size_t)1) * sizeof *stack);
    if (!stack) {
        error_set(err, "no memory for a stack of %" PRIu32 " frames", depth);
        return 0;
    }
    for (uint32_t f = frame, i = depth; f; f = sites_frame_caller(from, f))
        stack[--i] = f;
    for (uint32_t i = 0; i < depth; i++) {
        uint32_t place = place_copy(s, from, sites_frame_place(from, stack[i]), err);
        copy = place ? sites_frame(s, copy, place, err) : 0;
        if (!copy)
            break;
    }
    free(stack);
    return copy;
}

int sites_copy(struct sites *s, const struct sites *from, struct error *err)
{
    for (unsigned kind = SITES_STRING; kind < SITES_KINDS; kind++)
        for (uint32_t n = sites_count(s, kind) + 1; n <= sites_count(from, kind); n++) {
            const struct string_row *string = sites_row_at(from, kind, n);
            union sites_row row;
            uint32_t number;
            if (kind == SITES_STRING) {
                if (sites_string_add(s, from->text + string->at, string->bytes, &number, err))
                    return -1;
                continue;
            }
            memcpy(&row, sites_row_at(from, kind, n), row_bytes[kind]);
            if (!sites_row_add(s, kind, &row, err))
                return -1;
        }
    return 0;
}
