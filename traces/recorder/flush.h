/*
 * flush.h - how full rooms get written by another process: `alloclab record` has a desk, a file in the
 * captures' folder that it and the recorded processes map. A process that fills rooms takes a seat
 * there, which names its capture, and for each of its rooms an entry. To hand a room over is to store
 * where it is and where it goes, and go on in another room; harness/flusher.c copies it and clears the
 * entry.
 *
 * Nobody waits for the other: while an entry is full its room stays as it is, and counts (capture.h). So
 * a process that is killed has lost nothing; and one that finds no room cleared, because the flusher is
 * slow, or gone, writes its own as if there were no desk. Seats and entries are not given back: what a
 * dead process held is a few words that nobody fills any more.
 */
#ifndef ALLOCLAB_FLUSH_H
#define ALLOCLAB_FLUSH_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    FLUSH_ENTRIES = 60, /* of a seat; a process takes another seat when they are taken */
    FLUSH_SEATS = 1020,
    FLUSH_NAME_BYTES = 56,
};

#define FLUSH_DESK  "desk"                       /* the file's name */
#define FLUSH_MAGIC UINT64_C(0x31306b7364424c41) /* "ALBdsk01"; written last */

struct flush_entry {
    _Atomic uint32_t full; /* 1: to be copied; 0: it has been, or there was nothing yet */
    uint32_t room, place;  /* in the capture, in CAPTURE_CELL_BYTES: from where, to where */
    uint32_t reserved;
};

struct flush_seat {
    _Atomic uint32_t taken;         /* entries, or more */
    _Atomic uint32_t named;         /* the name is there */
    char capture[FLUSH_NAME_BYTES]; /* its file name */
    struct flush_entry entries[FLUSH_ENTRIES];
};

struct flush_desk {
    uint64_t magic;
    _Atomic uint32_t seats;  /* taken, or more */
    _Atomic uint32_t asleep; /* a futex: the flusher waits while it is 1 */
    _Atomic uint32_t closed; /* the flusher ends: hand nothing over any more */
    uint8_t reserved[4076];
    struct flush_seat seat[FLUSH_SEATS];
};

static_assert(sizeof(struct flush_seat) == 1024 && sizeof(struct flush_desk) == 1 << 20,
              "as all agree");

/* ---- in the recorded process; any thread, no lock, signals blocked ---- */

/* Before the first capture: where the desk would be. Elsewhere a path has no place on a program's stack. */
void flush_folder(const char *folder);

/* So many entries one after the other, for good; NULL: there is no desk, or no seat left. */
struct flush_entry *flush_take(const char *capture, uint32_t count);

/* The desk is closed, or was never there. */
bool flush_is_closed(void);

/* Hands a room over, by offsets in the file: it may not be written until the entry is clear again. */
void flush_hand(struct flush_entry *e, uint64_t room, uint64_t place);

static inline bool flush_is_clear(struct flush_entry *e)
{
    return atomic_load_explicit(&e->full, memory_order_acquire) == 0;
}

/* In a forked child, which has a capture of its own. */
void flush_forget(void);

#endif
