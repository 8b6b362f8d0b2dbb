"""Tables that lie between images and what is asked: the photos of each shop, or the rows of a submission."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from competition.layouts.columns import holds_images
from competition.layouts.evidence import Evidence
from competition.layouts.options import Options
from competition.layouts.parts import Found, Part
from competition.layouts.pictures import PROBED, Pictures
from competition.layouts.samples import Sample
from competition.tables import Table, read_table
from competition.wording import counted, printable

ENOUGH = 0.5  # the share of images that belong to something with labels


def from_linked(evidence: Evidence, sample: Sample | None, options: Options, pictures: Pictures) -> Found | None:
    """A table of what has labels, such as shops, and one of their images; None if there are no such two.

    Both have the column that the sample calls its ids; its cells in the second may repeat.
    """
    if sample is None or not sample.names or options.train_table is not None:
        return None
    key = sample.id_name
    tables = [path for path, shown in evidence.glances.items() if key in shown.columns and path != sample.table.path]
    asked = [path for path in tables if set(sample.names) <= set(evidence.glances[path].columns)]
    others = [path for path in tables if path not in asked and len(evidence.glances[path].columns) > 1]
    if not asked or not others or _name_images(evidence.glances[asked[0]], key, pictures):
        return None
    labels = read_table(asked[0])
    links = [link for path in others if (link := _link(read_table(path), key, pictures)) is not None]
    train = next((link for link in links if _share_in(link.column(key), labels.column(key)) > ENOUGH), None)
    return None if train is None else _found(labels, train, links, sample, pictures)


def _found(labels: Table, train: Table, links: Sequence[Table], sample: Sample, pictures: Pictures) -> Found:
    """The training images with the labels of what they belong to, and the test images."""
    key, image = sample.id_name, _image_column(train, sample.id_name, pictures)
    frame = train.frame.reset_index(names="").merge(labels.frame[[key, *sample.names]], on=key).set_index("")
    told = (
        f"{labels.path.name} has the labels of {counted(len(labels), printable(key))}, {train.path.name} their images"
    )
    test = next((link for link in links if set(link.column(key)) == set(sample.ids)), None)
    return Found(
        _part("train", Table(train.path, frame[[image, key, *sample.names]]), image, pictures),
        sample.names,
        test=None if test is None else _part("test", test, _image_column(test, key, pictures), pictures),
        found=(told,),
        group=key,
    )


def _part(split: str, table: Table, image: str, pictures: Pictures) -> Part:
    """The images of a split, of which one may belong to several."""
    return Part(table, image, pictures.images.paths(table.path, split, table.column(image)))


def _name_images(table: Table, column: str, pictures: Pictures) -> bool:
    ids = table.column(column)[:PROBED]
    return pictures.images.has_all("train", ids) or pictures.images.has_folders("train", ids)


def _link(table: Table, key: str, pictures: Pictures) -> Table | None:
    """The table, if a column besides the key names images."""
    return table if _image_column(table, key, pictures) else None


def _image_column(table: Table, key: str, pictures: Pictures) -> str:
    """The column besides the key that names images; empty if none does."""
    others = (name for name in table.columns if name and name != key)
    return next((name for name in others if _holds_images(table.column(name)[:PROBED], pictures)), "")


def _holds_images(cells: Sequence[str], pictures: Pictures) -> bool:
    return holds_images("train", cells, pictures.images.has_all) or holds_images("test", cells, pictures.images.has_all)


def _share_in(cells: Sequence[str], known: Collection[str]) -> float:
    there = set(known)
    return sum(cell in there for cell in cells) / len(cells)


@dataclass(frozen=True)
class Lookup:
    """A table that says what each row of a submission is about. image, target: its columns with both."""

    table: Table
    image: str
    target: str

    def part(self, files: dict[str, Path]) -> Part:
        """The rows, with the file of each image. files: by the ids of the images."""
        return Part(self.table, self.image, tuple(files[image_id] for image_id in self.table.column(self.image)))

    def labels(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of the columns that are asked for."""
        asked = set(self.table.column(self.target))
        return tuple(name for name in names if name in asked)


def find_lookup(evidence: Evidence, sample: Sample | None, names: Sequence[str], ids: Collection[str]) -> Lookup | None:
    """The table with the id of an image and the name of a column for each row of the sample; None if there is none."""
    if sample is None or sample.id_at is None:
        return None
    for path, shown in evidence.glances.items():
        if path == sample.table.path or sample.id_name not in shown.columns:
            continue
        target, image = (_column_of(shown, sample.id_name, cells) for cells in (names, ids))
        if target and image and len(table := read_table(path)) == len(sample.table):
            return Lookup(table, image, target)
    return None


def _column_of(table: Table, key: str, cells: Collection[str]) -> str | None:
    """The column besides the key all of whose cells are among those."""
    known = set(cells)
    return next((name for name in table.columns if name != key and set(table.column(name)) <= known), None)
