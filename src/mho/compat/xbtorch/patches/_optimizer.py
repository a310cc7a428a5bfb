"""What makes a torch optimizer one of XBTorch's: the optimizer proposes, the cells answer."""

# mypy: disable-error-code="misc,attr-defined"
from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from mho.compat.xbtorch._params import get_xbtorch_param, require_initialized
from mho.compat.xbtorch.quant import wage_init, wage_qtorch
from mho.compat.xbtorch.quant.quantizers import fixed_point_quantize

Named = tuple[Any, Any, Tensor]


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
        self.decomp_alg = get_xbtorch_param("decomposition_algorithm")
        self.device_type = get_xbtorch_param("device_type")
        self.weight_range = get_xbtorch_param("weight_range")
        self.wage_quantize = get_xbtorch_param("wage_quantize")
        self.wage_params = get_xbtorch_param("wage_params")
        super().__init__(*args, **kwargs)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step.

        Args:
            closure: evaluates the model anew and returns the loss.

        Returns:
            The loss, where there is a closure.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            self._xb_step()
        return loss

    def _xb_parameters(self) -> Iterator[Named]:
        for group_number, group in enumerate(self.param_groups):
            for number, parameter in enumerate(group["params"]):
                yield group, (group_number, number), parameter

    def _xb_step(self) -> None:
        passed = self._xb_pass_by()
        given = {p: p.grad for _, _, p in self._xb_parameters()}
        before = {p: p.detach().clone() for _, _, p in self._xb_parameters() if p.grad is not None}
        try:
            for _, key, parameter in self._xb_parameters():
                if parameter in before:
                    parameter.grad = self._xb_gradient(parameter, key)
            super().step()
            for _, key, parameter in self._xb_parameters():
                if parameter in before:
                    self._xb_answer(key, parameter, before[parameter])
        finally:
            for parameter, grad in {**given, **passed}.items():
                parameter.grad = grad

    def _xb_pass_by(self) -> dict[Tensor, Tensor | None]:
        # A gradient that is not finite says nothing: the parameter stays where it is.
        bad: dict[Tensor, Tensor | None] = {
            p: p.grad
            for _, _, p in self._xb_parameters()
            if p.grad is not None and not bool(torch.isfinite(p.grad).all())
        }
        for parameter in bad:
            parameter.grad = None
        if bad:
            warnings.warn(
                f"gradients of {len(bad)} parameters are not finite; they are passed by",
                stacklevel=4,
            )
        return bad

    def _xb_gradient(self, parameter: Any, key: Any) -> Tensor:
        """Return the gradient that the optimizer sees."""
        gradient: Tensor = parameter.grad
        if self.decomp_alg is not None and parameter.dim() > 1:
            samples = getattr(parameter, "input", None), getattr(parameter, "delta", None)
            matrix = gradient.flatten(1)
            if samples[0] is None:
                samples = _rows_as_samples(matrix)
            found = self.decomp_alg.decompose(*samples, matrix, key)
            gradient = found.to(gradient).view_as(gradient)
        if self.wage_quantize:
            bits = self.wage_params["wl_grad"]
            steps = 1.0 if bits == -1 else 2.0 ** (bits - 1)
            gradient = wage_qtorch.shift(gradient) / steps
        return gradient

    def _xb_answer(self, key: Any, parameter: Any, before: Tensor) -> None:
        """Turn a proposal into what cells and quantisers make of it."""
        change = parameter.detach() - before
        if self.wage_quantize:
            change = self._xb_rounded(change)
        kept = self._xb_kept(parameter, before) if self._xb_is_wage(parameter) else before
        after = kept + change if self.device_type is None else self._xb_pulsed(kept, change, key)
        if self._xb_is_wage(parameter):
            after = self.wage_params["grad_clip"](after)
            parameter.weight_acc = after
            after = self.wage_params["quantizer_weight"](after, parameter.weight_scale)
            parameter.weight_read = after.clone()
        parameter.copy_(after)

    def _xb_is_wage(self, parameter: Any) -> bool:
        if not self.wage_quantize or parameter.dim() < 2:
            return False
        if not hasattr(parameter, "weight_scale"):  # copies of models lose it
            parameter.weight_scale = wage_init.scale_of(parameter, self.wage_params["wl_weight"])
        return True

    def _xb_rounded(self, change: Tensor) -> Tensor:
        bits, mode = self.wage_params["wl_grad"], self.wage_params["rounding_grad"]
        if bits == -1:
            return change
        return fixed_point_quantize(
            change, bits, bits - 1, clamp=False, symmetric=True, rounding=mode
        )

    def _xb_kept(self, parameter: Any, before: Tensor) -> Tensor:
        """Return the weights as they are kept; those loaded since are taken over."""
        read = getattr(parameter, "weight_read", None)
        if read is None or read.shape != before.shape or not torch.equal(read.to(before), before):
            scale = parameter.weight_scale if parameter.weight_scale > 1.8 else 1.0
            parameter.weight_acc = self.wage_params["grad_clip"](before * scale)
        kept: Tensor = parameter.weight_acc
        return kept.to(before)

    def _xb_pulsed(self, weight: Tensor, change: Tensor, key: Any) -> Tensor:
        low, high = self.weight_range
        weight = weight.clamp(low, high)
        pulse = self.device_type.gradient_to_pulse(change)
        conductance = self.device_type.weight_to_conductance(weight)
        conductance = self.device_type.write(conductance, pulse, key)
        found = self.device_type.conductance_to_weight(conductance).to(weight)
        return torch.where(pulse != 0, found.clamp(low, high), weight)


def _rows_as_samples(gradient: Tensor) -> tuple[Tensor, Tensor]:
    # Multi-weight cells say no samples: a gradient's own rows are as good.
    eye = torch.eye(len(gradient), dtype=gradient.dtype, device=gradient.device)
    return gradient, eye
