"""How the test images differ from the labelled ones: adversarial validation, as it is known on Kaggle.

A classifier that tells test images from labelled ones by their fingerprints is cross-validated. If both were drawn from
the same images, it can only guess.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.data.fingerprints import SIDE
from pipeline.findings.finding import Finding
from pipeline.findings.pictures import FACTS, Pictures
from pipeline.runtime.time_limit import in_time

DRAWN = 2_000  # labelled images, and test images, at most
FEWEST = 50  # of each; fewer tell nothing
FOLDS, SEED = 5, 0
PARTS = 6  # a side of the thumbnails that the classifier sees, which SIDE can be divided by
SURE = 3.0  # standard errors
# What AUCs must surely exceed to be told: the classifier's, and that of a single fact. It takes more than a trace.
LEAST_AUC, LEAST_FACT = 0.6, 0.55
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
        """Whether the values, or their negatives, surely have a higher AUC."""
        return max(self.auc, 1 - self.auc) - SURE * self.error > least


def separation(labelled: np.ndarray, test: np.ndarray) -> Separation:
    """The AUC of values, float ``[n]`` and ``[m]``, and its standard error.

    DeLong, DeLong and Clarke-Pearson, Comparing the Areas under Two or More Correlated Receiver Operating
    Characteristic Curves, Biometrics 44, 1988.
    """
    above, below = _shares_below(labelled, test), _shares_below(test, labelled)
    error = np.sqrt(above.var() / len(test) + below.var() / len(labelled))
    return Separation(float(above.mean()), float(error))


def _shares_below(values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The share of the values below each of the points, float64; an equal one counts half."""
    ordered = np.sort(values)
    return (np.searchsorted(ordered, points) + np.searchsorted(ordered, points, side="right")) / (2 * len(values))


def drift(labelled: Pictures, test: Pictures) -> list[Finding]:
    """The facts of train, val and test side by side, and whether test images differ from labelled ones.

    The table of the second finding begins with the test images that are least like labelled ones; then come the
    labelled images that are most like those of the test. ``test`` is how likely the classifier takes each for a test
    image.
    """
    splits = described(labelled, test)
    if min(len(labelled.readable), len(test.readable)) < FEWEST:
        return [Finding("splits", "", splits), Finding("drift", "", pd.DataFrame())]
    seen, other = _drawn(labelled), _drawn(test)
    facts = {
        name: separation(measure(seen.fingerprints), measure(other.fingerprints)) for name, measure in FACTS.items()
    }
    scores = np.split(_out_of_fold(_features(seen), _features(other)), [len(seen)])
    overall = separation(*scores)
    splits["AUC"] = [each.auc for each in (*facts.values(), overall)]
    is_told = overall.surely_exceeds(LEAST_AUC)
    surest = pd.concat([_surest(other, scores[1]), _surest(seen, scores[0])], ignore_index=True)
    told = _told(overall, facts, splits) if is_told else ""
    return [Finding("splits", "", splits), Finding("drift", told, surest if is_told else pd.DataFrame())]


def described(labelled: Pictures, test: Pictures) -> pd.DataFrame:
    """Quantiles of each fact in train, val and test: a row for each fact, and a last row for all facts together."""
    seen, trained = labelled.readable, np.searchsorted(labelled.readable, labelled.trained)
    parts = {"train": (labelled, seen[:trained]), "val": (labelled, seen[trained:]), "test": (test, test.readable)}
    table, shares = pd.DataFrame({"fact": list(FACTS)}), list(QUANTILES.values())
    for name, (pictures, rows) in parts.items():
        if len(rows):
            found = [np.quantile(measure(pictures.fingerprints)[rows], shares) for measure in FACTS.values()]
            table[[f"{name}, {quantile}" for quantile in QUANTILES]] = np.array(found)
    table.loc[len(table), "fact"] = "all, and thumbnails"
    return table


def _drawn(pictures: Pictures) -> Pictures:
    """Some of the readable images."""
    rows = np.random.default_rng(SEED).permutation(pictures.readable)[:DRAWN]
    return pictures.take(np.sort(rows))


def _features(pictures: Pictures) -> np.ndarray:
    """What the classifier sees of each image, float32 ``[n, D]``: the facts, and a coarse thumbnail."""
    found, step = pictures.fingerprints, SIDE // PARTS
    parts = found.thumbnails.reshape(-1, PARTS, step, PARTS, step).mean(axis=(2, 4), dtype=np.float32)
    facts = [measure(found)[:, None] for measure in FACTS.values()]
    return np.concatenate([*facts, parts.reshape(len(parts), -1)], axis=1)


def _out_of_fold(labelled: np.ndarray, test: np.ndarray) -> np.ndarray:
    """How likely each image is a test image, by classifiers that were trained on others; first the labelled images."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # imported here because it is slow to import
    from sklearn.model_selection import StratifiedKFold

    features = np.concatenate([labelled, test])
    is_test = np.arange(len(features)) >= len(labelled)
    scores = np.empty(len(features))
    for learnt, unseen in in_time(StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(features, is_test)):
        classifier = HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=8, random_state=SEED)
        scores[unseen] = classifier.fit(features[learnt], is_test[learnt]).predict_proba(features[unseen])[:, 1]
    return scores


def _surest(pictures: Pictures, scores: np.ndarray) -> pd.DataFrame:
    """The images with the highest scores."""
    rows = np.argsort(-scores, kind="stable")[:SHOWN]
    return pictures.named(rows).assign(test=scores[rows])


def _told(overall: Separation, facts: dict[str, Separation], splits: pd.DataFrame) -> str:
    ordered = sorted(facts, key=lambda name: -abs(facts[name].auc - 0.5))
    medians = splits.set_index("fact")[["test, median", "train, median"]]
    named = [
        "{} {:.4g} in test, {:.4g} in train".format(name, *medians.loc[name])
        for name in ordered[:NAMED]
        if facts[name].surely_exceeds(LEAST_FACT)
    ]
    by = f" ({'; '.join(named)})" if named else ""
    return (
        f"test images differ from labelled ones, which a classifier tells apart with an AUC of {overall.auc:.2f}{by}: "
        "expect a lower score than on validation; --pseudo-labels learns from the test images"
    )
