/*
 * sink.c - the capture file of this process: opened at the first event, grown by whole segments,
 * mapped shared.
 *
 * Why a shared file mapping: a store into it is in the page cache at once, so a process that is
 * killed loses nothing that it wrote, and there is nothing to flush at exit. Segments are allocated
 * on disk before they are mapped, so that a full disk is an error here (events are counted as lost)
 * and not a SIGBUS in the program.
 *
 * Addresses: the file is mapped in one piece, far from where the kernel puts a program's own
 * mappings, so that those lie where they would without us. Some programs do other things at other
 * addresses. It is a wish: where the address space is smaller, the kernel chooses.
 *
 * Descriptors: none is held between calls. Programs close descriptors they do not know, and one of
 * theirs could then get the number; the file is opened by its path whenever a segment is added.
 *
 * fork: the state is on a page that the kernel wipes in a child (MADV_WIPEONFORK), so that a child
 * is noticed however it was made, and opens a capture of its own. The counter is on an ordinary
 * page: the child's copy is the parent's position at that very moment, which the child's capture
 * names. A vfork child shares the parent's memory and heap, so its events belong to the parent's
 * capture, and land there.
 *
 * System calls that could be cancellation points go through syscall(2): malloc is not one.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "traces/recorder/sink.h"

#define MAX_SEGMENTS 65536
#define MAP_BASE     UINT64_C(0x200000000000)
#define LOST_SEGMENT ((struct capture_record *)-1)

enum state { STATE_UNKNOWN, STATE_ON, STATE_OFF }; /* 0 is what a wiped page says */

struct wiped { /* on the page that reads as zero in a forked child */
    _Atomic int state;
    atomic_flag starting;
};

struct thread_state {
    uint32_t number;           /* 0: no event yet */
    unsigned destructor_round; /* how often the key's destructor has run in this thread */
};

static struct wiped *wiped;
static struct capture_header *header;
static _Atomic uint64_t positions; /* taken so far */
static _Atomic uint32_t threads;
static _Atomic uint64_t early_calls; /* before there was an environment to read */
static _Atomic(struct capture_record *) segments[MAX_SEGMENTS];
static char capture_path[PATH_MAX];
static bool clock_on;
static pthread_key_t thread_key;
static bool thread_key_ok;
static _Thread_local struct thread_state self;

static int file_open(const char *path, int flags)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

static void file_close(int fd)
{
    syscall(SYS_close, fd);
}

/* One line on standard error: this process is not recorded, and why. */
static void complain(const char *what, const char *path)
{
    char line[PATH_MAX + 256];
    int n =
        snprintf(line, sizeof line, "alloclab-record: process %d is not recorded: %s%s%s: %s\n",
                 (int)getpid(), what, path ? " " : "", path ? path : "", strerrordesc_np(errno));
    if (n > 0)
        syscall(SYS_write, 2, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

/* Allocates `bytes` of the file at `offset` on disk and maps them; NULL if there is no room of some
 * kind. */
static void *file_map(int fd, uint64_t offset, uint64_t bytes)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && offset + bytes > limit.rlim_cur) {
        errno = EFBIG; /* going on would raise SIGXFSZ in the program */
        return NULL;
    }
    int status;
    do
        status = (int)syscall(SYS_fallocate, fd, 0, offset, bytes);
    while (status != 0 && errno == EINTR);
    if (status != 0)
        return NULL;
    void *hint = (void *)(uintptr_t)(MAP_BASE + offset);
    void *p = mmap(hint, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
    return p == MAP_FAILED ? NULL : p;
}

/* ---- thread ends ---- */

/*
 * Runs when a thread exits. Destructors of other keys may run after it and free memory, so it asks
 * to be called again until the C library's last round. What is freed still later only follows the
 * record; the converter puts the thread's end after its last event.
 */
static void thread_ends(void *arg)
{
    (void)arg;
    if (++self.destructor_round < PTHREAD_DESTRUCTOR_ITERATIONS &&
        pthread_setspecific(thread_key, &self) == 0)
        return;
    if (sink_ready())
        sink_put(CAPTURE_THREAD_END, 0, 0, 0, 0);
}

static void thread_begins(void)
{
    self.number = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1;
    if (thread_key_ok)
        pthread_setspecific(thread_key, &self);
}

/* ---- the start of a capture ---- */

static void read_small_file(const char *path, char *text, size_t room, size_t *bytes)
{
    *bytes = 0;
    int fd = file_open(path, O_RDONLY);
    if (fd < 0)
        return;
    while (*bytes < room) {
        ssize_t n = (ssize_t)syscall(SYS_read, fd, text + *bytes, room - *bytes);
        if (n <= 0)
            break;
        *bytes += (size_t)n;
    }
    file_close(fd);
}

/* The name it was started by, which an alternative's link may have given it, or else the file's. */
static void header_describe_program(struct capture_header *h)
{
    char path[PATH_MAX];
    const char *started = (const char *)getauxval(AT_EXECFN);
    if (!started || strncmp(started, "/proc/", 6) == 0) {
        ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
        path[n > 0 ? n : 0] = 0;
        started = path;
    }
    const char *slash = strrchr(started, '/');
    const char *name = slash ? slash + 1 : started;
    snprintf(h->program, sizeof h->program, "%.255s", *name ? name : "unknown");
    size_t bytes;
    read_small_file("/proc/self/cmdline", h->command, sizeof h->command, &bytes);
    h->command_bytes = (uint32_t)bytes;
}

/* Creates the capture file and its header; `parent` is the file name of the forking process's
 * capture, or "". */
static bool capture_open(const char *dir, const char *parent, uint64_t parent_records)
{
    struct timespec now, started;
    clock_gettime(CLOCK_MONOTONIC, &now);
    clock_gettime(CLOCK_REALTIME, &started);
    /* Names sort by the time of start. */
    int n = snprintf(capture_path, sizeof capture_path, "%s/%016llx-%d.capture", dir,
                     (unsigned long long)now.tv_sec * 1000000000u + (unsigned long long)now.tv_nsec,
                     (int)getpid());
    if (n < 0 || (size_t)n >= sizeof capture_path) {
        errno = ENAMETOOLONG;
        return false;
    }
    int fd = file_open(capture_path, O_RDWR | O_CREAT | O_EXCL);
    if (fd < 0)
        return false;
    struct capture_header *h = file_map(fd, 0, CAPTURE_HEADER_BYTES);
    int error = errno;
    file_close(fd);
    if (!h) {
        unlink(capture_path);
        errno = error;
        return false;
    }
    h->header_bytes = CAPTURE_HEADER_BYTES;
    h->record_bytes = CAPTURE_RECORD_BYTES;
    h->started_s = started.tv_sec;
    h->pid = (uint32_t)getpid();
    h->clock = clock_on;
    h->parent_records = parent_records;
    h->fork_thread = self.number;
    h->lost_records = atomic_load(&early_calls);
    snprintf(h->recorder, sizeof h->recorder, "%s", CAPTURE_RECORDER);
    snprintf(h->parent, sizeof h->parent, "%s", parent);
    header_describe_program(h);
    h->magic = CAPTURE_MAGIC;
    header = h;
    return true;
}

/* Lets go of the parent's capture in a forked child. */
static void parent_forget(uint64_t parent_records)
{
    uint64_t last = parent_records / CAPTURE_SEGMENT_RECORDS;
    for (uint64_t i = 0; i <= last && i < MAX_SEGMENTS; i++) {
        struct capture_record *s = atomic_exchange(&segments[i], NULL);
        if (s && s != LOST_SEGMENT)
            munmap(s, CAPTURE_SEGMENT_BYTES);
    }
    munmap(header, CAPTURE_HEADER_BYTES);
    header = NULL;
    atomic_store(&positions, 0);
    atomic_store(&early_calls, 0);
}

/* Not getenv: some programs (shells) define one of their own, and the C library's is then out of
 * reach. */
static const char *environment(const char *name)
{
    size_t length = strlen(name);
    for (char **e = environ; e && *e; e++)
        if (strncmp(*e, name, length) == 0 && (*e)[length] == '=')
            return *e + length + 1;
    return NULL;
}

static bool wanted(const char **dir)
{
    *dir = environment(CAPTURE_ENV_DIR);
    const char *only = environment(CAPTURE_ENV_ONLY);
    const char *clock = environment(CAPTURE_ENV_CLOCK);
    clock_on = !clock || strcmp(clock, "no") != 0;
    return *dir && (!only || strtol(only, NULL, 10) == (long)getpid());
}

/* The folder and the wish are remembered: a child must not depend on what the program did to its
 * environment. */
static bool child_start(void)
{
    char dir[PATH_MAX], parent[CAPTURE_NAME_BYTES];
    if (!header)
        return false; /* the parent was not recorded */
    char *slash = strrchr(capture_path, '/');
    snprintf(parent, sizeof parent, "%s", slash + 1);
    snprintf(dir, sizeof dir, "%.*s", (int)(slash - capture_path), capture_path);
    uint64_t parent_records = atomic_load(&positions);
    parent_forget(parent_records);
    if (environment(CAPTURE_ENV_ONLY))
        return false;
    if (capture_open(dir, parent, parent_records))
        return true;
    complain("cannot create", capture_path);
    return false;
}

static bool image_start(void)
{
    const char *dir;
    if (!wanted(&dir))
        return false;
    /* The first keys of a process are kept inside the thread's descriptor: setting them allocates
     * nothing. */
    thread_key_ok = pthread_key_create(&thread_key, thread_ends) == 0 && thread_key < 32;
    if (capture_open(dir, "", 0))
        return true;
    complain("cannot create", capture_path);
    return false;
}

static bool wiped_page_make(void)
{
    size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return false;
    if (madvise(p, bytes, MADV_WIPEONFORK) != 0) { /* Linux 4.14 */
        munmap(p, bytes);
        return false;
    }
    wiped = p;
    return true;
}

static int sink_start(void)
{
    int error = errno;
    bool is_child = wiped != NULL;
    if (!is_child) {
        if (!environ) { /* called by the dynamic linker before the C library has started */
            atomic_fetch_add(&early_calls, 1);
            return STATE_UNKNOWN;
        }
        static _Atomic bool refused;
        if (atomic_load(&refused))
            return STATE_OFF;
        if (!wiped_page_make()) {
            complain("no page that is wiped on fork (Linux 4.14 has them)", NULL);
            atomic_store(&refused, true);
            errno = error;
            return STATE_OFF;
        }
    }
    while (atomic_flag_test_and_set_explicit(&wiped->starting, memory_order_acquire))
        sched_yield();
    int state = atomic_load(&wiped->state);
    if (state == STATE_UNKNOWN) {
        state = (is_child ? child_start() : image_start()) ? STATE_ON : STATE_OFF;
        atomic_store(&wiped->state, state);
    }
    atomic_flag_clear_explicit(&wiped->starting, memory_order_release);
    errno = error;
    return state;
}

bool sink_ready(void)
{
    int state = wiped ? atomic_load_explicit(&wiped->state, memory_order_acquire) : STATE_UNKNOWN;
    if (__builtin_expect(state == STATE_UNKNOWN, 0))
        state = sink_start();
    return state == STATE_ON;
}

/* A program that never allocates has a capture too: an empty one says more than none. */
__attribute__((constructor)) static void sink_constructor(void)
{
    sink_ready();
}

/* ---- events ---- */

/*
 * Makes segment i there. Several threads may try at once: allocating on disk twice is harmless, and
 * who loses the exchange unmaps its own. Without a lock, so that nothing can be held across a fork.
 */
__attribute__((noinline, cold)) static struct capture_record *segment_add(uint64_t i)
{
    int error = errno;
    struct capture_record *made = LOST_SEGMENT, *there = NULL;
    int fd = file_open(capture_path, O_RDWR);
    if (fd >= 0) {
        void *p =
            file_map(fd, CAPTURE_HEADER_BYTES + i * CAPTURE_SEGMENT_BYTES, CAPTURE_SEGMENT_BYTES);
        file_close(fd);
        if (p)
            made = p;
    }
    if (!atomic_compare_exchange_strong(&segments[i], &there, made)) {
        if (made != LOST_SEGMENT)
            munmap(made, CAPTURE_SEGMENT_BYTES);
        made = there;
    }
    errno = error;
    return made;
}

static struct capture_record *record_at(uint64_t position)
{
    uint64_t i = position / CAPTURE_SEGMENT_RECORDS;
    if (i >= MAX_SEGMENTS)
        return NULL;
    struct capture_record *s = atomic_load_explicit(&segments[i], memory_order_acquire);
    if (__builtin_expect(!s, 0))
        s = segment_add(i);
    return s == LOST_SEGMENT ? NULL : s + position % CAPTURE_SEGMENT_RECORDS;
}

static uint64_t clock_now(void)
{
    struct timespec now;
    if (!clock_on)
        return 0;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void sink_put(enum capture_kind kind, unsigned flags, unsigned align_log2, uint64_t address,
              uint64_t size)
{
    if (__builtin_expect(self.number == 0, 0))
        thread_begins();
    uint64_t position = atomic_fetch_add(&positions, 1);
    struct capture_record *r = record_at(position);
    if (__builtin_expect(!r, 0)) {
        __atomic_fetch_add(&header->lost_records, 1, __ATOMIC_RELAXED);
        return;
    }
    r->address = address;
    r->size = size;
    r->clock_ns = clock_now();
    r->thread = self.number;
    r->flags = (uint8_t)flags;
    r->align_log2 = (uint8_t)align_log2;
    __atomic_store_n(&r->kind, (uint8_t)kind, __ATOMIC_RELEASE);
}

void sink_count_nested(void)
{
    __atomic_fetch_add(&header->nested_calls, 1, __ATOMIC_RELAXED);
}
