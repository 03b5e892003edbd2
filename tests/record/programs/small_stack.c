/*
 * small_stack.c - starts programs from threads whose stack is the smallest that there may be: by posix_spawnp, by execlp after
 * vfork, and by a relative path after fork. Says how many of them ended well. Run it in the folder of `true`.
 */
#include <limits.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int well;

static void ended(pid_t pid)
{
    int status;
    well += waitpid(pid, &status, 0) == pid && status == 0;
}

static void *starts(void *arg)
{
    char *const words[] = {"true", NULL};
    pid_t pid;
    (void)arg;
    if (posix_spawnp(&pid, "true", NULL, NULL, words, environ) == 0)
        ended(pid);
    pid = vfork();
    if (pid == 0) {
        execlp("true", "true", (char *)NULL);
        _exit(1);
    }
    ended(pid);
    pid = fork();
    if (pid == 0) {
        execv("./true", words);
        _exit(1);
    }
    ended(pid);
    return NULL;
}

int main(void)
{
    pthread_attr_t small;
    pthread_t thread;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, PTHREAD_STACK_MIN);
    if (pthread_create(&thread, &small, starts, NULL) != 0)
        return 1;
    pthread_join(thread, NULL);
    printf("%d of 3\n", well);
    return 0;
}
