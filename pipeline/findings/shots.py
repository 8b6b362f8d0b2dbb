"""When and with which camera images were taken, as their files say (EXIF)."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from PIL import Image

from pipeline.data.native_sizes import THREADS, spread
from pipeline.runtime.time_limit import in_time

SAMPLE, MOST_SAID = 200, 0.5  # files that are looked at first, and the least share of them that says when
AT_ONCE = 1_000  # files
PAUSE = 60.0  # seconds, at least, between two series of images of one camera
MODEL, EXIF, TAKEN = 0x0110, 0x8769, 0x9003  # EXIF's tags: the camera's model, more tags, and the time
FORM = "%Y:%m:%d %H:%M:%S"

Shot = tuple[str, float]  # camera, and seconds


def series(paths: Sequence[Path]) -> list[str] | None:
    """The series of images that each file belongs to: taken by one camera without a pause.

    A file that does not say when it was taken is a series of its own. None if most files do not say it.
    """
    sample = _shots(spread(paths, SAMPLE))
    if sum(shot is not None for shot in sample) < MOST_SAID * max(len(sample), 1):
        return None
    found = [
        shot for start in in_time(range(0, len(paths), AT_ONCE)) for shot in _shots(paths[start : start + AT_ONCE])
    ]
    names = [str(path) for path in paths]
    before: Shot | None = None
    for row in sorted((row for row, shot in enumerate(found) if shot), key=lambda row: found[row]):
        camera, seconds = found[row]
        is_new = before is None or camera != before[0] or seconds - before[1] > PAUSE
        name = f"{camera} {datetime.fromtimestamp(seconds):{FORM}}".strip() if is_new else name
        names[row], before = name, found[row]
    return names


def _shots(paths: Sequence[Path]) -> list[Shot | None]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(_shot, paths))


def _shot(path: Path) -> Shot | None:
    """The camera and the time; None if the file does not say it."""
    with suppress(Exception):  # Pillow's readers raise many types for damaged files
        with Image.open(path) as image:
            said = image.getexif() if image.format != "PNG" else {}
            taken = said.get_ifd(EXIF)[TAKEN]
            return str(said.get(MODEL, "")).strip("\0 "), datetime.strptime(taken, FORM).timestamp()
    return None
