/*
 * preload.h - which malloc a cell runs on. A rival (jemalloc, mimalloc, ..) is a library that the
 * cell's process is started with, in LD_PRELOAD; the cell then runs the `libc` design, which calls
 * malloc and free as any program does. Our own designs come the same way as drop-in libraries.
 *
 * A library is found by its file's name in the usual folders, or in those that the environment's
 * ALLOCLAB_LIBRARY_PATH lists instead. No state; thread-safe.
 */
#ifndef ALLOCLAB_PRELOAD_H
#define ALLOCLAB_PRELOAD_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "allocators/lib/error.h"

struct rival {
    const char *name, *library, *package; /* as in -a; the file; the Debian package that has it */
};

extern const struct rival rivals[]; /* ended by a NULL name */

struct preload {
    char path[PATH_MAX]; /* the library that must serve malloc; "" = whatever is there */
    bool load;           /* by LD_PRELOAD; false: the C library, with nothing before it */
    const char *options; /* of one of our designs, for its drop-in library; else NULL */
};

/*
 * Reads an allocator of -a that is a rival: a name from the table, `glibc`, or `preload:PATH`.
 * 1 and the library; 0 if it is none of these; -1 with a message if its library is not there.
 */
int rival_find(const char *text, struct preload *out, struct error *err);
/* What a rival's row is called, and its options: of preload:PATH the file's name, and the path. */
void rival_name(const char *text, const struct preload *p, char *name, size_t name_bytes,
                char *options, size_t options_bytes);

/* True if malloc of this process is served by the preload's library, else false with `why`. */
bool preload_serves(const char *path, struct error *why);

/* The environment for a cell on this library, as one allocation for free(); NULL: no memory. The
 * door's options are for a drop-in library of ours. */
char **preload_environment(const struct preload *p, const char *door);

/* The version of the Debian package that holds the file; false if none does. */
bool package_version(const char *path, char *version, size_t bytes);

#endif
