/*
 * thp.h - transparent huge pages, the same for all cells of a session: some allocators ask for them
 * and others do not, so that without a word a comparison is also one of page sizes.
 *
 * off: this process and all that it starts get none, whatever they ask for (prctl).
 * on: every allocator's memory may lie in them, asked for or not. The kernel has no such switch for
 * one process, only one for the machine; where that does not stand at `always` it is put there
 * while the session lasts, which only root may do. A keeper process puts it back when the session
 * is over, however it ends (also by SIGKILL).
 * asis: as the machine and each allocator have it.
 */
#ifndef ALLOCLAB_THP_H
#define ALLOCLAB_THP_H

#include <stdbool.h>
#include <sys/types.h>

#include "allocators/lib/error.h"

enum thp { THP_ASIS, THP_OFF, THP_ON };

extern const char *const thp_names[]; /* by enum thp; ended by NULL */

#define THP_SWITCH "/sys/kernel/mm/transparent_hugepage/enabled" /* the machine's */

struct thp_hold {
    enum thp thp;
    const char *file;
    pid_t keeper; /* who puts the machine's switch back; 0 = nobody has to */
    int pipe;     /* its sign that this process still is there */
};

/* Makes it so from here on, by the machine's switch in `file`. 0, or -1: this machine or user
 * cannot, and why. */
int thp_begin(struct thp_hold *hold, enum thp thp, const char *file, struct error *err);
/* Ends it, as far as this was the machine's switch. 0, or -1: the switch was not where it was put:
 * what was measured meanwhile is not what was asked for. */
int thp_end(struct thp_hold *hold, struct error *err);

#endif
