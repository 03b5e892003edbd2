#!/usr/bin/python3
"""liveset.py - how much of a trace is live at a time: bytes asked for, and objects, over its ops.

Draws live.csv, which `alloclab trace info --csv DIR` writes. The line is what is live at the end of each stretch of ops,
the shade above it reaches to the most that was live within the stretch.
"""
import os

import style  # first: it says what to do where numpy or matplotlib is missing
import numpy as np

NEEDS = "live.csv"  # no such file, no figure: it was not measured
NUMBERS = "ops live_objects live_bytes peak_objects peak_bytes".split()
PANELS = [("bytes", "Live bytes, as asked for", style.KIND_COLOURS["live"]), ("objects", "Live objects", "#d55e00")]


def read(folder):
    table = style.Table(os.path.join(folder, NEEDS), [], NUMBERS)
    if not len(table.line):
        table.fail(1, "no row besides the header", "the trace is empty: there is nothing to draw")
    falls = np.flatnonzero(np.diff(table.number["ops"]) <= 0)
    if len(falls):
        table.fail(table.line[falls[0] + 1], "ops is not above that of the row before")
    for what, _, _ in PANELS:
        above = np.flatnonzero(table.number[f"live_{what}"] > table.number[f"peak_{what}"])
        if len(above):
            table.fail(table.line[above[0]], f"live_{what} is above peak_{what}")
    return table.number


def draw(folder, out):
    rows, about = read(folder), style.read_about(folder)
    panels = []
    for what, head, _ in PANELS:
        peak, end = rows[f"peak_{what}"].max(), rows[f"live_{what}"][-1]
        say = style.bytes_text if what == "bytes" else style.count_text
        panels.append((head, [f"peak {say(peak)}, at the end {say(end)}"], 2.6, None))
    page = style.Page(f"Live set: {about.name}", [f"{style.count_text(about.ops)} ops"], panels, 2, 9.6, 0.8, 0.2, 0.45, (),
                      f"drawn from {NEEDS}")
    for axes, (what, _, colour) in zip(page.axes, PANELS):
        live, peak = rows[f"live_{what}"], rows[f"peak_{what}"]
        axes.fill_between(rows["ops"], live, peak, step="pre", color=style.lighter(colour, 0.35), linewidth=0, zorder=2)
        axes.plot(rows["ops"], live, color=colour, linewidth=1.0, drawstyle="steps-pre", zorder=3,
                  marker="o" if len(live) == 1 else "", clip_on=len(live) > 1)  # a line of one point cannot be seen
        top = max(peak.max(), 1) * 1.05
        axes.set_xlim(0, max(rows["ops"][-1], 1))
        axes.set_ylim(0, top)
        if what == "bytes":
            style.byte_axis(axes.yaxis, 0, top)
        else:
            style.count_axis(axes.yaxis, 6)
        style.count_axis(axes.xaxis, 5)
        style.ticks_within(axes.xaxis, 0, max(rows["ops"][-1], 1))
        style.ticks_within(axes.yaxis, 0, top)
        axes.set_xlabel("ops")
    out.save(page, "liveset")


if __name__ == "__main__":
    style.run_figure(draw, __doc__.splitlines()[0])
