"""Maps of cells: spreads that are the truth's, errors that are the scatter of the estimates."""

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from mho import fit
from mho.devices import Device, LinearDevice, Spread
from mho.plot.wafer import spread_report


def cells(n, seed, *, rho=0.6, lognormal=True):
    rng = np.random.default_rng(seed)
    common, own = rng.normal(size=(2, n))
    score = rho * common + np.sqrt(1 - rho**2) * own
    if lognormal:
        return np.exp(-10.0 + 0.2 * common), np.exp(-13.0 + 0.3 * score)
    return 50e-6 + 8e-6 * common, 5e-6 + 0.6e-6 * score


@pytest.mark.parametrize(("lognormal", "rho"), [(True, 0.6), (False, -0.5)])
def test_the_device_draws_cells_like_those_measured(lognormal, rho, tmp_path):
    high, low = cells(4000, 1, rho=rho, lognormal=lognormal)
    found = fit.cell_map(high, low)
    assert found.distributions == (("LogNormal",) * 2 if lognormal else ("Normal",) * 2)
    assert found.estimates["correlation"].value == pytest.approx(rho, abs=0.04)
    found.device.save(tmp_path / "d.yaml")
    device = Device.load(tmp_path / "d.yaml")
    assert device == found.device
    drawn = device.fabricate((40_000,), seed=2, dtype=torch.float64)
    g_max, g_min = (drawn.parameter(name).numpy() for name in ("g_max", "g_min"))
    shape = np.log if lognormal else np.asarray
    for wanted, got in ((high, g_max), (low, g_min)):
        wanted, got = shape(wanted), shape(got)
        # Both means and deviations are those of samples.
        error = wanted.std() * np.sqrt(1 / 4000 + 1 / 40_000)
        assert abs(got.mean() - wanted.mean()) < 4 * error
        assert abs(got.std() - wanted.std()) < 4 * error
    assert np.corrcoef(shape(g_max), shape(g_min))[0, 1] == pytest.approx(rho, abs=0.06)


def test_errors_are_the_scatter_of_the_estimates():
    fits = [
        fit.cell_map(*cells(60, seed), distribution="LogNormal").estimates for seed in range(300)
    ]
    points = np.array([one.point for one in fits])
    covariance = np.mean([one.covariance for one in fits], axis=0)
    scatter = np.cov(points, rowvar=False)
    # A standard deviation of 300 draws is known to 4 %; 60 cells leave a bias of about as much.
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), np.sqrt(np.diag(scatter)), rtol=0.17)
    size = np.sqrt(np.diag(scatter))
    difference = (covariance - scatter) / np.outer(size, size)
    assert np.abs(difference).max() < 0.3
    truth = np.array([-10.0, 0.2, -13.0, 0.3, 0.6])
    inside = np.abs(points - truth) < 1.96 * np.sqrt(
        np.array([np.diag(o.covariance) for o in fits])
    )
    assert (inside.mean(axis=0) > 0.88).all()


def test_likelier_distribution():
    rng = np.random.default_rng(4)
    right = 0
    for _ in range(100):
        normal = rng.normal(10e-6, 3e-6, 400)
        lognormal = np.exp(rng.normal(-11, 0.3, 400))
        right += fit.cell_map(np.abs(normal) + 1e-9).distributions == ("Normal",)
        right += fit.cell_map(lognormal).distributions == ("LogNormal",)
    assert right > 190


def test_calibration_is_right_and_says_where_it_is_not():
    high, low = cells(2000, 5)
    found = fit.cell_map(high, low)
    assert found.calibration.count == 4000
    assert all(abs(off) < 3.5 for off in found.calibration.deviations)
    two = np.concatenate([np.exp(np.random.default_rng(k).normal(m, 0.05, 500))
                          for k, m in ((1, -10.0), (2, -11.5))])  # fmt: skip
    odd = fit.cell_map(two)
    assert "several populations?" in odd.verdict
    assert abs(odd.calibration.deviations[0]) > 10


def test_what_the_verdict_says():
    high, low = cells(400, 6)
    x, y = np.divmod(np.arange(400.0), 20)
    said = fit.cell_map(high, low, x=x, y=y).verdict
    assert "correlation of LRS and HRS 0.6" in said
    assert "kept in the device" in said
    bowl = np.exp(0.02 * ((x - 10) ** 2 + (y - 10) ** 2) / 10)
    shares = [int(part.split("%")[0].split()[-1])
              for part in fit.cell_map(high * bowl, x=x, y=y).verdict.split(";")
              if "follows the position" in part]  # fmt: skip
    assert 15 < shares[0] < 60
    high[:3] *= 20
    assert "3 beyond 4 standard deviations: broken cells" in fit.cell_map(high).verdict
    independent = fit.cell_map(*cells(400, 7, rho=0.0))
    assert "taken as none" in independent.verdict
    assert independent.device.g_max.shared is None


def test_one_state():
    high, _ = cells(50, 8)
    alone = fit.cell_map(high)
    assert alone.device is None
    assert "no device: one state only" in alone.verdict
    known = fit.cell_map(high, g_min=1e-7)
    assert isinstance(known.device, LinearDevice)
    assert known.device.g_min == 1e-7
    assert isinstance(known.device.g_max, Spread)
    assert fit.cell_map(high[:20], g_min=0.0).calibration is None


def test_bad_maps_are_refused():
    high, low = cells(50, 9)
    for arguments, pattern in [
        (((high[:5]),), "too few cells"),
        ((high, low[:40]), "as many"),
        ((low, high), "lrs must conduct more"),
        ((np.append(high, 0.0),), "lrs must be > 0"),
        ((np.append(high, np.nan),), "must be finite"),
        ((np.full(20, 1e-6),), "must differ from cell to cell"),
    ]:
        with pytest.raises(ValueError, match=pattern):
            fit.cell_map(*arguments)
    with pytest.raises(ValueError, match="g_min must not be given beside hrs"):
        fit.cell_map(high, low, g_min=1e-9)
    with pytest.raises(ValueError, match="g_min must be >= 0 and <"):
        fit.cell_map(high, g_min=1.0)


def test_the_picture():
    found = fit.cell_map(*cells(100, 10))
    axes = tuple(Figure().subplots(2, 1))
    assert spread_report(found, axes=axes) == axes
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == [
        "LRS", "LRS: lognormal", "HRS", "HRS: lognormal",
    ]  # fmt: skip
    drawn = np.sort(np.concatenate([line.get_ydata() for line in axes[0].lines[::2]]))
    measured = np.sort(np.concatenate(cells(100, 10)))
    np.testing.assert_allclose(drawn / drawn[-1], measured / measured[-1], rtol=1e-9)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"x": np.arange(30)}, ValueError, "x must be given with y"),
        ({"y": np.arange(30)}, ValueError, "y must be given with x"),
        ({"x": np.arange(30), "y": np.arange(29)}, ValueError, "y must be as many as the cells"),
        ({"x": np.arange(60), "y": np.arange(60)}, ValueError, "x must be as many as the cells"),
        ({"seed": -1}, ValueError, "seed must be >= 0"),
        ({"seed": 1.5}, TypeError, "seed must be an integer"),
    ],
)
def test_positions_and_seeds_are_checked(given, error, words):
    with pytest.raises(error, match=words):
        fit.cell_map(*cells(30, 0), **given)


def test_the_picture_of_ones_own_is_one_figure():
    from matplotlib import pyplot as plt

    plt.close("all")
    top, bottom = spread_report(fit.cell_map(*cells(30, 0)))
    assert top.figure is bottom.figure
    assert len(plt.get_fignums()) == 1
    plt.close("all")
