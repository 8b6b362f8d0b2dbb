"""Images in the plane: features of a sample of all splits, brought to two dimensions, where alike ones lie together."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from competition.errors import UserError
from competition.spec import Split
from pipeline.data.augment import resized
from pipeline.data.decode import UnreadableImage, decode_bytes, read_file
from pipeline.data.fitting import Fit, Size, fitted
from pipeline.models.networks.lite0 import Lite0
from pipeline.models.networks.pretrained import lite0_features, output_layer, start_from
from pipeline.models.networks.weights import LITE0, at_hand, load_weights
from pipeline.report.context import ReportContext
from pipeline.report.looked_at import Looker, lookers
from pipeline.runtime.time_limit import time_limit

MOST = 1500  # images
AT_ONCE = 64  # images in a network
SHARE = 0.3  # of the time that the report may take, for the features of lite0
# Pixels a side: lite0 sees the images at LEAST_SIDE to SIDE; no image is read at a larger size than SIDE
LEAST_SIDE, SIDE = 64, 96
SMALL = 16  # pixels a side of the thumbnails that are compared where there is no network
COMPONENTS = 50  # principal components that distances are measured in
PERPLEXITY = 30.0  # of t-SNE: about the number of neighbours that count


@dataclass(frozen=True, eq=False)
class Sample:
    """Some images of all splits. splits: the split of each, str ``[N]``; rows: in that split, int64 ``[N]``.

    images: uint8 ``[N, H, W, 3]``; features: float32 ``[N, D]``; source: where they come from, in words.
    """

    splits: np.ndarray
    rows: np.ndarray
    images: np.ndarray
    features: np.ndarray
    source: str


def sample(context: ReportContext, most: int = MOST, seed: int = 0) -> Sample:
    """At most ``most`` readable images, drawn from train, validation and test in about equal parts."""
    splits = {"train": context.train, "validation": context.validation, "test": context.competition.test}
    counts = shared_out([len(split) for split in splits.values()], most)
    generator = np.random.default_rng(seed)
    drawn = {
        name: np.sort(generator.permutation(len(split))[:count])
        for (name, split), count in zip(splits.items(), counts, strict=True)
    }
    names = np.repeat(list(drawn), [len(rows) for rows in drawn.values()])
    rows = np.concatenate(list(drawn.values()))
    seers = lookers(context)
    images, readable = read_images(_paths(splits, drawn), *_shape(context, seers))
    features, source = _features(images, seers, context)
    return Sample(names[readable], rows[readable], images, features, source)


def shared_out(counts: Sequence[int], most: int) -> list[int]:
    """How many of each are drawn, at most ``most`` in all: equally many, but more where others have fewer."""
    shares = [0] * len(counts)
    for left, place in zip(range(len(counts), 0, -1), np.argsort(counts, kind="stable").tolist(), strict=True):
        shares[place] = min(counts[place], (most - sum(shares)) // left)
    return shares


def _paths(splits: dict[str, Split], drawn: dict[str, np.ndarray]) -> list[Path]:
    return [splits[name].paths[row] for name, rows in drawn.items() for row in rows]


def _shape(context: ReportContext, seers: Sequence[Looker]) -> tuple[Size, Fit]:
    """The size and fit at which the images are read: as a network sees them, at most ``SIDE`` pixels a side."""
    run = seers[0].run if seers else context.ranked[0]
    scale = min(1.0, SIDE / max(run.image_shape))
    height, width = (max(1, round(scale * side)) for side in run.image_shape)
    return (height, width), run.image_fit


def read_images(paths: Sequence[Path], size: Size, fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """The readable images, uint8 ``[n, *size, 3]``, and their places among the paths, int64 ``[n]``."""
    with ThreadPoolExecutor() as pool:
        read = list(pool.map(partial(_read, size=size, fit=fit), paths))
    there = [place for place, image in enumerate(read) if image is not None]
    images = np.array([read[place] for place in there], np.uint8)
    return images.reshape(-1, *size, 3), np.array(there, np.int64)


def _read(path: Path, size: Size, fit: Fit) -> np.ndarray | None:
    with suppress(UnreadableImage, OSError):
        return fitted(decode_bytes(read_file(path), least=size), size, fit)
    return None


def _features(images: np.ndarray, seers: Sequence[Looker], context: ReportContext) -> tuple[np.ndarray, str]:
    """Features and their source: of lite0 if its weights are at hand, of a network of the blend, or the pixels."""
    if at_hand(LITE0, context.weights):
        end = time.monotonic() + SHARE * context.drawing_seconds
        with suppress(UserError), time_limit(end):  # for slow machines; weights may be damaged, or another network's
            return _of_lite0(images, context), "features of EfficientNet-Lite0, which learned from ImageNet"
    for looker in seers:
        if (found := last_layer(looker, images)) is not None:
            return found, f"the last layer of {looker.name}"
    return resized(images, SMALL, SMALL).reshape(len(images), -1).astype(np.float32), "their pixels"


def _of_lite0(images: np.ndarray, context: ReportContext) -> np.ndarray:
    network = Lite0(1000)
    start_from(network, load_weights(LITE0, context.weights), "ImageNet weights of lite0", head="fc")
    side = min(SIDE, max(LEAST_SIDE, *images.shape[1:3]))
    return lite0_features(network.eval(), images, context.device, "map", (side, side))


def last_layer(looker: Looker, images: np.ndarray) -> np.ndarray | None:
    """What the network's last linear layer is given, float32 ``[N, D]``; None if it has no such layer."""
    model = looker.model
    if not any(isinstance(module, nn.Linear) for module in model.network.modules()):
        return None
    seen: list[torch.Tensor] = []
    layer = model.network.get_submodule(output_layer(model.network))
    handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(1).float().cpu()))
    try:
        with torch.inference_mode():
            model.network.eval()
            for start in range(0, len(images), AT_ONCE):
                batch = resized(images[start : start + AT_ONCE], *model.input_size)
                model.network(model.normalisation(batch, model.device))
    finally:
        handle.remove()
    return torch.cat(seen).numpy() if len(seen) * AT_ONCE >= len(images) else None


def in_plane(parts: np.ndarray, seed: int = 0) -> tuple[np.ndarray, str]:
    """Points of float32 ``[N, D]`` in the plane, float64 ``[N, 2]`` in 0-1, and the name of the method.

    It is t-SNE (L. van der Maaten and G. Hinton, JMLR 9, 2008), or PCA of too few points for that.
    """
    if len(parts) < 4 or parts.shape[1] < 2 or not parts.std():
        return _in_unit_square(np.pad(parts, ((0, 0), (0, 2)))[:, :2]), "PCA"
    from sklearn.manifold import TSNE  # here, since the import is slow

    tsne = TSNE(init="pca", perplexity=min(PERPLEXITY, (len(parts) - 1) / 3), random_state=seed)
    with threadpool_limits(1):  # its threads wait for each other more than they work
        return _in_unit_square(tsne.fit_transform(parts)), "t-SNE"


def principal(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """The first principal components of standardised features, float32 ``[N, at most COMPONENTS]``."""
    from sklearn.decomposition import PCA

    spread = features.std(axis=0)
    if not spread.any():  # a single image, or equal ones
        return np.zeros((len(features), 1), np.float32)
    scaled = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return PCA(min(COMPONENTS, *scaled.shape), random_state=seed).fit_transform(scaled).astype(np.float32)


def _in_unit_square(places: np.ndarray) -> np.ndarray:
    low, high = places.min(axis=0), places.max(axis=0)
    return (places - low) / np.where(high > low, high - low, 1)
