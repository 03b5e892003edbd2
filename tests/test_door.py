"""test_door.py - `--door`: what holds for every reservation of a session stands in its rows; what the machine cannot do is a
row that says so, and what contradicts itself is bad input. And the figures that the door gives: coverage and lazy returns."""

import csv
import json
import os
import re
import subprocess
import tempfile
import unittest

ALLOCLAB = os.environ.get("ALLOCLAB", "./alloclab")
SMALL = "random:ops=20k,live=2k"
DEFAULTS = "thp=default,numa=default,node=0,hugetlb=no,commit_limit=0"
POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
THP = "/sys/kernel/mm/transparent_hugepage/enabled"


def run(*args):
    return subprocess.run([ALLOCLAB, *args], capture_output=True, text=True, timeout=120)


def rows_of(folder, name="results.csv"):
    with open(os.path.join(folder, name), newline="") as file:
        return list(csv.DictReader(file))


def hugetlb_pages():
    """How many explicit huge pages this machine has; None where its kernel knows none."""
    if not os.path.exists(POOL):
        return None
    with open(POOL) as file:
        return int(file.read())


class Door(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.out = os.path.join(self.folder.name, "out")

    def tearDown(self):
        self.folder.cleanup()

    def session(self, *args, status=0):
        got = run("run", "-w", SMALL, "-o", self.out, "-r", "1", "--seed", "1", *args)
        self.assertEqual(got.returncode, status, got.stderr)
        return got, rows_of(self.out)

    def test_defaults(self):
        _, rows = self.session("-a", "bump,libc", "--passes", "memory")
        for row in rows:
            self.assertEqual(row["door"], "" if row["allocator"] == "libc" else DEFAULTS)
        with open(os.path.join(self.out, "run.json")) as file:
            self.assertEqual(json.load(file)["door"], DEFAULTS)

    def test_drop_in_libraries_get_the_door_too(self):
        """The memory is had through a door in a library of its own, which has been told the same."""
        got, rows = self.session("-a", "segfit,tlsf", "--via", "malloc", "--door", "commit_limit=64k", "--passes", "memory",
                                 status=1)
        for row in rows:
            if row["allocator"] != "null":
                self.assertNotEqual(row["status"], "ok", got.stdout)
                self.assertIn("commit_limit=64k", row["door"])

    def test_drop_in_libraries_say_their_door_and_others_none(self):
        _, rows = self.session("-a", "segfit,glibc", "--via", "malloc", "--door", "commit_limit=1g")
        for row in rows:
            self.assertEqual(row["status"], "ok")
            self.assertEqual(row["door"] == "", row["allocator"] == "glibc")

    def test_coverage(self):
        """Of bump, which commits from the start of a reservation on, all but the ends lies in whole huge pages."""
        _, rows = self.session("-a", "bump,libc", "--passes", "memory")
        row = {r["allocator"]: r for r in rows}
        ratio, committed = float(row["bump"]["huge_coverage_at_peak_ratio"]), int(row["bump"]["peak_committed_bytes"])
        huge = ratio * committed
        self.assertAlmostEqual(huge / (2 << 20), round(huge / (2 << 20)), places=3)
        self.assertGreater(huge, committed - (4 << 20))
        self.assertEqual(row["libc"]["huge_coverage_at_peak_ratio"], "")
        self.assertEqual(row["bump"]["peak_lazy_bytes"], "0")
        samples = rows_of(self.out, "timeline.csv")
        for sample in samples:
            if sample["allocator"] == "libc":
                self.assertEqual(sample["huge_coverage_bytes"], "")
            else:
                self.assertEqual(int(sample["huge_coverage_bytes"]) % (2 << 20), 0)
                self.assertLessEqual(int(sample["huge_coverage_bytes"]), int(sample["committed_bytes"]))

    @unittest.skipUnless(os.path.exists(THP), "this kernel has no transparent huge pages")
    def test_thp(self):
        """The advice changes nothing that is counted; switched off, there are no huge pages."""
        counted = ["peak_committed_bytes", "peak_reserved_bytes", "door_calls_count", "huge_coverage_at_peak_ratio"]
        seen = {}
        for thp in "default", "on", "off":
            self.out = os.path.join(self.folder.name, thp)
            passes = "memory,throughput" if thp == "off" else "memory"
            _, rows = self.session("-a", "segfit", "--door", f"thp={thp}", "--passes", passes)
            for row in rows:
                self.assertEqual((row["status"], row["door"]), ("ok", DEFAULTS.replace("thp=default", f"thp={thp}")))
                if row["pass"] == "throughput" and thp == "off":
                    self.assertEqual(row["anon_huge_bytes"], "0")
                if row["pass"] == "memory":
                    seen.setdefault(row["allocator"], []).append([row[name] for name in counted])
        for figures in seen.values():
            self.assertEqual(figures[0], figures[1])
            self.assertEqual(figures[0], figures[2])

    def test_hugetlb(self):
        pages = hugetlb_pages()
        got, rows = self.session("-a", "bump", "--door", "hugetlb=yes", status=0 if pages and pages > 200 else 1)
        self.assertTrue(rows)
        for row in rows:
            self.assertIn("hugetlb=yes", row["door"])
            if row["status"] != "ok":
                self.assertIn(row["status"], ("failed", "oom"))
                self.assertRegex(row["detail"], r"hugetlb pages? of 2 MiB")
            if pages == 0:
                self.assertEqual(row["detail"], f"door: there are no hugetlb pages of 2 MiB: {POOL} is 0; "
                                                "run: sysctl vm.nr_hugepages=N")
                self.assertEqual(row["peak_committed_bytes"], "")
        if pages == 0:
            self.assertIn("alloclab: bump on", got.stderr)

    def test_limit(self):
        got, rows = self.session("-a", "segfit", "--door", "commit_limit=256k", "--passes", "memory", status=1)
        row = [r for r in rows if r["allocator"] == "segfit"][0]
        self.assertEqual(row["status"], "oom")
        self.assertRegex(row["detail"], "returned (NULL|no heap): the commit limit of 262144 bytes is reached$")

    def test_limit_that_suffices(self):
        _, rows = self.session("-a", "bump,segfit", "--door", "commit_limit=1g,thp=off", "--passes", "memory")
        self.assertEqual({r["status"] for r in rows}, {"ok"})

    def test_nodes(self):
        path = "/sys/devices/system/node/has_memory"
        nodes = "0\n"
        if os.path.exists(path):  # not in kernels without nodes
            with open(path) as file:
                nodes = file.read()
        one = re.fullmatch(r"\d+\n", nodes)
        got, rows = self.session("-a", "bump", "--door", "numa=interleave", "--passes", "memory")
        self.assertEqual({r["status"] for r in rows}, {"ok"})
        note = "--door: this machine has one memory node: numa has no effect\n"
        self.assertEqual(note in got.stderr, bool(one))

    def test_check(self):
        got = run("check", "-a", "bump,segfit", "-w", SMALL, "--door", "thp=off")
        self.assertEqual(got.returncode, 0, got.stderr)
        self.assertEqual(got.stdout.count("ok  "), 2)
        got = run("check", "-a", "segfit", "-w", SMALL, "--door", "commit_limit=256k")
        self.assertEqual(got.returncode, 1)
        self.assertIn("the commit limit of 262144 bytes is reached", got.stdout)

    def test_bad_input(self):
        cases = [
            ("thp=maybe", "--door: option thp=maybe: give one of default|on|off"),
            ("hugetlb=perhaps", "--door: option hugetlb=perhaps: give yes or no"),
            ("commit_limit=much", "--door: option commit_limit=much: give a number of bytes"),
            ("node=5000", "--door: option node=5000: give a whole number from 0 to 1023"),
            ("size=3", "--door: "),
            ("numa=bind,node=1023", "--door: memory node 1023 does not exist: this machine has "),
            ("hugetlb=yes,thp=on", "--door: thp and hugetlb exclude each other: a page is one or the other"),
        ]
        for door, message in cases:
            for command in ["run", "-o", self.out], ["check"]:
                got = run(*command, "-w", SMALL, "-a", "bump", "--door", door)
                self.assertEqual(got.returncode, 2, door)
                self.assertIn(f"alloclab {command[0]}: {message}", got.stderr)
        self.assertFalse(os.path.exists(self.out), "nothing is written")


if __name__ == "__main__":
    unittest.main()
