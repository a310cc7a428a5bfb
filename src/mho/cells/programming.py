"""Programming policies: how cells come to hold what they are asked to.

    target ──policy──▶ what the device's own programming left ──effects──▶ stored

A policy is part of the hardware. Effects of programming (write noise, finite states, …) act on
what it left, whichever it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mho.cells import life
from mho.cells.life import Drawn
from mho.core.spec import Spec

if TYPE_CHECKING:
    from mho.cells.population import Cells


@dataclass(frozen=True, eq=False)
class Written:
    """What programming did to a population.

    Attributes:
        pulses: pulses that each cell received, of the population's shape (int64), or one number
            where all received as many.
        seconds: duration (s), verify reads included; None where pulses have no known width.
        energy: dissipated in the cells (J), verify reads included; None where it is not known.
        failed: mask of the cells that the policy found not to hold what they should; None where it
            does not look.
        report: the policy's own account, or None.
    """

    pulses: Tensor | int = 1
    seconds: float | None = None
    energy: float | None = None
    failed: Tensor | None = None
    report: Any = None


@dataclass(frozen=True, eq=False)
class Site:
    """Where a population lies, and what is made of its currents.

    A policy that looks at single cells needs the arrays alone; one that looks at products needs
    the rest.

    Attributes:
        arrays: gives which cell lies where in which physical array, ``[arrays, rows, cols]``
            (positions in the flattened population, -1 for none).
        wires: from conductances of the population (S) to what reads through the arrays' wires
            show of them, of the same shape; the same where wires are ideal.
        converted: from conductances of the population (S) to what flows into each converter for
            each word line, ``[groups · rows, lines]`` (S); linear.
        assembled: from results of converters ``[groups, …, lines]`` to outputs
            ``[groups, …, outputs]``; linear.
        groups: matrices side by side, each with inputs of its own.
        rows: inputs of one group.
        height: word lines of one array: so many inputs are added as currents.
        name: of what is stored there, for messages.
        combination: part of each slice in a weight, ``Σ_s c[s] G[s]``; None of a population by
            itself.
    """

    arrays: Callable[[], Tensor]
    wires: Callable[[Tensor], Tensor]
    converted: Callable[[Tensor], Tensor]
    assembled: Callable[[Tensor], Tensor]
    groups: int
    rows: int
    height: int
    name: str = ""
    combination: tuple[float, ...] | None = None

    @staticmethod
    def alone(like: Tensor) -> Site:
        """Return that of a population by itself: its last two dimensions are an array.

        All others count arrays; a vector is one row. Every column is an output.

        Args:
            like: a tensor of the population's shape.
        """
        rows = like.shape[-2] if like.dim() > 1 else 1
        cols = like.shape[-1] if like.dim() else 1
        place = torch.arange(like.numel(), device=like.device).view(-1, rows, cols)
        return Site(
            arrays=lambda: place,
            wires=lambda g: g,
            converted=lambda g: g.reshape(-1, cols),
            assembled=lambda results: results,
            groups=len(place),
            rows=rows,
            height=rows,
        )


@dataclass(frozen=True, eq=False)
class Round:
    """Pulses that cells were given in one round: first all set pulses, then all reset pulses.

    Attributes:
        cells: which, as positions in the flattened population ``[pulsed]`` (int64); None: all.
        up: set pulses (true) or reset pulses ``[pulsed]``; or one for all.
        volts: of the pulses ``[pulsed]`` (V), word line minus bit line; None where pulses are
            only counted.
        count: pulses of each train ``[pulsed]`` (int64); None: one each.
        scheme: the `mho.programming.WriteVerify` whose widths, access and order they had; None
            where no more than counts is known.
        erase: whether this is no pulse but a reset to the lowest conductance.
    """

    cells: Tensor | None
    up: Tensor | bool
    volts: Tensor | None = None
    count: Tensor | None = None
    scheme: Any = None
    erase: bool = False


@dataclass(frozen=True)
class Programming(Spec):
    """Base of all policies. A subclass says `reached`, and `carry_out` if that is more than it."""

    def check(self, device: Any) -> None:
        """Refuse a device that cannot be programmed so (ValueError)."""

    def check_encoding(self, encoding: Any) -> None:
        """Refuse an encoding whose cells cannot be programmed so (ValueError)."""

    @property
    def says(self) -> str:
        """In a few words, what is stored."""
        raise NotImplementedError

    def reached(self, target: Tensor, drawn: Drawn) -> Tensor:
        """Return what the device's own programming makes of targets (S), differentiable."""
        raise NotImplementedError

    @property
    def statistical(self) -> bool:
        """Whether the device's own ``program`` and ``write_std`` act."""
        return False

    @property
    def cell_by_cell(self) -> bool:
        """Whether training must draw single cells: errors are not white noise, alike for all."""
        return False

    def deviation(self, window: tuple[float, float]) -> float:
        """Return the standard deviation (S) of what training takes the policy's error for."""
        return 0.0

    def write(self, target: Tensor, drawn: Drawn, *, noise: float = 1.0) -> Tensor:
        """Program cells that training draws: from targets to stored conductances (S).

        Args:
            target: conductances asked for (S).
            drawn: the population.
            noise: factor on the standard deviation of the white error.
        """
        white = self.deviation(drawn.window)
        g = self.reached(target, drawn)
        return life.settle(g, drawn, own=self.statistical, white=white, noise=noise)

    def rounds_of(self, written: Written) -> tuple[Round, ...] | None:
        """Return the pulses that a programming gave, round after round; None: they are not known.

        Args:
            written: what `carry_out` returned.
        """
        return None

    def carry_out(self, cells: Cells, target: Tensor, site: Site | None) -> Written:
        """Program a population; it is changed.

        Args:
            cells: the population.
            target: conductances asked for (S), of its shape.
            site: where it lies; None: by itself, see `Site.alone`.
        """
        drawn = cells.drawn("program")
        # Encodings ask for nothing outside of the nominal window; whoever calls by hand may.
        cells.hold(self.write(drawn.device.reach(target) if _alike(drawn) else target, drawn))
        return Written()


@dataclass(frozen=True)
class Exact(Programming):
    """What is asked for is stored, or the nearest that each cell can hold.

    For studies that want it, and for voltage-driven devices (a write–verify loop takes these
    anywhere in their window).
    """

    @property
    def says(self) -> str:
        """What is stored."""
        return "what is asked for is stored"

    def reached(self, target: Tensor, drawn: Drawn) -> Tensor:
        """The nearest conductances (S) that the cells can hold."""
        return nearest(target, drawn)


@dataclass(frozen=True)
class Statistical(Programming):
    """The device's own statistics of programming; exact where it has none."""

    @property
    def says(self) -> str:
        """What is stored."""
        return "by the device's own statistics"

    @property
    def statistical(self) -> bool:
        """They act."""
        return True

    def reached(self, target: Tensor, drawn: Drawn) -> Tensor:
        """The nearest conductances (S) that the cells can hold."""
        return nearest(target, drawn)


@dataclass(frozen=True)
class OpenLoop(Programming):
    """So many pulses from a reset, by the nominal response curve, and no look at the result.

    Levels are finite, cells answer each by its own parameters, and every pulse is noisy: the
    errors of programming arise by themselves. For pulse-count devices.
    """

    def check(self, device: Any) -> None:
        """Refuse a device that is not written by counting pulses (ValueError)."""
        if not hasattr(device, "open_loop"):
            raise ValueError(
                f"programming=OpenLoop() needs a device that is written by counting pulses, "
                f"got {type(device).__name__}"
            )

    @property
    def cell_by_cell(self) -> bool:
        """It does."""
        return True

    @property
    def says(self) -> str:
        """What is stored."""
        return "a count of pulses from a reset, by the nominal curve"

    def reached(self, target: Tensor, drawn: Drawn) -> Tensor:
        """What the pulses leave (S); the gradient is straight through."""
        g, _ = drawn.device.open_loop(target, drawn.states[0], drawn.context().generator)
        return g

    def rounds_of(self, written: Written) -> tuple[Round, ...] | None:
        """A reset of all cells, then the counted set pulses."""
        assert isinstance(written.pulses, Tensor)
        count = written.pulses.flatten() - 1
        cells = count.nonzero().squeeze(1)
        return Round(None, False, erase=True), Round(cells, True, count=count[cells])

    def carry_out(self, cells: Cells, target: Tensor, site: Site | None) -> Written:
        """See `Programming.carry_out`; the reset counts as one pulse."""
        drawn = cells.drawn("program")
        g, counts = drawn.device.open_loop(target, drawn.states[0], drawn.context().generator)
        cells.hold(life.settle(g, drawn, own=False))
        return Written(pulses=counts + 1)


def nearest(target: Tensor, drawn: Drawn) -> Tensor:
    """Return the nearest conductances (S) that cells can hold, differentiable."""
    # Encodings stay inside the nominal window: only cells with windows of their own fall short.
    if _alike(drawn):
        return target
    reached: Tensor = drawn.device.reach(target, drawn.states[0])
    return reached


def _alike(drawn: Drawn) -> bool:
    """Whether every cell holds whatever is inside of the nominal window."""
    return not (drawn.device.spreads() or drawn.device.discrete)
