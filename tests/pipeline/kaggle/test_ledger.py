"""The ledger keeps what it was given, and a note speaks only of its own CSV."""

from pathlib import Path

import pytest

from competition.errors import UserError
from pipeline.kaggle.ledger import HEADER, Ledger, Note, new_entry, note_of, sha256_of

NOTE = Note("0" * 64, {"sprint": 0.75, "dhc-svm": 0.25}, 0.9, 0.85, 0.925)


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    return Ledger(tmp_path / "submissions" / "ledger.csv")


def test_a_ledger_that_is_not_there_is_empty(ledger):
    assert ledger.entries() == []


def test_entries_read_back_as_they_were_written(ledger):
    first = ledger.add(new_entry("zoo", Path("a, b.csv"), "1" * 64, 'with "quotes", commas', NOTE))
    second = ledger.add(new_entry("farm", Path("c.csv"), "2" * 64, "", None))
    assert ledger.entries() == [first, second]
    assert (first.recipes, first.validation, first.low) == ("sprint 0.75; dhc-svm 0.25", "0.9000", "0.8500")
    assert (second.recipes, second.validation) == ("", "")
    assert ledger.path.read_text().splitlines()[0] == ",".join(HEADER)


def test_a_change_is_of_one_entry_alone(ledger):
    first, second = (ledger.add(new_entry("zoo", Path(name), "1" * 64, "", None)) for name in ("a.csv", "b.csv"))
    changed = ledger.change(first, status="scored", public="0.5")
    assert ledger.entries() == [changed, second]
    assert not changed.is_open and second.is_open


def test_what_is_no_ledger_is_not_written_over(ledger):
    ledger.path.parent.mkdir()
    ledger.path.write_text("my,own\nnotes,here\n")
    with pytest.raises(UserError, match="not the ledger"):
        ledger.add(new_entry("zoo", Path("a.csv"), "1" * 64, "", None))
    assert ledger.path.read_text() == "my,own\nnotes,here\n"


def test_a_note_speaks_of_its_own_file_only(tmp_path):
    file = tmp_path / "submission.csv"
    file.write_text("Image,Class\n")
    assert note_of(file, sha256_of(file)) is None
    NOTE.write(tmp_path / "submission.json")
    assert note_of(file, NOTE.sha256) == NOTE
    assert note_of(file, sha256_of(file)) is None
    (tmp_path / "submission.json").write_text("{")
    assert note_of(file, NOTE.sha256) is None
