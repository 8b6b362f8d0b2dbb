"""What a container of images is, and what the readers of its formats have in common."""

import gzip
import mmap
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from competition.errors import UserError
from competition.wording import fault_in, printable

Picture = bytes | np.ndarray  # an encoded image, or [H, W] or [H, W, C] numbers

_STARTS = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG\r\n\x1a\n": ".png",
    b"GIF8": ".gif",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"RIFF": ".webp",
}
_LONGEST_START = max(map(len, _STARTS))
_ID_NAMES = (
    *("id", "_id", "image_id", "imageid", "img_id", "isic_id", "image_name", "img_name", "file_name", "filename"),
    *("image", "img", "name", "file", "path", "key"),
)
_LIKE_ID = re.compile(r"(^|[_ ])(id|uid|name)$|uid$|(?<=[a-z])Id$|ID$")


@dataclass(frozen=True, eq=False)
class Container:
    """A file that holds many images.

    path: the file, or the folder with one file for each channel.
    kind: what it is, for the user, e.g. ``TFRecord``.
    columns: a row for each image, in the file's order, all cells strings. The column ``id`` is always there and the
        first; the others are what else the file says of each image (label, class, inc_angle, ...), by its own names.
    id_name: the file's own name of the id column; None if it has no ids, which then are the row numbers from 1.
    pictures: yields the image of each row, in order: the bytes of an encoded image, or numbers as ``[H, W]`` or
        ``[H, W, C]``.
    """

    path: Path
    kind: str
    columns: pd.DataFrame
    id_name: str | None
    pictures: Callable[[], Iterator[Picture]]

    def __len__(self) -> int:
        return len(self.columns)


def container(
    path: Path, kind: str, columns: pd.DataFrame, pictures: Callable[[], Iterator[Picture]]
) -> Container | None:
    """A container of which the reader knows all columns, among them perhaps the ids; None if it holds no image."""
    if not len(columns):
        return None
    name = _id_name(columns)
    ids = columns[name] if name is not None else pd.Series([str(row) for row in range(1, len(columns) + 1)], dtype=str)
    others = columns.drop(columns=[each for each in {name, "id"} if each in columns.columns])
    others.insert(0, "id", ids.to_numpy())

    def read() -> Iterator[Picture]:
        with damage_named(path, kind):
            yield from pictures()

    return Container(path, kind, others, name, read)


def _id_name(columns: pd.DataFrame) -> str | None:
    """The column that names the images: by its name, else the only one of text whose cells all differ."""
    spelled = {str(name).strip().lower(): str(name) for name in reversed(columns.columns)}
    if known := next((spelled[name] for name in _ID_NAMES if name in spelled), None):
        return known
    alike = [name for name in columns.columns if _LIKE_ID.search(name) and columns[name].is_unique]
    texts = [name for name in columns.columns if columns[name].is_unique and not _are_numbers(columns[name])]
    return next(iter(alike), texts[0] if len(texts) == 1 and len(columns) > 1 else None)


def _are_numbers(cells: pd.Series) -> bool:
    return bool(pd.to_numeric(cells, errors="coerce").notna().any())


def frame_of(rows: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """A table of strings out of records that may lack some of the names."""
    frame = pd.DataFrame(list(rows), dtype=object)
    return frame.map(as_cell).astype(str) if frame.size else frame


def as_cell(value: object) -> str:
    """A value as a cell: text as it is, nothing as an empty cell, a list joined by blanks."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, list | tuple | np.ndarray):
        return " ".join(map(as_cell, value))
    return str(value)


def suffix_of(data: bytes | memoryview) -> str | None:
    """The suffix of an encoded image by its first bytes; None if it is none."""
    start = bytes(data[:_LONGEST_START])
    return next((suffix for known, suffix in _STARTS.items() if start.startswith(known)), None)


def content_of(path: Path) -> memoryview:
    """The bytes of a file; they are read from the disk when they are looked at. A gzip is decompressed in memory."""
    with path.open("rb") as file:
        if file.read(2) == b"\x1f\x8b":
            file.seek(0)
            return memoryview(gzip.decompress(file.read()))
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


@contextmanager
def damage_named(path: Path, kind: str) -> Iterator[None]:
    """Raise UserError for whatever the reader of a container raises when it is damaged."""
    try:
        yield
    except (UserError, MemoryError, GeneratorExit):
        raise
    except Exception as error:  # the libraries raise many types
        raise fault_in(path, f"not a complete {kind} ({printable(error)})", "download it again") from error
