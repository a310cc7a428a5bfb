"""Converters of each layer as fine as its errors matter, within a budget of error or energy.

The error of a model's outputs is taken as the sum of what each layer's converters do alone: its own
error at some number of bits, times how much an error of this layer weighs at the outputs. Which
choice each layer then makes `mho.analysis.choices` says (for bits of layers as in Z. Dong et al.,
NeurIPS 33 (2020), arXiv:1911.03852).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mho.analysis import chips
from mho.analysis.architecture import ChipArchitecture
from mho.analysis.choices import EXACT, Choice, cheapest, energy_of, error_of, least
from mho.analysis.layer_cost import cost
from mho.analysis.layer_errors import LayerErrors, Runs, layers, relative
from mho.analysis.technology import Technology
from mho.core import checks
from mho.core.text import percent, progress, quantity, table
from mho.hardware import Hardware
from mho.model.calibrate import calibrate
from mho.model.convert import choose, convert
from mho.model.crossbars import listing
from mho.model.inputs import batches_of
from mho.model.quiet import noise_free

_BITS = range(4, 11)
_ADC, _DAC = ("ADC range", "ADC codes"), ("input conversion",)
_ROUNDS = 7  # of meeting a budget by what is measured; the last with what is least


@dataclass(frozen=True)
class Tuned:
    """What `tune` returns.

    Attributes:
        model: converted with these converters, programmed and calibrated.
        overrides: hardware by layer, as `mho.convert` takes it.
        chosen: bits of every layer, by name.
        energy: of one inference (J), its layers together.
        error: what the converters do to the model's outputs, measured: relative to outputs of the
            same cells behind exact converters, without noise (root mean square).
        uniform: bits that all layers alike need for an error as small, or the finest that was
            tried.
        uniform_energy: what these cost (J).
        uniform_error: and how they err.
    """

    model: nn.Module
    overrides: dict[str, Hardware]
    chosen: dict[str, Choice]
    energy: float
    error: float
    uniform: int
    uniform_energy: float
    uniform_error: float

    def __str__(self) -> str:
        """A table: a row a layer."""
        rows = [
            [name, _said(c.dac), _said(c.adc), quantity(c.energy, "J"), percent(c.error**0.5)]
            for name, c in self.chosen.items()
        ]
        head = ("layer", "DAC bits", "ADC bits", "energy", "error at the outputs")
        whole = f"together: {quantity(self.energy, 'J')}, error {percent(self.error)}"
        alike = (
            f"{self.uniform} bits everywhere: {quantity(self.uniform_energy, 'J')}, error "
            f"{percent(self.uniform_error)}"
        )
        return f"{table(head, rows)}\n{whole}\n{alike}"


def _said(bits: int | None) -> str:
    return "–" if bits is None else str(bits)


def tune(
    model: nn.Module,
    hardware: Hardware,
    inputs: Tensor | Iterable[Any],
    *,
    error: float | None = None,
    energy: float | None = None,
    bits: Sequence[int] = _BITS,
    architecture: ChipArchitecture | Technology | None = None,
    seed: int = 0,
    **settings: Any,
) -> Tuned:
    """Choose bits and ranges of every layer's converters, within a budget.

    Ranges are those of `mho.calibrate` for the bits chosen. Everything else of the hardware stays.

    Args:
        model: digital, or converted.
        hardware: with an ADC, a DAC with bits, or both; what it has of them is chosen.
        inputs: one batch, or an iterable of batches, as for `mho.calibrate`.
        error: the budget: what converters may do to the model's outputs, relative (0.02 is 2 % of
            their root mean square), > 0; the energy is then the least.
        energy: the budget, in place of ``error``: of one inference (J), > 0; the error is then the
            least.
        bits: to choose from, two numbers at least.
        architecture: what converters cost; ``mho.analysis.chips.get("generic_22nm")`` if not given.
            Parts whose energy it does not know do not count.
        seed: of the crossbars, as in `mho.convert`.
        **settings: of `mho.convert` (``only``, ``skip`` …), but for ``overrides``.

    Returns:
        The tuned model, its hardware by layer, and what converters alike would need.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the hardware has no converters, both budgets are given or none, the
            architecture knows no energy, or no choice of bits meets the budget.
    """
    checks.instance("hardware", hardware, Hardware)
    budget = _budget(error, energy)
    if not isinstance(bits, Iterable):
        raise TypeError(f"bits must be several numbers, as range(4, 10), got {checks.said(bits)}")
    options = sorted({checks.integer("every number of bits", b, most=24) for b in bits})
    if len(options) < 2:
        raise ValueError(f"bits must hold two numbers at least, got {list(bits)}")
    if hardware.adc is None and hardware.drive.ideal:
        raise ValueError("hardware has no converters to tune: give it an ADC, or a DAC with bits")
    if "overrides" in settings or settings.get("program") is False:
        raise ValueError("tune finds overrides by itself, of programmed crossbars")
    chip = chips.get("generic_22nm") if architecture is None else architecture
    task = _Task(model, hardware, batches_of(inputs, model), options, chip, seed, settings)
    return _tuned(task, _within(task, _tables(task), error, budget))


def _budget(error: float | None, energy: float | None) -> float:
    if (error is None) == (energy is None):
        raise ValueError("give one budget: error (relative), or energy (J)")
    name, value = ("error", error) if error is not None else ("energy", energy)
    return checks.number(name, value, above=0.0)


def _with_bits(hardware: Hardware, dac: int | None, adc: int | None) -> Hardware:
    """Return hardware whose converters have these bits, those that it has."""
    if dac is not None and hardware.dac is not None and not hardware.drive.ideal:
        hardware = hardware.replace(dac=hardware.dac.replace(bits=dac))
    if adc is not None and hardware.adc is not None:
        hardware = hardware.replace(adc=hardware.adc.replace(bits=adc))
    return hardware


@dataclass(frozen=True, eq=False)
class _Task:
    """What is to be tuned, on what, for what.

    Attributes:
        model: digital, or converted.
        hardware: of which the converters are chosen.
        batches: of inputs.
        options: numbers of bits, rising.
        chip: what converters cost.
        seed: of the crossbars.
        settings: of `mho.convert`.
    """

    model: nn.Module
    hardware: Hardware
    batches: list[Any]
    options: list[int]
    chip: ChipArchitecture | Technology
    seed: int
    settings: Mapping[str, Any]

    def made(
        self,
        dac: int | None = None,
        adc: int | None = None,
        overrides: Mapping[str, Hardware] | None = None,
    ) -> nn.Module:
        """Return the model converted with some bits, and calibrated."""
        whole, others = _with_bits(self.hardware, dac, adc), dict(overrides or {})
        whole = others.pop("", whole)  # of a model that is one layer
        settings = {"seed": self.seed, "overrides": others, **self.settings}
        analog = convert(self.model, whole, **settings).eval()
        calibrate(analog, self.batches)
        return analog

    def energies(self, analog: nn.Module) -> dict[str, dict[str, float]]:
        """Return what every crossbar needs in one inference (J), by circuit that is counted."""
        return {
            layer.name: {p.name: p.energy.typical for p in layer.parts if p.energy is not None}
            for layer in cost(analog, self.batches, self.chip).layers
        }

    def energy(self, analog: nn.Module) -> float:
        """Return what all crossbars need in one inference (J), of what is counted."""
        return sum(sum(parts.values()) for parts in self.energies(analog).values())

    def names(self) -> list[str]:
        """Return the layers that are converted, by the names that overrides take."""
        given = self.settings
        chosen = choose(
            self.model, self.hardware, given.get("only"), given.get("skip"), {},
            given.get("embeddings", False),
        )  # fmt: skip
        return list(chosen)


def _tables(task: _Task) -> dict[str, list[Choice]]:
    """Return what every layer can choose from."""
    options, hardware = task.options, task.hardware
    middle = options[len(options) // 2]
    drivers = options if not hardware.drive.ideal else [None]
    converters = options if hardware.adc is not None else [None]
    errors: dict[int, LayerErrors] = {}
    between = task.energies(task.made(middle, middle))
    by_dac: dict[int | None, dict[str, dict[str, float]]] = {None: between}
    by_adc: dict[int | None, dict[str, dict[str, float]]] = {None: between}
    if not any(sum(parts.values()) for parts in between.values()):
        raise ValueError("the architecture knows no energy: give one with circuits")
    for b in progress(options, "bits"):
        errors[b] = layers(task.made(b, b), task.batches, alone=b == middle)
        by_dac[b] = task.energies(task.made(b, middle)) if b in drivers else between
        by_adc[b] = task.energies(task.made(middle, b)) if b in converters else between
    found: dict[str, list[Choice]] = {}
    for layer in errors[middle].layers:
        name, weight = layer.name, _weight(layer.alone or 0.0, layer.own)
        for d, a in product(drivers, converters):
            squared = _squared(errors[d or middle], name, _DAC)
            squared += _squared(errors[a or middle], name, _ADC)
            joules = _together(by_dac[d][name], by_adc[a][name], between[name])
            found.setdefault(name, []).append(Choice(d, a, joules, weight**2 * squared))
    return found


def _together(
    by_dac: Mapping[str, float], by_adc: Mapping[str, float], between: Mapping[str, float]
) -> float:
    """Return the energy with the bits of both, from those of one varied at a time (J).

    A circuit is used so often (in as many phases as inputs have bits, say) and needs so much each
    time: of each circuit by itself the two multiply.
    """
    return sum(by_dac[part] * by_adc[part] / known for part, known in between.items() if known)


def _weight(alone: float, own: float) -> float:
    """Return how much an error of a layer weighs at the outputs."""
    return alone / own if own > 0.0 else 0.0


def _squared(errors: LayerErrors, name: str, causes: tuple[str, ...]) -> float:
    added = errors[name].added
    return sum(added.get(cause, 0.0) ** 2 for cause in causes)


class _Made(NamedTuple):
    """A model with bits that were chosen: its hardware by layer, and what was measured of it."""

    model: nn.Module
    overrides: dict[str, Hardware]
    chosen: dict[str, Choice]
    energy: float
    error: float


def _made(task: _Task, chosen: dict[str, Choice]) -> _Made:
    overrides = _overrides(task, chosen)
    analog = task.made(overrides=overrides)
    error = conversion_error(analog, task.batches)
    return _Made(analog, overrides, chosen, task.energy(analog), error)


def _within(
    task: _Task, tables: dict[str, list[Choice]], error: float | None, budget: float
) -> _Made:
    """Return a model that is measured to be within the budget of error, or else of energy.

    Tables are not quite what is measured: errors of layers are not quite independent, and the
    crossbars of one layer have the same bits, the finest of theirs. Then less is asked of them, by
    as much as it was too much.
    """
    limited, wanted = (energy_of, error_of) if error is None else (error_of, energy_of)
    whole = budget if error is None else budget**2
    limit, margin = whole, 0.99 if error is None else 0.9
    last = least(tables, limited, wanted)
    for number in range(_ROUNDS):
        tried = number < _ROUNDS - 1
        chosen = (cheapest(tables, limit, limited, wanted) if tried else None) or last
        found = _made(task, chosen)
        measured = found.energy if error is None else found.error**2
        if measured <= whole * EXACT:
            return found
        if chosen == last:
            break
        limit *= margin * whole / measured
    if error is None:
        raise ValueError(
            f"energy must be larger: the least that these bits allow is "
            f"{quantity(found.energy, 'J')}"
        )
    raise ValueError(
        f"error {budget:g} is not met with {task.options[0]} to {task.options[-1]} bits, "
        f"{found.error:.2g} was measured: allow more, or finer converters"
    )


def _tuned(task: _Task, made: _Made) -> Tuned:
    for alike in task.options:
        same = task.made(alike, alike)
        error = conversion_error(same, task.batches)
        if error <= made.error:
            break
    return Tuned(*made, alike, task.energy(same), error)


def _overrides(task: _Task, chosen: dict[str, Choice]) -> dict[str, Hardware]:
    """Return the hardware of every layer; of one with several crossbars, the finest of theirs."""
    bits: dict[str, list[Choice]] = {}
    layers_of = {
        entry.name: [entry.name, *entry.readers] for entry in listing(task.made()) if entry.layer
    }
    for name, choice in chosen.items():
        for crossbar in layers_of.get(name, []):
            for layer in task.names():
                if layer == crossbar or not layer or crossbar.startswith(f"{layer}."):
                    bits.setdefault(layer, []).append(choice)
    return {
        name: _with_bits(task.hardware, _finest(c.dac for c in own), _finest(c.adc for c in own))
        for name, own in bits.items()
    }


def _finest(bits: Iterable[int | None]) -> int | None:
    known = [b for b in bits if b is not None]
    return max(known) if known else None


@torch.no_grad()
def conversion_error(analog: nn.Module, inputs: Tensor | Iterable[Any]) -> float:
    """Return what converters do to a model's outputs, relative (root mean square).

    Against the same cells, wires and correction behind exact converters; neither is noisy.

    Args:
        analog: converted, calibrated.
        inputs: as for `mho.calibrate`.
    """
    batches = batches_of(inputs, analog)
    quiet = noise_free(analog)
    with_converters = Runs(quiet, batches, {}).outputs()
    for entry in listing(quiet):
        crossbar, whole = entry.crossbar, entry.crossbar.hardware
        crossbar.hardware = whole.replace(dac=whole.drive.exact, adc=None)
        crossbar.refresh()
    exact = Runs(quiet, batches, {}).outputs()
    return relative(with_converters - exact, exact)
