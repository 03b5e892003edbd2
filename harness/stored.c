/*
 * stored.c - see stored.h. Cells are sorted by their keys once all rows are read; until then the
 * cell of the last row is looked at first and the others from the end, since a cell's rows are a
 * block apart.
 */
#include "harness/stored.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/array.h"
#include "harness/cell.h"
#include "harness/csv.h"
#include "harness/noise.h"

#define KEY_BYTES 4096
#define SEPARATOR "\x1f"

struct columns { /* of a file, by place: which metric, or which part of a key */
    struct csv *csv;
    enum metric *metric; /* METRIC_COUNT: an id, a row's or an unknown column */
    int *id;             /* the id columns, in the order of the table of metrics */
    bool *loose;
    unsigned ids;
    int status, detail, options, allocator, workload, release, pass, replay, copies;
};

/* What a new option adds to. */
static bool changes_with_options(const char *name)
{
    return !strcmp(name, "options") || !strcmp(name, "door");
}

static void places_find(struct columns *c)
{
    const struct {
        int *place;
        const char *name;
    } places[] = {
        {&c->status, "status"},       {&c->detail, "detail"},     {&c->options, "options"},
        {&c->allocator, "allocator"}, {&c->workload, "workload"}, {&c->release, "release"},
        {&c->pass, "pass"},           {&c->replay, "replay"},     {&c->copies, "copies"}};
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++)
        *places[i].place = csv_column(c->csv, places[i].name);
}

static int columns_find(struct columns *c, struct stored *s, struct error *err)
{
    struct csv *csv = c->csv;
    c->metric = calloc(csv->columns, sizeof *c->metric);
    c->id = calloc(csv->columns, sizeof *c->id);
    c->loose = calloc(csv->columns, sizeof *c->loose);
    if (!c->metric || !c->id || !c->loose)
        return error_set(err, "%s: no memory for %u columns", csv->path, csv->columns);
    for (const struct metric_row *row = metric_rows; row->name; row++) {
        int at = csv_column(csv, row->name);
        bool id = !strcmp(row->how, "id");
        if (at < 0 && (id || !strcmp(row->how, "row")))
            return error_set(err, "%s:1: column %s is missing: run again with this alloclab",
                             csv->path, row->name);
        if (id) {
            c->loose[c->ids] = !changes_with_options(row->name);
            c->id[c->ids++] = at;
        }
    }
    for (unsigned i = 0; i < csv->columns; i++) {
        c->metric[i] = metric_find(csv->header[i]);
        if (c->metric[i] < METRIC_COUNT)
            s->has[c->metric[i]] = true;
    }
    places_find(c);
    return 0;
}

/* The id columns' fields as one text. */
static int key_make(const struct columns *c, bool loose, char *key, struct error *err)
{
    size_t length = 0;
    key[0] = 0;
    for (unsigned i = 0; i < c->ids; i++) {
        if (loose && !c->loose[i])
            continue;
        length += (size_t)snprintf(key + length, KEY_BYTES - length, "%s" SEPARATOR,
                                   c->csv->field[c->id[i]]);
        if (length >= KEY_BYTES)
            return error_set(err,
                             "%s:%u: the columns that say what the row is have more than %d "
                             "bytes",
                             c->csv->path, c->csv->line, KEY_BYTES);
    }
    return 0;
}

static char *label_make(const struct columns *c)
{
    char **f = c->csv->field, *label = NULL;
    const char *options = f[c->options], *copies = f[c->copies];
    bool many = strcmp(copies, "1") != 0;
    if (asprintf(&label, "%s%s%s on %s, release=%s%s%s, %s", f[c->allocator], options[0] ? ":" : "",
                 options, f[c->workload], f[c->release], many ? ", copies=" : "",
                 many ? copies : "", f[c->pass]) < 0)
        return NULL;
    return label;
}

static int cell_fill(const struct columns *c, struct stored_cell *cell, const char *key,
                     struct error *err)
{
    char loose[KEY_BYTES];
    if (key_make(c, true, loose, err))
        return -1;
    cell->key = strdup(key);
    cell->loose_key = strdup(loose);
    cell->label = label_make(c);
    cell->options = strdup(c->csv->field[c->options]);
    return cell->key && cell->loose_key && cell->label && cell->options
               ? 0
               : error_set(err, "%s: out of memory", c->csv->path);
}

/* The cell of the row, made if there is none yet. */
static struct stored_cell *cell_of(const struct columns *c, struct stored *s, struct error *err)
{
    char key[KEY_BYTES];
    if (key_make(c, false, key, err))
        return NULL;
    for (unsigned i = s->count; i > 0; i--)
        if (!strcmp(s->cells[i - 1].key, key))
            return &s->cells[i - 1];
    struct stored_cell *grown = array_room(s->cells, s->count, &s->room, sizeof *grown);
    if (!grown) {
        error_set(err, "%s: no memory for %u cells", c->csv->path, s->count + 1);
        return NULL;
    }
    s->cells = grown;
    struct stored_cell *cell = &s->cells[s->count++];
    memset(cell, 0, sizeof *cell);
    return cell_fill(c, cell, key, err) ? NULL : cell;
}

static int number_take(const struct columns *c, unsigned column, double *value, struct error *err)
{
    const char *text = c->csv->field[column];
    char *end;
    *value = strtod(text, &end);
    if (*end || !isfinite(*value) || *value < 0 || strspn(text, "0123456789.eE+-") != strlen(text))
        return error_set(err, "%s:%u: %s is '%.40s', which is not a number of at least 0",
                         c->csv->path, c->csv->line, c->csv->header[column], text);
    return 0;
}

static int values_take(const struct columns *c, struct stored_cell *cell, struct error *err)
{
    double row[METRIC_COUNT] = {0};
    bool known[METRIC_COUNT] = {false};
    for (unsigned i = 0; i < c->csv->columns; i++) {
        enum metric metric = c->metric[i];
        if (metric == METRIC_COUNT || !c->csv->field[i][0])
            continue;
        struct stored_values *v = &cell->value[metric];
        double *grown = array_room(v->list, v->count, &v->room, sizeof *grown);
        if (!grown)
            return error_set(err, "%s: out of memory", c->csv->path);
        v->list = grown;
        if (number_take(c, i, &row[metric], err))
            return -1;
        known[metric] = true;
        v->list[v->count++] = row[metric];
    }
    bool parallel = !strcmp(c->csv->field[c->replay], "parallel");
    cell->disturbed += noise_disturbed(row, known, parallel);
    return 0;
}

static int row_take(const struct columns *c, struct stored *s, struct error *err)
{
    const char *status = c->csv->field[c->status];
    struct stored_cell *cell = cell_of(c, s, err);
    if (!cell)
        return -1;
    cell->rows++;
    if (!strcmp(status, status_names[OUTCOME_OK])) {
        cell->ok++;
        return values_take(c, cell, err);
    }
    if (!strcmp(status, status_names[OUTCOME_NOT_APPLICABLE])) {
        cell->not_applicable++;
        return 0;
    }
    for (unsigned i = OUTCOME_OK; i <= OUTCOME_MEMORY_LIMIT; i++)
        if (!strcmp(status, status_names[i])) {
            if (!cell->detail &&
                asprintf(&cell->detail, "%s: %s", status, c->csv->field[c->detail]) < 0)
                return error_set(err, "%s: out of memory", c->csv->path);
            return 0;
        }
    return error_set(err, "%s:%u: status is '%.40s', which is none", c->csv->path, c->csv->line,
                     status);
}

static int cell_order(const void *a, const void *b)
{
    const struct stored_cell *x = a, *y = b;
    return strcmp(x->key, y->key);
}

static int rows_read(struct stored *s, struct csv *csv, struct error *err)
{
    struct columns c = {.csv = csv};
    int more = columns_find(&c, s, err) ? -1 : 1;
    while (more > 0 && (more = csv_next(csv, err)) > 0)
        if (row_take(&c, s, err))
            more = -1;
    if (!more && !s->count)
        more = error_set(err, "%s:1: no row besides the header: nothing was measured", csv->path);
    if (!more)
        qsort(s->cells, s->count, sizeof *s->cells, cell_order);
    free(c.metric);
    free(c.id);
    free(c.loose);
    return more;
}

int stored_open(struct stored *s, const char *directory, struct error *err)
{
    char path[4200];
    struct csv csv;
    *s = (struct stored){.directory = directory};
    if (snprintf(path, sizeof path, "%s/results.csv", directory) >= (int)sizeof path)
        return error_set(err, "%.60s..: the folder's name is too long", directory);
    if (csv_open(&csv, path, err))
        return -1;
    int result = rows_read(s, &csv, err);
    csv_close(&csv);
    if (result)
        stored_close(s);
    return result;
}

void stored_close(struct stored *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        struct stored_cell *cell = &s->cells[i];
        free(cell->key);
        free(cell->loose_key);
        free(cell->label);
        free(cell->options);
        free(cell->detail);
        for (unsigned m = 0; m < METRIC_COUNT; m++)
            free(cell->value[m].list);
    }
    free(s->cells);
}

struct stored_cell *stored_find(const struct stored *s, const char *key)
{
    struct stored_cell wanted = {.key = (char *)key};
    return s->count ? bsearch(&wanted, s->cells, s->count, sizeof *s->cells, cell_order) : NULL;
}
