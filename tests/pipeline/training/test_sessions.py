from types import SimpleNamespace

import pytest

from pipeline.training import sessions
from pipeline.training.sessions import SESSIONS, StageClock, read_sessions, record_session
from tests.damage import damage, ways_but


@pytest.fixture
def at(monkeypatch):
    """Sets the time in seconds."""
    return lambda seconds: monkeypatch.setattr(sessions, "time", SimpleNamespace(monotonic=lambda: seconds))


def test_each_stage_ends_where_the_next_one_begins(at):
    clock = StageClock("start", 10.0)
    at(12.0)
    clock.begin("decoding")
    at(15.0)
    clock.begin("sprint")
    at(15.5)
    assert clock.seconds() == {"start": 2.0, "decoding": 3.0, "sprint": 0.5}


def test_a_stage_that_is_begun_again_goes_on(at):
    clock = StageClock("start", 0.0)
    for seconds, stage in ((1.0, "sprint"), (3.0, "start")):
        at(seconds)
        clock.begin(stage)
    at(7.0)
    assert clock.seconds() == {"start": 5.0, "sprint": 2.0}


def test_every_session_is_kept_the_oldest_first(tmp_path):
    assert read_sessions(tmp_path) == []
    record_session(tmp_path, "train.py --seed 1", {"start": 2.0, "sprint": 58.25}, 1, 60.0)
    record_session(tmp_path, "train.py --epochs 3", {"start": 1.5}, 0, None)
    first, second = read_sessions(tmp_path)
    assert (first.command, first.seed, first.budget, first.seconds) == ("train.py --seed 1", 1, 60.0, 60.25)
    assert list(first.stages) == ["start", "sprint"]
    assert second.budget is None and second.machine == first.machine != ""
    assert first.ended_at <= second.ended_at


@pytest.mark.parametrize("way", ways_but("a folder"))
def test_damaged_sessions_are_forgotten_and_the_next_one_is_kept(tmp_path, way):
    record_session(tmp_path, "train.py", {"start": 2.0}, 0, None)
    damage(tmp_path / SESSIONS, way)
    assert read_sessions(tmp_path) == []
    record_session(tmp_path, "train.py", {"start": 3.0}, 0, None)
    assert [session.seconds for session in read_sessions(tmp_path)] == [3.0]
