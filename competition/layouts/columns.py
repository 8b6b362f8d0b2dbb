"""Which columns of the tables name the images and hold the labels."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import islice

from competition.errors import UserError
from competition.images_on_disk import names_image
from competition.layouts.labels import are_flags, parted_among
from competition.layouts.pictures import PROBED, Pictures
from competition.layouts.samples import Sample
from competition.tables import Table
from competition.wording import fault_in, listed

Lookup = Callable[[str, Sequence[str]], bool]

SEPARATORS = "_-.: |/"  # between the name of an image and that of a target in the id of a row
MOST = 100_000  # different cells of a column of labels
_SIMILAR = 0.6  # how alike two names of a column are, such as landmarks and landmark_id


def image_column(train: Table, test: Table | None, sample: Sample | None, pictures: Pictures, has: Lookup) -> str:
    """The column of train, and of test if it is called so there, that names the images.

    has: whether the images of ids are there.

    Raises UserError if it cannot be told.
    """
    if test is None or _is_called_otherwise(train, test, sample, pictures, has):
        return _image_column_of(train, sample, pictures, has)
    common = [name for name in test.columns if name and name in train.columns]
    holding = _holding("test", test, common, pictures, has) if len(common) > 1 else []
    if sample and sample.id_name in common:
        return sample.id_name if sample.id_name in holding or not holding else holding[0]
    if sample and len(holding) > 1:
        holding = [name for name in holding if set(test.column(name)) == set(sample.ids)] or holding
    if len(holding or common) == 1:
        return (holding or common)[0]
    raise _unclear("image", "--image-column", holding or common or test.columns, test)


def _is_called_otherwise(train: Table, test: Table, sample: Sample | None, pictures: Pictures, has: Lookup) -> bool:
    """Whether the images are named by a column that train lacks: that of the sample's ids, or the only one."""
    name = test.columns[0] if len(test.columns) == 1 else sample.id_name if sample else ""
    return name in test.columns and name not in train.columns and bool(_holding("test", test, [name], pictures, has))


def test_image_column(test: Table, image: str, sample: Sample | None) -> str:
    """The column of test that names the images. image: that of train."""
    names = (image, sample.id_name if sample else "", *(test.columns if len(test.columns) == 1 else ()))
    return next((name for name in names if name in test.columns), image)


def _image_column_of(train: Table, sample: Sample | None, pictures: Pictures, has: Lookup) -> str:
    """The column of train whose cells name images, else the one that the sample has too, else the first."""
    names = [name for name in train.columns if name]
    if sample and sample.id_name in names:
        names.sort(key=lambda name: name != sample.id_name)
    return next(iter(_holding("train", train, names, pictures, has)), names[0])


def _holding(split: str, table: Table, names: Sequence[str], pictures: Pictures, has: Lookup) -> list[str]:
    """The columns that name images; of several those that spell them as the files are called: ``0007``, not ``7``."""
    probes = {name: table.column(name)[:PROBED] for name in names}
    holding = [name for name in names if holds_images(split, probes[name], has)]
    if len(holding) < 2:
        return holding
    return [name for name in holding if pictures.are_spelled_so(split, probes[name])] or holding


def holds_images(split: str, cells: Sequence[str], has: Lookup) -> bool:
    """Whether the first cells of a column name images; labels such as ``7`` may do so by chance, but repeat."""
    return all(map(names_image, cells)) or (2 * len(set(cells)) > len(cells) and has(split, cells))


def label_columns(train: Table, test: Table | None, sample: Sample | None, image: str) -> tuple[str, ...]:
    """The columns of train that hold the labels. Raises UserError if they cannot be told."""
    names = [name for name in train.columns if name and name != image]
    if sample and sample.names and set(sample.names) <= set(train.columns):
        return sample.names
    if sample and (found := _asked_by_rows(names, sample) or _asked_by_classes(train, names, sample)):
        return found
    if sample and sample.is_wide:
        raise _unclear_sample(sample)
    extra = [name for name in names if test is None or name not in test.columns]
    if len(extra) == 1:
        return tuple(extra)
    if len(extra) > 1 and all(are_flags(set(train.column(name))) for name in extra):
        return tuple(extra)
    if sample and sample.names and (near := _asked_by_cells(train, extra, sample) or _nearest(sample.names[0], extra)):
        return (near,)
    if sample and (only := _asked_by_fractions(train, extra, sample)):
        return (only,)
    raise _unclear("label", "--label-column", extra or train.columns, train)


def _asked_by_fractions(train: Table, names: Iterable[str], sample: Sample) -> str | None:
    """The only column of 0 and 1, if the sample has probabilities."""
    if not sample.holds_numbers or not all(0 <= float(cell) <= 1 for cell in sample.cells):
        return None
    flags = [name for name in names if are_flags(set(train.stripped(name)))]
    return flags[0] if len(flags) == 1 else None


def named_as_asked(train: Table, sample: Sample | None) -> Table:
    """Train with columns called as in a wide sample that were called so but for an ending: ``X4`` for ``X4_mean``."""
    if sample is None or not sample.is_wide or set(sample.names) & set(train.columns):
        return train
    first = sample.names[0]
    endings = [name.removeprefix(first) for name in train.columns if name.startswith(f"{first}_")]
    ending = next((each for each in endings if {name + each for name in sample.names} <= set(train.columns)), None)
    if ending is None:
        return train
    return Table(train.path, train.frame.rename(columns={name + ending: name for name in sample.names}))


def _asked_by_classes(train: Table, names: Iterable[str], sample: Sample) -> tuple[str, ...]:
    """The column whose labels are the columns of a wide sample."""
    if not sample.is_wide:
        return ()
    cells = ((name, set(train.stripped(name)) - {""}) for name in names)
    fitting = (name for name, some in cells if len(some) < MOST and named_by(sample, some))
    return tuple(islice(fitting, 1))


def named_by(sample: Sample, cells: set[str]) -> Mapping[str, str]:
    """The label that each column of a wide sample stands for, of those in some cells; empty if they do not fit."""
    found = matched(sample.names, cells)
    if not found and (parted := parted_among(cells, sample.names)) is not None:
        return matched(sample.names, parted[1])
    return found


def _asked_by_cells(train: Table, names: Iterable[str], sample: Sample) -> str | None:
    """The only column that has the labels in the cells of the sample, of which a ranking has several."""
    cells = {part for cell in sorted(sample.cells)[:PROBED] for part in (cell, *cell.split()) if part}
    fitting = [name for name in names if cells & set(train.stripped(name))]
    return fitting[0] if len(fitting) == 1 else None


def _asked_by_rows(names: Iterable[str], sample: Sample) -> tuple[str, ...]:
    """The columns whose names end the ids of the sample, as in ``7_vowel``."""
    ends = [name for name in names if any(_ends(row, name) for row in sample.ids[:PROBED])]
    covered = all(any(_ends(row, name) for name in ends) for row in sample.ids[:PROBED])
    return tuple(ends) if len(ends) > 1 and covered else ()


def _ends(row: str, name: str) -> bool:
    return row.endswith(name) and row[: -len(name)][-1:] in tuple(SEPARATORS)


def matched(names: Sequence[str], labels: Collection[str]) -> Mapping[str, str]:
    """The label that each column of a wide sample stands for, by the column's name; empty if they do not fit.

    Names may differ from labels in case, or begin with the same word: ``class_3`` for ``3``. A column may stand for a
    label that no training image has.
    """
    shorter = _without_common_beginning(names)
    for spelled in (list(names), [name.strip() for name in names], shorter):
        if labels and set(labels) <= set(spelled):
            return dict(zip(names, spelled, strict=True))
    folded = {_folded(label): label for label in labels}
    if len(folded) == len(labels) == len(names) and all(_folded(name) in folded for name in names):
        return {name: folded[_folded(name)] for name in names}
    return {}


def _without_common_beginning(names: Sequence[str]) -> list[str]:
    first, last = min(names), max(names)
    same = next((place for place, pair in enumerate(zip(first, last, strict=False)) if len(set(pair)) > 1), len(first))
    return [name[same:] for name in names]


def _folded(name: str) -> str:
    return "".join(sign for sign in name.casefold() if sign.isalnum())


def _nearest(name: str, columns: Sequence[str]) -> str | None:
    """The column with the most similar name, if it is similar at all."""
    alike = {column: SequenceMatcher(None, _folded(name), _folded(column)).ratio() for column in columns}
    best = max(columns, key=alike.__getitem__, default=None)
    return best if best is not None and alike[best] >= _SIMILAR else None


def _unclear(what: str, option: str, columns: Sequence[str], table: Table) -> UserError:
    fault = f"cannot tell which is the {what} column: {listed(columns)}"
    return fault_in(table.path, fault, f"name it with {option}")


def _unclear_sample(sample: Sample) -> UserError:
    fault = f"the columns {listed(sample.table.columns)}, not an id and a label"
    remedy = "its columns must be labels, or columns of the training table; leave an id and a label or remove the file"
    return fault_in(sample.table.path, fault, remedy)
