"""From a CSV to its score, with the real client and the stand-in for Kaggle's server."""

import csv
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from competition import kaggle_call, kaggle_client
from competition.layouts import load_competition
from competition.stand_in.faults import Fault
from competition.stand_in.server import StandIn
from pipeline import submit
from pipeline.kaggle import submitter
from pipeline.kaggle.ledger import HEADER, Ledger, Note, fingerprint_of, sha256_of
from tests.commands import fail, run, script, start, succeed
from tests.stand_in import CREDENTIALS, PATIENCE, client_environment, hosted, kaggle, write_submission

RUN_DRIVER = kaggle_client.run_driver


# --- the check


@pytest.fixture
def folder(make_competition, tmp_path) -> Path:
    return make_competition(tmp_path / "insects", size=(4, 4))


@pytest.fixture
def answer(folder, tmp_path) -> Path:
    """A submission with every test id and the class bee."""
    return write_rows(tmp_path / "answer.csv", [(name, "bee") for name in load_competition(folder).submission_ids])


def write_rows(path: Path, rows: list[tuple[str, str]], header: tuple[str, ...] = ("Image", "Class")) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_a_good_file_gets_one_line_and_status_0(folder, answer):
    done = start("submit", "--check", answer, "--competition", folder, cwd=folder)
    assert (done.status, done.err) == (0, "")
    assert done.out == "ok: 12 rows, 1 of 3 classes, order of sample_submission.csv\n"


def test_without_a_file_the_check_looks_at_what_predict_wrote(folder, answer, tmp_path):
    options = ("--check", "--competition", "flies", "--data", folder, "--work", tmp_path / "work")
    assert str(Path("work", "submissions", "flies", "submission.csv")) in fail("submit", *options)
    place = tmp_path / "work" / "submissions" / "flies"
    place.mkdir(parents=True)
    answer.rename(place / "submission.csv")
    assert succeed("submit", *options).startswith("ok: ")


def test_an_answer_to_earlier_tables_is_refused_unless_it_is_named(folder, answer, tmp_path):
    options = ("--check", "--competition", folder, "--work", tmp_path / "work")
    file = tmp_path / "work" / "submissions" / "insects" / "submission.csv"
    file.parent.mkdir(parents=True)
    answer.rename(file)
    data = fingerprint_of(load_competition(folder))
    Note(sha256_of(file), {"sprint": 1.0}, 0.9, 0.8, 0.95, data=data).write(file.with_name("submission.json"))
    assert succeed("submit", *options).startswith("ok: ")
    swapped = (folder / "train.csv").read_text().replace("ant", "?").replace("bee", "ant").replace("?", "bee")
    (folder / "train.csv").write_text(swapped)
    fault = "the tables or images of insects have changed since it was made"
    assert f"{fault}; run pipeline/predict.py again" in fail("submit", *options)
    warning, ok = succeed("submit", *options, file).splitlines()
    assert warning.startswith("warning: ") and warning.endswith(fault) and ok.startswith("ok: ")


def test_a_bad_file_gets_one_line_of_error_and_status_2(folder, answer):
    answer.write_text(answer.read_text().replace("bee", "wasp"))
    done = run("submit", "--check", answer, "--competition", folder)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"error: {answer}: class not in train.csv (wasp) in 12 rows")
    assert len(done.err.splitlines()) == 1


def test_the_traceback_is_shown_only_with_debug(folder, tmp_path):
    done = start("submit", "--check", tmp_path / "none.csv", "--competition", folder, "--debug")
    assert done.status != 0
    assert "Traceback" in done.err


# --- sending


class Rehearsal:
    """A competition, its server, and the command called in this process."""

    def __init__(self, server: StandIn, folder: Path, work: Path) -> None:
        self.server, self.folder, self.work = server, folder, work

    def csv(self, name: str = "answer.csv", right: int = 12) -> Path:
        return write_submission(self.server, self.work / name, right)

    def hand_in(self, *arguments: object) -> tuple[int, str]:
        """Exit status and all that was printed."""
        done = run("submit", "--competition", self.folder, "--work", self.work, *arguments)
        return done.status, done.out + done.err.split("\r")[-1]

    def fail(self, *arguments: object) -> str:
        status, printed = self.hand_in(*arguments)
        assert status == 2, printed
        assert printed.splitlines()[-1].startswith("error: ")
        assert self.server.key not in printed
        return printed.splitlines()[-1]

    def succeed(self, *arguments: object) -> str:
        status, printed = self.hand_in(*arguments)
        assert status == 0, printed
        return printed

    @property
    def ledger(self) -> list[dict[str, str]]:
        with (self.work / "submissions" / "ledger.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def states(self) -> list[str]:
        return [entry["status"] for entry in self.ledger]

    def received(self) -> int:
        return len(kaggle_client.submissions("insects"))


@pytest.fixture
def rehearsal(slow_rehearsal, monkeypatch) -> Rehearsal:
    """With the real client, but in this process: starting one for every call takes most of a second."""

    def run_here(name: str, arguments: dict, patience: float, arrived: Callable) -> dict:
        return kaggle_call.outcome(name, arguments, lambda total: None)

    monkeypatch.setattr(kaggle_client, "run_driver", run_here)
    return slow_rehearsal


@pytest.fixture
def slow_rehearsal(make_competition, tmp_path, monkeypatch) -> Iterator[Rehearsal]:
    """As for a user: every call a process of its own."""
    folder = make_competition(tmp_path / "insects", size=(4, 4))
    with StandIn(hosted(folder), tmp_path / "state", daily_limit=3) as server:
        for name, value in client_environment(server, tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(submitter, "POLL", 0.05)
        (tmp_path / "work").mkdir()
        yield Rehearsal(server, folder, tmp_path / "work")
        assert list(server.refused) == []


def test_a_submission_is_scored_and_written_down(slow_rehearsal):
    file = slow_rehearsal.csv()
    printed = slow_rehearsal.succeed(file, "--message", "first\ntry")
    assert "submissions left: 3" in printed
    assert "public score 1.0" in printed
    (entry,) = slow_rehearsal.ledger
    assert tuple(entry) == HEADER
    assert (entry["competition"], entry["file"], entry["sha256"]) == ("insects", str(file), sha256_of(file))
    assert (entry["status"], float(entry["public"]), entry["message"]) == ("scored", 1.0, "first try")
    assert float(entry["private"]) == 1.0
    assert entry["ref"] in printed


def test_the_ledger_and_the_score_say_what_made_the_file(rehearsal):
    file = rehearsal.csv()
    note = Note(sha256_of(file), {"sprint": 0.75, "dhc-svm": 0.25}, 0.9, 0.8, 0.95)
    note.write(file.with_name("submission.json"))
    assert "validation accuracy 0.9000 (0.8000-0.9500)" in rehearsal.succeed(file)
    (entry,) = rehearsal.ledger
    assert (entry["recipes"], entry["validation"]) == ("sprint 0.75; dhc-svm 0.25", "0.9000")
    assert entry["message"] == "sprint, dhc-svm"


def test_a_note_on_other_bytes_says_nothing(rehearsal):
    file = rehearsal.csv()
    Note("0" * 64, {"sprint": 1.0}, 0.9, 0.8, 0.95).write(file.with_name("submission.json"))
    rehearsal.succeed(file)
    assert (rehearsal.ledger[0]["recipes"], rehearsal.ledger[0]["validation"]) == ("", "")


def test_rows_in_an_order_of_their_own_are_put_right_with_a_word(rehearsal):
    file = rehearsal.csv()
    header, *rows = file.read_text().splitlines(keepends=True)
    file.write_text("".join([header, *reversed(rows)]))
    before = file.read_bytes()
    printed = rehearsal.succeed(file)
    assert "the rows are in the wrong order" in printed
    assert "public score 1.0" in printed
    assert file.read_bytes() == before
    assert Path(rehearsal.ledger[0]["file"]).read_text() == "".join([header, *rows])


def no_header(rows: list[str]) -> list[str]:
    return rows[1:]


def other_header(rows: list[str]) -> list[str]:
    return ["id,label\n", *rows[1:]]


def missing_row(rows: list[str]) -> list[str]:
    return rows[:-1]


def doubled_row(rows: list[str]) -> list[str]:
    return [*rows, rows[-1]]


def unknown_class(rows: list[str]) -> list[str]:
    return [*rows[:-1], rows[-1].split(",")[0] + ",wasp\n"]


def blank(rows: list[str]) -> list[str]:
    return [*rows[:-1], rows[-1].split(",")[0] + ",\n"]


@pytest.mark.parametrize("spoil", [no_header, other_header, missing_row, doubled_row, unknown_class, blank])
def test_what_would_be_rejected_is_refused_before_anything_is_asked(rehearsal, spoil):
    file = rehearsal.csv()
    file.write_text("".join(spoil(file.read_text().splitlines(keepends=True))))
    assert str(file) in rehearsal.fail(file)
    assert list(rehearsal.server.calls) == []
    assert not (rehearsal.work / "submissions" / "ledger.csv").exists()


def test_the_same_bytes_ask_for_again(rehearsal):
    file = rehearsal.csv()
    rehearsal.succeed(file)
    error = rehearsal.fail(file)
    assert "submitted before" in error and "--again" in error
    assert rehearsal.received() == 1
    rehearsal.succeed(file, "--again")
    assert (rehearsal.received(), rehearsal.states()) == (2, ["scored", "scored"])


def test_bytes_that_another_machine_sent_ask_for_again_too(rehearsal):
    file = rehearsal.csv()
    rehearsal.succeed(file)
    (rehearsal.work / "submissions" / "ledger.csv").unlink()
    assert "--again" in rehearsal.fail(file)
    assert [entry["time"] for entry in rehearsal.ledger] == ["elsewhere"]
    assert rehearsal.received() == 1


def test_the_daily_limit_is_said_before_anything_is_sent(rehearsal):
    for right in range(3):
        rehearsal.succeed(rehearsal.csv(right=right))
    error = rehearsal.fail(rehearsal.csv(right=9))
    assert "no submission is left (3 sent today)" in error
    assert (rehearsal.received(), len(rehearsal.ledger)) == (3, 3)


@pytest.mark.parametrize("status", [404, 500])
def test_a_limit_that_cannot_be_learnt_is_left_to_the_server(rehearsal, status):
    rehearsal.server.faults["GetSubmissionLimits"] = Fault(status)
    assert "submissions left: unknown" in rehearsal.succeed(rehearsal.csv())


def test_a_file_that_the_server_rejects_gives_its_reason(rehearsal):
    table = rehearsal.folder / "test.csv"  # a row that the server does not know of
    table.write_text(table.read_text() + "more.png\n")
    sample = rehearsal.folder / "sample_submission.csv"
    sample.write_text(sample.read_text() + "more.png,bee\n")
    image = next((rehearsal.folder / "test_images").iterdir())
    (image.parent / "more.png").write_bytes(image.read_bytes())
    file = rehearsal.csv()
    file.write_text(file.read_text() + "more.png,bee\n")
    error = rehearsal.fail(file)
    reason = rehearsal.ledger[0]["reason"]
    assert reason and reason in error
    assert rehearsal.states() == ["rejected"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429])
def test_what_the_server_refuses_was_not_sent(rehearsal, status):
    rehearsal.server.faults["StartSubmissionUpload"] = Fault(status)
    file = rehearsal.csv()
    assert str(status) in rehearsal.fail(file)
    assert (rehearsal.received(), rehearsal.states()) == (0, ["refused"])
    rehearsal.succeed(file)
    assert (rehearsal.received(), rehearsal.states()) == (1, ["refused", "scored"])


@pytest.mark.parametrize("fault", [Fault(400), Fault(503)])
def test_an_upload_that_is_refused_is_no_success(rehearsal, fault):
    rehearsal.server.faults["upload"] = fault
    file = rehearsal.csv()
    assert "did not arrive" in rehearsal.fail(file)
    rehearsal.succeed(file)
    assert (rehearsal.received(), rehearsal.states()) == (1, ["refused", "scored"])


def test_an_upload_that_is_dropped_begins_again(rehearsal):
    rehearsal.server.faults["upload"] = Fault(kind="drop")
    rehearsal.succeed(rehearsal.csv())
    assert rehearsal.received() == 1


@pytest.mark.parametrize("method", ["StartSubmissionUpload", "CreateSubmission"])
@pytest.mark.parametrize("kind", ["status", "drop"])
def test_what_did_not_arrive_is_sent_by_the_next_command(rehearsal, method, kind):
    rehearsal.server.faults[method] = Fault(500, kind)
    file = rehearsal.csv()
    assert "run the same command again, which checks before it sends" in rehearsal.fail(file)
    assert rehearsal.states() == ["sent"]
    rehearsal.succeed(file)
    assert (rehearsal.received(), rehearsal.states()) == (1, ["refused", "scored"])


def test_what_arrived_without_an_answer_is_found_on_the_servers_list(rehearsal):
    rehearsal.server.faults["CreateSubmission"] = Fault(kind="lost")
    assert "public score 1.0" in rehearsal.succeed(rehearsal.csv())
    assert (rehearsal.received(), rehearsal.states()) == (1, ["scored"])


def test_a_hang_ends_and_nothing_is_sent_twice(rehearsal, monkeypatch):
    run_here = kaggle_client.run_driver
    choose = {"submit": RUN_DRIVER}  # what can be killed
    monkeypatch.setattr(kaggle_client, "run_driver", lambda name, *rest: choose.get(name, run_here)(name, *rest))
    monkeypatch.setattr(kaggle_client, "SENDING", 6.0)
    rehearsal.server.faults["CreateSubmission"] = Fault(kind="hang")
    file = rehearsal.csv()
    assert "no answer from Kaggle for 6 s" in rehearsal.fail(file)
    assert rehearsal.states() == ["sent"]
    choose.clear()
    rehearsal.succeed(file)
    assert rehearsal.received() == 1


def test_after_a_crash_the_server_is_looked_at_before_anything_is_sent(rehearsal, monkeypatch):
    file = rehearsal.csv()
    send = kaggle_client.submit

    def crash(*arguments: object) -> str:
        send(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(kaggle_client, "submit", crash)
    assert rehearsal.hand_in(file)[0] == 130
    assert rehearsal.states() == ["sent"]
    monkeypatch.setattr(kaggle_client, "submit", send)
    assert "public score 1.0" in rehearsal.succeed(file)
    assert (rehearsal.received(), rehearsal.states()) == (1, ["scored"])


def test_a_private_score_that_is_shown_later_is_added_to_the_ledger(rehearsal):
    file = rehearsal.csv()
    rehearsal.succeed(file)
    ledger = Ledger(rehearsal.work / "submissions" / "ledger.csv")
    (entry,) = ledger.entries()
    ledger.change(entry, private="")
    rehearsal.fail(file)  # it was submitted before
    assert [float(each.private) for each in ledger.entries()] == [1.0]


def test_a_failed_look_at_the_score_is_repeated(rehearsal):
    file, looks = rehearsal.csv(), Fault(500)
    ask = kaggle_client.submit

    def then_fail(*arguments: object) -> str:
        ref = ask(*arguments)
        rehearsal.server.faults["ListSubmissions"] = looks
        return ref

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kaggle_client, "submit", then_fail)
        assert "public score 1.0" in rehearsal.succeed(file)


def test_a_score_that_does_not_come_is_looked_for_by_the_next_command(rehearsal, monkeypatch):
    file = rehearsal.csv()
    with monkeypatch.context() as patch:
        patch.setattr(submitter, "SCORING", 0.0)
        assert "no score after" in rehearsal.fail(file)
    assert rehearsal.states() == ["pending"]
    assert "public score 1.0" in rehearsal.succeed(file)
    assert (rehearsal.received(), rehearsal.states()) == (1, ["scored"])


def test_a_damaged_ledger_stops_everything(rehearsal):
    ledger = rehearsal.work / "submissions" / "ledger.csv"
    ledger.parent.mkdir()
    ledger.write_text("something,else\n")
    assert "ledger.csv: not a ledger" in rehearsal.fail(rehearsal.csv())
    assert list(rehearsal.server.calls) == []


def test_no_credentials_are_said_in_one_line(slow_rehearsal, monkeypatch):
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    error = slow_rehearsal.fail(slow_rehearsal.csv())
    assert "no Kaggle credentials" in error and "kaggle auth login" in error


def test_no_file_that_is_left_holds_a_credential(slow_rehearsal, tmp_path, monkeypatch):
    monkeypatch.setenv("VERBOSE", "1")
    slow_rehearsal.server.faults["StartSubmissionUpload"] = Fault(403)
    slow_rehearsal.fail(slow_rehearsal.csv())
    key = slow_rehearsal.server.key.encode()
    assert not [path for path in slow_rehearsal.work.rglob("*") if path.is_file() and key in path.read_bytes()]


# --- a kernel's output

KERNEL = "rehearser/insects-pipeline"


@pytest.fixture
def push(rehearsal, tmp_path) -> Callable[..., None]:
    """A function that pushes a script with the client's own command."""
    if problem := rehearsal.server.kernels.sandbox.problem:
        pytest.skip(f"no kernel can be run on this machine: {problem}")

    def run(script: str, *options: str) -> None:
        folder = tmp_path / "push"
        folder.mkdir(exist_ok=True)
        (folder / "kernel.py").write_text(script)
        fixed = {"title": "insects pipeline", "code_file": "kernel.py", "language": "python", "kernel_type": "script"}
        (folder / "kernel-metadata.json").write_text(json.dumps({"id": KERNEL, **fixed}))
        environment = client_environment(rehearsal.server, tmp_path / "home")
        pushed = kaggle(environment, "kernels", "push", "-p", folder, *options, cwd=tmp_path)
        assert "successfully pushed" in pushed.stdout, pushed.stdout + pushed.stderr

    return run


def test_a_kernels_submission_is_waited_for_checked_and_sent(rehearsal, push):
    text = rehearsal.csv(right=8).read_text()
    push(f"import time; time.sleep(0.5); open('submission.csv', 'w').write({text!r})")
    rehearsal.server.faults["GetKernelSessionStatus"] = Fault(500)
    rehearsal.server.faults["output"] = Fault(500)
    assert "Kaggle's server failed" in rehearsal.fail("--kernel", KERNEL)
    assert "public score" in rehearsal.succeed("--kernel", KERNEL)
    assert Path(rehearsal.ledger[0]["file"]).read_text() == text


def test_a_kernels_bad_submission_is_not_sent(rehearsal, push):
    push("open('submission.csv', 'w').write('Image,Class\\n')")
    assert "the table is empty" in rehearsal.fail("--kernel", KERNEL)
    assert "StartSubmissionUpload" not in rehearsal.server.calls


@pytest.mark.parametrize(
    ("script", "options", "words"),
    [
        ("print('training'); raise SystemExit('error: no space left')", (), ("ERROR", "error: no space left")),
        ("import time; print('slow', flush=True); time.sleep(60)", ("-t", "3"), ("ERROR", "its log ends with: slow")),
        ("print('done')", (), ("wrote no submission.csv", "its log ends with: done")),
    ],
)
def test_a_kernel_that_gives_nothing_is_told_in_one_line(rehearsal, push, script, options, words):
    push(script, *options)
    error = rehearsal.fail("--kernel", KERNEL)
    assert KERNEL in error
    assert all(word in error for word in words)


def test_a_kernel_that_is_not_there_is_named(rehearsal):
    assert f"no kernel '{KERNEL}' that you have access to" in rehearsal.fail("--kernel", KERNEL)


def test_a_kernel_is_not_waited_for_without_end(rehearsal, monkeypatch):
    monkeypatch.setattr(kaggle_client, "kernel_version", lambda kernel: 1)
    monkeypatch.setattr(kaggle_client, "kernel_status", lambda kernel, version: ("RUNNING", ""))
    monkeypatch.setattr(submit, "KERNEL_WAIT", 0.1)
    assert "has not finished" in rehearsal.fail("--kernel", KERNEL)


def test_a_kernel_that_was_pushed_without_a_run_is_said(rehearsal, monkeypatch):
    monkeypatch.setattr(kaggle_client, "kernel_version", lambda kernel: 1)
    monkeypatch.setattr(kaggle_client, "kernel_status", lambda kernel, version: ("NEW_SCRIPT", ""))
    monkeypatch.setattr(submit, "SAVED_WAIT", 0.1)
    assert "saved without a run; push it without --no-run" in rehearsal.fail("--kernel", KERNEL)


def test_a_kernel_is_named_with_its_user(rehearsal):
    assert "USER/NAME" in rehearsal.fail("--kernel", "insects-pipeline")


# --- a contest that takes only notebooks


@pytest.fixture
def only_kernels(rehearsal) -> Rehearsal:
    rehearsal.server.board.only_kernels = True
    return rehearsal


def writes(rehearsal: Rehearsal, right: int = 8) -> str:
    """A script that writes a submission with so many right rows."""
    return f"open('submission.csv', 'w').write({rehearsal.csv(right=right).read_text()!r})"


def test_a_csv_that_such_a_contest_refuses_is_kept_with_the_servers_reason(only_kernels):
    error = only_kernels.fail(only_kernels.csv())
    assert "this competition takes versions of kernels only" in error and "--kernel USER/NAME" in error
    (entry,) = only_kernels.ledger
    assert entry["status"] == "refused" and "takes versions of kernels only" in entry["reason"]


def test_such_a_contest_gets_the_version_of_the_kernel(only_kernels, push):
    push(writes(only_kernels))
    assert "public score" in only_kernels.succeed("--kernel", KERNEL, "--message", "by a kernel")
    refused, sent = only_kernels.ledger
    assert (refused["status"], sent["status"]) == ("refused", "scored")
    assert (sent["file"], sent["sha256"], sent["message"]) == (f"{KERNEL}/1", "", "by a kernel")
    (listed,) = kaggle_client.submissions("insects")
    assert (listed.ref, listed.description) == (sent["ref"], f"by a kernel [{KERNEL}/1]")


def test_a_version_without_a_number_is_not_submitted(only_kernels, monkeypatch):
    def output(kernel: str, names: list[str], folder: Path, version: int) -> list[str]:
        folder.mkdir(parents=True)
        return [only_kernels.csv().rename(folder / names[0]).name]

    monkeypatch.setattr(kaggle_client, "kernel_version", lambda kernel: 0)
    monkeypatch.setattr(kaggle_client, "kernel_status", lambda kernel, version: ("COMPLETE", ""))
    monkeypatch.setattr(kaggle_client, "kernel_output", output)
    assert "Kaggle does not say which version is its newest" in only_kernels.fail("--kernel", KERNEL)
    assert "CreateCodeSubmission" not in only_kernels.server.calls and only_kernels.states() == ["refused"]


def test_a_version_is_submitted_once_unless_again_is_given(only_kernels, push):
    push(writes(only_kernels))
    only_kernels.succeed("--kernel", KERNEL)
    error = only_kernels.fail("--kernel", KERNEL)
    assert f"{KERNEL}/1: submitted before" in error and "--again" in error
    only_kernels.succeed("--kernel", KERNEL, "--again")
    assert only_kernels.states() == ["refused", "scored", "scored"]
    push(writes(only_kernels))  # the same bytes by another version, which may answer other test images
    only_kernels.succeed("--kernel", KERNEL)
    assert [entry["file"] for entry in only_kernels.ledger[1:]] == [f"{KERNEL}/{number}" for number in (1, 1, 2)]


def test_a_version_that_arrived_without_an_answer_is_found_on_the_servers_list(only_kernels, push):
    push(writes(only_kernels))
    only_kernels.server.faults["CreateCodeSubmission"] = Fault(kind="lost")
    assert "public score" in only_kernels.succeed("--kernel", KERNEL)
    assert (only_kernels.received(), only_kernels.states()) == (1, ["refused", "scored"])


def test_a_version_that_is_refused_too_gives_the_servers_reason(only_kernels, push):
    push(writes(only_kernels))
    only_kernels.server.faults["CreateCodeSubmission"] = Fault(400)
    assert "told to answer 400 here" in only_kernels.fail("--kernel", KERNEL)
    assert only_kernels.states() == ["refused", "refused"]
    assert "told to answer 400 here" in only_kernels.ledger[1]["reason"]


def test_the_version_that_was_waited_for_is_the_one_submitted(only_kernels, push, monkeypatch):
    push(writes(only_kernels))
    fetch = kaggle_client.kernel_output

    def push_meanwhile(*arguments: object) -> list[str]:
        push("raise SystemExit('a new attempt')")
        return fetch(*arguments)

    monkeypatch.setattr(kaggle_client, "kernel_output", push_meanwhile)
    only_kernels.succeed("--kernel", KERNEL)
    assert only_kernels.ledger[-1]["file"] == f"{KERNEL}/1"


def test_two_commands_that_send_the_same_file_send_it_once(slow_rehearsal):
    file = slow_rehearsal.csv()
    command = script("submit", file, "--competition", slow_rehearsal.folder, "--work", slow_rehearsal.work)
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in "ab"]
    printed = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    assert (slow_rehearsal.received(), slow_rehearsal.states()) == (1, ["scored"]), printed
    assert 0 in [process.returncode for process in processes]
