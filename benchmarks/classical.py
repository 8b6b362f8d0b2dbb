"""Our support vector machine and nearest neighbours against plain scikit-learn: equal predictions, and seconds.

    python benchmarks/classical.py [--images N] [--size PX] [--classes C] [--fits N]

The images are the rehearsal's. Both sides use the recipes' grid and numbers of neighbours: ours all at once,
scikit-learn one after the other, each a fit and a prediction on standardised pixels. Prints a line for each model: the
seconds of both, their ratio, and how many predictions are equal over all points of the grid. Last, our seconds for
twice the images.

At 6,000 images of 64 pixels and 96 classes, scikit-learn takes two to four minutes for a single SVC. ``--fits 1`` fits
the first point of each kernel and assumes that the others take as long.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks.measuring import timed
from competition.dreams import Dreams
from competition.progress import Progress
from pipeline.data.decode import resize
from pipeline.models.classical.registry import Classifier, NearestNeighbours, SupportVectorMachine
from pipeline.models.recipe import RECIPES, load_recipe

Sample = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # images, labels, validation images, their labels

AT_ONCE = 10


def draw(images: int, size: int, classes: int, seed: int, purpose: str) -> tuple[np.ndarray, np.ndarray]:
    """Images of the rehearsal, uint8 ``[N, size, size, 3]``, as many of each class, and their labels."""
    dreams, generator = Dreams(classes, np.random.default_rng(0)), np.random.default_rng(seed)
    labels = generator.permutation(np.arange(images) % classes)
    drawn = np.empty((images, size, size, 3), np.uint8)
    for start in Progress(range(0, images, AT_ONCE), desc=f"drawing images to {purpose}", unit="batch"):
        batch = slice(start, start + AT_ONCE)
        drawn[batch] = [resize(image, size, size) for image in dreams.draw(labels[batch], generator)]
    return drawn, labels


def draw_sample(images: int, size: int, classes: int) -> Sample:
    """A sixth as many for validation: 1,000 for 6,000, as in the rehearsal."""
    return *draw(images, size, classes, 1, "train on"), *draw(images // 6, size, classes, 2, "validate on")


def predicted(model: Classifier, sample: Sample) -> np.ndarray:
    return model.fit(*sample).predict_proba(sample[2]).argmax(axis=1)


def standardised(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    images, _, validation, _ = sample
    scaler = StandardScaler()
    train = scaler.fit_transform(images.reshape(len(images), -1).astype(np.float32))
    return train, scaler.transform(validation.reshape(len(validation), -1).astype(np.float32))


def fit_plain(candidates: list[ClassifierMixin], sample: Sample, title: str) -> tuple[list[np.ndarray], list[float]]:
    """Each candidate's predictions, and the seconds of its fit and its prediction."""
    train, validation = standardised(sample)
    bar = Progress(candidates, desc=f"{title}: scikit-learn", unit="fit")
    runs = [timed(lambda each=each: each.fit(train, sample[1]).predict(validation)) for each in bar]
    return [found for found, _ in runs], [seconds for _, seconds in runs]


def compare_machines(grid: list[dict], classes: int, fits: int, sample: Sample) -> None:
    """The grid of support vector machines; of scikit-learn's SVC, the first ``fits`` points of each kernel."""
    _, ours = timed(lambda: predicted(SupportVectorMachine(classes, grid), sample))
    kernels = [point["kernel"] for point in grid]
    points = [point for number, point in enumerate(grid) if kernels[:number].count(point["kernel"]) < fits]
    found, seconds = fit_plain([SVC(**point) for point in points], sample, "dhc-svm")
    same = [predicted(SupportVectorMachine(classes, [point]), sample) for point in points]
    fitted = [point["kernel"] for point in points]
    weights = [kernels.count(kernel) / fitted.count(kernel) for kernel in fitted]
    plain = float(np.dot(weights, seconds))
    report("dhc-svm", ours, plain, found, same)
    if len(points) < len(grid):
        print(f"{'':15} scikit-learn fitted {len(points)} of {len(grid)}; the others are assumed to take as long")


def compare_neighbours(neighbours: list[int], classes: int, sample: Sample) -> None:
    """The sweep over numbers of neighbours."""
    _, ours = timed(lambda: predicted(NearestNeighbours(classes, neighbours), sample))
    found, seconds = fit_plain([KNeighborsClassifier(k) for k in neighbours], sample, "dhc-knn-sweep")
    bar = Progress(neighbours, desc="dhc-knn-sweep: ours for each k alone, to compare", unit="fit")
    same = [predicted(NearestNeighbours(classes, [k]), sample) for k in bar]
    report("dhc-knn-sweep", ours, sum(seconds), found, same)


def report(recipe: str, ours: float, plain: float, found: list[np.ndarray], same: list[np.ndarray]) -> None:
    equal = np.count_nonzero(np.stack(found) == np.stack(same))
    print(
        f"{recipe:15} {ours:7.2f} s, scikit-learn {plain:8.2f} s, {plain / ours:6.1f} times as fast; "
        f"{equal:,} of {np.size(found):,} predictions equal",
        flush=True,
    )


def time_twice(models: dict[str, Classifier], images: int, size: int, classes: int) -> None:
    sample = draw_sample(2 * images, size, classes)
    for recipe, model in models.items():
        _, seconds = timed(lambda model=model: predicted(model, sample))
        print(f"{recipe:15} {seconds:7.2f} s for {2 * images:,} images", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--images", type=int, default=1200, help="training images (a sixth of that for validation)")
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--classes", type=int, default=96)
    parser.add_argument("--fits", type=int, help="points of each kernel that scikit-learn's SVC fits; default: all")
    given = parser.parse_args()
    grid = load_recipe(RECIPES / "dhc-svm.toml").classifier.arguments["grid"]
    neighbours = load_recipe(RECIPES / "dhc-knn-sweep.toml").classifier.arguments["neighbours"]
    shape = given.images, given.size, given.classes
    sample = draw_sample(*shape)
    print(f"{given.images:,} images of {given.size} pixels a side, {given.classes} classes", flush=True)
    compare_neighbours(neighbours, given.classes, sample)
    compare_machines(grid, given.classes, given.fits or len(grid), sample)
    knn, svm = NearestNeighbours(given.classes, neighbours), SupportVectorMachine(given.classes, grid)
    time_twice({"dhc-knn-sweep": knn, "dhc-svm": svm}, *shape)


if __name__ == "__main__":
    main()
