/*
 * site.h - where calls come from, as numbers. A lane has a table of its own, so that nothing is
 * shared: of modules, and of nodes, each of which is a place in a module and the node that called
 * it. What is new in it is written into the lane before the first record that needs it, as records
 * that are no events: so a capture never names what it does not explain, at whatever moment it ends.
 *
 * A place is told by its module and its offset there, from the moment it is seen: libraries that
 * are unloaded and others that come to their addresses cannot be taken for each other. When code was
 * unloaded, tables begin anew.
 */
#ifndef ALLOCLAB_SITE_H
#define ALLOCLAB_SITE_H

#include <stdbool.h>
#include <stdint.h>

#include "traces/recorder/stack.h"

struct lane;

/* Stores the site of a call where the lane's next record would stand, and returns the words it takes:
 * the record comes after them, and its commit counts them in. 0: the site could not be noted. The
 * lane is the caller's, and has room for LANE_MOST_WORDS before and after. */
__attribute__((noinline)) uint32_t site_put(struct lane *l, const struct frame *f);

/* A lane has another owner, or is another lane. */
void site_lane_begins(struct lane *l);

/* After a dlclose: places may be others. */
void site_code_unloaded(void);

#endif
