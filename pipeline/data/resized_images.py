"""Training images at the size that a network trains at, kept on its device if they fit."""

from threading import Lock

import numpy as np
import torch
from torch import Tensor

from pipeline.data.augment import resized
from pipeline.data.cache import Images

IMAGES_AT_ONCE = 200


class ResizedImages:
    """Images that give batches at a size that changes only a few times during training.

    If all images fit into ``room`` bytes at that size, they are resized once and kept on the device. Otherwise each
    batch is resized when it is needed.
    """

    def __init__(self, images: Images, device: torch.device, room: int) -> None:
        self.images, self.device, self.room = images, device, room
        self._size: tuple[int, int] | None = None
        self._held: Tensor | None = None
        self._lock = Lock()  # several threads ask for batches

    def batch(self, rows: np.ndarray, height: int, width: int) -> np.ndarray | Tensor:
        """The given rows, uint8 ``[n, height, width, 3]``, as a tensor if all images are on the device."""
        with self._lock:
            if self._size != (height, width):
                self._held = None  # frees its memory first
                self._size, self._held = (height, width), self._hold(height, width)
        return resized(self.images[rows], height, width) if self._held is None else self._held[rows]

    def full(self, rows: np.ndarray) -> np.ndarray:
        """The given rows as they are cached, uint8 ``[n, H, W, 3]``: random crops are taken from these."""
        return self.images[rows]

    def _hold(self, height: int, width: int) -> Tensor | None:
        """All images at that size, on the device; None if they do not fit."""
        one = torch.from_numpy(resized(self.images[:1], height, width))
        if one.nbytes * len(self.images) > self.room:
            return None
        held = torch.empty((len(self.images), *one.shape[1:]), dtype=one.dtype, device=self.device)
        for start in range(0, len(held), IMAGES_AT_ONCE):
            rows = slice(start, start + IMAGES_AT_ONCE)
            held[rows] = torch.from_numpy(resized(self.images[rows], height, width))
        return held
