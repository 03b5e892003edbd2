/*
 * capture.c - a recorder's capture as a trace: addresses become objects, process-wide thread
 * numbers become numbers by first appearance, and the two records of a realloc one op.
 *
 * The order of the capture is the order of the trace; a realloc stands where it returned. In a
 * correct program the records of one address alternate between given and released
 * (traces/recorder/capture.h says why), and that is checked here: a block given out while it is
 * live is an inversion, and the old object is freed first; a release of an address that is not live
 * is dropped; a realloc of one is taken as an allocation. All are counted, and the counts go into
 * the trace. They come from calls that the recorder cannot see, such as those of an allocator
 * reached by another name.
 *
 * A process that was forked begins with what its parent had live at that moment, as `live` ops in
 * the order of allocation: the parent's capture is followed up to the position of the fork, and so
 * on to the first ancestor.
 *
 * THREAD_BEGIN stands before a thread's first op. THREAD_END stands after its last one, if it was
 * seen to end; that takes a first pass over the capture, because destructors may free memory after
 * the recorder was told.
 */
#include "traces/formats/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "traces/address_map.h"
#include "traces/recorder/capture.h"

enum { MAX_ANCESTORS = 1000, NO_NUMBER = -1 };

struct capture { /* a mapped file */
    const char *path;
    const struct capture_header *header;
    const struct capture_record *records;
    uint64_t count; /* up to the last filled record */
    size_t bytes;
};

struct pending { /* a realloc between its two records */
    bool open, unknown;
    uint64_t address, id, size; /* of the old block; address 0: realloc(NULL) */
};

struct thread {
    int64_t number; /* in the trace; NO_NUMBER before its first op */
    uint64_t last;  /* position of its last record */
    bool ended;
    struct pending realloc;
    char name[17];
};

struct conversion {
    struct capture file;
    struct trace_writer *out; /* NULL: only the live set is wanted */
    const struct capture_options *options;
    struct capture_report *report;
    struct address_map live;    /* address -> id, size */
    struct address_map numbers; /* a thread's number in the capture -> index in threads */
    struct address_map scopes;  /* id of an open scope in the capture -> its number */
    struct thread *threads;
    size_t thread_count;
    uint64_t objects, scope_count;
    int64_t trace_threads;
    uint64_t position; /* of the record at hand */
    uint64_t clock_start, clock;
    struct error *err;
};

/* ---- the file ---- */

static void capture_unmap(struct capture *file)
{
    if (file->header)
        munmap((void *)file->header, file->bytes);
    file->header = NULL;
}

static bool string_ends(const char *text, size_t room)
{
    return memchr(text, 0, room) != NULL;
}

static int header_check(const struct capture *file, struct error *err)
{
    const struct capture_header *h = file->header;
    if (h->magic != CAPTURE_MAGIC)
        return error_set(err, "%s: offset 0: not a capture, or its process ended before it began",
                         file->path);
    if (h->header_bytes != CAPTURE_HEADER_BYTES || h->record_bytes != CAPTURE_RECORD_BYTES)
        return error_set(err, "%s: offset 8: a capture of another version of the recorder",
                         file->path);
    if (!string_ends(h->program, sizeof h->program) || !string_ends(h->parent, sizeof h->parent) ||
        !string_ends(h->recorder, sizeof h->recorder) || h->command_bytes > CAPTURE_COMMAND_BYTES ||
        strchr(h->parent, '/'))
        return error_set(err, "%s: offset 16: the header is damaged", file->path);
    return 0;
}

static int capture_map(struct capture *file, const char *path, struct error *err)
{
    struct stat status;
    *file = (struct capture){.path = path};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) {
        if (fd >= 0)
            close(fd);
        return error_set(err, "%s: cannot read: %s", path, strerror(errno));
    }
    if (!S_ISREG(status.st_mode) || status.st_size < (off_t)CAPTURE_HEADER_BYTES) {
        close(fd);
        return error_set(err, "%s: offset 0: too short for a capture", path);
    }
    file->bytes = (size_t)status.st_size;
    void *p = mmap(NULL, file->bytes, PROT_READ, MAP_SHARED, fd, 0);
    int error = errno;
    close(fd);
    if (p == MAP_FAILED)
        return error_set(err, "%s: cannot map: %s", path, strerror(error));
    file->header = p;
    file->records = (const void *)((const char *)p + CAPTURE_HEADER_BYTES);
    file->count = (file->bytes - CAPTURE_HEADER_BYTES) / CAPTURE_RECORD_BYTES;
    while (file->count && file->records[file->count - 1].kind == CAPTURE_NONE)
        file->count--;
    if (header_check(file, err)) {
        capture_unmap(file);
        return -1;
    }
    return 0;
}

/* ---- threads ---- */

static int no_memory(struct conversion *c)
{
    return error_set(c->err, "%s: no memory for the tables of a capture of this size",
                     c->file.path);
}

/* NULL: no memory. */
static struct thread *thread_of(struct conversion *c, uint32_t number)
{
    const struct address_entry *e = address_map_find(&c->numbers, number);
    if (e)
        return &c->threads[address_entry_id(e)];
    if ((c->thread_count & (c->thread_count - 1)) == 0) {
        size_t room = c->thread_count ? 2 * c->thread_count : 1;
        struct thread *grown = realloc(c->threads, room * sizeof *grown);
        if (!grown)
            return NULL;
        c->threads = grown;
    }
    if (!address_map_add(&c->numbers, number, c->thread_count, 0))
        return NULL;
    c->threads[c->thread_count] = (struct thread){.number = NO_NUMBER};
    return &c->threads[c->thread_count++];
}

/* Which record of each thread is its last, and which threads ended. */
static int threads_scan(struct conversion *c)
{
    for (uint64_t i = 0; i < c->file.count; i++) {
        const struct capture_record *r = &c->file.records[i];
        if (r->kind == CAPTURE_NONE)
            continue;
        struct thread *t = thread_of(c, r->thread);
        if (!t)
            return no_memory(c);
        t->last = i;
        t->ended |= r->kind == CAPTURE_THREAD_END;
    }
    return 0;
}

/* ---- ops ---- */

static int put(struct conversion *c, struct thread *t, struct trace_op op)
{
    op.clock_ns = c->clock;
    if (!c->out)
        return 0;
    if (t->number == NO_NUMBER) {
        t->number = c->trace_threads++;
        struct trace_op begin = {.kind = TRACE_THREAD_BEGIN,
                                 .thread = (uint32_t)t->number,
                                 .object = TRACE_NO_OBJECT,
                                 .scope = TRACE_NO_SCOPE,
                                 .clock_ns = c->clock};
        if (trace_put(c->out, &begin, c->err))
            return -1;
    }
    op.thread = (uint32_t)t->number;
    if (op.kind < TRACE_SCOPE_BEGIN || op.kind > TRACE_SCOPE_SWITCH)
        op.scope = TRACE_NO_SCOPE;
    if (op.size > TRACE_MAX_SIZE && !(op.flags & TRACE_FAILED)) {
        op.size = TRACE_MAX_SIZE;
        c->report->clamped_sizes++;
    }
    return trace_put(c->out, &op, c->err);
}

/* Counts an oddity; -1 if they are not wanted. */
static int odd(struct conversion *c, uint64_t *count, const char *what, uint64_t address)
{
    struct import_report *report = &c->report->odd;
    if (!c->out)
        return 0; /* counted in the ancestor's own trace */
    ++*count;
    if (!report->first_odd_line)
        report->first_odd_line = c->position + 1;
    if (report->strict)
        return error_set(c->err, "%s: record %" PRIu64 ": %s 0x%" PRIx64, c->file.path,
                         c->position + 1, what, address);
    return 0;
}

/* The address is live from here on. */
static int address_given(struct conversion *c, struct thread *t, uint64_t address, uint64_t id,
                         uint64_t size)
{
    struct address_entry *e = address_map_find(&c->live, address);
    if (e) {
        struct trace_op op = {.kind = TRACE_FREE, .object = address_entry_id(e)};
        address_map_remove(&c->live, e);
        if (odd(c, &c->report->odd.double_allocs, "given out while live:", address) ||
            put(c, t, op))
            return -1;
    }
    return address_map_add(&c->live, address, id, size) ? 0 : no_memory(c);
}

static int convert_alloc(struct conversion *c, struct thread *t, const struct capture_record *r)
{
    static const uint8_t kinds[] = {[CAPTURE_ALLOC] = TRACE_ALLOC,
                                    [CAPTURE_CALLOC] = TRACE_CALLOC,
                                    [CAPTURE_ALIGNED] = TRACE_ALIGNED};
    struct trace_op op = {.kind = kinds[r->kind], .align_log2 = r->align_log2, .size = r->size};
    if (r->flags & CAPTURE_FAILED) {
        op.flags = TRACE_FAILED;
        op.object = TRACE_NO_OBJECT;
        return put(c, t, op);
    }
    op.object = c->objects++;
    if (address_given(c, t, r->address, op.object, r->size))
        return -1;
    return put(c, t, op);
}

static int convert_free(struct conversion *c, struct thread *t, const struct capture_record *r)
{
    struct trace_op op = {.kind = TRACE_FREE, .object = TRACE_NO_OBJECT};
    if (r->flags & CAPTURE_SIZED) {
        op.flags = TRACE_SIZED;
        op.size = r->size;
    }
    if (r->address == 0) {
        op.flags |= TRACE_NULL;
        return put(c, t, op);
    }
    struct address_entry *e = address_map_find(&c->live, r->address);
    if (!e)
        return odd(c, &c->report->odd.unknown_frees,
                   "free of an address that is not live:", r->address);
    op.object = address_entry_id(e);
    address_map_remove(&c->live, e);
    return put(c, t, op);
}

static int convert_realloc_begin(struct conversion *c, struct thread *t,
                                 const struct capture_record *r)
{
    t->realloc = (struct pending){.open = true, .address = r->address};
    if (r->address == 0)
        return 0;
    struct address_entry *e = address_map_find(&c->live, r->address);
    if (!e) {
        t->realloc.unknown = true;
        return odd(c, &c->report->odd.unknown_reallocs,
                   "realloc of an address that is not live:", r->address);
    }
    t->realloc.id = address_entry_id(e);
    t->realloc.size = e->size;
    address_map_remove(&c->live, e);
    return 0;
}

static int convert_realloc_end(struct conversion *c, struct thread *t,
                               const struct capture_record *r)
{
    struct pending old = t->realloc;
    bool failed = r->flags & CAPTURE_FAILED, fresh = !old.open || old.unknown || old.address == 0;
    struct trace_op op = {.kind = TRACE_REALLOC, .object = old.id, .size = r->size};
    t->realloc = (struct pending){0};
    if (!old.open &&
        odd(c, &c->report->odd.unknown_reallocs, "realloc without its begin:", r->address))
        return -1;
    if (fresh) {
        if (failed && r->size == 0 && old.unknown)
            return 0; /* it freed what we do not know */
        op.flags = TRACE_NULL | (failed ? TRACE_FAILED : 0);
        op.object = failed ? TRACE_NO_OBJECT : c->objects++;
    } else if (failed && r->size == 0) {
        op.flags = TRACE_ENDS;
    } else if (failed) {
        op.flags = TRACE_FAILED;
        if (address_given(c, t, old.address, old.id, old.size))
            return -1;
    }
    if (!failed && address_given(c, t, r->address, op.object, r->size))
        return -1;
    return put(c, t, op);
}

/* ---- marks ---- */

static int convert_scope(struct conversion *c, struct thread *t, const struct capture_record *r)
{
    struct trace_op op = {.object = TRACE_NO_OBJECT};
    if (r->kind == CAPTURE_SCOPE_BEGIN) {
        op.kind = TRACE_SCOPE_BEGIN;
        op.scope = c->scope_count++;
        return address_map_add(&c->scopes, r->address, op.scope, 0) ? put(c, t, op) : no_memory(c);
    }
    op.kind = r->kind == CAPTURE_SCOPE_END ? TRACE_SCOPE_END : TRACE_SCOPE_SWITCH;
    if (r->address == 0 && op.kind == TRACE_SCOPE_SWITCH) {
        op.scope = TRACE_NO_SCOPE;
        return put(c, t, op);
    }
    struct address_entry *e = address_map_find(&c->scopes, r->address);
    if (!e)
        return odd(c, &c->report->odd_marks, "a mark of a scope that is not open:", r->address);
    op.scope = address_entry_id(e);
    if (op.kind == TRACE_SCOPE_END)
        address_map_remove(&c->scopes, e);
    return put(c, t, op);
}

static void keep_name(struct thread *t, const struct capture_record *r)
{
    memcpy(t->name, &r->address, 8);
    memcpy(t->name + 8, &r->size, 8);
    for (char *p = t->name; *p; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
}

/* ---- a whole capture ---- */

static int convert_record(struct conversion *c, const struct capture_record *r)
{
    struct thread *t = thread_of(c, r->thread);
    if (!t)
        return no_memory(c);
    if (c->file.header->clock && c->options->clock) {
        /* Stamps of two threads may cross between the clock and the position: time never runs back.
         */
        uint64_t now = r->clock_ns - c->clock_start;
        c->clock = r->clock_ns > c->clock_start && now > c->clock ? now : c->clock;
    }
    switch (r->kind) {
    case CAPTURE_ALLOC:
    case CAPTURE_CALLOC:
    case CAPTURE_ALIGNED:
        return convert_alloc(c, t, r);
    case CAPTURE_FREE:
        return convert_free(c, t, r);
    case CAPTURE_REALLOC_BEGIN:
        return convert_realloc_begin(c, t, r);
    case CAPTURE_REALLOC_END:
        return convert_realloc_end(c, t, r);
    case CAPTURE_SCOPE_BEGIN:
    case CAPTURE_SCOPE_END:
    case CAPTURE_SCOPE_SWITCH:
        return convert_scope(c, t, r);
    case CAPTURE_THREAD_NAME:
        keep_name(t, r);
        return 0;
    case CAPTURE_THREAD_END:
        return 0;
    }
    return error_set(c->err, "%s: offset %" PRIu64 ": a record of unknown kind %u", c->file.path,
                     CAPTURE_HEADER_BYTES + c->position * CAPTURE_RECORD_BYTES, r->kind);
}

/* Follows the capture up to record `end`. */
static int convert_records(struct conversion *c, uint64_t end)
{
    if (end > c->file.count)
        end = c->file.count;
    for (c->position = 0; c->position < end; c->position++) {
        const struct capture_record *r = &c->file.records[c->position];
        if (r->kind == CAPTURE_NONE) {
            c->report->unfilled_records++;
            continue;
        }
        if (convert_record(c, r))
            return -1;
        struct thread *t = thread_of(c, r->thread);
        struct trace_op op = {.kind = TRACE_THREAD_END, .object = TRACE_NO_OBJECT};
        if (t->ended && t->last == c->position && t->number != NO_NUMBER && put(c, t, op))
            return -1;
    }
    return 0;
}

static void conversion_free(struct conversion *c)
{
    capture_unmap(&c->file);
    address_map_free(&c->live);
    address_map_free(&c->numbers);
    address_map_free(&c->scopes);
    free(c->threads);
}

/* The live set that the process of `header` was forked with, into `live`; ids are in the order of
 * allocation. */
static int inherit(const struct capture *child, const struct capture_options *options,
                   struct address_map *live, uint64_t *objects, unsigned depth, struct error *err)
{
    const char *slash = strrchr(child->path, '/');
    char path[PATH_MAX];
    struct capture_report ignored = {0};
    struct conversion c = {.options = options, .report = &ignored, .err = err};
    int dir = slash ? (int)(slash - child->path) + 1 : 0;
    if (depth > MAX_ANCESTORS)
        return error_set(err, "%s: more than %d ancestors", child->path, MAX_ANCESTORS);
    if (snprintf(path, sizeof path, "%.*s%s", dir, child->path, child->header->parent) >= PATH_MAX)
        return error_set(err, "%s: the path of its parent's capture is too long", child->path);
    if (capture_map(&c.file, path, err))
        return -1;
    int status = 0;
    if (c.file.header->parent[0])
        status = inherit(&c.file, options, &c.live, &c.objects, depth + 1, err);
    if (status == 0)
        status = convert_records(&c, child->header->parent_records);
    if (status == 0) {
        *live = c.live;
        *objects = c.objects;
        c.live = (struct address_map){0};
    }
    conversion_free(&c);
    return status;
}

static int compare_ids(const void *a, const void *b)
{
    const struct address_entry *const *x = a, *const *y = b;
    return ((*x)->id_and_one > (*y)->id_and_one) - ((*x)->id_and_one < (*y)->id_and_one);
}

/* Emits the inherited objects, oldest first, and gives them the ids they have in this trace. */
static int put_inherited(struct conversion *c)
{
    struct thread *t = thread_of(c, c->file.header->fork_thread);
    struct address_entry **sorted = malloc((c->live.used + 1) * sizeof *sorted);
    if (!t || !sorted) {
        free(sorted);
        return no_memory(c);
    }
    size_t n = 0;
    for (size_t i = 0; i < c->live.room; i++)
        if (c->live.slots[i].id_and_one)
            sorted[n++] = &c->live.slots[i];
    qsort(sorted, n, sizeof *sorted, compare_ids);
    c->objects = 0;
    int status = 0;
    for (size_t i = 0; i < n && status == 0; i++) {
        struct trace_op op = {.kind = TRACE_LIVE, .object = c->objects++, .size = sorted[i]->size};
        sorted[i]->id_and_one = op.object + 1;
        status = put(c, t, op);
    }
    c->report->inherited_objects = n;
    free(sorted);
    return status;
}

/* ---- meta data ---- */

static int set_count(struct conversion *c, const char *key, uint64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return trace_set_meta(c->out, key, text, c->err);
}

/* What a trace may carry as text: printable, one line. */
static void make_printable(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || (unsigned char)*text > '~')
            *text = '?';
}

/* The command as the user said it, or only the name of its first word. */
static void command_text(const struct capture_header *h, bool whole, char *text, size_t room)
{
    size_t bytes = h->command_bytes;
    while (bytes && h->command[bytes - 1] == 0)
        bytes--;
    bytes = bytes < room ? bytes : room - 1;
    memcpy(text, h->command, bytes);
    text[bytes] = 0;
    if (whole) {
        for (size_t i = 0; i < bytes; i++)
            text[i] = text[i] ? text[i] : ' ';
    } else {
        const char *slash = strrchr(text, '/');
        if (slash)
            memmove(text, slash + 1, strlen(slash));
    }
    make_printable(text);
}

static int put_meta(struct conversion *c)
{
    const struct capture_header *h = c->file.header;
    const struct capture_report *r = c->report;
    char command[CAPTURE_COMMAND_BYTES + 1], date[32], key[32];
    time_t started = (time_t)h->started_s;
    struct tm tm;
    command_text(h, c->options->whole_command, command, sizeof command);
    if (!gmtime_r(&started, &tm) || strftime(date, sizeof date, "%Y-%m-%d", &tm) == 0)
        strcpy(date, "unknown");
    if (trace_set_meta(c->out, "program", r->program, c->err) ||
        trace_set_meta(c->out, "command", command, c->err) ||
        trace_set_meta(c->out, "date", date, c->err) ||
        trace_set_meta(c->out, "recorder", h->recorder, c->err) ||
        set_count(c, "lost_ops", r->lost_records + r->unfilled_records) ||
        set_count(c, "inversions", r->odd.double_allocs) ||
        set_count(c, "unknown_frees", r->odd.unknown_frees) ||
        set_count(c, "unknown_reallocs", r->odd.unknown_reallocs))
        return -1;
    if ((r->nested_calls && set_count(c, "nested_calls", r->nested_calls)) ||
        (r->odd_marks && set_count(c, "odd_marks", r->odd_marks)) ||
        (r->clamped_sizes && set_count(c, "clamped_sizes", r->clamped_sizes)) ||
        (r->forked && set_count(c, "inherited_objects", r->inherited_objects)))
        return -1;
    for (size_t i = 0; i < c->thread_count; i++) {
        const struct thread *t = &c->threads[i];
        snprintf(key, sizeof key, "thread.%" PRId64 ".name", t->number);
        if (t->name[0] && t->number != NO_NUMBER && trace_set_meta(c->out, key, t->name, c->err))
            return -1;
    }
    return 0;
}

static int convert_mapped(struct conversion *c)
{
    const struct capture_header *h = c->file.header;
    struct capture_report *r = c->report;
    snprintf(r->program, sizeof r->program, "%s", h->program);
    make_printable(r->program);
    r->pid = h->pid;
    r->forked = h->parent[0] != 0;
    r->lost_records = h->lost_records;
    r->nested_calls = h->nested_calls;
    r->odd.lines = c->file.count;
    for (uint64_t i = 0; i < c->file.count && !c->clock_start; i++)
        c->clock_start = c->file.records[i].clock_ns;
    if (threads_scan(c))
        return -1;
    if (r->forked &&
        (inherit(&c->file, c->options, &c->live, &c->objects, 0, c->err) || put_inherited(c)))
        return -1;
    return convert_records(c, c->file.count) || put_meta(c) ? -1 : 0;
}

int capture_convert(const char *path, struct trace_writer *out,
                    const struct capture_options *options, struct capture_report *report,
                    struct error *err)
{
    bool strict = report->odd.strict;
    *report = (struct capture_report){.odd.strict = strict};
    struct conversion c = {.out = out, .options = options, .report = report, .err = err};
    int status = capture_map(&c.file, path, err);
    if (status == 0)
        status = convert_mapped(&c);
    conversion_free(&c);
    return status;
}

static int capture_import(const char *path, struct trace_writer *out, struct import_report *report,
                          struct error *err)
{
    struct capture_options options = {.clock = true};
    struct capture_report whole = {.odd.strict = report->strict};
    int status = capture_convert(path, out, &options, &whole, err);
    *report = whole.odd;
    return status;
}

TRACE_FORMAT(capture) = {
    .name = "capture",
    .summary = "what the recorder leaves while a program runs (alloclab record --keep-capture)",
    .import = capture_import,
};
