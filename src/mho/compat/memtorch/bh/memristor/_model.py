"""What the models that come with the package share: a device as values of mho's own models."""
# mypy: disable-error-code="override"

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from mho.compat.memtorch._errors import Refused
from mho.compat.memtorch._seeds import seed
from mho.compat.memtorch.bh.memristor import _follow
from mho.compat.memtorch.bh.memristor.Memristor import Signal
from mho.core import checks
from mho.devices import SwitchingCells, SwitchingDevice


class Cell(Protocol):
    """Where a device's values are: its own, or a crossbar's tensors."""

    def get(self, name: str) -> Any:
        """Return a parameter."""

    def set(self, name: str, value: Any) -> None:
        """Change a parameter."""

    @property
    def g(self) -> float:
        """Conductance (S)."""

    @g.setter
    def g(self, value: float) -> None: ...


class Alone:
    """A device of its own.

    Args:
        values: its parameters.
        g: its conductance (S).
    """

    def __init__(self, values: dict[str, Any], g: float) -> None:
        self.values, self.g = values, g

    def get(self, name: str) -> Any:
        """Return a parameter."""
        return self.values[name]

    def set(self, name: str, value: Any) -> None:
        """Change a parameter."""
        self.values[name] = value


class Parameter:
    """An attribute of a device that is kept by its cell."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, device: Modelled | None, kind: type) -> Any:
        """Return the value."""
        return self if device is None else device._cell.get(self.name)

    def __set__(self, device: Modelled, value: Any) -> None:
        """Change the value."""
        device._cell.set(self.name, value)


class Modelled:
    """Base, beside `Memristor`, of the models that come with the package.

    An object is a *view*: of values of its own (``VTEAM(r_on=100)``), or of one cell of a
    crossbar (``crossbar.devices[i][j]``). A model is marked by ``tensor=True``; a user's subclass
    of one is not, and is held object by object.

    Class attributes:
        defaults: the constructor's parameters and their defaults.
    """

    defaults: ClassVar[dict[str, Any]]
    _cell: Cell
    r_on: Any
    r_off: Any
    time_series_resolution: Any

    def __init_subclass__(cls, *, tensor: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not tensor:
            return
        cls.defaults = {
            name: parameter.default
            for name, parameter in inspect.signature(cls.__init__).parameters.items()
            if parameter.default is not inspect.Parameter.empty
        }
        for name in cls.defaults:
            setattr(cls, name, Parameter(name))

    def _adopt(self, given: Mapping[str, Any]) -> None:
        """Take a constructor's arguments, ``locals()``: stochastic ones are drawn, or their means.

        ``reference=True`` among the keyword arguments asks for the means.
        """
        mean = bool(given.get("kwargs", {}).get("reference", False))
        values = {name: one(given[name], mean=mean) for name in self.defaults}
        p = SimpleNamespace(**values)
        self.refuse(p)
        self._cell = Alone(values, float(self.initial(p)))

    # ---- what a model says of itself ----------------------------------------------------------

    @staticmethod
    def fields(p: Any) -> dict[str, Any]:
        """Return the parameters of `spec` that follow from MemTorch's, numbers or tensors."""
        raise NotImplementedError

    @staticmethod
    def spec(values: Mapping[str, float], p: Any) -> SwitchingDevice:
        """Return mho's device for numbers that `fields` returned."""
        raise NotImplementedError

    @staticmethod
    def initial(p: Any) -> Any:
        """Return the conductance (S) of a new device."""
        return 1.0 / p.r_on

    @classmethod
    def refuse(cls, p: Any) -> None:
        """Refuse parameters that make no device.

        Raises:
            Refused: naming them.
        """
        for name in ("time_series_resolution", "r_on", "r_off"):
            if not getattr(p, name) > 0:
                raise Refused(f"{name} must be > 0, got {getattr(p, name)!r}")
        if p.r_on > p.r_off:
            raise Refused(f"r_on must be <= r_off, got r_on={p.r_on!r}, r_off={p.r_off!r}")

    @classmethod
    def population(
        cls, parameters: Mapping[str, Any], g: Tensor, shape: tuple[int, ...]
    ) -> SwitchingCells:
        """Return cells of mho (float64) in given states.

        Args:
            parameters: by name, each a number or a tensor of ``shape``.
            g: conductances (S), put within every cell's window.
            shape: of the population.
        """
        p = SimpleNamespace(**parameters)
        fields = {name: _number(value) for name, value in cls.fields(p).items()}
        device = cls.spec({name: nominal(value) for name, value in fields.items()}, p)
        cells = SwitchingCells((device,), shape, seed=seed() if device.stochastic else 0)
        cells = cells.to(g.device).double()
        for name, value in fields.items():
            if isinstance(value, Tensor):
                cells.register_buffer(f"state_0_{name}", value.double().expand(shape).clone())
        cells.write(g.double())
        return cells

    # ---- what users call ----------------------------------------------------------------------

    @property
    def g(self) -> float:
        """Conductance (S)."""
        return self._cell.g

    @g.setter
    def g(self, value: float) -> None:
        self._cell.g = float(value)

    def _parameters(self) -> dict[str, Any]:
        return {name: self._cell.get(name) for name in self.defaults}

    def _population(self) -> SwitchingCells:
        g = torch.tensor(self.g, dtype=torch.float64)
        return self.population(self._parameters(), g, ())

    def simulate(self, voltage_signal: Any, return_current: bool = False) -> Signal | None:
        """Apply a voltage signal; the device is moved by it.

        Steps too coarse for the model are refined: the result is that of the model's equations.

        Args:
            voltage_signal: voltages (V), ``time_series_resolution`` apart; one or many.
            return_current: whether to return the current (A) at every sample.

        Returns:
            Currents ``[samples]`` (A), or None.
        """
        current = self.follow(voltage_signal, float(self.time_series_resolution), return_current)
        return current if return_current else None

    def follow(self, voltage_signal: Any, step: float, currents: bool = True) -> Signal:
        """As `simulate`, with samples ``step`` seconds apart."""
        volts = torch.as_tensor(np.asarray(voltage_signal, np.float64)).reshape(-1)
        cells = self._population()
        current = _follow.follow(cells, volts, step, currents)
        if volts.numel():
            self.g = float(cells.conductance())
        return current.numpy()

    def set_conductance(self, conductance: float) -> None:
        """Put the device to a conductance (S), the nearest within ``[1/r_off, 1/r_on]``."""
        value = float(conductance)
        checks.finite("conductance", torch.tensor(value))
        self.g = min(max(value, 1.0 / self.r_off), 1.0 / self.r_on)

    def current(self, voltage: float) -> float:
        """Return the current (A) under a voltage (V) that does not move the device."""
        return float(self._population().current(float(voltage)))

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self._parameters().items())
        return f"{type(self).__name__}({values})"


def one(value: Any, *, mean: bool = False) -> Any:
    """Return a parameter's value for one device: stochastic ones are drawn."""
    if not callable(value):
        return value
    drawn = value(return_mean=True) if mean else value()
    return float(drawn)


def nominal(value: Any) -> float:
    """Return one number for a parameter that may differ from cell to cell."""
    return float(value.double().mean()) if isinstance(value, Tensor) else float(value)


def _number(value: Any) -> Any:
    return value if isinstance(value, Tensor) else float(value)


@functools.cache
def transfer_spec(model: type[Modelled], values: tuple[tuple[str, Any], ...]) -> SwitchingDevice:
    """Return mho's device of a model's nominal parameters."""
    p = SimpleNamespace(**dict(values))
    return model.spec({name: float(value) for name, value in model.fields(p).items()}, p)
