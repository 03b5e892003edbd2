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
        self.state = [0, 0, 0, 0, 0]  # records, objects, scopes, threads, clock
        while at < index_at:
            block = Block(data, at)
            at = block.end
            if block.type == b"META":
                lines = block.columns[32].decode().split("\n")
                self.meta.update(line.split("=", 1) for line in lines[:-1])
            elif block.type == b"OPS ":
                self.tags |= set(block.columns)
                blocks.append((block.offset, block.records) + struct.unpack("<5Q", block.columns[1][:40]))
                self.read_ops(block)
        index = Block(data, index_at)
        self.totals = struct.unpack_from(f"<{len(TOTALS) + len(KINDS)}Q", index.columns[48])
        rows = [row for row in struct.iter_unpack("<7Q", index.columns[49])]
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

    def test_generated(self):
        for workload in "random:ops=70k,live=3k", "request:requests=600,threads=2", "prodcons:ops=30k":
            with self.subTest(workload):
                self.alloclab("gen", workload, "-o", self.path)
                self.assertGreater(self.check().count("\n"), 10000)


if __name__ == "__main__":
    unittest.main()
