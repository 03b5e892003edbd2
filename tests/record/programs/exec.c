/*
 * exec.c - becomes itself with an argument, by way of a spawned process as well. Each image makes
 * one block, whose size tells which it is.
 */
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv)
{
    char *second[] = {argv[0], "exec", NULL}, *spawned[] = {argv[0], "spawn", NULL};
    pid_t pid;
    void *volatile p = malloc(argc == 1 ? 5000 : strcmp(argv[1], "exec") == 0 ? 5001 : 5002);
    (void)p;
    if (argc > 1)
        return 0;
    if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, spawned, environ) != 0)
        return 1;
    waitpid(pid, NULL, 0);
    execv("/proc/self/exe", second);
    return 1;
}
