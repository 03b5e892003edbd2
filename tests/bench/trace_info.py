"""trace_info.py - `make bench-trace-info`: `alloclab trace info` of a generated trace beside `zstd -d` of the same bytes.

    trace_info.py [--blocks 5] [--seed N] [--ops 50000000] [--live 20k] [TRACE..]

The trace (out/trace-info/, made once) is random:ops=..,live=..; or those that are given, so that any trace can be held to the bars.
What zstd decompresses are the frames of a trace's columns, one after another in a file, which is all that a reader of it has to
decompress. Each block runs both, in an order drawn by the
printed seed; said are the medians of their wall and CPU times, the ratio within blocks, and the most memory that `trace info` had
resident. Bars, said and not asserted: 6 times the wall time of zstd; 256 MiB and 160 bytes for each object live at the peak.
"""
import argparse
import os
import random
import statistics
import struct
import subprocess
import sys
import time

from agreement import alloclab, command_run
from rivals import Failed, progress, said

FOLDER = "out/trace-info"
BAR_TIMES, BAR_BYTES, BAR_OBJECT = 6, 256 << 20, 160
BLOCK, ENTRY = struct.Struct("<Q4sIQQ"), struct.Struct("<HHII")


def frames(codec, data, size):
    """The frames of a column, and how many bytes each holds: docs/traces.md, section 2."""
    if codec == 1:
        return [(data, size)]
    if codec != 2:
        return []
    values, first = struct.unpack_from("<II", data)
    parts = [(data[8:8 + first], values), (data[8 + first:], size - values)]
    return [(part, raw) for part, raw in parts if len(part) != raw]


def frames_write(trace, path):
    """The frames of all columns of blocks of ops, a file that zstd reads; and their bytes decompressed."""
    total = 0
    with open(trace, "rb") as file, open(path + ".part", "wb") as out:
        file.seek(-24, os.SEEK_END)
        end = struct.unpack("<Q", file.read(8))[0]
        at = 16
        while at < end:
            file.seek(at)
            _, kind, columns, body, _ = BLOCK.unpack(file.read(BLOCK.size))
            data = file.read(body)
            piece = columns * ENTRY.size
            for i in range(columns):
                _, codec, stored, size = ENTRY.unpack_from(data, i * ENTRY.size)
                for part, raw in frames(codec, data[piece:piece + stored], size) if kind == b"OPS " else []:
                    out.write(part)
                    total += raw
                piece += stored
            at += BLOCK.size + body
    os.replace(path + ".part", path)
    return total


def timed(words):
    """(wall seconds, CPU seconds, most bytes resident) of a command."""
    start = time.monotonic()
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise Failed(f"{' '.join(words)}: exit status {child.returncode}")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10


def generated(arguments):
    trace = os.path.join(FOLDER, f"random-{arguments.ops}-{arguments.live}.trace")
    if not os.path.exists(trace):
        command_run([alloclab(), "gen", f"random:ops={arguments.ops},live={arguments.live}", "--seed", "1", "-o", trace])
    return trace


def bench(trace, arguments):
    packed = os.path.join(FOLDER, os.path.basename(trace) + ".zst")
    raw = frames_write(trace, packed)
    totals = dict(line.split(None, 1) for line in command_run([alloclab(), "trace", "info", "--brief", trace]).splitlines())
    ops = int(totals["ops"])
    print(f"{trace}: {ops} ops, {os.path.getsize(trace)} bytes; {raw} bytes decompressed; seed {arguments.seed}")
    rng = random.Random(arguments.seed)
    commands = {"zstd -d": ["zstd", "-dqc", packed], "trace info": [alloclab(), "trace", "info", trace]}
    runs = {name: [] for name in commands}
    for block in range(arguments.blocks):
        for name in rng.sample(list(commands), 2):
            progress(f"block {block + 1} of {arguments.blocks}: {name}")
            runs[name].append(timed(commands[name]))
    progress("")
    for name, found in runs.items():
        wall, cpu, resident = (statistics.median(column) for column in zip(*found))
        print(f"{name:<11} {wall:8.3f} s wall {cpu:8.3f} s CPU {wall / ops * 1e9:7.2f} ns/op {resident / 2**20:8.1f} MiB resident")
    ratios = [b[0] / a[0] for a, b in zip(runs["zstd -d"], runs["trace info"])]
    ratio = statistics.median(ratios)
    print(f"trace info / zstd -d, wall: {ratio:.2f} ({min(ratios):.2f}..{max(ratios):.2f}), bar {BAR_TIMES}: {said(ratio <= BAR_TIMES)}")
    bar = BAR_BYTES + BAR_OBJECT * int(totals["peak_live_objects"])
    most = max(resident for _, _, resident in runs["trace info"])
    print(f"resident: {most / 2**20:.1f} MiB, bar {bar / 2**20:.1f} MiB: {said(most <= bar)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--ops", type=int, default=50_000_000)
    parser.add_argument("--live", default="20k")
    parser.add_argument("traces", nargs="*", metavar="TRACE")
    arguments = parser.parse_args()
    try:
        os.makedirs(FOLDER, exist_ok=True)
        for trace in arguments.traces or [generated(arguments)]:
            bench(trace, arguments)
    except Failed as error:
        progress("")
        sys.exit(f"trace_info.py: {error}")


if __name__ == "__main__":
    main()
