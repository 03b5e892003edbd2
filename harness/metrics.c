/*
 * metrics.c - the table of metrics.h as data.
 */
#include "harness/metrics.h"

#include <stddef.h>

const struct metric_row metric_rows[] = {
#define METRIC_ROW(name, unit, better, how, definition) {#name, unit, #better, #how, definition},
    METRIC_IDS(METRIC_ROW) METRIC_VALUES(METRIC_ROW)
#undef METRIC_ROW
        {NULL, NULL, NULL, NULL, NULL},
};
