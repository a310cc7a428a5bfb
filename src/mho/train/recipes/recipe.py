"""Noise-aware training: a recipe says how a network is trained for its hardware.

The hardware itself (its programming error, defects, wires and converters) is seen by every
converted model in ``train()`` mode. A recipe adds what training may do beyond that. It is three
lines around any training loop::

    analog = recipe.prepare(model, hardware, inputs)   # before: convert, calibrate
    ...
    optimizer.step()
    recipe.after_step(analog)                          # inside: keep weights in range
    ...
    recipe.finish(analog)                              # after: write the weights to the chip

Published ones are in `mho.train.recipes.published`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

from mho.cells.behaviour import Context
from mho.core import checks, files, renamed
from mho.core.spec import Spec
from mho.crossbar import learned_ranges
from mho.crossbar.crossbar import Crossbar
from mho.crossbar.input_range import InputRangeRule
from mho.crossbar.report import ProgramReport
from mho.crossbar.training import NoiseInjection
from mho.effects.base import ProgrammingEffect
from mho.hardware import Hardware
from mho.model.calibrate import calibrate
from mho.model.convert import convert
from mho.model.crossbars import layers
from mho.model.lifecycle import program
from mho.nn import computed
from mho.nn.embedding import Embedding
from mho.train.recipes import clipping
from mho.train.recipes.settings import Distillation, Optimisation, Periphery, distillation_loss

RANGES = ("as_given", "calibrated", "learned")


@dataclass(frozen=True)
class DropConnect(ProgrammingEffect):
    """Cells that fall to the lowest conductance, drawn anew at every read in training.

    The idle cell of a differential pair rests there anyway, so of such a pair it is the weight
    that becomes zero. Meant as an effect of `NoiseInjection`.

    Source: L. Wan, M. Zeiler, S. Zhang, Y. LeCun, R. Fergus, "Regularization of neural networks
    using DropConnect", ICML 2013.

    Attributes:
        p: probability, 0…1.
    """

    p: float

    def __post_init__(self) -> None:
        checks.probability("DropConnect p", self.p)

    def program(self, g: Tensor, context: Context) -> Tensor:
        """Let cells fall."""
        return g.masked_fill(context.uniform() < self.p, context.g_min)


@renamed.keywords({"practice": "injection"})
@dataclass(frozen=True)
class Recipe(Spec):
    """How a network is trained for its hardware.

    Attributes:
        injection: what training reads see beyond the hardware: more programming error (additive
            ``WriteNoise(sigma)``, multiplicative ``WriteNoise(sigma, relative_to="value")``, or the
            device's own times ``noise``), `DropConnect`, stuck cells, drifted cells.
        ranges: of the converters: ``"as_given"`` by the hardware, ``"calibrated"`` before
            training, or ``"learned"``: calibrated, and from there on trained with the weights; or
            an `InputRangeRule`: input ranges start from the training data, or from a calibration if
            there is one, and are trained by the rule.
        clip: weights in training are kept within so many standard deviations of their layer's (or
            column's), about zero; None: they are free. Frozen ones stay as they are. Whatever they
            are, each read maps them onto the whole conductance range anew.
        clip_of: ``"layer"``, or ``"column"``: each output of a matrix by itself.
        periphery: the converters it is meant for; see `hardware`.
        optimisation: the optimiser it is meant for; see `optimizer`.
        distillation: the loss it is meant for; see `loss`.
        name: of a published recipe.
        source: author, title, year, doi or arXiv number.
        not_done: what of the source is not done here.
        not_confirmed: numbers that could not be confirmed in the source.

    Raises:
        TypeError, ValueError: if a value is refused.
    """

    injection: NoiseInjection = field(default_factory=NoiseInjection)
    ranges: str | InputRangeRule = "as_given"
    clip: float | None = None
    clip_of: str = "layer"
    periphery: Periphery | None = None
    optimisation: Optimisation | None = None
    distillation: Distillation | None = None
    name: str = ""
    source: str = ""
    not_done: tuple[str, ...] = ()
    not_confirmed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        checks.instance("injection", self.injection, NoiseInjection)
        if not isinstance(self.ranges, InputRangeRule):
            checks.one_of("ranges", self.ranges, RANGES)
        if self.clip is not None:
            checks.number("clip", self.clip, above=0.0)
        checks.one_of("clip_of", self.clip_of, clipping.CLIP_OF)
        if self.clip is None and self.clip_of != clipping.LAYER:
            raise ValueError(f"clip_of={self.clip_of!r} changes nothing without clip")
        for name, kind in _PARTS.items():
            checks.instance(name, getattr(self, name), (kind, type(None)))
        for name in ("name", "source"):
            checks.instance(name, getattr(self, name), str)
        for name in ("not_done", "not_confirmed"):
            checks.instance(name, getattr(self, name), (tuple, list))
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def __str__(self) -> str:
        """A table: what it says, a line each; not what is left as it is by default."""
        lines = [self.name or "recipe"]
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "name" or value == each.default:
                continue
            items = [f"– {text}" for text in value] if isinstance(value, tuple) else [str(value)]
            wrapped = [line for item in items for line in _wrap(item)]
            labels = (each.name.replace("_", " "), *[""] * len(wrapped))
            lines += [f"  {a:<15}{b}" for a, b in zip(labels, wrapped, strict=False)]
        return "\n".join(lines)

    # ── what it is meant for ─────────────────────────────────────────────────────────────────

    def hardware(self, hardware: Hardware) -> Hardware:
        """Return the hardware with the converters of this recipe, if it says any.

        Args:
            hardware: its cells, array and effects stay.
        """
        return hardware if self.periphery is None else self.periphery.on(hardware)

    def optimizer(self, parameters: Iterable[Any], **changes: Any) -> torch.optim.Optimizer:
        """Return the optimizer of this recipe; see `Optimisation.optimizer`.

        Raises:
            ValueError: if it says none.
        """
        return self._said("optimisation", self.optimisation).optimizer(parameters, **changes)

    def schedule(
        self, optimizer: torch.optim.Optimizer, steps: int
    ) -> torch.optim.lr_scheduler.LambdaLR:
        """Return its learning-rate schedule; see `Optimisation.schedule`.

        Raises:
            ValueError: if it says none.
        """
        return self._said("optimisation", self.optimisation).schedule(optimizer, steps)

    def loss(self, student: Tensor, targets: Tensor | None, teacher: Tensor) -> Tensor:
        """Return its loss, in the order of arguments that `mho.train.fit` uses.

        Args:
            student: logits ``[..., classes]`` of the model in training.
            targets: classes ``[...]``, or None where the teacher says all.
            teacher: logits of the digital model, shaped as ``student``.

        Raises:
            ValueError: if it says none; or as `distillation_loss`.
        """
        said = self._said("distillation", self.distillation)
        targets = None if said.beta == 1.0 else targets
        return distillation_loss(
            student, teacher, targets, temperature=said.temperature, beta=said.beta
        )

    def _said(self, name: str, value: Any) -> Any:
        if value is None:
            raise ValueError(f"{self.name or 'this recipe'} says no {name}")
        return value

    # ── around a training loop ───────────────────────────────────────────────────────────────

    def prepare(
        self,
        model: nn.Module,
        hardware: Hardware,
        inputs: Any = None,
        *,
        seed: int = 0,
        **selection: Any,
    ) -> nn.Module:
        """Return the model on crossbars, in ``train()`` mode, ready for an optimizer.

        Args:
            model: any torch model; it is not changed.
            hardware: what it is trained for.
            inputs: for calibration, as `mho.calibrate` takes them; needed where ranges are
                ``"calibrated"`` or ``"learned"``. With an `InputRangeRule` they take the place of
                the first batches of training.
            seed: of the chip.
            **selection: ``only``, ``skip``, ``overrides``, ``program`` and the other options of
                `mho.convert`.

        Raises:
            TypeError, ValueError: as `mho.convert` and `mho.calibrate`; or if inputs are missing,
                or weights are to be clipped that a parametrization or a norm computes; or ranges
                to be calibrated where ``program=False`` stores no cells.
        """
        if self.ranges in ("calibrated", "learned") and inputs is None:
            raise ValueError(f"ranges={self.ranges!r} needs inputs to calibrate with, got None")
        if self.ranges != "as_given" and inputs is not None and not selection.get("program", True):
            raise ValueError(
                f"ranges={self.ranges!r} is calibrated on stored cells, and program=False stores "
                "none: use an InputRangeRule without inputs, which finds ranges in training"
            )
        analog = convert(model, hardware, seed=seed, **selection)
        if self.clip is not None:
            _refuse_clipping(analog)
        if self.ranges != "as_given" and inputs is not None:
            calibrate(analog, inputs, correct=False)
        found = _crossbars(analog)
        looked_up = _looked_up(analog)
        counting = [self.injection.counted_by(crossbar.hardware) for crossbar in found]
        for crossbar, counts in zip(found, counting, strict=True):
            # As `mho.age`: only some crossbars may have an effect that goes by reads.
            idle = any(counting) and not counts
            crossbar.inject_noise(
                self.injection.replace(reads=(0.0, 0.0)) if idle else self.injection
            )
            if isinstance(self.ranges, InputRangeRule):
                if crossbar not in looked_up:  # driven with 1 alone
                    crossbar.learn_ranges(self.ranges)
            elif self.ranges == "learned":
                crossbar.learn_ranges()
        return analog.train()

    @torch.no_grad()
    def after_step(self, analog: nn.Module) -> None:
        """Clip the weights of all crossbar layers; call it after every optimizer step.

        In several processes it also brings together what each has found of the input ranges in its
        own first batches: all must call it.

        Args:
            analog: as `prepare` returned it.
        """
        if isinstance(self.ranges, InputRangeRule):
            learned_ranges.agree(_crossbars(analog))
        if self.clip is None:
            return
        done: set[int] = set()  # shared ones once
        for layer in layers(analog).values():
            clipping.clip(layer, self.clip, self.clip_of, done)

    def finish(self, analog: nn.Module) -> dict[str, ProgramReport]:
        """End training: keep learned ranges, write the weights, leave the model in ``eval()`` mode.

        Args:
            analog: as `prepare` returned it.

        Returns:
            As `mho.program`.
        """
        for crossbar in _crossbars(analog):
            crossbar.learn_ranges(False)
        reports = program(analog)
        analog.eval()
        return reports

    def save(self, path: str | Path) -> None:
        """Write this recipe to a YAML file."""
        files.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read a recipe from a YAML file; see `mho.load_hardware` for what is refused."""
        return files.load(path, cls)


_PARTS: dict[str, type] = {
    "periphery": Periphery,
    "optimisation": Optimisation,
    "distillation": Distillation,
}


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, 80, subsequent_indent="  " * text.startswith("–"))


def _crossbars(analog: nn.Module) -> list[Crossbar]:
    found = (c for layer in layers(analog).values() for c in layer.crossbars.values())
    return list(dict.fromkeys(found))  # shared ones once


def _looked_up(analog: nn.Module) -> set[Crossbar]:
    """Crossbars of embeddings that no other layer reads."""
    tables: set[Crossbar] = set()
    others: set[Crossbar] = set()
    for layer in layers(analog).values():
        (tables if isinstance(layer, Embedding) else others).update(layer.crossbars.values())
    return tables - others


def _refuse_clipping(analog: nn.Module) -> None:
    for name, layer in layers(analog).items():
        for weight in computed.normed_names(layer):
            if "bias" not in weight:
                raise ValueError(
                    f"clip: {weight} of {name or 'the model'} is computed by a parametrization or "
                    "a norm, and only parameters can be clipped; skip clip, or make it a parameter"
                )
