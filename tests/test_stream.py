"""test_stream.py - `alloclab run --replay stream`: the same exact figures as with a plan in memory, what it refuses, when `auto` takes
it, and what is left when one of its processes is killed."""

import csv
import os
import signal
import subprocess
import tempfile
import time
import unittest

ALLOCLAB = os.environ.get("ALLOCLAB", "./alloclab")
SAMPLE = "traces/samples/redis.trace"
LONG = "random:ops=2m,live=50k"  # more than a ring holds; a timed cell takes half a second at least


def run(*args):
    return subprocess.run([ALLOCLAB, *args], capture_output=True, text=True, timeout=120)


EXACT = {line.split()[0] for line in run("list", "metrics").stdout.splitlines() if " exact " in line[:80]}


def children(parent, role):
    """Processes `alloclab ROLE` of a session that have been started by exec."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                stat = file.read().rsplit(")", 1)[1].split()
            with open(f"/proc/{name}/cmdline") as file:
                command = file.read().split("\0")
        except OSError:
            continue
        if int(stat[1]) == parent and stat[0] != "Z" and command[1:2] == [role]:
            found.append(int(name))
    return found


def runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.001)
    raise AssertionError(f"nothing in {seconds} s")


class Stream(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.out = os.path.join(self.folder.name, "out")

    def tearDown(self):
        self.folder.cleanup()

    def rows(self, out=None):
        with open(os.path.join(out or self.out, "results.csv"), newline="") as file:
            return list(csv.DictReader(file))

    def start(self, *args):
        return subprocess.Popen([ALLOCLAB, "run", "-o", self.out, "--replay", "stream", *args], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def test_same_figures(self):
        common = ("-a", "segfit,libc", "--seed", "3", "--release", "free", "--passes", "memory,verify", "-w",
                  f"{SAMPLE},prodcons:ops=20k")
        both = []
        for replay in ("serial", "stream"):
            out = os.path.join(self.folder.name, replay)
            got = run("run", "-o", out, "--replay", replay, *common)
            self.assertEqual(got.returncode, 0, got.stderr)
            both.append(sorted(self.rows(out), key=lambda r: (r["workload"], r["allocator"], r["pass"])))
        self.assertIn("peak_committed_bytes", EXACT)
        for serial, stream in zip(*both, strict=True):
            self.assertEqual([serial[c] for c in ("allocator", "pass", "status")], [stream[c] for c in ("allocator", "pass", "status")])
            self.assertEqual((serial["replay"], stream["replay"]), ("serial", "stream"))
            self.assertEqual(stream["escaped_objects"], "")
            for column in EXACT - {"escaped_objects", "escaped_bytes", "harness_bytes"}:
                self.assertEqual(serial[column], stream[column], f"{column} of {stream['allocator']} on {stream['workload']}")
            if stream["status"] == "ok":
                most, words = int(stream["decoder_bytes"]), 8 * int(stream["ops"])
                self.assertGreater(most, words + (2 << 20), "a process, and a pass at least through a ring that none fills")
                self.assertLess(most, 256 << 20, "beside the ring, which is half of that, a decoder needs little")

    def test_timed_row(self):
        got = run("run", "-o", self.out, "-r", "1", "-a", "segfit", "-w", "request:requests=300", "--replay", "stream", "--passes",
                  "throughput")
        self.assertEqual(got.returncode, 0, got.stderr)
        for row in self.rows():
            self.assertEqual((row["status"], row["replay"], row["release"]), ("ok", "stream", "free"))
            for column in ("ns_per_op", "cold_ns_per_op", "decode_wait_ns", "passes_count"):
                self.assertGreater(float(row[column]), 0, column)

    def test_latency_needs_the_plan(self):
        got = run("run", "-o", self.out, "-r", "1", "-a", "segfit", "-w", "random:ops=2k,live=100", "--replay", "stream", "--passes",
                  "latency")
        self.assertEqual(got.returncode, 0, got.stderr)
        self.assertEqual({(r["status"], r["p50_ns"]) for r in self.rows()}, {("not_applicable", "")})
        self.assertIn("plan in memory", self.rows()[0]["detail"])

    def test_scopes_are_refused(self):
        for release in ("scope", "both"):
            got = run("run", "-o", self.out, "-w", SAMPLE, "--replay", "stream", "--release", release)
            self.assertEqual((got.returncode, got.stderr), (2, "alloclab run: --replay stream executes every free: leave --release "
                                                            "out, or give --release free\n"))
        self.assertFalse(os.path.exists(self.out))

    def test_auto(self):
        common = ("-r", "1", "-a", "segfit", "-w", "request:requests=300,random:ops=200k,live=1k", "--passes", "verify", "--replay",
                  "auto", "--plan-memory")
        got = run("run", "-o", self.out, *common, "1m")
        self.assertEqual(got.returncode, 0, got.stderr)
        self.assertRegex(got.stderr, r"(?m)^random:ops=200k,live=1k: its plan would take about \d+ MiB, over the 1 MiB for plans: "
                         r"it is streamed \(--replay stream\), and every free is executed$")
        self.assertEqual({(r["workload"].split(":")[0], r["replay"]) for r in self.rows()}, {("request", "serial"), ("random", "stream")})
        again = os.path.join(self.folder.name, "again")
        got = run("run", "-o", again, *common, "1g")
        self.assertEqual({r["replay"] for r in self.rows(again)}, {"serial"})
        got = run("run", "-o", again + "2", *common, "1m", "--release", "both")
        self.assertEqual(got.returncode, 2)
        self.assertIn("random:ops=200k,live=1k: its plan would take about", got.stderr)
        got = run("run", "-o", again + "2", "-w", SAMPLE, "--plan-memory", "1m")
        self.assertEqual((got.returncode, got.stderr), (2, "alloclab run: --plan-memory is for --replay auto\n"))

    def test_damage_is_found_first(self):
        path = os.path.join(self.folder.name, "bad.trace")
        with open(SAMPLE, "rb") as file:
            data = bytearray(file.read())
        data[len(data) // 2] ^= 1
        with open(path, "wb") as file:
            file.write(data)
        got = run("run", "-o", self.out, "-w", path, "--replay", "stream")
        self.assertEqual(got.returncode, 2)
        self.assertRegex(got.stderr, r"bad\.trace: offset \d+: checksum")
        self.assertFalse(os.path.exists(self.out))

    def test_decoder_killed(self):
        session = self.start("-a", "segfit", "-w", LONG, "-r", "1", "--passes", "throughput")
        os.kill(until(lambda: children(session.pid, "decode"))[0], signal.SIGKILL)
        _, said = session.communicate(timeout=120)
        self.assertEqual(session.returncode, 1, said)
        self.assertIn("throughput pass: failed: the decoder ended: Killed", said)
        bad = [r for r in self.rows() if r["status"] != "ok"]
        self.assertEqual([(r["status"], r["detail"]) for r in bad], [("failed", "the decoder ended: Killed")])
        self.assertEqual(len(self.rows()), 2, "the session went on")

    def test_cell_killed(self):
        session = self.start("-a", "segfit", "-w", LONG, "-r", "1", "--passes", "throughput")
        decoder, cell = (until(lambda: children(session.pid, role))[0] for role in ("decode", "cell"))
        os.kill(cell, signal.SIGKILL)
        until(lambda: not runs(decoder))
        _, said = session.communicate(timeout=120)
        self.assertEqual(session.returncode, 1, said)
        self.assertEqual(sorted(r["status"] for r in self.rows()), ["crash", "ok"])

    def test_session_killed(self):
        session = self.start("-a", "segfit", "-w", LONG, "-r", "1", "--passes", "throughput")
        processes = [until(lambda: children(session.pid, role))[0] for role in ("decode", "cell")]
        session.kill()
        session.communicate(timeout=120)
        until(lambda: not any(runs(pid) for pid in processes))


if __name__ == "__main__":
    unittest.main()
