#!/usr/bin/python3
"""handover.py - which thread frees what another one made: a matrix of a trace's threads, makers by those who free.

Draws handover.csv, which `alloclab trace info --csv DIR` writes. The diagonal is what a thread frees of its own. Of more
than 128 threads the 128 are shown that take part in most frees. Colours are on a logarithmic scale; numbers stand where
they fit.
"""
import os

import style  # first: it says what to do where numpy or matplotlib is missing
import numpy as np
from matplotlib.colors import LogNorm

NEEDS = "handover.csv"  # no such file, no figure: it was not measured
NUMBERS = "made_by freed_by frees bytes".split()
MOST, NAMED, NUMBERED = 128, 24, 12  # threads shown; at most so many with their number; with numbers in the cells


def read(folder):
    """(threads shown, in order; matrix of their frees, by maker and freer; how many threads there are; frees of all; by others)."""
    table = style.Table(os.path.join(folder, NEEDS), [], NUMBERS)
    if not len(table.line):
        raise style.NothingToDraw(f"{table.path}: the trace freed nothing that it made: there is nothing to draw")
    made, freed, frees = (table.number[c] for c in NUMBERS[:3])
    if (frees == 0).any():
        table.fail(table.line[np.flatnonzero(frees == 0)[0]], "a pair without frees")
    threads, index = np.unique(np.concatenate([made, freed]), return_inverse=True)
    maker, freer = index[:len(frees)], index[len(frees):]
    weight = np.bincount(maker, frees, len(threads)) + np.bincount(freer, np.where(made == freed, 0, frees), len(threads))
    shown = np.sort(np.argsort(weight, kind="stable")[::-1][:MOST])
    place = np.full(len(threads), -1)
    place[shown] = np.arange(len(shown))
    inside = (place[maker] >= 0) & (place[freer] >= 0)
    matrix = np.zeros((len(shown), len(shown)))
    np.add.at(matrix, (place[maker[inside]], place[freer[inside]]), frees[inside])
    return threads[shown], matrix, len(threads), frees.sum(), frees[made != freed].sum()


def draw(folder, out):
    shown, matrix, threads, frees, by_others = read(folder)
    about = style.read_about(folder)
    notes = [f"{style.count_text(about.ops)} ops; {by_others / frees:.1%} of the frees are by another thread than the one that made the object"]
    if threads > len(shown):
        notes.append(f"{len(shown)} of {threads} threads are shown, with {matrix.sum() / frees:.1%} of the frees")
    side = max(1.6, min(5.2, 0.62 * len(shown)))
    page = style.Page(f"Hand-over between threads: {about.name}", notes, [("Objects, by maker and by who freed them", [], side, None)],
                      1, max(side + 2.4, 6.4), 0.9, max(side + 2.4, 6.4) - 0.3 - 0.9 - side, 0.5, (), f"drawn from {NEEDS}")
    axes = page.axes[0]
    norm = LogNorm(1, max(matrix.max(), 2))
    drawn = axes.imshow(np.where(matrix > 0, matrix, np.nan), norm=norm, cmap="viridis_r", aspect="auto", zorder=2)
    axes.grid(False)
    room = int(side / (0.075 * len(f"{shown.max():.0f}") + 0.06))  # inches of a digit, and between two numbers
    named = range(0, len(shown), -(-len(shown) // min(NAMED, room)))
    axes.set_xticks(named, [f"{shown[i]:.0f}" for i in named])
    axes.set_yticks(named, [f"{shown[i]:.0f}" for i in named])
    axes.set_xlabel("freed by thread")
    axes.set_ylabel("made by thread")
    for i, k in zip(*np.nonzero(matrix)) if len(shown) <= NUMBERED else ():
        axes.text(k, i, style.count_text(float(f"{matrix[i, k]:.3g}")), ha="center", va="center", fontsize=6.5, color="white" if norm(matrix[i, k]) > 0.55 else "black", zorder=3)
    style.count_bar(page, drawn, norm, 0.15, "frees")
    out.save(page, "handover")


if __name__ == "__main__":
    style.run_figure(draw, __doc__.splitlines()[0])
