"""How far a study is, and what it has found so far: a bar on terminals."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from mho.runs.ledger import Ledger

_EVERY = 1.0  # s, between two looks at all that was found


class Progress:
    """A progress bar over the chips of a study that says the front so far.

    Args:
        label: its name; None shows none. Without a terminal there is none either.
        ledger: of the study; what others find in it counts.
        goals: ``"maximize"`` or ``"minimize"``, by objective.
        total: chips.
    """

    def __init__(
        self, label: str | None, ledger: Ledger, goals: Mapping[str, str], total: int
    ) -> None:
        self._ledger, self._goals = ledger, goals
        # tqdm's None means: only on a terminal.
        hidden = None if label is not None else True
        self._bar = tqdm(total=total, desc=label, disable=hidden, unit="chip", smoothing=0.05)
        self._total = total
        self._looked = 0.0

    def __enter__(self) -> Progress:
        self.show()
        return self

    def __exit__(self, *error: object) -> None:
        self._looked = 0.0
        self.show()
        self._bar.close()

    def show(self) -> None:
        """Show how many chips there are, and the best of them."""
        now = time.monotonic()
        if self._bar.disable or now - self._looked < _EVERY:
            return
        self._looked = now
        count = sum(len(parts) for _, _, parts in self._ledger.found())
        if not self._bar.n and count:
            self._bar.initial = count  # of earlier calls: they took no time of this one
        self._bar.total = max(self._total, count)
        self._bar.set_postfix_str(front_said(self._ledger.values(), self._goals), refresh=False)
        self._bar.update(count - self._bar.n)
        self._bar.refresh()


def front_said(found: Sequence[tuple[int, Sequence[float]]], goals: Mapping[str, str]) -> str:
    """Say the best of one objective, or the front of several: how many, from where to where."""
    if not found:
        return ""
    signs = np.array([1.0 if way == "minimize" else -1.0 for way in goals.values()])
    values = np.array([row for _, row in found])
    if len(goals) == 1:
        best = int(np.argmin(values[:, 0] * signs[0]))
        return f"best {next(iter(goals))} {values[best, 0]:.4g} (trial {found[best][0]})"
    front = values[undominated(values * signs)]
    ranges = (
        f"{name} {low:.3g}…{high:.3g}" if high > low else f"{name} {low:.3g}"
        for name, low, high in zip(goals, front.min(0), front.max(0), strict=True)
    )
    return f"front {len(front)}: {', '.join(ranges)}"


def undominated(costs: Any) -> Any:
    """Return which rows no other row is at least as low as everywhere, and lower somewhere."""
    best = np.ones(len(costs), dtype=bool)
    for i, row in enumerate(costs):
        best[i] = not np.any((costs <= row).all(1) & (costs < row).any(1))
    return best
