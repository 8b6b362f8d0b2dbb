"""What is remembered, and the day that limits go by."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from competition.errors import UserError
from competition.stand_in.state import State
from competition.stand_in.wire import RefusedError


class Clock:
    """A time that a test moves."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 1, 2, 23, 59, 58, tzinfo=UTC))


@pytest.fixture
def state(tmp_path, clock):
    state = State(tmp_path / "state", clock)
    yield state
    state.close()


def add(state: State, limit: int = 2) -> int:
    return state.add_submission(state.add_upload("insects", "a.csv", 3), "", limit)


def test_a_new_day_begins_at_midnight_utc(state, clock):
    add(state), add(state)
    with pytest.raises(RefusedError, match="all 2 submissions of this day"):
        add(state)
    clock.moment += timedelta(seconds=2)
    assert state.submitted_today("insects") == 0
    assert add(state) == 3


def test_the_day_is_that_of_utc_wherever_the_clock_stands(state, clock):
    clock.moment = datetime(2026, 1, 3, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    add(state)
    clock.moment = datetime(2026, 1, 3, 1, 59, tzinfo=timezone(timedelta(hours=2)))
    assert state.submitted_today("insects") == 1
    assert state.submissions("insects")[0].date == "2026-01-02T22:30:00.000Z"


def test_a_refused_submission_leaves_nothing(state):
    add(state, limit=1)
    with pytest.raises(RefusedError):
        add(state, limit=1)
    assert [submission.ref for submission in state.submissions("insects")] == [1]


def test_everything_is_there_after_a_restart(tmp_path):
    first = State(tmp_path)
    key, ref = first.secret("key"), add(first)
    kernel = first.add_kernel("ada", "net", {"text": "pass"})
    first.score(ref, 0.5, 0.25)
    before = first.submissions("insects")
    first.close()
    second = State(tmp_path)
    assert (second.secret("key"), second.submissions("insects")) == (key, before)
    assert (before[0].status, before[0].public, before[0].private) == ("COMPLETE", 0.5, 0.25)
    assert second.unfinished_kernels() == [kernel]
    second.close()


def test_secrets_differ_and_others_on_the_machine_cannot_read_them(state, tmp_path):
    other = State(tmp_path / "other")
    assert len({state.secret("key"), state.secret("addresses"), other.secret("key")}) == 3
    assert state.folder.stat().st_mode & 0o077 == 0
    other.close()


def test_a_folder_serves_one_stand_in_at_a_time(state):
    with pytest.raises(UserError, match="another stand-in is using it; stop that one or give another --state"):
        State(state.folder)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"file/state: the state cannot be kept there .*; give another --state"):
        State(tmp_path / "file" / "state")


def test_versions_of_a_kernel_count_from_one(state):
    for slug, version in (("net", 1), ("net", 2), ("tree", 1)):
        assert state.add_kernel("ada", slug, {}).version == version
    assert (state.kernel("ada", "net").version, state.kernel("ada", "net", 1).version) == (2, 1)
    assert state.kernel("ada", "net", 3) is None and state.kernel("bob", "net") is None
