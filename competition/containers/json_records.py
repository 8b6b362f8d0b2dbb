"""JSON as a list of records, one an image, with a list of numbers for each of its bands."""

import json
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from competition.containers.container import Container, Picture, container, damage_named, frame_of
from competition.containers.pixels import LEAST, Grid, grid_of

_PIECE = 1 << 20  # characters read at once
_LONGEST = 1 << 26  # characters of a line that is one record


def read_json(path: Path) -> Container | None:
    """A list of records, or a record a line, with lists of numbers; None for other JSON (COCO, label maps)."""
    bands = [name for name, value in _first_record(path).items() if _is_band(value)]
    if not bands:
        return None
    with damage_named(path, "JSON"):
        rows = [{name: value for name, value in record.items() if name not in bands} for record in _records(path)]
        grid = _grid(list(islice(_records(path), 8)), bands)
    return container(path, "JSON of numbers", frame_of(rows), partial(_pictures, path, bands, grid))


def _first_record(path: Path) -> dict[str, Any]:
    """The first of a list of records or of a record a line; empty if it is neither, or damaged already here."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        if not file.read(64).lstrip().startswith("[") and not file.readline(_LONGEST).endswith("\n"):
            return {}  # one object, such as COCO's, which may be gigabytes
    try:
        first = next(_records(path), None)
    except ValueError:
        return {}
    return first if isinstance(first, dict) else {}


def _is_band(value: Any) -> bool:
    return isinstance(value, list) and np.size(value) >= LEAST and np.asarray(value).dtype.kind in "uif"


def _records(path: Path) -> Iterator[Any]:
    """The records of a list, read one after the other, so that gigabytes of text need not fit into memory."""
    decoder = json.JSONDecoder()
    with path.open(encoding="utf-8-sig") as file:
        text = file.read(_PIECE).lstrip().removeprefix("[")
        while True:
            text = text.lstrip(" \t\r\n,")
            if text.startswith("]"):
                return
            try:
                record, end = decoder.raw_decode(text)
            except ValueError:
                if not (more := file.read(max(_PIECE, len(text)))):  # twice as much, as a record may be long
                    if text:
                        raise
                    return
                text += more
                continue
            yield record
            text = text[end:]


def _grid(records: list[dict[str, Any]], bands: list[str]) -> Grid | None:
    """How a flat band is a picture; None if bands are lists of rows."""
    some = np.array([record[bands[0]] for record in records], np.float32)
    return grid_of(some) if some.ndim == 2 else None


def _pictures(path: Path, bands: list[str], grid: Grid | None) -> Iterator[Picture]:
    return (_picture(record, bands, grid) for record in _records(path))


def _picture(record: dict[str, Any], bands: list[str], grid: Grid | None) -> Picture:
    planes = [np.array(record[name], np.float32) for name in bands]
    planes = planes if grid is None else [grid.picture(plane) for plane in planes]
    return planes[0] if len(planes) == 1 else np.dstack(planes)
