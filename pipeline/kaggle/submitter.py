"""Submits CSVs and kernels' versions to Kaggle: sends nothing twice and waits for the score of every submission."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from competition import kaggle_client
from competition.errors import UserError
from competition.kaggle_client import KaggleError, Submission
from competition.locks import locked
from competition.progress import Progress
from competition.wording import printable
from pipeline.kaggle.ledger import PENDING, REFUSED, REJECTED, SCORED, SENT, Entry, Ledger

POLL = 5.0  # seconds between two requests while waiting
SCORING = 900.0  # seconds to wait for the score of a CSV
RERUN = 13 * 3600.0  # seconds to wait for that of a kernel's version, which Kaggle may run again first
TRIES = 10  # failed requests in a row before giving up
STATUS = {"PENDING": PENDING, "COMPLETE": SCORED, "ERROR": REJECTED}

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Submitter:
    """Submits to one competition on Kaggle.

    The entry is written to the ledger before anything is sent, and the description of the submission on Kaggle ends
    with the entry's tag. After a crash or a hang, Kaggle's list of submissions therefore shows whether it arrived.

    competition: name of the competition on Kaggle.
    """

    competition: str
    ledger: Ledger

    def alone(self) -> AbstractContextManager[None]:
        """A lock from the look at what was sent to the end of sending, so that two commands never send the same."""
        return locked(self.ledger.path.parent / self.competition / "sending", "sends to " + self.competition)

    @property
    def takes_versions(self) -> bool:
        """Whether a kernel's version was accepted here before, which happens only after its CSV was refused."""
        return bool(self.ledger.find(lambda entry: self._is_mine(entry) and entry.is_version and entry.ref != ""))

    def taken_before(self, wanted: Entry) -> Entry | None:
        """The newest submission of the same CSV or version that Kaggle accepted, or None.

        This first updates the ledger from Kaggle's list of submissions. A submission that another machine sent is added
        to the ledger, with what ``wanted`` contains about the file.
        """
        listed = kaggle_client.submissions(self.competition)
        self._settle(listed)
        entries = self.ledger.find(lambda entry: self._is_mine(entry) and entry.tag == wanted.tag)
        if taken := [entry for entry in entries if entry.ref]:
            return taken[-1]
        found = self._listed(wanted, listed)
        return self.ledger.add(replace(wanted, time="elsewhere", **_became(found))) if found else None

    def left_today(self) -> int | None:
        """Number of submissions still allowed today; None if Kaggle does not say (it enforces its limit in any case).

        Raises UserError if none is left. Kaggle reports 0 of 0 to users without a team, who may submit nevertheless.
        """
        try:
            limits = kaggle_client.limits(self.competition)
        except KaggleError:
            return None
        if limits.left == 0 and limits.total > 0:
            fault = f"{self.competition}: no submission is left ({limits.today} sent today)"
            raise UserError(f"{fault}; nothing was sent, try again tomorrow")
        return limits.left

    def send(self, entry: Entry, hand_over: Callable[[str], str]) -> Entry:
        """Send what the entry is about. Returns the entry, with the ref.

        hand_over: sends it to Kaggle under the given description and returns the ref.
        Raises KaggleError if Kaggle refused it, UserError if it is not known whether it arrived.
        """
        self.ledger.add(entry)
        try:
            ref = hand_over(f"{entry.message} {entry.tag}")
        except KaggleError as error:
            if error.is_final:
                self.ledger.change(entry, status=REFUSED, reason=printable(error, most=300))
                raise
            if (found := self._arrived(entry)) is None:
                fault = f"{str(error).split(';')[0]} (it may have arrived)"
                raise UserError(f"{fault}; run the same command again, which checks before it sends") from error
            return found
        return self.ledger.change(entry, status=PENDING, ref=ref)

    def follow(self, entry: Entry) -> Entry:
        """Wait until a submission is scored or rejected.

        Raises UserError if it takes longer than ``SCORING``, or ``RERUN`` for a kernel's version.
        """
        if not entry.is_open:
            return entry

        def look() -> Submission | None:
            return next((each for each in kaggle_client.submissions(self.competition) if each.ref == entry.ref), None)

        title, patience = f"waiting for the score of {entry.ref}", RERUN if entry.is_version else SCORING
        found = wait_for(look, lambda each: each is not None and each.status != "PENDING", patience, title)
        if found is None:
            waited = f"{patience / 60:.0f} minutes"
            raise UserError(f"{entry.ref}: no score after {waited}; run the same command again later")
        return self.ledger.change(entry, **_became(found))

    def _settle(self, listed: list[Submission]) -> None:
        """Update the entries that were still open when an earlier command ended."""
        for entry in self.ledger.find(lambda entry: self._is_mine(entry) and entry.is_open):
            if found := self._listed(entry, listed):
                self.ledger.change(entry, **_became(found))
            elif entry.status == SENT:
                self.ledger.change(entry, status=REFUSED, reason="never arrived")
        self._add_private_scores(listed)

    def _add_private_scores(self, listed: list[Submission]) -> None:
        """Write the private scores into the ledger that Kaggle shows since the contest is over."""
        for entry in self.ledger.find(
            lambda entry: self._is_mine(entry) and entry.status == SCORED and not entry.private
        ):
            if (found := self._listed(entry, listed)) and found.private:
                self.ledger.change(entry, private=found.private)

    def _arrived(self, entry: Entry) -> Entry | None:
        """The entry with its ref if Kaggle lists the file although the request failed, else None."""
        with suppress(KaggleError):
            if found := self._listed(entry, kaggle_client.submissions(self.competition)):
                return self.ledger.change(entry, **_became(found))
        return None

    def _listed(self, entry: Entry, listed: list[Submission]) -> Submission | None:
        """The entry's submission: found by its ref, or without a ref by the tag among submissions not in the ledger."""
        if entry.ref:
            return next((each for each in listed if each.ref == entry.ref), None)
        known = {each.ref for each in self.ledger.entries()}
        return next((each for each in listed if entry.tag in each.description and each.ref not in known), None)

    def _is_mine(self, entry: Entry) -> bool:
        return entry.competition == self.competition


def _became(found: Submission) -> dict[str, str]:
    reason = printable(kaggle_client.masked(" ".join(found.reason.split())), most=300)
    return {
        "ref": found.ref,
        "status": STATUS[found.status],
        "public": found.public,
        "private": found.private,
        "reason": reason,
    }


def wait_for(
    ask: Callable[[], Answer], is_enough: Callable[[Answer], bool], patience: float, title: str
) -> Answer | None:
    """Call ``ask`` every ``POLL`` seconds until ``is_enough`` is true of its answer, and return that answer.

    Returns None after ``patience`` seconds. Raises KaggleError if Kaggle refuses a request for a reason other than too
    many requests (429), or after ``TRIES`` failed requests in a row.
    title: text of the progress bar.
    """
    deadline, failures = time.monotonic() + patience, 0
    with Progress(desc=title, bar_format="{desc}, {elapsed}") as bar:
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
