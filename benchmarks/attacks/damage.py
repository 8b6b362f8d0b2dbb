"""Ways to damage a file, and the two attacks on files: those that a contest serves, and those that commands keep."""

import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.attacks.contest import Contest, Finished, draw_contest, is_valid
from benchmarks.attacks.forks import GOOD, WRONG, Done, Outcome, forked, one_after_the_other
from benchmarks.attacks.formats import ARCHIVES, FORMATS
from pipeline.models.base import CHECKPOINT_FILE

Generator = np.random.Generator
QUICK = ("dhc-gaussian-nb",)


class Executed:
    """Pickled, it writes a file when it is loaded."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.proof),)


def cut(path: Path, generator: Generator) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(generator.integers(len(content) + 1))])


def flip(path: Path, generator: Generator) -> None:
    """One bit, or a few."""
    content = bytearray(path.read_bytes())
    for _ in range(int(generator.integers(1, 4)) if content else 0):
        content[int(generator.integers(len(content)))] ^= 1 << int(generator.integers(8))
    path.write_bytes(content)


def overwrite(path: Path, generator: Generator) -> None:
    """Random bytes in the place of some."""
    content = bytearray(path.read_bytes())
    start = int(generator.integers(len(content) + 1))
    content[start : start + 16] = generator.bytes(16)
    path.write_bytes(content)


def empty(path: Path, _: Generator) -> None:
    path.write_bytes(b"")


def garbage(path: Path, generator: Generator) -> None:
    path.write_bytes(generator.bytes(200))


def poisoned(path: Path, _: Generator) -> None:
    """A pickle that leaves a trace if it is ever loaded."""
    path.write_bytes(pickle.dumps(Executed(proof_of(path))))


def folder_instead(path: Path, _: Generator) -> None:
    path.unlink()
    path.mkdir()


def gone(path: Path, _: Generator) -> None:
    path.unlink()


def a_digit(path: Path, generator: Generator) -> None:
    """One digit replaced by an absurd number, as of a value of another version or a slip of the hand."""
    content = path.read_bytes()
    digits = [place for place, byte in enumerate(content) if chr(byte).isdigit()]
    if digits:
        place = digits[int(generator.integers(len(digits)))]
        absurd = (b"0", b"-1", b"1e400", b"999999999999", b"NaN")[int(generator.integers(5))]
        path.write_bytes(content[:place] + absurd + content[place + 1 :])


WAYS: tuple[Callable[[Path, Generator], None], ...] = (
    cut,
    flip,
    overwrite,
    empty,
    garbage,
    poisoned,
    folder_instead,
    gone,
    a_digit,
)


def proof_of(path: Path) -> Path:
    return path.with_name("executed")


def damaged(path: Path, generator: Generator) -> str:
    """Damage the file in a way drawn at random. Returns the way's name."""
    way = WAYS[int(generator.integers(len(WAYS)))]
    way(path, generator)
    return way.__name__


def drawn_file(folder: Path, pattern: str, generator: Generator) -> Path:
    files = sorted(path for path in folder.rglob(pattern) if path.is_file())
    return files[int(generator.integers(len(files)))]


def served(pattern: str, seed: int) -> Outcome:
    """Damage a file of a contest's folder, then train and predict.

    Right is a submission of the ids that the test table has, with labels that the other tables have.
    """
    generator = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place:
        contest = Contest(draw_contest(Path(place) / "pets"), Path(place) / "work", QUICK)
        path = drawn_file(contest.source, pattern, generator)
        what = f"{damaged(path, generator)} {path.name}"
        return judged(forked(contest.answer), lambda: is_valid(contest), what, path)


def converted(pattern: str, seed: int) -> Outcome:
    """Damage a file of a contest whose images come in another of ``FORMATS``, then train and predict."""
    generator = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place:
        contest = Contest(draw_contest(Path(place) / "pets"), Path(place) / "work", QUICK)
        FORMATS[pattern](contest.source)
        path = drawn_file(contest.source, pattern, generator)
        what = f"{damaged(path, generator)} {path.name}"
        return judged(forked(contest.answer), lambda: is_valid(contest), what, path)


def packed(source: Path, csv: bytes, seed: int) -> Outcome:
    """Damage the archive of a contest, then train and predict. Right is the submission ``csv`` of the undamaged one."""
    generator = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place:
        contest = Contest(Path(shutil.copy(source, place)), Path(place) / "work", QUICK)
        what = f"{damaged(contest.source, generator)} archive"
        return judged(forked(contest.answer), lambda: contest.csv == csv, what, contest.source)


def archive_and_answer(folder: Path, kind: str) -> tuple[Path, bytes]:
    """A contest in one of ``ARCHIVES``, and the submission that answers it."""
    source = draw_contest(folder / "pets")
    archive = ARCHIVES[kind](source, folder / "pets")
    contest = Contest(archive, folder / "work", QUICK)
    forked(contest.answer)
    return archive, contest.csv


def planned(finished: Finished, seed: int) -> Outcome:
    """Damage a plan.json and repeat it. Right is any valid submission, since a changed seed makes another plan."""
    generator = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place:
        contest = Contest(finished.source, Path(place) / "work")
        path = Path(shutil.copy(finished.work / "runs" / "pets" / "plan.json", place))
        what = f"{damaged(path, generator)} plan.json"
        done = forked(one_after_the_other(contest.repeat(path), contest.predict))
        return judged(done, lambda: is_valid(contest), what, path)


def stored(finished: Finished, pattern: str, seed: int) -> Outcome:
    """Damage a file that finished commands keep. Predict, then train and predict again.

    Right is the undisturbed submission after the second; the first may also leave out the damaged model if it says so.
    """
    generator = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place:
        contest = Contest(finished.source, Path(place) / "work")
        shutil.copytree(finished.work, contest.work)
        path = drawn_file(contest.work, pattern, generator)
        what = f"{damaged(path, generator)} {path.relative_to(contest.work)}"
        first = forked(contest.predict)
        outcome, seen = judged(first, lambda: _is_true(contest, finished, first), what, path)
        if outcome not in GOOD:
            return outcome, seen
        return judged(forked(contest.answer), lambda: contest.csv == finished.csv, f"{what}, again", path)


def _is_true(contest: Contest, finished: Finished, done: Done) -> bool:
    """Whether the submission is the undisturbed one, or a valid one of fewer models that were named."""
    return contest.csv == finished.csv or ("left out" in done.out + done.err and is_valid(contest))


def resumed(finished: Finished, interrupted: Path, seed: int) -> Outcome:
    """Damage the checkpoint of an interrupted training, then train and predict."""
    generator = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place:
        contest = Contest(finished.source, Path(place) / "work")
        shutil.copytree(interrupted, contest.work)
        path = drawn_file(contest.work, CHECKPOINT_FILE, generator)
        what = f"{damaged(path, generator)} checkpoint"
        return judged(forked(contest.answer), lambda: contest.csv == finished.csv, what, path)


def judged(done: Done, is_right: Callable[[], bool], what: str, path: Path) -> Outcome:
    """The outcome, and what was seen unless it is a good one. An executed pickle is always wrong."""
    outcome = WRONG if proof_of(path).exists() else done.judged(done.status == 0 and is_right())
    return outcome, "" if outcome in GOOD else f"{what}: {done}"
