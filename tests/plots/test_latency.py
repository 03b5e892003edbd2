"""test_latency.py - the latency figure from a made-up folder: its curves are the distributions, and damage is refused."""
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "..", "plots"), HERE]
sys.dont_write_bytecode = True

import latency  # noqa: E402
import style  # noqa: E402
import synthetic  # noqa: E402
import test_plots  # noqa: E402

LATENCY = "run_id allocator options workload threads release block via op low_ns high_ns count".split()


def cell(name, block, buckets, **more):
    """Rows of latency.csv: buckets are (op, low, high, count)."""
    return [dict(run_id="r", allocator=name, options="", workload="w", threads=1, release="free", block=block, via="vtable",
                 op=op, low_ns=low, high_ns=high, count=count, **more) for op, low, high, count in buckets]


def result(name, block, status="ok", detail="", worst=""):
    row = dict(run_id="r", block=block, order=0, allocator=name, options="", workload="w", threads=1, release="free",
               replay="serial", via="vtable", touch="first", repeat=block, status=status, ops=1000, detail=detail,
               rank_group="floor" if name == "null" else "ranked", replay_min_max_ns=worst)
    row["pass"] = "latency"
    return row


class Latency(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = holder.name

    def pages(self, buckets, results):
        synthetic.write_csv(os.path.join(self.folder, "latency.csv"), LATENCY, buckets)
        synthetic.write_csv(os.path.join(self.folder, "results.csv"), synthetic.RESULTS + ["replay_min_max_ns"], results)
        out = test_plots.Pages()
        latency.draw(self.folder, out)
        return out.pages

    def refused(self, buckets, results):
        with self.assertRaises(style.BadInput) as caught:
            self.pages(buckets, results)
        return str(caught.exception)

    def test_curve(self):
        """100 ops: 90 of them below 20 ns, 9 below 30, one below 1000."""
        curve = latency.curve_of({(10.0, 20.0): 90, (500.0, 1000.0): 1, (20.0, 30.0): 9})
        self.assertEqual([round(v, 9) for v in curve.left], [1, 10, 100])
        self.assertEqual(list(curve.ns), [20, 30, 1000])
        self.assertEqual([latency.percentile_text(v) for v in (1, 10, 100, 1000, 100000)],
                         ["p0", "p90", "p99", "p99.9", "p99.999"])

    def test_page(self):
        buckets = cell("null", 0, [("alloc", 10, 20, 600), ("free", 10, 20, 400)])
        buckets += cell("tlsf", 0, [("alloc", 30, 40, 599), ("alloc", 900, 1000, 1), ("free", 30, 40, 400)])
        buckets += cell("tlsf", 1, [("alloc", 30, 40, 600), ("free", 30, 40, 400), ("scope_exit", 5000, 5001, 9)])
        pages = self.pages(buckets, [result("null", 0), result("tlsf", 0, worst=100), result("tlsf", 1, worst=300),
                                     result("broken", 0, "oom", "no memory after 77 ops")])
        page = pages["latency-w"]
        self.assertEqual(len(page.axes), 4)  # all, alloc, free, scope_exit
        texts = test_plots.texts_of(page)
        self.assertTrue(any("oom (no memory after 77 ops)" in t for t in texts))
        self.assertIn("null (floor)", texts)
        every = [list(line.get_ydata()) for line in page.axes[0].get_lines()]
        self.assertIn([40, 1000, 1000], every, "both blocks, without the scopes' exits")
        self.assertIn([200], every, "the replay-minimum's maximum: the median of two blocks")
        self.assertFalse(any(5001 in ys for ys in every))
        self.assertIn([5001, 5001], [list(line.get_ydata()) for line in page.axes[3].get_lines()])
        test_plots.Drawn.check_layout(self, page)

    def test_damage_is_refused(self):
        good, rows = cell("tlsf", 0, [("alloc", 1, 2, 3)]), [result("tlsf", 0)]
        self.assertIn("latency.csv:2: op is 'fly', which is none of", self.refused(cell("x", 0, [("fly", 1, 2, 3)]), rows))
        self.assertIn("latency.csv:2: the bucket's high_ns is not above", self.refused(cell("x", 0, [("alloc", 2, 2, 3)]),
                                                                                     rows))
        self.assertIn("latency.csv:2: count is empty", self.refused(cell("x", 0, [("alloc", 1, 2, "")]), rows))
        other = [dict(rows[0], **{"pass": "memory"})]
        self.assertIn("no row has pass=latency: run with `--passes` that include latency", self.refused(good, other))


if __name__ == "__main__":
    unittest.main()
