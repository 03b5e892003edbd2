/*
 * gen.c - `alloclab gen`: writes the trace of a workload into a file.
 *
 * The workload runs in a thread of its own, so that this one can show progress on a terminal; what
 * it looks at is the size of the unfinished file, which needs no agreement with the workload.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "harness/registry.h"
#include "harness/spec.h"

#define USAGE "gen WORKLOAD[:opt=v,..] [--seed N] -o FILE"

struct job {
    struct workload_spec spec;
    uint64_t seed;
    struct trace_writer *out;
    struct error err;
    int result;
};

static void *job_run(void *arg)
{
    struct job *job = arg;
    job->result =
        workload_write(job->spec.workload, job->spec.options, job->seed, job->out, &job->err);
    return NULL;
}

static void progress_show(const char *path)
{
    char part[4096];
    struct stat status;
    snprintf(part, sizeof part, "%s.part", path);
    if (stat(part, &status) == 0)
        fprintf(stderr, "\r%s: %.1f MiB written", path, (double)status.st_size / (1 << 20));
}

/* Runs the job while it shows progress on a terminal. */
static void job_watch(struct job *job, const char *path)
{
    pthread_t thread;
    if (!isatty(STDERR_FILENO) || pthread_create(&thread, NULL, job_run, job) != 0) {
        job_run(job);
        return;
    }
    struct timespec until;
    do {
        progress_show(path);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 200 * 1000 * 1000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
    } while (pthread_timedjoin_np(thread, NULL, &until) == ETIMEDOUT);
    fprintf(stderr, "\r\033[K");
}

static void summary_print(const struct job *job, const struct trace_totals *t, const char *path)
{
    struct stat status = {0};
    stat(path, &status);
    printf("file               %s\n", path);
    printf("workload           %s:%s\n", job->spec.workload->name, job->spec.options_text);
    printf("seed               %" PRIu64 "\n", job->seed);
    printf("ops                %" PRIu64 "\n", t->ops);
    printf("objects            %" PRIu64 "\n", t->objects);
    printf("threads            %" PRIu64 "\n", t->threads);
    printf("scopes             %" PRIu64 "\n", t->scopes);
    printf("peak_live_objects  %" PRIu64 "\n", t->peak_live_objects);
    printf("peak_live_bytes    %" PRIu64 "\n", t->peak_live_bytes);
    printf("file_bytes         %lld\n", (long long)status.st_size);
}

static int fail(const struct error *err)
{
    fprintf(stderr, "alloclab gen: %s\n", err->text);
    return 2;
}

static int generate(struct job *job, const char *path)
{
    job->out = trace_create(path, &job->err);
    if (!job->out)
        return fail(&job->err);
    job_watch(job, path);
    if (job->result) {
        trace_abandon(job->out);
        return fail(&job->err);
    }
    struct trace_totals totals = *trace_writer_totals(job->out);
    if (trace_finish(job->out, &job->err))
        return fail(&job->err);
    summary_print(job, &totals, path);
    return 0;
}

static int seed_parse(const char *text, uint64_t *seed)
{
    char *end;
    errno = 0;
    *seed = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno) {
        fprintf(stderr, "alloclab gen: --seed %s: give a whole number from 0 to %" PRIu64 "\n",
                text, UINT64_MAX);
        return -1;
    }
    return 0;
}

static int usage(const char *what, const char *argument)
{
    fprintf(stderr, "alloclab gen: %s%s: usage: alloclab %s\n", what, argument, USAGE);
    return 2;
}

static int gen_main(int argc, char **argv)
{
    const char *spec = NULL, *path = NULL;
    struct job job = {.seed = 1};
    for (int i = 1; i < argc; i++) {
        bool takes_value = !strcmp(argv[i], "-o") || !strcmp(argv[i], "--seed");
        if (takes_value && i + 1 == argc)
            return usage("a value is missing after ", argv[i]);
        if (!strcmp(argv[i], "-o"))
            path = argv[++i];
        else if (takes_value && seed_parse(argv[++i], &job.seed))
            return 2;
        else if (takes_value)
            continue;
        else if (argv[i][0] == '-')
            return usage("unknown option ", argv[i]);
        else if (spec)
            return usage("one workload at a time, not also ", argv[i]);
        else
            spec = argv[i];
    }
    if (!spec)
        return usage("no workload given", "");
    if (!path)
        return usage("no file given, with -o", "");
    if (workload_spec_parse(spec, &job.spec, &job.err))
        return fail(&job.err);
    int status = generate(&job, path);
    workload_spec_free(&job.spec);
    return status;
}

COMMAND(gen) = {
    .name = "gen",
    .usage = USAGE,
    .summary = "write the trace of a workload; the same options and seed give the same bytes",
    .main = gen_main,
};
