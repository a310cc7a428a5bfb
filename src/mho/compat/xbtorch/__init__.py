"""XBTorch's API on mho: every documented name, in its place, with its signature.

A thin translation: devices are those of `mho.devices`, gradients are decomposed by
`mho.decomposition`, numbers rounded by `mho.periphery`, matrices placed and protected by
`mho.chip` and `mho.encoding`. Conductances here are in µS (or, where ``g_max`` is below 1e-3, in
siemens), as in XBTorch's programs. Deliberate differences are listed in the documentation.
"""

# mypy: disable-error-code="attr-defined"
from __future__ import annotations

from torch import nn as _nn

from mho.compat._names import lend as _lend
from mho.compat.xbtorch._params import XBParams, get_xbtorch_param, initialize

activation_types = (
    _nn.ReLU,
    _nn.Sigmoid,
    _nn.Tanh,
    _nn.LeakyReLU,
    _nn.Softmax,
    _nn.Softplus,
    _nn.Softsign,
    _nn.ELU,
    _nn.PReLU,
    _nn.SELU,
    _nn.GELU,
    _nn.Hardtanh,
    _nn.Hardsigmoid,
    _nn.Hardshrink,
    _nn.Hardswish,
    _nn.LogSigmoid,
    _nn.SiLU,
    _nn.Mish,
    _nn.LogSoftmax,
)
"""Activations that patching knows."""

layer_types = (_nn.Linear, _nn.Conv2d, _nn.RNN, _nn.LSTM)
"""Layers with weights that patching replaces."""

misc_types = (
    _nn.Dropout,
    _nn.Dropout2d,
    _nn.Dropout3d,
    _nn.MaxPool1d,
    _nn.MaxPool2d,
    _nn.MaxPool3d,
    _nn.AvgPool1d,
    _nn.AvgPool2d,
    _nn.AvgPool3d,
    _nn.AdaptiveMaxPool1d,
    _nn.AdaptiveMaxPool2d,
    _nn.AdaptiveMaxPool3d,
    _nn.AdaptiveAvgPool1d,
    _nn.AdaptiveAvgPool2d,
    _nn.AdaptiveAvgPool3d,
    _nn.Flatten,
)
"""Layers without weights that patching keeps."""

from mho.compat.xbtorch import (  # noqa: E402
    decomposition,
    deployment,
    devices,
    loss,
    nn,
    optim,
    patches,
    quant,
)

__all__ = [
    "XBParams",
    "activation_types",
    "decomposition",
    "deployment",
    "devices",
    "get_xbtorch_param",
    "initialize",
    "layer_types",
    "loss",
    "misc_types",
    "nn",
    "optim",
    "patches",
    "quant",
]

_lend(optim, patches.decorators)
