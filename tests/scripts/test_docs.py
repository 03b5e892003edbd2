"""test_docs.py - the generated documents: a page that differs from the source, that is missing, or that is about nothing
is found by --check, and mended by a run without it."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


class Docs(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.env = dict(os.environ, ALLOCLAB=os.path.abspath(os.environ["ALLOCLAB"]))
        os.mkdir(os.path.join(self.folder.name, "docs"))
        self.run_docs(expect=0)
        for design in self.designs():
            with open(self.path(f"docs/handbook/{design}.png"), "w", encoding="ascii"):
                pass

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def designs(self):
        text = subprocess.run([self.env["ALLOCLAB"], "list", "allocators"], check=True, stdout=subprocess.PIPE, text=True)
        return [line.split()[0] for line in text.stdout.splitlines()]

    def run_docs(self, *arguments, expect):
        done = subprocess.run([sys.executable, os.path.join(TOP, "scripts/docs.py"), *arguments], cwd=self.folder.name,
                              env=self.env, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, expect, done.stderr)
        return done.stderr

    def test_what_was_written_passes(self):
        self.run_docs("--check", expect=0)

    def test_every_design_has_a_page_with_its_manual_and_options(self):
        for design in self.designs():
            with open(self.path(f"docs/handbook/{design}.md"), encoding="utf-8") as page:
                text = page.read()
            self.assertIn(f"# {design}\n", text)
            self.assertIn(f"{design}.c - ", text)
        with open(self.path("docs/handbook/segfit.md"), encoding="utf-8") as page:
            self.assertRegex(page.read(), "age_ms +count +1000")

    def test_a_changed_page_is_found_and_mended(self):
        with open(self.path("docs/handbook/arena.md"), "a", encoding="utf-8") as page:
            page.write("more\n")
        self.assertEqual(self.run_docs("--check", expect=1),
                         "docs: docs/handbook/arena.md differs from the source: run make docs\n")
        self.run_docs(expect=0)
        self.run_docs("--check", expect=0)

    def test_a_missing_page_and_a_missing_picture_are_found(self):
        os.remove(self.path("docs/metrics.md"))
        os.remove(self.path("docs/handbook/arena.png"))
        said = self.run_docs("--check", expect=1)
        self.assertIn("docs/metrics.md does not exist", said)
        self.assertIn("docs/handbook/arena.png is missing: run make handbook", said)

    def test_a_page_about_nothing_is_found_and_removed(self):
        shutil.copy(self.path("docs/handbook/arena.md"), self.path("docs/handbook/gone.md"))
        self.assertIn("docs/handbook/gone.md is about no allocator", self.run_docs("--check", expect=1))
        self.run_docs(expect=0)
        self.assertFalse(os.path.exists(self.path("docs/handbook/gone.md")))

    def test_usage(self):
        self.assertEqual(self.run_docs("--all", expect=2), "docs.py: use no argument, --check or --pictures\n")


if __name__ == "__main__":
    unittest.main()
