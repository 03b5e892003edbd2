/*
 * args.h - reads "--option value" and "--option=value" pairs of a subcommand. (The C library's
 * getopt.h defines a struct option of its own, and so cannot stand beside the contract's.)
 */
#ifndef ALLOCLAB_ARGS_H
#define ALLOCLAB_ARGS_H

#include <stdbool.h>
#include <string.h>

#include "allocators/lib/error.h"

struct args {
    int argc, at; /* at: the next word to read; starts at 1 */
    char **argv;
    char *value;        /* of the option just read */
    unsigned long seen; /* bit i: names[i] was read */
};

static inline bool help_is(const char *word)
{
    return !strcmp(word, "--help") || !strcmp(word, "-h");
}

enum { ARGS_END = -1, ARGS_BAD = -2 };

/*
 * The index in `names` (ended by NULL) of the next option, whose value is then in a->value;
 * ARGS_END after the last; ARGS_BAD with a message for an unknown option, one given twice, a
 * missing value, or a word that belongs to no option. At most 64 names.
 */
static inline int args_next(struct args *a, const char *const names[], struct error *err)
{
    if (a->at >= a->argc)
        return ARGS_END;
    char *word = a->argv[a->at++], *equals = strchr(word, '=');
    size_t length =
        equals && word[0] == '-' && word[1] == '-' ? (size_t)(equals - word) : strlen(word);
    for (int i = 0; names[i]; i++) {
        if (strlen(names[i]) != length || strncmp(word, names[i], length))
            continue;
        a->value = word[length] ? equals + 1 : a->at < a->argc ? a->argv[a->at++] : NULL;
        bool again = a->seen >> i & 1;
        a->seen |= 1ul << i;
        if (a->value && !again)
            return i;
        error_set(err, again ? "%s is given twice" : "%s: its value is missing", names[i]);
        return ARGS_BAD;
    }
    error_set(err, "'%s': %s; see `alloclab help`", word,
              word[0] == '-' ? "unknown option" : "belongs to no option");
    return ARGS_BAD;
}

#endif
