"""Phase-change memory: the published moments, and the published error of whole matrices."""

import functools
import math

import numpy as np
import pytest
import torch

from mho import Crossbar, Hardware
from mho.devices.pcm import PCM, PCMHermes
from mho.encoding import Differential
from mho.model.compensate import compensate

N = 40_000
HOUR, DAY, YEAR = 3600.0, 86400.0, 3.1536e7


def programmed(device, g, n=N, seed=0):
    """Cells of one target, programmed exactly (so that drift and reads are those of ``g``)."""
    cells = device.replace(write_scale=0.0).fabricate((n,), seed=seed, dtype=torch.float64)
    cells.program(torch.tensor(g))
    return cells


def mean_and_std(sample, mean, std, n=N):
    """Compare a normal sample's moments with what is expected, to four standard errors."""
    assert abs(float(sample.mean()) - mean) < 4 * std / n**0.5
    assert abs(float(sample.std()) / std - 1) < 4 / (2 * n) ** 0.5


# ── PCM ──────────────────────────────────────────────────────────────────────────────────────

# Worked out by hand from the paper's formulas: g (µS), σ (µS), mean ν, sd ν, read-noise ratio.
JOSHI = [
    (0.25, 0.26348 + 0.01965 - 0.00011731, 0.0957801, 0.045, 0.0088 / 0.01**0.65),
    (2.5, 0.26348 + 0.1965 - 0.011731, 0.0600901, 0.0228823, 0.0088 / 0.1**0.65),
    (12.5, 0.26348 + 0.9825 - 0.293275, 0.049, 0.008, 0.0088 / 0.5**0.65),
    (25.0, 0.26348 + 1.9650 - 1.1731, 0.049, 0.008, 0.0088),
]


@pytest.mark.parametrize(("g", "sigma", "mean", "sd", "noise"), JOSHI)
def test_joshi_moments(g, sigma, mean, sd, noise):
    device = PCM()
    if g > 4 * sigma:
        cells = device.fabricate((N,), seed=1, dtype=torch.float64)
        cells.program(torch.tensor(g * 1e-6))
        mean_and_std(cells.g * 1e6 - g, 0.0, sigma)
    assert float(device.write_std(torch.tensor(g * 1e-6).double(), None)) == pytest.approx(
        sigma * 1e-6, rel=1e-6
    )
    cells = programmed(device, g * 1e-6)
    cells.age(DAY)
    nu = -(cells.g / (g * 1e-6)).log() / math.log(DAY / 20.0)
    assert min(mean, sd) > 0
    mean_and_std(nu, mean, sd)
    relative = cells.read() / cells.g - 1
    mean_and_std(relative, 0.0, noise * math.sqrt(math.log((DAY + 250e-9) / 500e-9)))


def test_read_noise_of_low_cells_is_at_most_a_fifth():
    cells = programmed(PCM(), 0.05e-6)  # r = 0.002: 0.0088 / r^0.65 would be 0.5
    cells.age(1.0)
    relative = cells.read() / cells.g - 1
    mean_and_std(relative, 0.0, 0.2 * math.sqrt(math.log((20.0 + 250e-9) / 500e-9)))


def test_drift_of_low_cells_is_clipped():
    for g in (0.0, 1e-9, 0.1e-6):
        mean, sd = PCM().drift_moments(torch.tensor(g))
        assert (float(mean), float(sd)) == pytest.approx((0.1, 0.045))


def test_idle_cells_end_at_a_half_normal():
    cells = PCM().fabricate((N,), seed=3, dtype=torch.float64)
    cells.program(torch.zeros(()))
    half = 0.26348e-6 / math.sqrt(2 * math.pi)
    std = 0.26348e-6 * math.sqrt(0.5 - 0.5 / math.pi)
    assert abs(cells.g.mean() - half) < 4 * std / N**0.5
    assert (cells.g == 0).double().mean() == pytest.approx(0.5, abs=4 * 0.5 / N**0.5)
    cells.age(YEAR)
    assert torch.isfinite(cells.g).all()
    assert torch.isfinite(cells.read()).all()


@pytest.mark.parametrize(("device", "q"), [(PCM(), 0.0159641), (PCMHermes(), 0.0167366)])
def test_until_t0_nothing_drifts_and_reads_are_as_noisy_as_then(device, q):
    # Q of 10 µS: 0.0088 / 0.4^0.65, and the cubic at x = 10/20.7.
    cells = programmed(device, 1e-5)
    noise = q * math.sqrt(math.log((device.t0 + device.t_read) / (2 * device.t_read)))
    for wait in (0.0, 0.5 * device.t0, 0.5 * device.t0):
        cells.age(wait)
        assert torch.equal(cells.g, torch.full((N,), 1e-5).double())
        mean_and_std(cells.read() / cells.g - 1, 0.0, noise)
    cells.age(1.0)
    assert (cells.g < 1e-5).double().mean() > 0.99


@pytest.mark.parametrize(
    ("device", "error"), [(PCM(), 0.080), (PCMHermes(devices=1), 0.164), (PCMHermes(), 0.100)]
)
def test_a_fresh_read_is_noisy_in_training_too(device, error):
    # In quadrature: 0.063 of programming and 0.049 of reading make 0.080.
    source = torch.Generator().manual_seed(0)
    weight = 2 * torch.rand(256, 256, generator=source) - 1
    x = 2 * torch.rand(512, 256, generator=source) - 1
    y = x @ weight
    crossbar = Crossbar(256, 256, Hardware(device=device, encoding=Differential()), seed=0)
    crossbar.program(weight)
    torch.manual_seed(1)  # not the numbers that the weights are made of
    for read in (x @ crossbar, crossbar.read_through(x, weight)):
        assert float((read - y).norm() / y.norm()) == pytest.approx(error, rel=0.02)
    assert not torch.equal(x @ crossbar, x @ crossbar)


# ── the published table ──────────────────────────────────────────────────────────────────────

# time: error with global drift compensation, factor, error without compensation.
TABLE = {
    0.0: (0.063, 1.0, 0.063),
    HOUR: (0.096, 1.29, 0.24),
    DAY: (0.112, 1.51, 0.35),
    YEAR: (0.151, 2.00, 0.51),
}
SEEDS = 8


@functools.lru_cache(maxsize=1)
def measured_table():
    """Errors relative to the ideal output: ``‖ŷ - y‖ / ‖y‖`` over random inputs.

    y = x @ W with W ~ U(-1, 1), 256 × 256 and x ~ U(-1, 1). ŷ is the crossbar's output for the
    same x: differential pairs of PCM cells, both of which were programmed with error, converters
    ideal. A read has read noise. The table's t = 0 is the error of programming alone: the
    formula's noise is zero at t = 0, and a device's reads are noisy from then on; it is read
    without. The compensation's reference read is noisy too. (With inputs of independent
    entries this equals, in expectation, the error of the weights ``‖Ŵ - W‖ / ‖W‖``, one read
    of each cell.)

    The source gives ν and read noise as functions of the target; here they are those of the
    conductance that was programmed. By the formulas (4·10⁶ weights) the target's give 0.0947,
    0.1110, 0.1493, the programmed conductance's 0.0945, 0.1109, 0.1493: both 1 to 1.6 % below the
    table, whose three digits are good to 0.5 %. t = 20 s + Δt instead of t changes nothing here.
    """
    rows = {time: [] for time in TABLE}
    for seed in range(SEEDS):
        source = torch.Generator().manual_seed(seed)
        weight = 2 * torch.rand(256, 256, generator=source) - 1
        x = 2 * torch.rand(2048, 256, generator=source) - 1
        y = x @ weight
        for time in TABLE:
            device = PCM(read_scale=1.0 if time else 0.0)
            hardware = Hardware(device=device, encoding=Differential())
            crossbar = Crossbar(256, 256, hardware, seed=seed)
            crossbar.program(weight)
            crossbar.age(time)
            before = float((x @ crossbar - y).norm() / y.norm())
            factor = float(compensate(crossbar)[""][0])
            after = float((x @ crossbar - y).norm() / y.norm())
            rows[time].append((after, factor, before))
    return {time: np.array(values) for time, values in rows.items()}


@pytest.mark.slow
@pytest.mark.parametrize("time", list(TABLE))
def test_published_table(time):
    error, factor, uncompensated = measured_table()[time].mean(0)
    expected_error, expected_factor, expected_uncompensated = TABLE[time]
    assert error == pytest.approx(expected_error, rel=0.02)
    assert factor == pytest.approx(expected_factor, rel=0.02)
    assert uncompensated == pytest.approx(expected_uncompensated, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("time", list(TABLE))
def test_table_agrees_with_the_formulas_in_numpy(time):
    # The same experiment on weights, written down directly from the paper.
    rng = np.random.default_rng(1)
    weight = rng.uniform(-1, 1, (1024, 1024))
    target = np.stack([weight.clip(0), (-weight).clip(0)])
    r = target
    sigma = 0.26348 + 1.9650 * r - 1.1731 * r**2
    stored = (25 * r + sigma * rng.standard_normal(r.shape)).clip(0)
    r = (stored / 25).clip(1e-9)
    mean = (-0.0155 * np.log(r) + 0.0244).clip(0.049, 0.1)
    sd = (-0.0125 * np.log(r) - 0.0059).clip(0.008, 0.045)
    nu = mean + sd * rng.standard_normal(r.shape)
    now = stored * (max(time, 20.0) / 20.0) ** -nu
    growth = math.sqrt(max(math.log((time + 250e-9) / 500e-9), 0.0))
    noise = now * np.minimum(0.0088 / r**0.65, 0.2) * growth

    def read():
        positive, negative = now + noise * rng.standard_normal(r.shape)
        return (positive - negative) / 25

    factor = np.abs(stored[0] - stored[1]).sum() / 25 / np.abs(read()).sum()
    size = np.linalg.norm(weight)
    expected = (
        np.linalg.norm(factor * read() - weight) / size,
        factor,
        np.linalg.norm(read() - weight) / size,
    )
    found = measured_table()[time]
    error = found.std(0, ddof=1) / SEEDS**0.5
    # The estimates of eight seeds, and those of the formulas from one matrix 16 times as large.
    assert (np.abs(found.mean(0) - expected) < 5 * error + 2e-4).all()


# ── Hermes ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("x", "mean", "sd", "q"),
    [
        (0.005, 0.13, 0.04, 0.04),
        (0.05, 0.0977344, 0.0293501, 0.0281501),
        (0.2, 0.069336, 0.0131304, 0.0154552),
        (0.5, 0.0564, 0.009, 0.0167125),
        (1.0, 0.0174, 0.0048, 0.0123),
    ],
)
def test_hermes_moments(x, mean, sd, q):
    device = PCMHermes()
    g = x * device.g_max
    found = device.drift_moments(torch.tensor(g).double())
    assert [float(m) for m in found] == pytest.approx([mean, sd], rel=1e-5)
    cells = programmed(device, g)
    cells.age(HOUR)
    nu = -(cells.g / g).log() / math.log(HOUR / 300.0)
    mean_and_std(nu, mean, sd)
    growth = math.sqrt(math.log((HOUR + 512e-9) / 1024e-9))
    mean_and_std(cells.read() / cells.g - 1, 0.0, q * growth)


def test_hermes_programming_error():
    for devices, sigma in ((1, 1.0075670), (2, 1.0927139)):
        device = PCMHermes(devices=devices)
        cells = device.fabricate((N,), seed=2, dtype=torch.float64)
        cells.program(torch.tensor(device.g_max))
        mean_and_std((cells.g - device.g_max) * 1e6, 0.0, sigma)


def test_one_hermes_device_varies_as_a_half_of_two():
    one, two = PCMHermes(devices=1), PCMHermes(devices=2)
    assert (one.t0, two.t0) == (200.0, 300.0)
    x = torch.linspace(0.01, 1, 50).double()
    mean_one, sd_one = one.drift_moments(x * one.g_max)
    mean_two, sd_two = two.drift_moments(x * two.g_max)
    assert torch.allclose(mean_one, mean_two)
    assert torch.allclose(sd_one, 2**0.5 * sd_two)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: PCM(g_max=30e-6), r"g_max must be <= 2\.5e-05, got 3e-05"),
        (lambda: PCM(t0=0.0), r"t0 must be > 0, got 0\.0"),
        (lambda: PCM(t_read=-1.0), r"t_read must be > 0, got -1\.0"),
        (lambda: PCMHermes(devices=3), "devices must be one of 1, 2; got 3"),
        (lambda: PCMHermes(devices=1, g_max=20e-6), r"g_max must be <= 1\.035e-05, got 2e-05"),
        (lambda: PCMHermes(t_read=0.0), r"t_read must be > 0, got 0\.0"),
    ],
)
def test_bad_values_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
