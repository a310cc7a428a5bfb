"""The error of programming, from targets and what cells then held."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mho.core import checks, intake
from mho.devices.statistical import GenericStatistical
from mho.fit import held_out, moments
from mho.fit.calibration import Array, Calibration, vector
from mho.fit.estimates import Estimates
from mho.fit.moments import Data, Index, Mask, Moments
from mho.fit.moments_search import NONE
from mho.fit.printed import Printed

_LEAST = 20
_HIGHEST = 3  # degree of σ; of the bias, 2


@dataclass(frozen=True, repr=False)
class ProgrammingFit(Printed):
    """The programming error of cells, fitted to pairs of a target and what was achieved.

    Attributes:
        device: with the window, ``write_sigma`` and ``write_bias``; no drift, no read noise.
        estimates: ``write_sigma_k`` and ``write_bias_k`` (S), the coefficients of ``x^k``, and
            ``outliers``, the share of pairs of another law. Errors are those of repeated
            measurements with other cells, whatever the shape of the noise.
        residuals: achieved minus target minus bias (S), ``[pairs]``.
        suspicious: mask of the pairs that more likely follow another law (stuck cells, say);
            they have no weight in σ and bias.
        calibration: of held-out pairs that are not suspicious.
        verdict: what to think of the fit.
        target: as given (S).
        achieved: as given (S).
        levels: number of places the targets gather at; polynomials have at most as many
            coefficients.
        kept: share of the variance (of pairs not suspicious) that stays with the cell from
            one writing to the next, 0…1; NaN unless cells were written several times.
    """

    device: GenericStatistical
    estimates: Estimates
    residuals: Array
    suspicious: Mask
    calibration: Calibration
    verdict: str
    target: Array
    achieved: Array
    levels: int
    kept: float

    def bias(self, target: npt.ArrayLike) -> Array:
        """Return how far (S) cells end above targets (S) on average."""
        x = np.clip(intake.array("target", target) / self.device.window[1], 0.0, 1.0)
        return moments.value(np.array(self.device.write_bias), x)

    def sigma(self, target: npt.ArrayLike) -> Array:
        """Return the standard deviation (S) of cells written to targets (S)."""
        goal = intake.array("target", target)
        x = np.clip((goal + self.bias(goal)) / self.device.window[1], 0.0, 1.0)
        return moments.value(np.array(self.device.write_sigma), x)


def programming(
    target: npt.ArrayLike,
    achieved: npt.ArrayLike,
    *,
    cell: npt.ArrayLike | None = None,
    g_min: float | None = None,
    g_max: float | None = None,
    degree: int | None = None,
    bias_degree: int | None = None,
    seed: int = 0,
) -> ProgrammingFit:
    """Fit the programming error of cells: a `GenericStatistical` of σ and bias.

        achieved = max(m + σ(m / g_max) · N(0, 1), 0),  m = target + bias(target / g_max)

    σ and bias are polynomials whose likelihood is greatest (σ less the bias that this has with few
    pairs). A share of the pairs, up to 0.2, may follow another law (stuck cells), of which only
    the range is supposed, where it makes them more likely by far. Where degrees are not given,
    they are the lowest that predict held-out pairs as well as any (to one standard error): up to
    3 for σ, 2 for the bias, where none at all is the simplest; never more coefficients than there
    are levels of targets. What reads as 0 S or less counts as stopped at 0 S. Of more than
    200 000 pairs, so many chosen by chance are fitted.

    Args:
        target: conductances asked for (S), >= 0.
        achieved: conductances read after programming (S), as many, at least 20.
        cell: which cell each pair is of, any labels, as many; cells are then held out as a whole,
            and errors are those with other cells. Pairs are cells of their own if not given.
        g_min: lowest programmable conductance (S); the lowest target if not given.
        g_max: highest programmable conductance (S), >= all targets; the highest target if not
            given.
        degree: of σ.
        bias_degree: of the bias; -1 for none.
        seed: of the choice of what is held out.

    Returns:
        The device, with what is known of it.

    Raises:
        TypeError, ValueError: if there are fewer than 20 pairs, or a value is refused.
    """
    seed = checks.integer("seed", seed, least=0)
    t, a = vector("target", target), vector("achieved", achieved)
    if len(t) != len(a):
        raise ValueError(f"target and achieved must be as many, got {len(t)} and {len(a)}")
    if len(t) < _LEAST:
        raise ValueError(f"too few pairs to fit: got {len(t)}, at least {_LEAST} are needed")
    if (a > 0.0).sum() < _LEAST:
        raise ValueError(
            f"achieved must be > 0 S of at least {_LEAST} pairs, got {int((a > 0.0).sum())}"
        )
    if t.min() < 0.0:
        raise ValueError(f"target must be >= 0 S, got {t.min():.4g}")
    group = np.arange(len(t)) if cell is None else labels("cell", cell, len(t))[1]
    if len(np.unique(group)) < 2 * held_out.FOLDS:
        raise ValueError(
            f"cell must name at least {2 * held_out.FOLDS} cells, got {len(np.unique(group))}; "
            "leave it out where one cell was written again and again"
        )
    low, high = _window(t, g_min, g_max)
    levels = held_out.distinct(t)
    sds = _degrees("degree", degree, 0, min(_HIGHEST, levels - 1), levels)
    means = _degrees("bias_degree", bias_degree, NONE, min(2, levels - 1), levels)
    x = t / high
    data = Data(x, np.maximum(a, 0.0) - t, np.zeros(len(t)), x, a <= 0.0, group)

    def refine(data: Data, found: Moments) -> Data:
        return replace(data, at=np.clip(data.x + found.mean_at(data.x) / high, 0.0, 1.0))

    found = held_out.choose(data, means, sds, seed=seed, refine=refine)
    data = refine(data, found)
    suspicious = found.suspicious(data)
    calibration = held_out.coverage(data, found, seed=seed)
    device = GenericStatistical(
        g_min=low,
        g_max=high,
        write_sigma=coefficients(found.sd),
        write_bias=coefficients(found.mean),
    )
    kept = _kept(found.standardised(data)[~suspicious], group[~suspicious])
    fitted = ProgrammingFit(
        device,
        _estimates(found),
        a - t - found.mean_at(x),
        suspicious,
        calibration,
        "",
        t,
        a,
        levels,
        kept,
    )
    return replace(fitted, verdict=_verdict(fitted, found))


def labels(name: str, given: npt.ArrayLike, count: int) -> tuple[npt.NDArray[Any], Index]:
    """Return the labels met, and for each datum the number of its own; refuse another count."""
    values = intake.labels(given)
    if len(values) != count:
        raise ValueError(f"{name} must be as many as the data, got {len(values)} for {count}")
    found, index = np.unique(values, return_inverse=True)
    return found, np.asarray(index, np.int64)


def coefficients(values: Array) -> tuple[float, ...]:
    """Return coefficients as a device takes them."""
    return tuple(float(v) for v in values) or (0.0,)


def named(stem: str, count: int) -> tuple[str, ...]:
    """Return the names of a polynomial's coefficients."""
    return tuple(f"{stem}_{k}" for k in range(count))


def _window(t: Array, g_min: float | None, g_max: float | None) -> tuple[float, float]:
    for name, given in (("g_min", g_min), ("g_max", g_max)):
        if given is not None:
            checks.number(name, given, least=0.0)
    high = float(t.max()) if g_max is None else float(g_max)
    if high < t.max():
        raise ValueError(f"g_max must be >= all targets, got {high:.4g}, the highest {t.max():.4g}")
    low = float(t.min()) if g_min is None else float(g_min)
    if low >= high:
        raise ValueError(
            f"the window must not be empty, got {low:.4g}…{high:.4g} S: one target alone says no "
            "window; give g_min and g_max"
        )
    return low, high


def _degrees(name: str, given: int | None, least: int, most: int, levels: int) -> range:
    if given is None:
        return range(least, most + 1)
    given = checks.integer(name, given, least=least, most=8)
    if given > levels - 1:
        raise ValueError(
            f"{name} must be <= {levels - 1} with targets at {levels} levels, got {given}"
        )
    return range(given, given + 1)


def _estimates(found: Moments) -> Estimates:
    names = (*named("write_bias", len(found.mean)), *named("write_sigma", len(found.sd)))
    point = np.concatenate([found.mean, found.sd, [found.outliers]])
    covariance = found.covariance
    if not len(covariance):
        covariance = np.zeros((len(point), len(point)))
    if found.outliers == 0.0:
        return Estimates(names, point[:-1], covariance[:-1, :-1])
    return Estimates((*names, "outliers"), point, covariance)


def _kept(z: Array, group: Index) -> float:
    # Variance between cells over all variance (intraclass correlation, unbalanced groups).
    count = np.bincount(group)
    count = count[count > 0]
    if len(z) < len(count) + 10 or len(count) < 5:
        return float("nan")
    sums = np.bincount(group, z)[np.unique(group)]
    means = sums / count
    within = float((z**2).sum() - (count * means**2).sum()) / (len(z) - len(count))
    between = float((count * (means - z.mean()) ** 2).sum()) / (len(count) - 1)
    typical = (len(z) - (count**2).sum() / len(z)) / (len(count) - 1)
    extra = max((between - within) / typical, 0.0)
    return extra / (extra + within) if extra + within > 0.0 else float("nan")


def _verdict(fit: ProgrammingFit, found: Moments) -> str:
    g_min, g_max = fit.device.window
    ends = fit.sigma([g_min, g_max]) * 1e6
    count, odd = len(fit.target), int(fit.suspicious.sum())
    if not found.sd.any() and not found.mean.any() and not odd:
        return f"{count} pairs: what was asked for was achieved exactly; σ is 0."
    told = [
        f"{count} pairs{_where(fit)}: σ {ends[0]:.3g} µS at {g_min * 1e6:.4g} µS and {ends[1]:.3g} "
        f"µS at {g_max * 1e6:.4g} µS (degree {len(found.sd) - 1})"
    ]
    if len(found.mean):
        bias = fit.bias([g_min, g_max]) * 1e6
        to = f" to {bias[1]:+.3g}" if len(found.mean) > 1 else ""
        told.append(f"bias {bias[0]:+.3g}{to} µS (degree {len(found.mean) - 1})")
    else:
        told.append("no bias")
    if found.bounded:
        told.append("σ is held at 0 somewhere: a polynomial of another degree may fit better")
    if odd:
        told.append(
            f"{odd} pairs ({odd / count:.1%}) are suspicious and left out: look at these cells; "
            "those that are stuck are an effect of their own, mho.effects.StuckAt"
        )
    if found.outliers > 0.99 * moments.MOST_OUTLIERS:
        told.append("so many are no exceptions: the error has another shape than a normal one")
    if found.sd.any():
        told.append(_shape(fit))
    if fit.kept > 0.1:
        told.append(
            f"{fit.kept:.0%} of the variance stays with the cell from write to write, which the "
            "device draws anew at every write"
        )
    met = (fit.target.min() * 1e6, fit.target.max() * 1e6)
    if g_min * 1e6 < 0.99 * met[0] or g_max * 1e6 > 1.01 * met[1]:
        told.append(
            f"targets were {met[0]:.4g} … {met[1]:.4g} µS: beyond, σ and bias are extrapolated"
        )
    told.append("drift and read noise were not measured, and are 0 in the device")
    return "; ".join(told) + "."


def _where(fit: ProgrammingFit) -> str:
    few = len(np.unique(fit.target)) == fit.levels
    return f" at {fit.levels} levels" if few else ""


def _shape(fit: ProgrammingFit) -> str:
    inside = ", ".join(
        f"{found:.0%} of {level:.0%}"
        for level, found in zip(fit.calibration.levels, fit.calibration.coverage, strict=True)
    )
    worst = max(map(abs, fit.calibration.deviations))
    if worst < 3.0:
        return f"held-out pairs fall inside their intervals as they should ({inside})"
    # Flat: many are neither near nor far. Peaked: many are.
    middle, outer = fit.calibration.deviations[0], fit.calibration.deviations[-1]
    which = (
        "flatter than a normal one, as of a band of acceptance"
        if middle < 0
        else ("more peaked than a normal one")
    )
    both = "" if middle * outer <= 0 or middle < 0 else ", and its tails shorter"
    return f"held-out pairs ({inside}) show an error {which}{both}; a normal one stands for it"
