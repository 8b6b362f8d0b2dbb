"""The competition's side of the stand-in: its files, the submissions and their scores, the leaderboard."""

import csv
import io
import os
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from competition.errors import UserError
from competition.metrics import Metric, find_metric
from competition.scoring import rule_of, score_submission
from competition.stand_in.downloads import archive_of
from competition.stand_in.state import State, Submission, Upload
from competition.stand_in.wire import (
    DATA,
    ORIGIN,
    UPLOAD,
    Content,
    Message,
    Redirect,
    RefusedError,
    iso,
    modified,
    needed,
    number,
    page_of,
)
from competition.wording import fault_in, printable

_TEAM = 1  # the account is the only team
_SUBMITTED = "submissions/"


@dataclass(frozen=True)
class Hosted:
    """The competition to serve: its public folder and, outside of it, the answers, as ``score_submission`` takes them.

    Raises UserError if one of them is missing, or if the answers lie in the public folder.
    """

    slug: str
    folder: Path
    answers: Path

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise fault_in(self.folder, "no such folder", "give a competition's folder, or 'rehearsal'")
        if not self.answers.is_file():
            raise fault_in(self.answers, "the test labels are missing", "give their path with --answers")
        if self.answers.resolve().is_relative_to(self.folder.resolve()):
            raise fault_in(self.answers, "the test labels lie in the folder that is served", "move them elsewhere")

    @property
    def metric(self) -> Metric:
        """The metric of the answers."""
        return find_metric(rule_of(self.answers).metric)

    def names(self) -> list[str]:
        """All files to serve, relative to the folder; hidden files are left out."""
        found = []
        for place, folders, files in os.walk(self.folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            inside = Path(place).relative_to(self.folder)
            found += [str(inside / name) for name in sorted(files) if not name.startswith(".")]
        return found


class Board:
    """Answers the methods of Kaggle's competition service for one hosted competition.

    daily_limit: submissions per UTC day, including those that cannot be scored.
    scoring_seconds: how long a submission stays PENDING.
    only_kernels: whether it takes kernels' versions only, no CSVs.
    """

    def __init__(self, hosted: Hosted, state: State, username: str, daily_limit: int) -> None:
        self.hosted, self.username, self.daily_limit = hosted, username, daily_limit
        self.scoring_seconds, self.only_kernels = 0.0, False
        self._state = state
        self._place = state.secret("addresses")
        self.names = hosted.names()
        self._archive = archive_of(hosted.folder, self.names, state.folder / "archives" / hosted.slug)
        self._is_ended = threading.Event()
        self._scorer = ThreadPoolExecutor(max_workers=1)
        for submission in state.submissions(hosted.slug):
            if submission.status == "PENDING":
                self._score_later(submission.ref, submission.token, submission.file_name)

    @property
    def methods(self) -> dict[str, Callable[[Message], Message | Redirect | Content]]:
        of_competition: dict[str, Callable[[Message], Message | Redirect | Content]] = {
            "ListCompetitions": self._list_competitions,
            "ListCompetitionPages": self._list_pages,
            "ListDataFiles": self._list_files,
            "DownloadDataFiles": self._download_all,
            "DownloadDataFile": self._download_one,
            "StartSubmissionUpload": self._start_upload,
            "CreateSubmission": self._submit,
            "GetSubmissionLimits": self._limits,
            "ListSubmissions": self._list_submissions,
            "GetSubmission": self._get_submission,
            "DownloadSubmission": self._download_submission,
            "GetLeaderboard": self._leaderboard,
            "DownloadLeaderboard": self._download_leaderboard,
        }
        return {f"competitions.CompetitionApiService/{name}": method for name, method in of_competition.items()}

    def close(self) -> None:
        """Stop. PENDING submissions are scored after the next start."""
        self._is_ended.set()
        self._scorer.shutdown()

    def file_at(self, address: str) -> Path:
        """The file at an address below /data. Raises RefusedError if there is none."""
        place, _, name = address.partition("/")
        if place != self._place:
            raise RefusedError(403, "this address is not valid here")
        if name == f"{self.hosted.slug}.zip":
            return self._archive
        if name.startswith(_SUBMITTED):
            return self._state.upload_path(self._submission(name.split("/")[1]).token)
        name = name.removeprefix("files/")
        if name not in self.names:
            raise RefusedError(404, f"the competition has no file {printable(name)}")
        return self.hosted.folder / name

    def accept(self, file: Path, file_name: str, description: str) -> int:
        """Submit a file that the server already has (a kernel's output). Returns the submission's ref."""
        upload = self._state.add_upload(self.hosted.slug, file_name, file.stat().st_size)
        self._state.upload_path(upload.token).write_bytes(file.read_bytes())
        return self._enter(upload, description)

    def check_name(self, request: Message) -> None:
        """Raises RefusedError unless the request is about the hosted competition."""
        if needed(request, "competitionName") != self.hosted.slug:
            raise RefusedError(404, f"there is no competition {printable(request['competitionName'])}")

    def _list_competitions(self, request: Message) -> Message:
        address = f"{ORIGIN}/competitions/{self.hosted.slug}"
        described = {"id": 1, "ref": address, "url": address, "title": self.hosted.slug, "userHasEntered": True}
        limits = {"maxDailySubmissions": self.daily_limit, "isKernelsSubmissionsOnly": self.only_kernels}
        return {"competitions": [described | {"teamCount": 1} | limits]}

    def _list_pages(self, request: Message) -> Message:
        self.check_name(request)
        takes = "versions of kernels, no files" if self.only_kernels else "files and versions of kernels"
        pages = {
            "description": f"{self.hosted.slug}, served by a stand-in for Kaggle's server",
            "evaluation": f"{self.hosted.metric.title}; a public and a private score",
            "rules": f"{self.daily_limit} submissions in a UTC day; it takes {takes}",
        }
        asked = request.get("pageName")
        return {"pages": [{"name": name, "content": text} for name, text in pages.items() if asked in (None, "", name)]}

    def _list_files(self, request: Message) -> Message:
        self.check_name(request)
        names, following = page_of(self.names, request)
        paths = [self.hosted.folder / name for name in names]
        files = [
            {"name": name, "ref": name, "totalBytes": path.stat().st_size, "creationDate": iso(modified(path))}
            for name, path in zip(names, paths, strict=True)
        ]
        return {"files": files, "nextPageToken": following}

    def _download_all(self, request: Message) -> Redirect:
        self.check_name(request)
        return self._address(f"{self.hosted.slug}.zip")

    def _download_one(self, request: Message) -> Redirect:
        self.check_name(request)
        name = needed(request, "fileName")
        if name not in self.names:
            raise RefusedError(404, f"the competition has no file {printable(name)}")
        return self._address(f"files/{name}")

    def _address(self, name: str) -> Redirect:
        return Redirect(f"{ORIGIN}/{DATA}/{self._place}/{quote(name)}")

    def _start_upload(self, request: Message) -> Message:
        self.check_name(request)
        length = number(request, "contentLength", 0)
        upload = self._state.add_upload(self.hosted.slug, Path(needed(request, "fileName")).name, length)
        return {"token": upload.token, "createUrl": f"{ORIGIN}/{UPLOAD}/{upload.token}"}

    def _submit(self, request: Message) -> Message:
        self.check_name(request)
        if self.only_kernels:
            raise RefusedError(400, "this competition takes versions of kernels only", "FAILED_PRECONDITION")
        token = needed(request, "blobFileTokens")
        upload = self._state.upload(token)
        if upload is None or not self._state.upload_path(token).is_file():
            raise RefusedError(400, "no file was uploaded with this token")
        ref = self._enter(upload, request.get("submissionDescription", ""))
        return {"message": f"The stand-in has accepted {upload.file_name} as submission {ref}", "ref": ref}

    def _enter(self, upload: Upload, description: str) -> int:
        ref = self._state.add_submission(upload, description, self.daily_limit)
        self._score_later(ref, upload.token, upload.file_name)
        return ref

    def _score_later(self, ref: int, token: str, file_name: str) -> None:
        self._scorer.submit(self._score, ref, token, file_name)

    def _score(self, ref: int, token: str, file_name: str) -> None:
        if self._is_ended.wait(self.scoring_seconds):
            return
        path = self._state.upload_path(token)
        try:
            scores = score_submission(path, self.hosted.answers)
        except UserError as error:
            self._state.reject(ref, str(error).replace(printable(path, most=200), file_name))
        else:
            self._state.score(ref, scores.public, scores.private)

    def _limits(self, request: Message) -> Message:
        self.check_name(request)
        today = self._state.submitted_today(self.hosted.slug)
        total = len(self._state.submissions(self.hosted.slug))
        return {"numToday": today, "numTotal": total, "numAllowedNow": max(0, self.daily_limit - today)}

    def _list_submissions(self, request: Message) -> Message:
        self.check_name(request)
        shown, following = page_of(self._state.submissions(self.hosted.slug), request)
        return {"submissions": [self._described(submission) for submission in shown], "nextPageToken": following}

    def _get_submission(self, request: Message) -> Message:
        return self._described(self._submission(request.get("ref")))

    def _download_submission(self, request: Message) -> Redirect:
        submission = self._submission(request.get("submissionId"))
        return self._address(f"{_SUBMITTED}{submission.ref}/{submission.file_name}")

    def _submission(self, ref: object) -> Submission:
        """Raises RefusedError if there is no such submission."""
        listed = self._state.submissions(self.hosted.slug)
        found = next((each for each in listed if str(each.ref) == str(ref)), None)
        if found is None:
            raise RefusedError(404, f"there is no submission {printable(ref)}")
        return found

    def _described(self, submission: Submission) -> Message:
        described = {
            "ref": submission.ref,
            "fileName": submission.file_name,
            "date": submission.date,
            "description": submission.description,
            "status": submission.status,
            "totalBytes": self._state.upload_path(submission.token).stat().st_size,
            "submittedBy": self.username,
            "teamName": self.username,
            "url": f"{ORIGIN}/competitions/{self.hosted.slug}/submissions/{submission.ref}",
        }
        if submission.status == "COMPLETE":
            described |= {"publicScore": f"{submission.public:.5f}", "privateScore": f"{submission.private:.5f}"}
        if submission.error:
            described["errorDescription"] = submission.error
        return described

    def _teams(self) -> list[Message]:
        """The leaderboard's rows: the only team's best public score, or none before the first score."""
        scored = [each for each in self._state.submissions(self.hosted.slug) if each.public is not None]
        if not scored:
            return []
        best = max(scored, key=lambda each: self.hosted.metric.rank(each.public or 0.0))
        score = f"{best.public:.5f}"
        return [{"teamId": _TEAM, "teamName": self.username, "submissionDate": best.date, "score": score}]

    def _leaderboard(self, request: Message) -> Message:
        self.check_name(request)
        shown, following = page_of(self._teams(), request)
        return {"submissions": shown, "nextPageToken": following}

    def _download_leaderboard(self, request: Message) -> Content:
        self.check_name(request)
        table = io.StringIO(newline="")
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["TeamId", "TeamName", "SubmissionDate", "Score"])
        writer.writerows(team.values() for team in self._teams())
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as opened:
            opened.writestr(f"{self.hosted.slug}-publicleaderboard.csv", table.getvalue())
        return Content(packed.getvalue(), "application/zip")
