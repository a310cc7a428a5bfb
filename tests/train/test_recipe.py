"""Noise-aware training: what training reads see, and recipes around it."""

import copy
import math
import warnings

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import mho
from mho import ADC, DAC, Crossbar, Hardware
from mho.crossbar.training import NoiseInjection
from mho.devices import LinearDevice, Spread
from mho.effects import PowerLawDrift, ReadDisturb, ReadNoise, StuckAt, WriteNoise
from mho.study import over_chips
from mho.testing import EffectContract
from mho.train.recipes.recipe import DropConnect, Recipe

SIGMAS = 4.0
CONVERTED = Hardware(dac=DAC(bits=8), adc=ADC(bits=6))


class TestDropConnect(EffectContract):
    def effect(self):
        return DropConnect(0.3)


def seeded(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def practising(practice, hardware=None, rows=40, cols=30):
    crossbar = Crossbar(rows, cols, hardware or Hardware(), seed=1, dtype=torch.float64)
    crossbar.program(seeded(rows, cols))
    crossbar.inject_noise(practice)
    return crossbar


def weights_read(crossbar, weight, times):
    eye = torch.eye(weight.shape[0], dtype=torch.float64)
    return torch.stack([crossbar.read_through(eye, weight) for _ in range(times)])


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 4))


# ── practice ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("extra", [(), (DropConnect(0.0),)])  # summed up, and cell by cell
def test_noise_is_a_factor_on_the_programming_error(extra):
    hardware = Hardware(device=LinearDevice(0.0, 1e-4), effects=(WriteNoise(0.01),))
    weight = torch.full((40, 30), 0.5, dtype=torch.float64)
    weight[0, 0] = 1.0
    seen = {}
    for factor in (1.0, 3.0):
        crossbar = practising(NoiseInjection(noise=factor, effects=extra), hardware)
        seen[factor] = float((weights_read(crossbar, weight, 40) - weight)[:, 1:].std())
    error = 1 / math.sqrt(2 * 40 * 39 * 30)
    assert abs(seen[3.0] / seen[1.0] - 3.0) < SIGMAS * 3.0 * error * math.sqrt(2)


def test_eval_reads_do_not_see_the_practice():
    plain, practised = (
        practising(NoiseInjection()),
        practising(NoiseInjection(effects=(WriteNoise(0.2),), ages=(1e3, 1e6), noise=5.0)),
    )
    x = seeded(3, 40, seed=2)
    assert torch.equal(x @ plain, x @ practised)
    assert not torch.allclose(
        practised.read_through(x, plain.weight), plain.read_through(x, plain.weight)
    )


def test_drift_aware_reads_are_of_drifted_cells():
    hardware = Hardware(device=LinearDevice(0.0, 1e-4), effects=(PowerLawDrift(nu=0.1),))
    weight = seeded(40, 30, seed=3)
    x = seeded(5, 40, seed=4)
    old = practising(NoiseInjection(ages=(1e4, 1e4), compensated=False), hardware)
    assert torch.allclose(old.read_through(x, weight), x @ weight * 1e4**-0.1)
    mended = practising(NoiseInjection(ages=(1e4, 1e4)), hardware)
    assert torch.allclose(mended.read_through(x, weight), x @ weight)


def test_ages_are_log_uniform():
    crossbar = practising(NoiseInjection(ages=(1.0, 1e6)))
    ages = torch.tensor([crossbar.injection.draw_age(crossbar.G) for _ in range(400)])
    share = ages.log10() / 6
    assert 0 <= float(share.min()) <= float(share.max()) <= 1
    assert abs(float(share.mean()) - 0.5) < SIGMAS * math.sqrt(1 / 12 / 400)
    assert abs(float(share.var()) - 1 / 12) < 0.02


def test_stuck_aware_draws_cells_anew_and_own_cells_do_not():
    hardware = Hardware(device=LinearDevice(0.0, 1e-4), effects=(StuckAt(low=0.1),))
    weight = seeded(40, 30).abs() + 0.5  # no weight is zero: its positive cell carries it
    anew = weights_read(practising(NoiseInjection(), hardware), weight, 2).abs() < 1e-6
    assert not torch.equal(anew[0], anew[1])
    crossbar = practising(NoiseInjection(own_cells=True), hardware)
    own = weights_read(crossbar, weight, 2).abs() < 1e-6
    assert torch.equal(own[0], own[1])
    assert torch.equal(own[0], crossbar.stuck[0])


def test_own_cells_and_further_defects_act_together():
    hardware = Hardware(device=LinearDevice(0.0, 1e-4), effects=(StuckAt(low=0.1),))
    crossbar = practising(NoiseInjection(effects=(StuckAt(low=0.2),), own_cells=True), hardware)
    weight = seeded(40, 30).abs() + 0.5
    zero = weights_read(crossbar, weight, 30).abs() < 1e-6
    assert zero[:, crossbar.stuck[0]].all()
    healthy = zero[:, ~crossbar.stuck[0]].double()
    assert abs(float(healthy.mean()) - 0.2) < SIGMAS * math.sqrt(0.16 / healthy.numel())


def test_own_cells_with_windows_of_their_own():
    hardware = Hardware(device=LinearDevice(1e-6, Spread(torch.distributions.Uniform(5e-5, 1e-4))))
    crossbar = practising(NoiseInjection(own_cells=True), hardware)
    weight = seeded(40, 30)
    crossbar.program(weight)
    assert torch.allclose(weights_read(crossbar, weight, 1)[0], crossbar.weight)


def test_drop_connect_drops_weights():
    hardware = Hardware(device=LinearDevice(0.0, 1e-4))
    crossbar = practising(NoiseInjection(effects=(DropConnect(0.25),)), hardware)
    weight = seeded(40, 30)
    seen = weights_read(crossbar, weight, 30)
    kept = torch.isclose(seen, weight)
    assert (kept | (seen == 0)).all()
    dropped = (~kept).double()
    assert abs(float(dropped.mean()) - 0.25) < SIGMAS * math.sqrt(0.1875 / dropped.numel())


# ── learned ranges ───────────────────────────────────────────────────────────────────────────


def calibrated(model, inputs, hardware=CONVERTED):
    analog = mho.convert(model, hardware)
    mho.calibrate(analog, inputs, correct=False)
    return analog.train()


def crossbars(model):
    return [c for layer in mho.layers(model).values() for c in layer.crossbars.values()]


def test_learning_starts_where_calibration_ended():
    x = seeded(50, 16, dtype=torch.float32)
    analog = calibrated(net(), x)
    before = analog(x)
    for crossbar in crossbars(analog):
        crossbar.learn_ranges()
    assert torch.allclose(analog(x), before)
    shifts = [name for name, _ in analog.named_parameters() if name.endswith("range_shift")]
    assert len(shifts) == 2


def test_the_range_gradient_is_that_of_learned_step_size_quantisation():
    """LSQ (Esser 2020): d(quantised)/d(range) = (level − x/step)/top inside, ±1 where clipped."""
    hardware = Hardware(dac=DAC(bits=4))
    crossbar = Crossbar(1, 1, hardware, dtype=torch.float64)
    one = torch.ones(1, 1, dtype=torch.float64)
    crossbar.program(one)
    crossbar.input_range.fill_(2.0)
    crossbar.refresh()
    crossbar.learn_ranges()
    x = torch.tensor([[0.3], [1.1], [-1.95], [2.5], [-7.0]], dtype=torch.float64)
    for value in x:
        (grad,) = torch.autograd.grad(crossbar.read_through(value, one).sum(), crossbar.range_shift)
        ratio = float(value) / 2.0 * 7
        level = max(-7, min(7, round(ratio)))
        clipped = abs(ratio) > 7.5
        expected = (level - (0 if clipped else ratio)) / 7
        assert float(grad[0]) == pytest.approx(2.0 * expected, abs=1e-12)


def test_learned_ranges_mend_a_bad_calibration():
    x = seeded(400, 16, seed=5, dtype=torch.float32)
    analog = calibrated(net(), 8 * x)  # calibrated on inputs that are far too large
    target = net()(x).detach()

    def error():
        return float(F.mse_loss(analog(x), target).detach())

    for crossbar in crossbars(analog):
        crossbar.learn_ranges()
    before = error()
    shifts = [c.range_shift for c in crossbars(analog)]
    optimizer = torch.optim.Adam(shifts, lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        F.mse_loss(analog(x), target).backward()
        optimizer.step()
    assert error() < 0.25 * before
    learned = analog(x)
    kept = [c.input_range * c.range_shift[0].exp() for c in crossbars(analog)]
    Recipe().finish(analog)
    for crossbar, limit in zip(crossbars(analog), kept, strict=True):
        assert crossbar.range_shift is None
        assert torch.allclose(crossbar.input_range, limit)
    assert torch.allclose(analog(x), learned, atol=1e-6)


def test_learned_ranges_are_saved_and_copied():
    x = seeded(50, 16, dtype=torch.float32)
    recipe = Recipe(ranges="learned")
    analog = recipe.prepare(net(), CONVERTED, x)
    with torch.no_grad():
        for crossbar in crossbars(analog):
            crossbar.range_shift += 0.3
    other = recipe.prepare(net(), CONVERTED, x, seed=5)
    other.load_state_dict(analog.state_dict())
    twin = copy.deepcopy(analog)
    for model in (other, twin):
        assert torch.allclose(model(x), analog(x))
        assert torch.allclose(model.eval()(x), analog.eval()(x))
        model.train(), analog.train()


def test_ranges_that_are_not_calibrated_cannot_be_learned():
    analog = mho.convert(net(), CONVERTED)
    with pytest.raises(ValueError, match="calibrate first"):
        crossbars(analog)[0].learn_ranges()
    fixed = Hardware(dac=DAC(bits=8, range=1.0), adc=ADC(bits=8, range="full_scale"))
    analog = mho.convert(net(), fixed)
    mho.calibrate(analog, seeded(9, 16, dtype=torch.float32))
    with pytest.raises(ValueError, match="calibrate first"):
        crossbars(analog)[0].learn_ranges()


# ── recipes ──────────────────────────────────────────────────────────────────────────────────


def test_clipping_keeps_weights_within_their_spread():
    recipe = Recipe(clip=1.5)
    analog = recipe.prepare(net(), Hardware())
    weight = analog[0].weight
    bias = analog[0].bias.detach().clone()
    limit = 1.5 * float(weight.detach().std())
    recipe.after_step(analog)
    assert float(weight.detach().abs().max()) == pytest.approx(limit)
    assert torch.equal(analog[0].bias, bias)


def test_clipping_a_tied_weight_once_and_a_lone_weight_not_at_all():
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 1))
    model[2].weight = model[0].weight
    lone = nn.Linear(1, 1)
    recipe = Recipe(clip=1.0)
    tied, single = (recipe.prepare(m, Hardware()) for m in (model, lone))
    assert tied[2].weight is tied[0].weight
    limit = float(tied[0].weight.detach().std())
    for analog in (tied, single):
        recipe.after_step(analog)
    assert float(tied[0].weight.detach().abs().max()) == pytest.approx(limit)
    assert torch.equal(single.weight, lone.weight)


def test_recipes_are_printed_saved_and_read_back(tmp_path):
    recipe = Recipe(
        injection=NoiseInjection(effects=(WriteNoise(0.05), DropConnect(0.01)), ages=(1.0, 1e6)),
        ranges="learned",
        clip=2.5,
    )
    assert "WriteNoise(sigma=0.05)" in str(recipe)
    assert str(recipe).splitlines()[-1].split() == ["clip", "2.5"]
    recipe.save(tmp_path / "recipe.yaml")
    assert Recipe.load(tmp_path / "recipe.yaml") == recipe


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: NoiseInjection(noise=-1.0), ValueError, "noise"),
        (lambda: NoiseInjection(ages=(0.0, 1.0)), ValueError, "youngest"),
        (lambda: NoiseInjection(ages=(10.0, 1.0)), ValueError, "oldest"),
        (lambda: NoiseInjection(ages=(1.0,)), ValueError, "two times"),
        (lambda: NoiseInjection(effects=(ReadNoise(0.1),)), ValueError, "ReadNoise"),
        (lambda: NoiseInjection(effects=(0.1,)), TypeError, "effect"),
        (lambda: NoiseInjection(effects=(PowerLawDrift(0.1),)), ValueError, "say the cells' ages"),
        (
            lambda: NoiseInjection(effects=(ReadDisturb(1e3),), ages=(1.0, 1e6)),
            ValueError,
            "ReadDisturb goes by reads",
        ),
        (lambda: NoiseInjection(reads=(0.0, 1.0)), ValueError, "fewest of reads"),
        (lambda: NoiseInjection(reads=(1.0,)), ValueError, "reads must be two counts"),
        (lambda: DropConnect(1.5), ValueError, "DropConnect p"),
        (lambda: Recipe(ranges="guessed"), ValueError, "ranges"),
        (lambda: Recipe(clip=0.0), ValueError, "clip"),
        (lambda: Recipe(ranges="learned").prepare(net(), CONVERTED), ValueError, "inputs"),
        (lambda: Crossbar(2, 2, Hardware()).inject_noise(0.1), TypeError, "injection"),
    ],
)
def test_bad_recipes_are_refused(make, kind, text):
    with pytest.raises(kind, match=text):
        make()


# ── in any training loop ─────────────────────────────────────────────────────────────────────


def blobs(count=600):
    """Four classes that overlap a little, in 16 dimensions."""
    centres = 1.2 * seeded(4, 16, seed=7, dtype=torch.float32)
    y = torch.arange(count) % 4
    return centres[y] + seeded(count, 16, seed=8, dtype=torch.float32), y


def train(model, x, y, steps=150, after=None):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        if after is not None:
            after(model)
    return model


def test_what_is_practised_is_borne():
    data = load_digits()
    x = torch.tensor(data.data, dtype=torch.float32) / 16
    y = torch.tensor(data.target)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    noisy = Hardware(effects=(WriteNoise(0.15),))
    recipe = Recipe(injection=NoiseInjection(noise=1.2), clip=2.5)
    plain = train(copy.deepcopy(model), x[:1200], y[:1200], steps=400)
    naive = mho.convert(plain, noisy).eval()
    analog = recipe.prepare(model, noisy)
    aware = train(analog, x[:1200], y[:1200], steps=400, after=recipe.after_step)
    recipe.finish(aware)

    def accuracy(chip):
        return float((chip(x[1200:]).argmax(1) == y[1200:]).float().mean())

    found = [over_chips(chips, accuracy, range(12)) for chips in (naive, aware)]
    error = math.sqrt(sum(float(f.var()) for f in found) / 12)
    assert float(found[1].mean() - found[0].mean()) > SIGMAS * error


def test_gradients_accumulate_as_ever():
    x, y = blobs(64)
    analog = Recipe().prepare(net(), Hardware())  # no noise: halves add up to the whole
    F.cross_entropy(analog(x), y).backward()
    whole = analog[0].weight.grad.clone()
    analog.zero_grad()
    for half in (slice(0, 32), slice(32, 64)):
        (F.cross_entropy(analog(x[half]), y[half]) / 2).backward()
    assert torch.allclose(analog[0].weight.grad, whole, atol=1e-6)


def test_mixed_precision_trains():
    x, y = blobs(256)
    recipe = Recipe(injection=NoiseInjection(noise=2.0), ranges="learned")
    hardware = CONVERTED.replace(effects=(WriteNoise(0.02),))
    analog = recipe.prepare(net(), hardware, x)
    optimizer = torch.optim.Adam(analog.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = F.cross_entropy(analog(x), y)
        value.backward()
        optimizer.step()
        losses.append(float(value.detach()))
    assert losses[-1] < 0.4 * losses[0]
    assert all(p.dtype == torch.float32 and p.grad is not None for p in analog.parameters())


@pytest.mark.slow
def test_compiled_training_is_that_of_the_eager_model():
    x, y = blobs(64)
    recipe = Recipe(injection=NoiseInjection(noise=2.0), ranges="calibrated")
    hardware = CONVERTED.replace(effects=(WriteNoise(0.02),))
    eager = recipe.prepare(net(), hardware, x)
    twin = copy.deepcopy(eager)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(twin, backend="aot_eager")
        for step in range(3):
            losses = []
            for model in (eager, compiled):
                torch.manual_seed(step)
                losses.append(F.cross_entropy(model(x), y))
            assert torch.allclose(*losses, atol=1e-5)
            for value in losses:
                value.backward()
    for one, two in zip(eager.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(one.grad, two.grad, atol=1e-4)


def test_clipping_reaches_masked_weights_and_refuses_normed_ones():
    x = torch.randn(8, 16)
    model = net()
    nn.utils.prune.l1_unstructured(model[0], "weight", 0.5)
    recipe = Recipe(clip=1.0)
    analog = recipe.prepare(model, CONVERTED)
    limit = float(analog[0].weight_orig.std())
    recipe.after_step(analog)
    assert float(analog[0].weight_orig.abs().max()) == pytest.approx(limit)
    analog(x)
    nn.utils.parametrizations.weight_norm(model[2])
    with pytest.raises(ValueError, match="clip: weight of 2"):
        recipe.prepare(model, CONVERTED)
    Recipe().prepare(model, CONVERTED)
