"""Side tables that say what labels are called otherwise, such as a number for each name."""

from collections.abc import Collection, Iterator, Mapping

from competition.layouts.evidence import Evidence
from competition.layouts.lists import read_list
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


def _tables(evidence: Evidence) -> Iterator[Table]:
    yield from evidence.glances.values()
    for path in evidence.lists:
        if path.suffix.lower() == ".json" and (table := read_list(path)) is not None:
            yield table
