"""Device: what one memory cell is. A spec: what the field's papers print.

``device.fabricate(shape, seed=0)`` makes a population of such cells (`Cells`). Parameters given
as a `Spread` become one tensor per cell; all others stay plain numbers.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from mho.cells.behaviour import Behaviour, Context
from mho.cells.population import Cells
from mho.cells.programming import Programming, Statistical
from mho.cells.spread import UNSEEN_ROUNDS, Spread, nominal
from mho.core import derivatives, files, random
from mho.core.constants import as_tensor
from mho.core.spec import derived

_MAX_REDRAWS = 100
D = TypeVar("D", bound="Device")


class Device(Behaviour):
    """Base of all cell models. Subclasses are frozen dataclasses.

    A device must say its programmable window (``g_min`` and ``g_max``, as fields or properties).
    Reads are ``I = g · f(v)`` with ``f = transfer``; a model whose current does not separate so
    has ``separable = False`` and overrides `current_of` and `Cells.current`.

    Class attributes:
        discrete: whether cells hold only some conductances; see `reach`.
        separable: whether ``I = g · f(v)``; reads of an array are then one product, else one
            over a few terms per row (`mho.crossbar.expansion`), for nominal parameters.
        bend_tolerance: where it does not separate, the largest error of what bends away from Ohm's
            law in the reads of an array, relative to the largest bend.
        ordered: pairs of parameters ``(low, high)`` that must not cross in any cell; where two
            spreads cross, both are drawn again.
    """

    ordered: ClassVar[tuple[tuple[str, str], ...]] = (("g_min", "g_max"),)
    discrete: ClassVar[bool] = False
    separable: ClassVar[bool] = True
    bend_tolerance: ClassVar[float] = 1e-4

    g_min: float | Spread
    g_max: float | Spread

    @derived
    def window(self) -> tuple[float, float]:
        """Nominal programmable window ``(g_min, g_max)`` (S)."""
        return nominal(self.g_min), nominal(self.g_max)

    def spreads(self) -> dict[str, Spread]:
        """Return the parameters that differ from cell to cell."""
        return dict(self._spread)

    @derived
    def _spread(self) -> dict[str, Spread]:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if isinstance(value, Spread)}

    def fabricates(self) -> bool:
        """Whether `fabricate_state` draws anything."""
        plain = type(self).fabricate_state is Device.fabricate_state
        return not plain or bool(self.spreads())

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
                drawn[name] = context.sample(spread, shape)
                continue
            # A Gaussian copula: part of the normal score is common to all of one cause.
            if spread.shared not in causes:
                causes[spread.shared] = _normal(shape, context)
            common, own = causes[spread.shared], _normal(shape, context)
            score = spread.loading * common + math.sqrt(1.0 - spread.loading**2) * own
            drawn[name] = spread.quantile(score).to(**kind)
        return drawn

    def _uncross(self, drawn: dict[str, Tensor], low: str, high: str, context: Context) -> None:
        if context.rng is None and random.foreseen(context.device):
            self._uncross_unseen(drawn, low, high, context)
            return
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

    def _uncross_unseen(
        self, drawn: dict[str, Tensor], low: str, high: str, context: Context
    ) -> None:
        """As `_uncross`, without looking how many cross: a few rounds, then the rest is ordered."""

        def ends() -> tuple[Tensor, Tensor]:
            low_value, high_value = (drawn.get(name, getattr(self, name)) for name in (low, high))
            return as_tensor(low_value, context.like), as_tensor(high_value, context.like)

        for _ in range(UNSEEN_ROUNDS):
            low_value, high_value = ends()
            again = self._draw(self._joined(low, high), context.shape, context)
            for name, value in again.items():
                drawn[name] = torch.where(low_value >= high_value, value, drawn[name])
        low_value, high_value = ends()
        if low in drawn:
            drawn[low] = torch.minimum(low_value, high_value)
        if high in drawn:
            drawn[high] = torch.maximum(low_value, high_value)

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
            return derivatives.clip(g, low, high)
        return derivatives.clip(g, as_tensor(low, g), as_tensor(high, g))

    @property
    def programming(self) -> Programming:
        """How cells are programmed where the hardware does not say: by the device's statistics."""
        return Statistical()

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

    @derived
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
        return self.cells_type((self,), shape, seed=seed, dtype=dtype, device=device)

    @property
    def cells_type(self) -> type[Cells]:
        """The class of this device's populations."""
        return Cells

    def save(self, path: str | Path) -> None:
        """Write this device to a YAML file that `load` reads back, equal.

        Args:
            path: where to; an existing file is replaced.
        """
        files.save(self, path)

    @classmethod
    def load(cls: type[D], path: str | Path) -> D:
        """Read a device from a YAML file, as `save` and ``mho fit`` write it.

        Args:
            path: of the file.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is not YAML, a key is unknown or a value is refused.
            TypeError: if the file describes no device, or one of another kind than asked for.
        """
        return files.load(path, cls)


def _number(value: float | Spread | Tensor) -> float | Tensor:
    return nominal(value) if isinstance(value, Spread) else value


def _normal(shape: tuple[int, ...], context: Context) -> Tensor:
    blank = torch.empty(shape, dtype=torch.float64, device=context.device)
    return blank.normal_(generator=context.generator)
