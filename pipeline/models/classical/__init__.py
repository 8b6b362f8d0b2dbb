"""Classifiers on pixels or features, all with the same interface."""
