"""A local stand-in for Kaggle's server, for the real ``kaggle`` client; nothing leaves the machine.

    python competition/stand_in/server.py [--competition rehearsal|FOLDER] [--answers FILE] [--port N] [--state DIR]

It lists and serves the competition's files, accepts and scores submissions (a public and a private score, a daily
limit), shows the leaderboard, and runs pushed kernels in a sandbox laid out like a Kaggle notebook. It listens on
loopback only. Its messages and limits are its own; Kaggle's may differ.
"""

import argparse
import ipaddress
import shlex
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from competition.errors import UserError
from competition.rehearsal import DATA_FOLDER, NAME, draw_rehearsal
from competition.stand_in.board import Board, Hosted
from competition.stand_in.faults import Faults, parse_fault
from competition.stand_in.handler import Handler
from competition.stand_in.kernels import Kernels
from competition.stand_in.sandbox import Limits, Sandbox
from competition.stand_in.state import State
from competition.stand_in.wire import DATA, OUTPUT, Message
from competition.wording import counted, printable

USERNAME = "rehearser"
PORT = 8765
DAILY_LIMIT = 5
OWN_WORDS = "A stand-in for Kaggle's server, on this machine only; its messages and limits are its own, not Kaggle's."


class StandIn(ThreadingHTTPServer):
    """The server. In a test, ``with StandIn(hosted, state_folder) as server`` runs it in a thread.

    faults: what goes wrong on request; see ``Faults``.
    datasets: folders by the name that a kernel gives, ``owner/slug`` or a model's ``owner/model/...``.
    calls: the names of the methods that were called, in order.
    refused: addresses of other hosts that were requested through it as a proxy; none was passed on.
    report: called with one line for each request.
    ended: set when the server ends.

    Raises UserError if the address is not loopback or is taken, or if the state cannot be kept.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self,
        hosted: Hosted,
        state_folder: Path,
        port: int = 0,
        host: str = "127.0.0.1",
        daily_limit: int = DAILY_LIMIT,
        sandbox: Sandbox | None = None,
        datasets: Mapping[str, Path] = MappingProxyType({}),
        report: Callable[[str], object] = lambda line: None,
    ) -> None:
        self.faults, self.report = Faults(), report
        self.datasets = dict(datasets)
        self.calls: deque[str] = deque(maxlen=10_000)
        self.refused: deque[str] = deque(maxlen=10_000)
        self.ended = threading.Event()
        self._listen(host, port)
        try:
            self.state = State(state_folder)
        except UserError:
            self.server_close()
            raise
        self.username, self.key = USERNAME, self.state.secret("key")
        self.board = Board(hosted, self.state, USERNAME, daily_limit)
        sandbox = sandbox or Sandbox(Path(sys.executable), Limits())
        self.kernels = Kernels(self.board, self.state, sandbox, self.datasets)
        self.methods = self.board.methods | self.kernels.methods
        self.methods["security.OAuthService/IntrospectToken"] = self._introspect
        self.files = {DATA: self.board.file_at, OUTPUT: self.kernels.file_at}

    def _listen(self, host: str, port: int) -> None:
        try:
            is_loopback = ipaddress.IPv4Address(host).is_loopback
        except ValueError:
            is_loopback = False
        if not is_loopback:
            raise UserError(f"'{printable(host)}' is not an IPv4 address on loopback; give 127.0.0.1")
        try:
            super().__init__((host, port), Handler)
        except (OSError, OverflowError) as error:
            raise UserError(f"cannot listen on port {port} ({error}); give another --port") from error

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.server_address[:2]
        return str(host), port

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make the client talk to this server, as this account, and to nothing else."""
        proxy = "http://{}:{}".format(*self.address)
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": proxy,
            "https_proxy": proxy,
            "no_proxy": "",
            "NO_PROXY": "",
            "KAGGLE_USERNAME": self.username,
            "KAGGLE_KEY": self.key,
            # It takes precedence over a token in the home directory, which the client would send instead of the key.
            "KAGGLE_API_TOKEN": self.key,
        }

    def __enter__(self) -> "StandIn":
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End a server that runs in a thread. It may be called twice."""
        self.shutdown()
        self.close()

    def close(self) -> None:
        """End everything that still runs; the state stays."""
        if not self.ended.is_set():
            self.ended.set()
            self.server_close()
            self.kernels.close()
            self.board.close()
            self.state.close()

    def verify_request(self, request: object, client_address: tuple) -> bool:
        return ipaddress.ip_address(client_address[0]).is_loopback

    def handle_error(self, request: object, client_address: tuple) -> None:
        """Report the error, unless the client has merely gone."""
        if not isinstance(sys.exception(), ConnectionError):
            self.report(traceback.format_exc())

    def _introspect(self, request: Message) -> Message:
        is_active = request.get("token") == self.key
        return {"active": True, "username": self.username} if is_active else {"active": False}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; --help lists the options")


def _parser() -> _Parser:
    parser = _Parser(description=__doc__.partition("\n")[0], epilog=OWN_WORDS, allow_abbrev=False)
    parser.add_argument("--competition", metavar="rehearsal|FOLDER", default=NAME)
    parser.add_argument("--answers", type=Path, metavar="FILE", help="default: answers/NAME.csv beside the folder")
    parser.add_argument(
        "--host", metavar="ADDRESS", default="127.0.0.1", help="an address on loopback; default 127.0.0.1"
    )
    parser.add_argument("--port", type=int, metavar="N", default=PORT, help=f"0 for any free port; default {PORT}")
    parser.add_argument("--state", type=Path, metavar="DIR", default=DATA_FOLDER / "stand_in")
    parser.add_argument("--daily-limit", type=int, metavar="N", default=DAILY_LIMIT, help="submissions per UTC day")
    parser.add_argument(
        "--python", type=Path, metavar="PATH", default=Path(sys.executable), help="the Python that runs the kernels"
    )
    parser.add_argument(
        "--kernel-seconds", type=float, metavar="N", default=Limits.seconds, help="time limit of a session"
    )
    parser.add_argument(
        "--kernel-gigabytes", type=float, metavar="N", default=Limits.gigabytes, help="memory limit of a process"
    )
    parser.add_argument("--only-kernels", action="store_true", help="take versions of kernels only, no CSVs")
    dataset = "a folder that kernels can use as a dataset or model source; may be given several times"
    parser.add_argument("--dataset", action="append", metavar="OWNER/SLUG=FOLDER", default=[], help=dataset)
    fault = "a fault to simulate, e.g. CreateSubmission=429x2, upload=drop, download=drop, GetKernel=hang"
    parser.add_argument("--fault", action="append", metavar="NAME=WHAT", default=[], help=fault)
    return parser


def _hosted(competition: str, answers: Path | None) -> Hosted:
    """The competition of that name or in that folder. The rehearsal is drawn if it does not exist yet."""
    folder = DATA_FOLDER / NAME if competition == NAME else Path(competition).expanduser().resolve()
    answers = answers or folder.parent / "answers" / f"{folder.name}.csv"
    if competition == NAME and not folder.exists():
        draw_rehearsal(folder, answers)
    return Hosted(folder.name, folder, answers)


def _dataset(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if "/" not in name or not folder:
        raise UserError(f"--dataset {printable(text)} is incomplete; give it as OWNER/SLUG=FOLDER")
    if not Path(folder).is_dir():
        raise UserError(f"--dataset {printable(text)}: no such folder; give one that exists")
    return name, Path(folder).expanduser().resolve()


def _greeting(server: StandIn) -> str:
    """The environment and comments, in a form that a shell can evaluate."""
    board, sandbox = server.board, server.kernels.sandbox
    host, port = server.address
    limits = f"{sandbox.limits.seconds:g} seconds, {sandbox.limits.gigabytes:g} GB per process"
    kernels = f"cannot run here ({sandbox.problem})" if sandbox.problem else f"run with {sandbox.executable}, {limits}"
    return "\n".join(
        [
            f"# {OWN_WORDS}",
            f"# {board.hosted.slug} ({counted(len(board.names), 'file')}) at {host}, port {port};"
            f" {counted(board.daily_limit, 'submission')} per UTC day; state in {server.state.folder}",
            f"# kernels {kernels}",
            "# Run these lines in the shell where you use the client; from there it reaches nothing but the stand-in:",
            *(f"export {name}={shlex.quote(value)}" for name, value in server.environment.items()),
        ]
    )


def main(arguments: list[str]) -> int:
    """Serve until interrupted. Returns 0, or 2 after one line about what is wrong with the command."""
    try:
        given = _parser().parse_args(arguments)
        faults = [parse_fault(text) for text in given.fault]
        datasets = dict(map(_dataset, given.dataset))
        sandbox = Sandbox(given.python, Limits(given.kernel_seconds, given.kernel_gigabytes))
        hosted = _hosted(given.competition, given.answers)
        served = (hosted, given.state, given.port, given.host, given.daily_limit)
        server = StandIn(*served, sandbox, datasets, _to_stderr)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, fault in faults:
        server.faults[name] = fault
    server.board.only_kernels = given.only_kernels
    print(_greeting(server), flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.close()
    return 0


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
