/*
 * lines.h - reads a text file, plain or compressed, line by line, for the importers of text forms,
 * and says of what it refuses which file and line it is. Nothing in the file is believed: lines are
 * limited in length, a zero byte is refused, and so is a number that overflows or has a sign.
 * A file of records of one size can be read with it as well.
 */
#ifndef ALLOCLAB_LINES_H
#define ALLOCLAB_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "traces/formats/format.h"
#include "traces/unpack.h"

#define LINES_MAX_BYTES ((size_t)1 << 17)

struct lines {
    struct unpack file;
    const char *name;
    const char *unit; /* what is counted: "line", or "record" */
    uint64_t number;  /* of the line at hand, from 1 */
    char *text;       /* of the line at hand: without its end */
    char *next;       /* what words_next takes next */
    char *buffer;
    size_t start, end; /* unread bytes of the buffer */
    bool finished;
    bool torn; /* the line at hand, or the end: the file stops in the middle of something */
    bool
        takes_torn; /* set by who looks at `torn`; else a compressed file that is torn is refused */
    struct error *err;
};

/* `name` must outlive it. Errors of this and all further calls go to err. */
int lines_open(struct lines *lines, const char *name, struct error *err);
void lines_close(struct lines *lines);
int lines_next(struct lines *lines); /* 1: there is a line; 0: the end; -1 */
/* The same for a record of so many bytes, which is then at lines->text. */
int lines_record(struct lines *lines, size_t bytes);

/* "NAME: line N: ..." in the error; returns -1. */
__attribute__((format(printf, 2, 3), cold)) int lines_refuse(const struct lines *lines,
                                                             const char *format, ...);

char *lines_word(struct lines *lines); /* the next word of the line; NULL if there is none */
int lines_end(struct lines *lines);    /* 0, or -1: there is still a word */

/* A decimal number, an address with 0x, bare hex digits, or what C libraries and tracers print as a
 * pointer or a number (0x and hex digits, decimal digits, (nil), nil, NULL); `what` names it in the
 * message. 0 or -1. */
int lines_number(struct lines *lines, const char *word, const char *what, uint64_t *value);
int lines_address(struct lines *lines, const char *word, const char *what, uint64_t *value);
int lines_hex(struct lines *lines, const char *word, const char *what, uint64_t *value);
int lines_pointer(struct lines *lines, const char *word, const char *what, uint64_t *value);

/* Puts an op; what the writer refuses is refused with this line's number. */
int lines_put(struct lines *lines, struct trace_writer *out, const struct trace_op *op);

/* Counts something odd that is about to be repaired; -1 if the report says that it must be refused.
 * `count` is one of the report's. */
int lines_odd(struct lines *lines, struct import_report *report, uint64_t *count, const char *what,
              const char *word);

#endif
