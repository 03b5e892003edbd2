/*
 * preload.c - finds the libraries of rivals, makes the environment that loads one into a cell, and
 * proves inside the cell that it is the one that serves malloc: a library that the dynamic linker
 * could not load would otherwise be a silent measurement of glibc.
 */
#include "harness/preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <gnu/libc-version.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/dropin.h"

/* tbbmalloc's malloc itself is in a library of its own, which the one here loads. */
const struct rival rivals[] = {
    {"jemalloc", "libjemalloc.so.2", "libjemalloc2"},
    {"mimalloc", "libmimalloc.so.2", "libmimalloc2.0"},
    {"tcmalloc", "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"},
    {"tbbmalloc", "libtbbmalloc_proxy.so.2", "libtbbmalloc2"},
    {NULL, NULL, NULL},
};

#define PRELOAD "preload:"

/* ---- finding ---- */

/* The file that holds the C library: its folder is where the system keeps libraries. */
static const char *libc_path(void)
{
    Dl_info info;
    return dladdr((const void *)gnu_get_libc_version, &info) ? info.dli_fname : "";
}

static int path_set(struct preload *out, const char *path, struct error *err)
{
    if (!realpath(path, out->path))
        return error_set(err, PRELOAD "%s: %s: give the path of a library that defines malloc",
                         path, strerror(errno));
    if (access(out->path, R_OK))
        return error_set(err, "%s: cannot read it: %s", out->path, strerror(errno));
    if (strpbrk(out->path, " :"))
        return error_set(err,
                         "%s: the dynamic linker cannot preload from a path with a space or colon: "
                         "copy or link the library elsewhere",
                         out->path);
    return 0;
}

/* Looks in one folder; true if the file is there. */
static bool folder_has(const char *folder, size_t length, const char *file, char *path)
{
    return length && snprintf(path, PATH_MAX, "%.*s/%s", (int)length, folder, file) < PATH_MAX &&
           access(path, F_OK) == 0;
}

static int library_find(const struct rival *rival, struct preload *out, struct error *err)
{
    char folders[PATH_MAX], path[PATH_MAX];
    const char *own = getenv("ALLOCLAB_LIBRARY_PATH"), *libc = libc_path();
    const char *slash = strrchr(libc, '/');
    if (!own) {
        snprintf(folders, sizeof folders, "/usr/local/lib:%.*s:/usr/lib64:/usr/lib",
                 slash ? (int)(slash - libc) : 0, libc);
        own = folders;
    }
    for (const char *at = own; *at; at += strcspn(at, ":"), at += *at == ':')
        if (folder_has(at, strcspn(at, ":"), rival->library, path))
            return path_set(out, path, err);
    return error_set(err,
                     "%s: %s is not in %s: install the Debian package %s (`make rivals` installs "
                     "all rivals), or give its path as preload:/path/%s",
                     rival->name, rival->library, own, rival->package, rival->library);
}

int rival_find(const char *text, struct preload *out, struct error *err)
{
    *out = (struct preload){.load = true};
    if (!strncmp(text, PRELOAD, strlen(PRELOAD)))
        return path_set(out, text + strlen(PRELOAD), err) ? -1 : 1;
    size_t length = strcspn(text, ":/");
    bool glibc = length == 5 && !strncmp(text, "glibc", 5);
    const struct rival *rival = rivals;
    while (!glibc && rival->name &&
           (strlen(rival->name) != length || strncmp(rival->name, text, length)))
        rival++;
    if (!glibc && !rival->name)
        return 0;
    if (text[length])
        return error_set(err,
                         "%.*s takes no options here: set them by its own environment variable",
                         (int)length, text);
    out->load = !glibc;
    return (glibc ? path_set(out, libc_path(), err) : library_find(rival, out, err)) ? -1 : 1;
}

void rival_name(const char *text, const struct preload *p, char *name, size_t name_bytes,
                char *options, size_t options_bytes)
{
    bool by_path = !strncmp(text, PRELOAD, strlen(PRELOAD));
    const char *slash = strrchr(p->path, '/');
    snprintf(name, name_bytes, "%s", !by_path ? text : slash ? slash + 1 : p->path);
    snprintf(options, options_bytes, "%s", by_path ? p->path : "");
}

/* ---- in the cell ---- */

/* The library that serves malloc in this process; "" if the dynamic linker does not tell. */
static const char *malloc_server(void)
{
    Dl_info info;
    void *address = dlsym(RTLD_DEFAULT, "malloc");
    return address && dladdr(address, &info) && info.dli_fname ? info.dli_fname : "";
}

bool preload_serves(const char *path, struct error *why)
{
    struct stat wanted, serving;
    const char *server = malloc_server();
    if (!stat(path, &wanted) && !stat(server, &serving) && wanted.st_dev == serving.st_dev &&
        wanted.st_ino == serving.st_ino)
        return true;
    error_set(why, "malloc is served by %s, not by %s: it was not loaded, or defines no malloc",
              server[0] ? server : "another library", path);
    return false;
}

/* ---- the cell's environment ---- */

static bool is_ours(const char *variable)
{
    static const char *const names[] = {"LD_PRELOAD", DROPIN_ENV_OPTIONS, DROPIN_ENV_DOOR};
    size_t length = strcspn(variable, "=");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (length == strlen(names[i]) && !strncmp(variable, names[i], length))
            return true;
    return false;
}

char **preload_environment(const struct preload *p, const char *door)
{
    const char *options = p->options ? p->options : "";
    size_t count = 0, n = 0;
    while (environ[count])
        count++;
    size_t room = strlen(p->path) + strlen(options) + strlen(door) + 64;
    char **list = malloc((count + 4) * sizeof *list + room);
    if (!list)
        return NULL;
    char *text = (char *)(list + count + 4);
    for (size_t i = 0; i < count; i++)
        if (!is_ours(environ[i]))
            list[n++] = environ[i];
    if (p->load) {
        list[n++] = text;
        text += 1 + sprintf(text, "LD_PRELOAD=%s", p->path);
    }
    if (p->options) {
        list[n++] = text;
        text += 1 + sprintf(text, "%s=%s", DROPIN_ENV_OPTIONS, options);
        list[n++] = text;
        sprintf(text, "%s=%s", DROPIN_ENV_DOOR, door);
    }
    list[n] = NULL;
    return list;
}

/* ---- versions ---- */

/* The first line that a program prints; false if it fails or prints none. */
static bool output_line(char *const argv[], char *line, size_t bytes)
{
    int ends[2], status = -1;
    if (pipe(ends))
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(STDERR_FILENO);
        close(ends[0]);
        execvp(argv[0], argv);
        _exit(127);
    }
    close(ends[1]);
    FILE *f = fdopen(ends[0], "r");
    bool got = f && fgets(line, (int)bytes, f);
    while (f && fgetc(f) != EOF)
        ;
    if (f)
        fclose(f);
    else
        close(ends[0]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
        return false;
    line[got ? strcspn(line, "\n") : 0] = 0;
    return got;
}

bool package_version(const char *path, char *version, size_t bytes)
{
    char line[PATH_MAX + 256];
    char *which[] = {"dpkg-query", "-S", (char *)path, NULL};
    if (!output_line(which, line, sizeof line))
        return false;
    char *end = strstr(line, ": ");
    if (!end)
        return false;
    *end = 0;
    char *what[] = {"dpkg-query", "-W", "-f", "${Version}", line, NULL};
    return output_line(what, version, bytes);
}
