"""test_cli.py - gen, list and describe as a user meets them: what they print, exact error messages, exit status."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ALLOCLAB = os.path.abspath(os.environ["ALLOCLAB"])
USAGE_GEN = "usage: alloclab gen WORKLOAD[:opt=v,..] [--seed N] -o FILE"
USAGE_LIST = "usage: alloclab list [allocators|rivals|workloads|metrics|formats|transforms|counters]"


def stems(folder):
    return sorted(p.stem for p in pathlib.Path(folder).glob("*.c"))


class CliTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="alloclab-cli-")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def run_cli(self, *arguments, cwd=None):
        return subprocess.run([ALLOCLAB, *arguments], capture_output=True, text=True, timeout=60, cwd=cwd, check=False)

    def ok(self, *arguments, cwd=None):
        done = self.run_cli(*arguments, cwd=cwd)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def refused(self, message, *arguments):
        done = self.run_cli(*arguments)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (2, "", message + "\n"))


class Help(CliTest):
    def test_each_option_is_in_the_help(self):
        """Options are the strings "-x" and "--xyz" of a subcommand's source, in whichever table it has."""
        for name in sorted(set(stems("harness/commands")) - {"cell", "decode", "interval", "program"}):
            source = re.sub(r"/\*.*?\*/", "", pathlib.Path(f"harness/commands/{name}.c").read_text(encoding="utf-8"), flags=re.DOTALL)
            options = set(re.findall(r'"(-[a-z]|--[a-z][a-z-]+)=?"', source)) - {"--help", "-h"}
            said = self.ok(name, "--help")
            missing = [option for option in sorted(options) if not re.search(rf"{option}(?![a-z-])", said)]
            self.assertEqual(missing, [], name)


class Gen(CliTest):
    def test_summary_says_what_was_written(self):
        path = self.path("a.trace")
        out = self.ok("gen", "random:ops=2k,live=100", "--seed", "7", "-o", path)
        fields = dict(re.split(r"\s+", line, maxsplit=1) for line in out.splitlines())
        self.assertEqual(fields["file"], path)
        self.assertEqual(fields["seed"], "7")
        self.assertEqual(fields["ops"], "2000")
        self.assertEqual(fields["file_bytes"], str(os.path.getsize(path)))
        self.assertEqual(
            fields["workload"], "random:ops=2000,live=100,min=16,max=384,order=random,sizes=uniform"
        )
        self.assertTrue(100 <= int(fields["peak_live_objects"]) <= 110, fields)
        self.assertEqual(os.listdir(self.folder), ["a.trace"])

    def test_an_output_without_a_name(self):
        self.refused("alloclab gen: the output has no name: give one with -o", "gen", "random", "-o", "")

    def test_same_seed_same_bytes(self):
        contents = []
        for seed in "1", "1", "2":
            path = self.path("t.trace")
            self.ok("gen", "frame:frames=5", "--seed", seed, "-o", path)
            contents.append(pathlib.Path(path).read_bytes())
        self.assertEqual(contents[0], contents[1])
        self.assertNotEqual(contents[0], contents[2])

    def test_usage_errors(self):
        out = self.path("x.trace")
        self.refused(f"alloclab gen: no workload given: {USAGE_GEN}", "gen", "-o", out)
        self.refused(f"alloclab gen: no file given, with -o: {USAGE_GEN}", "gen", "frame")
        self.refused(f"alloclab gen: a value is missing after -o: {USAGE_GEN}", "gen", "frame", "-o")
        self.refused(f"alloclab gen: unknown option --sed: {USAGE_GEN}", "gen", "frame", "--sed", "1")
        self.refused(
            f"alloclab gen: one workload at a time, not also random: {USAGE_GEN}", "gen", "frame", "random", "-o", out
        )
        for seed in "-1", "", "x", "1x", "18446744073709551616":
            self.refused(
                f"alloclab gen: --seed {seed}: give a whole number from 0 to 18446744073709551615",
                "gen", "frame", "--seed", seed, "-o", out,
            )  # fmt: skip
        self.assertEqual(os.listdir(self.folder), [])

    def test_unknown_workload_names_the_nearest(self):
        names = ", ".join(stems("workloads"))
        self.refused(
            f"alloclab gen: no workload 'fraem': there are {names}; did you mean 'frame'?",
            "gen", "fraem", "-o", self.path("x"),
        )  # fmt: skip

    def test_bad_options(self):
        self.refused(
            'alloclab gen: prodcons: unknown option "size": it has ops, producers, consumers, queue, burst, parts, '
            "local, min, max, sizes",
            "gen", "prodcons:size=1", "-o", self.path("x"),
        )  # fmt: skip
        self.refused(
            "alloclab gen: frame: min is greater than max: swap them",
            "gen", "frame:min=9k", "-o", self.path("x"),
        )  # fmt: skip

    def test_a_failed_run_keeps_the_old_file(self):
        path = pathlib.Path(self.path("old.trace"))
        path.write_text("precious")
        self.assertEqual(self.run_cli("gen", "random:min=500", "-o", str(path)).returncode, 2)
        self.assertEqual(path.read_text(), "precious")
        self.assertEqual(os.listdir(self.folder), ["old.trace"])

    def test_folder_that_does_not_exist(self):
        done = self.run_cli("gen", "frame:frames=1", "-o", self.path("none/x.trace"))
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("none/x.trace", done.stderr)
        self.assertIn("No such file or directory", done.stderr)


class List(CliTest):
    def names(self, *arguments):
        return [line.split()[0] for line in self.ok("list", *arguments).splitlines() if line.startswith("  ")]

    def test_lists_are_the_folders(self):
        self.assertEqual(self.names("allocators"), stems("allocators"))
        self.assertEqual(self.names("workloads"), stems("workloads"))
        self.assertEqual(self.names("formats"), stems("traces/formats"))
        self.assertEqual(self.names("transforms"), stems("traces/transforms"))

    def test_metrics_have_all_columns(self):
        lines = self.ok("list", "metrics").splitlines()
        self.assertIn("  ns_per_op", "\n".join(line[:12] for line in lines))
        for line in lines:
            self.assertRegex(line, r"^  [a-z0-9_]+ .* (lower|higher|none) +(id|row|exact|repeats|sampled|timed) +\S")

    def test_all_lists_at_once(self):
        together = self.names()
        kinds = "allocators", "rivals", "workloads", "metrics", "formats", "transforms", "counters"
        self.assertEqual(together, [n for kind in kinds for n in self.names(kind)])

    def test_errors(self):
        self.refused(
            "alloclab list: no list 'metric': there are allocators, rivals, workloads, metrics, formats, transforms, counters; "
            "did you mean 'metrics'?",
            "list", "metric",
        )  # fmt: skip
        self.refused(f"alloclab list: one list at a time: {USAGE_LIST}", "list", "metrics", "formats")


class Describe(CliTest):
    def test_everything_registered_has_a_manual(self):
        for folder in "allocators", "workloads", "traces/formats", "traces/transforms":
            for name in stems(folder):
                with self.subTest(name=name):
                    text = self.ok("describe", name)
                    self.assertRegex(text, rf"(?m)^{name} \((allocator|workload|trace format|transform of traces)\): \S")
                    self.assertRegex(text, rf"(?m)^Manual\n\n{name}\.c - \S")

    def test_manual_is_the_header_comment_and_needs_no_source_tree(self):
        source = pathlib.Path("workloads/frame.c").read_text()
        comment = source[: source.index("\n */")].splitlines()[1:]
        manual = "\n".join(line[2:].removeprefix(" ") for line in comment) + "\n"
        text = self.ok("describe", "frame", cwd=self.folder)
        self.assertTrue(text.endswith("\nManual\n\n" + manual), text)

    def test_option_table(self):
        text = self.ok("describe", "random")
        self.assertRegex(text, r"(?m)^  ops +count +1m +1 to 1000000000 +calls in the trace$")
        self.assertRegex(text, r"(?m)^  max +size +384 +1 to 1g +largest object, bytes$")
        self.assertRegex(text, r"(?m)^  order +choice +random +random\|alternate +how allocs and frees")

    def test_allocators_say_what_they_promise(self):
        text = self.ok("describe", "null")
        self.assertRegex(text, r"(?m)^Traits\n(  .*\n)*  hands out memory that it does not manage: only a floor$")
        self.assertRegex(text, r"(?m)^Provides\n  alloc, free")

    def test_errors(self):
        usage = "usage: alloclab describe NAME"
        self.refused(f"alloclab describe: give one name: {usage}", "describe")
        self.refused(f"alloclab describe: give one name: {usage}", "describe", "null", "frame")
        done = self.run_cli("describe", "prodcon")
        self.assertEqual(done.returncode, 2)
        self.assertRegex(
            done.stderr,
            r"^alloclab describe: no allocator, workload, trace format or transform 'prodcon': there are .*prodcons.*; "
            r"did you mean 'prodcons'\?\n$",
        )


if __name__ == "__main__":
    unittest.main()
