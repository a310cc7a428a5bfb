"""Presets of published chips: one example each worked by hand, and what was measured."""

import runpy
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

import mho
from mho import ADC, DAC, Array, Hardware
from mho.analysis import chips, cost, peak
from mho.analysis.timing import ChargeSteps, Sent

# Energies and areas are far below 1e-12, which pytest tolerates by itself.
approx = partial(pytest.approx, rel=1e-9, abs=0.0)

EXAMPLE = Path(__file__).parents[2] / "examples" / "published_chips.py"


def on(chip, rows, cols, **hardware):
    """One layer that fills one array."""
    torch.manual_seed(0)
    analog = mho.convert(nn.Linear(rows, cols, bias=False), Hardware(**hardware))
    return cost(analog, torch.rand(4, rows), chip)


# (out, in) bits: phases' pulses, samples, steps, phases; by hand from the scheme.
STEPS = {
    (3, 1): (1, 1, 3, 1),
    (4, 2): (1, 1, 4, 1),
    (5, 3): (3, 2, 5, 1),
    (6, 4): (7, 3, 6, 1),
    (7, 5): (3 + 3, 4, 7 + 5, 2),
    (8, 6): (7 + 3, 5, 8 + 5, 2),
    (10, 8): (15 + 7, 7, 10 + 6, 2),
}


@pytest.mark.parametrize(("bits", "by_hand"), STEPS.items())
def test_charge_steps_by_hand(bits, by_hand):
    slots = ChargeSteps().slots(Sent(bits[1], bits[0]))
    pulses, samples, steps, phases = by_hand
    assert (slots.pulses, slots.samples, slots.steps, slots.phases) == by_hand
    assert slots.drives == samples
    time = slots.driven + slots.waited
    assert time == approx(0.27e-6 * pulses + 0.30e-6 * (steps + phases))


def test_neurram_by_hand():
    # 4 bits in, 6 bits out: 3 samples, 7 integrations, 6 steps of 256 neurons; 256 word lines and
    # 256 input lines are driven 3 times.
    #   word line   (48 + 256 · 2.1) fF · 1.3 V · 2.2 V = 1.675 pJ
    #   neuron      3 · 1.2 + 7 · 0.25 + 6 · (0.3 + 0.1) = 7.75 pJ
    #   together    256 · (3 · (1.675 + 0.965) + 7.75) pJ = 4.011 nJ
    #   time        7 · 0.27 + 7 · 0.30 = 3.99 µs
    result = on(chips.get("neurram"), 128, 256, array=Array(128, 256), dac=DAC(4), adc=ADC(6))
    assert result.layers[0].arrays == 1
    assert result.utilisation == 1.0
    assert result["word lines"].dynamic.typical == approx(256 * 3 * 1.6748e-12, rel=1e-3)
    assert result.counted("dynamic").typical == approx(4.011e-9, rel=1e-3)
    assert result.latency.typical == approx(3.99e-6)
    # A core of 1.161 mm²: 28 % neurons of 1270 µm², 21 % drivers, 12 % cells of 125.7 F².
    assert result.counted("area").typical == approx(1.161e-6, rel=0.01)
    assert result.energy is None
    assert result.missing == ("buffers", "interconnect")
    # the same in all cores at once
    found = peak(chips.get("neurram"), 4, 6)
    assert found.operations == 65536
    assert found.tops.typical == approx(48 * 65536 / 3.99e-6 / 1e12)
    assert found.energy.typical == approx(result.counted("energy").typical, rel=1e-9)


@pytest.mark.parametrize("phases", [1, 4])
def test_hermes_by_hand(phases):
    # The single core: 131072 operations at 10.5 TOPS/W are 12.48 nJ, at 1.008 TOPS 130.03 ns.
    name = "hermes" if phases == 1 else "hermes_four_phase"
    result = on(chips.get(name), 256, 256, array=Array(256, 256), dac=DAC(8), adc=ADC(8))
    assert result.layers[0].arrays == 1
    assert result.counted("energy").typical == approx(phases * 12.483e-9, rel=1e-4)
    assert result.latency.typical == approx(phases * 130.03e-9, rel=1e-4)
    assert result.counted("area").typical == approx(0.63396e-6, rel=1e-4)
    found = peak(chips.get(name))
    assert found.tops.typical == approx(64 * 1.008 / phases)
    assert found.tops_per_watt.typical == approx(10.5 / phases)
    assert found.area.typical == approx(64 * 0.63396e-6, rel=1e-4)


def test_isaac_by_hand():
    # 16 bits in as 16 planes of 100 ns on one array of 128 × 128:
    #   drivers   16 · 128 · 0.41667 pJ = 853.3 pJ
    #   samples   16 · 128 · 8.73 nW · 100 ns = 1.788 pJ
    #   ADC       16 · 128 · 1.67 pJ = 3.420 nJ (of 8 bits, 128 in 100 ns)
    #   sums      16 · 128 · 0.021 pJ = 43.0 pJ
    found = peak(chips.get("isaac"), 16, 8, planes=16, cells_per_weight=8, cell_energy=16 * 30e-12)
    each = {part.name: part.dynamic.typical for part in found.parts}
    assert each["drivers"] == approx(853.3e-12, rel=1e-3)
    assert each["sample and hold"] == approx(1.788e-12, rel=1e-3)
    assert each["ADC"] == approx(3.42e-9, rel=2e-3)
    assert each["shift-add"] == approx(43.0e-12, rel=1e-3)
    assert each["cells"] == approx(480e-12)
    assert found.time.typical == approx(1.6e-6)
    # 168 tiles of 96 arrays, of 128 · 16 weights each
    assert found.tops.typical == approx(168 * 96 * 2 * 128 * 16 / 1.6e-6 / 1e12)
    assert found.uncounted == ("control",)


def test_a_tile_of_isaac_is_as_large_as_published():
    # 0.372 mm² a tile (Shafiee et al. 2016, table I), of which 12 pairs of registers take 2870 µm²,
    # pooling 240 and the tile's own register 3200, which are not counted.
    found = peak(chips.get("isaac"), 16, 8, planes=16, cells_per_weight=8)
    tile = found.area.typical / 168
    assert tile == approx((372000 - 12 * 2870 - 240 - 3200) * 1e-12, rel=0.03)
    # 330 mW a tile, of which registers and pooling take 12 · 1.47 + 2.08 mW; cells 0.3 mW an array.
    found = peak(chips.get("isaac"), 16, 8, planes=16, cells_per_weight=8, cell_energy=16 * 30e-12)
    power = 96 * found.energy.typical / found.time.typical
    assert power == approx(0.330 - 12 * 1.47e-3 - 2.08e-3, rel=0.05)
    each = {part.name: part for part in found.parts}
    assert each["bus"].area.typical * 96 == approx(0.09e-6)
    puma = {part.name: part for part in peak(chips.get("puma"), 16, 8, planes=16).parts}
    assert puma["bus of tiles"].area.typical * 16 * 8 == approx(0.09e-6)


def test_puma_by_hand():
    # As ISAAC's arrays; an input is 16 bits of a 2 kB memory, an output 8 bits of a router of 32
    # a cycle: 128 reads of the memory, 128 · 8 / 32 cycles of the router.
    found = peak(chips.get("puma"), 16, 8, planes=16, cells_per_weight=8)
    each = {part.name: part for part in found.parts}
    assert each["data memory"].uses == 128
    assert each["router"].uses == 32
    assert each["router"].dynamic.typical == approx(32 * 16.13e-12)
    assert each["vector unit"].uses == 128
    assert found.arrays == 138 * 8 * 16
    assert found.uncounted == ("cells", "control")


def test_generic_by_hand():
    # One array of 256 × 256, 8 bits: driven 10 ns, then eight conversions of 10 ns.
    result = on(chips.get("generic_22nm"), 256, 256, array=Array(256, 256), dac=DAC(8), adc=ADC(8))
    assert result.layers[0].arrays == 2
    assert result.latency.typical == approx(90e-9)
    # 0.847 pJ a conversion (Andrulis et al. 2024), of which 80 % are dynamic and 20 % leak
    assert result["ADC"].dynamic.typical == approx(256 * 0.8 * 0.847e-12, rel=2e-3)
    power = 2 * 32 / 2 * 0.2 * 0.847e-12 * 1e8  # 32 converters a pair
    assert result["ADC"].leakage.typical == approx(power * 90e-9, rel=2e-3)
    assert result["DAC"].dynamic.typical == approx(2 * 256 * 0.291e-12)
    assert result["cells"].area.typical == approx(2 * 65536 * 40 * 22e-9**2)
    # Everything is counted: it may be compared.
    for name in ("energy", "latency", "area"):
        assert result.objective(name) > 0


def test_words_are_counted_by_their_bits():
    # 128 inputs of 16 bits and 128 outputs of 8: 8 and 4 words of 256 bits; of 16 bits 128, of 32
    # bits 32. 256 inputs and outputs of 8 bits on two arrays: 8 words of 256 bits, 128 of 16.
    isaac, puma = (
        peak(chips.get(name), 16, 8, planes=16, cells_per_weight=8).parts
        for name in ("isaac", "puma")
    )
    generic = on(chips.get("generic_22nm"), 256, 256, array=Array(256, 256), dac=DAC(8), adc=ADC(8))
    for parts, wanted in (
        (isaac, {"eDRAM": 8, "eDRAM, writes": 4, "bus": 8, "router": 4}),
        (puma, {"data memory": 128, "eDRAM of tiles": 4, "bus of tiles": 4, "router": 32}),
        (generic.parts, {"buffer": 128, "buffer, writes": 128, "router": 8}),
    ):
        uses = {part.name: part.uses for part in parts}
        assert {name: uses[name] for name in wanted} == wanted


def test_measured_chips_are_met_as_the_example_says(capsys):
    example = runpy.run_path(str(EXAMPLE))
    for errors, count in (
        (example["neurram"](), 14),
        (example["held_out"](), 14),
        (example["hermes"](), 6),
    ):
        sizes = [abs(error) for error in errors]
        assert len(sizes) == count
        assert sum(sizes) / count <= 0.15
        assert max(sizes) <= 0.30
    example["main"]()
    assert "half more" in capsys.readouterr().out


def test_what_is_assumed_and_cited_is_printed():
    for name in chips.NAMES:
        chip = chips.get(name)
        text = "\n".join(chip.assumptions())
        assert chip.sources
        assert chip.assumed
        for line in (*chip.sources, *chip.assumed):
            assert line in text
        for part in chip.parts:
            assert part.component is None or part.component.source


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="no architecture 'moon'; there are neurram"):
        chips.get("moon")
    with pytest.raises(ValueError, match="phases of hermes"):
        chips.hermes(2)
    with pytest.raises(ValueError, match="give rows and cols"):
        peak(chips.get("generic_22nm"))
    with pytest.raises(TypeError, match="architecture"):
        peak("hermes")
    with pytest.raises(ValueError, match="input_bits"):
        peak(chips.get("hermes"), 0)
    with pytest.raises(ValueError, match="cells_per_weight"):
        peak(chips.get("hermes"), cells_per_weight=0)
    with pytest.raises(ValueError, match="cell_energy"):
        peak(chips.get("isaac"), 16, 8, planes=16, cell_energy=-1.0)
