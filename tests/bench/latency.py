"""latency.py - `make bench-latency`: holds the designs that promise a bounded worst case to it.

    latency.py [--blocks 3] [--seed N]

Runs the latency pass of every design that promises "bounded worst case of alloc and free", with its pool committed in
one step where it can be told to (commit=1g), and of freelist, which searches a list and promises nothing, on random,
adversarial and recorded plans. Prints the replay-minimum: over 25 replays from the same state, in pages that are there,
the least time of each alloc and free; of these the median and the maximum, medians over the blocks. The bar is a maximum of at most
20 times the median, as measured and, more strictly, with the floor's median (null's: reading the clock) taken off both.
Exit status 0 if all was measured, whatever the bar says.
"""
import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile

ALLOCLAB = os.environ.get("ALLOCLAB", "./alloclab")
BAR = 20
RIVAL = "freelist:bins=no,commit=1g"
PLANS = ["random:ops=100k,live=5k", "comb:pages=256,rounds=4", "phasechange:allocs=5k,live=1500", "traces/samples/redis.trace",
         "traces/samples/sqlite.trace"]


def output(*arguments):
    return subprocess.run([ALLOCLAB, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def bounded():
    names = [line.split()[0] for line in output("list", "allocators").splitlines()]
    described = {name: output("describe", name) for name in names}
    return [name + (":commit=1g" if "\n  commit " in text else "") for name, text in described.items()
            if "bounded worst case" in text.split("\nManual\n")[0]]


def rows_of(folder):
    with open(os.path.join(folder, "results.csv"), newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def medians(rows, workload, allocator):
    """Median and maximum of the replay-minimum, or None if it is missing in a block."""
    cells = [r for r in rows if r["workload"] == workload and r["allocator"] == allocator]
    if not cells or not all(r["replay_min_max_ns"] for r in cells):
        return None
    return [statistics.median(float(r[c]) for r in cells) for c in ("replay_min_p50_ns", "replay_min_max_ns")]


def table_print(rows):
    missing = False
    print(f"{'workload':36} {'allocator':10} {'median ns':>10} {'max ns':>10} {'max/median':>11} {'less floor':>11}")
    for workload in dict.fromkeys(r["workload"] for r in rows):
        floor = medians(rows, workload, "null")
        for allocator in sorted({r["allocator"] for r in rows} - {"null"}):
            found = medians(rows, workload, allocator)
            if not found or not floor:
                print(f"{workload:36} {allocator:10} not measured")
                missing = True
                continue
            ratio, net = found[1] / found[0], (found[1] - floor[0]) / max(found[0] - floor[0], 1)
            says = "" if allocator == "freelist" else "  meets the bar" if ratio <= BAR else f"  MISSES the bar of {BAR}"
            print(f"{workload:36} {allocator:10} {found[0]:10.1f} {found[1]:10.1f} {ratio:11.1f} {net:11.1f}{says}")
    return 1 if missing else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        done = subprocess.run([ALLOCLAB, "run", "-a", ",".join(bounded() + [RIVAL]), "-w", ",".join(PLANS), "--passes",
                               "latency", "-r", str(arguments.blocks), "--seed", str(arguments.seed), "-o", out],
                              stdout=subprocess.DEVNULL, check=False)
        if done.returncode == 2:
            return 2
        return max(table_print(rows_of(out)), done.returncode)


if __name__ == "__main__":
    sys.exit(main())
