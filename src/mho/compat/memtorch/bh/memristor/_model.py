"""What the models that come with the package share: a device as values of mho's own models."""
# mypy: disable-error-code="override"

from __future__ import annotations

import inspect
import math
import warnings
from abc import ABCMeta
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mho.compat._common import Refused, require, seed, truth
from mho.compat.memtorch.bh.memristor._signals import STEPS, each, held, hold, number, samples
from mho.compat.memtorch.bh.memristor.Memristor import Memristor, Signal
from mho.core.checks import plain
from mho.core.spec import Spec
from mho.devices import SwitchingCells, SwitchingDevice
from mho.devices.diffusion import fold
from mho.devices.maths import unit

# Methods that say how a device moves and conducts: where a user has his own, they are called.
EQUATIONS = frozenset(
    ("current", "dxdt", "dg_dt", "T_current", "resistance", "dRdt", "r_pn", "s_pn")
)

Values = dict[str, Any]
Equations = tuple[SwitchingDevice, Any]


@dataclass
class Alone:
    """Where the values of a device of its own are: its class, parameters and conductance (S)."""

    model: type[Modelled]
    values: Values
    g: float
    made: Equations | None = field(default=None, repr=False)

    def get(self, name: str) -> Any:
        return self.values[name]

    def set(self, name: str, value: Any) -> None:
        self.values[name] = value
        self.made = None

    def equations(self) -> Equations:
        """Return mho's device and its parameters (floats)."""
        if self.made is None:
            self.made = self.model._equations(self.values)
        return self.made

    def alone(self) -> Alone:
        return Alone(self.model, dict(self.values), self.g)


def parameter(name: str) -> Any:
    """Return an attribute of devices that is a parameter of their cells."""
    return property(
        lambda device: device._cell.get(name),
        lambda device, value: device._cell.set(name, plain(value)),
    )


class Watched(ABCMeta):
    """Class of the models' classes, which sees methods that are put on them later."""

    def __setattr__(cls, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in getattr(cls, "_shipped", ()):
            look(cls)

    def __delattr__(cls, name: str) -> None:
        super().__delattr__(name)
        if name in getattr(cls, "_shipped", ()):
            look(cls)


def look(model: Any) -> None:
    """Note what a class, and those below it, do otherwise than the model that they began with."""
    find = inspect.getattr_static
    model._own = {name for name, value in model._shipped.items() if find(model, name) is not value}
    model._as_published = model._own.isdisjoint(EQUATIONS)
    for below in type.__subclasses__(model):
        if below._shipped is model._shipped:
            look(below)


class Modelled(Memristor, metaclass=Watched):
    """Base of the models that come with the package, which are marked by ``tensor=True``.

    An object is a *view*: of values of its own (``VTEAM(r_on=100)``), or of one cell of a
    crossbar (``crossbar.devices[i][j]``). A user's subclass that overrides something is held
    object by object. Where that is an equation, `simulate` goes by its methods.

    Class attributes:
        _kind: mho's device.
        _renamed: its parameters that have another name in MemTorch, with that name.
        defaults: the constructor's parameters and their defaults.
        _shipped: what a model has, by name, as it comes.
        _own: names of what a user has put in place of that.
    """

    _kind: ClassVar[Any]
    _renamed: ClassVar[dict[str, str]] = {}
    defaults: ClassVar[Values] = {}
    _shipped: ClassVar[Values] = {}
    _own: ClassVar[set[str]] = set()
    _as_published: bool = True
    _cell: Any  # `Alone`, or where a crossbar's tensors hold the values

    def __init_subclass__(cls, *, tensor: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if tensor:
            arguments = inspect.signature(cls.__init__).parameters.values()
            cls.defaults = {a.name: a.default for a in arguments if a.default is not a.empty}
            for name in cls.defaults:
                setattr(cls, name, parameter(name))
            names = ["__init__", *(n for n in dir(cls) if n[0] != "_" and n != "defaults")]
            cls._shipped = {name: inspect.getattr_static(cls, name) for name in names}
        look(cls)

    def _adopt(self, given: Mapping[str, Any]) -> None:
        """Take a constructor's ``locals()``: draws of stochastic ones (``reference``: means)."""
        mean = bool(given.get("kwargs", {}).get("reference", False))
        values = {name: one(given[name], mean=mean) for name in self.defaults}
        values, _ = ordered(values, values)
        p = SimpleNamespace(**values)
        self._refuse(p)
        self._cell = Alone(type(self), values, float(self._initial(p)))

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in EQUATIONS:  # one device's own
            self._as_published = False

    def __getstate__(self) -> dict[str, Any]:
        # Copies are devices of their own.
        return {**self.__dict__, "_cell": self._cell.alone()}

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={self._cell.get(name)!r}" for name in self.defaults)
        return f"{type(self).__name__}({values})"

    # ---- what a model says of itself ----------------------------------------------------------

    @classmethod
    def _fields(cls, p: Any) -> Values:
        """Return mho's parameters that follow from MemTorch's: numbers, tensors or specs."""
        names = {name: cls._renamed.get(name, name) for name in cls._kind.__dataclass_fields__}
        return {name: getattr(p, theirs) for name, theirs in names.items() if hasattr(p, theirs)}

    @classmethod
    def _device(cls, fields: Mapping[str, Any]) -> Any:
        """Return mho's device of the mean of every parameter."""
        return cls._kind(**{n: v if isinstance(v, Spec) else nominal(v) for n, v in fields.items()})

    @staticmethod
    def _initial(p: Any) -> Any:
        """Return the conductance (S) of a new device."""
        return 1.0 / p.r_on

    @classmethod
    def _refuse(cls, p: Any) -> None:
        """Refuse parameters that make no device, naming them."""
        for name in ("time_series_resolution", "r_on", "r_off"):
            require(getattr(p, name) > 0, f"{name} must be > 0, got {getattr(p, name)!r}")

    def _speed(self, voltage: float) -> float:
        """Return dx/dt (1/s) by the device's own public methods; x is 1 at low resistance."""
        raise NotImplementedError

    @classmethod
    def _equations(cls, values: Mapping[str, Any]) -> Equations:
        """Return mho's device of parameters that are numbers, and its parameters (floats)."""
        p = SimpleNamespace(**values)
        if p.r_on >= p.r_off:  # a worn-out cell may have no window
            p.r_on = p.r_off * (1.0 - 1e-9)
        spec = cls._device(cls._fields(p))
        return spec, spec.parameters()

    @classmethod
    def _population(
        cls, parameters: Mapping[str, Any], g: Tensor, shape: tuple[int, ...]
    ) -> SwitchingCells:
        """Return cells of mho (float64) of parameters, numbers or tensors, at conductances (S)."""
        fields = cls._fields(SimpleNamespace(**parameters))
        device = cls._device(fields)
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
    def g(self, value: Any) -> None:
        self._cell.g = value if type(value) is float else number(value)

    def set_conductance(self, conductance: float) -> None:
        """Put the device to a conductance (S), the nearest within ``[1/r_off, 1/r_on]``."""
        value = conductance if type(conductance) is float else number(conductance)
        require(math.isfinite(value), f"conductance must be finite, got {value!r}")
        low, high = 1.0 / self.r_off, 1.0 / self.r_on
        self._cell.g = low if value < low else high if value > high else value

    def current(self, voltage: float) -> float:
        """Return the current (A) under a voltage (V) that does not move the device."""
        cell = self._cell
        spec, p = cell.equations()
        g = cell.g
        if type(voltage) is float:
            return g * spec.transfer_at(voltage, p)
        return each(lambda v: g * spec.transfer_at(v, p), voltage)

    def simulate(self, voltage_signal: Any, return_current: bool = False) -> Signal | None:
        """Apply a voltage signal; the device is moved by it.

        Every voltage is held for ``time_series_resolution``, and the model's equation is solved
        within that time: however a signal is cut into calls, it does the same.

        Args:
            voltage_signal: voltages (V), one or many.
            return_current: whether to return the current (A) at the start of every sample.

        Returns:
            Currents ``[samples]`` (A), or None.
        """
        return_current = truth("return_current", return_current)
        step = float(self.time_series_resolution)
        passed = self._drive(samples(voltage_signal), step, return_current)
        return np.asarray(passed, np.float64) if return_current else None

    def _drive(self, volts: list[float], seconds: float, currents: bool = False) -> list[float]:
        """Hold each voltage (V) for a time (s); return the current (A) before each, if wanted."""
        cell, population = self._cell, None
        passed: list[float] = []
        if not self._as_published:  # by the device's own public methods
            for v in volts:
                if currents:
                    passed.append(float(self.current(v)))
                self._cell.g = self._moved(v, seconds)
            return passed
        spec, p = cell.equations()
        before = g = cell.g
        x, noisy = unit(spec.state_at(g, p)) if g > 0.0 else 0.0, spec.stochastic
        for v in volts:
            if currents:
                passed.append(g * spec.transfer_at(v, p))
            after = held(spec, p, x, v, seconds)
            if after is None:  # too stiff for floats
                if population is None:
                    population = self._as_cells()
                population.x = torch.tensor(x, dtype=torch.float64)
                population.apply_pulse(v, seconds)
                after = float(population.x)
            elif noisy:
                after = kicked(spec, p, after, v, seconds)
            if after != x:
                x, g = after, spec.conductance_at(after, p)
        if g != before:
            cell.g = g
        return passed

    def _as_cells(self) -> SwitchingCells:
        g = torch.tensor(self._cell.g, dtype=torch.float64)
        return self._population({name: self._cell.get(name) for name in self.defaults}, g, ())

    def _moved(self, voltage: float, seconds: float) -> float:
        """Return the conductance (S) after a voltage, by the device's own public methods."""
        cell = self._cell
        spec, p = cell.equations()
        before, x = cell.g, self._state

        def rate(y: float) -> float:
            cell.g = before if y == x else spec.conductance_at(y, p)
            return float(self._speed(voltage))

        try:
            after = hold(rate, x, seconds)
        finally:
            cell.g = before
        if after is None:
            raise Refused(
                f"the equations of {type(self).__name__} are too stiff to be followed for "
                f"{seconds:g} s at {voltage:g} V in {STEPS} steps"
            )
        if spec.stochastic:
            after = kicked(spec, p, after, voltage, seconds)
        return before if after == x else spec.conductance_at(after, p)

    @property
    def _state(self) -> float:
        """The state of mho's device now, 0…1; 1 is low resistance."""
        (spec, p), g = self._cell.equations(), self._cell.g
        return unit(spec.state_at(g, p)) if g > 0.0 else 0.0


def kicked(spec: SwitchingDevice, p: Any, x: float, v: float, seconds: float) -> float:
    """Return a state with the noise of one sample, which walls reflect."""
    kick = spec.diffusion(x, spec.drive(v, p), p) * math.sqrt(seconds)
    return float(fold(x + kick * torch.randn(()).item()))


def ordered(values: Values, means: Values) -> tuple[Values, Values]:
    """Return parameters and their means, of ``r_on`` and ``r_off`` the smaller first, and warn."""
    on, off = means["r_on"], means["r_off"]
    if not on > off > 0:
        return values, means
    warnings.warn(
        f"r_on={on!r} is larger than r_off={off!r}: the smaller is taken as r_on", stacklevel=4
    )
    turned = {"r_on": values["r_off"], "r_off": values["r_on"]}
    return {**values, **turned}, {**means, "r_on": off, "r_off": on}


def one(value: Any, *, mean: bool = False) -> Any:
    """Return a parameter's value for one device: stochastic ones are drawn."""
    if type(value) is float or not callable(value):
        return plain(value)
    return float(value(return_mean=True) if mean else value())


def nominal(value: Any) -> float:
    """Return one number for a parameter that may differ from cell to cell."""
    return float(value.double().mean()) if isinstance(value, Tensor) else float(value)
