"""test_gaps.py - what the recorder cannot see, it says; and what programs do to what they inherited (descriptors closed, another
root, another user, limits, sandboxes) costs them nothing.
"""

import collections
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from recording import child_of

ALLOCLAB = os.path.abspath(os.environ["ALLOCLAB"])
PROGRAMS = pathlib.Path(__file__).parent / "programs"
ROOT = os.geteuid() == 0


def others_reach(path):
    """Another user can execute what is there: a checkout in root's own folder is out of reach."""
    path = pathlib.Path(path).resolve()
    return all(p.stat().st_mode & 1 for p in (path, *path.parents))


class GapsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.bin = pathlib.Path(tempfile.mkdtemp(prefix="alloclab-gaps-"))
        cls.addClassCleanup(shutil.rmtree, cls.bin)
        cls.bin.chmod(0o755)
        for name, source, flags in (("spawns", "spawns.c", []), ("hostile", "hostile.c", []), ("killed", "killed.c", []),
                                    ("small_stack", "small_stack.c", []), ("coroutine", "coroutine.c", []),
                                    ("own_malloc", "killed.c", [PROGRAMS / "bump_plugin.c", "-DROOM=67108864"]),
                                    ("static", "killed.c", ["-static"])):
            subprocess.run(["gcc", "-O1", "-w", "-fno-builtin", "-pthread", *flags, PROGRAMS / source, "-o", cls.bin / name],
                           check=True)

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="alloclab-gaps-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.folder.chmod(0o755)

    def words(self, command, options=()):
        return [ALLOCLAB, "record", *options, "-o", str(self.folder / "t.trace"), "--", *map(str, command)]

    def traces(self):
        """Every trace is valid and in order; each one's meta pairs and counts, with those of the same program together."""
        found = collections.defaultdict(list)
        for path in sorted(self.folder.glob("*.trace")):
            check = subprocess.run([ALLOCLAB, "trace", "check", path], capture_output=True, text=True, check=False)
            self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
            text = subprocess.run([ALLOCLAB, "trace", "info", "--brief", path], capture_output=True, text=True, check=True).stdout
            info = dict(line.split(None, 1) for line in text.splitlines() if " " in line)
            for key in ("inversions", "inversions_repaired", "unknown_frees", "unknown_reallocs"):
                self.assertEqual(info[f"meta.{key}"], "0", path)
            found[info["meta.program"]].append(info)
        self.assertEqual([path.name for path in self.folder.iterdir() if path.suffix != ".trace"], [])
        return found

    def record(self, *command, status=0, options=(), **more):
        run = subprocess.run(self.words(command, options), capture_output=True, text=True, timeout=60, check=False, **more)
        self.assertEqual(run.returncode, status, run.stderr)
        return run

    def unrecorded(self, run):
        """(program, processes, why) of each that was not."""
        return [match.groups() for match in
                re.finditer(r"^alloclab record: (\S+): (\d+) process(?:es)? not recorded: (.*)$", run.stderr, re.MULTILINE)]

    def test_every_way_to_start_a_program(self):
        run = self.record(self.bin / "spawns", "/bin/true")
        self.assertEqual(run.stdout, "69 of 69\n")
        traces = self.traces()
        self.assertEqual(len(traces["true"]), 49)
        self.assertTrue(all(trace["meta.lost_ops"] == "0" for trace in traces["true"] + traces["spawns"]))
        self.assertEqual(self.unrecorded(run), [])

    def test_programs_started_on_the_smallest_stack(self):
        run = self.record(self.bin / "small_stack", cwd="/bin")
        self.assertEqual(run.stdout, "3 of 3\n", run.stderr)
        self.assertEqual(len(self.traces()["true"]), 3)

    def test_calls_on_a_stack_of_one_page(self):
        """So many that rooms are handed over, with nothing looked up beforehand that the recorder needs."""
        rounds = 60000
        for options in (["--clock=no"], ["--sample=1/2"], ["--sites=caller"], ["--sites=stack"]):
            with self.subTest(options=options):
                run = self.record(self.bin / "coroutine", rounds, options=options)
                self.assertEqual(run.stdout, "done\n", run.stderr)
                found, = self.traces()["coroutine"]
                if "--sample=1/2" not in options:
                    self.assertEqual((found["realloc"], found["meta.lost_ops"]), (str(rounds + 1), "0"))

    def test_a_program_with_a_malloc_of_its_own_is_named(self):
        run = self.record(self.bin / "own_malloc", status=2)
        self.assertIn(f"its malloc is not the recorder's, but that of {self.bin}/own_malloc: it comes first", run.stderr)
        self.assertRegex(run.stderr, "nothing was recorded: .* another malloc comes first")
        self.assertEqual(self.traces(), {})
        run = self.record("sh", "-c", f"{self.bin}/own_malloc; exit 0")
        self.assertEqual([(program, count) for program, count, _ in self.unrecorded(run)], [(f"{self.bin}/own_malloc", "1")])

    @unittest.skipIf(os.environ.get("MODE") == "asan", "the sanitizer's runtime must be preloaded first")
    def test_a_program_that_is_run_on_a_design_is_recorded(self):
        self.record(ALLOCLAB, "exec", "-a", "segfit", "--", self.bin / "killed")
        self.assertEqual([trace["ops"] for trace in self.traces()["killed"]], ["2000"])

    def test_a_library_that_is_bound_deeply(self):
        program = self.bin / "deep"
        subprocess.run(["gcc", "-O1", "-w", "-fno-builtin", PROGRAMS / "deep.c", "-o", program, f"-Wl,-rpath,{self.bin}"],
                       check=True)
        for number, flags in enumerate((["-Wl,-z,lazy"], ["-Wl,-z,now,-z,relro"], ["-fno-plt"])):
            with self.subTest(flags=flags):
                library = self.bin / f"libdeep{number}.so"
                subprocess.run(["gcc", "-O1", "-w", "-fno-builtin", "-shared", "-fPIC", "-DPLUGIN", *flags, PROGRAMS / "deep.c",
                                "-o", library], check=True)
                run = self.record(program, library)
                self.assertIn("ended with exit status 0", run.stderr)
                path = self.folder / "t.trace"
                self.assertEqual(len(self.traces()["deep"]), 1)
                text = subprocess.run([ALLOCLAB, "trace", "cat", path], capture_output=True, text=True, check=True).stdout
                sizes = collections.Counter(words[2] for words in map(str.split, text.splitlines()) if words[:1] == ["alloc"])
                self.assertEqual((sizes["7000"], sizes["7001"]), (400, 200))
                path.unlink()
        # A name alone is looked for where the caller says, which must not seem to be the recorder; then it is not seen.
        run = self.record(program, "libdeep0.so", status=1)
        self.assertIn("ended with exit status 0", run.stderr)

    def test_another_c_library(self):
        # Its dynamic linker preloads the recorder too, and ends programs whose libraries it cannot link.
        if not shutil.which("musl-gcc"):
            self.skipTest("musl-gcc is not installed: package musl-tools")
        for name in ("churn", "exec", "fork"):
            subprocess.run(["musl-gcc", "-O1", "-w", PROGRAMS / f"{name}.c", "-o", self.bin / f"{name}_of_musl"], check=True)
        run = self.record("sh", "-c", f"cd {self.bin}; ./churn_of_musl && ./exec_of_musl && ./fork_of_musl && exit 7; exit 8")
        self.assertIn("sh ended with exit status 7", run.stderr)
        self.assertIn("is not recorded: its C library: it is not glibc\n", run.stderr)
        reasons = {path: why for path, _, why in self.unrecorded(run)}
        self.assertIn("a C library that is not glibc", reasons[f"{self.bin}/./churn_of_musl"])

    def test_static_programs_of_a_tree_are_named(self):
        run = self.record("sh", "-c", f"{self.bin}/static; {self.bin}/static; {self.bin}/killed; /no/such; exit 5")
        self.assertIn("sh ended with exit status 5", run.stderr)
        (program, count, why), = self.unrecorded(run)
        self.assertEqual((program, count), (f"{self.bin}/static", "2"))
        self.assertIn("statically linked", why)
        self.assertEqual(len(self.traces()["killed"]), 1)

    def test_each_way_to_start_a_static_program_is_seen(self):
        shutil.copy(self.bin / "static", self.bin / "noted")
        run = self.record(self.bin / "spawns", self.bin / "noted")
        self.assertEqual([(program, count) for program, count, _ in self.unrecorded(run)], [(f"{self.bin}/noted", "49")])

    def test_a_static_command_with_children(self):
        busybox = shutil.which("busybox")
        if not busybox:
            self.skipTest("busybox is not installed: package busybox-static")
        run = self.record(busybox, "sh", "-c", "/bin/ls > /dev/null; exit 0")
        self.assertEqual([count for _, count, _ in self.unrecorded(run)], ["1"])
        self.assertEqual(list(self.traces()), ["ls"])

    def test_a_program_that_takes_the_recorder_out_of_the_environment(self):
        run = self.record("sh", "-c", "env -i /bin/ls / > /dev/null; LD_PRELOAD= /bin/true; LD_PRELOAD=$LD_PRELOAD /bin/cat /dev/null")
        self.assertEqual(self.unrecorded(run), [
            ("/bin/ls", "1", "LD_PRELOAD was taken out of its environment"),
            ("/bin/true", "1", "LD_PRELOAD was taken out of its environment")])
        self.assertIn("cat", self.traces())

    @unittest.skipUnless(ROOT, "another user's program needs root to be made")
    @unittest.skipUnless(others_reach(ALLOCLAB), "another user cannot reach the build")
    def test_setuid_programs_are_named(self):
        copy = self.bin / "setuid"
        shutil.copy("/bin/true", copy)
        copy.chmod(0o4755)
        folder = self.folder / "own"
        folder.mkdir()
        os.chown(folder, 65534, 65534)
        for command, message in (([copy], "setuid: nothing was recorded: it is setuid"),
                                 (["sh", "-c", f"{copy}; exit 0"], "setuid: 1 process not recorded: it is setuid")):
            run = subprocess.run([ALLOCLAB, "record", "-o", folder / "t.trace", "--", *command], capture_output=True, text=True,
                                 timeout=60, check=False, user=65534, group=65534)
            self.assertIn(message, run.stderr)
        shutil.rmtree(folder)

    def test_what_is_not_asked_for_is_not_missed(self):
        script = f"{self.bin}/static; {self.bin}/killed; exit 0"
        for options in (["--children=skip"], ["--only=killed"]):
            self.assertEqual(self.unrecorded(self.record("sh", "-c", script, options=options)), [])

    @unittest.skipUnless(ROOT, "only root may become another user")
    @unittest.skipUnless(others_reach(ALLOCLAB), "another user cannot reach the build")
    def test_another_user_is_recorded_too(self):
        self.record("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", self.bin / "killed")
        self.assertEqual([trace["ops"] for trace in self.traces()["killed"]], ["2000"])

    def hostile(self, *arguments, status=0, traces=2, options=()):
        run = self.record(self.bin / "hostile", *arguments, status=status, options=options)
        self.assertEqual(run.stdout, "done\n")
        self.assertIn("ended with exit status 0", run.stderr)
        found = self.traces()["hostile"]
        self.assertEqual(len(found), traces)
        return run, found

    def test_every_descriptor_is_closed(self):
        _, found = self.hostile("closes")
        self.assertEqual([trace["meta.lost_ops"] for trace in found], ["0", "0"])
        self.assertEqual(sum(int(trace["alloc"]) for trace in found), 100 + 4000 + 1000)

    @unittest.skipUnless(ROOT, "only root may change its root folder")
    def test_another_root_and_another_user(self):
        jail = self.bin / "jail"
        jail.mkdir()
        run, found = self.hostile("jail", jail, traces=1)
        self.assertEqual((found[0]["meta.lost_ops"], found[0]["alloc"]), ("0", "4100"))
        self.assertRegex(run.stderr, r"process \d+ is not recorded: cannot create")  # the child's capture
        self.assertEqual(found[0]["meta.unseen_children"], "1")

    def test_no_file_may_grow(self):
        run, found = self.hostile("limit", status=1, traces=1)
        self.assertEqual(found[0]["meta.unseen_children"], "1")
        self.assertIn("not the whole truth", run.stderr)

    def test_no_complaint_where_it_would_be_a_signal(self):
        said = self.bin / "said"
        said.write_bytes(bytes(5000))  # more than the limit: a line more is a SIGXFSZ
        run = self.record("sh", "-c", f"{self.bin}/hostile limit 2>> {said}", status=1)
        self.assertEqual(run.stdout, "done\n")
        self.assertIn("sh ended with exit status 0", run.stderr)
        self.assertEqual(said.stat().st_size, 5000)

    def test_sandboxes_that_refuse_or_kill(self):
        for how in ("errno", "kill"):
            for options in ((), ("--sites=stack",)):
                with self.subTest(how=how, options=options):
                    run = self.record(self.bin / "hostile", how, "-", "200000", options=options)
                    self.assertEqual(run.stdout, "done\n", run.stderr)
                    found, = self.traces()["hostile"]
                    self.assertEqual((found["meta.lost_ops"], found["alloc"]), ("0", "200100"))

    @unittest.skipUnless(platform.machine() == "x86_64", "other processors have no time stamp counter to forbid")
    def test_where_the_counter_may_not_be_read(self):
        run = self.record(self.bin / "hostile", "strict", "-", "200000")
        self.assertEqual(run.stdout, "done\n", run.stderr)
        found, = self.traces()["hostile"]
        self.assertEqual((found["meta.lost_ops"], found["alloc"]), ("0", "200100"))
        (self.folder / "t.trace").unlink()
        for options in ((), ("--clock=each",)):
            _, found = self.hostile("timeless", "-", "200000", options=options)
            self.assertEqual([trace["meta.lost_ops"] for trace in found], ["0", "0"])
            self.assertEqual(sorted(int(trace["alloc"]) for trace in found), [1000, 200100])
            for path in self.folder.glob("*.trace"):
                path.unlink()

    def test_children_of_a_sandbox_are_counted(self):
        run, found = self.hostile("files", traces=1)
        self.assertEqual((found[0]["meta.lost_ops"], found[0]["meta.unseen_children"]), ("0", "1"))
        self.assertIn("1 forked and not recorded", run.stderr)

    def test_programs_started_in_a_sandbox_are_named(self):
        """Not on the program's own standard error, which would be another output than without us."""
        run, found = self.hostile("reads", "/bin/true", traces=1)
        self.assertEqual((found[0]["meta.lost_ops"], found[0]["alloc"]), ("0", "4100"))
        self.assertNotIn("alloclab-record", run.stderr)
        self.assertEqual(self.unrecorded(run), [
            ("/bin/true", "1", "it was started in a seccomp sandbox that lets it make no file"),
            ("/bin/true", "1", "LD_PRELOAD was taken out of its environment"),
            ("true", "1", "it was started in a seccomp sandbox that lets it make no file")])

    def test_a_sandbox_that_is_not_entered_changes_nothing(self):
        _, found = self.hostile("refused")
        self.assertEqual(sum(int(trace["alloc"]) for trace in found), 100 + 4000 + 1000)

    def test_more_than_was_made_ready_for_a_sandbox_is_counted(self):
        run = self.record(self.bin / "hostile", "kill", "-", "4000000", status=1)
        self.assertEqual(run.stdout, "done\n", run.stderr)
        found, = self.traces()["hostile"]
        self.assertGreater(int(found["ops"]), 2000000)
        self.assertGreater(int(found["meta.lost_ops"]), 2000000)

    def test_an_interrupt_ends_the_command_and_its_trace_stays(self):
        run = subprocess.Popen(self.words(["sh", "-c", "echo ready; sleep 60; echo never"]), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)
        self.assertEqual(run.stdout.readline(), "ready\n")
        time.sleep(0.1)
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does
        out, err = run.communicate(timeout=30)
        self.assertEqual((run.returncode, out), (0, ""), err)
        self.assertIn("sh was killed by signal 2", err)
        self.assertIn("sh", self.traces())

    def test_a_server_is_killed_and_its_workers_with_it(self):
        script = "for i in 1 2 3; do sh -c 'echo $$; while :; do x=$x$(echo worker); x=; done' & done; wait"
        run = subprocess.Popen(self.words(["sh", "-c", script]), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        workers = [int(run.stdout.readline()) for _ in range(3)]
        time.sleep(0.1)
        server = child_of(run)
        os.kill(server, signal.SIGKILL)
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        _, err = run.communicate(timeout=60)
        self.assertEqual(run.returncode, 0, err)
        self.assertIn("killed by signal 9", err)
        found = self.traces()
        self.assertTrue(all(trace["meta.lost_ops"] == "0" for traces in found.values() for trace in traces))


if __name__ == "__main__":
    unittest.main()
