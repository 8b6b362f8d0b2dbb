"""Side tables that say what labels are called otherwise, such as a number for each name."""

from collections.abc import Collection, Iterator, Mapping

from competition.layouts.columns import matched
from competition.layouts.evidence import Evidence
from competition.layouts.lists import read_list
from competition.layouts.samples import Sample
from competition.tables import Table


def label_map(evidence: Evidence, labels: Collection[str], cells: Collection[str]) -> Mapping[str, str]:
    """What each label is called where the cells of the sample are such names; empty if no table or JSON says so."""
    for table in _tables(evidence):
        columns = {name: table.stripped(name) for name in dict.fromkeys(table.columns)}
        own = [name for name, some in columns.items() if set(labels) <= set(some)]
        others = [name for name, some in columns.items() if set(cells) <= set(some)]
        for pair in ((columns[one], columns[other]) for one in own for other in others if one != other):
            names = dict(zip(*pair, strict=True))
            if len(set(zip(*pair, strict=True))) == len(names) == len(set(names.values())):
                return {label: names[label] for label in labels}
    return {}


def with_names(train: Table, image: str, sample: Sample | None, evidence: Evidence) -> Table:
    """Train with the names of its labels, where the columns of a wide sample are called by these names."""
    if sample is None or not sample.is_wide or set(sample.names) & set(train.columns):
        return train
    for column in (name for name in train.columns if name != image):
        cells = set(train.stripped(column)) - {""}
        fits = 1 < len(cells) <= len(sample.names) and not matched(sample.names, cells)
        if fits and (names := label_map(evidence, cells, sample.names)):
            return Table(
                train.path, train.frame.assign(**{column: [names.get(cell, cell) for cell in train.stripped(column)]})
            )
    return train


def _tables(evidence: Evidence) -> Iterator[Table]:
    yield from evidence.glances.values()
    for path in evidence.lists:
        if path.suffix.lower() == ".json" and (table := read_list(path)) is not None:
            yield table
