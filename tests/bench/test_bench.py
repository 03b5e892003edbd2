"""test_bench.py - the arithmetic of `make bench-rivals` and `make bench-agreement`, what they say when they cannot race, and
the plain programs that they run."""

import contextlib
import io
import os
import random
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import agreement  # noqa: E402
import rivals  # noqa: E402

RIVALS = ["jemalloc", "mimalloc", "tcmalloc", "tbbmalloc"]


class Arithmetic(unittest.TestCase):
    def test_ratios_are_taken_within_blocks(self):
        """A block in which everything is slow changes nothing."""
        self.assertEqual(rivals.ratios([2, 200, 4], [1, 100, 2]), (2, 2, 2))
        self.assertEqual(rivals.ratios([1, 2, 3, 4], [1, 1, 1, 1]), (2.5, 2, 3))
        self.assertAlmostEqual(rivals.geometric_mean([0.5, 2, 8]), 2)

    def verdict(self, ours, peak):
        times = dict(zip(RIVALS, ([4, 40], [2, 20], [3, 30], [8, 80])))
        peaks = dict(zip(RIVALS, (100, 200, 300, 400)))
        cells = {name: (times[name], peaks[name]) for name in RIVALS}
        cells.update(glibc=([1, 1], 1), segfit=(ours, peak))
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            rivals.verdict_print("segfit", {"pairs": cells, "ring": {**cells, "segfit": ([2, 20], 1)}}, RIVALS)
        return out.getvalue()

    def test_verdict(self):
        """mimalloc is the fastest (glibc is no rival here), 250 KiB the median peak."""
        said = self.verdict([3.92, 39.2], 250)
        self.assertRegex(said, r"pairs +mimalloc +1\.96 ")
        self.assertIn("geometric mean 1.40 (bar 1.4: met); worst row pairs 1.96 (bar 2: met)", said)
        self.assertIn("above the median rival's on 0 of 2 rows (bar 0: met)", said)
        said = self.verdict([5, 50], 251)
        self.assertIn("geometric mean 1.58 (bar 1.4: MISSED); worst row pairs 2.50 (bar 2: MISSED)", said)
        self.assertIn("above the median rival's on 1 of 2 rows: pairs (bar 0: MISSED)", said)

    def test_rows_of_one_design_with_several_options(self):
        rows = [{"allocator": "segfit", "options": f"cache={c},batch=64", "order": "0"} for c in ("1m", "2m")]
        self.assertEqual(rivals.cells_by_name(rows, ["segfit", "segfit:cache=1m"]),
                         {("segfit", "cache=1m,batch=64"): "segfit:cache=1m", ("segfit", "cache=2m,batch=64"): "segfit"})
        with self.assertRaisesRegex(rivals.Failed, "segfit:cache=1k: no row"):
            rivals.cells_by_name(rows, ["segfit:cache=1k"])


class Agreement(unittest.TestCase):
    def test_interval(self):
        self.assertEqual(agreement.centre_of([2.0] * 5), (2.0, None, None))
        centre, low, high = agreement.centre_of([2 ** k for k in (-3, -2, -1, 1, 2, 3)])
        self.assertAlmostEqual(centre, 1)
        self.assertAlmostEqual(low, 1 / 8)  # six: from the least to the greatest
        self.assertAlmostEqual(high, 8)
        for bad in ([0.0], [-1.0], [float("inf")], []):
            with self.assertRaisesRegex(rivals.Failed, "alloclab interval: "):
                agreement.centre_of(bad)

    def test_verdict(self):
        bare = {"glibc": [10.0, 20.0] * 5, "jemalloc": [5.0, 10.0] * 5}
        for factor, agrees in ((1.04, True), (1.06, False)):
            cells = {name: ([ns * (factor if name == "jemalloc" else 1) for ns in bare[name]], bare[name])
                     for name in bare}
            three, said, narrow, surely = agreement.verdict(cells, "jemalloc")
            self.assertEqual((said, narrow, surely), (agrees, True, agrees))
            for found, wanted in zip(three, (0.5 * factor, 0.5, factor)):
                self.assertAlmostEqual(found[0], wanted)
        cells["jemalloc"][0][0:5] = [5, 20, 5, 20, 5]
        self.assertEqual(agreement.verdict(cells, "jemalloc")[2:], (False, False))
        scattered = [10.0 * f for f in (0.9, 0.95, 1.0, 1.05, 1.1, 0.92, 1.08, 1.0)]
        cells = {"glibc": ([10.0] * 8, [10.0] * 8), "jemalloc": (scattered, [10.0] * 8)}
        self.assertEqual(agreement.verdict(cells, "jemalloc")[1:], (True, False, False))

    def test_each_block_runs_each_allocator_both_ways(self):
        calls = []
        result = agreement.blocks_run(["a", "b"], ["glibc", "x", "y"], 3, random.Random(1),
                                      lambda *run: calls.append(run) or len(calls))
        self.assertEqual(len(calls), 2 * 3 * 3 * 2)
        for at in range(0, len(calls), 6):
            self.assertEqual(len(set(calls[at:at + 6])), 6)
            self.assertEqual(len({trace for _, trace, _ in calls[at:at + 6]}), 1)
            for pair in range(at, at + 6, 2):  # the two ways of one allocator next to each other
                self.assertEqual(calls[pair][1:], calls[pair + 1][1:])
        self.assertEqual(calls[result["b"]["y"][1][2] - 1], (1, "b", "y"))

    def test_what_scatters_goes_on_until_it_is_narrow(self):
        def time_of(way, _, name):  # the rival "wide" needs about 40 blocks
            return 10 * (1 + (rng.uniform(-0.1, 0.1) if name == "wide" else 0)) * (1 + way)
        rng = random.Random(7)
        cells = agreement.blocks_run(["a"], ["glibc", "wide", "calm"], 8, rng, time_of, 200)["a"]
        blocks = {name: {len(way) for way in ways} for name, ways in cells.items()}
        self.assertEqual(blocks["calm"], {8})
        self.assertEqual(blocks["glibc"], blocks["wide"])
        self.assertTrue(8 < min(blocks["wide"]) < 200, blocks)
        self.assertEqual(agreement.verdict(cells, "wide")[2], True)
        self.assertEqual({len(way) for way in agreement.blocks_run(["a"], ["glibc", "wide"], 8, rng, time_of, 9)["a"]["wide"]}, {9})


TEXT = """alloclab trace text 1
live 0 70
alloc 1 0
calloc 2 32
aligned 3 100 align=64
realloc 1 50
free -
alloc - 99 failed
free 2
realloc 4 10 null
realloc 4 0 ends
free 0
"""


class Ops8(unittest.TestCase):
    """The flat file of 8-byte ops, and the bare loop over it."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.file = os.path.join(self.folder.name, "t.ops8")
        text = os.path.join(self.folder.name, "t.txt")
        with open(text, "w", encoding="ascii") as file:
            file.write(TEXT)
        subprocess.run([os.environ["ALLOCLAB"], "trace", "convert", "--to", "ops8", text, "-o", self.file], check=True,
                       capture_output=True)

    def test_words(self):
        with open(self.file, "rb") as file:
            data = file.read()
        magic, ops, slots, start, main, end = struct.unpack_from("<8s5Q", data)
        words = [(w >> 60, w >> 32 & 0xfffffff, w & 0xffffffff) for w, in struct.iter_unpack("<Q", data[48:])]
        self.assertEqual((magic, ops, slots, start, main, end), (b"OPS8 v1\n", 10, 4, 1, 10, 2))
        self.assertEqual(words, [
            (0, 0, 70),                                                       # live
            (0, 1, 1), (2, 2, 32), (6, 3, 100), (3, 1, 50), (4, 0, 0), (4, 0, 0), (1, 2, 0),
            (0, 2, 10), (1, 2, 0), (1, 0, 0),                                 # the slot freed last is taken first
            (1, 1, 0), (1, 3, 0)])

    def test_loop(self):
        program = os.path.join(self.folder.name, "ops8_loop")
        subprocess.run(["gcc", "-O2", "-D_GNU_SOURCE", "-fno-builtin", "-I.", "-o", program, "tests/bench/ops8_loop.c"],
                       check=True)
        libc = rivals.libc_of(program)
        self.assertGreater(agreement.bare_run(program, self.file, (libc, None), "glibc"), 0)
        with self.assertRaisesRegex(rivals.Failed, "/bin/sh: malloc is not served by it"):
            agreement.bare_run(program, self.file, ("/bin/sh", None), "glibc")
        with open(self.file, "rb") as file:
            whole = file.read()
        for torn in (whole[:-8], whole[:20], b"x" + whole[1:]):
            with open(self.file, "wb") as file:
                file.write(torn)
            with self.assertRaisesRegex(rivals.Failed, "not a file of 8-byte ops"):
                agreement.bare_run(program, self.file, (libc, None), "glibc")


class Program(unittest.TestCase):
    def test_refusals(self):
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "BUILD": folder, "ALLOCLAB_LIBRARY_PATH": "/nowhere"}
            done = subprocess.run([sys.executable, rivals.__file__, "segfit"], capture_output=True, text=True, env=environment)
            self.assertEqual((done.returncode, done.stderr), (
                2, "bench-rivals: jemalloc is not installed: package libjemalloc2: make rivals\n"))
            program = os.path.join(folder, "rivals")
            subprocess.run(["gcc", "-O2", "-D_GNU_SOURCE", "-pthread", "-I.", "-o", program, "tests/bench/rivals.c"], check=True)
            libc = rivals.libc_of(program)
            ns, peak = rivals.small_run(program, "null", (libc, None), "glibc")
            self.assertTrue(ns > 0 and peak > 0)
            with self.assertRaisesRegex(rivals.Failed, "malloc is not served by /bin/sh"):
                rivals.small_run(program, "pairs", ("/bin/sh", None), "glibc")
            with self.assertRaisesRegex(rivals.Failed, "usage: rivals pairs|ring|batch|prodcons|mixed|null LIBRARY"):
                rivals.small_run(program, "pear", (libc, None), "glibc")


if __name__ == "__main__":
    unittest.main()
