"""Is a current–voltage curve a loop? How wide, where does it switch, and which way?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from mho.fit import branch_noise as noise
from mho.fit.calibration import Array
from mho.fit.sweeps import Excursion, Sweeps, excursions, rested, sweeps

_LEAST = 0.05  # width over current: narrower loops are drift or a cell's capacitance
_SURE = 1e-4  # probability that noise alone makes such a loop
_BLOCK = 12  # pairs of samples, at least, that are looked at together
_BLOCKS = 4  # of one excursion, at most
_HIDDEN = 0.55  # correlation of neighbours that is allowed for even where none is seen
_SHORTEST = 6  # pairs of an excursion that say something
_JUMP = 3  # second differences that a jump makes large
_SMOOTH = 5  # samples
_FALL = (0.7, 0.9)  # of the largest distance of both ways: its fall between tells the switching

Voltages = tuple[Array, Array]


@dataclass(frozen=True)
class Hysteresis:
    """What tells a switching loop from a curve of one state.

    Attributes:
        is_loop: whether the branches out and back differ, by more than noise can do and by more
            than 5 % of the current.
        width: root mean square difference of the branches over that of the current, noise taken
            off; NaN where no voltage was passed both ways.
        chance: probability that the noise of a curve without hysteresis makes such differences.
        polarity: +1 where a positive voltage sets (raises the current), -1 where it resets, 0
            where there is no loop, or both polarities do the same.
        set_voltages: one a cycle (V), NaN where a cycle has none: where the way out, below the way
            back until then, has closed a fifth of the largest distance (of the currents) to it;
            `mho.fit.branches.switching_voltages` says how.
        reset_voltages: one a cycle (V): likewise, where the way out lies above the way back.
        verdict: the same in words.
    """

    is_loop: bool
    width: float
    chance: float
    polarity: int
    set_voltages: Array
    reset_voltages: Array
    verdict: str


def hysteresis(
    voltage: Any,
    current: Any,
    *,
    cycle: Any = None,
) -> Hysteresis:
    """Look for hysteresis in swept current–voltage data.

    In every excursion from 0 V out and back the currents of both branches are compared at the same
    voltages. Their differences are averaged over blocks of neighbouring voltages and tested
    against the noise, which is what is rough from sample to sample, of any size, also one that
    grows with the current. How far it hangs together (an instrument's averaging, a filter) is
    estimated from excursions of 30 samples out and more: averages over up to 9 samples, and noise
    whose neighbours correlate by up to 0.9, are taken for what they are. Shorter sweeps do not show
    it; there, neighbours are taken to correlate by 0.55, and noise that hangs together by more may
    pass for a loop.

    Args:
        voltage: (V), in the order of measurement: one after the other, or one array a cycle.
        current: (A), likewise.
        cycle: of every sample; see `mho.fit.loop`.

    Raises:
        ValueError: if the lengths differ or there are too few samples.
    """
    return of_sweeps(sweeps(voltage, current, cycle=cycle))


def of_sweeps(data: Sweeps) -> Hysteresis:
    """Return the hysteresis of cycles."""
    blocks = [block for k in range(data.cycles) for block in _blocks(*_in_order(data, k))]
    nothing = np.full(data.cycles, np.nan)
    if not blocks:
        told = (
            "No voltage was passed on the way out and on the way back: hysteresis would not show."
        )
        return Hysteresis(False, np.nan, 1.0, 0, nothing, nothing, told)
    chance = _chance(blocks)
    width = _width(blocks)
    found = chance < _SURE and width > _LEAST
    if not found:
        why = "by noise" if chance >= _SURE else f"by less than {_LEAST:.0%} of the current"
        told = f"No loop: the ways out and back differ by {width:.1%} of the current, {why}."
        return Hysteresis(False, width, chance, 0, nothing, nothing, told)
    polarity = _polarity(blocks)
    on, off = switching_voltages(data, polarity)
    told = (
        f"A loop: the ways out and back differ by {width:.0%} of the current (noise would with "
        f"probability {chance:.1g}). {_where(polarity, on, off)}"
    )
    return Hysteresis(True, width, chance, polarity, on, off, told)


def switching_voltages(data: Sweeps, polarity: int, current: Array | None = None) -> Voltages:
    """Return where cycles set and reset (V), one of each a cycle, NaN where there is none.

    A cell has not switched as long as its ways out and back draw apart. The voltage is where, on
    the way out, their distance has fallen by a fifth from its largest: an abrupt cell's jump, to
    within the spacing of samples, and the beginning of a gradual transition. For noise's sake the
    distance is a median over five samples, and the voltage is the mean of those where the distance
    last reaches 70 % to 90 % of its largest, interpolated. It needs no
    threshold current, moves continuously with the currents, and is the same rule for measured and
    for modelled loops.

    Args:
        data: the cycles.
        polarity: +1 where a positive voltage sets, -1 where a negative one does.
        current: other currents through the same sweeps, ``[samples, …, cycles]`` (A); the
            measured ones if not given.

    Returns:
        Set and reset voltages, ``[…, cycles]`` each.
    """
    current = data.current if current is None else current
    on, off = (np.full(current.shape[1:], np.nan) for _ in range(2))
    for k in range(data.cycles):
        v, _ = data.cycle(k)
        order = rested(v)
        own = current[order, ..., k]
        seen = set()
        for part in excursions(v[order]):
            sets = part.sign == polarity
            pairs = _pairs(v[order], part)
            if pairs is None or part.sign in seen:
                continue
            seen.add(part.sign)
            gap = part.sign * pairs.difference(own) * (-1.0 if sets else 1.0)
            (on if sets else off)[..., k] = _fallen(pairs.at, gap)
    return on, off


def _in_order(data: Sweeps, k: int) -> tuple[Array, Array]:
    v, i = data.cycle(k)
    order = rested(v)
    return v[order], i[order]


def _fallen(at: Array, gap: Array) -> Array:
    """Return up to where gaps ``[pairs, …]`` are open, NaN where none is above 0."""
    gap = _smooth(gap)
    # The largest gap at or beyond each voltage falls only once, whatever the noise or the steps.
    beyond = np.maximum.accumulate(gap[::-1], axis=0)[::-1]
    top = beyond[0]
    low, high = _FALL
    level = beyond / np.where(top > 0.0, top, 1.0)
    # Integrated over voltage, this is the mean of the voltages of all levels between the two.
    open_ = np.clip((level - low) / (high - low), 0.0, 1.0)
    steps = np.diff(at)
    found = at[0] + np.tensordot(steps, 0.5 * (open_[1:] + open_[:-1]), axes=1)
    result: Array = np.where(top > 0.0, found, np.nan)
    return result


@dataclass(frozen=True)
class _Pairs:
    """Samples of the way out, and where the way back passed the same voltages."""

    at: Array  # voltages (V)
    out: npt.NDArray[np.intp]
    before: npt.NDArray[np.intp]
    after: npt.NDArray[np.intp]
    share: Array  # of the one after

    def difference(self, current: Array) -> Array:
        """Currents ``[samples, …]`` out minus back, ``[pairs, …]``."""
        share = self.share.reshape(-1, *[1] * (current.ndim - 1))
        back = current[self.before] * (1.0 - share) + current[self.after] * share
        found: Array = current[self.out] - back
        return found

    def mean(self, current: Array) -> Array:
        """Of both currents."""
        found: Array = current[self.out] - 0.5 * self.difference(current)
        return found


def _pairs(v: Array, part: Excursion) -> _Pairs | None:
    size = np.abs(v)
    samples = np.arange(len(v))
    out, back = samples[part.out], samples[part.back]
    if len(back) < 2:
        return None
    back = back[np.argsort(size[back], kind="stable")]
    inside = (size[out] >= size[back[0]]) & (size[out] <= size[back[-1]])
    out = out[inside]
    if len(out) < 2:
        return None
    place = np.searchsorted(size[back], size[out], side="right").clip(1, len(back) - 1)
    before, after = back[place - 1], back[place]
    width = size[after] - size[before]
    share = np.where(
        width > 0.0, (size[out] - size[before]) / np.where(width > 0.0, width, 1.0), 0.0
    )
    return _Pairs(v[out], out, before, after, share)


@dataclass(frozen=True)
class _Block:
    sign: int
    difference: Array  # out minus back, in the direction of the voltage (A)
    square: float  # mean square current
    correlation: float  # of the noise of neighbours

    @property
    def mean(self) -> float:
        return float(self.difference.mean())

    @property
    def count(self) -> int:
        return len(self.difference)

    @property
    def noise(self) -> float:
        """Variance that noise gives the difference."""
        return self._variance(self.correlation)

    @property
    def error(self) -> float:
        """Standard error of the mean that noise may have, on the safe side."""
        rho = max(self.correlation, _HIDDEN)
        return float(np.sqrt(self._variance(rho) * noise.of_mean(rho, self.count)))

    def _variance(self, rho: float) -> float:
        # Noise is what is rough: second differences, without those of a jump, which is no noise.
        # They show 2·(1 − ρ)·(3 − ρ) times the variance of noise that correlates by ρ.
        rough = np.sort(np.diff(self.difference, 2) ** 2)[: max(self.count - 2 - _JUMP, 1)]
        return float(rough.mean() / (2.0 * (1.0 - rho) * (3.0 - rho)))


def _blocks(v: Array, i: Array) -> list[_Block]:
    usable = [
        (part.sign, pairs)
        for part in excursions(v)
        if (pairs := _pairs(v, part)) is not None and len(pairs.at) >= _SHORTEST
    ]
    if not usable:
        return []
    rho = noise.correlation([pairs.difference(i) for _, pairs in usable])
    # Blocks must be longer than what hangs together, to count as independent.
    least = max(_BLOCK, int(4.0 * noise.time(max(rho, _HIDDEN))))
    found = []
    for sign, pairs in usable:
        difference, mean = pairs.difference(i), pairs.mean(i)
        many = min(max(1, len(difference) // least), _BLOCKS)
        parts = (np.array_split(sign * difference, many), np.array_split(mean, many))
        found += [_Block(sign, d, float((c**2).mean()), rho) for d, c in zip(*parts, strict=True)]
    return found


def _chance(blocks: list[_Block]) -> float:
    chances = []
    for block in blocks:
        t = abs(block.mean) / max(block.error, 1e-9 * np.sqrt(block.square), 1e-300)
        chances.append(2.0 * float(scipy.stats.t.sf(t, max(block.count / 4.0, 2.0))))
    # Blocks of one curve agree, or not: Fisher's sum, which many weak hints can add up in.
    logs = -2.0 * float(np.log(np.maximum(chances, 1e-12)).sum())
    return float(scipy.stats.chi2.sf(logs, 2 * len(chances)))


def _width(blocks: list[_Block]) -> float:
    count = np.array([block.count for block in blocks], np.float64)
    gap = np.array([(block.difference**2).mean() - block.noise for block in blocks])
    square = np.array([block.square for block in blocks])
    if not square.any():
        return 0.0
    return float(np.sqrt(max((count * gap).sum(), 0.0) / (count * square).sum()))


def _polarity(blocks: list[_Block]) -> int:
    # Where a voltage sets, the way back lies above the way out.
    areas = {sign: sum(b.mean * b.count for b in blocks if b.sign == sign) for sign in (1, -1)}
    raised = {sign: -np.sign(area) for sign, area in areas.items() if area != 0.0}
    if len(raised) == 2 and raised[1] == raised[-1]:
        return 0
    return int(next((sign * up for sign, up in raised.items()), 0))


def _where(polarity: int, on: Array, off: Array) -> str:
    if polarity == 0:
        return "Both polarities move the current the same way: no bipolar switching."
    parts = [
        f"{name} at {np.nanmean(at):.3g} V"
        + (
            f" ± {np.nanstd(at, ddof=1):.2g} V from cycle to cycle"
            if np.isfinite(at).sum() > 1
            else ""
        )
        for name, at in (("sets", on), ("resets", off))
        if np.isfinite(at).any()
    ]
    return f"It {' and '.join(parts)}."


def _smooth(values: Array) -> Array:
    # Medians of neighbours along the first axis: they keep a jump where it is.
    width = min(_SMOOTH, len(values) // 2 * 2 - 1)
    if width < 3:
        return values
    half = width // 2
    padded = np.concatenate([values[:1]] * half + [values] + [values[-1:]] * half)
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)
    found: Array = np.median(windows, axis=-1)
    return found
