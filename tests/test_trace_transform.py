"""test_trace_transform.py - `alloclab trace cut|merge|scale|shuffle|thin|anonymise|scopes`: small traces against what a person
worked out, and what must hold of any result on recordings; each result passes `trace check`, and some the oracle."""

import collections
import fcntl
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import test_trace_spec as spec  # noqa: E402
from test_trace_info import SAMPLES, Naive  # noqa: E402

HEAD = "alloclab trace text 1\n"
TABLE = ("module 1 a.out build=01\nplace 1 module=1 offset=0x10\nplace 2 function=f\nframe 1 1\nframe 2 2 caller=1\n"
         "frame 3 2\nsite 5 2\n")
ROWS = ("module ", "place ", "frame ", "site ")
SMALL = HEAD + """meta program=x
meta thread.0.name=main
meta thread.1.name=helper
live 0 7
alloc 1 10 clock=10 site=5
thread 1
scope_begin 0 clock=20
alloc 2 20 clock=30
thread 0
realloc 1 15 clock=40
scope_begin 1 clock=50
thread 1
scope_begin 2 clock=60
free 1 clock=70
alloc 3 30 clock=80
thread 0
free 2 clock=90
scope_end 1 clock=100
alloc - 99 failed clock=110
thread 1
scope_end 2 clock=120
scope_end 0 clock=130
free 3 clock=140
free 0 clock=150
"""


class Transform(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="alloclab-transform-")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def run_cli(self, *arguments):
        return subprocess.run([spec.ALLOCLAB, *arguments], capture_output=True, text=True, timeout=120, check=False)

    def ok(self, *arguments):
        done = self.run_cli(*arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)
        return done.stdout

    def trace(self, text, name="in.trace"):
        with open(self.path("in.txt"), "w", encoding="utf-8") as file:
            file.write(text)
        self.ok("trace", "convert", self.path("in.txt"), "-o", self.path(name))
        return self.path(name)

    def made(self, workload, name="in.trace"):
        self.ok("gen", workload, "-o", self.path(name))
        return self.path(name)

    def transform(self, name, *arguments):
        """The result as lines of text without the meta pairs, as {meta}, and the report."""
        out = self.path("out.trace")
        report = self.ok("trace", name, *arguments, "-o", out)
        self.ok("trace", "check", out)
        lines = self.ok("trace", "cat", out).splitlines()[1:]
        meta = dict(line[5:].split("=", 1) for line in lines if line.startswith("meta "))
        self.assertEqual(meta["transform"].split("; ")[-1].split()[0], name)
        report = dict(line.split(None, 1) for line in report.splitlines())
        return [line for line in lines if not line.startswith("meta ")], meta, report

    def oracle(self, *designs):
        done = self.run_cli("check", "-a", ",".join(designs), "-w", self.path("out.trace"))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"(?m)^ok ")

    def expect(self, text, name, *arguments):
        lines, meta, report = self.transform(name, *arguments)
        self.assertEqual(lines, text.strip().splitlines())
        return meta, report

    def refused(self, message, *arguments):
        """With the message, and without an output or a part of it."""
        done = self.run_cli("trace", *arguments)
        self.assertEqual((done.returncode, done.stdout), (2, ""), arguments)
        self.assertIn(message, done.stderr)
        self.assertFalse([name for name in os.listdir(self.folder) if name.startswith("no.trace")])


class Small(Transform):
    """Results that were worked out by hand."""

    def test_cut_ops(self):
        meta, report = self.expect("""
live 0 7
live 1 15
live 2 20
scope_begin 0
thread 1
scope_begin 1
thread 0
scope_begin 2
free 1 clock=10
alloc 3 30 clock=20
thread 1
free 2 clock=30
scope_end 1 clock=40""", "cut", "--ops", "6:11", self.trace(SMALL))
        self.assertEqual(report["live_at_start"], "3")
        self.assertEqual(meta["thread.1.name"], "main")

    def test_cut_touched(self):
        expected = """
live 0 0
live 1 0
scope_begin 0
free 0 clock=10
alloc 2 30 clock=20
thread 1
free 1 clock=30"""
        meta, _ = self.expect(expected, "cut", "--ops", "6:11", "--live", "touched", self.trace(SMALL))
        self.assertEqual((meta["thread.0.name"], meta["thread.1.name"]), ("helper", "main"))
        self.expect("scope_begin 0\nalloc 0 30 clock=20", "cut", "--ops", "6:11", "--live", "none", self.trace(SMALL))

    def test_cut_time(self):
        by_time, _, _ = self.transform("cut", "--time", "60:110", self.trace(SMALL))
        by_ops, _, _ = self.transform("cut", "--ops", "6:11", self.trace(SMALL))
        self.assertEqual(by_time, by_ops)
        self.assertEqual(self.transform("cut", "--ops", ":", self.trace(SMALL))[0], SMALL.splitlines()[4:])

    def test_cut_thread(self):
        self.expect("""
live 0 7
live 1 15
scope_begin 0
alloc 2 20 clock=10
scope_begin 1 clock=40
free 1 clock=50
alloc 3 30 clock=60
scope_end 1 clock=100
scope_end 0 clock=110
free 3 clock=120
free 0 clock=130""", "cut", "--thread", "1", self.trace(SMALL))
        self.expect("""
live 0 20
live 1 7
alloc 2 10 clock=10 site=5
realloc 2 15 clock=40
scope_begin 0 clock=50
free 0 clock=90
scope_end 0 clock=100
alloc - 99 failed clock=110""", "cut", "--thread", "0", self.trace(SMALL))

    def test_cut_at_the_begin_of_a_thread(self):
        """Its begin is a thread's first op, so what is live comes after it."""
        source = self.trace(HEAD + "thread_begin clock=5\nalloc 0 7 clock=10\nscope_begin 0 clock=11\nthread 1\n"
                            "thread_begin clock=20\nfree 0 clock=30\nalloc 1 8 clock=40\nthread_end clock=50\n"
                            "thread 0\nfree 1 clock=60\n")
        head, tail = "\nthread_begin\nlive 0 {}", "\nfree 0 clock=10\nalloc {} 8 clock=20\nthread_end clock=30"
        rest = "\nthread 1\nfree 1 clock=40"
        self.expect(head.format(7) + "\nthread 1\nscope_begin 0\nthread 0" + tail.format(1) + rest,
                    "cut", "--ops", "3:", source)
        self.expect(head.format(0) + tail.format(1) + rest, "cut", "--time", "20:", "--live", "touched", source)
        self.expect("\nthread_begin\nalloc 0 8 clock=20\nthread_end clock=30\nthread 1\nfree 0 clock=40",
                    "cut", "--ops", "3:", "--live", "none", source)
        for live, known in ("all", head.format(7) + tail.format(1)), ("none", "\nthread_begin" + tail.format(0)):
            self.expect(known.replace("\nfree 0 clock=10", "") if live == "none" else known,
                        "cut", "--thread", "1", "--live", live, source)

    @staticmethod
    def thread_cut(ops, thread, live, first):
        """`cut --thread`, by definition: kind, object and size of its ops; `first` is the first object that reading sees made."""
        maker, sizes, noted, own = {}, {}, {}, []
        for by, kind, flags, number, size, *_ in ops:
            if number is not None and number not in maker:
                maker[number] = by
            if by == thread:
                own.append((spec.KINDS[kind], number, size))
                if number is not None and maker[number] != thread:
                    noted.setdefault(number, sizes[number] if live == "all" or number >= first else 0)
            if number is not None and kind != spec.FREE and not flags & spec.FAILED:
                sizes[number] = size
        if live == "none":
            own = [op for op in own if op[1] not in noted]
            noted = {}
        new = {number: i for i, number in enumerate(sorted(noted))}
        for _, number, _ in own:
            if number is not None:
                new.setdefault(number, len(new))
        out = [("live", new[number], noted[number]) for number in sorted(noted)]
        return own[:1] + out + [(kind, new.get(number), size) for kind, number, size in own[1:]]

    def test_cut_thread_by_the_index(self):
        """Threads that come late, and hand objects over: from all of the trace, and from where the index says."""
        source, out = self.made("larson:ops=150k,threads=3,slots=60,life=3000"), self.path("out.trace")
        whole = spec.Trace(source)
        sought = 0
        for live in "all", "touched", "none":
            for thread in 0, 9, 25:
                with self.subTest(live=live, thread=thread):
                    self.ok("trace", "cut", "--thread", str(thread), "--live", live, source, "-o", out)
                    self.ok("trace", "check", out)
                    first = max(row[3] for row in whole.table if row[5] <= thread or not row[2])
                    sought += first
                    self.assertEqual([(spec.KINDS[op[1]], op[3], op[4]) for op in spec.Trace(out).ops],
                                     self.thread_cut(whole.ops, thread, live, first))
        self.assertGreater(sought, 0)

    def test_merge_keeps_the_names_of_sites(self):
        """Sites are numbered by first appearance; names that are meta pairs go with them."""
        one = self.trace(HEAD + "meta site.4.name=big\nmeta site.9.name=unused\nalloc 0 1 site=4\n", "one.trace")
        two = self.trace(HEAD + "meta site.4.name=small\nmeta site.1.name=odd\nalloc 0 2 site=1\nalloc 1 3 site=4\n", "two.trace")
        meta, _ = self.expect("alloc 0 1 site=1\nthread 1\nalloc 1 2 site=2\nalloc 2 3 site=3", "merge", one, two)
        self.assertEqual(meta, {"site.1.name": "big", "site.3.name": "small", "site.2.name": "odd", "transform": "merge by=auto"})

    def test_merge(self):
        other = self.trace(HEAD + "meta program=y\n" + TABLE + "live 0 1\nalloc 1 2 clock=45 site=5\n"
                           "free 1 clock=1000\n", "other.trace")
        meta, report = self.expect("""
module 1 a.out build=01
place 1 module=1 offset=0x10
place 2 function=f
frame 1 1
frame 2 2 caller=1
site 2 2
live 0 7
thread 1
live 1 1
thread 0
alloc 2 10 clock=10 site=1
thread 2
scope_begin 0 clock=20
alloc 3 20 clock=30
thread 0
realloc 2 15 clock=40
thread 1
alloc 4 2 clock=45 site=2
thread 0
scope_begin 1 clock=50
thread 2
scope_begin 2 clock=60
free 2 clock=70
alloc 5 30 clock=80
thread 0
free 3 clock=90
scope_end 1 clock=100
alloc - 99 failed clock=110
thread 2
scope_end 2 clock=120
scope_end 0 clock=130
free 5 clock=140
free 0 clock=150
thread 1
free 4 clock=1000""", "merge", self.trace(SMALL), other)
        self.assertEqual(report["merged_by"], "clock")
        self.assertEqual({k: v for k, v in meta.items() if k != "transform"}, {
            "input.0.program": "x", "input.1.program": "y", "thread.0.name": "main", "thread.2.name": "helper"})

    def test_sites(self):
        """What is left out takes its sites along; what stays has what they stand for."""
        text = (HEAD + TABLE.replace("site 5", "site 8 3\nsite 5") + "alloc 0 1 site=5\nalloc 1 2\nfree 0\nalloc 2 3 site=8\n"
                "alloc 3 3 site=5\n")
        source = self.trace(text)
        table = [line for line in text.splitlines() if line.startswith(ROWS)]
        f_alone = ["module 1 a.out build=01", "place 1 module=1 offset=0x10", "place 2 function=f", "frame 1 1",
                   "frame 2 2 caller=1", "site 5 2"]
        for expected, options in (
                (f_alone, ("cut", "--ops", "0:2")), (["place 1 function=f", "frame 1 1", "site 8 1"], ("cut", "--ops", "3:4")),
                (f_alone + ["frame 3 2", "site 8 3"], ("scale",)), (table, ("scopes",)), ([], ("anonymise",)),
                ([], ("cut", "--ops", "1:2"))):
            with self.subTest(options):
                self.ok("trace", *options, source, "-o", self.path("out.trace"))
                self.ok("trace", "check", self.path("out.trace"))
                out = self.ok("trace", "cat", self.path("out.trace")).splitlines()
                self.assertEqual(sorted(line for line in out if line.startswith(ROWS)), sorted(expected))

    def test_merge_of_a_build(self):
        """A thousand processes, each with as many pairs as a recording has."""
        pairs = "".join(f"meta key_{i}={i}\n" for i in range(12))
        one = self.trace(HEAD + pairs + "alloc 0 1\nfree 0\n", "one.trace")
        lines, meta, _ = self.transform("merge", *[one] * 1000)
        self.assertEqual(len(lines), 2 * 1000 + 1999)
        self.assertEqual(meta["input.999.key_11"], "11")

    def test_merge_by_record(self):
        a = self.trace(HEAD + "alloc 0 1\nfree 0\nalloc 1 2\n", "a.trace")
        b = self.trace(HEAD + "alloc 0 3\nfree 0\n", "b.trace")
        _, report = self.expect("alloc 0 1\nthread 1\nalloc 1 3\nthread 0\nfree 0\nthread 1\nfree 1\nthread 0\nalloc 2 2",
                                "merge", a, b)
        self.assertEqual(report["merged_by"], "record")
        self.refused("has no clock: merge --by record", "merge", "--by", "clock", a, b, "-o", self.path("no.trace"))

    def test_scale(self):
        source = self.trace(HEAD + "meta thread.0.name=m\nalloc 0 8 clock=5 site=3\nscope_begin 0\nscope_end 0\nfree 0\n")
        meta, _ = self.expect("""
alloc 0 8 clock=5 site=3
thread 1
alloc 1 8 clock=5 site=3
thread 0
scope_begin 0
thread 1
scope_begin 1
thread 0
scope_end 0
thread 1
scope_end 1
thread 0
free 0
thread 1
free 1""", "scale", "--by", "2", source)
        self.assertEqual((meta["thread.0.name"], meta["thread.1.name"]), ("m", "m 2"))

    def test_shuffle(self):
        """Of two objects the first has two orders; both keep each object's size with its life of one birth or none."""
        source = self.trace(HEAD + "live 0 9\nalloc 1 10\nscope_begin 0\nalloc 2 20\nrealloc 2 25\nfree -\nfree 2\nfree 1 10\n"
                            "free 0\n")
        found = set()
        for seed in range(20):
            lines, _, report = self.transform("shuffle", "--seed", str(seed), source)
            self.assertEqual(report["seed"], str(seed))
            found.add("\n".join(lines))
        same = "live 0 9\nalloc 1 10\nalloc 2 20\nfree -\n"
        swapped = "live 0 9\nalloc 1 20\nrealloc 1 25\nfree 1\nalloc 2 10\nfree -\n"
        self.assertEqual(len(found), 2)
        for text in found:
            self.assertTrue(text.startswith(same) or text.startswith(swapped), text)
            self.assertEqual(sorted(text.splitlines()[-1:]), ["free 2 10"] if text.startswith(swapped) else
                             text.splitlines()[-1:])

    def test_thin(self):
        source = self.trace(SMALL)
        self.assertEqual(self.transform("thin", "--one-in", "1", source)[0], SMALL.splitlines()[4:])
        lines, _, report = self.transform("thin", "--one-in", "1000000000000", source)
        self.assertEqual((report["objects"], report["ops"]), ("0", "0"))
        self.assertEqual([line.split()[0] for line in lines if line.startswith("scope")],
                         ["scope_begin"] * 3 + ["scope_end"] * 3)

    def test_anonymise(self):
        source = self.trace(SMALL.replace("meta program=x", "meta program=secret\nmeta lost_ops=3\nmeta inversions=secret\nmeta transform=secret"))
        lines, meta, _ = self.transform("anonymise", "--clock", "100", source)
        self.assertEqual(lines[:2] + lines[-2:], ["live 0 7", "alloc 1 10 site=1", "free 3 clock=100", "free 0 clock=100"])
        self.assertEqual(meta, {"lost_ops": "3", "transform": "anonymise clock=100 sites=yes"})
        out = self.ok("trace", "anonymise", "--clock", "0", "--sites", "no", source, "-o", self.path("out.trace"))
        self.assertIn("discloses          meta: lost_ops, which says \"3\"\n", out)
        self.assertNotIn("clock: when", out)
        self.assertNotIn("site", out.replace("sites=no", ""))
        with open(self.path("out.trace"), "rb") as file:
            self.assertNotIn(b"secret", file.read())

    def test_scopes(self):
        source = self.trace(HEAD + """alloc 0 8
alloc 1 8
alloc 2 8
free 1
alloc 3 8
alloc 4 8
free 4
free 3
thread 1
free 2
thread 0
alloc 5 8
free 5
alloc 6 100
free 6
""")
        _, report = self.expect("""
alloc 0 8
scope_begin 0
alloc 1 8
alloc 2 8
free 1
scope_begin 1
alloc 3 8
alloc 4 8
free 4
free 3
scope_end 1
thread 1
free 2
scope_end 0
thread 0
alloc 5 8
free 5
alloc 6 100
free 6""", "scopes", "--least", "2", "--bytes", "99", source)
        self.assertEqual([report[k] for k in ("scopes", "frees", "covered_frees", "covered_share")],
                         ["2", "6", "4", "0.6667"])
        _, _, report = self.transform("scopes", "--least", "1", "--bytes", "31", source)
        self.assertEqual((report["scopes"], report["covered_frees"]), ("4", "4"),
                         "4; 3 and 4; 2 to 4; 5: the one from 1 on asks for 32")
        self.refused("has scopes of its own", "scopes", self.trace(SMALL), "-o", self.path("no.trace"))

    def test_history(self):
        source = self.trace(SMALL)
        self.ok("trace", "thin", "--one-in", "2", source, "-o", self.path("thin.trace"))
        _, meta, _ = self.transform("scale", self.path("thin.trace"))
        self.assertEqual(meta["transform"], "thin one-in=2 seed=1; scale by=2")


class Refusals(Transform):
    def test_refusals(self):
        source, out = self.trace(SMALL), ["-o", self.path("no.trace")]
        plain = self.trace(HEAD + "alloc 0 1\n", "plain.trace")
        usage = "usage: alloclab trace scale [--by VALUE] [--salvage] IN -o OUT"
        self.assertIn(usage[len("usage: "):], self.ok("trace", "scale", "--help"))
        gap = self.trace(HEAD + "alloc 0 1 clock=100\nfree 0 clock=300\n", "gap.trace")
        rows = [
            (["cut", source, *out], "cut: give one of --ops FROM:TO, --time FROM:TO and --thread N"),
            (["cut", "--ops", "1:2", "--thread", "0", source, *out], "cut: give one of"),
            (["cut", "--ops", "2:2", source, *out], "option ops=2:2: give FROM:TO, whole numbers, FROM less than TO"),
            (["cut", "--ops", "-1:2", source, *out], "give FROM:TO"),
            (["cut", "--ops", "99:", source, *out], "nothing in this range: the trace has 16 ops of any kind"),
            (["cut", "--time", "9999:", "--live", "none", source, *out], "and its clock ends before it"),
            (["cut", "--time", "1:", plain, *out], "has no clock: cut it by --ops"),
            (["cut", "--thread", "2", source, *out], "has threads 0 to 1"),
            (["cut", "--thread", "+1", source, *out], "option thread=+1: "),
            (["cut", "--thread", "1x", source, *out], "option thread=1x: "),
            (["cut", "--live", "some", source, *out], "option live=some: give one of all|touched|none"),
            (["merge", source, *out], "takes 2 or more input files"),
            (["cut", "--time", "161:162", gap, *out], "nothing in this range: the next op's clock is 300"),
            (["cut", "--time", "161:162", "--live", "none", gap, *out], "the next op's clock is 300"),
            (["cut", "--thread", "x", self.trace(HEAD, "empty.trace"), *out], "thread=x: give the number of a thread"),
            (["scale", "--by", "0", source, *out], "option by=0"),
            (["scale", source, source, *out], f"takes 1 input file: {usage}"),
            (["scale", source], f"no file given for the result, with -o: {usage}"),
            (["scale", source, "-o"], f"a value is missing after -o: {usage}"),
            (["scale", "--to", "3", source, *out], f"unknown option --to: {usage}"),
            (["scale", "--to", source, *out], f"unknown option --to: {usage}"),
            (["scale", "--to"], f"unknown option --to: {usage}"),
            (["scale", "-x", source, *out], f"unknown option -x: {usage}"),
            (["thin", self.path("missing"), *out], "missing: cannot open"),
        ]
        for arguments, message in rows:
            with self.subTest(message):
                self.refused(message, *arguments)
        self.assertIn("one object in so many stays", self.ok("describe", "thin"))
        self.assertIn("shuffle", self.ok("list", "transforms"))


    def test_input_that_would_be_written(self):
        """What a writer left that was killed is not salvaged by overwriting it."""
        with open(self.made("random:ops=90k"), "rb") as file:
            torn = file.read()[:100000]
        part, out = self.path("x.trace.part"), self.path("x.trace")
        os.symlink("x.trace.part", self.path("link"))
        for arguments in (("convert", part), ("convert", "--to", "text", part), ("scale", part), ("cut", "--ops", "0:9", part),
                          ("merge", self.path("in.trace"), self.path("link"))):
            with open(part, "wb") as file:
                file.write(torn)
            with self.subTest(arguments):
                self.refused("would be written as " + part + " first, which is the input", *arguments, "--salvage", "-o", out)
                with open(part, "rb") as file:
                    self.assertEqual(file.read(), torn)
        self.ok("trace", "convert", "--salvage", part, "-o", self.path("y.trace"))


    def test_two_writers(self):
        """The second one does not touch what the first one has written so far."""
        source, part = self.trace(SMALL), self.path("x.trace.part")
        with open(part, "wb") as file:
            file.write(b"begun")
            file.flush()
            fcntl.flock(file, fcntl.LOCK_EX)
            self.refused(part + ": another process is writing it", "scale", source, "-o", self.path("x.trace"))
            with open(part, "rb") as begun:
                self.assertEqual(begun.read(), b"begun")
        self.ok("trace", "scale", source, "-o", self.path("x.trace"))


class Memory(Transform):
    def peak(self, *arguments):
        """Resident bytes at the most. A child begins with its parent's figure, which had better be small."""
        parent = ("import os, subprocess, sys; _, status, usage = os.wait4(subprocess.Popen(sys.argv[1:], stdout=2).pid, 0); "
                  "print(status, usage.ru_maxrss << 10)")
        done = subprocess.run([sys.executable, "-c", parent, spec.ALLOCLAB, *arguments], stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.DEVNULL, timeout=120, check=True)
        status, peak = map(int, done.stdout.split())
        self.assertEqual(status, 0)
        return peak

    def test_a_cut_remembers_objects_and_not_their_ops(self):
        """One object from before the cut is resized again and again, which was 16 bytes each time."""
        count = 1 << 22
        few, many = (self.trace(HEAD + "alloc 0 5\n" + "realloc 0 7\n" * n, f"{n}.trace") for n in (count >> 4, count))
        peaks = [self.peak("trace", "cut", "--live", "touched", "--ops", "1:", trace, "-o", self.path("out.trace"))
                 for trace in (few, many)]
        self.assertLess(peaks[1] - peaks[0], 4 * count)


class Invariants(Transform):
    """What must hold of the results on longer traces, of several threads, with scopes and reallocs."""

    TRACES = ["request:requests=40,threads=3", "mstress:generations=3,threads=3,steps=400", "random:ops=8k,live=300"]

    def naive(self, path):
        return Naive(spec.Trace(path).ops)

    def levels(self, naive):
        """By call: what is live after it."""
        return [(objects, size) for _, _, objects, size, _ in naive.levels]

    def test_cut_keeps_the_live_set(self):
        rng = random.Random(8)
        for workload in self.TRACES:
            source = self.made(workload)
            ops = spec.Trace(source).ops
            for live in ("all", "touched", "none"):
                a, b = sorted(rng.sample(range(len(ops)), 2))
                self.transform("cut", "--ops", f"{a}:{b}", "--live", live, source)
                cut = spec.Trace(self.path("out.trace"))
                kinds = collections.Counter(op[1] for op in ops[a:b])
                made = collections.Counter(op[1] for op in cut.ops)
                with self.subTest((workload, a, b, live)):
                    if live == "all":
                        before = Naive(ops[:a])
                        self.assertEqual(made[spec.LIVE], sum(o["end"] is None for o in before.objects.values()))
                        whole = self.levels(Naive(ops[:b]))
                        self.assertEqual(self.levels(Naive(cut.ops))[-1], whole[-1])
                    for kind in (spec.ALLOC, spec.CALLOC, spec.ALIGNED):
                        self.assertEqual(made[kind], kinds[kind])
                    if live != "none":
                        self.assertEqual(made[spec.FREE], kinds[spec.FREE])
                    self.oracle("segfit")

    def test_pieces_are_the_whole(self):
        """Cuts at the blocks of the index and beside them: their calls are those of the trace."""
        source = self.made("prodcons:ops=90k")
        ops = spec.Trace(source).ops
        bounds = [0, 32767, 32768, 65537, len(ops)]
        for live in ("touched", "none"):
            count = 0
            for a, b in zip(bounds, bounds[1:]):
                self.transform("cut", "--ops", f"{a}:{b}", "--live", live, source)
                cut = spec.Trace(self.path("out.trace")).ops
                wanted = [(op[1], op[4]) for op in ops[a:b] if op[1] == spec.ALLOC]
                self.assertEqual([(op[1], op[4]) for op in cut if op[1] == spec.ALLOC], wanted)
                count += sum(op[1] == spec.FREE for op in cut)
            if live == "touched":
                self.assertEqual(count, sum(op[1] == spec.FREE for op in ops))

    def test_shuffle_keeps_the_objects(self):
        for workload in self.TRACES:
            source = self.made(workload)
            before = self.naive(source)
            self.transform("shuffle", "--seed", "5", source)
            after = self.naive(self.path("out.trace"))
            with self.subTest(workload):
                self.assertEqual(after.calls, before.calls)
                self.assertEqual(*(collections.Counter((tuple(o["steps"]), bool(o["end"])) for o in n.objects.values())
                                   for n in (before, after)))
                self.assertEqual(*(sum(1 for o in n.dead if o["thread"] != o["end"]["by"]) for n in (before, after)))
                if before.calls > 1000:
                    self.assertNotEqual([o["size"] for o in before.objects.values()],
                                        [o["size"] for o in after.objects.values()])
                self.oracle("segfit")
            first = self.ok("trace", "cat", self.path("out.trace"))
            self.transform("shuffle", "--seed", "5", source)
            self.assertEqual(self.ok("trace", "cat", self.path("out.trace")), first)

    def test_scale_and_merge_add_up(self):
        for workload in self.TRACES:
            source = self.made(workload)
            one = spec.Trace(source)
            self.transform("scale", "--by", "3", source)
            scaled = spec.Trace(self.path("out.trace"))
            for name, single, triple in zip(spec.TOTALS, one.totals, scaled.totals):
                if "peak" not in name:
                    self.assertEqual(triple, 3 * single, name)
            self.transform("merge", "--by", "record", source, source, source)
            merged = spec.Trace(self.path("out.trace"))
            self.assertEqual(merged.totals, scaled.totals)
            self.oracle("segfit")

    def test_thin_is_all_or_nothing(self):
        for workload in self.TRACES:
            source = self.made(workload)
            before = self.naive(source)
            self.transform("thin", "--one-in", "4", "--seed", "3", source)
            after = self.naive(self.path("out.trace"))
            left = collections.Counter(tuple(o["steps"]) for o in before.objects.values())
            left.subtract(tuple(o["steps"]) for o in after.objects.values())
            self.assertGreaterEqual(min(left.values()), 0, "an object is there with all its ops")
            share = len(after.objects) / len(before.objects)
            self.assertLess(abs(share - 0.25), 5 * (0.25 * 0.75 / len(before.objects)) ** 0.5)
            self.oracle("segfit")

    def test_scopes_hold_what_they_promise(self):
        """Every object that was made in an inferred scope is dead when it ends; a design with scopes plays it."""
        for sample in "sqlite", "gcc":
            source = self.path("in.trace")
            self.ok("trace", "cut", "--ops", "100000:120000", os.path.join(SAMPLES, sample + ".trace"), "-o", source)
            _, _, report = self.transform("scopes", "--least", "3", source)
            ops = spec.Trace(self.path("out.trace")).ops
            stacks, live, covered = collections.defaultdict(list), {}, 0
            for thread, kind, flags, number, _, _, scope, _, _ in ops:
                if kind == spec.BEGIN:
                    stacks[thread].append(scope)
                elif kind == spec.END:
                    owner = next(t for t, stack in stacks.items() if stack and stack[-1] == scope)
                    stacks[owner].pop()
                    self.assertNotIn(scope, {s for within in live.values() for s in within})
                elif kind <= spec.ALIGNED and not flags & spec.FAILED:
                    live[number] = list(stacks[thread])
                    covered += bool(stacks[thread])
                elif kind == spec.FREE and number is not None:
                    live.pop(number, None)
            self.assertEqual(int(report["covered_frees"]), covered)
            self.assertGreater(covered, 0)
            self.oracle("arena", "segfit")


if __name__ == "__main__":
    unittest.main()
