"""Write a submission, check it as Kaggle would, and put its rows in the right order."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from competition.cells import Cells, cells_at, cells_of, same_spelled
from competition.form import Form
from competition.spec import Competition
from competition.storage import atomic_write
from competition.tables import Table, read_table
from competition.task import Label
from competition.wording import fault_in, listed, printable

INDEX_HEADERS = ("", "Unnamed: 0")
UNSAFE = frozenset(',"\r\n')  # a cell with one of these needs quotes


def write_submission(competition: Competition, cells: Iterable[Label | tuple[str, ...]], path: Path) -> None:
    """Write a submission as UTF-8 with LF line ends.

    cells: of each row of ``competition.form``, in its order, the cells besides the id; a label stands for one cell.

    Raises UserError and leaves ``path`` unchanged if ``check_submission`` refuses the file.
    """
    with atomic_write(path) as temporary:
        temporary.write_text("".join(map(_csv_line, _rows(competition.form, cells))), encoding="utf-8", newline="")
        check_submission(competition, temporary)


def put_in_order(competition: Competition, path: Path, corrected: Path) -> Path:
    """Sort the rows of a submission if only their order is wrong. Returns the path of a valid submission.

    Returns ``path`` if its order is right. Otherwise writes the sorted rows to ``corrected`` and returns that.
    Raises UserError for any other fault that ``check_submission`` would refuse.
    """
    form = competition.form
    table, _ = _checked_table(competition, path)
    given = ids_in(form, table)
    if given == form.ids:
        return path
    columns = zip(*(cells_at(table, at) for at in value_places(form, table)), strict=True)
    by_id = dict(zip(given, columns, strict=True))
    write_submission(competition, [by_id[name] for name in form.ids], corrected)
    return corrected


def check_submission(competition: Competition, path: Path) -> str:
    """Check a submission. Returns a summary, e.g. ``5,400 rows, 10 of 10 classes, order of test.csv``.

    A submission is valid if its header is that of the form, it has every id exactly once, in the order of
    ``submission_ids``, and what stands in its cells is of the form's kind. A byte-order mark, CRLF and blank lines are
    ignored. Raises UserError if the submission is not valid.
    """
    table, held = _checked_table(competition, path)
    _check_order(competition.form, table)
    return f"{len(table.frame):,} rows, {held}, order of {competition.form.source}"


def read_submission(form: Form, path: Path) -> Table:
    """The table of a submission in that form, read as Kaggle does: in UTF-8, parted by commas alone."""
    return read_table(path, bool(form.header), is_plain=True)


def ids_in(form: Form, table: Table) -> tuple[str, ...]:
    """The ids of a table in that form; none if its rows have none."""
    return tuple(cells_at(table, form.id_at)) if form.ids else ()


def value_places(form: Form, table: Table) -> list[int]:
    """The places of the columns besides the id."""
    return [at for at in range(len(table.columns)) if at != form.id_at or not form.ids]


def check_cells(cells: Cells, table: Table) -> str:
    """What the cells besides the ids hold, in words. Raises UserError with the rows of cells that are wrong."""
    return cells.check(table, value_places(cells.form, table))


def _rows(form: Form, cells: Iterable[Label | tuple[str, ...]]) -> list[tuple[Label, ...]]:
    """All rows, header included."""
    values = [cell if isinstance(cell, tuple) else (cell,) for cell in cells]
    header = [form.header] if form.header else []
    if not form.ids:
        return [*header, *values]
    at = form.id_at
    return [*header, *((*row[:at], name, *row[at:]) for name, row in zip(form.ids, values, strict=True))]


def _csv_line(cells: Iterable[Label]) -> str:
    # csv.writer with "\n" as line end does not quote a "\r" in a cell, which then splits the row when it is read
    escaped = (str(cell).replace('"', '""') for cell in cells)
    return ",".join(f'"{cell}"' if UNSAFE & set(cell) else cell for cell in escaped) + "\n"


def _checked_table(competition: Competition, path: Path) -> tuple[Table, str]:
    """The CSV, and what its cells hold. Raises UserError for every fault except the order of its rows."""
    form = competition.form
    table = read_submission(form, path)
    if form.header:
        _check_header(form, table)
    if form.ids:
        _check_ids(form, table)
    else:
        _check_count(form, table)
    return table, check_cells(cells_of(form, competition.task), table)


def _check_header(form: Form, table: Table) -> None:
    expected, header = form.header, table.columns
    if header == expected:
        return
    got, right = _joined(header), _joined(expected)
    if header[1:] == expected or (header[0] in INDEX_HEADERS and len(header) > len(expected)):
        fault = f"extra index column in front ({got})"
        raise fault_in(table.path, fault, f"write it with to_csv(index=False): {right}")
    if header[0] in set(form.ids):
        raise fault_in(table.path, f"no header row, the first row is {got}", f"add the header {right}")
    raise fault_in(table.path, f"the header is {got} but must be {right}", "rename, drop or add columns")


def _check_ids(form: Form, table: Table) -> None:
    ids = ids_in(form, table)
    if ids == form.ids:
        return
    known, counts = set(form.ids), Counter(ids)
    table.refuse([not name.strip() for name in ids], "empty id", f"copy the ids from {form.source}")
    unknown = [name for name in counts if name not in known]
    hint = same_spelled(unknown[0], form.ids) if unknown else ""
    fault = f"id not in {form.source} ({listed(unknown)}){hint}"
    table.refuse([name not in known for name in ids], fault, f"write the ids as in {form.source}")
    twice = [name for name, count in counts.items() if count > 1]
    table.refuse([counts[name] > 1 for name in ids], f"duplicate id ({listed(twice)})", "keep one row of each")
    missing = [name for name in form.ids if name not in counts]
    if missing:
        fault = f"{len(missing):,} of {len(known):,} ids missing: {listed(missing)}"
        raise fault_in(table.path, fault, "add a row for each")


def _check_count(form: Form, table: Table) -> None:
    if len(table.frame) != len(form):
        fault = f"{len(table.frame):,} rows, but {form.source} has {len(form):,}"
        raise fault_in(table.path, fault, "write a row for each image, in the order of the test images")


def _check_order(form: Form, table: Table) -> None:
    ids = ids_in(form, table)
    astray = np.flatnonzero([name != right for name, right in zip(ids, form.ids, strict=True)])
    if len(astray):
        row = astray[0]
        names = f"{printable(ids[row])} but must be {printable(form.ids[row])}"
        fault = f"the rows are not in the order of {form.source}: row {table.numbers[row]:,} is {names}"
        raise fault_in(table.path, fault, f"sort the rows as in {form.source}")


def _joined(cells: Iterable[str]) -> str:
    return printable(",".join(cells))
