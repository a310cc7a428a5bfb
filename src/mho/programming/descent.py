"""A descent on the error of products: read, pulse by the gradient, until it falls no more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mho.cells.programming import Round, Site, Written
from mho.core import notice
from mho.core.text import quantity
from mho.devices.pulsed import PulsedDevice
from mho.programming.controller import Orders
from mho.programming.lent import Lent
from mho.programming.nominal import Counted, Laddered
from mho.programming.products import Lack, Products
from mho.programming.pulser import Pulser
from mho.programming.scheme import WriteVerify

if TYPE_CHECKING:
    from mho.programming.product import ProductDescent

_SHRINK, _GROW = 0.5, 1.5
_BETTER = 0.99  # of the least error so far: less is no progress
_LOST = 0.5  # relative error of products at which a descent without progress has failed


@dataclass(frozen=True, eq=False)
class ProductReport:
    """What a descent on products did.

    All tensors are of the population's shape.

    Attributes:
        scheme: how the cells were programmed, with the pulses that were given.
        target: conductances asked for (S).
        achieved: conductances now (S), true ones.
        pulses: pulses each cell was given (int64).
        failed: cells of weights that are further from theirs than the tolerance.
        history: error of the products read in each round, as these reads show it (noise
            included): root mean square, relative to that of the wanted products.
        time: of programming (s), reads included.
        energy: dissipated in the cells by all pulses (J).
        read_energy: dissipated in the cells by all reads (J).
        reads: readings of bit lines.
        rounds_given: the pulses of every round, in order, where the scheme records them.
        first: what the policy that programmed the cells before did; the rest is without it.
    """

    scheme: ProductDescent
    target: Tensor
    achieved: Tensor
    pulses: Tensor
    failed: Tensor
    history: tuple[float, ...]
    time: float
    energy: float
    read_energy: float
    reads: int
    rounds_given: tuple[Round, ...] | None = None
    first: Written | None = None

    @property
    def rounds(self) -> int:
        """How many rounds read products."""
        return len(self.history)

    def __str__(self) -> str:
        pulses = self.pulses.double()
        mean, most = (float(pulses.mean()), int(pulses.max())) if pulses.numel() else (0.0, 0)
        first, last = (f"{e:.3g}" for e in (self.history[0], self.history[-1]))
        return (
            f"error of products from {first} to {last} in {self.rounds} rounds; cells of weights "
            f"further off than {self.scheme.tolerance:.3g} of the window: "
            f"{int(self.failed.sum()):,} of {self.failed.numel():,}\n"
            f"{mean:.1f} pulses a cell (most {most}), {quantity(self.time, 's', zero='0 s')}, "
            f"{quantity(self.energy, 'J', zero='0 J')} in pulses and "
            f"{quantity(self.read_energy, 'J', zero='0 J')} in {self.reads:,} reads"
        )


class Descent:
    """One descent.

    Args:
        policy: what to do.
        scheme: its pulses, fitted to the device.
        lent: the cells as they lie in arrays; these are pulsed.
        target: conductances asked for (S), of the population's shape.
        site: where the population lies.
        generator: of inputs, noise and random rounding.
    """

    def __init__(
        self,
        policy: ProductDescent,
        scheme: WriteVerify,
        lent: Lent,
        target: Tensor,
        site: Site,
        generator: torch.Generator | None,
    ) -> None:
        self.policy, self.lent, self.target = policy, lent, target
        self.scheme, self.cells, self.name = scheme, lent.cells, site.name
        low, high = self.cells.spec.window
        self.tolerance = policy.tolerance * (high - low)
        self.products = Products(site, target, policy, high - low, generator)
        self.pulser = Pulser(lent.cells, scheme, record=policy.record)
        self.pulses = torch.zeros_like(lent.here, dtype=torch.int64)
        # A cell that overshoots takes smaller steps; one that goes on, larger ones again.
        self._gain = torch.ones_like(lent.cells.g)
        self._up = torch.zeros_like(lent.here)
        device, asked = self.cells.spec, self._asked()
        self._chooser: Counted | Laddered = (
            Counted(device, asked, scheme, generator)
            if isinstance(device, PulsedDevice)
            else Laddered(device, asked, scheme)
        )

    def go(self) -> ProductReport:
        """Work round after round."""
        history: list[float] = []
        least, waited = math.inf, 0
        while True:
            lack = self._read()
            history.append(self.products.error)
            waited = 0 if history[-1] < _BETTER * least else waited + 1
            least = min(least, history[-1])
            orders = self._orders(lack)
            over = waited >= self.policy.patience or len(history) > self.policy.max_rounds
            if over or not bool(orders.active.any()):
                self._complain(history)
                return self._report(tuple(history))
            self.pulser.give(orders)
            self.pulses += torch.where(orders.active, orders.count, 0)

    def _asked(self) -> Tensor:
        return self.lent.given(self.target)

    def _held(self) -> Tensor:
        return self.lent.back(self.cells.conductance())

    def _read(self) -> Lack:
        found = self.products.read(self._held(), lambda v: self.lent.back(self.cells.current(v)))
        trust = self.products.trust
        return Lack(*(self.lent.given(part) * trust for part in found))

    def _orders(self, lack: Lack) -> Orders:
        up = lack.share > 0.0
        chosen = self._chooser.choose(lack.share * self._gain)
        # One pulse lessens the error where it is more than half of what the pulse makes.
        worth = lack.alone.abs() > torch.clamp(chosen.step / 2.0, min=self.tolerance)
        active = self.lent.here & worth & (chosen.count > 0)
        turned = active & (self.pulses > 0) & (up != self._up)
        gain = torch.where(turned, self._gain * _SHRINK, (self._gain * _GROW).clamp(max=1.0))
        self._gain = torch.where(active, gain, self._gain)
        self._up = torch.where(active, up, self._up)
        return Orders(active, up, chosen.amplitude, chosen.count)

    def _complain(self, history: list[float]) -> None:
        if history[-1] > max(_LOST, _BETTER * history[0]):
            of = f" of {self.name}" if self.name else ""
            notice.warn(
                f"product descent{of} made no progress: the error of products is "
                f"{history[-1]:.3g} after {len(history)} rounds. Let another policy begin "
                "(first=…), or give it more patience or inputs",
                RuntimeWarning,
            )

    def _report(self, history: tuple[float, ...]) -> ProductReport:
        held, products, pulser = self._held(), self.products, self.pulser
        off = products.lacking(held).alone.abs() > self.tolerance
        found = ProductReport(
            scheme=self.policy.replace(set=self.scheme.set, reset=self.scheme.reset),
            target=self._asked(),
            achieved=self.cells.conductance().clone(),
            pulses=self.pulses,
            failed=self.lent.given(off) & self.lent.here,
            history=history,
            time=pulser.time + products.time,
            energy=pulser.energy,
            read_energy=products.energy,
            reads=products.reads,
            rounds_given=tuple(pulser.rounds) if self.policy.record else None,
        )
        return self.lent.report(found)
