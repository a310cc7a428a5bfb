"""What a checkpoint holds beside tensors, as a tensor: plain values as the bytes of their JSON.

Tools that save models expect tensors alone in a ``state_dict``: safetensors, transformers'
``save_pretrained`` and ``Trainer``, averages of weights. Checkpoints with dicts load, too.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mho.core import checks


def packed(values: dict[str, Any]) -> Any:
    """Return plain values as a tensor (uint8); what is not plain is returned as it is."""
    try:
        text = json.dumps(values)
    except TypeError:
        return values
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def plain(saved: Any) -> Any:
    """Return the values that `packed` was given, as new ones; anything else as it is."""
    return _read(_text(saved)) if isinstance(saved, Tensor) else saved


def of(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the values that a checkpoint holds for one module; empty if there are none.

    They are not to be changed: many layers of a model have the very same.

    Args:
        state: a ``state_dict``.
        prefix: of the module's keys.

    Raises:
        ValueError: if something else is there.
    """
    found = state.get(f"{prefix}_extra_state", {})
    try:
        found = _parsed(_text(found)) if isinstance(found, Tensor) else found
    except ValueError as error:
        raise ValueError(f"{prefix}_extra_state: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(
            f"the checkpoint is damaged: {prefix}_extra_state holds no named values, but "
            f"{checks.said(found)}"
        )
    return found


def pack(state: Any, prefix: str) -> None:
    """Pack what a module has just saved under its prefix, in place."""
    key = f"{prefix}_extra_state"
    # Importing it takes longer than to save a model, and who exports to it has done so.
    onnx = sys.modules.get("torch.onnx")
    if onnx is not None and onnx.is_in_onnx_export():
        state.pop(key, None)  # its older exporter takes all that there is for tensors
    elif isinstance(state.get(key), dict):
        state[key] = packed(state[key])


def unpack(state: Any, prefix: str) -> None:
    """Undo `pack` in a checkpoint that is to be loaded, in place."""
    key = f"{prefix}_extra_state"
    if key in state:
        state[key] = plain(state[key])


def _text(saved: Tensor) -> bytes:
    return saved.cpu().numpy().tobytes()


@functools.lru_cache(maxsize=16)
def _parsed(text: bytes) -> Any:
    return _read(text)


def _read(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"the checkpoint is damaged: its plain values are no JSON: {error}"
        ) from error
