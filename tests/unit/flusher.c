/*
 * flusher.c - the flusher (harness/flusher.h) at a desk that this test fills itself: what is handed over is
 * copied, as the reader of captures wants it, and what a broken or a hostile process writes there is left
 * alone and does not keep others from being served. What a real process does is in tests/record/test_flush.py.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/flusher.h"

enum { ROOM_AT = 65536, PLACE_AT = 65536 * 3, FILE_BYTES = 65536 * 4, WORDS = 1000 };

static char folder[] = "/tmp/alloclab-flusher-XXXXXX";
static struct flusher flusher;
static struct flush_desk *desk; /* as a process maps it */

static const char *in_folder(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* A file with a full room. */
static void capture_make(const char *name, uint64_t words)
{
    static uint64_t room[CAPTURE_ROOM_BYTES / sizeof(uint64_t)];
    struct capture_chunk head = {.magic = CAPTURE_CHUNK_MAGIC + ROOM_AT,
                                 .lane = 1,
                                 .thread = 1,
                                 .sequence = 7,
                                 .type = CAPTURE_ROOM,
                                 .words = words};
    memcpy(room, &head, sizeof head);
    for (size_t i = sizeof head / sizeof *room; i < sizeof room / sizeof *room; i++)
        room[i] = i;
    int fd = open(in_folder(name), O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, FILE_BYTES), 0);
    assert_int_equal(pwrite(fd, room, sizeof room, ROOM_AT), sizeof room);
    close(fd);
}

static struct flush_entry *hand_over(uint32_t number, const char *name)
{
    struct flush_seat *s = &desk->seat[number];
    memset(s->capture, 'x', sizeof s->capture);
    memcpy(s->capture, name, strnlen(name, sizeof s->capture - 1) + 1);
    atomic_store(&s->taken, FLUSH_ENTRIES + 3); /* more than there are, as when many ask */
    atomic_store(&s->named, 1);
    s->entries[FLUSH_ENTRIES - 1].room = ROOM_AT / CAPTURE_CELL_BYTES;
    s->entries[FLUSH_ENTRIES - 1].place = PLACE_AT / CAPTURE_CELL_BYTES;
    atomic_store(&s->entries[FLUSH_ENTRIES - 1].full, 1);
    return &s->entries[FLUSH_ENTRIES - 1];
}

static struct capture_chunk chunk_at(const char *name, uint64_t offset)
{
    struct capture_chunk head = {0};
    int fd = open(in_folder(name), O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &head, sizeof head, (off_t)offset), sizeof head);
    close(fd);
    return head;
}

static int begin(void **state)
{
    (void)state;
    flusher_prepare(&flusher, folder);
    int fd = open(in_folder(FLUSH_DESK), O_RDWR);
    desk = mmap(NULL, sizeof *desk, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return fd < 0 || desk == MAP_FAILED;
}

static int end(void **state)
{
    (void)state;
    return munmap(desk, sizeof *desk);
}

static void serve(uint32_t seats)
{
    atomic_store(&desk->seats, seats);
    flusher_start(&flusher);
    flusher_end(&flusher);
    assert_int_equal(access(in_folder(FLUSH_DESK), F_OK), -1);
}

static void test_a_room_is_copied_to_its_place(void **state)
{
    (void)state;
    capture_make("a.capture", WORDS);
    struct flush_entry *e = hand_over(FLUSH_SEATS - 1, "a.capture");
    serve(FLUSH_SEATS + 9);
    assert_true(flush_is_clear(e));
    struct capture_chunk copy = chunk_at("a.capture", PLACE_AT);
    assert_true(copy.magic == CAPTURE_CHUNK_MAGIC + PLACE_AT);
    assert_int_equal(copy.type, CAPTURE_FULL_CHUNK);
    assert_int_equal(copy.sequence, 7);
    assert_int_equal(copy.words, WORDS);
    struct { /* the last words, and what is behind them */
        uint64_t last, behind;
    } words;
    int fd = open(in_folder("a.capture"), O_RDONLY);
    assert_int_equal(
        pread(fd, &words, sizeof words, PLACE_AT + sizeof copy + (WORDS - 1) * sizeof(uint64_t)),
        sizeof words);
    close(fd);
    assert_int_equal(words.last, WORDS - 1 + sizeof copy / sizeof(uint64_t));
    assert_int_equal(words.behind, 0);
    assert_int_equal(chunk_at("a.capture", ROOM_AT).type, CAPTURE_ROOM);
}

/* The second seat's capture is still open when the first seat's room comes, if the thread got to it in this time. */
static void test_each_room_goes_into_its_own_capture(void **state)
{
    (void)state;
    capture_make("first.capture", WORDS - 1);
    capture_make("second.capture", WORDS);
    struct flush_entry *second = hand_over(1, "second.capture");
    atomic_store(&desk->seats, 2);
    flusher_start(&flusher);
    for (int i = 0; i < 2000 && !flush_is_clear(second); i++)
        usleep(1000);
    struct flush_entry *first = hand_over(0, "first.capture");
    flusher_end(&flusher);
    assert_true(flush_is_clear(first) && flush_is_clear(second));
    assert_int_equal(chunk_at("first.capture", PLACE_AT).words, WORDS - 1);
    assert_int_equal(chunk_at("second.capture", PLACE_AT).words, WORDS);
}

static void test_what_is_no_room_of_a_capture_here_is_left_alone(void **state)
{
    (void)state;
    capture_make("good.capture", WORDS);
    capture_make("torn.capture", CAPTURE_CHUNK_WORDS + 1);
    capture_make("other.capture", WORDS);
    assert_int_equal(mkdir(in_folder("sub"), 0700), 0);
    capture_make("sub/x.capture", WORDS);
    assert_int_equal(symlink("other.capture", in_folder("link.capture")), 0);
    assert_int_equal(mkfifo(in_folder("fifo.capture"), 0600), 0);
    static const char *const names[] = {"missing.capture",
                                        "torn.capture",
                                        "sub/x.capture",
                                        "link.capture",
                                        "fifo.capture",
                                        "sub",
                                        ""};
    enum { COUNT = sizeof names / sizeof *names };
    struct flush_entry *bad[COUNT];
    for (uint32_t i = 0; i < COUNT; i++)
        bad[i] = hand_over(i, names[i]);
    memset(desk->seat[COUNT].capture, 'z', sizeof desk->seat[COUNT].capture); /* no end */
    atomic_store(&desk->seat[COUNT].named, 1);
    struct flush_entry *elsewhere = hand_over(COUNT + 1, "other.capture");
    elsewhere->room = 0; /* no room there */
    struct flush_entry *unnamed = hand_over(COUNT + 2, "other.capture");
    atomic_store(&desk->seat[COUNT + 2].named, 0);
    struct flush_entry *good = hand_over(COUNT + 3, "good.capture");
    struct flush_entry *beyond = hand_over(COUNT + 4, "other.capture");
    serve(COUNT + 4);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_false(flush_is_clear(bad[i]));
    assert_false(flush_is_clear(elsewhere));
    assert_false(flush_is_clear(unnamed));
    assert_false(flush_is_clear(beyond));
    assert_true(flush_is_clear(good));
    assert_true(chunk_at("good.capture", PLACE_AT).magic != 0);
    assert_true(chunk_at("other.capture", PLACE_AT).magic == 0);
    assert_true(chunk_at("torn.capture", PLACE_AT).magic == 0);
    assert_true(chunk_at("sub/x.capture", PLACE_AT).magic == 0);
}

static void test_without_a_desk_there_is_nothing_to_serve(void **state)
{
    (void)state;
    static struct flusher nowhere;
    flusher_prepare(&nowhere, "/no/such/folder");
    flusher_start(&nowhere);
    flusher_end(&nowhere);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_room_is_copied_to_its_place, begin, end),
        cmocka_unit_test_setup_teardown(test_each_room_goes_into_its_own_capture, begin, end),
        cmocka_unit_test_setup_teardown(test_what_is_no_room_of_a_capture_here_is_left_alone, begin,
                                        end),
        cmocka_unit_test(test_without_a_desk_there_is_nothing_to_serve),
    };
    char command[64];
    if (!mkdtemp(folder))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) || failed;
}
