"""The rehearsal: a synthetic competition shaped like Deep Hallucination Classification, drawn on this machine.

    python competition/rehearsal.py draw [--folder DIR] [--images N] [--seed N]
    python competition/rehearsal.py score FILE.csv [--answers FILE | --competition NAME] [--data-folder DIR]

It has 96 classes of 64x64 RGB images: 12,000 for training, 1,000 for validation, 5,000 for testing. Each class has
104 to 350 images. Names, labels and the order of rows depend on the seed alone and are the same everywhere; pixels
are the same on processors of the same kind. The test labels are written outside the competition's folder.

Accuracy on val (seed 0) with ``python pipeline/train.py --epochs 30 --models dhc-gaussian-nb dhc-knn-sweep dhc-svm
dhc-cnn32``:

    KNN on standardised pixels, best k of 1 to 19        0.216
    Gaussian naive Bayes on standardised pixels          0.316
    SVM on standardised pixels, best of four             0.395
    the small CNN of dhc-cnn32, 30 epochs                0.786

No model can reach 1.0, because some images lie between two classes.
"""

import argparse
import math
import os
import sys
import time
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

if not __package__:  # run as a script: import from the checkout, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import cv2
import numpy as np
from numpy.random import PCG64, Generator
from threadpoolctl import threadpool_limits

from competition.errors import UserError
from competition.progress import Progress
from competition.scoring import score_submission
from competition.storage import build_folder, default_work_folder
from competition.tables import write_table
from competition.wording import fault_in, printable

DATA_FOLDER = default_work_folder() / "competition" / "data"
NAME = "rehearsal"
IMAGES = 18_000
FEWEST, MOST = 60, 138_000  # fewer leave no validation images; names of five digits allow no more
CLASSES = 96
SMALLEST_CLASS, LARGEST_CLASS = 104, 350
SIDE = 64

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


def draw_rehearsal(folder: Path, answers: Path, images: int = IMAGES, seed: int = 0) -> None:
    """Draw the competition into ``folder`` and the test labels (``Image,Class,Usage``) into ``answers``.

    images: in all splits together, 60 to 138,000; below 384 there are fewer than 96 classes.

    Raises UserError if ``folder`` is not empty or cannot be written.
    """
    if not FEWEST <= images <= MOST:
        raise UserError(f"{images} images cannot be drawn; ask for {FEWEST} to {MOST:,}")
    if seed < 0:
        raise UserError(f"{seed} is not a valid seed; give a whole number, 0 or greater")
    if _is_filled(folder):
        raise fault_in(folder, "the folder is not empty", "remove it to draw the rehearsal again")
    splits, usages = plan_rehearsal(images, seed)
    test = splits[-1]

    def fill(draft: Path) -> None:
        _write_competition(draft, splits, seed)
        write_table(answers, {"Image": test.names, "Class": test.labels, "Usage": usages})

    try:
        build_folder(folder, fill, _is_filled)
    except OSError as error:
        remedy = "check that there is free space and that the folder is writable"
        raise fault_in(folder, f"cannot be drawn ({printable(error)})", remedy) from error


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
    _write_images(folder, splits, seed)
    now = time.time()
    for path in folder.rglob("*"):
        os.utime(path, (now, now))


def _write_images(folder: Path, splits: Iterable[Rows], seed: int) -> None:
    paths = [folder / f"{rows.split}_images" / name for rows in splits for name in rows.names]
    labels = np.concatenate([rows.labels for rows in splits])
    dreams = Dreams(labels.max() + 1, _stream(seed, _WEIGHTS))

    def write(start: int) -> int:
        batch = slice(start, start + _BATCH)
        pictures = dreams.draw(labels[batch], _stream(seed, _IMAGES, start))
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


class Dreams:
    """Draws images of classes with a deep network of random weights.

    Each class has one point in latent space for its object and one for its backdrop. An image is drawn from latents
    near these points. The object is shifted, rotated and scaled, lighting and haze vary, and half of the images are
    mirrored. Some images lie at a random point on the way to another class; no classifier can be right about those.
    """

    LATENT = 16
    OBJECT_SPREAD = 0.3  # standard deviation of latents around their class, that of the classes being 1
    BACKDROP_SPREAD = 0.33
    AMBIGUOUS = 0.08  # share of images on the way to another class
    SHIFT = 0.3  # at most, in units of half a side
    TURN = 0.5  # at most, in radians
    SCALE = 1.25  # at most; its inverse is the minimum
    RADIUS = 0.7  # of the object on average, in units of half a side
    RAGGED = 0.25  # how far the outline departs from that radius
    EDGE = 8.0  # sharpness of the outline
    CONTRAST = 0.2
    TINT = 0.2
    HAZE = 0.65  # large blotches, which mislead nearest neighbours but average out
    BLOTCHES = 5  # of haze along each side
    NOISE = 0.06

    def __init__(self, classes: int, generator: Generator) -> None:
        self.network = CoordinateNetwork(self.LATENT, generator)
        self.classes = classes
        self.prototypes = _normal(generator, 2, classes, self.LATENT)
        self.fine, self.coarse = _grid(SIDE), _grid(SIDE // 2)
        self.enlarge, self.spread_haze = _bilinear(SIDE // 2, SIDE), _bilinear(self.BLOTCHES, SIDE)

    def draw(self, labels: np.ndarray, generator: Generator) -> np.ndarray:
        """One image for each label, uint8 ``[N, 64, 64, 3]``."""
        count = len(labels)
        objects, backdrops = self._latents(labels, generator)
        mirror = np.where(generator.random(count) < 0.5, -1, 1).astype(np.float32)
        points = self._object_points(mirror, generator)
        texture = self.network(objects, points)
        outline = self.RADIUS + self.RAGGED * texture[:, 3:] - np.linalg.norm(points, axis=1, keepdims=True)
        opacity = 1 / (1 + np.exp(-self.EDGE * outline))
        backdrop = self._backdrop(backdrops, mirror, generator)
        scene = backdrop + opacity * (np.tanh(texture[:, :3]) - backdrop)
        scene += self._haze(count, generator)
        contrast = 0.9 * np.exp(self.CONTRAST * _normal(generator, count, 1, 1))
        scene = contrast * scene + self.TINT * _normal(generator, count, 3, 1)
        scene += self.NOISE * _normal(generator, *scene.shape)
        pixels = np.clip(127.5 + 90 * scene, 0, 255).astype(np.uint8)
        return pixels.transpose(0, 2, 1).reshape(count, SIDE, SIDE, 3)

    def _latents(self, labels: np.ndarray, generator: Generator) -> np.ndarray:
        """The latents of object and backdrop, float32 ``[2, N, LATENT]``."""
        count = len(labels)
        other = (labels + generator.integers(1, self.classes, count)) % self.classes
        way = (generator.random(count) * (generator.random(count) < self.AMBIGUOUS)).astype(np.float32)[:, None]
        spread = np.array([self.OBJECT_SPREAD, self.BACKDROP_SPREAD], np.float32)[:, None, None]
        centres = (1 - way) * self.prototypes[:, labels] + way * self.prototypes[:, other]
        return (centres + spread * _normal(generator, *centres.shape)) / np.sqrt(1 + spread**2)

    def _object_points(self, mirror: np.ndarray, generator: Generator) -> np.ndarray:
        """Each pixel's position in the coordinates of the object: float32 ``[N, 2, pixels]``."""
        angle = _uniform(generator, self.TURN, len(mirror))
        scale = np.exp(_uniform(generator, math.log(self.SCALE), len(mirror)))
        shift = _uniform(generator, self.SHIFT, len(mirror), 2, 1)
        cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
        turn = np.array([[cosine * mirror, sine * mirror], [-sine, cosine]]).transpose(2, 0, 1)
        return turn @ (self.fine - shift)

    def _backdrop(self, latents: np.ndarray, mirror: np.ndarray, generator: Generator) -> np.ndarray:
        """Colours from -1 to 1, float32 ``[N, 3, pixels]``, drawn at half resolution, since it is out of focus."""
        points = np.repeat(self.coarse[None], len(latents), axis=0)
        points[:, 0] *= mirror[:, None]
        points += _uniform(generator, self.SHIFT, len(latents), 2, 1)
        colours = self.network(latents, points)[:, :3].reshape(-1, 3, SIDE // 2, SIDE // 2)
        return np.tanh(self.enlarge @ colours @ self.enlarge.T).reshape(-1, 3, SIDE * SIDE)

    def _haze(self, count: int, generator: Generator) -> np.ndarray:
        blotches = self.HAZE * _normal(generator, count, 3, self.BLOTCHES, self.BLOTCHES)
        return (self.spread_haze @ blotches @ self.spread_haze.T).reshape(count, 3, SIDE * SIDE)


class CoordinateNetwork:
    """Maps a point of the plane and a latent to three colours and a height.

    A compositional pattern-producing network (Stanley 2007) of sines (Sitzmann et al. 2020), whose layers a
    mapping network modulates by the latent (Chan et al. 2021). All weights are random and never trained.
    """

    WIDTH = 16
    MAPPED = 64
    FREQUENCY = 5.0  # of the first layer, in radians per half a side
    GAIN = 1.6  # of the later layers; larger is rougher
    MODULATION = 0.5  # of the weights by the latent
    PHASE = 1.5

    def __init__(self, latent: int, generator: Generator) -> None:
        width, mapped = self.WIDTH, self.MAPPED
        self.mapping = _normal(generator, latent, mapped) * (1.2 / math.sqrt(latent))
        self.modulations = _normal(generator, 3, mapped, 2 * width) / math.sqrt(mapped)
        self.layers = [
            self.FREQUENCY * _normal(generator, width, 2),
            *(self.GAIN * _orthogonal(generator, width, width) for _ in range(2)),
        ]
        self.output = 1.8 * _orthogonal(generator, 4, width)

    def __call__(self, latents: np.ndarray, points: np.ndarray) -> np.ndarray:
        """latents float32 ``[N, L]``, points float32 ``[N, 2, P]``; returns float32 ``[N, 4, P]``."""
        mapped = np.tanh(latents @ self.mapping)
        signal = points
        for weights, modulation in zip(self.layers, self.modulations, strict=True):
            strength, phase = np.split((mapped @ modulation)[..., None], 2, axis=1)
            signal = (weights * (1 + self.MODULATION * strength)) @ signal
            signal += self.PHASE * phase
            np.sin(signal, out=signal)
        return self.output @ signal


def _stream(*numbers: int) -> Generator:
    return Generator(PCG64(numbers))


def _normal(generator: Generator, *shape: int) -> np.ndarray:
    return generator.standard_normal(shape, dtype=np.float32)


def _orthogonal(generator: Generator, rows: int, columns: int) -> np.ndarray:
    """Random orthonormal rows, so that colours differ clearly whatever the seed."""
    return np.linalg.qr(_normal(generator, columns, rows))[0].T


def _uniform(generator: Generator, most: float, *shape: int) -> np.ndarray:
    """Uniform random numbers from ``-most`` to ``most``, float32."""
    return most * (2 * generator.random(shape, dtype=np.float32) - 1)


def _grid(side: int) -> np.ndarray:
    """x and y of each pixel's centre, from -1 to 1: float32 ``[2, side * side]``."""
    centres = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    return np.stack(np.meshgrid(centres, centres)).reshape(2, -1)


def _bilinear(coarse: int, fine: int) -> np.ndarray:
    """The matrix of bilinear interpolation along one axis, float32 ``[fine, coarse]``."""
    places = np.clip((np.arange(fine) + 0.5) * coarse / fine - 0.5, 0, coarse - 1)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(coarse))).astype(np.float32)


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
    draw.add_argument("--folder", type=Path, metavar="DIR", default=DATA_FOLDER / NAME)
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
    score.add_argument("--data-folder", type=Path, metavar="DIR", default=DATA_FOLDER)
    score.set_defaults(run=_score)
    return parser


def _draw(given: argparse.Namespace) -> None:
    folder = given.folder.expanduser().resolve()
    answers = _answers_of(folder.name, folder.parent)
    draw_rehearsal(folder, answers, given.images, given.seed)
    print(f"{given.images:,} images in {folder}; the test labels are in {answers}")


def _score(given: argparse.Namespace) -> None:
    answers = given.answers or _answers_of(given.competition, given.data_folder)
    if not answers.is_file():
        remedy = "draw the rehearsal first, or give their path with --answers"
        raise fault_in(answers, "the test labels are missing", remedy)
    scores = score_submission(given.submission, answers)
    print(f"public   {scores.public:.4f}")
    print(f"private  {scores.private:.4f}")
    print(f"overall  {scores.overall:.4f}")


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
