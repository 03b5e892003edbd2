/*
 * os_machine.c - the door and this machine: transparent huge pages as /proc shows them, memory
 * nodes, explicit huge pages where there are any and a clear answer where not, and what a design
 * sees when the kernel has no more (resource limits, in child processes; overcommit, as the machine
 * has it set: nothing here changes a setting).
 */
#include <errno.h>
#include <linux/mempolicy.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "allocators/lib/allocator.h"
#include "allocators/lib/os_policy.h"
#include "harness/registry.h"
#include "tests/lib/child.h"
#include "tests/lib/rig.h"

#define MIB ((size_t)1 << 20)

static size_t page;

static struct os *door_open(const struct os_config *config)
{
    struct os *os = os_open(config);
    assert_non_null(os);
    return os;
}

/* ---- what /proc says ---- */

/* The number after "key" in a file of such lines; -1 = there is none. */
static long long line_number(const char *path, const char *key)
{
    FILE *f = fopen(path, "r");
    char line[512];
    long long number = -1;
    while (f && number < 0 && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key)))
            number = strtoll(line + strlen(key), NULL, 10);
    if (f)
        fclose(f);
    return number;
}

/* The flag is among the kernel's of the mapping that holds p: "hg", "nh". */
static bool mapping_has(const void *p, const char *flag)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[512];
    unsigned long start, end;
    bool here = false, found = false;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            here = (uintptr_t)p >= start && (uintptr_t)p < end;
        else if (here && !strncmp(line, "VmFlags:", 8))
            found = strstr(line, flag);
    }
    fclose(f);
    return found;
}

/* ---- transparent huge pages ---- */

static bool thp_is_there(void)
{
    return os_config_check(&(struct os_config){.thp = OS_THP_ON}, &(struct error){""}) == 0;
}

static void test_huge(void **state)
{
    (void)state;
    for (unsigned observe = 0; observe < 2; observe++) {
        struct os *os = door_open(&(struct os_config){.observe = observe});
        char *p = os_reserve(os, 4 * OS_HUGE_BYTES, OS_HUGE_BYTES);
        if (!thp_is_there()) {
            assert_int_equal(os_huge(os, p, OS_HUGE_BYTES, true), -EINVAL);
            os_close(os);
            continue;
        }
        assert_false(mapping_has(p, " hg"));
        assert_int_equal(os_huge(os, p + OS_HUGE_BYTES, OS_HUGE_BYTES, true), 0);
        assert_int_equal(os_huge(os, p + 2 * OS_HUGE_BYTES, page, false), 0);
        assert_false(mapping_has(p, " hg"));
        assert_true(mapping_has(p + OS_HUGE_BYTES, " hg"));
        assert_true(mapping_has(p + 2 * OS_HUGE_BYTES, " nh"));
        assert_false(mapping_has(p + 2 * OS_HUGE_BYTES + page, " nh"));
        os_close(os);
    }
}

static void test_thp_policy(void **state)
{
    (void)state;
    if (!thp_is_there())
        skip();
    for (unsigned thp = OS_THP_DEFAULT; thp <= OS_THP_OFF; thp++) {
        struct os *os = door_open(&(struct os_config){.thp = thp});
        char *p = os_reserve(os, 2 * OS_HUGE_BYTES, 1), *q = os_map(os, page, 1);
        assert_int_equal(mapping_has(p, " hg"), thp == OS_THP_ON);
        assert_int_equal(mapping_has(q, " nh"), thp == OS_THP_OFF);
        os_close(os);
    }
}

/* ---- memory nodes ---- */

static int mode_of(const void *p, unsigned long *mask)
{
    int mode = -1;
    memset(mask, 0, OS_NODES_MAX / 8);
    if (syscall(SYS_get_mempolicy, &mode, mask, OS_NODES_MAX, p, MPOL_F_ADDR))
        return -1;
    return mode;
}

static unsigned node_first(void)
{
    struct os_nodes nodes = os_nodes();
    unsigned node = 0;
    while (!(nodes.mask[node / 64] >> (node % 64) & 1))
        node++;
    return node;
}

static void test_place(void **state)
{
    (void)state;
    unsigned long mask[OS_NODES_MAX / 64];
    unsigned node = node_first();
    struct os *os = door_open(&(struct os_config){.observe = false});
    char *p = os_reserve(os, 4 * page, 1);
    if (mode_of(p, mask) < 0) { /* no such system call, or a sandbox that forbids it */
        int result = os_place(os, p, page, OS_NUMA_BIND, node);
        assert_true(result == 0 || strlen(os_refusal(os)));
        os_close(os);
        skip();
    }
    assert_int_equal(os_place(os, p, page, OS_NUMA_BIND, node), 0);
    assert_int_equal(mode_of(p, mask), MPOL_BIND);
    assert_true(mask[node / 64] >> (node % 64) & 1);
    assert_int_equal(mode_of(p + page, mask), MPOL_DEFAULT);
    assert_int_equal(os_place(os, p + page, page, OS_NUMA_INTERLEAVE, 0), 0);
    assert_int_equal(mode_of(p + page, mask), MPOL_INTERLEAVE);
    assert_memory_equal(mask, os_nodes().mask, sizeof mask);
    assert_int_equal(os_place(os, p, 4 * page, OS_NUMA_DEFAULT, 0), 0);
    assert_int_equal(mode_of(p, mask), MPOL_DEFAULT);
    os_close(os);
    os = door_open(&(struct os_config){.numa = OS_NUMA_BIND, .node = node});
    p = os_map(os, page, 1);
    assert_int_equal(mode_of(p, mask), MPOL_BIND);
    *p = 1;
    int status = -1;
    void *touched = p;
    if (syscall(SYS_move_pages, 0, 1, &touched, NULL, &status, 0) == 0)
        assert_int_equal(status, node); /* where the page is */
    os_close(os);
}

static void test_no_such_node(void **state)
{
    (void)state;
    struct os_nodes nodes = os_nodes();
    unsigned node = OS_NODES_MAX - 1;
    struct error err;
    char *text = "memory node 1023 does not exist: this machine has ";
    assert_true(nodes.count >= 1);
    assert_false(nodes.mask[node / 64] >> (node % 64) & 1);
    struct os *os = door_open(&(struct os_config){.observe = true});
    char *p = os_reserve(os, page, 1);
    assert_int_equal(os_place(os, p, page, OS_NUMA_BIND, node), -EINVAL);
    assert_memory_equal(os_refusal(os), text, strlen(text));
    os_close(os);
    assert_int_equal(os_config_sane(&(struct os_config){.numa = OS_NUMA_BIND, .node = node}, &err),
                     -1);
    assert_memory_equal(err.text, text, strlen(text));
    assert_int_equal(os_config_check(&(struct os_config){.numa = OS_NUMA_BIND, .node = node}, &err),
                     -1);
}

/* ---- explicit huge pages ---- */

static void test_hugetlb(void **state)
{
    (void)state;
    const char *pool = "/sys/kernel/mm/hugepages/hugepages-2048kB/";
    char path[128];
    snprintf(path, sizeof path, "%snr_hugepages", pool);
    long long all = line_number(path, "");
    snprintf(path, sizeof path, "%sfree_hugepages", pool);
    long long unused = line_number(path, "");
    struct os_config config = {.hugetlb = 1};
    struct error err;
    struct os *os = door_open(&(struct os_config){.observe = false});
    char *p = os_reserve_hugetlb(os, 1, 1);
    if (unused > 0 && p) { /* they may be promised to others */
        assert_int_equal(os_config_check(&config, &err), 0);
        assert_int_equal(os_commit(os, p, OS_HUGE_BYTES), 0);
        memset(p, 1, OS_HUGE_BYTES);
        assert_int_equal(os_decommit(os, p, page), 0);
        assert_int_equal(p[0], 0);
        assert_int_equal(p[page], 1);
        os_release(os, p, 1);
    } else {
        assert_null(p);
        assert_non_null(strstr(os_refusal(os), all < 0 ? "this kernel has no hugetlb pages of 2 MiB"
                                                       : "run: sysctl vm.nr_hugepages="));
    }
    if (all == 0) {
        assert_int_equal(os_config_check(&config, &err), -1);
        assert_string_equal(err.text,
                            "there are no hugetlb pages of 2 MiB: "
                            "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages is 0; run: "
                            "sysctl vm.nr_hugepages=N");
        assert_string_equal(os_refusal(os),
                            "1 hugetlb page of 2 MiB wanted, 0 free: "
                            "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages is 0; run: "
                            "sysctl vm.nr_hugepages=1");
    }
    assert_int_equal(os_counts(os).reserved_bytes, 0);
    os_close(os);
}

static void test_exclude(void **state)
{
    (void)state;
    struct os_config config = {.hugetlb = 1, .thp = OS_THP_OFF};
    struct error err;
    assert_int_equal(os_config_sane(&config, &err), -1);
    assert_string_equal(err.text, "thp and hugetlb exclude each other: a page is one or the other");
}

/* ---- no more memory: what the door and a design answer; all in children ---- */

static bool limit_set(int resource, size_t room, const char *path, const char *key, size_t unit)
{
    long long now = line_number(path, key);
    struct rlimit limit;
    if (now < 0 || getrlimit(resource, &limit))
        return false;
    limit.rlim_cur = (rlim_t)now * unit + room;
    return setrlimit(resource, &limit) == 0;
}

/* This process may have so many bytes more. */
static bool limit_space(size_t room)
{
    return limit_set(RLIMIT_AS, room, "/proc/self/statm", "", page);
}

static bool limit_data(size_t room)
{
    return limit_set(RLIMIT_DATA, room, "/proc/self/status", "VmData:", 1024);
}

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return __LINE__ % 250 + 1;                                                             \
    } while (0)

/* Address space: reservations fail, in both modes, and what was there goes on. */
static int deed_space(void *arg)
{
    bool observe = *(bool *)arg;
    struct os *os = os_open(&(struct os_config){.observe = observe});
    char *first = os_map(os, MIB, 1);
    EXPECT(os && first && limit_space(64 * MIB));
    EXPECT(!os_reserve(os, 128 * MIB, 1));
    EXPECT(strstr(os_refusal(os), "a reservation of 134217728 bytes was refused: errno 12"));
    EXPECT(os_counts(os).reserved_bytes == MIB);
    char *p = os_map(os, 32 * MIB, 1);
    EXPECT(p);
    p[32 * MIB - 1] = first[0] = 1;
    EXPECT(!os_map(os, 48 * MIB, 1));
    os_release(os, p, 32 * MIB);
    EXPECT(os_map(os, 48 * MIB, 1));
    return 0;
}

/* Writable private memory: a timed reservation is that from the start; an observing one when it is
 * committed, and then the commit fails and nothing has changed. */
static int deed_data(void *arg)
{
    bool observe = *(bool *)arg;
    struct os *os = os_open(&(struct os_config){.observe = observe});
    char *first = os_map(os, MIB, 1);
    EXPECT(os && first && limit_data(64 * MIB));
    char *p = os_reserve(os, 128 * MIB, 1);
    EXPECT(observe ? p != NULL : p == NULL);
    if (!observe)
        return os_counts(os).reserved_bytes == MIB ? 0 : 1;
    EXPECT(os_commit(os, p, 32 * MIB) == 0);
    EXPECT(os_commit(os, p, 128 * MIB) == -ENOMEM);
    EXPECT(os_counts(os).committed_bytes == 33 * MIB);
    p[32 * MIB - 1] = first[0] = 1;
    EXPECT(os_decommit(os, p, 32 * MIB) == 0);
    EXPECT(os_commit(os, p + 40 * MIB, 48 * MIB) == 0);
    return 0;
}

static void limit_try(int (*deed)(void *))
{
    for (unsigned i = 0; i < 2; i++) {
        bool observe = i;
        struct child_end end = child_run(deed, &observe);
        assert_int_equal(end.signal, 0);
        assert_int_equal(end.status, 0);
    }
}

static void test_limits(void **state)
{
    (void)state;
    limit_try(deed_space);
    limit_try(deed_data);
}

/* A design gets NULL from the door and answers NULL; what it gave out stays whole, and once that is
 * freed, it serves again. */
static int deed_design(void *arg)
{
    enum { ROOM = 4096, SIZE = 64 * 1024 };
    static char *objects[ROOM];
    static struct rig rig;
    const struct allocator *a = allocator_find("segfit");
    bool space = *(bool *)arg;
    EXPECT(rig_try_open(&rig, a, &(struct rig_setup){.observe = !space}));
    EXPECT(space ? limit_space(64 * MIB) : limit_data(64 * MIB));
    for (unsigned round = 0; round < 2; round++) {
        unsigned count = 0;
        for (; count < ROOM && (objects[count] = a->alloc(rig.view, SIZE, 16)); count++)
            memset(objects[count], (int)count, SIZE);
        EXPECT(count > 100 && count < ROOM);
        EXPECT(!a->check(rig.heap));
        for (unsigned i = 0; i < count; i++) {
            EXPECT(objects[i][0] == objects[i][SIZE - 1]);
            a->free(rig.view, objects[i], SIZE);
        }
    }
    a->trim(rig.heap);
    return os_counts(rig.os).committed_bytes < 16 * MIB ? 0 : 1;
}

static void test_design(void **state)
{
    (void)state;
    limit_try(deed_design);
}

/*
 * Overcommit. Reservations ask for no promise of memory (MAP_NORESERVE), so in modes 0 and 1 even a
 * reservation far larger than the machine succeeds. Mode 2 promises all that is writable: a timed
 * reservation of that size fails, an observing one only when it is committed.
 */
static void test_overcommit(void **state)
{
    (void)state;
    long long mode = line_number("/proc/sys/vm/overcommit_memory", "");
    long long limit_kb = line_number("/proc/meminfo", "CommitLimit:");
    size_t bytes = (size_t)1 << 40;
    assert_true(mode >= 0 && mode <= 2);
    if (limit_kb >= (long long)(bytes >> 10))
        skip();
    struct os *timed = door_open(&(struct os_config){.observe = false});
    char *p = os_reserve(timed, bytes, 1);
    assert_int_equal(p != NULL, mode < 2);
    if (p) {
        assert_int_equal(os_commit(timed, p, bytes), 0); /* counted, not promised */
        p[0] = p[bytes - 1] = 1;
    }
    os_close(timed);
    struct os *observing = door_open(&(struct os_config){.observe = true});
    p = os_reserve(observing, bytes, 1);
    assert_non_null(p);
    assert_int_equal(os_commit(observing, p, bytes), mode < 2 ? 0 : -ENOMEM);
    assert_int_equal(os_commit(observing, p, page), 0);
    os_close(observing);
}

int main(void)
{
    page = os_page_bytes();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_huge),       cmocka_unit_test(test_thp_policy),
        cmocka_unit_test(test_place),      cmocka_unit_test(test_no_such_node),
        cmocka_unit_test(test_hugetlb),    cmocka_unit_test(test_exclude),
        cmocka_unit_test(test_limits),     cmocka_unit_test(test_design),
        cmocka_unit_test(test_overcommit),
    };
    return cmocka_run_group_tests_name("os_machine", tests, NULL, NULL);
}
