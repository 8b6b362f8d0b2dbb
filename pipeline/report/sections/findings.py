"""What is wrong with the data: what bears on the answer with some of the images concerned, then all other findings."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pipeline.findings.finding import FOLDER, Finding
from pipeline.findings.suspects import KIND as SUSPECTS
from pipeline.report import figures, pictures
from pipeline.report.context import ReportContext
from pipeline.report.figure_folder import EmbeddedImage, FigureFolder
from pipeline.report.section import Section

MOST_SHOWN = 4  # images, or pairs of them, of each split and finding
COLUMNS = {1: 4, 2: 2}  # of single images, and of pairs

Named = tuple[str, str]  # split and id
PAIR = (("split", "id", "label"), ("other_split", "other_id", "other_label"))  # columns of a finding's table


def section(context: ReportContext, figure_folder: FigureFolder) -> Section | None:
    """None if the data were not looked at. Labels under suspicion have a section of their own."""
    findings = [finding for finding in context.findings if finding.kind != SUSPECTS]
    if not findings:
        return None
    told = [finding for finding in findings if finding.told]
    paths = _paths(context, (name for finding in told for image in _images(finding) for name, _ in image))
    names = dict(zip(map(str, context.competition.classes), context.drawn_names, strict=True))
    shown = [(_name(finding), finding, _figure(finding, paths, names, figure_folder)) for finding in told]
    others = [(_name(finding), finding) for finding in findings if not finding.told]
    content = {"told": shown, "others": others, "folder": Path("runs", context.competition.name, FOLDER).as_posix()}
    return Section("findings", "Findings about the data", "findings.html.j2", content)


def _name(finding: Finding) -> str:
    name = finding.kind.replace("-", " ")
    return f"{name[0].upper()}{name[1:]}"


def _figure(
    finding: Finding, paths: dict[Named, Path], names: dict[str, str], figure_folder: FigureFolder
) -> EmbeddedImage | None:
    """Some of the images; those of a pair side by side. None if the finding is not about images.

    names: what the figures' font can draw of each label.
    """
    shown = [image for image in _images(finding) if all(name in paths for name, _ in image)]
    if not shown:
        return None
    across = len(shown[0])
    side = figures.tile_side(COLUMNS[across]) // across
    strips = np.stack([pictures.strip([paths[name] for name, _ in image], across, side) for image in shown])
    captions = ["\n".join(_caption(name, names.get(label, label)) for name, label in image) for image in shown]
    title = f"{_name(finding)}: {len(shown)} of {len(finding.table):,}"
    figure = figures.contact_sheet(strips, captions, title, COLUMNS[across])
    said = "; ".join(caption.replace("\n", " and ") for caption in captions)
    return figure_folder.add(f"finding-{finding.kind}", figure, f"{_name(finding)}: {said}", photographs=True)


def _caption(name: Named, label: str) -> str:
    return f"{': '.join(name)} ({label})" if label else ": ".join(name)


def _images(finding: Finding) -> list[list[tuple[Named, str]]]:
    """The image of each row that is shown, or both of a pair, with their labels: the first few rows of each split."""
    table = finding.table
    if "id" not in table:
        return []
    first = table.groupby("split", sort=False).head(MOST_SHOWN).astype(str)
    parts = [first.reindex(columns=columns, fill_value="") for columns in map(list, PAIR) if columns[1] in first]
    named = ([((split, name), label) for split, name, label in part.itertuples(index=False)] for part in parts)
    return [list(image) for image in zip(*named, strict=True)]


def _paths(context: ReportContext, names: Iterable[Named]) -> dict[Named, Path]:
    """The files of these images that are in the competition."""
    wanted, competition = set(names), context.competition
    splits = {"train": competition.train, "val": competition.val, "test": competition.test}
    return {
        (name, image): path
        for name, split in splits.items()
        for image, path in zip(split.ids, split.paths, strict=True)
        if (name, image) in wanted
    }
