/*
 * trace.c - mutated inputs through the checker and the importers: no crash, no hang, each either
 * fine or refused with the file and an offset or a line. Seeded: ALLOCLAB_FUZZ_SEED (printed) and
 * ALLOCLAB_FUZZ_COUNT mutants of traces, and half as many texts of all forms together, and captures.
 * It says how many seconds of a processor that took.
 *
 * run.py: timeout=900
 *
 * Half of the mutants of traces are of files whose columns are stored plainly, and most have their
 * checksums made right again, so that the damage reaches the code behind them.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/registry.h"
#include "tests/lib/capture_sketch.h"
#include "tests/lib/import_once.h"
#include "tests/lib/trace_image.h"
#include "tests/lib/trace_maker.h"
#include "traces/check.h"
#include "traces/layout.h"
#include "traces/recorder/capture.h"
#include "traces/sites.h"
#include "workloads/lib/rng.h"

enum {
    BASES = 8,
    TABLES = 2,
    IMAGES = 2 * (BASES + TABLES),
    LARGE_BYTES = 32 << 10,
    HANG_SECONDS = 20,
    MAX_RECORDS = 4000000
};

static struct image bases[IMAGES];              /* packed and plain */
static uint64_t seed = 20240229, count = 30000; /* with both builds a minute of a processor */
static struct rng rng;
static uint64_t fine, refused;
static char fuzzed[512]; /* names of forms */

static uint64_t draw(uint64_t below)
{
    return rng_next(&rng) % below;
}

/* A trace with a table of sites: a small one, and one that is larger than a block. */
static struct image table_image(unsigned rows)
{
    struct error err;
    int fd = memfd_create("sites", MFD_CLOEXEC);
    struct trace_writer *w = trace_create_fd(fd, &err);
    struct sites *s = w ? trace_writer_sites(w) : NULL;
    const struct site_module module = {.name = "a.out", .build = "0123", .path = "/bin/a.out"};
    int failed = !s || !sites_module(s, &module, &err);
    for (uint32_t i = 1; !failed && i <= rows; i++) {
        const struct site_place place = {.module = i % 3 != 0,
                                         .offset = i % 3 ? i * i : SITE_NO_OFFSET,
                                         .function = i % 4 ? "" : "f",
                                         .line = i};
        const struct trace_op op = {
            .size = i, .site = i, .object = i - 1, .scope = TRACE_NO_SCOPE, .kind = TRACE_ALLOC};
        uint32_t at = sites_place(s, &place, &err);
        failed = !at || !sites_frame(s, i / 2, at, &err) || sites_set(s, i, i, &err) ||
                 trace_put(w, &op, &err);
    }
    if (failed || trace_finish(w, &err))
        fail_msg("%s", err.text);
    struct image image = image_read(fd);
    close(fd);
    return image;
}

static int setup(void **state)
{
    static const size_t sizes[BASES] = {0, 1, 20, 60, 200, 1000, 3000, 34000};
    (void)state;
    const char *count_text = getenv("ALLOCLAB_FUZZ_COUNT"),
               *seed_text = getenv("ALLOCLAB_FUZZ_SEED");
    if (getenv("TEST_FULL"))
        count = 100000;
    if (count_text)
        count = strtoull(count_text, NULL, 10);
    if (seed_text)
        seed = strtoull(seed_text, NULL, 10);
    print_message("# seed %" PRIu64 ", %" PRIu64 " mutants\n", seed, count);
    /* A reader asks for room for a whole block, and most have few records: it is mapped anew each time, which costs
     * less than that it be cleared. */
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    for (unsigned i = 0; i < BASES; i++) {
        struct trace_op *ops = trace_maker_ops(i, sizes[i], i % 2 ? MAKER_ALL : MAKER_RARE);
        int fd = trace_maker_file(ops, sizes[i]);
        bases[i] = image_read(fd);
        bases[BASES + TABLES + i] = image_unpack(&bases[i]);
        close(fd);
        free(ops);
    }
    for (unsigned i = BASES; i < BASES + TABLES; i++) {
        bases[i] = table_image(i == BASES ? 20 : 12000);
        bases[BASES + TABLES + i] = image_unpack(&bases[i]);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    print_message("# seed %" PRIu64 ": fuzzed for %.0f s\n", seed,
                  (double)clock() / CLOCKS_PER_SEC);
    for (unsigned i = 0; i < IMAGES; i++)
        free(bases[i].data);
    return 0;
}

/* ---- mutations ---- */

/* The few bases that are large would take half of the time, for what is between blocks and little
   else: of their turns they get one in four. */
static const struct image *base_draw(void)
{
    for (;;) {
        const struct image *image = &bases[draw(IMAGES)];
        if (image->bytes < LARGE_BYTES || draw(4) == 0)
            return image;
    }
}

static void flip_bits(struct image *image)
{
    for (uint64_t n = 1 + draw(8); n > 0 && image->bytes; n--)
        image->data[draw(image->bytes)] ^= (uint8_t)(1 << draw(8));
}

static void set_bytes(struct image *image)
{
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xfe, 0xff};
    for (uint64_t n = 1 + draw(12); n > 0 && image->bytes; n--)
        image->data[draw(image->bytes)] = values[draw(sizeof values)];
}

static void truncate_tail(struct image *image)
{
    if (image->bytes)
        image->bytes = draw(2) ? draw(image->bytes) : image->bytes - draw(image->bytes / 20 + 1);
}

/* Copies a piece of any base to any place. */
static void splice_base(struct image *image)
{
    const struct image *from = &bases[draw(IMAGES)];
    size_t length = 1 + draw(draw(2) ? 64 : 2000);
    if (image->bytes == 0)
        return;
    size_t start = draw(from->bytes), place = draw(image->bytes);
    if (length > from->bytes - start)
        length = from->bytes - start;
    if (draw(2))
        image_insert(image, place, from->data + start, length);
    else
        memcpy(image->data + place, from->data + start,
               length < image->bytes - place ? length : image->bytes - place);
}

static void cut_piece(struct image *image)
{
    if (image->bytes < 2)
        return;
    size_t start = draw(image->bytes), length = 1 + draw(100);
    if (length > image->bytes - start)
        length = image->bytes - start;
    memmove(image->data + start, image->data + start + length, image->bytes - start - length);
    image->bytes -= length;
}

/* A number that a program might trip over: near what was there, near a power of two, or anything.
 */
static uint64_t hostile_number(uint64_t old)
{
    switch (draw(4)) {
    case 0:
        return old + draw(5) - 2;
    case 1:
        return (UINT64_C(1) << draw(64)) - draw(3);
    case 2:
        return draw(2) ? 0 : UINT64_MAX - draw(2);
    default:
        return rng_next(&rng) >> draw(64);
    }
}

/* A field of a block's header, of its directory, or of the trailer. */
static void edit_field(struct image *image)
{
    unsigned blocks = image_blocks(image);
    uint8_t *field = image->data + image->bytes - LAYOUT_TRAILER_BYTES;
    size_t bytes = 8;
    if (image->bytes < LAYOUT_TRAILER_BYTES + LAYOUT_HEADER_BYTES)
        return;
    if (blocks && draw(10)) {
        size_t at = image_block(image, (unsigned)draw(blocks)),
               entries = load32(image->data + at + 12);
        size_t body = load64(image->data + at + 16);
        field = image->data + at + 8 * (1 + draw(3));
        if (entries && entries <= 64 && entries * LAYOUT_ENTRY_BYTES <= body && draw(2)) {
            field = image->data + at + LAYOUT_BLOCK_BYTES + 4 * draw(entries * 3);
            bytes = 4;
        } else if (draw(3) == 0) {
            bytes = 4;
        }
    }
    uint8_t value[8] = {0};
    memcpy(value, field, bytes);
    store64(value, hostile_number(load64(value)));
    memcpy(field, value, bytes);
}

/* A varint or a number inside a column; wants a plain image. */
static void edit_column(struct image *image)
{
    unsigned blocks = image_blocks(image);
    if (blocks == 0)
        return;
    size_t at = image_block(image, (unsigned)draw(blocks));
    size_t body = load64(image->data + at + 16);
    if (body == 0)
        return;
    uint8_t value[LAYOUT_VARINT_BYTES];
    size_t bytes = varint_put(value, hostile_number(draw(300))), place = draw(body);
    if (bytes > body - place)
        bytes = body - place;
    memcpy(image->data + at + LAYOUT_BLOCK_BYTES + place, value, bytes);
}

static void (*const mutations[])(struct image *) = {flip_bits,   set_bytes,  truncate_tail,
                                                    splice_base, cut_piece,  edit_field,
                                                    edit_column, edit_column};

/* ---- traces ---- */

static void image_fuzz(const struct image *image, unsigned flags, uint64_t n)
{
    struct error err = {""};
    struct trace_totals totals = {0};
    struct trace_reader *r = image_open(image, flags, &err);
    int failed = r ? trace_check(r, &totals, &err) : -1;
    if (r)
        trace_close(r);
    if (failed && strncmp(err.text, "image: offset ", 14) != 0)
        fail_msg("mutant %" PRIu64 ": a message without file and offset: %s", n, err.text);
    if (totals.records > MAX_RECORDS)
        fail_msg("mutant %" PRIu64 ": %" PRIu64 " records from nowhere", n, totals.records);
    refused += failed != 0;
    fine += failed == 0;
}

static void mutated_traces(void **state)
{
    (void)state;
    uint64_t deep = 0;
    rng = rng_stream(seed, 1);
    fine = refused = 0;
    for (uint64_t n = 0; n < count; n++) {
        alarm(HANG_SECONDS);
        struct image image = image_copy(base_draw());
        for (uint64_t k = 1 + draw(3); k > 0; k--)
            mutations[draw(sizeof mutations / sizeof *mutations)](&image);
        bool repaired = draw(4);
        if (repaired)
            image_repair(&image);
        deep += repaired;
        image_fuzz(&image, 0, n);
        image_fuzz(&image, TRACE_SALVAGE | (draw(2) ? TRACE_SKIP_CLOCK : 0), n);
        free(image.data);
    }
    alarm(0);
    print_message("# %" PRIu64 " looks: %" PRIu64 " fine, %" PRIu64 " refused; %" PRIu64
                  " mutants with right checksums\n",
                  fine + refused, fine, refused, deep);
    assert_true(refused > 0);
}

/* ---- text forms ---- */

static const char own_text[] =
    "alloclab trace text 1\nmeta program=x y=z\nmodule 1 a\\sb build=01ff path=/a\\sb\n"
    "module 2 c\nplace 1 module=1 offset=0x1139\nplace 2 function=f() file=a.c line=7\n"
    "frame 1 1\nframe 2 2 caller=1\nframe 3 2\nsite 3 2\nsite 9 3\nlive 0 10\nalloc 1 24 clock=5 "
    "site=3\n"
    "aligned 2 100 align=64\nrealloc 1 48\nrealloc 3 5 null\nrealloc - 5 null failed\nthread 1\n"
    "thread_begin\nfree 1 24\nfree -\nscope_begin 0\nscope_begin 1\nscope_end 0\nscope_switch -\n"
    "realloc 2 0 ends\ncalloc - 18446744073709551615 failed\nthread_end\nthread 0\nfree 3\n";

/* Another character where a digit is, if one is near. */
static void change_digit(struct image *image)
{
    size_t i = draw(image->bytes);
    while (i < image->bytes && (image->data[i] < '0' || image->data[i] > '9'))
        i++;
    if (i < image->bytes)
        image->data[i] = draw(8) ? (uint8_t)('0' + draw(10)) : (uint8_t)draw(256);
}

static void mutate_text(struct image *image)
{
    static const char *const pieces[] = {"-1",
                                         "18446744073709551616",
                                         "0x",
                                         "\n",
                                         " ",
                                         "0xffffffffffffffff",
                                         "99999999999",
                                         "\0",
                                         ":",
                                         "=",
                                         "free 0",
                                         "thread 1",
                                         "a 0 1\n",
                                         "#",
                                         "\r",
                                         "(nil)",
                                         "<unfinished ...>",
                                         "<... malloc resumed> ) = 0x10\n",
                                         "- ",
                                         "+ "};
    for (uint64_t k = draw(3) ? 1 : 1 + draw(4); k > 0; k--) {
        const char *piece = pieces[draw(sizeof pieces / sizeof *pieces)];
        size_t start = draw(image->bytes + 1), length = 1 + draw(40);
        if (draw(4) == 0) {
            image_insert(image, start, piece, strlen(piece) + (*piece == 0));
        } else if (draw(2) && start < image->bytes) { /* repeat a piece elsewhere */
            char copy[40];
            length = length < image->bytes - start ? length : image->bytes - start;
            memcpy(copy, image->data + start, length);
            image_insert(image, draw(image->bytes), copy, length);
        } else if (image->bytes) {
            draw(2) ? cut_piece(image) : change_digit(image);
        }
    }
}

/* What is mutated: the fixtures of the forms; the text form's own is above. */
static const struct {
    const char *form, *fixture;
} texts[] = {
    {"android", "android.txt"},
    {"android", "android-times.txt"},
    {"rep", "classic.rep"},
    {"text", NULL},
    {"mtrace", "mtrace.txt"},
    {"heaptrack", "heaptrack.txt"},
    {"heaptrack", "heaptrack-kinds.txt"},
    {"ltrace", "ltrace.txt"},
    {"ltrace", "ltrace-pid.txt"},
    {"bpftrace", "bpftrace.txt"},
    {"gperftools", "gperftools.bin"},
};

static struct image text_read(const char *fixture)
{
    char path[128];
    const struct image own = {(uint8_t *)own_text, sizeof own_text - 1};
    if (!fixture)
        return image_copy(&own);
    snprintf(path, sizeof path, "tests/fixtures/%s", fixture);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail_msg("%s: cannot open: run it in the top folder", path);
    struct image image = image_read(fd);
    close(fd);
    return image;
}

static unsigned options_draw(void)
{
    return draw(4) ? 0 : IMPORT_STRICT;
}

static void text_fuzz(unsigned row, const struct image *base, uint64_t n)
{
    struct error err = {""};
    struct image image = image_copy(base);
    bool binary = strstr(texts[row].form, "gperf") != NULL;
    for (uint64_t k = n && binary ? draw(3) : 0; k > 0; k--)
        mutations[draw(4)](&image);
    if (n && image.bytes) /* the first one is as it was */
        mutate_text(&image);
    enum import_outcome outcome = import_once(trace_format_find(texts[row].form), image.data,
                                              image.bytes, n ? options_draw() : 0, &err);
    if (outcome == IMPORT_WRONG || (n == 0 && outcome != IMPORT_FINE))
        fail_msg("%s mutant %" PRIu64 ": %s", texts[row].form, n, err.text);
    *(outcome == IMPORT_FINE ? &fine : &refused) += 1;
    free(image.data);
}

static void form_done(const char *name)
{
    size_t used = strlen(fuzzed);
    snprintf(fuzzed + used, sizeof fuzzed - used, "%s ", name);
    print_message("# %s: %" PRIu64 " fine, %" PRIu64 " refused\n", name, fine, refused);
    assert_true(fine > 0 && refused > 0);
}

static void mutated_texts(void **state)
{
    enum { ROWS = sizeof texts / sizeof *texts };
    (void)state;
    rng = rng_stream(seed, 2);
    for (unsigned i = 0; i < ROWS; i++) {
        struct image base = text_read(texts[i].fixture);
        fine = refused = 0;
        for (uint64_t n = 0; n <= count / 2 / ROWS; n++) {
            alarm(HANG_SECONDS);
            text_fuzz(i, &base, n);
        }
        form_done(texts[i].form);
        free(base.data);
    }
    alarm(0);
}

/* ---- captures ---- */

/* A number, a word or a piece of it. */
static void edit_word(struct image *image)
{
    if (image->bytes < 8)
        return;
    uint8_t *word = image->data + draw(image->bytes / 8) * 8;
    unsigned bytes = draw(2) ? 8 : 1u << draw(3);
    uint8_t value[8] = {0};
    memcpy(value, word, bytes);
    store64(value, hostile_number(load64(value)));
    memcpy(word, value, bytes);
}

/* The word becomes the head of a record of another kind. */
static void edit_kind(struct image *image)
{
    if (image->bytes >= 8)
        store64(image->data + draw(image->bytes / 8) * 8, CAPTURE_LONG | draw(64) << 4 |
                                                              draw(draw(2) ? 1 : 4) << 12 |
                                                              draw(draw(2) ? 1 : 255) << 20);
}

/* Words from elsewhere in the same capture: chunks come twice, or in another order. */
static void copy_words(struct image *image)
{
    uint8_t copy[512];
    size_t words = image->bytes / 8, length = 1 + draw(sizeof copy / 8), from;
    if (words == 0)
        return;
    from = draw(words);
    length = length < words - from ? length : words - from;
    memcpy(copy, image->data + from * 8, length * 8);
    image_insert(image, draw(words) * 8, copy, length * 8);
}

static void (*const capture_mutations[])(struct image *) = {
    flip_bits, set_bytes, truncate_tail, cut_piece, edit_word, edit_word, edit_kind, copy_words};

static void mutated_captures(void **state)
{
    const struct trace_format *format = trace_format_find("capture");
    (void)state;
    rng = rng_stream(seed, 4);
    fine = refused = 0;
    for (uint64_t n = 0; n < count / 2; n++) {
        struct error err = {""};
        struct image sketch = capture_sketch_make(n, draw(4) ? draw(60) : draw(1500));
        bool whole = n % 8 == 0;
        alarm(HANG_SECONDS);
        for (uint64_t k = whole ? 0 : 1 + draw(3); k > 0; k--)
            capture_mutations[draw(sizeof capture_mutations / sizeof *capture_mutations)](&sketch);
        enum import_outcome outcome =
            capture_sketch_import(format, &sketch, whole ? IMPORT_STRICT : options_draw(), &err);
        if (outcome == IMPORT_WRONG || (whole && outcome != IMPORT_FINE))
            fail_msg("capture mutant %" PRIu64 ": %s", n, err.text);
        *(outcome == IMPORT_FINE ? &fine : &refused) += 1;
        free(sketch.data);
    }
    alarm(0);
    form_done(format->name);
}

/* A form that is not fuzzed would go unnoticed. The last test: the others say what they did. */
static void every_importer_is_there(void **state)
{
    (void)state;
    for (size_t i = 0; trace_formats[i]; i++)
        if (trace_formats[i]->import && !strstr(fuzzed, trace_formats[i]->name))
            fail_msg("%s is not fuzzed: it has no row in texts[]", trace_formats[i]->name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mutated_traces),
        cmocka_unit_test(mutated_texts),
        cmocka_unit_test(mutated_captures),
        cmocka_unit_test(every_importer_is_there),
    };
    return cmocka_run_group_tests_name("fuzz_trace", tests, setup, teardown);
}
