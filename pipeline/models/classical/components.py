"""Principal components: few values that say nearly what all pixels say, for images that memory does not hold."""

import numpy as np
from sklearn.decomposition import TruncatedSVD

COMPONENTS = 256
SAMPLE = 5_000  # images that tell the components; more hardly change them


def sample_size(values: int, memory: float) -> int:
    """How many images of that many values to fit components on, within that many bytes."""
    return max(2, min(SAMPLE, int(memory / (16 * values))))


def principal_components(rows: np.ndarray, seed: int = 0) -> np.ndarray:
    """The directions, float32 ``[D, p]`` and orthonormal, that keep most of float32 ``[n, D]``.

    p is ``COMPONENTS``, or the least of n and D. Rows are taken as they are, not centred, so that ``rows @
    components`` has about their inner products; of standardised values they are the principal components.
    Halko, Martinsson and Tropp, Finding structure with randomness, 2011.
    """
    count = min(COMPONENTS, *rows.shape)
    decomposition = TruncatedSVD(count, random_state=seed).fit(rows)
    return np.ascontiguousarray(decomposition.components_.T, dtype=np.float32)


def components_cost(images: int, values: int, memory: float) -> float:
    """Work of fitting components and of projecting that many images, in the unit of ``Classifier.cost``."""
    return COMPONENTS * values * (30 * sample_size(values, memory) + 2 * images) + 600 * images * values
