"""test_whole_programs.py - `alloclab programs`: whole programs by hyperfine, as rows of results.csv; that they do run on the
library; and what a program that fails, hangs or crashes leaves behind.

run.py: modes=release
"""

import csv
import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest

ALLOCLAB = os.path.abspath(os.environ.get("ALLOCLAB", "./alloclab"))
TINY = "tiny exec perl -e 'my @l = map { \"x$_\" } 1 .. 20000; print scalar @l'"


@unittest.skipUnless(shutil.which("hyperfine"), "hyperfine is not installed: scripts/install.sh test")
class Programs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = os.path.join(folder.name, "out")
        self.list = os.path.join(folder.name, "list")

    def run_list(self, lines, *more, allocators="glibc,segfit", env=None):
        with open(self.list, "w", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in lines))
        return subprocess.run([ALLOCLAB, "programs", "-a", allocators, "-w", self.list, "-o", self.out, *more],
                              capture_output=True, text=True, check=False, env={**os.environ, **(env or {})}, timeout=100)

    def rows(self, name="results.csv"):
        with open(os.path.join(self.out, name), newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def test_rows(self):
        got = self.run_list(["# a comment", "", TINY, "  other\texec true"], "-r", "2", "--seed", "3")
        self.assertEqual(got.returncode, 0, got.stderr)
        rows = self.rows()
        listed = subprocess.run([ALLOCLAB, "list", "metrics"], check=True, capture_output=True, text=True).stdout
        self.assertEqual(list(rows[0]), [line.split()[0] for line in listed.splitlines()])
        self.assertEqual(sorted((r["block"], r["workload"], r["allocator"]) for r in rows),
                         [(b, w, a) for b in "01" for w in ("other", "tiny") for a in ("glibc", "segfit")])
        for order, row in enumerate(rows):
            self.assertEqual((row["status"], row["pass"], row["via"], row["thp"], row["order"]),
                             ("ok", "program", "malloc", "asis", str(order)))
            with open(os.path.join(self.out, "hyperfine", f"{order:04}.json"), encoding="utf-8") as file:
                timed, = json.load(file)["results"]
            self.assertEqual(timed["command"], f"{row['workload']} on {row['allocator']}")
            for key, column in (("mean", "program_wall_ns"), ("user", "program_user_ns"), ("system", "program_system_ns")):
                self.assertAlmostEqual(timed[key] * 1e9, float(row[column]), delta=1)
            self.assertGreater(float(row["program_wall_ns"]), 0)
            self.assertGreater(int(row["program_faults_count"]), 10)
            self.assertEqual((row["ns_per_op"], row["threads"], row["touch"], row["release"]), ("", "", "", ""))
        peaks = {(r["workload"], r["allocator"]): int(r["program_peak_resident_bytes"]) for r in rows}
        self.assertGreater(peaks["tiny", "glibc"], peaks["other", "glibc"])
        compared = {(r["workload"], r["allocator"], r["metric"]) for r in self.rows("comparisons.csv")}
        self.assertIn(("tiny", "segfit", "program_wall_ns"), compared)
        with open(os.path.join(self.out, "run.json"), encoding="utf-8") as file:
            self.assertEqual(json.load(file)["workloads"], ["tiny", "other"])
        self.assertIn("too few blocks", got.stdout)
        drawn = subprocess.run(["make", "-s", "figures", f"DIR={self.out}"], capture_output=True, text=True, check=False,
                               env={k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")})
        self.assertEqual((drawn.returncode, drawn.stderr), (0, ""))
        pictures = [name for name in os.listdir(self.out) if name.endswith(".png")]
        self.assertIn("forest-program_wall_ns.png", pictures)
        self.assertEqual([name for name in pictures if not name.startswith("forest-program_")], [])

    def test_it_runs_on_the_library_and_with_its_options(self):
        got = self.run_list(["preloaded grep -q liballoclab-segfit /proc/self/maps",
                             "told test \"$ALLOCLAB_OPTIONS\" && echo \"$ALLOCLAB_OPTIONS\" | grep -q batch=32",
                             "bare test -z \"$LD_PRELOAD\""], "-r", "1", allocators="glibc,segfit:batch=32")
        self.assertEqual(got.returncode, 1)  # some had to fail
        self.assertEqual({(r["workload"], r["allocator"]): r["status"] for r in self.rows()},
                         {("preloaded", "glibc"): "failed", ("preloaded", "segfit"): "ok",
                          ("told", "glibc"): "failed", ("told", "segfit"): "ok",
                          ("bare", "glibc"): "ok", ("bare", "segfit"): "failed"})

    def test_failures_are_rows(self):
        got = self.run_list(["bad exit 3", "crash kill -SEGV $$", "slow sleep 31.4159 & sleep 31.4159"], "-r", "1",
                            "--limit-seconds", "1", allocators="glibc")
        self.assertEqual(got.returncode, 1)
        found = {r["workload"]: r for r in self.rows()}
        self.assertEqual([(found[n]["status"], found[n]["detail"]) for n in ("bad", "crash", "slow")], [
            ("failed", "exit status 3 of: exit 3"), ("crash", "Segmentation fault"), ("timeout", "not done after 1 s")])
        for row in found.values():
            self.assertEqual((row["program_wall_ns"], row["program_faults_count"]), ("", ""))
        self.assertIn("bad on glibc: failed: exit status 3", got.stderr)
        end = time.monotonic() + 10  # what a program started dies with it
        while self.sleepers() and time.monotonic() < end:
            time.sleep(0.01)
        self.assertEqual(self.sleepers(), [])

    @staticmethod
    def sleepers():
        found = []
        for process in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{process}/cmdline", "rb") as file:
                    found += [process] if file.read() == b"sleep\x0031.4159\x00" else []
            except OSError:
                pass
        return found

    def test_bad_input_leaves_nothing(self):
        libm = "/lib/x86_64-linux-gnu/libm.so.6"
        cases = [
            ([], {}, "list: no program in it"),
            (["lonely"], {}, "list:1: 'lonely' has no command"),
            (["a true", "a true"], {}, "list:2: 'a' is there twice"),
            ([TINY], {"allocators": "glibc,arena"}, "arena has no drop-in library"),
            ([TINY], {"env": {"PATH": "/nowhere"}}, "hyperfine is not there: install the Debian package hyperfine"),
        ]
        if os.path.exists(libm):
            cases.append(([TINY], {"allocators": f"preload:{libm}"}, "it was not loaded, or defines no malloc"))
        for lines, more, message in cases:
            with self.subTest(message=message):
                got = self.run_list(lines, **more)
                self.assertEqual(got.returncode, 2, got.stderr)
                self.assertIn(message, got.stderr)
                self.assertFalse(os.path.exists(self.out))
        self.assertEqual(self.run_list([TINY], "--base", "tlsf").returncode, 2)
        os.unlink(self.list)
        got = subprocess.run([ALLOCLAB, "programs", "-a", "glibc", "-w", self.list, "-o", self.out], capture_output=True,
                             text=True, check=False)
        self.assertEqual((got.returncode, got.stderr),
                         (2, f"alloclab programs: {self.list}: No such file or directory\n"))


if __name__ == "__main__":
    unittest.main()
