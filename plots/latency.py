#!/usr/bin/python3
"""latency.py - latency of single ops by percentile: one figure a workload, one panel for all ops and one for each kind.

The horizontal axis is the percentile on a scale of 1/(1-p): each step to the right leaves a tenth of the ops before it.
A curve is the distribution of all blocks of the session together and ends at its last op, the maximum. The floor (the
same calls to a design that does nothing, in the same blocks) is dashed and black; it contains what reading the clock
costs, and is never subtracted. A cross on the right says how far a design's own code goes: the greatest of the ops'
least latencies over replays from the same state (replay_min_max_ns), where there is one.
"""
import os
from collections import namedtuple

import style  # first: it says what to do where numpy or matplotlib is missing
import numpy as np
from matplotlib.lines import Line2D

NEEDS = "latency.csv"  # no such file, no figure: it was not measured
TEXTS = style.RECORDING_TEXTS + ["via", "op"]
NUMBERS = ["block", "low_ns", "high_ns", "count"]
KINDS = ["alloc", "calloc", "realloc", "free", "scope_enter", "scope_exit"]
SCOPES = KINDS[4:]
ALL = "all ops"
TALL = 2.7  # inches

Curve = namedtuple("Curve", "left ns")  # 1/(1-p), and the latency that this share of the ops does not exceed


def read_buckets(folder):
    """latency.csv: {(workload, threads): {series: {op kind: {(low, high): count}}}}, blocks added up."""
    table = style.Table(os.path.join(folder, NEEDS), TEXTS, NUMBERS)
    found, n = {}, table.number
    for i, line in enumerate(table.line):
        allocator, options, workload, threads, release, via, op = (table.text[c][i] for c in TEXTS)
        if op not in KINDS:
            table.fail(line, f"op is '{style.one_line(op)[:40]}', which is none of {', '.join(KINDS)}")
        if n["high_ns"][i] <= n["low_ns"][i]:
            table.fail(line, "the bucket's high_ns is not above its low_ns")
        kinds = found.setdefault((workload, threads), {}).setdefault(style.Series(allocator, options, release, via), {})
        bucket = kinds.setdefault(op, {})
        edges = n["low_ns"][i], n["high_ns"][i]
        bucket[edges] = bucket.get(edges, 0) + n["count"][i]
    return found


def merge(kinds):
    """The buckets of all ops; entering and leaving scopes are none."""
    every = {}
    for op, bucket in kinds.items():
        for edges, count in bucket.items() if op not in SCOPES else ():
            every[edges] = every.get(edges, 0) + count
    return every


def curve_of(bucket):
    """Steps of the distribution: each bucket's upper edge, at the share of ops that lie above the bucket before it."""
    edges = np.array(sorted(bucket))
    counts = np.array([bucket[tuple(e)] for e in edges])
    above = counts[::-1].cumsum()[::-1]  # ops in this bucket or above it
    return Curve(counts.sum() / above, edges[:, 1])


def draw_panel(axes, curves, floor, worst, dotted=None):
    """`dotted`: a second curve of some of the series, without a marker."""
    every = [*curves.values(), *floor.values(), *(dotted or {}).values()]
    most = max(c.left[-1] for c in every) * 1.6
    for series, curve in (dotted or {}).items():
        axes.step(np.append(curve.left, most), np.append(curve.ns, curve.ns[-1]), where="post", linestyle=":", linewidth=1.2,
                  color=style.look(series).colour)
    for series, curve in [*floor.items(), *curves.items()]:
        looks = style.look(series)
        left, ns = np.append(curve.left, min(curve.left[-1] * 1.6, most)), np.append(curve.ns, curve.ns[-1])
        dashed = {"color": "black", "linestyle": (0, (4, 2)), "linewidth": 1.2, "zorder": 4}
        axes.step(left, ns, where="post", **(dashed if series in floor else {"color": looks.colour, "linewidth": 1.4}))
        if series not in floor:
            axes.plot([left[-1]], [ns[-1]], clip_on=False, zorder=5, **style.marker_style(series, 5))
        if series in worst and series not in floor:
            axes.plot([1], [worst[series]], marker="x", markersize=6, markeredgewidth=1.8, color=looks.colour,
                      clip_on=False, zorder=6, transform=axes.get_yaxis_transform())
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(1, most)
    values = [v for c in every for v in (c.ns[0], c.ns[-1])] + list(worst.values())
    low, high = min(values) / 1.5, max(values) * 1.5
    axes.set_ylim(low, high)
    style.plain_log_ticks(axes.yaxis, low, high)
    decades = range(int(np.floor(np.log10(most))) + 1)
    axes.xaxis.set_major_locator(style.matplotlib.ticker.FixedLocator([10.0 ** d for d in decades]))
    axes.xaxis.set_minor_locator(style.matplotlib.ticker.NullLocator())
    axes.xaxis.set_major_formatter(lambda v, _: percentile_text(v))
    axes.set_xlabel("percentile of the ops, as 1 / (1 - p)")
    axes.set_ylabel("ns (logarithmic)")


def percentile_text(left):
    """10 -> p90, 1000 -> p99.9, 1 -> p0."""
    nines = int(round(np.log10(left)))
    return "p" + ("0" if nines == 0 else "90" if nines == 1 else "99" if nines == 2 else "99." + "9" * (nines - 2))


def worst_of(folder):
    """The replay-minimum's maximum of each cell: {(workload, threads): {series: the median over blocks}}."""
    path = os.path.join(folder, "results.csv")
    table = style.Table(path, style.RECORDING_TEXTS + ["via"], ["replay_min_max_ns"], ["replay_min_max_ns"])
    found = {}
    for i, value in enumerate(table.number["replay_min_max_ns"]):
        if not np.isnan(value):
            allocator, options, workload, threads, release = (table.text[c][i] for c in style.RECORDING_TEXTS)
            series = style.Series(allocator, options, release, table.text["via"][i])
            found.setdefault((workload, threads), {}).setdefault(series, []).append(value)
    return {case: {s: float(np.median(v)) for s, v in kinds.items()} for case, kinds in found.items()}


def draw_workload(case, rows, dropped, measured, worst, labels):
    groups = style.group_by(rows, lambda r: r.series)
    kinds = [k for k in KINDS if any(k in measured.get(s, {}) for s in groups)]
    heads, panels = [], []
    for kind in [ALL] + kinds:
        curves = {s: curve_of(bucket) for s in groups if s in measured
                  for bucket in [merge(measured[s]) if kind == ALL else measured[s].get(kind)] if bucket}
        floor = {s: c for s, c in curves.items() if groups[s][0].group == "floor"}
        panels.append(({s: c for s, c in curves.items() if s not in floor}, floor))
        heads.append((kind, [], TALL, None))
    handles = []
    for series, group in groups.items():
        floor = group[0].group == "floor"
        looks = {"color": "black", "linestyle": (0, (4, 2))} if floor else \
            {**style.marker_style(series, 5), "color": style.look(series).colour, "linestyle": "-"}
        handles.append(Line2D([], [], label=labels[series] + (" (floor)" if floor else ""), **looks))
    if any(s in worst for s in groups):
        handles.append(Line2D([], [], linestyle="none", marker="x", color="#444444", label="replay-minimum's maximum"))
    subtitle = [style.case_text(case, max((r.ops or 0 for r in rows), default=0)) + ", pass=latency; " +
                style.how_replayed(rows)]
    subtitle += [f"{labels[s]}: {style.failure(g)}" for s, g in groups.items() if style.failure(g)]
    subtitle += [f"{labels[s]}: {style.APART[style.apart(g)]}" for s, g in groups.items() if style.apart(g)]
    subtitle += style.left_out(dropped, labels)
    columns = min(len(heads), 2)
    page = style.Page(f"Latency: {case.workload}", subtitle, heads, columns, max(columns * 4.4, 5.2) + 0.3, 0.8, 0.3, 0.48,
                      handles, style.footer(rows, [NEEDS, "results.csv"]))
    for axes, (curves, floor), (kind, *_) in zip(page.axes, panels, heads):
        if curves or floor:
            draw_panel(axes, curves, floor, worst if kind == ALL else {})
        else:
            style.empty_panel(axes)
    return page


def draw(folder, out):
    measured, worst = read_buckets(folder), worst_of(folder)
    for case, rows, dropped, labels, slug in style.pages_of_pass(folder, "latency", 56):
        shown = {s: v for s, v in worst.get(case[:2], {}).items() if any(r.series == s for r in rows)}
        out.save(draw_workload(case, rows, dropped, measured.get(case[:2], {}), shown, labels), "latency-" + slug)


if __name__ == "__main__":
    style.run_figure(draw, __doc__.splitlines()[0])
