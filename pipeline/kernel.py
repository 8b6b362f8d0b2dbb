"""Run the pipeline in a Kaggle notebook: find the inputs, train, predict, and keep the submission and the runs.

python pipeline/kernel.py --competition NAME [any option of train.py]
python pipeline/kernel.py --competition NAME --predict-only [any option of predict.py]
"""

import argparse
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

if __name__ == "__main__":  # run as a script: check the options before importing what follows
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from pipeline import commands

    commands.kernel()

from competition.errors import UserError, first_few
from competition.layouts import holds_competition
from competition.sources import subfolders
from competition.storage import ROOT, atomic_write
from pipeline.command_lines import train_settings
from pipeline.commands import repeated
from pipeline.kernel_lines import SESSION
from pipeline.settings import BEGUN

OUTPUTS = ("submission.csv", "submission.json", "report.html")
DEEPEST = 6  # levels of folders to search below the inputs: notebooks/USER/SLUG/runs/NAME, and one to spare
GLANCE, MOMENT = 5.0, 0.1  # seconds between two looks at what is trained, and at whether a script has ended
OVERTIME = 1.1, 120.0  # training is stopped after this multiple of the budget plus this many seconds
# Seconds of the session after which training is stopped at the latest, and after which everything is.
TRAINING, EVERYTHING = SESSION - 3600.0, SESSION - 600.0


def main(parsed: tuple[argparse.Namespace, list[str]]) -> None:
    given, options = parsed
    name, work = given.competition, given.work
    data = input_of(given.input, name, "a competition, such as a folder with train.csv and test.csv", holds_competition)
    source = ["--competition", name, "--data", str(data), "--work", str(work)]
    asked = [*source, *options]
    runs, is_answered = work / "runs" / name, False
    if given.predict_only:
        trained = input_of(given.input, name, "a folder with trained models", holds_runs)
        shutil.copytree(trained, runs, dirs_exist_ok=True)
        predicting = asked
    else:
        settings = train_settings(asked)
        predicting = repeated(settings)
        quick = [*predicting, "--no-report"]
        is_answered = train(
            asked, settings.budget, runs, lambda is_over: answer(run_until(is_over, "predict", quick), work, name)
        )
    is_complete = answer(run("predict", predicting, left_until(EVERYTHING)), work, name)
    if is_answered and not is_complete:
        print("warning: the last prediction failed; the submission is the one before", flush=True)
    shutil.rmtree(work / "competition", ignore_errors=True)  # data that the notebook need not keep
    sys.exit(0 if is_answered or is_complete else 2)


def left_until(moment: float) -> float:
    """Seconds from now until that many after the session's start."""
    return max(0.0, BEGUN + moment - time.monotonic())


def answer(status: int, work: Path, name: str) -> bool:
    """Copy what predict.py wrote to where Kaggle looks for it. Returns whether ``status``, that of predict.py, is 0."""
    if status != 0:
        return False
    for path in (work / "submissions" / name / output for output in OUTPUTS):
        if path.is_file():
            with atomic_write(work / path.name) as copy:
                shutil.copyfile(path, copy)
    return True


def input_of(inputs: Path, name: str, what: str, holds: Callable[[Path], bool]) -> Path:
    """The folder below ``inputs`` for which ``holds`` is true.

    Of several, that of the competition ``name`` itself counts first, then one with ``name`` in its path.
    what: what the folder holds, for the error message.
    Raises UserError if there is no such folder, or if several remain.
    """
    found = list(folders(inputs, DEEPEST, holds))
    named = [folder for folder in found if name in folder.relative_to(inputs).parts]
    own = [folder for folder in named if folder.relative_to(inputs).parts[:2] == ("competitions", name)]
    found = own or named or found
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(f"{inputs}: no input holds {what}; add it to the kernel's sources and push again")
    raise UserError(
        f"{inputs}: several inputs hold {what}: {first_few(found)}; keep one of them among the kernel's sources"
    )


def folders(folder: Path, depth: int, holds: Callable[[Path], bool]) -> Iterator[Path]:
    """The folders for which ``holds`` is true, down to ``depth`` levels below ``folder``; none within another."""
    for inner in subfolders(folder) if depth else ():
        if holds(inner):
            yield inner
        else:
            yield from folders(inner, depth - 1, holds)


def holds_runs(folder: Path) -> bool:
    """Whether a folder holds finished runs of one competition."""
    return bool(finished(folder))


def finished(folder: Path) -> set[Path]:
    """The records of the finished runs in a competition's folder of runs."""
    from pipeline.training import runs  # here, because it imports torch, which is slow

    return set(folder.glob(f"*/{runs.RECORD}"))


def train(options: list[str], budget: float | None, runs: Path, answer: Callable[[Event], bool]) -> bool:
    """Run train.py, and answer anew whenever it has trained another model. Returns whether there is an answer.

    A session that is cut off then leaves a submission. If train.py fails or takes too long, the models that it has
    finished count. Exits with its status if there are none.
    budget: of train.py, in seconds; None: no limit.
    answer: predicts until its argument is set, as training is over; returns whether it has got that far.
    """
    share, more = OVERTIME
    is_over = Event()
    with ThreadPoolExecutor(1) as beside:
        is_answered = beside.submit(watch, runs, answer, is_over)
        try:
            status = run("train", options, min(left_until(TRAINING), share * (budget or math.inf) + more))
        finally:
            is_over.set()
    if status != 0 and not holds_runs(runs):
        sys.exit(status)
    if status != 0:
        print("warning: training did not finish; predicting with the models trained so far", flush=True)
    return is_answered.result()


def watch(runs: Path, answer: Callable[[Event], bool], is_over: Event) -> bool:
    """Answer whenever another model is trained, until it is over. Returns whether there is an answer."""
    known: set[Path] = set()
    is_answered = False
    while not is_over.wait(GLANCE):
        if (trained := finished(runs)) != known:
            known, is_answered = trained, answer(is_over) or is_answered
    return is_answered


def run(script: str, options: list[str], seconds: float | None = None) -> int:
    """Run one of the pipeline's scripts. Returns its exit status; 124, as ``timeout`` does, if it took too long."""
    try:
        return subprocess.run(command_line(script, options), timeout=seconds).returncode
    except subprocess.TimeoutExpired:
        print(f"error: {script}.py did not finish within {seconds:.0f} s and was stopped", file=sys.stderr, flush=True)
        return 124


def run_until(is_over: Event, script: str, options: list[str]) -> int:
    """Run one of the pipeline's scripts, and end it when ``is_over`` is set. Returns its exit status."""
    with subprocess.Popen(command_line(script, options)) as process:
        while process.poll() is None:
            if is_over.wait(MOMENT):
                process.terminate()
                break
    return process.returncode


def command_line(script: str, options: list[str]) -> list[str]:
    """The command that runs a script, which is also printed."""
    print(f"{script}.py {' '.join(options)}", flush=True)
    return [sys.executable, str(ROOT / "pipeline" / f"{script}.py"), *options]
