"""The page runs/NAME/index.html: true while a training runs, and after it has ended in whatever way."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

from competition.errors import UserError
from pipeline.models.classical.base import Classifier
from pipeline.report import live_page
from pipeline.report.live_charts import HEIGHT, MOST_LINES, MOST_POINTS, WIDTH, charts
from pipeline.training.trainer import Trainer
from tests.chromium import running_chromium
from tests.commands import Done, run

EPOCHS = 4


def words(page: str) -> str:
    """What a reader sees, on one line."""
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL))


def row(page: str, name: str) -> list[str]:
    """The cells of a row of the table of models."""
    found = re.search(rf'<th scope="row"><bdi>{re.escape(name)}</bdi>.*?</tr>', page, re.DOTALL)
    assert found, words(page)
    return [words(cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", found[0], re.DOTALL)]


def training(folder: Path, work: Path, *options: object) -> Done:
    return run("train", "--competition", folder, "--work", work, "--models", "dhc-gaussian-nb", *options)


@pytest.fixture(scope="module")
def insects(made_once: Callable[..., Path], make_competition: Callable[..., Path]) -> Path:
    return made_once("live", lambda place: make_competition(place / "insects")) / "insects"


@pytest.fixture(scope="module")
def states(insects: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """All states of the page during a training of two models, written as often as possible."""
    seen: list[str] = []

    def write(path: Path, page: str) -> None:
        seen.append(page)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_page, "SECONDS", 0.02)
        patch.setattr(live_page, "SHARE", 1.0)
        patch.setattr(live_page, "write_file", write)
        work = tmp_path_factory.mktemp("live")
        done = training(insects, work, "dhc-cnn-3x32", "--epochs", EPOCHS)
    assert done.status == 0, done.err
    assert f"watch it: {work / 'runs' / 'insects' / 'index.html'}" in done.out
    return seen


def test_a_running_page_says_what_is_done_and_what_is_at_work_and_loads_itself_again(states):
    first, second = f"dhc-gaussian-nb~epochs={EPOCHS}", f"dhc-cnn-3x32~epochs={EPOCHS}"
    at_work = [page for page in states if "<bdi>" in page and row(page, second)[1] == "at work"]
    assert at_work
    for page in at_work:
        assert "insects: training running" in page
        assert '<meta http-equiv="refresh"' in page
        assert row(page, first)[1] == "done"
        assert re.fullmatch(r"0\.\d{4}–1\.0000", row(page, first)[3])
    epochs = [int(row(page, second)[4].replace("–", "0")) for page in at_work]
    assert epochs == sorted(epochs)
    assert 0 < max(epochs) <= EPOCHS
    assert "<polyline" in at_work[-1]


def test_a_running_page_says_how_a_killed_command_is_known(states):
    assert "If it was last written long ago, the command was killed" in words(states[0])
    assert re.search(r"Last written at \d\d:\d\d:\d\d", words(states[0]))


def test_the_last_page_says_that_the_training_is_finished_and_stays(states):
    page = states[-1]
    assert "insects: training finished" in page
    assert "refresh" not in page
    assert row(page, f"dhc-cnn-3x32~epochs={EPOCHS}")[1:2] == ["done"]
    assert row(page, f"dhc-cnn-3x32~epochs={EPOCHS}")[4] == str(EPOCHS)
    assert f"--epochs {EPOCHS}" in page


def test_the_page_loads_nothing_and_has_no_script(states):
    for page in states:
        assert not re.search(r"<script|<link|<img|src=|href=|https?://|@import|url\(", page)
        assert "default-src 'none'" in page


def test_in_a_browser_it_asks_for_nothing_and_axe_finds_no_fault_and_it_loads_itself_again(states, tmp_path):
    path = tmp_path / "index.html"
    running = next(page for page in states if "polyline points" in page and "refresh" in page)
    with running_chromium() as chromium:
        path.write_text(re.sub('<meta http-equiv="refresh".*?>', "", running))
        with chromium.open(path, 390, "dark") as opened:
            assert (opened.requests, opened.console, opened.faults()) == ([], [], [])
            assert opened.page.evaluate("document.documentElement.scrollWidth") == 390
        path.write_text(running)
        with chromium.open(path) as opened:
            path.write_text(states[-1])
            opened.page.wait_for_selector("h1:has-text('finished')")
            assert opened.faults() == []


@pytest.mark.parametrize(
    ("fault", "status", "told"),
    [
        (KeyboardInterrupt(2), "interrupted", "run the same command again"),
        (UserError("<b> & co. are missing; add them"), "failed", "&lt;b&gt; &amp; co. are missing; add them"),
        (RuntimeError("out of memory"), "failed", "lower --size"),
    ],
)
def test_a_page_tells_how_the_command_ended(insects, tmp_path, monkeypatch, fault, status, told):
    def fail(*_: object) -> Iterator[None]:
        raise fault

    monkeypatch.setattr(Trainer, "train", fail)
    assert training(insects, tmp_path, "--epochs", 1).status != 0
    page = (tmp_path / "runs" / "insects" / "index.html").read_text()
    assert f"insects: training {status}" in page
    assert told in page
    assert "refresh" not in page
    assert row(page, "dhc-gaussian-nb~epochs=1")[1] == "planned"


def test_a_model_that_was_at_work_when_the_command_failed_has_stopped(insects, tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise UserError("the disk is full")

    monkeypatch.setattr(Classifier, "fit", fail)
    assert training(insects, tmp_path, "--epochs", 1).status != 0
    page = (tmp_path / "runs" / "insects" / "index.html").read_text()
    assert row(page, "dhc-gaussian-nb~epochs=1")[1] == "stopped"
    assert "Ended at" in words(page) and "Last written" not in words(page)


def test_a_budget_is_shown_with_what_is_left_of_it(insects, tmp_path, monkeypatch):
    pages: list[str] = []
    monkeypatch.setattr(live_page, "write_file", lambda path, page: pages.append(page))
    assert training(insects, tmp_path, "--budget", "10m").status == 0
    assert re.search(r"Time left of the budget (9m \d\ds|10m 00s) of 10m 00s, until 20\d\d-", words(pages[0]))
    assert "Time left" not in pages[-1]


def test_a_page_that_cannot_be_written_is_told_once_and_stops_no_training(insects, tmp_path):
    (tmp_path / "runs" / "insects" / "index.html").mkdir(parents=True)
    done = training(insects, tmp_path, "--epochs", 1)
    assert done.status == 0
    assert done.out.count("warning:") == 1
    assert "index.html is not up to date" in done.out


def test_a_page_that_another_command_writes_is_left_to_it(insects, tmp_path):
    folder = tmp_path / "runs" / "insects"
    folder.mkdir(parents=True)
    with FileLock(folder / ".index.html.lock"):
        assert training(insects, tmp_path, "--epochs", 1).status == 0
    assert not (folder / "index.html").exists()


def history(scores: list[float]) -> pd.DataFrame:
    losses = [1 - score for score in scores]
    return pd.DataFrame({"validation_score": scores, "validation_loss": losses, "loss": losses})


def test_a_chart_spans_its_values_and_epochs():
    score, loss = charts({".": history([0.5, 0.7, 0.6])}, "accuracy")
    assert (score.low, score.high, score.epochs) == (0.5, 0.7, 3)
    assert score.lines[0].points == f"0.0,{HEIGHT:.1f} {WIDTH / 2:.1f},0.0 {WIDTH:.1f},{HEIGHT / 2:.1f}"
    assert score.told == "accuracy on validation, from the first to the last of 3 epochs: 0.500 to 0.600"
    assert [line.is_faint for line in loss.lines] == [False, True]


@pytest.mark.parametrize("scores", [[0.5], [float("nan")], [float("nan"), 0.2], [0.3, 0.3]])
def test_a_chart_is_drawn_of_few_equal_or_missing_values(scores):
    for chart in charts({".": history(scores)}, "accuracy"):
        assert "nan" not in "".join(line.points for line in chart.lines)
        assert chart.low <= chart.high


def test_no_chart_is_drawn_before_the_first_epoch():
    assert charts({}, "accuracy") == charts({".": history([])}, "accuracy") == []


def test_long_trainings_and_many_folds_stay_small():
    folds = {f"fold-{number}": history([step / 1000 for step in range(1001)]) for number in range(20)}
    score, _ = charts(folds, "accuracy")
    assert len(score.lines) == MOST_LINES
    points = score.lines[0].points.split()
    assert len(points) <= MOST_POINTS
    assert points[-1] == f"{WIDTH:.1f},0.0"
