"""test_programs.py - real programs on the drop-in libraries: what they make must be what they make on the C library's
malloc, byte for byte. segfit runs them all; the other designs run a few, and all of them under TEST_FULL.

run.py: modes=release timeout=240
"""

import hashlib
import pathlib
import shutil
import subprocess
import sys
import time
import unittest

from dropin import DESIGNS, DropinTest, FULL, PROGRAMS, TOP, on

PYTHON_SCRIPT = """
import collections, json, random, re, threading, zlib
def work(n, out):
    rng = random.Random(n)
    words = [''.join(rng.choices('abcdefgh', k=rng.randrange(1, 30))) for _ in range(1500)]
    table = collections.defaultdict(list)
    for word in words:
        table[word[:2]].append(word)
    text = json.dumps({key: sorted(set(value)) for key, value in sorted(table.items())})
    out[n] = zlib.crc32(text.encode()), len(re.findall('[a-d]+', text)), sum(json.loads(text) == {} for _ in range(3))
out = {}
for round in range(2):
    threads = [threading.Thread(target=work, args=(4 * round + n, out)) for n in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
print(sorted(out.items()))
"""

PERL_SCRIPT = r"""
my (%count, @lines);
for my $i (1 .. 40000) {
    my $word = join '-', map { ($i * $_ * 7919) % 613 } 1 .. ($i % 5 + 1);
    $count{$word}++;
    push @lines, "$word " . ('.' x ($i % 200)) if $i % 7 == 0;
}
@lines = sort { length($a) <=> length($b) or $a cmp $b } @lines;
s/(\d+)-(\d+)/$2+$1/g for @lines;
printf "%d %d %s\n", scalar(keys %count), scalar(@lines), unpack('%32C*', join("\n", @lines));
print join("\n", (map { "$_=$count{$_}" } (sort keys %count)[0 .. 50])), "\n";
"""

SQL_SCRIPT = """
create table item (id integer primary key, name text, body blob, size int);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 6000)
insert into item select i, 'name ' || (i * 7919 % 10007), zeroblob(i % 300), i % 97 from n;
create index item_name on item (name);
update item set body = hex(body) where id % 5 = 0;
delete from item where id % 3 = 0;
select size, count(*), sum(length(body)), min(name), max(name) from item group by size order by size;
select group_concat(name, ',') from (select name from item order by name desc limit 300);
select count(*) from item a join item b on a.name = b.name and a.id < b.id;
pragma integrity_check;
"""

GIT_ENVIRONMENT = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b.c",
                   "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b.c", "GIT_PAGER": "cat",
                   "GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z"}


def hash_of(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


class ProgramsTest(DropinTest):
    def compare(self, task, few=False):
        """Runs task(design) on the C library (None), and then on designs, each in a folder of its own."""
        wanted = self.task_result(task, None)
        self.assertTrue(wanted)
        for design in DESIGNS if FULL or few else ["segfit"]:
            with self.subTest(design=design):
                self.assertEqual(self.task_result(task, design), wanted)

    def task_result(self, task, design):
        self.here = self.folder()
        return task(design)

    def run_on(self, design, *words, **more):
        return self.execute([*on(design), *words], cwd=self.here, **more)

    def test_python(self):
        self.compare(lambda design: self.run_on(design, sys.executable, "-c", PYTHON_SCRIPT,
                                                env={"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"}), few=True)

    def test_perl(self):
        self.compare(lambda design: self.run_on(design, "perl", "-e", PERL_SCRIPT, env={"PERL_HASH_SEED": "0"}))

    def test_sqlite(self):
        def task(design):
            answers = self.run_on(design, "sqlite3", "items.db", input=SQL_SCRIPT.encode())
            return answers, self.run_on(design, "sqlite3", "items.db", ".dump")

        self.compare(task, few=True)

    def test_gcc_makes_the_same_object(self):
        def task(design):
            self.run_on(design, "gcc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-frandom-seed=1", f"-I{TOP}", "-c",
                        TOP / "allocators/tlsf.c", "-o", "made.o")
            return hash_of(self.here / "made.o")

        self.compare(task)

    def test_gxx_and_what_it_made(self):
        def task(design):
            self.run_on(design, "g++", "-std=c++17", "-pthread", "-frandom-seed=1", PROGRAMS / "words.cpp", "-o", "words")
            return self.run_on(design, self.here / "words"), hash_of(self.here / "words")

        self.compare(task)

    def test_git(self):
        def git(design, *words):
            return self.run_on(design, "git", *words, env={**GIT_ENVIRONMENT, "HOME": str(self.here)})

        def task(design):
            git(design, "init", "-q", "-b", "main")
            for commit in range(2):
                for folder in ("allocators", "harness"):
                    shutil.copytree(TOP / folder, self.here / folder, dirs_exist_ok=True)
                (self.here / "allocators/libc.c").write_text("changed\n" * commit)
                git(design, "add", ".")
                git(design, "commit", "-q", "-m", f"commit {commit}")
            git(design, "repack", "-q", "-a", "-d", "-f", "--threads=2")
            return git(design, "log", "--stat", "-p", "--", "allocators/libc.c"), git(design, "fsck", "--full")

        self.compare(task)

    def test_a_compressor_with_threads(self):
        def task(design):
            data = b"".join((TOP / path).read_bytes() for path in ("allocators/segfit.c", "Makefile")) * 60
            packed = self.run_on(design, "pigz", "-c", "-n", "-p", "4", "-b", "128", input=data)
            self.assertEqual(self.run_on(design, "pigz", "-d", "-c", input=packed), data)
            return hashlib.sha256(packed).hexdigest()

        self.compare(task, few=True)


class RedisTest(DropinTest):
    COMMANDS = "\n".join(
        [f"set key:{i} {'v' * (i * 37 % 900)}" for i in range(300)] + [f"rpush list {i * 7919 % 1009}" for i in range(500)]
        + ["append key:7 tail", "strlen key:7", "sort list limit 0 5", "sort list desc limit 0 5", "llen list",
           "eval 'local t = 0 for i = 1, 20000 do t = t + #tostring(i) end return t' 0", "get key:299"]) + "\n"

    def server_start(self, design, folder):
        socket = folder / "redis.sock"
        server = subprocess.Popen([*on(design), "redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "",
                                   "--dir", str(folder), "--daemonize", "no"], stdout=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        end = time.monotonic() + 20
        while not socket.exists() and server.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        self.assertTrue(socket.exists(), f"redis-server on {design}: no socket; status {server.poll()}")
        return server, str(socket)

    def task_result(self, design):
        server, socket = self.server_start(design, self.folder())
        self.execute([*on(design), "redis-benchmark", "-s", socket, "-q", "-n", "4000" if FULL else "1000", "-c", "10",
                      "-d", "300", "-r", "500", "-t", "set,get,lpush,lpop,sadd,hset,zadd,lrange_100,mset"])
        self.execute(["redis-cli", "-s", socket, "flushall"])
        answers = self.execute(["redis-cli", "-s", socket], input=self.COMMANDS.encode())
        self.assertIn(b"\nPONG", b"\n" + self.execute(["redis-cli", "-s", socket, "ping"]))
        saved = self.execute(["redis-cli", "-s", socket, "save"])  # walks all that is there
        self.execute(["redis-cli", "-s", socket, "shutdown", "nosave"])
        self.assertEqual(server.wait(20), 0)
        return answers, saved

    def test_redis_and_its_benchmark(self):
        wanted = self.task_result(None)
        self.assertIn(b"\n500\n", wanted[0])  # the list's length: the commands were taken
        for design in DESIGNS if FULL else ["segfit"]:
            with self.subTest(design=design):
                self.assertEqual(self.task_result(design), wanted)


if __name__ == "__main__":
    unittest.main()
