"""What stays digital, and how much that is: `mho.convert` says it in one line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from mho.core import notice
from mho.crossbar import Crossbar
from mho.model.tracer import Trace, trace
from mho.nn import adapters, computed
from mho.nn.base import AnalogLayer
from mho.nn.embedding import unsuited
from mho.nn.registry import BY_OPTION, closed, crossbar_layer

EXCLUDED = "not selected"
BY_CHOICE = "looked up; on crossbars with embeddings=True"
ADAPTER = "an adapter; on crossbars where only=… selects it"
NO_LAYER = "no crossbar layer for this type"
NO_MATRIX = "no matrix to store"
NO_PRODUCT = "added or scaled, in no product"
PACKED = "packed weights, no Parameters"

WHOLE = "the model"  # where a module has no name

_NAMED = 3  # of one kind are named one by one


@dataclass(frozen=True)
class LeftDigital:
    """A module with parameters of its own that is not on crossbars.

    Attributes:
        name: in the model.
        kind: its class.
        parameters: how many numbers.
        reason: why it is digital.
        weights: how many of these are matrices.
    """

    name: str
    kind: str
    parameters: int
    reason: str
    weights: int = 0


def left_digital(model: nn.Module, traced: Trace | None = None) -> list[LeftDigital]:
    """List the modules with parameters of their own that are not on crossbars, and why.

    What a parametrization holds counts as its module's own.

    Args:
        model: any model.
        traced: what it multiplies; matrices that are in no product are then told apart.
    """
    aside = _aside(model, traced)
    found = []
    inside: set[int] = set()  # parts of a module that is listed as a whole
    adapting = adapters.parts(model)
    for name, module in model.named_modules():
        if id(module) in inside:
            continue
        whole = isinstance(module, closed())
        parts = module if whole else module._modules.get("parametrizations")
        if parts is not None:
            inside.update(id(part) for part in parts.modules())
        if isinstance(module, (AnalogLayer, Crossbar)):
            continue
        own = dict.fromkeys(module.parameters(recurse=whole))
        if parts is not None:
            own.update(dict.fromkeys(parts.parameters()))
        packed = _packed(module)
        if own or packed:
            count = sum(p.numel() for p in own) + packed
            reason = PACKED if packed else ADAPTER if module in adapting else _reason(module)
            matrices = [p for p in own if _weights([p])]
            if reason == NO_LAYER and all(p in aside for p in matrices):
                reason = NO_PRODUCT
            label = name or WHOLE
            weights = packed + sum(p.numel() for p in matrices)
            found.append(LeftDigital(label, _kind(module), count, reason, weights))
    return found


def _aside(model: nn.Module, traced: Trace | None) -> set[nn.Parameter]:
    """Return the parameters that are seen to be in no product."""
    if traced is None:
        return set()
    return {p for name, p in model.named_parameters() if name in traced.aside}


def _packed(module: nn.Module) -> int:
    """Count weights that a quantised layer of torch keeps to itself."""
    if not type(module).__module__.startswith("torch.ao.nn."):
        return 0
    weight = getattr(module, "weight", None)
    if not callable(weight):
        return 0
    held = weight()
    return held.numel() if isinstance(held, Tensor) else 0


def _kind(module: nn.Module) -> str:
    return type_before_parametrizations(module).__name__


def _reason(module: nn.Module) -> str:
    if isinstance(module, BY_OPTION):
        return unsuited(module) or (NO_LAYER if crossbar_layer(module) is None else BY_CHOICE)
    if crossbar_layer(module) is not None:
        return EXCLUDED
    held = (*module.children(), module) if "parametrizations" in module._modules else (module,)
    own = [p for part in held for p in part.parameters(recurse=part is not module)]
    return NO_LAYER if _weights(own) else NO_MATRIX


def _weights(parameters: Iterable[Tensor]) -> int:
    """Count the numbers in matrices: what has more than one row and more than one column."""
    return sum(p.numel() for p in parameters if sum(size > 1 for size in p.shape) > 1)


# ── shares ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Shares:
    """How much of a model is on crossbars.

    Attributes:
        weights: matrix weights on crossbars, each Parameter once.
        of_weights: all matrix weights, without tables that are digital by default; where the model
            was traced without what is in no product (positions that are added), too.
        macs: multiply–accumulates with what is on crossbars, in one call; None: not known.
        of_macs: those with any parameter.
    """

    weights: int
    of_weights: int
    macs: int | None = None
    of_macs: int | None = None

    def __str__(self) -> str:
        text = f"{percent(self.weights, self.of_weights)} of matrix weights"
        if self.macs is not None and self.of_macs:
            text += f" and {percent(self.macs, self.of_macs)} of multiply–accumulates"
        return f"{text} on crossbars"


def shares(model: nn.Module, traced: Trace | None = None) -> Shares:
    """Return how much of a model is on crossbars."""
    found = {name: m for name, m in model.named_modules() if isinstance(m, AnalogLayer)}
    here = {p: None for layer in found.values() for p in _moved(layer)}
    aside = {
        p
        for m in model.modules()
        if isinstance(m, BY_OPTION) and not isinstance(m, AnalogLayer)
        for p in m.parameters()
    }
    aside |= _aside(model, traced)
    ranges = {c.range_shift for c in model.modules() if isinstance(c, Crossbar)}
    all_of = [p for p in model.parameters() if (p not in ranges and p not in aside) or p in here]
    packed = sum(map(_packed, model.modules()))
    counted = _weights(here), _weights(all_of) + packed
    if traced is None or packed:  # products with packed weights are not seen
        return Shares(*counted)
    return Shares(*counted, traced.within(set(found)), traced.macs)


def _moved(layer: AnalogLayer) -> list[Tensor]:
    return computed.moved(layer)


def percent(part: int, whole: int) -> str:
    """Say a share so that little is not nothing, and almost all not all."""
    if not whole:
        return "0%"
    share = 100.0 * part / whole
    if 0 < share < 1 or 99 < share < 100:
        return f"{min(max(share, 0.01), 99.99):.2f}%"
    return f"{share:.0f}%"


# ── grouped ──────────────────────────────────────────────────────────────────────────────────


def pattern(name: str) -> str:
    """Return a name with its numbers left open: ``"h.3.mlp"`` is ``"h.*.mlp"``."""
    return re.sub(r"(?<![^.])\d+(?![^.])", "*", name)


def patterns(names: Sequence[str], most: int = _NAMED, *, mark: str = "") -> str:
    """Say names, alike ones by their pattern and no more than a few.

    Args:
        names: to be said.
        most: how many.
        mark: before and after each: a name may be a number.
    """
    shown = list(names) if len(names) <= most else list(dict.fromkeys(map(pattern, names)))
    rest = len(shown) - most
    told = ", ".join(f"{mark}{name}{mark}" for name in shown[:most])
    return told + (f" and {rest} more" if rest > 0 else "")


def grouped(items: Sequence[LeftDigital]) -> list[list[LeftDigital]]:
    """Group what is digital for one reason and of one kind; all without a matrix are one kind.

    The order: what no crossbar layer is for, what others decided, what has no matrix.
    """
    groups: dict[tuple[str, str], list[LeftDigital]] = {}
    for item in items:
        alike = item.reason in (NO_MATRIX, NO_PRODUCT, EXCLUDED, ADAPTER, BY_CHOICE)
        groups.setdefault((item.reason, "" if alike else item.kind), []).append(item)
    last = (BY_CHOICE, ADAPTER, EXCLUDED, NO_PRODUCT, NO_MATRIX)
    order = {reason: i for i, reason in enumerate(last, 1)}
    return sorted(groups.values(), key=lambda group: order.get(group[0].reason, 0))


def said(group: Sequence[LeftDigital]) -> str:
    """Say one group in a few words: ``Embedding 'table' (looked up; …)``, ``7 LayerNorm (…)``."""
    kinds = " and ".join(dict.fromkeys(item.kind for item in group))
    if len(group) == 1:
        name = group[0].name
        told = f", {name} itself" if name == WHOLE else f" '{name}'"
        return f"{kinds}{told} ({group[0].reason})"
    several = f"{len(group)} {kinds}"
    if group[0].reason == NO_MATRIX:  # norms and the like are many, and nothing to do about them
        return f"{several} ({NO_MATRIX})"
    names = patterns([item.name for item in group], mark="'")
    return f"{several}: {names} ({group[0].reason})"


# ── said once ────────────────────────────────────────────────────────────────────────────────


def warn(
    model: nn.Module,
    analog: nn.Module,
    inputs: Any,
    apart: Mapping[tuple[str, str], str],
    unwritten: Sequence[str] = (),
) -> None:
    """Say in one line what of a converted model stays digital; nothing where all is converted.

    Args:
        model: the given one.
        analog: the converted one.
        inputs: of one call, or None.
        apart: layers that share a Parameter and not a crossbar, and why.
        unwritten: modules that merge adapters into a crossbar layer unseen.
    """
    traced, trouble = (None, "") if inputs is None else attempt(model, inputs)
    items = left_digital(analog, traced)
    said_of = [f"left digital: {'; '.join(map(said, grouped(items)))}"] if items else []
    for (one, other), why in apart.items():
        said_of.append(f"{one} and {other} share a Parameter, on two crossbars ({why})")
    layers = {name for name, m in analog.named_modules() if isinstance(m, AnalogLayer)}
    past = [] if traced is None else traced.passed_by(layers)
    if past:
        names = patterns([f"{p.name} ({p.operation})" for p in past])
        said_of.append(f"used past their crossbars, digitally: {names}")
    if unwritten:
        names = patterns(unwritten)
        said_of.append(f"adapters of {names} are merged unseen: call mho.program afterwards")
    if said_of:
        share = f"{tables_aside(items)}{shares(analog, traced)}{trouble}"
        notice.warn("; ".join([*said_of, share]))


def tables_aside(items: Iterable[LeftDigital]) -> str:
    """Say before a share that digital tables are not counted in it, where there are some."""
    return "tables aside, " if any(item.reason == BY_CHOICE for item in items) else ""


def attempt(model: nn.Module, inputs: Any) -> tuple[Trace | None, str]:
    """Trace a model; return instead why that was not possible."""
    try:
        return trace(model, inputs), ""
    except Exception as error:  # of the user's model, whatever it is
        first = str(error).strip().splitlines()
        why = f"{type(error).__name__}: {first[0][:200]}" if first else type(error).__name__
        return None, f" (multiply–accumulates not known: {why})"
