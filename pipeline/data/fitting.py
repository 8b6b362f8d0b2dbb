"""Brings images of any size and aspect ratio to one size: squashed, cropped or padded."""

from typing import Literal

import cv2
import numpy as np

Size = tuple[int, int]  # height, width in pixels
Fit = Literal["squash", "crop", "pad"]

LARGE = 128  # pixels; images with a longer side are resized the fast way
KEPT = 0.75  # of each side, at least, when an image is cropped; what is still too long is squashed
FLAT = 10  # levels by which a pixel of the border may differ from the border's colour


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The image as uint8 ``[height, width, 3]``; averaging shrinks a side, cubic interpolation enlarges it."""
    shrunk = min(image.shape[0], height), min(image.shape[1], width)
    if shrunk != image.shape[:2]:
        image = _shrunk(image, *shrunk)
    if shrunk != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    return image


def _shrunk(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The image at a smaller size, by area averaging.

    A large image is halved as often as possible, then interpolated linearly, which is eight times as fast.
    """
    is_large = max(image.shape[:2]) > LARGE
    while is_large and image.shape[0] >= 2 * height and image.shape[1] >= 2 * width:
        rows, columns = image.shape[0] // 2, image.shape[1] // 2
        image = cv2.resize(image[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA)
    if image.shape[:2] == (height, width):
        return image
    is_near = image.shape[0] < 2 * height and image.shape[1] < 2 * width
    method = cv2.INTER_LINEAR if is_large and is_near else cv2.INTER_AREA
    return cv2.resize(image, (width, height), interpolation=method)


def fitted(image: np.ndarray, size: Size, fit: Fit) -> np.ndarray:
    """The image as uint8 ``[*size, 3]``.

    squash: each side by itself. crop: the central part that has the ratio of ``size``, but at least KEPT of each side.
    pad: all of the image in its own ratio, in the middle of a canvas in the colour of its border.
    """
    if image.shape[:2] == size:
        return image
    if fit == "pad":
        return _padded(image, size)
    return resize(_cropped(image, size) if fit == "crop" else image, *size)


def _cropped(image: np.ndarray, size: Size) -> np.ndarray:
    height, width = image.shape[:2]
    tall = min(height, round(max(width * size[0] / size[1], KEPT * height)))
    wide = min(width, round(max(height * size[1] / size[0], KEPT * width)))
    top, left = (height - tall) // 2, (width - wide) // 2
    return image[top : top + tall, left : left + wide]


def _padded(image: np.ndarray, size: Size) -> np.ndarray:
    height, width = image.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    inner = resize(image, max(1, round(height * scale)), max(1, round(width * scale)))
    canvas = np.full((*size, 3), border_colour(inner), np.uint8)
    top, left = (size[0] - inner.shape[0]) // 2, (size[1] - inner.shape[1]) // 2
    canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return canvas


def border_colour(image: np.ndarray) -> np.ndarray:
    """The median colour of the outermost pixels, uint8 ``[3]``."""
    return np.median(_border(image), axis=0).astype(np.uint8)


def flat_border(image: np.ndarray) -> float:
    """The share, in [0, 1], of the outermost pixels whose colour is the border's: near 1 in drawings and scans."""
    distance = np.abs(_border(image).astype(np.int16) - border_colour(image)).max(axis=1)
    return float((distance <= FLAT).mean())


def _border(image: np.ndarray) -> np.ndarray:
    """The outermost pixels, uint8 ``[n, 3]``."""
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
