"""Settings: the parsed command line, and the folders that follow from it (in the checkout or on Kaggle)."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from competition.storage import default_work_folder, expanded

DEFAULT_BUDGET = 300.0
TUNING_BUDGET, TRIALS = 1800.0, 20
MOST_IMAGES, MOST_FOLDS, MOST_EPOCHS, MOST_TRIALS = 10**9, 10**6, 10**6, 10**6
MOST_PIXELS = 10_000  # a side
MOST_SECONDS = 366 * 24 * 3600.0  # of a budget
MOST_SEED = 2**31 - 1  # scikit-learn takes seeds below 2**32, and folds add to the seed
BEGUN = time.monotonic()  # the command's start: commands.py imports this module before the slow ones


class Source(TypedDict):
    """Where a competition's files are and how to read them: the arguments of ``open_competition``."""

    competition: str | None
    data: Path | None
    data_folder: Path
    train_table: str | None
    image_column: str | None
    label_column: str | None
    group_column: str | None
    metric: str | None


@dataclass(frozen=True)
class Settings:
    """The settings of one command.

    work: the folder of runs/, recipes/, submissions/ and competition/data/.
    models: names or patterns of recipes. If empty, train.py uses the portfolio for the budget, and predict.py uses
        all trained models.
    metric: chooses and ranks the models; None: the competition's metric.
    budget: seconds of wall clock for the whole of train.py or tune.py; None: no limit, every recipe trains its own
        epochs.
    size: height and width of the cached images in pixels; None: chosen for the images and the budget.
    cache_size: bytes of cached images on the disk; None: as there is room.
    extra: folder or CSV of labelled pictures that are trained on besides the competition's.
    relabel: CSV of corrected labels of training images.
    drop_conflicts: leave out training images whose pixels another image has with another label.
    pseudo_labels: train on the test images, too, with what the blend of earlier runs says of them.
    distil: train on a mean of the labels and of what that blend says of the training images.
    refit: after its validation, train each network once more, on all labelled images.
    compile: compile networks with torch.compile before training.
    weights: the file or folder that is searched first for ImageNet weights.
    trials: trials of the study, over all its processes.
    storage: database address or path of the study; None: a journal file below runs/.
    tensorboard: write TensorBoard's event files, too.
    begun: when the command began, on the clock of ``time.monotonic``; budgets count from then.
    name: name of the recipe that tune.py writes; None: that of the recipe it starts from, of the competition and, if
        another study has written that, a number.
    """

    competition: str | None
    data: Path | None
    work: Path
    train_table: str | None
    image_column: str | None
    label_column: str | None
    group_column: str | None
    models: tuple[str, ...]
    device: str = "auto"
    metric: str | None = None
    budget: float | None = None
    epochs: int | None = None
    plan: Path | None = None
    limit: int | None = None
    folds: int | None = None
    size: int | None = None
    cache_size: int | None = None
    seed: int = 0
    extra: Path | None = None
    relabel: Path | None = None
    drop_conflicts: bool = False
    pseudo_labels: bool = False
    distil: bool = False
    refit: bool = False
    fresh: bool = False
    skip_unreadable: bool = False
    compile: bool = False
    weights: Path | None = None
    trials: int = TRIALS
    storage: str | None = None
    name: str | None = None
    test_time_views: bool = True
    report: bool = True
    debug: bool = False
    quiet: bool = False
    tensorboard: bool = False
    begun: float = field(default_factory=lambda: BEGUN)

    @property
    def data_folder(self) -> Path:
        return data_folder(self.work)

    @property
    def source(self) -> Source:
        return {
            "competition": self.competition,
            "data": self.data,
            "data_folder": self.data_folder,
            "train_table": self.train_table,
            "image_column": self.image_column,
            "label_column": self.label_column,
            "group_column": self.group_column,
            "metric": self.metric,
        }

    @property
    def cache_folder(self) -> Path:
        return self.data_folder / "cache"

    @property
    def recipes_folder(self) -> Path:
        """The folder of the recipes that tune.py writes and of the user's own."""
        return self.work / "recipes"

    def runs_folder(self, competition: str) -> Path:
        return self.work / "runs" / competition

    def submissions_folder(self, competition: str) -> Path:
        return self.work / "submissions" / competition

    def submission(self, competition: str) -> Path:
        return self.submissions_folder(competition) / "submission.csv"


def work_folder(work: Path | None) -> Path:
    """The absolute path of the folder for runs/, submissions/ and competition/data/."""
    return default_work_folder() if work is None else expanded(work).resolve()


def data_folder(work: Path | None) -> Path:
    """The folder for downloaded data and caches."""
    return work_folder(work) / "competition" / "data"
