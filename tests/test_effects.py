"""Effects: their statistics, in standard errors, and effects of a user's own."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from mho import ADC, DAC, Array, Crossbar, Hardware
from mho.devices import LinearDevice, Spread
from mho.effects import (
    AgingEffect,
    FabricationEffect,
    FiniteStates,
    PowerLawDrift,
    ProgrammingEffect,
    ReadingEffect,
    ReadNoise,
    StuckAt,
    WriteNoise,
)
from mho.effects.fabrication import _bernoulli
from mho.encoding import BitSliced, Differential, Scaling, SingleColumn, Ternary

G_MIN, G_MAX = 1e-6, 101e-6
DEVICE = LinearDevice(G_MIN, G_MAX)
RANGE = G_MAX - G_MIN
SIGMAS = 4.0  # with fixed seeds: a tolerance, not a gamble


def made(rows, cols, *effects, seed=0, weight=None, **kind):
    hardware = Hardware(device=DEVICE, effects=effects, **kind)
    crossbar = Crossbar(rows, cols, hardware, seed=seed, dtype=torch.float64)
    if weight is None:
        weight = torch.randn(rows, cols, dtype=torch.float64)
    crossbar.program(weight)
    return crossbar, weight


def assert_mean(sample, mean, std):
    """The sample's mean agrees with an expected one, given the spread of single values."""
    error = std / math.sqrt(sample.numel())
    assert abs(float(sample.mean()) - mean) < SIGMAS * error


def assert_std(sample, std):
    """The sample's standard deviation agrees (normal values: error std/√2n)."""
    found = float(sample.std())
    assert abs(found - std) < SIGMAS * std / math.sqrt(2 * sample.numel())


def assert_fraction(mask, p):
    error = math.sqrt(p * (1 - p) / mask.numel())
    assert abs(float(mask.double().mean()) - p) < SIGMAS * error


# ── fabrication ──────────────────────────────────────────────────────────────────────────────


def test_stuck_fractions_and_values():
    values = {"g_low": 5e-7, "g_high": 5e-4, "g_unformed": 1e-9}  # outside the window: kept
    crossbar, _ = made(200, 100, StuckAt(0.05, 0.03, 0.02, **values))
    assert_fraction(crossbar.stuck, 0.1)
    for p, g in zip((0.05, 0.03, 0.02), values.values(), strict=True):
        assert_fraction(g == crossbar.G, p)
    assert not (crossbar.stuck & (crossbar.G >= G_MIN) & (crossbar.G <= G_MAX)).any()


def test_stuck_values_default_to_the_window():
    crossbar, _ = made(50, 50, StuckAt(0.2, 0.3, 0.5))
    assert crossbar.stuck.all()
    assert_fraction(crossbar.G == G_MIN, 0.7)
    assert_fraction(crossbar.G == G_MAX, 0.3)


def test_stuck_values_may_be_spread():
    spread = Spread("Normal", (("loc", 2e-4), ("scale", 1e-5)), low=0.0)
    crossbar, _ = made(100, 100, StuckAt(high=0.5, g_high=spread))
    assert_mean(crossbar.G[crossbar.stuck], 2e-4, 1e-5)
    assert_std(crossbar.G[crossbar.stuck], 1e-5)


def test_stuck_cells_are_independent():
    crossbar, _ = made(300, 300, StuckAt(high=0.5))
    s = crossbar.stuck.double() - 0.5
    for other in (s.roll(1, 1), s.roll(1, 2), s.flip(0)):
        assert_mean(s * other, 0.0, 0.25)


def test_a_cell_broken_twice_keeps_its_first_fault():
    crossbar, _ = made(30, 30, StuckAt(low=1.0, g_low=3e-7), StuckAt(high=1.0))
    assert (crossbar.G == 3e-7).all()


@pytest.mark.parametrize("p", [1e-3, 0.3, 1.0])
def test_broken_cells_may_come_from_torchs_own_generator(p):
    torch.manual_seed(1)
    one, state = _bernoulli(100_000, p, None, torch.device("cpu")), torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(_bernoulli(100_000, p, None, torch.device("cpu")), one)
    assert torch.equal(torch.get_rng_state(), state)
    assert abs(len(one) - 1e5 * p) <= SIGMAS * math.sqrt(1e5 * p * (1 - p))


def test_no_faults_at_probability_zero():
    crossbar, weight = made(9, 9, StuckAt())
    assert crossbar.stuck is None or not crossbar.stuck.any()
    assert torch.allclose(crossbar.weight, weight)


# ── programming ──────────────────────────────────────────────────────────────────────────────


def test_write_noise_of_the_range():
    weight = torch.full((200, 200), 0.5, dtype=torch.float64)
    weight[0, 0] = 1.0
    crossbar, _ = made(200, 200, WriteNoise(0.02), weight=weight)
    error = crossbar.G[0].flatten()[1:] - (G_MIN + 0.5 * RANGE)  # far above 0 S: no floor
    assert_mean(error, 0.0, 0.02 * RANGE)
    assert_std(error, 0.02 * RANGE)


def test_write_noise_of_the_value():
    weight = torch.full((200, 200), 0.25, dtype=torch.float64)
    weight[0, 0] = 1.0
    crossbar, _ = made(200, 200, WriteNoise(0.1, relative_to="value"), weight=weight)
    for half, target in zip(crossbar.G, (G_MIN + 0.25 * RANGE, G_MIN), strict=True):
        error = half.flatten()[1:] - target
        assert_mean(error, 0.0, 0.1 * target)
        assert_std(error, 0.1 * target)


def test_write_noise_has_a_floor_at_zero():
    # Idle cells rest at g_min with σ = 5 g_min: a normal cut off at 0 S.
    crossbar, _ = made(300, 300, WriteNoise(0.05), weight=torch.zeros(300, 300).double())
    g, s = crossbar.G.flatten(), 0.05 * RANGE
    z = G_MIN / s
    density = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    below = 0.5 * math.erfc(z / math.sqrt(2))
    assert g.min() == 0.0
    assert_fraction(g == 0, below)
    assert_mean(g, G_MIN * (1 - below) + s * density, s)


def test_independent_write_noises_add_in_squares():
    weight = torch.full((150, 150), 1.0, dtype=torch.float64)
    noises = (WriteNoise(0.03), WriteNoise(0.04), WriteNoise(0.12, relative_to="value"))
    crossbar, _ = made(150, 150, *noises, weight=weight)
    wanted = math.hypot(0.05 * RANGE, 0.12 * G_MAX)
    assert_std(crossbar.G[0].flatten(), wanted)


TRAINED = {
    "differential": (Differential(), 2.0),
    "per_column": (Differential(Scaling(per_column=True), subtract="digital"), 2.0),
    "single": (SingleColumn(), 2.0),
    "sliced": (BitSliced(bits=5, bits_per_cell=2), 2.0 * (1 + 16)),
    "ternary": (Ternary(), 2.0),
}


@pytest.mark.parametrize("encoding", TRAINED)
def test_training_draws_the_noise_of_programming(encoding):
    # Of one weight: Σ c² σ² scale², over fresh chips (training) and over chips (programming).
    kind, squares = TRAINED[encoding]
    device = LinearDevice(50e-6, 150e-6)  # far from 0 S: no floor
    hardware = Hardware(device=device, encoding=kind, effects=(WriteNoise(0.01),))
    weight = torch.randn(40, 50, dtype=torch.float64)
    crossbar = Crossbar(40, 50, hardware, dtype=torch.float64)
    trained, stored = [], []
    for _ in range(4):
        trained.append(crossbar.read_through(torch.eye(40).double(), weight))
        crossbar.program(weight)
        stored.append(crossbar.weight)
    ideal = kind.decode(*kind.encode(weight, 50e-6, 150e-6))
    std = math.sqrt(squares) * 0.01 * 100e-6 * crossbar.scale
    for weights in (trained, stored):
        error = (torch.stack(weights) - ideal) / std
        if encoding == "single":  # the reference column is shared by a row
            error = error[..., 1:] - error[..., :-1]
            assert_std(error[..., ::2], 1.0)
            continue
        assert_mean(error, 0.0, 1.0)
        assert_std(error, 1.0)


@pytest.mark.parametrize("through", [True, False], ids=["training", "programming"])
def test_offset_column_s_error_is_shared_by_its_row(through):
    hardware = Hardware(device=DEVICE, encoding=SingleColumn(), effects=(WriteNoise(0.01),))
    weight = torch.zeros(4000, 2, dtype=torch.float64)
    crossbar = Crossbar(4000, 2, hardware, dtype=torch.float64)
    crossbar.program(weight)
    error = crossbar.weight
    if through:
        error = crossbar.reader.training_readout(weight).matrix[0]
    correlation = float(torch.corrcoef(error.T)[0, 1])
    assert abs(correlation - 0.5) < SIGMAS * (1 - 0.25) / math.sqrt(4000)


def test_training_noise_is_fresh_every_time():
    crossbar, weight = made(5, 4, WriteNoise(0.05))
    x = torch.eye(5, dtype=torch.float64)
    assert not torch.equal(crossbar.read_through(x, weight), crossbar.read_through(x, weight))


def test_finite_states():
    crossbar, weight = made(60, 40, FiniteStates(5))
    states = np.linspace(G_MIN, G_MAX, 5)
    target, _ = Differential().encode(weight, G_MIN, G_MAX)
    nearest = states[np.abs(target.numpy()[..., None] - states).argmin(-1)]
    assert np.allclose(crossbar.G.numpy(), nearest, rtol=1e-12, atol=0.0)


def test_two_states_are_the_ends():
    crossbar, _ = made(20, 20, FiniteStates(2), encoding=SingleColumn())
    found = crossbar.G[..., :-1]
    assert (
        torch.isclose(found, torch.tensor(G_MIN).double())
        .logical_or(torch.isclose(found, torch.tensor(G_MAX).double()))
        .all()
    )


# ── aging ────────────────────────────────────────────────────────────────────────────────────


def test_drift_is_the_power_law():
    crossbar, _ = made(6, 5, PowerLawDrift(0.06, t0=20.0))
    start = crossbar.G.clone()
    crossbar.age(15.0)  # before t0 nothing happens
    assert torch.equal(crossbar.G, start)
    crossbar.age(3600.0 - 15.0)
    assert torch.allclose(crossbar.G, start * (3600 / 20) ** -0.06, rtol=1e-12, atol=0.0)


def test_drift_composes():
    effect = PowerLawDrift(0.06, 0.02, t0=2.0)
    whole, weight = made(20, 10, effect)
    parts, _ = made(20, 10, effect, weight=weight)
    whole.age(1e6)
    for seconds in (0.5, 0.0, 10.0, 999.5, 1e6 - 1010.0):
        parts.age(seconds)
    assert torch.allclose(whole.G, parts.G, rtol=1e-10, atol=0.0)


def test_every_cell_drifts_by_an_exponent_of_its_own():
    crossbar, weight = made(150, 150, PowerLawDrift(0.06, 0.02))
    start = crossbar.G.clone()
    crossbar.age(1e4)
    nu = -(crossbar.G / start).log() / math.log(1e4)
    assert_mean(nu, 0.06, 0.02)
    assert_std(nu, 0.02)
    # The same cells drift alike after they are written again.
    crossbar.program(weight)
    crossbar.age(1e4)
    assert torch.allclose(-(crossbar.G / start).log() / math.log(1e4), nu, atol=0.0)


def test_the_clock_starts_when_programmed():
    crossbar, weight = made(3, 3, PowerLawDrift(0.1))
    crossbar.age(1e5)
    crossbar.program(weight)
    assert crossbar.seconds == 0.0
    assert torch.allclose(crossbar.weight, weight)


# ── reading ──────────────────────────────────────────────────────────────────────────────────

READ = {
    "differential": Differential(),
    "digital": Differential(Scaling(per_column=True), subtract="digital"),
    "single": SingleColumn(),
    "sliced": BitSliced(bits=5, bits_per_cell=2),
    "ternary": Ternary(),
}
READS = 20_000


def by_monte_carlo(x, crossbar, sigma, relative_to, reads, turned=False):
    """Read noisy cells one by one: a new draw of every cell for every read, numpy only."""
    source = np.random.default_rng(1)
    encoding, G = crossbar.hardware.encoding, crossbar.G.numpy()
    std = sigma * (RANGE if relative_to == "range" else G)
    c = np.array(encoding.combination)
    out = []
    for _ in range(reads):
        noisy = np.tensordot(c, G + std * source.standard_normal(G.shape), 1)
        if isinstance(encoding, SingleColumn):
            noisy = noisy[:, :-1] - noisy[:, -1:]
        weight = noisy * crossbar.scale.numpy()
        out.append(x @ (weight.T if turned else weight))
    return torch.from_numpy(np.array(out))


def assert_same_covariance(found, wanted):
    """Two samples have one covariance, by every entry's standard error."""
    a, b = torch.cov(found.T), torch.cov(wanted.T)
    d = b.diag()
    error = ((d[:, None] * d[None, :] + b**2) * (1 / len(found) + 1 / len(wanted))).sqrt()
    assert ((a - b).abs() < 4.5 * error).all()


@pytest.mark.parametrize("relative_to", ["range", "value"])
@pytest.mark.parametrize("encoding", READ)
@pytest.mark.parametrize("adc", [None, ADC(24, range="per_call")], ids=["currents", "tiles"])
def test_read_noise_at_the_outputs_is_that_of_the_cells(encoding, relative_to, adc):
    kind = {"encoding": READ[encoding], "array": Array(4, 4), "adc": adc}
    crossbar, _ = made(6, 3, ReadNoise(0.05, relative_to), **kind)
    x = torch.randn(6, dtype=torch.float64)
    y = x.expand(READS, -1) @ crossbar
    wanted = by_monte_carlo(x.numpy(), crossbar, 0.05, relative_to, READS)
    assert_same_covariance(y, wanted)
    ideal = x @ crossbar.weight
    assert ((y.mean(0) - ideal).abs() < 4.5 * y.std(0) / math.sqrt(READS)).all()


@pytest.mark.parametrize("relative_to", ["range", "value"])
@pytest.mark.parametrize("encoding", READ)
def test_read_noise_of_transposed_reads(encoding, relative_to):
    kind = {"encoding": READ[encoding], "array": Array(4, 2)}
    crossbar, _ = made(4, 3, ReadNoise(0.05, relative_to), **kind)
    x = torch.randn(3, dtype=torch.float64)
    y = x.expand(READS, -1) @ crossbar.T
    wanted = by_monte_carlo(x.numpy(), crossbar, 0.05, relative_to, READS, turned=True)
    assert_same_covariance(y, wanted)


@pytest.mark.parametrize("code", ["sign_magnitude", "twos_complement"])
def test_every_bit_plane_has_noise_of_its_own(code):
    # Var y = scale² σ² · 2 · Σ_planes w² · (number of lines that are on): at v_max, in levels.
    dac = DAC(4, mode="bit_serial", code=code, range=7.0)
    crossbar, _ = made(3, 2, ReadNoise(0.05), dac=dac)
    x = torch.tensor([5.0, -3.0, 6.0], dtype=torch.float64)
    coded = [int(v) % 16 if code == "twos_complement" else abs(int(v)) for v in x]
    planes = 4 if code == "twos_complement" else 3
    power = sum(4**p * sum(c >> p & 1 for c in coded) for p in range(planes))
    y = x.expand(READS, -1) @ crossbar
    std = float(crossbar.scale) * 0.05 * RANGE * math.sqrt(2 * power)
    for j in range(2):
        assert_std(y[:, j], std)
        assert_mean(y[:, j] - x @ crossbar.weight[:, j], 0.0, std)


def test_read_noise_follows_drift_only_where_relative_to_the_value():
    for relative_to, shrinks in (("value", True), ("range", False)):
        crossbar, _ = made(8, 4, PowerLawDrift(0.1), ReadNoise(0.05, relative_to))
        x = torch.ones(2000, 8, dtype=torch.float64)
        before = (x @ crossbar).std(0)
        crossbar.age(1e4)
        ratio = (x @ crossbar).std(0) / before
        wanted = 1e4**-0.1 if shrinks else 1.0
        assert ((ratio / wanted - 1).abs() < SIGMAS / math.sqrt(2000)).all()


def test_training_reads_with_read_noise():
    crossbar, weight = made(6, 3, ReadNoise(0.05))
    x = torch.randn(6, dtype=torch.float64)
    y = crossbar.read_through(x.expand(READS, -1), weight)
    assert_same_covariance(y, x.expand(READS, -1) @ crossbar)


# ── effects of a user's own, each in a few lines ─────────────────────────────────────────────


@dataclass(frozen=True)
class DeadRows(FabricationEffect):
    p: float

    def fabricate_state(self, context):
        dead = context.uniform((context.shape[1], 1)) < self.p
        return {"dead": dead.expand(context.shape).clone()}

    def broken(self, context):
        at = context.state["dead"].flatten().nonzero().squeeze(1)
        return at, torch.zeros(len(at), dtype=context.dtype)


@dataclass(frozen=True)
class Undershoot(ProgrammingEffect):
    share: float

    def program(self, g, context):
        return context.g_min + (g - context.g_min) * (1 - self.share)


@dataclass(frozen=True)
class Leak(AgingEffect):
    per_second: float

    def age(self, g, context, start, stop):
        return g * math.exp(-self.per_second * (stop - start))


@dataclass(frozen=True)
class CommonGain(ReadingEffect):
    sigma: float

    def read(self, g, context):
        return g * (1 + self.sigma * context.normal((1,)))


@dataclass(frozen=True)
class FixedNoise(ReadingEffect):
    siemens: float

    def read_std(self, g, context):
        return self.siemens


def test_own_fabrication_effect():
    crossbar, weight = made(400, 3, DeadRows(0.25))
    dead = crossbar.stuck[0, :, 0]
    assert_fraction(dead, 0.25)
    assert (crossbar.weight[dead] == 0).all()
    assert torch.allclose(crossbar.weight[~dead], weight[~dead])


def test_own_programming_effect():
    crossbar, weight = made(4, 3, Undershoot(0.25))
    assert torch.allclose(crossbar.weight, 0.75 * weight)
    x = torch.eye(4, dtype=torch.float64)
    assert torch.allclose(crossbar.read_through(x, weight), 0.75 * weight)


def test_own_aging_effect():
    crossbar, weight = made(4, 3, Leak(1e-3))
    crossbar.age(100.0)
    crossbar.age(200.0)
    assert torch.allclose(crossbar.weight, weight * math.exp(-0.3))


def test_own_effect_on_whole_reads():
    crossbar, weight = made(4, 3, CommonGain(0.1))
    x = torch.randn(5, 4, dtype=torch.float64)
    ratios = [(x @ crossbar) / (x @ weight) for _ in range(400)]
    for ratio in ratios:  # one draw for the whole array
        assert torch.allclose(ratio, ratio[0, 0].expand_as(ratio))
    gains = torch.stack([ratio[0, 0] for ratio in ratios])
    assert_mean(gains, 1.0, 0.1)
    assert_std(gains, 0.1)
    assert torch.isfinite(crossbar.read_through(x, weight)).all()
    assert torch.isfinite(torch.randn(2, 3).double() @ crossbar.T).all()


def test_own_white_noise():
    crossbar, _ = made(4, 1, FixedNoise(2e-6))
    x = torch.tensor([1.0, 2.0, 0.0, -2.0], dtype=torch.float64)
    y = x.expand(READS, -1) @ crossbar
    assert_std(y, 3.0 * math.sqrt(2) * 2e-6 * float(crossbar.scale))


def test_effects_act_in_the_order_given():
    rounded = made(9, 9, Undershoot(0.3), FiniteStates(3))[0].G
    states = torch.linspace(G_MIN, G_MAX, 3, dtype=torch.float64)
    assert torch.isclose(rounded.unsqueeze(-1), states).any(-1).all()
    other = made(9, 9, FiniteStates(3), Undershoot(0.3))[0].G
    assert not torch.isclose(other.unsqueeze(-1), states).any(-1).all()
