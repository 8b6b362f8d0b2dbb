"""Writes the images of containers to files, once; numbers that are no shades of grey are scaled alike."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from competition.containers.container import Container, Picture, suffix_of
from competition.progress import Progress
from competition.storage import build_folder
from competition.wording import counted, fault_in, printable

_STAMP = ".images.json"
_SAFE = re.compile(r"[^./\\:*?\"<>|\x00-\x1f][^/\\:*?\"<>|\x00-\x1f]{0,150}")
_FAST = (cv2.IMWRITE_PNG_COMPRESSION, 1)
_PROBED = 1000  # images that show whether numbers are shades of grey
_SAMPLED = 4_000_000  # numbers whose percentiles are taken
_PERCENTILES = (0.5, 99.5)


class _Scale(NamedTuple):
    """The numbers of each channel that become black and white."""

    low: np.ndarray
    high: np.ndarray

    def shades(self, values: np.ndarray) -> np.ndarray:
        span = np.maximum(self.high - self.low, np.finfo(np.float32).tiny)
        shades = (np.nan_to_num(values.astype(np.float32)) - self.low) * (255 / span)
        return np.rint(np.clip(shades, 0, 255)).astype(np.uint8)


def extract(containers: Sequence[Container], folder: Path, scaled_by: Sequence[Container] = ()) -> pd.DataFrame:
    """Write the images of some containers (all of one split) to ``folder``, unless they are there from before.

    scaled_by: the containers whose values set the scale of numbers that are neither 0..255 nor 0..1: the 0.5 and 99.5
        percentiles of each channel over all their images become black and white. None: ``containers`` themselves. Give
        those of the training images for test images.

    Returns the containers' columns, one below the other, and a column ``file``: the path of each image's file as a
    string, ``<folder>/<id>.<suffix>`` where the id can be a file's name and is there once.

    Raises UserError if a container is damaged, or if the folder cannot be written.
    """
    table = _joined(containers)
    stamp = [_stamp_of(each) for each in (*containers, *scaled_by)]

    def fill(draft: Path) -> None:
        names = list(_write(containers, table["id"].tolist(), draft, scaled_by or containers))
        if len(names) != len(table):
            fault = f"{counted(len(names), 'image')} of {len(table)} rows"
            raise fault_in(containers[0].path, fault, "download it again")
        (draft / _STAMP).write_text(json.dumps({"stamp": stamp, "files": names}), encoding="utf-8")

    try:
        build_folder(folder, fill, lambda there: _read_stamp(there).get("stamp") == stamp)
    except OSError as error:
        fault = f"its images cannot be written ({printable(error.strerror or error)})"
        remedy = f"check that there is free space and that {printable(folder.parent)} is writable"
        raise fault_in(containers[0].path, fault, remedy) from error
    return table.assign(file=[str(folder / name) for name in _read_stamp(folder)["files"]])


def _joined(containers: Sequence[Container]) -> pd.DataFrame:
    """The rows of all containers; without ids they are numbered through."""
    table = pd.concat([each.columns for each in containers], ignore_index=True).fillna("")
    if all(each.id_name is None for each in containers):
        table["id"] = [str(row) for row in range(1, len(table) + 1)]
    return table


def _stamp_of(container: Container) -> list[object]:
    """What identifies the content of a container: name, size and time of its file, or of the files in its folder."""
    path = container.path
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    stats = [each.stat() for each in files]
    newest = max(stat.st_mtime_ns for stat in stats)
    return [path.name, len(files), sum(stat.st_size for stat in stats), newest]


def _read_stamp(folder: Path) -> dict[str, list]:
    try:
        return dict(json.loads((folder / _STAMP).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _write(
    containers: Sequence[Container], ids: Sequence[str], folder: Path, scaled_by: Sequence[Container]
) -> Iterator[str]:
    """Write the images and yield their names."""
    stems = _stems(ids)
    pictures = chain.from_iterable(each.pictures() for each in containers)
    scale = _scale_of(scaled_by)
    title = f"images of {containers[0].path.name}"
    for stem, picture in zip(stems, Progress(pictures, total=len(ids), desc=title, unit="image"), strict=False):
        data = picture if isinstance(picture, bytes) else _png(picture if scale is None else scale.shades(picture))
        suffix = suffix_of(data) or ".img"
        name = stem if stem.lower().endswith(suffix) else stem + suffix
        (folder / name).write_bytes(data)
        yield name


def _stems(ids: Sequence[str]) -> list[str]:
    """A file name without suffix for each id: the id itself if it can be one; with a number if there are several."""
    counts = Counter(name.lower() for name in ids)
    seen: Counter[str] = Counter()
    stems = []
    for row, name in enumerate(ids, 1):
        key = name.lower()
        seen[key] += 1
        if not _SAFE.fullmatch(name):
            stems.append(f"row {row}")
        else:
            stems.append(name if counts[key] == 1 else f"{name} ({seen[key]})")
    return stems


def _png(shades: np.ndarray) -> bytes:
    """A PNG of uint8 ``[H, W]`` or ``[H, W, C]``: the first three channels; the mean of two is the third."""
    if shades.ndim == 3 and shades.shape[2] == 2:
        shades = np.dstack([shades, shades.mean(axis=2).astype(np.uint8)])
    if shades.ndim == 3 and shades.shape[2] > 2:
        shades = shades[..., 2::-1]  # cv2 writes blue, green, red
    return cv2.imencode(".png", np.ascontiguousarray(shades), _FAST)[1].tobytes()


def _scale_of(containers: Sequence[Container]) -> _Scale | None:
    """The scale of numbers; None for encoded images and for bytes, which need none."""
    first = next(_all_pictures(containers), b"")
    if isinstance(first, bytes) or first.dtype == np.uint8:
        return None
    probe = _sample(islice(_all_pictures(containers), _PROBED), _PROBED)
    whole = bool((probe == np.rint(probe)).all())
    low, high = float(probe.min()), float(probe.max())
    if low >= 0 and (high <= 1 or (whole and high <= 255)):
        channels = probe.shape[1]
        return _Scale(np.zeros(channels, np.float32), np.full(channels, 1 if high <= 1 else 255, np.float32))
    numbers = _sample(_all_pictures(containers), sum(map(len, containers)))
    low_high = np.percentile(numbers, _PERCENTILES, axis=0).astype(np.float32)
    return _Scale(low_high[0], low_high[1])


def _all_pictures(containers: Sequence[Container]) -> Iterator[Picture]:
    return chain.from_iterable(each.pictures() for each in containers)


def _sample(pictures, count: int) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Numbers of all pictures, at regular places of each: ``[M, channels]``."""
    chosen = []
    for picture in pictures:
        numbers = np.nan_to_num(picture.reshape(-1, picture.shape[2] if picture.ndim == 3 else 1))
        chosen.append(numbers[:: max(1, len(numbers) * count // _SAMPLED)].astype(np.float32))
    return np.concatenate(chosen)
