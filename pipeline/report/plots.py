"""More figures of the report, about decisions, members and kinds of tasks; like ``figures``, without pyplot."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from competition.metrics import Metric
from pipeline.report.figures import (
    BLUE,
    FAINT,
    GREEN,
    HEADING_LETTERS,
    INK,
    LINES,
    MOST_ANNOTATED,
    ORANGE,
    SHARES,
    TITLE_LETTERS,
    WIDTH,
    new_figure,
    short,
)
from pipeline.report.reliability import Reliability

NAME_LETTERS = 24
MOST_BY_NAME = 6  # points with names beside them, which do not hide each other
PANELS = 4  # small ones in a row
FEWEST = 10  # answers behind a point; of fewer, its height is mostly chance
DASHES = (0, (4, 4))

Along = tuple[str, np.ndarray, np.ndarray, float, float]


def reliability(curves: Mapping[str, Reliability], title: str) -> Figure:
    """The share of right answers over their probability, and the number of answers below; the last curve stands out."""
    figure, (rates, counts) = new_figure(6.4, rows=2, sharex=True, height_ratios=(3, 1))
    rates.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=DASHES)
    looks = ((FAINT, "s"), (BLUE, "o"))[-len(curves) :]
    for (name, curve), (colour, mark) in zip(curves.items(), looks, strict=True):
        label = f"{short(name, 34)}: error {curve.error:.3f}"
        enough = curve.counts >= FEWEST
        rates.plot(curve.probabilities[enough], curve.rates[enough], color=colour, marker=mark, label=label)
    counts.bar(curve.probabilities, curve.counts, width=0.045, color=BLUE)
    rates.set(xlim=(-0.01, 1.01), ylim=(-0.02, 1.02), ylabel="share that is right", title=short(title, TITLE_LETTERS))
    counts.set(xlabel="probability of the answer", ylabel="answers")
    counts.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    rates.legend(loc="lower right")
    for axes in (rates, counts):
        axes.grid()
    figure.align_ylabels()
    return figure


def score_along(metric: Metric, lines: Sequence[Along], title: str) -> Figure:
    """The metric over the values of one number of a decision, a panel for each.

    lines: of each number its name, its values and the metric there, float64 ``[V]``, the fitted and the plain value.
    """
    columns = min(2, len(lines))
    rows = -(-len(lines) // columns)
    figure = Figure(figsize=(WIDTH, 0.7 + (2.5 if columns == 2 else 3.2) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(lines) :]:
        axes.set_axis_off()
    for axes, (name, values, scores, fitted, plain) in zip(panels, lines, strict=False):
        axes.plot(values, scores, color=BLUE)
        axes.axvline(fitted, color=GREEN, linewidth=1.6, label=f"fitted {fitted:.3g}")
        axes.axvline(plain, color=ORANGE, linewidth=1.6, linestyle=DASHES, label=f"plain {plain:.3g}")
        axes.set_xlabel(short(name, 34 * 2 // columns), fontsize=11.5)
        axes.tick_params(labelsize=10.5)
        axes.legend(loc="best", fontsize=10)
        axes.grid()
    figure.suptitle(short(title, HEADING_LETTERS), fontsize=14, x=0.01, ha="left")
    return figure


def agreement(shares: np.ndarray, names: Sequence[str], title: str) -> Figure:
    """Heat map of a symmetric matrix of shares or correlations, float64 ``[M, M]``, with the models' numbers from 1."""
    figure, axes = new_figure(1.8 + min(5.5, 0.55 * len(names) + 1.2))
    low = float(np.floor(20 * min(shares.min(), 0.95)) / 20)
    drawn = axes.imshow(shares, cmap=SHARES, vmin=low, vmax=1, interpolation="nearest", aspect="auto")
    if len(names) <= MOST_ANNOTATED:
        for row, column in np.ndindex(*shares.shape):
            colour = "white" if shares[row, column] > (1 + low) / 2 else INK
            axes.text(column, row, f"{shares[row, column]:.2f}", ha="center", va="center", color=colour, fontsize=11)
    numbers = range(1, len(names) + 1)
    rows = [f"{short(name, NAME_LETTERS)}  {number}" for name, number in zip(names, numbers, strict=True)]
    size = 10.5 if len(names) <= MOST_ANNOTATED else 8.5
    axes.set_yticks(range(len(names)), rows, fontsize=size)
    axes.set_xticks(range(len(names)), map(str, numbers), fontsize=size)
    axes.set_title(short(title, TITLE_LETTERS))
    figure.colorbar(drawn, ax=axes, shrink=0.75, pad=0.02).outline.set_visible(False)
    return figure


def cost(metric: Metric, names: Sequence[str], seconds: np.ndarray, scores: np.ndarray) -> Figure:
    """The metric of each model over the seconds that it took, float64 ``[M]`` both. Of many, their numbers from 1."""
    figure, axes = new_figure(4.6)
    axes.scatter(seconds, scores, color=BLUE, s=46)
    shown = [short(name, NAME_LETTERS) for name in names] if len(names) <= MOST_BY_NAME else range(1, len(names) + 1)
    for name, x, y in zip(shown, seconds, scores, strict=True):
        axes.annotate(str(name), (x, y), (7, 4), textcoords="offset points", fontsize=10.5)
    if seconds.max() > 10 * max(seconds.min(), 1e-3):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:,g}"))  # not as a formula
    axes.margins(x=0.25, y=0.15)
    axes.set(
        xlabel="seconds of training and validation", ylabel=f"{metric.title} on validation", title="Score and cost"
    )
    axes.grid()
    return figure


def folds(metric: Metric, scores: Mapping[str, Sequence[float]]) -> Figure:
    """The metric of each model in each of its folds, and their mean; the first model is at the top."""
    figure, axes = new_figure(1.6 + 0.45 * len(scores))
    for place, values in enumerate(scores.values()):
        axes.plot(values, [place] * len(values), "o", color=BLUE, alpha=0.6, markersize=7)
        axes.plot(np.mean(values), place, "|", color=INK, markersize=18, markeredgewidth=2)
    axes.set_yticks(range(len(scores)), [short(name, NAME_LETTERS) for name in scores])
    axes.set(ylim=(len(scores) - 0.5, -0.5), xlabel=f"{metric.title} of each fold; bar: mean", title="Fold by fold")
    axes.grid(axis="x")
    return figure


def two_by_two(counts: np.ndarray, names: Sequence[str], title: str) -> Figure:
    """A 2 x 2 matrix for each label. Rows: the image lacks or has the label; columns: the answer does.

    counts: int64 ``[L, 2, 2]``.
    """
    columns = min(PANELS, len(counts))
    rows = -(-len(counts) // columns)
    figure = Figure(figsize=(WIDTH, 0.7 + 2.15 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(counts) :]:
        axes.set_axis_off()
    for axes, table, name in zip(panels, counts, names, strict=False):
        shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap=SHARES, vmin=0, vmax=1)
        for true, said in np.ndindex(2, 2):
            colour = "white" if shares[true, said] > 0.5 else INK
            axes.text(said, true, f"{table[true, said]:,}", ha="center", va="center", color=colour, fontsize=11)
        axes.set_xticks((0, 1), ("no", "yes"), fontsize=10)
        axes.set_yticks((0, 1), ("no", "yes"), fontsize=10)
        axes.set_title(short(name, 16), fontsize=11)
    figure.supxlabel("answer", fontsize=11.5)
    figure.supylabel("truth", fontsize=11.5)
    figure.suptitle(short(title, HEADING_LETTERS), fontsize=14, x=0.01, ha="left")
    return figure


def residuals(truths: np.ndarray, predicted: np.ndarray, name: str) -> Figure:
    """One number: predictions over the truth, and how far they are off; float64 ``[N]`` both."""
    figure, (both, off) = new_figure(6.6, rows=2, height_ratios=(3, 2))
    ends = [min(truths.min(), predicted.min()), max(truths.max(), predicted.max())]
    both.plot(ends, ends, color=INK, linewidth=1, linestyle=DASHES, zorder=3)  # above the cloud
    both.plot(truths, predicted, "o", color=BLUE, alpha=max(0.08, min(0.6, 60 / len(truths) ** 0.7)), markersize=4)
    both.set(xlabel="true number", ylabel="predicted number", title=short(name, TITLE_LETTERS))
    off.hist(predicted - truths, bins=40, color=BLUE)
    off.axvline(0, color=FAINT, linewidth=1, linestyle=DASHES)
    off.set(xlabel="predicted minus true number", ylabel="images")
    for axes in (both, off):
        axes.grid()
    return figure


def coverage(nominal: np.ndarray, covered: Mapping[str, np.ndarray], title: str) -> Figure:
    """The share of true numbers within the central interval of each probability, a line for each number."""
    figure, axes = new_figure(5.0)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=DASHES)
    for number, (name, shares) in enumerate(covered.items()):
        axes.plot(nominal, shares, color=LINES[number % len(LINES)], marker="o", label=short(name, NAME_LETTERS))
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability of the interval", ylabel="true numbers within it")
    axes.set_title(short(title, TITLE_LETTERS))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    axes.grid()
    axes.legend(loc="best")
    return figure


def hits(shares: Mapping[str, np.ndarray], title: str) -> Figure:
    """The share of images of which a true label is among the k likeliest, over k from 1, a line for each model."""
    figure, axes = new_figure(4.6)
    for number, (name, values) in enumerate(shares.items()):
        colour = INK if number == 0 else LINES[(number - 1) % len(LINES)]
        places = np.arange(1, len(values) + 1)
        axes.plot(places, values, color=colour, marker="o", label=short(name, NAME_LETTERS))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="k: answers that are looked at", ylabel="images with a hit", title=short(title, TITLE_LETTERS))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid()
    axes.legend(loc="lower right")
    return figure
