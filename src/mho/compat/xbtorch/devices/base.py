"""Devices: weights as conductances, gradients as pulses, and what cells make of pulses."""

from __future__ import annotations

import os
from collections.abc import Hashable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.compat.xbtorch._params import get_xbtorch_param
from mho.compat.xbtorch.devices._cells import CellDevice
from mho.compat.xbtorch.devices.utils import (
    find_nearest,
    find_nearest_2d,
    floating,
    stochastic_round,
)
from mho.devices.exponential import LARGEST_NONLINEARITY, ExponentialDevice, curvature
from mho.devices.tabular import JumpTable
from mho.devices.tabular import TabularDevice as Tables

__all__ = [
    "AnalyticalDevice",
    "GenericDevice",
    "TabularDevice",
    "find_nearest",
    "find_nearest_2d",
    "get_xbtorch_param",
    "stochastic_round",
]

_STRAIGHT = 0.01  # a label this small is a straight line, and A is still a number
_CURVES = ("param_A_set", "param_A_reset", "param_B_set", "param_B_reset")
_WINDOW = tuple(f"{end}_conductance_{way}" for end in ("min", "max") for way in ("set", "reset"))


class _Itself:
    """An attribute that is its object, until something else is put there."""

    def __get__(self, device: Any, kind: type) -> Any:
        return self if device is None else device


class GenericDevice:
    """Base of all devices: a subclass defines `write`, and has a ``max_level``.

    Args:
        min_conductance, max_conductance: the window, in both directions; or by direction
            ``min_conductance_set`` and so on. Kept is what both directions reach.

    Attributes:
        params: what is known of the cells written so far, by what names them.

    Raises:
        ValueError: if bounds are missing or leave no window.
    """

    max_level: int
    params: dict[Hashable, Any]
    _device = _Itself()

    def __init__(
        self,
        min_conductance: Any = None,
        max_conductance: Any = None,
        min_conductance_set: Any = None,
        min_conductance_reset: Any = None,
        max_conductance_set: Any = None,
        max_conductance_reset: Any = None,
    ) -> None:
        if min_conductance is not None and max_conductance is not None:
            min_conductance_set = min_conductance_reset = min_conductance
            max_conductance_set = max_conductance_reset = max_conductance
        lowest = min_conductance_set, min_conductance_reset
        highest = max_conductance_set, max_conductance_reset
        bounds = dict(zip(_WINDOW, lowest + highest, strict=True))
        missing = [name for name, value in bounds.items() if value is None]
        if missing:
            raise ValueError(
                "give min_conductance and max_conductance, or all four bounds by direction; "
                f"{', '.join(missing)} is missing"
            )
        vars(self).update({name: float(value) for name, value in bounds.items()})
        self.min_conductance = low = max(map(float, lowest))
        self.max_conductance = high = min(map(float, highest))
        if not 0.0 <= low < high:
            raise ValueError(
                f"conductances must satisfy 0 <= lowest < highest, got {low:g} … {high:g}"
            )
        self.params = {}

    def reset_cached_params(self) -> None:
        """Forget the cells: the next write draws new ones."""
        self.params = {}

    def write(self, G: Tensor, pulse: Tensor) -> Tensor:
        """Return what signed numbers of pulses make of conductances, of the same shape."""
        raise NotImplementedError(f"{type(self).__name__} must define write(G, pulse)")

    def weight_to_conductance(self, weight: Any) -> Any:
        """Return the conductances that weights stand for: ``weight_range`` on the window."""
        low, high = get_xbtorch_param("weight_range")
        part = (weight - low) / (high - low)
        return part * (self.max_conductance - self.min_conductance) + self.min_conductance

    def conductance_to_weight(self, conductance: Any) -> Any:
        """Return the weights that conductances stand for."""
        low, high = get_xbtorch_param("weight_range")
        window = self.max_conductance - self.min_conductance
        return (conductance - self.min_conductance) / window * (high - low) + low

    def gradient_to_pulse(self, gradient: Any) -> Tensor:
        """Return how many pulses a change of weights is worth, stochastically rounded.

        ``max_level`` pulses go through the whole ``weight_range``.
        """
        low, high = get_xbtorch_param("weight_range")
        return stochastic_round(floating(gradient) * (self.max_level / (high - low)))


class AnalyticalDevice(CellDevice, GenericDevice):
    """Cells with an exponential response, see `mho.devices.ExponentialDevice`.

    A subclass (or an object) with a `get_param_A`, `get_param_B`, `conductance_to_pulse` or
    `pulse_to_conductance` of its own is asked for its curve at every write: the cell's place on it
    in pulses, plus the pulses, and there the noise of as many.

    Args:
        min_conductance, max_conductance: the window.
        d2d_var: standard deviation of the nonlinearity labels from cell to cell.
        c2c_var: standard deviation of one pulse, as a fraction of the window.
        nonlinearity_set, nonlinearity_reset: labels, -9…9; the second is usually negative.
        max_level: pulses through the window.

    Attributes:
        param_A_set: A (in pulses) of the set curves of the cells written last; before, of the
            nominal cell. Likewise ``param_A_reset``, ``param_B_set`` and ``param_B_reset``.
    """

    data_dir = "analytical"

    def __init__(
        self,
        min_conductance: float,
        max_conductance: float,
        d2d_var: float,
        c2c_var: float,
        nonlinearity_set: float,
        nonlinearity_reset: float,
        max_level: int,
    ) -> None:
        GenericDevice.__init__(self, min_conductance, max_conductance)
        self.d2d_var, self.c2c_var = d2d_var, c2c_var
        self.nonlinearity_set, self.nonlinearity_reset = nonlinearity_set, nonlinearity_reset
        self.max_level = max_level
        self.spec()  # refuses bad parameters now

    def __getattr__(self, name: str) -> Tensor:
        if name not in _CURVES:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self._curves({way: torch.tensor(self._label(way)) for way in ("set", "reset")})[name]

    def _label(self, way: str) -> float:
        return float(getattr(self, f"nonlinearity_{way}"))

    def spec(self) -> ExponentialDevice:
        """Return mho's device."""
        return ExponentialDevice(
            g_min=float(self.min_conductance),
            g_max=float(self.max_conductance),
            nonlinearity_set=self._label("set"),
            nonlinearity_reset=self._label("reset"),
            d2d=float(self.d2d_var),
            c2c=float(self.c2c_var),
            levels=int(self.max_level),
        )

    def reset_cached_params(self) -> None:
        """Forget the cells: the next write draws new ones."""
        super().reset_cached_params()
        for name in _CURVES:
            self.__dict__.pop(name, None)

    def set_c2c_var(self, var: float) -> None:
        """Set the noise of pulses; it acts from the next write on."""
        self.c2c_var = var
        self.spec()

    def set_d2d_var(self, var: float) -> None:
        """Set the spread from cell to cell: new cells are made."""
        self._set("d2d_var", var)

    def set_nonlinearity_set(self, nl_set: float) -> None:
        """Set the label of the set curve: new cells are made."""
        self._set("nonlinearity_set", nl_set)

    def set_nonlinearity_reset(self, nl_reset: float) -> None:
        """Set the label of the reset curve: new cells are made."""
        self._set("nonlinearity_reset", nl_reset)

    def _set(self, name: str, value: float) -> None:
        setattr(self, name, value)
        self.spec()
        self.reset_cached_params()

    def pulse_to_conductance(self, xPulse: Any, A: Any, B: Any) -> Tensor:
        """Return ``B · (1 - e^(-P/A)) + min_conductance``."""
        pulse, A, B = map(floating, (xPulse, A, B))
        return -B * torch.expm1(-pulse / A) + self.min_conductance

    def conductance_to_pulse(self, G: Any, A: Any, B: Any) -> Tensor:
        """Return ``-A · ln(1 - (G - min_conductance)/B)``: the inverse."""
        G, A, B = map(floating, (G, A, B))
        return -A * torch.log1p(-(G - self.min_conductance) / B)

    def get_param_A(self, nonlinearity: Any) -> Tensor:  # noqa: N802
        """Return ``A / max_level`` of nonlinearity labels, solved (see `mho`'s ``curvature``).

        Labels nearer to zero than 0.01 are taken for 0.01: a straight line.
        """
        label = floating(nonlinearity)
        sign = torch.where(label < 0, -1.0, 1.0).to(label)
        size = label.abs().clamp(_STRAIGHT, LARGEST_NONLINEARITY)
        return sign / curvature(size.double()).to(label)

    def get_param_B(self, A: Any) -> Tensor:  # noqa: N802
        """Return ``(max - min) / (1 - e^(-max_level/A))``, of A in pulses."""
        window = self.max_conductance - self.min_conductance
        return -window / torch.expm1(-self.max_level / floating(A))

    def _curves(self, labels: dict[str, Tensor]) -> dict[str, Tensor]:
        found = {}
        for way, label in labels.items():
            A = torch.as_tensor(self.get_param_A(label)) * self.max_level
            found[f"param_A_{way}"] = A.expand(label.shape)
            found[f"param_B_{way}"] = torch.as_tensor(self.get_param_B(A)).expand(label.shape)
        return found

    def _described(self, cells: Any) -> dict[str, Tensor]:
        labels = {}
        for way in ("set", "reset"):
            label = torch.as_tensor(cells.parameter(f"nonlinearity_{way}")).to(cells.g)
            labels[way] = label.expand(cells.shape) if self._own_curve else label
        return {k: v.expand(cells.shape) for k, v in self._curves(labels).items()}

    @property
    def _own_curve(self) -> bool:
        return any(
            name in self.__dict__ or getattr(type(self), name) is not given
            for name, given in _OURS.items()
        )

    def _along(self, G: Tensor, pulses: Tensor, known: dict[str, Any]) -> Tensor:
        A, B = (
            torch.where(pulses > 0, known[f"param_{x}_set"].to(G), known[f"param_{x}_reset"].to(G))
            for x in ("A", "B")
        )
        low, high = self.min_conductance, self.max_conductance
        place = self.conductance_to_pulse(G.clamp(low, high), A, B)
        after = self.pulse_to_conductance(place + pulses, A, B)
        if self.c2c_var > 0:
            noise = torch.randn_like(G) * pulses.abs().sqrt()
            after = after + noise * (float(self.c2c_var) * (high - low))
        return after.clamp(low, high)


_OURS = {
    name: getattr(AnalyticalDevice, name)
    for name in ("get_param_A", "get_param_B", "conductance_to_pulse", "pulse_to_conductance")
}


class TabularDevice(CellDevice, GenericDevice):
    """Cells whose pulses are drawn from jump tables, see `mho.devices.TabularDevice`.

    Args:
        reset_g, reset_dg, reset_cdf: the reset table, as files or arrays: conductances, jumps, and
            their probabilities (rows conductances, columns jumps). Attributes ``reset_G``, ….
        set_g, set_dg, set_cdf: the set table.
        max_level: pulses through the window.
    """

    data_dir = "tabular"
    _d2d = 0.0

    def __init__(
        self,
        reset_g: Any,
        reset_dg: Any,
        reset_cdf: Any,
        set_g: Any,
        set_dg: Any,
        set_cdf: Any,
        max_level: int,
    ) -> None:
        set_table = _table(*map(_numbers, (set_g, set_dg, set_cdf)))
        reset_table = _table(*map(_numbers, (reset_g, reset_dg, reset_cdf)))
        self._adopt(set_table, reset_table, max_level)

    def _adopt(self, set_table: JumpTable, reset_table: JumpTable, max_level: int) -> None:
        kind: Any = {"dtype": torch.float32, "device": get_xbtorch_param("pytorch_device")}
        for way, table in (("set", set_table), ("reset", reset_table)):
            setattr(self, f"{way}_G", torch.tensor(table.g, **kind))
            setattr(self, f"{way}_dG", torch.tensor(table.dg, **kind))
            setattr(self, f"{way}_cdf", torch.tensor(table.cdf, **kind))
        ends = set_table.g[0], reset_table.g[0], set_table.g[-1], reset_table.g[-1]
        GenericDevice.__init__(self, None, None, *ends)
        self.max_level = max_level
        self._made = (self._shown(), (set_table, reset_table))
        self.spec()  # refuses bad parameters now

    def _shown(self) -> list[Tensor]:
        parts = (f"{way}_{part}" for way in ("set", "reset") for part in ("G", "dG", "cdf"))
        return [torch.as_tensor(getattr(self, name)).cpu().clone() for name in parts]

    def spec(self) -> Tables:
        """Return mho's device, of the tables as they are now."""
        now = self._shown()
        if not all(map(torch.equal, now, self._made[0])):
            parts = [part.double().numpy() for part in now]
            self._made = (now, (_table(*parts[:3]), _table(*parts[3:])))
        return Tables(
            *self._made[1],
            g_min=float(self.min_conductance),
            g_max=float(self.max_conductance),
            d2d=self._d2d,
        )

    def write(self, G: Tensor, numPulse: Any, group_param_idx: Any = None) -> Tensor:
        """See `CellDevice.write`."""
        return super().write(G, numPulse, group_param_idx)


def _numbers(given: Any) -> Any:
    """Return what is in a file (by its name, or open), or an array."""
    is_file = isinstance(given, (str, os.PathLike)) or hasattr(given, "read")
    return np.loadtxt(given) if is_file else floating(given).detach().cpu().double().numpy()


def _table(g: Any, dg: Any, cdf: Any) -> JumpTable:
    cdf = np.maximum.accumulate(np.clip(np.atleast_2d(cdf), 0.0, 1.0), axis=1)
    g, dg = map(np.ravel, (g, dg))
    return JumpTable(g, dg, cdf)
