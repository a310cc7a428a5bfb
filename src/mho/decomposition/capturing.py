"""The samples behind every weight's gradient, taken from an ordinary training step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import register_multi_grad_hook

from mho.core import checks
from mho.decomposition import attention
from mho.decomposition.convolution import convolution_samples
from mho.decomposition.recurrent import CELLS, Call, mapped, recorded_call, tensors, unsupported

Samples = tuple[Tensor, Tensor]
"""``input [samples, in]`` and ``delta [samples, out]``."""

Source = Callable[[], Samples]
"""What works them out; partial functions, so that a `Capture` can be pickled."""

# A number for the backward pass under way; without a way to ask, all are taken for one.
_backward_pass = getattr(torch._C, "_current_graph_task_id", lambda: 0)


class Capture:
    """Records, in every forward and backward pass, what the gradients of weights are made of.

    For every weight of a linear, convolutional or recurrent layer (torch's own and those that
    stand for them on crossbars) and of torch's attention `of` gives ``(input, delta)`` with
    ``delta.T @ input`` the gradient that backward passes have added to ``weight.grad``, as a matrix
    ``[out, …]``. A layer used twice, or passed backwards through twice, has the samples of both. A
    backward pass that finds ``weight.grad`` None, as torch's ``zero_grad()`` leaves it, forgets
    what was before it; `clear` forgets at once.

    Convolutions: one sample per output position, the input being the patch under the kernel. With
    several groups, one sample per position and group, its delta zero outside of the group.
    Recurrent layers: one sample per time step. Torch's fused kernels do not tell the gates'
    derivatives, so the cell's equations are run again, with autograd, in the backward pass. So are
    attention's; of a joint weight of three projections, every input that differs has samples of
    its own, with a delta that is zero for the others.

    Weights without samples are in `missing`: of other layers (embeddings, transposed convolutions,
    attention's projections on crossbars), used in another layer too, made by a parametrisation, or
    behind dropout between recurrent layers or of attention's weights. A weight used outside of
    its layer's ``forward`` (``F.linear(x, layer.weight)``) cannot be seen to be. On crossbars that
    are not ideal the samples are those of the layer's digital input and output.

    A context: ``with capture(model) as samples: …`` takes its hooks off again at the end.

    Args:
        model: any module; nothing in it is changed but for hooks.
    """

    def __init__(self, model: nn.Module) -> None:
        checks.instance("model", model, nn.Module)
        self._names: dict[nn.Parameter, str] = {}
        self._sources: dict[nn.Parameter, list[Source]] = {}
        self._unknown: dict[nn.Parameter, str] = {}
        self._last_pass: dict[nn.Parameter, int] = {}
        self._handles: list[Any] = []
        heads = [m for m in model.modules() if isinstance(m, nn.MultiheadAttention)]
        uncalled = {id(m.out_proj): _attention(m) for m in heads}
        for prefix, module in model.named_modules():
            weights = {
                name: p
                for name, p in module.named_parameters(recurse=False, remove_duplicate=False)
                if p.dim() >= 2
            }
            why = uncalled.get(id(module))
            reason = self._watch(module, why) if weights else None
            for name, parameter in weights.items():
                self._names.setdefault(parameter, f"{prefix}.{name}" if prefix else name)
                if name in _ADDED and isinstance(module, nn.MultiheadAttention):
                    self._unknown[parameter] = "it is added to keys and values, not multiplied by"
                elif reason is not None:
                    self._unknown[parameter] = reason
                else:
                    self._sources.setdefault(parameter, [])
        for parameter in self._unknown:  # used elsewhere, too: part of its samples would be none
            self._sources.pop(parameter, None)

    def _watch(self, module: nn.Module, uncalled: str | None) -> str | None:
        """Hook a layer; return the reason if its samples cannot be had."""
        hook: Callable[..., Any]
        if uncalled is not None:
            return f"attention multiplies by it without calling the layer, and {uncalled}"
        if isinstance(module, nn.MultiheadAttention):
            reason = _attention(module)
            if reason is not None:
                return reason
            hook = self._after_attention
        elif _stands_for(module, (nn.Linear,), "in_features", "out_features"):
            hook = self._after_linear
        elif _stands_for(module, _CONVOLUTIONS, "kernel_size", "groups"):
            hook = self._after_convolution
        elif _stands_for(module, _RECURRENT, "hidden_size"):
            reason = unsupported(module)
            if reason is not None:
                return reason
            hook = self._after_recurrent
        else:
            return (
                f"{type(module).__name__} is not a linear, (not transposed) convolutional or "
                "recurrent layer"
            )
        self._handles.append(module.register_forward_hook(hook, with_kwargs=True))
        return None

    # ── what hooks do ────────────────────────────────────────────────────────────────────────

    def _after_linear(self, module: Any, args: Any, kwargs: Any, output: Tensor) -> None:
        x = _only(args, kwargs).detach()
        self._when_known(
            output, lambda grad: self._add(module.weight, partial(linear_samples, x, grad))
        )

    def _after_convolution(self, module: Any, args: Any, kwargs: Any, output: Tensor) -> None:
        x = _only(args, kwargs).detach()
        self._when_known(
            output,
            lambda grad: self._add(module.weight, partial(convolution_samples, module, x, grad)),
        )

    def _after_recurrent(self, module: Any, args: Any, kwargs: Any, output: Any) -> Any:
        if not torch.is_grad_enabled():
            return output
        return self._replayed(recorded_call(module, args, kwargs, output), output)

    def _after_attention(self, module: Any, args: Any, kwargs: Any, output: Any) -> Any:
        if not torch.is_grad_enabled():
            return output
        call = attention.recorded_call(module, args, kwargs)
        return self._replayed(call, output)

    def _replayed(self, call: Call | attention.Call, output: Any) -> Any:
        """Let a call's samples be worked out when the derivatives by its outputs are known."""
        # Copies: one output may be made from another, and only what comes from outside counts.
        output = mapped(torch.clone, output)
        outputs = tensors(output)
        if all(y.requires_grad for y in outputs):
            register_multi_grad_hook(outputs, lambda grads: self._replay(call, grads))
        return output

    def _when_known(self, output: Tensor, then: Callable[[Tensor], None]) -> None:
        if output.requires_grad:
            output.register_hook(lambda grad: then(grad.detach()))

    def _replay(self, call: Call | attention.Call, grads: Sequence[Tensor | None]) -> None:
        for weight, x, delta in call.samples(grads):
            self._add(weight, partial(_both, x, delta))

    def _add(self, weight: nn.Parameter, source: Source) -> None:
        if not (weight.requires_grad and weight in self._sources):
            return
        now = _backward_pass()
        if weight.grad is None and self._last_pass.get(weight) != now:
            self._sources[weight].clear()  # of a gradient that is no more
        self._last_pass[weight] = now
        self._sources[weight].append(source)

    # ── what users ask ───────────────────────────────────────────────────────────────────────

    @torch.no_grad()
    def of(self, parameter: nn.Parameter) -> Samples | None:
        """Return the samples of a weight's gradient since the last `clear`, or None if unknown.

        Args:
            parameter: a weight of the model.

        Returns:
            ``input [samples, in]`` and ``delta [samples, out]`` of the weight's dtype, ``in`` the
            product of all its sides but the first.
        """
        sources = self._sources.get(parameter, [])
        if not sources:
            return None
        parts = [source() for source in sources]
        # What had to be worked out (patches of an image) is worked out once.
        known = tuple(
            (both[0] if len(both) == 1 else torch.cat(both)).to(parameter)
            for both in zip(*parts, strict=True)
        )
        self._sources[parameter] = [partial(_both, *known)]
        return known[0], known[1]

    @property
    def missing(self) -> dict[str, str]:
        """Names of the weights without samples, each with the reason.

        A weight whose layer is known but has not been passed through is among them only if it has
        a gradient nevertheless.
        """
        found = {self._names[p]: reason for p, reason in self._unknown.items()}
        for parameter, sources in self._sources.items():
            if not sources and parameter.grad is not None:
                found[self._names[parameter]] = "its layer's forward was not called"
        return found

    def clear(self) -> None:
        """Forget all samples; call it where gradients are set to zero."""
        for sources in self._sources.values():
            sources.clear()

    def remove(self) -> None:
        """Take the hooks off the model and forget all samples."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.clear()

    def __getstate__(self) -> dict[str, Any]:
        # Copies of parameters have no gradients, and another process counts its own passes.
        return {**self.__dict__, "_last_pass": {}}

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def capture(model: nn.Module) -> Capture:
    """Record the samples behind the gradients of a model from now on; see `Capture`."""
    return Capture(model)


def _attention(module: nn.MultiheadAttention) -> str | None:
    """Return why the samples of a layer that is torch's attention cannot be had, or None."""
    if type(module).forward is not nn.MultiheadAttention.forward:
        return "its forward is not that of torch's attention"
    return attention.unsupported(module)


_ADDED = ("bias_k", "bias_v")
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_RECURRENT = (nn.RNN, nn.LSTM, nn.GRU, *CELLS)


def _stands_for(module: nn.Module, kinds: tuple[type[nn.Module], ...], *attributes: str) -> bool:
    """Whether a module is one of torch's layers, or computes on a crossbar what one does."""
    if isinstance(module, kinds):  # and does not do something else with the weight
        return any(type(module).forward is kind.forward for kind in kinds)
    on_crossbar = hasattr(module, "hardware") and hasattr(module, "to_digital")
    if getattr(module, "transposed", False):  # a convolution the other way
        return False
    return on_crossbar and all(hasattr(module, name) for name in attributes)


def _only(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The one input of a layer, by position or by name."""
    found: Iterable[Any] = (*args, *kwargs.values())
    return next(iter(found))


def _both(x: Tensor, delta: Tensor) -> Samples:
    return x, delta


def linear_samples(x: Tensor, delta: Tensor) -> Samples:
    """Lay out ``x [..., in]`` and ``delta [..., out]`` as samples."""
    return x.reshape(-1, x.shape[-1]), delta.reshape(-1, delta.shape[-1])
