"""test_trace_spec.py - a reader of trace files that was written from docs/traces.md alone, held against the program.

It shares no code with alloclab: integers, varints and columns are taken apart here, and only Zstandard and XXH64 come
from their C libraries. If the document and the program part ways, this fails.
"""

import ctypes
import os
import shutil
import struct
import subprocess
import tempfile
import unittest

ALLOCLAB = os.path.abspath(os.environ["ALLOCLAB"])
KINDS = ["alloc", "calloc", "aligned", "realloc", "free", "scope_begin", "scope_end", "scope_switch", "thread_begin",
         "thread_end", "live"]
FAILED, NULL, SIZED, ENDS = 1, 2, 4, 8
ALLOC, CALLOC, ALIGNED, REALLOC, FREE, BEGIN, END, SWITCH, THREAD_BEGIN, THREAD_END, LIVE = range(11)
TOTALS = ["records", "ops", "failed", "null_frees", "null_reallocs", "sized_frees", "objects", "threads", "scopes",
          "peak_live_objects", "peak_live_bytes", "end_live_objects", "end_live_bytes", "allocated_bytes"]

zstd = ctypes.CDLL("libzstd.so.1")
zstd.ZSTD_decompress.restype = ctypes.c_size_t
zstd.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
xxhash = ctypes.CDLL("libxxhash.so.0")
xxhash.XXH64.restype = ctypes.c_uint64
xxhash.XXH64.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]


def checksum(data):
    return xxhash.XXH64(data, len(data), 0)


def decompress(data, size):
    out = ctypes.create_string_buffer(size + 1)
    if zstd.ZSTD_decompress(out, size, data, len(data)) != size:
        raise ValueError("column does not decompress")
    return out.raw[:size]


def unsplit(data, size):
    """The varints of a split column, each in one piece again."""
    count, first = struct.unpack_from("<II", data)
    parts = [(data[8:8 + first], count), (data[8 + first:], size - count)]
    firsts, rest = (part if len(part) == raw else decompress(part, raw) for part, raw in parts)
    out, at = bytearray(), 0
    for byte in firsts:
        more = 0
        while more < 8 and byte >> more & 1:
            more += 1
        out.append(byte)
        out += rest[at:at + more]
        at += more
    if at != len(rest):
        raise ValueError("a split column has bytes left over")
    return bytes(out)


class Varints:
    """The varints of a column, one after another."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def next(self):
        first, n = self.data[self.at], 0
        while n < 8 and first >> n & 1:
            n += 1
        piece = self.data[self.at:self.at + n + 1]
        self.at += n + 1
        return int.from_bytes(piece[1:], "little") if n == 8 else int.from_bytes(piece, "little") >> (n + 1)


class Block:
    def __init__(self, data, offset):
        self.offset = offset
        (said, self.type, columns, body, self.records) = struct.unpack_from("<Q4sIQQ", data, offset)
        self.end = offset + 32 + body
        if checksum(data[offset + 8:self.end]) != said:
            raise ValueError(f"block at {offset}: checksum")
        self.columns, at = {}, offset + 32 + 12 * columns
        for i in range(columns):
            tag, codec, stored, raw = struct.unpack_from("<HHII", data, offset + 32 + 12 * i)
            piece = data[at:at + stored]
            if codec == 2 and tag not in (3, 4, 6, 7, 8, 9, 32771):
                raise ValueError(f"column {tag} cannot be split")
            self.columns[tag] = decompress(piece, raw) if codec == 1 else unsplit(piece, raw) if codec == 2 else piece
            at += stored
        if at != self.end:
            raise ValueError(f"block at {offset}: columns do not fill it")


SITE_KINDS = ["string", "module", "place", "frame", "site"]
SITE_COLUMNS = {66: (1, "name"), 67: (1, "build"), 68: (1, "path"), 69: (2, "module"), 70: (2, "offset"), 71: (2, "function"),
                72: (2, "file"), 73: (2, "line"), 74: (3, "caller"), 75: (3, "place"), 76: (4, "site"), 77: (4, "frame")}


def unzigzag(value):
    return value >> 1 ^ -(value & 1)


class Sites:
    """The five tables, row by row from 1; a string is its text."""

    def __init__(self):
        self.rows = [[], [], [], [], []]

    def read(self, block):
        numbers = struct.unpack("<10Q", block.columns[64][:80])
        if [len(rows) for rows in self.rows] != list(numbers[:5]) or sum(numbers[5:]) != block.records:
            raise ValueError(f"block at {block.offset}: rows")
        texts = block.columns.get(65, b"").decode().split("\n")
        if texts.pop() or len(texts) != numbers[5]:
            raise ValueError(f"block at {block.offset}: strings")
        self.rows[0] += texts
        columns = {tag: Varints(block.columns[tag]) for tag in SITE_COLUMNS if tag in block.columns}
        before = {}
        for kind in range(1, 5):
            for _ in range(numbers[5 + kind]):
                row = {}
                for tag, (of, name) in SITE_COLUMNS.items():
                    if of == kind:
                        value = columns[tag].next() if tag in columns else 0
                        if kind == 4:
                            before[tag] = value = (before.get(tag, 0) + unzigzag(value)) % 2**64
                        elif tag == 74:
                            value = len(self.rows[3]) + 1 - value
                        row[name] = value
                self.rows[kind].append(row)
        if any(column.at != len(column.data) for column in columns.values()):
            raise ValueError(f"block at {block.offset}: something is left over")

    def string(self, number):
        text = self.rows[0][number - 1] if number else ""
        return text.replace("\\", "\\\\").replace(" ", "\\s").replace("\t", "\\t")

    def lines(self):
        lines = []
        for n, row in enumerate(self.rows[1], 1):
            words = [f"module {n} {self.string(row['name'])}"]
            words += [f"{key}={self.string(row[key])}" for key in ("build", "path") if row[key]]
            lines.append(" ".join(words))
        for n, row in enumerate(self.rows[2], 1):
            words = [f"place {n}"] + ([f"module={row['module']}"] if row["module"] else [])
            words += [f"offset={row['offset'] - 1:#x}"] if row["offset"] else []
            words += [f"{key}={self.string(row[key])}" for key in ("function", "file") if row[key]]
            words += [f"line={row['line']}"] if row["line"] else []
            lines.append(" ".join(words))
        for n, row in enumerate(self.rows[3], 1):
            lines.append(f"frame {n} {row['place']}" + (f" caller={row['caller']}" if row["caller"] else ""))
        return lines + [f"site {row['site']} {row['frame']}" for row in self.rows[4]]


class Trace:
    def __init__(self, path):
        with open(path, "rb") as file:
            data = file.read()
        magic, version, reserved = struct.unpack_from("<8sII", data)
        if (magic, version, reserved) != (b"\x89ALT\r\n\x1a\n", 1, 0):
            raise ValueError("not a trace")
        index_at, index_sum, end_magic = struct.unpack_from("<QQ8s", data, len(data) - 24)
        if end_magic != b"ALTEND\r\n" or checksum(data[-24:-16]) != index_sum:
            raise ValueError("no trailer")
        self.meta, self.ops, self.tags, blocks, at = {}, [], set(), [], 16
        self.sites = Sites()
        self.state = [0, 0, 0, 0, 0]  # records, objects, scopes, threads, clock
        while at < index_at:
            block = Block(data, at)
            at = block.end
            if block.type == b"META":
                lines = block.columns[32].decode().split("\n")
                self.meta.update(line.split("=", 1) for line in lines[:-1])
            elif block.type == b"SITE":
                self.sites.read(block)
            elif block.type == b"OPS ":
                self.tags |= set(block.columns)
                blocks.append((block.offset, block.records) + struct.unpack("<5Q", block.columns[1][:40]))
                self.read_ops(block)
        index = Block(data, index_at)
        self.totals = struct.unpack_from(f"<{len(TOTALS) + len(KINDS)}Q", index.columns[48])
        self.table = rows = list(struct.iter_unpack("<7Q", index.columns[49]))
        if index.type != b"INDX" or index.end != len(data) - 24 or rows != blocks:
            raise ValueError("the index does not say what the blocks are")

    def read_ops(self, block):
        if list(struct.unpack("<5Q", block.columns[1][:40])) != self.state:
            raise ValueError(f"block at {block.offset}: base")
        _, objects, scopes, threads, clock = self.state
        columns = {tag: Varints(block.columns.get(tag, b"")) for tag in (3, 4, 6, 7, 8, 9, 32771)}
        before = objects
        align_at = left = thread = 0
        for code in block.columns[2]:
            kind, flags = code & 15, code >> 4
            size = scope = number = None
            align = 0
            if 6 in block.columns and left == 0:
                thread, left = columns[6].next(), columns[6].next()
            left -= 1
            threads = max(threads, thread + 1)
            makes = kind in (ALLOC, CALLOC, ALIGNED, LIVE) or kind == REALLOC and flags & NULL
            if makes and not flags & FAILED:
                number, objects = objects, objects + 1
            elif kind in (REALLOC, FREE) and not flags & NULL:
                if 32771 in block.columns:
                    value = columns[32771].next()
                    half = value >> 1
                    number = before + (half >> 1 ^ -(half & 1)) if value & 1 else objects - 1 - half
                else:
                    number = objects - 1 - columns[3].next()
                before = number
            if kind <= REALLOC or kind == LIVE or kind == FREE and flags & SIZED:
                size = columns[4].next()
            if kind in (ALIGNED, REALLOC) and 5 in block.columns:
                align = block.columns[5][align_at]
                align_at += 1
            if kind == BEGIN:
                scope, scopes = scopes, scopes + 1
            elif kind in (END, SWITCH):
                back = columns[7].next()
                scope = scopes - back if back else None
            if 8 in block.columns:
                step = columns[8].next()
                clock = (clock + (step >> 1 ^ -(step & 1))) % 2**64
            else:
                clock = 0
            site = columns[9].next() if 9 in block.columns else 0
            self.ops.append((thread, kind, flags, number, size, align, scope, clock, site))
        if any(column.at != len(column.data) for column in columns.values()) or left > 0:
            raise ValueError(f"block at {block.offset}: something is left over")
        self.state = [self.state[0] + block.records, objects, scopes, threads, clock]

    def text(self):
        """The text form, as docs/traces.md describes it."""
        lines = ["alloclab trace text 1"] + [f"meta {key}={value}" for key, value in self.meta.items()]
        lines += self.sites.lines()
        current = 0
        for thread, kind, flags, number, size, align, scope, clock, site in self.ops:
            if thread != current:
                lines.append(f"thread {thread}")
            current = thread
            words = [KINDS[kind]]
            if kind <= FREE or kind == LIVE:
                words.append("-" if number is None else str(number))
            if BEGIN <= kind <= SWITCH:
                words.append("-" if scope is None else str(scope))
            if size is not None:
                words.append(str(size))
            if kind == REALLOC and flags & NULL:
                words.append("null")
            if flags & ENDS:
                words.append("ends")
            if flags & FAILED:
                words.append("failed")
            if align or kind == ALIGNED:
                words.append(f"align={1 << align}")
            if clock:
                words.append(f"clock={clock}")
            if site:
                words.append(f"site={site}")
            lines.append(" ".join(words))
        return "\n".join(lines) + "\n"


HAND_MADE = """alloclab trace text 1
meta program=caf\u00e9 = x
meta seed=
module 1 a\\sprogram build=00ff10
module 2 libc.so.6 path=/usr/lib\\\\x/libc\\t.so
place 1 module=1 offset=0x0
place 2 module=2 offset=0x7ffffffffffffffe function=operator\\snew(unsigned\\slong)
place 3 function=f file=café.c line=4294967295
place 4
frame 1 1
frame 2 3 caller=1
frame 3 2 caller=2
frame 4 4 caller=1
frame 5 1 caller=4
site 3 3
site 18446744073709551615 5
site 1 2
live 0 0
live 1 1099511627775 site=18446744073709551615
alloc 2 24 clock=1000
calloc 3 127 clock=900 site=3
aligned 4 128 align=1 clock=18446744073709551615
aligned 5 16384 align=1099511627776
aligned - 5 failed align=9223372036854775808
realloc 2 4096 align=64
realloc 6 2097152 null
realloc - 268435456 null failed
realloc 3 72057594037927935 failed
realloc 6 0 ends
alloc - 18446744073709551615 failed
free -
free - 7
free 3 72057
free 0
thread 1
thread_begin
scope_begin 0
scope_begin 1
thread 0
scope_switch 0
scope_begin 2
scope_switch -
scope_end 1
thread 1
scope_end 2
free 5 site=1
thread_end
thread 2
free 2 clock=5
"""


class Spec(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="alloclab-spec-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = os.path.join(self.folder, "x.trace")

    def alloclab(self, *arguments):
        done = subprocess.run([ALLOCLAB, *arguments], capture_output=True, timeout=120, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""), arguments)
        return done.stdout.decode()

    def check(self):
        trace = Trace(self.path)
        text = trace.text()
        self.assertEqual(self.alloclab("trace", "cat", self.path), text)
        info = self.alloclab("trace", "info", self.path).splitlines()
        info = {line.partition(" ")[0]: line.partition(" ")[2].strip() for line in info}
        for name, value in zip(TOTALS + KINDS, trace.totals):
            self.assertEqual(info[name], str(value), name)
        return text

    def test_hand_made(self):
        source = os.path.join(self.folder, "x.txt")
        with open(source, "w", encoding="utf-8") as file:
            file.write(HAND_MADE)
        self.alloclab("trace", "convert", source, "-o", self.path)
        self.assertEqual(self.check(), HAND_MADE)

    def test_empty(self):
        source = os.path.join(self.folder, "x.txt")
        with open(source, "w", encoding="utf-8") as file:
            file.write("alloclab trace text 1\n")
        self.alloclab("trace", "convert", source, "-o", self.path)
        self.assertEqual(self.check(), "alloclab trace text 1\n")

    def test_older_and_newer(self):
        """A sample, written before there were references, is read the same, and written anew with them."""
        sample, text = "traces/samples/sqlite.trace", os.path.join(self.folder, "x.txt")
        with open(text, "w", encoding="utf-8") as file:
            file.write(self.alloclab("trace", "cat", sample))
        self.alloclab("trace", "convert", text, "-o", self.path)
        old, new = Trace(sample), Trace(self.path)
        self.assertTrue(old.ops == new.ops)
        self.assertEqual((old.tags & {3, 32771}, new.tags & {3, 32771}), ({3}, {32771}))

    def test_many_sites(self):
        """More rows than a block holds."""
        source = os.path.join(self.folder, "x.txt")
        lines = ["alloclab trace text 1"] + [f"module {n + 1} lib{n}.so" for n in range(100)]
        lines += [f"place {n + 1} module={n % 100 + 1} offset={n * n:#x}" for n in range(20000)]
        lines += [f"frame {n} {n % 20000 + 1}" + (f" caller={n - n % 9 - 1}" if n > 9 else "") for n in range(1, 50000)]
        lines += [f"site {n * n} {n}" for n in range(1, 40000)]
        lines += [f"alloc {n} 8 site={n * n}" if n else "alloc 0 8" for n in range(40000)]
        with open(source, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        self.alloclab("trace", "convert", source, "-o", self.path)
        self.assertEqual(self.check(), "\n".join(lines) + "\n")

    def test_generated(self):
        for workload in "random:ops=70k,live=3k", "request:requests=600,threads=2", "prodcons:ops=30k":
            with self.subTest(workload):
                self.alloclab("gen", workload, "-o", self.path)
                self.assertGreater(self.check().count("\n"), 10000)


if __name__ == "__main__":
    unittest.main()
