/*
 * option.c - one parser for every option of every design and workload: the defaults are text too,
 * and go through it first, so that a default that nobody could type is found by the first test
 * that creates the design.
 */
#include "allocators/lib/option.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A name or a value inside the text that is being parsed; not terminated. */
struct word {
    const char *text;
    size_t length;
};

/* What an error message has to name. */
struct context {
    const char *owner;
    const struct option *row;
    struct word value;
    struct error *err;
};

enum { VALUE_BYTES = 64, ROWS_MAX = 64 };

static bool word_equals(struct word word, const char *text)
{
    return strlen(text) == word.length && memcmp(text, word.text, word.length) == 0;
}

static void text_add(char *text, size_t bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void text_add(char *text, size_t bytes, const char *format, ...)
{
    size_t used = strlen(text);
    if (used + 1 >= bytes)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, bytes - used, format, args);
    va_end(args);
}

/* The largest suffix that divides: "64k", "1g", "100". */
static void size_format(uint64_t size, char *text, size_t bytes)
{
    static const char suffixes[] = "kmg";
    char suffix[2] = "";
    for (size_t i = 0; suffixes[i] && size && size % 1024 == 0; i++) {
        size /= 1024;
        suffix[0] = suffixes[i];
    }
    text_add(text, bytes, "%llu%s", (unsigned long long)size, suffix);
}

/* The fewest digits that read back as the same number; whole ones as 1000, not as 1e+03. */
static void real_format(double value, char *text, size_t bytes)
{
    char digits[40];
    int precision = fabs(value) < 1e15 && value == floor(value) ? 15 : 1;
    do
        snprintf(digits, sizeof digits, "%.*g", precision, value);
    while (strtod(digits, NULL) != value && precision++ < 17);
    text_add(text, bytes, "%s", digits);
}

static void number_format(const struct option *row, double value, char *text, size_t bytes)
{
    if (row->type == OPTION_SIZE)
        size_format((uint64_t)value, text, bytes);
    else
        real_format(value, text, bytes);
}

static int value_error(const struct context *c)
{
    char allowed[256] = "";
    switch (c->row->type) {
    case OPTION_SIZE:
        text_add(allowed, sizeof allowed, "a number of bytes (also with k, m or g)");
        break;
    case OPTION_COUNT:
        text_add(allowed, sizeof allowed, "a whole number");
        break;
    case OPTION_REAL:
        text_add(allowed, sizeof allowed, "a number");
        break;
    case OPTION_BOOL:
        text_add(allowed, sizeof allowed, "yes or no");
        break;
    case OPTION_CHOICE:
        text_add(allowed, sizeof allowed, "one of %s", c->row->choices);
        break;
    case OPTION_TEXT:
        text_add(allowed, sizeof allowed, "at most %zu bytes of text, without control characters",
                 (size_t)c->row->max - 1);
        return error_set(c->err, "%s: option %s: give %s", c->owner, c->row->name, allowed);
    }
    if (c->row->min != 0 || c->row->max != 0) {
        text_add(allowed, sizeof allowed, " from ");
        number_format(c->row, c->row->min, allowed, sizeof allowed);
        text_add(allowed, sizeof allowed, " to ");
        number_format(c->row, c->row->max, allowed, sizeof allowed);
    }
    return error_set(c->err, "%s: option %s=%.*s: give %s", c->owner, c->row->name,
                     (int)c->value.length, c->value.text, allowed);
}

static bool in_range(const struct option *row, double value)
{
    return (row->min == 0 && row->max == 0) || (value >= row->min && value <= row->max);
}

/* strtoull accepts signs and leading space, which no option means. */
static int whole_parse(const struct context *c, const char *text, uint64_t *out)
{
    if (!isdigit((unsigned char)text[0]))
        return value_error(c);
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    uint64_t kilo = c->row->type == OPTION_SIZE ? 1024 : 1000;
    uint64_t unit = *end == 'k'   ? kilo
                    : *end == 'm' ? kilo * kilo
                    : *end == 'g' ? kilo * kilo * kilo
                                  : 1;
    end += unit != 1;
    if (errno || *end || value > UINT64_MAX / unit || !in_range(c->row, (double)(value * unit)))
        return value_error(c);
    *out = value * unit;
    return 0;
}

static int real_parse(const struct context *c, const char *text, double *out)
{
    if (!strchr("0123456789.-", text[0]))
        return value_error(c);
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || !in_range(c->row, value))
        return value_error(c);
    *out = value;
    return 0;
}

static int choice_parse(const struct context *c, unsigned *out)
{
    unsigned position = 0;
    for (const char *at = c->row->choices;; position++) {
        size_t length = strcspn(at, "|");
        if (length == c->value.length && memcmp(at, c->value.text, length) == 0) {
            *out = position;
            return 0;
        }
        if (!at[length])
            return value_error(c);
        at += length + 1;
    }
}

static int text_parse(const struct context *c, char *out)
{
    if (c->value.length >= (size_t)c->row->max)
        return value_error(c);
    for (size_t i = 0; i < c->value.length; i++)
        if (iscntrl((unsigned char)c->value.text[i]))
            return value_error(c);
    memcpy(out, c->value.text, c->value.length);
    out[c->value.length] = 0;
    return 0;
}

static int value_parse(const struct context *c, void *field)
{
    if (c->row->type == OPTION_TEXT)
        return text_parse(c, field);
    char text[VALUE_BYTES];
    if (c->value.length == 0 || c->value.length >= sizeof text)
        return value_error(c);
    memcpy(text, c->value.text, c->value.length);
    text[c->value.length] = 0;
    switch (c->row->type) {
    case OPTION_SIZE:
    case OPTION_COUNT:
        return whole_parse(c, text, field);
    case OPTION_REAL:
        return real_parse(c, text, field);
    case OPTION_BOOL:
        if (!word_equals(c->value, "yes") && !word_equals(c->value, "no"))
            return value_error(c);
        *(unsigned *)field = text[0] == 'y';
        return 0;
    case OPTION_CHOICE:
        return choice_parse(c, field);
    case OPTION_TEXT:
        break;
    }
    return value_error(c);
}

static int name_error(const char *owner, const struct option *rows, struct word name,
                      struct error *err)
{
    if (!rows || !rows->name)
        return error_set(err, "%s: option \"%.*s\": %s takes no options", owner, (int)name.length,
                         name.text, owner);
    char known[512] = "";
    for (const struct option *row = rows; row->name; row++)
        text_add(known, sizeof known, "%s%s", row == rows ? "" : ", ", row->name);
    return error_set(err, "%s: unknown option \"%.*s\": it has %s", owner, (int)name.length,
                     name.text, known);
}

/* One "name=value"; `seen` has a bit for every row that was given. */
static int pair_parse(const char *owner, const struct option *rows, struct word pair, void *out,
                      uint64_t *seen, struct error *err)
{
    const char *equals = memchr(pair.text, '=', pair.length);
    struct word name = {pair.text, equals ? (size_t)(equals - pair.text) : pair.length};
    const struct option *row = rows;
    while (row && row->name && !word_equals(name, row->name))
        row++;
    if (!row || !row->name)
        return name_error(owner, rows, name, err);
    if (!equals)
        return error_set(err, "%s: option %s has no value: write %s=VALUE", owner, row->name,
                         row->name);
    size_t position = (size_t)(row - rows);
    if (position >= ROWS_MAX)
        return error_set(err, "%s: option %s: a table holds at most %d rows", owner, row->name,
                         ROWS_MAX);
    if (*seen >> position & 1)
        return error_set(err, "%s: option %s is given twice: keep one", owner, row->name);
    *seen |= UINT64_C(1) << position;
    struct context c = {owner, row, {equals + 1, pair.length - name.length - 1}, err};
    return value_parse(&c, (char *)out + row->offset);
}

int option_parse(const char *owner, const struct option *rows, size_t options_size,
                 const char *text, void *out, struct error *err)
{
    if (options_size)
        memset(out, 0, options_size);
    for (const struct option *row = rows; row && row->name; row++) {
        struct context c = {owner, row, {row->fallback, strlen(row->fallback)}, err};
        if (value_parse(&c, (char *)out + row->offset))
            return -1;
    }
    uint64_t seen = 0;
    if (!text)
        text = "";
    while (*text) {
        struct word pair = {text, strcspn(text, ",")};
        if (pair_parse(owner, rows, pair, out, &seen, err))
            return -1;
        text += pair.length;
        if (*text == ',' && !*++text)
            return error_set(err, "%s: options end with a comma: remove it", owner);
    }
    return 0;
}

void option_format(const struct option *rows, const void *options, char *text, size_t bytes)
{
    if (!bytes)
        return;
    text[0] = 0;
    for (const struct option *row = rows; row && row->name; row++) {
        const void *field = (const char *)options + row->offset;
        text_add(text, bytes, "%s%s=", row == rows ? "" : ",", row->name);
        if (row->type == OPTION_SIZE) {
            size_format(*(const uint64_t *)field, text, bytes);
        } else if (row->type == OPTION_COUNT) {
            text_add(text, bytes, "%llu", (unsigned long long)*(const uint64_t *)field);
        } else if (row->type == OPTION_REAL) {
            real_format(*(const double *)field, text, bytes);
        } else if (row->type == OPTION_BOOL) {
            text_add(text, bytes, "%s", *(const unsigned *)field ? "yes" : "no");
        } else if (row->type == OPTION_TEXT) {
            text_add(text, bytes, "%s", (const char *)field);
        } else {
            const char *at = row->choices;
            for (unsigned i = *(const unsigned *)field; i; i--)
                at += strcspn(at, "|") + 1;
            text_add(text, bytes, "%.*s", (int)strcspn(at, "|"), at);
        }
    }
}
