"""What most studies evaluate: the accuracy of a trained network, and what it costs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mho.analysis.architecture import ChipArchitecture
from mho.analysis.layer_cost import cost
from mho.analysis.records import OBJECTIVES
from mho.analysis.technology import Technology
from mho.core import checks, durations
from mho.core.digests import digest
from mho.core.durations import Duration
from mho.hardware import Hardware
from mho.model.calibrate import calibrate
from mho.model.convert import convert
from mho.model.inputs import Suiting
from mho.model.lifecycle import age, fabricate
from mho.model.scoring import check_classifier, labelled, share_right

COSTS = ("energy", "latency", "area")
_COSTED = 32  # inputs whose mean cost is taken


class AccuracyAndCost:
    """What `accuracy_and_cost` returns: called for every chip of a study.

    Attributes:
        objectives: ``"maximize"`` or ``"minimize"``, by the name of a result.
        units: of the results.
        identity: what it was given, by digests: another model or other data is another study.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor,
        labels: Tensor,
        calibration: Tensor,
        architecture: ChipArchitecture | Technology | None,
        objectives: Sequence[str],
        after: float,
    ) -> None:
        self._model = copy.deepcopy(model).eval()
        check_classifier(self._model, inputs, labels)
        self._inputs, self._labels, self._calibration = inputs, labels, calibration
        self._architecture, self._after = architecture, after
        self.objectives = {
            name: "maximize" if name == "accuracy" else "minimize" for name in objectives
        }
        self.units = {"accuracy": "", **{name: OBJECTIVES[name] for name in COSTS}}
        self.identity = {
            "model": digest(model),
            "inputs": digest(inputs),
            "labels": digest(labels),
            "calibration": digest(calibration),
            "architecture": None if architecture is None else repr(architecture),
            **({"after": after} if after else {}),
        }

    @torch.no_grad()
    def __call__(
        self, hardware: Hardware, seed: int, settings: Mapping[str, Any]
    ) -> dict[str, float | None]:
        """Return the results of one chip: accuracy in [0, 1], energy (J), latency (s), area (m²).

        Raises:
            ValueError: if a cost that is an objective is not all counted.
        """
        chip = self._made(hardware, seed)
        costs = self._costs(chip)  # before what takes longer: what is not known fails at once
        if self._after:
            age(chip, self._after)
        return {"accuracy": share_right(chip, self._inputs, self._labels), **costs}

    def _made(self, hardware: Hardware, seed: int) -> nn.Module:
        """Return the very chip that `over_chips` and `accuracy` make of this seed, calibrated."""
        chip = convert(self._model, hardware, program=False)
        fabricate(chip, seed)
        calibrate(chip.eval(), self._calibration)
        return chip

    @torch.no_grad()
    def check(self, hardware: Hardware) -> None:
        """Refuse objectives that this hardware's cost does not know, before a study begins.

        Raises:
            ValueError: if a cost that is an objective is not all counted.
        """
        if set(self.objectives) - {"accuracy"}:
            self._costs(self._made(hardware, 0))

    def _costs(self, chip: nn.Module) -> dict[str, float | None]:
        if not set(self.objectives) - {"accuracy"} and self._architecture is None:
            return {}
        found = cost(chip, self._calibration[:_COSTED], self._architecture)
        costs: dict[str, float | None] = {}
        for name in COSTS:
            value = getattr(found, name)
            known = value is not None and not found.uncounted(name)
            wanted = name in self.objectives
            costs[name] = found.objective(name) if wanted or known else None
        return costs


def accuracy_and_cost(
    model: nn.Module,
    inputs: Any,
    labels: Any,
    calibration: Any,
    *,
    architecture: ChipArchitecture | Technology | None = None,
    objectives: Sequence[str] | None = None,
    after: Duration = 0.0,
) -> AccuracyAndCost:
    """Return an ``evaluate`` for `sweep`: a classifier's accuracy on a chip, and what it costs.

    Every chip is converted, programmed as its hardware says and calibrated once. What is not an
    objective is recorded where it is known.

    Args:
        model: trained, digital; it is not changed.
        inputs: to test with, ``[samples, ...]``, in any form that `mho.calibrate` takes.
        labels: their classes, ``[samples]``. None: ``inputs`` are a Dataset, a DataLoader or a pair
            of both.
        calibration: inputs to calibrate with, none of those tested; the cost is the mean of the
            first 32.
        architecture: what is around the cells, as `mho.analysis.cost` takes it.
        objectives: among accuracy, energy, latency and area. If not given: accuracy and, with an
            architecture, energy. A cost that the architecture does not count in full is refused
            when the study begins; in a configuration that comes later its chips fail.
        after: how long the cells lie before the test (s, or as text, ``"1 day"``), programmed and
            calibrated; what a chip costs is that of a fresh one.

    Raises:
        TypeError, ValueError: if an argument is refused, or the model is no classifier of these
            inputs and labels.
    """
    checks.instance("model", model, nn.Module)
    inputs, labels = labelled(model, inputs, labels)
    calibration = Suiting.of(model).given("calibration", calibration)
    if not len(calibration):
        raise ValueError("calibration must be at least one input, got none")
    if architecture is not None:
        checks.instance("architecture", architecture, (ChipArchitecture, Technology))
    if objectives is None:
        objectives = ("accuracy",) if architecture is None else ("accuracy", "energy")
    checks.instance("objectives", objectives, (list, tuple))
    if not objectives:
        raise ValueError("objectives must be at least one, got none")
    for name in objectives:
        checks.one_of("every objective", name, ("accuracy", *COSTS))
    after = durations.seconds("after", after, least=0.0)
    return AccuracyAndCost(model, inputs, labels, calibration, architecture, objectives, after)
