"""dropin.py - what the suites of the drop-in libraries share: which designs have one, and how a command runs on it."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ALLOCLAB = os.path.abspath(os.environ["ALLOCLAB"])
BUILD = pathlib.Path(ALLOCLAB).parent
TOP = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = TOP / "tests/dropin/programs"
FULL = os.environ.get("TEST_FULL") == "1"
DESIGNS = subprocess.run([ALLOCLAB, "exec", "--list"], check=True, capture_output=True, text=True).stdout.split()

C_FLAGS = ["-O1", "-g", "-w", "-fno-builtin", "-pthread", f"-I{TOP}"]
CXX_FLAGS = [*C_FLAGS, "-std=c++17"]
LIBRARY_FLAGS = ["-shared", "-fPIC"]


def library(design):
    return BUILD / f"liballoclab-{design}.so"


def on(design, *options):
    """The words that make a command run on the design; None: on the C library's malloc."""
    return [ALLOCLAB, "exec", "-a", design, *options, "--"] if design else []


def compile_all(folder, jobs):
    """Compiles every (output, source, flags), two at a time."""
    running = []
    for output, source, flags in jobs:
        compiler = "g++" if source.endswith(".cpp") else "gcc"
        running.append(subprocess.Popen([compiler, *flags, PROGRAMS / source, "-o", folder / output]))
        if len(running) == 2 and running.pop(0).wait():
            raise RuntimeError("a test program does not compile")
    if any([job.wait() for job in running]):
        raise RuntimeError("a test program does not compile")


class DropinTest(unittest.TestCase):
    def folder(self):
        made = pathlib.Path(tempfile.mkdtemp(prefix="alloclab-dropin-"))
        self.addCleanup(shutil.rmtree, made)
        return made

    def execute(self, command, status=0, timeout=100, env=None, **more):
        """Runs a command to its end; its standard output. What it says on stderr is for messages alone."""
        run = subprocess.run(list(map(str, command)), capture_output=True, timeout=timeout,
                             env={**os.environ, **(env or {})}, check=False, **more)
        self.assertEqual(run.returncode, status, run.stderr.decode(errors="replace"))
        self.err = run.stderr.decode(errors="replace")
        return run.stdout
