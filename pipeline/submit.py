"""Check a submission, send it to Kaggle, wait for its score and record it in the ledger.

python pipeline/submit.py [FILE] [--competition NAME|FOLDER|ZIP] [--message TEXT] [--kernel USER/NAME] [--check] ...
"""

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

if __name__ == "__main__":  # run as a script: check the options before importing what follows
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from pipeline import commands

    commands.submit()

from competition import kaggle_client
from competition.errors import UserError
from competition.kaggle_client import KaggleError
from competition.sources import open_competition
from competition.spec import Competition
from competition.submission import check_submission, put_in_order
from competition.wording import printable
from pipeline.kaggle.ledger import SCORED, Entry, Ledger, Note, new_entry, note_of, sha256_of
from pipeline.kaggle.submitter import Submitter, wait_for
from pipeline.parser import READING
from pipeline.settings import data_folder, work_folder

KERNEL_WAIT = 13 * 3600.0  # seconds to wait for a kernel, which queues and then runs
SAVED, SAVED_WAIT = "NEW_SCRIPT", 300.0  # status of a version without a run; seconds in which a run may begin
RUNNING = ("QUEUED", "RUNNING")
SUBMISSION, NOTE = "submission.csv", "submission.json"


@dataclass(frozen=True)
class Version:
    """A version of a kernel. kernel: ``user/slug``; number: 0 if the server does not say which is the newest."""

    kernel: str
    number: int

    def __str__(self) -> str:
        return f"{self.kernel}/{self.number}"


def main(given: argparse.Namespace) -> None:
    reading = {name: getattr(given, name) for name in READING}
    competition = open_competition(given.competition, given.data, data_folder(given.work), **reading)
    folder = work_folder(given.work) / "submissions"
    version = ended_version(given.kernel) if given.kernel else None
    file = chosen_file(given, folder / competition.name, version)
    if given.check:
        summary = check_submission(competition, file)
        refuse_outdated(competition, file, note_of(file, sha256_of(file)), given)
        print(f"ok: {summary}")
        return
    submitter = Submitter(competition.name, Ledger(folder / "ledger.csv"))
    with submitter.alone():
        entry = hand_in(competition, file, version, submitter, given)
    entry = submitter.follow(entry)
    print(outcome(entry))
    print(submitter.ledger.path)


def chosen_file(given: argparse.Namespace, folder: Path, version: Version | None) -> Path:
    """The path of the CSV to check or send. folder: submissions/<competition>. Raises UserError if there is none."""
    if version:
        return kernel_csv(version, folder / "kernel")
    file = given.file or folder / SUBMISSION
    if not given.file and not file.exists():
        raise UserError(f"{printable(file, most=200)}: no such file; run pipeline/predict.py first, or name another")
    return file


def refuse_outdated(competition: Competition, file: Path, note: Note | None, given: argparse.Namespace) -> None:
    """Raises UserError if the CSV was made from tables or images that have changed since.

    A file that the user has named is only warned about.
    """
    if given.kernel or note is None or not note.is_outdated(competition):
        return
    place, name = printable(file, most=200), printable(competition.name)
    fault = f"{place}: the tables or images of {name} have changed since it was made"
    if not given.file:
        raise UserError(f"{fault}; run pipeline/predict.py again, or name the file to use it as it is")
    print(f"warning: {fault}")


def ended_version(kernel: str) -> Version:
    """Wait for the newest version of a kernel to finish.

    Raises UserError if it fails, was saved without a run, or takes longer than KERNEL_WAIT.
    """
    version, begun = Version(kernel, kaggle_client.kernel_version(kernel)), time.monotonic()

    def has_ended(answer: tuple[str, str]) -> bool:
        return answer[0] not in RUNNING and (answer[0] != SAVED or time.monotonic() - begun > SAVED_WAIT)

    ended = wait_for(
        lambda: kaggle_client.kernel_status(kernel, version.number),
        has_ended,
        KERNEL_WAIT,
        f"waiting for the kernel {kernel}",
    )
    if ended is None:
        raise UserError(
            f"kernel {kernel} has not finished after {KERNEL_WAIT / 3600:.0f} hours; run the same command again"
        )
    status, reason = ended
    if status == SAVED:
        raise UserError(f"kernel {kernel}: its newest version was saved without a run; push it without --no-run")
    if status != "COMPLETE":
        fault = f"kernel {kernel} ended as {status}: {one_line(reason)}{log_end(version)}"
        raise UserError(f"{fault}; fix it and push it again")
    return version


def kernel_csv(version: Version, folder: Path) -> Path:
    """Download a version's submission.csv into a folder. Returns its path. Raises UserError if there is none."""
    csv, note = folder / SUBMISSION, folder / NOTE
    for outdated in (csv, note):
        outdated.unlink(missing_ok=True)
    if csv.name not in kaggle_client.kernel_output(version.kernel, [csv.name, note.name], folder, version.number):
        raise UserError(f"kernel {version.kernel} wrote no {csv.name}{log_end(version)}; fix it and push it again")
    return csv


def log_end(version: Version) -> str:
    """The last error that a kernel printed, or its last line, in brackets; empty if its log is not available."""
    with suppress(KaggleError):
        if lines := kaggle_client.kernel_log(version.kernel, version.number).strip().splitlines():
            last = next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1])
            return f" (its log ends with: {printable(last, most=300)})"
    return ""


def hand_in(
    competition: Competition, file: Path, version: Version | None, submitter: Submitter, given: argparse.Namespace
) -> Entry:
    """Send the CSV or, where only notebooks may submit, the kernel's version that wrote it. Returns its entry.

    Raises UserError if the CSV is wrong, or if it was submitted before and --again is not given.
    """
    sent = put_in_order(competition, file, submitter.ledger.path.parent / competition.name / "in-order.csv")
    note = note_of(file, sha256_of(sent))
    refuse_outdated(competition, file, note, given)
    message = one_line(given.message or (", ".join(note.recipes) if note else sent.name))
    if version is None or not submitter.takes_versions:
        if sent != file:
            print(f"{file}: the rows are in the wrong order; sending {sent}, a copy in the right order")
        entry = new_entry(competition.name, sent, sha256_of(sent), message, note)
        try:
            return send_once(entry, partial(kaggle_client.submit, competition.name, sent), submitter, given.again)
        except KaggleError as error:
            if error.kind != 400:
                raise
            if version is None:
                raise UserError(f"{error}; if the contest takes only notebooks, give --kernel USER/NAME") from error
            print(f"{error}\nsubmitting the version of {version.kernel} instead")
    if not version.number:
        fault = f"kernel {version.kernel}: Kaggle does not say which version is its newest"
        raise UserError(f"{fault}; push it again, or submit it on the kernel's page")
    entry = new_entry(competition.name, str(version), "", message, note)
    submit = partial(kaggle_client.submit_kernel, competition.name, version.kernel, version.number, SUBMISSION)
    return send_once(entry, submit, submitter, given.again)


def send_once(entry: Entry, hand_over: Callable[[str], str], submitter: Submitter, again: bool) -> Entry:
    """Send what the entry is about, unless another command has sent it and its score is open. Returns its entry.

    hand_over: see ``Submitter.send``. Raises UserError if it was submitted before and ``again`` is false.
    """
    unscored = {each.time for each in submitter.ledger.entries() if each.is_open}
    if (earlier := submitter.taken_before(entry)) and not again:
        if earlier.time in unscored:
            print(f"{earlier.file}: already sent at {earlier.time}; checking that submission")
            return earlier
        fault = f"{entry.file}: submitted before ({earlier.ref}, {earlier.time}, {earlier.status})"
        raise UserError(f"{fault}; use --again to submit it once more")
    left = submitter.left_today()
    print(f"submissions left: {'unknown' if left is None else left}")
    return submitter.send(entry, hand_over)


def outcome(entry: Entry) -> str:
    """The public score and the validation score in one line. Raises UserError if the submission was rejected."""
    if entry.status != SCORED:
        raise UserError(f"{entry.file}: rejected as submission {entry.ref}: {entry.reason}; fix it and submit it again")
    value = f"{entry.metric} {entry.validation} ({entry.low}-{entry.high})"
    validation = f", validation {value}" if entry.validation else ""
    return f"public score {entry.public or 'not shown'}{validation}, submission {entry.ref}"


def one_line(words: str) -> str:
    return printable(" ".join(words.split()), most=300)
