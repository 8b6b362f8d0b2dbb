"""The image cache: how fast it is built and opened, when it pays off, and how much memory it takes.

    python benchmarks/cache.py [--images FOLDER] [--count N] [--epochs E] [--drawn WIDTH HEIGHT]

Without --images it draws its own. They are cached at the size that train.py would choose. Everything is measured in one
run, over the same files, with two threads for each side, in turns. First the medians of building the cache and of a
bare cv2.imread loop, by the clock and, for a machine that others use, of the processor. Then E epochs of augmented
batches from the cache, whose building counts, and from the files, which cv2.imread reads in every epoch.
"""

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import peak_memory, spent, timed
from pipeline.data.cache import ImageCache, open_cache
from pipeline.data.fitting import resize
from pipeline.data.image_size import Means, choose_sizes
from pipeline.runtime.devices import choose_device

THREADS = 2
ROUNDS = 5
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
MANY = 100_000
BATCH = 256


def main() -> None:
    options = parse_options()
    if options.peak_memory:
        open_cache(sorted(options.peak_memory.iterdir()), options.peak_memory.with_name("caches"), threads=THREADS)
        print(peak_memory())
        return
    choose_device("cpu")  # as train.py does, which keeps freed memory: without it, each image would get new pages
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.images or draw_images(Path(scratch) / "images", options.count or 20_000, *options.drawn)
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[: options.count]
        sizes = choose_sizes(paths, Means(len(paths)))
        opened = partial(open_cache, paths, size=sizes.cached, threads=THREADS, fit=sizes.fit)
        compare_speed(paths, Path(scratch), opened)
        if options.epochs:
            compare_epochs(paths, Path(scratch), options.epochs, opened)
            compare_memory(Path(scratch))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="measure on the images in this folder")
    parser.add_argument("--count", type=int, metavar="N", help="take only the first N of them")
    parser.add_argument("--epochs", type=int, default=10, metavar="E", help="epochs of augmented batches; 0: none")
    parser.add_argument(
        "--drawn", type=int, nargs=2, default=(64, 64), metavar=("WIDTH", "HEIGHT"), help="size of the images to draw"
    )
    parser.add_argument("--peak-memory", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def draw_images(folder: Path, count: int, width: int = 64, height: int = 64) -> Path:
    """Smooth random images with a little noise: JPEGs about as large as photographs of 64x64 pixels."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        image = cv2.resize(rng.uniform(0, 255, (6, 6, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
        image += rng.normal(0, 8, image.shape)
        cv2.imwrite(str(folder / f"{number:06}.jpg"), image.clip(0, 255).astype(np.uint8))
    return folder


def compare_speed(paths: list[Path], scratch: Path, opened_in: Callable[..., ImageCache]) -> None:
    """opened_in: opens the images' cache in a ``folder``."""
    builds, loops, openings = [], [], []
    for number in range(ROUNDS):
        caches = scratch / f"caches{number}"
        opened = partial(opened_in, folder=caches)
        builds.append(spent(opened)[1:])
        loops.append(spent(partial(imread_all, paths))[1:])
        openings.append(timed(opened)[1])
        shutil.rmtree(caches)  # its memory serves the next round: a machine's first touch of memory is slow
    build, build_work = np.median(builds, axis=0)
    loop, loop_work = np.median(loops, axis=0)
    print(f"{len(paths):,} files, {THREADS} threads, medians of {ROUNDS} rounds")
    print(f"building the cache   {len(paths) / build:10,.0f} images/s")
    print(f"bare cv2.imread loop {len(paths) / loop:10,.0f} images/s")
    print(f"ratio                {loop / build:10.2f}")
    print(f"in processor seconds {loop_work / build_work:10.2f}")
    print(f"opening it again     {median(openings):10.2f} s")


def imread_all(paths: list[Path]) -> None:
    """Nothing but cv2.imread, each thread over its own share of the files."""

    def read(share: list[str]) -> None:
        for path in share:
            cv2.imread(path)

    names = [str(path) for path in paths]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(read, [names[thread::THREADS] for thread in range(THREADS)]))


def compare_epochs(paths: list[Path], scratch: Path, epochs: int, opened_in: Callable[..., ImageCache]) -> None:
    """The same augmented batches from the cache, built first, and from files that are decoded in every epoch."""
    from pipeline.data.augment import chain, shift, symmetric  # here, or it would count as the cache's memory

    augment = chain([shift(0.0625), symmetric("all")])
    cache, build = timed(partial(opened_in, folder=scratch / "caches"))

    def from_cache(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return augment(cache[rows], rng)

    def from_files(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return augment(read_files(paths, cache.shape[1:3], rows), rng)

    cached, decoded = [], []
    for epoch in range(epochs):
        cached.append(timed(partial(deliver, from_cache, len(paths), epoch))[1])
        decoded.append(timed(partial(deliver, from_files, len(paths), epoch))[1])
    print(f"augmented batches over {epochs} epochs, {THREADS} threads")
    print_epochs(len(paths), build, cached, decoded)


def print_epochs(images: int, build: float, cached: list[float], decoded: list[float]) -> None:
    """build: seconds; cached, decoded: seconds of each epoch."""
    with_cache, pays = build + sum(cached), break_even(build, median(cached), median(decoded))
    print(f"from the cache       {len(cached) * images / with_cache:10,.0f} images/s, building it counted in")
    print(f"decoding each epoch  {len(decoded) * images / sum(decoded):10,.0f} images/s")
    print(f"ratio                {sum(decoded) / with_cache:10.2f}")
    print(f"the cache pays from  {'no epoch on' if pays is None else f'epoch {pays} on':>10}")


def deliver(load: Callable[[np.ndarray, np.random.Generator], np.ndarray], count: int, epoch: int) -> None:
    """One epoch: ``load`` every image once, batch by batch, in an order that the epoch decides.

    load: row numbers and generator to a batch, uint8 ``[n, H, W, 3]``.
    """
    order = np.random.default_rng(epoch).permutation(count)
    batches = [np.sort(order[start : start + BATCH]) for start in range(0, count, BATCH)]
    generators = [np.random.default_rng((epoch, number)) for number in range(len(batches))]
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(load, batches, generators):
            pass


def read_files(paths: list[Path], size: tuple[int, int], rows: np.ndarray) -> np.ndarray:
    """The same images as the cache holds, decoded now, by cv2 alone."""
    images = [cv2.imread(str(paths[row]), cv2.IMREAD_COLOR_RGB) for row in rows]
    return np.stack([image if image.shape[:2] == size else resize(image, *size) for image in images])


def break_even(build: float, cached: float, decoded: float) -> int | None:
    """The first epoch by whose end building and reading the cache took no longer than decoding; None if never.

    build: seconds, once; cached, decoded: seconds of an epoch.
    """
    if decoded <= cached:
        return None
    return max(1, math.ceil(build / (decoded - cached)))


def compare_memory(scratch: Path) -> None:
    """Peak memory of whole processes: one that caches next to nothing, and one that caches many images."""
    drawn = sorted(draw_images(scratch / "few", 100).iterdir())
    many = scratch / "many"
    many.mkdir()
    for number in range(MANY):
        os.link(drawn[number % len(drawn)], many / f"{number:06}.jpg")
    for folder in (scratch / "few", many):
        command = [sys.executable, __file__, "--peak-memory", str(folder)]
        peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"peak memory of building a cache of {len(list(folder.iterdir())):7,} images: {peak} MB")


if __name__ == "__main__":
    main()
