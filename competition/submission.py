"""Write a submission, check it as Kaggle would, and put its rows in the right order."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from competition.images_on_disk import IMAGE_SUFFIXES
from competition.spec import Competition
from competition.storage import atomic_write
from competition.tables import Table, read_table
from competition.task import Label
from competition.wording import did_you_mean, fault_in, listed, printable

INDEX_HEADERS = ("", "Unnamed: 0")
UNSAFE = frozenset(',"\r\n')  # a cell with one of these needs quotes


def write_submission(competition: Competition, labels: Iterable[Label], path: Path) -> None:
    """Write a submission as UTF-8 with LF line ends.

    labels: one for each of ``competition.submission_ids``, in the same order.

    Raises UserError and leaves ``path`` unchanged if ``check_submission`` refuses the file.
    """
    with atomic_write(path) as temporary:
        rows = [_header(competition), *zip(competition.submission_ids, labels, strict=True)]
        temporary.write_text("".join(map(_csv_line, rows)), encoding="utf-8", newline="")
        check_submission(competition, temporary)


def put_in_order(competition: Competition, path: Path, corrected: Path) -> Path:
    """Sort the rows of a submission if only their order is wrong. Returns the path of a valid submission.

    Returns ``path`` if its order is right. Otherwise writes the sorted rows to ``corrected`` and returns that.
    Raises UserError for any other fault that ``check_submission`` would refuse.
    """
    table = _checked_table(competition, path)
    ids, given = zip(*table.rows, strict=True)
    labels = dict(zip(ids, given, strict=True))
    if tuple(labels) == competition.submission_ids:
        return path
    write_submission(competition, [labels[name] for name in competition.submission_ids], corrected)
    return corrected


def check_submission(competition: Competition, path: Path) -> str:
    """Check a submission. Returns a summary, e.g. ``5,400 rows, 10 of 10 classes, order of test.csv``.

    A submission is valid if its header is the image and the label column and it has every test id exactly once, in
    the order of ``submission_ids``, with a known class. A byte-order mark, CRLF and blank lines are ignored.
    Raises UserError if the submission is not valid.
    """
    table = _checked_table(competition, path)
    ids, labels = zip(*table.rows, strict=True)
    _check_order(competition, table, ids)
    predicted, known = len(set(labels)), len(competition.classes)
    return f"{len(ids):,} rows, {predicted:,} of {known:,} classes, order of {_order_source(competition)}"


def _checked_table(competition: Competition, path: Path) -> Table:
    """Read the CSV. Raises UserError for every fault except the order of its rows."""
    table = read_table(path)
    _check_header(competition, table)
    ids, labels = zip(*table.rows, strict=True)
    _check_ids(competition, table, ids)
    _check_labels(competition, table, labels)
    return table


def _header(competition: Competition) -> tuple[str, str]:
    return competition.image_column, competition.label_column


def _csv_line(cells: Iterable[Label]) -> str:
    # csv.writer with "\n" as line end does not quote a "\r" in a cell, which then splits the row when it is read
    escaped = (str(cell).replace('"', '""') for cell in cells)
    return ",".join(f'"{cell}"' if UNSAFE & set(cell) else cell for cell in escaped) + "\n"


def _order_source(competition: Competition) -> str:
    return "test.csv" if competition.submission_ids == competition.test.ids else "sample_submission.csv"


def _check_header(competition: Competition, table: Table) -> None:
    expected = _header(competition)
    if table.columns == expected:
        return
    got, right = _joined(table.columns), _joined(expected)
    if table.columns[1:] == expected or (table.columns[0] in INDEX_HEADERS and len(table.columns) > 2):
        fault = f"extra index column in front ({got})"
        raise fault_in(table.path, fault, f"write it with to_csv(index=False): {right}")
    if table.columns[0] in set(competition.submission_ids):
        raise fault_in(table.path, f"no header row, the first row is {got}", f"add the header {right}")
    raise fault_in(table.path, f"the header is {got} but must be {right}", "rename, drop or add columns")


def _check_ids(competition: Competition, table: Table, ids: Sequence[str]) -> None:
    source, known, counts = _order_source(competition), set(competition.submission_ids), Counter(ids)
    table.refuse([not name.strip() for name in ids], "empty id", f"copy the ids from {source}")
    unknown = [name for name in counts if name not in known]
    hint = _same_spelled(unknown[0], competition.submission_ids) if unknown else ""
    fault = f"id not in {source} ({listed(unknown)}){hint}"
    table.refuse([name not in known for name in ids], fault, f"write the ids as in {source}")
    twice = [name for name, count in counts.items() if count > 1]
    table.refuse([counts[name] > 1 for name in ids], f"duplicate id ({listed(twice)})", "keep one row of each")
    missing = [name for name in competition.submission_ids if name not in counts]
    if missing:
        fault = f"{len(missing):,} of {len(known):,} ids missing: {listed(missing)}"
        raise fault_in(table.path, fault, "add a row for each")


def _check_labels(competition: Competition, table: Table, labels: Sequence[str]) -> None:
    known = dict.fromkeys(map(str, competition.classes))
    table.refuse([not label.strip() for label in labels], "no prediction", "give each id a class")
    unknown = list(dict.fromkeys(label for label in labels if label not in known))
    hint = (_same_spelled(unknown[0], known) or did_you_mean(unknown[0], known)) if unknown else ""
    fault = f"class not in train.csv ({listed(unknown)}){hint}"
    remedy = f"write the {len(known):,} classes as in train.csv: {listed(known)}"
    table.refuse([label not in known for label in labels], fault, remedy)


def _check_order(competition: Competition, table: Table, ids: Sequence[str]) -> None:
    expected, source = competition.submission_ids, _order_source(competition)
    astray = next((row for row, name in enumerate(ids) if name != expected[row]), None)
    if astray is not None:
        names = f"{printable(ids[astray])} but must be {printable(expected[astray])}"
        fault = f"the rows are not in the order of {source}: row {table.numbers[astray]:,} is {names}"
        raise fault_in(table.path, fault, f"sort the rows as in {source}")


def _same_spelled(name: str, known: Iterable[str]) -> str:
    """`` (did you mean '00017'?)`` if a known name differs only in what tools tend to change; otherwise empty."""
    plain = _plain(name)
    near = next((each for each in known if _plain(each) == plain), None)
    return f" (did you mean '{printable(near)}'?)" if near is not None else ""


def _plain(name: str) -> str:
    """The name without what tools add or lose: spaces, extension, ``.0``, leading zeros and upper case."""
    name = name.strip().casefold()
    for suffix in (*IMAGE_SUFFIXES, ".0"):
        name = name.removesuffix(suffix)
    return name.lstrip("0")


def _joined(cells: Iterable[str]) -> str:
    return printable(",".join(cells))
