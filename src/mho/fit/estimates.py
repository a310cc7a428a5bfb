"""Estimates: the parameters of a fit, how sure they are, and how they hang together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mho.fit.calibration import Array


@dataclass(frozen=True)
class Estimate:
    """One parameter of a fit.

    Attributes:
        value: in SI units.
        error: its standard error; NaN where it is not known.
    """

    value: float
    error: float

    def __str__(self) -> str:
        """The value to the digits that its error leaves standing, ± the error."""
        if not np.isfinite(self.error) or self.error <= 0.0:
            return f"{self.value:.4g}"
        size = np.floor(np.log10(abs(self.value))) if self.value else 0.0
        digits = size - np.floor(np.log10(self.error)) + 2
        return f"{self.value:.{int(np.clip(digits, 2, 9))}g} ± {self.error:.2g}"


@dataclass(frozen=True)
class Estimates(Mapping[str, Estimate]):
    """Parameters by name, with their covariance.

    Attributes:
        names: of the parameters.
        point: in SI units, ``[parameters]``.
        covariance: of these, ``[parameters, parameters]``; NaN where it is not known.
    """

    names: tuple[str, ...]
    point: Array
    covariance: Array

    @classmethod
    def of_residuals(
        cls, names: tuple[str, ...], values: npt.ArrayLike, jacobian: Array, variance: float
    ) -> Estimates:
        """Return the estimates of a least-squares fit.

        Args:
            names: of the parameters.
            values: at the minimum.
            jacobian: of the residuals there, ``[residuals, parameters]``.
            variance: of one residual.
        """
        # In scaled columns: parameters may differ by twenty orders of magnitude.
        scale = np.linalg.norm(jacobian, axis=0)
        scale = np.where(scale > 0.0, scale, 1.0)
        inverse = np.linalg.pinv(jacobian / scale)
        covariance = variance * (inverse @ inverse.T) / np.outer(scale, scale)
        blind = ~jacobian.any(axis=0)  # what no residual depends on is not known at all
        covariance[blind, :] = covariance[:, blind] = np.nan
        return cls(names, np.asarray(values, np.float64), covariance)

    @property
    def errors(self) -> Array:
        """Standard errors, ``[parameters]``."""
        errors: Array = np.sqrt(np.diagonal(self.covariance))
        return errors

    @property
    def correlation(self) -> Array:
        """Correlation of every two parameters, ``[parameters, parameters]``."""
        errors = np.where(self.errors > 0.0, self.errors, np.nan)
        return self.covariance / np.outer(errors, errors)

    def __getitem__(self, name: str) -> Estimate:
        k = self.names.index(name) if name in self.names else None
        if k is None:
            raise KeyError(name)
        return Estimate(float(self.point[k]), float(self.errors[k]))

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __str__(self) -> str:
        """All in one line: ``name = value ± error, …``."""
        return ", ".join(f"{name} = {estimate}" for name, estimate in self.items())
