"""Several processes, one training: who am I, and what do the processes tell each other?

`torchrun --nproc-per-node 2 -m pipelines.xray_train …` starts the same programme in every process
and says in the environment who is who. Every process reads the data and trains on its share of each
step's images; the first alone writes. Called in a single process, everything here does nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, nn
from torch import distributed as dist

from medres.errors import ConfigError

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others: as long as one may write a model."""


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that torchrun started; nothing where there is one.

    Tensors on CUDA travel by NCCL, others by gloo. Processes of one machine talk by its loopback
    device alone, unless GLOO_SOCKET_IFNAME names another.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    if os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", _loopback())
    nccl = torch.cuda.is_available() and dist.is_nccl_available()
    dist.init_process_group("cpu:gloo,cuda:nccl" if nccl else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        leave_group()


def leave_group() -> None:
    """Go on alone; every process has to come here, or to the end of `process_group`."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _loopback() -> str:
    """The name of the loopback device: lo on Linux, lo0 on macOS."""
    return next((name for _, name in socket.if_nameindex() if name in ("lo", "lo0")), "lo")


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def local_rank() -> int:
    """This process's number on its machine, from 0: which of its GPUs is ours."""
    return int(os.environ.get("LOCAL_RANK", "0")) if dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this process writes files and speaks to the user."""
    return rank() == 0


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if world_size() > 1:
        dist.barrier()


@contextmanager
def first_before_others() -> Iterator[None]:
    """Let the first process do something, and the others find it done."""
    if not is_first():
        wait_for_all()
    yield
    if is_first():
        wait_for_all()


def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of a tensor over the processes; the tensor itself in a single one."""
    if world_size() == 1:
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / world_size()


def from_first(value: Tensor) -> Tensor:
    """The first process's tensor, in every process: where rounding must not tell them apart."""
    if world_size() > 1:
        dist.broadcast(value, src=0)
    return value


def share_buffers(module: nn.Module) -> None:
    """Give every process the first one's buffers: batch-norm has seen other images in each."""
    if world_size() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)


def gather_shares(share: Tensor, total: int) -> Tensor:
    """The rows of all processes, in the order of the whole.

    Args:
        share: (n, …) rows of this process: number r has the rows r, r + W, r + 2W, … of the whole.
        total: N, rows of the whole.

    Returns:
        (N, …), equal in every process.
    """
    processes = world_size()
    if processes == 1:
        return share
    longest = -(-total // processes)
    padded = share.new_zeros((longest, *share.shape[1:]))
    padded[: len(share)] = share
    shares = [torch.empty_like(padded) for _ in range(processes)]
    dist.all_gather(shares, padded)
    return torch.stack(shares, dim=1).flatten(0, 1)[:total]


def check_shares(images: int, what: str) -> None:
    """Refuse to share fewer images than there are processes.

    Raises:
        ConfigError: a process would have none.
    """
    if images < world_size():
        raise ConfigError(
            f"{images} {what} images are too few for {world_size()} processes; start at most "
            f"{images}, or give more images"
        )
