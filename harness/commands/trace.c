/*
 * trace.c - `alloclab trace`: looks into trace files, checks them, and converts them from and to
 * other forms.
 *
 * A conversion goes through the writer of a trace in any case, so that what comes out has been held
 * against all rules: from a foreign form to a foreign form it goes through a trace in memory. The
 * output is written beside its final name and renamed at the end, so that nothing that existed is
 * lost when something goes wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/args.h"
#include "harness/registry.h"
#include "harness/session_args.h"
#include "harness/spec.h"
#include "harness/trace_diff.h"
#include "harness/trace_info.h"
#include "harness/trace_sites.h"
#include "harness/trace_transform.h"
#include "traces/check.h"
#include "traces/formats/text.h"
#include "traces/layout.h"
#include "traces/sites.h"

#define OWN     "trace" /* the name of alloclab's own binary form */
#define CAPTURE "capture"
#define TOP     "20" /* rows of each table of a diff */
/* One line a verb, which its own errors repeat. */
#define USAGE_INFO    "trace info [--brief] [--csv DIR] [--salvage] FILE.."
#define USAGE_CAT     "trace cat [--salvage] FILE.."
#define USAGE_CHECK   "trace check [--salvage] FILE.."
#define USAGE_CONVERT "trace convert [--from FORMAT] [--to FORMAT] [--strict] [--salvage] IN -o OUT"
#define USAGE_PACK    "trace pack [--strict] CAPTURE -o OUT"
#define USAGE_DIFF    "trace diff [--top N] [--csv] [--salvage] A B"
#define USAGE_SITES                                                                                \
    "trace sites [--by bytes|calls|peak|left] [--top N] [--stacks|--folded|--csv] "                \
    "[--debug DIR[:DIR..]] [--salvage] FILE.."
#define NEXT "\n  alloclab "
#define USAGE                                                                                      \
    USAGE_INFO NEXT USAGE_CAT NEXT USAGE_CHECK NEXT USAGE_CONVERT NEXT USAGE_PACK NEXT USAGE_DIFF  \
        NEXT USAGE_SITES NEXT "trace TRANSFORM [--OPTION VALUE].. [--salvage] IN.. -o OUT"

struct request { /* the command line */
    const char *verb, *usage, *from, *to, *output, *top, *folder, *by, *debug;
    bool strict, salvage, csv, brief, stacks, folded;
    char **files;
    int count;
};

static int fail(const char *verb, const struct error *err)
{
    fflush(stdout);
    fprintf(stderr, "alloclab trace %s: %s\n", verb, err->text);
    return 2;
}

static unsigned reader_flags(const struct request *q)
{
    return TRACE_AHEAD | (q->salvage ? TRACE_SALVAGE : 0);
}

/* ---- info, cat, check ---- */

static int stdout_flush(struct error *err)
{
    return fflush(stdout) || ferror(stdout)
               ? error_set(err, "standard output: cannot write: %s", strerror(errno))
               : 0;
}

static int info_file(const struct request *q, struct trace_reader *r, struct error *err)
{
    const struct trace_info what = {.brief = q->brief, .csv = q->folder};
    return trace_info_print(stdout, r, &what, err);
}

static int cat_file(const struct request *q, struct trace_reader *r, struct error *err)
{
    (void)q;
    uint64_t dropped;
    return trace_format_find("text")->export(r, stdout, &dropped, err);
}

static int check_file(const struct request *q, struct trace_reader *r, struct error *err)
{
    (void)q;
    struct trace_totals t;
    if (trace_check(r, &t, err))
        return -1;
    printf("%s: valid: %" PRIu64 " ops, %" PRIu64 " objects, %" PRIu64 " threads, %" PRIu64
           " scopes%s\n",
           trace_name(r), t.ops, t.objects, t.threads, t.scopes,
           trace_is_torn(r) ? " in the whole blocks of a torn file" : "");
    return 0;
}

static int top_parse(const struct request *q, uint64_t *top, struct error *err)
{
    char *end;
    errno = 0;
    *top = strtoull(q->top, &end, 10);
    if (*q->top < '0' || *q->top > '9' || *end || errno)
        return error_set(err, "--top %s: a number of rows is expected, 0 for all", q->top);
    return 0;
}

static int sites_file(const struct request *q, struct trace_reader *r, struct error *err)
{
    int by;
    struct sites_request what = {.debug = q->debug,
                                 .form = q->csv      ? SITES_CSV
                                         : q->folded ? SITES_FOLDED
                                         : q->stacks ? SITES_STACKS
                                                     : SITES_TABLE};
    if (top_parse(q, &what.top, err) || choice_parse("--by", q->by, sites_by_names, &by, err))
        return -1;
    what.by = (enum sites_by)by;
    return trace_sites_print(stdout, r, &what, err);
}

/* Every file is looked at, even after a bad one. */
static int files_each(const struct request *q,
                      int (*look)(const struct request *q, struct trace_reader *r,
                                  struct error *err))
{
    int status = 0;
    for (int i = 0; i < q->count; i++) {
        struct error err;
        struct trace_reader *r = trace_open(q->files[i], reader_flags(q), &err);
        if (!r || look(q, r, &err) || stdout_flush(&err))
            status = fail(q->verb, &err);
        if (r)
            trace_close(r);
    }
    return status;
}

/* ---- diff ---- */

static int trace_diff(const struct request *q, struct error *err)
{
    struct trace_reader *r[2] = {NULL, NULL};
    uint64_t top;
    if (top_parse(q, &top, err))
        return -1;
    int failed = 0;
    for (int i = 0; i < 2 && !failed; i++) {
        r[i] = trace_open(q->files[i], reader_flags(q), err);
        failed = r[i] ? 0 : -1;
    }
    if (!failed)
        failed = trace_diff_print(stdout, r, top, q->csv, err);
    for (int i = 0; i < 2; i++)
        if (r[i])
            trace_close(r[i]);
    return failed ? -1 : 0;
}

/* ---- convert ---- */

static int format_find(const char *name, const struct trace_format **format, struct error *err)
{
    const char *names[64] = {OWN};
    if (!strcmp(name, OWN)) {
        *format = NULL;
        return 0;
    }
    *format = trace_format_find(name);
    if (*format)
        return 0;
    for (size_t i = 0; trace_formats[i] && i + 2 < sizeof names / sizeof *names; i++)
        names[i + 1] = trace_formats[i]->name;
    return spec_unknown("trace format", name, names, err);
}

/* The form of the input if the user did not say it; NULL: our own. */
static int format_guess(const char *path, const struct trace_format **format, struct error *err)
{
    char magic[8] = {0};
    struct stat status;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return error_set(err, "%s: is a folder, not a file", path);
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
        return error_set(err,
                         "%s: not a regular file, so a look at it would take its first bytes away: "
                         "say what it is with --from FORMAT, " OWN " for alloclab's own",
                         path);
    FILE *file = fopen(path, "rbe");
    if (!file)
        return error_set(err, "%s: cannot open: %s", path, strerror(errno));
    size_t got = fread(magic, 1, sizeof magic, file);
    fclose(file);
    *format = NULL;
    if (got == sizeof magic && memcmp(magic, LAYOUT_MAGIC, sizeof magic) == 0)
        return 0;
    if (text_is(path))
        return format_find("text", format, err);
    return error_set(err,
                     "%s: offset 0: neither a trace nor one as text: say what it is with --from "
                     "FORMAT; `alloclab list formats` shows what can be read",
                     path);
}

#define ODD_NAME(name) #name,

/* An oddity's count, and the first lines with one. The rare ones are left out if there are none. */
static void odd_print(const struct import_report *report, unsigned i)
{
    static const char *const names[] = {IMPORT_ODDITIES(ODD_NAME)};
    if (report->odd[i] == 0 && i > IMPORT_double_allocs)
        return;
    printf("%-18s %" PRIu64 "\n", names[i], report->odd[i]);
    if (report->first_lines[i][0])
        printf("%s_at", names[i]);
    for (unsigned k = 0; k < IMPORT_FIRST_LINES && report->first_lines[i][k]; k++)
        printf(" %" PRIu64, report->first_lines[i][k]);
    if (report->first_lines[i][0])
        puts(report->odd[i] > IMPORT_FIRST_LINES && report->first_lines[i][IMPORT_FIRST_LINES - 1]
                 ? " .."
                 : "");
}

static void report_print(const struct import_report *report)
{
    printf("lines              %" PRIu64 "\n", report->lines);
    for (unsigned i = 0; i < IMPORT_ODDITY_COUNT; i++)
        odd_print(report, i);
    if (report->first_odd_line)
        printf("first_odd_line     %" PRIu64 "\n", report->first_odd_line);
}

/* What to do about a line that was refused. */
static void advice_add(struct error *err, const struct trace_format *from,
                       const struct import_report *report)
{
    size_t used = strlen(err->text), room = sizeof err->text - used;
    if (report->lines == 0)
        return;
    if (report->strict && report->first_odd_line)
        snprintf(err->text + used, room, "; without --strict it is repaired and counted");
    else
        snprintf(err->text + used, room, "; `alloclab describe %s` says what is expected",
                 from->name);
}

/* Fills the writer from the input and finishes it, or abandons it. */
static int writer_fill(struct trace_writer *w, const struct request *q,
                       const struct trace_format *from, struct error *err)
{
    struct import_report report = {.strict = q->strict};
    if (from->import(q->files[0], w, &report, err)) {
        advice_add(err, from, &report);
        trace_abandon(w);
        return -1;
    }
    report_print(&report);
    printf("ops                %" PRIu64 "\n", trace_writer_totals(w)->ops);
    return trace_finish(w, err);
}

static int trace_copy(struct trace_reader *in, struct trace_writer *out, struct error *err)
{
    struct trace_op op;
    struct error why;
    int got = trace_copy_meta(in, out, err) || trace_copy_sites(in, out, err) ? -1 : 1;
    while (got > 0 && (got = trace_next(in, &op, err)) > 0)
        if (trace_put(out, &op, &why))
            got = error_set(err, "%.500s: offset %" PRIu64 ": %.400s", trace_name(in),
                            trace_offset(in), why.text);
    if (got < 0) {
        trace_abandon(out);
        return -1;
    }
    printf("ops                %" PRIu64 "\n", trace_writer_totals(out)->ops);
    return trace_finish(out, err);
}

/* The input as a reader: the file itself, or what an importer made of it, in memory. */
static struct trace_reader *input_open(const struct request *q, const struct trace_format *from,
                                       struct error *err)
{
    if (!from)
        return trace_open(q->files[0], reader_flags(q), err);
    struct trace_reader *r = NULL;
    int fd = memfd_create("alloclab-convert", MFD_CLOEXEC);
    if (fd < 0) {
        error_set(err, "no memory for the trace: %s", strerror(errno));
        return NULL;
    }
    struct trace_writer *w = trace_create_fd(fd, err);
    if (w && writer_fill(w, q, from, err) == 0)
        r = trace_open_fd(fd, q->files[0], 0, err);
    close(fd);
    return r;
}

/* Writes the foreign form to OUT.part, and renames it. */
static int form_write(const struct request *q, const struct trace_format *to,
                      struct trace_reader *in, struct error *err)
{
    char part[4096];
    struct stat status;
    uint64_t dropped = 0;
    if (stat(q->output, &status) == 0 && !S_ISREG(status.st_mode))
        return error_set(err, "%s: exists and is not a regular file: choose another name",
                         q->output);
    if ((size_t)snprintf(part, sizeof part, "%s.part", q->output) >= sizeof part)
        return error_set(err, "%s: name too long", q->output);
    FILE *stream = fopen(part, "wbe");
    if (!stream)
        return error_set(err, "%s: cannot create: %s", part, strerror(errno));
    int failed = to->export(in, stream, &dropped, err);
    bool unwritten = ferror(stream);
    if (fclose(stream) || unwritten)
        failed = failed ? failed : error_set(err, "%s: cannot write: %s", part, strerror(errno));
    if (!failed && rename(part, q->output))
        failed = error_set(err, "%s: cannot rename to %s: %s", part, q->output, strerror(errno));
    if (failed)
        unlink(part);
    else
        printf("dropped            %" PRIu64 "\n", dropped);
    return failed;
}

static int trace_convert(const struct request *q, struct error *err)
{
    const struct trace_format *from, *to;
    if (trace_output_apart(q->output, q->files, q->count, err))
        return -1;
    if ((strcmp(q->from, "auto") ? format_find(q->from, &from, err)
                                 : format_guess(q->files[0], &from, err)) ||
        format_find(q->to, &to, err))
        return -1;
    if (from && !from->import)
        return error_set(err, "%s: the form %s can only be written", q->files[0], from->name);
    if (to && !to->export)
        return error_set(err, "%s: the form %s can only be read", q->output, to->name);
    if (from && !to) {
        struct trace_writer *w = trace_create(q->output, err);
        return w ? writer_fill(w, q, from, err) : -1;
    }
    struct trace_reader *in = input_open(q, from, err);
    if (!in)
        return -1;
    int failed = -1;
    if (to) {
        failed = form_write(q, to, in, err);
    } else {
        struct trace_writer *w = trace_create(q->output, err);
        failed = w ? trace_copy(in, w, err) : -1;
    }
    trace_close(in);
    return failed;
}

/* ---- the command line ---- */

static int usage(const struct request *q, const char *what, const char *word)
{
    fprintf(stderr, "alloclab trace: %s %s%s: usage: alloclab %s\n", q->verb, what, word, q->usage);
    return 2;
}

static int request_parse(struct request *q, int argc, char **argv)
{
    bool pack = !strcmp(q->verb, "pack"), convert = pack || !strcmp(q->verb, "convert");
    bool diff = !strcmp(q->verb, "diff");
    const struct {
        const char *name, **value;
        bool *flag;
        const char *only; /* the verb that takes it; NULL: all do */
    } options[] = {
        {"--from", &q->from, NULL, "convert"},   {"--to", &q->to, NULL, "convert"},
        {"-o", &q->output, NULL, "convert"},     {"--strict", NULL, &q->strict, "convert"},
        {"-o", &q->output, NULL, "pack"},        {"--strict", NULL, &q->strict, "pack"},
        {"--top", &q->top, NULL, "diff"},        {"--csv", NULL, &q->csv, "diff"},
        {"--top", &q->top, NULL, "sites"},       {"--csv", NULL, &q->csv, "sites"},
        {"--by", &q->by, NULL, "sites"},         {"--debug", &q->debug, NULL, "sites"},
        {"--stacks", NULL, &q->stacks, "sites"}, {"--folded", NULL, &q->folded, "sites"},
        {"--csv", &q->folder, NULL, "info"},     {"--brief", NULL, &q->brief, "info"},
        {"--salvage", NULL, &q->salvage, NULL},
    };
    for (int i = 2; i < argc; i++) {
        size_t k = 0, count = sizeof options / sizeof *options;
        while (k < count && (strcmp(argv[i], options[k].name) ||
                             (options[k].only && strcmp(options[k].only, q->verb))))
            k++;
        if (k == count) {
            if (argv[i][0] == '-')
                return usage(q, "does not take ", argv[i]);
            q->files[q->count++] = argv[i];
        } else if (options[k].flag) {
            *options[k].flag = true;
        } else if (++i == argc) {
            return usage(q, "lacks a value after ", argv[i - 1]);
        } else {
            *options[k].value = argv[i];
        }
    }
    if (q->count == 0)
        return usage(q, "of which file?", "");
    if (q->folder && (q->count != 1 || q->brief))
        return usage(q, "--csv is of one file, and needs all of it", "");
    if (q->csv + q->folded + q->stacks > 1)
        return usage(q, "takes one of --stacks, --folded and --csv at a time", "");
    if (convert && (q->count != 1 || !q->output || !*q->output))
        return usage(q, "takes one input file, and -o OUT", "");
    if (pack)
        q->from = CAPTURE;
    if (diff && q->count != 2)
        return usage(q, "takes two traces", "");
    return 0;
}

/* What may stand after `trace`, beside the transforms: a verb looks at each file, or runs once. */
static const struct verb {
    const char *name, *usage;
    int (*look)(const struct request *q, struct trace_reader *r, struct error *err);
    int (*run)(const struct request *q, struct error *err);
} verbs[] = {
    {"info", USAGE_INFO, info_file, NULL},     {"cat", USAGE_CAT, cat_file, NULL},
    {"check", USAGE_CHECK, check_file, NULL},  {"convert", USAGE_CONVERT, NULL, trace_convert},
    {"pack", USAGE_PACK, NULL, trace_convert}, {"diff", USAGE_DIFF, NULL, trace_diff},
    {"sites", USAGE_SITES, sites_file, NULL},
};

static const struct verb *verb_find(const char *name)
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (!strcmp(name, verbs[i].name))
            return &verbs[i];
    return NULL;
}

static int verb_unknown(const char *name)
{
    char names[256] = "";
    for (size_t i = 0, used = 0; i < sizeof verbs / sizeof *verbs; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "",
                                 verbs[i].name);
    fprintf(stderr,
            "alloclab trace: %s or a transform is expected, not '%s': `alloclab trace --help` says "
            "how\n",
            names, name);
    return 2;
}

static int verb_run(const struct verb *verb, const struct request *q)
{
    struct error err;
    if (verb->look)
        return files_each(q, verb->look);
    return verb->run(q, &err) || stdout_flush(&err) ? fail(q->verb, &err) : 0;
}

static int trace_main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    const struct trace_transform *transform = trace_transform_find(name);
    const struct verb *verb = verb_find(name);
    if (transform)
        return trace_transform_main(transform, argc - 1, argv + 1);
    if (!verb)
        return verb_unknown(name);
    if (argc == 3 && help_is(argv[2])) {
        printf("  alloclab %s\n", verb->usage);
        return 0;
    }
    struct request q = {.verb = name,
                        .usage = verb->usage,
                        .from = "auto",
                        .to = OWN,
                        .top = TOP,
                        .by = "bytes",
                        .files = calloc((size_t)argc, sizeof *q.files)};
    struct error err = {""};
    if (!q.files) {
        error_set(&err, "no memory");
        return fail(name, &err);
    }
    int status = request_parse(&q, argc, argv) ? 2 : verb_run(verb, &q);
    free(q.files);
    return status;
}

COMMAND(trace) = {
    .name = "trace",
    .usage = USAGE,
    .summary = "look into traces, check and compare them, convert and transform them",
    .main = trace_main,
};
