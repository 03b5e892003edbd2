/*
 * option.h - typed options as rows of a table: one row is the option's name, type, default, range
 * and one line of documentation, so that parsing, `alloclab describe` and the manual all read the
 * same thing.
 *
 * A spec is "NAME" or "NAME:opt=value,opt=value". Defaults are text and go through the same parser
 * as the user's own text. Sizes take the suffixes k, m, g (powers of 1024), counts the same ones
 * (powers of 1000). Used by allocators and by workloads.
 */
#ifndef ALLOCLAB_OPTION_H
#define ALLOCLAB_OPTION_H

#include <stddef.h>
#include <stdint.h>

#include "allocators/lib/error.h"

enum option_type {
    OPTION_SIZE,   /* uint64_t, bytes; suffixes k, m, g */
    OPTION_COUNT,  /* uint64_t; suffixes k, m, g */
    OPTION_REAL,   /* double */
    OPTION_BOOL,   /* unsigned, 0 or 1; text yes or no */
    OPTION_CHOICE, /* unsigned, position in `choices` */
    OPTION_TEXT,   /* char[max], terminated: a path, a name; no comma, no control characters */
};

struct option {
    const char *name; /* NULL ends the table */
    enum option_type type;
    size_t offset;        /* of the field in the option struct */
    const char *fallback; /* the default, as text */
    double min, max; /* inclusive range of numbers; both 0 = any. OPTION_TEXT: max = the field */
    const char *choices; /* OPTION_CHOICE: "first|next|best" */
    const char *summary; /* one line, with the unit */
};

/* A row for the field of an option struct; designs give it their struct, and shorten it. */
#define OPTION_ROW(of, text_name, field, kind, text_default, low, high, text_choices, text)        \
    {                                                                                              \
        .name = text_name, .type = OPTION_##kind, .offset = offsetof(of, field),                   \
        .fallback = text_default, .min = low, .max = high, .choices = text_choices,                \
        .summary = text                                                                            \
    }

/*
 * Fills the option struct at `out` (options_size bytes, zeroed first) from the defaults and then
 * from `text` ("opt=v,opt=v", may be NULL or empty). 0, or -1 with a message that names `owner`,
 * the option and what is allowed. O(rows * pairs). No allocation; thread-safe.
 */
int option_parse(const char *owner, const struct option *rows, size_t options_size,
                 const char *text, void *out, struct error *err);

/* Writes the option struct back as canonical "opt=v,opt=v" (every option, in row order). Truncates
 * to bytes. */
void option_format(const struct option *rows, const void *options, char *text, size_t bytes);

#endif
