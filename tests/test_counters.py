"""test_counters.py - `alloclab run --passes counters` on this machine, whatever PMU it has: the kernel's own counters go
through the same code, and what they must show is known. What a PMU answers is tests/unit/counters.c's business."""

import csv
import json
import os
import subprocess
import tempfile
import unittest

ALLOCLAB = os.environ.get("ALLOCLAB", "./alloclab")
MIB = 1 << 20
OBJECTS = 40  # of a MiB each
PAGES = OBJECTS * MIB // os.sysconf("SC_PAGESIZE")
COLUMNS = {"cycles": "pmu_cycles_per_op", "instructions": "pmu_instructions_per_op",
           "branch-misses": "pmu_branch_misses_per_op", "L1-dcache-load-misses": "pmu_l1d_load_misses_per_op",
           "LLC-load-misses": "pmu_llc_load_misses_per_op", "dTLB-load-misses": "pmu_dtlb_load_misses_per_op",
           "dTLB-store-misses": "pmu_dtlb_store_misses_per_op", "iTLB-load-misses": "pmu_itlb_load_misses_per_op",
           "page-faults": "software_page_faults_per_op", "context-switches": "software_context_switches_per_op"}


class Counters(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = holder.name
        self.out = os.path.join(self.folder, "out")

    def command(self, *args, **options):
        return subprocess.run([ALLOCLAB, *args], capture_output=True, text=True, timeout=120, check=False, **options)

    def run_counters(self, *args, passes="counters", out=None):
        got = self.command("run", "--passes", passes, "-o", out or self.out, *args)
        self.assertEqual((got.returncode, got.stdout.count(" 0 failed")), (0, 1), got.stderr)
        return got

    def table(self, name, out=None):
        with open(os.path.join(out or self.out, name), newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def pages_trace(self):
        """A program that makes OBJECTS of a MiB, all alive at once."""
        text, trace = os.path.join(self.folder, "pages.txt"), os.path.join(self.folder, "pages.trace")
        with open(text, "w", encoding="utf-8") as file:
            file.write("alloclab trace text 1\nmeta program=pages\nthread_begin\n")
            file.write("".join(f"alloc {i} {MIB}\n" for i in range(OBJECTS)))
            file.write("".join(f"free {i}\n" for i in range(OBJECTS)) + "thread_end\n")
        self.assertEqual(self.command("trace", "convert", "--from", "text", text, "-o", trace).returncode, 0)
        return trace

    def test_known_pages_are_faults(self):
        """Each page of a new heap that is touched is one fault, and none when it is touched again."""
        got = self.run_counters("-a", "bump,buddy", "-w", self.pages_trace(), "--touch", "line", "--door", "thp=off",
                          "--counters", "software", "-r", "2", passes="counters,throughput")
        rows = self.table("counters.csv")
        faults = [r for r in rows if r["event"] == "page-faults" and r["allocator"] != "null"]
        self.assertEqual([r["phase"] for r in faults], ["cold", "steady"] * 4)
        ops = int(self.table("results.csv")[0]["ops"])
        for row in faults:
            self.assertEqual((row["source"], row["lane"], row["suspect"], row["note"]), ("software", "all", "", ""))
            self.assertEqual(float(row["running_ratio"]), 1)
            self.assertAlmostEqual(float(row["per_op"]), float(row["value"]) / ops, delta=1e-8 * PAGES)
            if row["phase"] == "cold":
                self.assertGreaterEqual(float(row["value"]), PAGES)
                self.assertLess(float(row["value"]), PAGES + 100)
        for row in self.table("results.csv"):
            if row["pass"] == "counters" and row["allocator"] != "null":
                self.assertAlmostEqual(float(row["software_cold_page_faults_per_op"]) * ops, PAGES, delta=100)
                self.assertEqual(row["ns_per_op"], "", "not measured in this pass: empty")
            elif row["pass"] == "throughput":
                self.assertEqual(row["software_page_faults_per_op"], "")
        shown = [line.split() for line in got.stdout.splitlines()]
        self.assertIn(["allocator", "release", "software_page_faults", "software_cold_page_faults",
                       "software_context_switches"], shown)
        cold = [line[3] for line in shown if len(line) == 5 and line[0] == "bump"]
        self.assertAlmostEqual(float(cold[0]) * ops, PAGES, delta=100)
        by_kind = {(r["block"], r["allocator"], r["phase"], r["event"]): r["value"] for r in rows}
        for (block, allocator, phase, event), value in by_kind.items():
            if event == "page-faults":
                kinds = [float(by_kind[block, allocator, phase, kind]) for kind in ("minor-faults", "major-faults")]
                self.assertAlmostEqual(float(value), sum(kinds), places=4)

    def test_steady_faults_are_those_of_returned_pages(self):
        """A design that gives all back at once takes each page anew in each pass: the steady figure shows it."""
        self.run_counters("-a", "freelist:large=64k", "-w", self.pages_trace(), "--touch", "line", "--door", "thp=off",
                          "--counters", "page-faults", "-r", "1")
        steady = [r for r in self.table("counters.csv") if r["phase"] == "steady" and r["allocator"] == "freelist"]
        self.assertEqual(len(steady), 1)
        self.assertAlmostEqual(float(steady[0]["value"]), PAGES, delta=100)

    def test_what_has_no_figure_is_empty_and_said_once(self):
        got = self.run_counters("-a", "tlsf", "-w", "random:ops=20k,live=1k", "-r", "2")
        said = [line for line in got.stderr.splitlines() if line.startswith("--counters: ")]
        rows = self.table("counters.csv")
        missing = [r for r in rows if not r["value"]]
        noted = [r for r in rows if r["note"]]
        self.assertEqual(len(said), 1 if noted else 0, got.stderr)
        for row in missing:
            self.assertEqual((row["per_op"], row["running_ratio"]), ("", ""))
            self.assertNotEqual(row["note"], "")
            self.assertIn(row["note"], said[0])
        self.assertEqual(len(rows), 2 * 2 * (4 + 5 + 6 + 6 + 6), "two cells in two blocks; six events cold, too")
        for result in self.table("results.csv"):
            steady = {}
            for r in rows:
                if r["phase"] == "steady" and (r["block"], r["allocator"]) == (result["block"], result["allocator"]):
                    steady.setdefault(r["event"], []).append(r)
            for event, column in COLUMNS.items():
                good = any(r["value"] and not r["suspect"] for r in steady[event])
                self.assertEqual(result[column] != "", good, column)
        with open(os.path.join(self.out, "run.json"), encoding="utf-8") as file:
            json.load(file)

    def test_parallel_lanes_add_up(self):
        self.run_counters("-a", "hoard", "-w", "prodcons:ops=40k", "--replay", "parallel", "--copies", "1,2", "-r", "1",
                          "--counters", "page-faults+task-clock")
        rows = [r for r in self.table("counters.csv") if r["allocator"] == "hoard"]
        lanes = {r["copies"]: int(r["lanes_count"] or 0) for r in self.table("results.csv")}
        self.assertEqual(set(lanes), {"1", "2"})
        for copies in ("1", "2"):
            for phase in ("cold", "steady"):
                for event in ("page-faults", "task-clock"):
                    of = {r["lane"]: float(r["value"]) for r in rows
                          if (r["copies"], r["phase"], r["event"]) == (copies, phase, event)}
                    total = of.pop("all")
                    self.assertGreater(len(of), 1)
                    self.assertAlmostEqual(sum(of.values()), total, delta=1e-4 * total + 1e-3)
                    if event == "task-clock":
                        self.assertGreater(min(of.values()), 0, "each lane's own thread is counted")
        self.assertEqual(len({r["lane"] for r in rows if r["copies"] == "2"}) - 1,
                         2 * (len({r["lane"] for r in rows if r["copies"] == "1"}) - 1))

    def test_bad_lists(self):
        for passes, text, words in (
                ("counters", "cylces", "--counters: 'cylces': neither a set nor an event"),
                ("counters", "core,core", "--counters: 'core' is there twice"),
                ("throughput", "core", "--counters is for --passes counters")):
            got = self.command("run", "-a", "bump", "-w", "random:ops=100", "-o", self.out, "--passes", passes,
                               "--counters", text)
            self.assertEqual(got.returncode, 2)
            self.assertIn(words, got.stderr)
            self.assertFalse(os.path.exists(self.out), "nothing was written")

    def test_list_says_of_each_whether_it_counts(self):
        got = self.command("list", "counters")
        self.assertEqual((got.returncode, got.stderr), (0, ""))
        said = dict(line.split(None, 1) for line in got.stdout.splitlines() if line.startswith("    "))
        self.assertLessEqual(set(COLUMNS), set(said))
        self.assertEqual(said["page-faults"].strip(), "counts")

    @unittest.skipUnless(os.geteuid() == 0, "only root can be somebody else")
    def test_without_the_right_to_it(self):
        """The kernel's own refusal, where root may and others may not."""
        with open("/proc/sys/kernel/perf_event_paranoid", encoding="utf-8") as file:
            level = int(file.read())
        copy = os.path.join(self.folder, "alloclab")
        subprocess.run(["cp", ALLOCLAB, copy], check=True)
        os.chmod(self.folder, 0o755)
        got = self.command("list", "counters", executable=copy, user=65534, group=65534, extra_groups=[], cwd="/")
        said = dict(line.split(None, 1) for line in got.stdout.splitlines() if line.startswith("    "))
        self.assertEqual(said["context-switches"].strip(),
                         "counts" if level <= 1 else f"kernel.perf_event_paranoid is {level}: run as root, or: sysctl "
                         "kernel.perf_event_paranoid=1 (EACCES)")


if __name__ == "__main__":
    unittest.main()
