"""test_open.py - `alloclab run --passes open`: one rate and schedule for all designs of a target, response beside service times, the
distribution in open.csv, and bad input. No time is asserted."""

import csv
import os
import subprocess
import tempfile
import unittest

ALLOCLAB = os.environ.get("ALLOCLAB", "./alloclab")
FRAMES = "frame:frames=40,objects=50,assets=20"
REQUESTS = "request:requests=500,open=8"


def run(*args):
    return subprocess.run([ALLOCLAB, *args], capture_output=True, text=True, timeout=120, check=False)


class Open(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.out = os.path.join(holder.name, "out")

    def run_open(self, *args):
        got = run("run", "--passes", "open", "-o", self.out, *args)
        self.assertEqual(got.returncode, 0, got.stderr)
        return got

    def rows(self, name="results.csv"):
        with open(os.path.join(self.out, name), newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def test_rows(self):
        got = self.run_open("-a", "segfit,arena,libc", "-w", f"{FRAMES},{REQUESTS},random:ops=1k", "-r", "2",
                            "--release", "both")
        rows = self.rows()
        rates = {}
        for row in rows:
            if row["workload"].startswith("random") or (row["release"] == "scope" and row["allocator"] != "arena"):
                self.assertEqual((row["status"], row["open_rate_per_s"]), ("not_applicable", ""))
                continue
            self.assertEqual(row["status"], "ok", row["detail"])
            rates.setdefault(row["workload"], set()).add(row["open_rate_per_s"])
            self.assertEqual(row["open_arrivals_count"], "2000", "replayed until there are enough: 50 and 4 times")
            for time in ("response", "service"):
                values = [float(row[f"open_{time}_{q}_ns"]) for q in ("p50", "p99", "p999", "max")]
                self.assertEqual(values, sorted(values))
            self.assertTrue(0 < float(row["open_utilisation_ratio"]) <= 1)
            self.assertTrue(0 <= float(row["open_late_ratio"]) <= 1)
            self.assertGreaterEqual(float(row["open_response_max_ns"]), float(row["open_service_max_ns"]))
            self.assertEqual((row["ns_per_op"], row["p50_ns"]), ("", ""), "not measured in this pass: empty")
        self.assertEqual([len(r) for r in rates.values()], [1, 1], "one rate for all designs of a target")
        for name, schedule in ((FRAMES, "uniform"), (REQUESTS, "poisson")):
            self.assertRegex(got.stderr, rf"open loop on {name}: \d+ arrivals a pass, {schedule}, \d+ per second: "
                                         "70 % of what libc can serve")
            self.assertIn(f"{name}, open loop: 2000 arrivals a block", got.stdout)

    def test_distribution(self):
        self.run_open("-a", "segfit", "-w", REQUESTS, "-r", "2", "--open-rate", "200000", "--open-schedule", "uniform")
        totals = {}
        for row in self.rows("open.csv"):
            self.assertEqual((row["schedule"], float(row["rate_per_s"])), ("uniform", 200000))
            self.assertLess(int(row["low_ns"]), int(row["high_ns"]))
            key = row["allocator"], row["block"], row["time"]
            totals[key] = totals.get(key, 0) + int(row["count"])
        self.assertEqual(len(totals), 2 * 2 * 2, "null too; two blocks, two times")
        self.assertEqual(set(totals.values()), {2000})

    def test_a_recording_keeps_its_clock(self):
        trace = os.path.join(os.path.dirname(self.out), "frames.trace")
        self.assertEqual(run("gen", FRAMES, "-o", trace).returncode, 0)
        got = self.run_open("-a", "arena,libc", "-w", trace, "-r", "1")
        self.assertIn("40 arrivals a pass, recorded, ", got.stderr)

    def test_bad_input(self):
        for args, said in ((("--open-rate", "0"), "--open-rate: '0' is not a number above 0, at most 1e9 (per second)"),
                           (("--open-load", "x"), "--open-load: 'x' is not a number above 0, at most 100"),
                           (("--open-load", "nan"), "--open-load: 'nan' is not a number"),
                           (("--open-schedule", "often"), "--open-schedule: 'often' is not one of auto, uniform, poisson")):
            got = run("run", "-w", FRAMES, "-o", self.out, *args)
            self.assertEqual(got.returncode, 2)
            self.assertIn(said, got.stderr)


if __name__ == "__main__":
    unittest.main()
