"""The two rules of the structure: competition never imports pipeline, and a room imports only rooms above it."""

import ast
from collections.abc import Iterator
from pathlib import Path

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


def from_pipeline(path: Path, at_once: bool = False) -> list[str]:
    """What a file imports of the pipeline."""
    return [name for name in imported(path, at_once) if name.split(".")[0] == "pipeline"]


def test_competition_never_imports_pipeline():
    files = sorted((ROOT / "competition").rglob("*.py"))
    assert {module_name(path): names for path in files if (names := from_pipeline(path))} == {}


def below(path: Path) -> list[str]:
    """What a file imports of rooms below its own."""
    own = room_of(module_name(path))
    # a recipe builds its own model, and models import recipes: it imports them when it is asked to
    names = from_pipeline(path, at_once=own == "pipeline.models")
    return [name for name in names if ROOMS.index(room_of(name)) > ROOMS.index(own)]


def test_a_room_imports_only_itself_and_the_rooms_above_it():
    files = sorted((ROOT / "pipeline").rglob("*.py"))
    assert {module_name(path): names for path in files if (names := below(path))} == {}


def test_every_room_is_in_the_list():
    rooms = {module_name(path.parent / "x").removesuffix(".x") for path in (ROOT / "pipeline").rglob("*.py")}
    parts = {"pipeline.report.sections"}  # of their rooms
    assert rooms == set(ROOMS) - {"pipeline.settings"} | parts
