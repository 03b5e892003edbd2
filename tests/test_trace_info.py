"""test_trace_info.py - `alloclab trace info --csv` against the same figures computed here, slowly and by definition,
from the ops that the independent reader of test_trace_spec.py finds in the file."""

import collections
import csv
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import test_trace_spec as spec  # noqa: E402

SAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "traces", "samples")

HAND_MADE = """alloclab trace text 1
meta program=hand "made", twice
live 0 100 clock=1 site=7
alloc 1 10 clock=10 site=7
alloc 2 20 clock=20 site=8
scope_begin 0 clock=21
calloc 3 65535 clock=30 site=7
realloc 1 80000 clock=40 site=9
realloc 1 5 clock=45
realloc 3 99 failed clock=46
free 3 clock=50
thread 1
aligned 4 70000 align=64 clock=60
free 2 clock=65
scope_end 0 clock=66
free 0 clock=67
thread 0
alloc - 5 failed clock=70
realloc 5 8 null clock=71
free - clock=72
realloc 5 0 ends clock=60
free 1 clock=80
"""


def cell(value, bits):
    """The bounds of the log-linear cell of a value: 2^bits parts of each doubling."""
    width = 1
    while value // width >= 2 << bits:
        width *= 2
    low = value // width * width
    return low, low + width - 1


class Naive:
    """All figures, each from its definition."""

    def __init__(self, ops):
        self.objects, self.calls, self.allocated, live = {}, 0, 0, {}
        self.sizes = collections.defaultdict(lambda: [0, 0, 0])
        self.deaths, self.levels, self.aligns = [], [], collections.Counter()
        self.has_clock = any(op[7] for op in ops)
        for thread, kind, flags, number, size, align, _, clock, site in ops:
            if kind > spec.FREE and kind != spec.LIVE:
                continue
            failed = flags & spec.FAILED
            makes = not failed and (kind <= spec.ALIGNED or kind == spec.LIVE or
                                    kind == spec.REALLOC and flags & spec.NULL)
            if makes:
                start = kind == spec.LIVE
                self.allocated += 0 if start else size
                self.objects[number] = live[number] = dict(
                    start=start, call=self.calls, bytes=self.allocated, clock=clock, size=size, thread=thread,
                    site=site, number=number, steps=[size], end=None)
                if not start:
                    self.ask(size, 0, align)
            elif number is not None and (kind == spec.FREE or flags & spec.ENDS):
                o = live[number]
                mine = [k for k in reversed(live) if live[k]["thread"] == thread]
                o["end"] = dict(calls=self.calls - o["call"], bytes=self.allocated - o["bytes"],
                                ns=max(0, clock - o["clock"]), by=thread, lifo=mine[:1] == [number])
                del live[number]
            elif number is not None and not failed:
                self.allocated += max(0, size - live[number]["size"])
                live[number]["size"] = size
                live[number]["steps"].append(size)
                self.ask(size, 1, align)
            self.calls += kind != spec.LIVE
            self.levels.append((self.calls, clock, len(live), sum(o["size"] for o in live.values()), self.allocated))
        self.dead = [o for o in self.objects.values() if o["end"] and not o["start"]]

    def ask(self, size, resizes, align):
        row = self.sizes[(size, size) if size < 65536 else cell(size, 6)]
        row[2 if resizes else 0] += 1
        row[1] += 0 if resizes else size
        self.aligns[1 << align] += 1

    def lives(self, o):
        units = ["ops", "bytes", "ns"] if self.has_clock else ["ops", "bytes"]
        return [(unit, o["end"]["calls" if unit == "ops" else unit]) for unit in units]


class Info(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="alloclab-info-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.trace = os.path.join(self.folder, "x.trace")

    def alloclab(self, *arguments):
        done = subprocess.run([spec.ALLOCLAB, *arguments], capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)
        return done.stdout

    def refused(self, message, *arguments):
        done = subprocess.run([spec.ALLOCLAB, "trace", *arguments], capture_output=True, text=True, timeout=120,
                              check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn(message, done.stderr)

    def hand_made(self):
        source = os.path.join(self.folder, "x.txt")
        with open(source, "w", encoding="utf-8") as file:
            file.write(HAND_MADE)
        self.alloclab("trace", "convert", source, "-o", self.trace)

    def table(self, name):
        with open(os.path.join(self.folder, "csv", name), newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def rows(self, name, *columns):
        return [tuple(row[c] if c == "unit" else int(row[c]) for c in columns) for row in self.table(name)]

    def check(self):
        """All tables of self.trace against Naive; the summary, as text and as CSV alike."""
        printed = self.alloclab("trace", "info", "--csv", os.path.join(self.folder, "csv"), self.trace)
        naive = Naive(spec.Trace(self.trace).ops)
        self.check_sizes(naive)
        self.check_lives(naive)
        self.check_threads(naive)
        self.check_chains(naive)
        self.check_sites(naive)
        self.check_live(naive)
        summary = {row["key"]: row["value"] for row in self.table("summary.csv")}
        text = dict(line.split(None, 1) for line in printed.splitlines() if len(line.split(None, 1)) == 2)
        for key, value in summary.items():
            if value and key != "file" and not key.startswith("meta."):
                self.assertEqual(text.get(key), value, key)
        self.check_summary(naive, summary)
        return summary

    def check_sizes(self, naive):
        expected = sorted((*bounds, *row) for bounds, row in naive.sizes.items())
        self.assertEqual(self.rows("sizes.csv", "size_low_bytes", "size_high_bytes", "allocs", "alloc_bytes",
                                   "reallocs"), expected)
        self.assertEqual(self.rows("alignments.csv", "align_bytes", "calls"), sorted(naive.aligns.items()))

    def check_lives(self, naive):
        lives, heat = collections.defaultdict(lambda: [0, 0]), collections.Counter()
        for o in naive.dead:
            for unit, life in naive.lives(o):
                lives[(unit, *cell(life, 6))][0] += 1
                lives[(unit, *cell(life, 6))][1] += o["size"]
                heat[(unit, *cell(o["size"], 2), *cell(life, 1))] += 1
        self.assertEqual(sorted(self.rows("lifetimes.csv", "unit", "life_low", "life_high", "objects",
                                          "object_bytes")), sorted((*k, *v) for k, v in lives.items()))
        self.assertEqual(sorted(self.rows("heat.csv", "unit", "size_low_bytes", "size_high_bytes", "life_low",
                                          "life_high", "objects")), sorted((*k, v) for k, v in heat.items()))

    def check_threads(self, naive):
        pairs = collections.defaultdict(lambda: [0, 0])
        threads = collections.defaultdict(lambda: [0, 0, 0, 0])
        for o in naive.objects.values():
            threads[o["thread"]][0] += not o["start"]
            threads[o["thread"]][3] += o["end"] is None
        for o in naive.dead:
            pairs[o["thread"], o["end"]["by"]][0] += 1
            pairs[o["thread"], o["end"]["by"]][1] += o["size"]
            threads[o["end"]["by"]][1] += 1
            threads[o["end"]["by"]][2] += o["end"]["lifo"]
        self.assertEqual(sorted(self.rows("handover.csv", "made_by", "freed_by", "frees", "bytes")),
                         sorted((*k, *v) for k, v in pairs.items()))
        found = self.rows("threads.csv", "thread", "allocs", "frees", "lifo_frees", "end_live_objects")
        self.assertEqual([row for row in found if any(row[1:])], sorted((k, *v) for k, v in threads.items() if any(v)))

    def check_chains(self, naive):
        chains = collections.defaultdict(lambda: [0, 0, 0, 0, 0])
        for o in naive.objects.values():
            steps = o["steps"]
            if len(steps) > 1:
                row = chains[cell(len(steps) - 1, 2)]
                copied = sum(min(a, b) for a, b in zip(steps, steps[1:]))
                for i, value in enumerate([1, len(steps) - 1, steps[0], steps[-1], copied]):
                    row[i] += value
        self.assertEqual(self.rows("chains.csv", "reallocs_low", "reallocs_high", "objects", "reallocs", "first_bytes",
                                   "last_bytes", "copied_bytes"), sorted((*k, *v) for k, v in chains.items()))

    def check_sites(self, naive):
        sites = collections.defaultdict(lambda: [0, 0, 0, 0])
        for o in naive.objects.values():
            if o["site"]:
                row = sites[o["site"]]
                for i, value in enumerate([not o["start"], bool(o["end"]) and not o["start"], not o["end"],
                                           0 if o["end"] else o["size"]]):
                    row[i] += value
        found = self.rows("sites.csv", "site", "allocs", "frees", "end_live_objects", "end_live_bytes")
        for row in self.table("sites.csv"):
            lives = [o["end"]["calls"] for o in naive.dead if o["site"] == int(row["site"])]
            self.assertEqual(row["life_mean_ops"], f"{sum(lives) / len(lives):.6g}" if lives else "", row["site"])
        self.assertEqual(sorted(row for row in found if any(row[1:])), sorted((k, *v) for k, v in sites.items()))

    def check_live(self, naive):
        rows = self.table("live.csv")
        last = {calls: level for calls, *level in naive.levels}
        peak = {}
        for calls, _, objects, size, _ in naive.levels:
            peak[calls] = [max(a, b) for a, b in zip(peak.get(calls, [0, 0]), [objects, size])]
        self.assertLess(len(rows), 2050)
        before = 0
        for row in rows:
            calls = int(row["ops"])
            _, objects, size, allocated = last.get(calls, [0, 0, 0, 0])
            self.assertEqual([int(row[c]) for c in ("live_objects", "live_bytes", "allocated_bytes")],
                             [objects, size, allocated], calls)
            for i, column in enumerate(["peak_objects", "peak_bytes"]):
                self.assertEqual(int(row[column]), max(peak.get(k, [0, 0])[i] for k in range(before, calls + 1)), calls)
            self.assertEqual(row["clock_ns"] != "", naive.has_clock)
            before = calls
        self.assertEqual(before, naive.calls)

    def check_summary(self, naive, summary):
        dead, frees = len(naive.dead), [o["end"] for o in naive.dead]
        self.assertEqual(int(summary["freed_objects"]), dead)
        self.assertAlmostEqual(float(summary["lifo_share"] or 0), sum(f["lifo"] for f in frees) / max(dead, 1), 5)
        handed = sum(o["end"]["by"] != o["thread"] for o in naive.dead)
        self.assertEqual(int(summary["handover_frees"]), handed)
        for name, one_in in ("p50", 2), ("p90", 10), ("p99", 100), ("p999", 1000):
            for unit in ("ops", "bytes", "ns"):
                values = sorted(life for o in naive.dead for u, life in naive.lives(o) if u == unit)
                if values:
                    true = values[len(values) - len(values) // one_in - 1]
                    self.assertEqual(int(summary[f"life_{name}_{unit}"]), min(cell(true, 6)[1], values[-1]), (name, unit))
            values = sorted(o["steps"][0] for o in naive.objects.values() if not o["start"])
            true = values[len(values) - len(values) // one_in - 1]
            self.assertEqual(int(summary[f"size_{name}_bytes"]), true if true < 65536 else min(cell(true, 6)[1], values[-1]))
            self.assertEqual(int(summary["size_max_bytes"]), values[-1])

    def test_hand_made(self):
        self.hand_made()
        summary = self.check()
        self.assertEqual(summary["meta.program"], 'hand "made", twice')
        expected = dict(freed_objects=4, freed_start_objects=1, lifo_share="0.75", handover_frees=1, handover_share="0.25",
                        resized_objects=1, chain_max_reallocs=2, chain_copied_bytes=15, scoped_objects=1, scope_deaths=1,
                        scope_depth_max=1, scopes_open_max=1, reallocs_grown=1, reallocs_shrunk=1, reallocs_same=0,
                        clock_span_ns=80, sites_seen=3, life_max_ops=14, life_max_ns=70)
        self.assertEqual({key: summary[key] for key in expected}, {k: str(v) for k, v in expected.items()})

    def test_generated(self):
        for workload in ("random:ops=6k,live=300,max=200k", "request:requests=60,threads=2", "prodcons:ops=6k",
                         "mstress:generations=3,threads=3,steps=300"):
            with self.subTest(workload):
                self.alloclab("gen", workload, "-o", self.trace)
                self.check()

    def test_many_objects_of_few_live(self):
        """So many that what is known of each thread's order of births is put together anew, several times."""
        for workload in ("random:ops=40k,live=30", "larson:ops=40k,threads=3,slots=12,life=500"):
            with self.subTest(workload):
                self.alloclab("gen", workload, "-o", self.trace)
                self.assertNotEqual(self.check()["lifo_share"], "0")

    def test_brief_reads_no_op(self):
        self.hand_made()
        brief = self.alloclab("trace", "info", "--brief", self.trace)
        whole = self.alloclab("trace", "info", self.trace)
        self.assertIn("peak_live_bytes", brief)
        self.assertNotIn("lifo_share", brief)
        self.assertEqual([line for line in whole.splitlines() if line in brief.splitlines()], brief.splitlines())

    def test_site_table(self):
        """What sites stand for: in words, as tables, and among what the file discloses."""
        text = ("alloclab trace text 1\nmodule 1 a.out build=00ff path=/opt/my/a.out\nmodule 2 libc.so.6\n"
                "place 1 module=1 offset=0x1139\nplace 2 module=2 function=f,\"g\" file=f.c line=3\nplace 3 module=2\n"
                "frame 1 3\nframe 2 1 caller=1\nframe 3 2 caller=2\nframe 4 1 caller=3\nsite 7 4\nsite 9 2\n"
                "alloc 0 8 site=7\nalloc 1 5 site=9\nalloc 2 1 site=11\n")
        source = os.path.join(self.folder, "sites.txt")
        with open(source, "w", encoding="utf-8") as file:
            file.write(text)
        self.alloclab("trace", "convert", source, "-o", self.trace)
        self.assertEqual(self.alloclab("trace", "cat", self.trace), text)
        printed = self.alloclab("trace", "info", "--csv", os.path.join(self.folder, "csv"), self.trace).splitlines()
        tail = "1 allocs and 0 reallocs, peak"
        self.assertEqual([line.partition(" ")[2].strip() for line in printed if line.startswith("top_site")], [
            f"7: 8 bytes in {tail} 8 live, 8 at the end: a.out+0x1139 < f,\"g\" (f.c:3) < a.out+0x1139 < ..",
            f"9: 5 bytes in {tail} 5 live, 5 at the end: a.out+0x1139 < libc.so.6",
            f"11: 1 bytes in {tail} 1 live, 1 at the end"])
        disclosed = [line.partition(" ")[2].strip() for line in printed if line.startswith("discloses")]
        self.assertEqual(disclosed[2:-1], [
            "module: a.out, at /opt/my/a.out", "module: libc.so.6",
            "site: call stacks of 2 sites; build ids of 1 modules and paths of 1; 1 offsets in modules; 1 names of functions or "
            "files"])
        self.assertEqual([(row["site"], row["frame"], row["place"]) for row in self.table("sites.csv")],
                         [("7", "4", "a.out+0x1139"), ("9", "2", "a.out+0x1139"), ("11", "", "")])
        self.assertEqual([tuple(row.values()) for row in self.table("frames.csv")], [
            ("1", "", "libc.so.6", "", "", "", "", ""), ("2", "1", "a.out", "00ff", "0x1139", "", "", ""),
            ("3", "2", "libc.so.6", "", "", 'f,"g"', "f.c", "3"), ("4", "3", "a.out", "00ff", "0x1139", "", "", "")])

    def edited(self, text, edit):
        """The trace of a text, changed by edit(data, offset of its first block of ops); checksums are right again."""
        source = os.path.join(self.folder, "edited.txt")
        with open(source, "w", encoding="utf-8") as file:
            file.write("alloclab trace text 1\n" + text)
        self.alloclab("trace", "convert", source, "-o", self.trace)
        with open(self.trace, "rb") as file:
            data = bytearray(file.read())
        at = data.index(b"OPS ") - 8
        edit(data, at)
        end = at + 32 + int.from_bytes(data[at + 16:at + 24], "little")
        data[at:at + 8] = spec.checksum(bytes(data[at + 8:end])).to_bytes(8, "little")
        with open(self.trace, "wb") as file:
            file.write(data)

    def test_a_size_that_cannot_be(self):
        """Op 0x10, an alloc that failed, of 2^41 bytes becomes one that did not."""
        def edit(data, at):
            data[data.index(0x10, at + 32 + 3 * 12 + 40)] = 0

        self.edited(f"alloc - {2 << 40} failed\n", edit)
        self.refused(f"{self.trace}: offset 16: size {2 << 40} of a call that did not fail: see `alloclab trace check`",
                     "info", self.trace)

    def test_a_scope_that_cannot_be(self):
        """The second end, of scope 0, says that it is of scope 1 as the first one."""
        def edit(data, at):
            data[data.index(b"\x02\x04", at + 32) + 1] = 2

        self.edited("scope_begin 0\nscope_begin 1\nalloc 0 5\nscope_end 1\nscope_end 0\n", edit)
        self.refused(f"{self.trace}: offset 16: scope 1 has already ended: see `alloclab trace check`", "info", self.trace)

    def test_scopes_as_deep_as_the_trace(self):
        """A scope is one deeper than what it begins in, also where that has ended since; no walk outwards, which would take
        hours here."""
        deep = 500000
        for text, depth in (("".join(f"scope_begin {i}\n" for i in range(deep)), deep),
                            ("scope_begin 0\nscope_begin 1\nscope_end 0\nscope_begin 2\nscope_end 2\nscope_begin 3\n", 3)):
            source = os.path.join(self.folder, "deep.txt")
            with open(source, "w", encoding="utf-8") as file:
                file.write("alloclab trace text 1\n" + text)
            self.alloclab("trace", "convert", source, "-o", self.trace)
            self.assertIn(f"scope_depth_max    {depth}\n", self.alloclab("trace", "info", self.trace))

    def test_tables_that_do_not_fit_leave_the_old_ones(self):
        """All tables get their names, or none does; here the larger ones meet a limit of file sizes."""
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

        def tables():
            found = {}
            for name in os.listdir(folder):
                with open(os.path.join(folder, name), "rb") as file:
                    found[name] = file.read()
            return found

        folder = os.path.join(self.folder, "csv")
        self.hand_made()
        self.alloclab("trace", "info", "--csv", folder, self.trace)
        before = tables()
        self.alloclab("gen", "random:ops=6k", "-o", self.trace)
        done = subprocess.run([spec.ALLOCLAB, "trace", "info", "--csv", folder, self.trace], capture_output=True, text=True,
                              timeout=120, check=False, preexec_fn=limit)
        self.assertEqual(done.returncode, 2)
        self.assertIn(".csv.part: cannot write: File too large", done.stderr)
        self.assertEqual(tables(), before)

    def test_unknown_columns_are_disclosed(self):
        """Sizes under a tag of the future: it is not said that nothing else is disclosed, and then what is."""
        def edit(data, at):
            entry = data.index((4).to_bytes(2, "little"), at + 32)
            data[entry:entry + 2] = (900).to_bytes(2, "little")

        self.edited("scope_begin 0\nfree - 5\nfree - 6\n", edit)
        done = subprocess.run([spec.ALLOCLAB, "trace", "info", "--brief", self.trace], capture_output=True, text=True,
                              timeout=120, check=True)
        self.assertIn("discloses          whatever is in 2 bytes of blocks or columns that are unknown to this program; a copy by "
                      "`alloclab trace convert` leaves them out\n", done.stdout)

    def test_refusals(self):
        self.hand_made()
        missing = os.path.join(self.folder, "no", "folder")
        self.refused(f"{missing}: cannot make the folder: No such file", "info", "--csv", missing, self.trace)
        self.refused("--csv is of one file", "info", "--csv", missing, self.trace, self.trace)
        self.refused("check does not take --csv", "check", "--csv", missing, self.trace)
        self.refused(f"{self.trace}/summary.csv.part: cannot create: Not a directory", "info", "--csv", self.trace,
                     self.trace)


if __name__ == "__main__":
    unittest.main()
