/*
 * os_policy.h - what a door can be told from outside (rows of options into struct os_config), and
 * whether this machine can do it: memory nodes, explicit huge pages, transparent ones. Reads /proc
 * and /sys with plain system calls; nothing here calls malloc.
 */
#ifndef ALLOCLAB_OS_POLICY_H
#define ALLOCLAB_OS_POLICY_H

#include "allocators/lib/error.h"
#include "allocators/lib/option.h"
#include "allocators/lib/os.h"

/* For option_parse into a struct os_config: "thp=on,numa=bind,node=1". */
extern const struct option os_options[];

/* 0, or -1: the rows contradict each other, or name a memory node that this machine lacks. */
int os_config_sane(const struct os_config *config, struct error *err);
/* The same, or -1 with what this machine cannot do. Explicit huge pages must be there, but not yet
 * enough of them. */
int os_config_check(const struct os_config *config, struct error *err);

/* Both: the options, and whether this machine can do what they ask; `owner` is whose they are in a
 * message. 0, or -1 with it. */
int os_config_read(const char *owner, const char *text, struct os_config *config,
                   struct error *err);

/* Memory nodes that this process may use. */
enum { OS_NODES_MAX = 1024 };
struct os_nodes {
    unsigned long mask[OS_NODES_MAX / 64];
    unsigned count;
};
struct os_nodes os_nodes(void);
/* 0, or -1: there is no such node, and which there are. */
int os_node_check(uint64_t node, struct error *err);

/* Why there are no explicit huge pages for so many bytes (0: any), and what to do. */
void os_hugetlb_shortage(size_t bytes, struct error *err);

#endif
