"""The documents: every key of a recipe is described, every link leads somewhere, every option exists."""

import io
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

import pytest

from competition.checked_toml import CheckedModel
from pipeline.models import recipe

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (".", "docs", "benchmarks", "submissions")
DOCUMENTS = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))
SCRIPTS = [
    *(ROOT / "pipeline").glob("*.py"),
    *(ROOT / "benchmarks").glob("*.py"),
    ROOT / "competition" / "rehearsal.py",
    ROOT / "competition" / "stand_in" / "server.py",
]
SECTIONS = {  # the tables of RECIPES.md by their headings
    "Every recipe": recipe.Recipe,
    '`kind = "classical"`': recipe.ClassicalRecipe,
    '`kind = "neural"`': recipe.NeuralRecipe,
    "`[optimiser]`": recipe.Optimiser,
    "`[schedule]`": recipe.Schedule,
    "`[mix]`": recipe.Mix,
    "`[[stages]]`": recipe.Stage,
    "`[[tiers]]`": recipe.Tier,
    "Tables with a name: `[network]`, `[classifier]`, `[features]`, `[[augment]]`": recipe.Named,
}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def documented_keys() -> dict[str, dict[str, tuple[str, str]]]:
    """(default, meaning) of each key, table by table, as RECIPES.md has them between its markers."""
    text = (ROOT / "docs" / "RECIPES.md").read_text(encoding="utf-8")
    between = text.split("<!-- keys: begin", 1)[1].split("<!-- keys: end -->", 1)[0]
    parts = re.split(r"^### (.+)$", between, flags=re.MULTILINE)[1:]
    row = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", re.MULTILINE)
    return {
        heading: {key: (default.strip("`"), meaning) for key, default, meaning in row.findall(table)}
        for heading, table in zip(parts[::2], parts[1::2], strict=True)
    }


def default_of(section: type[CheckedModel], key: str) -> str:
    """As TOML has it; ``required``, or ``none`` where a key has no value of its own."""
    field = section.model_fields[key]
    if field.is_required():
        return "required"
    spelled = {None: "none", True: "true", False: "false"}
    if field.default is None or isinstance(field.default, bool):
        return spelled[field.default]
    if isinstance(field.default, tuple):
        return str(list(field.default))
    return f'"{field.default}"' if isinstance(field.default, str) else str(field.default)


def own_keys(section: type[CheckedModel]) -> set[str]:
    """What a section adds to those above it; a recipe's name is its file's, not a key."""
    inherited = {key for base in section.__bases__ for key in getattr(base, "model_fields", {})}
    return set(section.model_fields) - inherited - ({"name"} if section is recipe.Recipe else set())


def test_every_kind_of_section_has_a_table_in_the_recipes_page():
    there = {each for each in vars(recipe).values() if isinstance(each, type) and issubclass(each, CheckedModel)}
    assert there == {CheckedModel, *SECTIONS.values()}
    assert documented_keys().keys() == SECTIONS.keys()


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_recipes_page_has_every_key_and_no_other_with_default_and_meaning(heading):
    section, documented = SECTIONS[heading], documented_keys()[heading]
    assert documented.keys() == own_keys(section)
    assert {key: default for key, (default, _) in documented.items()} == {
        key: default_of(section, key) for key in documented
    }
    assert all(len(meaning) > 4 for _, meaning in documented.values())


def test_the_recipes_page_names_all_that_is_chosen_by_name():
    from pipeline.models.classical.features import FEATURES
    from pipeline.models.classical.registry import CLASSIFIERS
    from pipeline.models.networks.registry import NETWORKS

    text = (ROOT / "docs" / "RECIPES.md").read_text(encoding="utf-8")
    assert [name for name in (*NETWORKS, *CLASSIFIERS, *FEATURES) if f"`{name}`" not in text] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_that_is_there(document):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    files = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in files if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_of_the_checkout_that_is_named_is_there(document):
    text = document.read_text(encoding="utf-8")
    named = re.findall(r"`((?:pipeline|competition|benchmarks|docs|tests)/[\w./-]+)`", text)
    meant = [name for name in named if not name.startswith("competition/data") and "NAME" not in name]
    assert [name for name in meant if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_option_that_is_mentioned_exists(document, help_of):
    known = {name for script in SCRIPTS for name in help_of(script)}
    unknown = []
    for command in commands(document.read_text(encoding="utf-8")):
        script, options = options_of(command)
        there = known if script is None else help_of(script)
        unknown += [f"{command}: {option}" for option in options if option not in there]
    assert unknown == []


def commands(text: str) -> Iterator[str]:
    """The commands in a document: indented lines, and spans of code."""
    for line in text.splitlines():
        found = [line.strip()] if line.startswith("    ") else re.findall(r"`([^`]+)`", line)
        for code in found:
            yield from re.split(r"&&|;", code)


def options_of(command: str) -> tuple[Path | None, list[str]]:
    """The script of ours that a command runs, and the options that it is given; neither for another program."""
    before, script, after = parted(command)
    if script is not None:
        return script, OPTION.findall(after)
    return None, OPTION.findall(command) if before.strip().startswith("--") else []


def parted(command: str) -> tuple[str, Path | None, str]:
    """A command before and after the name of a script of ours, or of the console script that stands for it."""
    for word in command.split():
        script = console_scripts().get(word) or next((path for path in SCRIPTS if is_meant(word, path)), None)
        if script is not None:
            before, _, after = command.partition(word)
            return before, script, after
    return command, None, ""


def is_meant(word: str, script: Path) -> bool:
    return word.endswith(".py") and f"/{script.relative_to(ROOT).as_posix()}".endswith(f"/{word}")


@cache
def console_scripts() -> dict[str, Path]:
    """The scripts by the names under which they are installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {f"image-{script.stem}": script for script in SCRIPTS}
    return {name: names[name] for name in project.get("scripts", {})}


@pytest.fixture(scope="module")
def help_of() -> Callable[[Path], set[str]]:
    """A function that runs a script's ``--help`` in this process and returns the options that it shows."""
    seen: dict[Path, set[str]] = {}

    def help_of(script: Path) -> set[str]:
        if script not in seen:
            seen[script] = set().union(*(shown(script, words) for words in subcommands(script)))
            if script.name in ("bundle.py", "kernel.py"):  # which pass on what is train.py's
                seen[script] |= help_of(ROOT / "pipeline" / "train.py")
        return seen[script]

    return help_of


def subcommands(script: Path) -> list[str]:
    return ["draw --help", "score --help"] if script.name == "rehearsal.py" else ["--help"]


def shown(script: Path, words: str) -> set[str]:
    """The options in what a script prints; none where it is no script."""
    if 'if __name__ == "__main__":' not in script.read_text(encoding="utf-8"):
        return set()
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), pytest.raises(SystemExit):
        patch.setattr(sys, "argv", [str(script), *shlex.split(words)])
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr("pipeline.commands.end_at_once", lambda main: main())
        runpy.run_path(str(script), run_name="__main__")
    return set(OPTION.findall(printed.getvalue()))
