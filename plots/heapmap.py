#!/usr/bin/python3
"""heapmap.py - heap map: address against time, coloured by what walk() calls the bytes; one figure a workload.

Each point is a bucket of addresses at a sample. Its colour mixes those of the kinds of its bytes by their shares, and
white for what is not committed: so a bucket that is half live and half free has a colour between the two.

Panels share their axes; one whose addresses reach several times further, or so little that its map would be a line on
the common scale, has a scale of its own, and its head says so.
"""
from collections import namedtuple

import style  # first: it says what to do where numpy or matplotlib is missing
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

NEEDS = "heapmap.csv"  # no such file, no figure: it was not measured
COLUMNS = "op_index bucket_bytes offset_bytes meta_bytes live_bytes free_bytes unused_bytes".split()
KINDS = [("live", "live (dead objects that cannot be reused included)"), ("free", "free: ready for reuse"),
         ("unused", "unused: never handed out"), ("meta", "metadata")]
WIDE = 480  # pixels of a panel's image in time
LOW = 4     # a map that would fill less than one part in so many of the common scale gets its own

Map = namedtuple("Map", "image times span")


def read_maps(folder):
    """A Map by (workload, threads) and (allocator, options, release)."""
    recordings, table = style.read_recordings(folder, NEEDS, COLUMNS)
    number = table.number
    total = sum(number[k + "_bytes"] for k, _ in KINDS)
    over = np.flatnonzero((total > number["bucket_bytes"]) | (number["bucket_bytes"] == 0))
    if len(over):
        table.fail(table.line[over[0]], "the bytes of the bucket are more than bucket_bytes")
    return {case: {spec: make_map(v) for spec, v in found.items()} for case, found in recordings.items()}


def make_map(v):
    """Paints the buckets of one recording: an image with a column a sample and a row a (smallest) bucket."""
    times, column = np.unique(v["op_index"], return_inverse=True)
    unit = v["bucket_bytes"].min()
    first = np.floor(v["offset_bytes"] / unit).astype(int)
    count = np.ceil(v["bucket_bytes"] / unit).astype(int)
    row = np.repeat(first, count) + np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    column = np.repeat(column, count)
    share = {k: np.repeat(v[k + "_bytes"] / v["bucket_bytes"], count) for k, _ in KINDS}
    colour = np.ones((len(row), 3))
    for kind, _ in KINDS:
        colour -= share[kind][:, None] * (1 - np.array(to_rgb(style.KIND_COLOURS[kind])))
    image = np.ones((row.max() + 1, len(times), 3))
    image[row, column] = np.clip(colour, 0, 1)
    return Map(image, times, (row.max() + 1) * unit)


def draw_map(axes, found, ops):
    """The image, with each sample from halfway to its neighbours."""
    times, image = found.times, found.image
    if len(times) == 1:
        axes.imshow(image, extent=(times[0] - 0.02 * ops, times[0] + 0.02 * ops, 0, found.span), origin="lower",
                    aspect="auto", interpolation="nearest", zorder=2)
        return
    edges = (times[1:] + times[:-1]) / 2
    low, high = times[0], times[-1]
    pixels = low + (np.arange(WIDE) + 0.5) * (high - low) / WIDE
    axes.imshow(image[:, np.searchsorted(edges, pixels)], extent=(low, high, 0, found.span), origin="lower",
                aspect="auto", interpolation="nearest", zorder=2)


def shape(count):
    return (count, 2.8) if count <= 2 else (2, 2.4) if count == 4 else (3, 2.1)


def panels_of(rows, maps, labels):
    """(series, rows, map or None, notes) of the allocators of a workload, and why others have none."""
    panels = []
    rows, without = style.applicable(rows)
    for series, group in style.group_by(rows, lambda r: r.series).items():
        if group[0].group == "floor":
            without[series] = "a floor manages no memory"
            continue
        failed, found = style.failure(group), maps.get(series[:3])
        if found is None and not failed:
            without[series] = "no walk: what is where is not known"
            continue
        notes = [failed] if failed else []
        if any(r.group == "never_frees" for r in group):
            notes.append(style.APART["never_frees"])
        if found is not None and len(found.times) == 1:
            notes.append("one sample only")
        panels.append((series, group, found, notes))
    return sorted(panels, key=lambda p: style.panel_order(p[1], labels[p[0]])), without


def tops(spans):
    """The top of each map's address axis, and whether it is the map's own because the span is far larger or smaller."""
    common = style.axis_limit(spans, 3)
    own = [not common / LOW <= span <= common for span in spans]
    return [(span if apart else common, apart) for span, apart in zip(spans, own)]


def draw_workload(case, panels, without, labels):
    drawn = [p for p in panels if p[2]]
    top_of = dict(zip((p[0] for p in drawn), tops([p[2].span for p in drawn]))) if drawn else {}
    rows = [r for p in panels for r in p[1]]
    ops = max([r.ops or 0 for r in rows] + [p[2].times.max() for p in panels if p[2]] + [1])
    columns, tall = shape(len(panels))
    heads = []
    for series, _, found, notes in panels:
        own = [f"own scale: addresses reach {style.bytes_text(found.span)}"] if found and top_of[series][1] else []
        heads.append((labels[series], own + notes, tall if found else 0.5, series))
    subtitle = [style.case_text(case, ops) + ", pass=memory; " + style.how_replayed(rows),
                "Address, without the gaps that were never committed, against time. Colours mix by the shares of a "
                "bucket's bytes; white is not committed."]
    subtitle += style.left_out(without, labels)
    handles = [Patch(facecolor=style.KIND_COLOURS[k], edgecolor="#444444", linewidth=0.4, label=n) for k, n in KINDS]
    page = style.Page(f"Heap map: {case.workload}", subtitle, heads, columns, max(columns * 3.5, 5.2) + 0.3, 0.75, 0.15,
                      0.45, handles, style.footer(rows, [NEEDS, "results.csv"]))
    for axes, (series, _, found, _) in zip(page.axes, panels):
        if found is None:
            style.empty_panel(axes)
            continue
        draw_map(axes, found, ops)
        top = top_of[series][0]
        axes.set_xlim(0, ops * (1 if len(found.times) > 1 else 1.03))
        axes.set_ylim(0, top)
        style.byte_axis(axes.yaxis, 0, top)
        style.count_axis(axes.xaxis)
        axes.grid(False)
        axes.set_xlabel("ops replayed")
    return page


def draw(folder, out):
    results = style.rows_of_pass(style.read_results(folder), folder, "memory")
    maps = read_maps(folder)
    labels = style.label_series(r.series for r in results)
    cases = style.group_by(results, lambda r: r.case)
    names = style.case_slugs(cases)
    for case, rows in cases.items():
        panels, without = panels_of(rows, maps.get(case[:2], {}), labels)
        if panels:
            out.save(draw_workload(case, panels, without, style.shorten(labels, 56)), "heapmap-" + names[case])


if __name__ == "__main__":
    style.run_figure(draw, __doc__.splitlines()[0])
