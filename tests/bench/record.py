"""record.py - what recording costs: wall time of whole programs bare, recorded by us, and by the rivals, interleaved in one run.

usage: record.py [--blocks N] [--only NAME,..]; ALLOCLAB and BUILD say where the build is.

Every block runs each program under each recorder once, in a shuffled order; a ratio is the median over the blocks of the time
beside the bare program's time in the same block, with the lowest and the highest. Ours is the time of `alloclab record` from its
start to its end, but for the packing; "by itself" is the recorder preloaded without it, which has to write its rooms itself. With stacks the bar is a share of the time that
heaptrack --raw adds, which has stacks too; it is printed, and so is whether it is met. heaptrack's threads spin: under a real-time
priority (chrt) it may take minutes. Bytes are those of what the recorder left, by the number of calls. Packing is `alloclab trace pack` of the
capture, beside `zstd -1` of the same file, in turn, the quickest run of each. Both use two threads: where other programs take the
processors, neither time says anything.
"""
import argparse
import math
import os
import pathlib
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ALLOCLAB = pathlib.Path(os.environ["ALLOCLAB"]).resolve()
BUILD = pathlib.Path(os.environ["BUILD"]).resolve()
RECORDER = ALLOCLAB.resolve().parent / "liballoclab-record.so"
MEMUSAGE = "/usr/lib/x86_64-linux-gnu/libmemusage.so"
OURS, STACKS, HEAPTRACK = "alloclab", "sites: stacks", "heaptrack --raw"
EXCESS_BAR = 0.5  # of heaptrack's, with stacks
PROGRAMS = {  # name: command, standard input, the bar for the ratio without stacks
    "sqlite": (["sqlite3", ":memory:"], HERE / "record/orders.sql", 1.10),
    "perl": (["perl", HERE / "record/hashes.pl"], None, 1.15),
    "python": (["/usr/bin/python3", HERE / "record/objects.py"], None, 1.25),
    "handover": ([BUILD / "record_handover"], None, 1.35),
    "pairs": ([BUILD / "record_pairs"], None, None),
}
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0",
               "PERL_HASH_SEED": "0"}


def ticks():
    """Of the time stamp counter a second, as `alloclab record` would pass it."""
    with tempfile.TemporaryDirectory() as folder:
        out = subprocess.run([ALLOCLAB, "record", "-o", f"{folder}/t.trace", "--", "sh", "-c", "echo $ALLOCLAB_RECORD_TICKS"],
                             capture_output=True, text=True, check=True).stdout
    return out.strip()


def recorders(folder, rate):
    """name: (environment, command that goes before)"""
    def ours(*options):
        return {}, [ALLOCLAB, "record", "--pack=no", *options, "-o", folder / "t.trace", "--"]
    alone = {"LD_PRELOAD": str(RECORDER), "ALLOCLAB_RECORD_DIR": str(folder), "ALLOCLAB_RECORD_TICKS": rate}
    table = {"bare": ({}, []), OURS: ours(), "by itself": (alone, []), "each call timed": ours("--clock=each"),
             "sites: caller": ours("--sites=caller"), STACKS: ours("--sites=stack"),
             "libmemusage": ({"LD_PRELOAD": MEMUSAGE}, []),
             "16-byte shim": ({"LD_PRELOAD": str(BUILD / "record_shim.so"), "RECORD_SHIM": str(folder / "shim")}, [])}
    if shutil.which("heaptrack"):
        table[HEAPTRACK] = ({}, ["heaptrack", "--raw", "-o", folder / "heaptrack"])
    return table


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def one_run(program, recorder, folder):
    """(seconds, bytes left)"""
    command, source, _ = PROGRAMS[program]
    env, before = recorder
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with open(source or os.devnull, encoding="ascii") as stdin:
        start = time.monotonic()
        subprocess.run([*map(str, before), *map(str, command)], env={**ENVIRONMENT, **env}, stdin=stdin, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.monotonic() - start
    return seconds, sum(path.stat().st_size for path in files(folder))


def timed(command):
    """(seconds, and seconds of processors)"""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def packing(program, rate, blocks):
    """Prints sizes of capture and trace, and the time of packing beside zstd's."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = pathlib.Path(name)
        one_run(program, recorders(folder, rate)[OURS], folder)
        capture = next(path for path in files(folder) if path.suffix == ".capture")
        pack_to = [ALLOCLAB, "trace", "pack", capture, "-o"]
        times = [(timed([*pack_to, folder / "clock.trace"]),
                  timed(["zstd", "-1", "-q", "-f", capture, "-o", folder / "capture.zst"])) for _ in range(blocks)]
        (pack, pack_work), (zstd, zstd_work) = map(min, zip(*times))
        command, source, _ = PROGRAMS[program]
        with open(source or os.devnull, encoding="ascii") as stdin:
            subprocess.run([ALLOCLAB, "record", "--clock=no", "-o", folder / "bare.trace", "--", *command], check=True,
                           stdin=stdin, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ops = calls(folder / "clock.trace")
        def size(name):
            return f"{(folder / name).stat().st_size / ops:.2f}"
        print(f"  {ops / 1e6:.1f} M calls; bytes a call: capture {size(capture.relative_to(folder))}, by zstd -1 {size('capture.zst')}, trace "
              f"{size('clock.trace')} (bar 2.0), without clock {size('bare.trace')} (bar 1.0)")
        print(f"  packing {pack:.2f} s ({pack_work:.2f} s of processors), zstd -1 {zstd:.2f} s ({zstd_work:.2f} s): "
              f"{pack / zstd:.1f} times (bar 4)")


def calls(trace):
    info = subprocess.run([ALLOCLAB, "trace", "info", trace], check=True, capture_output=True, text=True).stdout
    return int(next(line.split()[1] for line in info.splitlines() if line.startswith("ops")))


def race(program, blocks, rng, rate):
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = pathlib.Path(name)
        table = recorders(folder, rate)
        if program != "pairs":
            del table["16-byte shim"]
        seconds, left = {r: [] for r in table}, {}
        for _ in range(blocks):
            for r in rng.sample(list(table), len(table)):
                took, left[r] = one_run(program, table[r], folder)
                seconds[r].append(took)
    bar = PROGRAMS[program][2]
    for r in table:
        ratios = [took / bare for took, bare in zip(seconds[r], seconds["bare"])]
        print(f"  {r:16} {statistics.median(seconds[r]):6.2f} s  {statistics.median(ratios):5.2f} "
              f"({min(ratios):.2f} to {max(ratios):.2f}){f'  bar {bar:.2f}' if bar and r == OURS else ''}"
              f"{f'  {left[r] / 1e6:.0f} MB' if left[r] else ''}", flush=True)
    if bar and HEAPTRACK in table:
        excess_verdict(seconds)


def excess_verdict(seconds):
    """How much of what heaptrack adds to the bare program recording with stacks adds."""
    blocks = zip(seconds[STACKS], seconds[HEAPTRACK], seconds["bare"])
    shares = [(ours - bare) / (theirs - bare) if theirs > bare else math.inf for ours, theirs, bare in blocks]
    share = statistics.median(shares)
    print(f"  stacks add {share:.2f} ({min(shares):.2f} to {max(shares):.2f}) of what heaptrack --raw adds; bar {EXCESS_BAR:.2f}: "
          f"{'met' if share <= EXCESS_BAR else 'missed'}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--only", default=",".join(PROGRAMS))
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := [n for n in names if n not in PROGRAMS]:
        print(f"record.py: no program {unknown[0]}: use {', '.join(PROGRAMS)}", file=sys.stderr)
        return 2
    seed = random.randrange(2**32)
    rng, rate = random.Random(seed), ticks()
    print(f"{options.blocks} blocks, seed {seed}; seconds, and times the bare program's: median (lowest to highest)")
    for name in names:
        print(name)
        race(name, options.blocks, rng, rate)
        packing(name, rate, min(options.blocks, 3))
    return 0


if __name__ == "__main__":
    sys.exit(main())
