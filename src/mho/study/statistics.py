"""Means over the chips of every configuration, which of them are on the front, in plain numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mho.cells.device import Device
from mho.core.spec import Spec
from mho.core.text import quantity
from mho.devices import presets
from mho.hardware import Array

if TYPE_CHECKING:
    from mho.study.records import Outcome, Record

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
_SI = frozenset({"J", "s", "W", "V", "A", "S", "Ω", "F", "C", "Hz", "m"})


@dataclass(frozen=True, eq=False)
class Means:
    """The configurations of a study, over the chips that finished.

    Attributes:
        trials: numbers of the configurations, rising.
        settings: of each.
        names: of the results.
        mean: ``[configurations, results]``; NaN where no chip gave a number.
        std: over chips (one less in the denominator); NaN of fewer than two.
        sem: standard error of the mean, likewise.
        count: chips that gave a number, ``[configurations, results]``.
        chips: that finished, of each configuration.
        failed: that did not.
        errors: why, in one line; ``""`` where all finished.
        seconds: that all chips of each took.
    """

    trials: list[int]
    settings: list[Mapping[str, Any]]
    names: list[str]
    mean: Numbers
    std: Numbers
    sem: Numbers
    count: Numbers
    chips: list[int]
    failed: list[int]
    errors: list[str]
    seconds: list[float]

    def of(self, name: str) -> tuple[Numbers, Numbers, Numbers]:
        """Return mean, standard deviation and standard error of a result by name (ValueError)."""
        if name not in self.names:
            known = ", ".join(map(repr, self.names)) or "none yet"
            raise ValueError(f"there is no result {name!r}; there are {known}")
        k = self.names.index(name)
        return self.mean[:, k], self.std[:, k], self.sem[:, k]


def means(outcome: Outcome) -> Means:
    """Return the means over chips of every configuration of a study."""
    groups: dict[int, list[Record]] = {}
    for record in outcome.records:
        groups.setdefault(record.trial, []).append(record)
    trials, names = sorted(groups), result_names(outcome)
    shape = (len(trials), len(names))
    mean, std = np.full(shape, math.nan), np.full(shape, math.nan)
    count = np.zeros(shape)
    for i, trial in enumerate(trials):
        for k, name in enumerate(names):
            found = [number(r.results.get(name)) for r in groups[trial] if r.error is None]
            values = np.array([value for value in found if not math.isnan(value)])
            count[i, k] = len(values)
            if len(values):
                mean[i, k] = values.mean()
            if len(values) > 1:
                std[i, k] = values.std(ddof=1) if np.isfinite(values).all() else math.nan
    each = [groups[trial] for trial in trials]
    return Means(
        trials=trials,
        settings=[group[0].settings for group in each],
        names=names,
        mean=mean,
        std=std,
        sem=std / np.sqrt(np.maximum(count, 1)),
        count=count,
        chips=[sum(r.error is None for r in group) for group in each],
        failed=[sum(r.error is not None for r in group) for group in each],
        errors=[_errors(group) for group in each],
        seconds=[sum(r.seconds for r in group) for group in each],
    )


def number(value: Any) -> float:
    """Return a result as a number: NaN for none."""
    return math.nan if value is None else float(value)


def result_names(outcome: Outcome) -> list[str]:
    """Return the names of all results: objectives first, then the others as they appear."""
    found = [name for record in outcome.records for name in record.results]
    return list(dict.fromkeys([*outcome.objectives, *found]))


def setting_names(outcome: Outcome) -> list[str]:
    """Return what was set, by path, as it appears."""
    return list(dict.fromkeys(path for record in outcome.records for path in record.settings))


def varied(found: Means) -> list[str]:
    """Return the settings that differ between configurations."""
    names = dict.fromkeys(path for settings in found.settings for path in settings)
    return [n for n in names if len({_key(settings.get(n)) for settings in found.settings}) > 1]


def levels(values: Sequence[Any]) -> list[Any]:
    """Return the different values of a setting: numbers in their order, others as they appear."""
    found = list({_key(value): value for value in values}.values())
    return sorted(found) if all(numeric(value) for value in found) else found


def numeric(value: Any) -> bool:
    """Whether a setting is a number (truth values are not)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def key(value: Any) -> str:
    """Return what tells a setting from others."""
    return _key(value)


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def label(value: Any) -> Any:
    """Return a setting as tables and figures show it: numbers and texts as they are.

    Specs, which records hold as plain values, are said in short: a device of
    `mho.devices.presets` by its name, an array by its size.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return _said(_key(value))


@lru_cache(maxsize=1024)
def _said(text: str) -> str:
    value = json.loads(text)
    if not isinstance(value, Mapping) or "type" not in value:
        return text
    try:
        spec = Spec.from_dict(value)
    except Exception:  # of a program that is not loaded here
        return text
    if isinstance(spec, Device):
        return _preset_names().get(spec, str(spec))
    if isinstance(spec, Array) and spec == Array(spec.rows, spec.cols):
        return f"{spec.rows} × {spec.cols}"
    return str(spec)


@lru_cache(maxsize=1)
def _preset_names() -> dict[Device, str]:
    return {presets.get(preset.name): preset.name for preset in presets.list()}


def _errors(group: Sequence[Record]) -> str:
    found = list(dict.fromkeys(r.error for r in group if r.error is not None))
    more = f" (and {len(found) - 1} other errors)" if len(found) > 1 else ""
    return f"{found[0]}{more}" if found else ""


# ── the front ────────────────────────────────────────────────────────────────────────────────────


def gains(found: Means, objectives: Mapping[str, str]) -> tuple[Numbers, Numbers]:
    """Return means and standard errors of the objectives, so that larger is better for all."""
    columns = [found.of(name) for name in objectives]
    signs = np.array([1.0 if way == "maximize" else -1.0 for way in objectives.values()])
    mean = np.stack([column[0] for column in columns], axis=1) * signs
    return mean, np.stack([column[2] for column in columns], axis=1)


def undominated(gain: Numbers) -> Flags:
    """Return which rows no other row beats: as good in all columns, better in one.

    Args:
        gain: ``[rows, columns]``, larger is better; a row with NaN is never on the front.
    """
    keep: Any = ~np.isnan(gain).any(axis=1)
    # Good rows first: they rule out most of the others, which are then not asked.
    ranks = np.argsort(np.argsort(-gain, axis=0, kind="stable"), axis=0, kind="stable")
    for i in np.argsort(ranks.sum(axis=1), kind="stable"):
        if keep[i]:
            beaten = (gain <= gain[i]).all(axis=1) & (gain < gain[i]).any(axis=1)
            keep &= ~beaten
    return keep


def chances(gain: Numbers, error: Numbers, count: Numbers, draws: int, seed: int) -> Numbers:
    """Return how likely each row is on the front, as far as few chips tell.

    Every mean is drawn anew from Student's t about what was found, with its standard error and one
    degree of freedom less than chips; rows of which an error is not known get NaN, and stand at
    their means.

    Args:
        gain: ``[rows, columns]``, larger is better.
        error: standard errors.
        count: chips behind each.
        draws: how many times.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    usable = ~np.isnan(gain).any(axis=1)
    known = usable & ~np.isnan(error).any(axis=1)
    freedom = np.maximum(count[usable] - 1.0, 1.0)
    spread = np.nan_to_num(error[usable])
    hits = np.zeros(int(usable.sum()))
    for _ in range(draws):
        hits += undominated(gain[usable] + spread * rng.standard_t(freedom))
    chance = np.full(len(gain), math.nan)
    chance[usable] = hits / max(draws, 1)
    chance[~known] = math.nan
    return chance


# ── said ─────────────────────────────────────────────────────────────────────────────────────────


def is_share(name: str, unit: str) -> bool:
    """Whether a result is a share in [0, 1] that people read in percent: an accuracy."""
    return unit == "" and name.rpartition(".")[2].endswith(("accuracy", "digital"))


def said(name: str, value: float, error: float, unit: str) -> str:
    """Say a result and its standard error (if that is known) as people read them."""
    if math.isnan(value):
        return "–"
    both = (value,) if math.isnan(error) else (value, error)
    if is_share(name, unit):
        return " ± ".join(f"{100 * x:.1f}" for x in both) + " %"
    if unit == "m²":  # of chips: mm², as 1 µm² is no millionth of a m²
        value, error, unit = 1e6 * value, 1e6 * error, "mm²"
    if unit in _SI and value > 0.0:
        one, prefixed = quantity(value, unit).split(" ", 1)
        if math.isnan(error) or error <= 0.005 * value:
            return f"{one} {prefixed}"
        return f"{one} ± {error / value * float(one):.2g} {prefixed}"
    text = f"{value:.4g}"
    if not math.isnan(error) and error > 0.0:
        text += f" ± {error:.2g}"
    return f"{text} {unit}".rstrip()


def short(value: Any) -> str:
    """Say a setting in a few characters."""
    shown = label(value)
    return f"{shown:.4g}" if isinstance(shown, float) else str(shown)
