/*
 * hostile.c - what servers do to what they inherited, before they work (4000 allocations of 600 to 699 bytes, the
 * same in a forked child): `closes` closes every descriptor, `jail` changes its root folder and its user, `limit`
 * lets no file grow, `errno` and `kill` enter a seccomp sandbox that refuses, or kills for, all that the work
 * does not need, and `files` one that kills for what has to do with files; `refused` fails to enter one; `reads`
 * enters one that lets it make no files and starts the second argument there; `strict` enters the oldest one, and
 * `timeless` may not read the time stamp counter. The third argument is the number of allocations.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void work(int rounds)
{
    void *blocks[64] = {0};
    for (int i = 0; i < rounds; i++) {
        free(blocks[i % 64]);
        blocks[i % 64] = malloc(600 + i % 100);
    }
    for (int i = 0; i < 64; i++)
        free(blocks[i]);
}

#define ON(call, action)                                                                           \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, action)
#define ALLOW(call) ON(call, SECCOMP_RET_ALLOW)
#define KILL(call)  ON(call, SECCOMP_RET_KILL_PROCESS)
#define NUMBER      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))

static int enter(struct sock_filter *code, unsigned count, int by_syscall)
{
    struct sock_fprog filter = {count, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -1;
    return by_syscall ? (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter)
                      : prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

static int sandbox(unsigned refusal, int by_syscall)
{
    struct sock_filter code[] = {
        NUMBER,      ALLOW(brk),  ALLOW(mmap),       ALLOW(munmap),
        ALLOW(write), ALLOW(futex), ALLOW(exit_group), BPF_STMT(BPF_RET | BPF_K, refusal),
    };
    return enter(code, sizeof code / sizeof *code, by_syscall);
}

/* All but files. */
static int sandbox_of_files(void)
{
    struct sock_filter code[] = {
        NUMBER,         KILL(openat), KILL(fallocate),
        KILL(pwritev),  KILL(fcntl),  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    return enter(code, sizeof code / sizeof *code, 1);
}

/* Files are read, and no system call but open says no: as for the helpers of man. */
static int sandbox_of_readers(void)
{
    struct sock_filter code[] = {
        NUMBER,
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_ACCMODE, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        NUMBER,
        KILL(faccessat),
        KILL(faccessat2),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    return enter(code, sizeof code / sizeof *code, 1);
}

/* Three ways to start it, the last one without a recorder, and one that fails. */
static int start_sandboxed(char *program)
{
    char *words[] = {program, NULL}, *nothing[] = {NULL};
    int status, failed = 0;
    for (int way = 0; way < 4; way++) {
        pid_t pid = fork();
        if (pid == 0) {
            if (way == 0)
                execvp(strrchr(program, '/') + 1, words);
            else if (way == 1)
                execv(program, words);
            else if (way == 2)
                execve(program, words, nothing);
            else
                execv("/no/such", words);
            _exit(way == 3 ? 0 : 9);
        }
        failed |= waitpid(pid, &status, 0) != pid || status != 0;
    }
    return failed;
}

int main(int argc, char **argv)
{
    static const struct rlimit small = {4096, 4096};
    const char *how = argc > 1 ? argv[1] : "";
    int failed = 0, sandboxed = 0;
    work(100);
    if (!strcmp(how, "closes"))
        for (int fd = 3; fd < 4096; fd++)
            close(fd);
    else if (!strcmp(how, "jail"))
        failed = chroot(argv[2]) || chdir("/") || setgid(65534) || setuid(65534);
    else if (!strcmp(how, "limit"))
        failed = setrlimit(RLIMIT_FSIZE, &small);
    else if (!strcmp(how, "errno"))
        failed = sandbox(SECCOMP_RET_ERRNO | EPERM, 0), sandboxed = 1;
    else if (!strcmp(how, "kill"))
        failed = sandbox(SECCOMP_RET_KILL_PROCESS, 1), sandboxed = 1;
    else if (!strcmp(how, "files"))
        failed = sandbox_of_files();
    else if (!strcmp(how, "refused")) /* the kernel knows no such mode: there is no sandbox */
        failed = prctl(PR_SET_SECCOMP, 77, 0) == 0;
    else if (!strcmp(how, "strict"))
        failed = prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT), sandboxed = 1;
    else if (!strcmp(how, "timeless"))
        failed = prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
    else if (!strcmp(how, "reads"))
        failed = sandbox_of_readers() || start_sandboxed(argv[2]), sandboxed = 1;
    else
        return 2;
    if (failed)
        return 3;
    work(argc > 3 ? atoi(argv[3]) : 4000);
    if (!sandboxed) {
        int status = 0;
        pid_t pid = fork();
        if (pid == 0) {
            work(1000);
            _exit(0);
        }
        failed = waitpid(pid, &status, 0) != pid || status != 0;
    }
    static const char done[] = "done\n";
    failed |= write(1, done, sizeof done - 1) < 0;
    if (!strcmp(how, "strict")) /* it knows no other exit */
        syscall(SYS_exit, failed);
    return failed;
}
