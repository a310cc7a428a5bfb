"""Input ranges that training starts from the data, and then moves by a rule of its own.

    start    r = mean of k · std(x) over the first batches
    drive    x clamped to ±r, before it is quantised
    rule     ∂r = r · (Σ_{x >= r} min(g, 0) − Σ_{x <= −r} max(g, 0)) + decay · r · [few are clipped]

with ``g`` the gradient of the clamped input. An input beyond the range that pulls at it from
outside makes the range grow; nothing but the decay makes it shrink.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mho.core import checks, derivatives
from mho.core.spec import Spec
from mho.periphery import quantize
from mho.periphery.dac import DAC


@dataclass(frozen=True)
class InputRangeRule(Spec):
    """How training finds the input range of a crossbar's drivers, in units of the inputs.

    In the first ``batches`` training reads the range is the running mean of ``deviations`` times
    the standard deviation of the inputs (a batch of inputs that are all alike does not count).
    All along, and from then on alone, an optimizer moves it by

        ∂r = r · (Σ_{x >= r} min(g, 0) − Σ_{x <= −r} max(g, 0)) + decay · r   if the last holds

    the last where the share of inputs within the range is above ``unclipped``. ``g`` is the
    gradient of the clamped input; inputs beyond the range get none. A batch is one training read:
    of a recurrent layer's hidden state each time step. What `torch.utils.checkpoint` computes a
    second time does not count a second time, and under ``torch.func`` transforms none counts.

    Source: M. J. Rasch et al., Nat. Commun. 2023, doi 10.1038/s41467-023-40770-4; as used by
    J. Büchel et al., "Analog foundation models", 2025, arXiv:2505.09663, whose published
    configuration the defaults are.

    Attributes:
        batches: over which the range starts, >= 0; 0 starts from a calibrated range.
        deviations: k, standard deviations of the inputs, > 0.
        decay: by which the range shrinks, >= 0.
        unclipped: share of inputs within the range above which it shrinks, 0…1.

    Raises:
        TypeError, ValueError: if a value is refused.
    """

    said: ClassVar[tuple[str, ...]] = ("batches", "deviations")

    batches: int = 500
    deviations: float = 18.0
    decay: float = 0.01
    unclipped: float = 0.95

    def __post_init__(self) -> None:
        checks.integer("batches", self.batches, least=0)
        checks.number("deviations", self.deviations, above=0.0)
        checks.number("decay", self.decay, least=0.0)
        checks.probability("unclipped", self.unclipped)

    def refuse(self, drive: DAC, bias: str, known: bool) -> None:
        """Refuse drivers whose range cannot be learned so (ValueError).

        Args:
            drive: the drivers.
            bias: where a layer's bias is added.
            known: whether there is a calibrated range.
        """
        if drive.ideal or drive.range != "calibrated":
            raise ValueError(
                f"the drivers {drive} have no range to learn: give the hardware a "
                "DAC(bits=…, range='calibrated'), as recipe.hardware(hardware) does"
            )
        if bias == "array":
            raise ValueError(
                "bias='array' drives a line with a constant input of 1, which a learned input "
                "range might clip: use bias='digital'"
            )
        if not self.batches and not known:
            raise ValueError(
                "InputRangeRule(batches=0) starts from a calibrated range: call mho.calibrate first"
            )


@torch.no_grad()
def follow(rule: InputRangeRule, x: Tensor, learned: Tensor, seen: Tensor, pending: Tensor) -> None:
    """Take one batch into the running mean, in place, while there are batches left to take.

    Args:
        rule: how many, and of what.
        x: inputs of one training read.
        learned: the range ``[1]``.
        seen: batches it is the mean of, ``[]``.
        pending: what the range is still to move by, ``[1]``. Where processes share a model they
            first agree on it; and of a sharded parameter what is written here is lost.
    """
    # A transform of torch.func cannot see a tensor change: it finds the range as it is.
    if not rule.batches or x.numel() < 2 or _recomputed() or _transforming():
        return
    found = x.detach().to(learned.dtype).std() * rule.deviations
    counts = (seen < rule.batches) & (found > 0.0) & found.isfinite()
    held = learned + pending
    mean = torch.where(counts, (held * seen + found) / (seen + 1), held)
    if shared():
        pending.copy_(mean - learned)
    else:
        learned.copy_(mean)
        pending.zero_()
    seen.add_(counts)


def limited(
    rule: InputRangeRule,
    x: Tensor,
    learned: Tensor,
    seen: Tensor,
    pending: Tensor,
    *,
    training: bool,
) -> tuple[Tensor, Tensor]:
    """Return inputs clamped to the learned range, with its gradient, and the range ``[]``.

    Args:
        rule: how it is learned.
        x: inputs, any shape.
        learned: the range ``[1]``, a parameter.
        seen: batches it is the mean of, ``[]``; while there are none the largest input is the
            range.
        pending: what the range is still to move by, ``[1]``.
        training: whether this is a training read.
    """
    if training:
        follow(rule, x, learned, seen, pending)
    # Of the range as it is now: another read of this step may move it.
    now = (learned.detach() + pending).to(x.dtype).clamp_min(torch.finfo(x.dtype).eps)
    now = torch.where(seen > 0, now, quantize.magnitude(x))
    if training and torch.is_grad_enabled():
        decay: float | Tensor = rule.decay
        unclipped: float | Tensor = rule.unclipped
        if torch.compiler.is_compiling():
            # Numbers that differ from those of the model compiled before become symbols, which
            # torch.compile does not hand to a Function.
            decay, unclipped = (learned.new_full((), n) for n in (rule.decay, rule.unclipped))
        clamp = _ForwardClamp if derivatives.forward_mode() else _Clamp
        x = clamp.apply(x, learned, now, decay, unclipped, learned.requires_grad)
    return x, now.squeeze(0)


class _Clamp(torch.autograd.Function):
    """``x`` clamped to ``±now``; the gradient of the parameter behind it is the rule's."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor,
        learned: Tensor,
        now: Tensor,
        decay: float | Tensor,
        unclipped: float | Tensor,
        moves: bool,
    ) -> Tensor:
        return x.clamp(-now, now)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, learned, now, *ctx.settings = inputs
        ctx.dtype = learned.dtype
        ctx.save_for_backward(x, now)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (x, now), (g,) = ctx.saved_tensors, grads
        above, below = x >= now, x <= -now
        (decay, unclipped, moves), moved = ctx.settings, None
        if moves:
            limit, wide = now.to(ctx.dtype), g.to(ctx.dtype)
            grow = torch.where(above, wide, 0.0).clamp(max=0.0).sum()
            grow = grow - torch.where(below, wide, 0.0).clamp(min=0.0).sum()
            inside = 1.0 - (above | below).to(ctx.dtype).mean()
            moved = limit * grow + decay * limit * (inside > unclipped)
        return torch.where(x.abs() <= now, g, 0.0), moved, None, None, None, None


class _ForwardClamp(_Clamp):
    """`_Clamp` in forward mode, apart as `torch.compile` takes no Function that defines it."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _Clamp.setup_context(ctx, inputs, output)
        ctx.save_for_forward(inputs[0], inputs[2])
        ctx.set_materialize_grads(False)  # a range without a tangent is told by None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Any:
        (x, now), (moved, of_range, *_) = ctx.saved_tensors, tangents
        if of_range is not None:
            raise NotImplementedError(
                "a learned input range moves by a rule that has no forward-mode derivative: leave "
                "it out of the tangents, or use reverse mode"
            )
        return None if moved is None else torch.where(x.abs() <= now, moved, 0.0)


def shared() -> bool:
    """Whether this process is one of a group that may share a model."""
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized()


# Without a way to ask, nothing is taken for a second computation, or for a transform.
_task = getattr(torch._C, "_current_graph_task_id", lambda: -1)
_transforming = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)


def _recomputed() -> bool:
    """Whether this is activation checkpointing, computing in a backward pass what it had before."""
    return not torch.compiler.is_compiling() and _task() != -1
