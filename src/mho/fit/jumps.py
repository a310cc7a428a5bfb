"""Jump tables of pulse-count cells, fitted to pairs of conductance and jump."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import scipy

from mho.core import checks, intake
from mho.devices.tabular import JumpTable
from mho.fit.calibration import LEVELS, OUR_STREAM, Array, Calibration, vector
from mho.fit.estimates import Estimates
from mho.fit.kriging import profiles
from mho.fit.printed import Printed

_LEAST_PAIRS = 40
_NONE: Array = np.zeros(0)
_OFF = 3.0  # standard errors by which coverage must be off to say so


@dataclass(frozen=True, repr=False)
class JumpTableFit(Printed):
    """A jump table of one direction, fitted to pairs.

    Attributes:
        table: for `TabularDevice`.
        g: conductances of the pairs (S).
        dg: jumps of the pairs (S).
        mean: mean jump (S) at the table's rows.
        sigma: standard deviation (S) of the jump at the table's rows.
        residuals: of the pairs, in units of sigma there.
        calibration: of held-out pairs under a table fitted without them.
        verdict: how well the table holds, in words.
        device: None: a device needs the tables of both directions (see `mho.fit.pulses`).
        estimates: none: a table has no parameters.
    """

    table: JumpTable
    g: Array
    dg: Array
    mean: Array
    sigma: Array
    residuals: Array
    calibration: Calibration
    verdict: str
    device: None = None
    estimates: Estimates = field(default_factory=lambda: Estimates((), _NONE, _NONE[:, None]))


def pairs(response: npt.ArrayLike) -> tuple[Array, Array]:
    """Return all (G, ΔG) of consecutive conductances, for `jump_table`.

    Args:
        response: conductances (S) before and after pulses of one direction, ``[…, pulses + 1]``.
    """
    g = intake.array("response", response)
    return g[..., :-1].ravel(), np.diff(g, axis=-1).ravel()


def jump_table(
    g: npt.ArrayLike,
    dg: npt.ArrayLike,
    *,
    rows: int = 100,
    columns: int | None = None,
    shape: str = "normal",
    held_out: float = 0.2,
    seed: int = 0,
) -> JumpTableFit:
    """Fit the jump table of one direction to measured pairs.

    Mean and noise of the jump over G come from two Gaussian processes (Kriging), see
    `mho.fit.kriging.profiles`; the table's rows are the jumps' shape, so placed and scaled.

    Source: I. Hossen et al., Scientific Reports 2022, doi 10.1038/s41598-022-09556-4.

    Args:
        g: conductances before the pulse (S).
        dg: changes by the pulse (S), as many.
        rows: G rows of the table.
        columns: ΔG columns; if not given, enough to resolve the narrowest row (200…1000).
        shape: of the jumps about their mean: ``"normal"``, or ``"empirical"``: that of all
            standardised residuals.
        held_out: fraction of the pairs left out to test the calibration, 0.05…0.5.
        seed: of the choice of the pairs left out.

    Raises:
        ValueError: if there are fewer than 40 pairs or all at one conductance.
        ImportError: if scikit-learn is missing.
    """
    seed = checks.integer("seed", seed, least=0)
    g, dg = vector("g", g), vector("dg", dg)
    if len(g) != len(dg):
        raise ValueError(f"g and dg must be as many, got {len(g)} and {len(dg)}")
    rows = checks.integer("rows", rows, least=2)
    if columns is not None:
        columns = checks.integer("columns", columns, least=10)
    checks.one_of("shape", shape, ("normal", "empirical"))
    held_out = checks.number("held_out", held_out, least=0.05, most=0.5)
    # Not default_rng(seed) itself: data made with that same seed would choose who is left out.
    kept = np.random.default_rng([seed, OUR_STREAM]).random(len(g)) >= held_out
    if kept.sum() < _LEAST_PAIRS or kept.all():
        least = round(_LEAST_PAIRS / (1 - held_out)) + 10
        raise ValueError(f"too few pairs for a jump table: got {len(g)}, about {least} are needed")
    if g.min() < 0 or g.min() == g.max():
        raise ValueError(
            f"g must be >= 0 and not all alike, got {g.min():g} … {g.max():g}: a table needs "
            "jumps from more than one conductance"
        )
    axis = np.linspace(g.min(), g.max(), rows)
    trial, *_ = _fit_table(g[kept], dg[kept], axis, columns, shape)
    table, mean, sigma, residuals = _fit_table(g, dg, axis, columns, shape)
    calibration = _covered_by_table(trial, g[~kept], dg[~kept])
    verdict = _verdict(g, dg, mean, sigma, residuals, calibration, shape)
    return JumpTableFit(table, g, dg, mean, sigma, residuals, calibration, verdict)


def _fit_table(
    g: Array, dg: Array, axis: Array, columns: int | None, shape: str
) -> tuple[JumpTable, Array, Array, Array]:
    # The table, mean and sigma on the axis, and the standardised residuals of the pairs.
    both = np.concatenate([axis, g])
    mean, sigma = profiles(g, dg, both)
    residuals = (dg - mean[len(axis) :]) / sigma[len(axis) :]
    mean, sigma = mean[: len(axis)], sigma[: len(axis)]
    if shape == "normal":
        table = normal_table(axis, mean, sigma, columns=columns)
    else:
        table = _shaped_table(axis, mean, sigma, columns, *_empirical(residuals))
    return table, mean, sigma, residuals


def normal_table(
    axis: Array, mean: Array, sigma: Array, *, columns: int | None = None
) -> JumpTable:
    """Return the table of normal jumps.

    Args:
        axis: conductances of the rows (S).
        mean: mean jump (S) of each row.
        sigma: its standard deviation (S), > 0.
        columns: ΔG columns; if not given, enough to resolve the narrowest row (200…1000).
    """
    return _shaped_table(
        axis, mean, sigma, columns, scipy.special.ndtr, np.linspace(-5.0, 5.0, 101)
    )


def _shaped_table(
    axis: Array,
    mean: Array,
    sigma: Array,
    columns: int | None,
    cumulative: Callable[[Array], Array],
    score: Array,
) -> JumpTable:
    nodes = np.sort((mean[:, None] + sigma[:, None] * score).ravel())
    if columns is None:
        # Four columns a standard deviation, where all rows are as narrow as the narrowest.
        columns = int(np.clip(4 * (nodes[-1] - nodes[0]) / sigma.min(), 200, 1000))
    # Columns are denser where more rows have their jumps.
    dg_axis = np.unique(np.quantile(nodes, np.linspace(0.0, 1.0, columns)))
    cdf = cumulative((dg_axis - mean[:, None]) / sigma[:, None])
    return JumpTable(_plain(axis), _plain(dg_axis), tuple(map(_plain, cdf)))


def _empirical(residuals: Array) -> tuple[Callable[[Array], Array], Array]:
    known = np.sort(residuals)
    probability = (np.arange(len(known)) + 0.5) / len(known)
    # Half a datum lies beyond each end: as far out as the last gap.
    ends = np.array([2 * known[0] - known[1], 2 * known[-1] - known[-2]])
    score = np.concatenate([ends[:1], known, ends[1:]])
    heights = np.concatenate([[0.0], probability, [1.0]])
    return lambda z: np.interp(z, score, heights), np.quantile(score, np.linspace(0.0, 1.0, 101))


def _covered_by_table(table: JumpTable, g: Array, dg: Array) -> Calibration:
    tails = [(1 - level) / 2 for level in LEVELS]
    bounds = table.quantiles([*tails, *(1 - tail for tail in tails)])
    at = [np.interp(g, table.g, column) for column in bounds.T]
    inside = [float(((dg >= at[k]) & (dg <= at[k + len(tails)])).mean()) for k in range(len(tails))]
    return Calibration(LEVELS, tuple(inside), len(g))


def _verdict(
    g: Array,
    dg: Array,
    mean: Array,
    sigma: Array,
    residuals: Array,
    calibration: Calibration,
    shape: str,
) -> str:
    told = [
        f"A jump table of {len(g)} pairs: the mean jump is {mean.min():.3g} … {mean.max():.3g} S, "
        f"its noise {sigma.min():.3g} … {sigma.max():.3g} S."
    ]
    inside = dict(zip(calibration.levels, calibration.coverage, strict=True))[0.9]
    off = max(calibration.deviations, key=abs)
    told.append(
        f"Its 90 % intervals hold {100 * inside:.1f} % of {calibration.count} pairs left out."
    )
    if abs(off) > _OFF:
        skew = float((residuals**3).mean() / max((residuals**2).mean() ** 1.5, 1e-300))
        told.append(
            f"Coverage is off by {abs(off):.1f} standard errors (skewness of the residuals "
            f"{skew:.2g})" + ("; shape='empirical' may hold." if shape == "normal" else ".")
        )
    ends = g + dg
    stopped = [int((ends == end).sum()) for end in (ends.min(), ends.max())]
    if max(stopped) >= 2 and len(np.unique(ends)) > 0.5 * len(ends):
        told.append(
            f"{sum(stopped)} jumps end at exactly one conductance, stopped by a bound: mean and "
            "noise near it are too small; fit.pulses takes that into account."
        )
    told.append("One direction makes no device: a TabularDevice needs set and reset.")
    return " ".join(told)


def _plain(values: Array) -> tuple[float, ...]:
    return tuple(values.tolist())
