"""How likely spin torque switches a perpendicular magnet: the macrospin's Fokker–Planck equation.

The angle between the magnetisation and its easy axis is driven by damping and spin torque, and
shaken by heat. With ``z = cos θ``, the reduced current ``i = I/I_c``, the reduced time
``τ = α γ B_k t/(1 + α²)`` and the barrier Δ in units of kT, its density obeys

    ∂ρ/∂τ = -∂/∂z [ (1 - z²) ( (z - i) ρ - (1/2Δ) ∂ρ/∂z ) ]

from equilibrium in the well at ``z = 1``. What is at ``z < 0`` after the pulse has switched.
Thermal activation over the barrier ``Δ (1 - i)²`` (i < 1), precessional switching with its initial
thermal angle (i > 1) and everything between are in this one equation; nothing is fitted.

Source: W. H. Butler et al., "Switching distributions for perpendicular spin-torque devices within
the macrospin approximation", IEEE Trans. Magn. 2012, doi 10.1109/TMAG.2012.2209122; the equation
without current is W. F. Brown's, Phys. Rev. 1963, doi 10.1103/PhysRev.130.1677.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import scipy
import torch
from torch import Tensor

Array = npt.NDArray[np.float64]

_CELLS = 400  # finite volumes in θ
_CURRENTS = np.concatenate(
    [np.linspace(-1.0, 2.0, 61), np.linspace(2.1, 4.0, 20), np.linspace(4.4, 12.0, 20)]
)
_TIMES = np.geomspace(1e-2, 1e3, 141)
_GAMMA = 1.0 - 0.5**0.5  # of the two-stage, L-stable Runge–Kutta rule of order 2
_SMALLEST = 1e-300


def switching_probability(current: Tensor, time: Tensor, barrier: float) -> Tensor:
    """Return the probability that a pulse switches a macrospin.

    The equation is solved once for every barrier (half a second, then kept) on a grid of currents
    and times; between them the logarithm of ``-ln(1 - P)`` is linear in i and ln τ. Beyond i = 12
    the time counts ``(i - 1)/11``-fold, i < -1 counts as -1, beyond τ = 1000 the rate is constant.

    Args:
        current: reduced current i, positive where it drives the switch; any shape.
        time: reduced time τ, >= 0; of (or broadcast with) that shape.
        barrier: Δ, > 0.

    Returns:
        Probabilities, in float64.
    """
    table = torch.from_numpy(_log_hazard(float(barrier))).to(current.device)
    i, tau = torch.broadcast_tensors(current.double(), time.double())
    overdrive = (i - 1.0) / (_CURRENTS[-1] - 1.0)
    tau = tau * overdrive.clamp_min(1.0)
    reach = torch.log(tau.clamp_min(1e-300) / _TIMES[0])
    column = reach / np.log(_TIMES[1] / _TIMES[0])
    beyond = (tau / _TIMES[-1]).clamp_min(1.0)
    hazard = _bilinear(table, i, column).exp() * beyond
    return torch.where(tau > 0.0, -torch.expm1(-hazard), 0.0)


def _bilinear(table: Tensor, i: Tensor, column: Tensor) -> Tensor:
    axis = torch.from_numpy(_CURRENTS).to(i.device)
    i = i.clamp(float(axis[0]), float(axis[-1])).contiguous()
    row = (torch.searchsorted(axis, i, right=True) - 1).clamp_max(len(axis) - 2)
    column = column.clamp(0.0, table.shape[1] - 1.0)
    k = column.long().clamp_max(table.shape[1] - 2)
    below = torch.lerp(table[row, k], table[row, k + 1], column - k)
    above = torch.lerp(table[row + 1, k], table[row + 1, k + 1], column - k)
    return torch.lerp(below, above, (i - axis[row]) / (axis[row + 1] - axis[row]))


@functools.lru_cache(maxsize=16)
def _log_hazard(barrier: float) -> Array:
    # ln(-ln(1 - P)) by current and time.
    down, up = solve(barrier, _CURRENTS, _TIMES)
    hazard = np.where(down < 0.5, -np.log1p(-down.clip(0.0, 0.9)), -np.log(up.clip(_SMALLEST)))
    return np.log(hazard.clip(_SMALLEST))


def solve(
    barrier: float, currents: Array, times: Array, cells: int = _CELLS
) -> tuple[Array, Array]:
    """Solve the equation by finite volumes, for all currents at once.

    The fluxes are those of Scharfetter and Gummel, so the equilibrium is exact and every density
    stays positive; the steps are the times given, which must be dense (a few percent apart).

    Args:
        barrier: Δ, > 0.
        currents: reduced currents i, ``[currents]``.
        times: reduced times τ, increasing, ``[times]``.
        cells: number of finite volumes, even.

    Returns:
        Probabilities of ``z < 0`` and of ``z > 0``, each ``[currents, times]``.
    """
    edge = np.cos(np.linspace(np.pi, 0.0, cells + 1))
    centre, width = (edge[1:] + edge[:-1]) / 2, np.diff(edge)
    low, high = _fluxes(barrier, currents, edge, centre)
    lower, upper = np.zeros((2, len(currents), cells))
    lower[:, :-1], upper[:, 1:] = low / width[:-1], high / width[1:]
    diagonal = -(lower + upper).ravel()
    lower, upper = lower.ravel(), upper.ravel()
    start = np.where(centre > 0, np.exp(barrier * (centre**2 - 1.0)), 0.0) * width
    mass = np.tile(start / start.sum(), len(currents))
    down, up, before = [], [], 0.0
    for now in times:
        mass = _step(mass, lower, diagonal, upper, now - before)
        wells = mass.reshape(len(currents), 2, cells // 2).sum(axis=2)
        down.append(wells[:, 0])
        up.append(wells[:, 1])
        before = now
    return np.array(down).T, np.array(up).T


def _fluxes(barrier: float, currents: Array, edge: Array, centre: Array) -> tuple[Array, Array]:
    # Rates (times a volume's width) at which density crosses the inner edges, upwards and back.
    z, distance = edge[1:-1], np.diff(centre)
    mobility = (1.0 - z**2) / (2.0 * barrier) / distance
    drift = 2.0 * barrier * (z - currents[:, None]) * distance
    return mobility * _bernoulli(-drift), mobility * _bernoulli(drift)


def _bernoulli(x: Array) -> Array:
    safe = np.where(np.abs(x) < 1e-9, 1.0, x.clip(-700.0, 700.0))
    return np.where(np.abs(x) < 1e-9, 1.0 - x / 2, safe / np.expm1(safe))


def _step(mass: Array, lower: Array, diagonal: Array, upper: Array, step: float) -> Array:
    h = _GAMMA * step
    bands = np.stack([-h * upper, 1.0 - h * diagonal, -h * lower])

    def change(q: Array) -> Array:
        total = diagonal * q
        total[1:] += (lower * q)[:-1]
        total[:-1] += (upper * q)[1:]
        return total

    first = scipy.linalg.solve_banded((1, 1), bands, change(mass), check_finite=False)
    between = mass + (1.0 - _GAMMA) * step * first
    second = scipy.linalg.solve_banded((1, 1), bands, change(between), check_finite=False)
    result: Array = mass + step * ((1.0 - _GAMMA) * first + _GAMMA * second)
    return result
