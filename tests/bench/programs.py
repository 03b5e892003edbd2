"""programs.py - `make bench-programs`: real programs on each allocator, measured by `alloclab programs`.

    programs.py [--blocks 10] [--seed N] [--out DIR] [--programs python,redis,..] [ALLOCATOR ..]

The programs are those of the drop-in tests (tests/dropin/tasks.py). What they read is made before, on the C library, in a
folder that is removed at the end; each run writes over what the one before it made. Without allocators: glibc, the rivals
that are installed, and segfit.
"""
import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "dropin"))
import tasks  # noqa: E402
from dropin import ALLOCLAB, TOP  # noqa: E402

DESIGNS = ["segfit"]


def write(path, data):
    with open(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())
    return path


def command(folder, task, tail=""):
    """The task as a line for sh, run in the folder; a script of several lines becomes a file there."""
    environment, words = task
    words = list(words)
    for at, word in enumerate(words):
        if "\n" in word:  # follows -c or -e
            words[at - 1:at + 1] = [write(os.path.join(folder, "script"), word)]
            break
    variables = shlex.join(f"{k}={v}" for k, v in environment.items())
    return f"cd {shlex.quote(folder)} && {'exec env ' + variables if variables else 'exec'} {shlex.join(words)}{tail}"


def sqlite_command(folder):
    write(os.path.join(folder, "items.sql"),  # in memory: what a disk does is no allocator's doing
          ".open :memory:\n" + 12 * ("drop table if exists item;\n" + tasks.SQL_SCRIPT))
    return command(folder, tasks.SQLITE, " < items.sql")


def git_command(folder):
    environment = {**tasks.GIT_ENVIRONMENT, "HOME": folder}

    def git(*words):
        subprocess.run(["git", *words], cwd=folder, env={**os.environ, **environment}, check=True)

    git("init", "-q", "-b", "main")
    for name in ("allocators", "harness", "tests", "docs"):
        shutil.copytree(TOP / name, os.path.join(folder, name))
    git("add", ".")
    git("commit", "-q", "-m", "all")
    return command(folder, (environment, tasks.REPACK[1]))


def pigz_command(folder):
    write(os.path.join(folder, "data"), tasks.pigz_input(2000))
    return command(folder, tasks.PIGZ, " < data")


def redis_command(folder):
    """The server, its benchmark, and the end of both."""
    socket = os.path.join(folder, "s")
    server, load = (shlex.join(words) for words in (tasks.redis_server(socket, folder), tasks.redis_benchmark(socket, 4000)))
    stop = shlex.join(["redis-cli", "-s", socket, "shutdown", "nosave"])
    return f"{server} & until [ -S {socket} ]; do sleep 0.01; done; {load} && {stop}; wait $!"


PROGRAMS = {
    "python": lambda folder: command(folder, tasks.python(12)),
    "perl": lambda folder: command(folder, tasks.perl(300000)),
    "sqlite": sqlite_command,
    "gcc": lambda folder: command(folder, tasks.GCC),
    "g++": lambda folder: command(folder, tasks.GXX),
    "git-repack": git_command,
    "pigz": pigz_command,
    "redis": redis_command,
}


def rivals_installed():
    listed = subprocess.run([ALLOCLAB, "list", "rivals"], check=True, capture_output=True, text=True).stdout
    return [line.split()[0] for line in listed.splitlines() if line.split(None, 1)[1].startswith("/")]


def list_write(names, folder):
    lines = []
    for name in names:
        own = os.path.join(folder, name)
        os.mkdir(own)
        lines.append(f"{name} {PROGRAMS[name](own)}\n")
    return write(os.path.join(folder, "list"), "".join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("allocators", nargs="*", metavar="ALLOCATOR")
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100000)
    parser.add_argument("--out", default=time.strftime("out/programs-%Y%m%d-%H%M%S", time.gmtime()))
    parser.add_argument("--programs", default=",".join(PROGRAMS))
    arguments = parser.parse_args()
    names = arguments.programs.split(",")
    unknown = [name for name in names if name not in PROGRAMS]
    if unknown:
        parser.error(f"--programs: '{unknown[0]}' is none of {', '.join(PROGRAMS)}")
    allocators = arguments.allocators or ["glibc", *rivals_installed(), *DESIGNS]
    with tempfile.TemporaryDirectory(prefix="alloclab-programs-") as folder:
        done = subprocess.run([ALLOCLAB, "programs", "-a", ",".join(allocators), "-w", list_write(names, folder), "-o",
                               arguments.out, "-r", str(arguments.blocks), "--seed", str(arguments.seed), "--thp",
                               os.environ.get("ALLOCLAB_THP", "asis")], check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
