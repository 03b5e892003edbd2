"""test_bench.py - the arithmetic of `make bench-rivals`, and what it says when it cannot race."""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
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


class Program(unittest.TestCase):
    def test_refusals(self):
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "BUILD": folder, "ALLOCLAB_LIBRARY_PATH": "/nowhere"}
            done = subprocess.run([sys.executable, rivals.__file__, "segfit"], capture_output=True, text=True, env=environment)
            self.assertEqual((done.returncode, done.stderr), (
                2, "bench-rivals: jemalloc is not installed: package libjemalloc2: make rivals\n"))
            program = os.path.join(folder, "rivals")
            subprocess.run(["gcc", "-O2", "-D_GNU_SOURCE", "-pthread", "-o", program, "tests/bench/rivals.c"], check=True)
            libc = rivals.libc_of(program)
            ns, peak = rivals.small_run(program, "null", (libc, None), "glibc")
            self.assertTrue(ns > 0 and peak > 0)
            with self.assertRaisesRegex(rivals.Failed, "malloc is not served by /bin/sh"):
                rivals.small_run(program, "pairs", ("/bin/sh", None), "glibc")
            with self.assertRaisesRegex(rivals.Failed, "usage: rivals pairs|ring|batch|prodcons|mixed|null LIBRARY"):
                rivals.small_run(program, "pear", (libc, None), "glibc")


if __name__ == "__main__":
    unittest.main()
