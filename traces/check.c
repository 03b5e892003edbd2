/*
 * check.c - the reader's view of the bytes and the rules' view of the ops, side by side.
 */
#include "traces/check.h"

#include <inttypes.h>
#include <string.h>

#include "traces/layout.h"
#include "traces/rules.h"
#include "traces/sites.h"

static int totals_compare(const struct trace_reader *r, const struct trace_totals *counted,
                          struct error *err)
{
    uint8_t said[8 * TOTALS_FIELDS], here[8 * TOTALS_FIELDS];
    if (trace_is_torn(r))
        return 0;
    layout_totals_put(said, trace_reader_totals(r));
    layout_totals_put(here, counted);
    for (unsigned i = 0; i < TOTALS_FIELDS; i++)
        if (memcmp(said + 8 * i, here + 8 * i, 8) != 0)
            return error_set(err,
                             "%.500s: offset %" PRIu64 ": the index says %" PRIu64
                             " for total %u, but the ops add up to %" PRIu64,
                             trace_name(r), trace_index_offset(r), load64(said + 8 * i), i,
                             load64(here + 8 * i));
    return 0;
}

int trace_check(struct trace_reader *r, struct trace_totals *totals, struct error *err)
{
    struct trace_rules rules = {0};
    struct trace_op op;
    struct error why;
    int got = !trace_reader_sites(r, err) || trace_rewind(r, err) ? -1 : 1;
    while (got > 0 && (got = trace_next(r, &op, err)) > 0)
        if (trace_rules_put(&rules, &op, &why))
            got = error_set(err, "%.500s: offset %" PRIu64 ": %.400s", trace_name(r),
                            trace_offset(r), why.text);
    if (got == 0)
        got = totals_compare(r, &rules.totals, err);
    *totals = rules.totals;
    trace_rules_free(&rules);
    return got;
}
