/*
 * error.h - one line for the person who has to mend it: what is wrong, where, and what to do about
 * it. Functions that can fail on their input take a struct error, fill it once, and return -1 or
 * NULL; the command line prints it and exits with status 2.
 */
#ifndef ALLOCLAB_ERROR_H
#define ALLOCLAB_ERROR_H

#include <stdarg.h>
#include <stdio.h>

struct error {
    char text[1024];
};

/* Sets the text, printf-style, and returns -1, so that `return error_set(...)` reads well. */
__attribute__((format(printf, 2, 3))) static inline int error_set(struct error *err,
                                                                  const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return -1;
}

#endif
