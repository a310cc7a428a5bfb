"""What each learning rule promises, against closed forms and numbers worked by hand."""

import copy
import itertools
import pickle

import pytest
import torch
from torch import nn

import mho
from mho.core.spec import Spec
from mho.devices import ConstantStep, SoftBoundsDevice
from mho.programming import Exact
from mho.train import (
    ExpectedPulses,
    LearningRule,
    LowRankTikiTaka,
    MixedPrecision,
    MultiTileResidual,
    PulsedSGD,
    ResidualLearning,
    RuleArrays,
    SymmetryTracking,
    TikiTaka,
    TikiTakaV2,
    TileSGD,
)

WINDOW = {"g_min": 1e-6, "g_max": 101e-6}
FINE = ConstantStep(**WINDOW, step=5e-9)
TILT = 0.3  # the symmetry point of the cells below, as a weight
TILTED = SoftBoundsDevice(**WINDOW, step=50e-9, asymmetry=TILT)
MEAN = ExpectedPulses()
RULES = [
    MultiTileResidual(),
    ResidualLearning(),
    SymmetryTracking(),
    LowRankTikiTaka(),
    MixedPrecision(),
]


def name(rule):
    return type(rule).__name__


def settle(make, target, steps, noise=0.0):
    """Descend ``½·|W − target|²`` with labels whose noise comes in pairs and cancels."""
    model = nn.Linear(target.shape[1], target.shape[0], bias=False)
    with torch.no_grad():
        model.weight.zero_()
    optimizer = make(model)
    x = torch.eye(target.shape[1]).repeat(2, 1)
    sign = torch.tensor([1.0, -1.0]).repeat_interleave(target.shape[1]).unsqueeze(1)
    y = x @ target.T + noise * sign
    for _ in range(steps):
        optimizer.zero_grad()
        (0.25 * (model(x) - y) ** 2).sum().backward()
        optimizer.step()
    return model.weight.detach(), optimizer


def rms(x):
    return float(x.pow(2).mean().sqrt())


# ── few states ───────────────────────────────────────────────────────────────────────────────


def test_each_tile_of_four_states_divides_the_error_by_gamma():
    device = ConstantStep(**WINDOW, step=25e-6)  # four steps of 0.5 through the range
    target = torch.rand(20, 10, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    errors = []
    for tiles in (1, 2, 3, 4):
        rule = MultiTileResidual(tiles=max(tiles, 2), warm_start=60)

        def make(model, rule=rule):
            return TileSGD(model, 0.1, device=device, rule=rule, update=MEAN, seed=1)

        errors.append(rms(settle(make, target, 60 * tiles)[0] - target))
    assert 0.1 < errors[0] < 0.5  # of the order of the step
    for coarse, fine in itertools.pairwise(errors):
        assert fine / coarse == pytest.approx(0.5, abs=0.15), errors


def test_transfers_move_weight_up_and_leave_the_sum():
    rule = MultiTileResidual(tiles=2, subtract=True, transfer_lr=1.0, transfer_growth=1.0)
    optimizer = TileSGD(nn.Linear(2, 2, bias=False), device=FINE, rule=rule)
    arrays = optimizer.arrays["weight"]
    coarse, fine = arrays.tiles
    coarse.write(torch.zeros(2, 2))
    fine.write(torch.tensor([[0.4, -0.3], [0.2, 0.0]]))
    before, handed = arrays.read(), fine.read()
    arrays.transfer(1, 0.5)
    torch.testing.assert_close(coarse.read(), 0.5 * handed, atol=2e-4, rtol=0.0)
    torch.testing.assert_close(arrays.read(), before, atol=4e-4, rtol=0.0)


def test_periods_and_significances_are_geometric():
    levels = MultiTileResidual(tiles=4, gamma=0.5, transfer_every=3, slower=2).levels()
    assert [level.significance for level in levels.values()] == [1.0, 0.5, 0.25, 0.125]
    assert [level.every for level in levels.values()] == [24, 12, 6, 3]


def test_output_scales_descend_their_own_gradient():
    model = nn.Linear(2, 1, bias=False)
    rule = MultiTileResidual(scale_lr=0.5, tiles=2)
    optimizer = TileSGD(model, 1e-9, device=FINE, rule=rule, update=MEAN)
    weight = model.weight.detach().clone()
    x = torch.tensor([[1.0, -2.0]])
    model(x).sum().backward()
    optimizer.step()
    scale = optimizer.arrays["weight"].scale
    assert float(scale) == pytest.approx(1.0 - 0.5 * float(weight @ x.T), abs=1e-4)
    torch.testing.assert_close(model.weight.detach(), scale * weight, atol=1e-3, rtol=0.0)


# ── asymmetric cells ─────────────────────────────────────────────────────────────────────────


def test_plain_sgd_rests_where_its_closed_form_says_and_residual_learning_at_the_target():
    target, noise = torch.tensor([[-0.5, -0.2, 0.0], [0.1, 0.5, 0.3]]), 0.3
    plain, _ = settle(
        lambda model: PulsedSGD(model, 0.1, device=TILTED, update=MEAN), target, 300, noise
    )
    # Up steps (1 − w)(1 + s), down steps (1 + w)(1 − s): with gross gradient G = noise the drift
    # G·(s − w) − (w − w*)·(1 − s·w) vanishes (analog SGD with W ← W + ΔW − |ΔW|·W/τ).
    w = plain
    drift = noise * (TILT - w) - (w - target) * (1 - TILT * w)
    assert drift.abs().max() < 5e-3
    bias = (plain - target).abs()
    assert bias[0, 0] > 0.1
    for rule in (ResidualLearning(), MultiTileResidual(warm_start=80)):
        found, optimizer = settle(
            lambda model, rule=rule: TileSGD(model, 0.1, device=TILTED, rule=rule, update=MEAN),
            target,
            700,
            noise,
        )
        assert (found - target).abs().max() < 0.1 * bias.max(), rule
        assert optimizer.arrays["weight"].tiles[-1].read().abs().max() < 0.05  # P → SP


def test_tracking_finds_the_symmetry_point_where_a_wrong_reference_misleads():
    target, noise = torch.tensor([[-0.5, -0.2, 0.0], [0.1, 0.5, 0.3]]), 0.3

    def learn(rule):
        def make(model):
            return TileSGD(model, 0.1, device=TILTED, rule=rule, update=MEAN)

        return settle(make, target, 600, noise)

    misled, _ = learn(ResidualLearning(reference="middle"))
    tracked, optimizer = learn(SymmetryTracking(tracking=0.02))
    assert (tracked - target).abs().max() < 0.25 * (misled - target).abs().max()
    point = optimizer.arrays["weight"].point
    torch.testing.assert_close(point, torch.full_like(point, TILT), atol=0.08, rtol=0.0)


# ── digital sums and factors ─────────────────────────────────────────────────────────────────


def test_mixed_precision_is_sgd_to_a_granule():
    device = ConstantStep(**WINDOW, step=1e-6)  # 0.02 as a weight
    model = nn.Linear(6, 5, bias=False)
    optimizer = TileSGD(model, 0.01, device=device, rule=MixedPrecision())
    plain = model.weight.detach().clone()
    source = torch.Generator().manual_seed(3)
    apart = 0.0
    for _ in range(60):  # gradients that do not depend on the weights
        x, delta = torch.randn(4, 6, generator=source), torch.randn(4, 5, generator=source)
        optimizer.zero_grad()
        (model(x) * delta).sum().backward()
        optimizer.step()
        plain -= 0.01 * delta.T @ x
        apart = max(apart, float((model.weight - plain).abs().max()))
    assert 0.01 < apart < 0.02 * 1.001


def test_low_rank_factors_by_hand():
    model = nn.Linear(5, 4, bias=False)
    rule = LowRankTikiTaka(rank=2, transfer_every=100)
    optimizer = TileSGD(model, 0.2, device=FINE, rule=rule, update=MEAN)
    weight, a, b = (cells.read() for cells in optimizer.arrays["weight"].tiles)
    torch.testing.assert_close(b.abs(), torch.full_like(b, 0.5**0.5), atol=1e-5, rtol=0.0)
    x, delta = torch.randn(3, 5), 0.3 * torch.randn(3, 4)
    for _ in range(2):
        optimizer.zero_grad()
        (model(x) * delta).sum().backward()
        optimizer.step()
        gradient = delta.T @ x
        a, b = a - 0.2 * gradient @ b.T, b - 0.2 * a.T @ gradient
    assert b.abs().max() < 1.0  # none was clipped
    torch.testing.assert_close(model.weight.detach(), weight + a @ b, atol=2e-3, rtol=0.0)


def test_low_rank_factors_fit_a_narrow_range():
    # Entries of 1/√2 do not fit: half of them, and A at twice the rate of the square.
    model = nn.Linear(5, 4, bias=False)
    rule = LowRankTikiTaka(rank=2, transfer_every=100)
    span = (-(0.125**0.5), 0.125**0.5)
    optimizer = TileSGD(model, 0.05, device=FINE, rule=rule, update=MEAN, weight_range=span)
    b = optimizer.arrays["weight"].tiles[2].read()
    torch.testing.assert_close(b.abs(), torch.full_like(b, 0.125**0.5), atol=1e-5, rtol=0.0)
    x, delta = torch.randn(3, 5), 0.3 * torch.randn(3, 4)
    (model(x) * delta).sum().backward()
    optimizer.step()
    expected = -4 * 0.05 * delta.T @ x @ b.T
    found = optimizer.arrays["weight"].tiles[1].read()
    inside = expected.abs() < 0.3
    torch.testing.assert_close(found[inside], expected[inside], atol=1e-3, rtol=0.0)


def test_a_low_rank_transfer_keeps_the_weight_and_begins_anew():
    optimizer = TileSGD(nn.Linear(5, 4), device=FINE, rule=LowRankTikiTaka(rank=2))
    arrays = optimizer.arrays["weight"]
    arrays.tiles[1].write(torch.full((4, 2), 0.1))
    before, pulses = arrays.read(), int(arrays.tiles[2].writes.sum())
    arrays.transfer(1.0)
    torch.testing.assert_close(arrays.read(), before, atol=3e-4, rtol=0.0)
    assert arrays.tiles[1].read().abs().max() < 2e-4
    assert int(arrays.tiles[2].writes.sum()) > pulses


# ── the optimizer ────────────────────────────────────────────────────────────────────────────


def step(model, optimizer, steps=3, width=4):
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(2, width)).pow(2).sum().backward()
        optimizer.step()


@pytest.mark.parametrize("rule", RULES, ids=name)
def test_rules_train_converted_models_and_voltage_driven_cells(rule):
    torch.manual_seed(0)
    hardware = mho.Hardware(dac=mho.DAC(bits=8), adc=mho.ADC(bits=8))
    model = mho.convert(nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)), hardware)
    optimizer = TileSGD(model, 0.3, device=mho.devices.VTEAM(), rule=rule, endurance=10**6)
    before = [p.detach().clone() for p in model.parameters()]
    x = torch.rand(4, 1, 6)
    for _ in range(4):
        optimizer.zero_grad()
        model(x).pow(2).sum().backward()
        optimizer.step()
    assert any(not torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    assert all(bool(p.isfinite().all()) for p in model.parameters())
    assert all(tile in optimizer.summary() for tile in optimizer.arrays["2.weight"].names)
    assert sum(int(w.sum()) for w in optimizer.pulses().values()) > 0


def test_weights_that_one_tile_holds_become_crossbars_and_sums_do_not():
    device = mho.devices.SoftBoundsDevice(**WINDOW, step=1e-6)
    encoding = mho.encoding.SingleColumn()
    hardware = mho.Hardware(device=device, encoding=encoding, programming=Exact())
    for rule in (MixedPrecision(), ResidualLearning(gamma=0.0), LowRankTikiTaka(gamma=0.0)):
        model = nn.Linear(4, 3)
        optimizer = TileSGD(model, 0.1, device=device, rule=rule)
        step(model, optimizer)
        chip = optimizer.deploy(model, hardware).eval()
        x = torch.rand(5, 4)
        torch.testing.assert_close(chip(x), model(x), atol=1e-4, rtol=1e-4)
        assert torch.equal(
            next(iter(mho.crossbars(chip).values())).cells.writes[..., :3].sum(),
            optimizer.cells_of(model.weight).writes.sum(),
        )
    model = nn.Linear(4, 3)
    optimizer = TileSGD(model, 0.1, device=device, rule=MultiTileResidual())
    with pytest.raises(ValueError, match="sum of what the tiles W0, W1, W2, W3 hold"):
        optimizer.deploy(model, hardware)


def test_tiles_of_their_own_devices():
    rule = MultiTileResidual(tiles=3)
    make = {"device": TILTED, "rule": rule}
    optimizer = TileSGD(nn.Linear(4, 3), **make, tile_device={"W0": FINE})
    assert [cells.device for cells in optimizer.arrays["weight"].tiles] == [FINE, TILTED, TILTED]
    with pytest.raises(ValueError, match="'P' fits no tile of MultiTileResidual"):
        TileSGD(nn.Linear(4, 3), **make, tile_device={"P": FINE})
    with pytest.raises(TypeError, match=r"tile_device\['W0'\] must be a PulsedDevice"):
        TileSGD(nn.Linear(4, 3), **make, tile_device={"W0": 3})
    with pytest.raises(TypeError, match="rule must be LearningRule"):
        TileSGD(nn.Linear(4, 3), device=FINE, rule="residual")


@pytest.mark.parametrize("rule", RULES, ids=name)
def test_worn_cells_rest_and_more_parameters_are_digital(rule):
    model, more = nn.Linear(4, 3, bias=False), nn.Parameter(torch.ones(2))
    optimizer = TileSGD(model, 0.5, device=TILTED, rule=rule, endurance=1)
    optimizer.add_param_group({"params": [more], "lr": 0.2})
    more.grad = torch.ones(2)
    step_before = more.detach().clone()
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    torch.testing.assert_close(more.detach(), step_before - 0.2)
    assert max(int(w.max()) for w in optimizer.pulses().values()) <= 1


def test_a_rule_of_ones_own():
    class OneArrays(RuleArrays):
        def read(self):
            return self.tiles[0].read()

        def write(self, weight):
            self.tiles[0].write(weight)

        def descend(self, x, delta, lr, update):
            self.tiles[0].descend(x, delta, lr, update)

    class One(LearningRule):
        def arrays(self, tile, shape):
            return OneArrays({"W": tile("W", shape)})

    torch.manual_seed(1)
    model = nn.Linear(4, 3)
    before = model.weight.detach().clone()
    optimizer = TileSGD(model, 0.05, device=FINE, rule=One(), update=MEAN)
    step(model, optimizer, 1)
    gradient = model.weight.grad
    torch.testing.assert_close(model.weight.detach(), before - 0.05 * gradient, atol=2e-4, rtol=0)


def test_a_matrix_of_three_by_two_resumes():
    # As large as the streams of randomness: these are not taken for one of version 0.1.
    optimizers = [PulsedSGD(nn.Linear(2, 3), 0.1, device=FINE) for _ in range(2)]
    optimizers[1].load_state_dict(optimizers[0].state_dict())


def test_specs_and_bad_input():
    for rule in RULES:
        assert Spec.from_dict(rule.to_dict()) == rule
    for kind, wrong, text in (
        (MultiTileResidual, {"tiles": 1}, "tiles must be >= 2"),
        (MultiTileResidual, {"gamma": 0.0}, "gamma must be > 0"),
        (MultiTileResidual, {"warm_start": -1}, "warm_start must be >= 0"),
        (MultiTileResidual, {"scale_lr": 0.0}, "scale_lr must be > 0"),
        (ResidualLearning, {"rounding": "up"}, "rounding must be one of"),
        (ResidualLearning, {"threshold": 0.5}, "threshold must be >= 1"),
        (ResidualLearning, {"transfer_every": 0}, "transfer_every must be >= 1"),
        (SymmetryTracking, {"tracking": 0.0}, "tracking must be > 0"),
        (SymmetryTracking, {"chop_probability": 1.5}, "chop_probability must be"),
        (LowRankTikiTaka, {"rank": 0}, "rank must be >= 1"),
        (LowRankTikiTaka, {"reference": "zero"}, "reference must be one of"),
        (MixedPrecision, {"threshold": 0.5}, "threshold must be >= 1"),
        (SymmetryTracking, {"reference_error": 0.1}, "reference_error is of"),
    ):
        with pytest.raises(ValueError, match=text):
            kind(**wrong)


def test_checkpoints_of_other_rules_and_cells_are_refused_with_the_difference():
    def made(lr=0.1, device=FINE, rule=MultiTileResidual(), **more):  # noqa: B008
        return TileSGD(nn.Linear(2, 3), lr, device=device, rule=rule, **more)

    saved = made().state_dict()
    made(lr=0.2).load_state_dict(saved)
    for other, text in (
        (made(rule=MultiTileResidual(gamma=0.3)), "rule.gamma"),
        (made(device=TILTED), "devices"),
        (made(weight_range=(-2.0, 2.0)), "range"),
        (made(granularity=0.1), "give granularity="),
    ):
        before = [p.detach().clone() for p in other.param_groups[0]["params"]]
        with pytest.raises(ValueError, match=text):
            other.load_state_dict(saved)
        after = other.param_groups[0]["params"]
        assert all(torch.equal(x, y) for x, y in zip(before, after, strict=True))


def test_older_pickles_train_on():
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = TikiTaka(model, 0.1, device=TILTED, rule=TikiTakaV2(transfer_lr=0.1))
    step(model, optimizer, 1)
    older, old = copy.deepcopy((model, optimizer))
    del old.__dict__["_seen"]
    for arrays in old.arrays.values():
        del arrays._buffers["flow"], arrays.__dict__["answer"]
        arrays._non_persistent_buffers_set.discard("flow")
    older, old = pickle.loads(pickle.dumps((older, old)))
    for one in ((model, optimizer), (older, old)):
        step(*one, 3)
    assert torch.equal(model.weight, older.weight)


@pytest.mark.parametrize("rule", [ResidualLearning, SymmetryTracking, LowRankTikiTaka])
def test_a_rate_that_a_rule_does_not_find_by_itself_must_be_given(rule):
    with pytest.raises(TypeError, match="transfer_lr must be a number, got None"):
        rule(transfer_lr=None)
    assert rule(fast_lr=None).fast_lr is None
