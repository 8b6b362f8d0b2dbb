"""A competitor's day with the real client: files, submissions, scores, the leaderboard."""

import csv
import io
import zipfile

import pytest

from competition.scoring import ScoringRule, score_submission, write_rule
from tests.stand_in import COMPETITIONS, call, submissions, submit, upload, write_submission

INSECTS = {"competitionName": "insects"}


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_client_downloads_all_files_in_one_zip_and_any_single_one(stand_in, client, tmp_path):
    folder = stand_in.board.hosted.folder
    assert client("competitions", "download", "insects", "-p", "all").returncode == 0
    with zipfile.ZipFile(tmp_path / "all" / "insects.zip") as archive:
        unpacked = {name: archive.read(name) for name in archive.namelist()}
    assert unpacked == {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}
    assert client("competitions", "download", "insects", "-p", "one", "-f", "train_images/00003.png").returncode == 0
    (image,) = (tmp_path / "one").rglob("00003.png")  # from 2.2.5 on in a folder of its own
    assert image.read_bytes() == (folder / "train_images" / "00003.png").read_bytes()


def test_the_client_lists_the_one_competition(client):
    (row,) = table(client("competitions", "list", "--csv").stdout)
    assert row["ref"].endswith("/insects") and row["userHasEntered"] == "True"


def test_the_client_lists_files_page_by_page(stand_in, client):
    everything = []
    pages = ("--page-size", "40"), ("--page-size", "40", "--page-token", "40")
    for page in pages:
        done = client("competitions", "files", "insects", "--csv", "-q", *page)
        everything += table(done.stdout[done.stdout.index("name,") :])
    folder = stand_in.board.hosted.folder
    sizes = {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*.*")}
    assert {row["name"]: int(row["size"]) for row in everything} == sizes
    assert len(everything) == len(sizes)


def test_a_submission_of_the_client_is_scored_and_stands_on_the_board(stand_in, client, tmp_path):
    file = write_submission(stand_in, tmp_path / "six.csv", right=6)
    expected = score_submission(file, stand_in.board.hosted.answers)
    done = client("competitions", "submit", "insects", "-f", file, "-m", "six of twelve")
    assert (done.returncode, "4 submissions remaining today" in done.stdout) == (0, True)
    submissions(stand_in)
    (row,) = table(client("competitions", "submissions", "insects", "--csv", "-q").stdout)
    assert (row["fileName"], row["description"]) == ("six.csv", "six of twelve")
    assert row["status"].endswith("COMPLETE")
    assert float(row["publicScore"]) == pytest.approx(expected.public, abs=1e-5)
    assert float(row["privateScore"]) == pytest.approx(expected.private, abs=1e-5)
    (team,) = table(client("competitions", "leaderboard", "insects", "-s", "--csv", "-q").stdout)
    assert (team["teamName"], team["score"]) == (stand_in.username, row["publicScore"])
    assert client("competitions", "leaderboard", "insects", "-d").returncode == 0
    with zipfile.ZipFile(tmp_path / "insects.zip") as archive:
        (name,) = archive.namelist()
        (downloaded,) = table(archive.read(name).decode())
    assert downloaded["Score"] == team["score"]
    assert not stand_in.refused


def test_what_the_client_sends_cannot_be_scored_and_says_why(stand_in, client, tmp_path):
    file = tmp_path / "wrong.csv"
    file.write_text("Picture,Class\na.png,bee\n")
    assert client("competitions", "submit", "insects", "-f", file, "-m", "a wrong header").returncode == 0
    (submission,) = submissions(stand_in)
    assert submission["status"] == "ERROR" and "publicScore" not in submission
    assert submission["errorDescription"].startswith("wrong.csv: the header is Picture,Class but must be Image,Class")


def test_by_a_loss_the_board_shows_the_smallest_public_score(stand_in, tmp_path):
    answers = stand_in.board.hosted.answers
    write_rule(answers, ScoringRule(metric="error"))
    try:
        for right in (12, 3):
            submit(stand_in, write_submission(stand_in, tmp_path / "a.csv", right))
        scored = submissions(stand_in)
        (team,) = call(stand_in, f"{COMPETITIONS}/GetLeaderboard", **INSECTS)[1]["submissions"]
        assert float(team["score"]) == min(float(each["publicScore"]) for each in scored) == 0
        pages = call(stand_in, f"{COMPETITIONS}/ListCompetitionPages", **INSECTS)[1]["pages"]
        assert {"name": "evaluation", "content": "error; a public and a private score"} in pages
    finally:
        answers.with_suffix(".toml").unlink()


def test_the_board_shows_the_best_public_score(stand_in, tmp_path):
    for right in (3, 12, 0):
        submit(stand_in, write_submission(stand_in, tmp_path / "a.csv", right))
    scored = submissions(stand_in)
    assert [each["ref"] for each in scored] == [3, 2, 1]
    (team,) = call(stand_in, f"{COMPETITIONS}/GetLeaderboard", **INSECTS)[1]["submissions"]
    assert (team["score"], team["submissionDate"]) == ("1.00000", scored[1]["date"])


def test_a_submission_is_pending_until_it_is_scored(stand_in, tmp_path):
    stand_in.board.scoring_seconds = 0.3
    status, taken = submit(stand_in, write_submission(stand_in, tmp_path / "a.csv"))
    _, listed = call(stand_in, f"{COMPETITIONS}/ListSubmissions", **INSECTS)
    assert (status, listed["submissions"][0]["status"]) == (200, "PENDING")
    assert submissions(stand_in)[0] | {"ref": taken["ref"]} == submissions(stand_in)[0]


def test_a_day_has_so_many_submissions_whether_they_can_be_scored_or_not(stand_in, tmp_path):
    good, bad = write_submission(stand_in, tmp_path / "good.csv"), tmp_path / "bad.csv"
    bad.write_text("no table")
    statuses = [submit(stand_in, file)[0] for file in (good, bad, good, bad, good)]
    _, limits = call(stand_in, f"{COMPETITIONS}/GetSubmissionLimits", **INSECTS)
    assert statuses == [200] * 5
    assert limits == {"numToday": 5, "numTotal": 5, "numAllowedNow": 0}
    assert submit(stand_in, good) == (400, {"code": 400, "message": "all 5 submissions of this day (UTC) are used up"})
    assert len(submissions(stand_in)) == 5


def test_an_upload_is_submitted_once(stand_in, tmp_path):
    token = upload(stand_in, write_submission(stand_in, tmp_path / "a.csv"))
    request = INSECTS | {"blobFileTokens": token}
    statuses = [call(stand_in, f"{COMPETITIONS}/CreateSubmission", **request)[0] for _ in range(2)]
    assert (statuses, len(submissions(stand_in))) == ([200, 400], 1)


def test_a_token_without_its_file_is_refused(stand_in):
    _, started = call(
        stand_in, f"{COMPETITIONS}/StartSubmissionUpload", **INSECTS, contentLength=3, fileName="../../a.csv"
    )
    for token in (started["token"], "no-such-token", "../stand_in.db"):
        status, answer = call(stand_in, f"{COMPETITIONS}/CreateSubmission", **INSECTS, blobFileTokens=token)
        assert (status, answer["message"]) == (400, "no file was uploaded with this token")
    assert submissions(stand_in) == []


@pytest.mark.parametrize(
    "method", ["ListDataFiles", "DownloadDataFiles", "StartSubmissionUpload", "GetSubmissionLimits", "GetLeaderboard"]
)
def test_another_competition_is_not_there(stand_in, method):
    status, answer = call(stand_in, f"{COMPETITIONS}/{method}", competitionName="flowers", fileName="a.csv")
    assert (status, answer["message"]) == (404, "there is no competition flowers")


@pytest.mark.parametrize("name", ["answers.csv", "../insects_answers.csv", ".hidden", "train_images"])
def test_only_the_competition_s_own_files_are_handed_out(stand_in, name):
    status, _ = call(stand_in, f"{COMPETITIONS}/DownloadDataFile", **INSECTS, fileName=name)
    assert status == 404


def test_the_client_shows_one_submission_and_fetches_its_file(stand_in, client, tmp_path):
    file = write_submission(stand_in, tmp_path / "six.csv", right=6)
    done = client("competitions", "submit", "insects", "-f", file, "-m", "six of twelve", "--wait", "20")
    assert (done.returncode, "Submission scored. Public score" in done.stdout) == (0, True), done.stdout + done.stderr
    shown = client("competitions", "submission", "1").stdout
    assert "COMPLETE" in shown and "six of twelve" in shown
    assert client("competitions", "submission-download", "1", "-p", "fetched").returncode == 0
    assert (tmp_path / "fetched" / "six.csv").read_bytes() == file.read_bytes()
    assert client("competitions", "submission", "2").returncode == 1
    assert not stand_in.refused


def test_the_client_shows_the_reason_of_one_that_cannot_be_scored(stand_in, client, tmp_path):
    (tmp_path / "wrong.csv").write_text("Picture,Class\na.png,bee\n")
    submit(stand_in, tmp_path / "wrong.csv")
    submissions(stand_in)
    assert "the header is Picture,Class but must be Image,Class" in client("competitions", "submission", "1").stdout


def test_the_client_lists_the_pages_of_the_competition(stand_in, client):
    pages = table(client("competitions", "pages", "-c", "insects", "--csv", "-q").stdout)
    assert {"description", "evaluation", "rules"} <= {page["name"] for page in pages}
    (rules,) = call(stand_in, f"{COMPETITIONS}/ListCompetitionPages", **INSECTS, pageName="rules")[1]["pages"]
    assert "5 submissions in a UTC day" in rules["content"]


def test_a_competition_may_take_versions_of_kernels_only(stand_in, tmp_path):
    stand_in.board.only_kernels = True
    status, answer = submit(stand_in, write_submission(stand_in, tmp_path / "a.csv"))
    assert status == 400
    assert answer["error"]["message"] == "this competition takes versions of kernels only"
    assert submissions(stand_in) == []
