/*
 * spawns.c - starts `program` (the first argument) in every way there is, from several threads at once:
 * posix_spawn and vfork + exec in threads, then each exec function in a forked child.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char *program, *arguments[] = {"program", "one", NULL};

enum { THREADS = 4, ROUNDS = 5, WAYS = 9 };

static int wait_ok(pid_t pid)
{
    int status = -1;
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static void *spawner(void *arg)
{
    long ok = 0;
    for (int i = 0; i < ROUNDS; i++) {
        pid_t pid = 0;
        free(malloc(100 + i));
        if (posix_spawn(&pid, program, NULL, NULL, arguments, environ) == 0)
            ok += wait_ok(pid);
        pid = vfork();
        if (pid == 0) {
            execv(program, arguments);
            _exit(1);
        }
        ok += wait_ok(pid);
        ok += posix_spawn(NULL, "/no/such", NULL, NULL, arguments, environ) != 0;
    }
    return (void *)ok;
}

static void become(int way)
{
    int fd = open(program, O_RDONLY | O_CLOEXEC);
    switch (way) {
    case 0: execve(program, arguments, environ); break;
    case 1: execvp(program, arguments); break;
    case 2: execvpe(program, arguments, environ); break;
    case 3: execl(program, "program", "one", NULL); break;
    case 4: execlp(program, "program", "one", NULL); break;
    case 5: execle(program, "program", "one", NULL, environ); break;
    case 6: fexecve(fd, arguments, environ); break;
    case 7: execveat(fd, "", arguments, environ, AT_EMPTY_PATH); break;
    case 8:
        if (execl("/no/such", "x", NULL) == -1)
            execl(program, "program", "one", (char *)NULL);
    }
    _exit(1);
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    long ok = 0;
    program = argv[1];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, spawner, NULL);
    for (int i = 0; i < THREADS; i++) {
        void *value;
        pthread_join(threads[i], &value);
        ok += (long)value;
    }
    for (int way = 0; way < WAYS; way++) {
        pid_t pid = fork();
        if (pid == 0)
            become(way);
        ok += wait_ok(pid);
    }
    printf("%ld of %d\n", ok, THREADS * ROUNDS * 3 + WAYS);
    return argc != 2;
}
