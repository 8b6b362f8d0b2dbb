"""Reads and writes CSVs: every cell as text, exactly as the file spells it."""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from competition.errors import UserError
from competition.images_on_disk import names_image
from competition.storage import write_file
from competition.wording import counted, did_you_mean, fault_in, listed, printable

DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}  # besides the comma
GLANCE = 1 << 16  # bytes of a table that show what kind it is

_SEP_LINE = re.compile(r'"?sep=(.)"?(\r\n|\n|\r)', re.IGNORECASE)  # the first line that Excel reads and hides
_QUOTE_AFTER_BLANK = re.compile(r"[,;\t|][ \t]+\"")
_HIGH = re.compile(rb"[\x80-\xff]+")
# letters that the two code pages of Windows for Western and Central Europe have in the same place
_CERTAIN = {
    code
    for code in range(0x80, 0x100)
    if (letter := bytes([code]).decode("cp1252", "ignore")).isalpha()
    and letter == bytes([code]).decode("cp1250", "ignore")
}


class _Dialect(NamedTuple):
    """How the cells of a CSV are parted."""

    delimiter: str = ","
    skipinitialspace: bool = False


@dataclass(frozen=True)
class Table:
    """A CSV as text.

    frame: one row for each row that is not blank, every cell a string exactly as the file spells it. The index
        holds the row numbers that a spreadsheet shows; the header is row 1.
    is_whole: False if rows of other lengths were left out at a glance.
    """

    path: Path
    frame: pd.DataFrame
    is_whole: bool = True

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.frame.columns)

    @cached_property
    def _cells(self) -> dict[str, tuple[str, ...]]:
        """The columns that have been asked for: a million cells take long to be made text."""
        return {}

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        return tuple(self.frame.itertuples(index=False, name=None))

    @property
    def numbers(self) -> tuple[int, ...]:
        """The row numbers that a spreadsheet shows."""
        return tuple(self.frame.index.tolist())

    def __len__(self) -> int:
        return len(self.frame)

    def called(self, name: str) -> str | None:
        """See ``column_called``."""
        return column_called(name, self.columns)

    def column(self, name: str) -> tuple[str, ...]:
        """The cells of the column that is ``called`` so. Raises UserError with the nearest name if there is none."""
        own = self.called(name)
        if own is None:
            fault = f"no column '{printable(name)}'{did_you_mean(name, self.columns)}"
            remedy = "rename one, or name it with --image-column, --label-column or --group-column"
            raise fault_in(self.path, f"{fault}, only {listed(self.columns)}", remedy)
        if own not in self._cells:
            self._cells[own] = tuple(self.frame.iloc[:, self.columns.index(own)].tolist())
        return self._cells[own]

    def stripped(self, name: str) -> tuple[str, ...]:
        """The cells of one column without the blanks around them."""
        return tuple(map(str.strip, self.column(name)))

    def take(self, kept: np.ndarray) -> "Table":
        """The table with only the rows that ``kept``, bool ``[N]``, marks."""
        return self if kept.all() else Table(self.path, self.frame[kept])

    def refuse(self, wrong: Sequence[bool] | np.ndarray, fault: str, remedy: str) -> None:
        """Raises UserError that names the rows marked as wrong, if there are any."""
        _refuse_rows(self.path, self.frame.index[np.asarray(wrong, bool)].tolist(), fault, remedy)


def column_called(name: str, columns: Sequence[str]) -> str | None:
    """The column of that name, else the only one that differs from it in case and outer blanks; None without one."""
    if name in columns:
        return name
    alike = [each for each in columns if each.strip().casefold() == name.strip().casefold()]
    return alike[0] if len(alike) == 1 else None


def _refuse_rows(path: Path, numbers: Sequence[int], fault: str, remedy: str) -> None:
    if numbers:
        rows = f"{counted(len(numbers), 'row')} (row {listed(numbers)})"
        raise fault_in(path, f"{fault} in {rows}", remedy)


def read_table(path: Path, has_header: bool = True, is_plain: bool = False) -> Table:
    """Read a CSV without changing a cell.

    It is UTF-8, UTF-16 with its mark, or cp1252 where its letters leave no doubt, with any line ends; its cells are
    parted by commas, or by what a line ``sep=`` or all rows say. Blank lines and rows of empty cells at the end are
    skipped.

    is_plain: only UTF-8 and commas will do, as in a submission.

    Raises UserError if the file is not a table: not text, broken quotes, rows of unequal length, no rows, or no header
    where it ``has_header``; without one, columns are named by their numbers from 0.
    """
    text = _text(path, is_plain)
    text, dialect = (text, _Dialect()) if is_plain else _dialect_of(text)
    header, widths = _shape(path, text, dialect)
    if not widths.size:
        raise fault_in(path, "the file is empty", "it needs a header row and a row for each image")
    names = list(header) if has_header else [str(place) for place in range(len(header))]
    if has_header:
        _check_header(path, header)
    if not is_plain:
        _check_delimiter(path, header)
    numbers = np.flatnonzero(widths)[int(has_header) :] + 1
    if not numbers.size:
        raise fault_in(path, "the table is empty, a header row only", "add a row for each image")
    ragged = numbers[widths[numbers - 1] != len(header)]
    _refuse_rows(path, ragged.tolist(), f"not {len(header)} cells, as in the header,", "fix the commas or quotes there")
    frame = _frame(text, len(header), len(widths), dialect).loc[numbers]
    return Table(path, frame.set_axis(names, axis="columns"))


def glance(path: Path) -> Table | None:
    """The first rows of a CSV, for finding out what it is; None if that is not a table with a header and a row."""
    try:
        with path.open("rb") as file:
            content = file.read(GLANCE)
        if len(content) == GLANCE:
            content = content[: content.rfind(b"\n") + 1]
        text, dialect = _dialect_of(_decoded(path, content, is_plain=False))
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), **dialect._asdict()) if row]
    except (OSError, UserError, csv.Error):
        return None
    whole = [row for row in rows[1:] if len(row) == len(rows[0])]
    is_whole = len(whole) == len(rows) - 1
    return Table(path, pd.DataFrame(whole, columns=rows[0], dtype=str), is_whole) if whole else None


def _dialect_of(text: str) -> tuple[str, _Dialect]:
    """The text without a line ``sep=``, and how its cells are parted."""
    marked = _SEP_LINE.match(text)
    if marked:
        text = text[marked.end() :]
    delimiter = marked[1] if marked else _delimiter(text)
    return text, _Dialect(delimiter, bool(_QUOTE_AFTER_BLANK.search(text)))


def _delimiter(text: str) -> str:
    """The comma, unless the header has none and every row has as many of another one as the header."""
    first = text.lstrip().partition("\n")[0]
    if "," in first:
        return ","
    for delimiter in filter(first.count, DELIMITERS):
        widths = {len(row) for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(row)}
        if len(widths) == 1:
            return delimiter
    return ","


def _shape(path: Path, text: str, dialect: _Dialect) -> tuple[tuple[str, ...], np.ndarray]:
    """The first row, and the number of cells in each row up to the last non-empty one; 0 for a blank line.

    pandas pads short rows and accepts broken quotes, so the csv module checks the rows first.
    """
    if '"' not in text and "\r" not in text and (shape := _plain_shape(text, dialect)) is not None:
        return shape
    header: tuple[str, ...] = ()
    widths, used = [], 0
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, **dialect._asdict())
    try:
        for cells in reader:
            header = header or tuple(cells)
            widths.append(len(cells))
            if "".join(cells).strip():
                used = len(widths)
    except csv.Error as error:
        fault = f"not a CSV at line {reader.line_num} ({error})"
        raise fault_in(path, fault, "fix the quotes or save it again as CSV") from error
    return header, np.array(widths[:used], np.int64)


def _plain_shape(text: str, dialect: _Dialect) -> tuple[tuple[str, ...], np.ndarray] | None:
    """The shape of a text in which each line is a row, in a third of the time; None if one is too long for a row."""
    lines = text.split("\n")
    while lines and not lines[-1].replace(dialect.delimiter, "").strip():
        lines.pop()
    if max(map(len, lines), default=0) > csv.field_size_limit():
        return None
    header = next(csv.reader(filter(None, lines), **dialect._asdict()), [])
    return tuple(header), np.array([line.count(dialect.delimiter) + 1 if line else 0 for line in lines], np.int64)


def _frame(text: str, columns: int, rows: int, dialect: _Dialect) -> pd.DataFrame:
    """The first rows of a CSV, header and blank lines included, as text, indexed from 1."""
    frame = pd.read_csv(
        io.StringIO(text, newline=""),
        sep=dialect.delimiter,
        skipinitialspace=dialect.skipinitialspace,
        header=None,
        names=range(columns),
        index_col=False,
        dtype=str,
        keep_default_na=False,
        na_filter=False,
        skip_blank_lines=False,
        nrows=rows,
    )
    return frame.set_axis(range(1, len(frame) + 1))


def _text(path: Path, is_plain: bool) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise fault_in(path, "no such file", "check its name and folder") from None
    except IsADirectoryError:
        raise fault_in(path, "a folder, not a CSV", "name a file in it") from None
    except OSError as error:
        raise fault_in(path, f"cannot be read ({error.strerror})", "check the file") from error
    text = _decoded(path, content, is_plain)
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise fault_in(path, f"a NUL character in line {line}, so not a CSV", "save it as 'CSV UTF-8'")
    return text


def _decoded(path: Path, content: bytes, is_plain: bool) -> str:
    """The text of a file. Raises UserError that names the likely encoding if it is not certain."""
    if not is_plain and content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "UTF-16"
    else:
        encoding = "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        likely = encoding if encoding == "UTF-16" else _likely_encoding(content)
        if likely == "cp1252" and not is_plain:
            return content.decode(likely)
        fault = f"not {encoding.removesuffix('-sig').upper()} text (byte {error.start + 1}), perhaps {likely}"
        raise fault_in(path, fault, "save it as 'CSV UTF-8'") from error


def _likely_encoding(content: bytes) -> str:
    """The encoding of what is not UTF-8: cp1252 only if its letters leave no doubt."""
    runs = _HIGH.findall(content)
    if all(len(run) == 1 for run in runs):
        return "cp1252" if all(run[0] in _CERTAIN for run in runs) else "cp1252 or cp1250"
    return "GBK or cp1251"


def write_table(path: Path, columns: Mapping[str, Iterable[object]]) -> None:
    """Write a CSV in UTF-8 with line feeds, quoting only where needed. columns: the cells of each column by name."""
    table = pd.DataFrame({name: list(cells) for name, cells in columns.items()})
    write_file(path, table.to_csv(index=False, lineterminator="\n"))


def _check_header(path: Path, columns: tuple[str, ...]) -> None:
    if images := [name for name in columns if names_image(name)]:
        fault = f"row 1 names an image ({listed(images)}), so the header row is missing"
        raise fault_in(path, fault, "add one such as 'Image,Class'")
    if twice := [name for name, count in Counter(columns).items() if name and count > 1]:
        raise fault_in(path, f"the header names {listed(twice)} twice", "rename one")


def _check_delimiter(path: Path, header: tuple[str, ...]) -> None:
    if len(header) == 1 and (delimiter := next(filter(header[0].count, DELIMITERS), None)):
        fault = f"the first row has {DELIMITERS[delimiter]} between its cells, but not every row has as many"
        raise fault_in(path, fault, "save it with commas")
