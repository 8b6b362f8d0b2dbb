"""The pipeline in one script: the same bytes each time, small, readable, and with right metadata."""

import json
import lzma
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from threading import Event

import pytest

from competition.layouts import holds_competition
from competition.storage import ROOT
from pipeline import bundle, kernel
from pipeline.command_lines import predict_settings
from pipeline.kernel_lines import bundle_options
from tests.commands import run, succeed

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module", autouse=True)
def compressed_once() -> Iterator[None]:
    """The same files are compressed once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lzma, "compress", cache(lzma.compress))
        yield


@pytest.fixture
def pack(tmp_path, monkeypatch) -> Callable[..., Path]:
    """A function that bundles for the competition insects and returns the folder to push."""
    monkeypatch.setenv("KAGGLE_KEY", KEY)

    def packed(*options: str, folder: str = "push", competition: str = "insects") -> Path:
        succeed("bundle", "--competition", competition, "--output", tmp_path / folder / "kernel.py", *options)
        return tmp_path / folder

    return packed


def metadata(place: Path) -> dict:
    return json.loads((place / "kernel-metadata.json").read_text())


def test_the_same_command_gives_the_same_bytes(pack):
    first, second = pack("--user", "ann"), pack("--user", "ann", folder="again")
    for name in ("kernel.py", "kernel-metadata.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_without_a_place_it_goes_to_a_folder_of_its_own_in_the_work_folder():
    given = bundle_options(["--competition", "insects"])
    assert given.output == ROOT / "kernel" / "kernel.py"


def test_it_is_one_small_script_that_says_what_it_is(pack):
    script = pack("--user", "ann", "--models", "dhc-gaussian-nb") / "kernel.py"
    text = script.read_text()
    compile(text, str(script), "exec")
    assert len(text) < 500_000
    top = text[:1000]
    assert "python pipeline/kernel.py --competition insects --models dhc-gaussian-nb --budget 8h" in top
    assert bundle.version(ROOT, bundle.packed_files(ROOT)) in top


def test_it_holds_what_runs_and_nothing_else():
    names = set(bundle.packed_files(ROOT))
    assert {
        "competition/datasets.py",
        "pipeline/train.py",
        "pipeline/recipes/sprint.toml",
        "competition/known/unibuc-dhc-2023.toml",
    } <= names
    assert all(name.startswith(("pipeline/", "competition/")) for name in names)
    assert not [name for name in names if name.startswith(("competition/data/", "competition/stand_in/"))]
    assert not [name for name in names if "__pycache__" in name]


def test_it_holds_no_credential_of_this_machine(pack):
    place = pack("--user", "ann")
    assert KEY not in "".join(path.read_text() for path in place.iterdir())
    assert KEY not in "".join(bundle.packed_files(ROOT).values())


def test_the_version_is_the_commit_and_the_contents(tmp_path):
    files = {"pipeline/train.py": "x = 1\n"}
    plain = bundle.version(tmp_path, files)
    assert plain.startswith("contents ")
    assert bundle.version(tmp_path, {"pipeline/train.py": "x = 2\n"}) != plain
    identity = ["-c", "user.name=ann", "-c", "user.email=ann@example.com"]
    for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    assert bundle.version(tmp_path, files).startswith("commit ")
    (tmp_path / "below").mkdir()
    assert bundle.version(tmp_path / "below", files) == plain


def test_the_metadata_are_complete(pack):
    assert metadata(pack("--user", "ann", "--dataset-sources", "ann/weights")) == {
        "id": "ann/insects-pipeline",
        "title": "insects pipeline",
        "code_file": "kernel.py",
        "language": "python",
        "kernel_type": "script",
        "is_private": True,
        "enable_gpu": True,
        "enable_tpu": False,
        "enable_internet": False,
        "machine_shape": "NvidiaTeslaT4",
        "competition_sources": ["insects"],
        "dataset_sources": ["ann/weights"],
        "kernel_sources": [],
        "model_sources": [],
    }


def test_the_metadata_of_the_checkout_say_all_that_fresh_ones_say(pack):
    ours = json.loads((ROOT / "kernel-metadata.json").read_text())
    assert ours.keys() == metadata(pack("--user", "ann")).keys()


def test_classical_models_need_no_gpu(pack):
    found = metadata(pack("--user", "ann", "--models", "dhc-gaussian-nb", "dhc-svm"))
    assert (found["enable_gpu"], found["machine_shape"]) == (False, "")


def test_predicting_alone_takes_the_runs_of_the_training_kernel(pack):
    found = metadata(pack("--user", "ann", "--predict-only"))
    assert found["id"] == "ann/insects-predict"
    assert found["kernel_sources"] == ["ann/insects-pipeline"]
    assert metadata(pack("--user", "ann", "--predict-only", "--dataset-sources", "ann/runs"))["kernel_sources"] == []


def test_the_gpu_is_the_one_that_is_asked_for(pack):
    found = metadata(pack("--user", "ann", "--models", "dhc-gaussian-nb", "--accelerator", "NvidiaL4"))
    assert (found["enable_gpu"], found["machine_shape"]) == (True, "NvidiaL4")


def test_weights_are_named_as_they_will_be_in_the_notebook(pack):
    place = "/kaggle/input/datasets/ann/weights"
    assert f"--budget 8h --weights {place}" in (pack("--user", "ann", "--weights", place) / "kernel.py").read_text()


def test_pictures_from_elsewhere_are_named_as_they_will_be_in_the_notebook(pack):
    place = "/kaggle/input/datasets/ann/more/labels.csv"
    assert f"--budget 8h --extra {place}" in (pack("--user", "ann", "--extra", place) / "kernel.py").read_text()


@pytest.mark.parametrize("name", ["My.Zoo-2", "INSECTS"])
def test_the_name_of_a_competition_stays_as_it_is(pack, name):
    found = metadata(pack("--user", "ann", competition=name))
    assert found["competition_sources"] == [name]
    assert found["id"] == f"ann/{bundle.slug(name)}-pipeline"


@pytest.mark.parametrize(
    "competition", ["a", "My.Zoo_2", "unibuc-dhc-2023", "a-very-long-name-of-a-competition-about-many-kinds-of-moths"]
)
def test_a_title_resolves_to_the_address_and_is_not_too_long(competition):
    from slugify import slugify  # what the client compares them with

    title = bundle.kernel_title(competition, "pipeline")
    assert slugify(title) == bundle.slug(title)
    assert 5 <= len(title) <= 50


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--models", "sprnt"), "did you mean sprint"),
        (("--budget", "soon"), "90s, 5m, 1h"),
        (("--modles", "sprint"), "--models"),
        (("--budget", "20h"), "a notebook ends after 12 hours"),
        (("--budget", "12h"), "give less, e.g. 8h"),
        (("--accelerator", "NvidiaTeslaP100"), "NvidiaTeslaP100 is retired; give NvidiaTeslaT4"),
        (("--accelerator", "TpuV5E8"), "not a GPU"),
        (("--weights", "/tmp/weights"), "/kaggle/input/datasets/USER/NAME"),
        (("--predict-only", "--weights", "/kaggle/input/weights"), "trained models need none"),
        (("--extra", "/tmp/more"), "/kaggle/input/datasets/USER/NAME"),
        (("--relabel", "suspects.csv"), "/kaggle/input/datasets/USER/NAME"),
        (("--data", "insects.zip"), "--data names a file of this machine"),
        (("--competition", "My Zoo"), "'My Zoo' is not a competition's name"),
    ],
)
def test_what_the_notebook_would_refuse_is_refused_here(tmp_path, options, words):
    output = ("--output", tmp_path / "kernel.py")
    named = () if "--competition" in options else ("--competition", "insects")
    done = run("bundle", *named, "--user", "ann", *output, *options)
    assert done.status == 2
    assert words in done.err and len(done.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


# --- in the notebook


@pytest.fixture
def notebook(make_competition, tmp_path) -> Path:
    """A folder with ``input``, where a competition lies under a name of its own, and an empty ``working``."""
    make_competition(tmp_path / "input" / "comp-7" / "files")
    (tmp_path / "input" / "weights").mkdir()
    (tmp_path / "working").mkdir()
    return tmp_path


def kernel_arguments(notebook: Path, *options: str) -> tuple[object, ...]:
    return "--competition", "insects", "--input", notebook / "input", "--work", notebook / "working", *options


def test_the_bundled_kernel_leaves_its_answer_and_the_runs_that_a_later_one_answers_with(notebook):
    quick = ("--models", "dhc-gaussian-nb", "--epochs", "1")
    command = ["pipeline/kernel.py", *map(str, kernel_arguments(notebook, *quick))]
    file = notebook / "kernel.py"
    file.write_text(bundle.script(bundle.packed_files(ROOT), command, "tested"))
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, cwd=notebook)
    assert done.returncode == 0, done.stderr
    working = notebook / "working"
    outputs = {"submission.csv", "submission.json", "report.html"}
    assert {path.name for path in working.iterdir()} == {"runs", "submissions"} | outputs
    answer = (working / "submission.csv").read_bytes()
    (notebook / "input" / "notebooks" / "ann").mkdir(parents=True)
    working.rename(notebook / "input" / "notebooks" / "ann" / "insects-pipeline")
    working.mkdir()
    succeed("kernel", *kernel_arguments(notebook, "--predict-only", "--no-report"))
    assert (working / "submission.csv").read_bytes() == answer


def test_a_kernel_without_its_input_ends_with_one_line(notebook):
    shutil.rmtree(notebook / "input" / "comp-7" / "files")
    done = run("kernel", *kernel_arguments(notebook))
    assert done.status == 2
    assert "no input holds a competition, such as a folder with train.csv and test.csv" in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("mount", ["insects", "competitions/insects", "datasets/ann/insects", "notebooks/ann/insects"])
def test_of_two_inputs_the_one_with_the_competitions_name_counts(make_competition, notebook, mount):
    make_competition(notebook / "input" / mount)
    found = kernel.input_of(notebook / "input", "insects", "tables", holds_competition)
    assert found == notebook / "input" / mount


def test_the_competition_itself_counts_before_a_dataset_of_its_name(make_competition, notebook):
    for mount in ("competitions/insects", "datasets/ann/insects"):
        make_competition(notebook / "input" / mount)
    found = kernel.input_of(notebook / "input", "insects", "tables", holds_competition)
    assert found == notebook / "input" / "competitions" / "insects"


@pytest.mark.parametrize(
    "mount", ["birds", "datasets/ann/birds", "notebooks/ann/birds-pipeline", "notebooks/ann/a/deep"]
)
def test_runs_are_found_wherever_kaggle_mounts_them(tmp_path, mount):
    trained = tmp_path / mount / "runs" / "insects"
    for competition in ("insects", "farm"):
        (tmp_path / mount / "runs" / competition / "dhc-svm").mkdir(parents=True)
        (tmp_path / mount / "runs" / competition / "dhc-svm" / "run.json").touch()
    assert kernel.input_of(tmp_path, "insects", "runs", kernel.holds_runs) == trained


class Steps:
    """Stands for the scripts that a kernel runs: training finishes a model, waits for what it is told to, and ends."""

    def __init__(self, runs: Path, status: int) -> None:
        self.runs, self.status, self.seen, self.limit = runs, status, [], None
        self.is_answered = Event()

    def run(self, script: str, options: list[str], seconds: float | None = None) -> int:
        self.limit = seconds
        self.finish("dhc-gaussian-nb")
        assert self.is_answered.wait(30)
        return self.status

    def finish(self, name: str) -> None:
        (self.runs / name).mkdir(parents=True)
        (self.runs / name / "run.json").touch()

    def answer(self, is_over: Event) -> bool:
        self.seen.append(sorted(place.name for place in self.runs.iterdir()))
        self.is_answered.set()
        return True


@pytest.fixture
def quick_glances(monkeypatch) -> None:
    monkeypatch.setattr(kernel, "GLANCE", 0.02)


@pytest.mark.parametrize("status", [0, 124])
@pytest.mark.usefixtures("quick_glances")
def test_a_kernel_answers_with_the_first_model_while_the_others_train(tmp_path, monkeypatch, status):
    steps = Steps(tmp_path / "runs", status)
    monkeypatch.setattr(kernel, "run", steps.run)
    assert kernel.train([], 100.0, steps.runs, steps.answer) is True
    assert steps.seen == [["dhc-gaussian-nb"]]
    assert steps.limit > 100


@pytest.mark.usefixtures("quick_glances")
@pytest.mark.parametrize("budget", [None, 10 * 3600.0])
def test_training_leaves_the_last_hour_of_a_session_to_prediction(tmp_path, monkeypatch, budget):
    steps = Steps(tmp_path / "runs", 0)
    monkeypatch.setattr(kernel, "run", steps.run)
    monkeypatch.setattr(kernel, "BEGUN", time.monotonic() - 1800)
    kernel.train([], budget, steps.runs, steps.answer)
    assert 10.4 * 3600 < steps.limit <= 10.5 * 3600


def test_a_training_that_leaves_nothing_ends_the_kernel(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel, "run", lambda script, options, seconds: 124)
    with pytest.raises(SystemExit):
        kernel.train([], 100.0, tmp_path, lambda is_over: True)


@pytest.mark.usefixtures("quick_glances")
def test_a_last_prediction_that_fails_leaves_the_answer_before(notebook, monkeypatch):
    runs = notebook / "working" / "runs" / "insects"
    steps, written = Steps(runs, 0), notebook / "working" / "submissions" / "insects"

    def predict(is_over: Event, script: str, options: list[str]) -> int:
        written.mkdir(parents=True)
        (written / "submission.csv").write_text("first")
        steps.is_answered.set()
        return 0

    monkeypatch.setattr(kernel, "run_until", predict)
    monkeypatch.setattr(kernel, "run", lambda script, *rest: 1 if script == "predict" else steps.run(script, *rest))
    done = run("kernel", *kernel_arguments(notebook))
    assert (done.status, "the submission is the one before" in done.out) == (0, True)
    assert (notebook / "working" / "submission.csv").read_text() == "first"


@pytest.mark.usefixtures("quick_glances")
@pytest.mark.parametrize("options", [(), ("--predict-only",)], ids=["trains", "predicts only"])
def test_every_prediction_reads_the_columns_that_training_read(notebook, monkeypatch, options):
    lines = []
    steps = Steps(notebook / "working" / "runs" / "insects", 0)

    def written(script: str, given: list[str]) -> int:
        lines.append((script, given))
        steps.is_answered.set()
        return 0

    def trained(script: str, given: list[str], seconds: float | None = None) -> int:
        return written(script, given) + (steps.run(script, given) if script == "train" else 0)

    monkeypatch.setattr(kernel, "run", trained)
    monkeypatch.setattr(kernel, "run_until", lambda is_over, script, given: written(script, given))
    if options:
        trained_before = notebook / "input" / "notebooks" / "ann" / "insects" / "runs" / "insects" / "dhc-svm"
        trained_before.mkdir(parents=True)
        (trained_before / "run.json").touch()
    columns = ("--image-column", "Image", "--label-column", "Class")
    assert run("kernel", *kernel_arguments(notebook, *columns, *options)).status == 0
    assert lines and all(" ".join(columns) in " ".join(given) for _, given in lines)
    assert all(predict_settings(given).label_column == "Class" for script, given in lines if script == "predict")


def test_a_prediction_that_training_overtakes_is_ended(monkeypatch):
    monkeypatch.setattr(kernel, "command_line", lambda *_: [sys.executable, "-c", "import time; time.sleep(600)"])
    is_over = Event()
    is_over.set()
    assert kernel.run_until(is_over, "predict", []) != 0
