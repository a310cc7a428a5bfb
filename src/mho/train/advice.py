"""Advice before training in place: what a device allows, and which optimizer to take for it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mho.cells.device import Device
from mho.core import checks
from mho.crossbar import Crossbar
from mho.train.answers import DeviceNumbers, device_numbers
from mho.train.floor import Floor, sgd_floor
from mho.train.on_cells.choice import matrix_shape
from mho.train.on_cells.in_situ import InSitu
from mho.train.on_cells.layouts import DifferentialPair, SingleCell, pulse_steps
from mho.train.on_cells.parameter import pulsed
from mho.train.on_cells.pulsed_sgd import PulsedSGD
from mho.train.on_cells.tiki_taka import TikiTaka
from mho.train.on_cells.transfer_rates import FORGETS_NOTHING, UNBALANCED
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
_BOLDER = 2.0  # times the rate, where states are few and changes are added up digitally
_ALIKE = 0.02  # asymmetry of steps that count as alike
_NOISY = 0.5  # half ranges, by which pulses that lead through one scatter: pairs,
_DROWNED = 4.0  # and nothing is learnt


class Advice:
    """What `check_device` found and proposes; prints readable lines.

    Attributes:
        device: that was asked about.
        numbers: of the device.
        floor: of plain pulsed SGD, the sum of all weights' losses and the usual bias.
        rule: what is proposed, in words; ``"nothing"`` where pulses cannot train such cells.
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

        Raises:
            ValueError: if nothing is proposed, and why.
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

    The learning rate is what SGD of the cross-entropy takes: one over the largest curvature of a
    layer, its inputs' square sum over four, to one digit, from 0.01 to 0.3; twice that where states
    are few and sums have far to go until they are worth a pulse. The floor of plain SGD
    is the sum of `sgd_floor` over all weights, for gradients whose variance is their curvature (as
    that of a log-likelihood is at its minimum), over the batch. Nothing of the model changes: of
    one on crossbars a copy is read.

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
        checks.finite("inputs", inputs)
    cell = pulsed(device, "device")
    weights = _matrices(model)
    if not weights:
        raise ValueError("model must have weight matrices that are trained, for cells to hold")
    fans = [matrix_shape(p)[1] for p in weights]
    largest = [float(p.abs().max()) for p in model.parameters() if p.dim() >= 2 and p.numel()]
    high = max(min(1.0, _SPREAD / math.sqrt(max(fans))), 1.5 * max(largest))
    span = (-high, high)
    numbers = device_numbers(
        WeightCells(cell, (_CELLS, 1), weight_range=span, granularity=high / 50.0, seed=seed)
    )
    sums = _square_sums(model, inputs) or [_MEAN_SQUARE * n for n in fans]
    lr = min(max(1.0 / (_CURVATURE * max(sums)), _LR[0]), _LR[1])
    lr = float(f"{lr:.1g}")
    curvature = _CURVATURE * sum(sums) / sum(fans)
    usual = math.sqrt(
        sum(float(p.double().square().sum()) for p in weights) / sum(p.numel() for p in weights)
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
    case = _Case(device, numbers, floor, lr, span)
    return _proposed(case, pulse_steps(cell), digital)


class _Case(NamedTuple):
    """What a proposal goes by."""

    device: Device
    numbers: DeviceNumbers
    floor: Floor
    lr: float
    span: tuple[float, float]

    @property
    def kind(self) -> dict[str, Any]:
        """What every optimizer is given."""
        return {"device": self.device, "weight_range": self.span}

    def advice(self, rule: str, reasons: list[str], make: Callable[..., Any]) -> Advice:
        """Return the advice to take a rule."""
        return Advice(
            self.device, self.numbers, self.floor, rule, self.lr, self.span, tuple(reasons), make
        )


def _proposed(case: _Case, steps: tuple[float, float], digital: bool) -> Advice:
    """Propose an optimizer.

    Args:
        case: what is known.
        steps: set and reset steps of a nominal cell in the middle of its window (S).
        digital: see `check_device`.
    """
    numbers, half = case.numbers, case.span[1]
    why = _unfit(numbers, steps)
    if why:
        return _nothing(case, why)
    one_way = steps[1] <= 0.0  # resets raise: cells that are only set have no use for them
    few = numbers.states < _FEW
    reasons = [f"{numbers.states:.2g} states are few: pairs of cells have more"] if few else []
    lopsided = abs(numbers.asymmetry) > _LOPSIDED or numbers.reach < _LOPSIDED * half
    if digital:
        return _mixed(case, reasons, lopsided=lopsided or one_way)
    if one_way:
        reasons.append("reset pulses raise the conductance, too: pairs of cells that are only set")
        kind = {**case.kind, "layout": DifferentialPair()}
        return case.advice(
            f"PulsedSGD(layout={DifferentialPair()})",
            reasons,
            lambda model, **more: PulsedSGD(model, case.lr, **{**kind, **more}),
        )
    forgets = numbers.reach <= FORGETS_NOTHING * half
    if not forgets and abs(numbers.asymmetry) < _ALIKE and numbers.unbalanced < UNBALANCED:
        reasons.append("steps are alike all over the window: nothing pulls weights anywhere")
        return case.advice(
            "PulsedSGD",
            reasons,
            lambda model, **more: PulsedSGD(model, case.lr, **{**case.kind, **more}),
        )
    found = forgets and numbers.unbalanced < UNBALANCED
    rule = TikiTakaV2() if found else AGAD()
    reasons.append(
        "a fast array gathers gradients, "
        + ("about its cells' symmetry points" if found else "and its zero is found on the way")
    )
    return case.advice(
        f"TikiTaka(rule={type(rule).__name__}())",
        reasons,
        lambda model, **more: TikiTaka(model, case.lr, **{**case.kind, "rule": rule, **more}),
    )


def _mixed(case: _Case, reasons: list[str], *, lopsided: bool) -> Advice:
    """Propose mixed precision, on pairs where single cells would do badly."""
    noisy, few = _scatter(case.numbers) > _NOISY, case.numbers.states < _FEW
    layout = DifferentialPair() if lopsided or noisy or few else SingleCell()
    reasons.append("changes are added up digitally until they are worth a pulse")
    if few:
        case = case._replace(lr=_BOLDER * case.lr)
        reasons.append("states are few: at twice the usual rate sums are worth one sooner")
    if lopsided:
        reasons.append("set and reset steps differ much: pairs of cells that are only set")
    if noisy:
        reasons.append("pulses are noisy: of a pair each moves the weight by half as much")

    def mixed(model: nn.Module, **more: Any) -> InSitu:
        inner = torch.optim.SGD(model.parameters(), case.lr)
        given = {**case.kind, "layout": layout, "threshold": 1.0, **more}
        return InSitu(inner, model=model, **given)

    return case.advice(f"InSitu(SGD, threshold=1.0, layout={layout})", reasons, mixed)


def _unfit(numbers: DeviceNumbers, steps: tuple[float, float]) -> str:
    """Return why pulses cannot train such cells; "" where they can."""
    low, middle, high = numbers.up
    if steps[0] <= 0.0:
        return (
            "set pulses lower the conductance in the middle of the window (by a weight of "
            f"{-middle:.2g} in the mean; {low:+.2g} at the lowest and {high:+.2g} at the "
            "highest): no rule that counts pulses can tell them which way to go. Take pulses of "
            "another voltage or width, or train digitally and program the cells by write–verify"
        )
    if _scatter(numbers) > _DROWNED:
        return (
            "pulses are noise: as many as lead through half the range scatter by "
            f"{_scatter(numbers):.2g} times as much, and no rule learns by them. Of a fitted "
            "device, see first whether its law fits (mho.fit.pulses chooses one by itself)"
        )
    return ""


def _scatter(numbers: DeviceNumbers) -> float:
    """Return the deviation of as many pulses as lead through half the range, over that half."""
    return math.sqrt(2.0 / numbers.states) / numbers.snr


def _nothing(case: _Case, why: str) -> Advice:
    """Say why nothing is proposed, and refuse to make an optimizer."""

    def refuse(model: nn.Module, **more: Any) -> Any:
        raise ValueError(f"no optimizer is proposed: {why}")

    return case.advice("nothing", [why], refuse)


def _square_sums(model: nn.Module, inputs: Tensor | None) -> list[float]:
    """Return the mean square sum of what each weight matrix that is trained receives."""
    if inputs is None:
        return []
    found: list[float] = []

    def note(module: nn.Module, given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        seen = next((x for x in (*given, *named.values()) if isinstance(x, Tensor)), None)
        if seen is None or not seen.numel():
            return
        # Whole numbers choose rows of a table: one input of 1, all others 0.
        each = float(seen.detach().float().square().mean()) if seen.is_floating_point() else None
        own = _matrices(module, recurse=False)
        found.extend(1.0 if each is None else each * matrix_shape(p)[1] for p in own)

    # A chip that is read is no more what it was: a copy is.
    on_chip = any(isinstance(module, Crossbar) for module in model.modules())
    shown = copy.deepcopy(model) if on_chip else model
    with _as_stored(shown):
        hooks = [m.register_forward_pre_hook(note, with_kwargs=True) for m in shown.modules()]
        try:
            shown(inputs)
        finally:
            for hook in hooks:
                hook.remove()
    return found


def _matrices(module: nn.Module, *, recurse: bool = True) -> list[nn.Parameter]:
    """Return the weight matrices that are trained."""
    every = module.parameters(recurse)
    return [p for p in every if p.dim() >= 2 and p.numel() and p.requires_grad]


@contextmanager
def _as_stored(model: nn.Module) -> Iterator[None]:
    """Put a model in ``eval()`` mode for the time of a block; its modules' modes come back."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
