/*
 * trace_transform.c - one command line for all transforms: --OPTION VALUE for each row of the
 * transform's options, input files, and -o OUT. The output is written beside its final name and
 * renamed at the end. Its meta pair `transform` says what was done, after what was done before.
 */
#include "harness/trace_transform.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "harness/args.h"
#include "harness/registry.h"
#include "harness/trace_info.h"

struct command_line {
    const struct trace_transform *transform;
    const char *output;
    bool salvage;
    char **files;
    int count;
    char options[1024]; /* "name=value,name=value" */
    void *values;
};

const struct trace_transform *trace_transform_find(const char *name)
{
    for (size_t i = 0; trace_transforms[i]; i++)
        if (!strcmp(trace_transforms[i]->name, name))
            return trace_transforms[i];
    return NULL;
}

static int fail(const struct trace_transform *t, const struct error *err)
{
    fflush(stdout);
    fprintf(stderr, "alloclab trace %s: %s\n", t->name, err->text);
    return 2;
}

static void usage_format(const struct trace_transform *t, char *text, size_t bytes)
{
    size_t used = (size_t)snprintf(text, bytes, "alloclab trace %s", t->name);
    for (const struct option *o = t->options; o->name; o++)
        used += (size_t)snprintf(text + used, bytes - used, " [--%s %s]", o->name,
                                 o->type == OPTION_BOOL ? "yes|no"
                                 : o->choices           ? o->choices
                                                        : "VALUE");
    snprintf(text + used, bytes - used, " [--salvage] %s -o OUT",
             t->most_inputs > 1 ? "IN IN.." : "IN");
}

static int usage(const struct trace_transform *t, struct error *err, const char *what)
{
    char text[512];
    usage_format(t, text, sizeof text);
    return error_set(err, "%s: usage: %s", what, text);
}

static int option_add(struct command_line *c, const char *name, const char *value,
                      struct error *err)
{
    size_t used = strlen(c->options);
    if (strchr(value, ','))
        return error_set(err, "--%s: its value has a comma: no option takes one", name);
    int more = snprintf(c->options + used, sizeof c->options - used, "%s%s=%s", used ? "," : "",
                        name, value);
    return more < (int)(sizeof c->options - used)
               ? 0
               : error_set(err, "--%s: more options than fit", name);
}

static bool takes(const struct trace_transform *t, const char *word)
{
    const struct option *o = t->options;
    while (o->name && (strncmp(word, "--", 2) != 0 || strcmp(word + 2, o->name) != 0))
        o++;
    return o->name || !strcmp(word, "-o");
}

static int line_parse(struct command_line *c, int argc, char **argv, struct error *err)
{
    const struct trace_transform *t = c->transform;
    char what[256];
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--salvage")) {
            c->salvage = true;
        } else if (argv[i][0] != '-') {
            c->files[c->count++] = argv[i];
        } else if (!takes(t, argv[i]) || i + 1 == argc) {
            snprintf(what, sizeof what, "%s %.200s",
                     takes(t, argv[i]) ? "a value is missing after" : "unknown option", argv[i]);
            return usage(t, err, what);
        } else if (!strcmp(argv[i], "-o")) {
            c->output = argv[++i];
        } else {
            i++;
            if (option_add(c, argv[i - 1] + 2, argv[i], err))
                return -1;
        }
    }
    snprintf(what, sizeof what, "takes %u%s input file%s", t->least_inputs,
             t->most_inputs > t->least_inputs ? " or more" : "", t->most_inputs > 1 ? "s" : "");
    if (c->count < (int)t->least_inputs || c->count > (int)t->most_inputs)
        return usage(t, err, what);
    if (!c->output)
        return usage(t, err, "no file given for the result, with -o");
    c->values = calloc(1, t->options_size + 1);
    return c->values
               ? option_parse(t->name, t->options, t->options_size, c->options, c->values, err)
               : error_set(err, "no memory");
}

/* Adds "NAME option=value .." to what the first input says of its past, which is text of whoever made
 * that; options without a value are left out. */
static int past_write(const struct command_line *c, struct trace_reader *first,
                      struct trace_writer *out, struct error *err)
{
    const struct trace_transform *t = c->transform;
    const char *before = t->discloses ? NULL : trace_meta(first, "transform");
    char options[1024], text[4096], *next = options;
    option_format(t->options, c->values, options, sizeof options);
    int used = snprintf(text, sizeof text, "%.2500s%s%s", before ? before : "", before ? "; " : "",
                        t->name);
    for (char *pair; (pair = strsep(&next, ","));)
        if (*pair && pair[strlen(pair) - 1] != '=')
            used += snprintf(text + used, sizeof text - (size_t)used, " %s", pair);
    return trace_set_meta(out, "transform", text, err);
}

/* Runs it and finishes the output, or leaves no trace of it. */
static int transform_run(const struct command_line *c, struct trace_reader **in, struct error *err)
{
    struct trace_writer *out = trace_create(c->output, err);
    if (!out)
        return -1;
    const struct transform_job job = {
        .in = in, .count = (unsigned)c->count, .options = c->values, .out = out, .report = stdout};
    if (c->transform->run(&job, err) || past_write(c, in[0], out, err)) {
        trace_abandon(out);
        return -1;
    }
    const struct trace_totals *t = trace_writer_totals(out);
    transform_say(&job, "ops", t->ops);
    transform_say(&job, "objects", t->objects);
    return trace_finish(out, err);
}

static int result_disclose(const struct command_line *c, struct error *err)
{
    struct trace_reader *r = c->transform->discloses ? trace_open(c->output, 0, err) : NULL;
    if (r) {
        trace_disclosure_print(stdout, r);
        trace_close(r);
    }
    return c->transform->discloses && !r ? -1 : 0;
}

static int inputs_transform(const struct command_line *c, struct error *err)
{
    struct trace_reader **in = calloc((size_t)c->count, sizeof *in);
    int failed = in ? trace_output_apart(c->output, c->files, c->count, err)
                    : error_set(err, "no memory"),
        opened = 0;
    for (; !failed && opened < c->count; opened++) {
        in[opened] =
            trace_open(c->files[opened], TRACE_AHEAD | (c->salvage ? TRACE_SALVAGE : 0), err);
        failed = in[opened] ? 0 : -1;
    }
    if (!failed)
        failed = transform_run(c, in, err) || result_disclose(c, err);
    for (int i = 0; i < opened; i++)
        if (in[i])
            trace_close(in[i]);
    free(in);
    return failed;
}

int trace_transform_main(const struct trace_transform *t, int argc, char **argv)
{
    if (argc == 2 && help_is(argv[1])) {
        char text[512];
        usage_format(t, text, sizeof text);
        printf("  %s\n      %s (`alloclab describe %s` says more)\n", text, t->summary, t->name);
        return 0;
    }
    struct command_line c = {.transform = t, .files = calloc((size_t)argc, sizeof *c.files)};
    struct error err;
    int failed = c.files ? line_parse(&c, argc, argv, &err) : error_set(&err, "no memory");
    if (!failed)
        failed = inputs_transform(&c, &err);
    if (!failed && (fflush(stdout) || ferror(stdout)))
        failed = error_set(&err, "standard output: cannot write");
    free(c.files);
    free(c.values);
    return failed ? fail(t, &err) : 0;
}
