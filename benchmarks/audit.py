"""The search for copies: how long it takes beside the pass that builds the cache, and how much memory.

    python benchmarks/audit.py [--counts N ...] [--images FOLDER] [--copies N]

Draws as many images of 64 pixels. One in a hundred is a changed copy of another one: mirrored, cropped to 85 % of a
side or more, compressed to JPEG at quality 50 or more, or brightened. Each set is measured in a process of its own: the
seconds of the cache pass, which takes the fingerprints, and of the search, by the clock and of the processor; the
memory that the search adds, without the pages of the cache's file; the share of the changed copies of each kind that is
found, and of the other images that is taken for copies. With --images the images of a folder are taken in place of
drawn ones; true copies among them count as others.
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
from benchmarks.measuring import own_memory, spent, timed
from competition.spec import Split
from competition.task import Task
from pipeline.data.cache import open_cache
from pipeline.findings.duplicates import exact_duplicates, similar_pictures
from pipeline.findings.finding import Finding
from pipeline.findings.joined import Joined
from pipeline.findings.pictures import Pictures
from pipeline.runtime.devices import choose_device

THREADS = 2
SHARE = 100  # one in so many images is a changed copy, by default
SIDE = 64
COPY = "-copy-of-"  # in the name of a copy, between the kind of its change and the name of its original


def main() -> None:
    options = parse_options()
    if options.measured:
        print(json.dumps(measure(options.measured)))
        return
    found = [run(count, options.copies or count // SHARE, options.images) for count in options.counts]
    for count, facts in zip(options.counts, found, strict=True):
        print(f"{count:,} images: {', '.join(f'{name} {value:,.3g}' for name, value in facts.items())}")
    if len(found) > 1:
        more = (found[-1]["MB"] - found[0]["MB"]) * 2**20 / (options.counts[-1] - options.counts[0])
        print(f"{more:.0f} bytes of memory for each further image")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000], metavar="N", help="images")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="copy and measure the images of this folder")
    parser.add_argument("--copies", type=int, metavar="N", help="changed copies among them (default: one in a hundred)")
    parser.add_argument("--measured", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def run(count: int, copies: int, images: Path | None) -> dict[str, float]:
    """Draw the images or link to those of the folder, plant copies, and measure in another process."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, originals = Path(scratch) / "images", count - copies
        if images is None:
            draw_images(folder, originals, SIDE, SIDE)
        else:
            link_images(folder, images, originals)
        plant(folder, copies)
        command = [sys.executable, __file__, "--measured", str(folder)]
        return json.loads(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
        )


def link_images(folder: Path, images: Path, count: int) -> None:
    folder.mkdir()
    paths = sorted(path for path in images.rglob("*") if path.suffix.lower() in SUFFIXES)
    for number, path in enumerate(paths[:count]):
        (folder / f"{number:06}{path.suffix}").symlink_to(path.resolve())


def plant(folder: Path, count: int) -> None:
    """Write changed copies of that many of the images, as many of each kind."""
    rng, kinds = np.random.default_rng(0), list(CHANGES)
    for number, path in enumerate(rng.permutation(sorted(folder.iterdir()))[:count]):
        kind = kinds[number % len(kinds)]
        image = CHANGES[kind](cv2.imread(str(path)), rng)
        quality = int(rng.integers(50, 90)) if kind == "compressed" else 95
        name = f"{kind}{COPY}{path.stem}.{'jpg' if kind == 'compressed' else 'png'}"
        cv2.imwrite(str(folder / name), image, [cv2.IMWRITE_JPEG_QUALITY, quality])


def cropped(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A part of the image that lies anywhere in it."""
    height, width = (int(np.ceil(side * rng.uniform(0.85, 1))) for side in image.shape[:2])
    down, right = rng.integers(image.shape[0] - height + 1), rng.integers(image.shape[1] - width + 1)
    return image[down : down + height, right : right + width]


CHANGES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "mirrored": lambda image, rng: cv2.flip(image, int(rng.integers(2))),
    "cropped": cropped,
    "compressed": lambda image, rng: image,
    "brightened": lambda image, rng: cv2.convertScaleAbs(image, alpha=rng.uniform(1.05, 1.25), beta=rng.uniform(5, 30)),
}


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
        found, search, work = spent(lambda: [*exact_duplicates(joined), similar_pictures(joined)])
    seconds = {"seconds of the cache pass": build, "of the search": search, "of the processor": work}
    return {**seconds, "MB": held(), **judged(found, paths)}


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
    """The share of the changed copies of each kind that were found, and of the other images taken for copies."""
    pairs = {pair for finding in found for pair in zip(finding.table["id"], finding.table["other_id"], strict=True)}
    stems = {frozenset(Path(name).stem for name in pair) for pair in pairs}
    planted = {frozenset((path.stem, path.stem.split(COPY)[1])): path.stem for path in paths if COPY in path.stem}
    others = {stem for pair in stems - set(planted) for stem in pair if COPY not in stem}
    facts = {}
    for kind in CHANGES:
        own = {pair for pair, stem in planted.items() if stem.startswith(kind)}
        facts[kind] = len(own & stems) / max(len(own), 1)
    return facts | {"other images taken for copies": len(others) / max(len(paths) - len(planted), 1)}


if __name__ == "__main__":
    main()
