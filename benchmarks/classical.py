"""Our support vector machine and nearest neighbours against plain scikit-learn: same answers, what time?

    python benchmarks/classical.py [--images N]

Both sides take the recipes' own grid and numbers of neighbours, the same generated images, and choose the best
on the same validation images. Prints a line a model: seconds of either, their ratio, equal predictions.
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

from benchmarks.measuring import draw_images, timed
from pipeline.models.classical import CLASSIFIERS
from pipeline.models.recipe import RECIPES, load_recipe

CLASSES = 10
SIDE = 32


def scikit_learn(
    candidates: list[ClassifierMixin],
    images: np.ndarray,
    labels: np.ndarray,
    validation: np.ndarray,
    validation_labels: np.ndarray,
) -> np.ndarray:
    """What the best of the candidates predicts, each fitted on its own to the standardised pixels."""
    scaler = StandardScaler()
    x = scaler.fit_transform(images.reshape(len(images), -1).astype(np.float32))
    z = scaler.transform(validation.reshape(len(validation), -1).astype(np.float32))
    predictions = [candidate.fit(x, labels).predict(z) for candidate in candidates]
    return max(predictions, key=lambda predicted: (predicted == validation_labels).mean())


def compare(recipe: str, candidates: list[ClassifierMixin], sample: tuple[np.ndarray, ...]) -> None:
    chosen = load_recipe(RECIPES / f"{recipe}.toml").classifier
    model = CLASSIFIERS[chosen.name](CLASSES, **chosen.arguments)
    ours, seconds = timed(lambda: model.fit(*sample).predict_proba(sample[2]).argmax(axis=1))
    plain, plain_seconds = timed(lambda: scikit_learn(candidates, *sample))
    accuracy, equal = (ours == sample[3]).mean(), np.count_nonzero(ours == plain)
    print(
        f"{recipe:15} {seconds:7.2f} s, scikit-learn {plain_seconds:7.2f} s, {plain_seconds / seconds:5.1f} times "
        f"as fast; {equal} of {len(plain)} predictions equal, accuracy {accuracy:.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1200, help="training images (a quarter for validation)")
    images = parser.parse_args().images
    sample = (*draw_images(images, SIDE, CLASSES, seed=1), *draw_images(images // 4, SIDE, CLASSES, seed=2))
    grid = load_recipe(RECIPES / "dhc-svm.toml").classifier.arguments["grid"]
    neighbours = load_recipe(RECIPES / "dhc-knn-sweep.toml").classifier.arguments["neighbours"]
    compare("dhc-svm", [SVC(**point) for point in grid], sample)
    compare("dhc-knn-sweep", [KNeighborsClassifier(k, algorithm="brute") for k in neighbours], sample)


if __name__ == "__main__":
    main()
