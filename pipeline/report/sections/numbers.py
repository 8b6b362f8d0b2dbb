"""Numbers to be predicted: how far they are off, and whether the spread that the blend expects is right."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from competition.task import Task
from competition.wording import printable
from pipeline.report import plots
from pipeline.report.context import BLEND, ReportContext
from pipeline.report.figure_folder import EmbeddedImage, FigureFolder
from pipeline.report.section import Section

MOST_DRAWN = 4  # numbers with figures of their own
NOMINAL = np.linspace(0.1, 0.9, 9)  # probability of the intervals whose coverage is measured


@dataclass(frozen=True, eq=False)
class NumberResult:
    """How one number is predicted. truths, predicted: float64 ``[N]``.

    covered: the share of true numbers in the central interval of each probability in ``NOMINAL``, float64 ``[9]``.
    """

    name: str
    truths: np.ndarray
    predicted: np.ndarray
    covered: np.ndarray

    @property
    def bias(self) -> float:
        """By how much predictions are too high, in the mean."""
        return float((self.predicted - self.truths).mean())

    @property
    def mae(self) -> float:
        return float(np.abs(self.predicted - self.truths).mean())

    @property
    def rmse(self) -> float:
        return float(np.sqrt(((self.predicted - self.truths) ** 2).mean()))

    @property
    def explained(self) -> float:
        """R²: the share of the variance that is explained; nan if the number does not vary."""
        variance = self.truths.var()
        return 1 - self.rmse**2 / float(variance) if variance else np.nan

    @property
    def rank_correlation(self) -> float:
        """Spearman's; nan if one side does not vary."""
        constant = np.ptp(self.truths) == 0 or np.ptp(self.predicted) == 0
        return np.nan if constant else float(spearmanr(self.truths, self.predicted).statistic)


def section(context: ReportContext, figure_folder: FigureFolder) -> Section | None:
    if context.competition.task.kind != "continuous":
        return None
    results = sorted(number_results(context), key=lambda each: np.nan_to_num(each.explained, nan=-np.inf))
    drawn = results[:MOST_DRAWN]
    content = {
        "results": results,
        "figures": [_residuals(place, each, figure_folder) for place, each in enumerate(drawn)],
        "coverage": _coverage(drawn, figure_folder),
        "middle": len(NOMINAL) // 2,
    }
    return Section("numbers", "Number by number", "numbers.html.j2", content)


def number_results(context: ReportContext) -> list[NumberResult]:
    """The blend's numbers as they are submitted, and the spread that it expects."""
    task, output = context.competition.task, context.evaluations[BLEND].probabilities
    truths = task.true_numbers(context.validation.known_labels)
    predicted, covered = task.numbers(context.decision.decided(output)), _covered(task, output, truths)
    names = [printable(name) for name in context.drawn_names]
    columns = zip(names, truths.T, predicted.T, covered, strict=True)
    return [NumberResult(*column) for column in columns]


def _covered(task: Task, output: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """The share of true numbers in each central interval, float64 ``[T, 9]``.

    A number's place in its predicted distribution is the probability below its interval, and half of the interval's.
    """
    shares, chosen = task.by_target(output), task.encode(truths).reshape(len(truths), -1, 1)
    own = np.take_along_axis(shares, chosen, axis=2)[:, :, 0]
    below = np.take_along_axis(shares.cumsum(axis=2), chosen, axis=2)[:, :, 0] - own
    off = 2 * np.abs(below + own / 2 - 0.5)
    return (off[:, :, None] <= NOMINAL).mean(axis=0)


def _residuals(place: int, result: NumberResult, figure_folder: FigureFolder) -> EmbeddedImage:
    alt = (
        f"{result.name}: predicted over true numbers, and their differences; mean absolute error {result.mae:.4g}, "
        f"mean difference {result.bias:.4g}, share of the variance explained {result.explained:.3f}"
    )
    figure = plots.residuals(result.truths, result.predicted, result.name)
    return figure_folder.add(f"number-{place + 1}", figure, alt)


def _coverage(drawn: list[NumberResult], figure_folder: FigureFolder) -> EmbeddedImage:
    said = "; ".join(f"{each.name}: {each.covered[4]:.0%} within the 50 % interval" for each in drawn)
    figure = plots.coverage(NOMINAL, {each.name: each.covered for each in drawn}, "Spread expected and found")
    return figure_folder.add("numbers-coverage", figure, f"Share of true numbers within central intervals; {said}")
