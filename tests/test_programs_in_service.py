"""What users do with a model: loops, averages, checkpoints, dtypes, limits, against plain torch."""

import copy
import io
import subprocess
import sys
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import mho
from mho.effects import PowerLawDrift
from mho.train import InputRangeRule, fit, recipes
from programs import IDEAL, NOISY, USUAL, Language, alike, apart, mlp

pytestmark = pytest.mark.filterwarnings("ignore:left digital")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_averaged_weights_are_programmed():
    """An exponential moving average is a copy with weights of its own."""
    x, analog = torch.randn(64, 20), mho.convert(mlp(), NOISY).train()
    average = AveragedModel(analog, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    optimizer = torch.optim.AdamW(analog.parameters(), lr=1e-2)
    expected = copy.deepcopy(analog[0].weight.data)
    for step in range(4):
        optimizer.zero_grad()
        analog(x).square().mean().backward()
        nn.utils.clip_grad_norm_(analog.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(analog)
        now = analog[0].weight.data
        expected = now.clone() if step == 0 else 0.5 * expected + 0.5 * now
    alike(average.module[0].weight.data, expected)
    mho.program(average)
    plain = mlp()
    plain.load_state_dict({k: average.module.get_parameter(k).data for k in plain.state_dict()})
    assert apart(average.eval()(x), plain(x)) < 0.2


def test_best_state_comes_back():
    """Early stopping: weights, cells and what is read, bit by bit, here and in a pickle."""
    x, analog = torch.randn(16, 20), mho.convert(mlp(), NOISY)
    best = copy.deepcopy(analog.state_dict())
    analog.train()(x).sum().backward()
    torch.optim.SGD(analog.parameters(), 0.1).step()
    mho.program(analog)
    analog.load_state_dict(best)
    file = io.BytesIO()
    torch.save(analog, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    assert torch.equal(analog.eval()(x), again.eval()(x))
    for name, value in analog.state_dict().items():
        if torch.is_tensor(value) and value.is_floating_point():
            assert torch.allclose(value, best[name], 0, 0, equal_nan=True), name


def test_optimizer_keeps_its_parameters():
    """Whatever happens to the chip, the Parameters that an optimizer holds are those read."""
    analog, x = mho.convert(mlp(), NOISY), torch.randn(8, 20)
    held = list(analog.parameters())
    acts = (
        mho.program,
        partial(mho.fabricate, seed=3),
        partial(mho.calibrate, inputs=x),
        partial(mho.age, seconds=10.0),
        lambda m: m.load_state_dict(m.state_dict()),
        lambda m: m.train().eval(),
        lambda m: m.double().float(),
    )
    for act in acts:
        act(analog)
        assert all(p is q for p, q in zip(analog.parameters(), held, strict=True))
    names = {n for n, _ in analog.named_parameters()}
    assert names == {n for n, _ in mlp().named_parameters()}


def test_weights_tied_by_hand_after_convert():
    model, tokens = Language(), torch.randint(30, (4,))
    analog = mho.convert(model, IDEAL).eval()
    for net in (model, analog):
        net.head.weight = net.table.weight
    with pytest.warns(UserWarning, match="has changed since it was programmed"):
        analog(tokens)
    mho.program(analog)
    alike(analog(tokens), model(tokens))
    for net in (model, analog.train()):
        net(tokens).square().sum().backward()
    alike(analog.table.weight.grad, model.table.weight.grad, 1e-4)


def test_pruned_normed_and_frozen():
    model, x = mlp(), torch.randn(8, 20)
    prune.l1_unstructured(model[0], "weight", 0.5)
    analog = mho.convert(model, IDEAL)
    alike(analog.eval()(x), model(x))
    for net in (model, analog):
        prune.remove(net[0], "weight")
        parametrizations.weight_norm(net[2])
        net[0].weight.requires_grad_(False)
    alike(analog.train()(x), model(x))
    for net in (model, analog):
        net(x).square().sum().backward()
    assert analog[0].weight.grad is None
    for found, expected in zip(analog[2].parameters(), model[2].parameters(), strict=True):
        alike(found.grad, expected.grad, 1e-4)
    mho.program(analog)
    alike(analog.eval()(x), model(x))
    alike(mho.collapse(analog)(x), model(x))


ELSEWHERE = """
import sys, torch, mho
from torch import nn
from mho.effects import ReadNoise, WriteNoise
hardware = mho.Hardware(dac=mho.DAC(8), adc=mho.ADC(8), effects=(WriteNoise(0.02), ReadNoise(0.01)))
plain = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
analog = mho.convert(plain, hardware, program=False, seed=9)
saved = torch.load(sys.argv[1], weights_only=True)
analog.load_state_dict(saved["model"])
assert torch.equal(analog.eval()(saved["x"]), saved["y"])
"""


def test_trained_without_cells_then_elsewhere(tmp_path):
    analog, x = mho.convert(mlp(), NOISY, program=False).train(), torch.randn(64, 20)
    optimizer = torch.optim.SGD(analog.parameters(), 0.1)
    first = analog(x).square().mean().item()
    for _ in range(5):
        optimizer.zero_grad()
        analog(x).square().mean().backward()
        optimizer.step()
    assert analog(x).square().mean().item() < first
    with pytest.raises(ValueError, match=r"mho\.program"):
        analog.eval()(x)
    mho.program(analog)
    mho.calibrate(analog, x)
    state = copy.deepcopy(analog.state_dict())
    torch.save({"model": state, "x": x, "y": analog(x).detach()}, tmp_path / "chip.pt")
    subprocess.run([sys.executable, "-c", ELSEWHERE, tmp_path / "chip.pt"], check=True, timeout=120)


def test_from_the_meta_device():
    with torch.device("meta"):
        empty = mlp()
    analog, weights, x = mho.convert(empty, IDEAL), mlp(), torch.randn(3, 20)
    analog.load_state_dict(weights.state_dict(), assign=True)
    mho.program(analog)
    alike(analog.eval()(x), weights(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    """Every kind of layer gives the model's dtype; ideal ones what torch's half gives."""
    layers = (
        (nn.Linear(8, 4), [(3, 8)]),
        (nn.Conv2d(2, 3, 3), [(2, 2, 6, 6)]),
        (nn.ConvTranspose2d(2, 3, 2), [(2, 2, 4, 4)]),
        (nn.Bilinear(4, 5, 3), [(3, 4), (3, 5)]),
        (nn.LSTM(4, 6), [(5, 2, 4)]),
        (nn.MultiheadAttention(8, 2, batch_first=True), [(2, 3, 8)] * 3),
    )
    for layer, shapes in layers:
        layer = layer.to(dtype)
        given = [torch.randn(s).to(dtype) for s in shapes]
        expected = layer(*given)
        expected = expected[0] if isinstance(expected, tuple) else expected
        for hardware in (IDEAL, NOISY, USUAL):
            for training in (False, True):
                found = mho.convert(layer, hardware).train(training)(*given)
                found = found[0] if isinstance(found, tuple) else found
                assert (found.dtype, found.shape) == (dtype, expected.shape)
                assert found.isfinite().all()
                if hardware is IDEAL:
                    alike(found, expected, 0.02)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_loop(dtype):
    analog, x = mho.convert(mlp(), NOISY).train(), torch.randn(32, 20)
    scaler = torch.amp.GradScaler("cpu", enabled=dtype == torch.float16)
    optimizer = torch.optim.SGD(analog.parameters(), 0.1)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=dtype):
            y = analog(x)
        assert y.dtype == dtype
        losses.append(loss := y.float().square().mean())
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    assert analog[0].weight.grad.dtype == torch.float32
    assert losses[-1] < losses[0]


def test_memory_limit_changes_no_result():
    model = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3))
    x = torch.randn(3, 4, 12, 12)
    analog = mho.convert(model, USUAL)
    mho.calibrate(analog, x)
    runs = []
    for limit in (10**9, 10**5):
        mho.limit_memory(analog, limit)
        given = x.clone().requires_grad_()
        trained = analog.train()(given)
        trained.square().sum().backward()
        runs.append((analog.eval()(x), trained, given.grad))
    for found, expected in zip(*runs, strict=True):
        alike(found, expected)
    assert apart(runs[0][0], model(x)) < 0.05


def test_estimate_before_seven_billion_weights():
    class Feed(nn.Module):
        def __init__(self, width=4096, inner=11008):
            super().__init__()
            self.gate, self.up = (nn.Linear(width, inner, bias=False) for _ in range(2))
            self.down = nn.Linear(inner, width, bias=False)

        def forward(self, x):
            return x + self.down(F.silu(self.gate(x)) * self.up(x))

    with torch.device("meta"):
        model = nn.Sequential(*(Feed() for _ in range(52))).to(torch.bfloat16)
    x = torch.empty(2, 4096, dtype=torch.bfloat16, device="meta")
    estimate = mho.estimate(model, NOISY, x)
    assert estimate.tiles == 52 * 3 * 2 * (4096 // 128) * (11008 // 128)
    assert estimate.converted >= 2 * 4 * 52 * 3 * 4096 * 11008
    analog = mho.convert(model, NOISY)
    with pytest.raises(ValueError, match="meta device"):
        mho.program(analog)


def test_recipe_in_fit_with_a_teacher(tmp_path):
    recipe = recipes.named("analog_foundation_model")
    recipe = recipe.replace(ranges=InputRangeRule(batches=2, deviations=4.0))
    recipe.save(tmp_path / "recipe.yaml")
    recipe = type(recipe).load(tmp_path / "recipe.yaml")
    teacher, x = mlp(), torch.rand(256, 20)
    student = mlp()
    student.load_state_dict(teacher.state_dict())
    student = recipe.prepare(student, recipe.hardware(mho.Hardware(device=mho.devices.PCM())))
    optimizer = recipe.optimizer(student.parameters(), lr=1e-3)
    target = torch.zeros(256, dtype=torch.long)
    fit(
        student,
        optimizer,
        (x, target),
        recipe.loss,
        epochs=2,
        teacher=teacher,
        after_step=recipe.after_step,
    )
    recipe.finish(student)
    assert all((c.input_range > 0).all() for c in mho.crossbars(student).values())
    assert apart(student.eval()(x), teacher(x)) < 0.2


def test_a_batch_of_none():
    layers = (
        (nn.Linear(4, 3), (0, 4)),
        (nn.Conv2d(2, 3, 3), (0, 2, 5, 5)),
        (nn.ConvTranspose2d(2, 3, 3), (0, 2, 5, 5)),
        (nn.LSTM(4, 3, batch_first=True), (0, 5, 4)),
    )
    for layer, shape in layers:
        expected = layer(torch.randn(shape))
        expected = expected[0] if isinstance(expected, tuple) else expected
        for hardware in (IDEAL, NOISY, USUAL):
            for training in (False, True):
                found = mho.convert(layer, hardware).train(training)(torch.randn(shape))
                found = found[0] if isinstance(found, tuple) else found
                assert found.shape == expected.shape


def test_one_broken_sample_spoils_only_itself():
    layers = (
        (nn.Linear(8, 4), (3, 8)),
        (nn.Conv2d(2, 3, 3), (3, 2, 6, 6)),
        (nn.ConvTranspose2d(2, 3, 2), (3, 2, 6, 6)),
    )
    for layer, shape in layers:
        for hardware in (IDEAL, NOISY, USUAL):
            x, analog = torch.randn(shape), mho.convert(layer, hardware).eval()
            mho.calibrate(analog, x)
            for broken in (float("nan"), float("inf")):
                x[0] = broken
                assert analog(x)[1:].isfinite().all()


def test_outputs_may_be_changed_in_place():
    """``nn.ReLU(inplace=True)`` and ``y += 1`` harm neither gradients nor later reads."""
    for layer, shape in ((nn.Linear(4, 3), (2, 4)), (nn.Conv2d(2, 3, 3), (2, 2, 5, 5))):
        for hardware in (IDEAL, USUAL):
            analog = mho.convert(layer, hardware)
            for training in (False, True):
                x = torch.randn(shape, requires_grad=True)
                expected = analog.train(training)(x).relu().sum()
                wanted = torch.autograd.grad(expected, x)[0]
                y = analog(x)
                found = torch.autograd.grad(y.relu_().sum(), x)[0]
                alike(found, wanted)
                with torch.no_grad():
                    analog(x).add_(1.0)
                    assert torch.equal(analog(x).relu().sum(), expected)


def test_life_under_inference_mode():
    """A chip made, read, aged under inference mode is trained afterwards."""
    for hardware in (IDEAL, NOISY, USUAL):
        x = torch.randn(4, 20)
        with torch.inference_mode():
            analog = mho.convert(mlp(), hardware).eval()
            analog(x)
            mho.age(analog, seconds=10.0)
        mho.program(analog)
        given = x.clone().requires_grad_()
        analog(given).sum().backward()
        assert given.grad.abs().sum() > 0
        copy.deepcopy(analog).train()(x).sum().backward()


def test_a_year_in_float16_cells():
    hardware = mho.Hardware(effects=(PowerLawDrift(nu=0.06, t0=1.0),))
    model, x = nn.Linear(32, 16), torch.randn(8, 32)
    analog = mho.convert(model, hardware, cells_dtype=torch.float16).eval()
    exact = mho.convert(model, hardware).eval()
    for seconds in (1.0, 3600.0, 86_400.0, 3e7):
        mho.age(analog, seconds=seconds)
        mho.age(exact, seconds=seconds)
    assert apart(exact(x), model(x)) > 0.5
    assert apart(analog(x), exact(x)) < 1e-3
