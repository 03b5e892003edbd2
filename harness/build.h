/*
 * build.h - what the Makefile says of the build.
 */
#ifndef ALLOCLAB_BUILD_H
#define ALLOCLAB_BUILD_H

extern const char
    *const build_commit; /* generated: the commit built from, "-dirty" if changed; or "unknown" */

#endif
