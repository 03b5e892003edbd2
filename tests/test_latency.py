"""test_latency.py - `alloclab run --passes latency`: the rows that come out are complete, and every op is in them once.
What the times are is never asserted, but that a planted sleep is in them."""

import csv
import os
import subprocess
import tempfile
import unittest

ALLOCLAB = os.environ.get("ALLOCLAB", "./alloclab")
OPS = ["alloc", "calloc", "realloc", "free"]

SLEEPING = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
void *malloc(unsigned long bytes)
{
    static void *(*next)(unsigned long);
    static int calls;
    if (!next)
        next = (void *(*)(unsigned long))dlsym((void *)-1l, "malloc");
    if (bytes == 4321 && ++calls == 3)
        nanosleep(&(struct timespec){.tv_nsec = 30000000}, 0);
    return next(bytes);
}
"""


class Latency(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = holder.name
        self.out = os.path.join(self.folder, "out")

    def run_latency(self, *args):
        got = subprocess.run([ALLOCLAB, "run", "--passes", "latency", "-o", self.out, *args], capture_output=True,
                             text=True, timeout=120, check=False)
        return got

    def table(self, name):
        with open(os.path.join(self.out, name), newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def counts(self):
        """The count of each (block, allocator, workload, release) by op kind."""
        found = {}
        for row in self.table("latency.csv"):
            self.assertLess(float(row["low_ns"]), float(row["high_ns"]))
            self.assertLessEqual(float(row["high_ns"]) - float(row["low_ns"]),
                                 max(float(row["low_ns"]) / 64, 2) + 0.01, "wider than is said")
            cell = found.setdefault((row["block"], row["allocator"], row["workload"], row["release"]), {})
            cell[row["op"]] = cell.get(row["op"], 0) + int(row["count"])
        return found

    def test_every_op_is_in_the_rows(self):
        got = self.run_latency("-a", "tlsf,arena,libc", "-w", "random:ops=20k,live=1k,request:requests=30", "-r", "2")
        self.assertEqual((got.returncode, got.stdout.count(" 0 failed")), (0, 1), got.stderr)
        rows, counts = self.table("results.csv"), self.counts()
        self.assertEqual(len(rows), 2 * 2 * 4, "null runs without being asked for")
        for row in rows:
            cell = counts[row["block"], row["allocator"], row["workload"], row["release"]]
            timed = sum(cell.get(op, 0) for op in OPS)
            self.assertEqual(timed, int(row["timed_ops_count"]))
            if row["release"] == "free":
                self.assertEqual(timed, int(row["ops"]))
            else:
                self.assertLess(timed, int(row["ops"]), "frees are left to the scopes' exits")
            scopes = 30 if row["allocator"] == "arena" and row["release"] == "scope" else None
            self.assertEqual((cell.get("scope_enter"), cell.get("scope_exit")), (scopes, scopes))
            quantiles = {"p50_ns": 2, "p99_ns": 100, "p999_ns": 1000, "p9999_ns": 10000, "max_ns": 1}
            self.assertEqual([c for c in quantiles if row[c]], [c for c in quantiles if timed >= quantiles[c]])
            values = [float(row[c]) for c in quantiles if row[c]]
            self.assertEqual(values, sorted(values))
            self.assertEqual(row["replay_min_max_ns"] != "", row["allocator"] != "libc")
            self.assertEqual(row["harness_p50_ns"] != "", row["allocator"] != "null")
            self.assertGreater(float(row["clock_step_ns"]), 0)
            self.assertEqual(row["ns_per_op"], "", "not measured in this pass: empty")

    def test_tail(self):
        got = self.run_latency("-a", "segfit,libc", "-w", "random:ops=20k,live=1k", "-r", "1")
        self.assertEqual(got.returncode, 0, got.stderr)
        longest = {row["allocator"]: float(row["max_ns"]) for row in self.table("results.csv")}
        for name, most in longest.items():
            rows = [row for row in self.table("latency_tail.csv") if row["allocator"] == name]
            tail = [row for row in rows if row["slowest_in"] == "pass"]
            worst = [row for row in rows if row["slowest_in"] == "replay_min"]
            self.assertEqual((len(worst), {row["ns"] for row in worst}), (0, set()) if name == "libc" else (16, {""}))
            self.assertEqual(len(tail), 32)
            self.assertEqual(len({row["op_index"] for row in tail}), 32)
            self.assertAlmostEqual(max(float(row["ns"]) for row in tail), most, delta=0.01)
            for row in tail:
                known = name != "libc"
                self.assertEqual(row["cause"] in ("none seen", "os door", "page fault", "os door and page fault"), known)
                self.assertEqual(row["replay_min_ns"] != "", known)

    def test_one_in_a_prime(self):
        got = self.run_latency("-a", "tlsf", "-w", "random:ops=20k,live=1k", "-r", "1", "--latency-every", "7")
        self.assertEqual(got.returncode, 0, got.stderr)
        for row in self.table("results.csv"):
            self.assertEqual(int(row["timed_ops_count"]), -(-int(row["ops"]) // 7))
        again = self.run_latency("-a", "tlsf", "-w", "random", "--latency-every", "91")
        self.assertEqual(again.returncode, 2)
        self.assertIn("--latency-every: 91 is not a prime (nor 1): a program that repeats something every 7 ops",
                      again.stderr)

    def test_calls_that_reach_no_allocator(self):
        text = os.path.join(self.folder, "odd.txt")
        with open(text, "w", encoding="utf-8") as file:
            file.write("alloclab trace text 1\nalloc 0 100\nfree -\nfree 0\n")
        trace = os.path.join(self.folder, "odd.trace")
        made = subprocess.run([ALLOCLAB, "trace", "convert", text, "-o", trace], capture_output=True, text=True,
                              check=False)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertEqual(self.run_latency("-a", "tlsf", "-w", trace, "-r", "1").returncode, 0)
        for row in self.table("results.csv"):
            self.assertEqual((row["ops"], row["timed_ops_count"]), ("3", "2"))

    def test_a_planted_sleep_is_the_maximum(self):
        source, library = (os.path.join(self.folder, "sleeping" + end) for end in (".c", ".so"))
        with open(source, "w", encoding="utf-8") as file:
            file.write(SLEEPING)
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-fno-builtin", "-o", library, source], check=True)
        text = os.path.join(self.folder, "few.txt")
        with open(text, "w", encoding="utf-8") as file:
            file.write("alloclab trace text 1\n" + "".join(f"alloc {i} {4321 if i % 10 == 5 else 64}\n" for i in range(100)))
        trace = os.path.join(self.folder, "few.trace")
        subprocess.run([ALLOCLAB, "trace", "convert", text, "-o", trace], check=True, capture_output=True)
        got = self.run_latency("-a", f"preload:{library}", "-w", trace, "-r", "1")
        self.assertEqual(got.returncode, 0, got.stderr)
        row = next(r for r in self.table("results.csv") if r["allocator"] == "sleeping.so")
        self.assertGreaterEqual(float(row["max_ns"]), 30e6)
        slow = [r for r in self.table("latency_tail.csv") if r["ns"] and float(r["ns"]) >= 30e6]
        self.assertIn(("sleeping.so", "25", "4321"), [(r["allocator"], r["op_index"], r["size_bytes"]) for r in slow])


if __name__ == "__main__":
    unittest.main()
