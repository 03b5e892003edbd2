"""test_trace_figures.py - the figures of `alloclab trace info --csv`: lifemap, liveset and handover, from made-up tables with known
pictures, and damaged ones."""
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "plots"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import handover    # noqa: E402
import lifemap     # noqa: E402
import liveset     # noqa: E402
import style       # noqa: E402
import synthetic   # noqa: E402
import test_plots  # noqa: E402

HEAT = "unit size_low_bytes size_high_bytes life_low life_high objects".split()
LIVE = "ops clock_ns live_objects live_bytes peak_objects peak_bytes allocated_bytes".split()
PAIRS = "made_by freed_by frees bytes".split()


class Figure(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = holder.name
        self.table("summary.csv", ["key", "value"], [("file", "/a/b/my, own.trace"), ("ops", 123456)])

    def table(self, name, columns, rows):
        synthetic.write_csv(os.path.join(self.folder, name), columns, [dict(zip(columns, row)) for row in rows])

    def page(self, figure):
        out = test_plots.Pages()
        figure.draw(self.folder, out)
        (page,) = out.pages.values()
        self.assertTrue(any("my, own.trace" in text for text in test_plots.texts_of(page)))
        test_plots.Drawn.check_layout(self, page)
        return page

    def refused(self, message, figure):
        with self.assertRaises(style.BadInput) as caught:
            figure.draw(self.folder, test_plots.Pages())
        self.assertIn(message, str(caught.exception))


class LifeMap(Figure):
    ROWS = [("ops", 0, 0, 1, 1, 5), ("ops", 16, 19, 2, 2, 1000), ("ops", 1 << 20, (1 << 20) + (1 << 18) - 1, 4096, 6143, 1),
            ("bytes", 16, 19, 0, 0, 1006), ("ns", 16, 19, 768, 1023, 1006)]

    def test_cells(self):
        self.table("heat.csv", HEAT, self.ROWS)
        page = self.page(lifemap)
        self.assertEqual(len(page.axes), 3)
        cells = page.axes[0].collections[0]
        self.assertEqual(list(cells.get_array()), [5, 1000, 1])
        boxes = [path.get_extents() for path in cells.get_paths()]
        self.assertEqual([(b.x0, b.x1, b.y0, b.y1) for b in boxes],
                         [(1, 2, 0.5, 1), (2, 3, 16, 20), (4096, 6144, 1 << 20, (1 << 20) + (1 << 18))])
        self.assertIn("123.5 k ops; 1.006 k objects that the recording made and freed", test_plots.texts_of(page))

    def test_axes_of_extremes(self):
        """Lifetimes of one cell, without a round number in it, and of all there are: each axis has names that can be read."""
        most = 1 << 64
        for rows in [("ops", 6, 6, 3, 3, 1), ("bytes", 10, 11, 12, 15, 1), ("ns", 6, 6, 6144, 8191, 1)], [
                ("ops", 0, 0, 1, 1, 1), ("ops", 1 << 39, (5 << 37) - 1, most - most // 4, most - 1, 1), ("bytes", 0, 0, 0, 0, 1),
                ("bytes", 1 << 39, (5 << 37) - 1, most - most // 4, most - 1, 1), ("ns", 0, 0, 0, 0, 1),
                ("ns", 1 << 39, (5 << 37) - 1, most - most // 4, most - 1, 1)]:
            self.table("heat.csv", HEAT, rows)
            for axes in self.page(lifemap).axes:
                for axis in axes.xaxis, axes.yaxis:
                    self.assertTrue([t for t in axis.get_ticklabels() if t.get_text()], axes.get_title())

    def test_without_a_clock(self):
        self.table("heat.csv", HEAT, self.ROWS[:4])
        self.assertEqual(len(self.page(lifemap).axes), 2)

    def test_damage(self):
        self.table("heat.csv", HEAT, self.ROWS + [("hours", 1, 1, 1, 1, 1)])
        self.refused("heat.csv:7: unit is 'hours', not one of ops, bytes, ns", lifemap)
        self.table("heat.csv", HEAT, [("ops", 1, 1, 5, 4, 1)])
        self.refused("heat.csv:2: a range ends before it begins", lifemap)
        self.table("heat.csv", HEAT, [])
        self.refused("the trace freed nothing that it made", lifemap)
        self.table("heat.csv", HEAT, self.ROWS)
        self.table("summary.csv", ["key", "value"], [("file", "x")])
        self.refused("summary.csv:1: it does not say the trace's file and ops", lifemap)


class LiveSet(Figure):
    def test_lines(self):
        self.table("live.csv", LIVE, [(512, "", 10, 4096, 20, 8192, 9), (1024, "", 5, 100, 12, 5000, 10)])
        page = self.page(liveset)
        (line,) = page.axes[0].get_lines()
        self.assertEqual((list(line.get_xdata()), list(line.get_ydata())), ([512, 1024], [4096, 100]))
        self.assertEqual(list(page.axes[1].get_lines()[0].get_ydata()), [10, 5])
        self.assertIn("peak 8 KiB, at the end 100 B", test_plots.texts_of(page))
        self.assertEqual(page.axes[0].collections[0].get_paths()[0].get_extents().y1, 8192)

    def test_one_op(self):
        self.table("live.csv", LIVE, [(1, "", 1, 24, 1, 24, 24)])
        self.assertEqual(self.page(liveset).axes[0].get_lines()[0].get_marker(), "o")

    def test_damage(self):
        self.table("live.csv", LIVE, [(512, "", 1, 1, 1, 1, 1), (512, "", 1, 1, 1, 1, 1)])
        self.refused("live.csv:3: ops is not above that of the row before", liveset)
        self.table("live.csv", LIVE, [(512, "", 1, 2, 1, 1, 1)])
        self.refused("live.csv:2: live_bytes is above peak_bytes", liveset)


class HandOver(Figure):
    def test_matrix(self):
        self.table("handover.csv", PAIRS, [(0, 0, 60, 1), (2, 2, 10, 1), (0, 2, 20, 1), (7, 0, 10, 1)])
        page = self.page(handover)
        image = page.axes[0].images[0].get_array()
        self.assertEqual(image.filled(0).tolist(), [[60, 20, 0], [0, 10, 0], [10, 0, 0]])
        self.assertIn("123.5 k ops; 30.0% of the frees are by another thread than the one that made the object",
                      test_plots.texts_of(page))

    def test_many_threads(self):
        """As many as can be told apart, not all with their numbers; shares are of all frees, shown or not."""
        for threads in 100, 300:
            self.table("handover.csv", PAIRS, [(i, i, 1000, 1) for i in range(threads)] +
                       [(i, (i + 1) % threads, 1000, 1) for i in range(threads)])
            page = self.page(handover)
            texts, shown = test_plots.texts_of(page), min(threads, 128)
            self.assertEqual(page.axes[0].images[0].get_array().shape, (shown, shown))
            self.assertLessEqual(len(page.axes[0].get_xticks()), 24)
            self.assertIn("123.5 k ops; 50.0% of the frees are by another thread than the one that made the object", texts)
            self.assertEqual(any(text.startswith("128 of 300 threads are shown") for text in texts), threads == 300)

    def test_long_numbers(self):
        """Threads have as many names as there is room for."""
        for first in 10, 9000, 99900, 4294967000:
            self.table("handover.csv", PAIRS, [(i, i + 1, 5, 1) for i in range(first, first + 100)])
            self.assertGreaterEqual(len(self.page(handover).axes[0].get_xticks()), 5)

    def test_one_thread(self):
        """And few frees: the bar of colours has names that can be read."""
        for frees in 1, 2, 7, 9, 10, 100000:
            self.table("handover.csv", PAIRS, [(0, 0, frees, 1)])
            page = self.page(handover)
            page.figure.canvas.draw()
            names = [text.get_text() for which in ("major", "minor") for text in
                     page.figure.axes[-1].yaxis.get_ticklabels(which=which) if text.get_text()]
            self.assertGreaterEqual(len(names), 2)
            self.assertFalse([name for name in names if "$" in name], frees)

    def test_nothing_to_draw_is_no_failure(self):
        """A trace that freed nothing has two figures less; a damaged table is one."""
        for name, columns in ("heat.csv", HEAT), ("handover.csv", PAIRS):
            self.table(name, columns, [])
        for figure in lifemap, handover:
            done = subprocess.run([sys.executable, figure.__file__, self.folder], capture_output=True, text=True, timeout=120,
                                  check=False)
            self.assertEqual((done.returncode, "the trace freed nothing that it made" in done.stderr), (0, True), done.stderr)
        self.table("handover.csv", PAIRS, [(0, 0, 0, 1)])
        self.assertEqual(subprocess.run([sys.executable, handover.__file__, self.folder], capture_output=True, timeout=120,
                                        check=False).returncode, 2)

    def test_damage(self):
        self.table("handover.csv", PAIRS, [(0, 0, 0, 1)])
        self.refused("handover.csv:2: a pair without frees", handover)
        self.table("handover.csv", PAIRS, [])
        self.refused("the trace freed nothing that it made", handover)


if __name__ == "__main__":
    unittest.main()
