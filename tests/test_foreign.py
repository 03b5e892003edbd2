"""test_foreign.py - real recordings of other tools: each file of the folder that ALLOCLAB_TRACES names is imported, counted
again by awk, and replayed on three designs with the oracle. Nothing is known of them beforehand: the form is what their first
lines look like. Without the variable the fixtures that are whole are read in the same way. run.py: timeout=900

The counts are made from the text alone, by rules that a line of awk can state: calls by kind, and of forms that name objects by
address the most bytes live and what is left."""

import gzip
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
sys.dont_write_bytecode = True
from trace_cli import FIXTURES, TraceTest  # noqa: E402

FOLDER = os.environ.get("ALLOCLAB_TRACES", "")
WHOLE = ("android.txt", "android-times.txt", "classic.rep", "wide.rep", "mtrace.txt", "heaptrack.txt", "ltrace.txt", "ltrace-pid.txt",
         "ltrace-relative.txt", "bpftrace.txt", "gperftools.bin")

HEAD = r"""
function add(p, n) { if (p in size) drop(p); size[p] = n; live++; bytes += n; if (bytes > peak) peak = bytes }
function drop(p) { bytes -= size[p]; delete size[p]; live-- }
"""
TAIL = r"""
END { print "alloc", k["a"] + 0; print "calloc", k["c"] + 0; print "aligned", k["m"] + 0; print "realloc", k["r"] + 0
      print "free", k["f"] + 0 }
"""
LEFT = r'END { print "peak_live_bytes", peak + 0; print "end_live_objects", live + 0; print "end_live_bytes", bytes + 0 }'

ANDROID = HEAD + r"""
{ sub(/\r$/, "") }
$2 == "malloc" { k["a"]++; if ($3 != "0x0") add($3, $4) }
$2 == "calloc" { k["c"]++; if ($3 != "0x0") add($3, $4 * $5) }
$2 == "memalign" { k["m"]++; if ($3 != "0x0") add($3, $5) }
$2 == "realloc" { k["r"]++; if ($3 != "0x0" || $5 == 0) { if ($4 != "0x0") drop($4); if ($3 != "0x0") add($3, $5) } }
$2 == "free" { k["f"]++; if ($3 != "0x0") drop($3) }
$2 == "thread_done" { ended++ }
END { print "thread_end", ended + 0 }
""" + TAIL + LEFT

REP = HEAD + r"""
{ sub(/\r$/, "") }
NR > 4 && $1 == "a" { k["a"]++; add($2, $3) }
NR > 4 && $1 == "r" { k["r"]++; if ($2 in size) drop($2); if ($3) add($2, $3) }
NR > 4 && $1 == "f" { k["f"]++; if ($2 != -1) drop($2) }
""" + TAIL + LEFT

MTRACE = r"""
/(^| )\+ (0x[0-9a-f]+|\(nil\)) [0-9a-fx]+$/ { k["a"]++ }
/(^| )- 0x[0-9a-f]+$/ { k["f"]++ }
/(^| )[>!] (0x[0-9a-f]+|\(nil\)) [0-9a-fx]+$/ { k["r"]++ }
""" + TAIL

HEAPTRACK = r"""
/^X / { command = 1 }
/^I [0-9a-f]+ [0-9a-f]+$/ { command = 0 }
!command && /^\+ / { k["a"]++ }
!command && /^- / { k["f"]++ }
""" + TAIL

# Of a call whose begin and return are lines of their own the return is counted, of a free the begin. What C++'s operators call
# counts for them, and of a call that -x shows in the library as well (NAME@LIBRARY) the one around it.
LTRACE = r"""
/libc\.so\.6->/ { next }
{ t = /^ *\[pid/ ? $2 : $1 ~ /^[0-9]+$/ ? $1 : 0; open = / <(unfinished|no return) \.\.\.>$/; back = /<\.\.\. .* resumed>/ }
/(^| |>)c?free(@[^ (]*)?(\(| resumed)/ || /(^| |>)(_Zd[la]Pv|operator delete)/ {
    address = $0; sub(/^.*\(/, "", address); sub(/[,) ].*/, "", address)
    if (!back && freeing[t] != address && !(/free@/ && depth[t "r"])) { k["f"]++; freeing[t] = open ? address : "" }
    if (back) freeing[t] = ""
    next
}
{ freeing[t] = freeing[t] && !/alloc|memalign|_Zn|operator new/ ? freeing[t] : "" }
/(^| |>)(_Zn[wa]m|operator new)/ {
    if (open) told[t] = 0
    else if (!back || !told[t]) k[/align_val_t/ ? "m" : "a"]++
    next
}
{ what = "" }
/(^| |>)malloc(@[^ (]*)?(\(| resumed)/ { what = "a" }
/(^| |>)calloc(@[^ (]*)?(\(| resumed)/ { what = "c" }
/(^| |>)(memalign|aligned_alloc|valloc|pvalloc)(@[^ (]*)?(\(| resumed)/ { what = "m" }
/(^| |>)realloc(array)?(@[^ (]*)?(\(| resumed)/ { what = "r" }
what == "" { next }
back && twice[t] { twice[t]--; next }
!back && (depth[t what] || depth[t "r"]) && /alloc(array)?@|memalign@/ { twice[t] += open; next }
open { depth[t what]++; next }
!back || depth[t what] { k[what]++; told[t] = 1; depth[t what] -= back }
""" + TAIL

BPFTRACE = r"""
$3 == "malloc" { k["a"]++ }
$3 == "calloc" { k["c"]++ }
$3 == "memalign" { k["m"]++ }
$3 == "realloc" && $4 == "->" { k["r"]++ }
$3 == "free" { k["f"]++ }
""" + TAIL

# Of words as od prints them, three a line.
GPERFTOOLS = r"""
{ type = $1 % 256 }
type == 0 { k["a"]++ }
type == 3 { k["m"]++ }
type == 4 { k["r"]++ }
type == 1 || type == 2 { k["f"]++ }
type == 6 { ended++ }
END { print "thread_end", ended + 0 }
""" + TAIL

FORMS = (  # how the text looks, what it is, how it is counted
    (rb"\d+: (malloc|calloc|realloc|memalign|free|thread_done) 0x", "android", ANDROID),
    (rb"\s*\d+\s+\d+\s+\d+\s+\d+\s+[arf] \d", "rep", REP),
    (rb"= Start|@ \S.* [-+<>!] 0x|[-+<>!] 0x", "mtrace", MTRACE),
    (rb"v [0-9a-f]+ [0-9a-f]+\n", "heaptrack", HEAPTRACK),
    (rb"Attaching \d+ probe|\d+ \d+ (malloc|calloc|realloc|memalign|free) ", "bpftrace", BPFTRACE),
    (rb"[^\n]*(\w\(|resumed>)[^\n]*( = |<unfinished|<no return)", "ltrace", LTRACE),
    (rb"[\0-\7].{6}\0", "gperftools", GPERFTOOLS),
)


def unpacked(path):
    with open(path, "rb") as file:
        data = file.read()
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return subprocess.run(["zstd", "-dc", path], stdout=subprocess.PIPE, check=True).stdout
    return data


def recordings():
    if not FOLDER:
        return [os.path.join(FIXTURES, name) for name in WHOLE]
    return [os.path.join(FOLDER, name) for name in sorted(os.listdir(FOLDER))
            if not re.search(r"(?i)\.(md|trace)$|^(readme|license)", name)]


class Foreign(TraceTest):
    def counted(self, form, script, data):
        if form == "gperftools":
            data = subprocess.run(["od", "-An", "-v", "-t", "u8", "-w24"], input=data, stdout=subprocess.PIPE, check=True).stdout
        out = subprocess.run(["awk", script], input=data, stdout=subprocess.PIPE, check=True).stdout.decode()
        return {line.split()[0]: int(line.split()[1]) for line in out.splitlines()}

    def form_of(self, path, data):
        for look, form, script in FORMS:
            if re.match(look, data, re.DOTALL):
                return form, script
        self.fail(f"{path}: none of the forms that can be read")

    def test_each(self):
        self.assertTrue(recordings())
        for path in recordings():
            with self.subTest(os.path.basename(path)):
                data = unpacked(path)
                form, script = self.form_of(path, data)
                trace = self.path("x.trace")
                # Odd ones are repaired; then the counts are those of the recording, less and plus what the report says.
                report = self.fields(self.ok("convert", "--from", form, path, "-o", trace))
                info = self.fields(self.ok("info", trace))
                counted = self.counted(form, script, data)
                odd = {key: int(report.get(key, 0)) for key in
                       ("unknown_frees", "double_allocs", "unreturned_calls", "unsaid_addresses")}
                if any(odd.values()):
                    for key in ("peak_live_bytes", "end_live_objects", "end_live_bytes"):
                        counted.pop(key, None)
                counted["free"] += odd["double_allocs"] - odd["unknown_frees"]
                counted["ops"] = sum(counted[kind] for kind in ("alloc", "calloc", "aligned", "realloc", "free"))
                self.assertEqual({key: int(info[key]) for key in counted}, counted)
                self.assertEqual(info["ops"], report["ops"])
                self.ok("check", trace)
                self.oracle(trace)
                print(f"# {os.path.basename(path)}: {form}, {info['ops']} ops, as awk counts them; odd: {odd}", flush=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
