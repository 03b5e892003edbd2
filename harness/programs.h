/*
 * programs.h - whole programs as a session measures them: each program on each allocator, once a
 * block, in random order, by hyperfine, which times one run and leaves a JSON file of it. hyperfine
 * starts `alloclab program`, which loads the library, runs the command, and notes the peak memory
 * and the page faults of what it started.
 *
 * A list of programs is a text file: a line each, NAME COMMAND.., the command for sh; # comments.
 */
#ifndef ALLOCLAB_PROGRAMS_H
#define ALLOCLAB_PROGRAMS_H

#include "harness/session.h"

#define PROGRAM_FD_VARIABLE "ALLOCLAB_PROGRAM_FD" /* of a file that is a struct program_run */

struct program_run { /* what `alloclab program` is told, and what it found */
    char command[8192];
    char library[PATH_MAX]; /* "" = whatever malloc there is */
    char options[2048], door[256];
    bool load, ours; /* as in struct preload: by LD_PRELOAD; a design with options */
    bool ended;
    int wait_status;
    uint64_t peak_bytes; /* of the process that had most */
    uint64_t faults;     /* of all of them */
};

struct program_list {
    char **commands; /* by target of the session */
};

/* Reads the list: each name becomes a target. 0, or -1 with a message. */
int programs_read(struct session *s, const char *path, struct program_list *list,
                  struct error *err);
void programs_free(struct session *s, struct program_list *list);

/* What must be there before anything is measured: hyperfine, and every allocator as a library that
 * does serve malloc. */
int programs_check(const struct session *s, struct error *err);

/* Runs all blocks and keeps a row of each run. JSON files: hyperfine/ORDER.json in the results
 * folder. 0, or -1 if results cannot be written. A program that fails is a row that says so. */
int programs_run(struct session *s, const struct program_list *list, struct error *err);

#endif
