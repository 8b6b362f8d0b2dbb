"""The journal: what becomes of it when processes are killed or interrupted, and when it is damaged."""

import random
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from competition.errors import UserError
from pipeline.tuning import journal
from pipeline.tuning.journal import Journal
from pipeline.tuning.study import open_storage


def grown(path: Path, trials: int = 3) -> bytes:
    """The content of a journal to which trials were added."""
    study = optuna.create_study(storage=open_storage(str(path)), study_name="s", load_if_exists=True)
    for _ in range(trials):
        trial = study.ask()
        study.tell(trial, trial.suggest_float("x", 0, 1))
    return path.read_bytes()


def values(path: Path) -> list[float | None]:
    study = optuna.load_study(storage=open_storage(str(path)), study_name="s")
    return [trial.value for trial in study.get_trials() if trial.state == TrialState.COMPLETE]


def test_a_line_that_a_killed_process_left_unfinished_is_dropped_and_the_study_goes_on(tmp_path):
    whole = grown(tmp_path / "whole")
    lines = whole.splitlines(keepends=True)
    for cut in (1, 5, len(lines[-1]) // 2, len(lines[-1]) - 1):
        path = tmp_path / f"cut-{cut}"
        path.write_bytes(b"".join(lines[:-1]) + lines[-1][:cut])
        assert values(path) == values(tmp_path / "whole")[:-1]
        grown(path, trials=2)
        assert len(values(path)) == 4


def test_of_a_journal_cut_in_its_first_line_nothing_is_left_but_a_beginning(tmp_path):
    for cut in (0, 3, 20):
        path = tmp_path / f"cut-{cut}"
        path.write_bytes(grown(tmp_path / f"whole-{cut}")[:cut])
        grown(path)
        assert len(values(path)) == 3


def flipped(content: bytes, draw: random.Random) -> bytes:
    damaged = bytearray(content)
    damaged[draw.randrange(len(content) - 1)] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def without_a_line(content: bytes, draw: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    del lines[draw.randrange(len(lines) - 1)]
    return b"".join(lines)


def with_a_line_twice(content: bytes, draw: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    place = draw.randrange(len(lines))
    return b"".join(lines[: place + 1] + lines[place:])


def garbled(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content) - 30)
    return content[:place] + draw.randbytes(20) + content[place + 20 :]


@pytest.mark.parametrize("damage", [flipped, without_a_line, with_a_line_twice, garbled])
def test_a_damaged_journal_is_never_read_as_another_and_never_changed(tmp_path, damage):
    whole, path = grown(tmp_path / "whole"), tmp_path / "damaged"
    sound = values(tmp_path / "whole")
    for seed in range(60):
        path.write_bytes(damage(whole, random.Random(seed)))
        before = path.read_bytes()
        try:
            assert values(path) == sound  # the key of a checksum may be damaged, nothing else
        except UserError as error:
            assert "damaged in line" in str(error) and "\n" not in str(error)
        assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [b"one\ntwo\nthree\n", b"one line", b"{}\n", b'{"a": 1}\n', b"[1]\n", b"7\n", b"\n", b"\xff\xfe{\n", b"\0" * 99],
)
def test_a_file_that_is_no_journal_is_refused_and_kept(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"notes\.txt: not a journal of tune\.py, or damaged in line 1; move it away"):
        open_storage(str(path))
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_journal_that_optuna_wrote_is_continued(tmp_path):
    path = tmp_path / "journal"
    study = optuna.create_study(storage=JournalStorage(JournalFileBackend(str(path))), study_name="s")
    study.tell(study.ask(), 0.5)
    grown(path)
    assert values(path)[0] == 0.5 and len(values(path)) == 4


def interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers that interrupt")
def test_ctrl_c_at_any_moment_of_writing_is_ctrl_c_and_leaves_whole_lines_and_a_free_lock(tmp_path):
    backend, times, stopped = Journal(tmp_path / "journal"), 150, 0
    before = signal.signal(signal.SIGALRM, interrupted)
    for number in range(times):
        with suppress(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 2e-5 * (1 + number))
            backend.append_logs([{"op_code": 0, "number": number}])
            while True:
                time.sleep(0.001)
        stopped += 1
    signal.signal(signal.SIGALRM, before)
    backend.append_logs([{"op_code": 0, "number": times}])
    read = [log["number"] for log in Journal(tmp_path / "journal").read_logs(0)]
    assert stopped == times and read[-1] == times
    assert read == sorted(set(read)) and len(read) > 1


def test_two_who_write_at_once_lose_no_line(tmp_path):
    def write(writer: int) -> None:
        backend = Journal(tmp_path / "journal")
        for number in range(40):
            backend.append_logs([{"op_code": 0, "number": 100 * writer + number}])

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    read = [log["number"] for log in Journal(tmp_path / "journal").read_logs(0)]
    assert sorted(read) == [100 * writer + number for writer in range(3) for number in range(40)]


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "journal"
    backend = Journal(path)
    backend.append_logs([{"op_code": 0, "number": 1}])
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(journal.os, "fsync", full)
        backend.append_logs([{"op_code": 0, "number": 2}])
    assert next(Journal(path).read_logs(0)) == {"op_code": 0, "number": 1}
