"""test_empirical.py - the workload empirical on the command line: every design keeps its promises on it, results name
the recording that it was fitted from, and a recording that is not there is refused before anything is written."""

import csv
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ALLOCLAB = os.path.abspath(os.environ["ALLOCLAB"])
SOURCE = "traces/samples/redis.trace"


class Empirical(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="alloclab-empirical-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def run_cli(self, *arguments):
        return subprocess.run([ALLOCLAB, *arguments], capture_output=True, text=True, timeout=120, check=False)

    def test_designs_keep_their_promises_on_it(self):
        done = self.run_cli("check", "-a", "freelist,segfit,arena", "-w", f"empirical:from={SOURCE},ops=40k")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_results_name_the_recording(self):
        out = self.folder / "out"
        done = self.run_cli("run", "-a", "null,bump", "-w", f"empirical:ops=2k,from={SOURCE}", "-r", "1", "-o", str(out))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        with open(out / "results.csv", encoding="utf-8") as file:
            names = {row["workload"] for row in csv.DictReader(file)}
        self.assertEqual(len(names), 1, names)
        self.assertRegex(names.pop(), rf"^empirical:from={re.escape(SOURCE)},hash=[0-9a-f]{{16}},ops=2000,run=1$")

    def test_missing_recording(self):
        message = "empirical: from=none/x.trace: cannot read it: No such file or directory\n"
        for command in ("run", "check", "gen"):
            with self.subTest(command=command):
                out = self.folder / "out"
                words = ["empirical:from=none/x.trace", "-o", str(out)] if command == "gen" else [
                    "-a", "bump", "-w", "empirical:from=none/x.trace"] + (["-o", str(out)] if command == "run" else [])
                done = self.run_cli(command, *words)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertEqual(done.stderr, f"alloclab {command}: {message}")
                self.assertFalse(out.exists())


if __name__ == "__main__":
    unittest.main()
