"""Tables with pixels in their cells: CSV and parquet; parquet may hold encoded images too."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from competition.containers.container import (
    Container,
    Picture,
    container,
    damage_named,
    frame_of,
    suffix_of,
)
from competition.containers.pixels import LEAST, Grid, grid_of, numbers_in, pixel_columns
from competition.optional import optional_package

_BLOCK = 512  # rows read at once
_DELIMITERS = ",;\t"
_AS_TEXT: dict[str, Any] = {"encoding": "utf-8-sig", "dtype": str, "keep_default_na": False}


def read_csv(path: Path) -> Container | None:
    """A CSV with a column a pixel, or with a column whose cells hold all pixels of an image; None for other tables."""
    try:
        delimiter = _delimiter(path)
        head = pd.read_csv(path, sep=delimiter, nrows=20, **_AS_TEXT)
    except ValueError:  # no table, or not in UTF-8
        return None
    names = _pixels_in(head)
    if not names:
        return None
    with damage_named(path, "CSV"):
        grid = grid_of(_csv_numbers(head, names))
        pixels = {*names, *_cells_of_pixels(head)}
        columns = _csv_columns(path, delimiter, [name for name in head.columns if name not in pixels])
    return container(path, "CSV of pixels", columns, partial(_csv_pictures, path, delimiter, names, grid))


def _delimiter(path: Path) -> str:
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline()
    return max(_DELIMITERS, key=header.count)


def _pixels_in(head: pd.DataFrame) -> list[str]:
    """The columns of pixels, or the one whose cells hold all of them."""
    if not len(head):
        return []
    pixels = pixel_columns(list(head.columns))
    if pixels and numbers_in(" ".join(head[pixels].iloc[0])).size == len(pixels):
        return pixels
    return _cells_of_pixels(head)[:1]


def _cells_of_pixels(head: pd.DataFrame) -> list[str]:
    return [name for name in head.columns if numbers_in(head[name].iloc[0]).size >= LEAST]


def _csv_columns(path: Path, delimiter: str, names: Sequence[str]) -> pd.DataFrame:
    """The columns that hold no pixels; without any, only the rows."""
    wanted: list[Any] = list(names) or [0]
    blocks = pd.read_csv(path, sep=delimiter, usecols=wanted, chunksize=1 << 16, **_AS_TEXT)
    frame = pd.concat(blocks, ignore_index=True).rename(columns=str.strip)
    return frame if names else pd.DataFrame(index=range(len(frame)))


def _csv_pictures(path: Path, delimiter: str, names: Sequence[str], grid: Grid) -> Iterator[Picture]:
    reading: dict[str, Any] = _AS_TEXT if len(names) == 1 else {"encoding": "utf-8-sig", "dtype": np.float32}
    with pd.read_csv(path, sep=delimiter, usecols=list(names), chunksize=_BLOCK, **reading) as blocks:
        for block in blocks:
            yield from map(grid.picture, _csv_numbers(block, names))


def _csv_numbers(block: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """``[N, pixels]``."""
    if len(names) > 1:
        return block[list(names)].astype(np.float32).to_numpy()
    rows = [numbers_in(cell) for cell in block[names[0]]]
    if len({len(row) for row in rows}) > 1:
        raise ValueError(f"cells of different numbers of pixels in column {names[0]}")
    return np.stack(rows)


def read_parquet(path: Path) -> Container | None:
    """Parquet with a column a pixel, with all pixels in a list, or with encoded images; None for other tables."""
    parquet = optional_package("pyarrow.parquet", path, "a parquet file")
    with damage_named(path, "parquet file"), parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        first = next(file.iter_batches(batch_size=8), None)
        if first is None:
            return None
        numeric = [name for name in schema.names if _is_number(schema.field(name).type)]
        pixels = pixel_columns(numeric)
        images = [name for name in schema.names if _holds_image(first.column(name)[0].as_py())]
        if not pixels and not images:
            return None
        grid = grid_of(np.stack([first.column(name).to_numpy() for name in pixels], 1)) if pixels else None
        known = {*pixels, *images}
        others = [name for name in schema.names if name not in known and not name.startswith("__index")]
        rows = file.read(columns=others).to_pylist() if others else [{}] * file.metadata.num_rows
    names = pixels or images[:1]
    return container(path, "parquet file", frame_of(rows), partial(_parquet_pictures, path, names, grid))


def _is_number(kind: Any) -> bool:
    return str(kind).startswith(("int", "uint", "float", "double", "halffloat"))


def _holds_image(value: Any) -> bool:
    """Whether a cell holds an encoded image, as bytes or as the ``bytes`` of a record, or a list of pixels."""
    value = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(value, bytes):
        return suffix_of(value) is not None
    return isinstance(value, list) and np.size(value) >= LEAST


def _parquet_pictures(path: Path, names: Sequence[str], grid: Grid | None) -> Iterator[Picture]:
    parquet = optional_package("pyarrow.parquet", path, "a parquet file")
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_BLOCK, columns=list(names)):
            if grid is not None:
                yield from map(grid.picture, np.stack([column.to_numpy() for column in batch.columns], 1))
            else:
                yield from map(_picture_in, batch.columns[0].to_pylist())


def _picture_in(value: Any) -> Picture:
    value = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(value, bytes):
        return value
    numbers = np.array(value)
    return grid_of(numbers[np.newaxis]).picture(numbers) if numbers.ndim == 1 else numbers
