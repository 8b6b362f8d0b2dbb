"""The splits: the image files of each row, several where an id stands for a folder, with labels and groups."""

import numpy as np

from competition.layouts.labels import Reading
from competition.layouts.parts import Part
from competition.layouts.pictures import Located, Pictures
from competition.layouts.samples import refuse_blank_ids, unique_ids
from competition.spec import Split


def located(split: str, part: Part, pictures: Pictures) -> Located:
    """The images of a part's rows, of which a layout that knows the files may have several with one id.

    Raises UserError for ids that are blank, that are there twice in a table, or that have no image.
    """
    if part.paths is None:
        return pictures.located(split, part.table.path, unique_ids(part.table, part.image))
    ids, rows = part.table.column(part.image), np.arange(len(part.paths))
    refuse_blank_ids(part.table, part.image, ids)
    if len(set(ids)) == len(ids):
        return Located(ids, part.paths, rows)
    return Located(tuple(f"{name}/{row}" for row, name in enumerate(ids)), part.paths, rows, ids)


def labelled_split(name: str, part: Part, reading: Reading, group_column: str | None, pictures: Pictures) -> Split:
    """A split with labels. Images of one id are in one group, as are those with the same cell in ``group_column``."""
    labels = reading.encode(part.table)
    images = located(name, part, pictures)
    groups = images.cases
    if group_column is not None:
        cells = part.table.stripped(group_column)
        groups = tuple(cells[row] for row in images.rows)
    return Split(name, images.ids, images.paths, labels[images.rows], groups, images.cases)
