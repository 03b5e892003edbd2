"""test_live.py - live workloads: Robson's adversary needs of each design exactly what theory says, to the unit; its game is
played once a design and replayed by every pass that makes sense."""

import csv
import os
import subprocess
import tempfile
import unittest

ALLOCLAB = os.environ.get("ALLOCLAB", "./alloclab")
GAMES = [(1024, 16), (2048, 64), (4096, 128), (1000, 8), (3000, 32), (500, 2), (64, 64), (1, 1)]


def run(*args):
    return subprocess.run([ALLOCLAB, *args], capture_output=True, text=True, timeout=120)


def log2(n):
    return n.bit_length() - 1


class Live(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.out = os.path.join(self.folder.name, "out")

    def rows(self, *args):
        got = run("run", "-o", self.out, *args)
        self.assertEqual(got.returncode, 0, got.stderr)
        with open(os.path.join(self.out, "results.csv"), newline="") as file:
            return list(csv.DictReader(file))

    def extents(self, designs, header):
        games = ",".join(f"robson:live={m},largest={n},unit=64,header={header}" for m, n in GAMES)
        rows = self.rows("-a", designs, "-w", games, "--passes", "memory")
        for row in rows:
            if row["allocator"] != "null":
                m, n = (int(part.split("=")[1]) for part in row["workload"].split(":")[1].split(",")[:2])
                self.assertEqual(row["status"], "ok", row["detail"])
                yield row["options"], m, n, (int(row["peak_extent_bytes"]) + header) / 64

    def test_free_lists_need_the_lower_bound(self):
        fits = [f"freelist:bins=no,fit={fit}" for fit in ("first", "next", "best")]
        seen = list(self.extents(",".join(fits), 8))
        self.assertEqual(len(seen), 3 * len(GAMES))
        for options, m, n, units in seen:
            bound = m * (log2(n) / 2 + 1) - n + 1
            with self.subTest(options=options, M=m, n=n):
                if (m & (m - 1)) == 0:  # Robson's formula is exact where the sizes divide M
                    self.assertEqual(units, bound)
                else:
                    self.assertLessEqual(abs(units - bound), n * log2(n))

    def test_buddies_need_their_own(self):
        for _, m, n, units in self.extents("buddy", 0):
            with self.subTest(M=m, n=n):
                if (m & (m - 1)) == 0 and n <= m // 8:  # with few objects a round the floors in the rule tell
                    self.assertEqual(units, m * (1 + log2(n) / 2))

    def test_a_game_is_checked_and_repeats(self):
        game = "robson:live=512,largest=16"
        got = run("check", "-a", "freelist,buddy,arena", "-w", game)
        self.assertEqual(got.returncode, 0, got.stdout + got.stderr)
        self.assertEqual(got.stdout.count("ok  "), 3, got.stdout)

        def figures(row):
            return {key: row[key] for key in row if key != "run_id" and "resident" not in key}

        first = [figures(row) for row in self.rows("-a", "freelist", "-w", game, "--passes", "memory", "--seed", "1")]
        self.out += "-again"
        self.assertEqual(
            first, [figures(row) for row in self.rows("-a", "freelist", "-w", game, "--passes", "memory", "--seed", "1")])

    def test_what_does_not_apply(self):
        rows = self.rows("-a", "freelist,libc", "-w", "robson:live=64,largest=4", "-r", "1")
        said = {(row["allocator"], row["pass"]): (row["status"], row["detail"]) for row in rows}
        self.assertEqual(said["freelist", "memory"], ("ok", ""))
        self.assertEqual(said["freelist", "throughput"],
                         ("not_applicable", "a live game differs from design to design: times do not compare"))
        self.assertEqual(said["libc", "memory"],
                         ("not_applicable", "addresses outside the door do not repeat: no live game"))

    def test_bad_options_and_no_memory(self):
        got = run("gen", "robson", "-o", os.path.join(self.folder.name, "x.trace"))
        self.assertEqual(got.returncode, 2)
        self.assertIn("robson is played live against each design: it has no trace of its own", got.stderr)
        got = run("run", "-a", "freelist", "-w", "robson:largest=3", "-o", self.out, "--passes", "memory")
        self.assertEqual(got.returncode, 1)
        self.assertIn("robson: largest=3 is not a power of two", got.stderr)
        self.out += "-again"
        got = run("run", "-a", "bump:reserve=1m", "-w", "robson", "-o", self.out, "--passes", "memory")
        self.assertEqual(got.returncode, 1)
        with open(os.path.join(self.out, "results.csv"), newline="") as file:
            row = next(row for row in csv.DictReader(file) if row["allocator"] == "bump")
        self.assertEqual(row["status"], "oom")
        self.assertRegex(row["detail"], r"^object \d+ of \d+ bytes: the allocator returned NULL$")


if __name__ == "__main__":
    unittest.main()
