"""A torch model in, the same model on crossbars out."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from mho.cells import kept
from mho.core import checks, memory, random
from mho.core.selection import Selectors, assigned, first_match, walk
from mho.core.sharded import is_sharded
from mho.core.text import progress
from mho.crossbar import learned_ranges
from mho.hardware import Hardware
from mho.model import report, sizes, tied
from mho.model.inputs import call_of
from mho.nn import adapters, computed
from mho.nn.base import AnalogLayer, blank, guard
from mho.nn.embedding import unsuited
from mho.nn.registry import BY_OPTION, closed, crossbar_layer, self_contained


@torch.inference_mode(False)
def convert(
    model: nn.Module,
    hardware: Hardware,
    *,
    seed: int = 0,
    only: Selectors | None = None,
    skip: Selectors | None = None,
    overrides: Mapping[str, Hardware | None] | None = None,
    program: bool = True,
    cells_dtype: torch.dtype | None = None,
    embeddings: bool = False,
    inputs: Any = None,
    check_memory: bool = True,
) -> nn.Module:
    """Return a new model whose layers compute on crossbars, already programmed.

    The given model is not changed. Everything that is not converted is copied; modules used in
    several places, and tied parameters, stay so. A selector is a module class, a name pattern
    (``"encoder.*"``) or a predicate ``(name, module) -> bool``.

    A layer keeps what makes its weights (any parametrization, weight and spectral norm, pruning
    masks), its hooks and its attributes, copied as `copy.deepcopy` does; gradients reach the
    original parameters.

    A model that is converted already is put on other hardware: the digital weights, and all that
    goes with them, move into new crossbars, programmed with them::

        for bits in (4, 5, 6, 8):  # after training
            chip = mho.convert(analog, hardware.replace(adc=mho.ADC(bits)))
            mho.calibrate(chip, samples)

    What was left digital stays so, unless ``only`` or ``overrides`` select it now; a crossbar layer
    that is not selected is copied with its cells. What belongs to the old cells and their
    converters does not move: age, wear, calibration, learned ranges, and the noise of training
    (`mho.train.NoiseInjection`). The input range alone goes with the weights where the drivers
    (``dac``) are the same.

    Args:
        model: any module tree, or a converted model.
        hardware: what the crossbars are made of.
        seed: every layer gets one derived from it and the layer's name.
        only: convert only what one of these selects.
        skip: leave as it is what one of these selects.
        overrides: hardware by name pattern, the first match counts; None leaves a layer as it is.
        program: False stores no cells: the model trains through its weights, and nothing is kept
            for single cells until `mho.program` fabricates and programs them, to the very bits
            that they would have had from the start. Layers on the meta device are converted so.
        cells_dtype: ``torch.float16`` keeps the conductances so, relative to the device's window
            (error 2⁻¹² of it); None as they are computed with: float32, or float64 where the
            weights are.
        embeddings: whether embeddings go on crossbars; else only those that ``only`` selects do.
        inputs: of one call, as `mho.estimate` takes them; the report then knows the share of
            multiply–accumulates too.
        check_memory: whether a model that needs more memory than there is is refused.

    Returns:
        The new model, in the mode (train or eval) of the given one. What has weights and stays
        digital is named in a warning of one line, and by `mho.summary`.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the model is sharded already, nothing can be converted, a pattern matches
            nothing, a layer's weights cannot be stored, or something of a layer cannot be kept;
            the layer is named.
        MemoryError: if the crossbars need more memory than there is; the numbers are named.
    """
    checks.instance("model", model, nn.Module)
    checks.instance("hardware", hardware, Hardware)
    if any(is_sharded(parameter) for parameter in model.parameters()):
        raise ValueError("the model is sharded: convert it first, then call fully_shard")
    seed = checks.integer("seed", seed, least=0)
    embeddings = checks.truth("embeddings", embeddings)
    overrides = dict(overrides or {})
    program = checks.truth("program", program)
    settings: dict[str, Any] = {"program": program, "cells_dtype": kept.check(cells_dtype)}
    check_memory = checks.truth("check_memory", check_memory)
    inputs = call_of(inputs, model)
    chosen = choose(model, hardware, only, skip, overrides, embeddings)
    if not chosen:
        raise ValueError("the model has no layer to convert to crossbars")
    if check_memory and program:
        sizes.refuse_too_large(model, chosen, settings["cells_dtype"])
    with memory.unchecked():  # the whole has been looked at above, or is not to be
        analog, apart = _copy(model, chosen, seed, settings)
    for module in analog.modules():
        self_contained(module)
    guard(analog)
    unwritten = adapters.write_when_merged(analog)
    report.warn(model, analog, inputs, apart, unwritten)
    return analog


def _copy(
    model: nn.Module,
    chosen: dict[str, tuple[nn.Module, Hardware]],
    seed: int,
    settings: dict[str, Any],
) -> tuple[nn.Module, dict[tuple[str, str], str]]:
    """Copy a model, crossbar layers in the place of those chosen.

    Returns also which layers share a Parameter and not a crossbar, and why.

    A deep copy whose memo already knows the crossbar layers puts them in every place where the
    torch layers stood: attributes, lists, shared uses, hooks. They are blank until then, for they
    may know one another, too.
    """
    memo: dict[int, Any] = {}
    blanks: dict[str, AnalogLayer] = {}
    others = []
    for name, (module, _) in chosen.items():
        if hasattr(module, "on_crossbars"):
            others.append(name)
        else:
            blanks[name] = memo[id(module)] = blank(crossbar_layer(module))
    for name in others:
        module, hardware = chosen[name]
        layer_type, seeded = crossbar_layer(module), random.derive(seed, name)
        build = partial(
            layer_type.from_digital, hardware=hardware, seed=seeded, memo=memo, **settings
        )
        with _named(name):
            memo[id(module)] = module.on_crossbars(build)  # type: ignore[operator]
    for name, layer in blanks.items():
        with _named(name):
            layer.take_over(chosen[name][0], memo)
    for name in others:
        with _named(name):
            computed.carry_hooks(chosen[name][0], memo[id(chosen[name][0])], memo)
    computed.detach_computed(model, memo)
    analog: nn.Module = copy.deepcopy(model, memo)
    computed.own_classes(analog)
    for name in chosen:
        memo[id(chosen[name][0])].converted_as = name
    joined, apart = tied.plan(blanks, {name: chosen[name][1] for name in blanks})
    own = {name: layer for name, layer in blanks.items() if name not in joined}
    with computed.at_rest(analog):
        for name, layer in progress(own.items(), "programming"):
            with _named(name):
                layer.put_on(chosen[name][1], random.derive(seed, name), **settings)
                _carry_ranges(chosen[name][0], layer)
    for name, owner in joined.items():
        tied.join(blanks[name], blanks[owner])
    return analog, apart


def _carry_ranges(old: nn.Module, new: AnalogLayer) -> None:
    """Let input ranges go with the weights, from a layer that was on crossbars already."""
    if isinstance(old, AnalogLayer):
        before = old.crossbars
        for name, crossbar in new.crossbars.items():
            if name in before:
                learned_ranges.carry(before[name], crossbar)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Let errors name the layer."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"layer {name!r}: {error}" if name else str(error)) from error


def choose(
    model: nn.Module,
    hardware: Hardware,
    only: Selectors | None,
    skip: Selectors | None,
    overrides: Mapping[str, Hardware | None],
    embeddings: bool = False,
) -> dict[str, tuple[nn.Module, Hardware]]:
    """Return the layers that go on crossbars, by name, and what each is put on."""
    candidates = dict(walk(model, lambda m: crossbar_layer(m) is not None, closed()))
    chosen = assigned(candidates, hardware, only=only, skip=skip, overrides=overrides)
    if only is None and any(isinstance(m, AnalogLayer) for m in candidates.values()):
        chosen = {
            name: kind
            for name, kind in chosen.items()
            if isinstance(candidates[name], AnalogLayer)
            or first_match(name, overrides, None) is not None
        }
    adapting = adapters.parts(model) if only is None else set()
    chosen = {
        name: kind
        for name, kind in chosen.items()
        if only is not None
        or name in overrides
        or _by_default(candidates[name], adapting, embeddings)
    }
    for name, kind in chosen.items():
        checks.instance(f"hardware of {name!r}", kind, Hardware)
    return {name: (candidates[name], kind) for name, kind in chosen.items()}


def _by_default(module: nn.Module, adapting: set[nn.Module], embeddings: bool) -> bool:
    """Whether a layer is put on crossbars though nobody has named it."""
    if isinstance(module, AnalogLayer):
        return True
    if isinstance(module, BY_OPTION):
        return embeddings and unsuited(module) is None
    return module not in adapting
