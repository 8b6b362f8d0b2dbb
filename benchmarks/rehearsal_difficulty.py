"""How hard is the rehearsal? Validation accuracy of four kinds of classifiers, each trained on the whole of train.

    python competition/rehearsal.py draw
    python benchmarks/rehearsal_difficulty.py [--folder DIR] [--epochs 30] [--width 1]

KNN, naive Bayes and SVM see standardised pixels; the CNN, that of the recipe dhc-cnn32 (``--width`` multiplies its
channels), sees 32x32 and learns with Adam on a one-cycle schedule, flips and shifts. KNN's k, the SVM's kernel
and C are the best on validation; the CNN's accuracy is that after its last epoch.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import nn

from competition.rehearsal import DATA_FOLDER, NAME
from competition.spec import Split
from competition.tables import load_competition


def images_of(split: Split) -> np.ndarray:
    return np.array([cv2.imread(str(path)) for path in split.paths])


def knn(x: np.ndarray, labels: np.ndarray, val_x: np.ndarray, val_labels: np.ndarray) -> tuple[float, str]:
    distances = (x**2).sum(1) - 2 * val_x @ x.T
    neighbours = labels[np.argsort(distances, axis=1)[:, :19]]
    votes = np.zeros((len(val_x), labels.max() + 1))
    accuracies = []
    for nearest in neighbours.T:
        votes[np.arange(len(val_x)), nearest] += 1
        accuracies.append((votes.argmax(1) == val_labels).mean())
    return max(accuracies), f"k = {1 + int(np.argmax(accuracies))}"


def naive_bayes(x, labels, val_x, val_labels) -> tuple[float, str]:
    return GaussianNB().fit(x, labels).score(val_x, val_labels), ""


def svm(x, labels, val_x, val_labels) -> tuple[float, str]:
    """All four machines of the recipe dhc-svm from one matrix of inner products."""
    inner, val_inner = x @ x.T, val_x @ x.T
    norms, gamma = inner.diagonal().copy(), 1 / (x.shape[1] * x.var())
    rbf = np.exp(-gamma * (norms[:, None] + norms - 2 * inner))
    val_rbf = np.exp(-gamma * ((val_x**2).sum(1)[:, None] + norms - 2 * val_inner))
    found = {}
    for kernel, ours, theirs in (("linear", inner, val_inner), ("rbf", rbf, val_rbf)):
        for c in (3, 5):
            machine = SVC(C=c, kernel="precomputed", cache_size=1000).fit(ours, labels)
            found[machine.score(theirs, val_labels)] = f"{kernel}, C = {c}"
    return max(found), found[max(found)]


def cnn_network(classes: int, width: int) -> nn.Sequential:
    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3), nn.BatchNorm2d(outputs), nn.ReLU()]

    a, b, c = 32 * width, 64 * width, 128 * width
    return nn.Sequential(
        *block(3, a), nn.MaxPool2d(2), *block(a, b), nn.MaxPool2d(2), *block(b, c), nn.Flatten(),
        nn.Linear(16 * c, 256), nn.ReLU(), nn.Linear(256, classes),
    )  # fmt: skip


def flipped_and_shifted(x: torch.Tensor) -> torch.Tensor:
    mirrored = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
    down, right = torch.randint(7, (2,)).tolist()
    return F.pad(mirrored, (3, 3, 3, 3), mode="reflect")[:, :, down : down + 32, right : right + 32]


def cnn(images, labels, val_images, val_labels, epochs: int, width: int) -> tuple[float, str]:
    def tensor(pictures: np.ndarray) -> torch.Tensor:
        small = F.avg_pool2d(torch.from_numpy(pictures).permute(0, 3, 1, 2).float(), 2)
        return (small / 127.5 - 1).contiguous(memory_format=torch.channels_last)

    torch.manual_seed(0)
    x, y, batch = tensor(images), torch.from_numpy(labels), 64
    network = cnn_network(int(y.max()) + 1, width).to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters())
    steps = epochs * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch)[: len(x) // batch]:
            loss = F.cross_entropy(network(flipped_and_shifted(x[rows])), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    network.eval()
    with torch.inference_mode():
        predicted = network(tensor(val_images)).argmax(1).numpy()
    return (predicted == val_labels).mean(), f"{epochs} epochs, width {width}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=DATA_FOLDER / NAME)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--width", type=int, default=1)
    parser.add_argument("--only", choices=("knn", "naive_bayes", "svm", "cnn"))
    given = parser.parse_args()
    competition = load_competition(given.folder)
    train, val = competition.train, competition.val
    images, val_images = images_of(train), images_of(val)
    scaler = StandardScaler()
    x = scaler.fit_transform(images.reshape(len(images), -1).astype(np.float32))
    val_x = scaler.transform(val_images.reshape(len(val_images), -1).astype(np.float32))
    kinds = {
        "knn": lambda: knn(x, train.labels, val_x, val.labels),
        "naive_bayes": lambda: naive_bayes(x, train.labels, val_x, val.labels),
        "svm": lambda: svm(x, train.labels, val_x, val.labels),
        "cnn": lambda: cnn(images, train.labels, val_images, val.labels, given.epochs, given.width),
    }
    for kind in [given.only] if given.only else kinds:
        begun = time.perf_counter()
        accuracy, choice = kinds[kind]()
        print(f"{kind:12} {accuracy:.3f}  {time.perf_counter() - begun:5.0f} s  {choice}", flush=True)


if __name__ == "__main__":
    main()
