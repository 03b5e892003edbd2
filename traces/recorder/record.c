/*
 * record.c - the calls that the recorder stands in front of: malloc and its relatives, free, sized
 * operator delete, and the marks of api/alloclab_mark.h. Each passes the program's call on,
 * unchanged, to the allocator that the program would have had without us (the next definition in
 * its search order), and notes it.
 *
 * What is noted is what the program asked for. A call that the allocator itself makes while it
 * serves another one is not the program's: it passes through and is only counted. operator new is
 * not here, because it reaches malloc by itself. A sized operator delete only leaves a hint for the
 * free it ends in, so that a program with an operator delete of its own keeps it.
 *
 * The dynamic linker allocates while it looks the next definitions up (an error text, for one);
 * those calls get memory from a small static arena, and are not the program's either.
 */
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "traces/recorder/sink.h"

#define UNLIKELY(x) __builtin_expect(!!(x), 0)

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

static _Thread_local struct {
    bool inside;    /* in the next allocator: further calls are its own */
    bool resolving; /* in the dynamic linker: further allocations come from the arena */
    const void *sized_address;
    size_t sized_bytes; /* the hint of a sized delete for the free of that address */
} self;

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

/* Runs at the first call, which the dynamic linker or the first constructor makes: the process has
 * one thread. */
__attribute__((noinline, cold)) static void resolve(void)
{
    int error = errno;
    self.resolving = true;
    *(void **)&next.free = lookup("free");
    *(void **)&next.calloc = lookup("calloc");
    *(void **)&next.realloc = lookup("realloc");
    *(void **)&next.aligned_alloc = lookup("aligned_alloc");
    *(void **)&next.posix_memalign = lookup("posix_memalign");
    *(void **)&next.memalign = lookup("memalign");
    *(void **)&next.valloc = lookup("valloc");
    *(void **)&next.pvalloc = lookup("pvalloc");
    *(void **)&next.malloc = lookup("malloc"); /* last: it says that all are there */
    self.resolving = false;
    errno = error;
}

/*
 * True if the call is the program's and is to be noted: `inside` is then set until leave().
 * Otherwise the caller passes the call on without a word. Never called while resolving.
 */
static bool enter(void)
{
    if (UNLIKELY(self.inside)) {
        if (sink_ready())
            sink_count_nested();
        return false;
    }
    self.inside = true;
    if (UNLIKELY(!sink_ready())) {
        self.inside = false;
        return false;
    }
    return true;
}

static void leave(void)
{
    self.inside = false;
}

/* True if memory must come from the arena. */
static bool early(void)
{
    if (UNLIKELY(self.resolving))
        return true;
    if (UNLIKELY(!next.malloc))
        resolve();
    return false;
}

static void *note_result(enum capture_kind kind, unsigned align_log2, void *p, size_t size)
{
    sink_put(kind, p ? 0 : CAPTURE_FAILED, align_log2, (uintptr_t)p, size);
    leave();
    return p;
}

/* log2 of an alignment as allocators take it: rounded up to a power of two. */
static unsigned align_log2_of(size_t align)
{
    return align <= 1 ? 0 : 64 - (unsigned)__builtin_clzl(align - 1);
}

/* ---- allocation ---- */

RECORDER_EXPORT void *malloc(size_t size)
{
    if (early())
        return arena_alloc(size);
    if (!enter())
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
    if (!enter())
        return next.calloc(count, size);
    return note_result(CAPTURE_CALLOC, 0, next.calloc(count, size), bytes);
}

static void *realloc_noted(void *p, size_t size)
{
    sink_put(CAPTURE_REALLOC_BEGIN, 0, 0, (uintptr_t)p, size);
    void *q = next.realloc(p, size);
    sink_put(CAPTURE_REALLOC_END, q ? 0 : CAPTURE_FAILED, 0, (uintptr_t)q, size);
    leave();
    return q;
}

/* The arena's blocks move to the program's heap when they grow. */
static void *realloc_from_arena(void *p, size_t size)
{
    void *q = malloc(size);
    if (q)
        memcpy(q, p, arena_size(p) < size ? arena_size(p) : size);
    return q;
}

RECORDER_EXPORT void *realloc(void *p, size_t size)
{
    if (early())
        return p && !arena_owns(p) ? NULL : realloc_from_arena(p, size);
    if (UNLIKELY(arena_owns(p)))
        return realloc_from_arena(p, size);
    if (!enter())
        return next.realloc(p, size);
    return realloc_noted(p, size);
}

/* Done here: the C library's own would come back to us through realloc. */
RECORDER_EXPORT void *reallocarray(void *p, size_t count, size_t size)
{
    size_t bytes;
    if (!__builtin_mul_overflow(count, size, &bytes))
        return realloc(p, bytes);
    if (!early() && enter()) {
        sink_put(CAPTURE_REALLOC_BEGIN, 0, 0, (uintptr_t)p, SIZE_MAX);
        sink_put(CAPTURE_REALLOC_END, CAPTURE_FAILED, 0, 0, SIZE_MAX);
        leave();
    }
    errno = ENOMEM;
    return NULL;
}

RECORDER_EXPORT void *aligned_alloc(size_t align, size_t size)
{
    if (early())
        return NULL;
    if (!enter())
        return next.aligned_alloc(align, size);
    return note_result(CAPTURE_ALIGNED, align_log2_of(align), next.aligned_alloc(align, size),
                       size);
}

RECORDER_EXPORT int posix_memalign(void **result, size_t align, size_t size)
{
    if (early())
        return ENOMEM;
    if (!enter())
        return next.posix_memalign(result, align, size);
    int error = next.posix_memalign(result, align, size);
    note_result(CAPTURE_ALIGNED, align_log2_of(align), error ? NULL : *result, size);
    return error;
}

RECORDER_EXPORT void *memalign(size_t align, size_t size)
{
    if (early())
        return NULL;
    if (!enter())
        return next.memalign(align, size);
    return note_result(CAPTURE_ALIGNED, align_log2_of(align), next.memalign(align, size), size);
}

static unsigned page_log2(void)
{
    return align_log2_of((size_t)sysconf(_SC_PAGESIZE));
}

RECORDER_EXPORT void *valloc(size_t size)
{
    if (early())
        return NULL;
    if (!enter())
        return next.valloc(size);
    return note_result(CAPTURE_ALIGNED, page_log2(), next.valloc(size), size);
}

RECORDER_EXPORT void *pvalloc(size_t size)
{
    if (early())
        return NULL;
    if (!enter())
        return next.pvalloc(size);
    return note_result(CAPTURE_ALIGNED, page_log2(), next.pvalloc(size), size);
}

/* ---- release ---- */

RECORDER_EXPORT void free(void *p)
{
    if (UNLIKELY(arena_owns(p)))
        return;
    if (UNLIKELY(!next.malloc)) {
        if (self.resolving)
            return; /* nothing has been given out that could be returned */
        resolve();
    }
    if (!enter()) {
        next.free(p);
        return;
    }
    bool sized = p && self.sized_address == p;
    sink_put(CAPTURE_FREE, sized ? CAPTURE_SIZED : 0, 0, (uintptr_t)p,
             sized ? self.sized_bytes : 0);
    next.free(p);
    leave();
}

/* Old binaries know free by this name too. */
RECORDER_EXPORT void cfree(void *p);
RECORDER_EXPORT void cfree(void *p)
{
    free(p);
}

/* ---- sized operator delete ---- */

/*
 * The C++ library's definition is after us in the search order, or, in a program that is not C++
 * itself, belongs to the library that called us; that one was loaded at run time, and its
 * dependencies are searched. NULL if there is none.
 */
__attribute__((noinline, cold)) static void *lookup_for_caller(const char *name, void *caller)
{
    Dl_info info;
    int error = errno;
    self.resolving = true;
    void *found = lookup(name);
    if (!found && dladdr(caller, &info) && info.dli_fname) {
        void *library = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
        if (library) {
            found = dlsym(library, name);
            dlclose(library); /* the C++ library itself is never unloaded */
        }
    }
    self.resolving = false;
    errno = error;
    return found;
}

struct hint {
    const void *address;
    size_t bytes;
};

static struct hint hint_set(void *p, size_t size)
{
    struct hint before = {self.sized_address, self.sized_bytes};
    self.sized_address = p;
    self.sized_bytes = size;
    return before;
}

static void hint_restore(struct hint before)
{
    self.sized_address = before.address;
    self.sized_bytes = before.bytes;
}

#define SIZED_DELETE(function, symbol)                                                             \
    RECORDER_EXPORT void function(void *p, size_t size) __asm__(symbol);                           \
    RECORDER_EXPORT void function(void *p, size_t size)                                            \
    {                                                                                              \
        static void (*_Atomic known)(void *, size_t);                                              \
        void (*call)(void *, size_t) = atomic_load_explicit(&known, memory_order_acquire);         \
        if (UNLIKELY(!call)) {                                                                     \
            *(void **)&call = lookup_for_caller(symbol, __builtin_return_address(0));              \
            atomic_store_explicit(&known, call, memory_order_release);                             \
        }                                                                                          \
        struct hint before = hint_set(p, size);                                                    \
        if (call)                                                                                  \
            call(p, size);                                                                         \
        else                                                                                       \
            free(p);                                                                               \
        hint_restore(before);                                                                      \
    }

#define SIZED_ALIGNED_DELETE(function, symbol)                                                     \
    RECORDER_EXPORT void function(void *p, size_t size, size_t align) __asm__(symbol);             \
    RECORDER_EXPORT void function(void *p, size_t size, size_t align)                              \
    {                                                                                              \
        static void (*_Atomic known)(void *, size_t, size_t);                                      \
        void (*call)(void *, size_t, size_t) = atomic_load_explicit(&known, memory_order_acquire); \
        if (UNLIKELY(!call)) {                                                                     \
            *(void **)&call = lookup_for_caller(symbol, __builtin_return_address(0));              \
            atomic_store_explicit(&known, call, memory_order_release);                             \
        }                                                                                          \
        struct hint before = hint_set(p, size);                                                    \
        if (call)                                                                                  \
            call(p, size, align);                                                                  \
        else                                                                                       \
            free(p);                                                                               \
        hint_restore(before);                                                                      \
    }

SIZED_DELETE(delete_sized, "_ZdlPvm")
SIZED_DELETE(delete_array_sized, "_ZdaPvm")
SIZED_ALIGNED_DELETE(delete_sized_aligned, "_ZdlPvmSt11align_val_t")
SIZED_ALIGNED_DELETE(delete_array_sized_aligned, "_ZdaPvmSt11align_val_t")

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
