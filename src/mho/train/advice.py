"""Advice before training in place: what a device allows, and which optimizer to take for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mho.cells.device import Device
from mho.core import checks
from mho.train.on_cells.choice import matrix_shape
from mho.train.on_cells.in_situ import InSitu
from mho.train.on_cells.layouts import DifferentialPair, SingleCell
from mho.train.on_cells.parameter import pulsed
from mho.train.on_cells.pulsed_sgd import PulsedSGD
from mho.train.on_cells.references import symmetry_point
from mho.train.on_cells.tiki_taka import TikiTaka
from mho.train.on_cells.transfer_rates import FORGETS_NOTHING, UNBALANCED, Response, response
from mho.train.on_cells.transfer_rules import AGAD, TikiTakaV2
from mho.train.on_cells.weights import WeightCells

__all__ = ["Advice", "DeviceNumbers", "check_device", "sgd_floor"]

_CELLS = 512  # of a population that is asked
_FEW = 16.0  # states are few
_LOPSIDED = 0.3  # asymmetry at the weight 0, or a part of the half range that cells reach: pairs
_SPREAD = 8.0  # weights of a layer of n inputs lie within ±8/√n
_MEAN_SQUARE = 0.25  # of inputs, where none are given
_CURVATURE = 0.25  # of the cross-entropy in an output, at most
_LR = (0.01, 0.3)


class Floor(NamedTuple):
    """Where plain pulsed SGD ends on a quadratic, a weight.

    Attributes:
        bias: of the mean, towards the symmetry point (weight units).
        deviation: standard deviation about the mean (weight units).
        loss: above the minimum.
    """

    bias: float
    deviation: float
    loss: float


def sgd_floor(
    *,
    curvature: float,
    noise: float,
    lr: float,
    step: float,
    reach: float = math.inf,
    distance: float = 0.0,
    snr: float = math.inf,
    gross: float | None = None,
) -> Floor:
    """Return the floor of plain pulsed SGD on ``h/2·(w − w*)²``, by its equations.

    A step of rate lr whose gradient is ``h·(w − w*) + ξ`` has ``lr·|gradient|/Δ`` pulses; each
    takes ``Δ/τ`` of the distance to the symmetry point s, so ``w ← w + Δw − |Δw|·(w − s)/τ``.
    With ``G = E|ξ|`` the mean ends at a bias of ``(s − w*)·(G/τ)/(h + G/τ)``. The variance is that
    of ``lr²·σ²`` of the gradients and ``lr·G·Δ·(1 + 1/SNR²)`` of the pulses (their number is
    random, and so is each) a step, over ``2·lr·(h + G/τ)``.

    Source of the equation: Z. Wu et al., "Towards exact gradient-based training on analog
    in-memory computing", arXiv:2406.12774 (there with a lower bound of the loss); the floor is
    worked out here.

    Args:
        curvature: h, > 0.
        noise: σ, standard deviation of the gradient, >= 0.
        lr: learning rate, > 0.
        step: Δ, of a pulse (weight units), > 0.
        reach: τ (weight units), > 0; infinite for equal steps all over the window.
        distance: of the minimum from the symmetry point (weight units).
        snr: mean over deviation of a pulse, > 0.
        gross: G; ``√(2/π)·σ``, of normal gradients, if not given.

    Raises:
        TypeError, ValueError: if an argument is refused.
    """
    for name, value in (("curvature", curvature), ("lr", lr), ("step", step)):
        checks.number(name, value, above=0.0)
    checks.number("noise", noise, least=0.0)
    for name, value in (("reach", reach), ("snr", snr)):
        if not value > 0.0:
            raise ValueError(f"{name} must be > 0, got {value!r}")
    pulses = math.sqrt(2.0 / math.pi) * noise if gross is None else gross
    pull = pulses / reach
    bias = abs(distance) * pull / (curvature + pull)
    moved = lr * noise**2 + pulses * step * (1.0 + snr**-2)
    variance = moved / (2.0 * (curvature + pull))
    return Floor(bias, math.sqrt(variance), curvature / 2.0 * (bias**2 + variance))


class DeviceNumbers(NamedTuple):
    """What cells do to weights of a range (weight units, means over cells).

    Attributes:
        states: steps of a pulse in the range, at mid-window.
        up: step of a set pulse at the lowest, the middle and the highest weight.
        down: step of a reset pulse there.
        asymmetry: ``(up − down)/(up + down)`` in the middle.
        symmetry: symmetry points, mean and standard deviation over cells.
        unbalanced: share of cells without a symmetry point inside their window.
        reach: τ; see `mho.train.on_cells.transfer_rates`. Infinite if pulses forget nothing.
        snr: mean of a pulse in the middle over its deviation from cycle to cycle.
        spread: standard deviation of steps from cell to cell, over their mean.
    """

    states: float
    up: tuple[float, float, float]
    down: tuple[float, float, float]
    asymmetry: float
    symmetry: tuple[float, float]
    unbalanced: float
    reach: float
    snr: float
    spread: float


class Advice:
    """What `check_device` found and proposes; prints readable lines.

    Attributes:
        device: that was asked about.
        numbers: of the device.
        floor: of plain pulsed SGD, the sum of all weights' losses and the usual bias.
        rule: what is proposed, in words.
        lr: learning rate.
        weight_range: what the window of a cell is to stand for.
        reasons: why, a line each.
    """

    def __init__(
        self,
        device: Device,
        numbers: DeviceNumbers,
        floor: Floor,
        rule: str,
        lr: float,
        weight_range: tuple[float, float],
        reasons: tuple[str, ...],
        make: Callable[..., Any],
    ) -> None:
        self.device = device
        self.numbers, self.floor, self.rule, self.lr = numbers, floor, rule, lr
        self.weight_range, self.reasons, self._make = weight_range, reasons, make

    def optimizer(
        self, model: nn.Module, make: Callable[..., Any] | None = None, **more: Any
    ) -> Any:
        """Return the proposed optimizer of a model (the one asked about, or one like it).

        Args:
            model: to be trained.
            make: another optimizer of cells, `TikiTaka` say; it takes the model, the learning
                rate, ``device``, ``weight_range`` and what else is given here.
            **more: of ``make``.
        """
        if make is None:
            return self._make(model, **more)
        return make(model, self.lr, device=self.device, weight_range=self.weight_range, **more)

    def __repr__(self) -> str:
        """Say what was found and what is proposed."""
        n, (low, high) = self.numbers, self.weight_range
        three = lambda each: ", ".join(f"{x:.2g}" for x in each)  # noqa: E731
        rows = [
            ("states", f"{n.states:.3g} steps of a pulse in weights {low:.3g}…{high:.3g}"),
            ("steps up", f"{three(n.up)} at the lowest, the middle and the highest weight"),
            ("steps down", three(n.down)),
            ("asymmetry", f"{n.asymmetry:+.2f} in the middle"),
            (
                "symmetry point",
                f"{n.symmetry[0]:+.2f} ± {n.symmetry[1]:.2g} from cell to cell, "
                f"{n.unbalanced:.0%} of cells have none",
            ),
            ("reach", f"τ = {n.reach:.3g} (pulses forget faster the smaller it is)"),
            ("signal to noise", f"{n.snr:.3g} of one pulse"),
            ("spread of steps", f"{n.spread:.0%} from cell to cell"),
            (
                "plain SGD",
                f"ends {self.floor.loss:.2g} above the minimum of the loss; a weight "
                f"{self.floor.bias:.2g} off in the mean and ± {self.floor.deviation:.2g}",
            ),
            ("proposed", f"{self.rule}, lr {self.lr:g}"),
            *(("", reason) for reason in self.reasons),
        ]
        return "\n".join(f"{name:<16}{value}" for name, value in rows)

    __str__ = __repr__


@torch.no_grad()
def check_device(
    device: Device,
    model: nn.Module,
    inputs: Tensor | None = None,
    *,
    digital: bool = True,
    batch: int = 32,
    seed: int = 0,
) -> Advice:
    """Say what a device allows for training a model in place, and propose an optimizer.

    The learning rate is what SGD of the cross-entropy takes: at most one over the largest
    curvature of a layer, its inputs' square sum over four. The floor of plain SGD is the sum of
    `sgd_floor` over all weights, for gradients whose variance is their curvature (as that of a
    log-likelihood is at its minimum), over the batch.

    Args:
        device: pulse-count, or voltage-driven as `InSitu` takes it.
        model: a plain or converted model.
        inputs: some of the model's, for the learning rate; of mean square 0.25 if not given.
        digital: whether a digital matrix may add changes up until they are worth a pulse (mixed
            precision). Else rules are proposed whose updates are pulses that meet on the array.
        batch: samples of a step.
        seed: of the cells that are asked.

    Raises:
        TypeError, ValueError: if an argument is refused, or the model has no weight matrices.
    """
    checks.instance("model", model, nn.Module)
    checks.integer("batch", batch)
    checks.truth("digital", digital)
    if inputs is not None:
        checks.instance("inputs", inputs, Tensor)
    cell = pulsed(device, "device")
    weights = [p for p in model.parameters() if p.dim() >= 2 and p.numel()]
    if not weights:
        raise ValueError("model must have weight matrices, for cells to hold")
    fans = [matrix_shape(p)[1] for p in weights]
    high = max(
        min(1.0, _SPREAD / math.sqrt(max(fans))), *(1.5 * float(p.abs().max()) for p in weights)
    )
    span = (-high, high)
    numbers = device_numbers(
        WeightCells(cell, (_CELLS, 1), weight_range=span, granularity=high / 50.0, seed=seed)
    )
    sums = _square_sums(model, inputs) or [_MEAN_SQUARE * n for n in fans]
    lr = min(max(1.0 / (_CURVATURE * max(sums)), _LR[0]), _LR[1])
    lr = float(f"{lr:.1g}")
    curvature = _CURVATURE * sum(sums) / sum(fans)
    usual = math.sqrt(
        sum(float(p.square().sum()) for p in weights) / sum(p.numel() for p in weights)
    )
    each = sgd_floor(
        curvature=curvature,
        noise=math.sqrt(curvature / batch),
        lr=lr,
        step=2 * high / numbers.states,
        reach=numbers.reach,
        distance=math.sqrt(usual**2 + numbers.symmetry[0] ** 2 + numbers.symmetry[1] ** 2),
        snr=numbers.snr,
    )
    floor = each._replace(loss=each.loss * sum(p.numel() for p in weights))
    return _proposed(device, numbers, floor, lr, span, digital)


@torch.no_grad()
def device_numbers(cells: WeightCells) -> DeviceNumbers:
    """Return what cells (one a weight) do to weights."""
    population, frame = cells.cells, cells.frame
    own, spec = population.cell(), population.spec
    ups: list[Tensor] = []
    downs: list[Tensor] = []
    for part in (0.0, 0.5, 1.0):
        g = torch.full_like(population.g, frame.g_min + part * (frame.g_max - frame.g_min))
        setting = torch.ones_like(g, dtype=torch.bool)
        ups.append(spec.change(g, setting, own) * frame.slope)
        downs.append(-spec.change(g, ~setting, own) * frame.slope)
    up, down = float(ups[1].mean()), float(downs[1].mean())
    step = max((up + down) / 2, 1e-12)
    point = (symmetry_point(population) - frame.zero) * frame.slope
    answer: Response = response(cells)
    middle = torch.full_like(population.g, (frame.g_min + frame.g_max) / 2)
    noise = []
    for sign, expected in ((1, ups[1]), (-1, -downs[1])):
        population.write(middle)
        before = population.conductance().clone()
        population.pulse(sign)
        noise.append((population.conductance() - before) * frame.slope - expected)
    deviation = float(torch.stack(noise).square().mean().sqrt()) if spec.noisy else 0.0
    each = (ups[1] + downs[1]) / 2
    return DeviceNumbers(
        states=(cells.high - cells.low) / step,
        up=_means(ups),
        down=_means(downs),
        asymmetry=(up - down) / (2 * step),
        symmetry=(float(point.mean()), float(point.std())),
        unbalanced=answer.unbalanced,
        reach=answer.reach,
        snr=step / deviation if deviation else math.inf,
        spread=float(each.std()) / step,
    )


def _proposed(
    device: Device,
    numbers: DeviceNumbers,
    floor: Floor,
    lr: float,
    span: tuple[float, float],
    digital: bool,
) -> Advice:
    kind: dict[str, Any] = {"device": device, "weight_range": span}
    half = span[1]
    forgets = numbers.reach <= FORGETS_NOTHING * half
    reasons = []
    if numbers.states < _FEW:
        reasons.append(f"{numbers.states:.2g} states are few: pairs of cells have more")
    if digital:
        lopsided = abs(numbers.asymmetry) > _LOPSIDED or numbers.reach < _LOPSIDED * half
        layout = DifferentialPair() if lopsided or numbers.states < _FEW else SingleCell()
        reasons.append("changes are added up digitally until they are worth a pulse")
        if lopsided:
            reasons.append("set and reset steps differ much: pairs of cells that are only set")

        def mixed(model: nn.Module, **more: Any) -> InSitu:
            inner = torch.optim.SGD(model.parameters(), lr)
            given = {**kind, "layout": layout, "threshold": 1.0, **more}
            return InSitu(inner, model=model, **given)

        rule = f"InSitu(SGD, threshold=1.0, layout={layout})"
        return Advice(device, numbers, floor, rule, lr, span, tuple(reasons), mixed)
    if not forgets and abs(numbers.asymmetry) < 0.02 and numbers.unbalanced < UNBALANCED:
        reasons.append("steps are alike all over the window: nothing pulls weights anywhere")
        return Advice(
            device,
            numbers,
            floor,
            "PulsedSGD",
            lr,
            span,
            tuple(reasons),
            lambda model, **more: PulsedSGD(model, lr, **{**kind, **more}),
        )
    rule_of = TikiTakaV2() if forgets and numbers.unbalanced < UNBALANCED else AGAD()
    reasons.append(
        "a fast array gathers gradients, about its cells' symmetry points"
        if isinstance(rule_of, TikiTakaV2) and not isinstance(rule_of, AGAD)
        else "a fast array gathers gradients, and its zero is found on the way"
    )
    rule = f"TikiTaka(rule={type(rule_of).__name__}())"
    return Advice(
        device,
        numbers,
        floor,
        rule,
        lr,
        span,
        tuple(reasons),
        lambda model, **more: TikiTaka(model, lr, **{**kind, "rule": rule_of, **more}),
    )


def _means(found: list[Tensor]) -> tuple[float, float, float]:
    low, middle, high = (float(each.mean()) for each in found)
    return low, middle, high


def _square_sums(model: nn.Module, inputs: Tensor | None) -> list[float]:
    """Return the mean square sum of what each layer with a weight matrix receives."""
    if inputs is None:
        return []
    found: list[float] = []

    def note(module: nn.Module, given: tuple[Any, ...]) -> None:
        fan = matrix_shape(module.weight)[1]  # type: ignore[arg-type]
        found.append(float(given[0].float().square().mean()) * fan)

    layers = [m for m in model.modules() if isinstance(getattr(m, "weight", None), Tensor)]
    hooks = [m.register_forward_pre_hook(note) for m in layers if m.weight.dim() >= 2]  # type: ignore[operator]
    training = model.training
    try:
        model.eval()(inputs)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return found
