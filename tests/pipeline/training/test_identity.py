"""Which runs belong to a competition: what is read of its images, and when."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from competition.layouts import load_competition
from pipeline.data.cache import open_cache
from pipeline.data.decode import content_hash
from pipeline.data.training_data import labelled_images
from pipeline.training import identity
from pipeline.training.identity import present_record


@pytest.fixture
def competition(make_competition, tmp_path):
    return load_competition(make_competition(tmp_path / "zoo", train=6, val=3, test=3, size=(4, 4)))


def contents(competition, caches: Path) -> list[int]:
    """The contents that are known, of the images of train and then of val."""
    run = SimpleNamespace(
        run=SimpleNamespace(shape=((4, 4), "squash")), validated=SimpleNamespace(ids=competition.val.ids)
    )
    found = present_record(competition, {"model": run}, caches)
    hashes = dict(zip(found.ids.tolist(), found.contents.tolist(), strict=True))
    order = [id_hash(name) for name in labelled_images(competition).ids]
    return [hashes[number] for number in order]


def id_hash(name: str) -> int:
    return int(identity.DataRecord.of((name,), np.zeros(1, np.int64), np.zeros(1, np.uint64)).ids[0])


def test_all_labelled_files_are_read_if_they_are_small(competition, tmp_path):
    paths = labelled_images(competition).paths
    assert contents(competition, tmp_path / "caches") == [content_hash(path.read_bytes()) for path in paths]
    assert not (tmp_path / "caches").exists()


def test_of_large_files_those_for_validation_are_read(competition, tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "READ_AT_MOST", 0)
    paths = competition.val.paths
    read = [content_hash(path.read_bytes()) for path in paths]
    assert contents(competition, tmp_path / "caches") == [0] * 6 + read


def test_no_file_is_read_if_their_cache_is_there(competition, tmp_path, monkeypatch):
    paths = labelled_images(competition).paths
    open_cache(paths, tmp_path / "caches", (4, 4))
    monkeypatch.setattr(identity, "contents_of", lambda paths: pytest.fail("a file was read"))
    assert contents(competition, tmp_path / "caches") == [content_hash(path.read_bytes()) for path in paths]
