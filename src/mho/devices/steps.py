"""Step devices: the pulse responses used in analog training.

All share one convention. What counts is the conductance's place in the cell's own window,
``z = 2·(G − g_min)/(g_max − g_min) − 1`` in −1…1. A set pulse changes the conductance by
``ΔG = step·(1 + asymmetry)·f_set(z)``, a reset pulse by ``ΔG = −step·(1 − asymmetry)·f_reset(z)``,
and the devices differ in the two shapes f. Where a shape is 1 at the centre (all but `ExpStep`
and `PiecewiseStep`), ``step`` is the step at the centre of the window.

Source: T. Gokmen, Y. Vlasov, "Acceleration of deep neural network training with resistive
cross-point devices: design considerations", Frontiers in Neuroscience 2016,
doi 10.3389/fnins.2016.00333.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mho.cells.spread import Spread, check, check_part, check_window, spread_about
from mho.core import checks
from mho.core.constants import as_tensor, constant
from mho.devices.pulsed import PulsedDevice
from mho.devices.trains import LARGEST_EXPONENT, TINY, Cell, pick, relax

_FLAT = 1e-3  # a slope this small is none, for the noise of a train


@dataclass(frozen=True)
class StepDevice(PulsedDevice):
    """What all step devices share; a subclass says its `response`.

    Attributes:
        g_min: lowest conductance (S), >= 0; a number or a `Spread`.
        g_max: highest conductance (S), > g_min; a number or a `Spread`.
        step: step of a pulse (S), > 0, where its shape is 1; a number or a `Spread`.
        asymmetry: set steps are larger by this fraction and reset steps smaller, -1…1; a number
            or a `Spread` (a cell beyond ±1 has no step in one direction).
        d2d: standard deviation of ``step`` from cell to cell, as a fraction of it, >= 0 (steps
            stay positive); shorthand for giving ``step`` as a normal `Spread`.
        c2c: standard deviation of each pulse, as a fraction of the step it makes, >= 0; a number
            or a `Spread`.

    Raises:
        TypeError, ValueError: if a parameter is refused.
    """

    g_min: float | Spread = 1e-6
    g_max: float | Spread = 100e-6
    step: float | Spread = 100e-9
    asymmetry: float | Spread = 0.0
    d2d: float = 0.0
    c2c: float | Spread = 0.0

    def __post_init__(self) -> None:
        check_window(self.g_min, self.g_max)
        check("step", self.step, above=0.0)
        check("asymmetry", self.asymmetry, least=-1.0, most=1.0)
        check_part("d2d", self.d2d)
        check_part("c2c", self.c2c)
        if self.d2d and isinstance(self.step, Spread):
            raise ValueError("give either d2d or a Spread for step, not both")

    @property
    def noisy(self) -> bool:
        """Whether pulses differ from cycle to cycle."""
        return isinstance(self.c2c, Spread) or self.c2c > 0

    def spreads(self) -> dict[str, Spread]:
        """Return the parameters that differ from cell to cell."""
        spreads = super().spreads()
        if self.d2d and not isinstance(self.step, Spread):
            spreads["step"] = spread_about(self.step, self.d2d * self.step, low=0.0)
        return spreads

    def response(self, z: Tensor, up: Tensor, cell: Cell) -> Tensor:
        """Return the shapes ``f_set(z)`` where ``up``, ``f_reset(z)`` elsewhere (both >= 0).

        Args:
            z: place in the window, −1…1.
            up: true for set pulses.
            cell: parameters.
        """
        raise NotImplementedError(f"{type(self).__name__} must define response(z, up, cell)")

    def change(self, g: Tensor, up: Tensor, cell: Cell) -> Tensor:
        """Return the mean signed change (S) of one pulse; see `PulsedDevice.change`."""
        size = _step_size(up, cell, g.dtype) * self.response(_place(g, cell), up, cell)
        return torch.where(up, size, -size)

    def noise(self, g: Tensor, change: Tensor, cell: Cell) -> Tensor | float:
        """Return the standard deviation (S) of one pulse."""
        return cell["c2c"] * change


@dataclass(frozen=True)
class ConstantStep(StepDevice):
    """Every pulse makes the same step, up to hard bounds: ``f = 1``.

    The first device of Gokmen & Vlasov (2016), doi 10.3389/fnins.2016.00333; see `StepDevice`
    for the convention and the common parameters. A train of pulses has a closed form.
    """

    def response(self, z: Tensor, up: Tensor, cell: Cell) -> Tensor:
        """Return the shape, 1 everywhere; see `StepDevice.response`."""
        return torch.ones_like(z)

    def burst(self, g: Tensor, counts: Tensor, cell: Cell) -> Tensor:
        """Return the conductances (S) after noise-free trains; see `PulsedDevice.burst`."""
        return g + counts * _step_size(counts > 0, cell, g.dtype)

    def burst_std(self, g: Tensor, counts: Tensor, cell: Cell) -> Tensor:
        """Return the standard deviation (S) of trains; see `PulsedDevice.burst_std`."""
        size = _step_size(counts > 0, cell, g.dtype)
        return cell["c2c"] * size * counts.abs().sqrt()


@dataclass(frozen=True)
class LinearStep(StepDevice):
    """The step depends linearly on the conductance.

    ``f_set = 1 − slope_set·z``, ``f_reset = 1 + slope_reset·z``: slope 0 is a constant step,
    slope 1 vanishes at the bound ahead (soft bounds), a negative slope grows towards it. A train
    of pulses has a closed form.

    Source: Gokmen & Vlasov (2016), doi 10.3389/fnins.2016.00333; see `StepDevice` for the
    convention and the common parameters.

    Attributes:
        slope_set: -1…1; a number or a `Spread`.
        slope_reset: -1…1; a number or a `Spread`.
    """

    slope_set: float | Spread = 0.5
    slope_reset: float | Spread = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check("slope_set", self.slope_set, least=-1.0, most=1.0)
        check("slope_reset", self.slope_reset, least=-1.0, most=1.0)

    def response(self, z: Tensor, up: Tensor, cell: Cell) -> Tensor:
        """Return the shape; see `StepDevice.response`."""
        ahead = torch.where(up, z, -z)
        return (1.0 - pick(up, cell["slope_set"], cell["slope_reset"], ahead) * ahead).clamp_min(
            0.0
        )

    def burst(self, g: Tensor, counts: Tensor, cell: Cell) -> Tensor:
        """Return the conductances (S) after noise-free trains; see `PulsedDevice.burst`."""
        slope = (cell["slope_set"], cell["slope_reset"])
        return _linear_burst(g, counts, cell, pick(counts > 0, *slope, g))

    def burst_std(self, g: Tensor, counts: Tensor, cell: Cell) -> Tensor:
        """Return the standard deviation (S) of trains; see `PulsedDevice.burst_std`."""
        slope = (cell["slope_set"], cell["slope_reset"])
        return _linear_std(g, counts, cell, pick(counts > 0, *slope, g))


@dataclass(frozen=True)
class SoftBoundsDevice(StepDevice):
    """The step shrinks linearly to nothing at the bound ahead (ReRAM, ECRAM).

    ``f_set = 1 − z``, ``f_reset = 1 + z``: set and reset balance at the centre of the window. A
    train of n pulses has the closed form ``z_n = 1 − (1 − z)·(1 − s)ⁿ`` (set), with
    ``s = 2·step·(1 + asymmetry)/(g_max − g_min)``.

    Source: Gokmen & Vlasov (2016), doi 10.3389/fnins.2016.00333; soft bounds as in S. Fusi,
    L. F. Abbott, Nature Neuroscience 2007, doi 10.1038/nn1859. See `StepDevice` for the
    convention and the parameters.
    """

    def response(self, z: Tensor, up: Tensor, cell: Cell) -> Tensor:
        """Return the shape; see `StepDevice.response`."""
        return 1.0 - torch.where(up, z, -z)

    def burst(self, g: Tensor, counts: Tensor, cell: Cell) -> Tensor:
        """Return the conductances (S) after noise-free trains; see `PulsedDevice.burst`."""
        return _linear_burst(g, counts, cell, 1.0)

    def burst_std(self, g: Tensor, counts: Tensor, cell: Cell) -> Tensor:
        """Return the standard deviation (S) of trains; see `PulsedDevice.burst_std`."""
        return _linear_std(g, counts, cell, 1.0)


@dataclass(frozen=True)
class PowStep(StepDevice):
    """The step is a power of the distance to the bound ahead.

    ``f_set = (1 − z)^exponent_set``, ``f_reset = (1 + z)^exponent_reset``: exponent 0 is a
    constant step, 1 soft bounds.

    Source: S. Fusi, L. F. Abbott, "Limits on the memory storage capacity of bounded synapses",
    Nature Neuroscience 2007, doi 10.1038/nn1859; see `StepDevice` for the convention and the
    common parameters. (Where a step is quoted for ``((g_max − G)/(g_max − g_min))^γ``, as some
    do, ``step`` is that one divided by 2^γ.)

    Attributes:
        exponent_set: >= 0; a number or a `Spread`.
        exponent_reset: >= 0; a number or a `Spread`.
    """

    exponent_set: float | Spread = 1.0
    exponent_reset: float | Spread = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check("exponent_set", self.exponent_set, least=0.0)
        check("exponent_reset", self.exponent_reset, least=0.0)

    def response(self, z: Tensor, up: Tensor, cell: Cell) -> Tensor:
        """Return the shape; see `StepDevice.response`."""
        room = (1.0 - torch.where(up, z, -z)).clamp_min(0.0)
        power = pick(up, cell["exponent_set"], cell["exponent_reset"], z)
        result: Tensor = room**power
        return result


@dataclass(frozen=True)
class ExpStep(StepDevice):
    """The step falls exponentially towards the bound ahead.

    ``f_set = max(1 − amplitude_set·e^(rate_set·z), 0)``,
    ``f_reset = max(1 − amplitude_reset·e^(−rate_reset·z), 0)``. (Where a scale a and an offset b of
    z are quoted, ``e^(γ(a·z + b))``, the rate is γ·a and the amplitude absorbs ``e^(γ·b)``.)

    Source: N. Gong, T. Idé, S. Kim et al., "Signal and noise extraction from analog memory
    elements for neuromorphic computing", Nature Communications 2018,
    doi 10.1038/s41467-018-04485-1; see `StepDevice` for the convention and the common parameters.

    Attributes:
        amplitude_set: >= 0; a number or a `Spread`.
        amplitude_reset: >= 0; a number or a `Spread`.
        rate_set: steepness in z; a number or a `Spread`.
        rate_reset: steepness in z; a number or a `Spread`.
    """

    amplitude_set: float | Spread = 0.0166
    amplitude_reset: float | Spread = 0.0166
    rate_set: float | Spread = 3.04
    rate_reset: float | Spread = 3.12

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("amplitude_set", "amplitude_reset"):
            check(name, getattr(self, name), least=0.0)
        for name in ("rate_set", "rate_reset"):
            check(name, getattr(self, name))

    def response(self, z: Tensor, up: Tensor, cell: Cell) -> Tensor:
        """Return the shape; see `StepDevice.response`."""
        ahead = torch.where(up, z, -z)
        rate = pick(up, cell["rate_set"], cell["rate_reset"], ahead)
        amplitude = pick(up, cell["amplitude_set"], cell["amplitude_reset"], ahead)
        return (1.0 - amplitude * (rate * ahead).exp()).clamp_min(0.0)


@dataclass(frozen=True)
class PiecewiseStep(StepDevice):
    """The step is given at nodes over the window, linear between them.

    ``f`` runs through ``factors[0]`` at ``g_min`` to ``factors[-1]`` at ``g_max``, nodes evenly
    spaced, in both directions.

    Source: the measured-response device of analog training after Gokmen & Vlasov (2016),
    doi 10.3389/fnins.2016.00333; see `StepDevice` for the convention and the common parameters.

    Attributes:
        factors_set: at least two factors of a set pulse's step, >= 0, not all 0.
        factors_reset: the same for a reset pulse.
    """

    factors_set: tuple[float, ...] = (1.0, 1.0)
    factors_reset: tuple[float, ...] = (1.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("factors_set", "factors_reset"):
            factors = getattr(self, name)
            checks.instance(name, factors, (tuple, list))
            if len(factors) < 2:
                raise ValueError(f"{name} must have at least 2 entries, got {factors!r}")
            for i, factor in enumerate(factors):
                checks.number(f"{name}[{i}]", factor, least=0.0)
            if not any(factors):
                raise ValueError(f"{name} must not be all 0: no pulse would act")
            object.__setattr__(self, name, tuple(map(float, factors)))

    def response(self, z: Tensor, up: Tensor, cell: Cell) -> Tensor:
        """Return the shape; see `StepDevice.response`."""
        return torch.where(up, _between(z, self.factors_set), _between(z, self.factors_reset))


def _place(g: Tensor, cell: Cell) -> Tensor:
    return 2.0 * (g - cell["g_min"]) / (cell["g_max"] - cell["g_min"]) - 1.0


def _step_size(up: Tensor, cell: Cell, dtype: torch.dtype) -> Tensor:
    # The step (S) by direction; a spread that reaches beyond asymmetry ±1 must not turn it round.
    sign = torch.where(up, 1.0, -1.0).to(dtype)
    return cell["step"] * (1.0 + sign * cell["asymmetry"]).clamp_min(0.0)


def _linear_burst(g: Tensor, counts: Tensor, cell: Cell, slope: float | Tensor) -> Tensor:
    # In the frame that looks ahead one pulse is y ← y + s·(1 − slope·y), an affine map.
    ahead = torch.where(counts > 0, 1.0, -1.0).to(g.dtype)
    width = cell["g_max"] - cell["g_min"]
    s = 2.0 * _step_size(counts > 0, cell, g.dtype) / width
    # A step as large as the distance to the fixed point is there (or at the bound) at once.
    shrink = (s * slope).clamp(max=1.0 - 1e-7)
    rate = -torch.log1p(-shrink)
    ratio = torch.where(shrink.abs() < TINY, torch.ones_like(shrink), rate / shrink)
    y = relax(ahead * _place(g, cell), rate, s * ratio, counts.abs())
    return cell["g_min"] + width * (ahead * y + 1.0) / 2.0


def _linear_std(g: Tensor, counts: Tensor, cell: Cell, slope: float | Tensor) -> Tensor:
    # One pulse multiplies y = 1 − slope·z by 1 − r·(1 + c·ε), so that the second moment of y grows
    # by (1 − r)² + (r·c)² a pulse: Var y = y₀² (1 − r)^(2n) ((1 + ρ)^n − 1), ρ = (r·c/(1 − r))².
    ahead = torch.where(counts > 0, 1.0, -1.0).to(g.dtype)
    width = cell["g_max"] - cell["g_min"]
    slope = as_tensor(slope, g)
    slope = torch.where(slope.abs() < _FLAT, _FLAT, slope)
    r = (2.0 * _step_size(counts > 0, cell, g.dtype) / width * slope).clamp(max=1.0 - 1e-7)
    n, y = counts.abs(), 1.0 - slope * ahead * _place(g, cell)
    grown = (n * (r * cell["c2c"] / (1.0 - r)).square().log1p()).clamp(max=LARGEST_EXPONENT)
    left = (n * torch.log1p(-r)).exp()
    return width / 2.0 * (y * left / slope).abs() * grown.expm1().sqrt()


def _between(z: Tensor, factors: tuple[float, ...]) -> Tensor:
    nodes = constant(factors, z.dtype, z.device)
    position = (z.clamp(-1.0, 1.0) + 1.0) / 2.0 * (len(factors) - 1)
    left = position.floor().clamp(max=len(factors) - 2).long()
    return torch.lerp(nodes[left], nodes[left + 1], position - left)
