"""Device and Cells: what one memory cell is, and a population of them.

A `Device` is a spec: what the field's papers print. `Cells` is state: the tensors of a whole
population, made by ``device.fabricate(shape, seed=0)``. Parameters given as a `Spread` become
one tensor per cell; all others stay plain numbers.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mho.cells.behaviour import Behaviour, Context
from mho.core import checks, random
from mho.devices.spread import Spread, nominal

_MAX_REDRAWS = 100


class Device(Behaviour):
    """Base of all cell models. Subclasses are frozen dataclasses.

    A device must say its programmable window (``g_min`` and ``g_max``, as fields or properties).
    Reads are ``I = g · f(v)`` with ``f = transfer``; a model whose current does not separate so
    has ``separable = False`` and overrides `current_of` and `Cells.current`.

    Class attributes:
        separable: whether ``I = g · f(v)``; reads of an array are then one product, else one
            over a few terms per row (`mho.crossbar.expansion`), for nominal parameters.
        ordered: pairs of parameters ``(low, high)`` that must not cross in any cell; where two
            spreads cross, both are drawn again.
    """

    ordered: ClassVar[tuple[tuple[str, str], ...]] = (("g_min", "g_max"),)
    separable: ClassVar[bool] = True

    g_min: float | Spread
    g_max: float | Spread

    @property
    def window(self) -> tuple[float, float]:
        """Nominal programmable window ``(g_min, g_max)`` (S)."""
        return nominal(self.g_min), nominal(self.g_max)

    def spreads(self) -> dict[str, Spread]:
        """Return the parameters that differ from cell to cell."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if isinstance(value, Spread)}

    def fabricate_state(self, context: Context) -> dict[str, Tensor]:
        """Draw every spread parameter per cell; see `Behaviour.fabricate_state`.

        Raises:
            ValueError: if ordered parameters keep crossing.
        """
        spreads = self.spreads()
        drawn = self._draw(spreads, context.shape, context)
        for low, high in self.ordered:
            if low in spreads or high in spreads:
                self._uncross(drawn, low, high, context)
        return drawn

    def _draw(
        self, spreads: dict[str, Spread], shape: tuple[int, ...], context: Context
    ) -> dict[str, Tensor]:
        kind: Any = {"dtype": context.dtype, "device": context.device}
        causes: dict[str, Tensor] = {}
        drawn = {}
        for name, spread in spreads.items():
            if spread.shared is None:
                drawn[name] = spread.sample(shape, context.generator, **kind)
                continue
            # A Gaussian copula: part of the normal score is common to all of one cause.
            if spread.shared not in causes:
                causes[spread.shared] = _normal(shape, context)
            common, own = causes[spread.shared], _normal(shape, context)
            score = spread.loading * common + math.sqrt(1.0 - spread.loading**2) * own
            drawn[name] = spread.quantile(score).to(**kind)
        return drawn

    def _uncross(self, drawn: dict[str, Tensor], low: str, high: str, context: Context) -> None:
        for _ in range(_MAX_REDRAWS):
            low_value = drawn.get(low, getattr(self, low))
            high_value = drawn.get(high, getattr(self, high))
            crossed = torch.as_tensor(low_value >= high_value).expand(context.shape)
            count = int(crossed.sum())
            if not count:
                return
            for name, value in self._draw(self._joined(low, high), (count,), context).items():
                drawn[name][crossed] = value
        raise ValueError(
            f"{type(self).__name__}: {low} and {high} keep crossing; narrow their spreads"
        )

    def _joined(self, *names: str) -> dict[str, Spread]:
        """Those of the parameters that are spread, and all that share a cause with them."""
        spreads = self.spreads()
        causes = {spreads[n].shared for n in names if n in spreads} - {None}
        return {n: s for n, s in spreads.items() if n in names or s.shared in causes}

    def reach(self, g: Tensor, state: dict[str, Tensor] | None = None) -> Tensor:
        """Return the nearest conductances that the cells can hold (S), differentiable.

        Args:
            g: conductances asked for (S).
            state: per-cell parameters from `fabricate_state`.
        """
        parameters = {**{"g_min": self.g_min, "g_max": self.g_max}, **(state or {})}
        low, high = _number(parameters["g_min"]), _number(parameters["g_max"])
        if not isinstance(low, Tensor) and not isinstance(high, Tensor):
            return g.clamp(low, high)
        low = torch.as_tensor(low, dtype=g.dtype, device=g.device)
        high = torch.as_tensor(high, dtype=g.dtype, device=g.device)
        return torch.minimum(torch.maximum(g, low), high)

    def transfer(self, v: Tensor) -> Tensor:
        """Return ``f(v)`` (V) of the read ``I = g · f(v)``; ohmic cells: ``v`` itself."""
        return v

    def current_of(self, v: Tensor, g: Tensor) -> Tensor:
        """Return the current (A) of nominal cells, of tensors that broadcast.

        Args:
            v: voltages (V).
            g: low-voltage conductances inside of the window (S).
        """
        return g * self.transfer(v)

    @property
    def ohmic(self) -> bool:
        """Whether the current is proportional to the voltage."""
        return self.separable and type(self).transfer is Device.transfer

    def fabricate(
        self,
        shape: tuple[int, ...],
        *,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
    ) -> Cells:
        """Make a population of cells of this device.

        Args:
            shape: of the population; ``()`` is one cell.
            seed: of everything random in the population's life.
            dtype: of its tensors; torch's default if not given.
            device: of its tensors.

        Returns:
            The cells, each at its lowest conductance.

        Raises:
            ValueError: if the shape or the seed is refused.
        """
        return self.cells_type(self, shape, seed=seed, dtype=dtype, device=device)

    @property
    def cells_type(self) -> type[Cells]:
        """The class of this device's populations."""
        return Cells


def _number(value: float | Spread | Tensor) -> float | Tensor:
    return nominal(value) if isinstance(value, Spread) else value


def _normal(shape: tuple[int, ...], context: Context) -> Tensor:
    blank = torch.empty(shape, dtype=torch.float64, device=context.device)
    return blank.normal_(generator=context.generator)


class Cells(nn.Module):
    """A population of cells: per-cell parameters, and what each cell holds now.

    The base class stores the conductance itself (ohmic and statistical cells). Models with an
    inner state override `conductance` and `write`.

    Attributes:
        spec: the device.
        shape: of the population.
        g: conductances now (S), where the state is the conductance.
    """

    def __init__(
        self,
        spec: Device,
        shape: tuple[int, ...],
        *,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        for size in shape:
            checks.integer("shape", size, least=0)
        self.spec = spec
        self.shape = tuple(shape)
        self.register_buffer("rng", random.stream(seed).to(device))
        self.register_buffer("g", None)
        self._dtype = dtype or torch.get_default_dtype()
        context = self._context(torch.device(device))
        self._spread_names = tuple(spec.spreads())
        for name, value in spec.fabricate_state(context).items():
            self.register_buffer(f"p_{name}", value)
        self.reset()

    rng: Tensor
    g: Tensor

    def parameter(self, name: str) -> float | Tensor:
        """Return a device parameter: one value per cell where it is spread, else a number."""
        if name in self._spread_names:
            value: Tensor = getattr(self, f"p_{name}")
            return value
        number: float = getattr(self.spec, name)
        return number

    def parameters_drawn(self) -> dict[str, Tensor]:
        """Return the per-cell tensors drawn at fabrication, by parameter name."""
        drawn = {}
        for key, value in self.named_buffers(recurse=False):
            if key.startswith("p_"):
                drawn[key[2:]] = value
        return drawn

    def reset(self) -> None:
        """Put every cell at its lowest conductance."""
        low = self.parameter("g_min")
        self.g = self._full(low)

    def conductance(self) -> Tensor:
        """Return the low-voltage conductances (S), of ``shape``."""
        return self.g

    def write(self, g: Tensor) -> None:
        """Set the cells directly to conductances, the nearest each cell can hold.

        Args:
            g: conductances asked for (S), of (or broadcast to) ``shape``.

        Raises:
            ValueError: if some are not finite or the shape does not fit.
        """
        self.g = self.spec.reach(self._checked(g), self.parameters_drawn()).clone()

    def current(self, v: Tensor | float) -> Tensor:
        """Return the current (A) through each cell under a voltage (V) that does not move it."""
        voltage = torch.as_tensor(v, dtype=self.g.dtype, device=self.g.device)
        return self.conductance() * self.spec.transfer(voltage)

    def _checked(self, g: Tensor) -> Tensor:
        g = torch.as_tensor(g, dtype=self._like.dtype, device=self._like.device)
        checks.finite("g", g)
        try:
            return g.expand(self.shape)
        except RuntimeError:
            raise ValueError(
                f"g must have (or broadcast to) shape {list(self.shape)}, got {list(g.shape)}"
            ) from None

    @property
    def _like(self) -> Tensor:
        # Some tensor of the population that follows .to(): gives dtype and device.
        return self.g

    def _full(self, value: float | Tensor) -> Tensor:
        if isinstance(value, Tensor):
            return value.clone()
        dtype = self._dtype if self.g is None else self.g.dtype
        return torch.full(self.shape, float(value), dtype=dtype, device=self.rng.device)

    def _context(self, device: torch.device) -> Context:
        g_min, g_max = self.spec.window
        return Context(
            torch.empty(self.shape, dtype=self._dtype, device=device), g_min, g_max, self.rng
        )
