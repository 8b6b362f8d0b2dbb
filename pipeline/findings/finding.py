"""A finding: something about a competition's images or labels that its user should know, with the images concerned."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from competition.storage import discard, write_file

FOLDER = "audit"  # the folder of findings, in that of a competition's runs
INDEX = "findings.csv"  # lists the findings


@dataclass(frozen=True, eq=False)
class Finding:
    """Something that was found out about a competition's images or labels.

    kind: in lower-case words joined by hyphens; the name of its table in ``runs/NAME/audit/``.
    told: one line for the user: what was found, and what to do; empty if it has no bearing on the answer.
    table: the columns ``split`` (train, val or test) and ``id`` name the image that a row is about, ``other_split`` and
        ``other_id`` one that it is compared with. These columns come first; they are missing if rows are not about
        images. An empty table says that nothing of the kind was found.
    """

    kind: str
    told: str
    table: pd.DataFrame


def write_findings(findings: Sequence[Finding], folder: Path) -> None:
    """Write a CSV for each finding into ``runs/NAME/audit``, and the list of all findings there.

    Earlier findings of other kinds stay, those of the same kinds are replaced.
    """
    kinds = {each.kind for each in findings}
    kept = [each for each in read_findings(folder) if each.kind not in kinds]
    for each in findings:
        path = folder / f"{each.kind}.csv"
        if len(each.table):
            write_file(path, _csv(each.table))
        else:
            discard(path)
    rows = [(each.kind, len(each.table), each.told) for each in (*findings, *kept) if len(each.table)]
    write_file(folder / INDEX, _csv(pd.DataFrame(rows, columns=["kind", "rows", "told"])))


def read_findings(folder: Path) -> list[Finding]:
    """What earlier audits found, all cells as text. Findings whose table cannot be read are left out."""
    findings = []
    for kind, told in _listed(folder / INDEX):
        with suppress(OSError, ValueError):
            findings.append(Finding(kind, told, _as_text(folder / f"{kind}.csv")))
    return findings


def _listed(index: Path) -> Iterable[tuple[str, str]]:
    """The kind of each finding, and what is told of it."""
    with suppress(OSError, ValueError, KeyError):
        table = _as_text(index)
        return list(zip(table["kind"], table["told"], strict=True))
    return []


def _as_text(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, lineterminator="\n", float_format="%.6g")
