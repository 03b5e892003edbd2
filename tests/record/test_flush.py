"""test_flush.py - full rooms are written by `alloclab record` instead of the program; where it does not, or is killed, or the
program is, nothing is lost.

The program (tests/record/programs/bursts.c) allocates and frees blocks, and says how many and how much was written in it.
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from recording import child_of, compile_for

ALLOCLAB = os.path.abspath(os.environ["ALLOCLAB"])
ROOM, ALONE = 65536, 5  # bytes; rooms that a thread writes before it asks for help, and one more


class FlushTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.bin = compile_for(cls, "bursts")

    def start(self, *arguments, options=()):
        """Starts it under `record`, up to where it waits."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="alloclab-flush-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.trace = self.folder / "t.trace"
        command = [ALLOCLAB, "record", "-o", self.trace, *options, "--", self.bin / "bursts", *arguments]
        with open(self.folder / "err", "w", encoding="utf-8") as err:
            run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, text=True, bufsize=1)
        self.addCleanup(run.wait)
        self.addCleanup(run.kill)
        for stream in (run.stdin, run.stdout):
            self.addCleanup(stream.close)
        self.assertEqual(run.stdout.readline(), "ready\n")
        return run

    def go(self, run):
        """(blocks, bytes written in the program)"""
        run.stdin.write("go\n")
        blocks, written, self.left = map(int, run.stdout.readline().split())
        return blocks, written

    def runs(self, pid):
        try:
            return "Z" not in pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
        except (FileNotFoundError, ProcessLookupError):
            return False

    def said(self):
        return (self.folder / "err").read_text()

    def finish(self, run):
        self.assertEqual(run.wait(timeout=120), 0)

    def assert_whole(self, trace, blocks):
        check = subprocess.run([ALLOCLAB, "trace", "check", trace], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        info = subprocess.run([ALLOCLAB, "trace", "info", trace], capture_output=True, text=True, check=True).stdout
        said = dict(line.split(maxsplit=1) for line in info.splitlines() if " " in line)
        for key in ("meta.lost_ops", "meta.inversions", "meta.unknown_frees", "meta.unknown_reallocs"):
            self.assertEqual(said[key], "0", key)
        self.assertEqual(int(said["alloc"]), blocks)
        self.assertIn(int(said["free"]) - blocks, range(10), "the C library frees a little for each thread")

    def test_rooms_are_written_elsewhere(self):
        for how, threads in (("alone", 1), ("threads", 4)):
            run = self.start("end", "wait", how)
            blocks, written = self.go(run)
            self.finish(run)
            self.assert_whole(self.trace, blocks)
            self.assertLess(written, ROOM * ALONE * threads, "of some 12 rooms a thread, 24 of the first one")

    def test_who_is_not_served_writes_its_own(self):
        for how in ("alone", "threads", "fork"):
            run = self.start("stay", "go", how)
            run.send_signal(signal.SIGSTOP)
            blocks, written = self.go(run)
            self.assertGreater(written, 30 * ROOM)
            os.kill(child_of(run), signal.SIGKILL)  # with rooms handed over that nobody has taken
            run.send_signal(signal.SIGCONT)
            self.finish(run)
            self.assert_whole(self.trace, blocks)
            if how == "fork":
                self.assert_whole(self.folder / "t.1.trace", blocks // 2)

    def test_a_recording_that_is_killed_leaves_whole_captures(self):
        run = self.start("stay", "go", "threads")
        capture, = self.folder.glob("*.captures.*/*.capture")
        child = child_of(run)
        run.stdin.write("go\n")
        while capture.stat().st_size < 20 * ROOM:
            time.sleep(0.001)
        run.kill()
        blocks, _, _ = map(int, run.stdout.readline().split())
        os.kill(child, signal.SIGKILL)
        while self.runs(child):
            time.sleep(0.01)
        subprocess.run([ALLOCLAB, "trace", "pack", capture, "-o", self.trace], check=True, capture_output=True)
        self.assert_whole(self.trace, blocks)

    def test_an_interrupted_recording_has_no_gap(self):
        # What the command leaves running fills rooms while its capture is read.
        run = self.start("leave", "go", "alone")
        command = child_of(run)
        self.go(run)
        self.addCleanup(os.kill, self.left, signal.SIGKILL)
        while pathlib.Path(f"/proc/{command}").exists():
            time.sleep(0.001)
        while "interrupted" not in self.said():  # a signal that comes too soon goes to the command
            run.send_signal(signal.SIGTERM)
            until = time.monotonic() + 2
            while "interrupted" not in self.said() and time.monotonic() < until:
                time.sleep(0.01)
        run.wait(timeout=120)
        err = self.said()
        self.assertIn(run.returncode, (0, 1), err)  # what was read last may lack what came before
        self.assertTrue(self.folder.joinpath("t.1.trace").exists(), err)

    def test_packing_can_be_left_for_later(self):
        run = self.start("end", "go", "fork", options=["--pack=no"])
        blocks, _ = self.go(run)
        self.finish(run)
        folder = pathlib.Path(re.search(r"the captures are in (.*)\n", self.said()).group(1))
        self.assertFalse(self.trace.exists())
        captures = sorted(folder.glob("*.capture"))
        self.assertEqual([p.name for p in folder.iterdir() if p not in captures], ["execs"])
        for capture, count in zip(captures, (blocks, blocks // 2), strict=True):
            subprocess.run([ALLOCLAB, "trace", "pack", capture, "-o", self.trace], check=True, capture_output=True)
            self.assert_whole(self.trace, count)


if __name__ == "__main__":
    unittest.main()
