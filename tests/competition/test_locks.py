"""Locks: one process at a time, the holder named, and nothing left to wait for when it dies."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import filelock
import pytest
from filelock import FileLock

from competition import locks
from competition.errors import UserError
from competition.locks import StillLocked, locked
from tests.commands import ROOT

HOLD = """
import sys, time
from pathlib import Path
from competition.locks import locked
sys.argv[0] = "pipeline/train.py"
with locked(Path(sys.argv[1]), "writes this run"):
    print("held", flush=True)
    input()
"""
COUNT = """
import sys
from pathlib import Path
from competition.locks import locked
path = Path(sys.argv[1])
for _ in range(20):
    with locked(path):
        path.write_text(str(int(path.read_text()) + 1))
"""


def started(code: str, path: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code, path], stdin=pipe, stdout=pipe, text=True, cwd=ROOT)


@pytest.fixture
def holder(tmp_path):
    process = started(HOLD, tmp_path / "run")
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.0)


@pytest.mark.usefixtures("impatient")
def test_who_waits_says_for_whom_and_goes_on_when_the_holder_ends(tmp_path, holder, monkeypatch):
    said = []

    def say(line, **_):
        said.append(line)
        holder.communicate("\n")

    monkeypatch.setattr("builtins.print", say)
    with locked(tmp_path / "run", "writes this run"):
        assert holder.returncode == 0
    assert said == [f"another train.py (process {holder.pid}) writes this run; waiting"]


@pytest.mark.usefixtures("impatient")
def test_the_lock_of_a_killed_process_is_free(tmp_path, holder, capsys):
    holder.kill()
    holder.wait()
    with locked(tmp_path / "run"):
        pass
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"submit.py\n1\n0123\nelsewhere", b"submit.py\n1\nelsewhere", b"a\nb"]
)
def test_a_holder_whose_name_cannot_be_read_is_waited_for_too(tmp_path, holder, monkeypatch, content):
    (tmp_path / ".run.lock").write_bytes(content)
    said = []
    monkeypatch.setattr("builtins.print", lambda line, **_: (said.append(line), holder.communicate("\n")))
    with locked(tmp_path / "run"):
        pass
    name = "submit.py (process 1 on elsewhere)" if b"0123" in content else "process"
    assert said == [f"another {name} changes run; waiting"]


@pytest.mark.usefixtures("impatient")
def test_who_has_no_time_left_to_wait_is_told_for_whom_it_waited(tmp_path, holder):
    with (
        pytest.raises(
            StillLocked, match=rf"another train.py \(process {holder.pid}\) still writes this run when the bud"
        ),
        locked(tmp_path / "run", "writes this run", until=time.monotonic()),
    ):
        pass
    assert holder.poll() is None


@pytest.mark.skipif(
    os.name != "posix" or filelock.__version__ < "4", reason="POSIX has modes, and filelock 4 obeys the umask"
)
def test_a_lock_may_be_taken_by_all_whom_the_umask_lets_write(tmp_path):
    code = "import os; os.umask(0o002)" + COUNT.replace("int(path.read_text())", "1")
    assert started(code, tmp_path / "run").wait() == 0
    assert (tmp_path / ".run.lock").stat().st_mode & 0o777 == 0o664


def test_no_change_of_a_file_is_lost(tmp_path):
    path = tmp_path / "count"
    path.write_text("0")
    processes = [started(COUNT, path) for _ in range(3)]
    assert [process.wait() for process in processes] == [0] * 3
    for process in processes:
        process.communicate()
    assert path.read_text() == "60"


def test_the_lock_is_released_after_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(ValueError), locked(tmp_path / "new" / "run"):
            raise ValueError
    assert [path.name for path in (tmp_path / "new").iterdir()] == [".run.lock"]


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (errno.EROFS, "choose a folder on another disk with --work"),
        (errno.ENOSPC, "free some space there, or choose another folder with --work"),
        (errno.EACCES, "change its permissions, or choose another folder with --work"),
        (errno.EIO, "check that file or folder, or choose another one with --work"),
    ],
)
def test_a_folder_that_cannot_be_written_is_one_line_with_the_remedy(tmp_path, monkeypatch, error, remedy):
    monkeypatch.setattr(FileLock, "acquire", lambda *_, **__: (_ for _ in ()).throw(OSError(error, os.strerror(error))))
    with (
        pytest.raises(UserError, match=rf"\.run\.lock: cannot be written \({os.strerror(error)}\); {remedy}$"),
        locked(tmp_path / "run"),
    ):
        pass


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOTSUP])
def test_without_locks_a_warning_is_printed_and_the_work_is_done(tmp_path, monkeypatch, capsys, error):
    monkeypatch.setattr(FileLock, "acquire", lambda *_, **__: (_ for _ in ()).throw(OSError(error, "no locks")))
    with locked(tmp_path / "run"):
        assert "file system without locks; run one command there at a time" in capsys.readouterr().out
