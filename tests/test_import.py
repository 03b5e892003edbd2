"""test_import.py - recordings of other tools: hand-made fixtures of each form, whole and odd, plain and compressed, and
recordings made here by the tool itself where it is installed, whose calls are counted again by awk. run.py: timeout=240"""

import gzip
import os
import shutil
import struct
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
sys.dont_write_bytecode = True
from trace_cli import ALLOCLAB, FIXTURES, TraceTest  # noqa: E402

SOURCES = os.path.join(os.path.dirname(FIXTURES), os.pardir, "traces", "samples", "src")

# A program with every kind of call, failed ones too, in two threads, or in one if it is given an
# argument.
PROGRAM = r"""
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
static void *work(void *seed)
{
    void *block[64] = {0};
    unsigned x = (unsigned)(size_t)seed;
    for (int i = 0; i < 400; i++) {
        x = x * 1103515245 + 12345;
        void **b = &block[x >> 16 & 63];
        unsigned size = x >> 22 & 1023;
        if (*b && x >> 30)
            free(*b), *b = NULL;
        else
            *b = realloc(*b, size + 1);
    }
    for (int i = 0; i < 64; i++)
        free(block[i]);
    return NULL;
}
int main(int argc, char **argv)
{
    volatile size_t huge = (size_t)-100;
    pthread_t thread;
    char *a = malloc(10), *b = calloc(3, 7), *c = memalign(64, 100), *d = aligned_alloc(32, 96);
    if (malloc(huge) || realloc(a, huge) || (argc == 1 && pthread_create(&thread, NULL, work, (void *)7)))
        return 1;
    for (int i = 0; i < argc; i++)
        work((void *)9);
    if (argc == 1)
        pthread_join(thread, NULL);
    a = realloc(a, 0);
    free(a);
    free(b);
    free(c);
    free(NULL);
    return d == NULL;
}
"""


CXX = r"""
#include <cstdlib>
int main()
{
    int *p[10], *q = (int *)malloc(100);
    for (int i = 0; i < 10; i++)
        p[i] = new int[i + 1];
    for (int i = 0; i < 10; i++)
        delete[] p[i];
    free(q);
    q = new int;
    delete q;
    free(NULL);
    return 0;
}
"""


class Fixtures(TraceTest):
    def test_whole(self):
        rows = (("mtrace", "mtrace.txt", 13, 10), ("heaptrack", "heaptrack.txt", 18, 5),
                ("ltrace", "ltrace.txt", 24, 15), ("ltrace", "ltrace-pid.txt", 5, 4),
                ("ltrace", "ltrace-relative.txt", 3, 3), ("bpftrace", "bpftrace.txt", 18, 11),
                ("gperftools", "gperftools.bin", 15, 9))
        for form, fixture, lines, ops in rows:
            with self.subTest(fixture):
                self.convert(form, fixture, lines=str(lines), ops=str(ops), first_odd_line=None, unknown_frees="0",
                             unknown_reallocs="0", double_allocs="0", torn_lines=None)
                self.ok("convert", "--from", form, "--strict", os.path.join(FIXTURES, fixture), "-o",
                        self.path("x.trace"))

    def test_odd(self):
        rows = (
            ("mtrace", "mtrace-odd.txt", dict(unknown_frees_at="2", unknown_reallocs_at="5 8", double_allocs_at="4",
             torn_lines_at="10", unreturned_calls_at="9", unmatched_returns_at="7", first_odd_line="2"),
             "line 2: free of an address that is not live: 0x5000"),
            ("heaptrack", "heaptrack-odd.txt", dict(unknown_frees_at="3 7", double_allocs_at="9", torn_lines_at="10"),
             "line 3: free of an address that is not live: 0x5000"),
            ("heaptrack", "heaptrack-kinds.txt", dict(unknown_frees_at="18", double_allocs="0"),
             "line 18: free of an address that is not live: 0x100000000"),
            ("ltrace", "ltrace-odd.txt", dict(unknown_frees_at="1", double_allocs_at="3", unsaid_addresses_at="4",
             unmatched_returns_at="5", unknown_reallocs_at="6", unreturned_calls_at="7 8", torn_lines_at="10"),
             "line 1: free of an address that is not live: 0x5000"),
            ("bpftrace", "bpftrace-odd.txt", dict(lost_events="42", unknown_frees_at="2 10", double_allocs_at="4",
             unknown_reallocs_at="5", unmatched_returns_at="7", unreturned_calls_at="9", torn_lines_at="11"),
             "line 1: lost events: bpftrace had no room"),
            ("gperftools", "gperftools-odd.bin", dict(unknown_frees_at="2", double_allocs_at="4",
             unknown_reallocs_at="5", torn_lines_at="6"), "record 2: free of an address that is not live: 0xa"),
        )
        for form, fixture, expected, message in rows:
            with self.subTest(fixture):
                self.convert(form, fixture, **expected)
                os.unlink(self.path("x.trace"))
                source = os.path.join(FIXTURES, fixture)
                self.import_refused(f"alloclab trace convert: {source}: {message}",
                                    "convert", "--from", form, "--strict", source, "-o", self.path("x.trace"))
                self.assertEqual(os.listdir(self.folder), [])

    def test_strict_refuses_each_oddity(self):
        rows = (
            ("mtrace", "+ 0x10 0x1\n+ 0x10 0x2\n", "line 2: the call returns an address that is live: 0x10"),
            ("mtrace", "! 0x10 0x1\n", "line 1: realloc of an address that is not live: 0x10"),
            ("mtrace", "> 0x10 0x1\n", "line 1: no call of that kind has begun that returns 0x10"),
            ("mtrace", "+ 0x10 0x1\n< 0x10\n+ 0x20 0x2\n", "line 2: the call that begins here never returns"),
            ("mtrace", "+ 0x10 0x1\n+ 0x20 0x", "line 2: the file ends in the middle of it: drop this line"),
            ("ltrace", "posix_memalign(0x7ff, 8, 8) = 0\n",
             "line 1: the address is not said of what it returned: posix_memalign"),
        )
        self.refuse_texts(rows, "--strict")

    def test_malformed(self):
        head = "v 10400 3\nt 1 0\n"
        rows = (
            ("mtrace", "hello\n", "line 1: not a call: @ CALLER, one of + - < > !, an address and a size are expected; "
             "or have two programs written into one file?"),
            ("mtrace", "@ a:[0x1] + 5x 0x10\n",
             "line 1: address '5x' is not a number: digits 0 to 9 are expected"),
            ("mtrace", "+ 0x11111111111111111 0x1\n",
             "line 1: address '0x11111111111111111' does not fit into 64 bits"),
            ("mtrace", "+ 0x10 0x10000000000\n", "line 1: record 0: size 1099511627776 exceeds the limit of "
             "1099511627775 bytes of a call that did not fail"),
            ("heaptrack", "x\n", "line 1: heaptrack's data begin with a line 'v VERSION FORMAT'"),
            ("heaptrack", "v 10400 4\n", "line 1: format 4 is not known: 1 to 3 are"),
            ("heaptrack", head + "+ 10 2 5000\n", "line 3: backtrace 2: only 1 have been given"),
            ("heaptrack", head + "+ 10 1\n", "line 3: the address is missing"),
            ("heaptrack", head + "- 0x5\n", "line 3: address '0x5' is not a number: hex digits are expected"),
            ("heaptrack", head + "a 10 1\n- 1\n", "line 4: kind of allocation 1: only 1 have been given"),
            ("heaptrack", head + "q 1\n", "line 3: 'q' begins no line of heaptrack's data"),
            ("heaptrack", head + "c ffffffffffffffff\n",
             "line 3: a time of 18446744073709551615 ms does not fit into 64 bits"),
            ("ltrace", "hello\n", "line 1: not a line of ltrace: NAME(ARGUMENTS) = RESULT is expected; let ltrace write "
             "to a file of its own, with -o"),
            ("ltrace", "malloc(5)\n", "line 1: a call without '= RESULT'"),
            ("ltrace", "malloc() = 0x10\n", "line 1: the argument is missing"),
            ("ltrace", "12:34:56,789 malloc(5) = 0x10\n",
             "line 1: '12:34:56,789' before malloc is not understood; let ltrace write to a file of its own, with -o"),
            ("ltrace", "the sum is malloc@libc.so.6(5) = 0x10\n", "line 1: 'the sum is' before malloc@libc.so.6 is not "
             "understood; let ltrace write to a file of its own, with -o"),
            ("ltrace", "[pid x] malloc(5) = 0x10\n", "line 1: '[pid' without its number and bracket"),
            ("ltrace", "1 1.2.3 malloc(5) = 0x10\n", "line 1: '1.2.3' is not a time"),
            ("ltrace", "<... malloc = 0x10\n", "line 1: '<... ' without 'resumed>'"),
            ("ltrace", "calloc(4294967296, 4294967296) = 0x10\n",
             "line 1: the product overflows, and yet the call returned memory"),
            ("bpftrace", "1 2 mallok 5 -> 0x10\n", "line 1: 'mallok' is not a call: malloc, calloc, memalign, realloc "
             "or free is expected, as traces/samples/src/malloc.bt prints them"),
            ("bpftrace", "1 2 malloc 5 0x10\n", "line 1: '0x10': -> and a result are expected"),
            ("bpftrace", "1 2 free 0x10 1\n", "line 1: '1' is not expected here"),
            ("gperftools", "x" * 24, "record 1: type 120: 0 to 7 are known: is this a processed trace?"),
        )
        self.refuse_texts(rows)


def backtraces(base, early, version=0x10400):
    """heaptrack's raw data of a program at `base`: two sites, and before them a third one if `early`. Before version 1.3
    an address is that to which a call returns, since then the byte before it."""
    first, code = 2 if early else 1, base - (version >= 0x10300)
    new = f"t {code + 0x50:x} 0\n+ 21 1 100\n- 100\n" if early else ""
    return (f"v {version:x} 3\nx a /opt/a.out\nm 1 -\nm 5 lib c {base + 0x9000:x} 0 100 200 80\nm 1 x {base:x} 0 100 1000 20\n{new}"
            f"t {code + 0x1010:x} 0\nt {code + 0x9204:x} {first:x}\n+ 18 {first + 1:x} 500\n+ 20 {first:x} 600\n- 500\n")


def interpreted(base, early):
    """The same as heaptrack interprets it: the first frame has an inlined function, the second one no debug data."""
    new = f"i {base + 0x50:x} 1 7 2 7\nt 1 0\na 21 1\n+ 0\n- 0\n" if early else ""
    frame, kind = (2, 1) if early else (1, 0)
    return (f"v 10400 3\ns a /opt/a.out\ns 8 /src/a.c\ns 4 main\ns 5 inner\ns 7 lib/b.c\ns 1 z\ns 5 early\n{new}"
            f"i {base + 0x10:x} 1 4 5 5 3 2 c\nt {frame:x} 0\ni {base + 0x3204:x} 1\nt {frame + 1:x} {frame:x}\n"
            f"a 18 {frame + 1:x}\na 20 {frame:x}\n+ {kind:x}\n+ {kind + 1:x}\n- {kind:x}\n")


class Sites(TraceTest):
    """Two recordings of a program number its places differently, and `trace diff` knows them all the same."""

    def differing(self, form):
        for name in "1", "2":
            self.ok("convert", "--from", form, self.path(name), "-o", self.path(name + ".trace"))
            self.ok("check", self.path(name + ".trace"))
        rows = self.ok("diff", "--csv", self.path("1.trace"), self.path("2.trace")).splitlines()[1:]
        rows = [row.split(",") for row in rows if row.startswith("site,")]
        return sorted((row[10], int(row[2]), int(row[3])) for row in rows)

    def table(self, name):
        return [line for line in self.ok("cat", self.path(name)).splitlines()
                if line.startswith(("module ", "place ", "frame ", "site "))]

    def test_heaptrack_raw(self):
        self.path("1", backtraces(0x400000, False, 0x10200))
        self.path("2", backtraces(0x7F5500000000, True))
        self.assertEqual(self.differing("heaptrack"), [
            ("a.out+0x100f", 1, 1), ("a.out+0x4f", 0, 1), ("lib c+0x203 < a.out+0x100f", 1, 1)])
        self.assertEqual(self.table("1.trace"), [
            "module 1 a.out", "module 2 lib\\sc", "place 1 module=1 offset=0x100f", "place 2 module=2 offset=0x203",
            "frame 1 1", "frame 2 2 caller=1", "site 2 2", "site 1 1"])
        self.assertNotIn(b"7f55", b"".join(line.encode() for line in self.table("2.trace")))

    def test_heaptrack_interpreted(self):
        self.path("1", interpreted(0x400000, False))
        self.path("2", interpreted(0x7F5500000000, True))
        self.assertEqual(self.differing("heaptrack"), [
            ("..204 (a.out) < inner (b.c:5) < main (a.c:12)", 1, 1), ("early (a.c:7)", 0, 1),
            ("inner (b.c:5) < main (a.c:12)", 1, 1)])

    def test_mtrace(self):
        self.path("1", "@ /x/a:[0x13] + 0x10 0x1\n@ a:(f+2)[0x35] + 0x20 0x2\n@ a:(f+2)[0x7f0000000035] + 0x30 0x1\n")
        self.path("2", "@ ./a:(f+2)[0x35] + 0x20 0x2\n@ a:[0x13] + 0x10 0x1\n@ [0x7f0000000035] + 0x30 0x1\n")
        self.assertEqual(self.differing("mtrace"), [
            ("..035", 0, 1), ("a+0x12", 1, 1), ("f (a)", 1, 1), ("f+2 (a)", 1, 0)])

    def test_ltrace(self):
        self.path("1", "[0x401136] a.out->malloc(10) = 0x5000\n[0x401150] a.out->malloc(10) = 0x6000\n")
        self.path("2", "[0x7f0000001150] a.out->malloc(10) = 0x5000\n[0x7f0000001136] a.out->malloc(10) = 0x6000\n")
        self.assertEqual(self.differing("ltrace"), [("..136", 1, 1), ("..150", 1, 1)])

    def test_malformed(self):
        head = "v 10400 3\n"
        self.refuse_texts((
            ("heaptrack", head + "m 9 x 10\n", "line 2: a text of 9 bytes is longer than the line"),
            ("heaptrack", head + "m\n", "line 2: the length is missing"),
            ("heaptrack", head + "m 1 x\n", "line 2: the base is missing"),
            ("heaptrack", head + "m 1 x 10 0\n", "line 2: the size of a segment is missing"),
            ("heaptrack", head + "t 5\n", "line 2: the parent is missing"),
            ("heaptrack", head + "t 5 1\n", "line 2: parent 1: only 0 backtraces have been given"),
            ("heaptrack", head + "i 5\n", "line 2: the module is missing"),
            ("heaptrack", head + "i 5 1 x\n", "line 2: number 'x' is not a number: hex digits are expected"),
        ))


class Variants(TraceTest):
    """What other versions and other options of the tools write."""

    def cat(self, form, text, *options):
        self.ok("convert", "--from", form, "--strict", *options, self.path("in", text), "-o", self.path("x.trace"))
        return [line for line in self.ok("cat", self.path("x.trace")).splitlines()[1:] if not line.startswith("meta")]

    def test_android_end_of_a_thread(self):
        """Newer recorders say when a thread ended, with one time and not two."""
        ops = self.cat("android", "7: malloc 0x10 5 100 110\n7: thread_done 0x0 290\n8: free 0x10 300 310\n8: thread_done 0x0\n")
        self.assertEqual(ops[:2], ["alloc 0 5", "thread_end clock=190"])

    def test_android_present_bytes(self):
        """Newer recorders say of what ends an object how much of it was in memory, with or without times."""
        ops = self.cat("android", "7: malloc 0x10 5\n7: realloc 0x20 0x10 9 5\n7: free 0x20 9\n")
        self.assertEqual(ops, ["alloc 0 5", "realloc 0 9", "free 0"])
        ops = self.cat("android", "7: malloc 0x10 5 100 110\n7: realloc 0x20 0x10 9 120 130 5\n7: free 0x20 150 160 9\n")
        self.assertEqual(ops, ["alloc 0 5", "realloc 0 9 clock=20", "free 0 clock=50"])
        os.remove(self.path("x.trace"))
        self.refuse_texts((("android", "7: malloc 0x10 5 100\n", "line 1: the end time is missing"),
                           ("android", "7: malloc 0x10 5 100 110 5\n", "line 1: '5' is not expected here"),
                           ("android", "7: free 0x10 150 160 -1\n",
                            "line 1: count of present bytes '-1' is not a number: digits 0 to 9 are expected"),
                           ("android", "7: free 0x10 150 160 9 1\n", "line 1: '1' is not expected here")))

    def records(self, *rows):
        """A processed trace of gperftools."""
        with open(self.path("in"), "wb") as file:
            file.write(b"".join(struct.pack("<QQQ", kind | register << 8, *of) for kind, register, *of in rows))
        return self.path("in")

    def test_gperftools_after_the_end(self):
        """What lives at the end is freed without a switch, perhaps after the end of the thread at hand."""
        source = self.records((5, 0, 3, 0), (0, 0, 16, 0), (0, 1, 32, 0), (6, 0, 0, 0), (1, 0, 0, 0), (1, 1, 0, 0))
        self.ok("convert", "--from", "gperftools", "--strict", source, "-o", self.path("x.trace"))
        self.assertEqual(self.ok("cat", self.path("x.trace")).splitlines()[2:],
                         ["alloc 0 16", "alloc 1 32", "thread_end", "thread 1", "free 0", "free 1"])

    def test_gperftools_zeros(self):
        """A file of zeros, or its end, was never written; one malloc of 0 bytes is one."""
        zeros, head = (0, 0, 0, 0), ((5, 0, 3, 0), (0, 0, 0, 0), (0, 1, 8, 0))
        message = ("nothing but zeros: this part of the file was never written; unpack or copy it again, or cut it off "
                   "before here")
        for rows, at in (([zeros], 1), ([zeros] * 200, 1), ([*head, zeros], 4), ([*head, (1, 0, 0, 0), zeros, zeros], 6)):
            source = self.records(*rows)
            self.import_refused(f"alloclab trace convert: {source}: record {at}: {message}",
                                "convert", "--from", "gperftools", source, "-o", self.path("x.trace"))
        self.ok("convert", "--from", "gperftools", "--strict", self.records(*head), "-o", self.path("x.trace"))

    def test_android_without_spaces(self):
        """As its own reader has it."""
        self.assertEqual(self.cat("android", "7:malloc 0x10 5\n\t7:\tfree 0x10\n"), ["alloc 0 5", "free 0"])
        os.remove(self.path("x.trace"))
        self.refuse_texts((("android", "7 : free 0x10\n", "line 1: '7' is not a thread: TID: is expected"),
                           ("android", ": free 0x10\n", "line 1: ':' is not a thread: TID: is expected"),
                           ("android", "7:\n", "line 1: '' is not a call: malloc, calloc, memalign, realloc, free or thread_done "
                            "is expected")))

    def test_lines_from_elsewhere(self):
        ops = self.cat("rep", "\ufeff1000\r\n1\r\n2\r\n1\r\na 0 5\r\nf 0\r\n")
        self.assertEqual(ops, ["alloc 0 5", "free 0"])

    def test_other_packers(self):
        for magic, message in ((b"\xfd7zXZ\0", "compressed with xz: unpack it with `xz -d`"),
                               (b"BZh91AY", "compressed with bzip2: unpack it with `bzip2 -d`"),
                               (b"\4\"M\30", "compressed with lz4: unpack it with `lz4 -d`"),
                               (b"PK\3\4", "a zip archive: unpack it with `unzip`"),
                               (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it with `7z x`")):
            with open(self.path("in"), "wb") as file:
                file.write(magic + bytes(30))
            for form in "android", "gperftools", "text":
                self.refused(f"alloclab trace convert: {self.path('in')}: offset 0: {message}", "convert", "--from", form,
                             self.path("in"), "-o", self.path("x.trace"))

    def test_heaptrack_command_of_many_lines(self):
        """python3 -c with a program of several lines, some of which look like data."""
        head = "v 10400 3\nX python3 -c import os\na = 1\n+ 1 2 3\n\nI = 5\n"
        ops = self.cat("heaptrack", head + "I 1000 5e2922\nt 1 0\n+ 18 1 10\n- 10\n")
        self.assertEqual([op.split()[0] for op in ops[-2:]], ["alloc", "free"])
        self.import_refused(f"alloclab trace convert: {self.path('in', head)}: line 6: the command of line X goes on up to "
                            "here: a line 'I PAGE PAGES' is expected after it", "convert", "--from", "heaptrack",
                            self.path("in"), "-o", self.path("x.trace"))

    def test_heaptrack_before_1_0(self):
        ops = self.cat("heaptrack", "v 10200\ns a.out\nt 1 0\na 18 1\n+ 0\n- 0\n")
        self.assertEqual([op.split()[0] for op in ops[-2:]], ["alloc", "free"])

    def test_heaptrack_without_lengths(self):
        """Before format 3 a text goes on to the end of its line, of raw data to the next space."""
        ops = self.cat("heaptrack", "v 10200 2\nX a b\nI 1000 1\ns /opt/a b\ns operator new(unsigned long)\ns\ni 401234 1 2\nt 1 0\n"
                       "a 18 1\n+ 0\n- 0\n")
        self.assertIn("module 1 a\\sb", ops)
        self.assertIn("place 1 module=1 function=operator\\snew(unsigned\\slong)", ops)
        ops = self.cat("heaptrack", "v 10200 2\nx /opt/a\nX a b\nI 1000 1\nm x 400000 0 2000\nt 401235 0\n+ 18 1 500\n")
        self.assertIn("place 1 module=1 offset=0x1234", ops)

    def test_ltrace_operators(self):
        """Mangled, demangled, and with the calls that they make themselves."""
        mangled = ("_Znwm(24, 1, 2, 3) = 0x10\n_ZnamRKSt9nothrow_t(5, 0) = 0x20\n_ZnwmSt11align_val_t(64, 32) = 0x40\n"
                   "_ZdlPvm(0x10, 24) = 0\n_ZdaPv(0x20) = <void>\n_ZdlPvmSt11align_val_t(0x40, 64, 32) = 0\n")
        plain = ("a->operator new(unsigned long)(24, 1) = 0x10\noperator new[](unsigned long, std::nothrow_t const&)(5, 0) = 0x20\n"
                 "operator new(unsigned long, std::align_val_t)(64, 32) = 0x40\noperator delete(void*, unsigned long)(0x10, 24) = 0\n"
                 "operator delete[](void*)(0x20) = 0\noperator delete(void*, unsigned long, std::align_val_t)(0x40, 64, 32) = 0\n")
        nested = ("a->_Znwm(24, 1 <unfinished ...>\nlibstdc++.so.6->malloc(24) = 0x10\n<... _Znwm resumed> ) = 0x10\n"
                  "operator new[](unsigned long)(5 <unfinished ...>\n<... operator new[](unsigned long) resumed> ) = 0x20\n"
                  "_ZnwmSt11align_val_t(64, 32 <unfinished ...>\naligned_alloc(32, 64) = 0x40\n"
                  "<... _ZnwmSt11align_val_t resumed> ) = 0x40\n"
                  "a->_ZdlPvm(0x10, 24 <unfinished ...>\nb->_ZdlPv(0x10 <unfinished ...>\nb->free(0x10) = <void>\n"
                  "<... _ZdlPv resumed> ) = 0\n<... _ZdlPvm resumed> ) = 0\nfree(0x20) = <void>\n"
                  "_ZdlPv(0x40 <unfinished ...>\n<... _ZdlPv resumed> ) = <void>\n")
        expected = ["alloc 0 24", "alloc 1 5", "aligned 2 64 align=32", "free 0", "free 1", "free 2"]
        for text in mangled, plain, nested:
            self.assertEqual(self.cat("ltrace", text), expected)
        twice = self.path("in", "_ZdlPv(0x10 <unfinished ...>\n<... _ZdlPv resumed> ) = 0\nfree(0x10) = <void>\n")
        report = self.fields(self.ok("convert", "--from", "ltrace", twice, "-o", self.path("x.trace")))
        self.assertEqual(report["unknown_frees"], "2")
        os.remove(self.path("x.trace"))
        self.refuse_texts((("ltrace", "operator new(unsigned long) = 5\n", "line 1: an operator without its arguments"),))


    def test_ltrace_numbers_below_zero(self):
        """What has no prototype is printed as long, the size of an array that is too large for example."""
        ops = self.cat("ltrace", "_Znam(-4096, -4096, 0xffffffffffff6540, 1) = 0\nmalloc(-1) = nil\n")
        self.assertEqual(ops, ["alloc - 18446744073709547520 failed", "alloc - 18446744073709551615 failed"])
        os.remove(self.path("x.trace"))
        self.refuse_texts((("ltrace", "malloc(-x) = 0\n", "line 1: argument '-x' is not a number: digits 0 to 9 are expected"),))

    def test_ltrace_own_words(self):
        ops = self.cat("ltrace", "7 a->malloc(5) = 0x10\n7 0.000005 [0x4010] unexpected breakpoint at 0x7fa68a8a958c\n"
                       "7 +++ killed by SIGSEGV +++\n")
        self.assertEqual([op.split(" clock")[0] for op in ops], ["alloc 0 5", "thread_end"])

    def test_ltrace_past_midnight(self):
        """-t and -tt are times of the day; two threads may be a little out of order."""
        ops = self.cat("ltrace", "23:59:59.500000 malloc(5) = 0x10\n23:59:59.400000 malloc(5) = 0x20\n"
                       "00:00:00.250000 free(0x10) = <void>\n")
        self.assertEqual(ops, ["alloc 0 5", "alloc 1 5", "free 0 clock=750000000"])

    def test_ltrace_page_aligned(self):
        self.assertEqual(self.cat("ltrace", "valloc(100) = 0x1000\npvalloc(5) = 0x2000\n"),
                         ["aligned 0 100 align=4096", "aligned 1 5 align=4096"])

    def test_ltrace_of_program_and_library(self):
        """With -x each call is seen where it is made and, inside that, in the library."""
        twice = ("malloc(24 <unfinished ...>\nmalloc@libc.so.6(24) = 0x10\n<... malloc resumed> ) = 0x10\n"
                 "realloc(0x10, 50 <unfinished ...>\nrealloc@libc.so.6(0x10, 50 <unfinished ...>\n"
                 "<... realloc resumed> ) = 0x20\n<... realloc resumed> ) = 0x20\n"
                 "realloc@libc.so.6(0, 7 <unfinished ...>\nmalloc@libc.so.6(7) = 0x10\n<... realloc resumed> ) = 0x10\n"
                 "malloc(24 <unfinished ...>\nmalloc(24) = 0x30\n<... malloc resumed> ) = 0x40\n"
                 "free(0x20 <unfinished ...>\nfree@libc.so.6(0x20) = <void>\n<... free resumed> ) = <void>\n"
                 "free(0 <unfinished ...>\nfree@libc.so.6(0) = <void>\n<... free resumed> ) = <void>\n"
                 "realloc(0x40, 0 <unfinished ...>\nrealloc@libc.so.6(0x40, 0 <unfinished ...>\nfree@libc.so.6(0x40) = <void>\n"
                 "<... realloc resumed> ) = 0\n<... realloc resumed> ) = 0\n"
                 "free(0x10 <unfinished ...>\n<... free resumed> ) = <void>\nmalloc@libc.so.6(3) = 0x10\nfree(0x10) = <void>\n")
        self.assertEqual(self.cat("ltrace", twice), ["alloc 0 24", "realloc 0 50", "realloc 1 7 null", "alloc 2 24", "alloc 3 24",
                                                     "free 0", "free -", "realloc 3 0 ends", "free 1", "alloc 4 3", "free 4"])
        # An operator that throws after the library's malloc: the malloc alone.
        thrown = "_Znam(5 <unfinished ...>\nmalloc@libc.so.6(5) = 0\nmalloc(6) = 0x10\n"
        self.ok("convert", "--from", "ltrace", self.path("in", thrown), "-o", self.path("x.trace"))
        self.assertEqual(self.ok("cat", self.path("x.trace")).splitlines()[-2:], ["alloc - 5 failed", "alloc 0 6"])

    def test_ltrace_of_the_library_itself(self):
        """What it calls is ignored, also where another thread comes between begin and return."""
        text = ("1 sh->reallocarray(0, 4, 8 <unfinished ...>\n1 libc.so.6->calloc(0, 32 <unfinished ...>\n2 sh->malloc(5) = 0x20\n"
                "1 <... calloc resumed> ) = 0x10\n1 <... reallocarray resumed> ) = 0x10\n"
                "2 sh->malloc(6 <unfinished ...>\n2 libc.so.6->malloc(0 <unfinished ...>\n1 sh->free(0x10 <unfinished ...>\n"
                "1 libc.so.6->free(0x7 <unfinished ...>\n2 <... malloc resumed> ) = 0x6\n2 <... malloc resumed> ) = 0x40\n"
                "1 <... free resumed> ) = <void>\n1 <... free resumed> ) = <void>\n2 sh->free(0x40) = <void>\n")
        self.assertEqual(self.cat("ltrace", text), ["alloc 0 5", "thread 1", "realloc 1 32 null", "free 1", "thread 0",
                                                    "alloc 2 6", "free 2"])

    def test_bpftrace_own_words(self):
        """Since 0.24 it says that it has attached its probes; it prints the maps that a script leaves."""
        ops = self.cat("bpftrace", "Attached 14 probes\n5 1 malloc 10 -> 0x10\n\n\n@depth[12]: 0\n@: 7\n")
        self.assertEqual(ops, ["alloc 0 10"])
        os.remove(self.path("x.trace"))
        self.refuse_texts((("bpftrace", "hello, world\n", "line 1: 'hello,' begins no event: NS TID CALL .. is expected, as "
                            "traces/samples/src/malloc.bt prints it; let bpftrace write to a file of its own, with -o"),
                           ("bpftrace", "77 81234567890 malloc 5 -> 0x10\n", "line 1: thread 81234567890: Linux has numbers up "
                            "to 4194304: the time comes first, then the thread")))

    def test_bpftrace_lost_twice(self):
        for lines, at in ((2, "1 2"), (4, "1 2 3 ..")):
            text = "Lost 40 events\n" * lines + "50 1 malloc 10 -> 0x10\n"
            report = self.fields(self.ok("convert", "--from", "bpftrace", self.path("in", text), "-o", self.path("x.trace")))
            self.assertEqual((report["lost_events"], report["lost_events_at"]), (str(40 * lines), at))

    def test_bpftrace_unsorted(self):
        text = "50 1 malloc 10 -> 0x10\n40 2 malloc 5 -> 0x20\n60 1 free 0x10\n60 2 free 0x20\n"
        report = self.fields(self.ok("convert", "--from", "bpftrace", self.path("in", text), "-o", self.path("x.trace")))
        self.assertEqual((report["late_events"], report["late_events_at"], report["ops"]), ("1", "2", "4"))
        os.remove(self.path("x.trace"))
        self.refuse_texts((("bpftrace", text, "line 2: the event before is a later one, sort the file by time: 40"),), "--strict")

    def test_nothing_recorded(self):
        """A tool that did not run leaves an empty file, and a line without its end may be anything."""
        for form in "android", "mtrace", "heaptrack", "ltrace", "bpftrace", "gperftools":
            unit = "record" if form == "gperftools" else "line"
            for text in ("", "hello") if form == "gperftools" else ("", "\n \n", "hello"):
                done = self.run_cli("convert", "--from", form, self.path("in", text), "-o", self.path("x.trace"))
                self.assertEqual(done.returncode, 2, (form, text))
                self.assertIn(f"{self.path('in')}: {unit} 1: there is nothing whole in the file: did the recording fail?", done.stderr)
                self.assertEqual(os.listdir(self.folder), ["in"])

    def test_mtrace_of_two_programs(self):
        self.refuse_texts((("mtrace", "= Start\n@ /lib/libst6aa6ae990\n", "line 2: not a call: @ CALLER, one of + - < > !, an "
                            "address and a size are expected; or have two programs written into one file?"),
                           ("mtrace", "= Start\n- 0x10\n\0\0\0+ 0x10 0x5\n", "line 3: has a zero byte: this is not text, or "
                            "part of it was never written, or two programs wrote it")))


class Compressed(TraceTest):
    def packed(self, way, data):
        if way == "gz":
            return gzip.compress(data)
        return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout

    def written(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data)
        return self.path(name)

    def test_each_form(self):
        for way in "gz", "zst":
            for form, fixture in (("heaptrack", "heaptrack.txt"), ("gperftools", "gperftools.bin"),
                                  ("rep", "classic.rep"), ("android", "android.txt"), ("text", "android.expected")):
                with self.subTest(f"{way} {form}"), open(os.path.join(FIXTURES, fixture), "rb") as file:
                    source = self.written("in", self.packed(way, file.read()))
                    self.ok("convert", "--from", form, source, "-o", self.path("x.trace"))
                    with open(os.path.join(FIXTURES, os.path.splitext(fixture)[0] + ".expected"),
                              encoding="utf-8") as expected:
                        self.assertEqual(self.ok("cat", self.path("x.trace")), expected.read())

    def test_through_a_pipe(self):
        """Its first bytes say what it is there as well, even if they come one by one."""
        with open(os.path.join(FIXTURES, "android.txt"), "rb") as file:
            lines = file.read()
        self.ok("convert", "--from", "android", os.path.join(FIXTURES, "android.txt"), "-o", self.path("x.trace"))
        for data in lines, self.packed("gz", lines), self.packed("zst", lines), self.packed("zst", b"") + self.packed("zst", lines):
            with subprocess.Popen([ALLOCLAB, "trace", "convert", "--from", "android", "/dev/stdin", "-o", self.path("y.trace")],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as child:
                for i in range(9):
                    child.stdin.write(data[i:i + 1])
                child.stdin.write(data[9:])
                child.communicate(timeout=100)
            self.assertEqual(child.returncode, 0)
            with open(self.path("x.trace"), "rb") as expected, open(self.path("y.trace"), "rb") as file:
                self.assertEqual(file.read(), expected.read())
        done = subprocess.run([ALLOCLAB, "trace", "convert", "--from", "android", "/dev/stdin", "-o", self.path("z.trace")],
                              input=b"\xfd7zXZ\0" + bytes(30), capture_output=True, timeout=100, check=False)
        self.assertEqual((done.returncode, done.stderr), (
            2, b"alloclab trace convert: /dev/stdin: offset 0: compressed with xz: unpack it with `xz -d`\n"))

    def test_members(self):
        """Compressed files may follow each other; behind gzip's anything may stand, as gzip allows; pzstd begins with a
        frame to be skipped."""
        a, b = b"1: malloc 0x10 5\n" * 3000, b"1: free 0x10\n" * 3000
        skipped = b"\x50\x2a\x4d\x18\4\0\0\0\1\2\3\4"
        for data in (self.packed("gz", a) + self.packed("gz", b), self.packed("gz", a + b) + bytes(70000), self.packed("gz", a + b) + b"x",
                     self.packed("zst", a) + self.packed("zst", b), skipped + self.packed("zst", a) + skipped + self.packed("zst", b)):
            report = self.fields(self.ok("convert", "--from", "android", self.written("in", data), "-o", self.path("x.trace")))
            self.assertEqual((report["lines"], report["double_allocs"], report["ops"]), ("6000", "2999", "6000"))
        for folder in self.folder, "/":
            self.refused(f"alloclab trace convert: {folder}: cannot read: Is a directory", "convert", "--from", "android", folder,
                         "-o", self.path("y.trace"))

    def test_torn(self):
        """What can be unpacked of a torn file is imported, unless the form itself says how much there is."""
        lines = b"".join(b"+ 0x%x 0x%x\n" % (16 * i + 16, i * i % 977) for i in range(60000))
        rep = b"1000\n1\n40000\n1\n" + b"a 0 5\nf 0\n" * 20000
        for way in "gz", "zst":
            with self.subTest(way):
                packed = self.packed(way, lines)
                source = self.written("in", packed[:len(packed) * 2 // 3])
                report = self.fields(self.ok("convert", "--from", "mtrace", source, "-o", self.path("x.trace")))
                self.assertEqual(report["torn_lines"], "1")
                self.assertEqual(report["torn_lines_at"], report["lines"])
                self.assertEqual(int(report["ops"]), int(report["lines"]) - 1)
                self.assertGreater(int(report["ops"]), 10000)
                done = self.run_cli("convert", "--from", "mtrace", "--strict", source, "-o", self.path("y.trace"))
                self.assertEqual(done.returncode, 2)
                source = self.written("in", self.packed(way, rep)[:-20])
                done = self.run_cli("convert", "--from", "rep", source, "-o", self.path("y.trace"))
                self.assertEqual(done.returncode, 2)
                self.assertIn("cannot read on: the compressed file ends too early", done.stderr)
                self.assertFalse(os.path.exists(self.path("y.trace")))

    def test_damaged(self):
        for way in "gz", "zst":
            with self.subTest(way):
                data = bytearray(self.packed(way, b"+ 0x10 0x1\n- 0x10\n" * 5000))
                data[len(data) // 2] ^= 255
                data[-1] ^= 255
                source = self.written("in", bytes(data))
                done = self.run_cli("convert", "--from", "mtrace", source, "-o", self.path("x.trace"))
                self.assertEqual(done.returncode, 2)
                self.assertRegex(done.stderr, r"in: line \d+: ")


def tool(name):
    return unittest.skipUnless(shutil.which(name), f"{name} is not installed")


class Recorded(TraceTest):
    """Recordings made by the tools themselves; the op count is that of awk, and the oracle finds nothing."""

    @classmethod
    def setUpClass(cls):
        cls.built = os.path.join(os.path.dirname(ALLOCLAB), "tests", "import")
        os.makedirs(cls.built, exist_ok=True)
        cls.program, cls.starter = os.path.join(cls.built, "program"), os.path.join(cls.built, "starter.so")
        compiler = ["gcc", "-O1", "-g", "-w", "-fno-builtin", "-x", "c", "-"]
        subprocess.run([*compiler, "-pthread", "-o", cls.program], input=PROGRAM, text=True, check=True)
        subprocess.run([*compiler, "-shared", "-fPIC", "-o", cls.starter], text=True, check=True,
                       input="#include <mcheck.h>\n__attribute__((constructor)) static void start(void) { mtrace(); }\n")

    def record(self, *command, **environment):
        return subprocess.run(command, env={**os.environ, **environment}, cwd=self.folder, timeout=100, check=True,
                              capture_output=True, text=True)

    def awk(self, script, path):
        lines = subprocess.run(["awk", script, path], capture_output=True, text=True, check=True).stdout.split()
        return [int(word) for word in lines]

    def imported(self, form, source, calls, dropped=()):
        """Imports it; calls = those that awk saw, of which the counts named in `dropped` are no ops."""
        trace = self.path("x.trace")
        report = self.fields(self.ok("convert", "--from", form, source, "-o", trace))
        lost = sum(int(report.get(name, 0)) for name in ("unknown_frees", *dropped))
        made = int(report["double_allocs"])
        self.assertEqual(int(report["ops"]), calls - lost + made, report)
        self.ok("check", trace)
        self.oracle(trace)
        return report, self.fields(self.ok("info", trace))

    def test_mtrace(self):
        log = self.path("log")
        self.record(self.program, MALLOC_TRACE=log, LD_PRELOAD=f"{self.starter} libc_malloc_debug.so.0")
        calls = self.awk("/ [-+!] |^[-+!] / { n++ } / > / { n++ } END { print n }", log)[0]
        report, info = self.imported("mtrace", log, calls)
        self.assertGreater(calls, 700)
        self.assertEqual(report["unknown_frees"], "0")
        self.assertEqual(int(info["realloc"]), self.awk("/ [>!] / { n++ } END { print n }", log)[0])
        self.assertEqual(info["failed"], "2")
        self.assertEqual(info["sites"], "yes")

    @tool("ltrace")
    def test_ltrace(self):
        """One thread: ltrace 0.7.3 makes programs with more crash now and then."""
        log = self.path("log")
        functions = "malloc+free+calloc+realloc+memalign+aligned_alloc"
        self.record("ltrace", "-f", "-ttt", "-e", functions, "-o", log, self.program, "alone")
        calls = self.awk("/->/ { n++ } END { print n }", log)[0]
        self.assertGreater(calls, 700)
        _, info = self.imported("ltrace", log, calls)
        self.assertEqual((info["threads"], info["clock"], info["calloc"], info["aligned"]), ("1", "yes", "1", "2"))
        self.assertEqual(info["failed"], "2")

    @tool("ltrace")
    def test_ltrace_of_cxx(self):
        """The same program three times: its operators alone, demangled, and with the library's malloc and free."""
        program, found = os.path.join(self.built, "cxx"), []
        subprocess.run(["g++", "-O0", "-w", "-x", "c++", "-", "-o", program], input=CXX, text=True, check=True)
        for options in (["-e", "_Zn*+_Zd*+malloc+free"], ["-C", "-e", "_Zn*+_Zd*+malloc+free"], ["-e", "_Zn*@*+_Zd*@*+malloc@*+free@*"]):
            log = self.path("log")
            self.record("ltrace", "-o", log, *options, program)
            self.ok("convert", "--from", "ltrace", "--strict", log, "-o", self.path("x.trace"))
            self.oracle(self.path("x.trace"))
            found.append([line for line in self.ok("cat", self.path("x.trace")).splitlines() if line.startswith(("alloc", "free"))])
        self.assertEqual(len(found[0]), 25)
        self.assertEqual(found[0], found[1])
        self.assertEqual(found[0], found[2])

    @tool("heaptrack")
    def test_heaptrack(self):
        for options in ["--raw"], []:
            with self.subTest(options):
                self.record("heaptrack", *options, "-o", self.path("h"), self.program)
                source = self.path("h.raw.zst" if options else "h.zst")
                text = self.path("h.txt")
                with open(text, "wb") as file:
                    subprocess.run(["zstd", "-dc", source], stdout=file, check=True)
                calls = self.awk("/^[-+]/ { n++ } END { print n }", text)[0]
                self.assertGreater(calls, 700)
                _, info = self.imported("heaptrack", source, calls)
                self.assertEqual((info["threads"], info["sites"]), ("1", "yes"))

    @tool("bpftrace")
    @unittest.skipUnless(os.geteuid() == 0, "only root may run bpftrace")
    def test_bpftrace(self):
        log = self.path("log")
        script = os.path.join(SOURCES, "malloc.bt")
        done = subprocess.run(["bpftrace", "-o", log, "-c", self.program, script], capture_output=True, text=True,
                              timeout=100, check=False)
        if done.returncode or not os.path.exists(log) or os.path.getsize(log) < 1000:
            self.skipTest(f"bpftrace does not run here: {done.stderr[-300:]}")
        with open(log, encoding="utf-8") as file:
            lines = sorted((line for line in file if line[0].isdigit()), key=lambda line: int(line.split()[0]))
        source = self.path("sorted", "".join(lines))
        calls = self.awk('$3 != "realloc" || $4 == "->" { n++ } END { print n }', source)[0]
        self.assertGreater(calls, 700)
        _, info = self.imported("bpftrace", source, calls)
        self.assertEqual((info["threads"], info["clock"], info["aligned"]), ("2", "yes", "2"))
        self.assertGreater(int(info["calloc"]), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
