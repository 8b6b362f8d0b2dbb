"""When and with which camera images were taken, as their files say (EXIF)."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from PIL import Image

from pipeline.data.native_sizes import THREADS, spread
from pipeline.runtime.time_limit import in_time

SAMPLE, MOST_SAID = 200, 0.5  # files that are looked at first, and the least share of them that must say it
AT_ONCE = 1_000  # files
PAUSE = 60.0  # seconds, at least, between two series of images of one camera
MODEL, EXIF, TAKEN = 0x0110, 0x8769, 0x9003  # EXIF's tags: the camera's model, more tags, and among these the time
FORM = "%Y:%m:%d %H:%M:%S"

Shot = tuple[str, float]  # camera, and seconds


def series(paths: Sequence[Path]) -> list[str] | None:
    """The name of the series that each image belongs to: those that one camera took without a pause.

    An image whose file does not say when it was taken is a series of its own. None if most files do not say it.
    """
    sample = _shots(spread(paths, SAMPLE))
    if sum(shot is not None for shot in sample) < MOST_SAID * max(len(sample), 1):
        return None
    pieces = [_shots(paths[start : start + AT_ONCE]) for start in in_time(range(0, len(paths), AT_ONCE))]
    shots = sorted((shot, row) for row, shot in enumerate(chain.from_iterable(pieces)) if shot is not None)
    names = [str(path) for path in paths]
    name, before, last = "", "", 0.0
    for (camera, seconds), row in shots:
        if not name or camera != before or seconds - last > PAUSE:
            name = f"{camera} {datetime.fromtimestamp(seconds, UTC):{FORM}}".strip()
        names[row], before, last = name, camera, seconds
    return names


def _shots(paths: Sequence[Path]) -> list[Shot | None]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(_shot, paths))


def _shot(path: Path) -> Shot | None:
    """The camera and the time; None if the file does not say when."""
    with suppress(Exception), Image.open(path) as image:  # Pillow's readers raise many types for damaged files
        said = image.getexif() if image.format != "PNG" else Image.Exif()  # a PNG would be decoded
        taken = datetime.strptime(said.get_ifd(EXIF)[TAKEN], FORM).replace(tzinfo=UTC)
        return str(said.get(MODEL, "")).strip("\0 "), taken.timestamp()
    return None
