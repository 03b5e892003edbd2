/*
 * deepbind.c - libraries that are loaded with RTLD_DEEPBIND (PHP loads its extensions so) look for malloc among
 * their own dependencies first, and find the C library's, past the recorder. So when such a dlopen has returned,
 * the words of what it has loaded that hold, or are to hold, the next definition are set to ours. What the
 * library's constructors did before is not seen.
 *
 * A dlopen that finds a library depends on who calls it (its run path, $ORIGIN, its namespace). So all others
 * end in a jump to the next one; and of these only those are taken that name a path, where it does not matter.
 *
 * Where the library brings a malloc of its own, as one of its dependencies, that is the one it would have had.
 */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "traces/recorder/calls.h"
#include "traces/recorder/glibc.h"

static void *(*next_dlopen)(const char *, int);

static const char *const names[] = {"malloc",         "calloc",        "realloc",  "free",
                                    "posix_memalign", "aligned_alloc", "memalign", "valloc",
                                    "pvalloc",        "reallocarray"};
enum { NAMES = sizeof names / sizeof *names };

struct search {
    unsigned before, seen;           /* objects that were there; of this walk */
    void *next[NAMES], *ours[NAMES]; /* NULL: not to be replaced */
};

/* What a walk over an object's relocations needs to know of it. */
struct object {
    uintptr_t base, end, relro, relro_end;
    const ElfW(Sym) * symbols;
    const char *strings;
    const ElfW(Rela) * data, *jumps;
    size_t data_bytes, jumps_bytes;
};

static bool object_read(struct object *o, const struct dl_phdr_info *info)
{
    const ElfW(Dyn) *dynamic = NULL;
    *o = (struct object){.base = info->dlpi_addr};
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t at = o->base + p->p_vaddr, end = at + p->p_memsz;
        if (p->p_type == PT_DYNAMIC)
            dynamic = (const ElfW(Dyn) *)at;
        else if (p->p_type == PT_LOAD && end > o->end)
            o->end = end;
        else if (p->p_type == PT_GNU_RELRO)
            o->relro = at, o->relro_end = end;
    }
    for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) {
        uintptr_t value =
            dynamic->d_un.d_ptr; /* the dynamic linker adds the base, but not everywhere */
        const void *p = (const void *)(value < o->base ? value + o->base : value);
        switch (dynamic->d_tag) {
        case DT_SYMTAB:
            o->symbols = p;
            break;
        case DT_STRTAB:
            o->strings = p;
            break;
        case DT_RELA:
            o->data = p;
            break;
        case DT_RELASZ:
            o->data_bytes = dynamic->d_un.d_val;
            break;
        case DT_JMPREL:
            o->jumps = p;
            break;
        case DT_PLTRELSZ:
            o->jumps_bytes = dynamic->d_un.d_val;
            break;
        default:
            break;
        }
    }
    return o->symbols && o->strings;
}

/* Words that were protected once they had their values are so again afterwards. */
static void word_set(const struct object *o, uintptr_t at, void *value)
{
    uintptr_t size = (uintptr_t)sysconf(_SC_PAGESIZE), page = at / size * size;
    bool closed = at >= o->relro && at < o->relro_end;
    if (closed && mprotect((void *)page, size, PROT_READ | PROT_WRITE) != 0)
        return;
    __atomic_store_n((void **)at, value, __ATOMIC_RELEASE);
    if (closed)
        mprotect((void *)page, size, PROT_READ);
}

static void relocations_walk(const struct search *s, const struct object *o,
                             const ElfW(Rela) * relocations, size_t bytes, bool jumps)
{
    for (size_t i = 0; relocations && i < bytes / sizeof *relocations; i++) {
        const ElfW(Sym) *symbol = &o->symbols[relocations[i].r_info >> 32];
        uintptr_t at = o->base + relocations[i].r_offset;
        const char *name = o->strings + symbol->st_name;
        if (symbol->st_shndx != SHN_UNDEF || !*name)
            continue;
        for (int n = 0; n < NAMES; n++) {
            if (!s->next[n] || strcmp(name, names[n]) != 0)
                continue;
            void *value = *(void **)at;
            bool unbound = jumps && (uintptr_t)value >= o->base && (uintptr_t)value < o->end;
            if (value == s->next[n] ||
                unbound) /* until its first call a jump leads to the linker */
                word_set(o, at, s->ours[n]);
        }
    }
}

static int object_take(struct dl_phdr_info *info, size_t bytes, void *arg)
{
    struct search *s = arg;
    struct object o;
    (void)bytes;
    if (s->seen++ < s->before || !object_read(&o, info))
        return 0;
    relocations_walk(s, &o, o.data, o.data_bytes, false);
    relocations_walk(s, &o, o.jumps, o.jumps_bytes, true);
    return 0;
}

static int object_count(struct dl_phdr_info *info, size_t bytes, void *arg)
{
    (void)info;
    (void)bytes;
    ++*(unsigned *)arg;
    return 0;
}

/* New objects are the last ones. What the linker says meanwhile is not the program's. */
static void library_bind(void *library, unsigned before)
{
    struct search s = {.before = before};
    self.resolving = true;
    for (int n = 0; n < NAMES; n++) {
        void *next = dlsym(RTLD_NEXT, names[n]);
        s.ours[n] = dlsym(RTLD_DEFAULT, names[n]);
        s.next[n] = next && dlsym(library, names[n]) == next ? next : NULL;
    }
    dlerror();
    self.resolving = false;
    dl_iterate_phdr(object_take, &s);
}

static __attribute__((noinline)) void *dlopen_deep(const char *file, int mode)
{
    unsigned before = 0;
    dl_iterate_phdr(object_count, &before);
    void *library = next_dlopen(file, mode);
    int error = errno;
    if (library)
        library_bind(library, before);
    errno = error;
    return library;
}

static bool is_deep(const char *file, int mode)
{
    return mode & RTLD_DEEPBIND && file && strchr(file, '/') && !strchr(file, '$') && sink_ready();
}

RECORDER_EXPORT void *dlopen(const char *file, int mode)
{
    if (UNLIKELY(!next_dlopen))
        *(void **)&next_dlopen = call_lookup("dlopen", NULL);
    if (UNLIKELY(is_deep(file, mode)))
        return dlopen_deep(file, mode);
    return next_dlopen(file, mode);
}
