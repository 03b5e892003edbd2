/*
 * libfuzzer.c - what `make fuzz` runs for minutes or hours: any bytes through the importer that
 * ALLOCLAB_FUZZ_FORM names, or through the reader of traces. Built by clang with its fuzzer and
 * sanitizers; tests/fuzz/trace.c is the short, seeded kind in `make test`.
 *
 * The last byte decides which options the importer gets, so that a file of a form is a seed as it is.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/import_once.h"
#include "tests/lib/trace_image.h"
#include "traces/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void wrong(const struct error *err)
{
    fprintf(stderr, "wrong: %s\n", err->text);
    abort();
}

/* As it is, and with its checksums made right, so that the damage reaches the code behind them. */
static void trace_try(const uint8_t *data, size_t bytes)
{
    for (unsigned repaired = 0; repaired < 2; repaired++) {
        struct error err;
        struct trace_totals totals;
        struct image given = {(uint8_t *)data, bytes}, image = image_copy(&given);
        if (repaired)
            image_repair(&image);
        struct trace_reader *r = image_open(&image, TRACE_SALVAGE, &err);
        int failed = !r || trace_check(r, &totals, &err);
        if (r)
            trace_close(r);
        free(image.data);
        if (failed && strncmp(err.text, "image: offset ", 14) != 0)
            wrong(&err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct trace_format *form;
    struct error err;
    const char *name = getenv("ALLOCLAB_FUZZ_FORM");
    if (name && !strcmp(name, "trace")) {
        trace_try(data, bytes);
        return 0;
    }
    for (size_t i = 0; name && !form && trace_formats[i]; i++)
        if (!strcmp(trace_formats[i]->name, name) && trace_formats[i]->import)
            form = trace_formats[i];
    if (!form) {
        fprintf(stderr, "ALLOCLAB_FUZZ_FORM: 'trace', or a form that can be read, is expected\n");
        exit(2);
    }
    if (import_once(form, data, bytes, bytes ? data[bytes - 1] & IMPORT_OPTIONS : 0, &err) ==
        IMPORT_WRONG)
        wrong(&err);
    return 0;
}
