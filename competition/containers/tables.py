"""Tables with pixels in their cells: CSV and parquet; parquet may hold encoded images too."""

from collections.abc import Iterator, Mapping, Sequence
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
from competition.containers.pixels import LEAST, grid_of, numbers_in, pixel_columns
from competition.optional import optional_package

_ROWS = 512  # of a parquet file with a column of images that are read at once
_NUMBERS = 1 << 25  # of one with a column a pixel
_BLOCK = 1 << 24  # bytes of a CSV that are read at once
_DELIMITERS = ",;\t"


def read_csv(path: Path) -> Container | None:
    """A CSV with a column a pixel, or with a column whose cells hold all pixels of an image; None for other tables."""
    try:
        delimiter = _delimiter(path)
        head = pd.read_csv(path, sep=delimiter, nrows=1, encoding="utf-8-sig", dtype=str, keep_default_na=False)
    except ValueError:  # no table, or not in UTF-8
        return None
    cells = [name for name in head.columns if len(head) and numbers_in(head[name].iloc[0]).size >= LEAST]
    names = _pixels_in(head) or cells[:1]
    if not names:
        return None
    pixels = {*names, *cells}
    with damage_named(path, "CSV"):
        columns = _csv_columns(path, delimiter, [name for name in head.columns if name not in pixels], names[0])
    return container(path, "CSV of pixels", columns, partial(_csv_pictures, path, delimiter, names))


def _delimiter(path: Path) -> str:
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline()
    return max(_DELIMITERS, key=header.count)


def _pixels_in(head: pd.DataFrame) -> list[str]:
    """The columns of which each is a pixel."""
    pixels = pixel_columns(list(head.columns))
    return pixels if len(head) and numbers_in(" ".join(head[pixels].iloc[0])).size == len(pixels) else []


def _csv_columns(path: Path, delimiter: str, names: Sequence[str], pixel: str) -> pd.DataFrame:
    """The columns that hold no pixels; without any, only the rows. pixel: a column that does."""
    batches = _csv_batches(path, delimiter, dict.fromkeys(names or [pixel], "string"))
    if not names:
        return pd.DataFrame(index=range(sum(map(len, batches))))
    return pd.concat([batch.to_pandas() for batch in batches], ignore_index=True).rename(columns=str.strip)


def _csv_pictures(path: Path, delimiter: str, names: Sequence[str]) -> Iterator[Picture]:
    kind = "float" if len(names) > 1 else "string"
    return _pictures(_csv_batches(path, delimiter, dict.fromkeys(names, kind)))


def _csv_batches(path: Path, delimiter: str, kinds: Mapping[str, str]) -> Iterator[Any]:
    """Blocks of rows of some columns. kinds: what Arrow is to read in each column."""
    csv = optional_package("pyarrow.csv", path, "a CSV of pixels")
    reading = csv.ReadOptions(block_size=_BLOCK)
    parsing = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    converting = csv.ConvertOptions(column_types=kinds, include_columns=list(kinds))
    with csv.open_csv(path, reading, parsing, converting) as batches:
        yield from batches


def _pictures(batches: Iterator[Any]) -> Iterator[Picture]:
    """The pictures in blocks of rows: a column a pixel, or a column with all of them."""
    grid = None
    for batch in batches:
        rows = _numbers(batch)
        grid = grid or grid_of(rows)
        yield from map(grid.picture, rows)


def _numbers(batch: Any) -> np.ndarray:
    """``[N, pixels]``."""
    if batch.num_columns > 1:
        may_be_nan = not str(batch.schema.types[0]).startswith(("int", "uint"))
        return batch.to_tensor(null_to_nan=may_be_nan).to_numpy()
    rows = [numbers_in(cell) for cell in batch.column(0).to_pylist()]
    if len({len(row) for row in rows}) > 1:
        raise ValueError("cells of different numbers of pixels")
    return np.stack(rows)


def read_parquet(path: Path) -> Container | None:
    """Parquet with a column a pixel, with all pixels in a list, or with encoded images; None for other tables."""
    parquet = optional_package("pyarrow.parquet", path, "a parquet file")
    with damage_named(path, "parquet file"), parquet.ParquetFile(path, memory_map=True) as file:
        schema = file.schema_arrow
        fields = dict(zip(schema.names, map(str, schema.types), strict=True))
        pixels = pixel_columns([name for name, kind in fields.items() if _is_number(kind)])
        nested = [name for name, kind in fields.items() if not _is_number(kind)]  # or text
        first = next(file.iter_batches(batch_size=1, columns=nested), None)
        images = [name for name in nested if first is not None and _holds_image(first.column(name)[0].as_py())]
        if not pixels and not images:
            return None
        known = {*pixels, *images}
        others = [name for name in fields if name not in known and not name.startswith("__index")]
        rows = file.read(columns=others).to_pylist() if others else [{}] * file.metadata.num_rows
    names = pixels or images[:1]
    return container(path, "parquet file", frame_of(rows), partial(_parquet_pictures, path, names))


def _is_number(kind: str) -> bool:
    """Whether it is an Arrow type of numbers."""
    return kind.startswith(("int", "uint", "float", "double", "halffloat"))


def _holds_image(value: Any) -> bool:
    """Whether a cell holds an encoded image, as bytes or as the ``bytes`` of a record, or a list of pixels."""
    value = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(value, bytes):
        return suffix_of(value) is not None
    return isinstance(value, list) and np.size(value) >= LEAST


def _parquet_pictures(path: Path, names: Sequence[str]) -> Iterator[Picture]:
    parquet = optional_package("pyarrow.parquet", path, "a parquet file")
    with parquet.ParquetFile(path, memory_map=True) as file:
        rows = max(1, _NUMBERS // len(names)) if len(names) > 1 else _ROWS
        batches = file.iter_batches(rows, columns=list(names), use_threads=False)  # threads need more memory
        if len(names) > 1:
            yield from _pictures(batches)
        else:
            for batch in batches:
                yield from map(_picture_in, batch.column(0).to_pylist())


def _picture_in(value: Any) -> Picture:
    value = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(value, bytes):
        return value
    numbers = np.array(value)
    return grid_of(numbers[np.newaxis]).picture(numbers) if numbers.ndim == 1 else numbers
