"""Architectures of ADCs: codes against searches written out, mismatch in σ, effective bits."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from mho import ADC, Hardware
from mho.devices import Spread
from mho.periphery import (
    SAR,
    Architecture,
    Cyclic,
    Flash,
    Measured,
    Oscillator,
    Pipeline,
    Ramp,
    build,
    code_transitions,
    converters,
    dnl,
    draws,
    enob,
    inl,
)
from mho.testing import ArchitectureContract

LIKE = torch.zeros((), dtype=torch.float64)
MANY = (
    Flash(comparator_sigma=0.003, resistor_sigma=0.01),
    SAR(capacitor_sigma=0.01),
    Ramp(capacitor_sigma=0.01),
    Pipeline(capacitor_sigma=0.003, comparator_sigma=0.05),
    Cyclic(capacitor_sigma=0.003, amplifier_db=55.0),
    Oscillator(compression=Spread(Normal(0.05, 0.01))),
    Architecture(inl=(0.01, -0.02)),
)


class Given:
    """Draws that are given."""

    like = LIKE

    def __init__(self, **values):
        self.values = values

    def normal(self, name, *shape):
        return torch.as_tensor(self.values[name], dtype=torch.float64).reshape(shape)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def codes(adc, x, count=3, seed=0):
    """Convert ``x [points]`` (steps) by some converters, and return their transitions too."""
    found = build.draw(adc, draws.Draws(seed, "adc", LIKE), count, count)
    placed = build.Placed(torch.arange(count), 1, count)
    errors = build.by_line(adc, found, placed, (1, 1), LIKE)
    given = torch.as_tensor(x).view(1, 1, -1, 1).repeat(1, 1, 1, count)
    return errors.codes(given, None)[0, 0].T.numpy(), found


# ── every architecture against itself written out ────────────────────────────────────────────


@pytest.mark.parametrize("bits", [3, 6])
@pytest.mark.parametrize("method", ["uniform", "linear"])
@pytest.mark.parametrize("built", MANY, ids=lambda built: type(built).__name__)
def test_a_code_is_the_number_of_transitions_passed(built, method, bits):
    adc = ADC(bits, method=method, architecture=built)
    x = np.linspace(-(2**bits), 2**bits, 20_011)
    found, drawn = codes(adc, x)
    levels = drawn.transitions.numpy()[drawn.table.numpy()]
    full = 2 ** (bits - 1)
    low, high = adc.levels
    expected = [np.clip(np.searchsorted(t, x, side="right") - full, low, high) for t in levels]
    assert (found == np.stack(expected)).mean() > 0.9999
    assert (np.diff(found) >= 0).all()


def by_search(level, x, full):
    """Find a code bit by bit, as a SAR does; ``level`` is what its divider gives for each code."""
    code = 0
    for bit in (full, full // 2, full // 4, full // 8, full // 16):
        if bit and x >= level[code + bit] - 0.5:
            code += bit
    return code - full


def divider(unit, sigma, bits, db=None):
    size = [2**n + sigma * unit[n] * 2 ** (n / 2) for n in range(bits)] + [1 + sigma * unit[bits]]
    total, full, found = sum(size), 2 ** (bits - 1), []
    for code in range(2**bits):
        charged = sum(size[n] for n in range(bits) if code >> n & 1)
        share = charged / total
        if db is not None:
            share /= 1 + 10 ** (-db / 20) * (total + charged) / total
        found.append((2 * share - 1) * full)
    return found


@pytest.mark.parametrize("sigma", [0.02, 0.3])
@pytest.mark.parametrize("db", [None, 30.0])
def test_successive_approximation_is_a_binary_search(sigma, db):
    unit = noise(6)
    built = SAR(capacitor_sigma=sigma, amplifier_db=db)
    levels = built.transitions(Given(capacitor=unit), 1, 5)[0].numpy()
    x = np.linspace(-18, 18, 3001)
    level = divider(unit, sigma, 5, db)
    expected = [by_search(level, each, 16) for each in x]
    np.testing.assert_array_equal(np.searchsorted(levels, x, side="right") - 16, expected)


@pytest.mark.parametrize("sigma", [0.02, 0.3])
def test_a_ramp_is_passed_once(sigma):
    unit = noise(6, seed=3)
    levels = Ramp(capacitor_sigma=sigma).transitions(Given(capacitor=unit), 1, 5)[0].numpy()
    level, found = divider(unit, sigma, 5), []
    x = np.linspace(-18, 18, 3001)
    for each in x:
        code = 0
        while code < 31 and (level[code] + level[code + 1]) / 2 <= each:
            code += 1
        found.append(code - 16)
    np.testing.assert_array_equal(np.searchsorted(levels, x, side="right") - 16, found)


def test_a_flash_counts_its_comparators():
    offsets, ladder = noise(7), noise(8, seed=1)
    built = Flash(comparator_sigma=0.1, resistor_sigma=0.05)
    levels = built.transitions(Given(comparator=offsets, resistor=ladder), 1, 3)[0].numpy()
    r = 1 + 0.05 * ladder
    taps = np.cumsum(r)[:-1] / r.sum() * 8 - 4.5 + 0.1 * 4 * offsets
    x = np.linspace(-6, 6, 2001)
    expected = (x[:, None] >= taps).sum(1)
    np.testing.assert_array_equal(np.searchsorted(levels, x, side="right"), expected)


def by_stages(x, stages, bits, sigma, db):
    """Convert one input stage by stage."""
    v, code = x / 2 ** (bits - 1), 0
    for k in range(bits - 1):
        c1, c2, low, high = (each[min(k, len(each) - 1)] for each in stages)
        c1, c2 = 1 + 0.02 * c1, 1 + 0.02 * c2
        choice = int(v > 0.25 + sigma * high) - int(v < -0.25 + sigma * low)
        code = 2 * code + choice
        gain = 1.0 if db is None else 1 / (1 + 10 ** (-db / 20) * (c1 + c2) / c1)
        v = ((1 + c2 / c1) * v - choice * c2 / c1) * gain
    return code


@pytest.mark.parametrize(("kind", "count"), [(Pipeline, 4), (Cyclic, 1)])
@pytest.mark.parametrize(("sigma", "db"), [(0.03, None), (0.0, 40.0)])
def test_stages_hand_on_their_residue(kind, count, sigma, db):
    stages = [noise(count, seed=s) for s in range(4)]
    names = dict(zip(("c1", "c2", "low", "high"), stages, strict=True), parasitic=np.zeros(count))
    built = kind(capacitor_sigma=0.02, comparator_sigma=sigma, amplifier_db=db)
    levels = built.transitions(Given(**names), 1, 5)[0].numpy()
    x = np.linspace(-14.4, 14.4, 2001)
    x = x[np.abs(x[:, None] - levels).min(1) > 0.01]
    expected = [by_stages(each, stages, 5, sigma, db) for each in x]
    agree = np.searchsorted(levels, x, side="right") - 16 == expected
    assert agree.mean() > 0.97  # where a transfer falls back one crossing is taken
    assert len(x) > 1800


def test_an_oscillator_counts_large_currents_short():
    levels = code_transitions(ADC(8, architecture=Oscillator(compression=0.2)))[0].numpy()
    u = levels / 128
    np.testing.assert_allclose(u / (1 + 0.2 * abs(u)), np.arange(-127, 128) / 128 - 1 / 256)


def test_smooth_nonlinearity_is_its_polynomial():
    levels = code_transitions(ADC(8, architecture=Architecture(inl=(0.03, -0.05, 0.01))))[0]
    u = levels.numpy() / 128
    bent = u + 0.03 * u**2 - 0.05 * u**3 + 0.01 * u**4
    np.testing.assert_allclose(bent, np.arange(-127, 128) / 128 - 1 / 256, atol=1e-12)


def test_measured_converters_come_in_turn():
    rows = ((-1.6, -0.4, 0.5), (-1.5, -0.6, 0.7))
    found = code_transitions(ADC(2, architecture=Measured(levels=rows)), 5)
    np.testing.assert_array_equal(found, [rows[k % 2] for k in range(5)])
    one = code_transitions(ADC(2, architecture=Measured(levels=rows[0])), 2)
    np.testing.assert_array_equal(one, [rows[0]] * 2)


def test_gain_and_offset_are_of_full_scale():
    built = Architecture(gain=0.9, offset=0.05)
    found, _ = codes(ADC(6, architecture=built), np.array([-7.0, 0.2, 10.0]))
    np.testing.assert_array_equal(found[0], np.round([0.9 * x + 1.6 for x in (-7.0, 0.2, 10.0)]))


# ── statistics, closed forms ─────────────────────────────────────────────────────────────────


def test_mid_scale_of_a_divider_has_the_deviation_of_its_formula():
    count, sigma, bits = 4000, 0.004, 8
    widths = code_transitions(ADC(bits, architecture=SAR(capacitor_sigma=sigma)), count).diff(dim=1)
    middle = widths[:, 2 ** (bits - 1) - 2]  # the code below mid-scale, bounded by it
    expected = sigma * math.sqrt(2**bits - 1)
    assert abs(float(middle.std()) / expected - 1) < 4 / math.sqrt(2 * count)
    assert abs(float(middle.mean()) - 1) < 4 * expected / math.sqrt(count)


def test_comparators_of_a_flash_spread_its_transitions():
    count, sigma, bits = 3000, 1e-3, 5
    found = code_transitions(ADC(bits, architecture=Flash(comparator_sigma=sigma)), count)
    ideal = torch.arange(1, 2**bits) - 2 ** (bits - 1) - 0.5
    error = (found - ideal) / (sigma * 2 ** (bits - 1))
    assert abs(float(error.std()) - 1) < 4 / math.sqrt(2 * error.numel())
    assert float(error.mean(0).abs().max()) < 4.5 / math.sqrt(count)


def test_a_resistive_ladder_is_a_bridge():
    count, sigma, bits = 3000, 0.01, 6
    found = code_transitions(ADC(bits, architecture=Flash(resistor_sigma=sigma)), count)
    n, k = 2**bits, torch.arange(1, 2**bits)
    error = found - (k - 2 ** (bits - 1) - 0.5)
    expected = sigma * (k * (n - k) / n).sqrt()
    ratio = error.std(0) / expected
    assert float((ratio - 1).abs().max()) < 5 / math.sqrt(2 * count)


@pytest.mark.parametrize("built", [SAR(comparator_sigma=0.02), Ramp(comparator_sigma=0.02)])
def test_comparators_move_all_codes_alike(built):
    found = code_transitions(ADC(6, architecture=built), 4000)
    assert float(inl(found).abs().max()) < 1e-9
    offset = found[:, 31] + 0.5
    assert abs(float(offset.std()) / (0.02 * 32) - 1) < 4 / math.sqrt(2 * 4000)
    assert abs(float(offset.mean())) < 4 * 0.64 / math.sqrt(4000)


def test_a_ramp_is_common_to_its_array():
    adc = ADC(6, architecture=Ramp(capacitor_sigma=0.05))
    found = build.draw(adc, draws.Draws(3, "adc", LIKE), 12, 4)
    assert found.table.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert len(found.transitions) == 3
    assert not torch.equal(found.transitions[0], found.transitions[1])


@pytest.mark.parametrize(("bits", "within"), [(4, 0.1), (8, 0.03), (12, 0.02)])
def test_an_ideal_converter_has_its_bits(bits, within):
    assert abs(float(enob(ADC(bits), 1)) - math.log2(2**bits - 1)) < within
    assert abs(float(enob(ADC(bits, method="linear"), 1)) - bits) < within
    moved = ADC(bits, architecture=Architecture(gain=0.98, offset=0.05))
    assert abs(float(enob(moved, 1)) - math.log2(2**bits - 1)) < within


@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.0])
def test_thermal_noise_costs_what_its_power_costs(sigma):
    adc = ADC(9, method="linear", architecture=Architecture(noise=sigma / 256))
    expected = 9 - 0.5 * math.log2(1 + 12 * sigma**2)
    assert abs(float(enob(adc, 16).mean()) - expected) < 0.02


def test_jitter_grows_with_the_root_of_the_count():
    adc = ADC(10, architecture=Oscillator(jitter=0.2))
    x = np.repeat([0.0, 100.0, 400.0], 20_000)
    found, _ = codes(adc, x, 1)
    spread = found.reshape(3, -1).std(1)
    assert spread[0] == 0.0
    for k, count in ((1, 100), (2, 400)):
        expected = math.sqrt(0.2**2 * count + 1 / 12)
        assert abs(spread[k] / expected - 1) < 4 / math.sqrt(40_000) + 0.01


def test_nonlinearity_of_a_known_table():
    found = torch.tensor([[-1.5, -0.3, 0.5]], dtype=torch.float64)
    np.testing.assert_allclose(dnl(found)[0], [0.2, -0.2])
    np.testing.assert_allclose(inl(found)[0], [0.0, 0.2, 0.0], atol=1e-12)


@pytest.mark.parametrize(
    ("built", "cycles", "latency"),
    [
        (Flash(clock=1e6), 1, 1),
        (SAR(clock=1e6), 9, 9),
        (Ramp(clock=1e6), 256, 256),
        (Pipeline(clock=1e6), 1, 7),
        (Cyclic(clock=1e6), 7, 7),
        (Oscillator(clock=1e6), 128, 128),
    ],
)
def test_a_conversion_takes_its_periods(built, cycles, latency):
    adc = ADC(8, architecture=built, columns_per_adc=4)
    assert adc.conversion_time == pytest.approx(cycles * 1e-6)
    assert adc.read_time == pytest.approx(4 * cycles * 1e-6)
    assert built.latency(8) == pytest.approx(latency * 1e-6)
    assert built.ideal
    assert ADC(8, architecture=built.replace(clock=None)).conversion_time is None


# ── specs ────────────────────────────────────────────────────────────────────────────────────

OTHER = {
    "gain": 0.9,
    "offset": 0.02,
    "noise": 0.02,
    "inl": (0.0, 0.05),
    "comparator_sigma": 0.02,
    "resistor_sigma": 0.05,
    "capacitor_sigma": 0.05,
    "parasitic_sigma": 0.5,
    "amplifier_db": 40.0,
    "compression": 0.1,
    "jitter": 0.3,
    "levels": (-1.9, -0.4, 0.6),
}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind in (Architecture, Flash, SAR, Ramp, Pipeline, Cyclic, Oscillator, Measured)
        for name in (field.name for field in dataclasses.fields(kind))
        if name != "clock"
    ],
)
def test_every_parameter_changes_codes(kind, name):
    bits = 2 if kind is Measured else 6
    base = kind(levels=(-1.5, -0.5, 0.5)) if kind is Measured else kind()
    if name == "parasitic_sigma":
        base = base.replace(amplifier_db=40.0)
    x = np.linspace(-(2.0**bits), 2.0**bits, 4001)
    one, _ = codes(ADC(bits, architecture=base), x)
    two, _ = codes(ADC(bits, architecture=base.replace(**{name: OTHER[name]})), x)
    assert (one != two).any()


@pytest.mark.parametrize("built", [*MANY, Measured(levels=((-1.5, -0.5, 0.5),))])
def test_specs_come_back_from_plain_values(built):
    hardware = Hardware(adc=ADC(2, architecture=built))
    assert Hardware.from_dict(hardware.to_dict()) == hardware
    assert type(built).__name__ in str(hardware)
    hash(hardware.adc)


def test_all_architectures_are_exported():
    assert set(converters.__all__) <= set(dir(converters))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Flash(comparator_sigma=-1.0), ValueError, "comparator_sigma must be >= 0"),
        (lambda: Flash(resistor_sigma=0.5), ValueError, "resistor_sigma must be >= 0 and <= 0.3"),
        (lambda: SAR(capacitor_sigma=1.0), ValueError, "capacitor_sigma must be"),
        (lambda: SAR(amplifier_db=0.0), ValueError, "amplifier_db must be > 0"),
        (lambda: Ramp(comparator_sigma="a"), TypeError, "comparator_sigma must be a number"),
        (lambda: Pipeline(parasitic_sigma=0.1), ValueError, "changes nothing with ideal amplif"),
        (lambda: Cyclic(capacitor_sigma=-0.1), ValueError, "Cyclic capacitor_sigma must be"),
        (lambda: Oscillator(jitter=-1.0), ValueError, "jitter must be >= 0"),
        (lambda: Oscillator(compression=-0.1), ValueError, "compression must be >= 0"),
        (lambda: Measured(), ValueError, "must not be empty"),
        (lambda: Measured(levels=(0.0, -1.0)), ValueError, "must not fall"),
        (lambda: Measured(levels=((0.0,), (0.0, 1.0))), ValueError, "as many for every"),
        (lambda: Architecture(gain=0.0), ValueError, "gain must be > 0"),
        (lambda: Architecture(noise=-1.0), ValueError, "noise must be >= 0"),
        (lambda: Architecture(inl=(1.0,)), ValueError, "rises over"),
        (lambda: Architecture(inl=0.1), TypeError, "inl must be"),
        (lambda: Architecture(clock=1e6), ValueError, "clock must be None"),
        (lambda: Flash(clock=0.0), ValueError, "clock must be > 0"),
        (lambda: ADC(8, architecture="SAR"), TypeError, "architecture must be"),
        (lambda: ADC(8, method="log", architecture=SAR()), ValueError, "'uniform' and 'linear'"),
        (lambda: ADC(16, architecture=SAR(capacitor_sigma=0.1)), ValueError, "2 … 14"),
        (lambda: ADC(1, architecture=SAR()), ValueError, "one comparator"),
        (lambda: ADC(1, architecture=Flash(gain=0.9)), ValueError, "one comparator"),
        (lambda: ADC(3, architecture=Measured(levels=(0.0,))), ValueError, "2\\^bits - 1 = 7"),
        (lambda: ADC(8, columns_per_adc=2), ValueError, "changes nothing"),
        (lambda: ADC(8, columns_per_adc=2, architecture=SAR(noise=0.1)), ValueError, "nothing"),
        (lambda: ADC(8, columns_per_adc=0), ValueError, "columns_per_adc must be"),
        (lambda: enob(ADC(8, method="log")), ValueError, "evenly spaced"),
        (lambda: enob("adc"), TypeError, "adc must be"),
        (lambda: enob(ADC(8), 0), ValueError, "converters must be"),
    ],
)
def test_what_cannot_be_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ── the conformance kit ──────────────────────────────────────────────────────────────────────


class _Built(ArchitectureContract):
    def architecture(self):
        return self.built


class TestFlash(_Built):
    built = Flash(comparator_sigma=0.003, resistor_sigma=0.01, clock=1e9)


class TestSAR(_Built):
    built = SAR(capacitor_sigma=0.01, comparator_sigma=0.01, amplifier_db=60.0, noise=0.001)


class TestRamp(_Built):
    built = Ramp(capacitor_sigma=0.01, comparator_sigma=0.01, amplifier_db=60.0, inl=(0.01,))


class TestPipeline(_Built):
    built = Pipeline(
        capacitor_sigma=0.003, parasitic_sigma=0.2, comparator_sigma=0.02, amplifier_db=50.0
    )


class TestCyclic(_Built):
    built = Cyclic(
        capacitor_sigma=0.003, parasitic_sigma=0.2, comparator_sigma=0.02, amplifier_db=50.0
    )


class TestOscillator(_Built):
    built = Oscillator(compression=0.05, jitter=0.1, clock=1e9)


class TestMeasured(_Built):
    bits = 2
    built = Measured(levels=((-1.6, -0.4, 0.5), (-1.4, -0.5, 0.7)))


class TestArchitecture(_Built):
    built = Architecture(gain=Spread(Normal(1.0, 0.1)), offset=0.01, noise=0.002, inl=(0.01,))


# ── pictures ─────────────────────────────────────────────────────────────────────────────────


def test_pictures_show_codes_and_nonlinearity():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from mho import plot

    adc = ADC(4, architecture=SAR(capacitor_sigma=0.1))
    ax = plot.converter_curve(adc, 3, label="SAR")
    shown = ax.lines[1]
    levels = code_transitions(adc, 3)
    np.testing.assert_allclose(shown.get_xdata()[1:-1], levels[0])
    assert shown.get_ydata().tolist() == [-7, *range(-7, 8), 7]
    ax = plot.converter_nonlinearity(adc, 3)
    np.testing.assert_allclose(ax.lines[2].get_ydata(), inl(levels)[1])
    np.testing.assert_array_equal(ax.lines[2].get_xdata(), range(-7, 8))
    ax = plot.converter_nonlinearity(adc, of="differential")
    np.testing.assert_allclose(ax.lines[1].get_ydata(), dnl(levels)[0])
    with pytest.raises(ValueError, match="of must be one of"):
        plot.converter_nonlinearity(adc, of="all")
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize("planes", [1, 2])
@pytest.mark.parametrize("converters", [1, 2])
@pytest.mark.parametrize("range", ["per_vector", "per_call"])
@pytest.mark.parametrize("method", ["uniform", "minmax"])
def test_ranges_are_of_every_vector_and_converter_by_hand(method, range, converters, planes):
    vectors, lines = 2, 5
    source = torch.Generator().manual_seed(0)
    pieces = [
        1e-5 * torch.randn(2, tiles, planes * vectors, converters * lines, generator=source)
        for tiles in (3, 1)
    ]
    whole = torch.cat(pieces, 1).view(2, 4, planes, vectors, converters, lines)
    adc = ADC(6, range=range, method=method)
    ends = [whole.abs()] if method == "uniform" else [-whole, whole]
    found = adc.measure(pieces, converters=converters, planes=planes)
    plain = adc.measure(pieces, converters=converters, planes=planes, spread=False)
    for k, end in enumerate(ends):
        one, other = (found, plain) if method == "uniform" else (found[k], plain[k])
        sign = -1.0 if method == "minmax" and k == 0 else 1.0
        # Read as it is used: beside currents, plane by plane and line by line.
        one = one.expand(1, 1, planes * vectors, converters * lines)
        one = one.reshape(planes, vectors, converters, lines)
        other = other.expand(1, 1, planes, vectors, converters, lines)[0, 0]
        for p, v, c in itertools.product(*map(torch.arange, (planes, vectors, converters))):
            part = end[:, :, :, v, c] if range == "per_vector" else end
            wanted = [sign * float(part.max())] * lines
            assert one[p, v, c].tolist() == other[p, v, c].tolist() == wanted
