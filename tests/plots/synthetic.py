"""A made-up results folder for the tests of the figures: shapes like real ones, nothing measured.

`synthetic.py DIR [key=value ...]` writes one to look at, with the keyword arguments of write_folder.
"""
import csv
import os
import random
import sys

RESULTS = ("run_id block order allocator options workload threads release replay copies via touch pass repeat status "
           "ops ns_per_op cold_ns_per_op mops_per_s peak_resident_bytes rank_group detail").split()
TIMELINE = ("run_id allocator options workload threads release sample op_index virtual_ns requested_bytes usable_bytes "
            "committed_bytes reserved_bytes resident_bytes walk_meta_bytes walk_live_bytes walk_free_bytes "
            "walk_unused_bytes").split()
HEAPMAP = ("run_id allocator options workload threads release sample op_index bucket bucket_bytes offset_bytes "
           "meta_bytes live_bytes free_bytes unused_bytes").split()

ALLOCATORS = ["null", "libc", "freelist", "bump", "arena", "jemalloc", "segfit", "buddy", "tlsf", "slab", "mimalloc",
              "guard/freelist"]
PAGE = 4096


def _group(name):
    return {"null": "floor", "bump": "never_frees"}.get(name, "ranked")


def _foreign(name):
    return name in ("libc", "jemalloc", "mimalloc")


def _speed(name, rng):
    return {"null": 4.4, "bump": 9.0, "freelist": 61.0}.get(name, 12 + 30 * rng.random())


def _live(i, samples, peak):
    """Requested bytes at sample i: rises, then two thirds die, then rises again."""
    x = (i + 1) / samples
    return peak * (x / 0.4 if x < 0.4 else 1 - (x - 0.4) * 2 if x < 0.7 else 0.4 + (x - 0.7))


def _sizes(name, i, samples, peak):
    """requested, usable, dead, meta, free of a design at sample i."""
    requested = _live(i, samples, peak)
    top = max(_live(j, samples, peak) for j in range(i + 1))
    if name == "bump":
        return requested, requested * 1.04, 9 * peak * (i + 1) / samples, PAGE, PAGE * 3
    slack = 1.05 + 0.05 * (len(name) % 4)
    return requested, requested * slack, 0, top * 0.03, (top - requested) * 0.8 + PAGE


def _timeline(name, options, workload, ops, samples, peak, run):
    for i in range(samples):
        requested, usable, dead, meta, free = (int(v) for v in _sizes(name, i, samples, peak))
        total = usable + dead + meta + free
        row = dict(run_id=run, allocator=name, options=options, workload=workload, threads=1, release="free", sample=i,
                   op_index=(i + 1) * ops // samples, virtual_ns=i * 1000, requested_bytes=requested,
                   resident_bytes=total + 60 * PAGE)
        if not _foreign(name):
            row.update(usable_bytes=usable, committed_bytes=total, reserved_bytes=total * 2, walk_meta_bytes=meta,
                       walk_live_bytes=usable + dead, walk_free_bytes=free, walk_unused_bytes=0)
        yield row


def _heapmap(name, options, workload, ops, samples, peak, run, rng):
    span = max(sum(_sizes(name, i, samples, peak)[1:]) for i in range(samples))
    bucket = 1 << max(12, (int(span) // 160).bit_length())
    for i in range(samples):
        requested, usable, dead, meta, free = _sizes(name, i, samples, peak)
        used = usable + dead + meta + free
        share = (usable + dead) / max(usable + dead + free, 1)
        for b in range(int(used // bucket) + 1):
            size = bucket if (b + 1) * bucket <= used else int(used - b * bucket) // PAGE * PAGE
            m = int(size * (0.5 if b == 0 else 0.03))
            live = int((size - m) * min(1, max(0, rng.gauss(share, 0.15))))
            unused = (size - m - live) if b * bucket > 0.95 * used else 0
            yield dict(run_id=run, allocator=name, options=options, workload=workload, threads=1, release="free",
                       sample=i, op_index=(i + 1) * ops // samples, bucket=b, bucket_bytes=bucket,
                       offset_bytes=b * bucket, meta_bytes=m, live_bytes=live, free_bytes=size - m - live - unused,
                       unused_bytes=unused)


def _results(name, options, workload, ops, repeats, peak, run, rng, failed):
    speed = _speed(name, rng)
    for what in ("throughput", "memory", "verify"):
        for repeat in range(repeats if what == "throughput" else 1):
            row = dict(run_id=run, block=repeat, order=0, allocator=name, options=options, workload=workload, threads=1,
                       release="free", replay="serial", copies=1,
                       via="malloc" if _foreign(name) and name != "libc" else "vtable",
                       touch={"memory": "page", "throughput": "first"}.get(what, "none"), repeat=repeat, status="ok",
                       ops=ops, rank_group=_group(name))
            row["pass"] = what
            if failed:
                row.update(status=failed[0], detail=failed[1])
            elif what == "throughput":
                ns = speed * (1 + abs(rng.gauss(0, 0.05)))
                row.update(ns_per_op=f"{ns:.3f}", cold_ns_per_op=f"{ns * 1.6:.3f}", mops_per_s=f"{1000 / ns:.4f}")
            elif what == "memory":
                row["peak_resident_bytes"] = int(peak * (9 if name == "bump" else 1 + 0.6 * rng.random())) + 60 * PAGE
            yield row


def write_csv(path, columns, rows):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_folder(folder, allocators=tuple(ALLOCATORS[:4]), workloads=("random:ops=200k",), repeats=5, samples=40,
                 failed=(), ops=200_000, peak=24 << 20, seed=1):
    """allocators: names or (name, options); failed: {name: (status, detail)}, or "all"."""
    os.makedirs(folder, exist_ok=True)
    results, timeline, heapmap, run = [], [], [], "20260102-030405-abcdef0"
    for w, workload in enumerate(workloads):
        for spec in allocators:
            name, options = spec if isinstance(spec, tuple) else (spec, "")
            rng = random.Random(f"{seed} {workload} {name} {options}")
            failure = ("oom", "no memory after 12345 ops") if failed == "all" else dict(failed).get(name)
            results += _results(name, options, workload, ops, repeats, peak << w, run, rng, failure)
            if failure:
                continue
            timeline += _timeline(name, options, workload, ops, samples, peak << w, run)
            if not _foreign(name) and name != "null":
                heapmap += _heapmap(name, options, workload, ops, samples, peak << w, run, rng)
    write_csv(os.path.join(folder, "results.csv"), RESULTS, results)
    write_csv(os.path.join(folder, "timeline.csv"), TIMELINE, timeline)
    write_csv(os.path.join(folder, "heapmap.csv"), HEAPMAP, heapmap)


if __name__ == "__main__":
    write_folder(sys.argv[1], **{k: eval(v) for k, v in (a.split("=", 1) for a in sys.argv[2:])})
