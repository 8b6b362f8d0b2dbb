"""Run the pipeline in a Kaggle notebook: find the inputs, train, predict, and keep the submission and the runs.

python pipeline/kernel.py --competition NAME [any option of train.py]
python pipeline/kernel.py --competition NAME --predict-only [any option of predict.py]
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

if __name__ == "__main__":  # run as a script: check the options before importing what follows
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from pipeline import commands

    commands.kernel()

from competition.errors import UserError, first_few
from competition.sources import subfolders
from competition.storage import ROOT, atomic_write
from pipeline.settings import train_settings

OUTPUTS = ("submission.csv", "submission.json", "report.html")
DEEPEST = 4  # levels of folders to search below the inputs
OVERTIME = 1.1, 120.0  # training is stopped after this multiple of the budget plus this many seconds


def main(parsed: tuple[argparse.Namespace, list[str]]) -> None:
    given, options = parsed
    name, work = given.competition, given.work
    data = input_of(given.input, name, "a folder with train.csv and test.csv", holds_tables)
    source = ["--competition", name, "--data", str(data), "--work", str(work)]
    runs = work / "runs" / name
    if given.predict_only:
        trained = input_of(given.input, name, "a folder with trained models", holds_runs)
        shutil.copytree(trained, runs, dirs_exist_ok=True)
    else:
        train([*source, *options], runs)
    status = run("predict", [*source, *(options if given.predict_only else [])])
    leave(work, name)
    sys.exit(status)


def input_of(inputs: Path, name: str, what: str, holds: Callable[[Path], bool]) -> Path:
    """The folder below ``inputs`` for which ``holds`` is true; if there are several, the one with ``name`` in its path.

    what: what the folder holds, for the error message.
    Raises UserError if there is no such folder, or if several remain.
    """
    found = [folder for folder in folders(inputs, DEEPEST) if holds(folder)]
    found = [folder for folder in found if name in folder.relative_to(inputs).parts] or found
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(f"{inputs}: no input holds {what}; add it to the kernel's sources and push again")
    raise UserError(
        f"{inputs}: several inputs hold {what}: {first_few(found)}; keep one of them among the kernel's sources"
    )


def folders(folder: Path, depth: int) -> Iterator[Path]:
    """The folders below ``folder``, down to ``depth`` levels, parents first."""
    for inner in subfolders(folder) if depth else ():
        yield inner
        yield from folders(inner, depth - 1)


def holds_tables(folder: Path) -> bool:
    return (folder / "train.csv").is_file() and (folder / "test.csv").is_file()


def holds_runs(folder: Path) -> bool:
    """Whether a folder holds finished runs of one competition."""
    from pipeline.training import runs  # here, because it imports torch, which is slow

    return runs.holds_runs(folder)


def train(options: list[str], runs: Path) -> None:
    """Run train.py. If it fails or takes too long, go on with the models that it has finished.

    Exits with the status of train.py if there are none.
    """
    budget = train_settings(options).budget
    share, more = OVERTIME
    status = run("train", options, None if budget is None else share * budget + more)
    if status != 0 and not holds_runs(runs):
        sys.exit(status)
    if status != 0:
        print("warning: training did not finish; predicting with the models trained so far", flush=True)


def run(script: str, options: list[str], seconds: float | None = None) -> int:
    """Run one of the pipeline's scripts. Returns its exit status; 124, as ``timeout`` does, if it took too long."""
    command = [sys.executable, str(ROOT / "pipeline" / f"{script}.py"), *options]
    print(f"{script}.py {' '.join(options)}", flush=True)
    try:
        return subprocess.run(command, timeout=seconds).returncode
    except subprocess.TimeoutExpired:
        print(f"error: {script}.py did not finish within {seconds:.0f} s and was stopped", file=sys.stderr, flush=True)
        return 124


def leave(work: Path, name: str) -> None:
    """Copy the outputs to where Kaggle looks for them, and delete the data that the notebook need not keep."""
    for path in (work / "submissions" / name / output for output in OUTPUTS):
        if path.is_file():
            with atomic_write(work / path.name) as copy:
                shutil.copyfile(path, copy)
    shutil.rmtree(work / "competition", ignore_errors=True)
