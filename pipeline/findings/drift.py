"""How the test images differ from the labelled ones: adversarial validation, as Kaggle calls it.

A classifier that tells test images from labelled ones is cross-validated on what the fingerprints say. If both were
drawn from the same images, it can only guess.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.data.fingerprints import SIDE
from pipeline.findings.finding import Finding
from pipeline.findings.pictures import FACTS, Pictures
from pipeline.runtime.time_limit import check_time

DRAWN = 2_000  # images of each side, at most
FEWEST = 50  # images of each side; of fewer, nothing can be told
FOLDS, SEED = 5, 0
PARTS = 6  # a side of the thumbnails that the classifier sees
SURE = 3.0  # standard errors
LEAST_AUC = 0.6  # that the AUC must surely exceed to be told; of a single fact, LEAST_FACT
LEAST_FACT = 0.55
NAMED = 2  # facts
SHOWN = 200  # images of each side in the table
QUANTILES = {"5 %": 0.05, "median": 0.5, "95 %": 0.95}


@dataclass(frozen=True)
class Separation:
    """How well values tell test images from labelled ones.

    auc: the probability that a test image has a higher value than a labelled one; 0.5 if the values say nothing.
    error: its standard error.
    """

    auc: float
    error: float

    def surely_exceeds(self, least: float) -> bool:
        """Whether the values, or their opposites, surely separate better than that AUC."""
        return max(self.auc, 1 - self.auc) - SURE * self.error > least


def separation(labelled: np.ndarray, test: np.ndarray) -> Separation:
    """The AUC of values, float ``[n]`` and ``[m]``, with its standard error.

    DeLong, DeLong and Clarke-Pearson, Comparing the Areas under Two or More Correlated Receiver Operating
    Characteristic Curves, 1988.
    """
    above = _share_below(labelled, test)
    below = 1 - _share_below(test, labelled)
    return Separation(float(above.mean()), float(np.sqrt(above.var() / len(test) + below.var() / len(labelled))))


def _share_below(values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The share of the values below each of the points, float64; equal ones count half."""
    ordered = np.sort(values)
    return (np.searchsorted(ordered, points) + np.searchsorted(ordered, points, side="right")) / (2 * len(values))


def drift(labelled: Pictures, test: Pictures) -> list[Finding]:
    """What train, val and test look like side by side, and whether the test images differ from the labelled ones.

    The table of the second finding has the images that the classifier takes most surely for test images: those of the
    test, which are the least like the labelled ones, then labelled ones, which are the most like those of the test.
    """
    seen, other = _drawn(labelled), _drawn(test)
    if min(len(seen), len(other)) < FEWEST:
        return [Finding("splits", "", described(labelled, test)), Finding("drift", "", pd.DataFrame())]
    facts = {name: separation(measure(seen.fingerprints), measure(other.fingerprints)) for name, measure in FACTS.items()}
    scores = _out_of_fold(_features(seen), _features(other))
    overall = separation(scores[: len(seen)], scores[len(seen) :])
    splits = described(labelled, test)
    splits["AUC of train and val beside test"] = [facts[name].auc for name in splits["fact"]]
    found = [Finding("splits", "", splits)]
    if not overall.surely_exceeds(LEAST_AUC):
        return [*found, Finding("drift", "", pd.DataFrame())]
    surest = pd.concat([_surest(other, scores[len(seen) :]), _surest(seen, scores[: len(seen)])], ignore_index=True)
    return [*found, Finding("drift", _told(overall, facts, seen, other), surest)]


def described(labelled: Pictures, test: Pictures) -> pd.DataFrame:
    """Quantiles of the facts of train, val and test, a row for each fact."""
    ...
