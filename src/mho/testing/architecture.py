"""What any architecture of converters must obey."""

# ruff: noqa: D102 (a test's name says what it shows)

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from mho.crossbar.crossbar import Crossbar
from mho.hardware import Array, Hardware
from mho.periphery import ADC, Architecture, code_transitions, enob
from mho.periphery.characterise import codes
from mho.testing import expect

_CONVERTERS = 5


class ArchitectureContract:
    """What any architecture of converters must obey, as tests.

    Subclass it, return your architecture from ``architecture``, and run pytest::

        class TestMyConverter(ArchitectureContract):
            def architecture(self):
                return MyConverter(mismatch=0.01)

    Class attributes:
        bits: of the converters that are looked at.
        labels: fields that need not change anything, each with the reason.
    """

    bits: int = 6
    labels: Mapping[str, str] = MappingProxyType({})

    def architecture(self) -> Architecture:
        """Return the architecture under test."""
        raise NotImplementedError(f"{type(self).__name__} must define architecture()")

    def adc(self, architecture: Architecture | None = None) -> ADC:
        """Return converters of the architecture."""
        return ADC(self.bits, range=2e-4, architecture=architecture or self.architecture())

    def crossbar(self, seed: int = 0) -> Crossbar:
        """Return a programmed crossbar behind such converters."""
        hardware = Hardware(array=Array(4, 3), adc=self.adc())
        crossbar = Crossbar(7, 5, hardware, seed=seed, dtype=torch.float64)
        crossbar.program(_random(7, 5))
        return crossbar

    def test_spec_round_trips(self) -> None:
        expect.round_trips(self.architecture())
        expect.round_trips(self.adc())

    def test_every_field_acts(self) -> None:
        x = torch.linspace(-1.1, 1.1, 4001, dtype=torch.float64) * 2 ** (self.bits - 1)

        def observed(architecture: Architecture) -> list[Tensor]:
            adc = self.adc(architecture)
            time = adc.conversion_time
            seen = codes(adc, x, _CONVERTERS)
            return [seen, torch.tensor(math.nan if time is None else time)]

        expect.every_field_acts(self.architecture(), observed, self.labels)

    def test_transitions_rise(self) -> None:
        found = code_transitions(self.adc(), _CONVERTERS)
        expect.equal("shape", tuple(found.shape), (_CONVERTERS, 2**self.bits - 1))
        expect.finite("transitions", found)
        fall = float(found.diff(dim=1).min())
        expect.holds(fall >= 0.0, "transitions that do not fall", f"one that falls by {-fall:g}")

    def test_fabrication_is_reproducible(self) -> None:
        one, same, other = (code_transitions(self.adc(), _CONVERTERS, seed=s) for s in (1, 1, 2))
        expect.same("transitions of the same seed", same, one)
        if self.architecture().drawn:
            expect.holds(
                not torch.equal(one, other), "other converters of another seed", "the same"
            )

    def test_codes_are_the_transitions_passed(self) -> None:
        adc = self.adc(self.architecture().without_noise)
        levels = code_transitions(adc, _CONVERTERS)
        x = torch.linspace(-1.1, 1.1, 4001, dtype=torch.float64) * 2 ** (self.bits - 1)
        passed = torch.searchsorted(levels, x.expand(_CONVERTERS, -1).contiguous(), right=True)
        expected = (passed - 2 ** (self.bits - 1)).clamp(*adc.levels).T
        wrong = float((codes(adc, x, _CONVERTERS) != expected).double().mean())
        expect.holds(wrong < 1e-3, "codes that count transitions", f"{wrong:.2%} of them others")

    def test_no_more_bits_than_there_are(self) -> None:
        found = enob(self.adc(), _CONVERTERS)
        expect.finite("effective bits", found)
        most = float(found.max())
        expect.holds(most < self.bits + 0.1, f"at most {self.bits} effective bits", most)

    def test_time_of_a_conversion(self) -> None:
        built = self.architecture()
        if built.cycles(self.bits) is None:
            expect.equal("conversion time", built.conversion_time(self.bits), None)
            return
        clocked = built.replace(clock=1e6)
        time, latency = clocked.conversion_time(self.bits), clocked.latency(self.bits)
        expect.holds(time is not None and time > 0.0, "a conversion time > 0", time)
        expect.holds(latency is not None and latency >= (time or 0.0), "latency >= time", latency)

    def test_crossbars_keep_their_converters(self) -> None:
        quiet = self.adc(self.architecture().without_noise)
        hardware = Hardware(array=Array(4, 3), adc=quiet)
        one, two = (Crossbar(7, 5, hardware, seed=s, dtype=torch.float64) for s in (1, 2))
        one.program(_random(7, 5))
        x = _random(3, 7)
        y = one(x)
        two.load_state_dict(expect.saved_and_loaded(one.state_dict()))
        expect.same("outputs of the loaded crossbar", two(x), y)

    def test_training_is_differentiable(self) -> None:
        crossbar = self.crossbar()
        x, weight = (_random(*shape).requires_grad_() for shape in ((3, 7), (7, 5)))
        y = crossbar.read_through(x, weight)
        expect.finite("outputs", y)
        for name, grad in zip("xw", torch.autograd.grad(y.sum(), (x, weight)), strict=True):
            expect.finite(f"gradient of {name}", grad)
            expect.holds(bool((grad != 0).any()), f"a gradient of {name}", "zeros")


def _random(*shape: int) -> Tensor:
    source = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=source, dtype=torch.float64)
