"""Training in several processes (ranks), one for each GPU. In a process that is alone, nothing here has an effect.

A command starts the ranks itself if its machine has several GPUs; see ``launcher``. For several machines that share the
data and the work folder, or for several processes on CPUs, run this on each machine:

    torchrun --nproc_per_node=2 pipeline/train.py ...
    torchrun --nproc_per_node=2 --nnodes=2 --rdzv_backend=c10d --rdzv_endpoint=HOST:29400 pipeline/train.py ...

Use one rank for each GPU. On CPUs, use one rank or a few for each machine; they share its cores.

If there are as many networks or folds as ranks, or more, they are trained side by side: each rank works through its own
as a process of its own would; see ``side_by_side``. Otherwise all ranks train one network together: each on its part
of every batch, and the gradients are averaged, so steps, learning rate and schedule are those of one process. Then only
rank 0, the main rank, writes, prints, checks the clock and trains the classical models; the others wait. The same
command continues an interrupted run, with any number of ranks. If a rank fails, it prints the reason and all ranks end;
torchrun adds a report.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import TextIO, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
import torch.distributed.nn  # now: if DDP imports it after the ranks have joined, it never releases their group
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from competition.console import is_quiet
from competition.errors import UserError
from competition.progress import Progress
from pipeline.runtime.faults import explained

LONGEST_WAIT = timedelta(days=1)  # for the main rank, which may decode images or train a classical model
CPU = torch.device("cpu")

Thing = TypeVar("Thing")
Given = TypeVar("Given")

_alone = False  # True while this rank works without the others
_shown: TextIO | None = None  # where all ranks may print while they work side by side


def rank() -> int:
    """The number of this rank, from 0; 0 while it works without the others."""
    return dist.get_rank() if dist.is_initialized() and not _alone else 0


def local_rank() -> int:
    """The number of this rank on its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    """How many ranks work together; 1 in a process that is alone, and while this rank works without the others."""
    return dist.get_world_size() if dist.is_initialized() and not _alone else 1


def waits_for_others() -> bool:
    """Whether this rank works together with others, and not side by side with them or alone."""
    return dist.is_initialized() and not _alone


def is_main() -> bool:
    return rank() == 0


def distributed_main(main: Callable[[Given], None]) -> Callable[[Given], None]:
    """Run a script's ``main`` on every rank. The first rank to fail raises its error; the others exit with status 2."""

    @wraps(main)
    def on_this_rank(given: Given) -> None:
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return main(given)
        global _shown
        _shown = sys.stdout
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
    """Share the cores among the machine's ranks, unless the user has. Returns the threads of this rank.

    NumPy and scikit-learn may use all cores on the main rank, because they run there while the other ranks wait.
    """
    if os.environ.get("OMP_NUM_THREADS", "1") == "1":
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


def on_own_clock(moment: float | None) -> float | None:
    """The main rank's moment, or None, on this machine's clock ``time.monotonic``."""
    left = broadcast(None if moment is None else moment - time.monotonic())
    return None if left is None else time.monotonic() + left


def from_main(make: Callable[[], Thing]) -> Thing:
    """Returns the main rank's ``make()`` on every rank. Only the main rank calls it, while the others wait."""
    with _by_itself():
        made = make() if is_main() else None
    return broadcast(cast(Thing, made))


def _by_itself() -> AbstractContextManager[None]:
    return _working_alone(is_main())


@contextmanager
def _working_alone(alone: bool = True) -> Iterator[None]:
    global _alone
    before, _alone = _alone, alone
    try:
        yield
    finally:
        _alone = before


def can_be_shared_out(count: int) -> bool:
    """Whether so many networks or folds are worked on side by side: if there are at least as many as ranks."""
    return 1 < world_size() <= count


def side_by_side(work: Callable[[int], Thing], count: int) -> list[Thing]:
    """Returns ``work`` of each number below ``count``, in order and on every rank, which must be picklable.

    Each rank works on every ``world_size()``-th number, as a process of its own would, with its own lines and progress
    bars on the terminal. Raises the error of a rank on all ranks, after the others have finished.
    """
    own: dict[int, Thing] = {}
    fault: Exception | None = None
    numbers = range(rank(), count, world_size())
    with _working_alone(), _showing_itself(rank()):
        try:
            own.update((number, work(number)) for number in numbers)
        except Exception as error:
            fault = error
    found, faults = zip(*from_each((own, fault and _portable(fault))), strict=True)
    for first in filter(None, (fault, *faults)):
        raise first
    everything = {number: result for part in found for number, result in part.items()}
    return [everything[number] for number in range(count)]


def _portable(error: Exception) -> UserError:
    """The error as other ranks can be told of it, by pickle."""
    survives = isinstance(error, UserError) and type(error).__init__ is UserError.__init__
    return cast(UserError, error) if survives else UserError(explained(error))


@contextmanager
def _showing_itself(number: int) -> Iterator[None]:
    """Let this rank print, and show its progress in a line of its own."""
    with redirect_stdout(_shown or sys.stdout), Progress.line_of_its_own(number, shown=not is_quiet(_shown)):
        yield


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
