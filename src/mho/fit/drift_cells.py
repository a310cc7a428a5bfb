"""Drift of single cells: power laws fitted to all records of a population at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mho.fit.calibration import Array
from mho.fit.moments import Index, Mask

_STEPS = 30
_FAR = 8.0  # robust standard deviations beyond which a reading is left out
_ENOUGH = 8  # readings of a cell that tell which of them are far out
_EXACT = 1e-9  # less, relative to a conductance, is rounding
_PRIOR = 10.0  # readings that what all cells say of the noise of one is worth
_FEW = 4  # cells that tell how the errors of exponents follow the conductance


@dataclass(frozen=True)
class Records:
    """What was read of all cells.

    Attributes:
        elapsed: ``ln(max(t, t0) / t0)`` of every reading, ``[readings]``.
        g: read (S), ``[readings]``.
        cell: number of the cell that each is of, ``[readings]``.
        weight: of each, 0 where it is left out; else the inverse of q², ``[readings]``.
    """

    elapsed: Array
    g: Array
    cell: Index
    weight: Array

    def of_cells(self, count: int, seed: int) -> Records:
        """Return the records of cells chosen by chance, with at most so many readings."""
        cells = int(self.cell.max()) + 1
        if len(self.g) <= count:
            return self
        keep = np.zeros(cells, bool)
        keep[
            np.random.default_rng(seed).permutation(cells)[: max(cells * count // len(self.g), 1)]
        ] = True
        mask = keep[self.cell]
        number = np.cumsum(keep) - 1
        return Records(self.elapsed[mask], self.g[mask], number[self.cell[mask]], self.weight[mask])

    def weighed(self, q2: Array) -> Records:
        """Return the same readings, of noise with the variance q²."""
        weight = np.where(self.weight > 0.0, 1.0 / q2, 0.0)
        return Records(self.elapsed, self.g, self.cell, weight)

    def total(self, values: Array) -> Array:
        """Return the sum of values over the readings of every cell, ``[cells]``."""
        return np.asarray(np.bincount(self.cell, values), np.float64)

    @property
    def counts(self) -> Array:
        """Readings of every cell that are not left out, ``[cells]``."""
        return self.total((self.weight > 0.0).astype(np.float64))


@dataclass(frozen=True)
class CellDrift:
    """Drift of every cell, ``G = g0 (t/t0)^(-ν)``.

    Attributes:
        g0: conductance at t0 (S), ``[cells]``.
        nu: drift exponent, ``[cells]``.
        nu_error: its standard error, ``[cells]``.
        noise: standard deviation of a reading about the law (S), divided by q, ``[cells]``.
        suspicious: mask of the cells whose exponents more likely follow another law.
    """

    g0: Array
    nu: Array
    nu_error: Array
    noise: Array
    suspicious: Mask

    def at(self, records: Records) -> Array:
        """Return the law (S) at every reading."""
        return self.g0[records.cell] * np.exp(-self.nu[records.cell] * records.elapsed)

    def programmed(self, records: Records, nu: Array) -> Array:
        """Return conductances at t0 (S), ``[cells]``, from the middle of every record on.

        There level and exponent of a regression are independent; at t0 an exponent that is too
        large by chance comes with a conductance that is, too, and seems to be its cause.

        Args:
            records: of these cells.
            nu: how each drifts from the middle back to t0, ``[cells]``.
        """
        weight = records.weight * self.at(records) ** 2
        middle = records.total(weight * records.elapsed) / records.total(weight)
        return np.asarray(self.g0 * np.exp((nu - self.nu) * middle))

    def leverage(self, records: Records) -> Array:
        """Return the share of every reading's noise that its own cell's law follows, 0…1."""
        weight = records.weight * self.at(records) ** 2
        middle = records.total(weight * records.elapsed) / records.total(weight)
        beyond = records.elapsed - middle[records.cell]
        spread = records.total(weight * beyond**2)
        whole = records.total(weight)
        return weight * (1.0 / whole[records.cell] + beyond**2 / spread[records.cell])


def regress(records: Records) -> CellDrift:
    """Fit every cell's power law by weighted least squares in its conductance.

    Not in its logarithm: noise would bend that where conductances are low, and some readings may
    not be positive at all. Cells whose mean reading is not positive are refused before.
    """
    cells = int(records.cell.max()) + 1
    level = records.total(records.weight * records.g) / records.total(records.weight)
    log_g0, nu = np.log(level), np.zeros(cells)
    each, elapsed = records.cell, records.elapsed
    for _ in range(_STEPS):
        fitted = np.exp(log_g0[each] - nu[each] * elapsed)
        weight, error = records.weight * fitted, records.g - fitted
        # Normal equations of (ln g0, ν): the derivatives are (fitted, -fitted · elapsed).
        a, b = records.total(weight * fitted), records.total(-weight * fitted * elapsed)
        c = records.total(weight * fitted * elapsed**2)
        p, q = records.total(weight * error), records.total(-weight * error * elapsed)
        determinant = a * c - b * b
        moved = (c * p - b * q) / determinant, (a * q - b * p) / determinant
        log_g0 = log_g0 + np.clip(moved[0], -1.0, 1.0)
        nu = nu + np.clip(moved[1], -1.0, 1.0)
        if max(np.abs(moved[0]).max(), np.abs(moved[1]).max()) < 1e-12:
            break
    error = records.g - np.exp(log_g0[each] - nu[each] * elapsed)
    variance = records.total(records.weight * error**2) / (records.counts - 2.0)
    variance = np.where(np.sqrt(variance) < _EXACT * level, 0.0, variance)
    nu = np.where(np.abs(nu) < _EXACT, 0.0, nu)
    nu_error = np.sqrt(variance * a / determinant)
    return CellDrift(np.exp(log_g0), nu, nu_error, np.sqrt(variance), np.zeros(cells, bool))


def without_glitches(records: Records, found: CellDrift) -> Records:
    """Leave out the readings that are far from their cell's law, where it has enough others."""
    error = np.abs(records.g - found.at(records)) * np.sqrt(records.weight)
    order = np.lexsort((error, records.cell))
    count = np.bincount(records.cell)
    middle = np.r_[0, count.cumsum()[:-1]] + count // 2
    spread = 1.4826 * error[order][middle]
    tiny = 1e-9 * found.g0
    far = (error > _FAR * np.maximum(spread, tiny)[records.cell]) & (count >= _ENOUGH)[records.cell]
    weight = np.where(far, 0.0, records.weight)
    return Records(records.elapsed, records.g, records.cell, weight)


def persistence(records: Records, found: CellDrift) -> float:
    """Return the correlation of a reading's residual with that of the one before, of its cell."""
    z = (records.g - found.at(records)) * np.sqrt(records.weight)
    noise = found.noise[records.cell]
    z = np.divide(z, noise, out=np.zeros_like(z), where=noise > 0.0)
    order = np.lexsort((records.elapsed, records.cell))
    z, cell, kept = z[order], records.cell[order], records.weight[order] > 0.0
    pair = (cell[1:] == cell[:-1]) & kept[1:] & kept[:-1]
    if int(pair.sum()) < 30 or not z.any():
        return 0.0
    # Two fitted parameters take away (about) two readings' worth of it.
    bias = 2.0 * len(found.g0) / int(kept.sum())
    return float((z[1:] * z[:-1])[pair].mean() / (z[kept] ** 2).mean()) + bias


def steadied(found: CellDrift, records: Records, noise: Array, rho: float) -> CellDrift:
    """Let what all cells say of the noise help each, and noise that lasts count as such.

    Args:
        found: the cells.
        records: their readings.
        noise: what all say of the noise of each (S), ``[cells]``.
        rho: correlation of successive residuals; reads of noise that lasts tell less.
    """
    degrees = records.counts - 2.0
    variance = (_PRIOR * noise**2 + degrees * found.noise**2) / (_PRIOR + degrees)
    own = np.maximum(found.noise, 1e-300)
    factor = np.sqrt(np.maximum(variance, 0.0)) / own
    lasting = np.sqrt((1.0 + rho) / (1.0 - rho))
    error = np.where(found.noise > 0.0, found.nu_error * factor, 0.0) * lasting
    return CellDrift(found.g0, found.nu, error, found.noise, found.suspicious)


def mean_of_all(nu: Array, error: Array, g0: Array) -> tuple[float, float]:
    """Return the mean exponent of cells that differ, and its standard error (random effects).

    Weights are ``1 / (τ² + s²)``: τ² is how cells differ beyond their errors, s² follows the
    conductance smoothly. A cell's own error would not do: it goes with its own exponent.

    Args:
        nu: exponents, ``[cells]``.
        error: of each.
        g0: conductance of each (S).
    """
    count, known = len(nu), error**2
    if count == 1:
        return float(nu[0]), float(error[0])
    between = max(float(nu.var(ddof=1) - known.mean()), 0.0)
    variance = between + _smooth(known, g0)
    if not variance.any():
        return float(nu.mean()), 0.0
    weight = 1.0 / variance
    mean = float((weight * nu).sum() / weight.sum())
    # Cells that scatter more than their errors say, by chance or not, widen the error.
    seen = float((weight * (nu - mean) ** 2).sum()) / (count - 1)
    return mean, float(np.sqrt(max(seen, 1.0) / weight.sum()))


def _smooth(known: Array, g0: Array) -> Array:
    """Return variances as a power of the conductance, of the same mean."""
    log_g0 = np.log(g0)
    if len(known) < _FEW or not known.all() or float(np.ptp(log_g0)) < 1e-3:
        return np.full(len(known), known.mean())
    power = np.polyfit(log_g0, np.log(known), 1)
    smooth = np.exp(np.polyval(power, log_g0))
    return np.asarray(smooth * known.mean() / smooth.mean())
