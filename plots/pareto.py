#!/usr/bin/python3
"""pareto.py - peak memory against throughput: which allocators no other one beats in both; one panel a workload.

Right and down is better. Memory is peak_resident_bytes of the memory pass, which the kernel counts alike for every
allocator, foreign ones included; throughput is the median of mops_per_s over the repeats of the throughput pass, with a
thin line from the least to the greatest. The dashed front joins the ranked designs that no ranked design beats in both.
Designs that are not ranked (they never free, or are called in another way than the ranked ones) are hollow and take no
part in it. What could not be placed is named in the panel's head.
"""
from collections import namedtuple

import style  # first: it says what to do where numpy or matplotlib is missing
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

PASS = "throughput"  # no row of it, no figure: it was not run

LOG_FROM = 8  # a greatest that is this many times the least asks for a logarithmic axis
DWARF = 2.5   # an unranked design with this many times the most memory of the ranked ones stands at the top edge
TALL = 3.6    # inches
UNRANKED = "not ranked: never frees, or not through malloc as the others"
RADII = [8, 13, 20, 29, 40, 54, 70, 90, 115]  # distances of a label from its point, points of type

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
            points.append(Point(series, speeds, float(np.median(speeds)), max(float(np.median(peaks)), 1),
                                not style.apart(group)))
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


def boxes_around(x, y, width, height):
    """Places for a label beside a point: boxes (left, bottom, right, top) and their distances, in points of type."""
    radius, angle = (v.ravel() for v in np.meshgrid(RADII, np.radians(np.arange(0, 360, 22.5))))
    c, s = np.cos(angle), np.sin(angle)
    cx = x + radius * c + width / 2 * np.clip(1.5 * c, -1, 1)
    cy = y + radius * s + height / 2 * np.clip(1.5 * s, -1, 1)
    return np.stack([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2], axis=1), radius


def overlaps(boxes, others):
    """The area that each box shares with the others together."""
    boxes, others = boxes[:, None], np.reshape(others, (-1, 4))[None]
    wide = np.minimum(boxes[..., 2], others[..., 2]) - np.maximum(boxes[..., 0], others[..., 0])
    tall = np.minimum(boxes[..., 3], others[..., 3]) - np.maximum(boxes[..., 1], others[..., 1])
    return (np.maximum(wide, 0) * np.maximum(tall, 0)).sum(axis=1)


def leader_boxes(x, y, boxes):
    """Where the lines from a point to its boxes end, and small boxes along each line."""
    ends = np.stack([np.clip(x, boxes[:, 0], boxes[:, 2]), np.clip(y, boxes[:, 1], boxes[:, 3])], axis=1)
    steps = np.array([x, y]) + (ends - [x, y])[:, None] * np.linspace(0, 1, 12)[None, :, None]
    return ends, np.concatenate([steps - 0.7, steps + 0.7], axis=2)


def arrange(order, at, sizes, frame, line):
    """Chooses boxes for the points' labels one after the other: the total cost, {point: (box, end of its leader)}."""
    markers = np.array([[x - 6, y - 6, x + 6, y + 6] for x, y in at])
    taken, total, chosen = [], 0.0, {}
    for i in order:
        boxes, radius = boxes_around(*at[i], *sizes[i])
        ends, leaders = leader_boxes(*at[i], boxes)
        obstacles = np.concatenate([np.delete(markers, i, axis=0), np.reshape(taken, (-1, 4))])
        crossed = overlaps(leaders.reshape(-1, 4), obstacles).reshape(len(boxes), -1).sum(axis=1)
        outside = sizes[i][0] * sizes[i][1] - overlaps(boxes, [frame])
        cost = 200 * outside + 20 * overlaps(boxes, markers) + 20 * overlaps(boxes, taken) + 6 * overlaps(boxes, line)
        cost += 10 * crossed + radius * 2
        best = int(np.argmin(cost))
        total += cost[best]
        taken += [boxes[best], *leaders[best][2:]]
        chosen[i] = (boxes[best], ends[best] if radius[best] > RADII[1] else None)
    return total, chosen


def place_labels(axes, points, pinned, front, labels):
    """Puts each label where it covers no marker, no other label and, if it can, not the front."""
    dots = axes.figure.dpi / 72
    frame = np.array(axes.get_window_extent().extents) / dots
    at = axes.transData.transform([(p.speed, y) for p, y in zip(points, pinned)]) / dots
    corner = axes.transData.transform([(p.speed, p.memory) for p in front]) / dots if front else []
    line = [(a[0], b[1] - 1, b[0], b[1] + 1) for a, b in zip(corner, corner[1:])]  # the front's steps, flat and upright
    line += [(a[0] - 1, a[1], a[0] + 1, b[1]) for a, b in zip(corner, corner[1:])]
    if front:
        line += [(frame[0], corner[0][1] - 1, corner[0][0], corner[0][1] + 1),
                 (corner[-1][0] - 1, corner[-1][1], corner[-1][0] + 1, frame[3])]
    for p, y in zip(points, pinned):  # and the spreads
        (x0, y0), (x1, _) = axes.transData.transform([(min(p.speeds), y), (max(p.speeds), y)]) / dots
        line.append((x0, y0 - 1, x1, y0 + 1))
    weights = ["bold" if p in front else "normal" for p in points]
    texts = [labels[p.series] + (f" ▲ {style.bytes_text(p.memory)}" if y < p.memory else "")
             for p, y in zip(points, pinned)]
    texts = [style.wrap(t, 1.9, 7.5, w, 3) for t, w in zip(texts, weights)]
    sizes = [(max(style.text_width(l, 7.5, w) for l in t) * 72 + 2, 10.0 * len(t)) for t, w in zip(texts, weights)]
    orders = [list(np.argsort(key, kind="stable")) for key in
              (at[:, 1], -at[:, 1], at[:, 0], -at[:, 0], [-width for width, _ in sizes])]
    _, chosen = min((arrange(order, at, sizes, frame, line) for order in orders), key=lambda found: found[0])
    for i, (box, end) in chosen.items():
        if end is not None:
            axes.plot(*zip(at[i] * dots, end * dots), transform=None, color="#888888", linewidth=0.6, zorder=3)
        axes.text((box[0] + box[2]) / 2 * dots, (box[1] + box[3]) / 2 * dots, "\n".join(texts[i]), transform=None,
                  ha="center", va="center", fontsize=7.5, weight=weights[i], linespacing=1.05, zorder=7,
                  style="normal" if points[i].ranked else "italic",
                  path_effects=[withStroke(linewidth=2, foreground="white")])


def draw_panel(axes, points, labels):
    usual = [p.memory for p in points if p.ranked] or [p.memory for p in points]
    memories = [p.memory for p in points if p.memory <= DWARF * max(usual)]
    log_x = limits([s for p in points for s in p.speeds], axes.set_xscale, axes.set_xlim)
    log_y = limits(memories, axes.set_yscale, axes.set_ylim)
    (style.byte_axis_log if log_y else style.byte_axis)(axes.yaxis, *axes.get_ylim())
    if log_x:
        style.plain_log_ticks(axes.xaxis, *axes.get_xlim())
    axes.set_xlabel("median throughput in million ops per s (right is better" + (", logarithmic)" if log_x else ")"))
    axes.set_ylabel("peak resident memory (down is better" + (", logarithmic)" if log_y else ")"))
    top = axes.get_ylim()[1]
    front = front_of(points)
    if front:
        xs = [axes.get_xlim()[0]] + [p.speed for p in front] + [front[-1].speed]
        ys = [front[0].memory] + [p.memory for p in front] + [top]
        axes.plot(xs, ys, drawstyle="steps-pre", color="#666666", linestyle=(0, (4, 2)), linewidth=1, zorder=2)
    pinned = [min(p.memory, top) for p in points]  # what dwarfs the ranked stands at the top, its label says how high
    for p, y in zip(points, pinned):
        axes.plot([min(p.speeds), max(p.speeds)], [y, y], color="black", linewidth=0.7, zorder=3, clip_on=False)
        axes.plot([p.speed], [y], zorder=5, clip_on=False, **style.marker_style(p.series, 8, hollow=not p.ranked))
    place_labels(axes, points, pinned, front, labels)


def draw(folder, out):
    every = style.read_results(folder)
    rows = style.rows_of_pass(every, folder, PASS)
    memory = style.rows_of_pass(every, folder, "memory")
    labels = style.shorten(style.label_series(r.series for r in rows), 56)
    applied, without = style.applicable(rows)
    rows = applied or rows
    panels, points = [], []
    for case, group in style.group_by(rows, lambda r: r.case).items():
        found, notes = points_of(group, [r for r in memory if r.case[:2] == case[:2]], labels)
        ops = next((r.ops for r in group if r.ops), None)
        panels.append((case.workload, [style.case_text(case, ops)] + notes, TALL if found else 0.6, None))
        points.append(found)
    columns = 1 if len(panels) == 1 else 2
    handles = [Line2D([], [], color="#666666", linestyle=(0, (4, 2)), linewidth=1,
                      label="Pareto front (labels in bold)"),
               Line2D([], [], color="black", linewidth=0.7, label="least to greatest repeat"),
               Line2D([], [], marker="o", markersize=7, markerfacecolor="white", markeredgecolor="#555555",
                      markeredgewidth=1.4, linestyle="none", label=UNRANKED)]
    subtitle = ["Memory: peak_resident_bytes of pass=memory, counted by the kernel for all alike.",
                "Throughput: mops_per_s of pass=throughput; " + style.how_replayed(rows)]
    subtitle += style.left_out(without, labels)
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
