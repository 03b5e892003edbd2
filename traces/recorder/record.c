/*
 * record.c - the calls that the recorder stands in front of: malloc and its relatives, free, and
 * the marks of api/alloclab_mark.h; the C++ operators are in cxx.c. Each passes the program's call
 * on, unchanged, to the allocator that the program would have had without us (the next definition
 * in its search order), and notes it.
 *
 * What is noted is what the program asked for. A call that the allocator itself makes while it
 * serves another one is not the program's: it passes through and is only counted.
 *
 * The dynamic linker allocates while it looks the next definitions up (an error text, for one);
 * those calls get memory from a small static arena, and are not the program's either.
 */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "traces/recorder/calls.h"

static struct {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*memalign)(size_t, size_t);
    void *(*valloc)(size_t);
    void *(*pvalloc)(size_t);
    void (*free)(void *);
} next;

_Thread_local struct call_state call_state;

/* ---- the arena for calls that arrive while we look up ---- */

#define ARENA_BYTES 65536
#define ARENA_ALIGN 16

static _Alignas(ARENA_ALIGN) unsigned char arena[ARENA_BYTES];
static _Atomic size_t arena_used;

static bool arena_owns(const void *p)
{
    return (const unsigned char *)p >= arena && (const unsigned char *)p < arena + ARENA_BYTES;
}

/* Zeroed memory, never reused; the 16 bytes before it hold its size. */
static void *arena_alloc(size_t size)
{
    if (size > ARENA_BYTES)
        return NULL;
    size_t bytes = ARENA_ALIGN + (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    size_t at = atomic_fetch_add(&arena_used, bytes);
    if (at > ARENA_BYTES || bytes > ARENA_BYTES - at)
        return NULL;
    memcpy(arena + at, &size, sizeof size);
    return arena + at + ARENA_ALIGN;
}

static size_t arena_size(const void *p)
{
    size_t size;
    memcpy(&size, (const unsigned char *)p - ARENA_ALIGN, sizeof size);
    return size;
}

/* ---- the next definitions ---- */

static void *lookup(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

/*
 * What the library of `caller` and its dependencies define. The C++ library's operators jump to
 * each other, so that the caller may seem to be ourselves; then it is the one that came before. A
 * handle is a link map in glibc, and the caller's own serves if it was loaded by itself. One that
 * was loaded as a dependency must be opened once more, which makes the dynamic linker reorder a
 * little memory.
 */
static void *lookup_for_caller(const char *name, void *caller)
{
    struct link_map *map, *ours;
    Dl_info info;
    if (!dladdr1(arena, &info, (void **)&ours, RTLD_DL_LINKMAP) ||
        !dladdr1(caller, &info, (void **)&map, RTLD_DL_LINKMAP))
        return NULL;
    if (map == ours &&
        (!call_state.caller || !dladdr1(call_state.caller, &info, (void **)&map, RTLD_DL_LINKMAP)))
        return NULL;
    if (map != ours)
        call_state.caller = (void *)info.dli_fbase;
    void *found = dlsym(map, name);
    void *library = found ? NULL : dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (library) {
        found = dlsym(library, name);
        dlclose(library); /* the C++ library itself is never unloaded */
    }
    return found;
}

void *call_lookup(const char *name, void *caller)
{
    int error = errno;
    call_state.resolving = true;
    void *found = lookup(name);
    if (!found)
        found = lookup_for_caller(name, caller);
    call_state.resolving = false;
    errno = error;
    return found;
}

/* Runs at the first call, which the dynamic linker or the first constructor makes: the process has
 * one thread. */
__attribute__((noinline, cold)) static void resolve(void)
{
    int error = errno;
    call_state.resolving = true;
    *(void **)&next.free = lookup("free");
    *(void **)&next.calloc = lookup("calloc");
    *(void **)&next.realloc = lookup("realloc");
    *(void **)&next.aligned_alloc = lookup("aligned_alloc");
    *(void **)&next.posix_memalign = lookup("posix_memalign");
    *(void **)&next.memalign = lookup("memalign");
    *(void **)&next.valloc = lookup("valloc");
    *(void **)&next.pvalloc = lookup("pvalloc");
    *(void **)&next.malloc = lookup("malloc"); /* last: it says that all are there */
    call_state.resolving = false;
    errno = error;
}

bool call_enter(void)
{
    if (UNLIKELY(call_state.inside)) {
        if (sink_ready())
            sink_count_nested();
        return false;
    }
    call_state.inside = true;
    if (UNLIKELY(!sink_ready())) {
        call_state.inside = false;
        return false;
    }
    return true;
}

/* True if memory must come from the arena. */
static bool early(void)
{
    if (UNLIKELY(call_state.resolving))
        return true;
    if (UNLIKELY(!next.malloc))
        resolve();
    return false;
}

bool call_is_allocators(void *function)
{
    Dl_info allocator, other;
    void *known;
    early();
    memcpy(&known, &next.malloc, sizeof known);
    return dladdr(known, &allocator) && dladdr(function, &other) &&
           allocator.dli_fbase == other.dli_fbase;
}

static void *note_result(enum capture_kind kind, unsigned align_log2, void *p, size_t size)
{
    sink_put(kind, p ? 0 : CAPTURE_FAILED, align_log2, (uintptr_t)p, size);
    call_state.noted = p;
    call_leave();
    return p;
}

/* ---- allocation ---- */

RECORDER_EXPORT void *malloc(size_t size)
{
    if (early())
        return arena_alloc(size);
    if (!call_enter())
        return next.malloc(size);
    return note_result(CAPTURE_ALLOC, 0, next.malloc(size), size);
}

RECORDER_EXPORT void *calloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        bytes = SIZE_MAX;
    if (early())
        return arena_alloc(bytes);
    if (!call_enter())
        return next.calloc(count, size);
    return note_result(CAPTURE_CALLOC, 0, next.calloc(count, size), bytes);
}

static void *realloc_noted(void *p, size_t size)
{
    sink_put(CAPTURE_REALLOC_BEGIN, 0, 0, (uintptr_t)p, size);
    void *q = next.realloc(p, size);
    sink_put(CAPTURE_REALLOC_END, q ? 0 : CAPTURE_FAILED, 0, (uintptr_t)q, size);
    call_leave();
    return q;
}

/* The arena's blocks move when they grow, to the program's heap as a rule. */
static void *realloc_from_arena(void *p, size_t size)
{
    void *q = malloc(size);
    if (q)
        memcpy(q, p, arena_size(p) < size ? arena_size(p) : size);
    return q;
}

RECORDER_EXPORT void *realloc(void *p, size_t size)
{
    if (UNLIKELY(arena_owns(p)))
        return realloc_from_arena(p, size);
    if (early() && !p)
        return arena_alloc(size);
    if (UNLIKELY(!next.malloc)) {
        errno = ENOMEM; /* while we look up: nothing has been given out that could grow */
        return NULL;
    }
    if (!call_enter())
        return next.realloc(p, size);
    return realloc_noted(p, size);
}

/* Done here: the C library's own would come back to us through realloc. */
RECORDER_EXPORT void *reallocarray(void *p, size_t count, size_t size)
{
    size_t bytes;
    if (!__builtin_mul_overflow(count, size, &bytes))
        return realloc(p, bytes);
    if (!early() && call_enter()) {
        sink_put(CAPTURE_REALLOC_BEGIN, 0, 0, (uintptr_t)p, SIZE_MAX);
        sink_put(CAPTURE_REALLOC_END, CAPTURE_FAILED, 0, 0, SIZE_MAX);
        call_leave();
    }
    errno = ENOMEM;
    return NULL;
}

RECORDER_EXPORT void *aligned_alloc(size_t align, size_t size)
{
    if (early())
        return NULL;
    if (!call_enter())
        return next.aligned_alloc(align, size);
    return note_result(CAPTURE_ALIGNED, call_align_log2(align), next.aligned_alloc(align, size),
                       size);
}

RECORDER_EXPORT int posix_memalign(void **result, size_t align, size_t size)
{
    if (early())
        return ENOMEM;
    if (!call_enter())
        return next.posix_memalign(result, align, size);
    int error = next.posix_memalign(result, align, size);
    note_result(CAPTURE_ALIGNED, call_align_log2(align), error ? NULL : *result, size);
    return error;
}

RECORDER_EXPORT void *memalign(size_t align, size_t size)
{
    if (early())
        return NULL;
    if (!call_enter())
        return next.memalign(align, size);
    return note_result(CAPTURE_ALIGNED, call_align_log2(align), next.memalign(align, size), size);
}

static unsigned page_log2(void)
{
    return call_align_log2((size_t)sysconf(_SC_PAGESIZE));
}

RECORDER_EXPORT void *valloc(size_t size)
{
    if (early())
        return NULL;
    if (!call_enter())
        return next.valloc(size);
    return note_result(CAPTURE_ALIGNED, page_log2(), next.valloc(size), size);
}

RECORDER_EXPORT void *pvalloc(size_t size)
{
    if (early())
        return NULL;
    if (!call_enter())
        return next.pvalloc(size);
    return note_result(CAPTURE_ALIGNED, page_log2(), next.pvalloc(size), size);
}

/* ---- release ---- */

RECORDER_EXPORT void free(void *p)
{
    if (UNLIKELY(arena_owns(p)))
        return;
    if (UNLIKELY(!next.malloc)) {
        if (call_state.resolving)
            return; /* nothing has been given out that could be returned */
        resolve();
    }
    if (!call_enter()) {
        next.free(p);
        return;
    }
    bool sized = p && call_state.sized_address == p;
    sink_put(CAPTURE_FREE, sized ? CAPTURE_SIZED : 0, 0, (uintptr_t)p,
             sized ? call_state.sized_bytes : 0);
    next.free(p);
    call_leave();
}

/* Old binaries know free by this name too. */
RECORDER_EXPORT void cfree(void *p);
RECORDER_EXPORT void cfree(void *p)
{
    free(p);
}

/* ---- marks: the functions that api/alloclab_mark.h looks for ---- */

RECORDER_EXPORT uint64_t alloclab_record_scope_begin(void);
RECORDER_EXPORT void alloclab_record_scope_end(uint64_t id);
RECORDER_EXPORT void alloclab_record_scope_switch(uint64_t id);
RECORDER_EXPORT void alloclab_record_thread_name(const char *name);

/* A forked child goes on counting where the parent was, so that ids never clash. */
static _Atomic uint64_t scopes;

RECORDER_EXPORT uint64_t alloclab_record_scope_begin(void)
{
    if (!sink_ready())
        return 0;
    uint64_t id = atomic_fetch_add(&scopes, 1) + 1;
    sink_put(CAPTURE_SCOPE_BEGIN, 0, 0, id, 0);
    return id;
}

RECORDER_EXPORT void alloclab_record_scope_end(uint64_t id)
{
    if (id != 0 && sink_ready())
        sink_put(CAPTURE_SCOPE_END, 0, 0, id, 0);
}

RECORDER_EXPORT void alloclab_record_scope_switch(uint64_t id)
{
    if (sink_ready())
        sink_put(CAPTURE_SCOPE_SWITCH, 0, 0, id, 0);
}

RECORDER_EXPORT void alloclab_record_thread_name(const char *name)
{
    uint64_t words[2] = {0, 0};
    if (!name || !sink_ready())
        return;
    memcpy(words, name, strnlen(name, sizeof words));
    sink_put(CAPTURE_THREAD_NAME, 0, 0, words[0], words[1]);
}
