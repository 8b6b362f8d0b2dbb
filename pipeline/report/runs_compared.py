"""The page that compare.py writes: runs side by side."""

from collections.abc import Sequence
from pathlib import Path

from competition.metrics import Metric
from competition.storage import atomic_write
from pipeline.ensemble.compared import CERTAIN, Comparison
from pipeline.report.rendering import environment


def write_comparison(path: Path, name: str, metric: Metric, comparisons: Sequence[Comparison]) -> None:
    """Write the page. name: of the competition."""
    page = environment().get_template("compare.html.j2")
    text = page.render(name=name, metric=metric, comparisons=comparisons, certain=CERTAIN, reach=reach(comparisons))
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def reach(comparisons: Sequence[Comparison]) -> tuple[float, float]:
    """The lowest and the highest end of all intervals, which the drawn ones are scaled to."""
    scores = [each.row.score for comparison in comparisons for each in comparison.rows]
    low, high = min(score.low for score in scores), max(score.high for score in scores)
    return low, high if high > low else low + 1
