"""Spreads that vary together: a Gaussian copula between a device's parameters."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import stats
from torch import distributions as td

import mho
from mho.cells.device import Device
from mho.core.spec import Spec
from mho.devices import LinearDevice, Spread
from mho.devices.vteam import VTEAM

N = 20_000


@dataclass(frozen=True)
class Three(Device):
    """Any three parameters beside a window."""

    g_min: float | Spread = 0.0
    g_max: float | Spread = 1.0
    a: float | Spread = 0.0
    b: float | Spread = 0.0
    c: float | Spread = 0.0


def normal(**changes):
    return Spread(td.Normal(0.0, 1.0), **changes)


def drawn(device, n=N, seed=0):
    cells = device.fabricate((n,), seed=seed, dtype=torch.float64)
    return {name: value.numpy() for name, value in cells.parameters_drawn().items()}


def correlation_error(r):
    return 4 * (1 - r * r) / math.sqrt(N) + 1e-9


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (0.8, 0.8, 0.8),
        (-0.6, -0.6, 0.6),
        (0.7, -0.7, -0.7),
        (0.9, 0.4, 0.6),
        (0.0, 0.9, 0.0),
        (1.0, 1.0, 1.0),
    ],
)
def test_normal_spreads_have_the_stated_correlation(first, second, expected):
    device = Three(
        a=normal(shared="film", correlation=first), b=normal(shared="film", correlation=second)
    )
    values = drawn(device)
    found = np.corrcoef(values["a"], values["b"])[0, 1]
    assert abs(found - expected) < correlation_error(expected)
    for value in values.values():
        assert stats.kstest(value, "norm").pvalue > 1e-3


def test_marginals_stay_and_scores_correlate():
    device = Three(
        a=Spread(td.LogNormal(-2.0, 0.7), shared="film", correlation=0.6),
        b=Spread(td.Weibull(2.0, 1.5), shared="film", correlation=0.6),
        c=Spread(td.Uniform(1.0, 3.0), shared="film", correlation=-0.6),
    )
    values = drawn(device, seed=1)
    laws = {
        "a": stats.lognorm(0.7, scale=math.exp(-2.0)),
        "b": stats.weibull_min(1.5, scale=2.0),
        "c": stats.uniform(1.0, 2.0),
    }
    scores = {}
    for name, law in laws.items():
        assert stats.kstest(values[name], law.cdf).pvalue > 1e-3
        scores[name] = stats.norm.ppf(law.cdf(values[name]))
    for one, other, expected in (("a", "b", 0.6), ("a", "c", -0.6), ("b", "c", -0.6)):
        found = np.corrcoef(scores[one], scores[other])[0, 1]
        assert abs(found - expected) < correlation_error(expected)


def test_causes_are_independent_of_one_another_and_of_plain_spreads():
    device = Three(
        a=normal(shared="film", correlation=0.9),
        b=normal(shared="lithography", correlation=0.9),
        c=normal(),
    )
    values = drawn(device)
    for one, other in (("a", "b"), ("a", "c"), ("b", "c")):
        assert abs(np.corrcoef(values[one], values[other])[0, 1]) < correlation_error(0.0)


def test_bounds_truncate_without_a_spike():
    device = Three(
        a=normal(shared="film", correlation=0.8, low=-0.5, high=1.0),
        b=normal(shared="film", correlation=0.8),
    )
    values = drawn(device)
    assert values["a"].min() > -0.5
    assert values["a"].max() < 1.0
    assert stats.kstest(values["a"], stats.truncnorm(-0.5, 1.0).cdf).pvalue > 1e-3
    assert np.corrcoef(values["a"], values["b"])[0, 1] > 0.6


def test_bounds_outside_the_support_do_nothing():
    spread = Spread(td.LogNormal(0.0, 1.0), low=-1.0, high=1e9, shared="film", correlation=0.5)
    score = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64)
    assert torch.allclose(spread.quantile(score), score.exp())


def test_extreme_scores_stay_finite():
    score = torch.tensor([-40.0, 40.0])
    for given in (td.Normal(0.0, 1.0), td.LogNormal(0.0, 1.0), td.HalfNormal(1.0)):
        assert torch.isfinite(Spread(given, shared="x", correlation=1.0).quantile(score)).all()


def test_crossed_cells_are_drawn_again_together():
    device = Three(
        g_min=Spread(td.Normal(0.4, 0.3), shared="film", correlation=0.5),
        g_max=Spread(td.Normal(0.6, 0.3), shared="film", correlation=0.5),
        a=normal(shared="film", correlation=1.0),
    )
    values = drawn(device)
    assert (values["g_min"] < values["g_max"]).all()
    # What is drawn anew is drawn with its cause: conditioned on g_min < g_max, a symmetric
    # condition on the difference, the sum keeps its correlation with the cause.
    total = values["g_min"] + values["g_max"]
    expected = 2 * math.sqrt(0.5) / math.sqrt(2 * 1.5)
    found = np.corrcoef(total, values["a"])[0, 1]
    assert abs(found - expected) < correlation_error(expected)


def test_a_switching_device_with_a_shared_film():
    device = VTEAM(
        r_on=Spread(td.Normal(50.0, 5.0), shared="film", correlation=0.8),
        r_off=Spread(td.Normal(1000.0, 100.0), shared="film", correlation=0.8),
    )
    values = drawn(device)
    found = np.corrcoef(values["r_on"], values["r_off"])[0, 1]
    assert abs(found - 0.8) < correlation_error(0.8)


def test_shared_spreads_are_specs():
    device = LinearDevice(g_max=Spread(td.Normal(1e-4, 1e-6), shared="film", correlation=0.8))
    assert Spec.from_dict(device.to_dict()) == device
    old = device.to_dict()
    del old["g_max"]["shared"], old["g_max"]["correlation"]
    assert Spec.from_dict(old).g_max.shared is None


def test_same_seed_same_cells():
    device = Three(a=normal(shared="f", correlation=0.5), b=normal(shared="f", correlation=0.5))
    one, same, other = drawn(device, seed=1), drawn(device, seed=1), drawn(device, seed=2)
    assert (one["a"] == same["a"]).all()
    assert (one["a"] != other["a"]).any()


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match=r"correlation must be >= -1 and <= 1, got 1\.5"):
        normal(shared="film", correlation=1.5)
    with pytest.raises(ValueError, match=r"correlation must be 0 without a shared cause, got 0\.5"):
        normal(correlation=0.5)
    with pytest.raises(TypeError, match="shared must be str, got 3"):
        normal(shared=3, correlation=0.5)
    with pytest.raises(ValueError, match=r"needs a distribution with cdf and icdf .* got 'Gamma'"):
        Spread(td.Gamma(2.0, 1.0), shared="film", correlation=0.5)
    with pytest.raises(ValueError, match=r"no draw of .* falls inside \[20\.0, None\]"):
        drawn(Three(a=normal(shared="film", low=20.0)))


# ── torch's own generator ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "spread",
    [
        Spread(td.Normal(1.0, 0.1)),
        Spread(td.Normal(0.0, 1.0), low=0.5),
        Spread(td.Gamma(2.0, 3.0), high=1.0),
    ],
)
def test_without_a_generator_draws_come_from_torch(spread):
    torch.manual_seed(3)
    one, state = spread.sample((N,), None), torch.get_rng_state()
    torch.manual_seed(3)
    assert torch.equal(spread.sample((N,), None), one)
    assert torch.equal(torch.get_rng_state(), state)  # and move it on
    assert not torch.equal(spread.sample((N,), None), one)
    assert float(one.double().mean()) == pytest.approx(
        float(spread.sample((N,), torch.Generator().manual_seed(0)).double().mean()), rel=0.03
    )


def test_with_a_generator_torchs_own_is_left_alone():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    normal().sample((5,), torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("of", ["effect", "part of an effect", "amplifier"])
def test_only_a_devices_own_spreads_share_a_cause(of):
    shared = Spread(td.Normal(0.1, 0.01), low=0.0, shared="cause", correlation=0.9)
    parts = {
        "effect": {"effects": (mho.effects.TelegraphNoise(shared),)},
        "part of an effect": {
            "effects": (mho.effects.Endurance(lrs=mho.effects.FailureLaw(p0=shared)),)
        },
        "amplifier": {"amplifier": mho.Amplifier(gain=shared)},
    }
    with pytest.raises(ValueError, match="must not share a cause, got shared='cause'"):
        mho.Hardware(**parts[of])
