/*
 * session_args.c - see session_args.h.
 */
#include "harness/session_args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness/pass.h"
#include "harness/registry.h"

static int contender_add(struct session *s, const char *text, struct error *err)
{
    struct contender *grown = realloc(s->contenders, (s->contender_count + 1) * sizeof *grown);
    if (!grown)
        return error_set(err, "out of memory");
    s->contenders = grown;
    struct contender *c = &s->contenders[s->contender_count];
    c->text = text;
    if (spec_parse(text, &c->spec, err))
        return -1;
    for (unsigned i = 0; i < s->contender_count; i++)
        if (!strcmp(s->contenders[i].spec.name, c->spec.name) &&
            !strcmp(s->contenders[i].spec.options_text, c->spec.options_text)) {
            spec_free(&c->spec);
            return error_set(err, "-a: '%s' is the same as '%s'; name each design once", text,
                             s->contenders[i].text);
        }
    s->contender_count++;
    return 0;
}

static bool has_floor(const struct session *s)
{
    for (unsigned i = 0; i < s->contender_count; i++)
        if (s->contenders[i].spec.design->traits & ALLOCATOR_FAKE)
            return true;
    return false;
}

static int floor_add(struct session *s, struct error *err)
{
    for (int i = 0; allocators[i]; i++)
        if (allocators[i]->traits & ALLOCATOR_FAKE && contender_add(s, allocators[i]->name, err))
            return -1;
    return 0;
}

int session_contenders(struct session *s, const char *text, bool floor, struct error *err)
{
    for (int i = 0; !text && allocators[i]; i++)
        if (contender_add(s, allocators[i]->name, err))
            return -1;
    if (text) {
        char **list =
            spec_list_split(text, err); /* lives as long as the session: contenders point into it */
        if (!list)
            return -1;
        for (int i = 0; list[i]; i++)
            if (contender_add(s, list[i], err))
                return -1;
    }
    return floor && !has_floor(s) ? floor_add(s, err) : 0;
}

static int target_add(struct session *s, const char *text, struct error *err)
{
    struct target *grown = realloc(s->targets, (s->target_count + 1) * sizeof *grown);
    if (!grown)
        return error_set(err, "out of memory");
    s->targets = grown;
    struct target *t = &s->targets[s->target_count];
    if (target_open(t, text, s->seed, err))
        return -1;
    s->target_count++;
    for (unsigned i = 0; i + 1 < s->target_count; i++)
        if (!strcmp(s->targets[i].name, t->name))
            return error_set(err,
                             "-w: two workloads would be called '%s' in the results; give each "
                             "once, or rename a file",
                             t->name);
    return 0;
}

int session_targets(struct session *s, const char *text, struct error *err)
{
    char **list = spec_list_split(text, err);
    if (!list)
        return -1;
    for (int i = 0; list[i]; i++) {
        if (target_add(s, list[i], err)) {
            free(list);
            return -1;
        }
    }
    free(list);
    return 0;
}

int number_parse(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *value,
                 struct error *err)
{
    static const char suffixes[] = "kmg";
    char *end;
    errno = 0; /* strtoull would take blanks and a sign */
    unsigned long long number = strtoull(text, &end, 10);
    const char *suffix = *end ? strchr(suffixes, *end) : NULL;
    unsigned shift = suffix ? 10 * (unsigned)(suffix - suffixes + 1) : 0;
    if (suffix)
        end++;
    if (errno || end == text || *end || text[0] < '0' || text[0] > '9' ||
        number > UINT64_MAX >> shift || number << shift < min || number << shift > max)
        return error_set(err, "%s: '%s' is not a number from %llu to %llu", option, text,
                         (unsigned long long)min, (unsigned long long)max);
    *value = number << shift;
    return 0;
}

int choice_parse(const char *option, const char *text, const char *const names[], int *value,
                 struct error *err)
{
    char list[256] = "";
    for (int i = 0; names[i]; i++) {
        if (!strcmp(text, names[i])) {
            *value = i;
            return 0;
        }
        size_t length = strlen(list);
        snprintf(list + length, sizeof list - length, "%s%s", i ? ", " : "", names[i]);
    }
    return error_set(err, "%s: '%s' is not one of %s", option, text, list);
}

struct cell_limits limits_default(void)
{
    uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * os_page_bytes() / 2;
    return (struct cell_limits){.seconds = 120, .resident_bytes = memory, .min_seconds = 0.5};
}

uint64_t seed_default(void)
{
    return ((uint64_t)time(NULL) << 20 ^ (uint64_t)getpid()) & UINT32_MAX;
}
