"""Which crossbar layer stands for which torch layer. A new layer adds one line here."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from mho.nn.base import AnalogLayer
from mho.nn.cells import GRUCell, LSTMCell, RNNCell
from mho.nn.conv import Conv1d, Conv2d, Conv3d
from mho.nn.embedding import Embedding, EmbeddingBag
from mho.nn.linear import Linear
from mho.nn.recurrent import GRU, LSTM, RNN

LAYERS: dict[type[nn.Module], type[AnalogLayer]] = {
    nn.Linear: Linear,
    nn.Conv1d: Conv1d,
    nn.Conv2d: Conv2d,
    nn.Conv3d: Conv3d,
    nn.RNN: RNN,
    nn.LSTM: LSTM,
    nn.GRU: GRU,
    nn.RNNCell: RNNCell,
    nn.LSTMCell: LSTMCell,
    nn.GRUCell: GRUCell,
    nn.Embedding: Embedding,
    nn.EmbeddingBag: EmbeddingBag,
}

BY_OPTION = (nn.Embedding, nn.EmbeddingBag, Embedding, EmbeddingBag)
"""Layers that `mho.convert` leaves digital unless it is told otherwise."""


def crossbar_layer(module: nn.Module) -> Any:
    """Return the crossbar layer's class for a torch layer (or a subclass of one), or None.

    Of a crossbar layer it is its own class.

    A layer that computes something else than its base (a ``forward`` of its own, in its class or
    set on it) has none: turning it into its base would silently change the model; unless it says
    itself, with a method ``on_crossbars(build)``, what takes its place (`mho.convert` calls it).
    """
    if isinstance(module, AnalogLayer):
        return type_before_parametrizations(module)
    for base, layer in LAYERS.items():
        if isinstance(module, base):
            plain = type(module).forward is base.forward and "forward" not in vars(module)
            return layer if plain or hasattr(module, "on_crossbars") else None
    return None


def self_contained(module: nn.Module) -> None:
    """Keep torch's fused inference kernels from reading digital weights past the crossbars."""
    if isinstance(module, nn.TransformerEncoderLayer):
        module.activation_relu_or_gelu = 0
    elif isinstance(module, nn.TransformerEncoder):
        module.use_nested_tensor = False  # only the fused kernels understand nested tensors
