"""Heteroscedastic Gaussian-process (Kriging) regression of noisy pairs: mean and noise profiles."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from mho.core.extras import need

Array = npt.NDArray[np.float64]

_SMALLEST_GROUP, _MOST_GROUPS, _ROUNDS = 8, 200, 2
_FLOOR = 1e-12  # of a variance, relative to that of all data: noise-free pairs stay solvable


def profiles(x: Array, y: Array, at: Array, *, groups: int = _MOST_GROUPS) -> tuple[Array, Array]:
    """Return the mean and the standard deviation of y over x.

    Two Gaussian processes in turn: one for the mean, weighted by the noise as known so far; one
    for the logarithm of the noise variance, on the squared residuals of the first. Both see
    groups of neighbours in x. A group's mean of n data has the variance ``σ²/n``; the logarithm
    of its mean squared residual has the bias ``ψ(n/2) − ln(n/2)`` and the variance ``ψ₁(n/2)``
    (χ² of n degrees of freedom, with the di- and trigamma functions). Both are taken into account,
    so little is lost, and the cost does not grow with the number of data. The deviation returned
    is that of a new datum: the noise, and the (mostly small) doubt about the mean.

    Source: K. Kersting, C. Plagemann, P. Pfaff, W. Burgard, "Most likely heteroscedastic Gaussian
    process regression", ICML 2007, doi 10.1145/1273496.1273546.

    Args:
        x: places of the data, not all alike.
        y: data, as many.
        at: places of the profiles.
        groups: at most so many; the cost grows with their third power.

    Returns:
        Mean and standard deviation at ``at``.

    Raises:
        ImportError: if scikit-learn is missing.
    """
    low, width = x.min(), x.max() - x.min()
    level, scale = y.mean(), y.std() or 1.0
    x, at, y = (x - low) / width, (at - low) / width, (y - level) / scale
    parts = _groups(x, groups)
    size = np.array([len(part) for part in parts])
    centre = np.array([x[part].mean() for part in parts])
    value = np.array([y[part].mean() for part in parts])
    variance = np.full(len(parts), np.mean([y[part].var() for part in parts]) + _FLOOR)
    mean = _regression(centre, value, variance / size)
    for _ in range(_ROUNDS):
        squared = (y - mean.predict(x[:, None])) ** 2
        # The mean followed each group's own data in part: that freedom is spent.
        free = size - 1.0 + (1.0 - _leverage(mean)) ** 2
        spread = np.array([squared[part].sum() for part in parts]) / free
        bias = scipy.special.digamma(free / 2) - np.log(free / 2)
        logarithm = np.log(spread + _FLOOR) - bias
        typical = logarithm.mean()
        noise = _regression(centre, logarithm - typical, scipy.special.polygamma(1, free / 2))
        variance = np.exp(noise.predict(centre[:, None]) + typical)
        mean = _regression(centre, value, variance / size)
    middle, doubt = mean.predict(at[:, None], return_std=True)
    deviation = np.sqrt(np.exp(noise.predict(at[:, None]) + typical) + doubt**2)
    return level + scale * middle, scale * deviation


def _groups(x: Array, most: int) -> list[npt.NDArray[np.intp]]:
    number = max(2, min(len(x) // _SMALLEST_GROUP, most))
    return np.array_split(np.argsort(x, kind="stable"), number)


def _regression(x: Array, y: Array, variance: Array) -> Any:
    process, kernels = _sklearn()
    kernel = kernels.ConstantKernel(1.0, (1e-4, 1e4)) * kernels.RBF(0.3, (0.03, 30.0))
    with warnings.catch_warnings():
        # A length scale at its bound is a straight line or noise: both are meant to be allowed.
        warnings.simplefilter("ignore")
        return process(kernel, alpha=variance + 1e-10).fit(x[:, None], y)


def _leverage(process: Any) -> Array:
    # How much each group's fitted mean follows the group's own: the diagonal of K(K + A)⁻¹.
    kernel = process.kernel_(process.X_train_)
    smoother: Array = np.linalg.solve(kernel + np.diag(process.alpha), kernel)
    return np.diag(smoother)


def _sklearn() -> tuple[Any, Any]:
    # An extra, and slow to import: asked for only by who fits.
    process = need("sklearn.gaussian_process", "viz")
    return process.GaussianProcessRegressor, process.kernels
