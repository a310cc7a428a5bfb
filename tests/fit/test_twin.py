"""A chip's twin: hidden parameters found again, and what cannot be found refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import mho
from mho import Amplifier, Array, Hardware, effects, fit
from mho.circuit import Wires
from mho.devices import PCM, LinearDevice, Yakopcic
from mho.encoding import Differential, SingleColumn
from mho.fit import twin_model, twin_search
from mho.fit.pit import agreement
from mho.fit.twin_cells import least_score
from mho.fit.twin_model import State
from mho.fit.twin_solve import variance_components
from mho.fit.twin_task import Task

MEASURED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "lea" / "figure_3"
needs_measurements = pytest.mark.skipif(
    not MEASURED.is_dir(), reason=f"the measured products are not here: {MEASURED}"
)
DEVICE = LinearDevice(g_min=1e-6, g_max=1e-4)


def bare(rows, cols, **parts):
    """Hardware of bare columns, one converter each."""
    wires = parts.pop("wires", Wires())
    array = Array(rows, cols, wires=wires)
    return Hardware(device=DEVICE, encoding=SingleColumn(), array=array, **parts)


def nodal(g, source, word, bit, sense):
    """Effective conductances by dense nodal analysis, independent of mho; all resistances > 0."""
    m, n = g.shape
    word_node = np.arange(m * n).reshape(m, n)
    bit_node = m * n + word_node
    a, b = np.zeros((2 * m * n, 2 * m * n)), np.zeros((2 * m * n, m))

    def join(p, q, c):
        a[p, p] += c
        a[q, q] += c
        a[p, q] -= c
        a[q, p] -= c

    for i in range(m):
        a[word_node[i, 0], word_node[i, 0]] += 1 / source
        b[word_node[i, 0], i] += 1 / source
        for j in range(n):
            join(word_node[i, j], bit_node[i, j], g[i, j])
            if j:
                join(word_node[i, j - 1], word_node[i, j], 1 / word)
            if i:
                join(bit_node[i - 1, j], bit_node[i, j], 1 / bit)
    for j in range(n):
        a[bit_node[m - 1, j], bit_node[m - 1, j]] += 1 / sense
    return (np.linalg.solve(a, b)[bit_node[m - 1]] / sense).T


class Chip:
    """Reads of a chip with hidden parameters, by numpy alone."""

    def __init__(self, seed, n=16, reads=500, wires=(6.0, 2.0, 3.0, 1e-3), noise=0.01, **more):
        rng = np.random.default_rng(seed)
        self.n, self.wires, self.noise = n, wires, noise
        self.gain = 1 + 0.05 * rng.standard_normal(n)
        self.offset = 2e-7 * rng.standard_normal(n)
        self.compression = more.get("compression", 2000.0)
        self.targets = rng.uniform(1e-6, 1e-4, (n, n))
        self.g = self.targets * (1 + more.get("programming", 0.0) * rng.standard_normal((n, n)))
        self.access = more.get("access", 0.0)
        self.stuck = {}
        for place in rng.choice(n * n, more.get("stuck", 0), replace=False):
            i, j = divmod(int(place), n)
            self.stuck[0, i, j] = 0.0 if self.g[i, j] > 4e-5 else 1.5e-4
            self.g[i, j] = self.stuck[0, i, j]
        self.v = rng.uniform(-0.2, 0.2, (reads, n))
        seen = self.g / (1 + self.access * self.g)
        clean = self.v @ (nodal(seen, *wires) if wires else seen)
        # What is left of the noise of a cell behind wires, near enough where they are mild.
        factor = nodal(self.targets, *wires) / self.targets if wires else 1 + 0 * seen
        sigma = noise * (DEVICE.g_max - DEVICE.g_min)
        noisy = clean + sigma * np.sqrt(self.v**2 @ factor**2) * rng.standard_normal(clean.shape)
        z = self.gain * noisy + self.offset
        self.y = z / (1 + self.compression * np.abs(z))
        self.shared = more.get("shared", 0.0)
        self.y += self.shared * rng.standard_normal((reads, 1))

    def fitted(self, **settings):
        names = {"seed": 0, **settings}
        return fit.hardware(bare(self.n, self.n), self.v, self.targets, self.y, **names)

    def scores(self, found):
        """Errors of the estimates in their own standard errors, by kind."""
        e = found.estimates
        truth = {
            "gain": self.gain,
            "offset": self.offset,
            **dict(zip(("source", "word", "bit"), self.wires or (), strict=False)),
            "compression": self.compression,
            "read_noise": self.noise,
        }
        scores = {}
        for name, value in truth.items():
            if name in ("gain", "offset"):
                each = [e[f"{name}[{j}]"] for j in range(self.n)]
                scores[name] = np.array(
                    [(x.value - t) / x.error for x, t in zip(each, value, strict=True)]
                )
            elif name in e:
                scores[name] = np.array([(e[name].value - value) / e[name].error])
        return scores


@pytest.fixture(scope="module")
def twins():
    """Four chips with all that is hidden at once, and their twins."""
    chips = [Chip(seed, stuck=3) for seed in range(4)]
    return [(chip, chip.fitted()) for chip in chips]


def test_what_is_hidden_is_found_within_its_errors(twins):
    scores = [chip.scores(found) for chip, found in twins]
    for name in ("gain", "offset"):
        squares = np.concatenate([s[name] for s in scores]) ** 2
        # Gains share what is not known of the wires: they count as fewer.
        assert 0.5 < squares.mean() < 2.0, name
    for name in ("source", "word", "bit", "compression", "read_noise"):
        each = np.array([s[name][0] for s in scores])
        assert np.abs(each).max() < 3.5, (name, each)
        assert abs(each.sum()) / len(each) ** 0.5 < 3.0, (name, each)


def test_broken_cells_are_found_with_what_they_conduct(twins):
    for chip, found in twins:
        places = {tuple(place) for place in np.argwhere(found.suspicious).tolist()}
        assert places == set(chip.stuck)
        for place, value in chip.stuck.items():
            estimate = found.estimates["g[{}, {}, {}]".format(*place)]
            assert abs(estimate.value - value) < 4 * estimate.error
            assert found.conductances[place] == estimate.value


def test_held_out_errors_have_their_predicted_distribution(twins):
    assert all(found.agreement.p_value > 0.001 for _, found in twins)
    inside = np.array([found.calibration.coverage for _, found in twins]).mean(0)
    np.testing.assert_allclose(inside, (0.5, 0.8, 0.9, 0.95), atol=0.02)
    assert "are distributed as predicted" in twins[0][1].verdict


def test_the_hardware_reproduces_the_chip_and_comes_back_from_yaml(twins, tmp_path):
    chip, found = twins[0]
    mho.save_hardware(found.hardware, tmp_path / "twin.yaml")
    assert mho.load_hardware(tmp_path / "twin.yaml") == found.hardware
    # The crossbar of that hardware alone, with its targets: broken cells are in the hardware.
    crossbar = mho.Crossbar(chip.n, chip.n - 1, found.hardware, seed=3, dtype=torch.float64)
    crossbar.store(torch.from_numpy(chip.targets)[None])
    np.testing.assert_allclose(crossbar.G.numpy(), found.conductances, rtol=1e-12)
    again = found.read(found.inputs, seed=1)
    z = (again - found.predicted) / found.deviations
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    assert stats.ks_2samp((again - found.predicted).ravel(), found.residuals.ravel()).pvalue > 1e-3
    assert not np.array_equal(again, found.read(found.inputs, seed=2))
    np.testing.assert_array_equal(again, found.read(found.inputs, seed=1))


def test_the_crossbar_takes_volts_and_gives_amperes(twins):
    _, found = twins[1]
    v = torch.from_numpy(found.inputs)
    lines = torch.from_numpy(found.read(found.inputs, seed=4))
    outputs = found.crossbar(seed=4)(v)
    np.testing.assert_allclose(outputs, lines[:, :-1] - lines[:, -1:], rtol=1e-9, atol=1e-18)


def test_others_of_its_kind_are_drawn(twins):
    chip, found = twins[0]
    gain = found.alike.amplifier.gain
    assert gain.nominal == pytest.approx(chip.gain.mean(), abs=0.02)
    drawn = [mho.Crossbar(4, 3, found.alike, seed=s).reader.view._lines.gain for s in range(2)]
    assert not torch.equal(*drawn)
    assert any(isinstance(e, effects.StuckAt) for e in found.alike.effects)


@pytest.mark.slow
def test_a_64_by_64_array_from_2000_reads():
    import time

    chip = Chip(1, n=16)  # noqa: F841 (warms what is compiled once)
    rng = np.random.default_rng(0)
    n = 64
    gain, offset = 1 + 0.05 * rng.standard_normal(n), 2e-7 * rng.standard_normal(n)
    g = rng.uniform(1e-6, 1e-4, (1, n, n))
    wires = Wires(source=5.0, word=2.0, bit=3.0)
    places = ((0, 7, 6), (0, 46, 31), (0, 3, 18))
    hidden = bare(
        n,
        n,
        wires=wires,
        amplifier=Amplifier(tuple(gain.tolist()), tuple(offset.tolist()), 300.0),
        effects=(effects.StuckCells(places, (0.0, 1.5e-4, 0.0)), effects.ReadNoise(0.01)),
    )
    crossbar = mho.Crossbar(n, n - 1, hidden, dtype=torch.float64)
    crossbar.store(torch.from_numpy(g))
    volts = crossbar.correction.replace(input_range=torch.tensor(0.2, dtype=torch.float64))
    crossbar.commit(correction=volts, observed=True)
    v = torch.from_numpy(rng.uniform(-0.2, 0.2, (2000, n)))
    y = crossbar.reader.observe(v)[0][0, 0]
    start = time.process_time()
    found = fit.hardware(bare(n, n), v, g, y)
    assert time.process_time() - start < 30.0
    e = found.estimates
    for name, value in (("source", 5.0), ("word", 2.0), ("bit", 3.0), ("compression", 300.0)):
        assert abs(e[name].value - value) < 3.5 * e[name].error
    z = [(e[f"gain[{j}]"].value - gain[j]) / e[f"gain[{j}]"].error for j in range(n)]
    assert np.mean(np.square(z)) < 6.0  # all share what is not known of the source resistance
    assert {tuple(p) for p in np.argwhere(found.suspicious).tolist()} == set(places)


def test_programming_errors_are_found_with_every_cell():
    chip = Chip(3, n=12, reads=400, wires=(), programming=0.05, compression=0.0)
    free = ("gain", "offset", "read_noise", "programming")
    found = chip.fitted(free=free)
    written = [e for e in found.hardware.effects if isinstance(e, effects.WriteNoise)]
    assert written[0].relative_to == "value"
    size = found.estimates["programming"]
    assert abs(size.value - 0.05) < 3.5 * size.error
    # Gains and conductances together make the products: compare what a line sees.
    e = found.estimates
    gain = np.array([e[f"gain[{j}]"].value for j in range(12)])
    error = found.conductances[0] * gain / (chip.g * chip.gain) - 1
    small = chip.targets > 1e-5
    assert np.abs(error[small]).max() < 0.1
    score = (found.conductances[0] - chip.g) / found.conductance_errors[0]
    assert 0.6 < (score**2).mean() < 1.6
    zs = chip.scores(found)["gain"]
    assert 0.3 < (zs**2).mean() < 2.5


def test_access_resistance_and_shared_noise_are_found():
    chip = Chip(5, n=12, reads=600, wires=(), access=800.0, shared=4e-7, compression=0.0)
    free = ("gain", "offset", "read_noise", "shared_noise", "access")
    found = chip.fitted(free=free)
    e = found.estimates
    for name, value in (("access", 800.0), ("shared_noise", 4e-7), ("read_noise", 0.01)):
        assert abs(e[name].value - value) < 3.5 * e[name].error, (name, str(e[name]))
    assert found.agreement.p_value > 0.001
    assert found.hardware.amplifier.shared_noise == e["shared_noise"].value
    again = found.read(np.repeat(found.inputs[:1], 3000, 0))
    together = again - again.mean(0)
    among = np.cov(together.T)
    off = among[~np.eye(12, dtype=bool)]
    assert off.mean() == pytest.approx(e["shared_noise"].value ** 2, rel=0.15, abs=0.0)
    # Alone, lines look noisier, and their errors hang together: the verdict says so.
    blind = chip.fitted(free=("gain", "offset", "read_noise", "access"))
    assert "common to all lines" in blind.verdict
    scores = chip.scores(found)
    assert 0.2 < (scores["gain"] ** 2).mean() < 2.5  # all share what is not known of the access


def test_noise_relative_to_the_conductance_is_told_from_that_of_the_window():
    rng = np.random.default_rng(2)
    n, g = 10, rng.uniform(1e-6, 1e-4, (10, 10))
    g[:, :5] *= 0.1
    v = rng.uniform(-0.2, 0.2, (600, n))
    noise = 0.03 * np.sqrt(v**2 @ g**2) * rng.standard_normal((600, n))
    noise += 2e-8 * rng.standard_normal((600, n))
    found = fit.hardware(bare(n, n), v, g, v @ g + noise, free=("gain", "offset", "read_noise"))
    (noise_found,) = found.hardware.effects
    assert noise_found.relative_to == "value"
    for name, value in (("read_noise", 0.03), ("output_noise", 2e-8)):
        estimate = found.estimates[name]
        assert abs(estimate.value - value) < 3.5 * estimate.error
    assert found.hardware.amplifier.noise == found.estimates["output_noise"].value


def test_what_is_not_modelled_is_seen():
    chip = Chip(7, compression=3e4, wires=(), n=10)
    free = ("gain", "offset", "read_noise")
    assert not chip.fitted(free=free).agreement.holds
    assert chip.fitted(free=(*free, "nonlinearity")).agreement.holds


def test_subtracted_pairs_and_fixed_parameters():
    rng = np.random.default_rng(4)
    g = rng.uniform(1e-6, 1e-4, (2, 8, 6))
    v = rng.uniform(-0.2, 0.2, (300, 8))
    gain = 1 + 0.05 * rng.standard_normal(6)
    y = gain * (v @ (g[0] - g[1])) + 1e-7 * rng.standard_normal((300, 6))
    known = Hardware(
        device=DEVICE,
        encoding=Differential(),
        array=Array(8, 6),
        amplifier=Amplifier(noise=1e-7),
    )
    found = fit.hardware(known, v, g, y, free=("gain",))
    z = [
        (found.estimates[f"gain[{j}]"].value - gain[j]) / found.estimates[f"gain[{j}]"].error
        for j in range(6)
    ]
    assert np.abs(z).max() < 3.5
    assert found.hardware.amplifier.offset == 0.0
    assert found.hardware.amplifier.noise == 1e-7
    outputs = found.crossbar()(torch.from_numpy(v)).numpy()
    assert np.abs(outputs - y).max() < 7 * 2**0.5 * 1e-7


def test_cells_that_bend_alike_are_driven_by_what_they_see():
    device = Yakopcic()
    rng = np.random.default_rng(6)
    low, high = device.window
    g = rng.uniform(low, high, (6, 5))
    v = rng.uniform(-0.2, 0.2, (300, 6))
    fv = device.transfer(torch.from_numpy(v)).numpy()
    clean = fv @ g
    y = clean + 0.002 * clean.std() * rng.standard_normal(clean.shape)
    hardware = Hardware(device=device, encoding=SingleColumn(), array=Array(6, 5))
    found = fit.hardware(hardware, v, g, y, free=("gain", "read_noise"))
    assert found.error < 0.005
    np.testing.assert_allclose(
        [found.estimates[f"gain[{j}]"].value for j in range(5)], 1.0, atol=0.002
    )


def test_rounded_outputs_and_drivers_are_read_as_they_are():
    rng = np.random.default_rng(9)
    dac, adc = mho.DAC(8, range=1.0), mho.ADC(9, range=2e-4)
    v = np.round(rng.uniform(-127, 127, (300, 6))) / 127 * 0.2
    g = rng.uniform(1e-6, 1e-4, (6, 5))
    y = 0.9 * (v @ g) + 1e-7 * rng.standard_normal((300, 5))
    step = 2e-4 / 255
    y = np.round(y / step) * step
    found = fit.hardware(bare(6, 5, dac=dac, adc=adc), v, g, y, free=("gain", "read_noise"))
    e = found.estimates
    z = [(e[f"gain[{j}]"].value - 0.9) / e[f"gain[{j}]"].error for j in range(5)]
    assert np.abs(z).max() < 3.5
    assert found.agreement.holds  # with what rounding adds
    again = found.read(found.inputs) / step
    np.testing.assert_allclose(again, again.round(), atol=1e-6)
    assert found.hardware.dac == dac
    assert np.abs(again * step - found.predicted).max() < 6 * found.deviations.max()


def test_any_unit_is_found_and_remarked_on():
    chip = Chip(11, n=8, reads=300)
    free = ("gain", "offset", "read_noise", "nonlinearity")
    found = fit.hardware(bare(8, 8), chip.v, chip.targets, 1e6 * chip.y, free=free)
    assert found.error < 0.05
    assert "are inputs in V" in found.verdict


def test_nothing_is_found_where_there_is_nothing():
    chip = Chip(12, n=8, reads=300, wires=(), compression=0.0)
    free = ("gain", "offset", "read_noise", "shared_noise", "cells", "programming", "access")
    found = chip.fitted(free=free)
    assert not found.suspicious.any()
    assert found.estimates["programming"].value < 0.005
    assert "shared_noise" not in found.estimates
    access = found.estimates["access"]
    assert access.value < 3.5 * access.error


@pytest.mark.parametrize("encoding", [SingleColumn(), Differential()])
def test_one_line_keeps_its_wires(encoding):
    rng = np.random.default_rng(0)
    known = Hardware(device=DEVICE, encoding=encoding, array=Array(64, 64))
    wired = known.replace(array=Array(32, 1, wires=Wires(bit=20.0)))
    g = torch.from_numpy(rng.uniform(1e-5, 1e-4, (encoding.slices, 32, 1)))
    v = torch.from_numpy(rng.uniform(0.0, 0.2, (300, 32)))
    y = twin_model.Array(wired).outputs(State.of(wired, g, 1, 300), v).numpy()
    y = y + 1e-3 * y.std() * rng.standard_normal(y.shape)
    found = fit.hardware(known, v, g, y, free=("bit", "read_noise"))
    assert found.hardware.array.wires.bit == pytest.approx(20.0, rel=0.02)
    off = (found.read(found.inputs) - found.measured) / found.deviations
    assert off.shape == (60, 1)
    assert np.abs(off).max() < 8
    if encoding.slices == 1:
        with pytest.raises(ValueError, match="at least 2 columns"):
            found.crossbar()


@pytest.mark.parametrize("free", [("gain", "offset"), ("gain", "offset", "read_noise")])
def test_noise_of_gains_that_is_known_counts(free):
    rng = np.random.default_rng(1)
    g, v = rng.uniform(1e-6, 1e-4, (8, 6)), rng.uniform(-0.2, 0.2, (500, 8))
    gain = 1 + 0.05 * rng.standard_normal(6)
    y = gain * (v @ g) * (1 + 0.05 * rng.standard_normal((500, 6)))
    y += 2e-8 * rng.standard_normal(y.shape) + 3e-7 * rng.standard_normal((500, 1))
    amplifier = Amplifier(noise=2e-8, gain_noise=0.05, shared_noise=3e-7)
    found = fit.hardware(bare(8, 6, amplifier=amplifier), v, g, y, free=free)
    pairs = fit.products(v @ g, y, bare(8, 6, amplifier=amplifier), free=free)
    for each in (found, pairs):
        e = [each.estimates[f"gain[{j}]"] for j in range(6)]
        z = [(x.value - t) / x.error for x, t in zip(e, gain, strict=True)]
        assert np.abs(z).max() < 3.5
        assert each.agreement.holds
        assert each.hardware.amplifier.gain_noise == pytest.approx(0.05, rel=0.1)
        assert each.hardware.amplifier.shared_noise == 3e-7
    assert found.hardware.amplifier.gain_noise == 0.05
    if "read_noise" in free:
        assert found.estimates["read_noise"].value < 5e-4
    again = np.concatenate([found.read(found.inputs, seed=s) for s in range(20)])
    ratio = (again - np.tile(found.predicted, (20, 1))) / np.tile(found.deviations, (20, 1))
    assert ratio.std() == pytest.approx(1.0, abs=0.05)


# ── parts ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("wires", [Wires(), Wires(source=20.0, word=8.0, bit=6.0, sense=3.0)])
def test_derivatives_are_those_of_the_outputs(wires):
    rng = torch.Generator().manual_seed(0)
    kind = {"generator": rng, "dtype": torch.float64}
    g = torch.rand(1, 6, 5, **kind) * 1e-4 + 1e-5
    v = torch.rand(7, 6, **kind) - 0.5
    state = State(
        1 + 0.1 * torch.randn(5, **kind),
        1e-6 * torch.randn(5, **kind),
        3e3,
        wires,
        50.0,
        g,
        torch.zeros(7, dtype=torch.float64),
    )
    names = () if wires.ideal else ("source", "word", "bit", "sense")
    array = twin_model.Array(bare(6, 5, wires=wires))
    free = frozenset({"gain", "offset", "nonlinearity", "cells"})
    task = Task(array, v, v @ g[0], state, free, (*names, "access"), 0.01)
    cells = torch.arange(6).expand(5, 6)
    own, shared, _ = twin_search.derivatives(task, state, v, cells, array.reach(state))

    def by(change, step):
        ends = [array.outputs(change(s), v) for s in (step, -step)]
        return (ends[0] - ends[1]) / (2 * step)

    def moved(name, line, step):
        value = getattr(state, name).clone()
        value[line] += step
        return replace(state, **{name: value})

    def cell(row, col, step):
        value = g.clone()
        value[0, row, col] += step
        return replace(state, g=value)

    for line in range(5):
        close = {"rtol": 1e-5, "atol": 1e-9 * float(own[line].abs().max())}
        found = by(lambda s, j=line: moved("gain", j, s), 1e-5)[:, line]
        np.testing.assert_allclose(own[line, :, 0], found, **close)
        found = by(lambda s, j=line: moved("offset", j, s), 1e-9)[:, line]
        np.testing.assert_allclose(own[line, :, 1], found, **close)
        for row in range(6):
            found = by(lambda s, i=row, j=line: cell(i, j, s), 1e-9)[:, line]
            np.testing.assert_allclose(own[line, :, 2 + row], found, **close)
    for k, name in enumerate((*names, "access")):
        value = state.resistances((name,))[0]
        found = by(lambda s, n=name, r=value: state.with_resistances({n: r + s}), 1e-2)
        scale = float(found.abs().max())
        np.testing.assert_allclose(shared[:, :, k].T, found, rtol=1e-4, atol=1e-5 * scale)
    found = by(lambda s: replace(state, compression=3e3 + s), 1.0)
    np.testing.assert_allclose(shared[:, :, -1].T, found, rtol=1e-5)


def test_variance_components_are_found_and_never_negative():
    rng = np.random.default_rng(0)
    shapes = torch.from_numpy(np.stack((rng.uniform(0, 2, 40_000), np.ones(40_000))))
    variance = 3.0 * shapes[0] + 0.5
    squares = variance * torch.from_numpy(rng.standard_normal(40_000)) ** 2
    tau, covariance, _ = variance_components(squares, shapes, 0.0)
    z = (tau - torch.tensor([3.0, 0.5])) / covariance.diagonal().sqrt()
    assert float(z.abs().max()) < 3.5
    tau, _, _ = variance_components(squares, shapes, 10.0)
    assert float(tau.min()) >= 0.0


@pytest.mark.parametrize("found", [0, 20])
def test_false_alarms_keep_their_rate(found):
    rng = torch.Generator().manual_seed(1)
    false, true = 0, 0
    for _ in range(200):
        score = torch.randn(2000, generator=rng).abs()
        score[:found] = 9.0
        above = score >= least_score(score, 0.1)
        false, true = false + int(above[found:].sum()), true + int(above[:found].sum())
    assert true == 200 * found
    if found:
        assert 0.07 < false / (false + true) < 0.13
    else:
        assert false < 60  # one or more in a tenth of the trials


def test_shared_errors_are_judged_given_one_another():
    rng = np.random.default_rng(3)
    own, together = 1.0 + rng.uniform(size=(300, 8)), 2.0
    errors = own * rng.standard_normal((300, 8)) + together * rng.standard_normal((300, 1))
    agree, calibration = agreement(errors, own, together)
    assert agree.p_value > 0.01
    assert np.abs(calibration.deviations).max() < 3.5
    alone, _ = agreement(errors, np.sqrt(own**2 + together**2))
    assert alone.shares
    assert not agree.shares


# ── refusals ─────────────────────────────────────────────────────────────────────────────────

V = np.random.default_rng(0).uniform(-0.2, 0.2, (60, 4))
G = np.random.default_rng(1).uniform(1e-6, 1e-4, (4, 3))
Y = V @ G + 1e-8 * np.random.default_rng(2).standard_normal((60, 3))


FEW = ("gain", "offset", "read_noise")


def spoilt(array, value, at=(0, 0)):
    other = array.copy()
    other[at] = value
    return other


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": V[:, :3]}, r"inputs must have shape \[reads, 4\]"),
        ({"outputs": Y[:, :2]}, r"outputs must have shape \[60, 3\]"),
        ({"inputs": V[:5], "outputs": Y[:5]}, "at least 20 reads"),
        ({"inputs": spoilt(V, np.nan)}, "inputs must be finite"),
        ({"outputs": spoilt(Y, np.inf)}, "outputs must be finite"),
        ({"conductances": -G}, "conductances must be >= 0"),
        ({"conductances": np.stack((G, G))}, "slices = 1"),
        ({"conductances": np.ones((4, 3, 1, 1))}, "conductances must have shape"),
        ({"hardware": bare(3, 3)}, "must fit one tile"),
        ({"hardware": Hardware()}, r"slices = 2.*SingleColumn"),
        ({"hardware": bare(4, 3, adc=mho.ADC(8))}, "range is in amperes"),
        ({"hardware": bare(4, 3, dac=mho.DAC(4, mode="bit_serial"))}, "'amplitude'"),
        ({"hardware": bare(4, 3, effects=(effects.TelegraphNoise(0.1),))}, "TelegraphNoise"),
        ({"hardware": bare(4, 3).replace(device=PCM())}, None),
        (
            {"hardware": bare(4, 3, amplifier=Amplifier((1.0, 1.0, 1.1))), "free": ("gain",)},
            "read_",
        ),
        ({"free": ("gains",)}, "every name in free must be one of"),
        ({"free": ()}, "must name something"),
        ({"free": ("gain",)}, "read_noise"),
        ({"held_out": 0.9}, "held_out must be"),
        ({"seed": -1}, "seed must be"),
        ({"false_alarms": 0.0}, "false_alarms must be"),
        ({"inputs": np.tile(V[:1], (60, 1)), "free": FEW}, "inputs must differ"),
        ({"inputs": 0 * V}, "must not all be 0"),
        ({"outputs": -Y}, "must follow the products"),
        ({"conductances": G * [1, 0, 1]}, r"lines \[1\] have none"),
        ({"hardware": bare(4, 3, adc=mho.ADC(8, range=1e-6))}, "ADC's range of 1e-06 A"),
        ({"hardware": bare(4, 3, dac=mho.DAC(8, v_max=0.1))}, "v_max = 0.1 V, got up to"),
        ({"inputs": V * [1, 1, 0, 1]}, r"rows \[2\] are never driven"),
        ({"inputs": V[:, [0, 1, 2, 2]]}, "independent"),
        ({"free": ("gain", "read_noise", "sense")}, "cannot determine 'sense'"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    given = {"hardware": bare(4, 3), "inputs": V, "conductances": G, "outputs": Y, **changes}
    if message is None:  # cells of any law of programming can be read
        fit.hardware(**{**given, "free": ("gain", "read_noise")})
        return
    with pytest.raises(ValueError, match=message):
        fit.hardware(**given)


def test_a_text_is_not_a_list_of_names():
    with pytest.raises(TypeError, match="collection of names"):
        fit.hardware(bare(4, 3), V, G, Y, free="gain")
    with pytest.raises(TypeError, match="hardware must be"):
        fit.hardware(DEVICE, V, G, Y)


def test_pairs_cannot_tell_which_of_two_cells_is_off():
    hardware = Hardware(device=DEVICE, array=Array(4, 3))
    with pytest.raises(ValueError, match="which cell of a pair"):
        fit.hardware(hardware, V, np.stack((G, G[::-1])), Y)


# ── products alone ───────────────────────────────────────────────────────────────────────────


def test_amplifiers_are_found_from_pairs_of_currents():
    rng = np.random.default_rng(8)
    x = 1e-4 * rng.standard_normal((500, 4))
    gain, offset = np.array([0.9, 1.0, 1.05, 1.1]), np.array([1e-6, 0.0, -2e-6, 3e-6])
    noisy = gain * x * (1 + 0.02 * rng.standard_normal(x.shape)) + offset
    y = noisy / (1 + 500 * np.abs(noisy)) + 5e-7 * rng.standard_normal(x.shape)
    found = fit.products(x, y)
    e = found.estimates
    truth = {f"gain[{j}]": gain[j] for j in range(4)}
    truth |= {f"offset[{j}]": offset[j] for j in range(4)}
    truth |= {"compression": 500.0, "gain_noise": 0.02, "output_noise": 5e-7}
    z = np.array([(e[n].value - t) / e[n].error for n, t in truth.items()])
    assert set(truth) == set(e)
    assert np.abs(z).max() < 3.5
    assert found.agreement.holds
    again = found.read(np.repeat(x, 20, 0), seed=2)
    assert stats.ks_2samp((again - np.repeat(x, 20, 0)).ravel(), (y - x).ravel()).pvalue > 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones(30), np.ones(31)), "one shape"),
        ((np.ones((30, 2, 2)), np.ones((30, 2, 2))), "one shape"),
        ((np.ones(5), np.ones(5)), "at least 20"),
        ((np.ones(30), np.full(30, np.nan)), "measured must be finite"),
        ((np.ones(30), np.ones(30)), "must vary"),
    ],
)
def test_pairs_that_tell_nothing_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit.products(*arguments)
    with pytest.raises(TypeError, match="collection of names"):
        fit.products(X, X, free="gain")
    with pytest.raises(ValueError, match="every name in free"):
        fit.products(np.arange(30.0), np.arange(30.0), free=("wires",))


X = 1e-5 * np.random.default_rng(0).standard_normal((60, 3))


@pytest.mark.parametrize(
    ("expected", "hardware", "free", "message"),
    [
        (X, None, ("gain", "offset"), "free must name 'read_noise'"),
        (X, None, (), "must name something"),
        (X * [1, 0, 1], None, ("gain", "read_noise"), r"lines \[1\]"),
        (X, Hardware(device=PCM()), ("gain", "read_noise"), "PCM: without inputs"),
        (X, Hardware(effects=(effects.ReadNoise(0.01),)), ("gain",), "ReadNoise: without"),
        (
            np.where(np.arange(60)[:, None] == 3, 0.0, X),
            Hardware(amplifier=Amplifier(gain_noise=0.1)),
            ("gain",),
            "3 of 180 outputs have none",
        ),
    ],
)
def test_products_without_noise_are_refused(expected, hardware, free, message):
    with pytest.raises(ValueError, match=message):
        fit.products(expected, X, hardware, free=free)


def measured():
    expected, found = (
        1e-6 * np.loadtxt(MEASURED / "f" / f"mac_{name}_k17_modebackward.txt")
        for name in ("itheory", "iexp")
    )
    g = 1e-12 * np.loadtxt(MEASURED / "d" / "conductance_map_multibit_k17.txt").T
    return expected, found, g


@needs_measurements
@pytest.mark.parametrize("seed", range(4))
def test_errors_of_measured_products_are_distributed_as_predicted(seed):
    expected, found, _ = measured()
    twin = fit.products(expected, found, seed=seed)
    assert twin.agreement.holds
    assert np.abs(twin.calibration.deviations).max() < 4.0
    many = np.tile(twin.expected, (20, 1))
    again = twin.read(many, seed=seed) - many
    assert stats.ks_2samp(again.ravel(), (twin.measured - twin.expected).ravel()).pvalue > 0.01
    assert "one read and the next are correlated" in twin.verdict


@needs_measurements
def test_the_measured_array_has_resistances_that_its_map_has_not():
    expected, found, g = measured()
    # Expected currents are products with the map of conductances: that tells the voltages.
    expected, found = expected.reshape(100, 25), found.reshape(100, 25)
    volts = np.linalg.solve(g.T, expected.T).T
    assert np.abs(volts).max() == pytest.approx(0.3, rel=1e-9)
    hardware = bare(25, 25).replace(device=LinearDevice(g_min=5e-5, g_max=1.3e-3))
    free = ("gain", "offset", "read_noise", "shared_noise", "programming", "access")
    twin = fit.hardware(hardware, volts, g, found, free=free)
    assert twin.agreement.holds
    assert 100 < twin.estimates["access"].value < 250
    assert twin.estimates["access"].value > 5 * twin.estimates["access"].error
    naive = fit.hardware(hardware, volts, g, found, free=("gain", "offset", "read_noise"))
    assert twin.error < naive.error


def test_cells_stuck_at_known_places_are_told_by_their_conductances():
    g = np.full((4, 3), 1e-5)
    stuck = effects.StuckCells(((0, 1, 1),), (0.0,))
    hardware = Hardware(
        device=LinearDevice(), encoding=SingleColumn(), array=Array(4, 3), effects=(stuck,)
    )
    v = np.random.default_rng(0).uniform(-0.2, 0.2, (50, 4))
    with pytest.raises(ValueError, match="must have no StuckCells"):
        fit.hardware(hardware, v, g, v @ g)
