/*
 * flush.c - see flush.h. The desk is looked for when a process has filled a few rooms, and where there
 * is none that is so for good. What two threads do at once one of them does in vain, as the address of
 * a mapping and a seat are taken by an exchange: nothing is held that a fork could copy.
 */
#include "traces/recorder/flush.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "traces/recorder/capture.h"
#include "traces/recorder/file.h"

#define MAP_AT UINT64_C(0x1ff000000000) /* beside the capture's: see file.c */

static struct flush_desk *_Atomic desk;
static struct flush_seat *_Atomic seat;
static _Atomic bool refused = true; /* until there is a folder */
static char desk_path[PATH_MAX];

void flush_folder(const char *folder)
{
    int n = snprintf(desk_path, sizeof desk_path, "%s/%s", folder, FLUSH_DESK);
    atomic_store(&refused, n < 0 || (size_t)n >= sizeof desk_path);
}

static struct flush_desk *desk_map(void)
{
    struct stat status;
    int fd = file_open(desk_path, O_RDWR | O_NOFOLLOW);
    if (fd < 0)
        return NULL;
    struct flush_desk *d = MAP_FAILED;
    if (fstat(fd, &status) == 0 && status.st_size == (off_t)sizeof *d)
        d = mmap((void *)(uintptr_t)MAP_AT, sizeof *d, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    file_close(fd);
    if (d == MAP_FAILED)
        return NULL;
    if (d->magic == FLUSH_MAGIC)
        return d;
    munmap(d, sizeof *d);
    return NULL;
}

static struct flush_desk *desk_get(void)
{
    struct flush_desk *d = atomic_load(&desk), *there = NULL;
    if (d || atomic_load(&refused))
        return d;
    d = desk_map();
    if (!d) {
        atomic_store(&refused, true);
    } else if (!atomic_compare_exchange_strong(&desk, &there, d)) {
        munmap(d, sizeof *d);
        d = there;
    }
    return d;
}

/* A new seat for the process. */
static struct flush_seat *seat_take(struct flush_desk *d, const char *capture)
{
    if (atomic_load(&d->seats) >= FLUSH_SEATS)
        return NULL;
    uint32_t number = atomic_fetch_add(&d->seats, 1);
    if (number >= FLUSH_SEATS)
        return NULL;
    struct flush_seat *s = &d->seat[number];
    memcpy(s->capture, capture, strnlen(capture, sizeof s->capture - 1));
    atomic_store(&s->named, 1);
    return s;
}

struct flush_entry *flush_take(const char *capture, uint32_t count)
{
    struct flush_desk *d = desk_get();
    struct flush_seat *s = atomic_load(&seat);
    while (d) {
        if (s) {
            uint32_t from = atomic_fetch_add(&s->taken, count);
            if (from <= FLUSH_ENTRIES && count <= FLUSH_ENTRIES - from)
                return &s->entries[from];
        }
        struct flush_seat *next = seat_take(d, capture);
        if (!next)
            return NULL;
        if (atomic_compare_exchange_strong(&seat, &s, next))
            s = next;
    }
    return NULL;
}

bool flush_is_closed(void)
{
    struct flush_desk *d = atomic_load(&desk);
    return !d || atomic_load(&d->closed);
}

void flush_hand(struct flush_entry *e, uint64_t room, uint64_t place)
{
    struct flush_desk *d = atomic_load(&desk);
    e->room = (uint32_t)(room / CAPTURE_CELL_BYTES);
    e->place = (uint32_t)(place / CAPTURE_CELL_BYTES);
    atomic_store(&e->full,
                 1); /* before `asleep` is read: the flusher does these in the other order */
    if (atomic_load(&d->asleep) && atomic_exchange(&d->asleep, 0))
        syscall(SYS_futex, &d->asleep, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void flush_forget(void)
{
    atomic_store(&seat, NULL);
}
