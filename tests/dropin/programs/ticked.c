/*
 * ticked.c - frees a lot, then does nothing but look whether the memory goes back to the kernel:
 * only background work can do that. With "fork" it does so in a child, which has only the thread
 * that forked. Exit status 0: it went back; 3: it did not in the time given.
 */
#include <dirent.h>
#include <sys/wait.h>

#include "tests/dropin/programs/check.h"

enum { OBJECTS = 40000, BYTES = 1000 };

static void *object[OBJECTS];

static long resident_pages(void)
{
    long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f && fscanf(f, "%ld %ld", &total, &resident) == 2);
    fclose(f);
    return resident;
}

/* Whether a thread of that name is there, and blocks all signals that can be blocked. */
static int ticker_blocks(void)
{
    char path[300], text[4096], *line;
    int found = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *e = readdir(tasks); e; e = readdir(tasks)) {
        snprintf(path, sizeof path, "/proc/self/task/%s/status", e->d_name);
        FILE *f = fopen(path, "r");
        size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
        text[n] = 0;
        if (f)
            fclose(f);
        if (n && strstr(text, "alloclab-tick") && (line = strstr(text, "SigBlk:")))
            found = (strtoull(line + 7, NULL, 16) & 0x7ffbfeffu) == 0x7ffbfeffu;
    }
    closedir(tasks);
    return found;
}

static int watch(long wanted, double seconds)
{
    for (double t = 0; t < seconds; t += 0.01) {
        if (resident_pages() < wanted) {
            CHECK(ticker_blocks());
            return 0;
        }
        usleep(10000);
    }
    return 3;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    int forks = argc > 2 && !strcmp(argv[2], "fork"), status;
    for (int i = 0; i < OBJECTS; i++)
        CHECK(object[i] = memset(malloc(BYTES), 1, BYTES));
    pid_t pid = forks ? fork() : 0;
    if (pid) {
        CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
        return WEXITSTATUS(status);
    }
    long half = (long)OBJECTS * BYTES / sysconf(_SC_PAGESIZE) / 2;
    long wanted = resident_pages() - half;
    for (int i = 0; i < OBJECTS; i++)
        free(object[i]);
    return watch(wanted, seconds);
}
