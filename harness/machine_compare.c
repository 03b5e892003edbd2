/*
 * machine_compare.c - two run.json, line by line: machine_write() puts each fact on a line of its own,
 * as   "name": value,   and facts are compared as they are written.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness/machine.h"

#define FACTS 64

struct facts {
    char *line[FACTS]; /* "name" in quotes, then the value */
    unsigned count;
};

/* What differs between any two runs, and says nothing of how they compare. */
static bool expected(const char *line)
{
    static const char *const names[] = {"\"run_id\"",     "\"command\"",   "\"commit\"",
                                        "\"allocators\"", "\"workloads\"", "\"repeats\""};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (!strncmp(line, names[i], strlen(names[i])))
            return true;
    return false;
}

static void facts_free(struct facts *facts)
{
    for (unsigned i = 0; i < facts->count; i++)
        free(facts->line[i]);
}

/* Without the comma and the end of the line. */
static void line_trim(char *line)
{
    size_t length = strlen(line);
    while (length && strchr(",\n", line[length - 1]))
        line[--length] = 0;
}

static int fact_take(struct facts *facts, char *line, const char *path, unsigned number,
                     struct error *err)
{
    line_trim(line);
    if (!strcmp(line, "{") || !strcmp(line, "}"))
        return 0;
    if (strncmp(line, "  \"", 3) || !strstr(line, "\": ") || facts->count == FACTS)
        return error_set(err,
                         "%s:%u: '%.40s': not as alloclab writes it: run again, or remove the "
                         "file",
                         path, number, line);
    facts->line[facts->count] = strdup(line + 2);
    return facts->line[facts->count++] ? 0 : error_set(err, "%s: out of memory", path);
}

/* 1; 0 = there is no such file; -1 with a message. */
static int facts_read(struct facts *facts, const char *directory, struct error *err)
{
    char path[4200], *line = NULL;
    size_t room = 0;
    int result = 1;
    facts->count = 0;
    snprintf(path, sizeof path, "%s/run.json", directory);
    FILE *f = fopen(path, "re");
    if (!f && errno != ENOENT)
        return error_set(err, "%s: %s", path, strerror(errno));
    if (!f)
        return 0;
    for (unsigned number = 1; result > 0 && getline(&line, &room, f) >= 0; number++)
        if (fact_take(facts, line, path, number, err))
            result = -1;
    free(line);
    fclose(f);
    if (result < 0)
        facts_free(facts);
    return result;
}

/* The fact of the same name, or NULL. */
static const char *fact_find(const struct facts *facts, const char *line)
{
    size_t name = (size_t)(strstr(line, "\": ") - line) + 3;
    for (unsigned i = 0; i < facts->count; i++)
        if (!strncmp(facts->line[i], line, name))
            return facts->line[i] + name;
    return NULL;
}

static void facts_compare(const struct facts *base, const struct facts *other, FILE *stream)
{
    for (unsigned i = 0; i < base->count; i++) {
        const char *line = base->line[i], *theirs = fact_find(other, line);
        const char *ours = strstr(line, "\": ") + 3;
        if (expected(line) || !theirs || !strcmp(ours, theirs))
            continue;
        bool seed = !strncmp(line, "\"seed\"", strlen("\"seed\""));
        fprintf(stream, "warning: %.*s differs: %s, now %s%s\n", (int)(ours - line) - 4, line + 1,
                ours, theirs,
                seed ? ": workloads that are generated are not the same, recordings are; give both "
                       "runs one --seed"
                     : "");
    }
}

bool machine_compare(const char *base, const char *other, FILE *stream, struct error *err)
{
    struct facts ours, theirs;
    const char *const folders[] = {base, other};
    struct facts *const facts[] = {&ours, &theirs};
    int there[2] = {0, 0};
    for (unsigned i = 0; i < 2 && there[0] >= 0; i++)
        if ((there[i] = facts_read(facts[i], folders[i], err)) == 0)
            fprintf(stream,
                    "warning: %s has no run.json: whether machine, build and settings are "
                    "the same is not known\n",
                    folders[i]);
    if (there[0] > 0 && there[1] > 0)
        facts_compare(&ours, &theirs, stream);
    if (there[0] > 0)
        facts_free(&ours);
    if (there[1] > 0)
        facts_free(&theirs);
    return there[0] >= 0 && there[1] >= 0;
}
