#!/usr/bin/python3
"""memory.py - memory over time: where the bytes of each allocator went, one figure a workload, one panel an allocator.

Stacked from below: requested by the program; internal (usable but not requested); held dead (freed, but the design
cannot reuse it); these two together for designs that cannot tell what is usable; metadata; free (ready for reuse, or
never handed out yet). The top of the stack is what the allocator has committed. The line is what the kernel holds
resident for the process, above its baseline.

All panels of a figure share their axes. A panel that dwarfs the others leaves the axis, and its head says how far.
Designs without a walk have the rest of what they committed in one layer; those whose memory does not come through the
counted door have only the requested bytes and the line.
"""
from collections import namedtuple

import style  # first: it says what to do where numpy or matplotlib is missing
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

WALK = "usable_bytes walk_meta_bytes walk_live_bytes walk_free_bytes walk_unused_bytes".split()
NEEDS = "timeline.csv"  # no such file, no figure: it was not measured
MAY_BE_EMPTY = ["committed_bytes", *WALK]
COLUMNS = ["op_index", "requested_bytes", "resident_bytes", *MAY_BE_EMPTY]
KIND = style.KIND_COLOURS
DEAD = "#d55e00"
LAYERS = [("requested", KIND["live"], ""),
          ("internal: usable − requested", style.lighter(KIND["live"], 0.35), "////"),
          ("held dead: freed, cannot be reused", DEAD, "xxxx"),
          ("internal or held dead (usable not known)", style.lighter(DEAD, 0.5), "\\\\\\\\"),
          ("metadata", KIND["meta"], ""),
          ("free: reusable or not yet used", style.lighter(KIND["free"], 0.45), "...."),
          ("committed beyond it (no walk)", "#c4c4c4", "")]

Panel = namedtuple("Panel", "series rows times layers resident notes")


def layers_of(r):
    """The layers of a recording in the order of LAYERS, the first alone if nothing else is known, and notes on them."""
    requested, usable, live = r["requested_bytes"], r["usable_bytes"], r["walk_live_bytes"]
    none = np.zeros(len(live))
    if np.isnan(r["committed_bytes"]).any():
        return [requested], ["no walk: memory not through the counted door"]
    if np.isnan(live).any():
        beyond = np.maximum(r["committed_bytes"] - requested, 0)
        return [requested, *[none] * (len(LAYERS) - 2), beyond], ["no walk"]
    split = [none, none, live - requested]
    if not np.isnan(usable).any():
        split = [usable - requested, live - usable, none]
    under = max(-layer.min() for layer in split)
    notes = [f"walk() shows {style.bytes_text(under)} less live than there is"] if under > 0 else []
    return [requested, *(np.maximum(layer, 0) for layer in split), r["walk_meta_bytes"],
            r["walk_free_bytes"] + r["walk_unused_bytes"], none], notes


def make_panel(series, rows, recording):
    """A panel of one allocator, or one without data that says what failed."""
    notes = [style.failure(rows)] if style.failure(rows) else []
    if any(r.group == "never_frees" for r in rows):
        notes.append(style.APART["never_frees"])
    if recording is None:
        return Panel(series, rows, None, [], None, notes or ["no samples in timeline.csv"])
    layers, more = layers_of(recording)
    notes += more
    if len(recording["op_index"]) == 1:
        notes.append("one sample only")
    peak = f"peak resident {style.bytes_text(recording['resident_bytes'].max())}"
    if len(layers) > 1:
        peak += f", committed {style.bytes_text(np.sum(layers, axis=0).max())}"
    return Panel(series, rows, recording["op_index"], layers, recording["resident_bytes"], [peak] + notes)


def top_of(panel):
    return max(np.sum(panel.layers, axis=0).max(), panel.resident.max())


def draw_panel(axes, panel, limit, ops):
    times, layers, resident = panel.times, panel.layers, panel.resident
    if len(times) == 1:  # a single sample is drawn as a bar around its instant
        times = np.array([times[0] - 0.02 * ops, times[0] + 0.02 * ops])
        layers, resident = [np.repeat(l, 2) for l in layers], np.repeat(resident, 2)
    base = np.zeros(len(times))
    for (_, colour, hatch), layer in zip(LAYERS, layers):
        if layer.any():
            axes.fill_between(times, base, base + layer, facecolor=colour, hatch=hatch, edgecolor="#444444",
                              linewidth=0)
        base = base + layer
    if len(layers) > 1:
        axes.plot(times, base, color="#444444", linewidth=0.6)
    axes.plot(times, resident, color="black", linewidth=1.5, linestyle=(0, (5, 1.5)), zorder=4,
              path_effects=[withStroke(linewidth=3, foreground="white")])
    if top_of(panel) > limit:
        over = times[np.argmax(np.maximum(base, resident) > limit)]
        axes.plot([over], [1], marker="^", markersize=9, color="#b00000", markeredgecolor="white", clip_on=False,
                  zorder=6, transform=axes.get_xaxis_transform())


def shape(count):
    """Columns of a figure with this many panels, and the height of a panel in inches."""
    return (count, 2.6) if count <= 2 else (2, 2.3) if count == 4 else (3, 2.0)


def draw_workload(case, panels, dropped, labels):
    drawn = [p for p in panels if p.times is not None]
    limit = 1.06 * style.axis_limit([max(top_of(p), 1) for p in drawn], 2) if drawn else 1
    every = [r for p in panels for r in p.rows]
    ops = max([r.ops or 0 for r in every] + [p.times.max() for p in drawn] + [1])
    heads = []
    columns, tall = shape(len(panels))
    for p in panels:
        over = p.times is not None and top_of(p) > limit
        notes = [f"▲ leaves the axis, reaches {style.bytes_text(top_of(p))}"] if over else []
        heads.append((labels[p.series], notes + p.notes, tall if p.times is not None else 0.5, p.series))
    has = [any(len(p.layers) > i and p.layers[i].any() for p in drawn) for i in range(len(LAYERS))]
    handles = [Patch(facecolor=c, hatch=h, edgecolor="#444444", linewidth=0.4, label=n)
               for (n, c, h), present in zip(LAYERS, has) if present]
    if drawn:
        handles.append(Line2D([], [], color="black", linewidth=1.5, linestyle=(0, (5, 1.5)), label="resident (kernel)"))
    subtitle = [style.case_text(case, ops) + ", pass=memory; " + style.how_replayed(every)]
    subtitle += style.left_out(dropped, labels)
    page = style.Page(f"Memory over time: {case.workload}", subtitle, heads, columns,
                      max(columns * 3.5, 5.2) + 0.3, 0.75, 0.15, 0.45, handles,
                      style.footer(every, [NEEDS, "results.csv"]))
    for i, (axes, panel) in enumerate(zip(page.axes, panels)):
        if panel.times is None:
            style.empty_panel(axes)
            continue
        draw_panel(axes, panel, limit, ops)
        axes.set_xlim(0, ops * (1 if len(panel.times) > 1 else 1.03))
        axes.set_ylim(0, limit)
        style.byte_axis(axes.yaxis, 0, limit)
        style.count_axis(axes.xaxis)
        axes.set_xlabel("ops replayed")
    return page


def draw(folder, out):
    results = style.rows_of_pass(style.read_results(folder), folder, "memory")
    recordings, _ = style.read_recordings(folder, NEEDS, COLUMNS, MAY_BE_EMPTY)
    labels = style.label_series(r.series for r in results)
    cases = style.group_by(results, lambda r: r.case)
    names = style.case_slugs(cases)
    for case, rows in cases.items():
        panels = []
        rows, dropped = style.applicable(rows)
        for series, group in style.group_by(rows, lambda r: r.series).items():
            if group[0].group == "floor":
                dropped[series] = "a floor manages no memory"
                continue
            recording = recordings.get(case[:2], {}).get(series[:3])
            panels.append(make_panel(series, group, recording))
        panels.sort(key=lambda p: style.panel_order(p.rows, labels[p.series]))
        if panels:
            out.save(draw_workload(case, panels, dropped, style.shorten(labels, 56)),
                     "memory-" + names[case])


if __name__ == "__main__":
    style.run_figure(draw, __doc__.splitlines()[0])
