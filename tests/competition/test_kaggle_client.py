"""The wrapper around Kaggle's client: its time limit, its words, and what it keeps to itself."""

import json
import os
import re
import time
import zipfile
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import numpy as np
import pytest

from competition import kaggle_client
from competition.errors import UserError
from competition.kaggle_client import KaggleError
from competition.sources import open_competition
from competition.stand_in.faults import Fault
from competition.stand_in.server import StandIn
from tests.stand_in import CREDENTIALS, client_environment, hosted

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def driver(tmp_path, monkeypatch) -> Callable[[str], None]:
    """A function that puts other Python in the place of the process that calls the client."""
    path = tmp_path / "driver.py"
    monkeypatch.setattr(kaggle_client, "DRIVER", path)
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    start = "import json, os, sys, time\nname, arguments = json.loads(sys.stdin.readline())\n"

    def put(code: str) -> None:
        path.write_text(start + code)

    return put


def replies(reply: dict) -> str:
    return f"print({json.dumps(reply)!r})"


def failure(call: Callable[[], object]) -> KaggleError:
    with pytest.raises(KaggleError) as caught:
        call()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert KEY not in message
    return caught.value


# --- answers


def test_submissions_come_as_the_server_lists_them(driver):
    listed = [
        {"ref": str(ref), "status": "PENDING", "description": "", "public": "", "private": "", "reason": ""}
        for ref in (7, 5)
    ]
    driver(replies({"answer": listed}))
    assert [each.ref for each in kaggle_client.submissions("zoo")] == ["7", "5"]


def test_an_answer_that_comes_in_pieces_is_waited_for(driver):
    driver("sys.stdout.write('{\"answer\": ')\nsys.stdout.flush()\ntime.sleep(0.3)\nprint('\"ann\"}')")
    assert kaggle_client.username() == "ann"


def test_the_exit_status_means_nothing(driver):
    driver(replies({"answer": "ann"}) + "\nsys.exit(1)")
    assert kaggle_client.username() == "ann"


def test_a_call_that_hangs_is_killed(driver, monkeypatch, tmp_path):
    driver(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)")
    monkeypatch.setattr(kaggle_client, "SENDING", 0.5)
    file = tmp_path / "answer.csv"
    file.touch()
    begun = time.monotonic()
    error = failure(lambda: kaggle_client.submit("zoo", file, ""))
    assert time.monotonic() - begun < 30
    assert (error.kind, error.is_final) == ("hang", False)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_client_that_dies_without_a_word_is_no_success(driver):
    driver("sys.stderr.write('Segmentation fault')\nos._exit(0)")
    error = failure(kaggle_client.username)
    assert "Segmentation fault" in str(error)
    assert not error.is_final


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("credentials", "kaggle auth login"),
        ("missing", "pip install"),
        ("connection", "cannot be reached"),
        (400, "the server's words"),
        (401, "KAGGLE_API_TOKEN"),
        (403, "https://www.kaggle.com/competitions/zoo/rules"),
        (404, "no competition 'zoo'"),
        (429, "wait some minutes"),
        (500, "later"),
        ("expired", "not valid any more"),
    ],
)
def test_what_goes_wrong_is_said_with_what_to_do(driver, kind, words):
    driver(replies({"error": {"kind": kind, "says": "the server's words"}}))
    error = failure(lambda: kaggle_client.limits("zoo"))
    assert words in str(error)
    assert error.kind == kind


@pytest.mark.parametrize(("kind", "is_final"), [(400, True), (404, True), (429, True), (500, False), ("fault", False)])
def test_only_what_was_surely_not_done_is_final(driver, kind, is_final):
    driver(replies({"error": {"kind": kind, "says": ""}}))
    assert failure(lambda: kaggle_client.limits("zoo")).is_final == is_final


def test_an_upload_that_failed_although_the_client_says_it_ran_is_an_error(driver, tmp_path):
    driver(replies({"answer": {"ref": "", "says": "Could not submit", "arrived": False}}))
    file = tmp_path / "answer.csv"
    file.touch()
    assert failure(lambda: kaggle_client.submit("zoo", file, "")).is_final


def test_a_submission_without_a_number_may_have_arrived(driver, tmp_path):
    driver(replies({"answer": {"ref": "", "says": "Thanks", "arrived": True}}))
    file = tmp_path / "answer.csv"
    file.touch()
    assert not failure(lambda: kaggle_client.submit("zoo", file, "")).is_final


# --- what it keeps to itself


def test_the_client_is_not_asked_to_print_its_headers(driver, monkeypatch):
    monkeypatch.setenv("VERBOSE", "1")
    monkeypatch.setenv("VERBOSE_OUTPUT", "1")
    driver("print(json.dumps({'answer': ' '.join(name for name in os.environ if 'VERBOSE' in name)}))")
    assert kaggle_client.username() == ""


@pytest.mark.parametrize(
    "words",
    [
        f"key {KEY} is wrong",
        "Authorization: Basic YW5uOnNlY3JldA==",
        "{'Authorization': 'Bearer YW5uOnNlY3JldA=='}",
        "got Bearer YW5uOnNlY3JldA==",
        "PUT https://storage/files?signature=YW5uOnNlY3JldA== failed",
    ],
)
def test_credentials_are_masked(driver, words):
    driver(replies({"error": {"kind": 500, "says": words}}))
    message = str(failure(kaggle_client.username))
    assert "***" in message
    assert "YW5u" not in message


SECRET = 'a"b/c+d é.0123456789-_~=&?%;:<>'  # each of its characters is spelled in another way by some encoding


def encoded() -> dict[str, str]:
    """The secret as servers echo it."""
    header = f"user:{SECRET}".encode()
    return {
        "plain": SECRET,
        "URL": quote(SECRET, safe=""),
        "form": quote_plus(SECRET),
        "URL in a URL": quote(quote(SECRET, safe=""), safe=""),
        "URL in lower case": quote(SECRET, safe="").lower(),
        "JSON": json.dumps({"key": SECRET}),
        "JSON in JSON": json.dumps(json.dumps({"key": SECRET})),
        "JSON with slashes escaped": json.dumps(SECRET, ensure_ascii=False).replace("/", "\\/"),
        "base64": b64encode(SECRET.encode()).decode(),
        "base64 of a header": b64encode(header).decode(),
        "base64 of a longer header": b64encode(b"x" + header).decode(),
        "base64 for URLs": urlsafe_b64encode(b"xy" + header).decode(),
        "base64 in a URL": quote(b64encode(header).decode(), safe=""),
    }


@pytest.mark.parametrize("name", encoded())
def test_a_credential_is_masked_however_a_server_spells_it(driver, monkeypatch, name):
    monkeypatch.setenv("KAGGLE_KEY", SECRET)
    said = f"denied: {encoded()[name]}, go away"
    driver(replies({"error": {"kind": 500, "says": said}}))
    left = re.search("denied: (.*), go away", str(failure(kaggle_client.username)))[1]
    assert re.fullmatch(r".{0,14}\*\*\*.{0,7}", left)  # besides the secret a name may stand there
    driver(replies({"answer": said}))
    assert kaggle_client.username() == f"denied: {left}, go away"


@pytest.mark.parametrize(
    ("variable", "file", "content"),
    [
        ("KAGGLE_KEY", None, "secretsecret"),
        ("KAGGLE_API_TOKEN", None, "secretsecret"),
        ("KAGGLE_API_TOKEN", "token", "secretsecret\n"),
        ("KAGGLE_CONFIG_DIR", "kaggle.json", '{"username": "ann", "key": "secretsecret"}'),
        ("KAGGLE_CONFIG_DIR", "access_token", "secretsecret\n"),
        ("HOME", ".kaggle/kaggle.json", '{"username": "ann", "key": "secretsecret"}'),
        ("HOME", ".kaggle/access_token", "secretsecret\n"),
        ("HOME", ".kaggle/access_token.txt", "secretsecret\n"),
        ("HOME", ".kaggle/credentials.json", '{"refresh_token": "secretsecret", "username": "ann"}'),
        ("HOME", ".kaggle/credentials.json", '{"access_token": "secretsecret", "scopes": []}'),
        ("HOME", ".config/kaggle/kaggle.json", '{"username": "ann", "key": "secretsecret"}'),
        ("XDG_CONFIG_HOME", "kaggle/kaggle.json", '{"username": "ann", "key": "secretsecret"}'),
    ],
)
def test_a_credential_is_masked_wherever_it_came_from(tmp_path, monkeypatch, variable, file, content):
    for name in (*CREDENTIALS, "KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert kaggle_client.masked("it is secretsecret.") == "it is secretsecret."
    if file is None:
        monkeypatch.setenv(variable, content)
    else:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(content)
        monkeypatch.setenv(variable, str(tmp_path / file if variable == "KAGGLE_API_TOKEN" else tmp_path))
    assert kaggle_client.masked("it is secretsecret.") == "it is ***."


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1]", b'{"key": 5}', b"null"])
def test_a_damaged_file_of_credentials_hides_no_answer(tmp_path, monkeypatch, content):
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    for name in ("kaggle.json", "credentials.json", "access_token"):
        (tmp_path / name).write_bytes(content)
    assert kaggle_client.masked("it is here") == "it is here"


def test_words_that_look_like_a_header_are_left_in_what_is_compared(driver):
    entry = {"ref": "1", "status": "PENDING", "description": "basic [0123]", "public": "", "private": "", "reason": ""}
    driver(replies({"answer": [entry]}))
    assert kaggle_client.submissions("zoo")[0].description == "basic [0123]"


# --- downloads


@pytest.fixture
def server(stand_in, tmp_path, monkeypatch):
    """The stand-in, to which the client of this process' environment talks."""
    set_environment(stand_in, tmp_path, monkeypatch)
    return stand_in


def set_environment(server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in client_environment(server, tmp_path / "home").items():
        monkeypatch.setenv(name, value)


def opened(name: str, tmp_path: Path):
    return open_competition(name, None, tmp_path / "data", kaggle_input=tmp_path / "none")


def refusal(name: str, tmp_path: Path) -> str:
    with pytest.raises(UserError) as caught:
        opened(name, tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_competition_is_downloaded_by_its_name_once(server, tmp_path):
    competition = opened("insects", tmp_path)
    assert (competition.name, len(competition.train), len(competition.test)) == ("insects", 30, 12)
    assert competition.train.paths[0].is_relative_to(tmp_path / "data" / "insects")
    assert zipfile.is_zipfile(tmp_path / "data" / "insects.zip")
    before = len(server.calls)
    assert opened("insects", tmp_path).train.paths == competition.train.paths
    assert len(server.calls) == before


def test_a_download_that_is_there_is_only_unpacked(server, tmp_path):
    opened("insects", tmp_path)
    before = len(server.calls)
    (tmp_path / "data" / "insects").rename(tmp_path / "elsewhere")
    assert len(opened("insects", tmp_path).train) == 30
    assert len(server.calls) == before


class Bar:
    """A progress bar that notes how far it was, and stops everything halfway if it is told to."""

    is_impatient = False

    def __init__(self, **_: object) -> None:
        self.n, self.total, self.seen = 0, None, []
        Bar.last = self

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, more: int) -> None:
        self.n += more
        self.seen.append(self.n)
        if self.is_impatient and 0 < self.n < (self.total or 0):
            raise KeyboardInterrupt


def test_an_interrupted_download_goes_on_where_it_ended(make_competition, tmp_path, monkeypatch):
    folder = make_competition(tmp_path / "hosted" / "insects")
    (folder / "noise.bin").write_bytes(np.random.default_rng(0).bytes(5_000_000))  # the client writes megabytes
    with StandIn(hosted(folder), tmp_path / "state") as server:
        set_environment(server, tmp_path, monkeypatch)
        interrupt_a_download(server, tmp_path, monkeypatch)


def interrupt_a_download(server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kaggle_client, "Progress", Bar)
    monkeypatch.setattr(Bar, "is_impatient", True)
    server.faults["download"] = Fault(kind="drop")
    with pytest.raises(KeyboardInterrupt):
        opened("insects", tmp_path)
    half = Bar.last.n
    assert [path.name for path in (tmp_path / "data").iterdir()] == [".fetched"]
    monkeypatch.setattr(Bar, "is_impatient", False)
    assert len(opened("insects", tmp_path).train) == 30
    assert min(Bar.last.seen) == half < Bar.last.total == Bar.last.n


def test_rules_that_were_not_accepted_are_named(server, tmp_path):
    server.faults["DownloadDataFiles"] = Fault(403)
    assert "https://www.kaggle.com/competitions/insects/rules" in refusal("insects", tmp_path)
    assert not (tmp_path / "data" / "insects").exists()


def test_an_address_of_the_storage_that_has_expired_is_not_taken_for_the_rules(server, tmp_path):
    server.faults["download"] = Fault(403)
    message = refusal("insects", tmp_path)
    assert "the address of a file is not valid any more" in message
    assert "rules" not in message
    assert len(opened("insects", tmp_path).train) == 30


@pytest.mark.parametrize("name", ["Insects.2", "INSECTS", "in_sects"])
def test_a_name_is_asked_of_kaggle_as_it_is(make_competition, tmp_path, monkeypatch, name):
    folder = make_competition(tmp_path / "hosted" / name, size=(4, 4))
    with StandIn(hosted(folder), tmp_path / "state") as server:
        set_environment(server, tmp_path, monkeypatch)
        assert opened(name, tmp_path).name == name


def test_a_name_that_kaggle_does_not_know_is_refused_with_the_nearest(server, tmp_path):
    message = refusal("eurosatt", tmp_path)
    assert "no competition 'eurosatt' (did you mean 'eurosat'?), neither on Kaggle (404) nor" in message
    assert "--data" in message


def test_without_credentials_it_is_said_how_to_get_some(server, tmp_path, monkeypatch):
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    message = refusal("insects", tmp_path)
    assert "no competition 'insects' here" in message
    assert "no Kaggle credentials; run `kaggle auth login`" in message


def test_what_cannot_be_a_competitions_address_is_not_asked_for(server, tmp_path):
    assert "no competition 'My Zoo', neither a folder here nor one of" in refusal("My Zoo", tmp_path)
    assert list(server.calls) == []
