"""test_classes.py - plots/classes.py: the grid of classes, what a design cannot tell, and damaged files."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "plots"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import numpy as np  # noqa: E402

import classes   # noqa: E402
import style     # noqa: E402
import synthetic # noqa: E402
import test_plots  # noqa: E402

CLASSES = ("run_id allocator options workload threads release via op_index class_bytes requests_count live_count "
           "requested_bytes usable_bytes internal_waste_bytes walk_meta_bytes walk_live_bytes walk_free_bytes "
           "walk_unused_bytes").split()


def row(name, size, waste, free, unused=0):
    found = dict.fromkeys(CLASSES, 0)
    found.update(run_id="r", allocator=name, options="", workload="w", threads=1, release="free", via="vtable",
                 class_bytes=size, internal_waste_bytes=waste, walk_free_bytes=free, walk_unused_bytes=unused)
    return found


def result(name, status="ok", detail=""):
    found = dict(run_id="r", block=0, order=0, allocator=name, options="", workload="w", threads=1, release="free",
                 replay="serial", copies=1, via="vtable", touch="page", repeat=0, status=status, ops=1000, detail=detail,
                 rank_group="ranked")
    found["pass"] = "memory"
    return found


class Classes(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = holder.name

    def pages(self, rows, results):
        synthetic.write_csv(os.path.join(self.folder, "classes.csv"), CLASSES, rows)
        synthetic.write_csv(os.path.join(self.folder, "results.csv"), synthetic.RESULTS, results)
        out = test_plots.Pages()
        classes.draw(self.folder, out)
        return out.pages

    ROWS = [row("tlsf", "", 0, 4096, 100), row("tlsf", 32, 10, 64), row("tlsf", 64, 20000, 0, 640),
            row("arena", "", "", 5000), row("arena", 48, "", 0), row("libc", 16, 7, "", ""), row("libc", 80, 9000, "", "")]

    def test_grid(self):
        self.pages(self.ROWS, [result("tlsf")])
        measured = classes.read_classes(self.folder)["w", "1"]
        found = [n for s, n in measured.items()]
        waste, sizes, _ = classes.grid_of(classes.PANELS[0], found)
        self.assertEqual(sizes, [16, 32, 48, 64, 80], "every class from the smallest to the greatest")
        self.assertEqual(waste[0].tolist(), [0, 10, 0, 20000, 0])
        self.assertTrue(np.isnan(waste[1]).all(), "arena cannot tell usable bytes")
        self.assertEqual(waste[2].tolist(), [7, 0, 0, 0, 9000])
        free, _, none = classes.grid_of(classes.PANELS[1], found)
        self.assertEqual(free[0].tolist(), [0, 64, 0, 640, 0])
        self.assertEqual(none[:2].tolist(), [4196, 5000])
        self.assertTrue(np.isnan(free[2]).all() and np.isnan(none[2]), "nobody walks libc")

    def test_ladder(self):
        """The classes of allocators/lib/size_class.h."""
        self.assertEqual(classes.LADDER[:8], [16, 32, 48, 64, 80, 96, 112, 128])
        self.assertEqual(classes.LADDER[8:25], [*range(144, 257, 16), *range(288, 513, 32), 576])

    def test_page(self):
        page = self.pages(self.ROWS, [result(n) for n in ("tlsf", "arena", "libc")] +
                          [result("broken", "oom", "after 3 ops")])["classes-w"]
        texts = test_plots.texts_of(page)
        self.assertEqual(texts.count("cannot tell"), 2)
        self.assertIn("19.5 KiB", texts)
        self.assertIn("4.79 KiB", texts)  # tlsf's free and unused bytes, those of no class among them
        self.assertTrue(any("oom (after 3 ops)" in t for t in texts))
        test_plots.Drawn.check_layout(self, page)

    def test_damage_is_refused(self):
        def refused(rows, results):
            with self.assertRaises(style.BadInput) as caught:
                self.pages(rows, results)
            return str(caught.exception)
        self.assertIn("classes.csv:2: class_bytes is 33, which is none", refused([row("a", 33, 1, 1)], [result("a")]))
        self.assertIn("classes.csv:2: walk_free_bytes is 'x'", refused([row("a", 32, 1, "x")], [result("a")]))
        self.assertIn("no row has pass=memory", refused(self.ROWS, [dict(result("a"), **{"pass": "verify"})]))


if __name__ == "__main__":
    unittest.main()
