"""Attack the pipeline and count how its commands end.

    python benchmarks/torture.py [--kills 500] [--damages 10000] [--rounds 100] [--seed YYYYMMDD]

Kills commands before every change that they make to the file system and at random times, damages what a contest serves
and what commands keep, fills disks, limits memory, and runs commands side by side; then runs them again undisturbed.
Prints one line for each outcome that is not good, then a table: right is the undisturbed submission, or a valid one of
damaged tables. A small disk needs the right to mount one. It runs on Linux, on all cores.
"""

import os

for _library in ("OMP", "MKL", "OPENBLAS"):  # read when they are imported; a fork must not find their threads
    os.environ[f"{_library}_NUM_THREADS"] = "1"

import argparse
import gc
import multiprocessing
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from itertools import chain
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
import torch
from tqdm import tqdm

from benchmarks.attacks import damage, kills, resources, together
from benchmarks.attacks.contest import Contest, Finished, draw_contest, finish
from benchmarks.attacks.forks import GOOD, OUTCOMES, Outcome, forked, one_after_the_other
from benchmarks.attacks.formats import ARCHIVES, FORMATS
from pipeline.training.scores import text_table

Attack = Callable[[], Outcome]
Kind = tuple[str, list[Attack]]

SERVED = {"tables": "*.csv", "images": "*.png"}
STORED = {
    "image caches": "cache/**/*",
    "models": "*.safetensors",
    "predictions": "*.npz",
    "records": "run.json",
    "plans, scores, histories": "*.[jc]s*",
    "every other file": "*",
}
FRESH_SHARE = 3  # of so many kills at a change, one is of --fresh


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    import_all()
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as place:
        finished = finish(Path(place) / "finished")
        found = {name: carried_out(name, attacks) for name, attacks in all_kinds(finished, Path(place), options)}
    print(table(found))
    sys.exit(any(outcome not in GOOD for counts in found.values() for outcome in counts))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=500, help="half before a change, half at a random time")
    parser.add_argument("--damages", type=int, default=10_000, help="damaged files")
    parser.add_argument("--rounds", type=int, default=100, help="of two trainings, of the ledger, of each resource")
    parser.add_argument("--seed", type=int, default=int(f"{datetime.now(UTC):%Y%m%d}"), help="default: the date")
    return parser.parse_args(arguments)


def import_all() -> None:
    """Import everything that the commands import in the course of their work, so that forks begin at once.

    Nothing is computed in this process: a fork would wait for threads that it does not have.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as place:
        names = Path(place) / "names"
        contest = Contest(draw_contest(Path(place) / "pets"), Path(place) / "work")
        forked(one_after_the_other(contest.answer, lambda: names.write_text("\n".join(sys.modules), encoding="utf-8")))
        for name in names.read_text(encoding="utf-8").splitlines():
            with suppress(ImportError):
                import_module(name)
    gc.freeze()  # a collection in a fork would copy every page of what it shares with this process


def all_kinds(finished: Finished, place: Path, options: argparse.Namespace) -> Iterator[Kind]:
    seeds = np.random.default_rng(options.seed).integers(2**32, size=2**16).tolist()
    yield from kinds_of_kills(finished, options.kills, seeds)
    yield from kinds_of_damage(finished, place, options.damages, seeds)
    yield from kinds_of_company(finished, options.rounds, seeds)


def kinds_of_kills(finished: Finished, count: int, seeds: list[int]) -> Iterator[Kind]:
    points = {fresh: kills.count_changes(finished, fresh) for fresh in (False, True)}
    shares = {True: count // 2 // FRESH_SHARE, False: count // 2 - count // 2 // FRESH_SHARE}
    for fresh, share in shares.items():
        places = np.linspace(1, points[fresh], share).round().astype(int).tolist()
        name = f"killed at a change{', --fresh' * fresh}"
        yield name, [partial(kills.at_change, finished, fresh, at) for at in places]
    seconds, others = kills.seconds_of(finished), seeds[: count - count // 2]
    yield "killed at random", [partial(kills.at_random, finished, seconds, seed) for seed in others]


def kinds_of_damage(finished: Finished, place: Path, count: int, seeds: list[int]) -> Iterator[Kind]:
    """As many of each kind: files that contests serve, in every format; what commands keep."""
    interrupted = kills.interrupt(finished, place)
    archives = {kind: damage.archive_and_answer(place / kind, kind) for kind in ARCHIVES}
    attacks: dict[str, Callable[[int], Outcome]] = {
        **{f"damaged {name}": partial(damage.served, pattern) for name, pattern in SERVED.items()},
        **{f"damaged {kind}": partial(damage.packed, *archive) for kind, archive in archives.items()},
        **{f"damaged {pattern}": partial(damage.converted, pattern) for pattern in FORMATS},
        "damaged plans to repeat": partial(damage.planned, finished),
        **{f"damaged {name}": partial(damage.stored, finished, pattern) for name, pattern in STORED.items()},
        "damaged checkpoints": partial(damage.resumed, finished, interrupted),
    }
    for name, attack in attacks.items():
        yield name, [partial(attack, seed) for seed in seeds[: -(-count // len(attacks))]]


def kinds_of_company(finished: Finished, rounds: int, seeds: list[int]) -> Iterator[Kind]:
    """Processes side by side, full disks, little memory."""
    yield "two trainings at once", [partial(together.two_trainings, finished, seed) for seed in seeds[:rounds]]
    yield "four writers of the ledger", [partial(together.four_writers, seed) for seed in seeds[:rounds]]
    yield "little memory", [partial(resources.little_memory, finished, seed) for seed in seeds[:rounds]]
    if problem := resources.problem_with_disks():
        print(f"full disks: skipped, as no small disk can be made here ({problem})")
    else:
        yield "full disks", [partial(resources.full_disk, finished, seed) for seed in seeds[:rounds]]


def carried_out(name: str, attacks: list[Attack]) -> Counter[str]:
    """Count the outcomes; print those that are not good."""
    counts: Counter[str] = Counter()
    with multiprocessing.get_context("fork").Pool() as pool:
        for outcome, seen in tqdm(pool.imap_unordered(call, attacks), name, len(attacks), leave=False):
            counts[outcome] += 1
            if outcome not in GOOD:
                tqdm.write(f"{name}, {outcome}: {seen}")
    return counts


def call(attack: Attack) -> Outcome:
    return attack()


def table(found: dict[str, Counter[str]]) -> str:
    """One row for each kind, and their sum."""
    rows = found | {"sum": Counter(chain.from_iterable(counts.elements() for counts in found.values()))}
    return text_table(
        ("kind", "tried", *OUTCOMES),
        [
            (name, f"{counts.total():,}", *(f"{counts[outcome]:,}" for outcome in OUTCOMES))
            for name, counts in rows.items()
        ],
    )


if __name__ == "__main__":
    main()
