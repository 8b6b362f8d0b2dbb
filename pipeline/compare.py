"""Compare the trained runs of a competition: what each option changed, and whether that is more than chance.

python pipeline/compare.py [--competition NAME|FOLDER|ZIP] [--models RUN ...] [--metric NAME] ...
"""

import sys
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":  # run as a script: check the options before importing what follows
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from pipeline import commands

    commands.compare()

from competition.console import print_result
from competition.metrics import Metric
from competition.sources import open_competition
from competition.storage import write_file
from competition.wording import counted
from pipeline.ensemble.comparable import comparable_groups
from pipeline.ensemble.compared import Comparison, compare, table_of
from pipeline.ensemble.usable import find_runs, metric_to_use, usable_runs
from pipeline.report.runs_compared import write_comparison
from pipeline.settings import Settings
from pipeline.training.scores import text_table

APART = "each table uses other images, so runs of different tables cannot be compared"


def main(settings: Settings) -> Path:
    """Returns the path of the page; beside it lies a CSV of the same."""
    find_runs(settings)
    competition = open_competition(**settings.source)
    runs = usable_runs(competition, settings)
    competition = replace(competition, metric=metric_to_use(competition, runs, settings))
    groups = comparable_groups({name: stored.validated.ids for name, stored in runs.items()})
    found = [compare(group, runs, competition.metric) for group in groups]
    for comparison in found:
        print_result(text_of(comparison, competition.metric))
    if len(found) > 1:
        print_result(APART)
    path = settings.runs_folder(competition.name) / "compare.html"
    write_comparison(path, competition.name, competition.metric, found)
    write_file(path.with_suffix(".csv"), table_of(found, competition.metric).to_csv(index=False, lineterminator="\n"))
    print_result(path)
    return path


def text_of(comparison: Comparison, metric: Metric) -> str:
    """The comparison for the terminal."""
    header = ("model", "options", metric.title, "95 % interval", "behind", "chance", "", "seconds")
    rows = [
        (
            each.row.model,
            each.options,
            f"{each.row.score.value:.4f}",
            f"{each.row.score.low:.4f}-{each.row.score.high:.4f}",
            f"{each.lead:.4f}",
            each.chance_text,
            each.verdict,
            f"{each.row.seconds:.1f}",
        )
        for each in comparison.rows
    ]
    title = f"{counted(len(rows), 'run')} on {counted(comparison.images, 'validation image')}:"
    changes = [
        (each.change, each.base, f"{each.gain:+.4f}", each.chance_text, each.verdict) for each in comparison.effects
    ]
    text = f"{title}\n{text_table(header, rows)}\n"
    if changes:
        text += f"\n{text_table(('option', 'of', 'gain', 'chance', ''), changes)}\n"
    return text
