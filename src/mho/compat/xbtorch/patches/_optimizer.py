"""What makes a torch optimizer one of XBTorch's: the optimizer proposes, the cells answer."""

# mypy: disable-error-code="misc,attr-defined,no-any-return"
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from mho.compat.xbtorch._params import get_xbtorch_param, gradient_step, require_initialized
from mho.compat.xbtorch.devices.utils import written
from mho.compat.xbtorch.quant import wage_init, wage_qtorch
from mho.decomposition.base import stream
from mho.train import finite, rates
from mho.train.on_cells.gradients import as_scaled, replaced

_SETTINGS = {
    "decomp_alg": "decomposition_algorithm",
    **{name: name for name in ("device_type", "weight_range", "wage_quantize", "wage_params")},
}
_KEPT = ("weight_acc", "weight_read")  # under WAGE: weights as they are kept, and as they are read
_SAME = 1e-3  # samples this near to a gradient (part of its size) are those it was made of


class CellOptimizer(torch.optim.Optimizer):
    """Mixed into a torch optimizer.

    A step takes the gradients, decomposed where there is an algorithm, and lets the optimizer
    propose new weights: the learning rate acts here, and here only. With WAGE the proposal is
    rounded to steps of the weights as they are kept. With a device it becomes pulses, and the
    weights are what the cells then hold.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        require_initialized()
        if not isinstance(self, (torch.optim.SGD, torch.optim.Adam)):
            raise NotImplementedError("only SGD and Adam optimizers are supported")
        for name, setting in _SETTINGS.items():
            setattr(self, name, get_xbtorch_param(setting))
        super().__init__(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Torch keeps its own attributes only; copies are of the same session."""
        return {**super().__getstate__(), **{name: getattr(self, name) for name in _SETTINGS}}

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step.

        Args:
            closure: evaluates the model anew and returns the loss.

        Returns:
            The loss, where there is a closure.

        Raises:
            TypeError, ValueError: if a learning rate is no finite number >= 0, or another setting
                is none that the optimizer would have been made with.
        """
        rates.by_parameter(self.param_groups)
        with torch.enable_grad():
            loss = None if closure is None else closure()
        with torch.no_grad():
            self._xb_step()
        return loss

    def _xb_parameters(self) -> Iterator[tuple[Any, tuple[int, int], Any]]:
        """Go through groups, what names parameters, and parameters: those with a gradient."""
        for number, group in enumerate(self.param_groups):
            for place, parameter in enumerate(group["params"]):
                if parameter.grad is not None:
                    yield group, (number, place), parameter

    def _xb_step(self) -> None:
        # A gradient that is not finite says nothing: the parameter stays where it is.
        bad = finite.bad_gradients(p for _, _, p in self._xb_parameters())
        if bad:
            shown = {f"gradient of shape {list(p.shape)}": grad for p, grad in bad.items()}
            finite.warn("gradients are", shown)
        with finite.without(bad):
            moved = list(self._xb_parameters())
            before = [parameter.detach().clone() for _, _, parameter in moved]
            seen = {p: self._xb_gradient(p, key, group["lr"]) for group, key, p in moved}
            step = super().step.__func__  # torch may have put the hooks of step around it, too
            with replaced(seen):
                (step.__wrapped__ if getattr(step, "hooked", False) else step)(self)
            for (_, key, parameter), old in zip(moved, before, strict=True):
                self._xb_answer(key, parameter, old)

    def _xb_gradient(self, parameter: Any, key: Any, lr: Any) -> Tensor:
        """Return the gradient that the optimizer sees."""
        gradient: Tensor = parameter.grad
        if self.decomp_alg is not None and parameter.dim() > 1:
            matrix = gradient.flatten(1)
            found = self.decomp_alg.decompose(*_samples(parameter, matrix), matrix, key)
            gradient = found.to(gradient).view_as(gradient)
        if not self.wage_quantize:
            return gradient
        if self._xb_rounds:
            return wage_qtorch.per_step(gradient, self.wage_params["wl_grad"])
        # One's own quantiser returns the step itself: the optimizer's rate undoes a division by it.
        step: Tensor = self.wage_params["quantizer_grad"](gradient, lr)
        return step / lr if lr else torch.zeros_like(step)

    @property
    def _xb_rounds(self) -> bool:
        """Whether gradients are quantised as WAGE does it: any proposal is then rounded, once."""
        return getattr(self.wage_params["quantizer_grad"], "func", None) is gradient_step

    def _xb_answer(self, key: Any, parameter: Any, before: Tensor) -> None:
        """Turn a proposal into what cells and quantisers make of it."""
        change = parameter.detach() - before
        if self.wage_quantize and self._xb_rounds:
            bits, mode = self.wage_params["wl_grad"], self.wage_params["rounding_grad"]
            change = wage_qtorch.rounded_step(change, bits, mode)
        wage = self.wage_quantize and parameter.dim() > 1
        kept = self._xb_kept(parameter, before) if wage else before
        after = kept + change if self.device_type is None else self._xb_pulsed(kept, change, key)
        if wage:
            kept = parameter.weight_acc = self.wage_params["grad_clip"](after)
            after = self.wage_params["quantizer_weight"](kept, parameter.weight_scale)
            parameter.weight_read = after.clone()
            self.state[parameter].update({name: getattr(parameter, name) for name in _KEPT})
        parameter.copy_(after)

    def _xb_kept(self, parameter: Any, before: Tensor) -> Tensor:
        """Return the weights as they are kept; those loaded since are taken over."""
        if not hasattr(parameter, "weight_scale"):  # copies of models lose it
            parameter.weight_scale = wage_init.scale_of(parameter, self.wage_params["wl_weight"])
        for known in (parameter.__dict__, self.state.get(parameter, {})):  # a loaded state
            kept, read = (known.get(name) for name in _KEPT)
            if read is not None and torch.equal(read.to(before), before):
                return kept.to(before)
        scale = parameter.weight_scale if parameter.weight_scale > 1.8 else 1.0
        return self.wage_params["grad_clip"](before * scale).to(before)

    def _xb_pulsed(self, weight: Tensor, change: Tensor, key: Any) -> Tensor:
        device, (low, high) = self.device_type, self.weight_range
        weight = weight.clamp(low, high)
        # More than the whole range is no more: steps that diverge would be pulses without end.
        pulse = device.gradient_to_pulse(change.clamp(low - high, high - low))
        conductance = written(device, device.weight_to_conductance(weight), pulse, key)
        found = device.conductance_to_weight(conductance).to(weight)
        return torch.where(pulse != 0, found.clamp(low, high), weight)


def _samples(parameter: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return samples ``[batch, inputs]`` and ``[batch, outputs]`` that a gradient is the sum of.

    The layer's own of its last pass, if they are: scaled as the gradient was (by clipping, say). If
    it is of several passes, or its layer says no samples, its own rows are as good.
    """
    input, delta = getattr(parameter, "input", None), getattr(parameter, "delta", None)
    if input is not None and delta is not None:
        input, delta = (part.detach().reshape(-1, part.shape[-1]) for part in (input, delta))
        input, delta = as_scaled(input, delta, gradient)
        # Three sums of the columns tell a gradient from that of other samples.
        place = torch.linspace(0.5, 1.5, gradient.shape[1]).to(gradient)
        probe = torch.stack([(k * place).sin() for k in (1.0, 7.0, 61.0)], dim=1)
        expected, found = gradient @ probe, delta.T.to(gradient) @ (input.to(gradient) @ probe)
        if (found - expected).norm() <= _SAME * expected.norm():
            return input, delta
    return stream(None, None, gradient)
