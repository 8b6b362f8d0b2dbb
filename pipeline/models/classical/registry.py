"""Classifiers on pixels or features, all behind the same contract."""

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
