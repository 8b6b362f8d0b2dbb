"""Saved models: what comes back is what was saved, or an error of one line."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from competition.storage import ROOT
from pipeline.models.persistence import Saved, kind_in, load_state, save_state
from pipeline.runtime.sealed import DamagedFile
from tests.damage import SPRUNG, WAYS, damage


class Thing:
    def __init__(self) -> None:
        self.mean, self.count, self.empty = np.array([0.1, 0.2]), np.array(3), np.zeros((0, 2), np.float32)
        self.name, self.rows, self._hidden = "thing", [{"C": 0.1}], "not saved"


class Other:
    pass


@pytest.fixture
def path(tmp_path):
    save_state(Thing(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_a_thing_comes_back_to_the_bit_without_what_it_hides(path):
    thing = load_state(Thing, path)
    assert set(vars(thing)) == {"mean", "count", "empty", "name", "rows"}
    assert (thing.name, thing.rows) == ("thing", [{"C": 0.1}])
    assert thing.mean.tolist() == [0.1, 0.2] and thing.empty.shape == (0, 2)


def test_the_kind_of_a_file_is_told_and_another_kind_is_refused(path):
    assert kind_in(path) == "Thing"
    with pytest.raises(DamagedFile):
        load_state(Other, path)


def test_the_same_thing_gives_the_same_bytes(path):
    for number in range(8):
        save_state(Thing(), path.with_name(f"{number}.safetensors"))
        assert path.with_name(f"{number}.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("way", WAYS)
def test_damage_is_told_in_one_line_with_the_file_and_the_remedy(path, way):
    damage(path, way)
    with pytest.raises(DamagedFile, match=r"model\.safetensors: .*; run pipeline/train.py again") as refusal:
        load_state(Thing, path)
    assert "\n" not in str(refusal.value)
    assert ("missing" in str(refusal.value)) == (way == "missing")
    assert not path.with_name(SPRUNG).exists()


def test_no_flipped_bit_goes_unnoticed(path):
    content = path.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(DamagedFile):
            load_state(Thing, path)


def test_a_file_of_an_older_version_is_refused_in_one_line(path):
    save_file(load_file(path), path, {"kind": "Thing", "facts": "{}"})
    with pytest.raises(DamagedFile, match="another version"):
        Saved.read(path)


def test_a_lack_of_file_handles_is_not_called_damage(path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        Saved.read(path)


@pytest.mark.skipif(os.name != "posix", reason="the mode of a file is POSIX's")
def test_a_saved_model_may_be_read_by_all_whom_the_umask_lets_read(path):
    (path.parent / "other").touch()
    assert path.stat().st_mode == (path.parent / "other").stat().st_mode


def test_what_a_killed_process_was_saving_is_removed_by_the_next_one(path):
    """safetensors writes to a file of its own first, whose name says nothing about who writes it."""
    killed = f"""
import os
from pathlib import Path
from competition.storage import draft_folder
with draft_folder(Path({str(path)!r})) as folder:
    (folder / ".tmpAbCdEf").touch()
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", killed], cwd=ROOT).returncode == 9
    assert len(list(path.parent.iterdir())) == 2
    save_state(Thing(), path)
    assert list(path.parent.iterdir()) == [path]
