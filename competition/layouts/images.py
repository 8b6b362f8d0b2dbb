"""The splits: the image files of each row, several where an id stands for a folder, with labels and groups."""

import numpy as np

from competition.layouts.labels import Reading
from competition.layouts.parts import Part
from competition.layouts.pictures import Located, Pictures
from competition.layouts.samples import unique_ids
from competition.spec import Split


def located(split: str, part: Part, pictures: Pictures) -> Located:
    """The images of a part's rows. Raises UserError for ids that are blank, there twice or without an image."""
    ids = unique_ids(part.table, part.image)
    if part.paths is not None:
        return Located(ids, part.paths, np.arange(len(ids)))
    return pictures.located(split, part.table.path, ids)


def labelled_split(name: str, part: Part, reading: Reading, group_column: str | None, pictures: Pictures) -> Split:
    """A split with labels. Images of one id are in one group, as are those with the same cell in ``group_column``."""
    labels = reading.encode(part.table)
    images = located(name, part, pictures)
    groups = images.cases
    if group_column is not None:
        cells = part.table.stripped(group_column)
        groups = tuple(cells[row] for row in images.rows)
    return Split(name, images.ids, images.paths, labels[images.rows], groups, images.cases)
