/*
 * bursts.c - waits for a line on standard input, fills many rooms of the recorder, and prints how many blocks
 * it has allocated and freed and how many bytes it has written to files meanwhile, which is what the recorder
 * wrote in it. Then it ends, or, told so, waits to be killed, or leaves a child that goes on for a minute and whose
 * number it prints too. Every thread waits, if told so, until another process has written what it has handed
 * over (traces/recorder/flush.h).
 *
 * usage: bursts end|stay|leave wait|go alone|fork|threads
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "traces/recorder/flush.h"

enum { BURSTS = 40, WAITED = 10, CALLS = 5000, THREADS = 3 };

static struct flush_desk *desk; /* NULL: nothing to wait for */
static int bursts = BURSTS;

static void desk_find(void)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("ALLOCLAB_RECORD_DIR"), FLUSH_DESK);
    int fd = open(path, O_RDWR);
    desk = mmap(NULL, sizeof *desk, PROT_READ, MAP_SHARED, fd, 0);
    if (fd < 0 || desk == MAP_FAILED)
        exit(3);
    close(fd);
}

static void desk_wait(void)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    int patience = 200000;
    for (int seat = 0; desk && seat < FLUSH_SEATS; seat++)
        for (int i = 0; i < FLUSH_ENTRIES; i++)
            while (!flush_is_clear(&desk->seat[seat].entries[i]))
                if (nanosleep(&pause, NULL) || patience-- == 0)
                    exit(4);
}

static void *work(void *arg)
{
    for (int burst = 0; burst < bursts; burst++) {
        for (int i = 0; i < CALLS; i++)
            free(malloc((size_t)i));
        desk_wait();
    }
    return arg;
}

static long long written(void)
{
    char text[1024];
    int fd = open("/proc/self/io", O_RDONLY);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    return atoll(strstr(text, "wchar: ") + 7);
}

int main(int argc, char **argv)
{
    char text[64];
    pthread_t threads[THREADS];
    int fork_too = !strcmp(argv[3], "fork"), many = !strcmp(argv[3], "threads"), calls;
    if (!strcmp(argv[2], "wait"))
        desk_find();
    bursts =
        desk ? WAITED : BURSTS; /* who writes for us may have to wait long for an idle processor */
    calls = CALLS * bursts;
    if (write(1, "ready\n", 6) != 6 || read(0, text, sizeof text) <= 0)
        return 2;
    long long before = written();
    work(NULL);
    pid_t child =
        fork_too ? fork() : -1; /* what the parent has handed over may not be written yet */
    for (int i = 0; many && i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, NULL);
    if (!many)
        work(NULL);
    for (int i = 0; many && i < THREADS; i++)
        pthread_join(threads[i], NULL);
    if (child == 0)
        _exit(0);
    if (child > 0)
        wait(NULL);
    int begun[2] = {-1, -1}, leaves = !strcmp(argv[1], "leave");
    if (leaves && pipe(begun) != 0)
        return 2;
    int left = leaves ? fork() : 0;
    if (leaves && left == 0) {
        signal(SIGPIPE, SIG_IGN);
        setsid();
        alarm(60);
        for (close(begun[0]);; write(begun[1], "", 1))
            work(NULL);
    }
    if (left && read(begun[0], text, 1) != 1)
        return 2;
    int n = snprintf(text, sizeof text, "%d %lld %d\n", calls * (many ? 1 + THREADS : 2),
                     written() - before, left);
    if (write(1, text, (size_t)n) != n)
        return 2;
    while (!strcmp(argv[1], "stay"))
        pause();
    return 0;
}
