"""Copies of calm seas, of which compression leaves little, are proposed, and pictures of other colours are not."""

import cv2
import numpy as np

from competition.task import Task
from pipeline.findings.featureless import FEATURELESS, featureless_pairs
from pipeline.findings.joined import Joined
from tests.pipeline.findings.looked_at import labelled

SIDE, COUNT = 64, 20
COLOUR = np.array([30, 60, 90])


def seas(count: int, seed: int = 0) -> np.ndarray:
    """Faint smooth patterns with noise on one colour, uint8 ``[count, SIDE, SIDE, 3]``."""
    rng = np.random.default_rng(seed)
    coarse = [cv2.resize(rng.normal(0, 0.9, (4, 4)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for _ in range(count)]
    noise = rng.normal(0, 0.4, (count, SIDE, SIDE, 1))
    return np.rint(COLOUR + np.stack(coarse)[..., None] + noise).astype(np.uint8)


def compressed(image: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1], cv2.IMREAD_COLOR)


def pairs_among(images: np.ndarray) -> set[tuple[int, int]]:
    joined = Joined(Task((0, 1)), (labelled(images)[1],))
    assert (joined.every("contrast") < FEATURELESS).any()
    pairs = featureless_pairs(joined, np.arange(len(images)))
    return set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


def test_compressed_copies_are_among_the_pairs():
    originals = seas(COUNT)
    pairs = pairs_among(np.concatenate([originals, np.stack(list(map(compressed, originals)))]))
    found = [row for row in range(COUNT) if (row, row + COUNT) in pairs]
    assert len(found) >= 0.9 * COUNT
    assert len(pairs) < 0.3 * COUNT * (2 * COUNT - 1)  # of all


def test_pictures_of_other_colours_and_with_more_contrast_are_not():
    originals = seas(COUNT)
    stronger = (COLOUR + 3.0 * (originals - COLOUR)).clip(0, 255).astype(np.uint8)
    assert not pairs_among(np.concatenate([originals[:1], originals[:1] + np.array([0, 0, 9], np.uint8), stronger]))


def test_one_picture_alone_is_in_no_pair():
    assert pairs_among(seas(1)) == set()
