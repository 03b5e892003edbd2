"""test_rivals.py - rivals as cells, on libraries that the test builds itself: who serves malloc, what is counted on its heap,
and what a library that is missing, crashes or serves nothing leaves behind.

run.py: modes=release
"""

import csv
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

ALLOCLAB = os.environ.get("ALLOCLAB", "./alloclab")
SMALL = "random:ops=20k,live=2k"

# Counts the calls from the first of 4242 bytes to the last free of one such, and what was made before it; writes all at exit.
COUNTING = r"""
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <unistd.h>
#define MARK 4242
void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void __libc_free(void *);
static unsigned long mallocs, others, frees, before, at_mark[3];
static void *marked;
static int begun;
static void note(void)
{
    at_mark[0] = mallocs, at_mark[1] = others, at_mark[2] = frees;
}
void *malloc(size_t size)
{
    if (size == MARK)
        begun = 1;
    mallocs += begun;
    before += !begun;
    void *p = __libc_malloc(size);
    if (size == MARK)
        marked = p;
    return p;
}
void *calloc(size_t n, size_t size) { others += begun; before += !begun; return __libc_calloc(n, size); }
void *realloc(void *p, size_t size) { others += begun; before += !begun; return __libc_realloc(p, size); }
void free(void *p)
{
    frees += begun;
    if (p && p == marked) {
        note();
        marked = NULL; /* its address may be handed out again, to whoever counts the results */
    }
    __libc_free(p);
}
__attribute__((destructor)) static void report(void)
{
    char line[120];
    const char *path = getenv("COUNTED");
    int fd = begun && path ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666) : -1;
    if (fd >= 0 && write(fd, line, sprintf(line, "%lu %lu %lu %lu\n", before, at_mark[0], at_mark[1], at_mark[2])) > 0)
        close(fd);
}
"""
CRASHING = "#include <stdlib.h>\nvoid *malloc(size_t n) { (void)n; abort(); }\n"
SERVING_NOTHING = "int unrelated(void) { return 1; }\n"
FORWARDING = "#include <stddef.h>\nvoid *__libc_malloc(size_t);\nvoid *malloc(size_t n) { return __libc_malloc(n); }\n"
# Hands out a pool front to back, objects of 16 bytes and more aligned to ALIGN, smaller ones to 8.
POOL = r"""
#include <errno.h>
#include <stddef.h>
#include <string.h>
static char pool[256 << 20];
static size_t used = 8;
static void *take(size_t size, size_t align)
{
    size_t at = (used + 8 + align - 1) & ~(align - 1);
    memcpy(pool + at - 8, &size, 8);
    used = at + ((size + 7) & ~(size_t)7);
    return pool + at;
}
void *malloc(size_t size) { return take(size, size < 16 ? 8 : ALIGN); }
void free(void *p) { (void)p; }
size_t malloc_usable_size(void *p) { size_t size; memcpy(&size, (char *)p - 8, 8); return size; }
void *calloc(size_t n, size_t size) { return malloc(n * size); }
int posix_memalign(void **p, size_t align, size_t size) { *p = take(size, align); return 0; }
void *realloc(void *p, size_t size)
{
    void *moved = malloc(size);
    size_t old = p ? malloc_usable_size(p) : 0;
    return memcpy(moved, p ? p : moved, old < size ? old : size);
}
"""
TELLING = FORWARDING + r"""
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
__attribute__((constructor)) static void tell(void)
{
    const char *options = getenv("ALLOCLAB_OPTIONS"), *path = getenv("TOLD");
    int fd = options && path ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666) : -1;
    if (fd >= 0 && write(fd, options, strlen(options)) > 0)
        close(fd);
}
"""


def run(*args, program=ALLOCLAB, **variables):
    return subprocess.run([program, *args], capture_output=True, text=True, timeout=120, env={**os.environ, **variables})


class Rivals(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = os.path.realpath(folder.name)
        self.out = os.path.join(self.folder, "out")

    def library(self, name, text):
        path, source = (os.path.join(self.folder, name + end) for end in (".so", ".c"))
        with open(source, "w") as file:
            file.write(text)
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-fno-builtin", "-o", path, source], check=True)
        return path

    def rows(self):
        with open(os.path.join(self.out, "results.csv"), newline="") as file:
            return list(csv.DictReader(file))

    def facts(self):
        with open(os.path.join(self.out, "run.json")) as file:
            return {a["name"]: a for a in json.load(file)["allocators"]}

    def test_a_rivals_row_has_its_name(self):
        path = self.library("libjemalloc.so.2", FORWARDING)
        os.rename(path, path[:-len(".so")])
        got = run("run", "-a", "jemalloc,glibc,bump", "-w", SMALL, "-o", self.out, "--passes", "memory",
                  ALLOCLAB_LIBRARY_PATH=self.folder)
        self.assertEqual(got.returncode, 0, got.stderr)
        seen = {r["allocator"]: (r["options"], r["via"], r["rank_group"], r["status"]) for r in self.rows()}
        self.assertEqual(seen["jemalloc"], ("", "malloc", "ranked", "ok"))
        self.assertEqual(seen["glibc"], ("", "malloc", "ranked", "ok"))
        self.assertEqual(seen["bump"][1:], ("vtable", "never_frees", "ok"))
        self.assertEqual(seen["null"][1:], ("vtable", "floor", "ok"))
        facts = self.facts()
        self.assertEqual(facts["jemalloc"]["library"], os.path.join(self.folder, "libjemalloc.so.2"))
        self.assertIsNone(facts["jemalloc"]["version"], "no package holds it")
        self.assertRegex(facts["glibc"]["library"], r"/libc\.so\.6$")
        self.assertRegex(facts["glibc"]["version"], r"^2\.\d+$")
        self.assertNotIn("library", facts["bump"])
        self.assertIn("jemalloc is called through malloc, and so are all designs that are ranked (--via malloc)\n",
                      got.stderr)

    def test_malloc_and_the_contract_are_never_ranked_together(self):
        path = self.library("forwarding", FORWARDING)
        got = run("run", "-a", f"preload:{path},arena", "-w", "frame:frames=20", "-o", self.out, "-r", "1",
                  "--base", "libc")
        self.assertEqual(got.returncode, 2)
        self.assertIn("--base: 'libc' is not among the allocators of -a", got.stderr)
        got = run("run", "-a", f"preload:{path},arena", "-w", "frame:frames=20", "-o", self.out, "-r", "1")
        self.assertEqual(got.returncode, 0, got.stderr)
        rows = self.rows()
        for group in {r["rank_group"] for r in rows}:
            self.assertEqual(len({r["via"] for r in rows if r["rank_group"] == group}), 1, group)
        self.assertEqual({r["rank_group"] for r in rows if r["allocator"] == "arena"}, {"other_via"})
        self.assertIn(" called through the contract, without malloc's cost (not ranked with the others)\n", got.stdout)
        arena = next(line for line in got.stdout.splitlines() if line.startswith("  arena"))
        self.assertEqual(arena.split()[5], "-", "no ratio to what is called in another way")

    def test_vtable_cannot_be_asked_for(self):
        got = run("run", "-a", "glibc,freelist", "-w", SMALL, "-o", self.out, "--via", "vtable")
        self.assertEqual((got.returncode, got.stderr), (
            2, "alloclab run: --via vtable: glibc can be called through malloc only: leave --via out\n"))
        self.assertFalse(os.path.exists(self.out))

    def test_nothing_of_the_harness_was_or_is_on_the_heap_that_is_timed(self):
        text, trace, counted = (os.path.join(self.folder, name) for name in ("t.txt", "t.trace", "counted"))
        with open(text, "w") as file:
            file.write("alloclab trace text 1\nalloc 0 4242\n")
            file.writelines(f"alloc {i} {16 * i}\n" for i in range(1, 100))
            file.writelines(f"free {i}\n" for i in range(99, -1, -1))
        self.assertEqual(run("trace", "convert", text, "-o", trace).returncode, 0)
        path = self.library("counting", COUNTING)
        # Streamed, a pass that waited for its words is not among those that are counted, and few wait in 1 ms.
        for replay, least in (("serial", "500"), ("stream", "1")):
            self.out = os.path.join(self.folder, replay)
            got = run("run", "-a", f"preload:{path}", "-w", trace, "-o", self.out, "-r", "1", "--passes", "throughput", "--replay", replay,
                      "--min-ms", least, COUNTED=counted)
            self.assertEqual(got.returncode, 0, got.stderr)
            row = next(r for r in self.rows() if r["allocator"] == "counting.so")
            passes = 1 + int(row["passes_count"])
            with open(counted) as file:
                before, mallocs, others, frees = map(int, file.read().split())
            self.assertEqual(before, 0, "what is freed again has moved what comes after it")
            if replay == "stream" and float(row["decode_wait_ns"]):
                self.assertGreaterEqual(mallocs, 100 * passes)
                passes = mallocs // 100
            self.assertEqual((mallocs, others, frees), (100 * passes, 0, 100 * passes), replay)

    def test_our_designs_run_as_drop_ins(self):
        """The drop-in library beside the program takes the design's place, with the design's options."""
        told = os.path.join(self.folder, "told")
        program = shutil.copy(ALLOCLAB, os.path.join(self.folder, "alloclab"))
        path = self.library("liballoclab-segfit", TELLING)
        for via, spec in ((["--via", "malloc"], "segfit:cache=2m,bump"), ([], "glibc,segfit:cache=2m,bump")):
            got = run("run", "-a", spec, *via, "-w", SMALL, "-o", self.out, "--passes", "memory", program=program,
                      TOLD=told)
            self.assertEqual(got.returncode, 0, got.stderr)
            rows = {r["allocator"]: r for r in self.rows()}
            self.assertEqual((rows["segfit"]["via"], rows["segfit"]["rank_group"], rows["segfit"]["peak_committed_bytes"]),
                             ("malloc", "ranked", ""))
            self.assertEqual((rows["bump"]["via"], rows["bump"]["rank_group"]), ("vtable", "never_frees"))
            with open(told) as file:
                self.assertEqual(file.read(), rows["segfit"]["options"])
            self.assertTrue(rows["segfit"]["options"].startswith("cache=2m,"))
            self.assertEqual(self.facts()["segfit"]["library"], path)
            os.remove(told)
            shutil.rmtree(self.out)
        os.remove(path)
        got = run("run", "-a", "segfit", "--via", "malloc", "-w", SMALL, "-o", self.out, program=program)
        self.assertEqual((got.returncode, got.stderr), (
            2, f"alloclab run: {path}: cannot read it: No such file or directory; `make` builds it\n"))
        got = run("run", "-a", "segfit", "-w", SMALL, "-o", self.out, "--passes", "memory", program=program)
        self.assertEqual(got.returncode, 0, "the contract needs no library")

    def test_missing_library(self):
        got = run("run", "-a", "segfit,mimalloc", "-w", SMALL, "-o", self.out, ALLOCLAB_LIBRARY_PATH="/nowhere:/neither")
        self.assertEqual((got.returncode, got.stderr), (
            2, "alloclab run: mimalloc: libmimalloc.so.2 is not in /nowhere:/neither: install the Debian package "
               "libmimalloc2.0 (`make rivals` installs all rivals), or give its path as "
               "preload:/path/libmimalloc.so.2\n"))
        self.assertFalse(os.path.exists(self.out))
        got = run("run", "-a", "preload:/no/such.so", "-w", SMALL, "-o", self.out)
        self.assertEqual((got.returncode, got.stderr), (
            2, "alloclab run: preload:/no/such.so: No such file or directory: give the path of a library that defines "
               "malloc\n"))

    def test_bad_names(self):
        spaced = os.path.join(self.folder, "a b.so")
        open(spaced, "w").close()
        for spec, message in (("glibc:arena=1", "glibc takes no options here"), (f"preload:{spaced}", "a space or colon"),
                              ("glibc,glibc", "name each design once"), ("jemallocs", "no allocator 'jemallocs'")):
            got = run("run", "-a", spec, "-w", SMALL, "-o", self.out)
            self.assertEqual(got.returncode, 2, spec)
            self.assertIn(message, got.stderr)

    def test_what_goes_wrong_is_a_row(self):
        crashing, nothing = self.library("crashing", CRASHING), self.library("nothing", SERVING_NOTHING)
        text = os.path.join(self.folder, "text.so")
        with open(text, "w") as file:
            file.write("no library\n")
        got = run("run", "-a", f"preload:{crashing},preload:{nothing},preload:{text},glibc", "-w", SMALL, "-o", self.out,
                  "--passes", "memory")
        self.assertEqual(got.returncode, 1, got.stderr)
        rows = {r["allocator"]: r for r in self.rows()}
        self.assertEqual((rows["crashing.so"]["status"], rows["crashing.so"]["detail"]), ("crash", "Aborted"))
        for name, path in (("nothing.so", nothing), ("text.so", text)):
            self.assertEqual((rows[name]["status"], rows[name]["peak_resident_bytes"]), ("failed", ""))
            self.assertRegex(rows[name]["detail"], rf"^malloc is served by \S*/libc\.so\.6, not by {re.escape(path)}: "
                                                   "it was not loaded, or defines no malloc$")
        self.assertEqual(rows["glibc"]["status"], "ok", "the session went on")

    def test_two_builds_of_one_library(self):
        paths = []
        for name in ("one", "two"):
            os.mkdir(os.path.join(self.folder, name))
            paths.append(self.library(f"{name}/libsame", FORWARDING))
        got = run("run", "-a", ",".join("preload:" + p for p in paths), "-w", SMALL, "-o", self.out, "--passes", "memory")
        self.assertEqual(got.returncode, 0, got.stderr)
        self.assertEqual([r["options"] for r in sorted(self.rows(), key=lambda r: r["options"])
                          if r["allocator"] == "libsame.so"], paths)

    def test_the_list_and_its_packages(self):
        lines = run("list", "rivals", ALLOCLAB_LIBRARY_PATH="/nowhere").stdout.splitlines()
        packages = [line.split("not installed: package ")[1] for line in lines]
        with open("scripts/install.sh") as file:
            group = re.search(r"rivals\) echo (.*) ;;", file.read()).group(1).split()
        self.assertEqual(packages, group, "make rivals installs what the messages name")

    def test_the_oracle_checks_a_rival_too(self):
        path = self.library("forwarding", FORWARDING)
        got = run("check", "-a", f"preload:{path},freelist", "-w", SMALL)
        self.assertEqual(got.returncode, 0, got.stderr)
        self.assertRegex(got.stdout, r"(?m)^ok +freelist on .*, \d+ walks$", "through the contract")

    def test_the_oracle_asks_of_a_rival_what_the_language_does(self):
        """Less than 16 bytes need no more alignment than what fits into them; two of 8 may share 16 bytes."""
        weak, wrong = (self.library(name, POOL.replace("ALIGN", align)) for name, align in (("weak", "16"), ("wrong", "8")))
        text = os.path.join(self.folder, "t.txt")
        with open(text, "w") as file:
            file.write("alloclab trace text 1\n")
            file.writelines(f"alloc {i} {8 + i % 3 * 8}\n" for i in range(300))
            file.writelines(f"free {i}\n" for i in range(300))
        trace = os.path.join(self.folder, "t.trace")
        self.assertEqual(run("trace", "convert", text, "-o", trace).returncode, 0)
        got = run("check", "-a", f"preload:{weak},preload:{wrong}", "-w", trace)
        self.assertEqual(got.returncode, 1, got.stderr)
        self.assertIn(f"ok           preload:{weak} on t (release free): 600 ops\n", got.stdout)
        self.assertRegex(got.stdout, rf"failed       preload:{re.escape(wrong)} on t .*: not aligned to 16 bytes\n")


if __name__ == "__main__":
    unittest.main()
