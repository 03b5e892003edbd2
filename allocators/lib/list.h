/*
 * list.h - an intrusive, circular, doubly linked list: the head is a node too, so that inserting
 * and removing have no special cases and need no branch. The nodes lie in the objects (free blocks,
 * chunks, scopes) themselves.
 */
#ifndef ALLOCLAB_LIST_H
#define ALLOCLAB_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

/* The object of `type` whose member `member` is the node at `node`. */
#define LIST_ENTRY(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline void list_init(struct list *head)
{
    head->next = head;
    head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

/* Inserting after the head puts the node first, inserting before the head puts it last. */
static inline void list_insert_after(struct list *at, struct list *node)
{
    node->prev = at;
    node->next = at->next;
    at->next->prev = node;
    at->next = node;
}

static inline void list_insert_before(struct list *at, struct list *node)
{
    list_insert_after(at->prev, node);
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
}

#endif
