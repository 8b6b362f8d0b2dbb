"""How many labelled images there are of each class."""

import numpy as np
import pandas as pd

from competition.errors import first_few
from competition.spec import Competition, Split
from competition.wording import counted, printable
from pipeline.findings.finding import Finding

FEW = 5  # labelled images of a class; of fewer, hardly anything can be learnt or measured


def class_counts(competition: Competition) -> list[Finding]:
    """How many images of train and val have each class; nothing if numbers are predicted."""
    if competition.task.kind == "continuous":
        return []
    counts = {split.name: counted_classes(competition, split) for split in (competition.train, competition.val)}
    table = pd.DataFrame({"class": _names(competition)} | counts)
    labelled = table["train"] + table["val"]
    is_meant = (labelled > 0) | (competition.task.kind != "multioutput")  # a target has only some of the classes
    few = labelled[(labelled < FEW) & is_meant].sort_values(kind="stable")
    told = ""
    if len(few):
        named = first_few(
            f"{printable(name)}: {number}" for name, number in zip(table["class"][few.index], few, strict=True)
        )
        things = counted(len(few), "label" if competition.task.kind == "multilabel" else "class")
        told = f"{things} with fewer than {FEW} labelled images ({named}): add pictures with --extra"
    return [Finding("class-counts", told, table)]


def counted_classes(competition: Competition, split: Split) -> np.ndarray:
    """How many images have each of ``_names``, int64."""
    task, labels = competition.task, split.known_labels
    if task.kind == "multilabel":
        return labels.sum(axis=0)
    columns = labels.reshape(len(labels), task.target_count)
    return np.concatenate([np.bincount(column, minlength=len(task.classes)) for column in columns.T])


def _names(competition: Competition) -> list[str]:
    """The classes; of several targets, each target's with its name."""
    classes = [str(each) for each in competition.task.classes]
    return [f"{target}: {each}" for target in competition.task.targets for each in classes] or classes
