"""Layers that learn on cells and are deployed on accelerators."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mho.compat.xbtorch.patches import decorators
from mho.train.quantised.wage import sse


@decorators.xbtorch_layer
class Linear(nn.Linear):
    """`torch.nn.Linear`; see `patches.decorators.xbtorch_layer`."""


@decorators.xbtorch_layer
class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d`; see `patches.decorators.xbtorch_layer`."""


@decorators.xbtorch_layer
class RNN(nn.RNN):
    """`torch.nn.RNN`; see `patches.decorators.xbtorch_layer`."""


@decorators.xbtorch_layer
class LSTM(nn.LSTM):
    """`torch.nn.LSTM`; see `patches.decorators.xbtorch_layer`."""


class SelectLastStep(nn.Module):
    """Takes the output of the last time step of a recurrent layer (batch first)."""

    def forward(self, x: tuple[Tensor, Any]) -> Tensor:
        """Return ``[batch, hidden]`` of ``(output [batch, time, hidden], state)``."""
        output, _ = x
        return output[:, -1, :]


def SSE(logits: Tensor, label: Tensor) -> Tensor:  # noqa: N802
    """Return half the sum of squared errors from one-hot labels.

    Args:
        logits: ``[batch, classes]``.
        label: classes ``[batch]``.
    """
    return sse(logits, label)


__all__ = ["LSTM", "RNN", "SSE", "Conv2d", "Linear", "SelectLastStep", "decorators"]
