/*
 * stack.h - the stack of a call, walked anew each time only as far as it has changed.
 *
 * A walk is a function of where it begins (instruction, stack pointer, frame pointer), of the code's
 * rules, and of what it reads from the stack: each return address, and some saved frame pointers.
 * So if a walk begins as another one did, and the same words are read again and are as they were, the
 * stack is the same. These reads do not wait for each other, and cost half a nanosecond each, where a
 * step costs five or more. Walks are remembered by where they began, with the words that they read
 * and what the caller made of them (stack_recall); and one that is none of those still ends where it
 * arrives at a frame of the last one, in the same state, and all words from there on are as they were.
 *
 * Nothing is read but from where the stack pointer is up to the end of readable memory, which the
 * kernel is asked for when the pointer leaves the range that is known (stack.c). Frames that lead
 * elsewhere end the walk.
 *
 * A stack belongs to a lane, and who has the lane to itself may walk.
 */
#ifndef ALLOCLAB_STACK_H
#define ALLOCLAB_STACK_H

#include <stdbool.h>
#include <stdint.h>

enum {
    STACK_FRAMES = 512, /* most of a walk; the outermost are left out */
    STACK_RULE_BITS = 14,
    STACK_MEMOS = 128, /* walks that are remembered; a power of two */
    STACK_READS = 100, /* most words of one */
};

struct frame { /* of a call: where it returns to, and the state then */
    uintptr_t pc, sp, bp;
    uintptr_t caller; /* where the program's call returns to, though we may have called ourselves */
};

/* Of the function that this stands in. */
#if defined(__x86_64__)
#define FRAME_BP_HERE (*(const uintptr_t *)__builtin_frame_address(0))
#else
#define FRAME_BP_HERE 0
#endif
#define FRAME_HERE(the_caller)                                                                     \
    {                                                                                              \
        .pc = (uintptr_t)__builtin_return_address(0),                                              \
        .sp = (uintptr_t)__builtin_frame_address(0) + 16, .bp = FRAME_BP_HERE,                     \
        .caller = (uintptr_t)(the_caller)                                                          \
    }

struct stack_frame {
    uintptr_t pc, sp, bp; /* pc was read below sp; unless interrupted */
    uintptr_t also, word; /* what else was read, and from where; 0: only a step leads here */
    uint32_t node;        /* site.c's; of frames from `noded` on */
    bool interrupted;     /* by a signal, at pc; else pc is a return address */
    bool by_bp;           /* the step that led here had to know the frame pointer */
};

struct stack_memo {
    uintptr_t pc, sp, bp;
    uint32_t epoch, result;
    uint32_t count;
    bool any_bp;                 /* it does not matter what bp was */
    uint32_t words[STACK_READS]; /* how far above sp they are */
    uint64_t values[STACK_READS];
};

struct stack {
    uint32_t top;     /* the innermost frame; frames[STACK_FRAMES - 1] is the outermost */
    uint32_t noded;   /* frames from here on have their nodes */
    bool truncated;   /* the walk went no further, for there were too many */
    uint32_t epoch;   /* memos of another one are forgotten */
    uintptr_t lo, hi; /* memory that can be read, the stack pointer in it */
    struct stack_frame frames[STACK_FRAMES], fresh[STACK_FRAMES];
    struct stack_memo memos[STACK_MEMOS];
    uint64_t
        rules[1 << STACK_RULE_BITS]; /* what unwind_find() said: a hash of the place, the rule */
};

/* Walks: at least `depth` innermost frames are in `s` then, or all. False: they are as they were. */
bool stack_walk(struct stack *s, const struct frame *from, unsigned depth);

/* What was remembered of a walk of so many frames that began there, and would go the same way now;
 * or 0. */
uint32_t stack_recall(const struct stack *s, const struct frame *from);
/* Remembers a result, not 0, of the last walk. */
void stack_remember(struct stack *s, const struct frame *from, unsigned depth, uint32_t result);

/* Forgets all: code was unloaded. */
void stack_forget(struct stack *s);

/* True if the page that this address is in can be read, as the kernel says. Changes errno. */
bool stack_readable(uintptr_t at);

/* The instruction that the frame is at. */
static inline uintptr_t stack_at(const struct stack_frame *f)
{
    return f->pc - !f->interrupted;
}

#endif
