"""test_new.py - `make new NAME=x` in a copy of the tree: what it writes compiles, registers, passes and is formatted.

run.py: modes=release
"""

import os
import shutil
import subprocess
import tempfile
import unittest


def copy_tree(target):
    """The tree without what it holds besides sources, and with this build's objects, so that little is compiled."""
    ignore = shutil.ignore_patterns("build", "out", ".git", "__pycache__", "alloclab", "samples", "docs", "plots")
    shutil.copytree(".", target, ignore=ignore, symlinks=True)
    inside = shutil.ignore_patterns("asan", "tsan", "test-logs", "cppcheck")
    shutil.copytree(os.environ["BUILD"], os.path.join(target, "build/release"), ignore=inside)


class New(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="alloclab-new-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.root = os.path.join(cls.folder, "tree")
        copy_tree(cls.root)

    def make(self, *words):
        return subprocess.run(["make", "-j2", *words], cwd=self.root, capture_output=True, text=True, check=False)

    def test_new_design_works(self):
        self.assertEqual(self.make("new", "NAME=toy").returncode, 0)
        done = self.make("all", "build/release/tests/conformance", "MODE=release")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        listed = subprocess.run(["./alloclab", "list", "allocators"], cwd=self.root, capture_output=True, text=True,
                                check=False)
        self.assertRegex(listed.stdout, r"(?m)^\s*toy\b")
        done = subprocess.run(["build/release/tests/conformance"], cwd=self.root, capture_output=True, text=True,
                              check=False)
        results = [line for line in done.stdout.splitlines() if " toy: " in line]
        self.assertGreater(sum(line.startswith("ok ") for line in results), 10, done.stdout)
        self.assertEqual([line for line in results if line.startswith("not ok") and "# SKIP" not in line], [])
        done = subprocess.run(["scripts/lint.py", "--only", "includes,door,objects,sizes,header,leftovers"],
                              cwd=self.root, capture_output=True, text=True, check=False)
        self.assertNotIn("toy", done.stdout)

    def test_names_that_are_refused(self):
        taken = sorted(name for name in os.listdir("allocators") if name.endswith(".c"))[0]
        cases = (("", "no name"), ("Toy", "is no name"), ("9a", "is no name"), ("../x", "is no name"),
                 ("a b", "is no name"), ("a" * 25, "longer than"), (taken[:-2], "is taken by allocators/" + taken))
        for name, message in cases:
            with self.subTest(name=name):
                before = sorted(os.listdir(os.path.join(self.root, "allocators")))
                done = subprocess.run(["scripts/new.sh", name], cwd=self.root, capture_output=True, text=True,
                                      check=False)
                self.assertEqual(done.returncode, 2)
                self.assertIn(message, done.stderr)
                self.assertEqual(before, sorted(os.listdir(os.path.join(self.root, "allocators"))))


if __name__ == "__main__":
    unittest.main()
