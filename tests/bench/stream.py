"""stream.py - `make bench-stream`: streamed replay beside the plan in memory, and a trace larger than memory.

    stream.py [--blocks 11] [--seed N] [--ops 1000000000] [--part both|agreement|huge]

Agreement: each recording in traces/samples and a generated trace, on libc, segfit and null, every free executed: the same
throughput cell with the plan in memory and streamed, next to each other, which first drawn by the printed seed. The more passes,
the better the processor knows the trace (7.9 ns/op after 4 passes, 7.0 after 120, seen on redis), and a streamed cell has fewer of
them in its time: so the cell in memory is given the time of as many, measured once by a streamed cell. From each
block comes the ratio streamed/in memory; over the blocks its Hodges-Lehmann estimate with its 95 % interval, and the spread. The
bar, said and not asserted: the estimate lies within 5 % of 1.

Huge: a generated trace of --ops ops (out/stream/, made once) is replayed on null, libc and segfit. Meanwhile the most memory that each
process had resident is looked at: the session, the decoder with the ring, and the cell on null, which has next to no heap, so
that all of it is the harness's. Their sum is said beside the bar of 512 MiB.
"""
import argparse
import csv
import os
import random
import subprocess
import tempfile
import time

from agreement import alloclab, centre_of, command_run, interval
from rivals import Failed, blocks_main, progress, said

DESIGNS = ["libc", "segfit", "null"]
SAMPLES = ["gcc", "perl", "redis", "requests", "sqlite"]
MADE = "random:ops=5m,live=100k"
BAR_AGREE, BAR_BYTES = 0.05, 512 << 20
FOLDER = "out/stream"


def rows_of(folder):
    with open(os.path.join(folder, "results.csv"), newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# ---- agreement ----

def cell_run(trace, design, replay, least_ms=500):
    """The row of the design."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        command_run([alloclab(), "run", "-a", design, "-w", trace, "-r", "1", "--passes", "throughput", "--release", "free", "--replay",
                     replay, "--min-ms", str(least_ms), "-o", out])
        return next(r for r in rows_of(out) if r["allocator"] == design)


def passes_ms(row):
    """The time of all of a cell's steady passes."""
    return max(1, round(int(row["passes_count"]) * float(row["ns_per_op"]) * int(row["ops"]) / 1e6))


def agreement(arguments):
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        made = os.path.join(folder, "made.trace")
        command_run([alloclab(), "gen", MADE, "--seed", "1", "-o", made])
        traces = {name: f"traces/samples/{name}.trace" for name in SAMPLES} | {MADE: made}
        cells = {(trace, design): {"serial": [], "stream": []} for trace in traces for design in DESIGNS}
        least_ms = {(trace, design): passes_ms(cell_run(traces[trace], design, "stream")) for trace, design in cells}
        for block in range(arguments.blocks):
            for trace, design in rng.sample(list(cells), len(cells)):
                for replay in rng.sample(["serial", "stream"], 2):
                    row = cell_run(traces[trace], design, replay, 500 if replay == "stream" else least_ms[trace, design])
                    cells[trace, design][replay].append(float(row["ns_per_op"]))
                progress(f"block {block + 1} of {arguments.blocks}: {trace}, {design}")
        progress("")
    print(f"{'trace':<26} {'design':<8} {'ns/op in memory':>16} {'streamed':>9}   {'ratio':<24} {'spread':<14} within {BAR_AGREE:.0%}")
    missed = 0
    for (trace, design), ways in cells.items():
        ratios = [b / a for a, b in zip(ways["serial"], ways["stream"])]
        estimate = centre_of(ratios)
        agrees = abs(estimate[0] - 1) <= BAR_AGREE
        missed += not agrees
        ns = [sorted(w)[len(w) // 2] for w in ways.values()]
        print(f"{trace:<26} {design:<8} {ns[0]:16.2f} {ns[1]:9.2f}   {interval(estimate):<24} {min(ratios):.3f}..{max(ratios):.3f}   {said(agrees)}")
    print(f"bar: {'met' if not missed else f'MISSED on {missed} rows'}\n")


# ---- a trace larger than memory ----

def peak_of(pid):
    """(role, most bytes resident): the role is the subcommand's; None if the process is gone or has not been started by exec."""
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
            words = file.read().split("\0")
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            lines = dict(line.split(":", 1) for line in file)
        return words[1], int(lines["VmHWM"].split()[0]) << 10
    except (OSError, KeyError, IndexError):
        return None


def children_of(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
            return file.read().split()
    except OSError:
        return []


def watched_run(words):
    """Runs alloclab; the most bytes that each role had resident, the cell's of the first cell alone."""
    peaks, first = {}, None
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as session:
        while session.poll() is None:
            for pid in [session.pid, *children_of(session.pid)]:
                found = peak_of(pid)
                if found and found[0] == "cell":
                    first = first or pid
                if found and (found[0] != "cell" or pid == first):
                    peaks[found[0]] = max(peaks.get(found[0], 0), found[1])
            time.sleep(0.1)
        if session.returncode:
            raise Failed(f"{' '.join(words)}: {session.stderr.read().strip()}")
    return peaks


def mib(count):
    return f"{count / (1 << 20):.1f} MiB"


def huge(arguments):
    os.makedirs(FOLDER, exist_ok=True)
    trace = os.path.join(FOLDER, f"random-{arguments.ops}.trace")
    if not os.path.exists(trace):
        start = time.monotonic()
        peaks = watched_run([alloclab(), "gen", f"random:ops={arguments.ops},live=20k", "--seed", "1", "-o", trace])
        took = time.monotonic() - start
        print(f"generated {trace}: {took:.0f} s, {took / arguments.ops * 1e9:.1f} ns/op, {mib(max(peaks.values(), default=0))} resident")
    print(f"{trace}: {mib(os.path.getsize(trace))}; its plan would take {mib(8 * arguments.ops)}")
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        out = os.path.join(folder, "out")
        start = time.monotonic()
        peaks = watched_run([alloclab(), "run", "-a", ",".join(DESIGNS), "-w", trace, "-r", "1", "--passes", "throughput", "--replay",
                             "stream", "--limit-seconds", "3600", "-o", out])
        print(f"replayed in {time.monotonic() - start:.0f} s, reading it through first included\n")
        print(f"{'design':<8} {'ops':>11} {'passes':>7} {'ns/op':>8} {'cold':>8} {'waited, ns/op':>14}")
        for row in rows_of(out):
            print(f"{row['allocator']:<8} {row['ops']:>11} {1 + int(row['passes_count']):>7} {float(row['ns_per_op']):8.2f} "
                  f"{float(row['cold_ns_per_op']):8.2f} {float(row['decode_wait_ns']) / int(row['ops']):14.2f}")
    total = sum(peaks.values())
    print("\nharness memory, most resident: " + ", ".join(f"{role} {mib(count)}" for role, count in sorted(peaks.items())) +
          f"; together {mib(total)}, bar {mib(BAR_BYTES)}: {'met' if total <= BAR_BYTES else 'MISSED'}")


def bench(arguments):
    print(f"seed {arguments.seed}, {arguments.blocks} blocks")
    if arguments.part != "huge":
        agreement(arguments)
    if arguments.part != "agreement":
        huge(arguments)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ops", type=int, default=1000000000)
    parser.add_argument("--part", choices=["both", "agreement", "huge"], default="both")
    blocks_main("bench-stream", bench, parser, 11)


if __name__ == "__main__":
    main()
