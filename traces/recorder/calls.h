/*
 * calls.h - what the entry points of record.c and cxx.c share: whether a call is the program's own,
 * and who is next.
 */
#ifndef ALLOCLAB_CALLS_H
#define ALLOCLAB_CALLS_H

#include "traces/recorder/sink.h"

/*
 * True if the call is the program's and is to be noted: everything until call_leave() is then the
 * allocator's. Otherwise the caller passes the call on without a word. Not while resolving.
 */
bool call_enter(const void *caller, bool *was_inside);

static inline void call_leave(bool was_inside)
{
    self.inside = was_inside;
}

/*
 * The frame to note, or NULL if sites are not wanted. What the C++ library allocates for an
 * operator is its caller's: the library calls us at once, and an operator that has thrown leaves a
 * note that nobody so near can find.
 */
static inline const struct frame *call_sited(struct frame *frame)
{
    enum { NEAR_BYTES = 256 };
    if (LIKELY(!(atomic_load_explicit(&hot.aside, memory_order_relaxed) & SINK_SITED)))
        return NULL;
    if (self.outer && self.outer_sp - frame->sp < NEAR_BYTES)
        frame->caller = self.outer;
    return frame;
}

/* Notes it, if it is in the sample. */
void call_note(struct record r, const struct frame *frame); /* NULL: without its site */

/*
 * The next definition of a C++ operator: after us in the search order; or, in a program that is not
 * C++ itself, among the dependencies of the library that called us, which was loaded at run time.
 * NULL if there is none.
 */
__attribute__((noinline, cold)) void *call_lookup(const char *name, void *caller);

/* True if the function is defined by the library that also defines the next malloc. */
__attribute__((noinline, cold)) bool call_is_allocators(void *function);

/* log2 of an alignment as allocators take it: rounded up to a power of two. */
static inline unsigned call_align_log2(size_t align)
{
    if (align <= 1)
        return 0;
    return align > SIZE_MAX / 2 ? 63 : 64 - (unsigned)__builtin_clzl(align - 1);
}

#endif
