# ruff: noqa: N802, N999
"""Stochastic parameters: what every cell draws for itself.

Draws come from torch's global generator, which programs of the old API seed with
``torch.manual_seed``.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Normal

from mho.compat._common import require, truth, whole
from mho.core import notice

__all__ = ["Dict2Obj", "StochasticParameter", "unpack_parameters"]


class Generator:
    """A parameter that is drawn: what `StochasticParameter` returns.

    Calling it draws one value; ``sample(shape)`` draws many at once. Draws of the distribution
    beyond ``low`` and ``high`` count as these.
    """

    def __init__(self, distribution: Distribution, low: float, high: float) -> None:
        self.distribution = distribution
        self.min = low
        self.max = high

    @property
    def mean(self) -> Tensor:
        """The distribution's mean."""
        return self.distribution.mean

    def __call__(self, return_mean: bool = False) -> Any:
        """Return one value (a float), or the distribution's mean (a tensor)."""
        return_mean = truth("return_mean", return_mean)
        return self.mean if return_mean else self.sample().item()

    def sample(self, shape: tuple[int, ...] = ()) -> Tensor:
        """Draw values of the given shape in one go, clamped to ``[min, max]``."""
        return self.distribution.sample(torch.Size(shape)).clamp(self.min, self.max)

    def __repr__(self) -> str:
        return f"StochasticParameter({self.distribution}, min={self.min:g}, max={self.max:g})"


def StochasticParameter(
    distribution: type[Distribution] = torch.distributions.normal.Normal,
    min: float = 0,
    max: float = float("inf"),
    function: bool = True,
    **kwargs: Any,
) -> Any:
    """Model a stochastic parameter.

    Bounds given in the wrong order are put in order, with a warning. A normal distribution
    without parameters, but with two finite bounds, is centred between them, with the bounds at
    three standard deviations.

    Args:
        distribution: a class of ``torch.distributions``.
        min: smallest value; what is drawn below counts as this.
        max: largest value; likewise.
        function: return a generator (True) or one drawn value (False).
        **kwargs: the distribution's parameters.

    Returns:
        A `Generator`, or a float.

    Raises:
        Refused: if the distribution is none, or a parameter of it is missing or unknown.
    """
    function = truth("function", function)
    min, max = float(min), float(max)
    require(not math.isnan(min) and not math.isnan(max), f"bounds must be numbers: {min}, {max}")
    if min > max:
        notice.warn(f"min={min:g} exceeds max={max:g}: taken the other way round")
        min, max = max, min
    if not kwargs and distribution is Normal and math.isfinite(min) and math.isfinite(max):
        kwargs = {"loc": (min + max) / 2, "scale": (max - min) / 6}
    drawn = Generator(made(distribution, kwargs), min, max)
    return drawn if function else drawn()


def made(distribution: Any, kwargs: Mapping[str, Any], prefix: str = "") -> Distribution:
    """Return a distribution: a class of ``torch.distributions`` with its parameters.

    NumPy's numbers are numbers, and a ``scale`` of 0 is no spread. What `Refused` says of a
    parameter, missing or unknown, begins with the prefix.
    """
    require(
        isinstance(distribution, type) and issubclass(distribution, Distribution),
        f"distribution must be a class of torch.distributions, got {distribution!r}",
    )
    known = inspect.signature(distribution).parameters
    name = f"{prefix}{distribution.__name__}"
    unknown = sorted(set(kwargs) - set(known))
    require(not unknown, f"{name} has no parameter {', '.join(unknown)}")
    needed = [n for n, p in known.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    missing = [key for key in needed if key not in kwargs]
    require(not missing, f"{name} needs {', '.join(missing)}")
    numbers = (np.generic, np.ndarray)
    given = {n: v.item() if isinstance(v, numbers) else v for n, v in kwargs.items()}
    if given.get("scale") == 0:
        # No spread at all: torch refuses it, grids of simulations begin with it.
        given["validate_args"] = False
    return distribution(**given)


class Dict2Obj:
    """An object whose attributes are a dictionary's entries."""

    def __init__(self, dictionary: Mapping[str, Any]) -> None:
        # Set one by one, as an attribute ``__class__`` would change the object's type.
        for name, value in dictionary.items():
            if name != "__class__":
                setattr(self, name, value)

    def __repr__(self) -> str:
        return f"Dict2Obj({vars(self)!r})"


def unpack_parameters(
    local_args: Mapping[str, Any],
    r_rel_tol: float | None = None,
    r_abs_tol: float | None = None,
    resample_threshold: int = 5,
) -> Any:
    """Draw every stochastic parameter among the local arguments of a constructor.

    With a true ``reference`` among them (or among their ``kwargs``) means take the place of draws.
    Resistances ``r_on`` and ``r_off`` that come too close are drawn again.

    Args:
        local_args: ``locals()`` of the constructor.
        r_rel_tol: relative distance at which r_on and r_off are too close; None: 1e-9.
        r_abs_tol: absolute distance (Ω), instead.
        resample_threshold: how many times they are drawn again, >= 0.

    Returns:
        A `Dict2Obj` of all local arguments.

    Raises:
        Refused: if an argument is refused, or r_on and r_off stay too close.
    """
    require(r_rel_tol is None or r_abs_tol is None, "give r_rel_tol or r_abs_tol, not both")
    tries = whole("resample_threshold", resample_threshold, least=0)
    more = local_args.get("kwargs")
    flags = [local_args, more] if isinstance(more, Mapping) else [local_args]
    reference = any(flag.get("reference") for flag in flags)
    generators = {name: value for name, value in local_args.items() if _drawable(name, value)}
    args = Dict2Obj(local_args)

    def draw(*names: str) -> None:
        for name in names:
            if name in generators:
                setattr(args, name, float(generators[name](return_mean=bool(reference))))

    draw(*generators)
    if not (hasattr(args, "r_on") and hasattr(args, "r_off")):
        return args
    close = {"rel_tol": 1e-9 if r_rel_tol is None else r_rel_tol, "abs_tol": r_abs_tol or 0.0}
    fixed = reference or not {"r_on", "r_off"} & set(generators)
    for left in range(0 if fixed else tries, -1, -1):
        if not math.isclose(args.r_on, args.r_off, **close):
            break
        message = f"r_on and r_off are too close: {args.r_on:g} and {args.r_off:g} ohm"
        require(left > 0, message + ("" if fixed else f", after {tries} new draws"))
        draw("r_off", "r_on")
    return args


def _drawable(name: str, value: Any) -> bool:
    if "__" in name or name == "self" or not callable(value) or isinstance(value, type):
        return isinstance(value, Generator)
    try:  # a user's own generator: a function that can say its mean
        return "return_mean" in inspect.signature(value).parameters
    except (TypeError, ValueError):
        return False
