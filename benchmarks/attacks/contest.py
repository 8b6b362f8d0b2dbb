"""A tiny contest, the commands that answer it, and what is left on disk when they end."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.attacks.forks import Task, forked, one_after_the_other, typed

CLASSES = ("cat", "dog", "owl")
TRAIN, VALIDATION, TEST = 24, 9, 6  # images
SIDE = 8  # pixels
MODELS = ("dhc-gaussian-nb", "dhc-cnn32")


@dataclass(frozen=True)
class Contest:
    """The commands for the contest in ``source`` (folder or ZIP) with everything that they write below ``work``."""

    source: Path
    work: Path
    models: Sequence[str] = MODELS

    @property
    def options(self) -> tuple[object, ...]:
        return "--competition", "pets", "--data", self.source, "--work", self.work

    def train(self, *more: object) -> Task:
        return typed("train", *self.options, "--device", "cpu", "--epochs", 2, "--models", *self.models, *more)

    def repeat(self, plan: Path) -> Task:
        """Train as the plan says."""
        return typed("train", *self.options, "--device", "cpu", "--plan", plan)

    @property
    def predict(self) -> Task:
        return typed("predict", *self.options, "--device", "cpu", "--no-report")

    @property
    def answer(self) -> Task:
        """Train and predict."""
        return one_after_the_other(self.train(), self.predict)

    @property
    def submission(self) -> Path:
        return self.work / "submissions" / "pets" / "submission.csv"

    @property
    def csv(self) -> bytes:
        """The submission; empty if there is none."""
        return self.submission.read_bytes() if self.submission.is_file() else b""


@dataclass(frozen=True)
class Finished:
    """A contest that was answered undisturbed: what every attack on it is compared with.

    csv: the submission; files: all paths below the work folder.
    """

    folder: Path
    csv: bytes
    files: frozenset[str]

    @property
    def source(self) -> Path:
        return self.folder / "pets"

    @property
    def work(self) -> Path:
        return self.folder / "work"


def finish(folder: Path, models: Sequence[str] = MODELS) -> Finished:
    """Draw a contest and answer it."""
    contest = Contest(draw_contest(folder / "pets"), folder / "work", models)
    done = forked(contest.answer)
    if done.status != 0:
        raise RuntimeError(f"the undisturbed contest has no answer; {done}")
    return Finished(folder, contest.csv, frozenset(files_of(contest.work)))


def draw_contest(folder: Path, seed: int = 0) -> Path:
    """Write train.csv, val.csv, test.csv and PNG images; the hue of an image is its class. Returns the folder."""
    generator = np.random.default_rng(seed)
    for name, count in (("train", TRAIN), ("val", VALIDATION), ("test", TEST)):
        images = folder / f"{name}_images"
        images.mkdir(parents=True)
        labels = [CLASSES[number % len(CLASSES)] for number in range(count)]
        for number, label in enumerate(labels):
            cv2.imwrite(str(images / f"{name}{number:03d}.png"), _picture(CLASSES.index(label), generator))
        rows = [(f"{name}{number:03d}.png", label) for number, label in enumerate(labels)]
        _write(folder / f"{name}.csv", [row[:1] for row in rows] if name == "test" else rows)
    return folder


def _picture(label: int, generator: np.random.Generator) -> np.ndarray:
    colour = np.full((1, 1, 3), (180 * label / len(CLASSES), 200, 160), np.uint8)
    noise = generator.normal(0, 15, (SIDE, SIDE, 3))
    return (cv2.cvtColor(colour, cv2.COLOR_HSV2BGR) + noise).clip(0, 255).astype(np.uint8)


def _write(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("Image", "Class")[: len(rows[0])], *rows])


def cells(path: Path) -> list[list[str]]:
    """The rows below the header as Python's own csv reads them, blanks around cells removed; blank lines left out."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file)]
    return [row for row in rows if any(row)][1:]


def is_valid(contest: Contest) -> bool:
    """Whether the submission has the test table's ids in their order, and only labels of the other tables.

    Without a test table, the ids are the names of the test images.
    """
    try:
        ids = _test_ids(contest.source)
        tables = [table for name in ("train.csv", "val.csv") if (table := contest.source / name).is_file()]
        labels = {row[1] for table in tables for row in cells(table)}
        answered = cells(contest.submission)
        return [row[0] for row in answered] == ids and {row[1] for row in answered} <= labels
    except (OSError, ValueError, IndexError, csv.Error):  # what csv cannot read cannot be answered
        return False


def _test_ids(source: Path) -> list[str]:
    table = source / "test.csv"
    if table.is_file():
        return [row[0] for row in cells(table)]
    return sorted(path.name for path in (source / "test_images").iterdir())


def files_of(folder: Path) -> set[str]:
    """Every path below the folder, relative to it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
