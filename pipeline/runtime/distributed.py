"""One network trained by several processes, the ranks, that torchrun starts; without it nothing here has any effect.

On one machine, or on each of several, all of which see the same data and work folder:

    torchrun --nproc_per_node=2 pipeline/train.py ...
    torchrun --nproc_per_node=2 --nnodes=2 --rdzv_backend=c10d --rdzv_endpoint=HOST:29400 pipeline/train.py ...

One rank a GPU; on CPUs one a machine or a few, which share its cores. Each rank takes its part of every batch and the
gradients are averaged, so steps, learning rate and schedule are those of one process. Rank 0 is the main one: it alone
writes, prints, looks at the clock and trains the classical models, while the others wait. A run that was ended goes on
with the same command, with any number of ranks. Where one rank fails, it says why and all end; torchrun adds a report.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
import torch.distributed.nn  # imported after the ranks have met, as DDP would, it keeps hold of their group for good
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

LONGEST_WAIT = timedelta(days=1)  # for the main rank, which may decode or train something classical meanwhile
CPU = torch.device("cpu")

Thing = TypeVar("Thing")
Given = TypeVar("Given")

_alone = False  # while the main rank does something by itself


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def local_rank() -> int:
    """The number of this rank on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    """How many ranks work together: 1 without torchrun, and while the main rank works by itself."""
    return dist.get_world_size() if dist.is_initialized() and not _alone else 1


def is_main() -> bool:
    return rank() == 0


def distributed_main(main: Callable[[Given], None]) -> Callable[[Given], None]:
    """A script's ``main`` on every rank. Of ranks that fail, the first one says why; the others end with status 2."""

    @wraps(main)
    def on_this_rank(given: Given) -> None:
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return main(given)
        store = _join()
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(sys.stdout if is_main() else nowhere):
            print(f"{world_size()} ranks train together; threads of each: {_take_cores()}")
            try:
                main(given)
            except (Exception, KeyboardInterrupt):
                if not _is_first_to_fail(store):
                    sys.exit(2)
                raise
        dist.destroy_process_group()

    return on_this_rank


def _join() -> dist.Store:  # type: ignore[name-defined]  # torch exports it only when built with it
    """Meet the other ranks. Returns what all of them can write notes in."""
    store, rank, size = next(rendezvous("env://"))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=LONGEST_WAIT)
    return store


def _take_cores() -> int:
    """Share out the machine's cores where torchrun has allowed one thread to each rank. Returns the threads of each.

    What the main rank does by itself, with NumPy and scikit-learn, may use them all.
    """
    if os.environ.get("OMP_NUM_THREADS") == "1":
        cores = os.cpu_count() or 1
        if is_main():
            threadpool_limits(cores)
        torch.set_num_threads(max(1, cores // int(os.environ["LOCAL_WORLD_SIZE"])))
    return torch.get_num_threads()


def _is_first_to_fail(store: dist.Store) -> bool:  # type: ignore[name-defined]
    """False where this failure may follow from that of another rank, which has said why."""
    try:
        return store.add("failures", 1) == 1
    except RuntimeError:  # the store has gone, and the rank that kept it
        return False


def broadcast(value: Thing) -> Thing:
    """The main rank's value, on every rank."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, device=CPU)
    return box[0]


def from_main(make: Callable[[], Thing]) -> Thing:
    """What ``make`` gives on the main rank, on every rank; only the main one calls it, and is alone meanwhile."""
    with _by_itself():
        made = make() if is_main() else None
    return broadcast(cast(Thing, made))


@contextmanager
def _by_itself() -> Iterator[None]:
    global _alone
    before, _alone = _alone, is_main()
    try:
        yield
    finally:
        _alone = before


def each_from_main(items: Iterable[Thing]) -> Iterator[Thing]:
    """The main rank's items, one by one, on every rank; the others never look at their own."""
    iterator = iter(items)
    while (item := from_main(lambda: next(iterator, None))) is not None:
        yield item


@contextmanager
def main_first() -> Iterator[None]:
    """The main rank goes through the block first; the others follow, and find what it has made."""
    if not is_main():
        broadcast(None)
    yield
    if is_main():
        broadcast(None)


def from_each(value: Thing) -> list[Thing]:
    """The values of all ranks, in their order, on every rank."""
    values = [value] * world_size()
    if len(values) > 1:
        dist.all_gather_object(values, value)
    return values


def share(count: int) -> slice:
    """This rank's part of ``count`` rows; the parts of two ranks differ by one row at most."""
    return slice(count * rank() // world_size(), count * (rank() + 1) // world_size())


def shared_out(compute: Callable[[slice], np.ndarray], count: int) -> np.ndarray:
    """``compute`` of ``count`` rows, each rank computing its part; on every rank all of them, in order."""
    if count < world_size():
        return compute(slice(0, count))
    return np.concatenate(from_each(compute(share(count))))


def summed(tensor: Tensor) -> Tensor:
    """The sum over all ranks."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def wrap_ddp(network: nn.Module) -> nn.Module:
    """The network, with gradients that are the mean over the ranks, after it has taken over the main rank's weights.

    Batches are normalised by each rank's own part of them; the running averages are those of the main rank.
    """
    return network if world_size() == 1 else DistributedDataParallel(network)


def share_state(network: nn.Module) -> None:
    """Give every rank the main rank's running averages, and its weights, should rounding have told them apart."""
    if world_size() > 1:
        for tensor in network.state_dict().values():
            dist.broadcast(tensor, src=0)
