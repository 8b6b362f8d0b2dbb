"""Nearly featureless pictures, such as calm seas: compression leaves too little of their thumbnails to look them up.

They are few, and those that show the same picture have the same colour, so they are compared one with another.
"""

import numpy as np

from pipeline.findings.alignment import unit, whole
from pipeline.findings.joined import Joined
from pipeline.findings.look_up import Candidates

FEATURELESS = 1.0  # levels: the contrast of such a picture is less
NEXT = 50  # pictures, the next ones by brightness, that each is compared with
SAME_COLOUR = 2  # levels between mean colours, at most
COUNT, LEAST_ALIKE = 4, 0.5  # coefficients a side of thumbnails, and the cosine between them
MOST = 20_000  # pairs, the most alike ones


def featureless_pairs(images: Joined, rows: np.ndarray) -> Candidates:
    """Pairs of nearly featureless pictures among these rows that may show the same, the lower row first."""
    rows = rows[images.fingerprints("contrast", rows) < FEATURELESS]
    rows = rows[np.argsort(images.fingerprints("brightness", rows), kind="stable")]
    colours = images.fingerprints("colours", rows).astype(np.int16)
    coarse = unit(whole(images.fingerprints("thumbnails", rows).astype(np.float32), COUNT))
    places, cosines = [np.zeros((2, 0), np.int64)], [np.zeros(0, np.float32)]
    for step in range(1, min(NEXT + 1, len(rows))):
        alike = np.einsum("mk,mk->m", coarse[step:], coarse[:-step])
        is_same = np.abs(colours[step:] - colours[:-step]).max(axis=1) <= SAME_COLOUR
        kept = np.flatnonzero(is_same & (alike >= LEAST_ALIKE))
        places.append(np.stack([kept, kept + step]))
        cosines.append(alike[kept])
    best = np.argsort(-np.concatenate(cosines), kind="stable")[:MOST]
    first, second = np.sort(rows[np.concatenate(places, axis=1)[:, best]], axis=0)
    return Candidates(first, second, np.zeros((len(best), 4), np.float32), np.zeros(len(best), np.int64))
