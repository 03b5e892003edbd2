#!/usr/bin/python3
"""classes.py - size classes when most is committed: what objects waste inside, and which classes hold free memory.

A figure a workload, a row a design, a column a size class; the colour is bytes, on a logarithmic scale that both panels
share. The classes are the same for all designs (eight a doubling, sixteen bytes apart up to 128), whatever classes a design has itself. What belongs
to no class (free page runs, chunks not yet cut) is the column on the left. Grey: the design cannot tell.
"""
import os
from collections import namedtuple

import style  # first: it says what to do where numpy or matplotlib is missing
import numpy as np
from matplotlib.colors import LogNorm

NEEDS = "classes.csv"
TEXTS = style.RECORDING_TEXTS + ["via"]
NUMBERS = ["class_bytes", "internal_waste_bytes", "walk_free_bytes", "walk_unused_bytes"]
ROW = 0.2           # inches of a design's row
LEAST = 64.0        # bytes; what is less is as good as nothing
GREY = "#d0d0d0"
COLOURS = "YlOrRd"

LADDER = [16.0 * (i + 1) for i in range(8)] + [16.0 * (step + 9) * 2 ** d for d in range(44) for step in range(8)]

Panel = namedtuple("Panel", "head note value none")  # value of a row; whether there is a column of no class

PANELS = [
    Panel("Wasted inside live objects", "usable bytes less requested ones, by the class of the usable bytes",
          lambda n: n["internal_waste_bytes"], False),
    Panel("Committed, but free or never handed out", "by the class that the bytes are kept for, or the free block's own",
          lambda n: n["walk_free_bytes"] + n["walk_unused_bytes"], True),
]


def read_classes(folder):
    """classes.csv: {(workload, threads): {series: {column: array}}}."""
    table = style.Table(os.path.join(folder, NEEDS), TEXTS, NUMBERS, NUMBERS)
    picked, steps = {}, set(LADDER)
    for i, line in enumerate(table.line):
        size = table.number["class_bytes"][i]
        if not np.isnan(size) and size not in steps:
            table.fail(line, f"class_bytes is {size:g}, which is none of the classes")
        allocator, options, workload, threads, release, via = (table.text[c][i] for c in TEXTS)
        picked.setdefault((workload, threads), {}).setdefault(style.Series(allocator, options, release, via), []).append(i)
    return {case: {s: {c: table.number[c][rows] for c in NUMBERS} for s, rows in found.items()}
            for case, found in picked.items()}


def grid_of(panel, measured):
    """A row a series, a column a class from the smallest to the greatest, the classes, and the bytes of no class. NaN
    where the series cannot tell."""
    there = [b for n in measured for b in n["class_bytes"][~np.isnan(n["class_bytes"])]]
    sizes = [b for b in LADDER if min(there) <= b <= max(there)] if there else []
    grid, none = np.zeros((len(measured), len(sizes))), np.zeros(len(measured))
    for row, numbers in enumerate(measured):
        values, bytes_ = panel.value(numbers), numbers["class_bytes"]
        classed = ~np.isnan(bytes_)
        if np.isnan(values[classed]).any() or not classed.any():
            grid[row], none[row] = np.nan, np.nan
            continue
        grid[row, np.searchsorted(sizes, bytes_[classed])] = values[classed]
        none[row] = np.nansum(values[~classed])
    return grid, sizes, none


def draw_panel(axes, panel, cells, names, norm):
    """The map, with each row's name on the left and its sum on the right."""
    grid, sizes, none = cells
    shown = np.where(np.isnan(grid), np.nan, np.maximum(grid, 1e-9))
    colours = style.matplotlib.colormaps[COLOURS].with_extremes(under="white", bad=GREY)
    rows, columns = grid.shape
    axes.pcolormesh(np.arange(columns + 1), np.arange(rows + 1), shown, norm=norm, cmap=colours, zorder=2)
    gap, wide = columns * 0.012, columns * 0.04
    left = -gap - wide if panel.none else 0
    if panel.none:
        axes.pcolormesh([left, -gap], np.arange(rows + 1), np.where(np.isnan(none), np.nan, np.maximum(none, 1e-9))[:, None],
                        norm=norm, cmap=colours, zorder=2)
    for y in range(rows + 1):
        axes.plot([left, columns], [y, y], color="white", linewidth=1.2, zorder=3)
        if y < rows:
            total = np.nansum(grid[y]) + (none[y] if panel.none else 0)
            axes.text(columns * 1.01, y + 0.5, "cannot tell" if np.isnan(total) or np.isnan(grid[y]).all() else
                      style.bytes_text(total), va="center", ha="left", fontsize=7.5)
    axes.set_xlim(left, columns)
    axes.set_ylim(rows, 0)
    axes.set_yticks(np.arange(rows) + 0.5, names, fontsize=8)
    axes.tick_params(axis="y", length=0)
    ticks = size_ticks(sizes)
    at = ([(left - gap) / 2] if panel.none else []) + [x + 0.5 for x, _ in ticks]
    axes.set_xticks(at, (["none"] if panel.none else []) + [style.bytes_text(b).replace(" ", "\n") for _, b in ticks],
                    fontsize=7)
    axes.grid(False)
    axes.set_facecolor("#f7f7f7")
    axes.set_xlabel("size class (the most that its blocks hold)")


def size_ticks(sizes, most=16):
    """(column, bytes) of the powers of two among the classes, or of any if there are few, none too near to another."""
    powers = [(i, b) for i, b in enumerate(sizes) if b == 2 ** round(np.log2(b))]
    apart, kept = max(3.0, len(sizes) / most), []
    for i, b in powers if len(powers) > 2 else enumerate(sizes):
        if not kept or i - kept[-1][0] >= apart:
            kept.append((i, b))
    return kept


def norm_of(grids):
    top = max([np.nanmax(np.append(g[~np.isnan(g)], 0)) for g in grids], default=0)
    return LogNorm(LEAST, max(top, LEAST * 4))


def legend_bar(page, norm):
    """The scale of the colours, above the first panel, on the right of its head."""
    place = page.axes[0].get_position()
    axes = page.figure.add_axes([place.x1 - 2.4 / page.width, place.y1 + 0.24 / page.height, 2.4 / page.width,
                                 0.11 / page.height])
    bar = page.figure.colorbar(style.matplotlib.cm.ScalarMappable(norm, COLOURS), cax=axes, orientation="horizontal")
    low, high = np.log2(norm.vmin), np.log2(norm.vmax)
    bar.set_ticks(2.0 ** np.arange(low, high, max(1, int((high - low) / 3.5))))
    bar.ax.xaxis.set_major_formatter(lambda v, _: style.bytes_text(v))
    bar.ax.xaxis.set_minor_locator(style.matplotlib.ticker.NullLocator())
    bar.ax.tick_params(labelsize=6.5, length=2, pad=1)


def draw_workload(case, rows, dropped, measured, labels):
    groups = style.group_by(rows, lambda r: r.series)
    order = sorted((s for s in groups if s in measured and groups[s][0].group != "floor"),
                   key=lambda s: style.panel_order(groups[s], labels[s]))
    cells = [grid_of(panel, [measured[s] for s in order]) for panel in PANELS]
    norm = norm_of([c[0] for c in cells] + [cells[1][2]])
    subtitle = [style.case_text(case, max((r.ops or 0 for r in rows), default=0)) + ", pass=memory; " +
                style.how_replayed(rows),
                "When most was committed (libc and rivals: requested). White: less than 64 B. Grey: the design cannot tell."]
    subtitle += [f"{labels[s]}: {style.failure(g)}" for s, g in groups.items() if style.failure(g)]
    subtitle += style.left_out(dropped, labels)
    names = [labels[s] for s in order]
    margin = max([style.text_width(n, 8) for n in names], default=0) + 0.2
    heads = [(p.head, [p.note], max(len(order), 2) * ROW, None) for p in PANELS]
    page = style.Page(f"Size classes: {case.workload}", subtitle, heads, 1, 10.2, margin, 0.85, 0.62, (),
                      style.footer(rows, [NEEDS, "results.csv"]))
    for axes, panel, found in zip(page.axes, PANELS, cells):
        if order and found[1]:
            draw_panel(axes, panel, found, names, norm)
        else:
            style.empty_panel(axes)
    legend_bar(page, norm)
    return page


def draw(folder, out):
    measured = read_classes(folder)
    for case, rows, dropped, labels, slug in style.pages_of_pass(folder, "memory", 40):
        out.save(draw_workload(case, rows, dropped, measured.get(case[:2], {}), labels), "classes-" + slug)


if __name__ == "__main__":
    style.run_figure(draw, __doc__.splitlines()[0])
