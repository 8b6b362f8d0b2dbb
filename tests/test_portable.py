"""Other systems: no module needs POSIX, and text files have an encoding. ``stand_in/`` runs on Linux alone."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
POSIX = {"fcntl", "grp", "pwd", "resource", "termios"}
SOURCES = [
    path
    for side in ("competition", "pipeline", "benchmarks")
    for path in sorted((ROOT / side).rglob("*.py"))
    if not {"stand_in", "attacks"} & set(path.parts)  # they say that they need POSIX
]


def calls(path: Path) -> list[ast.Call]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]


def opens_text(call: ast.Call) -> bool:
    """Whether this call reads or writes a text file; the mode of ``open`` is its first argument."""
    if call.func.attr in ("read_text", "write_text"):
        return True
    modes = [each.value for each in call.args[:1] if isinstance(each, ast.Constant)]
    opener = getattr(call.func.value, "id", "")
    return (
        call.func.attr == "open"
        and opener not in ("os", "Image", "archive", "tarfile", "opener")
        and "b" not in "".join(modes or "r")
    )


def test_every_text_file_is_opened_with_its_encoding():
    without = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in SOURCES
        for call in calls(path)
        if opens_text(call) and "encoding" not in [keyword.arg for keyword in call.keywords]
    ]
    assert without == []


def imported(path: Path) -> set[str]:
    """The packages that a file imports, also within functions."""
    nodes = [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


def test_no_module_needs_posix():
    assert [str(path.relative_to(ROOT)) for path in SOURCES if imported(path) & POSIX] == []
