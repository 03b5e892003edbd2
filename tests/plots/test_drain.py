"""test_drain.py - plots/drain.py: curves from made-up samples, names that do not overlap, and damaged files."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "plots"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import drain     # noqa: E402
import style     # noqa: E402
import synthetic # noqa: E402
import test_plots  # noqa: E402

DRAIN = "run_id allocator options workload threads release via sample freed_ns resident_bytes committed_bytes".split()
MIB = 1 << 20


def samples(name, resident, via="vtable", freed=(5000, 100_000_000, 1_000_000_000, 5_000_000_000)):
    return [dict(run_id="r", allocator=name, options="", workload="w", threads=1, release="free", via=via, sample=i,
                 freed_ns=ns, resident_bytes=b, committed_bytes="") for i, (ns, b) in enumerate(zip(freed, resident))]


def result(name, before="", status="ok", detail="", via="vtable"):
    row = dict(run_id="r", block=0, order=0, allocator=name, options="", workload="w", threads=1, release="free",
               replay="serial", copies=1, via=via, touch="page", repeat=0, status=status, ops=1000, detail=detail,
               rank_group="floor" if name == "null" else "ranked", drain_resident_before_bytes=before)
    row["pass"] = "drain"
    return row


class Drain(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = holder.name

    def pages(self, rows, results):
        synthetic.write_csv(os.path.join(self.folder, "drain.csv"), DRAIN, rows)
        synthetic.write_csv(os.path.join(self.folder, "results.csv"), synthetic.RESULTS + ["drain_resident_before_bytes"],
                            results)
        out = test_plots.Pages()
        drain.draw(self.folder, out)
        return out.pages

    def test_page(self):
        names = ["segfit", "tlsf", "libc", "null"] + [f"d{i}" for i in range(32)]
        kept = {"segfit": [9 * MIB, 9 * MIB, 2 * MIB, 100], "null": [4096 * 3] * 4}
        rows = [r for n in names for r in samples(n, kept.get(n, [8 * MIB] * 4))]
        pages = self.pages(rows, [result(n, 10 * MIB) for n in names] + [result("broken", status="oom", detail="after 3 ops")])
        page = pages["drain-w"]
        texts = test_plots.texts_of(page)
        self.assertIn("segfit  < 4 KiB", texts)
        self.assertIn("tlsf  8 MiB", texts)
        self.assertTrue(any("oom (after 3 ops)" in t for t in texts))
        lines = [list(line.get_ydata()) for line in page.axes[0].get_lines()]
        self.assertIn([10 * MIB, 9 * MIB, 9 * MIB, 2 * MIB, 4096], lines, "before, freed, and after it; no less than a page")
        test_plots.Drawn.check_layout(self, page)
        ys = sorted(t.get_position()[1] for t in page.axes[0].texts)
        least = drain.NAME / 72 / drain.panel_tall(len(ys))
        self.assertEqual(len(ys), 36)
        self.assertTrue(all(b - a > 0.9 * least for a, b in zip(ys, ys[1:])), "names do not overlap")

    def test_spread(self):
        self.assertEqual(drain.spread([1, 2, 5], 1, 0, 9), [1, 2, 5])
        for wanted, low, high in [([4, 4, 4, 9], 0, 9), ([1, 1, 1, 7], 1, 9), ([9, 9, 9], 0, 9)]:
            found = drain.spread(wanted, 1, low, high)
            self.assertTrue(all(b - a > 0.99 for a, b in zip(found, found[1:])), found)
            self.assertTrue(low <= found[0] and found[-1] <= high, found)
        self.assertAlmostEqual(sum(drain.spread([4, 4, 4, 9], 1, 0, 9)[:3]) / 3, 4, 2)

    def test_damage_is_refused(self):
        def refused(rows, results):
            with self.assertRaises(style.BadInput) as caught:
                self.pages(rows, results)
            return str(caught.exception)
        good = samples("a", [1, 2, 3, 4])
        self.assertIn("drain.csv:4: freed_ns is not above", refused(samples("a", [1, 2, 3], freed=(1, 5, 5)), [result("a")]))
        self.assertIn("drain.csv:2: resident_bytes is empty", refused(samples("a", [""]), [result("a")]))
        self.assertIn("no row has pass=drain", refused(good, [dict(result("a"), **{"pass": "memory"})]))


if __name__ == "__main__":
    unittest.main()
