"""test_sites.py - call sites and stacks of recordings, held against what is known otherwise: the compiler's own unwinder, the
lines of a source, and the build ids of libraries that come to lie at the same place (tests/record/sites)."""

import collections
import csv
import io
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ALLOCLAB = os.path.abspath(os.environ["ALLOCLAB"])
SOURCES = pathlib.Path(__file__).parent / "sites"
DEPTH = 256  # the most that can be asked for


def run(*command):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, timeout=120).stdout


class Table:
    """A trace's table of sites, and the site of each size that was asked for, from its text form."""

    def __init__(self, trace):
        self.modules, self.builds, self.places, self.frames, self.sites = {}, {}, {}, {}, {}
        self.by_size = collections.defaultdict(list)
        for line in run(ALLOCLAB, "trace", "cat", trace).splitlines():
            words = line.split()
            fields = dict(word.split("=", 1) for word in words if "=" in word)
            if words[0] == "module":
                self.modules[words[1]], self.builds[words[1]] = words[2], fields.get("build")
            elif words[0] == "place":
                self.places[words[1]] = fields.get("module"), int(fields.get("offset", "0"), 16)
            elif words[0] == "frame":
                self.frames[words[1]] = words[2], fields.get("caller")
            elif words[0] == "site":
                self.sites[words[1]] = words[2]
            elif "site" in fields:
                self.by_size[int(words[2])].append(fields["site"])

    def stack(self, site):
        """(module, offset) of each frame, the innermost first."""
        frame, stack = self.sites[site], []
        while frame:
            place, frame = self.frames[frame]
            module, offset = self.places[place]
            stack.append((self.modules.get(module), offset))
        return stack


class SitesTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="alloclab-sites-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def build(self, name, source, *flags):
        compiler = "g++" if source.endswith(".cpp") else "gcc"
        run(compiler, "-g", "-w", *flags, "-Wl,--build-id", "-o", self.folder / name, SOURCES / source, "-pthread")
        return self.folder / name

    def record(self, sites, *command):
        trace = self.folder / "t.trace"
        out = run(ALLOCLAB, "record", f"--sites={sites}", "-o", trace, "--", *command)
        return trace, out

    def same_stack(self, said, stack, where):
        """The unwinder says return addresses, and where a signal interrupted; the first is of its own call."""
        if stack[0][0] == "libstdc++.so.6":  # operator new, which asked malloc
            stack = stack[1:]
        said = [tuple(word.rsplit("+", 1)) for word in said][:DEPTH]
        self.assertEqual(len(stack), len(said), where)
        self.assertEqual(stack[0][0], said[0][0], where)
        for (module, offset), (name, text) in zip(stack[1:], said[1:]):
            self.assertEqual(module, name, where)
            self.assertIn(int(text, 16) - offset, (0, 1), where)

    def check_stacks(self, *flags):
        through = self.build("libthrough.so", "through.c", "-O2", "-fPIC", "-shared")
        program = self.build("stacks", "stacks.cpp", "-fno-builtin", *flags)
        trace, out = self.record(f"stack:{DEPTH}", program, through)
        table, said = Table(trace), collections.defaultdict(list)
        for line in out.splitlines():
            words = line.split()
            said[int(words[0])].append(words[1:])
        self.assertGreater(sum(map(len, said.values())), 1500)
        for size, stacks in said.items():
            sites = table.by_size[size]
            self.assertEqual(len(sites), len(stacks), f"{flags}: allocations of {size} bytes")
            for words, site in zip(stacks, sites):
                self.same_stack(words, table.stack(site), f"{flags}: {size} bytes: {words}\n{table.stack(site)}")

    def test_stacks_are_the_compilers(self):
        for flags in (["-O0"], ["-O2"], ["-O2", "-fno-omit-frame-pointer"], ["-O3", "-fno-plt", "-fcf-protection=none"]):
            with self.subTest(flags=flags):
                self.check_stacks(*flags)

    def test_every_kind_of_call_has_its_line(self):
        tree = self.build("tree", "tree.c", "-O1", "-fno-builtin")
        lines = (SOURCES / "tree.c").read_text(encoding="ascii").splitlines()
        trace, _ = self.record("caller", tree)
        rows = csv.DictReader(io.StringIO(run(ALLOCLAB, "trace", "sites", "--csv", "--debug", self.folder, trace)))
        found = {int(row["where"].rsplit("tree.c:", 1)[1].split(":")[0]): row for row in rows if "tree.c:" in row["where"]}
        wanted = {n: int(re.search(r"(20\d\d)\)", line)[1]) for n, line in enumerate(lines, 1) if re.search(r"20\d\d\)", line)}
        self.assertEqual(len(wanted), 9)
        self.assertEqual({n: (int(r["calls"]), int(r["bytes"])) for n, r in found.items()},
                         {n: (2, 2 * size) for n, size in wanted.items()})
        self.assertEqual({r["function"] for n, r in found.items()}, {"first", "second"})

    def test_libraries_at_one_place_are_told_apart(self):
        one = self.build("libone.so", "module.c", "-O1", "-fPIC", "-shared", '-DWHICH="one"')
        two = self.build("libtwo.so", "module.c", "-O1", "-fPIC", "-shared", '-DWHICH="two"')
        modules = self.build("modules", "modules.c", "-ldl")
        libraries = [one, two, one, two, two, one]
        builds = {path: re.search(r"Build ID: (\w+)", run("readelf", "-n", path))[1] for path in (one, two)}
        self.assertNotEqual(*builds.values())
        trace, out = self.record("stack", modules, *libraries)
        self.assertLess(len(set(out.split())), len(libraries), "no two libraries came to lie at one place")
        table = Table(trace)
        for i, path in enumerate(libraries, 1):
            site, = table.by_size[3000 + i]
            place, _ = table.frames[table.sites[site]]
            module, _ = table.places[place]
            self.assertEqual((table.modules[module], table.builds[module]), (path.name, builds[path]), i)


if __name__ == "__main__":
    unittest.main()
