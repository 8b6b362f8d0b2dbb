"""The classifiers by name."""

from typing import Any

from competition.errors import UserError
from competition.wording import did_you_mean
from pipeline.models.classical.base import Classifier
from pipeline.models.classical.knn import NearestNeighbours
from pipeline.models.classical.linear import LogisticRegression
from pipeline.models.classical.naive_bayes import BernoulliNaiveBayes, GaussianNaiveBayes, MultinomialNaiveBayes
from pipeline.models.classical.svm import SupportVectorMachine
from pipeline.models.classical.trees import GradientBoosting, RandomForest

CLASSIFIERS: dict[str, type[Classifier]] = {
    "gaussian-nb": GaussianNaiveBayes,
    "multinomial-nb": MultinomialNaiveBayes,
    "bernoulli-nb": BernoulliNaiveBayes,
    "svm": SupportVectorMachine,
    "knn": NearestNeighbours,
    "logreg": LogisticRegression,
    "forest": RandomForest,
    "boosting": GradientBoosting,
}


def find_classifier(name: str) -> type[Classifier]:
    """The class of that name. Raises UserError for an unknown name."""
    if name not in CLASSIFIERS:
        raise UserError(
            f"no classifier is called {name!r}{did_you_mean(name, CLASSIFIERS)}; choose one of {', '.join(CLASSIFIERS)}"
        )
    return CLASSIFIERS[name]


def build_classifier(name: str, classes: int, **arguments: Any) -> Classifier:
    """The classifier of that name, not yet fitted. Raises UserError for an unknown name or argument."""
    try:
        return find_classifier(name)(classes, **arguments)
    except TypeError as error:
        raise UserError(f"classifier {name}: {error}; fix the recipe") from None
