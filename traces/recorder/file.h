/*
 * file.h - the capture's file: who takes a place in it, how it is allocated on disk, mapped and
 * written, so that neither a full disk nor a limit on file sizes can hurt the program. Everything
 * may be called from any thread; signals are blocked meanwhile (sink.c says why).
 */
#ifndef ALLOCLAB_RECORDER_FILE_H
#define ALLOCLAB_RECORDER_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "traces/recorder/capture.h"

/* Opens for the recorder's own purposes: no cancellation point, closed on exec. */
int file_open(const char *path, int flags);
void file_close(int fd);

/* Creates the file, which must not exist, and forgets the one before. False: errno says why. */
bool file_create(const char *path);

/* A new place in the file, allocated on disk, mapped and zero; NULL if there is no room. */
void *file_map(uint64_t bytes, uint64_t *offset);

/* A new place for a chunk, allocated on disk, that another process writes. False: there is no room, or
 * no system call may be made. */
bool file_place(const struct capture_chunk *chunk, uint64_t *offset);

/* Writes a chunk, whose magic it fills in, to a new place. False if there is no room. */
bool file_append(struct capture_chunk *head, const uint64_t *words);

/* Takes a place of that many bytes beforehand: what is mapped and appended comes from it once
 * sandbox_closed is set, until it is full. Without room on disk there is none. */
void file_pool_make(uint64_t bytes);

#endif
