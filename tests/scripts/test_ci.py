"""test_ci.py - .ci/run with a make that is played: what its last line and its exit status say.

run.py: modes=release
"""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

MAKE = """#!/bin/sh
case $1 in
test) printf "$SUITES"; exit ${TEST:-0} ;;
lint) echo "lint: clean"; exit ${LINT:-0} ;;
fmt-check) exit ${FMT:-0} ;;
esac
"""


class Ci(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="alloclab-ci-"))
        self.addCleanup(shutil.rmtree, self.root)
        for name in (".ci", "scripts", "bin"):
            (self.root / name).mkdir()
        shutil.copy(".ci/run", self.root / ".ci/run")
        for path, text in (("scripts/install.sh", '#!/bin/sh\necho "$@" >packages\n'), ("bin/make", MAKE)):
            (self.root / path).write_text(text)
            (self.root / path).chmod(0o755)

    def ci(self, suites, **variables):
        env = dict(os.environ, PATH=f"{self.root}/bin:{os.environ['PATH']}", SUITES=suites, **variables)
        done = subprocess.run(["bash", self.root / ".ci/run"], cwd="/", env=env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        self.assertEqual(sum(" passed, " in line for line in lines), 1, "one total, so that none is counted twice")
        return done.returncode, lines[-1]

    def test_all_pass(self):
        self.assertEqual(self.ci("ok a\\n7 passed, 0 failed\\n"), (0, "9 passed, 0 failed"))
        self.assertEqual(self.ci("7 passed, 0 failed, 2 skipped\\n"), (0, "9 passed, 0 failed, 2 skipped"))
        self.assertEqual((self.root / "packages").read_text(), "base test lint\n")

    def test_failed_tests(self):
        self.assertEqual(self.ci("7 passed, 3 failed\\n", TEST="2"), (1, "9 passed, 3 failed"))

    def test_failed_lint_and_format(self):
        self.assertEqual(self.ci("7 passed, 0 failed\\n", LINT="2"), (1, "8 passed, 1 failed"))
        self.assertEqual(self.ci("7 passed, 0 failed\\n", LINT="2", FMT="2"), (1, "7 passed, 2 failed"))

    def test_a_build_that_fails(self):
        self.assertEqual(self.ci("cc: error\\n", TEST="2"), (1, "2 passed, 1 failed"))

    def test_a_status_that_the_total_does_not_explain(self):
        self.assertEqual(self.ci("7 passed, 0 failed\\n", TEST="2"), (1, "9 passed, 1 failed"))

    def test_no_test(self):
        self.assertEqual(self.ci("0 passed, 0 failed\\n"), (1, "2 passed, 1 failed"))


if __name__ == "__main__":
    unittest.main()
