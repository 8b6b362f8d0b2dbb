"""Training one network in several processes (ranks) that torchrun starts. Without torchrun, nothing here has an effect.

Run this on one machine, or on each of several machines that share the data and the work folder:

    torchrun --nproc_per_node=2 pipeline/train.py ...
    torchrun --nproc_per_node=2 --nnodes=2 --rdzv_backend=c10d --rdzv_endpoint=HOST:29400 pipeline/train.py ...

Use one rank for each GPU. On CPUs, use one rank or a few for each machine; they share its cores. Each rank trains on
its part of every batch, and the gradients are averaged, so steps, learning rate and schedule are those of one process.
Only rank 0, the main rank, writes, prints, checks the clock and trains the classical models; the others wait. The same
command continues an interrupted run, with any number of ranks. If a rank fails, it prints the reason and all ranks end;
torchrun adds a report.
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
import torch.distributed.nn  # now: if DDP imports it after the ranks have joined, it never releases their group
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

LONGEST_WAIT = timedelta(days=1)  # for the main rank, which may decode images or train a classical model
CPU = torch.device("cpu")

Thing = TypeVar("Thing")
Given = TypeVar("Given")

_alone = False  # True while the main rank works without the others


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def local_rank() -> int:
    """The number of this rank on its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    """How many ranks work together; 1 without torchrun, and while the main rank works without the others."""
    return dist.get_world_size() if dist.is_initialized() and not _alone else 1


def is_main() -> bool:
    return rank() == 0


def distributed_main(main: Callable[[Given], None]) -> Callable[[Given], None]:
    """Run a script's ``main`` on every rank. The first rank to fail raises its error; the others exit with status 2."""

    @wraps(main)
    def on_this_rank(given: Given) -> None:
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return main(given)
        store, number, size = next(rendezvous("env://"))
        try:
            _join(store, number, size)
            with (
                Path(os.devnull).open("w", encoding="utf-8") as nowhere,
                redirect_stdout(sys.stdout if is_main() else nowhere),
            ):
                print(f"{world_size()} ranks train together; threads of each: {_take_cores()}")
                main(given)
        except (Exception, KeyboardInterrupt):
            is_first = _is_first_to_fail(store)
            if dist.is_initialized() and not torch.cuda.is_available():  # NCCL would wait for the other ranks
                dist.destroy_process_group()  # Gloo's threads would abort a process that leaves without
            if is_first:
                raise
            sys.exit(2)
        dist.destroy_process_group()

    return on_this_rank


def _join(store: dist.Store, rank: int, size: int) -> None:  # type: ignore[name-defined]  # if torch is built with it
    """Join the other ranks, which fails if one of them ends meanwhile. store: the key-value store that they share."""
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=LONGEST_WAIT)


def _take_cores() -> int:
    """Share the cores among the machine's ranks if torchrun allowed each one thread. Returns the threads of this rank.

    NumPy and scikit-learn may use all cores on the main rank, because they run there while the other ranks wait.
    """
    if os.environ.get("OMP_NUM_THREADS") == "1":
        cores = os.cpu_count() or 1
        if is_main():
            threadpool_limits(cores)
        torch.set_num_threads(max(1, cores // int(os.environ["LOCAL_WORLD_SIZE"])))
    return torch.get_num_threads()


def _is_first_to_fail(store: dist.Store) -> bool:  # type: ignore[name-defined]
    """Whether this rank failed first. If not, another rank may have caused the failure, and reports it."""
    try:
        return store.add("failures", 1) == 1
    except RuntimeError:  # the rank that held the store has ended
        return False


def broadcast(value: Thing) -> Thing:
    """Returns the main rank's value on every rank."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, device=CPU)
    return box[0]


def from_main(make: Callable[[], Thing]) -> Thing:
    """Returns the main rank's ``make()`` on every rank. Only the main rank calls it, while the others wait."""
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
    """Yields the main rank's items on every rank, one by one; the items of the other ranks are not used."""
    iterator = iter(items)
    while (item := from_main(lambda: next(iterator, None))) is not None:
        yield item


@contextmanager
def main_first() -> Iterator[None]:
    """Run the block on the main rank first, then on the others, which find the files that it has written."""
    if not is_main():
        broadcast(None)
    yield
    if is_main():
        broadcast(None)


def from_each(value: Thing) -> list[Thing]:
    """Returns the values of all ranks on every rank, in the order of the ranks."""
    values = [value] * world_size()
    if len(values) > 1:
        dist.all_gather_object(values, value)
    return values


def share(count: int) -> slice:
    """This rank's part of ``count`` rows. The parts of two ranks differ by at most one row."""
    return slice(count * rank() // world_size(), count * (rank() + 1) // world_size())


def shared_out(compute: Callable[[slice], np.ndarray], count: int) -> np.ndarray:
    """Compute ``count`` rows, each rank its part. Returns all rows on every rank, in order.

    compute: rows to an array ``[rows, ...]``.
    """
    if count < world_size():
        return compute(slice(0, count))
    return np.concatenate(from_each(compute(share(count))))


def summed(tensor: Tensor) -> Tensor:
    """The sum of the tensor over all ranks; it replaces the tensor's values."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def wrap_ddp(network: nn.Module) -> nn.Module:
    """The network with the main rank's weights, and with gradients that are averaged over the ranks.

    Batch normalisation uses each rank's own part of a batch; the running averages are those of the main rank.
    """
    return network if world_size() == 1 else DistributedDataParallel(network)


def share_state(network: nn.Module) -> None:
    """Copy the main rank's running averages to every rank, and its weights, in case rounding made them differ."""
    if world_size() > 1:
        for tensor in network.state_dict().values():
            dist.broadcast(tensor, src=0)
