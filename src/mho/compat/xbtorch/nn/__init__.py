"""Layers."""

from mho.compat.xbtorch.nn.nn import LSTM, RNN, SSE, Conv2d, Linear, SelectLastStep

__all__ = ["LSTM", "RNN", "SSE", "Conv2d", "Linear", "SelectLastStep"]
