/*
 * dropin.c - finds the libraries of dropin.h beside the running program, so that a build folder can
 * be moved or copied as a whole.
 */
#include "harness/dropin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/dropin.h"
#include "harness/registry.h"
#include "traces/recorder/capture.h"

int library_beside(const char *file, char path[PATH_MAX], struct error *err)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0)
        return error_set(err, "/proc/self/exe: cannot read: %s", strerror(errno));
    self[n] = 0;
    int dir = (int)(strrchr(self, '/') - self);
    if (snprintf(path, PATH_MAX, "%.*s/%s", dir, self, file) >= PATH_MAX)
        return error_set(err, "%s: the path is too long", self);
    if (access(path, R_OK) != 0)
        return error_set(err, "%s: cannot read it: %s; `make` builds it", path, strerror(errno));
    if (strpbrk(path, " :"))
        return error_set(err,
                         "%s: the dynamic linker cannot preload from a path with a space or colon:"
                         " move the build",
                         path);
    return 0;
}

/* "buddy, segfit": the designs that have a drop-in library. */
static void names_list(char *text, size_t bytes)
{
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; allocators[i] && used < bytes; i++)
        if (!dropin_refusal(allocators[i]))
            used += (size_t)snprintf(text + used, bytes - used, "%s%s", used ? ", " : "",
                                     allocators[i]->name);
}

int dropin_library(const struct allocator *design, char path[PATH_MAX], struct error *err)
{
    const char *refusal = dropin_refusal(design);
    char names[512], file[PATH_MAX];
    if (refusal) {
        names_list(names, sizeof names);
        return error_set(err, "%s cannot stand in for malloc: %s; these can: %s", design->name,
                         refusal, names);
    }
    snprintf(file, sizeof file, "liballoclab-%s.so", design->name);
    return library_beside(file, path, err);
}

int preload_add(const char *path)
{
    const char *before = getenv("LD_PRELOAD"), *rest;
    size_t name = strlen(CAPTURE_LIBRARY), first = before ? strcspn(before, ":") : 0;
    char *preload;
    before = before ? before : "";
    if (first < name || strncmp(before + first - name, CAPTURE_LIBRARY, name) != 0)
        first = 0; /* else it is the recorder, which sees nothing unless it stays there */
    rest = before + first;
    rest += *rest == ':';
    if (asprintf(&preload, "%.*s%s%s%s%s", (int)first, before, first ? ":" : "", path,
                 *rest ? ":" : "", rest) < 0)
        return -1;
    int failed = setenv("LD_PRELOAD", preload, 1);
    free(preload);
    return failed;
}
