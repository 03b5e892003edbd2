"""test_trace_sites.py - `alloclab trace sites`: a program whose calls are known is recorded with its stacks, stripped, and
named by its debug file elsewhere; a rebuilt program must get no names."""

import csv
import io
import os
import shutil
import subprocess
import tempfile
import unittest

ALLOCLAB = os.path.abspath(os.environ["ALLOCLAB"])
SOURCE = """#include <cstdlib>
static inline __attribute__((always_inline)) void *inner(int n)
{
    return std::malloc(n);
}
namespace lab {
__attribute__((noinline)) void *make(int n)
{
    void *p = inner(n);
    asm volatile("" ::"r"(p) : "memory");
    return p;
}
}
int main()
{
    for (int i = 0; i < 30; i++)
        if (i % 3)
            std::free(lab::make(100));
        else
            lab::make(5000);
    return 0;
}
"""


class Sites(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        root = cls.folder.name
        cls.path = staticmethod(lambda *parts: os.path.join(root, *parts))
        with open(cls.path("known.cpp"), "w", encoding="ascii") as file:
            file.write(SOURCE)
        cls.build("known", "-O2")
        os.mkdir(cls.path("debug"))
        subprocess.run(["objcopy", "--only-keep-debug", cls.path("known"), cls.path("debug", "known.debug")], check=True)
        subprocess.run(["strip", cls.path("known")], check=True)
        for sites in ("stack", "caller"):
            subprocess.run([ALLOCLAB, "record", f"--sites={sites}", "-o", cls.path(f"{sites}.trace"), "--", cls.path("known")],
                           check=True, capture_output=True)
        subprocess.run([ALLOCLAB, "record", "-o", cls.path("none.trace"), "--", cls.path("known")], check=True,
                       capture_output=True)
        os.unlink(cls.path("known"))

    @classmethod
    def build(cls, name, *flags):
        subprocess.run(["g++", "-g", *flags, "-Wl,--build-id", "-o", cls.path(name), cls.path("known.cpp")], check=True)

    def sites(self, *arguments, trace="stack.trace", status=0):
        done = subprocess.run([ALLOCLAB, "trace", "sites", *arguments, self.path(trace)], capture_output=True, text=True,
                              check=False, cwd=self.folder.name)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def rows(self, *arguments, **more):
        return [row for row in csv.DictReader(io.StringIO(self.sites("--csv", *arguments, **more).stdout))
                if row["calls"] in ("20", "10", "30")]

    def test_names_come_from_the_debug_file_with_the_same_build_id(self):
        rows = self.rows("--debug", self.path("debug"))
        self.assertEqual([(r["calls"], r["bytes"], r["peak_bytes"], r["left_bytes"]) for r in rows],
                         [("10", "50000", "50000", "50000"), ("20", "2000", "100", "0")])
        for row in rows:
            self.assertEqual(row["function"], "inner")
            self.assertIn("known.cpp:4", row["where"])

    def test_a_stack_is_folded_from_the_root_with_inlined_calls(self):
        lines = self.sites("--folded", "--by", "calls", "--debug", self.path("debug")).stdout.splitlines()
        known = [line for line in lines if line.endswith(("lab::make(int);inner 20", "lab::make(int);inner 10"))]
        self.assertEqual(len(known), 2, lines)
        for line in known:
            self.assertIn(";main;lab::make(int);inner ", line)

    def test_callers_stand_below_each_site(self):
        out = self.sites("--stacks", "--top", "1", "--by", "calls", "--debug", self.path("debug")).stdout
        functions = [line.split("<- ")[1].split(" (")[0] for line in out.splitlines() if "<- " in line]
        self.assertIn("more: --top N", out)
        self.assertEqual(functions[:2], ["lab::make(int)", "main"], out)

    def test_the_caller_alone_is_one_row(self):
        rows = self.rows("--debug", self.path("debug"), trace="caller.trace")
        self.assertEqual([(r["calls"], r["bytes"], r["function"]) for r in rows], [("30", "52000", "inner")])

    def test_stacks_that_end_at_one_place_are_one_row_of_the_table(self):
        out = self.sites("--debug", self.path("debug")).stdout
        self.assertEqual([line.split()[:2] for line in out.splitlines() if "inner" in line], [["30", "52000"]])

    def test_without_the_file_offsets_stand_for_names(self):
        done = self.sites("--csv")
        self.assertIn('"known+0x', done.stdout)
        self.assertIn("known: no such file in the usual folders: no names; --debug FOLDER says where build id ", done.stderr)

    def test_another_build_gets_no_names(self):
        os.mkdir(self.path("rebuilt"))
        self.build(os.path.join("rebuilt", "known"), "-O1")
        self.addCleanup(shutil.rmtree, self.path("rebuilt"))
        done = self.sites("--csv", "--debug", self.path("rebuilt"))
        self.assertIn('"known+0x', done.stdout)
        self.assertNotIn("inner", done.stdout)
        self.assertIn(f"known: another build is at {self.path('rebuilt', 'known')}: no names", done.stderr)

    def test_what_is_wrong_is_said(self):
        self.assertIn("no call sites were recorded: `alloclab record --sites=stack` does",
                      self.sites(trace="none.trace", status=2).stderr)
        self.assertIn("--by", self.sites("--by", "size", status=2).stderr)
        self.assertIn("--top x: a number of rows is expected", self.sites("--top", "x", status=2).stderr)
        self.assertIn("one of --stacks, --folded and --csv", self.sites("--csv", "--folded", status=2).stderr)


if __name__ == "__main__":
    unittest.main()
