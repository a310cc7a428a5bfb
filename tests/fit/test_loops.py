"""Switching loops, fitted back and measured."""

import dataclasses
import time
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch

from mho import Hardware, fit, plot
from mho.devices import VTEAM, Device, Spread
from mho.devices.jart_vcm import JARTVCM
from mho.fit import loop_cycles, loop_models, loop_setup, loop_uncertainty, loop_verdict
from mho.fit.access import Access
from mho.fit.loop_search import descend, jacobian

matplotlib.use("Agg")

LOOPS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "lea" / "figure_3" / "c"
needs_loops = pytest.mark.skipif(
    not LOOPS.is_dir(), reason=f"the ReRAM measurements are not here: {LOOPS}"
)

TRUE = VTEAM(r_on=1e3, r_off=1e4, v_on=-0.5, v_off=0.4, k_on=-2e-8, k_off=1e-8, alpha_on=2.0)
DT = 5e-3
EVERYTHING = {
    **{n: v for n, v in TRUE.to_dict().items() if n in loop_models.MODELS["vteam"].varies},
    **{"alpha_on": 2.0, "alpha_off": 3.0, "start": 1.0},
}


def triangle(samples=50):
    u = np.linspace(0.0, 1.0, samples)
    return np.concatenate([u, u[::-1], -u, -u[::-1]])


def made(device=TRUE, cycles=1, noise=0.02, seed=0):
    """Cycles by the devices' own adaptive simulation, one fabricated cell each, with noise."""
    v = triangle()
    cells = device.fabricate((cycles,), seed=seed, dtype=torch.float64)
    cells.x = torch.ones(cycles, dtype=torch.float64)
    current = cells.simulate(torch.from_numpy(v), dt=DT, adaptive=True).numpy()
    rng = np.random.default_rng(seed)
    current = current + noise * np.sqrt((current**2).mean()) * rng.standard_normal(current.shape)
    return v, current


def measured():
    parts = [
        np.vstack([np.loadtxt(LOOPS / f"iv_{s}_cycle{k}.txt") for s in ("positive", "negative")])
        for k in range(1, 20)
    ]
    return [part[:, 0] for part in parts], [part[:, 1] for part in parts]


@pytest.fixture(scope="module")
def one():
    """A fit of one made loop, by what made it."""
    v, i = made()
    return fit.loop(v, i[:, 0], time=DT * np.arange(len(v)), model="vteam", access="none")


def test_a_known_device_is_fitted_down_to_the_noise(one):
    assert one.pooled_rmse == pytest.approx(0.02, rel=0.1)
    assert one.shared_rmse[0] == pytest.approx(0.02, rel=0.1)
    assert one.rmse_to_mean[0] > one.relative_rmse[0]
    v, i = made(noise=0.0)
    # The clean loop is nearer than the noise: it is the law that was found, not the noise.
    miss = one.shared_current[:, 0] - i[:, 0]
    assert np.sqrt((miss**2).mean() / (i**2).mean()) < 0.012
    true = fit.hysteresis(v, i[:, 0])
    assert one.fitted.set == pytest.approx(true.set_voltages, abs=0.02)
    assert one.fitted.reset == pytest.approx(true.reset_voltages, abs=0.02)


def test_residuals_estimates_and_verdict(one):
    assert len(one.residuals) == 1
    assert one.residuals[0] == pytest.approx(one.data.current[:, 0] - one.own_current[:, 0])
    for name in ("v_on", "v_off", "r_on", "r_off", "k_on", "k_off", "alpha_on", "alpha_off"):
        estimate, true = one.estimates[name], getattr(TRUE, name)
        assert estimate.value == pytest.approx(getattr(one.nominal, name))
        # Errors of what spans decades are those of logarithms.
        off = np.log(estimate.value / true) if name.startswith("k_") else estimate.value / true - 1
        assert not abs(off) > 5 * estimate.error / abs(estimate.value), name
    assert one.calibration is None
    assert "too few cycles" in one.verdict.lower()
    assert "V/s" not in one.verdict  # times were given
    assert one.access == Access()
    assert one.orientation == 1


def test_the_device_serves(one, tmp_path):
    one.device.save(tmp_path / "cell.yaml")
    assert Device.load(tmp_path / "cell.yaml") == one.device
    assert Hardware(device=one.device).device == one.device
    # and the devices' own simulation of it goes through the measured points.
    v, i = made()
    cells = one.nominal.fabricate((), dtype=torch.float64)
    cells.x = torch.tensor(one.start, dtype=torch.float64)
    current = cells.simulate(torch.from_numpy(v), dt=DT, adaptive=True).numpy()
    assert np.sqrt(((current - i[:, 0]) ** 2).mean() / (i**2).mean()) < 0.03


def test_the_fit_simulates_other_sweeps(one):
    v, _ = made()
    again = one.simulate(v, time=DT * np.arange(len(v)))
    assert again == pytest.approx(one.shared_current[:, 0])
    small = one.simulate(0.2 * v, time=DT * np.arange(len(v)))
    assert small == pytest.approx(0.2 * v / 1e3, rel=0.03, abs=1e-9)  # it rests at low resistance
    reset = one.simulate(0.2 * v, rate=1.0, start=0.0)
    assert np.abs(reset).max() < 0.25 * np.abs(small).max()
    with pytest.raises(ValueError, match="start must be"):
        one.simulate(v, start=1.5)


def test_a_sweep_to_simulate_has_the_fits_rate_and_any_length(one):
    v, _ = made()
    fast = 1.0 / (49 * DT)  # of the measured times, but for the repeated turns
    assert one.rate == pytest.approx(fast, rel=0.03)
    assert one.simulate(v) == pytest.approx(one.simulate(v, rate=one.rate))
    assert one.simulate(v) != pytest.approx(one.simulate(v, rate=1.0), rel=0.01)
    assert len(one.simulate([0.0, 0.05, 0.1])) == 3
    for wrong in (np.stack([v, v]), [v, v], [0.5], []):
        with pytest.raises(ValueError, match=r"voltage must (be one sweep|not be empty)"):
            one.simulate(wrong)
    with pytest.raises(ValueError, match="rate must not be given with time"):
        one.simulate(v, rate=1.0, time=DT * np.arange(len(v)))
    with pytest.raises(ValueError, match="time and voltage must be as many, got 3"):
        one.simulate(v, time=[0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="rate must be > 0"):
        one.simulate(v, rate=0.0)


def test_a_given_rate_is_kept():
    v, i = made()
    fixed = {n: getattr(TRUE, n) for n in ("r_on", "r_off", "v_on", "k_on", "k_off", "alpha_on")}
    found = fit.loop(
        v, i[:, 0], rate=5.0, model="vteam", access="none", fixed={**fixed, "start": 1.0}
    )
    assert found.rate == 5.0
    assert found.simulate(v) == pytest.approx(found.shared_current[:, 0])


def test_errors_of_one_cycle_are_not_called_held_out(one):
    assert np.isnan(one.held_out_rmse["vteam"])
    two = dataclasses.replace(one, held_out_rmse={"vteam": np.nan, "jart": np.nan})
    told = loop_verdict._compared(two, {"vteam": 0.02, "jart": 0.1})
    assert (
        told == "No cycle was held out; errors of the fits to all of them: vteam 2.0%, jart 10.0%."
    )
    two = dataclasses.replace(one, held_out_rmse={"vteam": 0.02, "jart": 0.1})
    assert loop_verdict._compared(two, two.held_out_rmse).startswith("Cycles held out: vteam")


def test_figures(one):
    for logarithmic in (False, True):
        loops, on, off = plot.loop_fit(one, logarithmic=logarithmic)
        assert len(loops.lines) >= 3
        assert on.get_xlabel() == "set voltage (V)"
        assert off.get_xlabel() == "reset voltage (V)"
        loops.figure.canvas.draw()
        matplotlib.pyplot.close(loops.figure)


def problem(cycles=1, model="vteam", **options):
    v, i = made(cycles=cycles)
    data = fit.sweeps.sweeps([v] * cycles, list(i.T), rate=1.0 / (50 * DT))
    found = fit.branches.of_sweeps(data)
    options = {"access": "auto", "bounds": None, "fixed": None, **options}
    return loop_setup.problem_of(loop_models.MODELS[model], data, found, **options)


@pytest.mark.parametrize("model", loop_models.MODELS)
def test_every_model_begins_at_a_device_and_is_oriented(model):
    for polarity in (1, -1):
        scale = loop_models.Scale(2.0, 1e-4, 1e-6, 1.0, polarity)
        spec = loop_models.MODELS[model]
        device = spec.device(scale)
        free = spec.free(scale)
        values = {f.name: float(f.value(np.array(f.guess))) for f in free}
        device.replace(**values)  # accepted
        for end in (0.0, 1.0):
            device.replace(
                **{f.name: float(f.value(np.array(end))) for f in free if f.name != "r_on"}
            )
        assert set(spec.varies) <= set(values)
        assert abs(device.set_polarity) == 1


def test_bounds_fixed_values_and_access_act():
    found = problem(bounds={"v_on": (-0.6, -0.3), "w_off": (1e-9, 5e-9)}, fixed={"alpha_on": 2.0})
    free = {f.name: f for f in found.free}
    assert (free["v_on"].low, free["v_on"].high) == (-0.6, -0.3)
    assert "w_off" in free  # not searched by itself
    assert "alpha_on" not in free
    assert found.device.alpha_on == 2.0
    assert "series" in free
    held = problem(access=Access(r_positive=50.0, r_negative=70.0, compliance=2e-4))
    assert held.held["r_negative"] == 70.0
    assert held.compliance == 2e-4
    assert not {"series", "r_positive"} & {f.name for f in held.free}
    assert problem(fixed={"series": 30.0, "start": 1.0}).held == {"series": 30.0, "start": 1.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bounds": {"v_onn": (-1.0, -0.1)}}, "bounds has 'v_onn'"),
        ({"bounds": {"v_on": (-0.1, -1.0)}}, "low < high"),
        ({"fixed": {"v_onn": 1.0}}, "fixed has 'v_onn'"),
        ({"fixed": {"v_on": 0.3}}, "v_on must be < 0"),
        ({"fixed": {"v_on": float("nan")}}, r"fixed\['v_on'\] must be finite"),
        ({"access": "wires"}, "access must be one of"),
        ({"model": "team"}, "model must be one of"),
        ({"bounds": {"alpha_on": (1.0,)}}, r"bounds\['alpha_on'\] must be \(low, high\)"),
        ({"bounds": {"alpha_on": 3.0}}, r"bounds\['alpha_on'\] must be .* got 3.0"),
        ({"bounds": {"alpha_on": "ab"}}, r"bounds\['alpha_on'\] must be .* got 'ab'"),
        ({"bounds": {"alpha_on": ("a", "b")}}, r"bounds\['alpha_on'\] must be .* got \('a', 'b'\)"),
        ({"bounds": {"alpha_on": (1.0, np.inf)}}, r"two finite numbers, got \(1.0, inf\)"),
        ({"bounds": {"start": (0.0, 2.0)}}, r"bounds\['start'\] must be"),
        ({"bounds": {"series": (-5.0, 5.0)}}, r"bounds\['series'\] must be >= 0"),
        ({"fixed": {"start": 2.0}}, r"fixed\['start'\] must be"),
        ({"fixed": {"gain_positive": -1.0}}, r"fixed\['gain_positive'\] must be >= 0"),
        ({"access": "none", "fixed": EVERYTHING}, "fixed must leave a parameter to search"),
        ({"seed": -1}, "seed must be >= 0"),
        ({"rate": -1.0}, "rate must be > 0"),
    ],
)
def test_bad_wishes_are_refused(options, message):
    v, i = made()
    with pytest.raises(ValueError, match=message):
        fit.loop(v, i[:, 0], **{"model": "vteam", **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"access": 3}, "access must be 'auto', 'none' or an Access, got 3"),
        ({"bounds": [("v_on", 1.0)]}, "bounds must be a mapping"),
        ({"fixed": 3.0}, "fixed must be a mapping"),
    ],
)
def test_wishes_of_a_wrong_kind_are_refused(options, message):
    v, i = made()
    with pytest.raises(TypeError, match=message):
        fit.loop(v, i[:, 0], **{"model": "vteam", **options})


def test_a_curve_of_one_state_is_no_loop_and_a_loop_no_state():
    v, i = made()
    with pytest.raises(ValueError, match=r"mho.fit.loop"):
        fit.iv(v, i[:, 0])
    noise = 1e-7 * np.random.default_rng(0).standard_normal(len(v))
    with pytest.raises(ValueError, match=r"mho.fit.iv"):
        fit.loop(v, 1e-5 * np.sinh(2 * v) + noise)
    assert fit.iv(v, 1e-5 * np.sinh(2 * v) + noise).law == "sinh"


def test_a_flat_top_is_a_current_limit():
    v = triangle()
    i = np.where(np.arange(len(v)) < 50, 1e-5, 1e-4) * v
    assert loop_setup.compliance_of(fit.sweeps.whole(v, i)) is None
    cut = np.sign(i) * np.minimum(np.abs(i), 4e-5)
    assert loop_setup.compliance_of(fit.sweeps.whole(v, cut)) == pytest.approx(4e-5, rel=0.01)


def test_slopes_are_those_of_the_residuals():
    found = problem()
    parts = found.guess[None]
    miss, slopes = jacobian(found.trials, parts)
    step = 1e-3 * np.sign(0.5 - parts[0, 0])
    moved = parts.copy()
    moved[0, 0] += step
    change = (found.residuals(moved)[0] - miss[0]) / step
    # The first parameter moves all currents: the slope is that of a coarser difference.
    assert np.abs(change - slopes[0, :, 0]).max() < 0.05 * np.abs(change).max() + 1e-6


def test_descent_finds_the_bottom_of_a_valley():
    # Rosenbrock's function as residuals, with its bottom inside, and cut off by the bounds.
    def residuals(parts):
        x, y = 3.0 * parts[..., 0] - 1.0, 3.0 * parts[..., 1] - 1.0
        return np.stack([1.0 - x, 10.0 * (y - x**2)], axis=-1)

    starts = np.array([[0.0, 0.0], [0.2, 0.9], [0.9, 0.1]])
    parts, square = descend(residuals, starts, iterations=60)
    assert square == pytest.approx(0.0, abs=1e-6)
    assert parts == pytest.approx(np.full((3, 2), 2 / 3), abs=1e-3)

    def beyond(parts):
        return np.stack([parts[..., 0] - 2.0, parts[..., 1] - 0.25], axis=-1)

    parts, _ = descend(beyond, np.array([[0.5, 0.5]]), iterations=20)
    assert parts == pytest.approx(np.array([[1.0, 0.25]]), abs=1e-6)


def test_spreads_are_those_of_the_cycles():
    rng = np.random.default_rng(0)
    common = rng.standard_normal(400)
    own = np.stack(
        [
            -0.5 + 0.02 * (0.8 * common + 0.6 * rng.standard_normal(400)),
            0.4 + 0.01 * (0.8 * common + 0.6 * rng.standard_normal(400)),
        ],
        axis=1,
    )
    cycles = loop_cycles.Own(("v_on", "v_off"), np.zeros((400, 2)), own)
    device = loop_cycles.spread_device(TRUE, cycles, {"v_on": (-2.0, -0.1), "v_off": (0.1, 2.0)})
    drawn = device.fabricate((20_000,), seed=3, dtype=torch.float64).parameters_drawn()
    for k, name in enumerate(("v_on", "v_off")):
        assert float(drawn[name].mean()) == pytest.approx(own[:, k].mean(), abs=5e-4)
        assert float(drawn[name].std()) == pytest.approx(own[:, k].std(), rel=0.06)
    together = np.corrcoef(drawn["v_on"], drawn["v_off"])[0, 1]
    assert together == pytest.approx(np.corrcoef(own.T)[0, 1], abs=0.06)
    few = loop_cycles.Own(("v_on", "v_off"), np.zeros((2, 2)), own[:2])
    assert loop_cycles.spread_device(TRUE, few, {}) == TRUE


def test_own_parameters_of_every_cycle_are_found():
    spread = TRUE.replace(v_off=Spread("Uniform", (("low", 0.3), ("high", 0.5))))
    v, i = made(spread, cycles=5, noise=0.01)
    data = fit.sweeps.sweeps([v] * 5, list(i.T), time=[DT * np.arange(len(v))] * 5)
    fixed = {n: getattr(TRUE, n) for n in ("r_on", "r_off", "v_on", "k_on", "k_off", "alpha_on")}
    found = loop_setup.problem_of(
        loop_models.MODELS["vteam"],
        data,
        fit.branches.of_sweeps(data),
        access="none",
        bounds=None,
        fixed={**fixed, "alpha_off": 1.0, "start": 1.0},
    )
    shared = np.array([float(found.free[0].part(np.array(0.4)))])
    own = loop_cycles.own_parameters(found, shared, ("v_off",))
    true = spread.fabricate((5,), seed=0, dtype=torch.float64).parameters_drawn()["v_off"]
    assert own.values[:, 0] == pytest.approx(true.numpy(), abs=0.01)


def test_what_loops_do_not_tell_has_no_error():
    found = problem(fixed={"alpha_on": 2.0, "alpha_off": TRUE.alpha_off, "start": 1.0})
    values = {**{n: getattr(TRUE, n) for n in found.names if n != "series"}, "series": 100.0}
    parts = np.array([float(f.part(np.array(values[f.name]))) for f in found.free])
    estimates = loop_uncertainty.estimates_of(found, parts)
    assert np.isfinite([estimates[name].error for name in ("r_on", "v_on", "v_off")]).all()
    # A loop that does not reach high resistance does not tell it.
    assert np.isnan(estimates["r_off"].error)
    parts[found.names.index("v_on")] = 0.0
    assert np.isnan(loop_uncertainty.estimates_of(found, parts)["v_on"].error)
    # What moves no current is left where it is likely.
    wide = found.on(dataclasses.replace(found.data, seconds=0.0 * found.data.seconds))
    errors = loop_uncertainty.estimates_of(wide, parts)
    assert np.isnan(errors["k_on"].error)
    assert np.isnan(errors["k_off"].error)


@pytest.mark.parametrize("cycles", [3, 10])
def test_intervals_from_few_cycles_cover_what_they_say(cycles):
    # Voltages of a normal distribution: cycles that estimate it, one that is held out.
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(1500):
        seen = rng.standard_normal(cycles)
        drawn = seen.mean() + seen.std(ddof=1) * rng.standard_normal((200, 1))
        held_out = loop_cycles.Switching(rng.standard_normal(1), np.array([np.nan]))
        found = loop_cycles.coverage(held_out, (drawn, drawn), (0.0, 0.0), cycles)
        assert found.count == 1
        inside.append(found.coverage)
    assert np.mean(inside, axis=0) == pytest.approx([0.5, 0.8, 0.9, 0.95], abs=0.04)
    missed = loop_cycles.coverage(held_out, (drawn, drawn), (1e4, 0.0), cycles)
    assert missed.coverage[0] == 1.0


@pytest.mark.slow
def test_a_loop_of_jart_is_recovered():
    true = JARTVCM(
        radius=50e-9, l_disc=0.5e-9, n_max=15e26, n_min=0.01e26, r_th=1.3e7, barrier=0.2, r_line=0.0
    )
    u = np.linspace(0.0, 1.5, 40)
    v = np.concatenate([-u, -u[::-1], u, u[::-1]])
    cells = true.fabricate((), dtype=torch.float64)
    cells.x = torch.tensor(0.15, dtype=torch.float64)
    i = cells.simulate(torch.from_numpy(v), dt=u[1], adaptive=True).numpy()
    noise = 0.01 * np.sqrt((i**2).mean()) * np.random.default_rng(0).standard_normal(len(i))
    found = fit.loop(v, i + noise, rate=1.0, model="jart", access="none", cycle=np.zeros(len(v)))
    miss = found.shared_current[:, 0] - i
    assert np.sqrt((miss**2).mean() / (i**2).mean()) < 0.05
    true = fit.hysteresis(v, i)
    assert found.fitted.set == pytest.approx(true.set_voltages, abs=0.03)
    assert found.fitted.reset == pytest.approx(true.reset_voltages, abs=0.03)


@needs_loops
def test_measured_loops_are_loops_and_their_rising_parts_are_not():
    voltage, current = measured()
    found = fit.hysteresis(voltage, current)
    assert found.polarity == -1
    assert -1.9 < found.set_voltages.mean() < -1.6
    assert 0.8 < found.reset_voltages.mean() < 0.9
    for v, i in zip(voltage, current, strict=True):
        assert fit.hysteresis(v, i).is_loop
        with pytest.raises(ValueError, match=r"mho.fit.loop"):
            fit.iv(v, i)
        rise = slice(0, int(np.argmax(v > 0.5)))
        assert not fit.hysteresis(v[rise], i[rise]).is_loop


@needs_loops
@pytest.mark.slow
def test_measured_loops_are_reproduced_with_their_spread():
    voltage, current = measured()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        began = time.process_time()
        found = fit.loop(voltage, current, model="vteam")
        seconds = time.process_time() - began
    finally:
        torch.set_num_threads(threads)
    assert seconds < 60.0
    assert found.pooled_rmse < 0.07
    assert found.shared_rmse.max() < 0.16
    assert found.relative_rmse.max() < 0.11
    assert found.access.gain_negative > 0.0  # low resistance conducts from -0.6 V on
    for name in ("set", "reset"):
        real, drawn = getattr(found.measured, name), getattr(found.drawn, name)
        assert np.isfinite(drawn).mean() > 0.98
        error = real.std(ddof=1) / len(real) ** 0.5
        # The model turns more gently than the measured jump, which moves the set by 40 mV.
        assert abs(np.nanmean(drawn) - real.mean()) < 4 * error, name
        # A standard deviation of 19 cycles is known to 1/√36, that of the drawn far better.
        assert np.nanstd(drawn) == pytest.approx(real.std(ddof=1), rel=3 / 36**0.5), name
    assert found.calibration.count == 18
    assert "1 V/s, an assumption" in found.verdict
    assert isinstance(found.device.v_on, Spread)
