#!/usr/bin/python3
"""throughput.py - throughput by allocator: time per op of each workload, every repeat and its spread.

One panel a workload, one line an allocator, fastest first. Each repeat is a marker; the box is the interquartile
range (from four repeats on), the thin line reaches from the least to the greatest, the upright line is the median. The
floor (replay without an allocator's work) is a dashed line, never subtracted. Designs that released nothing, and those
called in another way than the ranked ones, stand apart, and a cell that failed keeps its line, which says how.
"""
from collections import namedtuple

import style  # first: it says what to do where numpy or matplotlib is missing
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

PASS = "throughput"  # no row of it, no figure: it was not run

ROW, GUTTER = 0.27, 1.15  # inches: height of an allocator's line; width for its median in figures
LABEL, MARK = 2.0, 0.24   # greatest width of an allocator's label, and of its marker
LOG_FROM = 25             # a slowest that is this many times the fastest asks for a logarithmic axis

Line = namedtuple("Line", "series values failed heading")


def panel_lines(rows):
    """The lines of a panel from top to bottom, and the values of the floor."""
    floor, ranked, failed = [], [], []
    groups = {group: [] for group in style.APART}
    for series, group in style.group_by(rows, lambda r: r.series).items():
        values = [r.ns for r in group if r.status == "ok" and r.ns is not None]
        unmeasured = "" if values else "not measured: ns_per_op is empty"
        line = Line(series, values, style.failure(group) or unmeasured, "")
        if group[0].group == "floor" and values:
            floor.append(line)
        elif not values:
            failed.append(line)
        else:
            groups.get(style.apart(group), ranked).append(line)
    for lines in (ranked, *groups.values()):
        lines.sort(key=lambda l: np.median(l.values))
    apart = []
    for group, lines in groups.items():
        apart += ([Line(None, [], "", style.APART[group])] if lines else []) + lines
    return ranked + failed, apart, floor


def draw_line(axes, y, line, best):
    looks = style.look(line.series)
    values = np.sort(line.values)
    median = np.median(values)
    edge = axes.get_xlim()[0]
    tall = 0.68 if axes.get_xscale() == "linear" else 0.12  # on a logarithmic axis a length says nothing
    axes.barh(y, median - edge, tall, left=edge, facecolor=style.lighter(looks.colour), edgecolor=looks.colour,
              hatch=looks.hatch if tall > 0.5 else "", linewidth=0, zorder=2)
    if len(values) >= 4:
        low, high = np.percentile(values, [25, 75])
        axes.barh(y, high - low, 0.4, left=low, facecolor="white", alpha=0.85, edgecolor="black", linewidth=0.7,
                  zorder=3)
    axes.plot([values[0], values[-1]], [y, y], color="black", linewidth=0.9, zorder=3.5)
    stagger = [y + (0.0, -0.2, 0.2)[i % 3] * (len(values) > 1) for i in range(len(values))]  # equal ones stay visible
    axes.plot(line.values, stagger, linestyle="none", marker="o", markersize=3.2, markerfacecolor=looks.colour,
              markeredgecolor="black", markeredgewidth=0.5, zorder=5)
    axes.plot([median, median], [y - 0.4, y + 0.4], color="black", linewidth=1.6, solid_capstyle="butt", zorder=4)
    texts = [(f"{median:.3g} ns" if median < 1000 else f"{median:.0f} ns", 42)]
    texts += [(f"{median / best:.2f}×", 76)] if best else []
    for text, x in texts:
        axes.annotate(text, (1, y), xycoords=("axes fraction", "data"), xytext=(x, 0), textcoords="offset points",
                      va="center", ha="right", fontsize=7.5)


def draw_failure(axes, y, text, partly):
    """A failed cell's own line, or for one that failed in part, a cross in the margin."""
    axes.plot([0.012], [y], marker="x", color="#b00000", markersize=6, markeredgewidth=1.8, clip_on=False,
              transform=axes.get_yaxis_transform(), zorder=6)
    if not partly:
        width = points(axes) / 72 + GUTTER - 0.35
        axes.annotate(style.wrap(text, width, 7.5, most=1)[0], (0.012, y), xytext=(8, 0),
                      xycoords=axes.get_yaxis_transform(), textcoords="offset points", va="center", ha="left",
                      fontsize=7.5, color="#b00000", zorder=6, annotation_clip=False,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})


def scale(axes, values):
    low, high = min(values), max(values)
    if low > 0 and high / low > LOG_FROM:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.25, high * 1.15)
        style.plain_log_ticks(axes.xaxis, low / 1.25, high * 1.15)
        return "ns per op (logarithmic; less is better)"
    axes.set_xlim(0, (high or 1) * 1.06)
    return "ns per op (less is better)"


def draw_labels(axes, every, labels):
    axes.set_yticks([])
    for y, line in enumerate(every):
        if line.series:
            axes.plot([-MARK / 2 * 72 / points(axes)], [y], transform=axes.get_yaxis_transform(), clip_on=False,
                      **style.marker_style(line.series, 6, hollow=not line.values))
            lines = style.wrap(labels[line.series], LABEL, 8, most=2)
            axes.annotate("\n".join(lines), (0, y), xycoords=axes.get_yaxis_transform(), xytext=(-MARK * 72, 0),
                          textcoords="offset points", ha="right", va="center", fontsize=8 if len(lines) == 1 else 7,
                          linespacing=1.05, annotation_clip=False)


def points(axes):
    return axes.figure.get_figwidth() * axes.get_position().width * 72


def draw_panel(axes, lines, apart, floor, labels):
    every = lines + apart
    values = [v for l in every + floor for v in l.values]
    unit = scale(axes, values) if values else "no cell of this workload was measured"
    best = next((np.median(l.values) for l in lines if l.values), None)
    for y, line in enumerate(every):
        if line.heading:
            axes.annotate(line.heading, (0, y), xycoords=axes.get_yaxis_transform(), xytext=(5, 0),
                          textcoords="offset points", va="center", fontsize=7.5, style="italic", zorder=6,
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.9})
        elif line.values:
            draw_line(axes, y, line, best if y < len(lines) else None)
        if line.failed:
            draw_failure(axes, y, line.failed, bool(line.values))
    if apart:
        axes.axhspan(len(lines) - 0.5, len(every) - 0.5, facecolor="#eeeeee", edgecolor="#cccccc", hatch="///",
                     linewidth=0, zorder=0)
    for line in floor:
        axes.axvline(np.median(line.values), color="black", linestyle=(0, (4, 2)), linewidth=1.1, zorder=2.5)
    axes.set_ylim(max(len(every), 1) - 0.5, -0.5)
    draw_labels(axes, every, labels)
    axes.set_xlabel(unit)
    if not values:
        axes.set_xticks([])


def notes(rows, lines, floor, verify, labels):
    """What a panel says below its workload: how it was replayed, its floor, what failed in part, what verify found."""
    counts = [len(l.values) for l in lines if l.values]
    repeats = " to ".join(str(c) for c in sorted({min(counts, default=0), max(counts, default=0)}))
    ops = next((r.ops for r in rows if r.ops), None)
    out = [style.case_text(rows[0].case, ops) + f" · {repeats} repeat" + ("s" if repeats != "1" else "")]
    for line in floor:
        out.append(f"floor: {labels[line.series]}, median {np.median(line.values):.3g} ns per op (dashed)")
    out += [f"{labels[l.series]}: {l.failed}" for l in lines if l.values and l.failed]
    wrong = {r.series: r for r in verify if style.failure([r]) and r.case[:2] == rows[0].case[:2]}
    return out + [f"{labels[l.series]}: the verify pass {style.failure([wrong[l.series]])}" for l in lines
                  if l.values and l.series in wrong]


def draw(folder, out):
    every = style.read_results(folder)
    rows = style.rows_of_pass(every, folder, PASS)
    verify = [r for r in every if r.what == "verify"]
    labels = style.shorten(style.label_series(r.series for r in rows), 56)
    applied, without = style.applicable(rows)
    rows = applied or rows
    cases = style.group_by(rows, lambda r: r.case)
    parts = {case: panel_lines(group) for case, group in cases.items()}
    panels = []
    for case, group in cases.items():
        lines, apart, floor = parts[case]
        drawn = [l for l in lines + apart + floor if l.series]
        panels.append((case.workload, notes(group, drawn, floor, verify, labels),
                       ROW * max(len(lines) + len(apart), 1), None))
    columns = 1 if len(panels) == 1 else 2
    left = max(min(style.text_width(l, 8), LABEL) for l in labels.values()) + MARK + 0.1
    width = columns * (left + GUTTER + 3.3) + 0.3
    handles = [Line2D([], [], color="black", marker="|", markersize=10, markeredgewidth=1.6, linestyle="none",
                      label="median (× fastest ranked)"),
               Line2D([], [], color="#999999", marker="o", markersize=3.2, markeredgecolor="black", markeredgewidth=0.5,
                      linestyle="none", label="one repeat"),
               Patch(facecolor="white", edgecolor="black", linewidth=0.7, label="interquartile range"),
               Line2D([], [], color="black", linewidth=0.9, label="least to greatest"),
               Line2D([], [], color="black", linewidth=1.1, linestyle=(0, (4, 2)), label="floor: replay alone"),
               Line2D([], [], color="#b00000", marker="x", markersize=6, markeredgewidth=1.8, linestyle="none",
                      label="failed")]
    subtitle = ["Time per op in the steady state, pass=throughput; fastest first.", style.how_replayed(rows)]
    subtitle += style.left_out(without, labels)
    page = style.Page("Throughput by allocator", subtitle, panels, columns, width, left, GUTTER, 0.48, handles,
                      style.footer(rows, ["results.csv"]))
    for axes, part in zip(page.axes, parts.values()):
        draw_panel(axes, *part, labels)
    out.save(page, "throughput")


if __name__ == "__main__":
    style.run_figure(draw, __doc__.splitlines()[0])
