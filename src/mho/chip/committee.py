"""Committee machines: separately trained networks whose outputs are averaged."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mho.core import checks

COMBINE = ("outputs", "probabilities")


class Committee(nn.Module):
    """Several networks of one task, trained apart: ``y(x) = mean_k model_k(x)``.

    It is a module like any other: ``mho.convert(Committee(models), hardware)`` puts every member
    on crossbars of its own, `Chip.place` puts all of them on one chip.

    Args:
        models: the members, at least one.
        combine: what is averaged: ``"outputs"`` as they are, or ``"probabilities"`` (softmax of
            the last dimension; the committee then gives their logarithm).

    Raises:
        TypeError, ValueError: if there is no member, one is not a module, or ``combine`` is
            another.

    Source: D. Joksas et al., 2020, doi 10.1038/s41467-020-18098-0.
    """

    def __init__(self, models: Sequence[nn.Module], combine: str = "outputs") -> None:
        super().__init__()
        members = list(models)
        if not members:
            raise ValueError("models must hold at least one member, got none")
        for member in members:
            checks.instance("every member", member, nn.Module)
        checks.one_of("combine", combine, COMBINE)
        self.combine = combine
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of what all members say of ``x``."""
        outputs = torch.stack([member(x) for member in self.members])
        if self.combine == "outputs":
            return outputs.mean(0)
        logs = outputs.log_softmax(-1)
        return logs.logsumexp(0) - torch.tensor(float(len(logs))).log().to(logs)

    def extra_repr(self) -> str:
        """What is averaged."""
        return f"combine={self.combine!r}"
