"""Where results and settings of a study lie on the axes of its pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from mho.plot.styles import PREFIXED, unit
from mho.study.statistics import Means, is_share, key, levels, numeric, short

if TYPE_CHECKING:
    from mho.study.choice import Choice
    from mho.study.records import Outcome

Numbers = npt.NDArray[np.float64]
_BINS = 8  # of a setting that takes more values than can be shown one by one
_MANY = 12
_LONG = 28  # characters


class Shown(NamedTuple):
    """A result or a setting as it is drawn.

    Attributes:
        text: its name, with the unit.
        size: what values are divided by.
        log: whether its axis is logarithmic.
    """

    text: str
    size: float
    log: bool


def shown(name: str, values: Numbers, unit_of: str) -> Shown:
    """Say how a result is drawn: accuracies in percent, SI units with a prefix, decades by log."""
    known = np.abs(values[np.isfinite(values)])
    log = bool(known.size and (values[np.isfinite(values)] > 0).all())
    log = log and float(known.max() / known.min()) > 20.0 and not is_share(name, unit_of)
    if is_share(name, unit_of):
        return Shown(f"{name} (%)", 0.01, False)
    if unit_of == "m²":
        return Shown(f"{name} (mm²)", 1e-6, log)
    if unit_of in PREFIXED:
        size, prefix = unit(float(known.max()) if known.size else 0.0)
        return Shown(f"{name} ({prefix}{unit_of})", size, log)
    return Shown(f"{name} ({unit_of})" if unit_of else name, 1.0, log)


class Steps(NamedTuple):
    """Where the configurations lie along a setting.

    Attributes:
        place: of each configuration, ``[configurations]``.
        ticks: where the values are.
        texts: what they are called; none: numbers as they are.
        group: number of the value (or of the bin) of each configuration.
    """

    place: Numbers
    ticks: list[float]
    texts: list[str] | None
    group: npt.NDArray[np.int64]


def steps(found: Means, name: str) -> Steps:
    """Return where the configurations lie along a setting: values in their order, or in bins.

    Few values stand at equal distances: those of hardware are powers of two, or no numbers.

    Raises:
        ValueError: if there is no such setting.
    """
    if not any(name in settings for settings in found.settings):
        known = dict.fromkeys(path for settings in found.settings for path in settings)
        raise ValueError(f"there is no setting {name!r}; there are {', '.join(known)}")
    values = [settings.get(name) for settings in found.settings]
    different = levels(values)
    if len(different) > _MANY and all(numeric(value) for value in values):
        numbers = np.array(values, dtype=np.float64)
        edges = np.quantile(numbers, np.linspace(0, 1, _BINS + 1))
        group = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, _BINS - 1)
        ticks = [float(numbers[group == i].mean()) for i in range(_BINS) if (group == i).any()]
        return Steps(numbers, ticks, None, np.unique(group, return_inverse=True)[1])
    at = {key(value): i for i, value in enumerate(different)}
    group = np.array([at[key(value)] for value in values])
    texts = [_cut(short(value)) for value in different]
    return Steps(group.astype(np.float64), [float(i) for i in range(len(texts))], texts, group)


def through(
    found: Means, choice: Choice, setting: str, result: str
) -> tuple[Numbers, Numbers, Numbers]:
    """Return a result where this setting alone differs from the choice: places, values, errors.

    What was run several times is averaged; errors that are not known are 0.
    """
    others = {n: key(v) for n, v in choice.settings.items() if n != setting}
    line = np.array([
        all(key(settings.get(name)) == value for name, value in others.items())
        for settings in found.settings
    ])  # fmt: skip
    mean, _, sem = found.of(result)
    place = steps(found, setting).place
    line &= ~np.isnan(mean)
    at = np.unique(place[line])
    same = [line & (place == where) for where in at]
    errors = [np.sqrt(np.square(np.nan_to_num(sem[one])).sum()) / one.sum() for one in same]
    return at, np.array([mean[one].mean() for one in same]), np.array(errors)


def quantiles(values: Numbers) -> tuple[float, float, float]:
    """Return the 10th, 50th and 90th percentile of what is finite; NaN of nothing."""
    known = values[np.isfinite(values)]
    if not known.size:
        return (math.nan,) * 3
    low, middle, high = np.quantile(known, (0.1, 0.5, 0.9)).tolist()
    return low, middle, high


def named(outcome: Outcome, setting: str) -> str:
    """Return a setting with its unit."""
    unit_of = outcome.units.get(setting, "")
    return f"{setting} ({unit_of})" if unit_of else setting


def _cut(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[: _LONG - 7]}…{text[-6:]}"
