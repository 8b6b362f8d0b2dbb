"""The door: loopback, credentials, downloads that go on, faults, restarts, the command."""

import base64
import os
import re
import signal
import socket
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import pytest

from competition.errors import UserError
from competition.rehearsal import draw_rehearsal
from competition.stand_in import server
from competition.stand_in.board import Hosted
from competition.stand_in.faults import Fault, parse_fault
from competition.stand_in.server import StandIn, main
from tests.stand_in import (
    COMPETITIONS,
    KERNELS,
    PATIENCE,
    ask,
    call,
    client_environment,
    hosted,
    kaggle,
    submissions,
    submit,
    upload,
    write_submission,
)

SCRIPT = Path(__file__).parents[3] / "competition" / "stand_in" / "server.py"
LIMITS = f"/api/v1/{COMPETITIONS}/GetSubmissionLimits"
INSECTS = {"competitionName": "insects"}


def archive_address(stand_in: StandIn) -> str:
    return call(stand_in, f"{COMPETITIONS}/DownloadDataFiles", **INSECTS)[1]["location"]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "::1", "localhost", ""])
def test_no_address_but_loopback_is_listened_on(make_competition, tmp_path, host):
    with pytest.raises(UserError, match=r"is not an IPv4 address on loopback; give 127\.0\.0\.1"):
        StandIn(hosted(make_competition(tmp_path / "insects", train=3)), tmp_path / "state", host=host)


def test_a_peer_that_is_not_on_loopback_is_not_served(stand_in):
    assert not stand_in.verify_request(None, ("192.0.2.1", 40000))
    assert stand_in.verify_request(None, ("127.0.0.1", 40000))


@pytest.mark.parametrize(
    ("method", "address"),
    [("CONNECT", "www.kaggle.com:443"), ("GET", "http://example.com/"), ("PUT", "http://192.0.2.1/upload/x")],
)
def test_nothing_is_passed_on_as_a_proxy_and_what_tried_is_known(stand_in, method, address):
    status, _, body = ask(stand_in, method, address)
    assert (status, list(stand_in.refused)) == (403, [address])
    assert b"only the stand-in can be reached" in body


def test_the_client_cannot_reach_kaggle_itself(stand_in, tmp_path):
    environment = client_environment(stand_in, tmp_path / "home") | {"KAGGLE_API_ENVIRONMENT": "PROD"}
    done = kaggle(environment, "competitions", "files", "insects", cwd=tmp_path)
    assert done.returncode != 0
    assert set(stand_in.refused) == {"api.kaggle.com:443"}


@pytest.mark.parametrize("given", ["", "Bearer wrong", "Basic d3Jvbmc6d3Jvbmc=", "Bearer é"])
def test_a_call_without_the_account_s_key_is_refused(stand_in, given):
    status, _, body = ask(stand_in, "POST", LIMITS, b"{}", Authorization=given.encode().decode("latin-1"))
    assert status == 401 and b"missing or wrong credentials" in body


def test_name_and_key_do_as_well_as_the_token(stand_in):
    pair = base64.b64encode(f"{stand_in.username}:{stand_in.key}".encode()).decode()
    right = {"Authorization": f"Basic {pair}"}
    assert ask(stand_in, "POST", LIMITS, b'{"competitionName": "insects"}', **right)[0] == 200


def test_a_token_is_told_to_be_active_only_if_it_is_the_account_s(stand_in):
    method = "security.OAuthService/IntrospectToken"
    assert call(stand_in, method, token=stand_in.key)[1] == {"active": True, "username": "rehearser"}
    assert call(stand_in, method, token="other")[1] == {"active": False}


def test_files_lie_at_addresses_that_cannot_be_guessed(stand_in):
    address = archive_address(stand_in)
    assert ask(stand_in, "GET", address)[0] == 200
    assert ask(stand_in, "GET", re.sub("[0-9a-f]{32}", "0" * 32, address))[0] == 403
    assert ask(stand_in, "PUT", "/upload/guessed", b"")[0] == 400


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (LIMITS, b"no JSON", 400),
        (LIMITS, b"{}", 400),
        (LIMITS, b"[]", 400),
        ("/api/v1/other.Service/Method", b"{}", 404),
        (f"/api/v1/{KERNELS}/SaveKernel", b'{"slug": "a/b", "sessionTimeoutSeconds": "long"}', 400),
        (f"/api/v1/{COMPETITIONS}/ListSubmissions", b'{"competitionName": "insects", "page": "one"}', 400),
    ],
)
def test_a_call_that_makes_no_sense_is_the_caller_s_error(stand_in, path, body, status):
    answer = ask(stand_in, "POST", path, body, Authorization=f"Bearer {stand_in.key}")
    assert answer[0] == status and b"message" in answer[2]


def test_a_part_of_a_file_is_sent_only_of_the_very_file_that_was_begun(stand_in):
    address = archive_address(stand_in)
    _, headers, whole = ask(stand_in, "GET", address)
    size, tag, changed = len(whole), headers["etag"], headers["last-modified"]
    assert (int(headers["content-length"]), headers["accept-ranges"]) == (size, "bytes")
    for validator in ({}, {"If_Range": tag}, {"If_Range": changed}):
        status, part, body = ask(stand_in, "GET", address, Range="bytes=100-", **validator)
        assert (status, body, part["content-range"]) == (206, whole[100:], f"bytes 100-{size - 1}/{size}")
    assert ask(stand_in, "GET", address, Range="bytes=5-9")[2] == whole[5:10]
    assert ask(stand_in, "GET", address, Range="bytes=100-", If_Range='"other"')[::2] == (200, whole)
    assert ask(stand_in, "GET", address, Range=f"bytes={size}-")[0] == 416


def test_a_download_that_was_cut_goes_on_where_it_stopped(stand_in, client, tmp_path):
    stand_in.faults["download"] = Fault(kind="drop")
    done = client("competitions", "download", "insects")
    assert (done.returncode, "Resuming from" in done.stdout) == (0, True)
    with zipfile.ZipFile(tmp_path / "insects.zip") as archive:
        assert archive.testzip() is None
    assert list(stand_in.calls).count("download") == 2


def test_the_archive_is_made_once_and_anew_where_a_file_has_changed(make_competition, tmp_path):
    insects, state = hosted(make_competition(tmp_path / "insects", train=3)), tmp_path / "state"
    tags = []
    for text in (None, None, "Image\nchanged.png\n"):
        if text:
            (insects.folder / "test.csv").write_text(text)
        with StandIn(insects, state) as stand_in:
            tags.append(ask(stand_in, "GET", archive_address(stand_in))[1]["etag"])
    assert tags[0] == tags[1] != tags[2]
    assert len(list(state.rglob("*.zip"))) == 1


def test_a_submission_and_the_account_survive_a_restart(stand_in, tmp_path):
    stand_in.board.scoring_seconds = 60
    submit(stand_in, write_submission(stand_in, tmp_path / "a.csv"), "before the end")
    key = stand_in.key
    stand_in.stop()
    with StandIn(stand_in.board.hosted, stand_in.state.folder) as again:
        (submission,) = submissions(again)
        assert (submission["status"], submission["publicScore"]) == ("COMPLETE", "1.00000")
        assert (submission["description"], again.key) == ("before the end", key)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
def test_an_error_can_be_ordered_so_many_times(stand_in, status):
    stand_in.faults["GetSubmissionLimits"] = Fault(status=status, times=2)
    method = f"{COMPETITIONS}/GetSubmissionLimits"
    assert [call(stand_in, method, **INSECTS)[0] for _ in range(3)] == [status, status, 200]


def test_the_client_meets_an_ordered_error(stand_in, client):
    stand_in.faults["ListSubmissions"] = Fault(status=429)
    done = client("competitions", "submissions", "insects")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[0] == "the stand-in was told to answer 429 here"


def test_an_answer_can_be_lost_after_the_work_is_done(stand_in, tmp_path):
    stand_in.faults["CreateSubmission"] = Fault(kind="lost")
    status, _ = submit(stand_in, write_submission(stand_in, tmp_path / "a.csv"))
    assert (status, len(submissions(stand_in))) == (500, 1)


def test_an_upload_can_be_dropped_halfway_and_sent_again(stand_in, tmp_path):
    file = write_submission(stand_in, tmp_path / "a.csv")
    stand_in.faults["upload"] = Fault(kind="drop")
    with pytest.raises(ConnectionError):
        upload(stand_in, file)
    assert not any((stand_in.state.folder / "uploads").glob("*"))
    assert submit(stand_in, file)[0] == 200


def test_the_client_sends_a_dropped_upload_again_and_submits_once(stand_in, client, tmp_path):
    stand_in.faults["upload"] = Fault(kind="drop")
    done = client("competitions", "submit", "insects", "-f", write_submission(stand_in, tmp_path / "a.csv"), "-m", "a")
    assert done.returncode == 0
    (submission,) = submissions(stand_in)
    assert (submission["status"], submission["publicScore"]) == ("COMPLETE", "1.00000")


def test_an_upload_that_the_client_breaks_off_leaves_nothing(stand_in):
    request = INSECTS | {"contentLength": 9, "fileName": "a.csv"}
    _, started = call(stand_in, f"{COMPETITIONS}/StartSubmissionUpload", **request)
    with socket.create_connection(stand_in.server_address) as connection:
        connection.sendall(f"PUT {started['createUrl']} HTTP/1.1\r\nContent-Length: 9\r\n\r\nshort".encode())
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert not any((stand_in.state.folder / "uploads").iterdir())


def test_a_shorter_upload_than_announced_is_refused(stand_in):
    request = INSECTS | {"contentLength": 9, "fileName": "a.csv"}
    _, started = call(stand_in, f"{COMPETITIONS}/StartSubmissionUpload", **request)
    assert ask(stand_in, "PUT", started["createUrl"], b"short")[0] == 400


def test_a_call_can_hang_until_the_server_ends(stand_in, tmp_path):
    stand_in.faults["ListDataFiles"] = Fault(kind="hang")
    environment = client_environment(stand_in, tmp_path / "home")
    command = [Path(sys.executable).with_name("kaggle"), "competitions", "files", "insects"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        stand_in.stop()
        assert process.wait(30) != 0


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("CreateSubmission=429", Fault(status=429)),
        ("upload=dropx3", Fault(kind="drop", times=3)),
        ("GetKernel=hang", Fault(kind="hang")),
        ("CreateSubmission=lostx2", Fault(kind="lost", times=2)),
    ],
)
def test_faults_are_written_as_one_word(text, fault):
    assert parse_fault(text) == (text.partition("=")[0], fault)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--competition", "nowhere"], "nowhere: no such folder"),
        (["--competition", "insects", "--answers", "none.csv"], "none.csv: the test labels are missing"),
        (
            ["--competition", "insects", "--answers", "insects/val.csv"],
            "the test labels lie in the folder that is served",
        ),
        (["--fault", "upload=explode"], "'upload=explode' is not a fault; write NAME=500"),
        (["--dataset", "set=here"], "--dataset set=here is incomplete; give it as OWNER/SLUG=FOLDER"),
        (["--dataset", "ada/set=nowhere"], "--dataset ada/set=nowhere: no such folder; give one that exists"),
        (["--python", "nowhere"], "nowhere: this Python does not start"),
        (["--host", "0.0.0.0"], "'0.0.0.0' is not an IPv4 address on loopback"),
        (["--port", "99999"], "cannot listen on port 99999"),
        (["--prot", "1"], "unrecognized arguments: --prot"),
    ],
)
def test_what_is_wrong_with_the_command_is_said_in_one_line(
    make_competition, tmp_path, monkeypatch, capsys, arguments, words
):
    monkeypatch.chdir(tmp_path)
    folder = make_competition(tmp_path / "insects", train=3)
    answers = folder.with_name("insects_answers.csv")
    given = ["--competition", str(folder), "--answers", str(answers), "--state", "state", "--port", "0"]
    status, said = main([*given, *arguments]), capsys.readouterr()
    assert (status, said.out) == (2, "")
    assert re.fullmatch(r"error: .*\n", said.err) and words in said.err


def test_the_command_prints_what_a_shell_needs_for_the_client(make_competition, tmp_path):
    folder = make_competition(tmp_path / "insects", train=3)
    answers = folder.with_name("insects_answers.csv")
    options = ["--competition", folder, "--answers", answers, "--state", tmp_path / "state", "--port", 0]
    command = [sys.executable, str(SCRIPT), *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        lines = [process.stdout.readline()]
        while not lines[-1].startswith("export KAGGLE_API_TOKEN"):
            lines.append(process.stdout.readline())
        assert "its messages and limits are its own, not Kaggle's" in lines[0]
        assert all(line.startswith(("# ", "export ")) for line in lines)
        client = f"{Path(sys.executable).with_name('kaggle')} competitions files insects"
        home = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home")}
        done = subprocess.run(
            "".join(lines) + client, shell=True, env=home, capture_output=True, text=True, timeout=PATIENCE
        )
        assert "train.csv" in done.stdout
        process.send_signal(signal.SIGTERM)
        _, reported = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
    assert "ListDataFiles" in reported and "Traceback" not in reported
    key = re.search("KAGGLE_KEY=(.*)", "".join(lines))[1]
    assert key not in reported


def test_the_rehearsal_is_drawn_where_it_is_not_there_yet(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "DATA_FOLDER", tmp_path)
    monkeypatch.setattr(server, "draw_rehearsal", partial(draw_rehearsal, images=60))
    first, second = (server._hosted("rehearsal", None) for _ in range(2))
    assert first == second == Hosted("rehearsal", tmp_path / "rehearsal", tmp_path / "answers" / "rehearsal.csv")
    assert "train.csv" in first.names() and not any("answers" in name for name in first.names())


def test_answers_are_looked_for_beside_the_folder(make_competition, tmp_path, capsys):
    folder = make_competition(tmp_path / "insects", train=3)
    assert main(["--competition", str(folder), "--state", str(tmp_path / "state")]) == 2
    remedy = "the test labels are missing; give their path with --answers"
    assert capsys.readouterr().err == f"error: {tmp_path}/answers/insects.csv: {remedy}\n"
