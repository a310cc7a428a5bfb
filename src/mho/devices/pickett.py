"""The Simmons tunnel-barrier model of TiO2 memristors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from mho.cells.spread import Spread, check_order, near
from mho.core import checks
from mho.devices import maths
from mho.devices.switching import SwitchingDevice

_E, _H, _M = 1.602176634e-19, 6.62607015e-34, 9.1093837e-31
_EPS0 = 8.8541878128e-12

# A barrier of e^60 times its speed moves within 1e-15 s; the bound only keeps float32 finite, as
# does that on the exponent of what stops it: e^(-e^50) is 0.
_STEEPEST = 60.0
_LARGEST_STOP = 50.0
# Newton's method on a convex function from its right converges in a few steps, always.
_NEWTON = 6
# ...and squares its error: what is left after a step of this part of the voltage is no error.
_CONVERGED = 1e-9
_STEP = 1e-3
_CURRENTS = 1e8  # by what factor scales of currents may differ from those published


@dataclass(frozen=True)
class Pickett(SwitchingDevice):
    """A tunnel barrier of width ``w`` in series with a resistor; the current moves the barrier.

        dw/dt =  c_off sinh(|I|/i_off) exp(-exp((w - a_off)/w_c - |I|/b) - w/w_c)    for I > 0
        dw/dt = -c_on  sinh(|I|/i_on)  exp(-exp((a_on - w)/w_c - |I|/b) - w/w_c)     for I < 0

    The current is Simmons' for the voltage ``u`` that is left over the barrier,
    ``v = u + r_series · I`` (solved by Newton's method):

        I = sign(u) e²area/(2πh Δw²) [φ e^(-B√φ) - (φ + |u|) e^(-B√(φ + |u|))]
        φ = barrier - |u| (w1 + w2)/(2w) - 1.15 (λ w/Δw) ln[w2 (w - w1)/(w1 (w - w2))]
        λ = e ln2/(8π κ ε0 w)   w1 = 1.2 λ w/barrier   Δw = w2 - w1   B = 4π Δw √(2 m e)/h
        w2 = w1 + w [1 - 9.2 λ/(3 barrier + 4 λ - 2|u|)]

    Simmons' formula fails when the voltage pulls the barrier down altogether: beyond
    ``u_limit`` the current goes on along its tangent. The current does not separate into
    ``g · f(v)`` (``separable`` is False). The state held is ``x = (w_off - w)/(w_off - w_on)``.
    A positive voltage resets the cell (``set_polarity`` = -1).

    Source: Pickett, Strukov, Borghetti, Yang, Snider, Stewart & Williams 2009,
    doi 10.1063/1.3236506; series resistor and I–V constants as in Abdalla & Pickett 2011,
    doi 10.1109/ISCAS.2011.5937942; Simmons 1963, doi 10.1063/1.1702682.

    A parameter may be a factor of 10⁴ from its default at the most (``r_series`` may be 0), a scale
    of currents (``i_off``, ``i_on``, ``b``) one of 10⁸: cells are read at mA and at nA.

    Attributes:
        c_off: speed of resetting (m/s).
        i_off: current scale of resetting (A).
        a_off: width at which resetting begins to stop (m).
        c_on: speed of setting (m/s).
        i_on: current scale of setting (A).
        a_on: width at which setting begins to stop (m).
        b: current that shifts the stopping (A).
        w_c: scale of the width (m).
        w_on: barrier width at x = 1 (m).
        w_off: barrier width at x = 0 (m), > w_on.
        barrier: height (eV).
        kappa: relative permittivity of the barrier.
        area: of the tunnel channel (m²).
        r_series: resistor in series (Ω), >= 0.
        u_limit: largest barrier voltage of Simmons' formula (V).

    Raises:
        ValueError: if a parameter is out of its range, or leaves no barrier at ``w_on``.
    """

    ordered: ClassVar[tuple[tuple[str, str], ...]] = (("w_on", "w_off"),)
    separable: ClassVar[bool] = False
    implicit: ClassVar[bool] = True
    signed: ClassVar[tuple[str, ...]] = ("a_off", "a_on")

    c_off: float | Spread = 3.5e-6
    i_off: float | Spread = 115e-6
    a_off: float | Spread = 1.2e-9
    c_on: float | Spread = 40e-6
    i_on: float | Spread = 8.9e-6
    a_on: float | Spread = 1.8e-9
    b: float | Spread = 500e-6
    w_c: float | Spread = 107e-12
    w_on: float | Spread = 1.1e-9
    w_off: float | Spread = 1.9e-9
    barrier: float | Spread = 0.95
    kappa: float | Spread = 5.0
    area: float | Spread = 1e-14
    r_series: float | Spread = 215.0
    u_limit: float = 0.9

    def __post_init__(self) -> None:
        for name in ("i_off", "i_on", "b"):
            near(name, getattr(self, name), getattr(Pickett, name), factor=_CURRENTS)
        positive = "c_off a_off c_on a_on w_c w_on w_off barrier kappa area u_limit"
        for name in (*positive.split(), "r_series"):
            near(name, getattr(self, name), getattr(Pickett, name), or_zero=name == "r_series")
        checks.number("u_limit", self.u_limit)  # the same for all cells
        check_order("w_on", self.w_on, "w_off", self.w_off)
        self._check_barrier()

    def _check_barrier(self) -> None:
        p = self.parameters()
        edges = self._edges(p.w_on, p.u_limit, p)
        lam, w1, w2 = edges
        within = 0.0 < w1 < w2 < p.w_on * 1e9 and 3.0 * p.barrier + 4.0 * lam > 2.0 * p.u_limit
        if not within or self._height(p.w_on, p.u_limit, edges, p) <= 0.0:
            raise ValueError(
                f"w_on={self.w_on!r} leaves no tunnel barrier at u_limit={self.u_limit!r} V; "
                "it must be > 1.05e-9 m or so with the published barrier"
            )

    @property
    def set_polarity(self) -> int:
        """Negative voltages set the cell."""
        return -1

    # ---- the barrier; lengths in nm, energies in eV ------------------------------------------

    def _edges(self, w: Any, u: Any, p: Any) -> tuple[Any, Any, Any]:
        width = w * 1e9
        lam = _E * math.log(2.0) / (8.0 * math.pi * _EPS0 * 1e-9) / (p.kappa * width)
        w1 = 1.2 * lam * width / p.barrier
        w2 = w1 + width * (1.0 - 9.2 * lam / (3.0 * p.barrier + 4.0 * lam - 2.0 * u))
        return lam, w1, w2

    def _height(self, w: Any, u: Any, edges: tuple[Any, Any, Any], p: Any) -> Any:
        lam, w1, w2 = edges
        width = w * 1e9
        image = maths.log(w2 * (width - w1) / (w1 * (width - w2)))
        pulled = u * (w1 + w2) / (2.0 * width)
        return p.barrier - pulled - 1.15 * lam * width / (w2 - w1) * image

    def _constants(self, w: Any, u: Any, p: Any) -> tuple[Any, Any, Any]:
        edges = self._edges(w, u, p)
        delta = edges[2] - edges[1]
        scale = _E * _E / (2.0 * math.pi * _H) * (p.area * 1e18) / (delta * delta)
        decay = 4.0 * math.pi * 1e-9 * math.sqrt(2.0 * _M * _E) / _H * delta
        return scale, decay, maths.clip(self._height(w, u, edges, p), 1e-3, 1e3)

    def _simmons(self, w: Any, u: Any, p: Any) -> Any:
        scale, decay, phi = self._constants(w, u, p)
        down = phi * maths.exp(-decay * maths.sqrt(phi))
        up = (phi + u) * maths.exp(-decay * maths.sqrt(phi + u))
        return scale * (down - up)

    def _tunnel(self, w: Any, u: Any, p: Any) -> tuple[Any, Any]:
        """Return the current (A) of barrier voltages ``u >= 0`` and its slope (S)."""
        inner = maths.clip(u, 0.0, p.u_limit)
        other = maths.where(inner > _STEP, inner - _STEP, inner + _STEP)
        i = self._simmons(w, inner, p)
        slope = (i - self._simmons(w, other, p)) / (inner - other)
        return i + slope * (u - inner), slope

    # ---- the cell ----------------------------------------------------------------------------

    def _width(self, x: Any, p: Any) -> Any:
        return p.w_off - x * (p.w_off - p.w_on)

    def current_at(self, x: Any, v: Any, p: Any) -> Any:
        """Return the current (A) at states ``x`` under voltages ``v`` (V)."""
        w, size = self._width(x, p), abs(v)
        u = size + 0.0 * w
        for _ in range(_NEWTON):
            i, slope = self._tunnel(w, u, p)
            last = u
            u = maths.positive(u - (u + p.r_series * i - size) / (1.0 + p.r_series * slope))
            if maths.every(abs(u - last) <= _CONVERGED * size):
                break
        return maths.sign(v) * self._tunnel(w, u, p)[0]

    def rate(self, x: Any, drive: tuple[Any, ...], p: Any) -> Any:
        """Return dx/dt (1/s)."""
        return self._speed(self._width(x, p), self.current_at(x, drive[0], p), p)

    def settled(self, x: Any, v: Any, u: Any, p: Any) -> tuple[Any, Any, Any]:
        """Return what a voltage ``u`` over the barrier means; see `SwitchingDevice.settled`."""
        w = self._width(x, p)
        size = self._tunnel(w, u, p)[0]
        i = maths.sign(v) * size
        return abs(v) - p.r_series * size, i, self._speed(w, i, p)

    def _speed(self, w: Any, i: Any, p: Any) -> Any:
        # dx/dt (1/s) of a barrier of width w that passes the current i.
        size = abs(i)
        shift = size / p.b

        def speed(c: Any, scale: Any, beyond: Any) -> Any:
            # Huge and tiny factors meet in the exponent: none is bounded before they do.
            stop = maths.exp(maths.clip(beyond / p.w_c - shift, -_LARGEST_STOP, _LARGEST_STOP))
            exponent = maths.log_sinh(size / scale) - stop - w / p.w_c
            return c * maths.exp(maths.clip(exponent, -math.inf, _STEEPEST))

        falling = speed(p.c_off, p.i_off, w - p.a_off)
        rising = speed(p.c_on, p.i_on, p.a_on - w)
        # No current, no motion: the sine's logarithm is cut off there.
        speeds = maths.where(i > 0.0, -falling, maths.where(i < 0.0, rising, 0.0 * rising))
        return speeds / (p.w_off - p.w_on)

    def conductance_at(self, x: Any, p: Any) -> Any:
        """Return the low-voltage conductance (S) at states ``x``."""
        scale, decay, phi = self._constants(self._width(x, p), 0.0, p)
        depth = decay * maths.sqrt(phi)
        tunnel = scale * maths.exp(-depth) * (0.5 * depth - 1.0)
        return tunnel / (1.0 + p.r_series * tunnel)

    def state_at(self, g: Any, p: Any) -> Any:
        """Return the state of low-voltage conductance ``g`` (S), by bisection."""
        return maths.inverse(lambda x: self.conductance_at(x, p), g)
