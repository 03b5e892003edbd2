/*
 * rep.c - traces of the CS:APP malloc lab: four header lines, then one request a line.
 *
 *     a ID SIZE        r ID SIZE        f ID        (f -1: free of NULL)
 *
 * Header, classic order: suggested heap size, number of ids, number of requests, weight. The 64-bit
 * edition's: weight, ids, requests, most bytes live. A weight is 0 to 3, so the order is the
 * classic one if the last number is a weight and the first is not, and the 64-bit edition's in all
 * other cases; ids and requests stand at the same place in both, so the choice decides only what
 * the first and the last number are called.
 *
 * Rules of the import. An id may be used again after its free. A realloc of an id that is not live
 * is realloc of NULL, as the lab's driver does it; it is counted as an oddity only if the id was
 * live before. A realloc to 0 frees. Oddities, counted, or refused with --strict: an alloc of an id
 * that is live frees the old object first; a free of an id that is not live is dropped. Ids and
 * requests must be as many as the header says.
 *
 * The export writes the classic order, and objects in the order in which they were made as ids. It
 * cannot say threads, scopes, alignments, sizes of frees, sites, clocks, failed calls: lines that
 * lose something are counted, and calloc, aligned and live objects become plain allocations,
 * counted as well.
 */
#include <inttypes.h>
#include <string.h>

#include "traces/address_map.h"
#include "traces/lines.h"

enum { HEADER_LINES = 4, MAX_WEIGHT = 3 };

struct rep {
    struct lines lines;
    struct trace_writer *out;
    struct import_report *report;
    uint64_t header[HEADER_LINES];
    struct address_map ids;
    uint64_t count, requests; /* objects made; requests read */
};

enum { ID_NEW, ID_LIVE, ID_FREED };

/* ---- reading ---- */

static int header_import(struct rep *r)
{
    static const char *const numbers[HEADER_LINES] = {"first number of the header", "number of ids",
                                                      "number of requests",
                                                      "last number of the header"};
    static const char *const classic[HEADER_LINES] = {"rep.heap_bytes", NULL, NULL, "rep.weight"};
    static const char *const wide[HEADER_LINES] = {"rep.weight", NULL, NULL, "rep.peak_bytes"};
    struct error why;
    for (unsigned i = 0; i < HEADER_LINES; i++) {
        int got = lines_next(&r->lines);
        if (got < 0)
            return -1;
        if (got == 0) {
            r->lines.number++;
            return lines_refuse(&r->lines, "the header of %d lines ends too early", HEADER_LINES);
        }
        if (lines_number(&r->lines, lines_word(&r->lines), numbers[i], &r->header[i]))
            return -1;
        if (lines_end(&r->lines))
            return -1;
    }
    bool is_classic = r->header[3] <= MAX_WEIGHT && r->header[0] > MAX_WEIGHT;
    for (unsigned i = 0; i < HEADER_LINES; i++) {
        const char *key = is_classic ? classic[i] : wide[i];
        char text[24];
        snprintf(text, sizeof text, "%" PRIu64, r->header[i]);
        if (key && trace_set_meta(r->out, key, text, &why))
            return lines_refuse(&r->lines, "%s", why.text);
    }
    return 0;
}

/* The id's entry, made if it is new: its object, and in `size` what became of it. */
static struct address_entry *entry_of(struct rep *r, const char *word)
{
    uint64_t id;
    if (lines_number(&r->lines, word, "id", &id))
        return NULL;
    if (id >= r->header[1]) {
        lines_refuse(&r->lines, "id %" PRIu64 ": the header says that there are %" PRIu64, id,
                     r->header[1]);
        return NULL;
    }
    struct address_entry *entry = address_map_find(&r->ids, id);
    if (entry)
        return entry;
    if (!address_map_add(&r->ids, id, 0, ID_NEW)) {
        lines_refuse(&r->lines, "no memory for id %" PRIu64, id);
        return NULL;
    }
    return address_map_find(&r->ids, id);
}

static int put(struct rep *r, unsigned kind, unsigned flags, uint64_t object, uint64_t size)
{
    struct trace_op op = {.kind = (uint8_t)kind,
                          .flags = (uint8_t)flags,
                          .object = object,
                          .size = size,
                          .scope = TRACE_NO_SCOPE};
    return lines_put(&r->lines, r->out, &op);
}

/* A new object for the id. */
static int object_make(struct rep *r, struct address_entry *entry, unsigned kind, unsigned flags,
                       uint64_t size)
{
    entry->id_and_one = ++r->count;
    entry->size = ID_LIVE;
    return put(r, kind, flags, r->count - 1, size);
}

static int alloc_import(struct rep *r, struct address_entry *entry, const char *word, uint64_t size)
{
    if (entry->size == ID_LIVE && (lines_odd(&r->lines, r->report, &r->report->double_allocs,
                                             "alloc of an id that is live:", word) ||
                                   put(r, TRACE_FREE, 0, address_entry_id(entry), 0)))
        return -1;
    return object_make(r, entry, TRACE_ALLOC, 0, size);
}

static int realloc_import(struct rep *r, struct address_entry *entry, const char *word,
                          uint64_t size)
{
    if (entry->size == ID_LIVE) {
        if (size == 0)
            entry->size = ID_FREED;
        return put(r, TRACE_REALLOC, size ? 0 : TRACE_ENDS, address_entry_id(entry), size);
    }
    if (entry->size == ID_FREED && lines_odd(&r->lines, r->report, &r->report->unknown_reallocs,
                                             "realloc of an id that was freed:", word))
        return -1;
    return object_make(r, entry, TRACE_REALLOC, TRACE_NULL, size);
}

static int free_import(struct rep *r, struct address_entry *entry, const char *word)
{
    if (entry->size != ID_LIVE)
        return lines_odd(&r->lines, r->report, &r->report->unknown_frees,
                         "free of an id that is not live:", word);
    entry->size = ID_FREED;
    return put(r, TRACE_FREE, 0, address_entry_id(entry), 0);
}

static int line_import(struct rep *r)
{
    const char *name = lines_word(&r->lines);
    if (!name)
        return 0;
    if (strlen(name) != 1 || !strchr("arf", *name))
        return lines_refuse(&r->lines, "'%.40s' is not a request: a, r or f is expected", name);
    const char *id = lines_word(&r->lines);
    struct address_entry *entry = NULL;
    uint64_t size = 0;
    r->requests++;
    bool null = *name == 'f' && id && strcmp(id, "-1") == 0;
    if (!null && !(entry = entry_of(r, id)))
        return -1;
    if (*name != 'f' && lines_number(&r->lines, lines_word(&r->lines), "size", &size))
        return -1;
    if (lines_end(&r->lines))
        return -1;
    if (null)
        return put(r, TRACE_FREE, TRACE_NULL, TRACE_NO_OBJECT, 0);
    return *name == 'a'   ? alloc_import(r, entry, id, size)
           : *name == 'r' ? realloc_import(r, entry, id, size)
                          : free_import(r, entry, id);
}

static int rep_import(const char *path, struct trace_writer *out, struct import_report *report,
                      struct error *err)
{
    struct rep r = {.out = out, .report = report};
    if (trace_set_meta(out, "source", "rep", err) || lines_open(&r.lines, path, err))
        return -1;
    int got = header_import(&r) ? -1 : 1;
    while (got > 0 && (got = lines_next(&r.lines)) > 0)
        if (line_import(&r))
            got = -1;
    if (got == 0 && r.requests != r.header[2])
        got = lines_refuse(&r.lines, "%" PRIu64 " requests: the header says %" PRIu64, r.requests,
                           r.header[2]);
    report->lines = r.lines.number;
    lines_close(&r.lines);
    address_map_free(&r.ids);
    return got;
}

/* ---- writing ---- */

/* A realloc to 0 bytes that kept its object: in this form it would be a free. */
static bool keeps_nothing(const struct trace_op *op)
{
    return op->kind == TRACE_REALLOC && op->flags == 0 && op->size == 0;
}

/* True if a request is printed; stream NULL only counts. */
static bool op_print(FILE *stream, const struct trace_op *op)
{
    char name = op->kind == TRACE_REALLOC ? 'r' : 'a';
    if (op->kind == TRACE_FREE) {
        if (stream && op->flags & TRACE_NULL)
            fputs("f -1\n", stream);
        else if (stream)
            fprintf(stream, "f %" PRIu64 "\n", op->object);
        return true;
    }
    if (op->flags & TRACE_FAILED || (!trace_is_call(op->kind) && op->kind != TRACE_LIVE))
        return false;
    if (stream)
        fprintf(stream, "%c %" PRIu64 " %" PRIu64 "\n", name, op->object,
                op->size + keeps_nothing(op));
    return true;
}

static bool op_loses(const struct trace_op *op)
{
    return (op->kind != TRACE_ALLOC && op->kind != TRACE_REALLOC && op->kind != TRACE_FREE) ||
           op->flags & (TRACE_SIZED | TRACE_FAILED) || op->align_log2 || op->thread ||
           op->clock_ns || op->site || keeps_nothing(op);
}

static int rep_export(struct trace_reader *in, FILE *stream, uint64_t *dropped, struct error *err)
{
    struct trace_op op;
    uint64_t objects = 0, requests = 0;
    int got;
    *dropped = 0;
    while ((got = trace_next(in, &op, err)) > 0) {
        objects += trace_makes_object(&op);
        requests += op_print(NULL, &op);
        *dropped += op_loses(&op);
    }
    if (got < 0 || trace_rewind(in, err))
        return -1;
    fprintf(stream, "%" PRIu64 "\n%" PRIu64 "\n%" PRIu64 "\n1\n",
            trace_reader_totals(in)->peak_live_bytes, objects, requests);
    while ((got = trace_next(in, &op, err)) > 0)
        op_print(stream, &op);
    return got;
}

TRACE_FORMAT(rep) = {
    .name = "rep",
    .summary = "CS:APP malloc lab, both orders of the header",
    .import = rep_import,
    .export = rep_export,
};
