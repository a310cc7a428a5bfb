"""The problem every solver is given: canonical arrays, and the voltages at their terminals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mho.circuit.grid import Grid, canonical, turn_cols, turn_rows
from mho.circuit.lines import Ohms, as_lines, conductances, solving_device
from mho.circuit.wires import Wires
from mho.core.checks import instance


def arrays(G: Tensor, wires: Wires, given: Mapping[str, Ohms | None]) -> Grid:
    """Check conductances and wires, and return the canonical arrays.

    Args:
        G: conductances ``[..., m, n]`` [S].
        wires: line resistances and which ends are used.
        given: by name, resistances that count instead of those of ``wires``; or None.

    Raises:
        ValueError: for gated wires, resistances or conductances out of range, or other shapes.
        TypeError: for what is not a floating-point tensor, or not ``Wires``.
    """
    instance("wires", wires, Wires)
    if wires.gated:
        raise ValueError(
            "wires must not be gated here: in a gated array the inputs switch the cells, so "
            "currents are no fixed T times the inputs; use mho.circuit.solve_gated"
        )
    cells = conductances(G)
    _, m, n = cells.shape
    lead = G.shape[:-2]
    sizes = {"source": m, "word": m, "bit": n, "sense": n}
    lines = {
        name: as_lines(
            name, getattr(wires, name) if given[name] is None else given[name], lead, size, cells
        )
        for name, size in sizes.items()
    }
    return canonical(cells, wires, **lines)


@dataclass(frozen=True)
class Terminals:
    """Voltages at the ends of canonical arrays, and the shape of what follows from them.

    Args:
        drivers: ``[N, V, m]`` [V].
        sinks: ``[N, V, n]`` [V].
        lead: leading dimensions of solutions as batches of vectors, ``[..., V]``.
        single: whether one vector was given: solutions then lack the last of these.
    """

    drivers: Tensor
    sinks: Tensor
    lead: tuple[int, ...]
    single: bool

    @property
    def across(self) -> Tensor:
        """Driver minus sink of every cell ``[N, V, m, n]`` [V]."""
        return self.drivers[..., :, None] - self.sinks[..., None, :]


def terminals(G: Tensor, wires: Wires, voltages: Tensor, sink: Tensor | float) -> Terminals:
    """Check voltages and bring them to the form solvers take.

    Args:
        G: says how many arrays of which size there are ``[..., m, n]``.
        wires: say which ends are used.
        voltages: of the drivers, ``[m]`` or ``[..., vectors, m]`` [V].
        sink: voltage of the sinks: one number, ``[n]`` or ``[..., vectors, n]`` [V].

    Raises:
        ValueError: for voltages that are not finite, or do not fit ``G`` or each other.
        TypeError: for what is not a tensor.
    """
    m, n = G.shape[-2:]
    drivers = _voltages("voltages", voltages, m, G)
    sinks = _voltages("sink", torch.as_tensor(sink, dtype=G.dtype, device=G.device), n, G)
    lead, drivers, sinks = _matched(G, drivers, sinks)
    single = voltages.ndim == 1 and (not isinstance(sink, Tensor) or sink.ndim < 2)
    return Terminals(turn_rows(drivers, wires), turn_cols(sinks, wires), lead, single)


def _matched(G: Tensor, drivers: Tensor, sinks: Tensor) -> tuple[tuple[int, ...], Tensor, Tensor]:
    # Voltages as [N, V, m] and [N, V, n] with the arrays' N, and the shape [..., V] of the answer.
    m, n = G.shape[-2:]
    try:
        # (torch.broadcast_shapes takes a second, the first time it is called.)
        pair = _shape(drivers[..., 0], sinks[..., 0])
        lead = (*_shape(G[..., 0, 0], drivers.new_empty(pair)[..., 0]), pair[-1])
    except RuntimeError:
        lead = ()
    # One array under batches of voltages: the batches are just more vectors.
    if not lead or (G.ndim > 2 and lead[:-1] != G.shape[:-2]):
        raise ValueError(
            f"voltages [..., vectors, m] and sink [..., vectors, n] must fit G of shape "
            f"{list(G.shape)}, got {list(drivers.shape)} and {list(sinks.shape)}"
        )
    arrays = math.prod(G.shape[:-2])
    drivers = drivers.expand(*lead, m).reshape(arrays, -1, m)
    return lead, drivers, sinks.expand(*lead, n).reshape(arrays, -1, n)


def _shape(first: Tensor, second: Tensor) -> torch.Size:
    return torch.broadcast_tensors(first, second)[0].shape


def _voltages(name: str, values: Tensor, size: int, G: Tensor) -> Tensor:
    instance(name, values, Tensor)
    if values.ndim == 0 and name == "sink":
        values = values.expand(size)
    if values.ndim == 0 or values.shape[-1] != size:
        raise ValueError(
            f"{name} must have shape [..., {size}] to fit G of shape {list(G.shape)}, "
            f"got {list(values.shape)}"
        )
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"{name} must be finite, got NaN or infinite entries")
    values = values.to(device=solving_device(G), dtype=torch.float64)
    return values[None] if values.ndim == 1 else values
