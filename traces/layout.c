/*
 * layout.c - the tables behind layout.h: what each op holds, how long varints are, and the order of
 * the totals.
 */
#include "traces/layout.h"

#define OP(kind, flags) [(kind) | (flags) << 4] = SHAPE_OP
#define MAKE            (SHAPE_MAKES | SHAPE_SIZE)
#define FAIL            SHAPE_SIZE
#define REF             SHAPE_REF

const uint8_t layout_shapes[256] = {
    OP(TRACE_ALLOC, 0) | MAKE,
    OP(TRACE_ALLOC, TRACE_FAILED) | FAIL,
    OP(TRACE_CALLOC, 0) | MAKE,
    OP(TRACE_CALLOC, TRACE_FAILED) | FAIL,
    OP(TRACE_ALIGNED, 0) | MAKE | SHAPE_ALIGN,
    OP(TRACE_ALIGNED, TRACE_FAILED) | FAIL | SHAPE_ALIGN,
    OP(TRACE_REALLOC, 0) | REF | SHAPE_SIZE | SHAPE_ALIGN,
    OP(TRACE_REALLOC, TRACE_FAILED) | REF | SHAPE_SIZE | SHAPE_ALIGN,
    OP(TRACE_REALLOC, TRACE_ENDS) | REF | SHAPE_SIZE | SHAPE_ALIGN | SHAPE_ENDS,
    OP(TRACE_REALLOC, TRACE_NULL) | MAKE | SHAPE_ALIGN,
    OP(TRACE_REALLOC, TRACE_NULL | TRACE_FAILED) | FAIL | SHAPE_ALIGN,
    OP(TRACE_FREE, 0) | REF | SHAPE_ENDS,
    OP(TRACE_FREE, TRACE_SIZED) | REF | SHAPE_ENDS | SHAPE_SIZE,
    OP(TRACE_FREE, TRACE_NULL),
    OP(TRACE_FREE, TRACE_NULL | TRACE_SIZED) | SHAPE_SIZE,
    OP(TRACE_SCOPE_BEGIN, 0) | SHAPE_BEGIN,
    OP(TRACE_SCOPE_END, 0) | SHAPE_SCOPE,
    OP(TRACE_SCOPE_SWITCH, 0) | SHAPE_SCOPE,
    OP(TRACE_THREAD_BEGIN, 0),
    OP(TRACE_THREAD_END, 0),
    OP(TRACE_LIVE, 0) | MAKE,
};

#define SEVEN(extra) extra, extra, extra, extra, extra, extra, extra

const uint8_t layout_extra[64] = {SEVEN(0), SEVEN(1), SEVEN(2), SEVEN(3), SEVEN(4),
                                  SEVEN(5), SEVEN(6), SEVEN(7), SEVEN(8), 8};

static const size_t totals_order[TOTALS_FIXED] = {
    offsetof(struct trace_totals, records),
    offsetof(struct trace_totals, ops),
    offsetof(struct trace_totals, failed),
    offsetof(struct trace_totals, null_frees),
    offsetof(struct trace_totals, null_reallocs),
    offsetof(struct trace_totals, sized_frees),
    offsetof(struct trace_totals, objects),
    offsetof(struct trace_totals, threads),
    offsetof(struct trace_totals, scopes),
    offsetof(struct trace_totals, peak_live_objects),
    offsetof(struct trace_totals, peak_live_bytes),
    offsetof(struct trace_totals, end_live_objects),
    offsetof(struct trace_totals, end_live_bytes),
    offsetof(struct trace_totals, allocated_bytes),
};

void layout_totals_put(uint8_t *bytes, const struct trace_totals *totals)
{
    for (unsigned i = 0; i < TOTALS_FIXED; i++)
        store64(bytes + 8 * i, *(const uint64_t *)((const char *)totals + totals_order[i]));
    for (unsigned kind = 0; kind < TRACE_KINDS; kind++)
        store64(bytes + 8 * (TOTALS_FIXED + kind), totals->kinds[kind]);
}

void layout_totals_get(const uint8_t *bytes, struct trace_totals *totals)
{
    for (unsigned i = 0; i < TOTALS_FIXED; i++)
        *(uint64_t *)((char *)totals + totals_order[i]) = load64(bytes + 8 * i);
    for (unsigned kind = 0; kind < TRACE_KINDS; kind++)
        totals->kinds[kind] = load64(bytes + 8 * (TOTALS_FIXED + kind));
}
