/*
 * perf_door.c - the kernel's side of perf_door.h.
 */
#include "harness/perf_door.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int kernel_open(void *ctx, struct perf_event_attr *attr, pid_t thread, int group)
{
    (void)ctx;
    int fd = (int)syscall(SYS_perf_event_open, attr, thread, -1, group, (long)PERF_FLAG_FD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static ssize_t kernel_read(void *ctx, int fd, void *buffer, size_t bytes)
{
    (void)ctx;
    ssize_t got = read(fd, buffer, bytes);
    return got < 0 ? -errno : got;
}

static int kernel_control(void *ctx, int fd, unsigned long request, void *argument)
{
    (void)ctx;
    return ioctl(fd, request, argument) < 0 ? -errno : 0;
}

static void kernel_close(void *ctx, int fd)
{
    (void)ctx;
    close(fd);
}

const struct perf_door perf_door_kernel = {
    .open = kernel_open, .read = kernel_read, .control = kernel_control, .close = kernel_close};

int perf_paranoid(void)
{
    char text[16] = "";
    int fd = open("/proc/sys/kernel/perf_event_paranoid", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    return got > 0 ? atoi(text) : -1;
}
