/*
 * session_args.c - see session_args.h.
 */
#include "harness/session_args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "allocators/lib/os_policy.h"
#include "api/dropin.h"
#include "harness/args.h"
#include "harness/counter_probe.h"
#include "harness/dropin.h"
#include "harness/pass.h"
#include "harness/registry.h"

#define FOREIGN "libc" /* the design that runs on whatever malloc there is */

static int contender_add(struct session *s, const char *text, struct error *err)
{
    struct contender *grown = realloc(s->contenders, (s->contender_count + 1) * sizeof *grown);
    if (!grown)
        return error_set(err, "out of memory");
    s->contenders = grown;
    struct contender *c = &s->contenders[s->contender_count];
    *c = (struct contender){.text = text};
    int rival = rival_find(text, &c->preload, err);
    if (rival < 0 || spec_parse(rival ? FOREIGN : text, &c->spec, err))
        return -1;
    if (rival)
        rival_name(text, &c->preload, c->spec.name, sizeof c->spec.name, c->spec.options_text,
                   sizeof c->spec.options_text);
    c->runs = c->spec.design;
    c->rival = rival;
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

/* The design's drop-in library takes the contender's place, if the design can have one. */
static int contender_drop_in(struct contender *c, struct error *err)
{
    if (dropin_refusal(c->spec.design)) /* it stays as it is, and is not ranked with those */
        return 0;
    if (dropin_library(c->spec.design, c->preload.path, err))
        return -1;
    c->preload.load = true;
    c->preload.options = c->spec.options_text;
    c->runs = allocator_find(FOREIGN);
    return 0;
}

/* How designs are called: as asked for, or through malloc as soon as a rival takes part. */
static int via_settle(struct session *s, struct error *err)
{
    bool rival = false;
    for (unsigned i = 0; i < s->contender_count; i++)
        rival |= s->contenders[i].rival;
    if (s->via == VIA_AUTO)
        s->via = rival ? VIA_MALLOC : VIA_VTABLE;
    for (unsigned i = 0; s->via == VIA_MALLOC && i < s->contender_count; i++)
        if (!via_malloc(&s->contenders[i]) && contender_drop_in(&s->contenders[i], err))
            return -1;
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

int session_options(struct session *s, void *arguments, const char *const names[],
                    option_take_fn *take, int argc, char **argv, struct error *err)
{
    struct args args = {.argc = argc, .argv = argv, .at = 1};
    int option;
    while ((option = args_next(&args, names, err)) >= 0)
        if (take(s, arguments, option, args.value, err))
            return -1;
    return option == ARGS_BAD ? -1 : 0;
}

const char *session_base(const struct session *s, const char *asked, const char *usual,
                         struct error *err)
{
    const char *wanted = asked ? asked : usual;
    for (unsigned i = 0; i < s->contender_count; i++)
        if (!strcmp(s->contenders[i].text, wanted))
            return wanted;
    if (!asked || !*asked)
        return "";
    error_set(err, "--base: '%s' is not among the allocators of -a", asked);
    return NULL;
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
    if (floor && !has_floor(s) && floor_add(s, err))
        return -1;
    return via_settle(s, err);
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

int via_parse(struct session *s, const char *text, struct error *err)
{
    static const char *const names[] = {"vtable", "malloc", NULL};
    int choice = 0;
    if (choice_parse("--via", text, names, &choice, err))
        return -1;
    s->via = choice ? VIA_MALLOC : VIA_VTABLE;
    return 0;
}

int copies_parse(struct session *s, char *text, struct error *err)
{
    char *rest;
    s->copies_count = 0;
    for (char *piece = strtok_r(text, ",", &rest); piece; piece = strtok_r(NULL, ",", &rest)) {
        uint64_t number;
        if (number_parse("--copies", piece, 1, PARALLEL_LANES_MAX, &number, err))
            return -1;
        unsigned at = s->copies_count;
        for (; at && s->copies[at - 1] >= number; at--)
            if (s->copies[at - 1] == number)
                return error_set(err, "--copies: %s is there twice", piece);
        if (s->copies_count == COPIES_MAX)
            return error_set(err, "--copies: more than %d numbers", COPIES_MAX);
        memmove(&s->copies[at + 1], &s->copies[at], (s->copies_count++ - at) * sizeof *s->copies);
        s->copies[at] = (unsigned)number;
    }
    return s->copies_count ? 0 : error_set(err, "--copies: give at least one number");
}

int session_door(struct session *s, const char *text, struct error *err)
{
    struct os_config config;
    struct error why = {""};
    if (door_parse(text, &config, err))
        return -1;
    if (os_config_sane(&config, &why))
        return error_set(err, "--door: %s", why.text);
    if (config.numa != OS_NUMA_DEFAULT && os_nodes().count == 1)
        fprintf(stderr, "--door: this machine has one memory node: numa has no effect\n");
    if ((s->thp == THP_OFF && config.thp == OS_THP_ON) ||
        (s->thp == THP_ON && config.thp == OS_THP_OFF))
        return error_set(err, "--thp %s and --door thp=%s contradict each other: leave one out",
                         thp_names[s->thp], s->thp == THP_OFF ? "on" : "off");
    option_format(os_options, &config, s->door, sizeof s->door);
    return 0;
}

int session_counters(struct session *s, const char *text, struct error *err)
{
    struct counter_count counts[COUNTERS_MAX];
    char missing[1024];
    if (counter_list_parse(text, &s->config.counters, err))
        return -1;
    counter_probe(&s->config.counters, &perf_door_kernel, counts, &s->place);
    counter_missing(&s->config.counters, counts, &s->place, missing, sizeof missing);
    if (missing[0])
        fprintf(stderr, "--counters: no figures from %s\n", missing);
    return 0;
}

struct cell_limits limits_default(void)
{
    uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * os_page_bytes() / 2;
    return (struct cell_limits){.seconds = 120, .resident_bytes = memory};
}

struct pass_config config_default(void)
{
    return (struct pass_config){.min_seconds = 0.5,
                                .latency_every = 1,
                                .latency_replays = 25,
                                .open = {.load = 0.7},
                                .locality_ops = 1000000};
}

uint64_t seed_default(void)
{
    return ((uint64_t)time(NULL) << 20 ^ (uint64_t)getpid()) & UINT32_MAX;
}
