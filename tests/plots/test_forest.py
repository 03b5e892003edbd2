"""test_forest.py - the figure of ratios from made-up rows: markers, intervals and order are the file's, what could be chance looks so,
damage is refused."""
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "..", "plots"), HERE]
sys.dont_write_bytecode = True

import forest  # noqa: E402
import style  # noqa: E402
import synthetic  # noqa: E402
import test_plots  # noqa: E402

COLUMNS = ("run_id allocator options workload threads release replay copies via touch rank_group pass metric base "
           "base_options base_release blocks ratio low high p q method verdict tied").split()


def row(name, ratio, low, high, verdict, **more):
    made = dict(run_id="r", allocator=name, workload="random:ops=1k", threads=1, release="free", replay="serial", copies=1,
                via="vtable", touch="first", rank_group="ranked", metric="ns_per_op", base="libc", base_release="free",
                blocks=10, ratio=ratio, low=low, high=high, p=0.01, q=0.02, method="exact", verdict=verdict)
    made["pass"] = "throughput"
    return {**made, **more}


ROWS = [row("slab", 1.5, 1.2, 1.7, "slower"), row("segfit", 0.5, 0.4, 0.6, "faster"), row("tlsf", 1.01, 0.9, 1.1, "undecided"),
        row("null", 0.1, 0.1, 0.1, "floor", p="", q="", rank_group="floor"),
        row("bump", 0.3, 0.2, 0.4, "faster", rank_group="never_frees")]


class Forest(unittest.TestCase):
    def pages(self, rows):
        with tempfile.TemporaryDirectory() as folder:
            synthetic.write_csv(os.path.join(folder, "comparisons.csv"), COLUMNS, rows)
            out = test_plots.Pages()
            forest.draw(folder, out)
            return out.pages

    def refused(self, **damage):
        with self.assertRaises(style.BadInput) as caught:
            self.pages([ROWS[0], {**ROWS[1], **damage}])
        return str(caught.exception)

    def test_lines(self):
        page, = self.pages(ROWS).values()
        axes, = page.axes
        self.assertEqual(axes.get_xscale(), "log")
        lines = [(list(l.get_xdata()), list(l.get_ydata()), l) for l in axes.get_lines()]
        self.assertIn(([1, 1], [0, 1]), [l[:2] for l in lines], "the base")
        for y, (low, ratio, high) in enumerate([(0.4, 0.5, 0.6), (0.9, 1.01, 1.1), (1.2, 1.5, 1.7), None, (0.2, 0.3, 0.4)][:3]):
            bar = next(l for xs, ys, l in lines if (xs, ys) == ([low, high], [y, y]))
            mark = next(l for xs, ys, l in lines if (xs, ys) == ([ratio], [y]))
            chance = y == 1
            self.assertEqual((bar.get_linestyle() != "-", mark.get_markerfacecolor() == "white"), (chance, chance))
        self.assertIn([0.2, 0.4], [xs for xs, ys, _ in lines if ys == [4, 4]], "apart, below its heading")
        texts = test_plots.texts_of(page)
        for wanted in ("0.500", "~1.010", "0.900..1.10", "base: libc · 10 blocks", style.APART["never_frees"]):
            self.assertIn(wanted, texts)
        self.assertNotIn("null", texts)

    def test_pages_and_panels(self):
        rows = ROWS + [row("slab", 2, 1, 3, "slower", metric="p99_ns"), row("slab", 1.5, 1.2, 1.7, "slower", workload="b")]
        pages = self.pages(rows)
        self.assertEqual({name: len(page.axes) for name, page in pages.items()}, {"forest-ns_per_op": 2, "forest-p99_ns": 1})

    def test_few_blocks_have_no_interval(self):
        page, = self.pages([row("slab", 1.5, "", "", "undecided", blocks=3), row("tlsf", 9, "", "", "undecided", blocks=2)]).values()
        self.assertFalse([l for l in page.axes[0].get_lines() if len(set(l.get_ydata())) == 1 and len(l.get_xdata()) == 2])
        self.assertIn("base: libc · 2 to 3 blocks", test_plots.texts_of(page))

    def test_layout(self):
        long = "an_allocator_with_a_name_that_goes_on_and_on_and_on"
        many = [row(f"{long}{i}", 0.5 + i / 7, 0.4 + i / 7, 0.6 + i / 6, "slower", workload=w,
                    rank_group="never_frees" if i > 7 else "ranked") for i in range(10) for w in "ab"]
        for rows in (ROWS, ROWS[:1], many):
            for page in self.pages(rows).values():
                test_plots.Drawn.check_layout(self, page)

    def test_damage_is_refused(self):
        self.assertIn("comparisons.csv:3: verdict is 'best', which is none of faster, slower", self.refused(verdict="best"))
        self.assertIn("comparisons.csv:3: ratio, low and high are no ratio", self.refused(low="0.6"))
        self.assertIn("comparisons.csv:3: ratio, low and high are no ratio", self.refused(high=""))
        self.assertIn("comparisons.csv:3: ratio is '-1', which is not a number >= 0", self.refused(ratio="-1"))
        self.assertIn("comparisons.csv:3: ratio, low and high are no ratio", self.refused(ratio="0"))


if __name__ == "__main__":
    unittest.main()
