"""Rows of training images that lack some of the numbers to estimate."""

from dataclasses import replace

import numpy as np

from competition.layouts.labels import NO_LABEL, NUMBER, are_flags
from competition.layouts.parts import Found
from competition.wording import counted


def without_missing_numbers(found: Found) -> Found:
    """What was found without the training images that lack some of several numbers, which is said."""
    if len(found.labels) < 2:
        return found
    columns = [found.train.table.stripped(name) for name in found.labels]
    lacking = np.any([[not cell or cell.casefold() in NO_LABEL for cell in cells] for cells in columns], axis=0)
    if not lacking.any() or lacking.all():
        return found
    cells = {cell for column in columns for cell in set(column) if cell and cell.casefold() not in NO_LABEL}
    if are_flags(cells) or not all(map(NUMBER.fullmatch, cells)):
        return found
    rows = counted(int(lacking.sum()), "row")
    told = f"{found.train.table.path.name}: {rows} passed over, some of the {len(found.labels)} numbers are missing"
    return replace(found, train=found.train.take(~lacking), found=(*found.found, told))
