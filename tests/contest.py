"""A competition as far as its tables go: ids and classes, no images."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from competition.form import Form, FormKind
from competition.spec import Competition, Split
from competition.task import Label, Task

IDS = ("00017.png", "b.png", "c.png", "d.png")


def contest(
    classes: tuple[Label, ...] = (0, 3, 10), ids: tuple[str, ...] = IDS, order: tuple[str, ...] | None = None
) -> Competition:
    """Seven training images, no validation table. order: of the sample submission; None for that of ``ids``."""
    source = "sample_submission.csv" if order else "test.csv"
    train = Split("train", tuple("tuvwxyz"), (Path(),) * 7, np.array([0, 0, 0, 0, 1, 1, 2]) % len(classes))
    return Competition(
        name="contest",
        image_column="Image",
        label_column="Class",
        task=Task(classes),
        train=train,
        val=Split("val", (), (), np.zeros(0, np.int64)),
        test=Split("test", ids, (Path(),) * len(ids)),
        form=Form("class", ("Image", "Class"), order or ids, order or ids, source=source),
    )


def asking(kind: FormKind, task: Task, *columns: str, **more: Any) -> Competition:
    """A competition whose submissions have that form, with these columns besides the id and a row for each of IDS."""
    form = Form(kind, ("id", *columns), IDS, IDS, source="sample_submission.csv", **more)
    return replace(contest(), task=task, form=form)
