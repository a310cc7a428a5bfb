"""What a recipe says beside the noise of its cells: converters, optimiser, loss; plain data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mho.core import checks
from mho.core.spec import Spec
from mho.hardware import Array, Hardware
from mho.periphery.adc import ADC
from mho.periphery.amplifier import Amplifier
from mho.periphery.dac import DAC


@dataclass(frozen=True)
class Periphery(Spec):
    """The converters that a recipe trains for, in units that no device is needed for.

    The unit is the current of one input at full scale through the largest conductance difference
    of its column. A converter of full scale ``adc_bound`` units then clips outputs at
    ``adc_bound · input range · max|W_j|``: in amperes the same for all columns and layers.

    Attributes:
        dac_bits: of the drivers, whose range is calibrated or learned.
        adc_bits: of the converters; None reads currents exactly.
        adc_bound: full scale of the converters, > 0.
        output_noise: standard deviation of white noise before the converters, >= 0.
        per_column: whether every column has a scale of its own, so that its largest weight fills
            the conductance range.
        rows: word lines of a tile; None leaves the hardware's.

    Raises:
        TypeError, ValueError: if a value is refused.
    """

    said: ClassVar[tuple[str, ...]] = ("dac_bits", "adc_bits", "adc_bound")

    dac_bits: int = 8
    adc_bits: int | None = 8
    adc_bound: float = 14.0
    output_noise: float = 0.0
    per_column: bool = True
    rows: int | None = None

    def __post_init__(self) -> None:
        checks.integer("dac_bits", self.dac_bits, most=24)
        if self.adc_bits is not None:
            checks.integer("adc_bits", self.adc_bits, most=24)
        checks.number("adc_bound", self.adc_bound, above=0.0)
        checks.number("output_noise", self.output_noise, least=0.0)
        if self.rows is not None:
            checks.integer("rows", self.rows)

    def on(self, hardware: Hardware) -> Hardware:
        """Return the hardware with these converters in place of its own.

        Args:
            hardware: its device, array, wires, effects and the rest stay.
        """
        low, high = hardware.device.window
        v_max = DAC().v_max if hardware.dac is None else hardware.dac.v_max
        unit = v_max * (high - low)  # amperes
        bits = self.adc_bits
        scaling = hardware.encoding.scaling.replace(per_column=self.per_column)
        array: Array = hardware.array
        amplifier = hardware.amplifier
        if self.output_noise:
            amplifier = (amplifier or Amplifier()).replace(noise=self.output_noise * unit)
        return hardware.replace(
            encoding=hardware.encoding.replace(scaling=scaling),
            array=array if self.rows is None else array.replace(rows=self.rows),
            dac=DAC(bits=self.dac_bits, v_max=v_max),
            adc=None if bits is None else ADC(bits=bits, range=self.adc_bound * unit),
            amplifier=amplifier,
        )


@dataclass(frozen=True)
class Optimisation(Spec):
    """AdamW and its schedule, as a source gives them.

    Attributes:
        lr: largest learning rate, > 0.
        betas: decay of the moments.
        eps: added to the root of the second.
        weight_decay: decoupled, >= 0.
        warmup: share of the steps in which the rate grows from 0, 0…1.
        power: of the polynomial by which the rate then falls to 0, >= 0; 0 keeps it.
        epochs: passes over the data.
        max_norm: gradients are scaled down to this norm; None leaves them.

    Raises:
        TypeError, ValueError: if a value is refused.
    """

    said: ClassVar[tuple[str, ...]] = ("lr", "weight_decay", "epochs")

    lr: float = 5e-7
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    weight_decay: float = 0.01
    warmup: float = 0.016
    power: float = 1.0
    epochs: int = 2
    max_norm: float | None = 1.0

    def __post_init__(self) -> None:
        checks.number("lr", self.lr, above=0.0)
        if len(self.betas) != 2:
            raise ValueError(f"betas must be two numbers, got {self.betas!r}")
        for beta in self.betas:
            checks.probability("every one of betas", beta)
        checks.number("eps", self.eps, above=0.0)
        checks.number("weight_decay", self.weight_decay, least=0.0)
        checks.probability("warmup", self.warmup)
        checks.number("power", self.power, least=0.0)
        checks.integer("epochs", self.epochs)
        if self.max_norm is not None:
            checks.number("max_norm", self.max_norm, above=0.0)

    def optimizer(self, parameters: Iterable[Any], **changes: Any) -> torch.optim.AdamW:
        """Return the optimizer of these parameters.

        Args:
            parameters: as `torch.optim.AdamW` takes them.
            **changes: of its arguments, for example another ``lr``.
        """
        own = {"lr": self.lr, "betas": self.betas, "eps": self.eps}
        return torch.optim.AdamW(
            parameters, **{**own, "weight_decay": self.weight_decay, **changes}
        )

    def schedule(
        self, optimizer: torch.optim.Optimizer, steps: int
    ) -> torch.optim.lr_scheduler.LambdaLR:
        """Return the learning rate's schedule, to be stepped after every optimizer step.

        Args:
            optimizer: whose rate it moves.
            steps: of the whole training, >= 1.
        """
        steps = checks.integer("steps", steps)
        rising = round(self.warmup * steps)

        def factor(step: int) -> float:
            if step < rising:
                return step / rising
            left = max(steps - step, 0) / max(steps - rising, 1)
            return float(left**self.power)

        return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)

    def clip_gradients(self, model: nn.Module) -> None:
        """Scale gradients down to ``max_norm``, where there is one; before the optimizer's step."""
        if self.max_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), self.max_norm)


@dataclass(frozen=True)
class Distillation(Spec):
    """A loss that follows the outputs of a digital teacher; see `distillation_loss`.

    Attributes:
        temperature: T, > 0.
        beta: share of the teacher's part, 0…1.
    """

    said: ClassVar[tuple[str, ...]] = ("temperature", "beta")

    temperature: float = 1.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        checks.number("temperature", self.temperature, above=0.0)
        checks.probability("beta", self.beta)


def distillation_loss(
    student: Tensor,
    teacher: Tensor,
    targets: Tensor | None = None,
    *,
    temperature: float = 1.0,
    beta: float = 1.0,
) -> Tensor:
    """Return ``β T² KL(teacher ‖ student) + (1 − β) cross entropy``, the mean over positions.

    Both distributions are softmax of logits over T. Computed in float32 at least; no gradient
    reaches the teacher.

    Source: G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", 2015,
    arXiv:1503.02531.

    Args:
        student: logits ``[..., classes]``.
        teacher: logits, shaped alike.
        targets: classes ``[...]``; needed for β < 1. Negative ones are left out of the cross
            entropy.
        temperature: T, > 0.
        beta: β, 0…1.

    Returns:
        ``[]``.

    Raises:
        TypeError, ValueError: if something is of another kind or shape, or targets are missing.
    """
    checks.number("temperature", temperature, above=0.0)
    checks.probability("beta", beta)
    checks.instance("student", student, Tensor)
    checks.shape("teacher", teacher, tuple(student.shape))
    if student.dim() == 0 or not student.numel():
        raise ValueError(f"student must have shape [..., classes], got {list(student.shape)}")
    if beta < 1.0 and targets is None:
        raise ValueError(f"beta={beta:g} needs targets for the cross entropy, got None")
    wide = torch.promote_types(student.dtype, torch.float32)
    logits = student.to(wide)
    loss = logits.new_zeros(())
    if beta > 0.0:
        p = F.softmax(teacher.detach().to(wide) / temperature, -1)
        log_q = F.log_softmax(logits / temperature, -1)
        kl = F.kl_div(log_q, p, reduction="none").sum(-1).mean()
        loss = loss + beta * temperature**2 * kl
    if beta < 1.0 and targets is not None:
        checks.shape("targets", targets, tuple(student.shape[:-1]))
        flat, wanted = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
        wanted = torch.where(wanted < 0, -100, wanted)
        loss = loss + (1.0 - beta) * F.cross_entropy(flat, wanted)
    return loss
