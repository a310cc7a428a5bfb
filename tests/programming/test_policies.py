"""Programming as a part of the hardware: what each policy stores, counts and refuses."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import mho
from mho.devices import (
    MTJ,
    PCM,
    VTEAM,
    ExponentialDevice,
    LinearDevice,
    SoftBoundsDevice,
    presets,
)
from mho.effects import StuckAt, WriteNoise
from mho.encoding import Differential
from mho.programming import (
    Exact,
    OpenLoop,
    ProductDescent,
    ProgrammingError,
    Statistical,
    Successive,
    WriteVerify,
)

WINDOW = {"g_min": 1e-6, "g_max": 1e-4}
COARSE = ExponentialDevice(**WINDOW, nonlinearity_set=2.0, nonlinearity_reset=-2.0, levels=20)


def crossbar(seed=0, **parts):
    return mho.Crossbar(40, 30, mho.Hardware(**parts), seed=seed, dtype=torch.float64)


def weight(seed=1):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(40, 30, generator=source, dtype=torch.float64)


@pytest.mark.parametrize(
    ("device", "policy"),
    [
        (LinearDevice(), Exact()),
        (VTEAM(), Exact()),
        (MTJ(), Exact()),
        (PCM(), Statistical()),
        (COARSE, OpenLoop()),
        (SoftBoundsDevice(), OpenLoop()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_of_device_has_a_way_of_its_own_and_the_summary_says_it(device, policy):
    hardware = mho.Hardware(device=device)
    assert hardware.programming is None
    assert hardware.policy == policy
    model = mho.convert(nn.Linear(4, 3), hardware)
    assert f"{policy}: {policy.says}" in str(mho.summary(model))


def test_every_preset_of_counted_pulses_programs_by_them():
    for name in (preset.name for preset in presets.list()):
        device = presets.get(name)
        counted = hasattr(device, "open_loop")
        assert isinstance(device.programming, OpenLoop) == counted, name


def test_finite_levels_are_those_of_the_devices_own_curve():
    # The closed form of the exponential law, by numpy: G(P) = B (1 - exp(-P/A)) + G_min.
    bar = crossbar(device=COARSE)
    report = bar.program(weight())
    label, levels, width = COARSE.nonlinearity_set, COARSE.levels, 99e-6
    # max_p [(1 - e^{-p/a}) / (1 - e^{-1/a}) - p] = 0.07 √2 NL, solved for a = A / P_max.
    p = np.linspace(0, 1, 20001)

    def bulge(a):
        return ((1 - np.exp(-p / a)) / (1 - np.exp(-1 / a)) - p).max()

    low, high = 0.02, 50.0
    for _ in range(80):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if bulge(middle) > 0.07 * math.sqrt(2) * label else (low, middle)
    steps = np.arange(levels + 1) / levels
    curve = 1e-6 + width * (1 - np.exp(-steps / low)) / (1 - np.exp(-1 / low))
    nearest = np.abs(bar.G.numpy()[..., None] - curve).min(-1)
    assert nearest.max() < 1e-6 * width
    off = np.abs(report.target.numpy()[..., None] - curve)
    assert np.allclose(np.abs(bar.G.numpy() - report.target.numpy()), off.min(-1), atol=1e-12)
    assert torch.equal(bar.writes, torch.as_tensor(off.argmin(-1)) + 1)  # a reset, and set pulses


def test_two_noisy_levels_store_next_to_nothing_and_exact_stores_all():
    bad = ExponentialDevice(**WINDOW, levels=2, c2c=1.0)
    assert crossbar(device=bad).program(weight()).relative_error > 0.5
    assert crossbar(device=bad, programming=Exact()).program(weight()).relative_error < 1e-12


def test_exact_leaves_the_devices_statistics_out_and_effects_in():
    exact = crossbar(device=PCM(), programming=Exact())
    assert exact.program(weight()).relative_error < 1e-12
    assert crossbar(device=PCM()).program(weight()).relative_error > 0.01
    noisy = crossbar(device=PCM(), programming=Exact(), effects=(WriteNoise(0.02),))
    report = noisy.program(weight())
    error = (noisy.G - report.target)[report.target > 5e-6]
    deviation = 0.02 * 25e-6
    assert float(error.std()) == pytest.approx(deviation, rel=5 / math.sqrt(2 * error.numel()))


def test_effects_act_on_what_the_pulses_left():
    plain = crossbar(device=COARSE)
    noisy = crossbar(device=COARSE, effects=(WriteNoise(0.02),))
    plain.program(weight())
    noisy.program(weight())
    error = (noisy.G - plain.G)[plain.G > 1e-5]
    assert float(error.std()) == pytest.approx(0.02 * 99e-6, rel=5 / math.sqrt(2 * error.numel()))


def test_write_verify_finds_its_pulses_and_keeps_its_tolerance():
    bar = crossbar(device=COARSE.replace(levels=500), programming=WriteVerify(tolerance=0.02))
    report = bar.program(weight())
    assert float((bar.G - report.target).abs().max()) <= 0.02 * 99e-6 * (1 + 1e-5)
    assert report.failed == 0
    assert report.seconds > 0
    assert report.energy > 0
    assert torch.equal(bar.writes, report.written.report.pulses)
    again = bar.program(weight())
    assert again.pulses == 0
    assert torch.equal(bar.writes, report.written.report.pulses)


@pytest.mark.parametrize(
    ("device", "programming"),
    [
        (LinearDevice(), OpenLoop()),
        (VTEAM(), OpenLoop()),
        (LinearDevice(), WriteVerify()),
        (PCM(), WriteVerify()),
        (COARSE, WriteVerify(access="1R", order="row")),
        (COARSE, "open loop"),
    ],
)
def test_what_does_not_suit_is_refused_with_the_hardware(device, programming):
    with pytest.raises((TypeError, ValueError)):
        mho.Hardware(device=device, programming=programming)


def test_policies_go_to_yaml_and_differ_by_layer(tmp_path):
    base = mho.Hardware(device=COARSE)
    verified = base.replace(programming=WriteVerify(tolerance=0.05))
    mho.save_hardware(verified, tmp_path / "chip.yaml")
    assert mho.load_hardware(tmp_path / "chip.yaml") == verified
    model = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 4))
    analog = mho.convert(model, base, overrides={"1": verified})
    report = mho.program(analog)
    assert [type(b.hardware.policy) for b in mho.crossbars(analog).values()] == [
        OpenLoop,
        WriteVerify,
    ]
    assert report.pulses == sum(r.pulses for r in report.values()) > 0
    assert report.seconds is None  # nobody knows how long a counted pulse is
    assert report.failed == {"1": 0}
    assert "total" in str(report)


def test_programming_that_fails_in_one_layer_changes_none():
    strict = mho.Hardware(
        device=COARSE.replace(c2c=0.02),
        programming=WriteVerify(tolerance=1e-3, max_pulses=3, on_failure="raise"),
    )
    easy = strict.replace(programming=None)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 4))
    analog = mho.convert(model, easy)
    hard = mho.convert(model, easy, overrides={"1": easy})
    bars = mho.crossbars(hard)
    object.__setattr__(bars["1"], "hardware", strict)
    before = {name: bar.G.clone() for name, bar in bars.items()}
    with torch.no_grad():
        for parameter in hard.parameters():
            parameter.neg_()
    with pytest.raises(ProgrammingError):
        mho.program(hard)
    for name, bar in mho.crossbars(hard).items():
        assert torch.equal(bar.G, before[name])
    assert len(mho.program(analog)) == 2


@pytest.mark.parametrize(
    "programming",
    [Exact(), OpenLoop(), WriteVerify(tolerance=0.05)],
    ids=lambda p: type(p).__name__,
)
def test_training_sees_the_error_that_chips_have(programming):
    device = COARSE.replace(levels=300, c2c=0.004)
    hardware = mho.Hardware(
        device=device,
        encoding=Differential(),
        programming=programming,
        effects=(StuckAt(low=0.02), WriteNoise(0.01)),
    )
    torch.manual_seed(0)
    layer = nn.Linear(30, 20, bias=False)
    x, wanted = torch.eye(30), layer.weight.detach().T
    analog = mho.convert(layer, hardware).train()
    with torch.no_grad():
        drawn = torch.stack([analog(x) for _ in range(200)]) - wanted
    chips = []
    for seed in range(200):
        mho.fabricate(analog, seed)
        with torch.no_grad():
            chips.append(analog.eval()(x))
    made = torch.stack(chips) - wanted
    count = drawn.numel()
    spread = float(made.std())
    # Means within 5 standard errors; deviations within 5 % (few stuck cells).
    assert float(drawn.mean() - made.mean()) == pytest.approx(0, abs=5 * spread / math.sqrt(count))
    if isinstance(programming, WriteVerify):  # an assumption, on the safe side
        assert spread < float(drawn.std()) < 1.2 * spread
    else:
        assert float(drawn.std()) == pytest.approx(spread, rel=0.05)


def test_training_draws_the_error_that_a_tolerance_leaves():
    # Uniform within ±a: a standard deviation of a/√3. Beside it what verify reads are off by: white
    # noise and steps of the converter by the root of reads, an offset of lines by that of cells
    # which are read together.
    approx = partial(pytest.approx, rel=1e-12, abs=0.0)
    window, span = (1e-5, 1e-4), 9e-5
    within = 0.02 * span / math.sqrt(3)
    assert ProductDescent(tolerance=0.02).deviation(window) == approx(within)
    assert WriteVerify(tolerance=0.02).deviation(window) == approx(within)
    relative = WriteVerify(tolerance=0.02, relative_to="target").deviation(window)
    assert relative == approx(0.02 * 5.5e-5 / math.sqrt(3))
    noisy = WriteVerify(
        tolerance=0.02, read_noise=0.03, read_step=0.06, read_offset=0.04, reads=3, hadamard=4
    )
    misread = span**2 * ((0.03**2 + 0.06**2 / 12) / 12 + 0.04**2 / 4)
    assert noisy.deviation(window) == approx(math.sqrt(within**2 + misread))
    assert Successive(by=noisy).deviation(window) == noisy.deviation(window)
    assert Successive().deviation(window) == Exact().deviation(window) == 0.0
