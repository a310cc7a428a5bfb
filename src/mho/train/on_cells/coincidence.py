"""The rank-one pulsed update: a product of inputs and errors, made by coincidences of pulses.

Every input line and every error line of an array carries a train of stochastic pulses; a cell
moves where pulses of its two lines coincide. In the mean this is ``ΔW = −lr·δ xᵀ``, in one
parallel operation of the array, whatever its size.

Sources: T. Gokmen, Y. Vlasov, "Acceleration of deep neural network training with resistive
cross-point devices: design considerations", Frontiers in Neuroscience 2016,
doi 10.3389/fnins.2016.00333 (the update); T. Gokmen, M. Onen, W. Haensch, "Training deep
convolutional neural networks with resistive cross-point devices", Frontiers in Neuroscience 2017,
doi 10.3389/fnins.2017.00538 (update management: the balance of the two amplitudes).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mho.core import checks, random
from mho.core.spec import Spec

_BITS = 2**16  # probabilities have sixteen random bits, dithered: their mean is exact
_LEAST = 16  # smaller products are not worth eight bits (and torch 2.13 errs in those of one row)
_BLOCK = 2**13  # numbers of a block that stays in the cache, in fours
_CHUNK = 2**23  # pulses drawn at a time: bounds the memory of long trains and many samples


class PulsedUpdate(Spec):
    """Base of the ways to turn inputs and errors into pulses. Subclasses are frozen dataclasses."""

    sequential: bool

    def counts(self, x: Tensor, delta: Tensor, gain: float, source: torch.Generator) -> Counts:
        """Draw how many set and reset pulses every cell receives for ``−gain·δ xᵀ`` steps.

        Args:
            x: inputs ``[samples, in]``.
            delta: errors (gradients of the outputs) ``[samples, out]``.
            gain: learning rate over the step of one pulse, ``lr/Δw_min``.
            source: of randomness.
        """
        raise NotImplementedError(f"{type(self).__name__} must define counts(x, delta, gain, …)")

    def hits(self, x: Tensor, delta: Tensor, gain: float, source: torch.Generator) -> Hits:
        """Draw as `counts`; return the cells that receive pulses, most often few, and theirs."""
        up, down = (ways.flatten() for ways in self.counts(x, delta, gain, source))
        index = random.where((up + down) != 0)
        return Hits(index, up[index], down[index])


class Counts(NamedTuple):
    """Pulses per cell ``[out, in]``, whole numbers >= 0."""

    up: Tensor
    down: Tensor


class Hits(NamedTuple):
    """Pulses of the cells that receive any.

    Attributes:
        at: which, each once and rising, as positions in the flattened matrix (int64),
            ``[found]``.
        up: set pulses ``[found]``, whole numbers >= 0.
        down: reset pulses ``[found]``, likewise.
    """

    at: Tensor
    up: Tensor
    down: Tensor


@dataclass(frozen=True)
class StochasticPulses(PulsedUpdate):
    """Coincidences of stochastic pulse trains, simulated exactly, slot by slot.

    For one sample, with ``k = lr·max|x|·max|δ|/Δw_min``, the trains have
    ``BL = min(⌈k⌉, bl)`` slots, and a line pulses in a slot with probability

        ``p_i = √(lr/(Δw_min·BL))·√(max|δ|/max|x|)·|x_i|``,
        ``q_j = √(lr/(Δw_min·BL))·√(max|x|/max|δ|)·|δ_j|``,

    at most 1. Cell (j, i) receives as many pulses as slots in which both lines pulse: a
    binomial count of mean ``BL·p_i·q_j`` and variance ``BL·p_i·q_j(1 − p_i·q_j)``, set pulses
    where ``x_i·δ_j < 0`` and reset pulses where it is > 0. Cells that share a line share its train
    and are correlated, as on the array. Where k exceeds ``bl`` the largest probabilities
    saturate and the update falls short of ``−lr·δ xᵀ``, as on the array.

    The counts of a whole batch are two integer matrix products over all slots of all samples.

    Attributes:
        bl: longest train (slots), >= 1.
        adaptive: whether each sample has the train it needs, else all have ``bl`` slots.
        balanced: whether both lines' largest probabilities are made equal (update management),
            else both have the factor ``√(lr/(Δw_min·BL))``.
        sequential: whether a batch's samples are applied to the cells one after another, in
            a loop, rather than all at once. Slow, and a reference: where steps depend on the
            conductance it differs by the order of the samples, and beyond that by third order in
            what a batch moves.
    """

    bl: int = 31
    adaptive: bool = True
    balanced: bool = True
    sequential: bool = False

    def __post_init__(self) -> None:
        checks.integer("bl", self.bl)

    def counts(self, x: Tensor, delta: Tensor, gain: float, source: torch.Generator) -> Counts:
        """Draw every cell's coincidences; see `PulsedUpdate.counts`."""
        net, gross = self._coincidences(x, delta, gain, source)
        up = (net + gross).bitwise_right_shift(1)
        return Counts(up, gross - up)

    def hits(self, x: Tensor, delta: Tensor, gain: float, source: torch.Generator) -> Hits:
        """Draw every cell's coincidences; see `PulsedUpdate.hits`."""
        if type(self).counts is not StochasticPulses.counts:  # a subclass has its own
            return super().hits(x, delta, gain, source)
        net, gross = (ways.flatten() for ways in self._coincidences(x, delta, gain, source))
        index = random.where(gross != 0)
        total = gross[index]
        up = net[index].add_(total).bitwise_right_shift_(1)
        return Hits(index, up, total.sub_(up))

    def _coincidences(
        self, x: Tensor, delta: Tensor, gain: float, source: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        # Set less reset pulses, and both together, of every cell [out, in].
        p_scale, q_scale, slots = self._scales(x, delta, gain)
        rows = slots.cumsum(0)
        room = max(_CHUNK // (x.shape[1] + delta.shape[1]), 1)
        total = int(rows[-1]) if len(rows) else 0
        net = gross = torch.zeros((), dtype=torch.int32, device=x.device)
        for start in range(0, total, room):
            row = torch.arange(start, min(start + room, total), device=x.device)
            sample = torch.searchsorted(rows, row, right=True)
            a = _pulses(x, p_scale, sample, source)
            b = _pulses(delta, q_scale, sample, source)
            net = net - _product(b, a) if start else _product(b, a).neg_()
            more = _product(b.abs_(), a.abs_())
            gross = gross + more if start else more
        shape = (delta.shape[1], x.shape[1])
        return net.expand(shape), gross.expand(shape)

    def trains(self, x: Tensor, delta: Tensor, gain: float) -> Trains:
        """Return the trains' lengths and signed probabilities; arguments as of `counts`."""
        p_scale, q_scale, slots = self._scales(x, delta, gain)
        return Trains(
            (x * p_scale.unsqueeze(1)).clamp_(-1.0, 1.0),
            (delta * q_scale.unsqueeze(1)).clamp_(-1.0, 1.0),
            slots,
        )

    def _scales(self, x: Tensor, delta: Tensor, gain: float) -> tuple[Tensor, Tensor, Tensor]:
        # Of each sample: probabilities over inputs, over errors, and the trains' length.
        x_max, d_max = _largest(x), _largest(delta)
        k = gain * x_max * d_max
        slots = k.ceil().clamp(max=self.bl) if self.adaptive else torch.full_like(k, self.bl)
        slots = torch.where(k > 0, slots, torch.zeros_like(slots))
        amplitude = (gain / slots.clamp_min(1.0)).sqrt()
        tiny = torch.finfo(x.dtype).tiny
        balance = (d_max / x_max.clamp_min(tiny)).sqrt().clamp_min(tiny)
        balance = balance if self.balanced else torch.ones_like(balance)
        return amplitude * balance, amplitude / balance, slots.long()


class Trains(NamedTuple):
    """Pulse trains of a batch.

    Attributes:
        p: probabilities of a pulse on the input lines, with the inputs' signs ``[samples, in]``.
        q: the same on the error lines ``[samples, out]``.
        slots: length of each sample's trains ``[samples]``.
    """

    p: Tensor
    q: Tensor
    slots: Tensor


@dataclass(frozen=True)
class ExpectedPulses(PulsedUpdate):
    """The mean of the coincidences, rounded at random to whole pulses, each cell for itself.

    Set and reset pulses of a batch are counted apart, ``lr/Δw_min·Σ_samples max(∓x_i·δ_j, 0)``, so
    the drift that opposed pulses cause in an asymmetric device is kept; the noise of the trains is
    not, and no train saturates.

    Attributes:
        sequential: as of `StochasticPulses`.
    """

    sequential: bool = False

    def counts(self, x: Tensor, delta: Tensor, gain: float, source: torch.Generator) -> Counts:
        """Round every cell's expected pulses; see `PulsedUpdate.counts`."""
        net = delta.T @ x
        gross = delta.abs().T @ x.abs()
        ways = (gross - net, gross + net)
        up, down = (round_at_random(way.mul_(gain / 2).clamp_min_(0.0), source) for way in ways)
        return Counts(up, down)


def round_at_random(value: Tensor, source: torch.Generator) -> Tensor:
    """Round up or down at random so that the mean is exact (int32).

    Args:
        value: any shape.
        source: of randomness.
    """
    draw = torch.empty_like(value).uniform_(generator=source)
    return draw.add_(value).floor_().to(torch.int32)


def _largest(values: Tensor) -> Tensor:
    # Largest size in every row.
    return torch.cat([part.abs().amax(1) for part in values.split(_rows(values.shape[1]))])


def _rows(width: int) -> int:
    # Rows of a block that stays in the cache; the random bits of four entries come as one number.
    return max(_BLOCK // max(width, 1), 1) * 4


def _pulses(values: Tensor, scale: Tensor, sample: Tensor, source: torch.Generator) -> Tensor:
    # Signed pulses (-1, 0, 1) of the slots, each belonging to a sample [slots, lines], int8. Block
    # by block in the same small buffers: fresh memory costs more than all the arithmetic.
    count, lines = values.shape
    rows = _rows(lines)
    level = torch.empty((count, lines), dtype=torch.int16, device=values.device)
    sign = torch.empty((count, lines), dtype=torch.int8, device=values.device)
    size, draw, way = values.new_empty((3, min(rows, count), lines)).unbind(0)
    for start in range(0, count, rows):
        part = slice(start, min(start + rows, count))
        p, dither, signs = (memory[: part.stop - start] for memory in (size, draw, way))
        torch.mul(values[part], scale[part].unsqueeze(1), out=p).clamp_(-1.0, 1.0)
        torch.sign(p, out=signs)
        dither.uniform_(generator=source)
        p.abs_().mul_(_BITS).add_(dither).floor_().clamp_(max=_BITS)
        sign[part] = signs.mul_(torch.clamp(p, max=1.0, out=dither))  # none where p came to 0
        level[part] = p.sub_(_BITS // 2 + 1).clamp_(min=-(_BITS // 2))
    pulses = torch.empty((len(sample), lines), dtype=torch.int8, device=values.device)
    bits = torch.empty(rows * lines // 4, dtype=torch.int64, device=values.device)
    for part, chosen in zip(pulses.split(rows), sample.split(rows), strict=True):
        drawn = bits[: -(-part.numel() // 4)].random_(-(2**63), None, generator=source)
        uniform = drawn.view(torch.int16)[: part.numel()].view(part.shape)
        hit = (uniform <= level.index_select(0, chosen)).view(torch.int8)
        torch.mul(hit, sign.index_select(0, chosen), out=part)
    return pulses


def _product(b: Tensor, a: Tensor) -> Tensor:
    # ``bᵀ a`` of small integers [rows, …], exact (int32).
    if min(*a.shape, b.shape[1]) >= _LEAST and _int8_works(a.device.type):
        product: Tensor = torch._int_mm(b.T, a)
        return product
    return (b.T.float() @ a.float()).to(torch.int32)  # exact up to 2^24 rows


@functools.cache
def _int8_works(device_type: str) -> bool:
    # Eight-bit products are several times faster where torch has them (on GPUs they restrict
    # shapes), but no documented part of it: trusted only after a look.
    if device_type != "cpu" or not hasattr(torch, "_int_mm"):
        return False
    values = torch.arange(2 * 67 * 41, dtype=torch.int32).remainder_(7).remainder_(3).sub_(1)
    b, a = values.to(torch.int8).view(2, 67, 41)
    try:
        found = torch._int_mm(b[:, :_LEAST].T, a)
    except Exception:  # however it refuses
        return False
    return torch.equal(found, (b[:, :_LEAST].T.float() @ a.float()).to(torch.int32))
