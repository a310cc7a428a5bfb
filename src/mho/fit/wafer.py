"""Maps of cells: what one state's conductance is in many cells, as the spread of a device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from mho.cells.device import Device
from mho.cells.spread import Spread
from mho.core import checks
from mho.devices.linear import LinearDevice
from mho.fit.calibration import LEVELS, OUR_STREAM, Array, Calibration, vector
from mho.fit.estimates import Estimates
from mho.fit.printed import Printed

_DISTRIBUTIONS = ("LogNormal", "Normal")
_LEAST_CELLS = 8
_LEAST_CALIBRATED = 40
_PARTS = 5
_FAR = 4.0  # standard deviations: further out a cell is broken rather than spread
_SIGNIFICANT = 2.5  # standard errors of a correlation


@dataclass(frozen=True, repr=False)
class CellMapFit(Printed):
    """Spreads of a map's cells.

    Attributes:
        device: a `LinearDevice` whose window is spread; None where one state alone was measured.
        distributions: ``"LogNormal"`` or ``"Normal"``, of the LRS and the HRS, as far as measured.
        estimates: ``g_max_loc``, ``g_max_scale`` of the LRS and ``g_min_loc``, ``g_min_scale`` of
            the HRS (of ln(g/S) where lognormal, else S), and their ``correlation``.
        residuals: normal scores of the cells, ``[states, cells]``.
        calibration: of held-out cells; None for fewer than 40.
        verdict: how good the description is, in words.
    """

    device: Device | None
    distributions: tuple[str, ...]
    estimates: Estimates
    residuals: Array
    calibration: Calibration | None
    verdict: str


def cell_map(
    lrs: npt.ArrayLike,
    hrs: npt.ArrayLike | None = None,
    *,
    x: npt.ArrayLike | None = None,
    y: npt.ArrayLike | None = None,
    g_min: float | None = None,
    distribution: str = "best",
    seed: int = 0,
) -> CellMapFit:
    """Fit the spread from cell to cell to a map of one or two states.

    Each state is lognormal or normal, whichever is likelier (both have two parameters). Both
    states of a cell are joined by a Gaussian copula where they vary together.

    Args:
        lrs: conductances of the cells in the low-resistance state (S), > 0.
        hrs: those of the same cells in the high-resistance state (S), > 0.
        x: positions of the cells, any unit, as many; with ``y``, the verdict says how much of the
            spread follows from where a cell stands (of 19 cells or more).
        y: likewise; both are given, or neither.
        g_min: lowest conductance (S) of all cells, where no map of the HRS was measured.
        distribution: of each state: ``"LogNormal"``, ``"Normal"``, or the ``"best"`` of them.
        seed: of the choice of the cells held out.

    Raises:
        TypeError, ValueError: if there are fewer than 8 cells, a conductance is not > 0, or an
            argument is refused.
    """
    seed = checks.integer("seed", seed, least=0)
    checks.one_of("distribution", distribution, (*_DISTRIBUTIONS, "best"))
    states = [("lrs", vector("lrs", lrs))]
    if hrs is not None:
        states.append(("hrs", vector("hrs", hrs)))
    _check(states, hrs is not None, g_min)
    places = _places(x, y, len(states[0][1]))
    values = np.array([state for _, state in states])
    best = distribution == "best"
    kinds = tuple(_likelier(state) if best else distribution for state in values)
    scores = np.array([_scores(k, s, *_fitted(k, s)) for k, s in zip(kinds, values, strict=True)])
    correlation = float(np.corrcoef(scores)[0, 1]) if len(values) == 2 else 0.0
    joined = abs(correlation) > _SIGNIFICANT / np.sqrt(values.shape[1])
    estimates = _estimates(kinds, values, correlation)
    device = _device(kinds, values, correlation if joined else 0.0, g_min)
    calibration = _calibration(kinds, values, seed)
    verdict = _verdict(kinds, values, scores, correlation, joined, device, places)
    return CellMapFit(device, kinds, estimates, scores, calibration, verdict)


def _check(states: list[tuple[str, Array]], pair: bool, g_min: float | None) -> None:
    for name, values in states:
        if len(values) < _LEAST_CELLS:
            raise ValueError(
                f"too few cells for a spread: {name} has {len(values)}, at least {_LEAST_CELLS} "
                "are needed"
            )
        if values.min() <= 0.0:
            raise ValueError(f"{name} must be > 0, got {values.min():g}")
        if np.ptp(values) == 0.0:
            raise ValueError(f"{name} must differ from cell to cell, all are {values[0]:g}")
    if pair and len(states[0][1]) != len(states[1][1]):
        raise ValueError(
            f"lrs and hrs must be as many, got {len(states[0][1])} and {len(states[1][1])}"
        )
    if pair and np.median(states[0][1]) <= np.median(states[1][1]):
        raise ValueError(
            "lrs must conduct more than hrs, got medians of "
            f"{np.median(states[0][1]):g} and {np.median(states[1][1]):g} S"
        )
    if g_min is not None:
        checks.number("g_min", g_min, least=0.0, below=float(np.median(states[0][1])))
        if pair:
            raise ValueError("g_min must not be given beside hrs: the map says it")


def _places(
    x: npt.ArrayLike | None, y: npt.ArrayLike | None, count: int
) -> tuple[Array, Array] | None:
    if x is None and y is None:
        return None
    if x is None or y is None:
        given, lacking = ("y", "x") if x is None else ("x", "y")
        raise ValueError(f"{given} must be given with {lacking}: a position is both")
    found = vector("x", x), vector("y", y)
    for name, values in zip(("x", "y"), found, strict=True):
        if len(values) != count:
            raise ValueError(f"{name} must be as many as the cells, got {len(values)} for {count}")
    return found


def _fitted(kind: str, values: Array) -> tuple[float, float]:
    taken = np.log(values) if kind == "LogNormal" else values
    return float(taken.mean()), float(taken.std())


def _likelier(values: Array) -> str:
    log = np.log(values)
    # Up to what both have: −ln σ per cell, and the lognormal's Jacobian −mean(ln g).
    lognormal, normal = -np.log(log.std()) - log.mean(), -np.log(values.std())
    return "LogNormal" if lognormal >= normal else "Normal"


def _scores(kind: str, values: Array, loc: float, scale: float) -> Array:
    return ((np.log(values) if kind == "LogNormal" else values) - loc) / scale


def _estimates(kinds: tuple[str, ...], values: Array, correlation: float) -> Estimates:
    # Of maximum likelihood: σ²/n, σ²/2n; both states of one cell share what they have in common.
    n = values.shape[1]
    names: list[str] = []
    point, scales = [], []
    for name, kind, state in zip(("g_max", "g_min"), kinds, values, strict=False):
        loc, scale = _fitted(kind, state)
        names += [f"{name}_loc", f"{name}_scale"]
        point += [loc, scale]
        scales.append(scale)
    covariance = np.diag([v for s in scales for v in (s**2 / n, s**2 / (2 * n))])
    if len(values) == 2:
        names.append("correlation")
        point.append(correlation)
        common = scales[0] * scales[1] / n
        size = len(names)
        whole = np.zeros((size, size))
        whole[:4, :4] = covariance
        whole[0, 2] = whole[2, 0] = correlation * common
        whole[1, 3] = whole[3, 1] = correlation**2 * common / 2
        whole[4, 4] = (1.0 - correlation**2) ** 2 / n
        for k, scale in ((1, scales[0]), (3, scales[1])):
            whole[k, 4] = whole[4, k] = scale * correlation * (1.0 - correlation**2) / (2 * n)
        covariance = whole
    return Estimates(tuple(names), np.array(point), covariance)


def _device(
    kinds: tuple[str, ...], values: Array, correlation: float, g_min: float | None
) -> Device | None:
    if len(values) == 1 and g_min is None:
        return None
    shared = {"shared": "cell"} if correlation else {}
    spreads = []
    for k, (kind, state) in enumerate(zip(kinds, values, strict=True)):
        loc, scale = _fitted(kind, state)
        # Joined with the correlation's sign: the other state states its size.
        own = {"correlation": correlation if k else abs(correlation)} if correlation else {}
        spreads.append(
            Spread(kind, (("loc", loc), ("scale", scale)), low=0.0, **shared, **own)  # type: ignore[arg-type]
        )
    if len(spreads) == 1:
        return LinearDevice(g_min=float(g_min or 0.0), g_max=spreads[0])
    return LinearDevice(g_min=spreads[1], g_max=spreads[0])


def _calibration(kinds: tuple[str, ...], values: Array, seed: int) -> Calibration | None:
    n = values.shape[1]
    if n < _LEAST_CALIBRATED:
        return None
    part = np.random.default_rng([seed, OUR_STREAM]).permutation(n) % _PARTS
    scores = np.empty_like(values)
    for k in range(_PARTS):
        for row, (kind, state) in enumerate(zip(kinds, values, strict=True)):
            fitted = _fitted(kind, state[part != k])
            scores[row, part == k] = _scores(kind, state[part == k], *fitted)
    widths = scipy.stats.norm.ppf([(1 + level) / 2 for level in LEVELS])
    inside = tuple(float((np.abs(scores) <= width).mean()) for width in widths)
    return Calibration(LEVELS, inside, scores.size)


def _verdict(
    kinds: tuple[str, ...],
    values: Array,
    scores: Array,
    correlation: float,
    joined: bool,
    device: Device | None,
    places: tuple[Array, Array] | None,
) -> str:
    said = []
    for name, kind, state, score in zip(("LRS", "HRS"), kinds, values, scores, strict=False):
        relative = state.std() / state.mean()
        fits = float(scipy.stats.kstest(score, "norm").pvalue)
        far = int((np.abs(score) > _FAR).sum())
        text = f"{name} of {len(state)} cells {kind.lower()}, {relative:.1%} from cell to cell"
        if fits < 0.01:
            text += (
                " (not well: the largest gap between the distributions is "
                f"{scipy.stats.kstest(score, 'norm').statistic:.2f}; several populations?)"
            )
        if far:
            text += f"; {far} beyond {_FAR:g} standard deviations: broken cells, say so by StuckAt"
        if places is not None:
            share = _explained(score, *places)
            if share is not None:
                text += f"; {share:.0%} of the variance follows the position"
        said.append(text)
    if len(values) == 2:
        error = (1.0 - correlation**2) / np.sqrt(values.shape[1])
        kept = "kept in the device" if joined else "taken as none"
        said.append(f"correlation of LRS and HRS {correlation:.2f} ± {error:.2f}, {kept}")
        crossed = float((values[0] <= values[1]).mean())
        if crossed:
            said.append(f"{crossed:.1%} of the cells conduct less in the LRS than in the HRS")
    if values.shape[1] < _LEAST_CALIBRATED:
        said.append(f"too few cells to hold some out (at least {_LEAST_CALIBRATED})")
    if device is None:
        said.append("no device: one state only; a map of the HRS, or g_min, is needed")
    said.append("the map says nothing of writing: cells are written exactly")
    return "; ".join(said) + "."


def _explained(score: Array, x: Array, y: Array) -> float | None:
    # By a bowl over the wafer, less what a bowl explains of nothing at all (adjusted R²).
    base = np.stack([np.ones_like(x), x, y, x**2, y**2, x * y], axis=1)
    if len(score) <= 3 * base.shape[1]:
        return None
    solution, _, rank, _ = np.linalg.lstsq(base, score, rcond=None)
    left = float(((score - base @ solution) ** 2).sum()) / (len(score) - rank)
    share = 1.0 - left / float(score.var(ddof=1))
    return max(share, 0.0)
