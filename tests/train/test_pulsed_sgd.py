"""Pulsed SGD: what cells do with the counts, and an optimizer that behaves as torch's do."""

import copy
import itertools
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal

import mho
from mho.devices import (
    ConstantStep,
    ExponentialDevice,
    ExpStep,
    JumpTable,
    LinearStep,
    SoftBoundsDevice,
    Spread,
    TabularDevice,
)
from mho.train.on_cells.coincidence import Counts, ExpectedPulses, StochasticPulses
from mho.train.on_cells.pulsed_sgd import PulsedSGD
from mho.train.on_cells.references import symmetry_point
from mho.train.on_cells.weights import WeightCells

WINDOW = {"g_min": 1e-6, "g_max": 101e-6}
FINE = ConstantStep(**WINDOW, step=1e-9)  # 1e5 levels
SOFT = SoftBoundsDevice(**WINDOW, step=1e-6, asymmetry=0.3)
UP = JumpTable(g=(1e-6, 101e-6), dg=(0.0, 1e-6, 3e-6), cdf=((0.0, 0.3, 1.0), (0.1, 0.8, 1.0)))
DOWN = JumpTable(g=(1e-6, 101e-6), dg=(-3e-6, -1e-6, 0.0), cdf=((0.0, 0.3, 1.0), (0.0, 0.8, 1.0)))


def counts(up, down):
    return Counts(torch.as_tensor(up, dtype=torch.int32), torch.as_tensor(down, dtype=torch.int32))


# ── what an array does with pulses ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "device",
    [
        FINE,
        SOFT,
        LinearStep(**WINDOW, step=2e-6, slope_set=0.7, slope_reset=0.2),
        ExponentialDevice(**WINDOW, nonlinearity_set=1.0, nonlinearity_reset=-2.0, levels=100),
        ExpStep(**WINDOW, step=1e-6),
        SOFT.replace(d2d=0.3, asymmetry=Spread(Normal(0.0, 0.2))),
    ],
    ids=lambda d: type(d).__name__,
)
@pytest.mark.parametrize("share", [0.2, 0.9])
def test_pulses_of_one_direction_are_the_cells_own(device, share):
    array = WeightCells(device, (30, 40), seed=2)
    array.write(torch.rand(30, 40) * 1.6 - 0.8)
    alone = copy.deepcopy(array.cells)
    some = torch.rand(30, 40) < share
    signed = torch.where(some, torch.randint(-6, 7, (30, 40)), 0)
    array.pulse_both(*counts(signed.clamp(min=0), (-signed).clamp(min=0)))
    alone.pulse(signed)
    torch.testing.assert_close(array.cells.g, alone.g, rtol=3e-6, atol=0.0)
    still = (signed == 0).unsqueeze(0)
    assert torch.equal(array.cells.g[still], alone.g[still])
    assert torch.equal(array.cells.writes, alone.writes)


def test_opposed_pulses_act_as_shuffled_ones_do():
    # The mean over all orders of 5 set and 3 reset pulses, by brute force.
    array = WeightCells(SOFT, (1, 1), dtype=torch.float64)
    array.write(torch.zeros(1, 1))
    s = 2 * 1e-6 / 100e-6
    ends = []
    for resets in itertools.combinations(range(8), 3):
        z = 0.0
        for k in range(8):
            z = z - 0.7 * s * (1 + z) if k in resets else z + 1.3 * s * (1 - z)
        ends.append(z)
    array.pulse_both(*counts([[5]], [[3]]))
    mean = sum(ends) / len(ends)
    assert float(array.read()) == pytest.approx(mean, abs=0.02 * (max(ends) - min(ends)))
    assert int(array.cells.writes) == 8


def test_opposed_pulses_of_noisy_cells_are_shuffled():
    # A step that vanishes upwards tells the order: all orders of 2 set, 1 reset pulse occur.
    device = SoftBoundsDevice(**WINDOW, step=20e-6, c2c=1e-9)
    array = WeightCells(device, (3000, 1), dtype=torch.float64)
    array.write(torch.zeros(3000, 1))
    array.pulse_both(*counts([[2]] * 3000, [[1]] * 3000))
    s = 0.4
    up, down = (lambda z: z + s * (1 - z)), (lambda z: z - s * (1 + z))
    orders = [down(up(up(0.0))), up(down(up(0.0))), up(up(down(0.0)))]
    found = array.read().squeeze(1)
    shares = [float(((found - z).abs() < 1e-6).double().mean()) for z in orders]
    assert sum(shares) == pytest.approx(1.0)
    assert all(abs(share - 1 / 3) < 4 * (2 / 9 / 3000) ** 0.5 for share in shares)


def test_noise_is_of_every_pulse():
    device = ConstantStep(**WINDOW, step=1e-7, c2c=0.5)
    array = WeightCells(device, (100, 200))
    array.write(torch.zeros(100, 200))
    array.pulse_both(*counts(torch.full((100, 200), 7), torch.full((100, 200), 4)))
    moved = array.read().double() / array.step
    assert float(moved.mean()) == pytest.approx(3.0, abs=4.5 * (11 * 0.25 / 20_000) ** 0.5)
    assert float(moved.var()) == pytest.approx(11 * 0.25, rel=4.5 * (2 / 20_000) ** 0.5)


def test_table_cells_take_pulses():
    array = WeightCells(TabularDevice(UP, DOWN, **WINDOW), (50, 60), seed=3)
    array.write(torch.zeros(50, 60))
    array.pulse_both(*counts(torch.full((50, 60), 4), torch.zeros(50, 60)))
    assert float(array.read().mean()) == pytest.approx(4 * 2 * 0.95e-6 / 100e-6, rel=0.25)
    assert array.read().std() > 0


def test_weights_and_conductances():
    array = WeightCells(ConstantStep(**WINDOW, step=1e-6), (2, 3), weight_range=(-0.5, 1.5))
    assert array.step == pytest.approx(0.02)
    array.write(torch.tensor([[-0.5, 1.5, 0.5], [-3.0, 9.0, 0.0]]))
    assert array.cells.g[0, 0].tolist() == pytest.approx([1e-6, 101e-6, 51e-6])
    assert array.read()[1].tolist() == pytest.approx([-0.5, 1.5, 0.0], abs=1e-6)
    assert WeightCells(SOFT, (1, 1)).step == pytest.approx(0.02)
    with pytest.raises(ValueError, match="weight_range high must be > 1"):
        WeightCells(FINE, (2, 3), weight_range=(1.0, 1.0))
    with pytest.raises(TypeError, match="device must be PulsedDevice"):
        WeightCells(mho.devices.LinearDevice(), (2, 3))


def test_symmetry_points():
    # Soft bounds: (1 + a)(1 − z) = (1 − a)(1 + z) at z = a.
    asymmetry = Spread(Normal(0.0, 0.3), low=-0.9, high=0.9)
    cells = SOFT.replace(asymmetry=asymmetry).fabricate((40,), seed=1, dtype=torch.float64)
    z = 2 * (symmetry_point(cells) - 1e-6) / 100e-6 - 1
    torch.testing.assert_close(z, cells.parameter("asymmetry"))
    # No such point, or nothing but.
    assert symmetry_point(ConstantStep(**WINDOW, asymmetry=0.1).fabricate((1,))) == 101e-6
    assert float(symmetry_point(ConstantStep(**WINDOW).fabricate((1,)))) == pytest.approx(51e-6)
    # Alternating pulses end there.
    array = WeightCells(SOFT.replace(asymmetry=asymmetry), (5, 8), seed=1, dtype=torch.float64)
    copied = copy.deepcopy(array)
    array.shift_reference()
    assert not array.read().any()
    for _ in range(700):
        copied.cells.pulse(1)
        copied.cells.pulse(-1)
    assert (copied.cells.g - array.cells.g).abs().max() < 1.1e-6
    array.shift_reference(sigma=0.1)
    assert float(array.read().std()) == pytest.approx(0.1, rel=0.35)


@pytest.mark.parametrize("c2c", [0.0, 0.1])
def test_batch_at_once_against_sample_by_sample(c2c):
    # The cells of a diagonal share no line: under equal inputs and errors they are so many draws
    # of one cell. Sample by sample, the order is shuffled anew in every run.
    source = torch.Generator().manual_seed(0)
    x, delta = torch.rand(16, 1, generator=source), torch.randn(16, 1, generator=source) * 0.1
    moved: dict[bool, list] = {True: [], False: []}
    for seed in range(60):
        order = torch.randperm(16, generator=source)
        for sequential, each in moved.items():
            array = WeightCells(SOFT.replace(c2c=c2c), (40, 40), seed=seed)
            array.write(torch.full((40, 40), -0.3))
            update = StochasticPulses(sequential=sequential)
            array.descend(x[order].expand(-1, 40), delta[order].expand(-1, 40), 0.4, update)
            each.append(array.read().diag() + 0.3)
    one, whole = (torch.cat(moved[way]).double() for way in (True, False))
    error = ((one.var() + whole.var()) / 2400).sqrt()
    assert one.mean().abs() > 20 * error
    assert (one.mean() - whole.mean()).abs() < 4 * error
    assert float(one.std()) == pytest.approx(float(whole.std()), rel=0.1)


# ── the optimizer ────────────────────────────────────────────────────────────────────────────


def network(seed=0, last=3):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, last))


def data(seed=1, batch=16, last=3):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 6, generator=source), torch.randint(last, (batch,), generator=source)


def train(model, optimizer, steps, seed=1, scheduler=None):
    x, y = data(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()


@pytest.mark.parametrize("update", [StochasticPulses(bl=400), ExpectedPulses()], ids=str)
def test_fine_linear_cells_reproduce_plain_sgd(update):
    plain, pulsed = network(), network()
    sgd = torch.optim.SGD(plain.parameters(), lr=0.1)
    ours = PulsedSGD(pulsed, lr=0.1, device=FINE, update=update)
    start = [p.detach().clone() for p in plain.parameters()]
    train(plain, sgd, 25)
    train(pulsed, ours, 25)
    for p, q, begin in zip(plain.parameters(), pulsed.parameters(), start, strict=True):
        assert (p - q).norm() < 0.05 * (p - begin).norm()


def test_weights_are_what_the_cells_hold():
    model = network()
    optimizer = PulsedSGD(model, device=SOFT.replace(c2c=0.3))
    train(model, optimizer, 5)
    for name in ("0.weight", "2.weight"):
        array = optimizer.arrays[name]
        assert torch.equal(array.read(), model.get_parameter(name))
        assert int(optimizer.pulses()[name].sum()) > 0
    assert set(optimizer.pulses()) == {"0.weight", "2.weight"}


def test_digital_parameters_take_plain_steps():
    model = network()
    optimizer = PulsedSGD(model, lr=0.3, device=SOFT)
    x, y = data()
    nn.functional.cross_entropy(model(x), y).backward()
    wanted = model[0].bias - 0.3 * model[0].bias.grad
    optimizer.step()
    torch.testing.assert_close(model[0].bias, wanted)


def test_asymmetric_cells_are_biased_towards_their_symmetry_point():
    # A mean, -0.3, to be learnt from noisy samples: symmetric constant steps find it; those of
    # soft bounds settle between it and the symmetry point, 0.5.
    devices = {
        "symmetric": ConstantStep(**WINDOW, step=1e-7),
        "asymmetric": SoftBoundsDevice(**WINDOW, step=1e-6, asymmetry=0.5),
    }
    found = {}
    for name, cell in devices.items():
        model = nn.Linear(1, 60, bias=False)
        nn.init.zeros_(model.weight)
        optimizer = PulsedSGD(model, lr=0.02, device=cell)
        source = torch.Generator().manual_seed(0)
        late = []
        for step in range(400):
            noise = 2 * torch.randn(4, 60, generator=source)
            optimizer.zero_grad()
            (0.5 * (model(torch.ones(4, 1)) + 0.3 - noise) ** 2).sum(1).mean().backward()
            optimizer.step()
            if step >= 200:
                late.append(float(model.weight.detach().mean()))
        found[name] = sum(late) / len(late)
    assert found["symmetric"] == pytest.approx(-0.3, abs=0.03)
    assert -0.2 < found["asymmetric"] < 0.5


def test_schedulers_and_closures():
    model = network()
    optimizer = PulsedSGD(model, lr=0.2, device=SOFT)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    train(model, optimizer, 4, scheduler=scheduler)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.05]
    x, y = data()

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    before = model[0].weight.clone()
    assert optimizer.step(closure).requires_grad
    assert not torch.equal(before, model[0].weight)


def test_zero_learning_rate_sends_no_pulse():
    model = network()
    optimizer = PulsedSGD(model, lr=0.1, device=SOFT)
    for group in optimizer.param_groups:
        group["lr"] = 0.0  # as a schedule does
    train(model, optimizer, 3)
    assert not any(writes.any() for writes in optimizer.pulses().values())


def test_gradients_accumulate():
    x, y = data(batch=16)
    results = []
    for parts in (1, 4):
        model = network()
        optimizer = PulsedSGD(model, lr=0.5, device=FINE, update=ExpectedPulses())
        optimizer.zero_grad()
        for a, b in zip(x.chunk(parts), y.chunk(parts), strict=True):
            (nn.functional.cross_entropy(model(a), b) / parts).backward()
        optimizer.step()
        results.append(model[0].weight.detach().clone())
    torch.testing.assert_close(*results, rtol=0.0, atol=1e-4)


def test_resumes_exactly(tmp_path):
    device = SOFT.replace(c2c=0.3, d2d=0.2)
    model = network()
    optimizer = PulsedSGD(model, device=device, seed=4)
    train(model, optimizer, 5)
    torch.save({"model": model.state_dict(), "opt": optimizer.state_dict()}, tmp_path / "a.pt")
    train(model, optimizer, 5)
    saved = torch.load(tmp_path / "a.pt", weights_only=True)
    other = network(seed=7)
    resumed = PulsedSGD(other, lr=0.9, device=device, seed=5)
    other.load_state_dict(saved["model"])
    resumed.load_state_dict(saved["opt"])
    train(other, resumed, 5)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(optimizer.pulses()["0.weight"], resumed.pulses()["0.weight"])


def test_cells_follow_weights_that_others_set():
    model, other = network(), network(seed=3)
    optimizer = PulsedSGD(model, lr=1e-9, device=FINE)
    model.load_state_dict(other.state_dict())
    train(model, optimizer, 1)
    torch.testing.assert_close(model[0].weight, other[0].weight, rtol=0.0, atol=3e-5)


def test_same_seed_same_numbers():
    models = [network(), network(), network()]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        train(model, PulsedSGD(model, device=SOFT.replace(c2c=0.3), seed=seed), 3)
    assert torch.equal(models[0][0].weight, models[1][0].weight)
    assert not torch.equal(models[0][0].weight, models[2][0].weight)


def test_convolutions_and_converted_models():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    x, y = torch.randn(8, 1, 6, 6), torch.randint(3, (8,))
    hardware = mho.Hardware(device=mho.devices.LinearDevice(g_min=1e-6, g_max=100e-6))
    for each in (model, mho.convert(model, hardware)):
        optimizer = PulsedSGD(each, lr=0.1, device=FINE, update=ExpectedPulses())
        before = each[0].weight.detach().clone()
        optimizer.zero_grad()
        nn.functional.cross_entropy(each(x), y).backward()
        grad = each[0].weight.grad.clone()
        optimizer.step()
        torch.testing.assert_close(each[0].weight, before - 0.1 * grad, rtol=0.0, atol=1e-4)


def test_recurrent_weights_are_on_cells():
    torch.manual_seed(0)
    model = nn.LSTM(3, 4, batch_first=True)
    optimizer = PulsedSGD(model, lr=0.1, device=FINE, update=ExpectedPulses())
    assert set(optimizer.arrays) == {"weight_ih_l0", "weight_hh_l0"}
    optimizer.zero_grad()
    model(torch.randn(2, 5, 3))[0].pow(2).sum().backward()
    before, grad = model.weight_hh_l0.detach().clone(), model.weight_hh_l0.grad.clone()
    optimizer.step()
    torch.testing.assert_close(model.weight_hh_l0, before - 0.1 * grad, rtol=0.0, atol=1e-4)


def test_devices_by_name():
    model = network()
    optimizer = PulsedSGD(model, lr=0.5, device={model[0].weight: SOFT, "*": None})
    assert set(optimizer.arrays) == {"0.weight"}
    x, y = data()
    nn.functional.cross_entropy(model(x), y).backward()
    wanted = model[2].weight - 0.5 * model[2].weight.grad
    optimizer.step()
    torch.testing.assert_close(model[2].weight, wanted)
    with pytest.raises(ValueError, match=r"'5\.\*' fits no .*; .*'0.weight', '2.weight'"):
        PulsedSGD(network(), device={"5.*": SOFT})
    with pytest.raises(ValueError, match=r"device says nothing of '2.weight'"):
        PulsedSGD(network(), device={"0.*": SOFT})
    with pytest.raises(ValueError, match="all are left digital"):
        PulsedSGD(network(), device={"*": None})


def test_voltage_driven_cells_take_coincidences():
    model = network()
    optimizer = PulsedSGD(model, lr=0.5, device=mho.devices.VTEAM())
    x, y = data()
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        losses.append(nn.functional.cross_entropy(model(x), y))
        losses[-1].backward()
        optimizer.step()
    assert float(losses[-1].detach()) < 0.9 * float(losses[0].detach())


def test_what_stays_digital_is_said():
    model = nn.Sequential(nn.Embedding(5, 6), nn.Linear(6, 2))
    with pytest.warns(UserWarning, match=r"stay digital: 0.weight: Embedding"):
        optimizer = PulsedSGD(model, device=SOFT)
    assert set(optimizer.arrays) == {"1.weight"}
    with pytest.raises(ValueError, match=r"on cells \('0.weight': Embedding"):
        PulsedSGD(model, device={"0.weight": SOFT})
    with pytest.raises(ValueError, match="no linear, convolutional or recurrent layer"):
        PulsedSGD(nn.LayerNorm(3), device=SOFT)


def test_gradients_that_are_not_finite_are_left_out():
    model = network()
    optimizer = PulsedSGD(model, device=SOFT)
    x, y = data()
    x[0, 0] = torch.nan
    before = copy.deepcopy(model.state_dict())
    nn.functional.cross_entropy(model(x), y).backward()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        optimizer.step()
    assert len(said) == 1
    assert "gradients are not finite" in str(said[0].message)
    assert "'0.weight' (48 entries), '2.weight'" in str(said[0].message)
    assert "a parameter of shape [8] (8 entries)" in str(said[0].message)
    assert said[0].filename == __file__
    assert all(torch.equal(before[name], p) for name, p in model.state_dict().items())
    train(model, optimizer, 2)
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_bad_input():
    with pytest.raises(TypeError, match="device must be a PulsedDevice or"):
        PulsedSGD(network(), device=mho.devices.LinearDevice())
    with pytest.raises(ValueError, match="lr must be > 0"):
        PulsedSGD(network(), lr=-1.0, device=SOFT)
    with pytest.raises(TypeError, match="update must be PulsedUpdate"):
        PulsedSGD(network(), device=SOFT, update="expected")
    with pytest.raises(ValueError, match="weight_range must be"):
        PulsedSGD(network(), device=SOFT, weight_range=(1.0,))
    model = network()
    with pytest.warns(
        UserWarning, match=r"of 48 weights lie outside of weight_range .* '0.weight'"
    ):
        PulsedSGD(model, device={"0.weight": SOFT, "*": None}, weight_range=(-0.1, 0.1))
    assert float(model[0].weight.detach().abs().max()) <= 0.1 + 1e-6
    model = network()
    optimizer = PulsedSGD(model, device=SOFT)
    with pytest.raises(
        ValueError, match=r"must have the arrays '0.weight', '2.weight'; found none"
    ):
        optimizer.load_state_dict(torch.optim.SGD(model.parameters()).state_dict())
    model[0].weight.grad = torch.ones_like(model[0].weight)
    with pytest.raises(RuntimeError, match=r"0.weight has a gradient, but no inputs"):
        optimizer.step()


def test_mean_step_is_the_gradient_step_in_standard_errors():
    x, y = data()
    moved = []
    for seed in range(150):
        model = network()
        optimizer = PulsedSGD(model, lr=0.1, device=ConstantStep(**WINDOW, step=1e-7), seed=seed)
        before = model[0].weight.detach().clone()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        moved.append((model[0].weight.detach() - before).double().numpy())
    wanted = (-0.1 * model[0].weight.grad).double().numpy()
    error = np.std(moved, axis=0) / 150**0.5 + 1e-9
    assert (np.abs(np.mean(moved, axis=0) - wanted) / error).max() < 4.5


def test_half_precision_models_have_full_precision_cells():
    model = network().bfloat16()
    optimizer = PulsedSGD(model, lr=0.1, device=SOFT)
    x, y = data()
    nn.functional.cross_entropy(model(x.bfloat16()).float(), y).backward()
    optimizer.step()
    assert optimizer.arrays["0.weight"].cells.g.dtype == torch.float32
    assert torch.equal(model[0].weight, optimizer.arrays["0.weight"].read().bfloat16())


def test_weights_show_cells_that_somebody_else_has_moved():
    """Only what pulses moved is read after a step; but nobody's change is missed."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 3))
    optimizer = PulsedSGD(model, 0.05, device=SOFT)
    x, y = torch.randn(8, 12), torch.randint(3, (8,))

    def step():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        for name, array in optimizer.arrays.items():
            assert torch.equal(model.get_parameter(name), array.read()), name

    step()
    step()
    array = optimizer.arrays["0.weight"]
    array.cells.pulse(3)  # new tensors
    step()
    array.cells.pulse_at(torch.tensor([5]), torch.tensor([4]))  # in place
    step()
    with torch.no_grad():
        model[0].weight.mul_(0.5)
    step()
    copied_model, copied = copy.deepcopy((model, optimizer))
    copied.zero_grad()
    nn.functional.cross_entropy(copied_model(x), y).backward()
    copied.step()
    assert torch.equal(copied_model[0].weight, copied.arrays["0.weight"].read())
