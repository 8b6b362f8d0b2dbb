"""The report's figures: each function takes arrays and returns a matplotlib Figure, seven inches wide.

They are drawn without pyplot, which would keep global state. Draw and save them within ``with style():``.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import MaxNLocator

from competition.metrics import Metric
from pipeline.report.sent import Sent

WIDTH, DOTS_AN_INCH = 7.0, 150
INK, FAINT = "#24292f", "#8b929b"
BLUE, ORANGE, GREEN, RED = "#2b6cb0", "#d97a1f", "#2f855a", "#c53030"
LINES = (BLUE, ORANGE, GREEN, RED, "#6b46c1", "#0f8a8a", "#b7791f", "#b83280", "#5f6b7a", "#1a365d")
SHARES = LinearSegmentedColormap.from_list("shares", ["#ffffff", "#bcd7f0", "#5b9bd5", "#22578f", "#0b2545"])
MOST_ANNOTATED = 12  # classes up to which the confusion matrix also shows numbers
MOST_CELLS = 1000  # rows of a confusion matrix: about as many as the figure has pixels for
MOST_BARS = 200  # classes up to which each one gets a bar of its own
MOST_NAMED = 41  # class names along an axis; of more, as many as are legible at full size
LARGE = 16  # of them in large letters
TITLE_LETTERS, HEADING_LETTERS = 48, 56  # longest title of axes and of a contact sheet
MOST_LETTERS = 48  # letters that fit horizontally along an axis
MOST_ROC = 10  # classes up to which each one gets a ROC curve
MOST_MARKED = 30  # points up to which a line has markers
CAPTION_SIZE = 10.5  # points
LINE, GAP, HEADING = 28, 10, 66  # pixels of a contact sheet: height of a caption's line, gap between images, top margin

Line = tuple[np.ndarray, np.ndarray]  # x, y
Point = tuple[float, float]


def style() -> AbstractContextManager:
    """matplotlib's settings for these figures. Class names are never parsed as formulas."""
    return matplotlib.rc_context(
        {
            "font.family": "DejaVu Sans",
            "font.size": 13,
            "text.color": INK,
            "text.parse_math": False,
            "axes.edgecolor": FAINT,
            "axes.labelcolor": INK,
            "axes.titlelocation": "left",
            "axes.titlesize": 14,
            "axes.titlepad": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "grid.color": "#e3e6ea",
            "xtick.color": FAINT,
            "ytick.color": FAINT,
            "xtick.labelcolor": INK,
            "ytick.labelcolor": INK,
            "legend.frameon": False,
            "legend.fontsize": 11.5,
            "lines.linewidth": 2,
            "lines.markersize": 4.5,
        }
    )


def comparison(metric: Metric, names: Sequence[str], values: np.ndarray, lows: np.ndarray, highs: np.ndarray) -> Figure:
    """Bar chart of the metric for each model, with intervals; the first name is at the top.

    values, lows, highs: float ``[models]``.
    """
    figure, axes = new_figure(1.4 + 0.45 * len(names))
    places = np.arange(len(names))
    reach = np.maximum([values - lows, highs - values], 0)  # a bootstrap interval may not contain the value
    most = 1 if metric.greater_is_better else np.inf
    end = min(1.12 * most, highs.max() * 1.15 + 0.05)
    axes.barh(places, values, height=0.62, color=BLUE)
    axes.errorbar(values, places, xerr=reach, fmt="none", ecolor=INK, elinewidth=1.4, capsize=3)
    for place, (value, high) in enumerate(zip(values, highs, strict=True)):
        axes.text(high + 0.012 * end, place, f"{value:.3f}", va="center", fontsize=11.5)
    axes.set_yticks(places, [short(name, 36) for name in names], fontsize=10.5)
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(min(0, lows.min()), end), ylim=(len(names) - 0.45, -0.55))
    axes.xaxis.set_major_locator(MaxNLocator(6))  # of more, long numbers would touch
    axes.set_xticks([tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= min(end, most)])
    axes.set(xlabel=f"{metric.title} on validation, with its 95 % interval", title="All models compared")
    axes.grid(axis="x")
    return figure


def confusion(counts: np.ndarray, names: Sequence[str], title: str) -> Figure:
    """Heat map of a confusion matrix, int64 ``[C, C]``; colours show each row as shares of its true class.

    C is at most ``MOST_CELLS``. A column ``C + 1`` counts all other predictions.
    """
    columns = [*names, *["others"] * (counts.shape[1] - len(names))]
    figure, axes = new_figure(6.0)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    drawn = axes.imshow(shares, cmap=SHARES, norm=PowerNorm(0.5, 0, 1), interpolation="nearest", aspect="equal")
    if len(names) <= MOST_ANNOTATED:
        for true, predicted in np.argwhere(counts):
            colour = "white" if shares[true, predicted] > 0.3 else INK
            axes.text(predicted, true, counts[true, predicted], ha="center", va="center", color=colour, fontsize=11.5)
    name_classes(axes, columns, "x")
    name_classes(axes, names, "y")
    axes.set(xlabel="predicted class", ylabel="true class", title=short(title, TITLE_LETTERS))
    axes.spines[["top", "right"]].set_visible(True)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.75, pad=0.02, ticks=(0, 0.05, 0.2, 0.5, 1))
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    return figure


def roc(legends: Sequence[str], curves: Sequence[Line], title: str) -> Figure:
    """ROC curves, each as false and true positive rates; the first one is highlighted."""
    figure, axes = new_figure(6.6)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 4)))
    for number, (name, (false_rates, true_rates)) in enumerate(zip(legends, curves, strict=True)):
        colour = INK if number == 0 else LINES[(number - 1) % len(LINES)]
        axes.plot(false_rates, true_rates, color=colour, linewidth=2.6 if number == 0 else 1.5, label=name)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title=short(title, TITLE_LETTERS))
    axes.grid()
    axes.legend(loc="lower right")
    return figure


def training(histories: Sequence[Mapping[str, np.ndarray]], title: str) -> Figure:
    """Loss, accuracy and learning rate over the epochs of one network, with one line for each fold."""
    figure, (losses, accuracies, rates) = new_figure(8.2, rows=3, sharex=True, height_ratios=(3, 3, 2))
    for number, history in enumerate(histories):
        look = {"alpha": 1.0 if len(histories) == 1 else 0.6, "marker": _mark(len(history["epoch"]))}
        for axes, quantity in ((losses, "loss"), (accuracies, "accuracy")):
            for column, name, colour in ((quantity, "train", BLUE), (f"validation_{quantity}", "validation", ORANGE)):
                label = name if number == 0 else None
                axes.plot(history["epoch"], history[column], color=colour, label=label, **look)
        rates.plot(history["epoch"], history["learning_rate"], color=GREEN, **look)
    losses.set(ylabel="loss (nats)", title=short(title, TITLE_LETTERS))
    losses.legend(loc="best")
    accuracies.set(ylabel="accuracy", ylim=(0, 1.02))
    rates.set(ylabel="learning rate", xlabel="epoch", ylim=(0, None))
    rates.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (losses, accuracies, rates):
        axes.grid()
    figure.align_ylabels()
    return figure


def score_over(metric: Metric, quantity: str, curves: Mapping[str, Sequence[Point]], title: str) -> Figure:
    """The metric over one numeric setting, with a line for each combination of the others; circles the best point."""
    figure, axes = new_figure(4.4)
    for number, (name, points) in enumerate(curves.items()):
        numbers, scores = np.array(points, dtype=np.float64).T
        axes.plot(numbers, scores, color=LINES[number % len(LINES)], marker=_mark(len(numbers)), label=name or None)
    every = [point for points in curves.values() for point in points]
    best = max(every, key=lambda point: metric.rank(point[1]))
    axes.plot(*best, "o", markersize=11, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.6)
    axes.annotate(f"{best[1]:.3f}", best, (0, 9), textcoords="offset points", ha="center", fontsize=11.5)
    axes.margins(y=0.15)
    axes.xaxis.set_major_locator(MaxNLocator(integer=all(value == int(value) for value, _ in every)))
    axes.set(xlabel=quantity, ylabel=f"{metric.title} on validation", title=short(title, TITLE_LETTERS))
    axes.grid()
    if any(curves):
        axes.legend(loc="best")
    return figure


def against_public(metric: Metric, submissions: Sequence[Sent]) -> Figure:
    """Validation with its interval against the public score of each submission, numbered from the oldest."""
    figure, axes = new_figure(5.2)
    values = np.array([(each.validation, each.low, each.high, each.public) for each in submissions])
    validation, low, high, public = values.T
    ends = np.array([values.min(), values.max()])
    axes.plot(ends, ends, color=FAINT, linewidth=1, linestyle=(0, (4, 4)), label="equal")
    reach = np.maximum([validation - low, high - validation], 0)
    axes.errorbar(validation, public, xerr=reach, fmt="o", color=BLUE, markersize=8, capsize=4, elinewidth=1.2)
    for number, (x, y) in enumerate(zip(validation, public, strict=True), 1):
        axes.annotate(str(number), (x, y), (6, 6), textcoords="offset points", fontsize=11.5)
    axes.margins(0.08)
    axes.set(xlabel=f"{metric.title} on validation, with its 95 % interval", ylabel="public score")
    axes.set_title("Submissions: validation and public score")
    axes.grid()
    axes.legend(loc="upper left")
    return figure


def class_counts(splits: Mapping[str, np.ndarray], names: Sequence[str]) -> Figure:
    """Number of images of each class, with one panel for each split.

    splits: counts, int64 ``[C]``, by the split's name.
    """
    figure, panels = new_figure(1.2 + 1.7 * len(splits), rows=len(splits), sharex=True)
    for axes, (split, counts), colour in zip(np.atleast_1d(panels), splits.items(), LINES, strict=False):
        _bars(axes, counts, colour)
        axes.set(ylabel="images", xlim=(-0.7, len(names) - 0.3))
        axes.set_title(f"{split}: {counts.min():,} to {counts.max():,} images per class", fontsize=13)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.grid(axis="y")
    name_classes(axes, names, "x")
    axes.set_xlabel("class")
    return figure


def _bars(axes: Axes, counts: np.ndarray, colour: str) -> None:
    """A bar for each count; one outline of all of them if there are many, which would take long to draw."""
    if len(counts) > MOST_BARS:
        axes.stairs(counts, np.arange(len(counts) + 1) - 0.5, fill=True, color=colour)
    else:
        axes.bar(np.arange(len(counts)), counts, width=0.8, color=colour)


def channels(means: Mapping[str, np.ndarray], stds: Mapping[str, np.ndarray]) -> Figure:
    """Means of red, green and blue (0-255) in each split, plus and minus one standard deviation."""
    figure, axes = new_figure(1.2 + 0.85 * len(means))
    for number, (name, colour) in enumerate((("red", RED), ("green", GREEN), ("blue", BLUE))):
        places = np.arange(len(means)) + 0.24 * (number - 1)
        centres, reach = ([values[number] for values in split.values()] for split in (means, stds))
        axes.errorbar(centres, places, xerr=reach, fmt="o", color=colour, markersize=8, capsize=4, label=name)
    axes.set_yticks(np.arange(len(means)), list(means))
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0, 255), ylim=(len(means) - 0.5, -0.5), xlabel="value (0-255)")
    axes.set_title("Channel means ± one standard deviation")
    axes.grid(axis="x")
    figure.legend(loc="outside lower right", ncols=3)
    return figure


def contact_sheet(
    tiles: np.ndarray, captions: Sequence[str], title: str, columns: int, colours: Sequence[str] | None = None
) -> Figure:
    """A grid of images, each with a caption of one or more lines below it, drawn pixel for pixel.

    tiles: uint8 ``[N, H, W, 3]``, W at most ``tile_side(columns)``; captions: one for each image.
    colours: of the captions. Save the figure at ``DOTS_AN_INCH``.
    """
    height, width = tiles.shape[1:3]
    rows, places = -(-len(tiles) // columns), [divmod(number, columns) for number in range(len(tiles))]
    written = round((max(caption.count("\n") for caption in captions) + 1) * LINE + 0.4 * LINE)
    corners = [(HEADING + row * (height + written + GAP), GAP + column * (width + GAP)) for row, column in places]
    page = np.full((HEADING + rows * (height + written + GAP), round(WIDTH * DOTS_AN_INCH), 3), 255, np.uint8)
    for tile, (top, left) in zip(tiles, corners, strict=True):
        page[top : top + height, left : left + width] = tile
    figure = Figure(figsize=(WIDTH, len(page) / DOTS_AN_INCH), dpi=DOTS_AN_INCH)
    figure.figimage(page)
    figure.text(GAP, len(page) - HEADING // 2, short(title, HEADING_LETTERS), va="center", fontsize=14, transform=None)
    letters = int(width / (0.62 * CAPTION_SIZE * DOTS_AN_INCH / 72))
    for number, (caption, (top, left)) in enumerate(zip(captions, corners, strict=True)):
        text = "\n".join(short(line, letters) for line in caption.split("\n"))
        look: dict[str, Any] = {"fontsize": CAPTION_SIZE, "color": INK if colours is None else colours[number]}
        figure.text(left, len(page) - top - height - 0.2 * LINE, text, va="top", transform=None, **look)
    return figure


def tile_side(columns: int) -> int:
    """Largest width in pixels of an image in a contact sheet with that many columns."""
    return int((WIDTH * DOTS_AN_INCH - GAP) / columns) - GAP


def new_figure(height: float, rows: int = 1, sharex: bool = False, **ratios: Sequence[float]) -> tuple[Figure, Any]:
    """A figure and its axes; an array of axes if there are several rows."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes: Any = figure.subplots(rows, sharex=sharex, **ratios)  # type: ignore[call-overload]  # ratios of the rows
    return figure, axes


def name_classes(axes: Axes, names: Sequence[str], side: str) -> None:
    """Label an axis with the class names, or with every n-th one if there are many."""
    places = range(0, len(names), 1 if len(names) <= MOST_NAMED else -(-len(names) // LARGE))
    labels = [short(names[place], 14) for place in places]
    turned = side == "x" and (max(map(len, labels)) + 1) * len(labels) > MOST_LETTERS
    axis = axes.xaxis if side == "x" else axes.yaxis
    axis.set_ticks(places, labels, fontsize=11.5 if len(places) <= LARGE else 7.5, rotation=90 if turned else 0)
    axis.set_tick_params(length=0 if len(places) == len(names) else 3)


def _mark(points: int) -> str | None:
    return "o" if points <= MOST_MARKED else None


def short(text: str, most: int) -> str:
    """The text, with its middle replaced by an ellipsis if it has more than ``most`` letters."""
    most = max(most, 3)
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - (most - 1) // 2 :]}"


def can_draw(text: str) -> bool:
    """Whether the figures' font has all letters of the text."""
    return all(ord(letter) in _letters() for letter in text)


@cache
def _letters() -> frozenset[int]:
    """The code points that the figures' font has."""
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())
