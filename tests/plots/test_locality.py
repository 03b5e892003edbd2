"""test_locality.py - the locality figure from a made-up folder: bars are the counts, sources are named, damage is refused."""
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "..", "plots"), HERE]
sys.dont_write_bytecode = True

import locality  # noqa: E402
import style  # noqa: E402
import synthetic  # noqa: E402
import test_plots  # noqa: E402

COUNTS = "run_id allocator options workload threads release block via source model first_level last_level event count".split()
SIMULATED = [q.simulated for q in locality.QUANTITIES]
PMU = [c for q in locality.QUANTITIES for c in q.pmu]


def result(name, values=(), status="ok", detail="", what="locality", columns=SIMULATED):
    row = dict(run_id="r", block=0, order=0, allocator=name, options="", workload="w", threads=1, release="free",
               replay="serial", copies=1, via="vtable", touch="first", repeat=0, status=status, ops=1000, detail=detail,
               rank_group="floor" if name == "null" else "ranked")
    row["pass"] = what
    return {**row, **dict(zip(columns, values))}


def count(model="cache", first="32768,8,64", last="8388608,16,64", value=7):
    return dict(run_id="r", allocator="tlsf", options="", workload="w", threads=1, release="free", block=0, via="vtable",
                source="callgrind-3.19.0", model=model, first_level=first, last_level=last, event="Ir", count=value)


COUNTED = [count(), count("tlb", "262144,4,4096", "6291456,12,4096")]


class Locality(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = holder.name

    def pages(self, results, counts=(*COUNTED,), columns=(*SIMULATED, *PMU)):
        synthetic.write_csv(os.path.join(self.folder, "locality.csv"), COUNTS, counts)
        synthetic.write_csv(os.path.join(self.folder, "results.csv"), synthetic.RESULTS + list(columns), results)
        out = test_plots.Pages()
        locality.draw(self.folder, out)
        return out.pages

    def test_bars(self):
        page = self.pages([result("null", [21, 0.1, 0, 0]), result("tlsf", [90, 0.5, 0.02, 0]),
                           result("slab", [60, 0.4, 0, 5]), result("hoard", [70, 0.4, 0, 0.5]),
                           result("broken", [], "crash", "signal 11")])["locality-w"]
        self.assertEqual(len(page.axes), 4)
        texts = test_plots.texts_of(page)
        for text in ("null", "broken", "90", "0.02", "5", "broken: failed: crash (signal 11)"):
            self.assertIn(text, texts)
        said = " ".join(texts)
        self.assertIn("callgrind-3.19.0, data only, caches 32 KiB, 8 ways, then 8 MiB, 16 ways; TLBs 64 entries, 4 ways, "
                      "then 1536 entries, 12 ways", said.replace("\n", " "))
        self.assertIn("The machine's own counters were not read in this session.", texts)
        instructions, walks = page.axes[0], page.axes[3]
        self.assertEqual([bar.get_width() for bar in instructions.patches], [21, 70, 60, 90], "null first, then by name")
        self.assertEqual([list(line.get_xdata()) for line in instructions.get_lines() if line.get_linestyle() == "--"],
                         [[21, 21]], "the floor")
        self.assertLess(walks.get_xlim()[1], 5, "one that dwarfs the others is cut")
        test_plots.Drawn.check_layout(self, page)

    def test_counters_of_the_machine(self):
        rows = [result("null", [21, 0.1, 0, 0]), result("tlsf", [90, 0.5, 0.02, 0.1]),
                result("tlsf", [80, 0.25, 0.5, 0.25, 0.125], what="counters", columns=PMU),
                result("tlsf", [84, 0.75, 0.5, 0.25, 0.125], what="counters", columns=PMU)]
        page = self.pages(rows)["locality-w"]
        diamonds = [[float(line.get_xdata()[0]) for line in axes.get_lines() if line.get_marker() == "D" and
                     line.get_markerfacecolor() == "white"] for axes in page.axes]
        self.assertEqual(diamonds, [[82], [0.5], [0.5], [0.375]], "medians; of walks the sum of loads and stores")
        texts = test_plots.texts_of(page)
        self.assertIn("pmu (counted on the machine)", texts)
        self.assertIn("pmu: loads only", texts)
        test_plots.Drawn.check_layout(self, page)

    def test_folder_without_such_columns(self):
        page = self.pages([result("tlsf", [90, 0.5, 0.02, 0.1])], columns=SIMULATED)["locality-w"]
        self.assertIn("The machine's own counters were not read in this session.", test_plots.texts_of(page))

    def test_damage_is_refused(self):
        rows = [result("tlsf", [90, 0.5, 0.02, 0.1])]
        for counts, message in (([count("cash")], "locality.csv:2: model is 'cash', which is none of cache, tlb"),
                                ([count(first="32 KiB")], "locality.csv:2: '32 KiB' is not a level's bytes, ways and"),
                                ([count(value="")], "locality.csv:2: count is empty"),
                                ([], "locality.csv:1: no row besides the header")):
            with self.assertRaises(style.BadInput) as caught:
                self.pages(rows, counts)
            self.assertIn(message, str(caught.exception))
        with self.assertRaises(style.BadInput) as caught:
            self.pages([result("tlsf", [1], what="memory")])
        self.assertIn("no row has pass=locality: run with `--passes` that include locality", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
