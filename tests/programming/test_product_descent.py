"""Descent on products: its gradient, its steps, what it makes good, what it costs."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import mho
from mho.cells.programming import Site
from mho.circuit import Wires
from mho.devices import (
    VTEAM,
    ConstantStep,
    ExponentialDevice,
    LinearDevice,
    SoftBoundsDevice,
    presets,
)
from mho.effects import StuckAt
from mho.encoding import LEA, BitSliced, Differential, Redundant, SingleColumn, Ternary
from mho.programming import (
    Exact,
    OpenLoop,
    ProductDescent,
    Programming,
    WriteVerify,
    Written,
    program_crossbar,
)
from mho.programming.derive import pulses_through
from mho.programming.nominal import Counted, Laddered
from mho.programming.products import Products
from tolerance import near

FINE = ExponentialDevice(
    g_min=1e-6, g_max=1e-4, nonlinearity_set=1.5, nonlinearity_reset=-1.5, levels=200
)
VOLTS = VTEAM(r_on=1e4, r_off=1e5, v_on=-1.0, v_off=1.0, k_on=-1e-2, k_off=1e-2)
STUCK = (StuckAt(low=0.01, high=0.01),)


def weight(rows=128, cols=24, seed=0):
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))


def programmed(programming, device=FINE, seed=1, matrix=None, **parts):
    matrix = weight() if matrix is None else matrix
    hardware = mho.Hardware(device=device, programming=programming, **parts)
    bar = mho.Crossbar(*matrix.shape, hardware, seed=seed)
    report = bar.program(matrix)
    error = float((bar.effective_weight - matrix).norm() / matrix.norm())
    return error, report, bar


def reads(report):
    own = report.written.report
    before = getattr(own, "first", None)
    return own.reads + (before.report.reads if before is not None and before.report else 0)


class Probe(Programming):
    """Gives the site it is told."""

    def carry_out(self, cells, target, site):
        return Written(report=(site, target))


def products(encoding=None, rows=12, cols=5, batch=1, array=None, groups=1, **fields):
    """Return products of a crossbar in which every weight is off, and what the cells hold."""
    hardware = mho.Hardware(
        device=LinearDevice(1e-6, 1e-4),
        encoding=encoding or Differential(),
        array=array or mho.Array(),
    )
    bar = mho.Crossbar(rows, cols, hardware, groups=groups, dtype=torch.float64)
    matrix = weight(rows * groups, cols).double()
    site, target = bar.program(matrix, Probe()).written.report
    source = torch.Generator().manual_seed(3)
    held = target + 1e-6 * torch.randn(target.shape, generator=source, dtype=torch.float64)
    policy = ProductDescent(batch=batch, **fields)
    return Products(site, target, policy, 1e-4, source), held, site


ENCODINGS = {
    "pair": Differential(),
    "digital": Differential(subtract="digital"),
    "ternary": Ternary(),
    "slices": BitSliced(bits=4, bits_per_cell=2),
    "copies": Redundant(Differential(), copies=3),
    "added": Redundant(Differential(), copies=2, add="analog"),
    "ensemble": LEA(Differential(), copies=3, best=2),
    "single": SingleColumn(),
}


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("name", ENCODINGS)
def test_shares_together_make_good_what_weights_lack(name, groups):
    found, held, site = products(ENCODINGS[name], groups=groups, rows=40)
    lack = found.lacking(held)

    def weights(g):
        return site.assembled(site.converted(g).unflatten(0, (groups, -1)))

    before = weights(found.target) - weights(held)
    after = weights(found.target) - weights(held + lack.share)
    if name == "single":  # one cell stands behind all outputs: the mean can be made good
        assert float(after.norm()) < 0.8 * float(before.norm())
    else:
        assert float(after.abs().max()) < 1e-9 * float(before.abs().max())
    # The gradient by a cell, by numbers: half the squared error's slope, over its curvature.
    for cell in ((0, 3, 1), (-1, 7, -1)):
        nudged, step = held.clone(), 1e-7
        nudged[cell] += step
        up = weights(found.target) - weights(nudged)
        nudged[cell] -= 2 * step
        down = weights(found.target) - weights(nudged)
        loss = [0.5 * float(x.square().sum()) for x in (down, before, up)]
        slope = (loss[2] - loss[0]) / (2 * step)
        curvature = (loss[2] - 2 * loss[1] + loss[0]) / step**2
        if curvature < 1e-3:  # a copy that is not read
            continue
        tolerance = 0.5 if name == "single" and cell[2] == -1 else 1e-4
        assert float(lack.alone[cell]) == pytest.approx(-slope / curvature, rel=tolerance)


@pytest.mark.parametrize("array", [mho.Array(), mho.Array(5, 4), mho.Array(5, 4, interleaved=True)])
def test_a_batch_tells_what_is_lacking_within_its_noise(array):
    # Of n rows of an array: the variance of an estimate is that of the others' errors, over b.
    found, held, site = products(array=array, batch=40_000)
    true, told = found.lacking(held), found.read(held, lambda v: v * held)
    rest = (site.height - 1) * float(true.alone.square().mean())
    deviation = math.sqrt(rest / 40_000)
    off = told.alone - true.alone
    assert float(off.abs().max()) < 5.5 * deviation
    assert float(off.std()) == pytest.approx(deviation, rel=0.3)


def test_read_noise_is_that_of_the_outputs():
    found, held, _ = products(batch=5_000, read_noise=0.5, cols=40)
    off = found.read(held, lambda v: v * held).alone - found.lacking(held).alone
    assert float(off.std()) == pytest.approx(0.5 * 1e-4 / math.sqrt(5_000), rel=0.2)


def test_steps_are_of_the_length_that_lessens_the_error_most():
    n, batch = 50, 30
    ratios = {}
    for factor in (0.7, 1.0, 1.4):
        found, held, _ = products(rows=n, cols=400, batch=batch)
        lack = found.read(held, held.mul)
        moved = held + factor * found.trust * lack.share
        before, after = (found.lacking(g).alone.square().mean() for g in (held, moved))
        ratios[factor] = float(after / before)
    assert ratios[1.0] == pytest.approx((n - 1) / (batch + n - 1), rel=0.04)
    assert ratios[1.0] < min(ratios[0.7], ratios[1.4])


def test_relative_error_is_what_is_reported():
    found, held, site = products(batch=20_000)
    found.read(held, lambda v: v * held)
    wanted, missing = site.converted(found.target), site.converted(found.target - held)
    assert found.error == pytest.approx(float(missing.norm() / wanted.norm()), rel=0.02)


def test_counted_pulses_are_right_on_average_and_voltages_as_the_nominal_device_answers():
    scheme = WriteVerify().fitted(FINE)
    asked = torch.full((40_000,), 5e-5, dtype=torch.float64)
    chooser = Counted(FINE, asked, scheme, torch.Generator().manual_seed(0))
    change = torch.full_like(asked, 3.7e-6)
    for sign in (1.0, -1.0):
        chosen = chooser.choose(sign * change)
        mean = float((chosen.count * chosen.step).mean())
        error = float(chosen.step[0]) * 0.5 / math.sqrt(40_000)
        assert mean == pytest.approx(3.7e-6, abs=5 * error)
    cells = FINE.fabricate((1,), dtype=torch.float64)
    cells.write(asked[:1])
    cells.pulse(1)
    step = float(chooser.choose(change).step[0])
    assert float(cells.g) - 5e-5 == pytest.approx(step, rel=0.05)  # one pulse bends a little
    assert pulses_through(FINE) == pytest.approx(200, rel=0.2)

    fitted = WriteVerify().fitted(VOLTS)
    low, high = VOLTS.window
    asked = low + (high - low) * torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    chosen = Laddered(VOLTS, asked, fitted).choose(torch.full_like(asked, 0.05 * (high - low)))
    cells = VOLTS.fabricate((9,), dtype=torch.float64)
    cells.write(asked - 0.05 * (high - low))
    before = cells.conductance().clone()
    cells.apply_pulse(VOLTS.set_polarity * chosen.amplitude, fitted.set.width)
    moved = (cells.conductance() - before) / (high - low)
    assert float(moved.max()) < 0.06
    assert float(moved.min()) > 0.03
    assert set(chosen.count.tolist()) == {1}


@pytest.mark.parametrize("device", [FINE, VOLTS], ids=["counts", "volts"])
def test_a_broken_cell_is_made_up_for_by_its_partner(device):
    coarse = OpenLoop() if device is FINE else WriteVerify(tolerance=0.05, on_failure="report")
    single, _, bar = programmed(WriteVerify(on_failure="report"), device, effects=STUCK)
    policy = ProductDescent(first=coarse, batch=512)
    product, report, other = programmed(policy, device, effects=STUCK)
    assert torch.equal(bar.stuck, other.stuck)
    assert product < 0.5 * single
    # Weights off where a partner can reach: few; those of write–verify: all that are broken.
    low, high = device.window
    stuck = other.stuck
    wanted, held = (g[0] - g[1] for g in (report.target, report.achieved))
    rest = torch.where(stuck[0], other.G[0], -other.G[1])
    reach = torch.where(stuck[0], rest - wanted, wanted - rest)  # what the partner must hold
    one = stuck[0] ^ stuck[1]
    can = one & (reach >= low) & (reach <= high)
    assert int(can.sum()) > 40
    off = (held - wanted).abs()[can] / (high - low)
    assert float((off < 0.05).double().mean()) > 0.9
    lost = (bar.G[0] - bar.G[1] - wanted).abs()[can] / (high - low)
    assert float(lost.median()) > 0.05
    assert torch.equal(report.written.failed.any(0), report.written.failed.all(0))


def test_windows_of_their_own_and_wires_are_made_good():
    device = presets.get("gokmen_vlasov")
    single, _, _ = programmed(WriteVerify(on_failure="report"), device)
    product, _, _ = programmed(ProductDescent(first=OpenLoop()), device)
    assert product < 0.2 * single
    array = mho.Array(wires=Wires(2.0, 2.0, 2.0, 2.0))
    coarse = WriteVerify(tolerance=0.05, on_failure="report")
    single, _, _ = programmed(WriteVerify(on_failure="report"), VOLTS, array=array)
    product, _, _ = programmed(ProductDescent(first=coarse), VOLTS, array=array)
    assert product < 0.4 * single


def test_pulses_are_given_as_long_as_one_lessens_the_error():
    # Steps of 4 % of the window, all alike: with next to no noise of the others, half remains.
    device = ConstantStep(g_min=0.0, g_max=1e-4, step=4e-6)
    policy = ProductDescent(batch=4096, tolerance=0.001, patience=8)
    _, report, bar = programmed(policy, device, matrix=weight(8, 20))
    off = (bar.G - report.target)[0] - (bar.G - report.target)[1]
    assert float(off.abs().max()) < 0.6 * 4e-6
    assert float(off.abs().max()) > 0.3 * 4e-6


def test_what_failed_is_what_reads_through_wires_show():
    array = mho.Array(wires=Wires(3.0, 3.0, 3.0, 3.0))
    policy = ProductDescent(first=WriteVerify(tolerance=0.05, on_failure="report"), batch=512)
    _, report, bar = programmed(policy, VOLTS, array=array)
    low, high = VOLTS.window
    off = (bar.effective_weight - weight()).abs() / bar.scale
    expected = off > 0.01 * (high - low)
    assert 0 < int(expected.sum()) < expected.numel()
    near = (off - 0.01 * (high - low)).abs() < 1e-4 * (high - low)
    assert torch.equal(report.written.failed[0] | near, expected | near)


def test_with_noisy_reads_products_are_better_at_no_more_reads():
    noise = {"read_noise": 0.02}
    single, one, _ = programmed(WriteVerify(on_failure="report", **noise))
    product, many, _ = programmed(ProductDescent(first=OpenLoop(), **noise))
    assert reads(many) <= reads(one)
    assert product < 0.5 * single


def test_where_pulses_are_coarse_and_noisy_write_verify_is_better():
    # Said in the documents: luck can be waited for by a look at each cell alone.
    device = presets.get("alox_hfo2")
    single, _, _ = programmed(WriteVerify(), device)
    product, _, _ = programmed(ProductDescent(first=OpenLoop()), device)
    assert single < 0.2 * product


def test_costs_by_hand():
    # Nothing lacks: one round of reads, and no pulse.
    array = mho.Array(5, 4)
    for encoding, lines in ((Differential(), 1), (Differential(subtract="digital"), 2)):
        hardware = mho.Hardware(device=FINE, encoding=encoding, array=array)
        bar = mho.Crossbar(12, 6, hardware, dtype=torch.float64)
        policy = ProductDescent(batch=7, read_time=2e-8, read_voltage=0.05)
        bar.program(weight(12, 6).double(), Exact())
        report = bar.program(weight(12, 6).double(), policy)
        own = report.written.report
        assert own.rounds == 1
        assert report.pulses == 0
        assert own.reads == 7 * 3 * 6 * lines  # three tiles below one another
        assert report.seconds == pytest.approx(7 * 2e-8)
        joules = 7 * 2e-8 * 0.05**2 * float(bar.G.sum())
        assert report.energy == near(joules, rel=1e-9)


def test_every_row_pays_for_the_signs_of_its_own_inputs(monkeypatch):
    # Cells that conduct a quarter in reverse: what a row takes is told by how often it was driven
    # which way.
    inputs = Products._inputs
    seen = []
    monkeypatch.setattr(
        Products, "_inputs", lambda self, like: seen.append(inputs(self, like)) or seen[-1]
    )
    array = mho.Array(5, 4)
    found, held, _ = products(batch=9, array=array, read_time=2e-8, read_voltage=0.05)
    found.read(held, lambda v: held * (v if v > 0 else 0.25 * v))
    (signs,) = seen
    joules = 0.0
    for row in range(12):
        of_row = signs[row // 5, :, row % 5]
        for sign in of_row.tolist():
            part = 1.0 if sign > 0 else 0.25
            joules += 2e-8 * 0.05**2 * part * float(held[:, row].sum())
    assert found.energy == pytest.approx(joules, rel=1e-9, abs=0.0)


def test_what_began_is_added_and_what_is_not_known_stays_so():
    coarse = WriteVerify(tolerance=0.1)
    _, alone, _ = programmed(coarse)
    _, both, bar = programmed(ProductDescent(first=coarse))
    own = both.written.report
    assert own.first.report.reads == alone.written.report.reads
    assert both.pulses == alone.pulses + int(own.pulses.sum()) == int(bar.writes.sum())
    assert both.seconds == pytest.approx(alone.seconds + own.time)
    assert both.energy == pytest.approx(alone.energy + own.energy + own.read_energy)
    _, counted, _ = programmed(ProductDescent(first=OpenLoop()))
    assert counted.seconds is None
    assert counted.energy is None
    assert "error of products from" in str(own)


def test_seeds_say_all():
    policy = ProductDescent(first=OpenLoop(), read_noise=0.01)
    device = SoftBoundsDevice(c2c=0.1)
    one, same, other = (programmed(policy, device, seed=s)[2] for s in (1, 1, 2))
    assert torch.equal(one.G, same.G)
    assert not torch.equal(one.G, other.G)


@pytest.mark.parametrize("shape", [(20, 6), (3, 20, 6), (8,), (), (0, 3)])
def test_populations_by_themselves(shape):
    cells = FINE.fabricate(shape, dtype=torch.float64)
    source = torch.Generator().manual_seed(0)
    goal = 1e-6 + 9.9e-5 * torch.rand(shape, generator=source, dtype=torch.float64)
    cells.program(goal, ProductDescent(first=OpenLoop(), batch=32))
    assert cells.g.shape == shape
    assert not cells.g.numel() or float((cells.g - goal).abs().max()) < 0.03 * 9.9e-5


def test_a_population_by_itself_is_arrays_of_its_last_dimensions():
    site = Site.alone(torch.zeros(2, 3, 4, 5))
    assert (site.groups, site.rows, site.height) == (6, 4, 4)
    assert torch.equal(site.arrays().flatten(), torch.arange(120))
    assert site.converted(torch.zeros(2, 3, 4, 5)).shape == (24, 5)


def test_no_progress_is_said_with_the_layers_name():
    # From rest, VTEAM's low conductances hardly move at first.
    model = nn.Sequential(nn.Linear(64, 8), nn.Linear(8, 4))
    hardware = mho.Hardware(device=VTEAM(), programming=ProductDescent(patience=1, batch=16))
    analog = mho.convert(model, mho.Hardware(device=VTEAM()), overrides={"0": hardware})
    with pytest.warns(RuntimeWarning, match=r"product descent of 0 made no progress"):
        mho.fabricate(analog, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        programmed(ProductDescent(first=OpenLoop()))


def test_write_verify_names_the_layer_that_did_not_converge():
    strict = WriteVerify(tolerance=0.001, max_pulses=3)
    hardware = mho.Hardware(device=FINE, programming=strict)
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    analog = mho.convert(model, mho.Hardware(device=FINE), overrides={"1": hardware})
    with pytest.warns(RuntimeWarning, match="write–verify of 1 did not converge"):
        mho.fabricate(analog, seed=2)
    bar = mho.Crossbar(6, 5, hardware)
    with pytest.warns(RuntimeWarning, match="write–verify did not converge"):
        program_crossbar(bar, weight(6, 5), strict.fitted(FINE).replace(max_pulses=3))


def test_it_is_a_part_of_the_hardware(tmp_path):
    policy = ProductDescent(batch=64, first=WriteVerify(tolerance=0.05, hadamard=8))
    hardware = mho.Hardware(device=FINE, programming=policy)
    mho.save_hardware(hardware, tmp_path / "chip.yaml")
    assert mho.load_hardware(tmp_path / "chip.yaml") == hardware
    analog = mho.convert(nn.Linear(8, 4), hardware)
    assert policy.says in str(mho.summary(analog))
    assert f"{policy}" in str(mho.summary(analog))


def test_training_takes_the_error_for_no_less_than_it_is():
    hardware = mho.Hardware(device=FINE, programming=ProductDescent(batch=64, tolerance=0.02))
    torch.manual_seed(0)
    layer = nn.Linear(64, 20, bias=False)
    x, wanted = torch.eye(64), layer.weight.detach().T
    analog = mho.convert(layer, hardware).train()
    with torch.no_grad():
        drawn = torch.stack([analog(x) for _ in range(20)]) - wanted
    chips = []
    for seed in range(10):
        mho.fabricate(analog, seed)
        with torch.no_grad():
            chips.append(analog.eval()(x))
    made = torch.stack(chips) - wanted
    assert float(made.std()) < float(drawn.std()) < 3.0 * float(made.std())


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"batch": 0}, ValueError, "batch must be >= 1"),
        ({"max_rounds": 0}, ValueError, "max_rounds"),
        ({"patience": 0}, ValueError, "patience"),
        ({"tolerance": 0.0}, ValueError, "tolerance"),
        ({"read_noise": -1.0}, ValueError, "read_noise"),
        ({"read_time": math.nan}, ValueError, "read_time"),
        ({"order": "column"}, ValueError, "order"),
        ({"refractory": -1.0}, ValueError, "refractory"),
        ({"first": "open loop"}, TypeError, "first must be Programming"),
        ({"set": 1.0}, TypeError, "set must be Pulses"),
        ({"record": 1}, TypeError, "record must be bool"),
    ],
)
def test_bad_fields_are_refused(fields, error, message):
    with pytest.raises(error, match=message):
        ProductDescent(**fields)


def test_devices_that_take_no_pulses_are_refused():
    with pytest.raises(TypeError, match="LinearDevice takes no pulses"):
        mho.Hardware(device=LinearDevice(), programming=ProductDescent())
    with pytest.raises(ValueError, match=r"OpenLoop\(\) needs a device that is written"):
        mho.Hardware(device=VOLTS, programming=ProductDescent(first=OpenLoop()))


def test_every_field_changes_something():
    fields = {
        "set": WriteVerify().fitted(VOLTS).set.replace(width=3e-9),
        "reset": WriteVerify().fitted(VOLTS).reset.replace(width=3e-9),
        "tolerance": 0.03,
        "batch": 50,
        "max_rounds": 2,
        "patience": 1,
        "first": WriteVerify(tolerance=0.1, on_failure="report"),
        "refractory": 1e-6,
        "read_time": 1e-6,
        "read_voltage": 0.05,
        "read_noise": 0.05,
        "order": "cell",
        "record": True,
    }
    base = ProductDescent(batch=64, max_rounds=12, first=WriteVerify(tolerance=0.05))
    assert set(fields) == {name for name in base.to_dict() if name != "type"}

    def outcome(policy):
        _, report, bar = programmed(policy, VOLTS, matrix=weight(24, 6))
        own = report.written.report
        known = (report.seconds, report.energy, own.reads, own.rounds_given is None)
        return (*known, float(bar.G.double().sum()), own.history)

    first = outcome(base)
    assert outcome(base) == first
    for name, value in fields.items():
        changed = base.replace(**{name: value})
        if name in ("set", "reset"):  # both must be given for one to count
            fitted = WriteVerify().fitted(VOLTS)
            changed = base.replace(set=fitted.set, reset=fitted.reset).replace(**{name: value})
        assert outcome(changed) != first, name


def test_numpy_agrees_on_the_gradient():
    found, held, _ = products(batch=16, rows=9, cols=4)
    source = torch.Generator().manual_seed(3)
    torch.randn(held.shape, generator=source, dtype=torch.float64)  # as `products` drew
    signs = torch.empty(16, 9, dtype=torch.float64).bernoulli_(0.5, generator=source) * 2 - 1
    told = found.read(held, lambda v: (1.0 if v > 0.0 else 3.0) * v * held)
    x = signs.numpy()
    driven = np.where(x > 0.0, 1.0, 3.0).sum(0) @ held.sum((0, 2)).numpy()
    assert found.energy == pytest.approx(100e-9 * 0.1**2 * driven, rel=1e-9)
    lost = (found.target - held).numpy()
    error = x @ (lost[0] - lost[1])
    gradient = x.T @ error / 16
    assert np.allclose(told.share.numpy(), np.stack([gradient, -gradient]) / 2)
    assert np.allclose(told.alone.numpy(), np.stack([gradient, -gradient]))


def test_devices_without_pulses_are_told_which_policy_needs_them():
    with pytest.raises(TypeError, match=r"^product descent needs .* LinearDevice takes no pulses"):
        mho.Hardware(device=LinearDevice(), programming=ProductDescent())
