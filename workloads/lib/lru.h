/*
 * lru.h - a cache's bookkeeping: which of the keys 1..keys are in it, and which was used longest
 * ago. Arrays indexed by key, linked in the order of use; key 0 is the list's head. All operations
 * but init are O(1).
 */
#ifndef ALLOCLAB_LRU_H
#define ALLOCLAB_LRU_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct lru_node {
    uint32_t newer, older;
    bool present;
};

struct lru {
    struct lru_node *nodes;
    uint32_t n; /* keys in the cache */
};

/* False without memory. */
static inline bool lru_init(struct lru *lru, uint32_t keys)
{
    *lru = (struct lru){.nodes = calloc((size_t)keys + 1, sizeof *lru->nodes)};
    return lru->nodes != NULL;
}

static inline void lru_free(struct lru *lru)
{
    free(lru->nodes);
}

static inline void lru_remove(struct lru *lru, uint32_t key)
{
    struct lru_node *node = &lru->nodes[key];
    lru->nodes[node->newer].older = node->older;
    lru->nodes[node->older].newer = node->newer;
    node->present = false;
    lru->n--;
}

/* Puts an absent key in as the newest one. */
static inline void lru_insert(struct lru *lru, uint32_t key)
{
    struct lru_node *head = &lru->nodes[0];
    lru->nodes[key] = (struct lru_node){.newer = 0, .older = head->older, .present = true};
    lru->nodes[head->older].newer = key;
    head->older = key; /* from the head, the next older one is the newest */
    lru->n++;
}

/* The key that was used longest ago; 0 if the cache is empty. */
static inline uint32_t lru_oldest(const struct lru *lru)
{
    return lru->nodes[0].newer;
}

#endif
