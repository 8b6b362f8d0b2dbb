"""One call of Kaggle's client in a separate process: ``kaggle_client.py`` starts it and reads what it prints.

Importing the client logs in and creates folders, a call may hang forever, and its command line neither fails when
it should nor shows the server's reason. Here a call is one JSON line on stdin, ``[name, arguments]``. The replies are
JSON lines on stdout: ``total`` (bytes to expect), then ``answer`` or ``error``, with its ``kind`` (an HTTP status or a
word) and ``says`` (the message).
"""

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LISTED = 100  # submissions, the newest first
_LONGEST_LOG = 20_000  # characters, from its end


def main() -> None:
    name, arguments = json.loads(sys.stdin.readline())
    out = sys.stdout

    def reply(**words: object) -> None:
        print(json.dumps(words, default=str), file=out, flush=True)

    with contextlib.redirect_stdout(sys.stderr):
        reply(**outcome(name, arguments, lambda total: reply(total=total)))


def outcome(name: str, arguments: dict, announce: Callable[[int], object]) -> dict:
    """The ``answer`` or ``error`` of one of ``CALLS``. announce: called with the size of a download, in bytes."""
    try:
        return {"answer": CALLS[name](_client(announce), **arguments)}
    except SystemExit:  # the client exits if it finds no credentials
        return {"error": {"kind": "credentials", "says": ""}}
    except Exception as error:
        return {"error": _described(error)}


def _client(announce: Callable[[int], object]) -> Any:
    """The client, logged in; it announces the size of each download."""
    from kaggle.api.kaggle_api_extended import KaggleApi

    api = KaggleApi()
    api.authenticate()
    fetch = api.download_file

    def announced(response: Any, *arguments: Any) -> Any:
        announce(int(response.headers.get("Content-Length") or 0))
        return fetch(response, *arguments)

    api.download_file = announced
    return api


def _described(error: Exception) -> dict:
    for each in (error, error.__context__):  # the client wraps some HTTP errors in its own
        response = getattr(each, "response", None)
        if response is not None:
            # Calls are POSTs; a GET fetches a file from an address that Kaggle gave, which is valid for some time only.
            is_storage = response.request.method == "GET" and response.status_code in (400, 401, 403, 404, 410)
            return {"kind": "expired" if is_storage else response.status_code, "says": _reason(response)}
    if isinstance(error, OSError) and type(error).__module__.startswith("requests"):
        return {"kind": "connection", "says": type(error).__name__}
    kind = "missing" if isinstance(error, ImportError) else "fault"
    return {"kind": kind, "says": f"{type(error).__name__}: {error}"}


def _reason(response: Any) -> str:
    """The server's message, which may lie in ``error``; else the name of the HTTP status."""
    try:
        body = response.json()
        error = body.get("error", body)
        return error if isinstance(error, str) else str(error["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return response.reason or ""


def username(api: Any) -> str:
    return api.config_values["username"]


def download(api: Any, competition: str, folder: str) -> None:
    api.competition_download_files(competition, folder)


def submissions(api: Any, competition: str) -> list[dict]:
    listed = api.competition_submissions(competition, page_size=_LISTED) or []
    return [
        {
            "ref": str(each.ref),
            "status": each.status.name,
            "description": each.description or "",
            "public": each.public_score or "",
            "private": each.private_score or "",
            "reason": each.error_description or "",
        }
        for each in listed
    ]


def limits(api: Any, competition: str) -> dict:
    found = api.competition_get_submission_limits(competition)
    return {"today": found.num_today, "total": found.num_total, "left": found.num_allowed_now}


def submit(api: Any, competition: str, file: str, description: str) -> dict:
    response = api.competition_submit(file, description, competition, quiet=True)
    arrived = response.message != api.COMPETITION_SUBMIT_UPLOAD_FAILED_MESSAGE
    return {"ref": str(response.ref or ""), "says": response.message or "", "arrived": arrived}


def submit_kernel(api: Any, competition: str, kernel: str, version: int, file: str, description: str) -> dict:
    response = api.competition_submit_code(file, description, competition, kernel, version, quiet=True)
    return {"ref": str(response.ref or ""), "says": response.message or "", "arrived": True}


def kernel_version(api: Any, kernel: str) -> int:
    from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelRequest

    request = ApiGetKernelRequest()
    request.user_name, request.kernel_slug = kernel.split("/")
    with api.build_kaggle_client() as client:
        return client.kernels.kernels_api_client.get_kernel(request).metadata.current_version_number


def kernel_status(api: Any, kernel: str, version: int) -> dict:
    session = api.kernels_status(f"{kernel}/{version}" if version else kernel)
    return {"status": session.status.name, "reason": session.failure_message or ""}


def kernel_log(api: Any, kernel: str, version: int) -> str:
    """The end of what the kernel printed; stdout and stderr as one text, from the beginning of a line."""
    parts = json.loads(_output_page(api, kernel, version, "").log or "[]")
    text = "".join(part["data"] for part in parts)
    return text if len(text) <= _LONGEST_LOG else text[-_LONGEST_LOG:].partition("\n")[2]


def kernel_output(api: Any, kernel: str, version: int, names: list[str], folder: str) -> list[str]:
    """Download the named files. Returns the names of those that exist."""
    import requests

    token: str | None = ""
    fetched = []
    while token is not None:
        page = _output_page(api, kernel, version, token)
        for file in page.files or []:
            if file.file_name in names:
                response = requests.get(file.url)
                response.raise_for_status()
                (Path(folder) / file.file_name).write_bytes(response.content)
                fetched.append(file.file_name)
        token = page.next_page_token or None
    return fetched


def _output_page(api: Any, kernel: str, version: int, token: str) -> Any:
    from kagglesdk.kernels.types.kernels_api_service import ApiListKernelSessionOutputRequest

    request = ApiListKernelSessionOutputRequest()
    request.user_name, request.kernel_slug = kernel.split("/")
    if version:
        request.version_label = f"v{version}"
    if token:
        request.page_token = token
    with api.build_kaggle_client() as client:
        return client.kernels.kernels_api_client.list_kernel_session_output(request)


CALLS = {
    each.__name__: each
    for each in (
        *(username, download, submissions, limits, submit, submit_kernel),
        *(kernel_version, kernel_status, kernel_log, kernel_output),
    )
}

if __name__ == "__main__":
    main()
