"""recording.py - what the suites share that interfere with a recording under way: a test program of their own, and its process."""
import pathlib
import shutil
import subprocess
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]


def compile_for(case, name):
    """The folder that holds tests/record/programs/NAME.c, compiled, until the test case's class is done."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"alloclab-{name}-"))
    case.addClassCleanup(shutil.rmtree, folder)
    subprocess.run(["gcc", "-O1", "-fno-builtin", "-w", "-pthread", f"-I{TOP}", "-o", folder / name,
                    TOP / f"tests/record/programs/{name}.c"], check=True)
    return folder


def child_of(run):
    """The number of the process that a running `alloclab record` has started."""
    return int(pathlib.Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()[0])
