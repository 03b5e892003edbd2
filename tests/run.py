#!/usr/bin/env python3
"""run.py - runs test suites and counts. Any Python from 3.9 on, nothing beyond the standard library.

    tests/run.py --build release=build/release [--build asan=build/asan ...] [--full] SUITE...

A suite is tests/.../NAME.c, a cmocka program built as BUILD/tests/.../NAME that speaks TAP, or tests/.../test_NAME.py,
a unittest module. Both run from the top of the tree with ALLOCLAB (the binary), BUILD, MODE and PYTHON in the
environment, and with TEST_FULL=1 under --full. A suite may say in its first 4 KiB how it wants to be run:

    run.py: modes=release,asan timeout=300 alone

Without that a C suite runs in every build except tsan (one under tests/tsan in that alone), a Python suite in the
first build given (under --full in release and asan), for at most --timeout seconds, beside other suites.

A failed test, a crash, a hang, a missing program, a suite that says less than it planned and a suite without a test
each count as one failure. The last line is "N passed, N failed", and ", N skipped" if any were; exit status 1 if
anything failed, 2 for bad usage.
"""

import argparse
import concurrent.futures
import dataclasses
import importlib.util
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import xml.etree.ElementTree as ElementTree

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
SHOWN_LINES, SHOWN_CHARACTERS = 120, 400  # of a failed suite's output; the whole is in BUILD/test-logs
SANITIZER_ENV = {
    # An exit status of their own, so that a report is never taken for a status of the program under test.
    "ASAN_OPTIONS": "exitcode=99:detect_stack_use_after_return=1:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "exitcode=99:halt_on_error=1",
}


@dataclasses.dataclass
class Case:
    name: str
    outcome: str
    detail: str = ""
    seconds: float = 0.0


@dataclasses.dataclass
class Suite:
    source: str
    mode: str
    build: str
    alone: bool = False
    timeout: float = 0.0
    cases: list = dataclasses.field(default_factory=list)
    output: str = ""
    seconds: float = 0.0

    def count(self, outcome):
        return sum(case.outcome == outcome for case in self.cases)

    def fail(self, name, detail):
        self.cases.append(Case(name, FAILED, detail))


def usage_error(message):
    print(f"run.py: {message}", file=sys.stderr)
    sys.exit(2)


# --- what there is to run ---------------------------------------------------------------------------------------------


def directives(source):
    """The words after "run.py:", up to the end of that line in the file's first 4 KiB, as a dictionary; one without "=" is True."""
    with open(source, encoding="utf-8", errors="replace") as file:
        match = re.search(r"\brun\.py:[ \t]*(\S.*)$", file.read(4096), re.MULTILINE)
    words = {}
    for word in re.sub(r'\*/|"""', "", match.group(1)).split() if match else []:
        key, _, value = word.partition("=")
        if key not in ("modes", "timeout", "alone"):
            usage_error(f"{source}: unknown word '{key}' after 'run.py:'; use modes=, timeout= or alone")
        words[key] = value or True
    return words


def modes_of(source, words, builds, full):
    if "modes" in words:
        wanted = words["modes"].split(",")
    elif "/tsan/" in source:
        wanted = ["tsan"]
    elif source.endswith(".c"):
        wanted = ["release", "asan"]
    else:
        wanted = ["release", "asan"] if full or "release" not in builds else ["release"]
    return [mode for mode in builds if mode in wanted]


def plan_suites(sources, builds, options):
    suites = []
    for source in sources:
        if not os.path.isfile(source):
            usage_error(f"{source}: no such suite; name files such as tests/unit/os.c")
        words = directives(source)
        for mode in modes_of(source, words, builds, options.full):
            timeout = float(words.get("timeout", options.timeout)) * (1 if mode == "release" else 2)
            suites.append(Suite(source, mode, builds[mode], "alone" in words, timeout))
    return suites


# --- running one suite ------------------------------------------------------------------------------------------------


class Runner:
    """Starts suites, each in a process group of its own, so that nothing of it survives its end."""

    def __init__(self, options):
        self.options = options
        self.lock = threading.Lock()
        self.groups = set()
        probe = ["setarch", "-R", "true"]
        try:
            usable = subprocess.run(probe, capture_output=True, check=False).returncode == 0
        except OSError:
            usable = False
        # Sanitizers of older compilers need the classic address layout.
        self.plain_layout = probe[:2] if usable else []

    def environment(self, suite):
        env = dict(os.environ, MODE=suite.mode, BUILD=suite.build, PYTHON=sys.executable)
        env["ALLOCLAB"] = os.path.join(suite.build, "alloclab")
        env["CMOCKA_MESSAGE_OUTPUT"] = "TAP"
        env["PYTHONDONTWRITEBYTECODE"] = "1"
        env.pop("MAKEFLAGS", None)
        env.pop("MAKELEVEL", None)
        if self.options.full:
            env["TEST_FULL"] = "1"
        if suite.mode != "release":
            for name, value in SANITIZER_ENV.items():
                env.setdefault(name, value)
            if suite.source.endswith(".py"):
                # A command leaves to its exit what it need not free; what the library leaks, the C suites show.
                env["ASAN_OPTIONS"] += ":detect_leaks=0"
        return env

    def run(self, suite):
        begin = time.monotonic()
        try:
            if suite.source.endswith(".py"):
                self.run_python(suite)
            else:
                self.run_program(suite)
        except OSError as error:
            suite.fail("start", f"cannot be started: {error}; build it with make")
        if not suite.cases:
            suite.fail("tests", "ran no test: a suite must hold at least one")
        suite.seconds = time.monotonic() - begin
        self.keep_log(suite)
        return suite

    def run_program(self, suite):
        program = os.path.join(suite.build, suite.source[: -len(".c")])
        layout = self.plain_layout if suite.mode != "release" else []
        if not os.access(program, os.X_OK):
            raise OSError(f"{program} does not exist")
        status, suite.output = self.execute(layout + [program], suite)
        parse_tap(suite, suite.output)
        report_end(suite, status)

    def run_python(self, suite):
        with tempfile.NamedTemporaryFile(prefix="alloclab-results-") as results:
            command = [sys.executable, os.path.abspath(__file__), "--python-suite", suite.source, results.name]
            status, suite.output = self.execute(command, suite)
            records = [json.loads(line) for line in results.read().decode().splitlines() if line.endswith("}")]
        finished = False
        for record in records:
            finished = finished or "finished" in record
            if "name" in record:
                suite.cases.append(Case(**record))
        if not finished and status == 0:
            suite.fail("end", "ended before all its tests had run")
        report_end(suite, status)

    def execute(self, command, suite):
        """Exit status (negative: the signal; None: out of time) and everything the suite printed."""
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                       env=self.environment(suite), start_new_session=True)
            with self.lock:
                self.groups.add(process.pid)
            try:
                status = process.wait(suite.timeout)
            except subprocess.TimeoutExpired:
                status = None
                end_group(process.pid, signal.SIGABRT)  # a Python suite then says where it hangs
                time.sleep(0.5)
            end_group(process.pid, signal.SIGKILL)
            process.wait()
            with self.lock:
                self.groups.discard(process.pid)
            output.seek(0)
            return status, output.read().decode("utf-8", errors="replace")

    def keep_log(self, suite):
        log = pathlib.Path(suite.build, "test-logs", suite.source.replace("/", "_") + ".log")
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(suite.output, encoding="utf-8")
        except OSError as error:
            print(f"run.py: {log}: {error.strerror}; the log of {suite.source} is not kept", flush=True)

    def end_all(self):
        with self.lock:
            for group in self.groups:
                end_group(group, signal.SIGKILL)


def end_group(group, number):
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass


def report_end(suite, status):
    """Turns an end that the results do not explain into a failure."""
    if status is None:
        suite.fail("time", f"hung: ended after {suite.timeout:g} s")
    elif status < 0:
        suite.fail("end", f"crashed: {signal.Signals(-status).name}")
    elif status != 0 and not suite.count(FAILED):
        suite.fail("end", f"exit status {status}, though no test of it failed")


TAP_PLAN = re.compile(r"^1\.\.(\d+)$")
TAP_GROUP = re.compile(r"^# (not )?ok - ")
# A test's own output may stand before a result on the same line; its number tells a result from other text.
TAP_RESULT = re.compile(r"(not ok|ok) (\d+)(?: - (.*)| # SKIP (.*))$")


def parse_tap(suite, text):
    """The tests of each cmocka group: a plan, then results numbered from 1; comments after a result are its detail."""
    planned = number = 0
    failed_group = False
    notes = []

    def close_group():
        if number < planned and not failed_group:
            suite.fail("plan", f"{planned} tests planned, {number} reported")

    for line in text.splitlines():
        plan, result = TAP_PLAN.match(line), TAP_RESULT.search(line)
        if plan:
            close_group()
            planned, number, failed_group, notes = int(plan.group(1)), 0, False, []
        elif result and result.group(1) == "not ok" and result.group(2) == "0":
            failed_group = True
            suite.fail(result.group(3), "the group's setup failed")
        elif result and int(result.group(2)) == number + 1 <= planned:
            number += 1
            outcome = SKIPPED if result.group(4) is not None else PASSED if result.group(1) == "ok" else FAILED
            notes = []
            suite.cases.append(Case(result.group(3) or result.group(4), outcome))
            suite.cases[-1].detail = notes
        elif line.startswith("# ") and number and not TAP_GROUP.match(line):
            notes.append(line[2:])
    close_group()
    for case in suite.cases:
        case.detail = case.detail if isinstance(case.detail, str) else "\n".join(case.detail)
    if any(line.startswith("# not ok") for line in text.splitlines()) and not suite.count(FAILED):
        suite.fail("teardown", "the group's teardown failed")


# --- the process of a Python suite ------------------------------------------------------------------------------------


class Recorder(unittest.TestResult):
    """Writes each test's outcome as a line of JSON when it ends, so that a crash loses none that came before."""

    def __init__(self, file):
        super().__init__()
        self.file = file
        self.begun = 0.0
        self.subtests = []

    def write(self, **record):
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()

    def case(self, test, outcome, detail=""):
        name = test.id().split(".", 1)[-1] if test.id().startswith("suite.") else test.id()
        seconds = time.monotonic() - self.begun if self.begun else 0.0
        self.write(name=name, outcome=outcome, detail=detail, seconds=seconds)

    def startTest(self, test):
        super().startTest(test)
        self.begun = time.monotonic()
        self.subtests = []

    def addSuccess(self, test):
        self.case(test, PASSED)

    def addFailure(self, test, err):
        self.case(test, FAILED, self._exc_info_to_string(err, test))

    addError = addFailure

    def addSkip(self, test, reason):
        self.case(test, SKIPPED, reason)

    def addExpectedFailure(self, test, err):
        self.case(test, PASSED)

    def addUnexpectedSuccess(self, test):
        self.case(test, FAILED, "marked as an expected failure, but it passed")

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.subtests.append(f"{subtest.id()}\n{self._exc_info_to_string(err, test)}")

    def stopTest(self, test):
        if self.subtests:
            self.case(test, FAILED, "\n".join(self.subtests))
        super().stopTest(test)


def run_python_suite(source, results):
    import faulthandler

    faulthandler.enable()
    sys.path[:0] = [os.getcwd(), os.path.dirname(os.path.abspath(source))]
    sys.dont_write_bytecode = True
    sys.argv = [source]
    with open(results, "w", encoding="utf-8") as file:
        recorder = Recorder(file)
        spec = importlib.util.spec_from_file_location("suite", source)
        module = importlib.util.module_from_spec(spec)
        sys.modules["suite"] = module
        try:
            spec.loader.exec_module(module)
        except unittest.SkipTest as reason:
            recorder.write(name="module", outcome=SKIPPED, detail=str(reason))
        unittest.defaultTestLoader.loadTestsFromModule(module).run(recorder)
        recorder.write(finished=True)
    return 0


# --- what a person reads ----------------------------------------------------------------------------------------------


def print_suite(suite):
    failed = suite.count(FAILED)
    skipped = f", {suite.count(SKIPPED)} skipped" if suite.count(SKIPPED) else ""
    word, counts = ("FAIL", f"{failed} failed, ") if failed else ("ok  ", "")
    counts += f"{suite.count(PASSED)} passed{skipped}"
    print(f"{word}  {suite.source:<36} {suite.mode:<8} {suite.seconds:6.1f} s  {counts}", flush=True)
    if not failed:
        return
    for case in suite.cases:
        if case.outcome == FAILED:
            print(f"  failed: {case.name}")
            print("".join(f"    {line[:SHOWN_CHARACTERS]}\n" for line in case.detail.splitlines()), end="")
    lines = suite.output.splitlines()
    print(f"  its output ({len(lines)} lines, all of them in {suite.build}/test-logs):")
    print("".join(f"  | {line[:SHOWN_CHARACTERS]}\n" for line in lines[-SHOWN_LINES:]), end="", flush=True)


def run_all(runner, suites, jobs):
    """Prints each suite as it ends: first those that may run side by side, then the others one by one."""
    for width, chosen in ((jobs, [s for s in suites if not s.alone]), (1, [s for s in suites if s.alone])):
        with concurrent.futures.ThreadPoolExecutor(width) as pool:
            futures = [pool.submit(runner.run, suite) for suite in chosen]
            try:
                for future in concurrent.futures.as_completed(futures):
                    print_suite(future.result())
            except BaseException:
                for future in futures:
                    future.cancel()
                runner.end_all()
                raise


def write_junit(path, suites):
    root = ElementTree.Element("testsuites")
    for suite in suites:
        node = ElementTree.SubElement(root, "testsuite", name=f"{suite.source} ({suite.mode})",
                                      tests=str(len(suite.cases)), failures=str(suite.count(FAILED)),
                                      skipped=str(suite.count(SKIPPED)), time=f"{suite.seconds:.3f}")
        for case in suite.cases:
            item = ElementTree.SubElement(node, "testcase", classname=f"{suite.mode}.{suite.source}", name=case.name,
                                          time=f"{case.seconds:.3f}")
            if case.outcome == FAILED:
                ElementTree.SubElement(item, "failure", message=printable(case.detail[:200])).text = printable(
                    case.detail + "\n\n" + "\n".join(suite.output.splitlines()[-SHOWN_LINES:]))
            elif case.outcome == SKIPPED:
                ElementTree.SubElement(item, "skipped", message=printable(case.detail))
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def printable(text):
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd]", "?", text)


def print_summary(suites, seconds):
    passed, failed, skipped = (sum(suite.count(o) for suite in suites) for o in (PASSED, FAILED, SKIPPED))
    for outcome in (SKIPPED, FAILED):
        for suite in suites:
            chosen = [case for case in suite.cases if case.outcome == outcome]
            shown = chosen if outcome == FAILED else chosen[:3]
            for case in shown:
                reason = case.detail.strip().splitlines()[-1] if case.detail.strip() else ""
                where = f"{outcome}: {suite.source} ({suite.mode}): {case.name}"
                print(where + (f": {reason[:SHOWN_CHARACTERS]}" if reason else ""))
            if len(shown) < len(chosen):
                print(f"{outcome}: {suite.source} ({suite.mode}): and {len(chosen) - len(shown)} more")
    print(f"{len(suites)} suites in {seconds:.1f} s")
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""), flush=True)
    return 1 if failed else 0


def usage():
    parser = argparse.ArgumentParser(prog="tests/run.py", description="Runs test suites and counts.",
                                     epilog="See the head of tests/run.py for what a suite is and what counts.")
    parser.add_argument("suites", nargs="+", metavar="SUITE", help="tests/unit/os.c, tests/test_run.py, ...")
    parser.add_argument("--build", action="append", required=True, metavar="MODE=DIR",
                        help="a mode (release, asan, tsan) and its build folder; may be repeated")
    parser.add_argument("--full", action="store_true", help="the long form of each suite")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="suites side by side (default: CPUs)")
    parser.add_argument("--timeout", type=float, default=120, help="seconds for a suite; twice that under sanitizers")
    parser.add_argument("--junit", metavar="FILE", help="also write JUnit XML there")
    return parser


def main():
    if sys.argv[1:2] == ["--python-suite"]:
        return run_python_suite(*sys.argv[2:4])
    parser = usage()
    options = parser.parse_args()
    builds = {}
    for text in options.build:
        mode, _, folder = text.partition("=")
        if mode not in ("release", "asan", "tsan") or not folder:
            parser.error(f"--build {shlex.quote(text)}: write release=DIR, asan=DIR or tsan=DIR")
        builds[mode] = folder
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    suites = plan_suites(options.suites, builds, options)
    begin = time.monotonic()
    run_all(Runner(options), suites, max(1, options.jobs))
    status = print_summary(suites, time.monotonic() - begin)
    if options.junit:
        write_junit(options.junit, suites)
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
