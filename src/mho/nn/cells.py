"""Recurrent cells on crossbars: one time step a call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mho.nn.recurrent_base import Recurrent
from mho.recurrence.runner import run_cell_with, step_cell
from mho.recurrence.steps import State


class _Cell(Recurrent):
    """Base of `RNNCell`, `LSTMCell` and `GRUCell`: one time step a call.

    Takes the arguments of the torch cell, and ``hardware`` and ``seed``.

    Attributes:
        weight_ih: digital weights of the input ``[gates · hidden_size, input_size]``.
        weight_hh: digital weights of the hidden state ``[gates · hidden_size, hidden_size]``.
        bias_ih: digital bias ``[gates · hidden_size]``, if any; so is bias_hh.
        crossbar_ih: the cells of ``weight_ih``; crossbar_hh those of ``weight_hh``.
    """

    def _blank(self, *, bias: bool, **kind: Any) -> nn.Module:
        cell: Any = self.kind
        blank: nn.Module = cell(self.input_size, self.hidden_size, bias, **kind)
        return blank

    def _next(self, x: Tensor, hx: Any) -> State:
        return run_cell_with(self.form, x, hx, self._native if self._is_native else self._stepped)

    def _stepped(self, x: Tensor, state: State) -> State:
        """Read the crossbars."""
        return step_cell(self.form, self._product(x), x, state)

    def _native(self, x: Tensor, state: State) -> State:
        """Run torch's kernel with effective weights: one matrix says it all of every crossbar."""
        found = self._effective(x)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        kernel: Any = getattr(torch._VF, f"{self.mode.lower()}_cell")
        result = kernel(x, self.form.as_torch(state), *(found.get(name) for name in names))
        return tuple(result) if self.mode == "LSTM" else (result,)

    def extra_repr(self) -> str:
        """As the torch cell prints itself."""
        bias = "" if self.bias else ", bias=False"
        return f"{self.input_size}, {self.hidden_size}{bias}"


class RNNCell(_Cell):
    """A `torch.nn.RNNCell` (``nonlinearity`` tanh or relu) whose weights are on crossbars."""

    kind = nn.RNNCell

    nonlinearity: str

    def _blank(self, **kind: Any) -> nn.Module:
        return super()._blank(nonlinearity=self.nonlinearity, **kind)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Map ``input [batch, input_size]`` and ``hx [batch, hidden_size]`` to the next ``hx``."""
        return self._next(input, hx)[0]


class LSTMCell(_Cell):
    """A `torch.nn.LSTMCell` whose weights are on crossbars."""

    kind = nn.LSTMCell

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map ``input [batch, input_size]`` and ``(h, c)``, ``[batch, hidden_size]`` each, on."""
        h, c = self._next(input, hx)
        return h, c


class GRUCell(_Cell):
    """A `torch.nn.GRUCell` whose weights are on crossbars."""

    kind = nn.GRUCell

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Map ``input [batch, input_size]`` and ``hx [batch, hidden_size]`` to the next ``hx``."""
        return self._next(input, hx)[0]
