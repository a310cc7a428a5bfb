"""The life of a population of cells: fabricate, program, age. Pure functions of tensors.

A crossbar calls these for the cells it holds; training calls the same functions for cells drawn
afresh at every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mho.cells.behaviour import Context
from mho.hardware import Hardware

ContextOf = Callable[[dict[str, Tensor]], Context]


@dataclass(frozen=True, eq=False)
class ProgramReport:
    """What was asked of the cells and what they hold.

    Attributes:
        target: conductances asked for ``[slices, rows, cols]`` (S).
        achieved: conductances stored, of the same shape (S).
        relative_error: ``‖achieved weight - target weight‖ / ‖target weight‖`` (Frobenius).
        stuck: fraction of cells that cannot be programmed.
    """

    target: Tensor
    achieved: Tensor
    relative_error: float
    stuck: float

    def __str__(self) -> str:
        slices, rows, cols = self.target.shape
        return (
            f"{slices} × {rows} × {cols} cells programmed: relative weight error "
            f"{self.relative_error:.3g}, {self.stuck:.2%} of the cells stuck"
        )


class Born(NamedTuple):
    """What fabrication drew.

    Attributes:
        states: each behaviour's own per-cell tensors.
        stuck: mask of the broken cells, or None.
        stuck_g: what the broken cells read forever (S), where the mask is true.
    """

    states: tuple[dict[str, Tensor], ...]
    stuck: Tensor | None
    stuck_g: Tensor | None

    def keep_stuck(self, g: Tensor) -> Tensor:
        """Return ``g`` with the broken cells as they are."""
        if self.stuck is None or self.stuck_g is None:
            return g
        return torch.where(self.stuck, self.stuck_g, g)


def fabricate(hardware: Hardware, context: ContextOf) -> Born:
    """Draw a population: per-cell parameters of every behaviour, and the broken cells.

    Args:
        hardware: what the cells are and what happens to them.
        context: makes the context a behaviour is given, from that behaviour's state.
    """
    states: list[dict[str, Tensor]] = []
    stuck: Tensor | None = None
    stuck_g: Tensor | None = None
    for behaviour in hardware.behaviours:
        state = behaviour.fabricate_state(context({}))
        states.append(state)
        broken = behaviour.stuck(context(state))
        if broken is None:
            continue
        stuck, stuck_g = broken_too(stuck, stuck_g, *broken)
    return Born(tuple(states), stuck, stuck_g)


def broken_too(
    stuck: Tensor | None, stuck_g: Tensor | None, also: Tensor, also_g: Tensor
) -> tuple[Tensor, Tensor]:
    """Join two sorts of broken cells, each a mask and conductances (S).

    A cell broken twice keeps its first fault.
    """
    if stuck is None or stuck_g is None:
        return also, also_g
    return stuck | also, torch.where(stuck, stuck_g, also_g)


def write(
    target: Tensor, hardware: Hardware, born: Born, context: ContextOf, *, noise: float = 1.0
) -> Tensor:
    """Program: from target conductances to stored ones (S), differentiable in the target.

    Args:
        target: conductances asked for (S).
        hardware: what the cells are and what happens to them.
        born: what fabrication drew.
        context: makes a behaviour's context.
        noise: factor on the standard deviation of the white error.
    """
    # Encodings stay inside the nominal window: only cells with windows of their own fall short.
    g = hardware.device.reach(target, born.states[0]) if hardware.device.spreads() else target
    for behaviour, state in zip(hardware.behaviours, born.states, strict=True):
        if behaviour.acts_on("program"):
            g = behaviour.program(g, context(state))
    variance = white("write_std", g, hardware, born, context) * noise**2
    if isinstance(variance, Tensor):
        # The root's gradient is infinite at zero: an error-free cell must not poison the others.
        deviation = variance.clamp(min=torch.finfo(g.dtype).tiny).sqrt()
        g = torch.relu(g + deviation * context({}).normal())
    elif variance:
        g = context({}).normal().mul_(math.sqrt(variance)).add_(g).relu_()
    return born.keep_stuck(g)


def white(
    stage: str, g: Tensor, hardware: Hardware, born: Born, context: ContextOf
) -> Tensor | float:
    """Return the variance (S²) of all white noise of a stage, ``"write_std"`` or ``"read_std"``.

    Returns:
        A tensor shaped like ``g``, or a number where all cells are alike.
    """
    variance: Tensor | float = 0.0
    for behaviour, state in zip(hardware.behaviours, born.states, strict=True):
        if behaviour.acts_on(stage):
            variance = variance + getattr(behaviour, stage)(g, context(state)) ** 2
    return variance


def age(
    g: Tensor, hardware: Hardware, born: Born, context: ContextOf, start: float, stop: float
) -> Tensor:
    """Age: from conductances (S) at ``start`` to those at ``stop`` (s after programming)."""
    for behaviour, state in zip(hardware.behaviours, born.states, strict=True):
        if behaviour.acts_on("age"):
            g = behaviour.age(g, context(state), start, stop)
    return born.keep_stuck(g)
