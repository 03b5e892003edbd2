/*
 * unrecorded.h - which processes of a recorded tree have no capture, and why: what they started is
 * noted by the recorder (traces/recorder/exec.c), and compared with the captures that there are.
 *
 * No state.
 */
#ifndef ALLOCLAB_UNRECORDED_H
#define ALLOCLAB_UNRECORDED_H

#include <dirent.h>

/* For scandir: a file in the folder is a capture. */
int unrecorded_capture(const struct dirent *entry);

/* The same: it holds notes. */
int unrecorded_is_notes(const struct dirent *entry);

/* Why a program has no capture, as far as its file tells; a name without a slash is looked for as
 * execvp does. */
const char *unrecorded_reason(const char *command);

/* Begins the notes, with that of the calling process, which is about to become the command. */
void unrecorded_notes(const char *folder, const char *command);

/* Says on stderr, by program, how many processes were not recorded, and why. */
void unrecorded_print(const char *folder);

#endif
