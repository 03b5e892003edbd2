"""test_record.py - the recorder, held against programs whose calls are known one by one (tests/record/programs).

run.py: timeout=300
"""

import collections
import os
import pathlib
import platform
import re
import shutil
import subprocess
import tempfile
import unittest

ALLOCLAB = os.path.abspath(os.environ["ALLOCLAB"])
PROGRAMS = pathlib.Path(__file__).parent / "programs"
TOP = pathlib.Path(__file__).resolve().parents[2]
CALLS = ("alloc", "calloc", "aligned", "realloc", "free")
RECORDER = "liballoclab-record.so"
DROPIN = "liballoclab-segfit.so"
JEMALLOC = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"


class Recording:
    """What one `alloclab record` left: its exit status, its messages, and the traces in order."""

    def __init__(self, folder, command, options, env):
        self.trace = folder / "t.trace"
        run = subprocess.run(
            [ALLOCLAB, "record", "-o", self.trace, *options, "--", *map(str, command)],
            capture_output=True, text=True, env={**os.environ, **env}, timeout=60)
        self.status, self.out, self.err = run.returncode, run.stdout, run.stderr
        self.left = sorted(p.name for p in folder.iterdir())
        self.paths = [p for p in [self.trace] if p.exists()]
        while (path := folder / f"t.{len(self.paths)}.trace").exists():
            self.paths.append(path)
        self.clock = "--clock=no" not in options

    def text(self, n=0):
        return subprocess.run([ALLOCLAB, "trace", "cat", self.paths[n]], check=True,
                              capture_output=True, text=True).stdout.splitlines()

    def meta(self, n=0):
        return dict(line[5:].split("=", 1) for line in self.text(n) if line.startswith("meta "))

    def ops(self, n=0):
        """(thread, words of the line) of every op."""
        thread = 0
        for line in self.text(n)[1:]:
            words = line.split()
            if words[0] == "thread":
                thread = int(words[1])
            elif words[0] != "meta":
                yield thread, words

    def lines(self, n=0):
        return [" ".join(words) for _, words in self.ops(n)]

    def calls(self, n=0):
        return [(thread, words) for thread, words in self.ops(n) if words[0] in CALLS]

    def live(self, n=0):
        """The sizes of the objects that are live at the end."""
        sizes = {}
        for _, words in self.ops(n):
            if words[0] in ("alloc", "calloc", "aligned", "live", "realloc") and words[1] != "-":
                if "ends" in words:
                    del sizes[words[1]]
                elif "failed" not in words:
                    sizes[words[1]] = int(words[2])
            elif words[0] == "free" and words[1] != "-":
                del sizes[words[1]]
        return sorted(sizes.values())


class RecordTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.bin = pathlib.Path(tempfile.mkdtemp(prefix="alloclab-record-"))
        cls.addClassCleanup(shutil.rmtree, cls.bin)
        jobs = []
        for source in sorted(PROGRAMS.glob("*.c*")):
            compiler = ["gcc"] if source.suffix == ".c" else ["g++", "-std=c++17"]
            flags = ["-O1", "-g", "-fno-builtin", "-w", f"-I{TOP}", "-pthread"]
            if source.stem.endswith("plugin"):
                flags += ["-shared", "-fPIC"]
            variants = [(source.stem, [])]
            if source.stem == "sized_delete":
                variants.append(("own_delete", ["-DOWN_DELETE"]))
            if source.stem == "marks":
                variants += [("marks_fixed", ["-fno-pie", "-no-pie", "-O2"])]
            if source.stem == "killed":
                variants += [("static", ["-static"])]
            for name, more in variants:
                jobs.append(subprocess.Popen([*compiler, *flags, *more, source, "-o", cls.bin / name]))
        if any([job.wait() for job in jobs]):
            raise RuntimeError("a test program does not compile")

    def record(self, *command, options=(), env={}, status=0, odd=0):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="alloclab-record-"))
        self.addCleanup(shutil.rmtree, folder)
        recording = Recording(folder, command, ("--clock=no", *options), env)
        self.assertEqual(recording.status, status, recording.err)
        for path in recording.paths:
            check = subprocess.run([ALLOCLAB, "trace", "check", path], capture_output=True, text=True)
            self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        if status == 0:
            self.assertTrue(recording.paths)
            self.assertEqual([n for n in recording.left if not n.endswith(".trace")], [])
            for n in range(len(recording.paths)):
                meta = recording.meta(n)
                for key in ("lost_ops", "inversions", "unknown_frees", "unknown_reallocs"):
                    self.assertEqual(meta[key], str(odd) if key == "unknown_frees" else "0", key)
        return recording

    def test_every_entry_point_is_noted_once(self):
        expected = """thread_begin
            alloc 0 1001 | free 0
            calloc 1 1001 | realloc 1 1002 | realloc 1 100002 | realloc 1 1503 | free 1
            realloc 2 1003 null | free 2
            realloc 3 1004 null | free 3
            aligned 4 1024 align=64 | free 4
            aligned 5 1005 align=128 | free 5
            aligned 6 1006 align=256 | realloc 6 1007 | free 6
            aligned 7 1008 align=4096 | free 7
            aligned 8 1009 align=4096 | free 8
            alloc 9 0 | free -
            calloc 10 0 | free 10
            alloc 11 1010"""
        r = self.record(self.bin / "entry_points")
        self.assertEqual(r.lines(), [op.strip() for op in re.split(r"[|\n]", expected)])
        self.assertEqual(r.live(), [0, 1010])

    def test_failed_calls_and_corners_of_realloc(self):
        huge = 2**63 - 1 - 5000
        r = self.record(self.bin / "failures")
        self.assertIn("failures ended with exit status 0", r.err)  # it checks results and errno itself
        self.assertEqual(r.lines(), [
            "thread_begin", "alloc 0 2001",
            f"alloc - {huge} failed", f"calloc - {2**64 - 1} failed",
            f"realloc 0 {huge} failed", f"realloc 0 {2**64 - 1} failed",
            f"realloc - {huge} null failed",
            f"aligned - {huge} failed align=64", "aligned - 2002 failed align=4",
            f"aligned - {huge} failed align=64",
            "free -", "realloc 0 2003", "realloc 0 0 ends", "alloc 1 2004", "free 1",
            "alloc 2 2004", "free 2"])

    def test_threads_free_each_others_blocks_and_end(self):
        r = self.record(self.bin / "threads")
        calls = r.calls()
        count = lambda kind: sum(words[0] == kind for _, words in calls)
        # 4 x (5000 blocks and the late one); the C library makes one table per thread (calloc) and calls
        # free(NULL) twice for it when it ends.
        self.assertEqual(count("alloc"), 4 * 5001)
        self.assertEqual(count("calloc"), 4)
        self.assertEqual(count("realloc") + count("aligned"), 0)
        self.assertEqual(count("free"), 4 * 5001 + sum(w == ["free", "-"] for _, w in calls))
        maker = {w[1]: t for t, w in calls if w[0] == "alloc"}
        crossed = sum(maker[w[1]] != t for t, w in calls if w[0] == "free" and w[1] != "-")
        self.assertEqual(crossed, 4 * 5000)
        ops = list(r.ops())
        for thread in range(1, 5):
            own = [words[0] for t, words in ops if t == thread]
            self.assertEqual((own[0], own[-1]), ("thread_begin", "thread_end"))
        names = [r.meta()[f"thread.{n}.name"] for n in range(1, 5)]
        self.assertEqual(sorted(names), [f"worker {n}" for n in range(4)])

    def test_churn_across_threads_and_segments_has_no_inversion(self):
        r = self.record(self.bin / "churn")
        calls = r.calls()
        self.assertEqual(sum(w[0] == "alloc" for _, w in calls), 3 * 30000)
        self.assertEqual(sum(w[0] == "calloc" for _, w in calls), 3)
        # One free a round, one a slot at the end, and the C library's free(NULL) as its threads end.
        frees = sum(w[0] == "free" for _, w in calls)
        self.assertIn(frees - 3 * 30000 - 64, range(0, 12))
        freed = sum(w[0] == "free" and w[1] != "-" for _, w in calls)
        self.assertEqual(freed, 3 * 30000)
        self.assertGreater(len(calls), 131072)  # more than a segment of a capture
        self.assertEqual(len(r.live()), 3)  # the tables of the threads, which the C library keeps

    def test_forked_children_have_files_of_their_own(self):
        r = self.record(self.bin / "fork")
        self.assertEqual([r.lines(n)[1:] for n in range(4)], [
            ["alloc 0 4000", "alloc 1 4001", "alloc 2 4002", "free 0", "realloc 2 4003",
             "alloc 3 4300", "free 3", "free 1", "free 2"],
            ["live 0 4001", "live 1 4003", "alloc 2 4100", "free 0"],
            ["live 0 4003", "live 1 4100", "free 0"],
            ["live 0 4001", "live 1 4003", "alloc 2 4200", "free 0"]])
        self.assertEqual([r.live(n) for n in range(4)], [[], [4003, 4100], [4100], [4003, 4200]])
        self.assertEqual(len(r.paths), 4)

    def test_children_can_be_skipped(self):
        r = self.record(self.bin / "fork", options=["--children=skip"])
        self.assertEqual(len(r.paths), 1)
        self.assertEqual(len(r.calls()), 9)
        r = self.record(self.bin / "exec", options=["--children=skip"])
        self.assertEqual([r.live(n) for n in range(len(r.paths))], [[5000], [5001]])

    def test_exec_starts_a_new_file(self):
        r = self.record(self.bin / "exec")
        self.assertEqual([r.live(n) for n in range(len(r.paths))], [[5000], [5002], [5001]])
        self.assertEqual(r.meta()["program"], "exec")

    def test_constructors_destructors_and_dlopen(self):
        r = self.record(self.bin / "order", self.bin / "plugin")
        lines = r.lines()
        self.assertRegex(lines[1], r"^alloc 0 6000$")
        self.assertEqual(lines[-1], "free 0")
        for size in (6000, 6001, 6002):
            self.assertEqual(sum(line.startswith("alloc") and line.endswith(f" {size}")
                                 for line in lines), 1)
            self.assertNotIn(size, r.live())

    def test_sized_delete(self):
        r = self.record(self.bin / "sized_delete")
        self.assertEqual(r.lines()[2:], [  # after the C++ library's own block
            "alloc 1 9001", "free 1 9001", "alloc 2 9002", "free 2 9002",
            "aligned 3 9024 align=64", "free 3 9024", "aligned 4 18048 align=64", "free 4 18048",
            "alloc 5 9004", "free 5", "free -"])

    def test_operators_of_the_program_stay_in_charge(self):
        r = self.record(self.bin / "own_delete")
        self.assertIn("ended with exit status 0", r.err)
        self.assertEqual(r.lines()[2:], ["alloc 1 9116", "free 1"])

    def test_sized_delete_of_a_library_loaded_at_run_time(self):
        r = self.record(self.bin / "order", self.bin / "cxx_plugin")
        lines = r.lines()
        at = next(i for i, line in enumerate(lines) if line.endswith(" 6003"))
        id = lines[at].split()[1]
        self.assertEqual(lines[at + 1], f"free {id} 6003")

    def test_operators_of_a_dependency_of_what_is_loaded_at_run_time(self):
        # Its constructor runs when the dynamic linker has not yet made what it searches for a library by itself.
        dependency, library = self.bin / "dependency.so", self.bin / "dependent.so"
        flags = ["g++", "-shared", "-fPIC", "-w", "-fno-builtin"]
        source = PROGRAMS / "cxx_plugin.cpp"
        subprocess.run([*flags, "-DDEPENDENCY", source, "-o", dependency], check=True)
        subprocess.run([*flags, source, "-Wl,--no-as-needed", dependency, "-o", library], check=True)
        r = self.record(self.bin / "order", library)
        self.assertIn("ended with exit status 0", r.err)
        self.assertEqual(sum(line.endswith(" 6004") for line in r.lines()), 1)

    def check_own_operators(self, library):
        r = self.record(self.bin / "sized_delete", env={"LD_PRELOAD": str(library)})
        self.assertEqual(r.lines()[2:], [
            "alloc 1 9001", "free 1 9001", "alloc 2 9002", "free 2 9002",
            "aligned 3 9024 align=64", "free 3 9024", "aligned 4 18048 align=64", "free 4 18048",
            "alloc 5 9004", "free 5", "free -"])

    @unittest.skipUnless(os.path.exists(JEMALLOC), "libjemalloc2 is not installed")
    @unittest.skipIf(os.environ.get("MODE") == "asan", "the sanitizer's runtime must be preloaded first")
    def test_an_allocator_with_operators_of_its_own(self):
        self.check_own_operators(JEMALLOC)

    @unittest.skipIf(os.environ.get("MODE") == "asan", "the sanitizer's runtime must be preloaded first")
    def test_an_allocator_whose_operators_call_each_other(self):
        # They look whether the program has replaced the one that they call, find the recorder's, and go through it.
        self.check_own_operators(pathlib.Path(ALLOCLAB).resolve().parent / DROPIN)

    def test_a_killed_process_loses_nothing(self):
        r = self.record(self.bin / "killed")
        self.assertIn("killed by signal 9", r.err)
        self.assertEqual(len(r.calls()), 2000)
        self.assertEqual(r.live(), [7000] * 1000)

    def test_marks(self):
        for program in ("marks", "marks_fixed"):
            r = self.record(self.bin / program)
            lines = [line for line in r.lines() if not line.startswith(("calloc", "free -"))]
            self.assertEqual(lines, [
                "thread_begin", "scope_begin 0", "scope_begin 1", "alloc 0 8001", "scope_end 1",
                "alloc 1 8002", "scope_begin 2", "scope_switch -", "alloc 2 8003",
                "thread_begin", "scope_switch 2", "alloc 4 8004", "scope_end 2", "thread_end",
                "scope_end 0"], program)
            self.assertEqual(r.meta()["odd_marks"], "2")
            plain = subprocess.run([self.bin / program], timeout=60)
            self.assertEqual(plain.returncode, 0)

    def test_no_room_is_counted_and_does_not_stop_the_program(self):
        # A limit on file sizes leaves room for the header and a few chunks of a capture.
        command = f"ulimit -f 1500; exec {self.bin / 'churn'}"
        r = self.record("sh", "-c", command, status=1)
        self.assertIn("sh ended with exit status 0", r.err)
        whole = self.record(self.bin / "churn")
        n = len(r.paths) - 1
        lost = int(r.meta(n)["lost_ops"])
        self.assertAlmostEqual(len(r.calls(n)) + lost, len(whole.calls()), delta=16)
        self.assertEqual(len(r.calls(n)) > 0 and lost > 0, True)
        self.assertIn("not the whole truth", r.err)

    def test_a_full_disk_is_counted_and_does_not_stop_the_program(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="alloclab-full-"))
        self.addCleanup(folder.rmdir)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k", "alloclab", folder],
                          capture_output=True).returncode != 0:
            self.skipTest("no right to mount a small file system")
        self.addCleanup(subprocess.run, ["umount", folder])
        run = subprocess.run([ALLOCLAB, "record", "--keep-capture", "-o", folder / "t.trace", "--",
                              self.bin / "churn"], capture_output=True, text=True, timeout=60)
        self.assertIn("churn ended with exit status 0", run.stderr)
        self.assertNotEqual(run.returncode, 0)  # the trace has no room beside the capture, perhaps
        capture = next(folder.glob("*.captures.*/*.capture"))
        trace = self.bin / "full.trace"
        subprocess.run([ALLOCLAB, "trace", "pack", capture, "-o", trace],
                       check=True, capture_output=True)
        info = subprocess.run([ALLOCLAB, "trace", "cat", trace], check=True, capture_output=True,
                              text=True).stdout
        meta = dict(line[5:].split("=", 1) for line in info.splitlines() if line.startswith("meta "))
        self.assertGreater(int(meta["lost_ops"]), 1000)
        self.assertGreater(int(meta["lost_from_ns"]), 0)
        for key in ("inversions", "unknown_frees", "unknown_reallocs"):
            self.assertEqual(meta[key], "0", key)

    def test_where_there_is_no_room_for_the_trace_the_capture_stays(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="alloclab-full-"))
        self.addCleanup(folder.rmdir)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=450k", "alloclab", folder], capture_output=True).returncode != 0:
            self.skipTest("no right to mount a small file system")
        self.addCleanup(subprocess.run, ["umount", folder])
        run = subprocess.run([ALLOCLAB, "record", "-o", folder / "t.trace", "--", self.bin / "churn"], capture_output=True,
                             text=True, timeout=60)
        self.assertEqual(run.returncode, 2, run.stderr)
        self.assertIn("the captures are in", run.stderr)
        self.assertEqual(len(list(folder.glob("*.captures.*/*.capture"))), 1)

    def test_a_folder_that_cannot_be_written_does_not_stop_the_program(self):
        env = {**os.environ, "LD_PRELOAD": str(pathlib.Path(ALLOCLAB).resolve().parent / RECORDER),
               "ALLOCLAB_RECORD_DIR": "/no/such/folder"}
        run = subprocess.run([self.bin / "fork"], env=env, capture_output=True, text=True, timeout=60)
        self.assertEqual(run.returncode, 0)
        self.assertIn("is not recorded: cannot create /no/such/folder/", run.stderr)

    def test_signal_handlers_allocate_in_the_middle_of_a_record(self):
        # An allocator that a handler may call, so that only the recorder has something to lose.
        for clock in ("--clock=no", "--clock=each"):
            r = self.record(self.bin / "handlers", options=[clock],
                            env={"LD_PRELOAD": str(self.bin / "bump_plugin")})
            rounds, handled = map(int, r.out.split())
            self.assertGreater(handled, 100)
            calls = collections.Counter(w[0] for _, w in r.calls())
            self.assertEqual(calls, {"alloc": rounds + handled, "realloc": rounds + handled,
                                     "free": rounds + handled})
            self.assertEqual(len(r.live()), 0)

    @unittest.skipUnless(platform.machine() == "x86_64", "steps by the trap flag of x86")
    def test_a_handler_forks_at_each_instruction_of_a_record(self):
        for call, fork in (("malloc", "fork"), ("free", "_Fork"), ("malloc", "clone"), ("free", "clone3")):
            folder = pathlib.Path(tempfile.mkdtemp(prefix="alloclab-record-"))
            self.addCleanup(shutil.rmtree, folder)
            r = Recording(folder, [self.bin / "midfork", call, fork], ["--clock=no"], {"LD_PRELOAD": str(self.bin / "bump_plugin")})
            self.assertEqual(r.status, 0, r.err)
            children, allocs = map(int, r.out.split())
            self.assertGreater(children, 30)
            self.assertEqual(len(r.paths), children + 1)
            for line in r.err.splitlines()[1:]:  # a child has inherited what is under way, or nothing
                self.assertRegex(line, r" 0 objects \(0 bytes\) live at the end, 0 lost(, 1 live at the start)?$")
            kinds = collections.Counter(line.partition(" ")[0] for line in r.text())  # too many for calls()
            self.assertEqual({kind: n for kind, n in kinds.items() if kind in CALLS}, {"alloc": allocs, "free": allocs})

    def test_a_hundred_threads_at_once_and_many_one_after_another(self):
        r = self.record(self.bin / "hundred")
        calls = r.calls()
        ours = collections.Counter(w[2] for _, w in calls if w[0] == "alloc")
        self.assertEqual((ours["501"], ours["502"]), (100 * 200, 300 * 50))
        self.assertEqual(sum(w[0] == "thread_end" for _, w in r.ops()), 400)
        freed = {w[1] for _, w in calls if w[0] == "free"}
        self.assertTrue(all(w[1] in freed for _, w in calls if w[0] == "alloc" and w[2] in ("501", "502")))

    def test_start_and_stop_by_a_call_and_by_a_signal(self):
        r = self.record(self.bin / "parts", options=["--start=off", "--signal=USR2"], status=0, odd=1)
        allocs = [w[2] for _, w in r.calls() if w[0] == "alloc"]
        self.assertEqual(allocs, ["302", "303", "305"])
        self.assertEqual((r.meta()["unknown_frees"], r.meta()["stops"]), ("1", "2"))
        self.assertEqual(subprocess.run([self.bin / "parts", "bare"], timeout=60).returncode, 0)

    def test_calls_under_way_when_the_recording_stops(self):
        r = Recording(pathlib.Path(tempfile.mkdtemp(prefix="alloclab-record-", dir=self.bin)), [self.bin / "switches"],
                      ("--signal=USR2", "--clock=no"), {})
        self.assertEqual(r.status, 0, r.err)  # 1 if there are inversions
        info = subprocess.run([ALLOCLAB, "trace", "info", "--brief", r.trace], check=True, capture_output=True, text=True).stdout
        for meta in ("inversions", "lost_ops"):
            self.assertRegex(info, rf"(?m)^meta\.{meta} +0$")
        self.assertNotRegex(info, r"(?m)^meta\.stops +0$")
        subprocess.run([ALLOCLAB, "trace", "check", r.trace], check=True, capture_output=True)

    def test_a_sample_has_whole_objects_or_none(self):
        whole = self.record(self.bin / "churn")
        r = self.record(self.bin / "churn", options=["--sample=1/8"])
        self.assertEqual(r.meta()["sample"], "8")
        calls, skipped = len(r.calls()), int(r.meta()["skipped_calls"])
        self.assertLess(calls, len(whole.calls()) / 2)
        self.assertGreater(calls, 0)
        self.assertGreater(skipped, calls)
        self.assertLessEqual(len(r.live()), len(whole.live()))

    def test_one_program_of_many(self):
        r = self.record("sh", "-c", f"{self.bin / 'killed'}; true", options=["--only=killed"])
        self.assertEqual([r.meta(n)["program"] for n in range(len(r.paths))], ["killed"])

    def test_clocks(self):
        for options in (["--clock=yes"], ["--clock=each"]):
            r = self.record(self.bin / "churn", options=options)
            clocks = [int(w[-1][6:]) for _, w in r.ops() if w[-1].startswith("clock=")]
            self.assertEqual(clocks, sorted(clocks))
            self.assertGreater(clocks[-1], 1000000)
            self.assertTrue(all(clock % 100 == 0 for clock in clocks))
        r = self.record(self.bin / "churn")  # --clock=no
        self.assertFalse(any(w[-1].startswith("clock=") for _, w in r.ops()))

    def test_a_clock_that_few_records_move_knows_a_pause(self):
        r = self.record(self.bin / "pauses", options=["--clock=yes"])
        pause, each = map(int, r.out.split())  # ns, calls between two pauses
        clocks = [int(w[-1][6:]) if w[-1].startswith("clock=") else 0 for _, w in r.calls()][-4 * each:]
        middle = clocks[each // 2::each]
        for before, after in zip(middle, middle[1:]):
            self.assertGreater(after - before, pause / 2)

    def test_where_the_time_stamp_counter_is_no_clock(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="alloclab-ticks-"))
        self.addCleanup(shutil.rmtree, folder)
        env = {**os.environ, "LD_PRELOAD": str(pathlib.Path(ALLOCLAB).resolve().parent / RECORDER),
               "ALLOCLAB_RECORD_DIR": str(folder), "ALLOCLAB_RECORD_TICKS": "0"}
        subprocess.run([self.bin / "churn"], env=env, check=True, timeout=60)
        capture, trace = next(folder.glob("*.capture")), folder / "t.trace"
        subprocess.run([ALLOCLAB, "trace", "convert", "--strict", "--from", "capture", capture, "-o", trace],
                       check=True, capture_output=True)
        text = subprocess.run([ALLOCLAB, "trace", "cat", trace], check=True, capture_output=True,
                              text=True).stdout
        self.assertIn("meta clock_source=monotonic,", text)
        self.assertEqual(text.count("\nalloc "), 3 * 30000)

    def test_what_cannot_be_recorded_is_said(self):
        r = self.record(self.bin / "static", status=2)
        self.assertIn("statically linked", r.err)
        r = self.record("/no/such/program", status=2)
        self.assertIn("cannot be started: No such file", r.err)
        self.assertEqual((r.paths, r.left), ([], []))

    def test_waits_for_what_the_command_leaves_behind(self):
        r = self.record("sh", "-c", f"(sleep 0.3; exec {self.bin / 'killed'}) & exit 3")
        self.assertIn("sh ended with exit status 3", r.err)
        self.assertIn([7000] * 1000, [r.live(n) for n in range(len(r.paths))])

    def test_a_terminated_recording_still_leaves_its_trace(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="alloclab-record-"))
        self.addCleanup(shutil.rmtree, folder)
        run = subprocess.Popen([ALLOCLAB, "record", "-o", folder / "t.trace", "--", "sh", "-c",
                                "echo ready; exec sleep 60"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
        self.assertEqual(run.stdout.readline(), "ready\n")
        run.terminate()
        _, err = run.communicate(timeout=30)
        self.assertEqual(run.returncode, 0, err)
        self.assertIn("sh was killed by signal 15", err)
        self.assertTrue((folder / "t.trace").exists())

    def test_usage(self):
        for arguments, message in ((["-o", "", "--", "true"], "-o '': name the file that the trace goes to"),
                                   (["-o"], "-o '': name the file that the trace goes to"),
                                   (["--only=", "true"], "--only=: name a program, as in --only=nginx"),
                                   (["--clock=x", "true"], "--clock=x: say --clock=yes, --clock=each or --clock=no")):
            run = subprocess.run([ALLOCLAB, "record", *arguments], capture_output=True, text=True)
            self.assertEqual((run.returncode, run.stderr), (2, f"alloclab record: {message}\n"))
        for arguments in ([], ["--children=maybe", "--", "true"], ["--bogus", "true"]):
            run = subprocess.run([ALLOCLAB, "record", *arguments], capture_output=True, text=True)
            self.assertEqual(run.returncode, 2, arguments)
            self.assertTrue(run.stderr.startswith("alloclab record: "), run.stderr)

    def test_the_command_runs_unchanged(self):
        r = self.record("sh", "-c", "echo out; echo $LD_PRELOAD >&2; exit 7")
        self.assertEqual(r.out, "out\n")
        self.assertIn("sh ended with exit status 7", r.err)

    def test_nothing_of_the_machine_is_in_a_trace(self):
        secret = self.bin / "secret-folder"
        secret.mkdir()
        shutil.copy(self.bin / "killed", secret / "killed")
        r = self.record(secret / "killed", "secret-argument", env={"SECRET": "secret-value"})
        self.assertNotIn("secret", "\n".join(r.text()))
        self.assertEqual(r.meta()["command"], "killed")
        r = self.record(secret / "killed", "an-argument", options=["--disclose=command"])
        self.assertTrue(r.meta()["command"].endswith("killed an-argument"))


if __name__ == "__main__":
    unittest.main()
