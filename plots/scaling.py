#!/usr/bin/python3
"""scaling.py - scaling: throughput of each allocator over the number of copies of the workload's threads.

One panel a workload, one line an allocator, through the medians of its blocks; the thin line reaches from the least to
the greatest. The grey line is ideal: that many times the throughput of the best allocator with the fewest copies. From
four numbers of copies on, a dotted line is the Universal Scalability Law fitted to an allocator's medians by least
squares: X(n) = n X(1) / (1 + contention (n - 1) + coherence n (n - 1)), with neither coefficient below 0.
"""
import sys

import style  # first: it says what to do where numpy or matplotlib is missing
import numpy as np
from matplotlib.lines import Line2D

PASS = "throughput"  # no row of it, no figure: it was not run

TALL, WIDE = 2.9, 4.6  # inches of a panel's axes
FIT_FROM = 4           # numbers of copies that a fit takes at least
SHIFT = 0.012          # of the axis, between the allocators' marks of the same number


def curves(rows):
    """Of a workload's rows: {series: (copies, medians, leasts, greatests)}, by rising copies."""
    out = {}
    for series, group in style.group_by(rows, lambda r: r.series).items():
        by_copies = style.group_by([r for r in group if r.status == "ok" and r.mops is not None],
                                   lambda r: int(r.case.copies))
        n = sorted(by_copies)
        values = [np.array([r.mops for r in by_copies[k]]) for k in n]
        if n:
            out[series] = tuple(np.array(v, dtype=float) for v in
                                (n, [np.median(v) for v in values], [v.min() for v in values],
                                 [v.max() for v in values]))
    return out


def usl(n, x):
    """(X(1), contention, coherence) of the Universal Scalability Law, or None if there are too few points or no such
    law fits. It is linear in its three unknowns: n / X(n) = (1 + a (n - 1) + b n (n - 1)) / X(1)."""
    if len(n) < FIT_FROM or (x <= 0).any():
        return None
    terms = np.column_stack([np.ones_like(n), n - 1, n * (n - 1)])
    best = None
    for used in ([0, 1, 2], [0, 1], [0, 2], [0]):  # a coefficient that would be below 0 is 0
        part = terms[:, used] * (x / n)[:, None]   # weighted so that residuals are relative
        found = np.linalg.lstsq(part, np.ones_like(n), rcond=None)[0]
        error = float(((part @ found - 1) ** 2).sum())
        if (found >= 0).all() and found[0] > 0 and (best is None or error < best[0]):
            whole = np.zeros(3)
            whole[used] = found
            best = error, whole
    if best is None:
        return None
    scale, a, b = best[1]
    return 1 / scale, a / scale, b / scale


def notes(rows, lines, labels):
    """What the head of a panel says: how it was replayed, the efficiency of each, its fit."""
    out = [style.case_text(rows[0].case._replace(copies="1"), next((r.ops for r in rows if r.ops), None)) + " · figures of one copy"]
    for series, (n, medians, _, _) in lines.items():
        if len(n) > 1:
            efficiency = medians[-1] * n[0] / (n[-1] * medians[0])
            text = f"{labels[series]}: efficiency {efficiency:.2f} with {n[-1]:.0f} copies"
            fit = usl(n, medians)
            out.append(text + (f"; contention {fit[1]:.2g}, coherence {fit[2]:.2g}" if fit else ""))
    failed = {labels[s]: style.failure(group) for s, group in style.group_by(rows, lambda r: r.series).items()}
    return out + [f"{name}: {text}" for name, text in failed.items() if text]


def draw_panel(axes, lines):
    for i, (series, (n, medians, least, greatest)) in enumerate(lines.items()):
        at = n * (1 + SHIFT * (i - (len(lines) - 1) / 2))  # so that equal ones do not hide each other
        looks = style.look(series)
        axes.vlines(at, least, greatest, color=looks.colour, linewidth=1, zorder=3)
        axes.plot(at, medians, color=looks.colour, linewidth=1.3, zorder=3)
        axes.plot(at, medians, zorder=4, **style.marker_style(series, 6))
        fit = usl(n, medians)
        if fit:
            fine = np.linspace(n[0], n[-1], 100)
            axes.plot(fine, fine * fit[0] / (1 + fit[1] * (fine - 1) + fit[2] * fine * (fine - 1)), linestyle=":",
                      color=looks.colour, linewidth=1.2, zorder=2.5)
    every = sorted({k for n, *_ in lines.values() for k in n})
    base = max(medians[0] / n[0] for n, medians, _, _ in lines.values())
    top = max(greatest.max() for *_, greatest in lines.values())
    axes.plot([0, every[-1]], [0, base * every[-1]], color="#999999", linewidth=1.1, zorder=2)
    axes.set_xlim(0, every[-1] * 1.08)
    axes.set_ylim(0, max(top, min(base * every[-1], 3 * top)) * 1.06)
    axes.set_xticks(every if len(every) <= 10 else every[::len(every) // 8])
    axes.xaxis.set_major_formatter(lambda v, _: f"{v:.0f}")
    axes.set_xlabel("copies of the workload's threads, on one heap")
    axes.set_ylabel("million ops per second (more is better)")


def draw(folder, out):
    rows = [r for r in style.rows_of_pass(style.read_results(folder), folder, PASS)
            if r.case.replay == "parallel"]
    if not rows:
        sys.stderr.write(f"{folder}: no figure of scaling: nothing was replayed in parallel: run with `--replay "
                         "parallel --copies 1,2,4`\n")
        return
    labels = style.shorten(style.label_series(r.series for r in rows), 40)
    applied, without = style.applicable(rows)
    rows = applied or rows
    cases = style.group_by(rows, lambda r: r.case._replace(copies=""))
    parts = {case: curves(group) for case, group in cases.items()}
    panels = [(case.workload, notes(group, parts[case], labels), TALL, None) for case, group in cases.items()]
    handles = [Line2D([], [], label=labels[s], color=style.look(s).colour, **{
        **style.marker_style(s, 6), "linestyle": "-"}) for s in dict.fromkeys(s for p in parts.values() for s in p)]
    handles += [Line2D([], [], color="#999999", linewidth=1.1, label="ideal"),
                Line2D([], [], color="black", linestyle=":", linewidth=1.2, label="USL fit")]
    subtitle = ["Operations of all copies over wall time, pass=throughput, replay=parallel.", style.how_replayed(rows)]
    subtitle += style.left_out(without, labels)
    columns = 1 if len(panels) == 1 else 2
    page = style.Page("Scaling by allocator", subtitle, panels, columns, columns * (WIDE + 1.1) + 0.3, 0.75, 0.2, 0.48,
                      handles, style.footer(rows, ["results.csv"]))
    for axes, lines in zip(page.axes, parts.values()):
        if lines:
            draw_panel(axes, lines)
        else:
            style.empty_panel(axes)
    out.save(page, "scaling")


if __name__ == "__main__":
    style.run_figure(draw, __doc__.splitlines()[0])
