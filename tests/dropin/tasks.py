"""tasks.py - the real programs that run on the drop-in libraries: what they are told, once, for the tests (they must make what
they make on the C library) and for `make bench-programs`. A task is (environment, words)."""

import sys

from dropin import PROGRAMS, TOP

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
for round in range(ROUNDS):
    threads = [threading.Thread(target=work, args=(4 * round + n, out)) for n in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
print(sorted(out.items()))
"""

PERL_SCRIPT = r"""
my (%count, @lines);
for my $i (1 .. WORDS) {
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

SQLITE = ({}, ["sqlite3", "items.db"])  # reads SQL_SCRIPT
GCC = ({}, ["gcc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-frandom-seed=1", f"-I{TOP}", "-c", f"{TOP}/allocators/tlsf.c", "-o",
            "made.o"])
GXX = ({}, ["g++", "-std=c++17", "-pthread", "-frandom-seed=1", f"{PROGRAMS}/words.cpp", "-o", "words"])
REPACK = (GIT_ENVIRONMENT, ["git", "repack", "-q", "-a", "-d", "-f", "--threads=2"])
PIGZ = ({}, ["pigz", "-c", "-n", "-p", "4", "-b", "128"])  # reads pigz_input()


def python(rounds=2):
    return {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"}, [sys.executable, "-c",
                                                               PYTHON_SCRIPT.replace("ROUNDS", str(rounds))]


def perl(words=40000):
    return {"PERL_HASH_SEED": "0"}, ["perl", "-e", PERL_SCRIPT.replace("WORDS", str(words))]


def pigz_input(copies=60):
    return b"".join((TOP / path).read_bytes() for path in ("allocators/segfit.c", "Makefile")) * copies


def redis_server(socket, folder):
    return ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder), "--daemonize", "no"]


def redis_benchmark(socket, requests):
    return ["redis-benchmark", "-s", str(socket), "-q", "-n", str(requests), "-c", "10", "-d", "300", "-r", "500", "-t",
            "set,get,lpush,lpop,sadd,hset,zadd,lrange_100,mset"]
