"""test_lint.py - every rule of scripts/lint.py, shown to fail once: a small clean tree, and one violation at a time.

run.py: modes=release
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

LINT = os.path.abspath("scripts/lint.py")
TOOLS = {"shell": "shellcheck", "python": "pyflakes3", "cppcheck": "cppcheck", "tidy": "clang-tidy"}
DESIGN = """/* toy.c - a design. */
#include "allocators/lib/os.h"

static const int table[] = {1, 2};

int toy_alloc(int n);

int toy_alloc(int n)
{
    return table[n & 1] + (os_map(n) != 0);
}
"""
CLEAN = {
    "allocators/lib/os.h": "/* os.h - the door. */\nvoid *os_map(int n);\n",
    "allocators/lib/os.c": '/* os.c - the door. */\n#include "allocators/lib/os.h"\nvoid *mmap(int n);\n\n'
                           "void *os_map(int n)\n{\n    return mmap(n);\n}\n",
    "allocators/toy.c": DESIGN,
    "harness/main.c": '/* main.c - the harness sees all. */\n#include "allocators/lib/os.h"\n',
    "scripts/a.sh": "#!/bin/sh\n# a.sh - nothing.\ntrue\n",
    "scripts/a.py": '"""a.py - nothing."""\n',
}


def function(lines):
    body = "".join("    n++;\n" for _ in range(lines - 3))
    return "int f(int n);\n\nint f(int n)\n{\n" + body + "    return n;\n}\n"


class Lint(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="alloclab-lint-"))
        self.addCleanup(shutil.rmtree, self.root)
        for path, text in CLEAN.items():
            self.write(path, text)

    def write(self, path, text):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def lint(self, *rules):
        for source in self.root.glob("allocators/**/*.c") if "objects" in rules else []:
            made = self.root / "build" / source.relative_to(self.root).with_suffix(".o")
            made.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["gcc", "-w", "-I.", "-O2", "-c", "-o", made, source], cwd=self.root, check=True)
        command = [sys.executable, LINT, "--build", "build"] + (["--only", ",".join(rules)] if rules else [])
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)
        self.assertEqual(done.stderr, "")
        return done.returncode, done.stdout.splitlines()

    def expect(self, rule, path, line, pattern):
        """The rule says just this one thing, names the place, and says what to do."""
        tool = TOOLS.get(rule)
        if tool and not shutil.which(tool):
            self.skipTest(f"{tool} is not installed (scripts/install.sh lint)")
        status, lines = self.lint(rule)
        self.assertEqual((status, len(lines), lines[-1]), (1, 2, "lint: 1 finding"), "\n".join(lines))
        self.assertRegex(lines[0], rf"^{re.escape(path)}:{line}: \[\w+\] .*{pattern}.*; \w+")

    def test_clean(self):
        missing = [rule for rule, tool in TOOLS.items() if not shutil.which(tool)]
        names = "includes,door,objects,sizes,header,leftovers,paths,targets,shell,python,cppcheck,tidy".split(",")
        self.assertEqual(self.lint(*[name for name in names if name not in missing]), (0, ["lint: clean"]))

    def test_unknown_rule(self):
        done = subprocess.run([sys.executable, LINT, "--only", "nothing"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("no rule 'nothing'; there are: includes, door", done.stderr)

    def test_include_upwards(self):
        self.write("harness/a.h", "/* a.h - a. */\n")
        for path in ("allocators/lib/b.h", "allocators/b.h", "api/b.h", "traces/b.h", "workloads/lib/b.h"):
            with self.subTest(path=path):
                self.write(path, '/* b.h - b. */\n#include "harness/a.h"\n')
                self.expect("includes", path, 2, "must not include harness/a.h")
                os.unlink(self.root / path)

    def test_include_of_a_neighbour(self):
        self.write("allocators/b.h", "/* b.h - b. */\n")
        self.write("allocators/c.h", '/* c.h - c. */\n#include "allocators/b.h"\n')
        self.expect("includes", "allocators/c.h", 2, "must not include allocators/b.h")

    def test_include_of_tests(self):
        self.write("tests/t.h", "/* t.h - t. */\n")
        self.write("harness/b.c", '/* b.c - b. */\n\n#include "tests/t.h"\n')
        self.expect("includes", "harness/b.c", 3, "must not include tests/t.h")

    def test_include_not_from_the_top(self):
        self.write("allocators/lib/b.h", '/* b.h - b. */\n#include "os.h"\n')
        self.expect("includes", "allocators/lib/b.h", 2, '"os.h" is not a path from the top')

    def test_memory_call(self):
        self.write("allocators/lib/b.c", "/* b.c - b: mmap(1) */\nint b(void)\n{\n    return madvise(0);\n}\n")
        status, lines = self.lint("door", "objects")
        self.assertEqual((status, lines[-1]), (1, "lint: 2 findings"))
        self.assertRegex(lines[0], r"^allocators/lib/b.c:1: \[door\] its object refers to madvise; take memory")
        self.assertRegex(lines[1], r"^allocators/lib/b.c:4: \[door\] calls madvise; take memory")

    def test_writable_data(self):
        for text, section in (("int zero;", ".bss"), ("int one = 1;", ".data"), ("__thread int t;", ".tbss")):
            with self.subTest(section=section):
                self.write("allocators/toy.c", DESIGN + text + "\n")
                self.expect("objects", "allocators/toy.c", 1, rf"writable bytes in \{section}")

    def test_relocated_constants_are_not_data(self):
        self.write("allocators/toy.c", DESIGN + 'const char *const names[] = {"a", "b"};\n')
        self.assertEqual(self.lint("objects"), (0, ["lint: clean"]))

    def test_foreign_symbol(self):
        self.write("allocators/toy.c", DESIGN + "void *malloc(unsigned long n);\n"
                                                "void *f(int n) { return malloc(n); }\n")
        self.expect("objects", "allocators/toy.c", 1, "refers to malloc")
        text = (self.root / "allocators/toy.c").read_text() + "/* ALLOCATOR_FOREIGN */\n"
        self.write("allocators/toy.c", text)
        self.assertEqual(self.lint("objects"), (0, ["lint: clean"]))

    def test_long_files(self):
        self.write("allocators/toy.c", DESIGN + "\n" * (701 - DESIGN.count("\n")))
        self.expect("sizes", "allocators/toy.c", 701, "701 lines, at most 700")
        self.write("allocators/toy.c", DESIGN + "\n" * (700 - DESIGN.count("\n")))
        self.write("harness/b.c", "/* b.c */\n" + "\n" * 900)
        self.expect("sizes", "harness/b.c", 901, "901 lines, at most 900")

    def test_long_functions(self):
        self.write("harness/b.c", function(60))
        self.assertEqual(self.lint("sizes"), (0, ["lint: clean"]))
        self.write("harness/b.c", function(61))
        self.expect("sizes", "harness/b.c", 4, "f has 61 lines, at most 60")

    def test_long_python_function(self):
        self.write("scripts/a.py", "def f():\n" + "    f()\n" * 60)
        self.expect("sizes", "scripts/a.py", 1, "f has 61 lines")

    def test_header(self):
        for path, text in (("harness/b.c", "/* c.c - not b. */\n"), ("scripts/b.py", "import os\n# b.py\n"),
                           ("scripts/b.sh", "#!/bin/sh\ntrue\n")):
            with self.subTest(path=path):
                self.write(path, text)
                self.expect("header", path, 1, "does not begin with a comment that names the file")
                os.unlink(self.root / path)

    def test_leftovers(self):
        mark = "TO" + "DO"
        cases = (("harness/b.c", f"/* b.c - b. */\n/* {mark}: more */\n", f"'{mark}'"),
                 ("harness/b.c", "/* b.c - b. */\n// f(x);\n", "commented-out code"),
                 ("harness/b.c", "/* b.c - b. */\n#if 0\n#endif\n", "commented-out code"),
                 ("harness/b.c", "/* b.c - b. */\n/* x->y = f(3); */\n", "commented-out code"),
                 ("scripts/b.py", "# b.py - b.\n# print(x)\n", "commented-out code"),
                 ("scripts/b.py", "# b.py - b.\n# if x > 3:\n", "commented-out code"))
        for path, text, pattern in cases:
            with self.subTest(text=text):
                self.write(path, text)
                self.expect("leftovers", path, 2, pattern)
                os.unlink(self.root / path)

    def test_machine_paths(self):
        self.write("docs/a.md", "one\n\nsee /home" + "/someone/x\n")
        self.expect("paths", "docs/a.md", 3, "a path of one machine")
        (self.root / "docs/a.md").unlink()
        (self.root / "traces").mkdir()
        (self.root / "traces/a.bin").write_bytes(b"\0\xff/ro" + b"ot/x\0")
        self.expect("paths", "traces/a.bin", 1, "a path of one machine")

    def test_targets(self):
        self.write("Makefile", "# Makefile - builds.\nNAME := x\n\nall bench-a: deps ## help\n")
        self.write("scripts/b.mk", "# b.mk - more.\nfmt:\n")
        good = "# a\n\n`make all`, `make bench-a BLOCKS=1` (`make`); we make sure.\n\n    make fmt   # all\n    make MODE=asan all\n"
        self.write("docs/a.md", good)
        self.assertEqual(self.lint("targets"), (0, ["lint: clean"]))
        for text in ("see `make bench-b`\n", "    make bench-b BLOCKS=1\n", "`make MODE=asan bench-b`\n"):
            with self.subTest(text=text):
                self.write("docs/a.md", good + text)
                self.expect("targets", "docs/a.md", 7, "no Makefile has the target bench-b")

    def test_shell(self):
        self.write("scripts/b.sh", "#!/bin/sh\n# b.sh - b.\necho $1\n")
        self.expect("shell", "scripts/b.sh", 3, "SC2086")

    def test_python(self):
        self.write("scripts/b.py", '"""b.py - b."""\nimport os\n')
        self.expect("python", "scripts/b.py", 2, "'os' imported but unused")

    def test_cppcheck(self):
        self.write("harness/b.c", "/* b.c - b. */\nint b(void)\n{\n    int a[2] = {0};\n    return a[2];\n}\n")
        self.expect("cppcheck", "harness/b.c", 5, "out of bounds")

    @unittest.skipUnless(shutil.which("clang-tidy"), "clang-tidy is not installed (scripts/install.sh lint)")
    def test_tidy(self):
        self.write("harness/b.c", "/* b.c - b. */\nint b(int x)\n{\n    if (x)\n        return 1;\n"
                                  "    else if (x)\n        return 1;\n    return x == x;\n}\n")
        status, lines = self.lint("tidy")
        self.assertEqual(status, 1)
        self.assertRegex(lines[0], r"^harness/b.c:\d+: \[tidy\] .*; \w+")


if __name__ == "__main__":
    unittest.main()
