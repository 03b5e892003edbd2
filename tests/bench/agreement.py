"""agreement.py - `make bench-agreement`: does the harness say of allocators what a bare loop says?

    agreement.py [--blocks 20] [--most 120] [--seed N] [redis sqlite random:ops=..]

Each trace is replayed by a throughput cell of `alloclab run`, and by tests/bench/ops8_loop.c, a plain C loop over the same
calls as 8-byte ops, linked with nothing of the project: both on glibc and on three rivals, in LD_PRELOAD. A block runs each
allocator once, in an order drawn by the printed seed, its two runs next to each other, which first drawn too. From each
block come the ratio rival/glibc of either, and the ratio of these two; over the blocks the Hodges-Lehmann estimate of each,
with its 95 % interval (signed-rank, exact). The bars are said, not asserted: the two agree within 5 %, that is the estimate of the
ratio of ratios does, and no half-width exceeds 3 %. Whether even its whole interval lies within 5 % is said beside. A rival
whose times scatter gets further blocks, glibc with it, until its intervals are as narrow, or --most blocks are done: only
the width decides on that, never the ratio.
"""
import argparse
import csv
import math
import os
import random
import subprocess
import tempfile

import rivals
from rivals import Failed, progress, said

RIVALS = ["jemalloc", "mimalloc", "tcmalloc"]
TRACES = ["redis", "sqlite", "random:ops=500k,live=20k"]
BAR_AGREE, BAR_WIDTH = 0.05, 0.03
SECONDS = 0.5  # of steady passes, as in a throughput cell


def centre_of(ratios):
    """(centre, low, high) of ratios within blocks; low and high are None where there are too few."""
    words = command_run([alloclab(), "interval", *map(repr, ratios)]).split()
    return tuple(None if w == "-" else float(w) for w in words)


def half_width(estimate):
    """Of a (centre, low, high), relative to the centre; infinite without an interval."""
    centre, low, high = estimate
    return math.inf if low is None else max(high / centre - 1, 1 - low / centre)


def bare_run(program, ops8, library, name):
    path, _ = library
    variables = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    if name != "glibc":
        variables["LD_PRELOAD"] = path
    done = subprocess.run([program, ops8, path, str(SECONDS)], capture_output=True, text=True, check=False, timeout=300,
                          env=variables)
    if done.returncode:
        raise Failed(f"{name}: exit status {done.returncode}: {done.stderr.strip()}")
    return float(done.stdout.split()[0])


def alloclab():
    return os.environ.get("ALLOCLAB", "./alloclab")


def harness_run(trace, name):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        command_run([alloclab(), "run", "-a", name, "-w", trace, "-r", "1", "--passes", "throughput", "--release", "free",
                     "-o", out])
        with open(os.path.join(out, "results.csv"), newline="", encoding="utf-8") as file:
            return next(float(r["ns_per_op"]) for r in csv.DictReader(file) if r["allocator"] == name)


def traces_make(names, folder):
    """{name: (trace, the same as 8-byte ops)}; a name that is no sample's is a workload's spec."""
    made = {}
    for name in names:
        trace = f"traces/samples/{name}.trace"
        if not os.path.exists(trace):
            trace = os.path.join(folder, f"made{len(made)}.trace")
            command_run([alloclab(), "gen", name, "--seed", "1", "-o", trace])
        ops8 = os.path.join(folder, f"{len(made)}.ops8")
        command_run([alloclab(), "trace", "convert", "--to", "ops8", trace, "-o", ops8])
        made[name] = (trace, ops8)
    return made


def command_run(words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def block_run(result, trace, names, rng, run):
    """A block of one trace: each name's two runs beside each other, added to result[trace]."""
    for name in rng.sample(names, len(names)):
        for way in rng.sample([0, 1], 2):
            result[trace][name][way].append(run(way, trace, name))


def blocks_run(traces, found, count, rng, run, most=0):
    """{trace: {name: ([harness's ns by block], [bare loop's])}}; run(way, trace, name) is one run, way 0 the harness's. What
    is wide after `count` blocks goes on until it is not, or has `most`; the k-th entries of two names are of one block."""
    result = {trace: {name: ([], []) for name in found} for trace in traces}
    for block in range(count):
        for trace in traces:
            block_run(result, trace, list(found), rng, run)
            progress(f"block {block + 1} of {count}: {trace}")
    for trace in traces:
        for block in range(count, most):
            wide = [name for name in found if name != "glibc" and len(result[trace][name][0]) == block and
                    not narrow(estimates(result[trace], name))]
            if not wide:
                break
            block_run(result, trace, ["glibc", *wide], rng, run)
            progress(f"block {block + 1} of at most {most}: {trace}, {', '.join(wide)}")
    progress("")
    return result


def estimates(cells, rival):
    """Of rival/glibc: the harness's ratio, the bare loop's, and the ratio of the two, each (centre, low, high)."""
    harness, bare = ([a / b for a, b in zip(cells[rival][way], cells["glibc"][way])] for way in (0, 1))
    return centre_of(harness), centre_of(bare), centre_of([h / b for h, b in zip(harness, bare)])


def interval(estimate):
    centre, low, high = estimate
    return f"{centre:.3f} [" + ("no interval" if low is None else f"{low:.3f}, {high:.3f}") + "]"


def narrow(three):
    return all(half_width(e) <= BAR_WIDTH for e in three)


def verdict(cells, rival):
    """A row's estimates, which bars it meets, and whether it agrees throughout its interval: (agrees, narrow, surely)."""
    three = estimates(cells, rival)
    within = [value is not None and abs(value - 1) <= BAR_AGREE for value in three[2]]
    return three, within[0], narrow(three), all(within)


def report_print(result):
    print(f"\n{'trace':<26} {'rival':<9} {'ns/op harness, bare':>20}   {'ratio to glibc, harness':<24} {'bare':<24} "
          f"{'ratio of ratios':<24} blocks  within {BAR_AGREE:.0%}  surely  widths to {BAR_WIDTH:.0%}")
    missed = 0
    for trace, cells in result.items():
        for name, ways in cells.items():
            ns = "{:9.2f} {:9.2f}".format(*(sorted(w)[len(w) // 2] for w in ways))
            if name == "glibc":
                print(f"{trace:<26} {name:<9} {ns:>20}")
                continue
            (harness, bare, both), agrees, tight, surely = verdict(cells, name)
            missed += not (agrees and tight)
            print(f"{trace:<26} {name:<9} {ns:>20}   {interval(harness):<24} {interval(bare):<24} {interval(both):<24} "
                  f"{len(ways[0]):6}  {said(agrees):<9}  {'yes' if surely else 'no':<6}  "
                  f"{said(tight)} (+-{max(map(half_width, (harness, bare, both))):.1%})")
    print(f"\nbars: {'all met' if not missed else f'MISSED on {missed} rows'}")


def bench(arguments):
    build = os.environ.get("BUILD", "build/release")
    program = os.path.join(build, "ops8_loop")
    found, _ = rivals.libraries(alloclab(), build, [])
    found = {name: found[name] for name in ["glibc", *RIVALS]}
    most = max(arguments.blocks, arguments.most)
    print(f"seed {arguments.seed}, {arguments.blocks} blocks, up to {most} where intervals are wide; {rivals.thp_state()}")
    with tempfile.TemporaryDirectory() as folder:
        traces = traces_make(arguments.traces or TRACES, folder)

        def run(way, trace, name):
            if way == 0:
                return harness_run(traces[trace][0], name)
            return bare_run(program, traces[trace][1], found[name], name)

        report_print(blocks_run(traces, found, arguments.blocks, random.Random(arguments.seed), run, most))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("traces", nargs="*", metavar="TRACE")
    parser.add_argument("--most", type=int, default=120, help="blocks of a rival whose intervals are wide")
    rivals.blocks_main("bench-agreement", bench, parser, 20)


if __name__ == "__main__":
    main()
