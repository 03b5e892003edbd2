"""test_trace.py - `alloclab trace` as a user meets it: imports of hand-written files; messages with file and line; exit
status; nothing lost."""

import ctypes
import gzip
import mmap
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from trace_cli import ALLOCLAB, FIXTURES, TraceTest  # noqa: E402


class Import(TraceTest):
    def test_android(self):
        self.convert("android", "android.txt", lines="17", ops="16", unknown_frees="0", first_odd_line=None)

    def test_android_oddities(self):
        self.convert("android", "android-odd.txt", lines="9", unknown_frees="2", unknown_reallocs="1",
                     double_allocs="2", first_odd_line="1")

    def test_android_times(self):
        self.convert("android", "android-times.txt", ops="3")

    def test_rep_classic(self):
        self.convert("rep", "classic.rep", ops="12", unknown_reallocs="0", first_odd_line=None)

    def test_rep_64_bit_edition(self):
        self.convert("rep", "wide.rep", unknown_frees="2", unknown_reallocs="1", double_allocs="1", first_odd_line="6")

    def test_gzip(self):
        with open(os.path.join(FIXTURES, "classic.rep"), "rb") as file:
            data = file.read()
        packed = self.path("x.rep.gz")
        with open(packed, "wb") as file:
            file.write(gzip.compress(data))
        self.ok("convert", "--from", "rep", packed, "-o", self.path("x.trace"))
        with open(os.path.join(FIXTURES, "classic.expected"), encoding="utf-8") as file:
            self.assertEqual(self.ok("cat", self.path("x.trace")), file.read())
        with open(packed, "wb") as file:
            file.write(gzip.compress(data * 1000)[:-20])
        done = self.run_cli("convert", "--from", "rep", packed, "-o", self.path("x.trace"))
        self.assertEqual(done.returncode, 2)
        self.assertIn(f"{packed}: line ", done.stderr)

    def test_strict(self):
        source = os.path.join(FIXTURES, "android-odd.txt")
        self.import_refused(f"alloclab trace convert: {source}: line 1: free of an address that is not live: 0x5000",
                            "convert", "--from", "android", "--strict", source, "-o", self.path("x.trace"))
        source = os.path.join(FIXTURES, "wide.rep")
        self.import_refused(f"alloclab trace convert: {source}: line 6: alloc of an id that is live: 0",
                            "convert", "--from", "rep", "--strict", source, "-o", self.path("x.trace"))
        self.assertEqual(os.listdir(self.folder), [])

    def test_malformed_lines(self):
        head = "100\n2\n3\n1\n"
        rows = [
            ("android", "x\n", "line 1: 'x' is not a thread: TID: is expected"),
            ("android", "1: malloc 0x10 5\n1: mallok 0x20 5\n",
             "line 2: 'mallok' is not a call: malloc, calloc, memalign, realloc, free or thread_done is expected"),
            ("android", "1: malloc 0x10\n", "line 1: the size is missing"),
            ("android", "1: malloc 10 5\n", "line 1: address '10' is not an address: 0x and hex digits are expected"),
            ("android", "1: malloc 0x10 -5\n", "line 1: size '-5' is not a number: digits 0 to 9 are expected"),
            ("android", "1: malloc 0x10 5 7\n", "line 1: the end time is missing"),
            ("android", "1: malloc 0x10 5 7 8 9\n", "line 1: '9' is not expected here"),
            ("android", "1: malloc 0x11111111111111111 5\n",
             "line 1: address '0x11111111111111111' does not fit into 64 bits"),
            ("android", "1: calloc 0x10 4294967296 4294967296\n",
             "line 1: the product overflows, and yet the call returned memory"),
            ("android", "1: malloc 0x10 1099511627776\n", "line 1: record 0: size 1099511627776 exceeds the limit of "
             "1099511627775 bytes of a call that did not fail"),
            ("rep", "100\n2\n", "line 3: the header of 4 lines ends too early"),
            ("rep", "100\n2\n3\nx\n",
             "line 4: last number of the header 'x' is not a number: digits 0 to 9 are expected"),
            ("rep", head + "a 2 5\n", "line 5: id 2: the header says that there are 2"),
            ("rep", head + "a 0 5\nf -2\n", "line 6: id '-2' is not a number: digits 0 to 9 are expected"),
            ("rep", head + "a 0 5\nb 0\n", "line 6: 'b' is not a request: a, r or f is expected"),
            ("rep", head + "a 0\n", "line 5: the size is missing"),
            ("rep", head + "f 0 5\n", "line 5: '5' is not expected here"),
            ("rep", head + "a 0 5\n", "line 5: 1 requests: the header says 3"),
        ]
        self.refuse_texts(rows)


def counted(text):
    """Allocations, bytes, peak and what is left of a trace as text: in all, by size, and by site."""
    live, rows = {}, {}

    def add(keys, size, called):
        for key in keys:
            row = rows.setdefault(key, [0, 0, 0, 0])
            row[0] += called
            row[1] += size if called else 0
            row[3] += size
            row[2] = max(row[2], row[3])

    def end(number):
        keys, size = live.pop(number)
        for key in keys:
            rows[key][3] -= size

    for line in text.splitlines()[1:]:
        words = line.split()
        if words[0] in ("meta", "thread", "#") or words[0].startswith(("scope", "thread")):
            continue
        number, site = words[1], next((w[5:] for w in words if w.startswith("site=")), "0")
        if "failed" in words or number == "-":
            continue
        if words[0] == "free" or (words[0] == "realloc" and "null" not in words):
            end(number)
        if words[0] != "free" and "ends" not in words:
            live[number] = [("all", "0"), ("size", words[2]), ("site", site)], int(words[2])
            add(*live[number], words[0] != "live")
    return rows


class Diff(TraceTest):
    ONE = ("alloclab trace text 1\nlive 0 5\nalloc 1 5 site=3\nalloc 2 7 site=3\nrealloc 2 9 site=4\nfree 1\nalloc 3 9\n"
           "realloc - 8 null failed\nrealloc 4 8 null\nrealloc 4 0 ends\ncalloc - 9 failed\n")
    TWO = "alloclab trace text 1\nalloc 0 5 site=3\nthread 1\nalloc 1 100 site=9\nfree 1\nrealloc 0 0\nfree -\n"

    def trace(self, name, text):
        trace = self.path(name + ".trace")
        self.ok("convert", self.path(name + ".txt", text), "-o", trace)
        return trace

    def rows(self, *traces):
        lines = self.ok("diff", "--csv", *traces).splitlines()
        self.assertEqual(lines[0], "by,key,allocations_a,allocations_b,bytes_a,bytes_b,peak_bytes_a,peak_bytes_b,"
                         "left_bytes_a,left_bytes_b,place")
        words = [line.split(",") for line in lines[1:]]
        return {(w[0], w[1]): [int(n) for n in w[2:10]] for w in words}

    def agrees(self, one, two):
        texts = [counted(self.ok("cat", trace)) for trace in (one, two)]
        if not any(by == "site" and key != "0" for rows in texts for by, key in rows):
            texts = [{key: row for key, row in rows.items() if key[0] != "site"} for rows in texts]
        expected = {key: [n for pair in zip(*(rows.get(key, [0] * 4) for rows in texts)) for n in pair]
                    for key in {**texts[0], **texts[1]}}
        self.assertEqual(self.rows(one, two), expected)

    def test_by_hand(self):
        one, two = self.trace("1", self.ONE), self.trace("2", self.TWO)
        self.assertEqual(self.rows(one, two)[("all", "0")], [5, 3, 38, 105, 31, 105, 23, 0])
        self.agrees(one, two)
        self.agrees(two, one)

    def test_recordings(self):
        samples = os.path.join(os.path.dirname(FIXTURES), os.pardir, "traces", "samples")
        self.agrees(os.path.join(samples, "sqlite.trace"), os.path.join(samples, "requests.trace"))

    def test_table(self):
        one, two = self.trace("1", self.ONE), self.trace("2", self.TWO)
        out = self.ok("diff", one, two, "--top", "2").splitlines()
        self.assertIn("         all           5           3          -2            +67           +74           -23", out)
        self.assertIn("by size: 6 of 6 differ", out)
        at = out.index("by size: 6 of 6 differ")
        self.assertEqual([line.split()[0] for line in out[at + 2:at + 5]], ["100", "9", ".."])
        self.assertIn("          .. 4 more: --top N", out)
        self.assertIn("by site: 4 of 4 differ", out)
        same = self.ok("diff", one, one)
        self.assertIn("by size: 0 of 4 differ", same)
        self.assertIn("by site: 0 of 3 differ", same)
        sites = self.trace("3", "alloclab trace text 1\nalloc 0 5\n")
        self.assertIn("by site: neither recording has call sites", self.ok("diff", sites, sites))
        empty = self.trace("4", "alloclab trace text 1\n")
        self.assertIn("by size: 0 of 0 differ", self.ok("diff", empty, empty))

    def test_refused(self):
        one, bad = self.trace("1", self.ONE), self.path("bad", "x" * 100)
        done = self.run_cli("diff", one, bad)
        self.assertEqual(done.returncode, 2)
        self.assertTrue(done.stderr.startswith(f"alloclab trace diff: {bad}: offset 0: "), done.stderr)
        self.refused("alloclab trace diff: --top x: a number of rows is expected, 0 for all", "diff", "--top", "x", one,
                     one)


class Export(TraceTest):
    def test_back_and_forth(self):
        """What a form can say comes back the same, but for the meta pairs that an import sets."""
        for form, fixture in ("android", "android.txt"), ("android", "android-times.txt"), ("rep", "classic.rep"):
            with self.subTest(fixture):
                first, second, again = self.path("1.trace"), self.path("2.txt"), self.path("3.trace")
                self.ok("convert", "--from", form, os.path.join(FIXTURES, fixture), "-o", first)
                report = self.ok("convert", "--to", form, first, "-o", second)
                self.assertEqual(self.fields(report)["dropped"], "0")
                self.ok("convert", "--from", form, "--strict", second, "-o", again)
                before, after = (
                    [line for line in self.ok("cat", trace).splitlines() if not line.startswith("meta rep.")]
                    for trace in (first, again)
                )
                self.assertEqual(before, after)

    def test_text_loses_nothing(self):
        for name in sorted(os.listdir(FIXTURES)):
            if not name.endswith(".expected"):
                continue
            with self.subTest(name):
                trace, text = self.path("1.trace"), self.path("2.txt")
                self.ok("convert", os.path.join(FIXTURES, name), "-o", trace)
                self.assertEqual(self.fields(self.ok("convert", "--to", "text", trace, "-o", text))["dropped"], "0")
                with open(text, encoding="utf-8") as after, open(os.path.join(FIXTURES, name), encoding="utf-8") as before:
                    self.assertEqual(after.read(), before.read())

    def test_what_a_form_cannot_say_is_counted(self):
        source = self.path("x.txt", "alloclab trace text 1\nlive 0 5\nalloc 1 5 site=3\nscope_begin 0\nfree 1 5\n"
                           "aligned 2 64 align=64\nrealloc 2 0\nscope_end 0\nfree 2\nrealloc 0 5 failed\n")
        android, rep = self.path("x.android"), self.path("x.rep")
        self.assertEqual(self.fields(self.ok("convert", "--to", "android", source, "-o", android))["dropped"], "5")
        self.assertEqual(self.fields(self.ok("convert", "--to", "rep", source, "-o", rep))["dropped"], "8")
        with open(android, encoding="utf-8") as file:
            self.assertEqual(file.read(), "1: malloc 0x10 5\n1: malloc 0x20 5\n1: free 0x20\n"
                             "1: memalign 0x30 64 64\n1: realloc 0x30 0x30 0\n1: free 0x30\n1: realloc 0x0 0x10 5\n")
        with open(rep, encoding="utf-8") as file:
            self.assertEqual(file.read(), "69\n3\n6\n1\na 0 5\na 1 5\nf 1\na 2 64\nr 2 1\nf 2\n")

    def test_one_foreign_form_into_another(self):
        out = self.path("x.rep")
        self.ok("convert", "--from", "android", "--to", "rep", os.path.join(FIXTURES, "android.txt"), "-o", out)
        with open(out, encoding="utf-8") as file:
            self.assertEqual(file.read().split()[:6], ["4222", "6", "12", "1", "a", "0"])


class Command(TraceTest):
    def trace(self, name="x.trace", text="alloclab trace text 1\nmeta program=x\nalloc 0 24\nfree 0\nfree -\n"):
        self.ok("convert", self.path("source", text), "-o", self.path(name))
        os.unlink(self.path("source"))
        return self.path(name)

    def test_info(self):
        info = self.ok("info", self.trace())
        fields = self.fields(info)
        for key, value in {"format": "alloclab trace, version 1", "torn": "no", "clock": "no", "sites": "no",
                           "meta.program": "x", "ops": "3", "alloc": "1", "free": "2", "null_frees": "1", "objects": "1",
                           "threads": "1", "peak_live_bytes": "24", "end_live_objects": "0"}.items():
            self.assertEqual(fields[key], value, key)
        self.assertIn('discloses          meta: program, which says "x"\n', info)
        self.assertIn("no addresses, no contents", info)

    def test_check_looks_at_every_file(self):
        good, missing = self.trace(), self.path("missing")
        with open(good, "rb") as file:
            data = bytearray(file.read())
        data[60] ^= 1
        with open(self.path("bad"), "wb") as file:
            file.write(data)
        done = self.run_cli("check", self.path("bad"), missing, good)
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stdout, f"{good}: valid: 3 ops, 1 objects, 1 threads, 0 scopes\n")
        lines = done.stderr.splitlines()
        self.assertRegex(lines[0], r"alloclab trace check: .*/bad: offset 16: checksum is [0-9a-f]{16}, but the block "
                         r"says [0-9a-f]{16}: the file was changed after it was written: get it again, or see what "
                         r"`alloclab trace convert --salvage` can read of it$")
        self.assertEqual(lines[1], f"alloclab trace check: {missing}: cannot open: No such file or directory")

    def test_salvage(self):
        whole = self.trace(text="alloclab trace text 1\n" + "free -\n" * 40000)
        with open(whole, "rb") as file:
            data = file.read()
        torn = self.path("torn")
        with open(torn, "wb") as file:
            file.write(data[:int.from_bytes(data[-24:-16], "little") - 10])  # into the last block before the index
        self.assertIn("convert --salvage` reads the blocks that are whole", self.run_cli("check", torn).stderr)
        self.assertIn("valid: 32768 ops", self.ok("check", "--salvage", torn))
        self.assertEqual(self.fields(self.ok("info", "--salvage", torn))["ops"], "32768")
        self.ok("convert", "--salvage", torn, "-o", self.path("mended"))
        self.assertIn("valid: 32768 ops", self.ok("check", self.path("mended")))

    def test_pipe(self):
        """What comes through a pipe is read as a file is; nothing is left of it."""
        whole = self.trace(text="alloclab trace text 1\nmeta program=x\n" + "alloc 0 24\nfree 0\n" + "free -\n" * 70000)
        with open(whole, "rb") as file:
            data = file.read()

        def piped(data, *arguments, folder=self.folder):
            return subprocess.run([ALLOCLAB, "trace", *arguments], input=data, capture_output=True, timeout=120, check=False,
                                  env=dict(os.environ, TMPDIR=folder))

        for verb in "info", "cat", "check":
            done = piped(data, verb, "/dev/stdin")
            self.assertEqual((done.returncode, done.stderr), (0, b""), verb)
            self.assertEqual(done.stdout.decode(), self.ok(verb, whole).replace(whole, "/dev/stdin"))
        done = piped(data, "cut", "--ops", "2:9", "/dev/stdin", "-o", self.path("cut"))
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        done = piped(data, "convert", "--from", "trace", "/dev/stdin", "-o", self.path("copy"))
        self.assertEqual((done.returncode, self.ok("cat", self.path("copy"))), (0, self.ok("cat", whole)))
        for message, data, *arguments in [
                ("offset 0: the file is empty", b"", "info"), ("offset 0: not a trace file", b"\x89ALT\r", "info"),
                ("offset 0: not a trace file", b"x" * 1000000, "info"),
                ("the file does not end as a trace does", data[:-1], "info"),
                ("say what it is with --from FORMAT, trace for alloclab's own", data, "convert", "-o", self.path("no"))]:
            done = piped(data, arguments[0], "/dev/stdin", *arguments[1:])
            self.assertEqual((done.returncode, done.stdout), (2, b""), message)
            self.assertIn(f"alloclab trace {arguments[0]}: /dev/stdin: ", done.stderr.decode())
            self.assertIn(message, done.stderr.decode())
        done = piped(data, "info", "/dev/stdin", folder=self.path("missing"))
        self.assertEqual(done.returncode, 2)
        self.assertIn("TMPDIR says where there is room", done.stderr.decode())
        self.assertEqual(sorted(os.listdir(self.folder)), ["copy", "cut", "x.trace"])

    def test_a_cut_does_not_read_all(self):
        """How much of a file that was in no cache is in one afterwards."""
        source = self.path("x.trace")
        subprocess.run([ALLOCLAB, "gen", "random:ops=2m,live=20k", "-o", source], check=True, capture_output=True, timeout=120)
        with open(source, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            if self.cached(file, size):
                self.skipTest("the files here stay in memory")
            self.ok("cut", "--ops", "1000000:1001000", "--live", "touched", source, "-o", self.path("cut"))
            self.assertLess(self.cached(file, size), size // 2)

    def cached(self, file, size):
        """The bytes of a file that are in memory."""
        pages = -(-size // mmap.PAGESIZE)
        found = (ctypes.c_ubyte * pages)()
        with mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE) as area:
            start = ctypes.c_char.from_buffer(area)
            failed = ctypes.CDLL(None).mincore(ctypes.byref(start), ctypes.c_size_t(size), found)
            del start  # or the area could not be closed
            self.assertEqual(failed, 0)
        return sum(byte & 1 for byte in found) * mmap.PAGESIZE

    def test_nothing_is_lost(self):
        kept, bad = self.path("kept", "precious"), self.path("bad", "alloclab trace text 1\nalloc 5 5\n")
        self.refused(f"alloclab trace convert: {bad}: line 2: record 0: object 5 is out of order: the next one is 0; "
                     "`alloclab describe text` says what is expected", "convert", bad, "-o", kept)
        self.refused(f"alloclab trace convert: {bad}: line 2: record 0: object 5 is out of order: the next one is 0; "
                     "`alloclab describe text` says what is expected", "convert", bad, "--to", "rep", "-o", kept)
        with open(kept, encoding="utf-8") as file:
            self.assertEqual(file.read(), "precious")
        self.assertEqual(sorted(os.listdir(self.folder)), ["bad", "kept"])

    def test_usage(self):
        rows = [
            ([], "info, cat, check, convert, pack, diff, sites or a transform is expected, not ''"),
            (["look"], "info, cat, check, convert, pack, diff, sites or a transform is expected, not 'look'"),
            (["look", "--help"], "info, cat, check, convert, pack, diff, sites or a transform is expected, not 'look'"),
        ]
        for arguments, message in rows:
            with self.subTest(message):
                self.refused(f"alloclab trace: {message}: `alloclab trace --help` says how", *arguments)
        rows = [
            (["info"], "of which file?"),
            (["info", "--strict", "x"], "does not take --strict"),
            (["pack", "x"], "takes one input file, and -o OUT"),
            (["convert", "x"], "takes one input file, and -o OUT"),
            (["convert", "x", "y", "-o", "z"], "takes one input file, and -o OUT"),
            (["convert", "x", "-o"], "lacks a value after -o"),
            (["cat", "--from", "x", "y"], "does not take --from"),
            (["cat", "-x"], "does not take -x"),
            (["diff", "x"], "takes two traces"),
            (["diff", "x", "y", "z"], "takes two traces"),
            (["cat", "--csv", "x"], "does not take --csv"),
        ]
        for arguments, message in rows:
            with self.subTest(message):
                said = self.run_cli(arguments[0], "--help").stdout.strip()
                self.assertRegex(said, rf"^alloclab trace {arguments[0]} .*$")
                self.refused(f"alloclab trace: {arguments[0]} {message}: usage: {said}", *arguments)

    def test_a_folder_is_said_to_be_one(self):
        for arguments in (["info"], ["cat"], ["check"], ["sites"], ["convert", "-o", self.path("y")],
                          ["cut", "--ops", "0:1", "-o", self.path("y")]):
            with self.subTest(arguments):
                done = self.run_cli(*arguments, self.folder)
                self.assertEqual(done.returncode, 2)
                self.assertIn(f"{self.folder}: is a folder, not a ", done.stderr)
        self.refused(f"alloclab trace pack: {self.folder}: cannot read: it is not a regular file: give a capture",
                     "pack", self.folder, "-o", self.path("y"))

    def test_forms_that_do_not_fit(self):
        source = self.path("x", "hello\n")
        self.refused(f"alloclab trace convert: {source}: offset 0: neither a trace nor one as text: say what it is with "
                     "--from FORMAT; `alloclab list formats` shows what can be read", "convert", source, "-o", "y")
        done = self.run_cli("convert", "--from", "androit", source, "-o", "y")
        self.assertEqual(done.returncode, 2)
        self.assertIn("androit", done.stderr)
        self.assertIn("android", done.stderr)
        self.refused(f"alloclab trace convert: {self.path('y')}: the form capture can only be read",
                     "convert", self.trace(), "--to", "capture", "-o", self.path("y"))

    def test_output_must_be_a_file(self):
        self.refused(f"alloclab trace convert: {self.folder}: exists and is not a regular file: choose another name",
                     "convert", self.trace(), "-o", self.folder)
        self.refused("alloclab trace convert: /dev/null: exists and is not a regular file: choose another name",
                     "convert", self.trace(), "--to", "text", "-o", "/dev/null")


if __name__ == "__main__":
    unittest.main()
