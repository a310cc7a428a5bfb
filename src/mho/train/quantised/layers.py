"""Torch's layers with rounding before, in and after their products."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations
from torch.nn.utils.rnn import PackedSequence

from mho.core import random
from mho.nn.computed import CALL_HOOKS, made_by, makers, parametrized_names
from mho.periphery import formats
from mho.periphery.formats import Quantiser
from mho.recurrence.form import Form
from mho.recurrence.runner import run_cell

L = TypeVar("L", bound="QuantisedLayer")


class _Errors(torch.autograd.Function):
    """The identity; its gradient goes through a quantiser."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, quantiser: Quantiser, rng: Tensor | None) -> Tensor:
        ctx.quantiser, ctx.rng = quantiser, rng
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return formats.apply(ctx.quantiser, grads[0], ctx.rng), None, None


class Rounding(nn.Module):
    """Round what flows forward by one quantiser, the errors that flow backward by another.

    In the backward pass the gradient of the forward quantiser (its clip) comes first.

    Args:
        values: forward; None leaves values as they are.
        errors: backward; None leaves errors as they are.
        seed: of stochastic rounding; its stream is the buffer ``rng``, which other roundings
            do not have.
    """

    rng: Tensor | None

    def __init__(
        self, values: Quantiser | None, errors: Quantiser | None = None, *, seed: int = 0
    ) -> None:
        super().__init__()
        formats.check("values", values)
        formats.check("errors", errors)
        # A module given once serves many places: each has its own.
        self.values = copy.deepcopy(values) if isinstance(values, nn.Module) else values
        self.errors = copy.deepcopy(errors) if isinstance(errors, nn.Module) else errors
        random_ones = [q for q in (values, errors) if formats.is_stochastic(q)]
        self.register_buffer("rng", random.stream(seed) if random_ones else None)

    def forward(self, x: Tensor) -> Tensor:
        """Round a tensor of any shape."""
        if self.errors is not None and x.requires_grad:
            x = _Errors.apply(x, self.errors, self.rng)
        return formats.apply(self.values, x, self.rng)

    def extra_repr(self) -> str:
        """Name the quantisers that are not modules."""
        both = (("values", self.values), ("errors", self.errors))
        shown = (f"{n}={q}" for n, q in both if q is not None and not isinstance(q, nn.Module))
        return ", ".join(shown)


class Followed(nn.Module):
    """A module with a rounding before it, behind it, or both.

    Args:
        layer: any module whose input and output are tensors, or sequences as of recurrent layers.
        outputs: rounding of its output.
        inputs: rounding of its (first) input.
    """

    def __init__(
        self, layer: nn.Module, outputs: Rounding | None = None, *, inputs: Rounding | None = None
    ) -> None:
        super().__init__()
        self.inputs, self.layer, self.outputs = inputs, layer, outputs
        self.train(layer.training)

    def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Round, compute, round."""
        return _rounded(self.outputs, self.layer(_rounded(self.inputs, x), *args, **kwargs))


def _rounded(rounding: Rounding | None, x: Any) -> Any:
    """Round a tensor, a packed sequence, or the first of a recurrent layer's results."""
    if rounding is None:
        return x
    if isinstance(x, PackedSequence):
        return x._replace(data=rounding(x.data))
    if isinstance(x, tuple):
        return (_rounded(rounding, x[0]), *x[1:])
    return rounding(x)


class QuantisedLayer(nn.Module):
    """Base of quantised layers: the torch layer's parameters, and formats around its products.

    Attributes:
        weight_formats: a `Rounding` per weight, by parameter name.
        inputs: rounding of what the layer reads, or None.
        outputs: rounding of what it gives, or None.
    """

    kind: ClassVar[type[nn.Module]]
    weight_formats: nn.ModuleDict
    inputs: Rounding | None
    outputs: Rounding | None
    _looked: bool

    @classmethod
    def of(cls: type[L], layer: nn.Module, memo: dict[int, Any]) -> L:
        """Return the quantised layer that takes a torch layer's place, nothing rounded yet.

        Args:
            layer: is copied, with its hooks and buffers.
            memo: of `copy.deepcopy`, so that tied parameters stay tied.
        """
        _refuse_computed(layer)
        for parameter in layer.parameters(recurse=False):
            if isinstance(parameter, nn.UninitializedParameter):
                raise ValueError(
                    f"{type(layer).__name__} has no weights yet: run one batch through the model"
                )
        new = cls.__new__(cls)
        new.__setstate__(copy.deepcopy(layer.__reduce_ex__(4)[2], memo))
        new.weight_formats = nn.ModuleDict()
        new.inputs = new.outputs = None
        new._looked = False
        return new

    def read(self, name: str) -> Tensor:
        """Return a weight as products see it."""
        weight: Tensor = self._parameters[name]  # type: ignore[assignment]
        if name not in self.weight_formats:
            return weight
        read: Tensor = self.weight_formats[name](weight)
        if not (self._looked or torch.compiler.is_compiling()):
            self._looked = True
            if weight.numel() and not read.any() and weight.any():
                warnings.warn(
                    f"{type(self).__name__}: every weight reads as zero: weights are too small for "
                    "their format (mho.train.wage.initialise draws others)",
                    stacklevel=4,
                )
        return read

    def plain(self) -> nn.Module:
        """Return the torch layer with the weights as products see them."""
        state = dict(self.__reduce_ex__(4)[2])  # type: ignore[arg-type]
        for name in ("_parameters", "_modules"):
            state[name] = dict(state[name])
        for name in ("weight_formats", "inputs", "outputs"):
            state["_modules"].pop(name, None)
            state.pop(name, None)
        state.pop("_looked")
        for name in CALL_HOOKS:  # hooks stay with what takes this layer's place
            state[name] = type(state[name])() if isinstance(state[name], dict) else None
        with torch.no_grad():
            for name in self.weight_formats:
                state["_parameters"][name] = nn.Parameter(self.read(name).clone())
        layer = self.kind.__new__(self.kind)
        layer.__setstate__(copy.deepcopy(state))
        return layer

    def on_crossbars(self, build: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """Return what `mho.convert` puts in this layer's place.

        Args:
            build: from a torch layer to the crossbar layer.

        Returns:
            The crossbar layer with the weights as read, in between the same roundings.
        """
        around = copy.deepcopy((self.inputs, self.outputs))
        layer = build(self.plain())
        if around == (None, None):
            return layer
        return Followed(layer, around[1], inputs=around[0])


class QuantisedLinear(QuantisedLayer, nn.Linear):
    """`torch.nn.Linear`, quantised."""

    kind = nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        """As `torch.nn.Linear`."""
        x = _rounded(self.inputs, x)
        y = F.linear(x, self.read("weight"), self.bias)
        return _rounded(self.outputs, y)


class _Conv(QuantisedLayer):
    bias: Any
    _conv_forward: Callable[..., Tensor]

    def forward(self, x: Tensor) -> Tensor:
        """As the torch layer."""
        x = _rounded(self.inputs, x)
        return _rounded(self.outputs, self._conv_forward(x, self.read("weight"), self.bias))


class QuantisedConv1d(_Conv, nn.Conv1d):
    """`torch.nn.Conv1d`, quantised."""

    kind = nn.Conv1d


class QuantisedConv2d(_Conv, nn.Conv2d):
    """`torch.nn.Conv2d`, quantised."""

    kind = nn.Conv2d


class QuantisedConv3d(_Conv, nn.Conv3d):
    """`torch.nn.Conv3d`, quantised."""

    kind = nn.Conv3d


class _Sequence(QuantisedLayer):
    _flat_weights: list[Any]
    _flat_weights_names: list[str]

    def forward(self, x: Any, hx: Any = None) -> Any:
        """As the torch layer; hidden states between time steps are not rounded."""
        kept = self._flat_weights
        # torch's own list of what its kernel reads, for the time of one call.
        self._flat_weights = [
            self.read(name) if name in self.weight_formats else weight
            for name, weight in zip(self._flat_weights_names, kept, strict=True)
        ]
        try:
            found = self.kind.forward(self, _rounded(self.inputs, x), hx)
        finally:
            self._flat_weights = kept
        return _rounded(self.outputs, found)


class QuantisedRNN(_Sequence, nn.RNN):
    """`torch.nn.RNN`, quantised."""

    kind = nn.RNN


class QuantisedLSTM(_Sequence, nn.LSTM):
    """`torch.nn.LSTM`, quantised."""

    kind = nn.LSTM


class QuantisedGRU(_Sequence, nn.GRU):
    """`torch.nn.GRU`, quantised."""

    kind = nn.GRU


class _Cell(QuantisedLayer):
    def forward(self, x: Tensor, hx: Any = None) -> Any:
        """As the torch cell; the hidden state it is given is rounded, too."""
        form = Form.of(self)
        state = form.as_torch(run_cell(form, x, hx, self._product))
        return _rounded(self.outputs, state)

    def _product(self, part: str, x: Tensor) -> Tensor:
        bias = getattr(self, f"bias_{part}")
        return F.linear(_rounded(self.inputs, x), self.read(f"weight_{part}"), bias)


class QuantisedRNNCell(_Cell, nn.RNNCell):
    """`torch.nn.RNNCell`, quantised."""

    kind = nn.RNNCell


class QuantisedLSTMCell(_Cell, nn.LSTMCell):
    """`torch.nn.LSTMCell`, quantised."""

    kind = nn.LSTMCell


class QuantisedGRUCell(_Cell, nn.GRUCell):
    """`torch.nn.GRUCell`, quantised."""

    kind = nn.GRUCell


def _refuse_computed(layer: nn.Module) -> None:
    """Refuse layers whose weights are no parameters: formats round parameters."""
    names = [*parametrized_names(layer), *(made_by(hook) for hook in makers(layer))]
    if names:
        raise ValueError(
            f"{type_before_parametrizations(layer).__name__}: {names[0]} is computed (by a "
            "parametrization, a norm or a mask), and only parameters can be quantised; make it a "
            "parameter first (torch.nn.utils.parametrize.remove_parametrizations, "
            "torch.nn.utils.prune.remove), or leave the layer out with skip"
        )


LAYERS: tuple[type[QuantisedLayer], ...] = (
    QuantisedLinear,
    QuantisedConv1d,
    QuantisedConv2d,
    QuantisedConv3d,
    QuantisedRNN,
    QuantisedLSTM,
    QuantisedGRU,
    QuantisedRNNCell,
    QuantisedLSTMCell,
    QuantisedGRUCell,
)


def layer_class(module: nn.Module) -> type[QuantisedLayer] | None:
    """Return the quantised layer's class for a torch layer, or None.

    A subclass with a ``forward`` of its own has none: it computes something else.
    """
    for layer in LAYERS:
        if isinstance(module, layer.kind):
            return layer if type(module).forward is layer.kind.forward else None
    return None


def weight_names(module: nn.Module) -> list[str]:
    """Return the names of the weight matrices of a layer that is, or can be, quantised."""
    if not (isinstance(module, QuantisedLayer) or layer_class(module)):
        return []
    return [n for n, p in module._parameters.items() if p is not None and n.startswith("weight")]
