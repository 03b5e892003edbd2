/*
 * gperftools.c - processed malloc traces of gperftools' tracing tcmalloc: what `postprocess` of its
 * malloc-trace-replay makes of a raw trace, and `replay` reads. It compresses them with lz4: unpack
 * them first. The file is records of 24 bytes, three little-endian u64, without a header:
 *
 *     type + REGISTER * 256     then, by type:
 *     0 malloc                  SIZE, 0
 *     1 free                    0, 0
 *     2 sized free              SIZE, 0
 *     3 memalign                SIZE, ALIGNMENT
 *     4 realloc                 new REGISTER, new SIZE
 *     5 switch thread           thread, 0
 *     6 the thread ends         0, 0
 *     7 time and CPU            ns, CPU
 *
 * A register is a number for an object, and is used again after its free.
 *
 * Rules of the import, beside those of traces/import.h, where registers are the addresses. Sized
 * frees become plain ones: postprocess makes all frees sized, from what it knows. It also frees
 * what is left at the end, so that such a trace ends with nothing live; nobody is switched to for
 * that, so if a thread ended last these frees are of a new thread. Sizes were rounded up to 8
 * bytes by the tracer. It cannot say calloc, failed calls, free(NULL), sites.
 *
 * What was never written of a file is zeros, which read as a malloc of 0 bytes into register 0. It is refused
 * as the first record, since postprocess begins with a thread, and where register 0 is live.
 */
#include <inttypes.h>
#include <string.h>

#include "traces/import.h"
#include "traces/layout.h"

enum { RECORD_BYTES = 24 };

enum { MALLOC, FREE, FREE_SIZED, MEMALIGN, REALLOC, SWITCH_THREAD, THREAD_ENDS, TIME };

/* The address of a register, which may be 0. */
static uint64_t address_of(uint64_t number)
{
    return number + 1;
}

/* The thread's number of the system may come again at once: without a switch, for nobody. */
static int thread_end(struct import *im)
{
    uint64_t tid = im->threads[im->at].tid;
    return import_thread_end(im) ? -1 : import_thread(im, tid);
}

static int record_import(struct import *im)
{
    const uint8_t *record = (const uint8_t *)im->lines.text;
    uint64_t head = load64(record), first = load64(record + 8), second = load64(record + 16);
    uint64_t address = address_of(head >> 8);
    bool zeros = !head && !first && !second;
    if (zeros && (im->lines.number == 1 || address_map_find(&im->live, address)))
        return lines_refuse(&im->lines,
                            "nothing but zeros: this part of the file was never written; unpack or "
                            "copy it again, or cut it off before here");
    struct trace_op op = import_op(TRACE_ALLOC, first);
    switch (head & 255) {
    case MEMALIGN:
        op.kind = TRACE_ALIGNED;
        import_align(&op, second);
        return import_whole(im, &op, 0, address);
    case MALLOC:
        return import_whole(im, &op, 0, address);
    case FREE:
    case FREE_SIZED:
        return import_free(im, address);
    case REALLOC:
        op = import_op(TRACE_REALLOC, second);
        return import_whole(im, &op, address, address_of(first));
    case SWITCH_THREAD:
        return import_thread(im, first);
    case THREAD_ENDS:
        return thread_end(im);
    case TIME:
        import_clock(im, first);
        return 0;
    default:
        return lines_refuse(&im->lines,
                            "type %" PRIu64 ": 0 to 7 are known: is this a processed trace?",
                            head & 255);
    }
}

static int gperftools_import(const char *path, struct trace_writer *out,
                             struct import_report *report, struct error *err)
{
    struct import im;
    return import_open(&im, path, "gperftools", out, report, err)
               ? -1
               : import_records(&im, RECORD_BYTES, record_import);
}

TRACE_FORMAT(gperftools) = {
    .name = "gperftools",
    .summary = "processed malloc traces of gperftools' tracing tcmalloc",
    .import = gperftools_import,
};
