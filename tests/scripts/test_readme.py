"""test_readme.py - the README's tour, as it stands there: each line that calls ./alloclab is run, in the README's order.

Lines with make are left out, since other suites have those targets. What measures is cut short; what is asserted is that a
newcomer who copies the lines gets no error.
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

SHORT = " -r 1 --min-ms 1 --passes throughput"  # of `run`: one short cell a design


def tour():
    text = pathlib.Path("README.md").read_text(encoding="utf-8")
    section = text.split("\n## A tour", 1)[1].split("\n## ", 1)[0]
    lines = re.findall(r"^    (.*\./alloclab .*)$", section, re.MULTILINE)
    return [re.split(r"\s+#\s", line)[0].rstrip() for line in lines]


class Tour(unittest.TestCase):
    def test_each_line_does_what_it_says(self):
        folder = tempfile.mkdtemp(prefix="alloclab-readme-")
        self.addCleanup(shutil.rmtree, folder)
        os.symlink(os.path.abspath(os.environ["ALLOCLAB"]), os.path.join(folder, "alloclab"))
        os.symlink(os.path.abspath("tests"), os.path.join(folder, "tests"))
        lines = tour()
        self.assertGreater(len(lines), 9, lines)
        for line in lines:
            short = SHORT if line.startswith("./alloclab run ") else ""
            done = subprocess.run(
                ["bash", "-c", line + short], cwd=folder, capture_output=True, text=True, timeout=120, check=False
            )
            self.assertEqual(done.returncode, 0, f"{line}\n{done.stdout}{done.stderr}")
            self.assertNotRegex(done.stderr, r"(?m)^alloclab [a-z]+( [a-z]+)?: (?!.* ended with exit status 0$)", line)


if __name__ == "__main__":
    unittest.main()
