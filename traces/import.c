/*
 * import.c - the tables and rules of import.h. A thread gets its number in the trace with the first
 * op that is put, because lines may be dropped.
 */
#include "traces/import.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "traces/table_grow.h"

static int no_memory(struct import *im)
{
    return lines_refuse(&im->lines, "no memory for the tables");
}

/* Counts an oddity of an address. */
static int odd(struct import *im, uint64_t *count, const char *what, uint64_t address)
{
    char word[24];
    snprintf(word, sizeof word, "0x%" PRIx64, address);
    return lines_odd(&im->lines, im->report, count, what, word);
}

/* ---- the file ---- */

/* What came of reading on, after a torn line has been counted. */
static int torn_drop(struct import *im, int got)
{
    if (got < 0 || !im->lines.torn)
        return got;
    im->lines.number += got == 0; /* the line that is not there */
    return lines_odd(&im->lines, im->report, &im->report->torn_lines,
                     "the file ends in the middle of it: drop this", im->lines.unit);
}

/* A call whose return is not there: its old object lives on. */
static int call_give_up(struct import *im, const struct import_call *call)
{
    uint64_t at = im->lines.number;
    im->lines.number = call->line;
    if (lines_odd(&im->lines, im->report, &im->report->unreturned_calls,
                  "the call that begins here", "never returns"))
        return -1;
    im->lines.number = at;
    if (call->op.object != TRACE_NO_OBJECT && !address_map_find(&im->live, call->old) &&
        !address_map_add(&im->live, call->old, call->op.object, 0))
        return no_memory(im);
    return 0;
}

static int calls_give_up(struct import *im, struct import_thread *thread, unsigned keep)
{
    for (unsigned i = keep; i < thread->depth; i++)
        if (call_give_up(im, &thread->calls[i]))
            return -1;
    thread->depth = keep;
    return 0;
}

/* A recording has a whole line, if only its end; what has none is of a tool that did not run, or of another form. */
static int empty_refuse(const struct import *im)
{
    if (im->has_content)
        return 0;
    return error_set(im->lines.err,
                     "%s: %s 1: there is nothing whole in the file: did the recording fail?",
                     im->lines.name, im->lines.unit);
}

/* `got` is 0 or -1, and so is what it returns. */
static int import_close(struct import *im, int got)
{
    im->report->lines = im->lines.number;
    for (size_t i = 0; got == 0 && i < im->thread_count; i++)
        got = calls_give_up(im, &im->threads[i], 0);
    lines_close(&im->lines);
    address_map_free(&im->live);
    address_map_free(&im->numbers);
    address_map_free(&im->sites);
    free(im->threads);
    return got;
}

int import_open(struct import *im, const char *path, const char *form, struct trace_writer *out,
                struct import_report *report, struct error *err)
{
    *im = (struct import){.out = out, .report = report};
    if (trace_set_meta(out, "source", form, err) || lines_open(&im->lines, path, err))
        return -1;
    im->lines.takes_torn = true;
    return import_thread(im, 0) ? import_close(im, -1) : 0;
}

int import_lines(struct import *im, int (*line)(struct import *im))
{
    int got;
    while ((got = torn_drop(im, lines_next(&im->lines))) > 0) {
        if (im->lines.text[strspn(im->lines.text, " \t")] == 0)
            continue;
        im->has_content = true;
        if (line(im))
            return import_close(im, -1);
    }
    return import_close(im, got ? got : empty_refuse(im));
}

int import_records(struct import *im, size_t bytes, int (*record)(struct import *im))
{
    int got;
    im->lines.unit = "record";
    while ((got = torn_drop(im, lines_record(&im->lines, bytes))) > 0) {
        im->has_content = true;
        if (record(im))
            return import_close(im, -1);
    }
    return import_close(im, got ? got : empty_refuse(im));
}

/* ---- threads, clock, sites ---- */

int import_thread(struct import *im, uint64_t tid)
{
    const struct address_entry *known = address_map_find(&im->numbers, tid);
    if (known) {
        im->at = address_entry_id(known);
        return 0;
    }
    if (im->thread_count == im->threads_room) {
        void *grown = table_grow(im->threads, &im->threads_room, sizeof *im->threads);
        if (!grown)
            return no_memory(im);
        im->threads = grown;
    }
    if (!address_map_add(&im->numbers, tid, im->thread_count, 0))
        return no_memory(im);
    im->at = im->thread_count++;
    im->threads[im->at] = (struct import_thread){.tid = tid, .number = -1};
    return 0;
}

void import_clock(struct import *im, uint64_t ns)
{
    if (!im->has_clock)
        im->first_ns = ns;
    im->has_clock = true;
    im->clock_ns = ns > im->first_ns ? ns - im->first_ns : 0;
}

void import_page_place(uint64_t address, char text[8])
{
    snprintf(text, 8, "..%03" PRIx64, address & 0xfff);
}

/* A site has come for the first time. */
static int site_add(struct import *im, uint64_t site, struct site_place place, const char *module)
{
    struct sites *sites = trace_writer_sites(im->out);
    const struct site_module of = {.name = module};
    struct error why;
    uint32_t number = 0;
    if (*module && !(place.module = sites_module(sites, &of, &why)))
        return lines_refuse(&im->lines, "%.400s", why.text);
    number = sites_place(sites, &place, &why);
    number = number ? sites_frame(sites, 0, number, &why) : 0;
    return number && sites_set(sites, site, number, &why) == 0
               ? 0
               : lines_refuse(&im->lines, "%.400s", why.text);
}

int import_site(struct import *im, uint64_t key, const struct site_place *place, const char *module,
                uint64_t *site)
{
    const struct address_entry *known = address_map_find(&im->sites, key);
    *site = known ? address_entry_id(known) : im->site_count + 1;
    if (known)
        return 0;
    im->site_count++;
    return address_map_add(&im->sites, key, *site, 0) ? site_add(im, *site, *place, module)
                                                      : no_memory(im);
}

static int put(struct import *im, struct trace_op *op)
{
    struct import_thread *thread = &im->threads[im->at];
    if (thread->number < 0)
        thread->number = im->numbered++;
    op->thread = (uint32_t)thread->number;
    op->clock_ns = im->clock_ns;
    return lines_put(&im->lines, im->out, op);
}

/* ---- calls ---- */

void import_align(struct trace_op *op, uint64_t align)
{
    while (op->align_log2 < 63 && UINT64_C(1) << op->align_log2 < align)
        op->align_log2++;
}

struct trace_op import_calloc(uint64_t count, uint64_t size)
{
    uint64_t product;
    bool overflows = __builtin_mul_overflow(count, size, &product);
    return import_op(TRACE_CALLOC, overflows ? UINT64_MAX : product);
}

int import_free(struct import *im, uint64_t address)
{
    struct trace_op op = import_op(TRACE_FREE, 0);
    struct address_entry *entry = address ? address_map_find(&im->live, address) : NULL;
    if (address && !entry)
        return odd(im, &im->report->unknown_frees, "free of an address that is not live:", address);
    if (entry) {
        op.object = address_entry_id(entry);
        address_map_remove(&im->live, entry);
    } else {
        op.flags = TRACE_NULL;
    }
    return put(im, &op);
}

/* The address becomes live; an object that is still there is freed first. */
static int address_take(struct import *im, uint64_t address, uint64_t object)
{
    if (address_map_find(&im->live, address) &&
        (odd(im, &im->report->double_allocs,
             "the call returns an address that is live:", address) ||
         import_free(im, address)))
        return -1;
    return address_map_add(&im->live, address, object, 0) ? 0 : no_memory(im);
}

int import_begin(struct import *im, const struct trace_op *op, uint64_t old)
{
    struct import_thread *thread = &im->threads[im->at];
    if (thread->depth == IMPORT_NESTED) { /* the outermost one will never return */
        struct import_call outermost = thread->calls[0];
        memmove(thread->calls, thread->calls + 1, sizeof thread->calls - sizeof *thread->calls);
        thread->depth--;
        if (call_give_up(im, &outermost))
            return -1;
    }
    struct import_call *call = &thread->calls[thread->depth++];
    *call = (struct import_call){.op = *op, .old = old, .line = im->lines.number};
    if (op->kind != TRACE_REALLOC)
        return 0;
    struct address_entry *entry = old ? address_map_find(&im->live, old) : NULL;
    if (!entry) {
        call->op.flags = TRACE_NULL;
        return old ? odd(im, &im->report->unknown_reallocs,
                         "realloc of an address that is not live:", old)
                   : 0;
    }
    call->op.object = address_entry_id(entry);
    address_map_remove(&im->live, entry);
    return 0;
}

/* How many calls are open up to the innermost one of that kind; 0: there is none. */
static unsigned depth_of(const struct import_thread *thread, unsigned kind)
{
    unsigned depth = thread->depth;
    while (depth && thread->calls[depth - 1].op.kind != kind)
        depth--;
    return depth;
}

struct trace_op *import_begun(struct import *im, unsigned kind)
{
    struct import_thread *thread = &im->threads[im->at];
    unsigned depth = depth_of(thread, kind);
    return depth ? &thread->calls[depth - 1].op : NULL;
}

bool import_forget(struct import *im, unsigned kind, uint64_t address)
{
    struct import_thread *thread = &im->threads[im->at];
    unsigned depth = depth_of(thread, kind);
    if (depth == 0 || depth != thread->depth || !address || !address_map_find(&im->live, address))
        return false;
    thread->depth--;
    return true;
}

int import_end(struct import *im, unsigned kind, uint64_t address)
{
    struct import_thread *thread = &im->threads[im->at];
    unsigned depth = depth_of(thread, kind);
    if (depth == 0)
        return odd(im, &im->report->unmatched_returns,
                   "no call of that kind has begun that returns", address);
    if (calls_give_up(im, thread, depth))
        return -1;
    struct import_call call = thread->calls[--thread->depth];
    struct trace_op *op = &call.op;
    if (op->kind == TRACE_CALLOC && op->size == UINT64_MAX && address)
        return lines_refuse(&im->lines, "the product overflows, and yet the call returned memory");
    bool has_object = op->object != TRACE_NO_OBJECT;
    if (address == 0 && has_object && op->size == 0) {
        op->flags = TRACE_ENDS;
        return put(im, op);
    }
    if (address == 0) {
        op->flags |= TRACE_FAILED;
        return (has_object && address_take(im, call.old, op->object)) ? -1 : put(im, op);
    }
    if (!has_object)
        op->object = im->objects++;
    return address_take(im, address, op->object) ? -1 : put(im, op);
}

int import_whole(struct import *im, const struct trace_op *op, uint64_t old, uint64_t address)
{
    return import_begin(im, op, old) ? -1 : import_end(im, op->kind, address);
}

int import_thread_end(struct import *im)
{
    struct import_thread *thread = &im->threads[im->at];
    struct trace_op op = import_op(TRACE_THREAD_END, 0);
    if (calls_give_up(im, thread, 0) || put(im, &op))
        return -1;
    address_map_remove(&im->numbers, address_map_find(&im->numbers, thread->tid));
    return 0;
}
