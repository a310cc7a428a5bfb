"""Nonlinear cells taken as conductances: one ``T`` for all inputs, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mho.circuit.lines import Ohms
from mho.circuit.newton import Law, value_and_slope
from mho.circuit.nonlinear import solve_nonlinear
from mho.circuit.solver import effective_conductance
from mho.circuit.wires import Wires
from mho.core.checks import finite, instance, one_of

KINDS = ("chord", "tangent")


def linearised(
    current: Law,
    shape: tuple[int, ...],
    wires: Wires,
    at: Tensor | float,
    *,
    kind: str = "chord",
    source: Ohms | None = None,
    word: Ohms | None = None,
    bit: Ohms | None = None,
    sense: Ohms | None = None,
) -> Tensor:
    """Return the effective conductance matrix of cells taken as conductances.

        G = I(at)/at  (chord)   or   dI/dv at ``at``  (tangent),     I ≈ V @ T(G)

    A chord is right for inputs of that one voltage (and 0); a tangent for small changes about it.

    Args:
        current: the law of all cells, from voltages ``shape`` [V] to currents [A].
        shape: of the arrays ``(..., m, n)``.
        wires: line resistances and which ends are used; not gated.
        at: operating voltage of the cells, one or ``shape`` [V]; not 0 for a chord.
        kind: ``"chord"`` or ``"tangent"``.
        source: as for ``effective_conductance``, and so the next three.
        word: likewise.
        bit: likewise.
        sense: likewise.

    Returns:
        ``T`` ``[..., m, n]`` [S], float64. Chords are differentiable in what the law depends on.

    Raises:
        ValueError: for an operating voltage that is 0 (chord) or not finite, conductances below 0,
            and as for ``effective_conductance``.
        TypeError: for what is not a floating-point tensor.
    """
    one_of("kind", kind, KINDS)
    v = torch.as_tensor(at, dtype=torch.float64)
    finite("at", v)
    v = v.expand(shape)
    if kind == "tangent":
        _, G = value_and_slope(current, v)
    else:
        if bool((v == 0).any()):
            raise ValueError("at must not be 0 V for a chord: take kind='tangent' there")
        G = current(v) / v
    return effective_conductance(
        G.to(torch.float64), wires, source=source, word=word, bit=bit, sense=sense
    )


@dataclass(frozen=True)
class Difference:
    """What taking cells as conductances changes.

    Args:
        exact: sensed currents of the nonlinear circuit ``[..., n]`` [A].
        linear: those of the linearised one ``[..., n]`` [A].
    """

    exact: Tensor
    linear: Tensor

    @property
    def largest(self) -> float:
        """Largest difference, relative to the largest exact current."""
        return float((self.linear - self.exact).abs().max() / self.exact.abs().max())

    @property
    def rms(self) -> float:
        """Root mean square difference, relative to the root mean square exact current."""
        return float((self.linear - self.exact).norm() / self.exact.norm())


def linearisation_error(
    current: Law,
    shape: tuple[int, ...],
    wires: Wires,
    voltages: Tensor,
    at: Tensor | float,
    *,
    kind: str = "chord",
) -> Difference:
    """Compare the linearised mode with Newton's solution for some inputs.

    Args:
        current: a law that takes voltages ``shape`` and ``[..., vectors, m, n]`` alike.
        shape: of the arrays ``(..., m, n)``.
        wires: line resistances and which ends are used.
        voltages: drivers ``[m]`` or ``[..., vectors, m]`` [V].
        at: operating voltage, as for ``linearised``.
        kind: as for ``linearised``.

    Returns:
        Both currents, and how far they differ.

    Raises:
        ValueError: as for ``solve_nonlinear`` and ``linearised``; and where no current flows.
        NotConvergedError: as for ``solve_nonlinear``.
    """
    instance("voltages", voltages, Tensor)
    exact = solve_nonlinear(current, shape, wires, voltages).currents
    T = linearised(current, shape, wires, at, kind=kind)
    if not bool(exact.any()):
        raise ValueError("no current flows under these voltages: there is nothing to compare")
    return Difference(exact, voltages.to(T) @ T)
