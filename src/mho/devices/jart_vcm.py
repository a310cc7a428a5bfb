"""JART VCM v1b: filamentary valence-change cells, by the drift of oxygen vacancies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mho.cells.behaviour import Context
from mho.cells.population import Cells
from mho.cells.spread import Spread, check_order, near, nominal
from mho.core import checks
from mho.devices import jart_cycles, maths
from mho.devices.jart_cycles import JARTCells, shaped
from mho.devices.switching import SwitchingDevice
from mho.devices.switching_cells import SwitchingCells

_E, _H, _M = 1.602176634e-19, 6.62607015e-34, 9.1093837e-31
_EPS0 = 8.8541878128e-12
_K = 1.380649e-23 / _E  # V/K
# Image force: (e N ψ/(8π² ε³))^¼ in volts; tunnelling: (h/4π) √(N/(m ε)) in volts.
_IMAGE = _E**3 / (8.0 * math.pi**2 * _EPS0**3)
_TUNNEL = _H / (4.0 * math.pi) / math.sqrt(_M * _EPS0)

# The search ends at so small an error of ln(Vs); one more step all but squares it.
_CLOSE = {torch.float32: 1e-5, torch.float64: 1e-7}
_SECANTS, _SEARCHES = 25, 90
_STEP = 1e-4
# A voltage (V) that nobody can tell from 0: the solution goes by logarithms.
_NOTHING = 1e-24
_MERGED = 1e-6


@dataclass(frozen=True)
class JARTVCM(SwitchingDevice):
    """A filament whose disc, next to the active electrode, fills with oxygen vacancies.

    The disc's barrier, the disc, the plug and the lines are in series, ``A = π radius²``:

        v = Vs + I (Rd + Rp + Rs)
        Rd = l_disc/(z e N μ A)    Rp = (l_cell - l_disc)/(z e n_plug μ A)
        Rs = r_tiox + r_line (1 + r_line alpha_line r_th_line I²)
        Vs >= 0:  I = A richardson T² e^(-φ/kT) (e^(Vs/kT) - 1)
        Vs < 0:   I = -A (richardson T/k) √(π W00 (|Vs| + φ/cosh²(W00/kT))) e^(-φ/W0)
                      (e^(|Vs|/ε') - 1)
        φ = max(0, barrier - [e³ z N ψ/(8π² ε_b³)]^¼),  ψ = barrier - fermi - Vs,
            and φ = barrier where ψ <= 0
        W00 = (e h/4π) √(z N/(m ε))    W0 = W00/tanh(W00/kT)
        ε' = W00/(W00/kT - tanh(W00/kT))
        T = t_ambient + I (Vs + I (Rd + Rp)) r_th · (reset_heating if v > 0)

        dN/dt = -(n_plug + N)/2 · (a ν/l_disc) F (e^(-ΔW₋/kT) - e^(-ΔW₊/kT))
        ΔW∓ = ΔW (√(1 - γ²) ∓ γ π/2 + γ asin γ)    γ = z a E/(π ΔW), put inside ±1
        v > 0:  E = (Vs + I (Rd + Rp))/l_cell    F = 1 - (n_min/N)^10
        v < 0:  E = I Rd/l_disc                  F = 1 - (N/n_max)^10

    Current, temperature and barrier voltage are solved for together. For v > 0 the barrier, which
    ψ lowers, can make three solutions of one; the current is the one that goes on from 0 V, that
    of the least Vs.

    With ``c2c_radius`` or ``c2c_length`` above 0, radius and length of the disc are drawn anew for
    a cell whenever its voltage changes sign; see `mho.devices.jart_cycles`.

    The state held is logarithmic, ``x = ln(N/n_min)/ln(n_max/n_min)``. A negative voltage sets
    the cell (``set_polarity`` = -1). The low-voltage conductance is that at 0 V from above: at
    small negative voltages the tunnelling law passes less, and where φ = 0 it passes
    ``∝ |Vs|^1.5``, so that its own slope at 0 V is 0. The current does not separate into
    ``g · f(v)`` (``separable`` is False). Temperatures of thousands of kelvin, as below -1 V at
    low resistance, are outside of what the model was fitted to.

    Source: Bengel, Siemon, Cüppers, Hoffmann-Eifert, Hardtdegen, von Witzleben, Hellmich, Waser &
    Menzel 2020, doi 10.1109/TCSI.2020.3018502; deterministic model: Cüppers et al. 2019,
    doi 10.1063/1.5108654.

    A parameter may be a factor of 10⁴ from its default at the most; those >= 0 may be 0.

    Attributes:
        n_max: density of vacancies in the disc at x = 1 (1/m³), > n_min.
        n_min: density at x = 0 (1/m³).
        n_plug: density in the plug (1/m³).
        radius: of the filament (m).
        l_disc: length of the disc (m).
        l_cell: length of disc and plug (m), > l_disc.
        mobility: of electrons (m²/(V s)).
        valence: z, charges of a vacancy.
        hop: a, hopping distance (m).
        attempts: ν, attempt frequency (1/s).
        activation: ΔW (eV).
        richardson: effective Richardson constant (A/(m² K²)).
        barrier: height at zero field (eV), > fermi.
        fermi: from the conduction band to the Fermi level (eV), >= 0.
        permittivity: relative, static.
        permittivity_barrier: relative, for image forces.
        t_ambient: ambient temperature (K).
        r_th: thermal resistance (K/W), >= 0.
        reset_heating: part of ``r_th`` that acts for v > 0, >= 0.
        r_tiox: resistance of the TiOx layer (Ω).
        r_line: resistance of the lines (Ω), >= 0.
        alpha_line: its temperature coefficient (1/K), >= 0.
        r_th_line: thermal resistance of the lines (K/W), >= 0.
        c2c_radius: standard deviation of the radius from cycle to cycle, as a part of the cell's
            own, in [0, 0.3].
        c2c_length: standard deviation of ``l_disc`` likewise, in [0, 0.3].

    Raises:
        ValueError: if a parameter is out of its range.
    """

    ordered: ClassVar[tuple[tuple[str, str], ...]] = (
        ("n_min", "n_max"),
        ("l_disc", "l_cell"),
        ("fermi", "barrier"),
    )
    separable: ClassVar[bool] = False
    implicit: ClassVar[bool] = True
    # The current has kinks, at 0 V and where image forces take the whole barrier away.
    bend_tolerance: ClassVar[float] = 2e-3

    n_max: float | Spread = 20e26
    n_min: float | Spread = 0.008e26
    n_plug: float | Spread = 20e26
    radius: float | Spread = 45e-9
    l_disc: float | Spread = 0.4e-9
    l_cell: float | Spread = 3e-9
    mobility: float | Spread = 4e-6
    valence: float | Spread = 2.0
    hop: float | Spread = 0.25e-9
    attempts: float | Spread = 2e13
    activation: float | Spread = 1.35
    richardson: float | Spread = 6.01e5
    barrier: float | Spread = 0.18
    fermi: float | Spread = 0.1
    permittivity: float | Spread = 17.0
    permittivity_barrier: float | Spread = 5.5
    t_ambient: float | Spread = 293.0
    r_th: float | Spread = 15.72e6
    reset_heating: float | Spread = 0.27
    r_tiox: float | Spread = 650.0
    r_line: float | Spread = 719.2437
    alpha_line: float | Spread = 3.92e-3
    r_th_line: float | Spread = 90471.47
    c2c_radius: float = 0.0
    c2c_length: float = 0.0

    def __post_init__(self) -> None:
        positive = "n_max n_min n_plug radius l_disc l_cell mobility valence hop attempts"
        positive += " activation richardson barrier permittivity permittivity_barrier t_ambient"
        for name in (*positive.split(), "r_tiox"):
            near(name, getattr(self, name), getattr(JARTVCM, name))
        for name in ("fermi", "r_th", "reset_heating", "r_line", "alpha_line", "r_th_line"):
            near(name, getattr(self, name), getattr(JARTVCM, name), or_zero=True)
        for low, high in self.ordered:
            check_order(low, getattr(self, low), high, getattr(self, high))
        for name in ("c2c_radius", "c2c_length"):
            checks.number(name, getattr(self, name), least=0.0, most=0.3)
        longest = nominal(self.l_disc) * (1.0 + 3.0 * self.c2c_length)
        if longest >= nominal(self.l_cell):
            raise ValueError(
                f"c2c_length={self.c2c_length!r} would make discs of {longest:g} m; "
                f"they must be < l_cell={self.l_cell!r}"
            )

    @property
    def cells_type(self) -> type[Cells]:
        """The class of this device's populations: with a memory of cycles where they differ."""
        return JARTCells if self.c2c_radius or self.c2c_length else SwitchingCells

    @property
    def changing(self) -> tuple[str, ...]:
        """Names of what pulses change of the cells beside their states: their cycles."""
        return () if self.cells_type is SwitchingCells else jart_cycles.CYCLE

    def fabricate_state(self, context: Context) -> dict[str, Tensor]:
        """Draw the spreads, and begin the first cycle; see `SwitchingDevice.fabricate_state`."""
        drawn = super().fabricate_state(context)
        if self.cells_type is SwitchingCells:
            return drawn
        blank = torch.empty(context.shape, dtype=context.dtype, device=context.device)
        return {**drawn, **jart_cycles.at_rest(blank, self.parameters(drawn))}

    @property
    def set_polarity(self) -> int:
        """Negative voltages set the cell."""
        return -1

    # ---- the series circuit; energies in volts -----------------------------------------------

    def density(self, x: Any, p: Any) -> Any:
        """Return the density of vacancies in the disc (1/m³) at states ``x``."""
        return p.n_min * maths.exp(x * _span(p))

    def _disc(self, n: Any, p: Any) -> Any:
        return p.l_disc / (p.valence * _E * n * p.mobility * math.pi * p.radius**2)

    def _plug(self, p: Any) -> Any:
        square = p.valence * _E * p.n_plug * p.mobility * math.pi * p.radius**2
        return (p.l_cell - p.l_disc) / square

    def _lowered(self, s: Any, up: Any, n: Any, p: Any) -> Any:
        # The barrier (V) under image forces; s = |Vs|.
        psi = maths.positive(p.barrier - p.fermi + maths.where(up, -s, s))
        image = p.valence * n * _IMAGE / p.permittivity_barrier**3 * psi
        # At 0 the slope of a root is infinite: what is clipped has none.
        return maths.positive(p.barrier - maths.sqrt(maths.sqrt(maths.clip(image, 1e-36, 1e36))))

    def _thermionic(self, phi: Any, t: Any, p: Any) -> tuple[Any, Any]:
        """Return the logarithm of the saturation current (A) and the voltage scale (V)."""
        scale = _K * t
        area = math.pi * p.radius**2 * p.richardson
        return maths.log(area * t * t) - phi / scale, scale

    def _tunnelling(self, s: Any, phi: Any, n: Any, t: Any, p: Any) -> tuple[Any, Any]:
        """As `_thermionic`, for thermionic field emission."""
        w00 = _TUNNEL * maths.sqrt(p.valence * n / p.permittivity)
        ratio = w00 / (_K * t)
        part = maths.tanh(ratio)
        cube = ratio**3 * (1.0 / 3.0 - ratio**2 * (2.0 / 15.0 - ratio**2 * (17.0 / 315.0)))
        bend = maths.where(ratio < 0.05, cube, ratio - part)
        # Below 1e-8 V or so the law is taken for straight: a root's slope at 0 is infinite.
        field = maths.clip(math.pi * w00 * (s + phi * (1.0 - part * part)), 1e-10, math.inf)
        area = math.pi * p.radius**2 * p.richardson
        return maths.log(area * t / _K) + 0.5 * maths.log(field) - phi * part / w00, w00 / bend

    def _inside(self, s: Any, size: Any, up: Any, n: Any, p: Any) -> tuple[Any, Any, Any]:
        """Return current (A), temperature (K) and voltage over disc and plug and barrier (V).

        Args:
            s: voltage over the barrier (V), without its sign.
            size: voltage over the cell (V), without its sign.
            up: whether it is positive.
            n: density of vacancies (1/m³).
            p: parameters.
        """
        filament = self._disc(n, p) + self._plug(p)
        ohms = filament + p.r_tiox + p.r_line
        heated = p.r_line**2 * p.alpha_line * p.r_th_line
        # ohms I + heated I³ = rest, by the hyperbolic root of the cubic.
        rest = maths.positive(size - s) / ohms
        y = maths.clip(1.5 * rest * maths.sqrt(3.0 * heated / ohms), 1e-9, math.inf)
        i = rest * maths.sinh(maths.asinh(y) / 3.0) * 3.0 / y
        within = s + i * filament
        heat = p.r_th * maths.where(up, p.reset_heating, 1.0) * i * within
        return i, p.t_ambient + heat, within

    def _passed(self, s: Any, hot: Any, up: Any, n: Any, p: Any) -> tuple[Any, Any]:
        """Return logarithm of the barrier's saturation current (A), and its voltage scale (V)."""
        phi = self._lowered(s, up, n, p)
        if type(up) is bool:
            return self._thermionic(phi, hot, p) if up else self._tunnelling(s, phi, n, hot, p)
        over, through = self._thermionic(phi, hot, p), self._tunnelling(s, phi, n, hot, p)
        return maths.where(up, over[0], through[0]), maths.where(up, over[1], through[1])

    def _excess(self, t: Any, size: Any, up: Any, n: Any, p: Any) -> Any:
        """Return ``ln |Vs|`` less what the barrier needs for the current there, at ``ln |Vs|``."""
        s = maths.exp(t)
        i, hot, _ = self._inside(s, size, up, n, p)
        level, scale = self._passed(s, hot, up, n, p)
        needed = scale * maths.softplus(maths.log(maths.clip(i, 1e-35, math.inf)) - level)
        return t - maths.log(maths.clip(needed, 1e-35, math.inf))

    def _solved(self, n: Any, v: Any, p: Any) -> tuple[Any, Any, Any, Any]:
        """Return the voltage's sign (0 at 0 V), the current, temperature and inner voltage."""
        up = _one_sign(v >= 0.0)
        size = maths.where(up, v, -v) + (_NOTHING + 0.0 * n)

        def excess(t: Any) -> Any:
            return self._excess(t, size, up, n, p)

        with torch.no_grad():
            t, left, slope = _least_root(excess, size, self._lowest(size, up, n, p))
        if isinstance(t, Tensor) and torch.is_grad_enabled():
            # A step of Newton's method has the derivatives of the root by every argument.
            with torch.no_grad():
                slope = (excess(t + _STEP) - excess(t - _STEP)) / (2.0 * _STEP)
            left = excess(t)
        t = t - left / slope
        return v / size, *self._inside(maths.exp(t), size, up, n, p)

    def _lowest(self, size: Any, up: Any, n: Any, p: Any) -> Any:
        # Where the search starts: below the least root for v > 0, near the root for v < 0.
        drop = maths.log(maths.clip(size, 1e-30, math.inf))
        below = drop - maths.positive(self._excess(drop - 12.0, size, up, n, p) + 12.0)
        return maths.where(up, maths.clip(below, -80.0, 80.0), drop - 2.0)

    # ---- the cell ----------------------------------------------------------------------------

    def current_at(self, x: Any, v: Any, p: Any) -> Any:
        """Return the current (A) at states ``x`` under voltages ``v`` (V)."""
        n = self.density(x, p)
        sign, i, _, _ = self._solved(n, v, shaped(n, p))
        return sign * i

    def rate(self, x: Any, drive: tuple[Any, ...], p: Any) -> Any:
        """Return dx/dt (1/s)."""
        n = self.density(x, p)
        p = shaped(n, p)
        sign, i, hot, within = self._solved(n, drive[0], p)
        return -sign * self._speed(x, n, i, hot, within, sign >= 0.0, p)

    def settled(self, x: Any, v: Any, u: Any, p: Any) -> tuple[Any, Any, Any]:
        """Return what a voltage ``u`` over the barrier means; see `SwitchingDevice.settled`."""
        n, up = self.density(x, p), v >= 0.0
        p = shaped(n, p)
        # On the way to a solution ``u`` may be anything.
        size = abs(v)
        u = maths.positive(u) - maths.positive(u - size)
        i, hot, within = self._inside(u, size, up, n, p)
        hot = maths.clip(hot, 1.0, 1e6)
        speed = self._speed(x, n, i, hot, within, up, p)
        current, rate = maths.where(up, i, -i), maths.where(up, -speed, speed)

        def needed(up: bool) -> Any:
            level, scale = self._passed(u, hot, up, n, p)
            return scale * maths.log1p(i * maths.exp(maths.clip(-level, -99.0, 99.0)))

        # Within a microvolt one law passes into the other, lest solutions near 0 V jump.
        part = maths.clip(0.5 + 0.5 * v / _MERGED, 0.0, 1.0)
        return part * needed(True) + (1.0 - part) * needed(False), current, rate

    def _speed(self, x: Any, n: Any, i: Any, hot: Any, within: Any, up: Any, p: Any) -> Any:
        # |dx/dt| (1/s).
        field = maths.where(up, within / p.l_cell, i * self._disc(n, p) / p.l_disc)
        gamma = maths.clip(p.valence * p.hop * field / (math.pi * p.activation), 0.0, 1.0)
        eased = maths.sqrt(1.0 - gamma * gamma) + gamma * maths.asin(gamma)
        scale = _K * hot
        # Hops along the field, less those against it, added in the exponent.
        along = maths.exp(-p.activation * (eased - 0.5 * math.pi * gamma) / scale)
        net = along * -maths.expm1(-math.pi * p.activation * gamma / scale)
        span = _span(p)
        room = maths.where(up, x, 1.0 - x) * span
        speed = 0.5 * (p.n_plug / n + 1.0) * p.hop * p.attempts / p.l_disc / span
        return speed * net * -maths.expm1(-10.0 * room)

    def conductance_at(self, x: Any, p: Any) -> Any:
        """Return the low-voltage conductance (S) at states ``x``, for positive voltages."""
        n = self.density(x, p)
        p = shaped(n, p)
        level, scale = self._thermionic(self._lowered(0.0, True, n, p), p.t_ambient, p)
        ohms = self._disc(n, p) + self._plug(p) + p.r_tiox + p.r_line
        return 1.0 / (ohms + scale * maths.exp(-level))

    def state_at(self, g: Any, p: Any) -> Any:
        """Return the state of low-voltage conductance ``g`` (S), by bisection."""
        return maths.inverse(lambda x: self.conductance_at(x, p), g)


def _span(p: Any) -> Any:
    return maths.log(p.n_max / p.n_min)


def _one_sign(up: Any) -> Any:
    # Cells that all see voltages of one sign need one law alone.
    if type(up) is bool or not up.numel():
        return up
    every = bool(up.all())
    return every if every or not bool(up.any()) else up


def _least_root(excess: Any, size: Any, t: Any) -> tuple[Any, Any, Any]:
    """Return nearly the least root of ``excess``, which rises to it, below ``ln size``.

    Secants from the left of a root of a concave function do not pass it; only where the barrier is
    far from the published one may they leap over a root that has another just behind it. What
    leaves the bracket, and what has not ended after some secants, is bisected.

    Returns:
        Where the search ended, the excess and the slope there.
    """
    low, high = t - 100.0, maths.log(maths.clip(size, 1e-30, math.inf))
    close = _CLOSE.get(getattr(t, "dtype", torch.float64), 1e-7)
    past, before = t, excess(t)
    slope = 0.0 * t + 1.0
    t, done = t - before, abs(before) <= close
    for count in range(_SEARCHES):
        inside = done | ((t > low) & (t < high))
        t = maths.where(inside, t, 0.5 * (low + high))
        found = excess(t)
        moved = t != past
        secant = (found - before) / maths.where(moved, t - past, 0.0 * t + 1.0)
        slope = maths.where(moved, maths.clip(secant, 1e-3, math.inf), slope)
        done = abs(found) <= close
        if maths.every(done):
            break
        low = maths.where(done | (found >= 0.0), low, t)
        high = maths.where(done | (found < 0.0), high, t)
        ahead = t - found / slope if count < _SECANTS else 0.5 * (low + high)
        past, before, t = t, found, maths.where(done, t, ahead)
    return t, found, slope
