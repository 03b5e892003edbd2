/*
 * unrecorded.c - compares what was started with what was recorded.
 *
 * A capture is named by the time and the process of its start. An exec that no capture of the same
 * process follows was of a program that the recorder was not loaded into; its file says why, as a
 * rule. An exec that failed is taken back by a second note.
 */
#include "harness/unrecorded.h"

#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/array.h"
#include "harness/pass.h"
#include "traces/recorder/capture.h"

int unrecorded_capture(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot && !strcmp(dot, ".capture");
}

/* The program's file, as execvp finds it; "" if it does not. */
static void program_find(const char *command, char path[PATH_MAX])
{
    *path = 0;
    if (strchr(command, '/'))
        snprintf(path, PATH_MAX, "%s", command);
    for (const char *dir = getenv("PATH"); !*path && dir;
         dir = strchr(dir, ':') ? strchr(dir, ':') + 1 : NULL) {
        snprintf(path, PATH_MAX, "%.*s/%s", (int)strcspn(dir, ":"), dir, command);
        if (access(path, X_OK) != 0)
            *path = 0;
    }
}

const char *unrecorded_reason(const char *command)
{
    char path[PATH_MAX];
    Elf64_Ehdr head;
    struct stat status;
    program_find(command, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0 || pread(fd, &head, sizeof head, 0) != sizeof head ||
        memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) {
        if (fd >= 0)
            close(fd);
        return "it is not a dynamically linked program, or cleared LD_PRELOAD for what it ran";
    }
    bool dynamic = head.e_ident[EI_CLASS] != ELFCLASS64;
    for (unsigned i = 0; i < head.e_phnum && !dynamic; i++) {
        Elf64_Phdr row;
        dynamic = pread(fd, &row, sizeof row, (off_t)(head.e_phoff + i * head.e_phentsize)) ==
                      sizeof row &&
                  row.p_type == PT_INTERP;
    }
    close(fd);
    if (!dynamic)
        return "it is statically linked: link it dynamically, so that its calls can be seen";
    if (status.st_mode & (S_ISUID | S_ISGID))
        return "it is setuid or setgid, and the dynamic linker ignores LD_PRELOAD: record a copy"
               " without that bit";
    if (head.e_ident[EI_CLASS] != ELFCLASS64)
        return "it is not a 64-bit program: the recorder is";
    return "the dynamic linker did not load the recorder: another architecture, file capabilities,"
           " or a C library that is not glibc; or another malloc comes first: the program's own, a"
           " sanitizer's, valgrind's; or the process may not write beside the trace";
}

/* ---- notes ---- */

struct start { /* of a program */
    int pid;
    uint64_t ns;
    const char *word, *path; /* in the text */
    bool failed;
};

struct starts {
    char *text;
    struct start *list;
    uint64_t count, room;
};

void unrecorded_notes(const char *folder, const char *command)
{
    char file[PATH_MAX], path[PATH_MAX];
    program_find(command, path);
    snprintf(file, sizeof file, "%s/" CAPTURE_EXECS, folder);
    FILE *f = fopen(file, "we");
    if (!f)
        return;
    if (geteuid() == 0)
        fchmod(fileno(f), 0622); /* for processes that give up their rights */
    fprintf(f, "%d %" PRIu64 " " CAPTURE_EXEC_WITH " %s\n", (int)getpid(), clock_now_ns(), path);
    fclose(f);
}

int unrecorded_is_notes(const struct dirent *entry)
{
    return strncmp(entry->d_name, CAPTURE_EXECS, strlen(CAPTURE_EXECS)) == 0;
}

/* Copies a file up to its end or first 0. */
static void text_copy(const char *path, FILE *to)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *f = fopen(path, "re");
    ssize_t n = f ? getdelim(&text, &bytes, 0, f) : -1;
    if (n > 0)
        fwrite(text, 1, strnlen(text, (size_t)n), to);
    free(text);
    if (f)
        fclose(f);
}

/* All notes, ended by a 0; NULL: there are none. */
static char *text_read(const char *folder)
{
    char file[PATH_MAX], *text = NULL;
    size_t bytes = 0;
    struct dirent **files = NULL;
    int count = scandir(folder, &files, unrecorded_is_notes, alphasort);
    FILE *all = open_memstream(&text, &bytes);
    for (int i = 0; i < count; i++) {
        snprintf(file, sizeof file, "%s/%s", folder, files[i]->d_name);
        if (all)
            text_copy(file, all);
        free(files[i]);
    }
    free(files);
    if (all)
        fclose(all);
    return text;
}

/* A note that something failed takes back the process's last one. */
static void failure_apply(struct starts *s, int pid)
{
    for (uint64_t i = s->count; i-- > 0;)
        if (s->list[i].pid == pid) {
            s->list[i].failed = true;
            return;
        }
}

static void line_take(struct starts *s, char *line)
{
    char *end, *word, *path;
    struct start start = {.pid = (int)strtol(line, &end, 10)};
    start.ns = strtoull(end, &end, 10);
    word = *end == ' ' ? end + 1 : NULL;
    path = word ? strchr(word, ' ') : NULL;
    if (!path)
        return; /* cut short by a full disk */
    *path = 0;
    start.word = word;
    start.path = path + 1;
    if (!strcmp(word, CAPTURE_EXEC_FAILED)) {
        failure_apply(s, start.pid);
        return;
    }
    struct start *list = array_room(s->list, s->count, &s->room, sizeof *list);
    if (!list)
        return;
    s->list = list;
    list[s->count++] = start;
}

static struct starts starts_read(const char *folder)
{
    struct starts s = {.text = text_read(folder)};
    char *rest = s.text, *line;
    while (rest && (line = strsep(&rest, "\n")))
        if (*line)
            line_take(&s, line);
    return s;
}

/* ---- against the captures ---- */

/* When the process was recorded for the first time after `ns`; UINT64_MAX: never. */
static uint64_t capture_after(struct dirent **captures, int count, int pid, uint64_t ns)
{
    for (int i = 0; i < count; i++) { /* in the order of their start */
        char *end;
        uint64_t started = strtoull(captures[i]->d_name, &end, 16);
        if (started >= ns && *end == '-' && strtol(end + 1, NULL, 10) == pid)
            return started;
    }
    return UINT64_MAX;
}

static bool is_recorded(const struct starts *s, uint64_t at, struct dirent **captures, int count)
{
    const struct start *start = &s->list[at];
    uint64_t captured = capture_after(captures, count, start->pid, start->ns), next = UINT64_MAX;
    for (uint64_t i = at + 1; i < s->count; i++)
        if (s->list[i].pid == start->pid && !s->list[i].failed && s->list[i].ns < next)
            next = s->list[i].ns;
    return captured != UINT64_MAX && captured <= next;
}

static int by_path(const void *a, const void *b)
{
    const struct start *x = a, *y = b;
    int order = strcmp(x->path, y->path);
    return order ? order : strcmp(x->word, y->word);
}

static void missing_print(const struct start *start, uint64_t count)
{
    const char *reason = !strcmp(start->word, CAPTURE_EXEC_WITHOUT)
                             ? "LD_PRELOAD was taken out of its environment"
                         : !strcmp(start->word, CAPTURE_EXEC_CLOSED)
                             ? "it was started in a seccomp sandbox that lets it make no file"
                             : unrecorded_reason(start->path);
    fprintf(stderr, "alloclab record: %s: %" PRIu64 " %s not recorded: %s\n", start->path, count,
            count == 1 ? "process" : "processes", reason);
}

void unrecorded_print(const char *folder)
{
    struct starts s = starts_read(folder);
    struct dirent **captures = NULL;
    int count = scandir(folder, &captures, unrecorded_capture, alphasort);
    struct starts missing = {0};
    for (uint64_t i = 0; i < s.count; i++) {
        if (s.list[i].failed || is_recorded(&s, i, captures, count))
            continue;
        struct start *list = array_room(missing.list, missing.count, &missing.room, sizeof *list);
        if (!list)
            break;
        missing.list = list;
        list[missing.count++] = s.list[i];
    }
    if (missing.count)
        qsort(missing.list, missing.count, sizeof *missing.list, by_path);
    for (uint64_t i = 0, first = 0; i < missing.count; i++)
        if (i + 1 == missing.count || by_path(&missing.list[i], &missing.list[i + 1]) != 0) {
            missing_print(&missing.list[i], i + 1 - first);
            first = i + 1;
        }
    for (int i = 0; i < count; i++)
        free(captures[i]);
    free(captures);
    free(missing.list);
    free(s.list);
    free(s.text);
}
