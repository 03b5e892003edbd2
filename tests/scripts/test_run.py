"""test_run.py - the runner itself: what passes, and that nothing else is ever counted as a pass.

run.py: modes=release
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree as ElementTree

RUN = os.path.abspath("tests/run.py")


class Run(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="alloclab-run-"))
        self.addCleanup(shutil.rmtree, self.root)

    def program(self, name, script, mode="b", source=""):
        """A suite tests/unit/NAME.c whose program is a shell script that prints what cmocka would."""
        for path, text in ((f"tests/unit/{name}.c", source), (f"{mode}/tests/unit/{name}", "#!/bin/sh\n" + script)):
            target = self.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            target.chmod(0o755)
        return f"tests/unit/{name}.c"

    def python(self, name, body):
        (self.root / "tests").mkdir(exist_ok=True)
        (self.root / f"tests/{name}.py").write_text("import os, time, unittest\n" + body)
        return f"tests/{name}.py"

    def run_suites(self, *arguments, builds=("release=b",)):
        command = [sys.executable, RUN] + [word for build in builds for word in ("--build", build)]
        env = {name: value for name, value in os.environ.items() if not name.endswith("_OPTIONS")}
        done = subprocess.run(command + list(arguments), cwd=self.root, capture_output=True, text=True, check=False,
                              env=env)
        return done.returncode, done.stdout.splitlines(), done.stderr

    def expect(self, suite, last, *texts):
        status, lines, errors = self.run_suites(suite)
        self.assertEqual(lines[-1:], [last], "\n".join(lines) + errors)
        self.assertEqual(status, 0 if ", 0 failed" in last else 1)
        for text in texts:
            self.assertIn(text, "\n".join(lines))

    def test_tap(self):
        script = 'echo 1..3; echo "ok 1 - a"; echo "text without an endok 2 - b"; echo "not ok 3 # SKIP c"'
        self.expect(self.program("a", script), "2 passed, 0 failed, 1 skipped", "skipped: tests/unit/a.c (release): c")

    def test_two_groups(self):
        script = 'echo 1..1; echo "ok 1 - a"; echo "# ok - g"; echo 1..1; echo "ok 1 - b"; echo "# ok - h"'
        self.expect(self.program("a", script), "2 passed, 0 failed")

    def test_failure_shows_its_words(self):
        script = 'echo 1..2; echo "ok 1 - a"; echo "not ok 2 - b"; echo "# 0x1 != 0x2"; echo heard >&2; exit 1'
        self.expect(self.program("a", script), "1 passed, 1 failed", "failed: b", "0x1 != 0x2", "| heard")

    def test_crash(self):
        self.expect(self.program("a", 'echo 1..1; echo "ok 1 - a"; kill -SEGV $$'), "1 passed, 1 failed",
                    "crashed: SIGSEGV")

    def test_exit_status_without_a_failed_test(self):
        self.expect(self.program("a", 'echo 1..1; echo "ok 1 - a"; exit 3'), "1 passed, 1 failed", "exit status 3")

    def test_tests_left_out(self):
        self.expect(self.program("a", 'echo 1..3; echo "ok 1 - a"'), "1 passed, 1 failed", "3 tests planned, 1 reported")

    def test_failed_group_setup(self):
        self.expect(self.program("a", 'echo 1..2; echo "not ok 0 - g"; echo "# ok - g"; exit 1'), "0 passed, 1 failed")

    def test_results_of_a_forked_copy_count_once(self):
        script = 'echo 1..2; echo "ok 1 - a"; echo "ok 1 - a"; echo "ok 2 - b"'
        self.expect(self.program("a", script), "2 passed, 0 failed")

    def test_no_test(self):
        self.expect(self.program("a", "true"), "0 passed, 1 failed", "ran no test")
        self.expect(self.python("test_a", ""), "0 passed, 1 failed", "ran no test")

    def test_no_program(self):
        suite = self.program("a", "true")
        (self.root / "b/tests/unit/a").unlink()
        self.expect(suite, "0 passed, 1 failed", "does not exist", "build it with make")

    def test_hang(self):
        suite = self.program("a", 'echo 1..2; echo "ok 1 - a"; sleep 60 & sleep 60', source="/* run.py: timeout=0.2 */")
        begin = time.monotonic()
        self.expect(suite, "1 passed, 2 failed", "hung: ended after 0.2 s")
        self.assertLess(time.monotonic() - begin, 30)

    def test_words_at_the_end_of_a_sentence_count(self):
        suite = self.program("a", "echo 1..1; sleep 60", source="/* a.c - this and that. run.py: timeout=0.2 */")
        self.expect(suite, "0 passed, 2 failed", "hung: ended after 0.2 s")

    def test_nothing_of_a_suite_survives_it(self):
        pid_file = self.root / "pid"
        self.expect(self.program("a", f'sleep 60 & echo $! >{pid_file}; echo 1..1; echo "ok 1 - a"'),
                    "1 passed, 0 failed")
        stat = pathlib.Path(f"/proc/{pid_file.read_text().strip()}/stat")
        deadline = time.monotonic() + 10
        while stat.exists() and " Z " not in stat.read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertTrue(not stat.exists() or " Z " in stat.read_text())

    def test_python(self):
        body = ("class T(unittest.TestCase):\n"
                "    def test_a(self): self.assertEqual(os.environ['ALLOCLAB'], 'b/alloclab')\n"
                "    def test_b(self): self.assertEqual(1, 2)\n"
                "    @unittest.skip('why')\n"
                "    def test_c(self): pass\n"
                "    def test_d(self):\n"
                "        for i in (1, 2, 3):\n"
                "            with self.subTest(i=i): self.assertEqual(i, 2)\n")
        self.expect(self.python("test_a", body), "1 passed, 2 failed, 1 skipped", "1 != 2", "(i=3)", "T.test_c: why")

    def test_python_that_cannot_be_imported(self):
        self.expect(self.python("test_a", "import no_such_module\n"), "0 passed, 1 failed", "ModuleNotFoundError")

    def test_python_that_ends_early(self):
        body = "class T(unittest.TestCase):\n    def test_a(self): pass\n    def test_b(self): os._exit(0)\n"
        self.expect(self.python("test_a", body), "1 passed, 1 failed", "ended before all its tests had run")

    def test_modes(self):
        ok = 'echo 1..1; echo "ok 1 - $MODE${TEST_FULL:-}"'
        for mode in ("r", "a", "t"):
            self.program("a", ok, mode)
            self.program("b", ok, mode, "/* b.c\n * run.py: modes=tsan alone */")
        test = self.python("test_a", "class T(unittest.TestCase):\n    def test_a(self): pass\n")
        builds = ("release=r", "asan=a", "tsan=t")
        _, lines, _ = self.run_suites("tests/unit/a.c", "tests/unit/b.c", test, "--jobs", "1", builds=builds)
        ran = [tuple(line.split()[1:3]) for line in lines if line.startswith("ok ")]
        self.assertEqual(ran, [("tests/unit/a.c", "release"), ("tests/unit/a.c", "asan"), (test, "release"),
                               ("tests/unit/b.c", "tsan")])
        _, lines, _ = self.run_suites(test, "--full", builds=builds)
        self.assertEqual(lines[-1], "2 passed, 0 failed")

    def test_junit(self):
        suite = self.program("a", 'echo 1..2; echo "not ok 1 - a"; echo "# \1 <why>"; echo "not ok 2 # SKIP b"; exit 1')
        self.run_suites(suite, "--junit", "out.xml")
        node = ElementTree.parse(self.root / "out.xml").getroot()[0]
        self.assertEqual((node.get("tests"), node.get("failures"), node.get("skipped")), ("2", "1", "1"))
        self.assertEqual(node[0].get("name"), "a")
        self.assertIn("<why>", node[0][0].text)

    def test_bad_usage(self):
        for words, message in ((("tests/none.c",), "no such suite"),
                               ((self.program("a", "", source="/* run.py: speed=9 */"),), "unknown word 'speed'")):
            status, _, errors = self.run_suites(*words)
            self.assertEqual(status, 2)
            self.assertIn(message, errors)
        self.assertEqual(self.run_suites("x", builds=("fast=b",))[0], 2)


if __name__ == "__main__":
    unittest.main()
