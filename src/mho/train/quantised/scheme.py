"""Quantisation-aware training: any torch model whose layers compute with few-bit numbers.

Every matrix product reads its weights through one format and its inputs through another, and the
errors that come back through it are rounded by a third. The weights themselves stay ordinary
parameters under their ordinary names; how they are written is the business of
`QuantisedOptimizer`.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from mho.core import checks, random
from mho.core.selection import Selector, Selectors, assigned, selected, selectors, walk
from mho.core.spec import Spec
from mho.nn.base import AnalogLayer
from mho.nn.registry import closed, self_contained
from mho.periphery import formats
from mho.periphery.formats import Quantiser
from mho.train.quantised.layers import Followed, QuantisedLayer, Rounding, layer_class, weight_names
from mho.train.quantised.optimizer import QuantisedOptimizer

PLACES = ("inputs", "outputs")


@dataclass(frozen=True)
class Reading:
    """The formats that one layer computes with.

    Attributes:
        weights: by parameter name.
        activations: of what flows forward.
        errors: of what flows backward.
    """

    weights: Mapping[str, Quantiser | None] = field(default_factory=dict)
    activations: Quantiser | None = None
    errors: Quantiser | None = None


@dataclass(frozen=True)
class Scheme(Spec):
    """Base of what says which numbers a model is trained with: `Formats`, `WAGE`, your own.

    A subclass gives `reading` and `writing`.
    """

    def reading(self, layer: nn.Module) -> Reading:
        """Return the formats that a torch layer is to compute with."""
        raise NotImplementedError(f"{type(self).__name__} must define reading(…)")

    def writing(self) -> dict[str, Any]:
        """Return the formats of the weights' update, as `QuantisedOptimizer` names them."""
        raise NotImplementedError(f"{type(self).__name__} must define writing(…)")

    def optimizer(
        self, optimizer: torch.optim.Optimizer, *, seed: int = 0, skip: Sequence[Any] = ()
    ) -> QuantisedOptimizer:
        """Return a torch optimizer that writes weights as this scheme says.

        Args:
            optimizer: any of torch's, over a model's parameters.
            seed: of stochastic rounding.
            skip: parameters that are written as without this.
        """
        return QuantisedOptimizer(optimizer, **self.writing(), seed=seed, skip=skip)


@dataclass(frozen=True)
class Formats(Scheme):
    """A number format for each kind of number; None leaves those as they are.

    A format is a `FixedPoint`, `FloatFormat` or `BlockFloat`; a module, which keeps the gradient
    it defines itself; or any other function from tensor to tensor (such as QPyTorch's
    quantisers), which is made straight-through.

    Attributes:
        weights: as layers read them.
        activations: inputs of layers (or as `quantise` is told).
        errors: the same places in the backward pass.
        gradients: of the weights, as the optimizer sees them.
        momentum: the optimizer's own state, after each step: one format, or formats by the state's
            name in torch (``{"exp_avg": …}``).
        updates: the step by which a weight changes.
        kept: weights as they are kept, after each step.
    """

    weights: Quantiser | None = None
    activations: Quantiser | None = None
    errors: Quantiser | None = None
    gradients: Quantiser | None = None
    momentum: Quantiser | Mapping[str, Quantiser] | None = None
    updates: Quantiser | None = None
    kept: Quantiser | None = None

    def __post_init__(self) -> None:
        for name in ("weights", "activations", "errors", "gradients", "updates", "kept"):
            formats.check(f"Formats {name}", getattr(self, name))
        if not isinstance(self.momentum, Mapping):
            formats.check("Formats momentum", self.momentum)

    def reading(self, layer: nn.Module) -> Reading:
        """See `Scheme.reading`."""
        weights = dict.fromkeys(weight_names(layer), self.weights)
        return Reading(weights, self.activations, self.errors)

    def writing(self) -> dict[str, Any]:
        """See `Scheme.writing`."""
        return {
            "gradients": self.gradients,
            "momentum": self.momentum,
            "updates": self.updates,
            "weights": self.kept,
        }


@torch.inference_mode(False)
def quantise(
    model: nn.Module,
    scheme: Scheme,
    *,
    at: str | Selectors = "inputs",
    last: Selectors | None = None,
    only: Selectors | None = None,
    skip: Selectors | None = None,
    overrides: Mapping[str, Scheme | None] | None = None,
    seed: int = 0,
) -> nn.Module:
    """Return a new model whose layers compute with few-bit numbers.

    Linear, convolutional and recurrent layers read their weights through a format. Activations
    are rounded, and in the backward pass errors, at the places ``at``. The given model is not
    changed; the new one has its parameters' values, names and ties, so checkpoints go both ways.
    `mho.convert` puts it on crossbars: weights as read, activations and errors still rounded.

    Recurrent layers round weights and the sequences they read, not the hidden states in between;
    recurrent cells round the hidden state they are given, too. Biases are added as they are.

    Args:
        model: any module tree.
        scheme: which numbers: `Formats`, `WAGE`.
        at: where activations and errors are rounded: ``"inputs"`` of all quantised layers (so
            both factors of every product are), their ``"outputs"``, or behind other modules
            (a selector: a class, a name pattern or a predicate ``(name, module) -> bool``).
        last: layers at whose output errors are rounded, as they come from the loss, but not
            activations; by default the one that the model names last. ``()`` for none.
        only: quantise only what one of these selects.
        skip: leave what one of these selects.
        overrides: schemes by name pattern, the first match counts; None leaves the layer alone.
        seed: of stochastic rounding; each place gets one derived from it and its name.

    Returns:
        The new model. Modules with matrices that are not quantised are named in a warning.

    Raises:
        TypeError: if an argument is of another kind, or the model is on crossbars.
        ValueError: if nothing can be quantised, or a pattern matches nothing.
    """
    checks.instance("model", model, nn.Module)
    checks.instance("scheme", scheme, Scheme)
    seed = checks.integer("seed", seed, least=0)
    if any(isinstance(module, AnalogLayer) for module in model.modules()):
        raise TypeError("the model is on crossbars: quantise it first, then convert it")
    found = dict(walk(model, lambda m: layer_class(m) is not None, closed()))
    if not found:
        raise ValueError("the model has no layer to quantise (or is quantised already)")
    schemes = _schemes(found, scheme, only, skip, dict(overrides or {}))
    if not schemes:
        raise ValueError("only, skip and overrides leave no layer to quantise")
    chosen = {name: found[name] for name in schemes}
    ends = {list(chosen)[-1]} if last is None else selected("last", selectors(last) or (), chosen)
    places = at if isinstance(at, str) and at in PLACES else "elsewhere"
    memo: dict[int, Any] = {}
    for name, kind in schemes.items():
        reading = kind.reading(found[name])
        layer = _layer(found[name], reading, random.derive(seed, name), memo)
        if places == "inputs":
            layer.inputs = _between(reading, random.derive(seed, name, "inputs"))
        if name in ends:  # what comes from the loss; the output itself stays exact
            reading = Reading(errors=reading.errors)
        if name in ends or places == "outputs":
            layer.outputs = _between(reading, random.derive(seed, name, "outputs"))
        memo[id(found[name])] = layer
    if places == "elsewhere":
        _follow(model, scheme, selectors(at) or (), found, seed, memo)
    copied: nn.Module = copy.deepcopy(model, memo)
    for module in copied.modules():
        self_contained(module)
    _warn(model, found)
    return copied


def _layer(module: nn.Module, reading: Reading, seed: int, memo: dict[int, Any]) -> QuantisedLayer:
    """Return the layer that takes a torch layer's place, reading its weights through formats."""
    kind = layer_class(module)
    assert kind is not None  # candidates have one
    layer = kind.of(module, memo)
    for key, value in reading.weights.items():
        if value is not None:
            layer.weight_formats[key] = Rounding(value, seed=random.derive(seed, key))
    return layer


def _between(reading: Reading, seed: int) -> Rounding | None:
    """Return a rounding of activations and errors, None where there is nothing to round."""
    if reading.activations is None and reading.errors is None:
        return None
    return Rounding(reading.activations, reading.errors, seed=seed)


def _follow(
    model: nn.Module,
    scheme: Scheme,
    places: Sequence[Selector],
    layers: Mapping[str, nn.Module],
    seed: int,
    memo: dict[int, Any],
) -> None:
    """Put a rounding behind every module that is selected."""
    others = {n: m for n, m in model.named_modules() if n and n not in layers}
    reading = scheme.reading(next(iter(layers.values())))
    for name in selected("at", places, others):
        rounding = _between(reading, random.derive(seed, name))
        if rounding is not None:
            inner = copy.deepcopy(others[name], memo)
            memo[id(others[name])] = Followed(inner, rounding)


def _schemes(
    found: Mapping[str, nn.Module],
    scheme: Scheme,
    only: Selectors | None,
    skip: Selectors | None,
    overrides: Mapping[str, Scheme | None],
) -> dict[str, Scheme]:
    chosen = assigned(found, scheme, only=only, skip=skip, overrides=overrides)
    for name, kind in chosen.items():
        checks.instance(f"scheme of {name!r}", kind, Scheme)
    return chosen


def _warn(model: nn.Module, found: Mapping[str, nn.Module]) -> None:
    left, inside = [], {id(module) for module in found.values()}
    for name, module in model.named_modules():
        if id(module) in inside:
            continue
        whole = isinstance(module, closed())
        if whole:
            inside.update(id(part) for part in module.modules())
        if any(p.dim() > 1 for p in module.parameters(recurse=whole)):
            left.append(f"{name or 'the model'} ({type(module).__name__})")
    if left:
        warnings.warn(f"not quantised: {', '.join(left)}", stacklevel=4)  # past the decorator
