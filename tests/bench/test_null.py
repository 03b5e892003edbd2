"""test_null.py - bench-null's own arithmetic: exact levels, and that the slowed design is a design like any other."""

import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import null  # noqa: E402


class Levels(unittest.TestCase):
    def test_signed_ranks(self):
        """Published critical values: with 10 differences 8 is the greatest sum that is rejected, at 0.0488."""
        self.assertEqual([null.signed_rank_level(n) for n in (5, 6)], [0, 2 / 64])
        self.assertAlmostEqual(null.signed_rank_level(10), 0.0488, places=4)

    def test_rank_sums(self):
        """Published critical values: 10 against 10 reject a U of 23, at 0.0433."""
        self.assertEqual(null.rank_sum_level(3, 3), 0)
        self.assertEqual(null.rank_sum_level(4, 4), 2 / 70)
        self.assertAlmostEqual(null.rank_sum_level(10, 10), 0.0433, places=4)


class Slowed(unittest.TestCase):
    def test_it_is_in_no_list_but_its_own(self):
        alloclab = os.environ.get("ALLOCLAB", "./alloclab")
        listed = subprocess.run([alloclab, "list", "allocators"], capture_output=True, text=True, check=True).stdout
        self.assertNotIn("slowed", listed)
        slowed = os.path.join(os.environ.get("BUILD", "build/release"), "slowed", "alloclab")
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [slowed, "run", "-a", "slowed:steps=500/tlsf,tlsf", "-w", "random:ops=5k,live=500",
                 "--passes", "memory,verify", "-o", os.path.join(folder, "out")], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            said = {r["allocator"]: r for r in null.rows_of(os.path.join(folder, "out")) if r["pass"] == "memory"}
            own = int(said["slowed/tlsf"]["peak_committed_bytes"]) - int(said["tlsf"]["peak_committed_bytes"])
            self.assertEqual(own, os.sysconf("SC_PAGE_SIZE"), "what it wraps, and a page of its own")


if __name__ == "__main__":
    unittest.main()
