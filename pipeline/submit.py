"""Check a submission, send it to Kaggle, wait for its score and record it in the ledger.

python pipeline/submit.py [FILE] [--competition NAME|FOLDER|ZIP] [--message TEXT] [--kernel USER/NAME] [--check] ...
"""

import argparse
import sys
from contextlib import suppress
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
from pipeline.kaggle.ledger import SCORED, Entry, Ledger, new_entry, note_of, sha256_of
from pipeline.kaggle.submitter import Submitter, wait_for
from pipeline.settings import data_folder, work_folder

SESSION = 13 * 3600.0  # seconds to wait for a kernel, which queues and then runs


def main(given: argparse.Namespace) -> None:
    competition = open_competition(
        given.competition, given.data, data_folder(given.work), given.image_column, given.label_column
    )
    folder = work_folder(given.work) / "submissions"
    file = chosen_file(given, folder / competition.name)
    if given.check:
        print(f"ok: {check_submission(competition, file)}")
        return
    submitter = Submitter(competition.name, Ledger(folder / "ledger.csv"))
    entry = submitter.follow(hand_in(competition, file, submitter, given))
    print(outcome(entry))
    print(submitter.ledger.path)


def chosen_file(given: argparse.Namespace, folder: Path) -> Path:
    """The path of the CSV to check or send. folder: submissions/<competition>."""
    if given.kernel:
        return kernel_csv(given.kernel, folder / "kernel")
    return given.file or folder / "submission.csv"


def kernel_csv(kernel: str, folder: Path) -> Path:
    """Wait for a kernel to finish and download its submission.csv into a folder. Returns the path of the CSV.

    Raises UserError if the kernel fails, takes longer than SESSION or writes no submission.csv.
    """
    ended = wait_for(
        lambda: kaggle_client.kernel_status(kernel),
        lambda answer: answer[0] not in ("QUEUED", "RUNNING", "NEW_SCRIPT"),
        SESSION,
        f"waiting for the kernel {kernel}",
    )
    if ended is None:
        raise UserError(
            f"kernel {kernel} has not finished after {SESSION / 3600:.0f} hours; run the same command again"
        )
    status, reason = ended
    if status != "COMPLETE":
        fault = f"kernel {kernel} ended as {status}: {one_line(reason)}{log_end(kernel)}"
        raise UserError(f"{fault}; fix it and push it again")
    csv, note = folder / "submission.csv", folder / "submission.json"
    for outdated in (csv, note):
        outdated.unlink(missing_ok=True)
    if csv.name not in kaggle_client.kernel_output(kernel, [csv.name, note.name], folder):
        raise UserError(f"kernel {kernel} wrote no {csv.name}{log_end(kernel)}; fix it and push it again")
    return csv


def log_end(kernel: str) -> str:
    """The last error that a kernel printed, or its last line, in brackets; empty if its log is not available."""
    with suppress(KaggleError):
        if lines := kaggle_client.kernel_log(kernel).strip().splitlines():
            last = next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1])
            return f" (its log ends with: {printable(last, most=300)})"
    return ""


def hand_in(competition: Competition, file: Path, submitter: Submitter, given: argparse.Namespace) -> Entry:
    """Send the CSV, unless an interrupted command has sent it already. Returns its entry in the ledger.

    Raises UserError if the CSV is wrong, or if it was submitted before and --again is not given.
    """
    sent = put_in_order(competition, file, submitter.ledger.path.parent / competition.name / "in-order.csv")
    if sent != file:
        print(f"{file}: the rows are in the wrong order; sending {sent}, a copy in the right order")
    note = note_of(file, sha256_of(file))
    message = one_line(given.message or (", ".join(note.recipes) if note else sent.name))
    entry = new_entry(competition.name, sent, sha256_of(sent), message, note)
    interrupted = {each.time for each in submitter.ledger.entries() if each.is_open}
    if (earlier := submitter.taken_before(entry)) and not given.again:
        if earlier.time in interrupted:
            print(f"{earlier.file}: already sent at {earlier.time} by an interrupted command; checking that submission")
            return earlier
        fault = f"{file}: this file was submitted before ({earlier.ref}, {earlier.time}, {earlier.status})"
        raise UserError(f"{fault}; use --again to submit it once more")
    left = submitter.left_today()
    print(f"submissions left: {'unknown' if left is None else left}")
    return submitter.send(entry, sent)


def outcome(entry: Entry) -> str:
    """The public score and the validation score in one line. Raises UserError if the submission was rejected."""
    if entry.status != SCORED:
        raise UserError(
            f"{entry.file}: rejected as submission {entry.ref}: {entry.reason}; fix the file and submit it again"
        )
    value = f"{entry.metric} {entry.validation} ({entry.low}-{entry.high})"
    validation = f", validation {value}" if entry.validation else ""
    return f"public score {entry.public or 'not shown'}{validation}, submission {entry.ref}"


def one_line(words: str) -> str:
    return printable(" ".join(words.split()), most=300)
