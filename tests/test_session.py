"""test_session.py - `alloclab run` and `alloclab check` as a user meets them: the files that come out, cells that fail as rows while the
session goes on, and bad input with its message and exit status 2.

run.py: timeout=400
"""

import csv
import json
import os
import signal
import subprocess
import tempfile
import time
import unittest

ALLOCLAB = os.environ.get("ALLOCLAB", "./alloclab")
SMALL = "random:ops=20k,live=2k"


def run(*args):
    return subprocess.run([ALLOCLAB, *args], capture_output=True, text=True, timeout=120)


def rows_of(folder):
    with open(os.path.join(folder, "results.csv"), newline="") as file:
        return list(csv.DictReader(file))


def cell_of(session):
    """The process of the session's running cell, waited for."""
    path = f"/proc/{session.pid}/task/{session.pid}/children"
    for _ in range(2000):
        with open(path) as file:
            children = file.read().split()
        if children:
            with open(f"/proc/{children[0]}/cmdline", "rb") as file:
                if b"\0cell\0" in file.read():
                    return int(children[0])
        time.sleep(0.005)
    raise AssertionError("no cell was started")


class Session(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.out = os.path.join(self.folder.name, "out")

    def tearDown(self):
        self.folder.cleanup()

    def test_mode(self):
        """What the machine made a heap choose is in its rows; virtual CPUs are not the machine's."""
        got = run("run", "-a", "bump,slab,slab:percpu=off", "-w", SMALL, "-o", self.out, "-r", "1")
        self.assertEqual(got.returncode, 0, got.stderr)
        seen = {(r["allocator"], "percpu=off" in r["options"], r["pass"]): r["mode"] for r in rows_of(self.out)}
        self.assertEqual(seen["bump", False, "throughput"], "")
        self.assertRegex(seen["slab", False, "throughput"], "^per-cpu magazines (by rseq|under locks: no rseq here)$")
        self.assertEqual(seen["slab", False, "memory"], "per-cpu magazines under locks: cpus are virtual here")
        self.assertEqual(seen["slab", True, "throughput"], "no per-cpu magazines")

    def test_files(self):
        got = run("run", "-a", "bump,libc", "-w", SMALL, "-o", self.out, "-r", "3", "--seed", "5")
        self.assertEqual(got.returncode, 0, got.stderr)
        rows = rows_of(self.out)
        columns = [line.split()[0] for line in run("list", "metrics").stdout.splitlines()]
        self.assertEqual(list(rows[0]), columns)
        self.assertEqual(len(rows), 3 + 3 * 3, "null runs without being asked for")
        self.assertEqual([int(row["order"]) for row in rows], list(range(12)))
        timed = [row for row in rows if row["pass"] == "throughput"]
        for block in "012":
            here = {row["allocator"]: row for row in timed if row["block"] == block}
            self.assertEqual(set(here), {"null", "bump", "libc"})
            self.assertEqual(here["libc"]["harness_ns_per_op"], here["null"]["ns_per_op"])
            self.assertEqual(here["bump"]["rank_group"], "never_frees")
            self.assertEqual(here["libc"]["rank_group"], "ranked")
            self.assertEqual(here["null"]["rank_group"], "floor")
        for row in timed:
            self.assertGreater(float(row["ns_per_op"]), 0)
            self.assertEqual(row["peak_committed_bytes"], "", "not measured in this pass: empty")
        memory = {row["allocator"]: row for row in rows if row["pass"] == "memory"}
        self.assertEqual(memory["libc"]["peak_committed_bytes"], "", "does not come through the door")
        self.assertGreater(int(memory["bump"]["peak_committed_bytes"]), 0)
        self.assertEqual(memory["libc"]["peak_requested_bytes"], memory["bump"]["peak_requested_bytes"])
        with open(os.path.join(self.out, "run.json")) as file:
            facts = json.load(file)
        self.assertEqual(facts["seed"], 5)
        self.assertEqual([a["name"] for a in facts["allocators"]], ["bump", "libc", "null"])
        self.assertIn("never frees", got.stdout)
        self.assertNotIn("\r", got.stderr, "quiet in a pipe")

    def test_timeline_keeps_the_law(self):
        run("run", "-a", "freelist,arena", "-w", "frame:frames=30", "-o", self.out, "--passes", "memory")
        with open(os.path.join(self.out, "timeline.csv"), newline="") as file:
            samples = list(csv.DictReader(file))
        self.assertGreater(len(samples), 300)
        for row in samples:
            walked = sum(int(row[f"walk_{kind}_bytes"]) for kind in ("meta", "live", "free", "unused"))
            self.assertEqual(walked, int(row["committed_bytes"]))
            if row["allocator"] != "null":  # which does not manage what it hands out
                self.assertLessEqual(int(row["requested_bytes"]), int(row["committed_bytes"]))
        with open(os.path.join(self.out, "heapmap.csv"), newline="") as file:
            for row in csv.DictReader(file):
                kinds = sum(int(row[f"{kind}_bytes"]) for kind in ("meta", "live", "free", "unused"))
                self.assertLessEqual(kinds, int(row["bucket_bytes"]))
                self.assertGreater(kinds, 0)

    def test_results_are_never_written_over(self):
        self.assertEqual(run("run", "-a", "libc", "-w", SMALL, "-o", self.out, "-r", "1").returncode, 0)
        before = rows_of(self.out)
        again = run("run", "-a", "libc", "-w", SMALL, "-o", self.out, "-r", "1")
        self.assertEqual(again.returncode, 2)
        self.assertIn(
            f"{self.out}/results.csv exists already: results are never written over; choose another folder with -o",
            again.stderr)
        self.assertEqual(rows_of(self.out), before)

    def test_out_of_memory_is_a_row(self):
        got = run("run", "-a", "bump:reserve=1m,libc", "-w", SMALL, "-o", self.out, "-r", "1")
        self.assertEqual(got.returncode, 1)
        status = {(row["allocator"], row["pass"]): row for row in rows_of(self.out)}
        self.assertEqual(status["bump", "memory"]["status"], "oom")
        self.assertRegex(status["bump", "memory"]["detail"], r"^op \d+: the allocator returned NULL$")
        self.assertEqual(status["bump", "throughput"]["status"], "oom")
        self.assertEqual(status["bump", "throughput"]["ns_per_op"], "")
        self.assertEqual(status["libc", "throughput"]["status"], "ok")
        self.assertIn("2 failed", got.stdout)

    def interrupted(self, number, *options):
        session = subprocess.Popen(
            [ALLOCLAB, "run", "-a", "libc", "-w", "random:ops=2m,live=20k", "-o", self.out, "-r", "1", "--passes",
             "throughput", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        os.kill(cell_of(session), number)  # null's cell: it comes first
        session.communicate(timeout=120)
        self.assertEqual(session.returncode, 1)
        return {row["allocator"]: row for row in rows_of(self.out)}

    def test_crash_is_a_row(self):
        rows = self.interrupted(signal.SIGSEGV)
        self.assertEqual(rows["null"]["status"], "crash")
        self.assertEqual(rows["null"]["detail"], "Segmentation fault")
        self.assertEqual(rows["libc"]["status"], "ok", "the session went on")

    def test_hang_is_a_row(self):
        rows = self.interrupted(signal.SIGSTOP, "--limit-seconds", "10")
        self.assertEqual(rows["null"]["status"], "timeout")
        self.assertEqual(rows["null"]["detail"], "not done after 10 s")
        self.assertEqual(rows["libc"]["status"], "ok", "the session went on")

    def test_memory_limit_is_a_row(self):
        got = run("run", "-a", "bump", "-w", "random:ops=4m,live=1k", "-o", self.out, "--passes", "memory",
                  "--limit-memory", "64m")
        self.assertEqual(got.returncode, 1)
        status = {row["allocator"]: row for row in rows_of(self.out)}
        self.assertEqual(status["bump"]["status"], "memory_limit")
        self.assertRegex(status["bump"]["detail"], r"^resident \d+ MiB, over the limit of 64 MiB$")
        self.assertEqual(status["null"]["status"], "ok")

    def test_scopes_that_give_nothing_back_are_not_ranked(self):
        # One scope around everything: nothing comes back before the end. With release=free bump takes back its last
        # block now and then, and promises no more.
        text = os.path.join(self.folder.name, "once.txt")
        with open(text, "w") as file:
            file.write("alloclab trace text 1\nscope_begin 0\n")
            file.writelines(f"alloc {i} 1000\n" for i in range(2000))
            file.write("scope_end 0\n")
        trace = os.path.join(self.folder.name, "once.trace")
        self.assertEqual(run("trace", "convert", text, "-o", trace).returncode, 0)
        got = run("run", "-a", "bump,arena,libc", "-w", f"{trace},frame:frames=20", "-o", self.out, "--passes", "memory")
        self.assertEqual(got.returncode, 0, got.stderr)
        groups = {(row["allocator"], row["workload"]): row["rank_group"] for row in rows_of(self.out)}
        self.assertEqual(groups["bump", "once"], "never_frees")
        self.assertEqual(groups["bump", "frame:frames=20"], "ranked")
        self.assertEqual(groups["arena", "frame:frames=20"], "ranked")
        self.assertEqual(groups["libc", "once"], "ranked")
        self.assertEqual(groups["null", "once"], "floor")

    def test_background_work_is_done_in_the_memory_pass(self):
        run("run", "-a", "segfit:age_ms=1,segfit:age_ms=100000", "-w", "purgethrash", "-o", self.out, "--passes", "memory")
        with open(os.path.join(self.out, "timeline.csv"), encoding="utf-8") as table:
            last = {row["options"].split("age_ms=")[1].split(",")[0]: int(row["committed_bytes"])
                    for row in csv.DictReader(table) if row["allocator"] == "segfit"}
        self.assertLess(last["1"], last["100000"], "what is idle for a millisecond is given back by tick")

    def test_parents_of_the_results_folder_are_made(self):
        deep = os.path.join(self.out, "a", "b")
        self.assertEqual(run("run", "-a", "libc", "-w", SMALL, "-o", deep, "-r", "1").returncode, 0)
        self.assertTrue(rows_of(deep))

    def test_help_of_a_subcommand(self):
        for name in ("run", "check", "gen", "list", "describe", "record", "trace"):
            got = run(name, "--help")
            self.assertEqual((got.returncode, got.stderr), (0, ""))
            self.assertTrue(got.stdout.startswith(f"  alloclab {name} "), got.stdout)
        self.assertRegex(run("--version").stdout, r"^alloclab \S+ \(\w+ build\)\n$")

    def test_release_modes(self):
        got = run("run", "-a", "arena,libc", "-w", "request:requests=50", "-o", self.out, "--passes", "memory",
                  "--release", "both")
        self.assertEqual(got.returncode, 0, "what does not apply is no failure")
        status = {(row["allocator"], row["release"]): row["status"] for row in rows_of(self.out)}
        self.assertEqual(status["arena", "free"], "ok")
        self.assertEqual(status["arena", "scope"], "ok")
        self.assertEqual(status["libc", "scope"], "not_applicable")

    def test_bad_input(self):
        cases = [
            (["run", "-o", self.out], "-w WORKLOAD_OR_TRACE,.. is missing"),
            (["run", "-w", SMALL], "-o DIR is missing"),
            (["run", "-w", SMALL, "-o", self.out, "-r", "0"], "-r: '0' is not a number from 1 to 1000"),
            (["run", "-w", SMALL, "-o", self.out, "-r", "x"], "-r: 'x' is not a number from 1 to 1000"),
            (["run", "-w", SMALL, "-o", self.out, "--touch", "all"], "--touch: 'all' is not one of none, first, line"),
            (["run", "-w", SMALL, "-o", self.out, "--passes", "memory,speed"],
             "--passes: 'speed' is not one of memory, verify, throughput, latency"),
            (["run", "-w", SMALL, "-o", self.out, "--passes", ""], "--passes: '' is not one of memory"),
            (["run", "-w", SMALL, "-o"], "-o: its value is missing"),
            (["run", "--frobnicate", "-w", SMALL], "'--frobnicate': unknown option"),
            (["run", "stray", "-w", SMALL], "'stray': belongs to no option"),
            (["run", "-a", "libc,libc", "-w", SMALL, "-o", self.out], "name each design once"),
            (["run", "-a", "freelist:fit=worst", "-w", SMALL, "-o", self.out], "worst"),
            (["run", "-w", "no/such.trace", "-o", self.out], "no/such.trace: no such trace file"),
            (["run", "-w", "README.md", "-o", self.out], "README.md"),
            (["run", "-w", self.folder.name, "-o", self.out], f"{self.folder.name}: is a folder, not a trace file"),
            (["run", "-w", SMALL, "-o", ""], "-o DIR is missing"),
            (["check"], "-w WORKLOAD_OR_TRACE,.. is missing"),
        ]
        for args, message in cases:
            with self.subTest(args=args):
                got = run(*args)
                self.assertEqual(got.returncode, 2, got.stderr)
                self.assertIn(message, got.stderr)
                self.assertFalse(os.path.exists(os.path.join(self.out, "results.csv")))

    def trace_of(self, name, *lines):
        """A trace file made from lines of the text form."""
        text, trace = (os.path.join(self.folder.name, name + end) for end in (".txt", ".trace"))
        with open(text, "w") as file:
            file.write("\n".join(("alloclab trace text 1",) + lines + ("",)))
        got = run("trace", "convert", "--from", "text", text, "-o", trace)
        self.assertEqual(got.returncode, 0, got.stderr)
        return trace

    def test_traces_without_calls(self):
        empty = self.trace_of("empty")
        scopes = self.trace_of("scopes", "scope_begin 0", "scope_begin 1", "scope_end 0", "scope_end 1")
        live = self.trace_of("live", "live 0 100", "live 1 200")
        got = run("run", "-w", f"{empty},{scopes},{live}", "-o", self.out, "-r", "1", "--passes",
                  "throughput,memory,verify", "--release", "both")
        self.assertEqual(got.returncode, 0, got.stderr)
        self.assertNotRegex(got.stdout, r"\b(inf|nan)\b")
        for row in rows_of(self.out):
            self.assertIn(row["status"], ("ok", "not_applicable"), row)
            self.assertEqual(row["ops"], "0")
            for column in ("ns_per_op", "cold_ns_per_op", "mops_per_s", "harness_ns_per_op"):
                self.assertEqual(row[column], "", "there is nothing to divide by")

    def test_the_table_has_what_the_passes_fill(self):
        times, memory = "ns/op", "commit MiB"
        for passes, has in (("throughput", {times}), ("memory", {memory}), ("throughput,memory", {times, memory}), ("open", set())):
            out = os.path.join(self.folder.name, passes)
            got = run("run", "-a", "segfit", "-w", "request:requests=30", "-r", "1", "--min-ms", "1", "--passes", passes, "-o", out)
            self.assertEqual(got.returncode, 0, got.stderr)
            self.assertEqual({c for c in (times, memory) if c in got.stdout}, has, got.stdout)
            self.assertEqual("(touch first" in got.stdout, bool(has), got.stdout)
        self.assertIn("open loop", got.stdout)

    def test_short_passes_loop_as_long_as_long_ones(self):
        one = self.trace_of("one", "alloc 0 16", "free 0")
        run("run", "-a", "freelist", "-w", one, "-o", self.out, "-r", "1", "--passes", "throughput")
        for row in rows_of(self.out):
            self.assertGreater(int(row["passes_count"]), 4096, "as many as its table holds are not half a second")

    def test_a_column_means_the_same_in_every_pass(self):
        kept = self.trace_of("kept", "scope_begin 0", *(f"alloc {i} 3000000" for i in range(20)), "scope_end 0")
        got = run("run", "-w", kept, "-o", self.out, "-r", "1", "--release", "both", "--passes",
                  "memory,verify,throughput")
        self.assertEqual(got.returncode, 0, got.stderr)
        seen = {}
        for row in rows_of(self.out):
            key = row["allocator"], row["release"]
            if row["status"] == "ok" and row["door_calls_count"]:
                self.assertEqual(seen.setdefault(key, row["door_calls_count"]), row["door_calls_count"], row["pass"])
            self.assertEqual(seen.setdefault(key + ("group",), row["rank_group"]), row["rank_group"], row["pass"])

    def test_libc_is_looked_at_when_the_program_holds_most(self):
        lines = [f"alloc {i} 16" for i in range(3000)]
        spike = self.trace_of("spike", *lines, "alloc 3000 50000000", "free 3000",
                              *(f"alloc {3001 + i} 16" for i in range(3000)))
        run("run", "-a", "libc,freelist", "-w", spike, "-o", self.out, "--passes", "memory")
        for row in rows_of(self.out):
            if row["allocator"] != "null":
                self.assertGreater(int(row["peak_resident_bytes"]), 50000000, row["allocator"])

    def test_bad_input_leaves_nothing(self):
        good = self.trace_of("good", "alloc 0 16", "free 0")
        other = os.path.join(self.folder.name, "other")
        os.mkdir(other)
        with open(good, "rb") as file:
            data = file.read()
        for path, bytes_ in ((os.path.join(other, "good.trace"), data), (os.path.join(other, "torn.trace"), data[:-9])):
            with open(path, "wb") as file:
                file.write(bytes_)
        more = ["-o", self.out, "-r", "1", "--passes", "memory"]
        cases = [
            (["-w", f"{good},{other}/good.trace", *more], "-w: two workloads would be called 'good'"),
            (["-w", f"{good},{other}/torn.trace", *more], f"alloclab trace convert --salvage {other}/torn.trace -o NEW"),
            (["-w", good, "-w", good, *more], "-w is given twice"),
            (["-w", good, *more, "--base", "libc:x=1"], "--base: 'libc:x=1' is not among the allocators"),
            (["-w", good, *more, "--seed", " -5"], "--seed: ' -5' is not a number"),
            (["-w", "x" * 300, *more], "x: a workload's name has at most 255 bytes"),
            (["-w", good, "-o", self.out + "/" * 2000], "-o: the folder's name has"),
        ]
        for args, message in cases:
            with self.subTest(message=message):
                got = run("run", *args)
                self.assertEqual(got.returncode, 2, got.stderr)
                self.assertIn(message, got.stderr)
                self.assertFalse(os.path.exists(self.out))

    def test_transparent_huge_pages_for_none(self):
        """jemalloc is told to ask for them, and the door is; --thp off is stronger."""
        library = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
        command = ["-w", "random:ops=100k,live=50k", "-r", "1", "--passes", "throughput"]
        with open("/sys/kernel/mm/transparent_hugepage/enabled", encoding="ascii") as file:
            given = "[never]" not in file.read()
        if not os.path.exists(library):
            self.skipTest(f"no {library}")
        for thp in ("asis", "off"):
            out = f"{self.out}-{thp}"
            got = subprocess.run([ALLOCLAB, "run", "-a", f"preload:{library}", *command, "-o", out, "--thp", thp],
                                 capture_output=True, text=True, check=False, env={**os.environ, "MALLOC_CONF": "thp:always"})
            self.assertEqual(got.returncode, 0, got.stderr)
            rows = rows_of(out)
            self.assertEqual({r["thp"] for r in rows}, {thp})
            huge = next(int(r["anon_huge_bytes"]) for r in rows if r["allocator"] == "libjemalloc.so.2")
            self.assertEqual(huge > 0, given and thp == "asis")
            with open(os.path.join(out, "run.json"), encoding="utf-8") as file:
                self.assertEqual(json.load(file)["thp"], thp)
        for thp, door in (("off", "on"), ("on", "off")):
            got = run("run", *command, "-o", self.out, "--thp", thp, "--door", f"thp={door}")
            self.assertEqual((got.returncode, got.stderr), (
                2, f"alloclab run: --thp {thp} and --door thp={door} contradict each other: leave one out\n"))
        self.assertFalse(os.path.exists(self.out))

    def test_a_command_without_transparent_huge_pages(self):
        said = "grep THP_enabled /proc/self/status; echo $ALLOCLAB_THP; exit 7"
        got = run("thp", "off", "--", "sh", "-c", said)
        self.assertEqual((got.returncode, got.stdout.split()), (7, ["THP_enabled:", "0", "off"]))
        self.assertEqual(run("thp", "off", "--", "sh", "-c", "kill -9 $$").returncode, 137)
        for words, message in ((["off"], "usage: alloclab thp asis|off|on -- CMD ARGS"),
                               (["maybe", "--", "true"], "alloclab thp: mode: 'maybe' is not one of asis, off, on"),
                               (["off", "--", "/no/such"], "/no/such: cannot be started")):
            got = run("thp", *words)
            self.assertEqual(got.returncode, 2)
            self.assertIn(message, got.stderr)

    def test_a_folder_may_be_called_as_a_workload(self):
        os.mkdir(os.path.join(self.folder.name, "frame"))
        got = subprocess.run([os.path.abspath(ALLOCLAB), "check", "-a", "freelist", "-w", "frame:frames=2,frame"],
                             cwd=self.folder.name, capture_output=True, text=True, timeout=120)
        self.assertEqual(got.returncode, 0, got.stderr)
        self.assertRegex(got.stderr, r"^seed \d+\n", "a generated workload can be had again")

    def test_names_of_any_bytes(self):
        odd = os.fsencode(self.trace_of("odd", "alloc 0 16"))
        name = odd[:-len(b"odd.trace")] + b'n\xff"q\xc3\xa9.trace'
        os.rename(odd, name)
        got = subprocess.run([os.fsencode(ALLOCLAB), b"run", b"-a", b"bump", b"-w", name, b"-o", os.fsencode(self.out),
                              b"--passes", b"memory"], capture_output=True, timeout=120)
        self.assertEqual(got.returncode, 0, got.stderr)
        with open(os.path.join(self.out, "run.json"), encoding="utf-8") as file:
            self.assertEqual(json.load(file)["workloads"], [os.fsdecode(b'n\xff"q\xc3\xa9')])
        self.assertNotIn(b"--base", got.stderr, "no base was asked for")
        self.assertNotIn(b"ratio", got.stdout.split(b"\n")[1], "there is nothing to compare with")

    def test_a_table_that_is_not_read_is_no_success(self):
        with open("/dev/full", "wb") as full:
            got = subprocess.run([ALLOCLAB, "check", "-a", "bump", "-w", SMALL], stdout=full, stderr=subprocess.PIPE,
                                 text=True, timeout=120)
        self.assertEqual(got.returncode, 2)
        self.assertIn("alloclab check: cannot write to standard output: No space left on device", got.stderr)

    def test_cells_end_with_the_session(self):
        session = subprocess.Popen([ALLOCLAB, "run", "-a", "libc", "-w", "random:ops=2m,live=20k", "-o", self.out],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cell = cell_of(session)
        os.kill(cell, signal.SIGSTOP)  # it would never end by itself
        session.kill()
        session.wait()
        for _ in range(2000):
            try:
                with open(f"/proc/{cell}/stat") as file:
                    if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                        return
            except FileNotFoundError:
                return
            time.sleep(0.005)
        os.kill(cell, signal.SIGKILL)
        self.fail("the cell outlived its session")

    def test_check(self):
        got = run("check", "-a", "freelist,bump,null", "-w", SMALL)
        self.assertEqual(got.returncode, 0, got.stderr)
        self.assertRegex(got.stdout, r"(?m)^ok +freelist on .*: 20000 ops, \d+ walks$")
        self.assertRegex(got.stdout, r"(?m)^not_applicable +null on ")
        failed = run("check", "-a", "bump:reserve=1m", "-w", SMALL)
        self.assertEqual(failed.returncode, 1)
        self.assertIn("returned NULL", failed.stdout)


if __name__ == "__main__":
    unittest.main()
