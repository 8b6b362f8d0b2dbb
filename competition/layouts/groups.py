"""Groups: what images have in common that must not be on both sides of a split, such as the patient."""

from competition.layouts.parts import Found
from competition.tables import Table
from competition.wording import printable

FEWEST = 1.5  # images of a group in the mean
MOST = 100_000  # rows that are looked at


def group_hint(found: Found, group_column: str | None) -> tuple[str, ...]:
    """A line about a column whose values repeat across images, where images of one value share a label."""
    if group_column is not None:
        return (f"images with the same '{printable(group_column)}' stay on one side of every split",)
    table = found.train.table
    for name in table.columns:
        if name and name not in (found.train.image, *found.labels) and _is_group(table, name, found.labels):
            hint = f"column '{printable(name)}' repeats, and its images share a label"
            return (f"{table.path.name}: {hint}; --group-column {printable(name)} keeps them on one side of a split",)
    return ()


def _is_group(table: Table, name: str, labels: tuple[str, ...]) -> bool:
    """Whether the cells of a column part the classes further, and most of them are there several times."""
    frame = table.frame.head(MOST)
    groups = frame[name]
    if groups.nunique() > len(groups) / FEWEST:
        return False
    classes = frame.groupby(list(labels)).ngroup()
    if groups.nunique() <= classes.nunique():
        return False
    return bool(classes.groupby(groups.to_numpy()).nunique().max() == 1)
