"""What the best network of the blend looked at, in pictures: Grad-CAM laid over them."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
import torch

from pipeline.data.augment import resized
from pipeline.data.decode import UnreadableImage, decode
from pipeline.data.fitting import fitted, resize
from pipeline.models.neural.grad_cam import grad_cam
from pipeline.models.neural.network import NeuralNetwork
from pipeline.report.context import ReportContext
from pipeline.report.run_record import left_out
from pipeline.runtime.sealed import DamagedFile
from pipeline.training.runs import Run, RunFolder

HEAT = 0.55  # opacity of the hottest places
COLOURS = "inferno"


@dataclass(frozen=True, eq=False)
class Looker:
    """A network of the blend, and how it sees images. name: of its run."""

    name: str
    run: Run
    model: NeuralNetwork

    def sees(self, path: Path) -> np.ndarray | None:
        """The image as the network is given it, uint8 ``[H, W, 3]``; None if it cannot be read."""
        try:
            return fitted(decode(path), self.run.image_shape, self.run.image_fit)
        except UnreadableImage:
            return None

    def heat(self, images: np.ndarray, weights: np.ndarray) -> np.ndarray | None:
        """Grad-CAM of images that it sees, float32 ``[N, h, w]`` in 0-1; None if the network has no map.

        weights: of its outputs, float ``[N, T * K]``.
        """
        model = self.model
        inputs = model.normalisation(resized(images, *model.input_size), model.device)
        return grad_cam(model.network, inputs, torch.from_numpy(weights.astype(np.float32)).to(model.device))


@lru_cache(maxsize=1)  # as several sections ask them
def lookers(context: ReportContext) -> tuple[Looker, ...]:
    """The networks of the blend whose first model can be asked, the member with the highest weight first."""
    members = sorted(context.blend.powers, key=lambda name: -context.blend.powers[name])
    runs = [context.runs[name] for name in members if context.runs[name].recipe.is_network]
    return tuple(each for run in runs for each in _looker(run, context))


def _looker(run: Run, context: ReportContext) -> list[Looker]:
    """One or none: a network on features sees no image."""
    if run.recipe.features is not None:
        return []
    folder = RunFolder(context.runs_folder / run.name).fold(run.fold_folders[0])
    try:
        model = run.recipe.load(folder.path, context.device)
    except DamagedFile:
        return left_out(folder.weights, [])
    return [Looker(run.name, run, model)] if isinstance(model, NeuralNetwork) else []


def overlaid(image: np.ndarray, heat: np.ndarray, side: int) -> np.ndarray:
    """The image, grey, with the heat over it, uint8 ``[side, side, 3]`` on white. heat: float32 ``[h, w]`` in 0-1."""
    scale = side / max(image.shape[:2])
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    grey = resize(image, height, width).mean(axis=2, keepdims=True)
    warm = resize(np.repeat((heat * 255).astype(np.uint8)[:, :, None], 3, axis=2), height, width)[:, :, 0] / 255
    colours = matplotlib.colormaps[COLOURS](warm)[:, :, :3] * 255
    opacity = HEAT * np.sqrt(warm)[:, :, None]
    page = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    page[top : top + height, left : left + width] = (grey * (1 - opacity) + colours * opacity).astype(np.uint8)
    return page
