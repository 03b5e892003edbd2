#!/usr/bin/python3
"""blowup.py - memory over objects handed from a producer to a consumer, with each design's stated bound (dashed).

Draws DIR/blowup.csv, which `make bench-blowup` writes. Solid lines are committed bytes; a design whose memory does not
come through the counted door is drawn by what the kernel holds resident for it, dotted. A design without a bound has no
dashed line; if it was stopped, its line ends where it reached the limit.
"""
import os

import style  # first: it says what to do where numpy or matplotlib is missing
import numpy as np
from matplotlib.lines import Line2D

NEEDS = "blowup.csv"  # no such file, no figure: it was not measured
NUMBERS = "objects committed_bytes resident_bytes bound_bytes".split()
DASHED, DOTTED = (0, (4, 5)), (0, (1, 1.2))


def read(folder):
    """{design: {column: array}} in the file's order, and the formula of each bound."""
    table = style.Table(os.path.join(folder, NEEDS), ["design", "formula"], NUMBERS,
                        ["committed_bytes", "bound_bytes"])
    names = np.array(table.text["design"], dtype=object)
    if not len(names):
        table.fail(1, "no row besides the header", "the run measured nothing: run make bench-blowup again")
    formulas = dict(zip(table.text["design"], table.text["formula"]))
    return {n: {c: table.number[c][names == n] for c in NUMBERS} for n in formulas}, formulas


def memory_of(rows):
    """What is drawn of a design, and whether it is only resident memory."""
    foreign = np.isnan(rows["committed_bytes"]).any()
    return (rows["resident_bytes"] if foreign else rows["committed_bytes"]), foreign


def draw(folder, out):
    designs, formulas = read(folder)
    most = max(rows["objects"].max() for rows in designs.values())
    handles, notes = [], []
    for name, rows in designs.items():
        colour = style.look(style.Series(name, "", "free", "vtable")).colour
        values, foreign = memory_of(rows)
        handles.append(Line2D([], [], color=colour, linewidth=2, linestyle=DOTTED if foreign else "-",
                              label=name + (" (resident)" if foreign else "")))
        if not np.isnan(rows["bound_bytes"]).any():
            notes.append(f"{name}: {formulas[name]} = {style.bytes_text(rows['bound_bytes'][0])}")
        elif rows["objects"].max() < most:
            notes.append(f"{name}: no bound; stopped at {style.bytes_text(values.max())} after "
                         f"{style.count_text(rows['objects'].max())} objects")
    handles.append(Line2D([], [], color="#444444", linewidth=1.3, linestyle=DASHED, label="stated bound"))
    page = style.Page("Producer to consumer: memory held as objects pass", [
        f"{style.count_text(most)} objects of 64 bytes, freed by another thread than allocated them; at most 1 MiB in "
        "use at any time"], [("Committed by each design, and its bound with base, headers and pages ahead", notes, 3.6,
                              None)], 1, 8.2, 0.8, 0.25, 0.5, handles, f"drawn from {NEEDS}")
    axes, = page.axes
    lows, highs = [], []
    for i, (name, rows) in enumerate(designs.items()):  # later lines are thinner, so that none is hidden
        colour = style.look(style.Series(name, "", "free", "vtable")).colour
        values, foreign = memory_of(rows)
        axes.plot(rows["objects"], values, color=colour, linewidth=max(5 - i, 1.5), linestyle=DOTTED if foreign else "-",
                  zorder=3)
        if not np.isnan(rows["bound_bytes"]).any():
            axes.axhline(rows["bound_bytes"][0], color=colour, linewidth=1.3, linestyle=(4.5 * i, (4, 5)),
                         zorder=2)
            highs.append(rows["bound_bytes"][0])
        elif rows["objects"].max() < most:
            axes.plot(rows["objects"][-1:], values[-1:], marker="x", markersize=8, markeredgewidth=2, color=colour)
        lows.append(np.median(values))
        highs.append(values.max())
    low, high = min(lows) / 2, max(highs) * 1.6
    axes.set_yscale("log", base=2)
    axes.set_ylim(low, high)
    axes.set_xlim(0, most)
    style.byte_axis_log(axes.yaxis, low, high)
    style.count_axis(axes.xaxis, 6)
    axes.set_xlabel("objects handed over")
    out.save(page, "blowup")


if __name__ == "__main__":
    style.run_figure(draw, __doc__.splitlines()[0])
