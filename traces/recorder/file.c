/*
 * file.c - the capture's file.
 *
 * Places are given out by one atomic addition, and allocated on disk in steps before anything is
 * mapped or written there: so a full disk is an error here, and neither SIGBUS in the program nor
 * half a chunk in the file. The limit on file sizes is asked for each time, because going over it
 * would raise SIGXFSZ.
 *
 * Chunks are written and not mapped: a fault a page costs more than copying the page, and pages
 * that are written once would push the program's own memory out of the caches. Where another process
 * writes them (flush.h), places are still ours to give, as it is we who must know that a disk is full.
 *
 * The descriptor is kept at a high number, since a program that gives up its rights, or its root
 * folder, could not open the path again. Programs also close descriptors they do not know and get
 * the number for a file of their own, so it is compared with the file's identity before each use,
 * and opened again by its path if it is another's.
 *
 * Mapped addresses are far from where the kernel puts a program's own mappings, so that those lie
 * where they would without us; some programs do other things at other addresses. It is a wish:
 * where the address space is smaller, the kernel chooses.
 *
 * System calls that could be cancellation points go through syscall(2): malloc is not one.
 */
#include "traces/recorder/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "traces/recorder/sandbox.h"

#define MAP_BASE UINT64_C(0x200000000000)
#define MAX_STEP ((uint64_t)4 << 20)
#define MIN_STEP ((uint64_t)64 << 10)
#define HIGH_FD  960 /* below what processes may have as a rule, and below what select() takes */
#define NO_FILE  (-1)

static char file_path[PATH_MAX];
static dev_t file_device;
static ino_t file_inode;
static pid_t file_owner; /* who keeps the descriptor: not a vfork child */
static _Atomic int file_fd = NO_FILE;
static _Atomic uint64_t tail, reserved; /* places given out, allocated on disk */

static struct { /* for a process that may make no system calls any more */
    unsigned char *map;
    uint64_t offset, bytes; /* in the file */
    _Atomic uint64_t used;
} pool;

int file_open(const char *path, int flags)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

void file_close(int fd)
{
    syscall(SYS_close, fd);
}

static bool is_ours(int fd)
{
    struct stat status;
    return fd != NO_FILE && fstat(fd, &status) == 0 && status.st_dev == file_device &&
           status.st_ino == file_inode;
}

/* Moves a descriptor out of the program's way, if its limit lets us. */
static int fd_raise(int fd)
{
    int high = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, HIGH_FD);
    if (high < 0)
        return fd;
    file_close(fd);
    return high;
}

/* A descriptor for one use, to be given back to fd_release(); NO_FILE: cannot be opened. */
static int fd_get(void)
{
    int fd = atomic_load(&file_fd);
    if (is_ours(fd))
        return fd;
    fd = file_open(file_path, O_RDWR);
    if (fd >= 0 && !is_ours(fd)) {
        file_close(fd);
        errno = ENOENT;
        return NO_FILE;
    }
    return fd;
}

/* Keeps it if it is high and nobody else has done so; a low number is the program's. */
static void fd_release(int fd)
{
    int known = atomic_load(&file_fd);
    if (fd == known)
        return;
    if (getpid() == file_owner && !is_ours(known)) {
        fd = fd_raise(fd);
        if (fd >= HIGH_FD && atomic_compare_exchange_strong(&file_fd, &known, fd))
            return;
    }
    file_close(fd);
}

bool file_create(const char *path)
{
    struct stat status;
    int inherited = atomic_load(&file_fd);
    if (is_ours(inherited))
        file_close(inherited);
    atomic_store(&file_fd, NO_FILE);
    atomic_store(&tail, 0);
    atomic_store(&reserved, 0);
    pool.map = NULL;
    pool.bytes = 0;
    atomic_store(&pool.used, 0);
    file_owner = getpid();
    snprintf(file_path, sizeof file_path, "%s", path);
    int fd = file_open(path, O_RDWR | O_CREAT | O_EXCL);
    if (fd < 0 || fstat(fd, &status) != 0)
        return false;
    file_device = status.st_dev;
    file_inode = status.st_ino;
    fd_release(fd);
    return true;
}

static bool within_limit(uint64_t end)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || end <= limit.rlim_cur)
        return true;
    errno = EFBIG;
    return false;
}

static bool allocate(int fd, uint64_t from, uint64_t end)
{
    int status;
    do
        status = (int)syscall(SYS_fallocate, fd, 0, from, end - from);
    while (status != 0 && errno == EINTR);
    return status == 0;
}

/* Allocates the file up to `end`, and a little more if there is room. Doing it twice is harmless. */
static bool reserve(int fd, uint64_t end)
{
    uint64_t from = atomic_load(&reserved);
    if (!within_limit(end))
        return false;
    if (end <= from)
        return true;
    uint64_t step = from < MIN_STEP ? MIN_STEP : from > MAX_STEP ? MAX_STEP : from;
    uint64_t to = (end + step - 1) / step * step;
    if (!within_limit(to) || !allocate(fd, from, to)) {
        to = end;
        if (!allocate(fd, from, to))
            return false;
    }
    while (from < to && !atomic_compare_exchange_weak(&reserved, &from, to))
        continue;
    return true;
}

/* Takes a place; false if there is none. */
static bool place(int fd, uint64_t bytes, uint64_t *offset)
{
    *offset = atomic_fetch_add(&tail, bytes);
    return reserve(fd, *offset + bytes);
}

/* ---- the pool ---- */

void file_pool_make(uint64_t bytes)
{
    if (!pool.map)
        pool.map = file_map(bytes, &pool.offset);
    pool.bytes = pool.map ? bytes : 0;
}

static void *pool_take(uint64_t bytes, uint64_t *offset)
{
    uint64_t at = atomic_fetch_add(&pool.used, bytes);
    if (at > pool.bytes || bytes > pool.bytes - at) {
        errno = ENOSPC;
        return NULL;
    }
    *offset = pool.offset + at;
    return pool.map + at;
}

static uint64_t cells(uint64_t bytes)
{
    return (bytes + CAPTURE_CELL_BYTES - 1) / CAPTURE_CELL_BYTES * CAPTURE_CELL_BYTES;
}

static bool pool_append(struct capture_chunk *head, const uint64_t *words)
{
    uint64_t bytes = head->words * sizeof *words, offset;
    struct capture_chunk *chunk = pool_take(cells(sizeof *head + bytes), &offset);
    if (!chunk)
        return false;
    head->magic = CAPTURE_CHUNK_MAGIC + offset;
    memcpy(chunk + 1, words, bytes);
    atomic_thread_fence(memory_order_release); /* a chunk with a head is whole */
    *chunk = *head;
    return true;
}

/* ---- places ---- */

void *file_map(uint64_t bytes, uint64_t *offset)
{
    if (atomic_load(&sandbox_closed))
        return pool_take(bytes, offset);
    int fd = fd_get();
    void *p = MAP_FAILED;
    if (fd == NO_FILE)
        return NULL;
    if (place(fd, bytes, offset))
        p = mmap((void *)(uintptr_t)(MAP_BASE + *offset), bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                 fd, (off_t)*offset);
    int error = errno;
    fd_release(fd);
    errno = error;
    return p == MAP_FAILED ? NULL : p;
}

bool file_place(const struct capture_chunk *chunk, uint64_t *offset)
{
    if (atomic_load(&sandbox_closed))
        return false;
    int fd = fd_get();
    if (fd == NO_FILE)
        return false;
    bool placed = place(fd, cells(sizeof *chunk + chunk->words * sizeof(uint64_t)), offset);
    fd_release(fd);
    return placed;
}

bool file_append(struct capture_chunk *head, const uint64_t *words)
{
    struct iovec parts[] = {{head, sizeof *head}, {(void *)words, head->words * sizeof *words}};
    uint64_t bytes = parts[0].iov_len + parts[1].iov_len, offset;
    if (atomic_load(&sandbox_closed))
        return pool_append(head, words);
    int fd = fd_get();
    if (fd == NO_FILE)
        return false;
    long written = -1;
    if (place(fd, cells(bytes), &offset)) {
        head->magic = CAPTURE_CHUNK_MAGIC + offset;
        do
            written = syscall(SYS_pwritev, fd, parts, 2, (long)offset, 0L);
        while (written < 0 && errno == EINTR);
    }
    fd_release(fd);
    return written == (long)bytes;
}
