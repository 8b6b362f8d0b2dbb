"""What is wrong with the data: what bears on the answer with some of the images concerned, then all other findings."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from competition.spec import Split
from pipeline.findings.finding import FOLDER, Finding
from pipeline.report import figures, pictures
from pipeline.report.context import ReportContext
from pipeline.report.figure_folder import EmbeddedImage, FigureFolder
from pipeline.report.section import Section

MOST_SHOWN = 4  # images, or pairs of them, of each split and finding
COLUMNS = {1: 4, 2: 2}  # of single images, and of pairs

Named = tuple[str, str]  # split and id


def section(context: ReportContext, figure_folder: FigureFolder) -> Section | None:
    """None if the data were not looked at."""
    if not context.findings:
        return None
    paths = _paths(context, (name for finding in context.findings for name in _shown(finding)))
    told = [
        {"name": _name(finding), "finding": finding, "figure": _figure(finding, paths, figure_folder)}
        for finding in context.findings
        if finding.told
    ]
    others = [(_name(finding), finding) for finding in context.findings if not finding.told]
    content = {"told": told, "others": others, "folder": Path("runs", context.competition.name, FOLDER).as_posix()}
    return Section("findings", "What is wrong with the data", "findings.html.j2", content)


def _name(finding: Finding) -> str:
    name = finding.kind.replace("-", " ")
    return f"{name[0].upper()}{name[1:]}"


def _figure(finding: Finding, paths: dict[Named, Path], figure_folder: FigureFolder) -> EmbeddedImage | None:
    """Some of the images; those of a pair side by side. None if the finding is not about images."""
    rows = [names for names in _rows(finding) if all(name in paths for name in names)]
    if not rows:
        return None
    across = len(rows[0])
    columns = COLUMNS[across]
    side = figures.tile_side(columns) // across
    strips = np.stack([pictures.strip([paths[name] for name in names], across, side) for names in rows])
    captions = ["\n".join(f"{split}: {name}" for split, name in names) for names in rows]
    figure = figures.contact_sheet(
        strips, captions, f"{_name(finding)}: {len(rows)} of {len(finding.table):,}", columns
    )
    said = "; ".join(caption.replace("\n", " and ") for caption in captions)
    return figure_folder.add(f"finding-{finding.kind}", figure, f"{_name(finding)}: {said}", photographs=True)


def _rows(finding: Finding) -> list[list[Named]]:
    """The image, or the pair of images, of each row that is shown: the first few of each split."""
    table = finding.table
    if "id" not in table:
        return []
    first = table.groupby("split", sort=False).head(MOST_SHOWN)
    singles = [("split", "id"), ("other_split", "other_id")]
    columns = [zip(first[split], first[name], strict=True) for split, name in singles if name in first]
    return [list(names) for names in zip(*columns, strict=True)]


def _shown(finding: Finding) -> Iterable[Named]:
    return (name for names in _rows(finding) for name in names) if finding.told else ()


def _paths(context: ReportContext, names: Iterable[Named]) -> dict[Named, Path]:
    """The files of these images that are in the competition."""
    wanted = set(names)
    splits: dict[str, Split] = {each.name: each for each in (context.competition.train, context.competition.val)}
    splits["test"] = context.competition.test
    return {
        (name, image): path
        for name, split in splits.items()
        for image, path in zip(split.ids, split.paths, strict=True)
        if (name, image) in wanted
    }
