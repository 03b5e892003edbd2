#!/usr/bin/env python3
"""lint.py - the rules of the tree that a compiler does not check: `make lint`. Python 3.9, standard library only.

    scripts/lint.py [--build DIR] [--only RULE,RULE]

Runs in the top of the tree, over the files that git knows or would add (without git: all of them). Each finding is one
line: file:line: [rule] what is wrong; what to do. The last line is "lint: clean" or "lint: N findings"; exit status 1
with findings, 2 for bad usage or a missing tool. RULES at the end is the list of rules.
"""

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys

MEMORY_CALLS = "mmap mmap64 munmap madvise mprotect mremap mbind brk sbrk memfd_create shm_open".split()
DOOR = "allocators/lib/os.c"
# What an allocator's object may refer to beside what allocators/lib defines; nothing here can hide memory.
ALLOWED = {"memcpy", "memset", "memmove", "memcmp", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
FOREIGN = {"malloc", "calloc", "realloc", "free", "aligned_alloc", "posix_memalign", "memalign", "malloc_usable_size",
           "malloc_trim", "__errno_location"}
# A room and what it may include, by longest path prefix; None = everything but the tests.
ROOMS = {
    "allocators/lib/": ["allocators/lib/"],
    "allocators/": ["allocators/lib/"],
    "api/": ["allocators/", "api/"],
    "traces/": ["allocators/lib/", "traces/"],
    "workloads/": ["allocators/lib/", "traces/", "workloads/"],
    "harness/": None,
    "labs/": None,
}
EVERYWHERE = ["api/alloclab_mark.h"]  # what programs include to mark their scopes: the recorder implements it
MAX_ALLOCATOR_LINES, MAX_FILE_LINES, MAX_FUNCTION_LINES = 700, 900, 60
SOURCES = (".c", ".h", ".py", ".sh", ".mk", ".in")


class Tree:
    """The files under test, read once."""

    def __init__(self, build):
        self.build = build
        self.findings = []
        self.texts = {}
        self.paths = sorted(path for path in list_files() if os.path.isfile(path))
        self.c_files = [path for path in self.paths if path.endswith((".c", ".h"))]
        self.py_files = [path for path in self.paths if path.endswith(".py")]
        self.sh_files = [path for path in self.paths if path.endswith(".sh") or path == ".ci/run"]
        names = ("Makefile", ".ci/run")
        self.sources = [path for path in self.paths if path.endswith(SOURCES) or path in names]

    def bytes(self, path):
        with open(path, "rb") as file:
            return file.read()

    def text(self, path):
        if path not in self.texts:
            self.texts[path] = self.bytes(path).decode("utf-8", errors="replace")
        return self.texts[path]

    def lines(self, path):
        return enumerate(self.text(path).splitlines(), 1)

    def report(self, path, line, rule, what, remedy):
        self.findings.append((path, line, f"{path}:{line}: [{rule}] {what}; {remedy}"))


def list_files():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    if os.path.exists(".git") and shutil.which("git"):
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    found = []
    for folder, folders, files in os.walk("."):
        folders[:] = [name for name in folders if name not in ("build", "out", ".git", "__pycache__")]
        found += [os.path.relpath(os.path.join(folder, name)) for name in files]
    return found


def code_lines(text):
    """The lines of a C file without comments and without what stands in string and character literals."""
    def blank(match):
        token = match.group(0)
        return "\n" * token.count("\n") if token.startswith("/") else token[0] * 2

    token = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return enumerate(re.sub(token, blank, text, flags=re.DOTALL).splitlines(), 1)


# --- rules over C sources ---------------------------------------------------------------------------------------------


def room_of(path):
    return max((room for room in ROOMS if path.startswith(room)), key=len, default=None)


def check_includes(tree):
    for path in tree.c_files:
        room = room_of(path)
        for number, line in tree.lines(path):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match:
                continue
            target = match.group(1)
            if not os.path.exists(target):
                tree.report(path, number, "includes", f'"{target}" is not a path from the top of the tree',
                            'write #include "allocators/lib/os.h" and the like')
            elif room and target.startswith("tests/"):
                tree.report(path, number, "includes", f"{room} must not include {target}",
                            "tests depend on the program, never the other way")
            elif room and ROOMS[room] is not None and target not in EVERYWHERE and not allowed(target, ROOMS[room]):
                tree.report(path, number, "includes", f"{room} must not include {target}",
                            f"it may include only {', '.join(ROOMS[room])}; move what is shared down, or the caller up")


def allowed(target, prefixes):
    return any(target.startswith(prefix) for prefix in prefixes)


def check_door(tree):
    calls = re.compile(r"\b(" + "|".join(MEMORY_CALLS) + r")\s*\(")
    for path in tree.c_files:
        if path.startswith("allocators/") and path != DOOR:
            for number, line in code_lines(tree.text(path)):
                match = calls.search(line)
                if match:
                    tree.report(path, number, "door", f"calls {match.group(1)}",
                                "take memory through the door, allocators/lib/os.h")


def check_sizes(tree):
    for path in tree.sources:
        design = re.fullmatch(r"allocators/\w+\.c", path)
        limit = MAX_ALLOCATOR_LINES if design else MAX_FILE_LINES
        count = len(tree.text(path).splitlines())
        if count > limit:
            tree.report(path, limit + 1, "sizes", f"{count} lines, at most {limit}", "split the idea, not the text")
    for path in tree.c_files + tree.py_files:
        functions = c_functions if path in tree.c_files else py_functions
        for name, begin, length in functions(tree.text(path)):
            if length > MAX_FUNCTION_LINES:
                tree.report(path, begin, "sizes", f"{name} has {length} lines, at most {MAX_FUNCTION_LINES}",
                            "give a part of it a name of its own")


def c_functions(text):
    """Name, line and length of each function of formatted code: its braces stand alone in column 1."""
    head, begin = [], None
    for number, line in enumerate(text.splitlines(), 1):
        if line == "{" and head:
            match = re.search(r"(\w+)\s*\(", " ".join(head))
            name, begin = match.group(1) if match else "a block", number
        elif line.startswith("}") and begin:
            yield name, begin, number - begin + 1
            head, begin = [], None
        elif not line.strip() or line.startswith(("}", "#", "/", " *")):
            head = []
        elif begin is None:
            head.append(re.sub(r"__attribute__\(\(.*\)\)", "", line))


def py_functions(text):
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return  # the rule "python" reports it
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, node.end_lineno - node.lineno + 1


def check_header(tree):
    for path in tree.sources:
        if path.endswith(".in"):
            continue  # a template: what it makes is checked
        lines = tree.text(path).splitlines()
        if lines and lines[0].startswith("#!"):
            lines = lines[1:]
        head = [line for line in lines[:3] if line.strip()]
        starts = ("/*", "//", "#", '"""', "'''", 'r"""')
        if not head or not head[0].startswith(starts) or os.path.basename(path) not in "\n".join(head):
            tree.report(path, 1, "header", "does not begin with a comment that names the file",
                        f'begin with "{os.path.basename(path)} - what it is, and why it works so"')


def check_leftovers(tree):
    mark = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")
    dead_c = re.compile(r"^\s*(#\s*if\s+0\b|//.*[;{}]\s*$|/\*\s*[\w\->.\[\]*]+\s*(=[^=].*|\(.*\));\s*\*/)")
    dead_py = re.compile(r"^\s*#\s*((if|elif|for|while|def|with)\b.*:|(return|import|from)\b \w+(\.\w+)*|"
                         r"[\w.]+\s*=\s*[^=\s].*[)\]'\"\d]|[\w.]+\(.*\))$")
    for path in tree.sources:
        for number, line in tree.lines(path):
            found = mark.search(line)
            if found:
                tree.report(path, number, "leftovers", f"'{found.group(1)}'", "do it now, or file an issue for it")
            if (path.endswith((".c", ".h")) and dead_c.match(line)) or (path.endswith(".py") and dead_py.match(line)):
                tree.report(path, number, "leftovers", "commented-out code", "delete it: git remembers")


def check_paths(tree):
    machine = re.compile(rb"/(?:home|root|Users|work|workspace)/[\w.]|[/]root\b")
    for path in tree.paths:
        for match in machine.finditer(tree.bytes(path)):
            line = tree.bytes(path).count(b"\n", 0, match.start()) + 1
            tree.report(path, line, "paths", f"a path of one machine: {match.group(0).decode()}...",
                        "write it relative to the tree, or make it again without")


def check_targets(tree):
    """A document that names a target which is not there sends its reader nowhere."""
    makefiles = [path for path in tree.paths if path == "Makefile" or path.endswith(".mk")]
    targets = {name for path in makefiles for _, line in tree.lines(path)
               for head in re.findall(r"^([a-z][a-z -]*):(?!=)", line) for name in head.split()}
    for path in [path for path in tree.paths if path.endswith(".md")]:
        for number, line in tree.lines(path):
            for command in re.findall(r"(?:`|^    )make ((?:[A-Z]+=\S+ )*[a-z][a-z-]*)(?![\w-])", line):
                if command.split()[-1] not in targets:
                    tree.report(path, number, "targets", f"no Makefile has the target {command.split()[-1]}",
                                "name one that `make help` lists, or make it")


# --- rules over what the release build made ---------------------------------------------------------------------------


def run_tool(command, **options):
    if not shutil.which(command[0]):
        print(f"lint.py: {command[0]} is not installed; run scripts/install.sh lint", file=sys.stderr)
        sys.exit(2)
    return subprocess.run(command, check=False, capture_output=True, text=True, **options)


def object_of(tree, path):
    made = os.path.join(tree.build, path[: -len(".c")] + ".o")
    if os.path.exists(made):
        return made
    tree.report(path, 1, "objects", f"{made} does not exist", "build first: make")
    return None


def symbols(made, kind):
    """Names of the undefined (-u) or the defined (--defined-only) external symbols."""
    output = run_tool(["nm", kind, "--extern-only", "-P", made]).stdout
    return [line.split()[0] for line in output.splitlines() if line.strip()]


def writable_sections(made):
    for line in run_tool(["readelf", "-S", "-W", made]).stdout.splitlines():
        match = re.match(r"\s*\[\s*\d+\]\s+(\S+)\s+\S+\s+\S+\s+\S+\s+([0-9a-f]+)\s+\S+\s+(\S*W\S*)\s", line)
        if match and int(match.group(2), 16) and not match.group(1).startswith(".data.rel.ro"):
            yield match.group(1), int(match.group(2), 16)


def check_objects(tree):
    sources = [path for path in tree.c_files if re.fullmatch(r"allocators/(lib/)?\w+\.c", path)]
    objects = {path: made for path in sources for made in [object_of(tree, path)] if made}
    lib = {name for path, made in objects.items() if path.startswith("allocators/lib/")
           for name in symbols(made, "--defined-only")}
    for path, made in objects.items():
        undefined = symbols(made, "--undefined-only")
        for name in undefined if path != DOOR else []:
            if name in MEMORY_CALLS:
                tree.report(path, 1, "door", f"its object refers to {name}", "take memory through the door")
        if not path.startswith("allocators/lib/"):
            check_design(tree, path, made, [name for name in undefined if name not in lib | ALLOWED])


def check_design(tree, path, made, undefined):
    for section, size in writable_sections(made):
        tree.report(path, 1, "objects", f"its object has {size} writable bytes in {section}",
                    "state lives in the heap; make tables const")
    foreign = FOREIGN if "ALLOCATOR_FOREIGN" in tree.text(path) else set()
    for name in undefined:
        if name not in foreign and name not in MEMORY_CALLS:
            tree.report(path, 1, "objects", f"its object refers to {name}",
                        f"use allocators/lib, or one of {', '.join(sorted(ALLOWED)[2:])}")


# --- tools ------------------------------------------------------------------------------------------------------------


def check_shell(tree):
    if tree.sh_files:
        output = run_tool(["shellcheck", "--format=gcc", "--severity=style"] + tree.sh_files).stdout
        for path, line, what in re.findall(r"^([^:\n]+):(\d+):\d+: \w+: (.*)$", output, re.MULTILINE):
            tree.report(path, int(line), "shell", what.rstrip("."), "see the wiki page of that code")


def check_python(tree):
    for path in tree.py_files:
        try:
            compile(tree.text(path), path, "exec")
        except SyntaxError as error:
            tree.report(path, error.lineno or 1, "python", error.msg, "mend the syntax")
    if tree.py_files:
        output = run_tool(["pyflakes3"] + tree.py_files).stdout
        for path, line, what in re.findall(r"^([^:\n]+):(\d+):\d+:? (.*)$", output, re.MULTILINE):
            tree.report(path, int(line), "python", what, "mend it")


def check_cpp(tree):
    sources = [path for path in tree.c_files if path.endswith(".c") and not path.startswith("tests/")]
    if not sources:
        return
    cache = os.path.join(tree.build, "cppcheck")
    os.makedirs(cache, exist_ok=True)
    command = ["cppcheck", "--quiet", "--std=c11", "--enable=warning,performance,portability", "--inline-suppr",
               f"--cppcheck-build-dir={cache}", f"-j{os.cpu_count() or 1}", "-I.", "-D__linux__", "-D_GNU_SOURCE",
               "-D__x86_64__", "-D__GNUC__=12", "--max-configs=1", "--template={file}:{line}: {id}: {message}"]
    command += [f"--suppress={name}" for name in CPP_SUPPRESSIONS]
    output = run_tool(command + sources).stderr
    for path, line, what in re.findall(r"^([^:\n]+):(\d+): (.*)$", output, re.MULTILINE):
        tree.report(path, int(line), "cppcheck", what, "mend it, or say why not: /* cppcheck-suppress ID ; reason */")


def check_tidy(tree):
    # The programs behind the samples need libraries that nothing else does.
    sources = [path for path in tree.c_files if path.endswith(".c") and not path.startswith("traces/samples/")]
    if not sources:
        return
    command = ["clang-tidy", "--quiet", "--checks=" + ",".join(TIDY_CHECKS)] + sources
    flags = ["-std=c11", "-D_GNU_SOURCE", "-I.", "-Iapi", "-w", '-DBUILD_FLAGS=""', '-DBUILD_MODE=""']
    output = run_tool(command + ["--"] + flags).stdout
    for path, line, what in re.findall(r"^([^:\n]+):(\d+):\d+: (?:warning|error): (.*)$", output, re.MULTILINE):
        tree.report(os.path.relpath(path), int(line), "tidy", what, "mend it, or say why not: // NOLINT(ID): reason")


# Off: what reports sound code, and is judged better by the compiler's own warnings.
CPP_SUPPRESSIONS = ["missingIncludeSystem", "unmatchedSuppression", "normalCheckLevelMaxBranches",
                    "arrayIndexThenCheck", "uninitvar", "autoVariables"]
TIDY_CHECKS = ["-*", "bugprone-*", "misc-redundant-expression"] + ["-bugprone-" + name for name in (
    "easily-swappable-parameters", "narrowing-conversions", "reserved-identifier", "sizeof-expression",
    "not-null-terminated-result", "implicit-widening-of-multiplication-result", "suspicious-string-compare",
    "macro-parentheses", "misplaced-widening-cast")]

RULES = {
    "includes": (check_includes, "includes go one way and start at the top of the tree"),
    "door": (check_door, "under allocators/ only lib/os.c makes memory system calls"),
    "objects": (check_objects, "a design's object has no writable data and refers to a short list"),
    "sizes": (check_sizes, "allocators, files and functions have a greatest length"),
    "header": (check_header, "a file begins by naming itself"),
    "leftovers": (check_leftovers, "nothing left to do, no commented-out code"),
    "paths": (check_paths, "no path of one machine"),
    "targets": (check_targets, "every make target that a document names exists"),
    "shell": (check_shell, "shellcheck"),
    "python": (check_python, "pyflakes"),
    "cppcheck": (check_cpp, "cppcheck"),
    "tidy": (check_tidy, "clang-tidy, the checks for bugs"),
}


def main():
    listing = "\n".join(f"  {name:<10} {what}" for name, (_, what) in RULES.items())
    parser = argparse.ArgumentParser(prog="scripts/lint.py", description="Checks the rules of the tree.",
                                     epilog=f"rules:\n{listing}",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release", help="the release build's folder")
    parser.add_argument("--only", help="rules to check, with commas between")
    options = parser.parse_args()
    chosen = options.only.split(",") if options.only else list(RULES)
    for name in chosen:
        if name not in RULES:
            parser.error(f"no rule '{name}'; there are: {', '.join(RULES)}")
    tree = Tree(options.build)
    for name in chosen:
        RULES[name][0](tree)
    for _, _, message in sorted(set(tree.findings)):
        print(message)
    count = len(set(tree.findings))
    print(f"lint: {count} finding{'s' if count != 1 else ''}" if count else "lint: clean")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
