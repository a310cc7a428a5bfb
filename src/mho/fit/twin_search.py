"""The search for what is hidden in a measured array, by maximum likelihood."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mho.effects.programming import WriteNoise
from mho.fit import twin_model as model
from mho.fit.pit import agreement
from mho.fit.twin_cells import least_score, suspicious
from mho.fit.twin_model import State
from mho.fit.twin_noise import fitted_noise, shapes_and_fixed
from mho.fit.twin_solve import Normal, Solved
from mho.fit.twin_task import CELLS, GAIN, OFFSET, Found, Noise, Random, Task

_ROUNDS, _STEPS, _HALVINGS = 8, 25, 8
_STILL = 1e-2  # of a standard error
_FIRST_RESISTANCE = 1.0  # ohm, where the hardware says 0
_FIRST_PROGRAMMING = 0.05  # relative
_LEAST_PROGRAMMING = 1e-5  # relative
_LEAST_TOGETHER = 1e-3  # of the noise of single lines
_LEAST_REFERENCE = 1e-3  # of the window


def search(task: Task) -> Found:
    """Find what makes the measured outputs likeliest.

    Programming errors relative to the window and to the target are both tried where the hardware
    does not say which, and the likelier are taken.
    """
    given = {e.relative_to for e in task.array.hardware.effects if isinstance(e, WriteNoise)}
    kinds = ("range", "value") if "programming" in task.free else ("range",)
    asked = [kind for kind in kinds if kind in given or not given] or list(kinds)
    return max((_searched(task, kind) for kind in asked), key=lambda found: found.evidence)


def _searched(task: Task, relative_to: str) -> Found:
    lines, rows = task.y.shape[1], task.start.g.shape[1]
    odd = torch.zeros(lines, rows, dtype=torch.bool)
    reference = torch.full_like(task.start.g, _range(task))
    if relative_to == "value":
        reference = task.start.g.clamp_min(_LEAST_REFERENCE * _range(task))
    amplifier = task.array.hardware.amplified
    random_ = Random(
        relative_to,
        reference.transpose(1, 2).flatten(0, 1),
        _FIRST_PROGRAMMING * ("programming" in task.free),
        0.0 if amplifier is None else amplifier.shared_noise,
    )
    state = _started(task)
    for _ in range(_ROUNDS):
        found = _settled(task, state, odd, random_)
        before = odd
        if "cells" in task.free:
            odd = _odd(task, found)
        state, random_ = found.state, found.random
        if not bool((odd == before).all()):
            continue
        # Broken cells and wrong wires make errors that lines share: not before these are known.
        if "shared_noise" not in task.free or random_.together:
            break
        random_ = replace(random_, together=_together(task, found))
        if not random_.together:
            break
    return found


def _together(task: Task, found: Found) -> float:
    """Return the deviation (A) that lines of one read share, 0 where it may be chance."""
    rest = task.y - task.array.outputs(found.state, task.v)
    agree, _ = agreement(rest.numpy(), found.noise.variance.sqrt().numpy())
    if not agree.shares:
        return 0.0
    return float((agree.shared * found.noise.variance.mean()) ** 0.5)


def _settled(task: Task, state: State, odd: Tensor, random_: Random) -> Found:
    """Find the likeliest state, given which cells are suspicious.

    Args:
        task: what is looked for.
        state: where from.
        odd: mask of the suspicious cells ``[lines, rows]``.
        random_: first guess of the sizes of what is drawn.
    """
    if not random_.programming:  # what was suspicious and is no longer is as given
        slices, _, cols = state.g.shape
        if len(odd) == slices * cols:
            kept = odd.unflatten(0, (slices, cols)).transpose(1, 2)
            state = replace(state, g=torch.where(kept, state.g, task.start.g))
    cells, chosen = _looked_at(task, odd)
    fitted = torch.cat((_of_lines(task, len(odd)), chosen), 1)
    drawn = chosen & ~odd.gather(1, cells) & bool(random_.programming)
    drawn = torch.nn.functional.pad(drawn, (CELLS, 0))
    # Noise, and what a cell does to its line, hardly change from step to step, and are dear.
    shapes = shapes_and_fixed(task, state)
    reach = task.array.reach(state) if cells.numel() else None
    for _ in range(_STEPS):
        precision = random_.precision(drawn, cells)
        used = (fitted & ~drawn).sum(1) + (random_.of_cells + random_.of_reads) / len(odd)
        noise = fitted_noise(task, state, shapes, used)
        own, shared, mean = derivatives(task, state, task.v, cells, reach)
        parts = own, shared, (task.y - mean).T - state.common, noise.variance.T.reciprocal()
        normal = Normal.of(*parts)
        if random_.together:
            normal = normal.with_reads(*parts, state.common, random_.together)
        value = _values(task, state, cells)
        reads = len(task.y) if random_.together else 0
        solved = normal.solved(fitted, precision, value, reads)
        before, variance = state, solved.own_variance()
        step, moving = _inside(task, state, normal, solved, cells, fitted, precision, value)
        state = _stepped(task, state, step, noise, precision, cells, random_.together)
        guess = random_
        size = float(noise.variance.mean().sqrt())
        random_ = _sized(task, state, solved, variance, cells, drawn, precision, size, random_)
        if guess.near(random_) and (before is state or _still(step, solved, variance, moving)):
            break
    evidence = _evidence(task, state, noise, precision, solved, cells, drawn, random_)
    return Found(state, solved, noise, cells, fitted, odd, random_, evidence)


def _sized(
    task: Task,
    state: State,
    solved: Solved,
    variance: Tensor,
    cells: Tensor,
    drawn: Tensor,
    precision: Tensor,
    noise: float,
    now: Random,
) -> Random:
    """Return the sizes of what is drawn that its values ask for.

    Their squares over the number of them that the data determine (D. J. C. MacKay, Neural
    Computation 1992, doi 10.1162/neco.1992.4.3.415).
    """
    if now.programming:
        count = float((1.0 - precision * variance)[drawn].clamp(0.0, 1.0).sum())
        relative = off(task, state).gather(1, cells) / now.reference.gather(1, cells)
        total = float(relative[drawn[:, CELLS:]].square().sum())
        size = max((total / max(count, 1.0)) ** 0.5, _LEAST_PROGRAMMING)
        now = replace(now, programming=size, of_cells=count)
    if now.together:
        unsure = solved.shared_covariance.diagonal()[len(task.shared) :]
        count = float((1.0 - unsure / now.together**2).clamp(0.0, 1.0).sum())
        total = float(state.common.square().sum())
        size = max((total / max(count, 1.0)) ** 0.5, _LEAST_TOGETHER * noise)
        sought = "shared_noise" in task.free  # what is known takes its share of the residuals too
        now = replace(now, together=size if sought else now.together, of_reads=count)
    return now


def _evidence(
    task: Task,
    state: State,
    noise: Noise,
    precision: Tensor,
    solved: Solved,
    cells: Tensor,
    drawn: Tensor,
    random_: Random,
) -> float:
    """Return the logarithm of the likelihood, what is drawn integrated out (up to a constant)."""
    total = _squares(task, state, noise, precision, cells, random_.together)
    total += float(noise.variance.log().sum()) - float(precision[drawn].log().sum())
    if random_.together:
        total += 2.0 * len(task.y) * float(torch.tensor(random_.together).log())
    return -0.5 * (total + solved.volume)


def _looked_at(task: Task, odd: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of the cells that are fitted, by line, and which of these places are used."""
    if "programming" in task.free:
        return torch.arange(odd.shape[1]).expand_as(odd), torch.ones_like(odd)
    count = int(odd.sum(1).max())
    chosen, cells = odd.to(torch.int8).sort(dim=1, descending=True, stable=True)
    return cells[:, :count], chosen[:, :count].bool()


def _of_lines(task: Task, lines: int) -> Tensor:
    return torch.tensor(["gain" in task.free, "offset" in task.free]).expand(lines, -1)


def _values(task: Task, state: State, cells: Tensor) -> Tensor:
    """Return the own parameters' deviations from what is known beforehand ``[lines, own]``."""
    of_cells = off(task, state).gather(1, cells)
    return torch.cat((of_cells.new_zeros(len(cells), CELLS), of_cells), 1)


def _started(task: Task) -> State:
    """Return the first guess: no resistance 0, gains and offsets by least squares."""
    first = {
        name: value or _FIRST_RESISTANCE
        for name, value in zip(task.wires, task.start.resistances(task.wires), strict=True)
    }
    state = task.start.with_resistances(first)
    if "gain" not in task.free:
        return state
    current = task.array.currents(state, task.v)
    if "offset" not in task.free:
        y = task.y - state.offset
        return replace(state, gain=(current * y).sum(0) / current.square().sum(0))
    apart = current - current.mean(0)
    gain = (apart * task.y).sum(0) / apart.square().sum(0).clamp_min(1e-300)
    return replace(state, gain=gain, offset=task.y.mean(0) - gain * current.mean(0))


def _range(task: Task) -> float:
    low, high = task.array.hardware.device.window
    return high - low


def off(task: Task, state: State) -> Tensor:
    """Return how far the cells are from what was given, by line ``[lines, rows]`` (S)."""
    return (state.g - task.start.g).transpose(1, 2).flatten(0, 1)


def derivatives(
    task: Task, state: State, v: Tensor, cells: Tensor, reach: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return derivatives of the outputs ``[lines, reads, own]`` and ``[lines, reads, shared]``.

    The third are the outputs themselves ``[reads, lines]``.

    Args:
        task: what is looked for.
        state: where.
        v: ``f(v) [reads, rows]``.
        cells: rows of the cells among the own parameters ``[lines, cells]``.
        reach: of the cells, see `mho.fit.twin_model.Array.reach`; not looked at without cells.
    """
    array = task.array
    current = array.currents(state, v)
    z = current * state.gain + state.offset
    slope = model.slope(z, state.compression)
    through = (slope * state.gain).T.unsqueeze(-1)
    lines = torch.stack(((slope * current).T, slope.T), -1)
    own = torch.cat((lines, model.by_cell(v, reach, cells) * through), -1)
    shared = [d * slope * state.gain for d in array.by_resistance(state, v, task.wires)]
    if "nonlinearity" in task.free:
        shared.append(model.by_compression(z, state.compression))
    both = torch.stack([d.T for d in shared], -1) if shared else own[..., :0]
    return own, both, model.compressed(z, state.compression)


def _stepped(
    task: Task,
    state: State,
    solved: Solved,
    noise: Noise,
    precision: Tensor,
    cells: Tensor,
    together: float,
) -> State:
    """Take the step, or as much of it as lowers the squares."""
    before, share = _squares(task, state, noise, precision, cells, together), 1.0
    for _ in range(_HALVINGS):
        tried = _moved(task, state, solved, share, cells)
        if _squares(task, tried, noise, precision, cells, together) <= before * (1 + 1e-12):
            return tried
        share /= 4.0
    return state


def _squares(
    task: Task, at: State, noise: Noise, precision: Tensor, cells: Tensor, together: float
) -> float:
    """Return what a step is to lower: squares of the residuals, and of what is drawn."""
    rest = task.y - task.array.outputs(at, task.v) - at.common.unsqueeze(1)
    prior = precision * _values(task, at, cells).square()
    common = at.common.square().sum() / together**2 if together else 0.0
    return float((rest.square() / noise.variance).sum() + prior.sum() + common)


def _moved(task: Task, state: State, solved: Solved, share: float, cells: Tensor) -> State:
    own = share * solved.own
    steps = dict(zip(task.shared, (share * solved.shared).tolist(), strict=True))
    g = (state.g + as_cells(task, own[:, CELLS:], cells)).clamp_min(0.0)
    moved = replace(
        state,
        gain=state.gain + own[:, GAIN],
        offset=state.offset + own[:, OFFSET],
        compression=max(state.compression + steps.get("compression", 0.0), 0.0),
        g=g,
        common=state.common + share * solved.reads if len(solved.reads) else state.common,
    )
    now = zip(task.wires, state.resistances(task.wires), strict=True)
    return moved.with_resistances({name: value + steps[name] for name, value in now})


def as_cells(task: Task, values: Tensor, cells: Tensor) -> Tensor:
    """Return values ``[lines, cells]`` at their places, shaped as the conductances; else 0."""
    slices, rows, cols = task.start.g.shape
    if not cells.numel():
        return torch.zeros_like(task.start.g)
    whole = values.new_zeros(len(values), rows).scatter_add(1, cells, values)
    return whole.unflatten(0, (slices, cols)).transpose(1, 2)


def _inside(
    task: Task,
    state: State,
    normal: Normal,
    solved: Solved,
    cells: Tensor,
    fitted: Tensor,
    precision: Tensor,
    value: Tensor,
) -> tuple[Solved, Tensor]:
    """Return the step with what is 0 and would fall below it held, and the own ones that move."""
    conducts = state.g.transpose(1, 2).flatten(0, 1).gather(1, cells) > 0.0
    held = torch.nn.functional.pad(~conducts & (solved.own[:, CELLS:] < 0.0), (CELLS, 0))
    now = [*state.resistances(task.wires), state.compression][: len(task.shared)]
    moves = (torch.tensor(now, dtype=torch.float64) > 0.0) | (solved.shared >= 0.0)
    moving = fitted & ~held
    if bool(moves.all()) and not bool((fitted & held).any()):
        return solved, moving
    return normal.solved(moving, precision, value, len(solved.reads), moves), moving


def _still(step: Solved, solved: Solved, variance: Tensor, moving: Tensor) -> bool:
    """Whether a step was small against what is not known anyway."""
    own = (step.own.square() / variance.clamp_min(1e-300))[moving]
    known = solved.shared_covariance.diagonal()[: len(step.shared)]
    shared = step.shared.square() / known.clamp_min(1e-300)
    return bool((torch.cat((own, shared)) < _STILL**2).all())


# ── suspicious cells ─────────────────────────────────────────────────────────────────────────


def _odd(task: Task, found: Found) -> Tensor:
    """Return which cells stand out now: further ones, and of those before the ones that last."""
    odd, cells = found.odd, found.cells
    deviation = off(task, found.state)
    variance = found.solved.own_variance()[:, CELLS:]
    if found.random.programming:
        # A prediction is shrunk: it varies by what the data have determined of it.
        size = (found.random.programming * found.random.reference).square()
        about = torch.where(odd, variance + size, size - variance).maximum(1e-6 * size)
        score = deviation.abs() / about.sqrt()
        return score >= least_score(score.flatten(), task.rate)
    spread = torch.ones_like(deviation).scatter(1, cells, variance.clamp_min(1e-300).sqrt())
    chance = task.rate * max(int(odd.sum()), 1) / odd.numel()
    lasting = odd & (torch.special.erfc(deviation.abs() / spread / 2**0.5) < chance)
    every = torch.arange(odd.shape[1]).expand_as(odd)
    reach = task.array.reach(found.state)
    own, shared, mean = derivatives(task, found.state, task.v, every, reach)
    normal = Normal.of(
        own, shared, (task.y - mean).T - found.state.common, found.noise.variance.T.reciprocal()
    )
    free = torch.cat((_of_lines(task, len(odd)), odd), 1)
    is_cell = torch.arange(free.shape[1]) >= CELLS
    more = suspicious(normal, is_cell, free, len(task.y), task.rate)
    return lasting | more[:, CELLS:]
