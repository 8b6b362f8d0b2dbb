"""Reads a competition's folders into a ``Competition``: what lies there, what it means, and what is asked for."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from competition.errors import UserError
from competition.form import Form
from competition.images_on_disk import others_in
from competition.layouts import answers
from competition.layouts.annotations import from_annotations
from competition.layouts.asked import Asked, asked_of
from competition.layouts.contained import from_containers
from competition.layouts.csvs import from_csvs
from competition.layouts.evidence import Evidence, competition_folder, nothing_recognised
from competition.layouts.folders import from_folders
from competition.layouts.groups import check_column, group_hint, grouped, table_of_groups
from competition.layouts.images import labelled_split
from competition.layouts.known import KNOWN, KnownCompetition, read_known
from competition.layouts.labels import Reading
from competition.layouts.linked import from_linked
from competition.layouts.listed import from_lists
from competition.layouts.missing import without_missing
from competition.layouts.options import Options
from competition.layouts.parts import Found
from competition.layouts.pictures import Pictures
from competition.layouts.samples import Sample, find_sample
from competition.metrics import Metric, find_metric
from competition.spec import Competition, Split, Symmetries
from competition.wording import fault_in, listed


def load_competition(
    folder: Path | Sequence[Path],
    name: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    metric: Metric | None = None,
    train_table: str | None = None,
    group_column: str | None = None,
    derived: Path | None = None,
) -> Competition:
    """Read and check a competition.

    folder: its folder, or several that belong together. A folder that holds only another folder stands for that one.
    image_column, label_column: of the training table. metric: None for what ``known/<name>.toml`` says, else for what
        fits the form of the submission.
    train_table: the name of the table of training images. group_column: its column with what images have in common,
        or a CSV of it, see ``grouped``.
    derived: where images that are taken out of containers go; None for a folder in the competition's.

    Raises UserError if nothing is recognised, or if anything is wrong with the files.
    """
    folders = (folder,) if isinstance(folder, Path) else tuple(folder)
    name = name or folders[0].resolve().name
    known = read_known(name, KNOWN)
    options = _options(known, train_table, image_column, label_column, metric)
    evidence = Evidence((competition_folder(folders[0]), *folders[1:]))
    pictures = Pictures(evidence, derived or evidence.folder / ".images")
    sample = find_sample(evidence)
    found = without_missing(_recognised(evidence, sample, options, pictures))
    groups = table_of_groups(group_column)
    found = replace(found, group=None if groups else group_column or found.group or _known_group(known, found))
    if group_column and not groups:
        check_column(found, group_column)
    reading = answers.read_labels(found.train.table, found.labels, sample, options, found.separator)
    asked = asked_of(found, sample, reading, pictures)
    if found.group is None and groups is None and asked.by in found.train.table.columns:
        found = replace(found, group=asked.by)
    form = _form(found, sample, reading, asked, options, evidence)
    metric = (metric or find_metric(known.metric or answers.usual_metric(form, reading.task))).of(reading.task, form)
    competition = _competition(name, found, reading, asked, form, metric, known.symmetries, pictures)
    return grouped(competition, groups) if groups else competition


def _options(
    known: KnownCompetition,
    train_table: str | None,
    image_column: str | None,
    label_column: str | None,
    metric: Metric | None,
) -> Options:
    return Options(
        train_table or known.train_table,
        image_column,
        label_column,
        (known.image_column, known.label_column),
        known.form,
        metric.name if metric else known.metric,
        known.negative,
    )


def _competition(
    name: str,
    found: Found,
    reading: Reading,
    asked: Asked,
    form: Form,
    metric: Metric,
    symmetries: Symmetries | None,
    pictures: Pictures,
) -> Competition:
    train = labelled_split("train", found.train, reading, found.group, pictures)
    val = Split("val", (), (), train.known_labels[:0])
    told = answers.told(form, reading.task, found.labels)
    return Competition(
        name=name,
        image_column=form.header[form.id_at] if form.header and form.ids else found.train.image,
        label_column=_label_column(form, found),
        task=reading.task,
        train=train,
        val=labelled_split("val", found.val, reading, found.group, pictures) if found.val else val,
        test=asked.test,
        form=form,
        metric=metric,
        symmetries=symmetries,
        found=(*found.found, *reading.found, *asked.found, *told, *group_hint(found)),
    )


def _recognised(evidence: Evidence, sample: Sample | None, options: Options, pictures: Pictures) -> Found:
    """What the first layout says that recognises the files. Raises UserError if none does."""
    found = (
        from_linked(evidence, sample, options, pictures)
        or from_csvs(evidence, sample, options, pictures, pictures.has_files)
        or from_csvs(evidence, sample, options, pictures, pictures.has_numbered)
        or from_annotations(evidence, sample, options)
        or from_containers(evidence, sample, options, pictures)
        or from_lists(evidence, sample, options, pictures)
        or from_folders(evidence, sample, options, pictures)
        or from_csvs(evidence, sample, options, pictures, None)
    )
    if found is None:
        raise nothing_recognised(evidence.folder, evidence.names) if pictures.are_there else _no_images(evidence)
    return found


def _no_images(evidence: Evidence) -> UserError:
    fault = f"no images there{others_in(evidence.folder)}, only {listed(evidence.names)}"
    return fault_in(evidence.folder, fault, "put them there, into a folder train and a folder test")


def _form(
    found: Found, sample: Sample | None, reading: Reading, asked: Asked, options: Options, evidence: Evidence
) -> Form:
    kind = answers.kind_of(reading, found.labels, sample, asked.targets is not None, options)
    names = sample.names if sample and sample.names else found.labels
    shown = [len(cell.split()) for cell in sample.cells] if sample else []
    return Form(
        kind=kind,
        header=sample.header if sample else (found.train.image, *(names if kind != "labels" else found.labels)),
        ids=asked.ids,
        cases=asked.cases,
        id_at=sample.id_at or 0 if sample else 0,
        row_targets=asked.targets,
        order=answers.places(reading.task, names, sample) if kind == "columns" else (),
        separator=answers.separator_of(sample.cells if sample else (), reading.task, reading.separator),
        most=max(options.ranked, *shown) if kind == "ranking" and shown else options.ranked or 5,
        source=sample.table.path.name if sample else asked.source,
        spelled=answers.spelled_as(sample, reading.task, evidence) if sample and kind == "class" else {},
    )


def _label_column(form: Form, found: Found) -> str:
    names = [name for place, name in enumerate(form.header) if place != form.id_at]
    return names[0] if len(names) == 1 else found.labels[0]


def _known_group(known: KnownCompetition, found: Found) -> str | None:
    """The known column of groups, if the training table has it."""
    return known.group_column if known.group_column in found.train.table.columns else None
