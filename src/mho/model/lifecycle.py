"""The life of all crossbars of a model at once: program, age, fabricate anew, collapse."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from mho.core import checks, durations, random
from mho.core.durations import Duration
from mho.core.sharded import is_sharded
from mho.core.text import progress, quantity, table
from mho.crossbar import Crossbar
from mho.crossbar.life import refuse_meta
from mho.crossbar.report import ProgramReport
from mho.crossbar.undo import all_or_nothing
from mho.model import tied
from mho.model.crossbars import Entry, layers, listing, tie_again
from mho.nn import computed


class ModelReport(dict[str, ProgramReport]):
    """What programming a whole model did: a report for every crossbar, by name.

    Prints as a table with totals; a dash stands for what is not known.
    """

    @property
    def pulses(self) -> int:
        """Pulses that all cells together received."""
        return sum(report.pulses for report in self.values())

    @property
    def seconds(self) -> float | None:
        """Duration (s), crossbars one after the other; None where one of them does not know."""
        return _total([report.seconds for report in self.values()])

    @property
    def energy(self) -> float | None:
        """Energy dissipated in the cells (J); None where one of them does not know."""
        return _total([report.energy for report in self.values()])

    @property
    def failed(self) -> dict[str, int]:
        """Cells found not to hold what they should, by crossbar, where somebody looked."""
        known = {name: report.failed for name, report in self.items()}
        return {name: count for name, count in known.items() if count is not None}

    def __str__(self) -> str:
        head = ("crossbar", "cells", "weight error", "stuck", "pulses", "failed", "time", "energy")
        rows = [
            (
                name or "crossbar",
                f"{report.cells.like.numel():,}",
                f"{report.relative_error:.2%}",
                f"{report.stuck:.1%}",
                f"{report.pulses:,}",
                *_known(report.failed, report.seconds, report.energy),
            )
            for name, report in self.items()
        ]
        cells = sum(report.cells.like.numel() for report in self.values())
        failed = sum(self.failed.values()) if self.failed else None
        known = _known(failed, self.seconds, self.energy)
        rows.append(("total", f"{cells:,}", "", "", f"{self.pulses:,}", *known))
        return table(head, rows)

    __repr__ = __str__


def _known(failed: int | None, seconds: float | None, energy: float | None) -> tuple[str, str, str]:
    """Say what may not be known; a dash stands for that."""
    return (
        "–" if failed is None else f"{failed:,}",
        "–" if seconds is None else quantity(seconds, "s", zero="0 s"),
        "–" if energy is None else quantity(energy, "J", zero="0 J"),
    )


def _total(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def program(model: nn.Module) -> ModelReport:
    """Write all digital weights to the chip, for example after training.

    Every crossbar is programmed as its hardware says (`mho.Hardware`, ``programming``). One
    outside of layers, which has no weights beside its cells, is written anew with what these stand
    for now.

    Args:
        model: a converted model, or any module with crossbars.

    Returns:
        A report for every crossbar, by the name that `mho.summary` shows, with totals of pulses,
        time and energy where they are known, and the failed cells.

    Raises:
        ValueError: if the model has no crossbars, a weight is not finite, or layers that read one
            crossbar no longer share a weight.
        ProgrammingError: if cells failed and the hardware says to raise. After any error no
            crossbar has changed.
    """
    return write_all(listing(model))


def write_all(found: list[Entry]) -> ModelReport:
    """Program some crossbars of a model with what they are to hold; all of them, or none."""
    for entry in found:
        tie_again(entry)
    weights = {entry.crossbar: entry.weight() for entry in found}
    for entry in found:
        weight = weights[entry.crossbar]
        if weight is not None:
            refuse_meta(f"weight of {entry.name or 'the model'}", weight)
            checks.finite(f"weight of {entry.name or 'the model'}", weight)
    with all_or_nothing(weights):
        report = _written(found, weights)
        _mark(found)
    return report


def _written(found: list[Entry], weights: dict[Crossbar, Tensor | None]) -> ModelReport:
    report = ModelReport()
    for entry in progress(found, "programming"):
        weight = weights[entry.crossbar]
        if weight is not None:
            report[entry.name] = entry.crossbar.program(weight, name=entry.name)
    return report


def _mark(found: list[Entry]) -> None:
    for layer in dict.fromkeys(entry.layer for entry in found if entry.layer is not None):
        layer.mark_programmed()


def age(model: nn.Module, seconds: Duration, reads: float = 0.0) -> None:
    """Let time pass for all crossbars, and reads happen.

    Reads of a simulation take no time and wear nothing; what a chip goes through in service is
    said here: ``mho.age(model, seconds=3600.0, reads=8000)``.

    Args:
        model: a converted model, or any module with crossbars.
        seconds: how long (s), >= 0; or a span of time as text, ``"3 h"``, ``"1 day"``, ``"1 year"``
            (365.25 days), or a ``datetime.timedelta``.
        reads: of every cell in that time, >= 0, for crossbars with an effect that goes by them
            (`mho.effects.ReadDisturb`).

    Raises:
        TypeError, ValueError: if the model has no crossbars, one is not a non-negative number, or
            there are reads and no crossbar goes by them.
    """
    seconds = durations.seconds("seconds", seconds, least=0.0)
    reads = checks.number("reads", reads, least=0.0)
    found = listing(model)
    counting = [entry.crossbar.cells.counts_reads for entry in found]
    if reads and not any(counting):
        raise ValueError(
            f"reads={reads!r} would change nothing: no crossbar has an effect that goes by reads "
            "(as mho.effects.ReadDisturb does)"
        )
    with all_or_nothing(entry.crossbar for entry in found):
        both = list(zip(found, counting, strict=True))
        for entry, counts in progress(both, "aging"):
            entry.crossbar.age(seconds, reads if counts else 0.0)


def fabricate(model: nn.Module, seed: int) -> ModelReport:
    """Put the model on another chip of the same kind: new cells, programmed with its weights.

    A model that lies on a `mho.chip.Chip` leaves it.

    Args:
        model: a converted model, or any module with crossbars.
        seed: of the new chip.

    Returns:
        As `program`.

    Raises:
        ValueError: if the model has no crossbars.
    """
    seed = checks.integer("seed", seed, least=0)
    found = listing(model)
    paths = {module: name for name, module in model.named_modules()}
    weights = {entry.crossbar: entry.weight() for entry in found}
    with all_or_nothing(weights):
        for entry in progress(found, "fabricating"):
            owner = entry.crossbar if entry.layer is None else entry.layer
            entry.crossbar.reset_parameters(random.derive(seed, paths[owner], entry.part))
        report = _written(found, weights)
        _mark(found)
    return report


def collapse(model: nn.Module) -> nn.Module:
    """Return a plain torch model with the weights as reads show them now, for speed or export.

    Converters with their amplifiers, and read noise, are gone; programming errors, defects, drift,
    wires, temperature and the calibrated output correction remain. Weights are plain parameters:
    what computed the digital ones (a norm, a mask, any parametrization) has no part in what the
    cells hold, and stays behind.
    Hooks that run at a call stay.

    Args:
        model: a converted model; it is not changed.

    Raises:
        ValueError: if the model has no crossbars, or is sharded.
    """
    if any(is_sharded(parameter) for parameter in model.parameters()):
        raise ValueError(
            "the model is sharded: load its full state_dict into one that is not, and collapse that"
        )
    memo: dict[int, Any] = {}
    found = list(layers(model).values())
    for layer in found:
        memo[id(layer)] = layer.to_digital()
    tied.retie(model, {layer: memo[id(layer)] for layer in found})
    for layer in found:
        computed.carry_hooks(layer, memo[id(layer)], memo)
    computed.detach_computed(model, memo)
    plain: nn.Module = copy.deepcopy(model, memo)
    computed.own_classes(plain)
    plain._load_state_dict_pre_hooks.clear()
    return plain
