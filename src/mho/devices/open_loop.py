"""Open-loop programming of pulse-count devices: so many set pulses from a reset, and no look back.

A target becomes a whole number of pulses by the nominal response (`counts`); what those pulses
store is another matter (`stored`): each cell follows its own parameters from its own ``g_min``, and
its noise adds up pulse by pulse. So finite levels, spread from cell to cell and noise from cycle to
cycle follow by themselves.

Nothing here loops over pulses for a population where it can be had at once:

* noise-free trains with a closed form (`PulsedDevice.burst`) take it;
* noisy trains of cells that are alike are drawn from an empirical law: many nominal cells,
  simulated once under a fixed seed, and kept after every pulse (`law`). The bounds, at which every
  single pulse stops, are in it exactly;
* where one parameter is spread, there is such a law at each of a few of its values, all from the
  same draws, and a cell lies between two of them;
* noisy step devices with spreads take mean and variance of the train in closed form
  (`PulsedDevice.burst_std`), the bounds acting at its end alone: where one pulse's noise is more
  than its step and some hundredths of the window, the mean is low by as much;
* what is left is simulated pulse by pulse.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mho.cells.spread import nominal
from mho.core import derivatives
from mho.core.constants import constant
from mho.devices.trains import Cell, bounded
from mho.periphery.quantize import straight_through

if TYPE_CHECKING:
    from mho.devices.pulsed import PulsedDevice

_SEED = 20_231  # of the nominal cells that are simulated: any
_MOST_CLOSED, _MOST_SIMULATED = 2**17, 2**14  # pulses
_STOPPED = 1e-4  # a curve this near (of the window) to where it ends is there
_STOPPED_NOISY, _SCOUTS = 5e-3, 2048  # the same for the mean of so many noisy cells
_ENTRIES = 2**22  # of all laws of a device together: 16 MB
_FEWEST, _MOST = 256, 2**15  # cells in a law
_LARGEST_GRID = 41
_LABEL_STEP, _OTHER_STEP = 0.5, 0.05  # between laws: in labels; in nominal values


def counts(device: PulsedDevice, target: Tensor) -> Tensor:
    """Return the numbers of set pulses that nominally come nearest to target conductances.

    Args:
        device: whose cells are to be programmed, from a reset (each at its ``g_min``).
        target: conductances (S), any shape.

    Returns:
        Pulse counts (int64), 0 to the device's levels, or to where its nominal curve ends.
    """
    nodes = _curve_on(device, target.device)
    middles = (nodes[1:] + nodes[:-1]) / 2
    return torch.bucketize(target.detach().double().contiguous(), middles)


def stored(
    device: PulsedDevice,
    pulses: Tensor,
    parameters: Cell,
    generator: torch.Generator | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the conductances (S) that trains of set pulses leave in cells that were reset.

    Args:
        device: of the cells.
        pulses: how many set pulses each cell gets (int64, >= 0), any shape.
        parameters: of the cells by name, where they differ from the nominal ones: numbers, or one
            value per cell (as the device's ``fabricate_state`` draws them).
        generator: of the noise; None is torch's default one.
        dtype: of the result; that of the per-cell parameters, else torch's default.
    """
    tensors = [value for value in parameters.values() if isinstance(value, Tensor)]
    dtype = dtype or (tensors[0].dtype if tensors else torch.get_default_dtype())
    n = pulses.flatten()
    cell: dict[str, float | Tensor] = {**device.constants(), **parameters}
    cell = {k: _flat(v, pulses, dtype) if isinstance(v, Tensor) else v for k, v in cell.items()}
    return _after(device, n, cell, generator, dtype).view(pulses.shape)


def programmed(
    device: PulsedDevice,
    target: Tensor,
    parameters: Cell,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Return what targets (S) become, as `stored` after `counts`, and the counts.

    The gradient is straight through: 1 inside of the nominal window, 0 outside of it.
    """
    with torch.no_grad():
        pulses = counts(device, target)
        g = stored(device, pulses, parameters, generator, dtype=target.dtype)
    return straight_through(g, derivatives.clip(target, *device.window)), pulses


@functools.lru_cache(maxsize=64)
def _curve_on(device: PulsedDevice, where: torch.device) -> Tensor:
    return curve(device).to(where)


@functools.lru_cache(maxsize=64)
def curve(device: PulsedDevice) -> Tensor:
    """Return the nominal conductances (S) after 0…N set pulses from ``g_min``, not decreasing.

    The closed form of a train where the device has one, else the mean of nominal cells. N is the
    device's number of levels, or where the curve comes to rest.

    Returns:
        ``[N + 1]``, float64.
    """
    plain = _plain(device)
    levels = getattr(plain, "levels", None)
    length, train = 64, None
    closed = _closed_curve(plain, 1) is not None
    while True:
        length = levels if isinstance(levels, int) else 2 * length
        if (nodes := _closed_curve(plain, length)) is None:
            train = train or _Train(plain, _SCOUTS if plain.noisy else 1)
            nodes = train.until(length).double().mean(1)
        width = plain.window[1] - plain.window[0]
        near = (_STOPPED if closed or not plain.noisy else _STOPPED_NOISY) * width
        nodes = nodes.cummax(0).values
        if isinstance(levels, int):
            return nodes
        most = _MOST_CLOSED if closed else _MOST_SIMULATED
        if length >= most or float(nodes[-1] - nodes[length // 2]) <= near:
            arrived = int((nodes < nodes[-1] - near).sum())
            return nodes[: max(arrived, 1) + 1]


class _Train:
    """Simulated nominal cells and what they held after every set pulse since a reset (S).

    Args:
        device: without spreads.
        cells: how many; one is enough for a noise-free device.
        own: a parameter in which cells differ, by name: one value for each.
    """

    def __init__(
        self, device: PulsedDevice, cells: int, own: Mapping[str, Sequence[float]] | None = None
    ) -> None:
        dtype = torch.float32 if device.noisy else torch.float64
        self._cells: Any = device.fabricate((cells,), seed=_SEED, dtype=dtype)
        self._trace: list[Tensor] = [self._cells.conductance().clone()]
        self._own = {n: torch.tensor(v, dtype=dtype) for n, v in (own or {}).items()}

    @torch.no_grad()
    def until(self, length: int) -> Tensor:
        """Return the conductances (S) after 0…length pulses, ``[length + 1, cells]``.

        A shorter train is gone on with; float64 of a noise-free device, else float32.
        """
        one = torch.ones_like(self._trace[-1], dtype=torch.int64)
        cell = {**self._cells._cell_at(None), **self._own}
        while len(self._trace) <= length:
            self._trace.append(self._cells._after(self._trace[-1], one, cell))
        return torch.stack(self._trace[: length + 1])


def law(device: PulsedDevice, length: int, cells: int) -> Tensor:
    """Return what simulated nominal cells hold (S) after 0…length set pulses from a reset.

    Args:
        device: without spreads.
        length: pulses.
        cells: how many; one is enough for a noise-free device.

    Returns:
        ``[length + 1, cells]``, float64 of a noise-free device, else float32.
    """
    return _Train(device, cells).until(length)


def _after(
    device: PulsedDevice,
    n: Tensor,
    cell: dict[str, float | Tensor],
    generator: torch.Generator | None,
    dtype: torch.dtype,
) -> Tensor:
    start = _full(cell["g_min"], n, dtype)
    mean = device.burst(start, n.to(dtype), cell)
    if mean is not None and not device.noisy:
        return _left_alone(n, start, bounded(mean, cell))
    varied = _varied(device, cell)
    if not varied:
        return _drawn(device, n, cell, generator, dtype)
    deviation = device.burst_std(start, n.to(dtype), cell)
    if mean is not None and deviation is not None:
        noise = torch.empty_like(start).normal_(generator=generator)
        return _left_alone(n, start, bounded(mean + deviation * noise, cell))
    if len(varied) == 1:
        return _between(device, varied[0], n, cell, generator, dtype)
    return _one_by_one(device, n, start, cell, generator)


def _varied(device: PulsedDevice, cell: Cell) -> list[str]:
    # The parameters that differ from cell to cell and shape a set train.
    own = {field.name for field in dataclasses.fields(device)}  # type: ignore[arg-type]
    scale = {"g_min", "g_max"} if device.relative else set()
    return [
        name
        for name, value in cell.items()
        if isinstance(value, Tensor) and name in own - scale and not name.endswith("_reset")
    ]


def _drawn(
    device: PulsedDevice,
    n: Tensor,
    cell: Cell,
    generator: torch.Generator | None,
    dtype: torch.dtype,
) -> Tensor:
    # Cells alike: each takes one of the simulated cells after its number of pulses.
    table = _laws(_changed(device, cell), n.device, None, (0.0,), _reach(device, n))[0]
    which = _pick(table, n, generator)
    return _in_own_window(device, table.flatten()[which].to(dtype), cell)


def _between(
    device: PulsedDevice,
    name: str,
    n: Tensor,
    cell: Cell,
    generator: torch.Generator | None,
    dtype: torch.dtype,
) -> Tensor:
    # One parameter differs: linear between the laws at the values next to the cell's own.
    value = cell[name]
    assert isinstance(value, Tensor)
    if not value.numel():
        return value.to(dtype)
    grid = _grid(device, name, value)
    tables = _laws(_changed(device, cell), n.device, name, grid, _reach(device, n))
    nodes = constant(tuple(grid), dtype, n.device)
    left = (torch.searchsorted(nodes, value.contiguous(), right=True) - 1).clamp_(0, len(grid) - 2)
    part = ((value - nodes[left]) / (nodes[left + 1] - nodes[left])).clamp_(0.0, 1.0)
    which = _pick(tables[0], n, generator) + left * tables[0].numel()
    flat = tables.flatten()
    low, high = flat[which].to(dtype), flat[which + tables[0].numel()].to(dtype)
    return _in_own_window(device, torch.lerp(low, high, part), cell)


def _one_by_one(
    device: PulsedDevice,
    n: Tensor,
    g: Tensor,
    cell: Cell,
    generator: torch.Generator | None,
) -> Tensor:
    g = g.clone()
    due = torch.arange(len(n), device=n.device)
    for k in range(int(n.max()) if len(n) else 0):
        due = due[n[due] > k]
        part = {key: v[due] if isinstance(v, Tensor) else v for key, v in cell.items()}
        now, up = g[due], torch.ones(len(due), dtype=torch.bool, device=n.device)
        g[due] = bounded(now + device.jump(now, up, part, generator), part)
    return g


def _pick(table: Tensor, n: Tensor, generator: torch.Generator | None) -> Tensor:
    cells = table.shape[-1]
    which = n.clamp(max=len(table) - 1) * cells
    if cells == 1:
        return which
    draw = torch.randint(cells, n.shape, generator=generator, device=n.device)
    return which.add_(draw)


def _in_own_window(device: PulsedDevice, g: Tensor, cell: Cell) -> Tensor:
    # Laws are those of the nominal window; where only the place in it counts, move to the own.
    if not device.relative:
        return g
    low, high = device.window
    if cell["g_min"] is low and cell["g_max"] is high:
        return g
    place = (g - low) / (high - low)
    return bounded(cell["g_min"] + (cell["g_max"] - cell["g_min"]) * place, cell)


def _changed(device: PulsedDevice, cell: Cell) -> PulsedDevice:
    # The nominal device, with those parameters that are other numbers in these cells.
    own = {field.name for field in dataclasses.fields(device)}  # type: ignore[arg-type]
    plain, given = _plain(device), device.constants()
    scale = {"g_min", "g_max"} if device.relative else set()
    changes = {
        name: value
        for name, value in cell.items()
        if name in own - scale and not isinstance(value, Tensor) and value != given.get(name, value)
    }
    return plain.replace(**changes) if changes else plain


def _plain(device: PulsedDevice) -> PulsedDevice:
    changes: dict[str, float] = {name: nominal(v) for name, v in device.spreads().items()}
    if getattr(device, "d2d", 0.0):
        changes["d2d"] = 0.0
    return device.replace(**changes) if changes else device


def _closed_curve(plain: PulsedDevice, length: int) -> Tensor | None:
    cell = plain.constants()
    pulses = torch.arange(length + 1, dtype=torch.float64)
    start = torch.full_like(pulses, float(cell["g_min"]))
    closed = plain.burst(start, pulses, cell)
    return None if closed is None else _left_alone(pulses, start, bounded(closed, cell))


def _reach(device: PulsedDevice, n: Tensor) -> int:
    # Laws as long as the nominal curve serve all counts that come from it; others need their own.
    usual = len(curve(device)) - 1
    most = int(n.max()) if n.numel() else 0
    return usual if most <= usual else most


@functools.lru_cache(maxsize=16)
def _laws(
    plain: PulsedDevice,
    place: torch.device,
    name: str | None,
    values: tuple[float, ...],
    length: int,
) -> Tensor:
    # [values, length + 1, cells], the same draws at every value.
    cells = 1
    if plain.noisy:
        cells = min(max(_ENTRIES // (len(values) * (length + 1)), _FEWEST), _MOST)
    if name is None:
        return law(plain, length, cells)[None].to(place)
    if cells == 1 and name not in ("g_min", "g_max"):  # where cells begin is the device's own
        side_by_side = _Train(plain, len(values), {name: values}).until(length)
        return side_by_side.T[:, :, None].contiguous().to(place)
    devices = [plain.replace(**{name: value}) for value in values]
    return torch.stack([law(device, length, cells) for device in devices]).to(place)


def _grid(device: PulsedDevice, name: str, value: Tensor) -> tuple[float, ...]:
    # Whole multiples of a step, so that laws are found again, around all values there are.
    least, most = (float(end) for end in value.aminmax())
    typical = abs(nominal(device.spreads()[name])) if name in device.spreads() else 0.0
    step = _LABEL_STEP if name.startswith("nonlinearity") else _OTHER_STEP * typical
    step = step or max(most - least, abs(most)) / 8 or 1.0
    while (most - least) / step > _LARGEST_GRID - 3:
        step *= 2.0
    first, last = math.floor(least / step), math.ceil(most / step)
    grid = [k * step for k in range(first, max(last, first + 1) + 1)]
    plain = _plain(device)
    # A multiple beyond what the device allows gives way to the outermost value there is.
    if not _allowed(plain, name, grid[0]):
        grid[0] = least if least < grid[1] else grid[1]
    if not _allowed(plain, name, grid[-1]):
        grid[-1] = most if most > grid[-2] else grid[-2]
    grid = sorted(set(grid))
    return tuple(grid) if len(grid) > 1 else (grid[0], grid[0])


def _allowed(plain: PulsedDevice, name: str, value: float) -> bool:
    try:
        plain.replace(**{name: value})
    except Exception:  # however a user's own device refuses
        return False
    return True


def _left_alone(n: Tensor, start: Tensor, after: Tensor) -> Tensor:
    # Without a pulse a cell keeps its very bits.
    return torch.where(n > 0, after, start)


def _full(value: float | Tensor, like: Tensor, dtype: torch.dtype) -> Tensor:
    if isinstance(value, Tensor):
        return value
    return torch.full(like.shape, float(value), dtype=dtype, device=like.device)


def _flat(value: Tensor, like: Tensor, dtype: torch.dtype) -> Tensor:
    return value.to(dtype=dtype, device=like.device).expand(like.shape).flatten()
