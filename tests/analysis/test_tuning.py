"""Bits for each layer: against all choices there are, and against models built by hand."""

import itertools
import math

import pytest
import torch

import mho
from mho.analysis.choices import Choice, cheapest, energy_of, error_of

HARDWARE = mho.Hardware(
    dac=mho.DAC(bits=8), adc=mho.ADC(bits=8), effects=(mho.effects.WriteNoise(sigma=0.02),)
)


@pytest.fixture
def model():
    torch.manual_seed(2)
    return torch.nn.Sequential(
        torch.nn.Linear(40, 30), torch.nn.ReLU(), torch.nn.Linear(30, 30), torch.nn.Linear(30, 5)
    ).eval()


@pytest.fixture
def inputs():
    return torch.rand(100, 40, generator=torch.Generator().manual_seed(0))


def error_by_hand(model, tuned, inputs):
    """Outputs of the tuned hardware against those of the same cells behind exact converters."""
    whole = mho.convert(model, HARDWARE, overrides=tuned.overrides)
    mho.calibrate(whole, inputs)
    bare = HARDWARE.replace(dac=None, adc=None)
    exact = mho.convert(model, bare, overrides=dict.fromkeys(tuned.overrides, bare))
    for one, other in zip(
        mho.crossbars(whole).values(), mho.crossbars(exact).values(), strict=True
    ):
        other.commit(correction=other.correction.replace(gain=one.gain, offset=one.offset))
    with torch.no_grad():
        return float((whole(inputs) - exact(inputs)).norm() / exact(inputs).norm())


def test_the_error_is_within_the_budget_and_is_what_a_model_made_by_hand_shows(model, inputs):
    tuned = mho.tune(model, HARDWARE, inputs, error=0.03, bits=(4, 5, 6, 8))
    assert tuned.error <= 0.03
    assert error_by_hand(model, tuned, inputs) == pytest.approx(tuned.error, rel=1e-3)
    for name, hardware in tuned.overrides.items():
        assert mho.crossbars(tuned.model)[name].hardware == hardware
        chosen = tuned.chosen[name]
        assert (hardware.dac.bits, hardware.adc.bits) == (chosen.dac, chosen.adc)
        assert hardware.effects == HARDWARE.effects
    again = mho.convert(model, HARDWARE, overrides=tuned.overrides)
    mho.calibrate(again, inputs)
    assert torch.equal(again(inputs), tuned.model(inputs))


def test_a_smaller_error_costs_more(model, inputs):
    bits = (4, 6, 8, 10)
    coarse = mho.tune(model, HARDWARE, inputs, error=0.1, bits=bits)
    fine = mho.tune(model, HARDWARE, inputs, error=0.01, bits=bits)
    assert fine.energy > coarse.energy
    assert fine.error < 0.01 < coarse.error <= 0.1


def test_an_energy_is_a_budget_too(model, inputs):
    coarse = mho.tune(model, HARDWARE, inputs, error=0.1, bits=(4, 6, 8))
    fine = mho.tune(model, HARDWARE, inputs, error=0.02, bits=(4, 6, 8))
    limit = (coarse.energy + fine.energy) / 2
    found = mho.tune(model, HARDWARE, inputs, energy=limit, bits=(4, 6, 8))
    assert sum(c.energy for c in found.chosen.values()) <= limit
    # Of drivers and converters varied together energies are told from each varied alone.
    assert found.energy == pytest.approx(sum(c.energy for c in found.chosen.values()), rel=1e-3)
    assert found.error < coarse.error


def test_one_price_for_all_layers_finds_what_trying_everything_finds():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        weights = torch.rand(4, generator=generator).tolist()
        tables = {
            str(i): [Choice(None, b, w * 2.0**b, (1 - w) * 4.0**-b) for b in range(3, 9)]
            for i, w in enumerate(weights)
        }
        limit = 1e-3
        found = cheapest(tables, limit, error_of, energy_of)
        assert sum(c.error for c in found.values()) <= limit
        every = [
            sum(c.energy for c in choice)
            for choice in itertools.product(*tables.values())
            if sum(c.error for c in choice) <= limit
        ]
        spent = sum(c.energy for c in found.values())
        # Between corners of the hull it may stop short, by less than one step of one layer.
        step = max(c.energy for c in found.values())
        assert min(every) <= spent * (1 + 1e-9)
        assert spent <= min(every) + step


def test_only_what_the_hardware_has_is_chosen(model, inputs):
    tuned = mho.tune(model, HARDWARE.replace(dac=None), inputs, error=0.1, bits=(4, 6, 8))
    assert {c.dac for c in tuned.chosen.values()} == {None}
    assert all(h.dac is None for h in tuned.overrides.values())
    assert "–" in str(tuned)


def test_a_model_of_one_layer_and_one_of_several_crossbars(inputs):
    torch.manual_seed(0)
    tuned = mho.tune(torch.nn.Linear(40, 6), HARDWARE, inputs, error=0.05, bits=(4, 6, 8))
    assert tuned.error <= 0.05
    x = torch.rand(6, 5, 4)
    lstm = mho.tune(torch.nn.LSTM(4, 5, batch_first=True), HARDWARE, x, error=0.2, bits=(4, 6, 8))
    assert lstm.error <= 0.2
    block = torch.nn.TransformerEncoderLayer(8, 2, 8, batch_first=True).eval()
    found = mho.tune(block, HARDWARE, torch.rand(3, 5, 8), error=0.2, bits=(4, 6, 8))
    assert set(found.overrides) == {"self_attn", "linear1", "linear2"}


def test_what_cannot_be_is_refused(model, inputs):
    with pytest.raises(ValueError, match="one budget"):
        mho.tune(model, HARDWARE, inputs)
    with pytest.raises(ValueError, match="one budget"):
        mho.tune(model, HARDWARE, inputs, error=0.1, energy=1e-9)
    with pytest.raises(ValueError, match="error must be"):
        mho.tune(model, HARDWARE, inputs, error=-0.1)
    with pytest.raises(ValueError, match="two numbers"):
        mho.tune(model, HARDWARE, inputs, error=0.1, bits=(8,))
    with pytest.raises(ValueError, match="no converters"):
        mho.tune(model, mho.Hardware(), inputs, error=0.1)
    with pytest.raises(ValueError, match="overrides"):
        mho.tune(model, HARDWARE, inputs, error=0.1, overrides={})
    with pytest.raises(ValueError, match="is not met with 4 to 5 bits"):
        mho.tune(model, HARDWARE, inputs, error=1e-6, bits=(4, 5))
    with pytest.raises(ValueError, match="energy must be larger: the least"):
        mho.tune(model, HARDWARE, inputs, energy=1e-15, bits=(4, 5))


def test_it_prints(model, inputs):
    tuned = mho.tune(model, HARDWARE, inputs, error=0.05, bits=(4, 6, 8))
    lines = str(tuned).splitlines()
    assert lines[0].split()[:5] == ["layer", "DAC", "bits", "ADC", "bits"]
    assert "bits everywhere" in lines[-1]
    assert math.isfinite(tuned.uniform_energy)


@pytest.mark.parametrize("mode", ["amplitude", "bit_serial"])
def test_what_a_tuned_model_needs_is_a_budget_that_it_meets(model, inputs, mode):
    hardware = HARDWARE.replace(dac=mho.DAC(bits=8, mode=mode))
    found = mho.tune(model, hardware, inputs, error=0.1, bits=(4, 6, 8))
    assert found.energy == pytest.approx(sum(c.energy for c in found.chosen.values()), rel=0.03)
    again = mho.tune(model, hardware, inputs, energy=found.energy * 1.001, bits=(4, 6, 8))
    assert again.energy <= found.energy * 1.001


class Recurrent(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.last = torch.nn.LSTM(6, 8, batch_first=True), torch.nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.cells(x)[0][:, -1])


def test_a_budget_of_energy_holds_where_crossbars_of_a_layer_share_their_bits():
    torch.manual_seed(0)
    model, x = Recurrent().eval(), torch.rand(4, 3, 6)
    least = mho.tune(model, HARDWARE, x, error=10.0, bits=(4, 8)).energy
    for more in (1.0, 1.05, 1.2):
        found = mho.tune(model, HARDWARE, x, energy=least * more, bits=(4, 8))
        assert found.energy <= least * more * (1 + 1e-9)


def test_what_the_limit_leaves_is_spent():
    def layer(*energies):
        return [Choice(None, 4 + i, e, 4.0**-i) for i, e in enumerate(energies)]

    tables = {"a": layer(1.0, 10.0), "b": layer(1.0, 2.0), "c": layer(1.0, 1.5)}
    found = cheapest(tables, 4.6, energy_of, error_of)
    assert [c.adc for c in found.values()] == [4, 5, 5]
    found = cheapest({"a": layer(1.0, 9.0, 10.0)}, 9.0, energy_of, error_of)
    assert found["a"].adc == 5  # no corner of the hull


def test_inputs_are_of_any_form(model, inputs):
    whole = mho.tune(model, HARDWARE, inputs, error=0.1, bits=(4, 8))
    other = mho.tune(model, HARDWARE, inputs.double().numpy(), error=0.1, bits=(4, 8))
    assert (other.chosen, other.error) == (whole.chosen, whole.error)
