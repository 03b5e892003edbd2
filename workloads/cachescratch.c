/*
 * cachescratch.c - passive false sharing: main gives each thread a small object, all of them from
 * the same cache lines, and each thread frees its own and goes on allocating.
 *
 * Models a program that hands its threads their arguments in small objects.
 *
 *   main      allocates one object of `size` bytes for each worker, one after the other, and starts
 *             the workers
 *   a worker  frees the object that it was given; from then on it allocates an object, uses it, and
 *             frees it, over and over. A step is an alloc or a free
 *   turns     one of the workers, all alike, does a burst of steps, geometric, at least 1, mean
 *             `burst`. Between its alloc and its free the others run: about half of the workers
 *             hold an object at a time
 *   the end   when the calls so far and the frees still due reach `ops`, each worker frees what it
 *             holds, and all end
 *
 * The first free of each worker crosses threads, and no other. A design that lets a thread reuse
 * memory that it freed, whoever allocated it, gives each worker a piece of the line that main's
 * objects lay on, and every write of one takes the line away from the others, for as long as the
 * program runs. One that gives memory back to where it came from does so once.
 *
 * Which design it hurts: pure private heaps and thread caches that keep what they free.
 *
 * Threads: 0 is main, then the workers. No scopes. Clock: an op takes 100 ns. Sites: 1 worker,
 * 2 handed over by main.
 *
 * Source: Berger, McKinley, Blumofe & Wilson, "Hoard: A Scalable Memory Allocator for Multithreaded
 * Applications" (ASPLOS 2000), sections 2.1 and 5, with its benchmark of that name.
 *
 * What it cannot tell: what it costs. A trace holds no accesses, so the many writes of the original
 * to each object are missing: only the replay's first touch writes, and only threads that really
 * run in parallel take lines from each other. Which objects share a line is in the addresses.
 */
#include "workloads/lib/cacheline.h"

static int cachescratch_emit(const void *options, uint64_t seed, struct trace_writer *out,
                             struct error *err)
{
    return cacheline_emit(options, seed, true, out, err);
}

WORKLOAD(cachescratch) = {
    .name = "cachescratch",
    .summary = "passive false sharing: threads free what main gave them from one cache line",
    .source = "Berger, McKinley, Blumofe & Wilson, Hoard, ASPLOS 2000",
    .options_size = sizeof(struct cacheline_options),
    .options = cacheline_rows,
    .emit = cachescratch_emit,
};
