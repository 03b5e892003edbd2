/*
 * plan.c - a finished plan as cells see it: mapped read-only, checked for being a plan, and
 * pre-faulted, so that no page fault of the harness's own falls into a measured pass. Building is
 * in plan_build.c.
 */
#include "harness/plan.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int plan_header(int fd, struct plan *header, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st))
        return error_set(err, "plan: descriptor %d: %s", fd, strerror(errno));
    if (pread(fd, header, sizeof *header, 0) != (ssize_t)sizeof *header)
        return error_set(err, "plan: descriptor %d holds %lld bytes: not a plan", fd,
                         (long long)st.st_size);
    if (header->magic != PLAN_MAGIC || header->bytes != (uint64_t)st.st_size)
        return error_set(
            err, "plan: descriptor %d: wrong magic or size: not a plan of this version", fd);
    return 0;
}

const struct plan *plan_map(int fd, struct error *err)
{
    struct plan header;
    if (plan_header(fd, &header, err))
        return NULL;
    const struct plan *plan = mmap(NULL, header.bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (plan == MAP_FAILED) {
        error_set(err, "plan: cannot map %llu bytes: %s", (unsigned long long)header.bytes,
                  strerror(errno));
        return NULL;
    }
    return plan;
}

void plan_unmap(const struct plan *plan)
{
    munmap((void *)plan, plan->bytes);
}
