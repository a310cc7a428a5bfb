"""Amplifiers from pairs of expected and measured currents, where nothing else is known."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy.typing as npt
import torch

from mho.core import checks, intake, random
from mho.effects import ReadNoise
from mho.fit import twin_search as search
from mho.fit.calibration import Array
from mho.fit.judged import Judged, check_determined, check_noise, judge, names_of, parted
from mho.fit.printed import Printed
from mho.fit.twin_model import Direct, State
from mho.fit.twin_task import Task
from mho.fit.twin_verdict import verdict
from mho.hardware import Hardware
from mho.periphery.amplifier import Lying

FREE = ("gain", "offset", "nonlinearity", "read_noise")
NAMES = (*FREE, "shared_noise")
_LEAST = 20


@dataclass(frozen=True, repr=False)
class ProductsFit(Judged, Printed):
    """Amplifiers that make measured currents of expected ones.

    ``hardware`` is the hardware given with this `mho.Amplifier`. ``estimates`` are ``gain[j]`` and
    ``offset[j]`` (A) of every line, ``compression`` (1/A), ``gain_noise`` (relative),
    ``output_noise`` and ``shared_noise`` (A).

    Attributes:
        expected: held-out expected currents ``[reads, lines]`` (A).
    """

    expected: Array

    def read(self, expected: npt.ArrayLike, seed: int = 0) -> Array:
        """Return what the amplifiers make of currents, noise and all.

        Args:
            expected: ``[reads, lines]`` or ``[reads]`` (A).
            seed: of the noise.
        """
        currents = torch.as_tensor(intake.array("expected", expected))
        amplifier, shape = self.hardware.amplified, currents.shape
        if amplifier is None:
            return currents.numpy()
        parts = currents.reshape(1, 1, len(currents), -1)
        width = parts.shape[-1]
        lines = amplifier.lines(0, 1, Lying(1, width, width, 1, joined=True), parts)
        (found,) = amplifier.amplify([parts], lines, 1.0, random.stream(seed))
        values: Array = found.reshape(shape).numpy()
        return values


def products(
    expected: npt.ArrayLike,
    measured: npt.ArrayLike,
    hardware: Hardware | None = None,
    *,
    free: Collection[str] = FREE,
    held_out: float = 0.2,
    seed: int = 0,
) -> ProductsFit:
    """Find the amplifiers that make measured currents of expected ones.

    Where inputs and conductances are known `mho.fit.hardware` tells more: which part of an error is
    of wires, cells and converters. Here all of it counts as the amplifiers': a gain and an offset
    of every line, compression, noise of a constant size and noise in proportion to the current.

    Args:
        expected: currents by the conductances and inputs asked for, ``[reads, lines]`` (A), or
            ``[reads]`` where lines are not known apart.
        measured: of the same shape (A).
        hardware: what else is known of the chip; its amplifier is where the search starts. An
            interleaved array cannot be.
        free: what is looked for; the rest is as the hardware's amplifier says. With
            ``"shared_noise"`` also what lines of one read have in common: only where expected
            currents are right but for gain and offset, else it takes these for noise.
        held_out: share of the reads that is kept for judging the fit, 0.05…0.5.
        seed: of who is held out.

    Raises:
        TypeError, ValueError: if data are refused, or cannot determine what is looked for.
    """
    hardware = Hardware() if hardware is None else hardware
    checks.instance("hardware", hardware, Hardware)
    names = frozenset(names_of(free, NAMES))
    _check_cells(hardware, names)
    x, y = _pairs(expected, measured, hardware)
    used, judged = parted(len(x), held_out, seed)
    lines = x.shape[1]
    if {"gain", "offset"} <= names and bool((x[used] == x[used][:1]).all(0).any()):
        raise ValueError("expected must vary on every line: else gain and offset are one")
    dead = (x[used] == 0.0).all(0).nonzero().flatten().tolist()
    if dead and "gain" in names:
        raise ValueError(
            f"expected must not be 0 on every read of a line whose gain is free; lines {dead} are"
        )
    cells = torch.zeros(hardware.encoding.slices, 0, lines, dtype=torch.float64)
    start = State.of(hardware, cells, lines, len(used))
    task = Task(Direct(hardware), x[used], y[used], start, names, (), 0.01)
    check_noise(task, x)
    found = search.search(task)
    check_determined(task, found)
    result = ProductsFit(**judge(task, found, x[judged], y[judged]), expected=x[judged].numpy())
    return replace(result, verdict=verdict(task, found, result))


def _check_cells(hardware: Hardware, names: frozenset[str]) -> None:
    """Refuse cells whose noise is known: what it makes of currents takes inputs."""
    for behaviour in hardware.behaviours:
        replaced = isinstance(behaviour, ReadNoise) and "read_noise" in names
        if behaviour.acts_on("read_std") and not replaced:
            raise ValueError(
                f"hardware must not have cells with read noise, got {type(behaviour).__name__}: "
                "without inputs all noise counts as the amplifiers'; mho.fit.hardware takes both"
            )


def _pairs(
    expected: npt.ArrayLike, measured: npt.ArrayLike, hardware: Hardware
) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.as_tensor(intake.array("expected", expected))
    y = torch.as_tensor(intake.array("measured", measured))
    if x.shape != y.shape or x.dim() not in (1, 2):
        raise ValueError(
            "expected and measured must be of one shape, [reads] or [reads, lines], got "
            f"{list(x.shape)} and {list(y.shape)}"
        )
    for name, values in (("expected", x), ("measured", y)):
        checks.finite(name, values)
    if len(x) < _LEAST:
        raise ValueError(f"expected must be of at least {_LEAST} reads, got {len(x)}")
    x, y = x.reshape(len(x), -1), y.reshape(len(x), -1)
    if x.shape[1] % hardware.encoding.converters or hardware.array.interleaved:
        raise ValueError(
            f"expected must have a line for each of the {hardware.encoding.converters} converters "
            f"of every output, of an array that is not interleaved, got {x.shape[1]} lines"
        )
    return x, y
