"""How seconds and memory of each stage grow with the number of images, their size and the number of classes.

    python benchmarks/scaling.py [--images N ...] [--sides PX ...] [--classes C ...]

While one of the three grows, the other two stay at the second of their values. Images are drawn; a tenth of them
validates. Models are those of the recipes, sprint at width 16. Each measure has a process of its own; its memory is
what it adds to the peak of a process that has imported everything, pages of the cache that it touched included. A
measure that would need more than 4 GB is shown as a dash.

Prints two tables for each of the three, seconds and megabytes. The last column is the exponent p of
``cost ~ size ** p``, fitted on a log-log scale, where size is images, pixels of an image, or classes: 1 is linear
growth, and fixed costs make it less. A fit includes the prediction of its validation images, whose number grows as
well: nearest neighbours, which search all images for each, should be near 2.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
import torch._dynamo  # noqa: F401 - here, or the first optimiser would import it while it is measured

from benchmarks.measuring import draw_images, limit_memory, peak_memory, timed
from competition.metrics import ACCURACY
from competition.progress import Progress
from pipeline.commands import run_main
from pipeline.data.cache import ImageCache, open_cache
from pipeline.data.predictions import Predictions
from pipeline.ensemble.blend import select_blend
from pipeline.models.classical.features import OnFeatures, build_features
from pipeline.models.classical.registry import CLASSIFIERS
from pipeline.models.neural.network import NetworkPlan, NeuralNetwork
from pipeline.models.recipe import RECIPES, Tier, load_recipe
from pipeline.parser import Parser, positive
from pipeline.runtime.devices import choose_device
from pipeline.training.scores import text_table

WIDTH = 16
BLENDED = 5  # models
DIMENSIONS = {"images": 1, "side": 2, "classes": 1}  # twice the side is four times the pixels
MOST_MEMORY = 4 << 30  # bytes of one measure
DRAWN_AT_ONCE = 500
START_METHOD = "fork" if "fork" in get_all_start_methods() else "spawn"  # of a measure's process; a fork starts faster

Result = TypeVar("Result")
Work = Callable[[], object]


@dataclass(frozen=True)
class Size:
    """Of one competition. side: pixels."""

    images: int
    side: int
    classes: int


@dataclass(frozen=True)
class Cost:
    """megabytes: by which the peak memory grew, at least 1."""

    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Sample:
    """The drawn images of one size, in a folder of their own."""

    folder: Path
    size: Size

    def draw(self) -> None:
        """Write the images as files, and their labels."""
        (self.folder / "images").mkdir(parents=True)
        labels = []
        for start in range(0, self.size.images, DRAWN_AT_ONCE):
            count = min(DRAWN_AT_ONCE, self.size.images - start)
            images, some = draw_images(count, self.size.side, self.size.classes, seed=1 + start)
            for number, image in enumerate(images, start):
                cv2.imwrite(str(self.folder / "images" / f"{number:06}.jpg"), image)
            labels.append(some)
        np.save(self.folder / "labels.npy", np.concatenate(labels))

    def cache(self) -> ImageCache:
        return open_cache(sorted((self.folder / "images").iterdir()), self.folder / "cache")

    def labels(self) -> np.ndarray:
        return np.load(self.folder / "labels.npy")

    def parts(self) -> tuple[ImageCache, np.ndarray, ImageCache, np.ndarray]:
        """Images and labels to train on, images and labels to validate on."""
        images, labels = self.cache(), self.labels()
        train, validation = np.split(np.arange(len(labels)), [len(labels) * 9 // 10])
        return images.subset(train), labels[train], images.subset(validation), labels[validation]


def caching(sample: Sample) -> Work:
    return sample.cache


def fitting(name: str, sample: Sample) -> Work:
    """Fit the classifier of the recipe of that name, its grid and its features included."""
    recipe = load_recipe(RECIPES / f"{name}.toml")
    model = CLASSIFIERS[recipe.classifier.name](sample.size.classes, **recipe.classifier.arguments)
    if recipe.features is not None:
        features = build_features(recipe.features.name, **recipe.features.arguments)
        model = OnFeatures(features, model, choose_device("cpu"))
    return partial(model.fit, *sample.parts())


def sprint_epoch(sample: Sample) -> Work:
    """One epoch at the images' own size, validation and checkpoint included."""
    recipe = load_recipe(RECIPES / "sprint.toml").model_copy(update={"growing": (1.0,)})
    plan, device = NetworkPlan(epochs=1, tier=Tier(size=1.0, width=WIDTH)), choose_device("cpu")
    network = NeuralNetwork(recipe, sample.size.classes, sample.folder / "sprint", plan=plan, device=device)
    parts = sample.parts()
    return lambda: network.fit(*parts).save(network.folder)


def predicting(sample: Sample) -> Work:
    """All images by the network of ``sprint_epoch``, and by each image's mirror image."""
    network = NeuralNetwork.load(sample.folder / "sprint", choose_device("cpu"))
    return partial(network.predict_proba, sample.cache())


def blending(sample: Sample) -> Work:
    """Select and apply a blend of models that have about two thirds of all images right."""
    rng, labels = np.random.default_rng(0), sample.labels()
    ids = tuple(map(str, range(len(labels))))
    predictions = {}
    for number in range(BLENDED):
        probabilities = rng.random((len(labels), sample.size.classes), np.float32)
        probabilities[np.arange(len(labels)), labels] += rng.random(len(labels)) < 2 / 3
        predictions[f"model-{number}"] = Predictions(ids, probabilities / probabilities.sum(axis=1, keepdims=True))
    return lambda: select_blend(predictions, ids, labels, ACCURACY).apply(predictions)


MEASURES: dict[str, Callable[[Sample], Work]] = {  # in this order: the first makes the cache, sprint what predicts
    "caching": caching,
    "gaussian-nb fit": partial(fitting, "dhc-gaussian-nb"),
    "knn fit": partial(fitting, "dhc-knn-sweep"),
    "svm fit": partial(fitting, "dhc-svm"),
    "logreg fit": partial(fitting, "fashion-feature-logreg"),
    "sprint epoch": sprint_epoch,
    "sprint prediction": predicting,
    "blending": blending,
}


def main(arguments: list[str]) -> None:
    axes = parse(arguments)
    sizes = list(dict.fromkeys(size for axis in axes for size in growing(axes, axis)))
    costs = measure_all(sizes)
    for axis in axes:
        print(f"\n{tables(axis, growing(axes, axis), costs)}")


def parse(arguments: list[str]) -> dict[str, list[int]]:
    """The values of each field of ``Size``."""
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument("--images", type=positive, nargs="+", default=[1000, 2000, 4000, 8000], metavar="N")
    parser.add_argument("--sides", type=positive, nargs="+", default=[16, 32, 64, 128], metavar="PX", dest="side")
    parser.add_argument("--classes", type=positive, nargs="+", default=[3, 10, 100, 1000], metavar="C")
    options = parser.parse_args(arguments)
    axes = {axis: getattr(options, axis) for axis in DIMENSIONS}
    for axis, values in axes.items():
        if len(set(values)) < 2:
            parser.error(f"one value of {axis} shows no growth; give two or more")
    return axes


def growing(axes: dict[str, list[int]], axis: str) -> list[Size]:
    """One size for each value of ``axis``, all else being at its second value."""
    base = Size(**{name: values[1] for name, values in axes.items()})
    return [replace(base, **{axis: value}) for value in axes[axis]]


def measure_all(sizes: Sequence[Size]) -> dict[Size, dict[str, Cost | None]]:
    """The cost of every measure at every size; None where it would hold too much memory."""
    costs = {}
    with Progress(total=len(sizes) * len(MEASURES), unit="measure") as bar:
        for size in sizes:
            with tempfile.TemporaryDirectory() as folder:
                sample = Sample(Path(folder), size)
                in_own_process(sample.draw)
                costs[size] = {}
                for name in MEASURES:
                    bar.set_description(f"{size.images} images, {size.side} px, {size.classes} classes: {name}")
                    costs[size][name] = in_own_process(measure, name, sample)
                    bar.update()
    return costs


def in_own_process(work: Callable[..., Result], *arguments: object) -> Result:
    """What ``work`` returns in a process that has imported everything and computed nothing."""
    with ProcessPoolExecutor(1, get_context(START_METHOD)) as pool:
        return pool.submit(work, *arguments).result()


def measure(name: str, sample: Sample) -> Cost | None:
    """None where it would hold more than ``MOST_MEMORY``."""
    limit_memory(MOST_MEMORY)
    try:
        with redirect_stderr(StringIO()):  # its bars would write over ours
            work = MEASURES[name](sample)
            before = peak_memory()
            _, seconds = timed(work)
    except MemoryError:
        return None
    return Cost(seconds, max(1, peak_memory() - before))


def tables(axis: str, sizes: Sequence[Size], costs: dict[Size, dict[str, Cost | None]]) -> str:
    """Seconds and megabytes of all measures as one field of the sizes grows."""
    values = [getattr(size, axis) for size in sizes]
    units = [value ** DIMENSIONS[axis] for value in values]
    written = []
    for kind, layout in (("seconds", "{:.2f}"), ("megabytes", "{:.0f}")):
        header = (f"{kind} by {axis}", *(f"{value:,}" for value in values), "exponent")
        by_name = {name: [getattr(costs[size][name], kind, None) for size in sizes] for name in MEASURES}
        rows = [(name, *cells(units, numbers, layout)) for name, numbers in by_name.items()]
        written.append(text_table(header, rows))
    return "\n\n".join(written)


def cells(units: Sequence[int], numbers: Sequence[float | None], layout: str) -> list[str]:
    """The numbers, a dash for None, and the exponent of their growth with ``units`` where two of them are known."""
    known = [(unit, number) for unit, number in zip(units, numbers, strict=True) if number is not None]
    fitted = f"{exponent(*zip(*known, strict=True)):.2f}" if len(known) > 1 else "-"
    return [*("-" if number is None else layout.format(number) for number in numbers), fitted]


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """p of ``cost ~ size ** p``: the slope of the straight line through the logarithms, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


if __name__ == "__main__":
    run_main(main)
