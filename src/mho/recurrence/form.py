"""What a recurrent layer is: its kind of cell, its sizes, its layers and directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mho.core import checks
from mho.recurrence.steps import State


@dataclass(frozen=True)
class Form:
    """What a recurrent layer is, but for its weights. A cell is one layer of one direction.

    Attributes:
        mode: kind of cell, a name in `mho.recurrence.steps.STEPS`.
        input_size: features of an input.
        hidden_size: features of a hidden state before any projection.
        proj_size: features of a projected hidden state; 0 without projection.
        ends: of parameter names, one per layer and direction, as ``_l1_reverse``; ``""`` of a
            cell.
        directions: 1 or 2.
        batch_first: whether padded sequences are ``[batch, time, …]``.
        dropout: probability, between layers.
    """

    mode: str
    input_size: int
    hidden_size: int
    proj_size: int
    ends: tuple[str, ...]
    directions: int
    batch_first: bool
    dropout: float

    @classmethod
    def of(cls, layer: Any) -> Form:
        """Return the form of a torch layer or cell, or of one with a torch layer's attributes."""
        directions, ends = 1, [""]
        if hasattr(layer, "num_layers"):
            directions = 1 + bool(layer.bidirectional)
            ways = ("", "_reverse")[:directions]
            ends = [f"_l{number}{way}" for number in range(layer.num_layers) for way in ways]
        return cls(
            mode=mode_of(layer),
            input_size=layer.input_size,
            hidden_size=layer.hidden_size,
            proj_size=getattr(layer, "proj_size", 0),
            ends=tuple(ends),
            directions=directions,
            batch_first=bool(getattr(layer, "batch_first", False)),
            dropout=float(getattr(layer, "dropout", 0.0)),
        )

    @property
    def products(self) -> tuple[str, ...]:
        """Kinds of products of one step, as in parameter names: ``ih``, ``hh``, maybe ``hr``."""
        return ("ih", "hh", "hr") if self.proj_size else ("ih", "hh")

    @property
    def parts(self) -> list[str]:
        """Products of all layers and directions, as ``hh_l0_reverse``."""
        return [f"{product}{end}" for end in self.ends for product in self.products]

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Features of the hidden state, and of an LSTM's cell state."""
        size = self.proj_size or self.hidden_size
        return (size, self.hidden_size) if self.mode == "LSTM" else (size,)

    def initial(self, hx: Any, lead: tuple[int, ...], like: Tensor) -> State:
        """Return the initial state given, checked, or zeros.

        Args:
            hx: ``h``, of an LSTM ``(h, c)``; or None.
            lead: dimensions before the features.
            like: tensor of the dtype and device of zeros.

        Returns:
            ``[*lead, size]`` each.

        Raises:
            TypeError, ValueError: if the state is of another kind or shape.
        """
        sizes = self.state_sizes
        if hx is None:
            return tuple(like.new_zeros(*lead, size) for size in sizes)
        names = ["hx"]
        if len(sizes) == 1:
            hx = (hx,)
        else:
            names = ["hx[0]", "hx[1]"]
            checks.instance("hx", hx, (tuple, list))
            if len(hx) != 2:
                raise ValueError(f"hx must be (h_0, c_0), got {len(hx)} items")
        for name, value, size in zip(names, hx, sizes, strict=True):
            checks.shape(name, value, (*lead, size))
        return tuple(hx)

    def as_torch(self, state: State) -> Any:
        """Return a state as torch does: ``(h, c)`` of an LSTM, else ``h`` alone."""
        return state if self.mode == "LSTM" else state[0]


def mode_of(layer: Any) -> str:
    """Return the kind of cell, as torch names it: RNN_TANH, RNN_RELU, LSTM or GRU.

    Raises:
        ValueError: if a cell's nonlinearity is unknown.
    """
    if hasattr(layer, "mode"):
        return str(layer.mode)
    if isinstance(layer, nn.RNNCell):
        checks.one_of("nonlinearity", layer.nonlinearity, ("tanh", "relu"))
        return f"RNN_{layer.nonlinearity.upper()}"
    return "LSTM" if isinstance(layer, nn.LSTMCell) else "GRU"
