"""Inputs and errors from all processes that train one model together."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn


def replicated(model: nn.Module) -> bool:
    """Whether a model is one of several replicas (`DistributedDataParallel`).

    Raises:
        ValueError: if the replicas are a part of all processes only.
    """
    if not dist.is_available() or not isinstance(model, nn.parallel.DistributedDataParallel):
        return False
    if dist.get_world_size(model.process_group) != dist.get_world_size():
        raise ValueError(
            "model must be replicated over all processes, got a DistributedDataParallel of "
            f"{dist.get_world_size(model.process_group)} of {dist.get_world_size()}"
        )
    return True


def gathered(x: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
    """Return the samples of all processes, in the order of their ranks.

    Errors are divided by the number of processes: ``delta.T @ x`` is the mean of the processes'
    gradients, as `DistributedDataParallel` makes it.

    Args:
        x: inputs of this process ``[samples, in]``; processes may have different numbers.
        delta: gradients of the outputs ``[samples, out]``.
    """
    world = dist.get_world_size()
    counts = [torch.zeros(1, dtype=torch.int64, device=x.device) for _ in range(world)]
    dist.all_gather(counts, torch.tensor([len(x)], dtype=torch.int64, device=x.device))
    sizes = [int(count) for count in counts]
    both = torch.cat((x, delta.to(x)), dim=1)
    padded = both.new_zeros(max(sizes), both.shape[1])
    padded[: len(both)] = both
    parts = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(parts, padded)
    whole = torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
    return whole[:, : x.shape[1]], whole[:, x.shape[1] :] / world
