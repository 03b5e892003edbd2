/*
 * metrics.h - the one table of columns: it makes the header of results.csv, `alloclab list metrics`
 * and docs/metrics.md. A column has one meaning and carries its unit in its name; what was not
 * measured is empty.
 *
 * X(name, unit, better, how, definition): `better` is lower, higher or none; `how` is id (says which
 * cell the row is of), row (says which of the cell's rows it is, and what became of it), exact (the
 * same on every run and machine), repeats (the same on every run of one build), sampled (looked at
 * now and then) or timed.
 */
#ifndef ALLOCLAB_METRICS_H
#define ALLOCLAB_METRICS_H

#include <stdbool.h>

#define METRIC_IDS(X)                                                                              \
    X(run_id, "", none, row, "the session that wrote the row: date, time and process")             \
    X(block, "", none, row,                                                                        \
      "randomised complete block: each block runs every allocator once; from 0")                   \
    X(order, "", none, row, "place of the cell in the session, from 0: cells ran in this order")   \
    X(allocator, "", none, id, "registered name of the design")                                    \
    X(options, "", none, id, "all its options, as they were in force")                             \
    X(workload, "", none, id, "the recorded trace's name, or the workload's spec")                 \
    X(threads, "", none, id, "threads that appear in the trace")                                   \
    X(release, "", none, id, "free: every recorded free is executed; scope: scope exits release")  \
    X(replay, "", none, id,                                                                        \
      "serial: one OS thread replays all recorded threads through their views; parallel: threads " \
      "that were alive at once run at once, each on an OS thread of its own; stream: serial, ops " \
      "decoded while the cell replays those before")                                               \
    X(copies, "", none, id,                                                                        \
      "parallel replay: sets of the trace's threads, side by side on one heap; else 1")            \
    X(affinity, "", none, id,                                                                      \
      "parallel replay: none, or spread: each OS thread bound to one CPU; empty in serial replay") \
    X(via, "", none, id,                                                                           \
      "vtable: called through the contract; malloc: through malloc, free and the rest, as the "    \
      "process has them: the C library's, a rival's, or a design's drop-in library")               \
    X(touch, "", none, id,                                                                         \
      "what the replay writes of each new object: none, first (byte), line, page")                 \
    X(door, "", none, id,                                                                          \
      "what the door was told (--door), all of it; empty for memory that does not come through "   \
      "one")                                                                                       \
    X(pass, "", none, id, "which pass of the plan the row is of (--passes)")                       \
    X(repeat, "", none, row, "number of the repeat, from 0")                                       \
    X(status, "", none, row,                                                                       \
      "ok, or why there are no figures: oom, crash, timeout, memory_limit, failed, "               \
      "not_applicable")                                                                            \
    X(rank_group, "", none, row,                                                                   \
      "ranked; never_frees: does not reuse what is freed, and no scope exit gave memory back; "    \
      "other_via: called through the contract in a session that ranks what is called through "     \
      "malloc; floor: null")                                                                       \
    X(mode, "", none, row,                                                                         \
      "what the machine made the heap choose (per-cpu magazines by rseq, or under locks); empty "  \
      "where the design has no choice")                                                            \
    X(detail, "", none, row, "what a cell that is not ok said")                                    \
    X(thp, "", none, id,                                                                           \
      "transparent huge pages of the session (--thp): asis: as the machine and the allocator "     \
      "have them; off: none for all; on: for all")

/* A group of columns a pass; new ones come behind the others of their group, and new groups last. */
#define METRIC_VALUES(X)                                                                           \
    METRICS_SPINE(X)                                                                               \
    METRICS_PARALLEL(X)                                                                            \
    METRICS_LATENCY(X)                                                                             \
    METRICS_NOISE(X)                                                                               \
    METRICS_MEMORY(X)                                                                              \
    METRICS_COUNTERS(X)                                                                            \
    METRICS_LOCALITY(X)                                                                            \
    METRICS_CPU(X)                                                                                 \
    METRICS_DRAIN(X)                                                                               \
    METRICS_PROGRAM(X)                                                                             \
    METRICS_STREAM(X)                                                                              \
    METRICS_OPEN(X)

#define METRICS_SPINE(X)                                                                           \
    X(ops, "count", none, exact,                                                                   \
      "calls in the trace: alloc, calloc, aligned, realloc, free, failed ones and "                \
      "free(NULL) included")                                                                       \
    X(ns_per_op, "ns", lower, timed,                                                               \
      "steady state: median over the passes after the first of pass time / ops (parallel: wall "   \
      "time / (ops * copies)); "                                                                   \
      "making what was live at the start and the epilogue, which frees what is left, are not "     \
      "timed")                                                                                     \
    X(cold_ns_per_op, "ns", lower, timed, "first pass over a new heap: time / ops")                \
    X(mops_per_s, "1e6/s", higher, timed, "1000 / ns_per_op")                                      \
    X(p50_ns, "ns", lower, timed,                                                                  \
      "latency of one call of an op, median over the timed ops of one pass over a new heap; the "  \
      "clock's cost is in it and not subtracted; to 1/64")                                         \
    X(p99_ns, "ns", lower, timed, "latency of one op, 99th percentile; as p50_ns")                 \
    X(p999_ns, "ns", lower, timed, "latency of one op, 99.9th percentile; as p50_ns")              \
    X(max_ns, "ns", lower, timed, "latency of one op, maximum, exact; as p50_ns")                  \
    X(peak_requested_bytes, "bytes", none, exact,                                                  \
      "max L: most bytes that the program held at once")                                           \
    X(peak_usable_bytes, "bytes", lower, exact,                                                    \
      "max U: most usable bytes of live objects; empty if the design cannot tell")                 \
    X(peak_committed_bytes, "bytes", lower, exact,                                                 \
      "max C: most bytes committed through the door after any op; empty for memory that does not " \
      "come through it")                                                                           \
    X(peak_reserved_bytes, "bytes", lower, exact,                                                  \
      "max V: most address space reserved through the door")                                       \
    X(peak_resident_bytes, "bytes", lower, sampled,                                                \
      "max R: most resident bytes of the process above its "                                       \
      "state before the heap was made, every page touched")                                        \
    X(metadata_at_peak_committed_bytes, "bytes", lower, exact,                                     \
      "M: bytes that walk() calls META when C is first at its maximum")                            \
    X(frag_internal_ratio, "ratio", lower, exact, "(U - L) / U when C is first at its maximum")    \
    X(frag_external_ratio, "ratio", lower, exact,                                                  \
      "(C - U - M) / (C - M) when C is first at its maximum")                                      \
    X(frag_jw1_ratio, "ratio", lower, exact,                                                       \
      "Johnstone & Wilson #1: mean over allocation time (handed_out_bytes) of C / L - 1")          \
    X(frag_jw2_ratio, "ratio", lower, exact,                                                       \
      "Johnstone & Wilson #2: C / L - 1 when L is first at its maximum")                           \
    X(frag_jw3_ratio, "ratio", lower, exact,                                                       \
      "Johnstone & Wilson #3: C / L - 1 when C is first at its maximum")                           \
    X(frag_jw4_ratio, "ratio", lower, exact, "Johnstone & Wilson #4: max C / max L - 1")           \
    X(frag_resident_jw4_ratio, "ratio", lower, sampled, "max R / max L - 1")                       \
    X(escaped_objects, "count", none, exact,                                                       \
      "objects that outlive the scope they were allocated in; empty where ops are streamed")       \
    X(escaped_bytes, "bytes", none, exact, "requested bytes of these")                             \
    X(minor_faults_count, "count", lower, sampled,                                                 \
      "page faults without I/O of the process in the cold pass")                                   \
    X(door_calls_count, "count", lower, exact,                                                     \
      "calls of the door from before the heap is made to the end of its first pass, epilogue "     \
      "apart")                                                                                     \
    X(harness_ns_per_op, "ns", none, timed,                                                        \
      "ns_per_op of null in the same block: the loop's own cost, already "                         \
      "in ns_per_op and not subtracted")                                                           \
    X(peak_extent_bytes, "bytes", lower, exact,                                                    \
      "from the lowest address of any block to the end of the highest; empty for memory that "     \
      "does not come through the door")                                                            \
    X(handed_out_bytes, "bytes", none, exact,                                                      \
      "requested bytes of all blocks handed out; of a realloc in place its growth")                \
    X(passes_count, "count", none, timed,                                                          \
      "steady passes that ns_per_op is the median of (streamed: or the mean)")                     \
    X(harness_bytes, "bytes", none, exact,                                                         \
      "the plan and the replay's tables, as the cell maps them")                                   \
    X(walks_count, "count", none, exact, "walks at which sum(walk) == C was found true")           \
    X(huge_coverage_at_peak_ratio, "ratio", higher, exact,                                         \
      "when C is first at its maximum: its bytes that lie in 2 MiB ranges, so aligned, that are "  \
      "committed wholly, / C")                                                                     \
    X(anon_huge_bytes, "bytes", none, sampled,                                                     \
      "transparent huge pages of the process above its state before the heap was made, after the " \
      "last op of the cold pass")                                                                  \
    X(peak_lazy_bytes, "bytes", lower, exact,                                                      \
      "most bytes decommitted lazily and neither committed again nor returned for good: no "       \
      "longer in C, but they stay resident until the kernel wants them")

#define METRICS_PARALLEL(X)                                                                        \
    X(lanes_count, "count", none, timed,                                                           \
      "parallel replay: OS threads of all copies: as many a copy as recorded threads were alive "  \
      "at once")                                                                                   \
    X(wait_ns, "ns", lower, timed,                                                                 \
      "parallel replay: time that all threads together waited for each other's objects, of a "     \
      "steady pass, mean; it is in ns_per_op")                                                     \
    X(wait_ratio, "ratio", lower, timed, "wait_ns / (wall time of a pass * lanes_count)")          \
    X(wait_most_ratio, "ratio", lower, timed,                                                      \
      "the same of the thread that waited most: its wait / wall time")                             \
    X(scaling_efficiency_ratio, "ratio", higher, timed,                                            \
      "mops_per_s / (copies * mops_per_s with one copy, in the same block)")                       \
    X(wait_stretch_ratio, "ratio", lower, timed,                                                   \
      "1 - busy time of the busiest thread / wall time of a pass: by how much waiting, and not "   \
      "that thread's own work, made the pass longer")

#define METRICS_LATENCY(X)                                                                         \
    X(p9999_ns, "ns", lower, timed,                                                                \
      "latency of one op, 99.99th percentile; as p50_ns; empty below 10,000 timed ops")            \
    X(timed_ops_count, "count", none, timed,                                                       \
      "ops that the latency pass timed; calls that reach no allocator (free(NULL), failed ones) "  \
      "and frees left to a scope's exit are not")                                                  \
    X(harness_p50_ns, "ns", none, timed,                                                           \
      "p50_ns of null in the same block: the clock's and the call's own cost, in every latency "   \
      "and not subtracted")                                                                        \
    X(clock_cost_ns, "ns", none, timed,                                                            \
      "two reads of the latency pass's clock with nothing between them, median")                   \
    X(clock_step_ns, "ns", none, timed,                                                            \
      "least distance of two readings of that clock that differ")                                  \
    X(replay_min_p50_ns, "ns", lower, timed,                                                       \
      "the plan replayed from the same state over and over, pages there: each op's least "         \
      "latency, "                                                                                  \
      "the median over alloc and free (calloc and realloc write all of an object); empty where "   \
      "that state cannot be made again (libc, rivals)")                                            \
    X(replay_min_p9999_ns, "ns", lower, timed,                                                     \
      "99.99th percentile of the ops' least latencies; as replay_min_p50_ns")                      \
    X(replay_min_max_ns, "ns", lower, timed,                                                       \
      "greatest of the ops' least latencies: the design's own worst case on the plan; as "         \
      "replay_min_p50_ns")                                                                         \
    X(replay_min_runs_count, "count", none, timed, "replays that the least latencies are over")    \
    X(replay_min_still_count, "count", none, timed,                                                \
      "how many of these, at the end, did not lower replay_min_max_ns by 1/64")

#define METRICS_COUNTERS(X)                                                                        \
    X(pmu_cycles_per_op, "count", lower, timed,                                                    \
      "counters pass, steady: cycles in user mode / ops, counted by the PMU, mean over the "       \
      "passes that counted this event, all threads together; empty where this machine cannot "     \
      "count it, "                                                                                 \
      "and where it is suspect (counters.csv says why)")                                           \
    X(pmu_instructions_per_op, "count", lower, timed, "instructions; as pmu_cycles_per_op")        \
    X(pmu_branch_misses_per_op, "count", lower, timed,                                             \
      "branches that were foretold wrongly; as pmu_cycles_per_op")                                 \
    X(pmu_l1d_load_misses_per_op, "count", lower, timed,                                           \
      "loads that missed the first data cache; as pmu_cycles_per_op")                              \
    X(pmu_llc_load_misses_per_op, "count", lower, timed,                                           \
      "loads that missed the last cache; as pmu_cycles_per_op")                                    \
    X(pmu_dtlb_load_misses_per_op, "count", lower, timed,                                          \
      "loads whose address had no translation at hand; as pmu_cycles_per_op")                      \
    X(pmu_dtlb_store_misses_per_op, "count", lower, timed,                                         \
      "stores, the same; as pmu_cycles_per_op")                                                    \
    X(pmu_itlb_load_misses_per_op, "count", lower, timed,                                          \
      "fetches of instructions, the same; as pmu_cycles_per_op")                                   \
    X(software_page_faults_per_op, "count", lower, timed,                                          \
      "counters pass, steady: page faults from user mode / ops, counted by the kernel, mean over " \
      "all steady passes")                                                                         \
    X(software_cold_page_faults_per_op, "count", lower, timed,                                     \
      "the same of the first pass over a new heap")                                                \
    X(software_context_switches_per_op, "count", lower, timed,                                     \
      "counters pass, steady: context switches / ops, counted by the kernel")                      \
    X(harness_pmu_instructions_per_op, "count", none, timed,                                       \
      "pmu_instructions_per_op of null in the same block: the loop's own, in it and not "          \
      "subtracted")

#define METRICS_NOISE(X)                                                                           \
    X(timed_ns, "ns", none, timed,                                                                 \
      "wall time of the timed part: all passes of a throughput cell, the timed one of a latency "  \
      "cell")                                                                                      \
    X(involuntary_switches_count, "count", none, timed,                                            \
      "how often the kernel took the CPU away from the cell for another during timed_ns")          \
    X(steal_ratio, "ratio", none, timed,                                                           \
      "share of the CPU time of all CPUs that the hypervisor gave to other guests during "         \
      "timed_ns, in the kernel's ticks (mostly 10 ms)")

#define METRICS_MEMORY(X)                                                                          \
    X(peak_utilisation_ratio, "ratio", higher, exact, "max L / max C")                             \
    X(frag_jw1_net_ratio, "ratio", lower, exact,                                                   \
      "frag_jw1_ratio without metadata (headers among it) and rounding: with C - M - (U - L) in "  \
      "place of C, at the walks, of which there are some 400 over the replay; empty where the "    \
      "design cannot tell usable bytes, or has no walk")                                           \
    X(frag_jw2_net_ratio, "ratio", lower, exact,                                                   \
      "(C - M - (U - L)) / L - 1 when L is first at its maximum; empty as frag_jw1_net_ratio")     \
    X(frag_jw3_net_ratio, "ratio", lower, exact,                                                   \
      "(C - M - (U - L)) / L - 1 when C is first at its maximum; empty as frag_jw1_net_ratio")     \
    X(frag_jw4_net_ratio, "ratio", lower, exact,                                                   \
      "(C - M - (U - L)) when C is first at its maximum / max L - 1; empty as "                    \
      "frag_jw1_net_ratio")                                                                        \
    X(blowup_ratio, "ratio", lower, exact,                                                         \
      "max C / max C of the same ops in the same order through one thread's view; empty if the "   \
      "trace has one thread, the design no thread views, or both are below 1 MiB, and for memory " \
      "that does not come through the door")                                                       \
    X(shared_lines_peak_count, "count", lower, exact,                                              \
      "most cache lines (64 bytes) at once that held live objects of two or more threads, after "  \
      "any op; an object belongs to the thread that asked for it; empty if the trace has one "     \
      "thread, and for memory that does not come through the door, whose views are OS threads, "   \
      "but one OS thread plays all")                                                               \
    X(shared_lines_at_peak_count, "count", lower, exact,                                           \
      "these when L is first at its maximum; empty as shared_lines_peak_count")                    \
    X(shared_lines_mean_count, "count", lower, exact,                                              \
      "these, mean over the ops; empty as shared_lines_peak_count")                                \
    X(shared_lines_ratio, "ratio", lower, exact,                                                   \
      "shared_lines_peak_count / all lines that held live objects then; empty if it is 0")         \
    X(peak_resident_kernel_bytes, "bytes", lower, sampled,                                         \
      "the kernel's own maximum of resident bytes (VmHWM) above the state before the heap was "    \
      "made: finds peaks between samples that peak_resident_bytes misses, but counts shared "      \
      "pages, too, the program's own code among them, and no explicit huge pages")

#define METRICS_LOCALITY(X)                                                                        \
    X(locality_instructions_per_op, "count", lower, repeats,                                       \
      "locality_instructions_count / ops; of the first --locality-ops ops of the trace, as are "   \
      "all locality columns: ops says how many")                                                   \
    X(locality_l1_misses_per_op, "count", lower, repeats,                                          \
      "callgrind: data reads and writes that miss a cache of 32 KiB, 8 ways, / ops")               \
    X(locality_ll_misses_per_op, "count", lower, repeats,                                          \
      "callgrind: those that also miss a last-level cache of 8 MiB, 16 ways, / ops")               \
    X(locality_dtlb_misses_per_op, "count", lower, repeats,                                        \
      "callgrind: data reads and writes that miss a TLB of 64 entries, 4 ways, for pages of 4 "    \
      "KiB, / ops")                                                                                \
    X(locality_page_walks_per_op, "count", lower, repeats,                                         \
      "callgrind: those that also miss a TLB of 1536 entries, 12 ways, / ops")                     \
    X(locality_instructions_count, "count", lower, repeats,                                        \
      "callgrind: instructions of the program (not the kernel's) in the second replay of the "     \
      "plan "                                                                                      \
      "on one heap, the replay's own included; the same on each run of one build with one seed, "  \
      "but not with another compiler or C library")                                                \
    X(locality_rerun_ratio, "ratio", none, repeats,                                                \
      "locality_instructions_count of the run with the TLBs / that of the run with the caches: 1 " \
      "if the cell repeats to the digit; what is not 1 is no gate")                                \
    X(harness_instructions_per_op, "count", none, repeats,                                         \
      "locality_instructions_per_op of null: the loop's own, in it and not subtracted")

#define METRICS_CPU(X)                                                                             \
    X(cold_user_ns_per_op, "ns", lower, sampled,                                                   \
      "CPU time of the cold pass outside the kernel, of all threads together, / (ops * copies); "  \
      "empty where ops are streamed, as the other CPU times are")                                  \
    X(cold_system_ns_per_op, "ns", lower, sampled,                                                 \
      "CPU time of the cold pass in the kernel (page faults, calls of the door); as "              \
      "cold_user_ns_per_op")                                                                       \
    X(user_ns_per_op, "ns", lower, sampled,                                                        \
      "CPU time of the steady passes outside the kernel, of all threads together, mean, / (ops * " \
      "copies)")                                                                                   \
    X(system_ns_per_op, "ns", lower, sampled,                                                      \
      "CPU time of the steady passes in the kernel; as user_ns_per_op")

#define METRICS_DRAIN(X)                                                                           \
    X(drain_resident_peak_bytes, "bytes", lower, sampled,                                          \
      "drain pass: most resident bytes during the replay, as peak_resident_bytes, but on a door "  \
      "as programs have it")                                                                       \
    X(drain_resident_before_bytes, "bytes", lower, sampled,                                        \
      "drain pass: resident bytes after the last op, before everything is freed")                  \
    X(drain_resident_0ms_bytes, "bytes", lower, sampled,                                           \
      "drain pass: resident bytes when everything has just been freed")                            \
    X(drain_resident_100ms_bytes, "bytes", lower, sampled,                                         \
      "0.1 s later, the design's tick called every 10 ms as a program would; what is called "      \
      "through malloc (libc, rivals, drop-ins) has only the time")                                 \
    X(drain_resident_1s_bytes, "bytes", lower, sampled,                                            \
      "1 s after; as drain_resident_100ms_bytes")                                                  \
    X(drain_resident_5s_bytes, "bytes", lower, sampled, "5 s after; as drain_resident_100ms_bytes")

#define METRICS_PROGRAM(X)                                                                         \
    X(program_wall_ns, "ns", lower, timed,                                                         \
      "whole program: time from start to end, as hyperfine measures it")                           \
    X(program_user_ns, "ns", lower, timed, "whole program: CPU time in user mode, all processes")  \
    X(program_system_ns, "ns", lower, timed, "whole program: CPU time in the kernel, likewise")    \
    X(program_peak_resident_bytes, "bytes", lower, sampled,                                        \
      "whole program: most resident bytes, code and files included, of the process that had most") \
    X(program_faults_count, "count", lower, sampled,                                               \
      "whole program: page faults without I/O of all its processes that were waited for")

#define METRICS_STREAM(X)                                                                          \
    X(decode_wait_ns, "ns", none, timed,                                                           \
      "streamed replay: time that the replay waited for ops to be decoded, of a steady pass, "     \
      "mean; it is not in ns_per_op")                                                              \
    X(decoder_bytes, "bytes", none, sampled,                                                       \
      "streamed replay: most memory resident in the process that decodes, with the ring that it "  \
      "shares with the cell and the part of the file that it has mapped; harness_bytes is the "    \
      "cell's tables")

#define METRICS_OPEN(X)                                                                            \
    X(open_arrivals_count, "count", none, timed,                                                   \
      "open pass: frames or requests that arrived: scopes that began outside of all others")       \
    X(open_rate_per_s, "1/s", none, timed,                                                         \
      "their mean rate, the same for all designs of a target: --open-rate, or --open-load times "  \
      "what "                                                                                      \
      "libc (or else the first design) can serve, measured once before the blocks")                \
    X(open_response_p50_ns, "ns", lower, timed,                                                    \
      "from the intended start of an arrival, fixed before the run, to its completion, median; "   \
      "waiting behind slow ones before it is in it; to 1/64")                                      \
    X(open_response_p99_ns, "ns", lower, timed, "99th percentile; as open_response_p50_ns")        \
    X(open_response_p999_ns, "ns", lower, timed,                                                   \
      "99.9th percentile (empty below 1000 arrivals); as open_response_p50_ns")                    \
    X(open_response_max_ns, "ns", lower, timed, "maximum, exact; as open_response_p50_ns")         \
    X(open_service_p50_ns, "ns", lower, timed,                                                     \
      "from the actual start of an arrival to its completion, median: of frames, the frame time")  \
    X(open_service_p99_ns, "ns", lower, timed, "99th percentile; as open_service_p50_ns")          \
    X(open_service_p999_ns, "ns", lower, timed, "99.9th percentile; as open_service_p50_ns")       \
    X(open_service_max_ns, "ns", lower, timed, "maximum, exact; as open_service_p50_ns")           \
    X(open_service_mean_ns, "ns", lower, timed, "mean; as open_service_p50_ns")                    \
    X(open_utilisation_ratio, "ratio", lower, timed,                                               \
      "time in service / time from the first intended start to the last completion")               \
    X(open_late_ratio, "ratio", lower, timed,                                                      \
      "arrivals that the server was still busy for at their intended start, / all")

enum metric {
#define METRIC_ENUM(name, unit, better, how, definition) METRIC_##name,
    METRIC_VALUES(METRIC_ENUM)
#undef METRIC_ENUM
        METRIC_COUNT
};

struct metric_row {
    const char *name, *unit, *better, *how, *definition;
};

/* A cost in time, of which a session has a value for each block: what is compared by statistics.
 * (Rates, and shares of such a cost, would tell the same again.) */
bool metric_is_time(const struct metric_row *row);
/* By the name of its column; METRIC_COUNT = it is none, or says which row it is. */
enum metric metric_find(const char *name);
const struct metric_row *metric_row_of(enum metric metric);

extern const struct metric_row
    metric_rows[]; /* ids, then values, in column order; ended by a NULL name */

#endif
