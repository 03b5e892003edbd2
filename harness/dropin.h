/*
 * dropin.h - libraries that go into other programs by LD_PRELOAD: where they lie, and how the
 * environment of a program that is about to start is made to name them. They lie beside this
 * program, where `make` builds them: the recorder, and the drop-in library liballoclab-NAME.so of
 * each design that can have one (api/dropin.h says which).
 *
 * No state; path buffers are the caller's.
 */
#ifndef ALLOCLAB_HARNESS_DROPIN_H
#define ALLOCLAB_HARNESS_DROPIN_H

#include <limits.h>

#include "allocators/lib/allocator.h"
#include "allocators/lib/error.h"

/* The absolute path of the library `file`. 0, or -1 with a message: it is not there, or lies where
 * the dynamic linker cannot preload from. */
int library_beside(const char *file, char path[PATH_MAX], struct error *err);

/* The design's drop-in library, likewise; a design that cannot have one is refused with the names
 * of those that have. */
int dropin_library(const struct allocator *design, char path[PATH_MAX], struct error *err);

/* Puts the library in front of what LD_PRELOAD holds, but for the recorder, for what is started from
 * now on. 0, or -1: no memory. */
int preload_add(const char *path);

#endif
