/*
 * flusher.c - see flusher.h.
 *
 * It takes a processor only when that has nothing else to do, so it holds up who is recorded as little as
 * can be: where all are busy, processes write their rooms themselves. That is why it stores through a
 * mapping, and writes nothing: a write has the file locked, and who waits for the lock would wait until
 * a processor is idle again. While rooms come in it looks for them every half millisecond, because to wake
 * a thread takes the program that does it longer than to fill the entry; after a while without any it sleeps
 * until somebody wakes it. It keeps nothing but one descriptor.
 *
 * Until there is a seat it is a thread like any other, so that who records a small program does not wait for
 * an idle processor until it has ended.
 */
#include "harness/flusher.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    LOOK_NS = 500 * 1000,
    LOOKS = 10,  /* in vain, before it sleeps */
    SLEEP_S = 1, /* at the most: a room can wait, so a wake that was missed costs no more */
};

void flusher_prepare(struct flusher *f, const char *folder)
{
    char path[PATH_MAX];
    struct rlimit limit;
    *f = (struct flusher){.folder = folder, .fd = -1};
    int n = snprintf(path, sizeof path, "%s/%s", folder, FLUSH_DESK);
    if (n < 0 || (size_t)n >= sizeof path || getrlimit(RLIMIT_FSIZE, &limit) != 0 ||
        limit.rlim_cur < sizeof *f->desk)
        return;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    struct flush_desk *d = MAP_FAILED;
    if (fallocate(fd, 0, 0, sizeof *d) == 0) /* who maps it must not find the disk full */
        d = mmap(NULL, sizeof *d, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (d == MAP_FAILED) {
        unlink(path);
        return;
    }
    d->magic = FLUSH_MAGIC;
    f->desk = d;
}

/* ---- one room ---- */

/* The seat's capture; -1: it cannot be opened. */
static int capture_get(struct flusher *f, uint32_t number)
{
    char path[PATH_MAX], name[FLUSH_NAME_BYTES];
    if (f->fd >= 0 && f->seat == number)
        return f->fd;
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    memcpy(name, f->desk->seat[number].capture, sizeof name);
    if (!memchr(name, 0, sizeof name) || strchr(name, '/'))
        return -1;
    int n = snprintf(path, sizeof path, "%s/%s", f->folder, name);
    if (n > 0 && (size_t)n < sizeof path)
        f->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    f->seat = number;
    return f->fd;
}

/* Copies a room from one offset to the other. False: that cannot be done. */
static bool room_copy(int fd, uint64_t from, uint64_t to)
{
    struct capture_chunk head;
    if (pread(fd, &head, sizeof head, (off_t)from) != (ssize_t)sizeof head ||
        head.magic != CAPTURE_CHUNK_MAGIC + from || head.words > CAPTURE_CHUNK_WORDS)
        return false;
    size_t bytes = sizeof head + head.words * sizeof(uint64_t);
    struct capture_chunk *chunk =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)to);
    if (chunk == MAP_FAILED)
        return false;
    /* read() and not we: where the file ends too soon, that is an error and no signal */
    bool copied = pread(fd, chunk, bytes, (off_t)from) == (ssize_t)bytes;
    if (copied) {
        chunk->type = CAPTURE_FULL_CHUNK;
        __atomic_store_n(&chunk->magic, CAPTURE_CHUNK_MAGIC + to, __ATOMIC_RELEASE);
    }
    munmap(chunk, bytes);
    return copied;
}

/* ---- all of them ---- */

static uint32_t at_most(uint32_t n, uint32_t most)
{
    return n < most ? n : most;
}

/* The thread has been told to stop; who told it serves once more. */
static bool stopped(struct flusher *f)
{
    return atomic_load(&f->stop);
}

/* Writes the rooms that are handed over; true if there was one. */
static bool seat_serve(struct flusher *f, uint32_t number)
{
    struct flush_seat *s = &f->desk->seat[number];
    bool found = false;
    if (f->given_up[number] || !atomic_load(&s->named))
        return false;
    uint32_t count = at_most(atomic_load(&s->taken), FLUSH_ENTRIES);
    for (uint32_t i = 0; i < count && !stopped(f); i++) {
        struct flush_entry *e = &s->entries[i];
        if (flush_is_clear(e))
            continue;
        int fd = capture_get(f, number);
        if (fd < 0 || !room_copy(fd, e->room * CAPTURE_CELL_BYTES, e->place * CAPTURE_CELL_BYTES)) {
            f->given_up[number] = true;
            break;
        }
        atomic_store_explicit(&e->full, 0, memory_order_release);
        found = true;
    }
    return found;
}

static bool desk_serve(struct flusher *f)
{
    bool found = false;
    uint32_t count = at_most(atomic_load(&f->desk->seats), FLUSH_SEATS);
    for (uint32_t i = 0; i < count; i++)
        found |= seat_serve(f, i);
    return found;
}

/* Sleeps until it is woken, unless a room has come since. */
static void sleep_long(struct flusher *f)
{
    const struct timespec most = {.tv_sec = SLEEP_S};
    atomic_store(&f->desk->asleep, 1);
    if (!desk_serve(f) && !stopped(f))
        syscall(SYS_futex, &f->desk->asleep, FUTEX_WAIT, 1, &most, NULL, 0);
    atomic_store(&f->desk->asleep, 0);
}

static void *serve(void *arg)
{
    struct flusher *f = arg;
    const struct timespec pause = {.tv_nsec = LOOK_NS};
    const struct sched_param none = {0};
    unsigned looks = LOOKS;
    bool idle = false;
    while (!stopped(f)) {
        if (!idle && atomic_load(&f->desk->seats))
            idle = pthread_setschedparam(pthread_self(), SCHED_IDLE, &none) == 0;
        looks = desk_serve(f) ? 0 : looks + 1;
        if (looks >= LOOKS)
            sleep_long(f);
        else if (looks > 0)
            nanosleep(&pause, NULL);
    }
    return NULL;
}

/* ---- from the start to the end ---- */

void flusher_start(struct flusher *f)
{
    sigset_t all, before;
    if (!f->desk)
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    f->runs = pthread_create(&f->thread, NULL, serve, f) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void flusher_end(struct flusher *f)
{
    char path[PATH_MAX];
    if (!f->desk)
        return;
    if (f->runs) {
        atomic_store(&f->desk->closed, 1);
        atomic_store(&f->stop, true);
        atomic_store(&f->desk->asleep, 0);
        syscall(SYS_futex, &f->desk->asleep, FUTEX_WAKE, 1, NULL, NULL, 0);
        pthread_join(f->thread, NULL);
        atomic_store(&f->stop, false);
        desk_serve(f); /* at our own priority */
    }
    if (f->fd >= 0)
        close(f->fd);
    munmap(f->desk, sizeof *f->desk);
    f->desk = NULL;
    snprintf(path, sizeof path, "%s/%s", f->folder, FLUSH_DESK);
    unlink(path);
}
