/*
 * fork.c - a process with two live blocks forks by three ways: fork(), a bare clone system call,
 * which the C library does not see, and vfork. Children free one inherited block and leave one of
 * their own; a grandchild does it again.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void *inherited, *other;

static void child(size_t size)
{
    void *volatile own = malloc(size);
    (void)own;
    free(inherited);
}

int main(void)
{
    void *gone = malloc(4000);
    inherited = malloc(4001);
    other = malloc(4002);
    free(gone);
    other = realloc(other, 4003);

    pid_t pid = fork();
    if (pid == 0) {
        child(4100);
        if (fork() == 0) {
            free(other);
            _exit(0);
        }
        wait(NULL);
        _exit(0);
    }
    waitpid(pid, NULL, 0);

    pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        child(4200);
        _exit(0);
    }
    waitpid(pid, NULL, 0);

    pid = vfork();
    if (pid == 0) {
        free(malloc(4300)); /* in the parent's heap */
        _exit(0);
    }
    waitpid(pid, NULL, 0);

    free(inherited);
    free(other);
    return 0;
}
