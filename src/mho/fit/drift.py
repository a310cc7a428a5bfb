"""Retention: how the conductances of many cells drift, from their records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mho.core import checks
from mho.devices.statistical import SCORES, GenericStatistical, steepest_drift
from mho.fit import drift_cells as cells_of
from mho.fit import drift_records as given
from mho.fit import held_out, moments
from mho.fit.calibration import Array, Calibration
from mho.fit.drift_cells import CellDrift, Records
from mho.fit.drift_verdict import verdict
from mho.fit.estimates import Estimates
from mho.fit.moments import Data, Index, Mask, Moments
from mho.fit.moments_search import NONE
from mho.fit.printed import Printed
from mho.fit.programming_error import coefficients, named

_MANY = 10  # cells that tell how cells differ
_STEEP = 0.98  # of the slope that the device refuses
_MOST_READINGS = 200_000
_LASTING = 4.0  # standard errors at which successive residuals count as correlated
_GAIN = 4.0  # of the logarithm of the likelihood, at which noise counts as growing
_SHORTEST, _SHORT, _TRIALS = 1e-9, 0.1, 7  # of t_read: s, of t0, places tried
_EXACT = 1e-9  # of g_max: less is rounding
_SPREAD = 2.0  # of the logarithm of the likelihood, at which few cells count as unlike


@dataclass(frozen=True, repr=False)
class RetentionFit(Printed):
    """Drift and read noise, fitted to the records of one or many cells.

    Attributes:
        device: with the window, ``nu``, ``nu_std``, ``t0``, ``read_sigma`` and ``t_read``; it
            programs exactly.
        estimates: ``nu_k``, ``nu_std_k`` and ``read_sigma_k`` (S), the coefficients of ``x^k``.
            Of noise that grows, errors of ``read_sigma_k`` are those with this very ``t_read``,
            which is one of a few tried and hardly seen: what is known is ``read_sigma · q(t)``
            during the record, and the verdict says it.
        residuals: reading minus the law of its cell (S), ``[readings]``.
        calibration: of the exponents of held-out cells; of held-out readings where there are
            fewer than 10 cells; None for fewer than 10 readings of these.
        verdict: what to think of the fit.
        time: since programming (s), ``[readings]``.
        g: as given (S), ``[readings]``.
        cell: number of the cell of each reading, ``[readings]``.
        labels: what the cells were called, ``[cells]``.
        cells: the drift of every cell.
        used: mask of the readings that were not left out as far from their cell's law.
    """

    device: GenericStatistical
    estimates: Estimates
    residuals: Array
    calibration: Calibration | None
    verdict: str
    time: Array
    g: Array
    cell: Index
    labels: npt.NDArray[Any]
    cells: CellDrift
    used: Mask

    @property
    def t0(self) -> float:
        """When the programmed value is read (s)."""
        return self.device.t0

    @property
    def nu(self) -> float:
        """Mean drift exponent of cells like those that are not suspicious.

        Of all such cells alike, where they differ by more than their exponents' errors; where they
        do not, by what each tells (random effects). For how it follows the conductance see
        ``device.nu``.
        """
        return self._mean()[0]

    @property
    def nu_error(self) -> float:
        """Standard error of `nu` with other cells: of their readings, and of how cells differ."""
        return self._mean()[1]

    @property
    def g0(self) -> float:
        """Mean conductance (S) of the cells at t0."""
        return float(self.cells.g0.mean())

    @property
    def noise(self) -> float:
        """Root mean square residual of the readings used, relative to the law."""
        law = self.g - self.residuals
        lost = len(self.cells.g0) * 2.0 / int(self.used.sum())
        relative = (self.residuals[self.used] / law[self.used]) ** 2
        return float(np.sqrt(relative.mean() / (1.0 - lost)))

    def _mean(self) -> tuple[float, float]:
        kept = ~self.cells.suspicious
        nu, error = self.cells.nu[kept], self.cells.nu_error[kept]
        return cells_of.mean_of_all(nu, error, self.cells.g0[kept])


def retention(
    time: npt.ArrayLike,
    g: npt.ArrayLike,
    *,
    cell: npt.ArrayLike | None = None,
    t0: float | None = None,
    clock: str | None = None,
    g_min: float | None = None,
    g_max: float | None = None,
    degree: int | None = None,
    noise_degree: int | None = None,
    seed: int = 0,
) -> RetentionFit:
    """Fit drift and read noise of one or many cells: a `GenericStatistical`.

        G(t) = g0 (t / t0)^(-ν),  ν = nu(x) + nu_std(x) · score,  x = g0 / g_max
        reading = G(t) + read_sigma(G / g_max) · q(t) · N(0, 1)

    Every cell's ν is found by regression on the logarithm of the time; from all of them, less the
    noise that these estimates have, how the mean and the spread of ν follow the conductance; from
    the residuals the read noise, white (q = 1) or growing as 1/f noise does, whichever is more
    likely. Degrees are the lowest that predict held-out cells as well as any. Of more than 200 000
    readings, read noise is fitted to so many chosen by chance.

    Until t0 nothing drifts: readings at time 0 are welcome and say what was programmed.

    Args:
        time: since programming (s), >= 0.
        g: conductances read (S): as many; or ``[cells, readings]`` with one time for each reading.
        cell: which cell each reading is of, any labels, as many; all are of one if not given.
        t0: when the programmed value is read (s), > 0; the first positive time if not given.
        clock: ``"programming"``, times count from the programming of each cell; or ``"running"``,
            one clock runs through the measurement of one cell after the other, and each cell's
            time counts from its own first reading. Not given, it is the former, unless cells were
            read one after the other: then say which.
        g_min: lowest programmable conductance (S); the lowest g0 if not given, or 0 where all
            cells were at one level.
        g_max: highest programmable conductance (S); the highest g0 if not given.
        degree: of the mean of ν.
        noise_degree: of the read noise.
        seed: of the choice of what is held out.

    Returns:
        The device, with what is known of it.

    Raises:
        TypeError, ValueError: if there are fewer than 5 readings, or 3 of a cell, no time passes,
            or a value is refused.
    """
    seed = checks.integer("seed", seed, least=0)
    t, values, index, names = given.readings(time, g, cell, clock)
    start = given.origin(t, t0)
    elapsed = np.log(np.maximum(t, start) / start)
    records = Records(elapsed, values, index, np.ones(len(t)))
    given.check(records, names)
    found = cells_of.regress(records)
    records = cells_of.without_glitches(records, found)
    low, high, levels = given.window(found.g0, g_min, g_max)
    t_read = _growing(records, start, high, levels, noise_degree, seed)
    if t_read is not None:
        records = records.weighed(_growth(records.elapsed, start, t_read))
    found = cells_of.regress(records)
    noise, noise_data = _read_noise(records, found, high, levels, noise_degree, seed)
    rho = cells_of.persistence(records, found)
    rho = rho if rho * np.sqrt(len(t)) > _LASTING else 0.0
    of_all = noise.sd_at(np.clip(found.g0 / high, 0.0, 1.0))
    found = cells_of.steadied(found, records, of_all, min(rho, 0.98))
    drift = _exponents(found, records, start, high, levels, degree, seed)
    found, exponents = replace(found, suspicious=drift.suspicious), drift.found
    estimates = _estimates(exponents, noise)
    still = _still(exponents)
    device = GenericStatistical(
        g_min=low,
        g_max=high,
        nu=0.0 if still else coefficients(exponents.mean),
        nu_std=coefficients(exponents.sd),
        t0=start,
        read_sigma=coefficients(noise.sd),
        t_read=t_read,
    )
    calibration = drift.calibration
    if not noise.sd.any() and not exponents.sd.any():
        calibration = None  # nothing varies
    elif calibration is None and len(noise_data.y) >= _MANY:
        calibration = held_out.coverage(noise_data, noise, seed=seed)
    fitted = RetentionFit(
        device,
        estimates,
        values - found.at(records),
        calibration,
        "",
        t,
        values,
        index,
        names,
        found,
        records.weight > 0.0,
    )
    told = verdict(fitted, steep=exponents.bounded, still=still, levels=levels, rho=rho)
    return replace(fitted, verdict=told)


# ── what is fitted ───────────────────────────────────────────────────────────────────────────


def _growing(
    records: Records, t0: float, g_max: float, levels: int, degree: int | None, seed: int
) -> float | None:
    """Return t_read of noise that grows as 1/f noise does; None where white noise is as likely."""
    few = records.of_cells(held_out.MOST_DATA, seed)
    noise, data = _read_noise(few, cells_of.regress(few), g_max, levels, degree, seed)
    if not noise.sd.any() or t0 <= _SHORTEST / _SHORT:
        return None
    likelihood: dict[float | None, float] = {None: float(noise.log_density(data).sum())}
    for t_read in np.geomspace(_SHORTEST, _SHORT * t0, _TRIALS):
        weighed = few.weighed(_growth(few.elapsed, t0, float(t_read)))
        data = _noise_data(weighed, cells_of.regress(weighed), g_max, seed)
        trial = moments.fit(data, NONE, len(noise.sd) - 1, shares=(0.02,))
        used = weighed.weight[weighed.weight > 0.0]
        known = float(trial.log_density(data).sum() + 0.5 * np.log(used).sum())
        likelihood[float(t_read)] = known
    best = max(likelihood, key=lambda t_read: likelihood[t_read])
    return best if likelihood[best] > likelihood[None] + _GAIN else None


def _growth(elapsed: Array, t0: float, t_read: float) -> Array:
    grown: Array = np.log((t0 * np.exp(elapsed) + t_read) / (2.0 * t_read))
    return grown


def _noise_data(records: Records, found: CellDrift, g_max: float, seed: int) -> Data:
    """Return the residuals over q, as they would be if no law had been fitted to them."""
    used, each = records.weight > 0.0, records.cell
    law = found.at(records)
    followed = np.minimum(found.leverage(records), 0.99)
    y = (records.g - law) * np.sqrt(records.weight / (1.0 - followed))
    x = np.clip(law / g_max, 0.0, 1.0)
    keep = np.flatnonzero(used)
    if len(keep) > _MOST_READINGS:
        keep = np.random.default_rng(seed).choice(keep, _MOST_READINGS, replace=False)
    # Few cells cannot be held out: their readings are.
    group = each[keep] if len(found.g0) >= _MANY else np.arange(len(keep))
    return replace(Data.of(x[keep], y[keep]), group=np.unique(group, return_inverse=True)[1])


def _read_noise(
    records: Records, found: CellDrift, g_max: float, levels: int, degree: int | None, seed: int
) -> tuple[Moments, Data]:
    data = _noise_data(records, found, g_max, seed)
    if float(np.abs(data.y).max()) < _EXACT * g_max:
        data = replace(data, y=np.zeros_like(data.y))
    most = min(2, levels - 1)
    if degree is not None:
        degree = checks.integer("noise_degree", degree, least=0, most=max(levels - 1, 0))
    sds = range(most + 1) if degree is None else range(degree, degree + 1)
    if len(np.unique(data.group)) < 2 * held_out.FOLDS:
        return moments.fit(data, NONE, sds[0]), data
    return held_out.choose(data, range(NONE, NONE + 1), sds, seed=seed), data


@dataclass(frozen=True)
class _Exponents:
    """How ν follows the conductance.

    Attributes:
        found: mean and spread.
        data: of the cells it is found from.
        suspicious: mask of the cells of another law.
        calibration: of held-out cells; None where they are few.
    """

    found: Moments
    data: Data
    suspicious: Mask
    calibration: Calibration | None


def _exponents(
    cells: CellDrift,
    records: Records,
    t0: float,
    g_max: float,
    levels: int,
    degree: int | None,
    seed: int,
) -> _Exponents:
    count, known = len(cells.g0), cells.nu_error**2
    g0 = cells.programmed(records, _shrunk(cells.nu, known))
    data = Data.of(np.clip(g0 / g_max, 0.0, 1.0), cells.nu, known=known)
    most = min(2, levels - 1, max(count // _MANY - 1, 0))
    if degree is not None:
        degree = checks.integer("degree", degree, least=0, most=min(levels, count) - 1)
    means = range(most + 1) if degree is None else range(degree, degree + 1)
    how: dict[str, Any] = {"steep": (_STEEP * steepest_drift(t0), SCORES), "outliers": False}
    if count < _MANY:
        alike = moments.fit(data, means[0], NONE, **how)
        spread = moments.fit(data, means[0], 0, **how) if count > 1 else alike
        gain = float((spread.log_density(data) - alike.log_density(data)).sum())
        found = spread if gain > _SPREAD else alike
        return _Exponents(found, data, np.zeros(count, bool), None)
    found = held_out.choose(data, means, range(NONE, most + 1), seed=seed)
    found = replace(found, bounded=False)  # a spread held at 0 is not a slope that is held
    suspicious = found.suspicious(data)
    if not moments.is_steep(found, how["steep"]):
        return _Exponents(found, data, suspicious, held_out.coverage(data, found, seed=seed))
    # A mean that may not follow the cells must not make strangers of them.
    data = data.part(~suspicious)
    found = moments.fit(data, len(found.mean) - 1, max(len(found.sd) - 1, 0), **how)
    calibration = held_out.coverage(data, found, seed=seed, **how)
    return _Exponents(replace(found, bounded=True), data, suspicious, calibration)


def _shrunk(nu: Array, known: Array) -> Array:
    """Return exponents drawn towards their mean by what is uncertain of each."""
    data = Data.of(np.zeros(len(nu)), nu, known=known)
    found = moments.fit(data, 0, 0 if len(nu) >= _MANY else NONE, shares=(0.02,))
    spread = found.sd_at(data.x) ** 2
    own = np.divide(spread, spread + known, out=np.ones(len(nu)), where=spread + known > 0.0)
    mean = found.mean_at(data.x)
    return np.where(found.suspicious(data), nu, mean + own * (nu - mean))


def _still(exponents: Moments) -> bool:
    """Whether ν is one number, and 0 within two standard errors."""
    error = float(np.sqrt(exponents.covariance[0, 0])) if len(exponents.covariance) else 0.0
    return len(exponents.mean) == 1 and abs(exponents.mean[0]) <= 2.0 * error


def _estimates(exponents: Moments, noise: Moments) -> Estimates:
    names, point, blocks = [], [], []
    parts = (("nu", "nu_std", exponents), ("", "read_sigma", noise))
    for mean, sd, found in parts:
        own = [*named(mean, len(found.mean)), *named(sd, len(found.sd))]
        names += own
        point += [*found.mean, *found.sd]
        size = len(own)
        square = found.covariance[:size, :size]
        blocks.append(square if len(square) else np.zeros((size, size)))
    covariance = np.zeros((len(names), len(names)))
    edge = len(blocks[0])
    covariance[:edge, :edge], covariance[edge:, edge:] = blocks
    return Estimates(tuple(names), np.array(point), covariance)
