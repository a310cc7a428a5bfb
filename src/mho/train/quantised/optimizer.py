"""Any torch optimizer, with numbers of few bits for gradients, momentum, steps and weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mho.core import checks, random
from mho.core.text import table
from mho.periphery import formats
from mho.periphery.formats import Quantiser
from mho.train import finite, rates, states
from mho.train.wrapper import Wrapper


class QuantisedOptimizer(Wrapper):
    """Round what a torch optimizer reads, remembers and writes.

    One step is: gradients are rounded; the optimizer steps; what it remembers is rounded; the
    change ``ΔW`` of every weight is rounded, and then the weight itself. Stochastic rounding of
    ``ΔW`` keeps steps that are smaller than the grid, on average.

    It shares ``param_groups`` and ``state`` with the optimizer inside (``inner``), so schedulers,
    gradient scalers and everything else that takes an optimizer take this one.

    Args:
        optimizer: any of torch's.
        gradients: a quantiser (a format, or any function of a tensor), or None; ``grad`` of the
            parameters is replaced by what it gives.
        momentum: of the optimizer's state tensors that are shaped as the parameter: one
            quantiser, or quantisers by the state's name (``{"exp_avg": …}``).
        updates: of the step ``ΔW``.
        weights: of the weights as kept.
        seed: of stochastic rounding.
        skip: parameters that are written as without this.

    Raises:
        TypeError: if something is no optimizer or no quantiser.
        ValueError: if a parameter to be skipped is not the optimizer's.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        gradients: Quantiser | None = None,
        momentum: Quantiser | Mapping[str, Quantiser] | None = None,
        updates: Quantiser | None = None,
        weights: Quantiser | None = None,
        seed: int = 0,
        skip: Iterable[nn.Parameter] = (),
    ) -> None:
        for name, quantiser in (("gradients", gradients), ("updates", updates)):
            formats.check(name, quantiser)
        formats.check("weights", weights)
        by_name = momentum if isinstance(momentum, Mapping) else {"": momentum}
        for name, quantiser in by_name.items():
            formats.check(f"momentum {name}".strip(), quantiser)
        super().__init__(optimizer)
        self.gradients, self.momentum = gradients, momentum
        self.updates, self.weights = updates, weights
        self.rng = random.stream(seed)
        self._plain = self._find(tuple(skip))
        self._buffers: dict[Any, Tensor] = {}

    def _find(self, skip: tuple[nn.Parameter, ...]) -> set[int]:
        """Number the parameters to be skipped, in the order of the groups."""
        order = {id(p): i for i, p in enumerate(self._parameters())}
        unknown = [tuple(p.shape) for p in skip if id(p) not in order]
        if unknown:
            raise ValueError(f"skip: no parameters of this optimizer: shapes {unknown}")
        return {order[id(p)] for p in skip}

    def _parameters(self) -> list[nn.Parameter]:
        return [p for group in self.param_groups for p in group["params"]]

    def _written(self) -> list[nn.Parameter]:
        """Return the parameters that this step is to round."""
        numbered = enumerate(self._parameters())
        return [p for i, p in numbered if i not in self._plain and p.grad is not None]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        A parameter whose gradient is not finite is left as it is, with a warning.

        Args:
            closure: evaluates the model and returns the loss, as in torch; its gradients are
                rounded each time.

        Returns:
            The closure's loss, if any.

        Raises:
            TypeError, ValueError: if a learning rate is no finite number >= 0.
        """
        rates.by_parameter(self.param_groups)
        held: dict[Tensor, Tensor] = {}

        def evaluate() -> Any:
            assert closure is not None
            with torch.enable_grad():
                loss = closure()
            held.update(self._round_gradients())
            return loss

        if closure is None:
            held.update(self._round_gradients())
        before = self._copies(all_of_them=closure is not None)
        try:
            loss = self.inner.step(*(() if closure is None else (evaluate,)))
            self._round_weights(before)
        finally:
            for parameter, gradient in held.items():
                parameter.grad = gradient
        return loss

    @torch.no_grad()
    def _round_gradients(self) -> dict[Tensor, Tensor]:
        """Round gradients; set aside, and return, those that are not finite."""
        written = self._written()
        sparse = [list(p.shape) for p in written if p.grad is not None and p.grad.is_sparse]
        if sparse:
            raise TypeError(f"sparse gradients cannot be rounded (skip=… leaves them): {sparse}")
        bad = finite.bad_gradients(written)
        if bad:
            numbers: dict[Tensor, int] = {p: i for i, p in enumerate(self._parameters())}
            shown = {f"parameter {numbers[p]} of shape {list(p.shape)}": g for p, g in bad.items()}
            finite.warn("quantised step: gradients are", shown)
        for parameter in written:
            if parameter in bad:
                parameter.grad = None
            elif self.gradients is not None and parameter.grad is not None:
                gradient = parameter.grad.detach()
                parameter.grad = formats.apply(self.gradients, gradient, self.rng, fresh=True)
        return bad

    @torch.no_grad()
    def _copies(self, all_of_them: bool = False) -> dict[nn.Parameter, Tensor]:
        if self.updates is None:
            return {}
        numbered = enumerate(self._parameters())
        chosen = (
            [p for i, p in numbered if i not in self._plain] if all_of_them else self._written()
        )
        return {p: self._memory(p, p).copy_(p) for p in chosen}

    @torch.no_grad()
    def _round_weights(self, before: Mapping[nn.Parameter, Tensor]) -> None:
        for parameter in self._written():
            self._round_state(parameter)
            weight = parameter.detach()
            if self.updates is not None:
                change = self._memory((parameter.dtype, parameter.device), parameter)
                torch.sub(weight, before[parameter], out=change)
                change = formats.apply(self.updates, change, self.rng, fresh=True)
                torch.add(before[parameter], change, out=weight)
            if self.weights is not None:
                rounded = formats.apply(self.weights, weight, self.rng, fresh=True)
                if rounded is not weight:  # most formats round in place
                    parameter.copy_(rounded)

    def _memory(self, key: Any, like: Tensor) -> Tensor:
        """Return memory of a tensor's size, the same one for the same key each time.

        Memory that is given back and asked for in every step costs more than the rounding.
        """
        count, kept = like.numel(), self._buffers.get(key)
        kind = (like.dtype, like.device)
        if kept is None or kept.numel() < count or (kept.dtype, kept.device) != kind:
            kept = self._buffers[key] = torch.empty(count, dtype=like.dtype, device=like.device)
        return kept[:count].view(like.shape)

    def _round_state(self, parameter: nn.Parameter) -> None:
        if self.momentum is None:
            return
        for name, value in self.state.get(parameter, {}).items():
            if not isinstance(value, Tensor) or value.shape != parameter.shape:
                continue
            one = not isinstance(self.momentum, Mapping)
            quantiser = self.momentum if one else self.momentum.get(name)  # type: ignore[union-attr]
            if quantiser is not None and value.is_floating_point():
                value.copy_(formats.apply(quantiser, value, self.rng))  # type: ignore[arg-type]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As in torch."""
        self.inner.zero_grad(set_to_none)

    def __repr__(self) -> str:
        """Say what is optimized how, and which numbers have which format."""
        kept = ("gradients", "momentum", "updates", "weights")
        formats = [(name, str(getattr(self, name) or "as they are")) for name in kept]
        inner = type(self.inner).__name__
        return f"{type(self).__name__}({inner})\n{table(('numbers', 'format'), formats, left=2)}"

    __str__ = __repr__

    def state_dict(self) -> dict[str, Any]:
        """As the optimizer inside, its kind, and the stream of randomness."""
        added = {"inner": states.kind(self.inner), "rng": self.rng.clone()}
        return {**self.inner.state_dict(), **added}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state; one of the plain optimizer will do.

        Raises:
            TypeError, ValueError: if it is of another kind of optimizer, or of other parameters;
                nothing is then changed.
        """
        states.refuse_other(self.inner, state_dict)
        plain = dict(state_dict)
        states.refuse_other_inside(self, self.inner, plain.pop("inner", None))
        rng = plain.pop("rng", None)
        if rng is not None:
            checks.shape("rng", rng, (2,))
        self.inner.load_state_dict(plain)
        self._share()
        if rng is not None:
            self.rng.copy_(rng)

    def __getstate__(self) -> dict[str, Any]:
        """As of all copies, without the memory that is only worked in."""
        return {**super().__getstate__(), "_buffers": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """As of torch's optimizers."""
        super().__setstate__(state)
        self._share()
