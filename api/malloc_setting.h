/*
 * malloc_setting.h - how a drop-in library reads its settings and says what it has to say, in a
 * process of which it is the malloc: nothing here allocates.
 */
#ifndef ALLOCLAB_MALLOC_SETTING_H
#define ALLOCLAB_MALLOC_SETTING_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The value of an environment variable, as the process was started with it or has set it since;
 * false: it is not set, or empty, or the program is setuid and its environment not to be trusted.
 * Values that do not fit end the program, as setting_refuse() does.
 */
bool setting_read(const char *name, char *text, size_t bytes);

/* One line on stderr, "alloclab: WHO: WHAT"; then the process ends with status 2. */
__attribute__((noreturn, cold)) void setting_refuse(const char *who, const char *what);

/* One line on stderr, likewise. */
void setting_warn(const char *who, const char *what);

#endif
