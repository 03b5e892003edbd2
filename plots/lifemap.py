#!/usr/bin/python3
"""lifemap.py - size against lifetime of a trace's objects, as a heat map: which sizes live how long, in ops, bytes and time.

Draws heat.csv, which `alloclab trace info --csv DIR` writes. Both axes are logarithmic; a cell is a quarter of a doubling
of sizes by half a doubling of lifetimes, and its colour the number of objects, on a logarithmic scale that all panels share.
"""
import os

import style  # first: it says what to do where numpy or matplotlib is missing
import numpy as np
from matplotlib.colors import LogNorm

NEEDS = "heat.csv"  # no such file, no figure: it was not measured
NUMBERS = "size_low_bytes size_high_bytes life_low life_high objects".split()
UNITS = {"ops": "in ops: calls from its making to its end", "bytes": "in bytes allocated meanwhile",
         "ns": "in time"}
LEAST = 0.5  # where a logarithmic axis has its 0


def read(folder):
    """{unit: {column: array}}, in the order of UNITS."""
    table = style.Table(os.path.join(folder, NEEDS), ["unit"], NUMBERS)
    units = np.array(table.text["unit"], dtype=object)
    unknown = [i for i, unit in enumerate(units) if unit not in UNITS]
    if unknown:
        table.fail(table.line[unknown[0]], f"unit is '{units[unknown[0]][:20]}', not one of {', '.join(UNITS)}")
    wrong = np.flatnonzero((table.number["size_low_bytes"] > table.number["size_high_bytes"]) |
                           (table.number["life_low"] > table.number["life_high"]))
    if len(wrong):
        table.fail(table.line[wrong[0]], "a range ends before it begins")
    if not len(units):
        raise style.NothingToDraw(f"{table.path}: the trace freed nothing that it made: there are no lifetimes to draw")
    return {unit: {c: table.number[c][units == unit] for c in NUMBERS} for unit in UNITS if (units == unit).any()}


def time_text(ns, _=None):
    for scale, name in ((1e18, "Gs"), (1e15, "Ms"), (1e12, "ks"), (1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if ns >= scale:
            return f"{ns / scale:g} {name}"
    return f"{ns:g} ns"


def life_axis(axis, unit, low, high):
    if unit == "bytes":
        style.byte_axis_log(axis, max(low, 1), high, 5)
        return
    decades = 10.0 ** np.arange(np.floor(np.log10(max(low, 1))), np.ceil(np.log10(high)) + 1)
    ticks = decades[(decades >= low) & (decades <= high)]
    if len(ticks) < 2:
        ticks = np.outer(decades, (1, 2, 5)).ravel()
        ticks = ticks[(ticks >= low) & (ticks <= high)]
    axis.set_major_locator(style.matplotlib.ticker.FixedLocator(ticks[::max(1, -(-len(ticks) // 7))]))
    axis.set_minor_locator(style.matplotlib.ticker.NullLocator())
    axis.set_major_formatter(time_text if unit == "ns" else lambda v, _: style.count_text(v))


def draw_cells(axes, cells, norm):
    """A rectangle each, from the low end of its ranges to just before the next ones'."""
    left, right = np.maximum(cells["life_low"], LEAST), cells["life_high"] + 1
    bottom, top = np.maximum(cells["size_low_bytes"], LEAST), cells["size_high_bytes"] + 1
    corners = np.stack([np.stack([x, y], -1) for x, y in ((left, bottom), (right, bottom), (right, top), (left, top))], 1)
    drawn = style.matplotlib.collections.PolyCollection(corners, array=cells["objects"], norm=norm, cmap="viridis_r",
                                                        edgecolors="face", linewidths=0.3, zorder=2)
    axes.add_collection(drawn)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(left.min(), right.max() * 1.05)
    axes.set_ylim(bottom.min(), top.max() * 1.05)
    return drawn


def draw(folder, out):
    units, about = read(folder), style.read_about(folder)
    count = next(iter(units.values()))["objects"].sum()
    norm = LogNorm(1, max(max(c["objects"].max() for c in units.values()), 2))
    panels = [(f"Lifetime {UNITS[unit]}", [], 3.6, None) for unit in units]
    page = style.Page(f"Sizes and lifetimes: {about.name}",
                      [f"{style.count_text(about.ops)} ops; {style.count_text(count)} objects that the recording made and freed"],
                      panels, len(panels), 4.4 * len(panels) + 0.3, 0.75, 0.85, 0.5, (), f"drawn from {NEEDS}")
    for axes, (unit, cells) in zip(page.axes, units.items()):
        drawn = draw_cells(axes, cells, norm)
        style.byte_axis_log(axes.yaxis, max(axes.get_ylim()[0], 1), axes.get_ylim()[1])
        life_axis(axes.xaxis, unit, *axes.get_xlim())
        for axis, limits in (axes.yaxis, axes.get_ylim()), (axes.xaxis, axes.get_xlim()):
            style.ticks_within(axis, *limits)
            if not len(axis.get_majorticklocs()):  # one cell, with no round number in it
                axis.set_major_locator(style.matplotlib.ticker.FixedLocator(limits[:1]))
        axes.set_ylabel("size")
        axes.set_xlabel("lifetime")
    style.count_bar(page, drawn, norm, 0.1, "objects")
    out.save(page, "lifemap")


if __name__ == "__main__":
    style.run_figure(draw, __doc__.splitlines()[0])
