"""Every submission there is, checked against its competition; where there is none, a small one is made and checked."""

import json
from pathlib import Path

import pytest

from competition.rehearsal import draw_rehearsal
from competition.storage import default_work_folder
from tests.commands import succeed

FOUND = sorted((default_work_folder() / "submissions").glob("*/submission.csv"))


@pytest.mark.parametrize("file", FOUND or [None], ids=lambda file: file.parent.name if file else "a small one")
def test_the_submission_would_be_accepted(file, tmp_path):
    file = file or small_submission(tmp_path)
    note = file.with_name("submission.json")
    source = json.loads(note.read_text()).get("source") if note.is_file() else {}
    if not source:
        pytest.skip(f"{note}: does not say where the competition's files are; run predict.py again")
    if not (place := place_of(source)).exists():
        pytest.skip(f"{place}: the competition's files are gone")
    assert succeed("submit", "--check", file, *options(source)).startswith("ok: ")


def small_submission(work: Path) -> Path:
    """A submission to a rehearsal of sixty images."""
    data = work / "competition" / "data"
    draw_rehearsal(data / "rehearsal", data / "answers" / "rehearsal.csv", images=60)
    succeed("train", "--work", work, "--epochs", 1, "--models", "dhc-gaussian-nb")
    return Path(succeed("predict", "--work", work, "--no-report").splitlines()[-1])


def place_of(source: dict[str, str | None]) -> Path:
    """The folder or ZIP that was read, or the folder where what was unpacked, fetched or drawn is kept."""
    return Path(source["data_folder"], source["data"] or source["competition"] or "rehearsal")


def options(source: dict[str, str | None]) -> list[str]:
    """Those of a command that opens the same competition."""
    given = {name: value for name, value in source.items() if value is not None}
    work = Path(given.pop("data_folder")).parents[1]
    return ["--work", str(work), *(each for name in given for each in (f"--{name.replace('_', '-')}", given[name]))]
