"""test_killed.py - a recorded process is killed at a random moment: what had returned is in its trace, and the order is true.

The program (tests/record/programs/counted.c) counts, in a file of its own, each call that has returned. The trace may
hold one call a thread more: the one that the thread was in, or had not counted yet. 8 runs; 100 with --full.
"""

import collections
import os
import random
import signal
import struct
import subprocess
import time
import unittest

from recording import child_of, compile_for

ALLOCLAB = os.path.abspath(os.environ["ALLOCLAB"])
FULL = "TEST_FULL" in os.environ
CALLS = ("alloc", "calloc", "aligned", "realloc", "free")
LINE, MOST_THREADS = 64, 8


class KilledTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = compile_for(cls, "counted")

    def kill_one(self, threads, delay):
        """(the trace's lines, returned calls by thread)"""
        counts, trace = self.folder / "counts", self.folder / "t.trace"
        counts.write_bytes(bytes(LINE * MOST_THREADS))
        run = subprocess.Popen([ALLOCLAB, "record", "-o", trace, "--", self.folder / "counted", counts, str(threads)],
                               stderr=subprocess.PIPE, text=True)
        while not any(counts.read_bytes()):  # until it has begun
            time.sleep(0.001)
        time.sleep(delay)
        os.kill(child_of(run), signal.SIGKILL)
        _, err = run.communicate(timeout=120)
        self.assertEqual(run.returncode, 0, err)
        self.assertIn("killed by signal 9", err)
        check = subprocess.run([ALLOCLAB, "trace", "check", trace], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        text = subprocess.run([ALLOCLAB, "trace", "cat", trace], check=True, capture_output=True, text=True).stdout
        returned = [struct.unpack_from("Q", counts.read_bytes(), LINE * n)[0] for n in range(threads)]
        return text.splitlines(), returned

    def test_whatever_had_returned_is_there(self):
        seed = int(os.environ.get("SEED", random.randrange(2**32)))
        print(f"seed {seed}")
        rng = random.Random(seed)
        for run in range(100 if FULL else 8):
            threads, delay = run % MOST_THREADS + 1, rng.random() ** 3 * 0.06
            lines, returned = self.kill_one(threads, delay)
            meta = dict(line[5:].split("=", 1) for line in lines if line.startswith("meta "))
            for key in ("lost_ops", "inversions", "unknown_frees", "unknown_reallocs"):
                self.assertEqual(meta[key], "0", (key, threads, delay))
            names = {int(key.split(".")[1]): int(value) for key, value in meta.items() if key.endswith(".name")}
            thread, calls = 0, collections.Counter()
            for line in lines[1:]:
                words = line.split()
                if words[0] == "thread":
                    thread = int(words[1])
                elif words[0] in CALLS:
                    calls[names.get(thread)] += 1
            for n, count in enumerate(returned):
                self.assertIn(calls[n] - count, (0, 1), (n, threads, delay))


if __name__ == "__main__":
    unittest.main()
