"""test_response.py - the open loop's figure from a made-up folder: both times of each design in one panel; damage is refused."""
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "..", "plots"), HERE]
sys.dont_write_bytecode = True

import response  # noqa: E402
import style  # noqa: E402
import synthetic  # noqa: E402
import test_latency  # noqa: E402
import test_plots  # noqa: E402

OPEN = "run_id allocator options workload threads release block via schedule rate_per_s time low_ns high_ns count".split()


def cell(name, times, schedule="poisson", rate=5000):
    """Rows of open.csv: `times` are (time, low, high, count)."""
    return [dict(run_id="r", allocator=name, options="", workload="w", threads=1, release="free", block=0, via="vtable",
                 schedule=schedule, rate_per_s=rate, time=time, low_ns=low, high_ns=high, count=count)
            for time, low, high, count in times]


def result(name):
    row = test_latency.result(name, 0)
    row["pass"] = "open"
    return row


class Response(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = holder.name

    def pages(self, times, results):
        synthetic.write_csv(os.path.join(self.folder, "open.csv"), OPEN, times)
        synthetic.write_csv(os.path.join(self.folder, "results.csv"), synthetic.RESULTS + ["replay_min_max_ns"], results)
        out = test_plots.Pages()
        response.draw(self.folder, out)
        return out.pages

    def test_page(self):
        rows = cell("null", [("response", 10, 20, 1000), ("service", 10, 20, 1000)])
        rows += cell("tlsf", [("response", 30, 40, 500), ("response", 9000, 9100, 500), ("service", 30, 40, 1000)])
        page = self.pages(rows, [result("null"), result("tlsf")])["response-w"]
        texts = test_plots.texts_of(page)
        for text in ("null (floor)", "response time", "service time"):
            self.assertIn(text, texts)
        self.assertTrue(any("poisson schedule, 5,000 arrivals per second for all" in t for t in texts), texts)
        lines = {(line.get_linestyle(), tuple(line.get_ydata())) for line in page.axes[0].get_lines()}
        self.assertIn(("-", (40, 9100, 9100)), lines)
        self.assertIn((":", (40, 40)), lines)
        test_plots.Drawn.check_layout(self, page)

    def test_damage_is_refused(self):
        good = cell("tlsf", [("response", 1, 2, 3), ("service", 1, 2, 3)])
        for rows, said in ((cell("x", [("lunch", 1, 2, 3)]), "open.csv:2: time is 'lunch', which is none of"),
                           (cell("x", [("service", 2, 2, 3)]), "open.csv:2: the bucket's high_ns is not above"),
                           (good + cell("x", [("service", 1, 2, 3)], rate=7), "open.csv:4: another schedule or rate")):
            with self.assertRaises(style.BadInput) as caught:
                self.pages(rows, [result("tlsf")])
            self.assertIn(said, str(caught.exception))


if __name__ == "__main__":
    unittest.main()
