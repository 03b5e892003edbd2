/*
 * os_hugetlb.c - reservations of explicit huge pages, on a machine that seems to have eight of
 * them: this program's own mmap() gives ordinary memory for MAP_HUGETLB, as long as the pool lasts,
 * and its own mprotect() and munmap() refuse there what the kernel does (parts of huge pages). So
 * the door's side of it is tested on every machine; os_machine.c tests real ones where there are
 * any.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "allocators/lib/bits.h"
#include "allocators/lib/os.h"
#include "tests/lib/child.h"
#include "workloads/lib/rng.h"

enum { POOL = 8, MAPPINGS = 64 };

static const size_t huge = OS_HUGE_BYTES;
static size_t page;

/* ---- the machine ---- */

static struct mapping { /* of huge pages */
    uintptr_t start, end;
} mappings[MAPPINGS];
static size_t pool_free = POOL;

static struct mapping *mapping_find(const void *p)
{
    for (unsigned i = 0; i < MAPPINGS; i++)
        if ((uintptr_t)p >= mappings[i].start && (uintptr_t)p < mappings[i].end)
            return &mappings[i];
    return NULL;
}

static void *map_really(void *p, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    return (void *)syscall(SYS_mmap, p, bytes, protection, flags, fd, offset);
}

static void *map_huge(void *p, size_t bytes, int protection, int flags)
{
    struct mapping *free_row = mappings;
    while (free_row->end)
        free_row++;
    errno = bytes % huge || (uintptr_t)p % huge ? EINVAL : ENOMEM;
    if (errno == EINVAL || bytes / huge > pool_free)
        return MAP_FAILED;
    flags &= ~(MAP_HUGETLB | (int)(63u << 26));
    char *at = map_really(p, p ? bytes : bytes + huge, protection, flags, -1, 0);
    if (at == MAP_FAILED)
        return at;
    if (!p) { /* cut to what is aligned */
        size_t before = align_up((uintptr_t)at, huge) - (uintptr_t)at;
        syscall(SYS_munmap, at, before);
        syscall(SYS_munmap, at + before + bytes, huge - before);
        at += before;
    }
    pool_free -= bytes / huge;
    *free_row = (struct mapping){(uintptr_t)at, (uintptr_t)at + bytes};
    return at;
}

void *mmap(void *p, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    return flags & MAP_HUGETLB ? map_huge(p, bytes, protection, flags)
                               : map_really(p, bytes, protection, flags, fd, offset);
}

int mprotect(void *p, size_t bytes, int protection)
{
    if (mapping_find(p) && ((uintptr_t)p % huge || bytes % huge)) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_mprotect, p, bytes, protection);
}

/* From either end. */
int munmap(void *p, size_t bytes)
{
    struct mapping *m = mapping_find(p);
    uintptr_t start = (uintptr_t)p, end = start + bytes;
    if (m && (bytes % huge || (start != m->start && end != m->end) || end > m->end)) {
        errno = EINVAL;
        return -1;
    }
    if (m) {
        pool_free += bytes / huge;
        *m = start == m->start ? (struct mapping){end, m->end} : (struct mapping){m->start, start};
        if (m->start == m->end)
            *m = (struct mapping){0, 0};
    }
    return (int)syscall(SYS_munmap, p, bytes);
}

/* What the door tells the kernel to drop of huge pages is an error here: they are the door's until
 * the release. */
int madvise(void *p, size_t bytes, int advice)
{
    if (mapping_find(p)) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_madvise, p, bytes, advice);
}

/* ---- the tests ---- */

static struct os *door_open(bool observe, bool hugetlb)
{
    struct os *os = os_open(&(struct os_config){.observe = observe, .hugetlb = hugetlb});
    assert_non_null(os);
    return os;
}

static bool all_are(const char *p, size_t bytes, char value)
{
    for (size_t i = 0; i < bytes; i++)
        if (p[i] != value)
            return false;
    return true;
}

static void reserve_try(bool observe)
{
    struct os *os = door_open(observe, false);
    char *small = os_map(os, page, 1); /* the next one is not aligned by chance */
    char *p = os_reserve_hugetlb(os, 2 * huge + 1, 1);
    assert_non_null(p);
    assert_true(is_aligned((uintptr_t)p, huge));
    assert_int_equal(pool_free, POOL - 3);
    assert_int_equal(os_counts(os).reserved_bytes, 3 * huge + page);
    assert_int_equal(os_commit(os, p + huge - page, 2 * page), 0); /* across two huge pages */
    memset(p + huge - page, 1, 2 * page);
    assert_int_equal(os_counts(os).committed_bytes, 3 * page);
    assert_int_equal(os_decommit(os, p + huge, page), 0);
    assert_true(all_are(p + huge - page, page, 1));
    assert_int_equal(os_commit(os, p + huge, page), 0);
    assert_true(all_are(p + huge, page, 0));
    assert_int_equal(os_counts(os).committed_bytes, 3 * page);
    os_release(os, p, 2 * huge + 1);
    os_release(os, small, page);
    assert_int_equal(pool_free, POOL);
    os_close(os);
}

static void test_reserve(void **state)
{
    (void)state;
    reserve_try(true);
    reserve_try(false);
}

static void test_align(void **state)
{
    (void)state;
    for (unsigned observe = 0; observe < 2; observe++) {
        struct os *os = door_open(observe, false);
        char *first = os_reserve_hugetlb(os, huge, 1), *p = os_reserve_hugetlb(os, huge, 4 * huge);
        assert_non_null(p);
        assert_true(is_aligned((uintptr_t)p, 4 * huge));
        assert_int_equal(pool_free, POOL - 2); /* what was mapped to align it is back */
        os_release(os, p, huge);
        os_release(os, first, huge);
        os_close(os);
        assert_int_equal(pool_free, POOL);
    }
}

/* More than there is: NULL with a reason, and nothing is counted or taken. */
static void test_shortage(void **state)
{
    (void)state;
    for (unsigned observe = 0; observe < 2; observe++) {
        struct os *os = door_open(observe, false);
        assert_string_equal(os_refusal(os), "");
        assert_null(os_reserve_hugetlb(os, (POOL + 1) * huge, 1));
        assert_non_null(strstr(os_refusal(os), "hugetlb page"));
        assert_int_equal(os_counts(os).reserved_bytes, 0);
        assert_int_equal(pool_free, POOL);
        assert_non_null(os_reserve_hugetlb(os, POOL * huge, 1));
        os_close(os);
        assert_int_equal(pool_free, POOL);
    }
}

/* Told from outside: whatever a design reserves is huge pages, and it counts as it always does. */
static void test_policy(void **state)
{
    (void)state;
    for (unsigned observe = 0; observe < 2; observe++) {
        struct os *os = door_open(observe, true);
        char *p = os_map(os, 3 * page, 1), *q = os_reserve(os, huge + page, 1);
        assert_int_equal(os_counts(os).reserved_bytes, 3 * huge);
        assert_int_equal(os_counts(os).committed_bytes, 3 * page);
        assert_int_equal(pool_free, POOL - 3);
        os_release(os, p, 3 * page);
        os_release(os, q, huge + page);
        assert_int_equal(os_counts(os).reserved_bytes, 0);
        os_close(os);
    }
}

/* A guard is whole huge pages, and a commit of any page in one opens all of it. */
static void test_guard(void **state)
{
    (void)state;
    for (unsigned observe = 0; observe < 2; observe++) {
        struct os *os = door_open(observe, false);
        char *p = os_reserve_hugetlb(os, 3 * huge, 1);
        assert_int_equal(os_guard(os, p + page, huge), -EINVAL);
        assert_int_equal(os_counts(os).guard_bytes, 0);
        assert_int_equal(os_guard(os, p + huge, 2 * huge), 0);
        assert_int_equal(os_counts(os).guard_bytes, 2 * huge);
        assert_int_equal(os_commit(os, p + 2 * huge + page, page), 0);
        assert_int_equal(os_counts(os).guard_bytes, huge);
        p[2 * huge + page] = 1;
        os_close(os);
    }
}

enum deed { WRITE_GUARD, WRITE_UNCOMMITTED, WRITE_DECOMMITTED, WRITE_COMMITTED };

static int deed_do(void *arg)
{
    enum deed deed = *(enum deed *)arg;
    struct os *os = os_open(&(struct os_config){.observe = deed != WRITE_GUARD});
    char *p = os_reserve_hugetlb(os, 2 * huge, 1);
    volatile char *bytes = p;
    if (!p || os_commit(os, p, page))
        return 2;
    bytes[0] = 1;
    if (deed == WRITE_GUARD && os_guard(os, p + huge, huge) == 0)
        bytes[huge] = 1;
    if (deed == WRITE_UNCOMMITTED)
        bytes[huge] = 1;
    if (deed == WRITE_DECOMMITTED && os_decommit(os, p, page) == 0)
        bytes[0] = 1;
    return 0;
}

static void test_ends(void **state)
{
    (void)state;
    static const int signals[] = {SIGSEGV, SIGSEGV, SIGSEGV, 0};
    for (unsigned i = 0; i < 4; i++) {
        enum deed deed = (enum deed)i;
        struct child_end end = child_run(deed_do, &deed);
        assert_int_equal(end.signal, signals[i]);
        assert_int_equal(end.status, 0);
    }
}

/* Random calls against a letter a page, as in os_pages.c; lazily returned pages keep what they
 * held. */
static void model_try(bool observe)
{
    enum { PAGES = 1200 };
    static char kind[PAGES], value[PAGES];
    struct rng rng = rng_stream(17, observe);
    struct os *os = door_open(observe, false);
    char *p = os_reserve_hugetlb(os, PAGES * page, 1);
    assert_non_null(p);
    memset(kind, 'u', PAGES);
    for (unsigned step = 0; step < 400; step++) {
        size_t first = rng_below(&rng, PAGES), count = 1 + rng_below(&rng, PAGES - first);
        unsigned what = (unsigned)rng_below(&rng, 4);
        char *at = p + first * page;
        size_t committed = 0, lazy = 0;
        if (what == 0)
            assert_int_equal(os_decommit(os, at, count * page), 0);
        else if (what == 1)
            assert_int_equal(os_decommit_lazy(os, at, count * page), 0);
        else
            assert_int_equal(os_commit(os, at, count * page), 0);
        for (size_t i = first; i < first + count; i++) {
            char before = kind[i], *bytes = p + i * page;
            kind[i] = what == 0 ? 'u' : what > 1 ? 'c' : before == 'c' ? 'l' : before;
            if (what > 1) {
                assert_true(all_are(bytes, page, before == 'u' ? 0 : value[i]));
                memset(bytes, value[i] = (char)step, page);
            }
        }
        for (size_t i = 0; i < PAGES; i++) {
            committed += kind[i] == 'c';
            lazy += kind[i] == 'l';
        }
        assert_int_equal(os_counts(os).committed_bytes, committed * page);
        assert_int_equal(os_counts(os).lazy_bytes, lazy * page);
    }
    os_close(os);
    assert_int_equal(pool_free, POOL);
}

static void test_model(void **state)
{
    (void)state;
    model_try(true);
    model_try(false);
}

int main(void)
{
    page = os_page_bytes();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reserve),  cmocka_unit_test(test_align),
        cmocka_unit_test(test_shortage), cmocka_unit_test(test_policy),
        cmocka_unit_test(test_guard),    cmocka_unit_test(test_ends),
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests_name("os_hugetlb", tests, NULL, NULL);
}
