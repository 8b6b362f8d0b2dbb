"""Calls Kaggle's server through Kaggle's own client, with a time limit and errors of one line.

Every call runs in a process of its own (``kaggle_call.py``), which is killed if it hangs. Its exit status is ignored;
only a complete reply counts as success. The user's credentials never appear in an error.
"""

import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from competition.errors import UserError
from competition.progress import Progress
from competition.wording import printable

DRIVER = Path(__file__).with_name("kaggle_call.py")
PATIENCE = 60.0  # seconds to wait for an answer
STALLED = 120.0  # seconds without a new byte of a download; the client itself pauses up to 30 s between tries
SENDING = 180.0  # seconds for an upload, plus one for every 100 kB
LOGIN = "run `kaggle auth login`, or set KAGGLE_API_TOKEN to a token from https://www.kaggle.com/settings/api"
_SECRETS = re.compile(r"(?i)(authorization\W+(?:basic |bearer )?|\b(?:basic|bearer) +|https?://[^\s?]+\?)\S+")
_SECRET_VARIABLE = re.compile(r"KAGGLE_\w*(?:KEY|TOKEN|SECRET|PASSWORD)\w*")
_SECRET_KEYS = ("key", "token", "access_token", "refresh_token")
_SHORTEST = 8  # characters of a credential; anything shorter would also mask other words


class KaggleError(UserError):
    """What went wrong with a call.

    kind: the HTTP status, or ``credentials`` (there are none), ``connection``, ``hang``, ``upload`` (it failed),
        ``expired`` (an address of a file), ``missing`` (the client is not installed) or ``fault`` (in the client).
    """

    def __init__(self, kind: int | str, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    @property
    def is_final(self) -> bool:
        """Whether the server certainly did nothing: it refused the request or never received it."""
        if isinstance(self.kind, int):
            return self.kind < 500
        return self.kind in ("credentials", "missing", "upload", "expired")


@dataclass(frozen=True)
class Submission:
    """status: PENDING, COMPLETE or ERROR; public, private: the scores as the server spells them, empty while they are
    not shown; reason: why it is an ERROR.
    """

    ref: str
    status: str
    description: str
    public: str
    private: str
    reason: str


@dataclass(frozen=True)
class Limits:
    """Submissions: sent today, sent ever, and still allowed now. All 0 if the user has no team there yet."""

    today: int
    total: int
    left: int


def username() -> str:
    """The user name that the credentials belong to."""
    return _call("username", "your account")


def download(competition: str, folder: Path) -> Path:
    """Download all files of a competition as ``<folder>/<competition>.zip``, resuming an interrupted download.

    Raises KaggleError; what has arrived is kept for the next try.
    """
    parts = folder / ".fetched"
    parts.mkdir(parents=True, exist_ok=True)
    part = parts / f"{competition}.zip"
    with Progress(desc=f"downloading {competition}", unit="B", unit_scale=True, delay=1) as bar:

        def arrived(total: int | None) -> int:
            bytes_there = part.stat().st_size if part.is_file() else 0
            bar.total = total
            if new := bytes_there - bar.n:
                bar.update(new)
            return bytes_there

        _call("download", competition, STALLED, arrived, competition=competition, folder=str(parts))
    if not part.is_file():
        raise KaggleError("fault", f"{competition}: Kaggle sent no ZIP; download it by hand and give it with --data")
    return part.replace(folder / part.name)


def submissions(competition: str) -> list[Submission]:
    """The user's own submissions, the newest first."""
    return [Submission(**each) for each in _call("submissions", competition, competition=competition)]


def limits(competition: str) -> Limits:
    return Limits(**_call("limits", competition, competition=competition))


def submit(competition: str, file: Path, description: str) -> str:
    """Send a CSV. Returns the submission's ref. After an error that is not ``is_final`` it may have arrived."""
    patience = SENDING + file.stat().st_size / 1e5
    sent = str(file.resolve())
    return _ref(
        competition, _call("submit", competition, patience, competition=competition, file=sent, description=description)
    )


def submit_kernel(competition: str, kernel: str, version: int, file: str, description: str) -> str:
    """Submit what a kernel's version wrote as ``file``. Returns the submission's ref; errors are those of ``submit``.

    kernel: ``user/slug``. version: 1 or more.
    """
    what: dict[str, Any] = {"kernel": kernel, "version": version, "file": file, "description": description}
    return _ref(competition, _call("submit_kernel", competition, competition=competition, **what))


def _ref(competition: str, answer: dict) -> str:
    if answer["ref"]:
        return answer["ref"]
    says = printable(masked(answer["says"]), most=200)
    if answer["arrived"]:
        raise KaggleError(
            "fault", f"{competition}: Kaggle accepted the submission but returned no number of it ({says})"
        )
    raise KaggleError("upload", f"{competition}: the file did not arrive ({says}); run the same command again")


def kernel_version(kernel: str) -> int:
    """The number of a kernel's newest version; 0 if the server does not say. kernel: ``user/slug``."""
    return _call("kernel_version", kernel, kernel=kernel)


def kernel_status(kernel: str, version: int = 0) -> tuple[str, str]:
    """QUEUED, RUNNING, COMPLETE, ERROR or CANCEL_…, and the reason of a failure.

    kernel: ``user/slug``. version: which of its versions; 0 for the newest.
    """
    answer = _call("kernel_status", kernel, kernel=kernel, version=version)
    return answer["status"], masked(answer["reason"])


def kernel_log(kernel: str, version: int = 0) -> str:
    """The end of what the kernel's session printed, whole lines."""
    return masked(_call("kernel_log", kernel, kernel=kernel, version=version))


def kernel_output(kernel: str, names: list[str], folder: Path, version: int = 0) -> list[str]:
    """Download the named files of a kernel's output into a folder. Returns the names of those that exist."""
    folder.mkdir(parents=True, exist_ok=True)
    place = str(folder.resolve())
    return _call("kernel_output", kernel, SENDING, kernel=kernel, version=version, names=names, folder=place)


def masked(text: str) -> str:
    """The text with keys, tokens, ``Authorization`` headers and the signatures of URLs masked."""
    return _SECRETS.sub(r"\1***", _without_credentials(text))


def _call(
    name: str,
    subject: str,
    patience: float = PATIENCE,
    arrived: Callable[[int | None], int] | None = None,
    **arguments: object,
) -> Any:
    """The answer to one call. subject: what it is about, for errors; patience, arrived: see ``run_driver``."""
    reply = run_driver(name, arguments, patience, arrived or (lambda total: 0))
    if "answer" in reply:
        return _without_credentials(reply["answer"])
    raise _error(reply["error"]["kind"], reply["error"]["says"], subject)


def run_driver(name: str, arguments: dict, patience: float, arrived: Callable[[int | None], int]) -> dict:
    """Run one call in a process of its own. Returns its reply, which holds ``answer`` or ``error``.

    arrived: called with the number of bytes to expect (None until it is known); returns how many have arrived.
    patience: seconds without a new byte after which the process is killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        replies, complaints = Path(folder) / "replies", Path(folder) / "complaints"
        with replies.open("wb") as out, complaints.open("wb") as err:
            command = [sys.executable, "-P", str(DRIVER)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=err, env=_environment())
            assert process.stdin is not None  # it is a pipe
            try:
                process.stdin.write(json.dumps([name, arguments]).encode() + b"\n")
                process.stdin.close()
                in_time = _ended(process, patience, lambda: arrived(_reply(replies).get("total")))
            finally:
                process.kill()
                process.wait()
        reply = _reply(replies)
        if "answer" in reply or "error" in reply:
            return reply
        if not in_time:
            return {"error": {"kind": "hang", "says": f"{patience:.0f} s"}}
        return {"error": {"kind": "fault", "says": complaints.read_text(encoding="utf-8", errors="replace")[-300:]}}


def _without_credentials(answer: Any) -> Any:
    """The answer, with the user's keys and tokens masked in all its texts."""
    pattern = _pattern(frozenset(_credentials()))

    def without(part: Any) -> Any:
        if isinstance(part, str):
            return pattern.sub("***", part)
        if isinstance(part, dict):
            return {name: without(value) for name, value in part.items()}
        return [without(value) for value in part] if isinstance(part, list) else part

    return without(answer)


@cache
def _pattern(secrets: frozenset[str]) -> re.Pattern[str]:
    """Matches each secret as it is, URL-encoded, JSON-escaped, and within anything that is encoded in base64."""
    forms = [
        _spelled(form) for secret in sorted(secrets, key=len, reverse=True) for form in (secret, *_in_base64(secret))
    ]
    return re.compile("|".join(forms) or r"(?!)")


def _spelled(secret: str) -> str:
    """A pattern of the secret in which each character may be escaped, in whatever way and however often."""
    return "".join(f"(?:{_character(character)})" for character in secret)


def _character(character: str) -> str:
    in_url = "".join(f"%(?:25)*{byte:02x}" for byte in character.encode())
    in_json = "".join(rf"\\+u{unit:04x}" for unit in _utf16(character))
    return rf"\\*{re.escape(character)}|(?i:{in_url}|{in_json})" + (r"|\+" if character == " " else "")


def _utf16(text: str) -> tuple[int, ...]:
    encoded = text.encode("utf-16-be")
    return struct.unpack(f">{len(encoded) // 2}H", encoded)


def _in_base64(secret: str) -> Iterator[str]:
    """What base64 makes of the secret's bytes wherever they lie in a text, in both alphabets.

    The characters at either end that also depend on the bytes around the secret are left out.
    """
    raw = secret.encode()
    for before in range(3):
        encoded = b64encode(bytes(before) + raw).decode()
        inner = encoded[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]
        yield inner
        yield inner.translate(str.maketrans("+/", "-_"))


def _credentials() -> Iterator[str]:
    """The user's keys and tokens, from every place where the client looks for them."""
    found = [value for name, value in os.environ.items() if _SECRET_VARIABLE.fullmatch(name)]
    files = [Path(value) for value in found]  # the variable of a token may hold the path of a file
    for folder in _credential_folders():
        files += [folder / "access_token", folder / "access_token.txt"]
        for name in ("kaggle.json", "credentials.json"):
            with suppress(OSError, ValueError, TypeError, KeyError):
                kept = json.loads((folder / name).read_text(encoding="utf-8"))
                found += [kept[key] for key in _SECRET_KEYS if key in kept]
    for file in files:
        with suppress(OSError, ValueError):
            found += [file.read_text(encoding="utf-8")] if file.is_file() else []
    yield from (text.strip() for text in found if isinstance(text, str) and len(text.strip()) >= _SHORTEST)


def _credential_folders() -> list[Path]:
    folders = [Path(named)] if (named := os.environ.get("KAGGLE_CONFIG_DIR")) else []
    with suppress(RuntimeError):  # there is no home folder
        home = Path.home()
        folders += [home / ".kaggle", Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config", "kaggle")]
    return folders


def _environment() -> dict[str, str]:
    """The user's environment, without the variables that make the client print its headers."""
    return {key: value for key, value in os.environ.items() if key not in ("VERBOSE", "VERBOSE_OUTPUT")}


def _ended(process: subprocess.Popen, patience: float, progress: Callable[[], object]) -> bool:
    """Wait until the process ends. Returns False if there is no progress for ``patience`` seconds."""
    seen, since = progress(), time.monotonic()
    while process.poll() is None:
        time.sleep(0.05)
        if (now := progress()) != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > patience:
            return False
    progress()
    return True


def _reply(replies: Path) -> dict:
    """All replies so far as one dictionary; an incomplete last line is left for later."""
    merged: dict = {}
    for line in replies.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            merged |= json.loads(line)
    return merged


def _error(kind: int | str, says: str, subject: str) -> KaggleError:
    words = masked(" ".join(says.split()))
    said = f"{kind}: {printable(words, most=200)}" if words else str(kind)
    is_kernel = "/" in subject
    page = f"https://www.kaggle.com/competitions/{subject}"
    messages = {
        "credentials": f"no Kaggle credentials; {LOGIN}",
        "missing": f"the kaggle client is not installed ({words}); run pip install -r requirements.txt",
        "connection": f"Kaggle cannot be reached ({words}); check the connection and run the same command again",
        "expired": f"{subject}: the address of a file is not valid any more ({said}); run the same command again",
        "hang": f"{subject}: no answer from Kaggle for {words}; run the same command again later",
        401: f"Kaggle does not accept the credentials ({said}); {LOGIN}",
        403: f"{subject}: Kaggle refuses ({said}); accept the rules at {page}/rules, then run the same command again",
        404: f"no competition '{subject}' on Kaggle ({said}); give the last part of its page's address",
        429: f"{subject}: too many requests to Kaggle ({said}); wait some minutes and run the same command again",
    }
    if is_kernel and kind in (403, 404):
        message = f"no kernel '{subject}' that you have access to ({said}); give USER/NAME as in its page's address"
    elif kind in messages:
        message = messages[kind]
    elif isinstance(kind, int) and kind >= 500:
        message = f"{subject}: Kaggle's server failed ({said}); run the same command again later"
    elif isinstance(kind, int):
        message = f"{subject}: Kaggle refuses ({said}); see {page}"
    else:
        message = f"{subject}: Kaggle's client failed ({said}); fix that and run the same command again"
    return KaggleError(kind, message)
