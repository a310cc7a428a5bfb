"""Recipes for the lab: what was asked of each cell, where it lies, which pulses it was given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mho.cells.programming import Programming, Round
from mho.core import checks
from mho.crossbar.report import ProgramReport
from mho.crossbar.tiling import Tiling
from mho.programming.descent import ProductReport
from mho.programming.report import REASONS, WriteReport

FAILURES = ("", *REASONS[1:], "weight off")
"""Why a cell failed, by the codes of ``Sheet.failure``; the last is `ProductDescent`'s."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """The recipe of one crossbar, or of one population of cells.

    Attributes:
        target: conductances asked for (S), of the population's shape; NaN for cells that were not
            to be programmed.
        final: conductances at the end (S), effects of programming included.
        pulses: pulses each cell was given (int64), of the population's shape.
        failure: why a cell failed (int8), an index into ``FAILURES``; 0 where it did not, or
            nobody looked.
        programming: the policy, with the pulses that it chose.
        rounds: all pulses in order; None where the policy gives none, or did not record them.
        tiling: which physical arrays the cells lie on; None: each ``[rows, cols]`` of the
            population is one.
    """

    target: Tensor
    final: Tensor
    pulses: Tensor
    failure: Tensor
    programming: Programming
    rounds: tuple[Round, ...] | None
    tiling: Tiling | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the population."""
        return tuple(self.target.shape)

    @property
    def counted(self) -> bool:
        """Whether its pulses are only counted."""
        return all(each.volts is None for each in self.rounds or ())

    @property
    def index(self) -> Tensor:
        """Place of each cell in the population ``[cells, 3]``: slice, row, column.

        Leading dimensions of a population count as slices.
        """
        rows = self.shape[-2] if len(self.shape) > 1 else 1
        cols = self.shape[-1] if self.shape else 1
        return _unravelled(torch.arange(self.target.numel()), rows, cols)

    @property
    def place(self) -> Tensor:
        """Physical place of each cell ``[cells, 3]`` (int64): array, word line, bit line.

        Counted from 0; cells in the order of the flattened population, arrays in that of
        `mho.crossbar.tiling.Tiling.places`.
        """
        return self.index if self.tiling is None else _placed(self.tiling.places())


@dataclass(frozen=True, eq=False)
class Recipe:
    """The recipes of all crossbars of a model, by name.

    Attributes:
        sheets: one for each crossbar; of a single one by the name ``""``.
    """

    sheets: dict[str, Sheet]

    @staticmethod
    def of(report: Any) -> Recipe:
        """Make a recipe of what a programming reports.

        Args:
            report: of a whole model (`mho.program`, `mho.fabricate`), of one crossbar
                (`mho.Crossbar.program`), or of a population (`mho.programming.write_verify`).

        Raises:
            TypeError: if it is none of these.
        """
        if isinstance(report, Mapping):
            return Recipe({str(name): _of_crossbar(each) for name, each in report.items()})
        if isinstance(report, ProgramReport):
            return Recipe({"": _of_crossbar(report)})
        if isinstance(report, WriteReport):
            return Recipe({"": _of_population(report)})
        raise TypeError(
            "report must be what mho.program, Crossbar.program or write_verify returned, got "
            f"{type(report).__name__}"
        )


def _of_crossbar(report: ProgramReport) -> Sheet:
    checks.instance("report", report, ProgramReport)
    target, written = report.target.cpu(), report.written
    programming = Programming() if report.programming is None else report.programming
    own = written.report
    asked: Programming = getattr(own, "scheme", programming)
    pulses = torch.as_tensor(written.pulses).cpu().expand(target.shape)
    rounds = programming.rounds_of(written)
    return Sheet(
        target,
        report.achieved.cpu(),
        pulses,
        _failure(own, target),
        asked,
        _home(rounds),
        report.tiling,
    )


def _of_population(report: WriteReport) -> Sheet:
    target = torch.where(report.selected, report.target, torch.nan).cpu()
    return Sheet(
        target,
        report.achieved.cpu(),
        report.pulses.cpu(),
        _failure(report, target),
        report.scheme,
        _home(report.rounds_given),
    )


def _failure(report: Any, like: Tensor) -> Tensor:
    if isinstance(report, WriteReport):
        return report.reason.cpu()
    if isinstance(report, ProductReport):
        return report.failed.cpu().to(torch.int8) * (len(FAILURES) - 1)
    return torch.zeros_like(like, dtype=torch.int8)


def _home(rounds: tuple[Round, ...] | None) -> tuple[Round, ...] | None:
    if rounds is None:
        return None

    def here(x: Any) -> Any:
        return x.cpu() if isinstance(x, Tensor) else x

    return tuple(
        Round(here(r.cells), here(r.up), here(r.volts), here(r.count), r.scheme, r.erase)
        for r in rounds
    )


def _placed(places: Tensor) -> Tensor:
    """Turn a map from places to cells round: ``[cells, 3]``."""
    flat = places.flatten().cpu()
    here = (flat >= 0).nonzero().squeeze(1)
    found = torch.empty_like(here)
    found[flat[here]] = here
    return _unravelled(found, *places.shape[1:])


def _unravelled(flat: Tensor, rows: int, cols: int) -> Tensor:
    each = max(rows * cols, 1)
    return torch.stack((flat // each, flat % each // max(cols, 1), flat % max(cols, 1)), dim=1)
