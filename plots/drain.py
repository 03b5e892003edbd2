#!/usr/bin/python3
"""drain.py - memory given back: what is resident after the program has freed everything, over five seconds, per design.

The time axis is logarithmic from 1 ms on, with the instant of the last free and the state before it to its left. A line
is what the kernel says is resident; its name stands where it ends, with that value. Designs that lie on one another
at the end have their names below each other, with a thin line to where they belong.
"""
import os
from collections import namedtuple

import style  # first: it says what to do where numpy or matplotlib is missing
import numpy as np

NEEDS = "drain.csv"
TEXTS = style.RECORDING_TEXTS + ["via"]
NUMBERS = ["freed_ns", "resident_bytes"]
BEFORE, FREED = -1.4, -0.7   # where these instants stand on the axis, whose 0 is 1 ms
TALL, LABELS = 4.6, 2.7      # inches: the least panel; room for the names on its right
NAME = 8.5 * 1.25            # points from one name to the next
LOWEST = 4096.0              # bytes; what is below is drawn there

Curve = namedtuple("Curve", "x bytes")


def read_curves(folder):
    """drain.csv: {(workload, threads): {series: Curve}}, without the state before."""
    table = style.Table(os.path.join(folder, NEEDS), TEXTS, NUMBERS)
    found = {}
    for i, line in enumerate(table.line):
        allocator, options, workload, threads, release, via = (table.text[c][i] for c in TEXTS)
        curves = found.setdefault((workload, threads), {})
        points = curves.setdefault(style.Series(allocator, options, release, via), [])
        if points and table.number["freed_ns"][i] <= points[-1][0]:
            table.fail(line, "freed_ns is not above that of the sample before")
        points.append((table.number["freed_ns"][i], table.number["resident_bytes"][i]))
    return {case: {s: curve_of(p) for s, p in curves.items()} for case, curves in found.items()}


def curve_of(points):
    """The first sample is the one at the last free, however long it took to look."""
    ns, resident = np.array(points).T
    x = np.append(FREED, np.log10(np.maximum(ns[1:], 1e6) / 1e6))
    return Curve(x, np.maximum(resident, LOWEST))


def read_before(folder):
    """Resident bytes before everything was freed: {(workload, threads): {series: bytes}}."""
    table = style.Table(os.path.join(folder, "results.csv"), TEXTS, ["drain_resident_before_bytes"],
                        ["drain_resident_before_bytes"])
    found = {}
    for i, value in enumerate(table.number["drain_resident_before_bytes"]):
        if not np.isnan(value):
            allocator, options, workload, threads, release, via = (table.text[c][i] for c in TEXTS)
            found.setdefault((workload, threads), {})[style.Series(allocator, options, release, via)] = \
                max(value, LOWEST)
    return found


def spread(wanted, least, low, high):
    """Places from low to high, each at least `least` above the one before, near the wanted ones, which rise."""
    places = list(wanted)
    for _ in range(200):  # neighbours that are too close push each other apart
        moved = False
        for i in range(1, len(places)):
            short = least - (places[i] - places[i - 1])
            if short > 1e-9:
                places[i - 1] -= short / 2
                places[i] += short / 2
                moved = True
        if not moved:
            break
    count = len(places)
    for i in range(count):
        places[i] = max(places[i], low + i * least, places[i - 1] + least if i else low)
    for i in reversed(range(count)):
        places[i] = min(places[i], high - (count - 1 - i) * least, places[i + 1] - least if i + 1 < count else high)
    return places


def value_text(value):
    return "< 4 KiB" if value <= LOWEST else style.bytes_text(value)


def panel_tall(count):
    return max(TALL, (count + 2) * NAME / 72)


def draw_names(axes, ends, low, high, labels):
    """Each series' name and last value at the right, in the order of the values; `ends` is by series."""
    tall = panel_tall(len(ends)) * 72 / NAME  # names that fit
    scale = tall / np.log2(high / low)
    order = sorted(ends, key=lambda s: (ends[s], labels[s]))
    places = spread([np.log2(ends[s] / low) * scale for s in order], 1.0, 0.5, tall - 0.5)
    for series, place in zip(order, places):
        y = place / tall
        at = np.log2(ends[series] / low) / np.log2(high / low)
        colour = style.look(series).colour if series.allocator != "null" else "black"
        axes.plot([1.005, 1.045], [at, y], transform=axes.transAxes, color=colour, linewidth=0.7, clip_on=False)
        axes.text(1.055, y, f"{labels[series]}  {value_text(ends[series])}", transform=axes.transAxes, va="center",
                  ha="left", fontsize=8.5)


def draw_panel(axes, curves, before, floors, labels):
    values = [v for c in curves.values() for v in c.bytes] + [before[s] for s in curves if s in before]
    low, high = min(values) / 1.6, max(values) * 1.6
    for series, curve in curves.items():
        x, y = curve
        if series in before:
            x, y = np.append(BEFORE, x), np.append(before[series], y)
        dashed = {"color": "black", "linestyle": (0, (4, 2)), "linewidth": 1.2}
        axes.plot(x, y, zorder=3, **(dashed if series in floors else
                                     {"color": style.look(series).colour, "linewidth": 1.6}))
        if series not in floors:
            axes.plot(x[:1], y[:1], zorder=4, **style.marker_style(series, 5))
            axes.plot(x[-1:], y[-1:], zorder=4, clip_on=False, **style.marker_style(series, 6))
    axes.set_yscale("log", base=2)
    axes.set_ylim(low, high)
    style.byte_axis_log(axes.yaxis, low, high)
    last = max(c.x[-1] for c in curves.values())
    axes.set_xlim(BEFORE - 0.15, last)
    ticks = [(BEFORE, "before"), (FREED, "all freed"), (0, "1 ms"), (1, "10 ms"), (2, "100 ms"), (3, "1 s"),
             (np.log10(5000), "5 s")]
    axes.set_xticks([t for t, _ in ticks if t <= last + 0.01], [n for t, n in ticks if t <= last + 0.01])
    axes.axvline(FREED, color="#888888", linewidth=0.8, zorder=2)
    axes.set_xlabel("time since the last free (logarithmic from 1 ms on)")
    axes.set_ylabel("resident (logarithmic)")
    draw_names(axes, {s: c.bytes[-1] for s, c in curves.items()}, low, high, labels)


def draw_workload(case, rows, dropped, curves, before, labels):
    groups = style.group_by(rows, lambda r: r.series)
    shown = {s: curves[s] for s in groups if s in curves}
    floors = {s for s in shown if groups[s][0].group == "floor"}
    subtitle = [style.case_text(case, max((r.ops or 0 for r in rows), default=0)) + ", pass=drain; " +
                style.how_replayed(rows), "While it waits a design's tick is called every 10 ms, and nothing "
                "else. What is called through malloc has the time alone."]
    subtitle += [f"{labels[s]}: {style.failure(g)}" for s, g in groups.items() if style.failure(g)]
    subtitle += style.left_out(dropped, labels)
    head = ("Resident after everything is freed", [], panel_tall(len(shown)), None)
    page = style.Page(f"Memory given back: {case.workload}", subtitle, [head], 1, 9.2, 0.8, LABELS, 0.5, (),
                      style.footer(rows, [NEEDS, "results.csv"]))
    if shown:
        draw_panel(page.axes[0], shown, before, floors, labels)
    else:
        style.empty_panel(page.axes[0])
    return page


def draw(folder, out):
    curves, before = read_curves(folder), read_before(folder)
    for case, rows, dropped, labels, slug in style.pages_of_pass(folder, "drain", 32):
        out.save(draw_workload(case, rows, dropped, curves.get(case[:2], {}), before.get(case[:2], {}), labels),
                 "drain-" + slug)


if __name__ == "__main__":
    style.run_figure(draw, __doc__.splitlines()[0])
