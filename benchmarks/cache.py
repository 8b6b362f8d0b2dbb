"""How fast the image cache is built and opened, beside a bare cv2.imread loop, and how much memory it takes.

python benchmarks/cache.py [--images FOLDER] [--count N]

Without --images it draws its own. Everything is measured in one run: the build and the loop take turns,
over the same files with two threads each, and the medians are compared.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.images.cache import open_cache

THREADS = 2
ROUNDS = 5
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
MANY = 100_000


def main() -> None:
    options = parse_options()
    if options.peak_memory:
        print(peak_memory(options.peak_memory))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.images or draw_images(Path(scratch) / "images", 20_000)
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[: options.count]
        compare_speed(paths, Path(scratch))
        compare_memory(Path(scratch))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="measure on the images in this folder")
    parser.add_argument("--count", type=int, metavar="N", help="take only the first N of them")
    parser.add_argument("--peak-memory", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def draw_images(folder: Path, count: int) -> Path:
    """Smooth random 64x64 images with a little noise: JPEGs about as large as photographs of that size."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        image = cv2.resize(rng.uniform(0, 255, (6, 6, 3)), (64, 64), interpolation=cv2.INTER_CUBIC)
        image += rng.normal(0, 8, image.shape)
        cv2.imwrite(str(folder / f"{number:06}.jpg"), image.clip(0, 255).astype(np.uint8))
    return folder


def compare_speed(paths: list[Path], scratch: Path) -> None:
    builds, loops, openings = [], [], []
    for number in range(ROUNDS):
        caches = scratch / f"caches{number}"
        builds.append(seconds(lambda folder=caches: open_cache(paths, folder, threads=THREADS)))
        loops.append(seconds(lambda: imread_all(paths)))
        openings.append(seconds(lambda folder=caches: open_cache(paths, folder, threads=THREADS)))
        shutil.rmtree(caches)  # its memory serves the next round: a machine's first touch of memory is slow
    build, loop = len(paths) / median(builds), len(paths) / median(loops)
    print(f"{len(paths):,} files, {THREADS} threads, medians of {ROUNDS} rounds")
    print(f"building the cache   {build:10,.0f} images/s")
    print(f"bare cv2.imread loop {loop:10,.0f} images/s")
    print(f"ratio                {build / loop:10.2f}")
    print(f"opening it again     {median(openings):10.2f} s")


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def imread_all(paths: list[Path]) -> None:
    """Nothing but cv2.imread, each thread over its own share of the files."""

    def read(share: list[str]) -> None:
        for path in share:
            cv2.imread(path)

    names = [str(path) for path in paths]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(read, [names[thread::THREADS] for thread in range(THREADS)]))


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


def peak_memory(folder: Path) -> int:
    """Megabytes that this process held at most while it cached the images in ``folder``."""
    open_cache(sorted(folder.iterdir()), folder.with_name("caches"), threads=THREADS)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20


if __name__ == "__main__":
    main()
