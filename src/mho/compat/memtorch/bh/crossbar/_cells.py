"""The cells of a crossbar as tensors: what they are made of, what they hold, how they conduct."""

from __future__ import annotations

import copy
import math
import warnings
import weakref
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mho.compat._common import require, truth
from mho.compat.memtorch.bh.crossbar._views import Devices, Held, carried, conductance_of, views
from mho.compat.memtorch.bh.crossbar.Tile import gen_tiles
from mho.compat.memtorch.bh.memristor._model import Modelled, one, ordered
from mho.compat.memtorch.bh.memristor.Memristor import Memristor
from mho.core import checks
from mho.devices import SwitchingCells

if TYPE_CHECKING:
    from typing_extensions import Self

_REDRAWS = 100


class CellTensors:
    """Base of `Crossbar`, and its constructor: everything about the cells but how they are written.

    The conductances are the state (and not a model's inner one, which follows from them): faults,
    drift and rounding to levels put cells where no model does, beyond their windows too.
    """

    g_np: ClassVar[Any] = np.vectorize(conductance_of, otypes=[np.float64])

    def __init__(
        self,
        memristor_model: Any,
        memristor_model_params: Mapping[str, Any],
        shape: tuple[int, ...],
        tile_shape: tuple[int, int] | None = None,
        use_bindings: bool = True,
        cuda_malloc_heap_size: int = 50,
        random_crossbar_init: bool = False,
    ) -> None:
        random_crossbar_init = truth("random_crossbar_init", random_crossbar_init)
        require(2 <= len(shape) <= 5, f"shape must have 2 to 5 dimensions, got {tuple(shape)}")
        self.memristor_model = memristor_model
        self.memristor_model_params = dict(memristor_model_params)
        self.tile_shape = tile_shape
        self.use_bindings = use_bindings
        self.cuda_malloc_heap_size = cuda_malloc_heap_size
        self.rows, self.columns = math.prod(int(size) for size in shape[1:]), int(shape[0])
        self.tiles_map: Tensor | None = None
        # The user overrides nothing of a model: its devices are held as tensors.
        modelled = isinstance(memristor_model, type) and issubclass(memristor_model, Modelled)
        self.per_device = not (modelled and memristor_model.defaults and not memristor_model._own)
        # Devices as objects, once asked for; and what they carried when the crossbar was saved.
        self._objects: Any = None
        self._shown: Any = None
        self._carried: dict[int, tuple[Any, ...]] = {}
        self._held = Held(memristor_model, self._cut(torch.zeros(self.rows, self.columns)))
        self._held.crossbar = weakref.ref(self)
        size = tuple(self._g.shape)
        reference = self._make_objects(size) if self.per_device else self._draw(size)
        self.r_on_mean, self.r_off_mean = float(reference.r_on), float(reference.r_off)
        self.time_series_resolution = reference.time_series_resolution
        low, high = self._window()
        start = low + torch.rand(size).to(low) * (high - low) if random_crossbar_init else low
        self.conductance_matrix = torch.where(self.used, start, 0.0)
        if self.per_device:
            self.update(from_devices=False)

    def update(self, from_devices: bool = True, parallelize: bool = False) -> None:
        """Carry conductances between a user's own devices and ``conductance_matrix``.

        Views need no carrying: for the models of this package nothing happens.

        Args:
            from_devices: from the devices to the matrix (True), or from it to the devices (False).
            parallelize: has no effect.
        """
        from_devices = truth("from_devices", from_devices)
        self._held.look()
        if self.per_device and from_devices:
            self.store(torch.from_numpy(self.g_np(self.devices)).to(self._g))
        elif self.per_device:
            for device, g in zip(self.devices.flat, self._g.flatten().tolist(), strict=True):
                device.set_conductance(g)

    # ---- what the cells are ---------------------------------------------------------------------

    def _cut(self, matrix: Tensor) -> Tensor:
        if self.tile_shape is None:
            return matrix
        tiles, self.tiles_map = gen_tiles(matrix, self.tile_shape)
        return tiles

    def _make_objects(self, shape: tuple[int, ...]) -> Any:
        """Make devices of a user's own class, and return one with mean parameters."""
        model, given = self.memristor_model, self.memristor_model_params
        self._objects = np.empty(shape, dtype=object)
        self._objects.flat = [model(**given) for _ in range(self._objects.size)]
        code = getattr(getattr(model, "__init__", None), "__code__", None)
        any_keyword = bool(code is not None and code.co_flags & 0x08)  # it has **kwargs
        return model(**{**given, "reference": True} if any_keyword else given)

    def _draw(self, shape: tuple[int, ...]) -> Any:
        """Draw the parameters of cells that are tensors, and return their means."""
        model, parameters = self.memristor_model, self._held.parameters
        given = self.memristor_model_params
        unknown = ", ".join(sorted(set(given) - set(model.defaults) - {"reference"}))
        if unknown:
            warnings.warn(f"{model.__name__} has no parameter {unknown}: not used", stacklevel=3)
        values = {name: given.get(name, value) for name, value in model.defaults.items()}
        means = {name: one(value, mean=True) for name, value in values.items()}
        values, means = ordered(values, means)
        reference = SimpleNamespace(**means)
        model._refuse(reference)
        parameters.update({name: _drawn(value, shape) for name, value in values.items()})
        # Cells whose drawn r_on exceeds their r_off draw both again.
        drawn = [name for name in ("r_on", "r_off") if isinstance(parameters[name], Tensor)]
        for _ in range(_REDRAWS if drawn else 0):
            crossed = self.parameter("r_on") >= self.parameter("r_off")
            if not bool(crossed.any()):
                break
            for name in drawn:
                fresh = _drawn(values[name], shape)
                parameters[name] = torch.where(crossed, fresh, parameters[name])
        else:
            require(not drawn, "r_on and r_off keep crossing: narrow their distributions")
        return reference

    @property
    def parameters(self) -> dict[str, Any]:
        """Device parameters by name: numbers, or one value per cell; they may be assigned."""
        if not self.per_device:
            return self._held.parameters
        names = ("r_on", "r_off", "time_series_resolution")
        return {name: self.parameter(name) for name in names}

    def parameter(self, name: str) -> Tensor:
        """Return a device parameter: always a tensor, one value per cell."""
        g = self._g
        if self.per_device:
            values = [float(getattr(device, name)) for device in self._objects.flat]
            return torch.tensor(values, dtype=g.dtype, device=g.device).reshape(g.shape)
        value = self._held.parameters[name]
        return value.to(g.dtype) if isinstance(value, Tensor) else torch.full_like(g, float(value))

    def _window(self) -> tuple[Tensor, Tensor]:
        return 1.0 / self.parameter("r_off"), 1.0 / self.parameter("r_on")

    def clamp(self, g: Tensor) -> Tensor:
        """Return conductances (S) within every cell's ``[1/r_off, 1/r_on]``."""
        return g.clamp(*self._window())

    @property
    def used(self) -> Tensor:
        """Which cells are not the padding of tiles."""
        mask = torch.ones(self.rows, self.columns, device=self._g.device)
        return (mask if self.tile_shape is None else gen_tiles(mask, self.tile_shape)[0]) > 0.0

    def transfer(self, v: Tensor) -> Tensor:
        """Return ``f(v)`` (V) of the static current ``I = g · f(v)``, for mean parameters.

        Raises:
            Refused: in the fallback for a user's own devices.
        """
        require(not self.per_device, f"{self.memristor_model} is held object by object")
        return self._held.equations()[0].transfer(v)

    def cells(self) -> SwitchingCells:
        """Return the cells as a population of mho, in their present states (float64).

        Raises:
            Refused: in the fallback for a user's own devices.
        """
        require(not self.per_device, f"{self.memristor_model} is held object by object")
        g = torch.where(self.used, self._g, 1.0 / self.r_off_mean)
        parameters = dict(self._held.parameters)
        on, off = parameters["r_on"], parameters["r_off"]
        if isinstance(on, Tensor) or isinstance(off, Tensor):  # worn-out cells may have no window
            off = self.parameter("r_off").double()
            parameters["r_on"] = torch.minimum(self.parameter("r_on").double(), off * (1 - 1e-9))
            parameters["r_off"] = off
        return self.memristor_model._population(parameters, g, tuple(g.shape))

    # ---- what they hold -------------------------------------------------------------------------

    @property
    def _g(self) -> Tensor:
        return self._held.g

    @property
    def conductance_matrix(self) -> Tensor:
        """Conductances (S), ``[rows, columns]`` or ``[tiles, tile_rows, tile_columns]``.

        They may be assigned, those of stuck cells, too, and changed in place; padding holds 0 S.
        """
        self._held.look()
        self._held.lent = True
        return self._held.g

    @conductance_matrix.setter
    def conductance_matrix(self, g: Any) -> None:
        g = torch.as_tensor(g, device=self._g.device).detach()
        g = g if g.is_floating_point() else g.to(self._g)
        checks.shape("conductance_matrix", g, tuple(self._g.shape))
        self._held.keep(g)

    @property
    def max_abs_conductance(self) -> Tensor:
        """The largest conductance now (S)."""
        return self._g.abs().amax()

    @max_abs_conductance.setter
    def max_abs_conductance(self, value: Any) -> None:
        """Accept what programs used to refresh: it follows from the conductances."""

    @property
    def stuck(self) -> Tensor | None:
        """Which cells keep their conductance, whatever is written or applied to them, or None."""
        return self._held.stuck

    @stuck.setter
    def stuck(self, mask: Tensor | None) -> None:
        self._held.stuck = mask

    def store(self, g: Tensor) -> None:
        """Put all cells to conductances (S) but stuck ones and padding."""
        g = torch.where(self.used, g.to(self._g.device), 0.0).to(g.dtype)
        if self.stuck is not None:
            g = torch.where(self.stuck, self._g.to(g.dtype), g)
        self.conductance_matrix = g.to(stored_dtype(g.dtype))

    def take(self, cells: SwitchingCells, moved: Tensor) -> None:
        """Store conductances of a population that `cells` returned: of those that it moved."""
        self.store(torch.where(moved, cells.conductance().to(self._g.dtype), self._g))

    @property
    def device(self) -> torch.device:
        """Where the tensors are; assigning moves them."""
        return self._g.device

    @device.setter
    def device(self, where: Any) -> None:
        self.to(where)

    def to(self, *where: Any) -> Self:
        """Move the tensors to a device, or to another floating type; see `torch.Tensor.to`."""
        return self.apply(lambda tensor: tensor.to(*where))

    def apply(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Replace every tensor of numbers by a function of it; the others go where it is."""
        held = self._held
        held.keep(function(held.g))
        self.tiles_map = None if self.tiles_map is None else self.tiles_map.to(self.device)
        held.stuck = None if held.stuck is None else held.stuck.to(self.device)
        values = held.parameters.items()
        held.parameters.update({n: function(v) for n, v in values if isinstance(v, Tensor)})
        return self

    def state(self) -> dict[str, Any]:
        """Return tensors and numbers, for ``state_dict``."""
        kept = {n: v for n, v in self.parameters.items() if isinstance(v, (Tensor, int, float))}
        g = self.conductance_matrix
        return {"conductance_matrix": g, "stuck": self.stuck, "parameters": kept}

    def restore(self, values: dict[str, Any]) -> None:
        """Take back what `state` returned; refuse what is of another crossbar."""
        g, shape = values["conductance_matrix"], list(self._g.shape)
        require(list(g.shape) == shape, f"conductances {list(g.shape)} do not fit {shape}")
        self.conductance_matrix = g.to(self._g).clone()
        stuck = values["stuck"]
        self.stuck = None if stuck is None else stuck.to(self.device, copy=True)
        if self.per_device:
            self.update(from_devices=False)
            return
        for name, value in values["parameters"].items():
            tensor = isinstance(value, Tensor)
            self.parameters[name] = value.to(self.device, copy=True) if tensor else value

    # ---- the cells as objects -------------------------------------------------------------------

    @property
    def devices(self) -> Any:
        """The cells, one by one: a numpy array of objects, which are views of the tensors."""
        if self._objects is None:
            self._objects, self._held.lent = views(self), True
            # Who assigns must pass by `Devices.__setitem__`.
            self._shown = self._objects.view(Devices)
            self._shown.flags.writeable = False
        return self._objects if self.per_device else self._shown

    @devices.setter
    def devices(self, given: Any) -> None:
        # Programming routines return what they programmed, and programs assign it here.
        if isinstance(given, Memristor) or given is self.devices:
            return
        given, shape = np.asarray(given, dtype=object), list(self._g.shape)
        require(
            list(given.shape) == shape, f"devices must have shape {shape}, got {list(given.shape)}"
        )
        self.devices[...] = given

    def hold_objects(self) -> None:
        """Make every cell a device of its own, as those of a user's own class are."""
        if not self.per_device:
            for device in self.devices.reshape(-1):
                device._cell = device._cell.alone()
            self.per_device, self._shown = True, None

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_held": copy.copy(self._held)}
        if not self.per_device and self._objects is not None:
            state["_carried"] = carried(self._objects)
            state["_objects"] = state["_shown"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._held.crossbar = weakref.ref(self)


def stored_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the type of tensors that keep what is written in one."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _drawn(value: Any, shape: tuple[int, ...]) -> Any:
    if not callable(value):
        return checks.plain(value)
    if hasattr(value, "sample"):
        return value.sample(shape).to(torch.get_default_dtype())
    values = [float(value()) for _ in range(math.prod(shape))]
    return torch.tensor(values).reshape(shape)
