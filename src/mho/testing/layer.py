"""What any crossbar layer must obey."""

# ruff: noqa: D102 (a test's name says what it shows)

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mho.effects import PowerLawDrift, ReadNoise, StuckAt, WriteNoise
from mho.hardware import Array, Hardware
from mho.model.calibrate import calibrate
from mho.model.convert import convert
from mho.model.crossbars import layers
from mho.model.lifecycle import age, collapse, program
from mho.periphery import ADC, DAC
from mho.testing import expect


class LayerContract:
    """What any crossbar layer must obey, as tests.

    Subclass it, say which torch layer stands behind yours and what it eats::

        class TestMyLinear(LayerContract):
            def layer(self):
                return torch.nn.Linear(6, 4)

            def inputs(self):
                return (torch.randn(3, 6),)

    Everything runs in float64. A layer that `mho.convert` does not know is built in ``analog``.

    Class attributes:
        rtol: agreement with the torch layer on ideal hardware.
        calibrated: whether `samples`, the first input alone, can calibrate the layer.
    """

    rtol: float = 1e-9
    calibrated: bool = True

    def layer(self) -> nn.Module:
        """Return the torch layer; it may be random, a seed is set before."""
        raise NotImplementedError(f"{type(self).__name__} must define layer()")

    def inputs(self) -> tuple[Any, ...]:
        """Return the arguments of one call; they may be random, a seed is set before."""
        raise NotImplementedError(f"{type(self).__name__} must define inputs()")

    def samples(self, inputs: tuple[Any, ...]) -> Any:
        """Return what `mho.calibrate` takes as samples: by default the first input alone."""
        return inputs[0]

    def analog(self, digital: nn.Module, hardware: Hardware, seed: int = 0) -> nn.Module:
        """Return the crossbar layer for a torch layer."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return convert(digital, hardware, seed=seed)

    def hardware(self) -> Hardware:
        """Return hardware with something at every stage, on small tiles."""
        effects = (
            StuckAt(low=0.05, high=0.05),
            WriteNoise(0.02),
            PowerLawDrift(0.05, nu_spread=0.01),
            ReadNoise(0.02),
        )
        return Hardware(array=Array(4, 3), dac=DAC(8), adc=ADC(8), effects=effects)

    def test_ideal_hardware_computes_what_torch_does(self) -> None:
        digital, inputs = self._setup()
        for hardware in self._ideal():
            analog = self.analog(digital, hardware)
            for mode in (False, True):
                digital.train(mode)
                analog.train(mode)
                torch.manual_seed(1)
                wanted = digital(*inputs)
                torch.manual_seed(1)
                self._agree("output", analog(*inputs), wanted)

    def test_gradients_on_ideal_hardware_are_torch_s(self) -> None:
        digital, inputs = self._setup()
        self._learn_alike(digital, inputs)

    def test_what_computes_a_weight_is_honoured(self) -> None:
        digital, inputs = self._setup()
        for module in list(digital.modules()):
            for name, parameter in list(module.named_parameters(recurse=False)):
                if "weight" in name and parameter.dim() > 1:
                    parametrize.register_parametrization(module, name, _Curved())
        self._learn_alike(digital, inputs)
        analog = self.analog(digital, Hardware()).eval()
        self._agree("output", analog(*inputs), digital.eval()(*inputs))
        for model in (digital, analog):
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    if name.endswith("original"):
                        parameter.mul_(1.5)
        program(analog)
        self._agree("output of other weights", analog(*inputs), digital(*inputs))

    def test_given_layer_is_left_alone(self) -> None:
        digital, inputs = self._setup()
        before = copy.deepcopy(digital.state_dict())
        analog = self.analog(digital, self.hardware()).train()
        torch.stack([y.sum() for y in _flat(analog(*inputs))]).sum().backward()
        age(analog, 100.0)
        for name, value in digital.state_dict().items():
            expect.same(f"{name} of the given layer", value, before[name])
        untouched = all(p.grad is None for p in digital.parameters())
        expect.holds(untouched, "no gradient on the given layer", "some")

    def test_same_seed_same_chip(self) -> None:
        digital, inputs = self._setup()
        outputs = []
        for seed in (3, 3, 4):
            analog = self.analog(digital, self.hardware(), seed).eval()
            outputs.append(_flat(analog(*inputs)))
        self._agree("output of the same seed", outputs[1], outputs[0], exact=True)
        differs = not all(torch.equal(a, b) for a, b in zip(outputs[0], outputs[2], strict=True))
        expect.holds(differs, "another seed to give another chip", "equal outputs")

    def test_state_dict_round_trips(self) -> None:
        digital, inputs = self._setup()
        analog = self.analog(digital, self.hardware(), 3).eval()
        age(analog, 100.0)
        torch.manual_seed(7)
        other = self.analog(self.layer().double(), self.hardware(), 4).eval()
        other.load_state_dict(expect.saved_and_loaded(analog.state_dict()))
        self._agree("output after loading", other(*inputs), analog(*inputs), exact=True)

    def test_copies_are_equal(self) -> None:
        digital, inputs = self._setup()
        analog = self.analog(digital, self.hardware()).eval()
        twin = copy.deepcopy(analog)
        self._agree("output of a copy", twin(*inputs), analog(*inputs), exact=True)

    def test_collapse_is_the_layer_as_stored(self) -> None:
        digital, inputs = self._setup()
        drifting = Hardware(effects=(WriteNoise(0.05), PowerLawDrift(0.1), StuckAt(low=0.1)))
        analog = self.analog(digital, drifting).eval()
        age(analog, 1000.0)
        plain = collapse(analog)
        crossbars = [m for m in plain.modules() if type(m).__module__.startswith("mho.")]
        expect.holds(not crossbars, "a plain torch model", crossbars)
        self._agree("output after collapse", plain(*inputs), analog(*inputs))

    def test_programming_reports_every_crossbar(self) -> None:
        digital, _ = self._setup()
        analog = self.analog(digital, self.hardware())
        reports = program(analog)
        count = sum(len(layer.crossbars) for layer in layers(analog).values())
        expect.equal("number of reports", len(reports), count)
        for name, report in reports.items():
            bounded = 0.0 < report.relative_error < 2.0
            expect.holds(bounded, f"relative error of {name} in (0, 2)", report.relative_error)

    def test_nan_is_refused_and_nothing_programmed(self) -> None:
        digital, inputs = self._setup()
        analog = self.analog(digital, Hardware()).eval()
        before = [y.clone() for y in _flat(analog(*inputs))]
        found = layers(analog)
        weight = next(p for layer in found.values() for p in layer.parameters() if p.dim() > 1)
        stored = weight.detach().clone()
        with torch.no_grad():
            weight.view(-1)[0] = torch.nan
        expect.refused("a NaN weight", lambda: program(analog))
        with torch.no_grad():
            weight.copy_(stored)
        program(analog)
        self._agree("output after the refusal", analog(*inputs), before)

    def test_calibration_brings_it_closer(self) -> None:
        digital, inputs = self._setup()
        if not self.calibrated:
            return
        drifted = Hardware(dac=DAC(10), adc=ADC(10), effects=(PowerLawDrift(0.1),))
        analog = self.analog(digital, drifted).eval()
        age(analog, 1000.0)
        wanted = _flat(digital.eval()(*inputs))

        def error() -> float:
            pairs = zip(_flat(analog(*inputs)), wanted, strict=True)
            return sum(float((y - w).detach().square().sum()) for y, w in pairs)

        before = error()
        calibrate(analog, self.samples(inputs))
        after = error()
        expect.holds(after < 0.5 * before, "squared error halved by calibration", (before, after))

    def _setup(self) -> tuple[nn.Module, tuple[Any, ...]]:
        torch.manual_seed(0)
        digital = self.layer().double().train()
        inputs = tuple(_double(value) for value in self.inputs())
        return digital, inputs

    def _learn_alike(self, digital: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Compare gradients on ideal hardware with the torch layer's, by parameter name."""
        wanted = self._gradients(digital, inputs)
        for hardware in self._ideal():
            found = self._gradients(self.analog(digital, hardware), inputs)
            for name, gradient in wanted.items():
                expect.holds(name in found, f"a parameter {name!r}", sorted(found))
                scale = float(gradient.abs().max())
                expect.close(
                    f"gradient of {name}",
                    found[name],
                    gradient,
                    rtol=self.rtol,
                    atol=self.rtol * scale,
                )

    @staticmethod
    def _gradients(model: nn.Module, inputs: tuple[Any, ...]) -> dict[str, Tensor]:
        model.train().zero_grad()
        torch.manual_seed(1)
        torch.stack([y.square().sum() for y in _flat(model(*inputs))]).sum().backward()
        found = {}
        for name, parameter in model.named_parameters():
            if parameter.grad is None:
                raise AssertionError(f"expected a gradient of {name}; found none")
            found[name] = parameter.grad
        return found

    @staticmethod
    def _ideal() -> tuple[Hardware, ...]:
        """Ideal hardware of both read paths, with the bias on either side."""
        effects: tuple[tuple[ReadNoise, ...], ...] = ((), (ReadNoise(0.0),))
        return tuple(
            Hardware(array=Array(4, 3), bias=bias, effects=some)
            for bias in ("digital", "array")
            for some in effects
        )

    def _agree(self, what: str, found: Any, wanted: Any, *, exact: bool = False) -> None:
        found, wanted = _flat(found), _flat(wanted)
        expect.equal("number of tensors returned", len(found), len(wanted))
        for y, w in zip(found, wanted, strict=True):
            scale = float(w.detach().abs().max()) if w.numel() else 0.0
            rtol = 0.0 if exact else self.rtol
            expect.close(what, y, w, rtol=rtol, atol=rtol * scale)


class _Curved(nn.Module):
    """A parametrization: weights are the hyperbolic sine of what is trained."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sinh()


def _flat(value: Any) -> list[Tensor]:
    """Return the floating tensors of a nested result (a packed sequence gives its data)."""
    if isinstance(value, nn.utils.rnn.PackedSequence):
        return [value.data]
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    return [tensor for item in value or () for tensor in _flat(item)]


def _double(value: Any) -> Any:
    if isinstance(value, nn.utils.rnn.PackedSequence):
        return value.to(torch.float64)
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, (tuple, list)):
        return type(value)(_double(item) for item in value)
    return value
