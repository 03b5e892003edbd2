/*
 * transform.c - what transforms share; see transforms/transform.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "traces/transforms/transform.h"

static int range_refuse(const char *owner, const char *name, const char *text, struct error *err)
{
    return error_set(err,
                     "%s: option %s=%.100s: give FROM:TO, whole numbers, FROM less than TO; "
                     "either may be absent",
                     owner, name, text);
}

/* A number up to `end`, or `absent`; false: something else. */
static bool bound_parse(const char *text, const char *end, uint64_t absent, uint64_t *value)
{
    char *after;
    *value = absent;
    if (text == end)
        return true;
    errno = 0;
    if (*text >= '0' && *text <= '9')
        *value = strtoull(text, &after, 10);
    else
        return false;
    return after == end && !errno;
}

int transform_range(const char *owner, const char *name, const char *text, uint64_t *from,
                    uint64_t *to, struct error *err)
{
    const char *colon = strchr(text, ':');
    if (!colon || !bound_parse(text, colon, 0, from) ||
        !bound_parse(colon + 1, colon + strlen(colon), UINT64_MAX, to) || *from >= *to)
        return range_refuse(owner, name, text, err);
    return 0;
}

uint64_t transform_hash(uint64_t number, uint64_t seed)
{
    return XXH64(&number, sizeof number, seed);
}

void transform_say(const struct transform_job *job, const char *key, uint64_t value)
{
    fprintf(job->report, "%-18s %" PRIu64 "\n", key, value);
}
