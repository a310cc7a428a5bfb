"""Replacement of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from mho.compat import xbtorch
from mho.compat.xbtorch import nn as xbnn
from mho.compat.xbtorch._params import get_xbtorch_param
from mho.compat.xbtorch.patches._layer import CrossbarLayer
from mho.compat.xbtorch.quant import wage_init
from mho.compat.xbtorch.quant.wage_qtorch import WAGEQuantizer


def replaced(module: Any) -> nn.Module | None:
    """Return XBTorch's layer for a torch layer, with its parameters; None where there is none."""
    kind = next((k for k in (nn.Linear, nn.Conv2d, nn.RNN, nn.LSTM) if type(module) is k), None)
    if isinstance(module, CrossbarLayer):  # patched before: in this session from now on
        module._xb_setup()
        return module
    made: Any
    if kind is nn.Linear:
        made = xbnn.Linear(module.in_features, module.out_features, module.bias is not None)
    elif kind is nn.Conv2d:
        made = xbnn.Conv2d(
            module.in_channels,
            module.out_channels,
            module.kernel_size,
            module.stride,
            module.padding,
            module.dilation,
            module.groups,
            module.bias is not None,
            module.padding_mode,
        )
    elif kind is nn.RNN or kind is nn.LSTM:
        extra = {"proj_size": module.proj_size} if kind is nn.LSTM else {}
        if kind is nn.RNN:
            extra = {"nonlinearity": module.nonlinearity}
        make: Any = xbnn.LSTM if kind is nn.LSTM else xbnn.RNN
        made = make(
            module.input_size,
            module.hidden_size,
            module.num_layers,
            bias=module.bias,
            batch_first=module.batch_first,
            dropout=module.dropout,
            bidirectional=module.bidirectional,
            **extra,
        )
    else:
        return None
    some = next(module.parameters())
    made = made.to(some.device, some.dtype)
    made.load_state_dict(module.state_dict())
    for name, parameter in module.named_parameters():
        made.get_parameter(name).requires_grad_(parameter.requires_grad)
    return made.train(module.training)


def replace_all_layers_stateless(model: nn.Module, exclude: Sequence[str] = ()) -> None:
    """Replace layers anywhere in a model.

    Args:
        model: is changed.
        exclude: names of children that stay as they are, at any depth.
    """
    for name, module in list(model.named_children()):
        if name in (exclude or ()):
            continue
        new = replaced(module)
        if new is None:
            replace_all_layers_stateless(module, exclude)
        else:
            setattr(model, name, new)


def replace_all_layers_stateful(model: Any, wage_quantize: bool) -> None:
    """Replace the layers of ``model.model``, and put WAGE quantisers between them.

    Args:
        model: is changed.
        wage_quantize: whether there are quantisers.
    """
    layers = [m for m in model.model if not isinstance(m, WAGEQuantizer)]
    had = len(layers) < len(model.model)
    found = []
    for module in layers:
        new = replaced(module)
        known = isinstance(module, (*xbtorch.activation_types, *xbtorch.misc_types))
        if new is None and not known:
            print(f"there is no XBTorch layer for {module}: it stays as it is")
        found.append(module if new is None else new)
    if not wage_quantize and not had:
        for index, new in enumerate(found):
            model.model[index] = new
        return
    if wage_quantize:
        found = _quantised(found)
    is_list = isinstance(model.model, nn.ModuleList)
    model.model = nn.ModuleList(found) if is_list else nn.Sequential(*found)
    if wage_quantize:
        prepare_wage(model)


def _quantised(layers: list[nn.Module]) -> list[nn.Module]:
    wage = get_xbtorch_param("wage_params")
    make, bits_a, bits_e = wage["quantizer_act_error"], wage["wl_activation"], wage["wl_error"]
    found = [make(bits_a, -1)]
    for layer in layers:
        found.append(layer)
        if isinstance(layer, xbtorch.activation_types):
            found.append(make(bits_a, bits_e))
    return [*found, make(-1, bits_e)]


@torch.no_grad()
def prepare_wage(model: Any) -> None:
    """Give all weights the scales of their layers; the weights themselves stay what they are."""
    bits = get_xbtorch_param("wage_params")["wl_weight"]
    for parameter in model.parameters():
        parameter.weight_scale = wage_init.scale_of(parameter, bits)
        scale = parameter.weight_scale if parameter.weight_scale > 1.8 else 1.0
        parameter.weight_acc = parameter.detach() * scale


def toggle_xb_eval_all_layers_stateless(model: nn.Module, enable: bool) -> None:
    """Deploy all layers of a model, or none.

    Args:
        model: patched.
        enable: whether.
    """
    for module in model.modules():
        if isinstance(module, CrossbarLayer):
            module._xb_inference = enable
