/*
 * os_policy.c - see os_policy.h. What cannot be read is said to be so, or taken for the plain case
 * (one node): the kernel's own answer to the call that follows is what counts.
 */
#include "allocators/lib/os_policy.h"

#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HUGETLB "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define THP     "/sys/kernel/mm/transparent_hugepage/enabled"

const struct option os_options[] = {
    {"thp", OPTION_CHOICE, offsetof(struct os_config, thp), "default", 0, 0, "default|on|off",
     "transparent huge pages: the machine's setting, asked for, or refused"},
    {"numa", OPTION_CHOICE, offsetof(struct os_config, numa), "default", 0, 0,
     "default|interleave|bind",
     "pages come from the node that touches them first, from all in turn, or from one"},
    {"node", OPTION_COUNT, offsetof(struct os_config, node), "0", 0, OS_NODES_MAX - 1, NULL,
     "the memory node of numa=bind"},
    {"hugetlb", OPTION_BOOL, offsetof(struct os_config, hugetlb), "no", 0, 0, NULL,
     "every reservation is made of explicit huge pages of 2 MiB"},
    {"commit_limit", OPTION_SIZE, offsetof(struct os_config, commit_limit_bytes), "0", 0, 0, NULL,
     "bytes that can be committed at once, then there is no memory; 0 = no limit"},
    {NULL, 0, 0, NULL, 0, 0, NULL, NULL},
};

/* The number that a file begins with; -1 if there is no such file. */
static long long number_read(const char *path)
{
    char text[32];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (got <= 0)
        return -1;
    text[got] = 0;
    return strtoll(text, NULL, 10);
}

struct os_nodes os_nodes(void)
{
    struct os_nodes nodes = {.count = 0};
    if (syscall(SYS_get_mempolicy, NULL, nodes.mask, OS_NODES_MAX, NULL, MPOL_F_MEMS_ALLOWED))
        nodes.mask[0] = 1;
    for (unsigned i = 0; i < OS_NODES_MAX / 64; i++)
        nodes.count += (unsigned)__builtin_popcountl(nodes.mask[i]);
    return nodes;
}

int os_node_check(uint64_t node, struct error *err)
{
    struct os_nodes nodes = os_nodes();
    unsigned last = 0;
    if (node < OS_NODES_MAX && nodes.mask[node / 64] >> (node % 64) & 1)
        return 0;
    for (unsigned i = 0; i < OS_NODES_MAX; i++)
        last = nodes.mask[i / 64] >> (i % 64) & 1 ? i : last;
    if (nodes.count == 1)
        return error_set(err, "memory node %llu does not exist: this machine has one, node %u",
                         (unsigned long long)node, last);
    return error_set(err, "memory node %llu does not exist: this machine has %u, up to node %u",
                     (unsigned long long)node, nodes.count, last);
}

void os_hugetlb_shortage(size_t bytes, struct error *err)
{
    long long all = number_read(HUGETLB "nr_hugepages");
    long long unused = number_read(HUGETLB "free_hugepages");
    long long promised = number_read(HUGETLB "resv_hugepages");
    unsigned long long wanted = bytes / OS_HUGE_BYTES;
    if (all < 0)
        error_set(err, "this kernel has no hugetlb pages of 2 MiB");
    else if (!wanted)
        error_set(err,
                  "there are no hugetlb pages of 2 MiB: " HUGETLB "nr_hugepages is %lld; run: "
                  "sysctl vm.nr_hugepages=N",
                  all);
    else
        error_set(err,
                  "%llu hugetlb page%s of 2 MiB wanted, %lld free: " HUGETLB
                  "nr_hugepages is %lld; run: sysctl vm.nr_hugepages=%llu",
                  wanted, wanted == 1 ? "" : "s", unused - promised, all,
                  (unsigned long long)(all - unused + promised) + wanted);
}

int os_config_sane(const struct os_config *config, struct error *err)
{
    if (config->hugetlb && config->thp != OS_THP_DEFAULT)
        return error_set(err, "thp and hugetlb exclude each other: a page is one or the other");
    return config->numa == OS_NUMA_BIND ? os_node_check(config->node, err) : 0;
}

int os_config_check(const struct os_config *config, struct error *err)
{
    if (config->hugetlb && number_read(HUGETLB "nr_hugepages") <= 0) {
        os_hugetlb_shortage(0, err);
        return -1;
    }
    if (config->thp == OS_THP_ON && access(THP, F_OK))
        return error_set(err, "thp=on: this kernel has no transparent huge pages (no " THP ")");
    return os_config_sane(config, err);
}

int os_config_read(const char *owner, const char *text, struct os_config *config, struct error *err)
{
    return option_parse(owner, os_options, sizeof *config, text, config, err) ||
                   os_config_check(config, err)
               ? -1
               : 0;
}
