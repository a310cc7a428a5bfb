"""Current–voltage laws of a cell's states, fitted to sweeps: a device for any ``I = g f(v)``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import optimize

from mho.core import checks
from mho.devices.conduction import (
    ConductionDevice,
    ConductionLaw,
    Diode,
    Ohmic,
    PooleFrenkel,
    Sinh,
    SpaceCharge,
)
from mho.fit import conduction_table, conduction_verdict
from mho.fit.branches import of_sweeps
from mho.fit.calibration import Array, Calibration, normal_coverage, vector
from mho.fit.estimates import Estimates
from mho.fit.sweeps import whole

_STEEPEST = 100.0  # a factor e^100 over the sweep is far beyond any cell
_PARTS = 5  # that data are held out in
_NOTHING = 0.99  # of the current missed: no law that conducts


@dataclass(frozen=True)
class _Family:
    """Laws of one shape. Its parameters are scaled to the largest voltage, about 1."""

    names: tuple[str, ...]
    law: Callable[..., ConductionLaw]
    power: float = 1.0  # of a volt, in 1 over the parameter's unit
    lowest: float = 0.0


_LAWS = {
    "ohmic": _Family((), Ohmic),
    "sinh": _Family(("b",), lambda b: Sinh(b=b)),
    "poole_frenkel": _Family(("beta",), lambda beta: PooleFrenkel(beta=beta), power=0.5),
    "space_charge": _Family(("c",), lambda c: SpaceCharge(c=c)),
    # A passive cell conducts; only the diode may face either way.
    "diode": _Family(("b",), lambda b: Diode(b=b), lowest=-_STEEPEST),
}


@dataclass(frozen=True)
class IVFit:
    """A current–voltage law fitted to one or several states of a cell.

    Attributes:
        law: its name.
        device: a cell that conducts by the law; ``verdict`` says where its window comes from.
        estimates: ``g``, the low-voltage conductance (S), or one ``g[state]`` per state; the law's
            own parameter as in `mho.devices.conduction`; ``i0``, the instrument's offset (A), which
            is no part of the device. Their errors take residuals as independent.
        residuals: measured minus fitted (A).
        relative_error: root mean square residual over root mean square current.
        separation: with several states, by how much of the current (root mean square) one shape for
            all misses beyond what each state's own would; None with one state.
        calibration: of held-out points, with residuals taken as normal.
        verdict: how good the fit is, in words.
    """

    law: str
    device: ConductionDevice
    estimates: Estimates
    residuals: Array
    relative_error: float
    separation: float | None
    calibration: Calibration
    verdict: str

    @property
    def parameters(self) -> dict[str, float]:
        """Values of the estimates, by name."""
        return {name: estimate.value for name, estimate in self.estimates.items()}

    def current(self, voltage: npt.ArrayLike, g: float | None = None) -> Array:
        """Return the fitted current (A) at voltages (V), the instrument's offset included.

        Args:
            voltage: (V).
            g: of the state (S); the largest fitted if not given.
        """
        most = max(v for n, v in self.parameters.items() if n == "g" or n.startswith("g["))
        f = _at(self.device.law, np.asarray(voltage, np.float64))
        return (most if g is None else g) * f + self.parameters.get("i0", 0.0)


def iv(
    voltage: npt.ArrayLike,
    current: npt.ArrayLike,
    *,
    law: str = "best",
    state: Any = None,
    g_min: float | None = None,
    g_max: float | None = None,
    offset: bool = False,
) -> IVFit:
    """Fit a current–voltage law to states of a cell, and make the device that conducts by it.

    The laws, all with the low-voltage conductance g: ``ohmic`` g·V; ``sinh`` g·sinh(bV)/b, the
    read-out of most switching models (the data-driven model's (a/R)·sinh(bV) has ``g = a·b/R``,
    Yakopcic's a·x·sinh(bV) ``g = a·b·x``); ``poole_frenkel`` g·V·exp(β√|V|); ``space_charge``
    g·(V + c·V·|V|); ``diode`` g·(exp(bV) − 1)/b; ``table`` a monotone curve through 15
    points.

    One curve shows one conductance, and no window: the device then reaches from ``g_min`` (0 if not
    given) to ``g_max`` (the curve's own). Curves of several states are fitted with one shape for
    all and a conductance each, and span the window; how far the current is from such a product is
    `IVFit.separation`.

    Args:
        voltage: (V), in the order of measurement.
        current: (A), as many.
        law: one of the above, or ``"best"``: the one of least corrected Akaike criterion, but for
            the table.
        state: of every sample, a number or a name, where there are several.
        g_min: lowest conductance of the device (S).
        g_max: highest conductance of the device (S).
        offset: fit a constant current ``i0`` of the instrument, too; it is not the cell's.

    Raises:
        ValueError: if the law is unknown, the lengths differ, there are too few points, or the
            curve of a state is a switching loop: that is for `mho.fit.loop`.
    """
    v, i = vector("voltage", voltage), vector("current", current)
    if len(v) != len(i):
        raise ValueError(f"voltage and current must be as many, got {len(v)} and {len(i)}")
    checks.one_of("law", law, (*_LAWS, "table", "best"))
    labels, which = _states(state, len(v))
    for k, label in enumerate(labels):
        _refuse_loop(v[which == k], i[which == k], label)
    names = list(_LAWS) if law == "best" else [law]
    data = _Data(v, i, which, labels, offset)
    most = max(data.many(name) for name in names)
    if len(v) < 3 * most or len(np.unique(v)) < most - len(labels) + 2:
        raise ValueError(
            f"too few points to fit: got {len(v)} at {len(np.unique(v))} voltages, at least "
            f"{3 * most} at {most - len(labels) + 2} are needed"
        )
    if not all(i[which == k].any() for k in range(len(labels))):
        raise ValueError("current must not be 0 everywhere")
    if len(labels) > 1:
        data = replace(data, noise=_noise(names, data))
    fits = [_Fitted.of(name, data) for name in names]
    best = min(fits, key=lambda fit: fit.criterion)
    return _result(best, data, g_min, g_max)


def _noise(names: list[str], data: _Data) -> Array:
    # Of every state, by the law that fits it best, so that low states count as much as high ones.
    own = [[_Fitted.of(name, data.state(k)) for name in names] for k in range(len(data.labels))]
    return np.array([min(float(np.sqrt((f.residuals**2).mean())) for f in fits) for fits in own])


def _states(state: Any, count: int) -> tuple[list[str], npt.NDArray[np.intp]]:
    if state is None:
        return [""], np.zeros(count, np.intp)
    label = np.asarray(state).ravel()
    if len(label) != count:
        raise ValueError(f"state and voltage must be as many, got {len(label)} and {count}")
    names, which = np.unique(label, return_inverse=True)
    return [str(name) for name in names], which


def _refuse_loop(v: Array, i: Array, label: str) -> None:
    found = of_sweeps(whole(v, i))
    if found.is_loop:
        of = f" of state {label}" if label else ""
        raise ValueError(
            f"voltage and current{of} must be of one state, but the ways out and back differ by "
            f"{found.width:.0%} of the current: that is a switching loop; fit it with mho.fit.loop"
        )


@dataclass(frozen=True)
class _Data:
    """Points, the states they belong to, and the noise of each state (A)."""

    v: Array
    i: Array
    which: npt.NDArray[np.intp]
    labels: list[str]
    offset: bool
    noise: Array | None = None

    @property
    def volts(self) -> float:
        return float(np.abs(self.v).max())

    @property
    def amps(self) -> float:
        return float(np.abs(self.i).max())

    @property
    def weights(self) -> Array:
        """Of the points: 1 over their noise, in units of the largest current."""
        if self.noise is None:
            return np.full(len(self.v), 1.0 / self.amps)
        return 1.0 / np.maximum(self.noise, 1e-9 * self.amps)[self.which]

    def many(self, name: str) -> int:
        """How many parameters a law has here."""
        own = conduction_table.KNOTS - 2 if name == "table" else len(_LAWS[name].names)
        return len(self.labels) + own + self.offset

    def part(self, at: Any) -> _Data:
        return _Data(self.v[at], self.i[at], self.which[at], self.labels, self.offset, self.noise)

    def state(self, k: int) -> _Data:
        at = self.which == k
        return _Data(self.v[at], self.i[at], np.zeros(at.sum(), np.intp), [""], self.offset)


@dataclass(frozen=True)
class _Fitted:
    name: str
    law: ConductionLaw
    g: Array
    i0: float
    point: Array  # scaled: a conductance per state, the law's own, the offset
    shape: _Shape
    data: _Data  # with the noise of the states
    residuals: Array

    @property
    def criterion(self) -> float:
        """Akaike's, of residuals in units of the noise."""
        return _criterion(self.residuals * self.data.weights, len(self.point))

    @classmethod
    def of(cls, name: str, data: _Data) -> _Fitted:
        shape = _Shape(name, data)
        return cls.at(name, data, shape, _least_squares(data, shape))

    @classmethod
    def at(cls, name: str, data: _Data, shape: _Shape, p: Array) -> _Fitted:
        g, own, i0 = _split(p, data, shape)
        residuals = cls.residuals_at(p, data, shape)
        return cls(name, shape.law(own), g, i0, p, shape, data, residuals)

    @staticmethod
    def residuals_at(p: Array, data: _Data, shape: _Shape) -> Array:
        g, own, i0 = _split(p, data, shape)
        found: Array = data.i - g[data.which] * _at(shape.law(own), data.v) - i0
        return found

    def missed(self, data: _Data) -> Array:
        """Residuals of other points of the same states."""
        found: Array = data.i - self.g[data.which] * _at(self.law, data.v) - self.i0
        return found


class _Shape:
    """A family of laws with its parameters scaled to about 1, and where to begin."""

    def __init__(self, name: str, data: _Data) -> None:
        volts = data.volts
        self.name, self.volts = name, volts
        if name == "table":
            best = data.which == data.which[np.abs(data.i).argmax()]
            made = conduction_table.shape(data.v[best], data.i[best])
            self.names, self.starts, self.bounds, self._make = made
            return
        family = _LAWS[name]
        many = len(family.names)
        self.names = family.names
        self.starts = [np.full(many, s) for s in ((0.3, 3.0) if many else (0.0,))]
        self.bounds = ([family.lowest] * many, [_STEEPEST] * many)
        self._make = lambda own: family.law(*(float(x) / volts**family.power for x in own))

    def law(self, own: Array) -> ConductionLaw:
        return self._make(own)

    def unit(self) -> Array:
        """What 1 of each scaled parameter is."""
        power = 0.0 if self.name == "table" else _LAWS[self.name].power
        return np.full(len(self.names), self.volts**-power)


def _split(p: Array, data: _Data, shape: _Shape) -> tuple[Array, Array, float]:
    many = len(data.labels)
    i0 = float(p[-1]) * data.amps if data.offset else 0.0
    return p[:many] * data.amps / data.volts, p[many : many + len(shape.names)], i0


def _least_squares(data: _Data, shape: _Shape, begin: Array | None = None) -> Array:
    many = len(data.labels)

    def misfit(p: Array) -> Array:
        return -data.weights * _Fitted.residuals_at(p, data, shape)

    bounds = (
        [*[0.0] * many, *shape.bounds[0], *[-np.inf] * data.offset],
        [*[np.inf] * many, *shape.bounds[1], *[np.inf] * data.offset],
    )
    usual = [float(np.abs(data.i[data.which == k]).max()) / data.amps for k in range(many)]
    starts = [[*usual, *start, *[0.0] * data.offset] for start in shape.starts]
    # A table's points hang together in long valleys, whose ends change nothing any more.
    ends = {"ftol": 1e-6, "xtol": 1e-6, "max_nfev": 40} if shape.name == "table" else {}
    fits = [
        optimize.least_squares(misfit, start, bounds=bounds, **ends)
        for start in (starts if begin is None else [begin])
    ]
    found: Array = min(fits, key=lambda fit: fit.cost).x
    return found


def _result(best: _Fitted, data: _Data, g_min: float | None, g_max: float | None) -> IVFit:
    relative = float(np.sqrt((best.residuals**2).mean() / (data.i**2).mean()))
    if relative > _NOTHING:
        raise ValueError(
            f"current must flow with the voltage, but a law that does misses {relative:.0%} of it"
        )
    separation = _separation(best, data) if len(data.labels) > 1 else None
    low, high = _window(best.g, g_min, g_max)
    device = ConductionDevice(g_min=low, g_max=high, law=best.law)
    calibration = _held_out(best, data)
    told = conduction_verdict.told(
        best.name,
        relative,
        _hang(best.residuals, data),
        None if separation is None else (len(data.labels), separation),
        (float(data.v.min()), float(data.v.max())),
        [
            f"{name} = {value:.4g} S is {why}"
            for name, given, value, why in (
                ("g_min", g_min, low, "an assumption"),
                ("g_max", g_max, high, "this curve's"),
            )
            if given is None and separation is None
        ],
    )
    return IVFit(
        best.name,
        device,
        _estimates(best, data),
        best.residuals,
        relative,
        separation,
        calibration,
        told,
    )


def _window(g: Array, g_min: float | None, g_max: float | None) -> tuple[float, float]:
    for name, value in (("g_min", g_min), ("g_max", g_max)):
        if value is not None:
            checks.number(name, value, least=0.0)
    low = g_min if g_min is not None else float(g.min()) if len(g) > 1 else 0.0
    high = g_max if g_max is not None else float(g.max())
    if not low < high:
        raise ValueError(
            f"the window must have g_min < g_max, got {low:.4g} … {high:.4g} S: the conductances "
            f"fitted are {', '.join(f'{value:.4g}' for value in g)} S"
        )
    return low, high


def _estimates(best: _Fitted, data: _Data) -> Estimates:
    if data.labels == [""]:
        names: tuple[str, ...] = ("g",)
    else:
        names = tuple(f"g[{label}]" for label in data.labels)
    names = (*names, *best.shape.names, *(("i0",) if data.offset else ()))
    many = len(data.labels)
    unit = np.concatenate(
        [
            np.full(many, data.amps / data.volts),
            best.shape.unit(),
            np.full(int(data.offset), data.amps),
        ]
    )
    weights = best.data.weights

    def misfit(p: Array) -> Array:
        return weights * _Fitted.residuals_at(p, best.data, best.shape)

    slopes = optimize._numdiff.approx_derivative(misfit, best.point) / unit
    weighted = weights * best.residuals
    variance = float((weighted**2).sum()) / max(len(weighted) - len(names), 1)
    return Estimates.of_residuals(names, best.point * unit, slopes, variance)


def _held_out(best: _Fitted, data: _Data) -> Calibration:
    # Every point is held out once, in interleaved parts.
    part = np.argsort(np.argsort(data.v, kind="stable")) % _PARTS
    weights = best.data.weights
    errors = np.empty_like(data.i)
    for k in range(_PARTS):
        seen = best.data.part(part != k)
        shape = _Shape(best.name, data)
        trial = _Fitted.at(best.name, seen, shape, _least_squares(seen, shape, best.point))
        errors[part == k] = trial.missed(best.data.part(part == k))
    weighted = weights * best.residuals
    sigma = float(np.sqrt((weighted**2).sum() / max(len(data.v) - len(best.point), 1)))
    return normal_coverage(weights * errors, sigma)


def _separation(best: _Fitted, data: _Data) -> float:
    """Return how much of the current one shape for all states misses beyond their own shapes."""
    own = sum(
        float((_Fitted.of(best.name, data.state(k)).residuals ** 2).sum())
        for k in range(len(data.labels))
    )
    more = float((best.residuals**2).sum()) - own
    return float(np.sqrt(max(more, 0.0) / (data.i**2).sum()))


def _hang(residuals: Array, data: _Data) -> float:
    # Correlation of neighbours in voltage, of the same state.
    order = np.lexsort((data.v, data.which))
    r, k = residuals[order], data.which[order]
    same = k[1:] == k[:-1]
    square = float((r**2).sum())
    if square <= (1e-9 * data.amps) ** 2 * len(r):
        return 0.0
    return float((r[1:] * r[:-1])[same].sum()) / square


def _at(law: ConductionLaw, v: Array) -> Array:
    found: Array = law(torch.from_numpy(np.ascontiguousarray(v))).numpy()
    return found


def _criterion(residuals: Array, parameters: int) -> float:
    # Akaike's criterion, corrected for few points; the noise counts as a parameter.
    n, k = len(residuals), parameters + 1
    spread = max(float((residuals**2).mean()), np.finfo(np.float64).tiny)
    return n * float(np.log(spread)) + 2 * k + 2 * k * (k + 1) / max(n - k - 1, 1)
