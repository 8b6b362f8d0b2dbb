"""The HTTP side of the stand-in: checks each request and has it answered, or simulates a fault."""

import base64
import json
import secrets
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from competition.stand_in.downloads import send_file
from competition.stand_in.faults import Fault
from competition.stand_in.wire import DATA, LOGS, UPLOAD, Content, Message, Redirect, RefusedError, Stream
from competition.wording import printable

if TYPE_CHECKING:
    from competition.stand_in.server import StandIn

Answer = Message | Redirect | Content | Stream | Path

_LONGEST_CALL = 1 << 26  # bytes of a request's JSON, which may hold a whole kernel
_LONGEST_PATIENCE = 600  # seconds without a byte from the client


class Handler(BaseHTTPRequestHandler):
    """One connection: reads each request, calls the method that answers it, sends the answer."""

    protocol_version = "HTTP/1.1"
    timeout = _LONGEST_PATIENCE
    server: "StandIn"
    _unread = 0  # bytes of the request's body

    def do_POST(self) -> None:
        self._answer(self.path.rpartition("/")[2], self._call)

    def do_PUT(self) -> None:
        self._answer(UPLOAD, self._take_upload)

    def do_GET(self) -> None:
        kind = urlsplit(self.path).path.strip("/").partition("/")[0]
        self._answer({DATA: "download", "api": "logs"}.get(kind, kind), self._find)

    def do_CONNECT(self) -> None:
        self.server.refused.append(self.path)
        self._refuse(RefusedError(403, f"only the stand-in can be reached, not {printable(self.path)}"))

    def _answer(self, name: str, work: Callable[[str], Answer]) -> None:
        """Do what the request asks for, or simulate the fault set for it, and send the result."""
        self.server.calls.append(name)
        fault = self.server.faults.take(name)
        is_cut = fault is not None and fault.kind == "drop"
        try:
            self._unread = max(0, int(self.headers.get("Content-Length") or 0))
            path = self._local_path()
            if fault and fault.kind == "hang":
                self.server.ended.wait()
            if fault and (fault.kind == "hang" or (is_cut and self.command != "GET")):
                self._read(self._unread // 2)
                self.close_connection = True
                return
            if fault and fault.kind == "status":
                raise _ordered(fault)
            answer = work(path)
            if fault and fault.kind == "lost":
                raise _ordered(fault)
            self._send(answer, is_cut)
        except RefusedError as refusal:
            self._refuse(refusal)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception as error:
            self.server.report(traceback.format_exc())
            self._refuse(RefusedError(500, f"the stand-in itself failed ({printable(error)})"))

    def _local_path(self) -> str:
        """The address without its host. Raises RefusedError if the host is not this one."""
        address = urlsplit(self.path)
        if address.hostname not in (None, "localhost"):
            self.server.refused.append(self.path)
            raise RefusedError(403, f"only the stand-in can be reached, not {printable(address.hostname)}")
        return unquote(address.path)

    def _call(self, path: str) -> Answer:
        method = path.removeprefix("/api/v1/")
        if method not in self.server.methods:
            raise RefusedError(404, f"the stand-in does not know {printable(method)}")
        if not method.endswith("/IntrospectToken"):
            self._check_account()
        if self._unread > _LONGEST_CALL:
            raise RefusedError(413, "the request is too long")
        try:
            request = json.loads(self._read(self._unread) or b"{}")
        except ValueError as error:
            raise RefusedError(400, f"the request is not JSON ({error})") from error
        if not isinstance(request, dict):
            raise RefusedError(400, "the request is not a JSON object")
        return self.server.methods[method](request)

    def _check_account(self) -> None:
        """Raises RefusedError if the request does not carry the account's key."""
        account = base64.b64encode(f"{self.server.username}:{self.server.key}".encode()).decode()
        given = self.headers.get("Authorization", "").encode("latin-1", "replace")
        right = f"Basic {account}".encode(), f"Bearer {self.server.key}".encode()
        if not any(secrets.compare_digest(given, each) for each in right):
            remedy = "set the environment variables that the stand-in printed at its start"
            raise RefusedError(401, f"missing or wrong credentials; {remedy}")

    def _take_upload(self, path: str) -> Message:
        token = path.rpartition("/")[2]
        upload = self.server.state.upload(token)
        if upload is None or self._unread != upload.length:
            raise RefusedError(400, "no upload of this length was started at this address")
        target = self.server.state.upload_path(token)
        draft = target.with_suffix(".draft")
        try:
            with draft.open("wb") as file:
                self._read_to(file.write)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        return {}

    def _find(self, path: str) -> Answer:
        if path.startswith(LOGS):
            self._check_account()
            label = parse_qs(urlsplit(self.path).query).get("versionLabel", [""])[0]
            return Stream(self.server.kernels.events(path.removeprefix(LOGS), label))
        kind, _, address = path.strip("/").partition("/")
        if kind not in self.server.files:
            raise RefusedError(404, "there is nothing at this address")
        return self.server.files[kind](address)

    def _read(self, length: int) -> bytes:
        """Read that many bytes of the body. Raises ConnectionError if the client sends fewer."""
        body = self.rfile.read(length)
        self._unread -= len(body)
        if len(body) < length:
            raise ConnectionError("the client has closed the connection")
        return body

    def _read_to(self, take: Callable[[bytes], object]) -> None:
        while self._unread:
            take(self._read(min(self._unread, 1 << 20)))

    def _send(self, answer: Answer, is_cut: bool = False) -> None:
        if isinstance(answer, Path):
            send_file(self, answer, is_cut)
        elif isinstance(answer, Redirect):
            self._send_bytes(302, b"", "text/plain", {"Location": answer.url})
        elif isinstance(answer, Stream):
            self._send_events(answer)
        elif isinstance(answer, Content):
            self._send_bytes(200, answer.body, answer.kind, {"Last-Modified": formatdate(usegmt=True)})
        else:
            self._send_bytes(200, json.dumps(answer).encode(), "application/json")

    def _send_events(self, stream: Stream) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for event in stream.events:
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.write(b"data: END_OF_LOG\n\n")

    def _refuse(self, refusal: RefusedError) -> None:
        with suppress(ConnectionError, TimeoutError):
            self._read_to(lambda chunk: None)  # a client that is still sending might not read the answer
            body = json.dumps(refusal.body).encode()
            self._send_bytes(refusal.status, body, "application/json", {"Connection": "close"})
        self.close_connection = True

    def _send_bytes(
        self, status: int, body: bytes, kind: str, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, template: str, *values: object) -> None:
        self.server.report(template % values)


def _ordered(fault: Fault) -> RefusedError:
    return RefusedError(fault.status, f"the stand-in was told to answer {fault.status} here")
