/*
 * site.c - tables of nodes and modules, and what they write.
 *
 * The nodes of a lane are found by a hash of caller and place in a table that doubles. A new one
 * asks the C library's table of what is loaded for its module (no lock, no memory), and its link map
 * for the name; the build id is read from the notes in memory.
 *
 * dlclose is ours too, since what the C library unloads by it may come back as something else at the
 * same addresses. It unloads more by itself (converters of iconv, name services): that is noticed
 * when a new place lies in a module that overlaps another one.
 */
#include "traces/recorder/site.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "traces/build_id.h"
#include "traces/recorder/glibc.h"
#include "traces/recorder/lane.h"
#include "traces/recorder/sink.h"

static_assert((int)CAPTURE_DEPTH < (int)STACK_FRAMES, "a walk is never too short");

enum {
    FIRST_NODES = 1024, /* places of a table; a power of two */
    MOST_NODES = 1 << 21,
    MOST_MODULES = 1024, /* what is in others has an unknown place */
    HEADER_BYTES = 4096, /* of an ELF file, that are surely mapped */
    MOST_BUILD_BYTES = 64,
    MOST_NAME_BYTES = 4096,
};

struct node { /* number 0: a free place */
    uintptr_t at;
    uint32_t caller, number;
};

struct nodes {
    struct node *places;
    uint32_t count, room;
};

struct module {
    const char *start, *end;
    uintptr_t bias;
    uint64_t name_hash;
};

struct sites {
    uint32_t generation, modules;
    uint32_t last; /* the site of the last stack */
    struct nodes nodes;
    struct module module[MOST_MODULES];
    struct stack stack; /* last: only there if stacks are wanted */
};

static _Atomic uint32_t generation;
static _Atomic uintptr_t own_start, own_end; /* the recorder's text */

static void *map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* ---- modules ---- */

static uint64_t name_hash(const char *name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (; name && *name; name++)
        h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return h;
}

/* The program's headers are told by the kernel, because its range may be of a part of it. */
static const ElfW(Phdr) * headers_find(const struct module *m, bool is_program, size_t *count)
{
    const ElfW(Ehdr) *head = (const void *)m->start;
    if (is_program) {
        *count = getauxval(AT_PHNUM);
        return (const void *)getauxval(AT_PHDR);
    }
    if (m->end - m->start < HEADER_BYTES || !stack_readable((uintptr_t)(head)) ||
        memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 ||
        head->e_phoff + head->e_phnum * sizeof(ElfW(Phdr)) > HEADER_BYTES)
        return NULL;
    *count = head->e_phnum;
    return (const void *)(m->start + head->e_phoff);
}

static size_t build_find(const struct module *m, bool is_program, const void **id)
{
    size_t found = 0, count = 0;
    const ElfW(Phdr) *row = headers_find(m, is_program, &count);
    for (size_t i = 0; row && i < count && !found; i++) {
        const char *note = (const char *)(row[i].p_vaddr + m->bias);
        if (row[i].p_type == PT_NOTE && stack_readable((uintptr_t)(note)) &&
            stack_readable((uintptr_t)(note + row[i].p_memsz - 1)))
            found = build_id_in(note, note + row[i].p_memsz, id);
    }
    return found <= MOST_BUILD_BYTES ? found : 0;
}

/* Stores bytes as whole words; returns the place after them. */
static uint32_t words_put(struct lane *l, uint32_t at, const void *bytes, size_t count)
{
    uint64_t *to = (uint64_t *)(l->chunk + 1) + at;
    if (count == 0)
        return at;
    to[(count - 1) / 8] = 0;
    memcpy(to, bytes, count);
    return at + (uint32_t)((count + 7) / 8);
}

/* Stores the program's path, for which there is room, as the others are: it has no place on a stack. How many bytes
 * it has. */
static size_t program_put(struct lane *l, uint32_t at)
{
    char *to = (char *)((uint64_t *)(l->chunk + 1) + at);
    long n = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", to, (size_t)MOST_NAME_BYTES);
    size_t bytes = n > 0 ? (size_t)n : 0;
    memset(to + bytes, 0, -bytes % 8);
    return bytes;
}

static bool module_write(struct lane *l, const struct module *m, const char *name)
{
    const void *build = NULL;
    bool is_program = !name || !*name;
    size_t build_bytes = build_find(m, is_program, &build),
           name_bytes = is_program ? MOST_NAME_BYTES : strlen(name);
    if (name_bytes > MOST_NAME_BYTES) {
        name += name_bytes - MOST_NAME_BYTES;
        name_bytes = MOST_NAME_BYTES;
    }
    if (!lane_reserve(l, (uint32_t)(1 + (build_bytes + 7) / 8 + (name_bytes + 7) / 8)))
        return false;
    uint32_t at = words_put(l, l->used + 1, build, build_bytes);
    if (is_program)
        name_bytes = program_put(l, at);
    else
        words_put(l, at, name, name_bytes);
    uint64_t head =
        CAPTURE_MODULE | build_bytes << CAPTURE_BUILD_AT | (uint64_t)name_bytes << CAPTURE_NAME_AT;
    words_put(l, l->used, &head, sizeof head);
    lane_count(l, at + (uint32_t)((name_bytes + 7) / 8));
    return true;
}

static bool is_module(const struct module *a, const struct module *b)
{
    return a->start == b->start && a->end == b->end && a->bias == b->bias &&
           a->name_hash == b->name_hash;
}

/* The module that the place is in: its number; 0: none. *stale: another one was there. */
static uint32_t module_find(struct lane *l, struct sites *s, uintptr_t at, uintptr_t *bias,
                            bool *stale)
{
    struct dl_find_object found;
    *bias = 0;
    if (_dl_find_object((void *)at, &found) != 0)
        return 0;
    const char *name = found.dlfo_link_map->l_name;
    struct module m = {.start = found.dlfo_map_start,
                       .end = found.dlfo_map_end,
                       .bias = found.dlfo_link_map->l_addr,
                       .name_hash = name_hash(name)};
    *bias = m.bias;
    for (uint32_t i = 0; i < s->modules; i++) {
        if (is_module(&s->module[i], &m))
            return i + 1;
        if (s->module[i].start < m.end && m.start < s->module[i].end) {
            *stale = true;
            return 0;
        }
    }
    if (s->modules == MOST_MODULES || !module_write(l, &m, name))
        return 0;
    s->module[s->modules++] = m;
    return s->modules;
}

/* ---- nodes ---- */

static inline struct node *node_place(const struct nodes *n, uint32_t caller, uintptr_t at)
{
    uint64_t hash = (at ^ (uint64_t)caller << 24) * UINT64_C(0x9e3779b97f4a7c15);
    size_t i = (hash ^ hash >> 32) & (n->room - 1);
    while (n->places[i].number && (n->places[i].at != at || n->places[i].caller != caller))
        i = (i + 1) & (n->room - 1);
    return &n->places[i];
}

/* Doubles the table; false: no memory. */
static bool nodes_grow(struct nodes *n)
{
    struct nodes grown = {.count = n->count, .room = n->room ? 2 * n->room : FIRST_NODES};
    grown.places = map(grown.room * sizeof *grown.places);
    if (!grown.places)
        return false;
    for (uint32_t i = 0; i < n->room; i++)
        if (n->places[i].number)
            *node_place(&grown, n->places[i].caller, n->places[i].at) = n->places[i];
    if (n->places)
        munmap(n->places, n->room * sizeof *n->places);
    *n = grown;
    return true;
}

/* 0: no room, in memory or in the capture; or *stale. */
__attribute__((noinline, cold)) static uint32_t
node_make(struct lane *l, struct sites *s, uint32_t caller, uintptr_t at, bool *stale)
{
    struct nodes *n = &s->nodes;
    uintptr_t bias;
    int error = errno;
    uint32_t number = 0, module = module_find(l, s, at, &bias, stale);
    if (!*stale && n->count < MOST_NODES && (n->count < n->room / 2 || nodes_grow(n)) &&
        lane_reserve(l, 2)) {
        const uint64_t words[] = {CAPTURE_NODE | (uint64_t)module << CAPTURE_MODULE_AT |
                                      (uint64_t)caller << CAPTURE_CALLER_AT,
                                  module ? at - bias : 0};
        lane_count(l, words_put(l, l->used, words, sizeof words));
        number = ++n->count;
        *node_place(n, caller, at) = (struct node){.at = at, .caller = caller, .number = number};
    }
    errno = error;
    return number;
}

static inline bool is_hidden(uintptr_t at)
{
    uintptr_t start = atomic_load_explicit(&own_start, memory_order_relaxed);
    return at - start < atomic_load_explicit(&own_end, memory_order_relaxed) - start ||
           at == UINTPTR_MAX;
}

static inline uint32_t node_of(struct lane *l, struct sites *s, uint32_t caller, uintptr_t at,
                               bool *stale)
{
    const struct node *place = node_place(&s->nodes, caller, at);
    if (LIKELY(place->number))
        return place->number;
    return is_hidden(at) ? caller : node_make(l, s, caller, at, stale);
}

/* ---- tables ---- */

static size_t sites_bytes(void)
{
    return sink_settings.sites == CAPTURE_SITES_STACK ? sizeof(struct sites)
                                                      : offsetof(struct sites, stack);
}

static void sites_forget(struct sites *s)
{
    if (s->nodes.count)
        memset(s->nodes.places, 0, s->nodes.room * sizeof *s->nodes.places);
    s->nodes.count = s->modules = s->last = 0;
    if (sink_settings.sites == CAPTURE_SITES_STACK)
        stack_forget(&s->stack);
    s->generation = atomic_load(&generation);
}

/* The lane's table, begun anew if it must; NULL: no memory. */
__attribute__((noinline, cold)) static struct sites *sites_begin(struct lane *l)
{
    struct dl_find_object found;
    if (!l->sites) {
        struct sites *s = map(sites_bytes());
        if (!s || !nodes_grow(&s->nodes)) {
            if (s)
                munmap(s, sites_bytes());
            return NULL;
        }
        if (_dl_find_object((void *)(uintptr_t)site_put, &found) == 0) {
            atomic_store(&own_end, (uintptr_t)found.dlfo_map_end);
            atomic_store(&own_start, (uintptr_t)found.dlfo_map_start);
        }
        sites_forget(s);
        l->sites = s;
        return s;
    }
    if (!lane_reserve(l, 1))
        return NULL;
    const uint64_t word = CAPTURE_FORGET;
    lane_count(l, words_put(l, l->used, &word, sizeof word));
    sites_forget(l->sites);
    return l->sites;
}

void site_lane_begins(struct lane *l)
{
    if (l->sites)
        sites_forget(l->sites);
}

void site_code_unloaded(void)
{
    atomic_fetch_add(&generation, 1);
}

/* ---- sites ---- */

/* Of the innermost frames of a stack that is deeper than what is wanted. */
static uint32_t site_of_part(struct lane *l, struct sites *s, bool *stale)
{
    uint32_t node = 0;
    for (uint32_t i = s->stack.top + sink_settings.site_depth; i-- > s->stack.top && !*stale;) {
        uintptr_t at = stack_at(&s->stack.frames[i]);
        uint32_t next = node_of(l, s, node, at, stale);
        if (next == 0 && !is_hidden(at))
            return 0;
        node = next;
    }
    return node;
}

static uint32_t site_of_walk(struct lane *l, struct sites *s, const struct frame *f, bool *stale)
{
    struct stack *stack = &s->stack;
    if (!stack_walk(stack, f, sink_settings.site_depth) && s->last)
        return s->last;
    if (STACK_FRAMES - stack->top > sink_settings.site_depth)
        return s->last = site_of_part(l, s, stale);
    uint32_t node = stack->noded < STACK_FRAMES ? stack->frames[stack->noded].node : 0;
    while (stack->noded > stack->top) {
        uintptr_t at = stack_at(&stack->frames[stack->noded - 1]);
        uint32_t next = node_of(l, s, node, at, stale);
        if (next == 0 && !is_hidden(at))
            return s->last = 0;
        stack->frames[--stack->noded].node = node = next;
    }
    return s->last = node;
}

static uint32_t site_of_stack(struct lane *l, struct sites *s, const struct frame *f, bool *stale)
{
    uint32_t site = stack_recall(&s->stack, f);
    if (LIKELY(site))
        return site;
    site = site_of_walk(l, s, f, stale);
    if (site)
        stack_remember(&s->stack, f, sink_settings.site_depth, site);
    return site;
}

uint32_t site_put(struct lane *l, const struct frame *f)
{
    struct sites *s = l->sites;
    uint32_t site = 0;
    bool stale = true;
    for (int try = 0; try < 2 && stale; try++) {
        if (UNLIKELY(!s ||
                     s->generation != atomic_load_explicit(&generation, memory_order_relaxed) ||
                     try > 0))
            s = sites_begin(l);
        if (!s)
            break;
        stale = false;
        site = sink_settings.sites == CAPTURE_SITES_STACK ? site_of_stack(l, s, f, &stale)
                                                          : node_of(l, s, 0, f->caller - 1, &stale);
    }
    if (UNLIKELY(site == 0)) {
        sink_count_siteless();
        return 0;
    }
    ((uint64_t *)(l->chunk + 1))[l->used] = CAPTURE_SITE | (uint64_t)site << CAPTURE_CALLER_AT;
    return 1;
}
