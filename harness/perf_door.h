/*
 * perf_door.h - the four calls by which the kernel's counters are reached, as pointers: a test puts
 * scripted replies in their place, since what a PMU answers cannot be had on every machine.
 */
#ifndef ALLOCLAB_PERF_DOOR_H
#define ALLOCLAB_PERF_DOOR_H

#include <perfmon/perf_event.h>
#include <sys/types.h>

struct perf_door {
    /* A file descriptor for a counter of one thread (0 = the caller), in the group of another
       (-1 = a group of its own), or -errno. */
    int (*open)(void *ctx, struct perf_event_attr *attr, pid_t thread, int group);
    ssize_t (*read)(void *ctx, int fd, void *buffer, size_t bytes);           /* bytes, or -errno */
    int (*control)(void *ctx, int fd, unsigned long request, void *argument); /* 0 or -errno */
    void (*close)(void *ctx, int fd);
    void *ctx;
};

extern const struct perf_door perf_door_kernel;

/* What the kernel allows (kernel.perf_event_paranoid); -1 is also what a kernel without it gives:
   nothing forbidden. */
int perf_paranoid(void);

#endif
