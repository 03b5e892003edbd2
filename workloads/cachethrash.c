/*
 * cachethrash.c - active false sharing: all threads allocate small objects at the same time, and a
 * design that cuts them from one place puts objects of several threads on one cache line.
 *
 * Models threads that each keep a counter or a flag of their own on the heap.
 *
 *   a worker  allocates an object of `size` bytes, uses it, and frees it, over and over. A step is
 *             an alloc or a free
 *   turns     one of the workers, all alike, does a burst of steps, geometric, at least 1, mean
 *             `burst`. Between its alloc and its free the others run: about half of the workers
 *             hold an object at a time
 *   the end   when the calls so far and the frees still due reach `ops`, each worker frees what it
 *             holds, and all end
 *
 * No free crosses threads: whatever is shared, the design brought about by itself.
 *
 * Which design it hurts: those with one heap for all threads (any sequential fit), which serve
 * requests that come one after the other from neighbouring addresses. Heaps of the threads' own,
 * with lines or pages that belong to one of them, are safe here; cachescratch tries these.
 *
 * Threads: 0 is main, then the workers. No scopes. Clock: an op takes 100 ns. Site: 1 worker.
 *
 * Source: Berger, McKinley, Blumofe & Wilson, "Hoard: A Scalable Memory Allocator for Multithreaded
 * Applications" (ASPLOS 2000), sections 2.1 and 5, with its benchmark of that name.
 *
 * What it cannot tell: what it costs; see cachescratch.
 */
#include "workloads/lib/cacheline.h"

static int cachethrash_emit(const void *options, uint64_t seed, struct trace_writer *out,
                            struct error *err)
{
    return cacheline_emit(options, seed, false, out, err);
}

WORKLOAD(cachethrash) = {
    .name = "cachethrash",
    .summary = "active false sharing: small objects of many threads, allocated at the same time",
    .source = "Berger, McKinley, Blumofe & Wilson, Hoard, ASPLOS 2000",
    .options_size = sizeof(struct cacheline_options),
    .options = cacheline_rows,
    .emit = cachethrash_emit,
};
