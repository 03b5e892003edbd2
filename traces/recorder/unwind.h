/*
 * unwind.h - how to get from a frame of x86-64 code to its caller's, by the tables that compilers
 * leave for exceptions (.eh_frame). A place in the code has one rule, 31 bits of it, which is found
 * once and then kept by whoever asked (stack.h).
 *
 * What a rule needs is the stack pointer and the frame pointer, nothing else: all code of gcc and
 * clang is so at its calls, and but for few instructions also where a signal may interrupt it. Code
 * whose rule needs more, or which has none (made at run time, or assembly without it), ends a walk.
 *
 * Finding takes no lock and no memory: the C library's table of what is loaded (_dl_find_object) is
 * made for that. So it may be done by whoever allocates, inside of dlopen too.
 */
#ifndef ALLOCLAB_UNWIND_H
#define ALLOCLAB_UNWIND_H

#include <stdbool.h>
#include <stdint.h>

enum unwind_kind {
    UNWIND_END = 1, /* there is no caller, or none that can be found */
    UNWIND_SP,      /* the caller's stack pointer is ours and an offset */
    UNWIND_BP,      /* .. is the frame pointer and an offset */
    UNWIND_BP_AT,   /* .. lies there: the frame was aligned */
    UNWIND_SIGNAL,  /* the kernel put it there, with all else, as it called a signal handler */
};

enum unwind_frame_pointer {
    UNWIND_BP_SAME,
    UNWIND_BP_SAVED,      /* at the caller's stack pointer and an offset */
    UNWIND_BP_SAVED_NEAR, /* at the frame pointer and an offset */
};

/* A rule: kind 3 bits | of the frame pointer 2 | its offset 6, signed | offset 20, signed. Offsets
 * are in words. */
enum {
    UNWIND_BP_KIND_AT = 3,
    UNWIND_BP_OFFSET_AT = 5,
    UNWIND_BP_OFFSET_BITS = 6,
    UNWIND_OFFSET_AT = 11,
    UNWIND_OFFSET_BITS = 20,
    UNWIND_RULE_BITS = 31,
    UNWIND_ADDRESS_BITS = 47, /* that user code has */
};

static inline enum unwind_kind unwind_kind(uint32_t rule)
{
    return rule & 7;
}

static inline enum unwind_frame_pointer unwind_bp_kind(uint32_t rule)
{
    return rule >> UNWIND_BP_KIND_AT & 3;
}

/* In bytes. */
static inline int64_t unwind_offset(uint32_t rule)
{
    return ((int64_t)((uint64_t)rule << (64 - UNWIND_RULE_BITS)) >> (64 - UNWIND_OFFSET_BITS)) * 8;
}

static inline int64_t unwind_bp_offset(uint32_t rule)
{
    return ((int64_t)((uint64_t)rule << (64 - UNWIND_OFFSET_AT)) >> (64 - UNWIND_BP_OFFSET_BITS)) *
           8;
}

/* Of the instruction that `at` is in; for a caller that is the return address less 1. */
uint32_t unwind_find(uintptr_t at);

#endif
