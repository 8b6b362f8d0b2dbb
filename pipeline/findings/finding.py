"""A finding: something about a competition's images or labels that its user should know, with the images concerned."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import pandas as pd

from competition.storage import discard, write_file
from competition.wording import printable
from pipeline.runtime.sealed import DamagedFile, read_json, write_json

FOLDER = "audit"  # the folder of findings, in that of a competition's runs
INDEX = "findings.csv"  # lists the findings
WRITTEN = "written.json"  # says what the tables were when they were written


@dataclass(frozen=True, eq=False)
class Finding:
    """Something that was found out about a competition's images or labels.

    kind: in lower-case words joined by hyphens; the name of its table in ``runs/NAME/audit/``.
    told: one line for the user: what was found, and what to do; empty if it has no bearing on the answer. It names the
        file of the table without its folder, which may be moved; see ``placed``.
    table: the columns ``split`` (train, val or test) and ``id`` name the image that a row is about, ``other_split`` and
        ``other_id`` one that it is compared with. These columns come first; they are missing if rows are not about
        images. An empty table says that nothing of the kind was found.
    holds_corrections: whether the table has what the user has changed in an earlier one, and may replace that.
    """

    kind: str
    told: str
    table: pd.DataFrame
    holds_corrections: bool = False

    def placed(self, folder: Path) -> Self:
        """The same with the path of the table in what is told. folder: ``runs/NAME/audit``."""
        name = f"{self.kind}.csv"
        return replace(self, told=self.told.replace(name, printable(folder / name, most=200)))


def write_findings(findings: Sequence[Finding], folder: Path, with_others: bool = True) -> None:
    """Write a CSV for each finding into ``runs/NAME/audit``, and the list of all findings there.

    Earlier findings of the same kinds are replaced, unless the user has changed their table, to give it back to
    train.py. with_others: whether earlier ones of other kinds stay in the list.
    """
    kinds = {each.kind for each in findings}
    kept = [each for each in _read(folder) if with_others and each.kind not in kinds]
    written = _written(folder)
    for each in findings:
        path = folder / f"{each.kind}.csv"
        if each.holds_corrections or not path.exists() or _hash(path.read_bytes()) == written.get(each.kind):
            written[each.kind] = _hash(_write(each.table, path))
    write_json(folder / WRITTEN, written)
    rows = [(each.kind, len(each.table), each.told) for each in (*findings, *kept) if len(each.table)]
    _write(pd.DataFrame(rows, columns=["kind", "rows", "told"]), folder / INDEX)


def _written(folder: Path) -> dict[str, str]:
    """The hash of each table as it was written, by the kind of the finding."""
    with suppress(OSError, DamagedFile):
        return read_json(folder / WRITTEN)
    return {}


def _write(table: pd.DataFrame, path: Path) -> bytes:
    """Write a CSV, or remove that of an empty table other than the list. Returns its content."""
    content = table.to_csv(index=False, lineterminator="\n", float_format="%.6g")
    if len(table) or path.name == INDEX:
        write_file(path, content)
    else:
        discard(path)
    return content.encode()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_findings(folder: Path) -> list[Finding]:
    """What earlier audits found, ``placed``, all cells as text. Findings whose table cannot be read are left out."""
    return [each.placed(folder) for each in _read(folder)]


def _read(folder: Path) -> Iterator[Finding]:
    for kind, told in _listed(folder / INDEX):
        with suppress(OSError, ValueError):
            yield Finding(kind, told, _as_text(folder / f"{kind}.csv"))


def _listed(index: Path) -> Iterable[tuple[str, str]]:
    """The kind of each finding, and what is told of it."""
    with suppress(OSError, ValueError, KeyError):
        table = _as_text(index)
        return list(zip(table["kind"], table["told"], strict=True))
    return []


def _as_text(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)
