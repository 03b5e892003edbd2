/*
 * exec.c - notes what the program starts, so that a process of the tree that is not recorded (it is
 * static, or setuid, or was started without us) does not go unmentioned. `record` compares the notes
 * with the captures, and says which are missing and why.
 *
 * The calls pass through unchanged. Notes are lines of a file beside the captures, each written at
 * once; where it cannot be opened there are none. All of it runs in a vfork child too, whose memory
 * is its parent's: nothing is allocated, and nothing but the stack is written; little of that, because
 * a thread may have no more than 16 KiB, and none while the program's own call runs. What the C library
 * starts itself (system, popen) is a shell, whose own notes tell the rest.
 *
 * A process in a seccomp sandbox can open nothing, and what it executes may not be able to make a capture: its
 * notes go into a piece of a second file that was mapped before, which its children share.
 */
#include <alloca.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "traces/recorder/calls.h"
#include "traces/recorder/file.h"
#include "traces/recorder/sandbox.h"

static struct {
    int (*execve)(const char *, char *const[], char *const[]);
    int (*execvpe)(const char *, char *const[], char *const[]);
    int (*fexecve)(int, char *const[], char *const[]);
    int (*execveat)(int, const char *, char *const[], char *const[], int);
    int (*posix_spawn)(pid_t *, const char *, const posix_spawn_file_actions_t *,
                       const posix_spawnattr_t *, char *const[], char *const[]);
    int (*posix_spawnp)(pid_t *, const char *, const posix_spawn_file_actions_t *,
                        const posix_spawnattr_t *, char *const[], char *const[]);
} next;

enum { CLOSED_BYTES = 64 << 10 };

static char notes_path[PATH_MAX];

static struct closed_notes {
    char text[CLOSED_BYTES - sizeof(uint64_t)];
    _Atomic uint64_t used;
} * closed_notes;

static void resolve(void)
{
    *(void **)&next.execvpe = call_lookup("execvpe", NULL);
    *(void **)&next.fexecve = call_lookup("fexecve", NULL);
    *(void **)&next.execveat = call_lookup("execveat", NULL);
    *(void **)&next.posix_spawn = call_lookup("posix_spawn", NULL);
    *(void **)&next.posix_spawnp = call_lookup("posix_spawnp", NULL);
    *(void **)&next.execve = call_lookup("execve", NULL); /* last: it says that all are there */
}

/* The folder is remembered: the program may change its environment. */
__attribute__((constructor)) static void notes_start(void)
{
    const char *folder = sink_environment(environ, CAPTURE_ENV_DIR);
    if (!next.execve)
        resolve();
    if (folder)
        snprintf(notes_path, sizeof notes_path, "%s/" CAPTURE_EXECS, folder);
}

/* ---- notes ---- */

static bool has_recorder(char *const *environment)
{
    const char *preload = sink_environment(environment, "LD_PRELOAD");
    return preload && strstr(preload, CAPTURE_LIBRARY);
}

static const char *preload_word(char *const *environment)
{
    if (!has_recorder(environment))
        return CAPTURE_EXEC_WITHOUT;
    return atomic_load(&sandbox_closed) ? CAPTURE_EXEC_CLOSED : CAPTURE_EXEC_WITH;
}

/* In a sandbox only if the new image will ask for it as well; else 0, the number of none. */
static pid_t own_pid(char *const *environment)
{
    return atomic_load(&sandbox_closed) && !has_recorder(environment) ? 0 : getpid();
}

void notes_prepare(void)
{
    char path[PATH_MAX + 64];
    if (!*notes_path || closed_notes)
        return;
    snprintf(path, sizeof path, "%s-%d-%llu", notes_path, (int)getpid(),
             (unsigned long long)lane_ns());
    int fd = file_open(path, O_RDWR | O_CREAT | O_EXCL);
    if (fd < 0)
        return;
    if (syscall(SYS_fallocate, fd, 0L, 0L, (long)sizeof *closed_notes) == 0) {
        void *map = mmap(NULL, sizeof *closed_notes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        closed_notes = map != MAP_FAILED ? map : NULL;
    }
    file_close(fd);
}

static void note_closed(const char *start, const char *path)
{
    size_t head = strlen(start), bytes = head + strlen(path) + 1;
    if (!closed_notes)
        return;
    uint64_t at = atomic_fetch_add(&closed_notes->used, bytes);
    if (at > sizeof closed_notes->text || bytes > sizeof closed_notes->text - at)
        return;
    memcpy(closed_notes->text + at, start, head);
    memcpy(closed_notes->text + at + head, path, bytes - head - 1);
    closed_notes->text[at + bytes - 1] = '\n';
}

static void note_write(const char *start, const char *folder, const char *path)
{
    struct iovec parts[] = {{(void *)(uintptr_t)start, strlen(start)},
                            {(void *)(uintptr_t)folder, strlen(folder)},
                            {"/", *folder != 0},
                            {(void *)(uintptr_t)path, strlen(path)},
                            {"\n", 1}};
    int fd = file_open(notes_path, O_WRONLY | O_APPEND);
    if (fd < 0)
        return;
    syscall(SYS_writev, fd, parts, sizeof parts / sizeof *parts);
    file_close(fd);
}

static __attribute__((noinline)) void note_relative(const char *start, const char *path)
{
    char folder[PATH_MAX];
    if (syscall(SYS_getcwd, folder, sizeof folder) < 0)
        *folder = 0;
    note_write(start, folder, path);
}

static void note(pid_t pid, uint64_t ns, const char *word, const char *path)
{
    char start[64];
    int error = errno;
    snprintf(start, sizeof start, "%d %llu %s ", (int)pid, (unsigned long long)ns, word);
    if (atomic_load(&sandbox_closed)) {
        note_closed(start, path);
    } else if (*notes_path) {
        if (*path == '/')
            note_write(start, "", path);
        else
            note_relative(start, path);
    }
    errno = error;
}

/* The same for a program that is looked up as execvp and posix_spawnp do it. */
static __attribute__((noinline)) void note_found(pid_t pid, uint64_t ns, const char *word,
                                                 const char *name)
{
    const char *path = sink_environment(environ, "PATH");
    char room[PATH_MAX];
    *room = 0;
    int error = errno;
    bool is_there = strchr(name, '/') || atomic_load(&sandbox_closed);
    for (const char *at = path ? path : "/bin:/usr/bin"; *at && !is_there;
         at += strcspn(at, ":"), at += *at == ':') {
        int n = snprintf(room, sizeof room, "%.*s/%s", (int)strcspn(at, ":"), at, name);
        is_there = n > 0 && n < PATH_MAX && faccessat(AT_FDCWD, room, X_OK, 0) == 0;
    }
    if (!is_there)
        *room = 0;
    errno = error;
    note(pid, ns, word, *room ? room : name);
}

static void note_exec(const char *path, char *const *environment)
{
    note(own_pid(environment), lane_ns(), preload_word(environment), path);
}

/* The call returned, so nothing was started. */
static int note_failure(int status, char *const *environment)
{
    note(own_pid(environment), lane_ns(), CAPTURE_EXEC_FAILED, "/");
    return status;
}

static int exec_by_path(const char *path, char *const *argv, char *const *environment)
{
    if (!next.execve)
        resolve();
    note_exec(path, environment);
    return note_failure(next.execve(path, argv, environment), environment);
}

static int exec_by_name(const char *name, char *const *argv, char *const *environment)
{
    if (!next.execve)
        resolve();
    note_found(own_pid(environment), lane_ns(), preload_word(environment), name);
    return note_failure(next.execvpe(name, argv, environment), environment);
}

/* ---- the calls ---- */

RECORDER_EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
    return exec_by_path(path, argv, envp);
}

RECORDER_EXPORT int execv(const char *path, char *const argv[])
{
    return exec_by_path(path, argv, environ);
}

RECORDER_EXPORT int execvpe(const char *name, char *const argv[], char *const envp[])
{
    return exec_by_name(name, argv, envp);
}

RECORDER_EXPORT int execvp(const char *name, char *const argv[])
{
    return exec_by_name(name, argv, environ);
}

/* The program is an open file. */
static __attribute__((noinline)) void note_open_file(int fd, char *const *environment)
{
    char link[64], path[PATH_MAX];
    int error = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = atomic_load(&sandbox_closed) ? 0 : readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    errno = error;
    note_exec(n > 0 ? path : "unknown", environment);
}

RECORDER_EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
    if (!next.execve)
        resolve();
    note_open_file(fd, envp);
    return note_failure(next.fexecve(fd, argv, envp), envp);
}

RECORDER_EXPORT int execveat(int fd, const char *path, char *const argv[], char *const envp[],
                             int flags)
{
    if (!next.execve)
        resolve();
    if (*path)
        note_exec(path, envp);
    else
        note_open_file(fd, envp);
    return note_failure(next.execveat(fd, path, argv, envp, flags), envp);
}

/* The arguments of a call as an array on its stack, up to the NULL that ends them; `last` is read
 * after it. */
#define ARGUMENTS(argv, first, last)                                                               \
    va_list list, again;                                                                           \
    size_t count = 1;                                                                              \
    va_start(list, first);                                                                         \
    va_copy(again, list);                                                                          \
    while (va_arg(again, char *))                                                                  \
        count++;                                                                                   \
    va_end(again);                                                                                 \
    char **argv = alloca((count + 1) * sizeof *argv);                                              \
    argv[0] = (char *)(uintptr_t)(first);                                                          \
    for (size_t i = 1; i <= count; i++)                                                            \
        argv[i] = va_arg(list, char *);                                                            \
    last;                                                                                          \
    va_end(list)

RECORDER_EXPORT int execl(const char *path, const char *arg, ...)
{
    /* cppcheck-suppress allocaCalled ; a vfork child may not allocate, and arrays have fixed sizes */
    ARGUMENTS(argv, arg, (void)0);
    return exec_by_path(path, argv, environ);
}

RECORDER_EXPORT int execlp(const char *name, const char *arg, ...)
{
    /* cppcheck-suppress allocaCalled ; a vfork child may not allocate, and arrays have fixed sizes */
    ARGUMENTS(argv, arg, (void)0);
    return exec_by_name(name, argv, environ);
}

RECORDER_EXPORT int execle(const char *path, const char *arg, ...)
{
    char *const *environment;
    /* cppcheck-suppress allocaCalled ; a vfork child may not allocate, and arrays have fixed sizes */
    ARGUMENTS(argv, arg, environment = va_arg(list, char *const *));
    return exec_by_path(path, argv, environment);
}

RECORDER_EXPORT int posix_spawn(pid_t *pid, const char *path,
                                const posix_spawn_file_actions_t *actions,
                                const posix_spawnattr_t *attributes, char *const argv[],
                                char *const envp[])
{
    if (!next.execve)
        resolve();
    uint64_t before = lane_ns();
    pid_t own = 0; /* the note needs one, even if the caller does not */
    int error = next.posix_spawn(&own, path, actions, attributes, argv, envp);
    if (error)
        return error;
    note(own, before, preload_word(envp), path);
    if (pid)
        *pid = own;
    return 0;
}

RECORDER_EXPORT int posix_spawnp(pid_t *pid, const char *name,
                                 const posix_spawn_file_actions_t *actions,
                                 const posix_spawnattr_t *attributes, char *const argv[],
                                 char *const envp[])
{
    if (!next.execve)
        resolve();
    uint64_t before = lane_ns();
    pid_t own = 0;
    int error = next.posix_spawnp(&own, name, actions, attributes, argv, envp);
    if (error)
        return error;
    note_found(own, before, preload_word(envp), name);
    if (pid)
        *pid = own;
    return 0;
}
