"""The account of a translation: every setting of the source, with its counterpart or the reason."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mho.analysis.technology import Technology
from mho.core.text import visible
from mho.hardware import Hardware, save_hardware
from mho.train.recipes.recipe import Recipe

_SHOWN = 32  # characters of a value in a table
UNKNOWN = "not known to this reader: nothing was made of it"


@dataclass(frozen=True)
class Matched:
    """A setting that has a counterpart.

    Attributes:
        setting: its name in the source, with dots.
        value: its value there.
        ours: what stands for it here.
        note: where the two differ nevertheless; "" where they mean the same.
    """

    setting: str
    value: Any
    ours: str
    note: str = ""


@dataclass(frozen=True)
class Unmatched:
    """A setting that has no counterpart.

    Attributes:
        setting: its name in the source, with dots.
        value: its value there.
        reason: why.
        acts: whether the source would behave otherwise without it: False where it stands at a value
            of no effect, or says nothing of what a chip computes.
    """

    setting: str
    value: Any
    reason: str
    acts: bool = True


@dataclass(frozen=True)
class Translation:
    """What a configuration of another simulator is here.

    Attributes:
        tool: that it is of.
        hardware: what its chip is made of.
        matched: settings with a counterpart.
        unmatched: settings without one.
        recipe: how it trains; None where it says nothing of that.
        technology: of the circuits around the cells; None where it says nothing of them.
    """

    tool: str
    hardware: Hardware
    matched: tuple[Matched, ...]
    unmatched: tuple[Unmatched, ...]
    recipe: Recipe | None = None
    technology: Technology | None = None

    @property
    def lost(self) -> tuple[Unmatched, ...]:
        """What acts in the source and has no counterpart."""
        return tuple(entry for entry in self.unmatched if entry.acts)

    @property
    def inexact(self) -> tuple[Matched, ...]:
        """What has a counterpart that differs in something, as its note says."""
        return tuple(entry for entry in self.matched if entry.note)

    def save(self, path: str | Path) -> None:
        """Write the hardware to a YAML file; see `mho.save_hardware`."""
        save_hardware(self.hardware, path)

    def __str__(self) -> str:
        """Return the account as a table."""
        lost = [(u.setting, u.value, u.reason) for u in self.lost]
        idle = [(u.setting, u.value, u.reason) for u in self.unmatched if not u.acts]
        parts = [
            _table(
                f"{self.tool}: settings with a counterpart",
                [(m.setting, m.value, f"{m.ours}  [{m.note}]" if m.note else m.ours)
                 for m in self.matched],
            ),
            _table("without one, and they act there", lost),
            _table("without one, and without effect", idle),
        ]  # fmt: skip
        return visible("\n\n".join(parts))


def _table(title: str, rows: Iterable[tuple[str, Any, str]]) -> str:
    found = [(name, _short(value), text) for name, value, text in rows]
    if not found:
        return f"{title}: none"
    wide = [max(len(row[k]) for row in found) for k in range(2)]
    lines = [f"  {name:{wide[0]}}  {value:{wide[1]}}  {text}" for name, value, text in found]
    return "\n".join([f"{title} ({len(found)})", *lines])


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value)


class Account:
    """Settings being accounted for. What is not when it is closed is reported as unknown.

    Args:
        tool: whose settings they are.
        settings: values by name, with dots.
    """

    def __init__(self, tool: str, settings: Mapping[str, Any]) -> None:
        self.tool = tool
        self.settings = dict(settings)
        self._matched: dict[str, Matched] = {}
        self._unmatched: dict[str, Unmatched] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.settings

    def value(self, name: str, default: Any = None) -> Any:
        """Return a setting's value, without accounting for it."""
        return self.settings.get(name, default)

    def number(self, name: str, default: float = 0.0) -> float:
        """Return a setting that is a number.

        Raises:
            TypeError: if it is something else.
            ValueError: if it is no number (NaN).
        """
        value = self.settings.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{self.tool}: {name} must be a number, got {_short(repr(value))}")
        if value != value:
            raise ValueError(f"{self.tool}: {name} must be a number, got {value}")
        return value

    def bound(self, name: str, default: float) -> float:
        """Return a setting that is a bound; 0 where there is none, as for an infinite one.

        Raises:
            TypeError, ValueError: if it is no number.
        """
        value = self.number(name, default)
        return value if 0 < value < math.inf else 0.0

    def numbers(self, name: str, default: Sequence[float]) -> list[float]:
        """Return a setting that is a list of numbers; the default where it is None.

        Raises:
            TypeError: if it is something else, or empty.
        """
        value = self.settings.get(name)
        if value is None:
            return list(default)
        listed = isinstance(value, (list, tuple)) and len(value) > 0
        if not listed or not all(_is_number(one) for one in value):
            raise TypeError(
                f"{self.tool}: {name} must be a list of numbers, got {_short(repr(value))}"
            )
        return list(value)

    def whole(self, name: str, default: int = 0) -> int:
        """Return a setting that is a whole number.

        Raises:
            TypeError: if it is something else.
        """
        value = self.number(name, default)
        if math.isinf(value) or value != int(value):
            raise TypeError(f"{self.tool}: {name} must be a whole number, got {value!r}")
        return int(value)

    def match(self, names: str | Iterable[str], ours: str, note: str = "") -> None:
        """Say that settings have a counterpart.

        Of each setting what is said first counts; those that the source lacks are passed over.
        """
        for name in _several(names):
            if name in self.settings and name not in self._unmatched:
                self._matched.setdefault(name, Matched(name, self.settings[name], ours, note))

    def miss(self, names: str | Iterable[str], reason: str) -> None:
        """Say that settings act in the source and have no counterpart."""
        self._without(names, reason, acts=True)

    def idle(self, names: str | Iterable[str], reason: str) -> None:
        """Say that settings have no counterpart and need none."""
        self._without(names, reason, acts=False)

    def without(self, table: Mapping[str, tuple[Any, str]], prefix: str = "") -> None:
        """Account for settings that never have a counterpart.

        Args:
            table: by name, the value at which it has no effect, and why there is no counterpart.
            prefix: of all names.
        """
        for short, (neutral, reason) in table.items():
            name = prefix + short
            if self.settings.get(name) == neutral:
                self.idle(name, "at a value of no effect")
            else:
                self.miss(name, reason)

    def close(
        self, hardware: Hardware, recipe: Recipe | None = None, technology: Technology | None = None
    ) -> Translation:
        """Return the translation; what nobody accounted for is in it, as unknown."""
        open_ = [n for n in self.settings if n not in self._matched and n not in self._unmatched]
        self.miss(open_, UNKNOWN)
        order = list(self.settings)
        return Translation(
            self.tool,
            hardware,
            tuple(self._matched[name] for name in order if name in self._matched),
            tuple(self._unmatched[name] for name in order if name in self._unmatched),
            recipe,
            technology,
        )

    def _without(self, names: str | Iterable[str], reason: str, *, acts: bool) -> None:
        for name in _several(names):
            if name in self.settings and name not in self._matched:
                entry = Unmatched(name, self.settings[name], reason, acts)
                self._unmatched.setdefault(name, entry)


def _several(names: str | Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
