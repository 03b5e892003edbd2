"""trace_cli.py - what tests of `alloclab trace` share: a folder for each test, and the command with what it should say."""

import os
import shutil
import subprocess
import tempfile
import unittest

ALLOCLAB = os.path.abspath(os.environ["ALLOCLAB"])
FIXTURES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fixtures")


class TraceTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="alloclab-trace-")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name, text=None):
        path = os.path.join(self.folder, name)
        if text is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return path

    def run_cli(self, *arguments):
        return subprocess.run([ALLOCLAB, "trace", *arguments], capture_output=True, text=True, timeout=120, check=False)

    def ok(self, *arguments):
        done = self.run_cli(*arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)
        return done.stdout

    def refused(self, message, *arguments):
        done = self.run_cli(*arguments)
        self.assertEqual((done.returncode, done.stderr), (2, message + "\n"), arguments)

    def fields(self, output):
        return {line.partition(" ")[0]: line.partition(" ")[2].strip() for line in output.splitlines()}

    def convert(self, form, fixture, **expected):
        source, trace = os.path.join(FIXTURES, fixture), self.path("x.trace")
        report = self.fields(self.ok("convert", "--from", form, source, "-o", trace))
        with open(os.path.splitext(source)[0] + ".expected", encoding="utf-8") as file:
            self.assertEqual(self.ok("cat", trace), file.read())
        self.ok("check", trace)
        for key, value in expected.items():
            self.assertEqual(report.get(key), value, key)
        self.assertEqual(os.listdir(self.folder), ["x.trace"])

    def oracle(self, trace):
        """Replays it on three designs and finds nothing wrong."""
        for design in "libc", "segfit", "tlsf":
            done = subprocess.run([ALLOCLAB, "check", "-a", design, "-w", trace], capture_output=True, text=True,
                                  timeout=120, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def import_refused(self, message, *arguments):
        """The same for an import of a form, which says what to do besides."""
        form = arguments[arguments.index("--from") + 1]
        advice = ("without --strict it is repaired and counted" if "--strict" in arguments else
                  f"`alloclab describe {form}` says what is expected")
        self.refused(f"{message}; {advice}", *arguments)

    def refuse_texts(self, rows, *options):
        """Each text in its form is refused with the message, and leaves nothing."""
        for form, text, message in rows:
            with self.subTest(message):
                source = self.path("in", text)
                self.import_refused(f"alloclab trace convert: {source}: {message}",
                                    "convert", "--from", form, *options, source, "-o", self.path("x.trace"))
                self.assertEqual(os.listdir(self.folder), ["in"])
