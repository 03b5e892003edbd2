#!/usr/bin/python3
"""response.py - the open loop: response times by percentile beside service times, one figure a workload.

The horizontal axis is the percentile on a scale of 1/(1-p). Solid: from the intended start of a frame or request, fixed
before the run, to its completion; dotted: from its actual start. Where they part, arrivals stood behind slow ones. The floor
(the same by a design that does nothing) is dashed and black. All designs had the same schedule; its rate is in the heading.
"""
import os

import style  # first: it says what to do where numpy or matplotlib is missing
import latency
from matplotlib.lines import Line2D

NEEDS = "open.csv"  # no such file, no figure: it was not measured
TEXTS = style.RECORDING_TEXTS + ["via", "schedule", "time"]
NUMBERS = ["block", "rate_per_s", "low_ns", "high_ns", "count"]
TIMES = ["response", "service"]


def read_times(folder):
    """open.csv: {(workload, threads): ({series: {time: {(low, high): count}}}, schedule, rate)}, blocks added up."""
    table = style.Table(os.path.join(folder, NEEDS), TEXTS, NUMBERS)
    found, n = {}, table.number
    for i, line in enumerate(table.line):
        allocator, options, workload, threads, release, via, schedule, time = (table.text[c][i] for c in TEXTS)
        if time not in TIMES:
            table.fail(line, f"time is '{style.one_line(time)[:40]}', which is none of {', '.join(TIMES)}")
        if n["high_ns"][i] <= n["low_ns"][i]:
            table.fail(line, "the bucket's high_ns is not above its low_ns")
        kinds, known, rate = found.setdefault((workload, threads), ({}, schedule, n["rate_per_s"][i]))
        if (known, rate) != (schedule, n["rate_per_s"][i]):
            table.fail(line, "another schedule or rate than in the rows before it: designs cannot be compared")
        bucket = kinds.setdefault(style.Series(allocator, options, release, via), {}).setdefault(time, {})
        edges = n["low_ns"][i], n["high_ns"][i]
        bucket[edges] = bucket.get(edges, 0) + n["count"][i]
    return found


def draw_workload(case, rows, dropped, measured, labels):
    kinds, schedule, rate = measured
    groups = style.group_by(rows, lambda r: r.series)
    drawn = [s for s in groups if set(kinds.get(s, {})) == set(TIMES)]
    floors = {s for s in drawn if groups[s][0].group == "floor"}
    curves = {time: {s: latency.curve_of(kinds[s][time]) for s in drawn} for time in TIMES}
    handles = []
    for series, group in groups.items():
        floor = group[0].group == "floor"
        looks = {"color": "black", "linestyle": (0, (4, 2))} if floor else \
            {**style.marker_style(series, 5), "color": style.look(series).colour, "linestyle": "-"}
        handles.append(Line2D([], [], label=labels[series] + (" (floor)" if floor else ""), **looks))
    handles.append(Line2D([], [], color="#444444", linestyle="-", label="response time"))
    handles.append(Line2D([], [], color="#444444", linestyle=":", label="service time"))
    subtitle = [style.case_text(case, max((r.ops or 0 for r in rows), default=0)) + ", pass=open; " + style.how_replayed(rows)]
    subtitle.append(f"{schedule} schedule, {rate:,.0f} arrivals per second for all")
    subtitle += [f"{labels[s]}: {style.failure(g)}" for s, g in groups.items() if style.failure(g)]
    subtitle += [f"{labels[s]}: {style.APART[style.apart(g)]}" for s, g in groups.items() if style.apart(g)]
    subtitle += style.left_out(dropped, labels)
    page = style.Page(f"Open loop: {case.workload}", subtitle, [("", [], 4.2, None)], 1, 8.2, 0.8, 0.3, 0.48, handles,
                      style.footer(rows, ["open.csv", "results.csv"]))
    axes = page.axes[0]
    if len(drawn) > len(floors):
        responses = {s: c for s, c in curves["response"].items() if s not in floors}
        services = {s: c for s, c in curves["service"].items() if s not in floors}
        latency.draw_panel(axes, responses, {s: curves["response"][s] for s in floors}, {}, services)
        axes.set_xlabel("percentile of the arrivals, as 1 / (1 - p)")
    else:
        style.empty_panel(axes)
    return page


def draw(folder, out):
    measured = read_times(folder)
    for case, rows, dropped, labels, slug in style.pages_of_pass(folder, "open", 56):
        if case[:2] in measured:
            out.save(draw_workload(case, rows, dropped, measured[case[:2]], labels), "response-" + slug)


if __name__ == "__main__":
    style.run_figure(draw, __doc__.splitlines()[0])
