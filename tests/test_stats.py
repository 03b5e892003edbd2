"""test_stats.py - harness/stats.c against scipy, and against enumeration of every outcome where samples are small.

The module is compiled alone and called through ctypes. run.py: timeout=120
"""

import ctypes
import itertools
import math
import os
import random
import statistics
import sys
import tempfile
import unittest

import numpy
import scipy.stats

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
sys.dont_write_bytecode = True
from stats_library import Hypothesis, call, load  # noqa: E402

SEED = 20261127


def tails(values, at):
    """Twice the smaller tail of an enumerated distribution."""
    low = sum(v <= at + 1e-9 for v in values)
    high = sum(v >= at - 1e-9 for v in values)
    return min(1, 2 * min(low, high) / len(values))


def signed_rank_brute(differences):
    d = [x for x in differences if x]
    if not d:
        return 1
    ranks = scipy.stats.rankdata([abs(x) for x in d])
    every = [sum(r for r, s in zip(ranks, signs) if s) for signs in itertools.product((0, 1), repeat=len(d))]
    return tails(every, sum(r for r, x in zip(ranks, d) if x > 0))


def rank_sum_brute(a, b):
    ranks = scipy.stats.rankdata(list(a) + list(b))
    every = [sum(chosen) for chosen in itertools.combinations(ranks, len(a))]
    return tails(every, sum(ranks[:len(a)]))


def walsh(values):
    return sorted((x + y) / 2 for x, y in itertools.combinations_with_replacement(values, 2))


class Stats(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            cls.library = load(folder)
        print(f"seed {SEED}")

    def setUp(self):
        self.random = random.Random(f"{SEED} {self.id()}")

    def values(self, count, tied=False, shift=0.0):
        if tied:
            return [float(self.random.randint(-3, 4)) + shift for _ in range(count)]
        return [self.random.gauss(shift, 1) for _ in range(count)]

    # ---- one sample ----

    def test_median(self):
        for count in list(range(1, 40)) + [100, 999, 2000]:
            values = self.values(count)
            got = call(self.library.stats_median, values)
            self.assertEqual(got.estimate, statistics.median(values))
            self.assertEqual(got.bounded, count >= 6, count)
            if got.bounded:
                cut = int(scipy.stats.binom.ppf(0.025, count, 0.5))  # P(B < cut) < 0.025 <= P(B <= cut)
                ordered = sorted(values)
                self.assertEqual((got.low, got.high), (ordered[cut - 1], ordered[count - cut]), count)
                self.assertGreaterEqual(1 - 2 * scipy.stats.binom.cdf(cut - 1, count, 0.5), 0.95)

    def test_spread(self):
        for count in (1, 2, 7, 50):
            values = self.values(count)
            wanted = 1.4826 * scipy.stats.median_abs_deviation(values)
            self.assertAlmostEqual(call(self.library.stats_spread, values), wanted, places=12)

    def test_signed_rank_by_enumeration(self):
        for count in range(0, 12):
            for tied in (False, True, True):
                values = self.values(count, tied, shift=self.random.choice((0.0, 1.0)))
                got = call(self.library.stats_signed_rank, values)
                self.assertTrue(got.exact)
                self.assertAlmostEqual(got.p, signed_rank_brute(values), places=12, msg=str(values))

    def test_equal_ratios_of_ticks_are_ties(self):
        half, third = [math.log(30 / 20), math.log(60.00001 / 40)], [math.log(40 / 30), math.log(80) - math.log(60)]
        values = [*half, -half[1], *third, -third[0], math.log(50.00001 / 50)]
        got = call(self.library.stats_signed_rank, values).p
        self.assertAlmostEqual(got, signed_rank_brute([2, 2, -2, 1, 1, -1, 0]), places=12)
        self.assertNotAlmostEqual(got, signed_rank_brute([2.1, 2, -2.2, 1.1, 1, -1.2, 1e-3]), places=12)

    def test_signed_rank_against_scipy(self):
        for count in list(range(6, 51, 4)):
            values = self.values(count, shift=self.random.choice((0.0, 0.3, 1.0)))
            wanted = scipy.stats.wilcoxon(values, mode="exact").pvalue
            self.assertAlmostEqual(call(self.library.stats_signed_rank, values).p, wanted, places=12)
        for count, tied in ((201, False), (400, True), (1000, False)):
            values = self.values(count, tied, shift=0.05)
            got = call(self.library.stats_signed_rank, values)
            self.assertFalse(got.exact)
            wanted = scipy.stats.wilcoxon(values, mode="approx", correction=True).pvalue
            self.assertAlmostEqual(got.p, wanted, places=10)

    def test_signed_rank_at_the_edge_of_exactness(self):
        """At the largest exact size the exact and the normal value agree."""
        values = self.values(200, shift=0.1)
        got = call(self.library.stats_signed_rank, values)
        self.assertTrue(got.exact)
        wanted = scipy.stats.wilcoxon(values, mode="approx", correction=True).pvalue
        self.assertAlmostEqual(got.p, wanted, delta=0.002)

    def test_fewest_differences(self):
        self.assertEqual(call(self.library.stats_signed_rank, [1, 2, 3, 4, 5]).p, 2 / 32)
        self.assertEqual(call(self.library.stats_signed_rank, [1, 2, 3, 4, 5, 6]).p, 2 / 64)
        self.assertEqual(call(self.library.stats_signed_rank, [0, 0, 0]).p, 1)

    def test_shift(self):
        for count in list(range(1, 30)) + [100, 200, 333]:
            values = self.values(count, tied=count % 3 == 0)
            got, means = call(self.library.stats_shift, values), walsh(values)
            self.assertEqual(got.estimate, statistics.median(means))
            self.assertEqual((got.bounded, got.exact), (count >= 6, count <= 200), count)
            if not got.bounded:
                continue
            self.assertTrue(got.low in means and got.high in means)
            if count <= 12:  # the interval holds exactly those shifts that the test keeps
                ranks = range(1, count + 1)
                every = sorted(sum(r for r, s in zip(ranks, signs) if s)
                               for signs in itertools.product((0, 1), repeat=count))
                cut = next(k for k in itertools.count() if sum(v <= k for v in every) / len(every) > 0.025)
                self.assertEqual((got.low, got.high), (means[cut - 1], means[-cut]), values)

    def test_shift_is_what_the_test_keeps(self):
        """Shifted to just within either end the sample is not rejected, just beyond it is."""
        for count in (6, 10, 25):
            values = self.values(count)
            got = call(self.library.stats_shift, values)
            for end, inward in ((got.low, 1e-4), (got.high, -1e-4)):
                within = call(self.library.stats_signed_rank, [v - end - inward for v in values]).p
                beyond = call(self.library.stats_signed_rank, [v - end + inward for v in values]).p
                self.assertTrue(beyond <= 0.05 < within, (count, beyond, within))

    # ---- two samples ----

    def test_rank_sum_by_enumeration(self):
        for a, b in itertools.product(range(1, 7), repeat=2):
            for tied in (False, True, True):
                x, y = self.values(a, tied), self.values(b, tied, shift=self.random.choice((0.0, 1.0)))
                got = call(self.library.stats_rank_sum, x, y)
                self.assertTrue(got.exact)
                self.assertAlmostEqual(got.p, rank_sum_brute(x, y), places=12, msg=f"{x} {y}")
        self.assertEqual(call(self.library.stats_rank_sum, [], [1.0]).p, 1)
        self.assertEqual(call(self.library.stats_rank_sum, [2.0] * 5, [2.0] * 7).p, 1)

    def test_rank_sum_against_scipy(self):
        for a, b in ((4, 4), (3, 20), (20, 3), (10, 10), (25, 30), (50, 50), (40, 60)):
            x, y = self.values(a), self.values(b, shift=self.random.choice((0.0, 0.4, 1.0)))
            got = call(self.library.stats_rank_sum, x, y)
            self.assertTrue(got.exact)
            wanted = scipy.stats.mannwhitneyu(x, y, method="exact").pvalue
            self.assertAlmostEqual(got.p, wanted, places=11)
        for a, b, tied in ((60, 41, False), (100, 30, True), (300, 300, False)):
            x, y = self.values(a, tied), self.values(b, tied)
            got = call(self.library.stats_rank_sum, x, y)
            self.assertFalse(got.exact)
            wanted = scipy.stats.mannwhitneyu(x, y, method="asymptotic").pvalue
            self.assertAlmostEqual(got.p, wanted, places=10)

    def test_shift_between(self):
        for a, b in ((1, 1), (3, 3), (3, 4), (4, 4), (3, 5), (2, 8), (10, 10), (9, 30), (50, 50), (80, 70)):
            x, y = self.values(a, a % 2 == 1), self.values(b, shift=0.5)
            got = call(self.library.stats_shift_between, x, y)
            differences = sorted(q - p for p in x for q in y)
            self.assertEqual(got.estimate, statistics.median(differences))
            least = 2 / math.comb(a + b, a)
            self.assertEqual((got.bounded, got.exact), (least <= 0.05, a + b <= 100), (a, b))
            if got.bounded and a % 2 == 0:  # untied: what the test keeps, by scipy's exact p
                if a + b > 100:
                    continue
                for end, inward in ((got.low, 1e-4), (got.high, -1e-4)):
                    within, beyond = (scipy.stats.mannwhitneyu(x, [v - end - step for v in y], method="exact").pvalue
                                      for step in (inward, -inward))
                    self.assertTrue(beyond <= 0.05 < within, (a, b, beyond, within))

    # ---- families ----

    def test_discoveries(self):
        for count in (0, 1, 2, 20, 500):
            p = [self.random.choice((self.random.random(), self.random.random() ** 6, 0.03)) for _ in range(count)]
            family = [Hypothesis(v, -1) for v in p]
            pointers = (ctypes.POINTER(Hypothesis) * count)(*[ctypes.pointer(h) for h in family])
            self.library.stats_discoveries(pointers, ctypes.c_uint(count))
            wanted = [min([1] + [v * count / sum(w <= v for w in p) for v in p if v >= mine]) for mine in p]
            numpy.testing.assert_allclose([h.q for h in family], wanted, rtol=1e-12)
            self.assertEqual([h.p for h in family], p)

    def test_levels(self):
        """Under the null hypothesis an exact test rejects no more often than it says: all of its distribution."""
        for count in (6, 8, 10):
            rejected = sum(call(self.library.stats_signed_rank, [s * (i + 1.0) for i, s in enumerate(signs)]).p <= 0.05
                           for signs in itertools.product((-1, 1), repeat=count))
            self.assertTrue(0.02 < rejected / 2 ** count <= 0.05, (count, rejected))


if __name__ == "__main__":
    unittest.main()
