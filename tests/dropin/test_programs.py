"""test_programs.py - real programs on the drop-in libraries: what they make must be what they make on the C library's
malloc, byte for byte. segfit runs them all; the other designs run a few, and all of them under TEST_FULL.

run.py: modes=release timeout=240
"""

import hashlib
import pathlib
import shutil
import subprocess
import time
import unittest

import tasks
from dropin import DESIGNS, DropinTest, FULL, TOP, on

def hash_of(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


class ProgramsTest(DropinTest):
    def compare(self, task, few=False):
        """Runs task(design) on the C library (None), and then on designs, each in a folder of its own."""
        wanted = self.task_result(task, None)
        self.assertTrue(wanted)
        for design in DESIGNS if FULL or few else ["segfit"]:
            with self.subTest(design=design):
                self.assertEqual(self.task_result(task, design), wanted)

    def task_result(self, task, design):
        self.here = self.folder()
        return task(design)

    def run_on(self, design, *words, **more):
        return self.execute([*on(design), *words], cwd=self.here, **more)

    def run_task(self, design, task, **more):
        environment, words = task
        return self.run_on(design, *words, env=environment, **more)

    def test_python(self):
        self.compare(lambda design: self.run_task(design, tasks.python()), few=True)

    def test_perl(self):
        self.compare(lambda design: self.run_task(design, tasks.perl()))

    def test_sqlite(self):
        def task(design):
            answers = self.run_task(design, tasks.SQLITE, input=tasks.SQL_SCRIPT.encode())
            return answers, self.run_on(design, "sqlite3", "items.db", ".dump")

        self.compare(task, few=True)

    def test_gcc_makes_the_same_object(self):
        def task(design):
            self.run_task(design, tasks.GCC)
            return hash_of(self.here / "made.o")

        self.compare(task)

    def test_gxx_and_what_it_made(self):
        def task(design):
            self.run_task(design, tasks.GXX)
            return self.run_on(design, self.here / "words"), hash_of(self.here / "words")

        self.compare(task)

    def test_git(self):
        def git(design, *words):
            return self.run_on(design, "git", *words, env={**tasks.GIT_ENVIRONMENT, "HOME": str(self.here)})

        def task(design):
            git(design, "init", "-q", "-b", "main")
            for commit in range(2):
                for folder in ("allocators", "harness"):
                    shutil.copytree(TOP / folder, self.here / folder, dirs_exist_ok=True)
                (self.here / "allocators/libc.c").write_text("changed\n" * commit)
                git(design, "add", ".")
                git(design, "commit", "-q", "-m", f"commit {commit}")
            git(design, *tasks.REPACK[1][1:])
            return git(design, "log", "--stat", "-p", "--", "allocators/libc.c"), git(design, "fsck", "--full")

        self.compare(task)

    def test_a_compressor_with_threads(self):
        def task(design):
            data = tasks.pigz_input()
            packed = self.run_task(design, tasks.PIGZ, input=data)
            self.assertEqual(self.run_on(design, "pigz", "-d", "-c", input=packed), data)
            return hashlib.sha256(packed).hexdigest()

        self.compare(task, few=True)


class RedisTest(DropinTest):
    COMMANDS = "\n".join(
        [f"set key:{i} {'v' * (i * 37 % 900)}" for i in range(300)] + [f"rpush list {i * 7919 % 1009}" for i in range(500)]
        + ["append key:7 tail", "strlen key:7", "sort list limit 0 5", "sort list desc limit 0 5", "llen list",
           "eval 'local t = 0 for i = 1, 20000 do t = t + #tostring(i) end return t' 0", "get key:299"]) + "\n"

    def server_start(self, design, folder):
        socket = folder / "redis.sock"
        server = subprocess.Popen([*on(design), *tasks.redis_server(socket, folder)], stdout=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        end = time.monotonic() + 20
        while not socket.exists() and server.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        self.assertTrue(socket.exists(), f"redis-server on {design}: no socket; status {server.poll()}")
        return server, str(socket)

    def task_result(self, design):
        server, socket = self.server_start(design, self.folder())
        self.execute([*on(design), *tasks.redis_benchmark(socket, 4000 if FULL else 1000)])
        self.execute(["redis-cli", "-s", socket, "flushall"])
        answers = self.execute(["redis-cli", "-s", socket], input=self.COMMANDS.encode())
        self.assertIn(b"\nPONG", b"\n" + self.execute(["redis-cli", "-s", socket, "ping"]))
        saved = self.execute(["redis-cli", "-s", socket, "save"])  # walks all that is there
        self.execute(["redis-cli", "-s", socket, "shutdown", "nosave"])
        self.assertEqual(server.wait(20), 0)
        return answers, saved

    def test_redis_and_its_benchmark(self):
        wanted = self.task_result(None)
        self.assertIn(b"\n500\n", wanted[0])  # the list's length: the commands were taken
        for design in DESIGNS if FULL else ["segfit"]:
            with self.subTest(design=design):
                self.assertEqual(self.task_result(design), wanted)


if __name__ == "__main__":
    unittest.main()
