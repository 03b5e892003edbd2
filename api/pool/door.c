/*
 * door.c - see door.h.
 */
#include "api/pool/door.h"

#include <errno.h>
#include <string.h>

#include "allocators/lib/os_policy.h"

int door_open(struct os **os, const struct alloclab_config *config, struct error *err)
{
    struct os_config door;
    if (os_config_read("memory", config->memory, &door, err))
        return EINVAL;
    door.commit_limit_bytes = config->commit_limit_bytes;
    *os = os_open(&door);
    if (*os)
        return 0;
    error_set(err, "no memory for a heap: %s", strerror(errno));
    return ENOMEM;
}

struct alloclab_memory door_usage(struct os *os)
{
    struct os_counts counts = os_counts(os);
    return (struct alloclab_memory){counts.reserved_bytes, counts.committed_bytes,
                                    counts.peak_reserved_bytes, counts.peak_committed_bytes};
}
