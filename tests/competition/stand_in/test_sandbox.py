"""What a session may do on this machine, and what it may not."""

import ast
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from competition.errors import UserError
from competition.stand_in.sandbox import Limits, Sandbox, Session
from tests.stand_in import wait_until

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.usefixtures("needs_sandbox")


@pytest.fixture
def run(sandbox, tmp_path):
    """A function that runs a script with the input ``data``, and gives its failure and what it printed."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_text("given")

    def run(source: str, seconds: float | None = None, sandbox: Sandbox = sandbox) -> tuple[str | None, str]:
        session = Session(sandbox, source, tmp_path / "session", {"data": data}, seconds)
        failure = session.run()
        return failure, "".join(entry["data"] for entry in session.log.entries())

    return run


def test_a_script_finds_a_notebook_s_folders(run, tmp_path):
    failure, printed = run("""
import os, pathlib, tempfile
print(os.getcwd(), __file__, open("/kaggle/input/data/file").read(), os.environ["KAGGLE_KERNEL_RUN_TYPE"])
for folder in ("/kaggle/working", "/tmp", "/root", tempfile.gettempdir()):
    pathlib.Path(folder, "mine").write_text("written")
""")
    assert (failure, printed) == (None, "/kaggle/working /kaggle/src/script.py given Batch\n")
    assert [path.name for path in (tmp_path / "session").rglob("*")] == ["working", "mine"]
    assert (tmp_path / "session" / "working" / "mine").read_text() == "written"


def test_the_interpreter_brings_its_packages(run):
    assert run("import numpy; print(numpy.arange(3).sum())") == (None, "3\n")


def test_several_processes_may_be_used(run):
    source = "import multiprocessing as m\nif __name__ == '__main__': print(m.Pool(2).map(abs, [-1, 2]))"
    assert run(source) == (None, "[1, 2]\n")


@pytest.mark.parametrize("address", [("203.0.113.1", 80), ("127.0.0.1", 22)])
def test_the_network_ends_at_loopback_of_its_own(run, address):
    _, printed = run(f"import socket\ntry: socket.create_connection({address}, 5)\nexcept OSError as e: print(e.errno)")
    assert printed.strip().isdecimal()


def test_a_server_on_this_machine_is_not_reached(run, stand_in):
    address = stand_in.server_address[:2]
    failure, _ = run(f"import socket; socket.create_connection({address}, 5)")
    assert failure == "the script ended with status 1; see the log"


ATTEMPTS = (
    "touch /kaggle/input/data/other",
    "rm /kaggle/input/data/file",
    "chmod 777 /kaggle/input/data/file",
    "mount -o remount,rw /kaggle/input/data",
    "mount -o remount,bind,rw /kaggle/input/data",
    "umount /kaggle/input/data",
    "mount -t tmpfs none /kaggle/input",
    "unshare -rm true",
    "touch /usr/lib/other",
    "touch /etc/other",
    "touch /other",
    "chmod 777 /dev/null",
    "mknod /tmp/disk b 8 0",
    "echo 1 > /proc/sys/kernel/printk",
    "echo x > /proc/sysrq-trigger",
    "ls /home",
    "ls /proc/1/root/home",
    f"cat {__file__}",
    "hostname other",
)


@pytest.fixture(scope="module")
def statuses(sandbox, tmp_path_factory) -> dict[str, int]:
    """What each attempt's command ended with, all in one session."""
    folder = tmp_path_factory.mktemp("attempts")
    (folder / "data").mkdir()
    (folder / "data" / "file").write_text("given")
    calls = f"print({{attempt: subprocess.call(['sh', '-c', attempt]) for attempt in {ATTEMPTS}}})"
    session = Session(sandbox, f"import subprocess\n{calls}", folder / "session", {"data": folder / "data"})
    assert session.run() is None
    (printed,) = (entry["data"] for entry in session.log.entries() if entry["data"].startswith("{"))
    return ast.literal_eval(printed)


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_an_attempt_to_leave_or_to_change_what_is_given_fails(statuses, attempt):
    assert statuses[attempt] != 0


def test_devices_can_still_be_used(run):
    assert run("open('/dev/null', 'w').write('x'); print(len(open('/dev/urandom', 'rb').read(3)))") == (None, "3\n")


def test_credentials_in_the_server_s_environment_are_not_passed_on(run, monkeypatch):
    monkeypatch.setenv("KAGGLE_KEY", "a-secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    _, printed = run("import os; print(dict(os.environ))")
    assert "a-secret" not in printed and "'OMP_NUM_THREADS': '3'" in printed


def test_more_memory_than_allowed_is_not_given(run):
    little = Sandbox(Path(sys.executable), Limits(gigabytes=0.5))
    source = "kept = bytearray(1 << 28); print('half'); kept = bytearray(1 << 29)"
    failure, printed = run(source, sandbox=little)
    assert failure and "half\n" in printed and "MemoryError" in printed


def test_a_session_has_its_time(run):
    failure, _ = run("import time; time.sleep(60)", seconds=0.5)
    assert failure == "the session exceeded its limit of 0.5 seconds"


def processes() -> str:
    return subprocess.run(["ps", "ax", "-o", "args"], capture_output=True, text=True, check=True).stdout


def test_a_session_that_is_stopped_says_so_and_takes_every_process_with_it(sandbox, tmp_path):
    source = """
import subprocess, time
subprocess.Popen(["sleep", "1234.5"], start_new_session=True)
time.sleep(60)
"""
    session = Session(sandbox, source, tmp_path / "session", {})
    with ThreadPoolExecutor() as pool:
        running = pool.submit(session.run)
        wait_until(lambda: "sleep 1234.5" in processes())
        session.stop()
        assert running.result(30) == "the session was stopped"
    assert "sleep 1234.5" not in processes()


def test_the_log_keeps_streams_apart_and_in_order(sandbox, tmp_path):
    source = (
        "import sys, time\nprint('one'); time.sleep(.1); print('two', file=sys.stderr); time.sleep(.1); print('three')"
    )
    session = Session(sandbox, source, tmp_path / "session", {})
    assert session.run() is None
    entries = session.log.entries()
    assert [(entry["stream_name"], entry["data"]) for entry in entries] == [
        ("stdout", "one\n"),
        ("stderr", "two\n"),
        ("stdout", "three\n"),
    ]
    times = [entry["time"] for entry in entries]
    assert times == sorted(times) and times[0] > 0


def test_bytes_that_are_no_text_do_not_stop_the_log(run):
    assert run("import sys; sys.stdout.buffer.write(b'\\xff\\n')") == (None, "\ufffd\n")


def test_a_session_that_is_stopped_before_it_begins_does_not_begin(sandbox, tmp_path):
    session = Session(sandbox, "import time; time.sleep(60)", tmp_path / "session", {})
    session.stop()
    assert session.run() == "the session was stopped"


def test_a_session_does_not_outlive_a_stand_in_that_is_killed(tmp_path):
    sleeps = "import subprocess; subprocess.call(['sleep', '1235.5'])"
    code = f"""
import sys
from pathlib import Path
from competition.stand_in.sandbox import Limits, Sandbox, Session
Session(Sandbox(Path(sys.executable), Limits()), {sleeps!r}, Path({str(tmp_path / "session")!r}), {{}}).run()
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as process:
        wait_until(lambda: "sleep 1235.5" in processes())
        process.kill()
    wait_until(lambda: "sleep 1235.5" not in processes())


def test_an_interpreter_that_does_not_start_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"python9: this Python does not start .*; give another with --python"):
        Sandbox(tmp_path / "python9", Limits())


def test_a_machine_without_the_tools_is_told_from_one_that_has_them(monkeypatch):
    able, unable = (Sandbox(Path(sys.executable), Limits()) for _ in range(2))
    assert able.problem is None
    monkeypatch.setattr("competition.stand_in.sandbox._UNSHARE", ("unshare-that-is-not-there",))
    assert "unshare-that-is-not-there" in unable.problem
