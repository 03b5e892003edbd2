"""test_witness.py - the recorder held against a witness that is not ours: glibc's libmemusage counts the same program's calls, in a run
of its own, and the numbers must be equal.

One difference there must be: the witness does not see aligned allocations, nor the frees and reallocs of their blocks
(it knows its own blocks by a header before them). They are taken out of our counts. It would not see calls after its
own destructor either, but these programs make none.

Both runs get the same environment but for LD_PRELOAD, and no address randomisation, because programs copy the one and
order tables by the other.
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ALLOCLAB = os.path.abspath(os.environ["ALLOCLAB"])
TOP = pathlib.Path(__file__).resolve().parents[2]
WITNESS = "/usr/lib/x86_64-linux-gnu/libmemusage.so"
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "PERL_HASH_SEED": "0",
               "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONMALLOC": "malloc"}
SQL = """create table t(a integer primary key, b text, c int); create index i on t(c);
with recursive n(x) as (select 1 union all select x + 1 from n where x < 3000)
insert into t select x, 'text number ' || (x * 7919 % 1000), x % 17 from n;
select c, count(*), group_concat(distinct b) from t group by c;
delete from t where c in (3, 5); vacuum; pragma integrity_check;
"""
PYTHON = """
import collections, json, re
words = re.findall(r"[a-z]+", " ".join(f"the {i % 37} quick {'x' * (i % 9)} foxes jump over {i}" for i in range(3000)))
counts = collections.Counter(words)
table = {w: [i for i, v in enumerate(words) if v == w][:50] for w in counts}
print(len(json.dumps(json.loads(json.dumps(table)), indent=1, sort_keys=True)))
"""


def counts_of_trace(path):
    """Calls by the witness's names, without what it cannot see."""
    text = subprocess.run([ALLOCLAB, "trace", "cat", path], check=True, capture_output=True,
                          text=True).stdout.splitlines()
    aligned, counts = set(), dict.fromkeys(("malloc", "realloc", "calloc", "free"), 0)
    for line in text[1:]:
        words = line.split()
        kind = {"alloc": "malloc"}.get(words[0], words[0])
        if kind == "aligned":
            aligned.add(words[1])
        elif kind in counts and words[1] not in aligned:
            counts[kind] += 1
    return counts


def counts_of_witness(table):
    table = re.sub(r"\x1b\[[0-9;]*m", "", table)
    return {kind: int(re.search(rf"^ *{kind}\| +(\d+)", table, re.M).group(1))
            for kind in ("malloc", "realloc", "calloc", "free")}


@unittest.skipUnless(os.path.exists(WITNESS), f"{WITNESS} (package libc6) is missing")
class WitnessTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="alloclab-witness-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def compare(self, command, script="", least=1000):
        command = [str(word) for word in command]
        if not shutil.which(command[0]):
            self.skipTest(f"{command[0]} is not installed")
        trace = self.folder / "t.trace"
        run = subprocess.run(
            ["setarch", "-R", ALLOCLAB, "record", "--clock=no", "--children=skip", "-o", trace, "--", *command],
            input=script, capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("ended with exit status 0", run.stderr)
        # The recorder's variables are there too: a program may copy its environment.
        env = {**ENVIRONMENT, "ALLOCLAB_RECORD_DIR": "x", "ALLOCLAB_RECORD_CLOCK": "no", "ALLOCLAB_RECORD_TICKS": "1",
               "ALLOCLAB_RECORD_ONLY": "1", "LD_PRELOAD": WITNESS}
        witness = subprocess.run(["setarch", "-R", *command], input=script, capture_output=True,
                                 text=True, env=env, timeout=60)
        self.assertEqual(witness.stdout, run.stdout)
        for check in (["trace", "check", trace], ["check", "-w", trace]):  # the second: on every allocator
            done = subprocess.run([ALLOCLAB, *check], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        ours = counts_of_trace(trace)
        self.assertEqual(ours, counts_of_witness(witness.stderr))
        self.assertGreater(sum(ours.values()), least)

    def test_sqlite(self):
        self.compare(["sqlite3", ":memory:"], SQL)

    def test_python(self):
        self.compare(["/usr/bin/python3", "-S", "-E", "-c", PYTHON])

    def test_perl(self):
        self.compare(["perl", TOP / "traces/samples/src/logs.pl", "300"])

    def test_gcc(self):
        cc1 = subprocess.run(["gcc", "-print-prog-name=cc1"], capture_output=True, text=True).stdout.strip()
        arch = subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True).stdout.strip()
        self.compare([cc1, "-quiet", "-imultiarch", arch, "-O1", f"-I{TOP}", "-frandom-seed=1",
                      TOP / "traces/address_map.c", "-o", "/dev/null"])

    def program(self, name):
        source = TOP / "tests/record/programs" / name
        compiler = "g++" if source.suffix == ".cpp" else "gcc"
        subprocess.run([compiler, "-O1", "-w", "-fno-builtin", "-pthread", f"-I{TOP}", "-o",
                        self.folder / source.stem, source], check=True)
        return self.folder / source.stem

    def test_threads(self):
        self.compare([self.program("churn.c")], least=200000)
        self.compare([self.program("threads.c")], least=40000)

    def test_every_entry_point(self):
        self.compare([self.program("entry_points.c")], least=10)
        self.compare([self.program("sized_delete.cpp")], least=7)


if __name__ == "__main__":
    unittest.main()
