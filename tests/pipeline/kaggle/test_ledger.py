"""The ledger keeps what it was given, and a note speaks only of its own CSV."""

import csv
import io
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from competition.errors import UserError
from competition.layouts import load_competition
from competition.storage import ROOT
from pipeline.kaggle.ledger import HEADER, Ledger, Note, fingerprint_of, new_entry, note_of, sha256_of

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


ADDER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from pipeline.kaggle.ledger import Ledger, new_entry
ledger = Ledger(Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(5):
    entry = ledger.add(new_entry("zoo", Path(f"{number}.csv"), "1" * 64, sys.argv[3], None))
    ledger.change(entry, status="pending", ref=f"{sys.argv[3]}{number}")
"""


def test_four_commands_at_once_lose_no_line(ledger):
    command = [sys.executable, "-c", ADDER, str(ROOT), str(ledger.path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([*command, str(name)], **pipes) for name in range(4)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
    for process in processes:
        process.communicate("go\n")
    entries = ledger.entries()
    assert sorted(entry.ref for entry in entries) == [f"{name}{number}" for name in range(4) for number in range(5)]
    assert {entry.status for entry in entries} == {"pending"}


def test_a_lock_whose_holder_was_killed_is_free(ledger):
    holder = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pathlib import Path; import os\n"
    holder += f"from competition.locks import locked\nwith locked(Path({str(ledger.path)!r})): os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", holder]).returncode == -9
    assert ledger.add(new_entry("zoo", Path("a.csv"), "1" * 64, "", None)) in ledger.entries()


def test_a_line_that_was_edited_meanwhile_is_found_and_keeps_the_edit(ledger):
    entry = ledger.add(new_entry("zoo", Path("a.csv"), "1" * 64, "", None))
    ledger.path.write_text(ledger.path.read_text().replace(entry.time, "02.01.2026 03:04"))
    sent = ledger.change(entry, status="pending", ref="7")
    assert ledger.entries() == [sent] and sent.time == "02.01.2026 03:04"


def test_a_line_that_was_deleted_meanwhile_is_written_again(ledger):
    other = ledger.add(new_entry("zoo", Path("b.csv"), "2" * 64, "", None))
    gone = new_entry("zoo", Path("a.csv"), "1" * 64, "", None)
    sent = ledger.change(gone, status="pending", ref="7")
    assert ledger.entries() == [other, sent]


def saved_by_excel(text: str, separator: str, encoding: str) -> bytes:
    """The CSV as Excel saves it, with the date of a column spelled in its own way."""
    rows = list(csv.reader(io.StringIO(text)))
    saved = io.StringIO()
    csv.writer(saved, delimiter=separator, lineterminator="\r\n").writerows(rows)
    return saved.getvalue().replace("2026-01-02T03:04:05+00:00", "02.01.2026 03:04").encode(encoding)


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_a_ledger_that_excel_has_saved_is_read_and_nothing_of_it_is_lost(ledger, separator, encoding):
    message = 'größer; "schöner", 50 €'
    first = replace(new_entry("zoo", Path("ä, b;c.csv"), "1" * 64, message, NOTE), time="2026-01-02T03:04:05+00:00")
    second = new_entry("farm", Path("c.csv"), "2" * 64, "", None)
    ledger.add(first), ledger.add(second)
    ledger.path.write_bytes(saved_by_excel(ledger.path.read_text(encoding="utf-8"), separator, encoding))
    first = replace(first, time="02.01.2026 03:04")
    assert ledger.entries() == [first, second]
    changed = ledger.change(first, status="scored", public="0.5")
    assert ledger.entries() == [changed, second]
    assert ledger.path.read_bytes().startswith(b"time,competition,file")


def empty(content: bytes) -> bytes:
    return b""


def cut(content: bytes) -> bytes:
    return content[:-20]


def not_utf8(content: bytes) -> bytes:
    return content.replace(b"zoo", b"\xff\xfeo")


def pickled(content: bytes) -> bytes:
    return pickle.dumps(content)


def other_header(content: bytes) -> bytes:
    return content.replace(b"competition", b"contest", 1)


def other_status(content: bytes) -> bytes:
    return content.replace(b"sent", b"cent")


def too_many_cells(content: bytes) -> bytes:
    return content + b"a,b\n"


def open_quote(content: bytes) -> bytes:
    return content + b'"a,b\n'


@pytest.mark.parametrize(
    "damage", [empty, cut, not_utf8, pickled, other_header, other_status, too_many_cells, open_quote]
)
def test_a_damaged_ledger_is_named_and_not_written_over(ledger, damage: Callable[[bytes], bytes]):
    entry = ledger.add(new_entry("zoo", Path("a.csv"), "1" * 64, "a message", None))
    damaged = damage(ledger.path.read_bytes())
    ledger.path.write_bytes(damaged)
    for use in (lambda: ledger.add(entry), lambda: ledger.change(entry, ref="1"), ledger.entries):
        with pytest.raises(UserError, match=r"ledger\.csv: .*; (repair it, or move it away|write one of)") as caught:
            use()
        assert len(str(caught.value).splitlines()) == 1
    assert ledger.path.read_bytes() == damaged


def test_a_folder_in_the_place_of_the_ledger_is_named(ledger):
    ledger.path.mkdir(parents=True)
    with pytest.raises(UserError, match="it is no file"):
        ledger.entries()


def test_a_ledger_of_before_there_was_a_metric_was_kept_by_accuracy(ledger):
    ledger.path.parent.mkdir()
    ledger.path.write_text(FORMER)
    first, second = ledger.entries()
    assert (first.public, first.private) == ("0.91", "")
    assert (first.metric, first.validation, first.message) == ("accuracy", "0.9000", 'with "quotes", commas')
    assert (second.metric, second.validation, second.is_open) == ("", "", True)
    third = ledger.add(new_entry("zoo", Path("d.csv"), "3" * 64, "", NOTE))
    assert ledger.entries() == [first, second, third]


def test_a_line_is_text_to_the_letter(ledger):
    """Nothing is taken for a number or for nothing: NA, 007 and 1e5 stay what they are."""
    entry = replace(new_entry("007", Path("NA"), "1e5", "null", None), public="0.10", ref="00123")
    ledger.add(entry)
    assert ledger.entries() == [entry]
    assert ledger.path.read_text() == (f"{','.join(HEADER)}\n{entry.time},007,NA,1e5,,,,,,0.10,,00123,sent,,null\n")


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


@pytest.mark.parametrize("changed", ["train.csv", "val.csv", "test.csv", "train_images", "test_images"])
def test_a_note_is_outdated_when_tables_or_images_have_changed_but_not_where_they_are_copied(
    tmp_path, make_competition, changed
):
    folder = make_competition(tmp_path / "insects", train=6, val=3, test=3, size=(4, 4))
    note = replace(NOTE, data=fingerprint_of(load_competition(folder)))
    copy = shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
    assert not note.is_outdated(load_competition(copy))
    if (copy / changed).is_dir():
        image = next((copy / changed).iterdir())
        image.write_bytes(image.read_bytes() + b"more")
    else:
        header, first, *others = (copy / changed).read_text().splitlines(keepends=True)
        (copy / changed).write_text("".join([header, *others, first]))
        (copy / "sample_submission.csv").unlink()
    assert note.is_outdated(load_competition(copy))
    assert not NOTE.is_outdated(load_competition(copy))  # it does not say
