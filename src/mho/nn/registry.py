"""Which crossbar layer stands for which torch layer."""

from __future__ import annotations

import sys
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from mho.core import checks
from mho.nn.attention import MultiheadAttention
from mho.nn.base import AnalogLayer
from mho.nn.bilinear import Bilinear
from mho.nn.cells import GRUCell, LSTMCell, RNNCell
from mho.nn.conv import Conv1d, Conv2d, Conv3d
from mho.nn.conv1d_hf import Conv1D, known_conv1d
from mho.nn.conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from mho.nn.embedding import Embedding, EmbeddingBag
from mho.nn.linear import Linear
from mho.nn.recurrent import GRU, LSTM, RNN

LAYERS: dict[type[nn.Module], type[AnalogLayer]] = {
    nn.Linear: Linear,
    nn.Bilinear: Bilinear,
    nn.Conv1d: Conv1d,
    nn.Conv2d: Conv2d,
    nn.Conv3d: Conv3d,
    nn.ConvTranspose1d: ConvTranspose1d,
    nn.ConvTranspose2d: ConvTranspose2d,
    nn.ConvTranspose3d: ConvTranspose3d,
    nn.MultiheadAttention: MultiheadAttention,
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


class Registration:
    """What `register` returns: ``remove()`` takes the layer off the list again."""

    def __init__(self, kind: type[nn.Module], layer: type[AnalogLayer]) -> None:
        self.kind, self.layer = kind, layer

    def remove(self) -> None:
        """Convert layers of this kind no longer. Models converted already stay as they are."""
        if LAYERS.get(self.kind) is self.layer:
            del LAYERS[self.kind]

    def __enter__(self) -> Registration:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"{self.kind.__name__} is converted to {self.layer.__name__}"


def register(layer: type[AnalogLayer]) -> Registration:
    """Let `mho.convert` put layers of one's own on crossbars, in this process from now on.

    Args:
        layer: a crossbar layer; its ``kind`` is the torch layer that it stands for. Subclasses of
            that are converted as well, unless they have a ``forward`` of their own or a layer
            registered for themselves: of several the nearest counts.

    Returns:
        A handle whose ``remove()`` undoes it; as a context it lasts for a ``with`` block.

    Raises:
        TypeError: if it is no crossbar layer, lacks what every one must define, or its ``kind`` is
            no torch layer.
        ValueError: if another layer stands for that kind already.

    Example:
        >>> handle = mho.nn.register(MyCrossbarLayer)  # doctest: +SKIP
        >>> analog = mho.convert(model, hardware)  # doctest: +SKIP
    """
    if not (isinstance(layer, type) and issubclass(layer, AnalogLayer)):
        raise TypeError(f"layer must be a subclass of mho.nn.AnalogLayer, got {layer!r}")
    missing = [
        name
        for name in ("matrices", "forward", "to_digital")
        if getattr(layer, name) is getattr(AnalogLayer, name)
    ]
    if missing:
        raise TypeError(f"{layer.__name__} must define {', '.join(missing)}")
    kind = layer.kind
    checks.instance(f"{layer.__name__}.kind", kind, type)
    if kind is nn.Module or not issubclass(kind, nn.Module) or issubclass(kind, AnalogLayer):
        raise TypeError(
            f"{layer.__name__}.kind must be the torch layer it stands for, got {kind.__name__}"
        )
    if kind in LAYERS:
        raise ValueError(
            f"{kind.__name__} has a crossbar layer already, {LAYERS[kind].__qualname__}; give a "
            "subclass of it a method on_crossbars(build) to have another one take its place"
        )
    LAYERS[kind] = layer
    return Registration(kind, layer)


def registered() -> dict[type[nn.Module], type[AnalogLayer]]:
    """Return which crossbar layer stands for which torch layer, one's own included."""
    theirs = known_conv1d()
    return {**LAYERS, **({} if theirs is None else {theirs: Conv1D})}


def crossbar_layer(module: nn.Module) -> Any:
    """Return the crossbar layer's class for a torch layer (or a subclass of one), or None.

    Of a crossbar layer it is its own class.

    A layer that computes something else than its base (a ``forward`` of its own, in its class or
    set on it) has none: turning it into its base would silently change the model; unless it says
    itself, with a method ``on_crossbars(build)``, what takes its place (`mho.convert` calls it).
    """
    if isinstance(module, AnalogLayer):
        return type_before_parametrizations(module)
    known = registered()
    for base in type(module).__mro__:
        if base in known:
            plain = type(module).forward is base.forward and "forward" not in vars(module)
            return known[base] if plain or hasattr(module, "on_crossbars") else None
    return None


def closed() -> tuple[type[nn.Module], ...]:
    """Return the modules that read their children's weights by themselves, not through a call.

    A crossbar layer inside of one would be read past: such a module is converted as a whole, or
    stays digital as a whole.
    """
    found: list[Any] = [nn.MultiheadAttention, getattr(nn, "LinearCrossEntropyLoss", None)]
    swin = sys.modules.get("torchvision.models.swin_transformer")
    found.append(getattr(swin, "ShiftedWindowAttention", None))
    return tuple(kind for kind in found if kind is not None)


def self_contained(module: nn.Module) -> None:
    """Keep torch's fused inference kernels from reading digital weights past the crossbars.

    Attention on crossbars says for itself that it cannot be fused; but a layer may have its linear
    layers alone on crossbars, and a stack of them may make nested tensors for the fused kernels.
    """
    if isinstance(module, nn.TransformerEncoderLayer):
        module.activation_relu_or_gelu = 0
    elif isinstance(module, nn.TransformerEncoder):
        module.use_nested_tensor = False  # only the fused kernels understand nested tensors
