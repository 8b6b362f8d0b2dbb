"""Progress bars: they fit a terminal, tell the time left, and are plain lines in a log."""

import io

import pytest

from competition import progress
from competition.progress import WIDTH, Progress, shortened


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """A clock for the bar's rate, and for tqdm's own."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_a_bar_fits_eighty_columns_however_long_its_name_is(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    file = Terminal()
    with Progress(desc="a-recipe-of-ones-own~epochs=30,seed=1,limit=500", total=10, unit="image", file=file) as bar:
        bar.set_postfix_str("epoch 103, loss 3.123, val 0.923")
        bar.update(5)
        bar.refresh()
    shown = file.getvalue().split("\r")
    assert max(map(len, shown)) < WIDTH
    assert any("50%" in each for each in shown)


def test_the_middle_of_a_long_name_is_left_out():
    assert shortened("sprint") == "sprint"
    assert shortened("fashion-feature-logreg~epochs=30") == "fashion-fea…g~epochs=30"


def test_the_time_left_follows_from_the_last_minute(clock):
    """Half of the work took a minute, the next tenth took two: the rest takes eight more."""
    bar = Progress(total=100, file=Terminal())
    for now, done in ((1060.0, 50), (1120.0, 55), (1180.0, 60)):
        clock.now = now
        bar.advance_to(done)
        rate = bar.format_dict["rate"]
    assert rate == pytest.approx(5 / 60)
    assert "08:00" in str(bar)
    bar.close()


def test_work_that_fits_itself_into_a_time_limit_has_no_more_time_left_than_that(clock):
    """A fifth took a minute: the rest would take four more, but the end comes two minutes from now."""
    bar = Progress(total=100, file=Terminal(), end=1180.0)
    clock.now = 1060.0
    bar.advance_to(20)
    assert "02:00" in str(bar)
    bar.advance_to(80)
    assert "00:15" in str(bar)
    bar.close()


def test_without_a_terminal_a_bar_is_plain_lines(monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_INTERVAL", 0.0)
    file = io.StringIO()
    with Progress(desc="decoding", total=4, unit="image", file=file) as bar:
        for _ in range(4):
            bar.update()
    text = file.getvalue()
    assert "\r" not in text and "|" not in text
    assert "decoding:  50%, 2/4 image, " in text
    assert all(line.startswith("decoding: ") for line in text.splitlines())


def test_work_that_is_soon_done_leaves_no_line_in_a_log():
    file = io.StringIO()
    assert list(Progress(range(5), desc="unpacking", file=file)) == [0, 1, 2, 3, 4]
    assert file.getvalue() == ""


def test_a_share_is_shown_without_counts(monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_INTERVAL", 0.0)
    file = io.StringIO()
    with Progress(desc="sprint", total=1.0, initial=0.25, bar_format=Progress.SHARE, file=file) as bar:
        bar.set_postfix_str("epoch 1", refresh=False)
        bar.advance_to(0.5)
    assert "sprint:  50%, " in file.getvalue() and "left, epoch 1" in file.getvalue()
