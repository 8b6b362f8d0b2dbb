"""What the tests have several ranks do: torchrun ... tests/pipeline/on_ranks.py learn FOLDER|fail RANK.

``forked`` starts ranks that need not import anything, as they come from a process that has; what they do is the same.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import atexit
import json
import multiprocessing
import os
import socket
from contextlib import suppress

import numpy as np
import pytest
import torch

from competition.errors import UserError
from pipeline import commands
from pipeline.commands import run_main
from pipeline.data.augment import chain
from pipeline.models.fast.normalisation import Normalisation
from pipeline.models.fast.predictor import Predictor
from pipeline.models.networks.registry import build_network
from pipeline.models.neural.batches import LabelledImages
from pipeline.models.neural.time_budget import Planner
from pipeline.models.neural.training import Training
from pipeline.models.recipe import NeuralRecipe
from pipeline.runtime import devices, distributed
from tests.commands import Done, start_clock
from tests.stand_in import wait_until

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.pipeline.on_ranks", "pipeline.train"])

IMAGES, BATCH, CLASSES, SIDE = 40, 10, 4, 12
TO_UNIT = Normalisation((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
CONSTANT = {"name": "constant"}
NORMS = ("none", "before")


def forked(ranks: int, logs: Path, task: str, *arguments: object) -> list[Done]:
    """How each of the ranks ends. task: a command, or ``fail``; logs: a new folder for what they print."""
    logs.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(ranks)}
    started = []
    for rank in range(ranks):
        environment = meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(ranks)}
        place, words = logs / str(rank), [str(argument) for argument in arguments]
        started.append(FORKS.Process(target=be_a_rank, args=(environment, place, task, words)))
        started[-1].start()
    for process in started:
        process.join()
    return [
        Done(process.exitcode, *((logs / f"{rank}.{stream}").read_text() for stream in ("out", "err")))
        for rank, process in enumerate(started)
    ]


def be_a_rank(environment: dict[str, str], place: Path, task: str, arguments: list[str]) -> None:
    """Do the task as one of the ranks, printing into files."""
    os.environ |= environment
    for stream, kind in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{place}.{kind}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    start_clock(pytest.MonkeyPatch(), seconds_ago=0)
    if task == "fail":
        run_main(main, ["fail", *arguments])
    getattr(commands, task)(arguments)


@distributed.distributed_main
def main(arguments: list[str]) -> None:
    task, argument = arguments
    {"learn": learn, "fail": fail}[task](argument)


def learn(folder: str) -> None:
    use_helpers(Path(folder))
    train_both(Path(folder))


def use_helpers(folder: Path) -> None:
    """Write down what each rank sees of them."""
    rank, marks = distributed.rank(), folder / "marks"
    with distributed.main_first():
        found = marks.is_file()
        if distributed.is_main():
            marks.touch()
    seen = {
        "rank": rank,
        "broadcast": distributed.broadcast(f"from {rank}"),
        "from_main": distributed.from_main(lambda: [rank, distributed.world_size(), distributed.from_main(lambda: 7)]),
        "each_from_main": list(distributed.each_from_main(range(10 * rank, 10 * rank + 3))),
        "found": found,
        "summed": distributed.summed(torch.tensor([rank, 1.0])).tolist(),
        "shared_out": {count: shared_out(count) for count in (1, 3, 10)},
    }
    everything = distributed.from_each(seen)
    if distributed.is_main():
        (folder / "seen.json").write_text(json.dumps(everything))


def shared_out(count: int) -> list[list[int]]:
    """The rows, and how many of them this rank has computed, as all ranks see it."""
    computed = []

    def compute(rows: slice) -> np.ndarray:
        computed.extend(range(count)[rows])
        return np.arange(count)[rows]

    return [distributed.shared_out(compute, count).tolist(), distributed.from_each(len(computed))]


def train_both(folder: Path) -> None:
    """Train a network with batch norm and one without; write the weights that all ranks end with.

    On its way out each rank notes that the group's threads have ended.
    """
    assert "gloo" in thread_names()
    atexit.register(note_that_gloo_has_ended, folder / f"ended-{distributed.rank()}")
    devices._native_bfloat16 = lambda: False  # its rounding would hide a small mistake
    for norm in NORMS:
        training = train(folder / norm, norm)
        weights = {name: value.numpy() for name, value in training.network.state_dict().items()}
        digests = distributed.from_each(b"".join(value.tobytes() for value in weights.values()))
        assert len(set(digests)) == 1
        if distributed.is_main():
            np.savez(folder / f"{norm}.npz", **weights)


def thread_names() -> str:
    """The names of this process's threads, a line each."""
    names = []
    for path in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # it has just ended
            names.append(path.read_text())
    return "".join(names)


def note_that_gloo_has_ended(file: Path) -> None:
    """Leave the file; where the threads stay, none. A thread that was joined may be listed for a moment longer."""
    wait_until(lambda: "gloo" not in thread_names())
    file.touch()


def train(folder: Path, norm: str) -> Training:
    """Two stages, the second with two optimisers, and averaged weights; nothing is drawn at random but the batches."""
    stages = {"after": 1, "optimiser": {"name": "muon", "lr": 0.05}, "schedule": {"name": "one-cycle"}}
    recipe = NeuralRecipe(
        name="small", summary="", kind="neural", network={"name": "cnn"}, epochs=4, batch_size=BATCH, averaging=0.2,
        train="head", optimiser={"name": "adam", "lr": 0.003}, schedule=CONSTANT, stages=[stages],
    )  # fmt: skip
    torch.manual_seed(0)
    network = build_network("cnn", CLASSES, (SIDE, SIDE), filters=[4, 6], norm=norm, pool=2, dense=[8])
    predictor = Predictor(network, TO_UNIT, (SIDE, SIDE), torch.device("cpu"))
    training = Training(predictor, recipe, chain([]), 0, folder)
    training.resume()
    segments = Planner(recipe, IMAGES // BATCH, SIDE).fixed(recipe.epochs)
    training.run(draw(IMAGES, seed=1), draw(10, seed=2), segments, "small")
    return training


def draw(count: int, seed: int) -> LabelledImages:
    """Noise, brighter for each class."""
    labels = np.arange(count) % CLASSES
    noise = np.random.default_rng(seed).integers(0, 128, (count, SIDE, SIDE, 3))
    return LabelledImages((noise + 40 * labels[:, None, None, None]).clip(0, 255).astype(np.uint8), labels)


def fail(rank: str) -> None:
    """One rank alone fails, while the others wait for it."""
    if distributed.rank() == int(rank):
        raise UserError(f"rank {rank} is wrong; fix it")
    distributed.from_each(None)


if __name__ == "__main__":
    run_main(main)
