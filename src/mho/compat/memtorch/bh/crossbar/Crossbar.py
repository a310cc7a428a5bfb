"""Crossbars: cells as tensors, and views of them that are single devices.

A layer of ``memtorch.mn`` has ``crossbars``, a list of `Crossbar`, in pairs (positive, negative)
with ``DoubleColumn``; ``Conv3d`` has some for each input channel. A crossbar is its tensors, and
nothing else holds state: its ``devices`` read and write them at once. Only in the fallback for a
user's own class (``per_device`` is True) they are objects of their own: ``parameters`` are read
from them, and ``update`` carries conductances.

A stochastic parameter is a callable ``p`` with ``p()`` (one draw), ``p(return_mean=True)`` and
``p.sample(shape)`` (draws for all cells).
"""
# ruff: noqa: N999

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.compat._common import real, require, truth
from mho.compat.memtorch.bh.crossbar import _currents
from mho.compat.memtorch.bh.crossbar._cells import CellTensors, stored_dtype
from mho.compat.memtorch.bh.crossbar.Program import naive_program, program_all
from mho.compat.memtorch.bh.Quantize import converter
from mho.core import checks, derivatives

__all__ = ["Crossbar", "Operation", "Scheme", "init_crossbar", "simulate_matmul"]


class Scheme(Enum):
    """How a signed weight is held: by one column and a reference, or by a pair of columns."""

    SingleColumn = 1
    DoubleColumn = 2


@dataclass(frozen=True)
class Operation:
    """What `init_crossbar` returns beside the crossbars: an operation on all that hold a weight.

    For a pair it is the difference of the operation's results; for a single column the result
    less the reference ``g_m``, the middle of the window (S), which stands for a weight of 0.
    """

    scheme: Scheme
    g_m: float

    def __call__(
        self, crossbars: Any, operation: Callable[..., Any], idx: Any = None, **kwargs: Any
    ) -> Any:
        """Apply ``operation(crossbar, **kwargs)`` to those of a layer's crossbars.

        ``idx`` says which: two numbers of a pair, or one; the first if not given.
        """
        if self.scheme is Scheme.DoubleColumn:
            pair = (0, 1) if idx is None else tuple(idx)
            require(len(pair) == 2, f"idx must be two numbers, got {idx!r}")
            positive, negative = (operation(crossbars[i], **kwargs) for i in pair)
            return positive - negative
        crossbar = crossbars[0 if idx is None else int(idx)]
        result = operation(crossbar, **kwargs)
        if isinstance(result, Tensor) and result.shape == crossbar._g.shape:
            return result - self.g_m * crossbar.used
        return result - self.g_m


class Crossbar(CellTensors):
    """One array of cells, or the tiles it is cut into. The module's docstring says what is where.

    Args:
        memristor_model: class of the cells.
        memristor_model_params: keyword arguments of the class; stochastic ones are drawn per cell.
        shape: of the layer's weight: ``(columns, …)``; all but the first count as rows.
        tile_shape: rows and columns of a tile; None: the array is not cut.
        use_bindings: has no effect; kept as ``self.use_bindings``.
        cuda_malloc_heap_size: has no effect.
        random_crossbar_init: begin uniform in each cell's window, not at its lowest conductance.

    Raises:
        Refused: if the shape, the tile shape or the cells' parameters are refused.
    """

    def write_conductance_matrix(
        self,
        conductance_matrix: Tensor,
        transistor: bool = True,
        programming_routine: Callable[..., Any] | None = None,
        programming_routine_params: Mapping[str, Any] = {},
    ) -> None:
        """Write conductances, each cell to the nearest within its window.

        Args:
            conductance_matrix: of the layer's weight's shape, ``[columns, …]`` (S).
            transistor: 1T1R cells (True) are written exactly; passive ones (False) by the
                routine, if there is one.
            programming_routine: ``routine(crossbar, point, conductance, **params)``, called cell
                by cell; `naive_program` programs all cells at once where no neighbour is disturbed.
            programming_routine_params: its keyword arguments.

        Raises:
            Refused: if the matrix does not fit or is not finite.
        """
        transistor = truth("transistor", transistor)
        checks.instance("conductance_matrix", conductance_matrix, Tensor)
        given = conductance_matrix.detach()
        require(
            given.dim() >= 2 and given.shape[0] == self.columns and given[0].numel() == self.rows,
            f"conductance_matrix must have shape [{self.columns}, …] with {self.rows} values a "
            f"column, got {list(given.shape)}",
        )
        require(bool(torch.isfinite(given).all()), "conductance_matrix must be finite")
        wanted = given.to(self._g.device, stored_dtype(given.dtype))
        target = self.clamp(self._cut(wanted.reshape(self.columns, self.rows).T.contiguous()))
        if transistor or programming_routine is None:
            self.store(target)
            self.update(from_devices=False)
        elif programming_routine is naive_program and not self.per_device:
            program_all(self, target, **programming_routine_params)
        else:
            for point in map(tuple, self.used.nonzero().tolist()):
                self.devices = programming_routine(
                    self, point, float(target[point]), **programming_routine_params
                )
        if self.per_device or not transistor:  # what a user's own devices made of it
            self.update(from_devices=True)


def init_crossbar(
    weights: Tensor,
    memristor_model: Any,
    memristor_model_params: Mapping[str, Any],
    transistor: bool,
    mapping_routine: Callable[..., Any],
    programming_routine: Callable[..., Any] | None,
    programming_routine_params: Mapping[str, Any] = {},
    p_l: float | None = None,
    scheme: Scheme = Scheme.DoubleColumn,
    tile_shape: tuple[int, int] | None = (128, 128),
    use_bindings: bool = True,
    cuda_malloc_heap_size: int = 50,
    random_crossbar_init: bool = False,
) -> tuple[list[Crossbar], Operation]:
    """Map weights to conductances and write them to new crossbars.

    ``weights`` are ``[outputs, …]``; five dimensions (``Conv3d``) make crossbars for each channel.
    ``mapping_routine(weights, r_on, r_off, scheme=scheme, p_l=p_l)`` makes conductances of them,
    such as `naive_map`; ``p_l``, if not None, is the proportion of weights to retain, and
    ``scheme`` says how a signed weight is held. All else is for `Crossbar` and its
    `write_conductance_matrix`.

    Returns:
        The crossbars, and the `Operation` that joins what they give.

    Raises:
        Refused: if an argument is refused.
    """
    transistor = truth("transistor", transistor)
    random_crossbar_init = truth("random_crossbar_init", random_crossbar_init)
    require(isinstance(scheme, Scheme), f"scheme must be a Scheme, got {scheme!r}")
    values = weights.detach()
    # Channels with arrays of their own share one scale: their currents are added.
    channels = values.unbind(1) if values.dim() == 5 else (values,)
    columns = 2 if scheme is Scheme.DoubleColumn else 1
    shape = tuple(channels[0].shape)
    more = tile_shape, use_bindings, cuda_malloc_heap_size, random_crossbar_init
    crossbars = [
        Crossbar(memristor_model, memristor_model_params, shape, *more).to(values.device)
        for _ in range(columns * len(channels))
    ]
    r_on, r_off = crossbars[0].r_on_mean, crossbars[0].r_off_mean
    mapped = mapping_routine(values.clone(), r_on, r_off, scheme=scheme, p_l=p_l)
    targets = tuple(mapped) if columns == 2 else (mapped,)
    how = transistor, programming_routine, programming_routine_params
    for k, crossbar in enumerate(crossbars):
        target = targets[k % columns]
        target = target[:, k // columns] if values.dim() == 5 else target
        crossbar.write_conductance_matrix(target, *how)
    return crossbars, Operation(scheme, (1 / r_on + 1 / r_off) / 2)


def simulate_matmul(
    input: Tensor,
    crossbar: Any,
    nl: bool = True,
    tiles_map: Tensor | None = None,
    crossbar_shape: tuple[int, int] | None = None,
    max_input_voltage: float | None = None,
    ADC_resolution: int | None = None,
    ADC_overflow_rate: float = 0.0,
    quant_method: str | None = None,
    use_bindings: bool = True,
) -> Tensor:
    """Read a crossbar.

    Args:
        input: voltages ``[vectors, rows]``, or one vector ``[rows]`` (V).
        crossbar: the crossbar (or its ``devices``).
        nl: by conductances, ``I = g · v`` (True), or by each device's static current (False).
            Reads move no state.
        tiles_map: has no effect: a crossbar knows its own.
        crossbar_shape: has no effect: likewise.
        max_input_voltage: largest voltage of the drivers (V): larger inputs drive that much.
        ADC_resolution: bits, with a ``quant_method``.
        ADC_overflow_rate: fraction of currents that full scale may leave out.
        quant_method: one of ``quant_methods``; None: no conversion.
        use_bindings: has no effect.

    Returns:
        Currents ``[vectors, columns]``, or ``[columns]`` of one vector (A).

    Raises:
        Refused: if an argument is refused.
    """
    nl = truth("nl", nl)
    if isinstance(crossbar, np.ndarray):
        crossbar = _of_devices(crossbar, tiles_map, crossbar_shape)
    v = input.unsqueeze(0) if input.dim() == 1 else input
    require(
        v.dim() == 2 and v.shape[1] == crossbar.rows,
        f"input must have shape [vectors, {crossbar.rows}], got {list(v.shape)}",
    )
    ready = converter(ADC_resolution, ADC_overflow_rate, quant_method)
    if max_input_voltage is not None:
        most = real("max_input_voltage", max_input_voltage, least=0.0)
        v = derivatives.clip(v, -most, most)
    parts = _currents.tile_currents(v, crossbar, None if nl else _currents.common)
    out = _currents.added([parts], _currents.size(crossbar)[1], ready)
    return out.squeeze(0) if input.dim() == 1 else out


def _of_devices(devices: Any, tiles_map: Tensor | None, shape: tuple[int, int] | None) -> Any:
    """Return what a read needs of a crossbar, given its devices alone."""
    whole = getattr(devices, "crossbar", None)
    if whole is not None and whole.conductance_matrix.shape == devices.shape:
        return whole
    g = torch.from_numpy(Crossbar.g_np(devices)).float()
    rows, columns = devices.shape if shape is None else shape
    return SimpleNamespace(
        per_device=True,
        devices=devices,
        conductance_matrix=g,
        rows=rows,
        columns=columns,
        tiles_map=tiles_map,
        tile_shape=None if devices.ndim == 2 else devices.shape[1:],
    )
