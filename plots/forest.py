#!/usr/bin/python3
"""forest.py - ratios to the base allocator with their intervals: one page a metric, one panel a workload.

One line an allocator, fastest first: the marker is the ratio, the bar its 95 % interval, the upright line at 1 the base.
Filled marker and solid bar: a difference that counts. Hollow marker and grey dashed bar: it could be chance. No bar:
too few blocks for any interval. Designs that stand apart from the ranking stand apart here, too.
"""
import os
from collections import namedtuple

import style  # first: it says what to do where numpy or matplotlib is missing
import throughput
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

NEEDS = "comparisons.csv"  # no such file, no figure: there was nothing to compare
TEXTS = ("run_id allocator options workload threads release replay copies via touch rank_group metric base base_options "
         "base_release verdict method").split()
NUMBERS = "blocks ratio low high q".split()
VERDICTS = ("faster", "slower", "undecided", "floor")
ROW, GUTTER, WIDE = 0.25, 1.35, 3.2  # inches: a line's height; width for its figures; of the axes
CHANCE = "#8a8a8a"

Line = namedtuple("Line", "series values ratio low high counts group heading run case base blocks")


def read(folder):
    """{metric: {case: [Line]}} in the file's order; the floor is left out."""
    table = style.Table(os.path.join(folder, NEEDS), TEXTS, NUMBERS, ["low", "high", "q"])
    t, n, found = table.text, table.number, {}
    for i, at in enumerate(table.line):
        verdict, ratio, low, high = t["verdict"][i], n["ratio"][i], n["low"][i], n["high"][i]
        if verdict not in VERDICTS:
            table.fail(at, f"verdict is '{verdict[:40]}', which is none of {', '.join(VERDICTS)}")
        if not ratio > 0 or low == 0 or not (np.isnan(low) == np.isnan(high)) or low > ratio * 1.001 or high < ratio * 0.999:
            table.fail(at, "ratio, low and high are no ratio with an interval around it")
        case = style.Case(*(t[c][i] for c in style.Case._fields))
        series = style.Series(t["allocator"][i], t["options"][i], t["release"][i], t["via"][i])
        base = style.Series(t["base"][i], t["base_options"][i], t["base_release"][i], t["via"][i])
        if verdict != "floor":
            found.setdefault(t["metric"][i], {}).setdefault(case, []).append(Line(
                series, [ratio], ratio, low, high, verdict != "undecided", t["rank_group"][i], "", t["run_id"][i], case,
                base, int(n["blocks"][i])))
    return found


def heading(text):
    return Line(None, [], 1, np.nan, np.nan, False, "", text, "", None, None, 0)


def ordered(lines):
    """Fastest first, those apart below; with how many are ranked."""
    groups = style.group_by(sorted(lines, key=lambda l: l.ratio), lambda l: l.group if l.group in style.APART else "")
    out = groups.pop("", [])
    ranked = len(out)
    for group in style.APART:
        out = out + ([heading(style.APART[group])] + groups[group] if group in groups else [])
    return out, ranked


def scale(axes, lines):
    ends = [v for l in lines for v in (l.ratio, l.low, l.high) if not np.isnan(v)] + [1]
    low, high = min(ends), max(ends)
    margin = max((high / low) ** 0.06, 1.01)
    low, high = low / margin, high * margin
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    if high / low > 6:
        style.plain_log_ticks(axes.xaxis, low, high)
        return
    ticks = [v for v in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= v <= high]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda v, _: f"{v:g}")


def draw_line(axes, y, line):
    colour = style.look(line.series).colour if line.counts else CHANCE
    if not np.isnan(line.low):
        axes.plot([line.low, line.high], [y, y], color=colour, linewidth=2.2 if line.counts else 1.2,
                  linestyle="-" if line.counts else (0, (3, 1.5)), solid_capstyle="butt", zorder=3)
        for end in (line.low, line.high):
            axes.plot([end, end], [y - 0.16, y + 0.16], color=colour, linewidth=1.2, zorder=3)
    axes.plot([line.ratio], [y], zorder=4, **style.marker_style(line.series, 6.5, hollow=not line.counts))
    text = f"{line.ratio:.3f}" if line.counts else f"~{line.ratio:.3f}"
    span = "" if np.isnan(line.low) else f"{line.low:#.3g}..{line.high:#.3g}"
    for words, x in ((text, 38), (span, 90)):
        axes.annotate(words, (1, y), xycoords=("axes fraction", "data"), xytext=(x, 0), textcoords="offset points",
                      va="center", ha="right", fontsize=7.5 if x == 38 else 7, color="black" if line.counts else CHANCE)


def draw_panel(axes, lines, ranked, labels):
    scale(axes, lines)
    axes.axvline(1, color="black", linewidth=1.1, zorder=2)
    for y, line in enumerate(lines):
        if line.heading:
            axes.annotate(line.heading, (0, y), xycoords=axes.get_yaxis_transform(), xytext=(5, 0),
                          textcoords="offset points", va="center", fontsize=7.5, style="italic", zorder=6,
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.9})
        else:
            draw_line(axes, y, line)
    if ranked < len(lines):
        axes.axhspan(ranked - 0.5, len(lines) - 0.5, facecolor="#eeeeee", zorder=0)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    throughput.draw_labels(axes, lines, labels)
    axes.set_xlabel("ratio to the base (logarithmic; less is better)")


def notes(case, lines, labels):
    """What a panel says below its workload."""
    bases = dict.fromkeys(labels[l.base] for l in lines)
    blocks = sorted({l.blocks for l in lines})
    counts = " to ".join(str(b) for b in dict.fromkeys((blocks[0], blocks[-1])))
    return [f"base: {', '.join(bases)} · {counts} block" + ("s" if counts != "1" else ""), style.case_text(case)]


def draw_metric(metric, cases, labels, out):
    parts = {case: ordered(lines) for case, lines in cases.items()}
    panels = [(case.workload, notes(case, cases[case], labels), ROW * len(lines), None)
              for case, (lines, _) in parts.items()]
    every = [l for lines in cases.values() for l in lines]
    columns = 1 if len(panels) == 1 else 2
    left = max(min(style.text_width(labels[l.series], 8), throughput.LABEL) for l in every) + throughput.MARK + 0.1
    solid = {"color": "#333333", "marker": "o", "markersize": 6, "markeredgecolor": "black"}
    hollow = {**solid, "color": CHANCE, "markerfacecolor": "white", "markeredgecolor": "#333333", "linestyle": (0, (3, 1.5))}
    handles = [Line2D([], [], linewidth=2.2, label="a difference that counts, 95 % interval", **solid),
               Line2D([], [], linewidth=1.2, label="could be chance (~)", **hollow),
               Line2D([], [], color="black", linewidth=1.1, label="the base")]
    subtitle = ["Hodges-Lehmann estimate of the ratio within blocks; signed ranks, Benjamini-Hochberg at 5 % over the "
                "run. The floor is not drawn."]
    page = style.Page(f"Ratio to the base: {metric}", subtitle, panels, columns, columns * (left + GUTTER + WIDE) + 0.3,
                      left, GUTTER, 0.48, handles, style.footer(every, [NEEDS]))
    for axes, (lines, ranked) in zip(page.axes, parts.values()):
        draw_panel(axes, lines, ranked, labels)
    out.save(page, f"forest-{metric}")


def draw(folder, out):
    metrics = read(folder)
    every = [l for cases in metrics.values() for lines in cases.values() for l in lines]
    labels = style.shorten(style.label_series([s for l in every for s in (l.series, l.base)]), 56)
    for metric, cases in metrics.items():
        draw_metric(metric, cases, labels, out)


if __name__ == "__main__":
    style.run_figure(draw, __doc__.splitlines()[0])
