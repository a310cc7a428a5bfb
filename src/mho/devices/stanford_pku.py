"""The Stanford–PKU filament model of metal-oxide RRAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mho.cells.spread import Spread, check, check_order
from mho.core import checks
from mho.devices import maths
from mho.devices.switching import SwitchingDevice

_Q_OVER_K = 1.602176634e-19 / 1.380649e-23  # K per volt

# sinh(60) moves any gap within 1e-15 s; the bound only keeps float32 finite.
_STEEPEST = 60.0


@dataclass(frozen=True)
class StanfordPKU(SwitchingDevice):
    """A filament whose gap to the electrode grows and shrinks, heated by its own current.

        I = i0 · exp(-gap/g0) · sinh(v/v0)
        d gap = -velocity · exp(-q E_a/kT) · sinh(γ a0 q v/(t_ox kT)) dt + σ(T) dW
        γ = gamma0 - beta (gap/1 nm)³,  0 where γ |v|/t_ox < f_min (and never negative)
        T = t_ambient + |v I| · r_th
        σ(T) = delta_gap · √noise_time / (1 + exp((t_crit - T)/t_smooth))

    The state held is ``x = (gap_max - gap)/(gap_max - gap_min)``. A positive voltage sets the
    cell (``set_polarity`` = +1).

    The random term is a stochastic differential equation (Itô): its increments grow with √dt,
    so halving the step does not change the statistics. The published code adds
    ``N(0, 1) · delta_gap/(1 + …)`` to d gap/dt at every step of the simulator, so that the
    variance depends on the step; both agree where the step is ``noise_time``, here by default
    the 1 ps of the published benchmark decks. ``delta_gap`` = 0 switches the noise off.

    The published term has no factor of the voltage, and so acts at 0 V too: the gap diffuses at
    rest between ``gap_min`` and ``gap_max``, which reflect it. With the default numbers and
    298 K, σ = 8.5 nm/√s: a gap of 0.5 nm is spread by 8.5 pm after 1 µs, by 85 pm (a third of g0,
    34 % in the current) after 0.1 ms, and has forgotten its state (uniform over the 1.5 nm)
    within 30 ms. The term was published for the fluctuations of switching; for storage, take the
    preset ``hfox_stanford_pku_retentive``, whose random term acts on hot cells only, or set
    ``delta_gap`` to 0, or to what measured retention allows.

    Source: Jiang, Yu, Wu, Engel, Guan & Wong 2014, doi 10.1109/SISPAD.2014.6931558; Jiang et
    al. 2016, doi 10.1109/TED.2016.2545412.

    Attributes:
        i0: current scale (A), > 0.
        g0: length scale of the current (m), > 0.
        v0: voltage scale of the current (V), > 0.
        velocity: attempt velocity of the gap (m/s), > 0.
        gamma0: field enhancement without a gap, > 0.
        beta: loss of enhancement with the gap, >= 0.
        e_a: activation energy (eV), > 0.
        a0: hopping distance (m), > 0.
        t_ox: oxide thickness (m), > 0.
        f_min: least enhanced field that moves the gap (V/m), >= 0.
        gap_min: gap at x = 1 (m), > 0.
        gap_max: gap at x = 0 (m), > gap_min.
        t_ambient: ambient temperature (K), > 0.
        r_th: thermal resistance (K/W), >= 0.
        delta_gap: velocity noise of the gap (m/s), >= 0.
        noise_time: time over which ``delta_gap`` is one draw (s), > 0.
        t_crit: temperature of the noise's onset (K).
        t_smooth: width of the onset (K), > 0.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    ordered: ClassVar[tuple[tuple[str, str], ...]] = (("gap_min", "gap_max"),)
    signed: ClassVar[tuple[str, ...]] = ("t_crit",)

    i0: float | Spread = 1e-3
    g0: float | Spread = 0.25e-9
    v0: float | Spread = 0.25
    velocity: float | Spread = 10.0
    gamma0: float | Spread = 16.0
    beta: float | Spread = 0.8
    e_a: float | Spread = 0.6
    a0: float | Spread = 0.25e-9
    t_ox: float | Spread = 12e-9
    f_min: float | Spread = 1.4e9
    gap_min: float | Spread = 0.2e-9
    gap_max: float | Spread = 1.7e-9
    t_ambient: float | Spread = 298.0
    r_th: float | Spread = 2.1e3
    delta_gap: float | Spread = 0.02
    noise_time: float = 1e-12
    t_crit: float | Spread = 450.0
    t_smooth: float | Spread = 500.0

    def __post_init__(self) -> None:
        positive = "i0 g0 v0 velocity gamma0 e_a a0 t_ox gap_min gap_max t_ambient t_smooth"
        for name in positive.split():
            check(name, getattr(self, name), above=0.0)
        for name in ("beta", "f_min", "r_th", "delta_gap"):
            check(name, getattr(self, name), least=0.0)
        check("t_crit", self.t_crit)
        checks.number("noise_time", self.noise_time, above=0.0)
        check_order("gap_min", self.gap_min, "gap_max", self.gap_max)

    @property
    def stochastic(self) -> bool:
        """Whether the gap has a random term."""
        return self.delta_gap != 0.0

    def drive(self, v: Any, p: Any) -> tuple[Any, ...]:
        """Return the voltage (V) and ``sinh(v/v0)``."""
        return v, maths.sinh(v / p.v0)

    def _temperature(self, x: Any, drive: tuple[Any, ...], p: Any) -> tuple[Any, Any]:
        v, steepness = drive
        gap = p.gap_max - x * (p.gap_max - p.gap_min)
        power = abs(v * steepness) * p.i0 * maths.exp(-gap / p.g0)
        return gap, p.t_ambient + power * p.r_th

    def rate(self, x: Any, drive: tuple[Any, ...], p: Any) -> Any:
        """Return the drift of x (1/s)."""
        v = drive[0]
        gap, temperature = self._temperature(x, drive, p)
        per_volt = _Q_OVER_K / temperature
        gamma = maths.positive(p.gamma0 - p.beta * (gap * 1e9) ** 3)
        gamma = maths.where(gamma * abs(v) >= p.f_min * p.t_ox, gamma, 0.0 * gamma)
        steep = maths.clip(gamma * p.a0 * v / p.t_ox * per_volt, -_STEEPEST, _STEEPEST)
        hops = p.velocity * maths.exp(-p.e_a * per_volt) * maths.sinh(steep)
        return hops / (p.gap_max - p.gap_min)

    def diffusion(self, x: Any, drive: tuple[Any, ...], p: Any) -> Any:
        """Return the noise intensity of x (1/√s)."""
        _, temperature = self._temperature(x, drive, p)
        onset = 1.0 + maths.exp((p.t_crit - temperature) / p.t_smooth)
        return p.delta_gap * p.noise_time**0.5 / onset / (p.gap_max - p.gap_min)

    def conductance_at(self, x: Any, p: Any) -> Any:
        """Return the low-voltage conductance (S) at states ``x``."""
        gap = p.gap_max - x * (p.gap_max - p.gap_min)
        return p.i0 / p.v0 * maths.exp(-gap / p.g0)

    def state_at(self, g: Any, p: Any) -> Any:
        """Return the state of low-voltage conductance ``g`` (S)."""
        gap = -p.g0 * maths.log(g * p.v0 / p.i0)
        return (p.gap_max - gap) / (p.gap_max - p.gap_min)

    def transfer_at(self, v: Any, p: Any) -> Any:
        """Return ``v0 · sinh(v/v0)`` (V)."""
        return p.v0 * maths.sinh(v / p.v0)
