"""null.py - `make bench-null`: do the statistics say "slower" when, and only when, something is slower?

    null.py [--quick] [--seed N]

ALLOCLAB is a build with one design more, `slowed`, which does what the design below it does and some steps more in each
alloc (tests/bench/slowed.c). Cells are short (100 ms), so that the machine's noise is as large as it comes.

1. No difference. 40 runs of one cell. 200 comparisons are resampled from them, as a session makes them: 10 of the 20 pairs
   of neighbours, which of a pair is A tossed, signed ranks; and as two sessions do: 10 against 10 others, rank sums. Each test
   rejects at its exact level or less; bar: the number of rejections lies in the central 99 % of the binomial distribution.
   No bar, but said: stretches of runs one after the other (the machine drifts), and what `alloclab compare` makes of it.
2. 20 sessions of three contenders: one design twice, and once with steps that make it 10 % slower, calibrated in this
   run. Bar: at least 18 of 20 are found slower by the session's own verdict (comparisons.csv). Beside it how often the
   twin was called different, and in how many `alloclab compare` finds the slowdown in two folders.
3. 20 workloads under callgrind, with steps that add 1 % of instructions: `alloclab compare` must find it in all 20, and
   nothing in the same folder twice.

Exit status 0 if all was measured, whatever the bars say.
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
from collections import Counter

import scipy.stats

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
sys.dont_write_bytecode = True
import stats_library  # noqa: E402

ALLOCLAB = os.environ.get("ALLOCLAB", "./alloclab")
INNER, WORKLOAD, CELL_MS = "tlsf", "random:ops=50k,live=2k", "100"
RUNS, COMPARISONS, BLOCKS, EXPERIMENTS = 40, 200, 10, 20
ALPHA, SLOWER, MORE = 0.05, 0.10, 0.01
CALIBRATION_STEPS = 20000  # of the run that tells what a step costs
CALIBRATIONS, CALIBRATED = 5, 0.003


class Failed(Exception):
    """What stops the bench."""


def spec(steps=0, tag=""):
    return f"slowed:steps={steps}" + (f",tag={tag}" if tag else "") + f"/{INNER}"


def session(folder, name, specs, *more):
    """Runs it; the folder of its results."""
    out = os.path.join(folder, name)
    done = subprocess.run([ALLOCLAB, "run", "-a", ",".join(specs), "--base", specs[0], "-o", out, *more],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"alloclab run: exit status {done.returncode}: {done.stderr.strip()[-500:]}")
    return out


def rows_of(out, name="results.csv"):
    with open(os.path.join(out, name), newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def values_of(rows, text, column="ns_per_op"):
    """The values of the contender with these options, by block."""
    mine = sorted((r for r in rows if r["allocator"].startswith("slowed/") and r["options"].startswith(text) and r[column]),
                  key=lambda r: int(r["block"]))
    return [float(r[column]) for r in mine]


def options_of(steps, tag=""):
    return f"steps={steps},tag={tag}/"


def compare(folder, base, new, *more):
    """Exit status and report of `alloclab compare` on two lists of rows."""
    for name, rows in (("base", base), ("new", new)):
        os.makedirs(os.path.join(folder, name), exist_ok=True)
        with open(os.path.join(folder, name, "results.csv"), "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    done = subprocess.run([ALLOCLAB, "compare", os.path.join(folder, "base"), os.path.join(folder, "new"), *more],
                          capture_output=True, text=True, check=False)
    if done.returncode == 2:
        raise Failed(done.stderr.strip())
    return done.returncode, done.stdout


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


# ---- levels ----------------------------------------------------------------------------------------


def level_of(sums):
    """The greatest level up to ALPHA that a two-sided test with this distribution (sum: ways) has."""
    total, below, level = sum(sums.values()), 0, 0.0
    for value in sorted(sums):
        below += sums[value]
        if 2 * below / total > ALPHA:
            return level
        level = 2 * below / total
    return level


def signed_rank_level(count):
    sums = Counter({0: 1})
    for rank in range(1, count + 1):
        sums = sums + Counter({s + rank: ways for s, ways in sums.items()})
    return level_of(sums)


def rank_sum_level(few, many):
    sums = Counter({(0, 0): 1})
    for rank in range(1, few + many + 1):
        sums = sums + Counter({(n + 1, s + rank): ways for (n, s), ways in sums.items() if n < few})
    return level_of(Counter({s: ways for (n, s), ways in sums.items() if n == few}))


def verdict(met):
    return "met" if met else "MISSED"


def rate_print(what, rejected, level):
    low, high = (int(v) for v in scipy.stats.binom.interval(0.99, COMPARISONS, level))
    print(f"  {what}: {rejected} of {COMPARISONS} rejected; exact level {100 * level:.2f} %, so {low} to {high} in 99 %: "
          f"{verdict(low <= rejected <= high)}")


# ---- 1: no difference ------------------------------------------------------------------------------


def resample(library, logs, rng):
    """Rejections of the signed ranks and of the rank sums, and the samples of the latter."""
    signed = unpaired = 0
    samples = []
    for _ in range(COMPARISONS):
        pairs = rng.sample(range(len(logs) // 2), BLOCKS)
        differences = [(logs[2 * p] - logs[2 * p + 1]) * rng.choice((1, -1)) for p in pairs]
        signed += stats_library.call(library.stats_signed_rank, differences).p <= ALPHA
        chosen = rng.sample(range(len(logs)), 2 * BLOCKS)
        samples.append((chosen[:BLOCKS], chosen[BLOCKS:]))
        a, b = ([logs[i] for i in part] for part in samples[-1])
        unpaired += stats_library.call(library.stats_rank_sum, a, b).p <= ALPHA
    return signed, unpaired, samples


def no_difference(folder, library, seed, rng):
    print(f"1. no difference: {RUNS} runs of {spec()} on {WORKLOAD}, {CELL_MS} ms each")
    out = session(folder, "same", [spec()], "-w", WORKLOAD, "--passes", "throughput", "--min-ms", CELL_MS, "-r", str(RUNS),
                  "--seed", str(seed))
    rows = [r for r in rows_of(out) if r["allocator"].startswith("slowed/")]
    logs = [math.log(v) for v in values_of(rows, options_of(0))]
    signed, unpaired, samples = resample(library, logs, rng)
    print(f"  median {math.exp(statistics.median(logs)):.2f} ns/op, spread of single runs "
          f"{100 * stats_library.call(library.stats_spread, logs):.1f} %")
    rate_print("within blocks (signed ranks)", signed, signed_rank_level(BLOCKS))
    rate_print("two sessions (rank sums)", unpaired, rank_sum_level(BLOCKS, BLOCKS))
    relabelled = [[{**rows[i], "workload": f"w{k}", "block": n} for k, pair in enumerate(samples)
                   for n, i in enumerate(pair[side])] for side in (0, 1)]
    print(f"  alloclab compare of these {COMPARISONS}: {compare(folder, *relabelled)[1].splitlines()[-1]}")
    starts = range(0, RUNS - 2 * BLOCKS + 1)
    drifted = sum(stats_library.call(library.stats_rank_sum, logs[s:s + BLOCKS], logs[s + BLOCKS:s + 2 * BLOCKS]).p <= ALPHA
                  for s in starts)
    print(f"  stretches of {BLOCKS} runs against the next {BLOCKS}, overlapping: {drifted} of {len(starts)} rejected (drift; "
          "no bar)")


# ---- 2: more time ----------------------------------------------------------------------------------


def slowdown(folder, name, steps, blocks, seed):
    """The ratio to the same design without steps, by blocks."""
    out = session(folder, name, [spec(), spec(steps, "s")], "-w", WORKLOAD, "--passes", "throughput", "--min-ms", CELL_MS,
                  "-r", str(blocks), "--seed", str(seed))
    return next(float(r["ratio"]) for r in rows_of(out, "comparisons.csv")
                if r["metric"] == "ns_per_op" and r["verdict"] != "floor")


def calibrate(folder, seed):
    """The steps that make the design SLOWER. What a step costs is told by many; the processor hides some of few, so the
    number is corrected by what it is measured to do."""
    cost = (slowdown(folder, "calibrate", CALIBRATION_STEPS, BLOCKS, seed) - 1) / CALIBRATION_STEPS
    if cost <= 0:
        raise Failed(f"{CALIBRATION_STEPS / 1024:.1f} steps an alloc are no slower than none: the machine is too noisy")
    steps, tried = SLOWER / cost, []
    for i in range(CALIBRATIONS):
        ratio = slowdown(folder, f"calibrate{i}", round(steps), 2 * BLOCKS, seed + i)
        tried.append((abs(ratio - 1 - SLOWER), round(steps)))
        if tried[-1][0] < CALIBRATED:
            break
        steps = max(steps + (1 + SLOWER - ratio) / cost, 1)
    return min(tried)[1]


def more_time(folder, seed, experiments):
    steps = calibrate(folder, seed)
    print(f"2. {100 * SLOWER:.0f} % more time: {steps / 1024:.2f} steps an alloc; {experiments} sessions of {BLOCKS} blocks")
    ratios, found, twins, by_compare = [], 0, 0, 0
    for i in range(experiments):
        progress(f"session {i + 1} of {experiments}")
        out = session(folder, f"time{i}", [spec(), spec(0, "twin"), spec(steps, "slow")], "-w", WORKLOAD, "--passes",
                      "throughput", "--min-ms", CELL_MS, "-r", str(BLOCKS), "--seed", str(seed + i))
        said = {r["options"]: r for r in rows_of(out, "comparisons.csv") if r["metric"] == "ns_per_op"}
        slow = next(r for o, r in said.items() if o.startswith(options_of(steps, "slow")))
        twin = next(r for o, r in said.items() if o.startswith(options_of(0, "twin")))
        ratios.append(float(slow["ratio"]))
        found += slow["verdict"] == "slower"
        twins += twin["verdict"] != "undecided"
        rows = rows_of(out)
        base = [r for r in rows if r["options"].startswith(options_of(0))]
        new = [{**r, "options": base[0]["options"]} for r in rows if r["options"].startswith(options_of(steps, "slow"))]
        by_compare += compare(folder, base, new)[0] == 1
    progress("")
    need = math.ceil(0.9 * experiments)
    print(f"  ratio as measured: {min(ratios):.3f} to {max(ratios):.3f}, median {statistics.median(ratios):.3f}")
    print(f"  found slower in {found} of {experiments} (bar: {need}): {verdict(found >= need)}")
    low, high = (int(v) for v in scipy.stats.binom.interval(0.99, experiments, signed_rank_level(BLOCKS)))
    print(f"  the twin called different in {twins} of {experiments} (chance: {low} to {high})")
    print(f"  alloclab compare of the two as folders: regressed in {by_compare} of {experiments} (no bar: the change must also "
          "exceed three spreads)")


# ---- 3: more instructions --------------------------------------------------------------------------


def counts(folder, name, steps, seed):
    """Rows of the locality pass without and with steps, the latter under the name of the former."""
    out = session(folder, name, [spec(), spec(steps, "more")], "-w", "random:ops=10k,live=1k", "--passes", "locality",
                  "--seed", str(seed))
    rows = [r for r in rows_of(out) if r["allocator"].startswith("slowed/")]
    base = [r for r in rows if r["options"].startswith(options_of(0))]
    new = [{**r, "options": base[0]["options"]} for r in rows if r["options"].startswith(options_of(steps, "more"))]
    return base, new


def instructions(rows):
    return float(rows[0]["locality_instructions_per_op"])


def more_instructions(folder, seed, experiments):
    base, new = counts(folder, "count", 1024, seed)
    steps = round(1024 * MORE * instructions(base) / (instructions(new) - instructions(base)))
    print(f"3. {100 * MORE:.0f} % more instructions: {steps / 1024:.3f} steps an alloc on {instructions(base):.2f} instructions an "
          f"op; {experiments} workloads")
    added, found, same = [], 0, 0
    for i in range(experiments):
        progress(f"workload {i + 1} of {experiments}")
        base, new = counts(folder, f"count{i}", steps, seed + i)
        added.append(100 * (instructions(new) / instructions(base) - 1))
        status, report = compare(folder, base, new)
        found += status == 1 and "locality_instructions_per_op" in report
        same += compare(folder, base, base)[0] == 0
    progress("")
    print(f"  added as counted: {min(added):.2f} % to {max(added):.2f} %")
    print(f"  found by alloclab compare in {found} of {experiments} (bar: all): {verdict(found == experiments)}")
    print(f"  a folder beside itself: not worse in {same} of {experiments}: {verdict(same == experiments)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="5 experiments in place of 20")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    experiments = 5 if arguments.quick else EXPERIMENTS
    start, rng = time.monotonic(), random.Random(arguments.seed)
    print(f"seed {arguments.seed}")
    try:
        with tempfile.TemporaryDirectory() as folder:
            library = stats_library.load(folder)
            no_difference(folder, library, arguments.seed, rng)
            more_time(folder, arguments.seed, experiments)
            more_instructions(folder, arguments.seed, experiments)
    except Failed as why:
        print(f"bench-null: {why}", file=sys.stderr)
        return 1
    print(f"{time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
