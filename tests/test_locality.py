"""test_locality.py - `alloclab run --passes locality`: counts under callgrind that repeat to the digit, whatever the size of
the environment; an allocator that gives each object a page of its own has the misses and page walks that theory says; and
what cannot be measured is a row that says so. Nothing here is timed.

run.py: modes=release timeout=240
"""

import csv
import os
import subprocess
import tempfile
import unittest

ALLOCLAB = os.environ.get("ALLOCLAB", "./alloclab")
COLUMNS = {"locality_instructions_per_op": ("cache", ["Ir"]), "locality_l1_misses_per_op": ("cache", ["D1mr", "D1mw"]),
           "locality_ll_misses_per_op": ("cache", ["DLmr", "DLmw"]),
           "locality_dtlb_misses_per_op": ("tlb", ["D1mr", "D1mw"]),
           "locality_page_walks_per_op": ("tlb", ["DLmr", "DLmw"])}

# Objects of 4321 bytes lie at the start of a page each, in a row, from the first one again once all are freed; free
# does not touch them. Objects of 1234 bytes end the program.
STRIDED = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#define PAGES 8192L
static char pages[PAGES * 4096] __attribute__((aligned(4096)));
static long next, live;
void *malloc(size_t bytes)
{
    static void *(*real)(size_t);
    if (bytes == 4321) {
        live++;
        return pages + next++ * 4096;
    }
    if (bytes == 1234)
        abort();
    if (!real)
        real = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    return real(bytes);
}
void free(void *p)
{
    static void (*real)(void *);
    if ((char *)p >= pages && (char *)p < pages + sizeof pages) {
        if (!--live)
            next = 0;
        return;
    }
    if (!real)
        real = (void (*)(void *))dlsym(RTLD_NEXT, "free");
    real(p);
}
"""


class Locality(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = holder.name

    def run_locality(self, name, *args, passes="locality", **variables):
        return subprocess.run([ALLOCLAB, "run", "--passes", passes, "--seed", "7", "-o", os.path.join(self.folder, name),
                               *args], capture_output=True, text=True, timeout=300, check=False,
                              env={**os.environ, **variables})

    def table(self, name, file="results.csv"):
        with open(os.path.join(self.folder, name, file), newline="", encoding="utf-8") as text:
            return list(csv.DictReader(text))

    def counts(self, name):
        """locality.csv: {(allocator, workload, release): {(model, event): count}}."""
        found = {}
        for row in self.table(name, "locality.csv"):
            self.assertTrue(row["source"].startswith("callgrind-"), row)
            cell = found.setdefault((row["allocator"], row["workload"], row["release"]), {})
            self.assertNotIn((row["model"], row["event"]), cell)
            cell[row["model"], row["event"]] = int(row["count"])
        return found

    def library(self, name, source):
        path = os.path.join(self.folder, name)
        with open(path + ".c", "w", encoding="utf-8") as file:
            file.write(source)
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-fno-builtin", "-o", path + ".so", path + ".c"], check=True)
        return "preload:" + path + ".so"

    def trace(self, name, lines):
        text, path = (os.path.join(self.folder, name + end) for end in (".txt", ".trace"))
        with open(text, "w", encoding="utf-8") as file:
            file.write("alloclab trace text 1\n" + "\n".join(lines) + "\n")
        subprocess.run([ALLOCLAB, "trace", "convert", text, "-o", path], check=True, capture_output=True)
        return path

    def test_every_design(self):
        got = self.run_locality("all", "-w", "request:requests=5", "-r", "3")
        self.assertEqual(got.returncode, 0, got.stdout + got.stderr)
        rows, counts = self.table("all"), self.counts("all")
        floor = {r["workload"]: r["locality_instructions_per_op"] for r in rows if r["allocator"] == "null"}
        measured = [r for r in rows if r["status"] != "not_applicable"]
        self.assertEqual(len(counts), len(measured), "blocks do not repeat a count")
        self.assertEqual({r["status"] for r in measured}, {"ok"})
        for row in measured:
            cell = counts[row["allocator"], row["workload"], row["release"]]
            self.assertEqual(len(cell), 2 * 9)
            self.assertEqual(row["ns_per_op"], "", "not measured in this pass: empty")
            self.assertEqual(row["touch"], "first")
            self.assertEqual(int(row["locality_instructions_count"]), cell["cache", "Ir"])
            self.assertEqual(row["locality_rerun_ratio"], "1")
            for column, (model, events) in COLUMNS.items():
                self.assertAlmostEqual(float(row[column]), sum(cell[model, e] for e in events) / int(row["ops"]), delta=1e-6)
            if row["allocator"] != "null":
                self.assertEqual(row["harness_instructions_per_op"], floor[row["workload"]])
                self.assertGreater(float(row["locality_instructions_per_op"]), float(floor[row["workload"]]))
        lines = [line.split()[:3] for line in got.stdout.splitlines()]
        for row in measured:
            self.assertIn([row["allocator"], row["release"], f"{float(row['locality_instructions_per_op']):.1f}"], lines)

    def test_the_same_in_any_environment(self):
        counts = []
        for size in (0, 1000, 3500, 70_000):
            got = self.run_locality(str(size), "-w", "random:ops=1k,live=100", "-a", "libc", FILLER="x" * size)
            self.assertEqual(got.returncode, 0, got.stderr)
            counts.append(self.counts(str(size)))
        self.assertEqual(len(counts[0]), 2)
        for other in counts[1:]:
            self.assertEqual(other, counts[0])

    def test_strided_objects_miss_as_theory_says(self):
        """One object a page, each written once and freed untouched. An LRU cache that the pages fit into misses none of
        them in the second replay, and one that is too small in each of its sets misses all. They fit into 64 TLB entries
        (48), into 1536 (1024), or into neither (4096). In the caches all lie in one set of the first level, and in 128
        sets of 16 ways of the last. Besides, the plan passes by once and the table of slots twice, 8
        bytes an op and an object."""
        library = self.library("strided", STRIDED)
        sizes = (48, 1024, 4096)
        traces = [self.trace(f"pages{n}", [f"alloc {i} 4321" for i in range(n)] + [f"free {i}" for i in range(n)])
                  for n in sizes]
        got = self.run_locality("out", "-a", library, "-w", ",".join(traces))
        self.assertEqual(got.returncode, 0, got.stdout + got.stderr)
        counts = self.counts("out")
        for n, level1, walks, lines_last in zip(sizes, (0, 1024, 4096), (0, 0, 4096), (0, 0, 4096)):
            cell = counts["strided.so", f"pages{n}", "free"]
            passing = 32 * n  # bytes of the plan, and of the slots twice
            found = [sum(cell[model, e] for e in events) for model, events in list(COLUMNS.values())[1:]]
            theory = [n, lines_last, level1, walks]
            slack = [passing // 64, passing // 64, 2 * passing // 4096, 2 * passing // 4096]
            for what, value, least, more in zip(("L1", "LL", "dTLB", "walks"), found, theory, slack):
                self.assertTrue(least <= value <= least + more + 32, f"{n} pages, {what}: {value}, theory {least} + {more}")

    def test_at_most_so_many_ops(self):
        got = self.run_locality("out", "-a", "tlsf", "--locality-ops", "100", "-w", "random:ops=2k,live=100,"
                                "request:requests=3", passes="memory,locality")
        self.assertEqual(got.returncode, 0, got.stdout + got.stderr)
        for row in self.table("out"):
            self.assertEqual(row["ops"] == "100", row["pass"] == "locality", row)
        again = self.run_locality("bad", "-w", "random", "--locality-ops", "0")
        self.assertEqual(again.returncode, 2)
        self.assertIn("--locality-ops: '0' is not a number from 1 to", again.stderr)

    def test_called_through_malloc(self):
        """Our drop-in library and a rival are what callgrind sees: their rows differ from each other's and the floor's."""
        got = self.run_locality("out", "-a", "segfit,jemalloc,glibc", "-w", "random:ops=1k,live=100")
        self.assertEqual(got.returncode, 0, got.stdout + got.stderr)
        rows = [r for r in self.table("out") if r["allocator"] != "null"]
        self.assertEqual({r["via"] for r in rows}, {"malloc"})
        self.assertEqual(len({r["locality_instructions_count"] for r in rows}), 3)
        for row in rows:
            self.assertGreater(float(row["locality_instructions_per_op"]), float(row["harness_instructions_per_op"]))

    def test_what_cannot_be_measured(self):
        bare = os.path.join(self.folder, "bare")
        os.mkdir(bare)
        got = self.run_locality("out", "-a", "tlsf", "-w", "random:ops=100", PATH=bare)
        self.assertEqual(got.returncode, 1)
        for row in self.table("out"):
            self.assertEqual((row["status"], row["locality_instructions_count"]), ("failed", ""))
            self.assertIn("valgrind, which is not installed: run `make locality-deps`", row["detail"])
        got = self.run_locality("crash", "-a", self.library("ends", STRIDED), "-w", self.trace("ends", ["alloc 0 1234"]))
        self.assertEqual(got.returncode, 1)
        row = next(r for r in self.table("crash") if r["allocator"] == "ends.so")
        self.assertEqual((row["status"], row["locality_instructions_count"]), ("crash", ""))
        self.assertIn("Aborted", row["detail"])
        self.assertFalse(os.path.exists(os.path.join(self.folder, "crash", "locality.csv")) and
                         [r for r in self.table("crash", "locality.csv") if r["allocator"] == "ends.so"])


if __name__ == "__main__":
    unittest.main()
