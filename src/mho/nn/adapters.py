"""Low-rank adapters (LoRA) over layers on crossbars, as peft makes them.

    y = base(x) + scaling · B A x        (Hu 2022, arXiv:2106.09685)

The base lies on crossbars; ``A`` and ``B`` stay digital, small and trainable, unless ``only``
selects them in `mho.convert`. Adapters are known by how they are built, so that peft is not
needed to convert a model; it is needed where one of its layers is at work anyway.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import Any

from torch import nn

from mho.core.extras import need
from mho.nn.base import AnalogLayer


def adapted(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules of a model that add low-rank adapters to a layer, their ``base_layer``."""
    for module in model.modules():
        known = "base_layer" in module._modules
        if known and any(name.startswith("lora_") for name in module._modules):
            yield module


def parts(model: nn.Module) -> set[nn.Module]:
    """Return all modules that belong to adapters, without what they are added to."""
    found: set[nn.Module] = set()
    for module in adapted(model):
        for name, child in module.named_children():
            if name != "base_layer":
                found.update(child.modules())
    return found


def write_when_merged(model: nn.Module) -> list[str]:
    """Let adapters that are merged into a layer on crossbars be written to its cells, in place.

    A peft layer changes the digital weights behind the back of everybody who watches them. Its
    class becomes that of `mho.nn.lora` which programs the layer after a merge, or an unmerge.

    Returns:
        Names of the modules of which no class here knows how.
    """
    theirs = sys.modules.get("peft.tuners.lora.layer")
    unknown = []
    for path, module in model.named_modules():
        over = isinstance(module._modules.get("base_layer"), AnalogLayer)
        if not over or not hasattr(module, "merge"):
            continue
        name = type(module).__name__
        if theirs is not None and type(module) is getattr(theirs, name, None):
            module.__class__ = getattr(_lora(), name, type(module))
        if theirs is None or type(module) is not getattr(_lora(), name, None):
            unknown.append(path)
    return unknown


def know_crossbars(config: Any) -> Any:
    """Let a ``peft.LoraConfig`` find linear layers and embeddings on crossbars, and return it.

    Adapters of convolutions are added before `mho.convert`. ::

        chip = mho.convert(model, hardware)
        mho.freeze(chip)
        config = mho.nn.adapters.know_crossbars(peft.LoraConfig(target_modules=["query", "value"]))
        tuned = peft.get_peft_model(chip, config)

    Args:
        config: changed in place; it must target modules by name.

    Raises:
        ImportError: if peft is not installed.
        TypeError: if it is no ``LoraConfig``.
    """
    lora = _lora()
    if not hasattr(config, "_register_custom_module"):
        raise TypeError(f"config must be a peft.LoraConfig, got {type(config).__name__}")
    config._register_custom_module(dict(lora.FOR))
    return config


def _lora() -> Any:
    need("peft", "hf")
    return importlib.import_module("mho.nn.lora")
