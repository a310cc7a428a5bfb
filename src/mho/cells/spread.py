"""Spread: a device parameter that every cell draws for itself when it is fabricated (d2d)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import distributions as td

from mho.core import checks, random
from mho.core.spec import Spec, derived

UNSEEN_ROUNDS = 3
"""Times that crossing parameters are drawn again where nobody may look how many there are."""

_MAX_REDRAWS = 1000
_LEAST_SHARE = 1e-15


LARGEST_CONDUCTANCE = 1e9
"""S: no cell comes near it, and 32 bits hold its square."""


@dataclass(frozen=True)
class Spread(Spec):
    """A parameter drawn per cell from a distribution, inside optional bounds.

    ``Spread(Normal(1e-6, 1e-7), low=0)`` takes any ``torch.distributions`` object with scalar
    parameters; what is kept are its name and its numbers. Draws outside the bounds are drawn
    again (truncation), not clamped, so no spike of cells gathers at a bound.

    Spreads of one device that name the same ``shared`` cause vary together, cell by cell: two of
    them with correlations a and b are joined by a Gaussian copula of correlation
    ``sign(a b) √|a b|``, which is the correlation itself where both state the same one::

        VTEAM(r_on=Spread(Normal(50.0, 5.0), shared="film", correlation=0.8),
              r_off=Spread(LogNormal(6.9, 0.1), shared="film", correlation=0.8))

    Each keeps its own distribution. Where it is normal and unbounded the correlation is that of
    the values too; else it is that of the normal scores behind them.

    Attributes:
        distribution: a ``torch.distributions`` object, or the name of its class.
        parameters: the distribution's parameters as ``((name, value), …)``; taken from the
            object when one is given.
        low: smallest value allowed.
        high: largest value allowed.
        shared: name of what makes this parameter vary with others of the same device.
        correlation: with the others of that name, in [-1, 1]; needs a distribution whose quantile
            function (``icdf``) torch knows.
    """

    distribution: Any
    parameters: tuple[tuple[str, float], ...] = ()
    low: float | None = None
    high: float | None = None
    shared: str | None = None
    correlation: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.distribution, td.Distribution):
            given = self.distribution
            names = given.arg_constraints or {}
            values = tuple((name, _scalar(name, getattr(given, name))) for name in names)
            # Distributions with two parametrisations (probs/logits) list both: one is enough.
            if {"probs", "logits"} <= {name for name, _ in values}:
                values = tuple(pair for pair in values if pair[0] != "logits")
            object.__setattr__(self, "distribution", type(given).__name__)
            object.__setattr__(self, "parameters", values)
        checks.instance("distribution", self.distribution, str)
        if not hasattr(td, self.distribution):
            raise ValueError(
                f"distribution must name a torch distribution, got {self.distribution!r}"
            )
        object.__setattr__(
            self, "parameters", tuple((str(n), float(v)) for n, v in self.parameters)
        )
        for name, value in self.parameters:
            checks.sized(f"{self.distribution} {name}", value)
        for name, bound in (("low", self.low), ("high", self.high)):
            if bound is not None:
                checks.number(name, bound)
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low must be < high, got low={self.low!r}, high={self.high!r}")
        self.build(validate_args=True)  # whatever torch's default is by now
        self._check_shared()

    def _check_shared(self) -> None:
        checks.number("correlation", self.correlation, least=-1.0, most=1.0)
        if self.shared is None:
            if self.correlation:
                raise ValueError(
                    f"correlation must be 0 without a shared cause, got {self.correlation!r}; "
                    "name the cause by shared='…'"
                )
            return
        checks.instance("shared", self.shared, str)
        if not self._has_quantile:
            raise ValueError(
                f"shared={self.shared!r} needs a distribution with cdf and icdf (as Normal, "
                f"LogNormal, Uniform, Laplace or Weibull), got {self.distribution!r}"
            )

    @derived
    def _has_quantile(self) -> bool:
        distribution, half = self.build(), torch.tensor(0.5, dtype=torch.float64)
        try:
            distribution.cdf(distribution.icdf(half))
        except NotImplementedError:
            return False
        return True

    @property
    def loading(self) -> float:
        """How much of the normal score behind a value is the shared cause's, in [-1, 1]."""
        return math.copysign(math.sqrt(abs(self.correlation)), self.correlation)

    def quantile(self, score: Tensor) -> Tensor:
        """Return the values of standard-normal scores, inside the bounds (float64).

        Args:
            score: any shape.

        Raises:
            ValueError: if the bounds leave (almost) nothing of the distribution.
        """
        distribution = self.build(validate_args=False)  # a bound may lie outside the support
        edges = [0.0, 1.0]
        for k, bound in enumerate((self.low, self.high)):
            if bound is not None:
                share = float(distribution.cdf(torch.tensor(bound, dtype=torch.float64)))
                edges[k] = edges[k] if math.isnan(share) else share
        if not edges[1] - edges[0] > 1.0 / _MAX_REDRAWS:
            raise ValueError(f"no draw of {self} falls inside [{self.low}, {self.high}]")
        share = edges[0] + (edges[1] - edges[0]) * torch.special.ndtr(score.double())
        # Neither end is ever drawn: the quantile there may be infinite.
        return distribution.icdf(share.clamp(_LEAST_SHARE, 1.0 - _LEAST_SHARE))

    def build(self, *, validate_args: bool | None = None) -> td.Distribution:
        """Return the torch distribution (float64, so that small parameters keep their digits).

        Args:
            validate_args: whether it checks its arguments; torch's default if not given.
        """
        kind = getattr(td, self.distribution)
        values = {n: torch.tensor(v, dtype=torch.float64) for n, v in self.parameters}
        return kind(**values, validate_args=validate_args)

    @derived
    def nominal(self) -> float:
        """The value that stands for all cells: the distribution's mean, put inside the bounds."""
        mean = float(self.build().mean)
        if not math.isfinite(mean):
            mean = float(self.build().icdf(torch.tensor(0.5, dtype=torch.float64)))
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return min(max(mean, low), high)

    def sample(
        self,
        shape: tuple[int, ...],
        generator: torch.Generator | None,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Draw one value per cell.

        Args:
            shape: of the population.
            generator: source of randomness; None is torch's default generator of the CPU, the
                only one that ``torch.distributions`` knows (for any other it is seeded from
                there and given back as it was). On an accelerator values are quantiles, drawn
                there, wherever torch knows these.
            dtype: of the result.
            device: of the result.

        Raises:
            ValueError: if the bounds leave (almost) nothing of the distribution.
        """
        device = torch.device(device)
        if generator is None and torch.compiler.is_compiling():
            names, values = zip(*self.parameters, strict=True)
            like = torch.empty(shape, dtype=dtype, device=device)
            bounds = self.low, self.high
            found: Tensor = _traced(like, self.distribution, ",".join(names), values, *bounds)
            return found
        hosted = generator is not None and generator.device.type == "cpu"
        if hosted or device.type in ("cpu", "mps") or not self._has_quantile:
            return self._on_host(shape, generator).to(dtype=dtype, device=device, non_blocking=True)
        kind: Any = {"dtype": torch.float64, "device": device}
        return self.quantile(torch.randn(shape, generator=generator, **kind)).to(dtype)

    def _on_host(self, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
        if generator is None:
            return self._truncated(shape)
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: that would seed every accelerator too, and for good.
            torch.default_generator.manual_seed(seed)
            return self._truncated(shape)

    def _truncated(self, shape: tuple[int, ...]) -> Tensor:
        distribution = self.build()
        value = distribution.sample(torch.Size(shape))
        if self.low is None and self.high is None:
            return value
        for _ in range(_MAX_REDRAWS):
            outside = torch.zeros_like(value, dtype=torch.bool)
            if self.low is not None:
                outside |= value < self.low
            if self.high is not None:
                outside |= value > self.high
            missing = int(outside.sum())
            if not missing:
                return value
            value[outside] = distribution.sample(torch.Size((missing,)))
        raise ValueError(f"no draw of {self} falls inside [{self.low}, {self.high}]")


@torch.library.custom_op("mho::spread", mutates_args=(), tags=(torch.Tag.nondeterministic_seeded,))
def _traced(
    like: Tensor,
    distribution: str,
    names: str,
    values: Sequence[float],
    low: float | None,
    high: float | None,
) -> Tensor:
    # One opaque operator: how often truncated values are drawn again cannot be traced.
    spread = Spread(distribution, tuple(zip(names.split(","), values, strict=True)), low, high)
    source = random.training_source(like.device)
    return spread.sample(tuple(like.shape), source, dtype=like.dtype, device=like.device)


@_traced.register_fake
def _(
    like: Tensor,
    distribution: str,
    names: str,
    values: Sequence[float],
    low: float | None,
    high: float | None,
) -> Tensor:
    return torch.empty_like(like)


def nominal(value: float | Spread) -> float:
    """Return the number that stands for a parameter: itself, or a spread's nominal value."""
    return value.nominal if isinstance(value, Spread) else float(value)


def _scalar(name: str, value: Any) -> float:
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ValueError(f"{name} of a Spread's distribution must be one number, got {value!r}")
    number = float(value)
    single = isinstance(value, Tensor) and value.dtype == torch.float32
    # torch stores 1e-6 as a float32; keep the seven digits that were meant, not its noise.
    return float(f"{number:.7g}") if single else number


def check(name: str, value: float | Spread, **bounds: float) -> None:
    """Refuse a parameter, or the nominal value of a spread one, out of bounds.

    Raises:
        TypeError: if it is neither a number nor a `Spread`.
        ValueError: if it is out of the bounds of `mho.core.checks.number`.
    """
    checks.number(name, value.nominal if isinstance(value, Spread) else value, **bounds)


_FAR = 1e4
"""By what factor a parameter of a fitted physical model may differ from the published one."""


def near(
    name: str,
    value: float | Spread,
    published: float,
    *,
    or_zero: bool = False,
    factor: float = _FAR,
) -> None:
    """Refuse a parameter of a physical model of which nothing can be computed any more.

    Args:
        name: the parameter.
        value: what was given.
        published: what it is in the model's source, > 0.
        or_zero: whether smaller ones are allowed, too, down to 0.
        factor: by which it may differ from what was published.

    Raises:
        TypeError, ValueError: as `check`, with bounds of this factor.
    """
    check(name, value, least=0.0 if or_zero else published / factor, most=published * factor)


def positive(name: str, value: float | Spread) -> float | Spread:
    """Return a parameter that is > 0 everywhere: a spread one without a lower bound gets it at 0.

    Raises:
        TypeError: if it is neither a number nor a `Spread`.
        ValueError: if it, its nominal value or its lower bound is not positive.
    """
    check(name, value, above=0.0)
    if not isinstance(value, Spread):
        return value
    if value.low is not None and value.low < 0.0:
        raise ValueError(f"{name} must be > 0, got a Spread of low={value.low!r}; leave low=0")
    return value.replace(low=0.0) if value.low is None else value


def not_negative(name: str, value: float | Spread) -> float | Spread:
    """Return a parameter that is >= 0 everywhere: a spread one without a lower bound gets it at 0.

    Raises:
        TypeError: if it is neither a number nor a `Spread`.
        ValueError: if it, its nominal value or its lower bound is negative.
    """
    check(name, value, least=0.0)
    if not isinstance(value, Spread):
        return value
    if value.low is not None and value.low < 0.0:
        raise ValueError(f"{name} must be >= 0, got a Spread of low={value.low!r}; leave low=0")
    return value.replace(low=0.0) if value.low is None else value


def refuse_shared(spec: Any) -> None:
    """Refuse spreads that share a cause where each is drawn for itself: all but a device's own.

    Args:
        spec: an effect or a part of the periphery, with its parts.

    Raises:
        ValueError: if one of its fields is such a spread.
    """
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if isinstance(value, Spread):
            if value.shared is not None:
                raise ValueError(
                    f"{type(spec).__name__} {field.name} must not share a cause, got "
                    f"shared={value.shared!r}: only a device's own parameters are drawn together"
                )
        elif dataclasses.is_dataclass(value):
            refuse_shared(value)


def check_order(low: str, low_value: float | Spread, high: str, high_value: float | Spread) -> None:
    """Refuse two parameters whose nominal values are not in order (ValueError)."""
    if nominal(low_value) >= nominal(high_value):
        raise ValueError(f"{low} must be < {high}, got {low}={low_value!r}, {high}={high_value!r}")


def check_window(low: float | Spread, high: float | Spread) -> None:
    """Refuse a programmable window that is negative, empty or turned round."""
    check("g_min", low, least=0.0)
    check("g_max", high, above=0.0, most=LARGEST_CONDUCTANCE)
    check_order("g_min", low, "g_max", high)


def check_part(name: str, value: float | Spread) -> None:
    """Refuse a standard deviation, as a part of something, that is not in [0, 100]."""
    check(name, value, least=0.0, most=100.0)


def spread_about(
    mean: float, sigma: float, *, low: float | None = None, high: float | None = None
) -> Spread:
    """Return the normal d2d spread of a parameter, inside optional bounds."""
    return Spread("Normal", (("loc", mean), ("scale", sigma)), low=low, high=high)
