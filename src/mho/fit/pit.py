"""Do held-out errors have the distribution predicted for them?

The probability integral transform of a datum is the probability that was predicted of a smaller
one; of a right prediction it is uniform (A. P. Dawid, JRSS A 1984, doi 10.2307/2981683).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from mho.fit.calibration import LEVELS, OUR_STREAM, Array, Calibration

_TELLING = 4.0  # standard errors


@dataclass(frozen=True)
class Agreement:
    """Of held-out data with their predicted distribution.

    Attributes:
        transforms: probability predicted of a smaller datum, of every held-out one, shaped as they.
        distance: of Kolmogorov and Smirnov, from a uniform distribution.
        p_value: of that distance, were the prediction right and the data independent.
        shared: share of the errors' variance that all lines of one read have in common; about 0
            where lines are independent.
        lasting: correlation of the errors with those of the next read that was held out.
        tails: excess kurtosis of the errors in predicted standard deviations, 0 if normal.
    """

    transforms: Array
    distance: float
    p_value: float
    shared: float
    lasting: float
    tails: float

    @property
    def shares(self) -> bool:
        """Whether lines of one read have more in common than chance gives them."""
        reads, lines = self.transforms.shape
        return self.shared > _TELLING * (2.0 / max(reads - 1, 1)) ** 0.5 / lines

    @property
    def holds(self) -> bool:
        """Whether the predicted distribution is not rejected at 1 %."""
        return self.p_value >= 0.01


def agreement(
    errors: Array, deviations: Array, together: float = 0.0, step: float = 0.0
) -> tuple[Agreement, Calibration]:
    """Compare held-out errors with the normal distribution predicted.

    Where lines of one read share a part, each is compared with what is predicted of it given the
    lines before it (M. Rosenblatt, Ann. Math. Stat. 1952, doi 10.1214/aoms/1177729394).

    Args:
        errors: ``[reads, lines]``.
        deviations: predicted for each line by itself.
        together: standard deviation of what lines share besides.
        step: to multiples of which data were rounded, its ``step² / 12`` being part of the
            deviations: transforms are then drawn evenly between those of a level's two edges (where
            lines share nothing, else rounding counts as normal).
    """
    score = errors / deviations
    if together:
        among = deviations[:, :, None] ** 2 * np.eye(errors.shape[1]) + together**2
        score = np.linalg.solve(np.linalg.cholesky(among), errors[..., None])[..., 0]
    transforms = scipy.special.ndtr(score)
    if step and not together:
        own = np.sqrt(np.maximum(deviations**2 - step**2 / 12.0, (1e-6 * step) ** 2))
        low, high = (scipy.special.ndtr((errors + half) / own) for half in (-step / 2, step / 2))
        transforms = low + np.random.default_rng(OUR_STREAM).uniform(size=low.shape) * (high - low)
    return of_transforms(transforms, score)


def of_transforms(transforms: Array, score: Array) -> tuple[Agreement, Calibration]:
    """Judge transforms ``[reads, lines]``; ``score`` are the errors in standard deviations."""
    test = scipy.stats.kstest(transforms.ravel(), "uniform")
    inside = tuple(float((np.abs(transforms - 0.5) <= level / 2).mean()) for level in LEVELS)
    agree = Agreement(
        transforms,
        float(test.statistic),
        float(test.pvalue),
        _shared(score),
        _lasting(score),
        float(scipy.stats.kurtosis(score.ravel())),
    )
    return agree, Calibration(LEVELS, inside, transforms.size)


def _shared(score: Array) -> float:
    """Variance of the reads' means beyond that of independent lines, over the whole variance."""
    reads, lines = score.shape
    if lines < 2 or reads < 3:
        return float("nan")
    within = score.var(axis=1, ddof=1).mean()
    between = max(float(score.mean(1).var(ddof=1) - within / lines), 0.0)
    return float(between / (between + within))


def _lasting(score: Array) -> float:
    one, two = score[:-1].ravel(), score[1:].ravel()
    return float(np.corrcoef(one, two)[0, 1]) if len(one) > 2 else float("nan")
