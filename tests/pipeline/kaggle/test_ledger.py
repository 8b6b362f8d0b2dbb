"""The ledger keeps what it was given, and a note speaks only of its own CSV."""

from dataclasses import replace
from pathlib import Path

import pytest

from competition.errors import UserError
from pipeline.kaggle.ledger import HEADER, Ledger, Note, new_entry, note_of, sha256_of

NOTE = Note("0" * 64, {"sprint": 0.75, "dhc-svm": 0.25}, 0.9, 0.85, 0.925, "f1-macro")
FORMER = """time,competition,file,sha256,recipes,validation,low,high,public,ref,status,reason,message
2026-01-02T03:04:05+00:00,zoo,"a, b.csv",11,sprint 1.00,0.9000,0.8500,0.9250,0.91,7,scored,,"with ""quotes"", commas"
2026-01-02T03:04:06+00:00,zoo,c.csv,22,,,,,,,sent,,
"""


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
    assert (first.metric, second.metric) == ("f1-macro", "")
    assert (second.recipes, second.validation) == ("", "")
    assert ledger.path.read_text().splitlines()[0] == ",".join(HEADER)


def test_a_change_is_of_one_entry_alone(ledger):
    first, second = (ledger.add(new_entry("zoo", Path(name), "1" * 64, "", None)) for name in ("a.csv", "b.csv"))
    changed = ledger.change(first, status="scored", public="0.5")
    assert ledger.entries() == [changed, second]
    assert not changed.is_open and second.is_open


@pytest.mark.parametrize(
    "text", ["my,own\nnotes,here\n", "", FORMER + "a line,of too few cells\n", FORMER.replace("scored,,", "scored,,,")]
)
def test_what_is_no_ledger_is_not_written_over(ledger, text):
    ledger.path.parent.mkdir()
    ledger.path.write_text(text)
    with pytest.raises(UserError, match="not a ledger"):
        ledger.add(new_entry("zoo", Path("a.csv"), "1" * 64, "", None))
    assert ledger.path.read_text() == text


def test_a_ledger_of_before_there_was_a_metric_was_kept_by_accuracy(ledger):
    ledger.path.parent.mkdir()
    ledger.path.write_text(FORMER)
    first, second = ledger.entries()
    assert (first.metric, first.validation, first.message) == ("accuracy", "0.9000", 'with "quotes", commas')
    assert (second.metric, second.validation, second.is_open) == ("", "", True)
    third = ledger.add(new_entry("zoo", Path("d.csv"), "3" * 64, "", NOTE))
    assert ledger.entries() == [first, second, third]


def test_a_line_is_text_to_the_letter(ledger):
    """Nothing is taken for a number or for nothing: NA, 007 and 1e5 stay what they are."""
    entry = replace(new_entry("007", Path("NA"), "1e5", "null", None), public="0.10", ref="00123")
    ledger.add(entry)
    assert ledger.entries() == [entry]
    assert ledger.path.read_text() == (f"{','.join(HEADER)}\n{entry.time},007,NA,1e5,,,,,,0.10,00123,sent,,null\n")


def test_a_note_speaks_of_its_own_file_only(tmp_path):
    file = tmp_path / "submission.csv"
    file.write_text("Image,Class\n")
    assert note_of(file, sha256_of(file)) is None
    NOTE.write(tmp_path / "submission.json")
    assert note_of(file, NOTE.sha256) == NOTE
    (tmp_path / "submission.json").write_text('{"sha256": "0", "recipes": {}, "validation": 0.9, "low": 0, "high": 1}')
    assert note_of(file, "0").metric == "accuracy"  # of before there was a metric
    assert note_of(file, sha256_of(file)) is None
    (tmp_path / "submission.json").write_text("{")
    assert note_of(file, NOTE.sha256) is None
