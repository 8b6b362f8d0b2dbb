"""From a pushed script to its output and its score, with the real client and without."""

import json
from pathlib import Path

import pytest

from competition.stand_in.server import StandIn
from tests.stand_in import COMPETITIONS, KERNELS, ask, call, submissions, wait_until

pytestmark = pytest.mark.usefixtures("needs_sandbox")

ANSWERS = """
from pathlib import Path
tests = Path("/kaggle/input/competitions/insects/test.csv").read_text().split()[1:]
Path("submission.csv").write_text("Image,Class\\n" + "".join(f"{name},bee\\n" for name in tests))
Path("runs").mkdir()
Path("runs/model.txt").write_text("weights")
print("answered", len(tests))
"""


def push(server: StandIn, text: str, slug: str = "rehearser/answers", **more: object) -> dict:
    request = {"slug": slug, "text": text, "language": "python", "kernelType": "script"}
    return call(server, f"{KERNELS}/SaveKernel", **request, **more)[1]


def asked(server: StandIn, method: str, slug: str = "answers") -> dict:
    return call(server, f"{KERNELS}/{method}", userName="rehearser", kernelSlug=slug)[1]


def ended(server: StandIn, slug: str = "answers") -> dict:
    """The status of a kernel's newest session when it is over."""
    wait_until(lambda: asked(server, "GetKernelSessionStatus", slug)["status"] in ("COMPLETE", "ERROR"))
    return asked(server, "GetKernelSessionStatus", slug)


def printed(server: StandIn, stream: str = "stdout", slug: str = "answers") -> str:
    entries = json.loads(asked(server, "ListKernelSessionOutput", slug)["log"])
    return "".join(entry["data"] for entry in entries if entry["stream_name"] == stream)


@pytest.fixture
def kernel(tmp_path) -> Path:
    """The folder of a kernel that is ready to be pushed."""
    folder = tmp_path / "kernel"
    folder.mkdir()
    (folder / "answers.py").write_text(ANSWERS)
    metadata = {"id": "rehearser/answers", "title": "Answers", "code_file": "answers.py"}
    metadata |= {"language": "python", "kernel_type": "script", "enable_internet": "false"}
    (folder / "kernel-metadata.json").write_text(json.dumps(metadata | {"competition_sources": ["insects"]}))
    return folder


def test_the_client_pushes_a_kernel_fetches_its_output_and_submits_it(stand_in, client, kernel, tmp_path):
    assert "Kernel version 1 successfully pushed" in client("kernels", "push", "-p", kernel).stdout
    ended(stand_in)
    assert 'has status "KernelWorkerStatus.COMPLETE"' in client("kernels", "status", "rehearser/answers").stdout
    client("kernels", "output", "rehearser/answers", "-p", "output")
    output = {path.name: path.read_text() for path in (tmp_path / "output").rglob("*.*")}
    assert output["submission.csv"].splitlines()[0] == "Image,Class"
    assert output["model.txt"] == "weights"
    (entry,) = json.loads(output["answers.log"])
    assert (entry["stream_name"], entry["data"]) == ("stdout", "answered 12\n")
    request = ("-k", "rehearser/answers", "-v", 1, "-f", "submission.csv", "-m", "from the kernel")
    assert "submission 1" in client("competitions", "submit", "insects", *request).stdout
    (submission,) = submissions(stand_in)
    assert (submission["status"], submission["description"]) == ("COMPLETE", "from the kernel")
    assert client("kernels", "pull", "rehearser/answers", "-p", "pulled", "-m").returncode == 0
    pulled = json.loads((tmp_path / "pulled" / "kernel-metadata.json").read_text())
    assert (tmp_path / "pulled" / "answers.py").read_text() == ANSWERS
    assert (pulled["id"], pulled["competition_sources"]) == ("rehearser/answers", ["insects"])
    assert not stand_in.refused


def test_a_kernel_that_fails_says_so_and_leaves_its_log_and_output(stand_in):
    push(stand_in, "open('half.txt', 'w').write('x')\nraise ValueError('no such luck')")
    assert ended(stand_in) == {
        "status": "ERROR",
        "failureMessage": "the script ended with status 1; see the log",
    }
    assert "ValueError: no such luck" in printed(stand_in, "stderr")
    assert [file["fileName"] for file in asked(stand_in, "ListKernelSessionOutput")["files"]] == ["half.txt"]


def test_a_kernel_has_the_time_that_its_push_asks_for(stand_in):
    push(stand_in, "import time; time.sleep(60)", sessionTimeoutSeconds=1)
    assert ended(stand_in) == {"status": "ERROR", "failureMessage": "the session exceeded its limit of 1 seconds"}


def test_the_log_can_be_read_while_the_kernel_runs(stand_in):
    push(stand_in, "import time; print('begun'); time.sleep(60)")
    wait_until(lambda: printed(stand_in) == "begun\n")
    assert asked(stand_in, "GetKernelSessionStatus") == {"status": "RUNNING"}


def test_the_client_follows_a_log_to_its_end(stand_in, client):
    push(stand_in, "import time; print('begun'); time.sleep(1.5); print('done')")
    wait_until(lambda: printed(stand_in) == "begun\n")
    assert client("kernels", "logs", "--follow", "rehearser/answers").stdout == "begun\ndone\n"
    assert ended(stand_in)["status"] == "COMPLETE"


@pytest.mark.parametrize(
    ("text", "request_", "words"),
    [
        ("pass", {}, "version 1 of rehearser/answers has no submission.csv, but 0 other files"),
        ("open('a.csv', 'w')", {"fileName": "b.csv"}, "has no b.csv, but 1 other file"),
        ("import os; os.symlink('/etc/passwd', 'submission.csv')", {}, "has no submission.csv"),
        ("raise SystemExit(3)", {}, "version 1 of rehearser/answers is ERROR, not COMPLETE"),
        ("pass", {"kernelVersion": 7}, "there is no kernel rehearser/answers in version 7"),
    ],
)
def test_an_output_that_is_not_there_cannot_be_submitted(stand_in, text, request_, words):
    push(stand_in, text)
    ended(stand_in)
    request = {"competitionName": "insects", "kernelOwner": "rehearser", "kernelSlug": "answers"}
    status, answer = call(stand_in, f"{COMPETITIONS}/CreateCodeSubmission", **request | request_)
    assert status >= 400 and words in answer["message"]
    assert submissions(stand_in) == []


def test_links_that_a_kernel_leaves_are_not_followed_on_this_side(stand_in):
    push(stand_in, "import os\nos.symlink('/etc', 'etc')\nos.symlink('/etc/passwd', 'passwd')\nopen('a', 'w')")
    ended(stand_in)
    (file,) = asked(stand_in, "ListKernelSessionOutput")["files"]
    assert ask(stand_in, "GET", file["url"])[0] == 200
    for name in ("passwd", "etc/passwd", "../log.json/../working/passwd", "../../../stand_in.db"):
        assert ask(stand_in, "GET", file["url"].removesuffix("/a") + f"/{name}")[0] == 404


def test_a_later_kernel_reads_what_an_earlier_one_wrote(stand_in):
    push(stand_in, "open('weights', 'w').write('42')", "rehearser/trains")
    ended(stand_in, "trains")
    push(
        stand_in,
        "print(open('/kaggle/input/notebooks/rehearser/trains/weights').read())",
        kernelDataSources=["rehearser/trains"],
    )
    assert (ended(stand_in)["status"], printed(stand_in)) == ("COMPLETE", "42\n")


def test_datasets_and_models_are_folders_given_to_the_server(stand_in, tmp_path):
    for name in ("data", "model"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "what").write_text(name)
    stand_in.datasets |= {"ada/set": tmp_path / "data", "ada/net/pytorch/small/2": tmp_path / "model"}
    text = "for name in ('datasets/ada/set', 'net/pytorch/small/2'): print(open(f'/kaggle/input/{name}/what').read())"
    push(stand_in, text, datasetDataSources=["ada/set"], modelDataSources=["ada/net/pytorch/small/2"])
    assert (ended(stand_in)["status"], printed(stand_in)) == ("COMPLETE", "data\nmodel\n")


def test_sources_that_are_not_there_are_named(stand_in):
    sources = {"competitionDataSources": ["x"], "datasetDataSources": ["a/b"], "kernelDataSources": ["a/c", "d"]}
    saved = push(stand_in, "pass", **sources, modelDataSources=["a/m/f/v/1"])
    assert {name: value for name, value in saved.items() if name.startswith("invalid")} == {
        "invalidCompetitionSources": ["x"],
        "invalidDatasetSources": ["a/b"],
        "invalidKernelSources": ["a/c", "d"],
        "invalidModelSources": ["a/m/f/v/1"],
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"slug": "someone/answers"}, "someone is not the owner, the account is rehearser"),
        ({"slug": "rehearser/../up"}, "'../up' cannot name a kernel"),
        ({"kernelType": "notebook"}, "only Python scripts"),
        ({"language": "r"}, "only Python scripts"),
        ({"text": ""}, "the script is empty"),
    ],
)
def test_what_cannot_be_run_is_refused_at_the_push(stand_in, change, words):
    request = {"slug": "rehearser/answers", "text": "pass", "language": "python", "kernelType": "script"}
    status, saved = call(stand_in, f"{KERNELS}/SaveKernel", **request | change)
    assert status == 200 and list(saved) == ["error"] and words in saved["error"]


def test_each_push_is_a_version_and_the_newest_is_shown_unless_another_is_named(stand_in, client):
    assert [push(stand_in, f"print({number})")["versionNumber"] for number in (1, 2)] == [1, 2]
    assert (ended(stand_in)["status"], printed(stand_in)) == ("COMPLETE", "2\n")
    (line,) = json.loads(client("kernels", "logs", "rehearser/answers/1").stdout)
    assert line["data"] == "1\n"
    assert client("kernels", "logs", "--follow", "rehearser/answers/1").stdout == "1\n"
    assert client("kernels", "status", "rehearser/answers/3").returncode != 0
    first = call(stand_in, f"{KERNELS}/GetKernel", userName="rehearser", kernelSlug="answers", versionLabel="v1")[1]
    assert first["blob"]["source"] == "print(1)"
    for label in ("1", "v0", "newest"):
        request = {"userName": "rehearser", "kernelSlug": "answers", "versionLabel": label}
        assert call(stand_in, f"{KERNELS}/GetKernelSessionStatus", **request)[0] == 404


def test_a_version_may_be_saved_without_a_run(stand_in, client, kernel):
    assert "saved without running" in client("kernels", "push", "-p", kernel, "--no-run").stdout
    assert asked(stand_in, "GetKernelSessionStatus") == {"status": "NEW_SCRIPT"}
    assert asked(stand_in, "ListKernelSessionOutput")["files"] == []


def test_a_kernel_that_the_server_s_end_interrupted_is_run_when_it_starts_again(stand_in):
    push(stand_in, "import time; print('begun'); time.sleep(60)")
    wait_until(lambda: printed(stand_in) == "begun\n")
    hosted, folder = stand_in.board.hosted, stand_in.state.folder
    stand_in.stop()
    with StandIn(hosted, folder) as again:
        wait_until(lambda: printed(again) == "begun\n")
        assert asked(again, "GetKernelSessionStatus") == {"status": "RUNNING"}


def test_where_no_sandbox_can_be_had_pushes_are_refused_and_the_rest_works(stand_in, monkeypatch):
    monkeypatch.setattr(stand_in.kernels.sandbox, "problem", "unshare: not permitted")
    assert push(stand_in, "pass") == {"error": "this machine cannot run kernels (unshare: not permitted)"}
    assert call(stand_in, f"{COMPETITIONS}/ListDataFiles", competitionName="insects")[0] == 200
