"""The functions behind the metrics, on NumPy: a bootstrap calls them hundreds of times.

truth and predicted are, by what a metric needs (see ``metrics.Metric``):

    labels        int64 ``[N]`` or, of several targets, ``[N, T]``; of several labels an image bool ``[N, T]``
    probabilities the same labels, and the probability of each of them, float ``[N]`` or ``[N, T]``
    scores        bool ``[N, L]``, and int64 ``[N, L]``: the rank of each score in its column, equal for equal scores
    sets          bool ``[N, L]``, both
    numbers       float ``[N, T]``, both
    grades        float ``[N]``, both
    ranking       int64 ``[N]`` or bool ``[N, L]``, and int64 ``[N, k]``: the likeliest labels, best first
    confidence    int64 ``[N]``, and float64 ``[N, 2]``: the likeliest label and its probability
"""

from collections.abc import Callable

import numpy as np

Curve = tuple[np.ndarray, np.ndarray]  # rates from 0 to 1, of false and of true positives


def accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """The share of images, or of pairs of image and target, that are right."""
    return float((predicted == truth).mean())


def error(truth: np.ndarray, predicted: np.ndarray) -> float:
    """The share that is wrong."""
    return 1 - accuracy(truth, predicted)


def balanced_accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """The mean over the classes that have images of the share predicted correctly; of several targets their mean."""
    return float(np.mean(_by_target(_mean_recall, truth, predicted)))


def weighted_recall(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> float:
    """The macro recall of each target, averaged with these weights."""
    return float(np.average(_by_target(_mean_recall, truth, predicted), weights=weights))


def f1_macro(truth: np.ndarray, predicted: np.ndarray) -> float:
    """The mean F1 of all classes or labels that occur, true or predicted; of several targets their mean."""
    if truth.dtype == bool:
        return _mean_f1(*_hits(truth, predicted, axis=0))
    return float(np.mean(_by_target(_macro_f1, truth, predicted)))


def f1_micro(truth: np.ndarray, predicted: np.ndarray) -> float:
    """The F1 of all pairs of image and label together; with one label an image, accuracy."""
    if truth.dtype != bool:
        return accuracy(truth, predicted)
    return _mean_f1(*(total.sum(keepdims=True) for total in _hits(truth, predicted, axis=0)))


def f1_samples(truth: np.ndarray, predicted: np.ndarray) -> float:
    """The mean over the images of the F1 of their labels; 0 where an image has none and none is predicted."""
    return _f_samples(truth, predicted, beta=1)


def f2_samples(truth: np.ndarray, predicted: np.ndarray) -> float:
    """The mean over the images of the F2 of their labels."""
    return _f_samples(truth, predicted, beta=2)


def f1_probabilistic(truth: np.ndarray, chances: np.ndarray) -> float:
    """F1 of the second class in which a probability counts as that share of a prediction."""
    is_second = truth.ravel() == 1
    second = np.where(is_second, chances.ravel(), 1 - chances.ravel())
    total = second.sum() + is_second.sum()
    return float(2 * second[is_second].sum() / total) if total else 0.0


def log_loss(truth: np.ndarray, chances: np.ndarray) -> float:
    """Log loss in nats; of several labels or targets the mean of theirs."""
    return float(_losses(chances).mean())


def balanced_log_loss(truth: np.ndarray, chances: np.ndarray) -> float:
    """The mean over the classes that have images of the log loss of their images."""
    return float(np.mean(_by_target(_mean_loss, truth, _losses(chances))))


def weighted_log_loss(truth: np.ndarray, chances: np.ndarray, weights: np.ndarray) -> float:
    """The log loss of each label, averaged with these weights."""
    return float(np.average(_losses(chances).reshape(len(truth), -1), axis=1, weights=weights).mean())


def auc(truth: np.ndarray, ranks: np.ndarray) -> float:
    """The area under the ROC curve, the mean over the labels that some images have and some lack; 0.5 if none is so."""
    return _by_label(lambda curve: _area_above(curve, 0), truth, ranks, chance=0.5)


def weighted_auc(truth: np.ndarray, ranks: np.ndarray) -> float:
    """AUC in which the area below a true-positive rate of 0.4 counts double (Kaggle's ALASKA2, 2020)."""

    def area(curve: Curve) -> float:
        return (2 * _area_above(curve, 0) - _area_above(curve, 0.4)) / 1.4

    return _by_label(area, truth, ranks, chance=0.82 / 1.4)


def partial_auc(truth: np.ndarray, ranks: np.ndarray) -> float:
    """The area under the ROC curve above a true-positive rate of 0.8, from 0 to 0.2 (Kaggle's ISIC 2024)."""
    return _by_label(lambda curve: _area_above(curve, 0.8), truth, ranks, chance=0.02)


def average_precision(truth: np.ndarray, ranks: np.ndarray) -> float:
    """The mean over the labels of the precision at each recall, as scikit-learn sums it."""
    there = [column for column in range(truth.shape[1]) if truth[:, column].any()]
    return float(np.mean([_average_precision(truth[:, column], ranks[:, column]) for column in there] or [0.0]))


def kappa(truth: np.ndarray, grades: np.ndarray) -> float:
    """Cohen's kappa with quadratic weights (J. Cohen, Psychological Bulletin 70, 1968); 1 if all grades are one.

    The weight is the squared difference of two grades, so all that is needed are means and variances.
    """
    by_chance = truth.var() + grades.var() + (truth.mean() - grades.mean()) ** 2
    return float(1 - ((truth - grades) ** 2).mean() / by_chance) if by_chance else 1.0


def mean_average_precision(truth: np.ndarray, ranking: np.ndarray) -> float:
    """MAP@k: the mean over the images of the average precision of their ranking."""
    right = _right(truth, ranking)
    precision = right.cumsum(axis=1) / np.arange(1, ranking.shape[1] + 1)
    most = np.ones(len(truth)) if truth.ndim == 1 else truth.sum(axis=1).clip(1, ranking.shape[1])
    return float(((precision * right).sum(axis=1) / most).mean())


def top_accuracy(truth: np.ndarray, ranking: np.ndarray) -> float:
    """The share of images with a right label in their ranking."""
    return float(_right(truth, ranking).any(axis=1).mean())


def global_average_precision(truth: np.ndarray, confident: np.ndarray) -> float:
    """GAP: average precision of all predictions sorted by confidence (Google Landmark Recognition)."""
    right = (confident[:, 0] == truth)[np.argsort(-confident[:, 1], kind="stable")]
    return float((right.cumsum() / np.arange(1, len(right) + 1) * right).sum() / len(right))


def rmse(truth: np.ndarray, numbers: np.ndarray) -> float:
    """The root of the mean squared error of all numbers together."""
    return float(np.sqrt(((truth - numbers) ** 2).mean()))


def mean_column_rmse(truth: np.ndarray, numbers: np.ndarray) -> float:
    """The mean over the columns of their root mean squared error."""
    return float(np.sqrt(((truth - numbers) ** 2).mean(axis=0)).mean())


def mae(truth: np.ndarray, numbers: np.ndarray) -> float:
    """The mean absolute error."""
    return float(np.abs(truth - numbers).mean())


def _by_target(
    measure: Callable[[np.ndarray, np.ndarray], float], truth: np.ndarray, predicted: np.ndarray
) -> list[float]:
    if truth.ndim == 1:
        return [measure(truth, predicted)]
    return [measure(*pair) for pair in zip(truth.T, predicted.T, strict=True)]


def _mean_recall(truth: np.ndarray, predicted: np.ndarray) -> float:
    truth = truth.astype(np.int64)
    there = np.bincount(truth)
    found = np.bincount(truth[predicted == truth], minlength=len(there))
    return float((found[there > 0] / there[there > 0]).mean())


def _macro_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    classes = 1 + max(truth.max(), predicted.max())
    hits, true, given = (np.bincount(each, minlength=classes) for each in (truth[truth == predicted], truth, predicted))
    return _mean_f1(hits, true, given)


def _hits(truth: np.ndarray, predicted: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The numbers of true positives, of true labels and of predicted ones."""
    return (truth & predicted).sum(axis=axis), truth.sum(axis=axis), predicted.sum(axis=axis)


def _mean_f1(hits: np.ndarray, true: np.ndarray, given: np.ndarray) -> float:
    seen = true + given > 0
    return float((2 * hits[seen] / (true + given)[seen]).mean()) if seen.any() else 0.0


def _f_samples(truth: np.ndarray, predicted: np.ndarray, beta: int) -> float:
    hits, true, given = _hits(truth, predicted, axis=1)
    return float(((1 + beta**2) * hits / np.maximum(beta**2 * true + given, 1)).mean())


def _losses(chances: np.ndarray) -> np.ndarray:
    """Clipped by the rounding error of their type, as scikit-learn does, so that a loss is always finite."""
    rounding = np.finfo(chances.dtype).eps
    return -np.log(chances.clip(rounding, 1 - rounding), dtype=np.float64)


def _mean_loss(truth: np.ndarray, losses: np.ndarray) -> float:
    there = np.bincount(truth)
    return float((np.bincount(truth, losses)[there > 0] / there[there > 0]).mean())


def _by_label(measure: Callable[[Curve], float], truth: np.ndarray, ranks: np.ndarray, chance: float) -> float:
    """The mean over the labels that some images have and some lack. chance: the value if there is none."""
    share = truth.mean(axis=0)
    values = [measure(_roc(truth[:, at], ranks[:, at])) for at in np.flatnonzero((share > 0) & (share < 1))]
    return float(np.mean(values)) if values else chance


def _falling(truth: np.ndarray, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of (positives, all) with each score or a higher one, from the highest score down."""
    counts = np.bincount(ranks)
    positives = np.bincount(ranks[truth], minlength=len(counts))
    return positives[::-1].cumsum(), counts[::-1].cumsum()


def _roc(truth: np.ndarray, ranks: np.ndarray) -> Curve:
    positives, every = _falling(truth, ranks)
    negatives = every - positives
    return np.append(0, negatives / negatives[-1]), np.append(0, positives / positives[-1])


def _area_above(curve: Curve, level: float) -> float:
    """The area under the ROC curve and above a true-positive rate."""
    false, true = curve
    first = np.searchsorted(true, level, side="right")
    share = (level - true[first - 1]) / (true[first] - true[first - 1])
    widths = np.diff(false[first:], prepend=false[first - 1] + share * (false[first] - false[first - 1]))
    heights = true[first:] - level
    return float(widths @ (heights + np.append(0, heights[:-1])) / 2)


def _average_precision(truth: np.ndarray, ranks: np.ndarray) -> float:
    positives, every = _falling(truth, ranks)
    gained = np.diff(positives, prepend=0)
    return float((gained * positives / np.maximum(every, 1)).sum() / positives[-1])


def _right(truth: np.ndarray, ranking: np.ndarray) -> np.ndarray:
    """Whether each label of the rankings is right, bool ``[N, k]``."""
    return ranking == truth[:, None] if truth.ndim == 1 else np.take_along_axis(truth, ranking, axis=1)
