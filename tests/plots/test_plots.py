"""test_plots.py - the figures: each is drawn from a made-up folder, looks follow from names, damage is refused.

What a figure shows is checked on its page (axes, texts, markers) rather than on pixels; layout is checked by the
boxes of its texts, none of which may cover another or leave the page.
"""
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import unittest
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
PLOTS = os.path.join(HERE, "..", "..", "plots")
sys.path[:0] = [PLOTS, HERE]
sys.dont_write_bytecode = True

from matplotlib.text import Text  # noqa: E402

import heapmap  # noqa: E402
import memory  # noqa: E402
import pareto  # noqa: E402
import style  # noqa: E402
import synthetic  # noqa: E402
import throughput  # noqa: E402

FIGURES = {"throughput": throughput, "memory": memory, "heapmap": heapmap, "pareto": pareto}
FREELISTS = [("freelist", f"fit={fit},coalesce={coalesce},header=inband")
             for fit, coalesce in (("first", "now"), ("best", "now"), ("best", "later"))]


class Pages(style.Output):
    """Keeps the pages instead of writing them."""

    def __init__(self):
        super().__init__("", False)
        self.pages = {}

    def save(self, page, name):
        self.pages[name] = page


def pages_of(figure, folder):
    pages = Pages()
    FIGURES[figure].draw(folder, pages)
    return pages.pages


def texts_of(page):
    """All texts of a page, of its figure and of its axes."""
    return [a.get_text() for a in page.figure.findobj(Text) if a.get_text()]


def read_bytes(path):
    with open(path, "rb") as file:
        return file.read()


class Folder(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = holder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def edit(self, name, change):
        with open(self.path(name), encoding="utf-8") as file:
            text = file.read()
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(change(text))

    def message(self, figure):
        with self.assertRaises(style.BadInput) as caught:
            pages_of(figure, self.folder)
        return str(caught.exception)


class Drawn(Folder):
    def test_files(self):
        """Every figure writes what it prints, as PNG and PDF, and the same bytes each time."""
        synthetic.write_folder(self.folder, allocators=["null", "libc", "freelist"], samples=5)
        names = {"throughput": "throughput", "pareto": "pareto", "memory": "memory-random-ops-200k",
                 "heapmap": "heapmap-random-ops-200k"}
        for figure, name in names.items():
            contents = []
            for _ in range(2):
                out = io.StringIO()
                with contextlib.redirect_stdout(out):
                    FIGURES[figure].draw(self.folder, style.Output(self.folder, True))
                paths = [self.path(f"{name}.{kind}") for kind in ("png", "pdf")]
                self.assertEqual(out.getvalue().split("\n")[:-1], paths)
                contents.append([read_bytes(p) for p in paths])
            self.assertTrue(contents[0][0].startswith(b"\x89PNG"))
            self.assertGreater(len(contents[0][0]), 10000)
            self.assertEqual(contents[0], contents[1], f"{figure}: two drawings differ")
        self.assertFalse([n for n in os.listdir(self.folder) if n.endswith(".part")])

    def test_what_can_be_drawn_is_drawn(self):
        """make figures: a pass that was left out costs the figures of that pass, not those after them; status 2."""
        synthetic.write_folder(self.folder, allocators=["null", "libc"], samples=2)
        self.edit("results.csv", lambda t: "\n".join(l for l in t.split("\n") if ",memory," not in l))
        env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
        done = subprocess.run(["make", "-s", "figures", f"DIR={self.folder}"], capture_output=True, text=True, env=env,
                              check=False)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(done.stdout.split(), [self.path("throughput.png")])
        self.assertIn("no row has pass=memory: run with `--passes` that include memory", done.stderr)

    def test_the_floor_alone(self):
        synthetic.write_folder(self.folder, allocators=["null"], samples=2)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.assertEqual(list(pages_of("throughput", self.folder)), ["throughput"])

    def test_layout(self):
        """No text covers another or leaves the page, with few and many, long and failed allocators."""
        long = "an_allocator_with_a_name_that_goes_on_and_on_and_on"
        situations = {
            "one sample": dict(allocators=["freelist"], repeats=1, samples=1),
            "all failed": dict(failed="all"),
            "long names": dict(allocators=["null", "libc", long, "guard/" + long, "bump"] + FREELISTS,
                               workloads=["/some/where/a/long/path/to/the-recording-of-a-program.trace"],
                               failed={"libc": ("crash", "signal 11 " * 30)}, samples=8),
            "many": dict(allocators=synthetic.ALLOCATORS, workloads=["a", "b"], samples=4,
                         failed={"slab": ("timeout", "")}),
        }
        for what, situation in situations.items():
            folder = self.path(what)
            synthetic.write_folder(folder, **situation)
            for figure in FIGURES:
                for name, page in list(pages_of(figure, folder).items())[:1]:
                    with self.subTest(situation=what, figure=name):
                        self.check_layout(page)

    def check_layout(self, page):
        page.figure.draw_without_rendering()
        area, boxes = page.figure.bbox, []
        ticks = {t for a in page.axes for axis in (a.xaxis, a.yaxis) for t in axis.get_ticklabels()}
        for text in page.figure.findobj(Text):
            if not text.get_text().strip() or not text.get_visible():
                continue
            box = text.get_window_extent()
            if text in ticks and not (0 < box.x0 and box.x1 < area.x1):
                continue  # a tick outside the limits is not drawn
            self.assertTrue(box.x0 >= -1 and box.x1 <= area.x1 + 1 and box.y0 >= -1 and box.y1 <= area.y1 + 1,
                            f"'{text.get_text()}' leaves the page")
            boxes.append((text.get_text(), box))
        for i, (text, box) in enumerate(boxes):
            for other, covered in boxes[i + 1:]:
                wide = min(box.x1, covered.x1) - max(box.x0, covered.x0)
                tall = min(box.y1, covered.y1) - max(box.y0, covered.y0)
                self.assertFalse(wide > 2 and tall > 4, f"'{text}' covers '{other}'")

    def test_failed_cells_are_shown(self):
        synthetic.write_folder(self.folder, failed={"libc": ("oom", "no memory after 77 ops")})
        for figure in FIGURES:
            for page in pages_of(figure, self.folder).values():
                shown = " ".join(texts_of(page))
                self.assertIn("libc", shown, figure)
                self.assertIn("oom (no memory after 77 ops)", shown, figure)

    def test_never_frees_stands_apart(self):
        """bump is fastest here, and neither the base of the ratios nor on the front."""
        synthetic.write_folder(self.folder, allocators=["null", "freelist", "bump", "arena"])
        rows = [r for r in style.read_results(self.folder) if r.what == "throughput"]
        lines, apart, floor = throughput.panel_lines(rows)
        self.assertEqual([l.series.allocator for l in lines], ["arena", "freelist"])
        self.assertEqual([l.series and l.series.allocator for l in apart], [None, "bump"])
        self.assertEqual([l.series.allocator for l in floor], ["null"])
        memory_rows = [r for r in style.read_results(self.folder) if r.what == "memory"]
        points, notes = pareto.points_of(rows, memory_rows, style.label_series(r.series for r in rows))
        self.assertNotIn("bump", [p.series.allocator for p in pareto.front_of(points)])
        self.assertEqual(len(points), 3)
        self.assertTrue(notes[0].startswith("floor: null, "))

    def test_what_is_called_in_another_way_stands_apart(self):
        """In a session that ranks what is called through malloc, a design called through the contract is not ranked."""
        synthetic.write_folder(self.folder, allocators=["null", "jemalloc", "mimalloc", "arena", "bump"])
        self.edit("results.csv", lambda t: "\n".join(l.replace(",ranked", ",other_via") if ",arena," in l else l
                                                     for l in t.split("\n")))
        rows = [r for r in style.read_results(self.folder) if r.what == "throughput"]
        lines, apart, _ = throughput.panel_lines(rows)
        self.assertEqual({l.series.allocator for l in lines}, {"jemalloc", "mimalloc"})
        self.assertEqual([l.heading or l.series.allocator for l in apart],
                         [style.APART["other_via"], "arena", style.APART["never_frees"], "bump"])
        memory_rows = [r for r in style.read_results(self.folder) if r.what == "memory"]
        points, _ = pareto.points_of(rows, memory_rows, style.label_series(r.series for r in rows))
        self.assertEqual({p.series.allocator for p in points if p.ranked}, {"jemalloc", "mimalloc"})
        for figure in FIGURES:
            self.assertTrue(pages_of(figure, self.folder), figure)

    def test_front(self):
        def point(name, speed, peak):
            return pareto.Point(style.Series(name, "", "free", ""), [speed], speed, peak, name != "out")
        points = [point("a", 1, 1), point("b", 2, 2), point("beaten", 1.5, 3), point("out", 9, 0), point("c", 5, 2.5)]
        self.assertEqual([p.series.allocator for p in pareto.front_of(points)], ["a", "b", "c"])

    def test_crowded_labels(self):
        """Twelve designs of nearly the same speed and memory: each label is still readable."""
        series = [style.Series(n, "", "free", "") for n in synthetic.ALLOCATORS]
        points = [pareto.Point(s, [10 + i % 4 / 50], 10 + i % 4 / 50, (1 << 20) * (40 + i % 3 / 10), True)
                  for i, s in enumerate(series)]
        page = style.Page("Crowd", [], [("w", [], pareto.TALL, None)], 1, 5.6, 0.85, 0.2, 0.48)
        pareto.draw_panel(page.axes[0], points, {s: s.allocator for s in series})
        self.check_layout(page)

    def test_dwarfing_panel_is_clipped_and_says_so(self):
        synthetic.write_folder(self.folder)
        page = pages_of("memory", self.folder)["memory-random-ops-200k"]
        limits = {a.get_ylim() for a in page.axes}
        self.assertEqual(len(limits), 1, "panels do not share their axis")
        self.assertLess(limits.pop()[1], 30 << 20)
        self.assertIn("▲ leaves the axis, reaches 234 MiB", texts_of(page))

    def test_release_modes_share_a_panel(self):
        """A design with scopes and one without are compared on the same workload, each in its own mode."""
        synthetic.write_folder(self.folder)
        for name in ("results.csv", "timeline.csv", "heapmap.csv"):
            self.edit(name, lambda t: "\n".join(l.replace(",free,", ",scope,") if ",bump," in l else l
                                                for l in t.split("\n")))
        pages = pages_of("throughput", self.folder)
        self.assertEqual(len(pages["throughput"].axes), 1)
        self.assertIn("bump (scope)", texts_of(pages["throughput"]))
        self.assertIn("bump (scope)", texts_of(pages_of("memory", self.folder)["memory-random-ops-200k"]))

    def test_not_applicable_is_said(self):
        synthetic.write_folder(self.folder, failed={"libc": ("not_applicable", "the design has no scopes")})
        for figure in FIGURES:
            for page in pages_of(figure, self.folder).values():
                self.assertIn("Not drawn: libc (the design has no scopes)", " ".join(texts_of(page)), figure)


class Numbers(Folder):
    def test_layers_add_up_to_committed(self):
        synthetic.write_folder(self.folder, allocators=["freelist", "bump", "libc"])
        recordings, table = style.read_recordings(self.folder, "timeline.csv", memory.COLUMNS, memory.MAY_BE_EMPTY)
        for (allocator, _, _), r in recordings["random:ops=200k", "1"].items():
            layers, notes = memory.layers_of(r)
            if allocator == "libc":
                self.assertEqual((len(layers), notes), (1, ["no walk: memory not through the counted door"]))
            else:
                self.assertEqual(len(layers), len(memory.LAYERS))
                self.assertTrue((sum(layers) == r["committed_bytes"]).all())
                self.assertEqual((layers[2] > 0).any(), allocator == "bump")
                layers, _ = memory.layers_of({**r, "usable_bytes": r["usable_bytes"] * float("nan")})
                self.assertTrue((sum(layers) == r["committed_bytes"]).all())
                self.assertFalse(layers[1].any() or layers[2].any())
                layers, notes = memory.layers_of({**r, **{column: r[column] * float("nan") for column in memory.WALK}})
                self.assertTrue((sum(layers) == r["committed_bytes"]).all(), "without a walk the sum is known all the same")
                self.assertEqual((notes, any(layer.any() for layer in layers[1:-1])), (["no walk"], False))

    def test_map_colours(self):
        """A bucket of one kind has its colour; half live and half free is between; what is missing is white."""
        rows = [dict(run_id="r", allocator="x", options="", workload="w", threads=1, release="free", sample=s,
                     op_index=s, bucket=b, bucket_bytes=4096, offset_bytes=b * 4096, meta_bytes=0,
                     live_bytes=live, free_bytes=free, unused_bytes=0) for s, b, live, free in ((0, 0, 4096, 0), (1, 0, 2048, 2048), (1, 2, 0, 4096))]
        synthetic.write_csv(self.path("heapmap.csv"), synthetic.HEAPMAP, rows)
        found = heapmap.read_maps(self.folder)["w", "1"]["x", "", "free"]
        live, free = (heapmap.to_rgb(style.KIND_COLOURS[k]) for k in ("live", "free"))
        between = tuple((a + b) / 2 for a, b in zip(live, free))
        white = (1, 1, 1)
        self.assertEqual((found.span, list(found.times)), (3 * 4096, [0, 1]))
        for column, expected in enumerate([(live, white, white), (between, white, free)]):
            for row, colour in enumerate(expected):
                for got, want in zip(found.image[row, column], colour):
                    self.assertAlmostEqual(got, want)

    def test_axis_limit(self):
        self.assertEqual(style.axis_limit([10]), 10)
        self.assertEqual(style.axis_limit([10, 12, 100]), 12)
        self.assertEqual(style.axis_limit([10, 100]), 10)
        self.assertEqual(style.axis_limit([10, 25, 60]), 60)
        self.assertEqual(style.axis_limit([3.6, 4.4, 4.5, 19.6, 395]), 19.6)

    def test_heapmap_scales(self):
        """A map that the others would press into a line, or that would do so to them, has a scale of its own."""
        self.assertEqual(heapmap.tops([10, 12, 40]), [(12, False), (12, False), (40, True)])
        self.assertEqual(heapmap.tops([90, 2, 88]), [(90, False), (2, True), (90, False)])
        self.assertEqual(heapmap.tops([90, 22.5]), [(90, True), (22.5, False)])

    def test_texts(self):
        self.assertEqual([style.bytes_text(v) for v in (0, 1023, 1024, 1536 << 10, 1 << 40)],
                         ["0 B", "1023 B", "1 KiB", "1.5 MiB", "1 TiB"])
        self.assertEqual([style.count_text(v) for v in (7, 1500, 200000, 1e7)], ["7", "1.5 k", "200 k", "10 M"])


class Names(unittest.TestCase):
    def test_labels(self):
        def label(*specs):
            series = [style.Series(*spec, "free", "vtable") for spec in specs]
            return list(style.label_series(series).values())
        self.assertEqual(label(FREELISTS[0]), ["freelist"])
        self.assertEqual(label(FREELISTS[0], FREELISTS[1]), ["freelist:fit=first", "freelist:fit=best"])
        self.assertEqual(label(*FREELISTS), ["freelist:fit=first,coalesce=now", "freelist:fit=best,coalesce=now",
                                             "freelist:fit=best,coalesce=later"])
        self.assertEqual(label(("guard/freelist", "sample=1/fit=first"), ("guard/freelist", "sample=1/fit=best")),
                         ["guard/freelist:fit=first", "guard/freelist:fit=best"])

    def test_looks_follow_from_the_name_alone(self):
        """Pinned: changing these would change the looks of every allocator in every figure ever drawn."""
        def look(name, options=""):
            return style.look(style.Series(name, options, "free", "vtable"))
        self.assertEqual(look("freelist")[:2], ("#005c43", ">"))
        self.assertEqual(look("libc")[:2], ("#d8c400", "o"))
        self.assertEqual(look("freelist")[:2], look("freelist", "fit=best")[:2])
        names = "null libc bump arena freelist jemalloc mimalloc tcmalloc tbbmalloc".split()
        self.assertEqual(len({look(n).colour for n in names}), len(names))
        self.assertEqual(len({look(n).marker for n in names}), len(names))

    def test_same_colour_across_figures_and_subsets(self):
        with tempfile.TemporaryDirectory() as folder:
            seen = {}
            for subset in (["freelist", "arena", "libc"], ["arena", "segfit", "buddy", "tlsf", "freelist"]):
                target = os.path.join(folder, str(len(subset)))
                synthetic.write_folder(target, allocators=subset, samples=3, repeats=2)
                for figure in FIGURES:
                    for page in pages_of(figure, target).values():
                        for line in page.figure.findobj(style.matplotlib.lines.Line2D):
                            if line.get_marker() == style.look(style.Series("freelist", "", "", "")).marker:
                                seen.setdefault(line.get_markerfacecolor(), set()).add((figure, len(subset)))
            self.assertEqual(len(seen["#005c43"]), 8, "freelist is not in its colour in every figure")

    def test_file_names(self):
        def case(workload, threads="1"):
            return style.Case(workload, threads, "serial", "page", "1")
        cases = [case("traces/samples/sqlite.trace"), case("a:x=1,y=2"), case("w", "1"), case("w", "2"),
                 case("one/t.trace"), case("other/t.trace"), case("$%&"), case("long" * 40)]
        names = style.case_slugs(cases)
        self.assertEqual([names[c] for c in cases[:4]], ["sqlite", "a-x-1-y-2", "w-threads-1", "w-threads-2"])
        self.assertEqual(len(set(names.values())), len(cases))
        for name in names.values():
            self.assertRegex(name, r"^[A-Za-z0-9.-]{1,67}$")


class Refused(Folder):
    def check(self, figure, name, change, expected):
        synthetic.write_folder(self.folder, samples=3, repeats=1)
        self.edit(name, change)
        self.assertEqual(self.message(figure), self.path(name) + expected)

    def test_missing_column(self):
        self.check("throughput", "results.csv", lambda t: t.replace("ns_per_op", "nanoseconds", 1),
                   ":1: column ns_per_op is missing: the file is damaged or of another version: run again with this "
                   "alloclab")

    def test_column_twice(self):
        self.check("memory", "timeline.csv", lambda t: t.replace("virtual_ns", "sample", 1),
                   ":1: column sample is there twice: the file is damaged: run again")

    def test_cut_line(self):
        self.check("memory", "timeline.csv", lambda t: t[:-20],
                   ":13: 15 fields where the header has 18: the file was cut or edited: remove this line, or run again")

    def test_not_a_number(self):
        for bad in ("12x", "-5", "nan", "inf", "1_0", "1e999", " 5"):
            self.check("heapmap", "heapmap.csv", lambda t: t.replace(",0,66666,0,", f",0,{bad},0,", 1),
                       f":2: op_index is '{bad}', which is not a number >= 0: correct or remove this line, or run "
                       "again")

    def test_empty_where_needed(self):
        self.check("heapmap", "heapmap.csv", lambda t: t.replace(",0,66666,0,", ",0,,0,", 1),
                   ":2: op_index is empty: correct or remove this line, or run again")

    def test_bucket_too_full(self):
        self.check("heapmap", "heapmap.csv", lambda t: t.split("\n")[0] + "\nr,x,,w,1,free,0,0,0,4096,0,1,4096,0,0\n",
                   ":2: the bytes of the bucket are more than bucket_bytes: correct or remove this line, or run again")

    def test_empty_file(self):
        self.check("pareto", "results.csv", lambda t: "", ":1: the file is empty: it has no header: run again")

    def test_no_rows(self):
        self.check("pareto", "results.csv", lambda t: t.split("\n")[0] + "\n",
                   ":1: no row besides the header: the run measured nothing: run again")

    def test_pass_not_run(self):
        self.check("pareto", "results.csv", lambda t: t.replace(",memory,", ",verify,"),
                   ": no row has pass=memory: run with `--passes` that include memory")

    def test_damaged_quotes(self):
        self.check("throughput", "results.csv", lambda t: t.rstrip("\n") + '"x"y',
                   ":13: not CSV (',' expected after '\"'): the file was cut or edited: run again")

    def test_not_text(self):
        synthetic.write_folder(self.folder, samples=3, repeats=1)
        with open(self.path("results.csv"), "ab") as file:
            file.write(b"\xff\xfe")
        self.assertIn("results.csv: byte ", self.message("pareto"))
        self.assertIn(": not UTF-8 text: the file is damaged; run again", self.message("pareto"))

    def test_command_line(self):
        """The program: exit status, the message on stderr, nothing left behind."""
        synthetic.write_folder(self.folder, samples=3, repeats=1)
        os.remove(self.path("timeline.csv"))
        before = sorted(os.listdir(self.folder))
        run = subprocess.run([sys.executable, os.path.join(PLOTS, "memory.py"), self.folder], capture_output=True,
                             text=True)
        self.assertEqual((run.returncode, run.stdout), (2, ""))
        self.assertEqual(run.stderr, f"memory.py: {self.path('timeline.csv')}: no such file: give a folder that "
                                     "`alloclab run -o DIR` wrote, with the pass that this figure draws\n")
        self.assertEqual(sorted(os.listdir(self.folder)), before)


if __name__ == "__main__":
    unittest.main()
