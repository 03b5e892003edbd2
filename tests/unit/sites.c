/*
 * sites.c - the table of call sites: numbers are given once and stay, a trace file gives back what was
 * put into it, in one block or in many, and a file that is damaged or hostile is refused by its first
 * wrong byte, in words.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/trace_image.h"
#include "traces/check.h"
#include "traces/layout.h"
#include "traces/sites.h"
#include "workloads/lib/rng.h"

static struct error err;

static uint32_t module_add(struct sites *s, const char *name, const char *build)
{
    const struct site_module module = {.name = name, .build = build, .path = NULL};
    return sites_module(s, &module, &err);
}

static uint32_t place_add(struct sites *s, uint32_t module, uint64_t offset, const char *function)
{
    const struct site_place place = {.module = module, .offset = offset, .function = function};
    return sites_place(s, &place, &err);
}

/* A writer into a memfd. */
static struct trace_writer *writer_open(int *fd)
{
    *fd = memfd_create("sites", MFD_CLOEXEC);
    struct trace_writer *w = trace_create_fd(*fd, &err);
    assert_non_null(w);
    return w;
}

static void alloc_put(struct trace_writer *w, uint64_t site)
{
    const struct trace_op op = {.kind = TRACE_ALLOC,
                                .size = 8,
                                .site = site,
                                .object = trace_writer_totals(w)->objects,
                                .scope = TRACE_NO_SCOPE};
    if (trace_put(w, &op, &err))
        fail_msg("%s", err.text);
}

static struct image image_of(struct trace_writer *w, int fd)
{
    if (trace_finish(w, &err))
        fail_msg("%s", err.text);
    struct image image = image_read(fd);
    close(fd);
    return image;
}

static void tables_equal(const struct sites *a, const struct sites *b)
{
    for (unsigned kind = SITES_MODULE; kind < SITES_KINDS; kind++)
        assert_int_equal(sites_count(a, kind), sites_count(b, kind));
    for (uint32_t n = 1; n <= sites_count(a, SITES_MODULE); n++) {
        const struct site_module x = sites_module_at(a, n), y = sites_module_at(b, n);
        assert_string_equal(x.name, y.name);
        assert_string_equal(x.build, y.build);
        assert_string_equal(x.path, y.path);
    }
    for (uint32_t n = 1; n <= sites_count(a, SITES_PLACE); n++) {
        const struct site_place x = sites_place_at(a, n), y = sites_place_at(b, n);
        assert_true(x.offset == y.offset && x.module == y.module && x.line == y.line);
        assert_string_equal(x.function, y.function);
        assert_string_equal(x.file, y.file);
    }
    for (uint32_t n = 1; n <= sites_count(a, SITES_FRAME); n++) {
        assert_int_equal(sites_frame_caller(a, n), sites_frame_caller(b, n));
        assert_int_equal(sites_frame_place(a, n), sites_frame_place(b, n));
    }
    for (uint32_t n = 1, x, y; n <= sites_count(a, SITES_SITE); n++) {
        assert_true(sites_site_at(a, n, &x) == sites_site_at(b, n, &y));
        assert_int_equal(x, y);
    }
}

/* ---- the table ---- */

static void numbers_are_given_once(void **state)
{
    (void)state;
    struct sites *s = sites_new();
    assert_int_equal(module_add(s, "a.out", "0123"), 1);
    assert_int_equal(module_add(s, "libc.so.6", ""), 2);
    assert_int_equal(module_add(s, "a.out", "0123"), 1);
    assert_int_equal(module_add(s, "a.out", "4567"), 3);
    assert_int_equal(place_add(s, 1, 0x1139, ""), 1);
    assert_int_equal(place_add(s, 1, 0, NULL), 2);
    assert_int_equal(place_add(s, 1, SITE_NO_OFFSET, ""), 3);
    assert_int_equal(place_add(s, 1, 0x1139, ""), 1);
    assert_int_equal(place_add(s, 1, 0x1139, "main"), 4);
    assert_int_equal(sites_frame(s, 0, 1, &err), 1);
    assert_int_equal(sites_frame(s, 1, 2, &err), 2);
    assert_int_equal(sites_frame(s, 0, 2, &err), 3);
    assert_int_equal(sites_frame(s, 1, 2, &err), 2);
    assert_int_equal(sites_of_frame(s, 2, &err), 1);
    assert_int_equal(sites_of_frame(s, 3, &err), 2);
    assert_int_equal(sites_of_frame(s, 2, &err), 1);
    assert_int_equal(sites_find(s, 1), 2);
    assert_int_equal(sites_find(s, 3), 0);
    assert_int_equal(sites_frame_caller(s, 2), 1);
    assert_int_equal(sites_set(s, 7, 2, &err), 0);
    assert_int_equal(sites_set(s, 7, 2, &err), 0);
    assert_int_equal(sites_set(s, 7, 3, &err), -1);
    assert_string_equal(err.text, "site 7 stands for frame 2 already, and cannot for 3 too");
    sites_free(s);
}

/* Also after the table of them has grown a few times. */
static void many_frames_keep_their_sites(void **state)
{
    enum { FRAMES = 3000 };
    (void)state;
    int fd;
    struct trace_writer *w = writer_open(&fd);
    struct sites *s = trace_writer_sites(w);
    for (uint32_t i = 1; i <= FRAMES; i++) {
        assert_int_equal(sites_frame(s, 0, place_add(s, 0, i, ""), &err), i);
        assert_int_equal(sites_of_frame(s, i, &err), i);
    }
    for (uint32_t i = 1; i <= FRAMES; i++)
        assert_int_equal(sites_of_frame(s, i, &err), i);
    trace_abandon(w);
    close(fd);
}

static void what_is_not_there_is_refused(void **state)
{
    (void)state;
    struct sites *s = sites_new();
    assert_int_equal(module_add(s, "", ""), 0);
    assert_string_equal(err.text, "a module without a name");
    assert_int_equal(module_add(s, "a", "012"), 0);
    assert_int_equal(module_add(s, "a", "AB"), 0);
    assert_int_equal(place_add(s, 1, 0, ""), 0);
    assert_string_equal(err.text, "number 1 of the modules of call sites: there are 0");
    assert_int_equal(sites_frame(s, 0, 0, &err), 0);
    assert_int_equal(place_add(s, 0, SITE_NO_OFFSET, ""), 1);
    assert_int_equal(sites_frame(s, 1, 1, &err), 0);
    assert_string_equal(err.text, "number 1 of the frames of call sites: there are 0");
    assert_int_equal(sites_frame(s, 0, 1, &err), 1);
    assert_int_equal(sites_set(s, 0, 1, &err), -1);
    assert_int_equal(sites_set(s, 1, 2, &err), -1);
    assert_int_equal(sites_of_frame(s, 2, &err), 0);
    sites_free(s);
}

/* Names come from programs, and may be anything. */
static void names_become_text(void **state)
{
    (void)state;
    struct sites *s = sites_new();
    char *huge = malloc(3 * SITES_STRING_BYTES);
    assert_non_null(huge);
    uint32_t n = module_add(s,
                            "a\nb\x01"
                            "\xff\xc3\xa9 c\t",
                            "");
    assert_string_equal(sites_module_at(s, n).name, "a?b??\xc3\xa9 c\t");
    memset(huge, 'x', 3 * SITES_STRING_BYTES);
    memcpy(huge + SITES_STRING_BYTES - 1, "\xc3\xa9", 3); /* does not fit whole */
    n = module_add(s, huge, "");
    assert_int_equal(strlen(sites_module_at(s, n).name), SITES_STRING_BYTES - 1);
    free(huge);
    sites_free(s);
}

static uint64_t identity(const struct sites *s, uint32_t frame)
{
    uint64_t *all = sites_identities(s), one;
    assert_non_null(all);
    one = all[frame];
    free(all);
    return one;
}

static uint32_t frame_add(struct sites *s, uint32_t caller, uint32_t place)
{
    uint32_t frame = sites_frame(s, caller, place, &err);
    assert_int_not_equal(frame, 0);
    return frame;
}

static void identity_is_what_it_is(void **state)
{
    (void)state;
    struct sites *a = sites_new(), *b = sites_new();
    module_add(b, "other", "");
    uint32_t in_a = module_add(a, "m", "11"), in_b = module_add(b, "m", "22");
    uint32_t fa = frame_add(a, 0, place_add(a, in_a, 5, ""));
    uint32_t fb = frame_add(b, 0, place_add(b, in_b, 5, ""));
    assert_true(identity(a, fa) == identity(b, fb));
    assert_true(identity(a, fa) != identity(b, frame_add(b, fb, place_add(b, in_b, 5, ""))));
    assert_true(identity(a, fa) != identity(b, frame_add(b, 0, place_add(b, in_b, 6, ""))));
    assert_true(identity(a, fa) != identity(b, frame_add(b, 0, place_add(b, 1, 5, ""))));
    /* A line is what it is wherever it went. */
    struct site_place line = {
        .module = in_a, .offset = 5, .function = "f", .file = "f.c", .line = 3};
    fa = frame_add(a, 0, sites_place(a, &line, &err));
    line.module = in_b, line.offset = 99;
    fb = frame_add(b, 0, sites_place(b, &line, &err));
    assert_true(identity(a, fa) == identity(b, fb));
    line.line = 4;
    assert_true(identity(a, fa) != identity(b, frame_add(b, 0, sites_place(b, &line, &err))));
    assert_int_equal(identity(a, 0), 0);
    sites_free(a);
    sites_free(b);
}

static void stacks_are_copied(void **state)
{
    (void)state;
    struct sites *a = sites_new(), *b = sites_new(), *c = sites_new();
    uint32_t m = module_add(a, "m", "11"), f = 0;
    for (uint32_t i = 0; i < 1000; i++)
        f = frame_add(a, f, place_add(a, m, i % 7, ""));
    module_add(b, "n", "");
    uint32_t copy = sites_copy_frame(b, a, f, &err);
    assert_int_equal(copy, 1000);
    assert_true(identity(a, f) == identity(b, copy));
    assert_int_equal(sites_copy_frame(b, a, f, &err), copy);
    assert_int_equal(sites_count(b, SITES_PLACE), 7);
    assert_string_equal(sites_module_at(b, 2).build, "11");
    assert_int_equal(sites_set(b, 99, copy, &err), 0);
    assert_int_equal(sites_copy(c, b, &err), 0);
    tables_equal(c, b);
    sites_free(a);
    sites_free(b);
    sites_free(c);
}

/* ---- the file ---- */

/* Random rows of every kind, some of them again. */
static void rows_draw(struct sites *s, struct rng *rng, unsigned count)
{
    char text[40];
    for (unsigned i = 0; i < count; i++) {
        snprintf(text, sizeof text, "name %u", (unsigned)(rng_next(rng) % 2000));
        const uint64_t draw = rng_next(rng);
        uint32_t modules = sites_count(s, SITES_MODULE), places = sites_count(s, SITES_PLACE);
        uint32_t frames = sites_count(s, SITES_FRAME);
        struct site_place place = {.module = (uint32_t)(draw % (modules + 1)),
                                   .offset = draw % 3 ? draw >> draw % 64 : SITE_NO_OFFSET,
                                   .function = draw % 5 ? "" : text,
                                   .file = draw % 7 ? NULL : "f.c",
                                   .line = draw % 11 ? 0 : (uint32_t)draw};
        if (draw % 50 == 0 || modules == 0)
            assert_int_not_equal(module_add(s, text, draw % 4 ? "" : "00ff"), 0);
        else if (draw % 4 == 0 || places == 0)
            assert_int_not_equal(sites_place(s, &place, &err), 0);
        else if (draw % 4 < 3 || frames == 0)
            assert_int_not_equal(sites_frame(s, (uint32_t)(draw >> 9) % (frames + 1),
                                             1 + (uint32_t)(draw >> 40) % places, &err),
                                 0);
        else
            assert_int_equal(sites_set(s, draw | 1, 1 + (uint32_t)(draw >> 33) % frames, &err), 0);
    }
}

static void a_file_gives_them_back(void **state)
{
    (void)state;
    static const unsigned counts[] = {0, 1, 2, 100, 5000, 200000};
    for (unsigned k = 0; k < sizeof counts / sizeof *counts; k++)
        for (unsigned bursts = 1; bursts <= 3; bursts += 2) {
            struct rng a = rng_stream(17, k), b = rng_stream(17, k);
            struct sites *want = sites_new();
            int fd;
            struct trace_writer *w = writer_open(&fd);
            for (unsigned i = 0; i < bursts; i++) {
                rows_draw(want, &a, counts[k]);
                rows_draw(trace_writer_sites(w), &b, counts[k]);
                for (unsigned n = 0; n < 33000; n++)
                    alloc_put(w, n);
            }
            struct image image = image_of(w, fd);
            struct trace_reader *r = image_open(&image, 0, &err);
            assert_non_null(r);
            struct trace_totals totals;
            assert_int_equal(trace_has_site_table(r), counts[k] != 0);
            if (trace_check(r, &totals, &err))
                fail_msg("%s", err.text);
            tables_equal(trace_reader_sites(r, &err), want);
            trace_close(r);
            free(image.data);
            sites_free(want);
        }
}

/* Long strings fill blocks of their own. */
static void text_goes_into_many_blocks(void **state)
{
    (void)state;
    int fd;
    char *name = calloc(1, SITES_STRING_BYTES + 1);
    assert_non_null(name);
    memset(name, 'x', SITES_STRING_BYTES);
    struct trace_writer *w = writer_open(&fd);
    struct sites *want = sites_new();
    for (unsigned i = 0; i < 300; i++) {
        name[i] = 'y';
        assert_int_equal(module_add(trace_writer_sites(w), name, ""), i + 1);
        module_add(want, name, "");
    }
    struct image image = image_of(w, fd);
    assert_true(image_blocks(&image) >= 5);
    struct trace_reader *r = image_open(&image, 0, &err);
    assert_non_null(r);
    tables_equal(trace_reader_sites(r, &err), want);
    trace_close(r);
    sites_free(want);
    free(image.data);
    free(name);
}

/* What is in the whole blocks at the front of a torn file has its sites before it. */
static void a_torn_file_keeps_them(void **state)
{
    (void)state;
    int fd;
    struct trace_writer *w = writer_open(&fd);
    struct sites *s = trace_writer_sites(w);
    uint32_t m = module_add(s, "m", "");
    for (uint32_t i = 0; i < 4 * LAYOUT_BLOCK_RECORDS; i++) {
        if (i % 1000 == 0)
            sites_of_frame(s, sites_frame(s, 0, place_add(s, m, i, ""), &err), &err);
        alloc_put(w, i / 1000 + 1);
    }
    struct image image = image_of(w, fd);
    for (unsigned cut = 1; cut < 40; cut++) {
        struct image torn = {image.data, image.bytes * cut / 40};
        struct trace_reader *r = image_open(&torn, TRACE_SALVAGE, &err);
        assert_non_null(r);
        const struct sites *sites = trace_reader_sites(r, &err);
        assert_non_null(sites);
        struct trace_op op;
        uint64_t most = 0;
        while (trace_next(r, &op, &err) > 0) {
            most = op.site;
            assert_true(sites_find(sites, op.site) != 0);
        }
        assert_true(cut < 20 || most > 30);
        trace_close(r);
    }
    free(image.data);
}

/* ---- damage ---- */

/* Two modules, three places, three frames, two sites, in one block without compression. */
static struct image small_image(void)
{
    int fd;
    struct trace_writer *w = writer_open(&fd);
    struct sites *s = trace_writer_sites(w);
    module_add(s, "a.out", "0123");
    module_add(s, "libc.so.6", "");
    place_add(s, 1, 0x10, "");
    place_add(s, 2, 0x20, "f");
    place_add(s, 1, 0x30, "");
    sites_of_frame(s, sites_frame(s, sites_frame(s, 0, 1, &err), 2, &err), &err);
    sites_of_frame(s, sites_frame(s, 1, 3, &err), &err);
    alloc_put(w, 1);
    struct image packed = image_of(w, fd), plain = image_unpack(&packed);
    free(packed.data);
    return plain;
}

static const struct damage {
    unsigned tag;
    size_t at;    /* in the column */
    uint8_t byte; /* varints: twice the value */
    const char *words;
} damages[] = {
    {LAYOUT_ROWS, 0, 1, "rows of kind 0 start after 1, but 0 came before"},
    {LAYOUT_ROWS, 8 * SITES_KINDS, 3, "13 rows of call sites, and the block says 14"},
    {LAYOUT_ROWS, 8 * SITES_KINDS + 7, 9, "32778 rows of call sites, and the block says 14"},
    {LAYOUT_STRINGS, 0, '\n', "string 1 is empty, no text, too long or comes twice"},
    {LAYOUT_STRINGS, 0, 7, "string 1 is empty, no text, too long or comes twice"},
    {LAYOUT_STRINGS, 5, 'x', "strings are missing"},
    {LAYOUT_MODULE_NAME, 0, 0, "number 0 of the strings of call sites: there are 4"},
    {LAYOUT_MODULE_NAME, 0, 5 << 1, "number 5 of the strings of call sites: there are 4"},
    {LAYOUT_MODULE_BUILD, 0, 1 << 1, "build id 'a.out'"},
    {LAYOUT_PLACE_MODULE, 0, 3 << 1, "number 3 of the modules of call sites: there are 2"},
    {LAYOUT_PLACE_OFFSET, 2, 0x11 << 1, "row 3 of kind 2 is row 1 once more"},
    {LAYOUT_PLACE_FUNCTION, 1, 9 << 1, "number 9 of the strings"},
    {LAYOUT_FRAME_CALLER, 0, 0, "number 1 of the frames of call sites: there are 0"},
    {LAYOUT_FRAME_CALLER, 0, 2 << 1, "column 74: 18446744073709551615 is no number of a row"},
    {LAYOUT_FRAME_PLACE, 0, 0, "number 0 of the places"},
    {LAYOUT_FRAME_PLACE, 2, 2 << 1, "row 3 of kind 3 is row 2 once more"},
    {LAYOUT_FRAME_PLACE, 2, 5, "column 75 is longer than its rows, or ends inside one"},
    {LAYOUT_SITE_NUMBER, 0, 0, "site 0 stands for none"},
    {LAYOUT_SITE_NUMBER, 1, 0, "row 2 of kind 4 is row 1 once more"},
    {LAYOUT_SITE_FRAME, 0, 8 << 1, "number 4 of the frames"},
};

static void refused(const struct image *image, const char *words)
{
    struct trace_reader *r = image_open(image, 0, &err);
    struct trace_totals totals;
    if (r && trace_check(r, &totals, &err) == 0)
        fail_msg("not refused: %s", words);
    if (r)
        trace_close(r);
    if (!strstr(err.text, words) || strncmp(err.text, "image: offset 16: ", 18) != 0)
        fail_msg("'%s' is not '%s'", err.text, words);
}

static void damage_is_named(void **state)
{
    (void)state;
    struct image base = small_image();
    struct trace_totals totals;
    struct trace_reader *r = image_open(&base, 0, &err);
    if (!r || trace_check(r, &totals, &err))
        fail_msg("%s", err.text);
    trace_close(r);
    for (unsigned i = 0; i < sizeof damages / sizeof *damages; i++) {
        const struct damage *d = &damages[i];
        struct image image = image_copy(&base);
        size_t column = image_column(&image, image_block(&image, 0), d->tag);
        assert_int_not_equal(column, 0);
        image.data[column + d->at] = d->byte;
        image_repair(&image);
        refused(&image, d->words);
        free(image.data);
    }
    free(base.data);
}

/* A column that a reader must understand, and one that it may skip. */
static void unknown_columns(void **state)
{
    (void)state;
    struct image image = small_image();
    size_t block = image_block(&image, 0),
           entry = image_entry(&image, block, LAYOUT_PLACE_FUNCTION);
    store16(image.data + entry, 1000);
    image_repair(&image);
    struct trace_reader *r = image_open(&image, 0, &err);
    assert_non_null(r);
    const struct sites *s = trace_reader_sites(r, &err);
    assert_non_null(s);
    assert_string_equal(sites_place_at(s, 2).function, "");
    trace_close(r);
    store16(image.data + entry, 1000 | LAYOUT_MUST);
    image_repair(&image);
    r = image_open(&image, 0, &err);
    assert_non_null(r);
    assert_null(trace_reader_sites(r, &err));
    assert_non_null(strstr(err.text, "column 33768 is unknown, and must be understood"));
    trace_close(r);
    free(image.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_given_once),
        cmocka_unit_test(many_frames_keep_their_sites),
        cmocka_unit_test(what_is_not_there_is_refused),
        cmocka_unit_test(names_become_text),
        cmocka_unit_test(identity_is_what_it_is),
        cmocka_unit_test(stacks_are_copied),
        cmocka_unit_test(a_file_gives_them_back),
        cmocka_unit_test(text_goes_into_many_blocks),
        cmocka_unit_test(a_torn_file_keeps_them),
        cmocka_unit_test(damage_is_named),
        cmocka_unit_test(unknown_columns),
    };
    return cmocka_run_group_tests_name("sites", tests, NULL, NULL);
}
