#!/usr/bin/env python3
"""Peak memory against throughput: which allocators no other one beats in both; one panel a workload.

Right and down is better. Memory is peak_resident_bytes of the memory pass, which the kernel counts alike for every
allocator, foreign ones included; throughput is the median of mops_per_s over the repeats of the throughput pass, with a
thin line from the least to the greatest. The dashed front joins the ranked designs that no ranked design beats in both.
Designs that never free are hollow and take no part in it. What could not be placed is named in the panel's head.
"""
from collections import namedtuple

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

import style

LOG_FROM = 8  # a greatest that is this many times the least asks for a logarithmic axis
TALL = 3.6    # inches

Point = namedtuple("Point", "series speeds speed memory ranked")


def points_of(rows, memory_rows, labels):
    """The points of a workload, and what could not be placed and why."""
    memory, points, notes = style.group_by(memory_rows, lambda r: r.series), [], []
    for series, group in style.group_by(rows, lambda r: r.series).items():
        speeds = [r.mops for r in group if r.status == "ok" and r.mops]
        peaks = [r.resident for r in memory.get(series, []) if r.status == "ok" and r.resident is not None]
        if group[0].group == "floor":
            if speeds:
                notes.append(f"floor: {labels[series]}, {np.median(speeds):.3g} million ops per s; manages no memory")
        elif not speeds:
            notes.append(f"{labels[series]}: throughput {style.failure(group) or 'not measured'}")
        elif not peaks:
            notes.append(f"{labels[series]}: memory {style.failure(memory.get(series, [])) or 'not measured'}")
        else:
            ranked = not any(r.group == "never_frees" for r in group)
            points.append(Point(series, speeds, float(np.median(speeds)), max(float(np.median(peaks)), 1), ranked))
    return points, notes


def front_of(points):
    """The ranked points that no other beats in both, from slow to fast."""
    front = []
    for p in sorted((p for p in points if p.ranked), key=lambda p: (-p.speed, p.memory)):
        if not front or p.memory < front[-1].memory:
            front.append(p)
    return front[::-1]


def limits(values, set_scale, set_limits):
    """Sets scale and limits of an axis; True if it is logarithmic."""
    low, high = min(values), max(values)
    if high / low > LOG_FROM:
        set_scale("log")
        pad = (high / low) ** 0.12
        set_limits(low / pad, high * pad)
        return True
    if high / low > 1.6:
        set_limits(0, high * 1.15)
    else:
        pad = max(high - low, 0.1 * high) * 0.35
        set_limits(low - pad, high + pad)
    return False


def candidates(x, y, width, height):
    """Places for a label beside a point, near ones first: boxes in points of type."""
    for radius in (7, 14, 24, 36, 50, 66):
        for angle in (0, 180, 90, 270, 45, 315, 135, 225):
            c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
            cx = x + radius * c + width / 2 * np.sign(round(c, 6))
            cy = y + radius * s + height / 2 * np.sign(round(s, 6))
            yield radius, Bbox.from_bounds(cx - width / 2, cy - height / 2, width, height)


def overlap(a, b):
    return max(0, min(a.x1, b.x1) - max(a.x0, b.x0)) * max(0, min(a.y1, b.y1) - max(a.y0, b.y0))


def place_labels(axes, points, front, labels):
    """Puts each label where it covers no marker, no other label and, if it can, not the front."""
    dots = axes.figure.dpi / 72
    frame = axes.get_window_extent()
    room = Bbox.from_extents(*(v / dots for v in frame.extents))
    at = [axes.transData.transform((p.speed, p.memory)) / dots for p in points]
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in at]
    line = axes.transData.transform([(p.speed, p.memory) for p in front]) / dots if front else []
    for (x, y), p in sorted(zip(at, points), key=lambda item: (-item[0][1], item[0][0])):
        bold = "bold" if p in front else "normal"
        lines = style.wrap(labels[p.series], 1.7, 7.5, bold, 2)
        width = max(style.text_width(l, 7.5, bold) for l in lines) * 72 + 2
        height = 9.5 * len(lines)

        def cost(place):
            radius, box = place
            outside = width * height - overlap(box, room)
            covered = sum(overlap(box, other) for other in taken)
            steps = sum(overlap(box, Bbox.from_extents(a[0], b[1] - 1, b[0], b[1] + 1)) for a, b in zip(line, line[1:]))
            return 10 * outside + 5 * covered + steps + radius
        radius, box = min(candidates(x, y, width, height), key=cost)
        taken.append(box)
        middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
        if radius > 14:
            near = (min(max(x, box.x0), box.x1), min(max(y, box.y0), box.y1))
            axes.plot(*zip((x * dots, y * dots), (near[0] * dots, near[1] * dots)), transform=None, color="#888888",
                      linewidth=0.6, zorder=3)
        axes.text(middle[0] * dots, middle[1] * dots, "\n".join(lines), transform=None, ha="center", va="center",
                  fontsize=7.5, weight=bold, style="normal" if p.ranked else "italic", linespacing=1.05, zorder=7,
                  path_effects=[withStroke(linewidth=2, foreground="white")])


def draw_panel(axes, points, labels):
    speeds = [s for p in points for s in p.speeds]
    memories = [p.memory for p in points]
    log_x = limits(speeds, axes.set_xscale, axes.set_xlim)
    log_y = limits(memories, axes.set_yscale, axes.set_ylim)
    (style.byte_axis_log if log_y else style.byte_axis)(axes.yaxis, *axes.get_ylim())
    if log_x:
        style.plain_log_ticks(axes.xaxis, *axes.get_xlim())
    axes.set_xlabel("median throughput in million ops per s (right is better" + (", logarithmic)" if log_x else ")"))
    axes.set_ylabel("peak_resident_bytes (down is better" + (", logarithmic)" if log_y else ")"))
    front = front_of(points)
    if front:
        xs = [axes.get_xlim()[0]] + [p.speed for p in front] + [front[-1].speed]
        ys = [front[0].memory] + [p.memory for p in front] + [axes.get_ylim()[1]]
        axes.plot(xs, ys, drawstyle="steps-pre", color="#666666", linestyle=(0, (4, 2)), linewidth=1, zorder=2)
    for p in points:
        axes.plot([min(p.speeds), max(p.speeds)], [p.memory] * 2, color="black", linewidth=0.7, zorder=3)
        axes.plot([p.speed], [p.memory], zorder=5, **style.marker_style(p.series, 8, hollow=not p.ranked))
    place_labels(axes, points, front, labels)


def draw(folder, out):
    every = style.read_results(folder)
    rows = style.rows_of_pass(every, folder, "throughput")
    memory = style.rows_of_pass(every, folder, "memory")
    labels = style.shorten(style.label_series(r.series for r in rows), 56)
    applied, without = style.applicable(rows, labels)
    rows = applied or rows
    panels, points = [], []
    for case, group in style.group_by(rows, lambda r: r.case).items():
        found, notes = points_of(group, [r for r in memory if r.case[:2] == case[:2]], labels)
        ops = next((r.ops for r in group if r.ops), None)
        panels.append((case.workload, [style.case_text(case, ops)] + notes, TALL if found else 0.6, None))
        points.append(found)
    columns = 1 if len(panels) == 1 else 2
    handles = [Line2D([], [], color="#666666", linestyle=(0, (4, 2)), linewidth=1, label="Pareto front (labels in bold)"),
               Line2D([], [], color="black", linewidth=0.7, label="least to greatest repeat"),
               Line2D([], [], marker="o", markersize=7, markerfacecolor="white", markeredgecolor="#555555",
                      markeredgewidth=1.4, linestyle="none", label="never frees: not ranked")]
    subtitle = ["Memory: peak resident, counted by the kernel for all alike, pass=memory. Throughput: pass=throughput.",
                style.how_replayed(rows)]
    subtitle += [f"Not applicable: {', '.join(without)}."] if without else []
    page = style.Page("Peak memory against throughput", subtitle, panels, columns, columns * 5.3 + 0.3, 0.85, 0.2, 0.48,
                      handles, style.footer(rows, ["results.csv"]))
    for axes, found in zip(page.axes, points):
        if found:
            draw_panel(axes, found, labels)
        else:
            style.empty_panel(axes)
    out.save(page, "pareto")


if __name__ == "__main__":
    style.run_figure(draw, __doc__.splitlines()[0])
