/*
 * metrics.c - the table of metrics.h as data.
 */
#include "harness/metrics.h"

#include <stddef.h>
#include <string.h>

const struct metric_row metric_rows[] = {
#define METRIC_ROW(name, unit, better, how, definition) {#name, unit, #better, #how, definition},
    METRIC_IDS(METRIC_ROW) METRIC_VALUES(METRIC_ROW)
#undef METRIC_ROW
        {NULL, NULL, NULL, NULL, NULL},
};

const struct metric_row *metric_row_of(enum metric metric)
{
#define METRIC_ONE(...) +1
    enum { IDS = METRIC_IDS(METRIC_ONE) };
#undef METRIC_ONE
    return &metric_rows[IDS + metric];
}

enum metric metric_find(const char *name)
{
    enum metric metric = 0;
    while (metric < METRIC_COUNT && strcmp(metric_row_of(metric)->name, name))
        metric++;
    return metric;
}

bool metric_is_time(const struct metric_row *row)
{
    return !strcmp(row->how, "timed") && !strcmp(row->better, "lower") && !strcmp(row->unit, "ns");
}
