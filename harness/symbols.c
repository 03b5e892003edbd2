/*
 * symbols.c - a module's file is looked for where the recording disclosed it, in the folders that
 * the user names, and in the system's usual ones, by build id or by base name; the first one with the
 * module's build id is taken. Then eu-addr2line (elfutils) is asked for all of the module's places at
 * once: it finds separate debug files, inlined calls and C++ names. A process of its own, because a
 * library for it would be mapped into every cell that is measured.
 */
#include "harness/symbols.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/array.h"
#include "traces/build_id.h"
#include "traces/sites_text.h"

#define SYMBOLIZER "eu-addr2line"

extern char **environ;

struct label {
    char *name, *where;
};

struct place_labels {
    struct label *labels;
    uint64_t count, room;
};

struct symbols {
    const struct sites *sites;
    struct place_labels *places; /* by number */
    uint32_t count;
};

/* ---- a module's file ---- */

/* True if the notes hold this build id. */
static bool notes_match(const unsigned char *notes, size_t bytes, const char *build)
{
    const void *id;
    char hex[2 * SITES_BUILD_BYTES + 1];
    size_t found = build_id_in((const char *)notes, (const char *)notes + bytes, &id);
    if (found == 0 || found > SITES_BUILD_BYTES)
        return false;
    build_id_hex(id, found, hex);
    return !strcmp(hex, build);
}

static bool image_matches(const unsigned char *image, size_t bytes, const char *build)
{
    Elf64_Ehdr head;
    if (bytes < sizeof head)
        return false;
    memcpy(&head, image, sizeof head);
    if (memcmp(head.e_ident, ELFMAG, SELFMAG) || head.e_ident[EI_CLASS] != ELFCLASS64)
        return false;
    for (unsigned i = 0; i < head.e_shnum; i++) { /* a debug file keeps its notes in a section */
        Elf64_Shdr s;
        if (head.e_shoff > bytes || (bytes - head.e_shoff) / sizeof s <= i)
            return false;
        memcpy(&s, image + head.e_shoff + i * sizeof s, sizeof s);
        if (s.sh_type == SHT_NOTE && s.sh_offset <= bytes && s.sh_size <= bytes - s.sh_offset &&
            notes_match(image + s.sh_offset, s.sh_size, build))
            return true;
    }
    return false;
}

enum fit { FIT_ABSENT, FIT_OTHER, FIT_SAME };

static enum fit file_fits(const char *path, const char *build)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return FIT_ABSENT;
    enum fit fit = FIT_ABSENT;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0) {
        size_t bytes = (size_t)status.st_size;
        void *image = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (image != MAP_FAILED) {
            fit = image_matches(image, bytes, build) ? FIT_SAME : FIT_OTHER;
            munmap(image, bytes);
        }
    }
    close(fd);
    return fit;
}

struct search {
    const struct site_module *module;
    char path[4096];  /* the file that fits */
    char other[4096]; /* one of the name that does not; "": none */
};

__attribute__((format(printf, 2, 3))) static bool search_try(struct search *s, const char *format,
                                                             ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(s->path, sizeof s->path, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= sizeof s->path)
        return false;
    enum fit fit = file_fits(s->path, s->module->build);
    if (fit == FIT_OTHER && !s->other[0])
        snprintf(s->other, sizeof s->other, "%s", s->path);
    return fit == FIT_SAME;
}

static bool search_folder(struct search *s, const char *folder, int length)
{
    const char *build = s->module->build, *name = s->module->name;
    return search_try(s, "%.*s/.build-id/%.2s/%s.debug", length, folder, build, build + 2) ||
           search_try(s, "%.*s/%s", length, folder, name) ||
           search_try(s, "%.*s/%s.debug", length, folder, name);
}

static bool module_search(struct search *s, const char *debug)
{
    static const char usual[] =
        ".:/usr/local/bin:/usr/bin:/usr/sbin:/usr/local/lib:/lib/x86_64-linux-gnu:"
        "/lib/aarch64-linux-gnu:/lib/riscv64-linux-gnu:/lib64:/lib:/usr/lib64:/usr/lib:"
        "/usr/lib/debug";
    if (s->module->path[0] && search_try(s, "%s", s->module->path))
        return true;
    for (unsigned i = 0; i < 2; i++)
        for (const char *at = i ? usual : debug; at && *at;) {
            int length = (int)strcspn(at, ":");
            if (length && search_folder(s, at, length))
                return true;
            at += length + (at[length] == ':');
        }
    return false;
}

/* ---- asking elfutils ---- */

static bool label_add(struct place_labels *p, const char *name, const char *where)
{
    struct label *labels = array_room(p->labels, p->count, &p->room, sizeof *labels);
    if (!labels)
        return false;
    p->labels = labels;
    labels[p->count] = (struct label){strdup(name), strdup(where)};
    if (!labels[p->count].name || !labels[p->count].where)
        return false;
    p->count++;
    return true;
}

/* Of a place without names; what an importer knew counts as names. */
static bool label_plain(struct symbols *s, uint32_t place)
{
    char name[2 * SITES_STRING_BYTES + 64], where[SITES_STRING_BYTES + 16] = "";
    struct site_place p = sites_place_at(s->sites, place);
    if (p.function[0])
        snprintf(name, sizeof name, "%s", p.function);
    else
        sites_place_text(s->sites, place, name, sizeof name);
    if (p.file[0] && p.line)
        snprintf(where, sizeof where, "%s:%u", p.file, p.line);
    else if (p.file[0])
        snprintf(where, sizeof where, "%s", p.file);
    return label_add(&s->places[place], name, where);
}

static void line_end(char *line)
{
    line[strcspn(line, "\n")] = 0;
}

/* A function and, on the line below, where it is: the answers for one place, until the next "0x". */
static bool answers_take(struct symbols *s, const uint32_t *places, uint32_t count, FILE *answers)
{
    char *name = NULL, *where = NULL;
    size_t name_room = 0, where_room = 0;
    bool kept = true;
    for (uint32_t i = 0; kept && getline(&name, &name_room, answers) > 0;) {
        line_end(name);
        if (!strncmp(name, "0x", 2)) {
            i++;
            continue;
        }
        if (i == 0 || i > count || getline(&where, &where_room, answers) <= 0)
            break;
        line_end(where);
        char *inlined = strstr(name, " inlined at ");
        if (inlined)
            *inlined = 0;
        if (!strncmp(where, "??", 2))
            *where = 0;
        if (strcmp(name, "??"))
            kept = label_add(&s->places[places[i - 1]], name, where);
    }
    free(name);
    free(where);
    return kept;
}

/* Starts it with the file of questions as its input; its output, or -1 with errno. */
static int symbolizer_start(const char *path, const char *debug, int questions, pid_t *pid)
{
    char folders[8192];
    int ends[2];
    snprintf(folders, sizeof folders, "--debuginfo-path=:.debug:/usr/lib/debug%s%s",
             debug ? ":" : "", debug ? debug : "");
    char *argv[] = {SYMBOLIZER, "-a", "-f", "-i", "-C", folders, "-e", (char *)path, NULL};
    posix_spawn_file_actions_t actions;
    if (pipe2(ends, O_CLOEXEC))
        return -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, questions, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    int failed = posix_spawnp(pid, SYMBOLIZER, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (!failed)
        return ends[0];
    close(ends[0]);
    errno = failed;
    return -1;
}

/* The places are all of one module, whose file is at the path. */
static int module_ask(struct symbols *s, const char *path, const char *debug,
                      const uint32_t *places, uint32_t count, struct error *err)
{
    pid_t pid;
    int status, fd = memfd_create("alloclab-symbols", MFD_CLOEXEC), answers = -1;
    FILE *questions = fd < 0 ? NULL : fdopen(fd, "w+");
    if (!questions)
        return error_set(err, "no memory for names: %s", strerror(errno));
    for (uint32_t i = 0; i < count; i++)
        fprintf(questions, "0x%" PRIx64 "\n", sites_place_at(s->sites, places[i]).offset);
    if (fflush(questions) == 0 && lseek(fd, 0, SEEK_SET) == 0)
        answers = symbolizer_start(path, debug, fd, &pid);
    fclose(questions);
    if (answers < 0)
        return error_set(err, "cannot run " SYMBOLIZER ": %s: Debian's package elfutils has it",
                         strerror(errno));
    FILE *stream = fdopen(answers, "r");
    bool kept = stream && answers_take(s, places, count, stream);
    if (stream)
        fclose(stream);
    else
        close(answers);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return kept ? 0 : error_set(err, "no memory for names");
}

/* ---- all modules ---- */

static int module_read(struct symbols *s, uint32_t module, const unsigned char *wanted,
                       const char *debug, FILE *said, struct error *err)
{
    struct site_module m = sites_module_at(s->sites, module);
    struct search search = {.module = &m};
    uint32_t *places = malloc((s->count + 1) * sizeof *places), count = 0;
    if (!places)
        return error_set(err, "no memory for names");
    for (uint32_t p = 1; p <= s->count; p++) {
        struct site_place place = sites_place_at(s->sites, p);
        if (wanted[p] && place.module == module && place.offset != SITE_NO_OFFSET &&
            !place.function[0])
            places[count++] = p;
    }
    int failed = 0;
    if (count && !m.build[0])
        fprintf(said, "%s: recorded without a build id: no names\n", m.name);
    else if (count && module_search(&search, debug))
        failed = module_ask(s, search.path, debug, places, count, err);
    else if (count)
        fprintf(said, "%s: %s%s: no names; --debug FOLDER says where build id %s is\n", m.name,
                search.other[0] ? "another build is at " : "no such file in the usual folders",
                search.other, m.build);
    free(places);
    return failed;
}

struct symbols *symbols_read(const struct sites *sites, const unsigned char *wanted,
                             const char *debug, FILE *said, struct error *err)
{
    struct symbols *s = calloc(1, sizeof *s);
    if (s)
        *s = (struct symbols){.sites = sites, .count = sites_count(sites, SITES_PLACE)};
    if (s)
        s->places = calloc(s->count + 1, sizeof *s->places);
    int failed = s && s->places ? 0 : error_set(err, "no memory for names");
    uint32_t modules = sites_count(sites, SITES_MODULE);
    for (uint32_t m = 1; !failed && m <= modules; m++)
        failed = module_read(s, m, wanted, debug, said, err);
    for (uint32_t p = 1; !failed && p <= s->count; p++)
        if (wanted[p] && s->places[p].count == 0 && !label_plain(s, p))
            failed = error_set(err, "no memory for names");
    if (!failed)
        return s;
    symbols_free(s);
    return NULL;
}

void symbols_free(struct symbols *s)
{
    if (!s)
        return;
    for (uint32_t p = 0; s->places && p <= s->count; p++) {
        for (uint64_t i = 0; i < s->places[p].count; i++) {
            free(s->places[p].labels[i].name);
            free(s->places[p].labels[i].where);
        }
        free(s->places[p].labels);
    }
    free(s->places);
    free(s);
}

unsigned symbols_count(const struct symbols *s, uint32_t place)
{
    return (unsigned)s->places[place].count;
}

const char *symbols_name(const struct symbols *s, uint32_t place, unsigned n, const char **where)
{
    const struct label *label = &s->places[place].labels[n];
    *where = label->where;
    return label->name;
}
