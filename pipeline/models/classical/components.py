"""Principal components: a few values per image that replace its pixels if all pixels do not fit in memory."""

import numpy as np
from sklearn.decomposition import TruncatedSVD

COMPONENTS = 256
SAMPLE = 5_000  # images that the components are fitted to; more images hardly change them


def sample_size(values: int, memory: float) -> int:
    """The number of images to fit components to. values: of each image; memory: bytes available."""
    return max(2, min(SAMPLE, int(memory / (16 * values))))


def principal_components(rows: np.ndarray, seed: int = 0) -> np.ndarray:
    """The p orthonormal directions, float32 ``[D, p]``, that preserve the most of ``rows``, float32 ``[n, D]``.

    p is the smallest of ``COMPONENTS``, n and D. The rows are not centred, so ``rows @ components`` has nearly the same
    inner products as ``rows``. For standardised values the directions are the principal components.
    Halko, Martinsson and Tropp, Finding structure with randomness, 2011.
    """
    count = min(COMPONENTS, *rows.shape)
    decomposition = TruncatedSVD(count, random_state=seed).fit(rows)
    return np.ascontiguousarray(decomposition.components_.T, dtype=np.float32)


def components_cost(images: int, values: int, memory: float) -> float:
    """Work of fitting components and projecting the images, in the unit of ``Classifier.cost``. memory: bytes."""
    return COMPONENTS * values * (30 * sample_size(values, memory) + 2 * images) + 600 * images * values
