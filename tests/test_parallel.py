"""test_parallel.py - `alloclab run --replay parallel`: rows and threads.csv of it, copies and their efficiency, what it does not apply to,
and bad input."""

import csv
import os
import subprocess
import tempfile
import unittest

ALLOCLAB = os.environ.get("ALLOCLAB", "./alloclab")
PAIR = "prodcons:ops=10k,producers=1,consumers=1"


def run(*args):
    return subprocess.run([ALLOCLAB, *args], capture_output=True, text=True, timeout=120)


class Parallel(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.out = os.path.join(self.folder.name, "out")

    def tearDown(self):
        self.folder.cleanup()

    def rows(self, name="results.csv"):
        with open(os.path.join(self.out, name), newline="") as file:
            return list(csv.DictReader(file))

    def run_parallel(self, *args):
        got = run("run", "-o", self.out, "-r", "1", "--replay", "parallel", *args)
        self.assertEqual(got.returncode, 0, got.stderr)
        return got

    def test_rows(self):
        got = self.run_parallel("-a", "segfit,libc,freelist", "-w", PAIR, "--affinity", "spread")
        rows = {(r["allocator"], r["pass"]): r for r in self.rows()}
        timed, memory = rows["segfit", "throughput"], rows["segfit", "memory"]
        self.assertEqual([timed[c] for c in ("replay", "copies", "affinity", "lanes_count")],
                         ["parallel", "1", "spread", "3"])
        self.assertEqual([memory[c] for c in ("replay", "copies", "affinity", "lanes_count", "wait_ns")],
                         ["serial", "1", "", "", ""], "the memory pass stays serial")
        self.assertEqual(timed["door_calls_count"], "", "not exact when threads race")
        self.assertEqual(timed["scaling_efficiency_ratio"], "1")
        self.assertAlmostEqual(float(timed["ns_per_op"]) * float(timed["mops_per_s"]), 1000, delta=1)
        for column in ("wait_ratio", "wait_most_ratio", "wait_stretch_ratio"):
            self.assertTrue(0 <= float(timed[column]) <= 1, timed[column])
        self.assertEqual(rows["libc", "throughput"]["status"], "ok")
        for name in ("freelist", "null"):
            row = rows[name, "throughput"]
            self.assertEqual((row["status"], row["ns_per_op"]), ("not_applicable", ""))
            self.assertIn("one thread at a time", row["detail"])
        self.assertIn("waiting", got.stdout)

    def test_threads_file(self):
        self.run_parallel("-a", "segfit", "-w", "mstress:generations=4,threads=3,steps=200", "--copies", "2", "--passes",
                          "throughput")
        timed = next(r for r in self.rows() if r["allocator"] == "segfit")
        threads = self.rows("threads.csv")
        self.assertEqual(timed["lanes_count"], "8", "main and 3 at once, twice")
        self.assertEqual([(t["lane"], t["copy"]) for t in threads], [(str(i), str(i // 4)) for i in range(8)])
        self.assertEqual(sum(int(t["recorded_threads"]) for t in threads), 2 * int(timed["threads"]))
        waits = sum(int(t["wait_ns"]) for t in threads)
        self.assertAlmostEqual(float(timed["wait_ns"]), waits, delta=8, msg="the sum of what is rounded down in each")

    def test_stretch_is_what_the_busiest_thread_leaves(self):
        """Busy and wait of all threads add up to no more than the wall time; the busiest one's rest is the stretch."""
        self.run_parallel("-a", "segfit", "-w", PAIR, "--passes", "throughput")
        timed = next(r for r in self.rows() if r["allocator"] == "segfit")
        busiest = max(int(t["busy_ns"]) for t in self.rows("threads.csv"))
        waits = float(timed["wait_ns"]) / (float(timed["wait_ratio"]) * int(timed["lanes_count"])) \
            if float(timed["wait_ratio"]) else None
        if waits:
            self.assertAlmostEqual(1 - busiest / waits, float(timed["wait_stretch_ratio"]), delta=0.01)

    def test_oracle(self):
        got = run("check", "-a", "segfit,libc,freelist,private", "-w", PAIR, "--replay", "parallel", "--copies", "1,2")
        self.assertEqual(got.returncode, 0, got.stderr)
        lines = got.stdout.splitlines()
        self.assertEqual(len([line for line in lines if line.startswith("ok ")]), 6, got.stdout)
        self.assertEqual(len([line for line in lines if ", 2 copies" in line]), 4, got.stdout)
        self.assertTrue(all("one thread at a time" in line for line in lines if "freelist" in line), got.stdout)
        self.assertIn("--copies is for --replay parallel", run("check", "-w", PAIR, "--copies", "2").stderr)
        self.run_parallel("-a", "segfit", "-w", PAIR, "--passes", "verify,memory")
        replays = {r["pass"]: r["replay"] for r in self.rows() if r["allocator"] == "segfit"}
        self.assertEqual(replays, {"verify": "parallel", "memory": "serial"})

    def test_copies(self):
        self.run_parallel("-a", "slab", "-w", "random:ops=20k,live=1k", "--copies", "3,1", "--passes", "throughput")
        rows = [r for r in self.rows() if r["allocator"] == "slab"]
        self.assertEqual([r["copies"] for r in rows], ["1", "3"], "one copy comes first")
        one, three = rows
        self.assertEqual(one["ops"], three["ops"], "the trace's")
        self.assertAlmostEqual(float(three["scaling_efficiency_ratio"]),
                               float(three["mops_per_s"]) / 3 / float(one["mops_per_s"]), delta=2e-5)

    def test_efficiency_needs_one_copy(self):
        self.run_parallel("-a", "slab", "-w", "random:ops=20k,live=1k", "--copies", "2", "--passes", "throughput")
        self.assertEqual([r["scaling_efficiency_ratio"] for r in self.rows()], ["", ""])

    def test_recording(self):
        self.run_parallel("-a", "segfit", "-w", "traces/samples/redis.trace", "--passes", "throughput")
        timed = next(r for r in self.rows() if r["allocator"] == "segfit")
        self.assertEqual((timed["status"], timed["lanes_count"]), ("ok", timed["threads"]))

    def test_scopes_are_left_out(self):
        self.run_parallel("-a", "segfit", "-w", "request:requests=50", "--passes", "throughput")
        timed = next(r for r in self.rows() if r["allocator"] == "segfit")
        self.assertEqual((timed["status"], timed["release"]), ("ok", "free"))

    def test_too_many(self):
        self.run_parallel("-a", "segfit", "-w", PAIR, "--copies", "100", "--passes", "throughput")
        timed = next(r for r in self.rows() if r["allocator"] == "segfit")
        self.assertEqual(timed["status"], "not_applicable")
        self.assertIn("3 threads at once, in each of 100 copies: at most 256 run in all", timed["detail"])

    def test_bad_input(self):
        for args, message in ((["--copies", "2"], "are for --replay parallel"),
                              (["--affinity", "spread"], "are for --replay parallel"),
                              (["--replay", "both"], "'both' is not one of serial, parallel"),
                              (["--replay", "parallel", "--copies", "0"], "'0' is not a number from 1 to 256"),
                              (["--replay", "parallel", "--copies", "2,2"], "2 is there twice"),
                              (["--replay", "parallel", "--affinity", "tight"], "is not one of none, spread"),
                              (["--replay", "parallel", "--release", "scope"], "executes every free")):
            got = run("run", "-a", "libc", "-w", PAIR, "-o", self.out, *args)
            self.assertEqual(got.returncode, 2, args)
            self.assertIn(message, got.stderr)
            self.assertFalse(os.path.exists(self.out), "nothing is written")


if __name__ == "__main__":
    unittest.main()
