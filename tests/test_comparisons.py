"""test_comparisons.py - comparisons.csv and the table against what scipy makes of the same session's results.csv."""

import csv
import itertools
import math
import os
import pty
import re
import statistics
import subprocess
import tempfile
import unittest

import scipy.stats

ALLOCLAB = os.environ.get("ALLOCLAB", "./alloclab")
SMALL = "random:ops=2k,live=200"


def run(*args, **more):
    return subprocess.run([ALLOCLAB, *args], capture_output=True, text=True, timeout=120, **more)


def rows_of(folder, name):
    with open(os.path.join(folder, name), newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def discoveries(family):
    """q by Benjamini-Hochberg of each p."""
    return [min([1] + [p * len(family) / sum(o <= p for o in family) for p in family if p >= mine]) for mine in family]


def logs(values, of, base):
    blocks = sorted(set(values[of]) & set(values[base]))
    return [math.log(values[of][b] / values[base][b]) for b in blocks if values[of][b] > 0 and values[base][b] > 0]


def grouped(values):
    """The values, each as the least one of those within a millionth: times are whole ticks, so equal ratios are frequent, and
    six decimals of the times and of a tick's length make them differ by less."""
    firsts, found = [], {}
    for value in sorted(values):
        if not firsts or value - firsts[-1] > 1e-6:
            firsts.append(value)
        found[value] = firsts[-1]
    return [found[value] for value in values]


def signed_rank(differences):
    """Exact, with ties and without zeros, by enumeration."""
    d = [x for x in differences if abs(x) > 1e-6]
    ranks = scipy.stats.rankdata(grouped([abs(x) for x in d]))
    every = [sum(r for r, s in zip(ranks, signs) if s) for signs in itertools.product((0, 1), repeat=len(d))]
    mine = sum(r for r, x in zip(ranks, d) if x > 0)
    low, high = (sum(v <= mine + 1e-9 for v in every), sum(v >= mine - 1e-9 for v in every))
    return min(1, 2 * min(low, high) / len(every))


class Comparisons(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.out = os.path.join(holder.name, "out")

    def session(self, *args):
        got = run("run", "-w", SMALL, "-o", self.out, *args)
        self.assertEqual(got.returncode, 0, got.stderr)
        return got.stdout, rows_of(self.out, "comparisons.csv")

    def values(self, metric):
        """{allocator: {block: value}} of results.csv."""
        found = {}
        for row in rows_of(self.out, "results.csv"):
            if row[metric]:
                found.setdefault(row["allocator"], {})[int(row["block"])] = float(row[metric])
        return found

    def test_against_scipy(self):
        _, rows = self.session("-a", "libc,tlsf,segfit,freelist", "-r", "7", "--passes", "latency", "--base", "tlsf")
        metrics = {row["metric"] for row in rows}
        self.assertTrue({"p50_ns", "p99_ns", "max_ns", "replay_min_max_ns"} <= metrics, metrics)
        self.assertFalse({m for m in metrics if not m.endswith("_ns")})
        tested = []
        for row in rows:
            differences = logs(self.values(row["metric"]), row["allocator"], "tlsf")
            self.assertEqual((int(row["blocks"]), row["base"], row["pass"]), (7, "tlsf", "latency"))
            means = [(x + y) / 2 for x, y in itertools.combinations_with_replacement(differences, 2)]
            self.assertAlmostEqual(float(row["ratio"]) / math.exp(statistics.median(means)), 1, places=4)
            self.assertLessEqual(float(row["low"]), float(row["ratio"]) + 1e-6)
            self.assertLessEqual(float(row["ratio"]), float(row["high"]) + 1e-6)
            self.assertAlmostEqual(float(row["low"]) / math.exp(sorted(means)[2]), 1, places=4)  # 7: the third of 28
            if row["allocator"] == "null":
                self.assertEqual((row["verdict"], row["p"], row["q"]), ("floor", "", ""))
            else:
                self.assertAlmostEqual(float(row["p"]), signed_rank(differences), places=5, msg=row)
                tested.append(row)
        for row, q in zip(tested, discoveries([float(r["p"]) for r in tested])):
            self.assertAlmostEqual(float(row["q"]), q, places=4)
            side = "faster" if float(row["ratio"]) < 1 else "slower"
            self.assertEqual(row["verdict"], side if float(row["q"]) <= 0.05 else "undecided")
        self.check_ties(tested)

    def check_ties(self, tested):
        """Who is tied with whom, by the pairs' own family."""
        for metric in {row["metric"] for row in tested}:
            here = [row for row in tested if row["metric"] == metric]
            values = self.values(metric)
            pairs = list(itertools.combinations([r["allocator"] for r in here], 2))
            q = dict(zip(pairs, discoveries([signed_rank(logs(values, *pair)) for pair in pairs])))
            for row in here:
                name = row["allocator"]
                wanted = {other for pair in pairs if name in pair and q[pair] > 0.05 for other in pair} - {name}
                wanted |= {"tlsf"} if row["verdict"] == "undecided" else set()
                self.assertEqual(set(row["tied"].split("; ")) - {""}, wanted, (metric, name))

    def test_few_blocks_are_said(self):
        table, rows = self.session("-a", "libc,segfit", "-r", "2")
        segfit = [row for row in rows if row["allocator"] == "segfit"]
        self.assertEqual({row["metric"] for row in segfit}, {"ns_per_op", "cold_ns_per_op"})
        for row in segfit:
            self.assertEqual([row[c] for c in ("blocks", "low", "high", "verdict", "tied")], ["2", "", "", "undecided", ""])
        line = next(line for line in table.splitlines() if line.startswith("  segfit"))
        self.assertRegex(line, r" ~\d+\.\d{3} 2 blocks ")
        self.assertRegex(next(l for l in table.splitlines() if l.startswith("  libc")), " base +- ")
        self.assertIn("fewer than 6 blocks show no difference, however large it is: -r 10\n", table)
        self.assertIn("~ could be chance: ", table)
        self.assertIn(" over the 2 tests of this run\n", table)
        self.assertNotIn("\033", table, "no colours in a pipe")
        noise = [r for r in rows_of(self.out, "results.csv") if r["pass"] == "throughput"]
        for row in noise:
            self.assertGreater(float(row["timed_ns"]), float(row["ns_per_op"]) * float(row["ops"]))
            self.assertRegex(row["involuntary_switches_count"], r"^\d+$")
            self.assertTrue(row["steal_ratio"] == "" or 0 <= float(row["steal_ratio"]) <= 1)

    def test_dim_on_a_terminal(self):
        master, slave = pty.openpty()
        done = subprocess.Popen([ALLOCLAB, "run", "-w", SMALL, "-o", self.out, "-a", "libc,segfit", "-r", "1", "--passes",
                                 "throughput"], stdout=slave, stderr=subprocess.DEVNULL)
        os.close(slave)
        said = b""
        try:
            while piece := os.read(master, 4096):
                said += piece
        except OSError:  # the other side is closed
            pass
        os.close(master)
        self.assertEqual(done.wait(), 0)
        self.assertTrue(re.search(rb"\033\[2m +~\d\.\d{3} 1 block +\033\[0m", said), said)

    def test_nothing_to_compare(self):
        got = run("run", "-w", SMALL, "-a", "segfit", "-o", self.out, "--passes", "memory")
        self.assertEqual(got.returncode, 0)
        self.assertFalse(os.path.exists(os.path.join(self.out, "comparisons.csv")))
        self.assertNotIn("comparisons.csv", got.stdout)


if __name__ == "__main__":
    unittest.main()
