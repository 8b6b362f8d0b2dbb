"""The work of several ranks in the tests: torchrun ... tests/pipeline/on_ranks.py learn FOLDER|fail RANK.

``forked`` starts the ranks without torchrun, as forks of a process that has already imported everything.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import json
import multiprocessing
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.util import Finalize

import numpy as np
import pytest
import torch
from torch import nn

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
from pipeline.training import symmetries
from tests.commands import Done, start_clock
from tests.stand_in import wait_until

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.pipeline.on_ranks", "pipeline.train", "pipeline.tune"])

IMAGES, BATCH, CLASSES, SIDE = 40, 10, 4, 12
TO_UNIT = Normalisation((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
CONSTANT = {"name": "constant"}
NORMS = ("none", "before")


def forked(ranks: int, logs: Path, task: str, *arguments: object) -> list[Done]:
    """Run a task on several ranks. Returns status and output of each rank. For the arguments see ``begun``."""
    return ended(begun(ranks, logs, task, *arguments), logs)


def begun(ranks: int, logs: Path, task: str, *arguments: object) -> list[multiprocessing.Process]:
    """Start a task on several ranks. Returns their processes.

    logs: new folder for what the ranks print; task: a command, or one of TASKS.
    """
    logs.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(ranks)}
    started = []
    for rank in range(ranks):
        environment = meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(ranks)}
        place, words = logs / str(rank), [str(argument) for argument in arguments]
        started.append(FORKS.Process(target=be_a_rank, args=(environment, place, task, words)))
        started[-1].start()
    return started


def ended(started: list[multiprocessing.Process], logs: Path) -> list[Done]:
    """Wait for the ranks. Returns status and output of each."""
    for process in started:
        process.join()
    return [
        Done(process.exitcode, *((logs / f"{rank}.{stream}").read_text() for stream in ("out", "err")))
        for rank, process in enumerate(started)
    ]


def be_a_rank(environment: dict[str, str], place: Path, task: str, arguments: list[str]) -> None:
    """Run the task as one of the ranks, with stdout and stderr redirected to files."""
    os.environ |= environment
    for stream, kind in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{place}.{kind}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    start_clock(pytest.MonkeyPatch(), seconds_ago=0)
    symmetries.STEPS = 16  # as in all tests that do not look at the outcome of the check
    if task in TASKS:
        run_main(main, [task, *arguments])
    getattr(commands, task)(arguments)


@distributed.distributed_main
def main(arguments: list[str]) -> None:
    task, argument = arguments
    TASKS[task](argument)


def learn(folder: str) -> None:
    use_helpers(Path(folder))
    train_both(Path(folder))


def use_helpers(folder: Path) -> None:
    """Call the functions of ``distributed`` on every rank and write their results to ``seen.json``."""
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
    """The computed rows, and how many of them each rank computed."""
    computed = []

    def compute(rows: slice) -> np.ndarray:
        computed.extend(range(count)[rows])
        return np.arange(count)[rows]

    return [distributed.shared_out(compute, count).tolist(), distributed.from_each(len(computed))]


def train_both(folder: Path) -> None:
    """Train one network with batch norm and one without, check that all ranks end with equal weights, and save them.

    When a rank exits, it records that the threads of the process group have ended.
    """
    assert "gloo" in thread_names()
    Finalize(None, note_that_gloo_has_ended, [folder / f"ended-{distributed.rank()}"], exitpriority=0)
    devices._native_bfloat16 = lambda: False  # rounding to bfloat16 would hide small errors
    for norm in NORMS:
        training = train(folder / norm, norm)
        weights = {name: value.numpy() for name, value in training.network.state_dict().items()}
        digests = distributed.from_each(b"".join(value.tobytes() for value in weights.values()))
        assert len(set(digests)) == 1
        if distributed.is_main():
            np.savez(folder / f"{norm}.npz", **weights)


def thread_names() -> str:
    """The names of this process's threads, one a line."""
    names = []
    for path in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # the thread has just ended
            names.append(path.read_text())
    return "".join(names)


def note_that_gloo_has_ended(file: Path) -> None:
    """Create the file once no gloo thread is left. A joined thread may stay listed for a moment, so this waits."""
    wait_until(lambda: "gloo" not in thread_names())
    file.touch()


def train(folder: Path, norm: str, hook: Callable | None = None) -> Training:
    """Train in two stages, the second with two optimisers, and average the weights. Only the batches are random."""
    stages = {"after": 1, "optimiser": {"name": "muon", "lr": 0.05}, "schedule": {"name": "one-cycle"}}
    recipe = NeuralRecipe(
        name="small", summary="", kind="neural", network={"name": "cnn"}, epochs=4, batch_size=BATCH, averaging=0.2,
        train="head", optimiser={"name": "adam", "lr": 0.003}, schedule=CONSTANT, stages=[stages],
    )  # fmt: skip
    torch.manual_seed(0)
    network = build_network("cnn", CLASSES, (SIDE, SIDE), filters=[4, 6], norm=norm, pool=2, dense=[8])
    predictor = Predictor(network, TO_UNIT, (SIDE, SIDE), torch.device("cpu"))
    if hook is not None:
        network.register_forward_pre_hook(hook)
    training = Training(predictor, recipe, chain([]), 0, folder)
    training.resume()
    segments = Planner(recipe, IMAGES // BATCH, SIDE).fixed(recipe.epochs)
    training.run(draw(IMAGES, seed=1), draw(10, seed=2), segments, "small")
    return training


def draw(count: int, seed: int) -> LabelledImages:
    """``count`` images of noise; each class is brighter than the one before."""
    labels = np.arange(count) % CLASSES
    noise = np.random.default_rng(seed).integers(0, 128, (count, SIDE, SIDE, 3))
    return LabelledImages((noise + 40 * labels[:, None, None, None]).clip(0, 255).astype(np.uint8), labels)


def fail(rank: str) -> None:
    """Fail on one rank while the others wait for it, or work side by side with it."""
    if rank == "side-by-side":
        distributed.side_by_side(fail_at_one, 4)
    if distributed.rank() == int(rank):
        raise UserError(f"rank {rank} is wrong; fix it")
    distributed.from_each(None)


def exhaust(folder: str) -> None:
    """Train two ranks together, the second of which has memory for three images only: of ten, it would get five."""

    def check(network: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if distributed.rank() == 1 and len(inputs[0]) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    training = train(Path(folder), "before", check)
    assert distributed.from_each([segment.parts for segment in training.segments]) == [[2] * 4] * 2
    digests = distributed.from_each(
        b"".join(value.numpy().tobytes() for value in training.network.state_dict().values())
    )
    assert len(set(digests)) == 1


def fail_at_one(number: int) -> None:
    if number == 1:
        raise UserError("number 1 is wrong; fix it")


TASKS = {"learn": learn, "fail": fail, "exhaust": exhaust}

if __name__ == "__main__":
    run_main(main)
