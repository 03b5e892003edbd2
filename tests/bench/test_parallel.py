"""test_parallel.py - the arithmetic of `make bench-parallel`."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import parallel  # noqa: E402


class Waits(unittest.TestCase):
    def test_shares(self):
        """A producer that never waits, a consumer that waits a fifth, and main, which is gone at once."""
        s = parallel.Shares([(5, 0), (1000, 0), (800, 200)], 1000)
        self.assertEqual((s.threads, s.most, s.stretch), (2, 0.2, 0))
        self.assertAlmostEqual(s.wait, 0.1)
        self.assertAlmostEqual(s.uneven, 0.1, msg="all of it is unequal work")

    def test_waiting_in_turns_is_a_stretch(self):
        s = parallel.Shares([(600, 400), (600, 400)], 1000)
        self.assertEqual((s.uneven, s.wait), (0, 0.4))
        self.assertAlmostEqual(s.stretch, 0.4)


if __name__ == "__main__":
    unittest.main()
