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

const struct plan *plan_map(int fd, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st)) {
        error_set(err, "plan: descriptor %d: %s", fd, strerror(errno));
        return NULL;
    }
    if ((size_t)st.st_size < sizeof(struct plan)) {
        error_set(err, "plan: descriptor %d holds %lld bytes: not a plan", fd,
                  (long long)st.st_size);
        return NULL;
    }
    const struct plan *plan =
        mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (plan == MAP_FAILED) {
        error_set(err, "plan: cannot map %lld bytes: %s", (long long)st.st_size, strerror(errno));
        return NULL;
    }
    if (plan->magic != PLAN_MAGIC || plan->bytes != (uint64_t)st.st_size) {
        munmap((void *)plan, (size_t)st.st_size);
        error_set(err, "plan: descriptor %d: wrong magic or size: not a plan of this version", fd);
        return NULL;
    }
    return plan;
}

void plan_unmap(const struct plan *plan)
{
    munmap((void *)plan, plan->bytes);
}
