"""Checkpoints of crossbars: whose cells they are, what varies in size, what version 0.1 wrote."""

from __future__ import annotations

import warnings
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mho.cells import kin
from mho.cells.checkpoint import damage, no_numbers, other_numbers
from mho.cells.unfabricated import Unfabricated
from mho.core import extra, renamed
from mho.core.spec import first_difference
from mho.hardware import Hardware

if TYPE_CHECKING:
    from mho.crossbar.crossbar import Crossbar

_HELD = ("g", "inner", "written", "streams")  # and what time changes
LOOKED_AT = "<entries that fit>"
"""Key, under the prefix of a crossbar, that says of its entries that they were found to fit."""
# What belongs to the cells, and stays theirs where a chip lends them.
_OF_CELLS = ("scale", "digital", "gain", "offset", "reference")


def state_dict(crossbar: Crossbar, *args: Any, **settings: Any) -> Any:
    """As `torch.nn.Module.state_dict`; of a model whose layers share it, it is there once."""
    destination = settings.get("destination")
    if crossbar.shared and isinstance(destination, OrderedDict):
        prefix = settings.get("prefix", "")
        known, under = crossbar._saved
        if known is not None and known() is destination and under != prefix:
            return destination
        crossbar._saved = weakref.ref(destination), prefix
    return nn.Module.state_dict(crossbar, *args, **settings)


def load(crossbar: Crossbar, state_dict: Any, prefix: str, *args: Any) -> None:
    """As ``torch.nn.Module._load_from_state_dict``, of what belongs to this crossbar."""
    known = state_dict.pop(f"{prefix}{LOOKED_AT}", False)
    if fits_as_it_is(crossbar, state_dict, prefix):
        return
    trouble = None if known else mismatch(crossbar, state_dict, prefix)
    if trouble:
        error_messages: list[str] = args[-1]
        error_messages.append(trouble)
        for key in [k for k in state_dict if k.startswith(f"{prefix}cells.")]:
            del state_dict[key]  # nor may torch load the cells
        return
    assign = bool(args[0].get("assign_to_params_buffers", False))
    suit_cells(crossbar, state_dict, prefix, assign=assign)
    make_room(crossbar, state_dict, prefix)
    nn.Module._load_from_state_dict(crossbar, state_dict, prefix, *args)


def pickled(crossbar: Crossbar) -> dict[str, Any]:
    """Return what a copy has: cells of its own, which are not on a chip."""
    return {**crossbar.__dict__, "_lease": None, "_saved": (None, ""), "circuits": {}}


def unpickled(state: dict[str, Any]) -> dict[str, Any]:
    """Return a pickled state with the names of now."""
    for old, new in (("memory", "limited"), ("_practice", "_injection")):
        state = renamed.state(state, old, new)
    return state


def identity(crossbar: Crossbar) -> dict[str, Any]:
    """Return what a checkpoint must agree with, as plain values; not to be changed."""
    return {"hardware": crossbar.hardware.saved, "shape": _shape(crossbar)}


def _shape(crossbar: Crossbar) -> list[int]:
    return [crossbar.groups, crossbar.rows, crossbar.cols]


def mismatch(crossbar: Crossbar, state: dict[str, Any], prefix: str = "") -> str | None:
    """Say why a checkpoint does not belong to this crossbar, or None where it does.

    Args:
        crossbar: this one.
        state: of a whole model.
        prefix: of this crossbar's keys in it.
    """
    saved = extra.of(state, prefix)
    if not saved:
        return None  # torch reports the missing key
    expected = identity(crossbar)
    hardware = saved.get("hardware")
    if f"{prefix}G" in state:
        hardware = _of_0_1(hardware, expected["hardware"])
    if hardware != expected["hardware"]:
        hardware = present(hardware)
    found = {"hardware": hardware, "shape": saved.get("shape")}
    if found != expected:
        difference = first_difference(expected, found)
        if difference:
            return f"{prefix}{difference}"
    g, expected_shape = state.get(f"{prefix}G"), list(crossbar.cells.shape)  # of version 0.1
    if g is not None and list(g.shape) != expected_shape:
        return f"{prefix}G: expected shape {expected_shape}, found {list(g.shape)}"
    wrong = damage(crossbar.cells, state, f"{prefix}cells.")
    return wrong or other_numbers(crossbar, state, prefix) or _not_finite(state, prefix)


_FINITE = ("scale", "digital", "gain", "offset", "trim", "learned_range", "range_shift")


def _not_finite(state: dict[str, Any], prefix: str) -> str | None:
    """Say what of a correction holds no numbers; ranges are NaN until they are calibrated."""
    for name in _FINITE:
        value = state.get(f"{prefix}{name}")
        wrong = no_numbers(value) if isinstance(value, torch.Tensor) else None
        if wrong:
            return f"{prefix}{name}: {wrong}"
    return None


def present(hardware: Any) -> Any:
    """Return a saved hardware as this version writes it: fields that came since have defaults."""
    try:
        return Hardware.from_dict(hardware).to_dict()
    except Exception:  # of another version, or of no hardware at all
        return hardware  # the comparison says in what it is another


def _of_0_1(hardware: Any, expected: dict[str, Any]) -> Any:
    """Return a hardware saved by version 0.1, which calibrated to the 100th percentile unasked."""
    if not isinstance(hardware, dict):
        return hardware
    found = dict(hardware)
    for name in ("dac", "adc"):
        part, wanted = found.get(name), expected.get(name)
        if isinstance(part, dict) and wanted is not None and part.get("percentile") == 100.0:
            own = wanted.get("percentile")
            found[name] = {**part, "percentile": own if own in (None, 100.0) else 100.0}
    return found


def fits_as_it_is(crossbar: Crossbar, state: dict[str, Any], prefix: str) -> bool:
    """Whether a checkpoint says nothing of a crossbar that has no cells: one of plain weights."""
    return not crossbar.fabricated and not any(key.startswith(prefix) for key in state)


def suit_cells(crossbar: Crossbar, state: dict[str, Any], prefix: str, *, assign: bool) -> None:
    """Have cells where a checkpoint has some, and none where it has none.

    Cells that a chip lends stay: of a crossbar that was saved without any nothing is taken.

    Args:
        crossbar: what is to be loaded.
        state: the checkpoint; changed.
        prefix: of this crossbar's keys.
        assign: whether torch puts the checkpoint's tensors in the place of those that are there.

    Raises:
        ValueError: if there are cells to be copied, and the crossbar is on the meta device.
    """
    own = f"{prefix}cells."
    saved = extra.of(state, own)
    if saved.get("fabricated", True) is False:
        if crossbar._lease is not None:
            for key in [k for k in state if k.startswith(own)]:
                del state[key]
        elif crossbar.fabricated:
            cells, like = crossbar.cells, crossbar.cells.like
            shape, kind, where = cells.shape, like.dtype, like.device
            future: Any = Unfabricated(cells.behaviours, shape, dtype=kind, device=where)
            crossbar.cells = future.train(crossbar.training)
    elif not crossbar.fabricated and (f"{own}g" in state or f"{prefix}G" in state):
        like = crossbar.cells.like
        if like.is_meta and not assign:
            raise ValueError(
                f"{prefix}cells: the crossbar is on the meta device: materialise the model first "
                "(model.to_empty(device=...)), or load with assign=True"
            )
        crossbar.cells = kin.empty(crossbar.cells, crossbar.kept_as).train(crossbar.training)


def make_room(crossbar: Crossbar, state: dict[str, Any], prefix: str) -> None:
    """Prepare a crossbar for a checkpoint, and the checkpoint for it.

    Where a chip lends the cells, they are kept unless the checkpoint is of these very cells.
    """
    _modernise(state, prefix)
    for name, value in crossbar._buffers.items():  # torch loads in place
        crossbar._buffers[name] = None if value is None else value.clone()
    shift = state.get(f"{prefix}range_shift")
    if shift is None:
        crossbar._parameters["range_shift"] = None
    elif crossbar.range_shift is None:
        crossbar.range_shift = nn.Parameter(torch.empty_like(shift, device=crossbar.scale.device))
    _fit_trim(crossbar, state, prefix)
    _fit_learned_range(crossbar, state, prefix)
    if crossbar._lease is None:
        return
    own, cells = f"{prefix}cells.", crossbar.cells
    saved = extra.of(state, own)
    theirs = kept_own_cells(crossbar, state, prefix)
    mine = {f"{own}{key}": value for key, value in cells.state_dict().items()}
    if not theirs:  # these very cells: what they hold, and when it was written, is taken
        for key in (f"{own}{name}" for name in (*_HELD, *cells.changing)):
            mine.pop(key, None)
            if key in state:
                mine[key] = state[key]
        clock = {name: saved[name] for name in ("seconds", "written_at")}
        clock["reads"] = saved.get("reads", 0.0)
        mine[f"{own}_extra_state"] = {**extra.of(mine, own), **clock}
    elif crossbar.stands_alone and f"{own}g" in state:
        _warn_of_other_cells(prefix.rstrip("."))
    for key in [k for k in state if k.startswith(own)]:
        del state[key]
    state.update(mine)
    if theirs:
        for name in _OF_CELLS:
            value = getattr(crossbar, name)
            if value is not None:
                state[f"{prefix}{name}"] = value.clone()


def _fit_trim(crossbar: Crossbar, state: dict[str, Any], prefix: str) -> None:
    """Let converters be trimmed as those of the checkpoint; a chip's own stay as they are."""
    key = f"{prefix}trim"
    if crossbar._lease is not None and kept_own_cells(crossbar, state, prefix):
        state.pop(key, None)
        if crossbar.trim is not None:
            state[key] = crossbar.trim.clone()
    elif key not in state:
        crossbar._buffers["trim"] = None
    elif crossbar.trim is None:
        crossbar.trim = torch.empty_like(state[key], device=crossbar.scale.device)


def _fit_learned_range(crossbar: Crossbar, state: dict[str, Any], prefix: str) -> None:
    """Let an input range that is learned be loaded where none is, and the other way round."""
    learned, batches = f"{prefix}learned_range", f"{prefix}range_batches"
    known = f"{prefix}input_range"
    if crossbar.range_rule is None:
        if learned in state:
            found, seen = state.pop(learned), state.pop(batches)
            state[known] = torch.where(seen > 0, found.squeeze(0), torch.nan)
    elif learned not in state and known in state:
        limit = state[known]
        state[learned] = torch.where(limit.isnan(), torch.ones_like(limit), limit).reshape(1)
        started = max(crossbar.range_rule.batches, 1)
        state[batches] = torch.where(limit.isnan(), 0, started)


def finish(module: nn.Module, *_: object) -> None:
    """After loading: make ready what reads need, and tell the chip. A hook of the crossbar."""
    crossbar: Any = module
    if not crossbar.fabricated and crossbar.cells.like.device != crossbar.scale.device:
        crossbar.cells = crossbar.cells.on(crossbar.scale.device)  # torch assigned the rest
    if crossbar.range_pending is not None:
        crossbar.range_pending.zero_()  # what was loaded has no part in it
    if crossbar._lease is not None:
        crossbar._lease.returned(crossbar.cells)
    crossbar.refresh()


def kept_own_cells(crossbar: Crossbar, state: dict[str, Any], prefix: str) -> bool:
    """Whether loading leaves the cells as they are: a chip lends them, and not to the saved."""
    if crossbar._lease is None:
        return False
    return extra.of(state, f"{prefix}cells.").get("identity") != crossbar.cells.identity


def warn_of_other_cells(names: list[str], *, stacklevel: int) -> None:
    """Say that weights were loaded and cells were not."""
    shown = ", ".join(name or "the crossbar" for name in names)
    warnings.warn(
        f"{shown}: the checkpoint is of other cells than those of the chip that this "
        "model lies on; weights are loaded, the cells are as they were: call mho.program(model)",
        stacklevel=stacklevel + 1,
    )


def _warn_of_other_cells(name: str) -> None:
    warnings.warn(
        f"crossbar {name!r}: the checkpoint is of other cells than those of the chip that it lies "
        "on, and it has no weights beside its cells: these are as they were; program it",
        stacklevel=2,
    )


def _modernise(state: dict[str, Any], prefix: str) -> None:
    """Rename what version 0.1 wrote."""
    if f"{prefix}G" not in state:
        return
    saved = extra.of(state, prefix)
    own = f"{prefix}cells."
    for key in list(state):
        name = key.removeprefix(prefix)
        if key.startswith(prefix) and (name in ("stuck", "rng") or name.startswith("state_")):
            state[f"{own}{name}"] = state.pop(key)
    state[f"{own}g"] = state.pop(f"{prefix}G")
    seconds, writes = float(saved.get("seconds", 0.0)), int(saved.get("writes", 0))
    state[f"{own}_extra_state"] = {"seconds": seconds, "pulses": writes}
