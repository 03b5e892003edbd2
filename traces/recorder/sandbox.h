/*
 * sandbox.h - for a process that has shut itself into a seccomp sandbox, where a system call of ours that the
 * program does not make itself may be its death. From just before that moment on the recorder makes none.
 */
#ifndef ALLOCLAB_RECORDER_SANDBOX_H
#define ALLOCLAB_RECORDER_SANDBOX_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

extern _Atomic bool sandbox_closed; /* no system calls any more */

/* Makes ready for notes of what is started in the sandbox (exec.c). */
void notes_prepare(void);

/* Blocks all signals around the slow ways; in the sandbox nothing. */
void signals_block(sigset_t *before);
void signals_restore(const sigset_t *before);

#endif
