"""The cells of a crossbar as tensors: what they are made of, what they hold, how they conduct."""

from __future__ import annotations

import copy
import gc
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mho.compat.memtorch._require import require
from mho.compat.memtorch.bh.crossbar._views import Devices, InCrossbar, Parameters, shared, version
from mho.compat.memtorch.bh.crossbar.Tile import gen_tiles
from mho.compat.memtorch.bh.memristor._model import Alone, Equations, Modelled, one, ordered
from mho.compat.memtorch.bh.memristor.Memristor import Memristor
from mho.core import checks
from mho.core.checks import plain
from mho.devices import SwitchingCells

if TYPE_CHECKING:
    from typing_extensions import Self

_REDRAWS = 100


def conductance_of(device: Any) -> float:
    """Return a device's conductance (S), which may be a number, or an array or tensor of one."""
    g = device.g
    return float(g.reshape(-1)[0] if getattr(g, "ndim", 0) else g)


class CellTensors:
    """Base of `Crossbar`: everything about the cells but how they are written.

    The conductances are the state (and not a model's inner one, which follows from them): faults,
    drift and rounding to levels put cells where no model does, beyond their windows too.
    """

    g_np: ClassVar[Any] = np.vectorize(conductance_of, otypes=[np.float64])

    memristor_model: Any
    memristor_model_params: dict[str, Any]
    tile_shape: tuple[int, int] | None
    rows: int
    columns: int
    per_device: bool
    stuck: Tensor | None
    tiles_map: Tensor | None
    r_on_mean: float
    r_off_mean: float
    time_series_resolution: Any
    _parameters: Parameters
    _nominal: Equations

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.stuck = self.tiles_map = None
        self._parameters = Parameters({})
        # Devices as objects, once asked for; and what they carried when the crossbar was saved.
        self._objects: Any = None
        self._shown: Any = None
        self._carried: dict[int, dict[str, Any]] = {}
        self._keep(self._cut(torch.zeros(rows, columns)))

    def _keep(self, g: Tensor) -> None:
        # ``_row`` shares the tensor's memory: what is written through it is marked, for versions.
        self._g, self._row, self._written = g.contiguous(), None, False

    def row(self) -> Any:
        """Return the conductances in a row; see `shared`."""
        if self._row is None:
            self._row = shared(self._g)
        return self._row

    def update(self, from_devices: bool = True, parallelize: bool = False) -> None:
        """Carry conductances between the devices and the tensors."""
        raise NotImplementedError

    def _cut(self, matrix: Tensor) -> Tensor:
        if self.tile_shape is None:
            return matrix
        tiles, self.tiles_map = gen_tiles(matrix, self.tile_shape)
        return tiles

    def _fabricate(self, shape: tuple[int, ...]) -> None:
        model, given = self.memristor_model, self.memristor_model_params
        if self.per_device:
            self._objects = np.empty(shape, dtype=object)
            self._objects.flat = [model(**given) for _ in range(self._objects.size)]
            reference = (
                model(**{**given, "reference": True}) if _takes_any(model) else model(**given)
            )
            self.r_on_mean, self.r_off_mean = float(reference.r_on), float(reference.r_off)
            self.time_series_resolution = reference.time_series_resolution
            return
        values = {**model.defaults, **_known(model, given)}
        means = {name: one(value, mean=True) for name, value in values.items()}
        values, means = ordered(values, means)
        model.refuse(SimpleNamespace(**means))
        self._parameters.update({name: _drawn(value, shape) for name, value in values.items()})
        self._uncross(values, shape)
        self._nominal = model.equations(means)
        self.r_on_mean, self.r_off_mean = float(means["r_on"]), float(means["r_off"])
        self.time_series_resolution = means["time_series_resolution"]

    def _uncross(self, values: Mapping[str, Any], shape: tuple[int, ...]) -> None:
        # Cells whose drawn r_on exceeds their r_off draw both again.
        drawn = [name for name in ("r_on", "r_off") if isinstance(self._parameters[name], Tensor)]
        if not drawn:
            return
        for _ in range(_REDRAWS):
            crossed = self.parameter("r_on") >= self.parameter("r_off")
            if not bool(crossed.any()):
                return
            for name in drawn:
                fresh = _drawn(values[name], shape)
                self._parameters[name] = torch.where(crossed, fresh, self._parameters[name])
        require(False, "r_on and r_off keep crossing: narrow their distributions")

    @property
    def parameters(self) -> dict[str, Any]:
        """Device parameters by name: numbers, or one value per cell."""
        if not self.per_device:
            return self._parameters
        names = ("r_on", "r_off", "time_series_resolution")
        return {name: self.parameter(name) for name in names}

    def parameter(self, name: str) -> Tensor:
        """Return a device parameter, one value per cell."""
        if self.per_device:
            values = [float(getattr(device, name)) for device in self._objects.flat]
            return torch.tensor(values, dtype=self._g.dtype).reshape(self._g.shape)
        value = self._parameters[name]
        if isinstance(value, Tensor):
            return value.to(self._g.dtype)
        return torch.full(self._g.shape, float(value), dtype=self._g.dtype, device=self._g.device)

    def _window(self) -> tuple[Tensor, Tensor]:
        return 1.0 / self.parameter("r_off"), 1.0 / self.parameter("r_on")

    def clamp(self, g: Tensor) -> Tensor:
        """Return conductances (S) within every cell's ``[1/r_off, 1/r_on]``."""
        low, high = self._window()
        return torch.minimum(torch.maximum(g, low), high)

    @property
    def used(self) -> Tensor:
        """Which cells are not the padding of tiles."""
        mask = torch.ones(self.rows, self.columns, device=self._g.device)
        return (mask if self.tile_shape is None else gen_tiles(mask, self.tile_shape)[0]) > 0.0

    @property
    def devices(self) -> Any:
        """The cells, one by one: a numpy array of objects, which are views of the tensors."""
        if self._objects is None:
            self._objects = self._views()
        return self._objects if self.per_device else self._shown

    @devices.setter
    def devices(self, given: Any) -> None:
        # Programming routines return what they programmed, and programs assign it here.
        if isinstance(given, Memristor) or given is self.devices:
            return
        given = np.asarray(given, dtype=object)
        require(
            given.shape == tuple(self._g.shape),
            f"devices must have shape {list(self._g.shape)}, got {list(given.shape)}",
        )
        self.devices[...] = given

    def _views(self) -> Any:
        kind = self.memristor_model
        made = np.empty(self._g.numel(), dtype=object)
        collecting = gc.isenabled()
        gc.disable()  # it would look through all of them again and again
        try:
            for place in range(len(made)):
                device = made[place] = object.__new__(kind)
                device._cell = InCrossbar(self, place)
        finally:
            if collecting:
                gc.enable()
        for place, values in self._carried.items():
            vars(made[place]).update(values)
        made = made.reshape(self._g.shape)
        # Who assigns must pass by `Devices.__setitem__`.
        self._shown = made.view(Devices)
        self._shown.flags.writeable = False
        return made

    def install(self, devices: Iterable[tuple[int, Any]]) -> None:
        """Make devices the cells at places in the row of all."""
        there = self._objects.reshape(-1)
        given = [(place, device) for place, device in devices if there[place] is not device]
        for _, device in given:
            require(hasattr(device, "g"), f"devices must be Memristor objects, got {device!r}")
        if any(type(device) is not self.memristor_model for _, device in given):
            self.hold_objects()
        for place, device in given:
            if self.per_device:
                there[place] = device
                if device.g is not None:
                    self.row()[place], self._written = conductance_of(device), True
                continue
            values, g = device._cell.alone().values, device._cell.g
            if not isinstance(device._cell, Alone):  # it is a cell already, and stays it
                device = copy.copy(device)
            there[place]._cell = there[place]._cell.alone()
            cell = device._cell = InCrossbar(self, place)
            there[place] = device
            if self.stuck is not None:
                self.stuck[np.unravel_index(place, self.stuck.shape)] = False
            for name, value in values.items():
                cell.set(name, value)
            there[place]._cell.g = g

    def hold_objects(self) -> None:
        """Make every cell a device of its own, as those of a user's own class are."""
        if not self.per_device:
            for device in self.devices.reshape(-1):
                device._cell = device._cell.alone()
            self.per_device, self._shown = True, None

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_row": None}
        if not self.per_device and self._objects is not None:
            state["_carried"] = {
                place: {name: value for name, value in vars(device).items() if name != "_cell"}
                for place, device in enumerate(self._objects.flat)
                if len(vars(device)) > 1
            }
            state["_objects"] = state["_shown"] = None
        return state

    @property
    def conductance_matrix(self) -> Tensor:
        """Conductances (S), ``[rows, columns]`` or ``[tiles, tile_rows, tile_columns]``."""
        if self._written:
            self._written = False
            if not self._g.is_inference():
                self._g[:0].zero_()  # changes nothing but the tensor's version, by which caches go
        return self._g

    @conductance_matrix.setter
    def conductance_matrix(self, g: Any) -> None:
        g = torch.as_tensor(g, device=self._g.device).detach()
        g = g if g.is_floating_point() else g.to(self._g)
        checks.shape("conductance_matrix", g, tuple(self._g.shape))
        self._keep(g)

    @property
    def version(self) -> tuple[Any, ...]:
        """What changes whenever a conductance or a parameter does, by a tensor or by a cell.

        It holds as long as the tensors it was taken of are kept.
        """
        g = self.conductance_matrix
        return id(g), version(g), self._parameters.born, self._parameters.stamp()

    @property
    def device(self) -> torch.device:
        """Where the tensors are; assigning moves them."""
        return self._g.device

    @device.setter
    def device(self, where: Any) -> None:
        self.to(where)

    @property
    def max_abs_conductance(self) -> Tensor:
        """The largest conductance now (S)."""
        return self._g.abs().amax()

    @max_abs_conductance.setter
    def max_abs_conductance(self, value: Any) -> None:
        """Accept what programs used to refresh: it follows from the conductances."""

    def cells(self) -> SwitchingCells:
        """Return the cells as a population of mho, in their present states (float64).

        Raises:
            Refused: in the fallback for a user's own devices.
        """
        require(not self.per_device, f"{self.memristor_model} is held object by object")
        g: Tensor = torch.where(self.used, self._g, 1.0 / self.r_off_mean)
        parameters = dict(self._parameters)
        on, off = parameters["r_on"], parameters["r_off"]
        if isinstance(on, Tensor) or isinstance(off, Tensor):  # worn-out cells may have no window
            off = self.parameter("r_off").double()
            parameters["r_on"] = torch.minimum(self.parameter("r_on").double(), off * (1 - 1e-9))
            parameters["r_off"] = off
        population: SwitchingCells = self.memristor_model.population(parameters, g, tuple(g.shape))
        return population

    def take(self, cells: SwitchingCells, moved: Tensor | None = None) -> None:
        """Store the conductances of a population that `cells` returned.

        Args:
            cells: the population.
            moved: which cells; the others keep theirs to the bit. None: all.
        """
        g = cells.conductance().to(self._g.dtype)
        self.store(g if moved is None else torch.where(moved, g, self._g))

    def store(self, g: Tensor) -> None:
        """Put all cells to conductances (S) but stuck ones and padding."""
        g = torch.where(self.used, g.to(self._g.device), 0.0).to(g.dtype)
        if self.stuck is not None:
            g = torch.where(self.stuck, self._g.to(g.dtype), g)
        self.conductance_matrix = g.to(stored_dtype(g.dtype))

    def to(self, *where: Any) -> Self:
        """Move the tensors to a device; see `torch.Tensor.to`."""
        return self.apply(lambda tensor: tensor.to(*where))

    def apply(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Replace every tensor by a function of it."""
        self._keep(function(self.conductance_matrix))
        self.tiles_map = None if self.tiles_map is None else function(self.tiles_map)
        self.stuck = None if self.stuck is None else function(self.stuck)
        self._parameters.update(
            {n: function(v) for n, v in self._parameters.items() if isinstance(v, Tensor)}
        )
        return self

    def state(self) -> dict[str, Any]:
        """Return the tensors, for ``state_dict``."""
        return {
            "conductance_matrix": self.conductance_matrix,
            "stuck": self.stuck,
            "parameters": {n: v for n, v in self.parameters.items() if isinstance(v, Tensor)},
        }

    def restore(self, values: dict[str, Any]) -> None:
        """Take back what `state` returned.

        Raises:
            Refused: if it is of another crossbar.
        """
        g = values["conductance_matrix"]
        require(
            g.shape == self._g.shape,
            f"conductances {list(g.shape)} do not fit {list(self._g.shape)}",
        )
        self.conductance_matrix = g.to(self._g).clone()
        self.stuck = values["stuck"]
        if self.per_device:
            self.update(from_devices=False)
        else:
            self.parameters.update({n: v.clone() for n, v in values["parameters"].items()})

    @property
    def ohmic(self) -> bool:
        """Whether the cells' current is proportional to the voltage."""
        return not self.per_device and self._nominal[0].ohmic

    def transfer(self, v: Tensor) -> Tensor:
        """Return ``f(v)`` (V) of the static current ``I = g · f(v)``, for nominal parameters.

        Raises:
            Refused: in the fallback for a user's own devices.
        """
        require(not self.per_device, f"{self.memristor_model} is held object by object")
        return self._nominal[0].transfer(v)


def is_tensor_model(model: Any) -> bool:
    """Whether a device class is one of the models held as tensors."""
    return isinstance(model, type) and issubclass(model, Modelled) and "defaults" in vars(model)


def stored_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _takes_any(model: Any) -> bool:
    code = getattr(getattr(model, "__init__", None), "__code__", None)
    return bool(code is not None and code.co_flags & 0x08)  # it has **kwargs


def _known(model: type[Modelled], given: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(given) - set(model.defaults) - {"reference"})
    if unknown:
        warnings.warn(
            f"{model.__name__} has no parameter {', '.join(unknown)}: not used", stacklevel=4
        )
    return {name: value for name, value in given.items() if name in model.defaults}


def _drawn(value: Any, shape: tuple[int, ...]) -> Any:
    if not callable(value):
        return plain(value)
    if hasattr(value, "sample"):
        drawn: Tensor = value.sample(shape)
        return drawn.to(torch.get_default_dtype())
    values = [float(value()) for _ in range(math.prod(shape))]
    return torch.tensor(values).reshape(shape)
