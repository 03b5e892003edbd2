/*
 * decode.c - `alloclab decode`, internal: decodes a trace into the ring of a cell, pass after pass,
 * until the session ends it (harness/decoder.c). What is wrong with the trace is said through the
 * ring, so that it becomes the cell's row.
 */
#include "harness/decode.h"

#include <stdlib.h>

#include "harness/registry.h"

static int decode_main(int argc, char **argv)
{
    struct error err;
    struct ring ring;
    if (argc != 4 || ring_map(&ring, atoi(argv[1]), RING_PRODUCER, &err)) {
        fprintf(stderr, "alloclab decode: internal; use `alloclab run --replay stream`\n");
        return 2;
    }
    struct trace_reader *trace = trace_open_fd(atoi(argv[2]), argv[3], TRACE_SKIP_CLOCK, &err);
    if (trace)
        decode_passes(trace, &ring, 0, &err); /* ends by an error alone */
    ring_fail(&ring, err.text);
    return 1;
}

COMMAND(decode) = {.name = "decode",
                   .usage = "decode (internal)",
                   .summary = "decodes a trace for a cell",
                   .hidden = 1,
                   .main = decode_main};
