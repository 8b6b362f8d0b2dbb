"""The built wheel, installed as in a notebook without internet, and docs/rehearsal.ipynb, run on it."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "docs" / "rehearsal.ipynb"
ROOMS = ("competition", "pipeline")


def left_out(folder: str, names: list[str]) -> set[str]:
    """Downloads and compiled files."""
    return {"__pycache__", *(["data"] if folder == str(ROOT / "competition") else [])} & set(names)


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def installed(made_once: Callable[..., Path]) -> Path:
    """A folder with the wheel and, in ``site``, what it installs."""

    def build_and_install(place: Path) -> None:
        source = place / "source"
        for room in ROOMS:
            shutil.copytree(ROOT / room, source / room, ignore=left_out)
        for file in ("pyproject.toml", "README.md", "LICENSE", *(path.name for path in ROOT.glob("requirements*.txt"))):
            shutil.copy(ROOT / file, source)
        pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", place, source)
        pip("install", "--no-index", "--no-deps", "--target", place / "site", *place.glob("*.whl"))

    return made_once("installed", build_and_install)


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_wheel_holds_every_recipe_template_and_known_contest(installed):
    (wheel,) = installed.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    source = installed / "source"
    meant = {path.relative_to(source).as_posix() for room in ROOMS for path in (source / room).rglob("*.*")}
    assert meant - packed == set()
    assert {"pipeline/recipes/sprint.toml", "pipeline/report/templates/live.html.j2"} <= packed


def test_the_notebook_leads_from_a_folder_to_a_submission_where_the_wheel_is_installed(
    installed, notebook, make_competition, tmp_path, monkeypatch
):
    folder = make_competition(tmp_path / "insects")
    (parameters,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    parameters.source = f"contest, budget, models = {str(folder)!r}, '10m', 'dhc-gaussian-nb'"
    monkeypatch.setenv("PYTHONPATH", str(installed / "site"))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    text = "".join(output.text for output in shown if output.output_type == "stream" and output.name == "stdout")
    assert "ok: 12 rows" in text
    pages = [output.data["text/html"] for output in shown if "data" in output and "text/html" in output.data]
    assert sum('class="dataframe"' in page for page in pages) == 2
    assert sum(page.startswith('<iframe title="report" srcdoc="&lt;!DOCTYPE html&gt;') for page in pages) == 1
    assert any("application/vnd.jupyter.widget-view+json" in output.get("data", ()) for output in shown)
    assert [output for output in shown if output.output_type == "stream" and output.name == "stderr"] == []
    assert (tmp_path / "submissions" / "insects" / "submission.csv").is_file()
    assert (tmp_path / "runs" / "insects" / "index.html").is_file()


def test_the_notebook_is_kept_without_outputs(notebook):
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (cell.outputs, cell.execution_count) == ([], None)
