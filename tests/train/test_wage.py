"""WAGE against tables worked by hand from the paper's formulas, and statistics."""

import math

import pytest
import torch
from torch import nn

import mho
from mho.core import random
from mho.core.spec import Spec
from mho.train.quantised import wage
from mho.train.quantised.scheme import quantise
from mho.train.quantised.wage import WAGE

SIGMAS = 5.0


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 4))


def batch(n=32):
    source = torch.Generator().manual_seed(1)
    return torch.rand(n, 24, generator=source), torch.randint(4, (n,), generator=source)


# ── the paper's operators ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("bits", "table"),
    [
        (1, {-0.3: -1.0, 0.0: 0.0, 0.01: 1.0}),
        # S = 2: halves.  0.25 · 2 = 0.5 goes to the even 0; 0.75 · 2 = 1.5 to 2.
        (2, {0.24: 0.0, 0.25: 0.0, 0.26: 0.5, 0.75: 1.0, -0.6: -0.5}),
        # S = 4: quarters.
        (3, {0.1: 0.0, 0.125: 0.0, 0.13: 0.25, 0.375: 0.5, -0.9: -1.0}),
        # S = 128.
        (8, {0.0039: 0.0, 0.004: 0.0078125, 0.5: 0.5, 0.997: 1.0}),
        (16, {0.123456: 0.123456}),
        (32, {0.123456: 0.123456}),
    ],
)
def test_q(bits, table):
    x = torch.tensor(list(table), dtype=torch.float64)
    assert wage.on_grid(x, bits).tolist() == list(table.values())


@pytest.mark.parametrize(
    ("bits", "top"), [(1, 1.0), (2, 0.5), (3, 0.75), (8, 127 / 128), (15, 1 - 2**-14), (16, 1.0)]
)
def test_c(bits, top):
    x = torch.tensor([-3.0, -0.1, 0.0, 0.4, 3.0]).double()
    assert wage.clip(x, bits).tolist() == pytest.approx([-top, -0.1, 0.0, 0.4, top])
    assert wage.limit(bits) == top


@pytest.mark.parametrize(
    ("rule", "table"),
    [
        # log2: -13.3 → -13, -1.03 → -1, 0, 0.4854 → 0, 0.5146 → 1, 1.585 → 2, 2.46 → 2, 2.58 → 3
        (
            "round",
            {
                1e-4: 2**-13,
                0.49: 0.5,
                1.0: 1.0,
                1.4: 1.0,
                1.4287: 2.0,
                3.0: 4.0,
                5.5: 4.0,
                6.0: 8.0,
            },
        ),
        (
            "ceil",
            {1e-4: 2**-13, 0.49: 0.5, 0.5: 0.5, 1.0: 1.0, 1.001: 2.0, 3.0: 4.0, 4.0: 4.0, 5.5: 8.0},
        ),
    ],
)
def test_shift(rule, table):
    assert wage.shift(torch.tensor(list(table)), rule).tolist() == list(table.values())


@pytest.mark.parametrize("rule", wage.SHIFTS)
def test_shift_is_the_formula_over_all_magnitudes(rule):
    x = torch.logspace(-37, 37, 5001, dtype=torch.float64)
    step = {"round": torch.round, "ceil": torch.ceil}[rule]
    expected = torch.exp2(step(torch.log2(x)))
    assert torch.equal(wage.shift(x, rule), expected)
    assert torch.equal(wage.shift(x.float(), rule).double(), expected)
    powers = torch.exp2(torch.arange(-126.0, 127.0))
    assert torch.equal(wage.shift(powers, rule), powers)


def test_shift_of_zero_is_one():
    assert wage.shift(torch.tensor([0.0, 1e-42])).tolist() == [1.0, 1.0]
    assert wage.shift(torch.tensor([0.0, 3.0], dtype=torch.bfloat16)).tolist() == [1.0, 4.0]


# ── the quantisers made of them ────────────────────────────────────────────────────────────────


def test_weights_by_hand():
    w = torch.tensor([-0.9, -0.3, -0.25, 0.1, 0.3, 0.7], requires_grad=True)
    ternary = wage.Scaled(2)(w)
    assert ternary.tolist() == [-0.5, -0.5, 0.0, 0.0, 0.5, 0.5]
    assert wage.Scaled(2, scale=8.0)(w).tolist() == (ternary / 8).tolist()
    assert wage.Scaled(2, scale=1.0)(w).tolist() == ternary.tolist()
    assert wage.Scaled(1)(w).tolist() == [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0]
    assert wage.Scaled(1, scale=2.0)(w).tolist() == [-0.5, -0.5, -0.5, 0.5, 0.5, 0.5]
    assert torch.equal(wage.Scaled(16, scale=4.0)(w), w / 4)
    wage.Scaled(2, scale=8.0)(w).sum().backward()
    assert w.grad.tolist() == [1.0] * 6  # also where clipped, and not scaled


def test_activations_by_hand():
    top = 127 / 128
    x = torch.tensor([-2.0, -top, 0.003, 0.004, 0.5, top, 0.9999, 2.0], requires_grad=True)
    y = wage.Clipped(8)(x)
    assert y.tolist() == [-top, -top, 0.0, 1 / 128, 0.5, top, top, top]
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    assert torch.equal(wage.Clipped(16)(x), x)


def test_errors_by_hand():
    # max |e| = 6e-3, log2 = -7.38: Shift is 2^-7 (round) or 2^-7 (ceil); 0.768, -0.384, 0.0128.
    e = torch.tensor([6e-3, -3e-3, 1e-4, 1e-5])
    expected = [98 / 128, -49 / 128, 2 / 128, 0.0]
    assert wage.Shifted(8)(e).tolist() == expected
    # max |e| = 5e-3, log2 = -7.64: 2^-8 clips (1.28), 2^-7 does not (0.64).
    e = torch.tensor([5e-3, -2e-3])
    assert wage.Shifted(8)(e).tolist() == [127 / 128, -66 / 128]
    assert wage.Shifted(8, shift="ceil")(e).tolist() == [82 / 128, -33 / 128]
    assert torch.equal(wage.Shifted(16)(e), e)
    # One bit: signs.
    assert wage.Shifted(1)(e).tolist() == [1.0, -1.0]


@pytest.mark.parametrize("number", [wage.Shifted(8), wage.Normalised(8), wage.Shifted(8, "ceil")])
def test_zeros_and_nothing_stay(number):
    assert number(torch.zeros(3)).tolist() == [0.0] * 3
    assert number(torch.zeros(0)).shape == (0,)


@pytest.mark.parametrize("shift", wage.SHIFTS)
@pytest.mark.parametrize("lr", [8.0, 1.0, 1 / 8])
def test_a_step_moves_weights_by_the_papers_distribution(shift, lr):
    n = 20_000
    g = torch.tensor([0.3, -0.11, 0.02, 0.0, -0.005]).expand(n, 5)
    weight = nn.Parameter(torch.zeros(n, 5))
    scheme = WAGE(2, 8, 8, 8, shift=shift)
    optimizer = scheme.optimizer(torch.optim.SGD([weight], lr=lr), seed=3)
    weight.grad = g.contiguous()
    optimizer.step()
    step = {"round": round, "ceil": math.ceil}[shift]
    x = g[0].double() / 2.0 ** step(math.log2(0.3))
    counted = -weight.detach().double() * 128  # steps of 1/S(8)
    assert torch.equal(counted, counted.round())
    assert ((counted - lr * x).abs() < 1).all()
    below = (lr * x).floor()
    error = ((lr * x - below) * (1 - lr * x + below) / n).sqrt()
    assert ((counted.mean(0) - lr * x).abs() <= SIGMAS * error + 1e-6).all()
    assert torch.allclose(counted.var(0), error**2 * n, atol=0.02)


@pytest.mark.parametrize(("clip", "top"), [("gradients", 127 / 128), ("weights", 0.5)])
def test_weights_as_kept_are_clipped(clip, top):
    weight = nn.Parameter(torch.tensor([0.98, -0.98, 0.1]))
    optimizer = WAGE(2, 8, 8, 8, clip=clip).optimizer(torch.optim.SGD([weight], lr=64.0))
    weight.grad = torch.tensor([-1.0, 1.0, 0.0])
    optimizer.step()
    assert weight.tolist() == pytest.approx([top, -top, 0.1])


def test_wide_gradients_are_plain_sgd():
    one, other = nn.Parameter(torch.tensor([0.5, -0.3])), nn.Parameter(torch.tensor([0.5, -0.3]))
    one.grad = torch.tensor([0.1, -3.0])
    other.grad = one.grad.clone()
    WAGE(2, 8, 32, 8).optimizer(torch.optim.SGD([one], lr=0.1)).step()
    torch.optim.SGD([other], lr=0.1).step()
    assert torch.equal(one, other)


# ── initialisation ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("shape", "bits", "spread", "scale"),
    [
        # L = √(6/784) = 0.08748, L_m = 0.75: log2(8.573) = 3.0998.
        ((512, 784), 2, 0.75, 8.0),
        # L = √(6/512) = 0.10825: log2(6.928) = 2.79.
        ((10, 512), 2, 0.75, 8.0),
        # L = √(6/27) = 0.4714: log2(1.591) = 0.67.
        ((128, 3, 3, 3), 2, 0.75, 2.0),
        # L = √(6/1152) = 0.07217: log2(10.39) = 3.377.
        ((128, 128, 3, 3), 2, 0.75, 8.0),
        # L = √(6/8192) = 0.02706: log2(27.7) = 4.79.
        ((1024, 8192), 2, 0.75, 32.0),
        # L = 1.2247 > L_m.
        ((3, 4), 2, 1.224745, 1.0),
        # L_m = 1.5/128 < L.
        ((512, 784), 8, 0.087482, 1.0),
        ((512, 784), 16, 0.087482, 1.0),
        # L_m = 1.5.
        ((512, 784), 1, 1.5, 16.0),
    ],
)
def test_initial_spread_and_scale_by_hand(shape, bits, spread, scale):
    weight = torch.empty(shape)
    assert wage.spread(weight, bits) == pytest.approx(spread, rel=1e-5)
    assert wage.layer_scale(weight, bits) == scale


def test_initialise():
    model = nn.Sequential(nn.Linear(100, 300), nn.Conv2d(3, 50, 3), nn.BatchNorm2d(50))
    norm = model[2].weight.clone()
    assert wage.initialise(model, 2, seed=4) is model
    for layer in model[:2]:
        weight, top = layer.weight.detach(), 0.75
        n = weight.numel()
        assert weight.abs().max() <= top
        assert abs(float(weight.mean())) < SIGMAS * top / math.sqrt(3 * n)
        # The variance of U² is (4/45) top⁴.
        off = float(weight.square().mean()) - top**2 / 3
        assert abs(off) < SIGMAS * top**2 * math.sqrt(4 / 45 / n)
        assert not layer.bias.any()
    assert torch.equal(model[2].weight, norm)
    again = wage.initialise(nn.Sequential(nn.Linear(100, 300), nn.Conv2d(3, 50, 3)), 2, seed=4)
    assert torch.equal(again[0].weight, model[0].weight)


def test_weights_are_drawn_only_when_asked():
    model = mlp()
    quantised = quantise(model, WAGE(2, 8, 8, 8))
    for key, value in quantised.state_dict().items():
        assert torch.equal(value, model.state_dict()[key])


def test_weights_too_small_for_their_format_are_said():
    model = mlp()
    with torch.no_grad():
        model[0].weight.mul_(0.1)
    quantised = quantise(model, WAGE(2, 8, 8, 8))
    with pytest.warns(UserWarning, match="every weight reads as zero"):
        quantised(batch()[0])


# ── whole models ───────────────────────────────────────────────────────────────────────────────


def test_forward_and_backward_are_the_formulas_written_out():
    model = quantise(wage.initialise(mlp()), WAGE(2, 8, 8, 8))
    first, second = model[0], model[2]
    x, y = batch()
    wage.sse(model(x), y).backward()

    def q(x, bits):
        s = 2.0 ** (bits - 1)
        top = 1 - 1 / s
        return torch.round(x.clamp(-top, top) * s) / s

    def error(e):
        return q(e / 2.0 ** torch.round(torch.log2(e.abs().max())), 8)

    with torch.no_grad():
        # L = 0.5 and 0.612; L_m = 0.75: log2(1.5) = 0.58 → 2, log2(1.22) = 0.29 → 1.
        w1, w2 = q(first.weight, 2) / 2, q(second.weight, 2)
        x1 = q(x, 8)
        h = (x1 @ w1.T + first.bias).relu()
        x2 = q(h, 8)
        out = x2 @ w2.T + second.bias
        e2 = error(out - torch.eye(4)[y])
        e1 = error((e2 @ w2) * (h.abs() <= 127 / 128)) * (h > 0)
    assert torch.allclose(model(x), out)
    assert torch.allclose(second.weight.grad, e2.T @ x2, atol=1e-5)
    assert torch.allclose(second.bias.grad, e2.sum(0), atol=1e-5)
    assert torch.allclose(first.weight.grad, e1.T @ x1, atol=1e-5)


@pytest.mark.parametrize("shift", wage.SHIFTS)
def test_it_learns(shift):
    source = torch.Generator().manual_seed(0)
    x = torch.rand(600, 24, generator=source)
    y = (x @ torch.randn(24, 4, generator=source)).argmax(1)
    scheme = WAGE(2, 8, 8, 8, shift=shift)
    model = quantise(wage.initialise(mlp()), scheme)
    optimizer = scheme.optimizer(torch.optim.SGD(model.parameters(), lr=4.0))
    before = float((model(x).argmax(1) == y).float().mean())
    for _ in range(40):
        for part in torch.randperm(600, generator=source).split(60):
            optimizer.zero_grad()
            wage.sse(model(x[part]), y[part]).backward()
            optimizer.step()
    after = float((model(x).argmax(1) == y).float().mean())
    assert before < 0.5
    assert after > 0.75
    read = model[0].read("weight").detach() * 2
    assert set(read.flatten().tolist()) == {-0.5, 0.0, 0.5}


def test_crossbars_read_the_quantised_weights():
    model = quantise(wage.initialise(mlp()), WAGE(2, 8, 8, 8)).eval()
    x, _ = batch()
    for encoding in (mho.encoding.Ternary(), mho.encoding.Differential()):
        chip = mho.convert(model, mho.Hardware(encoding=encoding))
        assert list(mho.layers(chip)) == ["0.layer", "2.layer"]
        assert torch.allclose(chip(x), model(x), atol=1e-5)
        stored = chip[0].layer.crossbar.effective_weight.T
        assert torch.allclose(stored, model[0].read("weight"), atol=1e-6)
        assert torch.allclose(mho.collapse(chip)(x), model(x), atol=1e-5)
    assert isinstance(chip[0].layer.weight, nn.Parameter)
    assert isinstance(model[0].weight, nn.Parameter)


def test_only_chosen_layers_go_to_crossbars():
    model = quantise(wage.initialise(mlp()), WAGE(2, 8, 8, 8)).eval()
    x, _ = batch()
    with pytest.warns(UserWarning, match=r"left digital: \w+ '2' "):
        chip = mho.convert(model, mho.Hardware(), skip="2")
    assert torch.equal(chip[2].weight, model[2].weight)
    assert torch.allclose(chip(x), model(x), atol=1e-5)


def test_a_chip_trains_on_with_wage():
    scheme = WAGE(2, 8, 8, 8)
    chip = mho.convert(quantise(wage.initialise(mlp()), scheme), mho.Hardware())
    optimizer = scheme.optimizer(torch.optim.SGD(chip.parameters(), lr=4.0))
    x, y = batch(256)
    first = wage.sse(chip.train()(x), y).item()
    for _ in range(30):
        optimizer.zero_grad()
        wage.sse(chip(x), y).backward()
        optimizer.step()
    assert wage.sse(chip(x), y).item() < 0.9 * first


# ── loss, specs, bad input ─────────────────────────────────────────────────────────────────────


def test_sse_by_hand():
    output = torch.tensor([[0.5, 1.0], [0.0, 2.0]])
    assert float(wage.sse(output, torch.tensor([0, 1]))) == 0.5 * (0.25 + 1 + 0 + 1)
    assert float(wage.sse(output, torch.zeros(2, 2))) == 0.5 * (0.25 + 1 + 4)
    assert float(wage.SSE()(output, torch.tensor([0, 1]))) == 0.5 * (0.25 + 1 + 0 + 1)


def test_sse_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"classes 0 … 1"):
        wage.sse(torch.zeros(2, 2), torch.tensor([0, 2]))
    with pytest.raises(ValueError, match=r"shape \[2\]"):
        wage.sse(torch.zeros(2, 2), torch.tensor([0, 1, 1]))
    with pytest.raises(ValueError, match=r"shape \[2, 2\]"):
        wage.sse(torch.zeros(2, 2), torch.zeros(2, 3))
    with pytest.raises(TypeError, match="target"):
        wage.sse(torch.zeros(2, 2), [0, 1])


def test_a_scheme_is_a_spec():
    scheme = WAGE(2, 8, 8, 6, shift="ceil")
    assert (scheme.weights, scheme.activations, scheme.gradients, scheme.errors) == (2, 8, 8, 6)
    assert Spec.from_dict(scheme.to_dict()) == scheme
    assert str(scheme) == ("WAGE(weights=2, activations=8, gradients=8, errors=6, shift='ceil')")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WAGE(0, 8, 8, 8), "WAGE weights"),
        (lambda: WAGE(2, 8, 8, 40), "WAGE errors"),
        (lambda: WAGE(shift="floor"), "shift"),
        (lambda: WAGE(clip="none"), "clip"),
        (lambda: wage.shift(torch.ones(1), "up"), "shift"),
        (lambda: wage.Scaled(2, 0.0), "scale"),
        (lambda: wage.initialise(nn.ReLU()), "no layer"),
        (lambda: wage.initialise(mlp(), 0), "bits"),
    ],
)
def test_bad_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_randomness_is_the_seeds():
    scheme, results = WAGE(2, 8, 8, 8), []
    for seed in (0, 0, 1):
        model = quantise(wage.initialise(mlp()), scheme)
        optimizer = scheme.optimizer(torch.optim.SGD(model.parameters(), lr=4.0), seed=seed)
        x, y = batch()
        torch.manual_seed(len(results))
        wage.sse(model(x), y).backward()
        optimizer.step()
        results.append(model[0].weight.detach())
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert random.stream(0).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("kind", "name", "most"),
    [
        (torch.bfloat16, "gradients", 9),
        (torch.float16, "errors", 12),
        (torch.bfloat16, "weights", 9),
    ],
)
def test_widths_beyond_the_digits_of_half_precision_are_refused(kind, name, most):
    layer = nn.Linear(6, 5).to(kind)
    quantise(nn.Sequential(layer), WAGE(**{name: most}))
    with pytest.raises(ValueError, match=rf"WAGE {name} must be <= {most}.*{kind}.*got {most + 1}"):
        quantise(nn.Sequential(layer), WAGE(**{name: most + 1}))
    quantise(nn.Sequential(nn.Linear(6, 5)), WAGE(**{name: 15}))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_weights_move_in_whole_steps(kind):
    torch.manual_seed(0)
    scheme = WAGE(2, 8, 8, 8)
    model = wage.initialise(nn.Sequential(nn.Linear(20, 10)).to(kind))
    with torch.no_grad():
        model[0].weight.copy_((model[0].weight * 128).round() / 128)
    model = quantise(model, scheme)
    optimizer = scheme.optimizer(torch.optim.SGD(model.parameters(), lr=4.0))
    before = model[0].weight.detach().clone()
    wage.sse(model(torch.rand(16, 20).to(kind)), torch.randint(10, (16,))).backward()
    optimizer.step()
    steps = model[0].weight.detach().double() * 128
    assert torch.equal(steps, steps.round())
    assert not torch.equal(model[0].weight, before)
