"""A folder with one file for each channel of an image: ``ID_red.png``, ``ID_green.png``, ``ID_blue.png``.

Where files of the same name lie in several folders, their ids have the folders, too: ``A-01_2_B03`` has the images
``A-01/Plate2/B03_s1_w1.png``, ``A-01/Plate2/B03_s2_w1.png``, and so on, for each site and channel.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from competition.containers.container import Container, Picture, container
from competition.images_on_disk import names_image

Files = dict[tuple[Path, str], dict[str, Path]]  # by folder and name of an image, then by channel
_CHANNEL = re.compile(
    r"(?P<id>.+)[_-](?P<channel>red|green|blue|yellow|nir|rgb|r|g|b|y|swir\d?|vv|vh|hh|hv|dapi|fitc|"
    r"(b|c|w|ch|band|channel)_?\d{1,2}a?)",
    re.IGNORECASE,
)
_SITE = re.compile(r"[_-](s|site|fov)_?\d+", re.IGNORECASE)  # of several on the same well
_NUMBERED = re.compile(r"[a-z]+_?(\d+)", re.IGNORECASE)  # a folder such as Plate2
_COLOURS = (("red", "r"), ("green", "g"), ("blue", "b"))


def read_channels(folder: Path) -> Container | None:
    """A folder, or one below it for each image, with the same two or more channels of every image; else None."""
    files = _files(folder)
    channels = {frozenset(names) for names in files.values()}
    if len(channels) != 1 or len(next(iter(channels))) < 2:
        return None
    chosen = _chosen(sorted(next(iter(channels))))
    ids = pd.DataFrame({"id": _ids(list(files))}, dtype=str)
    return container(folder, "folder of one file a channel", ids, lambda: _pictures(files, chosen))


def _files(folder: Path) -> Files:
    """The files of each image; empty if one among them is not that of a channel."""
    found: Files = defaultdict(dict)
    for path in folder.rglob("*"):
        if names_image(path.name) and not path.name.startswith("._"):
            match = _CHANNEL.fullmatch(path.stem)
            if match is None:
                return {}
            found[path.parent.relative_to(folder), match["id"]][match["channel"].lower()] = path
    return dict(sorted(found.items(), key=lambda item: (item[0][1], item[0][0])))


def _ids(places: Sequence[tuple[Path, str]]) -> list[str]:
    """The names of the images; with their folders and without the site if any two are called the same."""
    names = [name for _, name in places]
    if len(set(names)) == len(names):
        return names
    return ["_".join((*map(_number, folder.parts), _SITE.sub("", name))) for folder, name in places]


def _number(folder: str) -> str:
    match = _NUMBERED.fullmatch(folder)
    return match[1] if match else folder


def _chosen(channels: Sequence[str]) -> list[str]:
    """Red, green and blue; of other channels the first three."""
    colours = [next((name for name in names if name in channels), None) for names in _COLOURS]
    named = [name for name in colours if name is not None]
    return named if len(named) == len(_COLOURS) else list(channels[:3])


def _pictures(files: Files, chosen: Sequence[str]) -> Iterator[Picture]:
    for channels in files.values():
        planes = [_plane(channels[name]) for name in chosen]
        yield np.dstack([_resized(plane, planes[0].shape) for plane in planes])


def _resized(plane: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A plane in the size of another; some bands of satellites are coarser."""
    height, width = shape
    return plane if plane.shape == shape else np.asarray(Image.fromarray(plane).resize((width, height)))


def _plane(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        values = np.asarray(image)
    return values if values.ndim == 2 else values.max(axis=2)  # a colour picture of one channel
