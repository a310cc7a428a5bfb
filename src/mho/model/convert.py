"""A torch model in, the same model on crossbars out; and the life of all its crossbars at once."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from mho.cells.life import ProgramReport
from mho.core import checks, random
from mho.core.selection import Selectors, assigned, walk
from mho.hardware import Hardware
from mho.model.summary import crossbar_name, left_digital
from mho.nn.base import AnalogLayer, refuse_other_checkpoint
from mho.nn.registry import crossbar_layer, self_contained


@torch.inference_mode(False)
def convert(
    model: nn.Module,
    hardware: Hardware,
    *,
    seed: int = 0,
    only: Selectors | None = None,
    skip: Selectors | None = None,
    overrides: Mapping[str, Hardware | None] | None = None,
) -> nn.Module:
    """Return a new model whose layers compute on crossbars, already programmed.

    The given model is not changed. Everything that is not converted is copied; modules used in
    several places, and tied parameters, stay so. A selector is a module class, a name pattern
    (``"encoder.*"``) or a predicate ``(name, module) -> bool``.

    Args:
        model: any module tree.
        hardware: what the crossbars are made of.
        seed: every layer gets one derived from it and the layer's name.
        only: convert only what one of these selects.
        skip: leave digital what one of these selects.
        overrides: hardware by name pattern, the first match counts; None leaves digital.

    Returns:
        The new model, in the mode (train or eval) of the given one. What has weights and stays
        digital is named in a warning, and by `mho.summary`.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if nothing can be converted, a pattern matches nothing, or a layer's weights
            cannot be stored.
    """
    checks.instance("model", model, nn.Module)
    checks.instance("hardware", hardware, Hardware)
    checks.integer("seed", seed, least=0)
    overrides = dict(overrides or {})
    chosen = _choose(model, hardware, only, skip, overrides)
    if not chosen:
        raise ValueError("the model has no layer to convert to crossbars")
    # A deep copy whose memo already knows the crossbar layers puts them in every place where the
    # torch layers stood: attributes, lists, shared uses.
    memo: dict[int, Any] = {}
    lost_hooks = []
    for name, (module, kind) in chosen.items():
        layer_type, seeded = crossbar_layer(module), random.derive(seed, name)
        build = partial(layer_type.from_digital, hardware=kind, seed=seeded, memo=memo)
        takes_over: Any = getattr(module, "on_crossbars", None)
        memo[id(module)] = takes_over(build) if takes_over else build(module)
        if module._forward_hooks or module._forward_pre_hooks:
            lost_hooks.append(name)
    analog: nn.Module = copy.deepcopy(model, memo)
    for module in analog.modules():
        self_contained(module)
    analog.register_load_state_dict_pre_hook(refuse_other_checkpoint)
    _warn(analog, lost_hooks)
    return analog


def _choose(
    model: nn.Module,
    hardware: Hardware,
    only: Selectors | None,
    skip: Selectors | None,
    overrides: Mapping[str, Hardware | None],
) -> dict[str, tuple[nn.Module, Hardware]]:
    closed = (AnalogLayer, nn.MultiheadAttention)
    candidates = dict(walk(model, lambda m: crossbar_layer(m) is not None, closed))
    chosen = assigned(candidates, hardware, only=only, skip=skip, overrides=overrides)
    for name, kind in chosen.items():
        checks.instance(f"hardware of {name!r}", kind, Hardware)
    return {name: (candidates[name], kind) for name, kind in chosen.items()}


def _warn(analog: nn.Module, lost_hooks: list[str]) -> None:
    remaining = left_digital(analog)
    if remaining:
        names = "; ".join(f"{item.name} ({item.kind}): {item.reason}" for item in remaining)
        warnings.warn(f"left digital: {names}", stacklevel=4)  # past the decorator
    if lost_hooks:
        warnings.warn(
            f"forward hooks were not carried over: {', '.join(lost_hooks)}", stacklevel=4
        )  # past the decorator


def layers(model: nn.Module) -> dict[str, AnalogLayer]:
    """Return a model's crossbar layers by name, each once.

    Raises:
        ValueError: if it has none.
    """
    checks.instance("model", model, nn.Module)
    found = {n: m for n, m in model.named_modules() if isinstance(m, AnalogLayer)}
    if not found:
        raise ValueError("the model has no crossbar layers; mho.convert makes them")
    return found


def program(model: nn.Module) -> dict[str, ProgramReport]:
    """Write all digital weights to the chip, for example after training.

    Args:
        model: a converted model.

    Returns:
        A report for every crossbar, by the name that `mho.summary` shows: the layer's, and of
        layers with several crossbars also the crossbar's.

    Raises:
        ValueError: if the model has no crossbars or a weight is not finite; nothing is then
            written.
    """
    found = layers(model)
    for name, layer in found.items():
        for matrix in layer.matrices().values():
            checks.finite(f"weight of {name or 'the model'}", matrix)
    return {
        crossbar_name(name, part, layer): report
        for name, layer in found.items()
        for part, report in layer.program().items()
    }


def age(model: nn.Module, seconds: float) -> None:
    """Let time pass for all crossbars.

    Args:
        model: a converted model.
        seconds: how long (s), >= 0.

    Raises:
        ValueError: if the model has no crossbars or the time is negative.
    """
    checks.number("seconds", seconds, least=0.0)
    for layer in layers(model).values():
        for crossbar in layer.crossbars.values():
            crossbar.age(seconds)


def fabricate(model: nn.Module, seed: int) -> dict[str, ProgramReport]:
    """Put the model on another chip of the same kind: new cells, programmed with its weights.

    Args:
        model: a converted model.
        seed: of the new chip.

    Returns:
        As `program`.

    Raises:
        ValueError: if the model has no crossbars.
    """
    checks.integer("seed", seed, least=0)
    for name, layer in layers(model).items():
        for part, crossbar in layer.crossbars.items():
            crossbar.reset_parameters(random.derive(seed, name, part))
    return program(model)


def collapse(model: nn.Module) -> nn.Module:
    """Return a plain torch model with the weights as now stored, for speed or export.

    Converters and read noise are gone; programming errors, defects, drift and the calibrated
    output correction remain.

    Args:
        model: a converted model; it is not changed.

    Raises:
        ValueError: if the model has no crossbars.
    """
    memo: dict[int, Any] = {}
    for layer in layers(model).values():
        memo[id(layer)] = layer.to_digital()
    plain: nn.Module = copy.deepcopy(model, memo)
    plain._load_state_dict_pre_hooks.clear()
    return plain
