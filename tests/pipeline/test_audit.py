"""The command audit.py, and what train.py and predict.py say of the data: of a contest with faults, and its control."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.commands import fail, succeed
from tests.faults import draw_control, draw_faults

DRAW = {"faults": draw_faults, "control": draw_control}


@pytest.fixture(scope="module")
def audited(made_once: Callable[..., Path]) -> Callable[[str], tuple[Path, str]]:
    """A function that audits one of the contests once: the folder of the work, and what was printed."""

    def audited(name: str) -> tuple[Path, str]:
        def fill(place: Path) -> None:
            DRAW[name](place / name)
            (place / "printed.txt").write_text(succeed("audit", "--competition", place / name, "--work", place))

        place = made_once(f"audited-{name}", fill)
        return place, (place / "printed.txt").read_text()

    return audited


def test_what_is_planted_is_told_with_what_to_do(audited):
    place, printed = audited("faults")
    lines = {line.split()[0]: line for line in printed.splitlines() if line}
    assert "brightness" in lines["drift"] and "--pseudo-labels" in lines["drift"]
    assert f"--group-column {place}/runs/faults/audit/groups.csv" in lines["groups"]
    assert printed.splitlines()[-1] == f"{place}/runs/faults/audit"


def test_of_the_control_nothing_is_told(audited):
    _, printed = audited("control")
    told = [line for line in printed.splitlines() if line.split()[:1] in (["drift"], ["groups"], ["blank"], ["tiny"])]
    assert told == []


def test_the_tables_lie_beside_the_runs_and_name_images_by_their_ids(audited):
    folder = audited("faults")[0] / "runs/faults/audit"
    listed = pd.read_csv(folder / "findings.csv")
    assert {path.stem for path in folder.glob("*.csv")} == {"findings", *listed["kind"]}
    drift = pd.read_csv(folder / "drift.csv")
    test = pd.read_csv(folder.parents[2] / "faults/test.csv")["id"]
    assert set(drift[drift["split"] == "test"]["id"]) <= set(test)


def test_training_tells_the_findings_and_the_report_shows_them(tmp_path):
    draw_faults(tmp_path / "faults", train=250, val=60, test=80, side=24)
    options = ("--competition", tmp_path / "faults", "--work", tmp_path)
    printed = succeed("train", *options, "--models", "dhc-gaussian-nb", "--budget", "5m")
    told = [line for line in printed.splitlines() if line.startswith("data: ")]
    assert any("test images differ from labelled ones" in line for line in told)
    succeed("predict", *options)
    page = (tmp_path / "submissions/faults/report.html").read_text()
    assert "Findings about the data" in page and "Test images differ from labelled ones" in page
    assert (tmp_path / "submissions/faults/report/finding-drift.png").exists()


def test_the_groups_that_were_found_can_be_given_back(audited, tmp_path):
    place, _ = audited("faults")
    groups = place / "runs/faults/audit/groups.csv"
    options = ("--competition", place / "faults", "--work", tmp_path, "--group-column", groups)
    printed = succeed("train", *options, "--models", "dhc-gaussian-nb", "--folds", 2)
    assert "images with the same 'group' in groups.csv stay on one side of every split" in printed
    assert not any(line.startswith("data: file names") for line in printed.splitlines())
    assert groups.exists()


def test_the_audit_changes_no_answer(audited, tmp_path, monkeypatch):
    place, _ = audited("faults")
    answers = []
    for work in (tmp_path / "with", tmp_path / "without"):
        options = ("--competition", place / "faults", "--work", work)
        succeed("train", *options, "--models", "dhc-gaussian-nb", "--epochs", 1)
        succeed("predict", *options, "--no-report")
        answers.append((work / "submissions/faults/submission.csv").read_bytes())
        monkeypatch.setattr("pipeline.train.audit_data", lambda *arguments: None)
    assert answers[0] == answers[1]


def test_an_audit_of_the_same_images_and_labels_is_not_repeated(audited, tmp_path, monkeypatch):
    place, _ = audited("control")
    options = ("--competition", place / "control", "--work", tmp_path)
    first = succeed("audit", *options)
    monkeypatch.setattr("pipeline.findings.audit.audit", lambda *arguments: pytest.fail("it was repeated"))
    assert succeed("audit", *options) == first


@pytest.mark.parametrize("lost", ["class-counts.csv", "findings.csv"])
def test_a_table_that_is_lost_is_made_again(audited, tmp_path, lost):
    place, _ = audited("control")
    options = ("--competition", place / "control", "--work", tmp_path)
    first, folder = succeed("audit", *options), tmp_path / "runs/control/audit"
    content = (folder / lost).read_bytes()
    (folder / lost).unlink()
    assert succeed("audit", *options) == first
    assert (folder / lost).read_bytes() == content


def test_without_time_only_what_takes_none_is_told(audited, tmp_path, monkeypatch):
    place, _ = audited("faults")
    monkeypatch.setattr("pipeline.findings.before_training.AUDIT_SHARE", 0.0)
    options = ("--competition", place / "faults", "--work", tmp_path)
    printed = succeed("train", *options, "--models", "dhc-gaussian-nb", "--budget", "5m")
    assert "have a copy with another label" in printed
    assert "test images differ" not in printed
    assert not (tmp_path / "runs/faults/audit/audited.json").exists()


def test_a_competition_that_is_not_there_is_an_error(tmp_path):
    assert "nowhere" in fail("audit", "--competition", tmp_path / "nowhere", "--work", tmp_path)
