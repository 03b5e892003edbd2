/*
 * exec.c - notes what the program starts, so that a process of the tree that is not recorded (it is
 * static, or setuid, or was started without us) does not go unmentioned. `record` compares the notes
 * with the captures, and says which are missing and why.
 *
 * The calls pass through unchanged. Notes are lines of a file beside the captures, each written at
 * once; where it cannot be opened there are none. All of it runs in a vfork child too, whose memory
 * is its parent's: nothing is allocated, and nothing but the stack is written. What the C library
 * starts itself (system, popen) is a shell, whose own notes tell the rest.
 */
#include <alloca.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
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

static char notes_path[PATH_MAX];

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

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static const char *preload_word(char *const *environment)
{
    const char *preload = sink_environment(environment, "LD_PRELOAD");
    return preload && strstr(preload, CAPTURE_LIBRARY) ? CAPTURE_EXEC_WITH : CAPTURE_EXEC_WITHOUT;
}

static void note(pid_t pid, uint64_t ns, const char *word, const char *path)
{
    char line[PATH_MAX * 2 + 64], folder[PATH_MAX] = "";
    int error = errno;
    int fd = *notes_path && !atomic_load(&sandbox_closed)
                 ? file_open(notes_path, O_WRONLY | O_APPEND)
                 : -1;
    if (fd >= 0) {
        if (*path != '/' && syscall(SYS_getcwd, folder, sizeof folder) < 0)
            *folder = 0;
        int n = snprintf(line, sizeof line, "%d %llu %s %s%s%s\n", (int)pid, (unsigned long long)ns,
                         word, folder, *folder ? "/" : "", path);
        if (n > 0 && (size_t)n < sizeof line)
            syscall(SYS_write, fd, line, (size_t)n);
        file_close(fd);
    }
    errno = error;
}

/* Where a name without a slash is found, as execvp and posix_spawnp look for it. */
static const char *found(const char *name, char room[PATH_MAX])
{
    const char *path = sink_environment(environ, "PATH");
    if (strchr(name, '/'))
        return name;
    for (const char *at = path ? path : "/bin:/usr/bin"; *at;
         at += strcspn(at, ":"), at += *at == ':') {
        int n = snprintf(room, PATH_MAX, "%.*s/%s", (int)strcspn(at, ":"), at, name);
        if (n > 0 && n < PATH_MAX && faccessat(AT_FDCWD, room, X_OK, 0) == 0)
            return room;
    }
    return name;
}

static void note_exec(const char *path, char *const *environment)
{
    note(getpid(), now_ns(), preload_word(environment), path);
}

/* The call returned, so nothing was started. */
static int note_failure(int status)
{
    note(getpid(), now_ns(), CAPTURE_EXEC_FAILED, "/");
    return status;
}

static int exec_by_path(const char *path, char *const *argv, char *const *environment)
{
    if (!next.execve)
        resolve();
    note_exec(path, environment);
    return note_failure(next.execve(path, argv, environment));
}

static int exec_by_name(const char *name, char *const *argv, char *const *environment)
{
    char room[PATH_MAX];
    if (!next.execve)
        resolve();
    int error = errno;
    const char *path = found(name, room);
    errno = error;
    note_exec(path, environment);
    return note_failure(next.execvpe(name, argv, environment));
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

/* The path of an open file. */
static const char *path_of(int fd, char room[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, room, PATH_MAX - 1);
    room[n > 0 ? n : 0] = 0;
    return n > 0 ? room : "unknown";
}

RECORDER_EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
    char room[PATH_MAX];
    if (!next.execve)
        resolve();
    note_exec(path_of(fd, room), envp);
    return note_failure(next.fexecve(fd, argv, envp));
}

RECORDER_EXPORT int execveat(int fd, const char *path, char *const argv[], char *const envp[],
                             int flags)
{
    char room[PATH_MAX];
    if (!next.execve)
        resolve();
    note_exec(!*path ? path_of(fd, room) : path, envp);
    return note_failure(next.execveat(fd, path, argv, envp, flags));
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

/* Without a PID from the caller, the note needs one all the same. */
static int spawned(int error, pid_t pid, pid_t *wanted, uint64_t before, const char *path,
                   char *const *environment)
{
    if (error == 0) {
        note(pid, before, preload_word(environment), path);
        if (wanted)
            *wanted = pid;
    }
    return error;
}

RECORDER_EXPORT int posix_spawn(pid_t *pid, const char *path,
                                const posix_spawn_file_actions_t *actions,
                                const posix_spawnattr_t *attributes, char *const argv[],
                                char *const envp[])
{
    if (!next.execve)
        resolve();
    uint64_t before = now_ns();
    pid_t own = 0;
    int error = next.posix_spawn(&own, path, actions, attributes, argv, envp);
    return spawned(error, own, pid, before, path, envp);
}

RECORDER_EXPORT int posix_spawnp(pid_t *pid, const char *name,
                                 const posix_spawn_file_actions_t *actions,
                                 const posix_spawnattr_t *attributes, char *const argv[],
                                 char *const envp[])
{
    char room[PATH_MAX];
    if (!next.execve)
        resolve();
    int before_errno = errno;
    const char *path = found(name, room);
    errno = before_errno;
    uint64_t before = now_ns();
    pid_t own = 0;
    int error = next.posix_spawnp(&own, name, actions, attributes, argv, envp);
    return spawned(error, own, pid, before, path, envp);
}
