"""Classifiers on standardised pixels, all behind the same contract."""

from pipeline.models.classical.base import PixelClassifier
from pipeline.models.classical.knn import NearestNeighbours
from pipeline.models.classical.naive_bayes import GaussianNaiveBayes
from pipeline.models.classical.svm import SupportVectorMachine

CLASSIFIERS: dict[str, type[PixelClassifier]] = {
    "gaussian-nb": GaussianNaiveBayes,
    "svm": SupportVectorMachine,
    "knn": NearestNeighbours,
}
