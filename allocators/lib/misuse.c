/*
 * misuse.c - composes the one line in a buffer on the stack and writes it with one write(2), so
 * that lines of several threads do not mix and nothing here can call back into the heap that is
 * damaged.
 */
#include "allocators/lib/misuse.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct line {
    char text[256];
    size_t length;
};

static void line_add(struct line *line, const char *text)
{
    size_t room = sizeof line->text - line->length;
    size_t n = strlen(text);
    n = n < room ? n : room;
    memcpy(line->text + line->length, text, n);
    line->length += n;
}

static void line_add_hex(struct line *line, uintptr_t value)
{
    char digits[2 * sizeof value + 3];
    size_t at = sizeof digits - 1;
    digits[at] = 0;
    do {
        digits[--at] = "0123456789abcdef"[value % 16];
        value /= 16;
    } while (value);
    digits[--at] = 'x';
    digits[--at] = '0';
    line_add(line, digits + at);
}

void misuse_abort(const char *allocator, const char *what, const void *address)
{
    struct line line = {.length = 0};
    line_add(&line, "alloclab: ");
    line_add(&line, allocator);
    line_add(&line, ": ");
    line_add(&line, what);
    line_add(&line, " at ");
    line_add_hex(&line, (uintptr_t)address);
    line_add(&line, "\n");
    /* The process is about to abort: a message that cannot be written has nowhere else to go. */
    ssize_t ignored = write(STDERR_FILENO, line.text, line.length);
    (void)ignored;
    abort();
}
