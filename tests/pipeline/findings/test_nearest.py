"""The most similar pictures are found by features that are at hand; for all others nothing is computed."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from competition.sources import open_competition
from pipeline.data.training_data import labelled_images
from pipeline.findings.nearest import SHOWN, Neighbours
from pipeline.models.base import CPU
from pipeline.training.runs import run_folders, stored_runs
from tests.commands import succeed

CACHE = Path("competition", "data", "cache")


@pytest.fixture(scope="module")
def place(made_once, make_competition) -> Path:
    """A run on selected descriptors, which lie in the cache."""

    def train(folder: Path) -> None:
        tables = make_competition(folder / "insects", train=60, with_val=False, variety=0.3)
        options = ("--competition", tables, "--work", folder)
        succeed("train", *options, "--models", "fashion-feature-logreg", "--folds", 1)

    return made_once("nearest", train)


def neighbours_in(work: Path, place: Path) -> Neighbours:
    competition = open_competition(str(place / "insects"), None, work / "competition" / "data")
    runs, _ = stored_runs(run_folders(work / "runs" / "insects"))
    return Neighbours.of(runs.values(), labelled_images(competition).paths, work / CACHE, CPU)


def test_cached_features_of_a_run_are_used(place):
    found = neighbours_in(place, place)
    assert found.images is not None
    assert found.features(found.images.subset(np.arange(3))).shape[1] < 1440  # fewer than there are descriptors


def test_without_cached_features_only_the_images_compared_are_looked_at(place, tmp_path):
    shutil.copytree(place, tmp_path / "work")
    for path in (tmp_path / "work" / CACHE).glob("*/descriptors-*"):
        path.unlink()
    found = neighbours_in(tmp_path / "work", place)
    (near,) = found.nearest(np.array([0]), np.arange(1, 30))
    assert len(near) == SHOWN and near.max() < 30
    assert not list((tmp_path / "work" / CACHE).glob("*/descriptors-*"))


def test_without_a_cache_none_are_found(place, tmp_path):
    shutil.copytree(place / "runs", tmp_path / "runs")
    found = neighbours_in(tmp_path, place)
    assert [len(each) for each in found.nearest(np.array([0, 1]), np.arange(2, 9))] == [0, 0]
