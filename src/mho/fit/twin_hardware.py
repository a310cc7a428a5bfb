"""From what a search has found to hardware that acts so, and to estimates."""

from __future__ import annotations

import numpy as np
import torch

from mho.cells.spread import Spread, nominal, spread_about
from mho.effects import AccessResistance, ReadNoise, StuckAt, StuckCells, WriteNoise
from mho.effects.base import Effect
from mho.fit.estimates import Estimates
from mho.fit.twin_task import CELLS, GAIN, OFFSET, Found, Task
from mho.hardware import Hardware
from mho.periphery import Amplifier


def exactly(task: Task, found: Found) -> Hardware:
    """Return this very array: a value for each line, broken cells at their places."""
    gain = tuple(found.state.gain.tolist())
    offset = tuple(found.state.offset.tolist())
    amplifier = _amplifier(
        task,
        found,
        gain if len(set(gain)) > 1 else gain[0],
        offset if len(set(offset)) > 1 else offset[0],
    )
    stuck: tuple[Effect, ...] = ()
    places = places_of(task, found)
    if places:
        at = torch.tensor(places)
        g = found.state.g[at[:, 0], at[:, 1], at[:, 2]]
        stuck = (StuckCells(places, tuple(g.tolist())),)
    hardware = _hardware(task, found, amplifier, stuck)
    # Its broken cells are known, not drawn.
    kept = tuple(e for e in hardware.effects if not isinstance(e, StuckAt))
    return hardware.replace(effects=kept)


def alike(task: Task, found: Found) -> Hardware:
    """Return arrays of its kind: lines' errors drawn, broken cells by their rate."""
    variance = found.solved.own_variance()
    gain = _spread(found.state.gain, variance[:, GAIN], low=0.01)
    offset = _spread(found.state.offset, variance[:, OFFSET])
    return _hardware(task, found, _amplifier(task, found, gain, offset), _rate(task, found))


def _hardware(
    task: Task, found: Found, amplifier: Amplifier, stuck: tuple[Effect, ...]
) -> Hardware:
    given = task.array.hardware
    effects = [e for e in given.effects if not _replaced(e, task)]
    if found.random.programming:
        effects.append(WriteNoise(found.random.programming, found.random.relative_to))
    if found.state.access:
        effects.append(AccessResistance(found.state.access))
    cells = found.noise.relative_to != "gain"
    if cells and "read_noise" in task.free and float(found.noise.tau[0]) > 0.0:
        effects.append(ReadNoise(float(found.noise.tau[0].sqrt()), found.noise.relative_to))
    _, rows, cols = task.start.g.shape
    lines = len(found.state.gain)
    size = {"rows": rows, "cols": cols} if rows else {"cols": lines // given.encoding.converters}
    apart = bool(rows) or lines > 1  # currents of one line may be of any, all alike
    array = given.array.replace(**size, wires=found.state.wires) if apart else given.array
    return given.replace(
        array=array,
        amplifier=None if amplifier.ideal else amplifier,
        effects=(*stuck, *effects),
    )


def _replaced(effect: Effect, task: Task) -> bool:
    if isinstance(effect, ReadNoise):
        return "read_noise" in task.free
    if isinstance(effect, AccessResistance):
        return True
    if isinstance(effect, WriteNoise):
        return "programming" in task.free
    return isinstance(effect, (StuckAt, StuckCells)) and "cells" in task.free


def _amplifier(
    task: Task,
    found: Found,
    gain: float | Spread | tuple[float, ...],
    offset: float | Spread | tuple[float, ...],
) -> Amplifier:
    given = task.array.hardware.amplifier or Amplifier()
    free = "read_noise" in task.free
    noise = float(found.noise.tau[1].sqrt()) if free else nominal(given.noise)
    of_gain = given.gain_noise
    if free and found.noise.relative_to == "gain":
        of_gain = float(found.noise.tau[0].sqrt())
    return Amplifier(gain, offset, found.state.compression, noise, found.random.together, of_gain)


def _spread(
    value: torch.Tensor, variance: torch.Tensor, low: float | None = None
) -> float | Spread:
    """Return the spread of a parameter over lines, less what its errors make of it."""
    mean = float(value.mean())
    own = float(value.var() - variance.mean()) if len(value) > 1 else 0.0
    return spread_about(mean, own**0.5, low=low) if own > 0.0 else mean


def _rate(task: Task, found: Found) -> tuple[Effect, ...]:
    places = places_of(task, found)
    if not places:
        return ()
    at = torch.tensor(places)
    g = found.state.g[at[:, 0], at[:, 1], at[:, 2]]
    low, high = task.array.hardware.device.window
    below = g < (low + high) / 2
    total = found.state.g.numel()
    return (
        StuckAt(
            low=int(below.sum()) / total,
            high=int((~below).sum()) / total,
            g_low=float(g[below].mean()) if bool(below.any()) else None,
            g_high=float(g[~below].mean()) if bool((~below).any()) else None,
        ),
    )


def places_of(task: Task, found: Found) -> tuple[tuple[int, int, int], ...]:
    """Return (slice, row, column) of the suspicious cells, line by line."""
    cols = task.start.g.shape[2]
    line, row = found.odd.nonzero(as_tuple=True)
    return tuple(zip((line // cols).tolist(), row.tolist(), (line % cols).tolist(), strict=True))


def estimates(task: Task, found: Found) -> Estimates:
    """Return every fitted parameter with its covariance.

    Of cells the suspicious ones alone: the others are in ``TwinFit.conductances``.
    """
    shown = found.fitted.clone()
    shown[:, CELLS:] &= found.odd.gather(1, found.cells)
    names, values = [], []
    cols = task.start.g.shape[2]
    for line, own in shown.nonzero().tolist():
        if own < CELLS:
            names.append(f"{('gain', 'offset')[own]}[{line}]")
            values.append(float((found.state.gain, found.state.offset)[own][line]))
        else:
            place = (line // cols, int(found.cells[line, own - CELLS]), line % cols)
            names.append("g[{}, {}, {}]".format(*place))
            values.append(float(found.state.g[place]))
    names += task.shared
    values += found.state.resistances(task.wires)
    values += [found.state.compression] if "nonlinearity" in task.free else []
    covariance = found.solved.covariance(shown).numpy()
    noise, of_noise = _noise(task, found)
    blocks = [covariance, np.diag(of_noise)]
    size = sum(len(block) for block in blocks)
    whole = np.zeros((size, size))
    whole[: len(covariance), : len(covariance)] = covariance
    whole[len(covariance) :, len(covariance) :] = blocks[1]
    return Estimates((*names, *noise), np.array([*values, *noise.values()]), whole)


def _noise(task: Task, found: Found) -> tuple[dict[str, float], list[float]]:
    """Return standard deviations of the noises, and the variances of these estimates."""
    values: dict[str, float] = {}
    variances: list[float] = []
    if "read_noise" in task.free:
        covariance = found.noise.covariance.diagonal().tolist()
        first = "gain_noise" if found.noise.relative_to == "gain" else "read_noise"
        pairs = zip((first, "output_noise"), found.noise.tau.tolist(), covariance, strict=True)
        for name, tau, variance in pairs:
            values[name] = tau**0.5
            variances.append(variance / (4 * tau) if tau > 0 else float("nan"))
    if "shared_noise" in task.free and found.random.together:
        values["shared_noise"] = found.random.together
        variances.append(found.random.together**2 / (2 * max(found.random.of_reads, 1.0)))
    if "programming" in task.free:
        values["programming"] = found.random.programming
        variances.append(values["programming"] ** 2 / (2 * max(found.random.of_cells, 1.0)))
    return values, variances
