"""Recurrent cells on crossbars: one time step a call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mho.core import checks
from mho.recurrence.runner import Recurrent
from mho.recurrence.steps import STEPS, State


class _Cell(Recurrent):
    """Base of `RNNCell`, `LSTMCell` and `GRUCell`: one time step a call.

    Takes the arguments of the torch cell, and ``hardware`` and ``seed``.

    Attributes:
        weight_ih: digital weights of the input ``[gates · hidden_size, input_size]``.
        weight_hh: digital weights of the hidden state ``[gates · hidden_size, hidden_size]``.
        bias_ih: digital bias ``[gates · hidden_size]``, if any; so is bias_hh.
        crossbar_ih: the cells of ``weight_ih``; crossbar_hh those of ``weight_hh``.
    """

    def _adopt(self, digital: nn.Module) -> None:
        super()._adopt(digital)
        if not self.bias:  # as in torch, None rather than missing
            self.register_parameter("bias_ih", None)
            self.register_parameter("bias_hh", None)

    def _blank(self, *, bias: bool, **kind: Any) -> nn.Module:
        cell: Any = self.kind
        blank: nn.Module = cell(self.input_size, self.hidden_size, bias, **kind)
        return blank

    def _next(self, x: Tensor, hx: Any) -> State:
        checks.instance("input", x, Tensor)
        if x.dim() not in (1, 2) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"input must have shape [batch, {self.input_size}] or [{self.input_size}], "
                f"got {list(x.shape)}"
            )
        state = self._initial(hx, tuple(x.shape[:-1]), x)
        if x.dim() == 1:
            state = self._advance(x.unsqueeze(0), tuple(s.unsqueeze(0) for s in state))
            return tuple(s.squeeze(0) for s in state)
        return self._advance(x, state)

    def _advance(self, x: Tensor, state: State) -> State:
        if not self._is_native:
            products = self._products()
            return STEPS[self.mode](products["ih"](x), products["hh"](state[0]), state)
        found = self._effective()
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        kernel: Any = getattr(torch._VF, f"{self.mode.lower()}_cell")
        hx = state if self.mode == "LSTM" else state[0]
        result = kernel(x, hx, *(found.get(name) for name in names))
        return tuple(result) if self.mode == "LSTM" else (result,)

    def extra_repr(self) -> str:
        """As the torch cell prints itself."""
        bias = "" if self.bias else ", bias=False"
        return f"{self.input_size}, {self.hidden_size}{bias}"


class RNNCell(_Cell):
    """A `torch.nn.RNNCell` (``nonlinearity`` tanh or relu) whose weights are on crossbars."""

    kind = nn.RNNCell

    def _adopt_settings(self, source: Any) -> None:
        checks.one_of("nonlinearity", source.nonlinearity, ("tanh", "relu"))
        self.nonlinearity = source.nonlinearity
        self.mode = f"RNN_{self.nonlinearity.upper()}"

    def _blank(self, **kind: Any) -> nn.Module:
        return super()._blank(nonlinearity=self.nonlinearity, **kind)

    def forward(self, x: Tensor, hx: Tensor | None = None) -> Tensor:
        """Map ``x [batch, input_size]`` and ``hx [batch, hidden_size]`` to the next ``hx``."""
        return self._next(x, hx)[0]


class LSTMCell(_Cell):
    """A `torch.nn.LSTMCell` whose weights are on crossbars."""

    kind = nn.LSTMCell

    def _adopt_settings(self, source: Any) -> None:
        self.mode = "LSTM"

    def forward(self, x: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Map ``x [batch, input_size]`` and ``(h, c)``, each ``[batch, hidden_size]``, onwards."""
        h, c = self._next(x, hx)
        return h, c


class GRUCell(_Cell):
    """A `torch.nn.GRUCell` whose weights are on crossbars."""

    kind = nn.GRUCell

    def _adopt_settings(self, source: Any) -> None:
        self.mode = "GRU"

    def forward(self, x: Tensor, hx: Tensor | None = None) -> Tensor:
        """Map ``x [batch, input_size]`` and ``hx [batch, hidden_size]`` to the next ``hx``."""
        return self._next(x, hx)[0]
