"""What computes a layer's weights, and how it comes along.

Torch knows two ways. A *parametrization* (`torch.nn.utils.parametrize`) is a module of the layer,
and the weight a property that calls it. The older way is a forward-pre-hook that sets the weight
before each call: `torch.nn.utils.weight_norm`, `torch.nn.utils.spectral_norm`,
`torch.nn.utils.prune`. Both work on a crossbar layer as they do on the torch layer.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from mho.core.sharded import is_sharded, whole
from mho.crossbar.crossbar import Crossbar

CALL_HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_backward_pre_hooks",
    "_backward_hooks",
    "_is_full_backward_hook",
)
"""Where torch keeps what runs before and after a call and its backward pass."""


# ── which weights are computed ───────────────────────────────────────────────────────────────


def parametrized_names(module: nn.Module) -> list[str]:
    """Return the names of the tensors that a parametrization computes."""
    parts = module._modules.get("parametrizations")
    return list(parts) if isinstance(parts, nn.ModuleDict) else []


def made_by(hook: Any) -> str | None:
    """Return the name of the tensor that a forward-pre-hook of torch's own sets; else None."""
    if isinstance(hook, BasePruningMethod):
        name: str = hook._tensor_name
        return name
    return hook.name if isinstance(hook, (WeightNorm, SpectralNorm)) else None


def makers(module: nn.Module) -> list[Any]:
    """Return the forward-pre-hooks of torch's own that set a weight, in their order."""
    return [hook for hook in module._forward_pre_hooks.values() if made_by(hook) is not None]


def normed_names(module: nn.Module) -> list[str]:
    """Return the names of the tensors that something else than a mask computes."""
    found = (made_by(h) for h in makers(module) if not isinstance(h, BasePruningMethod))
    return [*parametrized_names(module), *(name for name in found if name is not None)]


def holds(module: nn.Module, name: str) -> bool:
    """Whether there is a tensor of this name; it is not computed for the answer."""
    parts = module._modules.get("parametrizations")
    if isinstance(parts, nn.ModuleDict) and name in parts:
        return True
    return getattr(module, name, None) is not None


def sources(module: nn.Module) -> list[tuple[str, str, Tensor]]:
    """Return what a layer's tensors are made of: parameters, masks, the state of norms.

    Returns:
        For each the name of the tensor it belongs to, its own name, and itself.
    """
    found: list[tuple[str, str, Tensor]]
    found = [(name, name, p) for name, p in module._parameters.items() if p is not None]
    for name, buffer in module._buffers.items():
        if buffer is not None and ("weight" in name or "bias" in name):
            found.append((name, name, buffer))
    parts: Any = module._modules.get("parametrizations", {})
    for name, part in parts.items():
        for path, inner in part.named_modules(prefix=f"parametrizations.{name}"):
            if not isinstance(inner, Crossbar):
                held: dict[str, Tensor | None] = {**inner._parameters, **inner._buffers}
                found += [(name, f"{path}.{k}", v) for k, v in held.items() if v is not None]
    return found


def dtype_of(module: nn.Module) -> torch.dtype | None:
    """Return the dtype of a layer's parameters; None where it has none."""
    for parameter in module._parameters.values():
        if parameter is not None:
            return parameter.dtype
    parts: Any = module._modules.get("parametrizations")
    found = () if parts is None else parts.parameters()
    return next((parameter.dtype for parameter in found), None)


def moved(module: nn.Module) -> list[Tensor]:
    """Return what an optimizer moves of a layer: its parameters and those of parametrizations."""
    parts: Any = module._modules.get("parametrizations")
    inner = [] if parts is None else parts.parameters()
    return [*(p for p in module._parameters.values() if p is not None), *inner]


@contextmanager
def at_rest(module: nn.Module) -> Iterator[None]:
    """Compute weights as they are now, moving nothing of what computes them.

    Spectral norm does not advance its power iteration, and parametrizations are in their ``eval()``
    mode. No gradients flow. Parameters of which every process holds a part are whole.

    Args:
        module: a layer, or a whole model.
    """
    everything = list(_parts(module, set()))
    found = (part._modules.get("parametrizations") for part in everything)
    modes = {p: p.training for parts in found if parts is not None for p in parts.modules()}
    sharded = [
        (part._parameters, name, p)
        for part in everything
        for name, p in part._parameters.items()
        if p is not None and is_sharded(p)
    ]
    with torch.no_grad():
        try:
            for own, name, p in sharded:
                own[name] = nn.Parameter(whole(p), requires_grad=False)
            for part in modes:
                part.training = False
            for layer in everything:
                _make(layer)
            yield
        finally:
            for own, name, p in sharded:
                own[name] = p
            for part, mode in modes.items():
                part.training = mode


def _parts(module: nn.Module, seen: set[nn.Module]) -> Iterator[nn.Module]:
    """Yield a module and what is in it, each once; nothing of crossbars: they make no weights."""
    if module in seen or isinstance(module, Crossbar):
        return
    seen.add(module)
    yield module
    for part in module._modules.values():
        if part is not None:
            yield from _parts(part, seen)


def _make(module: nn.Module) -> None:
    for hook in makers(module):
        if isinstance(hook, SpectralNorm):
            setattr(module, hook.name, hook.compute_weight(module, do_power_iteration=False))
        else:
            hook(module, ())


# ── taking it along ──────────────────────────────────────────────────────────────────────────


def refuse_unknown(module: nn.Module, names: Sequence[str]) -> None:
    """Refuse a layer if one of its tensors is set by something that is not known.

    Args:
        module: a torch layer.
        names: of the tensors it computes with.

    Raises:
        ValueError: if one is an attribute that no known hook sets.
    """
    known = {made_by(hook) for hook in makers(module)}
    for name in names:
        if name in known or not isinstance(vars(module).get(name), Tensor):
            continue
        hooks = [h for h in module._forward_pre_hooks.values() if made_by(h) is None]
        by = ", ".join(getattr(h, "__name__", type(h).__name__) for h in hooks)
        by = f"the forward-pre-hook {by}" if by else "code outside of it"
        raise ValueError(
            f"{name} is no parameter of the layer: {by} seems to set it, and a crossbar cannot "
            "know when; make it a parametrization (torch.nn.utils.parametrize)"
        )


def add_properties(module: nn.Module, names: Sequence[str]) -> None:
    """Give a blank module the class, its own, in which these tensors are parametrized.

    Its state, the parametrizations above all, is to be set afterwards. Every copy needs a class
    of its own: removing a parametrization changes the class.
    """
    for name in names:
        module.register_parameter(name, nn.Parameter(torch.empty(0)))
        parametrize.register_parametrization(module, name, nn.Identity(), unsafe=True)


def own_classes(copied: nn.Module) -> None:
    """Give each parametrized module of a copy a class of its own.

    `copy.deepcopy` leaves it that of the original, and removing a parametrization from one would
    then change both.
    """
    for module in copied.modules():
        names = parametrized_names(module)
        if not names:
            continue
        state = dict(vars(module))
        module.__class__ = parametrize.type_before_parametrizations(module)
        vars(module).clear()
        nn.Module.__init__(module)
        add_properties(module, names)
        vars(module).clear()
        vars(module).update(state)


def detach_computed(module: nn.Module, memo: dict[int, Any]) -> None:
    """Let tensors that hooks have set be copied: torch copies no tensor with a history."""
    for part in module.modules():
        for value in vars(part).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
                memo.setdefault(id(memo), []).append(value)  # its id is to stay its own


def carry_hooks(source: nn.Module, target: nn.Module, memo: dict[int, Any]) -> None:
    """Copy what runs at a call from one layer to another, but for what makes weights.

    Args:
        source: where hooks are registered.
        target: where they are added.
        memo: of `copy.deepcopy`: hooks that know modules then know the copies.
    """
    skipped = {key for key, h in source._forward_pre_hooks.items() if made_by(h) is not None}
    for kind in CALL_HOOKS:
        given = getattr(source, kind)
        if isinstance(given, dict):
            kept = {key: hook for key, hook in given.items() if key not in skipped}
            getattr(target, kind).update(copy.deepcopy(kept, memo))
        else:
            setattr(target, kind, given)


# ── pickles ──────────────────────────────────────────────────────────────────────────────────


def picklable(hooks: dict[int, Any]) -> dict[int, Any]:
    """Leave out the hook of weight norm that cannot be pickled; `restore` makes it again."""
    return type(hooks)((key, hook) for key, hook in hooks.items() if not _loads_old_keys(hook))


def restore(module: nn.Module) -> None:
    """Register the hook by which torch's weight norm loads checkpoints of the older one."""
    hooks = module._load_state_dict_pre_hooks
    if any(_loads_old_keys(hook) for hook in hooks.values()):
        return
    parts: Any = module._modules.get("parametrizations")
    for name in parametrized_names(module):
        if any(type(part).__name__ == "_WeightNorm" for part in parts[name]):
            other = nn.Module()
            other.register_parameter(name, nn.Parameter(torch.ones(1, 1)))
            hooks.update(weight_norm(other, name)._load_state_dict_pre_hooks)


def _loads_old_keys(hook: Any) -> bool:
    return getattr(hook.hook, "__name__", "") == "_weight_norm_compat_hook"
