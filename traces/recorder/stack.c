/*
 * stack.c - the walk, and the memory that it may read.
 *
 * Frames lie at the end of their array, the outermost last, so that those that come and go do so at
 * the front. A walk collects what is new, from the innermost outwards, until it arrives at a frame
 * that is known; then it compares what remains, and where that has changed, it goes on walking.
 *
 * Rules are kept in a table by a hash of the place. The hash is an odd multiple modulo 2^47, which no
 * two places share; its high bits are the entry's index, its low ones stand in the entry.
 */
#include "traces/recorder/stack.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "traces/recorder/lane.h"
#include "traces/recorder/unwind.h"

enum { PAGE = 4096 };

/* The kernel reads the set before it looks at what is to be done with it, which is nonsense. */
bool stack_readable(uintptr_t at)
{
    uintptr_t page = at & ~(uintptr_t)(PAGE - 1);
    return syscall(SYS_rt_sigprocmask, ~0, page, NULL, 8L) != 0 && errno != EFAULT;
}

#if defined(__x86_64__)

#define PLACE_MASK ((UINT64_C(1) << UNWIND_ADDRESS_BITS) - 1)

enum { MOST_PAGES = 2048, TAG_BITS = UNWIND_ADDRESS_BITS - STACK_RULE_BITS };

static_assert(TAG_BITS + UNWIND_RULE_BITS <= 64, "an entry has room for what tells places apart");

/* ---- memory ---- */

/* Sets lo and hi around the stack pointer. False: it cannot be one. */
__attribute__((noinline, cold)) static bool range_find(struct stack *s, uintptr_t sp)
{
    int error = errno;
    uintptr_t page = sp & ~(uintptr_t)(PAGE - 1), hi = page;
    unsigned pages = 0;
    while (hi != s->lo && pages < MOST_PAGES && hi >> UNWIND_ADDRESS_BITS == 0 &&
           stack_readable(hi)) {
        hi += PAGE;
        pages++;
    }
    if (pages == 0 || hi != s->lo) { /* not a stack that has only grown */
        s->hi = hi;
        s->top = s->noded = STACK_FRAMES;
        s->epoch++;
    }
    s->lo = page;
    errno = error;
    return pages > 0;
}

static inline bool in_range(const struct stack *s, uintptr_t from, uintptr_t bytes)
{
    return from >= s->lo && from < s->hi && bytes <= s->hi - from;
}

/* ---- steps ---- */

static inline uint32_t rule_at(struct stack *s, uintptr_t at)
{
    uint64_t hash = at * UINT64_C(0x9e3779b97f4a7c15) & PLACE_MASK;
    uint64_t *entry = &s->rules[hash >> TAG_BITS], tag = hash & ((UINT64_C(1) << TAG_BITS) - 1);
    if (LIKELY(*entry >> UNWIND_RULE_BITS == tag && *entry))
        return (uint32_t)*entry & ((1u << UNWIND_RULE_BITS) - 1);
    if (at >> UNWIND_ADDRESS_BITS)
        return UNWIND_END;
    uint32_t rule = unwind_find(at);
    *entry = tag << UNWIND_RULE_BITS | rule;
    return rule;
}

/* To where the signal came; its stack may be another one. */
static bool step_signal(struct stack *s, const struct stack_frame *f, struct stack_frame *to)
{
    const ucontext_t *context = (const void *)f->sp;
    if (!in_range(s, f->sp, sizeof *context))
        return false;
    const greg_t *registers = context->uc_mcontext.gregs;
    *to = (struct stack_frame){.pc = (uintptr_t)registers[REG_RIP],
                               .sp = (uintptr_t)registers[REG_RSP],
                               .bp = (uintptr_t)registers[REG_RBP],
                               .interrupted = true};
    return in_range(s, to->sp, 8) || range_find(s, to->sp);
}

/* Where the caller's stack pointer will be, or 0. */
static inline uintptr_t step_sp(const struct stack *s, const struct stack_frame *f, uint32_t rule)
{
    uintptr_t offset = (uintptr_t)unwind_offset(rule);
    if (unwind_kind(rule) == UNWIND_SP)
        return f->sp + offset;
    if (unwind_kind(rule) == UNWIND_BP)
        return f->bp + offset;
    return in_range(s, f->bp + offset, 8) ? *(const uintptr_t *)(f->bp + offset) : 0;
}

/* To the caller's frame; false: there is none. */
static inline bool step(struct stack *s, const struct stack_frame *f, struct stack_frame *to)
{
    uint32_t rule = rule_at(s, stack_at(f));
    enum unwind_kind kind = unwind_kind(rule);
    if (kind == UNWIND_END)
        return false;
    if (kind == UNWIND_SIGNAL)
        return step_signal(s, f, to);
    uintptr_t sp = step_sp(s, f, rule);
    if (sp <= f->sp || sp & 7 || sp > s->hi)
        return false;
    *to = (struct stack_frame){.pc = *(const uintptr_t *)(sp - 8), .sp = sp, .bp = f->bp};
    to->by_bp = kind != UNWIND_SP || unwind_bp_kind(rule) == UNWIND_BP_SAVED_NEAR;
    to->also = sp - 8;
    to->word = to->pc;
    if (unwind_bp_kind(rule) != UNWIND_BP_SAME) {
        uintptr_t from = unwind_bp_kind(rule) == UNWIND_BP_SAVED ? sp : f->bp;
        from += (uintptr_t)unwind_bp_offset(rule);
        if (!in_range(s, from, 8) || from & 7)
            return false;
        to->also = from;
        to->word = to->bp = *(const uintptr_t *)from;
    }
    if (kind == UNWIND_BP_AT)
        to->also = 0;
    return true;
}

/* ---- walks ---- */

/* The first frame from `i` on that is not as it was. */
static uint32_t compare(const struct stack *s, uint32_t i)
{
    for (; i < STACK_FRAMES; i++) {
        const struct stack_frame *f = &s->frames[i];
        if (!f->also || *(const uintptr_t *)(f->sp - 8) != f->pc ||
            *(const uintptr_t *)f->also != f->word)
            break;
    }
    return i;
}

/* Puts `count` fresh frames before frames[kept]. */
static void frames_put(struct stack *s, uint32_t count, uint32_t kept)
{
    uint32_t inner = count < STACK_FRAMES ? count : STACK_FRAMES;
    s->truncated &= kept < STACK_FRAMES;
    if (count > kept || count == STACK_FRAMES) { /* the outermost go */
        memmove(&s->frames[inner], &s->frames[kept], (STACK_FRAMES - inner) * sizeof *s->frames);
        kept = inner;
        s->noded = STACK_FRAMES;
        s->truncated = true;
    }
    memcpy(&s->frames[kept - inner], s->fresh, inner * sizeof *s->frames);
    s->top = kept - inner;
    s->noded = s->noded > kept ? s->noded : kept;
}

static inline bool is_same(const struct stack_frame *a, const struct stack_frame *b)
{
    return a->sp == b->sp && a->pc == b->pc && a->bp == b->bp && a->interrupted == b->interrupted;
}

/* Fills s->fresh; *kept is the first of the known frames that follow. */
static uint32_t walk(struct stack *s, struct stack_frame f, uint32_t *kept)
{
    uint32_t count = 0, i = s->top;
    do {
        i = i > s->top ? i : s->top; /* a signal may have led to another stack */
        while (i < STACK_FRAMES && s->frames[i].sp < f.sp)
            i++;
        if (i < STACK_FRAMES && is_same(&s->frames[i], &f)) {
            uint32_t end = compare(s, i + 1);
            if (end == STACK_FRAMES) {
                *kept = i;
                return count;
            }
            for (; i < end && count < STACK_FRAMES; i++)
                s->fresh[count++] = s->frames[i];
        } else {
            s->fresh[count++] = f;
        }
    } while (count < STACK_FRAMES && step(s, &s->fresh[count - 1], &f));
    *kept = STACK_FRAMES;
    return count;
}

bool stack_walk(struct stack *s, const struct frame *from, unsigned depth)
{
    struct stack_frame f = {.pc = from->pc, .sp = from->sp, .bp = from->bp};
    uint32_t kept, before = s->top;
    if (UNLIKELY(!in_range(s, f.sp, 8)) && !range_find(s, f.sp))
        s->top = s->noded = STACK_FRAMES;
    uint32_t count = walk(s, f, &kept);
    if (count == 0 && kept == before)
        return false;
    frames_put(s, count, kept);
    if (UNLIKELY(s->truncated && STACK_FRAMES - s->top < depth)) {
        s->top = s->noded = STACK_FRAMES;
        count = walk(s, f, &kept);
        frames_put(s, count, kept);
    }
    return true;
}

/* ---- memory of walks ---- */

static inline size_t memo_index(const struct frame *from)
{
    uint64_t hash = (from->pc ^ from->sp << 20) * UINT64_C(0x9e3779b97f4a7c15);
    return hash >> 32 & (STACK_MEMOS - 1);
}

uint32_t stack_recall(const struct stack *s, const struct frame *from)
{
    const struct stack_memo *m = &s->memos[memo_index(from)];
    if (m->pc != from->pc || m->sp != from->sp || m->epoch != s->epoch ||
        (m->bp != from->bp && !m->any_bp))
        return 0;
    const uint64_t *stack = (const uint64_t *)from->sp;
    uint64_t changed = 0;
    for (uint32_t i = 0; i < m->count; i++)
        changed |= stack[m->words[i]] ^ m->values[i];
    return changed ? 0 : m->result;
}

/* False: it lies elsewhere, or there is no room. */
static bool memo_read(struct stack_memo *m, uintptr_t at, uint64_t value)
{
    if (m->count == STACK_READS || at < m->sp || (at - m->sp) / 8 > UINT32_MAX)
        return false;
    m->words[m->count] = (uint32_t)((at - m->sp) / 8);
    m->values[m->count++] = value;
    return true;
}

void stack_remember(struct stack *s, const struct frame *from, unsigned depth, uint32_t result)
{
    struct stack_memo *m = &s->memos[memo_index(from)];
    const struct stack_frame *bp =
        NULL; /* where the frame pointer was read that nothing needed yet */
    uint32_t end = STACK_FRAMES - s->top > depth ? s->top + depth : STACK_FRAMES;
    bool first_bp = true; /* it is still the one that the walk began with */
    m->pc = from->pc;
    m->sp = from->sp;
    m->bp = from->bp;
    m->any_bp = true;
    m->result = m->count = 0; /* until all is known */
    for (uint32_t i = s->top + 1; i <= end; i++) {
        const struct stack_frame *f = &s->frames[i];
        bool needs_bp = i < end ? f->by_bp : end == STACK_FRAMES; /* what ended it may have */
        if (needs_bp && first_bp)
            m->any_bp = false;
        if (needs_bp && bp && !memo_read(m, bp->also, bp->word))
            return;
        if (i == end)
            break;
        if (!f->also || !memo_read(m, f->sp - 8, f->pc))
            return;
        bp = needs_bp ? NULL : bp;
        if (f->also != f->sp - 8) {
            bp = f;
            first_bp = false;
        }
    }
    m->result = result;
    m->epoch = s->epoch;
}

void stack_forget(struct stack *s)
{
    s->top = s->noded = STACK_FRAMES;
    s->truncated = false;
    s->epoch++;
    s->lo = s->hi = 0;
    memset(s->rules, 0, sizeof s->rules);
}

#else

uint32_t stack_recall(const struct stack *s, const struct frame *from)
{
    (void)s, (void)from;
    return 0;
}

void stack_remember(struct stack *s, const struct frame *from, unsigned depth, uint32_t result)
{
    (void)s, (void)from, (void)depth, (void)result;
}

bool stack_walk(struct stack *s, const struct frame *from, unsigned depth)
{
    (void)depth;
    s->frames[STACK_FRAMES - 1] = (struct stack_frame){.pc = from->pc};
    s->top = STACK_FRAMES - 1;
    s->noded = STACK_FRAMES;
    return true;
}

void stack_forget(struct stack *s)
{
    s->top = s->noded = STACK_FRAMES;
}

#endif
