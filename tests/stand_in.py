"""Helpers for the stand-in for Kaggle's server, which runs in a thread, and for the real command-line client."""

import csv
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from competition.stand_in.board import Hosted
from competition.stand_in.server import StandIn

KAGGLE = Path(sys.executable).with_name("kaggle")
PATIENCE = 120.0  # seconds, for what takes a moment: other work may keep the machine busy
CREDENTIALS = ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN")


def hosted(folder: Path) -> Hosted:
    """A competition written by ``make_competition``, with its answers from ``<folder>_answers.csv``."""
    return Hosted(folder.name, folder, folder.with_name(f"{folder.name}_answers.csv"))


def client_environment(server: StandIn, home: Path) -> dict[str, str]:
    """This process's environment without Kaggle's variables, plus an empty home and the server's own variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KAGGLE_")}
    home.mkdir(parents=True, exist_ok=True)
    return kept | server.environment | {"HOME": str(home)}


def kaggle(environment: dict[str, str], *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command-line client, for at most ``PATIENCE``."""
    command = [str(KAGGLE), *map(str, arguments)]
    return subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL
    )


def write_submission(server: StandIn, path: Path, right: int | None = None) -> Path:
    """Write a submission in which the first ``right`` rows are correct (default: all). Returns ``path``."""
    with server.board.hosted.answers.open(newline="") as file:
        header, *rows = csv.reader(file)
    classes = sorted({label for _, label, _ in rows})
    others = dict(zip(classes, [*classes[1:], classes[0]], strict=True))
    right = len(rows) if right is None else right
    given = [(name, label if row < right else others[label]) for row, (name, label, _) in enumerate(rows)]
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header[:2], *given])
    return path


COMPETITIONS = "competitions.CompetitionApiService"
KERNELS = "kernels.KernelsApiService"


def ask(
    server: StandIn, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Send one request without the client. Returns status, headers (names in lower case) and body."""
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=PATIENCE)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def call(server: StandIn, method: str, **request: Any) -> tuple[int, dict[str, Any]]:
    """Call a method of the server as the client does. Returns the status and the parsed JSON of the response."""
    right = {"Authorization": f"Bearer {server.key}"}
    status, headers, body = ask(server, "POST", f"/api/v1/{method}", json.dumps(request).encode(), **right)
    return status, {"location": headers["location"]} if status == 302 else json.loads(body)


def upload(server: StandIn, file: Path) -> str:
    """Upload a file. Returns its token."""
    slug, length = server.board.hosted.slug, file.stat().st_size
    request = {"competitionName": slug, "contentLength": length, "fileName": file.name}
    _, started = call(server, f"{COMPETITIONS}/StartSubmissionUpload", **request)
    assert ask(server, "PUT", started["createUrl"], file.read_bytes())[0] == 200
    return started["token"]


def submit(server: StandIn, file: Path, description: str = "") -> tuple[int, dict[str, Any]]:
    """Upload and submit a file, as the client does. Returns the status and the response."""
    slug, token = server.board.hosted.slug, upload(server, file)
    request = {"competitionName": slug, "blobFileTokens": token, "submissionDescription": description}
    return call(server, f"{COMPETITIONS}/CreateSubmission", **request)


def submissions(server: StandIn) -> list[dict[str, Any]]:
    """Wait until no submission is PENDING, then return all of them, newest first."""

    def listed() -> list[dict[str, Any]]:
        return call(server, f"{COMPETITIONS}/ListSubmissions", competitionName=server.board.hosted.slug)[1][
            "submissions"
        ]

    wait_until(lambda: all(submission["status"] != "PENDING" for submission in listed()))
    return listed()


def wait_until(is_so: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until ``is_so()`` is true. Raises TimeoutError after ``seconds``."""
    latest = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > latest:
            raise TimeoutError
        time.sleep(0.02)
