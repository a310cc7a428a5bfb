"""Devices: weights as conductances, gradients as pulses, and what cells make of pulses."""

from __future__ import annotations

import abc
from collections.abc import Hashable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.compat.xbtorch._params import get_xbtorch_param
from mho.compat.xbtorch._seeds import seed
from mho.compat.xbtorch.devices.utils import stochastic_round
from mho.devices.exponential import LARGEST_NONLINEARITY, ExponentialDevice, curvature
from mho.devices.pulsed import PulsedCells, PulsedDevice
from mho.devices.tabular import JumpTable
from mho.devices.tabular import TabularDevice as Tables

_STRAIGHT = 0.01  # a label this small is a straight line, and A is still a number


class GenericDevice(abc.ABC):
    """Base of all devices: a subclass defines `write`, and has a ``max_level``.

    Args:
        min_conductance: lowest conductance, in both directions.
        max_conductance: highest conductance, in both directions.
        min_conductance_set: lowest conductance of set pulses.
        min_conductance_reset: lowest conductance of reset pulses.
        max_conductance_set: highest conductance of set pulses.
        max_conductance_reset: highest conductance of reset pulses.

    Attributes:
        min_conductance: lowest conductance that both directions reach.
        max_conductance: highest conductance that both directions reach.

    Raises:
        ValueError: if bounds are missing or leave no window.
    """

    max_level: int
    params: dict[str, Any]

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
        bounds = {
            "min_conductance_set": min_conductance_set,
            "min_conductance_reset": min_conductance_reset,
            "max_conductance_set": max_conductance_set,
            "max_conductance_reset": max_conductance_reset,
        }
        missing = [name for name, value in bounds.items() if value is None]
        if missing:
            raise ValueError(
                "give min_conductance and max_conductance, or all four bounds by direction; "
                f"{', '.join(missing)} is missing"
            )
        for name, value in bounds.items():
            setattr(self, name, float(value))
        self.min_conductance = max(float(min_conductance_set), float(min_conductance_reset))
        self.max_conductance = min(float(max_conductance_set), float(max_conductance_reset))
        if not 0.0 <= self.min_conductance < self.max_conductance:
            raise ValueError(
                "conductances must satisfy 0 <= lowest < highest, got "
                f"{self.min_conductance:g} … {self.max_conductance:g}"
            )

    def reset_cached_params(self) -> None:
        """Forget the cells: the next write draws new ones."""
        self.params = {}

    @abc.abstractmethod
    def write(self, G: Tensor, pulse: Tensor) -> Tensor:
        """Apply pulses.

        Args:
            G: conductances.
            pulse: signed numbers of pulses, of the same shape.
        """

    def weight_to_conductance(self, weight: Tensor) -> Tensor:
        """Return the conductances that weights stand for: ``weight_range`` on the window."""
        low, high = get_xbtorch_param("weight_range")
        part = (weight - low) / (high - low)
        return part * (self.max_conductance - self.min_conductance) + self.min_conductance

    def conductance_to_weight(self, conductance: Tensor) -> Tensor:
        """Return the weights that conductances stand for."""
        low, high = get_xbtorch_param("weight_range")
        window = self.max_conductance - self.min_conductance
        return (conductance - self.min_conductance) / window * (high - low) + low

    def gradient_to_pulse(self, gradient: Tensor) -> Tensor:
        """Return how many pulses a change of weights is worth, stochastically rounded.

        ``max_level`` pulses go through the whole ``weight_range``.
        """
        low, high = get_xbtorch_param("weight_range")
        return stochastic_round(gradient * (self.max_level / (high - low)))


class CellDevice(GenericDevice):
    """Base of the devices that mho's pulse-count cells stand for.

    Every parameter of a model has a population of cells of its own, made at its first write.
    """

    def spec(self) -> PulsedDevice:
        """Return mho's device."""
        raise NotImplementedError

    def reset_cached_params(self) -> None:
        """Forget the cells: the next write draws new ones."""
        super().reset_cached_params()
        self._cells: dict[Hashable, PulsedCells] = {}

    def _population(self, G: Tensor, key: Hashable) -> PulsedCells:
        cells = self._cells.get(key)
        spec = self.spec()
        fits = cells is not None and cells.shape == tuple(G.shape) and cells.g.device == G.device
        if not fits or cells is None:
            kind: Any = {"dtype": _dtype(G), "device": G.device}
            made = spec.fabricate(tuple(G.shape), seed=seed(), **kind)
            assert isinstance(made, PulsedCells)
            self._cells[key] = cells = made
        elif type(spec) is ExponentialDevice and cells.spec.c2c != spec.c2c:  # type: ignore[attr-defined]
            cells.spec = cells.spec.replace(c2c=spec.c2c)  # noise is of a cycle, not of a cell
        return cells

    @torch.no_grad()
    def write(self, G: Tensor, numPulse: Tensor, group_param_idx: Any = (0, 0)) -> Tensor:
        """Apply pulses to cells.

        Args:
            G: conductances; changed in place.
            numPulse: signed numbers of pulses.
            group_param_idx: names the cells.

        Returns:
            ``G``.
        """
        counts = numPulse.to(torch.int64)
        cells = self._population(G, group_param_idx)
        cells.write(G.detach())
        cells.pulse(counts)
        # Cells that had no pulse keep their very bits, also outside of the window.
        return G.copy_(torch.where(counts != 0, cells.conductance().to(G), G))


def _dtype(G: Tensor) -> torch.dtype:
    return G.dtype if G.dtype in (torch.float32, torch.float64) else torch.float32


class AnalyticalDevice(CellDevice):
    """Cells with an exponential response, see `mho.devices.ExponentialDevice`.

    Args:
        min_conductance: lowest conductance.
        max_conductance: highest conductance.
        d2d_var: standard deviation of the nonlinearity labels from cell to cell.
        c2c_var: standard deviation of one pulse, as a fraction of the window.
        nonlinearity_set: label of the set curve, -9…9.
        nonlinearity_reset: label of the reset curve, -9…9; negative for a usual cell.
        max_level: pulses through the window.
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
        super().__init__(min_conductance, max_conductance)
        self.d2d_var = d2d_var
        self.c2c_var = c2c_var
        self.nonlinearity_set = nonlinearity_set
        self.nonlinearity_reset = nonlinearity_reset
        self.max_level = max_level
        self.reset_cached_params()
        self.spec()  # refuses bad parameters now

    def spec(self) -> ExponentialDevice:
        """Return mho's device."""
        return ExponentialDevice(
            g_min=self.min_conductance,
            g_max=self.max_conductance,
            nonlinearity_set=float(self.nonlinearity_set),
            nonlinearity_reset=float(self.nonlinearity_reset),
            d2d=float(self.d2d_var),
            c2c=float(self.c2c_var),
            levels=int(self.max_level),
        )

    def set_c2c_var(self, var: float) -> None:
        """Set the noise of pulses; it acts from the next write on."""
        self.c2c_var = var
        self.spec()

    def set_d2d_var(self, var: float) -> None:
        """Set the spread from cell to cell: new cells are made."""
        self.d2d_var = var
        self.spec()
        self.reset_cached_params()

    def set_nonlinearity_set(self, nl_set: float) -> None:
        """Set the label of the set curve: new cells are made."""
        self.nonlinearity_set = nl_set
        self.spec()
        self.reset_cached_params()

    def set_nonlinearity_reset(self, nl_reset: float) -> None:
        """Set the label of the reset curve: new cells are made."""
        self.nonlinearity_reset = nl_reset
        self.spec()
        self.reset_cached_params()

    def pulse_to_conductance(self, xPulse: Tensor, A: Tensor, B: Tensor) -> Tensor:
        """Return ``B · (1 - e^(-P/A)) + min_conductance``."""
        return -B * torch.expm1(-xPulse / A) + self.min_conductance

    def conductance_to_pulse(self, G: Tensor, A: Tensor, B: Tensor) -> Tensor:
        """Return ``-A · ln(1 - (G - min_conductance)/B)``: the inverse."""
        return -A * torch.log1p(-(G - self.min_conductance) / B)

    def get_param_A(self, nonlinearity: Tensor) -> Tensor:  # noqa: N802
        """Return ``A / max_level`` of nonlinearity labels, solved (see `mho`'s ``curvature``).

        Labels nearer to zero than 0.01 are taken for 0.01: a straight line.
        """
        label = torch.as_tensor(nonlinearity)
        label = label if label.is_floating_point() else label.to(torch.get_default_dtype())
        sign = torch.where(label < 0, -1.0, 1.0).to(label)
        size = label.abs().clamp(_STRAIGHT, LARGEST_NONLINEARITY)
        return sign / curvature(size.double()).to(label)

    def get_param_B(self, A: Tensor) -> Tensor:  # noqa: N802
        """Return ``(max - min) / (1 - e^(-max_level/A))``, of A in pulses."""
        window = self.max_conductance - self.min_conductance
        return -window / torch.expm1(-self.max_level / A)


class TabularDevice(CellDevice):
    """Cells whose pulses are drawn from jump tables, see `mho.devices.TabularDevice`.

    Args:
        reset_g: file of the conductances of the reset table.
        reset_dg: file of its jumps.
        reset_cdf: file of its probabilities, rows conductances, columns jumps.
        set_g: file of the conductances of the set table.
        set_dg: file of its jumps.
        set_cdf: file of its probabilities.
        max_level: pulses through the window.
    """

    data_dir = "tabular"

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
        read = (np.loadtxt(f, dtype=np.float64) for f in (reset_g, reset_dg, reset_cdf))
        reset_table = _table(*read)
        read = (np.loadtxt(f, dtype=np.float64) for f in (set_g, set_dg, set_cdf))
        self._adopt(_table(*read), reset_table, max_level)

    def _adopt(self, set_table: JumpTable, reset_table: JumpTable, max_level: int) -> None:
        self._tables = (set_table, reset_table)
        for way, table in (("set", set_table), ("reset", reset_table)):
            setattr(self, f"{way}_G", torch.tensor(table.g, dtype=torch.float32))
            setattr(self, f"{way}_dG", torch.tensor(table.dg, dtype=torch.float32))
            setattr(self, f"{way}_cdf", torch.tensor(table.cdf, dtype=torch.float32))
        GenericDevice.__init__(
            self,
            min_conductance_set=set_table.g[0],
            max_conductance_set=set_table.g[-1],
            min_conductance_reset=reset_table.g[0],
            max_conductance_reset=reset_table.g[-1],
        )
        self.max_level = max_level
        self._spec = Tables(*self._tables, g_min=self.min_conductance, g_max=self.max_conductance)
        self.reset_cached_params()

    def spec(self) -> Tables:
        """Return mho's device."""
        return self._spec

    def write(self, G: Tensor, numPulse: Tensor, group_param_idx: Any = None) -> Tensor:
        """See `CellDevice.write`."""
        return super().write(G, numPulse, group_param_idx)


def _table(g: Any, dg: Any, cdf: Any) -> JumpTable:
    cdf = np.maximum.accumulate(np.clip(np.atleast_2d(cdf), 0.0, 1.0), axis=1)
    return JumpTable(
        tuple(np.ravel(g).tolist()), tuple(np.ravel(dg).tolist()), tuple(map(tuple, cdf.tolist()))
    )
