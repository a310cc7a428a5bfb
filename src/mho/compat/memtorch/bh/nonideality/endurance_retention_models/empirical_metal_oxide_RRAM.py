# ruff: noqa: N999
"""Metal-oxide devices that fail with use or time, on `mho.effects.metal_oxide`.

Source: C. Lammie, M. Rahimi Azghadi, D. Ielmini, "Empirical metal-oxide RRAM device endurance and
retention model for deep learning simulations", Semicond. Sci. Technol. 2021,
doi 10.1088/1361-6641/abf29d.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from typing import Any

from torch import Tensor

from mho.compat._common import real, require, truth
from mho.compat.memtorch.bh.nonideality._layers import change, context
from mho.effects.metal_oxide import FailureLaw, Retention

__all__ = [
    "OperationMode",
    "model_endurance_retention",
    "model_endurance_retention_gradual",
    "scale_p_0",
]

_NANOMETRE = 1e-9
_CELL_SIZE = 10.0


class OperationMode(Enum):
    """How devices fail."""

    sudden = 1
    gradual = 2


def scale_p_0(
    p_0: float,
    p_1: float,
    v_stop: float,
    v_stop_min: float,
    v_stop_max: float,
    v_stop_optimal: float,
    cell_size: float | None = 10,
) -> float:
    """Scale p_0 with the stop voltage of RESET.

    With ``u`` the stop voltage from 0 at ``v_stop_min`` to 1 at ``v_stop_max`` and
    ``h(u) = 1 - (2u - 1)²``, the threshold ``p_0 exp(p_1 cell_size)`` is the one at
    ``v_stop_optimal``, and its logarithm goes with ``h(u) / h(u_optimal)``.

    ``p_0`` is the one at the optimal stop voltage, > 0; ``p_1`` in 1/nm, voltages in V, and
    ``cell_size`` in nm (None: 10).

    Raises:
        Refused: unless ``v_stop_min < v_stop_optimal < v_stop_max``, and ``v_stop`` is from the
            least to the largest.
    """
    low, high = v_stop_min, v_stop_max
    best = f"v_stop_optimal must be between {low} and {high}, got {v_stop_optimal}"
    require(low < v_stop_optimal < high, best)
    require(low <= v_stop <= high, f"v_stop must be from {low} to {high}, got {v_stop}")
    require(p_0 > 0, f"p_0 must be > 0, got {p_0}")

    def height(voltage: float) -> float:
        u = (voltage - low) / (high - low)
        return 1 - (2 * u - 1) ** 2

    growth = p_1 * (_CELL_SIZE if cell_size is None else cell_size)
    threshold = math.log(p_0) + growth
    return math.exp(threshold * height(v_stop) / height(v_stop_optimal) - growth)


def model_endurance_retention_gradual(
    initial_resistance: Tensor,
    x: float,
    p_0: float,
    p_1: float,
    p_2: float,
    p_3: float,
    threshold: float,
    temperature_constant: float,
    cell_size: float | None = None,
) -> Tensor:
    """Return resistances after a gradual failure.

    ``log10 R = p_3 (p_1 · cell_size + p_2 · T_c) (log10 x - log10 threshold) + log10 R_0``

    ``initial_resistance`` and the result are in Ω, of any shape; ``x`` are cycles, energy (J) or
    time (s); ``cell_size`` is in nm (None: 10). ``p_0`` has no effect beyond the threshold.

    Raises:
        Refused: if ``x`` or ``threshold`` is not positive.
    """
    require(x > 0 and threshold > 0, f"x and threshold must be > 0, got {x} and {threshold}")
    size = _CELL_SIZE if cell_size is None else cell_size
    exponent = p_3 * (p_1 * size + p_2 * temperature_constant)
    return initial_resistance * (x / threshold) ** exponent


def model_endurance_retention(
    layer: Any,
    operation_mode: OperationMode,
    x: float,
    p_lrs: Sequence[float] | None,
    stable_resistance_lrs: float,
    p_hrs: Sequence[float] | None,
    stable_resistance_hrs: float,
    cell_size: float | None,
    temperature: float | None,
    temperature_threshold: float | None = 298,
    legacy: bool = False,
) -> Any:
    """Let devices fail that are past their threshold ``p_0 exp(p_1 cell_size + p_2 T_c)``.

    ``T_c = min(temperature_threshold / temperature, 1)``. Devices count as in the low-resistance
    state below ``(r_on + r_off) / 2``, as in the high-resistance state above.

    With ``legacy`` the midpoint is ``r_on + r_off / 2``, and without a temperature the threshold
    is ``p_0 exp(p_1)``, as in MemTorch 1.1.6, to compare with its results.

    Args:
        layer: a memristive layer; it is changed in place.
        operation_mode: sudden failure (to a stable resistance) or gradual.
        x: SET–RESET cycles, energy (J), or retention time (s), > 0.
        p_lrs: p_0, p_1 (1/nm), p_2 and p_3 of the low-resistance state; None: it does not fail.
        stable_resistance_lrs: after a sudden failure (Ω).
        p_hrs: the same for the high-resistance state.
        stable_resistance_hrs: after a sudden failure (Ω).
        cell_size: (nm); None: 10.
        temperature: of operation (K); None: T_c = 0.
        temperature_threshold: above which temperature counts (K); None: T_c = 0.
        legacy: see above.

    Raises:
        Refused: if an argument is refused.
    """
    legacy = truth("legacy", legacy)
    message = f"operation_mode must be an OperationMode, got {operation_mode!r}"
    require(isinstance(operation_mode, OperationMode), message)
    stop = real("x", x)
    require(stop > 0, f"x must be > 0, got {x!r}")
    cold = temperature is None or temperature_threshold is None
    sudden = operation_mode is OperationMode.sudden
    size = _CELL_SIZE if cell_size is None else float(cell_size)
    sizeless = size if legacy and cold else None
    failing = Retention(
        lrs=_law("p_lrs", p_lrs, stable_resistance_lrs if sudden else None, cold, sizeless),
        hrs=_law("p_hrs", p_hrs, stable_resistance_hrs if sudden else None, cold, sizeless),
        cell_size=_NANOMETRE * size,
        temperature=1.0 if temperature is None else float(temperature),
        critical_temperature=1.0 if temperature_threshold is None else float(temperature_threshold),
    )

    def fail(crossbar: Any, g: Tensor) -> Tensor:
        # The window says nothing but the midpoint: (2 r_on + r_off) / 2 is the one of old.
        r_on = crossbar.r_on_mean * (2 if legacy else 1)
        return failing.fail(g, context(crossbar, g, r_on), 0.0, stop)

    return change(layer, fail)


def _law(name: str, p: Any, stable: Any, cold: bool, sizeless: float | None) -> FailureLaw | None:
    """A law in metres, in which the temperature (if ``cold``) or a size (nm) does not count."""
    if p is None:
        return None
    require(len(p) == 4, f"{name} must be p_0, p_1, p_2 and p_3, got {list(p)}")
    p_0, p_1, p_2, p_3 = (float(value) for value in p)
    if sizeless is not None:
        p_0 *= math.exp(p_1 - p_1 * sizeless)
    return FailureLaw(
        p0=p_0,
        p1=p_1 / _NANOMETRE,
        p2=0.0 if cold else p_2,
        p3=p_3 if stable is None else 0.0,
        stable=None if stable is None else float(stable),
    )
