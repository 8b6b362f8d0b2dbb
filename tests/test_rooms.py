"""The two rules of the structure: competition never imports pipeline, and a room imports only rooms above it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (  # of pipeline/, top down; within models, its modules come before its own rooms
    "pipeline.settings",
    "pipeline.runtime",
    "pipeline.data",
    "pipeline.models",
    "pipeline.models.fast",
    "pipeline.models.networks",
    "pipeline.models.neural",
    "pipeline.models.classical",
    "pipeline.training",
    "pipeline.tuning",
    "pipeline.ensemble",
    "pipeline.findings",
    "pipeline.kaggle",
    "pipeline.report",
    "pipeline",  # the commands, which may import all
)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    return max((room for room in ROOMS if module == room or module.startswith(f"{room}.")), key=len)


def imported(path: Path, at_once: bool = False) -> Iterator[str]:
    """The modules that a file imports, also within functions; of ``from a import b`` ``a.b``.

    at_once: only those that are imported as soon as the file is: not within functions, nor for a type checker.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sorted((ROOT / "competition").rglob("*.py")), ids=module_name)
def test_competition_never_imports_pipeline(path):
    assert not [name for name in imported(path) if name.split(".")[0] == "pipeline"]


@pytest.mark.parametrize("path", sorted((ROOT / "pipeline").rglob("*.py")), ids=module_name)
def test_a_room_imports_only_itself_and_the_rooms_above_it(path):
    own = ROOMS.index(room_of(module_name(path)))
    # a recipe builds its own model, and models import recipes: it imports them when it is asked to
    at_once = room_of(module_name(path)) == "pipeline.models"
    rooms = {name: room_of(name) for name in imported(path, at_once) if name.split(".")[0] == "pipeline"}
    assert {name for name, room in rooms.items() if ROOMS.index(room) > own} == set()


def test_every_room_is_in_the_list():
    rooms = {module_name(path.parent / "x").removesuffix(".x") for path in (ROOT / "pipeline").rglob("*.py")}
    parts = {"pipeline.report.sections"}  # of their rooms
    assert rooms == set(ROOMS) - {"pipeline.settings"} | parts
