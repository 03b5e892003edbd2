/*
 * text.c - a trace as text: one op a line, to be read, written by hand, and compared with diff. It
 * says everything that the binary form says, so both convert into each other without loss.
 *
 *     alloclab trace text 1          the first line
 *     meta KEY=VALUE
 *     module, place, frame, site ..  what the site numbers stand for: see traces/sites_text.h
 *     # a comment; empty lines are ignored too
 *     thread N                       what follows is of thread N (0 at the start)
 *     alloc OBJECT SIZE              also: calloc, live
 *     aligned OBJECT SIZE align=BYTES
 *     realloc OBJECT SIZE            with `null`: of NULL, OBJECT is new; with `ends`: it freed
 *     free OBJECT [SIZE]             - for OBJECT: free(NULL)
 *     scope_begin SCOPE              also: scope_end; scope_switch, where - is none
 *     thread_begin                   also: thread_end
 *
 * A call that failed has - for its object, unless it is a realloc of one, and the word `failed`.
 * Further words on a line, in any order: align=BYTES, clock=NS, site=N; absent means 0 (align: 1).
 * Objects, scopes and threads are numbered as trace.h says.
 */
#include "traces/formats/text.h"

#include <inttypes.h>
#include <string.h>

#include "traces/layout.h"
#include "traces/lines.h"
#include "traces/sites_text.h"

#define FIRST_LINE "alloclab trace text 1"

static const char *const kind_names[TRACE_KINDS] = {
    [TRACE_ALLOC] = "alloc",
    [TRACE_CALLOC] = "calloc",
    [TRACE_ALIGNED] = "aligned",
    [TRACE_REALLOC] = "realloc",
    [TRACE_FREE] = "free",
    [TRACE_SCOPE_BEGIN] = "scope_begin",
    [TRACE_SCOPE_END] = "scope_end",
    [TRACE_SCOPE_SWITCH] = "scope_switch",
    [TRACE_THREAD_BEGIN] = "thread_begin",
    [TRACE_THREAD_END] = "thread_end",
    [TRACE_LIVE] = "live",
};

const char *text_kind_name(unsigned kind)
{
    return kind_names[kind];
}

/* ---- reading ---- */

/* A number, or - for none. */
static int reference_parse(struct lines *lines, const char *word, const char *what, uint64_t *value)
{
    if (word && strcmp(word, "-") == 0) {
        *value = UINT64_MAX;
        return 0;
    }
    return lines_number(lines, word, what, value);
}

static int align_parse(struct lines *lines, const char *word, struct trace_op *op)
{
    uint64_t bytes;
    if (lines_number(lines, word, "alignment", &bytes))
        return -1;
    if (bytes == 0 || bytes & (bytes - 1))
        return lines_refuse(lines, "alignment %s is not a power of two", word);
    op->align_log2 = (uint8_t)__builtin_ctzll(bytes);
    return 0;
}

static int extra_parse(struct lines *lines, const char *word, struct trace_op *op)
{
    if (strcmp(word, "failed") == 0)
        op->flags |= TRACE_FAILED;
    else if (strcmp(word, "null") == 0 && op->kind == TRACE_REALLOC)
        op->flags |= TRACE_NULL;
    else if (strcmp(word, "ends") == 0 && op->kind == TRACE_REALLOC)
        op->flags |= TRACE_ENDS;
    else if (strncmp(word, "align=", 6) == 0)
        return align_parse(lines, word + 6, op);
    else if (strncmp(word, "clock=", 6) == 0)
        return lines_number(lines, word + 6, "clock", &op->clock_ns);
    else if (strncmp(word, "site=", 5) == 0)
        return lines_number(lines, word + 5, "site", &op->site);
    else
        return lines_refuse(lines, "'%.40s' is not expected here", word);
    return 0;
}

/* The object and the size, for kinds that have them. */
static int object_parse(struct lines *lines, struct trace_op *op, char **word)
{
    if (reference_parse(lines, *word, "object", &op->object))
        return -1;
    *word = lines_word(lines);
    if (op->kind != TRACE_FREE) {
        if (lines_number(lines, *word, "size", &op->size))
            return -1;
        *word = lines_word(lines);
        return 0;
    }
    op->flags |= op->object == TRACE_NO_OBJECT ? TRACE_NULL : 0;
    if (*word && **word >= '0' && **word <= '9') {
        op->flags |= TRACE_SIZED;
        if (lines_number(lines, *word, "size", &op->size))
            return -1;
        *word = lines_word(lines);
    }
    return 0;
}

static int op_parse(struct lines *lines, const char *name, struct trace_op *op)
{
    while (op->kind < TRACE_KINDS && strcmp(name, kind_names[op->kind]) != 0)
        op->kind++;
    if (op->kind == TRACE_KINDS)
        return lines_refuse(lines, "'%.40s' is not an op; `alloclab describe text` lists them",
                            name);
    char *word = lines_word(lines);
    if (op->kind <= TRACE_FREE || op->kind == TRACE_LIVE) {
        if (object_parse(lines, op, &word))
            return -1;
    } else if (op->kind <= TRACE_SCOPE_SWITCH) {
        if (reference_parse(lines, word, "scope", &op->scope))
            return -1;
        word = lines_word(lines);
    }
    for (; word; word = lines_word(lines))
        if (extra_parse(lines, word, op))
            return -1;
    return 0;
}

static int thread_parse(struct lines *lines, uint32_t *thread)
{
    uint64_t number;
    if (lines_number(lines, lines_word(lines), "thread", &number))
        return -1;
    if (number >= UINT32_MAX)
        return lines_refuse(lines, "thread %" PRIu64 " exceeds the limit", number);
    if (lines_end(lines))
        return -1;
    *thread = (uint32_t)number;
    return 0;
}

static int meta_parse(struct lines *lines, struct trace_writer *out)
{
    char *key = lines->next, *equal = strchr(key, '=');
    struct error why;
    if (!equal)
        return lines_refuse(lines, "meta without '=': KEY=VALUE is expected");
    *equal = 0;
    return trace_set_meta(out, key, equal + 1, &why) ? lines_refuse(lines, "%.800s", why.text) : 0;
}

static int line_import(struct lines *lines, uint32_t *thread, struct trace_writer *out)
{
    char *name = lines_word(lines);
    if (!name || *name == '#')
        return 0;
    if (strcmp(name, "meta") == 0)
        return meta_parse(lines, out);
    if (strcmp(name, "thread") == 0)
        return thread_parse(lines, thread);
    int taken = sites_text_line(lines, name, trace_writer_sites(out));
    if (taken)
        return taken < 0 ? -1 : 0;
    struct trace_op op = {.thread = *thread, .object = TRACE_NO_OBJECT, .scope = TRACE_NO_SCOPE};
    return op_parse(lines, name, &op) ? -1 : lines_put(lines, out, &op);
}

bool text_is(const char *path)
{
    struct lines lines;
    struct error err;
    if (lines_open(&lines, path, &err))
        return false;
    bool is = lines_next(&lines) > 0 && strcmp(lines.text, FIRST_LINE) == 0;
    lines_close(&lines);
    return is;
}

static int text_import(const char *path, struct trace_writer *out, struct import_report *report,
                       struct error *err)
{
    struct lines lines;
    uint32_t thread = 0;
    if (lines_open(&lines, path, err))
        return -1;
    int got = lines_next(&lines);
    if (got >= 0 && (got == 0 || strcmp(lines.text, FIRST_LINE) != 0)) {
        lines.number = 1;
        got = lines_refuse(&lines, "the first line of a trace as text is '%s'", FIRST_LINE);
    }
    while (got > 0 && (got = lines_next(&lines)) > 0)
        if (line_import(&lines, &thread, out))
            got = -1;
    report->lines = lines.number;
    lines_close(&lines);
    return got;
}

/* ---- writing ---- */

static void reference_print(FILE *stream, uint64_t value)
{
    if (value == UINT64_MAX)
        fputs(" -", stream);
    else
        fprintf(stream, " %" PRIu64, value);
}

static void op_print(FILE *stream, const struct trace_op *op)
{
    unsigned shape = layout_shapes[layout_code(op)];
    fputs(kind_names[op->kind], stream);
    if (op->kind <= TRACE_FREE || op->kind == TRACE_LIVE)
        reference_print(stream, op->object);
    if (op->kind >= TRACE_SCOPE_BEGIN && op->kind <= TRACE_SCOPE_SWITCH)
        reference_print(stream, op->scope);
    if (shape & SHAPE_SIZE)
        fprintf(stream, " %" PRIu64, op->size);
    if (op->flags & TRACE_NULL && op->kind == TRACE_REALLOC)
        fputs(" null", stream);
    if (op->flags & TRACE_ENDS)
        fputs(" ends", stream);
    if (op->flags & TRACE_FAILED)
        fputs(" failed", stream);
    if (op->align_log2 || op->kind == TRACE_ALIGNED)
        fprintf(stream, " align=%" PRIu64, UINT64_C(1) << op->align_log2);
    if (op->clock_ns)
        fprintf(stream, " clock=%" PRIu64, op->clock_ns);
    if (op->site)
        fprintf(stream, " site=%" PRIu64, op->site);
    putc('\n', stream);
}

static int text_export(struct trace_reader *in, FILE *stream, uint64_t *dropped, struct error *err)
{
    const char *key, *value;
    struct trace_op op;
    uint32_t thread = 0;
    int got;
    const struct sites *sites = trace_reader_sites(in, err);
    *dropped = 0;
    if (!sites)
        return -1;
    fputs(FIRST_LINE "\n", stream);
    for (unsigned i = 0; trace_meta_at(in, i, &key, &value); i++)
        fprintf(stream, "meta %s=%s\n", key, value);
    sites_text_print(stream, sites);
    while ((got = trace_next(in, &op, err)) > 0) {
        if (op.thread != thread)
            fprintf(stream, "thread %u\n", op.thread);
        thread = op.thread;
        op_print(stream, &op);
    }
    return got;
}

TRACE_FORMAT(text) = {
    .name = "text",
    .summary = "alloclab's own text form, one op a line, without loss",
    .import = text_import,
    .export = text_export,
};
