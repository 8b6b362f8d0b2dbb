"""Sealed files: their content comes back as it was written, or not at all."""

import numpy as np
import pytest

from pipeline.runtime.sealed import (
    DamagedFile,
    is_sealed,
    read_arrays,
    read_json,
    seal,
    sealed_content,
    write_arrays,
    write_json,
)
from tests.damage import WAYS, damage, ways_but

CONTENT = {"name": "sprint", "seconds": 1.5, "folds": ["fold-1", "fold-2"]}
ARRAYS = {"ids": np.array(["a.png", "b.png"]), "probabilities": np.eye(2, dtype=np.float32)}


def test_json_and_arrays_come_back(tmp_path):
    write_json(tmp_path / "run.json", CONTENT)
    write_arrays(tmp_path / "validation.npz", ARRAYS)
    assert read_json(tmp_path / "run.json") == CONTENT
    found = read_arrays(tmp_path / "validation.npz")
    assert found.keys() == ARRAYS.keys() and all(np.array_equal(found[name], ARRAYS[name]) for name in ARRAYS)


@pytest.mark.parametrize("way", ways_but("missing"))
@pytest.mark.parametrize(("name", "read"), [("run.json", read_json), ("validation.npz", read_arrays)])
def test_damaged_json_and_arrays_are_refused_with_file_and_remedy(tmp_path, way, name, read):
    write_json(tmp_path / "run.json", CONTENT)
    write_arrays(tmp_path / "validation.npz", ARRAYS)
    damage(tmp_path / name, way)
    with pytest.raises(DamagedFile, match=rf"{name}: damaged, .*; run pipeline/train.py again"):
        read(tmp_path / name)


def test_sealed_content_comes_back_for_its_owner_alone(tmp_path):
    path = tmp_path / "state"
    path.write_bytes(b"state of a training")
    seal(path, "this run")
    assert sealed_content(path, "this run") == b"state of a training"
    assert sealed_content(path, "another run") is None


@pytest.mark.parametrize("way", WAYS)
def test_damage_breaks_a_seal(tmp_path, way):
    path = tmp_path / "state"
    path.write_bytes(b"state of a training" * 100)
    seal(path)
    assert is_sealed(path)
    damage(path, way)
    assert not is_sealed(path)
