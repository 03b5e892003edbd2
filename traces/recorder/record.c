/*
 * record.c - the calls that the recorder stands in front of: malloc and its relatives, free, and
 * the marks of api/alloclab_mark.h; the C++ operators are in cxx.c. Each passes the program's call
 * on, unchanged, to the allocator that the program would have had without us (the next definition
 * in its search order), and notes it.
 *
 * What is noted is what the program asked for. A call that the allocator itself makes while it
 * serves another one is not the program's: it passes through and is only counted. Where the call
 * comes from tells it from one that a signal handler makes meanwhile: glibc's own allocator makes
 * none, and others make theirs from their own text, or from the C library's on their behalf.
 *
 * malloc, calloc, realloc and free have a short way, which is all that runs as a rule; whatever is
 * not as a rule goes aside.
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
#include "traces/recorder/glibc.h"

static struct { /* the others are in `hot` */
    void *(*aligned_alloc)(size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*memalign)(size_t, size_t);
    void *(*valloc)(size_t);
    void *(*pvalloc)(size_t);
    int (*dlclose)(void *);
    pid_t (*fork_raw)(void);
} next;

struct text { /* where a library's lies */
    const char *from, *to;
};

static struct text allocator, c_library, linker, recorder;

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
 * each other, so that the caller may seem to be ourselves; then it is the one that came before. The
 * library is opened once more, though that makes the dynamic linker reorder a little memory: a link
 * map alone serves as a handle only for what was loaded by itself, and not for a dependency.
 */
static void *lookup_for_caller(const char *name, void *caller)
{
    struct link_map *map, *ours;
    Dl_info info;
    if (!glibc_is_here() || !dladdr1(arena, &info, (void **)&ours, RTLD_DL_LINKMAP) ||
        !dladdr1(caller, &info, (void **)&map, RTLD_DL_LINKMAP))
        return NULL;
    if (map == ours &&
        (!self.caller || !dladdr1(self.caller, &info, (void **)&map, RTLD_DL_LINKMAP)))
        return NULL;
    if (map != ours)
        self.caller = (void *)info.dli_fbase;
    void *library = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    void *found = library ? dlsym(library, name) : NULL;
    if (library)
        dlclose(library); /* the C++ library itself is never unloaded */
    return found;
}

void *call_lookup(const char *name, void *caller)
{
    int error = errno;
    self.resolving = true;
    void *found = lookup(name);
    if (!found)
        found = lookup_for_caller(name, caller);
    self.resolving = false;
    errno = error;
    return found;
}

static struct text text_of(const void *p)
{
    struct dl_find_object found;
    if (!glibc_is_here() || _dl_find_object((void *)(uintptr_t)p, &found) != 0)
        return (struct text){0};
    return (struct text){found.dlfo_map_start, found.dlfo_map_end};
}

/* Runs at the first call, which the dynamic linker or the first constructor makes: the process has
 * one thread. */
__attribute__((noinline, cold)) static void resolve(void)
{
    int error = errno;
    self.resolving = true;
    *(void **)&hot.free = lookup("free");
    *(void **)&hot.calloc = lookup("calloc");
    *(void **)&hot.realloc = lookup("realloc");
    *(void **)&next.aligned_alloc = lookup("aligned_alloc");
    *(void **)&next.posix_memalign = lookup("posix_memalign");
    *(void **)&next.memalign = lookup("memalign");
    *(void **)&next.valloc = lookup("valloc");
    *(void **)&next.pvalloc = lookup("pvalloc");
    *(void **)&next.dlclose = lookup("dlclose");
    *(void **)&next.fork_raw = lookup("_Fork");
    *(void **)&hot.malloc = lookup("malloc"); /* last: it says that all are there */
    c_library = text_of((const void *)(uintptr_t)getpid);
    linker = text_of((const void *)(uintptr_t)_dl_find_object);
    recorder = text_of(arena);
    allocator = text_of((const void *)(uintptr_t)hot.malloc);
    self.resolving = false;
    sink_aside_remove(SINK_UNRESOLVED);
    errno = error;
}

static bool within(const struct text *t, const void *p)
{
    return (const char *)p >= t->from && (const char *)p < t->to;
}

/* True if a call that arrives inside another one is the allocator's own. */
static bool is_nested(const void *caller)
{
    if (within(&c_library, (const void *)(uintptr_t)hot.malloc))
        return false;
    return within(&allocator, caller) || within(&c_library, caller) || within(&linker, caller) ||
           within(&recorder, caller); /* it jumped here from where we had called it */
}

bool call_enter(const void *caller, bool *was_inside)
{
    *was_inside = self.inside;
    if (UNLIKELY(*was_inside) && is_nested(caller)) {
        if (sink_ready())
            sink_count_nested();
        return false;
    }
    if (!sink_ready() || (atomic_load_explicit(&hot.aside, memory_order_relaxed) & SINK_OFF))
        return false;
    self.inside = true;
    return true;
}

/* True if memory must come from the arena. */
static bool early(void)
{
    if (UNLIKELY(self.resolving))
        return true;
    if (UNLIKELY(!hot.malloc))
        resolve();
    return false;
}

/*
 * NULL if the program's malloc is ours; else who has another one that comes first (the executable, a
 * sanitizer in it, valgrind), so that there is nothing to record. While looking up ours gives from
 * the arena, which tells it, whatever leads there.
 */
static const char *malloc_of_another(void)
{
    void *(*first)(size_t);
    void (*give_back)(void *);
    Dl_info info;
    self.resolving = true;
    *(void **)&first = dlsym(RTLD_DEFAULT, "malloc");
    void *p = first(1);
    self.resolving = false;
    if (!p || arena_owns(p))
        return NULL;
    *(void **)&give_back = dlsym(RTLD_DEFAULT, "free");
    give_back(p);
    const void *at = (const void *)(uintptr_t)first;
    return !within(&recorder, at) && dladdr(at, &info) ? info.dli_fname : "a tool like valgrind";
}

/* A program that never allocates has a capture too: an empty one says more than none. And a signal
 * handler must not come while we look up. */
__attribute__((constructor)) static void recorder_starts(void)
{
    early();
    sink_other_malloc = malloc_of_another();
    sink_ready();
}

bool call_is_allocators(void *function)
{
    early();
    return within(&allocator, function);
}

/* Between a call's arrival and its return. */
struct call {
    bool was_inside, noted;
};

/* ---- notes ---- */

static bool is_wanted(const void *p)
{
    return sink_settings.sample == 1 || capture_sampled((uintptr_t)p, sink_settings.sample);
}

void call_note(struct record r, const struct frame *frame)
{
    if (!is_wanted((const void *)r.address)) {
        sink_count_skipped();
        return;
    }
    lane_put(r, frame);
}

static inline struct call call_begin(const void *caller)
{
    struct call c = {0};
    c.noted = call_enter(caller, &c.was_inside);
    return c;
}

/* After a call that yields memory. */
static void *note_result(const struct call *c, enum capture_kind kind, size_t align, void *p,
                         size_t size, struct frame *frame)
{
    self.inside = c->was_inside;
    if (!c->noted)
        return p;
    self.noted = p;
    call_note((struct record){.kind = kind,
                              .flags = p ? 0 : CAPTURE_FAILED,
                              .align_log2 = (uint8_t)call_align_log2(align),
                              .address = (uintptr_t)p,
                              .size = size},
              call_sited(frame));
    return p;
}

/* True if a call has to go aside; else it is inside from here on. */
static inline bool goes_aside(void)
{
    if (UNLIKELY(self.inside | self.resolving |
                 atomic_load_explicit(&hot.aside, memory_order_relaxed)))
        return true;
    self.inside = true;
    return false;
}

static inline bool frees_go_aside(void)
{
    if (UNLIKELY(self.inside | self.resolving |
                 atomic_load_explicit(&hot.aside_frees, memory_order_relaxed)))
        return true;
    self.inside = true;
    return false;
}

/* The short way's note_result(). Without a frame it calls nothing unless it ends with that. */
static inline __attribute__((always_inline)) void *
note_short(enum capture_kind kind, void *p, size_t size, const struct frame *frame)
{
    self.inside = false;
    self.noted = p;
    struct record r = {.kind = kind, .address = (uintptr_t)p, .size = size};
    if (!frame && LIKELY(lane_put_short(self.lane, r)))
        return p;
    r.flags = p ? 0 : CAPTURE_FAILED;
    return (void *)lane_put_rest(lane_pack(r), r.address, size, frame);
}

/* True if a call went aside for nothing but its site: it is inside from here on, and goes on in the
 * short way. */
static inline bool only_sited(void)
{
    if (UNLIKELY(self.inside | self.resolving |
                 (atomic_load_explicit(&hot.aside, memory_order_relaxed) ^ SINK_SITED)))
        return false;
    self.inside = true;
    return true;
}

/* ---- allocation ---- */

#define CALLER __builtin_return_address(0)

static __attribute__((noinline)) void *malloc_aside(size_t size, const void *caller)
{
    struct frame frame = FRAME_HERE(caller);
    if (LIKELY(only_sited()))
        return note_short(CAPTURE_ALLOC, hot.malloc(size), size, call_sited(&frame));
    if (early())
        return arena_alloc(size);
    struct call c = call_begin(caller);
    return note_result(&c, CAPTURE_ALLOC, 0, hot.malloc(size), size, &frame);
}

RECORDER_EXPORT void *malloc(size_t size)
{
    if (UNLIKELY(goes_aside()))
        return malloc_aside(size, CALLER);
    return note_short(CAPTURE_ALLOC, hot.malloc(size), size, NULL);
}

static __attribute__((noinline)) void *calloc_aside(size_t count, size_t size, size_t bytes,
                                                    const void *caller)
{
    struct frame frame = FRAME_HERE(caller);
    if (LIKELY(only_sited()))
        return note_short(CAPTURE_CALLOC, hot.calloc(count, size), bytes, call_sited(&frame));
    if (early())
        return arena_alloc(bytes);
    struct call c = call_begin(caller);
    return note_result(&c, CAPTURE_CALLOC, 0, hot.calloc(count, size), bytes, &frame);
}

RECORDER_EXPORT void *calloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        bytes = SIZE_MAX;
    if (UNLIKELY(goes_aside()))
        return calloc_aside(count, size, bytes, CALLER);
    return note_short(CAPTURE_CALLOC, hot.calloc(count, size), bytes, NULL);
}

/*
 * In a sample an object may come in, or leave, by being moved: then its realloc is noted as the
 * allocation or the release that it is for the sample.
 */
static void *realloc_sampled(void *p, size_t size, const struct frame *frame)
{
    bool was = is_wanted(p);
    if (was)
        call_note(
            (struct record){.kind = CAPTURE_REALLOC_BEGIN, .address = (uintptr_t)p, .size = size},
            NULL);
    void *q = hot.realloc(p, size);
    struct record end = {.kind = CAPTURE_REALLOC_END, .address = (uintptr_t)q, .size = size};
    if (!q)
        end.flags = CAPTURE_FAILED;
    else if (!is_wanted(q))
        end.flags = CAPTURE_LEFT;
    if (was)
        lane_put(end, frame);
    else if (q && !end.flags)
        call_note((struct record){.kind = CAPTURE_ALLOC, .address = (uintptr_t)q, .size = size},
                  frame);
    else
        sink_count_skipped();
    return q;
}

static void *realloc_noted(void *p, size_t size, const struct frame *frame)
{
    call_note((struct record){.kind = CAPTURE_REALLOC_BEGIN, .address = (uintptr_t)p, .size = size},
              NULL);
    void *q = hot.realloc(p, size);
    lane_put((struct record){.kind = CAPTURE_REALLOC_END,
                             .flags = q ? 0 : CAPTURE_FAILED,
                             .address = (uintptr_t)q,
                             .size = size},
             frame);
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

static __attribute__((noinline)) void *realloc_aside(void *p, size_t size, const void *caller)
{
    struct frame frame = FRAME_HERE(caller);
    if (LIKELY(only_sited())) {
        void *q = realloc_noted(p, size, call_sited(&frame));
        self.inside = false;
        return q;
    }
    if (early()) {
        if (!p)
            return arena_alloc(size);
        errno = ENOMEM; /* while we look up: nothing has been given out that could grow */
        return NULL;
    }
    struct call c = call_begin(caller);
    if (!c.noted)
        return hot.realloc(p, size);
    void *q =
        (sink_settings.sample > 1 ? realloc_sampled : realloc_noted)(p, size, call_sited(&frame));
    self.inside = c.was_inside;
    return q;
}

static inline void *realloc_from(void *p, size_t size, const void *caller)
{
    if (UNLIKELY(arena_owns(p)))
        return realloc_from_arena(p, size);
    if (UNLIKELY(goes_aside()))
        return realloc_aside(p, size, caller);
    lane_put((struct record){.kind = CAPTURE_REALLOC_BEGIN, .address = (uintptr_t)p, .size = size},
             NULL);
    void *q = hot.realloc(p, size);
    self.inside = false;
    lane_put((struct record){.kind = CAPTURE_REALLOC_END,
                             .flags = q ? 0 : CAPTURE_FAILED,
                             .address = (uintptr_t)q,
                             .size = size},
             NULL);
    return q;
}

RECORDER_EXPORT void *realloc(void *p, size_t size)
{
    return realloc_from(p, size, CALLER);
}

/* Done here: the C library's own would come back to us through realloc. */
RECORDER_EXPORT void *reallocarray(void *p, size_t count, size_t size)
{
    size_t bytes;
    if (!__builtin_mul_overflow(count, size, &bytes))
        return realloc_from(p, bytes, CALLER);
    struct frame frame = FRAME_HERE(CALLER);
    struct call c = {0};
    if (!early())
        c = call_begin(CALLER);
    if (c.noted && is_wanted(p)) {
        call_note((struct record){.kind = CAPTURE_REALLOC_BEGIN,
                                  .address = (uintptr_t)p,
                                  .size = SIZE_MAX},
                  NULL);
        lane_put(
            (struct record){.kind = CAPTURE_REALLOC_END, .flags = CAPTURE_FAILED, .size = SIZE_MAX},
            call_sited(&frame));
    }
    if (c.noted)
        self.inside = c.was_inside;
    errno = ENOMEM;
    return NULL;
}

RECORDER_EXPORT void *aligned_alloc(size_t align, size_t size)
{
    struct frame frame = FRAME_HERE(CALLER);
    if (early())
        return NULL;
    struct call c = call_begin(CALLER);
    return note_result(&c, CAPTURE_ALIGNED, align, next.aligned_alloc(align, size), size, &frame);
}

RECORDER_EXPORT int posix_memalign(void **result, size_t align, size_t size)
{
    struct frame frame = FRAME_HERE(CALLER);
    if (early())
        return ENOMEM;
    struct call c = call_begin(CALLER);
    int error = next.posix_memalign(result, align, size);
    note_result(&c, CAPTURE_ALIGNED, align, error ? NULL : *result, size, &frame);
    return error;
}

RECORDER_EXPORT void *memalign(size_t align, size_t size)
{
    struct frame frame = FRAME_HERE(CALLER);
    if (early())
        return NULL;
    struct call c = call_begin(CALLER);
    return note_result(&c, CAPTURE_ALIGNED, align, next.memalign(align, size), size, &frame);
}

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

RECORDER_EXPORT void *valloc(size_t size)
{
    struct frame frame = FRAME_HERE(CALLER);
    if (early())
        return NULL;
    struct call c = call_begin(CALLER);
    return note_result(&c, CAPTURE_ALIGNED, page_bytes(), next.valloc(size), size, &frame);
}

RECORDER_EXPORT void *pvalloc(size_t size)
{
    struct frame frame = FRAME_HERE(CALLER);
    if (early())
        return NULL;
    struct call c = call_begin(CALLER);
    return note_result(&c, CAPTURE_ALIGNED, page_bytes(), next.pvalloc(size), size, &frame);
}

/* ---- release ---- */

/* What the release of a block is noted as, with the hint of a sized delete if there is one. */
static inline struct record release_of(void *p)
{
    if (UNLIKELY(p && self.sized_address == p))
        return (struct record){
            .kind = CAPTURE_FREE_SIZED, .address = (uintptr_t)p, .size = self.sized_bytes};
    return (struct record){.kind = CAPTURE_FREE, .address = (uintptr_t)p};
}

static __attribute__((noinline, cold)) void free_aside(void *p, const void *caller)
{
    if (self.resolving)
        return; /* nothing has been given out that could be returned */
    early();
    struct call c = call_begin(caller);
    if (c.noted)
        call_note(release_of(p), NULL);
    hot.free(p);
    if (c.noted)
        self.inside = c.was_inside;
}

/* The free has a hint, or more to do than the short way. */
static __attribute__((noinline)) void free_rest(void *p)
{
    lane_put(release_of(p), NULL);
    hot.free(p);
    self.inside = false;
}

RECORDER_EXPORT void free(void *p)
{
    const struct record r = {.kind = CAPTURE_FREE, .address = (uintptr_t)p};
    if (UNLIKELY(arena_owns(p)))
        return;
    if (UNLIKELY(frees_go_aside())) {
        free_aside(p, CALLER);
        return;
    }
    if (UNLIKELY(self.sized_address == p || !lane_put_short(self.lane, r))) {
        free_rest(p);
        return;
    }
    hot.free(p);
    self.inside = false;
}

/* Old binaries know free by this name too. */
RECORDER_EXPORT void cfree(void *p);
RECORDER_EXPORT void cfree(void *p)
{
    free(p);
}

/* ---- code that goes ---- */

static int unloads_read(struct dl_phdr_info *info, size_t bytes, void *out)
{
    (void)bytes;
    *(unsigned long long *)out = info->dlpi_subs;
    return 1;
}

RECORDER_EXPORT int dlclose(void *handle)
{
    static _Atomic unsigned long long seen;
    unsigned long long unloads = 0;
    early();
    int status = next.dlclose(handle);
    if (sink_settings.sites && status == 0) {
        dl_iterate_phdr(unloads_read, &unloads);
        if (atomic_exchange(&seen, unloads) != unloads)
            site_code_unloaded();
    }
    return status;
}

/* ---- forks ---- */

/* The fork for signal handlers, which runs no handlers of pthread_atfork (glibc 2.34; before, no program has it). */
RECORDER_EXPORT pid_t fork_raw(void) __asm__("_Fork");
pid_t fork_raw(void)
{
    early();
    if (!next.fork_raw) {
        errno = ENOSYS;
        return -1;
    }
    pid_t pid = next.fork_raw();
    if (pid == 0)
        sink_child_begins();
    return pid;
}

/* ---- marks: the functions that api/alloclab_mark.h looks for ---- */

RECORDER_EXPORT uint64_t alloclab_record_scope_begin(void);
RECORDER_EXPORT void alloclab_record_scope_end(uint64_t id);
RECORDER_EXPORT void alloclab_record_scope_switch(uint64_t id);
RECORDER_EXPORT void alloclab_record_thread_name(const char *name);
RECORDER_EXPORT void alloclab_record_switch(int on);

/* A forked child goes on counting where the parent was, so that ids never clash. */
static _Atomic uint64_t scopes;

static bool marks_count(void)
{
    return sink_ready() && !(atomic_load_explicit(&hot.aside, memory_order_relaxed) & SINK_OFF);
}

RECORDER_EXPORT uint64_t alloclab_record_scope_begin(void)
{
    if (!marks_count())
        return 0;
    uint64_t id = atomic_fetch_add(&scopes, 1) + 1;
    sink_mark((struct record){.kind = CAPTURE_SCOPE_BEGIN, .address = id});
    return id;
}

RECORDER_EXPORT void alloclab_record_scope_end(uint64_t id)
{
    if (id != 0 && marks_count())
        sink_mark((struct record){.kind = CAPTURE_SCOPE_END, .address = id});
}

RECORDER_EXPORT void alloclab_record_scope_switch(uint64_t id)
{
    if (marks_count())
        sink_mark((struct record){.kind = CAPTURE_SCOPE_SWITCH, .address = id});
}

RECORDER_EXPORT void alloclab_record_thread_name(const char *name)
{
    uint64_t words[2] = {0, 0};
    if (!name || !sink_ready())
        return;
    memcpy(words, name, strnlen(name, sizeof words));
    sink_mark((struct record){.kind = CAPTURE_THREAD_NAME, .address = words[0], .size = words[1]});
}

RECORDER_EXPORT void alloclab_record_switch(int on)
{
    sink_switch(on ? SINK_WISH_START : SINK_WISH_STOP);
}
