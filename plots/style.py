"""style.py - what all figures share: reading a results folder, the looks of an allocator, and the page.

A figure is a module with `draw(folder, out)`; run_figure() gives it a command line. Rules kept here:

- Damaged input ends in BadInput: file, line, what is wrong, what to do. Nothing is drawn from a
  file that is only partly understood, and an unmeasured (empty) value is None, never 0.
- An allocator's colour and marker are a function of its name alone, so it looks the same in every
  figure and session, and a new allocator never changes the looks of another one.
- Text is measured and wrapped before the page is laid out in inches, so nothing overlaps, and the
  same input gives the same bytes.
"""
import csv
import functools
import hashlib
import itertools
import os
import re
import sys
from collections import namedtuple

try:
    import matplotlib
    import matplotlib.collections
    import matplotlib.colors
    import matplotlib.lines
    import matplotlib.ticker
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
except ImportError as missing:
    sys.stderr.write(f"{sys.executable} has no {missing.name}: run `make deps`, and then the figure with "
                     "`$(scripts/python.sh) plots/NAME.py DIR`\n")
    sys.exit(2)

DPI = 150
matplotlib.rcdefaults()
matplotlib.use("agg")
matplotlib.rcParams.update({
    "font.family": "DejaVu Sans", "font.size": 8.5, "text.parse_math": False, "axes.linewidth": 0.7,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "hatch.linewidth": 0.6,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.frameon": False, "pdf.fonttype": 42,
    "svg.hashsalt": "alloclab", "axes.grid": True, "grid.color": "#dddddd", "grid.linewidth": 0.5,
})

# ---- reading ---------------------------------------------------------------------------------------


class BadInput(Exception):
    """The results folder cannot be drawn; the message says where, why, and what to do."""


class NothingToDraw(BadInput):
    """It is sound, and has nothing of what the figure shows: there is none, and that is no failure."""


class Table:
    """The wanted columns of a CSV file: `text[column]` lists of strings, `number[column]` arrays of numbers >= 0 in
    which an empty field is NaN, and `line`, the line that each row ends on. Read in pieces, since a heap map may have
    millions of rows."""

    PIECE = 50000  # rows

    def __init__(self, path, texts, numbers, may_be_empty=()):
        self.path, self.needed = path, set(numbers) - set(may_be_empty)
        self.text, lines = {c: [] for c in texts}, []
        parts = {c: [np.empty(0)] for c in numbers}
        try:
            with open(path, newline="", encoding="utf-8") as file:
                reader = csv.reader(file, strict=True)
                header = self._header(next(reader, None), (*texts, *numbers))
                while rows := self._piece(reader, len(header), lines):
                    fields = dict(zip(header, zip(*rows)))
                    for c in texts:
                        self.text[c] += map(sys.intern, fields[c])
                    for c in numbers:
                        parts[c].append(self._numbers(c, fields[c], lines[-len(rows):]))
        except FileNotFoundError:
            raise BadInput(f"{path}: no such file: give a folder that `alloclab run -o DIR` wrote, with the "
                           "pass that this figure draws") from None
        except OSError as error:
            raise BadInput(f"{path}: {error.strerror}: make it readable") from None
        except UnicodeDecodeError as error:
            raise BadInput(f"{path}: byte {error.start}: not UTF-8 text: the file is damaged; run again"
                           ) from None
        except csv.Error as error:
            self.fail(reader.line_num, f"not CSV ({error})", "the file was cut or edited: run again")
        self.number = {c: np.concatenate(part) for c, part in parts.items()}
        self.line = np.array(lines, dtype=int)

    def fail(self, line, what, remedy="correct or remove this line, or run again"):
        raise BadInput(f"{self.path}:{line}: {what}: {remedy}")

    def _header(self, row, columns):
        if row is None:
            self.fail(1, "the file is empty: it has no header", "run again")
        missing = [c for c in columns if c not in row]
        if missing:
            self.fail(1, f"column {missing[0]} is missing",
                      "the file is damaged or of another version: run again with this alloclab")
        twice = [c for c in row if row.count(c) > 1]
        if twice:
            self.fail(1, f"column {twice[0]} is there twice", "the file is damaged: run again")
        return row

    def _piece(self, reader, width, lines):
        rows = []
        for row in itertools.islice(reader, self.PIECE):
            if len(row) != width:
                self.fail(reader.line_num, f"{len(row)} fields where the header has {width}",
                          "the file was cut or edited: remove this line, or run again")
            rows.append(row)
            lines.append(reader.line_num)
        return rows

    def _numbers(self, column, text, lines):
        if column in self.needed and "" in text:
            self.fail(lines[text.index("")], f"{column} is empty")
        try:
            if not set("".join(text)) <= set("0123456789.+-eE"):
                raise ValueError
            values = np.array([t or "nan" for t in text], dtype=float)
            if (values < 0).any() or np.isinf(values).any():
                raise ValueError
            return values
        except ValueError:
            pattern = r"([0-9]+(\.[0-9]*)?([eE][-+]?[0-9]{1,2})?)?"
            line, bad = next((l, t) for l, t in zip(lines, text) if not re.fullmatch(pattern, t))
            self.fail(line, f"{column} is '{bad[:40]}', which is not a number >= 0")


# A series is what gets a label and looks; a case is what gets a panel or a file of its own. The release mode belongs to
# the series: designs with scopes compete through them against designs that execute every free.
Series = namedtuple("Series", "allocator options release via")
Case = namedtuple("Case", "workload threads replay touch copies")
Row = namedtuple("Row", "series case what status detail group run ops ns mops resident")

RESULT_TEXTS = ("run_id allocator options workload threads release replay copies via touch pass status detail "
                "rank_group").split()
RESULT_NUMBERS = "ops ns_per_op mops_per_s peak_resident_bytes".split()
RECORDING_TEXTS = "allocator options workload threads release".split()


def read_results(folder):
    """results.csv as a list of Row, in the file's order."""
    table = Table(os.path.join(folder, "results.csv"), RESULT_TEXTS, RESULT_NUMBERS, RESULT_NUMBERS)
    t = table.text
    numbers = [[None if np.isnan(v) else float(v) for v in table.number[c]] for c in RESULT_NUMBERS]
    rows = []
    for i, line in enumerate(table.line):
        if not t["allocator"][i] or not t["workload"][i] or not t["status"][i]:
            table.fail(line, "allocator, workload or status is empty")
        rows.append(Row(Series(t["allocator"][i], t["options"][i], t["release"][i], t["via"][i]),
                        Case(t["workload"][i], t["threads"][i], t["replay"][i], t["touch"][i], t["copies"][i]),
                        t["pass"][i], t["status"][i], one_line(t["detail"][i]), t["rank_group"][i], t["run_id"][i],
                        *(n[i] for n in numbers)))
    if not rows:
        table.fail(1, "no row besides the header", "the run measured nothing: run again")
    return rows


def read_recordings(folder, name, numbers, may_be_empty=()):
    """timeline.csv or heapmap.csv: {(workload, threads): {(allocator, options, release): {column: array}}}, and the
    table. A recording is the rows of one cell, in order; of several of the same cell the last is taken."""
    table = Table(os.path.join(folder, name), RECORDING_TEXTS, ["sample"] + numbers, may_be_empty)
    changes = table.number["sample"][1:] < table.number["sample"][:-1]
    for column in table.text.values():
        column = np.array(column, dtype=object)
        changes |= column[1:] != column[:-1]
    starts = [0, *(np.flatnonzero(changes) + 1), len(table.line)] if len(table.line) else []
    found = {}
    for start, end in zip(starts, starts[1:]):
        allocator, options, workload, threads, release = (table.text[c][start] for c in RECORDING_TEXTS)
        found.setdefault((workload, threads), {})[allocator, options, release] = {
            c: table.number[c][start:end] for c in numbers}
    return found, table


About = namedtuple("About", "name ops")


def read_about(folder):
    """What the summary.csv of `alloclab trace info --csv` says of the trace: the name of its file, and its ops."""
    table = Table(os.path.join(folder, "summary.csv"), ["key", "value"], [])
    figures = dict(zip(table.text["key"], table.text["value"]))
    if not re.fullmatch(r"[0-9]{1,18}", figures.get("ops", "")) or not figures.get("file"):
        table.fail(1, "it does not say the trace's file and ops", "run `alloclab trace info --csv` again")
    return About(one_line(os.path.basename(figures["file"])), int(figures["ops"]))


# Groups that stand apart from the ranking, in the order in which figures show them.
APART = {"other_via": "not through malloc as the others: not ranked",
         "never_frees": "never frees: released nothing, not ranked"}


def apart(rows):
    """The group of APART that a series' rows belong to; '' if they are ranked."""
    groups = {r.group for r in rows}
    return next((g for g in reversed(APART) if g in groups), "")


def rows_of_pass(rows, folder, what):
    found = [r for r in rows if r.what == what]
    if not found:
        raise BadInput(f"{os.path.join(folder, 'results.csv')}: no row has pass={what}: run with "
                       f"`--passes` that include {what}")
    return found


def group_by(items, key):
    """Items by key, both in order of first appearance."""
    groups = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def failure(rows):
    """What went wrong with these rows, in one line; '' if nothing did."""
    failed = [r for r in rows if r.status not in ("ok", "not_applicable")]
    if not failed:
        return ""
    kinds = ", ".join(dict.fromkeys(r.status for r in failed))
    some = f"{len(failed)} of {len(rows)} failed: " if len(failed) < len(rows) else "failed: "
    detail = next((r.detail for r in failed if r.detail), "")
    return some + kinds + (f" ({detail})" if detail else "")


def applicable(rows):
    """The rows that apply, and for each series that does not, the reason."""
    reasons = {r.series: r.detail or "not applicable" for r in rows if r.status == "not_applicable"}
    return [r for r in rows if r.status != "not_applicable"], reasons


def pages_of_pass(folder, what, width):
    """Of each workload of a pass that applied to some design: its case, the rows that apply, why the others do not, the
    session's labels in at most so many characters, and the workload's name as part of a file's."""
    results = rows_of_pass(read_results(folder), folder, what)
    labels = shorten(label_series(r.series for r in results), width)
    cases = group_by(results, lambda r: r.case)
    slugs = case_slugs(cases)
    for case, rows in cases.items():
        rows, dropped = applicable(rows)
        if rows:
            yield case, rows, dropped, labels, slugs[case]


def left_out(reasons, labels):
    """The lines (one or none) that say which series a page does not draw, by reason."""
    groups = group_by(reasons, lambda s: reasons[s])
    parts = [", ".join(labels[s] for s in group) + f" ({reason})" for reason, group in groups.items()]
    return [f"Not drawn: {'; '.join(parts)}."] if parts else []


# ---- names -----------------------------------------------------------------------------------------

def one_line(text):
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", text).strip()


def _options(text):
    """The options of a series as {(part of the composition, name): 'name=value'}."""
    return {(part, piece.split("=")[0]): piece
            for part, options in enumerate(text.split("/")) for piece in options.split(",") if piece}


def _spec_text(allocator, options, keys):
    """The spec with these options only: NAME:opt=value,..; of a composition, each part with its own."""
    parts = []
    for part, name in enumerate(allocator.split("/")):
        pieces = [piece for key, piece in options.items() if key[0] == part and key in keys]
        parts.append(name + (":" + ",".join(pieces) if pieces else ""))
    return "/".join(parts)


def _shortest_specs(allocator, texts):
    """The label of each options text of a design: the fewest options that tell these specs apart."""
    parsed = {text: _options(text) for text in texts}
    keys = list(dict.fromkeys(key for options in parsed.values() for key in options))
    keys = [key for key in keys if len({options.get(key) for options in parsed.values()}) > 1]
    for count in range(len(keys) + 1):
        for chosen in itertools.combinations(keys, count):
            labels = {text: _spec_text(allocator, options, chosen) for text, options in parsed.items()}
            if len(set(labels.values())) == len(texts):
                return labels
    return {text: allocator + (":" + text if text else "") for text in texts}


def label_series(series):
    """The shortest label of each series that tells it from the others in the folder."""
    labels, series = {}, list(dict.fromkeys(series))
    modes = len({s.release for s in series}) > 1
    for allocator, group in group_by(series, lambda s: s.allocator).items():
        options = _shortest_specs(allocator, list(dict.fromkeys(s.options for s in group)))
        vias = len({s.via for s in group}) > 1
        for s in group:
            labels[s] = one_line(options[s.options]) + (f" (via {s.via})" if vias else "") + \
                (f" ({s.release})" if modes and s.release != "free" else "")
    return labels


def how_replayed(rows):
    """What a page says of the release modes and of the ways in which its allocators were called."""
    release = list(dict.fromkeys(r.series.release for r in rows))
    out = [f"release={release[0]}"] if len(release) == 1 else \
        ["(scope) marks release=scope: objects die with their scope; the others execute every free"]
    foreign = list(dict.fromkeys(r.series.allocator for r in rows if r.series.via == "malloc"))
    if foreign and len({r.series.via for r in rows}) > 1:
        out.append(f"called through malloc: {', '.join(foreign)}; the others through the contract")
    return "; ".join(out) + "."


def shorten(labels, most=30):
    """Labels cut in the middle to `most` characters, or to as many as keep them apart."""
    def cut(text, n):
        return text if len(text) <= n else text[:n - n // 3 - 1] + "…" + text[-(n // 3):]
    while len({cut(v, most) for v in labels.values()}) < len(set(labels.values())):
        most += 8
    return {k: cut(v, most) for k, v in labels.items()}


def case_slugs(cases):
    """A file name part of each case, all different: its workload (of a path the last name without the suffix), and
    what tells it from the folder's other cases of that workload."""
    plain = {}
    for case in cases:
        name = case.workload if ":" in case.workload else os.path.splitext(os.path.basename(case.workload))[0]
        others = [c for c in cases if c.workload == case.workload]
        differ = [f for f in Case._fields[1:] if len({getattr(c, f) for c in others}) > 1]
        text = " ".join([name] + [f"{f} {getattr(case, f)}" for f in differ])
        plain[case] = re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")
    cut = [p.lower()[:60] for p in plain.values()]
    return {c: p if 0 < len(p) <= 60 and cut.count(p.lower()) == 1 else
            f"{p[:60]}-{hashlib.sha256(repr(c).encode()).hexdigest()[:6]}".lstrip("-") for c, p in plain.items()}


def case_text(case, ops=None):
    """What was replayed, and how, in one line."""
    parts = [count_text(ops) + " ops"] if ops else []
    if case.threads:
        parts.append(f"{case.threads} thread" + ("" if case.threads == "1" else "s"))
    parts += [f"{case.replay} replay"] if case.replay else []
    parts += [f"{case.copies} copies"] if case.copies not in ("", "1") else []
    parts += [f"touch={case.touch}"] if case.touch else []
    return " · ".join(parts)


def count_text(value):
    """A count with an SI prefix: '200 k'."""
    for scale, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:.4g} {prefix}"
    return f"{value:.4g}"


def bytes_text(value):
    if value < 1024:
        return f"{value:.0f} B"
    for prefix in "KMGTPE":
        value /= 1024
        if value < 1023.5:
            break
    return f"{value:.3g} {prefix}iB" if value < 1000 else f"{value:.0f} {prefix}iB"


# What walk() calls the bytes of an allocator; the layers of a memory figure are shades of the same.
KIND_COLOURS = {"live": "#0072b2", "free": "#f0a830", "meta": "#000000", "unused": "#d8d8d8"}

# ---- looks -----------------------------------------------------------------------------------------

# Okabe and Ito's colours (yellow darkened for white paper), a dark shade of each (of yellow grey).
_HUES = ["#e69f00", "#56b4e9", "#009e73", "#d8c400", "#0072b2", "#d55e00", "#cc79a7",
         "#7a5400", "#2a7f9e", "#005c43", "#8c8c8c", "#003f66", "#8a2b00", "#8a3a66"]
_MARKERS = ["o", "s", "^", "D", "v", "P", "X", "p", "<", "*", ">", "h"]
_HATCHES = ["", "////", "\\\\\\\\", "----", "xxxx", "||||", "....", "++++"]
# The salt was chosen so that the designs there were when it was chosen differ in colour or marker, all but two of them in
# colour. Changing it changes all looks.
_SALT = "alloclab 50301823 "

Look = namedtuple("Look", "colour marker hatch")


def _hash(text, what, modulus):
    return int.from_bytes(hashlib.sha256((_SALT + what + " " + text).encode()).digest()[:8], "big") % modulus


def look(series):
    """Colour and marker from the allocator's name alone; the hatch also from its options."""
    name = series.allocator
    return Look(_HUES[_hash(name, "colour", len(_HUES))], _MARKERS[_hash(name, "marker", len(_MARKERS))],
                _HATCHES[_hash(name + " " + series.options, "hatch", len(_HATCHES))])


def lighter(colour, share=0.45):
    """The colour on white paper at this share; opaque, so that what lies below does not show."""
    return tuple(1 - share * (1 - c) for c in matplotlib.colors.to_rgb(colour))


def marker_style(series, size, hollow=False):
    """Keyword arguments of plot() for the marker of a series."""
    l = look(series)
    if hollow:
        return {"marker": l.marker, "markersize": size, "markerfacecolor": "white", "markeredgecolor": l.colour,
                "markeredgewidth": 1.4, "linestyle": "none"}
    return {"marker": l.marker, "markersize": size, "markerfacecolor": l.colour, "markeredgecolor": "black",
            "markeredgewidth": 0.6, "linestyle": "none"}


# ---- text and axes ---------------------------------------------------------------------------------

_renderer = RendererAgg(1, 1, 72)


@functools.lru_cache(maxsize=None)
def text_width(text, size, weight="normal"):
    """Width of one line in inches."""
    font = FontProperties(family="DejaVu Sans", size=size, weight=weight)
    return _renderer.get_text_width_height_descent(text, font, False)[0] / 72


def wrap(text, width, size, weight="normal", most=3):
    """Lines of at most `width` inches, broken after spaces and punctuation; more than `most` are cut with '…'."""
    lines, line = [], ""
    pieces = re.findall(r"[^ ,/:;·_-]*[ ,/:;·_-]*", text)
    for piece in pieces:
        while piece:
            if text_width((line + piece).rstrip(), size, weight) <= width:
                line, piece = line + piece, ""
            elif line:
                lines.append(line.rstrip())
                line = ""
            else:
                n = len(piece)
                while n > 1 and text_width(piece[:n], size, weight) > width:
                    n -= 1
                lines.append(piece[:n])
                piece = piece[n:]
    lines += [line.rstrip()] if line.strip() else []
    if len(lines) > most:
        last = lines[most - 1]
        while last and text_width(last + "…", size, weight) > width:
            last = last[:-1]
        lines = lines[:most - 1] + [last + "…"]
    return lines


def byte_axis(axis, low, high, most=6):
    """Linear axis of bytes: ticks at 1, 2 or 5 times a power of ten, or a binary fraction, of the top's IEC unit."""
    power = min(int(np.log2(max(high, 1)) // 10), 6)
    nice = [2.0 ** -n for n in range(10, 0, -1)] + [m * 10.0 ** d for d in range(4) for m in (1, 2, 5)]
    step = 1024.0 ** power * next(n for n in nice if (high - low) / n / 1024.0 ** power <= most)
    ticks = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    axis.set_major_locator(matplotlib.ticker.FixedLocator(ticks))
    axis.set_major_formatter(lambda v, _: "0" if v == 0 else
                             f"{v / 1024 ** power:.6g} {'KMGTPE'[power - 1] + 'iB' if power else 'B'}")


def byte_axis_log(axis, low, high, most=7):
    """Logarithmic axis of bytes, base 2, at most about seven ticks, or so many."""
    first, last = np.floor(np.log2(low)), np.ceil(np.log2(high))
    step = max(1, int(np.ceil((last - first) / most)))
    axis.set_major_locator(matplotlib.ticker.FixedLocator(2.0 ** np.arange(first, last + 1, step)))
    axis.set_minor_locator(matplotlib.ticker.NullLocator())
    axis.set_major_formatter(lambda v, _: bytes_text(v))


def count_axis(axis, most=4):
    axis.set_major_locator(matplotlib.ticker.MaxNLocator(most, integer=True))
    axis.set_major_formatter(lambda v, _: count_text(v))


def plain_log_ticks(axis, low, high):
    """1-2-5 ticks, or decades if there are many, as plain numbers."""
    decades = range(int(np.floor(np.log10(low))) - 1, int(np.ceil(np.log10(high))) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = [m * 10.0 ** d for d in decades for m in digits if low <= m * 10.0 ** d <= high]
        if len(ticks) <= 8:
            break
    axis.set_major_locator(matplotlib.ticker.FixedLocator(ticks))
    axis.set_minor_locator(matplotlib.ticker.NullLocator())
    axis.set_major_formatter(lambda v, _: count_text(v) if v >= 1000 else f"{v:g}")


def count_bar(page, drawn, norm, gap, label):
    """A bar of colours right of the page's last panel, for counts: with names at full ticks alone."""
    place = page.axes[-1].get_position()
    bar = page.figure.colorbar(drawn, cax=page.figure.add_axes([place.x1 + gap / page.width, place.y0, 0.12 / page.width, place.height]))
    bar.set_label(label, fontsize=8)
    axis = bar.ax.yaxis
    if norm.vmax < 10 * norm.vmin:  # no second power of ten
        axis.set_major_locator(matplotlib.ticker.FixedLocator([norm.vmin, norm.vmax]))
    axis.set_major_formatter(lambda v, _: count_text(v))
    axis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    ticks_within(axis, norm.vmin, norm.vmax)


def ticks_within(axis, low, high):
    """Only those ticks of the axis that lie within its limits."""
    ticks = [t for t in axis.get_major_locator().tick_values(low, high) if low <= t <= high]
    axis.set_major_locator(matplotlib.ticker.FixedLocator(ticks))


def axis_limit(maxima, ratio=6.0):
    """A common limit: the greatest maximum that does not dwarf the (lower) median by more than this ratio."""
    ordered = sorted(maxima)
    return max(m for m in ordered if m <= ratio * ordered[(len(ordered) - 1) // 2])


# ---- the page --------------------------------------------------------------------------------------

TITLE, SUBTITLE, HEAD, NOTE, FOOT = 12, 8.5, 9.5, 7.5, 6.8  # points
_LINE = 1.3 / 72                                            # inches of a line, a point of type


class Page:
    """A grid of panels, laid out in inches below a title and above a footer.

    Each panel has a head (a bold title and notes, wrapped to its width) above its axes; a grid row is as
    tall as its tallest head and body. left, right and below are the margins around a panel's axes.
    """

    def __init__(self, title, subtitle, panels, columns, width, left, right, below, legend=(), footer=""):
        """panels: (head, notes, height in inches, series or None for its marker) each."""
        self.width, columns = width, max(1, min(columns, len(panels)))
        cell = (width - 0.3) / columns
        self.axes_width = cell - left - right
        heads = [(wrap(h, cell - 0.5, HEAD, "bold", 2), [l for n in notes for l in wrap(n, cell - 0.3, NOTE, most=3)])
                 for h, notes, _, _ in panels]
        rows = [range(i, min(i + columns, len(panels))) for i in range(0, len(panels), columns)]
        head_tall = [max((len(heads[i][0]) * HEAD + len(heads[i][1]) * NOTE) * _LINE + 0.1 for i in r) for r in rows]
        body_tall = [max(panels[i][2] for i in r) for r in rows]
        lines = [(l, TITLE, "bold") for l in wrap(title, width - 0.4, TITLE, "bold")]
        lines += [(l, SUBTITLE, "normal") for t in subtitle for l in wrap(t, width - 0.4, SUBTITLE)]
        foot = wrap(footer, width - 0.4, FOOT, most=4)
        legend_columns, legend_tall = self._legend_size(legend)
        top = sum(size * _LINE for _, size, _ in lines) + legend_tall + 0.2
        bottom = len(foot) * FOOT * _LINE + 0.12
        self.height = top + bottom + sum(head_tall) + sum(body_tall) + len(rows) * (below + 0.12)
        self.figure = Figure(figsize=(width, self.height), dpi=DPI, facecolor="white")
        FigureCanvasAgg(self.figure)
        y = 0.12
        for text, size, weight in lines:
            self._text(0.2, y, text, size, weight)
            y += size * _LINE
        if legend:
            self.figure.legend(handles=list(legend), loc="upper left", ncol=legend_columns, fontsize=8,
                               bbox_to_anchor=(0.17 / width, 1 - (y + 0.04) / self.height), borderaxespad=0,
                               handlelength=2.2, handleheight=1.1, columnspacing=1.6)
        for i, text in enumerate(foot):
            self._text(0.2, self.height - bottom + 0.02 + i * FOOT * _LINE, text, FOOT, colour="#555555")
        self.axes, y = [], top
        for r, head, body in zip(rows, head_tall, body_tall):
            for column, i in enumerate(r):
                x = 0.15 + column * cell
                self._head(x, y, heads[i], panels[i][3])
                tall = panels[i][2]
                self.axes.append(self.figure.add_axes([(x + left) / width, 1 - (y + head + tall) / self.height,
                                                       self.axes_width / width, tall / self.height]))
            y += head + body + below + 0.12

    def _legend_size(self, legend):
        if not legend:
            return 1, 0.0
        widths = [text_width(h.get_label(), 8) + 0.54 for h in legend]
        for columns in range(len(legend), 0, -1):  # matplotlib fills column by column, the first ones longer
            ends = [0] + [len(part) for part in itertools.accumulate(
                [list(part) for part in np.array_split(range(len(legend)), columns)], lambda a, b: a + b)]
            if sum(max(widths[a:b]) for a, b in zip(ends, ends[1:])) < self.width - 0.4:
                break
        return columns, -(-len(legend) // columns) * 0.19 + 0.08

    def _text(self, x, y, text, size, weight="normal", colour="black", style="normal"):
        self.figure.text(x / self.width, 1 - y / self.height, text, size=size, weight=weight, color=colour,
                         style=style, va="top", ha="left")

    def _head(self, x, y, head, series):
        titles, notes = head
        y += 0.04
        shift = 0.1
        if series:
            line = matplotlib.lines.Line2D([(x + 0.15) / self.width], [1 - (y + 0.07) / self.height],
                                           transform=self.figure.transFigure, **marker_style(series, 7))
            self.figure.add_artist(line)
            shift = 0.28
        for text in titles:
            self._text(x + shift, y, text, HEAD, "bold")
            y += HEAD * _LINE
        for text in notes:
            self._text(x + 0.1, y, text, NOTE, colour="#333333")
            y += NOTE * _LINE


def empty_panel(axes):
    """A panel without data: a frame and a cross; the head says why."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor("#f4f4f4")
    axes.plot([0.5], [0.5], marker="x", markersize=16, markeredgewidth=3, color="#b00000", transform=axes.transAxes)


def panel_order(rows, label):
    """Sorts the panels of a figure: ranked designs, those that never free, and what failed; by name within each."""
    failed = all(r.status != "ok" for r in rows)
    return 2 if failed else 1 if any(r.group == "never_frees" for r in rows) else 0, label


def footer(rows, files):
    runs = list(dict.fromkeys(r.run for r in rows))
    shown = ", ".join(runs[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")
    return f"run {shown} · drawn from {' and '.join(files)}"


# ---- the command line ------------------------------------------------------------------------------

class Output:
    """Where figures go: DIR/NAME.png, and NAME.pdf too if asked."""

    def __init__(self, folder, pdf):
        self.folder, self.kinds = folder, ["png", "pdf"] if pdf else ["png"]

    def save(self, page, name):
        for kind in self.kinds:
            path = os.path.join(self.folder, f"{name}.{kind}")
            metadata = dict.fromkeys(["Software"] if kind == "png" else ["CreationDate", "Producer", "Creator"])
            try:
                page.figure.savefig(path + ".part", format=kind, dpi=DPI, metadata=metadata)
                os.replace(path + ".part", path)
            except OSError as error:
                raise BadInput(f"{path}: {error.strerror}: the figure cannot be written there") from None
            print(path)


def run_figure(draw, description):
    """The command line of a figure: NAME.py DIR [--pdf]. Exit status 0, or 2 with a message; 0 with one where there is no figure."""
    import argparse
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", metavar="DIR", help="the folder that `alloclab run -o DIR` wrote")
    parser.add_argument("--pdf", action="store_true", help="write a .pdf beside each .png")
    arguments = parser.parse_args()
    try:
        if not os.path.isdir(arguments.folder):
            raise BadInput(f"{arguments.folder}: not a folder: give one that `alloclab run -o DIR` wrote")
        draw(arguments.folder, Output(arguments.folder, arguments.pdf))
    except BadInput as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        sys.exit(0 if isinstance(error, NothingToDraw) else 2)
