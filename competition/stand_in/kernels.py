"""The notebooks' side of the stand-in: pushed kernels, their sessions, logs and output."""

import json
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from competition.stand_in.board import Board
from competition.stand_in.sandbox import Sandbox, Session
from competition.stand_in.state import Kernel, State
from competition.stand_in.wire import ORIGIN, OUTPUT, Message, RefusedError, in_folder, needed, number, page_of
from competition.storage import write_file
from competition.wording import counted, printable

_SUBMISSION = "submission.csv"
_UNFINISHED = ("QUEUED", "RUNNING")
_SAVED = "NEW_SCRIPT"  # the status of a version that was saved and not run
_MOMENT = 0.1  # seconds


class Kernels:
    """Answers the methods of Kaggle's kernel service; sessions run one after the other, in a sandbox.

    datasets: folders by the name that a kernel gives: ``owner/slug``, or a model's ``owner/model/...``.
    """

    def __init__(self, board: Board, state: State, sandbox: Sandbox, datasets: Mapping[str, Path]) -> None:
        self._board, self._state, self.sandbox, self._datasets = board, state, sandbox, datasets
        self._place = state.secret("addresses")
        self._waiting: queue.Queue[Kernel | None] = queue.Queue()
        self._session: tuple[int, Session] | None = None
        self._is_ended = False
        for kernel in state.unfinished_kernels():
            self._waiting.put(kernel)
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._worker.start()

    @property
    def methods(self) -> dict[str, Callable[[Message], Message]]:
        of_kernels: dict[str, Callable[[Message], Message]] = {
            "SaveKernel": self._push,
            "GetKernelSessionStatus": self._status,
            "ListKernelSessionOutput": self._output,
            "GetKernel": self._pull,
        }
        methods = {f"kernels.KernelsApiService/{name}": method for name, method in of_kernels.items()}
        return methods | {"competitions.CompetitionApiService/CreateCodeSubmission": self._submit}

    def file_at(self, address: str) -> Path:
        """The file at an address below /output. Raises RefusedError if there is none."""
        place, _, name = address.partition("/")
        if place != self._place:
            raise RefusedError(403, "this address is not valid here")
        return in_folder(self._state.folder / "kernels", name)

    def events(self, ref: str, label: str) -> Iterator[Message]:
        """The entries of a log of ``owner/slug``, as they appear, until the session ends. label: see ``_version``."""
        owner, _, slug = ref.partition("/")
        kernel, sent = self._found(owner, slug, _version(label)), 0
        is_running = True
        while is_running and not self._is_ended:
            is_running = self._found(owner, slug, kernel.version).status in _UNFINISHED
            entries = json.loads(self._log(kernel))
            yield from entries[sent:]
            sent = len(entries)
            time.sleep(_MOMENT if is_running else 0)

    def close(self) -> None:
        """End the running session. It runs again, as do the queued ones, after the next start."""
        self._is_ended = True
        self._waiting.put(None)
        if session := self._session:
            session[1].stop()
        self._worker.join()

    def _work(self) -> None:
        while (kernel := self._waiting.get()) and not self._is_ended:
            self._run(kernel)

    def _run(self, kernel: Kernel) -> None:
        folder = self._state.kernel_folder(kernel)
        inputs, _ = self._inputs(kernel.request)
        source, seconds = kernel.request["text"], number(kernel.request, "sessionTimeoutSeconds", 0)
        session = Session(self.sandbox, source, folder, inputs, seconds)
        self._session = kernel.id, session
        if self._is_ended:
            return
        self._state.set_kernel_status(kernel, "RUNNING")
        failure = session.run()
        if self._is_ended:
            return
        write_file(folder / "log.json", json.dumps(session.log.entries()))
        self._state.set_kernel_status(kernel, "ERROR" if failure else "COMPLETE", failure)

    def _push(self, request: Message) -> Message:
        owner, _, slug = needed(request, "slug").partition("/")
        number(request, "sessionTimeoutSeconds", 0)
        if error := self._objection(owner, slug, request):
            return {"error": error}
        _, unknown = self._inputs(request)
        is_run = request.get("kernelExecutionType") != "QUICK_SAVE"
        kernel = self._state.add_kernel(owner, slug, request, "QUEUED" if is_run else _SAVED)
        if is_run:
            self._waiting.put(kernel)
        url = f"{ORIGIN}/code/{kernel.ref}"
        saved = {"ref": kernel.ref, "url": url, "versionNumber": kernel.version, "kernelId": kernel.id}
        return saved | unknown

    def _objection(self, owner: str, slug: str, request: Message) -> str | None:
        if owner != self._board.username:
            return f"{printable(owner)} is not the owner, the account is {self._board.username}"
        if not slug.replace("-", "").isalnum():
            return f"'{printable(slug)}' cannot name a kernel, use letters, digits and '-'"
        if (request.get("language"), request.get("kernelType")) != ("python", "script"):
            return "the stand-in runs only Python scripts"
        if not isinstance(request.get("text"), str) or not request["text"]:
            return "the script is empty"
        if self.sandbox.problem:
            return f"this machine cannot run kernels ({self.sandbox.problem})"
        return None

    def _inputs(self, request: Message) -> tuple[dict[str, Path], dict[str, list[str]]]:
        """Folders by their path below /kaggle/input, and unknown sources by the field of the answer that lists them.

        A competition lies at ``competitions/SLUG``, a dataset at ``datasets/USER/SLUG``, a kernel's output at
        ``notebooks/USER/SLUG``, a model without its owner.
        """
        found: dict[str, Path] = {}
        unknown: dict[str, list[str]] = {}
        for field, place, locate in (
            ("competitionDataSources", "competitions/{}".format, self._competition_folder),
            ("datasetDataSources", "datasets/{}".format, self._datasets.get),
            ("modelDataSources", lambda name: name.partition("/")[2], self._datasets.get),
            ("kernelDataSources", "notebooks/{}".format, self._output_folder),
        ):
            for source in request.get(field, ()):
                folder = locate(source)
                if folder is None:
                    unknown.setdefault("invalid" + field[0].upper() + field[1:].replace("Data", ""), []).append(source)
                else:
                    found[place(source)] = folder
        return found, unknown

    def _competition_folder(self, slug: str) -> Path | None:
        return self._board.hosted.folder if slug == self._board.hosted.slug else None

    def _output_folder(self, source: str) -> Path | None:
        owner, _, slug = source.partition("/")
        kernel = self._state.kernel(owner, slug)
        return self._working(kernel) if kernel and kernel.status == "COMPLETE" else None

    def _working(self, kernel: Kernel) -> Path:
        return self._state.kernel_folder(kernel) / "working"

    def _found(self, owner: str, slug: str, version: int | None = None) -> Kernel:
        """Raises RefusedError if there is no such kernel."""
        kernel = self._state.kernel(owner, slug, version)
        if kernel is None:
            which = f" in version {version}" if version else ""
            raise RefusedError(403, f"there is no kernel {printable(owner)}/{printable(slug)}{which}")
        return kernel

    def _asked(self, request: Message) -> Kernel:
        version = _version(str(request.get("versionLabel") or ""))
        return self._found(needed(request, "userName"), needed(request, "kernelSlug"), version)

    def _status(self, request: Message) -> Message:
        kernel = self._asked(request)
        return {"status": kernel.status} | ({"failureMessage": kernel.failure} if kernel.failure else {})

    def _output(self, request: Message) -> Message:
        kernel = self._asked(request)
        names, following = page_of(self._written(kernel), request)
        place = f"{ORIGIN}/{OUTPUT}/{self._place}/{kernel.id}/working"
        files = [{"fileName": name, "url": f"{place}/{quote(name)}"} for name in names]
        return {"files": files, "log": self._log(kernel), "nextPageToken": following}

    def _written(self, kernel: Kernel) -> list[str]:
        """The files that a finished session left. Links are left out: they could point anywhere on this machine."""
        if kernel.status in _UNFINISHED:
            return []
        working, found = self._working(kernel), []
        for place, folders, files in os.walk(working):
            folders.sort()
            inside = Path(place)
            found += [inside / name for name in sorted(files) if not (inside / name).is_symlink()]
        return [str(path.relative_to(working)) for path in found if path.is_file()]

    def _log(self, kernel: Kernel) -> str:
        ended = self._state.kernel_folder(kernel) / "log.json"
        if ended.is_file():
            return ended.read_text(encoding="utf-8")
        session = self._session
        return json.dumps(session[1].log.entries()) if session and session[0] == kernel.id else "[]"

    def _pull(self, request: Message) -> Message:
        kernel = self._asked(request)
        pushed = kernel.request
        kept = ("language", "kernelType", "isPrivate", "enableGpu", "enableTpu", "enableInternet", "categoryIds")
        sources = ("datasetDataSources", "kernelDataSources", "competitionDataSources", "modelDataSources")
        metadata = {name: pushed[name] for name in (*kept, *sources, "dockerImage", "machineShape") if name in pushed}
        metadata |= {"id": kernel.id, "ref": kernel.ref, "slug": kernel.slug, "author": kernel.owner}
        metadata |= {"title": pushed.get("newTitle", kernel.slug), "currentVersionNumber": kernel.version}
        blob = {"source": pushed["text"], "language": "python", "kernelType": "script", "slug": kernel.slug}
        return {"metadata": metadata, "blob": blob}

    def _submit(self, request: Message) -> Message:
        self._board.check_name(request)
        version = number(request, "kernelVersion", 0) or None
        kernel = self._found(needed(request, "kernelOwner"), needed(request, "kernelSlug"), version)
        name = request.get("fileName") or _SUBMISSION
        if kernel.status != "COMPLETE":
            raise RefusedError(400, f"version {kernel.version} of {kernel.ref} is {kernel.status}, not COMPLETE")
        written = self._written(kernel)
        if name not in written:
            there = counted(len(written), "other file")
            raise RefusedError(400, f"version {kernel.version} of {kernel.ref} has no {printable(name)}, but {there}")
        description = request.get("submissionDescription", "")
        ref = self._board.accept(self._working(kernel) / name, Path(name).name, description)
        return {"message": f"The stand-in has accepted {printable(name)} as submission {ref}", "ref": ref}


def _version(label: str) -> int | None:
    """The version in ``v2``; None, the newest, if there is no label. Raises RefusedError for another label."""
    if label and not re.fullmatch(r"v[1-9]\d{0,8}", label):
        raise RefusedError(404, f"there is no version {printable(label)}; versions are called v1, v2")
    return int(label[1:]) if label else None
