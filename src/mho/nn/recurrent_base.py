"""What recurrent cells and layers on crossbars share: parameters, matrices, products."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mho.core import checks
from mho.crossbar.crossbar import Crossbar
from mho.hardware import Hardware
from mho.nn.base import AnalogLayer
from mho.nn.computed import CALL_HOOKS
from mho.recurrence.form import Form, mode_of
from mho.recurrence.runner import Product

_TENSOR = re.compile(r"weight_(ih|hh|hr)(_l\d+(_reverse)?)?|bias_(ih|hh)(_l\d+(_reverse)?)?")

_SEEN = [kind for kind in CALL_HOOKS if kind.endswith("_hooks")]

_NEGLIGIBLE = 1e-4  # offsets of a projection, relative to its largest weight


_SIZES = {"input_size": 1, "hidden_size": 1, "num_layers": 1, "proj_size": 0}
"""Whole numbers that torch's layers take, and the least of each."""


def _places(kind: type[nn.Module]) -> tuple[str, ...]:
    """Return the names of what a torch layer takes by place (most of them say ``*args``)."""
    if issubclass(kind, nn.RNNCellBase):
        return ("input_size", "hidden_size", "bias")
    more = ("nonlinearity",) if issubclass(kind, nn.RNN) else ()
    switches = ("bias", "batch_first", "dropout", "bidirectional")
    return ("input_size", "hidden_size", "num_layers", *more, *switches, "proj_size")


class Recurrent(AnalogLayer):
    """Base of recurrent cells and layers: matrices, biases, products and the way back to torch.

    Parameters are named as torch names them. ``weight_ih…`` is stored in ``crossbar_ih…``, and so
    for ``hh`` and (the projection of an LSTM) ``hr``; a bias on the array is the last row. In
    training mode one call is one chip: fabrication and programming are drawn once for all its
    time steps, white read noise at each.

    Args:
        *args: of the torch layer.
        hardware: what the crossbars are made of.
        seed: of the crossbars.
        **kwargs: of the torch layer.
    """

    mode: str
    input_size: int
    hidden_size: int
    bias: bool
    proj_size: int = 0

    def __init__(self, *args: Any, hardware: Hardware, seed: int = 0, **kwargs: Any) -> None:
        super().__init__()
        args = tuple(map(checks.plain, args))
        given = {name: checks.plain(value) for name, value in kwargs.items()}
        named = {**dict(zip(_places(self.kind), args, strict=False)), **given}
        for name, least in _SIZES.items():
            checks.integer(name, named.get(name, 1), least=least)
        for name in ("bias", "batch_first", "bidirectional"):
            checks.truth(name, named.get(name, False))
        self._build(self.kind(*args, **given), hardware, seed)

    @property
    def form(self) -> Form:
        """What the runner needs to know of this layer."""
        return Form.of(self)

    def _tensors(self, digital: nn.Module) -> list[str]:
        return [name for name in vars(digital) if _TENSOR.fullmatch(name)]

    def _adopt(self, digital: nn.Module) -> None:
        self.mode = mode_of(digital)

    def _bias(self, part: str) -> Tensor | None:
        bias: Tensor | None = getattr(self, f"bias_{part}", None)
        return bias

    @property
    def _bias_on_array(self) -> bool:
        return self.bias and self.hardware.bias == "array"

    def matrices(self) -> dict[str, Tensor]:
        """All weights, ``[inputs, outputs]``; a bias on the array is the last row."""
        found: dict[str, Tensor] = {}
        for part in self.form.parts:
            weight: Tensor = getattr(self, f"weight_{part}")
            matrix = weight.T
            if self._bias_on_array and self.holds(f"bias_{part}"):
                bias: Any = self._bias(part)
                matrix = torch.cat((matrix, bias.unsqueeze(0)))
            found[f"crossbar_{part}"] = matrix
        return found

    # ── read ─────────────────────────────────────────────────────────────────────────────────

    def _product(self, x: Tensor) -> Product:
        """Return what multiplies with a part's matrix and adds its bias, in this call on ``x``."""
        self.check_dtype(x)
        if self.training:
            matrices = self.matrices()
        else:
            self.warn_if_stale()
        found: dict[str, Callable[[Tensor], Tensor]] = {}
        for part in self.form.parts:
            name = f"crossbar_{part}"
            crossbar = getattr(self, name)
            biased = self.holds(f"bias_{part}")
            bias = self._bias(part) if biased and not self._bias_on_array else None
            if self.training:
                read = crossbar.reader.prepared(self.training_readout(name, matrices[name]))
            else:
                read = _plain_reads(crossbar, bias, len(x) if x.dim() > 1 else 1)
                if read is not None:
                    bias = None
                else:
                    read = crossbar
            if biased and self._bias_on_array:
                read = partial(_read_with_row, read)
            found[part] = read if bias is None else partial(_read_and_add, read, bias)
        return lambda part, x: found[part](x)

    @property
    def _is_native(self) -> bool:
        """Whether torch's own kernels, given effective weights, compute what the chip does."""
        if not self.hardware.drive.ideal:  # every product's inputs are quantised
            return False
        crossbars = self.crossbars
        if not all(crossbar.collapsed for crossbar in crossbars.values()):
            return False
        if self.training:
            return True
        if any(b.acts_on("read") for b in self.hardware.behaviours):  # new at every time step
            return False
        # Torch's projection has no bias to take the correction's offset.
        return not any(c.reader.corrected for name, c in crossbars.items() if "_hr" in name)

    def _effective(self, x: Tensor) -> dict[str, Tensor]:
        """Return torch's parameters for what this call's chip computes (`_is_native` only)."""
        self.check_dtype(x)
        if self.training:
            seen = {
                n: self.training_readout(n, m).matrix.squeeze(0) for n, m in self.matrices().items()
            }
            return self._as_torch(seen, corrected=False)
        self.warn_if_stale()
        crossbars = self.crossbars
        stored = {n: crossbar.reader.stored_for(x).matrix[0] for n, crossbar in crossbars.items()}
        corrected = any(crossbar.reader.corrected for crossbar in crossbars.values())
        found = self._as_torch(stored, corrected=corrected)
        return {name: tensor.to(x.dtype) for name, tensor in found.items()}

    def _as_torch(self, matrices: dict[str, Tensor], *, corrected: bool) -> dict[str, Tensor]:
        """Turn matrices into torch's parameters by name.

        Args:
            matrices: ``[inputs, outputs]`` by crossbar, bias rows included.
            corrected: fold the output correction in: gains into rows, offsets into biases (which
                all exist then).
        """
        found: dict[str, Tensor] = {}
        for part in self.form.parts:
            matrix, bias = matrices[f"crossbar_{part}"], None
            crossbar = getattr(self, f"crossbar_{part}")
            if corrected:
                matrix = matrix * crossbar.gain
            if self._bias_on_array and self.holds(f"bias_{part}"):
                matrix, bias = matrix[:-1], matrix[-1]
            else:
                bias = self._bias(part)
            if corrected and not part.startswith("hr"):
                bias = crossbar.offset if bias is None else bias + crossbar.offset
            found[f"weight_{part}"] = matrix.T
            if bias is not None:
                found[f"bias_{part}"] = bias
        return found

    # ── back to torch ────────────────────────────────────────────────────────────────────────

    def to_digital(self) -> nn.Module:
        """Return the torch layer with the weights as now stored.

        The output correction is folded in, but for the offsets of a projection: torch's has no
        bias to hold them. A warning says so where they matter. The weights are plain parameters,
        whatever computed the digital ones.
        """
        crossbars = self.crossbars
        for name, crossbar in crossbars.items():
            lost = float(crossbar.offset.abs().max())
            if "_hr" in name and lost > _NEGLIGIBLE * float(crossbar.weight.abs().max()):
                warnings.warn(
                    f"torch.nn.LSTM's projection has no bias: the output offsets of {name}, up to "
                    f"{lost:.3g}, are left out",
                    stacklevel=2,
                )
        stored = {name: crossbar.effective_weight.detach() for name, crossbar in crossbars.items()}
        with self.at_rest():
            found = self._as_torch(
                stored, corrected=any(c.reader.corrected for c in crossbars.values())
            )
        some = next(iter(stored.values()))
        # Biases that only a correction would need, and it does not, are left out.
        biased = self.bias or any(bool(v.any()) for k, v in found.items() if k.startswith("bias"))
        layer = self._blank(bias=biased, device="meta", dtype=some.dtype)
        for name, _ in list(layer.named_parameters()):
            value = found[name].detach().clone(memory_format=torch.contiguous_format)
            setattr(layer, name, nn.Parameter(value))
        return layer.to(self.kind_of_numbers).train(self.training)

    def _blank(self, *, bias: bool, **kind: Any) -> nn.Module:
        """Return a new torch layer of the same settings."""
        raise NotImplementedError


def _plain_reads(
    crossbar: Crossbar, bias: Tensor | None, vectors: int
) -> Callable[[Tensor], Tensor] | None:
    """Return a crossbar's reads without the call of a module, if no hook is to see it."""
    if any(getattr(crossbar, kind) for kind in _SEEN) or torch.compiler.is_compiling():
        return None
    return None if "forward" in vars(crossbar) else crossbar.reader.repeated(bias, vectors)


def _read_with_row(read: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return read(torch.cat((x, torch.ones_like(x[..., :1])), dim=-1))


def _read_and_add(read: Callable[[Tensor], Tensor], bias: Tensor, x: Tensor) -> Tensor:
    y = read(x)
    return (y + bias).to(y.dtype)
