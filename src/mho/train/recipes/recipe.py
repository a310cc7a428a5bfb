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
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mho.cells.behaviour import Context
from mho.core import checks, files
from mho.core.spec import Spec
from mho.crossbar.report import ProgramReport
from mho.crossbar.training import Practice
from mho.effects.base import ProgrammingEffect
from mho.hardware import Hardware
from mho.model.calibrate import calibrate
from mho.model.convert import convert
from mho.model.crossbars import layers
from mho.model.lifecycle import program
from mho.nn import computed

RANGES = ("as_given", "calibrated", "learned")


@dataclass(frozen=True)
class DropConnect(ProgrammingEffect):
    """Cells that fall to the lowest conductance, drawn anew at every read in training.

    The idle cell of a differential pair rests there anyway, so of such a pair it is the weight
    that becomes zero. Meant as an effect of `Practice`.

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
        return torch.where(context.uniform() < self.p, context.g_min, g)


@dataclass(frozen=True)
class Recipe(Spec):
    """How a network is trained for its hardware.

    Attributes:
        practice: what training reads see beyond the hardware: more programming error (additive
            ``WriteNoise(sigma)``, multiplicative ``WriteNoise(sigma, relative_to="value")``, or the
            device's own times ``noise``), `DropConnect`, stuck cells, drifted cells.
        ranges: of the converters: ``"as_given"`` by the hardware, ``"calibrated"`` before
            training, or ``"learned"``: calibrated, and from there on trained with the weights.
        clip: weights are kept within so many standard deviations of their layer's, about zero;
            None: they are free. Whatever they are, each read maps them onto the whole conductance
            range anew.

    Raises:
        TypeError, ValueError: if a value is refused.
    """

    practice: Practice = field(default_factory=Practice)
    ranges: str = "as_given"
    clip: float | None = None

    def __post_init__(self) -> None:
        checks.instance("practice", self.practice, Practice)
        checks.one_of("ranges", self.ranges, RANGES)
        if self.clip is not None:
            checks.number("clip", self.clip, above=0.0)

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
            inputs: for calibration, as `mho.calibrate` takes them; needed unless ranges are
                ``"as_given"``.
            seed: of the chip.
            **selection: ``only``, ``skip`` and ``overrides`` of `mho.convert`.

        Raises:
            TypeError, ValueError: as `mho.convert` and `mho.calibrate`; or if inputs are missing,
                or weights are to be clipped that a parametrization or a norm computes.
        """
        if self.ranges != "as_given" and inputs is None:
            raise ValueError(f"ranges={self.ranges!r} needs inputs to calibrate with, got None")
        analog = convert(model, hardware, seed=seed, **selection)
        if self.clip is not None:
            _refuse_clipping(analog)
        if self.ranges != "as_given":
            calibrate(analog, inputs, correct=False)
        found = [c for layer in layers(analog).values() for c in layer.crossbars.values()]
        counting = [self.practice.counted_by(crossbar.hardware) for crossbar in found]
        for crossbar, counts in zip(found, counting, strict=True):
            # As `mho.age`: only some crossbars may have an effect that goes by reads.
            idle = any(counting) and not counts
            crossbar.practise(self.practice.replace(reads=(0.0, 0.0)) if idle else self.practice)
            if self.ranges == "learned":
                crossbar.learn_ranges()
        return analog.train()

    @torch.no_grad()
    def after_step(self, analog: nn.Module) -> None:
        """Clip the weights of all crossbar layers; call it after every optimizer step.

        Args:
            analog: as `prepare` returned it.
        """
        if self.clip is None:
            return
        own = (p for layer in layers(analog).values() for p in layer.parameters(recurse=False))
        for parameter in dict.fromkeys(own):  # shared ones once
            if parameter.dim() > 1 and parameter.numel() > 1:
                limit = self.clip * parameter.std()
                parameter.clamp_(-limit, limit)

    def finish(self, analog: nn.Module) -> dict[str, ProgramReport]:
        """End training: keep learned ranges, write the weights, leave the model in ``eval()`` mode.

        Args:
            analog: as `prepare` returned it.

        Returns:
            As `mho.program`.
        """
        for layer in layers(analog).values():
            for crossbar in layer.crossbars.values():
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


def _refuse_clipping(analog: nn.Module) -> None:
    for name, layer in layers(analog).items():
        for weight in computed.normed_names(layer):
            if "bias" not in weight:
                raise ValueError(
                    f"clip: {weight} of {name or 'the model'} is computed by a parametrization or "
                    "a norm, and only parameters can be clipped; skip clip, or make it a parameter"
                )
