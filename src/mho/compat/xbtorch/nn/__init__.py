"""Layers."""

from mho.compat._names import lend
from mho.compat.xbtorch.nn import nn
from mho.compat.xbtorch.nn.nn import LSTM, RNN, SSE, Conv2d, Linear, SelectLastStep
from mho.compat.xbtorch.patches import decorators

__all__ = ["LSTM", "RNN", "SSE", "Conv2d", "Linear", "SelectLastStep", "decorators"]

lend(nn, decorators)
