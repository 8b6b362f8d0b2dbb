"""Classifiers on pixels or features, all behind the same contract."""
