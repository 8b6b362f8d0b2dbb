"""The search for copies: how long it takes beside the pass that builds the cache, and how much memory.

    python benchmarks/audit.py [--counts N ...] [--images FOLDER]

Draws as many images of 64 pixels. One in a hundred is a changed copy of another one: mirrored, cropped to 85 % of a
side or more, compressed to JPEG at quality 50 or more, or brightened. Each set is measured in a process of its own: the
seconds of the cache pass, which takes the fingerprints, and of the search; the memory that the search adds, without the
pages of the cache's file; how many of the changed copies are found, and how many other images are taken for copies.
With --images the images of a folder are taken in place of drawn ones; true copies among them count as others.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.cache import SUFFIXES, draw_images
from benchmarks.measuring import own_memory, timed
from competition.spec import Split
from competition.task import Task
from pipeline.data.cache import open_cache
from pipeline.findings.duplicates import exact_duplicates, similar_pictures
from pipeline.findings.finding import Finding
from pipeline.findings.joined import Joined
from pipeline.findings.pictures import Pictures
from pipeline.runtime.devices import choose_device

THREADS = 2
SHARE = 100  # one in so many images is a changed copy
SIDE = 64
COPY = "copy-of-"  # begins the name of a copy, before that of its original


def main() -> None:
    options = parse_options()
    if options.measured:
        print(json.dumps(measure(options.measured)))
        return
    found = [run(count, options.images) for count in options.counts]
    for count, facts in zip(options.counts, found, strict=True):
        print(f"{count:,} images: {', '.join(f'{name} {value:,.3g}' for name, value in facts.items())}")
    if len(found) > 1:
        more = (found[-1]["MB"] - found[0]["MB"]) * 2**20 / (options.counts[-1] - options.counts[0])
        print(f"{more:.0f} bytes of memory for each further image")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000], metavar="N", help="images")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="copy and measure the images of this folder")
    parser.add_argument("--measured", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def run(count: int, images: Path | None) -> dict[str, float]:
    """Draw the images or link to those of the folder, plant copies, and measure in another process."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, originals = Path(scratch) / "images", count - count // SHARE
        if images is None:
            draw_images(folder, originals, SIDE, SIDE)
        else:
            link_images(folder, images, originals)
        plant(folder, count // SHARE)
        command = [sys.executable, __file__, "--measured", str(folder)]
        return json.loads(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
        )


def link_images(folder: Path, images: Path, count: int) -> None:
    folder.mkdir()
    paths = sorted(path for path in images.rglob("*") if path.suffix.lower() in SUFFIXES)
    for number, path in enumerate(paths[:count]):
        (folder / f"{number:06}{path.suffix}").symlink_to(path)


def plant(folder: Path, count: int) -> None:
    """Write changed copies of that many of the images."""
    rng = np.random.default_rng(0)
    for path in rng.permutation(sorted(folder.iterdir()))[:count]:
        image, quality = cv2.imread(str(path)), 90
        match rng.integers(4):
            case 0:
                image = cv2.flip(image, int(rng.integers(2)))
            case 1:
                height, width = (int(np.ceil(side * rng.uniform(0.85, 1))) for side in image.shape[:2])
                down, right = rng.integers(image.shape[0] - height + 1), rng.integers(image.shape[1] - width + 1)
                image = image[down : down + height, right : right + width]
            case 2:
                quality = int(rng.integers(50, 90))
            case 3:
                image = cv2.convertScaleAbs(image, alpha=rng.uniform(1.05, 1.25), beta=rng.uniform(5, 30))
        cv2.imwrite(str(folder / f"{COPY}{path.stem}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, quality])


def measure(folder: Path) -> dict[str, float]:
    """The facts of the images in a folder, whose caches lie beside it."""
    choose_device("cpu")
    paths = sorted(folder.iterdir())
    first = cv2.imread(str(paths[0]))
    caches = folder.with_name("caches")
    build = timed(lambda: open_cache(paths, caches, first.shape[:2], THREADS, "crop"))[1]
    split = Split("labelled", tuple(path.name for path in paths), tuple(paths), np.zeros(len(paths), np.int64))
    with most_memory() as held:
        images = open_cache(paths, caches, first.shape[:2], THREADS, "crop")
        joined = Joined(Task((0, 1)), (Pictures(split, images.fingerprints, len(split), "val", images),))
        found, search = timed(lambda: [*exact_duplicates(joined), similar_pictures(joined)])
    return {"seconds of the cache pass": build, "of the search": search, "MB": held(), **judged(found, paths)}


@contextmanager
def most_memory() -> Iterator[Callable[[], float]]:
    """Gives a function that returns the most megabytes by which the process's own memory has grown in this block."""
    before, seen, is_over = own_memory(), [0], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.01):
            seen.append(max(seen.pop(), own_memory() - before))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: seen[0] / 2**20
    finally:
        is_over.set()
        watcher.join()


def judged(found: list[Finding], paths: list[Path]) -> dict[str, float]:
    """How many of the changed copies were found, and how many of the other images were taken for copies."""
    pairs = {pair for finding in found for pair in zip(finding.table["id"], finding.table["other_id"], strict=True)}
    copies = {path.stem.removeprefix(COPY): path.stem for path in paths if path.stem.startswith(COPY)}
    stems = [frozenset(Path(name).stem for name in pair) for pair in pairs]
    planted = set(map(frozenset, copies.items()))
    others = {stem for pair in stems if pair not in planted for stem in pair if not stem.startswith(COPY)}
    return {
        "found of the copies": len(planted & set(stems)) / max(len(planted), 1),
        "other images taken for copies": len(others) / max(len(paths) - len(copies), 1),
    }


if __name__ == "__main__":
    main()
