"""latency.py - `make bench-latency`: holds the designs that promise a bounded worst case to it.

    latency.py [--blocks 3] [--seed N] [--replays 300]

Runs the latency pass of every design that promises "bounded worst case of alloc and free", with its pool committed in
one step where it can be told to (commit=256m), and of freelist, which searches a list and promises nothing, on random,
adversarial and recorded plans. Prints the replay-minimum: the plan is replayed from the same state, in pages that are there
(huge ones if the kernel gives them), until as many replays again, and 50 at least, did not lower the maximum, --replays times at most; caches are as the
plan itself leaves them. Of the least times of each alloc and free the median and the maximum, medians over the blocks;
the number of replays; and the slowest op: what it is, and whether it called the door or faulted a page in. The bar is a maximum of at most
20 times the median, as measured; beside it the same with the floor's median (null's: reading the clock and the call) taken off both,
which has no bar. Exit status 0 if all was measured, whatever the bar says.
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
RIVAL = "freelist:bins=no,commit=256m"
PLANS = ["random:ops=100k,live=5k", "comb:pages=256,rounds=4", "phasechange:allocs=5k,live=1500", "traces/samples/redis.trace",
         "traces/samples/sqlite.trace"]


def output(*arguments):
    return subprocess.run([ALLOCLAB, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def bounded():
    names = [line.split()[0] for line in output("list", "allocators").splitlines()]
    described = {name: output("describe", name) for name in names}
    return [name + (":commit=256m" if "\n  commit " in text else "") for name, text in described.items()
            if "bounded worst case" in text.split("\nManual\n")[0]]


def rows_of(folder, name):
    with open(os.path.join(folder, name), newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def medians(rows, workload, allocator):
    """Median and maximum of the replay-minimum, or None if it is missing in a block."""
    cells = [r for r in rows if r["workload"] == workload and r["allocator"] == allocator]
    if not cells or not all(r["replay_min_max_ns"] for r in cells):
        return None
    return [statistics.median(float(r[c]) for r in cells) for c in ("replay_min_p50_ns", "replay_min_max_ns", "replay_min_runs_count")]


def slowest(tails, workload, allocator):
    """The op with the greatest least time, in any block."""
    mine = [t for t in tails if t["workload"] == workload and t["allocator"] == allocator and t["slowest_in"] == "replay_min"]
    if not mine:
        return ""
    op = max(mine, key=lambda t: float(t["replay_min_ns"]))
    return f"{op['op']} of {op['size_bytes']} bytes, op {op['op_index']}: {op['cause']}"


def table_print(rows, tails):
    missing = False
    print(f"{'workload':30} {'allocator':9} {'median ns':>9} {'max ns':>8} {'max/median':>10} {'less floor':>10} {'replays':>7}  verdict; slowest op")
    for workload in dict.fromkeys(r["workload"] for r in rows):
        floor = medians(rows, workload, "null")
        for allocator in sorted({r["allocator"] for r in rows} - {"null"}):
            found = medians(rows, workload, allocator)
            if not found or not floor:
                print(f"{workload:36} {allocator:10} not measured")
                missing = True
                continue
            ratio, net = found[1] / found[0], (found[1] - floor[0]) / max(found[0] - floor[0], 1)
            says = "meets" if ratio <= BAR else f"above {BAR}"
            print(f"{workload:30} {allocator:9} {found[0]:9.1f} {found[1]:8.1f} {ratio:10.1f} {net:10.1f} {found[2]:7.0f}  "
                  f"{says}; {slowest(tails, workload, allocator)}")
    return 1 if missing else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replays", type=int, default=300)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        done = subprocess.run([ALLOCLAB, "run", "-a", ",".join(bounded() + [RIVAL]), "-w", ",".join(PLANS), "--passes",
                               "latency", "-r", str(arguments.blocks), "--latency-replays", str(arguments.replays), "--seed", str(arguments.seed), "-o", out],
                              stdout=subprocess.DEVNULL, check=False)
        if done.returncode == 2:
            return 2
        return max(table_print(rows_of(out, "results.csv"), rows_of(out, "latency_tail.csv")), done.returncode)


if __name__ == "__main__":
    sys.exit(main())
