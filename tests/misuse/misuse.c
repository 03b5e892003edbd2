/*
 * misuse.c - every misuse of the table below, in a child process of its own, against every
 * registered design and the forms of the free list that differ in what they see. What a child says
 * and how it ends is the outcome:
 *
 *     WHAT            "alloclab: NAME: WHAT at ADDRESS" was its only output, then it aborted
 *     not detected    it came to the end of the misuse
 *     crash           a signal of another kind, or a sanitizer's report, ended it
 *
 * The free list's outcomes are in the table, word and address. Other designs may see nothing, but
 * what they say must have this form, and docs/misuse.md, which is made here (make misuse-table),
 * must say the same as this run does. The C library is not tried: it differs from version to
 * version.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/registry.h"
#include "tests/lib/rig.h"

#define DOCUMENT "docs/misuse.md"

enum { SMALL = 24, MIDDLE = 1000, LARGE = 2 << 20 };

struct scene {
    struct rig rig, other;
    char *a, *b, *c;   /* SMALL, neighbours where the design can */
    char *middle;      /* MIDDLE */
    char *last;        /* SMALL, above all others */
    char *large;       /* LARGE */
    char *foreign;     /* of the other heap */
    const void **note; /* shared with the child: the address that a report should name */
};

/* ---- the misuses ---- */

static void give(struct scene *s, void *p)
{
    rig_free(&s->rig, s->rig.view, p, 0, false);
}

static char *take(struct scene *s, size_t size)
{
    return s->rig.design->alloc(s->rig.view, size, 1);
}

/* The end of what the program may use of an object of SMALL bytes. */
static char *end_of(struct scene *s, char *p)
{
    const struct allocator *design = s->rig.design;
    return p + (design->usable ? design->usable(s->rig.view, p) : SMALL);
}

static void double_free(struct scene *s)
{
    *s->note = s->b;
    give(s, s->b);
    give(s, s->b);
}

static void double_free_later(struct scene *s)
{
    *s->note = s->a;
    give(s, s->a);
    give(s, s->c);
    give(s, s->a);
}

static void double_free_merged(struct scene *s)
{
    *s->note = s->b;
    give(s, s->a);
    give(s, s->b);
    give(s, s->b);
}

static void double_free_last(struct scene *s)
{
    *s->note = s->last;
    give(s, s->last);
    give(s, s->last);
}

static void double_free_large(struct scene *s)
{
    *s->note = s->large;
    give(s, s->large);
    give(s, s->large);
}

static void realloc_freed(struct scene *s)
{
    *s->note = s->b;
    give(s, s->b);
    rig_realloc(&s->rig, s->rig.view, s->b, SMALL, 4 * SMALL, 1);
}

static void free_inside(struct scene *s)
{
    memset(s->middle, 0, MIDDLE);
    *s->note = s->middle + 64;
    give(s, s->middle + 64);
}

static void free_misaligned(struct scene *s)
{
    *s->note = s->middle + 1;
    give(s, s->middle + 1);
}

static void free_stack(struct scene *s)
{
    _Alignas(16) char local[64] = {0};
    *s->note = local + 32;
    give(s, local + 32);
}

static void free_beyond(struct scene *s)
{
    *s->note = s->last + 1024;
    give(s, s->last + 1024);
}

static void free_foreign(struct scene *s)
{
    *s->note = s->foreign;
    give(s, s->foreign);
}

static void overrun(struct scene *s, size_t bytes)
{
    *s->note = s->b;
    memset(end_of(s, s->a), 0xa5, bytes);
    give(s, s->a);
}

static void overrun_1(struct scene *s)
{
    overrun(s, 1);
}

static void overrun_8(struct scene *s)
{
    overrun(s, 8);
}

static void overrun_16(struct scene *s)
{
    overrun(s, 16);
}

static void overrun_zero(struct scene *s)
{
    *s->note = s->b;
    *end_of(s, s->a) = 0;
    give(s, s->a);
}

static void overrun_neighbour_freed(struct scene *s)
{
    *s->note = s->b;
    *end_of(s, s->a) = (char)0xa5;
    give(s, s->b);
}

static void overrun_into_free(struct scene *s)
{
    *s->note = s->b;
    give(s, s->b);
    *end_of(s, s->a) = (char)0xa5;
    give(s, s->a);
}

static void overrun_last(struct scene *s)
{
    *s->note = s->last + (s->b - s->a);
    *end_of(s, s->last) = (char)0xa5;
    give(s, s->last);
}

static void overrun_jumps(struct scene *s)
{
    *s->note = s->b;
    memset(end_of(s, s->a) + 8, 0xa5, 8);
    give(s, s->a);
}

static void underrun_1(struct scene *s)
{
    *s->note = s->b;
    s->b[-1] = (char)0xa5;
    give(s, s->b);
}

static void write_after_free(struct scene *s)
{
    *s->note = s->b;
    give(s, s->b);
    memset(s->b, 0xa5, SMALL);
    take(s, SMALL);
}

static void write_after_free_links(struct scene *s)
{
    *s->note = s->b;
    give(s, s->b);
    memset(s->b, 0xa5, 8);
    take(s, SMALL);
}

static void write_after_free_merge(struct scene *s)
{
    *s->note = s->b;
    give(s, s->b);
    memset(s->b, 0xa5, SMALL);
    give(s, s->a);
}

static void write_after_free_end(struct scene *s)
{
    char *end = end_of(s, s->b);
    *s->note = s->b;
    give(s, s->b);
    memset(end - 8, 0xa5, 8);
    give(s, s->c);
}

static void size_too_large(struct scene *s)
{
    *s->note = s->b;
    rig_free(&s->rig, s->rig.view, s->b, 10 * SMALL, true);
}

static void size_too_small(struct scene *s)
{
    *s->note = s->middle;
    rig_free(&s->rig, s->rig.view, s->middle, MIDDLE / 2, true);
}

static void size_of_large(struct scene *s)
{
    *s->note = s->large;
    rig_free(&s->rig, s->rig.view, s->large, LARGE / 2, true);
}

enum form { INBAND, SIDE, DEFERRED, NO_FOOTER, FORMS };

static const char *const form_specs[FORMS] = {
    [INBAND] = "freelist",
    [SIDE] = "freelist:header=side",
    [DEFERRED] = "freelist:coalesce=deferred",
    [NO_FOOTER] = "freelist:footer=no",
};

#define DOUBLE  "double free"
#define INVALID "invalid free"
#define HEADER  "corrupted header"
#define FREED   "corrupted free block"
#define SIZE    "wrong size"
#define ALL(what)                                                                                  \
    {                                                                                              \
        what, what, what, what                                                                     \
    }

static const struct misuse {
    const char *name;
    void (*act)(struct scene *s);
    const char *expected[FORMS]; /* NULL = not detected */
} misuses[] = {
    {"double free, at once", double_free, ALL(DOUBLE)},
    {"double free, after another free", double_free_later, ALL(DOUBLE)},
    {"double free of a block merged into the one before", double_free_merged, ALL(DOUBLE)},
    {"double free of the last block", double_free_last, ALL(DOUBLE)},
    {"double free of a large object", double_free_large, ALL(INVALID)},
    {"realloc of a freed block", realloc_freed, ALL(DOUBLE)},
    {"free inside an object", free_inside, ALL(INVALID)},
    {"free of a misaligned address", free_misaligned, ALL(INVALID)},
    {"free of a variable on the stack", free_stack, ALL(INVALID)},
    {"free beyond the last object", free_beyond, ALL(INVALID)},
    {"free of another heap's object", free_foreign, ALL(INVALID)},
    {"overrun by 1 byte, then free", overrun_1, {HEADER, NULL, HEADER, HEADER}},
    {"overrun by 8 bytes, then free", overrun_8, {HEADER, NULL, HEADER, HEADER}},
    {"overrun by 16 bytes, then free", overrun_16, {HEADER, NULL, HEADER, HEADER}},
    {"overrun by one zero byte, then free", overrun_zero, {HEADER, NULL, HEADER, HEADER}},
    {"overrun by 1 byte, then free of the object behind",
     overrun_neighbour_freed,
     {HEADER, NULL, HEADER, HEADER}},
    {"overrun by 1 byte into a free block, then free",
     overrun_into_free,
     {HEADER, FREED, HEADER, HEADER}},
    {"overrun by 1 byte of the last object, then free",
     overrun_last,
     {HEADER, NULL, HEADER, HEADER}},
    {"write of 8 bytes, 8 bytes behind the object, then free", overrun_jumps, ALL(NULL)},
    {"underrun by 1 byte, then free", underrun_1, {HEADER, NULL, HEADER, HEADER}},
    {"write after free, then alloc of the same size", write_after_free, ALL(FREED)},
    {"write of the first 8 bytes after free, then alloc", write_after_free_links, ALL(FREED)},
    {"write after free, then free of the object before",
     write_after_free_merge,
     {FREED, FREED, NULL, FREED}},
    {"write of the last 8 bytes after free, then free of the object behind",
     write_after_free_end,
     {FREED, FREED, NULL, NULL}},
    {"free with too large a size", size_too_large, ALL(SIZE)},
    {"free with too small a size", size_too_small, ALL(SIZE)},
    {"free of a large object with a wrong size", size_of_large, ALL(SIZE)},
};

enum { MISUSES = sizeof misuses / sizeof *misuses };

/* ---- one misuse against one design ---- */

struct outcome {
    char what[64];      /* "" = not detected, "crash" = as above */
    const void *should; /* the address that the misuse noted */
    const void *named;  /* the address in the report */
};

struct subject { /* one column of the table */
    char spec[64];
    const struct allocator *design;
    const char *options; /* NULL = the defaults */
    enum form form;      /* FORMS = not the free list's */
};

static void scene_open(struct scene *s, const struct subject *subject)
{
    struct rig_setup setup = {.options = subject->options, .observe = true};
    rig_open(&s->rig, subject->design, &setup);
    rig_open(&s->other, subject->design, &setup);
    s->foreign = s->other.design->alloc(s->other.view, SMALL, 1);
    s->a = take(s, SMALL);
    s->b = take(s, SMALL);
    s->c = take(s, SMALL);
    s->middle = take(s, MIDDLE);
    s->large = take(s, LARGE);
    s->last = take(s, SMALL);
    s->note =
        mmap(NULL, sizeof *s->note, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(s->foreign && s->a && s->b && s->c && s->middle && s->large && s->last);
    assert_true(s->note != MAP_FAILED);
}

static void scene_close(struct scene *s)
{
    char *const objects[] = {s->last, s->large, s->middle, s->c, s->b, s->a};
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++)
        give(s, objects[i]);
    rig_free(&s->other, s->other.view, s->foreign, SMALL, false);
    rig_close(&s->rig);
    rig_close(&s->other);
    munmap((void *)s->note, sizeof *s->note);
}

__attribute__((noreturn)) static void child_run(struct scene *s, const struct misuse *misuse,
                                                int fd)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL}; /* cmocka catches them */
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        signal(faults[i], SIG_DFL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    alarm(20);
    if (dup2(fd, STDERR_FILENO) < 0)
        _exit(3);
    misuse->act(s);
    _exit(0);
}

static void report_parse(struct outcome *o, const char *text, const char *design,
                         const char *misuse)
{
    char prefix[64];
    int length = snprintf(prefix, sizeof prefix, "alloclab: %s: ", design);
    const char *what = text + length, *at = strstr(text, " at 0x");
    char *end;
    if (strncmp(text, prefix, (size_t)length) != 0 || !at || at <= what ||
        (size_t)(at - what) >= sizeof o->what)
        fail_msg("%s: %s: aborted, but said: %s", design, misuse, text);
    o->named = (void *)(uintptr_t)strtoull(at + strlen(" at "), &end, 16);
    if (strcmp(end, "\n") != 0)
        fail_msg("%s: %s: aborted, but said: %s", design, misuse, text);
    snprintf(o->what, sizeof o->what, "%.*s", (int)(at - what), what);
}

static struct outcome misuse_try(const struct subject *subject, const struct misuse *misuse)
{
    struct scene s;
    struct outcome o = {.what = ""};
    char text[4096] = "";
    size_t length = 0;
    int ends[2], status;
    scene_open(&s, subject);
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child_run(&s, misuse, ends[1]);
    close(ends[1]);
    for (ssize_t n; length < sizeof text - 1 &&
                    (n = read(ends[0], text + length, sizeof text - 1 - length)) > 0;)
        length += (size_t)n;
    text[length] = 0;
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    o.should = *s.note;
    scene_close(&s);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && !strncmp(text, "alloclab: ", 10))
        report_parse(&o, text, subject->design->name, misuse->name);
    else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        strcpy(o.what, "crash");
    else if (length)
        fail_msg("%s: %s: not ended, but said: %s", subject->spec, misuse->name, text);
    return o;
}

/* ---- all of them ---- */

enum { SUBJECTS_MAX = 128 };

static struct subject subjects[SUBJECTS_MAX];
static struct outcome outcomes[SUBJECTS_MAX][MISUSES];
static size_t subject_count, subjects_done;

static bool subject_tried(const struct subject *subject)
{
    return !(subject->design->traits & ALLOCATOR_FOREIGN);
}

static void subject_add(const struct allocator *design, const char *spec, enum form form)
{
    if (subject_count == SUBJECTS_MAX) {
        fprintf(stderr, "misuse: more than %d designs: raise SUBJECTS_MAX\n", SUBJECTS_MAX);
        exit(2);
    }
    struct subject *subject = &subjects[subject_count++];
    *subject = (struct subject){.design = design, .form = form};
    snprintf(subject->spec, sizeof subject->spec, "%s", spec);
    char *colon = strchr(subject->spec, ':');
    subject->options = colon ? colon + 1 : NULL;
}

static void subjects_find(void)
{
    for (size_t i = 0; allocators[i]; i++) {
        bool listed = false;
        for (enum form form = 0; form < FORMS; form++) {
            size_t stem = strcspn(form_specs[form], ":");
            if (strlen(allocators[i]->name) == stem &&
                !strncmp(allocators[i]->name, form_specs[form], stem)) {
                subject_add(allocators[i], form_specs[form], form);
                listed = true;
            }
        }
        if (!listed)
            subject_add(allocators[i], allocators[i]->name, FORMS);
    }
}

static void test_subject(void **state)
{
    const struct subject *subject = *state;
    struct outcome *row = outcomes[subject - subjects];
    for (size_t i = 0; i < MISUSES && subject_tried(subject); i++) {
        const struct misuse *misuse = &misuses[i];
        struct outcome *o = &row[i];
        *o = misuse_try(subject, misuse);
        if (o->what[0] && o->named && o->named != o->should)
            fail_msg("%s: %s: '%s' names %p, not %p", subject->spec, misuse->name, o->what,
                     o->named, o->should);
        if (subject->form == FORMS)
            continue;
        const char *expected = misuse->expected[subject->form];
        if (strcmp(o->what, expected ? expected : "") != 0)
            fail_msg("%s: %s: '%s' instead of '%s'", subject->spec, misuse->name, o->what,
                     expected ? expected : "");
    }
    subjects_done++;
}

/* ---- the document ---- */

static const char *cell_text(size_t subject, size_t misuse)
{
    const char *what = outcomes[subject][misuse].what;
    if (!subject_tried(&subjects[subject]))
        return "depends";
    return what[0] ? what : "–";
}

static bool subject_documented(const struct subject *subject, const char *header)
{
    const char *cell = header ? strstr(header, subject->spec) : NULL;
    size_t length = strlen(subject->spec);
    for (; cell; cell = strstr(cell + 1, subject->spec))
        if (!memcmp(cell - 2, "| ", 2) && !strncmp(cell + length, " |", 2))
            return true;
    return !header;
}

static void document_write(FILE *out, const char *header)
{
    fprintf(out,
            "# Which design detects which misuse\n\n"
            "Made by `make misuse-table` from tests/misuse/misuse.c, which runs each misuse in a "
            "process of its own.\n"
            "A cell is what the design says before it aborts (`alloclab: NAME: WHAT at "
            "ADDRESS`).\n\n"
            "- `–`: not detected. The program goes on, with whatever the misuse has done.\n"
            "- `crash`: a fault or a hang instead of a report.\n"
            "- `depends`: on the C library, or the rival that runs in its place, and its "
            "version. Not tried.\n\n");
    fprintf(out, "| misuse |");
    for (size_t i = 0; i < subject_count; i++)
        if (subject_documented(&subjects[i], header))
            fprintf(out, " %s |", subjects[i].spec);
    fprintf(out, "\n|---|");
    for (size_t i = 0; i < subject_count; i++)
        if (subject_documented(&subjects[i], header))
            fprintf(out, "---|");
    for (size_t k = 0; k < MISUSES; k++) {
        fprintf(out, "\n| %s |", misuses[k].name);
        for (size_t i = 0; i < subject_count; i++)
            if (subject_documented(&subjects[i], header))
                fprintf(out, " %s |", cell_text(i, k));
    }
    fprintf(out, "\n");
}

static void document_compare(void)
{
    char *made = NULL, *kept = NULL;
    size_t made_bytes, kept_room = 0;
    FILE *file = fopen(DOCUMENT, "r");
    if (!file)
        fail_msg("no %s: run make misuse-table", DOCUMENT);
    ssize_t kept_bytes = getdelim(&kept, &kept_room, '\0', file);
    fclose(file);
    char *header = kept_bytes > 0 ? strstr(kept, "| misuse |") : NULL;
    if (!header)
        fail_msg("%s has no table: run make misuse-table", DOCUMENT);
    header = strndup(header, strcspn(header, "\n"));
    for (size_t i = 0; i < subject_count; i++)
        if (!subject_documented(&subjects[i], header))
            print_message("# %s does not know %s yet: run make misuse-table\n", DOCUMENT,
                          subjects[i].spec);
    FILE *out = open_memstream(&made, &made_bytes);
    assert_non_null(out);
    document_write(out, header);
    fclose(out);
    if (strcmp(made, kept) != 0)
        fail_msg("%s differs from what was found: run make misuse-table, and look at the change",
                 DOCUMENT);
    free(header);
    free(made);
    free(kept);
}

static void document_replace(const char *path)
{
    char part[4096];
    int length = snprintf(part, sizeof part, "%s.part", path);
    assert_in_range(length, 1, sizeof part - 1);
    FILE *out = fopen(part, "w");
    if (!out)
        fail_msg("cannot write %s", part);
    document_write(out, NULL);
    if (ferror(out) | fclose(out) || rename(part, path))
        fail_msg("cannot write %s", path);
}

/* The document says what this run found. A design that it does not know yet is only pointed out. */
static void test_document(void **state)
{
    const char *path = *state;
    if (subjects_done != subject_count)
        fail_msg("not looked at: the misuses above did not all end as they should");
    if (path)
        document_replace(path);
    else
        document_compare();
}

/* With an argument, the name of a file, the document is written there instead of compared. */
int main(int argc, char **argv)
{
    struct CMUnitTest tests[SUBJECTS_MAX + 1];
    if (argc > 2) {
        fprintf(stderr, "usage: %s [FILE]\n", argv[0]);
        return 2;
    }
    subjects_find();
    for (size_t i = 0; i < subject_count; i++)
        tests[i] = (struct CMUnitTest){
            .name = subjects[i].spec, .test_func = test_subject, .initial_state = &subjects[i]};
    tests[subject_count] = (struct CMUnitTest){
        .name = DOCUMENT, .test_func = test_document, .initial_state = argc == 2 ? argv[1] : NULL};
    return _cmocka_run_group_tests("misuse", tests, subject_count + 1, NULL, NULL);
}
