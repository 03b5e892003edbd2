/*
 * lines.c - a buffer of one longest line and more, filled by unpack.h.
 */
#include "traces/lines.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_BYTES = 2 * LINES_MAX_BYTES };

int lines_open(struct lines *lines, const char *name, struct error *err)
{
    *lines = (struct lines){.name = name, .unit = "line", .err = err};
    if (unpack_open(&lines->file, name, err))
        return -1;
    lines->buffer = malloc(BUFFER_BYTES + 1);
    if (lines->buffer)
        return 0;
    lines_close(lines);
    return error_set(err, "%s: no memory for a buffer", name);
}

void lines_close(struct lines *lines)
{
    unpack_close(&lines->file);
    free(lines->buffer);
    lines->buffer = NULL;
}

int lines_refuse(const struct lines *lines, const char *format, ...)
{
    struct error *err = lines->err;
    int used = snprintf(err->text, sizeof err->text, "%.500s: %s %" PRIu64 ": ", lines->name,
                        lines->unit, lines->number);
    va_list args;
    va_start(args, format);
    vsnprintf(err->text + used, sizeof err->text - (size_t)used, format, args);
    va_end(args);
    return -1;
}

/* Moves what is unread to the front and fills the rest. */
static int buffer_fill(struct lines *lines)
{
    struct error why;
    memmove(lines->buffer, lines->buffer + lines->start, lines->end - lines->start);
    lines->end -= lines->start;
    lines->start = 0;
    long got =
        unpack_read(&lines->file, lines->buffer + lines->end, BUFFER_BYTES - lines->end, &why);
    if (got == 0 && lines->file.torn) {
        lines->torn = true;
        if (!lines->takes_torn)
            got = error_set(&why, "the compressed file ends too early");
    }
    if (got < 0) {
        lines->number++;
        return lines_refuse(lines, "cannot read on: %.400s", why.text);
    }
    lines->end += (size_t)got;
    lines->finished = got == 0;
    return 0;
}

int lines_next(struct lines *lines)
{
    char *end;
    for (size_t seen = lines->start;;) {
        end = memchr(lines->buffer + seen, '\n', lines->end - seen);
        if (end || lines->finished)
            break;
        seen = lines->end - lines->start;
        if (seen > LINES_MAX_BYTES)
            break;
        if (buffer_fill(lines))
            return -1;
    }
    if (!end && lines->start == lines->end)
        return 0;
    lines->number++;
    lines->torn = end == NULL;
    if (!end)
        end = lines->buffer + lines->end;
    lines->text = lines->buffer + lines->start;
    if (lines->number == 1 && end - lines->text >= 3 && !memcmp(lines->text, "\xef\xbb\xbf", 3))
        lines->text += 3; /* an editor's mark of UTF-8 */
    if ((size_t)(end - lines->text) > LINES_MAX_BYTES)
        return lines_refuse(lines, "longer than %zu bytes", LINES_MAX_BYTES);
    lines->start = (size_t)(end - lines->buffer) + 1;
    if (lines->start > lines->end)
        lines->start = lines->end;
    if (memchr(lines->text, 0, (size_t)(end - lines->text)))
        return lines_refuse(lines, "has a zero byte: this is not text, or part of it was never "
                                   "written, or two programs wrote it");
    if (end > lines->text && end[-1] == '\r')
        end--;
    *end = 0;
    lines->next = lines->text;
    return 1;
}

int lines_record(struct lines *lines, size_t bytes)
{
    while (lines->end - lines->start < bytes && !lines->finished)
        if (buffer_fill(lines))
            return -1;
    if (lines->end == lines->start)
        return 0;
    lines->number++;
    lines->torn = lines->end - lines->start < bytes;
    lines->text = lines->buffer + lines->start;
    lines->start += lines->torn ? lines->end - lines->start : bytes;
    return 1;
}

char *lines_word(struct lines *lines)
{
    char *word = lines->next + strspn(lines->next, " \t");
    if (*word == 0)
        return NULL;
    lines->next = word + strcspn(word, " \t");
    if (*lines->next)
        *lines->next++ = 0;
    return word;
}

int lines_end(struct lines *lines)
{
    const char *word = lines_word(lines);
    return word ? lines_refuse(lines, "'%.40s' is not expected here", word) : 0;
}

int lines_number(struct lines *lines, const char *word, const char *what, uint64_t *value)
{
    *value = 0;
    if (!word)
        return lines_refuse(lines, "the %s is missing", what);
    const char *p = word;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, (uint64_t)(*p - '0'), value))
            return lines_refuse(lines, "%s '%.40s' does not fit into 64 bits", what, word);
    if (*p || p == word)
        return lines_refuse(lines, "%s '%.40s' is not a number: digits 0 to 9 are expected", what,
                            word);
    return 0;
}

/* The digits of `word` from `digits` on. */
static int hex_parse(struct lines *lines, const char *word, const char *digits, const char *what,
                     uint64_t *value)
{
    errno = 0;
    *value = strtoull(digits, NULL, 16);
    if (errno)
        return lines_refuse(lines, "%s '%.40s' does not fit into 64 bits", what, word);
    return 0;
}

static bool is_hex(const char *digits)
{
    size_t count = strspn(digits, "0123456789abcdefABCDEF");
    return count && digits[count] == 0;
}

static bool has_prefix(const char *word)
{
    return word[0] == '0' && (word[1] | 32) == 'x' && is_hex(word + 2);
}

int lines_address(struct lines *lines, const char *word, const char *what, uint64_t *value)
{
    if (!word)
        return lines_refuse(lines, "the %s is missing", what);
    if (!has_prefix(word))
        return lines_refuse(lines, "%s '%.40s' is not an address: 0x and hex digits are expected",
                            what, word);
    return hex_parse(lines, word, word + 2, what, value);
}

int lines_hex(struct lines *lines, const char *word, const char *what, uint64_t *value)
{
    if (!word)
        return lines_refuse(lines, "the %s is missing", what);
    if (!is_hex(word))
        return lines_refuse(lines, "%s '%.40s' is not a number: hex digits are expected", what,
                            word);
    return hex_parse(lines, word, word, what, value);
}

int lines_pointer(struct lines *lines, const char *word, const char *what, uint64_t *value)
{
    *value = 0;
    if (!word || has_prefix(word))
        return lines_address(lines, word, what, value);
    if (!strcmp(word, "(nil)") || !strcmp(word, "nil") || !strcmp(word, "NULL"))
        return 0;
    return lines_number(lines, word, what, value);
}

int lines_put(struct lines *lines, struct trace_writer *out, const struct trace_op *op)
{
    struct error why;
    return trace_put(out, op, &why) ? lines_refuse(lines, "%.800s", why.text) : 0;
}

int lines_odd(struct lines *lines, struct import_report *report, uint64_t *count, const char *what,
              const char *word)
{
    import_odd_note(report, count, lines->number);
    return report->strict ? lines_refuse(lines, "%s %.40s", what, word) : 0;
}
