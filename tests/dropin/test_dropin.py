"""test_dropin.py - every drop-in library under programs that know what each call must do (tests/dropin/programs), and
what `alloclab exec` and the library's environment do.

run.py: modes=release
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

from dropin import (ALLOCLAB, CXX_FLAGS, C_FLAGS, DESIGNS, FULL, LIBRARY_FLAGS, DropinTest, compile_all, library,
                    on)

RETURNS = "segfit:age_ms=20"  # a design that returns memory in ticks, soon


class SmallProgramsTest(DropinTest):
    @classmethod
    def setUpClass(cls):
        cls.bin = pathlib.Path(tempfile.mkdtemp(prefix="alloclab-dropin-"))
        cls.addClassCleanup(shutil.rmtree, cls.bin)
        c = [(name, f"{name}.c", C_FLAGS) for name in
             ("family", "threads", "detached", "running", "forks", "plugin_host", "ticked", "limited")]
        cxx = [(name, f"{name}.cpp", CXX_FLAGS) for name in ("operators", "replaced", "last_words", "steady")]
        libraries = [("c_plugin.so", "c_plugin.c", C_FLAGS + LIBRARY_FLAGS),
                     ("cxx_plugin.so", "cxx_plugin.cpp", CXX_FLAGS + LIBRARY_FLAGS),
                     ("early_plugin.so", "early_plugin.c",
                      C_FLAGS + LIBRARY_FLAGS + ["-nostdlib", "-Wl,-z,initfirst"])]
        compile_all(cls.bin, c + cxx + libraries)

    def on_all(self, program, *args, **more):
        """The program is content with each design; and at its end the heap's own invariants hold."""
        for design in DESIGNS:
            with self.subTest(design=design):
                stats = self.folder() / "stats"
                out = self.execute([*on(design, "--stats", stats), self.bin / program, *args], **more)
                self.assertEqual(out, b"ok\n")
                self.assertEqual(self.err, "")
                self.assertRegex(stats.read_text(), r"(?m)^broken 0$")

    def test_every_entry_point_does_at_its_edges_what_the_manual_says(self):
        self.on_all("family")

    def test_what_is_free_is_not_in_the_way_of_what_is_wanted(self):
        for design in ("segfit", "hugepack", "hoard", "lockfree", "slab"):
            with self.subTest(design=design):
                self.assertEqual(self.execute([*on(design), self.bin / "limited"]), b"ok\n")

    def test_every_form_of_new_and_delete(self):
        self.on_all("operators")

    def test_operators_that_a_program_replaces_stay_in_charge(self):
        self.on_all("replaced")

    def test_threads_leave_objects_to_others(self):
        self.on_all("threads", 4000 if FULL else 200)

    def test_threads_that_nobody_joins_free_when_their_destructors_have_run(self):
        self.on_all("detached", 4000 if FULL else 300)

    def test_a_program_that_ends_while_its_threads_work_is_not_called_broken(self):
        for design in ["hoard", *["slab", "lockfree"] * (20 if FULL else 4)]:
            with self.subTest(design=design):
                stats = self.folder() / "stats"
                out = self.execute([*on(design, "--stats", stats), self.bin / "running"])
                self.assertEqual((out, self.err), (b"ok\n", ""))
                self.assertNotIn("broken", stats.read_text())

    def test_a_program_with_threads_forks(self):
        self.on_all("forks", 400 if FULL else 12)

    def test_with_ticks_a_program_with_threads_forks(self):
        self.execute([*on(RETURNS, "--tick", "1"), self.bin / "forks", 400 if FULL else 30])

    def test_destructors_of_threads_and_of_the_program_allocate(self):
        self.on_all("last_words")

    def test_threads_end_when_setting_a_key_allocates(self):
        early = {"LD_PRELOAD": str(self.bin / "early_plugin.so")}
        self.on_all("last_words", env=early)
        self.on_all("threads", 40, env=early)

    def test_plugins_allocate_while_they_are_loaded_and_throw_without_a_cxx_program(self):
        self.on_all("plugin_host", self.bin / "c_plugin.so", self.bin / "cxx_plugin.so")

    def peak_bytes(self, program, count, design="segfit"):
        stats = self.folder() / "stats"
        self.execute([*on(design, "--stats", stats), self.bin / program, count])
        return int(re.search(r"^peak_committed_bytes (\d+)$", stats.read_text(), re.MULTILINE)[1])

    def test_no_entry_point_takes_more_than_it_hands_out(self):
        for design in DESIGNS:
            with self.subTest(design=design):
                self.assertLess(self.peak_bytes("steady", 100, design), 1.5 * self.peak_bytes("steady", 10, design))

    def test_threads_that_ended_cost_nothing(self):
        """The program holds as much at any time. How much threads that meet keep apart, and how many meet, is chance, and
        shows in few runs or in many; what each ended thread leaves grows with their number. The least that one can be
        seen to leave is 512 bytes; a view alone is 8 KiB."""
        more = 4000
        for design in set(DESIGNS) - {"private"}:  # what main frees for others is main's for ever
            chance = 1 << 20 if design == "hoard" else 0  # a few superblocks of each class in each of its heaps
            with self.subTest(design=design):
                few, many = self.peak_bytes("threads", 100, design), self.peak_bytes("threads", 100 + more, design)
                self.assertLess(many, few + chance + more * 512)
        # 30 at once, and others that are about to end, usually few: a view is a unit of 8 KiB
        self.assertLess(self.peak_bytes("detached", more), 60 * 8192 + more * 512)

    def test_options_are_read_before_the_c_library_is_ready(self):
        for design in DESIGNS:
            preload = f"{library(design)}:{self.bin / 'early_plugin.so'}"
            self.execute(["/bin/true"], env={"LD_PRELOAD": preload})
            self.execute(["/bin/true"], env={"LD_PRELOAD": preload, "ALLOCLAB_OPTIONS": "no-such=1"}, status=2)
            self.assertRegex(self.err, r'^alloclab: ALLOCLAB_OPTIONS: \w+: (unknown )?option "no-such": [^\n]*\n$')

    def test_ticks_return_memory_and_leave_signals_alone(self):
        self.execute([*on(RETURNS, "--tick", "5"), self.bin / "ticked", 20])

    def test_a_child_of_fork_ticks_again(self):
        self.execute([*on(RETURNS, "--tick", "5"), self.bin / "ticked", 20, "fork"])

    def test_nobody_ticks_unasked(self):
        self.execute([*on(RETURNS), self.bin / "ticked", 0.3], status=3)


class FastPathTest(unittest.TestCase):
    """The straight line from the entry to the first return: what runs when no branch is taken is the usual case."""

    def line(self, symbol):
        text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", f"--disassemble={symbol}", library("segfit")],
                              check=True, capture_output=True, text=True).stdout
        code = [words[1] for words in (line.split("\t", 1) for line in text.splitlines()) if len(words) == 2]
        self.assertTrue(code, symbol)
        end = next((i for i, op in enumerate(code) if re.match(r"(ret|jmp)\b", op)), None)
        self.assertIsNotNone(end, f"{symbol}: no return")
        return code[:end + 1]

    @unittest.skipUnless(os.uname().machine == "x86_64", "reads x86-64 code")
    def test_segfit_is_inlined_without_calls_and_locks(self):
        for symbol in ("malloc", "free", "_Znwm", "_ZdlPv", "_ZdlPvm"):
            code = self.line(symbol)
            self.assertRegex(code[-1], "^ret", symbol)
            self.assertGreater(len(code), 15, symbol)
            self.assertEqual([op for op in code if re.match(r"(call|lock|xchg|[ml]fence)\b", op)], [], symbol)


class ExecTest(DropinTest):
    def refused(self, *words):
        self.assertEqual(self.execute([ALLOCLAB, "exec", *words], status=2), b"")
        return self.err

    def test_the_commands_end_is_its_own(self):
        self.execute([*on("segfit"), "sh", "-c", "exit 7"], status=7)
        self.execute([*on("segfit"), "sh", "-c", "kill -KILL $$"], status=-signal.SIGKILL)

    def test_what_cannot_be_run_is_refused(self):
        names = ", ".join(DESIGNS)
        self.assertEqual(self.refused("-a", "null", "--", "true"),
                         "alloclab exec: null cannot stand in for malloc: it hands out memory that it does not manage; "
                         f"these can: {names}\n")
        self.assertIn("libc cannot stand in for malloc: it is the malloc", self.refused("-a", "libc", "--", "true"))
        self.assertIn("bump cannot stand in for malloc: it does not", self.refused("-a", "bump", "--", "true"))
        self.assertIn("no allocator 'segfti'", self.refused("-a", "segfti", "--", "true"))
        self.assertIn("option cache=x", self.refused("-a", "segfit:cache=x", "--", "true"))
        self.assertIn("on which design?", self.refused("--", "true"))
        self.assertIn("no command after --", self.refused("-a", "segfit"))
        self.assertIn("no command after --", self.refused("-a", "segfit", "--"))
        self.assertIn("'true': belongs to no option", self.refused("-a", "segfit", "true"))
        self.assertIn("/no/such: cannot be started", self.refused("-a", "segfit", "--", "/no/such"))
        for tick in ("0", "-1", "1x", "", "86400001"):
            self.assertIn("give milliseconds", self.refused("-a", "segfit", "--tick", tick, "--", "true"))

    def test_doors(self):
        self.assertIn("option thp=maybe: give one of default|on|off",
                      self.refused("-a", "segfit", "--door", "thp=maybe", "--", "true"))
        self.assertIn("memory node 1023 does not exist",
                      self.refused("-a", "segfit", "--door", "numa=bind,node=1023", "--", "true"))
        for design in DESIGNS:
            with self.subTest(design=design):
                for limit, expected in (("64m", "MemoryError\n"), ("1g", "")):
                    code = "try: b = bytearray(200 << 20)\nexcept MemoryError: print('MemoryError')"
                    out = self.execute([*on(design, "--door", f"commit_limit={limit}"), sys.executable, "-c", code])
                    self.assertEqual(out.decode(), expected)

    def test_the_environment_is_what_was_asked_for(self):
        before = {"LD_PRELOAD": "/nowhere/x.so", "ALLOCLAB_OPTIONS": "old=1", "ALLOCLAB_TICK_MS": "7",
                  "ALLOCLAB_DOOR": "thp=on"}
        out = self.execute([*on("segfit:cache=2m"), "env"], env=before).decode().splitlines()
        self.assertIn(f"LD_PRELOAD={library('segfit')}:/nowhere/x.so", out)
        self.assertTrue(any(line.startswith("ALLOCLAB_OPTIONS=cache=2m,") for line in out), out)
        self.assertFalse([line for line in out if line.startswith(("ALLOCLAB_TICK_MS", "ALLOCLAB_DOOR"))])

    def test_bad_settings_are_refused_before_main(self):
        for name, value in (("ALLOCLAB_OPTIONS", "cache"), ("ALLOCLAB_TICK_MS", "soon"), ("ALLOCLAB_DOOR", "thp=maybe"),
                            ("ALLOCLAB_OPTIONS", "x" * 9999)):
            out = self.execute(["/bin/echo", "main"], status=2,
                               env={"LD_PRELOAD": str(library("segfit")), name: value})
            self.assertEqual(out, b"")
            self.assertRegex(self.err, f"^alloclab: {name}: [^\n]*\n$")
        self.execute(["/bin/true"], env={"LD_PRELOAD": str(library("tlsf")), "ALLOCLAB_TICK_MS": "5"}, status=2)
        self.assertIn("nothing to do in ticks", self.err)

    def test_stats_of_each_process_are_added(self):
        folder = self.folder()
        script = f"cd /; {shutil.which('env')} true; exec {sys.executable} -c 'b = bytearray(48 << 20)'"
        for design in DESIGNS:
            with self.subTest(design=design):
                self.execute([*on(design, "--stats", f"{design}.txt"), "sh", "-c", script], cwd=folder)
                parts = (folder / f"{design}.txt").read_text().split("# ")[1:]
                self.assertEqual([part.split(",")[0] for part in parts], [design] * len(parts))
                programs = [part.split(", ")[1] for part in parts]
                self.assertIn("true", programs)
                last = dict(line.split() for line in parts[-1].splitlines()[1:])
                self.assertGreaterEqual(int(last["peak_committed_bytes"]), 48 << 20)
                self.assertGreaterEqual(int(last["reserved_bytes"]), int(last["committed_bytes"]))

    def test_stats_on_stderr(self):
        self.execute([*on("segfit", "--stats", "stderr"), "sqlite3", ":memory:", ".quit"])
        self.assertRegex(self.err, r"^# segfit, sqlite3, pid \d+\ncommitted_bytes \d+\n")


if __name__ == "__main__":
    unittest.main()
