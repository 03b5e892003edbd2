"""test_golden.py - the whole program, held against figures written down before: the exact memory metrics of every
design on every sample recording and on each workload at a fixed seed, byte for byte. They do not depend on the
machine, so a difference is a change of a design or of the harness: look at it, and if it is meant, `make golden`
writes the new figures.

Run as a script with --write, this file rewrites expected.csv.

run.py: timeout=600
"""

import csv
import glob
import os
import subprocess
import sys
import tempfile
import unittest

ALLOCLAB = os.environ.get("ALLOCLAB", "./alloclab")
EXPECTED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "expected.csv")
WORKLOADS = ["random:ops=60k,live=5k", "frame:frames=40", "request:requests=300", "prodcons:ops=40k"]
SEED = "1"
IDS = ["allocator", "options", "workload", "threads", "release", "pass", "status", "rank_group"]


def exact_columns():
    """The columns that the program itself calls exact, from the one table."""
    text = subprocess.run([ALLOCLAB, "list", "metrics"], check=True, capture_output=True, text=True).stdout
    return [line.split()[0] for line in text.splitlines() if " exact " in line]


def figures(workloads):
    """The rows of designs whose memory comes through the door, as lists of text, sorted."""
    columns = IDS + exact_columns()
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        subprocess.run(
            [ALLOCLAB, "run", "-w", ",".join(workloads), "-o", out, "--passes", "memory", "--release", "both",
             "--seed", SEED], check=True, capture_output=True, text=True)
        with open(os.path.join(out, "results.csv"), newline="") as file:
            rows = [[row[c] for c in columns] for row in csv.DictReader(file) if row["via"] == "vtable"]
    return [columns] + sorted(rows)


def samples():
    return sorted(glob.glob("traces/samples/*.trace"))


class Golden(unittest.TestCase):
    maxDiff = None

    def compare(self, names, got):
        with open(EXPECTED, newline="") as file:
            expected = list(csv.reader(file))
        at = IDS.index("workload")
        known = {row[0] for row in expected[1:]}
        self.assertEqual(got[0], expected[0], "the columns differ: make golden")
        self.assertEqual([row for row in got[1:] if row[0] in known], [row for row in expected[1:] if row[at] in names])
        self.assertEqual({row[at] for row in got[1:]}, set(names))

    def test_workloads(self):
        self.compare(WORKLOADS, figures(WORKLOADS))

    def test_samples(self):
        paths = samples()
        self.assertGreaterEqual(len(paths), 5, "sample recordings are missing")
        self.compare([os.path.basename(p)[: -len(".trace")] for p in paths], figures(paths))

    def test_twice_the_same(self):
        self.assertEqual(figures(WORKLOADS[:1]), figures(WORKLOADS[:1]))


def write():
    first, second = figures(WORKLOADS), figures(samples())
    with open(EXPECTED, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(first[:1] + sorted(first[1:] + second[1:]))
    print(f"{EXPECTED}: {len(first) + len(second) - 2} rows")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    else:
        unittest.main()
