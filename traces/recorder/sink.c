/*
 * sink.c - the capture of this process: opened at the first event, described, and left behind by a
 * forked child.
 *
 * fork: the state is on a page that the kernel wipes in a child (MADV_WIPEONFORK), so that a child
 * is noticed however it was made, and opens a capture of its own. How far each of the parent's lanes
 * had got is in ordinary memory, whose copy the child tells in its capture. A vfork child shares the
 * parent's memory and heap, so its events belong to the parent's capture, and land there.
 *
 * Opening runs with signals blocked, since a handler that allocates would wait for itself.
 */
#include "traces/recorder/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "traces/recorder/file.h"
#include "traces/recorder/flush.h"
#include "traces/recorder/glibc.h"
#include "traces/recorder/sandbox.h"

enum state { STATE_UNKNOWN, STATE_ON, STATE_OFF }; /* 0 is what a wiped page says */

struct wiped { /* on the page that reads as zero in a forked child */
    _Atomic int state;
    atomic_flag starting, switching;
};

static struct wiped *wiped;
static struct capture_header *header;
static struct capture_header *ancestors; /* in a forked child without a capture: where it counts */
static _Atomic uint32_t threads;
static _Atomic uint64_t early_calls; /* before there was an environment to read */
static _Atomic bool full;
static char capture_path[PATH_MAX], only[256];
static pthread_key_t thread_key;
static bool thread_key_ok;

struct sink_settings sink_settings;
const char *sink_other_malloc;

/* A write to a file that may not grow is a signal, or cuts the line short. */
static bool may_complain(void)
{
    struct rlimit limit;
    struct stat status;
    return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
           fstat(2, &status) != 0 || !S_ISREG(status.st_mode);
}

/* One line on standard error: this process is not recorded, and why. */
static void complain(const char *what, const char *path, const char *why)
{
    char line[PATH_MAX + 256];
    int n = snprintf(line, sizeof line, "alloclab-record: process %d is not recorded: %s%s%s: %s\n",
                     (int)getpid(), what, *path ? " " : "", path, why);
    if (n > 0 && may_complain())
        syscall(SYS_write, 2, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
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
    if (sink_ready() && self.number != 0) {
        sink_mark((struct record){.kind = CAPTURE_THREAD_END});
        lane_ends();
    }
}

void sink_thread_begins(void)
{
    self.number = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1;
    if (thread_key_ok)
        pthread_setspecific(thread_key, &self);
}

void sink_child_begins(void)
{
    sigset_t before;
    if (atomic_load(&sandbox_closed))
        return;
    signals_block(&before); /* a handler might open the child's capture meanwhile */
    if (wiped && atomic_load(&wiped->state) == STATE_UNKNOWN)
        lanes_leave();
    signals_restore(&before);
}

const char *sink_capture_name(void)
{
    return strrchr(capture_path, '/') + 1;
}

/* ---- what the environment wishes ---- */

const char *sink_environment(char *const *list, const char *name)
{
    size_t length = strlen(name);
    for (char *const *e = list; e && *e; e++)
        if (strncmp(*e, name, length) == 0 && (*e)[length] == '=')
            return *e + length + 1;
    return NULL;
}

static const char *environment(const char *name)
{
    return sink_environment(environ, name);
}

/* The name it was started by, which an alternative's link may have given it, or else the file's. */
static void program_name(char *name, size_t room)
{
    char path[PATH_MAX];
    const char *started = (const char *)getauxval(AT_EXECFN);
    if (!started || strncmp(started, "/proc/", 6) == 0 || strncmp(started, "/dev/fd/", 8) == 0) {
        ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
        path[n > 0 ? n : 0] = 0;
        started = path;
    }
    const char *slash = strrchr(started, '/');
    const char *last = slash ? slash + 1 : started;
    snprintf(name, room, "%.255s", *last ? last : "unknown");
}

static bool only_is_pid(void)
{
    return *only && only[strspn(only, "0123456789")] == 0;
}

/* True if the wish for one process of many means this one. */
static bool only_matches(void)
{
    char name[256];
    if (!*only)
        return true;
    if (only_is_pid())
        return strtol(only, NULL, 10) == (long)getpid();
    program_name(name, sizeof name);
    return strcmp(name, only) == 0;
}

/* A forked child is another process of the same program. */
static bool child_is_wanted(void)
{
    return !only_is_pid();
}

static void settings_read(struct capture_header *h)
{
    const char *clock = environment(CAPTURE_ENV_CLOCK), *ticks = environment(CAPTURE_ENV_TICKS);
    const char *in = environment(CAPTURE_ENV_SAMPLE);
    const char *sites = environment(CAPTURE_ENV_SITES);
    unsigned long sample = in ? strtoul(in, NULL, 10) : 1, depth = 0;
    uint64_t per_s = 0;
#if defined(__x86_64__)
    per_s = ticks ? strtoull(ticks, NULL, 10) : 0;
#else
    (void)ticks;
#endif
    sink_settings = (struct sink_settings){
        .ticks_per_s = per_s,
        .slow = (per_s ? per_s : 1000000000) / CAPTURE_SLOW_PER_S,
        .each = clock && strcmp(clock, "each") == 0,
        .sample = sample > 1 ? (uint32_t)sample : 1,
    };
    if (sites) {
        depth = strtoul(sites, NULL, 10);
        sink_settings.sites = depth ? CAPTURE_SITES_STACK : CAPTURE_SITES_CALLER;
        sink_settings.site_depth = depth < CAPTURE_DEPTH ? (uint32_t)depth : CAPTURE_DEPTH;
    }
    h->ticks_per_s = per_s ? per_s : 1000000000;
    h->by_counter = per_s != 0;
    h->each = sink_settings.each;
    h->sample = sink_settings.sample;
    h->sites = sink_settings.sites;
}

void sink_aside_add(unsigned reasons)
{
    atomic_fetch_or(&hot.aside_frees, reasons & ~SINK_SITED);
    atomic_fetch_or(&hot.aside, reasons);
}

void sink_aside_remove(unsigned reasons)
{
    atomic_fetch_and(&hot.aside_frees, ~reasons);
    atomic_fetch_and(&hot.aside, ~reasons);
}

static void aside_start(bool off)
{
    sink_aside_add((sink_settings.sample > 1 ? SINK_SPECIAL : 0) |
                   (sink_settings.sites ? SINK_SITED : 0) | (off ? SINK_OFF : 0));
    sink_aside_remove(SINK_NOT_STARTED);
}

static bool starts_off(void)
{
    const char *start = environment(CAPTURE_ENV_START);
    return start && strcmp(start, "off") == 0;
}

static void on_toggle(int signal)
{
    (void)signal;
    sink_switch(SINK_WISH_OTHER);
}

/* The signal that starts and stops the recording. */
static void toggle_install(void)
{
    const char *number = environment(CAPTURE_ENV_SIGNAL);
    struct sigaction action = {.sa_handler = on_toggle, .sa_flags = SA_RESTART};
    if (number)
        sigaction((int)strtol(number, NULL, 10), &action, NULL);
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

/* Names sort by the time of start. */
static bool capture_name(const char *dir)
{
    int n = snprintf(capture_path, sizeof capture_path, "%s/%016llx-%d.capture", dir,
                     (unsigned long long)lane_ns(), (int)getpid());
    if (n >= 0 && (size_t)n < sizeof capture_path)
        return true;
    errno = ENAMETOOLONG;
    return false;
}

/* Creates the capture and fills in its header, but for the magic. */
static struct capture_header *capture_open(const char *dir)
{
    struct timespec started;
    uint64_t offset;
    size_t bytes;
    if (!capture_name(dir) || !file_create(capture_path))
        return NULL;
    struct capture_header *h = file_map(CAPTURE_HEADER_BYTES, &offset);
    if (!h) {
        int error = errno;
        unlink(capture_path);
        errno = error;
        return NULL;
    }
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &started); /* the quick way needs the counter */
    h->header_bytes = CAPTURE_HEADER_BYTES;
    h->room_bytes = CAPTURE_ROOM_BYTES;
    h->started_s = started.tv_sec;
    h->pid = (uint32_t)getpid();
    h->lost_records = atomic_load(&early_calls);
    snprintf(h->recorder, sizeof h->recorder, "%s", CAPTURE_RECORDER);
    program_name(h->program, sizeof h->program);
    read_small_file("/proc/self/cmdline", h->command, sizeof h->command, &bytes);
    h->command_bytes = (uint32_t)bytes;
    return h;
}

static void put_cut(const struct lane *lane)
{
    sink_mark((struct record){.kind = CAPTURE_CUT,
                              .address = lane->id,
                              .size = (uint64_t)lane->sequence << 32 | lane->used});
}

/* A forked child that is not recorded, though it should be, counts itself where it can. */
static bool child_is_unseen(struct capture_header *of_ancestor)
{
    __atomic_fetch_add(&of_ancestor->unseen_children, 1, __ATOMIC_RELAXED);
    return false;
}

/* The folder and the wishes are remembered: a child must not depend on what the program did to its
 * environment. */
static bool child_start(void)
{
    char dir[PATH_MAX], parent[CAPTURE_NAME_BYTES];
    if (ancestors)
        return child_is_unseen(ancestors);
    if (!header || !child_is_wanted())
        return false; /* nor was the parent, perhaps */
    if (atomic_load(&sandbox_closed))
        return child_is_unseen(header); /* still the parent's */
    char *slash = strrchr(capture_path, '/');
    snprintf(parent, sizeof parent, "%s", slash + 1);
    snprintf(dir, sizeof dir, "%.*s", (int)(slash - capture_path), capture_path);
    struct capture_header *of_parent = header;
    uint32_t lanes = lanes_begun();
    lanes_forget();
    atomic_store(&full, false);
    atomic_store(&early_calls, 0);
    header = capture_open(dir);
    if (!header) {
        complain("cannot create", capture_path, strerrordesc_np(errno));
        ancestors = of_parent;
        return child_is_unseen(ancestors);
    }
    header->ticks_per_s = of_parent->ticks_per_s;
    header->record_ps = of_parent->record_ps;
    header->lanes_at_fork = lanes;
    header->fork_thread = self.number;
    memcpy(header->parent, parent, sizeof parent);
    header->by_counter = of_parent->by_counter;
    header->each = of_parent->each;
    header->sample = of_parent->sample;
    header->sites = of_parent->sites;
    munmap(of_parent, CAPTURE_HEADER_BYTES);
    header->started = lane_time();
    return true;
}

static bool image_start(void)
{
    const char *dir = environment(CAPTURE_ENV_DIR), *wish = environment(CAPTURE_ENV_ONLY);
    snprintf(only, sizeof only, "%s", wish ? wish : "");
    if (!dir || !only_matches())
        return false;
    if (!glibc_is_here()) {
        complain("its C library", "", "it is not glibc");
        return false;
    }
    if (sink_other_malloc) {
        complain("its malloc is not the recorder's, but that of", sink_other_malloc,
                 "it comes first");
        return false;
    }
    /* The first keys of a process are kept inside the thread's descriptor: setting them allocates
     * nothing. */
    thread_key_ok = pthread_key_create(&thread_key, thread_ends) == 0 && thread_key < 32;
    glibc_atfork(NULL, NULL, sink_child_begins, &glibc_dso);
    flush_folder(dir);
    header = capture_open(dir);
    if (!header) {
        /* Only a seccomp filter says ENOSYS, and who executed us in it has noted that; standard error is
         * the program's. */
        if (errno != ENOSYS)
            complain("cannot create", capture_path, strerrordesc_np(errno));
        return false;
    }
    settings_read(header);
    header->started = lane_time();
    header->record_ps = lane_cost();
    toggle_install();
    return true;
}

void *sink_wiped_map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (madvise(p, bytes, MADV_WIPEONFORK) != 0) { /* Linux 4.14 */
        munmap(p, bytes);
        return NULL;
    }
    return p;
}

/* Decides, once in a process image and once in each forked child. */
static int state_decide(bool is_child)
{
    bool on = is_child ? child_start() : image_start();
    if (on)
        aside_start(!is_child && starts_off());
    else
        sink_aside_add(SINK_NOT_STARTED);
    /* Before the first event, which asks for the state. */
    atomic_store(&wiped->state, on ? STATE_ON : STATE_OFF);
    if (on && is_child)
        lanes_cut(put_cut);
    if (on)
        __atomic_store_n(&header->magic, CAPTURE_MAGIC, __ATOMIC_RELEASE);
    return on ? STATE_ON : STATE_OFF;
}

static int sink_start_blocked(void)
{
    bool is_child = wiped != NULL;
    if (!is_child) {
        if (!environ) { /* called by the dynamic linker before the C library has started */
            atomic_fetch_add(&early_calls, 1);
            return STATE_UNKNOWN;
        }
        static _Atomic bool refused;
        if (atomic_load(&refused))
            return STATE_OFF;
        wiped = sink_wiped_map((size_t)sysconf(_SC_PAGESIZE));
        if (!wiped) {
            complain("no page that is wiped on fork (Linux 4.14 has them)", "",
                     strerrordesc_np(errno));
            atomic_store(&refused, true);
            return STATE_OFF;
        }
    }
    while (atomic_flag_test_and_set_explicit(&wiped->starting, memory_order_acquire))
        sched_yield();
    int state = atomic_load(&wiped->state);
    if (state == STATE_UNKNOWN)
        state = state_decide(is_child);
    atomic_flag_clear_explicit(&wiped->starting, memory_order_release);
    return state;
}

__attribute__((noinline, cold)) static int sink_start(void)
{
    int error = errno;
    sigset_t before;
    signals_block(&before);
    int state = sink_start_blocked();
    signals_restore(&before);
    errno = error;
    return state;
}

bool sink_ready(void)
{
    int state = wiped ? atomic_load_explicit(&wiped->state, memory_order_acquire) : STATE_UNKNOWN;
    if (UNLIKELY(state == STATE_UNKNOWN))
        state = sink_start();
    return state == STATE_ON;
}

/* ---- events ---- */

void sink_mark(struct record r)
{
    lane_put_rest(lane_pack(r), r.address, r.size, NULL);
}

/*
 * One after another, so that what is noted is what is done. The stop is noted before calls pass
 * unseen, the start after: what is between the two may be incomplete, and nothing else. The clock
 * moves on, so that no event of afterwards has the stop's stamp.
 */
static void switch_blocked(enum sink_wish wish)
{
    while (atomic_flag_test_and_set_explicit(&wiped->switching, memory_order_acquire)) {
        if (atomic_load(&sandbox_closed))
            return; /* signals are not blocked there: it may be ourselves who are interrupted */
        sched_yield();
    }
    bool off = atomic_load(&hot.aside) & SINK_OFF;
    if (off && wish != SINK_WISH_STOP) {
        sink_aside_remove(SINK_OFF);
        sink_mark((struct record){.kind = CAPTURE_START});
    } else if (!off && wish != SINK_WISH_START) {
        sink_mark((struct record){.kind = CAPTURE_STOP});
        lane_time();
        sink_aside_add(SINK_OFF);
    }
    atomic_flag_clear_explicit(&wiped->switching, memory_order_release);
}

void sink_switch(enum sink_wish wish)
{
    int error = errno;
    sigset_t before;
    if (!sink_ready())
        return;
    signals_block(&before);
    switch_blocked(wish);
    signals_restore(&before);
    errno = error;
}

bool sink_is_full(void)
{
    return wiped && atomic_load(&wiped->state) == STATE_ON && atomic_load(&full);
}

void sink_lost(enum capture_kind kind, uint64_t stamp)
{
    uint64_t none = 0;
    if (!atomic_exchange(&full, true) &&
        __atomic_compare_exchange_n(&header->lost.stamp, &none, stamp ? stamp : 1, false,
                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        header->lost.ns = lane_time().ns;
    if (capture_is_call(kind))
        __atomic_fetch_add(&header->lost_records, 1, __ATOMIC_RELAXED);
}

void sink_count_nested(void)
{
    __atomic_fetch_add(&header->nested_calls, 1, __ATOMIC_RELAXED);
}

void sink_count_siteless(void)
{
    __atomic_fetch_add(&header->siteless_calls, 1, __ATOMIC_RELAXED);
}

void sink_count_skipped(void)
{
    __atomic_fetch_add(&header->skipped_calls, 1, __ATOMIC_RELAXED);
}
