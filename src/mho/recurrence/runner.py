"""What recurrent cells and whole recurrent layers share: time steps, matrices, products.

One time step needs two products, of the input and of the hidden state, each with a crossbar of
its own. What follows them is digital: the pure functions of `mho.recurrence.steps`, one per kind
of cell.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mho.core import checks
from mho.hardware import Hardware
from mho.nn.base import AnalogLayer
from mho.recurrence.steps import State

_PARAMETER = re.compile(r"weight_(ih|hh|hr)(_l\d+(_reverse)?)?|bias_(ih|hh)(_l\d+(_reverse)?)?")

_NEGLIGIBLE = 1e-4  # offsets of a projection, relative to its largest weight


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

    kind: ClassVar[type[nn.Module]]
    mode: str
    input_size: int
    hidden_size: int
    bias: bool
    proj_size: int = 0

    def __init__(self, *args: Any, hardware: Hardware, seed: int = 0, **kwargs: Any) -> None:
        super().__init__()
        self._build(self.kind(*args, **kwargs), hardware, seed)

    @property
    def _products_of(self) -> tuple[str, ...]:
        """Kinds of products, as they appear in parameter names."""
        return ("ih", "hh", "hr") if self.proj_size else ("ih", "hh")

    @property
    def _ends(self) -> Sequence[str]:
        """Ends of parameter names: one per layer and direction."""
        return ("",)

    @property
    def _parts(self) -> list[str]:
        return [f"{product}{end}" for end in self._ends for product in self._products_of]

    @property
    def _state_sizes(self) -> tuple[int, ...]:
        size = self.proj_size or self.hidden_size
        return (size, self.hidden_size) if self.mode == "LSTM" else (size,)

    def takes(self, name: str) -> bool:
        """Whether a parameter is one of torch's own (a parametrisation adds others)."""
        return _PARAMETER.fullmatch(name) is not None

    def _adopt(self, digital: nn.Module) -> None:
        checks.instance("layer", digital, self.kind)
        source: Any = digital
        self.input_size, self.hidden_size = source.input_size, source.hidden_size
        self.bias = bool(source.bias)
        self._adopt_settings(source)
        for part in self._parts:
            names = [f"weight_{part}"]
            if self.bias and not part.startswith("hr"):
                names.append(f"bias_{part}")
            for name in names:
                if name not in self._parameters:  # a parametrised weight: its value now
                    self.register_parameter(
                        name, nn.Parameter(getattr(source, name).detach().clone())
                    )

    def _adopt_settings(self, source: Any) -> None:
        """Take over what differs between the kinds, ``mode`` above all."""
        raise NotImplementedError

    def _bias(self, part: str) -> Tensor | None:
        bias: Tensor | None = getattr(self, f"bias_{part}", None)
        return bias

    @property
    def _bias_on_array(self) -> bool:
        return self.bias and self.hardware.bias == "array"

    def matrices(self) -> dict[str, Tensor]:
        """All weights, ``[inputs, outputs]``; a bias on the array is the last row."""
        found: dict[str, Tensor] = {}
        for part in self._parts:
            weight: Tensor = getattr(self, f"weight_{part}")
            matrix, bias = weight.T, self._bias(part)
            if bias is not None and self._bias_on_array:
                matrix = torch.cat((matrix, bias.unsqueeze(0)))
            found[f"crossbar_{part}"] = matrix
        return found

    # ── read ─────────────────────────────────────────────────────────────────────────────────

    def _products(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return, by part, what multiplies with its matrix and adds its bias, in this call."""
        if self.training:
            matrices = self.matrices()
        else:
            self.warn_if_stale()
        found: dict[str, Callable[[Tensor], Tensor]] = {}
        for part in self._parts:
            name = f"crossbar_{part}"
            crossbar = getattr(self, name)
            read = crossbar
            if self.training:
                read = partial(crossbar.read, seen=crossbar.through(matrices[name]))
            bias = self._bias(part)
            if bias is None:
                found[part] = read
            elif self._bias_on_array:
                found[part] = partial(_read_with_row, read)
            else:
                found[part] = partial(_read_and_add, read, bias)
        return found

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
        return not any(c.corrected for name, c in crossbars.items() if "_hr" in name)

    def _effective(self) -> dict[str, Tensor]:
        """Return torch's parameters for what this call's chip computes (`_is_native` only)."""
        if self.training:
            seen = {n: getattr(self, n).through(m).matrix[0] for n, m in self.matrices().items()}
            return self._as_torch(seen, corrected=False)
        self.warn_if_stale()
        crossbars = self.crossbars
        stored = {name: crossbar.stored.matrix[0] for name, crossbar in crossbars.items()}
        return self._as_torch(stored, corrected=any(c.corrected for c in crossbars.values()))

    def _as_torch(self, matrices: dict[str, Tensor], *, corrected: bool) -> dict[str, Tensor]:
        """Turn matrices into torch's parameters by name.

        Args:
            matrices: ``[inputs, outputs]`` by crossbar, bias rows included.
            corrected: fold the output correction in: gains into rows, offsets into biases (which
                all exist then).
        """
        found: dict[str, Tensor] = {}
        for part in self._parts:
            matrix = matrices[f"crossbar_{part}"]
            bias = self._bias(part)
            crossbar = getattr(self, f"crossbar_{part}")
            if corrected:
                matrix = matrix * crossbar.gain
            if bias is not None and self._bias_on_array:
                matrix, bias = matrix[:-1], matrix[-1]
            if corrected and not part.startswith("hr"):
                bias = crossbar.offset if bias is None else bias + crossbar.offset
            found[f"weight_{part}"] = matrix.T
            if bias is not None:
                found[f"bias_{part}"] = bias
        return found

    def _initial(self, hx: Any, lead: tuple[int, ...], like: Tensor) -> State:
        """Return the state given, checked, or zeros: ``[*lead, size]`` each.

        Raises:
            TypeError, ValueError: if the state is of another kind or shape.
        """
        sizes = self._state_sizes
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

    # ── back to torch ────────────────────────────────────────────────────────────────────────

    def to_digital(self) -> nn.Module:
        """Return the torch layer with the weights as now stored.

        The output correction is folded in, but for the offsets of a projection: torch's has no
        bias to hold them. A warning says so where they matter.
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
        found = self._as_torch(stored, corrected=any(c.corrected for c in crossbars.values()))
        some = next(iter(stored.values()))
        # Biases that only a correction would need, and it does not, are left out.
        biased = self.bias or any(bool(v.any()) for k, v in found.items() if k.startswith("bias"))
        layer = self._blank(bias=biased, device="meta", dtype=some.dtype)
        for name, _ in list(layer.named_parameters()):
            value = found[name].detach().clone(memory_format=torch.contiguous_format)
            setattr(layer, name, nn.Parameter(value))
        return layer.train(self.training)

    def _blank(self, *, bias: bool, **kind: Any) -> nn.Module:
        """Return a new torch layer of the same settings."""
        raise NotImplementedError


def _read_with_row(read: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return read(torch.cat((x, torch.ones_like(x[..., :1])), dim=-1))


def _read_and_add(read: Callable[[Tensor], Tensor], bias: Tensor, x: Tensor) -> Tensor:
    return read(x) + bias
