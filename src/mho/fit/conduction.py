"""Current–voltage laws of a cell's states, fitted to sweeps: a device for any ``I = g f(v)``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mho.core import checks, intake
from mho.devices.conduction import ConductionDevice
from mho.fit import conduction_trust as trust
from mho.fit import conduction_verdict
from mho.fit.branches import of_sweeps
from mho.fit.calibration import Array, Calibration, vector
from mho.fit.conduction_laws import LAWS, Data, values_at
from mho.fit.conduction_search import Fitted
from mho.fit.estimates import Estimates
from mho.fit.printed import Printed
from mho.fit.sweeps import whole

_NOTHING = 0.99  # of the current missed: no law that conducts
_ROUNDED = 0.01  # of a conductance that a window may cut off
_SURE = 3.0  # standard errors of a conductance, likewise


@dataclass(frozen=True, repr=False)
class IVFit(Printed):
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
        f = values_at(self.device.law, intake.array("voltage", voltage))
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
    Yakopcic's a·x·sinh(bV) ``g = a·b·x``); ``poole_frenkel`` ``g·V·exp(β√|V|)``;
    ``space_charge`` ``g·(V + c·V·|V|)``; ``diode`` g·(exp(bV) − 1)/b; ``table`` a monotone curve
    through 15 points.

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
        g_min: lowest conductance of the device (S), below those fitted (to 1 %, or their errors).
        g_max: highest conductance of the device (S), above those fitted, likewise.
        offset: fit a constant current ``i0`` of the instrument, too; it is not the cell's.

    Raises:
        ValueError: if the law is unknown, the lengths differ, there are too few points, the
            window does not hold the conductances fitted, or the curve of a state is a switching
            loop: that is for `mho.fit.loop`.
    """
    offset = checks.truth("offset", offset)
    v, i = vector("voltage", voltage), vector("current", current)
    if len(v) != len(i):
        raise ValueError(f"voltage and current must be as many, got {len(v)} and {len(i)}")
    checks.one_of("law", law, (*LAWS, "table", "best"))
    labels, which = _states(state, len(v))
    for k, label in enumerate(labels):
        _refuse_loop(v[which == k], i[which == k], label)
    names = list(LAWS) if law == "best" else [law]
    data = Data(v, i, which, labels, offset)
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
    fits = [Fitted.of(name, data) for name in names]
    best = min(fits, key=lambda fit: fit.criterion)
    return _result(best, data, g_min, g_max)


def _noise(names: list[str], data: Data) -> Array:
    # Of every state, by the law that fits it best, so that low states count as much as high ones.
    own = [[Fitted.of(name, data.state(k)) for name in names] for k in range(len(data.labels))]
    return np.array([min(float(np.sqrt((f.residuals**2).mean())) for f in fits) for fits in own])


def _states(state: Any, count: int) -> tuple[list[str], npt.NDArray[np.intp]]:
    if state is None:
        return [""], np.zeros(count, np.intp)
    label = intake.labels(state)
    if len(label) != count:
        raise ValueError(f"state and voltage must be as many, got {len(label)} and {count}")
    names, which = np.unique(label, return_inverse=True)
    return [f"{n:g}" if isinstance(n, np.floating) else str(n) for n in names], which


def _refuse_loop(v: Array, i: Array, label: str) -> None:
    found = of_sweeps(whole(v, i))
    if found.is_loop:
        of = f" of state {label}" if label else ""
        raise ValueError(
            f"voltage and current{of} must be of one state, but the ways out and back differ by "
            f"{found.width:.0%} of the current: that is a switching loop; fit it with mho.fit.loop"
        )


def _result(best: Fitted, data: Data, g_min: float | None, g_max: float | None) -> IVFit:
    relative = float(np.sqrt((best.residuals**2).mean() / (data.i**2).mean()))
    if relative > _NOTHING:
        raise ValueError(
            f"current must flow with the voltage, but a law that does misses {relative:.0%} of it"
        )
    separation = trust.separation(best, data) if len(data.labels) > 1 else None
    estimates = trust.estimates(best, data)
    low, high = _window(best.g, estimates.covariance, g_min, g_max)
    device = ConductionDevice(g_min=low, g_max=high, law=best.law)
    calibration = trust.held_out(best, data)
    told = conduction_verdict.told(
        best.name,
        relative,
        trust.hang(best.residuals, data),
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
        estimates,
        best.residuals,
        relative,
        separation,
        calibration,
        told,
    )


def _window(
    g: Array, covariance: Array, g_min: float | None, g_max: float | None
) -> tuple[float, float]:
    for name, value in (("g_min", g_min), ("g_max", g_max)):
        if value is not None:
            checks.number(name, value, least=0.0)
    low = g_min if g_min is not None else float(g.min()) if len(g) > 1 else 0.0
    high = g_max if g_max is not None else float(g.max())
    # What is rounded, or uncertain by its noise, is no reason to refuse a window.
    errors = np.sqrt(np.diag(covariance)[: len(g)])
    slack = np.maximum(_ROUNDED * g, _SURE * np.nan_to_num(errors))
    if low < high and ((g < low - slack) | (g > high + slack)).any():
        raise ValueError(
            f"g_min and g_max must enclose the conductances fitted, got {low:.4g} … {high:.4g} S "
            f"for {', '.join(f'{value:.4g}' for value in g)} S"
        )
    if not low < high:
        raise ValueError(
            f"the window must have g_min < g_max, got {low:.4g} … {high:.4g} S: the conductances "
            f"fitted are {', '.join(f'{value:.4g}' for value in g)} S"
        )
    return low, high
