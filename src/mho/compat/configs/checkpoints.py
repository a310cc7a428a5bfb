"""Weights and input ranges from checkpoints of AIHWKit and AIHWKit-Lightning.

CrossSim's torch layers keep ``weight`` and ``bias`` under torch's own names: its checkpoints load
as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mho.core import checks
from mho.model.crossbars import layers

_TILE = re.compile(
    r"^(?P<layer>.*?)\.?analog_module(?:\.array\.(?P<i>\d+)\.(?P<j>\d+))?\.(?P<of>[^.].*)$"
)
_WEIGHTS = ("tile.weight", "analog_tile_state")
_STATE = "analog_tile_state"
_FLAT = "analog_tile_weights"
_BESIDE = (
    "shared_weights", "analog_ctx", "input_range_update_idx", "alpha", "image_sizes",
    "drift_baseline", "programmed_weights", "nu_drift_list", "drift_noise_parameters",
    "reference_combined_weights", "drift_readout_tensor", "num_parallel", "out_scaling_alpha",
    "mapping_scales", "input_range", "tile.weight", "bias",
)  # fmt: skip
_LIGHTNING = ("input_range_update_idx", "x_min", "x_max", "out_scaling_alpha")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a checkpoint of another simulator holds.

    Attributes:
        weights: a plain torch state dict.
        input_ranges: input magnitude that fills a layer's drivers, by the layer's name.
        ignored: keys that have no counterpart, and why.
    """

    weights: dict[str, Tensor]
    input_ranges: dict[str, float] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)


def weights_from_aihwkit(
    state_dict: Mapping[str, Any], like: nn.Module | None = None
) -> Checkpoint:
    """Return the weights of an AIHWKit checkpoint as a plain torch state dict.

    Tiles of one layer are put together, and the scales of their outputs (``mapping_scales``, and
    the learned ``out_scaling_alpha``) multiplied in. If the tiles had been programmed, the weights
    are those that they held.

    Args:
        state_dict: as ``torch.load`` gives it. A configuration is pickled in
            it, so that loading takes aihwkit installed and ``weights_only=False``.
        like: the digital model, for the shapes of convolutions' kernels (tiles hold matrices), and
            to tell an analog bias from a weight.

    Returns:
        Weights, input ranges, and what was left out. The ranges of several tiles of a layer become
        the largest of them.

    Raises:
        TypeError: if it is no state dict.
        ValueError: if it has no tiles, tiles of a layer are missing, or shapes do not fit.
    """
    _check(state_dict)
    shapes = None if like is None else {n: t.shape for n, t in like.state_dict().items()}
    tiles, weights, ignored = _sorted(state_dict)
    if not tiles:
        if any(_STATE in name for name in state_dict):
            raise ValueError(
                "the state dict is of aihwkit before 0.8: load it with a newer version of it, and "
                "save it again"
            )
        raise ValueError(
            "the state dict has no analog tiles (keys with analog_module), so it is none of "
            "aihwkit; of aihwkit-lightning: weights_from_aihwkit_lightning"
        )
    ranges: dict[str, float] = {}
    for layer, parts in tiles.items():
        name = f"{layer}.weight" if layer else "weight"
        matrix, bias = _whole(layer, parts, ignored)
        wanted = None if shapes is None else shapes.get(name)
        if shapes is not None and wanted is None:
            raise ValueError(f"the model given as like has no {name}")
        matrix, bias = _shaped(layer, matrix, bias, wanted, parts)
        weights[name] = matrix
        if bias is not None:
            weights[f"{layer}.bias" if layer else "bias"] = bias
        given = [part["input_range"] for part in parts.values() if "input_range" in part]
        found = [float(torch.as_tensor(one).max()) for one in given]
        if found:
            ranges[layer] = max(found)
            if len(set(found)) > 1:
                ignored[f"{layer}: input_range"] = f"{len(found)} tiles, the largest was taken"
    return Checkpoint(weights, ranges, ignored)


def weights_from_aihwkit_lightning(
    state_dict: Mapping[str, Any], max_input_size: int = -1
) -> Checkpoint:
    """Return the weights of an AIHWKit-Lightning checkpoint as a plain torch state dict.

    A learned clipping of the weights (``learnable_weight_clip``) is applied.

    Args:
        state_dict: as ``torch.load`` gives it.
        max_input_size: as in the configuration's mapping, for learned clipping; -1 for no tiling.

    Returns:
        Weights, input ranges, and what was left out. The ranges of several slices of a layer become
        the largest of them.

    Raises:
        TypeError: if it is no state dict.
        ValueError: if learned clips do not fit the slices that ``max_input_size`` makes.
    """
    _check(state_dict)
    checks.integer("max_input_size", max_input_size, least=-1)
    weights: dict[str, Tensor] = {}
    ranges: dict[str, float] = {}
    ignored: dict[str, str] = {}
    for name, value in state_dict.items():
        layer, _, last = name.rpartition(".")
        if not isinstance(value, Tensor):
            ignored[name] = "no tensor"
        elif last == "input_range":
            ranges[layer] = float(value.max())
            if value.numel() > 1 and float(value.max()) != float(value.min()):
                ignored[name] = f"{value.numel()} slices, the largest was taken"
        elif last in _LIGHTNING:
            ignored[name] = "of the search for input ranges"
        elif last != "learnable_weight_clip":
            weights[name] = value.detach().clone()
    for name, value in state_dict.items():
        layer, _, last = name.rpartition(".")
        if last == "learnable_weight_clip":
            key = f"{layer}.weight" if layer else "weight"
            if key not in weights:
                raise ValueError(f"the state dict has {name}, and no {key} that it bounds")
            weights[key] = _clipped(key, weights[key], value, max_input_size)
    return Checkpoint(weights, ranges, ignored)


def set_input_ranges(analog: nn.Module, input_ranges: Mapping[str, float]) -> None:
    """Give the crossbars of a converted model their input ranges.

    Args:
        analog: the model, as `mho.convert` returned it, whose drivers' range is ``"calibrated"``.
        input_ranges: by the name of the layer, as `Checkpoint` has them.

    Raises:
        ValueError: if a layer is not on crossbars, its drivers have a range of their own, or a
            range is not a number above 0. Nothing is then changed.
    """
    known = layers(analog)
    for name, limit in input_ranges.items():
        checks.number(f"input range of {name or 'the model'}", limit, above=0.0)
        if name not in known:
            raise ValueError(f"no layer {name!r} on crossbars; there are {', '.join(known)}")
        for crossbar in known[name].crossbars.values():
            drive = crossbar.hardware.drive
            if drive.range != "calibrated":
                raise ValueError(
                    f"{name or 'the model'}: the drivers {drive} have no range to be set: "
                    "DAC(range='calibrated')"
                )
    for name, limit in input_ranges.items():
        for crossbar in known[name].crossbars.values():
            held = crossbar.correction
            new = held.input_range.new_full((), float(limit))
            crossbar.commit(correction=held.replace(input_range=new))


def _check(state_dict: Any) -> None:
    if isinstance(state_dict, nn.Module):
        raise TypeError("expected a state dict, got a module: give module.state_dict()")
    checks.instance("state_dict", state_dict, Mapping)
    for name in state_dict:
        checks.instance("a name in state_dict", name, str)


def _sorted(
    state_dict: Mapping[str, Any],
) -> tuple[dict[str, dict[tuple[int, int], dict[str, Any]]], dict[str, Tensor], dict[str, str]]:
    """Return what belongs to tiles, by layer and place, what does not, and what is left out."""
    tiles: dict[str, dict[tuple[int, int], dict[str, Any]]] = {}
    weights: dict[str, Tensor] = {}
    ignored: dict[str, str] = {}
    for name, value in state_dict.items():
        match = _TILE.match(name)
        if match is None:
            if name.rpartition(".")[2] == "_extra_state" or not isinstance(value, Tensor):
                ignored[name] = "no tensor"
            else:
                weights[name] = value.detach().clone()
            continue
        place = (-1, -1) if match["i"] is None else (int(match["i"]), int(match["j"]))
        of = match["of"]
        tiles.setdefault(match["layer"], {}).setdefault(place, {})[of] = value
        if of not in (*_BESIDE, *_WEIGHTS):
            ignored[name] = "not known to this reader"
    return tiles, weights, ignored


def _whole(
    layer: str, parts: dict[tuple[int, int], dict[str, Any]], ignored: dict[str, str]
) -> tuple[Tensor, Tensor | None]:
    """Return a layer's matrix ``[out, in]`` and its digital bias, of all its tiles."""
    bias = next((p["bias"] for p in parts.values() if p.get("bias") is not None), None)
    held = {place: p for place, p in parts.items() if any(key in p for key in _WEIGHTS)}
    if not held:
        raise ValueError(f"{layer or 'the model'}: no weights among {sorted(parts.popitem()[1])}")
    rows = []
    for i in sorted({place[0] for place in held}):
        column = [_scaled(held[place]) for place in sorted(held) if place[0] == i]
        rows.append(torch.cat(column))
    if len({len(row) for row in rows}) > 1:
        raise ValueError(
            f"{layer or 'the model'}: tiles are missing: they hold {[len(r) for r in rows]} outputs"
        )
    return torch.cat(rows, dim=1), None if bias is None else bias.detach().clone()


def _scaled(part: dict[str, Any]) -> Tensor:
    state = part.get(_STATE)
    inner = state if isinstance(state, Mapping) else {}
    matrix = part.get("tile.weight", inner.get(_FLAT))
    if matrix is None:
        raise ValueError(f"a tile has no weights among {sorted(part)}")
    matrix = torch.as_tensor(matrix).detach().clone()
    if matrix.dim() != 2:
        raise ValueError(f"a tile must hold a matrix [out, in], got {list(matrix.shape)}")
    for name in ("mapping_scales", "out_scaling_alpha"):
        scale = part.get(name, inner.get(name))
        if scale is not None:
            factors = torch.as_tensor(scale).detach().reshape(-1, 1)
            if len(factors) not in (1, len(matrix)):
                raise ValueError(
                    f"{name} must have 1 or {len(matrix)} values for a tile of {len(matrix)} "
                    f"outputs, got {len(factors)}"
                )
            matrix = matrix * factors
    return matrix


def _shaped(
    layer: str,
    matrix: Tensor,
    bias: Tensor | None,
    wanted: torch.Size | None,
    parts: dict[tuple[int, int], dict[str, Any]],
) -> tuple[Tensor, Tensor | None]:
    if wanted is None:
        if bias is None and _analog_bias(parts):
            raise ValueError(
                f"{layer or 'the model'}: its tile may hold a bias (digital_bias=False); give the "
                "digital model, like=model, to tell it from the weights"
            )
        return matrix, bias
    inputs = math.prod(wanted[1:])
    if bias is None and matrix.shape == (wanted[0], inputs + 1):
        matrix, bias = matrix[:, :-1], matrix[:, -1].clone()
    if matrix.shape != (wanted[0], inputs):
        raise ValueError(
            f"{layer or 'the model'}: tiles hold {list(matrix.shape)}, the model given as like "
            f"wants {list(wanted)}"
        )
    return matrix.reshape(wanted).contiguous(), bias


def _analog_bias(parts: dict[tuple[int, int], dict[str, Any]]) -> bool:
    for part in parts.values():
        state = part.get(_STATE)
        config = state.get("rpu_config") if isinstance(state, Mapping) else None
        if config is not None and not getattr(config.mapping, "digital_bias", True):
            return True
    return False


def _clipped(name: str, weight: Tensor, clip: Tensor, size: int) -> Tensor:
    """Return ``[out, in…]`` clamped, slice by slice, to learned bounds ``[slices, out]``."""
    matrix, bounds = weight.flatten(1), clip.detach().reshape(-1, len(weight))
    inputs = matrix.shape[1]
    slices = 1 if size <= 0 else -(-inputs // size)
    if len(bounds) != slices:
        raise ValueError(
            f"{name} has learned bounds of {len(bounds)} slices, max_input_size={size} makes "
            f"{slices}"
        )
    base, more = divmod(inputs, slices)
    widths = [base + (k < more) for k in range(slices)]
    parts = [
        torch.minimum(torch.maximum(part, -bound[:, None]), bound[:, None])
        for part, bound in zip(matrix.split(widths, dim=1), bounds, strict=True)
    ]
    return torch.cat(parts, dim=1).view_as(weight)
