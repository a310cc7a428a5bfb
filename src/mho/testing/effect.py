"""What any effect must obey."""

# ruff: noqa: D102 (a test's name says what it shows)

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from mho.cells.behaviour import Context
from mho.core import random
from mho.crossbar.crossbar import Crossbar
from mho.effects.base import Effect
from mho.hardware import Hardware
from mho.testing import expect

STAGES = {
    "fabrication": ("broken", "fabricate_state"),
    "programming": ("program", "write_std", "fabricate_state"),
    "aging": ("age", "fabricate_state"),
    "reading": ("read", "read_std", "fabricate_state"),
}
_ACTS = ("broken", "program", "write_std", "age", "read", "read_std")
_YEAR = 3.15576e7
_READS_A_SECOND = 1e-4


class EffectContract:
    """What any effect must obey, as tests.

    Subclass it, return your effect from ``effect``, and run pytest::

        class TestMyEffect(EffectContract):
            def effect(self):
                return MyEffect(sigma=0.1)

    Class attributes:
        differentiable: training can follow the gradient through the effect.
        labels: fields of the effect that need not change anything, each with the reason.
    """

    differentiable: bool = True
    labels: Mapping[str, str] = MappingProxyType({})

    def effect(self) -> Effect:
        """Return the effect under test."""
        raise NotImplementedError(f"{type(self).__name__} must define effect()")

    def hardware(self) -> Hardware:
        """Return hardware with the effect alone."""
        return Hardware(effects=(self.effect(),))

    def crossbar(self, seed: int = 0) -> Crossbar:
        """Return a programmed crossbar with the effect alone."""
        crossbar = Crossbar(7, 5, self.hardware(), seed=seed, dtype=torch.float64)
        crossbar.program(_random(7, 5))
        return crossbar

    def serve(self, crossbar: Crossbar, seconds: float) -> None:
        """Let time pass, and reads happen where the effect goes by them."""
        crossbar.age(seconds, _READS_A_SECOND * seconds if self.effect().counts_reads else 0.0)

    def context(self, seed: int = 0) -> Context:
        """Return the context of a population of 3 × 4 cells, with the state the effect draws."""
        like = torch.empty(3, 4, dtype=torch.float64)
        window = self.hardware().device.window
        context = Context(like, *window, random.stream(seed))
        context.state = self.effect().fabricate_state(context)
        return context

    def stages(self, g: Tensor, seed: int = 0) -> dict[str, object]:
        """Return what every stage the effect acts on makes of conductances ``g [3, 4]`` (S)."""
        effect, context = self.effect(), self.context(seed)
        calls: dict[str, Callable[[], object]] = {
            "broken": lambda: effect.broken(context),
            "program": lambda: effect.program(g, context),
            "write_std": lambda: effect.write_std(g, context),
            "age": lambda: effect.age(g, context, 0.0, _YEAR),
            "read": lambda: effect.read(g, context),
            "read_std": lambda: effect.read_std(g, context),
        }
        return {name: call() for name, call in calls.items() if effect.acts_on(name)}

    def conductances(self) -> Tensor:
        """Return conductances ``[3, 4]`` (S) over the whole window."""
        return torch.linspace(*self.hardware().device.window, 12, dtype=torch.float64).view(3, 4)

    def test_spec_round_trips(self) -> None:
        expect.round_trips(self.effect())

    def test_every_field_acts(self) -> None:
        device, x = self.hardware().device, _random(3, 7, seed=1)

        def observed(effect: Effect) -> list[Tensor]:
            hardware = Hardware(device=device, effects=(effect,))
            crossbar = Crossbar(7, 5, hardware, seed=4, dtype=torch.float64)
            crossbar.program(_random(7, 5))
            seen = [crossbar.G, x @ crossbar]
            self.serve(crossbar, _YEAR)
            return [*seen, crossbar.G, x @ crossbar]

        expect.every_field_acts(self.effect(), observed, self.labels)

    def test_acts_at_its_own_stage_only(self) -> None:
        effect = self.effect()
        expect.holds(effect.stage in STAGES, f"stage among {sorted(STAGES)}", effect.stage)
        acts = [name for name in _ACTS if effect.acts_on(name)]
        expect.holds(bool(acts), f"a method of {effect.stage} overridden", "none")
        allowed = STAGES[effect.stage]
        strangers = [name for name in acts if name not in allowed]
        expect.holds(not strangers, f"only {allowed} overridden", strangers)

    def test_state_is_per_cell(self) -> None:
        context = self.context()
        for name, value in context.state.items():
            expect.holds(isinstance(value, Tensor), f"state {name!r} a tensor", type(value))
            expect.equal(f"shape of state {name!r}", tuple(value.shape), context.shape)

    def test_time_changes_only_its_own_tensors(self) -> None:
        effect, context = self.effect(), self.context()
        names = effect.changing
        strangers = [name for name in names if name not in context.state]
        expect.holds(not strangers, "changing tensors drawn at fabrication", strangers)
        for seconds in (1.0, _YEAR, float("inf")) if names else ():
            changed = effect.advance(context, seconds)
            expect.equal("tensors that time changed", tuple(changed), names)
            for name, value in changed.items():
                expect.equal(f"shape of {name!r}", tuple(value.shape), context.shape)
                expect.finite(name, value)

    def test_results_are_finite_and_shaped_as_the_cells(self) -> None:
        for name, result in self.stages(self.conductances()).items():
            for value in result if isinstance(result, tuple) else (result,):
                if isinstance(value, Tensor):
                    shape = (len(value),) if name == "broken" else (3, 4)
                    expect.equal(f"shape of {name}", tuple(value.shape), shape)
                    expect.finite(name, value)
                    if value.is_floating_point():
                        expect.equal(f"dtype of {name}", value.dtype, torch.float64)

    def test_arguments_are_left_alone(self) -> None:
        g = self.conductances()
        self.stages(g)
        expect.same("conductances given to the effect", g, self.conductances())

    def test_same_seed_same_effect(self) -> None:
        one, two = (self.stages(self.conductances(), seed=3) for _ in range(2))
        for name, first in one.items():
            pairs = zip(_flat(first), _flat(two[name]), strict=True)
            for a, b in pairs:
                expect.same(f"{name} of the same seed", b, a)

    def test_conductances_stay_non_negative(self) -> None:
        crossbar = self.crossbar()
        self.serve(crossbar, _YEAR)
        low = float(crossbar.G.min())
        expect.holds(low >= 0.0, "conductances >= 0 S after a year", f"{low!r} S")
        expect.finite("conductances", crossbar.G)

    def test_whole_life_is_reproducible(self) -> None:
        x = _random(3, 7, seed=1)
        outputs = []
        for _ in range(2):
            crossbar = self.crossbar(seed=11)
            self.serve(crossbar, _YEAR)
            outputs.append(x @ crossbar)
        expect.same("outputs of the same seed", outputs[1], outputs[0])
        expect.finite("outputs", outputs[0])

    def test_saved_and_loaded_in_mid_life(self) -> None:
        x = _random(3, 7, seed=1)
        crossbar = self.crossbar(seed=1)
        self.serve(crossbar, 10.0)
        other = self.crossbar(seed=2)
        other.load_state_dict(expect.saved_and_loaded(crossbar.state_dict()))
        twin = copy.deepcopy(crossbar)
        results = []
        for c in (crossbar, other, twin):
            self.serve(c, _YEAR)
            results.append(x @ c)
        expect.same("outputs after loading", results[1], results[0])
        expect.same("outputs of a copy", results[2], results[0])

    def test_aging_composes(self) -> None:
        # Cells age from what was last written, unless the effect says that it is memoryless.
        if self.effect().stage != "aging":
            return
        one, two = self.crossbar(), self.crossbar()
        self.serve(one, _YEAR)
        for part in (0.0, 0.5, 3600.0, _YEAR - 3600.5):
            self.serve(two, part)
        expect.close("conductances aged in parts", two.G, one.G, rtol=1e-9)

    def test_training_reads_through_it(self) -> None:
        crossbar, weight = self.crossbar(), _random(7, 5, seed=2).requires_grad_()
        y = crossbar.read_through(_random(3, 7, seed=1), weight)
        expect.finite("outputs in training", y)
        if not self.differentiable:
            return
        (grad,) = torch.autograd.grad(y.square().sum(), weight)
        expect.finite("gradient of the weights", grad)
        expect.holds(bool(grad.abs().sum() > 0), "a gradient through the effect", "all zero")


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=random.generator(seed), dtype=torch.float64)


def _flat(result: object) -> list[Tensor]:
    values = result if isinstance(result, tuple) else (result,)
    return [torch.as_tensor(value) for value in values]
