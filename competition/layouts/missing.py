"""Rows of training images that lack some of the numbers to estimate, or the class of some target."""

from dataclasses import replace

import numpy as np

from competition.layouts.labels import NO_LABEL, NUMBER, are_flags
from competition.layouts.parts import Found
from competition.wording import counted


def without_missing(found: Found) -> Found:
    """What was found without the training images that lack some of several numbers or classes, which is said."""
    if len(found.labels) < 2:
        return found
    columns = [found.train.table.stripped(name) for name in found.labels]
    cells = set().union(*columns)
    blank = {cell for cell in cells if not cell or cell.casefold() in NO_LABEL}
    are_numbers = all(map(NUMBER.fullmatch, cells - blank))
    blank = blank if are_numbers else blank & {""}
    if not blank or are_flags(cells - blank):
        return found
    lacking = np.any([[cell in blank for cell in column] for column in columns], axis=0)
    if lacking.all():
        return found
    rows, things = counted(int(lacking.sum()), "row"), "numbers" if are_numbers else "classes"
    told = f"{found.train.table.path.name}: {rows} passed over, some of the {len(found.labels)} {things} are missing"
    return replace(found, train=found.train.take(~lacking), found=(*found.found, told))
