"""test_scaling.py - the figure of scaling: medians and the ideal line from made-up rows, the law's coefficients found again, and a folder
without parallel replays."""
import contextlib
import io
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "..", "plots"), HERE]
sys.dont_write_bytecode = True

import numpy as np  # noqa: E402

import scaling  # noqa: E402
import style  # noqa: E402
import synthetic  # noqa: E402


class Pages(style.Output):
    def save(self, page, name):
        self.page = page


def row(name, copies, mops, repeat, replay="parallel"):
    made = dict(run_id="r", block=repeat, order=0, allocator=name, workload="random:ops=1k", threads=1, release="free",
                replay=replay, copies=copies, via="vtable", touch="first", repeat=repeat, status="ok", ops=1000,
                rank_group="ranked", ns_per_op=1000 / mops, mops_per_s=mops)
    made["pass"] = "throughput"
    return made


class Scaling(unittest.TestCase):
    def draw(self, rows):
        with tempfile.TemporaryDirectory() as folder:
            synthetic.write_csv(os.path.join(folder, "results.csv"), synthetic.RESULTS, rows)
            out = Pages(folder, False)
            scaling.draw(folder, out)
            return getattr(out, "page", None)

    def test_medians_and_ideal(self):
        rows = [row("segfit", n, x, i) for n, x in ((1, 10), (2, 18)) for i, x in enumerate((x - 1, x, x + 5))]
        rows.append(dict(row("freelist", 1, 5, 0), status="not_applicable", detail="one thread", mops_per_s=""))
        page = self.draw(rows)
        lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in page.axes[0].get_lines()]
        self.assertEqual(lines[0], ([1, 2], [10, 18]))
        self.assertEqual(lines[-1], ([0, 2], [0, 20]), "ideal: twice the best single one")
        texts = [t.get_text() for t in page.figure.texts]
        self.assertTrue(any("segfit: efficiency 0.90 with 2 copies" in t for t in texts), texts)
        self.assertTrue(any("Not drawn: freelist (one thread)" in t for t in texts), texts)

    def test_law(self):
        n = np.array([1.0, 2, 4, 8, 16])
        for contention, coherence in ((0.1, 0.01), (0.2, 0), (0, 0.003), (0, 0)):
            found = scaling.usl(n, n * 7 / (1 + contention * (n - 1) + coherence * n * (n - 1)))
            np.testing.assert_allclose(found, (7, contention, coherence), atol=1e-9)
        self.assertIsNone(scaling.usl(n[:3], n[:3]), "three points are too few for three unknowns")
        faster = scaling.usl(n, n ** 1.2)
        self.assertEqual(list(faster[1:]), [0, 0], "no coefficient is below 0")

    def test_fit_is_drawn(self):
        page = self.draw([row("segfit", n, 10 * n / (1 + 0.5 * (n - 1)), 0) for n in (1, 2, 4, 8)])
        self.assertIn(":", [line.get_linestyle() for line in page.axes[0].get_lines()])

    def test_nothing_parallel(self):
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            page = self.draw([row("segfit", 1, 10, 0, "serial")])
        self.assertIsNone(page)
        self.assertIn("nothing was replayed in parallel", said.getvalue())


if __name__ == "__main__":
    unittest.main()
