"""Runs a notebook's script on this machine, isolated in Linux namespaces and laid out like a Kaggle notebook.

``/kaggle/input/...`` is read-only. ``/kaggle/working`` is writable and the working directory. The script itself is
``/kaggle/src/script.py``. ``/tmp`` and ``/root`` are writable and discarded afterwards. Of the machine, the script sees
only libraries, programs and the interpreter, all read-only. It has no network but loopback, no capabilities, and limits
on time and memory. Needs Linux with util-linux (``unshare``, ``mount``, ``pivot_root``, ``setpriv``) and permission to
create user namespaces.
"""

import json
import os
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

from competition.stand_in.wire import Message
from competition.wording import fault_in, printable

_SYSTEM = ("/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/bin", "/lib", "/lib32", "/lib64")
_SEEN = ("/etc/ld.so.cache", "/etc/localtime", "/sys/devices/system/cpu")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_DESCRIPTORS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
_WRITABLE = {"tmp": "/tmp", "home": "/root", "working": "/kaggle/working"}
# If the stand-in ends, unshare is killed; with it the first process inside, and with that all the others.
_UNSHARE = ("setpriv", "--pdeathsig", "KILL", "unshare", "--kill-child", "-rmnpiu", "--")
_UNPRIVILEGED = "setpriv --bounding-set=-all --inh-caps=-all --no-new-privs"
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",  # there is no /etc/passwd to look it up in
    "LANG": "C.UTF-8",
    "PYTHONUNBUFFERED": "1",
    "KAGGLE_KERNEL_RUN_TYPE": "Batch",
}
_PASSED_ON = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY")
_ASK = "import json, sys; print(json.dumps([sys.executable, sys.prefix, sys.base_prefix, *sys.path]))"
_LONGEST_LOG = 1 << 24  # bytes


@dataclass(frozen=True)
class Limits:
    """seconds: wall clock of a session. gigabytes: private memory of each of its processes."""

    seconds: float = 12 * 3600
    gigabytes: float = 16


class Sandbox:
    """What all sessions share: the interpreter and the limits.

    Raises UserError if the interpreter cannot be started.
    """

    def __init__(self, python: Path, limits: Limits) -> None:
        self.limits = limits
        try:
            asked = subprocess.run([python, "-I", "-c", _ASK], capture_output=True, text=True, timeout=60, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise fault_in(
                python, f"this Python does not start ({printable(error)})", "give another with --python"
            ) from error
        executable, *folders = json.loads(asked.stdout)
        self.executable = Path(executable)
        self.python_folders = _outermost(Path(folder) for folder in folders if folder and Path(folder).is_dir())

    @cached_property
    def problem(self) -> str | None:
        """Why no session can run on this machine, or None if one can; found out by running an empty one."""
        with tempfile.TemporaryDirectory() as folder:
            session = Session(self, "", Path(folder), {}, seconds=60)
            failure = session.run()
        said = [printable(entry["data"].strip(), most=200) for entry in session.log.entries()]
        return said[-1] if failure and said else failure


class Session:
    """One run of one script.

    source: the script's text.
    folder: keeps ``working/`` after the session.
    inputs: folders by their path below ``/kaggle/input``.
    seconds: time limit; the sandbox's own is the default and the maximum.
    """

    def __init__(
        self, sandbox: Sandbox, source: str, folder: Path, inputs: Mapping[str, Path], seconds: float | None = None
    ) -> None:
        self._sandbox, self._source, self._folder, self._inputs = sandbox, source, folder.resolve(), inputs
        self._seconds = min(seconds or sandbox.limits.seconds, sandbox.limits.seconds)
        self._process: subprocess.Popen | None = None
        self._is_stopped = threading.Event()
        self.log = Log()

    def run(self) -> str | None:
        """Run the script. Returns None if it succeeds, else the reason why it does not."""
        shutil.rmtree(self._folder, ignore_errors=True)
        for name in ("root", "src", *_WRITABLE):
            (self._folder / name).mkdir(parents=True)
        (self._folder / "src" / "script.py").write_bytes(self._source.encode(errors="replace"))
        try:
            return self._run()
        except OSError as error:
            return f"the session could not start ({printable(error)})"
        finally:
            for name in ("root", "src", "tmp", "home"):
                shutil.rmtree(self._folder / name, ignore_errors=True)

    def stop(self) -> None:
        """End every process of the session; ``run`` then returns."""
        self._is_stopped.set()
        if self._process:
            self._process.kill()

    def _run(self) -> str | None:
        environment = _ENVIRONMENT | {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        with subprocess.Popen(
            [*_UNSHARE, "/bin/sh", "-eu", "-c", self._preparation()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd="/",
            start_new_session=True,
        ) as process:
            self._process = process
            if self._is_stopped.is_set():
                process.kill()
            streams = {"stdout": process.stdout, "stderr": process.stderr}
            readers = [self.log.follow(name, stream) for name, stream in streams.items() if stream]
            try:
                status = process.wait(self._seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                return f"the session exceeded its limit of {self._seconds:g} seconds"
            finally:
                for reader in readers:
                    reader.join()
        if self._is_stopped.is_set():
            return "the session was stopped"
        return None if status == 0 else f"the script ended with status {status}; see the log"

    def _preparation(self) -> str:
        """Commands of the first process: build a root, move into it, give up all privileges, start the script."""
        sandbox, root = self._sandbox, self._folder / "root"
        gigabytes = sandbox.limits.gigabytes
        lines = [f"mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs {_quoted(root)}"]
        for folder in map(Path, _SYSTEM):
            if folder.is_symlink():
                lines.append(f"ln -s {_quoted(folder.readlink())} {_quoted(_within(root, folder))}")
            elif folder.is_dir():
                lines += _bound(folder, root, folder)
        for path in filter(Path.exists, map(Path, _SEEN)):
            lines += _bound(path.resolve(), root, path)
        for name, place in _WRITABLE.items():
            lines += _bound(self._folder / name, root, place, is_writable=True)
        lines += _bound(self._folder / "src", root, "/kaggle/src")
        lines.append(f"mkdir -p {_quoted(_within(root, '/kaggle/input'))}")
        for address, folder in self._inputs.items():
            lines += _bound(folder.resolve(), root, f"/kaggle/input/{address}")
        for folder in sandbox.python_folders:
            lines += _bound(folder, root, folder)
        lines += _devices(root, megabytes=round(gigabytes * 512))
        lines += _entered(root)
        script = (
            f"ulimit -c 0; ulimit -d {round(gigabytes * 2**20)}; {_quoted(sandbox.executable)} /kaggle/src/script.py; "
            "exit $?"  # keeps the shell as the first process, which reaps what the script leaves behind
        )
        lines += ["cd /kaggle/working", f"exec {_UNPRIVILEGED} /bin/sh -c {_quoted(script)}"]
        return "\n".join(lines)


class Log:
    """What a session printed, in the form of Kaggle's log: ``stream_name``, ``time`` in seconds, ``data``."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._entries: list[Message] = []
        self._left = _LONGEST_LOG
        self._lock = threading.Lock()

    def entries(self) -> list[Message]:
        with self._lock:
            return list(self._entries)

    def follow(self, name: str, stream: IO[bytes]) -> threading.Thread:
        """Start a thread that records the stream's lines until it ends."""
        thread = threading.Thread(target=self._read, args=(name, stream), daemon=True)
        thread.start()
        return thread

    def _read(self, name: str, stream: IO[bytes]) -> None:
        while line := stream.readline(1 << 16):
            with self._lock:
                self._left -= len(line)
                if self._left < 0:  # keep reading: a full pipe would block the script
                    continue
                seconds = round(time.monotonic() - self._begun, 3)
                data = line.decode(errors="replace")
                self._entries.append({"stream_name": name, "time": seconds, "data": data})


def _outermost(folders: Iterable[Path]) -> list[Path]:
    """The folders without those inside another, and without those that every session sees anyway."""
    needless = {Path("/"), Path("/usr")}
    known = [Path(folder) for folder in _SYSTEM]
    kept: list[Path] = []
    for folder in sorted(set(folders) - needless, key=lambda folder: len(folder.parts)):
        if not any(folder.is_relative_to(other) for other in (*known, *kept)):
            kept.append(folder)
    return kept


def _bound(source: Path, root: Path, place: Path | str, is_writable: bool = False) -> list[str]:
    """Commands that mount ``source`` at ``place`` in the new root."""
    target = _within(root, place)
    options = ["remount", "bind", "nosuid", "nodev"]
    options += [] if is_writable else ["ro"]
    # A mount that is noexec on the machine must stay noexec here.
    options += ["noexec"] if os.statvfs(source).f_flag & os.ST_NOEXEC else []
    return [
        _made(target, source.is_dir()),
        f"mount --bind {_quoted(source)} {_quoted(target)}",
        f"mount -o {','.join(options)} {_quoted(target)}",
    ]


def _devices(root: Path, megabytes: int) -> list[str]:
    lines = []
    for device in _DEVICES:
        target = _within(root, device)
        # A device mounted read-only can still be written to; only its owner and mode cannot be changed.
        mounts = f"mount --bind {device} {_quoted(target)}", f"mount -o remount,bind,ro,nosuid {_quoted(target)}"
        lines += [_made(target, is_folder=False), *mounts]
    lines += [f"ln -s {target} {_quoted(_within(root, f'/dev/{name}'))}" for name, target in _DESCRIPTORS.items()]
    shared = _quoted(_within(root, "/dev/shm"))
    return [*lines, f"mkdir {shared}", f"mount -t tmpfs -o nosuid,nodev,noexec,size={megabytes}m tmpfs {shared}"]


def _entered(root: Path) -> list[str]:
    """Commands that hide everything but the new root, and make it read-only for good."""
    return [
        f"cd {_quoted(root)}",
        "mkdir proc .machine",
        "mount -t proc -o nosuid,nodev,noexec proc proc",
        # A nested namespace would give back the privileges that are given up here.
        "echo 0 > proc/sys/user/max_user_namespaces",
        # If root runs the stand-in, the script could write to /proc/sys even without privileges.
        "mount -o remount,bind,ro,nosuid,nodev,noexec proc",
        "ip link set lo up 2> /dev/null || :",
        "pivot_root . .machine",
        "umount -l /.machine",
        "rmdir /.machine",
        "mount -o remount,bind,ro,nosuid,nodev /",
    ]


def _made(target: Path, is_folder: bool) -> str:
    if is_folder:
        return f"mkdir -p {_quoted(target)}"
    return f"mkdir -p {_quoted(target.parent)}; : > {_quoted(target)}"


def _within(root: Path, place: Path | str) -> Path:
    return root / str(place).lstrip("/")


def _quoted(path: object) -> str:
    return shlex.quote(str(path))
