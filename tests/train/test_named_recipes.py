"""Published recipes: one training step is that of their equations, written again in plain torch."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import mho
from mho import ADC, DAC, Hardware
from mho.crossbar.training import NoiseInjection
from mho.devices import PCM, LinearDevice
from mho.effects import ReadNoise, WriteNoise
from mho.train import InputRangeRule, Recipe, distillation_loss, fit, recipes

AFM = recipes.ANALOG_FOUNDATION_MODEL
SIGMAS = 4.0


def seeded(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def net(dtype=torch.float64):
    torch.manual_seed(0)
    sizes = nn.Linear(12, 20), nn.Tanh(), nn.Linear(20, 5)
    return nn.Sequential(*sizes).to(dtype)


def bars(model):
    return list(mho.crossbars(model).values())


def on(recipe, device=None, **parts):
    return recipe.hardware(Hardware(device=device or PCM(), **parts))


# ── the equations of analog foundation models, by themselves ─────────────────────────────────


class Quantised(torch.autograd.Function):
    """Rounding to a step and clipping to a bound; straight through, none where clipped."""

    @staticmethod
    def forward(ctx, y, bound, steps):
        ctx.save_for_backward(y, bound)
        step = 2 * bound / steps
        return torch.minimum(torch.maximum(torch.round(y / step) * step, -bound), bound)

    @staticmethod
    def backward(ctx, g):
        y, bound = ctx.saved_tensors
        return g * (y.abs() <= bound), None, None


class Clamped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, r):
        ctx.save_for_backward(x, r)
        return torch.minimum(torch.maximum(x, -r), r)

    @staticmethod
    def backward(ctx, g):
        x, r = ctx.saved_tensors
        up, down = 0.0, 0.0
        for value, slope in zip(x.flatten().tolist(), g.flatten().tolist(), strict=True):
            up += min(slope, 0.0) if value >= float(r) else 0.0
            down += max(slope, 0.0) if value <= -float(r) else 0.0
        inside = float((x.abs() < r).double().mean())
        moved = r * (up - down) + (0.01 * r if inside > 0.95 else 0.0)
        return g * (x.abs() <= r), moved


class Plain(nn.Module):
    """One layer of the recipe: clamp, quantise, noisy product, quantise."""

    def __init__(self, layer, limit, bound):
        super().__init__()
        self.weight = nn.Parameter(layer.weight.detach().clone())
        self.bias = nn.Parameter(layer.bias.detach().clone())
        self.r = nn.Parameter(torch.tensor(float(limit), dtype=self.weight.dtype))
        self.bound = bound

    def forward(self, x):
        r = self.r.detach()
        driven = Quantised.apply(Clamped.apply(x, self.r), r, 254)
        largest = self.weight.detach().abs().amax(1, keepdim=True)
        noise = 0.03 * largest * torch.randn(self.weight.shape, dtype=x.dtype)
        y = driven @ (self.weight + noise).T
        return Quantised.apply(y, self.bound * r * largest.T, 254) + self.bias

    @torch.no_grad()
    def clip(self):
        for row in self.weight:
            row.clamp_(-2.5 * row.std(), 2.5 * row.std())


@pytest.mark.parametrize("narrow", [0.6, 3.0])  # inputs and outputs that are clipped, or few
@pytest.mark.parametrize("device", [PCM(), LinearDevice(1e-6, 1e-4)])
def test_one_step_is_that_of_the_equations(narrow, device):
    recipe = AFM.replace(
        periphery=AFM.periphery.replace(adc_bound=1.5),
        ranges=InputRangeRule(batches=1, deviations=narrow),
        optimisation=AFM.optimisation.replace(lr=1e-2),
    )
    teacher, x = net(), seeded(40, 12, seed=3)
    analog = recipe.prepare(teacher, on(recipe, device))
    analog(x)  # the first batch: ranges are there
    limits = [float(c.learned_range.detach()) for c in bars(analog)]
    assert limits[0] == pytest.approx(narrow * float(x.std()), rel=1e-12)
    plain = nn.Sequential(
        Plain(teacher[0], limits[0], 1.5), nn.Tanh(), Plain(teacher[2], limits[1], 1.5)
    )
    x = seeded(40, 12, seed=4)
    with torch.no_grad():
        taught = teacher(x) + seeded(40, 5, seed=5)
    optimizer = recipe.optimizer(analog.parameters())
    other = torch.optim.AdamW(
        plain.parameters(), lr=1e-2, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01
    )
    torch.manual_seed(7)
    loss = recipe.loss(analog(x), None, taught)
    torch.manual_seed(7)
    outputs = plain(x)
    p, q = taught.softmax(-1), outputs.softmax(-1)
    expected = (p * (p / q).log()).sum(-1).mean()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-9)
    loss.backward(), expected.backward()
    pairs = list(zip((analog[0], analog[2]), (plain[0], plain[2]), strict=True))
    for layer, one in pairs:
        assert torch.allclose(layer.weight.grad, one.weight.grad, rtol=1e-6, atol=1e-12)
        assert torch.allclose(layer.bias.grad, one.bias.grad, rtol=1e-6, atol=1e-12)
        found = float(layer.crossbar.learned_range.grad)
        assert found == pytest.approx(float(one.r.grad), rel=1e-6)
    recipe.optimisation.clip_gradients(analog)
    torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
    optimizer.step(), other.step()
    recipe.after_step(analog), plain[0].clip(), plain[2].clip()
    for layer, one in pairs:
        assert torch.allclose(layer.weight, one.weight, rtol=1e-6, atol=1e-9)
        found = float(layer.crossbar.learned_range.detach())
        assert found == pytest.approx(float(one.r.detach()), rel=1e-6)


def test_an_eval_read_is_of_the_chip_within_the_learned_range():
    recipe = AFM.replace(ranges=InputRangeRule(batches=2, deviations=1.0))
    ideal = LinearDevice(0.0, 1e-4)
    analog = recipe.prepare(net(), on(recipe, ideal))
    analog(seeded(30, 12))
    r = float(analog[0].crossbar.learned_range.detach())
    recipe.finish(analog)
    weight = analog[0].weight.detach()
    x = seeded(9, 12, seed=2) * 3
    step = r / 127
    driven = (x / step).round().clamp(-127, 127) * step
    bound = 14 * r * weight.abs().amax(1)
    y = (driven @ weight.T / (bound / 127)).round().clamp(-127, 127) * (bound / 127)
    assert torch.allclose(analog[0](x), y + analog[0].bias, atol=1e-9)


# ── the range: how it starts, and what it survives ───────────────────────────────────────────


def started(batches=3, **changes):
    recipe = AFM.replace(ranges=InputRangeRule(batches=batches, deviations=2.0), **changes)
    return recipe, recipe.prepare(net(), on(recipe))


def test_the_range_starts_as_the_mean_of_the_first_batches():
    _, analog = started()
    parts = [seeded(20, 12, seed=s) * (s + 1) for s in range(5)]
    for part in parts:
        analog(part)
    expected = sum(2 * float(p.std()) for p in parts[:3]) / 3
    crossbar = analog[0].crossbar
    assert float(crossbar.learned_range.detach()) == pytest.approx(expected, rel=1e-12)
    assert int(crossbar.range_batches) == 3
    analog.eval()(parts[0])
    assert float(crossbar.learned_range.detach()) == pytest.approx(expected, rel=1e-12)


def test_batches_that_say_nothing_do_not_count():
    _, analog = started()
    for x in (torch.zeros(4, 12), torch.ones(4, 12), torch.zeros(0, 12)):
        assert analog[0](x.double()).isfinite().all()
    assert int(analog[0].crossbar.range_batches) == 0
    assert analog[0](seeded(4, 12)).isfinite().all()
    assert int(analog[0].crossbar.range_batches) == 1


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_counts_a_batch_once(reentrant):
    _, analog = started()
    twin = copy.deepcopy(analog)
    x = seeded(20, 12).requires_grad_()
    torch.manual_seed(1)
    checkpoint(analog, x, use_reentrant=reentrant).square().sum().backward()
    torch.manual_seed(1)
    twin(x.detach()).square().sum().backward()
    for one, two in zip(bars(analog), bars(twin), strict=True):
        assert int(one.range_batches) == int(two.range_batches) == 1
        assert torch.equal(one.learned_range, two.learned_range)
        assert torch.allclose(one.learned_range.grad, two.learned_range.grad)


def test_a_layer_used_twice_learns_one_range():
    _, analog = started()
    loss = sum(analog[0](seeded(8, 12, seed=s) * (1 + s)).sum() for s in range(2))
    loss.backward()
    assert int(analog[0].crossbar.range_batches) == 2
    assert analog[0].crossbar.learned_range.grad.isfinite().all()


def test_ranges_survive_finish_saving_copies_and_conversion():
    recipe, analog = started()
    analog(seeded(20, 12))
    limits = [float(c.learned_range.detach()) for c in bars(analog)]

    def ranges(model):
        return [float(c.correction.input_range) for c in bars(model)]

    assert ranges(analog) == limits == ranges(copy.deepcopy(analog))
    resumed = recipe.prepare(net(), on(recipe), seed=5)
    resumed.load_state_dict(analog.state_dict())
    assert ranges(resumed) == limits
    assert int(resumed[0].crossbar.range_batches) == 1
    state = analog.state_dict()
    fresh = mho.convert(net(), on(recipe))
    fresh.load_state_dict(state)  # where nothing is learned
    assert ranges(fresh) == limits
    recipe.finish(analog)
    assert not any("learned_range" in name for name, _ in analog.named_parameters())
    assert ranges(analog) == limits
    resumed = recipe.prepare(net(), on(recipe), seed=5)
    resumed.load_state_dict(analog.state_dict())  # of a finished model: no batches are left
    assert ranges(resumed) == limits
    resumed(seeded(20, 12, seed=9))
    assert ranges(resumed) == limits
    again = recipe.prepare(analog, on(recipe))
    assert ranges(again) == limits
    assert ranges(mho.convert(analog, on(recipe, LinearDevice()))) == limits
    other = mho.convert(analog, on(recipe).replace(dac=DAC(bits=6)))
    assert all(math.isnan(r) for r in ranges(other))  # of other drivers it says nothing


def test_calibration_takes_the_place_of_the_first_batches():
    recipe, _ = started()
    analog = recipe.prepare(net(), on(recipe), seeded(50, 12))
    before = [float(c.correction.input_range) for c in bars(analog)]
    assert all(r > 0 for r in before)
    analog(seeded(20, 12, seed=3) * 9)
    assert [float(c.correction.input_range) for c in bars(analog)] == before
    mho.calibrate(analog.eval(), 2 * seeded(50, 12), correct=False)
    after = [float(c.learned_range.detach()) for c in bars(analog)]
    assert after[0] > 1.5 * before[0]


def test_one_way_of_learning_ends_where_the_other_begins():
    recipe, _ = started()
    hardware = on(recipe).replace(adc=ADC(bits=8))
    analog = mho.convert(net(), hardware)
    mho.calibrate(analog, seeded(50, 12), correct=False)
    crossbar = analog[0].crossbar
    before = crossbar.input_range.clone()
    crossbar.learn_ranges()
    with torch.no_grad():
        crossbar.range_shift += 0.5
    crossbar.learn_ranges(InputRangeRule())
    assert crossbar.range_shift is None
    assert torch.allclose(crossbar.learned_range, before * math.exp(0.5))
    crossbar.learn_ranges()
    assert crossbar.learned_range is None
    assert torch.allclose(crossbar.correction.input_range, before * math.exp(0.5))


def test_an_error_leaves_what_is_learned_as_it_was():
    _, analog = started()
    analog(seeded(20, 12))
    crossbar = analog[0].crossbar
    before = crossbar.learned_range.detach().clone()
    with pytest.raises(ValueError, match="finite"):
        mho.calibrate(analog, torch.full((4, 12), math.nan, dtype=torch.float64))
    assert analog[0].crossbar.learned_range.equal(before)
    assert int(crossbar.range_batches) == 1


def test_convolutions_and_recurrent_layers_learn_ranges():
    recipe, _ = started()
    torch.manual_seed(0)
    for model, x in (
        (nn.Conv2d(4, 6, 3, padding=1, groups=2), seeded(3, 4, 7, 7)),
        (nn.Conv1d(3, 2, 5), seeded(3, 3, 9)),
    ):
        analog = recipe.prepare(model.double(), on(recipe))
        analog(x).square().sum().backward()
        crossbar = bars(analog)[0]
        assert float(crossbar.learned_range.grad) != 0.0
        recipe.after_step(analog)
        kernel = analog.weight.detach().flatten(1)
        assert (kernel.abs().amax(1) <= 2.6 * kernel.std(1)).all()
        assert recipe.finish(analog)
    lstm = recipe.prepare(nn.LSTM(3, 4).double(), on(recipe))
    lstm(seeded(6, 2, 3))[0].sum().backward()
    assert [int(c.range_batches) for c in bars(lstm)] == [1, 3]  # of the hidden state, each step


def test_gradients_by_torch_func_are_those_of_backward():
    _, analog = started(1)
    x = seeded(20, 12)
    analog(x)
    parameters = dict(analog.named_parameters())

    def loss(values):
        torch.manual_seed(3)
        return torch.func.functional_call(analog, values, (x,)).square().sum()

    found = torch.func.grad(loss)(parameters)
    loss(parameters).backward()
    for name, parameter in parameters.items():
        assert torch.allclose(found[name], parameter.grad), name


# ── weight noise, perfect cells ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("of", ["column", "matrix"])
@pytest.mark.parametrize("perfect", [True, False])
def test_weight_noise_is_relative_to_the_largest_weight(of, perfect):
    practice = NoiseInjection(weight_noise=0.05, weight_noise_of=of, perfect_cells=perfect)
    hardware = Hardware(device=LinearDevice(0.0, 1e-4))
    crossbar = mho.Crossbar(40, 3, hardware, dtype=torch.float64)
    crossbar.inject_noise(practice)
    weight = seeded(40, 3) * torch.tensor([1.0, 5.0, 0.1])
    eye = torch.eye(40, dtype=torch.float64)
    error = torch.stack([crossbar.read_through(eye, weight) - weight for _ in range(200)])
    largest = weight.abs().amax(0) if of == "column" else weight.abs().amax().expand(3)
    ratio = error.std((0, 1)) / (0.05 * largest)
    assert (ratio - 1).abs().max() < SIGMAS / math.sqrt(2 * 40 * 200)


def test_perfect_cells_see_nothing_of_the_cells():
    x, weight = seeded(5, 40), seeded(40, 6)
    hardware = Hardware(device=PCM(), effects=(WriteNoise(0.1), ReadNoise(0.1)))
    crossbar = mho.Crossbar(40, 6, hardware, dtype=torch.float64)
    crossbar.inject_noise(NoiseInjection(perfect_cells=True))
    assert torch.allclose(crossbar.read_through(x, weight), x @ weight)
    wires = mho.Array(64, 64, wires=mho.circuit.Wires(word=20.0, bit=20.0))
    device = LinearDevice(1e-6, 1e-4)
    seen = []
    for kind in (hardware.replace(array=wires, device=device), Hardware(device, array=wires)):
        crossbar = mho.Crossbar(40, 6, kind, dtype=torch.float64)
        crossbar.inject_noise(NoiseInjection(perfect_cells=True))
        seen.append(crossbar.read_through(x, weight))
    assert torch.allclose(*seen)  # wires stay
    assert not torch.allclose(seen[0], x @ weight, rtol=1e-3)


# ── recipes as data ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_recipes_are_found_saved_trained_and_finished(name, tmp_path):
    recipe = recipes.named(name)
    assert any(word in recipe.source for word in ("doi", "arXiv"))
    recipe.save(tmp_path / "recipe.yaml")
    assert Recipe.load(tmp_path / "recipe.yaml") == recipe
    teacher, x, y = net(torch.float32), seeded(64, 12, dtype=torch.float32), torch.arange(64) % 5
    analog = recipe.prepare(teacher, on(recipe), x if recipe.ranges == "learned" else None)
    optimizer = torch.optim.AdamW(analog.parameters(), lr=1e-2)
    fit(analog, optimizer, (x, y), F.cross_entropy, epochs=2, after_step=recipe.after_step)
    recipe.finish(analog)
    assert analog(x).isfinite().all()


def test_the_adcs_of_a_recipe_have_one_full_scale_in_units_of_a_full_input():
    hardware = AFM.hardware(Hardware(device=LinearDevice(1e-6, 51e-6), dac=DAC(v_max=0.1)))
    assert hardware.adc.range == pytest.approx(14 * 0.1 * 50e-6)
    assert hardware.encoding.scaling.per_column
    noisy = recipes.RASCH_2023.hardware(Hardware(device=LinearDevice(0.0, 1e-4)))
    assert noisy.amplifier.noise == pytest.approx(0.04 * 0.2 * 1e-4)
    assert noisy.array.rows == 512


def test_the_schedule_warms_up_and_falls_to_nothing():
    optimizer = AFM.optimizer([nn.Parameter(torch.zeros(2))], lr=1.0)
    group = optimizer.param_groups[0]
    assert group["betas"] == (0.9, 0.98)
    assert (group["eps"], group["weight_decay"]) == (1e-6, 0.01)
    schedule = AFM.schedule(optimizer, 1000)
    rates = []
    for _ in range(1000):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step(), schedule.step()
    assert rates[0] == 0.0
    assert rates[8] == pytest.approx(0.5)
    assert max(rates) == rates[16] == 1.0
    assert rates[508] == pytest.approx(0.5)
    assert schedule.get_last_lr()[0] == 0.0


def test_the_distillation_loss_is_its_formula():
    student, teacher = seeded(3, 4, 7), seeded(3, 4, 7, seed=1)
    targets = torch.randint(7, (3, 4))
    total = 0.0
    for i in range(3):
        for j in range(4):
            p = (teacher[i, j] / 2).exp() / (teacher[i, j] / 2).exp().sum()
            q = (student[i, j] / 2).exp() / (student[i, j] / 2).exp().sum()
            hard = student[i, j].exp() / student[i, j].exp().sum()
            kl = (p * (p.log() - q.log())).sum()
            total += (0.7 * 4 * kl - 0.3 * hard[targets[i, j]].log()) / 12
    found = distillation_loss(student, teacher, targets, temperature=2.0, beta=0.7)
    assert float(found) == pytest.approx(float(total), rel=1e-9)
    assert float(distillation_loss(student, student)) == pytest.approx(0.0, abs=1e-12)
    half = distillation_loss(student.half(), teacher.half())
    assert half.dtype == torch.float32
    ends = torch.tensor([[0.0, -math.inf]])
    assert float(distillation_loss(torch.zeros(1, 2), ends)) == pytest.approx(math.log(2))


def test_fit_distils_from_a_teacher():
    teacher, x = net(), seeded(96, 12)
    recipe = AFM.replace(ranges=InputRangeRule(batches=2, deviations=4.0))
    student = recipe.prepare(net(), on(recipe))
    with torch.no_grad():
        student[2].weight.mul_(0.2)
    history = fit(
        student,
        recipe.optimizer(student.parameters(), lr=5e-3),
        (x, torch.zeros(96, dtype=torch.long)),
        recipe.loss,
        epochs=12,
        batch=32,
        after_step=recipe.after_step,
        before_step=recipe.optimisation.clip_gradients,
        teacher=teacher.train(),
    )
    assert not teacher.training
    assert all(p.grad is None for p in teacher.parameters())
    assert history.loss[-1] < 0.5 * history.loss[0]


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: InputRangeRule(batches=-1), ValueError, "batches"),
        (lambda: InputRangeRule(deviations=0.0), ValueError, "deviations"),
        (lambda: InputRangeRule(decay=-1.0), ValueError, "decay"),
        (lambda: InputRangeRule(unclipped=1.5), ValueError, "unclipped"),
        (lambda: NoiseInjection(weight_noise=-0.1), ValueError, "weight_noise"),
        (
            lambda: NoiseInjection(weight_noise=0.1, weight_noise_of="row"),
            ValueError,
            "weight_noise_of",
        ),
        (lambda: NoiseInjection(weight_noise_of="matrix"), ValueError, "without weight_noise"),
        (lambda: NoiseInjection(perfect_cells=True, noise=2.0), ValueError, "noise=2.0 would"),
        (lambda: NoiseInjection(perfect_cells=True, own_cells=True), ValueError, "own_cells"),
        (lambda: Recipe(clip_of="column"), ValueError, "without clip"),
        (lambda: Recipe(clip=1.0, clip_of="row"), ValueError, "clip_of"),
        (lambda: Recipe(periphery=DAC()), TypeError, "periphery"),
        (lambda: Recipe().optimizer([]), ValueError, "says no optimisation"),
        (lambda: Recipe().loss(seeded(2), None, seeded(2)), ValueError, "says no distillation"),
        (lambda: recipes.named("afm"), ValueError, "analog_foundation_model"),
        (lambda: AFM.prepare(net(), Hardware()), ValueError, "no range to learn"),
        (lambda: AFM.prepare(net(), on(AFM, bias="array")), ValueError, "bias='digital'"),
        (
            lambda: AFM.replace(ranges=InputRangeRule(0)).prepare(net(), on(AFM)),
            ValueError,
            "calibrate first",
        ),
        (
            lambda: AFM.prepare(net(), on(AFM, encoding=mho.encoding.BitSliced(bits=4))),
            ValueError,
            "one converter for each output",
        ),
        (lambda: distillation_loss(seeded(2, 3), seeded(2, 4)), ValueError, "teacher"),
        (lambda: distillation_loss(seeded(3), seeded(3), beta=0.5), ValueError, "needs targets"),
        (lambda: distillation_loss(seeded(3), seeded(3), temperature=0.0), ValueError, "temper"),
        (lambda: mho.Crossbar(2, 2, Hardware()).learn_ranges("yes"), TypeError, "learned"),
    ],
)
def test_what_would_not_act_is_refused(make, kind, text):
    with pytest.raises(kind, match=text):
        make()


def test_on_a_chip_the_cells_are_perfect_in_training_and_the_chips_own_after_it():
    recipe, _ = started()
    hardware = on(recipe, LinearDevice(1e-6, 1e-4), effects=(mho.effects.StuckAt(low=0.2),))
    analog = recipe.prepare(net(), hardware)
    chip = mho.chip.Chip(200, 200, hardware, seed=3, dtype=torch.float64)
    chip.place(analog)
    x, other = seeded(20, 12), started()[1]
    seen = []
    for model in (analog, other):  # no device, no stuck cell tells them apart
        torch.manual_seed(1)
        seen.append(model[0](x))
    torch.testing.assert_close(*seen)
    recipe.finish(analog)
    assert analog[0].crossbar.on_chip
    assert int(analog[0].crossbar.stuck.sum()) > 0


def grown(make):
    torch.manual_seed(0)
    model = make().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + torch.arange(len(parameter)).view(-1, *[1] * (parameter.dim() - 1)))
    return model


@pytest.mark.parametrize("bias", ["digital", "array"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(9, 6),
        lambda: nn.Conv2d(4, 6, 3, groups=2),
        lambda: nn.LSTM(5, 3, 2),
        lambda: nn.utils.prune.l1_unstructured(nn.Linear(9, 6), "weight", 0.3),
    ],
)
def test_every_output_is_clipped_by_its_own_deviation(make, bias):
    analog = Recipe(clip=1.2, clip_of="column").prepare(grown(make), Hardware(bias=bias))
    before = {name: p.detach().clone() for name, p in analog.named_parameters()}
    Recipe(clip=1.2, clip_of="column").after_step(analog)
    for name, parameter in analog.named_parameters():
        expected = before[name]
        if expected.dim() > 1:
            expected = torch.stack(
                [row.clamp(-1.2 * row.std(), 1.2 * row.std()) for row in expected]
            )
        assert torch.allclose(parameter, expected, rtol=1e-9), name
