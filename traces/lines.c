/*
 * lines.c - a buffer of one longest line and more, filled by zlib, which passes plain text through.
 */
#include "traces/lines.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { BUFFER_BYTES = 2 * LINES_MAX_BYTES };

int lines_open(struct lines *lines, const char *name, struct error *err)
{
    *lines = (struct lines){.name = name, .err = err};
    errno = 0;
    lines->file = gzopen(name, "rbe");
    if (!lines->file)
        return error_set(err, "%s: cannot open: %s", name, errno ? strerror(errno) : "no memory");
    lines->buffer = malloc(BUFFER_BYTES + 1);
    if (lines->buffer)
        return 0;
    lines_close(lines);
    return error_set(err, "%s: no memory for a buffer", name);
}

void lines_close(struct lines *lines)
{
    if (lines->file)
        gzclose_r(lines->file);
    free(lines->buffer);
    lines->file = NULL;
    lines->buffer = NULL;
}

int lines_refuse(const struct lines *lines, const char *format, ...)
{
    struct error *err = lines->err;
    int used = snprintf(err->text, sizeof err->text, "%.500s: line %" PRIu64 ": ", lines->name,
                        lines->number);
    va_list args;
    va_start(args, format);
    vsnprintf(err->text + used, sizeof err->text - (size_t)used, format, args);
    va_end(args);
    return -1;
}

/* Moves what is unread to the front and fills the rest. */
static int buffer_fill(struct lines *lines)
{
    int status = Z_OK;
    memmove(lines->buffer, lines->buffer + lines->start, lines->end - lines->start);
    lines->end -= lines->start;
    lines->start = 0;
    errno = 0;
    int got =
        gzread(lines->file, lines->buffer + lines->end, (unsigned)(BUFFER_BYTES - lines->end));
    const char *why = gzerror(lines->file, &status);
    if (got < 0 || (status != Z_OK && status != Z_STREAM_END)) {
        lines->number++;
        return lines_refuse(lines, "cannot read on: %s", status == Z_ERRNO ? strerror(errno) : why);
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
    if (!end)
        end = lines->buffer + lines->end;
    lines->text = lines->buffer + lines->start;
    if ((size_t)(end - lines->text) > LINES_MAX_BYTES)
        return lines_refuse(lines, "longer than %zu bytes", LINES_MAX_BYTES);
    lines->start = (size_t)(end - lines->buffer) + 1;
    if (lines->start > lines->end)
        lines->start = lines->end;
    if (memchr(lines->text, 0, (size_t)(end - lines->text)))
        return lines_refuse(lines, "has a zero byte: this is not text");
    if (end > lines->text && end[-1] == '\r')
        end--;
    *end = 0;
    lines->next = lines->text;
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

int lines_address(struct lines *lines, const char *word, const char *what, uint64_t *value)
{
    if (!word)
        return lines_refuse(lines, "the %s is missing", what);
    size_t digits =
        word[0] == '0' && (word[1] | 32) == 'x' ? strspn(word + 2, "0123456789abcdefABCDEF") : 0;
    if (digits == 0 || word[2 + digits])
        return lines_refuse(lines, "%s '%.40s' is not an address: 0x and hex digits are expected",
                            what, word);
    errno = 0;
    *value = strtoull(word, NULL, 16);
    if (errno)
        return lines_refuse(lines, "%s '%.40s' does not fit into 64 bits", what, word);
    return 0;
}

int lines_put(struct lines *lines, struct trace_writer *out, const struct trace_op *op)
{
    struct error why;
    return trace_put(out, op, &why) ? lines_refuse(lines, "%.800s", why.text) : 0;
}

int lines_odd(struct lines *lines, struct import_report *report, uint64_t *count, const char *what,
              const char *word)
{
    ++*count;
    if (report->first_odd_line == 0)
        report->first_odd_line = lines->number;
    return report->strict ? lines_refuse(lines, "%s %.40s", what, word) : 0;
}
