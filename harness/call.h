/*
 * call.h - one op of a plan, decoded from its one or two words, for loops that may be slow between
 * ops.
 */
#ifndef ALLOCLAB_CALL_H
#define ALLOCLAB_CALL_H

#include "harness/replay.h"

struct call {
    unsigned kind; /* enum plan_kind, or PLAN_RARE_REALLOC */
    uint32_t slot;
    size_t size, old, align;
};

/* Decodes the op at `p`, after its prefix words; returns the word after it. */
static inline const uint64_t *call_decode(const uint64_t *p, struct call *call)
{
    uint64_t word = *p++;
    *call = (struct call){.kind = PLAN_KIND(word),
                          .slot = PLAN_SLOT(word),
                          .size = PLAN_LOW(word),
                          .align = ALLOCATOR_ALIGN};
    if (call->kind != PLAN_RARE)
        return p;
    uint64_t more = *p++;
    call->kind = PLAN_RARE_KIND(more);
    call->size = PLAN_RARE_SIZE(PLAN_LOW(word), more);
    call->old = PLAN_RARE_OLD(more);
    if (PLAN_RARE_ALIGN(more) > ALLOCATOR_ALIGN)
        call->align = PLAN_RARE_ALIGN(more);
    return p;
}

#endif
