"""Transfer rules: digital arithmetic against numbers worked by hand, learning against plain SGD."""

import pytest
import torch
from torch import nn
from torch.distributions import Normal

from mho.core.spec import Spec
from mho.devices import ConstantStep, ExponentialDevice, SoftBoundsDevice, Spread
from mho.train.on_cells.coincidence import ExpectedPulses, StochasticPulses
from mho.train.on_cells.pulsed_sgd import PulsedSGD
from mho.train.on_cells.tiki_taka import (
    AGAD,
    Chopped,
    TikiTaka,
    TikiTakaV1,
    TikiTakaV2,
    TransferArrays,
    TransferRule,
)
from mho.train.on_cells.weights import WeightCells

WINDOW = {"g_min": 1e-6, "g_max": 101e-6}
SOFT = SoftBoundsDevice(**WINDOW, step=1e-6, asymmetry=0.5)  # a hundred steps
NOISY = SOFT.replace(c2c=0.3)
FINE = ConstantStep(**WINDOW, step=5e-9)
STEP = 1e-4  # of FINE, as a weight
RULES = [TikiTakaV1(), TikiTakaV2(), Chopped(), AGAD()]


def arrays(rule, out=3, inputs=4, device=FINE, seed=0):
    fast, slow = (WeightCells(device, (out, inputs), seed=seed + k) for k in range(2))
    slow.write(torch.zeros(out, inputs))
    return TransferArrays(rule, fast, slow)


# ── the rules, worked by hand ────────────────────────────────────────────────────────────────


def test_v1_writes_what_it_reads_and_shows_part_of_a():
    both = arrays(TikiTakaV1(gamma=0.25, reference="middle"))
    a = torch.linspace(-0.4, 0.7, 12).view(3, 4)
    both.fast.write(a)
    torch.testing.assert_close(both.read(), 0.25 * a, atol=2e-6, rtol=0.0)
    both.transfer(0.1)
    # Rounded at random to whole pulses of 1e-4.
    assert (both.slow.read() - 0.1 * a).abs().max() < 1.02 * STEP
    both.write(torch.full((3, 4), 0.2))
    torch.testing.assert_close(both.read(), torch.full((3, 4), 0.2), atol=2e-6, rtol=0.0)


def test_v2_writes_past_the_threshold_and_keeps_the_remainder():
    both = arrays(TikiTakaV2(threshold=0.1, reference="middle"), 1, 4)
    both.fast.write(torch.tensor([[0.3, -0.3, 0.75, 0.0]]))
    pulses = []
    for _ in range(3):
        before = both.slow.read()
        both.transfer(0.2)
        pulses.append(((both.slow.read() - before) / STEP).round().int().tolist()[0])
    # H: 0.06, 0.12 → 0.02, 0.08; and 0.15 → 0.05, 0.2 → 0.0 (or just below), …
    assert [row[0] for row in pulses] == [0, 1, 0]
    assert [row[1] for row in pulses] == [0, -1, 0]
    assert [row[3] for row in pulses] == [0, 0, 0]
    assert pulses[0][2] == 1
    assert sum(row[2] for row in pulses) == 4
    assert both.hidden[0, 0] == pytest.approx(0.08, abs=1e-5)
    # Nothing is lost between H and the pulses.
    total = torch.tensor([[0.3, -0.3, 0.75, 0.0]]) * 0.6
    written = both.slow.read() / STEP * 0.1
    torch.testing.assert_close(written + both.hidden, total, atol=1e-4, rtol=0.0)


def test_v2_by_default_moves_c_by_what_it_reads():
    both = arrays(TikiTakaV2(reference="middle"))
    a = torch.linspace(-0.4, 0.7, 12).view(3, 4)
    both.fast.write(a)
    for _ in range(50):
        both.transfer(0.01)
    assert (both.slow.read() - 0.5 * a).abs().max() < 1.1 * STEP


def test_columns_are_read_in_turn():
    both = arrays(TikiTakaV2(columns=3, reference="middle"), 2, 5)
    both.fast.write(torch.full((2, 5), 0.2))
    reads = []
    for _ in range(5):
        both.transfer(1.0)
        reads.append((both.slow.read()[1] / 0.2).round().int().tolist())
    assert reads[:3] == [[1, 1, 1, 0, 0], [2, 1, 1, 1, 1], [2, 2, 2, 2, 1]]
    assert reads[4] == [3, 3, 3, 3, 3]


def test_transfers_come_every_so_many_steps():
    both = arrays(TikiTakaV1(transfer_every=3, transfer_lr=0.1, reference="middle"), 2, 2)
    both.fast.write(torch.full((2, 2), 0.5))
    moved = []
    for _ in range(6):
        before = both.slow.cells.writes.clone()
        both.descend(torch.zeros(1, 2), torch.zeros(1, 2), 1.0, StochasticPulses())
        moved.append(bool((both.slow.cells.writes != before).any()))
    assert moved == [False, False, True, False, False, True]


def test_choppers_turn_inputs_and_readings_together():
    # Equal steps, whatever the signs: what C receives is that of no chopper.
    x, delta = torch.tensor([[1.0, -0.5, 0.25]]), torch.tensor([[0.4, -0.2]])
    given = {"reference": "middle", "transfer_lr": 0.1}
    for rule in (TikiTakaV2(**given), Chopped(**given, chop_probability=0.0)):
        both = arrays(rule, 2, 3)
        if isinstance(rule, Chopped):
            both.sign.copy_(torch.tensor([-1.0, 1.0, -1.0]))
        both.descend(x, delta, 0.5, ExpectedPulses())
        wanted = 0.1 * -0.5 * delta.T @ x
        assert (both.hidden + both.slow.read() - wanted).abs().max() < 0.2 * STEP
    torch.testing.assert_close(
        both.fast.read(), -0.5 * delta.T @ (x * both.sign), atol=1.1 * STEP, rtol=0.0
    )


def test_signs_turn_with_their_probability():
    both = arrays(Chopped(chop_probability=0.2), 1, 50)
    turns, before = 0, both.sign.clone()
    for _ in range(80):
        both.transfer(0.0)
        turns += int((both.sign != before).sum())
        before = both.sign.clone()
    assert abs(turns / 4000 - 0.2) < 4 * (0.2 * 0.8 / 4000) ** 0.5
    assert set(both.sign.tolist()) <= {-1.0, 1.0}


def test_agad_finds_the_zero():
    both = arrays(AGAD(chop_probability=0.0, averaging=0.5), 1, 2)
    both.fast.write(torch.tensor([[0.4, -0.2]]))
    memory = both.memory
    columns, source = torch.arange(2), torch.Generator().manual_seed(0)
    a = both.fast.read()
    first = both.rule.readout(a, columns, memory, source)
    torch.testing.assert_close(first, a)  # zero is 0 as yet
    both.rule.readout(a, columns, memory, source)
    torch.testing.assert_close(both.average, 0.75 * a)  # 0.5, 0.75 of the way
    AGAD(chop_probability=1.0, averaging=0.5).readout(a, columns, memory, source)
    assert both.sign.tolist() == [-1.0, -1.0]
    torch.testing.assert_close(both.zero, 0.875 * a)
    again = both.rule.readout(a + 0.1, columns, memory, source)
    torch.testing.assert_close(again, -(a + 0.1 - 0.875 * a))


def test_zero_of_a_is_the_symmetry_point():
    device = SOFT.replace(asymmetry=Spread(Normal(0.0, 0.3), low=-0.9, high=0.9))
    both = arrays(TikiTakaV1(), 20, 20, device)
    assert not both.fast.read().any()
    z = 2 * (both.fast.cells.g - 1e-6) / 100e-6 - 1
    torch.testing.assert_close(z, both.fast.cells.parameter("asymmetry"), atol=1e-4, rtol=0.0)
    wrong = arrays(TikiTakaV2(reference_error=0.2), 20, 20, device)
    assert float(wrong.fast.read().std()) == pytest.approx(0.2, rel=0.15)


# ── learning ─────────────────────────────────────────────────────────────────────────────────

TARGET = torch.tensor([[-0.3, 0.2, 0.4, -0.1], [0.1, -0.4, 0.0, 0.35], [-0.2, 0.3, -0.35, 0.15]])


def regression(make, steps=700, seed=0):
    """Return the weights learnt from noisy linear data, averaged over the second half."""
    source = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = nn.Linear(4, 3, bias=False)
    optimizer = make(model)
    late = []
    for step in range(steps):
        x = torch.randn(10, 4, generator=source)
        y = x @ TARGET.T + 0.5 * torch.randn(10, 3, generator=source)
        optimizer.zero_grad()
        (0.5 * (model(x) - y) ** 2).sum(1).mean().backward()
        optimizer.step()
        if step >= steps // 2:
            late.append(model.weight.detach().clone())
    return torch.stack(late).mean(0)


def error(weight):
    return float((weight - TARGET).pow(2).mean().sqrt())


@pytest.mark.slow
def test_plain_sgd_is_biased_where_tiki_taka_finds_the_target():
    plain = regression(lambda model: PulsedSGD(model, lr=0.1, device=SOFT))
    # Every weight lies on the symmetry point's side (0.5) of its target.
    assert float((plain - TARGET).mean()) > 0.1
    assert error(plain) > 0.12
    rules = [
        TikiTakaV1(transfer_lr=0.03),
        TikiTakaV2(transfer_lr=0.03),
        Chopped(transfer_lr=0.03, chop_probability=0.01),
        AGAD(transfer_lr=0.03, chop_probability=0.05),
    ]
    for rule in rules:
        found = regression(lambda model, rule=rule: TikiTaka(model, 0.1, device=SOFT, rule=rule))
        assert error(found) < 0.5 * error(plain), f"{rule}: {error(found)}, {error(plain)}"


@pytest.mark.slow
def test_a_wrong_reference_breaks_v2_but_not_agad():
    def learn(rule):  # the mean of some chips: a reference's error is each cell's own
        found = [
            regression(
                lambda model, seed=seed: TikiTaka(model, 0.1, device=SOFT, rule=rule, seed=seed)
            )
            for seed in range(6)
        ]
        return sum(map(error, found)) / len(found)

    wrong = {"transfer_lr": 0.03, "reference_error": 0.3}
    broken = learn(TikiTakaV2(**wrong))
    assert broken > 0.12
    assert learn(Chopped(**wrong, chop_probability=0.02)) < 0.85 * broken
    assert learn(AGAD(transfer_lr=0.03, chop_probability=0.05)) < 0.3 * broken


def test_symmetric_fine_cells_reproduce_momentum():
    # W = C and no forgetting: A sums the gradients, C sums A. By hand, in plain tensors.
    torch.manual_seed(0)
    model = nn.Linear(4, 2, bias=False)
    w, a = model.weight.detach().clone(), torch.zeros(2, 4)
    rule = TikiTakaV2(transfer_lr=0.1, reference="middle")
    optimizer = TikiTaka(
        model, 0.05, device=FINE, rule=rule, update=ExpectedPulses(), weight_range=(-2.0, 2.0)
    )
    x, y = torch.randn(8, 4), torch.randn(8, 2)
    for _ in range(30):
        optimizer.zero_grad()
        ((model(x) - y) ** 2).mean().backward()
        optimizer.step()
        a -= 0.05 * 2 * (x @ w.T - y).T @ x / y.numel()
        w += 0.1 * a
    assert (model.weight - w).abs().max() < 0.02 * float(w.abs().max())


# ── the optimizer ────────────────────────────────────────────────────────────────────────────


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def train(model, optimizer, steps):
    source = torch.Generator().manual_seed(1)
    x, y = torch.randn(16, 6, generator=source), torch.randint(3, (16,), generator=source)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_resumes_exactly(rule, tmp_path):
    rule = rule.replace(columns=3, transfer_every=2, transfer_lr=1.0)
    model = network()
    optimizer = TikiTaka(model, 0.3, device=NOISY, rule=rule, seed=4)
    train(model, optimizer, 7)
    torch.save({"model": model.state_dict(), "opt": optimizer.state_dict()}, tmp_path / "a.pt")
    train(model, optimizer, 7)
    saved = torch.load(tmp_path / "a.pt", weights_only=True)
    other = network(seed=7)
    resumed = TikiTaka(other, 0.9, device=NOISY, rule=rule, seed=5)
    other.load_state_dict(saved["model"])
    resumed.load_state_dict(saved["opt"])
    train(other, resumed, 7)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)
    for key, pulses in optimizer.pulses().items():
        assert torch.equal(pulses, resumed.pulses()[key])


def test_learning_rates_count_once():
    seen = {}
    for name, rule in {
        "lr on A": TikiTakaV2(reference="middle", transfer_lr=0.1),
        "lr on C": TikiTakaV2(reference="middle", transfer_lr=0.1, fast_lr=1.0),
    }.items():
        model = nn.Linear(2, 1, bias=False)
        nn.init.zeros_(model.weight)
        optimizer = TikiTaka(model, 0.2, device=FINE, rule=rule, update=ExpectedPulses())
        model(torch.ones(1, 2)).sum().mul(0.5).backward()
        optimizer.step()
        arrays = optimizer.arrays["weight"]
        seen[name] = (arrays.fast.read().mean().item(), arrays.slow.read().mean().item())
    assert seen["lr on A"] == pytest.approx((-0.1, -0.01), abs=1.1 * STEP)
    assert seen["lr on C"] == pytest.approx((-0.5, -0.01), abs=1.1 * STEP)


def test_arrays_of_their_own_devices_and_ranges():
    model = network()
    optimizer = TikiTaka(
        model,
        device={"2.weight": FINE, "*": None},
        fast_device=SOFT,
        fast_range=(-0.2, 0.2),
        seed=2,
    )
    both = optimizer.arrays["2.weight"]
    assert set(optimizer.arrays) == {"2.weight"}
    assert both.fast.cells.spec == SOFT
    assert both.slow.cells.spec == FINE
    assert both.fast.frame.slope == pytest.approx(0.2 * both.slow.frame.slope)
    train(model, optimizer, 2)
    assert set(optimizer.pulses()) == {"2.weight.fast", "2.weight.slow"}


def test_a_rule_of_ones_own():
    class Sign(TransferRule):
        def pulses(self, change, columns, memory, step, source):
            return change.sign().int()

    both = arrays(Sign(reference="middle"), 1, 3)
    both.fast.write(torch.tensor([[0.5, -0.1, 0.0]]))
    both.fast.cells.g[0, 0, 2] = float(both.fast.reference)
    both.transfer(0.1)
    assert (both.slow.read() / STEP).round().tolist() == [[1.0, -1.0, 0.0]]


def test_specs_and_bad_input():
    for rule in (*RULES, TikiTakaV1(gamma=0.1, columns=2), AGAD(averaging=0.2, threshold=0.1)):
        assert Spec.from_dict(rule.to_dict()) == rule
    for kind, wrong, text in (
        (TikiTakaV1, {"gamma": -1.0}, "gamma must be >= 0"),
        (TikiTakaV2, {"threshold": 0.0}, "threshold must be > 0"),
        (TikiTakaV2, {"columns": 0}, "columns must be >= 1"),
        (TikiTakaV2, {"reference": "zero"}, "reference must be one of"),
        (Chopped, {"chop_probability": 1.5}, "chop_probability must be"),
        (AGAD, {"averaging": 0.0}, "averaging must be > 0"),
        (AGAD, {"reference_error": 0.1}, "reference_error is of reference='symmetry' only"),
    ):
        with pytest.raises(ValueError, match=text):
            kind(**wrong)
    with pytest.raises(TypeError, match="rule must be TransferRule"):
        TikiTaka(network(), device=SOFT, rule="v2")
    with pytest.raises(TypeError, match="fast_device must be a PulsedDevice"):
        TikiTaka(network(), device=SOFT, fast_device=3)


@pytest.mark.parametrize("weight_range", [(-1.0, 1.0), (0.0, 1.0), (-0.2, 1.0)])
@pytest.mark.parametrize("device", [ExponentialDevice(), SoftBoundsDevice()])
def test_the_middle_is_that_of_the_window_whatever_weights_it_stands_for(device, weight_range):
    model = nn.Linear(4, 3)
    with torch.no_grad():
        model.weight.clamp_(0.0, 0.5)
    optimizer = TikiTaka(model, 0.1, device=device, rule=AGAD(), weight_range=weight_range)
    fast = optimizer.arrays["weight"].fast
    middle = sum(device.window) / 2
    assert fast.reference.item() == pytest.approx(middle, rel=1e-6)
    assert torch.allclose(fast.cells.conductance(), torch.tensor(middle), rtol=1e-6, atol=0.0)
    assert fast.read().abs().max() < 1e-6
