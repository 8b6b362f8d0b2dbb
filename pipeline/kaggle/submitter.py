"""Submits CSVs to Kaggle: nothing is sent twice, and every submission is followed to its score."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from competition import kaggle_client
from competition.errors import UserError
from competition.kaggle_client import KaggleError, Submission
from competition.wording import printable
from pipeline.kaggle.ledger import PENDING, REFUSED, REJECTED, SCORED, SENT, Entry, Ledger

POLL = 5.0  # seconds between two looks at what is waited for
SCORING = 900.0  # seconds that a score may take
TRIES = 10  # looks in a row that may fail
STATUS = {"PENDING": PENDING, "COMPLETE": SCORED, "ERROR": REJECTED}

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Submitter:
    """Submits to one competition on Kaggle.

    An entry is in the ledger before its file is sent, and the file's sha256 is in the description that Kaggle
    keeps of it: after a crash or a hang the server's own list tells whether it arrived.
    """

    competition: str
    ledger: Ledger

    def taken_before(self, wanted: Entry) -> Entry | None:
        """The newest entry of the same bytes that Kaggle took; the server's list is looked at first.

        One that was sent from elsewhere gets into the ledger, with all that ``wanted`` knows of the file.
        """
        listed = kaggle_client.submissions(self.competition)
        self._settle(listed)
        entries = self.ledger.find(lambda entry: self._is_mine(entry) and entry.sha256 == wanted.sha256)
        if taken := [entry for entry in entries if entry.ref]:
            return taken[-1]
        found = self._listed(wanted, listed)
        return self.ledger.add(replace(wanted, time="elsewhere", **_became(found))) if found else None

    def left_today(self) -> int | None:
        """Submissions still allowed, None where that cannot be learnt: the server itself sees to its limits.

        Raises UserError for none; who has no team yet may be told 0 and be let in.
        """
        try:
            limits = kaggle_client.limits(self.competition)
        except KaggleError:
            return None
        if limits.left == 0 and limits.total > 0:
            fault = f"{self.competition}: no submission is left ({limits.today} sent today)"
            raise UserError(f"{fault}; nothing was sent, try again tomorrow")
        return limits.left

    def send(self, entry: Entry, file: Path) -> Entry:
        """Send a file. Returns its entry with a ref.

        Raises KaggleError where it was surely not taken, else UserError.
        """
        self.ledger.add(entry)
        try:
            ref = kaggle_client.submit(self.competition, file, f"{entry.message} {tag(entry.sha256)}")
        except KaggleError as error:
            if error.is_final:
                self.ledger.change(entry, status=REFUSED, reason=printable(error, most=300))
                raise
            if (found := self._arrived(entry)) is None:
                doubt = "whether the file arrived is not known yet, the same command looks before it sends"
                raise UserError(f"{str(error).split(';')[0]}; {doubt}") from error
            return found
        return self.ledger.change(entry, status=PENDING, ref=ref)

    def follow(self, entry: Entry) -> Entry:
        """Wait until the submission of an entry is scored or rejected. Raises UserError where that takes too long."""
        if not entry.is_open:
            return entry

        def look() -> Submission | None:
            return next((each for each in kaggle_client.submissions(self.competition) if each.ref == entry.ref), None)

        title = f"waiting for the score of {entry.ref}"
        found = wait_for(look, lambda each: each is not None and each.status != "PENDING", SCORING, title)
        if found is None:
            raise UserError(f"{entry.ref}: no score after {SCORING / 60:.0f} minutes; the same command looks again")
        return self.ledger.change(entry, **_became(found))

    def _settle(self, listed: list[Submission]) -> None:
        """Write into the ledger what became of entries whose end an earlier command did not see."""
        for entry in self.ledger.find(lambda entry: self._is_mine(entry) and entry.is_open):
            if found := self._listed(entry, listed):
                self.ledger.change(entry, **_became(found))
            elif entry.status == SENT:
                self.ledger.change(entry, status=REFUSED, reason="never arrived")

    def _arrived(self, entry: Entry) -> Entry | None:
        """The entry with its ref, where the server lists the file that it did not answer for."""
        with suppress(KaggleError):
            if found := self._listed(entry, kaggle_client.submissions(self.competition)):
                return self.ledger.change(entry, **_became(found))
        return None

    def _listed(self, entry: Entry, listed: list[Submission]) -> Submission | None:
        """The entry's own submission: by its ref, else by the tag of its bytes, of those that no entry has."""
        if entry.ref:
            return next((each for each in listed if each.ref == entry.ref), None)
        known = {each.ref for each in self.ledger.entries()}
        mark = tag(entry.sha256)
        return next((each for each in listed if mark in each.description and each.ref not in known), None)

    def _is_mine(self, entry: Entry) -> bool:
        return entry.competition == self.competition


def tag(sha256: str) -> str:
    """What the description of a submission ends with: the first digits of the file's hash."""
    return f"[{sha256[:12]}]"


def _became(found: Submission) -> dict[str, str]:
    reason = printable(kaggle_client.masked(" ".join(found.reason.split())), most=300)
    return {"ref": found.ref, "status": STATUS[found.status], "public": found.public, "reason": reason}


def wait_for(
    ask: Callable[[], Answer], is_enough: Callable[[Answer], bool], patience: float, title: str
) -> Answer | None:
    """Ask again and again; the first answer that is enough, None if none was within ``patience`` seconds.

    A look that fails without being refused is repeated, ``TRIES`` times in a row at most; then its KaggleError is
    raised.
    """
    deadline, failures = time.monotonic() + patience, 0
    with tqdm(desc=title, bar_format="{desc}, {elapsed}", leave=False) as bar:
        while time.monotonic() < deadline:
            try:
                answer, failures = ask(), 0
                if is_enough(answer):
                    return answer
            except KaggleError as error:
                failures += 1
                if failures == TRIES or (error.is_final and error.kind != 429):
                    raise
            bar.refresh()
            time.sleep(POLL)
    return None
