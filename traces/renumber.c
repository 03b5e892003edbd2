/*
 * renumber.c - see renumber.h.
 */
#include "traces/renumber.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int no_memory(const struct renumber *n, struct error *err)
{
    return error_set(err, "%.500s: no memory for its objects, threads and scopes",
                     trace_name(n->in));
}

void renumber_free(struct renumber *n)
{
    live_table_free(&n->objects);
    address_map_free(&n->sites);
    free(n->threads);
    free(n->scopes);
}

/* Makes a table of zeros reach to `at`. */
static void *table_reach(void *table, uint64_t at, uint64_t *room, size_t size)
{
    uint64_t more = *room ? *room : 64;
    while (more <= at)
        more *= 2;
    if (more == *room)
        return table;
    char *grown = realloc(table, more * size);
    if (!grown)
        return NULL;
    memset(grown + *room * size, 0, (more - *room) * size);
    *room = more;
    return grown;
}

int renumber_thread(struct renumber *n, uint32_t thread, uint32_t *number, struct error *err)
{
    uint32_t *threads = table_reach(n->threads, thread, &n->threads_room, sizeof *n->threads);
    if (!threads)
        return no_memory(n, err);
    n->threads = threads;
    if (!threads[thread])
        threads[thread] = (uint32_t)trace_writer_totals(n->out)->threads + 1;
    *number = threads[thread] - 1;
    return 0;
}

/* A site has come for the first time: what it stands for comes too. */
static int site_add(struct renumber *n, uint64_t site, uint64_t number, struct error *err)
{
    struct sites *to = trace_writer_sites(n->out);
    if (!address_map_add(&n->sites, site, number, 0))
        return no_memory(n, err);
    if (n->nameless)
        return 0;
    if (!n->from && !(n->from = trace_reader_sites(n->in, err)))
        return -1;
    uint32_t frame = sites_find(n->from, site);
    if (!frame)
        return 0;
    frame = sites_copy_frame(to, n->from, frame, err);
    return frame ? sites_set(to, number, frame, err) : -1;
}

static int site_number(struct renumber *n, struct trace_op *op, struct error *err)
{
    const struct address_entry *found = address_map_find(&n->sites, op->site);
    uint64_t number = found ? address_entry_id(found) : n->next_site ? *n->next_site : op->site;
    if (!found && site_add(n, op->site, number, err))
        return -1;
    if (!found && n->next_site)
        ++*n->next_site;
    op->site = number;
    return 0;
}

static int known_order(const void *a, const void *b)
{
    const struct renumber_known *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* What an object of the input is called; forgets it if the op ends it. */
static int object_number(struct renumber *n, const struct trace_op *op, uint64_t *number,
                         struct error *err)
{
    *number = RENUMBER_OUT;
    if (op->object < n->first_object) {
        const struct renumber_known wanted = {.id = op->object};
        const struct renumber_known *known =
            n->known_count ? bsearch(&wanted, n->known, n->known_count, sizeof wanted, known_order)
                           : NULL;
        if (known)
            *number = (uint64_t)(known - n->known);
        return 0;
    }
    uint64_t id = op->object - n->first_object, *value = live_table_find(&n->objects, id);
    if (!value)
        return error_set(err,
                         "%.500s: offset %" PRIu64 ": object %" PRIu64
                         " is not live any more: see `alloclab trace check`",
                         trace_name(n->in), trace_offset(n->in), op->object);
    if (*value != RENUMBER_OUT)
        *number = *value - 1;
    if (trace_ends_object(op))
        live_table_remove(&n->objects, id, value);
    return 0;
}

int renumber_object(struct renumber *n, uint64_t number, struct error *err)
{
    if (!live_table_room(&n->objects))
        return no_memory(n, err);
    live_table_add(&n->objects, number == RENUMBER_OUT ? RENUMBER_OUT : number + 1);
    return 0;
}

static int scope_set(struct renumber *n, uint64_t scope, uint64_t number, struct error *err)
{
    uint64_t *scopes =
        table_reach(n->scopes, scope - n->first_scope, &n->scopes_room, sizeof *n->scopes);
    if (!scopes)
        return no_memory(n, err);
    n->scopes = scopes;
    scopes[scope - n->first_scope] = number + 1;
    return 0;
}

static uint64_t scope_number(const struct renumber *n, uint64_t scope)
{
    if (scope == TRACE_NO_SCOPE || scope < n->first_scope ||
        scope - n->first_scope >= n->scopes_room || !n->scopes[scope - n->first_scope])
        return TRACE_NO_SCOPE;
    return n->scopes[scope - n->first_scope] - 1;
}

int renumber_leave(struct renumber *n, const struct trace_op *op, struct error *err)
{
    if (trace_makes_object(op))
        return renumber_object(n, RENUMBER_OUT, err);
    uint64_t number;
    return trace_ends_object(op) ? object_number(n, op, &number, err) : 0;
}

int renumber_put(struct renumber *n, const struct trace_op *op, struct error *err)
{
    struct trace_op put = *op;
    struct error why;
    if (trace_makes_object(op)) {
        put.object = trace_writer_totals(n->out)->objects;
        if (renumber_object(n, put.object, err))
            return -1;
    } else if (op->object != TRACE_NO_OBJECT) {
        if (object_number(n, op, &put.object, err))
            return -1;
        if (put.object == RENUMBER_OUT)
            return 0;
    }
    if (op->kind == TRACE_SCOPE_BEGIN) {
        put.scope = trace_writer_totals(n->out)->scopes;
        if (scope_set(n, op->scope, put.scope, err))
            return -1;
    } else if (op->scope != TRACE_NO_SCOPE) {
        put.scope = scope_number(n, op->scope);
        if (put.scope == TRACE_NO_SCOPE && op->kind == TRACE_SCOPE_END)
            return 0;
    }
    put.clock_ns = op->clock_ns > n->clock_base ? op->clock_ns - n->clock_base : 0;
    if (renumber_thread(n, op->thread, &put.thread, err) ||
        (op->site && (n->next_site || !n->nameless) && site_number(n, &put, err)))
        return -1;
    if (trace_put(n->out, &put, &why))
        return error_set(err, "%.500s: offset %" PRIu64 ": %.400s", trace_name(n->in),
                         trace_offset(n->in), why.text);
    return 0;
}

/* ---- meta ---- */

/* Reads "thread.N.REST", with `kind` "thread."; REST, or NULL if the key is another one. */
static const char *key_number(const char *key, const char *kind, uint64_t *number)
{
    char *end;
    size_t length = strlen(kind);
    if (strncmp(key, kind, length) || key[length] < '0' || key[length] > '9')
        return NULL;
    *number = strtoull(key + length, &end, 10);
    return *end == '.' ? end + 1 : NULL;
}

static int pair_put(struct renumber *n, const char *kind, uint64_t number, const char *rest,
                    const char *value, const char *suffix, struct error *err)
{
    char key[256], text[4096];
    snprintf(key, sizeof key, "%s.%" PRIu64 ".%s", kind, number, rest);
    if (!*suffix)
        return trace_set_meta(n->out, key, value, err);
    snprintf(text, sizeof text, "%.4000s%.90s", value, suffix);
    return trace_set_meta(n->out, key, text, err);
}

int renumber_meta(struct renumber *n, enum renumber_meta which, const char *prefix,
                  const char *suffix, struct error *err)
{
    const char *key, *value, *rest;
    char text[256];
    uint64_t number;
    int failed = 0;
    for (unsigned i = 0; !failed && trace_meta_at(n->in, i, &key, &value); i++) {
        if (n->next_site && (rest = key_number(key, "site.", &number))) {
            const struct address_entry *site = address_map_find(&n->sites, number);
            if (site)
                failed = pair_put(n, "site", address_entry_id(site), rest, value, "", err);
        } else if ((rest = key_number(key, "thread.", &number))) {
            if (number < n->threads_room && n->threads[number])
                failed = pair_put(n, "thread", n->threads[number] - 1, rest, value, suffix, err);
        } else if (which != RENUMBER_NAMES) {
            snprintf(text, sizeof text, "%s%s", which == RENUMBER_PREFIXED ? prefix : "", key);
            failed = trace_set_meta(n->out, text, value, err);
        }
    }
    return failed;
}
