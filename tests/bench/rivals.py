"""rivals.py - `make bench-rivals`: races our designs' drop-in libraries against other people's allocators.

    rivals.py [--blocks 10] [--seed N] [--rows pairs,redis,..] DESIGN[:option=value,..] ...

Small rows run tests/bench/rivals.c, a plain program on the library in LD_PRELOAD: `pairs` (malloc, free of 64 bytes),
`ring` (of 1000 objects of 64 bytes, first in first out), `batch` (1000 made, 1000 freed), `prodcons` (two threads, one
makes, one frees), `mixed` (16 to 1024 bytes, 10,000 live). Other rows are recorded traces, replayed by
`alloclab run --via malloc` in the `libc` cell of the same libraries.

A block runs every library once on each row, in an order drawn by the printed seed. A ratio is the median of the ratios
within blocks; beside it stand the quartiles. Transparent huge pages are as `alloclab thp` has it, under which it is run.
Peaks of small rows are resident memory without files' pages, above a process that allocates nothing; those of traces
are what the replay added. The bars are said, not asserted: exit status 0 if all rows were measured.
"""
import argparse
import csv
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

SMALL = ["pairs", "ring", "batch", "prodcons", "mixed"]
TRACES = ["redis", "sqlite"]
BAR_MEAN, BAR_WORST = 1.4, 2.0


class Failed(Exception):
    """What stops the race: what, and what to do."""


def libraries(alloclab, build, designs):
    """{name: (path, options or None)} of all that race: the rivals, glibc, ours; and the rivals' names."""
    found = {}
    for line in subprocess.run([alloclab, "list", "rivals"], check=True, capture_output=True,
                               text=True).stdout.splitlines():
        name, path = line.split(None, 1)
        if not path.startswith("/"):
            raise Failed(f"{name} is {path}: make rivals")
        found[name] = (path, None)
    rivals = list(found)
    found["glibc"] = (libc_of(alloclab), None)
    for design in designs:
        path = os.path.abspath(os.path.join(build, f"liballoclab-{design.split(':')[0]}.so"))
        if not os.path.exists(path):
            raise Failed(f"{path}: no such drop-in library: `alloclab exec -a NAME` says which designs have one; make")
        found[design] = (path, design.partition(":")[2])
    return found, rivals


def libc_of(program):
    for line in subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout.splitlines():
        if line.strip().startswith("libc.so.6"):
            return line.split()[2]
    raise Failed(f"{program}: ldd names no libc.so.6")


def small_run(program, row, library, name):
    """(ns per op, peak KiB) of one process."""
    path, options = library
    variables = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "ALLOCLAB_OPTIONS")}
    if name != "glibc":
        variables["LD_PRELOAD"] = path
    if options:
        variables["ALLOCLAB_OPTIONS"] = options
    done = subprocess.run([program, row, path], capture_output=True, text=True, check=False, timeout=300, env=variables)
    if done.returncode:
        raise Failed(f"{name} on {row}: exit status {done.returncode}: {done.stderr.strip()}")
    ns, peak, _ = done.stdout.split()
    return float(ns), float(peak)


def small_rows(program, rows, found, blocks, rng):
    """{row: {name: ([ns by block], peak KiB)}}"""
    floor = min(small_run(program, "null", found["glibc"], "glibc")[1] for _ in range(3))
    times = {row: {name: [] for name in found} for row in rows}
    peaks = {row: {name: [] for name in found} for row in rows}
    for block in range(blocks):
        for row in rows:
            order = list(found)
            rng.shuffle(order)
            for name in order:
                ns, peak = small_run(program, row, found[name], name)
                times[row][name].append(ns)
                peaks[row][name].append(max(peak - floor, 0))
            progress(f"block {block + 1} of {blocks}: {row}")
    return {row: {name: (times[row][name], statistics.median(peaks[row][name])) for name in found} for row in rows}


def trace_rows(alloclab, traces, found, blocks, seed):
    """The same of recorded traces, replayed in the libc cell."""
    if not traces:
        return {}
    progress(f"{' and '.join(traces)} in the libc cell")
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        done = subprocess.run(
            [alloclab, "run", "-a", ",".join(found), "-w", ",".join(f"traces/samples/{t}.trace" for t in traces),
             "-r", str(blocks), "--via", "malloc", "--seed", str(seed), "-o", out],
            capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"alloclab run: exit status {done.returncode}: {done.stderr.strip()}")
        with open(os.path.join(out, "results.csv"), newline="", encoding="utf-8") as file:
            rows = [r for r in csv.DictReader(file) if r["rank_group"] == "ranked"]
    result = {t: {name: ([], 0.0) for name in found} for t in traces}
    where = cells_by_name(rows, found)
    for row in rows:
        name = where[row["allocator"], row["options"]]
        times, peak = result[row["workload"]][name]
        if row["pass"] == "throughput":
            times.append(float(row["ns_per_op"]))
        else:
            peak = float(row["peak_resident_bytes"]) / 1024
        result[row["workload"]][name] = (times, peak)
    return result


def cells_by_name(rows, found):
    """{(allocator, options): name}: rows appear with all options; a design may race with several sets of them."""
    given = list(dict.fromkeys((r["allocator"], r["options"]) for r in sorted(rows, key=lambda r: int(r["order"]))))
    where = {}
    for name in sorted(found, key=lambda n: -n.count("=")):  # the most particular first
        stem, _, wanted = name.partition(":")
        fits = [g for g in given if g[0] == stem and g not in where and
                all(o in g[1].split(",") for o in wanted.split(",") if o)]
        if not fits:
            raise Failed(f"{name}: no row of results.csv is its own: write its options as `alloclab describe` does")
        where[min(fits, key=lambda g: g[1])] = name
    return where


def progress(text):
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")


def ratios(ours, theirs):
    """Median of the ratios within blocks, and its quartiles."""
    within = sorted(a / b for a, b in zip(ours, theirs))
    low, high = within[len(within) // 4], within[-1 - len(within) // 4]
    return statistics.median(within), low, high


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def table_print(title, result, value, form):
    names = list(next(iter(result.values())))
    width = {name: max(len(name), 9) for name in names}
    print(f"\n{title}\n  {'row':<9}" + "".join(f" {name:>{width[name]}}" for name in names))
    for row, cells in result.items():
        print(f"  {row:<9}" + "".join(f" {value(cells[name]):>{width[name]}{form}}" for name in names))


def verdict_print(design, result, rivals):
    print(f"\n{design}, beside the rival that is fastest on the row, and the median rival's peak")
    print(f"  {'row':<9} {'fastest':>9} {'time':>6} {'quartiles':>13} {'peak MiB':>9} {'median':>7} {'ratio':>6}")
    times, peaks = {}, {}
    for row, cells in result.items():
        fastest = min(rivals, key=lambda r: statistics.median(cells[r][0]))
        times[row], low, high = ratios(cells[design][0], cells[fastest][0])
        peak, median = cells[design][1], statistics.median(cells[r][1] for r in rivals)
        peaks[row] = peak / median if median else math.inf if peak else 1.0
        print(f"  {row:<9} {fastest:>9} {times[row]:6.2f} {low:6.2f}..{high:<5.2f} {peak / 1024:9.2f} "
              f"{median / 1024:7.2f} {peaks[row]:6.3f}")
    mean, worst = geometric_mean(times.values()), max(times, key=times.get)
    above = [row for row in peaks if peaks[row] > 1]
    print(f"  time:  geometric mean {mean:.2f} (bar {BAR_MEAN}: {said(mean <= BAR_MEAN)}); worst row {worst} "
          f"{times[worst]:.2f} (bar {BAR_WORST:g}: {said(times[worst] <= BAR_WORST)})")
    print(f"  peak:  above the median rival's on {len(above)} of {len(peaks)} rows"
          f"{': ' + ', '.join(above) if above else ''} (bar 0: {said(not above)})")


def said(good):
    return "met" if good else "MISSED"


def thp_state():
    with open("/sys/kernel/mm/transparent_hugepage/enabled", encoding="ascii") as file:
        return f"transparent huge pages: {os.environ.get('ALLOCLAB_THP', 'asis')} (machine: {file.read().strip()})"


def race(arguments):
    alloclab, build = os.environ.get("ALLOCLAB", "./alloclab"), os.environ.get("BUILD", "build/release")
    found, rivals = libraries(alloclab, build, arguments.designs)
    wanted = arguments.rows.split(",")
    unknown = [row for row in wanted if row not in SMALL and not os.path.exists(f"traces/samples/{row}.trace")]
    if unknown:
        raise Failed(f"--rows: '{unknown[0]}' is none of {', '.join(SMALL)}, and no sample of traces/samples")
    print(f"seed {arguments.seed}, {arguments.blocks} blocks; {thp_state()}")
    for name, (path, options) in found.items():
        print(f"  {name:<10} {path}{' ' + options if options else ''}")
    small, traces = [r for r in wanted if r in SMALL], [r for r in wanted if r not in SMALL]
    result = small_rows(os.path.join(build, "rivals"), small, found, arguments.blocks, random.Random(arguments.seed))
    result.update(trace_rows(alloclab, traces, found, arguments.blocks, arguments.seed))
    progress("")
    table_print("ns per op, median over the blocks", result, lambda cell: statistics.median(cell[0]), ".2f")
    table_print("peak resident MiB", result, lambda cell: cell[1] / 1024, ".2f")
    for design in arguments.designs:
        verdict_print(design, result, rivals)


def blocks_main(bench, run, parser, blocks):
    """A bench of so many blocks in an order drawn by a seed, from its command line; what stops it is exit status 2."""
    parser.add_argument("--blocks", type=int, default=blocks)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100000)
    arguments = parser.parse_args()
    if arguments.blocks < 1:
        parser.error("--blocks: at least 1")
    try:
        run(arguments)
    except Failed as why:
        sys.stderr.write(f"{bench}: {why}\n")
        sys.exit(2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("designs", nargs="+", metavar="DESIGN")
    parser.add_argument("--rows", default=",".join(SMALL + TRACES))
    blocks_main("bench-rivals", race, parser, 10)


if __name__ == "__main__":
    main()
