"""Transfer learning: gradients gather on a fast array, and move on to a slow one.

Plain pulsed SGD needs symmetric cells. The Tiki-Taka family does not: the gradient is accumulated
by pulses on a fast array A, whose asymmetry then merely makes it forget; A is read now and then,
and what it says is written to the slow array C, that holds the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from mho.cells.device import Device
from mho.core import checks, notice, random, text
from mho.devices.pulsed import PulsedDevice
from mho.train.on_cells.arrays import Arrays
from mho.train.on_cells.coincidence import PulsedUpdate
from mho.train.on_cells.parameter import pulsed
from mho.train.on_cells.pulsed_sgd import Devices, PulsedOptimizer
from mho.train.on_cells.transfer_rates import (
    HEAD,
    SETTLED,
    Flow,
    TransferRates,
    flow,
    response,
    transfer_rates,
    unfit,
)
from mho.train.on_cells.transfer_rules import AGAD, Chopped, TikiTakaV1, TikiTakaV2, TransferRule
from mho.train.on_cells.weights import WeightCells

__all__ = [
    "AGAD",
    "Chopped",
    "TikiTaka",
    "TikiTakaV1",
    "TikiTakaV2",
    "TransferArrays",
    "TransferRule",
]


class TransferArrays(nn.Module):
    """The arrays of one weight under a transfer rule: fast A, slow C, and the digital state.

    Args:
        rule: how A is read and written to C.
        fast: A.
        slow: C, of the same shape.

    Attributes:
        count: steps taken, and the next column to be read (int64).
    """

    count: Tensor
    flow: Tensor

    def __init__(self, rule: TransferRule, fast: WeightCells, slow: WeightCells) -> None:
        super().__init__()
        self.rule, self.fast, self.slow = rule, fast, slow
        if rule.reference == "symmetry":
            fast.shift_reference(sigma=rule.reference_error)
        else:
            fast.middle_reference()
        out, inputs = fast.shape
        self._keys = tuple(rule.memory((0, 0)))
        for name, value in rule.memory((out, inputs)).items():
            self.register_buffer(name, value.to(fast.read()))
        self.answer = response(fast)
        self.register_buffer("flow", torch.zeros(3, dtype=torch.float64), persistent=rule.derives)
        self.register_buffer("count", torch.zeros_like(fast.cells.rng))

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "answer" not in self.__dict__:  # pickles from before rates were derived
            self.answer = response(self.fast)
            none = torch.zeros(3, dtype=torch.float64, device=self.count.device)
            self.register_buffer("flow", none, persistent=self.rule.derives)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        has = f"{prefix}flow" in state_dict
        if has != self.rule.derives:
            kind = type(self.rule).__name__
            raise ValueError(
                f"this checkpoint has rates given by numbers (of old "
                f"transfer_lr=0.1 and chop_probability=0.1), and rule={self.rule} derives them; to "
                f"go on as it was, give {kind}(transfer_lr=…, …) with those"
                if self.rule.derives
                else f"this checkpoint has rates that were derived, and rule={self.rule} gives "
                f"them by numbers; to go on as it was, give {kind}() without transfer_lr and "
                "chop_probability"
            )
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @property
    def memory(self) -> dict[str, Tensor]:
        """The rule's digital state, by name."""
        return {name: getattr(self, name) for name in self._keys}

    def read(self) -> Tensor:
        """Return the weights ``γ·A + C`` ``[out, in]``."""
        weight = self.slow.read()
        share = self.rule.share
        return weight + share * self.fast.read() if share else weight

    def write(self, weight: Tensor) -> None:
        """Put C's cells where the weights are these."""
        share = self.rule.share
        self.slow.write(weight - share * self.fast.read() if share else weight)

    @torch.no_grad()
    def descend(self, x: Tensor, delta: Tensor, lr: float, update: PulsedUpdate) -> None:
        """Pulse A with inputs and errors, and transfer when it is time.

        Args:
            x: inputs ``[samples, in]``.
            delta: gradients of the outputs ``[samples, out]``.
            lr: learning rate, >= 0.
            update: how inputs and errors become pulses.
        """
        rule = self.rule
        signs = rule.signs(self.memory)
        chopped = x if signs is None else x * signs
        self.count[0] += 1
        if rule.derives or self.flow[2] < SETTLED:  # later only their own rates need it
            self.flow = flow(self.flow, x, delta)
        rates = self.rates(lr, update)
        if "turning" in self._keys:
            self.memory["turning"].fill_(rates.turns)
        self.fast.descend(chopped, delta, rates.fast_lr, update)
        if int(self.count[0]) % rule.transfer_every == 0:
            self.transfer(rates.handed)

    def rates(self, lr: float, update: PulsedUpdate) -> TransferRates:
        """Return the rates in force after what was seen so far.

        Args:
            lr: learning rate, >= 0.
            update: how inputs and errors become pulses.
        """
        return transfer_rates(self.rule, self.answer, self.seen, self.fast.shape[1], lr, update)

    @property
    def seen(self) -> Flow:
        """Running means of what batches have asked."""
        return Flow(*self.flow.tolist())

    @torch.no_grad()
    def transfer(self, rate: float) -> None:
        """Read the next columns of A and write them to C, times a rate."""
        inputs = self.fast.shape[1]
        some = min(self.rule.columns or inputs, inputs)
        columns = (int(self.count[1]) + torch.arange(some, device=self.count.device)) % inputs
        self.count[1] = (self.count[1] + some) % inputs
        source = random.take(self.fast.cells.rng, columns.device)
        memory = self.memory
        said = self.rule.readout(self.fast.read()[:, columns], columns, memory, source)
        span = self.slow.high - self.slow.low  # no weight of C can move further: pulses have an end
        change = (said * rate).clamp_(-span, span)
        pulses = self.rule.pulses(change, columns, memory, self.slow.step, source)
        counts = pulses.new_zeros(self.slow.shape)
        counts[:, columns] = pulses
        self.slow.pulse_both(counts.clamp(min=0), (-counts).clamp_(min=0))


class TikiTaka(PulsedOptimizer):
    """SGD on asymmetric cells: a fast array gathers gradients, a slow one holds the weights.

    Args:
        model: a plain or converted model; the weights of its linear, convolutional and recurrent
            layers go on cells and are set to what the cells can hold.
        lr: learning rate, > 0. With rates that the rule derives it is what it is to SGD: take the
            one at which SGD trains the model, or that of `mho.train.check_device`.
        device: of all cells, or a mapping by parameter or name pattern; see `PulsedSGD`.
        fast_device: of A's cells; as ``device`` if not given.
        rule: `TikiTakaV1`, `TikiTakaV2`, `Chopped` or `AGAD`, or one of your own.
        weight_range: weights of C at a nominal cell's lowest and highest conductance.
        fast_range: the same of A; as ``weight_range`` if not given.
        update: how inputs and errors become pulses; `StochasticPulses()` if not given.
        seed: of the cells and the pulses.

    Raises:
        TypeError, ValueError: if an argument is refused, or nothing would be on cells.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float = 0.1,
        *,
        device: Devices,
        fast_device: Device | None = None,
        rule: TransferRule | None = None,
        weight_range: tuple[float, float] = (-1.0, 1.0),
        fast_range: tuple[float, float] | None = None,
        update: PulsedUpdate | None = None,
        seed: int = 0,
    ) -> None:
        self.rule = TikiTakaV2() if rule is None else rule
        checks.instance("rule", self.rule, TransferRule)
        self._fast_device = None if fast_device is None else pulsed(fast_device, "fast_device")
        self._ranges = (weight_range if fast_range is None else fast_range, weight_range)
        super().__init__(
            model, lr, device=device, weight_range=weight_range, update=update, seed=seed
        )
        self._heeded = False
        self._heed(lr, cells=True)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move the cells by pulses; see `PulsedOptimizer.step`."""
        loss = super().step(closure)
        if not vars(self).get("_heeded", True):
            self._heed(max(float(group["lr"]) for group in self.param_groups))
        return loss

    def _transfers(self) -> dict[str, TransferArrays]:
        return cast(dict[str, TransferArrays], self.arrays)

    def _heed(self, lr: float, *, cells: bool = False) -> None:
        """Warn once of cells, or of settings, under which the rule does not settle."""
        for name, array in self._transfers().items():
            if not cells and array.seen.batches < SETTLED:
                continue
            said = unfit(
                self.rule, array.answer, None if cells else array.rates(lr, self.update), lr
            )
            self._heeded = not cells
            if said:
                notice.warn(f"{name}: {said}")
                self._heeded = True
                return

    def summary(self) -> str:
        """Return the table of `PulsedOptimizer.summary`, and one of the rates in force."""
        lr = {
            self._name[p]: float(g["lr"])
            for g in self.param_groups
            for p in g["params"]
            if p in self._name
        }
        rows = []
        for name, array in self._transfers().items():
            if array.seen.batches:
                rows.append((name, *array.rates(lr[name], self.update).said()))
        if not rows:
            return super().summary()
        return f"{super().summary()}\n\n{text.table(('rates', *HEAD), rows)}"

    def _array(
        self, shape: tuple[int, int], cell: PulsedDevice, seed: int, kind: dict[str, Any]
    ) -> Arrays:
        devices = (self._fast_device or cell, cell)
        fast, slow = (
            WeightCells(each, shape, weight_range=span, seed=random.derive(seed, name), **kind)
            for name, each, span in zip(("fast", "slow"), devices, self._ranges, strict=True)
        )
        return TransferArrays(self.rule, fast, slow)

    def _holding(self, array: TransferArrays) -> WeightCells:
        if self.rule.share:
            raise ValueError(
                f"weights are {self.rule.share:g}·A + C under {type(self.rule).__name__}: no "
                "crossbar's cells hold them alone"
            )
        return array.slow
