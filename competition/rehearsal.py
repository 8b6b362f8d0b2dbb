"""The rehearsal: a synthetic competition shaped like Deep Hallucination Classification, drawn on this machine.

    python competition/rehearsal.py draw [--form NAME] [--folder DIR] [--images N] [--seed N]
    python competition/rehearsal.py score FILE.csv [--answers FILE | --competition NAME] [--metric NAME] ...

It has 96 classes of 64x64 RGB images: 12,000 for training, 1,000 for validation, 5,000 for testing. Each class has
104 to 350 images. Names, labels and the order of rows depend on the seed alone and are the same everywhere; pixels
are the same on processors of the same kind. The test labels are written outside the competition's folder.

Accuracy on val (seed 0) with ``python pipeline/train.py --epochs 30 --models dhc-gaussian-nb dhc-knn-sweep dhc-svm
dhc-cnn32``:

    KNN on standardised pixels, best k of 1 to 19        0.216
    Gaussian naive Bayes on standardised pixels          0.316
    SVM on standardised pixels, best of four             0.395
    the small CNN of dhc-cnn32, 30 epochs                0.786

With ``--form`` the pictures ask something else: a probability, several labels, a grade, a number and so on. Such a
contest is called ``rehearsal-FORM`` and has no table of validation images.

No model can reach 1.0, because some images lie between two classes.
"""

import argparse
import os
import sys
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NoReturn

if not __package__:  # run as a script: import from the checkout, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import cv2
import numpy as np
from numpy.random import PCG64, Generator
from threadpoolctl import threadpool_limits

from competition.dreams import Dreams
from competition.errors import UserError
from competition.metrics import ACCURACY, find_metric
from competition.progress import Progress
from competition.rehearsal_forms import FORMS, Columns, Paint, RehearsalForm
from competition.scoring import rule_of, score_submission, write_rule
from competition.storage import build_folder, default_work_folder
from competition.tables import write_table
from competition.wording import fault_in, printable

DATA_FOLDER = default_work_folder() / "competition" / "data"
NAME = "rehearsal"
IMAGES = 18_000
FEWEST, MOST = 60, 138_000  # fewer leave no validation images; names of five digits allow no more
CLASSES = 96
SMALLEST_CLASS, LARGEST_CLASS = 104, 350

# Independent random streams of one seed: an extra draw from one leaves the others unchanged.
_WEIGHTS, _IMAGES, _TABLES = range(3)
_BATCH = 10  # images drawn together; their working memory fits a processor's cache
_UNCOMPRESSED = (cv2.IMWRITE_PNG_COMPRESSION, 0)


@dataclass(frozen=True)
class Rows:
    """The rows of one split: image names and labels (int64 ``[N]``), in the order of its table."""

    split: str
    names: tuple[str, ...]
    labels: np.ndarray


def draw_rehearsal(folder: Path, answers: Path, images: int = IMAGES, seed: int = 0, form: str = "classes") -> None:
    """Draw the competition into ``folder`` and the test labels (``Image,Class,Usage``) into ``answers``.

    images: in all splits together, 60 to 138,000; below 384 there are fewer than 96 classes.
    form: ``classes``, or the name of another in ``rehearsal_forms.FORMS``; then the answers have its columns, and a
        file beside them names the metric.

    Raises UserError if ``folder`` is not empty or cannot be written.
    """
    if not FEWEST <= images <= MOST:
        raise UserError(f"{images} images cannot be drawn; ask for {FEWEST} to {MOST:,}")
    if seed < 0:
        raise UserError(f"{seed} is not a valid seed; give a whole number, 0 or greater")
    if _is_filled(folder):
        raise fault_in(folder, "the folder is not empty", "remove it to draw the rehearsal again")

    def fill(draft: Path) -> None:
        if form == "classes":
            _fill(draft, answers, images, seed)
        else:
            _fill_in_form(FORMS[form], draft, answers, images, seed)
        now = time.time()
        for path in draft.rglob("*"):
            os.utime(path, (now, now))

    try:
        build_folder(folder, fill, _is_filled)
    except OSError as error:
        remedy = "check that there is free space and that the folder is writable"
        raise fault_in(folder, f"cannot be drawn ({printable(error)})", remedy) from error


def _fill(folder: Path, answers: Path, images: int, seed: int) -> None:
    splits, usages = plan_rehearsal(images, seed)
    test = splits[-1]
    _write_competition(folder, splits, seed)
    write_table(answers, {"Image": test.names, "Class": test.labels, "Usage": usages})


def _fill_in_form(form: RehearsalForm, folder: Path, answers: Path, images: int, seed: int) -> None:
    """Draw the competition in another form: without a table of validation images, and train maybe in folders."""
    (train, val, test), usages = plan_rehearsal(images, seed)
    numbers, in_test = train.names + val.names, test.names
    truth = form.draw(images, _stream(seed, _TABLES, 1))
    learnt, asked = form.columns(truth[: len(numbers)]), form.columns(truth[len(numbers) :])
    places = [f"train/{kind}" for kind in learnt["Class"]] if form.in_folders else ["train"] * len(numbers)
    paths = [folder / place / name for place, name in zip(places, numbers, strict=True)]
    paths += [folder / "test" / name for name in in_test]
    for place in {path.parent for path in paths}:
        place.mkdir(parents=True, exist_ok=True)
    if not form.in_folders:
        write_table(folder / "train.csv", {"Image": numbers, **learnt})
    _write_questions(form, folder, answers, in_test, asked, usages)
    _write_images(paths, truth, form.classes, form.paint, seed)


def _write_questions(
    form: RehearsalForm, folder: Path, answers: Path, ids: Sequence[str], asked: Columns, usages: np.ndarray
) -> None:
    """Write the sample submission and the answers; of several targets also a table of the rows that are asked for."""
    guesses: Columns = {name: [guess] * len(ids) for name, guess in zip(asked, form.guesses, strict=True)}
    key, targets = "Image", form.rule.targets
    if targets:
        rows = {"Image": np.repeat(ids, len(targets)), "component": np.tile(targets, len(ids))}
        ids = [f"{Path(name).stem}_{target}" for name, target in zip(*rows.values(), strict=True)]
        write_table(folder / "test.csv", {"row_id": ids, **rows})
        guesses, asked, usages = _in_one_column(guesses), _in_one_column(asked), usages.repeat(len(targets))
        key = "row_id"
    write_table(folder / "sample_submission.csv", {key: ids, **guesses})
    write_table(answers, {key: ids, **asked, "Usage": usages})
    write_rule(answers, form.rule)


def _in_one_column(columns: Columns) -> Columns:
    """The cells of all columns, row after row."""
    return {"answer": list(chain.from_iterable(zip(*columns.values(), strict=True)))}


def plan_rehearsal(images: int, seed: int) -> tuple[tuple[Rows, Rows, Rows], np.ndarray]:
    """Names and labels of train, val and test, and whether each test row is Public or Private.

    The splits are stratified. Class sizes, the order of rows and image names are random.
    """
    generator = _stream(seed, _TABLES)
    train, val, test = (generator.permutation(labels) for labels in _labels(images, generator))
    numbers = [f"{number:05d}.png" for number in generator.permutation(len(train) + len(val))]
    identifiers = [f"{uuid.UUID(bytes=generator.bytes(16), version=4)}.png" for _ in test]
    is_public = generator.permutation(len(test)) < round(0.3 * len(test))
    splits = (
        Rows("train", tuple(numbers[: len(train)]), train),
        Rows("val", tuple(numbers[len(train) :]), val),
        Rows("test", tuple(identifiers), test),
    )
    return splits, np.where(is_public, "Public", "Private")


def _labels(images: int, generator: Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The labels of train, val and test, sorted."""
    val, test = images // 18, images * 5 // 18
    # The smallest class has 0.55 of the mean size: with four images a class on average it gets two, one in train.
    classes = min(CLASSES, images // 4)
    sizes = apportion(_class_weights(classes), images)
    held_out = apportion(sizes, val + test)
    in_val = apportion(held_out, val)
    labels = generator.permutation(classes)
    in_test = held_out - in_val
    return np.repeat(labels, sizes - held_out), np.repeat(labels, in_val), np.repeat(labels, in_test)


def _class_weights(classes: int) -> np.ndarray:
    # With this exponent 96 classes add up to 18,000 images.
    rise = np.linspace(0, 1, classes) ** 1.955
    return SMALLEST_CLASS + (LARGEST_CLASS - SMALLEST_CLASS) * rise


def apportion(weights: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers proportional to the weights, int64, that add up to exactly ``total``."""
    bounds = np.rint(np.cumsum(weights) * (total / weights.sum())).astype(np.int64)
    return np.diff(bounds, prepend=0)


def _write_competition(folder: Path, splits: tuple[Rows, Rows, Rows], seed: int) -> None:
    train, val, test = splits
    for rows in (train, val):
        write_table(folder / f"{rows.split}.csv", {"Image": rows.names, "Class": rows.labels})
    write_table(folder / "test.csv", {"Image": test.names})
    write_table(folder / "sample_submission.csv", {"Image": test.names, "Class": [0] * len(test.names)})
    for rows in splits:
        (folder / f"{rows.split}_images").mkdir()
    paths = [folder / f"{rows.split}_images" / name for rows in splits for name in rows.names]
    labels = np.concatenate([rows.labels for rows in splits])
    _write_images(paths, labels, labels.max() + 1, Dreams.draw, seed)


def _write_images(paths: Sequence[Path], truth: np.ndarray, classes: int, paint: Paint, seed: int) -> None:
    dreams = Dreams(classes, _stream(seed, _WEIGHTS))

    def write(start: int) -> int:
        batch = slice(start, start + _BATCH)
        pictures = paint(dreams, truth[batch], _stream(seed, _IMAGES, start))
        for path, picture in zip(paths[batch], pictures, strict=True):
            # Uncompressed files all have the same size, so the size gives no class away.
            path.write_bytes(cv2.imencode(".png", picture, _UNCOMPRESSED)[1].tobytes())
        return len(pictures)

    # The matrices are small, so BLAS threads would only wait for one another.
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(os.cpu_count()) as pool,
        Progress(total=len(paths), desc="drawing the rehearsal", unit="image") as bar,
    ):
        for written in pool.map(write, range(0, len(paths), _BATCH)):
            bar.update(written)


def _stream(*numbers: int) -> Generator:
    return Generator(PCG64(numbers))


def _is_filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _answers_of(name: str, data_folder: Path) -> Path:
    return data_folder / "answers" / f"{name}.csv"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; --help lists the options")


def _parser() -> _Parser:
    parser = _Parser(description="A built-in competition for rehearsals.", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="draw|score")
    draw = commands.add_parser("draw", help="draw the competition's files", allow_abbrev=False)
    draw.add_argument("--folder", type=Path, metavar="DIR", help="default: one named after the form, with other data")
    forms = ("classes", *FORMS)
    draw.add_argument("--form", choices=forms, default=forms[0], help="what is asked for; default: a class an image")
    draw.add_argument("--images", type=int, metavar="N", default=IMAGES, help="number of images in all splits together")
    draw.add_argument("--seed", type=int, metavar="N", default=0)
    draw.set_defaults(run=_draw)
    score = commands.add_parser("score", help="score a submission as a leaderboard does", allow_abbrev=False)
    score.add_argument("submission", type=Path, metavar="FILE.csv")
    whose = score.add_mutually_exclusive_group()
    whose.add_argument("--answers", type=Path, metavar="FILE", help="a CSV with the columns Image,Class,Usage")
    whose.add_argument(
        "--competition", metavar="NAME", default=NAME, help="a competition whose test labels are known here"
    )
    score.add_argument("--metric", metavar="NAME", help="default: that of the form it was drawn in, else accuracy")
    score.add_argument("--data-folder", type=Path, metavar="DIR", default=DATA_FOLDER)
    score.set_defaults(run=_score)
    return parser


def _draw(given: argparse.Namespace) -> None:
    name = NAME if given.form == "classes" else f"{NAME}-{given.form}"
    folder = (given.folder or DATA_FOLDER / name).expanduser().resolve()
    answers = _answers_of(folder.name, folder.parent)
    draw_rehearsal(folder, answers, given.images, given.seed, given.form)
    print(f"{given.images:,} images in {folder}; the test labels are in {answers}")


def _score(given: argparse.Namespace) -> None:
    answers = given.answers or _answers_of(given.competition, given.data_folder)
    if not answers.is_file():
        remedy = "draw the rehearsal first, or give their path with --answers"
        raise fault_in(answers, "the test labels are missing", remedy)
    metric = find_metric(given.metric or rule_of(answers).metric)
    scores = score_submission(given.submission, answers, metric=metric)
    if metric != ACCURACY:
        print(f"metric   {metric.title}")
    print(f"public   {scores.public:z.4f}")
    print(f"private  {scores.private:z.4f}")
    print(f"overall  {scores.overall:z.4f}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command of these arguments, by default the command line's. Returns the exit status."""
    try:
        given = _parser().parse_args(arguments)
        given.run(given)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
