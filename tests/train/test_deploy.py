"""Cells trained in place live on in the crossbars of a converted model, and come back."""

import itertools
import math
import subprocess
import sys
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Normal
from torch.nn.utils import parametrizations, prune

import mho
from mho.cells.spread import Spread
from mho.devices import VTEAM, ExponentialDevice, SoftBoundsDevice
from mho.effects import PowerLawDrift, ReadNoise, StuckAt, WriteNoise
from mho.encoding import LEA, Differential, Redundant, SingleColumn
from mho.hardware import Hardware
from mho.programming import Exact, OpenLoop
from mho.train import (
    DifferentialPair,
    InSitu,
    MultiCell,
    PulsedSGD,
    SingleCell,
    TikiTaka,
    TikiTakaV1,
    TikiTakaV2,
    VoltagePulses,
)
from scripts import example

# Every cell has a window of its own.
DEVICE = ExponentialDevice(
    g_min=Spread(Normal(1e-6, 1e-7), low=0.0),
    g_max=Spread(Normal(100e-6, 1e-5), low=5e-5),
    nonlinearity_set=1.0,
    nonlinearity_reset=-1.0,
    c2c=0.01,
    levels=100,
)
LAYOUTS = {
    "single": (SingleCell(), SingleColumn()),
    "pair": (DifferentialPair(refresh_every=2), Differential()),
    "pair, digital": (DifferentialPair(update="reset"), Differential(subtract="digital")),
    "several": (MultiCell(3), Redundant(base=SingleColumn(), copies=3, add="analog")),
    "several, digital": (MultiCell(2), Redundant(base=SingleColumn(), copies=2)),
}
DAY = 86400.0


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 4, 3, groups=2)
        self.norm = nn.BatchNorm2d(4)
        self.lstm = nn.LSTM(16, 3, batch_first=True)
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        h = self.norm(self.conv(x)).flatten(2)
        return self.head(self.lstm(h)[0][:, -1])


def batch():
    source = torch.Generator().manual_seed(1)
    x = torch.randn(20, 2, 6, 6, generator=source)
    return x, torch.randint(0, 2, (20,), generator=source)


def train(model, opt, steps=5):
    x, y = batch()
    model.train()
    for _ in range(steps):
        opt.zero_grad()
        F.cross_entropy(model(x), y).backward()
        opt.step()
    return model.eval()


def net_on_cells(layout, device=DEVICE, **settings):
    model = Net()
    sgd = torch.optim.SGD(model.parameters(), lr=0.5)
    opt = InSitu(sgd, device, layout=layout, model=model, seed=3, **settings)
    return train(model, opt), opt


def small(device=DEVICE, weight_range=(-1.0, 1.0), cols=4, **settings):
    torch.manual_seed(0)
    layer = nn.Linear(5, cols)
    sgd = torch.optim.SGD(layer.parameters(), lr=0.3)
    opt = InSitu(sgd, device, model=layer, weight_range=weight_range, **settings)
    steps(layer, opt)
    return layer, opt


def steps(layer, opt, count=4):
    for seed in range(count):
        x = torch.randn(16, 5, generator=torch.Generator().manual_seed(seed))
        opt.zero_grad()
        layer(x).square().mean().backward()
        opt.step()


def data_cells(crossbar):
    """``[slices, cols, rows]`` as the weights' cells lie, without offset columns."""
    cols = crossbar.cols

    def view(tensor):
        return tensor[..., :cols].transpose(1, 2)

    return view


# ── the very same cells ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_cells_are_the_very_same(name):
    layout, encoding = LAYOUTS[name]
    layer, opt = small(layout=layout)
    held = opt.weights("weight").cells
    held.break_too(torch.rand(held.shape) < 0.2, torch.full(held.shape, 7e-6))
    opt.show(layer.weight)
    chip = opt.deploy(layer, Hardware(device=DEVICE, encoding=encoding))
    view = data_cells(chip.crossbar)
    now = chip.crossbar.cells
    assert torch.equal(view(chip.crossbar.G), held.g)
    assert torch.equal(view(chip.crossbar.writes), held.writes)
    assert int(held.writes.sum()) > 0
    assert torch.equal(view(now.stuck), held.stuck)
    for key in ("g_min", "g_max"):
        assert torch.equal(view(now.parameter(key)), held.parameter(key))
    assert now.identity == held.identity
    assert isinstance(now, type(held))


@pytest.mark.parametrize("name", LAYOUTS)
def test_ideal_hardware_computes_what_the_trained_model_does(name):
    layout, encoding = LAYOUTS[name]
    device = DEVICE.replace(g_min=1e-6, g_max=100e-6)
    model, opt = net_on_cells(layout, device)
    hardware = Hardware(device=device, encoding=encoding, programming=Exact())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "left digital")
        chip = opt.deploy(model, hardware)
    x, _ = batch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is stale
        torch.testing.assert_close(chip(x), model(x), rtol=1e-5, atol=1e-6)
    for key, value in model.state_dict().items():  # biases and statistics came along
        torch.testing.assert_close(chip.state_dict()[key], value, rtol=0, atol=0)
    assert not chip.training
    trained = torch.cat([held.weights.cells.g.flatten() for held in opt.held.values()])
    stored = [data_cells(bar)(bar.G).flatten() for bar in mho.crossbars(chip).values()]
    assert torch.equal(trained.sort().values, torch.cat(stored).sort().values)
    states = [bar.cells.streams[:, 0].tolist() for bar in mho.crossbars(chip).values()]
    assert len({str(s) for s in states}) == len(states)  # none draws as another does


@pytest.mark.parametrize("weight_range", [(-0.5, 1.5), (-2.0, 0.5)])
def test_asymmetric_ranges_have_their_zero_in_the_offset_column(weight_range):
    device = DEVICE.replace(g_min=1e-6, g_max=101e-6)
    layer, opt = small(device, weight_range)
    hardware = Hardware(device=device, encoding=SingleColumn(), programming=Exact())
    chip = opt.deploy(layer, hardware)
    low, high = weight_range
    zero = 1e-6 + 100e-6 * -low / (high - low)
    offset = chip.crossbar.G[0, :, -1]
    torch.testing.assert_close(offset, torch.full_like(offset, zero), rtol=1e-5, atol=0)
    torch.testing.assert_close(chip.crossbar.weight.T, layer.weight.detach(), rtol=0, atol=1e-6)


def test_the_offset_column_is_programmed_as_the_hardware_says():
    device = DEVICE.replace(g_min=1e-6, g_max=101e-6, c2c=0.0)
    layer, opt = small(device)
    hardware = Hardware(
        device=device, encoding=SingleColumn(), programming=Exact(), effects=(WriteNoise(0.1),)
    )
    chip = opt.deploy(layer, hardware)
    assert torch.equal(data_cells(chip.crossbar)(chip.crossbar.G), opt.weights("weight").cells.g)
    offset = chip.crossbar.G[0, :, -1]
    assert len(set(offset.tolist())) == 5
    assert 0.02 < float(offset.std()) / 100e-6 < 0.3
    straight = device.replace(nonlinearity_set=0.0, nonlinearity_reset=0.0)
    layer, opt = small(straight)
    hardware = Hardware(device=straight, encoding=SingleColumn(), programming=OpenLoop())
    counted = opt.deploy(layer, hardware).crossbar.writes[0, :, -1]
    assert counted.tolist() == [1 + 50] * 5  # from a reset to the middle of 100 levels


# ── they go on living ────────────────────────────────────────────────────────────────────────


def test_they_age_and_are_compensated():
    layer, opt = small(DEVICE, layout=DifferentialPair())
    drift = PowerLawDrift(nu=0.05, nu_spread=0.0)
    chip = opt.deploy(layer, Hardware(device=DEVICE, effects=(drift,))).eval()
    g = opt.weights("weight").cells.g
    x = torch.randn(3, 5)
    fresh = chip(x)
    mho.age(chip, DAY)
    factor = (DAY / drift.t0) ** -0.05
    torch.testing.assert_close(
        data_cells(chip.crossbar)(chip.crossbar.G), g * factor, rtol=1e-6, atol=0.0
    )
    bias = layer.bias.detach()
    torch.testing.assert_close(chip(x), (fresh - bias) * factor + bias)
    mho.compensate(chip)
    torch.testing.assert_close(chip(x), fresh)


def test_each_cell_drifts_by_an_exponent_of_its_own():
    layer, opt = small(DEVICE, layout=DifferentialPair())
    hardware = Hardware(device=DEVICE, effects=(PowerLawDrift(nu=0.05, nu_spread=0.02),))
    chip = opt.deploy(layer, hardware)
    before = chip.crossbar.G.clone()
    mho.age(chip, DAY)
    kept = (chip.crossbar.G / before).flatten()
    assert len(kept.unique()) > 0.9 * len(kept)
    exponent = -kept.log() / math.log(DAY / hardware.effects[0].t0)
    error = 0.02 / len(kept) ** 0.5
    assert abs(float(exponent.mean()) - 0.05) < 5 * error


def test_they_are_read_through_converters_and_wires():
    layer, opt = small(DEVICE, layout=DifferentialPair())
    plain = Hardware(device=DEVICE)
    x = torch.randn(64, 5)
    exact = opt.deploy(layer, plain).eval()(x)
    chip = opt.deploy(layer, plain.replace(adc=mho.ADC(bits=3))).eval()
    mho.calibrate(chip, x)
    levels = chip(x) - layer.bias
    assert all(len((column * 1e4).round().unique()) <= 8 for column in levels.T)
    wired = plain.replace(array=mho.Array(wires=mho.circuit.Wires(word=50.0, bit=50.0)))
    chip = opt.deploy(layer, wired).eval()
    other = mho.Crossbar(5, 4, wired)  # other cells, that conduct the same
    other.store(chip.crossbar.G, scale=chip.crossbar.scale)
    torch.testing.assert_close(chip(x), other(x) + layer.bias)
    assert not torch.allclose(chip(x), exact, atol=1e-4)


def test_they_are_read_with_noise():
    layer, opt = small(DEVICE, layout=DifferentialPair())
    chip = opt.deploy(layer, Hardware(device=DEVICE, effects=(ReadNoise(0.02),))).eval()
    x, reads = torch.randn(1, 5), 4000
    found = chip(x.expand(reads, 5)).var(0)
    sigma = 0.02 * (DEVICE.window[1] - DEVICE.window[0]) * chip.crossbar.scale
    expected = 2 * float(x.square().sum()) * sigma**2  # of two cells a weight
    assert bool(((found / expected - 1.0).abs() < 5 * (2 / reads) ** 0.5).all())


def test_programming_again_goes_on_counting_on_the_same_cells():
    layer, opt = small(DEVICE, layout=DifferentialPair())
    held = opt.weights("weight").cells
    chip = opt.deploy(layer, Hardware(device=DEVICE))
    trained = chip.crossbar.writes.clone()
    report = mho.program(chip)
    spent = chip.crossbar.writes - trained
    assert bool((spent >= 1).all())
    assert int(spent.sum()) == report.pulses
    high = held.parameter("g_max")
    assert bool((data_cells(chip.crossbar)(chip.crossbar.G) <= high * (1 + 1e-6)).all())
    assert mho.summary(chip).layers[0].pulses == int(chip.crossbar.writes.max())
    assert f"≤ {int(chip.crossbar.writes.max())}" in str(mho.summary(chip))


SCRIPT = """
import sys, torch, mho
from mho.hardware import load_hardware
where = sys.argv[1]
torch.manual_seed(9)
chip = mho.convert(torch.nn.Linear(5, 4), load_hardware(where + "/hardware.yaml"), seed=8).eval()
chip.load_state_dict(torch.load(where + "/chip.pt"))
mho.age(chip, 1000.0)
torch.save((chip.crossbar.G, chip.crossbar.writes, chip.crossbar.cells.identity), where + "/out.pt")
"""


def test_a_new_process_loads_them(tmp_path):
    layer, opt = small(DEVICE)
    effects = (PowerLawDrift(nu=0.05, nu_spread=0.02),)
    hardware = Hardware(device=DEVICE, encoding=SingleColumn(), effects=effects)
    chip = opt.deploy(layer, hardware, seed=5)
    mho.age(chip, 10.0)
    torch.save(chip.state_dict(), tmp_path / "chip.pt")
    mho.save_hardware(hardware, tmp_path / "hardware.yaml")
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], check=True)
    mho.age(chip, 1000.0)
    g, writes, identity = torch.load(tmp_path / "out.pt")
    assert torch.equal(g, chip.crossbar.G)
    assert torch.equal(writes, chip.crossbar.writes)
    assert identity == chip.crossbar.cells.identity


# ── and come back ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", LAYOUTS)
def test_there_and_back_changes_nothing(name):
    layout, encoding = LAYOUTS[name]
    device = DEVICE.replace(g_min=1e-6, g_max=100e-6)
    model, opt = net_on_cells(layout, device)
    there, other = net_on_cells(layout, device)
    hardware = Hardware(device=device, encoding=encoding, programming=Exact())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "left digital")
        other.recall(there, other.deploy(there, hardware))
    train(model, opt)
    train(there, other)  # the same pulses, the same noise
    for one, two in zip(model.state_dict().values(), there.state_dict().values(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)
    for one, two in zip(opt.held.values(), other.held.values(), strict=True):
        assert torch.equal(one.weights.writes, two.weights.writes)


def test_training_goes_on_with_aged_cells():
    layer, opt = small(DEVICE)
    hardware = Hardware(
        device=DEVICE, encoding=SingleColumn(), effects=(PowerLawDrift(nu=0.1, nu_spread=0.03),)
    )
    chip = opt.deploy(layer, hardware)
    exponents = chip.crossbar.cells.state(1)
    mho.age(chip, DAY)
    before = layer.weight.detach().clone()
    opt.recall(layer, chip)
    held = opt.weights("weight")
    assert torch.equal(held.cells.g, data_cells(chip.crossbar)(chip.crossbar.G))
    torch.testing.assert_close(layer.weight.detach(), chip.crossbar.weight.T, rtol=0, atol=1e-6)
    assert not torch.allclose(layer.weight, before, atol=1e-3)
    kept = chip.crossbar.G.clone()
    steps(layer, opt)
    assert torch.equal(chip.crossbar.G, kept)  # the chip is not moved by it
    again = opt.deploy(layer, hardware.replace(programming=Exact()))
    view = data_cells(again.crossbar)
    assert torch.equal(view(again.crossbar.G), held.cells.g)
    assert bool((view(again.crossbar.writes) >= view(chip.crossbar.writes)).all())
    assert again.crossbar.seconds == 0.0  # pulses have come between
    for key, value in exponents.items():  # each cell drifts as it did
        assert torch.equal(view(again.crossbar.cells.state(1)[key]), view(value))
    torch.testing.assert_close(again.crossbar.weight.T, layer.weight.detach(), rtol=0, atol=1e-5)


def test_recalled_cells_are_saved_with_the_optimizer():
    layer, opt = small(DEVICE)
    hardware = Hardware(
        device=DEVICE, encoding=SingleColumn(), effects=(PowerLawDrift(nu=0.1, nu_spread=0.03),)
    )
    chip = opt.deploy(layer, hardware)
    mho.age(chip, DAY)
    opt.recall(layer, chip)
    other, fresh = small(DEVICE)
    fresh.load_state_dict(opt.state_dict())
    assert torch.equal(other.weight, layer.weight)
    for one in (layer, opt), (other, fresh):
        steps(*one)
    assert torch.equal(other.weight, layer.weight)


def test_a_chip_with_broken_cells_is_trained():
    """Recalled before the first step, a converted model's own cells are trained."""
    device = DEVICE.replace(g_min=1e-6, g_max=101e-6)
    layer = nn.Linear(5, 40)
    reach = float(layer.weight.detach().abs().max())
    hardware = Hardware(device=device, effects=(StuckAt(low=0.1),), programming=Exact())
    chip = mho.convert(layer, hardware, seed=2)
    opt = InSitu(
        torch.optim.SGD(layer.parameters(), lr=0.3),
        device,
        layout=DifferentialPair(),
        weight_range=(-reach, reach),
    )
    opt.recall(layer, chip)
    stuck = opt.weights("parameter 0").cells.stuck
    assert torch.equal(stuck, data_cells(chip.crossbar)(chip.crossbar.stuck))
    assert bool(stuck.any())
    torch.testing.assert_close(layer.weight.detach(), chip.crossbar.weight.T, rtol=0, atol=1e-6)
    g = opt.weights("parameter 0").cells.g[stuck].clone()
    steps(layer, opt)
    assert torch.equal(opt.weights("parameter 0").cells.g[stuck], g)
    with pytest.warns(UserWarning, match="breaks no trained cell"):
        again = opt.deploy(layer, hardware)
    assert torch.equal(again.crossbar.stuck, chip.crossbar.stuck)


def test_a_new_scale_is_refused_and_named():
    layer, opt = small(DEVICE, layout=DifferentialPair())
    chip = opt.deploy(layer, Hardware(device=DEVICE))
    mho.program(chip)  # the largest weight fills the window
    before = opt.weights("weight").cells.g.clone()
    largest = float(layer.weight.detach().abs().max())
    with pytest.raises(ValueError, match=f"weight_range up to {largest:.6g}"):
        opt.recall(layer, chip)
    assert torch.equal(opt.weights("weight").cells.g, before)


# ── other optimizers, other devices ──────────────────────────────────────────────────────────


def pulsed(kind, **settings):
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(5, 4))
    opt = kind(layer, lr=0.1, **settings)
    steps(layer, opt)
    return layer, opt


CELLS = SoftBoundsDevice(g_min=1e-6, g_max=101e-6, step=1e-7)


def test_pulsed_sgd_and_tiki_taka_cells_live_on():
    hardware = Hardware(device=CELLS, encoding=SingleColumn(), programming=Exact())
    x = torch.randn(3, 5)
    for kind, settings in (PulsedSGD, {}), (TikiTaka, {"rule": TikiTakaV2(transfer_lr=5.0)}):
        layer, opt = pulsed(kind, device=CELLS, **settings)
        held = opt.cells_of(layer[0].weight)
        chip = opt.deploy(layer, hardware)
        view = data_cells(chip[0].crossbar)
        assert torch.equal(view(chip[0].crossbar.G), held.cells.g)
        torch.testing.assert_close(chip.eval()(x), layer(x), rtol=1e-5, atol=1e-6)
        before = layer[0].weight.detach().clone()
        opt.recall(layer, chip)
        torch.testing.assert_close(layer[0].weight.detach(), before, rtol=0, atol=1e-6)
        steps(layer, opt)
        assert not torch.equal(layer[0].weight, before)


def test_weights_set_since_go_along():
    layer, opt = pulsed(PulsedSGD, device=CELLS)
    with torch.no_grad():
        layer[0].weight.fill_(0.25)
    chip = opt.deploy(layer, Hardware(device=CELLS, encoding=SingleColumn(), programming=Exact()))
    torch.testing.assert_close(chip[0].crossbar.weight, torch.full((5, 4), 0.25), rtol=0, atol=1e-6)


def test_the_optimizers_own_hooks_stay_with_it():
    layer, opt = pulsed(PulsedSGD, device=CELLS)
    seen = []
    layer[0].register_forward_hook(lambda *_: seen.append(1))  # the user's, which comes along
    order = list(layer[0]._forward_hooks)
    hardware = Hardware(device=CELLS, encoding=SingleColumn())
    chip = opt.deploy(layer, hardware)
    assert list(layer[0]._forward_hooks) == order
    assert len(chip[0]._forward_hooks) == 1
    opt.zero_grad()
    chip.train()(torch.randn(3, 5)).sum().backward()
    assert seen == [1]
    assert opt.capture.of(layer[0].weight) is None
    layer(torch.randn(3, 5)).sum().backward()
    assert opt.capture.of(layer[0].weight) is not None


def test_tables_keep_their_precision():
    device = mho.devices.presets.get("fefet_2v5")
    layer = nn.Linear(5, 4, dtype=torch.float64)
    opt = InSitu(torch.optim.SGD(layer.parameters(), lr=0.3), device)
    cells = opt.deploy(layer, Hardware(device=device, encoding=SingleColumn())).crossbar.cells
    assert {b.dtype for b in cells.buffers() if b.is_floating_point()} == {torch.float64}


def test_weights_of_two_arrays_are_refused():
    layer, opt = pulsed(TikiTaka, device=CELLS, rule=TikiTakaV1(gamma=0.5))
    with pytest.raises(ValueError, match=r"weights are 0.5·A \+ C"):
        opt.deploy(layer, Hardware(device=CELLS, encoding=SingleColumn()))


@pytest.mark.parametrize("spread", [False, True], ids=["alike", "spread"])
def test_voltage_driven_cells_are_those_of_the_model(spread):
    model = VTEAM()
    if spread:
        model = model.replace(r_on=Spread(Normal(50.0, 5.0), low=20.0))
    layer, opt = small(model)
    held = opt.weights("weight").cells
    for device in model, VoltagePulses.for_device(model):
        hardware = Hardware(device=device, encoding=SingleColumn(), programming=Exact())
        chip = opt.deploy(layer, hardware)
        now = chip.crossbar.cells
        assert torch.equal(data_cells(chip.crossbar)(now.g), held.g)
        assert torch.equal(data_cells(chip.crossbar)(now.writes), held.writes)
        if spread:
            assert torch.equal(
                data_cells(chip.crossbar)(now.parameter("r_on")), held.parameter("r_on")
            )
    chip = opt.deploy(layer, Hardware(device=model, encoding=SingleColumn(), programming=Exact()))
    cells = chip.crossbar.cells
    torch.testing.assert_close(
        cells.conductance_of(cells.x, cells.parameters_drawn()), cells.g, rtol=1e-6, atol=0.0
    )
    windows = {name: held.parameter(name) for name in ("g_min", "g_max")}
    opt.recall(layer, chip)
    back = opt.weights("weight").cells
    assert torch.equal(back.g, held.g)
    for name, value in windows.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(back.parameter(name), value, rtol=1e-6, atol=0.0)
    steps(layer, opt)
    assert not torch.equal(opt.weights("weight").cells.g, held.g)


def test_worn_out_cells_stay_as_they_are():
    layer, opt = small(DEVICE, endurance=3)
    worn = opt.weights("weight").worn
    assert 0 < int(worn.sum()) < worn.numel()
    with pytest.warns(UserWarning, match="worn out cells answer no more"):
        chip = opt.deploy(layer, Hardware(device=DEVICE, encoding=SingleColumn()))
    view = data_cells(chip.crossbar)
    assert torch.equal(view(chip.crossbar.stuck), worn)
    g = view(chip.crossbar.G)[worn].clone()
    mho.program(chip)
    assert torch.equal(view(chip.crossbar.G)[worn], g)


# ── refused, with the reason ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("layout", "hardware", "says"),
    [
        (SingleCell(), Hardware(device=DEVICE), "SingleCell needs SingleColumn"),
        (
            DifferentialPair(),
            Hardware(device=DEVICE, encoding=SingleColumn()),
            "DifferentialPair needs Differential",
        ),
        (MultiCell(2), Hardware(device=DEVICE, encoding=SingleColumn()), "needs Redundant"),
        (
            MultiCell(2),
            Hardware(device=DEVICE, encoding=LEA(base=SingleColumn(), copies=2)),
            "needs Redundant",
        ),
        (
            MultiCell(2, significances=(1.0, 2.0)),
            Hardware(device=DEVICE, encoding=Redundant(base=SingleColumn(), copies=2)),
            "significances differ",
        ),
        (
            SingleCell(),
            Hardware(device=DEVICE.replace(c2c=0.02), encoding=SingleColumn()),
            "its device is",
        ),
        (
            SingleCell(),
            Hardware(device=DEVICE, encoding=SingleColumn(), bias="array"),
            "a bias on the array",
        ),
    ],
)
def test_hardware_that_does_not_hold_weights_so_is_refused(layout, hardware, says):
    layer, opt = small(DEVICE, layout=layout)
    with pytest.raises(ValueError, match=says):
        opt.deploy(layer, hardware)


def test_zeros_that_no_offset_column_can_hold_are_refused():
    hardware = Hardware(device=DEVICE, encoding=SingleColumn())
    layer, opt = small(DEVICE, (0.5, 1.5))
    with pytest.raises(ValueError, match="outside of the cells' window"):
        opt.deploy(layer, hardware)
    layer, opt = small(DEVICE)
    opt.weights("weight").shift_reference()
    with pytest.raises(ValueError, match="each one's own"):
        opt.deploy(layer, hardware)


def test_computed_weights_are_refused():
    hardware = Hardware(device=DEVICE, encoding=SingleColumn())
    for compute in (
        lambda layer: prune.random_unstructured(layer, "weight", 0.5),
        nn.utils.weight_norm,
        parametrizations.weight_norm,
    ):
        layer = nn.Linear(5, 4)
        compute(layer)
        opt = InSitu(torch.optim.SGD(layer.parameters(), lr=0.1), DEVICE)
        with pytest.raises(ValueError, match="is computed"):
            opt.deploy(layer, hardware)


def test_cells_lie_in_one_crossbar():
    hardware = Hardware(device=DEVICE, encoding=SingleColumn())
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    opt = InSitu(torch.optim.SGD(model.parameters(), lr=0.1), DEVICE, model=model)
    with pytest.raises(ValueError, match="are one parameter"):
        opt.deploy(model, hardware)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    opt = InSitu(torch.optim.SGD(model.parameters(), lr=0.1), DEVICE, model=model)
    with (
        pytest.warns(UserWarning, match="left digital"),
        pytest.raises(ValueError, match=r"no crossbar of this model holds '1.weight'"),
    ):
        opt.deploy(model, hardware, skip="1")


def test_cells_of_a_chip_are_not_taken():
    layer, opt = small(DEVICE, layout=DifferentialPair())
    deployed = opt.deploy(layer, Hardware(device=DEVICE))
    mho.chip.Chip(64, 64, Hardware(device=DEVICE)).place(deployed)
    with pytest.raises(ValueError, match="those of a chip"):
        opt.recall(layer, deployed)


@pytest.mark.slow
def test_the_example_runs(tmp_path, capsys):
    arguments = ["--quick", "--epochs", "2", "--out", str(tmp_path)]
    found = list(example("trained_in_place").main(arguments).values())
    assert len(found) == 4
    assert found[1] < found[0] < found[3]
    assert (tmp_path / "trained_in_place.png").stat().st_size > 10_000
    assert "ten days later" in capsys.readouterr().out


def test_a_trained_chip_is_one_population_through_the_years():
    """Deployed, aged, recalled, trained on, deployed again: each cell's fate goes with it."""
    drift = Hardware(device=DEVICE, effects=(PowerLawDrift(nu=0.05, nu_spread=0.02),))
    layer, opt = small(DEVICE, layout=DifferentialPair())
    chips, pulses = [], []
    for _ in range(3):
        steps(layer, opt)
        pulses.append(opt.weights("weight").writes.clone())
        chip = opt.deploy(layer, drift)
        chips.append({k: v.clone() for k, v in chip.crossbar.cells.named_buffers()})
        assert chip.crossbar.cells.identity == opt.weights("weight").cells.identity
        mho.age(chip, "1 year")
        opt.recall(layer, chip)
    drawn = [name for name in chips[0] if name.startswith("state_")]
    assert any(name.endswith("_nu") for name in drawn)
    for later in chips[1:]:
        for name in drawn:
            assert torch.equal(later[name], chips[0][name]), name
    for before, after in itertools.pairwise(pulses):
        assert bool((after >= before).all())
        assert bool((after > before).any())


def test_the_year_after_is_mended_by_refreshing_and_by_learning(tmp_path):
    lived, recovered = example("year_after").main(["--quick", "--out", str(tmp_path)])
    percent = {what: value for what, _, value, _ in lived}
    assert percent["after a year"] < percent["trained in place"] - 2
    assert percent["refreshed in place"] > percent["after two, compensated"] + 4
    assert percent["trained on for five epochs"] > percent["after three, compensated"] + 3
    most = [pulses for *_, pulses in lived]
    assert most == sorted(most)
    assert most[-1] > most[0]
    assert recovered["last layer tuned"] > recovered["a year later"] + 30
    assert recovered["LoRA of rank 4 in cells"] > recovered["a year later"] + 30
    assert (tmp_path / "year_after.png").stat().st_size > 10_000
