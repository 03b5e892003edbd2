"""test_compare.py - `alloclab compare` on made-up folders whose differences are known: what counts, what does not, what
is said of cells that cannot be compared, and damaged input with file and line."""

import csv
import json
import math
import os
import random
import re
import subprocess
import tempfile
import unittest

import scipy.stats

ALLOCLAB = os.environ.get("ALLOCLAB", "./alloclab")
SEED = 20261127


def run(*args):
    return subprocess.run([ALLOCLAB, *args], capture_output=True, text=True, timeout=60)


COLUMNS = [line.split()[0] for line in run("list", "metrics").stdout.splitlines()]
RUN = {"run_id": "r", "cpu": "one", "compiler": "12", "seed": 1, "commit": "a"}


def cell(allocator="tlsf", what="throughput", options="", **values):
    """Rows of a cell: each value a list, one a block, or one for a single row."""
    values = {k: v if isinstance(v, list) else [v] for k, v in values.items()}
    rows = []
    for block in range(max([len(v) for v in values.values()] or [1])):
        row = dict(run_id="r", block=block, order=0, allocator=allocator, options=options, workload="w,1", threads=1,
                   release="free", replay="serial", copies=1, via="vtable", touch="first", repeat=block, status="ok",
                   rank_group="ranked", ops=1000, **{k: v[block] for k, v in values.items()})
        row["pass"] = what
        rows.append(row)
    return rows


class Compare(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.random = random.Random(f"{SEED} {self.id()}")
        self.base, self.new = (os.path.join(holder.name, name) for name in ("base", "new"))

    def times(self, count=10, middle=100.0, spread=0.005):
        return [middle * math.exp(self.random.gauss(0, spread)) for _ in range(count)]

    def write(self, folder, rows, facts=None, columns=None):
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "results.csv"), "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns or COLUMNS, restval="", lineterminator="\n", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        with open(os.path.join(folder, "run.json"), "w", encoding="utf-8") as file:
            pairs = {**RUN, **(facts or {})}
            file.write("{\n" + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in pairs.items()) + "\n}\n")

    def compare(self, base, new, *args, status=0, facts=None, columns=None):
        self.write(self.base, base)
        self.write(self.new, new, facts, columns)
        got = run("compare", self.base, self.new, *args)
        self.assertEqual(got.returncode, status, got.stdout + got.stderr)
        return got.stderr if status == 2 else got.stdout

    # ---- figures that repeat exactly ----

    def memory(self, **values):
        return cell(what="memory", **values)

    def test_exact_figures(self):
        for metric, base, new, worse in (
                ("peak_committed_bytes", 1 << 30, int((1 << 30) * 1.0051), True),
                ("peak_committed_bytes", 1 << 30, int((1 << 30) * 1.0049), False),
                ("peak_committed_bytes", 100 * 4096, 101 * 4096, False),  # 1 %, but a page
                ("peak_committed_bytes", 100 * 4096, 102 * 4096, True),
                ("door_calls_count", 3, 5, False),                        # 67 %, but two
                ("door_calls_count", 3, 6, True),
                ("frag_jw4_ratio", 0.001, 0.0029, False),
                ("frag_jw4_ratio", 0.001, 0.0031, True),
                ("huge_coverage_at_peak_ratio", 0.9, 0.8, True),          # more is better
                ("huge_coverage_at_peak_ratio", 0.8, 0.9, False),
                ("locality_instructions_per_op", 100, 100.6, True),
                ("locality_instructions_per_op", 100, 100.4, False),
                ("locality_page_walks_per_op", 0.001, 0.01, False),       # ten times, but a hundredth of one
                ("walks_count", 1, 100, False)):                          # neither is better
            said = self.compare(self.memory(**{metric: base}), self.memory(**{metric: new}), status=int(worse))
            self.assertEqual(f"free, memory: {metric} " in said and "worse, of figures that repeat" in said, worse, said)

    def test_counts_that_did_not_repeat_are_no_gate(self):
        base, new = (self.memory(locality_instructions_per_op=v, locality_rerun_ratio=1.001) for v in (100, 150))
        self.assertIn(": 0 exact figures", self.compare(base, new))
        base, new = (self.memory(locality_instructions_per_op=v, locality_rerun_ratio=1) for v in (100, 150))
        self.compare(base, new, status=1)

    def test_their_threshold_can_be_set(self):
        base, new = self.memory(peak_committed_bytes=1000000), self.memory(peak_committed_bytes=1020000)
        self.compare(base, new, status=1)
        self.assertNotIn("better, of", self.compare(base, new, "--exact-percent", "2.1"))
        self.assertIn("peak_committed_bytes 1.02e+06, now 1e+06 (-1.96 %)", self.compare(new, base))

    # ---- times ----

    def test_times(self):
        base, slow = self.times(), self.times(middle=112)
        said = self.compare(cell(ns_per_op=base), cell(ns_per_op=slow), status=1)
        found = re.search(r"slower\n  tlsf on w,1, release=free, throughput: ns_per_op [0-9.]+, now [0-9.]+: ratio "
                          r"([0-9.]+) \(([0-9.]+)\.\.([0-9.]+)\), q ([0-9.e-]+), counts from 5\.0 % on\n", said)
        self.assertTrue(found, said)
        ratio, low, high, q = map(float, found.groups())
        self.assertAlmostEqual(ratio, 1.12, delta=0.01)
        self.assertTrue(low < ratio < high)
        self.assertAlmostEqual(q / scipy.stats.mannwhitneyu(base, slow, method="exact").pvalue, 1, delta=0.1)
        self.assertIn("faster\n", self.compare(cell(ns_per_op=slow), cell(ns_per_op=base)))
        self.assertIn("not worse\n", self.compare(cell(ns_per_op=base), cell(ns_per_op=base)))

    def test_a_significant_but_small_change_does_not_count(self):
        base, slow = cell(ns_per_op=self.times()), cell(ns_per_op=self.times(middle=103))
        self.assertIn("(0 worse, 0 better, 0 undecided): not worse", self.compare(base, slow, "--strict"))
        self.compare(base, slow, "--timed-percent", "1.6", status=1)

    def test_noise_raises_what_counts(self):
        """Three times the runs' spread of 4 % is 12 %, and 11 % do not count; but that it is more cannot be excluded,
        which only --strict minds."""
        noise = [0.04 * z for z in scipy.stats.norm.ppf([(i + 0.5) / 10 for i in range(10)])]
        base, slow = (cell(ns_per_op=[middle * math.exp(z) for z in noise]) for middle in (100, 111))
        self.assertIn("undecided times: 1: a regression that would count", self.compare(base, slow))
        said = self.compare(base, slow, "--strict", status=3)
        self.assertRegex(said, r"undecided times: a regression .*\n  tlsf on w,1.*counts from 1\d\.\d % on\n")
        self.assertIn("1 undecided): inconclusive\n", said)

    def test_few_repeats_decide_nothing(self):
        said = self.compare(cell(ns_per_op=[1, 1, 1]), cell(ns_per_op=[9, 9, 9]))
        self.assertIn("times with too few repeats to show anything: 1: run both with -r 10", said)
        self.compare(cell(ns_per_op=[1] * 3), cell(ns_per_op=[9] * 3), "--strict", status=3)

    def test_many_times_are_one_family(self):
        """200 cells without a difference: none counts, though p is below 0.05 for some; one with a difference does."""
        rows = [[row for i in range(200) for row in cell(f"a{i}", ns_per_op=self.times())] for _ in range(2)]
        self.assertIn("200 times (0 worse, 0 better", self.compare(*rows, "--timed-percent", "0"))
        rows[1][:10] = cell("a0", ns_per_op=self.times(middle=120))
        said = self.compare(*rows, status=1)
        self.assertIn("200 times (1 worse, 0 better", said)
        self.assertIn(f", q {200 * 2 / math.comb(20, 10):.2g}, ", said, "the least p of 10 against 10, times the tests")

    def test_rates_and_shares_are_no_second_verdict(self):
        base = cell(ns_per_op=self.times(), mops_per_s=self.times(), wait_ratio=self.times(middle=0.1))
        self.assertIn(": 0 exact figures (0 worse, 0 better), 1 times", self.compare(base, base))

    def test_a_time_of_0_has_no_ratio(self):
        some = [0.0] + self.times(9)
        self.assertIn(" 0 times (", self.compare(cell(wait_ns=some), cell(wait_ns=self.times())))

    # ---- cells ----

    def test_a_cell_that_fails_is_a_regression(self):
        good = cell(ns_per_op=self.times())
        bad = [dict(row, status="oom", detail="no memory, at op 7", ns_per_op="") for row in good[:1]] + good[1:]
        said = self.compare(good, bad, status=1)
        self.assertIn("was ok, and is no longer: counts as a regression\n  tlsf on w,1, release=free, throughput: ok, now "
                      "oom: no memory, at op 7\n", said)
        bad = bad[:1]
        self.assertIn("was not ok, and now is\n  tlsf on w,1", self.compare(bad, good, "--strict", status=3))
        self.assertIn("not measured in both\n  tlsf on w,1", self.compare(bad, bad))

    def test_what_applies_in_neither_is_silent(self):
        none = [dict(row, status="not_applicable", detail="no scopes") for row in cell("arena")]
        good = cell(ns_per_op=self.times())
        self.assertNotIn("arena", self.compare(good + none, good + none, "--strict"))
        self.assertIn("now not applicable", self.compare(good, none + [dict(r, status="not_applicable") for r in good],
                                                         "--strict", status=3))

    def test_cells_of_one_folder_are_said(self):
        one, two = cell("tlsf", ns_per_op=self.times()), cell("slab", ns_per_op=self.times())
        said = self.compare(one + two, one)
        self.assertIn("not compared: in the first folder alone\n  slab on w,1", said)
        said = self.compare(one, one + two, "--strict", status=3)
        self.assertIn("not compared: in the second folder alone\n  slab on w,1", said)

    def test_a_new_option_does_not_part_cells(self):
        base, slow = cell(ns_per_op=self.times(), options="a=1"), cell(ns_per_op=self.times(middle=130), options="a=1,b=2")
        said = self.compare(base, slow, status=1)
        self.assertIn("warning: options differ: tlsf:a=1,b=2 on w,1, release=free, throughput, compared with 'a=1'\n", said)
        both = slow + cell(ns_per_op=self.times(), options="a=1,b=3")
        self.assertIn("second folder alone", self.compare(base, both), "which of the two it was is not known")

    def test_another_program_of_the_same_name(self):
        base = self.memory(peak_requested_bytes=1000, peak_committed_bytes=5000)
        new = self.memory(peak_requested_bytes=2000, peak_committed_bytes=500000)
        self.assertIn("another program under the same name\n  tlsf on w,1", self.compare(base, new))

    # ---- what is warned of ----

    def test_machines_and_columns_that_differ(self):
        rows = cell(ns_per_op=self.times())
        self.assertNotIn("warning", self.compare(rows, rows, facts={"commit": "b"}))
        said = self.compare(rows, rows, facts={"cpu": "two, \"fast\"", "seed": 2})
        self.assertIn('warning: cpu differs: "one", now "two, \\"fast\\""\n', said)
        self.assertIn("warning: seed differs: 1, now 2: workloads that are generated are not the same, "
                      "recordings are; give both runs one --seed\n",
                      said)
        self.assertIn(f"warning: column ops is in {self.base} alone: not compared\n",
                      self.compare(rows, rows, columns=[c for c in COLUMNS if c != "ops"]))
        quiet = cell(ns_per_op=self.times(), timed_ns=[5e8] * 10, involuntary_switches_count=[0] * 10)
        loud = [dict(row, involuntary_switches_count=70) for row in quiet[:3]] + quiet[3:]
        self.assertIn(f"warning: {self.new}: 3 timed rows of 1 cells were disturbed", self.compare(quiet, loud))
        os.unlink(os.path.join(self.new, "run.json"))
        self.assertIn(f"warning: {self.new} has no run.json", run("compare", self.base, self.new).stdout)

    # ---- bad input ----

    def edited(self, old, new):
        """What is said of a results.csv in which this was replaced."""
        self.write(self.base, cell(ns_per_op=self.times()))
        self.write(self.new, cell(ns_per_op=[7.25] * 3))
        path = os.path.join(self.new, "results.csv")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        self.assertIn(old, text)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace(old, new, 1))
        got = run("compare", self.base, self.new)
        self.assertEqual((got.returncode, got.stdout.count("cells in both")), (2, 0), got.stdout)
        self.assertTrue(got.stderr.startswith(f"alloclab compare: {path}:"), got.stderr)
        return got.stderr[len(f"alloclab compare: {path}:"):]

    def test_damage(self):
        for old, new, wanted in (
                (",7.25,", ",7.2x5,", "2: ns_per_op is '7.2x5', which is not a number of at least 0\n"),
                (",7.25,", ",-7.25,", "2: ns_per_op is '-7.25', which is not"),
                (",7.25,", ",inf,", "2: ns_per_op is 'inf', which is not"),
                (",7.25,", ",", "2: "),
                (",ok,", ",fine,", "2: status is 'fine', which is none\n"),
                ('"w,1"', '"w,1', "2: a quote where none can be, or without an end"),
                ('"w,1"', 'w"1"', "2: a quote where none can be"),
                ('"w,1"', '"w\n,1"x', "2: a quote where none can be"),
                ("allocator,", "allocater,", "1: column allocator is missing: run again"),
                ("cold_ns_per_op,", "ns_per_op,", "1: column ns_per_op is there twice\n"),
                ("run_id", "\0run_id", " byte 0 is 0: not a text file\n")):
            self.assertTrue(self.edited(old, new).startswith(wanted), (new, self.edited(old, new)))
        self.assertIn("fields where the header has", self.edited(",7.25,", ","))

    def test_lines_are_counted_through_quoted_ones(self):
        rows = cell(ns_per_op=[1, 2, 3])
        rows[0]["workload"] = rows[1]["workload"] = 'two\nlines, "quoted"'
        self.write(self.new, rows)
        self.write(self.base, rows)
        self.assertEqual(run("compare", self.base, self.new).returncode, 0)
        rows[2]["ns_per_op"] = "x"
        self.write(self.new, rows)
        self.assertIn("results.csv:6: ns_per_op is 'x'", run("compare", self.base, self.new).stderr)

    def test_files_that_are_no_results(self):
        self.write(self.base, cell(ns_per_op=self.times()))
        self.write(self.new, [])
        path = os.path.join(self.new, "results.csv")
        self.assertIn(f"{path}:1: no row besides the header", run("compare", self.base, self.new).stderr)
        for text, wanted in (("", ":1: the file is empty"), ("a,b", ": the last line has no end")):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            self.assertIn(path + wanted, run("compare", self.base, self.new).stderr)
        os.unlink(path)
        self.assertIn(f"{path}: No such file or directory: give a folder that `alloclab run -o DIR` wrote",
                      run("compare", self.base, self.new).stderr)
        os.mkdir(path)
        self.assertIn(f"{path}: not a file", run("compare", self.base, self.new).stderr)
        self.write(self.base, cell(ns_per_op=self.times()))
        with open(os.path.join(self.base, "run.json"), "w", encoding="utf-8") as file:
            file.write("{\n  garbage\n}\n")
        got = run("compare", self.base, self.base)
        self.assertEqual(got.returncode, 2)
        self.assertIn("run.json:2: '  garbage': not as alloclab writes it", got.stderr)

    def test_usage(self):
        self.write(self.base, cell(ns_per_op=self.times()))
        for args, wanted in ((["compare"], "name two results folders"), (["compare", self.base], "name two results"),
                             (["compare", self.base, self.base, "x"], "'x': belongs to no option"),
                             (["compare", self.base, self.base, "--exact-percent", "-1"], "--exact-percent: '-1' is not"),
                             (["compare", self.base, self.base, "--timed-percent"], "its value is missing"),
                             (["compare", self.base, self.base, "--fast"], "'--fast': unknown option")):
            got = run(*args)
            self.assertEqual((got.returncode, got.stdout), (2, ""), args)
            self.assertIn(wanted, got.stderr)

    def test_what_run_writes(self):
        """A real folder beside itself: everything exact is the same, and nothing is worse."""
        folder = os.path.join(self.base, "real")
        self.assertEqual(run("run", "-a", "tlsf,arena", "-w", "request:requests=20", "-o", folder, "--passes",
                             "memory,latency", "-r", "2").returncode, 0)
        got = run("compare", folder, folder)
        self.assertEqual(got.returncode, 0, got.stderr)
        self.assertIn("6 cells in both: ", got.stdout)
        self.assertRegex(got.stdout, r"[1-9]\d* exact figures \(0 worse, 0 better\), [1-9]\d* times \(0 worse, 0 better, ")


if __name__ == "__main__":
    print(f"seed {SEED}")
    unittest.main()
