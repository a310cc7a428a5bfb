"""Checkpoints of populations: what varies in size, what an older version wrote."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mho.cells import kept
from mho.core import extra, random
from mho.core.checks import number, said
from mho.core.precision import REAL

if TYPE_CHECKING:
    from mho.cells.population import Cells

_VARIABLE = ("inner", "pulses", "written", "broken_at")


_NEEDED = ("g", "streams")


def make_room(cells: Cells, state: dict[str, Any], prefix: str) -> str | None:
    """Let buffers be as large as those of a checkpoint, before torch copies any of it.

    Args:
        cells: what is to be loaded; of a checkpoint that holds no cells, or those of another
            size, nothing is taken.
        state: the checkpoint; brought to the present names.
        prefix: of the keys of these cells.

    Returns:
        What is of another size, if anything is.
    """
    _modernise(cells, state, prefix)
    kept.suit(cells, state, prefix)
    if any(f"{prefix}{name}" not in state for name in _NEEDED):
        return None  # torch says what is missing
    trouble = _other_size(cells, state, prefix)
    if trouble:
        return trouble
    # Torch loads in place: what shares these tensors (a fork, a report) must stay what it is.
    held: Any = cells._buffers["g"]
    cells._buffers.update(g=held.clone(), streams=cells.streams.clone())
    cells._shared = False
    states = [k for k in state if k.startswith(f"{prefix}state_")]
    for name in [n for n in cells._buffers if n.startswith("state_")]:
        del cells._buffers[name]
    also = () if cells.kept_as is None else ("broken_g",)
    for name in (*_VARIABLE, *also, *(key.removeprefix(prefix) for key in states)):
        value = state.get(f"{prefix}{name}")
        room = None if value is None else torch.empty_like(value, device=held.device)
        cells._buffers[name] = room
    return None


def _other_size(cells: Cells, state: dict[str, Any], prefix: str) -> str | None:
    """Say what of a checkpoint is not of so many cells, or None."""
    shape = list(cells.shape)
    for name in ("g", "inner", "pulses", "written"):
        value = state.get(f"{prefix}{name}")
        if isinstance(value, Tensor) and list(value.shape) != shape:
            return f"{prefix}{name}: expected shape {shape}, found {list(value.shape)}"
    broken = state.get(f"{prefix}broken_at")
    if isinstance(broken, Tensor) and broken.numel():
        low, high = int(broken.min()), int(broken.max())
        if broken.dim() != 1 or low < 0 or high >= cells.like.numel():
            return f"{prefix}broken_at: {low} … {high} are not of {cells.like.numel()} cells"
    return None


def damage(cells: nn.Module, state: Mapping[str, Any], prefix: str) -> str | None:
    """Say what in a checkpoint is nothing that cells can be or hold, or None.

    Args:
        cells: that it is for, of whose shape everything is.
        state: the checkpoint.
        prefix: of the keys of these cells.
    """
    shape: Any = cells.shape
    for key, value in state.items():
        name = key.removeprefix(prefix)
        if not key.startswith(prefix) or not _is_of_cells(name):
            continue
        if not isinstance(value, Tensor):
            return f"{key}: expected a tensor, found {said(value)}"
        if name == "broken_at":
            wrong = _no_places(value, math.prod(shape))
        elif value.shape != tuple(shape):
            wrong = f"expected shape {list(shape)}, found {list(value.shape)}"
        elif name == "pulses" and (value.is_floating_point() or value.is_complex()):
            wrong = f"expected whole numbers, found {value.dtype}"
        elif name.startswith("state_") or name == "inner":
            wrong = f"expected real numbers, found {value.dtype}" if _no_real(value) else None
            wrong = wrong or no_numbers(value, infinite=True)  # heavy tails may be drawn so
        else:
            kept = "kept_as" in extra.of(state, prefix)  # by codes, which may be negative
            wrong = _no_conductances(value, kept) if name in ("g", "written") else None
        if wrong:
            return f"{key}: {wrong}"
    return other_numbers(cells, state, prefix) or _no_clock(extra.of(state, prefix), prefix)


def _is_of_cells(name: str) -> bool:
    return name == "g" or name in _VARIABLE or name.startswith("state_")


def _no_real(value: Tensor) -> bool:
    return value.is_complex() or (value.is_floating_point() and value.dtype not in REAL)


def _no_places(value: Tensor, count: int) -> str | None:
    if value.dim() != 1 or value.dtype != torch.int64:
        return f"expected places (int64, one dimension), found {value.dtype} {list(value.shape)}"
    if value.is_meta or not len(value) or (value.min() >= 0 and value.max() < count):
        return None
    return f"expected places >= 0 and < {count}, found {int(value.min())} … {int(value.max())}"


def _no_conductances(value: Tensor, coded: bool) -> str | None:
    if value.is_meta or not value.numel() or value.dtype not in REAL:  # which is said elsewhere
        return None
    if value.dtype == torch.float16 and not coded:
        return "expected torch.float32 or wider, found torch.float16, whose steps are 6e-8 near 0 S"
    least, most = _as_integers(value)
    if least >= 0 and most < _NOT_FINITE[value.dtype]:
        return None
    low, high = map(float, torch.aminmax(value))
    if math.isfinite(low) and math.isfinite(high) and (coded or low >= 0.0):
        return None
    return f"expected finite conductances >= 0 S, found {low:g} … {high:g}"


_CODES = {2: torch.int16, 4: torch.int32, 8: torch.int64}
_NOT_FINITE = {dtype: int(torch.tensor(math.inf, dtype=dtype).view(_CODES[dtype.itemsize]))
               for dtype in REAL}  # fmt: skip


def _as_integers(value: Tensor) -> tuple[int, int]:
    """Return the smallest and largest of the codes of floats, found in half the time of floats.

    Those of positive floats are in order, infinity and NaN behind them; of negative ones negative.
    """
    low, high = torch.aminmax(value.view(_CODES[value.element_size()]))
    return int(low), int(high)


def no_numbers(value: Tensor, *, infinite: bool = False) -> str | None:
    """Say how much of a tensor is NaN, or infinite unless it may be, or None where nothing is."""
    if value.is_meta or not value.is_floating_point() or math.isfinite(float(value.sum())):
        return None
    wrong = value.isnan() if infinite else ~value.isfinite()
    bad = int(wrong.sum())
    allowed = "numbers" if infinite else "finite numbers"
    return f"expected {allowed}, found {float(value[wrong][0])} ({bad:,})" if bad else None


def _no_clock(told: Mapping[str, Any], prefix: str) -> str | None:
    try:
        for name in ("seconds", "written_at", "reads", "pulses"):
            number(name, told.get(name, 0.0), least=0.0)
    except (TypeError, ValueError) as error:
        return f"{prefix}{error}"
    return None


def other_numbers(module: nn.Module, state: Mapping[str, Any], prefix: str) -> str | None:
    """Say which tensor of a module's own holds no real numbers and should, or None."""
    for name, own in module._buffers.items():
        saved = state.get(f"{prefix}{name}")
        if own is None or not own.is_floating_point():
            continue
        if isinstance(saved, Tensor) and saved.dtype not in REAL:
            return f"{prefix}{name}: expected {own.dtype}, found {saved.dtype}"
    return None


def forget_what_can_be_drawn(cells: Cells) -> None:
    """Drop loaded tensors that fabrication draws anew to the very same bits."""
    for index in range(len(cells.behaviours)):
        if cells._keeps(index):
            continue
        kept, drawn = cells.state(index), cells._draw(index)
        if kept.keys() == drawn.keys() and all(torch.equal(kept[n], drawn[n]) for n in kept):
            for name in kept:
                cells._buffers.pop(f"state_{index}_{name}", None)


def _modernise(cells: Cells, state: dict[str, Any], prefix: str) -> None:
    """Rename what version 0.1 wrote."""

    def move(old: str, new: str) -> None:
        if f"{prefix}{old}" in state:
            state[f"{prefix}{new}"] = state.pop(f"{prefix}{old}")

    for key in [k for k in state if k.startswith(f"{prefix}p_")]:
        name = key.removeprefix(prefix)
        move(name, f"state_0_{name.removeprefix('p_')}")
    move("x", "inner")
    move("writes", "pulses")
    rng = state.pop(f"{prefix}rng", None)
    if rng is not None:
        state[f"{prefix}streams"] = old_streams(rng)
    stuck = state.pop(f"{prefix}stuck", None)
    if stuck is not None:
        state[f"{prefix}broken_at"] = stuck.flatten().nonzero().squeeze(1)
    if f"{prefix}g" not in state and f"{prefix}inner" in state:
        inner = state[f"{prefix}inner"]
        start = f"{prefix}state_0_"
        drawn = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
        conductance_of: Any = cells.conductance_of
        state[f"{prefix}g"] = conductance_of(inner, drawn)
    told = {"born_as": str(cells.g.dtype).removeprefix("torch."), "seconds": 0.0}
    if rng is not None:
        told["identity"] = f"{int(rng[0]):016x}"
    state[f"{prefix}_extra_state"] = {**told, **extra.of(state, prefix)}


def old_streams(rng: Tensor) -> Tensor:
    """Return the streams that go on from the one stream ``[seed, draws]`` of version 0.1."""
    seed, draws = rng.tolist()
    streams = random.streams(seed)
    streams[1:, 1] = draws
    return streams.to(rng.device)


def modernise_chip(state: dict[str, Any], prefix: str) -> None:
    """Rename what version 0.1 wrote of a chip."""
    if f"{prefix}G" not in state:
        return
    own = f"{prefix}cells."
    for key in list(state):
        name = key.removeprefix(prefix)
        if key.startswith(prefix) and (name in ("stuck", "rng") or name.startswith("state_")):
            state[f"{own}{name}"] = state.pop(key)
    state[f"{own}g"] = state.pop(f"{prefix}G")
    state[f"{own}pulses"] = state.pop(f"{prefix}wear").to(torch.int64)
