"""What the demo found, and how it is said: rows of text for tables, plain values for JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from mho.demo.sweeps import Sweep

LOSS = 0.02  # what counts as tolerated


class Curve(NamedTuple):
    """Accuracies of several models against one property of the chip.

    Attributes:
        sweep: what was varied.
        accuracies: by model, ``[chips, values]``, in [0, 1].
    """

    sweep: Sweep
    accuracies: dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Results:
    """All numbers of a run.

    Attributes:
        seed: of the run.
        chips: how many chips every point was measured on.
        parameters: by model.
        digital: test accuracy by model, in plain PyTorch.
        base: accuracies by model on the base chip ``[chips]``.
        curves: one per property varied.
    """

    seed: int
    chips: int
    parameters: dict[str, int]
    digital: dict[str, float]
    base: dict[str, Tensor]
    curves: tuple[Curve, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain values, for JSON."""
        return {
            "seed": self.seed,
            "chips": self.chips,
            "models": {
                name: {
                    "parameters": self.parameters[name],
                    "digital": self.digital[name],
                    "base": _statistics(self.base[name]),
                    "curves": {
                        curve.sweep.name: {
                            "values": list(curve.sweep.values),
                            **_statistics(curve.accuracies[name]),
                        }
                        for curve in self.curves
                    },
                }
                for name in self.digital
            },
        }


class Row(NamedTuple):
    """A row of a table: an effect, one value of it, and an entry per model."""

    effect: str
    value: str
    cells: tuple[str, ...]


def accuracy_rows(results: Results) -> list[Row]:
    """Mean and standard deviation (%) over chips, for every value of every property."""
    rows = [
        Row("digital", "plain PyTorch", tuple(f"{100 * a:.1f}" for a in results.digital.values())),
        Row("base chip", "as described", tuple(map(said, results.base.values()))),
    ]
    for curve in results.curves:
        for i, value in enumerate(curve.sweep.values):
            cells = tuple(said(found[:, i]) for found in curve.accuracies.values())
            rows.append(Row(curve.sweep.name, curve.sweep.text(value), cells))
    return rows


def tolerance_rows(results: Results) -> list[Row]:
    """How far each property may go before a model loses more than `LOSS` of its accuracy."""
    rows = []
    for curve in results.curves:
        cells = tuple(
            _tolerated(curve.sweep, found.mean(0), results.base[name])
            for name, found in curve.accuracies.items()
        )
        rows.append(Row(curve.sweep.name, "", cells))
    return rows


def said(accuracies: Tensor) -> str:
    """Say accuracies of several chips as mean ± standard deviation, in percent."""
    return f"{100 * float(accuracies.mean()):.1f} ± {100 * _std(accuracies):.1f}"


def _tolerated(sweep: Sweep, mean: Tensor, base: Tensor) -> str:
    good = (mean >= base.mean() - LOSS).tolist()
    order = list(range(len(good)))
    if sweep.falling:
        order.reverse()
    # From the harmless end on, up to the first value that costs too much.
    last = next((i for i, at in enumerate(order) if not good[at]), len(order))
    if last == 0:
        return "none shown"
    text = sweep.text(sweep.values[order[last - 1]])
    if last == len(order):
        return f"all shown, to {text}"
    return f"≥ {text}" if sweep.falling else f"≤ {text}"


def _std(values: Tensor) -> float:
    return float(values.std()) if len(values) > 1 else 0.0


def _statistics(accuracies: Tensor) -> dict[str, Any]:
    return {
        "mean": accuracies.mean(0).tolist(),
        "std": accuracies.std(0, unbiased=len(accuracies) > 1).tolist(),
        "chips": accuracies.tolist(),
    }
