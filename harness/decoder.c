/*
 * decoder.c - see decoder.h. A process and not a thread, so that nothing of the decoding lies on a
 * heap under test, in the cell's resident memory, or among its threads.
 */
#include "harness/decoder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "harness/child_tie.h"
#include "harness/decode.h"

static void child_start(char *const argv[], int trace_fd, pid_t session)
{
    child_tie(session);
    fcntl(trace_fd, F_SETFD, 0);
    execv("/proc/self/exe", argv);
    _exit(127);
}

int decoder_start(struct decoder_process *d, int trace_fd, const char *name,
                  const struct plan *header, struct error *err)
{
    struct ring_shape shape = decode_shape(header);
    char ring[16], trace[16];
    if (ring_create(&shape, &d->ring_fd, err))
        return -1;
    if (ring_map(&d->watcher, d->ring_fd, RING_WATCHER, err)) {
        close(d->ring_fd);
        return -1;
    }
    snprintf(ring, sizeof ring, "%d", d->ring_fd);
    snprintf(trace, sizeof trace, "%d", trace_fd);
    char *argv[] = {"alloclab", "decode", ring, trace, (char *)name, NULL};
    pid_t session = getpid();
    d->pid = fork();
    if (d->pid == 0)
        child_start(argv, trace_fd, session);
    if (d->pid > 0)
        return 0;
    error_set(err, "the decoder could not start: %s", strerror(errno));
    ring_unmap(&d->watcher);
    close(d->ring_fd);
    return -1;
}

void decoder_watch(struct decoder_process *d)
{
    char why[128];
    int status;
    if (d->pid <= 0 || waitpid(d->pid, &status, WNOHANG) != d->pid)
        return;
    d->pid = 0;
    if (WIFSIGNALED(status))
        snprintf(why, sizeof why, "the decoder ended: %s", strsignal(WTERMSIG(status)));
    else
        snprintf(why, sizeof why, "the decoder ended with exit status %d", WEXITSTATUS(status));
    ring_fail(&d->watcher, why); /* unless it has said why itself */
}

/* Of this program alone: what the kernel says at its end counts the session's copy before exec. */
static uint64_t peak_resident(pid_t pid)
{
    static const char key[] = "VmHWM:";
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = 0;
    const char *line = strstr(text, key);
    return line ? strtoull(line + sizeof key - 1, NULL, 10) << 10 : 0;
}

uint64_t decoder_end(struct decoder_process *d)
{
    uint64_t peak = d->pid > 0 ? peak_resident(d->pid) : 0;
    if (d->pid > 0) {
        kill(d->pid, SIGKILL);
        while (waitpid(d->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    ring_unmap(&d->watcher);
    close(d->ring_fd);
    return peak;
}
