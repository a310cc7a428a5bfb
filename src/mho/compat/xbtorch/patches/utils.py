"""Replacement of layers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from mho.compat import xbtorch
from mho.compat.xbtorch import nn as xbnn
from mho.compat.xbtorch._params import get_xbtorch_param
from mho.compat.xbtorch.deployment._given import NOWHERE
from mho.compat.xbtorch.patches._layer import CrossbarLayer, patched_class
from mho.compat.xbtorch.quant import wage_init
from mho.compat.xbtorch.quant.wage_qtorch import WAGEQuantizer


def replaced(module: Any) -> nn.Module | None:
    """Return XBTorch's layer for a torch layer, or for one of a subclass; None where there is none.

    It shares the parameters, so that tied weights stay tied, and optimizers keep theirs.
    """
    if isinstance(module, CrossbarLayer):  # patched before: in this session from now on
        module._xb_setup()
        return module
    kind = next((k for k in xbtorch.layer_types if isinstance(module, k)), None)
    # An attention multiplies by the weight of its output without calling the layer.
    if kind is None or isinstance(module, (LazyModuleMixin, NonDynamicallyQuantizableLinear)):
        return None
    cls: Any = type(module)
    own: Any = getattr(xbnn, kind.__name__) if cls is kind else patched_class(cls)
    made: nn.Module = own.__new__(own)
    state = {k: copy.copy(v) if isinstance(v, dict) else v for k, v in vars(module).items()}
    vars(made).update(state)
    made._xb_setup()  # type: ignore[operator]
    return made


def replace_all_layers_stateless(model: nn.Module, exclude: Sequence[str] = NOWHERE) -> None:
    """Replace layers anywhere in a model, but for children of these names, at any depth.

    Names with dots are paths, as of `torch.nn.Module.get_submodule`.
    """
    _replace(model, exclude or (), {}, "")


def _replace(model: nn.Module, exclude: Sequence[str], known: dict[Any, Any], path: str) -> None:
    if isinstance(model, nn.TransformerEncoderLayer):
        model.activation_relu_or_gelu = 0  # no fused path, which would not call its layers
    for name, module in model._modules.items():
        if module is None or name in exclude or f"{path}{name}" in exclude:
            continue
        if module not in known:
            known[module] = replaced(module)
            if known[module] is None:
                _replace(module, exclude, known, f"{path}{name}.")
        if known[module] is not None:
            model._modules[name] = known[module]


def replace_all_layers_stateful(model: Any, wage_quantize: bool) -> None:
    """Replace the layers of ``model.model``; with WAGE put quantisers between them.

    Layers that have names keep them; those with numbers are numbered anew.
    """
    if not isinstance(model.model, nn.Module):
        model.model = nn.Sequential(*model.model)
    modules: dict[str, Any] = model.model._modules
    found: dict[str, Any] = {}
    if wage_quantize:
        wage = get_xbtorch_param("wage_params")
        make, bits_a, bits_e = wage["quantizer_act_error"], wage["wl_activation"], wage["wl_error"]
        found["quantizer_first"] = make(bits_a, -1)
    for name, module in modules.items():
        if isinstance(module, WAGEQuantizer):
            continue
        new, activation = replaced(module), isinstance(module, xbtorch.activation_types)
        found[name] = module if new is None else new
        if activation and wage_quantize:
            found[f"quantizer_{name}"] = make(bits_a, bits_e)
        elif new is None and not activation and list(module.parameters()):
            print(f"there is no XBTorch layer for {module}: it stays as it is")
    if wage_quantize:
        found["quantizer_last"] = make(-1, bits_e)
    numbered = all(name.isdecimal() for name in modules)
    modules.clear()
    modules.update({str(k): m for k, m in enumerate(found.values())} if numbered else found)
    if wage_quantize:
        prepare_wage(model)


@torch.no_grad()
def prepare_wage(model: Any) -> None:
    """Give all weights the scales of their layers; the weights themselves stay what they are."""
    bits = get_xbtorch_param("wage_params")["wl_weight"]
    for parameter in model.parameters():
        parameter.weight_scale = wage_init.scale_of(parameter, bits)
        scale = parameter.weight_scale if parameter.weight_scale > 1.8 else 1.0
        parameter.weight_acc = parameter.detach() * scale


def unpatched(model: nn.Module, exclude: Sequence[str] = NOWHERE, path: str = "") -> dict[str, Any]:
    """Return the names of layers with matrices that are not XBTorch's, by kind."""
    if isinstance(model, CrossbarLayer):
        return {}
    found: dict[str, Any] = {}
    if any(p.dim() > 1 for p in model.parameters(recurse=False)):
        found[type(model).__name__] = [path or "the model itself"]
    for name, module in model.named_children():
        where = f"{path}.{name}".lstrip(".")
        if name not in exclude and where not in exclude:
            for kind, names in unpatched(module, exclude, where).items():
                found.setdefault(kind, []).extend(names)
    return found


def patched_layers(model: nn.Module) -> list[Any]:
    """Return XBTorch's layers of a model, in the order of its modules."""
    return [m for m in model.modules() if isinstance(m, CrossbarLayer)]


def toggle_xb_eval_all_layers_stateless(model: nn.Module, enable: bool) -> None:
    """Deploy all layers of a patched model, or none."""
    for layer in patched_layers(model):
        layer._xb_inference = enable
