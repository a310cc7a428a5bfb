"""What a deployed layer computes: its matrix products, on the arrays of its accelerator.

All arrays of a matrix are combined to one, and to how their noise adds up (`combined`, once for
as long as nothing changes); inputs are driven, multiplied and converted (`product`). Where the
user's own methods read cells, arrays are combined anew for every forward, of what these return.
"""

# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial, reduce
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.utils import _pair
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode

from mho.compat._common import fingerprint, kept
from mho.compat.xbtorch.deployment import _cells
from mho.compat.xbtorch.deployment._given import NO_ARGS, listed
from mho.compat.xbtorch.deployment.base import GenericAccelerator
from mho.compat.xbtorch.deployment.weight_encoding import known
from mho.core import random
from mho.decomposition.convolution import patches
from mho.periphery.quantize import magnitude
from mho.recurrence.form import Form
from mho.recurrence.runner import run

MODES = ("avg", "sum", "reduced_avg")
_READING = ["read_chip", "read_chip_stateless", "apply_conductance_drift"]
_READING += ["map_weights_to_array_stateless"]
_reading = attrgetter(*_READING)
_OURS = _reading(GenericAccelerator)
# What the arrays of a matrix go by, beside the chip or the weight.
_acting = attrgetter(
    *("retention_time", "drift_coefficient", "drift_t0", "drift_variation", "g_min", "g_max"),
    *("legacy", "programming_seed", "_drawn", "write_noise", "weight_encoding_scheme"),
)


# ── arrays ───────────────────────────────────────────────────────────────────────────────────


class Combined(NamedTuple):
    """What all arrays of a matrix add up to.

    Attributes:
        matrix: ``Σ_k c_k (G⁺_k - G⁻_k)``, ``[outputs, inputs]``.
        noise: ``√Σ_k 2 c_k²`` of every output: how the noise of independent cells adds up; None
            where the cells were read with their noise.
        gamma: the weight that a whole window stands for.
    """

    matrix: Tensor
    noise: Tensor | None
    gamma: Tensor


def combined(layer: Any, name: str, by_cell: bool = False) -> Combined:
    """Combine the arrays of a weight, unless nothing has changed since they were.

    ``by_cell`` reads them through the accelerator's public methods in any case.
    """
    accelerator: Any = layer.inference_accelerator
    if accelerator is None:
        raise ValueError(
            "deployed without an accelerator: give initialize an inference_accelerator, and "
            "patch the model again"
        )
    mapping = layer._xb_mappings[name] if accelerator.stateful else NO_ARGS
    if accelerator.stateful and not mapping:
        raise ValueError("the model is not on the chip: call initialize_array_mappings()")
    weight = getattr(layer, name).detach().flatten(1)
    if by_cell or _cell_by_cell(accelerator):
        return _read(accelerator, mapping, weight, layer._xb_seed(name), True)
    chip = accelerator._array if mapping else None
    parts = (accelerator, mapping, accelerator.defect_map, chip)
    of = (layer._xb_cells, weight.device) if chip is None else (chip._version, accelerator._asked)
    state = (*map(id, parts), of, dict(accelerator.weight_encoding_args), _acting(accelerator))
    marks = [fingerprint(weight)] if chip is None else []  # it may change in place

    def made() -> Any:  # with the parts: as long as they are there their ids are their own
        return _read(accelerator, mapping, weight, layer._xb_seed(name), False), parts

    return kept(layer._xb_found, name, state, marks, made)[0]


def _cell_by_cell(accelerator: Any) -> bool:
    """Whether every forward reads all cells: by the user's own methods, or clamped with noise.

    Without a chip so it does where an encoding of the user's own programs them.
    """
    return (
        not isinstance(accelerator, GenericAccelerator)
        or _reading(type(accelerator)) != _OURS
        or not vars(accelerator).keys().isdisjoint(_READING)
        or bool(accelerator.legacy and accelerator.read_noise > 0)
        or not (accelerator.stateful or known(accelerator.weight_encoding_scheme))
    )


def _read(
    accelerator: Any, mapping: dict[str, Any], weight: Tensor, seed: int, noisy: bool
) -> Combined:
    rows, cols = weight.shape
    with _cells.named(seed):
        if mapping:
            read = accelerator.read_chip if noisy else accelerator._held
            places = [mapping["Gpos"], mapping["Gneg"]]
            pair = [[read(row, rows, col, cols) for row, col in side] for side in places]
        else:
            read = accelerator.read_chip_stateless if noisy else accelerator._aged
            arrays = accelerator.map_weights_to_array_stateless(weight)[:2]
            pair = [[read(G) for G in listed(side)] for side in arrays]
    if mapping and any(float(G[0, 0]) < 0 for side in pair for G in side):
        warnings.warn(
            "the chip is new since the model was written to it: call initialize_array_mappings()",
            stacklevel=2,
        )
    matrix: Any = 0.0
    variance: Any = 0.0
    mode = mapping.get("output_polling_mode", "avg")
    for sign, mask, side in zip((1.0, -1.0), ("maskpos", "maskneg"), pair, strict=True):
        # The share of every copy in every output, ``[outputs, 1]``, or one for all.
        shares: Any = [weight.new_full((1, 1), 1.0 if mode == "sum" else 1.0 / len(side))]
        shares *= len(side)
        if mode == "reduced_avg" and mask in mapping:
            read_out = mapping[mask].to(weight).transpose(1, 2)
            shares = (read_out / read_out.sum(0).clamp(min=1.0)).unbind()
        for share, G in zip(shares, side, strict=True):
            matrix = matrix + (sign * share) * torch.as_tensor(G).to(weight)
            variance = variance + share.square()
    noise = None if noisy else variance.sqrt().expand(rows, 1).squeeze(1)
    return Combined(matrix, noise, mapping["gamma"] if mapping else magnitude(weight))


# ── products ─────────────────────────────────────────────────────────────────────────────────


def product(accelerator: Any, found: Combined, x: Tensor) -> Tensor:
    """Return what the array makes of inputs ``[…, inputs]``: ``[…, outputs]``.

    Uniform noise of half-width a in every cell is, of many cells, Gaussian at the end of a line,
    with the variance ``a²/3 · Σ v² · Σ_k 2 c_k²``.
    """
    full = found.gamma.to(x)
    # Converters that find their range by themselves do not see where the scale of weights is.
    before, after = (1.0, full) if getattr(accelerator, "_fixed_range", False) else (full, 1.0)
    driven = accelerator.DAC_quantize(x * (before * accelerator.v_read))
    pulses = driven if isinstance(driven, (list, tuple)) else [driven]
    share = [2.0**bit / (2.0 ** len(pulses) - 1.0) for bit in range(len(pulses))]
    volts: Any = driven if pulses[0] is driven else sum(map(torch.mul, pulses, share))
    current = volts @ found.matrix.to(volts).T
    if accelerator.read_noise > 0 and found.noise is not None:
        norms = [w * v.detach().norm(dim=-1, keepdim=True) for w, v in zip(share, pulses)]  # noqa: B905
        size = reduce(torch.hypot, norms) * (accelerator.read_noise / math.sqrt(3.0))
        drawn = random.normal(current.detach(), None)
        current = torch.addcmul(current, size * found.noise.to(current), drawn)
    window = accelerator.g_max - accelerator.g_min
    return accelerator.ADC_quantize(current) * (after / (window * accelerator.v_read))


# ── what layers call ─────────────────────────────────────────────────────────────────────────


def _product(layer: Any, name: str, x: Tensor) -> Tensor:
    return product(layer.inference_accelerator, combined(layer, name), x)


def _linear(layer: Any, input: Tensor, weight: Any, bias: Tensor | None = None) -> Tensor:
    output = _product(layer, "weight", input)
    return output if bias is None else output + bias


def _conv2d(
    layer: Any,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    form = SimpleNamespace(kernel_size=weight.shape[2:], padding_mode="zeros")
    form.stride, form.dilation = _pair(stride), _pair(dilation)
    form.padding = padding if isinstance(padding, str) else _pair(padding)
    under = patches(form, input if input.dim() == 4 else input.unsqueeze(0))
    rows = under.flatten(1, 3).flatten(2).transpose(1, 2)  # [batch, places, in · kernel]
    found = combined(layer, "weight")
    noise = [None] * groups if found.noise is None else found.noise.chunk(groups)
    cells = zip(found.matrix.chunk(groups), noise, rows.chunk(groups, -1), strict=True)
    on = layer.inference_accelerator
    parts = [product(on, Combined(G, size, found.gamma), part) for G, size, part in cells]
    output = torch.cat(parts, dim=-1)
    output = output if bias is None else output + bias
    output = output.transpose(1, 2).contiguous().unflatten(2, under.shape[-2:])
    return output if input.dim() == 4 else output.squeeze(0)


def _recur(layer: Any, *args: Any) -> Any:
    packed = args[3] is layer._flat_weights
    x: Any = PackedSequence(args[0], args[1]) if packed else args[0]
    hx = args[2] if packed else args[1]

    def biased(part: str, x: Tensor) -> Tensor:
        found, bias = _product(layer, f"weight_{part}", x), getattr(layer, f"bias_{part}", None)
        return found if bias is None else found + bias

    output: Any
    output, state = run(Form.of(layer), x, hx, biased, training=layer.training)
    return (output.data if packed else output.contiguous(), *state)


_PRODUCTS: dict[Any, Any] = {F.linear: _linear, F.conv2d: _conv2d}
_PRODUCTS |= dict.fromkeys((torch.lstm, torch.rnn_tanh, torch.rnn_relu), _recur)


class Products(TorchFunctionMode):
    """Within it torch's functions that multiply by a layer's weights are called by ``instead``.

    So a layer's ``forward`` is its own, also a user's, and only its products are others.
    """

    def __init__(self, layer: Any, instead: Callable[..., Any]) -> None:
        super().__init__()
        self.layer, self.instead, self.used = layer, instead, False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Compute a product as is said, anything else as torch does."""
        kwargs = kwargs or {}
        if func not in _PRODUCTS:
            return func(*args, **kwargs)
        if isinstance(self.layer, nn.RNNBase):
            multiplies = any(a is self.layer._flat_weights for a in args)
        else:
            multiplies = (args[1] if len(args) > 1 else kwargs.get("weight")) is self.layer.weight
        self.used |= multiplies
        return self.instead(func, args, kwargs) if multiplies else func(*args, **kwargs)


def forward(layer: Any, own: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a layer's own forward with its products on the accelerator."""
    if own.__func__ is nn.Linear.forward:  # nothing else happens there
        return partial(_linear, layer, weight=None, bias=layer.bias)(*args, **kwargs)
    if not isinstance(layer, (nn.Linear, nn.Conv2d, nn.RNN, nn.LSTM)):
        raise NotImplementedError(f"{type(layer).__name__} cannot be deployed")
    products = Products(layer, lambda f, args, kwargs: _PRODUCTS[f](layer, *args, **kwargs))
    # A weight that is computed is the same one, however often it is asked for.
    with parametrize.cached(), products:
        output = own(*args, **kwargs)
    if not products.used:
        warnings.warn(
            f"{type(layer).__name__} is deployed, but its forward calls no function of torch "
            "with its weight: it is computed digitally",
            stacklevel=3,
        )
    return output
