"""test_pool.py - the pool library as a program's author has it: `make install` into a folder, everything compiled with
what pkg-config says and nothing else; the examples; the C++ adapters, also under sanitizers.

run.py: modes=release,asan timeout=300
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

BUILD, MODE = os.environ["BUILD"], os.environ["MODE"]
PROGRAMS = pathlib.Path("tests/pool/programs")
EXAMPLES = pathlib.Path("api/examples")
STRICT = ["-Wall", "-Wextra", "-Wshadow", "-pedantic", "-Werror"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
ALL_LIBS = "-lzstd -lxxhash -lz -lm -pthread".split()
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="alloclab-pool-"))
PREFIX = FOLDER / "prefix"


def run(*command, **variables):
    env = {**os.environ, **variables}
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, env=env, check=False)
    return done.returncode, done.stdout, done.stderr


def setUpModule():
    if MODE == "release":
        status, _, err = run("make", f"BUILD={BUILD}", f"PREFIX={PREFIX}", "install")
        assert status == 0, err


def tearDownModule():
    shutil.rmtree(FOLDER)


def pkg_config(what):
    status, out, err = run("pkg-config", what, "alloclab", PKG_CONFIG_PATH=str(PREFIX / "lib/pkgconfig"))
    assert status == 0, err
    return out.split()


class PoolTest(unittest.TestCase):
    def build(self, source, *options):
        """The program of one source file; C++ by its name, or by the standard that is asked for."""
        cpp = source.suffix == ".cpp" or any("c++" in option for option in options)
        language = ["g++", "-x", "c++"] if cpp else ["gcc", "-x", "c"]
        standard = [] if any("-std" in option for option in options) else ["-std=c++17" if cpp else "-std=c11"]
        program = FOLDER / (source.stem + "".join(options))
        if MODE == "release":
            cflags, libs = pkg_config("--cflags"), pkg_config("--libs")
        else:
            cflags, libs = ["-Iapi", *SANITIZE], [f"{BUILD}/liballoclab-all.a", *ALL_LIBS]
        options = (*standard, *STRICT, *options)
        status, _, err = run(*language, *options, "-o", program, *cflags, source, "-x", "none", *libs)
        self.assertEqual((status, err), (0, ""))
        return program

    def passes(self, source, *options):
        status, out, err = run(self.build(source, *options))
        self.assertEqual((status, err), (0, ""), out)
        return out


class Programs(PoolTest):
    def test_containers(self):
        for standard in ("-std=c++11", "-std=c++17") if MODE == "release" else ("-std=c++17",):
            with self.subTest(standard=standard):
                self.passes(PROGRAMS / "containers.cpp", standard)

    def test_header_in_any_standard(self):
        for standard in ("-std=c11", "-std=c++11"):
            with self.subTest(standard=standard):
                self.passes(PROGRAMS / "header.c", standard)

    def test_misuse_ends_the_program(self):
        program = self.build(PROGRAMS / "misuse.c")
        status, _, err = run(program, "segfit", "double")
        self.assertEqual(status, -6)
        self.assertRegex(err, r"^alloclab: segfit: [a-z ]+ at 0x[0-9a-f]+\n$")
        for path in pathlib.Path("allocators").glob("*.c"):
            if "ALLOCATOR_NEEDS_SIZE" not in path.read_text():
                continue
            name = path.stem
            with self.subTest(name=name):
                status, _, err = run(program, name)
                self.assertEqual(status, -6)
                self.assertRegex(err, rf"^alloclab: {name}: free without the size that the design needs at 0x\w+\n$")


class Examples(PoolTest):
    def test_all_are_here(self):
        tested = {name.removeprefix("test_") for name in dir(self) if name.startswith("test_")} - {"all_are_here"}
        self.assertEqual({path.stem for path in EXAMPLES.iterdir()}, tested)

    def test_game_loop(self):
        out = self.passes(EXAMPLES / "game_loop.c")
        self.assertRegex(out, r"(?m)^committed after each of 400 frames: (\d+) to \1 KiB$")
        self.assertRegex(out, r"(?m)^a frame of 3000 draw calls: \d+ us from a scope, \d+ us from malloc and free$")

    def test_server_request(self):
        out = self.passes(EXAMPLES / "server_request.c")
        self.assertRegex(out, r"(?m)^regions of 64 open requests: \d+ KiB after 2000 requests, \d+ KiB after 20000$")
        self.assertRegex(out, r"(?m)^300 sessions: \d+ KiB$")

    def test_compiler_pass(self):
        out = self.passes(EXAMPLES / "compiler_pass.c")
        self.assertRegex(out, r"(?m)^committed: (\d+) KiB after the first, \1 KiB after the last$")

    def test_object_cache(self):
        out = self.passes(EXAMPLES / "object_cache.c")
        made = re.search(r"(?m)^200000 uses of 50 connections at once: (\d+) constructed$", out)
        self.assertLess(int(made.group(1)), 200)
        self.assertRegex(out, r"(?m)^a use: \d+ ns from the cache, \d+ ns set up anew$")

    def test_pmr(self):
        out = self.passes(EXAMPLES / "pmr.cpp")
        self.assertRegex(out, r"^\d+ distinct words; committed: (\d+) KiB after 5 texts, \1 KiB after 100$")


class Install(PoolTest):
    def installed(self, root):
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())

    def test_what_is_installed(self):
        found = self.installed(PREFIX)
        for path in ("include/alloclab.h", "include/alloclab.hpp", "include/alloclab_mark.h", "lib/liballoclab.a",
                     "lib/pkgconfig/alloclab.pc", "bin/alloclab", "lib/alloclab/liballoclab-record.so"):
            self.assertIn(path, found)

    def test_installed_command_records(self):
        trace = FOLDER / "true.trace"
        status, _, err = run(PREFIX / "bin/alloclab", "record", "-o", trace, "--", shutil.which("sort"), "Makefile")
        self.assertEqual((status, err[:200]), (0, err[:200]))
        self.assertTrue(trace.exists(), err)

    def test_names_inside_do_not_clash(self):
        self.assertEqual(self.passes(PROGRAMS / "clash.c"), "segfit 45\n")

    def test_only_the_public_names_are_global(self):
        _, out, _ = run("nm", "--extern-only", "--defined-only", "-P", PREFIX / "lib/liballoclab.a")
        names = {line.split()[0] for line in out.splitlines()[1:] if line}
        declared = set(re.findall(r"\b(alloclab_\w+)(?<!_fn)\(", pathlib.Path("api/alloclab.h").read_text()))
        self.assertEqual(names, declared)

    def test_staged_and_removed(self):
        stage = FOLDER / "a stage"
        where = (f"BUILD={BUILD}", f"DESTDIR={stage}", "PREFIX=/opt/lab")
        self.assertEqual(run("make", *where, "install")[0], 0)
        self.assertIn("prefix=/opt/lab\n", (stage / "opt/lab/lib/pkgconfig/alloclab.pc").read_text())
        other = stage / "opt/lab/lib/alloclab/mine.txt"
        other.write_text("not alloclab's")
        status, _, err = run("make", *where, "uninstall")
        self.assertEqual((status, self.installed(stage)), (0, ["opt/lab/lib/alloclab/mine.txt"]), err)
        other.unlink()
        self.assertEqual(run("make", *where, "uninstall")[0], 0)
        self.assertEqual(self.installed(stage), [])


if MODE != "release":
    del Install  # what is installed is the release build


if __name__ == "__main__":
    unittest.main()
