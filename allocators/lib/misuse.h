/*
 * misuse.h - how a design ends the program when it finds its heap misused or damaged: one line
 * through write(2)
 *
 *     alloclab: NAME: WHAT at 0xADDRESS
 *
 * then abort(). No stdio, no allocation, so it works inside malloc and in a signal handler. The
 * exact text is asserted by tests/misuse. Usual WHATs: "double free", "invalid free", "corrupted
 * header", "corrupted free block".
 */
#ifndef ALLOCLAB_MISUSE_H
#define ALLOCLAB_MISUSE_H

__attribute__((noreturn, cold)) void misuse_abort(const char *allocator, const char *what,
                                                  const void *address);

#endif
