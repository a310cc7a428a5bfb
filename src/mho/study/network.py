"""What a network's accuracy becomes on some hardware, beside plain PyTorch and ideal cells."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mho.cells.programming import Exact
from mho.core import checks, durations
from mho.core.digests import digest
from mho.core.durations import Duration
from mho.devices.linear import LinearDevice
from mho.hardware import Hardware
from mho.model.calibrate import calibrate
from mho.model.convert import convert
from mho.model.inputs import batches_of
from mho.model.lifecycle import age
from mho.model.scoring import check_classifier, labelled, share_right
from mho.study.chips import listed, over_chips

HOUR, DAY, MONTH, YEAR = 3600.0, 86_400.0, 2_592_000.0, 31_557_600.0


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Accuracies of one network, in [0, 1].

    Attributes:
        digital: in plain PyTorch.
        ideal: on chips of ideal cells, with the same converters, ``[chips]``.
        chips: on chips of the hardware as time passes, ``[chips, times]``.
        recalibrated: the same, calibrated anew before every test, ``[chips, times]``.
        times: after programming (s); the first is 0.
        samples: how many inputs were tested.
        reads_per_second: that every cell was through as time passed.
        note: what was left out, in words; empty if nothing.
    """

    digital: float
    ideal: Tensor
    chips: Tensor
    recalibrated: Tensor
    times: tuple[float, ...]
    samples: int
    reads_per_second: float = 0.0
    note: str = ""

    @property
    def loss(self) -> tuple[float, float]:
        """What the cells cost just after programming, and the standard error of that.

        The difference to ideal cells, chip by chip. The error is that of few chips alone: all are
        tested on the same inputs.
        """
        difference = self.ideal - self.chips[:, 0]
        few = len(difference) < 2
        error = float("nan") if few else float(difference.std()) / len(difference) ** 0.5
        return float(difference.mean()), error

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain values, for JSON."""
        return {
            "digital": self.digital,
            "ideal": self.ideal.tolist(),
            "times": list(self.times),
            "chips": self.chips.tolist(),
            "recalibrated": self.recalibrated.tolist(),
            "samples": self.samples,
            "reads_per_second": self.reads_per_second,
            "note": self.note,
        }


def ideal_cells(hardware: Hardware) -> Hardware:
    """Return the same hardware with ideal cells: linear, exact, and nothing that harms them."""
    low, high = hardware.device.window
    device = LinearDevice(g_min=low, g_max=high)
    return hardware.replace(device=device, effects=(), programming=Exact())


def ages(hardware: Hardware) -> bool:
    """Whether cells of this hardware change while they lie still, unread."""
    return any(
        behaviour.changing or (behaviour.acts_on("age") and not behaviour.counts_reads)
        for behaviour in hardware.behaviours
    )


def check_reads(hardware: Hardware, reads_per_second: float) -> None:
    """Refuse reads of hardware that does not go by them (TypeError, ValueError)."""
    reads_per_second = checks.number("reads_per_second", reads_per_second, least=0.0)
    if reads_per_second and not _counting(hardware):
        raise ValueError(
            f"reads_per_second={reads_per_second!r} would change nothing: the hardware has no "
            "effect that goes by reads (as mho.effects.ReadDisturb does)"
        )


def _counting(hardware: Hardware) -> list[str]:
    return [type(one).__name__ for one in hardware.behaviours if one.counts_reads]


def _note(hardware: Hardware, reads_per_second: float) -> str:
    counting = _counting(hardware)
    if not counting or reads_per_second:
        return ""
    return (
        f"reads change these cells ({', '.join(counting)}), and none are counted here: say "
        "reads_per_second"
    )


def accuracy(
    model: nn.Module,
    hardware: Hardware,
    inputs: Any,
    labels: Any = None,
    *,
    calibration: Any,
    seeds: Sequence[int],
    times: Sequence[Duration] | None = None,
    reads_per_second: float = 0.0,
    workers: int = 1,
    store: str | Path | None = None,
    executor: Executor | Callable[[], Executor] | None = None,
    name: str = "accuracy",
    label: str | None = None,
) -> Accuracy:
    """Measure a classifier on many chips of some hardware, each with cells of its own.

    Every chip is programmed as the hardware says and calibrated once; see `over_chips`.

    Args:
        model: trained, digital; it is not changed.
        hardware: what the chips are made of.
        inputs: to test with, ``[samples, ...]``, in any form that `mho.calibrate` takes.
        labels: their classes, ``[samples]``. None: ``inputs`` are a Dataset, a DataLoader or a pair
            of both.
        calibration: inputs to calibrate with, none of those tested, in any form.
        seeds: one chip each.
        times: after programming (s, or as text, ``"1 day"``) at which to test, rising from 0. If
            not given: 0 and, where cells age (or are read), an hour, a day, a month and a year.
        reads_per_second: that every cell is through as time passes, >= 0, for hardware with an
            effect that goes by them (`mho.effects.ReadDisturb`); reads of the tests are none.
        workers: how many chips are made at once.
        store: a file or database that keeps finished chips, as `over_chips` takes it.
        executor: what makes the chips, as `over_chips` takes it.
        name: of this study in the store.
        label: names a progress bar; None shows none.

    Raises:
        TypeError, ValueError: if the model has no layer for crossbars or is no classifier of these
            inputs and labels, they are not as many, there is no seed, times do not rise from 0, or
            there are reads and nothing goes by them.
    """
    checks.instance("model", model, nn.Module)
    inputs, labels = labelled(model, inputs, labels)
    calibration = batches_of(calibration, model)
    seeds = listed(seeds)
    check_reads(hardware, reads_per_second)
    if times is None:
        passing_changes = ages(hardware) or reads_per_second > 0.0
        times = (0.0, HOUR, DAY, MONTH, YEAR) if passing_changes else (0.0,)
    stops = [durations.seconds("every time", time, least=0.0) for time in times]
    if not stops or stops[0] != 0.0 or any(b <= a for a, b in pairwise(stops)):
        raise ValueError(f"times must rise from 0, got {stops}")

    model = copy.deepcopy(model).eval()
    check_classifier(model, inputs, labels)
    with torch.no_grad():
        digital = share_right(model, inputs, labels)
    analog = convert(model, hardware, seed=seeds[0]).eval()
    ideal = convert(model, ideal_cells(hardware), seed=seeds[0]).eval()
    data = (inputs, labels, calibration)
    shared: Any = {"workers": workers, "store": store, "executor": executor, "label": label}
    once, anew = (_Passing(data, stops, reads_per_second, again) for again in (False, True))
    chips = over_chips(analog, once, seeds, name=name, **shared)
    again = chips
    if len(stops) > 1:
        again = over_chips(analog, anew, seeds, name=f"{name}, recalibrated", **shared)
    fresh = _Passing(data, (0.0,), 0.0, False)
    return Accuracy(
        digital=digital,
        ideal=over_chips(ideal, fresh, seeds, name=f"{name}, ideal cells", **shared)[:, 0],
        chips=chips,
        recalibrated=again,
        times=tuple(stops),
        samples=len(inputs),
        reads_per_second=reads_per_second,
        note=_note(hardware, reads_per_second),
    )


class _Passing:
    """Accuracies of one chip as time passes, calibrated once or before every test."""

    def __init__(
        self,
        data: tuple[Tensor, Tensor, Any],
        times: Sequence[float],
        reads_per_second: float,
        recalibrated: bool,
    ) -> None:
        self._inputs, self._labels, self._calibration = data
        self._times, self._reads, self._anew = times, reads_per_second, recalibrated

    @property
    def identity(self) -> dict[str, Any]:
        """What makes it this test, for a store."""
        return {
            "data": [digest(item) for item in (self._inputs, self._labels, self._calibration)],
            "times": list(self._times),
            "reads_per_second": self._reads,
        }

    def __call__(self, chip: nn.Module) -> list[float]:
        found, now = [self._fresh(chip)], 0.0
        for stop in self._times[1:]:
            age(chip, stop - now, self._reads * (stop - now))
            now = stop
            found.append(self._fresh(chip) if self._anew else self._right(chip))
        return found

    def _fresh(self, chip: nn.Module) -> float:
        calibrate(chip, self._calibration)
        return self._right(chip)

    def _right(self, chip: nn.Module) -> float:
        return share_right(chip, self._inputs, self._labels)
