/*
 * alloclab_mark.h - a program marks its own scopes (a frame, a request, a phase) and names its
 * threads. Recorded (`alloclab record -- PROGRAM`), the marks go into the trace; otherwise each
 * costs one load and one predictable branch. Nothing is to be linked: this header is all. C and
 * C++, programs and shared objects.
 *
 * A scope holds what the thread allocates from its begin until it ends or another one is switched
 * to. Scopes nest: a scope begins inside the one that is current, and becomes current itself. Its
 * end, by whichever thread, makes the nearest open scope around it current again. A server with
 * many requests open at once switches:
 *
 *     uint64_t request = alloclab_scope_begin();    a request arrives; it is current now
 *     ...
 *     alloclab_scope_switch(ALLOCLAB_NO_SCOPE);     it waits for something
 *     ...
 *     alloclab_scope_switch(request);               it goes on, perhaps in another thread
 *     alloclab_scope_end(request);
 *
 * How it works: the functions behind these are weak and undefined, so they have no address unless
 * the recorder has been preloaded. The addresses are read from the global offset table, because a
 * compiler that knows it builds a fixed-position executable would otherwise settle them, as absent,
 * at link time.
 */
#ifndef ALLOCLAB_MARK_H
#define ALLOCLAB_MARK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ALLOCLAB_NO_SCOPE ((uint64_t)0)

extern uint64_t alloclab_record_scope_begin(void) __attribute__((weak));
extern void alloclab_record_scope_end(uint64_t) __attribute__((weak));
extern void alloclab_record_scope_switch(uint64_t) __attribute__((weak));
extern void alloclab_record_thread_name(const char *) __attribute__((weak));
extern void alloclab_record_switch(int) __attribute__((weak));

#if defined(__x86_64__) && !defined(__ILP32__)
#define ALLOCLAB_MARK_FIND(function, address)                                                      \
    __asm__(".weak " #function "\n\tmovq " #function "@GOTPCREL(%%rip), %0" : "=r"(address))
#else
#define ALLOCLAB_MARK_FIND(function, address) ((address) = &(function))
#endif

/* Begins a scope inside the thread's current one and makes it current. ALLOCLAB_NO_SCOPE unless
 * recorded. */
static inline uint64_t alloclab_scope_begin(void)
{
    uint64_t (*mark)(void);
    ALLOCLAB_MARK_FIND(alloclab_record_scope_begin, mark);
    return __builtin_expect(mark != 0, 0) ? mark() : ALLOCLAB_NO_SCOPE;
}

/* Ends a scope; ALLOCLAB_NO_SCOPE does nothing. */
static inline void alloclab_scope_end(uint64_t scope)
{
    void (*mark)(uint64_t);
    ALLOCLAB_MARK_FIND(alloclab_record_scope_end, mark);
    if (__builtin_expect(mark != 0, 0))
        mark(scope);
}

/* Makes an open scope, or none (ALLOCLAB_NO_SCOPE), the thread's current one. */
static inline void alloclab_scope_switch(uint64_t scope)
{
    void (*mark)(uint64_t);
    ALLOCLAB_MARK_FIND(alloclab_record_scope_switch, mark);
    if (__builtin_expect(mark != 0, 0))
        mark(scope);
}

/* Names the calling thread; the first 16 bytes count. */
static inline void alloclab_thread_name(const char *name)
{
    void (*mark)(const char *);
    ALLOCLAB_MARK_FIND(alloclab_record_thread_name, mark);
    if (__builtin_expect(mark != 0, 0))
        mark(name);
}

/* Stops the recording (0) or lets it go on (1); `alloclab record --start=off` begins stopped. */
static inline void alloclab_recording(int on)
{
    void (*mark)(int);
    ALLOCLAB_MARK_FIND(alloclab_record_switch, mark);
    if (__builtin_expect(mark != 0, 0))
        mark(on);
}

#ifdef __cplusplus
}
#endif

#endif
