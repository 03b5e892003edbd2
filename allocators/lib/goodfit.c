/*
 * goodfit.c - creation, upkeep and observation of goodfit.h's heaps.
 */
#include "allocators/lib/goodfit.h"

struct goodfit *goodfit_open(const struct alloc_env *env, const struct goodfit_config *config)
{
    struct tiling t = {
        .name = config->name,
        .os = env->os,
        .key = (env->seed + 1) * UINT64_C(0xD1342543DE82EF95),
        .commit_bytes = config->commit,
        .region_bytes = config->pool,
        .boundary = true,
        .footers = true,
    };
    size_t heap_bytes = align_up(config->heap_bytes, _Alignof(struct list));
    struct goodfit *g = tiling_open(&t, heap_bytes + config->bins * sizeof *g->heads);
    if (!g)
        return NULL;
    g->tiling = t;
    g->bins = config->bins;
    g->heads = (struct list *)(void *)((char *)g + heap_bytes);
    for (unsigned i = 0; i < g->bins; i++)
        list_init(&g->heads[i]);
    return g;
}

void goodfit_trim(struct goodfit *g)
{
    tiling_trim(&g->tiling);
}

void goodfit_close(struct goodfit *g)
{
    tiling_close(&g->tiling);
}

void goodfit_walk(const struct goodfit *g, walk_fn *fn, void *arg)
{
    tiling_walk(&g->tiling, fn, arg);
}

void goodfit_stats(const struct goodfit *g, stats_fn *fn, void *arg)
{
    fn(arg, "commits", g->tiling.commits);
    fn(arg, "moves", g->moves);
}

static const char *bin_check(const struct goodfit *g, const struct goodfit_index *index,
                             unsigned bin, struct tally *listed)
{
    struct list *head = &g->heads[bin];
    for (struct list *prev = head, *link = head->next; link != head;
         prev = link, link = link->next) {
        if (!goodfit_link_sane(g, link) || link->prev != prev)
            return "lists: a link does not point back";
        size_t size = block_word_size(goodfit_block(link));
        if (index->bin_of(g, size) != bin)
            return "bins: a block is in the wrong one";
        tally_add(listed, goodfit_block(link), size);
    }
    return NULL;
}

const char *goodfit_check(const struct goodfit *g, const struct goodfit_index *index)
{
    struct tally tiled = {0}, listed = {0};
    const char *broken = tiling_check(&g->tiling, &tiled);
    for (unsigned i = 0; i < g->bins && !broken; i++)
        broken = bin_check(g, index, i, &listed);
    if (!broken && memcmp(&tiled, &listed, sizeof tiled))
        broken = "lists: they do not hold exactly the free blocks";
    return broken;
}
