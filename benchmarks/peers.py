"""This pipeline beside what one would take instead: fastai, Ultralytics, torchvision and AutoGluon, without weights.

    python benchmarks/peers.py --folder FOLDER [--competition NAME|FOLDER|ZIP] [--data ZIP] [--minutes 10]
                               [--systems NAME ...] [--output FILE.md]

Writes the contest, which has one class an image, with the pipeline's own split into training and validation images, as
folders and CSVs that all read. Each peer is a script of ``benchmarks/peers/``, as one would write it with that library
for small images. pip installs the library into an environment of its own in ``--folder``; what the running interpreter
has installed is seen there, too, so that PyTorch is not installed again where its version is allowed.

All train for as many minutes on the same images, one after another, and answer the test images. Prints a Markdown
table: accuracy on the validation images, seconds from the start to the submission, how many cores were at work, the
lines that one writes, and what the library leaves to those lines. A peer that cannot be installed or started becomes a
row that says why.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np

from benchmarks.measuring import competition_arguments
from competition.errors import UserError
from competition.sources import open_competition
from competition.spec import Competition, Split
from competition.storage import build_folder
from competition.submission import check_submission
from competition.tables import read_table, write_table
from competition.wording import fault_in, printable
from pipeline.command_lines import train_settings
from pipeline.commands import run_main
from pipeline.data.training_data import open_training_data
from pipeline.kaggle.ledger import note_of, sha256_of
from pipeline.parser import Parser, existing, positive
from pipeline.training.portfolio import BASELINES, FROM_SCRATCH

SCRIPTS = ROOT / "benchmarks" / "peers"
OURS = "pipeline"
WITHOUT_WEIGHTS = (*BASELINES, FROM_SCRATCH)  # what train.py chooses where no ImageNet weights are installed
PATIENCE = 900  # seconds that a peer may take beyond its minutes
HEADER = (
    "system",
    "validation accuracy",
    "seconds to the submission",
    "cores at work",
    "lines to write",
    "left to these lines",
)


@dataclass(frozen=True)
class Peer:
    """requirements: what pip installs, first the library itself. leaves: what its user has to do besides."""

    title: str
    requirements: tuple[str, ...]
    leaves: str


PEERS = {
    "fastai": Peer("fastai", ("fastai", "pandas"), "CSV out, time budget"),
    "ultralytics": Peer("Ultralytics", ("ultralytics", "pandas"), "CSV in (it reads a folder for each class), CSV out"),
    "torchvision": Peer("torchvision", ("torchvision", "pandas"), "CSV in, training loop, CSV out, time budget"),
    "autogluon": Peer("AutoGluon", ("autogluon.multimodal",), "offline: a checkpoint on the disk; CSV out"),
}


@dataclass(frozen=True)
class Answer:
    """What a system achieved.

    seconds: from the start of its process to its submission.
    cores: how many were at work on average, until its process ended; fewer than there are if the machine is busy.
    """

    accuracy: float
    seconds: float
    cores: float


class Work:
    """The processes that are started after it is made, and waited for."""

    def __init__(self) -> None:
        self.begun, self._processor = time.time(), processor_seconds()

    @property
    def cores(self) -> float:
        """How many they kept at work on average so far; 0 on a system that does not tell."""
        return (processor_seconds() - self._processor) / (time.time() - self.begun)


def processor_seconds() -> float:
    """Of all processes that were started from this one and have ended."""
    spent = os.times()
    return spent.children_user + spent.children_system


@dataclass(frozen=True)
class Row:
    """answer: or, in a few words, why there is none. lines: that one writes."""

    system: str
    answer: Answer | str
    lines: int
    leaves: str

    @property
    def cells(self) -> tuple[str, ...]:
        """In the order of ``HEADER``."""
        found = self.answer
        if isinstance(found, str):
            return self.system, found, "", "", str(self.lines), self.leaves
        measured = f"{found.accuracy:.3f}", f"{found.seconds:.0f}", f"{found.cores:.1f}"
        return self.system, *measured, str(self.lines), self.leaves


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    folder = options.folder.resolve()
    contest = written_contest(options, folder)
    competition = open_competition(str(contest), None, folder / "contests")
    rows = []
    for system in options.systems:
        rows.append(measured(system, contest, competition, folder, options.minutes))
        print(" | ".join(rows[-1].cells), flush=True)
    text = markdown([row.cells for row in rows])
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    print(text, end="")


def parse(arguments: list[str]) -> Namespace:
    parser = Parser(__doc__.splitlines()[0])
    systems = (OURS, *PEERS)
    parser.add_argument("--folder", type=Path, required=True, help="for environments, images and answers; some GB")
    parser.add_argument("--competition", default="cifar10", metavar="NAME|FOLDER|ZIP", help="default: cifar10")
    parser.add_argument("--data", type=existing, metavar="FOLDER|ZIP", help="where the competition's files are")
    parser.add_argument("--minutes", type=positive, default=10, metavar="N", help="for training; default: 10")
    parser.add_argument("--systems", nargs="+", choices=systems, default=systems, metavar="NAME", help="default: all")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="also write the table to this file")
    return parser.parse_args(arguments)


def written_contest(options: Namespace, folder: Path) -> Path:
    """The folder of the contest that all read; written unless it is there.

    Raises UserError if its images do not have one class each.
    """
    settings = train_settings([*competition_arguments(options), "--work", str(folder / "source")])
    competition = open_competition(**settings.source)
    if competition.task.kind != "multiclass":
        raise UserError(f"{printable(competition.name)}: not one class an image; choose another --competition")

    def write(draft: Path) -> None:
        data = open_training_data(competition, settings)
        train, validation = data.splits[0]
        parts = {"train": data.split.take(train), "val": data.split.take(validation), "test": competition.test}
        for name, split in parts.items():
            write_part(name, split, competition.classes, draft)

    return build_folder(folder / "contests" / competition.name, write)


def write_part(name: str, split: Split, classes: tuple[int | str, ...], folder: Path) -> None:
    """Write ``NAME.csv``, with the columns ``image`` and, if labels are known, ``label``, and ``NAME_images/``."""
    images = folder / f"{name}_images"
    images.mkdir()
    files = [f"{name}-{place:06}{path.suffix}" for place, path in enumerate(split.paths)]
    for file, path in zip(files, split.paths, strict=True):
        shutil.copyfile(path, images / file)
    labels = {} if split.labels is None else {"label": [classes[label] for label in split.labels]}
    write_table(folder / f"{name}.csv", {"image": files, **labels})


def measured(system: str, contest: Path, competition: Competition, folder: Path, minutes: int) -> Row:
    """Train one system and score its answers."""
    if system == OURS:
        commands = our_commands(contest, minutes)
        return Row("this pipeline", run_ours(commands, competition, folder), len(commands), "")
    peer, script = PEERS[system], SCRIPTS / f"with_{system}.py"
    title, answer = peer.title, ""
    try:
        python = environment(peer, folder / "environments" / system)
        title = f"{title} {installed_versions(python, peer)}"
        answer = run_peer(python, script, contest, competition, folder / "answers" / system, minutes)
    except UserError as error:
        answer = f"none: {printable(error, most=200)}"
    return Row(title, answer, written_lines(script.read_text(encoding="utf-8")), peer.leaves)


def our_commands(contest: Path, minutes: int) -> list[list[str]]:
    """What one types; the models are those without weights, whether weights are installed or not."""
    source = ["--competition", str(contest)]
    return [["train.py", *source, "--budget", f"{minutes}m", "--models", *WITHOUT_WEIGHTS], ["predict.py", *source]]


def run_ours(commands: list[list[str]], competition: Competition, folder: Path) -> Answer:
    """Run the commands in a fresh work folder. The accuracy is the blend's, cross-validated.

    Raises UserError if a command fails.
    """
    with TemporaryDirectory(dir=folder) as files:
        work = Work()
        for script, *options in commands:
            command = [sys.executable, ROOT / "pipeline" / script, *options, "--work", files]
            run_logged(command, folder / f"{script}.log")
        cores, submission = work.cores, Path(files, "submissions", competition.name, "submission.csv")
        note = note_of(submission, sha256_of(submission))
        return Answer(note.validation, seconds_to(submission, work.begun, competition), cores)


def run_peer(python: Path, script: Path, contest: Path, competition: Competition, output: Path, minutes: int) -> Answer:
    """Run a peer's script and score what it writes. Raises UserError if it fails, or if its CSVs are not valid."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    work = Work()
    run_logged([python, script, contest, output, str(minutes)], output / "log.txt", 60 * minutes + PATIENCE)
    cores, accuracy = work.cores, validation_accuracy(output / "validation.csv", competition)
    return Answer(accuracy, seconds_to(output / "submission.csv", work.begun, competition), cores)


def run_logged(command: list[Path | str], log: Path, limit: float | None = None) -> None:
    """Run a command and write what it prints to a file. limit: seconds.

    Raises UserError, with the last line that was printed, if the command fails.
    """
    with log.open("w", encoding="utf-8") as file:
        try:
            done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, timeout=limit)
        except subprocess.TimeoutExpired:
            raise fault_in(log, f"not done after {limit:.0f} s", "see this file") from None
    if done.returncode:
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise UserError(f"{said[-1] if said else f'ended with status {done.returncode}'}; see {log}")


def seconds_to(submission: Path, begun: float, competition: Competition) -> float:
    """From ``begun``, in seconds since the epoch, until the CSV was written. Raises UserError if it is not valid."""
    if not submission.exists():
        raise fault_in(submission, "no submission was written", "see the log beside it")
    check_submission(competition, submission)
    return submission.stat().st_mtime - begun


def validation_accuracy(answers: Path, competition: Competition) -> float:
    """The share of validation images, 0 to 1, whose label in the CSV is right.

    Raises UserError unless the CSV has a row ``image,label`` for each validation image, in their order.
    """
    table = read_table(answers).frame
    if list(table.columns) != ["image", "label"] or tuple(table["image"]) != competition.val.ids:
        raise fault_in(answers, "not a row image,label for each validation image", "see the log beside it")
    labels = np.array([str(competition.classes[label]) for label in competition.val.known_labels])
    return float((table["label"].to_numpy(str) == labels).mean())


def environment(peer: Peer, folder: Path) -> Path:
    """The interpreter of an environment in which the peer is installed; made unless it is there.

    What the running interpreter has installed comes after what pip installs there. Raises UserError if pip fails.
    """
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    made = folder / "requirements.txt"
    if not made.exists():
        venv.create(folder, clear=True, with_pip=True)
        ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        packages = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
        (packages / "running_interpreter.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
        run_logged([python, "-m", "pip", "install", *peer.requirements], folder / "pip.log")
        made.write_text("\n".join(peer.requirements), encoding="utf-8")
    return python


def installed_versions(python: Path, peer: Peer) -> str:
    """The version of the peer's library and that of torch, as the environment has them."""
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    ask = [python, "-c", code, peer.requirements[0], "torch"]
    found = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split()
    library, torch = (version.partition("+")[0] for version in found)
    return f"{library} (torch {torch})"


def written_lines(script: str) -> int:
    """The lines of a script, without empty ones, comments and docstrings of one line."""
    lines = (line.strip() for line in script.splitlines())
    return sum(bool(line) and not line.startswith(("#", '"""')) for line in lines)


def markdown(rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table under ``HEADER``."""
    cells = (HEADER, ("---",) * len(HEADER), *rows)
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n" for row in cells)


if __name__ == "__main__":
    run_main(main)
