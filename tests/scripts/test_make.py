"""test_make.py - the Makefile in a copy of the tree: what a change rebuilds, what a sanitized build leaves alone, what
help lists, and `make new NAME=x`, whose result compiles, registers, passes and is linted clean.

run.py: modes=release timeout=300
"""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

BUILD = os.environ["BUILD"]


def copy_tree(target):
    """The tree without what it holds besides sources, and with this build's objects, so that little is compiled."""
    ignore = shutil.ignore_patterns("build", "out", ".git", "__pycache__", "alloclab", "samples", "docs", "plots")
    shutil.copytree(".", target, ignore=ignore, symlinks=True)
    inside = shutil.ignore_patterns("asan", "tsan", "test-logs", "cppcheck")
    shutil.copytree(BUILD, os.path.join(target, BUILD), ignore=inside)


class Make(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="alloclab-make-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.root = os.path.join(cls.folder, "tree")
        copy_tree(cls.root)
        done = cls.make("all")
        assert done.returncode == 0, done.stdout + done.stderr

    @classmethod
    def run_there(cls, *command):
        return subprocess.run(command, cwd=cls.root, capture_output=True, text=True, check=False)

    @classmethod
    def make(cls, *words):
        return cls.run_there("make", "-j2", "MODE=release", f"BUILD={BUILD}", *words)

    def rebuilt(self, *words):
        done = self.make("all", *words)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return re.findall(r"^  (?:CC|LINK) +(\S+)", done.stdout, re.MULTILINE)

    def test_nothing_to_do_after_a_build(self):
        self.assertEqual(self.rebuilt(), [])

    def test_a_header_rebuilds_what_includes_it(self):
        os.utime(os.path.join(self.root, "traces/address_map.h"))
        built = self.rebuilt()
        for path in ("traces/address_map.c", "traces/formats/rep.c", f"{BUILD}/alloclab"):
            self.assertIn(path, built)
        self.assertNotIn("allocators/bump.c", built)

    def test_other_flags_rebuild(self):
        flags = f"{BUILD}/flags"
        for option, expect in (("-W", self.assertIn), ("-o", self.assertNotIn)):
            expect("CC    allocators/bump.c", self.make("-n", option, flags, f"{BUILD}/allocators/bump.o").stdout)

    def test_only_the_release_build_is_linked_to(self):
        self.assertIn("ln -sfn build/release/alloclab alloclab", self.run_there("make", "-n", "MODE=release").stdout)
        self.assertNotIn("ln -sfn", self.run_there("make", "-n", "MODE=asan", "alloclab").stdout)
        self.assertNotIn("ln -sfn", self.run_there("make", "-n", "BUILD=build/other", "alloclab").stdout)

    def test_unknown_mode(self):
        done = self.run_there("make", "MODE=fast")
        self.assertEqual(done.returncode, 2)
        self.assertIn("MODE=fast: use release, asan or tsan", done.stderr)

    def test_help_lists_the_targets(self):
        listed = self.make("help").stdout
        for target in ("all", "demo", "test", "test-full", "lint", "fmt", "fmt-check", "new", "deps", "help"):
            self.assertRegex(listed, rf"(?m)^  {target} +\S")

    def test_new_design_works(self):
        self.assertEqual(self.make("new", "NAME=toy").returncode, 0)
        done = self.make("all", f"{BUILD}/tests/conformance")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(self.run_there(f"{BUILD}/alloclab", "list", "allocators").stdout, r"(?m)^\s*toy\b")
        done = self.run_there(f"{BUILD}/tests/conformance")
        results = [line for line in done.stdout.splitlines() if " toy: " in line]
        self.assertGreater(sum(line.startswith("ok ") for line in results), 10, done.stdout)
        self.assertEqual([line for line in results if line.startswith("not ok") and "# SKIP" not in line], [])
        done = self.run_there("scripts/lint.py", "--build", BUILD, "--only", "includes,door,objects,sizes,header,leftovers")
        self.assertNotIn("toy", done.stdout)

    def test_names_that_are_refused(self):
        taken = sorted(name for name in os.listdir("allocators") if name.endswith(".c"))[0]
        cases = (("", "no name"), ("Toy", "is no name"), ("9a", "is no name"), ("../x", "is no name"),
                 ("a b", "is no name"), ("a" * 25, "longer than"), (taken[:-2], "is taken by allocators/" + taken))
        for name, message in cases:
            with self.subTest(name=name):
                before = sorted(os.listdir(os.path.join(self.root, "allocators")))
                done = self.run_there("scripts/new.sh", name)
                self.assertEqual(done.returncode, 2)
                self.assertIn(message, done.stderr)
                self.assertEqual(before, sorted(os.listdir(os.path.join(self.root, "allocators"))))


if __name__ == "__main__":
    unittest.main()
