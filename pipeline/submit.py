"""Check a submission, send it to Kaggle, wait for its score and write that down.

python pipeline/submit.py [FILE] [--competition NAME|FOLDER|ZIP] [--message TEXT] [--kernel USER/NAME] [--check] ...
"""

import argparse
import sys
from contextlib import suppress
from pathlib import Path

if not __package__:  # run as a script: import from the checkout, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from competition import kaggle_client
from competition.errors import UserError
from competition.kaggle_client import KaggleError
from competition.sources import open_competition
from competition.spec import Competition
from competition.submission import check_submission, put_in_order
from competition.wording import printable
from pipeline.kaggle.ledger import SCORED, Entry, Ledger, new_entry, note_of, sha256_of
from pipeline.kaggle.submitter import Submitter, wait_for
from pipeline.settings import Parser, data_folder, run_door, work_folder

SESSION = 13 * 3600.0  # seconds that a kernel may queue and run


def main(arguments: list[str]) -> None:
    given = submit_options(arguments)
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


def submit_options(arguments: list[str]) -> argparse.Namespace:
    parser = Parser("Check a CSV, submit it to Kaggle, wait for its score; a line of submissions/ledger.csv keeps it.")
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="default: the CSV that predict.py wrote")
    parser.add_competition_options()
    parser.add_argument("--kernel", metavar="USER/NAME", help="wait for this kernel and submit the CSV it writes")
    parser.add_argument("--message", metavar="TEXT", help="what was tried; default: the recipes")
    parser.add_argument("--again", action="store_true", help="send bytes that were sent before")
    parser.add_argument("--check", action="store_true", help="only say whether the CSV would be accepted")
    given = parser.parse_args(arguments)
    if given.kernel and given.file:
        parser.error("give a FILE or --kernel, not both")
    if given.kernel and len(given.kernel.split("/")) != 2:
        parser.error(f"argument --kernel: {given.kernel!r} is not USER/NAME, as in the address of the kernel's page")
    return given


def chosen_file(given: argparse.Namespace, folder: Path) -> Path:
    """The CSV to look at. folder: submissions/<competition>."""
    if given.kernel:
        return kernel_csv(given.kernel, folder / "kernel")
    return given.file or folder / "submission.csv"


def kernel_csv(kernel: str, folder: Path) -> Path:
    """The submission.csv that a kernel writes, fetched into a folder once the kernel is through."""
    ended = wait_for(
        lambda: kaggle_client.kernel_status(kernel),
        lambda answer: answer[0] not in ("QUEUED", "RUNNING", "NEW_SCRIPT"),
        SESSION,
        f"waiting for the kernel {kernel}",
    )
    if ended is None:
        raise UserError(f"kernel {kernel} is not through after {SESSION / 3600:.0f} hours; run the same command again")
    status, reason = ended
    if status != "COMPLETE":
        fault = f"kernel {kernel} ended as {status}: {one_line(reason)}{log_end(kernel)}"
        raise UserError(f"{fault}; fix it, push it again")
    csv, note = folder / "submission.csv", folder / "submission.json"
    for outdated in (csv, note):
        outdated.unlink(missing_ok=True)
    if csv.name not in kaggle_client.kernel_output(kernel, [csv.name, note.name], folder):
        raise UserError(f"kernel {kernel} wrote no {csv.name}{log_end(kernel)}; fix it, push it again")
    return csv


def log_end(kernel: str) -> str:
    """The last error that a kernel printed, else its last line, in words; nothing where its log cannot be had."""
    with suppress(KaggleError):
        if lines := kaggle_client.kernel_log(kernel).strip().splitlines():
            last = next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1])
            return f" (its log ends with: {printable(last, most=300)})"
    return ""


def hand_in(competition: Competition, file: Path, submitter: Submitter, given: argparse.Namespace) -> Entry:
    """The entry of the CSV in the ledger: sent now, or by an earlier command that did not see its end."""
    sent = put_in_order(competition, file, submitter.ledger.path.parent / competition.name / "in-order.csv")
    if sent != file:
        print(f"{file}: only the order of its rows was wrong; {sent} has them in order and is what counts")
    note = note_of(file, sha256_of(file))
    message = one_line(given.message or (", ".join(note.recipes) if note else sent.name))
    entry = new_entry(competition.name, sent, sha256_of(sent), message, note)
    unseen = {each.time for each in submitter.ledger.entries() if each.is_open}
    if (earlier := submitter.taken_before(entry)) and not given.again:
        if earlier.time in unseen:
            print(f"{earlier.file}: sent at {earlier.time} by a command that did not see its end; looking at that one")
            return earlier
        fault = f"{file}: these bytes were submitted before ({earlier.ref}, {earlier.time}, {earlier.status})"
        raise UserError(f"{fault}; --again submits them once more")
    left = submitter.left_today()
    print(f"submissions left: {'not known' if left is None else left}")
    return submitter.send(entry, sent)


def outcome(entry: Entry) -> str:
    """The score beside the validation's. Raises UserError where the submission was rejected."""
    if entry.status != SCORED:
        raise UserError(f"{entry.file}: rejected as submission {entry.ref}: {entry.reason}; fix the file")
    value = f"{entry.metric} {entry.validation} ({entry.low}-{entry.high})"
    validation = f", validation {value}" if entry.validation else ""
    return f"public score {entry.public or 'not shown'}{validation}, submission {entry.ref}"


def one_line(words: str) -> str:
    return printable(" ".join(words.split()), most=300)


if __name__ == "__main__":
    run_door(main)
