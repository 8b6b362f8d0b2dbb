"""What the tests have several ranks do: torchrun ... tests/pipeline/on_ranks.py helpers FILE|train FOLDER|fail RANK."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import atexit
import json
from contextlib import suppress

import numpy as np
import torch

from competition.errors import UserError
from pipeline.data.augment import chain
from pipeline.models.fast.normalisation import Normalisation
from pipeline.models.fast.predictor import Predictor
from pipeline.models.networks.registry import build_network
from pipeline.models.neural.batches import LabelledImages
from pipeline.models.neural.time_budget import Planner
from pipeline.models.neural.training import Training
from pipeline.models.recipe import NeuralRecipe
from pipeline.runtime import devices, distributed
from pipeline.settings import run_door
from tests.stand_in import wait_until

IMAGES, BATCH, CLASSES, SIDE = 40, 10, 4, 12
TO_UNIT = Normalisation((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
CONSTANT = {"name": "constant"}
NORMS = ("none", "before")


@distributed.distributed_main
def main(arguments: list[str]) -> None:
    task, argument = arguments
    {"helpers": use_helpers, "train": train_both, "fail": fail}[task](argument)


def use_helpers(file: str) -> None:
    """Write down what each rank sees of them."""
    rank, path = distributed.rank(), Path(file)
    marks = path.with_name("marks")
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
        path.write_text(json.dumps(everything))


def shared_out(count: int) -> list[list[int]]:
    """The rows, and how many of them this rank has computed, as all ranks see it."""
    computed = []

    def compute(rows: slice) -> np.ndarray:
        computed.extend(range(count)[rows])
        return np.arange(count)[rows]

    return [distributed.shared_out(compute, count).tolist(), distributed.from_each(len(computed))]


def train_both(folder: str) -> None:
    """Train a network with batch norm and one without; write the weights that all ranks end with.

    On its way out each rank notes that the group's threads have ended.
    """
    assert "gloo" in thread_names()
    atexit.register(note_that_gloo_has_ended, Path(folder, f"ended-{distributed.rank()}"))
    devices._native_bfloat16 = lambda: False  # its rounding would hide a small mistake
    for norm in NORMS:
        training = train(Path(folder, norm), norm)
        weights = {name: value.numpy() for name, value in training.network.state_dict().items()}
        digests = distributed.from_each(b"".join(value.tobytes() for value in weights.values()))
        assert len(set(digests)) == 1
        if distributed.is_main():
            np.savez(Path(folder, f"{norm}.npz"), **weights)


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
    run_door(main)
