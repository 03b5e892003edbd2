/*
 * libfuzzer.c - what `make fuzz` runs for minutes or hours: any bytes through the importer that
 * ALLOCLAB_FUZZ_FORM names, or through the reader of traces. Built by clang with its fuzzer and
 * sanitizers; tests/fuzz/trace.c is the short, seeded kind in `make test`.
 *
 * The last byte decides which options the importer gets, so that a file of a form is a seed as it is.
 * Captures are fuzzed as sketches (tests/lib/capture_sketch.h), whose seeds are made here, in the folder
 * ALLOCLAB_FUZZ_SEEDS.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/capture_sketch.h"
#include "tests/lib/import_once.h"
#include "tests/lib/trace_image.h"
#include "traces/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerInitialize(int *argc, char ***argv);

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

static void sketches_write(const char *folder)
{
    enum { SKETCHES = 24 };
    for (uint64_t seed = 0; seed < SKETCHES; seed++) {
        struct image sketch = capture_sketch_make(seed, seed * 8);
        char path[4096];
        snprintf(path, sizeof path, "%s/made-%" PRIu64, folder, seed);
        FILE *f = fopen(path, "wb");
        if (!f || fwrite(sketch.data, 1, sketch.bytes, f) != sketch.bytes || fclose(f)) {
            fprintf(stderr, "%s: cannot write a seed\n", path);
            exit(2);
        }
        free(sketch.data);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *name = getenv("ALLOCLAB_FUZZ_FORM"), *folder = getenv("ALLOCLAB_FUZZ_SEEDS");
    (void)argc;
    (void)argv;
    if (name && folder && !strcmp(name, "capture"))
        sketches_write(folder);
    return 0;
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
    const struct image whole = {(uint8_t *)data, bytes};
    unsigned options = bytes ? data[bytes - 1] & IMPORT_OPTIONS : 0;
    enum import_outcome outcome = strcmp(name, "capture") != 0
                                      ? import_once(form, data, bytes, options, &err)
                                      : capture_sketch_import(form, &whole, options, &err);
    if (outcome == IMPORT_WRONG)
        wrong(&err);
    return 0;
}
