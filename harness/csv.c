/*
 * csv.c - see csv.h. Quoted fields are unquoted where they stand, since they only get shorter.
 */
#include "harness/csv.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The file as text, one byte longer for its end; NULL with a message. */
static char *file_read(const char *path, size_t *bytes, struct error *err)
{
    FILE *f = fopen(path, "re");
    struct stat st;
    char *text = NULL;
    if (!f || fstat(fileno(f), &st) || !S_ISREG(st.st_mode))
        error_set(err, "%s: %s: give a folder that `alloclab run -o DIR` wrote", path,
                  f ? "not a file" : strerror(errno));
    else if (!(text = malloc((size_t)st.st_size + 1)))
        error_set(err, "%s: no memory for %lld bytes", path, (long long)st.st_size);
    else {
        *bytes = fread(text, 1, (size_t)st.st_size, f);
        if (ferror(f)) {
            error_set(err, "%s: cannot read: %s", path, strerror(errno));
            free(text);
            text = NULL;
        }
    }
    if (f)
        fclose(f);
    return text;
}

/* The quoted field at csv->at, without its quotes; NULL: it has no end, or more follows it. */
static char *quoted_take(struct csv *csv)
{
    char *start = ++csv->at, *to = start;
    for (; csv->at < csv->end; csv->at++) {
        if (*csv->at == '"' && csv->at[1] != '"') {
            csv->at++;
            *to = 0;
            return *csv->at == ',' || *csv->at == '\n' ? start : NULL;
        }
        csv->at += *csv->at == '"';
        csv->next_line += *csv->at == '\n';
        *to++ = *csv->at;
    }
    return NULL;
}

/* The field at csv->at, which then stands at what ended it. */
static char *field_take(struct csv *csv)
{
    if (*csv->at == '"')
        return quoted_take(csv);
    char *start = csv->at;
    csv->at += strcspn(csv->at, ",\"\n");
    return *csv->at == '"' ? NULL : start;
}

/* One row into `fields`, at most `room` of them; their number, or -1. */
static int row_take(struct csv *csv, char **fields, unsigned room, struct error *err)
{
    unsigned count = 0;
    csv->line = csv->next_line;
    for (;;) {
        char *field = field_take(csv);
        if (!field)
            return error_set(err,
                             "%s:%u: a quote where none can be, or without an end: the file "
                             "was cut or edited",
                             csv->path, csv->line);
        if (count < room)
            fields[count] = field;
        count++;
        bool last = *csv->at == '\n';
        *csv->at++ = 0;
        if (last)
            break;
    }
    csv->next_line++;
    return (int)count;
}

static int header_take(struct csv *csv, struct error *err)
{
    unsigned room = 1;
    for (const char *at = csv->text; *at && *at != '\n'; at++)
        room += *at == ',';
    csv->header = calloc(room, sizeof *csv->header);
    csv->field = calloc(room, sizeof *csv->field);
    if (!csv->header || !csv->field)
        return error_set(err, "%s: no memory for %u columns", csv->path, room);
    int count = row_take(csv, csv->header, room, err);
    if (count < 0)
        return -1;
    csv->columns = (unsigned)count;
    for (unsigned i = 0; i < csv->columns; i++)
        if (csv_column(csv, csv->header[i]) != (int)i)
            return error_set(err, "%s:1: column %s is there twice", csv->path, csv->header[i]);
    return 0;
}

int csv_open(struct csv *csv, const char *path, struct error *err)
{
    size_t bytes = 0;
    *csv = (struct csv){.path = path, .next_line = 1};
    if (!(csv->text = file_read(path, &bytes, err)))
        return -1;
    csv->text[bytes] = 0;
    csv->at = csv->text;
    csv->end = csv->text + bytes;
    int result = 0;
    if (!bytes)
        result = error_set(err, "%s:1: the file is empty: it has no header", path);
    else if (strlen(csv->text) != bytes)
        result = error_set(err, "%s: byte %zu is 0: not a text file", path, strlen(csv->text));
    else if (csv->end[-1] != '\n')
        result = error_set(err, "%s: the last line has no end: the file was cut", path);
    if (result || header_take(csv, err)) {
        csv_close(csv);
        return -1;
    }
    return 0;
}

int csv_next(struct csv *csv, struct error *err)
{
    if (csv->at == csv->end)
        return 0;
    int count = row_take(csv, csv->field, csv->columns, err);
    if (count < 0)
        return -1;
    if ((unsigned)count != csv->columns)
        return error_set(err,
                         "%s:%u: %d fields where the header has %u: the file was cut or edited",
                         csv->path, csv->line, count, csv->columns);
    return 1;
}

void csv_close(struct csv *csv)
{
    free(csv->text);
    free(csv->header);
    free(csv->field);
}

int csv_column(const struct csv *csv, const char *name)
{
    for (unsigned i = 0; i < csv->columns; i++)
        if (!strcmp(csv->header[i], name))
            return (int)i;
    return -1;
}

void csv_put_text(FILE *f, const char *text)
{
    if (strpbrk(text, ",\"\n\r"))
        csv_put_quoted(f, text);
    else
        fputs(text, f);
}

void csv_put_quoted(FILE *f, const char *text)
{
    fputc('"', f);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', f);
        fputc(*text, f);
    }
    fputc('"', f);
}
