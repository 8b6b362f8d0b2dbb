"""The scores of all runs that can be compared with the newest one, printed and written to scores.csv."""

from competition.console import print_result
from pipeline.ensemble.comparable import comparable_groups
from pipeline.training.runs import leave_out, newest_run, ranked, run_folders, stored_runs
from pipeline.training.scores import scores_table, write_scores
from pipeline.training.trainer import Trainer


def print_scores(trainer: Trainer) -> None:
    """Write all runs to scores.csv, and print those that can be compared with the newest run, the best first."""
    folder, metric = trainer.folder, trainer.competition.metric
    runs, reasons = stored_runs(run_folders(folder), check_models=False)
    write_scores(folder / "scores.csv", ranked(runs.values(), metric), metric)
    faults = {name: stored.data.change_in(trainer.training_data.record) for name, stored in runs.items()}
    reasons |= {name: fault for name, fault in faults.items() if fault is not None}
    validated = {name: stored.validated.ids for name, stored in runs.items() if name not in reasons}
    newest = newest_run(runs[name].run for name in validated).name
    group = max(
        (each for each in comparable_groups(validated) if newest in each.names), key=lambda each: len(each.names)
    )
    reasons |= dict.fromkeys(validated.keys() - group.names, "they were validated on other images")
    print()
    print_result(scores_table(ranked((runs[name] for name in group.names), metric, group.ids), metric))
    leave_out(reasons)
    is_same = all(len(validated[name]) == len(group.ids) for name in group.names)
    images = "the validation images" if is_same else f"the {len(group.ids):,} validation images that all of these share"
    print(f"scores on {images}, written to {folder / 'scores.csv'}")
