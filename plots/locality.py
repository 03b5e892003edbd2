#!/usr/bin/python3
"""locality.py - what a replay executes and where it misses, by design: instructions, L1 and LL misses, page walks per op.

One figure a workload, one panel a quantity, one bar a design, in the order of their names in all panels: these counts
do not rank designs. A bar is what callgrind counts on its simulated machine. Where the session also read the machine's
own counters (pmu_* in results.csv), a diamond on the bar's line says what they counted. The dashed line is the floor: the
replay of a design that does nothing, never subtracted. A bar beyond the panel's end ends in a cut; its number is beside it.
"""
import os
from collections import namedtuple

import style  # first: it says what to do where numpy or matplotlib is missing
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

NEEDS = "locality.csv"  # drawn for sessions that wrote it
ROW, GUTTER, LABEL, MARK = 0.22, 0.55, 1.7, 0.22  # inches: as in throughput.py
MODELS = {"cache": "caches", "tlb": "TLBs"}

# `simulated` is a column of the locality pass, `pmu` the columns of the machine's counters that count the like of it.
Quantity = namedtuple("Quantity", "title unit simulated pmu pmu_note")
QUANTITIES = [
    Quantity("Instructions", "instructions per op", "locality_instructions_per_op", ["pmu_instructions_per_op"], ""),
    Quantity("L1 data misses", "misses per op", "locality_l1_misses_per_op", ["pmu_l1d_load_misses_per_op"], "loads only"),
    Quantity("Last-level misses", "misses per op", "locality_ll_misses_per_op", ["pmu_llc_load_misses_per_op"],
             "loads only"),
    Quantity("Page walks", "walks per op", "locality_page_walks_per_op",
             ["pmu_dtlb_load_misses_per_op", "pmu_dtlb_store_misses_per_op"], ""),
]


def medians(table, columns):
    """{(workload, threads): {series: the sum of these columns, of several rows the median}}; what is empty is left out."""
    found = {}
    values = np.sum([table.number[c] for c in columns], axis=0)
    for i in np.flatnonzero(~np.isnan(values)):
        allocator, options, workload, threads, release = (table.text[c][i] for c in style.RECORDING_TEXTS)
        series = style.Series(allocator, options, release, table.text["via"][i])
        found.setdefault((workload, threads), {}).setdefault(series, []).append(values[i])
    return {case: {s: float(np.median(v)) for s, v in cells.items()} for case, cells in found.items()}


def read_quantities(folder):
    """For each of QUANTITIES what was simulated, and what the machine counted ({} without such columns)."""
    path = os.path.join(folder, "results.csv")
    with open(path, encoding="utf-8", errors="replace") as file:
        header = file.readline().rstrip("\n").split(",")
    columns = [c for q in QUANTITIES for c in [q.simulated] + [p for p in q.pmu if p in header]]
    table = style.Table(path, style.RECORDING_TEXTS + ["via"], columns, columns)
    return [(medians(table, [q.simulated]), medians(table, q.pmu) if set(q.pmu) <= set(header) else {})
            for q in QUANTITIES]


def read_machine(folder):
    """locality.csv: who simulated which machine, as lines of text."""
    table = style.Table(os.path.join(folder, NEEDS), ["source", "model", "first_level", "last_level"], ["count"])
    levels = {}
    for i, line in enumerate(table.line):
        model = table.text["model"][i]
        if model not in MODELS:
            table.fail(line, f"model is '{style.one_line(model)[:40]}', which is none of {', '.join(MODELS)}")
        levels[model] = [level_text(table, line, table.text[c][i]) for c in ("first_level", "last_level")]
    if not levels:
        table.fail(1, "no row besides the header", "the run measured nothing: run again")
    sources = ", ".join(dict.fromkeys(style.one_line(s) for s in table.text["source"]))
    return [f"Bars: simulated by {sources}, data only, "
            f"{'; '.join(f'{MODELS[m]} {first}, then {last}' for m, (first, last) in levels.items())}.",
            "Such counts tell two versions of one design apart; they do not rank designs."]


def level_text(table, line, text):
    """'262144,4,4096' -> '64 entries of 4 KiB, 4 ways'; '32768,8,64' -> '32 KiB, 8 ways'."""
    try:
        size, ways, unit = (int(part) for part in text.split(","))
        entries = size // unit
    except (ValueError, ZeroDivisionError):
        table.fail(line, f"'{style.one_line(text)[:40]}' is not a level's bytes, ways and line bytes")
    return f"{entries} entries, {ways} ways" if unit >= 4096 else f"{style.bytes_text(size)}, {ways} ways"


def number_text(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.00095 or value == 0 else f"{value:.0e}"


def draw_bar(axes, y, series, value, limit):
    looks = style.look(series)
    shown = min(value, limit)
    axes.barh(y, shown, 0.7, facecolor=style.lighter(looks.colour, 0.6), edgecolor=looks.colour, hatch=looks.hatch,
              linewidth=0, zorder=2)
    if value > limit:
        axes.plot([limit * 0.965] * 2, [y - 0.5, y + 0.5], color="white", linewidth=3.5, zorder=3)
    axes.annotate(number_text(value), (1, y), xycoords=("axes fraction", "data"), xytext=(5, 0),
                  textcoords="offset points", va="center", fontsize=7.5)


def draw_panel(axes, quantity, every, simulated, counted, floor, labels):
    bars = [v for v in simulated.values() if v > 0]
    limit = max([style.axis_limit(bars or [1]), *counted.values()]) * 1.05  # a bar may be cut, a diamond not
    axes.set_xlim(0, limit)
    axes.set_ylim(len(every) - 0.5, -0.5)
    axes.set_yticks([])
    axes.grid(False, axis="y")
    axes.xaxis.set_major_locator(style.matplotlib.ticker.MaxNLocator(4))
    axes.set_xlabel(quantity.unit)
    points = axes.figure.get_figwidth() * axes.get_position().width * 72
    for y, series in enumerate(every):
        axes.plot([-MARK / 2 * 72 / points], [y], transform=axes.get_yaxis_transform(), clip_on=False,
                  **style.marker_style(series, 5, hollow=series not in simulated))
        axes.annotate(style.wrap(labels[series], LABEL, 7.5, most=1)[0], (0, y), xycoords=axes.get_yaxis_transform(),
                      xytext=(-MARK * 72, 0), textcoords="offset points", ha="right", va="center", fontsize=7.5,
                      annotation_clip=False)
        if series in simulated:
            draw_bar(axes, y, series, simulated[series], limit)
        else:
            axes.plot([0.015], [y], marker="x", color="#b00000", markersize=5, markeredgewidth=1.6, clip_on=False,
                      transform=axes.get_yaxis_transform(), zorder=6)
        if series in counted:
            axes.plot([counted[series]], [y], marker="D", markersize=5, markerfacecolor="white",
                      markeredgecolor="black", markeredgewidth=0.9, clip_on=False, zorder=6)
    for series in floor:
        if series in simulated and simulated[series] <= limit:
            axes.axvline(simulated[series], color="black", linestyle=(0, (4, 2)), linewidth=1.1, zorder=4)


def legend(any_counted, any_failed):
    handles = [Patch(facecolor="#bbbbbb", label="callgrind (simulated)"),
               Line2D([], [], color="black", linewidth=1.1, linestyle=(0, (4, 2)), label="floor: replay alone")]
    if any_counted:
        handles.append(Line2D([], [], linestyle="none", marker="D", markersize=5, markerfacecolor="white",
                              markeredgecolor="black", label="pmu (counted on the machine)"))
    if any_failed:
        handles.append(Line2D([], [], linestyle="none", marker="x", color="#b00000", label="failed"))
    return handles


def draw_workload(case, rows, dropped, quantities, machine, labels):
    groups = style.group_by(rows, lambda r: r.series)
    floor = [s for s, g in groups.items() if g[0].group == "floor"]
    every = floor + sorted((s for s in groups if s not in floor), key=lambda s: labels[s])
    where = case[:2]
    parts = [({s: v for s, v in simulated.get(where, {}).items() if s in groups},
              {s: v for s, v in counted.get(where, {}).items() if s in groups}) for simulated, counted in quantities]
    any_counted = any(counted for _, counted in parts)
    panels = [(q.title, [f"pmu: {q.pmu_note}"] if counted and q.pmu_note else [], ROW * len(every), None)
              for q, (_, counted) in zip(QUANTITIES, parts)]
    subtitle = [style.case_text(case, max((r.ops or 0 for r in rows), default=0)) + ", pass=locality; " +
                style.how_replayed(rows)] + machine
    if not any_counted:
        subtitle.append("The machine's own counters were not read in this session.")
    subtitle += [f"{labels[s]}: {style.failure(g)}" for s, g in groups.items() if style.failure(g)]
    subtitle += [f"{labels[s]}: {style.APART[style.apart(g)]}" for s, g in groups.items() if style.apart(g)]
    subtitle += style.left_out(dropped, labels)
    left = max(min(style.text_width(labels[s], 7.5), LABEL) for s in every) + MARK + 0.1
    page = style.Page(f"Locality: {case.workload}", subtitle, panels, 2, 2 * (left + GUTTER + 2.4) + 0.3, left, GUTTER, 0.48,
                      legend(any_counted, any(style.failure(g) for g in groups.values())),
                      style.footer(rows, ["results.csv", NEEDS]))
    for axes, quantity, (simulated, counted) in zip(page.axes, QUANTITIES, parts):
        draw_panel(axes, quantity, every, simulated, counted, floor, labels)
    return page


def draw(folder, out):
    quantities, machine = read_quantities(folder), read_machine(folder)
    for case, rows, dropped, labels, slug in style.pages_of_pass(folder, "locality", 40):
        out.save(draw_workload(case, rows, dropped, quantities, machine, labels), "locality-" + slug)


if __name__ == "__main__":
    style.run_figure(draw, __doc__.splitlines()[0])
