"""parallel.py - `make bench-parallel`: what threads wait for each other in a parallel replay, and how it scales.

    parallel.py [--blocks 3] [--seed N] [DESIGN ..]

For every design that threads may share (or those named): one producer and one consumer on a queue of 1000, the bar's case,
and recorded servers (redis; requests has one thread and is replayed in copies). Prints, as medians over the blocks:

    wait      time that the working threads waited, of their time (wall time times their number)
    most      the same of the thread that waited most
    uneven    how much of that share is due to unequal work: if the busiest thread never waits, the others must wait for it
    stretch   by how much waiting made the pass longer than the busiest thread's own work

The bar is on `wait` of producer and consumer: below 10 %. What a design misses by `uneven` is the design's (its frees take
longer than its allocs, or the reverse), what it misses by `stretch` is the replay's or the machine's. A thread that took less
than 1 % of the wall time (main, which starts the others) is not counted: it would make the shares look better. Threads are bound to
CPUs. Exit status 0 if all was measured, whatever the bar says.
"""
import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile

ALLOCLAB = os.environ.get("ALLOCLAB", "./alloclab")
BAR = 0.10
PAIR = "prodcons:producers=1,consumers=1,queue=1000"
SERVERS = ["traces/samples/redis.trace", "traces/samples/requests.trace"]
WORKING = 0.01  # of the wall time


def output(*arguments):
    return subprocess.run([ALLOCLAB, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def shared_designs():
    """Those that a parallel replay applies to, asked of the oracle on a trace of two ops."""
    said = output("check", "--replay", "parallel", "-w", "prodcons:ops=100,producers=1,consumers=1")
    return sorted(line.split()[1] for line in said.splitlines() if line.startswith("ok "))


class Shares:
    """What the lanes of one cell did, of the wall time: busy and waiting."""

    def __init__(self, lanes, wall):
        working = [(busy / wall, wait / wall) for busy, wait in lanes if busy + wait >= WORKING * wall]
        self.threads = len(working)
        self.wait = sum(w for _, w in working) / self.threads
        self.most = max(w for _, w in working)
        busiest = max(b for b, _ in working)
        self.stretch = max(1 - busiest, 0)
        self.uneven = sum(busiest - b for b, _ in working) / self.threads


def read(folder, name):
    with open(os.path.join(folder, name), newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def cells(folder):
    """(workload, allocator, copies) -> [(results row, Shares)], by block."""
    lanes, found = {}, {}
    for t in read(folder, "threads.csv"):
        key = t["workload"], t["allocator"], t["copies"], t["block"]
        lanes.setdefault(key, []).append((int(t["busy_ns"]), int(t["wait_ns"])))
    for row in read(folder, "results.csv"):
        key = row["workload"], row["allocator"], row["copies"], row["block"]
        if row["status"] == "ok" and key in lanes:
            wall = max(busy + wait for busy, wait in lanes[key])  # mean pass: its end is that of the last thread
            found.setdefault(key[:3], []).append((row, Shares(lanes[key], max(wall, 1))))
    return found


def medians(group):
    return {name: statistics.median(getattr(s, name) for _, s in group)
            for name in ("threads", "wait", "most", "uneven", "stretch")}


def run(folder, designs, workloads, arguments, *more):
    out = os.path.join(folder, f"out{len(os.listdir(folder))}")
    done = subprocess.run([ALLOCLAB, "run", "-a", ",".join(designs), "-w", ",".join(workloads), "--replay", "parallel",
                           "--passes", "throughput", "--affinity", "spread", "-r", str(arguments.blocks), "--seed",
                           str(arguments.seed), "-o", out, *more], stdout=subprocess.DEVNULL, check=False)
    if done.returncode == 2:
        sys.exit(2)
    return cells(out), done.returncode


def waits_print(found, bar):
    print(f"{'workload':44} {'design':10} {'ns/op':>7} {'threads':>7} {'wait':>7} {'most':>7} {'uneven':>7} {'stretch':>8}")
    for (workload, allocator, copies), group in sorted(found.items()):
        if copies != "1":
            continue
        m = medians(group)
        ns = statistics.median(float(row["ns_per_op"]) for row, _ in group)
        met = "" if not bar else f"  meets the bar of {BAR:.0%}" if m["wait"] < BAR else f"  MISSES the bar of {BAR:.0%}"
        print(f"{workload:44} {allocator:10} {ns:7.1f} {m['threads']:7.0f} {m['wait']:7.1%} {m['most']:7.1%} "
              f"{m['uneven']:7.1%} {m['stretch']:8.1%}{met}")


def scaling_print(found):
    print(f"{'workload':44} {'design':10} {'copies':>6} {'Mops/s':>8} {'efficiency':>11} {'wait':>7}")
    for (workload, allocator, copies), group in sorted(found.items(), key=lambda item: (item[0][:2], int(item[0][2]))):
        rate = statistics.median(float(row["mops_per_s"]) for row, _ in group)
        efficiency = statistics.median(float(row["scaling_efficiency_ratio"]) for row, _ in group)
        print(f"{workload:44} {allocator:10} {copies:>6} {rate:8.1f} {efficiency:11.2f} {medians(group)['wait']:7.1%}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("designs", nargs="*")
    arguments = parser.parse_args()
    designs = arguments.designs or shared_designs()
    with tempfile.TemporaryDirectory() as folder:
        found, failed = run(folder, designs, [PAIR], arguments)
        print(f"one producer, one consumer; {os.cpu_count()} CPUs; medians of {arguments.blocks} blocks")
        waits_print(found, True)
        print("\nrecorded servers, as they ran, and their copies side by side")
        servers, more = run(folder, designs, SERVERS, arguments, "--copies", "1,2")
        waits_print({key: group for key, group in servers.items() if any(s.threads > 1 for _, s in group)}, False)
        print()
        scaling_print(servers)
    return max(failed, more, 0 if {key[1] for key in found} == set(designs) else 1)


if __name__ == "__main__":
    sys.exit(main())
